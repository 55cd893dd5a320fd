//! What every GPU index type is: an index that holds the structure and answers on the processor, and what searches it on a
//! device. What that needs goes to the device with the first search and stays, as far as its memory allows.
//!
//! What a device is bad at stays on the processor: searches within a window of distances, few rows, and everything when there is
//! no device, as when an index was built on another machine.

use std::fmt;
use std::sync::Arc;

use rayon::prelude::*;

use super::OwnBackend;
use super::backend::Device;
use super::brute::Tuning;
use super::cagra::CagraParams;
use super::error::GpuError;
use super::gather::{Gatherer, batch_wait};
use super::graph::{self, GraphWalk};
use super::ivf::params::PqParams;
use super::ivf::{self, CodeScan, FlatScan, IvfFlatOn, IvfPqOn};
use super::shards::Shards;
use super::tuning::SearchTuning;
use crate::bitset::Bitset;
use crate::blob::Reader;
use crate::error::{BuildError, OpenError};
use crate::flat::Flat;
use crate::hnsw::Hnsw;
use crate::index::{IndexKind, SearchStats, VectorIndex};
use crate::indexed_rows::{Candidates, IndexedRows};
use crate::ivf::{IvfCoded, IvfFlat};
use crate::metric::Metric;
use crate::neighbor::Neighbor;
use crate::params::{BuildParams, SearchParams};
use crate::progress::BuildOptions;
use crate::vectors::Vectors;

/// Floats of the rows that are looked at, times queries, below which the processor is done before a device has started.
pub(crate) const LEAST_WORK: usize = 1 << 20;

/// An index on the processor.
pub(crate) trait Host: VectorIndex {
    /// Whether a batch of searches takes less than one search after the other.
    const READS_ROWS_ONCE: bool;

    /// Its rows.
    fn indexed(&self) -> &IndexedRows;

    /// Its blob, as that of an index with other parameters.
    fn serialize_as(&self, params: BuildParams) -> Vec<u8>;
}

/// A batch of searches.
pub(crate) struct Ask<'a> {
    pub(crate) vectors: Vectors<'a>,
    pub(crate) queries: Vectors<'a>,
    pub(crate) k: usize,
    pub(crate) params: &'a SearchParams,
    pub(crate) candidates: &'a Candidates<'a>,
}

/// What searches an index on a device.
pub(crate) trait DeviceSearch<H>: Send + Sync + fmt::Debug {
    /// Rows that are compared with each query, about.
    fn rows_looked_at(&self, host: &H, ask: &Ask<'_>) -> usize;

    /// The rows nearest to each query; `None` where the processor should look.
    ///
    /// # Errors
    /// When the device fails, or its memory is too small.
    fn search(
        &self,
        host: &H,
        ask: &Ask<'_>,
        stats: &mut SearchStats,
    ) -> Result<Vec<Option<Vec<Neighbor>>>, GpuError>;
}

/// An index of a GPU index type.
#[derive(Debug)]
pub(crate) struct OnDevice<H, S> {
    params: BuildParams,
    host: H,
    /// `None` without a device.
    search: Option<S>,
    least_work: usize,
    /// Searches for the same number of rows, with the same parameters and without a filter, which can be done as one.
    gatherer: Gatherer<(usize, SearchParams), Vec<f32>>,
}

/// GPU_BRUTE_FORCE.
pub(crate) type GpuBruteForce = OnDevice<Flat, Shards<OwnBackend>>;
/// GPU_IVF_FLAT.
pub(crate) type GpuIvfFlat = IvfFlatOn<OwnBackend>;
/// GPU_IVF_PQ.
pub(crate) type GpuIvfPq = IvfPqOn<OwnBackend>;

/// GPU_CAGRA.
pub(crate) type GpuCagra = OnDevice<Hnsw, GraphWalk<OwnBackend>>;

/// The device that an opened index is searched on, if there is one.
pub(super) fn device_of(params: BuildParams) -> Option<&'static Arc<Device<OwnBackend>>> {
    let device = super::device();
    if let Err(reason) = &device {
        tracing::warn!(index = %params.kind(), %reason, "an index of a GPU is searched on the CPU");
    }
    device.ok()
}

impl GpuBruteForce {
    /// Needs a device.
    pub(crate) fn build(rows: IndexedRows, options: &BuildOptions<'_>) -> Result<Self, BuildError> {
        let device = super::device()?;
        Ok(Self::over(Some(device), Flat::build(rows, options)))
    }

    /// Searches without a device where there is none.
    pub(crate) fn open(rows: IndexedRows) -> Self {
        Self::over(device_of(BuildParams::GpuBruteForce), Flat::open(rows))
    }

    fn over(device: Option<&Arc<Device<OwnBackend>>>, host: Flat) -> Self {
        let of_device = |device: &Arc<_>| Shards::new(device, host.metric(), Tuning::default());
        let search = device.map(of_device);
        Self::new(BuildParams::GpuBruteForce, host, search, LEAST_WORK)
    }
}

impl GpuIvfFlat {
    /// Needs a device.
    pub(crate) fn build(
        nlist: u32,
        rows: IndexedRows,
        vectors: Vectors<'_>,
        options: &BuildOptions<'_>,
    ) -> Result<Self, BuildError> {
        let device = super::device()?;
        ivf::build(device, nlist, rows, vectors, options, SearchTuning::default())
    }

    /// Searches without a device where there is none.
    pub(crate) fn open(reader: &Reader, nlist: u32, rows: IndexedRows) -> Result<Self, OpenError> {
        let params = BuildParams::GpuIvfFlat { nlist };
        let host = IvfFlat::open(reader, nlist, rows)?;
        let of_device = |device: &Arc<_>| FlatScan::new(device, SearchTuning::default());
        let search = device_of(params).map(of_device);
        Ok(Self::new(params, host, search, LEAST_WORK))
    }
}

impl GpuIvfPq {
    /// Needs a device.
    pub(crate) fn build(
        params: PqParams,
        rows: IndexedRows,
        vectors: Vectors<'_>,
        options: &BuildOptions<'_>,
    ) -> Result<Self, BuildError> {
        let device = super::device()?;
        ivf::build_pq(device, params, rows, vectors, options, SearchTuning::default())
    }

    /// Searches without a device where there is none.
    pub(crate) fn open(reader: &Reader, params: PqParams, rows: IndexedRows) -> Result<Self, OpenError> {
        let of_index = BuildParams::GpuIvfPq(params);
        let host = IvfCoded::open(reader, params.on_processor(), rows)?;
        let of_device = |device: &Arc<_>| CodeScan::new(device, SearchTuning::default());
        let search = device_of(of_index).map(of_device);
        Ok(Self::new(of_index, host, search, LEAST_WORK))
    }
}

impl GpuCagra {
    /// Needs a device.
    pub(crate) fn build(
        params: CagraParams,
        rows: IndexedRows,
        vectors: Vectors<'_>,
        options: &BuildOptions<'_>,
    ) -> Result<Self, BuildError> {
        let device = super::device()?;
        graph::build(device, params, rows, vectors, options, SearchTuning::default())
    }

    /// Searches without a device where there is none, or where none was meant to search.
    pub(crate) fn open(reader: &Reader, params: CagraParams, rows: IndexedRows) -> Result<Self, OpenError> {
        let host = Hnsw::open(reader, rows)?;
        let of_index = BuildParams::GpuCagra(params);
        let device = if params.adapt_for_cpu {
            None
        } else {
            device_of(of_index)
        };
        let of_device = |device: &Arc<_>| GraphWalk::new(device, SearchTuning::default());
        Ok(Self::new(of_index, host, device.map(of_device), LEAST_WORK))
    }
}

impl Host for Flat {
    const READS_ROWS_ONCE: bool = true;

    fn indexed(&self) -> &IndexedRows {
        Self::indexed(self)
    }

    fn serialize_as(&self, params: BuildParams) -> Vec<u8> {
        Self::indexed(self).writer(params).finish()
    }
}

impl<H: Host, S: DeviceSearch<H>> OnDevice<H, S> {
    /// Searches that compare fewer than `least_work` floats are left to the processor, and all without `search`.
    pub(super) fn new(params: BuildParams, host: H, search: Option<S>, least_work: usize) -> Self {
        Self {
            params,
            host,
            search,
            least_work,
            gatherer: Gatherer::default(),
        }
    }

    /// Whether the device is asked.
    fn wants_device(&self, search: &S, ask: &Ask<'_>) -> bool {
        let rows = search.rows_looked_at(&self.host, ask);
        let work = rows
            .saturating_mul(ask.vectors.dim())
            .saturating_mul(ask.queries.len());
        ask.params.within.is_open() && work >= self.least_work
    }

    /// What the device finds for one query, together with those of other threads; `None` when it is not asked that way.
    fn gathered(
        &self,
        vectors: Vectors<'_>,
        queries: Vectors<'_>,
        k: usize,
        params: &SearchParams,
        stats: &mut SearchStats,
    ) -> Option<Vec<Neighbor>> {
        let search = self.search.as_ref()?;
        let candidates = self.host.indexed().candidates(vectors, queries.dim(), None)?;
        let ask = Ask {
            vectors,
            queries,
            k,
            params,
            candidates: &candidates,
        };
        if !self.wants_device(search, &ask) {
            return None;
        }
        let (query, key) = (queries.row(0), (k, *params));
        self.gatherer
            .search(key, query.to_vec(), batch_wait(), |queries| {
                let queries = queries.concat();
                let queries = Vectors::new(&queries, query.len()).ok()?;
                Some(self.search_batch(vectors, queries, k, params, None, stats))
            })
    }

    /// Both sides; `None` without a device.
    pub(super) fn parts(&self) -> Option<(&H, &S)> {
        self.search.as_ref().map(|search| (&self.host, search))
    }

    /// What the device finds; `None` when it should not be asked.
    fn on_device(
        &self,
        ask: &Ask<'_>,
        stats: &mut SearchStats,
    ) -> Option<Result<Vec<Option<Vec<Neighbor>>>, GpuError>> {
        let search = self
            .search
            .as_ref()
            .filter(|search| self.wants_device(search, ask))?;
        Some(search.search(&self.host, ask, stats))
    }
}

impl<H: Host, S: DeviceSearch<H>> VectorIndex for OnDevice<H, S> {
    fn kind(&self) -> IndexKind {
        self.params.kind()
    }

    fn metric(&self) -> Metric {
        self.host.metric()
    }

    fn dim(&self) -> usize {
        self.host.dim()
    }

    fn rows(&self) -> usize {
        self.host.rows()
    }

    fn params(&self) -> BuildParams {
        self.params
    }

    fn memory_bytes(&self) -> usize {
        self.host.memory_bytes()
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
        let gathered = match allow {
            None => self.gathered(vectors, queries, k, params, stats),
            Some(_) => None,
        };
        gathered.unwrap_or_else(|| {
            let mut found = self.search_batch(vectors, queries, k, params, allow, stats);
            found.pop().unwrap_or_default()
        })
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
        let candidates = self.host.indexed().candidates(vectors, queries.dim(), allow);
        let Some(candidates) = candidates else {
            return vec![Vec::new(); queries.len()];
        };
        let ask = Ask {
            vectors,
            queries,
            k,
            params,
            candidates: &candidates,
        };
        let mut found = match self.on_device(&ask, stats) {
            Some(Ok(found)) => found,
            Some(Err(error)) => {
                tracing::warn!(index = %self.kind(), %error, "a search is done on the CPU");
                vec![None; queries.len()]
            }
            None => vec![None; queries.len()],
        };
        if H::READS_ROWS_ONCE && queries.len() > 1 && found.iter().all(Option::is_none) {
            return self.host.search_batch(vectors, queries, k, params, allow, stats);
        }
        let of_processor = |(query, found): (usize, &mut Option<Vec<Neighbor>>)| {
            let mut stats = SearchStats::default();
            let query = queries.row(query);
            *found = Some(self.host.search(vectors, query, k, params, allow, &mut stats));
            stats
        };
        let left = found.par_iter_mut().enumerate();
        let left = left.filter(|(_, found)| found.is_none());
        for of_query in left.map(of_processor).collect::<Vec<SearchStats>>() {
            stats.add(&of_query);
        }
        found.into_iter().map(Option::unwrap_or_default).collect()
    }

    fn serialize(&self) -> Vec<u8> {
        self.host.serialize_as(self.params)
    }
}
