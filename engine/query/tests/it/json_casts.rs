//! `json_cast_function` of an index on JSON: filters take text for numbers at its place, in all rows alike.

use std::sync::Arc;

use elanus_query::{DEFAULT_DATABASE, Engine, EngineOptions};
use object_store::memory::InMemory;

use crate::random_filters::selected;
use crate::support::{engine_with, load, sql, sql_error, text};

/// Values at the place, and the numbers that they count as.
const VALUES: [(&str, Option<f64>); 14] = [
    ("7", Some(7.0)),
    ("\"7\"", Some(7.0)),
    ("\"7.5 kg\"", Some(7.5)),
    ("\" -2\"", Some(-2.0)),
    ("-2.0", Some(-2.0)),
    ("\"1e2\"", Some(100.0)),
    ("\"\\u0035\"", Some(5.0)),
    ("\"abc\"", None),
    ("\"\"", None),
    ("\"1e999\"", None),
    ("true", None),
    ("null", None),
    ("[7]", None),
    ("{\"k\": 7}", None),
];

type Compare = fn(f64, f64) -> bool;

const OPERATORS: [(&str, Compare); 6] = [
    ("==", |a, b| a == b),
    ("!=", |a, b| a != b),
    ("<", |a, b| a < b),
    ("<=", |a, b| a <= b),
    (">", |a, b| a > b),
    (">=", |a, b| a >= b),
];

/// Keys of the values that pass.
fn expected(passes: impl Fn(f64) -> bool) -> Vec<i64> {
    let all = (0i64..).zip(VALUES);
    let passing = all.filter(|(_, (_, number))| number.is_some_and(&passes));
    passing.map(|(key, _)| key).collect()
}

/// What a condition selects, asked in each of the ways there are.
async fn found(engine: &Engine, filter: &str) -> Vec<i64> {
    let keys = selected(engine, "t", filter).await.unwrap();
    let quoted = filter.replace('\'', "''");
    let texts: Vec<String> = keys.iter().map(i64::to_string).collect();
    for statement in [
        format!("SELECT id FROM t WHERE milvus('{quoted}') ORDER BY id"),
        format!("SELECT x.id FROM t AS x WHERE milvus('{quoted}') ORDER BY x.id"),
        format!("SELECT id FROM (SELECT id, milvus('{quoted}') AS is_it FROM t) WHERE is_it ORDER BY id"),
        format!("SELECT x.id FROM t x JOIN t y ON x.id = y.id WHERE milvus('{quoted}', 'x') ORDER BY x.id"),
        format!(
            "SELECT id FROM vector_search(t, v, '[0, 0]', 100, metric => 'l2', filter => '{quoted}') ORDER BY id"
        ),
    ] {
        assert_eq!(
            text(&sql(engine, &statement).await),
            texts.join("\n"),
            "{statement}"
        );
    }
    keys
}

async fn check(engine: &Engine, moment: &str) {
    for literal in ["7", "-2", "7.5", "5.0", "100", "0"] {
        let number: f64 = literal.parse().unwrap();
        for (symbol, holds) in OPERATORS {
            let filter = format!("j[\"a\"] {symbol} {literal}");
            assert_eq!(
                found(engine, &filter).await,
                expected(|value| holds(value, number)),
                "{moment}: {filter}"
            );
        }
    }
    for (filter, passes) in [
        (
            "j[\"a\"] in [7, 100]",
            (|value| value == 7.0 || value == 100.0) as fn(f64) -> bool,
        ),
        ("j[\"a\"] not in [7, 100]", |value| value != 7.0 && value != 100.0),
        ("5 <= j[\"a\"] < 8", |value| (5.0..8.0).contains(&value)),
        ("not (j[\"a\"] > 5)", |value| value <= 5.0),
    ] {
        assert_eq!(
            found(engine, filter).await,
            expected(passes),
            "{moment}: {filter}"
        );
    }
    // Text is still text, and other places are as they were.
    assert_eq!(found(engine, "j[\"a\"] == \"7\"").await, [1], "{moment}");
    assert_eq!(found(engine, "j[\"b\"] > 5").await, Vec::<i64>::new(), "{moment}");
}

#[tokio::test(flavor = "multi_thread")]
async fn text_counts_as_a_number_wherever_the_rows_are() {
    let store = Arc::new(InMemory::new());
    let mut engine = engine_with(Arc::clone(&store), EngineOptions::default()).await;
    sql(
        &engine,
        "CREATE TABLE t (id BIGINT PRIMARY KEY, j JSON, v VECTOR(2) NOT NULL)",
    )
    .await;
    sql(&engine, "CREATE INDEX t_v ON t USING flat (v)").await;
    let collection = engine.collections().collection(DEFAULT_DATABASE, "t").unwrap();
    load(&collection).await;
    let rows: Vec<String> = VALUES
        .iter()
        .enumerate()
        .map(|(key, (value, _))| format!("({key}, '{{\"a\": {value}, \"b\": \"9\"}}', '[{key}, 1]')"))
        .collect();
    sql(&engine, &format!("INSERT INTO t VALUES {}", rows.join(", "))).await;
    assert_eq!(found(&engine, "j[\"a\"] >= 7").await, [0]);

    let create = "CREATE INDEX t_a ON t USING inverted (j) \
                  WITH (json_path = 'j[\"a\"]', json_cast_type = 'DOUBLE', json_cast_function = 'STRING_TO_DOUBLE')";
    sql(&engine, create).await;
    check(&engine, "rows in memory").await;
    collection.flush().await.unwrap();
    check(&engine, "a segment without its index").await;
    collection.settle().await.unwrap();
    let plan = "EXPLAIN ANALYZE SELECT id FROM t WHERE milvus('j[\"a\"] > 5')";
    let plan = text(&sql(&engine, plan).await);
    assert!(plan.contains("rows_checked=0, index=[t_a: "), "{plan}");
    check(&engine, "a segment with its index").await;
    drop(collection);
    engine.collections().close().await;
    engine = engine_with(store, EngineOptions::default()).await;
    check(&engine, "after a restart").await;
    sql(&engine, "DROP INDEX t_a").await;
    assert_eq!(found(&engine, "j[\"a\"] >= 7").await, [0]);
}

#[tokio::test]
async fn other_functions_and_types_are_refused() {
    let engine = engine_with(Arc::new(InMemory::new()), EngineOptions::default()).await;
    sql(
        &engine,
        "CREATE TABLE t (id BIGINT PRIMARY KEY, j JSON, v VECTOR(2) NOT NULL)",
    )
    .await;
    for (cast, function, reason) in [
        (
            "DOUBLE",
            "TO_INT",
            "json_cast_function TO_INT is not supported; allowed is STRING_TO_DOUBLE",
        ),
        (
            "VARCHAR",
            "STRING_TO_DOUBLE",
            "is for json_cast_type DOUBLE, got VARCHAR",
        ),
    ] {
        let with =
            format!("json_path = 'j[\"a\"]', json_cast_type = '{cast}', json_cast_function = '{function}'");
        let error = sql_error(
            &engine,
            &format!("CREATE INDEX ON t USING inverted (j) WITH ({with})"),
        )
        .await;
        assert!(error.contains(reason), "{error}");
    }
}
