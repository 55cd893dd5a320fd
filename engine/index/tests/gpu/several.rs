//! Several devices: each has a part of the rows, and the answer is that of one.

use std::sync::Arc;

use elanus_index::gpu::brute::{Rounds, Tuning};
use elanus_index::gpu::cuda::open_all;
use elanus_index::gpu::twin::Twin;
use elanus_index::gpu::{Backend, Device, PqParams, Shards, ivf_flat_on, ivf_pq_on};
use elanus_index::{
    Bitset, BuildOptions, Metric, Neighbor, SearchStats, VectorIndex, Vectors, exact_search_batch,
};

use crate::data::{METRICS, Rng, allow_percent};
use crate::device::{emulated_options, lend};
use crate::ivf::{ALWAYS, clusters, probing, twin};

fn three_twins() -> Arc<Device<Twin>> {
    Device::with_peers(Twin::new(), 1 << 30, vec![twin(), twin()])
}

fn exact_over<B: Backend>(device: &Arc<Device<B>>, rows: usize) {
    let mut rng = Rng(51);
    let dim = 6;
    let (base, queries) = (rng.normals(rows * dim), rng.normals(7 * dim));
    let (base, queries) = (
        Vectors::new(&base, dim).unwrap(),
        Vectors::new(&queries, dim).unwrap(),
    );
    let allow = allow_percent(rows, 40, 5);
    // All rows that may be found are on one device.
    let last = Bitset::from_fn(rows, |row| row + 9 >= rows);
    for metric in METRICS {
        let several = Shards::new(device, metric, Tuning::default());
        let of_one = Shards::new(&twin(), metric, Tuning::default());
        for allow in [None, Some(&allow), Some(&last)] {
            for k in [1, 12, rows + 5] {
                let search = |search: &dyn Fn(&mut SearchStats) -> Vec<Vec<Neighbor>>| {
                    let mut stats = SearchStats::default();
                    (search(&mut stats), stats)
                };
                let (found, stats) = search(&|stats| {
                    let rounds = &mut Rounds::default();
                    several.search(base, queries, k, allow, stats, rounds).unwrap()
                });
                let (expected, expected_stats) = search(&|stats| {
                    let rounds = &mut Rounds::default();
                    of_one.search(base, queries, k, allow, stats, rounds).unwrap()
                });
                let exact = exact_search_batch(metric, base, queries, k, allow, &mut SearchStats::default());
                assert_eq!(found, exact, "{metric}, {k} of {rows}");
                assert_eq!(found, expected);
                assert_eq!(stats, expected_stats);
            }
        }
        assert!(several.resident_bytes() >= 4 * rows * (dim + 1));
    }
}

#[test]
fn rows_of_several_devices_are_found_as_those_of_one() {
    for rows in [1, 100, 129, 1_000] {
        exact_over(&three_twins(), rows);
    }
}

fn lists_over<B: Backend + 'static>(one: &Arc<Device<B>>, several: &Arc<Device<B>>) {
    let dim = 12;
    let (base, queries) = (clusters(3_000, dim, 0.0, 1), clusters(12, dim, 0.0, 2));
    let vectors = Vectors::new(&base, dim).unwrap();
    let queries = Vectors::new(&queries, dim).unwrap();
    let valid = allow_percent(3_000, 95, 3);
    let allow = allow_percent(3_000, 70, 4);
    let options = BuildOptions::default();
    for metric in METRICS {
        let pq = PqParams {
            nlist: 20,
            m: 6,
            nbits: 8,
        };
        let build = |device: &Arc<Device<B>>| -> [Arc<dyn VectorIndex>; 2] {
            [
                ivf_flat_on(device, (20, metric), vectors, Some(&valid), &options, ALWAYS).unwrap(),
                ivf_pq_on(device, (pq, metric), vectors, Some(&valid), &options, ALWAYS).unwrap(),
            ]
        };
        for (of_one, of_several) in build(one).iter().zip(build(several)) {
            assert_eq!(of_one.serialize(), of_several.serialize());
            for allow in [None, Some(&allow)] {
                for nprobe in [1, 5, 10] {
                    let search = |index: &dyn VectorIndex| -> (Vec<Vec<Neighbor>>, SearchStats) {
                        let mut stats = SearchStats::default();
                        let params = probing(nprobe);
                        let found = index.search_batch(vectors, queries, 8, &params, allow, &mut stats);
                        (found, stats)
                    };
                    let (expected, expected_stats) = search(&**of_one);
                    let (found, stats) = search(&*of_several);
                    assert_eq!(stats, expected_stats, "{metric} {nprobe}");
                    // More candidates of codes are compared again than one device proposes.
                    let sum = |found: &[Vec<Neighbor>]| -> f32 {
                        found.iter().flatten().map(|neighbor| neighbor.distance).sum()
                    };
                    if of_one.kind().to_string() == "GPU_IVF_FLAT" {
                        assert_eq!(found, expected, "{metric} {nprobe}");
                    } else {
                        assert!(sum(&found) <= sum(&expected), "{metric} {nprobe}");
                    }
                }
            }
        }
    }
}

#[test]
fn lists_of_several_devices_are_found_as_those_of_one() {
    lists_over(&twin(), &three_twins());
}

/// Each has its own context, and copies that go to the memory of the other are refused.
#[test]
fn two_emulated_devices_share_the_work() {
    let Some(lent) = lend() else { return };
    if !lent.is_emulated() {
        return;
    }
    let both = open_all(&emulated_options(), &[1, 0]).unwrap();
    let started = [0, 1].map(|device| lent.launches_of(device).unwrap());
    exact_over(&both, 700);
    lists_over(&lent.device, &both);
    for (device, started) in [0, 1].into_iter().zip(started) {
        assert!(
            lent.launches_of(device).unwrap() > started,
            "device {device} was asked"
        );
    }
    let error = open_all(&emulated_options(), &[0, 1, 0]).unwrap_err().to_string();
    assert_eq!(error, "no GPU: device 0 was asked for twice");
    let error = open_all(&emulated_options(), &[0, 7]).unwrap_err().to_string();
    assert_eq!(error, "no GPU: device 7 was asked for, there are 2");
}

#[test]
fn an_index_may_need_the_memory_of_all_devices() {
    let base = clusters(2_000, 16, 0.0, 1);
    let vectors = Vectors::new(&base, 16).unwrap();
    let options = BuildOptions::default();
    let needed = 2_000 * 4 * 18;
    let small = || Device::new(Twin::new(), needed);
    let several = Device::with_peers(Twin::new(), needed, vec![small(), small()]);
    for (device, fits) in [(small(), false), (several, true)] {
        let built = ivf_flat_on(&device, (8, Metric::L2), vectors, None, &options, ALWAYS);
        assert_eq!(built.is_ok(), fits);
        let Ok(index) = built else { continue };
        let mut stats = SearchStats::default();
        let found = index.search(vectors, vectors.row(3), 4, &probing(2), None, &mut stats);
        assert_eq!(found[0].row, 3);
        assert!(device.budget.free() < needed, "a part of the lists is there");
    }
}
