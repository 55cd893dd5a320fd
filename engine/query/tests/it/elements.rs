//! Searches of elements, the vectors of structs one by one, against an oracle that sorts all of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::{Float64Type, Int64Type, UInt32Type};
use elanus_collection::{Collection, IndexSpec};
use elanus_query::{
    Collapse, DEFAULT_DATABASE, ELEMENT_COLUMN, Engine, Fusion, Grouping, HybridRequest, JsonCast, ScoreMode,
    ScoreRange, SearchRequest, SearchResponse,
};

use crate::support::{self, engine, filter_of, ints, load, scores, search, sql};

const ROWS: i64 = 240;

/// How many structs a row has; NULL for some.
fn length(id: i64) -> Option<i64> {
    (id % 9 != 4).then_some(id % 4)
}

/// The vector at a place of a row: small integers, so that distances to the queries are exact, and no two are equal.
fn vector(id: i64, place: i64) -> [f32; 2] {
    [(id * 7 % 251) as f32, (place * 3 + id % 5) as f32]
}

/// A table in three segments and growing rows, some deleted, with an index of this type on the vectors of its structs, for a
/// search of each of them.
async fn table(engine: &Engine, index_type: &str) -> Arc<Collection> {
    table_by(engine, index_type, "L2").await
}

/// The same with an index for searches by this metric.
async fn table_by(engine: &Engine, index_type: &str, metric: &str) -> Arc<Collection> {
    sql(
        engine,
        "CREATE TABLE t (id BIGINT PRIMARY KEY, plain VECTOR(2) NOT NULL, chunks STRUCT(n INTEGER, v VECTOR(2), w VECTOR(2))[])",
    )
    .await;
    let collection = engine.collections().collection(DEFAULT_DATABASE, "t").unwrap();
    for part in 0..4 {
        let rows: Vec<String> = (ROWS * part / 4..ROWS * (part + 1) / 4).map(row_text).collect();
        sql(engine, &format!("INSERT INTO t VALUES {}", rows.join(", "))).await;
        if part < 3 {
            collection.flush().await.unwrap();
        }
    }
    for (field, index_type, metric) in [
        ("plain", "FLAT", "L2"),
        ("chunks[v]", index_type, metric),
        ("chunks[w]", "FLAT", "L2"),
    ] {
        let spec = IndexSpec {
            field: field.into(),
            index_type: index_type.into(),
            metric: Some(metric.into()),
            ..IndexSpec::default()
        };
        collection.create_index(&spec).await.unwrap();
    }
    collection.settle().await.unwrap();
    sql(engine, "DELETE FROM t WHERE id % 20 = 3").await;
    load(&collection).await;
    collection
}

fn row_text(id: i64) -> String {
    let one = |place: i64| {
        let [x, y] = vector(id, place);
        format!("named_struct('n', {place}, 'v', '[{x}, {y}]'::vector(2), 'w', '[{y}, {x}]'::vector(2))")
    };
    let chunks = match length(id) {
        None => "NULL".to_string(),
        Some(length) => format!("[{}]", (0..length).map(one).collect::<Vec<_>>().join(", ")),
    };
    format!("({id}, '[{id}, 0]', {chunks})")
}

/// Whether the element of a row, by its key and place, may be found.
type May = dyn Fn(i64, i64) -> bool;
/// A hit: key, place and distance.
type Element = (i64, u32, f32);

/// Every live element that may be found, nearest first, equals by key and place.
fn oracle(query: [f32; 2], may: impl Fn(i64, i64) -> bool) -> Vec<Element> {
    let live = (0..ROWS).filter(|id| id % 20 != 3);
    let mut all: Vec<Element> = live
        .flat_map(|id| (0..length(id).unwrap_or(0)).map(move |place| (id, place)))
        .filter(|(id, place)| may(*id, *place))
        .map(|(id, place)| {
            let [x, y] = vector(id, place);
            let distance = (x - query[0]).powi(2) + (y - query[1]).powi(2);
            (id, place as u32, distance)
        })
        .collect();
    all.sort_by(|a, b| a.2.total_cmp(&b.2).then((a.0, a.1).cmp(&(b.0, b.1))));
    all
}

fn elements(found: &SearchResponse) -> Vec<Element> {
    let places = found.rows.column_by_name(ELEMENT_COLUMN).unwrap();
    let places = places.as_primitive::<UInt32Type>().values();
    ints(std::slice::from_ref(&found.rows))
        .into_iter()
        .zip(places)
        .zip(scores(&found.rows))
        .map(|((id, place), score)| (id, *place, score))
        .collect()
}

fn request(collection: &Arc<Collection>, field: &str, query: [f32; 2], limit: usize) -> SearchRequest {
    SearchRequest {
        field: field.into(),
        params: BTreeMap::from([("ef".into(), "1000".into())]),
        ..search(collection, &query, limit)
    }
}

const QUERY: [f32; 2] = [20.125, 4.281_25];
const OTHER: [f32; 2] = [140.125, 1.281_25];

#[tokio::test]
async fn elements_are_found_one_by_one_in_segments_and_growing_rows() {
    for index_type in ["FLAT", "HNSW", "IVF_FLAT"] {
        let engine = engine().await;
        let collection = table(&engine, index_type).await;
        let of_elements = |filter: &str| SearchRequest {
            filter: filter_of(filter),
            params: BTreeMap::from([("ef".into(), "1000".into()), ("nprobe".into(), "128".into())]),
            ..request(&collection, "chunks[v]", QUERY, 25)
        };
        let cases: [(&str, &May); 6] = [
            ("", &|_, _| true),
            ("id < 100", &|id, _| id < 100),
            ("element_filter(chunks, $[n] == 1)", &|_, place| place == 1),
            ("id > 50 and element_filter(chunks, $[n] < 1)", &|id, place| {
                id > 50 && place < 1
            }),
            ("match_any(chunks, $[n] == 2)", &|id, _| length(id) == Some(3)),
            ("element_filter(chunks, $[n] > 7)", &|_, _| false),
        ];
        for (filter, may) in cases {
            let expected = oracle(QUERY, may);
            // Twice: the second time the elements that a filter leaves are known.
            for _ in 0..2 {
                let found = engine.search(of_elements(filter)).await.unwrap();
                if expected.is_empty() {
                    assert_eq!(found.rows.num_rows(), 0, "{filter}");
                    continue;
                }
                assert_eq!(
                    elements(&found),
                    expected[..expected.len().min(25)],
                    "{index_type} {filter}"
                );
            }
        }
        let all = oracle(QUERY, |_, _| true);
        let paged = SearchRequest {
            offset: 10,
            limit: 5,
            ..of_elements("")
        };
        assert_eq!(elements(&engine.search(paged).await.unwrap()), all[10..15]);
        let (near, far) = (all[6].2, all[60].2);
        let ranged = SearchRequest {
            range: ScoreRange {
                radius: Some(far),
                range_filter: Some(near),
            },
            limit: 500,
            ..of_elements("")
        };
        let within: Vec<Element> = all
            .iter()
            .filter(|(_, _, distance)| (near..far).contains(distance))
            .copied()
            .collect();
        assert_eq!(elements(&engine.search(ranged).await.unwrap()), within);
        let several = SearchRequest {
            queries: [QUERY, OTHER].concat().into(),
            nq: 2,
            ..of_elements("")
        };
        let found = engine.search(several.clone()).await.unwrap();
        let expected = [&all[..25], &oracle(OTHER, |_, _| true)[..25]].concat();
        assert_eq!((elements(&found), found.counts), (expected, vec![25, 25]));
        let plan = engine.explain_search(&several).unwrap();
        assert!(plan.contains("elements=true"), "{plan}");
    }
}

#[tokio::test]
async fn rows_come_once_by_groups_of_their_key() {
    let engine = engine().await;
    let collection = table(&engine, "HNSW").await;
    let grouped = |by: &str, size: usize| SearchRequest {
        group: Some(Grouping {
            by: vec![by.into()],
            json: JsonCast::default(),
            size,
            fill: true,
        }),
        ..request(&collection, "chunks[v]", QUERY, 30)
    };
    for size in [1, 2, 3] {
        let mut groups: Vec<Vec<Element>> = Vec::new();
        for element in oracle(QUERY, |_, _| true) {
            match groups.iter_mut().find(|group| group[0].0 == element.0) {
                Some(group) if group.len() < size => group.push(element),
                Some(_) => {}
                None => groups.push(vec![element]),
            }
        }
        let expected: Vec<Element> = groups.into_iter().take(30).flatten().collect();
        let found = engine.search(grouped("id", size)).await.unwrap();
        assert_eq!(elements(&found), expected, "{size}");
    }
    let everything = SearchRequest {
        limit: 500,
        ..grouped("id", 1)
    };
    let rows: std::collections::HashSet<i64> = oracle(QUERY, |_, _| true).iter().map(|e| e.0).collect();
    assert_eq!(
        engine.search(everything).await.unwrap().rows.num_rows(),
        rows.len()
    );
}

#[tokio::test]
async fn elements_are_fused_as_elements_or_collapsed_to_rows() {
    let engine = engine().await;
    let collection = table(&engine, "HNSW").await;
    let hybrid = |arms: Vec<SearchRequest>, group: Option<Grouping>| HybridRequest {
        collection: Arc::clone(&collection),
        arms,
        fusion: Fusion::Weighted {
            weights: vec![1.0, 0.0],
            normalize: false,
        },
        rerank: None,
        group,
        group_score: ScoreMode::Max,
        limit: 12,
        offset: 0,
        output: vec!["id".into()],
        snapshot: None,
    };
    let arm = |field: &str, limit: usize| request(&collection, field, QUERY, limit);

    // The other arm finds the same elements under turned vectors, and adds nothing.
    let turned = SearchRequest {
        queries: vec![QUERY[1], QUERY[0]].into(),
        ..arm("chunks[w]", 12)
    };
    let same = hybrid(vec![arm("chunks[v]", 12), turned], None);
    let found = engine.hybrid_search(same.clone()).await.unwrap();
    let mut expected: Vec<Element> = oracle(QUERY, |_, _| true)[..12].to_vec();
    expected.sort_by(|a, b| a.2.total_cmp(&b.2).then((a.0, a.1).cmp(&(b.0, b.1))));
    let mut met = elements(&found);
    met.sort_by(|a, b| a.2.total_cmp(&b.2).then((a.0, a.1).cmp(&(b.0, b.1))));
    assert_eq!(met, expected);

    // Beside rows: the mean of the best two of the forty that the arm has found.
    let mut rows: BTreeMap<i64, Vec<f32>> = BTreeMap::new();
    for (id, _, distance) in &oracle(QUERY, |_, _| true)[..40] {
        rows.entry(*id).or_default().push(*distance);
    }
    let mean = |of: &[f32]| of.iter().sum::<f32>() / of.len() as f32;
    let mut best: Vec<(f32, i64)> = rows
        .iter()
        .map(|(id, distances)| (mean(&distances[..distances.len().min(2)]), *id))
        .collect();
    best.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let collapsed = SearchRequest {
        collapse: Some(Collapse::TopAvg(2)),
        ..arm("chunks[v]", 40)
    };
    // Row 0 has no structs and is found by its own vector alone, with no weight: distance 0 is the best.
    let plain = SearchRequest {
        queries: vec![0.0, 0.0].into(),
        ..arm("plain", 1)
    };
    let mixed = hybrid(vec![collapsed, plain.clone()], None);
    let found = engine.hybrid_search(mixed.clone()).await.unwrap();
    assert!(found.rows.column_by_name(ELEMENT_COLUMN).is_none());
    let ids = ints(std::slice::from_ref(&found.rows));
    let expected: Vec<i64> = std::iter::once(0)
        .chain(best.iter().map(|(_, id)| *id))
        .take(12)
        .collect();
    assert_eq!(ids, expected);
    let plan = engine.explain_hybrid_search(&mixed).unwrap();
    assert!(plan.contains("collapsed=1"), "{plan}");

    let reason = async |request: HybridRequest| engine.hybrid_search(request).await.unwrap_err().to_string();
    let summed = SearchRequest {
        collapse: Some(Collapse::Sum),
        ..arm("chunks[v]", 5)
    };
    let sum = reason(hybrid(vec![summed.clone(), plain.clone()], None)).await;
    assert!(
        sum.contains("a sum needs a metric of which larger is better, got L2"),
        "{sum}"
    );
    let stays = reason(hybrid(vec![summed, arm("chunks[w]", 5)], None)).await;
    assert!(stays.contains("stays one of elements"), "{stays}");
    let by_key = Grouping {
        by: vec!["id".into()],
        json: JsonCast::default(),
        size: 1,
        fill: false,
    };
    let grouped = reason(hybrid(vec![arm("chunks[v]", 5), plain], Some(by_key))).await;
    assert!(
        grouped.contains("grouped only when all are of elements"),
        "{grouped}"
    );
}

#[tokio::test]
async fn what_elements_do_not_have_is_refused() {
    let engine = engine().await;
    let collection = table(&engine, "FLAT").await;
    let reason = async |request: SearchRequest| engine.search(request).await.unwrap_err().to_string();
    let by_number = SearchRequest {
        group: Some(Grouping {
            by: vec!["id".into(), "id".into()],
            json: JsonCast::default(),
            size: 1,
            fill: false,
        }),
        ..request(&collection, "chunks[v]", QUERY, 5)
    };
    let grouped = reason(by_number).await;
    assert!(
        grouped.contains("grouped by the primary key 'id' only"),
        "{grouped}"
    );
    let short = SearchRequest {
        queries: vec![1.0, 2.0, 3.0].into(),
        nq: 1,
        ..request(&collection, "chunks[v]", QUERY, 5)
    };
    let short = reason(short).await;
    assert!(short.contains("field 'chunks[v]' has dimension 2"), "{short}");
    sql(
        &engine,
        "CREATE TABLE u (id BIGINT PRIMARY KEY, a STRUCT(n INTEGER, v VECTOR(2))[], b STRUCT(n INTEGER)[])",
    )
    .await;
    let other = engine.collections().collection(DEFAULT_DATABASE, "u").unwrap();
    let spec = IndexSpec {
        field: "a[v]".into(),
        metric: Some("IP".into()),
        ..IndexSpec::default()
    };
    other.create_index(&spec).await.unwrap();
    load(&other).await;
    let foreign = SearchRequest {
        filter: filter_of("element_filter(b, $[n] == 1)"),
        ..request(&other, "a[v]", QUERY, 5)
    };
    let foreign = reason(foreign).await;
    assert!(
        foreign.contains("element_filter is on the elements of 'b'"),
        "{foreign}"
    );
}

/// Keys, places and distances of a statement that gives them.
async fn elements_of(engine: &Engine, text: &str) -> Vec<Element> {
    let found = sql(engine, text).await;
    let rows = found.batches.iter().flat_map(|batch| {
        let places = batch.column(1).as_primitive::<Int64Type>().values();
        let distances = batch.column(2).as_primitive::<Float64Type>().values();
        let keys = ints(std::slice::from_ref(batch)).into_iter();
        let rows = keys.zip(places).zip(distances);
        rows.map(|((key, place), distance)| (key, *place as u32 - 1, *distance as f32))
            .collect::<Vec<_>>()
    });
    rows.collect()
}

#[tokio::test]
async fn sql_finds_the_same_elements() {
    for index_type in ["FLAT", "HNSW", "IVF_FLAT"] {
        let engine = engine().await;
        table(&engine, index_type).await;
        let [x, y] = QUERY;
        let search = |k: usize, more: &str| {
            format!(
                "SELECT id, _element, _distance FROM vector_search(t, chunks['v'], '[{x}, {y}]', {k}, params => 'ef=1000, nprobe=100'{more})"
            )
        };
        let all = oracle(QUERY, |_, _| true);
        let shown = |hits: &[Element]| -> Vec<Element> {
            hits.iter()
                .map(|(id, place, distance)| (*id, *place, distance.sqrt()))
                .collect()
        };
        assert_eq!(
            elements_of(&engine, &search(25, "")).await,
            shown(&all[..25]),
            "{index_type}"
        );
        let some = oracle(QUERY, |id, place| id % 3 == 1 && place != 1);
        let filter = ", filter => 'id % 3 == 1 and element_filter(chunks, $[n] != 1)'";
        assert_eq!(
            elements_of(&engine, &search(12, filter)).await,
            shown(&some[..12]),
            "{index_type}"
        );
        let among = ", filter => id IN (SELECT id FROM t WHERE id % 7 = 0)";
        let sevenths = oracle(QUERY, |id, _| id % 7 == 0);
        assert_eq!(
            elements_of(&engine, &search(9, among)).await,
            shown(&sevenths[..9]),
            "{index_type}"
        );
        let ring: Vec<Element> = all
            .iter()
            .copied()
            .filter(|hit| (3.0..9.0).contains(&hit.2.sqrt()))
            .collect();
        let range = ", range_filter => 3.0, radius => 9.0";
        assert_eq!(
            elements_of(&engine, &search(400, range)).await,
            shown(&ring),
            "{index_type}"
        );
        let mut best: Vec<Element> = Vec::new();
        for hit in &all {
            if best.iter().all(|(id, ..)| *id != hit.0) {
                best.push(*hit);
            }
        }
        let grouped = elements_of(&engine, &search(8, ", group_by => id")).await;
        assert_eq!(grouped, shown(&best[..8]), "{index_type}");
        let exact = search(25, ", exact => true");
        assert_eq!(
            elements_of(&engine, &exact).await,
            shown(&all[..25]),
            "{index_type}"
        );
    }
}

#[tokio::test]
async fn sql_finds_lists_by_the_sum_of_their_nearest_vectors() {
    for index_type in ["FLAT", "HNSW", "IVF_FLAT"] {
        let engine = engine().await;
        table_by(&engine, index_type, "MAX_SIM_L2").await;
        let near = |id: i64, query: [f32; 2]| {
            let distances = (0..length(id).unwrap_or(0)).map(|place| {
                let [x, y] = vector(id, place);
                (x - query[0]).powi(2) + (y - query[1]).powi(2)
            });
            distances.fold(f32::INFINITY, f32::min)
        };
        let live = (0..ROWS).filter(|id| id % 20 != 3 && id % 3 != 1 && length(*id).unwrap_or(0) > 0);
        let mut all: Vec<(i64, f64)> = live
            .map(|id| (id, f64::from(near(id, QUERY)) + f64::from(near(id, OTHER))))
            .collect();
        all.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
        let query = format!("'[[{}, {}], [{}, {}]]'", QUERY[0], QUERY[1], OTHER[0], OTHER[1]);
        let rows = async |text: String| -> Vec<(i64, f64)> {
            let found = sql(&engine, &text).await;
            let rows = found.batches.iter().flat_map(|batch| {
                let distances = batch.column(1).as_primitive::<Float64Type>().values().to_vec();
                ints(std::slice::from_ref(batch)).into_iter().zip(distances)
            });
            rows.collect()
        };
        let sorted = format!(
            "SELECT id, max_sim_distance(chunks['v'], {query}, 'l2') AS d FROM t WHERE id % 3 <> 1 ORDER BY d, id LIMIT 20"
        );
        let called = format!(
            "SELECT id, _distance FROM vector_search(t, chunks['v'], {query}, 20, params => 'ef=1000, nprobe=100', filter => 'id % 3 != 1') \
             ORDER BY _distance, id"
        );
        for text in [sorted, called] {
            let plan = support::text(&sql(&engine, &format!("EXPLAIN {text}")).await);
            assert!(
                plan.contains("AnnSearchExec") && plan.contains("metric=MAX_SIM_L2"),
                "{plan}"
            );
            let found = rows(text.clone()).await;
            // Rounded to 32 bits, as the search compares them.
            let wanted: Vec<(i64, f64)> = all[..20]
                .iter()
                .map(|(id, d)| (*id, f64::from(*d as f32)))
                .collect();
            assert_eq!(found, wanted, "{index_type} {text}");
        }
    }
}
