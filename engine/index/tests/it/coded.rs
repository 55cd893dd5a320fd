//! Lists with codes: recall of every family under every metric, plain, filtered and within a window, and what refining does.

use std::sync::{Arc, OnceLock};

use elanus_index::{
    BuildOptions, BuildParams, Code, CodedParams, Metric, Neighbor, SearchParams, SearchStats, Strategy,
    VectorIndex, Vectors, Window, build, open,
};

use crate::data::{METRICS, Mixture, allow_percent, check_sound, coded, oracle, recall};

const ROWS: usize = 8_000;
const DIM: usize = 48;
const QUERIES: usize = 25;
const NLIST: u32 = 64;

/// Every code, with the recall of 10 that it has without being asked to refine when 24 of 64 lists are looked at.
fn codes() -> Vec<(Code, f64)> {
    let rabitq = |bits, fast_scan| Code::Rabitq { bits, fast_scan };
    vec![
        (Code::Scalar { bits: 8 }, 0.96),
        (Code::Scalar { bits: 6 }, 0.96),
        (Code::Scalar { bits: 4 }, 0.96),
        (Code::Product { m: 16, nbits: 8 }, 0.95),
        (Code::Product { m: 12, nbits: 6 }, 0.85),
        (Code::Product { m: 24, nbits: 4 }, 0.93),
        (Code::Product { m: 48, nbits: 2 }, 0.9),
        (Code::Scann { sub_dim: 2 }, 0.93),
        (rabitq(1, false), 0.9),
        (rabitq(1, true), 0.9),
        (rabitq(2, false), 0.94),
        (rabitq(4, true), 0.95),
        (rabitq(7, true), 0.96),
        (rabitq(9, false), 0.96),
    ]
}

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

    fn built(&self, code: Code, metric: Metric) -> Arc<dyn VectorIndex> {
        let params = coded(NLIST, code);
        build(&params, metric, self.vectors(), None, &BuildOptions::default()).unwrap()
    }
}

/// What [`Set::built`] gives for every code and metric of the usual set, built once for all tests.
fn indexes() -> impl Iterator<Item = (Code, f64, Metric, &'static dyn VectorIndex)> {
    type Built = (Code, f64, Metric, Arc<dyn VectorIndex>);
    static BUILT: OnceLock<Vec<Built>> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        let set = Set::new();
        let pairs = codes()
            .into_iter()
            .flat_map(|code| METRICS.map(|metric| (code, metric)));
        pairs
            .map(|((code, least), metric)| (code, least, metric, set.built(code, metric)))
            .collect()
    });
    built
        .iter()
        .map(|(code, least, metric, index)| (*code, *least, *metric, &**index))
}

/// A few codes, one of each kind.
fn some_codes() -> impl Iterator<Item = (Code, f64)> {
    codes().into_iter().step_by(3)
}

fn search(nprobe: u32) -> SearchParams {
    SearchParams {
        nprobe: Some(nprobe),
        ..SearchParams::default()
    }
}

#[test]
fn every_family_finds_nearly_all_neighbours_under_every_metric() {
    let set = Set::new();
    for (code, least, metric, index) in indexes() {
        let (mut sum, mut stats) = (0.0, SearchStats::default());
        for query in set.queries() {
            let found = index.search(set.vectors(), query, 10, &search(24), None, &mut stats);
            check_sound(metric, set.vectors(), query, &found, None);
            assert_eq!((found.len(), stats.strategy), (10, Strategy::Lists));
            sum += recall(&found, &oracle(metric, set.vectors(), query, 10, None));
        }
        let recall = sum / QUERIES as f64;
        assert!(recall >= least, "{code:?} {metric}: recall {recall}");
    }
}

#[test]
fn every_family_keeps_recall_under_a_filter() {
    let set = Set::new();
    for percent in [30.0, 80.0] {
        let allow = allow_percent(ROWS, percent, 3);
        for (code, least, metric, index) in indexes() {
            let (mut sum, mut stats) = (0.0, SearchStats::default());
            for query in set.queries() {
                let found = index.search(set.vectors(), query, 10, &search(16), Some(&allow), &mut stats);
                check_sound(metric, set.vectors(), query, &found, Some(&allow));
                assert_eq!(found.len(), 10);
                sum += recall(&found, &oracle(metric, set.vectors(), query, 10, Some(&allow)));
            }
            let recall = sum / QUERIES as f64;
            assert!(
                recall >= least - 0.03,
                "{code:?} {metric} {percent} %: recall {recall}"
            );
            assert_eq!(stats.strategy, Strategy::ListsFiltered);
        }
    }
}

#[test]
fn rows_of_a_window_are_found_and_no_others() {
    let set = Set::new();
    let allow = allow_percent(ROWS, 60.0, 3);
    for (code, _, metric, index) in indexes() {
        for allow in [None, Some(&allow)] {
            let (mut sum, mut by_lists) = (0.0, 0);
            for query in set.queries() {
                let all = oracle(metric, set.vectors(), query, 60, allow);
                let (first, last) = (all[20].distance, all[50].distance);
                for window in [
                    Window::new(None, Some(last)),
                    Window::new(Some(first), Some(last)),
                    Window::new(Some(first), None),
                ] {
                    let params = SearchParams {
                        within: window,
                        ..search(24)
                    };
                    let stats = &mut SearchStats::default();
                    let found = index.search(set.vectors(), query, 25, &params, allow, stats);
                    check_sound(metric, set.vectors(), query, &found, allow);
                    assert!(found.iter().all(|neighbor| window.contains(neighbor.distance)));
                    let inside = |neighbor: &&Neighbor| window.contains(neighbor.distance);
                    let expected: Vec<Neighbor> = all.iter().filter(inside).take(25).copied().collect();
                    sum += recall(&found, &expected);
                    by_lists += usize::from(matches!(
                        stats.strategy,
                        Strategy::Lists | Strategy::ListsFiltered
                    ));
                }
            }
            let recall = sum / (3 * QUERIES) as f64;
            assert!(recall >= 0.97, "{code:?} {metric}: recall {recall}");
            assert!(
                by_lists > QUERIES,
                "{code:?} {metric}: {by_lists} searches by lists"
            );
        }
    }
}

#[test]
fn with_every_list_and_every_row_scored_again_the_answer_is_exact() {
    let set = Set::new();
    for (code, _, metric, index) in indexes() {
        let params = SearchParams {
            refine_k: Some(150.0),
            reorder_k: Some(1_500),
            ..search(NLIST)
        };
        let mut stats = SearchStats::default();
        let (mut hits, mut wanted) = (0, 0);
        for query in set.queries() {
            let found = index.search(set.vectors(), query, 10, &params, None, &mut stats);
            let expected = oracle(metric, set.vectors(), query, 10, None);
            hits += expected
                .iter()
                .filter(|neighbor| found.contains(neighbor))
                .count();
            wanted += expected.len();
        }
        assert_eq!(hits, wanted, "{code:?} {metric} {}", stats.strategy);
    }
}

#[test]
fn scoring_more_rows_again_finds_more() {
    let set = Set::new();
    let code = Code::Product { m: 4, nbits: 4 };
    let at = |refine: bool, refine_k| {
        let params = BuildParams::IvfCoded(CodedParams {
            nlist: NLIST,
            code,
            refine,
            refine_type: None,
        });
        let index = build(&params, Metric::L2, set.vectors(), None, &BuildOptions::default()).unwrap();
        let params = SearchParams {
            refine_k: Some(refine_k),
            ..search(24)
        };
        let recalls = set.queries().map(|query| {
            let found = index.search(
                set.vectors(),
                query,
                10,
                &params,
                None,
                &mut SearchStats::default(),
            );
            recall(&found, &oracle(Metric::L2, set.vectors(), query, 10, None))
        });
        recalls.sum::<f64>() / QUERIES as f64
    };
    let (few, many) = (at(true, 4.0), at(true, 40.0));
    assert!(few + 0.1 < many && many > 0.95, "{few} {many}");
    assert_eq!(at(false, 40.0), few);
}

#[test]
fn rounding_the_query_to_one_bit_costs_recall() {
    let set = Set::new();
    let index = set.built(
        Code::Rabitq {
            bits: 8,
            fast_scan: false,
        },
        Metric::L2,
    );
    let at = |bits| {
        let params = SearchParams {
            rbq_bits_query: Some(bits),
            ..search(24)
        };
        let recalls = set.queries().map(|query| {
            let found = index.search(
                set.vectors(),
                query,
                10,
                &params,
                None,
                &mut SearchStats::default(),
            );
            recall(&found, &oracle(Metric::L2, set.vectors(), query, 10, None))
        });
        recalls.sum::<f64>() / QUERIES as f64
    };
    let (none, eight, one) = (at(0), at(8), at(1));
    assert!(
        (none - eight).abs() < 0.02 && one < none - 0.02,
        "{none} {eight} {one}"
    );
}

/// All rows lie far from the origin: what is rounded must be their differences.
#[test]
fn an_offset_of_all_rows_does_not_cost_recall() {
    let mut set = Set::new();
    set.base.iter_mut().for_each(|value| *value += 300.0);
    set.queries.iter_mut().for_each(|value| *value += 300.0);
    for (code, least) in some_codes() {
        let index = set.built(code, Metric::L2);
        let recalls = set.queries().map(|query| {
            let found = index.search(
                set.vectors(),
                query,
                10,
                &search(24),
                None,
                &mut SearchStats::default(),
            );
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
    for (code, _) in some_codes() {
        for metric in METRICS {
            let index = set.built(code, metric);
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
    for dim in [8usize, 9, 17, 30, 66] {
        let rows = 3_000;
        let mut mixture = Mixture::new(dim, 40, 5);
        let (base, queries) = (mixture.draw(rows), mixture.draw(20));
        let vectors = Vectors::new(&base, dim).unwrap();
        for code in [
            Code::Scalar { bits: 8 },
            Code::Scalar { bits: 6 },
            Code::Scalar { bits: 4 },
            Code::Product {
                m: dim as u32,
                nbits: 5,
            },
            Code::Scann { sub_dim: 1 },
            Code::Rabitq {
                bits: 3,
                fast_scan: false,
            },
        ] {
            for metric in METRICS {
                let params = coded(16, code);
                let index = build(&params, metric, vectors, None, &BuildOptions::default()).unwrap();
                let recalls = queries.chunks(dim).map(|query| {
                    let found =
                        index.search(vectors, query, 10, &search(8), None, &mut SearchStats::default());
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
}

#[test]
fn numbers_of_more_than_a_byte_find_nearly_all_and_need_a_row_for_each_codeword() {
    const ROWS: usize = 1_100;
    const DIM: usize = 8;
    let mut mixture = Mixture::new(DIM, 30, 5);
    let (base, queries) = (mixture.draw(ROWS), mixture.draw(QUERIES));
    let vectors = Vectors::new(&base, DIM).unwrap();
    let built = |nbits, metric| {
        let params = coded(8, Code::Product { m: 2, nbits });
        build(&params, metric, vectors, None, &BuildOptions::default()).unwrap()
    };
    for (metric, nbits) in METRICS.into_iter().zip([9, 10, 9]) {
        let index = built(nbits, metric);
        let opened = open(index.serialize().into()).unwrap();
        let (mut sum, mut stats) = (0.0, SearchStats::default());
        for query in queries.chunks(DIM) {
            let found = index.search(vectors, query, 10, &search(4), None, &mut stats);
            check_sound(metric, vectors, query, &found, None);
            assert_eq!((found.len(), stats.strategy), (10, Strategy::Lists));
            let again = opened.search(vectors, query, 10, &search(4), None, &mut stats);
            assert_eq!(again, found);
            sum += recall(&found, &oracle(metric, vectors, query, 10, None));
        }
        let recall = sum / QUERIES as f64;
        assert!(recall >= 0.85, "{nbits} bits {metric}: recall {recall}");
    }
    // 2,048 codewords and 1,100 rows: as many bits as a byte has.
    let (asked, byte) = (built(11, Metric::L2), built(8, Metric::L2));
    assert_eq!(asked.memory_bytes(), byte.memory_bytes());
    let blob = asked.serialize();
    assert_eq!(blob.len(), byte.serialize().len());
    assert_eq!(open(blob.into()).unwrap().params(), asked.params());
}

#[test]
fn groups_that_do_not_divide_the_dimension_are_refused() {
    let base = [0.0f32; 30];
    let vectors = Vectors::new(&base, 10).unwrap();
    for (code, text) in [
        (Code::Product { m: 3, nbits: 8 }, "dimension 10, m 3"),
        (Code::Scann { sub_dim: 4 }, "dimension 10, sub_dim 4"),
        (
            Code::Product { m: 2, nbits: 25 },
            "param 'nbits' (25) should be in range [1, 24]",
        ),
        (Code::Scalar { bits: 5 }, "param 'sq_type' (SQ5)"),
    ] {
        let error = build(
            &coded(1, code),
            Metric::L2,
            vectors,
            None,
            &BuildOptions::default(),
        )
        .unwrap_err();
        assert!(error.to_string().contains(text), "{error}");
    }
}

#[test]
fn every_code_reads_back_and_answers_the_same() {
    let set = Set::new();
    let allow = allow_percent(ROWS, 50.0, 3);
    for (code, _, metric, index) in indexes() {
        let opened = open(index.serialize().into()).unwrap();
        assert_eq!(opened.params(), index.params());
        assert_eq!(opened.memory_bytes(), index.memory_bytes());
        for query in set.queries().take(5) {
            for allow in [None, Some(&allow)] {
                let of = |index: &dyn VectorIndex| {
                    index.search(
                        set.vectors(),
                        query,
                        10,
                        &search(8),
                        allow,
                        &mut SearchStats::default(),
                    )
                };
                assert_eq!(of(&*opened), of(index), "{code:?} {metric}");
            }
        }
    }
}
