//! GPU_CAGRA over several devices: copies of the graph, or parts of it where a device has no room for all.

use std::sync::Arc;

use elanus_index::gpu::cagra::CagraParams;
use elanus_index::gpu::cuda::open_all;
use elanus_index::gpu::twin::Twin;
use elanus_index::gpu::{Backend, Device, SearchTuning, cagra_on};
use elanus_index::{
    Bitset, BuildOptions, BuildParams, Metric, Neighbor, SearchParams, SearchStats, VectorIndex, Vectors,
    exact_search, open,
};

use crate::data::{Rng, allow_percent};
use crate::device::{emulated_options, lend};

const PARAMS: CagraParams = CagraParams {
    degree: 12,
    intermediate_degree: 16,
    adapt_for_cpu: false,
};
const ALWAYS: SearchTuning = SearchTuning {
    queries: 5,
    least_work: 0,
};

fn several(count: usize, limit: usize) -> Arc<Device<Twin>> {
    let peers = (1..count).map(|_| Device::new(Twin::new(), limit)).collect();
    Device::with_peers(Twin::new(), limit, peers)
}

/// Rows in no order, and how much of a device their graph takes.
struct Rows {
    base: Vec<f32>,
    queries: Vec<f32>,
    dim: usize,
}

impl Rows {
    fn new(count: usize, dim: usize) -> Self {
        let mut rng = Rng(31);
        let (base, queries) = (rng.normals(count * dim), rng.normals(12 * dim));
        Self { base, queries, dim }
    }

    fn vectors(&self) -> Vectors<'_> {
        Vectors::new(&self.base, self.dim).unwrap()
    }

    fn queries(&self) -> Vectors<'_> {
        Vectors::new(&self.queries, self.dim).unwrap()
    }

    fn graph_bytes(&self) -> usize {
        4 * self.vectors().len() * (self.dim + PARAMS.degree as usize + 2)
    }

    fn build<B: Backend + 'static>(&self, device: &Arc<Device<B>>, metric: Metric) -> Arc<dyn VectorIndex> {
        let options = BuildOptions::default();
        cagra_on(device, (PARAMS, metric), self.vectors(), None, &options, ALWAYS).unwrap()
    }

    fn search(&self, index: &dyn VectorIndex, allow: Option<&Bitset>) -> Vec<Vec<Neighbor>> {
        let params = SearchParams::default();
        let mut stats = SearchStats::default();
        index.search_batch(self.vectors(), self.queries(), 10, &params, allow, &mut stats)
    }

    fn recall(&self, metric: Metric, found: &[Vec<Neighbor>], allow: Option<&Bitset>) -> f64 {
        let mut hits = 0;
        for (query, found) in found.iter().enumerate() {
            let query = self.queries().row(query);
            let mut ignored = SearchStats::default();
            let exact = exact_search(metric, self.vectors(), query, 10, allow, &mut ignored);
            assert_eq!(found.len(), 10);
            assert!(
                found.windows(2).all(|pair| pair[0] < pair[1]),
                "best first, none twice"
            );
            hits += found.iter().filter(|neighbor| exact.contains(neighbor)).count();
        }
        hits as f64 / (10 * found.len()) as f64
    }
}

#[test]
fn devices_with_room_have_a_copy_each_and_share_the_queries() {
    let rows = Rows::new(800, 8);
    let (one, three) = (several(1, 1 << 30), several(3, 1 << 30));
    let (of_one, of_three) = (rows.build(&one, Metric::L2), rows.build(&three, Metric::L2));
    assert_eq!(of_one.serialize(), of_three.serialize());
    let allow = allow_percent(800, 60, 4);
    for allow in [None, Some(&allow)] {
        assert_eq!(rows.search(&*of_three, allow), rows.search(&*of_one, allow));
    }
    // Each query alone, on a device after the other.
    for query in 0..4 {
        let search = |index: &dyn VectorIndex| {
            let query = rows.queries().row(query);
            index.search(
                rows.vectors(),
                query,
                10,
                &SearchParams::default(),
                None,
                &mut SearchStats::default(),
            )
        };
        assert_eq!(search(&*of_three), search(&*of_one));
    }
    assert_eq!(one.budget.free(), three.budget.free());
    assert_eq!(one.budget.limit() - one.budget.free(), rows.graph_bytes());
}

#[test]
fn devices_without_room_have_a_part_each_and_every_query_walks_all_of_them() {
    let rows = Rows::new(1_000, 96);
    // More than two thirds of a device, and more than all that searches leave of it.
    let limit = rows.graph_bytes() / 4 * 5;
    let allow = allow_percent(1_000, 60, 4);
    let metric = Metric::Cosine;
    let of_one = rows.build(&several(1, 1 << 30), metric);
    for count in [2, 3] {
        let device = several(count, limit);
        let index = rows.build(&device, metric);
        assert_eq!(index.serialize(), of_one.serialize(), "one graph in the blob");
        for allow in [None, Some(&allow)] {
            let (found, expected) = (rows.search(&*index, allow), rows.search(&*of_one, allow));
            let [recall, of_one] = [&found, &expected].map(|found| rows.recall(metric, found, allow));
            assert!(
                recall >= of_one,
                "{metric}, {count} devices: recall {recall}, of one {of_one}"
            );
        }
        let held = device.budget.limit() - device.budget.free();
        let part = rows.graph_bytes() / count;
        assert!((part..part + part / 10).contains(&held), "{held} of {part}");
    }
}

#[test]
fn what_is_saved_is_opened_anywhere() {
    let rows = Rows::new(1_000, 96);
    let index = rows.build(&several(3, rows.graph_bytes() / 4 * 5), Metric::L2);
    let opened = open(index.serialize().into()).unwrap();
    assert_eq!(opened.params(), BuildParams::GpuCagra(PARAMS));
    assert_eq!(opened.serialize(), index.serialize());
    let params = SearchParams {
        ef: Some(200),
        ..SearchParams::default()
    };
    let mut stats = SearchStats::default();
    let found = opened.search_batch(rows.vectors(), rows.queries(), 10, &params, None, &mut stats);
    let recall = rows.recall(Metric::L2, &found, None);
    assert!(recall >= 0.9, "recall {recall} on a processor");
}

#[test]
fn an_index_that_all_devices_together_cannot_hold_is_refused() {
    let rows = Rows::new(500, 16);
    let options = BuildOptions::default();
    let limit = rows.graph_bytes() / 3;
    let built = cagra_on(
        &several(2, limit),
        (PARAMS, Metric::L2),
        rows.vectors(),
        None,
        &options,
        ALWAYS,
    );
    let error = built.unwrap_err().to_string();
    let wanted = format!(
        "an index GPU_CAGRA needs {} bytes of GPU memory, ",
        rows.graph_bytes()
    );
    assert!(error.contains(&wanted), "{error}");
}

/// Each has its own context, and copies that go to the memory of the other are refused.
#[test]
fn two_emulated_devices_walk() {
    let Some(lent) = lend() else { return };
    if !lent.is_emulated() {
        return;
    }
    let rows = Rows::new(400, 40);
    let of_one = rows.build(&several(1, 1 << 30), Metric::L2);
    // Room for copies, then for parts: the emulated device says that it has so much, 80 % of which may be used.
    for memory in [1 << 30, rows.graph_bytes() / 2 * 3] {
        lent.set_memory((memory + lent.used_bytes().unwrap()) as u64);
        let both = open_all(&emulated_options(), &[0, 1]).unwrap();
        let started = [0, 1].map(|device| lent.launches_of(device).unwrap());
        let index = rows.build(&both, Metric::L2);
        let found = rows.search(&*index, None);
        let (recall, of_one) = (
            rows.recall(Metric::L2, &found, None),
            rows.recall(Metric::L2, &rows.search(&*of_one, None), None),
        );
        assert!(recall >= of_one, "recall {recall}, of one {of_one}");
        for (device, started) in [0, 1].into_iter().zip(started) {
            let launches = lent.launches_of(device).unwrap() - started;
            assert!(launches > 0, "device {device} was asked");
        }
    }
}
