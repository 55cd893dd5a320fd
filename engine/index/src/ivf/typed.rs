//! The IVF families on halves and bfloat16s.
//!
//! Lists and codes are built from the rows widened to 32-bit floats; a search finds lists and looks at codes with the
//! query widened, and scores rows where they are stored, as a scan of them does.

use super::search::{ListSearch, Request};
use super::{IvfCoded, IvfFlat};
use crate::any_metric::AnyMetric;
use crate::bitset::Bitset;
use crate::blob::Reader;
use crate::error::{BuildError, OpenError, PairError};
use crate::index::{IndexKind, MAX_ROWS, SearchStats, VectorIndex, in_pool};
use crate::indexed_rows::IndexedRows;
use crate::kernels::narrow::{BFloat16, Format, Half};
use crate::metric::Metric;
use crate::neighbor::Neighbor;
use crate::params::{BuildParams, SearchParams};
use crate::progress::BuildOptions;
use crate::typed::{
    ElementType, Narrow, NumberPoints, Rows, VectorRef, VectorsRef, exact_search_any, inverse_norms,
};
use crate::vectors::Vectors;

/// An index of lists over vectors of 16-bit floats.
#[derive(Debug)]
pub struct TypedLists {
    element: ElementType,
    index: Widened,
}

/// The index of the widened rows.
#[derive(Debug)]
enum Widened {
    Flat(IvfFlat),
    Coded(IvfCoded),
}

impl TypedLists {
    /// Builds an index; `None` when it is none of lists, or vectors of this type do not have it, or not with this metric.
    pub(crate) fn build(
        params: &BuildParams,
        metric: AnyMetric,
        vectors: VectorsRef<'_>,
        valid: Option<&Bitset>,
        options: &BuildOptions<'_>,
    ) -> Option<Result<Self, BuildError>> {
        if !matches!(params, BuildParams::IvfFlat { .. } | BuildParams::IvfCoded(_)) {
            return None;
        }
        let AnyMetric::Numbers(metric) = metric else {
            return None;
        };
        match vectors {
            VectorsRef::Halves(rows) => Some(Self::build_of::<Half>(
                params,
                metric,
                rows,
                ElementType::Half,
                valid,
                options,
            )),
            VectorsRef::BFloat16s(rows) => Some(Self::build_of::<BFloat16>(
                params,
                metric,
                rows,
                ElementType::BFloat16,
                valid,
                options,
            )),
            VectorsRef::Floats(_)
            | VectorsRef::Int8s(_)
            | VectorsRef::Bits(_)
            | VectorsRef::Sparse(_)
            | VectorsRef::Lists(_) => None,
        }
    }

    fn build_of<F: Format<Bits = u16> + Narrow<Bits = u16>>(
        params: &BuildParams,
        metric: Metric,
        rows: Rows<'_, u16>,
        element: ElementType,
        valid: Option<&Bitset>,
        options: &BuildOptions<'_>,
    ) -> Result<Self, BuildError> {
        params.check()?;
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
        let wide = widened::<F>(rows.data());
        let Ok(vectors) = Vectors::new(&wide, rows.width()) else {
            // A width of zero, which rows do not have.
            return Err(BuildError::Cancelled);
        };
        in_pool(options, || {
            let mut indexed = IndexedRows::new(metric, vectors, valid);
            if metric == Metric::Cosine {
                indexed = indexed.with_inverse_norms(inverse_norms::<F>(rows));
            }
            let index = match *params {
                BuildParams::IvfCoded(params) => {
                    Widened::Coded(IvfCoded::build(params, indexed, vectors, options)?)
                }
                BuildParams::IvfFlat { nlist } => {
                    Widened::Flat(IvfFlat::build(nlist, indexed, vectors, options)?)
                }
                BuildParams::Flat
                | BuildParams::GpuBruteForce
                | BuildParams::GpuIvfFlat { .. }
                | BuildParams::GpuIvfPq(_)
                | BuildParams::GpuCagra(_)
                | BuildParams::Hnsw { .. }
                | BuildParams::HnswCoded(_)
                | BuildParams::Disk(_)
                | BuildParams::MinHash(_)
                | BuildParams::Sparse(_) => {
                    return Err(BuildError::Kind {
                        index: params.kind().to_string(),
                        metric: metric.to_string(),
                    });
                }
            };
            Ok(Self { element, index })
        })
    }

    /// Opens an index of lists on 16-bit floats; `None` when the blob holds something else.
    pub(crate) fn open(reader: &Reader) -> Option<Result<Self, OpenError>> {
        let element = reader.header().element;
        if !matches!(element, ElementType::Half | ElementType::BFloat16) {
            return None;
        }
        let open = || -> Result<Self, OpenError> {
            let rows = IndexedRows::open_of(reader, element)?;
            let index = match reader.header().params {
                BuildParams::IvfCoded(params) => Widened::Coded(IvfCoded::open(reader, params, rows)?),
                BuildParams::IvfFlat { nlist } => Widened::Flat(IvfFlat::open(reader, nlist, rows)?),
                BuildParams::Flat
                | BuildParams::GpuBruteForce
                | BuildParams::GpuIvfFlat { .. }
                | BuildParams::GpuIvfPq(_)
                | BuildParams::GpuCagra(_)
                | BuildParams::Hnsw { .. }
                | BuildParams::HnswCoded(_)
                | BuildParams::Disk(_)
                | BuildParams::MinHash(_)
                | BuildParams::Sparse(_) => {
                    return Err(OpenError::corrupt("no index of lists"));
                }
            };
            Ok(Self { element, index })
        };
        let is_of_lists = matches!(
            reader.header().params,
            BuildParams::IvfFlat { .. } | BuildParams::IvfCoded(_)
        );
        is_of_lists.then(open)
    }

    pub(crate) fn serialize(&self) -> Vec<u8> {
        match &self.index {
            Widened::Flat(index) => index.serialize_of(self.element),
            Widened::Coded(index) => index.serialize_of(self.element),
        }
    }

    fn index(&self) -> &dyn VectorIndex {
        match &self.index {
            Widened::Flat(index) => index,
            Widened::Coded(index) => index,
        }
    }

    fn indexed(&self) -> &IndexedRows {
        match &self.index {
            Widened::Flat(index) => &index.rows,
            Widened::Coded(index) => index.indexed(),
        }
    }

    fn lists(&self) -> ListSearch<'_> {
        match &self.index {
            Widened::Flat(index) => index.lists(),
            Widened::Coded(index) => index.lists(),
        }
    }

    /// The family.
    pub fn kind(&self) -> IndexKind {
        self.index().kind()
    }

    /// The parameters it was built with.
    pub fn params(&self) -> BuildParams {
        self.index().params()
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
        let found = match (self.element, vectors, query) {
            (ElementType::Half, VectorsRef::Halves(rows), VectorRef::Halves(query)) => {
                self.probe::<Half>(rows, query, k, params, filter, stats)
            }
            (ElementType::BFloat16, VectorsRef::BFloat16s(rows), VectorRef::BFloat16s(query)) => {
                self.probe::<BFloat16>(rows, query, k, params, filter, stats)
            }
            _ => None,
        };
        if let Some(found) = found {
            return Ok(found);
        }
        let scanned = filter.or(indexed.valid());
        exact_search_any(
            indexed.metric.into(),
            vectors,
            query,
            k,
            params.within,
            scanned,
            stats,
        )
    }

    fn probe<F: Format<Bits = u16> + Narrow<Bits = u16>>(
        &self,
        rows: Rows<'_, u16>,
        query: &[u16],
        k: usize,
        params: &SearchParams,
        filter: Option<&Bitset>,
        stats: &mut SearchStats,
    ) -> Option<Vec<Neighbor>> {
        let indexed = self.indexed();
        if rows.width() != indexed.dim || rows.len() != indexed.len || query.len() != indexed.dim {
            return None;
        }
        let wide = widened::<F>(query);
        let points = NumberPoints::<F> {
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

fn widened<F: Format<Bits = u16>>(values: &[u16]) -> Vec<f32> {
    values.iter().map(|bits| F::widen(*bits)).collect()
}
