//! GPU_BRUTE_FORCE over several devices: each has a part of the rows, and the nearest rows of all parts are the answer.

use std::sync::Arc;

use super::backend::{Backend, Device};
use super::brute::{BruteForce, Rounds, Tuning};
use super::error::GpuError;
use super::index::{Ask, DeviceSearch};
use super::threads::at_once;
use super::units::slice;
use crate::any_metric::AnyMetric;
use crate::bitset::Bitset;
use crate::flat::Flat;
use crate::index::SearchStats;
use crate::neighbor::{Neighbor, TopK};
use crate::typed::VectorsRef;

/// Rows of a part are a multiple of this, so that bits of a filter start at a word.
const PART_ROWS: usize = 128;

/// Exact search over one segment, on a device and those that it shares its work with.
#[derive(Debug)]
pub struct Shards<B: Backend> {
    parts: Vec<BruteForce<B>>,
}

impl<B: Backend> Shards<B> {
    /// A search on `device`, and on its peers.
    pub fn new(device: &Arc<Device<B>>, metric: impl Into<AnyMetric>, tuning: Tuning) -> Self {
        let metric = metric.into();
        let of_device = |device| BruteForce::new(device, metric, tuning);
        Self {
            parts: device.all().into_iter().map(of_device).collect(),
        }
    }

    /// Bytes that the rows take on all devices, see [`BruteForce::resident_bytes`].
    pub fn resident_bytes(&self) -> usize {
        self.parts.iter().map(BruteForce::resident_bytes).sum()
    }

    /// As [`BruteForce::search`]: the same answer, whatever the number of devices.
    ///
    /// # Errors
    /// When a device fails, or has not the memory for a part of its rows.
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
        if let [only] = self.parts.as_slice() {
            return only.search(vectors, queries, k, allow, stats, rounds);
        }
        let rows = vectors
            .len()
            .div_ceil(self.parts.len().max(1))
            .next_multiple_of(PART_ROWS);
        let found = at_once(&self.parts, |at, part| {
            let first = (at * rows).min(vectors.len());
            let end = (first + rows).min(vectors.len());
            let allow = allow.map(|allow| part_of(allow, first, end));
            let (mut stats, mut rounds) = (SearchStats::default(), Rounds::default());
            let rows = slice(vectors, first, end);
            let found = part.search(rows, queries, k, allow.as_ref(), &mut stats, &mut rounds)?;
            Ok((first as u32, found, stats, rounds))
        });
        let mut tops: Vec<TopK> = (0..queries.len()).map(|_| TopK::new(k, vectors.len())).collect();
        for (first, found, of_part, rounds_of_part) in
            found.into_iter().flatten().collect::<Result<Vec<_>, _>>()?
        {
            for (top, neighbors) in tops.iter_mut().zip(found) {
                for neighbor in neighbors {
                    top.push(neighbor.distance, first + neighbor.row);
                }
            }
            // A part without a row that may be found was not searched.
            if of_part.distances > 0 {
                stats.add(&of_part);
            }
            rounds.add(&rounds_of_part);
        }
        Ok(tops.into_iter().map(TopK::into_sorted).collect())
    }
}

/// The bits of the rows `first..end`; `first` is a multiple of 64.
fn part_of(allow: &Bitset, first: usize, end: usize) -> Bitset {
    let words = allow.words().get(first / 64..end.div_ceil(64)).unwrap_or(&[]);
    Bitset::from_words(words.to_vec(), end - first)
}

impl<B: Backend> DeviceSearch<Flat> for Shards<B> {
    fn rows_looked_at(&self, host: &Flat, ask: &Ask<'_>) -> usize {
        ask.candidates.allowed.unwrap_or(host.indexed().count())
    }

    fn search(
        &self,
        _host: &Flat,
        ask: &Ask<'_>,
        stats: &mut SearchStats,
    ) -> Result<Vec<Option<Vec<Neighbor>>>, GpuError> {
        let allow = ask.candidates.scanned();
        let rounds = &mut Rounds::default();
        let found = Self::search(self, ask.vectors, ask.queries, ask.k, allow, stats, rounds)?;
        Ok(found.into_iter().map(Some).collect())
    }
}
