//! GPU_CAGRA of vectors other than 32-bit floats: recall of the graph next to exact search, walked by the twin, by the emulated
//! kernels, and by the processor.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use elanus_index::gpu::backend::ElementType;
use elanus_index::gpu::cagra::CagraParams;
use elanus_index::gpu::twin::Twin;
use elanus_index::gpu::{Backend, Device, configure, typed_cagra_on};
use elanus_index::{
    AnyIndex, AnyMetric, BitMetric, Bitset, BuildError, BuildOptions, BuildParams, IndexKind, Metric,
    Neighbor, SearchParams, SearchStats, Strategy, VectorRef, VectorsRef, Window, exact_search_any,
};

use crate::cagra::{ALWAYS, PARAMS, clusters, search_params};
use crate::data::{NARROW, Narrow, Rng, Stop, allow_percent, metrics_of};
use crate::device::{emulated_options, lend};
use crate::ivf::twin;

/// Rows of a type around 30 centers; bits have more dimensions.
fn drawn(element: ElementType, rows: usize, seed: u64) -> Narrow {
    let dim = if element == ElementType::Bit { 40 } else { 12 };
    Narrow::new(element, dim, &clusters(rows, dim, seed))
}

/// Whoever opens an index may ask for the device of the process.
fn configure_process() {
    if lend().is_some_and(|lent| lent.is_emulated()) {
        configure(emulated_options());
    }
}

fn build<B: Backend + 'static>(
    device: &Arc<Device<B>>,
    (params, metric): (CagraParams, AnyMetric),
    rows: VectorsRef<'_>,
    valid: Option<&Bitset>,
) -> AnyIndex {
    let options = BuildOptions::default();
    typed_cagra_on(device, (params, metric), rows, valid, &options, ALWAYS).unwrap()
}

fn params_of(index: &AnyIndex) -> BuildParams {
    let AnyIndex::Typed(index) = index else {
        unreachable!("an index of dense vectors other than 32-bit floats")
    };
    index.params()
}

fn search(
    index: &AnyIndex,
    (rows, queries): (VectorsRef<'_>, VectorsRef<'_>),
    k: usize,
    params: &SearchParams,
    allow: Option<&Bitset>,
) -> (Vec<Vec<Neighbor>>, SearchStats) {
    let queries: Vec<VectorRef<'_>> = (0..queries.len()).map(|query| queries.row(query)).collect();
    let mut stats = SearchStats::default();
    let found = index.search_batch(rows, &queries, k, params, allow, &mut stats);
    (found.unwrap(), stats)
}

fn exact(
    index: &AnyIndex,
    rows: VectorsRef<'_>,
    query: VectorRef<'_>,
    k: usize,
    allow: Option<&Bitset>,
) -> Vec<Neighbor> {
    let stats = &mut SearchStats::default();
    exact_search_any(index.metric(), rows, query, k, Window::default(), allow, stats).unwrap()
}

/// The mean part of 10 rows that are as near as the true ones; whatever comes back may be found, and has its exact distance.
fn recall(
    index: &AnyIndex,
    (rows, queries): (VectorsRef<'_>, VectorsRef<'_>),
    params: &SearchParams,
    (valid, allow): (&Bitset, Option<&Bitset>),
    strategy: Strategy,
) -> f64 {
    let mut possible = valid.clone();
    if let Some(allow) = allow {
        possible.and(allow);
    }
    let (found, stats) = search(index, (rows, queries), 10, params, allow);
    assert_eq!(stats.strategy, strategy);
    let mut hits = 0;
    for (query, found) in found.iter().enumerate() {
        let all = exact(index, rows, queries.row(query), rows.len(), Some(&possible));
        let distances: HashMap<u32, f32> = all.iter().map(|one| (one.row, one.distance)).collect();
        assert_eq!(found.len(), 10);
        assert!(
            found.windows(2).all(|pair| pair[0] < pair[1]),
            "best first, none twice"
        );
        for one in found {
            assert_eq!(Some(&one.distance), distances.get(&one.row), "row {}", one.row);
        }
        hits += found.iter().filter(|one| one.distance <= all[9].distance).count();
    }
    hits as f64 / (10 * queries.len()) as f64
}

/// Every metric of every type, of which `turns` says some.
fn over<B: Backend + 'static>(device: &Arc<Device<B>>, count: usize, turns: impl Fn(usize) -> bool) {
    for element in NARROW {
        let (base, queries) = (drawn(element, count, 1), drawn(element, 12, 2));
        let sides = (base.rows(), queries.rows());
        let (valid, allow) = (allow_percent(count, 97, 3), allow_percent(count, 60, 4));
        for (_, metric) in metrics_of(element)
            .into_iter()
            .enumerate()
            .filter(|(turn, _)| turns(*turn))
        {
            let index = build(device, (PARAMS, metric), sides.0, Some(&valid));
            assert_eq!((index.kind(), index.rows()), (IndexKind::GpuCagra, count));
            let of = |params: &[(&str, &str)], allow: Option<&Bitset>| {
                let strategy = allow.map_or(Strategy::Graph, |_| Strategy::GraphFiltered);
                recall(&index, sides, &search_params(params), (&valid, allow), strategy)
            };
            let usual = of(&[], None);
            assert!(usual >= 0.9, "{element:?} {metric}: recall {usual}");
            let wide = of(
                &[("itopk_size", "128"), ("search_width", "4"), ("team_size", "2")],
                None,
            );
            assert!(wide >= 0.95, "{element:?} {metric}: recall {wide} of a long list");
            let filtered = of(&[], Some(&allow));
            assert!(
                filtered >= 0.9,
                "{element:?} {metric}: recall {filtered} with a filter"
            );
        }
    }
}

#[test]
fn the_twin_finds_the_nearest_rows_of_every_type_and_metric() {
    over(&twin(), 1_200, |_| true);
}

#[test]
fn several_walks_of_a_query_find_them_too() {
    // As many multiprocessors as leave several walks to each of few queries.
    let device = Device::new(Twin::with_multiprocessors(100), 1 << 30);
    over(&device, 800, |turn| turn == 1);
}

#[test]
fn the_kernels_find_the_nearest_rows_of_every_type() {
    let Some(lent) = lend() else { return };
    lent.set_seed(5);
    over(&lent.device, 400, |turn| turn == 0);
}

#[test]
fn the_processor_walks_the_same_graph_and_every_machine_reads_the_blob() {
    let count = 2_500;
    let device = twin();
    configure_process();
    for element in NARROW {
        let (base, queries) = (drawn(element, count, 1), drawn(element, 20, 2));
        let sides = (base.rows(), queries.rows());
        let valid = allow_percent(count, 97, 3);
        for metric in metrics_of(element) {
            for adapt_for_cpu in [true, false] {
                let params = CagraParams {
                    adapt_for_cpu,
                    ..PARAMS
                };
                let index = build(&device, (params, metric), sides.0, Some(&valid));
                let free = device.budget.free();
                assert_eq!(free, device.budget.limit(), "a build leaves nothing");
                let opened = AnyIndex::open(index.serialize().into()).unwrap();
                assert_eq!(params_of(&opened), BuildParams::GpuCagra(params));
                assert_eq!(opened.serialize(), index.serialize());
                // Too little for a device, if there is one.
                let (found, stats) = search(&opened, sides, 10, &search_params(&[("ef", "16")]), None);
                assert!(stats.hops > 0 && found.len() == queries.rows().len());
                for index in [&index, &opened].into_iter().skip(usize::from(!adapt_for_cpu)) {
                    let params = search_params(&[("ef", "100")]);
                    let recall = recall(index, sides, &params, (&valid, None), Strategy::Graph);
                    assert!(recall >= 0.9, "{element:?} {metric}: recall {recall}");
                }
                assert_eq!(device.budget.free(), free, "searched without the device");
            }
        }
    }
}

#[test]
fn small_and_awkward_sets_of_every_type_are_found_as_a_whole() {
    let device = twin();
    for element in NARROW {
        let dim = if element == ElementType::Bit { 64 } else { 6 };
        let values = Rng(9).normals(20 * dim);
        for (count, distinct) in [(0usize, 1usize), (1, 1), (2, 2), (20, 20), (300, 1), (300, 3)] {
            let all: Vec<f32> = (0..count)
                .flat_map(|row| &values[row % distinct * dim..][..dim])
                .copied()
                .collect();
            let base = Narrow::new(element, dim, &all);
            let query = Narrow::new(element, dim, &values[..dim]);
            let (rows, query) = (base.rows(), query.rows());
            for metric in metrics_of(element) {
                let index = build(&device, (PARAMS, metric), rows, None);
                for k in [1, 10, 1_000] {
                    let (found, _) = search(&index, (rows, query), k, &SearchParams::default(), None);
                    let exact = exact(&index, rows, query.row(0), k, None);
                    let distances =
                        |found: &[Neighbor]| found.iter().map(|one| one.distance).collect::<Vec<_>>();
                    assert_eq!(
                        distances(&found[0]),
                        distances(&exact),
                        "{element:?} {metric}, {count} rows, {distinct} distinct"
                    );
                }
            }
        }
    }
}

#[test]
fn what_a_device_is_not_asked_for_is_answered_too() {
    let device = twin();
    for element in NARROW {
        let base = drawn(element, 2_000, 1);
        let (rows, metric) = (base.rows(), metrics_of(element)[0]);
        let index = build(&device, (PARAMS, metric), rows, None);
        let query = rows.row(9);
        let search = |k: usize, params: &SearchParams, allow: Option<&Bitset>| {
            let stats = &mut SearchStats::default();
            index.search(rows, query, k, params, allow, stats).unwrap()
        };
        // More than a list on a device holds; very few rows; a window.
        assert_eq!(search(1_500, &SearchParams::default(), None).len(), 1_500);
        let few = Bitset::from_fn(2_000, |row| row % 100 == 1);
        let expected = exact(&index, rows, query, 10, Some(&few));
        assert_eq!(search(10, &SearchParams::default(), Some(&few)), expected);
        let nearest = exact(&index, rows, query, 10, None);
        let within = SearchParams {
            within: Window::new(Some(nearest[2].distance), None),
            ..SearchParams::default()
        };
        let found = search(3, &within, None);
        assert!(found.iter().all(|one| one.distance >= nearest[2].distance));
        assert_eq!(found[0].distance, nearest[2].distance, "{element:?}");
        let (free, limit) = (device.budget.free(), device.budget.limit());
        assert_eq!(free, limit, "none of it was for the device");
    }
}

#[test]
fn single_searches_of_several_threads_go_together() {
    let base = drawn(ElementType::Half, 1_000, 1);
    let rows = base.rows();
    let index = build(&twin(), (PARAMS, Metric::L2.into()), rows, None);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let index = &index;
            scope.spawn(move || {
                for row in (thread..1_000).step_by(40) {
                    let (params, stats) = (SearchParams::default(), &mut SearchStats::default());
                    let found = index
                        .search(rows, rows.row(row), 3, &params, None, stats)
                        .unwrap();
                    assert_eq!(found[0].row as usize, row);
                }
            });
        }
    });
}

fn several(count: usize, limit: usize) -> Arc<Device<Twin>> {
    let peers = (1..count).map(|_| Device::new(Twin::new(), limit)).collect();
    Device::with_peers(Twin::new(), limit, peers)
}

/// Rows lie on a device as they are stored, links and two numbers beside them; several devices have copies, or parts.
#[test]
fn devices_have_copies_of_a_graph_or_parts_of_it() {
    let (count, dim) = (1_000, 256);
    for (element, words) in [
        (ElementType::Half, 128),
        (ElementType::BFloat16, 128),
        (ElementType::Int8, 64),
        (ElementType::Bit, 8),
    ] {
        let base = Narrow::new(element, dim, &clusters(count, dim, 1));
        let queries = Narrow::new(element, dim, &clusters(12, dim, 2));
        let sides = (base.rows(), queries.rows());
        let metric = metrics_of(element)[0];
        let all = (&Bitset::full(count), None);
        let bytes = 4 * count * (words + PARAMS.degree as usize + 2);
        let params = SearchParams::default();
        let one = twin();
        let of_one = build(&one, (PARAMS, metric), sides.0, None);
        let expected = search(&of_one, sides, 10, &params, None).0;
        assert_eq!(one.budget.limit() - one.budget.free(), bytes, "{element:?}");
        let recall_of_one = recall(&of_one, sides, &params, all, Strategy::Graph);

        let copies = build(&several(3, 1 << 30), (PARAMS, metric), sides.0, None);
        assert_eq!(copies.serialize(), of_one.serialize());
        assert_eq!(
            search(&copies, sides, 10, &params, None).0,
            expected,
            "{element:?}"
        );

        // The graph is more than two thirds of what is free on a device once it is built.
        let (peer, limit) = (twin(), bytes / 4 * 5);
        let device = Device::with_peers(Twin::new(), 1 << 30, vec![Arc::clone(&peer)]);
        let parts = build(&device, (PARAMS, metric), sides.0, None);
        let taken = [&device, &peer].map(|one| one.budget.reserve("a test", (1 << 30) - limit).unwrap());
        assert_eq!(parts.serialize(), of_one.serialize(), "one graph in the blob");
        let of_parts = recall(&parts, sides, &params, all, Strategy::Graph);
        assert!(
            of_parts >= recall_of_one,
            "{element:?}: {of_parts}, of one {recall_of_one}"
        );
        for device in [&device, &peer] {
            let held = limit - device.budget.free();
            assert!(
                (bytes / 2..bytes / 2 + bytes / 10).contains(&held),
                "{held} of {bytes}"
            );
        }
        drop(taken);

        let tiny = Device::new(Twin::new(), bytes / 2);
        let options = BuildOptions::default();
        let refused = typed_cagra_on(&tiny, (PARAMS, metric), sides.0, None, &options, ALWAYS);
        let error = refused.unwrap_err().to_string();
        let wanted = format!("an index GPU_CAGRA needs {bytes} bytes of GPU memory, ");
        assert!(error.contains(&wanted), "{error}");
    }
}

#[test]
fn builds_report_progress_and_can_be_cancelled() {
    let device = twin();
    for element in [ElementType::Int8, ElementType::Bit] {
        let base = drawn(element, 400, 1);
        for after in [0, 1, usize::MAX] {
            let progress = Stop::at(after);
            let options = BuildOptions {
                progress: &progress,
                ..BuildOptions::default()
            };
            let of_index = (PARAMS, metrics_of(element)[0]);
            let graph = typed_cagra_on(&device, of_index, base.rows(), None, &options, ALWAYS);
            if after < usize::MAX {
                assert!(matches!(graph, Err(BuildError::Cancelled)), "{after}");
            } else {
                assert!(graph.is_ok());
                assert_eq!(progress.done(), 400);
            }
            assert_eq!(device.budget.free(), device.budget.limit());
        }
    }
}

#[test]
fn metrics_that_a_type_has_not_are_refused_by_name() {
    let (halves, bits) = (drawn(ElementType::Half, 40, 1), drawn(ElementType::Bit, 40, 1));
    for (metric, rows) in [
        (AnyMetric::from(Metric::L2), bits.rows()),
        (BitMetric::Hamming.into(), halves.rows()),
    ] {
        let options = BuildOptions::default();
        let built = typed_cagra_on(&twin(), (PARAMS, metric), rows, None, &options, ALWAYS);
        let error = built.unwrap_err().to_string();
        assert!(
            error.contains("GPU_CAGRA") && error.contains(&metric.to_string()),
            "{error}"
        );
    }
}

/// As its users see it, over the device of the process.
#[test]
fn an_index_of_every_type_is_built_saved_opened_and_searched_on_the_device() {
    configure_process();
    let Some(lent) = lend() else { return };
    let asked = BTreeMap::from([
        ("graph_degree".to_owned(), "8".to_owned()),
        ("intermediate_graph_degree".to_owned(), "12".to_owned()),
    ]);
    let params = BuildParams::parse("GPU_CAGRA", &asked).unwrap();
    let count = 400;
    for element in NARROW {
        // So many queries of so many numbers as make the device worthwhile.
        let dim = if element == ElementType::Bit { 2_048 } else { 64 };
        let base = Narrow::new(element, dim, &Rng(5).normals(count * dim));
        let queries = Narrow::new(element, dim, &Rng(6).normals(90 * dim));
        let sides = (base.rows(), queries.rows());
        let metric = metrics_of(element)[0];
        let started = lent.launches();
        let built = AnyIndex::build(&params, metric, sides.0, None, &BuildOptions::default());
        let built = built.unwrap();
        let after = lent.launches();
        assert!(started.is_none() || after > started, "built on the device");
        let opened = AnyIndex::open(built.serialize().into()).unwrap();
        assert_eq!((params_of(&opened), opened.batches()), (params, true));
        let started = lent.launches();
        let wide = search_params(&[("itopk_size", "400")]);
        let all = (&Bitset::full(count), None);
        let recall = recall(&opened, sides, &wide, all, Strategy::Graph);
        assert!(recall >= 0.95, "{element:?}: recall {recall}");
        let after = lent.launches();
        assert!(started.is_none() || after > started, "searched on the device");
        // One search is too little for it.
        let stats = &mut SearchStats::default();
        let found = opened.search(sides.0, sides.0.row(77), 3, &wide, None, stats);
        assert_eq!(found.unwrap()[0].row, 77);
        assert_eq!(lent.launches(), after);
    }
}
