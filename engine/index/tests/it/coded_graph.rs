//! Graphs with codes: recall of every code under every metric and on every type of numbers, plain, filtered and within a
//! window, and what refining does.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use elanus_index::kernels::narrow::f32_to_bfloat16;
use elanus_index::{
    AnyIndex, Bitset, BuildError, BuildOptions, BuildParams, GraphCode, HnswCodedParams, Metric, Neighbor,
    Rows, ScalarFormat, SearchParams, SearchStats, Strategy, VectorIndex, VectorRef, Vectors, VectorsRef,
    Window, build, exact_search_any, open,
};

use crate::blobs::reseal;
use crate::data::{METRICS, Mixture, Rng, allow_percent, check_sound, graph, oracle, recall};

const ROWS: usize = 8_000;
const DIM: usize = 48;
const QUERIES: usize = 25;

const fn scalar(format: ScalarFormat) -> GraphCode {
    GraphCode::Scalar(format)
}

/// Every code, with the recall of 10 that it has without being asked to refine, with a list of 100 candidates.
const CODES: [(GraphCode, f64); 9] = [
    (scalar(ScalarFormat::Fp16), 0.98),
    (scalar(ScalarFormat::Bf16), 0.98),
    (scalar(ScalarFormat::Sq8), 0.98),
    (scalar(ScalarFormat::Sq6), 0.98),
    (scalar(ScalarFormat::Sq4u), 0.95),
    (GraphCode::Product { m: 16, nbits: 8 }, 0.95),
    (GraphCode::Product { m: 24, nbits: 4 }, 0.9),
    (
        GraphCode::Residual {
            m: 8,
            nrq: 2,
            nbits: 8,
        },
        0.95,
    ),
    (
        GraphCode::Residual {
            m: 8,
            nrq: 5,
            nbits: 3,
        },
        0.9,
    ),
];

struct Set {
    base: Vec<f32>,
    queries: Vec<f32>,
}

impl Set {
    fn new() -> Self {
        let mut mixture = Mixture::new(DIM, 120, 21);
        Self {
            base: mixture.draw(ROWS),
            queries: mixture.draw(QUERIES),
        }
    }

    fn vectors(&self) -> Vectors<'_> {
        Vectors::new(&self.base, DIM).unwrap()
    }

    fn queries(&self) -> impl Iterator<Item = &[f32]> {
        self.queries.chunks(DIM)
    }

    fn built(&self, params: BuildParams, metric: Metric) -> Arc<dyn VectorIndex> {
        build(&params, metric, self.vectors(), None, &BuildOptions::default()).unwrap()
    }
}

/// Every code under every metric over the usual set, built once for all tests.
fn indexes() -> impl Iterator<Item = (GraphCode, f64, Metric, &'static dyn VectorIndex)> {
    type Built = (GraphCode, f64, Metric, Arc<dyn VectorIndex>);
    static BUILT: OnceLock<Vec<Built>> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        let set = Set::new();
        let pairs = CODES
            .into_iter()
            .flat_map(|code| METRICS.map(|metric| (code, metric)));
        pairs
            .map(|((code, least), metric)| (code, least, metric, set.built(graph(code), metric)))
            .collect()
    });
    built
        .iter()
        .map(|(code, least, metric, index)| (*code, *least, *metric, &**index))
}

fn search(ef: u32) -> SearchParams {
    SearchParams {
        ef: Some(ef),
        ..SearchParams::default()
    }
}

#[test]
fn every_code_finds_nearly_all_neighbours_under_every_metric() {
    let set = Set::new();
    for (code, least, metric, index) in indexes() {
        let (mut sum, mut stats) = (0.0, SearchStats::default());
        for query in set.queries() {
            let found = index.search(set.vectors(), query, 10, &search(100), None, &mut stats);
            check_sound(metric, set.vectors(), query, &found, None);
            assert_eq!((found.len(), stats.strategy), (10, Strategy::Graph));
            sum += recall(&found, &oracle(metric, set.vectors(), query, 10, None));
        }
        let recall = sum / QUERIES as f64;
        assert!(recall >= least, "{code:?} {metric}: recall {recall}");
    }
}

#[test]
fn every_code_keeps_recall_under_a_filter() {
    let set = Set::new();
    for (percent, strategy) in [
        (0.5, Strategy::ExactFiltered),
        (60.0, Strategy::GraphFiltered),
        (90.0, Strategy::GraphFiltered),
    ] {
        let allow = allow_percent(ROWS, percent, 3);
        for (code, least, metric, index) in indexes() {
            let (mut sum, mut stats) = (0.0, SearchStats::default());
            for query in set.queries() {
                let found = index.search(set.vectors(), query, 10, &search(64), Some(&allow), &mut stats);
                check_sound(metric, set.vectors(), query, &found, Some(&allow));
                assert_eq!(found.len(), 10);
                sum += recall(&found, &oracle(metric, set.vectors(), query, 10, Some(&allow)));
            }
            let recall = sum / QUERIES as f64;
            assert!(
                recall >= least - 0.03,
                "{code:?} {metric} {percent} %: recall {recall}"
            );
            assert_eq!(stats.strategy, strategy, "{code:?} {metric} {percent} %");
        }
    }
}

#[test]
fn rows_of_a_window_are_found_and_no_others() {
    let set = Set::new();
    let allow = allow_percent(ROWS, 60.0, 3);
    for (code, least, metric, index) in indexes() {
        for allow in [None, Some(&allow)] {
            let (mut sum, mut walked) = (0.0, 0);
            for query in set.queries() {
                let all = oracle(metric, set.vectors(), query, 60, allow);
                let (first, last) = (all[20].distance, all[50].distance);
                for window in [
                    Window::new(None, Some(last)),
                    Window::new(Some(first), Some(last)),
                    Window::new(Some(first), None),
                ] {
                    // Few enough candidates that the graph is walked.
                    let params = SearchParams {
                        within: window,
                        ..search(80)
                    };
                    let stats = &mut SearchStats::default();
                    let found = index.search(set.vectors(), query, 25, &params, allow, stats);
                    walked += usize::from(matches!(
                        stats.strategy,
                        Strategy::Graph | Strategy::GraphFiltered
                    ));
                    check_sound(metric, set.vectors(), query, &found, allow);
                    assert!(found.iter().all(|neighbor| window.contains(neighbor.distance)));
                    let inside = |neighbor: &&Neighbor| window.contains(neighbor.distance);
                    let expected: Vec<Neighbor> = all.iter().filter(inside).take(25).copied().collect();
                    sum += recall(&found, &expected);
                }
            }
            let recall = sum / (3 * QUERIES) as f64;
            // Under IP the nearest rows are the long ones: few links lead to them.
            let less = if metric == Metric::Ip { 0.15 } else { 0.03 };
            assert!(recall >= least - less, "{code:?} {metric}: recall {recall}");
            assert!(walked >= 2 * QUERIES, "{code:?} {metric}: walked {walked}");
        }
    }
}

#[test]
fn scoring_more_rows_again_finds_more() {
    let set = Set::new();
    let at = |refine: bool, refine_k| {
        let params = HnswCodedParams {
            m: 12,
            ef_construction: 80,
            code: GraphCode::Product { m: 4, nbits: 4 },
            refine,
            refine_type: None,
        };
        let index = set.built(BuildParams::HnswCoded(params), Metric::L2);
        let params = SearchParams {
            refine_k: Some(refine_k),
            ..search(250)
        };
        let recalls = set.queries().map(|query| {
            let stats = &mut SearchStats::default();
            let found = index.search(set.vectors(), query, 10, &params, None, stats);
            recall(&found, &oracle(Metric::L2, set.vectors(), query, 10, None))
        });
        recalls.sum::<f64>() / QUERIES as f64
    };
    let (few, many) = (at(true, 4.0), at(true, 25.0));
    assert!(few + 0.1 < many && many > 0.9, "{few} {many}");
    assert_eq!(at(false, 25.0), few);
}

/// All rows lie far from the origin: what is rounded must be their differences.
#[test]
fn an_offset_of_all_rows_does_not_cost_recall() {
    let mut set = Set::new();
    set.base.iter_mut().for_each(|value| *value += 300.0);
    set.queries.iter_mut().for_each(|value| *value += 300.0);
    for (code, least) in CODES {
        let index = set.built(graph(code), Metric::L2);
        let recalls = set.queries().map(|query| {
            let stats = &mut SearchStats::default();
            let found = index.search(set.vectors(), query, 10, &search(100), None, stats);
            recall(&found, &oracle(Metric::L2, set.vectors(), query, 10, None))
        });
        let recall = recalls.sum::<f64>() / QUERIES as f64;
        assert!(recall >= least - 0.02, "{code:?}: recall {recall}");
    }
}

/// Values whose squares overflow cannot be estimated; they are found all the same.
#[test]
fn huge_values_are_found() {
    let mut set = Set::new();
    for value in set.base.chunks_mut(DIM).step_by(7).flatten() {
        *value *= 1e19;
    }
    for (code, _) in CODES.into_iter().step_by(2) {
        for metric in METRICS {
            let index = set.built(graph(code), metric);
            for query in [&set.queries[..DIM], &set.base[..DIM]] {
                let stats = &mut SearchStats::default();
                let found = index.search(set.vectors(), query, 10, &search(24), None, stats);
                check_sound(metric, set.vectors(), query, &found, None);
                assert_eq!(found.len(), 10, "{code:?} {metric}");
            }
        }
    }
}

#[test]
fn dimensions_that_fill_no_register_work() {
    for dim in [8usize, 9, 30, 66, 129] {
        let rows = 3_000;
        let mut mixture = Mixture::new(dim, 40, 5);
        let (base, queries) = (mixture.draw(rows), mixture.draw(20));
        let vectors = Vectors::new(&base, dim).unwrap();
        let groups = GraphCode::Product {
            m: dim as u32,
            nbits: 5,
        };
        let formats = [
            ScalarFormat::Sq8,
            ScalarFormat::Sq6,
            ScalarFormat::Sq4u,
            ScalarFormat::Bf16,
        ];
        for code in formats.into_iter().map(scalar).chain([groups]) {
            let metric = METRICS[dim % 3];
            let index = build(&graph(code), metric, vectors, None, &BuildOptions::default()).unwrap();
            let recalls = queries.chunks(dim).map(|query| {
                let found = index.search(vectors, query, 10, &search(64), None, &mut SearchStats::default());
                check_sound(metric, vectors, query, &found, None);
                recall(&found, &oracle(metric, vectors, query, 10, None))
            });
            let recall = recalls.sum::<f64>() / 20.0;
            assert!(
                recall >= 0.9,
                "{code:?} {metric} dimension {dim}: recall {recall}"
            );
        }
    }
}

#[test]
fn numbers_of_more_than_a_byte_find_nearly_all() {
    const ROWS: usize = 1_100;
    const DIM: usize = 8;
    let mut mixture = Mixture::new(DIM, 30, 5);
    let (base, queries) = (mixture.draw(ROWS), mixture.draw(QUERIES));
    let vectors = Vectors::new(&base, DIM).unwrap();
    let codes = [
        GraphCode::Product { m: 2, nbits: 9 },
        GraphCode::Residual {
            m: 1,
            nrq: 2,
            nbits: 10,
        },
    ];
    for (code, metric) in codes.into_iter().zip([Metric::L2, Metric::Cosine]) {
        let index = build(&graph(code), metric, vectors, None, &BuildOptions::default()).unwrap();
        let opened = open(index.serialize().into()).unwrap();
        let (mut sum, mut stats) = (0.0, SearchStats::default());
        for query in queries.chunks(DIM) {
            let found = index.search(vectors, query, 5, &search(20), None, &mut stats);
            check_sound(metric, vectors, query, &found, None);
            assert_eq!((found.len(), stats.strategy), (5, Strategy::Graph));
            let again = opened.search(vectors, query, 5, &search(20), None, &mut stats);
            assert_eq!(again, found);
            sum += recall(&found, &oracle(metric, vectors, query, 5, None));
        }
        let recall = sum / QUERIES as f64;
        assert!(recall >= 0.85, "{code:?} {metric}: recall {recall}");
    }
}

#[test]
fn groups_that_do_not_divide_the_dimension_are_refused() {
    let base = [0.0f32; 30];
    let vectors = Vectors::new(&base, 10).unwrap();
    for (code, text) in [
        (GraphCode::Product { m: 3, nbits: 8 }, "dimension 10, m 3"),
        (
            GraphCode::Residual {
                m: 3,
                nrq: 2,
                nbits: 8,
            },
            "dimension 10, m 3",
        ),
        (
            GraphCode::Product { m: 2, nbits: 25 },
            "param 'nbits' (25) should be in range [1, 24]",
        ),
        (
            GraphCode::Residual {
                m: 2,
                nrq: 17,
                nbits: 8,
            },
            "param 'nrq' (17) should be in range [1, 16]",
        ),
    ] {
        let error = build(&graph(code), Metric::L2, vectors, None, &BuildOptions::default()).unwrap_err();
        assert!(error.to_string().contains(text), "{error}");
    }
}

#[test]
fn every_code_reads_back_and_answers_the_same() {
    let set = Set::new();
    let allow = allow_percent(ROWS, 70.0, 3);
    for (code, _, metric, index) in indexes() {
        let blob = Bytes::from(index.serialize());
        let opened = open(blob.clone()).unwrap();
        assert_eq!(opened.params(), index.params());
        assert_eq!(opened.kind(), index.kind());
        assert_eq!(opened.serialize(), blob);
        for query in set.queries().take(5) {
            for allow in [None, Some(&allow)] {
                let of = |index: &dyn VectorIndex| {
                    let stats = &mut SearchStats::default();
                    index.search(set.vectors(), query, 10, &search(64), allow, stats)
                };
                assert_eq!(of(&*opened), of(index), "{code:?} {metric}");
            }
        }
    }
}

#[test]
fn damage_under_right_checksums_never_panics_nor_returns_a_row_that_is_not_there() {
    let rows = 2_500;
    let base = Mixture::new(DIM, 40, 5).draw(rows);
    let vectors = Vectors::new(&base, DIM).unwrap();
    let valid = Bitset::from_fn(rows, |row| row % 5 != 0);
    for (code, _) in CODES.into_iter().step_by(2) {
        let built = build(
            &graph(code),
            Metric::L2,
            vectors,
            Some(&valid),
            &BuildOptions::default(),
        );
        let blob = built.unwrap().serialize();
        let mut rng = Rng(8);
        let mut refused = 0;
        for round in 0..200 {
            let mut damaged = blob.clone();
            // Half of the damage goes to the header and the table, which are small.
            let at = rng.below(if round % 2 == 0 { blob.len() } else { 256 });
            damaged[at] ^= 1 << rng.below(8);
            reseal(&mut damaged);
            let outcome = catch_unwind(AssertUnwindSafe(|| match open(Bytes::from(damaged)) {
                Err(_) => 1,
                Ok(index) => {
                    let stats = &mut SearchStats::default();
                    let found = index.search(vectors, &base[..DIM], 15, &search(40), None, stats);
                    assert!(found.iter().all(|neighbor| (neighbor.row as usize) < rows));
                    0
                }
            }));
            refused +=
                outcome.unwrap_or_else(|_| panic!("{code:?}: damage at byte {at} in round {round} panics"));
        }
        assert!(refused > 20, "{code:?}: {refused} refused");
    }
}

/// The half nearest to a float of moderate size.
fn half(value: f32) -> u16 {
    if value == 0.0 {
        return 0;
    }
    let bits = value.to_bits();
    let exponent = (bits >> 23 & 0xff) as i32 - 127 + 15;
    let sign = (bits >> 16) as u16 & 0x8000;
    if exponent <= 0 {
        return sign;
    }
    sign | (((exponent as u32) << 10 | (bits >> 13 & 0x3ff)) as u16)
}

#[test]
fn numbers_of_other_types_have_the_same_codes() {
    let set = Set::new();
    let halves = |data: &[f32]| -> Vec<u16> { data.iter().map(|value| half(*value)).collect() };
    let bfloats = |data: &[f32]| -> Vec<u16> { data.iter().map(|value| f32_to_bfloat16(*value)).collect() };
    let bytes = |data: &[f32]| -> Vec<i8> { data.iter().map(|value| (value * 30.0) as i8).collect() };
    let (half_base, half_queries) = (halves(&set.base), halves(&set.queries));
    let (bfloat_base, bfloat_queries) = (bfloats(&set.base), bfloats(&set.queries));
    let (int_base, int_queries) = (bytes(&set.base), bytes(&set.queries));
    let columns = [
        (
            VectorsRef::Halves(Rows::new(&half_base, DIM).unwrap()),
            VectorsRef::Halves(Rows::new(&half_queries, DIM).unwrap()),
        ),
        (
            VectorsRef::BFloat16s(Rows::new(&bfloat_base, DIM).unwrap()),
            VectorsRef::BFloat16s(Rows::new(&bfloat_queries, DIM).unwrap()),
        ),
        (
            VectorsRef::Int8s(Rows::new(&int_base, DIM).unwrap()),
            VectorsRef::Int8s(Rows::new(&int_queries, DIM).unwrap()),
        ),
    ];
    let allow = allow_percent(ROWS, 70.0, 3);
    for (place, (vectors, queries)) in columns.into_iter().enumerate() {
        for (at, (code, least)) in CODES.into_iter().enumerate() {
            let metric = METRICS[(at + place) % 3].into();
            let built = AnyIndex::build(&graph(code), metric, vectors, None, &BuildOptions::default());
            let index = AnyIndex::open(built.unwrap().serialize().into()).unwrap();
            let name = format!("{code:?} {metric} of {}", vectors.row(0).kind());
            for allow in [None, Some(&allow)] {
                let (mut sum, mut stats) = (0.0, SearchStats::default());
                for query in (0..QUERIES).map(|query| queries.row(query)) {
                    let found = index.search(vectors, query, 10, &search(100), allow, &mut stats);
                    let found = found.unwrap();
                    let open = Window::default();
                    let scanned = &mut SearchStats::default();
                    let expected = exact_search_any(metric, vectors, query, 10, open, allow, scanned);
                    let all = exact_search_any(metric, vectors, query, ROWS, open, allow, scanned).unwrap();
                    assert!(found.iter().all(|neighbor| all.contains(neighbor)), "{name}");
                    sum += recall(&found, &expected.unwrap());
                }
                let recall = sum / QUERIES as f64;
                assert!(recall >= least - 0.03, "{name}: recall {recall}");
                assert!(matches!(
                    stats.strategy,
                    Strategy::Graph | Strategy::GraphFiltered
                ));
            }
        }
    }
}

#[test]
fn bits_have_no_codes() {
    let data = vec![7u8; 100 * DIM / 8];
    let vectors = VectorsRef::Bits(Rows::new(&data, DIM / 8).unwrap());
    assert!(matches!(vectors.row(0), VectorRef::Bits(_)));
    let metric = elanus_index::BitMetric::Hamming.into();
    let params = graph(scalar(ScalarFormat::Sq8));
    let error = AnyIndex::build(&params, metric, vectors, None, &BuildOptions::default()).unwrap_err();
    assert!(matches!(error, BuildError::Kind { .. }), "{error}");
}
