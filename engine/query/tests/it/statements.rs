//! Prepared statements: parameters of all forms, batches of them, and what happens when tables change.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, FixedSizeListArray, Float32Array, Float64Array, Int64Array, ListArray, RecordBatch, StringArray,
};
use arrow::datatypes::{DataType, Field, Float32Type};
use elanus_query::{Answer, DEFAULT_DATABASE, Engine, IngestMode, Pinned, QueryError};
use futures::TryStreamExt;

use crate::support::{engine, ints, line, sql};

fn values(columns: Vec<ArrayRef>) -> RecordBatch {
    RecordBatch::try_from_iter(
        columns
            .into_iter()
            .enumerate()
            .map(|(n, column)| (format!("c{n}"), column)),
    )
    .unwrap()
}

fn fixed(rows: &[[f32; 2]]) -> ArrayRef {
    let item = Arc::new(Field::new_list_field(DataType::Float32, true));
    let flat: Vec<f32> = rows.iter().flatten().copied().collect();
    Arc::new(FixedSizeListArray::try_new(item, 2, Arc::new(Float32Array::from(flat)), None).unwrap())
}

fn list(rows: &[[f32; 2]]) -> ArrayRef {
    let rows = rows.iter().map(|row| Some(row.map(Some)));
    Arc::new(ListArray::from_iter_primitive::<Float32Type, _, _>(rows))
}

async fn run(engine: &Engine, text: &str, parameters: Option<RecordBatch>) -> Result<Answer, QueryError> {
    let session = engine.session(DEFAULT_DATABASE)?;
    let prepared = engine.prepare(&session, text).await?;
    engine.execute(&session, &prepared, parameters).await
}

async fn rows(engine: &Engine, text: &str, parameters: Option<RecordBatch>) -> Vec<i64> {
    ints(
        &run(engine, text, parameters)
            .await
            .unwrap()
            .collect()
            .await
            .unwrap()
            .batches,
    )
}

#[tokio::test]
async fn a_vector_parameter_may_be_text_a_list_or_a_fixed_size_list() {
    let engine = engine().await;
    line(&engine, 30).await;
    let text: ArrayRef = Arc::new(StringArray::from(vec!["[7.2, 0]"]));
    for bound in [text, list(&[[7.2, 0.0]]), fixed(&[[7.2, 0.0]])] {
        for statement in [
            "SELECT id FROM t ORDER BY v <-> $1 LIMIT 3",
            "SELECT id FROM t ORDER BY v <-> ? LIMIT 3",
            "SELECT id FROM t ORDER BY l2_distance($1, v) LIMIT 3",
        ] {
            let found = rows(&engine, statement, Some(values(vec![Arc::clone(&bound)]))).await;
            assert_eq!(found, [7, 8, 6], "{statement} with {}", bound.data_type());
        }
    }
}

#[tokio::test]
async fn a_prepared_search_is_planned_with_the_index_operator() {
    let engine = engine().await;
    line(&engine, 30).await;
    let bound = Some(values(vec![fixed(&[[7.0, 0.0]])]));
    let explain = run(
        &engine,
        "EXPLAIN SELECT id FROM t WHERE n < 5 ORDER BY v <-> $1 LIMIT 3",
        bound,
    )
    .await;
    let plan = format!("{:?}", explain.unwrap().collect().await.unwrap().batches);
    assert!(plan.contains("AnnSearchExec"), "{plan}");
}

#[tokio::test]
async fn parameters_and_their_types_are_announced() {
    let engine = engine().await;
    line(&engine, 3).await;
    let session = engine.session(DEFAULT_DATABASE).unwrap();
    let text = "SELECT id FROM t WHERE n > $2 ORDER BY v <-> $1 LIMIT 3";
    let prepared = engine.prepare(&session, text).await.unwrap();
    let schema = prepared.parameters();
    assert!(matches!(
        schema.field(0).data_type(),
        DataType::FixedSizeList(_, 2)
    ));
    assert_eq!(schema.field(1).data_type(), &DataType::Int32);
    assert_eq!(prepared.schema().unwrap().field(0).name(), "id");
    let text = "SELECT id FROM t ORDER BY v <-> CAST(? AS VARCHAR) LIMIT 3";
    let prepared = engine.prepare(&session, text).await.unwrap();
    assert_eq!(prepared.parameters().field(0).data_type(), &DataType::Utf8);
}

#[tokio::test]
async fn a_value_that_its_column_cannot_hold_is_compared_as_it_is() {
    let engine = engine().await;
    line(&engine, 10).await;
    let half = Some(values(vec![Arc::new(Float64Array::from(vec![7.5]))]));
    assert_eq!(
        rows(&engine, "SELECT id FROM t WHERE n > $1 ORDER BY id", half).await,
        [8, 9]
    );
    let whole = Some(values(vec![Arc::new(Int64Array::from(vec![7]))]));
    assert_eq!(
        rows(&engine, "SELECT id FROM t WHERE n > $1 ORDER BY id", whole).await,
        [8, 9]
    );
}

#[tokio::test]
async fn a_limit_may_be_a_parameter() {
    let engine = engine().await;
    line(&engine, 10).await;
    let bound = values(vec![fixed(&[[0.0, 0.0]]), Arc::new(Int64Array::from(vec![2]))]);
    let found = rows(
        &engine,
        "SELECT id FROM t ORDER BY v <-> $1 LIMIT $2",
        Some(bound),
    )
    .await;
    assert_eq!(found, [0, 1]);
}

#[tokio::test]
async fn rows_of_parameters_are_runs_in_order() {
    let engine = engine().await;
    line(&engine, 100).await;
    let queries: Vec<[f32; 2]> = (0..40).map(|i| [i as f32 + 0.1, 0.0]).collect();
    let found = rows(
        &engine,
        "SELECT id FROM t ORDER BY v <-> $1 LIMIT 2",
        Some(values(vec![fixed(&queries)])),
    )
    .await;
    let expected: Vec<i64> = (0..40).flat_map(|i| [i, i + 1]).collect();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn an_insert_of_many_rows_is_all_or_nothing() {
    let engine = engine().await;
    line(&engine, 0).await;
    let insert = "INSERT INTO t (id, n, v) VALUES ($1, 5, $2)";
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
    let good = values(vec![
        Arc::clone(&ids),
        list(&[[1.0, 0.0], [2.0, 0.0], [3.0, 0.0]]),
    ]);
    assert!(matches!(
        run(&engine, insert, Some(good)).await.unwrap(),
        Answer::Affected(3)
    ));
    let vectors: ArrayRef = Arc::new(StringArray::from(vec!["[1,1]", "[1,1]", "[1,1,1]"]));
    let error = run(&engine, insert, Some(values(vec![ids, vectors])))
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("dimension"), "{error}");
    assert_eq!(ints(&sql(&engine, "SELECT count(*) FROM t").await.batches), [3]);
}

#[tokio::test]
async fn a_delete_runs_for_every_row_of_parameters() {
    let engine = engine().await;
    line(&engine, 10).await;
    let ids = values(vec![Arc::new(Int64Array::from(vec![3, 4, 30]))]);
    let answer = run(&engine, "DELETE FROM t WHERE id = $1", Some(ids))
        .await
        .unwrap();
    assert!(matches!(answer, Answer::Affected(2)), "{answer:?}");
}

#[tokio::test]
async fn a_statement_outlives_its_table_and_sees_new_rows() {
    let engine = engine().await;
    line(&engine, 10).await;
    let session = engine.session(DEFAULT_DATABASE).unwrap();
    let count = engine.prepare(&session, "SELECT count(*) FROM t").await.unwrap();
    let counted = async || {
        let answer = engine.execute(&session, &count, None).await?;
        Ok::<_, QueryError>(ints(&answer.collect().await?.batches))
    };
    assert_eq!(counted().await.unwrap(), [10]);
    sql(&engine, "INSERT INTO t VALUES (10, 0, '[1,1]')").await;
    assert_eq!(counted().await.unwrap(), [11]);
    sql(&engine, "DROP TABLE t").await;
    assert!(counted().await.is_err());
    line(&engine, 2).await;
    assert_eq!(counted().await.unwrap(), [2]);
}

#[tokio::test]
async fn the_wrong_number_of_values_is_an_error_that_counts() {
    let engine = engine().await;
    line(&engine, 3).await;
    for (text, bound, message) in [
        (
            "SELECT id FROM t WHERE id = $1",
            None,
            "1 parameters ($1), 0 values",
        ),
        (
            "SELECT id FROM t",
            Some(values(vec![fixed(&[[0.0, 0.0]])])),
            "0 parameters, 1 values",
        ),
        ("SELECT id FROM t WHERE id = $1 OR id = ?", None, "two ways"),
        ("SELECT 1; SELECT 2", None, "several statements"),
    ] {
        let error = run(&engine, text, bound).await.unwrap_err().to_string();
        assert!(error.contains(message), "{text}: {error}");
    }
}

/// Rows `from..to` of `t`, as [`line`] makes them.
async fn more(engine: &Engine, from: i64, to: i64) {
    let rows = format!(
        "INSERT INTO t SELECT value, CAST(value % 10 AS INT), ARRAY[CAST(value AS REAL), 0.0] \
         FROM generate_series({from}, {})",
        to - 1
    );
    sql(engine, &rows).await;
}

async fn ids_of(engine: &Engine, pinned: &Pinned, part: usize) -> Vec<i64> {
    let rows = engine.read(pinned, part).await.unwrap();
    ints(&rows.try_collect::<Vec<_>>().await.unwrap())
}

#[tokio::test]
async fn the_parts_of_a_pinned_query_are_disjoint_and_see_one_state() {
    let engine = engine().await;
    let collection = line(&engine, 0).await;
    more(&engine, 0, 8_000).await;
    collection.flush().await.unwrap();
    more(&engine, 8_000, 12_000).await;
    let session = engine.session(DEFAULT_DATABASE).unwrap();
    let pin = async |text: &str| {
        let prepared = engine.prepare(&session, text).await.unwrap();
        engine.pin(&session, &prepared, None).await.unwrap()
    };
    let pinned = pin("SELECT id, n FROM t WHERE n >= 0").await;
    assert_eq!(pinned.parts(), 2);
    sql(&engine, "DELETE FROM t WHERE id < 4000").await;
    for _ in 0..2 {
        let mut found = Vec::new();
        for part in 0..pinned.parts() {
            let ids = ids_of(&engine, &pinned, part).await;
            assert!(!ids.is_empty());
            found.extend(ids);
        }
        found.sort_unstable();
        assert_eq!(found, (0..12_000).collect::<Vec<i64>>());
    }
    // A plan that is more than a scan has one part, and can be read again as well; so has one of few rows.
    for (text, expected) in [
        ("SELECT count(*) FROM t", vec![8_000]),
        ("SELECT id FROM t ORDER BY id LIMIT 3", vec![4_000, 4_001, 4_002]),
        ("SELECT id FROM t WHERE id = 9000", vec![9_000]),
    ] {
        let pinned = pin(text).await;
        assert_eq!(pinned.parts(), 1, "{text}");
        assert_eq!(ids_of(&engine, &pinned, 0).await, expected);
        assert_eq!(ids_of(&engine, &pinned, 0).await, expected);
    }
}

#[tokio::test]
async fn one_parameter_may_stand_in_several_places() {
    let engine = engine().await;
    line(&engine, 10).await;
    for text in [
        "SELECT id FROM t WHERE id = $1 OR n = $1",
        "SELECT id FROM t WHERE id <= $1 AND id >= $1",
    ] {
        let seven = Some(values(vec![Arc::new(Int64Array::from(vec![7]))]));
        assert_eq!(rows(&engine, text, seven).await, [7], "{text}");
    }
}

#[tokio::test]
async fn a_parameter_alone_has_the_type_of_its_value() {
    let engine = engine().await;
    let session = engine.session(DEFAULT_DATABASE).unwrap();
    let echo = engine.prepare(&session, "SELECT $1 AS x").await.unwrap();
    for (value, data_type) in [
        (Arc::new(Int64Array::from(vec![5])) as ArrayRef, DataType::Int64),
        (Arc::new(StringArray::from(vec!["five"])), DataType::Utf8),
    ] {
        let pinned = engine
            .pin(&session, &echo, Some(values(vec![value])))
            .await
            .unwrap();
        assert_eq!(pinned.schema().field(0).data_type(), &data_type);
        let read: Vec<RecordBatch> = engine
            .read(&pinned, 0)
            .await
            .unwrap()
            .try_collect()
            .await
            .unwrap();
        assert_eq!(read[0].num_rows(), 1);
    }
}

#[tokio::test]
async fn a_prepared_statement_sees_the_time_and_the_settings_of_its_run() {
    let engine = engine().await;
    line(&engine, 3).await;
    let session = engine.session(DEFAULT_DATABASE).unwrap();
    let now = engine
        .prepare(&session, "SELECT CAST(now() AS BIGINT)")
        .await
        .unwrap();
    let read = async || {
        ints(
            &engine
                .execute(&session, &now, None)
                .await
                .unwrap()
                .collect()
                .await
                .unwrap()
                .batches,
        )
    };
    let first = read().await;
    while read().await == first {
        tokio::task::yield_now().await;
    }
    // A table of another database has the name after USE.
    let count = engine.prepare(&session, "SELECT count(*) FROM t").await.unwrap();
    let counted = async || {
        ints(
            &engine
                .execute(&session, &count, None)
                .await
                .unwrap()
                .collect()
                .await
                .unwrap()
                .batches,
        )
    };
    assert_eq!(counted().await, [3]);
    engine
        .sql_in(
            &session,
            "CREATE DATABASE other; USE other; CREATE TABLE t (id BIGINT PRIMARY KEY)",
        )
        .await
        .unwrap();
    assert_eq!(counted().await, [0]);
}

#[tokio::test]
async fn an_insert_of_a_query_runs_for_every_row_of_parameters() {
    let engine = engine().await;
    line(&engine, 0).await;
    let text =
        "INSERT INTO t (id, n, v) SELECT 100 + max(x), 1, '[1,1]' FROM (SELECT CAST($1 AS BIGINT) AS x) AS p";
    let three = values(vec![Arc::new(Int64Array::from(vec![1, 2, 3]))]);
    assert!(matches!(
        run(&engine, text, Some(three)).await.unwrap(),
        Answer::Affected(3)
    ));
    assert_eq!(
        rows(&engine, "SELECT id FROM t ORDER BY id", None).await,
        [101, 102, 103]
    );
}

#[tokio::test]
async fn rows_that_came_out_of_a_table_make_one_with_the_same_key() {
    let engine = engine().await;
    sql(
        &engine,
        "CREATE TABLE a (id VARCHAR(20) PRIMARY KEY, v VECTOR(2)); INSERT INTO a VALUES ('007', '[1,2]')",
    )
    .await;
    let out = sql(&engine, "SELECT * FROM a").await;
    let written = engine
        .ingest(
            DEFAULT_DATABASE,
            "b",
            IngestMode::Create,
            out.schema,
            futures::stream::iter(out.batches.into_iter().map(Ok)),
        )
        .await;
    assert_eq!(written.unwrap(), 1);
    let same = sql(&engine, "SELECT count(*) FROM a JOIN b ON a.id = b.id").await;
    assert_eq!(ints(&same.batches), [1]);
}

#[tokio::test]
async fn a_query_that_takes_too_long_is_ended_and_named() {
    let engine = engine().await;
    line(&engine, 200).await;
    let session = engine.session(DEFAULT_DATABASE).unwrap();
    engine
        .sql_in(&session, "SET elanus.statement_timeout = 50")
        .await
        .unwrap();
    let endless = "SELECT sum(a.id * b.id + c.id * d.id) FROM t a, t b, t c, t d";
    let error = engine.sql_in(&session, endless).await.unwrap_err();
    assert!(matches!(error, QueryError::Timeout(50)), "{error}");
    // A limit is one of queries that are read: others go on.
    engine.sql_in(&session, "SELECT 1").await.unwrap();
}

#[tokio::test]
async fn running_statements_are_listed_until_they_end() {
    let engine = engine().await;
    line(&engine, 200).await;
    let session = engine.session(DEFAULT_DATABASE).unwrap();
    let endless = "SELECT a.id FROM t a, t b, t c, t d WHERE a.id + b.id + c.id + d.id < 0";
    let prepared = engine.prepare(&session, endless).await.unwrap();
    let Answer::Rows(rows) = engine.execute(&session, &prepared, None).await.unwrap() else {
        panic!("a query has rows");
    };
    let listed = async || {
        let output = sql(&engine, "SELECT statement FROM elanus_catalog.queries").await;
        format!("{:?}", output.batches)
    };
    assert!(listed().await.contains("FROM t a, t b"), "{}", listed().await);
    drop(rows);
    // Ended by going away; the task notices at its next step.
    while listed().await.contains("FROM t a, t b") {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_metric_of_a_prepared_search_is_that_of_the_index_there_is() {
    let engine = engine().await;
    sql(
        &engine,
        "CREATE TABLE t (id BIGINT PRIMARY KEY, v VECTOR(2) NOT NULL)",
    )
    .await;
    sql(&engine, "INSERT INTO t VALUES (1, '[1, 0]'), (2, '[10, 1]')").await;
    sql(&engine, "CREATE INDEX on_v ON t USING hnsw (v vector_l2_ops)").await;
    let session = engine.session(DEFAULT_DATABASE).unwrap();
    let near = "SELECT id FROM vector_search(t, '[9, 0]', 1)";
    let prepared = engine.prepare(&session, near).await.unwrap();
    let nearest = async || {
        let answer = engine.execute(&session, &prepared, None).await.unwrap();
        ints(&answer.collect().await.unwrap().batches)
    };
    assert_eq!(nearest().await, [2]);
    sql(&engine, "DROP INDEX on_v").await;
    sql(&engine, "CREATE INDEX on_v ON t USING hnsw (v vector_cosine_ops)").await;
    assert_eq!(nearest().await, [1]);
}
