//! The search of a graph on devices.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

use super::host::{GraphAsk, HostGraph};
use super::placement::Placement;
use super::plan::{Plan, Shape, plan, query_bytes};
use super::resident::GraphOnDevice;
use crate::any_metric::AnyMetric;
use crate::gpu::backend::{Backend, Device, ListsOf, MarksOf};
use crate::gpu::error::GpuError;
use crate::gpu::index::{Ask, DeviceSearch};
use crate::gpu::queries::Queries;
use crate::gpu::rescore::best_by;
use crate::gpu::sides::Sides;
use crate::gpu::start::{Filter, Resident, queries_at_once};
use crate::gpu::threads::at_once;
use crate::gpu::tuning::SearchTuning;
use crate::hnsw::Hnsw;
use crate::index::SearchStats;
use crate::neighbor::Neighbor;
use crate::params::SearchParams;
use crate::strategy::Strategy;
use crate::typed::VectorsRef;

/// Walks the graph of one index.
#[derive(Debug)]
pub(crate) struct GraphWalk<B: Backend> {
    devices: Vec<Arc<Device<B>>>,
    tuning: SearchTuning,
    resident: Resident<Placement<B>>,
    /// The device that the next search starts with, when each has the whole graph.
    next: AtomicUsize,
}

/// What devices found of one query.
#[derive(Default)]
struct Found {
    rows: Vec<u32>,
    /// Nodes that were compared, and those of them that may be found.
    scored: usize,
    allowed: usize,
}

impl GraphAsk<'_> {
    fn queries(&self) -> usize {
        self.sides.queries.len()
    }

    /// What it is planned for.
    fn shape(&self, host: &HostGraph<'_>) -> Shape {
        Shape {
            k: self.k,
            queries: self.queries(),
            stride: self.sides.stride(),
            nodes: host.count,
            degree: host.degree,
            allowed: self.allowed,
        }
    }
}

impl Shape {
    /// The same for a part of the nodes.
    fn part(self, nodes: usize) -> Self {
        let allowed_in = |allowed: usize| (allowed * nodes).div_ceil(self.nodes.max(1));
        Self {
            nodes,
            allowed: self.allowed.map(allowed_in),
            ..self
        }
    }
}

impl Found {
    /// Adds what another device found of its part.
    fn add(&mut self, other: Self) {
        self.rows.extend(other.rows);
        self.scored += other.scored;
        self.allowed += other.allowed;
    }
}

impl<B: Backend> GraphWalk<B> {
    /// On a device, and on its peers.
    pub(crate) fn new(device: &Arc<Device<B>>, tuning: SearchTuning) -> Self {
        Self {
            devices: device.all(),
            tuning,
            resident: Resident::default(),
            next: AtomicUsize::new(0),
        }
    }

    /// How the first device would walk the whole graph.
    fn plan(&self, params: &SearchParams, shape: &Shape) -> Option<Plan> {
        let first = self.devices.first()?;
        plan(params, shape, &first.backend)
    }

    /// What the graph of one device has for some queries; `None` where the processor should look.
    fn walked(
        &self,
        device: &Device<B>,
        graph: &GraphOnDevice<B>,
        ask: &GraphAsk<'_>,
        queries: &[usize],
        shape: Shape,
    ) -> Result<Option<Vec<Found>>, GpuError> {
        let shape = Shape {
            queries: queries.len(),
            ..shape.part(graph.nodes as usize)
        };
        let Some(plan) = plan(ask.params, &shape, &device.backend) else {
            return Ok(None);
        };
        let of_query = query_bytes(plan, ask.sides.stride());
        let batch = queries_at_once(&device.budget, of_query, self.tuning);
        let mut found = Vec::with_capacity(queries.len());
        for batch in queries.chunks(batch) {
            let _turn = device.turn.lock();
            found.extend(nearest(device, graph, ask, batch, plan)?);
        }
        Ok(Some(found))
    }

    /// Candidates of all queries; `None` where the processor should look.
    fn found(
        &self,
        placement: &Placement<B>,
        ask: &GraphAsk<'_>,
        shape: Shape,
    ) -> Result<Option<Vec<Found>>, GpuError> {
        let all: Vec<usize> = (0..ask.queries()).collect();
        let on: Vec<(&Arc<Device<B>>, &GraphOnDevice<B>)> =
            self.devices.iter().zip(&placement.graphs).collect();
        if placement.copies {
            // Each has some of the queries; few of them do not always go to the same devices.
            let share = all.len().div_ceil(on.len().max(1)).max(1);
            let first = self.next.fetch_add(all.len().div_ceil(share), Ordering::Relaxed);
            let shares: Vec<&[usize]> = all.chunks(share).collect();
            let found = at_once(&shares, |at, queries| {
                let Some((device, graph)) = on.get((first + at) % on.len().max(1)) else {
                    return Ok(None);
                };
                self.walked(device, graph, ask, queries, shape)
            });
            let found: Option<Vec<Vec<Found>>> =
                found.into_iter().flatten().collect::<Result<_, GpuError>>()?;
            return Ok(found.map(|found| found.into_iter().flatten().collect()));
        }
        let found = at_once(&on, |_, (device, graph)| {
            self.walked(device, graph, ask, &all, shape)
        });
        let mut merged: Vec<Found> = all.iter().map(|_| Found::default()).collect();
        for of_part in found.into_iter().flatten() {
            let Some(of_part) = of_part? else { return Ok(None) };
            for (merged, found) in merged.iter_mut().zip(of_part) {
                merged.add(found);
            }
        }
        Ok(Some(merged))
    }
}

/// Candidates of a batch of queries, the numbers of which are given.
fn nearest<B: Backend>(
    device: &Device<B>,
    resident: &GraphOnDevice<B>,
    ask: &GraphAsk<'_>,
    batch: &[usize],
    plan: Plan,
) -> Result<Vec<Found>, GpuError> {
    let backend = &device.backend;
    let (count, [room, chosen]) = (batch.len(), plan.rooms);
    let sides = &ask.sides;
    let _held = device
        .budget
        .reserve("a batch of queries", count * query_bytes(plan, sides.stride()))?;
    let mut queries = upload(backend, sides, batch)?;
    let filter = Filter::of(device, ask.filter, sides.vectors.len())?;
    let mut marks = MarksOf::allocate(backend, count, plan.walk)?;
    let mut lists = ListsOf::allocate(backend, count, room)?;
    backend.write(&mut lists.counts, 0, &vec![0u32; count])?;
    let mut best = ListsOf::allocate_to_read(backend, count, chosen)?;
    let mut overflow = backend.allocate(1)?;
    backend.write(&mut overflow, 0, &[0u32])?;
    let graph = resident.graph(filter.bits());
    let (of_batch, walk) = (queries.of(), plan.walk);
    backend.walk_graph(sides.comparison, &graph, &of_batch, walk, &mut marks, &mut lists)?;
    let (queries_count, wanted) = (count as u32, chosen as u32);
    backend.select(
        &lists,
        queries_count,
        wanted,
        &mut best,
        &mut queries.bounds,
        &mut overflow,
    )?;
    let (mut rows, mut counts) = (vec![0u32; count * chosen], vec![0u32; count]);
    let (mut handed_out, mut compared) = (vec![0u32; count], vec![0u32; count]);
    backend.read(&best.rows, &mut rows)?;
    backend.read(&best.counts, &mut counts)?;
    backend.read(&lists.counts, &mut handed_out)?;
    backend.read(&marks.scored, &mut compared)?;
    let of_queries = rows.chunks_exact(chosen).zip(&counts);
    let of_walks = handed_out.iter().zip(&compared);
    Ok(of_queries
        .zip(of_walks)
        .map(|((rows, &count), (&allowed, &scored))| Found {
            rows: rows.iter().copied().take(count as usize).collect(),
            scored: scored as usize,
            allowed: allowed as usize,
        })
        .collect())
}

/// Uploads some queries, the numbers of which are given.
fn upload<B: Backend>(backend: &B, sides: &Sides<'_>, batch: &[usize]) -> Result<Queries<B>, GpuError> {
    if let (AnyMetric::Numbers(metric), VectorsRef::Floats(queries)) = (sides.metric, sides.queries) {
        let rows = batch.iter().map(|&query| queries.row(query));
        return Queries::upload(backend, metric, sides.dim, rows);
    }
    let numbers: Vec<u32> = batch.iter().map(|&query| query as u32).collect();
    let (units, terms) = sides.query_words(&numbers);
    Queries::of_units(backend, sides.stride(), &units, &terms)
}

/// A walk through a graph of rows of any type, on devices of any kind.
pub(super) trait Walk: Send + Sync + fmt::Debug {
    /// Rows that are compared with each query, about.
    fn rows_looked_at(&self, host: &HostGraph<'_>, ask: &GraphAsk<'_>) -> usize;

    /// The rows nearest to each query; `None` where the processor should look. The graph and its rows are the same in every call.
    ///
    /// # Errors
    /// When a device fails, or its memory is too small.
    fn walk(
        &self,
        host: &HostGraph<'_>,
        ask: &GraphAsk<'_>,
        stats: &mut SearchStats,
    ) -> Result<Vec<Option<Vec<Neighbor>>>, GpuError>;
}

impl<B: Backend> Walk for GraphWalk<B> {
    fn rows_looked_at(&self, host: &HostGraph<'_>, ask: &GraphAsk<'_>) -> usize {
        let shape = ask.shape(host);
        let plan = self.plan(ask.params, &shape);
        let followed = |plan: Plan| (plan.walk.walks * plan.walk.list) as usize;
        plan.map_or(0, |plan| shape.nodes.min(followed(plan) * shape.degree))
    }

    fn walk(
        &self,
        host: &HostGraph<'_>,
        ask: &GraphAsk<'_>,
        stats: &mut SearchStats,
    ) -> Result<Vec<Option<Vec<Neighbor>>>, GpuError> {
        let (k, allowed) = (ask.k, ask.allowed);
        let shape = ask.shape(host);
        let nodes = shape.nodes;
        let wanted = k.min(allowed.unwrap_or(nodes));
        let nothing = || vec![None; ask.queries()];
        if wanted == 0 || self.plan(ask.params, &shape).is_none() {
            return Ok(nothing());
        }
        let upload = || Placement::upload(&self.devices, host, &ask.sides);
        let placement = self.resident.get(upload)?;
        let Some(found) = self.found(&placement, ask, shape)? else {
            return Ok(nothing());
        };
        let part = allowed.map_or(0.0, |allowed| allowed as f64 / nodes.max(1) as f64);
        let best = found.par_iter().enumerate().map(|(query, found)| {
            // Where a filter left little near the query, a walk finds rows by chance only.
            if (found.allowed as f64) < found.scored as f64 * part / 2.0 {
                return None;
            }
            best_by(|rows, out| (ask.exact)(query, rows, out), &found.rows, k, wanted)
        });
        let best: Vec<Option<Vec<Neighbor>>> = best.collect();
        for found in best.iter().zip(&found).filter(|(best, _)| best.is_some()) {
            stats.distances += found.1.scored as u64;
            stats.strategy = if allowed.is_some() {
                Strategy::GraphFiltered
            } else {
                Strategy::Graph
            };
        }
        Ok(best)
    }
}

/// Calls `work` with a search of 32-bit floats as one of any type; `None` when rows and queries are not alike.
fn with_ask<R>(ask: &Ask<'_>, work: impl FnOnce(&GraphAsk<'_>) -> R) -> Option<R> {
    let space = &ask.candidates.space;
    let exact = |query: usize, rows: &[u32], out: &mut [f32]| {
        space.scorer(ask.queries.row(query)).gather(rows, out);
    };
    Some(work(&GraphAsk {
        sides: Sides::by_differences(space.metric.into(), ask.vectors.into(), ask.queries.into())?,
        k: ask.k,
        params: ask.params,
        filter: ask.candidates.filter(),
        allowed: ask.candidates.allowed,
        exact: &exact,
    }))
}

impl<B: Backend> DeviceSearch<Hnsw> for GraphWalk<B> {
    fn rows_looked_at(&self, host: &Hnsw, ask: &Ask<'_>) -> usize {
        with_ask(ask, |ask| Walk::rows_looked_at(self, &HostGraph::of(host), ask)).unwrap_or(0)
    }

    fn search(
        &self,
        host: &Hnsw,
        ask: &Ask<'_>,
        stats: &mut SearchStats,
    ) -> Result<Vec<Option<Vec<Neighbor>>>, GpuError> {
        let found = with_ask(ask, |ask| self.walk(&HostGraph::of(host), ask, stats));
        found.unwrap_or_else(|| Ok(vec![None; ask.queries.len()]))
    }
}
