//! Exact search: every allowed row is scored. The oracle of all other indexes, the fallback of filtered searches, and the
//! whole of FLAT.
//!
//! One query walks the rows once. A batch walks them in blocks that stay in cache while every query visits the block,
//! four queries at a time (register tiles). Both give the same rows with the same bits: the tile distances only decide
//! which rows deserve the exact kernel.

use rayon::prelude::*;

use crate::bitset::Bitset;
use crate::index::SearchStats;
use crate::kernels::{TILE, kernels};
use crate::metric::Metric;
use crate::neighbor::{Neighbor, TopK};
use crate::scorer::{Scorer, Space, tile_error};
use crate::strategy::Strategy;
use crate::vectors::Vectors;
use crate::window::Window;

/// Rows scored between two looks at the heap.
const BLOCK_ROWS: usize = 256;
/// Floats of a row block in a batch: half of a usual second-level cache.
const BLOCK_FLOATS: usize = 64 * 1024;
/// Work (floats read) above which a search uses the thread pool.
const PARALLEL_FLOATS: usize = 1 << 24;
/// Queries of a batch that share one pass over the rows.
const GROUP_QUERIES: usize = 64;
/// With fewer than one allowed row in so many, rows are picked one by one instead of scoring whole blocks.
const SPARSE: usize = 4;

/// The `k` rows of `vectors` nearest to `query`, best first, out of the rows in `allow` (all when `None`; rows beyond its
/// end are not allowed). Nothing is found when the query's dimension differs from the rows'.
pub fn exact_search(
    metric: Metric,
    vectors: Vectors<'_>,
    query: &[f32],
    k: usize,
    allow: Option<&Bitset>,
    stats: &mut SearchStats,
) -> Vec<Neighbor> {
    let space = Space::new(metric, vectors, None);
    exact_in(&space, query, k, Window::default(), allow, stats)
}

/// [`exact_search`] for every row of `queries`: the same rows, read once per group of queries instead of once per query.
pub fn exact_search_batch(
    metric: Metric,
    vectors: Vectors<'_>,
    queries: Vectors<'_>,
    k: usize,
    allow: Option<&Bitset>,
    stats: &mut SearchStats,
) -> Vec<Vec<Neighbor>> {
    let space = Space::new(metric, vectors, None);
    exact_batch_in(&space, queries, k, Window::default(), allow, stats)
}

/// Sets the strategy and counts the rows that a search over `rows` rows looks at.
fn count_work(rows: usize, queries: usize, allow: Option<&Bitset>, stats: &mut SearchStats) -> usize {
    let scored = allow.map_or(rows, |allow| allow.count_range(0, rows));
    stats.strategy = if allow.is_some() {
        Strategy::ExactFiltered
    } else {
        Strategy::Exact
    };
    stats.distances += (scored * queries) as u64;
    scored
}

pub(crate) fn exact_in(
    space: &Space<'_>,
    query: &[f32],
    k: usize,
    within: Window,
    allow: Option<&Bitset>,
    stats: &mut SearchStats,
) -> Vec<Neighbor> {
    let vectors = space.vectors;
    debug_assert_eq!(query.len(), vectors.dim(), "query dimension");
    if k == 0 || query.len() != vectors.dim() {
        return Vec::new();
    }
    let scored = count_work(vectors.len(), 1, allow, stats);
    let scorer = space.scorer(query);
    let scan = |from: usize, to: usize| {
        let mut top = TopK::within(within, k, scored.min(to - from));
        scan_rows(&scorer, from, to, allow, &mut top);
        top
    };
    let top = if scored * vectors.dim() < PARALLEL_FLOATS {
        scan(0, vectors.len())
    } else {
        let part = (PARALLEL_FLOATS / 8 / vectors.dim()).max(BLOCK_ROWS);
        let parts = (0..vectors.len().div_ceil(part)).into_par_iter();
        parts
            .map(|index| scan(index * part, ((index + 1) * part).min(vectors.len())))
            .reduce(
                || TopK::within(within, k, 0),
                |mut left, right| {
                    left.merge(right);
                    left
                },
            )
    };
    top.into_sorted()
}

/// Offers rows `from..to` to the heap with their exact distances.
fn scan_rows(scorer: &Scorer<'_>, from: usize, to: usize, allow: Option<&Bitset>, top: &mut TopK) {
    let mut distances = [0.0f32; BLOCK_ROWS];
    let mut picked = [0u32; BLOCK_ROWS];
    let Some(allow) = allow else {
        for first in (from..to).step_by(BLOCK_ROWS) {
            let out = &mut distances[..BLOCK_ROWS.min(to - first)];
            scorer.block(first, out);
            for (row, &distance) in (first as u32..).zip(out.iter()) {
                top.push(distance, row);
            }
        }
        return;
    };
    let mut rows = allow.iter_range(from, to);
    loop {
        let mut count = 0;
        for (slot, row) in picked.iter_mut().zip(rows.by_ref().take(BLOCK_ROWS)) {
            *slot = row as u32;
            count += 1;
        }
        if count == 0 {
            return;
        }
        scorer.gather(&picked[..count], &mut distances[..count]);
        for (&row, &distance) in picked[..count].iter().zip(&distances) {
            top.push(distance, row);
        }
    }
}

pub(crate) fn exact_batch_in(
    space: &Space<'_>,
    queries: Vectors<'_>,
    k: usize,
    within: Window,
    allow: Option<&Bitset>,
    stats: &mut SearchStats,
) -> Vec<Vec<Neighbor>> {
    let vectors = space.vectors;
    debug_assert_eq!(queries.dim(), vectors.dim(), "query dimension");
    if k == 0 || queries.dim() != vectors.dim() {
        return vec![Vec::new(); queries.len()];
    }
    let scored = count_work(vectors.len(), queries.len(), allow, stats);
    let batch = Batch::new(space, queries, k, within, allow, scored);
    let groups = queries.len().div_ceil(GROUP_QUERIES);
    let parallel = (scored * queries.len()).saturating_mul(vectors.dim()) >= PARALLEL_FLOATS;
    // Few groups: the rows are cut too, so that every thread has something to do.
    let row_parts = if parallel {
        (2 * rayon::current_num_threads()).div_ceil(groups.max(1))
    } else {
        1
    };
    let part = vectors
        .len()
        .div_ceil(row_parts)
        .next_multiple_of(BLOCK_ROWS)
        .max(1);
    let tasks: Vec<(usize, usize)> = (0..groups)
        .flat_map(|group| {
            (0..vectors.len().max(1))
                .step_by(part)
                .map(move |from| (group, from))
        })
        .collect();
    let run = |&(group, from): &(usize, usize)| {
        let first = group * GROUP_QUERIES;
        let count = GROUP_QUERIES.min(queries.len() - first);
        (
            first,
            batch.scan(first, count, from, (from + part).min(vectors.len())),
        )
    };
    let done: Vec<(usize, Vec<TopK>)> = if parallel {
        tasks.par_iter().map(run).collect()
    } else {
        tasks.iter().map(run).collect()
    };
    let mut best: Vec<TopK> = (0..queries.len())
        .map(|_| TopK::within(within, k, scored))
        .collect();
    for (first, parts) in done {
        for (whole, part) in best.iter_mut().skip(first).zip(parts) {
            whole.merge(part);
        }
    }
    best.into_iter().map(TopK::into_sorted).collect()
}

/// What every task of a batch shares.
struct Batch<'a> {
    space: &'a Space<'a>,
    queries: Vectors<'a>,
    scorers: Vec<Scorer<'a>>,
    inverse_queries: Vec<f32>,
    /// `|q|`: with the row's norm the size of the terms of an inner product, and so of its rounding error.
    query_norms: Vec<f32>,
    allow: Option<&'a Bitset>,
    k: usize,
    within: Window,
    scored: usize,
}

impl<'a> Batch<'a> {
    fn new(
        space: &'a Space<'a>,
        queries: Vectors<'a>,
        k: usize,
        within: Window,
        allow: Option<&'a Bitset>,
        scored: usize,
    ) -> Self {
        let scorers: Vec<Scorer<'a>> = (0..queries.len())
            .map(|index| space.scorer(queries.row(index)))
            .collect();
        let inverse_queries = scorers.iter().map(Scorer::inverse_query).collect();
        let norm = |index| kernels().dot(queries.row(index), queries.row(index)).sqrt();
        let query_norms = (0..queries.len()).map(norm).collect();
        Self {
            space,
            queries,
            scorers,
            inverse_queries,
            query_norms,
            allow,
            k,
            within,
            scored,
        }
    }

    /// The best `k` of rows `from..to` for `count` queries from `first` on.
    fn scan(&self, first: usize, count: usize, from: usize, to: usize) -> Vec<TopK> {
        let dim = self.space.vectors.dim();
        let mut best: Vec<TopK> = (0..count)
            .map(|_| TopK::within(self.within, self.k, self.scored.min(to - from)))
            .collect();
        let block_rows = (BLOCK_FLOATS / dim).clamp(TILE, BLOCK_ROWS);
        let mut out = vec![0.0f32; TILE * block_rows];
        for block in (from..to).step_by(block_rows) {
            let rows = block_rows.min(to - block);
            let allowed = self
                .allow
                .map_or(rows, |allow| allow.count_range(block, block + rows));
            if allowed == 0 {
                continue;
            }
            let sparse = allowed * SPARSE < rows;
            let row_norms = if sparse {
                Vec::new()
            } else {
                self.row_norms(block, rows)
            };
            for (tile, tops) in best.chunks_mut(TILE).enumerate() {
                let query = first + tile * TILE;
                if sparse || tops.len() < TILE {
                    for (scorer, top) in self.scorers.iter().skip(query).zip(tops) {
                        scan_rows(scorer, block, block + rows, self.allow, top);
                    }
                } else {
                    let out = &mut out[..TILE * rows];
                    let inverse = self.inverse_queries.get(query..query + TILE).unwrap_or(&[]);
                    self.space
                        .tile(self.queries.rows(query, TILE), inverse, block, rows, out);
                    for ((index, top), distances) in (query..).zip(tops).zip(out.chunks_exact(rows)) {
                        self.offer(index, block, distances, &row_norms, top);
                    }
                }
            }
        }
        best
    }

    /// Norms of a block's rows, needed to bound the error of an inner product only.
    fn row_norms(&self, first: usize, count: usize) -> Vec<f32> {
        if self.space.metric != Metric::Ip {
            return Vec::new();
        }
        let rows = self
            .space
            .vectors
            .rows(first, count)
            .chunks_exact(self.space.vectors.dim());
        rows.map(|row| kernels().dot(row, row).sqrt()).collect()
    }

    /// Offers the rows whose tile distance may enter, with the distance of the exact kernel.
    fn offer(&self, query: usize, first: usize, distances: &[f32], row_norms: &[f32], top: &mut TopK) {
        let (Some(scorer), Some(&query_norm)) = (self.scorers.get(query), self.query_norms.get(query)) else {
            return;
        };
        let error = tile_error(self.space.vectors.dim());
        for (index, &distance) in distances.iter().enumerate() {
            let size = match self.space.metric {
                Metric::L2 => distance,
                Metric::Ip => query_norm * row_norms.get(index).copied().unwrap_or(f32::INFINITY),
                Metric::Cosine => 1.0,
            };
            // Written so that an overflowed size (infinite or NaN) lets the row through.
            let hopeless = distance - error * size > top.bound();
            let row = first + index;
            if !hopeless && self.allow.is_none_or(|allow| allow.get(row)) {
                top.push(scorer.one(row as u32), row as u32);
            }
        }
    }
}
