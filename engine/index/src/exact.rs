//! Exact search: every allowed row is scored. The oracle of all other indexes, the fallback of filtered searches, and the
//! whole of FLAT.
//!
//! One query walks the rows once. A batch walks them in blocks that stay in cache while every query visits the block, many
//! queries at a time (see `panels`). Both give the same rows with the same bits: the sums of a panel only decide which rows
//! deserve the exact kernel.

use rayon::prelude::*;

use crate::bitset::Bitset;
use crate::index::SearchStats;
use crate::kernels::panel::PANEL_ROWS;
use crate::metric::Metric;
use crate::neighbor::{Neighbor, TopK};
use crate::panels::{Group, Panels};
use crate::scorer::{Scorer, Space};
use crate::strategy::Strategy;
use crate::vectors::Vectors;
use crate::window::Window;

/// Rows by number that are scored between two looks at the heap.
const BLOCK_ROWS: usize = 256;
/// The same of contiguous rows, which are read in four places at once.
const SCAN_ROWS: usize = 1024;
/// Floats of a row block in a batch: half of a usual second-level cache.
const BLOCK_FLOATS: usize = 64 * 1024;
/// Work (floats read) above which a search uses the thread pool.
const PARALLEL_FLOATS: usize = 1 << 24;

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
        let part = (PARALLEL_FLOATS / 8 / vectors.dim()).max(SCAN_ROWS);
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
    let Some(allow) = allow else {
        let mut distances = [0.0f32; SCAN_ROWS];
        for first in (from..to).step_by(SCAN_ROWS) {
            let out = &mut distances[..SCAN_ROWS.min(to - first)];
            scorer.block(first, out);
            for (row, &distance) in (first as u32..).zip(out.iter()) {
                top.push(distance, row);
            }
        }
        return;
    };
    let mut distances = [0.0f32; BLOCK_ROWS];
    let mut picked = [0u32; BLOCK_ROWS];
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
    let panels = Panels::new(space.metric, vectors, queries);
    let numbers: Vec<u32> = (0..queries.len() as u32).collect();
    let groups: Vec<Group> = numbers
        .chunks(panels.group_queries())
        .map(|queries| panels.group(queries))
        .collect();
    let parallel = (scored * queries.len()).saturating_mul(vectors.dim()) >= PARALLEL_FLOATS;
    let row_parts = if parallel {
        2 * rayon::current_num_threads()
    } else {
        1
    };
    let part = vectors
        .len()
        .div_ceil(row_parts)
        .next_multiple_of(BLOCK_ROWS)
        .max(1);
    let parts: Vec<usize> = (0..vectors.len()).step_by(part).collect();
    let batch = Batch {
        space,
        scorers: (0..queries.len())
            .map(|query| space.scorer(queries.row(query)))
            .collect(),
        panels,
        groups,
        allow,
    };
    let run = |&from: &usize| {
        let to = (from + part).min(vectors.len());
        let mut tops = vec![TopK::within(within, k, scored.min(to - from)); queries.len()];
        batch.scan(from, to, &mut tops);
        tops
    };
    let done: Vec<Vec<TopK>> = if parallel {
        parts.par_iter().map(run).collect()
    } else {
        parts.iter().map(run).collect()
    };
    let mut done = done.into_iter();
    let Some(mut best) = done.next() else {
        return vec![Vec::new(); queries.len()];
    };
    for part in done {
        for (whole, part) in best.iter_mut().zip(part) {
            whole.merge(part);
        }
    }
    best.into_iter().map(TopK::into_sorted).collect()
}

/// What every task of a batch shares.
struct Batch<'a> {
    space: &'a Space<'a>,
    /// One for each query.
    scorers: Vec<Scorer<'a>>,
    panels: Panels<'a>,
    groups: Vec<Group>,
    allow: Option<&'a Bitset>,
}

impl Batch<'_> {
    /// Offers rows `from..to` to the heap of every query.
    fn scan(&self, from: usize, to: usize, tops: &mut [TopK]) {
        let block_rows = (BLOCK_FLOATS / self.space.vectors.dim()).clamp(PANEL_ROWS, BLOCK_ROWS);
        let (mut rows, mut terms) = (Vec::with_capacity(block_rows), Vec::new());
        for block in (from..to).step_by(block_rows) {
            let end = (block + block_rows).min(to);
            rows.clear();
            match self.allow {
                None => rows.extend(block as u32..end as u32),
                Some(allow) => rows.extend(allow.iter_range(block, end).map(|row| row as u32)),
            }
            if rows.is_empty() {
                continue;
            }
            terms.clear();
            let sizes = tops.chunks_mut(self.panels.group_queries());
            for (group, tops) in self.groups.iter().zip(sizes) {
                if group.queries.len() < self.panels.least_queries() {
                    for (&query, top) in group.queries.iter().zip(tops) {
                        if let Some(scorer) = self.scorers.get(query as usize) {
                            scan_rows(scorer, block, end, self.allow, top);
                        }
                    }
                    continue;
                }
                let vectors = self.space.vectors;
                if terms.is_empty() {
                    self.panels.terms(vectors, &rows, &mut terms);
                }
                let exact = |query: u32, row| Neighbor {
                    row,
                    distance: self
                        .scorers
                        .get(query as usize)
                        .map_or(f32::INFINITY, |scorer| scorer.one(row)),
                };
                self.panels.scan(vectors, group, (&rows, &terms), tops, exact);
            }
        }
    }
}
