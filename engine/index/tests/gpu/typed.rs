//! Exact search of every type on a device finds what exact search on the processor finds, bit for bit.

use std::collections::BTreeMap;
use std::sync::Arc;

use elanus_index::gpu::backend::ElementType;
use elanus_index::gpu::brute::{BruteForce, Rounds, Tuning};
use elanus_index::gpu::twin::Twin;
use elanus_index::gpu::{Backend, Device, Shards, configure};
use elanus_index::{
    AnyIndex, AnyMetric, Bitset, BuildOptions, BuildParams, IndexKind, Metric, Neighbor, SearchParams,
    SearchStats, Strategy, VectorRef, VectorsRef, Window, exact_search_any,
};

use crate::data::{NARROW, Narrow, Rng, allow_percent, metrics_of};
use crate::device::{emulated_options, lend};
use crate::ivf::twin;

const SMALL: Tuning = Tuning {
    room: 96,
    queries: 5,
    part_rows: None,
};
const STREAMED: Tuning = Tuning {
    part_rows: Some(128),
    ..SMALL
};

fn exact(
    metric: AnyMetric,
    (rows, queries): (VectorsRef<'_>, VectorsRef<'_>),
    k: usize,
    allow: Option<&Bitset>,
) -> Vec<Vec<Neighbor>> {
    let search = |query| {
        let (query, stats) = (queries.row(query), &mut SearchStats::default());
        exact_search_any(metric, rows, query, k, Window::default(), allow, stats).unwrap()
    };
    (0..queries.len()).map(search).collect()
}

/// Searches twice, the second time over rows that are on the device already; what the device had to do.
fn check<B: Backend>(
    device: &Arc<Device<B>>,
    tuning: Tuning,
    metric: AnyMetric,
    sides: (VectorsRef<'_>, VectorsRef<'_>),
    k: usize,
    allow: Option<&Bitset>,
) -> Rounds {
    let search = Shards::new(device, metric, tuning);
    let expected = exact(metric, sides, k, allow);
    let mut last = Rounds::default();
    for _ in 0..2 {
        let (mut stats, mut rounds) = (SearchStats::default(), Rounds::default());
        let found = search
            .search(sides.0, sides.1, k, allow, &mut stats, &mut rounds)
            .unwrap();
        assert!(
            found == expected,
            "{metric}, k {k}, {tuning:?}: {found:?} {expected:?}"
        );
        last = rounds;
    }
    last
}

fn over_shapes<B: Backend>(device: &Arc<Device<B>>, dims: &[usize], batches: &[usize]) {
    let mut rng = Rng(5);
    for element in NARROW {
        for &dim in dims {
            let dim = if element == ElementType::Bit { 8 * dim } else { dim };
            let count = 300;
            let base = Narrow::new(element, dim, &rng.normals(count * dim));
            let allows = [
                None,
                Some(allow_percent(count, 50, 2)),
                Some(allow_percent(count, 4, 3)),
                Some(Bitset::new(count)),
                Some(Bitset::full(200)),
            ];
            for (turn, allow) in allows.iter().enumerate() {
                for &nq in batches {
                    let queries = Narrow::new(element, dim, &rng.normals(nq * dim));
                    let k = [1, 10, 3 * count][turn % 3];
                    let metrics = metrics_of(element);
                    let metric = metrics[(turn + nq) % metrics.len()];
                    for tuning in [SMALL, STREAMED] {
                        let sides = (base.rows(), queries.rows());
                        let rounds = check(device, tuning, metric, sides, k, allow.as_ref());
                        let what = format!("{element:?} {metric} {rounds:?}");
                        assert_eq!(rounds.exact, 0, "random rows need no second look: {what}");
                        if matches!(element, ElementType::Int8 | ElementType::Bit) {
                            assert_eq!(rounds.repeated, 0, "exact distances prove themselves: {what}");
                        }
                    }
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
fn several_devices_find_what_one_finds() {
    let several = Device::with_peers(Twin::new(), 1 << 30, vec![twin(), twin()]);
    over_shapes(&several, &[5], &[6]);
}

#[test]
fn the_kernels_find_what_the_processor_finds() {
    let Some(lent) = lend() else { return };
    over_shapes(&lent.device, &[18], &[1, 3]);
    lent.set_seed(7);
    let wide = Tuning { queries: 64, ..SMALL };
    let mut rng = Rng(6);
    for element in NARROW {
        let base = Narrow::new(element, 40, &rng.normals(500 * 40));
        let queries = Narrow::new(element, 40, &rng.normals(60 * 40));
        let metrics = metrics_of(element);
        let sides = (base.rows(), queries.rows());
        check(&lent.device, wide, metrics[0], sides, 7, None);
        let (tuning, allow) = (Tuning::default(), allow_percent(500, 30, 1));
        let last = metrics[metrics.len() - 1];
        check(&lent.device, tuning, last, sides, 7, Some(&allow));
    }
}

/// Rows of which many are equally near, equal, far from the origin, or of numbers that overflow or vanish.
fn awkward_rows<B: Backend>(device: &Arc<Device<B>>) {
    let (dim, count) = (8, 300);
    let mut rng = Rng(8);
    for (scale, offset, repeated) in [
        (1.0, 0.0, 300),
        (1.0, 0.0, 40),
        (1.0, 0.0, 3),
        (0.01, 1.0, 1),
        (1e18, 0.0, 1),
        (1e-22, 0.0, 1),
        (0.0, 0.0, 1),
    ] {
        let mut base = Vec::new();
        while base.len() < count * dim {
            let row: Vec<f32> = rng
                .normals(dim)
                .iter()
                .map(|value| scale * value + offset)
                .collect();
            for _ in 0..repeated {
                base.extend_from_slice(&row);
            }
        }
        base.truncate(count * dim);
        base[..dim].fill(0.0);
        let mut queries = base[5 * dim..9 * dim].to_vec();
        queries[dim..2 * dim].fill(0.0);
        for element in NARROW {
            let rows = Narrow::new(element, dim, &base);
            let queries = Narrow::new(element, dim, &queries);
            for metric in metrics_of(element) {
                check(device, SMALL, metric, (rows.rows(), queries.rows()), 5, None);
            }
        }
    }
}

#[test]
fn rows_that_are_equally_near_come_in_their_order() {
    awkward_rows(&twin());
    if let Some(lent) = lend() {
        awkward_rows(&lent.device);
    }
}

#[test]
fn rows_of_sixteen_bits_take_half_the_memory_and_bits_a_thirty_second_part() {
    let (dim, count) = (256, 500);
    for (element, words) in [
        (ElementType::Half, 128),
        (ElementType::BFloat16, 128),
        (ElementType::Int8, 64),
        (ElementType::Bit, 8),
    ] {
        let device = twin();
        let base = Narrow::new(element, dim, &Rng(1).normals(count * dim));
        let query = Narrow::new(element, dim, &Rng(2).normals(dim));
        let search = BruteForce::new(Arc::clone(&device), metrics_of(element)[0], SMALL);
        let (mut stats, mut rounds) = (SearchStats::default(), Rounds::default());
        search
            .search(base.rows(), query.rows(), 2, None, &mut stats, &mut rounds)
            .unwrap();
        // Each row has its term.
        assert_eq!(search.resident_bytes(), 4 * count * (words + 1), "{element:?}");
        assert_eq!((stats.strategy, stats.distances), (Strategy::Exact, 500));
    }
}

#[test]
fn vectors_that_are_not_alike_or_have_not_the_metric_are_not_found() {
    let halves = Narrow::new(ElementType::Half, 8, &Rng(1).normals(80));
    let bits = Narrow::new(ElementType::Bit, 8, &Rng(1).normals(80));
    let shorter = Narrow::new(ElementType::Half, 4, &Rng(1).normals(80));
    for (metric, rows, queries) in [
        (Metric::L2.into(), halves.rows(), bits.rows()),
        (Metric::L2.into(), halves.rows(), shorter.rows()),
        (Metric::L2.into(), bits.rows(), bits.rows()),
        (metrics_of(ElementType::Bit)[0], halves.rows(), halves.rows()),
    ] {
        let search = Shards::new(&twin(), metric, SMALL);
        let (mut stats, mut rounds) = (SearchStats::default(), Rounds::default());
        let found = search.search(rows, queries, 2, None, &mut stats, &mut rounds);
        assert!(found.unwrap().iter().all(Vec::is_empty));
        assert_eq!(stats, SearchStats::default());
    }
}

/// As its users see it, over the device of the process.
#[test]
fn an_index_of_every_type_is_built_saved_opened_and_searched_on_the_device() {
    let Some(lent) = lend() else { return };
    if lent.is_emulated() {
        configure(emulated_options());
    }
    let params = BuildParams::parse("GPU_BRUTE_FORCE", &BTreeMap::new()).unwrap();
    let open_params = SearchParams::default();
    for element in NARROW {
        // As many as make the device worthwhile.
        let (dim, count) = if element == ElementType::Bit {
            (4_096, 18_000)
        } else {
            (128, 9_000)
        };
        let numbers = Rng(3).normals(count.min(500) * dim);
        let all: Vec<f32> = numbers
            .iter()
            .copied()
            .cycle()
            .skip(17)
            .take(count * dim)
            .collect();
        let base = Narrow::new(element, dim, &all);
        let queries = Narrow::new(element, dim, &Rng(4).normals(3 * dim));
        let (rows, queries) = (base.rows(), queries.rows());
        let valid = allow_percent(count, 98, 1);
        let allow = Bitset::from_fn(count, |row| row % 50 != 7);
        let mut both = valid.clone();
        both.and(&allow);
        // The kernels of each metric are tested above.
        for metric in metrics_of(element).into_iter().take(1) {
            let options = BuildOptions::default();
            let built = AnyIndex::build(&params, metric, rows, Some(&valid), &options);
            let blob = built.unwrap().serialize();
            let index = AnyIndex::open(blob.clone().into()).unwrap();
            assert_eq!((index.kind(), index.rows()), (IndexKind::GpuBruteForce, count));
            assert_eq!((index.serialize(), index.batches()), (blob, true));
            let search = |params: &SearchParams, allow: Option<&Bitset>| {
                let stats = &mut SearchStats::default();
                index
                    .search(rows, queries.row(0), 6, params, allow, stats)
                    .unwrap()
            };
            let started = lent.launches();
            let expected = exact(metric, (rows, queries), 6, Some(&valid));
            assert_eq!(search(&open_params, None), expected[0], "{element:?} {metric}");
            let filtered = exact(metric, (rows, queries), 6, Some(&both));
            assert_eq!(
                search(&open_params, Some(&allow)),
                filtered[0],
                "{element:?} {metric}"
            );
            let of_all: Vec<VectorRef<'_>> = (0..queries.len()).map(|query| queries.row(query)).collect();
            let stats = &mut SearchStats::default();
            let before = lent.launches();
            let found = index.search_batch(rows, &of_all, 6, &open_params, None, stats);
            assert_eq!(found.unwrap(), expected, "{element:?} {metric}");
            assert!(
                before.is_none() || lent.launches() > before,
                "the device was asked"
            );
            assert!(
                started.is_none() || lent.launches() > started,
                "the device was asked"
            );

            // What the device is not asked for has the same answer.
            let started = lent.launches();
            let few = Bitset::from_fn(count, |row| row < 50);
            let mut few_valid = valid.clone();
            few_valid.and(&few);
            let expected_few = exact(metric, (rows, queries), 6, Some(&few_valid));
            assert_eq!(search(&open_params, Some(&few)), expected_few[0]);
            let within = SearchParams {
                within: Window::new(Some(expected[0][0].distance), None),
                ..SearchParams::default()
            };
            assert_eq!(search(&within, None), expected[0]);
            assert_eq!(lent.launches(), started);
        }
    }
    // A family that a type has not on a device is an error that names both.
    let bits = Narrow::new(ElementType::Bit, 64, &Rng(3).normals(6_400));
    let params = BuildParams::parse("GPU_IVF_FLAT", &BTreeMap::new()).unwrap();
    let metric = metrics_of(ElementType::Bit)[0];
    let error = AnyIndex::build(&params, metric, bits.rows(), None, &BuildOptions::default()).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("GPU_IVF_FLAT") && text.contains("HAMMING"),
        "{text}"
    );
}
