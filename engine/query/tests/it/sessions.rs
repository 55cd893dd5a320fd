//! Sessions and statements from outside.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use elanus_query::{DEFAULT_DATABASE, QueryError};

use crate::support::{engine, ints, line, sql, sql_error};

#[tokio::test]
async fn settings_last_as_long_as_their_session() {
    let engine = engine().await;
    line(&engine, 30).await;
    let session = engine.session(DEFAULT_DATABASE).unwrap();
    let explain = "EXPLAIN SELECT id FROM t ORDER BY v <-> '[1,2]' LIMIT 3";
    engine.sql_in(&session, "SET elanus.exact = true").await.unwrap();
    let text = |output: elanus_query::SqlOutput| format!("{:?}", output.batches);
    assert!(!text(engine.sql_in(&session, explain).await.unwrap()).contains("AnnSearchExec"));
    assert!(text(sql(&engine, explain).await).contains("AnnSearchExec"));
}

#[tokio::test]
async fn datafusions_own_session_runs_the_same_plans() {
    let engine = engine().await;
    line(&engine, 30).await;
    let session = engine.session(DEFAULT_DATABASE).unwrap();
    let rows = session
        .sql("SELECT id FROM t ORDER BY v <-> '[7,0]' LIMIT 3")
        .await
        .unwrap()
        .collect()
        .await
        .unwrap();
    assert_eq!(ints(&rows), [7, 6, 8]);
    session
        .sql("DELETE FROM t WHERE id IN (SELECT 7)")
        .await
        .unwrap()
        .collect()
        .await
        .unwrap();
    assert_eq!(ints(&sql(&engine, "SELECT count(*) FROM t").await.batches), [29]);
}

#[tokio::test]
async fn the_last_of_several_statements_answers() {
    let engine = engine().await;
    let output = sql(
        &engine,
        "CREATE TABLE a (id BIGINT PRIMARY KEY); INSERT INTO a VALUES (1), (2); SELECT id FROM a",
    )
    .await;
    assert_eq!(ints(&output.batches).len(), 2);
    let error = sql_error(&engine, "INSERT INTO a VALUES (3); SELECT nothing FROM a").await;
    assert!(error.contains("nothing"), "{error}");
    assert_eq!(ints(&sql(&engine, "SELECT count(*) FROM a").await.batches), [3]);
    assert!(matches!(
        engine.sql(DEFAULT_DATABASE, " ; ").await,
        Err(QueryError::Syntax(_))
    ));
}

#[tokio::test]
async fn a_table_made_with_sql_outlives_its_engine() {
    let engine = engine().await;
    sql(&engine, "CREATE TABLE a (id BIGINT PRIMARY KEY)").await;
    let collections = Arc::clone(engine.collections());
    drop(engine);
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
    let rows = RecordBatch::try_from_iter([("id", ids)]).unwrap();
    let a = collections.collection(DEFAULT_DATABASE, "a").unwrap();
    assert_eq!(a.insert(rows, None).await.unwrap().rows, 2);
}

#[tokio::test]
async fn prepared_writes_say_how_many_rows_they_wrote() {
    let engine = engine().await;
    line(&engine, 5).await;
    let session = engine.session(DEFAULT_DATABASE).unwrap();
    for (text, affected) in [
        (
            "PREPARE fill AS INSERT INTO t VALUES ($1, 1, '[1, 2]'), ($2, 2, ARRAY[3, 4])",
            None,
        ),
        ("EXECUTE fill(100, 101)", Some(2)),
        ("PREPARE empty AS DELETE FROM t AS x WHERE x.id >= $1", None),
        ("EXECUTE empty(3)", Some(4)),
    ] {
        let output = engine.sql_in(&session, text).await.unwrap();
        assert_eq!(output.affected, affected, "{text}");
    }
    let left = sql(&engine, "SELECT id FROM t ORDER BY id").await;
    assert_eq!(ints(&left.batches), [0, 1, 2]);
}

#[tokio::test]
async fn an_unknown_database_is_an_error() {
    let engine = engine().await;
    let error = engine.sql("nowhere", "SELECT 1").await.unwrap_err().to_string();
    assert!(error.contains("nowhere"), "{error}");
}

#[tokio::test]
async fn messages_carry_no_wrapping() {
    let engine = engine().await;
    line(&engine, 3).await;
    for text in [
        "SELECT idd FROM t",
        "INSERT INTO t VALUES (1, 1, '[1,2,3]')",
        "SELECT id FROM t ORDER BY v <-> '[1,2,3]' LIMIT 1",
        "SELECT v <-> '[1,2,3]' FROM t",
        "INSERT INTO t (id, v) VALUES (1, '[1,2]')",
    ] {
        let error = sql_error(&engine, text).await;
        for noise in [
            "External error",
            "Error during planning",
            "Execution error",
            "Arrow error",
            "backtrace",
            "caused by",
        ] {
            assert!(!error.contains(noise), "{text}: {error}");
        }
    }
}

#[tokio::test]
async fn deeply_nested_text_is_refused_and_not_a_crash() {
    let engine = engine().await;
    let deep = format!("SELECT {}1{}", "(".repeat(5_000), ")".repeat(5_000));
    assert!(engine.sql(DEFAULT_DATABASE, &deep).await.is_err());
}

#[tokio::test]
async fn a_setting_is_shown_as_it_was_set() {
    let engine = engine().await;
    let session = engine.session(DEFAULT_DATABASE).unwrap();
    engine
        .sql_in(&session, "SET elanus.ef_search = 321")
        .await
        .unwrap();
    let shown = engine.sql_in(&session, "SHOW elanus.ef_search").await.unwrap();
    let text = format!("{:?}", shown.batches);
    assert!(
        text.contains("elanus.ef_search") && text.contains("321"),
        "{text}"
    );
}
