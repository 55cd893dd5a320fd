//! The kinds of search, against oracles that sort all rows: ranges, groups, orders, pinned snapshots, aggregates.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use elanus_collection::Collection;
use elanus_query::{
    Aggregate, AggregateKind, AggregateRequest, Engine, Fusion, Grouping, HybridRequest, JsonCast, OrderBy,
    QueryRequest, ScoreMode, ScoreRange, SearchRequest, SqlOutput,
};

use crate::support::{engine, filter_of, ints, load, scores, search, sql, text};

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

/// The groups met among sorted rows, each with its first rows.
fn groups<K: std::hash::Hash + Eq>(
    sorted: &[(&Row, f32)],
    key: impl Fn(&Row) -> K,
    size: usize,
) -> Vec<Vec<i64>> {
    let mut places: HashMap<K, usize> = HashMap::new();
    let mut groups: Vec<Vec<i64>> = Vec::new();
    for (row, _) in sorted {
        let place = *places.entry(key(row)).or_insert(groups.len());
        if place == groups.len() {
            groups.push(Vec::new());
        }
        if groups[place].len() < size {
            groups[place].push(row.id);
        }
    }
    groups
}

fn grouping(by: &[&str], size: usize, fill: bool) -> Option<Grouping> {
    Some(Grouping {
        by: by.iter().map(ToString::to_string).collect(),
        json: JsonCast::default(),
        size,
        fill,
    })
}

#[tokio::test]
async fn the_nearest_groups_are_found_and_filled() {
    let ops = "vector_l2_ops";
    let engine = engine().await;
    let (t, rows) = table(&engine, ops, ROWS).await;
    let mut numbers = Numbers(9);
    for case in 0..40 {
        let several: Vec<f32> = (0..3).flat_map(|_| query(&mut numbers)).collect();
        let (filter, size) = (["", "n < 12"][case % 2], [1, 2, 5][case % 3]);
        let (limit, offset) = [(4, 0), (3, 2), (60, 0), (500, 1)][case % 4];
        let request = |by: &[&str]| SearchRequest {
            filter: filter_of(filter),
            offset,
            group: grouping(by, size, true),
            ..search_of(&t, &several, limit)
        };
        let keep = |row: &Row| filter.is_empty() || row.n.is_some_and(|n| n < 12);
        let expected =
            |all: Vec<Vec<i64>>| -> Vec<Vec<i64>> { all.into_iter().skip(offset).take(limit).collect() };
        let all: Vec<_> = several
            .chunks(DIM)
            .map(|query| sorted(ops, &rows, query, keep))
            .collect();

        let by_n = engine.search(request(&["n"])).await.unwrap();
        let groups_n: Vec<_> = all
            .iter()
            .map(|all| expected(groups(all, |row| row.n, size)))
            .collect();
        assert_eq!(ints(&[by_n.rows]), groups_n.concat().concat(), "{case}");
        let counts: Vec<usize> = groups_n.iter().map(|groups| groups.concat().len()).collect();
        assert_eq!(by_n.counts, counts);

        let both = engine.search(request(&["tag", "n"])).await.unwrap();
        let groups_both = all
            .iter()
            .map(|all| expected(groups(all, |row| (row.tag.clone(), row.n), size)));
        assert_eq!(
            ints(&[both.rows]),
            groups_both.collect::<Vec<_>>().concat().concat(),
            "{case}"
        );
    }
}

#[tokio::test]
async fn groups_that_need_not_be_full_are_the_same_groups() {
    let ops = "vector_ip_ops";
    let engine = engine().await;
    let (t, rows) = table(&engine, ops, ROWS).await;
    let mut numbers = Numbers(31);
    for limit in [1, 5, 19, 40] {
        let query = query(&mut numbers);
        let full = groups(&sorted(ops, &rows, &query, |_| true), |row| row.n, 4);
        let request = SearchRequest {
            group: grouping(&["n"], 4, false),
            ..search_of(&t, &query, limit)
        };
        let found = ints(&[engine.search(request).await.unwrap().rows]);
        let group_of = |id: i64| full.iter().position(|group| group.contains(&id)).unwrap();
        let found: Vec<&[i64]> = found.chunk_by(|a, b| group_of(*a) == group_of(*b)).collect();
        assert_eq!(found.len(), limit.min(full.len()));
        for (found, full) in found.iter().zip(&full) {
            assert!(!found.is_empty() && full.starts_with(found), "{found:?} {full:?}");
        }
    }
}

#[tokio::test]
async fn groups_that_cannot_be_are_refused() {
    let engine = engine().await;
    let (t, _) = table(&engine, "vector_l2_ops", 20).await;
    let reason = async |group: Option<Grouping>| {
        let request = SearchRequest {
            group,
            ..search_of(&t, &[1.0; DIM], 5)
        };
        engine.search(request).await.unwrap_err().to_string()
    };
    assert!(
        reason(grouping(&["v"], 1, false))
            .await
            .contains("allowed are BOOL, INT8")
    );
    assert!(
        reason(grouping(&["tagg"], 1, false))
            .await
            .contains("did you mean tag?")
    );
    assert!(
        reason(grouping(&[], 1, false))
            .await
            .contains("at least one field")
    );
    assert!(
        reason(grouping(&["n"], 0, false))
            .await
            .contains("group size of at least 1")
    );
}

#[tokio::test]
async fn rows_come_in_the_order_of_columns() {
    let ops = "vector_l2_ops";
    let engine = engine().await;
    let (t, rows) = table(&engine, ops, ROWS).await;
    let by = |column: &str, descending: bool, nulls_first: bool| OrderBy {
        column: column.into(),
        descending,
        nulls_first,
    };
    let query = [0.5, 1.0, -2.0, 0.0];
    let mut expected: Vec<&Row> = sorted(ops, &rows, &query, |_| true)
        .into_iter()
        .take(30)
        .map(|(row, _)| row)
        .collect();
    expected.sort_by_key(|row| (std::cmp::Reverse(row.tag.clone()), row.n.unwrap_or(i32::MAX)));
    let expected: Vec<i64> = expected.iter().map(|row| row.id).collect();
    let request = SearchRequest {
        order: vec![by("tag", true, true), by("n", false, false)],
        ..search_of(&t, &query, 30)
    };
    assert_eq!(ints(&[engine.search(request).await.unwrap().rows]), expected);

    let mut expected: Vec<&Row> = rows.iter().collect();
    expected.sort_by_key(|row| (std::cmp::Reverse(row.n.unwrap_or(i32::MAX)), row.id));
    let expected: Vec<i64> = expected.iter().skip(20).take(50).map(|row| row.id).collect();
    let request = QueryRequest {
        order: vec![by("n", true, true)],
        limit: Some(50),
        offset: 20,
        ..crate::support::query(&t, "")
    };
    assert_eq!(ints(&[engine.query(request).await.unwrap()]), expected);
}

#[tokio::test]
async fn a_pinned_snapshot_is_not_disturbed() {
    let ops = "vector_l2_ops";
    let engine = engine().await;
    let (t, rows) = table(&engine, ops, ROWS).await;
    let pinned = t.snapshot();
    let query = [0.5, 1.0, -2.0, 0.0];
    sql(&engine, "DELETE FROM t WHERE id % 2 = 0").await;
    sql(&engine, "UPDATE t SET tag = 'new' WHERE n = 3").await;
    sql(&engine, "INSERT INTO t VALUES (100000, 1, 't1', '[0.5,1,-2,0]')").await;
    t.flush().await.unwrap();
    let expected: Vec<i64> = sorted(ops, &rows, &query, |_| true)
        .iter()
        .take(25)
        .map(|(row, _)| row.id)
        .collect();
    let request = SearchRequest {
        snapshot: Some(Arc::clone(&pinned)),
        ..search_of(&t, &query, 25)
    };
    assert_eq!(
        ints(&[engine.search(request.clone()).await.unwrap().rows]),
        expected
    );
    let now = SearchRequest {
        snapshot: None,
        ..request
    };
    assert_eq!(ints(&[engine.search(now).await.unwrap().rows])[0], 100_000);
    let old = QueryRequest {
        snapshot: Some(pinned),
        ..crate::support::query(&t, "tag != 'new'")
    };
    assert_eq!(engine.count(old).await.unwrap(), rows.len() as u64);
}

#[tokio::test]
async fn aggregates_are_of_the_rows_and_groups_that_there_are() {
    let engine = engine().await;
    let (t, rows) = table(&engine, "vector_l2_ops", ROWS).await;
    let aggregate = |kind, column: Option<&str>, name: &str| Aggregate {
        kind,
        column: column.map(ToString::to_string),
        name: name.into(),
    };
    let request = AggregateRequest {
        rows: crate::support::query(&t, "id >= 50"),
        group_by: vec!["n".into()],
        aggregates: vec![
            aggregate(AggregateKind::Count, None, "count(*)"),
            aggregate(AggregateKind::Sum, Some("id"), "sum(id)"),
            aggregate(AggregateKind::Max, Some("tag"), "max(tag)"),
            aggregate(AggregateKind::Avg, Some("id"), "avg(id)"),
        ],
    };
    let mut expected: BTreeMap<(bool, i32), Vec<&Row>> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.id >= 50) {
        expected
            .entry((row.n.is_none(), row.n.unwrap_or(0)))
            .or_default()
            .push(row);
    }
    let found = engine.aggregate(request.clone()).await.unwrap();
    assert_eq!(found.num_rows(), expected.len());
    let output = SqlOutput::rows(found);
    let lines: Vec<String> = expected
        .iter()
        .map(|((null, n), rows)| {
            let sum: i64 = rows.iter().map(|row| row.id).sum();
            let n = if *null { "NULL".to_string() } else { n.to_string() };
            let (count, largest) = (rows.len(), rows.iter().map(|row| &row.tag).max().unwrap());
            format!("{n}|{count}|{sum}|{largest}|{:?}", sum as f64 / count as f64)
        })
        .collect();
    assert_eq!(text(&output), lines.join("\n"));

    let whole = AggregateRequest {
        group_by: Vec::new(),
        rows: crate::support::query(&t, "id < 0"),
        ..request.clone()
    };
    let empty = SqlOutput::rows(engine.aggregate(whole).await.unwrap());
    assert_eq!(text(&empty), "0|NULL|NULL|NULL");
    let wrong = AggregateRequest {
        aggregates: vec![aggregate(AggregateKind::Sum, Some("tag"), "sum(tag)")],
        ..request
    };
    let error = engine.aggregate(wrong).await.unwrap_err().to_string();
    assert!(error.contains("sum and avg take numbers"), "{error}");
}

#[tokio::test]
async fn a_hybrid_search_says_what_it_does() {
    let engine = engine().await;
    let (t, _) = table(&engine, "vector_l2_ops", 40).await;
    let arms = vec![
        search_of(&t, &[1.0; DIM], 10),
        SearchRequest {
            filter: filter_of("n < 5"),
            ..search_of(&t, &[2.0; DIM], 10)
        },
    ];
    let request = HybridRequest {
        collection: Arc::clone(&t),
        arms,
        fusion: Fusion::Rrf {
            k: 60.0,
            weights: None,
        },
        rerank: None,
        group: None,
        group_score: ScoreMode::Max,
        limit: 5,
        offset: 0,
        output: vec!["id".into()],
        snapshot: None,
    };
    let plan = engine.explain_hybrid_search(&request).unwrap();
    for operator in [
        "TakeRowsExec",
        "FuseExec: fusion=rrf(k=60), arms=2, fetch=5",
        "AnnSearchExec",
    ] {
        assert!(plan.contains(operator), "{plan}");
    }
    assert_eq!(plan.matches("AnnSearchExec").count(), 2);
}
