//! The IVF families on halves, bfloat16s and 8-bit integers, searched on a device where they are GPU_IVF_FLAT or GPU_IVF_PQ.
//!
//! Lists and codes are built from the rows widened to 32-bit floats, a copy that lasts as long as the build; a search finds lists
//! and looks at codes with the query widened, and scores rows where they are stored, as a scan of them does.
//!
//! Of 8-bit integers Milvus has GPU_IVF_FLAT and GPU_IVF_PQ only. Without a device IVF_FLAT and IVF_PQ stand in for them; no request
//! names these.

use std::sync::Arc;

use rayon::prelude::*;

use super::params::Code;
use super::search::{ListSearch, Request};
use super::{IvfCoded, IvfFlat};
use crate::any_metric::AnyMetric;
use crate::bitset::Bitset;
use crate::blob::Reader;
use crate::error::{BuildError, OpenError, PairError};
use crate::gpu::{self, Backend, Device, DeviceLists, ListAsk, SearchTuning};
use crate::index::{IndexKind, MAX_ROWS, SearchStats, VectorIndex, in_pool};
use crate::indexed_rows::IndexedRows;
use crate::kernels::narrow::{BFloat16, Half};
use crate::metric::Metric;
use crate::neighbor::Neighbor;
use crate::params::{BuildParams, SearchParams};
use crate::progress::BuildOptions;
use crate::typed::{
    ElementType, Int8, Narrow, NumberPoints, Rows, VectorRef, VectorsRef, exact_search_any, inverse_norms,
};
use crate::vectors::Vectors;

/// An index of lists over vectors of 16-bit floats or 8-bit integers.
#[derive(Debug)]
pub struct TypedLists {
    element: ElementType,
    index: Widened,
}

/// The index of the widened rows, and what searches it on a device: `None` of an index of a processor.
#[derive(Debug)]
enum Widened {
    Flat(IvfFlat, Option<DeviceLists<IvfFlat>>),
    Coded(IvfCoded, Option<DeviceLists<IvfCoded>>),
}

/// Makes an index of the rows, given the same as 32-bit floats.
type Make<'a> = dyn Fn(IndexedRows, Vectors<'_>) -> Result<Widened, BuildError> + Sync + 'a;

impl TypedLists {
    /// Builds an index; `None` when it is none of lists, or vectors of this type do not have it, or not with this metric. One of a
    /// GPU needs the device of the process.
    pub(crate) fn build(
        params: &BuildParams,
        metric: AnyMetric,
        vectors: VectorsRef<'_>,
        valid: Option<&Bitset>,
        options: &BuildOptions<'_>,
    ) -> Option<Result<Self, BuildError>> {
        let AnyMetric::Numbers(metric) = metric else {
            return None;
        };
        let element = element_of(vectors)?;
        if !has(element, params) {
            return None;
        }
        match *params {
            BuildParams::IvfFlat { nlist } => {
                let make = |rows: IndexedRows, wide: Vectors<'_>| {
                    IvfFlat::build(nlist, rows, wide, options).map(|host| Widened::Flat(host, None))
                };
                Some(Self::build_by(
                    params, metric, vectors, element, valid, options, &make,
                ))
            }
            BuildParams::IvfCoded(coded) => {
                let make = |rows: IndexedRows, wide: Vectors<'_>| {
                    IvfCoded::build(coded, rows, wide, options).map(|host| Widened::Coded(host, None))
                };
                Some(Self::build_by(
                    params, metric, vectors, element, valid, options, &make,
                ))
            }
            BuildParams::GpuIvfFlat { .. } | BuildParams::GpuIvfPq(_) => match gpu::device() {
                Ok(device) => {
                    let tuning = SearchTuning::default();
                    Self::build_on(device, (params, metric), vectors, valid, options, tuning)
                }
                Err(error) => Some(Err(error.into())),
            },
            BuildParams::Flat
            | BuildParams::GpuBruteForce
            | BuildParams::GpuCagra(_)
            | BuildParams::Hnsw { .. }
            | BuildParams::HnswCoded(_)
            | BuildParams::Disk(_)
            | BuildParams::MinHash(_)
            | BuildParams::Sparse(_) => None,
        }
    }

    /// [`TypedLists::build`] of an index of a GPU over a device of any kind.
    pub(crate) fn build_on<B: Backend + 'static>(
        device: &Arc<Device<B>>,
        (params, metric): (&BuildParams, Metric),
        vectors: VectorsRef<'_>,
        valid: Option<&Bitset>,
        options: &BuildOptions<'_>,
        tuning: SearchTuning,
    ) -> Option<Result<Self, BuildError>> {
        let element = element_of(vectors)?;
        let make: &Make<'_> = match *params {
            BuildParams::GpuIvfFlat { nlist } => &move |rows, wide| {
                let built = DeviceLists::build(device, (element, nlist), rows, wide, options, tuning);
                built.map(|(host, lists)| Widened::Flat(host, Some(lists)))
            },
            BuildParams::GpuIvfPq(coded) => &move |rows, wide| {
                let built = DeviceLists::build_pq(device, coded, rows, wide, options, tuning);
                built.map(|(host, lists)| Widened::Coded(host, Some(lists)))
            },
            BuildParams::IvfFlat { .. }
            | BuildParams::IvfCoded(_)
            | BuildParams::Flat
            | BuildParams::GpuBruteForce
            | BuildParams::GpuCagra(_)
            | BuildParams::Hnsw { .. }
            | BuildParams::HnswCoded(_)
            | BuildParams::Disk(_)
            | BuildParams::MinHash(_)
            | BuildParams::Sparse(_) => return None,
        };
        Some(Self::build_by(
            params, metric, vectors, element, valid, options, make,
        ))
    }

    fn build_by(
        params: &BuildParams,
        metric: Metric,
        vectors: VectorsRef<'_>,
        element: ElementType,
        valid: Option<&Bitset>,
        options: &BuildOptions<'_>,
        make: &Make<'_>,
    ) -> Result<Self, BuildError> {
        params.check()?;
        let index = match vectors {
            VectorsRef::Halves(rows) => widened_by::<Half>(params, metric, rows, valid, options, make)?,
            VectorsRef::BFloat16s(rows) => {
                widened_by::<BFloat16>(params, metric, rows, valid, options, make)?
            }
            VectorsRef::Int8s(rows) => widened_by::<Int8>(params, metric, rows, valid, options, make)?,
            VectorsRef::Floats(_) | VectorsRef::Bits(_) | VectorsRef::Sparse(_) | VectorsRef::Lists(_) => {
                return Err(BuildError::Kind {
                    index: params.kind().to_string(),
                    metric: metric.to_string(),
                });
            }
        };
        Ok(Self { element, index })
    }

    /// Opens an index of lists on 16-bit floats or 8-bit integers; `None` when the blob holds something else. One of a GPU is
    /// searched without a device where there is none.
    pub(crate) fn open(reader: &Reader) -> Option<Result<Self, OpenError>> {
        let element = reader.header().element;
        if !matches!(
            element,
            ElementType::Half | ElementType::BFloat16 | ElementType::Int8
        ) {
            return None;
        }
        let open: &dyn Fn(IndexedRows) -> Result<Widened, OpenError> = match reader.header().params {
            BuildParams::IvfFlat { nlist } => {
                &move |rows| Ok(Widened::Flat(IvfFlat::open(reader, nlist, rows)?, None))
            }
            BuildParams::IvfCoded(params) => {
                &move |rows| Ok(Widened::Coded(IvfCoded::open(reader, params, rows)?, None))
            }
            BuildParams::GpuIvfFlat { nlist } => &move |rows| {
                let host = IvfFlat::open(reader, nlist, rows)?;
                Ok(Widened::Flat(host, Some(DeviceLists::open(nlist))))
            },
            BuildParams::GpuIvfPq(params) => &move |rows| {
                let host = IvfCoded::open(reader, params.on_processor(), rows)?;
                Ok(Widened::Coded(host, Some(DeviceLists::open_pq(params))))
            },
            BuildParams::Flat
            | BuildParams::GpuBruteForce
            | BuildParams::GpuCagra(_)
            | BuildParams::Hnsw { .. }
            | BuildParams::HnswCoded(_)
            | BuildParams::Disk(_)
            | BuildParams::MinHash(_)
            | BuildParams::Sparse(_) => return None,
        };
        let rows = IndexedRows::open_of(reader, element);
        Some(rows.and_then(open).map(|index| Self { element, index }))
    }

    pub(crate) fn serialize(&self) -> Vec<u8> {
        match &self.index {
            Widened::Flat(index, _) => index.serialize_as(self.params(), self.element),
            Widened::Coded(index, _) => index.serialize_as(self.params(), self.element),
        }
    }

    fn index(&self) -> &dyn VectorIndex {
        match &self.index {
            Widened::Flat(index, _) => index,
            Widened::Coded(index, _) => index,
        }
    }

    fn indexed(&self) -> &IndexedRows {
        match &self.index {
            Widened::Flat(index, _) => index.indexed(),
            Widened::Coded(index, _) => index.indexed(),
        }
    }

    fn lists(&self) -> ListSearch<'_> {
        match &self.index {
            Widened::Flat(index, _) => index.lists(),
            Widened::Coded(index, _) => index.lists(),
        }
    }

    /// Whether a device searches it where there is one.
    pub(crate) fn is_of_gpu(&self) -> bool {
        matches!(
            self.params(),
            BuildParams::GpuIvfFlat { .. } | BuildParams::GpuIvfPq(_)
        )
    }

    /// The family.
    pub fn kind(&self) -> IndexKind {
        self.params().kind()
    }

    /// The parameters it was built with.
    pub fn params(&self) -> BuildParams {
        match &self.index {
            Widened::Flat(_, Some(device)) => device.params(),
            Widened::Coded(_, Some(device)) => device.params(),
            Widened::Flat(index, None) => index.params(),
            Widened::Coded(index, None) => index.params(),
        }
    }

    /// The metric it was built for.
    pub fn metric(&self) -> Metric {
        self.index().metric()
    }

    /// Rows of the segment, those without a vector included.
    pub fn rows(&self) -> usize {
        self.index().rows()
    }

    /// Bytes the index keeps in memory or mapped; the vectors are not its own.
    pub fn memory_bytes(&self) -> usize {
        self.index().memory_bytes()
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
        let indexed = self.indexed();
        let filter = indexed.filtered(allow);
        let filter = filter.as_deref();
        let rest = |query: VectorRef<'_>, stats: &mut SearchStats| {
            let found = self.on_processor(vectors, query, k, params, filter, stats);
            found.unwrap_or_default()
        };
        let queries = self.is_of_gpu().then(|| single(query)).flatten();
        let ask = queries.and_then(|queries| ListAsk::new(indexed, (vectors, queries), k, params, filter));
        let found = ask.and_then(|ask| match &self.index {
            Widened::Flat(host, device) => device.as_ref()?.one(host, ask, &rest, stats),
            Widened::Coded(host, device) => device.as_ref()?.one(host, ask, &rest, stats),
        });
        match found {
            Some(found) => Ok(found),
            None => self.on_processor(vectors, query, k, params, filter, stats),
        }
    }

    /// [`TypedLists::search`] for each row of `queries`.
    pub(crate) fn search_batch(
        &self,
        vectors: VectorsRef<'_>,
        queries: &[VectorRef<'_>],
        k: usize,
        params: &SearchParams,
        allow: Option<&Bitset>,
        stats: &mut SearchStats,
    ) -> Result<Vec<Vec<Neighbor>>, PairError> {
        let indexed = self.indexed();
        let filter = indexed.filtered(allow);
        let filter = filter.as_deref();
        let rest = |query: VectorRef<'_>, stats: &mut SearchStats| {
            let found = self.on_processor(vectors, query, k, params, filter, stats);
            found.unwrap_or_default()
        };
        let alike = self.is_of_gpu() && queries.iter().all(|query| query.dim() == indexed.dim);
        let owned = alike.then(|| gpu::OwnedVectors::of(queries)).flatten();
        let rows = owned.as_ref().and_then(|owned| owned.rows(queries.len()));
        let ask = rows.and_then(|rows| ListAsk::new(indexed, (vectors, rows), k, params, filter));
        let found = ask.and_then(|ask| match &self.index {
            Widened::Flat(host, device) => device.as_ref()?.all(host, &ask, &rest, stats),
            Widened::Coded(host, device) => device.as_ref()?.all(host, &ask, &rest, stats),
        });
        if let Some(found) = found {
            return Ok(found);
        }
        let search = |&query: &VectorRef<'_>| {
            let mut stats = SearchStats::default();
            let found = self.on_processor(vectors, query, k, params, filter, &mut stats)?;
            Ok((found, stats))
        };
        let found: Vec<_> = queries.par_iter().map(search).collect::<Result<_, PairError>>()?;
        let each = found.into_iter().map(|(found, of_query)| {
            stats.add(&of_query);
            found
        });
        Ok(each.collect())
    }

    /// `filter` holds no rows without a vector.
    fn on_processor(
        &self,
        vectors: VectorsRef<'_>,
        query: VectorRef<'_>,
        k: usize,
        params: &SearchParams,
        filter: Option<&Bitset>,
        stats: &mut SearchStats,
    ) -> Result<Vec<Neighbor>, PairError> {
        let found = match (self.element, vectors, query) {
            (ElementType::Half, VectorsRef::Halves(rows), VectorRef::Halves(query)) => {
                self.probe::<Half>(rows, query, k, params, filter, stats)
            }
            (ElementType::BFloat16, VectorsRef::BFloat16s(rows), VectorRef::BFloat16s(query)) => {
                self.probe::<BFloat16>(rows, query, k, params, filter, stats)
            }
            (ElementType::Int8, VectorsRef::Int8s(rows), VectorRef::Int8s(query)) => {
                self.probe::<Int8>(rows, query, k, params, filter, stats)
            }
            _ => None,
        };
        if let Some(found) = found {
            return Ok(found);
        }
        let indexed = self.indexed();
        exact_search_any(
            indexed.metric.into(),
            vectors,
            query,
            k,
            params.within,
            filter.or(indexed.valid()),
            stats,
        )
    }

    fn probe<N: Narrow>(
        &self,
        rows: Rows<'_, N::Bits>,
        query: &[N::Bits],
        k: usize,
        params: &SearchParams,
        filter: Option<&Bitset>,
        stats: &mut SearchStats,
    ) -> Option<Vec<Neighbor>> {
        let indexed = self.indexed();
        if rows.width() != indexed.dim || rows.len() != indexed.len || query.len() != indexed.dim {
            return None;
        }
        let wide = widened::<N>(query);
        let points = NumberPoints::<N> {
            metric: indexed.metric,
            rows,
            inverse_norms: indexed.inverse_norms(),
        };
        let request = Request {
            query: &wide,
            k,
            params,
            allow: filter,
            allowed: filter.map(|filter| filter.count_range(0, indexed.len)),
        };
        self.lists().search(request, &points.scorer(query), stats)
    }
}

/// The type of vectors that have lists here.
fn element_of(vectors: VectorsRef<'_>) -> Option<ElementType> {
    match vectors {
        VectorsRef::Halves(_) => Some(ElementType::Half),
        VectorsRef::BFloat16s(_) => Some(ElementType::BFloat16),
        VectorsRef::Int8s(_) => Some(ElementType::Int8),
        VectorsRef::Floats(_) | VectorsRef::Bits(_) | VectorsRef::Sparse(_) | VectorsRef::Lists(_) => None,
    }
}

/// Whether vectors of a type have a family of lists: 8-bit integers those of a GPU, and what stands in for them.
fn has(element: ElementType, params: &BuildParams) -> bool {
    match params {
        BuildParams::IvfCoded(coded) => {
            element != ElementType::Int8 || matches!(coded.code, Code::Product { .. })
        }
        BuildParams::IvfFlat { .. } | BuildParams::GpuIvfFlat { .. } | BuildParams::GpuIvfPq(_) => true,
        BuildParams::Flat
        | BuildParams::GpuBruteForce
        | BuildParams::GpuCagra(_)
        | BuildParams::Hnsw { .. }
        | BuildParams::HnswCoded(_)
        | BuildParams::Disk(_)
        | BuildParams::MinHash(_)
        | BuildParams::Sparse(_) => false,
    }
}

/// A query as rows.
fn single(query: VectorRef<'_>) -> Option<VectorsRef<'_>> {
    fn row<T>(values: &[T]) -> Option<Rows<'_, T>> {
        Rows::new(values, values.len()).ok()
    }
    match query {
        VectorRef::Halves(bits) => row(bits).map(VectorsRef::Halves),
        VectorRef::BFloat16s(bits) => row(bits).map(VectorsRef::BFloat16s),
        VectorRef::Int8s(values) => row(values).map(VectorsRef::Int8s),
        VectorRef::Floats(_)
        | VectorRef::Bits(_)
        | VectorRef::Sparse(_)
        | VectorRef::Terms(_)
        | VectorRef::List(_) => None,
    }
}

fn widened_by<N: Narrow>(
    params: &BuildParams,
    metric: Metric,
    rows: Rows<'_, N::Bits>,
    valid: Option<&Bitset>,
    options: &BuildOptions<'_>,
    make: &Make<'_>,
) -> Result<Widened, BuildError> {
    params.check_dim(rows.width())?;
    if rows.len() > MAX_ROWS {
        return Err(BuildError::TooManyRows {
            rows: rows.len(),
            max: MAX_ROWS,
        });
    }
    if options.progress.cancelled() {
        return Err(BuildError::Cancelled);
    }
    let wide = widened::<N>(rows.data());
    let Ok(vectors) = Vectors::new(&wide, rows.width()) else {
        // A width of zero, which rows do not have.
        return Err(BuildError::Cancelled);
    };
    in_pool(options, || {
        let mut indexed = IndexedRows::new(metric, vectors, valid);
        if metric == Metric::Cosine {
            indexed = indexed.with_inverse_norms(inverse_norms::<N>(rows));
        }
        make(indexed, vectors)
    })
}

fn widened<N: Narrow>(values: &[N::Bits]) -> Vec<f32> {
    values.iter().map(|bits| N::widen(*bits)).collect()
}
