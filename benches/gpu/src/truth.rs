//! Searches next to sums in 64 bits: recall, and how far distances are off.

use std::sync::Arc;

use anyhow::{Result, ensure};
use elanus_index::gpu::brute::{BruteForce, Rounds, Tuning};
use elanus_index::gpu::{Backend, Device};
use elanus_index::{Bitset, Metric, Neighbor, SearchStats, Vectors};
use rayon::prelude::*;

use crate::data::normals;

/// Dimensions that are checked: multiples of nothing, of four, and large.
const DIMENSIONS: [usize; 4] = [3, 31, 128, 768];
/// Queries that are checked, more than a large tile has.
const QUERIES: usize = 150;

/// Compares searches of every metric, with and without a filter, by batches that take each of the kernels.
///
/// # Errors
/// When the device fails, or an answer is wrong.
pub fn check<B: Backend>(device: &Arc<Device<B>>, rows: usize, k: usize, seed: u64) -> Result<()> {
    println!(
        "{:>6} {:>7} {:>9} {:>9} {:>14} {:>8} {:>6}",
        "dim", "metric", "filter", "recall", "largest error", "again", "exact"
    );
    for dim in DIMENSIONS {
        let rows = (rows * 128 / dim.max(128)).max(1);
        let (base, queries) = (normals(rows * dim, seed), normals(QUERIES * dim, !seed));
        let base = Vectors::new(&base, dim)?;
        for metric in [Metric::L2, Metric::Ip, Metric::Cosine] {
            let search = BruteForce::new(Arc::clone(device), metric, Tuning::default());
            for allow in [None, Some(Bitset::from_fn(rows, |row| row % 7 < 2))] {
                let allow = allow.as_ref();
                let mut rounds = Rounds::default();
                let (mut hits, mut wanted, mut error) = (0, 0, 0.0f64);
                // One for each kernel: 1, 4, 32 and 113 queries.
                for (from, to) in [(0, 1), (1, 5), (5, 37), (37, QUERIES)] {
                    let some = Vectors::new(&queries[from * dim..to * dim], dim)?;
                    let found =
                        search.search(base, some, k, allow, &mut SearchStats::default(), &mut rounds)?;
                    for (query, found) in found.iter().enumerate() {
                        let truth = distances(metric, base, some.row(query), allow);
                        let (found_hits, found_error) = compare(&truth, found, k);
                        hits += found_hits;
                        wanted += k.min(allow.map_or(rows, Bitset::count));
                        error = error.max(found_error);
                    }
                }
                let recall = hits as f64 / wanted as f64;
                println!(
                    "{dim:>6} {metric:>7} {:>9} {recall:>9.5} {error:>14.2e} {:>8} {:>6}",
                    allow.map_or("-", |_| "2 of 7"),
                    rounds.repeated,
                    rounds.exact,
                );
                // Rows whose distances differ by less than 32 bits tell may change places.
                ensure!(recall > 0.999, "rows are missing");
                ensure!(error < 1e-4, "distances are wrong");
            }
        }
    }
    Ok(())
}

/// Distances of all rows that may be found, in 64 bits; infinite for others.
fn distances(metric: Metric, rows: Vectors<'_>, query: &[f32], allow: Option<&Bitset>) -> Vec<f64> {
    let sum = |a: &[f32], b: &[f32]| {
        a.iter()
            .zip(b)
            .map(|(&a, &b)| f64::from(a) * f64::from(b))
            .sum::<f64>()
    };
    let query_square = sum(query, query);
    let distance = |row: usize| {
        if !allow.is_none_or(|allow| allow.get(row)) {
            return f64::INFINITY;
        }
        let stored = rows.row(row);
        match metric {
            Metric::L2 => {
                let squares = query
                    .iter()
                    .zip(stored)
                    .map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2));
                squares.sum()
            }
            Metric::Ip => -sum(query, stored),
            Metric::Cosine => -sum(query, stored) / (query_square * sum(stored, stored)).sqrt(),
        }
    };
    (0..rows.len()).into_par_iter().map(distance).collect()
}

/// How many of the rows found are as near as the true `k`th, and the largest error of a distance, relative to the larger of it
/// and 1.
fn compare(truth: &[f64], found: &[Neighbor], k: usize) -> (usize, f64) {
    let mut sorted: Vec<f64> = truth
        .iter()
        .copied()
        .filter(|distance| distance.is_finite())
        .collect();
    sorted.sort_by(f64::total_cmp);
    let Some(&worst) = sorted.get(k.min(sorted.len()).saturating_sub(1)) else {
        return (0, 0.0);
    };
    let (mut hits, mut error) = (0, 0.0f64);
    for neighbor in found {
        let Some(&exact) = truth.get(neighbor.row as usize) else {
            continue;
        };
        hits += usize::from(exact <= worst);
        error = error.max((f64::from(neighbor.distance) - exact).abs() / exact.abs().max(1.0));
    }
    (hits, error)
}
