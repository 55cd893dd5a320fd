//! A graph that may be walked by codes: estimates on the way, exact distances at the end.
//!
//! ```text
//!   query ──> walk over codes ──> the best R by estimate ──> exact distances ──> the best k
//! ```
//!
//! A hop reads codes instead of vectors: a quarter of the bytes or less. The links are those of exact distances, so codes
//! cost no quality of the graph. What is within a window of distances, only exact distances can tell; such a search walks
//! by them, as it does where codes say too little or overflow.

use super::graph::{Allowed, Degrees, Graph};
use super::points::{Distances, Points};
use crate::bitset::Bitset;
use crate::blob::{Reader, Writer};
use crate::codes::rows::{RowCodes, RowSource};
use crate::error::{BuildError, OpenError};
use crate::hnsw::params::HnswCodedParams;
use crate::index::SearchStats;
use crate::metric::Metric;
use crate::neighbor::{Neighbor, TopK};
use crate::params::{BuildParams, SearchParams};
use crate::progress::BuildOptions;

/// Rows of fewer dimensions are walked by exact distances: that is as quick, and codes would say little.
const MIN_DIM: usize = 8;

/// Links of all rows, and codes where the family has them.
#[derive(Debug)]
pub(crate) struct CodedGraph {
    graph: Graph,
    coded: Option<Coded>,
}

#[derive(Debug)]
struct Coded {
    params: HnswCodedParams,
    codes: RowCodes,
}

/// Both of the graph, and what it is coded by.
fn parts(params: BuildParams) -> Option<(Degrees, Option<HnswCodedParams>)> {
    match params {
        BuildParams::Hnsw { m, ef_construction } => Some((Degrees { m, ef_construction }, None)),
        BuildParams::HnswCoded(coded) => {
            let degrees = Degrees {
                m: coded.m,
                ef_construction: coded.ef_construction,
            };
            Some((degrees, Some(coded)))
        }
        BuildParams::Flat
        | BuildParams::IvfFlat { .. }
        | BuildParams::IvfCoded(_)
        | BuildParams::Sparse(_) => None,
    }
}

impl CodedGraph {
    /// Links `members`, rows of `points`, and writes their codes; `None` when `params` are of no graph. `rows` are the same
    /// rows as 32-bit floats with their metric, where they are numbers. Runs on the current thread pool.
    pub(crate) fn build<P: Points>(
        params: BuildParams,
        points: &P,
        rows: Option<(Metric, &impl RowSource)>,
        members: Vec<u32>,
        options: &BuildOptions<'_>,
    ) -> Result<Option<Self>, BuildError> {
        let Some((degrees, coded)) = parts(params) else {
            return Ok(None);
        };
        let coded = match (coded, rows) {
            (Some(params), Some((metric, rows))) => {
                let codes = RowCodes::build(
                    params.code,
                    metric,
                    rows,
                    &members,
                    options.seed,
                    options.progress,
                )?;
                Some(Coded { params, codes })
            }
            (Some(_), None) => return Ok(None),
            (None, _) => None,
        };
        let graph = Graph::build(degrees, points, members, options)?;
        Ok(Some(Self { graph, coded }))
    }

    /// Opens what [`CodedGraph::write`] wrote as arrays `first` and following; the rows in `valid` (all, when `None`) have a
    /// vector, `nodes` of them. `metric` is that of rows of numbers.
    pub(crate) fn open(
        reader: &Reader,
        first: usize,
        metric: Option<Metric>,
        valid: Option<&Bitset>,
        nodes: usize,
    ) -> Result<Self, OpenError> {
        let header = reader.header();
        let no_graph =
            || OpenError::corrupt(format!("{} is no graph of these vectors", header.params.kind()));
        let (degrees, coded) = parts(header.params).ok_or_else(no_graph)?;
        header
            .params
            .check_dim(header.dim)
            .map_err(|error| OpenError::corrupt(error.to_string()))?;
        let (coded, first) = match coded {
            Some(params) => {
                let metric = metric.ok_or_else(no_graph)?;
                let codes = RowCodes::open(reader, first, params.code, metric, header.dim)?;
                (Some(Coded { params, codes }), first + RowCodes::ARRAYS)
            }
            None => (None, first),
        };
        let graph = Graph::open(reader, first, degrees, valid, nodes)?;
        Ok(Self { graph, coded })
    }

    /// Adds the arrays to a blob: those of the codes, those of the graph.
    pub(crate) fn write<'a>(&'a self, writer: &mut Writer<'a>) {
        if let Some(coded) = &self.coded {
            coded.codes.write(writer);
        }
        self.graph.write(writer);
    }

    /// The parameters it was built with.
    pub(crate) fn params(&self) -> BuildParams {
        match &self.coded {
            Some(coded) => BuildParams::HnswCoded(coded.params),
            None => self.graph.degrees.params(),
        }
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        let codes = self.coded.as_ref().map_or(0, |coded| coded.codes.memory_bytes());
        self.graph.memory_bytes() + codes
    }

    /// The rows nearest to what `exact` scores, with exact distances; `None` when they should be scanned instead. `query` is
    /// the same query as 32-bit floats, asked for where there are codes.
    pub(crate) fn search(
        &self,
        exact: &impl Distances,
        query: impl FnOnce() -> Vec<f32>,
        allowed: Allowed<'_>,
        k: usize,
        params: &SearchParams,
        stats: &mut SearchStats,
    ) -> Option<Vec<Neighbor>> {
        if let Some(coded) = &self.coded
            && params.within.is_open()
        {
            let query = query();
            if query.len() >= MIN_DIM {
                let found = self.by_codes(coded, exact, query, allowed, k, params, stats);
                if found.is_some() {
                    return found;
                }
            }
        }
        self.graph.search(exact, allowed, k, params, stats)
    }

    /// `None` when codes find too few rows, or overflow.
    #[expect(clippy::too_many_arguments, reason = "a search, and what it is walked by")]
    fn by_codes(
        &self,
        coded: &Coded,
        exact: &impl Distances,
        query: Vec<f32>,
        allowed: Allowed<'_>,
        k: usize,
        params: &SearchParams,
        stats: &mut SearchStats,
    ) -> Option<Vec<Neighbor>> {
        let limit = coded.params.rescored(k, params);
        let estimates = coded.codes.scorer(query);
        let found = self.graph.search(&estimates, allowed, limit, params, stats)?;
        if found.iter().any(|neighbor| !neighbor.distance.is_finite()) {
            return None;
        }
        let rows: Vec<u32> = found.iter().map(|neighbor| neighbor.row).collect();
        let mut distances = vec![0.0; rows.len()];
        exact.gather(&rows, &mut distances);
        stats.distances += rows.len() as u64;
        let mut top = TopK::new(k, rows.len());
        for (&row, &distance) in rows.iter().zip(&distances) {
            top.push(distance, row);
        }
        Some(top.into_sorted())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hnsw::params::{GraphCode, ScalarFormat};
    use crate::indexed_rows::IndexedRows;
    use crate::rng::Rng;
    use crate::vectors::Vectors;

    #[test]
    fn rows_beyond_what_a_code_holds_are_walked_by_exact_distances() {
        let (rows, dim) = (4_000, 16);
        let mut rng = Rng::new(3);
        let data: Vec<f32> = (0..rows * dim).map(|_| rng.normal() * 1e19).collect();
        let vectors = Vectors::new(&data, dim).unwrap();
        let indexed = IndexedRows::new(Metric::L2, vectors, None);
        let space = indexed.space(vectors);
        let params = BuildParams::HnswCoded(HnswCodedParams {
            m: 8,
            ef_construction: 40,
            code: GraphCode::Scalar(ScalarFormat::Fp16),
            refine: false,
            refine_type: None,
        });
        let source = Some((Metric::L2, &space));
        let members = indexed.numbers();
        let options = BuildOptions::default();
        let graph = CodedGraph::build(params, &space, source, members, &options)
            .unwrap()
            .unwrap();
        let query = vectors.row(17);
        let allowed = Allowed {
            filter: None,
            count: None,
        };
        let search = SearchParams::default();
        let mut stats = SearchStats::default();
        let exact = space.scorer(query);
        let found = graph.search(&exact, || query.to_vec(), allowed, 3, &search, &mut stats);
        assert_eq!(found.unwrap()[0].row, 17);
    }
}
