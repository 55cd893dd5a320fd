//! Exact search on a device: GPU_BRUTE_FORCE.
//!
//! ```text
//!   queries ──┐
//!             v          rows, resident on the device or uploaded part by part
//!   candidates kernel:   range 1 | range 2      | range 3 ..                        |
//!             |           all     within the bound of the best so far
//!             v
//!   a list for each query ── select_k ──> the best k' and a bound ──> next range
//!             |
//!             v   on the processor
//!   exact distances of k' rows ── proved? ──> k rows     else once more with more candidates, then exact search
//! ```
//!
//! So the answer is that of [`crate::exact_search_batch`], bit for bit, whatever the device rounds. A range that brings more
//! candidates than a list has room for (rows sorted by distance, say) is compared again in pieces that cannot.

use std::sync::Arc;

use parking_lot::Mutex;
use rayon::prelude::*;

use super::backend::{Backend, Device};
use super::batch::Found;
use super::error::GpuError;
use super::parts::Part;
use super::ranges::width;
use super::sides::Sides;
use crate::any_metric::AnyMetric;
use crate::bitset::Bitset;
use crate::index::SearchStats;
use crate::neighbor::{Neighbor, TopK};
use crate::strategy::Strategy;
use crate::typed::VectorsRef;

/// Sizes that tests make small.
#[derive(Debug, Clone, Copy)]
pub struct Tuning {
    /// Least places of a query's list.
    pub room: usize,
    /// Most queries of a batch.
    pub queries: usize,
    /// Most rows of a part that is uploaded for a search; none stay on the device when it is set.
    pub part_rows: Option<usize>,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            room: 8192,
            queries: 4096,
            part_rows: None,
        }
    }
}

/// What a search did on the device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rounds {
    /// Ranges that were compared.
    pub ranges: usize,
    /// Ranges of them that brought too many candidates and were compared again.
    pub overflows: usize,
    /// Queries whose first candidates proved nothing.
    pub repeated: usize,
    /// Queries that the processor answered in the end.
    pub exact: usize,
}

impl Rounds {
    /// Counts what another search did.
    pub(super) fn add(&mut self, other: &Self) {
        self.ranges += other.ranges;
        self.overflows += other.overflows;
        self.repeated += other.repeated;
        self.exact += other.exact;
    }
}

/// Exact search over one segment.
#[derive(Debug)]
pub struct BruteForce<B: Backend> {
    pub(super) device: Arc<Device<B>>,
    pub(super) metric: AnyMetric,
    pub(super) tuning: Tuning,
    /// All rows, once a search has uploaded them.
    pub(super) resident: Mutex<Option<Arc<Part<B>>>>,
}

/// What a search is about.
pub(super) struct Task<'a> {
    pub(super) sides: Sides<'a>,
    pub(super) allow: Option<&'a Bitset>,
    /// Rows that may be found.
    pub(super) allowed: usize,
}

impl Task<'_> {
    /// Words of a row on the device.
    pub(super) fn row_words(&self) -> usize {
        self.sides.element.row_words(self.sides.stride())
    }
}

impl<B: Backend> BruteForce<B> {
    /// A search on `device`.
    pub fn new(device: Arc<Device<B>>, metric: impl Into<AnyMetric>, tuning: Tuning) -> Self {
        Self {
            device,
            metric: metric.into(),
            tuning,
            resident: Mutex::new(None),
        }
    }

    /// Bytes that the rows take on the device, 0 before the first search and when they do not stay there.
    pub fn resident_bytes(&self) -> usize {
        let resident = self.resident.lock();
        resident.as_ref().map_or(0, |part| part.held.bytes())
    }

    /// The `k` rows of `vectors` nearest to each of `queries`, best first, out of the rows in `allow` (all when `None`):
    /// what [`crate::exact_search_batch`] and, for other types than 32-bit floats, [`crate::exact_search_any`] find. `vectors`
    /// are the same in every call. Nothing is found when rows and queries are not alike or have not the metric.
    ///
    /// # Errors
    /// When the device fails, or has not the memory for a part of the rows.
    pub fn search<'a>(
        &self,
        vectors: impl Into<VectorsRef<'a>>,
        queries: impl Into<VectorsRef<'a>>,
        k: usize,
        allow: Option<&Bitset>,
        stats: &mut SearchStats,
        rounds: &mut Rounds,
    ) -> Result<Vec<Vec<Neighbor>>, GpuError> {
        let (vectors, queries) = (vectors.into(), queries.into());
        let allowed = allow.map_or(vectors.len(), |allow| allow.count_range(0, vectors.len()));
        let mut results = vec![Vec::new(); queries.len()];
        if k == 0 || allowed == 0 || queries.is_empty() {
            return Ok(results);
        }
        let Some(sides) = Sides::new(self.metric, vectors, queries) else {
            return Ok(results);
        };
        let task = Task {
            sides,
            allow,
            allowed,
        };
        let mut open: Vec<u32> = (0..queries.len() as u32).collect();
        for attempt in 0.. {
            let Some(width) = width(k, attempt) else { break };
            if open.is_empty() {
                break;
            }
            if attempt > 0 {
                rounds.repeated += open.len();
            }
            let mut left = Vec::new();
            let batches = open.chunks(self.batch_queries(width, sides.stride()));
            for batch in batches {
                let found = self.nearest(&task, batch, width, rounds)?;
                let proved: Vec<Option<Vec<Neighbor>>> = (0..batch.len())
                    .into_par_iter()
                    .map(|at| prove(&task, batch[at], at, &found, k))
                    .collect();
                for (&query, proved) in batch.iter().zip(proved) {
                    match (proved, results.get_mut(query as usize)) {
                        (Some(neighbors), Some(result)) => *result = neighbors,
                        _ => left.push(query),
                    }
                }
            }
            open = left;
        }
        rounds.exact += open.len();
        for (query, neighbors) in open.iter().zip(sides.exact(&open, k, allow)) {
            if let Some(result) = results.get_mut(*query as usize) {
                *result = neighbors;
            }
        }
        stats.strategy = if allow.is_some() {
            Strategy::ExactFiltered
        } else {
            Strategy::Exact
        };
        stats.distances += (allowed * queries.len()) as u64;
        Ok(results)
    }

    /// Places of a query's list.
    pub(super) fn room(&self, width: usize) -> usize {
        self.tuning.room.max(4 * width)
    }

    /// Bytes on the device for each query of a batch.
    pub(super) fn query_bytes(&self, width: usize, stride: usize) -> usize {
        4 * (4 * self.room(width) + 2 * width + stride + 8)
    }

    /// Queries of a batch: as many as have room in a quarter of the memory.
    fn batch_queries(&self, width: usize, stride: usize) -> usize {
        let quarter = self.device.budget.limit() / 4;
        (quarter / self.query_bytes(width, stride)).clamp(1, self.tuning.queries.max(1))
    }

    /// The `width` nearest rows of some queries, as the device sees it.
    fn nearest(
        &self,
        task: &Task<'_>,
        batch: &[u32],
        width: usize,
        rounds: &mut Rounds,
    ) -> Result<Found, GpuError> {
        let _turn = self.device.turn.lock();
        let resident = self.resident(task)?;
        let mut state = self.state(task, batch, width)?;
        let largest = match resident {
            Some(part) => {
                self.compare(task, &part, &mut state, batch.len(), rounds)?;
                part.largest
            }
            None => self.compare_parts(task, &mut state, batch.len(), rounds)?,
        };
        self.collect(state, batch.len(), largest)
    }
}

/// The best `k` of a query's candidates by their exact distances; `None` when others could be as near.
fn prove(task: &Task<'_>, query: u32, at: usize, found: &Found, k: usize) -> Option<Vec<Neighbor>> {
    let count = *found.counts.get(at)? as usize;
    let rows = found.rows.get(at * found.width..)?.get(..count)?;
    let bound = *found.bounds.get(at)?;
    let mut distances = vec![0.0; rows.len()];
    task.sides.distances(query, rows, &mut distances);
    let mut top = TopK::new(k, count);
    for (&row, &distance) in rows.iter().zip(&distances) {
        top.push(distance, row);
    }
    let complete = count >= task.allowed;
    let proved = || top.len() == k && task.sides.slack(query, found.largest).proves(top.bound(), bound);
    (complete || proved()).then(|| top.into_sorted())
}
