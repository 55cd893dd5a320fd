//! A graph over the rows of a segment, and the search through it: the whole of HNSW but the vectors.

use super::build::{self, Form, Settings};
use super::earlier::Earlier;
use super::frontier::{Frontier, HeapFrontier, SortedFrontier};
use super::layers::{LayerRef, Layers, Link};
use super::points::{Distances, Points};
use super::scratch::{Scratch, ScratchPool};
use super::walk;
use super::walkers::Walkers;
use crate::bitset::Bitset;
use crate::blob::{Reader, Writer};
use crate::error::{BuildError, OpenError};
use crate::huge_pages;
use crate::index::SearchStats;
use crate::neighbor::{Neighbor, TopK};
use crate::params::SearchParams;
use crate::progress::BuildOptions;
use crate::strategy::{GraphPlan, GraphQuery, Strategy, WIDEN, plan_graph};

/// Its parameters.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Degrees {
    pub(crate) m: u32,
    pub(crate) ef_construction: u32,
}

/// The links of all rows that have a vector.
#[derive(Debug)]
pub(crate) struct Graph {
    /// Rows of the segment, those without a vector included.
    len: usize,
    /// Rows with a vector.
    nodes: usize,
    layers: Layers,
    scratch: ScratchPool,
}

/// Which rows a search may return.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Allowed<'a> {
    /// The caller's filter without rows that have no vector; `None` without a filter.
    pub(crate) filter: Option<&'a Bitset>,
    /// Rows that it lets through; `None` without a filter.
    pub(crate) count: Option<usize>,
}

impl Graph {
    /// Links `members`, rows of `points`, which walk by `walkers`; out of earlier graphs over some of them, where there are
    /// any. Runs on the current thread pool.
    pub(crate) fn build<P: Points, W: Walkers>(
        degrees: Degrees,
        points: &P,
        walkers: &W,
        members: Vec<u32>,
        earlier: Option<&Earlier<'_>>,
        options: &BuildOptions<'_>,
    ) -> Result<Self, BuildError> {
        let settings = Settings {
            form: Form::Hierarchy {
                m: degrees.m as usize,
            },
            ef_construction: degrees.ef_construction as usize,
            seed: options.seed,
        };
        let nodes = members.len();
        let layers = build::build(points, walkers, members, earlier, settings, options.progress)?;
        huge_pages::collapse(&layers.base);
        Ok(Self::of(points.len(), nodes, layers))
    }

    /// A graph of `len` rows, `nodes` of them with a vector.
    pub(super) fn of(len: usize, nodes: usize, layers: Layers) -> Self {
        Self {
            len,
            nodes,
            layers,
            scratch: ScratchPool::new(len),
        }
    }

    /// Rows that it links.
    pub(super) fn nodes(&self) -> usize {
        self.nodes
    }

    /// Its links.
    pub(super) fn layers(&self) -> &Layers {
        &self.layers
    }

    /// Its links.
    pub(super) fn into_layers(self) -> Layers {
        self.layers
    }

    /// Links of all rows on the base layer, as many for each as [`Graph::base_degree`] says.
    pub(crate) fn base(&self) -> &[u32] {
        &self.layers.base
    }

    /// Places for links of a row on the base layer.
    pub(crate) fn base_degree(&self) -> usize {
        self.layers.base_degree()
    }

    /// Opens what [`Graph::write`] wrote as arrays `first` and following; the rows in `valid` (all, when `None`) have a
    /// vector, `nodes` of them.
    pub(crate) fn open(
        reader: &Reader,
        first: usize,
        valid: Option<&Bitset>,
        nodes: usize,
    ) -> Result<Self, OpenError> {
        let layers = Layers::open(reader, first, valid)?;
        huge_pages::hint(&layers.base);
        Ok(Self::of(reader.header().rows, nodes, layers))
    }

    /// Adds the arrays to a blob.
    pub(crate) fn write<'a>(&'a self, writer: &mut Writer<'a>) {
        self.layers.write(writer);
    }

    /// Arrays that [`Graph::write`] adds.
    pub(crate) fn arrays(&self) -> usize {
        self.layers.arrays()
    }

    /// The rows that a row is linked to on the base layer.
    pub(crate) fn neighbors(&self, row: u32) -> Vec<u32> {
        self.layers.base().neighbors(row).collect()
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.layers.memory_bytes() + self.scratch.memory_bytes()
    }

    /// The rows nearest to what `scorer` scores; `None` when they should be scanned instead.
    pub(crate) fn search(
        &self,
        scorer: &impl Distances,
        allowed: Allowed<'_>,
        k: usize,
        params: &SearchParams,
        stats: &mut SearchStats,
    ) -> Option<Vec<Neighbor>> {
        let found = if params.within.is_open() {
            self.nearest(scorer, allowed, k, params, stats)?
        } else {
            self.nearest_within(scorer, allowed, k, params, stats)?
        };
        stats.strategy = if allowed.filter.is_some() {
            Strategy::GraphFiltered
        } else {
            Strategy::Graph
        };
        Some(found)
    }

    fn nearest(
        &self,
        scorer: &impl Distances,
        allowed: Allowed<'_>,
        k: usize,
        params: &SearchParams,
        stats: &mut SearchStats,
    ) -> Option<Vec<Neighbor>> {
        let GraphPlan::Walk { ef } = plan_graph(self.query(allowed, k, params)) else {
            return None;
        };
        let mut scratch = self.scratch.take();
        let found = if ef <= SortedFrontier::MAX {
            let mut frontier = std::mem::take(&mut scratch.sorted);
            frontier.reset(ef);
            let found = self.walk(scorer, k, allowed.filter, &mut scratch, &mut frontier, stats);
            scratch.sorted = frontier;
            found
        } else {
            let mut frontier = HeapFrontier::new(ef);
            self.walk(scorer, k, allowed.filter, &mut scratch, &mut frontier, stats)
        };
        self.scratch.give_back(scratch);
        (found.len() >= k.min(allowed.count.unwrap_or(self.nodes))).then_some(found)
    }

    /// Walks down to the base and through it. Without a filter the best of the frontier are the result; with one, every
    /// allowed row that the walk scores is a candidate, even those that fall out of the frontier.
    ///
    /// Of what a walk has seen, it knows well only what lies no farther than its frontier reached; rows beyond are there
    /// by chance. Where a filter leaves little near the query (other languages, other tenants), the chance finds would
    /// fill the result while nearer allowed rows were never seen. So with fewer than half of `k` within reach, nothing is
    /// returned.
    fn walk<F: Frontier>(
        &self,
        scorer: &impl Distances,
        k: usize,
        allow: Option<&Bitset>,
        scratch: &mut Scratch,
        frontier: &mut F,
        stats: &mut SearchStats,
    ) -> Vec<Neighbor> {
        let Some(entry) = walk::descend(&self.layers, scorer, scratch, stats) else {
            return Vec::new();
        };
        let base = self.layers.base();
        match allow {
            None => {
                walk::walk(base, scorer, &[entry], scratch, frontier, stats, |_, _| {});
                let mut found = Vec::with_capacity(k);
                frontier.best(k, &mut found);
                found
            }
            Some(allow) => {
                let top = TopK::new(k, self.len);
                let found = collect(base, scorer, entry, Some(allow), top, scratch, frontier, stats);
                let within = within_reach(&found, frontier);
                if within * 2 < k { Vec::new() } else { found }
            }
        }
    }

    /// The best `k` within a window: walks with longer and longer candidate lists, until one reaches past the end of the
    /// window or past `k` rows of it. `None` when a scan is cheaper than the next walk.
    fn nearest_within(
        &self,
        scorer: &impl Distances,
        allowed: Allowed<'_>,
        k: usize,
        params: &SearchParams,
        stats: &mut SearchStats,
    ) -> Option<Vec<Neighbor>> {
        let mut query = self.query(allowed, k, params);
        while let GraphPlan::Walk { ef } = plan_graph(query) {
            let mut scratch = self.scratch.take();
            let mut frontier = HeapFrontier::new(ef);
            let entry = walk::descend(&self.layers, scorer, &mut scratch, stats)?;
            let found = collect(
                self.layers.base(),
                scorer,
                entry,
                allowed.filter,
                TopK::within(params.within, k, self.len),
                &mut scratch,
                &mut frontier,
                stats,
            );
            self.scratch.give_back(scratch);
            if within_reach(&found, &frontier) >= k || frontier.reach() > params.within.last() {
                return Some(found);
            }
            query.ef = query.ef.saturating_mul(WIDEN);
        }
        None
    }

    fn query(&self, allowed: Allowed<'_>, k: usize, params: &SearchParams) -> GraphQuery {
        GraphQuery {
            rows: self.nodes,
            allowed: allowed.count,
            k,
            ef: params.ef_for(k, allowed.count.is_some()),
            degree: self.layers.base_degree(),
        }
    }
}

/// Walks the base layer and keeps the best of all allowed rows that the walk scores.
#[expect(
    clippy::too_many_arguments,
    reason = "the state of a walk, lent by the caller"
)]
fn collect<L: Link, F: Frontier>(
    base: LayerRef<'_, L>,
    scorer: &impl Distances,
    entry: Neighbor,
    allow: Option<&Bitset>,
    mut top: TopK,
    scratch: &mut Scratch,
    frontier: &mut F,
    stats: &mut SearchStats,
) -> Vec<Neighbor> {
    let offer = |row: u32, distance: f32| {
        if distance <= top.bound() && allow.is_none_or(|allow| allow.get(row as usize)) {
            top.push(distance, row);
        }
    };
    walk::walk(base, scorer, &[entry], scratch, frontier, stats, offer);
    top.into_sorted()
}

/// How many of the rows found lie within the reach of the walk.
fn within_reach<F: Frontier>(found: &[Neighbor], frontier: &F) -> usize {
    let reach = frontier.reach();
    found.partition_point(|neighbor| neighbor.distance <= reach)
}
