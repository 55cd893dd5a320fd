//! The kinds of search, against oracles that sort all rows: ranges.

use std::sync::Arc;

use elanus_collection::Collection;
use elanus_query::{Engine, ScoreRange, SearchRequest};

use crate::support::{engine, filter_of, ints, load, scores, search, sql};

/// Elements of a vector: small integers, so that squares and products are exact in any order of addition.
const DIM: usize = 4;
/// Rows of the table of most tests.
const ROWS: i64 = 400;

/// One row: `id`, `n`, `tag` and the vector.
#[derive(Debug, Clone)]
pub struct Row {
    pub id: i64,
    pub n: Option<i32>,
    pub tag: String,
    pub v: [f32; DIM],
}

/// Numbers that look random and are the same in every run.
pub struct Numbers(pub u64);

impl Numbers {
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// A table of `rows` rows in three segments and growing rows, some deleted since; and the rows that are left.
pub async fn table(engine: &Engine, ops: &str, rows: i64) -> (Arc<Collection>, Vec<Row>) {
    let create =
        "CREATE TABLE t (id BIGINT PRIMARY KEY, n INTEGER, tag VARCHAR(20) NOT NULL, v VECTOR(4) NOT NULL)";
    sql(engine, create).await;
    sql(engine, &format!("CREATE INDEX v ON t USING flat (v {ops})")).await;
    let collection = engine
        .collections()
        .collection(elanus_query::DEFAULT_DATABASE, "t")
        .unwrap();
    let mut numbers = Numbers(17);
    let mut all = Vec::new();
    for part in 0..4 {
        let mut values = Vec::new();
        for id in (rows * part / 4)..(rows * (part + 1) / 4) {
            let n = i32::try_from(numbers.below(20)).unwrap();
            let row = Row {
                id,
                n: (n != 7).then_some(n),
                tag: format!("t{}", numbers.below(6)),
                v: std::array::from_fn(|_| numbers.below(11) as f32 - 5.0),
            };
            let n = row.n.map_or("NULL".to_string(), |n| n.to_string());
            values.push(format!("({id}, {n}, '{}', '{:?}')", row.tag, row.v));
            all.push(row);
        }
        sql(engine, &format!("INSERT INTO t VALUES {}", values.join(", "))).await;
        if part < 3 {
            collection.flush().await.unwrap();
        }
    }
    sql(engine, "DELETE FROM t WHERE id % 9 = 4").await;
    all.retain(|row| row.id % 9 != 4);
    load(&collection).await;
    (collection, all)
}

/// The score of a metric, as the reference defines it.
pub fn score(ops: &str, a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    match ops {
        "vector_l2_ops" => a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum(),
        "vector_ip_ops" => dot(a, b),
        _ => match (dot(a, a) * dot(b, b)).sqrt() {
            0.0 => 0.0,
            norms => dot(a, b) / norms,
        },
    }
}

/// All rows, best first, equal scores by key.
pub fn sorted<'a>(
    ops: &str,
    rows: &'a [Row],
    query: &[f32],
    keep: impl Fn(&Row) -> bool,
) -> Vec<(&'a Row, f32)> {
    let kept = rows.iter().filter(|row| keep(row));
    let mut all: Vec<(&Row, f32)> = kept.map(|row| (row, score(ops, query, &row.v))).collect();
    let sign = if ops == "vector_l2_ops" { 1.0 } else { -1.0 };
    all.sort_by(|a, b| (sign * a.1).total_cmp(&(sign * b.1)).then(a.0.id.cmp(&b.0.id)));
    all
}

/// The queries of a test: whole numbers too, and never all zeros.
pub fn query(numbers: &mut Numbers) -> Vec<f32> {
    let mut query: Vec<f32> = (0..DIM).map(|_| numbers.below(9) as f32 - 4.0).collect();
    query[0] += 0.5;
    query
}

pub fn search_of(collection: &Arc<Collection>, query: &[f32], limit: usize) -> SearchRequest {
    SearchRequest {
        nq: query.len() / DIM,
        ..search(collection, query, limit)
    }
}

#[tokio::test]
async fn a_range_holds_the_rows_between_its_ends_and_no_others() {
    for ops in ["vector_l2_ops", "vector_ip_ops", "vector_cosine_ops"] {
        let engine = engine().await;
        let (t, rows) = table(&engine, ops, ROWS).await;
        let mut numbers = Numbers(5);
        for case in 0..60 {
            let query = query(&mut numbers);
            let filter = ["", "n < 5", "tag == 't3' and n >= 2", "n is null"][case % 4];
            let keep = |row: &Row| match filter {
                "" => true,
                "n < 5" => row.n.is_some_and(|n| n < 5),
                "n is null" => row.n.is_none(),
                _ => row.tag == "t3" && row.n.is_some_and(|n| n >= 2),
            };
            let all = sorted(ops, &rows, &query, keep);
            // Ends that are scores of rows where these are exact, between two rows where they are rounded.
            let mut end = || {
                let place = numbers.below(all.len() as u64 - 1) as usize;
                match ops {
                    "vector_cosine_ops" => f32::midpoint(all[place].1, all[place + 1].1),
                    _ => all[place].1,
                }
            };
            let (mut near, mut far) = (end(), end());
            let smaller = ops == "vector_l2_ops";
            if (near > far) == smaller {
                (near, far) = (far, near);
            }
            if near == far {
                continue;
            }
            let near = (case % 3 > 0).then_some(near);
            let inside = |score: f32| {
                if smaller {
                    near.is_none_or(|near| near <= score) && score < far
                } else {
                    far < score && near.is_none_or(|near| score <= near)
                }
            };
            let (limit, offset) = ([5, 30, 400][case % 3], [0, 3][case % 2]);
            let expected: Vec<i64> = all
                .iter()
                .filter(|(_, score)| inside(*score))
                .skip(offset)
                .take(limit)
                .map(|(row, _)| row.id)
                .collect();
            let request = SearchRequest {
                offset,
                filter: filter_of(filter),
                range: ScoreRange {
                    radius: Some(far),
                    range_filter: near,
                },
                ..search_of(&t, &query, limit)
            };
            let found = engine.search(request).await.unwrap().rows;
            assert!(
                scores(&found).iter().all(|score| inside(*score)),
                "{ops}: {far} {near:?}"
            );
            if ops == "vector_cosine_ops" {
                // Equal angles may be told apart by rounding.
                assert_eq!(found.num_rows(), expected.len(), "{ops}: {far} {near:?} {filter}");
            } else {
                assert_eq!(ints(&[found]), expected, "{ops}: {far} {near:?} {filter}");
            }
        }
    }
}

#[tokio::test]
async fn a_range_with_its_ends_the_wrong_way_round_is_refused() {
    let engine = engine().await;
    let (t, _) = table(&engine, "vector_ip_ops", 20).await;
    let request = SearchRequest {
        range: ScoreRange {
            radius: Some(2.0),
            range_filter: Some(1.0),
        },
        ..search_of(&t, &[1.0; DIM], 5)
    };
    let error = engine.search(request.clone()).await.unwrap_err().to_string();
    assert!(
        error.contains("range_filter(1) must be greater than radius(2) for metric IP"),
        "{error}"
    );
    let right = SearchRequest {
        range: ScoreRange {
            radius: Some(1.0),
            range_filter: Some(2.0),
        },
        ..request
    };
    let plan = engine.explain_search(&right).unwrap();
    assert!(plan.contains("within=-2..="), "{plan}");
}
