//! Exact search over vectors of any type: every allowed row is scored.

use rayon::prelude::*;

use super::list_index::exact_lists;
use super::scorer::Scorer;
use super::{VectorRef, VectorsRef};
use crate::any_metric::AnyMetric;
use crate::bitset::Bitset;
use crate::error::PairError;
use crate::exact::exact_in;
use crate::index::SearchStats;
use crate::neighbor::{Neighbor, TopK};
use crate::scorer::Space;
use crate::strategy::Strategy;
use crate::window::Window;

/// Work (numbers read) above which a search uses the thread pool.
const PARALLEL_NUMBERS: usize = 1 << 24;
/// Least rows of a task.
const PART_ROWS: usize = 256;
/// Rows that are scored between two looks at the heap.
const BLOCK_ROWS: usize = 256;

/// The `k` rows of `vectors` nearest to `query` within a window, best first, out of the rows in `allow` (all when `None`; rows beyond its
/// end are not allowed).
///
/// # Errors
/// [`PairError`] when the query is of another type or dimension than the rows, or their type has no such metric.
pub fn exact_search_any(
    metric: AnyMetric,
    vectors: VectorsRef<'_>,
    query: VectorRef<'_>,
    k: usize,
    within: Window,
    allow: Option<&Bitset>,
    stats: &mut SearchStats,
) -> Result<Vec<Neighbor>, PairError> {
    if let (VectorsRef::Lists(lists), VectorRef::List(query)) = (vectors, query) {
        return exact_lists(metric, lists, query, k, within, allow, stats);
    }
    let scorer = Scorer::new(metric, query)?;
    if !vectors.is_empty() {
        scorer.check(vectors.row(0))?;
    }
    if let (AnyMetric::Numbers(metric), VectorsRef::Floats(vectors), VectorRef::Floats(query)) =
        (metric, vectors, query)
    {
        let space = Space::new(metric, vectors, None);
        return Ok(exact_in(&space, query, k, within, allow, stats));
    }
    let rows = vectors.len();
    let scored = allow.map_or(rows, |allow| allow.count_range(0, rows));
    stats.strategy = if allow.is_some() {
        Strategy::ExactFiltered
    } else {
        Strategy::Exact
    };
    stats.distances += scored as u64;
    if k == 0 {
        return Ok(Vec::new());
    }
    let scan = |from: usize, to: usize| {
        let mut top = TopK::within(within, k, scored.min(to - from));
        let mut rows: Box<dyn Iterator<Item = usize>> = match allow {
            None => Box::new(from..to),
            Some(allow) => Box::new(allow.iter_range(from, to)),
        };
        let (mut picked, mut distances) = ([0u32; BLOCK_ROWS], [0.0f32; BLOCK_ROWS]);
        loop {
            let mut count = 0;
            for (slot, row) in picked.iter_mut().zip(&mut rows) {
                *slot = row as u32;
                count += 1;
            }
            if count == 0 {
                break;
            }
            let (picked, distances) = (&picked[..count], &mut distances[..count]);
            scorer.gather(vectors, picked, distances);
            for (&row, &distance) in picked.iter().zip(distances.iter()) {
                top.push(distance, row);
            }
        }
        top
    };
    let cost = vectors.row_cost().max(1);
    let top = if scored.saturating_mul(cost) < PARALLEL_NUMBERS {
        scan(0, rows)
    } else {
        let part = (PARALLEL_NUMBERS / 8 / cost).max(PART_ROWS);
        let parts = (0..rows.div_ceil(part)).into_par_iter();
        parts
            .map(|index| scan(index * part, ((index + 1) * part).min(rows)))
            .reduce(
                || TopK::within(within, k, 0),
                |mut left, right| {
                    left.merge(right);
                    left
                },
            )
    };
    Ok(top.into_sorted())
}
