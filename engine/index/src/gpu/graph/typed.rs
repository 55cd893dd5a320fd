//! GPU_CAGRA of vectors other than 32-bit floats: what an index of them asks before it walks its graph on the processor.

use std::fmt;
use std::sync::Arc;

use super::host::{GraphAsk, HostGraph};
use super::walk::{GraphWalk, Walk};
use crate::any_index::AnyIndex;
use crate::any_metric::AnyMetric;
use crate::bitset::Bitset;
use crate::error::BuildError;
use crate::gpu::backend::{Backend, Device};
use crate::gpu::cagra::CagraParams;
use crate::gpu::gather::{Gatherer, batch_wait};
use crate::gpu::index::device_of;
use crate::gpu::sides::Sides;
use crate::gpu::tuning::SearchTuning;
use crate::gpu::typed::OwnedVectors;
use crate::index::{IndexKind, SearchStats, in_pool};
use crate::neighbor::Neighbor;
use crate::params::{BuildParams, SearchParams};
use crate::progress::BuildOptions;
use crate::typed::{TypedIndex, VectorRef, VectorsRef};

/// Walks the graph of one index on a device.
pub(crate) struct TypedWalk {
    walk: Box<dyn Walk>,
    least_work: usize,
    /// Searches for the same number of rows, with the same parameters and without a filter, which can be done as one.
    gatherer: Gatherer<(usize, SearchParams), OwnedVectors>,
}

impl fmt::Debug for TypedWalk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypedWalk")
            .field("walk", &self.walk)
            .finish_non_exhaustive()
    }
}

/// Searches of an index; `filter` are the rows that may be found, `None` without a filter.
#[derive(Clone, Copy)]
pub(crate) struct TypedWalkAsk<'a> {
    pub(crate) metric: AnyMetric,
    pub(crate) graph: HostGraph<'a>,
    pub(crate) vectors: VectorsRef<'a>,
    pub(crate) k: usize,
    pub(crate) params: &'a SearchParams,
    pub(crate) filter: Option<&'a Bitset>,
}

impl TypedWalk {
    /// On a device, and on its peers.
    pub(crate) fn new<B: Backend + 'static>(device: &Arc<Device<B>>, tuning: SearchTuning) -> Self {
        Self {
            walk: Box::new(GraphWalk::new(device, tuning)),
            least_work: tuning.least_work,
            gatherer: Gatherer::default(),
        }
    }

    /// Of an index that was saved: on the device of the process. `None` where there is none, or none was meant to search.
    pub(crate) fn open(params: CagraParams) -> Option<Self> {
        if params.adapt_for_cpu {
            return None;
        }
        let device = device_of(BuildParams::GpuCagra(params))?;
        Some(Self::new(device, SearchTuning::default()))
    }

    /// What `search` finds for `query` together with those of other threads; `None` when the device should not be asked, or the
    /// search failed.
    pub(crate) fn gathered(
        &self,
        ask: TypedWalkAsk<'_>,
        query: VectorRef<'_>,
        search: impl FnOnce(&[VectorRef<'_>]) -> Option<Vec<Vec<Neighbor>>>,
    ) -> Option<Vec<Neighbor>> {
        let owned = OwnedVectors::of(&[query])?;
        self.asked(ask, &owned, 1, |ask| self.is_worthwhile(&ask))
            .filter(|&is_worthwhile| is_worthwhile)?;
        let key = (ask.k, *ask.params);
        self.gatherer.search(key, owned, batch_wait(), |queries| {
            let queries: Vec<VectorRef<'_>> = queries.iter().map(OwnedVectors::only).collect();
            search(&queries)
        })
    }

    /// The rows nearest to each of `queries`, which have the type and the dimension of the rows; `None` where the processor
    /// should look.
    pub(crate) fn all(
        &self,
        ask: TypedWalkAsk<'_>,
        queries: &[VectorRef<'_>],
        stats: &mut SearchStats,
    ) -> Vec<Option<Vec<Neighbor>>> {
        let found = OwnedVectors::of(queries).and_then(|owned| {
            self.asked(ask, &owned, queries.len(), |of_queries| {
                let is_worthwhile = self.is_worthwhile(&of_queries);
                is_worthwhile.then(|| self.walk.walk(&ask.graph, &of_queries.ask, stats))
            })
            .flatten()
        });
        match found {
            Some(Ok(found)) => found,
            Some(Err(error)) => {
                let index = IndexKind::GpuCagra;
                tracing::warn!(%index, %error, "a search is done on the CPU");
                vec![None; queries.len()]
            }
            None => vec![None; queries.len()],
        }
    }

    /// Hands `work` a batch of `count` queries; `None` when they are not of the rows' type and dimension.
    fn asked<R>(
        &self,
        ask: TypedWalkAsk<'_>,
        queries: &OwnedVectors,
        count: usize,
        work: impl FnOnce(Asked<'_>) -> R,
    ) -> Option<R> {
        let sides = Sides::by_differences(ask.metric, ask.vectors, queries.rows(count)?)?;
        let exact = |query: usize, rows: &[u32], out: &mut [f32]| sides.distances(query as u32, rows, out);
        Some(work(Asked {
            graph: ask.graph,
            ask: GraphAsk {
                sides,
                k: ask.k,
                params: ask.params,
                filter: ask.filter,
                allowed: ask.filter.map(|filter| filter.count_range(0, ask.vectors.len())),
                exact: &exact,
            },
        }))
    }

    /// Whether the device is asked: the processor is done with a little before a device has started.
    fn is_worthwhile(&self, asked: &Asked<'_>) -> bool {
        let Asked { graph, ask } = asked;
        let work = self
            .walk
            .rows_looked_at(graph, ask)
            .saturating_mul(ask.sides.vectors.row_cost())
            .saturating_mul(ask.sides.queries.len());
        ask.params.within.is_open() && work >= self.least_work
    }
}

/// A batch of searches, and the graph.
struct Asked<'a> {
    graph: HostGraph<'a>,
    ask: GraphAsk<'a>,
}

/// GPU_CAGRA of vectors other than 32-bit floats over a device of any kind, a twin say: what [`AnyIndex::build`] makes over the device
/// of the process.
///
/// # Errors
/// As [`AnyIndex::build`].
pub fn typed_cagra_on<B: Backend + 'static>(
    device: &Arc<Device<B>>,
    (params, metric): (CagraParams, AnyMetric),
    vectors: VectorsRef<'_>,
    valid: Option<&Bitset>,
    options: &BuildOptions<'_>,
    tuning: SearchTuning,
) -> Result<AnyIndex, BuildError> {
    params.check()?;
    let index = in_pool(options, || {
        TypedIndex::cagra_on(device, (params, metric), vectors, valid, options, tuning)
    })?;
    Ok(AnyIndex::Typed(Arc::new(index)))
}
