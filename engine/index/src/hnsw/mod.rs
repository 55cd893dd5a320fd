//! HNSW: a hierarchy of proximity graphs (Malkov and Yashunin, 2018), walked from coarse to fine.
//!
//! ```text
//!   layer 2   o-----------o          each node of a layer is also in the one below;
//!             |           |          a query walks greedily down to the base
//!   layer 1   o----o------o--o
//!             |    |      |  |       base: every row, up to 2M links each;
//!   base      o-o-oo-o-o-oo-oo-o     a list of the best `ef` nodes is kept while walking
//! ```
//!
//! | file | part |
//! |---|---|
//! | `layers` | the links as flat arrays, frozen or growing, and their checks when opened |
//! | `walk` | the greedy descent and the best-first walk of one layer |
//! | `frontier` | the list of the best `ef` nodes |
//! | `scratch` | reusable memory of a walk: visited marks and buffers |
//! | `select` | which neighbours a node keeps |
//! | `build` | parallel and deterministic construction |

mod build;
mod frontier;
mod layers;
mod scratch;
mod select;
mod walk;

use crate::bitset::Bitset;
use crate::blob::Reader;
use crate::error::{BuildError, OpenError};
use crate::index::{IndexKind, SearchStats, VectorIndex};
use crate::indexed_rows::{Candidates, IndexedRows};
use crate::metric::Metric;
use crate::neighbor::{Neighbor, TopK};
use crate::params::{BuildParams, SearchParams};
use crate::progress::BuildOptions;
use crate::scorer::Scorer;
use crate::strategy::{GraphPlan, GraphQuery, Strategy, plan_graph};
use crate::vectors::Vectors;
use build::Settings;
use frontier::{Frontier, HeapFrontier, SortedFrontier};
use layers::{LayerRef, Layers, Link};
use scratch::{Scratch, ScratchPool};

#[derive(Debug)]
pub(crate) struct Hnsw {
    rows: IndexedRows,
    m: u32,
    ef_construction: u32,
    layers: Layers,
    scratch: ScratchPool,
}

impl Hnsw {
    pub(crate) fn build(
        m: u32,
        ef_construction: u32,
        rows: IndexedRows,
        vectors: Vectors<'_>,
        options: &BuildOptions<'_>,
    ) -> Result<Self, BuildError> {
        let settings = Settings {
            m: m as usize,
            ef_construction: ef_construction as usize,
            seed: options.seed,
        };
        let layers = build::build(&rows.space(vectors), rows.numbers(), settings, options.progress)?;
        Ok(Self {
            m,
            ef_construction,
            layers,
            scratch: ScratchPool::new(rows.len),
            rows,
        })
    }

    pub(crate) fn open(
        reader: &Reader,
        m: u32,
        ef_construction: u32,
        rows: IndexedRows,
    ) -> Result<Self, OpenError> {
        Ok(Self {
            m,
            ef_construction,
            layers: Layers::open(reader, IndexedRows::ARRAYS, rows.valid())?,
            scratch: ScratchPool::new(rows.len),
            rows,
        })
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
        scorer: &Scorer<'_>,
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
                let top = TopK::new(k, self.rows.len);
                let found = collect(base, scorer, entry, Some(allow), top, scratch, frontier, stats);
                let within = within_reach(&found, frontier);
                if within * 2 < k { Vec::new() } else { found }
            }
        }
    }

    /// The best `k` within a window: walks with longer and longer candidate lists, until one reaches past the end of the
    /// window or past `k` rows of it. `None` when a scan is cheaper than the next walk.
    fn walk_within(
        &self,
        candidates: &Candidates<'_>,
        query: &[f32],
        k: usize,
        params: &SearchParams,
        stats: &mut SearchStats,
    ) -> Option<Vec<Neighbor>> {
        let scorer = candidates.space.scorer(query);
        let mut graph_query = self.graph_query(candidates, k, params);
        while let GraphPlan::Walk { ef } = plan_graph(graph_query) {
            let mut scratch = self.scratch.take();
            let mut frontier = HeapFrontier::new(ef);
            let entry = walk::descend(&self.layers, &scorer, &mut scratch, stats)?;
            let found = collect(
                self.layers.base(),
                &scorer,
                entry,
                candidates.filter(),
                TopK::within(params.within, k, self.rows.len),
                &mut scratch,
                &mut frontier,
                stats,
            );
            self.scratch.give_back(scratch);
            if within_reach(&found, &frontier) >= k || frontier.reach() > params.within.last() {
                return Some(found);
            }
            graph_query.ef = graph_query.ef.saturating_mul(WIDEN);
        }
        None
    }

    fn graph_query(&self, candidates: &Candidates<'_>, k: usize, params: &SearchParams) -> GraphQuery {
        GraphQuery {
            rows: self.rows.count(),
            allowed: candidates.allowed,
            k,
            ef: params.ef_for(k, candidates.allowed.is_some()),
            degree: self.layers.base_degree(),
        }
    }
}

/// How much longer the candidate list of the next walk within a window is.
const WIDEN: usize = 4;

/// Walks the base layer and keeps the best of all allowed rows that the walk scores.
#[expect(
    clippy::too_many_arguments,
    reason = "the state of a walk, lent by the caller"
)]
fn collect<L: Link, F: Frontier>(
    base: LayerRef<'_, L>,
    scorer: &Scorer<'_>,
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

impl VectorIndex for Hnsw {
    fn kind(&self) -> IndexKind {
        IndexKind::Hnsw
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
        BuildParams::Hnsw {
            m: self.m,
            ef_construction: self.ef_construction,
        }
    }

    fn memory_bytes(&self) -> usize {
        self.rows.memory_bytes() + self.layers.memory_bytes() + self.scratch.memory_bytes()
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
        let Some(candidates) = self.rows.candidates(vectors, query.len(), allow) else {
            return Vec::new();
        };
        let (allow, nodes) = (candidates.filter(), self.rows.count());
        let strategy = if allow.is_some() {
            Strategy::GraphFiltered
        } else {
            Strategy::Graph
        };
        if !params.within.is_open() {
            if let Some(found) = self.walk_within(&candidates, query, k, params, stats) {
                stats.strategy = strategy;
                return found;
            }
        } else if let GraphPlan::Walk { ef } = plan_graph(self.graph_query(&candidates, k, params)) {
            let scorer = candidates.space.scorer(query);
            let mut scratch = self.scratch.take();
            let found = if ef <= SortedFrontier::MAX {
                let mut frontier = std::mem::take(&mut scratch.sorted);
                frontier.reset(ef);
                let found = self.walk(&scorer, k, allow, &mut scratch, &mut frontier, stats);
                scratch.sorted = frontier;
                found
            } else {
                self.walk(&scorer, k, allow, &mut scratch, &mut HeapFrontier::new(ef), stats)
            };
            self.scratch.give_back(scratch);
            if found.len() >= k.min(candidates.allowed.unwrap_or(nodes)) {
                stats.strategy = strategy;
                return found;
            }
        }
        candidates.scan(query, k, params.within, stats)
    }

    fn serialize(&self) -> Vec<u8> {
        let mut writer = self.rows.writer(self.params());
        self.layers.write(&mut writer);
        writer.finish()
    }
}
