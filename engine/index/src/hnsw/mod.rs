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
use crate::blob::{Array, Header, Reader, Writer};
use crate::error::{BuildError, OpenError};
use crate::exact::exact_in;
use crate::index::{IndexKind, SearchStats, Validity, VectorIndex, shape_fits};
use crate::metric::Metric;
use crate::neighbor::{Neighbor, TopK};
use crate::params::{BuildParams, SearchParams};
use crate::progress::BuildOptions;
use crate::scorer::{Scorer, Space, inverse_norms};
use crate::strategy::{GraphPlan, GraphQuery, Strategy, plan_graph};
use crate::vectors::Vectors;
use build::Settings;
use frontier::{Frontier, HeapFrontier, SortedFrontier};
use layers::Layers;
use scratch::{Scratch, ScratchPool};

#[derive(Debug)]
pub(crate) struct Hnsw {
    metric: Metric,
    dim: usize,
    rows: usize,
    m: u32,
    ef_construction: u32,
    valid: Validity,
    /// One per row under COSINE, else empty.
    inverse_norms: Array<f32>,
    layers: Layers,
    scratch: ScratchPool,
}

impl Hnsw {
    pub(crate) fn build(
        m: u32,
        ef_construction: u32,
        metric: Metric,
        vectors: Vectors<'_>,
        valid: Validity,
        options: &BuildOptions<'_>,
    ) -> Result<Self, BuildError> {
        let norms = if metric == Metric::Cosine {
            inverse_norms(vectors)
        } else {
            Vec::new()
        };
        let settings = Settings {
            m: m as usize,
            ef_construction: ef_construction as usize,
            seed: options.seed,
        };
        let space = Space::new(metric, vectors, Some(&norms));
        let layers = build::build(&space, valid.set(), settings, options.progress)?;
        let rows = vectors.len();
        Ok(Self {
            metric,
            dim: vectors.dim(),
            rows,
            m,
            ef_construction,
            valid,
            inverse_norms: Array::Owned(norms),
            layers,
            scratch: ScratchPool::new(rows),
        })
    }

    pub(crate) fn open(reader: &Reader, m: u32, ef_construction: u32) -> Result<Self, OpenError> {
        let Header {
            metric, dim, rows, ..
        } = *reader.header();
        let valid = reader.validity(0)?;
        let layers = Layers::open(reader, 2, &valid)?;
        Ok(Self {
            metric,
            dim,
            rows,
            m,
            ef_construction,
            inverse_norms: reader.inverse_norms(1)?,
            layers,
            valid,
            scratch: ScratchPool::new(rows),
        })
    }

    /// Rows in the graph.
    fn nodes(&self) -> usize {
        self.valid.set().map_or(self.rows, Bitset::count)
    }

    /// Walks down to the base and through it. Without a filter the best of the frontier are the result; with one, every
    /// allowed row that the walk scores is a candidate, even those that fall out of the frontier.
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
                let mut top = TopK::new(k, self.rows);
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
                top.into_sorted()
            }
        }
    }
}

impl VectorIndex for Hnsw {
    fn kind(&self) -> IndexKind {
        IndexKind::Hnsw
    }

    fn metric(&self) -> Metric {
        self.metric
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn rows(&self) -> usize {
        self.rows
    }

    fn params(&self) -> BuildParams {
        BuildParams::Hnsw {
            m: self.m,
            ef_construction: self.ef_construction,
        }
    }

    fn memory_bytes(&self) -> usize {
        self.valid.memory_bytes()
            + self.inverse_norms.bytes()
            + self.layers.memory_bytes()
            + self.scratch.memory_bytes()
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
        if k == 0 || !shape_fits(self, vectors, query.len()) {
            return Vec::new();
        }
        let space = Space::new(self.metric, vectors, Some(&self.inverse_norms));
        let nodes = self.nodes();
        let mut narrowed = Bitset::default();
        // Links lead to rows with a vector only, so validity matters to the walk only where a filter is counted.
        let allow = allow.and_then(|allow| self.valid.restrict(Some(allow), &mut narrowed));
        let allowed = allow.map(|allow| allow.count_range(0, self.rows));
        let graph_query = GraphQuery {
            rows: nodes,
            allowed,
            k,
            ef: params.ef_for(k),
            degree: self.layers.base_degree(),
        };
        if let GraphPlan::Walk { ef } = plan_graph(graph_query) {
            let scorer = space.scorer(query);
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
            if found.len() >= k.min(allowed.unwrap_or(nodes)) {
                stats.strategy = if allow.is_some() {
                    Strategy::GraphFiltered
                } else {
                    Strategy::Graph
                };
                return found;
            }
        }
        exact_in(&space, query, k, allow.or(self.valid.set()), stats)
    }

    fn serialize(&self) -> Vec<u8> {
        let header = Header {
            params: self.params(),
            metric: self.metric,
            dim: self.dim,
            rows: self.rows,
        };
        let mut writer = Writer::new(header);
        writer.validity(&self.valid);
        writer.put(&self.inverse_norms);
        self.layers.write(&mut writer);
        writer.finish()
    }
}
