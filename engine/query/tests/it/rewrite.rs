//! The rewrite of `ORDER BY distance LIMIT k` changes no answer. More shapes of queries are in `shapes`.

use std::sync::LazyLock;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, Int64Type};
use elanus_query::{DEFAULT_DATABASE, Engine};
use proptest::prelude::*;
use proptest::test_runner::Config;
use tokio::runtime::Runtime;

use crate::support::{engine, ints, line, sql, sql_error};

pub static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

/// A row: its number in a small range, and its vector, if it has one, in steps of a unit. Few steps
/// make many equal distances and zero vectors; the two plans must agree to the last bit.
pub type Row = (i64, Option<[i8; 2]>);

pub fn written([x, y]: [i8; 2], unit: f32) -> String {
    format!("'[{}, {}]'", f32::from(x) * unit, f32::from(y) * unit)
}

pub fn rows() -> impl Strategy<Value = Vec<Row>> {
    let vector = prop::array::uniform2(-3i8..=3);
    prop::collection::vec((0i64..6, prop::option::weighted(0.85, vector)), 0..60)
}

fn distance() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "v <-> $q ASC",
        "v <=> $q ASC",
        "v <#> $q ASC",
        "inner_product(v, $q) DESC NULLS LAST",
    ])
}

pub fn predicate() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("true".to_string()),
        (0i64..6).prop_map(|n| format!("n = {n}")),
        (0i64..6).prop_map(|n| format!("n > {n} OR v IS NULL")),
        (0i64..60).prop_map(|id| format!("id < {id} AND n <> 2")),
        prop::collection::vec(0i64..70, 1..5).prop_map(|ids| format!(
            "id IN ({})",
            ids.iter().map(i64::to_string).collect::<Vec<_>>().join(", ")
        )),
        (0i64..6).prop_map(|n| format!("n >= (SELECT {n}) AND id >= 0")),
        (1i64..5).prop_map(|d| format!("l1_distance(v, '[0,0]') <= {d}")),
    ]
}

pub async fn filled(rows: &[Row], unit: f32, deleted: &[bool], cuts: &[usize]) -> Engine {
    let engine = engine().await;
    sql(
        &engine,
        "CREATE TABLE t (id BIGINT PRIMARY KEY, n BIGINT NOT NULL, v VECTOR(2))",
    )
    .await;
    let collection = engine.collections().collection(DEFAULT_DATABASE, "t").unwrap();
    for (id, (n, vector)) in rows.iter().enumerate() {
        let vector = vector.map_or("NULL".to_string(), |vector| written(vector, unit));
        sql(&engine, &format!("INSERT INTO t VALUES ({id}, {n}, {vector})")).await;
        if cuts.contains(&id) {
            collection.flush().await.unwrap();
        }
    }
    for id in (0..rows.len()).filter(|id| deleted.get(*id).copied().unwrap_or(false)) {
        sql(&engine, &format!("DELETE FROM t WHERE id = {id}")).await;
    }
    engine
}

async fn both(engine: &Engine, text: &str) -> (Vec<RecordBatch>, Vec<RecordBatch>) {
    let exact = engine.session(DEFAULT_DATABASE).unwrap();
    engine.sql_in(&exact, "SET elanus.exact = true").await.unwrap();
    let found = match engine.sql(DEFAULT_DATABASE, text).await {
        Ok(output) => output.batches,
        Err(error) => panic!("{text}: {error}"),
    };
    (found, engine.sql_in(&exact, text).await.unwrap().batches)
}

/// The ids, and the distances as bits so that NaN equals NaN.
fn answer(batches: &[RecordBatch]) -> (Vec<i64>, Vec<Option<u64>>) {
    let mut ids = Vec::new();
    let mut distances = Vec::new();
    for batch in batches {
        ids.extend(batch.column(0).as_primitive::<Int64Type>().values());
        let column = batch.column(1).as_primitive::<Float64Type>();
        distances.extend((0..column.len()).map(|i| {
            column.is_valid(i).then(|| {
                if column.value(i).is_nan() {
                    u64::MAX
                } else {
                    column.value(i).to_bits()
                }
            })
        }));
    }
    (ids, distances)
}

/// Whether the plan of `text` searches instead of sorting.
pub async fn is_search(engine: &Engine, text: &str) -> bool {
    let plan = sql(engine, &format!("EXPLAIN {text}")).await;
    format!("{:?}", plan.batches).contains("AnnSearchExec")
}

#[tokio::test]
async fn a_cast_of_the_column_is_another_vector() {
    let engine = engine().await;
    sql(
        &engine,
        "CREATE TABLE t (id BIGINT PRIMARY KEY, v VECTOR(2) NOT NULL)",
    )
    .await;
    sql(
        &engine,
        "INSERT INTO t VALUES (1, '[0.9, 0]'), (2, '[0, 0.1]'), (3, '[1, 1]')",
    )
    .await;
    // as whole numbers 1 and 2 are at the origin
    let text = "SELECT id FROM t ORDER BY l2_distance(v::BIGINT[], '[1, 1]') LIMIT 1";
    let (found, exact) = both(&engine, text).await;
    assert_eq!(ints(&found), [3]);
    assert_eq!(found, exact);
    assert!(!is_search(&engine, text).await);
}

#[tokio::test]
async fn a_subquery_that_may_change_its_mind_is_not_searched_for() {
    let engine = engine().await;
    line(&engine, 20).await;
    for (text, expected) in [
        (
            "SELECT id FROM t ORDER BY v <-> (SELECT v FROM t WHERE id = 7) LIMIT 3",
            true,
        ),
        (
            "SELECT id FROM t ORDER BY v <-> (SELECT v FROM t ORDER BY random() LIMIT 1) LIMIT 3",
            false,
        ),
        (
            "SELECT id FROM t WHERE n > (SELECT 3) ORDER BY v <-> '[1, 1]' LIMIT 3",
            true,
        ),
        (
            "SELECT id FROM t WHERE n > (SELECT 10 * random()) ORDER BY v <-> '[1, 1]' LIMIT 3",
            false,
        ),
    ] {
        assert_eq!(is_search(&engine, text).await, expected, "{text}");
    }
}

#[tokio::test]
async fn a_filter_fails_on_the_rows_it_is_asked_about_only() {
    let engine = engine().await;
    line(&engine, 20).await;
    let divided = "SELECT id FROM t WHERE 10 / n > 4 ORDER BY id";
    let searched = "SELECT id FROM t WHERE 10 / n > 4 ORDER BY v <-> '[0, 0]' LIMIT 9";
    for text in [divided, searched] {
        assert!(
            sql_error(&engine, text).await.contains("divide by zero"),
            "{text}"
        );
    }
    // the other condition comes first, with and without a search
    let guarded = "SELECT id FROM t WHERE n <> 0 AND 10 / n > (SELECT 4) ORDER BY v <-> '[0, 0]' LIMIT 9";
    assert!(is_search(&engine, guarded).await);
    let (found, exact) = both(&engine, guarded).await;
    assert_eq!(ints(&found), [1, 2, 11, 12]);
    assert_eq!(ints(&found), ints(&exact));
    // what is deleted is nobody's business
    sql(&engine, "DELETE FROM t WHERE n = 0").await;
    for text in [divided, searched] {
        assert_eq!(ints(&sql(&engine, text).await.batches), [1, 2, 11, 12], "{text}");
    }
}

proptest! {
    #![proptest_config(Config { cases: 48, ..Config::default() })]

    #[test]
    fn a_rewritten_search_answers_like_the_exact_plan(
        rows in rows(),
        unit in prop::sample::select(vec![1.0f32, 0.37]),
        deleted in prop::collection::vec(prop::bool::weighted(0.2), 60),
        cuts in prop::collection::vec(0usize..60, 0..4),
        flat in any::<bool>(),
        searches in prop::collection::vec(
            (distance(), predicate(), prop::array::uniform2(-3i8..=3), 1usize..20, 0usize..4), 1..8),
    ) {
        RUNTIME.block_on(async {
            let engine = filled(&rows, unit, &deleted, &cuts).await;
            if flat {
                sql(&engine, "CREATE INDEX v ON t USING flat (v vector_cosine_ops)").await;
            }
            for (distance, predicate, query, limit, offset) in searches {
                let order = distance.replace("$q", &written(query, unit));
                let key = order.replace(" ASC", "").replace(" DESC NULLS LAST", "");
                let text = format!(
                    "SELECT id, {key} AS d FROM t WHERE {predicate} ORDER BY {order} LIMIT {limit} OFFSET {offset}"
                );
                let (found, exact) = both(&engine, &text).await;
                let ((ids, distances), (exact_ids, exact_distances)) = (answer(&found), answer(&exact));
                prop_assert_eq!(&distances, &exact_distances, "{}", text);
                // among equal distances any rows are right, but never the same row twice
                let mut unique = ids.clone();
                unique.sort_unstable();
                unique.dedup();
                prop_assert_eq!(unique.len(), exact_ids.len(), "{}", text);
                if let (Some(found), Some(exact)) = (found.first(), exact.first()) {
                    prop_assert_eq!(found.schema(), exact.schema());
                }
            }
            Ok(())
        })?;
    }

    #[test]
    fn an_index_gives_k_rows_whenever_k_rows_match(
        seed in any::<u64>(),
        modulus in 1u64..40,
        limit in 1usize..40,
        method in prop::sample::select(vec!["hnsw", "ivf_flat"]),
    ) {
        RUNTIME.block_on(async {
            let engine = engine().await;
            sql(&engine, "CREATE TABLE t (id BIGINT PRIMARY KEY, n BIGINT NOT NULL, v VECTOR(4) NOT NULL)").await;
            let mut state = seed | 1;
            let mut next = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 40) as f32 / 1e5
            };
            let values: Vec<String> = (0..600u64)
                .map(|id| format!("({id}, {}, '[{}, {}, {}, {}]')", id % modulus, next(), next(), next(), next()))
                .collect();
            sql(&engine, &format!("INSERT INTO t VALUES {}", values.join(", "))).await;
            sql(&engine, &format!("CREATE INDEX i ON t USING {method} (v vector_l2_ops)")).await;
            let text = format!("SELECT id, v <-> '[1,2,3,4]' AS d FROM t WHERE n = 0 ORDER BY d LIMIT {limit}");
            let (found, exact) = both(&engine, &text).await;
            let rows = |batches: &[RecordBatch]| batches.iter().map(RecordBatch::num_rows).sum::<usize>();
            prop_assert_eq!(rows(&found), rows(&exact), "{}", text);
            Ok(())
        })?;
    }
}
