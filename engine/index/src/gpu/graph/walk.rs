//! The search of a graph on a device.

use std::sync::Arc;

use rayon::prelude::*;

use super::resident::GraphOnDevice;
use crate::gpu::backend::{Backend, Device, ListsOf, MOST_LIST, WalkOf};
use crate::gpu::error::GpuError;
use crate::gpu::index::{Ask, DeviceSearch};
use crate::gpu::parts::stride_of;
use crate::gpu::queries::Queries;
use crate::gpu::ranges::width;
use crate::gpu::rescore::best_of;
use crate::gpu::start::{Filter, Resident, queries_at_once};
use crate::gpu::tuning::SearchTuning;
use crate::hnsw::Hnsw;
use crate::index::SearchStats;
use crate::neighbor::Neighbor;
use crate::params::SearchParams;
use crate::strategy::Strategy;

/// `itopk_size` unless it is given.
const DEFAULT_LIST: usize = 64;
/// Most rounds of a walk beyond one for each node of its list, unless they are given.
const MORE_ROUNDS: usize = 10;

/// Walks the graph of one index.
#[derive(Debug)]
pub(crate) struct GraphWalk<B: Backend> {
    device: Arc<Device<B>>,
    tuning: SearchTuning,
    resident: Resident<GraphOnDevice<B>>,
}

/// How a batch is searched.
#[derive(Debug, Clone, Copy)]
struct Plan {
    walk: WalkOf,
    /// Places of a query for what the walk hands out, and for what is chosen of it.
    rooms: [usize; 2],
}

/// What the device found of one query.
struct Found {
    rows: Vec<u32>,
    /// Nodes that were compared, and those of them that may be found.
    scored: usize,
    allowed: usize,
}

/// Lanes that compare a row of `dim` floats: as many as have two or four times four of them each.
fn team_of(dim: usize) -> u32 {
    match dim {
        0..=32 => 4,
        33..=128 => 8,
        129..=256 => 16,
        _ => 32,
    }
}

/// How to walk; `None` where there is nothing to walk, or a list would be longer than a device keeps.
fn plan(
    params: &SearchParams,
    (k, dim): (usize, usize),
    (nodes, degree): (usize, usize),
    allowed: Option<usize>,
) -> Option<Plan> {
    let chosen = width(k, 0).filter(|_| nodes > 0)?;
    let asked = params.ef.map_or(DEFAULT_LIST, |list| list as usize).max(chosen);
    // Under a filter the list must hold so many more for the same number of rows that may be found.
    let part = allowed.map_or(1.0, |allowed| allowed as f64 / nodes.max(1) as f64);
    let list = (asked as f64 / part).ceil() as usize;
    if list > MOST_LIST as usize && nodes > MOST_LIST as usize {
        return None;
    }
    let list = list.min(nodes);
    let cagra = params.cagra;
    let width = cagra
        .search_width
        .map_or(1, |width| width as usize)
        .clamp(1, list);
    let own = 1 + (list + list / 10).min(list + MORE_ROUNDS * width) / width;
    let rounds = cagra
        .max_iterations
        .filter(|&rounds| rounds > 0)
        .map_or(own, |rounds| rounds as usize);
    let rounds = rounds.max(cagra.min_iterations.unwrap_or(0) as usize).min(nodes);
    let seen = rounds
        .saturating_mul(width * degree)
        .saturating_add(list)
        .min(nodes);
    let room = if allowed.is_some() { seen } else { list };
    let team = cagra.team_size.filter(|&team| team > 0).unwrap_or(team_of(dim));
    Some(Plan {
        walk: WalkOf {
            list: list as u32,
            width: width as u32,
            rounds: rounds as u32,
            team,
            marks: u32::try_from((2 * seen).next_power_of_two()).ok()?,
        },
        rooms: [room, chosen],
    })
}

/// Bytes on the device for each query of a batch.
fn query_bytes(plan: Plan, dim: usize) -> usize {
    let [room, chosen] = plan.rooms;
    4 * (plan.walk.marks as usize + 2 * (room + chosen) + stride_of(dim) + 8)
}

impl<B: Backend> GraphWalk<B> {
    pub(crate) fn new(device: Arc<Device<B>>, tuning: SearchTuning) -> Self {
        Self {
            device,
            tuning,
            resident: Resident::default(),
        }
    }

    /// Candidates of a batch of queries, the numbers of which are given.
    fn nearest(
        &self,
        resident: &GraphOnDevice<B>,
        ask: &Ask<'_>,
        batch: &[usize],
        plan: Plan,
    ) -> Result<Vec<Found>, GpuError> {
        let (device, backend) = (&self.device, &self.device.backend);
        let (count, [room, chosen]) = (batch.len(), plan.rooms);
        let (metric, dim) = (ask.candidates.space.metric, ask.vectors.dim());
        let _held = device
            .budget
            .reserve("a batch of queries", count * query_bytes(plan, dim))?;
        let rows = batch.iter().map(|&query| ask.queries.row(query));
        let mut queries = Queries::upload(backend, metric, dim, rows)?;
        let filter = Filter::upload(device, ask)?;
        let mut marks = backend.allocate(count * plan.walk.marks as usize)?;
        let mut scored = backend.allocate(count)?;
        let mut lists = ListsOf::allocate(backend, count, room)?;
        backend.write(&mut lists.counts, 0, &vec![0u32; count])?;
        let mut best = ListsOf::allocate(backend, count, chosen)?;
        let mut overflow = backend.allocate(1)?;
        backend.write(&mut overflow, 0, &[0u32])?;
        let graph = resident.graph(filter.bits());
        backend.walk_graph(
            metric,
            &graph,
            &queries.of(),
            plan.walk,
            (&mut marks, &mut scored),
            &mut lists,
        )?;
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
        backend.read(&scored, &mut compared)?;
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
}

impl<B: Backend> DeviceSearch<Hnsw> for GraphWalk<B> {
    fn rows_looked_at(&self, host: &Hnsw, ask: &Ask<'_>) -> usize {
        let (nodes, degree) = (host.indexed().count(), host.base().1);
        let shape = (ask.k, ask.vectors.dim());
        let plan = plan(ask.params, shape, (nodes, degree), ask.candidates.allowed);
        plan.map_or(0, |plan| nodes.min(plan.walk.list as usize * degree))
    }

    fn search(
        &self,
        host: &Hnsw,
        ask: &Ask<'_>,
        stats: &mut SearchStats,
    ) -> Result<Vec<Option<Vec<Neighbor>>>, GpuError> {
        let (k, allowed) = (ask.k, ask.candidates.allowed);
        let (nodes, degree) = (host.indexed().count(), host.base().1);
        let wanted = k.min(allowed.unwrap_or(nodes));
        let shape = (k, ask.vectors.dim());
        let plan = plan(ask.params, shape, (nodes, degree), allowed);
        let Some(plan) = plan.filter(|_| wanted > 0) else {
            return Ok(vec![None; ask.queries.len()]);
        };
        let upload = || GraphOnDevice::upload(&self.device, host, ask.vectors);
        let resident = self.resident.get(upload)?;
        let of_query = query_bytes(plan, ask.vectors.dim());
        let at_once = queries_at_once(&self.device.budget, of_query, self.tuning);
        let all: Vec<usize> = (0..ask.queries.len()).collect();
        let part = allowed.map_or(0.0, |allowed| allowed as f64 / nodes.max(1) as f64);
        let mut results = Vec::with_capacity(all.len());
        for batch in all.chunks(at_once) {
            let found = {
                let _turn = self.device.turn.lock();
                self.nearest(&resident, ask, batch, plan)?
            };
            let best = batch.par_iter().zip(&found).map(|(&query, found)| {
                // Where a filter left little near the query, a walk finds rows by chance only.
                if (found.allowed as f64) < found.scored as f64 * part / 2.0 {
                    return None;
                }
                let query = ask.queries.row(query);
                best_of(&ask.candidates.space, query, &found.rows, k, wanted)
            });
            let best: Vec<Option<Vec<Neighbor>>> = best.collect();
            for (best, found) in best.iter().zip(&found) {
                if best.is_some() {
                    stats.distances += found.scored as u64;
                    stats.strategy = if allowed.is_some() {
                        Strategy::GraphFiltered
                    } else {
                        Strategy::Graph
                    };
                }
            }
            results.extend(best);
        }
        Ok(results)
    }
}
