//! The IVF families over halves and bfloat16s, two of them over 8-bit integers, and IVF_FLAT over bits.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use elanus_index::{
    AnyIndex, AnyMetric, Bitset, BuildOptions, BuildParams, Code, SearchParams, SearchStats, Strategy,
    VectorsRef, Window, open,
};

use crate::blobs::reseal;
use crate::data::{Rng, allow_percent, coded, recall, stops_when_told};
use crate::typed_index::{DIM, FEW, K, QUERIES, ROWS, build, check_sound, exact, for_all};

const FLAT: BuildParams = BuildParams::IvfFlat { nlist: 64 };

fn families(vectors: VectorsRef<'_>) -> Vec<BuildParams> {
    match vectors {
        VectorsRef::Halves(_) | VectorsRef::BFloat16s(_) => vec![
            FLAT,
            coded(64, Code::Scalar { bits: 8 }),
            coded(
                64,
                Code::Product {
                    m: DIM as u32 / 2,
                    nbits: 8,
                },
            ),
            coded(
                64,
                Code::Rabitq {
                    bits: 4,
                    fast_scan: false,
                },
            ),
            coded(64, Code::Scann { sub_dim: 2 }),
        ],
        VectorsRef::Int8s(_) => {
            let code = Code::Product {
                m: DIM as u32 / 2,
                nbits: 8,
            };
            vec![FLAT, coded(64, code)]
        }
        VectorsRef::Bits(_) => vec![FLAT],
        VectorsRef::Floats(_) | VectorsRef::Sparse(_) | VectorsRef::Lists(_) => Vec::new(),
    }
}

/// Every type, metric and family.
fn for_each(
    rows: usize,
    mut check: impl FnMut(&str, BuildParams, AnyMetric, VectorsRef<'_>, VectorsRef<'_>),
) {
    for_all(rows, |name, metric, vectors, queries| {
        for params in families(vectors) {
            check(&format!("{name} {params:?}"), params, metric, vectors, queries);
        }
    });
}

fn probe(nprobe: u32) -> SearchParams {
    SearchParams {
        nprobe: Some(nprobe),
        ..SearchParams::default()
    }
}

#[test]
fn every_type_metric_and_family_reaches_its_recall_plain_filtered_and_within_a_window() {
    let half = allow_percent(ROWS, 60.0, 5);
    for_each(ROWS, |name, params, metric, vectors, queries| {
        let index = build(params, metric, vectors, None);
        assert_eq!(
            (index.kind(), index.metric(), index.rows()),
            (params.kind(), metric, ROWS)
        );
        let (mut probed, mut sums) = ([0; 3], [0.0; 3]);
        for query in 0..QUERIES {
            let query = queries.row(query);
            let all = exact(metric, vectors, query, Window::default(), None);
            let near = Window::new(None, all.last().map(|last| last.distance));
            let cases = [
                (Window::default(), None),
                (Window::default(), Some(&half)),
                (near, None),
            ];
            for (case, (within, allow)) in cases.into_iter().enumerate() {
                let search = SearchParams { within, ..probe(16) };
                let mut stats = SearchStats::default();
                let found = index
                    .search(vectors, query, K, &search, allow, &mut stats)
                    .unwrap();
                check_sound(name, metric, vectors, query, &found, within, allow);
                let expected = exact(metric, vectors, query, within, allow);
                if case < 2 {
                    assert_eq!(found.len(), expected.len(), "{name}");
                    sums[case] += recall(&found, &expected);
                } else {
                    sums[case] += found.len() as f64 / expected.len().max(1) as f64;
                }
                let by_lists = matches!(stats.strategy, Strategy::Lists | Strategy::ListsFiltered);
                probed[case] += usize::from(by_lists);
            }
        }
        let recalls = sums.map(|sum| sum / QUERIES as f64);
        assert!(
            recalls.iter().all(|recall| *recall >= 0.9),
            "{name}: recalls {recalls:?}"
        );
        assert!(
            probed[0] == QUERIES && probed[2] == QUERIES,
            "{name}: probed {probed:?}"
        );
    });
}

#[test]
fn with_every_list_looked_at_the_answer_is_exact() {
    for_all(FEW, |name, metric, vectors, queries| {
        if families(vectors).is_empty() {
            return;
        }
        // More lists than `nprobe`, so that lists are probed, and rows enough in them.
        let index = build(FLAT, metric, vectors, None);
        for query in 0..QUERIES {
            let query = queries.row(query);
            let found = index
                .search(vectors, query, K, &probe(64), None, &mut SearchStats::default())
                .unwrap();
            assert_eq!(
                found,
                exact(metric, vectors, query, Window::default(), None),
                "{name}"
            );
        }
    });
}

#[test]
fn rows_without_a_vector_and_rows_filtered_out_are_never_found() {
    let valid = Bitset::from_fn(FEW, |row| row % 3 != 0);
    let allow = Bitset::from_fn(FEW, |row| row % 2 == 0);
    let mut both = valid.clone();
    both.and(&allow);
    for_each(FEW, |name, params, metric, vectors, queries| {
        let index = build(params, metric, vectors, Some(&valid));
        for query in 0..3 {
            let query = queries.row(query);
            for (allow, expected) in [(None, &valid), (Some(&allow), &both)] {
                let mut stats = SearchStats::default();
                let found = index
                    .search(vectors, query, 50, &probe(4), allow, &mut stats)
                    .unwrap();
                assert_eq!(found.len(), 50, "{name}");
                check_sound(
                    name,
                    metric,
                    vectors,
                    query,
                    &found,
                    Window::default(),
                    Some(expected),
                );
            }
        }
    });
}

#[test]
fn few_rows_are_all_found_and_blobs_of_them_read_back() {
    for rows in [0, 1, 300] {
        for_each(rows, |name, params, metric, vectors, queries| {
            let index = build(params, metric, vectors, None);
            for k in [0, 1, 1_000] {
                let mut stats = SearchStats::default();
                let found = index
                    .search(vectors, queries.row(0), k, &probe(8), None, &mut stats)
                    .unwrap();
                assert_eq!(found.len(), k.min(rows), "{name} {rows} rows");
            }
            let blob = index.serialize();
            assert_eq!(
                AnyIndex::open(blob.clone().into()).unwrap().serialize(),
                blob,
                "{name}"
            );
        });
    }
}

#[test]
fn an_opened_index_answers_like_the_built_one_and_threads_do_not_matter() {
    let valid = Bitset::from_fn(FEW, |row| row % 5 != 0);
    for_each(FEW, |name, params, metric, vectors, queries| {
        let bytes = |threads: usize| {
            let options = BuildOptions {
                threads,
                ..BuildOptions::default()
            };
            AnyIndex::build(&params, metric, vectors, Some(&valid), &options)
                .unwrap()
                .serialize()
        };
        let blob = Bytes::from(bytes(1));
        assert_eq!(blob, bytes(3), "{name}");
        let index = build(params, metric, vectors, Some(&valid));
        let opened = AnyIndex::open(blob.clone()).unwrap();
        assert_eq!(
            (opened.kind(), opened.metric(), opened.rows()),
            (index.kind(), metric, FEW),
            "{name}"
        );
        for query in 0..QUERIES {
            let search = |index: &AnyIndex| {
                let mut stats = SearchStats::default();
                index
                    .search(vectors, queries.row(query), K, &probe(8), None, &mut stats)
                    .unwrap()
            };
            assert_eq!(search(&opened), search(&index), "{name}");
        }
        assert!(open(blob).is_err(), "{name}: no index of 32-bit floats");
    });
}

#[test]
fn damage_is_an_error_and_never_panics_nor_returns_a_row_that_is_not_there() {
    let rows = 600;
    for_each(rows, |name, params, metric, vectors, queries| {
        let valid = Bitset::from_fn(rows, |row| row % 5 != 0);
        let blob = build(params, metric, vectors, Some(&valid)).serialize();
        let mut rng = Rng(8);
        for round in 0..60 {
            let mut damaged = blob.clone();
            let at = rng.below(if round % 2 == 0 { blob.len() } else { 320 });
            damaged[at] ^= 1 << rng.below(8);
            assert!(
                AnyIndex::open(Bytes::from(damaged.clone())).is_err(),
                "{name}: byte {at}"
            );
            reseal(&mut damaged);
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                if let Ok(index) = AnyIndex::open(Bytes::from(damaged))
                    && index.metric() == metric
                    && let Ok(found) = index.search(
                        vectors,
                        queries.row(0),
                        15,
                        &probe(4),
                        None,
                        &mut SearchStats::default(),
                    )
                {
                    assert!(
                        found.iter().all(|neighbor| (neighbor.row as usize) < rows),
                        "{name}"
                    );
                }
            }));
            assert!(
                outcome.is_ok(),
                "{name}: damage at byte {at} in round {round} panics"
            );
        }
    });
}

#[test]
fn copies_and_constant_rows_come_back_k_at_a_time() {
    for value in [0.0, 0.7] {
        for column in &crate::typed_index::Column::of_all_types(&vec![value; FEW * DIM]) {
            let vectors = column.vectors(DIM);
            for metric in column.metrics() {
                for params in families(vectors) {
                    let index = build(params, metric, vectors, None);
                    let mut stats = SearchStats::default();
                    let found = index
                        .search(vectors, vectors.row(0), 50, &probe(4), None, &mut stats)
                        .unwrap();
                    assert_eq!(found.len(), 50, "{metric} {value} {params:?}");
                }
            }
        }
    }
}

#[test]
fn parameters_are_checked_and_a_build_can_be_cancelled() {
    for_each(100, |name, params, metric, vectors, _| {
        stops_when_told(name, 100, |options| {
            AnyIndex::build(&params, metric, vectors, None, options)
        });
        let wrong = BuildParams::IvfFlat { nlist: 0 };
        let error = AnyIndex::build(&wrong, metric, vectors, None, &BuildOptions::default()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "param 'nlist' (0) should be in range [1, 65536]"
        );
    });
}
