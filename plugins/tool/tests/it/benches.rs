//! Measuring: what is drawn, and what is said about it.

use std::time::Duration;

use elanus_plugin_tool::{BenchOptions, bench, parameters};
use elanus_plugins::{LoadOptions, Plugin};

use crate::support::{HOST, plugins};

fn prebuilt(name: &str) -> Plugin {
    let path = plugins().join(format!("examples/prebuilt/{name}.wasm"));
    HOST.load(&std::fs::read(path).unwrap(), &LoadOptions::default())
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
    let error = bench(&prebuilt("recency"), &short()).unwrap_err().to_string();
    assert!(error.contains("parameter 'now' (number) is needed"), "{error}");
    let recency = BenchOptions {
        parameters: parameters(r#"{"now": 2000000, "half_life": 1000}"#).unwrap(),
        ..short()
    };
    let fusion = BenchOptions {
        parameters: parameters(r#"{"column": "sales"}"#).unwrap(),
        ..short()
    };
    for (name, options) in [
        ("recency", &recency),
        ("fusion-c", &fusion),
        ("mmr", &short()),
        ("lexical", &short()),
    ] {
        let measured = bench(&prebuilt(name), options).unwrap();
        let [measured] = measured.as_slice() else {
            panic!("{name}: {measured:?}")
        };
        assert!(
            name.starts_with(measured.what.split(' ').next().unwrap()),
            "{measured}"
        );
        assert!(measured.rows == 50 && measured.calls > 0, "{measured}");
        assert!(
            measured.calls_per_second > 0.0 && measured.median <= measured.p99,
            "{measured}"
        );
        assert!(measured.peak_memory > 0, "{measured}");
    }
    let functions = bench(&prebuilt("numbers"), &short()).unwrap();
    let names: Vec<&str> = functions.iter().map(|measured| measured.what.as_str()).collect();
    assert_eq!(names, ["numbers 1.0.0: haversine", "numbers 1.0.0: linear"]);
}
