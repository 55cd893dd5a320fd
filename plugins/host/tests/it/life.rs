//! The life of well-behaved plugins: loaded, called, kept, replaced, cached, counted.

use std::fs;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use elanus_plugins::{
    Candidates, Failure, Host, HostConfig, Keys, Limits, LoadOptions, Plugin, Registry, Request, Reranker,
    TextData, Value, VectorData,
};

use crate::calls::{call, host, invoke, limits, options, rerank, reranker};
use crate::guests::{guest, plugins};

/// Answers with its own count of calls as the first score.
const COUNTS: &str = r#"
(global $calls (mut f32) (f32.const 0))
(func (export "elanus:plugin/reranking@1.0.0#rerank") (param $call i32) (result i32)
  (global.set $calls (f32.add (global.get $calls) (f32.const 1)))
  (drop (call $good_rerank (local.get $call)))
  (f32.store (i32.load (i32.const 268)) (global.get $calls))
  (i32.const 256))
"#;

/// Answers with this number as the first score, after a loop of so many rounds.
fn scoring(score: u32, rounds: u32) -> Vec<u8> {
    let own = format!(
        r#"(func (export "elanus:plugin/reranking@1.0.0#rerank") (param $call i32) (result i32) (local $i i32)
          (loop $wait
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $wait (i32.lt_u (local.get $i) (i32.const {rounds}))))
          (drop (call $good_rerank (local.get $call)))
          (f32.store (i32.load (i32.const 268)) (f32.const {score}))
          (i32.const 256))"#
    );
    guest("reranker", &own)
}

fn load(host: &Host, file: &[u8], limits: Limits) -> Arc<Reranker> {
    match host
        .load(
            file,
            &LoadOptions {
                limits,
                ..LoadOptions::default()
            },
        )
        .unwrap()
    {
        Plugin::Reranker(reranker) => reranker,
        Plugin::Functions(_) => panic!("not a reranker"),
    }
}

#[test]
fn a_reranker_orders_and_scores() {
    let ranking = rerank(&reranker(&host(), &guest("reranker", ""))).unwrap();
    assert_eq!(
        (ranking.order, ranking.scores),
        (vec![0, 1, 2], vec![-0.5, -1.5, -2.5])
    );
}

#[test]
fn parameters_that_a_waiting_instance_has_taken_are_known() {
    let host = host();
    let kept = reranker(&host, &guest("reranker", ""));
    let parameters = kept.parameters(&[]).unwrap();
    assert!(!kept.is_configured(&parameters));
    rerank(&kept).unwrap();
    assert!(kept.is_configured(&parameters));
    kept.release_idle();
    assert!(!kept.is_configured(&parameters));
    let reuse = false;
    let alone = load(&host, &guest("reranker", ""), Limits { reuse, ..limits() });
    alone.configure(&parameters).unwrap();
    assert!(!alone.is_configured(&parameters));
    // A trap costs the instance.
    let file = fs::read(plugins().join("hostile/prebuilt/divide-by-zero.wasm")).unwrap();
    let traps = reranker(&host, &file);
    let own = traps.parameters(&[]).unwrap();
    traps.configure(&own).unwrap();
    assert!(traps.is_configured(&own));
    rerank(&traps).unwrap_err();
    assert!(!traps.is_configured(&own));
}

#[test]
fn a_function_computes_and_nulls_stay_null() {
    let Plugin::Functions(functions) = host().load(&guest("udf", ""), &LoadOptions::default()).unwrap()
    else {
        panic!("no functions");
    };
    assert_eq!(functions.find("copy"), Some(0));
    let column = invoke(&functions).unwrap();
    assert_eq!(column.data, elanus_plugins::OwnedData::F32s(vec![1.0, 2.0, 3.0]));
    assert_eq!(column.validity, Some(vec![1, 0, 1]));
}

#[test]
fn an_instance_is_kept_for_the_next_call_unless_that_is_forbidden() {
    let (host, file) = (host(), guest("reranker", COUNTS));
    let kept = load(&host, &file, limits());
    let firsts: Vec<f32> = (0..3).map(|_| rerank(&kept).unwrap().scores[0]).collect();
    assert_eq!(firsts, [1.0, 2.0, 3.0]);
    assert_eq!(kept.stats().instances, 1);
    let fresh = load(
        &host,
        &file,
        Limits {
            reuse: false,
            ..limits()
        },
    );
    let firsts: Vec<f32> = (0..3).map(|_| rerank(&fresh).unwrap().scores[0]).collect();
    assert_eq!(firsts, [1.0, 1.0, 1.0]);
}

#[test]
fn many_threads_call_one_plugin() {
    let host = host();
    let plugin = load(&host, &scoring(7, 1000), limits());
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..50 {
                    assert_eq!(rerank(&plugin).unwrap().scores[0], 7.0);
                }
            });
        }
    });
    let stats = plugin.stats();
    // One call to describe, and three rows in each other one.
    assert_eq!((stats.calls, stats.rows, stats.traps), (401, 1200, 0));
    assert!(stats.instances <= 9, "{stats:?}");
    assert!(
        stats.peak_memory >= 2 << 16 && stats.wasm_time > Duration::ZERO,
        "{stats:?}"
    );
}

#[test]
fn a_replaced_plugin_finishes_what_it_began() {
    let host = host();
    let slow = Limits {
        deadline: Duration::from_secs(20),
        ..limits()
    };
    let registry = Registry::new();
    registry.put("r", Plugin::Reranker(load(&host, &scoring(1, 30_000_000), slow)));
    let started = Barrier::new(2);
    let score = |plugin: Plugin| match plugin {
        Plugin::Reranker(plugin) => rerank(&plugin).unwrap().scores[0],
        Plugin::Functions(_) => panic!("not a reranker"),
    };
    thread::scope(|scope| {
        let running = scope.spawn(|| {
            let plugin = registry.get("r").unwrap();
            started.wait();
            score(plugin)
        });
        started.wait();
        let old = registry
            .put("r", Plugin::Reranker(load(&host, &scoring(2, 1), limits())))
            .unwrap();
        assert_eq!(old.name(), "guest");
        drop(old);
        assert_eq!(score(registry.get("r").unwrap()), 2.0);
        assert_eq!(running.join().unwrap(), 1.0);
    });
    assert_eq!(registry.list().keys().collect::<Vec<_>>(), ["r"]);
    assert!(registry.remove("r").is_some() && registry.get("r").is_none());
}

#[test]
fn memory_is_charged_while_an_instance_lives() {
    let (options, ledger) = options();
    let host = host();
    let plugin = host.load(&guest("reranker", ""), &options).unwrap();
    call(&plugin).unwrap();
    assert_eq!(ledger.taken(), 2 << 16);
    if let Plugin::Reranker(reranker) = &plugin {
        reranker.release_idle();
    }
    assert_eq!(ledger.taken(), 0);
    call(&plugin).unwrap();
    drop(plugin);
    assert_eq!(ledger.taken(), 0);
    // One that is larger than what may lie idle is not kept.
    let limits = Limits {
        idle_memory: 1 << 16,
        ..options.limits.clone()
    };
    let plugin = host
        .load(&guest("reranker", ""), &LoadOptions { limits, ..options })
        .unwrap();
    call(&plugin).unwrap();
    assert_eq!(ledger.taken(), 0);
}

#[test]
fn compiled_plugins_are_found_again() {
    let directory = tempfile::tempdir().unwrap();
    let config = HostConfig {
        cache: Some(directory.path().to_owned()),
        instances: 4,
        ..HostConfig::default()
    };
    let file = scoring(5, 1);
    for _ in 0..2 {
        let host = Host::new(config.clone()).unwrap();
        assert_eq!(rerank(&load(&host, &file, limits())).unwrap().scores[0], 5.0);
    }
    let artifacts: Vec<_> = fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "aot"))
        .collect();
    assert_eq!(artifacts.len(), 1);
    // Garbage in its place is not run, and replaced.
    fs::write(&artifacts[0], b"garbage").unwrap();
    let host = Host::new(config).unwrap();
    assert_eq!(rerank(&load(&host, &file, limits())).unwrap().scores[0], 5.0);
    assert!(fs::read(&artifacts[0]).unwrap().len() > 1000);
}

#[test]
fn calls_that_do_not_fit_the_description_do_not_reach_the_plugin() {
    let plugin = reranker(&host(), &guest("reranker", ""));
    let parameters = plugin.parameters(&[]).unwrap();
    let request = Request {
        query_vectors: VectorData {
            dim: 2,
            values: &[1.0, 0.0],
        },
        query_text: None,
        limit: 1,
    };
    let good = Candidates {
        keys: Keys::Integers(&[1, 2]),
        distances: &[1.0, 2.0],
        columns: &[],
        vectors: None,
    };
    let refused = |request: &Request<'_>, candidates: &Candidates<'_>| {
        let error = plugin.rerank(&parameters, request, candidates).unwrap_err();
        assert!(matches!(error.failure, Failure::Request(_)), "{error}");
        error.to_string()
    };
    let keys = Candidates {
        keys: Keys::Integers(&[1]),
        ..good
    };
    assert!(refused(&request, &keys).contains("keys: 1 values for 2 rows"));
    let texts = TextData {
        offsets: &[0, 1],
        bytes: b"a",
    };
    assert!(
        refused(
            &request,
            &Candidates {
                keys: Keys::Texts(texts),
                ..good
            }
        )
        .contains("2 rows, not 3")
    );
    let cut = Request {
        query_vectors: VectorData {
            dim: 2,
            values: &[1.0],
        },
        ..request
    };
    assert!(refused(&cut, &good).contains("cut off"));
    let vectors = Some(VectorData {
        dim: 2,
        values: &[0.0; 6],
    });
    assert!(refused(&request, &Candidates { vectors, ..good }).contains("3 values for 2 rows"));
    assert_eq!(plugin.stats().traps, 0);
    let wrong = plugin
        .parameters(&[("k".to_owned(), Value::Integer(1))])
        .unwrap_err();
    assert!(wrong.to_string().contains("it takes none"), "{wrong}");
}

#[test]
fn idle_instances_make_room_for_those_that_have_work() {
    let host = Host::new(HostConfig {
        instances: 2,
        ..HostConfig::default()
    })
    .unwrap();
    let plugins: Vec<_> = (0..5)
        .map(|score| load(&host, &scoring(score, 1), limits()))
        .collect();
    for _ in 0..3 {
        for (score, plugin) in plugins.iter().enumerate() {
            assert_eq!(rerank(plugin).unwrap().scores[0], score as f32);
        }
    }
}
