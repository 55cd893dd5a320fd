//! MINHASH_LSH: what shares a band is found, scored as an exact search scores it, and nothing else is.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use elanus_index::{
    AnyIndex, AnyMetric, BitMetric, Bitset, BuildError, BuildOptions, BuildParams, IndexKind, MinHash,
    MinHashParams, Neighbor, OpenError, Rows, SearchParams, SearchStats, Strategy, VectorRef, VectorsRef,
    Window, exact_search_any,
};
use proptest::prelude::*;

use crate::blobs::reseal;
use crate::data::{Rng, stops_when_told};

const ELEMENTS: usize = 32;
const WIDTH: usize = ELEMENTS * 4;
const ROWS: usize = 2_000;
const PARAMS: MinHashParams = MinHashParams {
    element_bits: 32,
    bands: 8,
};

/// Signatures in families: every tenth row is drawn anew, the others keep elements of it, fewer and fewer.
fn signatures(rows: usize, seed: u64) -> Vec<u8> {
    let mut rng = Rng(seed);
    let mut draw = |limit: usize| rng.below(limit) as u32;
    let (mut data, mut first) = (Vec::with_capacity(rows * WIDTH), vec![0; ELEMENTS]);
    for row in 0..rows {
        if row % 10 == 0 {
            first = (0..ELEMENTS).map(|_| draw(1 << 30)).collect();
        }
        for &element in &first {
            let kept = draw(10) as usize >= row % 10;
            let element = if kept { element } else { draw(1 << 30) };
            data.extend_from_slice(&element.to_le_bytes());
        }
    }
    data
}

fn of(data: &[u8], width: usize) -> VectorsRef<'_> {
    VectorsRef::Bits(Rows::new(data, width).unwrap())
}

fn build(params: MinHashParams, vectors: VectorsRef<'_>, valid: Option<&Bitset>) -> AnyIndex {
    let metric = params.metric().into();
    let options = BuildOptions::default();
    AnyIndex::build(&BuildParams::MinHash(params), metric, vectors, valid, &options).unwrap()
}

fn exact(
    metric: MinHash,
    vectors: VectorsRef<'_>,
    query: VectorRef<'_>,
    k: usize,
    within: Window,
    allow: Option<&Bitset>,
) -> Vec<Neighbor> {
    let stats = &mut SearchStats::default();
    exact_search_any(metric.into(), vectors, query, k, within, allow, stats).unwrap()
}

/// Rows that have something in common with the query.
fn sharing() -> Window {
    Window::new(None, Some(0.0))
}

fn search(
    index: &AnyIndex,
    metric: MinHash,
    vectors: VectorsRef<'_>,
    query: VectorRef<'_>,
    k: usize,
    within: Window,
    allow: Option<&Bitset>,
) -> (Vec<Neighbor>, SearchStats) {
    let mut stats = SearchStats::default();
    let params = SearchParams {
        within,
        ..SearchParams::default()
    };
    let found = index
        .search_by(metric.into(), vectors, query, k, &params, allow, &mut stats)
        .unwrap();
    (found, stats)
}

#[test]
fn searches_by_bands_find_what_an_exact_search_finds() {
    let data = signatures(ROWS, 1);
    let vectors = of(&data, WIDTH);
    let index = build(PARAMS, vectors, None);
    assert_eq!((index.kind(), index.rows()), (IndexKind::MinHashLsh, ROWS));
    let by_bands = PARAMS.metric().of_bands(PARAMS.bands);
    let some = Bitset::from_fn(ROWS, |row| row % 3 != 0);
    let mut hits = 0;
    for query in (0..ROWS).step_by(37) {
        for allow in [None, Some(&some)] {
            for k in [1, 3, 50] {
                let query = vectors.row(query);
                let (found, stats) = search(&index, by_bands, vectors, query, k, sharing(), allow);
                assert_eq!(found, exact(by_bands, vectors, query, k, sharing(), allow));
                assert!(found.iter().all(|hit| hit.distance == -1.0));
                assert_eq!(stats.strategy == Strategy::ListsFiltered, allow.is_some());
                assert!(stats.distances < ROWS as u64 / 10, "{stats:?}");
                hits += found.len();
            }
        }
    }
    assert!(hits > 500, "{hits}");
}

#[test]
fn estimates_are_those_of_the_rows_that_share_a_band() {
    let data = signatures(ROWS, 2);
    let vectors = of(&data, WIDTH);
    let index = build(PARAMS, vectors, None);
    let (metric, by_bands) = (PARAMS.metric(), PARAMS.metric().of_bands(PARAMS.bands));
    for query in (0..ROWS).step_by(41) {
        let query = vectors.row(query);
        let hits = exact(by_bands, vectors, query, ROWS, sharing(), None);
        let hits = Bitset::from_fn(ROWS, |row| hits.iter().any(|hit| hit.row as usize == row));
        for within in [sharing(), Window::new(Some(-0.9), Some(-0.3))] {
            let (found, _) = search(&index, metric, vectors, query, 6, within, None);
            assert_eq!(found, exact(metric, vectors, query, 6, within, Some(&hits)));
        }
    }
}

#[test]
fn close_rows_are_found_and_a_search_for_any_row_is_exact() {
    let data = signatures(ROWS, 3);
    let vectors = of(&data, WIDTH);
    let index = build(PARAMS, vectors, None);
    let metric = PARAMS.metric();
    let (mut close, mut found_close) = (0, 0);
    for query in (0..ROWS).step_by(10) {
        let query = vectors.row(query);
        // A row of this similarity shares a band with a probability of 0.99.
        let near = Window::new(None, Some(-0.8));
        close += exact(metric, vectors, query, ROWS, near, None).len();
        found_close += search(&index, metric, vectors, query, ROWS, near, None).0.len();
        let (found, stats) = search(&index, metric, vectors, query, 100, Window::default(), None);
        assert_eq!(found, exact(metric, vectors, query, 100, Window::default(), None));
        assert_eq!(stats.strategy, Strategy::Exact);
    }
    assert!(
        close > 350 && found_close as f64 >= 0.97 * close as f64,
        "{found_close} of {close}"
    );
}

#[test]
fn rows_without_a_vector_are_never_found() {
    let data = signatures(ROWS, 4);
    let vectors = of(&data, WIDTH);
    let valid = Bitset::from_fn(ROWS, |row| row % 2 == 0);
    let index = build(PARAMS, vectors, Some(&valid));
    let by_bands = PARAMS.metric().of_bands(PARAMS.bands);
    for query in (0..ROWS).step_by(77) {
        let query = vectors.row(query);
        let (found, _) = search(&index, by_bands, vectors, query, 20, sharing(), None);
        assert_eq!(
            found,
            exact(by_bands, vectors, query, 20, sharing(), Some(&valid))
        );
        let (all, _) = search(
            &index,
            PARAMS.metric(),
            vectors,
            query,
            ROWS,
            Window::default(),
            None,
        );
        assert_eq!(all.len(), ROWS / 2);
    }
}

#[test]
fn other_bands_and_other_metrics_are_searched_without_the_index() {
    let data = signatures(200, 5);
    let vectors = of(&data, WIDTH);
    let index = build(PARAMS, vectors, None);
    for (metric, serves) in [
        (PARAMS.metric().into(), true),
        (PARAMS.metric().of_bands(8).into(), true),
        (PARAMS.metric().of_bands(4).into(), false),
        (MinHash::similarity(16).into(), false),
        (AnyMetric::Bits(BitMetric::Hamming), false),
    ] {
        assert_eq!(index.serves(metric), serves);
        let mut stats = SearchStats::default();
        let params = SearchParams::default();
        let query = vectors.row(11);
        let found = index.search_by(metric, vectors, query, 200, &params, None, &mut stats);
        let expected = exact_search_any(metric, vectors, query, 200, Window::default(), None, &mut stats);
        assert_eq!(found.unwrap(), expected.unwrap());
    }
}

#[test]
fn an_opened_index_answers_like_the_built_one_and_damage_is_an_error() {
    let data = signatures(500, 6);
    let vectors = of(&data, WIDTH);
    let valid = Bitset::from_fn(500, |row| row % 7 != 0);
    let by_bands = PARAMS.metric().of_bands(PARAMS.bands);
    for valid in [None, Some(&valid)] {
        let index = build(PARAMS, vectors, valid);
        let blob = index.serialize();
        let opened = AnyIndex::open(Bytes::from(blob.clone())).unwrap();
        assert_eq!(opened.serialize(), blob);
        assert_eq!(opened.metric(), index.metric());
        assert_eq!(opened.memory_bytes(), index.memory_bytes());
        for query in 0..50 {
            let answer =
                |index: &AnyIndex| search(index, by_bands, vectors, vectors.row(query), 9, sharing(), None).0;
            assert_eq!(answer(&opened), answer(&index));
        }
        let mut rng = Rng(8);
        for _ in 0..300 {
            let mut damaged = blob.clone();
            damaged[rng.below(blob.len())] ^= 1 << rng.below(8);
            assert!(AnyIndex::open(Bytes::from(damaged.clone())).is_err());
            let cut = Bytes::copy_from_slice(&blob[..rng.below(blob.len())]);
            assert!(matches!(AnyIndex::open(cut), Err(OpenError::Corrupt { .. })));
            // With right checksums the content is checked: an error or rows that are there, no panic.
            reseal(&mut damaged);
            let searched = catch_unwind(AssertUnwindSafe(|| {
                let Ok(index) = AnyIndex::open(Bytes::from(damaged)) else {
                    return;
                };
                let params = SearchParams {
                    within: sharing(),
                    ..SearchParams::default()
                };
                let found = index.search(
                    vectors,
                    vectors.row(3),
                    9,
                    &params,
                    None,
                    &mut SearchStats::default(),
                );
                assert!(found.is_ok_and(|found| found.iter().all(|hit| (hit.row as usize) < 500)));
            }));
            assert!(searched.is_ok());
        }
    }
}

#[test]
fn a_build_reports_progress_to_the_end_and_stops_when_told() {
    let data = signatures(500, 11);
    stops_when_told("MINHASH_LSH", 500, |options| {
        let params = BuildParams::MinHash(PARAMS);
        AnyIndex::build(&params, PARAMS.metric().into(), of(&data, WIDTH), None, options)
    });
}

#[test]
fn what_has_no_index_of_bands_is_refused() {
    let data = signatures(20, 7);
    let vectors = of(&data, WIDTH);
    let build = |params: BuildParams, metric: AnyMetric, vectors: VectorsRef<'_>| {
        AnyIndex::build(&params, metric, vectors, None, &BuildOptions::default()).unwrap_err()
    };
    let lsh = BuildParams::MinHash(PARAMS);
    let hamming = AnyMetric::Bits(BitMetric::Hamming);
    let minhash: AnyMetric = PARAMS.metric().into();
    assert_eq!(
        build(lsh, hamming, vectors).to_string(),
        "an index MINHASH_LSH with metric HAMMING cannot be built on vectors of this type"
    );
    for other in [
        BuildParams::Flat,
        BuildParams::IvfFlat { nlist: 4 },
        BuildParams::Hnsw {
            m: 8,
            ef_construction: 40,
        },
    ] {
        assert!(matches!(build(other, minhash, vectors), BuildError::Kind { .. }));
    }
    let wide = MinHashParams {
        element_bits: 256,
        bands: 1,
    };
    let error = build(
        BuildParams::MinHash(wide),
        wide.metric().into(),
        of(&data[..160], 16),
    );
    assert_eq!(
        error.to_string(),
        "the dimension should be a multiple of 'mh_element_bit_width': dimension 128, mh_element_bit_width 256"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_signatures_in_any_bands_are_found_as_by_an_exact_search(
        elements in 1usize..9,
        bytes in 1u32..5,
        bands in 1u32..12,
        rows in prop::collection::vec(prop::collection::vec(0u8..2, 40), 1..40),
        filter in any::<u64>(),
        k in 1usize..8,
    ) {
        let params = MinHashParams { element_bits: bytes * 8, bands };
        let width = elements * bytes as usize;
        let data: Vec<u8> = rows.iter().flat_map(|row| row[..width].to_vec()).collect();
        let vectors = of(&data, width);
        let index = build(params, vectors, None);
        let allow = Bitset::from_fn(rows.len(), |row| filter >> (row % 64) & 1 == 1);
        let by_bands = params.metric().of_bands(bands);
        let query = vectors.row(0);
        for within in [sharing(), Window::default()] {
            let (found, _) = search(&index, by_bands, vectors, query, k, within, Some(&allow));
            prop_assert_eq!(&found, &exact(by_bands, vectors, query, k, within, Some(&allow)));
        }
        let hits = exact(by_bands, vectors, query, rows.len(), sharing(), Some(&allow));
        let hits = Bitset::from_fn(rows.len(), |row| hits.iter().any(|hit| hit.row as usize == row));
        let (found, _) = search(&index, params.metric(), vectors, query, k, sharing(), Some(&allow));
        prop_assert_eq!(found, exact(params.metric(), vectors, query, k, sharing(), Some(&hits)));
    }
}
