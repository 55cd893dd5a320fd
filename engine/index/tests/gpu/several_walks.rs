//! GPU_CAGRA with few queries: several walks for each of them find at least what one does that keeps as much.

use std::collections::BTreeMap;
use std::sync::Arc;

use elanus_index::gpu::cagra::CagraParams;
use elanus_index::gpu::twin::Twin;
use elanus_index::gpu::{Backend, Device, SearchTuning, cagra_on};
use elanus_index::{
    Bitset, BuildOptions, IndexKind, Metric, SearchParams, SearchStats, Strategy, VectorIndex, Vectors,
    exact_search,
};

use crate::data::{Rng, allow_percent};
use crate::device::lend;

const PARAMS: CagraParams = CagraParams {
    degree: 16,
    intermediate_degree: 32,
    adapt_for_cpu: false,
};
const ALWAYS: SearchTuning = SearchTuning {
    queries: 64,
    least_work: 0,
};

fn keeping(itopk_size: usize) -> SearchParams {
    let pairs = BTreeMap::from([("itopk_size".to_owned(), itopk_size.to_string())]);
    SearchParams::parse(IndexKind::GpuCagra, &pairs, 10).unwrap()
}

/// An index, its rows and some queries.
struct Searched<'a> {
    index: &'a dyn VectorIndex,
    vectors: Vectors<'a>,
    queries: Vectors<'a>,
    k: usize,
    allow: Option<&'a Bitset>,
}

impl Searched<'_> {
    /// The mean part of the true nearest rows that comes back, asking for `at_once` queries at a time.
    fn recall(&self, itopk_size: usize, at_once: usize) -> f64 {
        let (params, mut hits) = (keeping(itopk_size), 0);
        for first in (0..self.queries.len()).step_by(at_once) {
            let dim = self.queries.dim();
            let end = (first + at_once).min(self.queries.len());
            let queries = Vectors::new(self.queries.rows(first, end - first), dim).unwrap();
            let mut stats = SearchStats::default();
            let found =
                self.index
                    .search_batch(self.vectors, queries, self.k, &params, self.allow, &mut stats);
            assert!(
                matches!(stats.strategy, Strategy::Graph | Strategy::GraphFiltered),
                "walked on the device"
            );
            for (at, found) in found.iter().enumerate() {
                let metric = self.index.metric();
                let mut ignored = SearchStats::default();
                let query = queries.row(at);
                let exact = exact_search(metric, self.vectors, query, self.k, self.allow, &mut ignored);
                assert_eq!(found.len(), self.k);
                assert!(
                    found.windows(2).all(|pair| pair[0] < pair[1]),
                    "best first, none twice"
                );
                hits += found.iter().filter(|neighbor| exact.contains(neighbor)).count();
            }
        }
        hits as f64 / (self.k * self.queries.len()) as f64
    }
}

/// `centers` of 0 leave rows without order.
fn rows(count: usize, dim: usize, centers: usize, seed: u64) -> Vec<f32> {
    let mut rng = Rng(seed);
    let mut data = rng.normals(count * dim);
    let places = Rng(77).normals(centers * dim);
    if centers > 0 {
        for (row, values) in data.chunks_exact_mut(dim).enumerate() {
            let center = &places[row % centers * dim..][..dim];
            for (value, center) in values.iter_mut().zip(center) {
                *value = 0.8 * *value + center;
            }
        }
    }
    data
}

fn recalls_of_both<B: Backend + 'static>(device: &Arc<Device<B>>, count: usize, lists: &[usize]) {
    let dim = 16;
    for (centers, metric) in [(0, Metric::L2), (20, Metric::Cosine)] {
        let (base, queries) = (rows(count, dim, centers, 1), rows(16, dim, centers, 2));
        let (vectors, queries) = (
            Vectors::new(&base, dim).unwrap(),
            Vectors::new(&queries, dim).unwrap(),
        );
        let options = BuildOptions::default();
        let index = cagra_on(device, (PARAMS, metric), vectors, None, &options, ALWAYS).unwrap();
        let half = allow_percent(count, 50, 5);
        let filters = if centers == 0 {
            vec![None]
        } else {
            vec![None, Some(&half)]
        };
        for allow in filters {
            let searched = Searched {
                index: &*index,
                vectors,
                queries,
                k: 10,
                allow,
            };
            for &list in lists {
                // With 16 queries at a time an emulated device has enough to do.
                let (one, several) = (searched.recall(list, 16), searched.recall(list, 1));
                assert!(
                    several >= one,
                    "{metric}, {centers} centers, {list}: several walks {several}, one walk {one}"
                );
            }
        }
    }
}

#[test]
fn several_walks_of_the_twin_find_what_one_does() {
    recalls_of_both(&Device::new(Twin::new(), 1 << 30), 1_200, &[40, 100]);
}

#[test]
fn several_walks_of_the_kernels_find_what_one_does() {
    let Some(lent) = lend() else { return };
    lent.set_seed(5);
    recalls_of_both(&lent.device, 500, &[64]);
}

/// More than the shared memory of a block has room for.
#[test]
fn longer_lists_than_a_block_keeps_are_shared_by_walks() {
    let (count, dim) = (4_500, 8);
    let (base, queries) = (rows(count, dim, 0, 1), rows(2, dim, 0, 2));
    let (vectors, queries) = (
        Vectors::new(&base, dim).unwrap(),
        Vectors::new(&queries, dim).unwrap(),
    );
    let device = Device::new(Twin::with_multiprocessors(0), 1 << 30);
    let options = BuildOptions::default();
    let index = cagra_on(&device, (PARAMS, Metric::L2), vectors, None, &options, ALWAYS).unwrap();
    let searched = Searched {
        index: &*index,
        vectors,
        queries,
        k: 1_200,
        allow: None,
    };
    let recall = searched.recall(1_500, 3);
    assert!(recall >= 0.97, "recall {recall}");
    assert!(
        device.budget.free() < device.budget.limit(),
        "the graph is on the device"
    );
}
