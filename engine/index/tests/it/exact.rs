//! Exact search, single and batched, and FLAT.

use elanus_index::{
    Bitset, BuildOptions, BuildParams, SearchParams, SearchStats, Strategy, Vectors, build, exact_search,
    exact_search_batch,
};

use crate::data::{METRICS, Mixture, Rng, allow_percent, oracle};

#[test]
fn single_and_batched_searches_equal_the_oracle_bit_for_bit() {
    let (rows, dim) = (3_000, 43);
    let mut mixture = Mixture::new(dim, 20, 1);
    let (base, queries) = (mixture.draw(rows), mixture.draw(23));
    let (vectors, queries) = (
        Vectors::new(&base, dim).unwrap(),
        Vectors::new(&queries, dim).unwrap(),
    );
    let allows = [
        None,
        Some(allow_percent(rows, 50.0, 2)),
        Some(allow_percent(rows, 1.0, 3)),
        Some(Bitset::new(rows)),
    ];
    for metric in METRICS {
        let flat = build(
            &BuildParams::Flat,
            metric,
            vectors,
            None,
            &BuildOptions::default(),
        )
        .unwrap();
        for allow in &allows {
            let allow = allow.as_ref();
            let mut stats = SearchStats::default();
            let params = SearchParams::default();
            let batch = exact_search_batch(metric, vectors, queries, 10, allow, &mut stats);
            let flat_batch = flat.search_batch(vectors, queries, 10, &params, allow, &mut stats);
            assert_eq!(batch, flat_batch);
            for (index, got) in batch.iter().enumerate() {
                let query = queries.row(index);
                let expected = oracle(metric, vectors, query, 10, allow);
                assert_eq!(*got, expected, "{metric} batch");
                assert_eq!(
                    exact_search(metric, vectors, query, 10, allow, &mut stats),
                    expected,
                    "{metric} single"
                );
                assert_eq!(
                    flat.search(vectors, query, 10, &params, allow, &mut stats),
                    expected,
                    "{metric} FLAT"
                );
            }
        }
    }
}

#[test]
fn big_searches_on_the_thread_pool_find_the_same_rows() {
    let (rows, dim) = (70_000, 256);
    let base: Vec<f32> = (0..rows * dim).map(|i| ((i * 7919) % 1013) as f32).collect();
    let vectors = Vectors::new(&base, dim).unwrap();
    let queries = Vectors::new(&base[..5 * dim], dim).unwrap();
    let mut stats = SearchStats::default();
    let batch = exact_search_batch(METRICS[0], vectors, queries, 3, None, &mut stats);
    assert_eq!(stats.distances, 5 * rows as u64);
    for (index, got) in batch.iter().enumerate() {
        assert_eq!(*got, oracle(METRICS[0], vectors, queries.row(index), 3, None));
        assert_eq!(
            *got,
            exact_search(METRICS[0], vectors, queries.row(index), 3, None, &mut stats)
        );
    }
}

/// Rows of one repeated number make every rounding of a sum go the same way, so that the batch's approximate distances are
/// as wrong as they get; each row is nearer than the one before by a few ulps only.
#[test]
fn a_batch_loses_no_row_to_rounding_at_the_largest_dimension() {
    let (dim, rows) = (32_768, 8);
    let queries = vec![0.0; 4 * dim];
    let queries = Vectors::new(&queries, dim).unwrap();
    let mut stats = SearchStats::default();
    for round in 0..60 {
        let first = 0.1 + round as f32 * 0.013;
        let base: Vec<f32> = (0..rows)
            .flat_map(|row| vec![first * (1.0 - row as f32 * 1e-6); dim])
            .collect();
        let vectors = Vectors::new(&base, dim).unwrap();
        let batch = exact_search_batch(METRICS[0], vectors, queries, 1, None, &mut stats);
        for (index, got) in batch.iter().enumerate() {
            assert_eq!(
                *got,
                oracle(METRICS[0], vectors, queries.row(index), 1, None),
                "{first}"
            );
        }
    }
}

/// Every number of queries around the width of a panel, with rows that tie, are zero, tiny, huge, or far from the origin,
/// more results than rows, and windows.
#[test]
fn batches_of_every_size_equal_single_searches_on_awkward_numbers() {
    let mut rng = Rng(11);
    for (case, dim) in [1, 2, 3, 17, 64, 130].into_iter().enumerate() {
        let rows = 700;
        for scale in [1.0f32, 1e-22, 1e18, 0.0] {
            for offset in [0.0f32, 1e4] {
                let mut base: Vec<f32> = (0..rows * dim)
                    .map(|_| scale * (rng.normal() * 3.0).round() + scale * offset)
                    .collect();
                base[..dim].fill(0.0);
                let vectors = Vectors::new(&base, dim).unwrap();
                let allow = allow_percent(rows, 40.0, case as u64);
                for count in [1, 3, 4, 5, 16, 31, 48, 49, 101] {
                    let queries: Vec<f32> = (0..count)
                        .flat_map(|query| vectors.row(query * 7 % rows).to_vec())
                        .map(|value| value + scale * rng.below(2) as f32)
                        .collect();
                    let queries = Vectors::new(&queries, dim).unwrap();
                    let k = [1, 10, 2 * rows][count % 3];
                    let allow = (count % 2 == 0).then_some(&allow);
                    for metric in METRICS {
                        let mut stats = SearchStats::default();
                        let batch = exact_search_batch(metric, vectors, queries, k, allow, &mut stats);
                        for (index, found) in batch.iter().enumerate() {
                            let single =
                                exact_search(metric, vectors, queries.row(index), k, allow, &mut stats);
                            assert!(
                                *found == single,
                                "{metric}, dimension {dim}, {scale} {offset}, query {index} of {count}"
                            );
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn statistics_tell_what_was_done() {
    let base = [0.0, 1.0, 2.0, 3.0];
    let vectors = Vectors::new(&base, 1).unwrap();
    let mut stats = SearchStats::default();
    exact_search(METRICS[0], vectors, &[0.0], 2, None, &mut stats);
    assert_eq!((stats.distances, stats.strategy), (4, Strategy::Exact));
    let allow = Bitset::from_fn(4, |row| row > 1);
    let found = exact_search(METRICS[0], vectors, &[0.0], 9, Some(&allow), &mut stats);
    assert_eq!((stats.distances, stats.strategy), (6, Strategy::ExactFiltered));
    assert_eq!(found.iter().map(|n| n.row).collect::<Vec<_>>(), [2, 3]);
    assert!(exact_search(METRICS[0], vectors, &[0.0], 0, None, &mut stats).is_empty());
    let nothing = Vectors::new(&[], 1).unwrap();
    assert!(exact_search(METRICS[0], nothing, &[0.0], 3, None, &mut stats).is_empty());
    assert_eq!(
        exact_search_batch(METRICS[0], nothing, vectors, 3, None, &mut stats),
        vec![vec![]; 4]
    );
}
