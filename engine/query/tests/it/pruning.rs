//! Segments left out for the bounds of their values: the same rows as when every value is read.

use std::sync::Arc;

use elanus_query::{DEFAULT_DATABASE, Engine, EngineOptions};
use object_store::memory::InMemory;
use proptest::strategy::{Strategy, ValueTree};

use crate::random_filters::{compare, create, row, runner};
use crate::support::{engine_with, sql, text};

/// The one with segments, the one whose rows stay in memory.
const TABLES: [&str; 2] = ["sealed", "growing"];

async fn both(engine: &Engine, statement: &str) {
    for table in TABLES {
        sql(engine, &statement.replace("$t", table)).await;
    }
}

/// Puts the rows of the one table into a segment.
async fn seal(engine: &Engine) {
    let sealed = engine.collections().collection(DEFAULT_DATABASE, "sealed");
    sealed.unwrap().flush().await.unwrap();
}

/// `units_pruned` of a statement.
async fn pruned(engine: &Engine, statement: &str) -> Option<usize> {
    let plan = text(&sql(engine, &format!("EXPLAIN ANALYZE {statement}")).await);
    let (_, after) = plan.split_once("units_pruned=")?;
    let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_select_the_same_rows_of_many_segments_and_of_rows_in_memory() {
    let engine = engine_with(Arc::new(InMemory::new()), EngineOptions::default()).await;
    let mut runner = runner();
    create(&engine, "sealed").await;
    create(&engine, "growing").await;
    let rows = row();
    let mut next = 0;
    // So few rows in a segment that most filters rule some segments out.
    for count in (1..=4).cycle().take(24) {
        let values: Vec<String> = (next..next + count)
            .map(|id| {
                let row = rows.new_tree(&mut runner).unwrap().current();
                format!("({id}, {}, {row}, '[{id}, 1]')", id % 100)
            })
            .collect();
        next += count;
        both(&engine, &format!("INSERT INTO $t VALUES {}", values.join(", "))).await;
        seal(&engine).await;
    }
    compare(&engine, TABLES, &mut runner, 300, "many segments").await;
    both(&engine, "DELETE FROM $t WHERE id % 5 = 0").await;
    compare(&engine, TABLES, &mut runner, 100, "with deleted rows").await;
    both(
        &engine,
        "UPDATE $t SET i = 5, w = 'abü', t = NULL WHERE id % 3 = 1",
    )
    .await;
    compare(&engine, TABLES, &mut runner, 200, "with updated rows").await;
    both(&engine, "ALTER TABLE $t RENAME COLUMN i TO i_before").await;
    both(&engine, "ALTER TABLE $t ADD COLUMN i BIGINT").await;
    both(&engine, "UPDATE $t SET i = n WHERE id % 4 = 1").await;
    compare(
        &engine,
        TABLES,
        &mut runner,
        200,
        "after a column took the name of another",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn segments_without_a_row_in_range_are_not_read() {
    let engine = engine_with(Arc::new(InMemory::new()), EngineOptions::default()).await;
    let columns = "id BIGINT PRIMARY KEY, n BIGINT, name VARCHAR(200), price DOUBLE, v VECTOR(2) NOT NULL";
    sql(&engine, &format!("CREATE TABLE sealed ({columns})")).await;
    sql(&engine, "CREATE INDEX on_v ON sealed USING flat (v)").await;
    for segment in 0..4 {
        let values: Vec<String> = (segment * 10..segment * 10 + 10)
            .map(|id| {
                // Long names, of which the files keep the first 64 bytes.
                let name = format!("{segment}{}{id}", "x".repeat(100));
                format!("({id}, {id}, '{name}', {id}.5, '[{id}, 1]')")
            })
            .collect();
        sql(
            &engine,
            &format!("INSERT INTO sealed VALUES {}", values.join(", ")),
        )
        .await;
        seal(&engine).await;
    }
    let cases = [
        ("SELECT id FROM sealed WHERE n >= 30", Some(3)),
        (
            "SELECT id FROM sealed WHERE n BETWEEN 12 AND 13 AND price > 0",
            Some(3),
        ),
        ("SELECT id FROM sealed WHERE n IN (1, 25)", Some(2)),
        ("SELECT id FROM sealed WHERE n IS NULL", Some(4)),
        ("SELECT id FROM sealed WHERE name LIKE '2%'", Some(3)),
        (
            "SELECT id FROM sealed WHERE milvus('name like \"0x%\" or n == 39')",
            Some(2),
        ),
        ("SELECT id FROM sealed WHERE n % 2 = 0", None),
        // NaN is in no bounds.
        ("SELECT id FROM sealed WHERE price > 1000", None),
        (
            "SELECT id FROM sealed WHERE n > 35 ORDER BY v <-> '[0, 1]' LIMIT 2",
            Some(3),
        ),
    ];
    for (statement, expected) in cases {
        assert_eq!(pruned(&engine, statement).await, expected, "{statement}");
    }
    sql(&engine, "UPDATE sealed SET n = 100 WHERE id = 3").await;
    let after_update = pruned(&engine, "SELECT id FROM sealed WHERE n > 50").await;
    assert_eq!(
        after_update,
        Some(3),
        "the bounds of an updated column are not trusted"
    );
}
