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
//! | `plan` | the order of insertion and the levels |
//! | `walkers` | what rows are walked by on their way in |
//! | `build` | parallel and deterministic construction |
//! | `copies` | links between equal rows |
//! | `earlier` | graphs over some of the rows, out of which a new one is built |
//! | `repair` | one of them taken over without the rows that are gone |
//! | `lead` | insertion of the rows of the others |
//! | `points` | what all of these ask of the vectors |
//! | `companions` | distances within a batch of rows |
//! | `graph` | the graph and the search through it |
//! | `given` | a hierarchy over links that were made elsewhere |
//! | `coded` | the same with codes beside the links: HNSW_SQ, HNSW_PQ, HNSW_PRQ |
//! | `params` | the parameters of those |
//!
//! Here is the index of 32-bit floats; [`crate::typed`] has that of other vectors. [`crate::disk`] builds a graph of one
//! layer with the same parts.

mod build;
mod coded;
mod companions;
mod copies;
mod earlier;
mod frontier;
mod given;
mod graph;
mod layers;
mod lead;
pub(crate) mod params;
mod plan;
mod points;
mod repair;
mod scratch;
mod select;
mod walk;
mod walkers;

use crate::bitset::Bitset;
use crate::blob::Reader;
use crate::error::{BuildError, OpenError};
use crate::index::{IndexKind, SearchStats, VectorIndex};
use crate::indexed_rows::IndexedRows;
use crate::metric::Metric;
use crate::neighbor::Neighbor;
use crate::params::{BuildParams, SearchParams};
use crate::progress::BuildOptions;
use crate::vectors::Vectors;

pub(crate) use build::{Form, Settings, build as build_links};
pub(crate) use coded::{CodedGraph, Numbers, same_degrees};
pub(crate) use companions::GatheredCompanions;
pub use earlier::IndexGraph;
pub(crate) use earlier::{Earlier, Part};
pub(crate) use frontier::{Frontier, HeapFrontier, SortedFrontier};
pub(crate) use graph::Allowed;
pub(crate) use layers::{Layers, NONE};
pub(crate) use points::{Companions, Distances, Points, fingerprint};
pub(crate) use scratch::{Scratch, ScratchPool};
pub(crate) use walkers::ByDistance;

#[derive(Debug)]
pub(crate) struct Hnsw {
    rows: IndexedRows,
    graph: CodedGraph,
}

impl Hnsw {
    /// Builds the graph that `params` say, out of `earlier` ones where there are any.
    pub(crate) fn build(
        params: BuildParams,
        rows: IndexedRows,
        vectors: Vectors<'_>,
        earlier: Option<&Earlier<'_>>,
        options: &BuildOptions<'_>,
    ) -> Result<Self, BuildError> {
        let space = rows.space(vectors);
        let numbers = Numbers {
            metric: rows.metric,
            rows: &space,
            wide: true,
        };
        let graph = CodedGraph::build(params, &space, Some(&numbers), &rows.numbers(), earlier, options)?;
        let graph = graph.ok_or_else(|| BuildError::Kind {
            index: params.kind().to_string(),
            metric: rows.metric.to_string(),
        })?;
        Ok(Self { rows, graph })
    }

    /// A hierarchy over base links that were made elsewhere: for each row of the segment `stride` of them, filled up with
    /// [`NONE`].
    pub(crate) fn over(
        params: BuildParams,
        rows: IndexedRows,
        vectors: Vectors<'_>,
        links: (Vec<u32>, usize),
        options: &BuildOptions<'_>,
    ) -> Result<Self, BuildError> {
        let space = rows.space(vectors);
        let graph = CodedGraph::over(params, &space, &rows.numbers(), links, options)?;
        Ok(Self { rows, graph })
    }

    /// The rows.
    pub(crate) fn indexed(&self) -> &IndexedRows {
        &self.rows
    }

    /// Links of all rows on the base layer, and how many each has.
    pub(crate) fn base(&self) -> (&[u32], usize) {
        let graph = self.graph.graph();
        (graph.base(), graph.base_degree())
    }

    pub(crate) fn open(reader: &Reader, rows: IndexedRows) -> Result<Self, OpenError> {
        let (first, metric) = (IndexedRows::ARRAYS, Some(rows.metric));
        let graph = CodedGraph::open(reader, first, metric, rows.valid(), rows.count())?;
        Ok(Self { rows, graph })
    }
}

impl VectorIndex for Hnsw {
    fn kind(&self) -> IndexKind {
        self.params().kind()
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
        self.graph.params()
    }

    fn memory_bytes(&self) -> usize {
        self.rows.memory_bytes() + self.graph.memory_bytes()
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
        let allowed = Allowed {
            filter: candidates.filter(),
            count: candidates.allowed,
        };
        let scorer = candidates.space.scorer(query);
        let found = self
            .graph
            .search(&scorer, || query.to_vec(), allowed, k, params, stats);
        found.unwrap_or_else(|| candidates.scan(query, k, params.within, stats))
    }

    fn graph(&self) -> Option<IndexGraph<'_>> {
        Some(IndexGraph {
            graph: self.graph.graph(),
            valid: self.rows.valid(),
        })
    }

    fn serialize(&self) -> Vec<u8> {
        let mut writer = self.rows.writer(self.params());
        self.graph.write(&mut writer);
        writer.finish()
    }
}
