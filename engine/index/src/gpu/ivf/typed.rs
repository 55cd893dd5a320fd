//! GPU_IVF_FLAT and GPU_IVF_PQ of vectors other than 32-bit floats: what their lists ask before they are searched on the processor.
//!
//! Centroids and codes are made of the rows widened to 32-bit floats, as on the processor; what is scanned lies on the device as it
//! is stored.

use std::sync::Arc;

use rayon::prelude::*;

use super::ask::ListAsk;
use super::params::PqParams;
use super::scan::{ListHost, ListsSearch};
use super::{CodeScan, FlatScan, flat_host, pq_host};
use crate::error::BuildError;
use crate::gpu::backend::{Backend, Device, ElementType};
use crate::gpu::gather::{Gatherer, batch_wait};
use crate::gpu::index::{LEAST_WORK, device_of};
use crate::gpu::tuning::SearchTuning;
use crate::gpu::typed::OwnedVectors;
use crate::index::SearchStats;
use crate::indexed_rows::IndexedRows;
use crate::ivf::{IvfCoded, IvfFlat};
use crate::neighbor::Neighbor;
use crate::params::{BuildParams, SearchParams};
use crate::progress::BuildOptions;
use crate::typed::VectorRef;
use crate::vectors::Vectors;

/// What searches the lists of an index on a device.
#[derive(Debug)]
pub(crate) struct DeviceLists<H> {
    params: BuildParams,
    /// `None` without a device.
    search: Option<Box<dyn ListsSearch<H>>>,
    least_work: usize,
    /// Searches for the same number of rows, with the same parameters and without a filter, which can be done as one.
    gatherer: Gatherer<(usize, SearchParams), OwnedVectors>,
}

/// What the processor finds for a query where the device does not look.
pub(crate) type OnProcessor<'a> = dyn Fn(VectorRef<'_>, &mut SearchStats) -> Vec<Neighbor> + Sync + 'a;

impl DeviceLists<IvfFlat> {
    /// Builds lists, and what searches them. `wide` are the rows as 32-bit floats.
    ///
    /// # Errors
    /// When the device fails or has too little memory, or cancellation.
    pub(crate) fn build<B: Backend + 'static>(
        device: &Arc<Device<B>>,
        (element, nlist): (ElementType, u32),
        rows: IndexedRows,
        wide: Vectors<'_>,
        options: &BuildOptions<'_>,
        tuning: SearchTuning,
    ) -> Result<(IvfFlat, Self), BuildError> {
        let host = flat_host(device, (element, nlist), rows, wide, options)?;
        let search = Box::new(FlatScan::new(device, tuning));
        let params = BuildParams::GpuIvfFlat { nlist };
        Ok((host, Self::new(params, Some(search), tuning.least_work)))
    }

    /// Searches without a device where there is none.
    pub(crate) fn open(nlist: u32) -> Self {
        let params = BuildParams::GpuIvfFlat { nlist };
        let search = device_of(params).map(|device| -> Box<dyn ListsSearch<IvfFlat>> {
            Box::new(FlatScan::new(device, SearchTuning::default()))
        });
        Self::new(params, search, LEAST_WORK)
    }
}

impl DeviceLists<IvfCoded> {
    /// As [`DeviceLists::build`], with codes.
    ///
    /// # Errors
    /// As there.
    pub(crate) fn build_pq<B: Backend + 'static>(
        device: &Arc<Device<B>>,
        params: PqParams,
        rows: IndexedRows,
        wide: Vectors<'_>,
        options: &BuildOptions<'_>,
        tuning: SearchTuning,
    ) -> Result<(IvfCoded, Self), BuildError> {
        let host = pq_host(device, params, rows, wide, options)?;
        let search = Box::new(CodeScan::new(device, tuning));
        let params = BuildParams::GpuIvfPq(params);
        Ok((host, Self::new(params, Some(search), tuning.least_work)))
    }

    /// Searches without a device where there is none.
    pub(crate) fn open_pq(params: PqParams) -> Self {
        let params = BuildParams::GpuIvfPq(params);
        let search = device_of(params).map(|device| -> Box<dyn ListsSearch<IvfCoded>> {
            Box::new(CodeScan::new(device, SearchTuning::default()))
        });
        Self::new(params, search, LEAST_WORK)
    }
}

impl<H: ListHost> DeviceLists<H> {
    fn new(params: BuildParams, search: Option<Box<dyn ListsSearch<H>>>, least_work: usize) -> Self {
        Self {
            params,
            search,
            least_work,
            gatherer: Gatherer::default(),
        }
    }

    /// The parameters of the index.
    pub(crate) fn params(&self) -> BuildParams {
        self.params
    }

    /// The rows nearest to the one query, found together with those of other threads where no search has a filter; `None` where
    /// the processor should look.
    pub(crate) fn one(
        &self,
        host: &H,
        ask: ListAsk<'_>,
        rest: &OnProcessor<'_>,
        stats: &mut SearchStats,
    ) -> Option<Vec<Neighbor>> {
        self.worthwhile(host, &ask)?;
        if ask.filter.is_some() {
            return self.batch(host, &ask, rest, stats)?.pop();
        }
        let key = (ask.k, *ask.params);
        let owned = OwnedVectors::of(&[ask.queries.row(0)])?;
        self.gatherer.search(key, owned, batch_wait(), |queries| {
            let queries: Vec<VectorRef<'_>> = queries.iter().map(OwnedVectors::only).collect();
            let owned = OwnedVectors::of(&queries)?;
            let ask = ListAsk {
                queries: owned.rows(queries.len())?,
                ..ask
            };
            self.batch(host, &ask, rest, stats)
        })
    }

    /// [`DeviceLists::one`] for each query.
    pub(crate) fn all(
        &self,
        host: &H,
        ask: &ListAsk<'_>,
        rest: &OnProcessor<'_>,
        stats: &mut SearchStats,
    ) -> Option<Vec<Vec<Neighbor>>> {
        self.worthwhile(host, ask)?;
        self.batch(host, ask, rest, stats)
    }

    /// `None` where the processor is done before a device has started, or where it alone can look.
    fn worthwhile(&self, host: &H, ask: &ListAsk<'_>) -> Option<()> {
        let search = self.search.as_ref()?;
        if !ask.params.within.is_open() || !ask.element.has_room_for(ask.dim) {
            return None;
        }
        let work = search.looked_at(host, ask).saturating_mul(ask.dim);
        (work.saturating_mul(ask.queries.len()) >= self.least_work).then_some(())
    }

    fn batch(
        &self,
        host: &H,
        ask: &ListAsk<'_>,
        rest: &OnProcessor<'_>,
        stats: &mut SearchStats,
    ) -> Option<Vec<Vec<Neighbor>>> {
        let found = self.search.as_ref()?.search_lists(host, ask, stats);
        if let Err(error) = &found {
            tracing::warn!(index = %self.params.kind(), %error, "a search is done on the CPU");
        }
        let mut found = found.ok()?;
        let left = found.par_iter_mut().enumerate();
        let left = left.filter(|(_, found)| found.is_none());
        let of_processor = left.map(|(query, found)| {
            let mut stats = SearchStats::default();
            *found = Some(rest(ask.queries.row(query), &mut stats));
            stats
        });
        for of_query in of_processor.collect::<Vec<SearchStats>>() {
            stats.add(&of_query);
        }
        Some(found.into_iter().map(Option::unwrap_or_default).collect())
    }
}
