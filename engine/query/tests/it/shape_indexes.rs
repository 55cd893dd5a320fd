//! Indexes on shapes: the same rows as without them, whatever the shapes, the condition and the history of the rows.

use std::sync::Arc;

use elanus_query::{DEFAULT_DATABASE, Engine, EngineOptions};
use object_store::memory::InMemory;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::random_filters::{compare_with, runner, selected};
use crate::support::{engine_with, load, sql, text};

const TABLES: [&str; 2] = ["indexed", "plain"];

/// Coordinates on a coarse grid, so that shapes touch, and all over the earth with its seams.
fn position() -> impl Strategy<Value = (f64, f64)> {
    prop_oneof![
        5 => (-6i8..6, -6i8..6).prop_map(|(x, y)| (f64::from(x), f64::from(y))),
        2 => (
            prop::sample::select(vec![-180.0, -179.5, 179.0, 180.0, 0.0]),
            prop::sample::select(vec![-90.0, -89.5, 0.0, 60.0, 89.5, 90.0]),
        ),
        1 => (-500.0..500.0, -500.0..500.0),
    ]
}

/// A shape as text: valid ones mostly, some empty, some that cross themselves, some as wide as the earth.
fn shape() -> impl Strategy<Value = String> {
    let size = || prop::sample::select(vec![0.25, 1.0, 2.0, 3.0, 90.0]);
    let square = |(x, y): (f64, f64), w: f64, h: f64| {
        format!(
            "({x} {y}, {} {y}, {} {}, {x} {}, {x} {y})",
            x + w,
            x + w,
            y + h,
            y + h
        )
    };
    let one = prop_oneof![
        4 => position().prop_map(|(x, y)| format!("POINT ({x} {y})")),
        2 => (position(), position()).prop_map(|((a, b), (c, d))| format!("LINESTRING ({a} {b}, {c} {d})")),
        3 => (position(), size(), size()).prop_map(move |(at, w, h)| format!("POLYGON ({})", square(at, w, h))),
        1 => (position(), position()).prop_map(|((a, b), (c, d))| format!("MULTIPOINT ({a} {b}, {c} {d})")),
        1 => (position(), position(), size())
            .prop_map(move |(a, b, w)| format!("MULTIPOLYGON (({}), ({}))", square(a, w, w), square(b, w, w))),
        1 => position().prop_map(|(x, y)| format!("POLYGON (({x} {y}, {} {}, {} {y}, {x} {}, {x} {y}))", x + 2.0, y + 2.0, x + 2.0, y + 2.0)),
        1 => prop::sample::select(vec!["LINESTRING EMPTY", "POLYGON EMPTY", "GEOMETRYCOLLECTION EMPTY"]).prop_map(str::to_string),
    ];
    let pair = (one.clone(), one.clone()).prop_map(|(a, b)| format!("GEOMETRYCOLLECTION ({a}, {b})"));
    prop_oneof![9 => one, 1 => pair]
}

/// A value of the column, as SQL.
fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        9 => shape().prop_map(|shape| format!("'{shape}'")),
        1 => Just("NULL".to_string()),
    ]
}

const RELATIONS: [&str; 7] = [
    "st_equals",
    "st_touches",
    "st_overlaps",
    "st_crosses",
    "st_contains",
    "st_intersects",
    "st_within",
];

/// A filter of Milvus on shapes.
fn filter() -> impl Strategy<Value = String> {
    let metres = prop::sample::select(vec!["0", "1000", "112000.0", "350000", "3000000", "21000000"]);
    let leaf = prop_oneof![
        6 => (prop::sample::select(RELATIONS.to_vec()), shape())
            .prop_map(|(relation, shape)| format!("{relation}(g, \"{shape}\")")),
        3 => (position(), metres).prop_map(|((x, y), metres)| format!("st_dwithin(g, \"POINT ({x} {y})\", {metres})")),
        1 => Just("g is null".to_string()),
        1 => Just("st_isvalid(g)".to_string()),
        1 => Just("id % 3 == 1".to_string()),
    ];
    leaf.prop_recursive(2, 8, 3, |part| {
        prop_oneof![
            prop::collection::vec(part.clone(), 2..4).prop_map(|parts| format!("({})", parts.join(" and "))),
            prop::collection::vec(part.clone(), 2..4).prop_map(|parts| format!("({})", parts.join(" or "))),
            part.prop_map(|part| format!("not ({part})")),
        ]
    })
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

async fn create(engine: &Engine) {
    both(
        engine,
        "CREATE TABLE $t (id BIGINT PRIMARY KEY, g GEOMETRY, v VECTOR(2) NOT NULL)",
    )
    .await;
    both(engine, "CREATE INDEX $t_v ON $t USING flat (v)").await;
    for table in TABLES {
        load(&engine.collections().collection(DEFAULT_DATABASE, table).unwrap()).await;
    }
}

/// The plan of a condition on the table with the index.
async fn plan(engine: &Engine, condition: &str) -> String {
    let explain = format!("EXPLAIN ANALYZE SELECT id FROM indexed WHERE {condition}");
    text(&sql(engine, &explain).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_on_shapes_select_the_same_rows_with_and_without_an_index() {
    let store = Arc::new(InMemory::new());
    let mut engine = engine_with(Arc::clone(&store), EngineOptions::default()).await;
    let mut runner = runner();
    create(&engine).await;
    sql(&engine, "CREATE INDEX on_g ON indexed USING rtree (g)").await;
    let (values, filters) = (value(), filter());
    let mut next = 0;
    let mut insert = |runner: &mut TestRunner, count: usize| {
        let rows: Vec<String> = (next..next + count)
            .map(|id| {
                format!(
                    "({id}, {}, '[{id}, 1]')",
                    values.new_tree(runner).unwrap().current()
                )
            })
            .collect();
        next += count;
        format!("INSERT INTO $t VALUES {}", rows.join(", "))
    };
    for moment in ["one segment", "two segments"] {
        let statement = insert(&mut runner, 300);
        both(&engine, &statement).await;
        seal(&engine).await;
        compare_with(&engine, TABLES, &mut runner, &filters, 80, moment).await;
    }
    let statement = insert(&mut runner, 60);
    both(&engine, &statement).await;
    compare_with(&engine, TABLES, &mut runner, &filters, 40, "with growing rows").await;
    both(&engine, "DELETE FROM $t WHERE id % 5 = 0").await;
    compare_with(&engine, TABLES, &mut runner, &filters, 40, "with deleted rows").await;
    both(
        &engine,
        "UPDATE $t SET g = 'POLYGON ((0 0, 3 0, 3 3, 0 3, 0 0))' WHERE id % 7 = 1",
    )
    .await;
    both(&engine, "UPDATE $t SET g = NULL WHERE id % 11 = 2").await;
    both(&engine, "UPDATE $t SET g = 'POINT (-179.5 60)' WHERE id % 13 = 3").await;
    compare_with(&engine, TABLES, &mut runner, &filters, 70, "with updated rows").await;
    seal(&engine).await;
    engine.collections().close().await;
    engine = engine_with(store, EngineOptions::default()).await;
    compare_with(&engine, TABLES, &mut runner, &filters, 40, "after a restart").await;
    both(&engine, "VACUUM $t").await;
    compare_with(&engine, TABLES, &mut runner, &filters, 70, "after compaction").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_shapes_that_may_pass_are_looked_at() {
    let engine = engine_with(Arc::new(InMemory::new()), EngineOptions::default()).await;
    create(&engine).await;
    for method in ["autoindex", "rtree"] {
        both(&engine, "DELETE FROM $t WHERE true").await;
        sql(
            &engine,
            &format!("CREATE INDEX on_g ON indexed USING {method} (g)"),
        )
        .await;
        both(
            &engine,
            "INSERT INTO $t SELECT i, 'POINT (' || i % 50 || ' ' || i / 50 || ')', '[' || i || ', 1]' \
             FROM generate_series(0, 2499) AS p(i)",
        )
        .await;
        both(
            &engine,
            "INSERT INTO $t VALUES (5000, NULL, '[0, 0]'), (5001, 'POLYGON EMPTY', '[0, 0]')",
        )
        .await;
        seal(&engine).await;
        for (condition, checked) in [
            (
                "st_within(g, 'POLYGON ((10 10, 14 10, 14 14, 10 14, 10 10))')",
                25,
            ),
            ("st_intersects('LINESTRING (3 7, 5 7)', g)", 3),
            ("st_equals(g, st_geomfromtext('POINT (20 20)'))", 1),
            ("st_dwithin(g, 'POINT (30 30)', 112000)", 9),
            ("st_intersects(g, 'POLYGON EMPTY')", 0),
            ("st_touches(g, 'POINT (7 7)') OR st_within(g, 'POINT (9 9)')", 2),
            (
                "st_intersects(g, 'POLYGON ((0 0, 5 0, 5 5, 0 5, 0 0))') AND NOT st_intersects(g, 'POINT (1 1)')",
                36,
            ),
            ("g IS NULL", 0),
            ("milvus('st_contains(g, \"POINT (2 2)\")')", 1),
        ] {
            let plan = plan(&engine, condition).await;
            let expected = format!("rows_checked={checked}, index=[on_g: ");
            assert!(plan.contains(&expected), "{method}: {condition}: {plan}");
        }
        let all_but = plan(&engine, "NOT st_within(g, 'POINT (9 9)')").await;
        assert!(all_but.contains("rows_checked=1, "), "{all_but}");
        let filter = "not st_within(g, \"POINT (9 9)\")";
        assert_eq!(selected(&engine, "indexed", filter).await.unwrap().len(), 2500);
        // What is wrong with a condition is told, whatever the index could say of it.
        for wrong in [
            "st_dwithin(g, 'LINESTRING (0 0, 1 1)', 1)",
            "st_dwithin(g, 'POINT (0 0)', -1)",
            "st_within(g, 'POINT')",
        ] {
            let statement = format!("SELECT id FROM indexed WHERE {wrong}");
            assert!(engine.sql(DEFAULT_DATABASE, &statement).await.is_err(), "{wrong}");
        }
        sql(&engine, "DROP INDEX on_g").await;
    }
}
