//! Searches under a filter: k rows whenever k are allowed, and good ones.

use elanus_index::{
    Bitset, BuildOptions, BuildParams, DiskSearch, Metric, SearchParams, SearchStats, Strategy, Vectors,
    build,
};

use crate::data::{Mixture, allow_percent, check_sound, on_disk, oracle, recall};

const ROWS: usize = 20_000;
const DIM: usize = 32;

#[test]
fn every_selectivity_returns_k_good_rows() {
    let mut mixture = Mixture::new(DIM, 100, 11);
    let (base, queries) = (mixture.draw(ROWS), mixture.draw(30));
    let (vectors, queries) = (
        Vectors::new(&base, DIM).unwrap(),
        Vectors::new(&queries, DIM).unwrap(),
    );
    let families = [
        BuildParams::Flat,
        BuildParams::IvfFlat { nlist: 128 },
        BuildParams::Hnsw {
            m: 8,
            ef_construction: 60,
        },
        on_disk(),
    ];
    // And by codes: lists of SQ8 and of SCANN, a graph of SQ8.
    let coded = [3, 7, 8].map(|family| crate::data::FAMILIES[family]);
    for params in families.into_iter().chain(coded) {
        let index = build(&params, Metric::L2, vectors, None, &BuildOptions::default()).unwrap();
        let mut strategies = Vec::new();
        for percent in [0.1, 1.0, 10.0, 25.0, 50.0, 90.0] {
            let allow = allow_percent(ROWS, percent, 5);
            let mut sum = 0.0;
            let mut stats = SearchStats::default();
            for query in (0..queries.len()).map(|index| queries.row(index)) {
                let found = index.search(
                    vectors,
                    query,
                    10,
                    &SearchParams::default(),
                    Some(&allow),
                    &mut stats,
                );
                assert_eq!(found.len(), 10.min(allow.count()), "{params:?} at {percent} %");
                check_sound(Metric::L2, vectors, query, &found, Some(&allow));
                sum += recall(&found, &oracle(Metric::L2, vectors, query, 10, Some(&allow)));
            }
            strategies.push(stats.strategy);
            let recall = sum / queries.len() as f64;
            assert!(recall >= 0.85, "{params:?} at {percent} %: recall {recall}");
        }
        let expected = match params {
            BuildParams::Flat => Strategy::ExactFiltered,
            BuildParams::IvfFlat { .. } | BuildParams::IvfCoded(_) => Strategy::ListsFiltered,
            BuildParams::Hnsw { .. } | BuildParams::HnswCoded(_) | BuildParams::Disk(_) => {
                Strategy::GraphFiltered
            }
            BuildParams::Sparse(_)
            | BuildParams::MinHash(_)
            | BuildParams::GpuBruteForce
            | BuildParams::GpuIvfFlat { .. }
            | BuildParams::GpuIvfPq(_)
            | BuildParams::GpuCagra(_) => {
                unreachable!("not among the families")
            }
        };
        assert_eq!(strategies.first(), Some(&Strategy::ExactFiltered));
        assert_eq!(strategies.last(), Some(&expected), "{params:?}: {strategies:?}");
    }
}

/// The filter lets through only rows far from the query: the walk and the nearest lists see none of them.
#[test]
fn allowed_rows_far_from_the_query_are_found_too() {
    let rows = 12_000;
    let base: Vec<f32> = (0..rows)
        .flat_map(|row| [row as f32, (row % 13) as f32])
        .collect();
    let vectors = Vectors::new(&base, 2).unwrap();
    let allow = Bitset::from_fn(rows, |row| row >= rows / 2);
    let query = [10.0, 3.0];
    for params in [
        BuildParams::IvfFlat { nlist: 64 },
        BuildParams::Hnsw {
            m: 4,
            ef_construction: 20,
        },
        on_disk(),
    ] {
        let index = build(&params, Metric::L2, vectors, None, &BuildOptions::default()).unwrap();
        let mut stats = SearchStats::default();
        let search = SearchParams {
            nprobe: Some(1),
            ef: Some(10),
            disk: DiskSearch {
                search_list: Some(10),
                ..DiskSearch::default()
            },
            ..SearchParams::default()
        };
        let found = index.search(vectors, &query, 10, &search, Some(&allow), &mut stats);
        assert_eq!(found.len(), 10, "{params:?}");
        check_sound(Metric::L2, vectors, &query, &found, Some(&allow));
        assert!(
            found
                .iter()
                .all(|neighbor| (neighbor.row as usize) < rows / 2 + 500),
            "{params:?}: {found:?}"
        );
    }
}

/// Filters are seldom independent of the vectors: here the allowed rows lie on the far side of the query, with a few
/// strays near it.
#[test]
fn a_filter_that_leaves_little_near_the_query_keeps_recall() {
    let mut mixture = Mixture::new(DIM, 100, 17);
    let (base, queries) = (mixture.draw(ROWS), mixture.draw(20));
    let vectors = Vectors::new(&base, DIM).unwrap();
    for params in [
        BuildParams::IvfFlat { nlist: 128 },
        BuildParams::Hnsw {
            m: 8,
            ef_construction: 60,
        },
        on_disk(),
    ] {
        let index = build(&params, Metric::L2, vectors, None, &BuildOptions::default()).unwrap();
        for (ef, stray) in [
            (16, None),
            (64, None),
            (64, Some(1_000)),
            (64, Some(50)),
            (16, Some(20)),
        ] {
            let mut sum = 0.0;
            for query in queries.chunks(DIM) {
                let mut by_distance = oracle(Metric::L2, vectors, query, ROWS, None);
                let far = by_distance.split_off(ROWS / 2);
                let mut allow = Bitset::new(ROWS);
                far.iter().for_each(|neighbor| allow.set(neighbor.row as usize));
                by_distance
                    .iter()
                    .filter(|neighbor| stray.is_some_and(|every| neighbor.row % every == 0))
                    .for_each(|neighbor| allow.set(neighbor.row as usize));
                let search = SearchParams {
                    ef: Some(ef),
                    nprobe: Some(8),
                    ..SearchParams::default()
                };
                let found = index.search(
                    vectors,
                    query,
                    10,
                    &search,
                    Some(&allow),
                    &mut SearchStats::default(),
                );
                check_sound(Metric::L2, vectors, query, &found, Some(&allow));
                assert_eq!(found.len(), 10);
                sum += recall(&found, &oracle(Metric::L2, vectors, query, 10, Some(&allow)));
            }
            assert!(
                sum / 20.0 > 0.95,
                "{params:?} ef {ef} stray {stray:?}: recall {}",
                sum / 20.0
            );
        }
    }
}

#[test]
fn a_filter_of_another_length_allows_only_rows_it_names() {
    let base: Vec<f32> = (0..5_000).map(|row| row as f32).collect();
    let vectors = Vectors::new(&base, 1).unwrap();
    for params in crate::data::FAMILIES {
        let index = build(&params, Metric::L2, vectors, None, &BuildOptions::default()).unwrap();
        for len in [4_000, 6_000] {
            let allow = Bitset::full(len);
            let mut stats = SearchStats::default();
            let found = index.search(
                vectors,
                &[9_999.0],
                1,
                &SearchParams::default(),
                Some(&allow),
                &mut stats,
            );
            assert_eq!(found[0].row as usize, len.min(5_000) - 1, "{params:?}");
        }
    }
}
