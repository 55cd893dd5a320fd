//! Odd inputs: few rows, equal rows, zero rows, rows without a vector, nothing allowed, cancellation.

use elanus_index::{
    Bitset, BuildOptions, BuildParams, DiskSearch, Metric, Neighbor, SearchParams, SearchStats, Strategy,
    Vectors, Window, build,
};

use crate::data::{FAMILIES, METRICS, Mixture, check_sound, oracle, recall, stops_when_told};

/// Builds every family over `base` for every metric and hands each one's answers for `query` to `check`.
fn for_all(
    base: &[f32],
    dim: usize,
    valid: Option<&Bitset>,
    query: &[f32],
    k: usize,
    check: impl Fn(&str, Metric, Vec<Neighbor>),
) {
    let vectors = Vectors::new(base, dim).unwrap();
    for params in FAMILIES {
        for metric in METRICS {
            let index = build(&params, metric, vectors, valid, &BuildOptions::default()).unwrap();
            let found = index.search(
                vectors,
                query,
                k,
                &SearchParams::default(),
                None,
                &mut SearchStats::default(),
            );
            check_sound(metric, vectors, query, &found, valid);
            check(&format!("{params:?} {metric}"), metric, found);
        }
    }
}

#[test]
fn one_row_is_found_whatever_k() {
    for_all(&[1.0, 2.0], 2, None, &[3.0, 4.0], 10, |name, _, found| {
        assert_eq!(found.len(), 1, "{name}")
    });
}

#[test]
fn no_rows_give_nothing() {
    for_all(&[], 2, None, &[3.0, 4.0], 10, |name, _, found| {
        assert!(found.is_empty(), "{name}")
    });
}

#[test]
fn k_beyond_the_rows_returns_all() {
    let base = Mixture::new(8, 5, 3).draw(300);
    for_all(&base, 8, None, &base[..8], 1_000, |name, _, found| {
        assert_eq!(found.len(), 300, "{name}")
    });
    for_all(&base, 8, None, &base[..8], 0, |name, _, found| {
        assert!(found.is_empty(), "{name}")
    });
}

#[test]
fn equal_rows_come_back_k_at_a_time() {
    let base = [0.5f32, -1.0, 2.0].repeat(6_000);
    for_all(&base, 3, None, &[1.0, 1.0, 1.0], 50, |name, _, found| {
        assert_eq!(found.len(), 50, "{name}")
    });
}

#[test]
fn copies_of_a_row_are_found_by_walks() {
    for (rows, dim, one_in) in [(9_000, 8, 3), (20_000, 32, 10)] {
        let mut base = Mixture::new(dim, 60, 7).draw(rows);
        let copied: Vec<f32> = base[..dim].to_vec();
        for row in (0..rows).step_by(one_in) {
            base[row * dim..][..dim].copy_from_slice(&copied);
        }
        let vectors = Vectors::new(&base, dim).unwrap();
        let graphs = FAMILIES.into_iter().filter(|params| {
            matches!(
                params,
                BuildParams::Hnsw { .. } | BuildParams::HnswCoded(_) | BuildParams::Disk(_)
            )
        });
        for params in graphs {
            for metric in [Metric::L2, Metric::Cosine] {
                let index = build(&params, metric, vectors, None, &BuildOptions::default()).unwrap();
                let last = oracle(metric, vectors, &copied, 100, None)[99].distance;
                for within in [Window::default(), Window::new(None, Some(last.next_up()))] {
                    let search = SearchParams {
                        ef: Some(200),
                        disk: DiskSearch {
                            search_list: Some(200),
                            ..DiskSearch::default()
                        },
                        within,
                        ..SearchParams::default()
                    };
                    let mut stats = SearchStats::default();
                    let found = index.search(vectors, &copied, 100, &search, None, &mut stats);
                    assert_eq!(stats.strategy, Strategy::Graph, "{params:?} {metric}");
                    check_sound(metric, vectors, &copied, &found, None);
                    let copies = found.iter().filter(|neighbor| neighbor.distance <= last);
                    assert_eq!(copies.count(), 100, "{params:?} {metric} {within:?}");
                }
            }
        }
    }
}

#[test]
fn zero_rows_and_zero_queries_work_under_every_metric() {
    let mut base = Mixture::new(4, 5, 3).draw(4_000);
    base[..8_000].fill(0.0);
    for_all(&base, 4, None, &[0.0; 4], 20, |name, metric, found| {
        assert_eq!(found.len(), 20, "{name}");
        assert!(
            found.iter().all(|neighbor| neighbor.distance == 0.0),
            "{name}: every score of a zero query is 0 under {metric}"
        );
    });
}

#[test]
fn the_smallest_and_the_largest_dimension_work() {
    for (dim, rows) in [(1, 3_000), (2, 3_000), (32_768, 40)] {
        let base = Mixture::new(dim, 5, 3).draw(rows);
        let vectors = Vectors::new(&base, dim).unwrap();
        let query = Mixture::new(dim, 5, 4).draw(1);
        for_all(&base, dim, None, &query, 10, |name, metric, found| {
            let expected = oracle(metric, vectors, &query, 10, None);
            assert!(
                recall(&found, &expected) >= 0.8,
                "{name} dimension {dim}: {found:?}"
            );
        });
    }
}

/// Rows enough that structures are searched, and codes of long vectors with them.
#[test]
fn structures_over_long_vectors_are_searched() {
    for (dim, rows, k, candidates) in [(1_024, 2_200, 10, 20), (32_768, 400, 3, 6)] {
        let base = Mixture::new(dim, 20, 3).draw(rows);
        let vectors = Vectors::new(&base, dim).unwrap();
        let query = Mixture::new(dim, 20, 3).draw(1);
        let search = SearchParams {
            ef: Some(candidates),
            nprobe: Some(2),
            disk: DiskSearch {
                search_list: Some(candidates),
                ..DiskSearch::default()
            },
            ..SearchParams::default()
        };
        for params in FAMILIES {
            let index = build(&params, Metric::L2, vectors, None, &BuildOptions::default()).unwrap();
            let mut stats = SearchStats::default();
            let found = index.search(vectors, &query, k, &search, None, &mut stats);
            check_sound(Metric::L2, vectors, &query, &found, None);
            let by_structure = !matches!(stats.strategy, Strategy::Exact | Strategy::ExactFiltered);
            let case = format!("{params:?} dimension {dim}: {}", stats.strategy);
            assert_eq!(by_structure, params != BuildParams::Flat, "{case}");
            let recall = recall(&found, &oracle(Metric::L2, vectors, &query, k, None));
            assert!(recall >= 0.6, "{case}: recall {recall}");
        }
    }
}

#[test]
fn a_value_that_is_not_finite_is_refused_where_there_is_a_vector() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut base = Mixture::new(8, 5, 3).draw(300);
        base[8 * 77 + 3] = bad;
        let vectors = Vectors::new(&base, 8).unwrap();
        let valid = Bitset::from_fn(300, |row| row != 77);
        for params in FAMILIES {
            let options = BuildOptions::default();
            let error = build(&params, Metric::L2, vectors, None, &options).unwrap_err();
            assert_eq!(
                error.to_string(),
                "the vector of row 77 has a value that is not finite"
            );
            let index = build(&params, Metric::L2, vectors, Some(&valid), &options).unwrap();
            let search = SearchParams::default();
            let found = index.search(
                vectors,
                &base[..8],
                299,
                &search,
                None,
                &mut SearchStats::default(),
            );
            check_sound(Metric::L2, vectors, &base[..8], &found, Some(&valid));
        }
    }
}

#[test]
fn queries_that_are_not_finite_give_rows_all_the_same() {
    let base = Mixture::new(8, 20, 3).draw(4_000);
    let vectors = Vectors::new(&base, 8).unwrap();
    for params in FAMILIES {
        for metric in METRICS {
            let index = build(&params, metric, vectors, None, &BuildOptions::default()).unwrap();
            for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let mut query = base[..8].to_vec();
                query[5] = value;
                let search = SearchParams::default();
                let found = index.search(vectors, &query, 10, &search, None, &mut SearchStats::default());
                let mut rows: Vec<u32> = found.iter().map(|neighbor| neighbor.row).collect();
                rows.sort_unstable();
                rows.dedup();
                let sound = rows.len() == found.len() && rows.iter().all(|row| *row < 4_000);
                assert!(
                    sound && found.len() <= 10,
                    "{params:?} {metric} {value}: {found:?}"
                );
            }
        }
    }
}

/// Numbers below the smallest that have all of their digits.
#[test]
fn denormal_rows_are_told_apart() {
    let tiny: Vec<f32> = (0..3_000 * 8)
        .map(|at| f32::MIN_POSITIVE * (at % 97) as f32 / 128.0)
        .collect();
    let vectors = Vectors::new(&tiny, 8).unwrap();
    for_all(&tiny, 8, None, &tiny[80..88], 10, |name, metric, found| {
        assert_eq!(found.len(), 10, "{name}");
        let expected = oracle(metric, vectors, &tiny[80..88], 10, None);
        for (found, expected) in found.iter().zip(&expected) {
            let close = (found.distance - expected.distance).abs() <= 1e-6;
            assert!(
                close,
                "{name}: {} instead of {}",
                found.distance, expected.distance
            );
        }
    });
}

/// A third of the rows is one and the same vector, as when many texts are empty.
#[test]
fn many_equal_rows_do_not_hide_the_others() {
    let (dim, rows) = (16, 9_000);
    let mut mixture = Mixture::new(dim, 60, 5);
    let mut base = mixture.draw(rows);
    let empty = mixture.draw(1);
    for row in base.chunks_mut(dim).step_by(3) {
        row.copy_from_slice(&empty);
    }
    let queries = mixture.draw(60);
    let vectors = Vectors::new(&base, dim).unwrap();
    for metric in METRICS {
        for params in [
            BuildParams::IvfFlat { nlist: 64 },
            BuildParams::Hnsw {
                m: 16,
                ef_construction: 100,
            },
        ] {
            let index = build(&params, metric, vectors, None, &BuildOptions::default()).unwrap();
            let search = SearchParams {
                ef: Some(64),
                nprobe: Some(16),
                ..SearchParams::default()
            };
            let mut sum = 0.0;
            for query in queries.chunks(dim) {
                let found = index.search(vectors, query, 10, &search, None, &mut SearchStats::default());
                check_sound(metric, vectors, query, &found, None);
                sum += recall(&found, &oracle(metric, vectors, query, 10, None));
            }
            assert!(sum / 60.0 > 0.85, "{params:?} {metric}: recall {}", sum / 60.0);
        }
    }
}

/// 400 points, each stored 20 times: links must not drown in copies.
#[test]
fn copies_do_not_tear_the_graph_apart() {
    let dim = 16;
    let points = Mixture::new(dim, 40, 9).draw(400);
    let base = points.repeat(20);
    let vectors = Vectors::new(&base, dim).unwrap();
    let params = BuildParams::Hnsw {
        m: 8,
        ef_construction: 80,
    };
    let index = build(&params, Metric::L2, vectors, None, &BuildOptions::default()).unwrap();
    let search = SearchParams {
        ef: Some(100),
        nprobe: None,
        ..SearchParams::default()
    };
    let mut sum = 0.0;
    for query in points.chunks(dim).step_by(4) {
        let found = index.search(vectors, query, 50, &search, None, &mut SearchStats::default());
        check_sound(Metric::L2, vectors, query, &found, None);
        sum += recall(&found, &oracle(Metric::L2, vectors, query, 50, None));
    }
    assert!(sum / 100.0 > 0.9, "recall {}", sum / 100.0);
}

#[test]
fn rows_without_a_vector_are_never_returned() {
    let base = Mixture::new(8, 20, 3).draw(6_000);
    let valid = Bitset::from_fn(6_000, |row| row % 3 == 0);
    for_all(&base, 8, Some(&valid), &base[8..16], 30, |name, _, found| {
        assert_eq!(found.len(), 30, "{name}")
    });
    let none = Bitset::new(6_000);
    for_all(&base, 8, Some(&none), &base[8..16], 30, |name, _, found| {
        assert!(found.is_empty(), "{name}")
    });
    let few = Bitset::from_fn(6_000, |row| row == 77 || row == 4_000);
    for_all(&base, 8, Some(&few), &base[8..16], 30, |name, _, found| {
        assert_eq!(found.len(), 2, "{name}")
    });
}

#[test]
fn validity_and_filter_hold_together() {
    let base = Mixture::new(8, 20, 3).draw(6_000);
    let vectors = Vectors::new(&base, 8).unwrap();
    let valid = Bitset::from_fn(6_000, |row| row % 3 != 0);
    let allow = Bitset::from_fn(6_000, |row| row % 2 == 0);
    let mut both = valid.clone();
    both.and(&allow);
    for params in FAMILIES {
        let index = build(
            &params,
            Metric::L2,
            vectors,
            Some(&valid),
            &BuildOptions::default(),
        )
        .unwrap();
        for allow in [
            &allow,
            &Bitset::new(6_000),
            &Bitset::from_fn(6_000, |row| row == 4),
        ] {
            let mut expected = allow.clone();
            expected.and(&valid);
            let mut stats = SearchStats::default();
            let found = index.search(
                vectors,
                &base[..8],
                10,
                &SearchParams::default(),
                Some(allow),
                &mut stats,
            );
            check_sound(Metric::L2, vectors, &base[..8], &found, Some(&expected));
            assert_eq!(found.len(), expected.count().min(10), "{params:?}");
        }
    }
}

#[test]
fn extreme_values_build_and_search() {
    let mut base: Vec<f32> = (0..3_000)
        .map(|i| if i % 2 == 0 { f32::MAX } else { -f32::MAX / 2.0 })
        .collect();
    base[..600].fill(f32::MIN_POSITIVE);
    for_all(
        &base,
        3,
        None,
        &[f32::MAX, 1.0, -f32::MAX],
        10,
        |name, _, found| assert_eq!(found.len(), 10, "{name}"),
    );
}

#[test]
fn a_search_of_another_shape_finds_nothing() {
    let base = Mixture::new(8, 20, 3).draw(500);
    let vectors = Vectors::new(&base, 8).unwrap();
    for params in FAMILIES {
        let index = build(&params, Metric::L2, vectors, None, &BuildOptions::default()).unwrap();
        let mut stats = SearchStats::default();
        let other = Vectors::new(&base, 4).unwrap();
        let search = SearchParams::default();
        assert!(
            index
                .search(vectors, &base[..4], 5, &search, None, &mut stats)
                .is_empty()
        );
        assert!(
            index
                .search(other, &base[..8], 5, &search, None, &mut stats)
                .is_empty()
        );
        let fewer = Vectors::new(&base[..800], 8).unwrap();
        assert!(
            index
                .search(fewer, &base[..8], 5, &search, None, &mut stats)
                .is_empty()
        );
    }
}

#[test]
fn parameters_out_of_range_are_refused() {
    let vectors = Vectors::new(&[1.0], 1).unwrap();
    let params = BuildParams::Hnsw {
        m: 1,
        ef_construction: 10,
    };
    let error = build(&params, Metric::L2, vectors, None, &BuildOptions::default()).unwrap_err();
    assert_eq!(error.to_string(), "param 'M' (1) should be in range [2, 2048]");
}

/// Large parameters cost no more room than the rows can use.
#[test]
fn the_largest_parameters_build_on_few_rows() {
    let base = Mixture::new(4, 5, 3).draw(60);
    let vectors = Vectors::new(&base, 4).unwrap();
    for params in [
        BuildParams::Hnsw {
            m: 2_048,
            ef_construction: i32::MAX as u32,
        },
        BuildParams::IvfFlat { nlist: 65_536 },
    ] {
        let index = build(&params, Metric::L2, vectors, None, &BuildOptions::default()).unwrap();
        assert!(index.memory_bytes() < 100_000);
        let search = SearchParams {
            ef: Some(i32::MAX as u32),
            nprobe: Some(65_536),
            ..SearchParams::default()
        };
        let found = index.search(vectors, &base[..4], 5, &search, None, &mut SearchStats::default());
        assert_eq!(found, oracle(Metric::L2, vectors, &base[..4], 5, None));
    }
}

#[test]
fn builds_report_progress_to_the_end_and_stop_when_told() {
    let base = Mixture::new(8, 20, 3).draw(3_000);
    let vectors = Vectors::new(&base, 8).unwrap();
    for params in FAMILIES {
        stops_when_told(&format!("{params:?}"), 3_000, |options| {
            build(&params, Metric::L2, vectors, None, options)
        });
    }
}
