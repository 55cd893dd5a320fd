//! Statements over a table whose schema changes.

use std::sync::Arc;

use arrow::array::Array;
use elanus_query::{DEFAULT_DATABASE, Engine, Prepared};

use crate::support::{engine, ints, line, query, search, sql, sql_error};

async fn read(engine: &Engine, prepared: &Prepared) -> Vec<i64> {
    let session = engine.session(DEFAULT_DATABASE).unwrap();
    let answer = engine.execute(&session, prepared, None).await.unwrap();
    ints(&answer.collect().await.unwrap().batches)
}

#[tokio::test]
async fn a_prepared_statement_is_planned_again_when_its_table_was_altered() {
    let engine = engine().await;
    line(&engine, 12).await;
    let session = engine.session(DEFAULT_DATABASE).unwrap();
    let prepare = async |text: &str| engine.prepare(&session, text).await.unwrap();
    let ids = prepare("SELECT id FROM t WHERE n = 3 ORDER BY id").await;
    let near = prepare("SELECT id FROM t WHERE n = 3 ORDER BY v <-> '[12,0]' LIMIT 1").await;
    let everything = prepare("SELECT * FROM t").await;
    let insert = prepare("INSERT INTO t (id, n, v) VALUES (100, 3, '[100,0]')").await;
    assert_eq!(
        (read(&engine, &ids).await, read(&engine, &near).await),
        (vec![3], vec![3])
    );
    sql(
        &engine,
        "ALTER TABLE t ADD COLUMN m INTEGER DEFAULT 1, DROP COLUMN n, ADD COLUMN n INTEGER DEFAULT 3",
    )
    .await;
    assert_eq!(read(&engine, &ids).await, (0..12).collect::<Vec<_>>());
    assert_eq!(read(&engine, &near).await, [11]);
    assert_eq!(everything.schema().unwrap().fields().len(), 3);
    read(&engine, &everything).await;
    assert_eq!(everything.schema().unwrap().fields().len(), 4);
    engine.execute(&session, &insert, None).await.unwrap();
    assert_eq!(
        ints(
            &sql(&engine, "SELECT id FROM t WHERE n = 3 AND m = 1 AND id > 11")
                .await
                .batches
        ),
        [100]
    );
    sql(&engine, "ALTER TABLE t DROP COLUMN n").await;
    let error = engine
        .execute(&session, &ids, None)
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("column 'n' not found"), "{error}");
}

#[tokio::test]
async fn filters_that_were_kept_are_not_those_of_a_new_column_of_the_name() {
    let engine = engine().await;
    let old = line(&engine, 12).await;
    let rows = engine.query(query(&old, "n == 3")).await.unwrap();
    assert_eq!(ints(&[rows]), [3]);
    assert_eq!(
        ints(&sql(&engine, "SELECT id FROM t WHERE n = 3").await.batches),
        [3]
    );
    sql(&engine, "ALTER TABLE t DROP COLUMN n, ADD COLUMN n INTEGER").await;
    let new = engine.collections().collection(DEFAULT_DATABASE, "t").unwrap();
    assert_eq!(engine.query(query(&new, "n == 3")).await.unwrap().num_rows(), 0);
    assert_eq!(
        engine.query(query(&new, "n is null")).await.unwrap().num_rows(),
        12
    );
    assert!(ints(&sql(&engine, "SELECT id FROM t WHERE n = 3").await.batches).is_empty());
    // Who holds the table of before goes on reading it, and is still loaded.
    assert_eq!(ints(&[engine.query(query(&old, "n == 3")).await.unwrap()]), [3]);
    assert_eq!(
        ints(&[engine.search(search(&new, &[4.0, 0.0], 1)).await.unwrap().rows]),
        [4]
    );
}

#[tokio::test]
async fn a_result_that_is_read_while_the_table_changes_has_the_columns_it_was_announced_with() {
    let engine = engine().await;
    line(&engine, 12).await;
    let session = engine.session(DEFAULT_DATABASE).unwrap();
    let all = engine.prepare(&session, "SELECT id, n FROM t").await.unwrap();
    let pinned = Arc::new(engine.pin(&session, &all, None).await.unwrap());
    sql(&engine, "ALTER TABLE t DROP COLUMN n, RENAME COLUMN id TO key").await;
    let mut rows = 0;
    for part in 0..pinned.parts() {
        let mut stream = engine.read(&pinned, part).await.unwrap();
        while let Some(batch) = futures::StreamExt::next(&mut stream).await {
            let batch = batch.unwrap();
            assert_eq!(batch.column(1).null_count(), 0);
            rows += batch.num_rows();
        }
    }
    assert_eq!(rows, 12);
    assert!(
        sql_error(&engine, "SELECT id FROM t")
            .await
            .contains("column 'id' not found")
    );
}

#[tokio::test]
async fn rows_of_an_altered_table_make_a_new_one_whose_columns_do_not_clash() {
    let engine = engine().await;
    line(&engine, 3).await;
    sql(
        &engine,
        "ALTER TABLE t RENAME COLUMN n TO m, ADD COLUMN n INTEGER DEFAULT 5",
    )
    .await;
    let out = sql(&engine, "SELECT id, m, n AS n2, id * 2 AS n, v FROM t").await;
    let mode = elanus_query::IngestMode::Create;
    let ingested = engine
        .ingest(
            DEFAULT_DATABASE,
            "u",
            mode,
            out.schema,
            futures::stream::iter(out.batches.into_iter().map(Ok)),
        )
        .await;
    assert_eq!(ingested.unwrap(), 3);
    let flush = engine.collections().collection(DEFAULT_DATABASE, "u").unwrap();
    flush.flush().await.unwrap();
    assert_eq!(
        ints(
            &sql(&engine, "SELECT id FROM u WHERE m = 2 AND n2 = 5 AND n = 4")
                .await
                .batches
        ),
        [2]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inserts_that_a_change_overtakes_are_planned_again() {
    let engine = engine().await;
    line(&engine, 0).await;
    let writer = {
        let engine = engine.clone();
        tokio::spawn(async move {
            for id in 0..60 {
                sql(
                    &engine,
                    &format!("INSERT INTO t (id, n, v) VALUES ({id}, 1, '[1,1]')"),
                )
                .await;
            }
        })
    };
    for round in 0..12 {
        sql(
            &engine,
            &format!("ALTER TABLE t ADD COLUMN c{round} INTEGER DEFAULT {round}"),
        )
        .await;
        tokio::task::yield_now().await;
    }
    writer.await.unwrap();
    let counted = sql(&engine, "SELECT count(*) FROM t WHERE c0 = 0 AND c11 = 11").await;
    assert_eq!(ints(&counted.batches), [60]);
}
