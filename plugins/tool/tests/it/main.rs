//! Plugins are built from source and measured.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use elanus_plugin_tool::{BenchOptions, BuildError, BuildOptions, bench, build, parameters};
use elanus_plugins::{Host, HostConfig, LoadOptions, Plugin};

fn plugins() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn prebuilt(host: &Host, name: &str) -> Plugin {
    let path = plugins().join(format!("examples/prebuilt/{name}.wasm"));
    host.load(&std::fs::read(path).unwrap(), &LoadOptions::default())
        .unwrap()
}

fn short() -> BenchOptions {
    BenchOptions {
        candidates: 50,
        time: Duration::from_millis(20),
        ..BenchOptions::default()
    }
}

#[test]
fn a_bench_draws_what_the_plugin_asks_for() {
    let host = Host::new(HostConfig::default()).unwrap();
    let recency = prebuilt(&host, "recency");
    let error = bench(&recency, &short()).unwrap_err().to_string();
    assert!(error.contains("parameter 'now' (number) is needed"), "{error}");
    let options = BenchOptions {
        parameters: parameters(r#"{"now": 2000000, "half_life": 1000}"#).unwrap(),
        ..short()
    };
    for (name, options) in [("recency", &options), ("mmr", &short()), ("lexical", &short())] {
        let measured = bench(&prebuilt(&host, name), options).unwrap();
        let [measured] = measured.as_slice() else {
            panic!("{name}: {measured:?}")
        };
        assert!(
            measured.what.starts_with(name) && measured.rows == 50,
            "{measured}"
        );
        assert!(
            measured.calls > 0 && measured.calls_per_second > 0.0,
            "{measured}"
        );
        assert!(
            measured.median <= measured.p99 && measured.peak_memory > 0,
            "{measured}"
        );
    }
    let functions = bench(&prebuilt(&host, "numbers"), &short()).unwrap();
    let names: Vec<&str> = functions.iter().map(|measured| measured.what.as_str()).collect();
    assert_eq!(names, ["numbers 1.0.0: haversine", "numbers 1.0.0: linear"]);
}

#[test]
fn a_folder_without_a_project_is_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let error = build(folder.path(), &BuildOptions::default()).unwrap_err();
    assert!(matches!(error, BuildError::Project(_)), "{error}");
    assert!(error.to_string().contains("is no project of a plugin"), "{error}");
}
