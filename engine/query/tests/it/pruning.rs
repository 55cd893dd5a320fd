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
async fn conditions_of_sql_select_the_same_rows() {
    let engine = engine_with(Arc::new(InMemory::new()), EngineOptions::default()).await;
    let columns =
        "id BIGINT PRIMARY KEY, n BIGINT, s VARCHAR(50), b BOOLEAN, t TIMESTAMPTZ, v VECTOR(2) NOT NULL";
    for table in TABLES {
        sql(&engine, &format!("CREATE TABLE {table} ({columns})")).await;
        sql(&engine, &format!("CREATE INDEX ON {table} USING flat (v)")).await;
    }
    sql(
        &engine,
        "CREATE TABLE one (id BIGINT PRIMARY KEY, x BIGINT, v VECTOR(2) NOT NULL)",
    )
    .await;
    sql(&engine, "INSERT INTO one VALUES (1, 105, '[0, 1]')").await;
    for (from, letter, flag, day) in [
        (1, 'k', "i > 5", "2025-01-01"),
        (101, 'm', "NULL", "2026-01-01"),
        (201, 'z', "false", "2026-02-01"),
        (301, 'z', "true", "2026-03-01"),
    ] {
        let rows = format!(
            "SELECT i AS id, nullif(i, 205) AS n, '{letter}' || i, {flag}, '{day}T00:00:00Z', '[' || i || ', 1]' \
             FROM generate_series({from}, {from} + 9) AS g(i)"
        );
        both(&engine, &format!("INSERT INTO $t {rows}")).await;
        seal(&engine).await;
    }
    for condition in [
        "n > (SELECT max(x) FROM one)",
        "n < (SELECT max(x) - 100 FROM one)",
        "n = (SELECT max(x) FROM one WHERE false)",
        "n IN (SELECT x FROM one)",
        "n NOT IN (SELECT x FROM one)",
        "b",
        "NOT b",
        "b IS NOT TRUE",
        "b IS NULL",
        "b IS NOT NULL",
        "b = false OR n = 107",
        "coalesce(b, true)",
        "t > '2025-06-01T00:00:00Z'",
        "t BETWEEN '2026-01-15T00:00:00Z' AND '2026-02-01T00:00:00Z'",
        "t::date = '2026-02-01'",
        "date_part('year', t) = 2025",
        "n + 1 > 208",
        "-n < -105",
        "10 / (n - 1000) = 0",
        "n::text = '105'",
        "n::text LIKE '10%'",
        "n::double > 104.5",
        "TRY_CAST(n AS TINYINT) > 105",
        "s LIKE 'm%'",
        "s NOT LIKE 'k%'",
        "s NOT LIKE 'z%'",
        "s LIKE '_1%'",
        "s ILIKE 'M%'",
        "s ~ '^m'",
        "lower(s) = 'm105'",
        "starts_with(s, 'z3')",
        "s IN ('k3', 'm105')",
        "s NOT IN ('k3', 'm105')",
        "s > 'm' AND s < 'n'",
        "n IS NULL",
        "n IS DISTINCT FROM 5",
        "n IS NOT DISTINCT FROM 105",
        "n IS NOT DISTINCT FROM NULL",
        "CASE WHEN n > 50 THEN b ELSE n > 3 END",
        "n BETWEEN 5 AND 102 AND random() >= 0",
        "(n > 100) = true",
        "(n > 100) IS NOT TRUE",
        "NOT (n > 100 AND s < 'l')",
        "id = 105 OR id = 305",
        "n = NULL",
        "true",
    ] {
        let mut found = Vec::new();
        for table in TABLES {
            for order in ["id", "v <-> '[0, 1]' LIMIT 7"] {
                let statement = format!("SELECT id FROM {table} WHERE {condition} ORDER BY {order}");
                found.push(text(&sql(&engine, &statement).await));
            }
        }
        let [sealed, sealed_near, growing, growing_near] = found.try_into().unwrap();
        assert_eq!(sealed, growing, "{condition}");
        assert_eq!(sealed_near, growing_near, "{condition}");
    }
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

#[tokio::test(flavor = "multi_thread")]
async fn segments_without_a_wanted_value_are_not_read_though_it_is_within_their_bounds() {
    let engine = engine_with(Arc::new(InMemory::new()), EngineOptions::default()).await;
    let columns = "id BIGINT PRIMARY KEY, name VARCHAR(200), doc JSON, n BIGINT, v VECTOR(2) NOT NULL";
    sql(&engine, &format!("CREATE TABLE sealed ({columns})")).await;
    sql(&engine, "CREATE INDEX on_v ON sealed USING flat (v)").await;
    for segment in 0..4 {
        // Each segment has every fourth key and name.
        let rows = format!(
            "SELECT i, 'name ' || lpad(i::text, 4, '0'), '{{\"a\": ' || i || '}}', i + 0, '[' || i || ', 1]' \
             FROM generate_series({segment}, 399, 4) AS g(i)"
        );
        sql(&engine, &format!("INSERT INTO sealed {rows}")).await;
        seal(&engine).await;
    }
    let cases = [
        ("id = 17", Some(3)),
        ("id IN (17, 33, 49)", Some(3)),
        ("id IN (17, 18)", Some(2)),
        ("id = 17 AND n > 3", Some(3)),
        ("id = 17 OR n = 18", None),
        ("id <> 17", None),
        ("name = 'name 0042'", Some(3)),
        ("name IN ('name 0042', 'name 0043')", Some(2)),
        ("name = 'name 0042' OR name = 'name 0046'", Some(3)),
        (
            "milvus('name in [\"name 0042\", \"name 0050\"] and id > 0')",
            Some(3),
        ),
        ("name NOT IN ('name 0042')", None),
        ("name = 'name 0042x'", Some(4)),
        // Of other columns there are no filters.
        ("n = 17", None),
    ];
    for (condition, expected) in cases {
        let statement = format!("SELECT id FROM sealed WHERE {condition}");
        assert_eq!(pruned(&engine, &statement).await, expected, "{condition}");
    }
    let near = "SELECT id FROM sealed WHERE name = 'name 0042' ORDER BY v <-> '[0, 1]' LIMIT 2";
    assert_eq!(pruned(&engine, near).await, Some(3));
    sql(&engine, "UPDATE sealed SET name = 'name 0042' WHERE id = 17").await;
    let found = text(
        &sql(
            &engine,
            "SELECT id FROM sealed WHERE name = 'name 0042' ORDER BY id",
        )
        .await,
    );
    assert_eq!(found, "17\n42");
    let after_update = pruned(&engine, "SELECT id FROM sealed WHERE name = 'name 0042'").await;
    assert_eq!(
        after_update,
        Some(2),
        "the filter of an updated column is not trusted"
    );
    // A key that moves to a new row is found there.
    sql(&engine, "DELETE FROM sealed WHERE id = 42").await;
    sql(
        &engine,
        "INSERT INTO sealed VALUES (42, 'new', NULL, 1, '[1, 1]')",
    )
    .await;
    seal(&engine).await;
    let found = text(&sql(&engine, "SELECT name FROM sealed WHERE id = 42").await);
    assert_eq!(found, "new");
}
