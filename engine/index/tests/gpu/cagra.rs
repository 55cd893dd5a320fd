//! GPU_CAGRA: recall of the graph, walked by the twin, by the emulated kernels, and by the processor.

use std::collections::BTreeMap;
use std::sync::Arc;

use elanus_index::gpu::cagra::CagraParams;
use elanus_index::gpu::twin::Twin;
use elanus_index::gpu::{Backend, Device, SearchTuning, cagra_on, configure, device};
use elanus_index::{
    AnyIndex, Bitset, BuildError, BuildOptions, BuildParams, IndexKind, Metric, Neighbor, SearchParams,
    SearchStats, Strategy, VectorIndex, Vectors, VectorsRef, Window, exact_search, open,
};

use crate::data::{METRICS, Rng, Stop, allow_percent};
use crate::device::{emulated_options, lend};

pub const ALWAYS: SearchTuning = SearchTuning {
    queries: 5,
    least_work: 0,
};
pub const PARAMS: CagraParams = CagraParams {
    degree: 16,
    intermediate_degree: 32,
    adapt_for_cpu: false,
};

fn twin() -> Arc<Device<Twin>> {
    Device::new(Twin::new(), 1 << 30)
}

/// Rows around 30 centers.
pub fn clusters(rows: usize, dim: usize, seed: u64) -> Vec<f32> {
    let mut rng = Rng(seed);
    let centers = Rng(78).normals(30 * dim);
    let mut data = Vec::with_capacity(rows * dim);
    for row in 0..rows {
        let center = &centers[row % 30 * dim..][..dim];
        data.extend(center.iter().map(|value| value + 0.4 * rng.normal()));
    }
    data
}

fn build<B: Backend + 'static>(
    device: &Arc<Device<B>>,
    params: CagraParams,
    metric: Metric,
    vectors: Vectors<'_>,
    valid: Option<&Bitset>,
) -> Arc<dyn VectorIndex> {
    let options = BuildOptions::default();
    cagra_on(device, (params, metric), vectors, valid, &options, ALWAYS).unwrap()
}

pub fn search_params(pairs: &[(&str, &str)]) -> SearchParams {
    let pairs: BTreeMap<String, String> = pairs
        .iter()
        .map(|&(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    SearchParams::parse(IndexKind::GpuCagra, &pairs, 10).unwrap()
}

/// The mean part of the true 10 nearest rows that comes back.
fn recall(
    index: &dyn VectorIndex,
    vectors: Vectors<'_>,
    queries: Vectors<'_>,
    params: &SearchParams,
    (valid, allow): (&Bitset, Option<&Bitset>),
    strategy: Strategy,
) -> f64 {
    let mut possible = valid.clone();
    if let Some(allow) = allow {
        possible.and(allow);
    }
    let mut stats = SearchStats::default();
    let found = index.search_batch(vectors, queries, 10, params, allow, &mut stats);
    assert_eq!(stats.strategy, strategy);
    let mut hits = 0;
    for (query, found) in found.iter().enumerate() {
        let mut ignored = SearchStats::default();
        let query = queries.row(query);
        let exact = exact_search(index.metric(), vectors, query, 10, Some(&possible), &mut ignored);
        assert_eq!(found.len(), 10);
        assert!(found.is_sorted(), "best first");
        for neighbor in found {
            assert!(
                possible.get(neighbor.row as usize),
                "row {} may not be found",
                neighbor.row
            );
            let distance = index.metric().distance(query, vectors.row(neighbor.row as usize));
            assert_eq!(neighbor.distance, distance);
        }
        hits += found.iter().filter(|neighbor| exact.contains(neighbor)).count();
    }
    hits as f64 / (10 * queries.len()) as f64
}

fn over<B: Backend + 'static>(device: &Arc<Device<B>>, rows: usize, metrics: &[Metric]) {
    let dim = 10;
    let (base, queries) = (clusters(rows, dim, 1), clusters(12, dim, 2));
    let (vectors, queries) = (
        Vectors::new(&base, dim).unwrap(),
        Vectors::new(&queries, dim).unwrap(),
    );
    let valid = allow_percent(rows, 97, 3);
    let allow = allow_percent(rows, 60, 4);
    for &metric in metrics {
        let index = build(device, PARAMS, metric, vectors, Some(&valid));
        assert_eq!(index.kind(), IndexKind::GpuCagra);
        let all = (&valid, None);
        let usual = recall(
            &*index,
            vectors,
            queries,
            &search_params(&[]),
            all,
            Strategy::Graph,
        );
        assert!(usual >= 0.9, "{metric}: recall {usual}");
        let wide = search_params(&[("itopk_size", "128"), ("search_width", "4"), ("team_size", "2")]);
        let wide = recall(&*index, vectors, queries, &wide, all, Strategy::Graph);
        assert!(
            wide >= 0.95 && wide >= usual - 0.02,
            "{metric}: recall {wide}, {usual}"
        );
        let some = (&valid, Some(&allow));
        let filtered = recall(
            &*index,
            vectors,
            queries,
            &search_params(&[]),
            some,
            Strategy::GraphFiltered,
        );
        assert!(filtered >= 0.9, "{metric}: recall {filtered} with a filter");
        // One round of four walks of 32 nodes each sees where they start and the links of one node of each.
        let mut stats = SearchStats::default();
        let one = search_params(&[("max_iterations", "1"), ("itopk_size", "40")]);
        index.search(vectors, queries.row(0), 10, &one, None, &mut stats);
        assert!((128..=4 * (32 + 16)).contains(&stats.distances), "{stats:?}");
    }
}

#[test]
fn the_twin_finds_the_nearest_rows() {
    over(&twin(), 1_500, &METRICS);
}

#[test]
fn the_kernels_find_the_nearest_rows() {
    let Some(lent) = lend() else { return };
    lent.set_seed(3);
    over(&lent.device, 600, &[Metric::L2, Metric::Cosine]);
}

#[test]
fn the_processor_walks_the_same_graph() {
    let (rows, dim) = (2_500, 10);
    let (base, queries) = (clusters(rows, dim, 1), clusters(20, dim, 2));
    let (vectors, queries) = (
        Vectors::new(&base, dim).unwrap(),
        Vectors::new(&queries, dim).unwrap(),
    );
    let valid = allow_percent(rows, 97, 3);
    let adapted = CagraParams {
        adapt_for_cpu: true,
        ..PARAMS
    };
    let device = twin();
    for metric in METRICS {
        let index = build(&device, adapted, metric, vectors, Some(&valid));
        assert_eq!(
            device.budget.free(),
            device.budget.limit(),
            "a build leaves nothing"
        );
        let opened = open(index.serialize().into()).unwrap();
        assert_eq!(opened.params(), BuildParams::GpuCagra(adapted));
        assert_eq!(opened.serialize(), index.serialize());
        for index in [&index, &opened] {
            let params = search_params(&[("ef", "100")]);
            let all = (&valid, None);
            let recall = recall(&**index, vectors, queries, &params, all, Strategy::Graph);
            assert!(recall >= 0.9, "{metric}: recall {recall}");
        }
        assert_eq!(
            device.budget.free(),
            device.budget.limit(),
            "searched without the device"
        );
    }
}

#[test]
fn an_index_is_built_saved_opened_and_searched_on_the_device() {
    let Some(lent) = lend() else { return };
    if lent.is_emulated() {
        configure(emulated_options());
    }
    assert!(device().is_ok());
    let asked = BTreeMap::from([
        ("graph_degree".to_owned(), "8".to_owned()),
        ("intermediate_graph_degree".to_owned(), "12".to_owned()),
    ]);
    let params = BuildParams::parse("GPU_CAGRA", &asked).unwrap();
    assert_eq!(BuildParams::parse("GPU_CAGRA", &params.to_map()), Ok(params));
    let dim = 3_000;
    let base = Rng(5).normals(400 * dim);
    let vectors = Vectors::new(&base, dim).unwrap();
    let started = lent.launches();
    let index = AnyIndex::build(
        &params,
        Metric::L2.into(),
        VectorsRef::Floats(vectors),
        None,
        &BuildOptions::default(),
    );
    let blob = index.unwrap().serialize();
    assert!(
        started.is_none() || lent.launches() > started,
        "built on the device"
    );
    let AnyIndex::Dense(index) = AnyIndex::open(blob.into()).unwrap() else {
        unreachable!("an index of 32-bit floats")
    };
    let started = lent.launches();
    let mut stats = SearchStats::default();
    let wide = search_params(&[("itopk_size", "400")]);
    let found = index.search(vectors, vectors.row(77), 3, &wide, None, &mut stats);
    assert_eq!(found[0].row, 77);
    assert!(
        started.is_none() || lent.launches() > started,
        "searched on the device"
    );
}

#[test]
fn small_and_awkward_sets_are_found_as_a_whole() {
    let device = twin();
    for (rows, distinct) in [(0usize, 1usize), (1, 1), (2, 2), (20, 20), (300, 1), (300, 3)] {
        let base: Vec<f32> = (0..rows)
            .flat_map(|row| vec![(row % distinct) as f32 + 1.0; 6])
            .collect();
        let vectors = Vectors::new(&base, 6).unwrap();
        for metric in METRICS {
            let index = build(&device, PARAMS, metric, vectors, None);
            for k in [1, 10, 1_000] {
                let params = SearchParams::default();
                let query = [1.0; 6];
                let found = index.search(vectors, &query, k, &params, None, &mut SearchStats::default());
                assert_eq!(
                    found.len(),
                    k.min(rows),
                    "{metric}, {rows} rows, {distinct} distinct"
                );
                let exact = exact_search(metric, vectors, &query, k, None, &mut SearchStats::default());
                let distances = |found: &[Neighbor]| found.iter().map(|one| one.distance).collect::<Vec<_>>();
                assert_eq!(distances(&found), distances(&exact));
            }
        }
    }
}

#[test]
fn what_a_device_is_not_asked_for_is_answered_too() {
    let base = clusters(2_000, 8, 1);
    let vectors = Vectors::new(&base, 8).unwrap();
    let device = twin();
    let index = build(&device, PARAMS, Metric::L2, vectors, None);
    let search = |k: usize, params: &SearchParams, allow: Option<&Bitset>| {
        index.search(
            vectors,
            vectors.row(9),
            k,
            params,
            allow,
            &mut SearchStats::default(),
        )
    };
    let exact = |allow: Option<&Bitset>| {
        exact_search(
            Metric::L2,
            vectors,
            vectors.row(9),
            10,
            allow,
            &mut SearchStats::default(),
        )
    };
    // More than a list on a device holds; very few rows; a window.
    assert_eq!(search(1_500, &SearchParams::default(), None).len(), 1_500);
    let few = Bitset::from_fn(2_000, |row| row % 100 == 1);
    assert_eq!(
        search(10, &SearchParams::default(), Some(&few)),
        exact(Some(&few))
    );
    let nearest = exact(None);
    let within = SearchParams {
        within: Window::new(Some(nearest[2].distance), None),
        ..SearchParams::default()
    };
    assert_eq!(search(5, &within, None)[..3], nearest[2..5]);
    assert_eq!(
        device.budget.free(),
        device.budget.limit(),
        "none of it was for the device"
    );
}

#[test]
fn parameters_of_a_search_are_checked() {
    for (name, value, text) in [
        (
            "team_size",
            "3",
            "param 'team_size' (3) should be one of 0, 2, 4, 8, 16, 32",
        ),
        (
            "search_width",
            "0",
            "param 'search_width' (0) should be in range [1, 2147483647]",
        ),
        (
            "itopk_size",
            "0",
            "param 'itopk_size' (0) should be in range [1, 2147483647]",
        ),
        (
            "max_iterations",
            "-1",
            "param 'max_iterations' (-1) should be in range [0, 2147483647]",
        ),
    ] {
        let params = BTreeMap::from([(name.to_owned(), value.to_owned())]);
        let error = SearchParams::parse(IndexKind::GpuCagra, &params, 10).unwrap_err();
        assert_eq!(error.to_string(), text);
    }
}

#[test]
fn an_index_larger_than_the_memory_is_refused_with_the_sizes() {
    let base = clusters(1_000, 8, 1);
    let vectors = Vectors::new(&base, 8).unwrap();
    let options = BuildOptions::default();
    for limit in [60_000, 120_000] {
        let device = Device::new(Twin::new(), limit);
        let built = cagra_on(&device, (PARAMS, Metric::L2), vectors, None, &options, ALWAYS);
        let error = built.unwrap_err().to_string();
        assert!(
            error.contains(" bytes of GPU memory, ") && error.ends_with(&format!("of {limit} are free")),
            "{error}"
        );
    }
}

#[test]
fn builds_report_progress_and_can_be_cancelled() {
    let base = clusters(400, 8, 1);
    let vectors = Vectors::new(&base, 8).unwrap();
    let device = twin();
    for after in [0, 3, usize::MAX] {
        let progress = Stop::at(after);
        let options = BuildOptions {
            progress: &progress,
            ..BuildOptions::default()
        };
        let graph = cagra_on(&device, (PARAMS, Metric::L2), vectors, None, &options, ALWAYS);
        if after < usize::MAX {
            assert!(matches!(graph, Err(BuildError::Cancelled)), "{after}");
        } else {
            assert!(graph.is_ok());
            assert_eq!(progress.done(), 400);
        }
        assert_eq!(device.budget.free(), device.budget.limit());
    }
}
