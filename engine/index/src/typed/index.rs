//! Indexes of halves, bfloat16s, 8-bit integers and bits: FLAT and HNSW, with codes for all but bits, GPU_BRUTE_FORCE, which is
//! FLAT on a device, and GPU_CAGRA, see [`super::cagra`].
//!
//! The graph is that of 32-bit floats, over distances of the type; see [`crate::hnsw`]. Its blob holds
//!
//! ```text
//!   0   words of the rows with a vector; none when all have one
//!   1   inverse norm of every row under COSINE, else none
//!   2.. the graph's arrays, those of the codes where there are any; none for FLAT
//! ```

use rayon::prelude::*;

use super::points::{BitPoints, Int8, Narrow, NumberPoints, norms_of};
use super::{ElementType, Rows, VectorRef, VectorsRef, exact_search_any, exact_search_any_batch};
use crate::any_metric::AnyMetric;
use crate::bitset::Bitset;
use crate::blob::{Array, Header, Reader, Writer};
use crate::error::{BuildError, OpenError, PairError};
use crate::gpu::{self, SearchTuning, TypedAsk, TypedBruteForce, TypedWalk};
use crate::hnsw::{Allowed, CodedGraph, Earlier, IndexGraph, Numbers};
use crate::index::{IndexKind, MAX_ROWS, SearchStats, in_pool};
use crate::indexed_rows::Validity;
use crate::kernels::narrow::{BFloat16, Half};
use crate::metric::Metric;
use crate::neighbor::Neighbor;
use crate::params::{BuildParams, SearchParams};
use crate::progress::BuildOptions;

/// An index over vectors of a type other than 32-bit floats, not sparse.
#[derive(Debug)]
pub struct TypedIndex {
    element: ElementType,
    pub(super) metric: AnyMetric,
    dim: usize,
    /// Rows of the segment, those without a vector included.
    pub(super) len: usize,
    pub(super) valid: Validity,
    /// One per row under COSINE, else empty.
    pub(super) inverse_norms: Array<f32>,
    /// None: FLAT.
    pub(super) graph: Option<CodedGraph>,
    /// GPU_BRUTE_FORCE.
    device: Option<TypedBruteForce>,
    /// GPU_CAGRA that a device searches.
    pub(super) walker: Option<TypedWalk>,
}

/// What searches of a batch have in common.
#[derive(Clone, Copy)]
pub(super) struct Batch<'a> {
    pub(super) vectors: VectorsRef<'a>,
    pub(super) k: usize,
    pub(super) params: &'a SearchParams,
}

/// Arrays before those of the graph.
const ARRAYS: usize = 2;

impl TypedIndex {
    /// Builds an index, out of `earlier` graphs where there are any; `None` when vectors of this type do not have it, or not
    /// with this metric.
    pub(crate) fn build(
        params: &BuildParams,
        metric: AnyMetric,
        vectors: VectorsRef<'_>,
        valid: Option<&Bitset>,
        earlier: Option<&Earlier<'_>>,
        options: &BuildOptions<'_>,
    ) -> Option<Result<Self, BuildError>> {
        let (element, dim) = element_of(vectors)?;
        let has = match params {
            BuildParams::Flat | BuildParams::GpuBruteForce => true,
            BuildParams::Hnsw { .. } | BuildParams::GpuCagra(_) => true,
            BuildParams::HnswCoded(_) => element != ElementType::Bit,
            BuildParams::IvfFlat { .. }
            | BuildParams::IvfCoded(_)
            | BuildParams::Disk(_)
            | BuildParams::MinHash(_)
            | BuildParams::Sparse(_)
            | BuildParams::GpuIvfFlat { .. }
            | BuildParams::GpuIvfPq(_) => false,
        };
        if !has || !element.has(metric) {
            return None;
        }
        Some(Self::build_checked(
            params,
            metric,
            vectors,
            (element, dim),
            valid,
            earlier,
            options,
        ))
    }

    fn build_checked(
        params: &BuildParams,
        metric: AnyMetric,
        vectors: VectorsRef<'_>,
        (element, dim): (ElementType, usize),
        valid: Option<&Bitset>,
        earlier: Option<&Earlier<'_>>,
        options: &BuildOptions<'_>,
    ) -> Result<Self, BuildError> {
        params.check()?;
        params.check_dim(dim)?;
        let len = vectors.len();
        if len > MAX_ROWS {
            return Err(BuildError::TooManyRows {
                rows: len,
                max: MAX_ROWS,
            });
        }
        if options.progress.cancelled() {
            return Err(BuildError::Cancelled);
        }
        in_pool(options, || {
            if let BuildParams::GpuCagra(params) = *params {
                let tuning = SearchTuning::default();
                return Self::cagra_on(gpu::device()?, (params, metric), vectors, valid, options, tuning);
            }
            let mut index = Self::bare(metric, vectors, (element, dim), valid);
            if *params == BuildParams::GpuBruteForce {
                index.device = Some(TypedBruteForce::build(metric)?);
            }
            if matches!(params, BuildParams::Flat | BuildParams::GpuBruteForce) {
                let count = index.valid.count() as u64;
                options.progress.advance(count, count);
            } else {
                index.graph = index.link(*params, vectors, earlier, options)?;
            }
            Ok(index)
        })
    }

    /// FLAT.
    pub(super) fn bare(
        metric: AnyMetric,
        vectors: VectorsRef<'_>,
        (element, dim): (ElementType, usize),
        valid: Option<&Bitset>,
    ) -> Self {
        let len = vectors.len();
        Self {
            element,
            metric,
            dim,
            len,
            valid: Validity::new(len, valid),
            inverse_norms: Array::Owned(norms_of(metric, vectors)),
            graph: None,
            device: None,
            walker: None,
        }
    }

    fn link(
        &self,
        params: BuildParams,
        vectors: VectorsRef<'_>,
        earlier: Option<&Earlier<'_>>,
        options: &BuildOptions<'_>,
    ) -> Result<Option<CodedGraph>, BuildError> {
        match (vectors, self.metric) {
            (VectorsRef::Halves(rows), AnyMetric::Numbers(metric)) => {
                self.link_numbers(params, &self.numbers::<Half>(metric, rows), earlier, options)
            }
            (VectorsRef::BFloat16s(rows), AnyMetric::Numbers(metric)) => {
                self.link_numbers(params, &self.numbers::<BFloat16>(metric, rows), earlier, options)
            }
            (VectorsRef::Int8s(rows), AnyMetric::Numbers(metric)) => {
                self.link_numbers(params, &self.numbers::<Int8>(metric, rows), earlier, options)
            }
            (VectorsRef::Bits(rows), AnyMetric::Bits(metric)) => {
                let no_numbers = None::<&Numbers<'_, NumberPoints<'_, Int8>>>;
                let members = self.valid.numbers(self.len);
                let points = BitPoints { metric, rows };
                CodedGraph::build(params, &points, no_numbers, &members, earlier, options)
            }
            _ => Ok(None),
        }
    }

    fn link_numbers<N: Narrow>(
        &self,
        params: BuildParams,
        points: &NumberPoints<'_, N>,
        earlier: Option<&Earlier<'_>>,
        options: &BuildOptions<'_>,
    ) -> Result<Option<CodedGraph>, BuildError> {
        let numbers = Numbers {
            metric: points.metric,
            rows: points,
            wide: false,
        };
        CodedGraph::build(
            params,
            points,
            Some(&numbers),
            &self.valid.numbers(self.len),
            earlier,
            options,
        )
    }

    pub(super) fn numbers<'a, N: Narrow>(
        &'a self,
        metric: Metric,
        rows: Rows<'a, N::Bits>,
    ) -> NumberPoints<'a, N> {
        NumberPoints {
            metric,
            rows,
            inverse_norms: &self.inverse_norms,
        }
    }

    pub(crate) fn open(reader: &Reader) -> Result<Self, OpenError> {
        let Header {
            params,
            element,
            metric,
            dim,
            rows,
        } = *reader.header();
        if !element.has(metric) || dim == 0 || !dim.is_multiple_of(element.per_unit()) {
            return Err(OpenError::corrupt(format!(
                "{element:?} vectors of dimension {dim} with metric {metric}"
            )));
        }
        let valid = Validity::open(reader, rows)?;
        let norms = if metric == Metric::Cosine { rows } else { 0 };
        let inverse_norms = reader.array_of(1, norms, "inverse norms")?;
        let of_numbers = match metric {
            AnyMetric::Numbers(metric) => Some(metric),
            AnyMetric::Bits(_) | AnyMetric::Bm25 | AnyMetric::MaxSim(_) => None,
        };
        let device = (params == BuildParams::GpuBruteForce).then(|| TypedBruteForce::open(metric));
        let graph = match params {
            BuildParams::Flat | BuildParams::GpuBruteForce => None,
            BuildParams::Hnsw { .. } | BuildParams::HnswCoded(_) | BuildParams::GpuCagra(_) => {
                let (set, count) = (valid.set(), valid.count());
                Some(CodedGraph::open(reader, ARRAYS, of_numbers, set, count)?)
            }
            BuildParams::IvfFlat { .. }
            | BuildParams::IvfCoded(_)
            | BuildParams::Disk(_)
            | BuildParams::MinHash(_)
            | BuildParams::Sparse(_)
            | BuildParams::GpuIvfFlat { .. }
            | BuildParams::GpuIvfPq(_) => {
                return Err(OpenError::corrupt(format!(
                    "{} of {element:?} vectors",
                    params.kind()
                )));
            }
        };
        let walker = if let BuildParams::GpuCagra(params) = params {
            TypedWalk::open(params)
        } else {
            None
        };
        Ok(Self {
            element,
            metric,
            dim,
            len: rows,
            valid,
            inverse_norms,
            graph,
            device,
            walker,
        })
    }

    pub(crate) fn serialize(&self) -> Vec<u8> {
        let mut writer = Writer::new(&Header {
            params: self.params(),
            element: self.element,
            metric: self.metric,
            dim: self.dim,
            rows: self.len,
        });
        writer.put(self.valid.set().map_or(&[][..], Bitset::words));
        writer.put(&*self.inverse_norms);
        if let Some(graph) = &self.graph {
            graph.write(&mut writer);
        }
        writer.finish()
    }

    /// Its graph, for a new one to start from; `None` of FLAT, and of GPU_CAGRA.
    pub(crate) fn graph(&self) -> Option<IndexGraph<'_>> {
        let graph = self.graph.as_ref();
        let own = graph.filter(|graph| graph.params().kind() != IndexKind::GpuCagra);
        own.map(|graph| IndexGraph {
            graph: graph.graph(),
            valid: self.valid.set(),
        })
    }

    /// Type of the vectors, and numbers in each.
    pub(crate) fn shape(&self) -> (ElementType, usize) {
        (self.element, self.dim)
    }

    /// The family.
    pub fn kind(&self) -> IndexKind {
        self.params().kind()
    }

    /// The parameters it was built with.
    pub fn params(&self) -> BuildParams {
        match (&self.graph, &self.device) {
            (Some(graph), _) => graph.params(),
            (None, Some(_)) => BuildParams::GpuBruteForce,
            (None, None) => BuildParams::Flat,
        }
    }

    /// The metric it was built for.
    pub fn metric(&self) -> AnyMetric {
        self.metric
    }

    /// Rows of the segment, those without a vector included.
    pub fn rows(&self) -> usize {
        self.len
    }

    /// Bytes the index keeps in memory or mapped; the vectors are not its own.
    pub fn memory_bytes(&self) -> usize {
        let graph = self.graph.as_ref().map_or(0, CodedGraph::memory_bytes);
        self.valid.memory_bytes() + self.inverse_norms.bytes() + graph
    }

    /// The rows nearest to `query`, see [`crate::AnyIndex::search`].
    pub(crate) fn search(
        &self,
        vectors: VectorsRef<'_>,
        query: VectorRef<'_>,
        k: usize,
        params: &SearchParams,
        allow: Option<&Bitset>,
        stats: &mut SearchStats,
    ) -> Result<Vec<Neighbor>, PairError> {
        let filter = self.valid.filtered(allow);
        let filter = filter.as_deref();
        let scanned = filter.or(self.valid.set());
        let batch = Batch { vectors, k, params };
        if self.fits(vectors, query) {
            if let Some(device) = &self.device
                && params.within.is_open()
            {
                let ask = TypedAsk { vectors, k, scanned };
                if let Some(found) = device.one(ask, query, allow.is_some(), stats) {
                    return Ok(found);
                }
            }
            if let Some(found) = self.one_on_device(&batch, query, filter, stats) {
                return Ok(found);
            }
        }
        self.on_processor(&batch, query, filter, stats)
    }

    /// [`TypedIndex::search`] that asks no device; `filter` has no rows without a vector.
    pub(super) fn on_processor(
        &self,
        batch: &Batch<'_>,
        query: VectorRef<'_>,
        filter: Option<&Bitset>,
        stats: &mut SearchStats,
    ) -> Result<Vec<Neighbor>, PairError> {
        let &Batch { vectors, k, params } = batch;
        if self.fits(vectors, query) {
            let allowed = Allowed {
                filter,
                count: filter.map(|filter| filter.count_range(0, self.len)),
            };
            if let Some(found) = self.walk(vectors, query, allowed, k, params, stats) {
                return Ok(found);
            }
        }
        let scanned = filter.or(self.valid.set());
        exact_search_any(self.metric, vectors, query, k, params.within, scanned, stats)
    }

    /// [`TypedIndex::search`] for each of `queries`.
    pub(crate) fn search_batch(
        &self,
        vectors: VectorsRef<'_>,
        queries: &[VectorRef<'_>],
        k: usize,
        params: &SearchParams,
        allow: Option<&Bitset>,
        stats: &mut SearchStats,
    ) -> Result<Vec<Vec<Neighbor>>, PairError> {
        if self.graph.is_none() && params.within.is_open() {
            let filter = self.valid.filtered(allow);
            let scanned = filter.as_deref().or(self.valid.set());
            if let Some(device) = &self.device
                && queries.iter().all(|&query| self.fits(vectors, query))
                && let Some(found) = device.all(TypedAsk { vectors, k, scanned }, queries, stats)
            {
                return Ok(found);
            }
            return exact_search_any_batch(self.metric, vectors, queries, k, scanned, stats);
        }
        if self.walker.is_some() && queries.iter().all(|&query| self.fits(vectors, query)) {
            let filter = self.valid.filtered(allow);
            let batch = Batch { vectors, k, params };
            if let Some(found) = self.all_on_device(&batch, queries, filter.as_deref(), stats) {
                return found;
            }
        }
        let search = |&query: &VectorRef<'_>| {
            let mut stats = SearchStats::default();
            let found = self.search(vectors, query, k, params, allow, &mut stats)?;
            Ok((found, stats))
        };
        let found: Vec<_> = queries.par_iter().map(search).collect::<Result<_, PairError>>()?;
        let each = found.into_iter().map(|(found, of_query)| {
            stats.add(&of_query);
            found
        });
        Ok(each.collect())
    }

    /// Whether rows are those of the index, and a query is of their type and dimension.
    fn fits(&self, vectors: VectorsRef<'_>, query: VectorRef<'_>) -> bool {
        let shape = element_of(vectors) == Some((self.element, self.dim)) && vectors.len() == self.len;
        shape && query.kind() == vectors.row(0).kind() && query.dim() == self.dim
    }

    /// Walks the graph; `None` when a scan is cheaper, or the only way.
    fn walk(
        &self,
        vectors: VectorsRef<'_>,
        query: VectorRef<'_>,
        allowed: Allowed<'_>,
        k: usize,
        params: &SearchParams,
        stats: &mut SearchStats,
    ) -> Option<Vec<Neighbor>> {
        let graph = self.graph.as_ref()?;
        match (vectors, query, self.metric) {
            (VectorsRef::Halves(rows), VectorRef::Halves(query), AnyMetric::Numbers(metric)) => {
                let points = self.numbers::<Half>(metric, rows);
                let wide = || query.iter().map(|&bits| <Half as Narrow>::widen(bits)).collect();
                graph.search(&points.scorer(query), wide, allowed, k, params, stats)
            }
            (VectorsRef::BFloat16s(rows), VectorRef::BFloat16s(query), AnyMetric::Numbers(metric)) => {
                let points = self.numbers::<BFloat16>(metric, rows);
                let wide = || {
                    query
                        .iter()
                        .map(|&bits| <BFloat16 as Narrow>::widen(bits))
                        .collect()
                };
                graph.search(&points.scorer(query), wide, allowed, k, params, stats)
            }
            (VectorsRef::Int8s(rows), VectorRef::Int8s(query), AnyMetric::Numbers(metric)) => {
                let points = self.numbers::<Int8>(metric, rows);
                let wide = || query.iter().map(|&bits| Int8::widen(bits)).collect();
                graph.search(&points.scorer(query), wide, allowed, k, params, stats)
            }
            (VectorsRef::Bits(rows), VectorRef::Bits(query), AnyMetric::Bits(metric)) => {
                let points = BitPoints { metric, rows };
                graph.search(&points.scorer(query), Vec::new, allowed, k, params, stats)
            }
            _ => None,
        }
    }
}

/// Type and dimension of dense vectors other than 32-bit floats.
pub(crate) fn element_of(vectors: VectorsRef<'_>) -> Option<(ElementType, usize)> {
    match vectors {
        VectorsRef::Halves(rows) => Some((ElementType::Half, rows.width())),
        VectorsRef::BFloat16s(rows) => Some((ElementType::BFloat16, rows.width())),
        VectorsRef::Int8s(rows) => Some((ElementType::Int8, rows.width())),
        VectorsRef::Bits(rows) => Some((ElementType::Bit, rows.width() * 8)),
        VectorsRef::Floats(_) | VectorsRef::Sparse(_) | VectorsRef::Lists(_) => None,
    }
}
