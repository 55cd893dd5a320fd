//! Views and external tables, beyond one session.

use std::fs;
use std::sync::Arc;

use elanus_query::{EngineOptions, FileAccess};
use object_store::memory::InMemory;

use crate::support::{engine, engine_with, line, sql, sql_error, text};

#[tokio::test]
async fn views_are_there_after_a_restart_and_mean_the_same_in_every_database() {
    let store = Arc::new(InMemory::new());
    let engine = engine_with(Arc::clone(&store), EngineOptions::default()).await;
    line(&engine, 30).await;
    sql(&engine, "CREATE SCHEMA other").await;
    sql(
        &engine,
        "CREATE VIEW other.few (key, vec) AS SELECT id, v FROM t WHERE n < 3",
    )
    .await;
    engine.collections().close().await;
    let engine = engine_with(store, EngineOptions::default()).await;
    let nearest = "SELECT key FROM few ORDER BY vec <-> '[21, 0]' LIMIT 3";
    let output = engine.sql("other", nearest).await.unwrap();
    assert_eq!(text(&output), "21\n20\n22");
    let plan = text(&engine.sql("other", &format!("EXPLAIN {nearest}")).await.unwrap());
    assert!(
        plan.contains("AnnSearchExec") && plan.contains("filter=n < "),
        "{plan}"
    );
    // A name is a view's, a table's or a collection's of the other door.
    let taken = engine.collections().create_alias("default", "few", "t").await;
    assert!(taken.is_ok(), "another database");
    let error = engine
        .sql("other", "CREATE TABLE few (id BIGINT PRIMARY KEY)")
        .await
        .unwrap_err();
    assert!(error.to_string().contains("that of a view"), "{error}");
    let error = sql_error(&engine, "DROP SCHEMA other").await;
    assert!(error.contains("other"), "{error}");
    assert_eq!(
        engine.collections().list("other").unwrap().len(),
        0,
        "views are no collections"
    );
    engine.sql("other", "DROP VIEW few").await.unwrap();
    sql(&engine, "DROP SCHEMA other").await;
}

#[tokio::test]
async fn a_prepared_statement_sees_a_view_that_was_replaced() {
    let engine = engine().await;
    line(&engine, 30).await;
    let session = engine.session("default").unwrap();
    sql(&engine, "CREATE VIEW w AS SELECT id FROM t WHERE id = 1").await;
    let prepared = engine.prepare(&session, "SELECT id FROM w").await.unwrap();
    let run = async || {
        let answer = engine.execute(&session, &prepared, None).await.unwrap();
        text(&answer.collect().await.unwrap())
    };
    assert_eq!(run().await, "1");
    sql(
        &engine,
        "CREATE OR REPLACE VIEW w AS SELECT id FROM t WHERE id = 2",
    )
    .await;
    assert_eq!(run().await, "2");
    sql(&engine, "DROP VIEW w").await;
    let gone = engine
        .execute(&session, &prepared, None)
        .await
        .unwrap_err()
        .to_string();
    assert!(gone.contains("'w' not found"), "{gone}");
}

#[tokio::test]
async fn a_broken_view_does_not_break_the_lists() {
    let engine = engine().await;
    line(&engine, 3).await;
    sql(&engine, "CREATE VIEW w AS SELECT id FROM t").await;
    sql(&engine, "CREATE VIEW over_w AS SELECT id FROM w").await;
    sql(&engine, "DROP TABLE t").await;
    let error = sql_error(&engine, "SELECT * FROM over_w").await;
    assert!(
        error.contains("view 'over_w': view 'w': table 'default.t' not found"),
        "{error}"
    );
    let columns = sql(
        &engine,
        "SELECT count(*) FROM information_schema.columns WHERE table_schema = 'default'",
    )
    .await;
    assert_eq!(text(&columns), "0");
    let views = sql(&engine, "SELECT table_name, definition FROM information_schema.views WHERE table_schema = 'default' ORDER BY 1").await;
    assert_eq!(text(&views), "over_w|SELECT id FROM w\nw|SELECT id FROM t");
}

#[tokio::test]
async fn external_tables_are_joined_searched_and_see_new_files() {
    let folder = tempfile::tempdir().unwrap();
    let options = EngineOptions {
        files: FileAccess::Everywhere,
        ..EngineOptions::default()
    };
    let store = Arc::new(InMemory::new());
    let engine = engine_with(Arc::clone(&store), options.clone()).await;
    line(&engine, 30).await;
    let at = |name: &str| folder.path().join(name).display().to_string();
    sql(
        &engine,
        &format!(
            "COPY (SELECT id, n, v FROM t WHERE id < 10) TO '{}'",
            at("vectors.parquet")
        ),
    )
    .await;
    sql(
        &engine,
        &format!(
            "CREATE EXTERNAL TABLE far STORED AS PARQUET LOCATION '{}'",
            at("vectors.parquet")
        ),
    )
    .await;
    let nearest = sql(
        &engine,
        "SELECT id, v <-> '[4, 0]' AS d FROM far ORDER BY d LIMIT 2",
    )
    .await;
    assert_eq!(text(&nearest), "4|0.0\n3|1.0");
    let joined = sql(
        &engine,
        "SELECT count(*) FROM far JOIN t ON far.id = t.id WHERE far.v = t.v",
    )
    .await;
    assert_eq!(text(&joined), "10");
    fs::create_dir(folder.path().join("parts")).unwrap();
    fs::write(at("parts/a b%20#.csv"), "k,name\n1,one\n").unwrap();
    let create = format!(
        "CREATE EXTERNAL TABLE names (k BIGINT, name TEXT) STORED AS CSV LOCATION '{}' OPTIONS ('format.has_header' 'true')",
        at("parts")
    );
    sql(&engine, &create).await;
    assert_eq!(text(&sql(&engine, "SELECT * FROM names").await), "1|one");
    fs::write(at("parts/b.csv"), "k,name\n2,two\n").unwrap();
    assert_eq!(
        text(&sql(&engine, "SELECT name FROM names ORDER BY k").await),
        "one\ntwo"
    );
    fs::write(at("lines.json"), "{\"a\": 1, \"v\": [1.0, 2.0]}\n").unwrap();
    sql(
        &engine,
        &format!(
            "CREATE EXTERNAL TABLE lines STORED AS JSON LOCATION '{}'",
            at("lines.json")
        ),
    )
    .await;
    assert_eq!(
        text(&sql(&engine, "SELECT a, v <-> '[1, 2]' FROM lines").await),
        "1|0.0"
    );
    sql(
        &engine,
        &format!("COPY (SELECT 5 AS five) TO '{}'", at("x.arrow")),
    )
    .await;
    sql(
        &engine,
        &format!(
            "CREATE EXTERNAL TABLE x STORED AS ARROW LOCATION '{}'",
            at("x.arrow")
        ),
    )
    .await;
    assert_eq!(text(&sql(&engine, "SELECT five FROM x").await), "5");
    engine.collections().close().await;
    let engine = engine_with(store, options).await;
    assert_eq!(
        text(&sql(&engine, "SELECT name FROM names ORDER BY k").await),
        "one\ntwo"
    );
    let error = sql_error(&engine, "INSERT INTO names VALUES (3, 'three')").await;
    assert!(error.contains("external table"), "{error}");
    fs::remove_file(at("lines.json")).unwrap();
    let error = sql_error(&engine, "SELECT * FROM lines").await;
    assert!(
        error.contains("external table 'lines'") && error.contains("there is no file"),
        "{error}"
    );
    sql(&engine, "DROP TABLE names, lines, x, far").await;
    let error = sql_error(&engine, "SELECT * FROM names").await;
    assert!(error.contains("not found"), "{error}");
    assert!(fs::exists(at("vectors.parquet")).unwrap(), "the files stay");
}
