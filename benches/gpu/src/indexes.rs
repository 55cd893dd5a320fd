//! GPU_IVF_FLAT, GPU_IVF_PQ and GPU_CAGRA of any type of vectors that they have: build times, and recall and speed for several
//! efforts of a search, then those of their equivalents on the processor over the same rows.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Result, bail, ensure};
use elanus_index::gpu::brute::{BruteForce, Rounds, Tuning};
use elanus_index::gpu::cagra::CagraParams;
use elanus_index::gpu::{
    Backend, Device, PqParams, SearchTuning, cagra_on, ivf_flat_on, ivf_pq_on, typed_cagra_on, typed_lists_on,
};
use elanus_index::{
    AnyIndex, AnyMetric, BuildOptions, BuildParams, Neighbor, SearchParams, SearchStats, VectorRef,
    VectorsRef,
};
use rayon::prelude::*;

use crate::ceilings::Ceilings;
use crate::data::clusters;
use crate::speed::Shape;
use crate::types::{Drawn, Type, part};

/// Queries of which the recall is told.
const RECALL_QUERIES: usize = 1000;
/// Rows, lists and queries that are checked.
const CHECKED: [usize; 3] = [4000, 30, 40];
/// The recall at which the fastest effort is told.
const WANTED_RECALL: f64 = 0.95;
/// Always on the device.
const TUNING: SearchTuning = SearchTuning {
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
        metric: AnyMetric,
        base: VectorsRef<'_>,
    ) -> Result<AnyIndex> {
        let options = BuildOptions::default();
        let graph = |degree| CagraParams {
            degree,
            intermediate_degree: 2 * degree,
            adapt_for_cpu: false,
        };
        if let (AnyMetric::Numbers(metric), VectorsRef::Floats(floats)) = (metric, base) {
            return Ok(AnyIndex::Dense(match *self {
                Self::Lists(nlist, _) => {
                    ivf_flat_on(device, (nlist, metric), floats, None, &options, TUNING)?
                }
                Self::Codes(params, _) => {
                    ivf_pq_on(device, (params, metric), floats, None, &options, TUNING)?
                }
                Self::Graph(degree, _) => {
                    cagra_on(device, (graph(degree), metric), floats, None, &options, TUNING)?
                }
            }));
        }
        let params = match *self {
            Self::Lists(nlist, _) => BuildParams::GpuIvfFlat { nlist },
            Self::Codes(params, _) => BuildParams::GpuIvfPq(params),
            Self::Graph(degree, _) => {
                let params = (graph(degree), metric);
                return Ok(typed_cagra_on(device, params, base, None, &options, TUNING)?);
            }
        };
        let AnyMetric::Numbers(metric) = metric else {
            bail!("{metric} is no metric of lists on a device");
        };
        Ok(typed_lists_on(
            device,
            (params, metric),
            base,
            None,
            &options,
            TUNING,
        )?)
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
    fn cost(&self, of: Type, dim: usize) -> (f64, f64) {
        match *self {
            Self::Codes(params, _) => {
                let bytes = f64::from(params.m) * if params.nbits <= 4 { 0.5 } else { 1.0 };
                (bytes + 4.0, f64::from(params.m))
            }
            // The ceiling of operations is one of floats.
            Self::Lists(..) | Self::Graph(..) => (
                (of.bits() * dim) as f64 / 8.0,
                if of.is_float() { 2.0 * dim as f64 } else { 0.0 },
            ),
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

/// Compares searches of all lists, by rows and by codes, and those of a long list of nodes, with exact ones, for every metric of a type.
/// Bits have no lists.
///
/// # Errors
/// When the device fails, or an answer is wrong.
pub fn check<B: Backend + 'static>(device: &Arc<Device<B>>, of: Type, k: usize, seed: u64) -> Result<()> {
    let [rows, lists, queries] = CHECKED;
    for (dim, m) in [(31, 31), (128, 32)] {
        let dim = if of == Type::Bit { 8 * dim } else { dim };
        let base = Drawn::of(of, dim, clusters(rows, dim, seed));
        let asked = Drawn::of(of, dim, clusters(queries, dim, !seed));
        let (base, asked) = (base.view()?, asked.view()?);
        for metric in of.metrics() {
            let exact = exact(device, metric, base, asked, k)?;
            let codes = PqParams {
                nlist: lists as u32,
                m,
                nbits: 8,
            };
            let all = [lists as u32];
            let of_lists = [
                ("GPU_IVF_FLAT", Family::Lists(lists as u32, &all), 0.999),
                ("GPU_IVF_PQ", Family::Codes(codes, &all), 0.8),
            ];
            let of_lists = of_lists.into_iter().filter(|_| of != Type::Bit);
            for (name, family, least) in of_lists.chain([("GPU_CAGRA", Family::Graph(32, &[512]), 0.9)]) {
                let index = family.on_device(device, metric, base)?;
                for (_, params) in family.efforts() {
                    let found = search(&index, base, asked, k, &params, &mut SearchStats::default())?;
                    let recall = recall(&found, &exact);
                    println!(
                        "{:>6} {dim:>6} {metric:>7} {name:>13} {recall:>9.5}",
                        format!("{of:?}")
                    );
                    ensure!(recall > least, "rows are missing");
                }
            }
        }
    }
    Ok(())
}

fn search(
    index: &AnyIndex,
    base: VectorsRef<'_>,
    queries: VectorsRef<'_>,
    k: usize,
    params: &SearchParams,
    stats: &mut SearchStats,
) -> Result<Vec<Vec<Neighbor>>> {
    if let (AnyIndex::Dense(index), VectorsRef::Floats(base), VectorsRef::Floats(queries)) =
        (index, base, queries)
    {
        return Ok(index.search_batch(base, queries, k, params, None, stats));
    }
    let queries: Vec<VectorRef<'_>> = (0..queries.len()).map(|query| queries.row(query)).collect();
    Ok(index.search_batch(base, &queries, k, params, None, stats)?)
}

fn exact<B: Backend>(
    device: &Arc<Device<B>>,
    metric: AnyMetric,
    base: VectorsRef<'_>,
    queries: VectorsRef<'_>,
    k: usize,
) -> Result<Vec<Vec<Neighbor>>> {
    let search = BruteForce::new(Arc::clone(device), metric, Tuning::default());
    let (mut stats, mut rounds) = (SearchStats::default(), Rounds::default());
    Ok(search.search(base, queries, k, None, &mut stats, &mut rounds)?)
}

/// The part of the wanted rows that were found, or others as near.
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

/// What indexes are measured with.
struct Measured<'a> {
    shape: &'a Shape,
    base: VectorsRef<'a>,
    truth: VectorsRef<'a>,
    /// The nearest rows of `truth`.
    nearest: Vec<Vec<Neighbor>>,
    /// Batches of queries.
    batches: Vec<Drawn>,
    ceilings: Option<&'a Ceilings>,
}

impl Measured<'_> {
    /// Prints a line for each effort and size of a batch, and for each size the fastest effort of enough recall. `search` adds to the
    /// statistics how many rows it looks at; `cost` is what each of these takes, where ceilings mean anything.
    fn table(
        &self,
        family: &Family<'_>,
        cost: Option<(f64, f64)>,
        search: impl Fn(VectorsRef<'_>, &SearchParams, &mut SearchStats) -> Result<Vec<Vec<Neighbor>>>,
    ) -> Result<()> {
        println!(
            "{:>7} {:>7} {:>7} {:>10} {:>12} {:>9} {:>9}",
            "effort", "queries", "recall", "ms", "queries/s", "GB/s", "of limit"
        );
        let mut fastest = vec![0.0f64; self.batches.len()];
        for (effort, params) in family.efforts() {
            let found = search(self.truth, &params, &mut SearchStats::default())?;
            let recall = recall(&found, &self.nearest);
            for (batch, fastest) in self.batches.iter().zip(&mut fastest) {
                let (queries, mut stats) = (batch.view()?, SearchStats::default());
                // Once to warm up, and to count what is looked at.
                search(queries, &params, &mut stats)?;
                let mut failed = Ok(());
                let seconds = median(self.shape.seconds, || {
                    if let Err(error) = search(queries, &params, &mut SearchStats::default()) {
                        failed = Err(error);
                    }
                });
                failed?;
                let per_second = queries.len() as f64 / seconds;
                if recall >= WANTED_RECALL {
                    *fastest = fastest.max(per_second);
                }
                let [rate, share] = cost.map_or(["-".to_owned(), "-".to_owned()], |(bytes, operations)| {
                    let rows = stats.distances as f64 / seconds;
                    let (bytes, operations) = (bytes * rows, operations * rows);
                    let share = self.ceilings.map_or("-".to_owned(), |ceilings| {
                        format!("{:.1} %", 100.0 * ceilings.share(bytes, operations))
                    });
                    [format!("{:.1}", 1e-9 * bytes), share]
                });
                println!(
                    "{effort:>7} {:>7} {recall:>7.4} {:>10.3} {per_second:>12.1} {rate:>9} {share:>9}",
                    queries.len(),
                    1e3 * seconds,
                );
            }
        }
        for (batch, fastest) in self.batches.iter().zip(fastest) {
            let told = if fastest > 0.0 {
                format!("{fastest:.1} queries/s")
            } else {
                "no effort reaches it".to_owned()
            };
            println!(
                "recall {WANTED_RECALL}, {} queries at a time: {told}",
                batch.view()?.len()
            );
        }
        Ok(())
    }
}

/// Prints what it takes to build the index on the device and how its searches do, then, unless it is left out, the same of its
/// equivalent on the processor.
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
    let Shape {
        rows,
        of,
        dim,
        k,
        metric,
        ..
    } = *shape;
    let base = Drawn::of(of, dim, clusters(rows, dim, seed));
    let truth = Drawn::of(of, dim, clusters(RECALL_QUERIES, dim, !seed));
    let (base, truth) = (base.view()?, truth.view()?);
    let batch = |&count: &usize| Drawn::of(of, dim, clusters(count, dim, seed ^ count as u64));
    let measured = Measured {
        shape,
        base,
        truth,
        nearest: exact(device, metric, base, truth, k)?,
        batches: batches.iter().map(batch).collect(),
        ceilings,
    };
    let started = Instant::now();
    let index = family.on_device(device, metric, base)?;
    println!(
        "\n{rows} rows x {dim} of {of:?} in clusters: {} built in {:.1} s",
        index.kind(),
        started.elapsed().as_secs_f64()
    );
    measured.table(family, Some(family.cost(of, dim)), |queries, params, stats| {
        search(&index, measured.base, queries, k, params, stats)
    })?;
    drop(index);
    if shape.without_processor {
        return Ok(());
    }
    let started = Instant::now();
    let index = AnyIndex::build(
        &family.on_processor(),
        metric,
        base,
        None,
        &BuildOptions::default(),
    )?;
    println!(
        "\nthe same on {} cores: {} built in {:.1} s",
        rayon::current_num_threads(),
        index.kind(),
        started.elapsed().as_secs_f64()
    );
    measured.table(family, None, |queries, params, _| {
        let one = |query: usize| {
            let (query, stats) = (part(queries, query, query + 1)?, &mut SearchStats::default());
            Ok(search(&index, base, query, k, params, stats)?
                .pop()
                .unwrap_or_default())
        };
        (0..queries.len()).into_par_iter().map(one).collect()
    })
}
