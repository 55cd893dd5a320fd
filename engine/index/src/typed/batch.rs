//! Exact search of many queries over vectors of any type. Rows are walked in blocks that stay in cache while every query
//! visits them. Blocks of 16-bit floats and 8-bit integers are widened to 32-bit floats first, so that the panels of those
//! (see [`crate::panels`]) decide which pairs deserve the exact kernel of the type: the answer is that of single searches,
//! to the last bit.

use rayon::prelude::*;

use super::points::{Int8, Narrow};
use super::scorer::Scorer;
use super::{Rows, VectorRef, VectorsRef, exact_search_any};
use crate::any_metric::AnyMetric;
use crate::bitset::Bitset;
use crate::error::PairError;
use crate::exact::exact_search_batch;
use crate::index::SearchStats;
use crate::kernels::narrow::{BFloat16, Half};
use crate::metric::Metric;
use crate::neighbor::{Neighbor, TopK};
use crate::panels::{Group, Panels};
use crate::strategy::Strategy;
use crate::vectors::Vectors;

/// Work (numbers read) above which a search uses the thread pool.
const PARALLEL_NUMBERS: usize = 1 << 24;
/// Rows that are looked at to choose how distances are added up.
const SAMPLE_ROWS: usize = 64;
/// Most rows of a block.
const BLOCK_ROWS: usize = 512;
/// Most numbers of a block, once they are 32-bit floats: half of a usual second-level cache.
const BLOCK_NUMBERS: usize = 64 * 1024;

/// [`exact_search_any`] for each of `queries`, without a window; each row is read once for many of them. Queries and rows that are
/// lists are searched one after the other.
///
/// # Errors
/// [`PairError`] when a query is of another type or dimension than the rows, or their type has no such metric.
pub fn exact_search_any_batch<'a>(
    metric: AnyMetric,
    vectors: VectorsRef<'_>,
    queries: &[VectorRef<'a>],
    k: usize,
    allow: Option<&Bitset>,
    stats: &mut SearchStats,
) -> Result<Vec<Vec<Neighbor>>, PairError> {
    let mut scorers = Vec::with_capacity(queries.len());
    for query in queries {
        scorers.push(Scorer::new(metric, *query)?);
    }
    if vectors.is_empty() {
        return Ok(vec![Vec::new(); queries.len()]);
    }
    for scorer in &scorers {
        scorer.check(vectors.row(0))?;
    }
    let batch = Batch {
        vectors,
        scorers,
        k,
        allow,
    };
    match (metric, vectors) {
        (AnyMetric::Numbers(metric), VectorsRef::Floats(vectors)) => {
            let rows = queries.iter().flat_map(|query| match *query {
                VectorRef::Floats(query) => query,
                VectorRef::Halves(_) | VectorRef::BFloat16s(_) | VectorRef::Int8s(_) => &[],
                VectorRef::Bits(_) | VectorRef::Sparse(_) | VectorRef::Terms(_) | VectorRef::List(_) => &[],
            });
            let rows: Vec<f32> = rows.copied().collect();
            Ok(match Vectors::new(&rows, vectors.dim()) {
                Ok(queries) => exact_search_batch(metric, vectors, queries, k, allow, stats),
                Err(_) => vec![Vec::new(); queries.len()],
            })
        }
        (AnyMetric::Numbers(metric), VectorsRef::Halves(rows)) => {
            Ok(batch.numbers::<Half>(metric, rows, &bits_of(queries), stats))
        }
        (AnyMetric::Numbers(metric), VectorsRef::BFloat16s(rows)) => {
            Ok(batch.numbers::<BFloat16>(metric, rows, &bits_of(queries), stats))
        }
        (AnyMetric::Numbers(metric), VectorsRef::Int8s(rows)) => {
            let bytes = |query: &VectorRef<'a>| match *query {
                VectorRef::Int8s(query) => Some(query),
                VectorRef::Floats(_) | VectorRef::Halves(_) | VectorRef::BFloat16s(_) => None,
                VectorRef::Bits(_) | VectorRef::Sparse(_) | VectorRef::Terms(_) | VectorRef::List(_) => None,
            };
            let queries: Vec<&[i8]> = queries.iter().filter_map(bytes).collect();
            Ok(batch.numbers::<Int8>(metric, rows, &queries, stats))
        }
        (_, VectorsRef::Bits(_) | VectorsRef::Sparse(_)) => Ok(batch.each(stats)),
        (_, VectorsRef::Floats(_) | VectorsRef::Halves(_) | VectorsRef::BFloat16s(_))
        | (_, VectorsRef::Int8s(_) | VectorsRef::Lists(_)) => queries
            .iter()
            .map(|query| exact_search_any(metric, vectors, *query, k, Default::default(), allow, stats))
            .collect(),
    }
}

/// Rows as 32-bit floats, one after the other.
fn widen_rows<'a, N: Narrow>(rows: impl Iterator<Item = &'a [N::Bits]>, out: &mut Vec<f32>) {
    out.clear();
    for row in rows {
        out.extend(row.iter().map(|&bits| N::widen(bits)));
    }
}

/// The bits of queries of 16-bit floats.
fn bits_of<'a>(queries: &[VectorRef<'a>]) -> Vec<&'a [u16]> {
    let bits = |query: &VectorRef<'a>| match *query {
        VectorRef::Halves(query) | VectorRef::BFloat16s(query) => Some(query),
        VectorRef::Floats(_) | VectorRef::Int8s(_) | VectorRef::Bits(_) => None,
        VectorRef::Sparse(_) | VectorRef::Terms(_) | VectorRef::List(_) => None,
    };
    queries.iter().filter_map(bits).collect()
}

/// What every task of a batch shares.
struct Batch<'a> {
    vectors: VectorsRef<'a>,
    /// One for each query, which fits the rows.
    scorers: Vec<Scorer<'a>>,
    k: usize,
    allow: Option<&'a Bitset>,
}

impl Batch<'_> {
    /// Rows of numbers, `queries` being those of the scorers.
    fn numbers<N: Narrow>(
        &self,
        metric: Metric,
        rows: Rows<'_, N::Bits>,
        queries: &[&[N::Bits]],
        stats: &mut SearchStats,
    ) -> Vec<Vec<Neighbor>> {
        let dim = rows.width();
        let (mut wide, mut sample) = (Vec::new(), Vec::new());
        widen_rows::<N>(queries.iter().copied(), &mut wide);
        let step = (rows.len() / SAMPLE_ROWS).max(1);
        widen_rows::<N>(rows.data().chunks_exact(dim).step_by(step), &mut sample);
        let (Ok(wide), Ok(sample)) = (Vectors::new(&wide, dim), Vectors::new(&sample, dim)) else {
            return vec![Vec::new(); queries.len()];
        };
        let panels = Panels::new(metric, sample, wide);
        let numbers: Vec<u32> = (0..queries.len() as u32).collect();
        let groups: Vec<Group> = numbers
            .chunks(panels.group_queries())
            .map(|queries| panels.group(queries))
            .collect();
        if queries.len() < panels.least_queries() {
            return self.each(stats);
        }
        let scan = |wide: &mut Vec<f32>, picked: &[u32], tops: &mut [TopK]| {
            widen_rows::<N>(picked.iter().map(|&row| rows.row(row as usize)), wide);
            let Ok(block) = Vectors::new(wide, dim) else {
                return;
            };
            let places: Vec<u32> = (0..picked.len() as u32).collect();
            let mut terms = Vec::new();
            panels.terms(block, &places, &mut terms);
            let exact = |query: u32, place: u32| {
                let row = picked.get(place as usize).copied().unwrap_or(u32::MAX);
                let scorer = self.scorers.get(query as usize);
                Neighbor {
                    row,
                    distance: scorer
                        .map_or(f32::INFINITY, |scorer| scorer.one(self.vectors.row(row as usize))),
                }
            };
            for (group, tops) in groups.iter().zip(tops.chunks_mut(panels.group_queries())) {
                panels.scan(block, group, (&places, &terms), tops, exact);
            }
        };
        self.in_blocks((BLOCK_NUMBERS / dim).clamp(1, BLOCK_ROWS), scan, stats)
    }

    /// Rows of any type, query after query in each block.
    fn each(&self, stats: &mut SearchStats) -> Vec<Vec<Neighbor>> {
        let rows = (BLOCK_NUMBERS / self.vectors.row_cost().max(1)).clamp(1, BLOCK_ROWS);
        let scan = |distances: &mut Vec<f32>, picked: &[u32], tops: &mut [TopK]| {
            distances.resize(picked.len(), 0.0);
            for (scorer, top) in self.scorers.iter().zip(tops) {
                scorer.gather(self.vectors, picked, distances);
                for (&row, &distance) in picked.iter().zip(distances.iter()) {
                    top.push(distance, row);
                }
            }
        };
        self.in_blocks(rows, scan, stats)
    }

    /// Has `scan` offer the allowed rows of every block, by number, to the heaps of all queries; it is given room of its own.
    fn in_blocks(
        &self,
        block_rows: usize,
        scan: impl Fn(&mut Vec<f32>, &[u32], &mut [TopK]) + Sync,
        stats: &mut SearchStats,
    ) -> Vec<Vec<Neighbor>> {
        let (len, queries) = (self.vectors.len(), self.scorers.len());
        let scored = self.allow.map_or(len, |allow| allow.count_range(0, len));
        stats.strategy = if self.allow.is_some() {
            Strategy::ExactFiltered
        } else {
            Strategy::Exact
        };
        stats.distances += (scored * queries) as u64;
        if self.k == 0 || len == 0 {
            return vec![Vec::new(); queries];
        }
        let work = (scored * queries).saturating_mul(self.vectors.row_cost());
        let tasks = if work < PARALLEL_NUMBERS {
            1
        } else {
            2 * rayon::current_num_threads()
        };
        let part = len.div_ceil(tasks).next_multiple_of(block_rows);
        let run = |from: usize| {
            let to = (from + part).min(len);
            let mut tops = vec![TopK::new(self.k, scored.min(to - from)); queries];
            let (mut room, mut picked) = (Vec::new(), Vec::with_capacity(block_rows));
            for block in (from..to).step_by(block_rows) {
                let end = (block + block_rows).min(to);
                picked.clear();
                match self.allow {
                    None => picked.extend(block as u32..end as u32),
                    Some(allow) => picked.extend(allow.iter_range(block, end).map(|row| row as u32)),
                }
                if !picked.is_empty() {
                    scan(&mut room, &picked, &mut tops);
                }
            }
            tops
        };
        let merge = |mut best: Vec<TopK>, part: Vec<TopK>| {
            for (whole, part) in best.iter_mut().zip(part) {
                whole.merge(part);
            }
            best
        };
        let parts: Vec<usize> = (0..len).step_by(part).collect();
        let done: Vec<Vec<TopK>> = if tasks == 1 {
            parts.into_iter().map(run).collect()
        } else {
            parts.into_par_iter().map(run).collect()
        };
        let best = done.into_iter().reduce(merge).unwrap_or_default();
        best.into_iter().map(TopK::into_sorted).collect()
    }
}
