//! GPU_CAGRA of halves, bfloat16s, 8-bit integers and bits: links that are made on a device, the hierarchy of HNSW over them, and
//! searches that go to the device first.

use std::sync::Arc;

use rayon::prelude::*;

use super::index::{Batch, TypedIndex};
use super::points::{BitPoints, Int8, NumberPoints};
use super::{VectorRef, VectorsRef};
use crate::any_metric::AnyMetric;
use crate::bitset::Bitset;
use crate::error::{BuildError, PairError};
use crate::gpu::cagra::CagraParams;
use crate::gpu::{self, Backend, Device, HostGraph, Linked, SearchTuning, TypedWalk, TypedWalkAsk};
use crate::hnsw::CodedGraph;
use crate::index::{IndexKind, SearchStats};
use crate::kernels::narrow::{BFloat16, Half};
use crate::neighbor::Neighbor;
use crate::params::BuildParams;
use crate::progress::BuildOptions;

impl TypedIndex {
    /// Makes the links on `device` and its peers, which must have the memory for the graph, and walks there. Runs on the current
    /// thread pool.
    pub(crate) fn cagra_on<B: Backend + 'static>(
        device: &Arc<Device<B>>,
        (params, metric): (CagraParams, AnyMetric),
        vectors: VectorsRef<'_>,
        valid: Option<&Bitset>,
        options: &BuildOptions<'_>,
        tuning: SearchTuning,
    ) -> Result<Self, BuildError> {
        let no_graph = || BuildError::Kind {
            index: IndexKind::GpuCagra.to_string(),
            metric: metric.to_string(),
        };
        let shape = super::element_of(vectors).filter(|(element, _)| element.has(metric));
        let mut index = Self::bare(metric, vectors, shape.ok_or_else(no_graph)?, valid);
        let rows = Linked {
            metric,
            vectors,
            valid: index.valid.set(),
            members: index.valid.numbers(index.len),
        };
        let links = gpu::links(device, params, &rows, options)?;
        let graph = index.hierarchy(params, &rows, links, options)?;
        index.graph = Some(graph.ok_or_else(no_graph)?);
        let count = index.valid.count() as u64;
        options.progress.advance(count, count);
        index.walker = (!params.adapt_for_cpu).then(|| TypedWalk::new(device, tuning));
        Ok(index)
    }

    /// The graph whose base layer has `links`.
    fn hierarchy(
        &self,
        params: CagraParams,
        rows: &Linked<'_>,
        links: (Vec<u32>, usize),
        options: &BuildOptions<'_>,
    ) -> Result<Option<CodedGraph>, BuildError> {
        let (params, members) = (BuildParams::GpuCagra(params), rows.members.as_slice());
        let graph = match (rows.vectors, self.metric) {
            (VectorsRef::Halves(rows), AnyMetric::Numbers(metric)) => {
                let points: NumberPoints<'_, Half> = self.numbers(metric, rows);
                CodedGraph::over(params, &points, members, links, options)?
            }
            (VectorsRef::BFloat16s(rows), AnyMetric::Numbers(metric)) => {
                let points: NumberPoints<'_, BFloat16> = self.numbers(metric, rows);
                CodedGraph::over(params, &points, members, links, options)?
            }
            (VectorsRef::Int8s(rows), AnyMetric::Numbers(metric)) => {
                let points: NumberPoints<'_, Int8> = self.numbers(metric, rows);
                CodedGraph::over(params, &points, members, links, options)?
            }
            (VectorsRef::Bits(rows), AnyMetric::Bits(metric)) => {
                let points = BitPoints { metric, rows };
                CodedGraph::over(params, &points, members, links, options)?
            }
            _ => return Ok(None),
        };
        Ok(Some(graph))
    }

    /// What goes to the device: its part, and the batch as it takes it. `None` without one, and within a window of distances.
    fn device_ask<'a>(
        &'a self,
        batch: &Batch<'a>,
        filter: Option<&'a Bitset>,
    ) -> Option<(&'a TypedWalk, TypedWalkAsk<'a>)> {
        let walk = self.walker.as_ref().filter(|_| batch.params.within.is_open())?;
        let graph = self.graph.as_ref()?.graph();
        let ask = TypedWalkAsk {
            metric: self.metric,
            graph: HostGraph {
                valid: self.valid.set(),
                count: self.valid.count(),
                base: graph.base(),
                degree: graph.base_degree(),
                inverse_norms: &self.inverse_norms,
            },
            vectors: batch.vectors,
            k: batch.k,
            params: batch.params,
            filter,
        };
        Some((walk, ask))
    }

    /// What the device finds for a query that fits, without a filter together with those of other threads; `None` where the
    /// processor should look.
    pub(super) fn one_on_device(
        &self,
        batch: &Batch<'_>,
        query: VectorRef<'_>,
        filter: Option<&Bitset>,
        stats: &mut SearchStats,
    ) -> Option<Vec<Neighbor>> {
        let (walk, ask) = self.device_ask(batch, filter)?;
        if filter.is_some() {
            return walk.all(ask, &[query], stats).pop().flatten();
        }
        walk.gathered(ask, query, |queries| {
            self.all_on_device(batch, queries, None, stats)?.ok()
        })
    }

    /// What the device finds for queries that fit, and the processor for those that are left to it; `None` when the device is
    /// not asked.
    pub(super) fn all_on_device(
        &self,
        batch: &Batch<'_>,
        queries: &[VectorRef<'_>],
        filter: Option<&Bitset>,
        stats: &mut SearchStats,
    ) -> Option<Result<Vec<Vec<Neighbor>>, PairError>> {
        let (walk, ask) = self.device_ask(batch, filter)?;
        let found = walk.all(ask, queries, stats);
        let of_query = |(found, &query): (Option<Vec<Neighbor>>, &VectorRef<'_>)| match found {
            Some(found) => Ok((found, None)),
            None => {
                let mut stats = SearchStats::default();
                let found = self.on_processor(batch, query, filter, &mut stats)?;
                Ok((found, Some(stats)))
            }
        };
        let all = found.into_par_iter().zip(queries.par_iter()).map(of_query);
        Some(all.collect::<Result<Vec<_>, PairError>>().map(|all| {
            let each = all.into_iter().map(|(found, of_query)| {
                if let Some(of_query) = of_query {
                    stats.add(&of_query);
                }
                found
            });
            each.collect()
        }))
    }
}
