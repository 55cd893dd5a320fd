//! GPU_IVF_FLAT: build times, and recall and speed for several numbers of lists that are looked at, next to IVF_FLAT on the
//! processor over the same rows.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Result, ensure};
use elanus_index::gpu::brute::{BruteForce, Rounds, Tuning};
use elanus_index::gpu::{Backend, Device, ListTuning, ivf_flat_on};
use elanus_index::{
    BuildOptions, BuildParams, Metric, Neighbor, SearchParams, SearchStats, VectorIndex, Vectors, build,
};
use rayon::prelude::*;

use crate::ceilings::Ceilings;
use crate::data::clusters;
use crate::speed::Shape;

/// Queries of which the recall is told.
const RECALL_QUERIES: usize = 1000;
/// Rows, lists and queries that are checked.
const CHECKED: [usize; 3] = [4000, 30, 40];

/// Compares searches of all lists with exact ones, for every metric.
///
/// # Errors
/// When the device fails, or an answer is wrong.
pub fn check<B: Backend + 'static>(device: &Arc<Device<B>>, k: usize, seed: u64) -> Result<()> {
    let [rows, lists, queries] = CHECKED;
    let tuning = ListTuning {
        least_work: 0,
        ..ListTuning::default()
    };
    for dim in [31, 128] {
        let (base, asked) = (clusters(rows, dim, seed), clusters(queries, dim, !seed));
        let (base, asked) = (Vectors::new(&base, dim)?, Vectors::new(&asked, dim)?);
        for metric in [Metric::L2, Metric::Ip, Metric::Cosine] {
            let options = BuildOptions::default();
            let index = ivf_flat_on(device, (lists as u32, metric), base, None, &options, tuning)?;
            let found = search(&*index, base, asked, k, lists as u32, &mut SearchStats::default());
            let exact = exact(device, metric, base, asked, k)?;
            let recall = recall(&found, &exact);
            println!("{dim:>6} {metric:>7} all lists {recall:>9.5}");
            ensure!(recall > 0.999, "rows are missing");
        }
    }
    Ok(())
}

fn search(
    index: &dyn VectorIndex,
    base: Vectors<'_>,
    queries: Vectors<'_>,
    k: usize,
    nprobe: u32,
    stats: &mut SearchStats,
) -> Vec<Vec<Neighbor>> {
    let params = SearchParams {
        nprobe: Some(nprobe),
        ..SearchParams::default()
    };
    index.search_batch(base, queries, k, &params, None, stats)
}

fn exact<B: Backend>(
    device: &Arc<Device<B>>,
    metric: Metric,
    base: Vectors<'_>,
    queries: Vectors<'_>,
    k: usize,
) -> Result<Vec<Vec<Neighbor>>> {
    let search = BruteForce::new(Arc::clone(device), metric, Tuning::default());
    let (mut stats, mut rounds) = (SearchStats::default(), Rounds::default());
    Ok(search.search(base, queries, k, None, &mut stats, &mut rounds)?)
}

fn recall(found: &[Vec<Neighbor>], exact: &[Vec<Neighbor>]) -> f64 {
    let (mut hits, mut wanted) = (0, 0);
    for (found, exact) in found.iter().zip(exact) {
        let worst = exact.last().map_or(f32::NEG_INFINITY, |last| last.distance);
        hits += found.iter().filter(|neighbor| neighbor.distance <= worst).count();
        wanted += exact.len();
    }
    hits as f64 / wanted.max(1) as f64
}

/// Seconds of one call, the median of several.
fn median(least: f64, mut call: impl FnMut()) -> f64 {
    let mut seconds = Vec::new();
    let started = Instant::now();
    while seconds.len() < 3 || started.elapsed().as_secs_f64() < least {
        let one = Instant::now();
        call();
        seconds.push(one.elapsed().as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);
    seconds.get(seconds.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Prints the build times, and a line for each number of lists and size of a batch.
///
/// # Errors
/// When the device fails.
pub fn measure<B: Backend + 'static>(
    device: &Arc<Device<B>>,
    shape: &Shape,
    (nlist, nprobes): (u32, &[u32]),
    batches: &[usize],
    seed: u64,
    ceilings: Option<&Ceilings>,
) -> Result<()> {
    let Shape {
        rows, dim, k, metric, ..
    } = *shape;
    let base = clusters(rows, dim, seed);
    let base = Vectors::new(&base, dim)?;
    let truth = clusters(RECALL_QUERIES, dim, !seed);
    let truth = Vectors::new(&truth, dim)?;
    let nearest = exact(device, metric, base, truth, k)?;
    let options = BuildOptions::default();
    let started = Instant::now();
    let tuning = ListTuning {
        least_work: 0,
        ..ListTuning::default()
    };
    let on_device = ivf_flat_on(device, (nlist, metric), base, None, &options, tuning)?;
    let of_device = started.elapsed().as_secs_f64();
    let started = Instant::now();
    let on_processor = build(&BuildParams::IvfFlat { nlist }, metric, base, None, &options)?;
    let of_processor = started.elapsed().as_secs_f64();
    println!(
        "\n{rows} rows x {dim} in clusters, {nlist} lists: built in {of_device:.1} s, IVF_FLAT on {} cores in {of_processor:.1} s",
        rayon::current_num_threads()
    );
    println!(
        "{:>7} {:>7} {:>7} {:>10} {:>12} {:>9} {:>9} {:>12} {:>7}",
        "nprobe", "queries", "recall", "ms", "queries/s", "GB/s", "of limit", "CPU q/s", "recall"
    );
    for &nprobe in nprobes {
        let mut ignored = SearchStats::default();
        let of_device = recall(
            &search(&*on_device, base, truth, k, nprobe, &mut ignored),
            &nearest,
        );
        let by_processor = |queries: Vectors<'_>| -> Vec<Vec<Neighbor>> {
            let one = |query: usize| {
                let query = Vectors::new(queries.row(query), dim).ok()?;
                search(
                    &*on_processor,
                    base,
                    query,
                    k,
                    nprobe,
                    &mut SearchStats::default(),
                )
                .pop()
            };
            let found = (0..queries.len()).into_par_iter().map(one);
            found.map(Option::unwrap_or_default).collect()
        };
        let of_processor = recall(&by_processor(truth), &nearest);
        for &count in batches {
            let queries = clusters(count, dim, seed ^ count as u64);
            let queries = Vectors::new(&queries, dim)?;
            let mut stats = SearchStats::default();
            // Once to warm up, and to count what is looked at.
            search(&*on_device, base, queries, k, nprobe, &mut stats);
            let seconds = median(shape.seconds, || {
                search(&*on_device, base, queries, k, nprobe, &mut SearchStats::default());
            });
            let cpu_seconds = median(shape.seconds, || {
                by_processor(queries);
            });
            let values = stats.distances as f64 * dim as f64 / seconds;
            let share = ceilings.map_or("-".to_owned(), |ceilings| {
                format!("{:.1} %", 100.0 * ceilings.share(4.0 * values, 2.0 * values))
            });
            println!(
                "{nprobe:>7} {count:>7} {of_device:>7.4} {:>10.3} {:>12.1} {:>9.1} {share:>9} {:>12.1} {of_processor:>7.4}",
                1e3 * seconds,
                count as f64 / seconds,
                4e-9 * values,
                count as f64 / cpu_seconds,
            );
        }
    }
    Ok(())
}
