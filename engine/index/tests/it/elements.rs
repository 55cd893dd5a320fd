//! Element-level search of lists: exact search next to a loop over the elements, indexes next to exact search.

use bytes::Bytes;
use elanus_index::{
    AnyIndex, AnyMetric, BitMetric, Bitset, BuildError, BuildOptions, BuildParams, Code, DiskParams,
    ElementNeighbor, Elements, GraphCode, HnswCodedParams, Metric, Ratio, ScalarFormat, SearchParams,
    SearchStats, VectorLists, VectorRef, Vectors, VectorsRef, Window, search_elements,
};

use crate::data::{METRICS, Mixture, Rng, allow_percent, coded};
use crate::typed_index::Column;

const DIM: usize = 32;
const K: usize = 10;
const HNSW: BuildParams = BuildParams::Hnsw {
    m: 12,
    ef_construction: 80,
};

/// Where lists of 0 to 8 elements end; about one in nine is empty. Some elements are in no list: before the first, after the last.
fn offsets(rows: usize, seed: u64) -> Vec<i32> {
    let mut rng = Rng(seed);
    let mut end = 3;
    let mut ends = vec![end];
    for _ in 0..rows {
        end += rng.below(9) as i32;
        ends.push(end);
    }
    ends
}

/// Elements of lists that end so, with some after the last.
fn count(ends: &[i32]) -> usize {
    *ends.last().unwrap() as usize + 2
}

/// Every element that may be found and is in the window, nearest first.
fn oracle(
    metric: AnyMetric,
    lists: VectorLists<'_>,
    query: VectorRef<'_>,
    within: Window,
    may: impl Fn(usize, usize) -> bool,
) -> Vec<ElementNeighbor> {
    let scorer = elanus_index::typed::Scorer::new(metric, query).unwrap();
    let mut all = Vec::new();
    for row in 0..lists.len() {
        let list = lists.row(row);
        for element in (0..list.len()).filter(|element| may(row, *element)) {
            let distance = scorer.distance(list.element(element)).unwrap();
            if within.contains(distance) {
                all.push(ElementNeighbor {
                    distance,
                    row: row as u32,
                    element: element as u32,
                });
            }
        }
    }
    all.sort_by(|a, b| {
        a.distance
            .total_cmp(&b.distance)
            .then((a.row, a.element).cmp(&(b.row, b.element)))
    });
    all
}

/// One column of each type with its metrics, over these floats.
fn columns(floats: &[f32]) -> Vec<(Column, Vec<AnyMetric>)> {
    let of_all = Column::of_all_types(floats).into_iter();
    of_all
        .map(|column| {
            let metrics = column.metrics();
            (column, metrics)
        })
        .collect()
}

/// Rounds that lie apart are the same distance when they differ by less than this.
fn near(a: f32, b: f32) -> bool {
    (a - b).abs() <= 1e-4 * a.abs().max(1.0)
}

fn search(
    index: Option<&AnyIndex>,
    metric: AnyMetric,
    lists: VectorLists<'_>,
    query: VectorRef<'_>,
    k: usize,
    params: &SearchParams,
    allow: Option<&Bitset>,
) -> Vec<ElementNeighbor> {
    let mut stats = SearchStats::default();
    search_elements(index, metric, lists, query, k, params, allow, &mut stats).unwrap()
}

/// Every type of elements with every metric of it: the lists of `rows` rows, some queries.
fn for_all(rows: usize, mut check: impl FnMut(AnyMetric, VectorLists<'_>, VectorsRef<'_>)) {
    let ends = offsets(rows, 11);
    let mut mixture = Mixture::new(DIM, 40, 5);
    let (base, wanted) = (mixture.draw(count(&ends)), mixture.draw(8));
    let floats = VectorsRef::Floats(Vectors::new(&base, DIM).unwrap());
    let queries = VectorsRef::Floats(Vectors::new(&wanted, DIM).unwrap());
    let lists = VectorLists::new(&ends, Elements::of(floats).unwrap()).unwrap();
    for metric in METRICS {
        check(metric.into(), lists, queries);
    }
    for ((column, metrics), (wanted, _)) in columns(&base).into_iter().zip(columns(&wanted)) {
        let lists = VectorLists::new(&ends, Elements::of(column.vectors(DIM)).unwrap()).unwrap();
        for metric in metrics {
            check(metric, lists, wanted.vectors(DIM));
        }
    }
}

#[test]
fn exact_search_is_the_loop_for_every_type_metric_filter_and_range() {
    let rows = 70;
    let few = allow_percent(rows, 30.0, 3);
    for_all(rows, |metric, lists, queries| {
        let of_rows = lists.elements_of(Some(&few)).unwrap();
        // Every other element of these rows.
        let mut of_elements = of_rows.clone();
        let odd: Vec<usize> = of_rows.iter().filter(|element| element % 2 == 1).collect();
        odd.iter().for_each(|element| of_elements.clear(*element));
        for query in (0..queries.len()).map(|query| queries.row(query)) {
            let in_rows = |row: usize, _: usize| few.get(row);
            let even = |row: usize, element: usize| {
                few.get(row) && (lists.range(row).start + element).is_multiple_of(2)
            };
            let open = Window::default();
            for (allow, expected) in [
                (None, oracle(metric, lists, query, open, |_, _| true)),
                (Some(&of_rows), oracle(metric, lists, query, open, in_rows)),
                (Some(&of_elements), oracle(metric, lists, query, open, even)),
            ] {
                let found = search(None, metric, lists, query, 1_000, &SearchParams::default(), allow);
                assert_eq!(found.len(), expected.len(), "{metric}");
                let place = |hit: &ElementNeighbor| (hit.row, hit.element);
                for (hit, wanted) in found.iter().zip(&expected) {
                    assert!(near(hit.distance, wanted.distance), "{metric} {hit:?} {wanted:?}");
                    let there = expected.iter().find(|other| place(other) == place(hit)).unwrap();
                    assert!(near(hit.distance, there.distance), "{metric} {hit:?} {there:?}");
                }
                assert!(found.is_sorted_by(|a, b| a.distance <= b.distance));
            }
            let all = oracle(metric, lists, query, open, |_, _| true);
            let within = Window::new(Some(all[5].distance), Some(all[40].distance));
            let params = SearchParams {
                within,
                ..SearchParams::default()
            };
            let found = search(None, metric, lists, query, 1_000, &params, None);
            assert!(found.iter().all(|hit| within.contains(hit.distance)), "{metric}");
            assert!(
                found
                    .len()
                    .abs_diff(oracle(metric, lists, query, within, |_, _| true).len())
                    <= 1,
                "{metric}"
            );
        }
    });
}

/// The families that elements of a type have.
fn families(metric: AnyMetric, elements: Elements<'_>) -> Vec<BuildParams> {
    let sq8 = BuildParams::HnswCoded(HnswCodedParams {
        m: 12,
        ef_construction: 80,
        code: GraphCode::Scalar(ScalarFormat::Sq8),
        refine: false,
        refine_type: None,
    });
    let disk = BuildParams::Disk(DiskParams {
        max_degree: 32,
        search_list_size: 80,
        code_ratio: Ratio(125_000),
        cache_ratio: Ratio(10_000),
    });
    let ivf = BuildParams::IvfFlat { nlist: 32 };
    match (metric, elements) {
        (AnyMetric::Bits(_), _) => vec![HNSW, ivf],
        (_, Elements::Int8s(_)) => vec![BuildParams::Flat, HNSW, sq8],
        // The families do not differ in what they make of metrics.
        (metric, _) if metric != Metric::Ip => vec![BuildParams::Flat, HNSW],
        _ => vec![
            BuildParams::Flat,
            HNSW,
            sq8,
            ivf,
            coded(32, Code::Scann { sub_dim: 2 }),
            coded(32, Code::Scalar { bits: 8 }),
            disk,
        ],
    }
}

#[test]
fn indexes_of_lists_find_the_elements_that_exact_search_finds() {
    let rows = 250;
    let half = allow_percent(rows, 50.0, 4);
    let few = allow_percent(rows, 2.0, 4);
    let params = SearchParams {
        ef: Some(64),
        nprobe: Some(16),
        ..SearchParams::default()
    };
    for_all(rows, |metric, lists, queries| {
        let all = lists.elements().len();
        let sets = [
            None,
            lists.elements_of(Some(&half)),
            lists.elements_of(Some(&few)),
        ];
        for family in families(metric, lists.elements()) {
            let column = VectorsRef::Lists(lists);
            let built = AnyIndex::build(&family, metric, column, None, &BuildOptions::default()).unwrap();
            assert_eq!(
                (built.metric(), built.kind(), built.rows()),
                (metric, family.kind(), all),
                "an element is what a row is to other indexes"
            );
            let opened = AnyIndex::open(Bytes::from(built.serialize())).unwrap();
            for allow in &sets {
                let allow = allow.as_ref();
                let (mut met, mut wanted) = (0, 0);
                for query in (0..queries.len()).map(|query| queries.row(query)) {
                    let found = search(Some(&opened), metric, lists, query, K, &params, allow);
                    assert_eq!(
                        found,
                        search(Some(&built), metric, lists, query, K, &params, allow)
                    );
                    let expected = search(None, metric, lists, query, K, &params, allow);
                    assert_eq!(found.len(), expected.len(), "k elements when k exist");
                    let worst = expected.last().unwrap().distance;
                    for hit in &found {
                        let element = lists.range(hit.row as usize).start + hit.element as usize;
                        assert!(lists.range(hit.row as usize).contains(&element));
                        assert!(allow.is_none_or(|allow| allow.get(element)));
                        met += usize::from(hit.distance <= worst || near(hit.distance, worst));
                    }
                    wanted += expected.len();
                }
                let recall = met as f64 / wanted as f64;
                assert!(recall >= 0.9, "{metric} {} {recall}", family.kind());
            }
        }
    });
}

#[test]
fn rows_that_are_left_out_of_an_index_are_not_found() {
    let ends = offsets(600, 2);
    let mut mixture = Mixture::new(DIM, 20, 8);
    let base = mixture.draw(count(&ends));
    let lists = VectorLists::new(&ends, Elements::Floats(Vectors::new(&base, DIM).unwrap())).unwrap();
    let valid = allow_percent(600, 60.0, 9);
    let metric = AnyMetric::from(Metric::L2);
    let column = VectorsRef::Lists(lists);
    let index = AnyIndex::build(&HNSW, metric, column, Some(&valid), &BuildOptions::default()).unwrap();
    let query = mixture.draw(1);
    let allow = lists.elements_of(Some(&valid)).unwrap();
    let found = search(
        Some(&index),
        metric,
        lists,
        VectorRef::Floats(&query),
        10_000,
        &SearchParams::default(),
        None,
    );
    assert_eq!(found.len(), allow.count());
    assert!(found.iter().all(|hit| valid.get(hit.row as usize)));
}

#[test]
fn an_index_of_another_metric_is_not_used() {
    let ends = offsets(300, 4);
    let mut mixture = Mixture::new(DIM, 20, 8);
    let base = mixture.draw(count(&ends));
    let lists = VectorLists::new(&ends, Elements::Floats(Vectors::new(&base, DIM).unwrap())).unwrap();
    let column = VectorsRef::Lists(lists);
    let of_lists = "MAX_SIM_IP".parse::<AnyMetric>().unwrap();
    let query = mixture.draw(1);
    let query = VectorRef::Floats(&query);
    let expected = search(
        None,
        Metric::L2.into(),
        lists,
        query,
        K,
        &SearchParams::default(),
        None,
    );
    for other in [of_lists, Metric::Ip.into()] {
        let index = AnyIndex::build(&HNSW, other, column, None, &BuildOptions::default()).unwrap();
        let params = SearchParams::default();
        let found = search(Some(&index), Metric::L2.into(), lists, query, K, &params, None);
        assert_eq!(found, expected);
    }
}

#[test]
fn what_does_not_fit_is_refused_with_its_reason() {
    let data = [1.0f32; 4 * DIM];
    let elements = Elements::Floats(Vectors::new(&data, DIM).unwrap());
    let lists = VectorLists::new(&[0, 1, 4], elements).unwrap();
    let refused = |metric: AnyMetric, query: VectorRef<'_>| {
        let (params, mut stats) = (SearchParams::default(), SearchStats::default());
        search_elements(None, metric, lists, query, 1, &params, None, &mut stats)
            .unwrap_err()
            .to_string()
    };
    let short = refused(Metric::L2.into(), VectorRef::Floats(&data[..4]));
    assert_eq!(short, "vectors have different dimensions, 4 and 32");
    let list = refused(Metric::L2.into(), VectorRef::List(elements));
    assert!(list.contains("list of float"), "{list}");
    let bits = refused(BitMetric::Hamming.into(), VectorRef::Floats(&data[..DIM]));
    assert!(bits.contains("HAMMING"), "{bits}");
    let column = VectorsRef::Lists(lists);
    let error = AnyIndex::build(
        &BuildParams::IvfFlat { nlist: 0 },
        Metric::L2.into(),
        column,
        None,
        &BuildOptions::default(),
    );
    assert!(matches!(error, Err(BuildError::Params(_))), "{error:?}");
}
