//! Indexes of every kind of vector: the dense families behind [`VectorIndex`], and the inverted index of sparse vectors.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use crate::any_metric::AnyMetric;
use crate::bitset::Bitset;
use crate::blob::{self, Reader};
use crate::disk::DiskIndex;
use crate::error::{BuildError, OpenError, PairError};
use crate::exact_search_any;
use crate::hnsw::Earlier;
use crate::huge_pages;
use crate::index::{
    IndexKind, MAX_ROWS, SearchStats, VectorIndex, build_from, check_build, in_pool, open_dense,
};
use crate::ivf::{BitLists, TypedLists};
use crate::minhash::MinHashIndex;
use crate::neighbor::Neighbor;
use crate::params::{BuildParams, SearchParams};
use crate::progress::BuildOptions;
use crate::sparse::SparseIndex;
use crate::typed::{ElementType, ListIndex, TypedIndex, VectorRef, VectorsRef};
use crate::vectors::Vectors;

/// As many bytes of a blob as tell what it is.
const FIRST_BYTES: u64 = 16;

/// An index over the vectors of one segment. Cheap to clone.
#[derive(Debug, Clone)]
pub enum AnyIndex {
    /// Of 32-bit floats.
    Dense(Arc<dyn VectorIndex>),
    /// Of dense vectors of other types.
    Typed(Arc<TypedIndex>),
    /// Lists of 16-bit floats or 8-bit integers.
    TypedLists(Arc<TypedLists>),
    /// Lists of bit vectors.
    BitLists(Arc<BitLists>),
    /// Bands of MinHash signatures.
    MinHash(Arc<MinHashIndex>),
    /// On disk, of 16-bit floats; that of 32-bit floats is [`AnyIndex::Dense`].
    Disk(Arc<DiskIndex>),
    /// Of sparse vectors.
    Sparse(Arc<SparseIndex>),
    /// Of lists of dense vectors.
    Lists(Arc<ListIndex>),
}

impl AnyIndex {
    /// Builds an index over `vectors`. Rows not in `valid` (all are, when `None`) have no vector and stay out of it. The metric
    /// decides what an index of lists is: one over lists with a metric of lists, else one over their elements, for
    /// [`crate::search_elements`].
    ///
    /// # Errors
    /// Parameters out of range or for vectors of another type, a metric that the kind of index does not have, too many
    /// rows, a value that is not finite, more memory than is allowed, cancellation, or threads that cannot be started.
    pub fn build(
        params: &BuildParams,
        metric: AnyMetric,
        vectors: VectorsRef<'_>,
        valid: Option<&Bitset>,
        options: &BuildOptions<'_>,
    ) -> Result<Self, BuildError> {
        Self::build_from(params, metric, vectors, valid, None, options)
    }

    /// [`AnyIndex::build`], a graph out of `earlier` ones where there are any.
    pub(crate) fn build_from(
        params: &BuildParams,
        metric: AnyMetric,
        vectors: VectorsRef<'_>,
        valid: Option<&Bitset>,
        earlier: Option<&Earlier<'_>>,
        options: &BuildOptions<'_>,
    ) -> Result<Self, BuildError> {
        check_build(params, vectors, valid, options)?;
        match (vectors, params, metric) {
            (VectorsRef::Floats(vectors), _, AnyMetric::Numbers(metric)) => {
                build_from(params, metric, vectors, valid, earlier, options).map(Self::Dense)
            }
            (VectorsRef::Sparse(vectors), BuildParams::Sparse(params), _) => {
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
            (VectorsRef::Lists(lists), _, AnyMetric::MaxSim(metric)) => {
                ListIndex::build(params, metric, lists, options)
                    .map(Arc::new)
                    .map(Self::Lists)
            }
            // Elements one by one: as if each were a row.
            (VectorsRef::Lists(lists), _, AnyMetric::Numbers(_) | AnyMetric::Bits(_)) => {
                let in_lists = lists.elements_of(valid);
                let elements = lists.elements().vectors();
                Self::build(params, metric, elements, in_lists.as_ref(), options)
            }
            (_, &BuildParams::Disk(params), _) => {
                match DiskIndex::build(params, metric, vectors, valid, options) {
                    Some(index) => index.map(Arc::new).map(Self::Disk),
                    None => Err(BuildError::Kind {
                        index: IndexKind::DiskAnn.to_string(),
                        metric: metric.to_string(),
                    }),
                }
            }
            _ => {
                if let Some(index) = TypedLists::build(params, metric, vectors, valid, options) {
                    return index.map(Arc::new).map(Self::TypedLists);
                }
                if let Some(index) = BitLists::build(params, metric, vectors, valid, options) {
                    return index.map(Arc::new).map(Self::BitLists);
                }
                if let Some(index) = MinHashIndex::build(params, metric, vectors, valid, options) {
                    return index.map(Arc::new).map(Self::MinHash);
                }
                match TypedIndex::build(params, metric, vectors, valid, earlier, options) {
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
        match reader.header().metric {
            AnyMetric::MaxSim(metric) => ListIndex::open(&reader, metric).map(Arc::new).map(Self::Lists),
            AnyMetric::Numbers(_) | AnyMetric::Bits(_) | AnyMetric::Bm25 => Self::open_vectors(&reader),
        }
    }

    /// Opens an index of vectors, which is none of lists of them: those hold such a blob, and no other, within theirs.
    pub(crate) fn open_vectors(reader: &Reader) -> Result<Self, OpenError> {
        if let AnyMetric::MaxSim(_) = reader.header().metric {
            return Err(OpenError::corrupt(format!(
                "metric {} of vectors",
                reader.header().metric
            )));
        }
        if let Some(index) = TypedLists::open(reader) {
            return index.map(Arc::new).map(Self::TypedLists);
        }
        if let Some(index) = MinHashIndex::open(reader) {
            return index.map(Arc::new).map(Self::MinHash);
        }
        if let Some(index) = BitLists::open(reader) {
            return index.map(Arc::new).map(Self::BitLists);
        }
        if reader.header().element != ElementType::Float {
            if let BuildParams::Disk(_) = reader.header().params {
                return DiskIndex::open(reader).map(Arc::new).map(Self::Disk);
            }
            return TypedIndex::open(reader).map(Arc::new).map(Self::Typed);
        }
        match reader.header().params {
            BuildParams::Sparse(params) => Ok(Self::Sparse(Arc::new(SparseIndex::open(reader, params)?))),
            BuildParams::Flat
            | BuildParams::GpuBruteForce
            | BuildParams::GpuIvfFlat { .. }
            | BuildParams::GpuIvfPq(_)
            | BuildParams::GpuCagra(_)
            | BuildParams::IvfFlat { .. }
            | BuildParams::IvfCoded(_)
            | BuildParams::Hnsw { .. }
            | BuildParams::HnswCoded(_)
            | BuildParams::MinHash(_)
            | BuildParams::Disk(_) => open_dense(reader).map(Self::Dense),
        }
    }

    /// Whether a blob is of an index that is meant to stay on disk: [`AnyIndex::open_file`] takes the memory that its
    /// parameters say, [`AnyIndex::open`] all of the blob.
    pub fn belongs_in_file(blob: &[u8]) -> bool {
        blob::belongs_in_file(blob)
    }

    /// Opens the file of a blob. Indexes that are meant for it read what they need when they need it, for as long as they
    /// live: the file must not change, but may be removed. Other indexes are read as a whole.
    ///
    /// # Errors
    /// As [`AnyIndex::open`], and a file that cannot be read.
    pub fn open_file(path: &Path) -> Result<Self, OpenError> {
        let failed = |error: std::io::Error| OpenError::Read {
            path: path.display().to_string(),
            reason: error.to_string(),
        };
        let mut head = Vec::new();
        let file = std::fs::File::open(path).map_err(failed)?;
        file.take(FIRST_BYTES).read_to_end(&mut head).map_err(failed)?;
        if !Self::belongs_in_file(&head) {
            return Self::open(huge_pages::read(path).map_err(failed)?.into());
        }
        let index = Arc::new(DiskIndex::open_file(path)?);
        Ok(match index.element() {
            ElementType::Float => Self::Dense(index),
            ElementType::Half | ElementType::BFloat16 | ElementType::Int8 | ElementType::Bit => {
                Self::Disk(index)
            }
        })
    }

    /// The index as bytes that [`AnyIndex::open`] reads. Equal indexes give equal bytes.
    pub fn serialize(&self) -> Vec<u8> {
        match self {
            Self::Dense(index) => index.serialize(),
            Self::Typed(index) => index.serialize(),
            Self::TypedLists(index) => index.serialize(),
            Self::BitLists(index) => index.serialize(),
            Self::MinHash(index) => index.serialize(),
            Self::Disk(index) => index.serialize(),
            Self::Sparse(index) => index.serialize(),
            Self::Lists(index) => index.serialize(),
        }
    }

    /// The family.
    pub fn kind(&self) -> IndexKind {
        match self {
            Self::Dense(index) => index.kind(),
            Self::Typed(index) => index.kind(),
            Self::TypedLists(index) => index.kind(),
            Self::BitLists(index) => index.kind(),
            Self::MinHash(index) => index.kind(),
            Self::Disk(index) => index.kind(),
            Self::Sparse(_) => IndexKind::SparseInverted,
            Self::Lists(index) => index.kind(),
        }
    }

    /// The metric it was built for.
    pub fn metric(&self) -> AnyMetric {
        match self {
            Self::Dense(index) => index.metric().into(),
            Self::Typed(index) => index.metric(),
            Self::TypedLists(index) => index.metric().into(),
            Self::BitLists(index) => index.metric().into(),
            Self::MinHash(index) => index.metric(),
            Self::Disk(index) => index.metric().into(),
            Self::Sparse(index) => index.metric(),
            Self::Lists(index) => index.metric(),
        }
    }

    /// Rows of the segment, those without a vector included.
    pub fn rows(&self) -> usize {
        match self {
            Self::Dense(index) => index.rows(),
            Self::Typed(index) => index.rows(),
            Self::TypedLists(index) => index.rows(),
            Self::BitLists(index) => index.rows(),
            Self::MinHash(index) => index.rows(),
            Self::Disk(index) => index.rows(),
            Self::Sparse(index) => index.rows(),
            Self::Lists(index) => index.rows(),
        }
    }

    /// Bytes the index keeps in memory or mapped; the vectors are not its own.
    pub fn memory_bytes(&self) -> usize {
        match self {
            Self::Dense(index) => index.memory_bytes(),
            Self::Typed(index) => index.memory_bytes(),
            Self::TypedLists(index) => index.memory_bytes(),
            Self::BitLists(index) => index.memory_bytes(),
            Self::MinHash(index) => index.memory_bytes(),
            Self::Disk(index) => index.memory_bytes(),
            Self::Sparse(index) => index.memory_bytes(),
            Self::Lists(index) => index.memory_bytes(),
        }
    }

    /// About how many vectors a search for `k` of `allowed` rows compares a query with, at most: whether it is worth a thread of its
    /// own. A code is a part of a vector. `usize::MAX` of a search that waits for a disk or a device.
    pub fn comparisons(&self, k: usize, params: &SearchParams, allowed: usize) -> usize {
        let rows = self.rows();
        let built = match self {
            Self::Dense(index) => index.params(),
            Self::Typed(index) => index.params(),
            Self::TypedLists(index) => index.params(),
            Self::BitLists(index) => index.params(),
            Self::MinHash(_) | Self::Lists(_) => return rows,
            Self::Sparse(_) => return rows.div_ceil(4),
            Self::Disk(_) => return usize::MAX,
        };
        built.comparisons(rows, k, params, allowed)
    }

    /// The inverted index, when it is one.
    pub fn as_sparse(&self) -> Option<&SparseIndex> {
        match self {
            Self::Sparse(index) => Some(index),
            Self::Dense(_)
            | Self::Typed(_)
            | Self::TypedLists(_)
            | Self::BitLists(_)
            | Self::MinHash(_)
            | Self::Disk(_)
            | Self::Lists(_) => None,
        }
    }

    /// Whether the index finds what is near by `metric`: by the one it was built for, or, of signatures, by its bands.
    pub fn serves(&self, metric: AnyMetric) -> bool {
        match self {
            Self::MinHash(index) => index.serves(metric),
            Self::Dense(_)
            | Self::Typed(_)
            | Self::TypedLists(_)
            | Self::BitLists(_)
            | Self::Disk(_)
            | Self::Sparse(_)
            | Self::Lists(_) => self.metric() == metric,
        }
    }

    /// [`AnyIndex::search`] by a metric that the index [serves](AnyIndex::serves).
    ///
    /// # Errors
    /// As [`exact_search_any`].
    #[expect(clippy::too_many_arguments, reason = "`search`, and a metric")]
    pub fn search_by(
        &self,
        metric: AnyMetric,
        vectors: VectorsRef<'_>,
        query: VectorRef<'_>,
        k: usize,
        params: &SearchParams,
        allow: Option<&Bitset>,
        stats: &mut SearchStats,
    ) -> Result<Vec<Neighbor>, PairError> {
        if let Self::MinHash(index) = self
            && index.serves(metric)
        {
            return index.search(metric, vectors, query, k, params, allow, stats);
        }
        if self.metric() == metric {
            return self.search(vectors, query, k, params, allow, stats);
        }
        exact_search_any(metric, vectors, query, k, params.within, allow, stats)
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
            (Self::MinHash(index), _, _) => {
                index.search(index.metric(), vectors, query, k, params, allow, stats)
            }
            (Self::Lists(index), VectorsRef::Lists(lists), VectorRef::List(query)) => {
                index.search(lists, query, k, params, allow, stats)
            }
            (Self::Disk(index), _, _) => index.search_any(vectors, query, k, params, allow, stats),
            (Self::Sparse(index), VectorsRef::Sparse(vectors), _) => {
                index.search(vectors, query, k, params, allow, stats)
            }
            _ => exact_search_any(self.metric(), vectors, query, k, params.within, allow, stats),
        }
    }

    /// Whether [`AnyIndex::search_batch`] reads each row once for many queries, and is not just one search after the other.
    pub fn batches(&self) -> bool {
        match self {
            Self::Dense(index) => match index.kind() {
                IndexKind::Flat
                | IndexKind::IvfFlat
                | IndexKind::IvfSq8
                | IndexKind::IvfPq
                | IndexKind::IvfRabitq
                | IndexKind::IvfRabitqFastScan
                | IndexKind::Scann
                | IndexKind::GpuBruteForce
                | IndexKind::GpuIvfFlat
                | IndexKind::GpuIvfPq
                | IndexKind::GpuCagra => true,
                IndexKind::Hnsw
                | IndexKind::HnswSq
                | IndexKind::HnswPq
                | IndexKind::HnswPrq
                | IndexKind::DiskAnn
                | IndexKind::SparseInverted
                | IndexKind::MinHashLsh => false,
            },
            Self::Typed(index) => matches!(
                index.kind(),
                IndexKind::Flat | IndexKind::GpuBruteForce | IndexKind::GpuCagra
            ),
            Self::TypedLists(index) => index.is_of_gpu(),
            Self::BitLists(_) | Self::MinHash(_) | Self::Disk(_) | Self::Sparse(_) | Self::Lists(_) => false,
        }
    }

    /// [`AnyIndex::search`] for each of `queries`.
    ///
    /// # Errors
    /// As [`exact_search_any`].
    pub fn search_batch(
        &self,
        vectors: VectorsRef<'_>,
        queries: &[VectorRef<'_>],
        k: usize,
        params: &SearchParams,
        allow: Option<&Bitset>,
        stats: &mut SearchStats,
    ) -> Result<Vec<Vec<Neighbor>>, PairError> {
        match (self, vectors) {
            (Self::Typed(index), _) => {
                return index.search_batch(vectors, queries, k, params, allow, stats);
            }
            (Self::TypedLists(index), _) => {
                return index.search_batch(vectors, queries, k, params, allow, stats);
            }
            (Self::Dense(index), VectorsRef::Floats(vectors)) if index.dim() == vectors.dim() => {
                if let Some(floats) = floats_of(queries, index.dim())
                    && let Ok(queries) = Vectors::new(&floats, index.dim())
                {
                    return Ok(index.search_batch(vectors, queries, k, params, allow, stats));
                }
            }
            _ => {}
        }
        let search = |&query: &VectorRef<'_>| self.search(vectors, query, k, params, allow, stats);
        queries.iter().map(search).collect()
    }
}

/// Vectors of 32-bit floats row-major; `None` when one is of another type or dimension.
fn floats_of(vectors: &[VectorRef<'_>], dim: usize) -> Option<Vec<f32>> {
    let mut floats = Vec::with_capacity(vectors.len() * dim);
    for vector in vectors {
        let VectorRef::Floats(vector) = vector else {
            return None;
        };
        if vector.len() != dim {
            return None;
        }
        floats.extend_from_slice(vector);
    }
    Some(floats)
}
