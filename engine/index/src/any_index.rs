//! Indexes of every kind of vector: the dense families behind [`VectorIndex`], and the inverted index of sparse vectors.

use std::sync::Arc;

use bytes::Bytes;

use crate::any_metric::AnyMetric;
use crate::bitset::Bitset;
use crate::blob::Reader;
use crate::error::{BuildError, OpenError, PairError};
use crate::exact_search_any;
use crate::index::{IndexKind, MAX_ROWS, SearchStats, VectorIndex, build, in_pool, open_dense};
use crate::ivf::{BitLists, TypedLists};
use crate::neighbor::Neighbor;
use crate::params::{BuildParams, SearchParams};
use crate::progress::BuildOptions;
use crate::sparse::SparseIndex;
use crate::typed::{ElementType, TypedIndex, VectorRef, VectorsRef};

/// An index over the vectors of one segment. Cheap to clone.
#[derive(Debug, Clone)]
pub enum AnyIndex {
    /// Of 32-bit floats.
    Dense(Arc<dyn VectorIndex>),
    /// Of dense vectors of other types.
    Typed(Arc<TypedIndex>),
    /// Lists of 16-bit floats.
    TypedLists(Arc<TypedLists>),
    /// Lists of bit vectors.
    BitLists(Arc<BitLists>),
    /// Of sparse vectors.
    Sparse(Arc<SparseIndex>),
}

impl AnyIndex {
    /// Builds an index over `vectors`. Rows not in `valid` (all are, when `None`) have no vector and stay out of it.
    ///
    /// # Errors
    /// Parameters out of range or for vectors of another type, a metric that the kind of index does not have, too many
    /// rows, cancellation, or threads that cannot be started.
    pub fn build(
        params: &BuildParams,
        metric: AnyMetric,
        vectors: VectorsRef<'_>,
        valid: Option<&Bitset>,
        options: &BuildOptions<'_>,
    ) -> Result<Self, BuildError> {
        match (vectors, params, metric) {
            (VectorsRef::Floats(vectors), _, AnyMetric::Numbers(metric)) => {
                build(params, metric, vectors, valid, options).map(Self::Dense)
            }
            (VectorsRef::Sparse(vectors), BuildParams::Sparse(params), _) => {
                params.check()?;
                if vectors.len() > MAX_ROWS {
                    return Err(BuildError::TooManyRows {
                        rows: vectors.len(),
                        max: MAX_ROWS,
                    });
                }
                let index = in_pool(options, || {
                    SparseIndex::build(*params, metric, vectors, valid, options)
                })?;
                Ok(Self::Sparse(Arc::new(index)))
            }
            _ => {
                if let Some(index) = TypedLists::build(params, metric, vectors, valid, options) {
                    return index.map(Arc::new).map(Self::TypedLists);
                }
                if let Some(index) = BitLists::build(params, metric, vectors, valid, options) {
                    return index.map(Arc::new).map(Self::BitLists);
                }
                match TypedIndex::build(params, metric, vectors, valid, options) {
                    Some(index) => index.map(Arc::new).map(Self::Typed),
                    None => Err(BuildError::Kind {
                        index: params.kind().to_string(),
                        metric: metric.to_string(),
                    }),
                }
            }
        }
    }

    /// Opens what [`AnyIndex::serialize`] wrote, see [`crate::open`].
    ///
    /// # Errors
    /// Bytes that are no index, are damaged, or were written by a newer version.
    pub fn open(blob: Bytes) -> Result<Self, OpenError> {
        let reader: Reader = Reader::new(blob)?;
        if let Some(index) = TypedLists::open(&reader) {
            return index.map(Arc::new).map(Self::TypedLists);
        }
        if let Some(index) = BitLists::open(&reader) {
            return index.map(Arc::new).map(Self::BitLists);
        }
        if reader.header().element != ElementType::Float {
            return TypedIndex::open(&reader).map(Arc::new).map(Self::Typed);
        }
        match reader.header().params {
            BuildParams::Sparse(params) => Ok(Self::Sparse(Arc::new(SparseIndex::open(&reader, params)?))),
            BuildParams::Flat
            | BuildParams::GpuBruteForce
            | BuildParams::IvfFlat { .. }
            | BuildParams::IvfCoded(_)
            | BuildParams::Hnsw { .. }
            | BuildParams::HnswCoded(_) => open_dense(&reader).map(Self::Dense),
        }
    }

    /// The index as bytes that [`AnyIndex::open`] reads. Equal indexes give equal bytes.
    pub fn serialize(&self) -> Vec<u8> {
        match self {
            Self::Dense(index) => index.serialize(),
            Self::Typed(index) => index.serialize(),
            Self::TypedLists(index) => index.serialize(),
            Self::BitLists(index) => index.serialize(),
            Self::Sparse(index) => index.serialize(),
        }
    }

    /// The family.
    pub fn kind(&self) -> IndexKind {
        match self {
            Self::Dense(index) => index.kind(),
            Self::Typed(index) => index.kind(),
            Self::TypedLists(index) => index.kind(),
            Self::BitLists(index) => index.kind(),
            Self::Sparse(_) => IndexKind::SparseInverted,
        }
    }

    /// The metric it was built for.
    pub fn metric(&self) -> AnyMetric {
        match self {
            Self::Dense(index) => index.metric().into(),
            Self::Typed(index) => index.metric(),
            Self::TypedLists(index) => index.metric().into(),
            Self::BitLists(index) => index.metric().into(),
            Self::Sparse(index) => index.metric(),
        }
    }

    /// Rows of the segment, those without a vector included.
    pub fn rows(&self) -> usize {
        match self {
            Self::Dense(index) => index.rows(),
            Self::Typed(index) => index.rows(),
            Self::TypedLists(index) => index.rows(),
            Self::BitLists(index) => index.rows(),
            Self::Sparse(index) => index.rows(),
        }
    }

    /// Bytes the index keeps in memory or mapped; the vectors are not its own.
    pub fn memory_bytes(&self) -> usize {
        match self {
            Self::Dense(index) => index.memory_bytes(),
            Self::Typed(index) => index.memory_bytes(),
            Self::TypedLists(index) => index.memory_bytes(),
            Self::BitLists(index) => index.memory_bytes(),
            Self::Sparse(index) => index.memory_bytes(),
        }
    }

    /// The inverted index, when it is one.
    pub fn as_sparse(&self) -> Option<&SparseIndex> {
        match self {
            Self::Sparse(index) => Some(index),
            Self::Dense(_) | Self::Typed(_) | Self::TypedLists(_) | Self::BitLists(_) => None,
        }
    }

    /// The rows nearest to `query`: `min(k, allowed rows)` of them, best first, with exact distances. Vectors of another
    /// type than the index's are searched without it.
    ///
    /// # Errors
    /// As [`exact_search_any`].
    pub fn search(
        &self,
        vectors: VectorsRef<'_>,
        query: VectorRef<'_>,
        k: usize,
        params: &SearchParams,
        allow: Option<&Bitset>,
        stats: &mut SearchStats,
    ) -> Result<Vec<Neighbor>, PairError> {
        match (self, vectors, query) {
            (Self::Dense(index), VectorsRef::Floats(vectors), VectorRef::Floats(query)) => {
                Ok(index.search(vectors, query, k, params, allow, stats))
            }
            (Self::Typed(index), _, _) => index.search(vectors, query, k, params, allow, stats),
            (Self::TypedLists(index), _, _) => index.search(vectors, query, k, params, allow, stats),
            (Self::BitLists(index), _, _) => index.search(vectors, query, k, params, allow, stats),
            // Postings do not tell how far a row is before it is scored.
            (Self::Sparse(index), VectorsRef::Sparse(vectors), _) if params.within.is_open() => {
                index.search(vectors, query, k, params, allow, stats)
            }
            _ => exact_search_any(self.metric(), vectors, query, k, params.within, allow, stats),
        }
    }
}
