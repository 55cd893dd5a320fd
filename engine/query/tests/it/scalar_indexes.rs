//! Scalar indexes: the same rows as without them, whatever the values, the filter and the history of the rows.

use std::sync::Arc;

use elanus_query::{DEFAULT_DATABASE, Engine, EngineOptions};
use object_store::memory::InMemory;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

use crate::random_filters::{compare, create, row, runner};
use crate::support::{engine_with, ints, sql, text};

const TABLES: [&str; 2] = ["indexed", "plain"];

async fn index_json(engine: &Engine, cast: &str) {
    let path = "j[\"x\"][\"y\"]";
    let with = format!("json_path = '{path}', json_cast_type = '{cast}'");
    sql(
        engine,
        &format!("CREATE INDEX on_j ON indexed USING inverted (j) WITH ({with})"),
    )
    .await;
}

async fn both(engine: &Engine, statement: &str) {
    for table in TABLES {
        sql(engine, &statement.replace("$t", table)).await;
    }
}

/// Puts all rows into segments and builds their indexes.
async fn seal(engine: &Engine) {
    for table in TABLES {
        let collection = engine.collections().collection(DEFAULT_DATABASE, table).unwrap();
        collection.flush().await.unwrap();
        collection.settle().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_called_value_is_compared_row_by_row() {
    let engine = engine_with(Arc::new(InMemory::new()), EngineOptions::default()).await;
    sql(
        &engine,
        "CREATE TABLE t (id BIGINT PRIMARY KEY, price BIGINT, value BIGINT, v VECTOR(2) NOT NULL)",
    )
    .await;
    sql(&engine, "CREATE INDEX on_price ON t USING inverted (price)").await;
    let rows: Vec<String> = (0..60)
        .map(|id| format!("({id}, {}, {}, '[0, 1]')", id % 4, id % 3))
        .collect();
    sql(&engine, &format!("INSERT INTO t VALUES {}", rows.join(", "))).await;
    let collection = engine.collections().collection(DEFAULT_DATABASE, "t").unwrap();
    collection.flush().await.unwrap();
    collection.settle().await.unwrap();
    let rows: Vec<[i64; 3]> = (0..60).map(|id| [id, id % 4, id % 3]).collect();
    let ids = |holds: fn(i64, i64) -> bool| -> Vec<i64> {
        let kept = rows.iter().filter(|[_, price, value]| holds(*price, *value));
        kept.map(|[id, ..]| *id).collect()
    };
    for (condition, expected) in [
        ("price > value", ids(|price, value| price > value)),
        ("price <= value", ids(|price, value| price <= value)),
        ("price = value", ids(|price, value| price == value)),
        ("price % 2 = value", ids(|price, value| price % 2 == value)),
    ] {
        let found = sql(
            &engine,
            &format!("SELECT id FROM t WHERE {condition} ORDER BY id"),
        )
        .await;
        assert_eq!(ints(&found.batches), expected, "{condition}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_select_the_same_rows_with_and_without_indexes() {
    let store = Arc::new(InMemory::new());
    let options = EngineOptions::default;
    let mut engine = engine_with(Arc::clone(&store), options()).await;
    let mut runner = runner();
    create(&engine, "indexed").await;
    create(&engine, "plain").await;
    for (name, method) in [
        ("i", "inverted"),
        ("s", "stl_sort"),
        ("f", "autoindex"),
        ("w", "ngram (w) WITH (min_gram = 1, max_gram = 2)"),
        ("b", "bitmap"),
        ("t", "stl_sort"),
        ("a", "inverted"),
    ] {
        let on = if method.contains('(') {
            method.to_string()
        } else {
            format!("{method} ({name})")
        };
        sql(&engine, &format!("CREATE INDEX on_{name} ON indexed USING {on}")).await;
    }
    index_json(&engine, "DOUBLE").await;
    let mut next = 0;
    let rows = row();
    let insert = |runner: &mut TestRunner, count: i64, next: &mut i64| {
        let values: Vec<String> = (*next..*next + count)
            .map(|id| {
                let row = rows.new_tree(runner).unwrap().current();
                format!("({id}, {}, {row}, '[{id}, 1]')", id % 100)
            })
            .collect();
        *next += count;
        format!("INSERT INTO $t VALUES {}", values.join(", "))
    };
    for moment in ["one segment", "two segments"] {
        let statement = insert(&mut runner, 400, &mut next);
        both(&engine, &statement).await;
        seal(&engine).await;
        compare(&engine, TABLES, &mut runner, 150, moment).await;
    }
    let used = sql(
        &engine,
        "EXPLAIN ANALYZE SELECT id FROM indexed WHERE i < -3 AND w LIKE '%ab%'",
    )
    .await;
    let used = text(&used);
    assert!(
        used.contains("on_i: i < Int64(-3)") && used.contains("on_w: w LIKE"),
        "{used}"
    );

    let statement = insert(&mut runner, 60, &mut next);
    both(&engine, &statement).await;
    compare(&engine, TABLES, &mut runner, 60, "with growing rows").await;
    both(&engine, "DELETE FROM $t WHERE id % 5 = 0").await;
    compare(&engine, TABLES, &mut runner, 60, "with deleted rows").await;
    both(&engine, "UPDATE $t SET i = 3, w = 'abü' WHERE id % 7 = 1").await;
    both(
        &engine,
        "UPDATE $t SET f = NULL, a = ARRAY[2], b = NOT b WHERE id % 11 = 2",
    )
    .await;
    compare(&engine, TABLES, &mut runner, 120, "with updated rows").await;

    seal(&engine).await;
    engine.collections().close().await;
    engine = engine_with(store, options()).await;
    compare(&engine, TABLES, &mut runner, 80, "after a restart").await;
    both(&engine, "VACUUM $t").await;
    compare(&engine, TABLES, &mut runner, 80, "after compaction").await;
    for (cast, answered) in [
        ("VARCHAR", "j[\"x\"][\"y\"] in [\"ab\"]"),
        ("BOOL", "j[\"x\"][\"y\"] == true"),
        ("ARRAY_DOUBLE", "json_contains(j[\"x\"][\"y\"], 1)"),
    ] {
        sql(&engine, "DROP INDEX on_j").await;
        index_json(&engine, cast).await;
        seal(&engine).await;
        let explain = format!("EXPLAIN ANALYZE SELECT id FROM indexed WHERE milvus('{answered}')");
        let plan = text(&sql(&engine, &explain).await);
        assert!(plan.contains("rows_checked=0, index=[on_j: "), "{cast}: {plan}");
        compare(&engine, TABLES, &mut runner, 60, cast).await;
    }
    both(&engine, "ALTER TABLE $t RENAME COLUMN i TO i_before").await;
    both(&engine, "ALTER TABLE $t ADD COLUMN i BIGINT").await;
    compare(
        &engine,
        TABLES,
        &mut runner,
        60,
        "after a column took the name of another",
    )
    .await;
}
