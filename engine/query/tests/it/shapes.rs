//! Searches in queries of every shape answer like the exact plan, and a vector join like single searches.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use arrow::array::AsArray;
use arrow::datatypes::Float32Type;
use elanus_query::{DEFAULT_DATABASE, Engine};
use proptest::prelude::*;
use proptest::test_runner::Config;

use crate::rewrite::{RUNTIME, Row, filled, is_search, predicate, rows, written};
use crate::support::{ints, sql, sql_error, text};

/// Queries with a search in them; `$d` is the distance, `$p` a condition on `t`, `$r` a distance, `$k` and `$o` limit and
/// offset. Keys behind the distance decide among equals, so that each has one answer.
const SHAPES: [&str; 29] = [
    "SELECT id, $d AS d FROM t WHERE $p ORDER BY d, id LIMIT $k OFFSET $o",
    "SELECT id FROM t WHERE $p ORDER BY $d, n DESC, id LIMIT $k",
    "SELECT x.id, x.d FROM (SELECT id, n, $d AS d FROM t WHERE $p) x WHERE x.n <> 3 ORDER BY x.d, x.id LIMIT $k",
    "WITH c AS (SELECT id, v, n FROM t WHERE $p) SELECT c.id FROM c ORDER BY $d, c.id LIMIT $k",
    "SELECT t.id, s.id FROM t LEFT JOIN s ON s.n = t.n WHERE $p ORDER BY $d, t.id, s.id LIMIT $k",
    "SELECT t.id, s.id FROM s RIGHT JOIN t ON s.n = t.n AND s.m > 1 WHERE $p ORDER BY $d, t.id, s.id LIMIT $k",
    "SELECT t.id, s.id FROM t JOIN s ON s.n = t.n WHERE $p ORDER BY $d, t.id, s.id LIMIT $k",
    "SELECT t.id, s.id FROM s JOIN t ON s.n = t.n AND s.m < t.id WHERE $p AND s.m <> 2 ORDER BY $d, t.id, s.id LIMIT $k",
    "SELECT x.i, s.id FROM (SELECT id AS i, n + 1 AS n, v FROM t WHERE $p) x JOIN s USING (n) ORDER BY $d, x.i, s.id LIMIT $k",
    "SELECT id FROM t WHERE $p AND n IN (SELECT n FROM s) ORDER BY $d, id LIMIT $k OFFSET $o",
    "SELECT id FROM t WHERE $p AND n NOT IN (SELECT n FROM s) ORDER BY $d, id LIMIT $k",
    "SELECT id FROM t WHERE $p AND n NOT IN (SELECT n FROM s WHERE n IS NOT NULL) ORDER BY $d, id LIMIT $k",
    "SELECT id FROM t WHERE EXISTS (SELECT 1 FROM s WHERE s.n = t.n AND s.m < t.id) AND $p ORDER BY $d, id LIMIT $k",
    "SELECT id FROM t WHERE NOT EXISTS (SELECT 1 FROM s WHERE s.n = t.n AND s.m > 2) AND $p ORDER BY $d, id LIMIT $k",
    "SELECT id FROM t WHERE n IN (SELECT n FROM s) AND id NOT IN (SELECT m FROM s WHERE m > 1) AND $p ORDER BY $d, id LIMIT $k",
    "SELECT id FROM t WHERE n IN (SELECT n FROM s ORDER BY m, id LIMIT 2) AND $p ORDER BY $d, id LIMIT $k",
    "SELECT id, $d AS d FROM t WHERE $p UNION ALL SELECT id + 1000, $d FROM t WHERE n < 3 ORDER BY 2, 1 LIMIT $k",
    "SELECT id FROM t WHERE id IN (SELECT id FROM t WHERE $p ORDER BY $d, id LIMIT $k) ORDER BY id",
    "SELECT s.id, x.id FROM s JOIN (SELECT id, n FROM t WHERE $p ORDER BY $d, id LIMIT $k) x ON x.n = s.n ORDER BY 1, 2",
    "SELECT id FROM (SELECT id, n, v FROM t WHERE n IN (SELECT n FROM s)) x WHERE x.n > 0 ORDER BY $d, x.id LIMIT $k",
    "SELECT n, count(*), min(id) FROM (SELECT n, id FROM t WHERE $p ORDER BY $d, id LIMIT $k) GROUP BY n ORDER BY n",
    "SELECT id, $d AS d FROM t WHERE $p AND $d < $r ORDER BY d, id LIMIT $k OFFSET $o",
    "SELECT id FROM t WHERE $r >= $d AND $p ORDER BY $d, n, id LIMIT $k",
    "SELECT id FROM t WHERE $d BETWEEN $r - 1.5 AND $r AND $p ORDER BY $d, id LIMIT $k",
    "SELECT id FROM t WHERE $p AND $d > $r ORDER BY $d, id LIMIT $k",
    "WITH c AS (SELECT id, n, $d AS d FROM t WHERE $p) SELECT id FROM c WHERE d <= $r AND d >= -($r) ORDER BY d, id LIMIT $k",
    "SELECT id, $d AS d FROM t WHERE $d < $r UNION ALL SELECT id + 1000, $d FROM t WHERE $p ORDER BY 2, 1 LIMIT $k",
    "SELECT id FROM t WHERE n IN (SELECT n FROM s) AND $d <= $r ORDER BY $d, id LIMIT $k",
    "SELECT t.id, s.id FROM t JOIN s ON s.n = t.n WHERE $p AND $d < $r ORDER BY $d, t.id, s.id LIMIT $k",
];

/// Ends of ranges; some are distances that rows have.
const ENDS: [&str; 10] = [
    "-4",
    "-1",
    "0",
    "0.37",
    "1",
    "1.4142135623730951",
    "2",
    "3.7",
    "5",
    "1000",
];

const DISTANCES: [&str; 4] = ["v <-> $q", "v <=> $q", "v <#> $q", "v <-> (SELECT w FROM q)"];

/// What the text gives with indexes, and what it gives without.
async fn both(engine: &Engine, query: &str) -> (String, String) {
    let mut found = Vec::new();
    for setting in ["elanus.exact = false", "elanus.exact = true"] {
        let session = engine.session(DEFAULT_DATABASE).unwrap();
        engine.sql_in(&session, &format!("SET {setting}")).await.unwrap();
        // no graph is larger, so nothing is missed
        engine
            .sql_in(&session, "SET elanus.ef_search = 200")
            .await
            .unwrap();
        match engine.sql_in(&session, query).await {
            Ok(output) => found.push(text(&output)),
            Err(error) => panic!("{query}\n{error}"),
        }
    }
    let exact = found.pop().unwrap();
    (found.pop().unwrap(), exact)
}

async fn with_others(
    rows: &[Row],
    unit: f32,
    deleted: &[bool],
    cuts: &[usize],
    others: &[(Option<i64>, i64)],
    method: Option<&str>,
) -> Engine {
    let engine = filled(rows, unit, deleted, cuts).await;
    if let Some(method) = method {
        sql(
            &engine,
            &format!("CREATE INDEX v ON t USING {method} (v vector_l2_ops)"),
        )
        .await;
    }
    sql(
        &engine,
        "CREATE TABLE s (id BIGINT PRIMARY KEY, n BIGINT, m BIGINT NOT NULL)",
    )
    .await;
    for (id, (n, m)) in others.iter().enumerate() {
        let n = n.map_or("NULL".to_string(), |n| n.to_string());
        sql(&engine, &format!("INSERT INTO s VALUES ({id}, {n}, {m})")).await;
    }
    engine
}

proptest! {
    #![proptest_config(Config { cases: 40, ..Config::default() })]

    #[test]
    fn a_search_in_any_query_answers_like_the_exact_plan(
        rows in rows(),
        unit in prop::sample::select(vec![1.0f32, 0.37]),
        deleted in prop::collection::vec(prop::bool::weighted(0.2), 60),
        cuts in prop::collection::vec(0usize..60, 0..4),
        others in prop::collection::vec((prop::option::weighted(0.9, 0i64..6), 0i64..5), 0..9),
        method in prop::sample::select(vec![None, Some("flat"), Some("hnsw")]),
        query in prop::array::uniform2(-3i8..=3),
        searches in prop::collection::vec(
            (prop::sample::select(SHAPES.to_vec()), prop::sample::select(DISTANCES.to_vec()), predicate(), 1usize..20, 0usize..4,
                prop::sample::select(ENDS.to_vec())),
            4..10),
    ) {
        RUNTIME.block_on(async {
            let engine = with_others(&rows, unit, &deleted, &cuts, &others, method).await;
            sql(&engine, "CREATE TABLE q (id BIGINT PRIMARY KEY, w VECTOR(2))").await;
            sql(&engine, &format!("INSERT INTO q VALUES (1, {})", written(query, unit))).await;
            for (shape, distance, predicate, limit, offset, end) in searches {
                // unqualified names would be ambiguous in joins
                let predicate = predicate.replace("id", "t.id").replace("n ", "t.n ").replace("(v", "(t.v").replace("v IS", "t.v IS");
                let text = shape
                    .replace("$d", distance)
                    .replace("$q", &written(query, unit))
                    .replace("$p", &format!("({predicate})"))
                    .replace("$r", end)
                    .replace("$k", &limit.to_string())
                    .replace("$o", &offset.to_string());
                let (found, exact) = both(&engine, &text).await;
                prop_assert_eq!(found, exact, "{}", text);
            }
            Ok(())
        })?;
    }

    #[test]
    fn a_vector_join_finds_what_single_searches_find(
        rows in rows(),
        deleted in prop::collection::vec(prop::bool::weighted(0.2), 60),
        cuts in prop::collection::vec(0usize..60, 0..4),
        method in prop::sample::select(vec![None, Some("flat"), Some("hnsw")]),
        queries in prop::collection::vec(prop::option::weighted(0.9, prop::array::uniform2(-3i8..=3)), 0..12),
        distance in prop::sample::select(DISTANCES[..3].to_vec()),
        predicate in predicate(),
        range in prop::option::of((prop::sample::select(vec!["<", "<="]), prop::sample::select(ENDS.to_vec()))),
        limit in 1usize..70,
    ) {
        let condition = |distance: &str| match range {
            Some((operator, end)) => format!("({predicate}) AND {distance} {operator} {end}"),
            None => predicate.clone(),
        };
        RUNTIME.block_on(async {
            let engine = with_others(&rows, 1.0, &deleted, &cuts, &[], method).await;
            let session = engine.session(DEFAULT_DATABASE).unwrap();
            engine.sql_in(&session, "SET elanus.ef_search = 200").await.unwrap();
            sql(&engine, "CREATE TABLE q (id BIGINT PRIMARY KEY, w VECTOR(2))").await;
            let mut single = String::new();
            for (id, query) in queries.iter().enumerate() {
                let vector = query.map_or("NULL".to_string(), |query| written(query, 1.0));
                sql(&engine, &format!("INSERT INTO q VALUES ({id}, {vector})")).await;
                let d = distance.replace("$q", &vector);
                let condition = condition(&d);
                let one = format!("SELECT {id}, id, {d} FROM t WHERE {condition} ORDER BY {d}, id LIMIT {limit}");
                let found = text(&engine.sql_in(&session, &one).await.unwrap());
                if !found.is_empty() {
                    writeln!(single, "{found}").unwrap();
                }
            }
            let d = distance.replace("$q", "q.w");
            let condition = condition(&d);
            let joined = format!(
                "SELECT q.id, x.id, x.d FROM q, LATERAL (SELECT id, {d} AS d FROM t WHERE {condition} ORDER BY d, id LIMIT {limit}) x \
                 ORDER BY q.id, x.d, x.id");
            let found = text(&engine.sql_in(&session, &joined).await.unwrap());
            prop_assert_eq!(found.trim(), single.trim(), "{}", &joined);
            // without a key that decides, equals are any rows, but the distances are the same
            let distances = |found: &str| -> Vec<String> {
                found.lines().map(|line| line.rsplit_once('|').unwrap().1.to_string()).collect()
            };
            let joined = format!(
                "SELECT q.id, x.id, x.d FROM q CROSS JOIN LATERAL (SELECT id, {d} AS d FROM t WHERE {condition} ORDER BY d LIMIT {limit}) x \
                 ORDER BY q.id, x.d, x.id");
            let found = text(&engine.sql_in(&session, &joined).await.unwrap());
            prop_assert_eq!(distances(&found), distances(&single), "{}", &joined);
            // a left join keeps the rows that find nothing
            let outer = format!(
                "SELECT count(DISTINCT q.id) FROM q LEFT JOIN LATERAL (SELECT id FROM t WHERE {condition} ORDER BY {d} LIMIT {limit}) x ON true");
            prop_assert_eq!(text(&engine.sql_in(&session, &outer).await.unwrap()), queries.len().to_string());
            Ok(())
        })?;
    }

    #[test]
    fn a_vector_join_by_a_value_finds_what_numbered_rows_of_a_join_are(
        rows in rows(),
        deleted in prop::collection::vec(prop::bool::weighted(0.2), 60),
        cuts in prop::collection::vec(0usize..60, 0..4),
        method in prop::sample::select(vec![None, Some("flat"), Some("hnsw")]),
        queries in prop::collection::vec(
            (prop::option::weighted(0.85, 0i64..8), prop::option::weighted(0.9, prop::array::uniform2(-3i8..=3))), 0..12),
        // The cosine distance of two columns is rounded otherwise than that of a column and one vector.
        distance in prop::sample::select(vec![DISTANCES[0], DISTANCES[2]]),
        predicate in predicate(),
        limit in 1usize..20,
    ) {
        RUNTIME.block_on(async {
            let engine = with_others(&rows, 1.0, &deleted, &cuts, &[], method).await;
            let session = engine.session(DEFAULT_DATABASE).unwrap();
            engine.sql_in(&session, "SET elanus.ef_search = 200").await.unwrap();
            sql(&engine, "CREATE TABLE q (id BIGINT PRIMARY KEY, m INTEGER, w VECTOR(2))").await;
            for (id, (value, query)) in queries.iter().enumerate() {
                let value = value.map_or("NULL".to_string(), |value| value.to_string());
                let vector = query.map_or("NULL".to_string(), |query| written(query, 1.0));
                sql(&engine, &format!("INSERT INTO q VALUES ({id}, {value}, {vector})")).await;
            }
            // Rows of 5 and NULL have NULL, which equals nothing.
            let theirs = "NULLIF(n, 5)";
            let d = distance.replace("$q", "q.w");
            let order = format!("{d}, id");
            let joined = format!(
                "SELECT q.id, x.id, x.d FROM q LEFT JOIN LATERAL \
                 (SELECT id, {d} AS d FROM t WHERE {theirs} = q.m AND ({predicate}) ORDER BY {order} LIMIT {limit}) x ON true \
                 ORDER BY q.id, x.id");
            let found = text(&engine.sql_in(&session, &joined).await.unwrap());
            let numbered = format!(
                "SELECT q.id, x.id, x.d FROM q LEFT JOIN (SELECT * FROM \
                 (SELECT q.id AS of, t.id, {d} AS d, row_number() OVER (PARTITION BY q.id ORDER BY {d}, t.id) AS place \
                  FROM q JOIN (SELECT * FROM t WHERE {predicate}) t ON {theirs} = q.m) WHERE place <= {limit}) x \
                 ON x.of = q.id ORDER BY q.id, x.id");
            let expected = text(&engine.sql_in(&session, &numbered).await.unwrap());
            prop_assert_eq!(found, expected, "{}", &joined);
            Ok(())
        })?;
    }

    #[test]
    fn a_hybrid_search_is_its_searches_fused(
        rows in rows(),
        deleted in prop::collection::vec(prop::bool::weighted(0.2), 60),
        cuts in prop::collection::vec(0usize..60, 0..4),
        method in prop::sample::select(vec![None, Some("flat"), Some("hnsw")]),
        common in predicate(),
        arms in prop::collection::vec(
            (prop::sample::select(vec!["l2", "ip"]), prop::array::uniform2(-3i8..=3), predicate(), 1usize..20, 0.0f32..=1.0),
            1..4),
        rrf_k in 1u16..100,
        limit in 1usize..40,
    ) {
        RUNTIME.block_on(async {
            let engine = with_others(&rows, 1.0, &deleted, &cuts, &[], method).await;
            let session = engine.session(DEFAULT_DATABASE).unwrap();
            engine.sql_in(&session, "SET elanus.ef_search = 200").await.unwrap();
            let mut scores: BTreeMap<i64, f64> = BTreeMap::new();
            let (mut searches, mut weights) = (Vec::new(), Vec::new());
            for (metric, query, predicate, k, weight) in &arms {
                let arguments = format!("v, {}, {k}, metric => '{metric}'", written(*query, 1.0));
                let alone = format!(
                    "SELECT id FROM vector_search(t, {arguments}, filter => v IS NOT NULL AND ({common}) AND ({predicate}))");
                let found = ints(&engine.sql_in(&session, &alone).await.unwrap().batches);
                for (id, rank) in found.into_iter().zip(1u32..) {
                    *scores.entry(id).or_default() += f64::from(*weight) / (f64::from(rrf_k) + f64::from(rank));
                }
                searches.push(format!("search({arguments}, filter => {predicate})"));
                weights.push(weight.to_string());
            }
            let mut expected: Vec<(i64, f32)> = scores.into_iter().map(|(id, score)| (id, score as f32)).collect();
            expected.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            expected.truncate(limit);
            let together = format!(
                "SELECT id, _score FROM hybrid_search(t, {}, k => {limit}, rrf_k => {rrf_k}, weights => [{}], filter => {common})",
                searches.join(", "), weights.join(", "));
            let found = engine.sql_in(&session, &together).await.unwrap().batches;
            let scores: Vec<f32> = found
                .iter()
                .flat_map(|batch| batch.column(1).as_primitive::<Float32Type>().values().to_vec())
                .collect();
            let found: Vec<(i64, f32)> = ints(&found).into_iter().zip(scores).collect();
            prop_assert_eq!(found, expected, "{}", together);
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn every_shape_is_searched() {
    let engine = with_others(&[(0, Some([1, 1]))], 1.0, &[], &[], &[], None).await;
    sql(&engine, "CREATE TABLE q (id BIGINT PRIMARY KEY, w VECTOR(2))").await;
    for shape in SHAPES {
        let text = shape
            .replace("$d", "v <-> '[1, 2]'")
            .replace("$p", "t.n > 1")
            .replace("$r", "2")
            .replace("$k", "3")
            .replace("$o", "1");
        assert!(is_search(&engine, &text).await, "{text}");
    }
}

#[tokio::test]
async fn what_changes_rows_or_their_order_is_not_searched() {
    let engine = with_others(&[(0, Some([1, 1]))], 1.0, &[], &[], &[], None).await;
    for text in [
        "SELECT t.id FROM s LEFT JOIN t ON s.n = t.n ORDER BY t.v <-> '[1, 1]' LIMIT 3",
        "SELECT t.id FROM s FULL JOIN t ON s.n = t.n ORDER BY t.v <-> '[1, 1]' LIMIT 3",
        "SELECT t.id FROM t LEFT JOIN s ON s.n = t.n WHERE s.m IS NULL ORDER BY t.v <-> '[1, 1]' LIMIT 3",
        "SELECT id FROM t ORDER BY v <-> '[1, 1]' DESC, id LIMIT 3",
        "SELECT id FROM t ORDER BY id, v <-> '[1, 1]' LIMIT 3",
        "SELECT id FROM t ORDER BY v <-> '[1, 1]', random() LIMIT 3",
        "SELECT n, min(v <-> '[1, 1]') FROM t GROUP BY n ORDER BY 2 LIMIT 3",
        "SELECT DISTINCT n, v <-> '[1, 1]' AS d FROM t ORDER BY d LIMIT 3",
        "SELECT id FROM (SELECT * FROM t LIMIT 5) ORDER BY v <-> '[1, 1]' LIMIT 3",
        "SELECT a.id FROM t a JOIN t b ON a.n = b.n ORDER BY a.v <-> b.v LIMIT 3",
        "SELECT t.id FROM t JOIN s ON s.n = t.n AND random() < 2 ORDER BY t.v <-> '[1, 1]' LIMIT 3",
        "SELECT t.id FROM t JOIN (SELECT n FROM s LIMIT 1) s ON s.n = t.n ORDER BY t.v <-> '[1, 1]' LIMIT 3",
    ] {
        assert!(!is_search(&engine, text).await, "{text}");
    }
}

#[tokio::test]
async fn rows_of_a_search_and_of_a_join_are_charged_to_the_statement() {
    let engine = with_others(&[], 1.0, &[], &[], &[], None).await;
    sql(
        &engine,
        "INSERT INTO t SELECT value, value % 6, make_array(value::float, 1.0) FROM generate_series(0, 2999)",
    )
    .await;
    sql(
        &engine,
        "INSERT INTO s SELECT value AS id, value % 6 AS n, value + 0 AS m FROM generate_series(0, 2999)",
    )
    .await;
    for text in [
        "SELECT count(*) FROM t a, vector_search(t, a.v, 100, metric => 'l2') b",
        "SELECT id FROM t WHERE id IN (SELECT m FROM s) ORDER BY v <-> '[1, 1]' LIMIT 3",
    ] {
        sql(&engine, text).await;
        let limited = format!("SET elanus.query_memory = '20kB'; {text}");
        let error = sql_error(&engine, &limited).await;
        assert!(error.contains("elanus.query_memory"), "{text}: {error}");
    }
}
