//! Memory limits, spilling, and joins that nobody waits for any more.

use std::sync::Arc;
use std::time::Duration;

use elanus_query::{Answer, Engine, EngineOptions};
use futures::StreamExt;
use object_store::memory::InMemory;

use crate::support::{engine, engine_with, sql, text};

/// Sorts about 60 MB of text.
const SORT: &str = "SELECT s FROM (SELECT repeat(CAST(value AS VARCHAR), 40) AS s, value * 7919 % 100003 AS k \
                    FROM generate_series(1, 300000)) ORDER BY k, s";

#[tokio::test]
async fn a_sort_beyond_the_limit_spills_and_gives_the_same_rows() {
    let folder = tempfile::tempdir().unwrap();
    let options = EngineOptions {
        spill_folder: Some(folder.path().to_path_buf()),
        ..EngineOptions::default()
    };
    let engine = engine_with(Arc::new(InMemory::new()), options).await;
    let free = text(&sql(&engine, SORT).await);
    let session = engine.session("default").unwrap();
    // One sort: the merge of several cannot spill, and would want its part of the limit.
    engine
        .sql_in(&session, "SET datafusion.execution.target_partitions = 1")
        .await
        .unwrap();
    engine
        .sql_in(&session, "SET elanus.query_memory = '32MiB'")
        .await
        .unwrap();
    assert_eq!(
        text(&engine.sql_in(&session, "SHOW elanus.query_memory").await.unwrap()),
        "elanus.query_memory|33554432"
    );
    let limited = text(&engine.sql_in(&session, SORT).await.unwrap());
    assert!(limited == free, "the rows differ");
    let explained = text(
        &engine
            .sql_in(&session, &format!("EXPLAIN ANALYZE {SORT}"))
            .await
            .unwrap(),
    );
    assert!(spills(&explained) > 0, "{explained}");
    assert_eq!(
        std::fs::read_dir(folder.path())
            .unwrap()
            .flatten()
            .filter(|entry| entry.path().is_file())
            .count(),
        0
    );
}

/// Files that the sorts of a plan have spilled.
fn spills(plan: &str) -> u64 {
    let counts = plan.split("spill_count=").skip(1);
    counts
        .filter_map(|rest| rest.split([',', ']']).next()?.trim().parse::<u64>().ok())
        .sum()
}

#[tokio::test]
async fn what_cannot_spill_fails_with_the_name_of_the_limit() {
    let engine = engine().await;
    let session = engine.session("default").unwrap();
    let join = "SELECT count(*) FROM (SELECT repeat(CAST(value AS VARCHAR), 20) AS s FROM generate_series(1, 40000)) a \
                JOIN (SELECT repeat(CAST(value AS VARCHAR), 20) AS s FROM generate_series(1, 40000)) b ON a.s = b.s";
    assert_eq!(text(&engine.sql_in(&session, join).await.unwrap()), "40000");
    engine
        .sql_in(&session, "SET elanus.query_memory = 300000")
        .await
        .unwrap();
    let error = engine.sql_in(&session, join).await.unwrap_err().to_string();
    assert!(error.contains("300000 bytes (elanus.query_memory)"), "{error}");
    engine
        .sql_in(&session, "RESET elanus.query_memory")
        .await
        .unwrap();
    assert_eq!(text(&engine.sql_in(&session, join).await.unwrap()), "40000");
    let error = engine
        .sql_in(&session, "SET elanus.query_memory = 'much'")
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("'much' is not a value of elanus.query_memory"),
        "{error}"
    );
    let options = EngineOptions {
        sql_memory_bytes: Some(300_000),
        ..EngineOptions::default()
    };
    let engine = engine_with(Arc::new(InMemory::new()), options).await;
    let error = engine.sql("default", join).await.unwrap_err().to_string();
    assert!(error.contains("--sql-memory-limit"), "{error}");
}

/// Runs a query that takes for ever on the one SQL thread, beside others, and gives up on it.
async fn thread_is_free_after(engine: &Engine, query: &str) {
    let session = engine.session("default").unwrap();
    let prepared = engine.prepare(&session, query).await.unwrap();
    let Answer::Rows(mut rows) = engine.execute(&session, &prepared, None).await.unwrap() else {
        panic!("a query has rows");
    };
    assert!(futures::poll!(rows.next()).is_pending());
    // The one thread answers others while the query runs: it pauses.
    for _ in 0..3 {
        assert_eq!(text(&sql(engine, RUNNING).await), "1", "{query}");
    }
    drop(rows);
    // It has ended when it is not listed any more.
    while text(&sql(engine, RUNNING).await) != "0" {
        tokio::task::yield_now().await;
    }
}

const RUNNING: &str = "SELECT count(*) FROM elanus.queries WHERE statement NOT LIKE '%elanus.queries%'";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn joins_that_nobody_waits_for_give_their_thread_back() {
    let engine = engine().await;
    let many = |rows: u64| format!("(SELECT value AS x FROM generate_series(1, {rows}))");
    let two = format!("{} a, {} b", many(100_000), many(100_000));
    for query in [
        format!("SELECT count(*) FROM {two}"),
        format!("SELECT max(sin(a.x) * b.x) FROM {two}"),
        // Never true: the join gives no row in all its life.
        format!("SELECT count(*) FROM {two} WHERE a.x + b.x < 0"),
        format!(
            "SELECT count(a.x + b.x) FROM {} a JOIN {} b ON a.x % 2 = b.x % 2",
            many(100_000),
            many(100_000)
        ),
    ] {
        let freed = thread_is_free_after(&engine, &query);
        let patience = Duration::from_secs(60);
        assert!(tokio::time::timeout(patience, freed).await.is_ok(), "{query}");
    }
}
