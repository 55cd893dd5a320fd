//! The inverted index of sparse vectors finds what a scan of all rows finds: same rows, same distances, equals by row.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use elanus_index::typed::idf;
use elanus_index::{
    AnyIndex, AnyMetric, BitMetric, Bitset, Bm25, Bm25Query, BuildError, BuildOptions, BuildParams,
    IndexKind, Metric, Neighbor, OpenError, SearchParams, SearchStats, SparseAlgorithm, SparseParams,
    SparseSearch, SparseVector, SparseVectors, Strategy as Carried, VectorRef, Vectors, VectorsRef, Window,
    exact_search_any,
};
use proptest::prelude::*;

use crate::data::{Rng, stops_when_told};

const ALGORITHMS: [SparseAlgorithm; 6] = [
    SparseAlgorithm::DaatMaxScore,
    SparseAlgorithm::DaatWand,
    SparseAlgorithm::TaatNaive,
    SparseAlgorithm::BlockMaxMaxScore,
    SparseAlgorithm::BlockMaxWand,
    SparseAlgorithm::Sindi,
];

/// Rows of sparse vectors as an Arrow array has them.
#[derive(Debug, Default)]
struct Table {
    offsets: Vec<i32>,
    indices: Vec<u32>,
    values: Vec<f32>,
}

impl Table {
    fn new(rows: impl IntoIterator<Item = BTreeMap<u32, f32>>) -> Self {
        let mut table = Self {
            offsets: vec![0],
            ..Self::default()
        };
        for row in rows {
            table.indices.extend(row.keys());
            table.values.extend(row.values());
            table.offsets.push(table.indices.len() as i32);
        }
        table
    }

    fn rows(&self) -> SparseVectors<'_> {
        SparseVectors::new(&self.offsets, &self.indices, &self.values).unwrap()
    }

    fn build(&self, params: SparseParams, metric: AnyMetric, valid: Option<&Bitset>) -> AnyIndex {
        let rows = VectorsRef::Sparse(self.rows());
        AnyIndex::build(
            &BuildParams::Sparse(params),
            metric,
            rows,
            valid,
            &BuildOptions::default(),
        )
        .unwrap()
    }
}

/// Random rows: few terms are frequent, most are rare, as in texts. Whole values give many equal scores.
fn draw(rng: &mut Rng, rows: usize, terms: usize, whole: bool, signed: bool) -> Table {
    let row = |rng: &mut Rng| {
        let len = rng.below(12);
        let elements = (0..len).map(|_| {
            let frequent = 1 + rng.below(terms);
            let term = rng.below(frequent) as u32;
            let size = if whole {
                1.0 + rng.below(3) as f32
            } else {
                0.01 + rng.below(1_000_000) as f32 / 999.0
            };
            let value = if signed && rng.below(3) == 0 { -size } else { size };
            // The largest index there is.
            (
                if term as usize == terms - 1 {
                    u32::MAX - 1
                } else {
                    term
                },
                value,
            )
        });
        elements.collect::<BTreeMap<u32, f32>>()
    };
    Table::new((0..rows).map(|_| row(rng)).collect::<Vec<_>>())
}

fn pairs(found: &[Neighbor]) -> Vec<(u32, u32)> {
    found
        .iter()
        .map(|neighbor| (neighbor.row, neighbor.distance.to_bits()))
        .collect()
}

/// What a search over all rows finds, by the definition of the score; `bm25` is none for an inner product.
fn oracle(
    table: &Table,
    weights: SparseVector<'_>,
    bm25: Option<Bm25>,
    allow: Option<&Bitset>,
    k: usize,
) -> Vec<(u32, f64)> {
    let elements = |vector: SparseVector<'_>| -> BTreeMap<u32, f64> {
        let elements = vector.indices().iter().copied().zip(vector.values());
        elements.map(|(term, value)| (term, f64::from(*value))).collect()
    };
    let rows = table.rows();
    let mut all: Vec<(u32, f64)> = (0..rows.len())
        .filter(|row| allow.is_none_or(|allow| allow.get(*row)))
        .map(|row| {
            let row_terms = elements(rows.row(row));
            let length: f64 = row_terms.values().sum();
            let score: f64 = elements(weights)
                .iter()
                .filter_map(|(term, weight)| Some((weight, row_terms.get(term)?)))
                .map(|(weight, value)| match bm25 {
                    None => weight * value,
                    Some(bm25) => {
                        let (k1, b) = (f64::from(bm25.k1), f64::from(bm25.b));
                        weight * value * (k1 + 1.0) / (value + k1 * (1.0 - b + b * length / bm25.mean_length))
                    }
                })
                .sum();
            (row as u32, -score)
        })
        .collect();
    all.sort_by(|a, b| (a.1 as f32).total_cmp(&(b.1 as f32)).then(a.0.cmp(&b.0)));
    all.truncate(k);
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_algorithm_finds_what_a_scan_finds(
        seed in any::<u64>(),
        rows in prop_oneof![Just(0usize), Just(1), 2usize..60, 4_000usize..13_000],
        terms in prop_oneof![2usize..6, 30usize..2_000],
        (whole, signed, texts) in any::<(bool, bool, bool)>(),
        k in prop_oneof![Just(0usize), Just(1), 2usize..40, Just(20_000)],
        block in prop_oneof![Just(1u32), 2u32..9, Just(128)],
        kept in prop_oneof![Just(None), (1u64..=10).prop_map(Some)],
        nulls in any::<bool>(),
    ) {
        let mut rng = Rng(seed | 1);
        let table = draw(&mut rng, rows, terms, whole || texts, signed && !texts);
        let query_table = draw(&mut rng, 4, terms, whole, signed && !texts);
        let metric = if texts { AnyMetric::Bm25 } else { Metric::Ip.into() };
        let valid = Bitset::from_fn(rows, |_| rng.below(5) > 0);
        let valid = nulls.then_some(&valid);
        let filter = kept.map(|kept| Bitset::from_fn(rows, |_| (rng.below(10) as u64) < kept));
        let mut allowed = filter.clone();
        if let Some(valid) = valid {
            allowed.get_or_insert_with(|| Bitset::full(rows)).and(valid);
        }
        let bm25 = Bm25 { k1: 1.5, b: 0.7, mean_length: 7.25 };
        for algorithm in ALGORITHMS {
            let index = table.build(SparseParams { algorithm, block }, metric, valid);
            let opened = AnyIndex::open(Bytes::from(index.serialize())).unwrap();
            for place in 0..4 {
                let weights = query_table.rows().row(place);
                let query = if texts { VectorRef::Terms(Bm25Query { weights, bm25 }) } else { VectorRef::Sparse(weights) };
                let rows = VectorsRef::Sparse(table.rows());
                let exact = exact_search_any(metric, rows, query, k, Window::default(), allowed.as_ref(), &mut SearchStats::default()).unwrap();
                let expected = oracle(&table, weights, texts.then_some(bm25), allowed.as_ref(), k);
                prop_assert_eq!(exact.len(), expected.len());
                for (found, (_, distance)) in exact.iter().zip(&expected) {
                    prop_assert!((f64::from(found.distance) - distance).abs() <= 1e-5 * (1.0 + distance.abs()));
                }
                for index in [&index, &opened] {
                    let mut stats = SearchStats::default();
                    let found = index.search(rows, query, k, &SearchParams::default(), filter.as_ref(), &mut stats).unwrap();
                    prop_assert_eq!(pairs(&found), pairs(&exact), "{} of query {:?}", algorithm, weights);
                }
            }
        }
    }
}

fn ip(algorithm: SparseAlgorithm) -> SparseParams {
    SparseParams {
        algorithm,
        block: 128,
    }
}

#[test]
fn pruning_leaves_most_rows_out() {
    let mut rng = Rng(7);
    let table = draw(&mut rng, 40_000, 500, false, false);
    let rows = VectorsRef::Sparse(table.rows());
    // Frequent terms weigh little and rare ones much, as in texts.
    let weights: Vec<(u32, f32)> = (0..400)
        .step_by(20)
        .map(|term| (term, 0.1 + term as f32 / 50.0))
        .collect();
    let (terms, values): (Vec<u32>, Vec<f32>) = weights.into_iter().unzip();
    let query = VectorRef::Sparse(SparseVector::new(&terms, &values).unwrap());
    let mut scored = BTreeMap::new();
    for algorithm in ALGORITHMS {
        let index = table.build(ip(algorithm), Metric::Ip.into(), None);
        let mut stats = SearchStats::default();
        index
            .search(rows, query, 10, &SearchParams::default(), None, &mut stats)
            .unwrap();
        assert_eq!((stats.strategy, stats.lists), (Carried::Postings, 20));
        scored.insert(algorithm, stats.distances);
    }
    assert!(scored.values().all(|scored| *scored < 2_000), "{scored:?}");
}

#[test]
fn a_filter_that_leaves_few_rows_is_scanned() {
    let mut rng = Rng(9);
    let table = draw(&mut rng, 20_000, 4, false, false);
    let index = table.build(ip(SparseAlgorithm::DaatMaxScore), Metric::Ip.into(), None);
    let rows = VectorsRef::Sparse(table.rows());
    let query = VectorRef::Sparse(SparseVector::new(&[0, 1], &[1.0, 1.0]).unwrap());
    let strategy = |allow: &Bitset| {
        let mut stats = SearchStats::default();
        index
            .search(rows, query, 5, &SearchParams::default(), Some(allow), &mut stats)
            .unwrap();
        stats.strategy
    };
    assert_eq!(
        strategy(&Bitset::from_fn(20_000, |row| row % 400 == 0)),
        Carried::ExactFiltered
    );
    assert_eq!(strategy(&Bitset::full(20_000)), Carried::PostingsFiltered);
}

#[test]
fn dropped_terms_lose_candidates_but_never_change_a_score() {
    let table = Table::new([
        BTreeMap::from([(1, 10.0)]),
        BTreeMap::from([(2, 1.0)]),
        BTreeMap::from([(1, 1.0), (2, 1.0)]),
    ]);
    let index = table.build(ip(SparseAlgorithm::DaatMaxScore), Metric::Ip.into(), None);
    let query = VectorRef::Sparse(SparseVector::new(&[1, 2], &[0.5, 1.0]).unwrap());
    let search = |drop_ratio, refine_factor, k| {
        let params = SearchParams {
            sparse: SparseSearch {
                drop_ratio,
                refine_factor,
                ..SparseSearch::default()
            },
            ..SearchParams::default()
        };
        let rows = VectorsRef::Sparse(table.rows());
        let found = index
            .search(rows, query, k, &params, None, &mut SearchStats::default())
            .unwrap();
        found
            .iter()
            .map(|neighbor| (neighbor.row, -neighbor.distance))
            .collect::<Vec<_>>()
    };
    assert_eq!(search(0.0, 1, 2), [(0, 5.0), (2, 1.5)]);
    // Term 2 alone has rows 1 and 2; the one with more of the rest comes first.
    assert_eq!(search(0.5, 1, 2), [(2, 1.5), (1, 1.0)]);
    assert_eq!(search(0.5, 10, 2), [(0, 5.0), (2, 1.5)]);
}

#[test]
fn bounds_made_smaller_give_up_rows_and_never_find_wrong_ones() {
    let mut rng = Rng(11);
    let table = draw(&mut rng, 30_000, 300, false, false);
    let rows = VectorsRef::Sparse(table.rows());
    let query_table = draw(&mut rng, 20, 300, false, false);
    let params = |max_score_ratio| SearchParams {
        sparse: SparseSearch {
            max_score_ratio,
            ..SparseSearch::default()
        },
        ..SearchParams::default()
    };
    for algorithm in [SparseAlgorithm::DaatMaxScore, SparseAlgorithm::DaatWand] {
        let index = table.build(ip(algorithm), Metric::Ip.into(), None);
        let search = |place, ratio, stats: &mut SearchStats| {
            let query = VectorRef::Sparse(query_table.rows().row(place));
            index
                .search(rows, query, 10, &params(ratio), None, stats)
                .unwrap()
        };
        let (mut less, mut all) = (SearchStats::default(), SearchStats::default());
        for place in 0..20 {
            let exact = search(place, 1.0, &mut all);
            assert_eq!(
                pairs(&search(place, 1.05, &mut SearchStats::default())),
                pairs(&exact)
            );
            let found = search(place, 0.5, &mut less);
            assert_eq!(found.len(), exact.len());
            assert!(
                found
                    .iter()
                    .zip(&exact)
                    .all(|(found, exact)| found.distance >= exact.distance)
            );
        }
        assert!(less.distances < all.distances, "{algorithm}: {less:?} {all:?}");
    }
}

#[test]
fn rows_that_share_nothing_come_last_and_by_number() {
    let table = Table::new([
        BTreeMap::new(),
        BTreeMap::from([(5, -1.0)]),
        BTreeMap::from([(6, 1.0)]),
        BTreeMap::from([(5, 1.0)]),
        BTreeMap::from([(5, 0.0)]),
    ]);
    for algorithm in ALGORITHMS {
        let index = table.build(ip(algorithm), Metric::Ip.into(), None);
        let search = |term: u32, k| {
            let rows = VectorsRef::Sparse(table.rows());
            let query = VectorRef::Sparse(SparseVector::new(std::slice::from_ref(&term), &[2.0]).unwrap());
            let found = index.search(
                rows,
                query,
                k,
                &SearchParams::default(),
                None,
                &mut SearchStats::default(),
            );
            found
                .unwrap()
                .iter()
                .map(|neighbor| (neighbor.row, -neighbor.distance))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            search(5, 9),
            [(3, 2.0), (0, -0.0), (2, -0.0), (4, -0.0), (1, -2.0)]
        );
        assert_eq!(search(5, 2), [(3, 2.0), (0, -0.0)]);
        assert_eq!(search(99, 3), [(0, -0.0), (1, -0.0), (2, -0.0)]);
    }
}

#[test]
fn weights_of_bm25_are_those_of_a_text_book() {
    // Three texts: "a b b", "a", "c". The query is "b c".
    let table = Table::new([
        BTreeMap::from([(1, 1.0), (2, 2.0)]),
        BTreeMap::from([(1, 1.0)]),
        BTreeMap::from([(3, 1.0)]),
    ]);
    let index = table.build(ip(SparseAlgorithm::DaatMaxScore), AnyMetric::Bm25, None);
    let sparse = index.as_sparse().unwrap();
    assert_eq!((sparse.count(), sparse.total_length()), (3, 5.0));
    let weights: Vec<f32> = [2, 3]
        .map(|term| idf(3, sparse.rows_with(term) as u64) as f32)
        .to_vec();
    let bm25 = Bm25 {
        k1: 1.2,
        b: 0.75,
        mean_length: 5.0 / 3.0,
    };
    let query = VectorRef::Terms(Bm25Query {
        weights: SparseVector::new(&[2, 3], &weights).unwrap(),
        bm25,
    });
    let rows = VectorsRef::Sparse(table.rows());
    let found = index
        .search(
            rows,
            query,
            2,
            &SearchParams::default(),
            None,
            &mut SearchStats::default(),
        )
        .unwrap();
    // Both terms are in one of three texts.
    let idf = (2.5f64 / 1.5 + 1.0).ln();
    let short = idf * 2.2 / (1.0 + 1.2 * (0.25 + 0.75 * 0.6));
    let long = idf * 2.0 * 2.2 / (2.0 + 1.2 * (0.25 + 0.75 * 1.8));
    assert_eq!(
        found.iter().map(|neighbor| neighbor.row).collect::<Vec<_>>(),
        [2, 0]
    );
    assert!((f64::from(-found[0].distance) - short).abs() < 1e-6);
    assert!((f64::from(-found[1].distance) - long).abs() < 1e-6);
}

#[test]
fn builds_report_progress_to_the_end_and_stop_when_told() {
    let rows = 3_000;
    let table = draw(&mut Rng(41), rows, 60, true, false);
    for params in ALGORITHMS.map(ip) {
        for metric in [Metric::Ip.into(), AnyMetric::Bm25] {
            stops_when_told(&format!("{params:?} {metric}"), rows as u64, |options| {
                let vectors = VectorsRef::Sparse(table.rows());
                AnyIndex::build(&BuildParams::Sparse(params), metric, vectors, None, options)
            });
        }
    }
}

#[test]
fn what_no_inverted_index_can_hold_is_refused() {
    let table = Table::new([BTreeMap::from([(1, 1.0)]), BTreeMap::from([(1, f32::NAN)])]);
    let params = BuildParams::Sparse(ip(SparseAlgorithm::DaatWand));
    let options = BuildOptions::default();
    let build = |params: &BuildParams, metric: AnyMetric, rows: VectorsRef<'_>| {
        AnyIndex::build(params, metric, rows, None, &options).unwrap_err()
    };
    let sparse = VectorsRef::Sparse(table.rows());
    assert!(matches!(
        build(&params, Metric::Ip.into(), sparse),
        BuildError::NotFinite { row: 1 }
    ));
    let table = Table::new([BTreeMap::from([(1, 1.0)])]);
    let sparse = VectorsRef::Sparse(table.rows());
    assert_eq!(
        build(&params, Metric::L2.into(), sparse).to_string(),
        "an inverted index has no metric L2, allowed are IP, BM25"
    );
    let floats = VectorsRef::Floats(Vectors::new(&[1.0, 2.0], 2).unwrap());
    assert!(matches!(
        build(&params, Metric::Ip.into(), floats),
        BuildError::Kind { .. }
    ));
    assert!(matches!(
        build(&BuildParams::Flat, Metric::Ip.into(), sparse),
        BuildError::Kind { .. }
    ));
    let hamming = AnyMetric::Bits(BitMetric::Hamming);
    assert!(matches!(
        build(&params, hamming, sparse),
        BuildError::Metric { .. }
    ));
}

fn reseal(blob: &mut [u8]) {
    let body = crc32c::crc32c(&blob[64..]);
    blob[56..60].copy_from_slice(&body.to_le_bytes());
    let header = crc32c::crc32c(&blob[..60]);
    blob[60..64].copy_from_slice(&header.to_le_bytes());
}

#[test]
fn damaged_blobs_are_refused_and_never_panic() {
    let mut rng = Rng(5);
    let table = draw(&mut rng, 300, 40, false, false);
    let rows = VectorsRef::Sparse(table.rows());
    let query = VectorRef::Sparse(SparseVector::new(&[0, 1, 2, 9], &[1.0, 0.5, 2.0, 1.0]).unwrap());
    let valid = Bitset::from_fn(300, |row| row % 7 != 0);
    let index = table.build(
        SparseParams {
            block: 4,
            ..ip(SparseAlgorithm::DaatWand)
        },
        Metric::Ip.into(),
        Some(&valid),
    );
    let blob = index.serialize();
    let opened = AnyIndex::open(Bytes::from(blob.clone())).unwrap();
    assert_eq!(
        (opened.kind(), opened.metric(), opened.rows()),
        (IndexKind::SparseInverted, Metric::Ip.into(), 300)
    );
    assert_eq!(opened.serialize(), blob);
    assert!(elanus_index::open(Bytes::from(blob.clone())).is_err());
    for _ in 0..300 {
        let cut = rng.below(blob.len());
        let result = AnyIndex::open(Bytes::copy_from_slice(&blob[..cut]));
        assert!(matches!(result, Err(OpenError::Corrupt { .. })));
    }
    let (mut refused, mut opened) = (0, 0);
    for round in 0..800 {
        let mut damaged = blob.clone();
        let at = rng.below(if round % 2 == 0 { blob.len() } else { 256 });
        damaged[at] ^= 1 << rng.below(8);
        assert!(AnyIndex::open(Bytes::from(damaged.clone())).is_err());
        reseal(&mut damaged);
        let outcome = catch_unwind(AssertUnwindSafe(|| match AnyIndex::open(Bytes::from(damaged)) {
            Err(_) => false,
            Ok(index) => {
                let search = SearchParams::default();
                let found = index
                    .search(rows, query, 15, &search, None, &mut SearchStats::default())
                    .unwrap();
                assert!(found.iter().all(|neighbor| neighbor.row < 300));
                true
            }
        }));
        match outcome {
            Ok(true) => opened += 1,
            Ok(false) => refused += 1,
            Err(_) => panic!("damage at byte {at} in round {round} panics"),
        }
    }
    assert!(refused > 200, "{refused} refused, {opened} opened");
}
