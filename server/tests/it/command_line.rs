//! `--help`, `--version` and mistakes.

use crate::process::{elanus, run};

#[test]
fn the_version_is_the_crates() {
    let finished = run(elanus().arg("--version"));
    assert_eq!(
        finished.out.trim(),
        format!("elanus {}", env!("CARGO_PKG_VERSION"))
    );
    assert_eq!(finished.code, Some(0));
}

#[test]
fn help_names_every_command() {
    let finished = run(elanus().arg("--help"));
    for command in ["serve", "sql", "demo"] {
        assert!(
            finished.out.contains(&format!("\n  {command} ")),
            "{command} is missing:\n{}",
            finished.out
        );
    }
    assert_eq!(finished.code, Some(0));
}

#[test]
fn help_of_serve_names_every_option_with_its_variable_and_default() {
    let finished = run(elanus().args(["serve", "--help"]));
    for option in [
        "data",
        "milvus-addr",
        "flight-addr",
        "http-addr",
        "config",
        "insecure",
        "auth",
        "root-password-file",
        "memory-limit",
        "build-memory-limit",
        "sql-memory-limit",
        "allow-files",
        "analyzer-dictionaries",
        "gpu-fallback",
        "gpu-batch-wait",
        "gpu-devices",
        "gpu-memory-limit",
        "threads",
        "log",
    ] {
        assert!(
            finished.out.contains(&format!("--{option}")),
            "--{option} is missing:\n{}",
            finished.out
        );
        let variable = format!("ELANUS_{}", option.replace('-', "_").to_uppercase());
        assert!(
            finished.out.contains(&variable),
            "{variable} is missing:\n{}",
            finished.out
        );
    }
    for default in ["127.0.0.1:19530", "127.0.0.1:9091", "warn,elanus=info"] {
        assert!(
            finished.out.contains(&format!("[default: {default}]")),
            "{default} is missing:\n{}",
            finished.out
        );
    }
}

#[test]
fn help_of_sql_names_every_option() {
    let finished = run(elanus().args(["sql", "--help"]));
    for option in ["--data", "--command", "-c", "--database", "--log"] {
        assert!(
            finished.out.contains(option),
            "{option} is missing:\n{}",
            finished.out
        );
    }
}

#[test]
fn an_unknown_option_is_a_usage_error() {
    let finished = run(elanus().args(["serve", "--milvus-adr", "127.0.0.1:0"]));
    assert_eq!(finished.code, Some(2));
    assert!(
        finished.err.contains("--milvus-adr") && finished.err.contains("--milvus-addr"),
        "{}",
        finished.err
    );
    assert_eq!(finished.out, "");
}

#[test]
fn a_wrong_address_names_the_option_and_the_form() {
    let finished = run(elanus().args(["serve", "--data", "unused", "--milvus-addr", "19530"]));
    assert_eq!(finished.code, Some(2));
    assert!(
        finished.err.contains("--milvus-addr") && finished.err.contains("host:port"),
        "{}",
        finished.err
    );
}
