//! Copies to the device and from it: through page-locked buffers that take turns, and beside kernels.

use std::sync::Arc;

use elanus_index::gpu::Backend;
use elanus_index::gpu::brute::{BruteForce, Rounds, Tuning};
use elanus_index::gpu::cuda::Cuda;
use elanus_index::{SearchStats, Vectors, exact_search_batch};

use crate::data::{METRICS, Rng, allow_percent};
use crate::device::{Lent, lend};

/// Words of a page-locked buffer, and of the largest copies that go without one.
const BUFFER: usize = 1 << 20;
const FEW: usize = 1 << 14;

fn pattern(length: usize, seed: u64) -> Vec<u32> {
    let mut rng = Rng(seed);
    (0..length).map(|_| rng.bits() as u32).collect()
}

#[test]
fn what_is_written_is_what_is_read_whatever_its_size() {
    let Some(lent) = lend() else { return };
    let backend = &lent.device.backend;
    for seed in [0, 1, 2] {
        lent.set_seed(seed);
        for (at, length) in [
            (0, 1),
            (3, FEW),
            (0, FEW + 1),
            (9, BUFFER + 5),
            (1, 6 * BUFFER + 7),
        ] {
            let mut buffer = backend.allocate(at + length).unwrap();
            backend.write(&mut buffer, 0, &vec![7u32; at]).unwrap();
            let mut values = pattern(length, seed);
            backend.write(&mut buffer, at, &values).unwrap();
            // It may be changed as soon as the call is done.
            values.fill(0);
            let mut read = vec![0u32; at + length];
            backend.read(&buffer, &mut read).unwrap();
            let (before, written) = read.split_at(at);
            assert!(before.iter().all(|&word| word == 7));
            assert!(written == pattern(length, seed), "seed {seed}, {length} words");
            let outside = backend.write(&mut buffer, at + 1, &values);
            assert!(outside.unwrap_err().to_string().contains("leaves its buffer"));
        }
    }
    // However much was copied.
    assert_eq!(backend.staging_bytes(), 4 * 4 * BUFFER);
    if let Some(locked) = lent.locked_bytes() {
        assert!(locked >= backend.staging_bytes() && locked <= 3 * backend.staging_bytes());
    }
}

/// One buffer is written again and again beside kernels, each of which copies it before it is written the next time. How many of
/// those copies are right.
fn right_copies(lent: &Lent, length: usize, ignoring_waits: bool) -> usize {
    let backend = &lent.device.backend;
    let mut buffer = backend.allocate_beside(length).unwrap();
    let mut copies: Vec<_> = (0..6).map(|_| backend.allocate(length).unwrap()).collect();
    backend.synchronize().unwrap();
    lent.ignore_waits(ignoring_waits);
    for (turn, copy) in copies.iter_mut().enumerate() {
        backend
            .write_beside(&mut buffer, 0, &pattern(length, turn as u64))
            .unwrap();
        backend.copy(&buffer, copy).unwrap();
    }
    let is_right = |(turn, copy): (usize, &<Cuda as Backend>::Buffer)| {
        let mut words = vec![0u32; length];
        backend.read(copy, &mut words).unwrap();
        words == pattern(length, turn as u64)
    };
    let right = copies
        .iter()
        .enumerate()
        .map(is_right)
        .filter(|&right| right)
        .count();
    lent.ignore_waits(false);
    right
}

#[test]
fn copies_beside_kernels_wait_for_those_that_use_their_buffer_and_the_other_way_round() {
    let Some(lent) = lend() else { return };
    let mut wrong_without_waits = 0;
    for seed in 0..8 {
        for length in [5, FEW + 1, BUFFER + 1] {
            lent.set_seed(seed);
            assert_eq!(
                right_copies(&lent, length, false),
                6,
                "seed {seed}, {length} words"
            );
            if lent.is_emulated() && seed > 0 {
                wrong_without_waits += 6 - right_copies(&lent, length, true);
            }
        }
    }
    assert!(
        !lent.is_emulated() || wrong_without_waits > 20,
        "the emulated device shows missing waits: {wrong_without_waits} copies"
    );
}

#[test]
fn rows_go_to_the_device_while_others_are_compared() {
    let Some(lent) = lend() else { return };
    let (rows, dim) = (900, 6);
    let mut rng = Rng(61);
    let (base, queries) = (rng.normals(rows * dim), rng.normals(5 * dim));
    let (base, queries) = (
        Vectors::new(&base, dim).unwrap(),
        Vectors::new(&queries, dim).unwrap(),
    );
    let allow = allow_percent(rows, 50, 3);
    let tuning = Tuning {
        part_rows: Some(128),
        ..Tuning::default()
    };
    let beside = lent.started_beside();
    for seed in 0..4 {
        lent.set_seed(seed);
        for metric in METRICS {
            let search = BruteForce::new(Arc::clone(&lent.device), metric, tuning);
            for allow in [None, Some(&allow)] {
                let (mut stats, mut rounds) = (SearchStats::default(), Rounds::default());
                let found = search.search(base, queries, 9, allow, &mut stats, &mut rounds);
                let exact = exact_search_batch(metric, base, queries, 9, allow, &mut SearchStats::default());
                assert_eq!(found.unwrap(), exact, "{metric}, seed {seed}");
                assert!(rounds.ranges >= 8, "a part after the other");
            }
            assert_eq!(search.resident_bytes(), 0);
        }
    }
    assert!(
        beside.is_none() || lent.started_beside() > beside,
        "beside each other"
    );
    assert_eq!(lent.device.budget.free(), lent.device.budget.limit());
}
