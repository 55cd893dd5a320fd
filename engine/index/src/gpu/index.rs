//! GPU_BRUTE_FORCE: no structure, like FLAT, and the exact search runs on a device. The rows go there with the first search
//! and stay, as far as its memory allows.
//!
//! What a device is bad at stays on the processor, with the same answer: searches within a window of distances, few rows, and
//! everything when there is no device, as when an index was built on another machine.

use std::sync::Arc;

use super::OwnBackend;
use super::backend::Device;
use super::brute::{BruteForce, Rounds, Tuning};
use super::error::GpuError;
use crate::bitset::Bitset;
use crate::error::BuildError;
use crate::index::{IndexKind, SearchStats, VectorIndex};
use crate::indexed_rows::IndexedRows;
use crate::metric::Metric;
use crate::neighbor::Neighbor;
use crate::params::{BuildParams, SearchParams};
use crate::progress::BuildOptions;
use crate::vectors::Vectors;

/// Floats of the rows that may be found, times queries, below which the processor is done before a device has started.
const LEAST_WORK: usize = 1 << 20;

#[derive(Debug)]
pub(crate) struct GpuBruteForce {
    rows: IndexedRows,
    /// `None` without a device.
    search: Option<BruteForce<OwnBackend>>,
}

impl GpuBruteForce {
    /// Needs a device.
    pub(crate) fn build(rows: IndexedRows, options: &BuildOptions<'_>) -> Result<Self, BuildError> {
        let device = super::device()?;
        let count = rows.count() as u64;
        options.progress.advance(count, count);
        Ok(Self::on(rows, device))
    }

    /// Searches without a device where there is none.
    pub(crate) fn open(rows: IndexedRows) -> Self {
        match super::device() {
            Ok(device) => Self::on(rows, device),
            Err(reason) => {
                tracing::warn!(%reason, "an index GPU_BRUTE_FORCE is searched on the CPU");
                Self { rows, search: None }
            }
        }
    }

    fn on(rows: IndexedRows, device: &Arc<Device<OwnBackend>>) -> Self {
        let search = BruteForce::new(Arc::clone(device), rows.metric, Tuning::default());
        Self {
            rows,
            search: Some(search),
        }
    }

    /// What the device finds; `None` when it should not be asked.
    fn on_device(
        &self,
        vectors: Vectors<'_>,
        queries: Vectors<'_>,
        k: usize,
        params: &SearchParams,
        allow: Option<&Bitset>,
        stats: &mut SearchStats,
    ) -> Option<Result<Vec<Vec<Neighbor>>, GpuError>> {
        let search = self.search.as_ref()?;
        let allowed = allow.map_or(vectors.len(), Bitset::count);
        let work = allowed
            .saturating_mul(vectors.dim())
            .saturating_mul(queries.len());
        if work < LEAST_WORK || !params.within.is_open() {
            return None;
        }
        Some(search.search(vectors, queries, k, allow, stats, &mut Rounds::default()))
    }
}

impl VectorIndex for GpuBruteForce {
    fn kind(&self) -> IndexKind {
        IndexKind::GpuBruteForce
    }

    fn metric(&self) -> Metric {
        self.rows.metric
    }

    fn dim(&self) -> usize {
        self.rows.dim
    }

    fn rows(&self) -> usize {
        self.rows.len
    }

    fn params(&self) -> BuildParams {
        BuildParams::GpuBruteForce
    }

    fn memory_bytes(&self) -> usize {
        self.rows.memory_bytes()
    }

    fn search(
        &self,
        vectors: Vectors<'_>,
        query: &[f32],
        k: usize,
        params: &SearchParams,
        allow: Option<&Bitset>,
        stats: &mut SearchStats,
    ) -> Vec<Neighbor> {
        let Ok(queries) = Vectors::new(query, query.len()) else {
            return Vec::new();
        };
        let mut found = self.search_batch(vectors, queries, k, params, allow, stats);
        found.pop().unwrap_or_default()
    }

    fn search_batch(
        &self,
        vectors: Vectors<'_>,
        queries: Vectors<'_>,
        k: usize,
        params: &SearchParams,
        allow: Option<&Bitset>,
        stats: &mut SearchStats,
    ) -> Vec<Vec<Neighbor>> {
        let Some(candidates) = self.rows.candidates(vectors, queries.dim(), allow) else {
            return vec![Vec::new(); queries.len()];
        };
        match self.on_device(vectors, queries, k, params, candidates.scanned(), stats) {
            Some(Ok(found)) => return found,
            Some(Err(error)) => tracing::warn!(%error, "a search is done on the CPU"),
            None => {}
        }
        if queries.len() == 1 {
            return vec![candidates.scan(queries.row(0), k, params.within, stats)];
        }
        candidates.scan_batch(queries, k, params.within, stats)
    }

    fn serialize(&self) -> Vec<u8> {
        self.rows.writer(self.params()).finish()
    }
}
