//! Exact search on a device finds what exact search on the processor finds, bit for bit; the twin and the emulated kernels
//! under the same tests, with sizes so small that every seam is crossed.

use std::sync::Arc;

use elanus_index::gpu::brute::{BruteForce, Rounds, Tuning};
use elanus_index::gpu::twin::Twin;
use elanus_index::gpu::{Backend, Device, GpuError};
use elanus_index::{Bitset, Metric, SearchStats, Strategy, Vectors, exact_search_batch};

use crate::data::{METRICS, Rng, allow_percent};
use crate::device::lend;

const SMALL: Tuning = Tuning {
    room: 96,
    queries: 5,
    part_rows: None,
};
const STREAMED: Tuning = Tuning {
    part_rows: Some(128),
    ..SMALL
};

fn twin() -> Arc<Device<Twin>> {
    Device::new(Twin::new(), 1 << 30)
}

/// Searches on a device and compares with the processor; what the device had to do.
fn check<B: Backend>(
    device: &Arc<Device<B>>,
    tuning: Tuning,
    metric: Metric,
    (rows, queries): (Vectors<'_>, Vectors<'_>),
    k: usize,
    allow: Option<&Bitset>,
) -> Rounds {
    let search = BruteForce::new(Arc::clone(device), metric, tuning);
    let mut expected_stats = SearchStats::default();
    let expected = exact_search_batch(metric, rows, queries, k, allow, &mut expected_stats);
    let mut last = Rounds::default();
    // The second search meets rows that are on the device already.
    for _ in 0..2 {
        let (mut stats, mut rounds) = (SearchStats::default(), Rounds::default());
        let found = search
            .search(rows, queries, k, allow, &mut stats, &mut rounds)
            .unwrap();
        assert!(found == expected, "{metric}, k {k}, {tuning:?}");
        assert_eq!(stats.distances, expected_stats.distances);
        last = rounds;
    }
    last
}

fn over_shapes<B: Backend>(device: &Arc<Device<B>>, dims: &[usize], batches: &[usize]) {
    let mut rng = Rng(5);
    for &dim in dims {
        let count = 300;
        let (base, queries) = (rng.normals(count * dim), rng.normals(60 * dim));
        let rows = Vectors::new(&base, dim).unwrap();
        let allows = [
            None,
            Some(allow_percent(count, 50, 2)),
            Some(allow_percent(count, 4, 3)),
            Some(Bitset::new(count)),
            // Ends early: rows beyond are not allowed.
            Some(Bitset::full(200)),
        ];
        for (turn, allow) in allows.iter().enumerate() {
            for &nq in batches {
                let some = Vectors::new(&queries[..nq * dim], dim).unwrap();
                let k = [1, 10, 3 * count][turn % 3];
                let metric = METRICS[(turn + nq) % 3];
                for tuning in [SMALL, STREAMED] {
                    let rounds = check(device, tuning, metric, (rows, some), k, allow.as_ref());
                    assert_eq!(rounds.exact, 0, "random rows need no second look: {rounds:?}");
                }
            }
        }
    }
}

#[test]
fn the_twin_finds_what_the_processor_finds() {
    over_shapes(&twin(), &[3, 4, 17], &[1, 5, 11]);
}

#[test]
fn the_kernels_find_what_the_processor_finds() {
    let Some(lent) = lend() else { return };
    let wide = Tuning { queries: 64, ..SMALL };
    over_shapes(&lent.device, &[18], &[1, 3, 7]);
    lent.set_seed(7);
    let mut rng = Rng(6);
    let (base, queries) = (rng.normals(500 * 30), rng.normals(60 * 30));
    let vectors = (
        Vectors::new(&base, 30).unwrap(),
        Vectors::new(&queries, 30).unwrap(),
    );
    for metric in METRICS {
        check(&lent.device, wide, metric, vectors, 7, None);
        check(
            &lent.device,
            Tuning::default(),
            metric,
            vectors,
            7,
            Some(&allow_percent(500, 30, 1)),
        );
    }
}

/// Rows that come nearer and nearer are the worst case: each is better than all before it.
fn sorted_rows<B: Backend>(device: &Arc<Device<B>>) {
    let (dim, count) = (4, 3_000);
    let base: Vec<f32> = (0..count)
        .flat_map(|row| vec![(count - row) as f32; dim])
        .collect();
    let rows = Vectors::new(&base, dim).unwrap();
    let queries = [0.5, 0.0, 0.25, 0.0, 9.0, 9.0, 9.0, 9.0];
    let queries = Vectors::new(&queries, dim).unwrap();
    let rounds = check(device, SMALL, Metric::L2, (rows, queries), 3, None);
    assert!(rounds.overflows > 0, "{rounds:?}");
    let allow = allow_percent(count, 70, 9);
    check(device, STREAMED, Metric::L2, (rows, queries), 3, Some(&allow));
}

#[test]
fn rows_that_come_nearer_and_nearer_are_compared_in_pieces() {
    sorted_rows(&twin());
    if let Some(lent) = lend() {
        sorted_rows(&lent.device);
    }
}

/// Rows of which the device cannot tell which are nearer: equal ones, some that differ by rounding only, far from the origin,
/// of numbers that overflow or vanish.
fn awkward_rows<B: Backend>(device: &Arc<Device<B>>) -> Vec<Rounds> {
    let (dim, count) = (8, 600);
    let mut rng = Rng(8);
    let mut all = Vec::new();
    for (scale, offset, repeated) in [
        (1.0, 0.0, 600),
        (1.0, 0.0, 40),
        (1.0, 0.0, 3),
        (1.0, 1e4, 1),
        (1e18, 0.0, 1),
        (1e-22, 0.0, 1),
        (0.0, 0.0, 1),
    ] {
        let mut base = Vec::new();
        while base.len() < count * dim {
            let row: Vec<f32> = rng
                .normals(dim)
                .iter()
                .map(|value| scale * (value + offset))
                .collect();
            for _ in 0..repeated {
                base.extend_from_slice(&row);
            }
        }
        base.truncate(count * dim);
        base[..dim].fill(0.0);
        let rows = Vectors::new(&base, dim).unwrap();
        let mut queries = base[5 * dim..9 * dim].to_vec();
        queries[dim..2 * dim].fill(0.0);
        let queries = Vectors::new(&queries, dim).unwrap();
        for metric in METRICS {
            all.push(check(device, SMALL, metric, (rows, queries), 5, None));
        }
    }
    all
}

#[test]
fn rows_that_a_device_cannot_tell_apart_are_told_apart() {
    let rounds = awkward_rows(&twin());
    assert!(
        rounds
            .iter()
            .any(|rounds| rounds.repeated > 0 && rounds.exact == 0),
        "{rounds:?}"
    );
    assert!(rounds.iter().any(|rounds| rounds.exact > 0), "{rounds:?}");
    if let Some(lent) = lend() {
        awkward_rows(&lent.device);
    }
}

#[test]
fn an_index_larger_than_the_memory_is_streamed_and_much_too_little_is_refused_with_the_sizes() {
    let (dim, count) = (64, 2_000);
    let mut rng = Rng(4);
    let (base, queries) = (rng.normals(count * dim), rng.normals(3 * dim));
    let vectors = (
        Vectors::new(&base, dim).unwrap(),
        Vectors::new(&queries, dim).unwrap(),
    );
    // The rows take half a megabyte.
    let device = Device::new(Twin::new(), 300_000);
    check(
        &device,
        SMALL,
        Metric::L2,
        vectors,
        5,
        Some(&allow_percent(count, 50, 1)),
    );
    assert_eq!(device.budget.free(), 300_000, "nothing stays");

    let device = Device::new(Twin::new(), 20_000);
    let search = BruteForce::new(device, Metric::L2, SMALL);
    let (mut stats, mut rounds) = (SearchStats::default(), Rounds::default());
    let error = search
        .search(vectors.0, vectors.1, 5, None, &mut stats, &mut rounds)
        .unwrap_err();
    assert!(matches!(error, GpuError::Memory { limit: 20_000, .. }), "{error}");
    assert!(error.to_string().contains("of 20000 are free"), "{error}");
    assert_eq!(stats, SearchStats::default(), "nothing was done");
}

#[test]
fn rows_stay_on_the_device_and_leave_with_the_index() {
    let device = twin();
    let (base, query) = (Rng(1).normals(1_000 * 6), Rng(2).normals(6));
    let (rows, query) = (Vectors::new(&base, 6).unwrap(), Vectors::new(&query, 6).unwrap());
    let search = BruteForce::new(Arc::clone(&device), Metric::Ip, SMALL);
    assert_eq!(search.resident_bytes(), 0);
    let (mut stats, mut rounds) = (SearchStats::default(), Rounds::default());
    search
        .search(rows, query, 2, None, &mut stats, &mut rounds)
        .unwrap();
    // Rows are padded to 8 floats, and each has its term.
    assert_eq!(search.resident_bytes(), 4 * 1_000 * 9);
    assert_eq!(stats.strategy, Strategy::Exact);
    drop(search);
    assert_eq!(device.budget.free(), device.budget.limit());
}

#[test]
fn searches_of_several_threads_take_turns() {
    let Some(lent) = lend() else { return };
    let (base, queries) = (Rng(1).normals(700 * 12), Rng(2).normals(9 * 12));
    let (rows, queries) = (
        Vectors::new(&base, 12).unwrap(),
        Vectors::new(&queries, 12).unwrap(),
    );
    let search = BruteForce::new(Arc::clone(&lent.device), Metric::L2, SMALL);
    let expected = exact_search_batch(Metric::L2, rows, queries, 4, None, &mut SearchStats::default());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let (mut stats, mut rounds) = (SearchStats::default(), Rounds::default());
                let found = search.search(rows, queries, 4, None, &mut stats, &mut rounds);
                assert_eq!(found.unwrap(), expected);
            });
        }
    });
}

/// A device without memory left: an error, no more, and all that was taken is given back.
#[test]
fn a_device_that_runs_out_of_memory_says_so_and_recovers() {
    let Some(lent) = lend() else { return };
    if !lent.is_emulated() {
        return;
    }
    let (base, query) = (Rng(1).normals(5_000 * 16), Rng(2).normals(16));
    let (rows, query) = (
        Vectors::new(&base, 16).unwrap(),
        Vectors::new(&query, 16).unwrap(),
    );
    let search = BruteForce::new(Arc::clone(&lent.device), Metric::L2, Tuning::default());
    let before = lent.used_bytes().unwrap();
    lent.set_memory(before as u64 + 350_000);
    let (mut stats, mut rounds) = (SearchStats::default(), Rounds::default());
    let error = search
        .search(rows, query, 3, None, &mut stats, &mut rounds)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the GPU failed to allocate memory: out of memory"
    );
    assert!(lent.used_bytes().unwrap() <= before + 350_000);
    lent.set_memory(1 << 30);
    search
        .search(rows, query, 3, None, &mut stats, &mut rounds)
        .unwrap();
    drop(search);
    assert_eq!(lent.used_bytes(), Some(before));
}
