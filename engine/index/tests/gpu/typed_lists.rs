//! GPU_IVF_FLAT and GPU_IVF_PQ of halves, bfloat16s and 8-bit integers: the answers of the same lists on the processor, over the twin
//! and over the emulated kernels.

use std::collections::BTreeMap;
use std::sync::Arc;

use elanus_index::gpu::backend::ElementType;
use elanus_index::gpu::twin::Twin;
use elanus_index::gpu::{Backend, Device, PqParams, SearchTuning, configure, typed_lists_on};
use elanus_index::{
    AnyIndex, Bitset, BuildOptions, BuildParams, IndexKind, Metric, Neighbor, SearchParams, SearchStats,
    Strategy, VectorRef, VectorsRef, Window, exact_search_any,
};

use crate::data::{METRICS, Narrow, Rng, allow_percent};
use crate::device::{emulated_options, lend};
use crate::ivf::{ALWAYS, clusters, on_processor, probing, recall, twin};

/// The types that have lists on a device besides 32-bit floats.
const TYPES: [ElementType; 3] = [ElementType::Half, ElementType::BFloat16, ElementType::Int8];

/// The processor searches everything.
const NEVER: SearchTuning = SearchTuning {
    least_work: usize::MAX,
    ..ALWAYS
};

const FLAT: BuildParams = BuildParams::GpuIvfFlat { nlist: 24 };

/// Who opens an index first decides what the device of the process is.
fn emulate() {
    if lend().is_some_and(|lent| lent.is_emulated()) {
        configure(emulated_options());
    }
}

fn build<B: Backend + 'static>(
    device: &Arc<Device<B>>,
    (params, metric): (BuildParams, Metric),
    rows: VectorsRef<'_>,
    valid: Option<&Bitset>,
    tuning: SearchTuning,
) -> AnyIndex {
    let options = BuildOptions::default();
    typed_lists_on(device, (params, metric), rows, valid, &options, tuning).unwrap()
}

fn search(
    index: &AnyIndex,
    (rows, queries): (VectorsRef<'_>, VectorsRef<'_>),
    k: usize,
    params: &SearchParams,
    allow: Option<&Bitset>,
    stats: &mut SearchStats,
) -> Vec<Vec<Neighbor>> {
    let queries: Vec<VectorRef<'_>> = (0..queries.len()).map(|query| queries.row(query)).collect();
    index
        .search_batch(rows, &queries, k, params, allow, stats)
        .unwrap()
}

fn exact(
    metric: Metric,
    (rows, queries): (VectorsRef<'_>, VectorsRef<'_>),
    k: usize,
    allow: Option<&Bitset>,
) -> Vec<Vec<Neighbor>> {
    let of_query = |query| {
        let (query, stats) = (queries.row(query), &mut SearchStats::default());
        exact_search_any(metric.into(), rows, query, k, Window::default(), allow, stats).unwrap()
    };
    (0..queries.len()).map(of_query).collect()
}

fn flat_over<B: Backend + 'static>(device: &Arc<Device<B>>, rows: usize, dim: usize) {
    let valid = allow_percent(rows, 97, 3);
    let allow = allow_percent(rows, 80, 4);
    for element in TYPES {
        let base = Narrow::new(element, dim, &clusters(rows, dim, 0.0, 1));
        let queries = Narrow::new(element, dim, &clusters(7, dim, 0.0, 2));
        let sides = (base.rows(), queries.rows());
        for metric in METRICS {
            let index = build(device, (FLAT, metric), sides.0, Some(&valid), ALWAYS);
            assert_eq!((index.kind(), index.rows()), (IndexKind::GpuIvfFlat, rows));
            for allow in [None, Some(&allow)] {
                let mut possible = valid.clone();
                if let Some(allow) = allow {
                    possible.and(allow);
                }
                let what = format!("{element:?} {metric}, filtered {}", allow.is_some());
                let exact = exact(metric, sides, 10, Some(&possible));
                for nprobe in [1, 4, 24] {
                    let (params, mut stats) = (probing(nprobe), SearchStats::default());
                    let found = search(&index, sides, 10, &params, allow, &mut stats);
                    let strategy = [Strategy::Lists, Strategy::ListsFiltered][usize::from(allow.is_some())];
                    assert_eq!(stats.strategy, strategy);
                    let ignored = &mut SearchStats::default();
                    for (query, found) in found.iter().enumerate() {
                        let query = sides.1.row(query);
                        let single = index.search(sides.0, query, 10, &params, allow, ignored).unwrap();
                        assert_eq!(&single, found, "{what}: alone");
                    }
                    if nprobe == 24 {
                        assert_eq!(found, exact, "{what}: all lists");
                        continue;
                    }
                    let of_lists = search(&index, sides, 10, &on_processor(&params), allow, ignored);
                    assert_eq!(found, of_lists, "{what}: {nprobe} lists");
                    let recall = recall(&found, &exact);
                    assert!(nprobe == 1 || recall >= 0.8, "{what}: recall {recall}");
                }
            }
        }
    }
}

#[test]
fn the_twin_finds_what_the_lists_hold() {
    flat_over(&twin(), 2_600, 18);
    flat_over(&twin(), 2_600, 8);
}

#[test]
fn the_kernels_find_what_the_lists_hold() {
    let Some(lent) = lend() else { return };
    lent.set_seed(5);
    flat_over(&lent.device, 1_500, 10);
}

fn codes_over<B: Backend + 'static>(
    device: &Arc<Device<B>>,
    rows: usize,
    (dim, m, nbits): (usize, u32, u32),
) {
    let (valid, allow) = (allow_percent(rows, 97, 3), allow_percent(rows, 80, 4));
    let pq = BuildParams::GpuIvfPq(PqParams { nlist: 24, m, nbits });
    for element in TYPES {
        let base = Narrow::new(element, dim, &clusters(rows, dim, 0.0, 1));
        let queries = Narrow::new(element, dim, &clusters(9, dim, 0.0, 2));
        let sides = (base.rows(), queries.rows());
        for metric in METRICS {
            let index = build(device, (pq, metric), sides.0, Some(&valid), ALWAYS);
            let of_processor = build(device, (pq, metric), sides.0, Some(&valid), NEVER);
            assert_eq!(index.kind(), IndexKind::GpuIvfPq);
            assert_eq!(index.serialize(), of_processor.serialize());
            for allow in [None, Some(&allow)] {
                let mut possible = valid.clone();
                if let Some(allow) = allow {
                    possible.and(allow);
                }
                let exact = exact(metric, sides, 10, Some(&possible));
                for nprobe in [1, 12] {
                    let (params, ignored) = (probing(nprobe), &mut SearchStats::default());
                    let found = search(&index, sides, 10, &params, allow, ignored);
                    let expected = search(&of_processor, sides, 10, &params, allow, ignored);
                    let same = found.iter().zip(&expected).filter(|(a, b)| a == b).count();
                    // Where the last candidate is drawn, the distance of a base may be rounded another way.
                    let what = format!("{element:?} {metric} {nprobe}");
                    assert!(same + 1 >= found.len(), "{what}: {same} are the same");
                    let recall = recall(&found, &exact);
                    assert!(nprobe == 1 || recall >= 0.7, "{what}: recall {recall}");
                }
            }
        }
    }
}

#[test]
fn the_twin_finds_what_ivf_pq_finds() {
    codes_over(&twin(), 4_000, (24, 8, 8));
}

#[test]
fn the_kernels_find_what_ivf_pq_finds() {
    let Some(lent) = lend() else { return };
    lent.set_seed(3);
    codes_over(&lent.device, 2_000, (12, 6, 4));
}

#[test]
fn lists_of_several_devices_are_those_of_one() {
    let several = Device::with_peers(Twin::new(), 1 << 30, vec![twin(), twin()]);
    flat_over(&several, 2_600, 6);
    let base = Narrow::new(ElementType::Half, 8, &clusters(2_600, 8, 0.0, 1));
    let queries = Narrow::new(ElementType::Half, 8, &clusters(7, 8, 0.0, 2));
    let sides = (base.rows(), queries.rows());
    let of = |device: &Arc<Device<Twin>>| {
        let index = build(device, (FLAT, Metric::L2), sides.0, None, ALWAYS);
        search(&index, sides, 9, &probing(3), None, &mut SearchStats::default())
    };
    assert_eq!(of(&several), of(&twin()));
}

/// What the device is not asked for, and what it has not enough of.
#[test]
fn windows_and_as_many_rows_as_there_are_are_found() {
    for element in TYPES {
        let base = Narrow::new(element, 6, &clusters(2_600, 6, 0.0, 1));
        let queries = Narrow::new(element, 6, &clusters(1, 6, 0.0, 2));
        let sides = (base.rows(), queries.rows());
        for metric in METRICS {
            let index = build(&twin(), (FLAT, metric), sides.0, None, ALWAYS);
            let find = |k: usize, params: &SearchParams, allow: Option<&Bitset>| {
                let found = search(&index, sides, k, params, allow, &mut SearchStats::default());
                found.into_iter().next().unwrap()
            };
            let one = probing(1);
            assert_eq!(find(600, &one, None).len(), 600, "{element:?} {metric}");
            assert_eq!(find(3_000, &one, None), exact(metric, sides, 3_000, None)[0]);
            assert_eq!(find(0, &one, None), []);
            assert_eq!(find(10, &one, Some(&Bitset::new(2_600))), []);
            let near = exact(metric, sides, 40, None).remove(0);
            let within = SearchParams {
                within: Window::new(None, Some(near[39].distance)),
                ..probing(24)
            };
            let nearer: Vec<Neighbor> = near
                .iter()
                .filter(|neighbor| neighbor.distance < near[39].distance)
                .copied()
                .collect();
            assert_eq!(find(nearer.len(), &within, None), nearer, "{element:?} {metric}");
        }
    }
}

#[test]
fn a_blob_is_opened_without_the_device_that_built_it() {
    emulate();
    let pq = PqParams {
        nlist: 24,
        m: 5,
        nbits: 6,
    };
    for element in TYPES {
        let base = Narrow::new(element, 10, &clusters(2_600, 10, 0.0, 1));
        let queries = Narrow::new(element, 10, &clusters(5, 10, 0.0, 2));
        let sides = (base.rows(), queries.rows());
        for params in [FLAT, BuildParams::GpuIvfPq(pq)] {
            let index = build(&twin(), (params, Metric::Cosine), sides.0, None, NEVER);
            let opened = AnyIndex::open(index.serialize().into()).unwrap();
            assert_eq!((opened.kind(), opened.rows()), (params.kind(), 2_600));
            assert_eq!(opened.serialize(), index.serialize());
            assert!(opened.batches() && matches!(opened, AnyIndex::TypedLists(_)));
            let find = |index| search(index, sides, 8, &probing(3), None, &mut SearchStats::default());
            assert_eq!(find(&opened), find(&index), "{element:?} {params:?}");
        }
    }
}

#[test]
fn rows_lie_on_the_device_as_they_are_stored_and_leave_with_the_index() {
    let (rows, dim) = (1_000, 64);
    for (element, words) in [
        (ElementType::Half, 32),
        (ElementType::BFloat16, 32),
        (ElementType::Int8, 16),
    ] {
        let device = twin();
        let base = Narrow::new(element, dim, &clusters(rows, dim, 0.0, 1));
        let index = build(
            &device,
            (BuildParams::GpuIvfFlat { nlist: 8 }, Metric::Cosine),
            base.rows(),
            None,
            ALWAYS,
        );
        assert_eq!(
            device.budget.free(),
            device.budget.limit(),
            "a build leaves nothing"
        );
        let ignored = &mut SearchStats::default();
        let query = base.rows().row(0);
        index
            .search(base.rows(), query, 2, &probing(2), None, ignored)
            .unwrap();
        let held = device.budget.limit() - device.budget.free();
        // Each place has a number and a term, and each list a centroid.
        let (least, most) = (rows, rows + 8 * 32);
        let of = |places: usize| 4 * places * (words + 2);
        assert!(
            (of(least)..of(most) + 4 * 8 * (dim + 4)).contains(&held),
            "{element:?}: {held} bytes"
        );
        drop(index);
        assert_eq!(device.budget.free(), device.budget.limit());
    }
}

#[test]
fn a_device_that_is_too_small_is_an_error_or_leaves_searches_to_the_processor() {
    let base = Narrow::new(ElementType::Half, 16, &clusters(1_000, 16, 0.0, 1));
    let eight = BuildParams::GpuIvfFlat { nlist: 8 };
    let (device, options) = (Device::new(Twin::new(), 20_000), BuildOptions::default());
    let error = typed_lists_on(&device, (eight, Metric::L2), base.rows(), None, &options, ALWAYS)
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("an index GPU_IVF_FLAT needs ") && error.ends_with("20000 of 20000 are free"),
        "{error}"
    );
    // Room for a build, and none for lists beside a search.
    let device = Device::new(Twin::new(), 150_000);
    let index = build(&device, (eight, Metric::L2), base.rows(), None, ALWAYS);
    let _held = device.budget.reserve("a test", 120_000).unwrap();
    let (rows, ignored) = (base.rows(), &mut SearchStats::default());
    let found = index.search(rows, rows.row(3), 4, &probing(8), None, ignored);
    let all = exact(Metric::L2, (rows, rows), 4, None);
    assert_eq!(found.unwrap(), all[3]);
    let found = search(&index, (rows, rows), 4, &probing(8), None, ignored);
    assert_eq!(found, all);
}

#[test]
fn parameters_and_types_are_checked() {
    let options = BuildOptions::default();
    let halves = Narrow::new(ElementType::Half, 8, &Rng(1).normals(80));
    let bits = Narrow::new(ElementType::Bit, 8, &Rng(1).normals(80));
    let error = |params, rows: VectorsRef<'_>| {
        let built = typed_lists_on(&twin(), (params, Metric::L2), rows, None, &options, ALWAYS);
        built.unwrap_err().to_string()
    };
    let none = BuildParams::GpuIvfFlat { nlist: 0 };
    let text = error(none, halves.rows());
    assert_eq!(text, "param 'nlist' (0) should be in range [1, 65536]");
    let pq = PqParams {
        nlist: 4,
        m: 3,
        nbits: 8,
    };
    let text = error(BuildParams::GpuIvfPq(pq), halves.rows());
    assert!(text.contains("dimension 8") && text.contains("3"), "{text}");
    for (params, rows) in [(FLAT, bits.rows()), (BuildParams::Flat, halves.rows())] {
        let text = error(params, rows);
        assert!(text.contains(&params.kind().to_string()), "{text}");
    }
}

/// Single searches of many threads go to the device together, and each gets its own answer.
#[test]
fn searches_of_several_threads_are_answered_one_by_one() {
    let base = Narrow::new(ElementType::Int8, 12, &clusters(3_000, 12, 0.0, 11));
    let queries = Narrow::new(ElementType::Int8, 12, &clusters(64, 12, 0.1, 12));
    let index = build(&twin(), (FLAT, Metric::L2), base.rows(), None, ALWAYS);
    let of = |query: usize| (5 + query % 2, probing(4 + query as u32 % 2));
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (index, base, queries) = (&index, &base, &queries);
            scope.spawn(move || {
                for query in (thread..64).step_by(8) {
                    let (k, params) = of(query);
                    let (rows, row, ignored) = (
                        base.rows(),
                        queries.rows().row(query),
                        &mut SearchStats::default(),
                    );
                    let found = index.search(rows, row, k, &params, None, ignored).unwrap();
                    let expected = index.search_batch(rows, &[row], k, &params, None, ignored);
                    assert_eq!(found, expected.unwrap()[0], "query {query}");
                }
            });
        }
    });
}

#[test]
fn queries_that_are_not_like_the_rows_are_errors_and_never_cut_anew() {
    let base = Narrow::new(ElementType::Half, 4, &clusters(2_600, 4, 0.0, 1));
    let index = build(&twin(), (FLAT, Metric::L2), base.rows(), None, ALWAYS);
    let [short, long, whole] = [&[0u16; 2][..], &[0; 6], &[0; 4]].map(VectorRef::Halves);
    let (rows, ignored) = (base.rows(), &mut SearchStats::default());
    let found = index.search_batch(rows, &[short, long], 3, &probing(24), None, ignored);
    assert!(found.is_err());
    let found = index.search_batch(rows, &[whole, whole], 3, &probing(24), None, ignored);
    assert_eq!(found.unwrap().len(), 2);
    assert!(
        index
            .search(
                rows,
                VectorRef::BFloat16s(&[0; 4]),
                3,
                &probing(24),
                None,
                ignored
            )
            .is_err()
    );
}

/// As its users see it, over the device of the process.
#[test]
fn an_index_of_every_type_is_built_saved_opened_and_searched_on_the_device() {
    emulate();
    let Some(lent) = lend() else { return };
    let given = |nlist: &str, m: &str| -> BTreeMap<String, String> {
        [("nlist", nlist), ("m", m), ("nbits", "4")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into()
    };
    let (rows, dim) = (9_000, 128);
    for (element, index_type) in [
        (ElementType::Half, "GPU_IVF_FLAT"),
        (ElementType::BFloat16, "GPU_IVF_PQ"),
        (ElementType::Int8, "GPU_IVF_FLAT"),
    ] {
        let params = BuildParams::parse(index_type, &given("4", "64")).unwrap();
        let base = Narrow::new(element, dim, &clusters(rows, dim, 0.0, 3));
        let queries = Narrow::new(element, dim, &clusters(3, dim, 0.0, 4));
        let sides = (base.rows(), queries.rows());
        let options = BuildOptions::default();
        let built = AnyIndex::build(&params, Metric::L2.into(), sides.0, None, &options).unwrap();
        let blob = built.serialize();
        let index = AnyIndex::open(blob.clone().into()).unwrap();
        assert_eq!((index.kind(), index.serialize()), (params.kind(), blob));
        let expected = exact(Metric::L2, sides, 6, None);
        let before = lent.launches();
        let ignored = &mut SearchStats::default();
        let found = search(&index, sides, 6, &probing(4), None, ignored);
        assert!(
            before.is_none() || lent.launches() > before,
            "the device was asked"
        );
        if params.kind() == IndexKind::GpuIvfFlat {
            assert_eq!(found, expected, "{element:?}");
        }
        let recall = recall(&found, &expected);
        assert!(recall >= 0.6, "{element:?}: recall {recall}");
        let before = lent.launches();
        let alone = index.search(sides.0, sides.1.row(1), 6, &probing(4), None, ignored);
        assert_eq!(alone.unwrap(), found[1]);
        assert!(
            before.is_none() || lent.launches() > before,
            "the device was asked"
        );
    }
}
