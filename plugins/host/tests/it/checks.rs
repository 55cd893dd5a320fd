//! What the check of a file tells its author.

use elanus_plugins::{Finding, check};

use crate::calls::{host, options};
use crate::guests::{guest, module, wit};

/// What the check of a file says is wrong.
fn problems(file: &[u8]) -> Vec<String> {
    let (options, _) = options();
    let report = check(&host(), file, &options);
    let problem = |finding: &Finding| match finding {
        Finding::Problem(text) => Some(text.clone()),
        Finding::Note(_) => None,
    };
    report.findings.iter().filter_map(problem).collect()
}

#[test]
fn a_check_names_every_import_that_cannot_be_met() {
    let file = wat::parse_str(
        r#"(component
            (import "wasi:cli/environment@0.2.0" (instance (export "get" (func))))
            (import "wasi:io/poll@0.2.0" (instance (export "poll" (func))))
            (import "my:own/thing" (instance (export "f" (func))))
            (instance $i)
            (export "elanus:plugin/reranking@1.0.0" (instance $i)))"#,
    )
    .unwrap();
    let (options, _) = options();
    let report = check(&host(), &file, &options).to_string();
    assert!(
        report.starts_with("a plugin of world reranker that cannot be loaded"),
        "{report}"
    );
    assert!(
        report.contains("note: plugins have no WASI") && report.contains("--stub-wasi"),
        "{report}"
    );
    let problems = problems(&file);
    let names = ["wasi:cli/environment@0.2.0", "wasi:io/poll@0.2.0", "my:own/thing"];
    assert_eq!(problems.len(), names.len(), "{problems:?}");
    for (problem, name) in problems.iter().zip(names) {
        assert!(problem.contains(name), "{problem}");
    }
}

#[test]
fn a_check_of_a_core_module_says_what_is_missing() {
    let only_describe = r#"(memory (export "memory") 1)
        (func (export "elanus:plugin/reranking@1.0.0#describe") (result i32) unreachable)
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)"#;
    let missing = problems(&module(&wit(), "reranker", only_describe)).join("\n");
    assert!(missing.contains("it lacks a function of its world"), "{missing}");
    assert!(missing.contains("function `configure`"), "{missing}");
    let undefined = r#"(import "env" "sqrt" (func (param f64) (result f64)))"#;
    let undefined = problems(&guest("reranker", undefined)).join("\n");
    assert!(
        undefined.contains("declared and not there: define it"),
        "{undefined}"
    );
    let wasi = r#"(import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))"#;
    let wasi = problems(&guest("reranker", wasi)).join("\n");
    assert!(
        wasi.contains("it uses WASI") && wasi.contains("fd_write"),
        "{wasi}"
    );
    let (options, _) = options();
    let good = check(&host(), &guest("reranker", ""), &options).to_string();
    assert!(
        good.contains("note: it is a core module with a component type"),
        "{good}"
    );
}

#[test]
fn a_check_tells_what_is_there_and_what_is_wrong() {
    let host = host();
    let (options, _) = options();
    let good = check(&host, &guest("reranker", ""), &options);
    assert!(good.is_good(), "{good}");
    assert!(
        good.to_string()
            .starts_with("guest 1.0.0: a plugin of world reranker"),
        "{good}"
    );
    let functions = check(&host, &guest("udf", ""), &options);
    assert!(functions.is_good() && functions.to_string().contains("function copy(f32s) returns f32s"));
    let garbage = check(&host, b"hello", &options);
    assert!(
        !garbage.is_good() && garbage.to_string().contains("it is no WebAssembly file"),
        "{garbage}"
    );
    let logs = r#"(import "elanus:plugin/log@1.0.0" "write" (func $write (param i32 i32 i32)))"#;
    let logs = check(&host, &guest("reranker", logs), &options);
    assert!(logs.is_good(), "{logs}");
    assert!(logs.to_string().contains("needs the rights: log"), "{logs}");
}
