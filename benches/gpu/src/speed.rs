//! How fast batches of several sizes are, and what part of the ceilings that is.

use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use elanus_index::gpu::brute::{BruteForce, Rounds, Tuning};
use elanus_index::gpu::{Backend, Device};
use elanus_index::{AnyMetric, SearchStats, VectorRef, exact_search_any_batch};
use rayon::prelude::*;

use crate::ceilings::Ceilings;
use crate::indexes::median;
use crate::types::{Drawn, Type};

/// What is searched.
#[derive(Debug)]
pub struct Shape {
    /// Rows.
    pub rows: usize,
    /// What a row is made of.
    pub of: Type,
    /// Elements of a row.
    pub dim: usize,
    /// Rows wanted for each query.
    pub k: usize,
    /// How rows are compared.
    pub metric: AnyMetric,
    /// Least seconds for each size of a batch.
    pub seconds: f64,
    /// Whether the same on the processor is left out.
    pub without_processor: bool,
}

/// Most queries of a batch on the processor, which takes as long for each of them.
const MOST_ON_PROCESSOR: usize = 1000;

/// Prints a line for each size. Times are of whole searches: copies to and from the device and the exact distances of the
/// final rows, on the processor, are in them.
///
/// # Errors
/// When the device fails.
pub fn measure<B: Backend>(
    device: &Arc<Device<B>>,
    shape: &Shape,
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
    let started = Instant::now();
    let base = Drawn::new(of, rows, dim, seed ^ 0x5555);
    println!(
        "{rows} rows x {dim} of {of:?}, drawn in {:.1} s",
        started.elapsed().as_secs_f64()
    );
    let base = base.view()?;
    let search = BruteForce::new(Arc::clone(device), metric, Tuning::default());
    let first = Drawn::new(of, 1, dim, seed ^ 0x7777);
    let started = Instant::now();
    search.search(
        base,
        first.view()?,
        k,
        None,
        &mut SearchStats::default(),
        &mut Rounds::default(),
    )?;
    println!(
        "first search, with the upload: {:.3} s; {:.2} GiB stay on the device",
        started.elapsed().as_secs_f64(),
        search.resident_bytes() as f64 / f64::from(1 << 30),
    );
    println!(
        "{:>7} {:>10} {:>12} {:>9} {:>9} {:>9} {:>7} {:>7} {:>6}",
        "queries", "ms", "queries/s", "GB/s", "TFLOP/s", "of limit", "ranges", "again", "exact"
    );
    for &count in batches {
        let queries = Drawn::new(of, count, dim, seed ^ count as u64);
        let queries = queries.view()?;
        let mut rounds = Rounds::default();
        let mut seconds = Vec::new();
        let started = Instant::now();
        // Once to warm up.
        search.search(
            base,
            queries,
            k,
            None,
            &mut SearchStats::default(),
            &mut Rounds::default(),
        )?;
        while seconds.len() < 3 || started.elapsed().as_secs_f64() < shape.seconds {
            rounds = Rounds::default();
            let one = Instant::now();
            search.search(base, queries, k, None, &mut SearchStats::default(), &mut rounds)?;
            seconds.push(one.elapsed().as_secs_f64());
        }
        seconds.sort_by(f64::total_cmp);
        let median = seconds.get(seconds.len() / 2).copied().unwrap_or(f64::NAN);
        // What cannot be avoided: the rows are read once, and each pair takes a multiplication and an addition per dimension.
        let bytes = (rows * dim * of.bits() / 8) as f64 / median;
        let operations = 2.0 * (rows * dim) as f64 * count as f64 / median;
        // The ceiling is one of floats.
        let counted = if of.is_float() { operations } else { 0.0 };
        let share = ceilings.map_or("-".to_owned(), |ceilings| {
            format!("{:.1} %", 100.0 * ceilings.share(bytes, counted))
        });
        println!(
            "{count:>7} {:>10.3} {:>12.1} {:>9.1} {:>9.3} {share:>9} {:>7} {:>7} {:>6}",
            1e3 * median,
            count as f64 / median,
            bytes / 1e9,
            operations / 1e12,
            rounds.ranges,
            rounds.repeated,
            rounds.exact,
        );
    }
    if shape.without_processor {
        return Ok(());
    }
    println!("the same on {} cores", rayon::current_num_threads());
    println!("{:>7} {:>10} {:>12}", "queries", "ms", "queries/s");
    for &count in batches.iter().filter(|&&count| count <= MOST_ON_PROCESSOR) {
        let queries = Drawn::new(of, count, dim, seed ^ count as u64);
        let queries = queries.view()?;
        let queries: Vec<VectorRef<'_>> = (0..count).map(|query| queries.row(query)).collect();
        // Each core takes as many of the queries, and reads every row once for all of them.
        let part = count.div_ceil(rayon::current_num_threads()).max(1);
        let mut failed = Ok(());
        let seconds = median(shape.seconds, || {
            let search = |queries: &[VectorRef<'_>]| {
                exact_search_any_batch(metric, base, queries, k, None, &mut SearchStats::default())
            };
            let found: Result<Vec<_>, _> = queries.par_chunks(part).map(search).collect();
            if let Err(error) = found {
                failed = Err(error);
            }
        });
        failed?;
        println!(
            "{count:>7} {:>10.3} {:>12.1}",
            1e3 * seconds,
            count as f64 / seconds
        );
    }
    Ok(())
}
