//! A graph that may be walked by codes: estimates on the way, exact distances at the end.
//!
//! ```text
//!   query ──> walk over codes ──> the best R by estimate ──> exact distances ──> the best k
//! ```
//!
//! A hop reads codes instead of vectors: a quarter of the bytes or less. Which links a row keeps is decided by exact
//! distances, so codes cost no quality of the graph. What is within a window of distances, only exact distances can tell; such a search walks
//! by them, as it does where codes say too little or overflow.
//!
//! HNSW_SQ, HNSW_PQ and HNSW_PRQ have the codes that were asked for. Plain HNSW over long 32-bit floats has 8 bits per
//! dimension, if they tell near rows apart almost as well as exact distances do: that is tried before the build, which walks
//! by them then, and again on the finished graph. HNSW_SQ is built in the same way where its codes do.

use super::earlier::Earlier;
use super::given;
use super::graph::{Allowed, Degrees, Graph};
use super::params::{GraphCode, HnswCodedParams, ScalarFormat};
use super::points::{Distances, Points};
use super::walkers::{ByCode, ByDistance};
use crate::bitset::Bitset;
use crate::blob::{Reader, Writer};
use crate::codes::rows::{RowCodes, RowSource};
use crate::error::{BuildError, OpenError};
use crate::index::SearchStats;
use crate::metric::Metric;
use crate::neighbor::{Neighbor, TopK};
use crate::params::{BuildParams, SearchParams};
use crate::progress::BuildOptions;

/// Rows of fewer dimensions are walked by exact distances: that is as quick, and codes would say little.
const MIN_DIM: usize = 8;
/// Dimensions from which on plain HNSW over 32-bit floats has codes: four cache lines.
const MIN_PLAIN_DIM: usize = 64;
/// The code of plain HNSW.
const PLAIN_CODE: GraphCode = GraphCode::Scalar(ScalarFormat::Sq8);
/// Rows whose links show whether a code is good enough.
const TRIED_ROWS: usize = 200;
/// Before there are links, the nearest `NEAR` of so many rows stand for them.
const NEAR: usize = 32;
const NEAR_OF: usize = 2048;
/// Largest error of an estimate, in parts of what the distances of a row's links differ by.
const LARGEST_ERROR: f64 = 0.1;

/// Links of all rows, and codes where there are any.
#[derive(Debug)]
pub(crate) struct CodedGraph {
    params: BuildParams,
    graph: Graph,
    codes: Option<RowCodes>,
}

/// Rows as 32-bit floats, for codes of them.
#[derive(Debug)]
pub(crate) struct Numbers<'a, S> {
    pub(crate) metric: Metric,
    pub(crate) rows: &'a S,
    /// Whether they are stored as 32-bit floats.
    pub(crate) wide: bool,
}

/// Whether graphs by these parameters have the same number of links, and were built as thoroughly.
pub(crate) fn same_degrees(one: BuildParams, other: BuildParams) -> bool {
    let of = |params| parts(params).map(|(degrees, _)| (degrees.m, degrees.ef_construction));
    of(one).is_some() && of(one) == of(other)
}

/// Both of the graph, and the code that was asked for.
fn parts(params: BuildParams) -> Option<(Degrees, Option<GraphCode>)> {
    match params {
        BuildParams::Hnsw { m, ef_construction } => Some((Degrees { m, ef_construction }, None)),
        BuildParams::HnswCoded(HnswCodedParams {
            m,
            ef_construction,
            code,
            ..
        }) => Some((Degrees { m, ef_construction }, Some(code))),
        BuildParams::GpuCagra(params) => {
            let degrees = Degrees {
                m: params.degree / 2,
                ef_construction: params.intermediate_degree,
            };
            Some((degrees, None))
        }
        BuildParams::Flat
        | BuildParams::GpuBruteForce
        | BuildParams::GpuIvfFlat { .. }
        | BuildParams::GpuIvfPq(_)
        | BuildParams::IvfFlat { .. }
        | BuildParams::IvfCoded(_)
        | BuildParams::Disk(_)
        | BuildParams::MinHash(_)
        | BuildParams::Sparse(_) => None,
    }
}

/// Whether estimates of near rows are good enough to walk by: tried on some of `members`, each with the rows that `near` has
/// for it.
fn is_faithful<P: Points, S: RowSource>(
    codes: &RowCodes,
    points: &P,
    rows: &S,
    members: &[u32],
    near: impl Fn(u32) -> Vec<u32>,
) -> bool {
    let (mut error, mut spread) = (0.0, 0.0);
    let step = (members.len() / TRIED_ROWS).max(1);
    for &row in members.iter().step_by(step) {
        let near = near(row);
        let mut query = Vec::new();
        rows.read(row, &mut query);
        let (mut exact, mut estimates) = (vec![0.0; near.len()], vec![0.0; near.len()]);
        points.row(row).gather(&near, &mut exact);
        codes.scorer(query).gather(&near, &mut estimates);
        let mean = exact.iter().map(|&distance| f64::from(distance)).sum::<f64>() / near.len().max(1) as f64;
        for (&exact, &estimate) in exact.iter().zip(&estimates) {
            error += (f64::from(exact) - f64::from(estimate)).abs();
            spread += (f64::from(exact) - mean).abs();
        }
    }
    // Numbers that are not finite fail.
    error <= LARGEST_ERROR * spread
}

/// The nearest to `row` of some of `members`: farther than what it will be linked to.
fn near_of_some<P: Points>(points: &P, members: &[u32], row: u32) -> Vec<u32> {
    let step = (members.len() / NEAR_OF).max(1);
    let some: Vec<u32> = members
        .iter()
        .copied()
        .step_by(step)
        .filter(|&other| other != row)
        .collect();
    let mut distances = vec![0.0; some.len()];
    points.row(row).gather(&some, &mut distances);
    let mut top = TopK::new(NEAR, some.len());
    for (&row, &distance) in some.iter().zip(&distances) {
        top.push(distance, row);
    }
    top.into_sorted().iter().map(|neighbor| neighbor.row).collect()
}

impl CodedGraph {
    /// Links `members`, rows of `points`, out of `earlier` graphs where there are any, and writes their codes; `None` when `params` are of no graph, or of codes of rows
    /// that are no `numbers`. Runs on the current thread pool.
    pub(crate) fn build<P: Points, S: RowSource>(
        params: BuildParams,
        points: &P,
        numbers: Option<&Numbers<'_, S>>,
        members: &[u32],
        earlier: Option<&Earlier<'_>>,
        options: &BuildOptions<'_>,
    ) -> Result<Option<Self>, BuildError> {
        let Some((degrees, asked)) = parts(params) else {
            return Ok(None);
        };
        if asked.is_some() && numbers.is_none() {
            return Ok(None);
        }
        let plain = |numbers: &Numbers<'_, S>| numbers.wide && numbers.rows.dim() >= MIN_PLAIN_DIM;
        let code = asked.or_else(|| numbers.filter(|numbers| plain(numbers)).map(|_| PLAIN_CODE));
        let mut codes = match (code, numbers) {
            (Some(code), Some(numbers)) => Some(RowCodes::build(
                code,
                numbers.metric,
                numbers.rows,
                members,
                options.seed,
                options.progress,
            )?),
            _ => None,
        };
        let is_scalar = asked.is_none_or(|code| matches!(code, GraphCode::Scalar(_)));
        let by_code = numbers
            .filter(|numbers| is_scalar && plain(numbers))
            .zip(codes.as_ref());
        let by_code = match by_code {
            None => None,
            Some((numbers, made)) => {
                Self::linked_by_code(degrees, points, numbers, made, members, earlier, options)?
            }
        };
        let graph = match by_code {
            Some(graph) => graph,
            None => {
                if asked.is_none() {
                    codes = None;
                }
                let walkers = ByDistance(points);
                Graph::build(degrees, points, &walkers, members.to_vec(), earlier, options)?
            }
        };
        Ok(Some(Self { params, graph, codes }))
    }

    /// The links that walks over the codes find; `None` when the codes do not tell near rows apart.
    fn linked_by_code<P: Points, S: RowSource>(
        degrees: Degrees,
        points: &P,
        numbers: &Numbers<'_, S>,
        codes: &RowCodes,
        members: &[u32],
        earlier: Option<&Earlier<'_>>,
        options: &BuildOptions<'_>,
    ) -> Result<Option<Graph>, BuildError> {
        // A sample says so before there are links, the links themselves afterwards.
        if !is_faithful(codes, points, numbers.rows, members, |row| {
            near_of_some(points, members, row)
        }) {
            return Ok(None);
        }
        let walkers = ByCode {
            rows: numbers.rows,
            codes,
        };
        let graph = Graph::build(degrees, points, &walkers, members.to_vec(), earlier, options)?;
        let is_good = is_faithful(codes, points, numbers.rows, members, |row| graph.neighbors(row));
        Ok(is_good.then_some(graph))
    }

    /// A hierarchy without codes over base links that were made elsewhere: for each row of the segment as many of them, filled
    /// up with [`NONE`](super::NONE); and how many. Runs on the current thread pool.
    pub(crate) fn over<P: Points>(
        params: BuildParams,
        points: &P,
        members: &[u32],
        links: (Vec<u32>, usize),
        options: &BuildOptions<'_>,
    ) -> Result<Self, BuildError> {
        Ok(Self {
            params,
            graph: given::over(points, members, links, options)?,
            codes: None,
        })
    }

    /// The graph.
    pub(crate) fn graph(&self) -> &Graph {
        &self.graph
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
        let (params, dim) = (reader.header().params, reader.header().dim);
        let no_graph = || OpenError::corrupt(format!("{} is no graph of these vectors", params.kind()));
        let (_, asked) = parts(params).ok_or_else(no_graph)?;
        params
            .check_dim(dim)
            .map_err(|error| OpenError::corrupt(error.to_string()))?;
        let graph = Graph::open(reader, first, valid, nodes)?;
        let after = first + graph.arrays();
        let codes = match reader.arrays() - after {
            0 if asked.is_none() => None,
            RowCodes::ARRAYS => {
                let metric = metric.ok_or_else(no_graph)?;
                Some(RowCodes::open(
                    reader,
                    after,
                    asked.unwrap_or(PLAIN_CODE),
                    metric,
                    dim,
                    nodes,
                )?)
            }
            count => {
                return Err(OpenError::corrupt(format!(
                    "{count} arrays after the links of {}",
                    params.kind()
                )));
            }
        };
        Ok(Self { params, graph, codes })
    }

    /// Adds the arrays to a blob: those of the graph, those of the codes.
    pub(crate) fn write<'a>(&'a self, writer: &mut Writer<'a>) {
        self.graph.write(writer);
        if let Some(codes) = &self.codes {
            codes.write(writer);
        }
    }

    /// The parameters it was built with.
    pub(crate) fn params(&self) -> BuildParams {
        self.params
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.graph.memory_bytes() + self.codes.as_ref().map_or(0, RowCodes::memory_bytes)
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
        if let Some(codes) = &self.codes
            && params.within.is_open()
        {
            let query = query();
            if query.len() >= MIN_DIM {
                let found = self.by_codes(codes, exact, query, allowed, k, params, stats);
                if found.is_some() {
                    return found;
                }
            }
        }
        self.graph.search(exact, allowed, k, params, stats)
    }

    /// How many of the best rows by their codes are scored again for `k` results.
    fn rescored(&self, k: usize, params: &SearchParams) -> usize {
        match self.params {
            BuildParams::HnswCoded(coded) => coded.rescored(k, params),
            // Estimates of plain HNSW are close: rows change places with a few others only. A list that was asked for is not
            // made longer for them.
            BuildParams::Hnsw { .. }
            | BuildParams::Flat
            | BuildParams::GpuBruteForce
            | BuildParams::GpuIvfFlat { .. }
            | BuildParams::GpuIvfPq(_)
            | BuildParams::GpuCagra(_)
            | BuildParams::IvfFlat { .. }
            | BuildParams::IvfCoded(_)
            | BuildParams::Disk(_)
            | BuildParams::MinHash(_)
            | BuildParams::Sparse(_) => {
                let spare = k.saturating_add(k.min(16 + k / 16));
                let asked = params.ef.map_or(usize::MAX, |ef| ef as usize);
                spare.min(asked.max(k))
            }
        }
    }

    /// `None` when codes find too few rows, or overflow.
    #[expect(clippy::too_many_arguments, reason = "a search, and what it is walked by")]
    fn by_codes(
        &self,
        codes: &RowCodes,
        exact: &impl Distances,
        query: Vec<f32>,
        allowed: Allowed<'_>,
        k: usize,
        params: &SearchParams,
        stats: &mut SearchStats,
    ) -> Option<Vec<Neighbor>> {
        let limit = self.rescored(k, params);
        let found = self
            .graph
            .search(&codes.scorer(query), allowed, limit, params, stats)?;
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
    use crate::indexed_rows::IndexedRows;
    use crate::rng::Rng;
    use crate::vectors::Vectors;

    fn built(params: BuildParams, data: &[f32], dim: usize, check: impl Fn(&CodedGraph, Vectors<'_>)) {
        let vectors = Vectors::new(data, dim).unwrap();
        let indexed = IndexedRows::new(Metric::L2, vectors, None);
        let space = indexed.space(vectors);
        let numbers = Numbers {
            metric: Metric::L2,
            rows: &space,
            wide: true,
        };
        let (members, options) = (indexed.numbers(), BuildOptions::default());
        let graph = CodedGraph::build(params, &space, Some(&numbers), &members, None, &options);
        check(&graph.unwrap().unwrap(), vectors);
    }

    /// The nearest rows to row 17, and whether codes were read.
    fn nearest_to_17(graph: &CodedGraph, vectors: Vectors<'_>) -> Vec<Neighbor> {
        let indexed = IndexedRows::new(Metric::L2, vectors, None);
        let (space, query) = (indexed.space(vectors), vectors.row(17));
        let allowed = Allowed {
            filter: None,
            count: None,
        };
        let stats = &mut SearchStats::default();
        let search = SearchParams::default();
        let found = graph.search(
            &space.scorer(query),
            || query.to_vec(),
            allowed,
            3,
            &search,
            stats,
        );
        found.unwrap()
    }

    const PLAIN: BuildParams = BuildParams::Hnsw {
        m: 8,
        ef_construction: 40,
    };

    fn normal(rows: usize, dim: usize) -> Vec<f32> {
        let mut rng = Rng::new(3);
        (0..rows * dim).map(|_| rng.normal()).collect()
    }

    #[test]
    fn rows_beyond_what_a_code_holds_are_walked_by_exact_distances() {
        let data: Vec<f32> = normal(4_000, 16).iter().map(|value| value * 1e19).collect();
        let params = BuildParams::HnswCoded(HnswCodedParams {
            m: 8,
            ef_construction: 40,
            code: GraphCode::Scalar(ScalarFormat::Fp16),
            refine: false,
            refine_type: None,
        });
        built(params, &data, 16, |graph, vectors| {
            assert!(graph.codes.is_some());
            assert_eq!(nearest_to_17(graph, vectors)[0].row, 17);
        });
    }

    #[test]
    fn a_graph_that_is_built_by_codes_finds_as_much() {
        let data = normal(4_000, 64);
        built(PLAIN, &data, 64, |by_codes, vectors| {
            let indexed = IndexedRows::new(Metric::L2, vectors, None);
            let space = indexed.space(vectors);
            let (degrees, _) = parts(PLAIN).unwrap();
            let options = BuildOptions::default();
            let walkers = ByDistance(&space);
            let exactly = Graph::build(degrees, &space, &walkers, indexed.numbers(), None, &options);
            let search = SearchParams {
                ef: Some(64),
                ..SearchParams::default()
            };
            let found = |graph: &Graph| {
                let mut hits = 0;
                for query in normal(4_100, 64)[4_000 * 64..].chunks_exact(64) {
                    let (scorer, stats) = (space.scorer(query), &mut SearchStats::default());
                    let mut oracle = TopK::new(10, vectors.len());
                    (0..vectors.len() as u32).for_each(|row| oracle.push(scorer.one(row), row));
                    let allowed = Allowed {
                        filter: None,
                        count: None,
                    };
                    let found = graph.search(&scorer, allowed, 10, &search, stats).unwrap();
                    let oracle = oracle.into_sorted();
                    hits += found.iter().filter(|neighbor| oracle.contains(neighbor)).count();
                }
                hits
            };
            let (by_codes, exactly) = (found(by_codes.graph()), found(&exactly.unwrap()));
            assert!(
                by_codes + 20 >= exactly && exactly > 500,
                "{by_codes} and {exactly} of 1,000"
            );
        });
    }

    #[test]
    fn a_short_list_that_was_asked_for_stays_short() {
        built(PLAIN, &normal(3_000, 64), 64, |graph, _| {
            let of = |ef| {
                let params = SearchParams {
                    ef,
                    ..SearchParams::default()
                };
                graph.rescored(10, &params)
            };
            assert_eq!(
                [of(Some(10)), of(Some(15)), of(Some(64)), of(None)],
                [10, 15, 20, 20]
            );
        });
    }

    #[test]
    fn a_plain_graph_has_codes_where_they_pay() {
        let long = normal(3_000, 64);
        built(PLAIN, &long, 64, |graph, vectors| {
            assert!(graph.codes.is_some());
            assert_eq!(nearest_to_17(graph, vectors)[0].row, 17);
        });
        built(PLAIN, &long, 32, |graph, _| assert!(graph.codes.is_none()));
        // One row far away stretches the levels until they say nothing of the others.
        let mut stretched = long;
        stretched[..64].fill(1e4);
        built(PLAIN, &stretched, 64, |graph, vectors| {
            assert!(graph.codes.is_none());
            assert_eq!(nearest_to_17(graph, vectors)[0].row, 17);
        });
    }
}
