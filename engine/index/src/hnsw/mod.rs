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
use crate::indexed_rows::IndexedRows;
use crate::metric::Metric;
use crate::neighbor::{Neighbor, TopK};
use crate::params::{BuildParams, SearchParams};
use crate::progress::BuildOptions;
use crate::scorer::Scorer;
use crate::strategy::{GraphPlan, GraphQuery, Strategy, plan_graph};
use crate::vectors::Vectors;
use build::Settings;
use frontier::{Frontier, HeapFrontier, SortedFrontier};
use layers::Layers;
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
                let mut top = TopK::new(k, self.rows.len);
                walk::walk(
                    base,
                    scorer,
                    &[entry],
                    scratch,
                    frontier,
                    stats,
                    |row, distance| {
                        if distance <= top.bound() && allow.get(row as usize) {
                            top.push(distance, row);
                        }
                    },
                );
                let found = top.into_sorted();
                let reach = frontier.reach();
                let within = found.partition_point(|neighbor| neighbor.distance <= reach);
                if within * 2 < k { Vec::new() } else { found }
            }
        }
    }
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
        let graph_query = GraphQuery {
            rows: nodes,
            allowed: candidates.allowed,
            k,
            ef: params.ef_for(k),
            degree: self.layers.base_degree(),
        };
        if let GraphPlan::Walk { ef } = plan_graph(graph_query) {
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
                stats.strategy = if allow.is_some() {
                    Strategy::GraphFiltered
                } else {
                    Strategy::Graph
                };
                return found;
            }
        }
        candidates.scan(query, k, stats)
    }

    fn serialize(&self) -> Vec<u8> {
        let mut writer = self.rows.writer(self.params());
        self.layers.write(&mut writer);
        writer.finish()
    }
}
