//! GPU_IVF_FLAT, GPU_IVF_PQ and GPU_CAGRA: build times, and recall and speed for several efforts of a search, next to their equivalents on the
//! processor over the same rows.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Result, bail, ensure};
use elanus_index::gpu::brute::{BruteForce, Rounds, Tuning};
use elanus_index::gpu::cagra::CagraParams;
use elanus_index::gpu::{Backend, Device, PqParams, SearchTuning, cagra_on, ivf_flat_on, ivf_pq_on};
use elanus_index::{
    AnyMetric, BuildOptions, BuildParams, Metric, Neighbor, SearchParams, SearchStats, VectorIndex, Vectors,
    build,
};
use rayon::prelude::*;

use crate::ceilings::Ceilings;
use crate::data::clusters;
use crate::speed::Shape;

/// Queries of which the recall is told.
pub const RECALL_QUERIES: usize = 1000;
/// Rows, lists and queries that are checked.
pub const CHECKED: [usize; 3] = [4000, 30, 40];
/// Always on the device.
pub const TUNING: SearchTuning = SearchTuning {
    queries: 4096,
    least_work: 0,
};

/// What is built, and how hard it is searched.
#[derive(Debug)]
pub enum Family<'a> {
    /// GPU_IVF_FLAT of so many lists, and numbers of them that are looked at.
    Lists(u32, &'a [u32]),
    /// GPU_IVF_PQ, and numbers of lists that are looked at.
    Codes(PqParams, &'a [u32]),
    /// GPU_CAGRA of so many links, and lengths of its list.
    Graph(u32, &'a [u32]),
}

impl Family<'_> {
    fn on_device<B: Backend + 'static>(
        &self,
        device: &Arc<Device<B>>,
        metric: Metric,
        base: Vectors<'_>,
    ) -> Result<Arc<dyn VectorIndex>> {
        let options = BuildOptions::default();
        Ok(match *self {
            Self::Lists(nlist, _) => ivf_flat_on(device, (nlist, metric), base, None, &options, TUNING)?,
            Self::Codes(params, _) => ivf_pq_on(device, (params, metric), base, None, &options, TUNING)?,
            Self::Graph(degree, _) => {
                let params = CagraParams {
                    degree,
                    intermediate_degree: 2 * degree,
                    adapt_for_cpu: false,
                };
                cagra_on(device, (params, metric), base, None, &options, TUNING)?
            }
        })
    }

    fn on_processor(&self) -> BuildParams {
        match *self {
            Self::Lists(nlist, _) => BuildParams::IvfFlat { nlist },
            Self::Codes(params, _) => BuildParams::IvfCoded(params.on_processor()),
            Self::Graph(degree, _) => BuildParams::Hnsw {
                m: (degree / 2).max(2),
                ef_construction: 2 * degree,
            },
        }
    }

    /// Bytes that a row which a query is compared with takes on the device, and operations that it costs.
    fn cost(&self, dim: usize) -> (f64, f64) {
        match *self {
            Self::Codes(params, _) => {
                let bytes = f64::from(params.m) * if params.nbits <= 4 { 0.5 } else { 1.0 };
                (bytes + 4.0, f64::from(params.m))
            }
            Self::Lists(..) | Self::Graph(..) => (4.0 * dim as f64, 2.0 * dim as f64),
        }
    }

    fn efforts(&self) -> Vec<(u32, SearchParams)> {
        let (Self::Lists(_, efforts) | Self::Codes(_, efforts) | Self::Graph(_, efforts)) = self;
        let params = |&effort: &u32| {
            let params = match self {
                Self::Lists(..) | Self::Codes(..) => SearchParams {
                    nprobe: Some(effort),
                    ..SearchParams::default()
                },
                Self::Graph(..) => SearchParams {
                    ef: Some(effort),
                    ..SearchParams::default()
                },
            };
            (effort, params)
        };
        efforts.iter().map(params).collect()
    }
}

/// Compares searches of all lists, by rows and by codes, and those of a long list of nodes, with exact ones, for every metric.
///
/// # Errors
/// When the device fails, or an answer is wrong.
pub fn check<B: Backend + 'static>(device: &Arc<Device<B>>, k: usize, seed: u64) -> Result<()> {
    let [rows, lists, queries] = CHECKED;
    for (dim, m) in [(31, 31), (128, 32)] {
        let (base, asked) = (clusters(rows, dim, seed), clusters(queries, dim, !seed));
        let (base, asked) = (Vectors::new(&base, dim)?, Vectors::new(&asked, dim)?);
        for metric in [Metric::L2, Metric::Ip, Metric::Cosine] {
            let exact = exact(device, metric, base, asked, k)?;
            let codes = PqParams {
                nlist: lists as u32,
                m,
                nbits: 8,
            };
            for (name, family, least) in [
                (
                    "GPU_IVF_FLAT",
                    Family::Lists(lists as u32, &[lists as u32]),
                    0.999,
                ),
                ("GPU_IVF_PQ", Family::Codes(codes, &[lists as u32]), 0.8),
                ("GPU_CAGRA", Family::Graph(32, &[512]), 0.9),
            ] {
                let index = family.on_device(device, metric, base)?;
                for (_, params) in family.efforts() {
                    let found = search(&*index, base, asked, k, &params, &mut SearchStats::default());
                    let recall = recall(&found, &exact);
                    println!("{dim:>6} {metric:>7} {name:>13} {recall:>9.5}");
                    ensure!(recall > least, "rows are missing");
                }
            }
        }
    }
    Ok(())
}

fn search(
    index: &dyn VectorIndex,
    base: Vectors<'_>,
    queries: Vectors<'_>,
    k: usize,
    params: &SearchParams,
    stats: &mut SearchStats,
) -> Vec<Vec<Neighbor>> {
    index.search_batch(base, queries, k, params, None, stats)
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

/// The part of the wanted rows that were found, or others as near.
pub fn recall(found: &[Vec<Neighbor>], exact: &[Vec<Neighbor>]) -> f64 {
    let (mut hits, mut wanted) = (0, 0);
    for (found, exact) in found.iter().zip(exact) {
        let worst = exact.last().map_or(f32::NEG_INFINITY, |last| last.distance);
        hits += found.iter().filter(|neighbor| neighbor.distance <= worst).count();
        wanted += exact.len();
    }
    hits as f64 / wanted.max(1) as f64
}

/// Seconds of one call, the median of several.
pub fn median(least: f64, mut call: impl FnMut()) -> f64 {
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

/// Prints the build times, and a line for each effort and size of a batch.
///
/// # Errors
/// When the device fails.
pub fn measure<B: Backend + 'static>(
    device: &Arc<Device<B>>,
    shape: &Shape,
    family: &Family<'_>,
    batches: &[usize],
    seed: u64,
    ceilings: Option<&Ceilings>,
) -> Result<()> {
    let Shape { rows, dim, k, .. } = *shape;
    let AnyMetric::Numbers(metric) = shape.metric else {
        bail!("{} is no metric of 32-bit floats", shape.metric);
    };
    let base = clusters(rows, dim, seed);
    let base = Vectors::new(&base, dim)?;
    let truth = clusters(RECALL_QUERIES, dim, !seed);
    let truth = Vectors::new(&truth, dim)?;
    let nearest = exact(device, metric, base, truth, k)?;
    let started = Instant::now();
    let on_device = family.on_device(device, metric, base)?;
    let of_device = started.elapsed().as_secs_f64();
    let (started, equivalent) = (Instant::now(), family.on_processor());
    let on_processor = build(&equivalent, metric, base, None, &BuildOptions::default())?;
    let of_processor = started.elapsed().as_secs_f64();
    println!(
        "\n{rows} rows x {dim} in clusters: {} built in {of_device:.1} s, {} on {} cores in {of_processor:.1} s",
        on_device.kind(),
        on_processor.kind(),
        rayon::current_num_threads()
    );
    println!(
        "{:>7} {:>7} {:>7} {:>10} {:>12} {:>9} {:>9} {:>12} {:>7}",
        "effort", "queries", "recall", "ms", "queries/s", "GB/s", "of limit", "CPU q/s", "recall"
    );
    for (effort, params) in family.efforts() {
        let mut ignored = SearchStats::default();
        let of_device = recall(
            &search(&*on_device, base, truth, k, &params, &mut ignored),
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
                    &params,
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
            search(&*on_device, base, queries, k, &params, &mut stats);
            let seconds = median(shape.seconds, || {
                search(
                    &*on_device,
                    base,
                    queries,
                    k,
                    &params,
                    &mut SearchStats::default(),
                );
            });
            let cpu_seconds = median(shape.seconds, || {
                by_processor(queries);
            });
            let (bytes, operations) = family.cost(dim);
            let rows_looked_at = stats.distances as f64 / seconds;
            let (bytes, operations) = (bytes * rows_looked_at, operations * rows_looked_at);
            let share = ceilings.map_or("-".to_owned(), |ceilings| {
                format!("{:.1} %", 100.0 * ceilings.share(bytes, operations))
            });
            println!(
                "{effort:>7} {count:>7} {of_device:>7.4} {:>10.3} {:>12.1} {:>9.1} {share:>9} {:>12.1} {of_processor:>7.4}",
                1e3 * seconds,
                count as f64 / seconds,
                1e-9 * bytes,
                count as f64 / cpu_seconds,
            );
        }
    }
    Ok(())
}
