//! GPU_IVF_FLAT and GPU_IVF_PQ of vectors other than 32-bit floats: build times, and recall and speed for several numbers of lists that
//! are looked at, next to the same lists on the processor.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Result, bail, ensure};
use elanus_index::gpu::brute::{BruteForce, Rounds, Tuning};
use elanus_index::gpu::{Backend, Device, PqParams, typed_lists_on};
use elanus_index::{
    AnyIndex, AnyMetric, BuildOptions, BuildParams, Metric, Neighbor, SearchParams, SearchStats, VectorRef,
    VectorsRef,
};
use rayon::prelude::*;

use crate::ceilings::Ceilings;
use crate::data::clusters;
use crate::indexes::{CHECKED, RECALL_QUERIES, TUNING, median, recall};
use crate::speed::Shape;
use crate::types::{Drawn, Type};

/// What is built, and numbers of lists that are looked at.
#[derive(Debug, Clone, Copy)]
pub struct Lists<'a> {
    /// Number of lists.
    pub nlist: u32,
    /// Groups of dimensions and bits of their codewords' numbers: GPU_IVF_PQ. None: GPU_IVF_FLAT.
    pub codes: Option<(u32, u32)>,
    /// Lists that are looked at.
    pub nprobe: &'a [u32],
}

impl Lists<'_> {
    fn on_device(&self) -> BuildParams {
        let nlist = self.nlist;
        match self.codes {
            None => BuildParams::GpuIvfFlat { nlist },
            Some((m, nbits)) => BuildParams::GpuIvfPq(PqParams { nlist, m, nbits }),
        }
    }

    fn on_processor(&self) -> BuildParams {
        let nlist = self.nlist;
        match self.codes {
            None => BuildParams::IvfFlat { nlist },
            Some((m, nbits)) => BuildParams::IvfCoded(PqParams { nlist, m, nbits }.on_processor()),
        }
    }

    /// Bytes that a row which a query is compared with takes on the device, and operations that it costs.
    fn cost(&self, of: Type, dim: usize) -> (f64, f64) {
        match self.codes {
            None => ((of.bits() * dim) as f64 / 8.0, 2.0 * dim as f64),
            Some((m, nbits)) => {
                let bytes = f64::from(m) * if nbits <= 4 { 0.5 } else { 1.0 };
                (bytes + 4.0, f64::from(m))
            }
        }
    }
}

fn probing(nprobe: u32) -> SearchParams {
    SearchParams {
        nprobe: Some(nprobe),
        ..SearchParams::default()
    }
}

fn refs(queries: VectorsRef<'_>) -> Vec<VectorRef<'_>> {
    (0..queries.len()).map(|query| queries.row(query)).collect()
}

fn exact<B: Backend>(
    device: &Arc<Device<B>>,
    metric: Metric,
    (base, queries): (VectorsRef<'_>, VectorsRef<'_>),
    k: usize,
) -> Result<Vec<Vec<Neighbor>>> {
    let search = BruteForce::new(Arc::clone(device), metric, Tuning::default());
    let (mut stats, mut rounds) = (SearchStats::default(), Rounds::default());
    Ok(search.search(base, queries, k, None, &mut stats, &mut rounds)?)
}

/// Compares searches of all lists, by rows and by codes, with exact ones, for every metric.
///
/// # Errors
/// When the device fails, or an answer is wrong.
pub fn check<B: Backend + 'static>(device: &Arc<Device<B>>, of: Type, k: usize, seed: u64) -> Result<()> {
    let [rows, lists, queries] = CHECKED;
    let nprobe = [lists as u32];
    for (dim, m) in [(31, 31), (128, 32)] {
        let base = Drawn::of(of, dim, clusters(rows, dim, seed));
        let asked = Drawn::of(of, dim, clusters(queries, dim, !seed));
        let (base, asked) = (base.view()?, asked.view()?);
        for metric in [Metric::L2, Metric::Ip, Metric::Cosine] {
            let exact = exact(device, metric, (base, asked), k)?;
            for (codes, least) in [(None, 0.999), (Some((m, 8)), 0.8)] {
                let lists = Lists {
                    nlist: lists as u32,
                    codes,
                    nprobe: &nprobe,
                };
                let (params, options) = (lists.on_device(), BuildOptions::default());
                let index = typed_lists_on(device, (params, metric), base, None, &options, TUNING)?;
                let (params, stats) = (probing(nprobe[0]), &mut SearchStats::default());
                let found = index.search_batch(base, &refs(asked), k, &params, None, stats)?;
                let recall = recall(&found, &exact);
                println!(
                    "{dim:>6} {metric:>7} {:>13} {recall:>9.5}",
                    index.kind().to_string()
                );
                ensure!(recall > least, "rows are missing");
            }
        }
    }
    Ok(())
}

/// Prints the build times, and a line for each number of lists and size of a batch.
///
/// # Errors
/// When the device fails.
pub fn measure<B: Backend + 'static>(
    device: &Arc<Device<B>>,
    shape: &Shape,
    lists: Lists<'_>,
    batches: &[usize],
    seed: u64,
    ceilings: Option<&Ceilings>,
) -> Result<()> {
    let Shape { rows, of, dim, k, .. } = *shape;
    let AnyMetric::Numbers(metric) = shape.metric else {
        bail!("{} is no metric of lists on a device", shape.metric);
    };
    let base = Drawn::of(of, dim, clusters(rows, dim, seed));
    let base = base.view()?;
    let truth = Drawn::of(of, dim, clusters(RECALL_QUERIES, dim, !seed));
    let truth = truth.view()?;
    let nearest = exact(device, metric, (base, truth), k)?;
    let options = BuildOptions::default();
    let started = Instant::now();
    let on_device = typed_lists_on(device, (lists.on_device(), metric), base, None, &options, TUNING)?;
    let of_device = started.elapsed().as_secs_f64();
    let started = Instant::now();
    let on_processor = AnyIndex::build(&lists.on_processor(), metric.into(), base, None, &options)?;
    let of_processor = started.elapsed().as_secs_f64();
    println!(
        "\n{rows} rows of {of:?} x {dim} in clusters: {} built in {of_device:.1} s, {} on {} cores in {of_processor:.1} s",
        on_device.kind(),
        on_processor.kind(),
        rayon::current_num_threads()
    );
    println!(
        "{:>7} {:>7} {:>7} {:>10} {:>12} {:>9} {:>9} {:>12} {:>7}",
        "effort", "queries", "recall", "ms", "queries/s", "GB/s", "of limit", "CPU q/s", "recall"
    );
    for &nprobe in lists.nprobe {
        let params = probing(nprobe);
        let by_device = |queries: &[VectorRef<'_>], stats: &mut SearchStats| {
            on_device.search_batch(base, queries, k, &params, None, stats)
        };
        let by_processor = |queries: &[VectorRef<'_>]| {
            let one = |&query: &VectorRef<'_>| {
                on_processor.search(base, query, k, &params, None, &mut SearchStats::default())
            };
            queries.par_iter().map(one).collect::<Result<Vec<_>, _>>()
        };
        let of_device = recall(&by_device(&refs(truth), &mut SearchStats::default())?, &nearest);
        let of_processor = recall(&by_processor(&refs(truth))?, &nearest);
        for &count in batches {
            let queries = Drawn::of(of, dim, clusters(count, dim, seed ^ count as u64));
            let queries = refs(queries.view()?);
            let mut stats = SearchStats::default();
            // Once to warm up, and to count what is looked at.
            by_device(&queries, &mut stats)?;
            let mut failed = Ok(());
            let seconds = median(shape.seconds, || {
                if let Err(error) = by_device(&queries, &mut SearchStats::default()) {
                    failed = Err(error);
                }
            });
            let cpu_seconds = median(shape.seconds, || {
                if let Err(error) = by_processor(&queries) {
                    failed = Err(error);
                }
            });
            failed?;
            let (bytes, operations) = lists.cost(of, dim);
            let rows_looked_at = stats.distances as f64 / seconds;
            let (bytes, operations) = (bytes * rows_looked_at, operations * rows_looked_at);
            // The ceiling of products is of floats.
            let operations = if of.is_float() { operations } else { 0.0 };
            let share = ceilings.map_or("-".to_owned(), |ceilings| {
                format!("{:.1} %", 100.0 * ceilings.share(bytes, operations))
            });
            println!(
                "{nprobe:>7} {count:>7} {of_device:>7.4} {:>10.3} {:>12.1} {:>9.1} {share:>9} {:>12.1} {of_processor:>7.4}",
                1e3 * seconds,
                count as f64 / seconds,
                1e-9 * bytes,
                count as f64 / cpu_seconds,
            );
        }
    }
    Ok(())
}
