//! GPU_IVF_FLAT: the same lists and the same answers as on the processor, over the twin and over the emulated kernels.

use std::sync::Arc;

use elanus_index::gpu::twin::Twin;
use elanus_index::gpu::{Backend, Device, SearchTuning, ivf_flat_on};
use elanus_index::{
    Bitset, BuildOptions, IndexKind, Metric, Neighbor, SearchParams, SearchStats, Strategy, VectorIndex,
    Vectors, Window, exact_search, open,
};
use rayon::prelude::*;

use crate::data::{METRICS, Rng, allow_percent};
use crate::device::lend;

pub const ALWAYS: SearchTuning = SearchTuning {
    queries: 5,
    least_work: 0,
};

pub fn twin() -> Arc<Device<Twin>> {
    Device::new(Twin::new(), 1 << 30)
}

/// Rows around 40 centers.
pub fn clusters(rows: usize, dim: usize, offset: f32, seed: u64) -> Vec<f32> {
    let mut rng = Rng(seed);
    let centers = Rng(77).normals(40 * dim);
    let mut data = Vec::with_capacity(rows * dim);
    for row in 0..rows {
        let center = &centers[row % 40 * dim..][..dim];
        data.extend(center.iter().map(|value| value + offset + 0.4 * rng.normal()));
    }
    data
}

fn build<B: Backend + 'static>(
    device: &Arc<Device<B>>,
    nlist: u32,
    metric: Metric,
    vectors: Vectors<'_>,
    valid: Option<&Bitset>,
) -> Arc<dyn VectorIndex> {
    let options = BuildOptions::default();
    ivf_flat_on(device, (nlist, metric), vectors, valid, &options, ALWAYS).unwrap()
}

pub fn probing(nprobe: u32) -> SearchParams {
    SearchParams {
        nprobe: Some(nprobe),
        ..SearchParams::default()
    }
}

/// The same search by the lists on the processor: a window that everything is in is not for a device.
pub fn on_processor(params: &SearchParams) -> SearchParams {
    SearchParams {
        within: Window::new(None, Some(f32::MAX)),
        ..*params
    }
}

pub fn recall(found: &[Vec<Neighbor>], exact: &[Vec<Neighbor>]) -> f64 {
    let (mut hits, mut wanted) = (0, 0);
    for (found, exact) in found.iter().zip(exact) {
        hits += exact
            .iter()
            .filter(|neighbor| found.iter().any(|other| other.row == neighbor.row))
            .count();
        wanted += exact.len();
    }
    hits as f64 / wanted as f64
}

fn over<B: Backend + 'static>(device: &Arc<Device<B>>, rows: usize, dim: usize, offset: f32) {
    let (base, queries) = (clusters(rows, dim, offset, 1), clusters(7, dim, offset, 2));
    let vectors = Vectors::new(&base, dim).unwrap();
    let queries = Vectors::new(&queries, dim).unwrap();
    let valid = allow_percent(rows, 97, 3);
    let allow = allow_percent(rows, 80, 4);
    for metric in METRICS {
        let index = build(device, 24, metric, vectors, Some(&valid));
        assert_eq!(index.kind(), IndexKind::GpuIvfFlat);
        for allow in [None, Some(&allow)] {
            let mut possible = valid.clone();
            if let Some(allow) = allow {
                possible.and(allow);
            }
            let exact: Vec<Vec<Neighbor>> = (0..queries.len())
                .map(|query| {
                    let mut ignored = SearchStats::default();
                    exact_search(
                        metric,
                        vectors,
                        queries.row(query),
                        10,
                        Some(&possible),
                        &mut ignored,
                    )
                })
                .collect();
            for nprobe in [1, 4, 24] {
                let params = probing(nprobe);
                let mut stats = SearchStats::default();
                let found = index.search_batch(vectors, queries, 10, &params, allow, &mut stats);
                assert_eq!(
                    stats.strategy,
                    [Strategy::Lists, Strategy::ListsFiltered][usize::from(allow.is_some())]
                );
                // Rows that are scanned rather than looked for in lists are looked for in all lists.
                if nprobe == 24 {
                    assert_eq!(found, exact, "{metric}: all lists");
                    continue;
                }
                let of_lists = index.search_batch(
                    vectors,
                    queries,
                    10,
                    &on_processor(&params),
                    allow,
                    &mut SearchStats::default(),
                );
                assert_eq!(
                    found,
                    of_lists,
                    "{metric}: {nprobe} lists, filtered {}",
                    allow.is_some()
                );
                let recall = recall(&found, &exact);
                // Far from the origin, directions tell rows hardly apart.
                let telling = nprobe > 1 && (offset == 0.0 || metric == Metric::L2);
                assert!(!telling || recall >= 0.8, "{metric}: recall {recall}");
            }
        }
    }
}

#[test]
fn the_twin_finds_what_the_lists_hold() {
    over(&twin(), 2_600, 18, 0.0);
    over(&twin(), 2_600, 8, 300.0);
}

#[test]
fn the_kernels_find_what_the_lists_hold() {
    let Some(lent) = lend() else { return };
    lent.set_seed(5);
    over(&lent.device, 2_600, 10, 0.0);
}

#[test]
fn a_device_and_its_twin_build_the_same_lists() {
    let Some(lent) = lend() else { return };
    let mut rng = Rng(9);
    // Whole numbers, so that distances are the same whatever the order of their sums.
    let base = rng.integers(900 * 6);
    let vectors = Vectors::new(&base, 6).unwrap();
    for metric in [Metric::L2, Metric::Ip, Metric::Cosine] {
        let of_twin = build(&twin(), 12, metric, vectors, None);
        let of_device = build(&lent.device, 12, metric, vectors, None);
        let again = build(&lent.device, 12, metric, vectors, None);
        assert_eq!(of_device.serialize(), again.serialize(), "{metric}");
        let (mut sums, params) = ([0.0f32; 2], probing(2));
        for (index, sum) in [&of_twin, &of_device].into_iter().zip(&mut sums) {
            for query in 0..20 {
                let mut ignored = SearchStats::default();
                let found = index.search(vectors, vectors.row(query), 5, &params, None, &mut ignored);
                *sum += found.iter().map(|neighbor| neighbor.distance).sum::<f32>();
            }
        }
        assert!(
            (sums[0] - sums[1]).abs() <= 0.02 * sums[0].abs().max(1.0),
            "{metric}: {sums:?}"
        );
    }
}

#[test]
fn a_blob_is_opened_without_the_device_that_built_it() {
    let (base, query) = (clusters(2_600, 9, 0.0, 1), clusters(1, 9, 0.0, 2));
    let vectors = Vectors::new(&base, 9).unwrap();
    let index = build(&twin(), 24, Metric::L2, vectors, None);
    let opened = open(index.serialize().into()).unwrap();
    assert_eq!(opened.kind(), IndexKind::GpuIvfFlat);
    assert_eq!(opened.params(), index.params());
    assert_eq!(opened.serialize(), index.serialize());
    let search = |index: &Arc<dyn VectorIndex>| {
        index.search(vectors, &query, 8, &probing(3), None, &mut SearchStats::default())
    };
    assert_eq!(search(&opened), search(&index));
}

/// Few rows in the nearest lists, and none near the query that may be found: the processor looks further.
#[test]
fn as_many_rows_come_back_as_there_are() {
    let (base, query) = (clusters(2_600, 6, 0.0, 1), clusters(1, 6, 0.0, 2));
    let vectors = Vectors::new(&base, 6).unwrap();
    let index = build(&twin(), 60, Metric::L2, vectors, None);
    let params = probing(1);
    let search = |k: usize, allow: Option<&Bitset>| {
        index.search(vectors, &query, k, &params, allow, &mut SearchStats::default())
    };
    assert_eq!(search(600, None).len(), 600);
    assert_eq!(search(2_600, None).len(), 2_600);
    assert_eq!(search(0, None), []);
    // All rows but those of the query's own group, most of which its nearest list holds.
    let far = Bitset::from_fn(2_600, |row| row % 40 != 0);
    let mut stats = SearchStats::default();
    let elsewhere = index.search(
        vectors,
        &query,
        10,
        &on_processor(&params),
        Some(&far),
        &mut stats,
    );
    assert_eq!(elsewhere.len(), 10);
    assert_eq!(search(10, Some(&far)), elsewhere);
    assert_eq!(search(10, Some(&Bitset::new(2_600))), []);
}

#[test]
fn lists_stay_on_the_device_and_leave_with_the_index() {
    let device = twin();
    let base = clusters(1_000, 6, 0.0, 1);
    let vectors = Vectors::new(&base, 6).unwrap();
    let index = build(&device, 8, Metric::Cosine, vectors, None);
    assert_eq!(
        device.budget.free(),
        device.budget.limit(),
        "a build leaves nothing"
    );
    let mut stats = SearchStats::default();
    index.search(vectors, vectors.row(0), 2, &probing(2), None, &mut stats);
    let held = device.budget.limit() - device.budget.free();
    assert!((4 * 1_000 * 8..4 * 1_500 * 10).contains(&held), "{held} bytes");
    drop(index);
    assert_eq!(device.budget.free(), device.budget.limit());
}

#[test]
fn an_index_larger_than_the_memory_is_refused_with_the_sizes() {
    let base = clusters(1_000, 6, 0.0, 1);
    let vectors = Vectors::new(&base, 6).unwrap();
    let device = Device::new(Twin::new(), 20_000);
    let options = BuildOptions::default();
    let error = ivf_flat_on(&device, (8, Metric::L2), vectors, None, &options, ALWAYS)
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("an index GPU_IVF_FLAT needs ") && error.ends_with("20000 of 20000 are free"),
        "{error}"
    );
    // Room for the lists, and none for a search: the processor does it.
    let device = Device::new(Twin::new(), 70_000);
    let index = build(&device, 8, Metric::L2, vectors, None);
    let params = probing(8);
    let found = index.search(
        vectors,
        vectors.row(3),
        4,
        &params,
        None,
        &mut SearchStats::default(),
    );
    let exact = exact_search(
        Metric::L2,
        vectors,
        vectors.row(3),
        4,
        None,
        &mut SearchStats::default(),
    );
    assert_eq!(found, exact);
}

#[test]
fn a_number_of_lists_out_of_range_is_an_error() {
    let vectors = [0.0f32; 8];
    let vectors = Vectors::new(&vectors, 4).unwrap();
    let options = BuildOptions::default();
    let error = ivf_flat_on(&twin(), (0, Metric::L2), vectors, None, &options, ALWAYS).unwrap_err();
    assert_eq!(
        error.to_string(),
        "param 'nlist' (0) should be in range [1, 65536]"
    );
}

/// Single searches of many threads go to the device together, and each gets its own answer.
#[test]
fn searches_of_several_threads_are_answered_one_by_one() {
    let (rows, dim) = (3_000, 12);
    let data = clusters(rows, dim, 0.0, 11);
    let vectors = Vectors::new(&data, dim).unwrap();
    let index = build(&twin(), 16, Metric::L2, vectors, None);
    let queries = clusters(64, dim, 0.1, 12);
    let queries = Vectors::new(&queries, dim).unwrap();
    let stats = SearchStats::default();
    let of = |query: usize| (5 + query % 2, probing(4 + query as u32 % 2));
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (index, stats) = (&index, &stats);
            scope.spawn(move || {
                for query in (thread..64).step_by(8) {
                    let (k, params) = of(query);
                    let row = queries.row(query);
                    let found = index.search(vectors, row, k, &params, None, &mut stats.clone());
                    let alone = Vectors::new(row, dim).unwrap();
                    let expected = index.search_batch(vectors, alone, k, &params, None, &mut stats.clone());
                    assert_eq!(found, expected[0], "query {query}");
                }
            });
        }
    });
}

#[test]
fn a_batch_that_is_too_small_for_a_device_is_that_of_its_searches() {
    let (base, queries) = (clusters(2_600, 8, 0.0, 1), clusters(30, 8, 0.0, 2));
    let vectors = Vectors::new(&base, 8).unwrap();
    let queries = Vectors::new(&queries, 8).unwrap();
    let device = twin();
    let tuning = SearchTuning {
        least_work: usize::MAX,
        ..ALWAYS
    };
    let options = BuildOptions::default();
    let index = ivf_flat_on(&device, (24, Metric::L2), vectors, None, &options, tuning).unwrap();
    let params = probing(3);
    let (mut of_batch, mut of_searches) = (SearchStats::default(), SearchStats::default());
    let found = index.search_batch(vectors, queries, 5, &params, None, &mut of_batch);
    for (query, found) in found.iter().enumerate() {
        let query = queries.row(query);
        assert_eq!(
            &index.search(vectors, query, 5, &params, None, &mut of_searches),
            found
        );
    }
    assert_eq!(of_batch, of_searches);
    assert_eq!((of_batch.lists, of_batch.strategy), (90, Strategy::Lists));
    assert_eq!(device.budget.free(), device.budget.limit());
}

/// A thread of a pool that waits for others of its loop takes up other searches meanwhile: none of them may wait for what the
/// thread itself holds.
#[test]
fn searches_in_the_loops_of_a_pool_do_not_wait_for_themselves() {
    let (base, queries) = (clusters(3_000, 12, 0.0, 11), clusters(64, 12, 0.1, 12));
    let vectors = Vectors::new(&base, 12).unwrap();
    let device = twin();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(4).build().unwrap();
    for round in 0..6 {
        // Not yet on the device, so that the first searches upload them.
        let indexes: Vec<_> = (0..3)
            .map(|_| build(&device, 16, Metric::L2, vectors, None))
            .collect();
        pool.install(|| {
            (0..60usize).into_par_iter().for_each(|turn| {
                let (index, mut stats) = (&indexes[turn % 3], SearchStats::default());
                let params = probing(4);
                if turn % 2 == 0 {
                    let queries = Vectors::new(&queries, 12).unwrap();
                    let found = index.search_batch(vectors, queries, 5, &params, None, &mut stats);
                    assert_eq!(found.len(), 64);
                } else {
                    let query = &queries[turn % 64 * 12..][..12];
                    let found = index.search(vectors, query, 5, &params, None, &mut stats);
                    assert_eq!(found.len(), 5, "round {round}");
                }
            });
        });
    }
}
