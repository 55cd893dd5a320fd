//! Embedding lists: exact search next to the formula, and indexes of the elements next to exact search.

use bytes::Bytes;
use elanus_index::typed::Scorer;
use elanus_index::{
    AnyIndex, AnyMetric, BitMetric, Bitset, BuildError, BuildOptions, BuildParams, Code, ElementMetric,
    Elements, GraphCode, HnswCodedParams, Metric, Neighbor, ScalarFormat, SearchParams, SearchStats,
    VectorLists, VectorRef, Vectors, VectorsRef, Window, exact_search_any,
};

use crate::data::{Mixture, Rng, allow_percent, coded, recall, stops_when_told};
use crate::typed_index::Column;

const DIM: usize = 16;
const K: usize = 10;
const HNSW: BuildParams = BuildParams::Hnsw {
    m: 12,
    ef_construction: 80,
};

/// Where lists of 0 to 8 elements end; about one in nine is empty.
fn offsets(rows: usize, seed: u64) -> Vec<i32> {
    let mut rng = Rng(seed);
    let mut end = 0;
    let mut ends = vec![0];
    for _ in 0..rows {
        end += rng.below(9) as i32;
        ends.push(end);
    }
    ends
}

/// The same formula, one number after the other.
fn formula(metric: AnyMetric, query: Elements<'_>, row: Elements<'_>) -> f32 {
    let AnyMetric::MaxSim(metric) = metric else {
        panic!("a metric of lists")
    };
    let distance = |a: VectorRef<'_>, b: VectorRef<'_>| {
        let scorer = Scorer::new(metric.of_vectors(), a).unwrap();
        scorer.distance(b).unwrap()
    };
    let nearest = |vector: VectorRef<'_>| {
        let of_row = (0..row.len()).map(|element| distance(vector, row.element(element)));
        of_row.fold(f32::INFINITY, f32::min)
    };
    (0..query.len())
        .map(|vector| nearest(query.element(vector)))
        .sum()
}

fn exact(
    metric: AnyMetric,
    lists: VectorLists<'_>,
    query: Elements<'_>,
    k: usize,
    allow: Option<&Bitset>,
) -> Vec<Neighbor> {
    let (lists, query) = (VectorsRef::Lists(lists), VectorRef::List(query));
    let mut stats = SearchStats::default();
    exact_search_any(metric, lists, query, k, Window::default(), allow, &mut stats).unwrap()
}

fn numbers(metric: Metric) -> AnyMetric {
    AnyMetric::MaxSim(ElementMetric::Numbers(metric))
}

fn floats(data: &[f32]) -> Elements<'_> {
    Elements::Floats(Vectors::new(data, DIM).unwrap())
}

#[test]
fn exact_search_is_the_formula_for_every_type_and_metric() {
    let (rows, dim) = (60, 32);
    let ends = offsets(rows, 3);
    let count = ends[rows] as usize;
    let mut mixture = Mixture::new(dim, 8, 5);
    let (base, wanted) = (mixture.draw(count), mixture.draw(4));
    let plain = [(
        Vectors::new(&base, dim).unwrap(),
        Vectors::new(&wanted, dim).unwrap(),
    )];
    let mut all: Vec<(VectorsRef<'_>, VectorsRef<'_>, Vec<ElementMetric>)> = Vec::new();
    let of_numbers = [Metric::L2, Metric::Ip, Metric::Cosine].map(ElementMetric::Numbers);
    for (base, wanted) in plain {
        all.push((
            VectorsRef::Floats(base),
            VectorsRef::Floats(wanted),
            of_numbers.to_vec(),
        ));
    }
    let columns = (Column::of_all_types(&base), Column::of_all_types(&wanted));
    for (base, wanted) in columns.0.iter().zip(&columns.1) {
        let metrics = match base {
            Column::Bits(_) => [BitMetric::Hamming, BitMetric::Jaccard]
                .map(ElementMetric::Bits)
                .to_vec(),
            Column::Halves(_) | Column::BFloat16s(_) | Column::Int8s(_) => of_numbers.to_vec(),
        };
        all.push((base.vectors(dim), wanted.vectors(dim), metrics));
    }
    for (base, wanted, metrics) in all {
        let lists = VectorLists::new(&ends, Elements::of(base).unwrap()).unwrap();
        let query = Elements::of(wanted).unwrap();
        for metric in metrics.into_iter().map(AnyMetric::MaxSim) {
            let found = exact(metric, lists, query, rows, None);
            let filled: Vec<usize> = (0..rows).filter(|row| !lists.row(*row).is_empty()).collect();
            assert_eq!(found.len(), filled.len(), "{metric}: empty lists are not found");
            for hit in &found {
                let expected = formula(metric, query, lists.row(hit.row as usize));
                let off = (hit.distance - expected).abs();
                assert!(
                    off <= 1e-4 * expected.abs().max(1.0),
                    "{metric} {hit:?} {expected}"
                );
            }
            assert!(found.is_sorted_by(|a, b| a.distance <= b.distance));
        }
    }
}

fn families() -> Vec<BuildParams> {
    vec![
        BuildParams::Flat,
        HNSW,
        BuildParams::HnswCoded(HnswCodedParams {
            m: 12,
            ef_construction: 80,
            code: GraphCode::Scalar(ScalarFormat::Sq8),
            refine: false,
            refine_type: None,
        }),
        BuildParams::IvfFlat { nlist: 32 },
        coded(32, Code::Scann { sub_dim: 2 }),
    ]
}

#[test]
fn indexes_of_the_elements_find_what_exact_search_finds() {
    let rows = 4_000;
    let ends = offsets(rows, 7);
    let mut mixture = Mixture::new(DIM, 200, 9);
    let base = mixture.draw(ends[rows] as usize);
    let lists = VectorLists::new(&ends, floats(&base)).unwrap();
    let queries: Vec<Vec<f32>> = (0..30).map(|query| mixture.draw(2 + query % 5)).collect();
    let half = allow_percent(rows, 50.0, 4);
    let few = allow_percent(rows, 1.0, 4);
    let params = SearchParams {
        ef: Some(64),
        nprobe: Some(16),
        ..SearchParams::default()
    };
    for metric in [Metric::L2, Metric::Ip, Metric::Cosine].map(numbers) {
        for family in families() {
            let vectors = VectorsRef::Lists(lists);
            let built = AnyIndex::build(&family, metric, vectors, None, &BuildOptions::default()).unwrap();
            assert_eq!(
                (built.metric(), built.kind(), built.rows()),
                (metric, family.kind(), rows)
            );
            let opened = AnyIndex::open(Bytes::from(built.serialize())).unwrap();
            assert_eq!(opened.serialize(), built.serialize());
            for allow in [None, Some(&half), Some(&few)] {
                let mut sum = 0.0;
                for query in &queries {
                    let query = floats(query);
                    let mut stats = SearchStats::default();
                    let search = |index: &AnyIndex, stats: &mut SearchStats| {
                        index
                            .search(vectors, VectorRef::List(query), K, &params, allow, stats)
                            .unwrap()
                    };
                    let found = search(&opened, &mut stats);
                    assert_eq!(found, search(&built, &mut SearchStats::default()));
                    assert!(stats.distances > 0);
                    let expected = exact(metric, lists, query, K, allow);
                    assert_eq!(found.len(), expected.len(), "k rows when k exist");
                    for hit in &found {
                        assert!(allow.is_none_or(|allow| allow.get(hit.row as usize)));
                        assert!(!lists.row(hit.row as usize).is_empty());
                    }
                    sum += recall(&found, &expected);
                }
                let mean = sum / queries.len() as f64;
                assert!(mean >= 0.95, "{metric} {} {mean}", family.kind());
                if family == HNSW && allow.is_none() {
                    let few = SearchParams {
                        retrieval_ann_ratio: Some(1.0),
                        ..params
                    };
                    let fewer = queries.iter().map(|query| {
                        let query = VectorRef::List(floats(query));
                        let mut stats = SearchStats::default();
                        opened.search(vectors, query, K, &few, None, &mut stats).unwrap();
                        stats.distances
                    });
                    let mut stats = SearchStats::default();
                    for query in &queries {
                        let query = VectorRef::List(floats(query));
                        opened
                            .search(vectors, query, K, &params, None, &mut stats)
                            .unwrap();
                    }
                    assert!(
                        fewer.sum::<u64>() < stats.distances,
                        "fewer elements are less work"
                    );
                }
            }
        }
    }
}

#[test]
fn ranges_large_limits_and_lists_without_rows_are_exact() {
    let ends = offsets(3_000, 8);
    let mut mixture = Mixture::new(DIM, 50, 2);
    let base = mixture.draw(ends[3_000] as usize);
    let lists = VectorLists::new(&ends, floats(&base)).unwrap();
    let vectors = VectorsRef::Lists(lists);
    let metric = numbers(Metric::L2);
    let index = AnyIndex::build(&HNSW, metric, vectors, None, &BuildOptions::default()).unwrap();
    let query = mixture.draw(3);
    let query = floats(&query);
    let expected = exact(metric, lists, query, 5_000, None);
    let mut stats = SearchStats::default();
    let mut search = |k: usize, params: &SearchParams| {
        index
            .search(vectors, VectorRef::List(query), k, params, None, &mut stats)
            .unwrap()
    };
    assert_eq!(search(5_000, &SearchParams::default()), expected);
    let within = Window::new(Some(expected[20].distance), Some(expected[40].distance));
    let range = SearchParams {
        within,
        ..SearchParams::default()
    };
    assert_eq!(search(1_000, &range), expected[20..40]);
    assert!(search(0, &SearchParams::default()).is_empty());

    let none = VectorLists::new(&[0, 0, 0], floats(&[])).unwrap();
    let empty = AnyIndex::build(
        &HNSW,
        metric,
        VectorsRef::Lists(none),
        None,
        &BuildOptions::default(),
    )
    .unwrap();
    let found = empty.search(
        VectorsRef::Lists(none),
        VectorRef::List(query),
        3,
        &SearchParams::default(),
        None,
        &mut SearchStats::default(),
    );
    assert_eq!(found, Ok(Vec::new()));
}

#[test]
fn sums_that_overflow_both_ways_come_last() {
    let row = |x: f32, y: f32| [[x, y].as_slice(), &[0.0; DIM - 2]].concat();
    let base = [row(3e38, -3e38), row(1.0, -1.0)].concat();
    let query = [row(3e38, 0.0), row(3e38, 3e38)].concat();
    let lists = VectorLists::new(&[0, 1, 2], floats(&base)).unwrap();
    let found = exact(numbers(Metric::Ip), lists, floats(&query), 2, None);
    assert_eq!(found.iter().map(|hit| hit.row).collect::<Vec<_>>(), [1, 0]);
    assert_eq!(found[1].distance, f32::INFINITY);
    let scorer = Scorer::new(numbers(Metric::Ip), VectorRef::List(floats(&query))).unwrap();
    let of_one = scorer.distance(VectorRef::List(floats(&base[..DIM])));
    assert_eq!(of_one.unwrap(), f32::INFINITY);
}

#[test]
fn builds_report_progress_to_the_end_and_stop_when_told() {
    let ends = offsets(400, 12);
    let base = Mixture::new(DIM, 50, 13).draw(ends[400] as usize);
    let lists = VectorLists::new(&ends, floats(&base)).unwrap();
    for family in families() {
        stops_when_told(&format!("{family:?}"), ends[400] as u64, |options| {
            AnyIndex::build(
                &family,
                numbers(Metric::L2),
                VectorsRef::Lists(lists),
                None,
                options,
            )
        });
    }
}

#[test]
fn what_does_not_fit_is_refused_with_its_reason() {
    let data = [1.0f32; 4 * DIM];
    let lists = VectorLists::new(&[0, 1, 4], floats(&data)).unwrap();
    let search = |metric: AnyMetric, query: VectorRef<'_>| {
        let mut stats = SearchStats::default();
        exact_search_any(
            metric,
            VectorsRef::Lists(lists),
            query,
            1,
            Window::default(),
            None,
            &mut stats,
        )
        .unwrap_err()
        .to_string()
    };
    let two = VectorRef::List(floats(&data[..2 * DIM]));
    assert!(search(Metric::L2.into(), two).starts_with("vectors of type list of float have no metric L2"));
    let short = VectorRef::List(Elements::Floats(Vectors::new(&data[..4], 4).unwrap()));
    assert_eq!(
        search(numbers(Metric::L2), short),
        "vectors have different dimensions, 4 and 16"
    );
    let single = search(numbers(Metric::L2), VectorRef::Floats(&data[..DIM]));
    assert!(single.contains("MAX_SIM_L2"), "{single}");
    let error = AnyIndex::build(
        &HNSW,
        AnyMetric::MaxSim(ElementMetric::Bits(BitMetric::Hamming)),
        VectorsRef::Lists(lists),
        None,
        &BuildOptions::default(),
    );
    assert!(matches!(error, Err(BuildError::Kind { .. })), "{error:?}");
}

#[test]
fn damaged_blobs_are_errors() {
    let ends = offsets(300, 1);
    let base = Mixture::new(DIM, 5, 2).draw(ends[300] as usize);
    let lists = VectorLists::new(&ends, floats(&base)).unwrap();
    let built = AnyIndex::build(
        &HNSW,
        numbers(Metric::Ip),
        VectorsRef::Lists(lists),
        None,
        &BuildOptions::default(),
    );
    let blob = built.unwrap().serialize();
    for at in (0..blob.len()).step_by(97) {
        let mut damaged = blob.clone();
        damaged[at] ^= 0x10;
        assert!(AnyIndex::open(Bytes::from(damaged)).is_err(), "byte {at}");
    }
}
