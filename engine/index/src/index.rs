//! The index family: one trait, and the two ways to get an index, [`build`] and [`open`].

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::bitset::Bitset;
use crate::blob::Reader;
use crate::disk::DiskIndex;
use crate::error::{BuildError, OpenError};
use crate::flat::Flat;
use crate::gpu::{GpuBruteForce, GpuCagra, GpuIvfFlat, GpuIvfPq};
use crate::hnsw::{Earlier, Hnsw, IndexGraph};
use crate::indexed_rows::IndexedRows;
use crate::ivf::{IvfCoded, IvfFlat};
use crate::metric::Metric;
use crate::neighbor::Neighbor;
use crate::params::{BuildParams, SearchParams};
use crate::progress::BuildOptions;
use crate::strategy::Strategy;
use crate::typed::VectorsRef;
use crate::vectors::Vectors;

/// Rows an index can hold: a graph packs a row number and one mark into 32 bits.
pub const MAX_ROWS: usize = i32::MAX as usize;

/// The families of indexes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum IndexKind {
    /// No structure: exact search.
    Flat,
    /// Inverted lists.
    IvfFlat,
    /// Inverted lists with a few bits per dimension.
    IvfSq8,
    /// Inverted lists with codewords for groups of dimensions.
    IvfPq,
    /// Inverted lists with bits of rotated dimensions.
    IvfRabitq,
    /// The same under its other name.
    IvfRabitqFastScan,
    /// Inverted lists with codewords of 4 bits for small groups of dimensions.
    Scann,
    /// Graph.
    Hnsw,
    /// Graph with a few bits per dimension.
    HnswSq,
    /// Graph with codewords for groups of dimensions.
    HnswPq,
    /// Graph with sums of codewords for groups of dimensions.
    HnswPrq,
    /// Graph on disk.
    DiskAnn,
    /// Inverted index of sparse vectors.
    SparseInverted,
    /// Bands of MinHash signatures.
    MinHashLsh,
    /// No structure: exact search on a device.
    GpuBruteForce,
    /// Inverted lists, made and scanned on a device.
    GpuIvfFlat,
    /// Inverted lists with codewords, made and scanned on a device.
    GpuIvfPq,
    /// Graph, made and walked on a device.
    GpuCagra,
}

impl fmt::Display for IndexKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Flat => "FLAT",
            Self::IvfFlat => "IVF_FLAT",
            Self::IvfSq8 => "IVF_SQ8",
            Self::IvfPq => "IVF_PQ",
            Self::IvfRabitq => "IVF_RABITQ",
            Self::IvfRabitqFastScan => "IVF_RABITQ_FASTSCAN",
            Self::Scann => "SCANN",
            Self::Hnsw => "HNSW",
            Self::HnswSq => "HNSW_SQ",
            Self::HnswPq => "HNSW_PQ",
            Self::HnswPrq => "HNSW_PRQ",
            Self::DiskAnn => "DISKANN",
            Self::SparseInverted => "SPARSE_INVERTED_INDEX",
            Self::MinHashLsh => "MINHASH_LSH",
            Self::GpuBruteForce => "GPU_BRUTE_FORCE",
            Self::GpuIvfFlat => "GPU_IVF_FLAT",
            Self::GpuIvfPq => "GPU_IVF_PQ",
            Self::GpuCagra => "GPU_CAGRA",
        })
    }
}

/// What searches did; counts add up over the searches that share one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SearchStats {
    /// Distances computed, centroids included.
    pub distances: u64,
    /// Graph nodes whose links were followed.
    pub hops: u64,
    /// Inverted lists scanned.
    pub lists: u64,
    /// Blocks read from disk.
    pub reads: u64,
    /// How the last search was carried out.
    pub strategy: Strategy,
}

impl SearchStats {
    /// Counts what another search did, the last one now.
    pub(crate) fn add(&mut self, other: &Self) {
        self.distances += other.distances;
        self.hops += other.hops;
        self.lists += other.lists;
        self.reads += other.reads;
        self.strategy = other.strategy;
    }
}

/// A built or opened index over the rows of one segment.
pub trait VectorIndex: Send + Sync + fmt::Debug {
    /// The family.
    fn kind(&self) -> IndexKind;
    /// The metric it was built for.
    fn metric(&self) -> Metric;
    /// Floats per row.
    fn dim(&self) -> usize;
    /// Rows of the segment, those without a vector included.
    fn rows(&self) -> usize;
    /// The parameters it was built with.
    fn params(&self) -> BuildParams;
    /// Bytes the index keeps in memory or mapped; the vectors are not its own.
    fn memory_bytes(&self) -> usize;

    /// The rows nearest to `query`: `min(k, allowed rows)` of them, best first, with exact distances.
    ///
    /// `vectors` are the segment's stored rows, the same ones the index was built from. Rows without a vector are never
    /// returned. Nothing is found (and an error is logged) when query or rows do not have the index's shape.
    fn search(
        &self,
        vectors: Vectors<'_>,
        query: &[f32],
        k: usize,
        params: &SearchParams,
        allow: Option<&Bitset>,
        stats: &mut SearchStats,
    ) -> Vec<Neighbor>;

    /// [`VectorIndex::search`] for every row of `queries`.
    fn search_batch(
        &self,
        vectors: Vectors<'_>,
        queries: Vectors<'_>,
        k: usize,
        params: &SearchParams,
        allow: Option<&Bitset>,
        stats: &mut SearchStats,
    ) -> Vec<Vec<Neighbor>> {
        (0..queries.len())
            .map(|index| self.search(vectors, queries.row(index), k, params, allow, stats))
            .collect()
    }

    /// Its graph, where a new index can be built out of it: see [`crate::AnyIndex::merge`].
    fn graph(&self) -> Option<IndexGraph<'_>> {
        None
    }

    /// The index as bytes that [`open`] reads. Equal indexes give equal bytes.
    fn serialize(&self) -> Vec<u8>;
}

/// Builds an index over `vectors`. Rows not in `valid` (all are, when `None`) have no vector and stay out of it.
///
/// The result depends on the input and the seed alone: any number of threads builds the same bytes.
///
/// # Errors
/// Parameters out of range, too many rows, a value that is not finite, more memory than is allowed, cancellation, threads that
/// cannot be started, or a device that is not there.
pub fn build(
    params: &BuildParams,
    metric: Metric,
    vectors: Vectors<'_>,
    valid: Option<&Bitset>,
    options: &BuildOptions<'_>,
) -> Result<Arc<dyn VectorIndex>, BuildError> {
    check_build(params, VectorsRef::Floats(vectors), valid, options)?;
    build_from(params, metric, vectors, valid, None, options)
}

/// Refuses what no index can be made of, before anything is done.
pub(crate) fn check_build(
    params: &BuildParams,
    vectors: VectorsRef<'_>,
    valid: Option<&Bitset>,
    options: &BuildOptions<'_>,
) -> Result<(), BuildError> {
    params.check()?;
    options.check_memory(params, vectors)?;
    match vectors.first_not_finite(valid) {
        Some(row) => Err(BuildError::NotFinite { row }),
        None => Ok(()),
    }
}

/// [`build`], a graph out of `earlier` ones where there are any.
pub(crate) fn build_from(
    params: &BuildParams,
    metric: Metric,
    vectors: Vectors<'_>,
    valid: Option<&Bitset>,
    earlier: Option<&Earlier<'_>>,
    options: &BuildOptions<'_>,
) -> Result<Arc<dyn VectorIndex>, BuildError> {
    params.check_dim(vectors.dim())?;
    if vectors.len() > MAX_ROWS {
        return Err(BuildError::TooManyRows {
            rows: vectors.len(),
            max: MAX_ROWS,
        });
    }
    if options.progress.cancelled() {
        return Err(BuildError::Cancelled);
    }
    if let BuildParams::Disk(params) = *params
        && let Some(index) =
            DiskIndex::build(params, metric.into(), VectorsRef::Floats(vectors), valid, options)
    {
        return Ok(Arc::new(index?));
    }
    in_pool(options, || -> Result<Arc<dyn VectorIndex>, BuildError> {
        let rows = IndexedRows::new(metric, vectors, valid);
        match *params {
            BuildParams::Flat => Ok(Arc::new(Flat::build(rows, options))),
            BuildParams::GpuBruteForce => Ok(Arc::new(GpuBruteForce::build(rows, options)?)),
            BuildParams::GpuIvfFlat { nlist } => {
                Ok(Arc::new(GpuIvfFlat::build(nlist, rows, vectors, options)?))
            }
            BuildParams::GpuIvfPq(params) => Ok(Arc::new(GpuIvfPq::build(params, rows, vectors, options)?)),
            BuildParams::GpuCagra(params) => Ok(Arc::new(GpuCagra::build(params, rows, vectors, options)?)),
            BuildParams::Hnsw { .. } | BuildParams::HnswCoded(_) => {
                Ok(Arc::new(Hnsw::build(*params, rows, vectors, earlier, options)?))
            }
            BuildParams::IvfFlat { nlist } => Ok(Arc::new(IvfFlat::build(nlist, rows, vectors, options)?)),
            BuildParams::IvfCoded(params) => Ok(Arc::new(IvfCoded::build(params, rows, vectors, options)?)),
            BuildParams::Disk(_) | BuildParams::Sparse(_) | BuildParams::MinHash(_) => {
                Err(BuildError::Kind {
                    index: params.kind().to_string(),
                    metric: metric.to_string(),
                })
            }
        }
    })
}

/// Runs a build on threads of its own.
pub(crate) fn in_pool<T: Send>(
    options: &BuildOptions<'_>,
    work: impl FnOnce() -> Result<T, BuildError> + Send,
) -> Result<T, BuildError> {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(options.threads)
        .thread_name(|index| format!("index-build-{index}"))
        .build()
        .map_err(|error| BuildError::Threads {
            threads: options.threads,
            reason: error.to_string(),
        })?;
    pool.install(work)
}

/// Opens what [`VectorIndex::serialize`] wrote. Big arrays stay in `blob`; everything that a search relies on is checked
/// here once, so that a damaged blob is an error now and never a panic later.
///
/// # Errors
/// Bytes that are no index, are damaged, or were written by a newer version.
pub fn open(blob: Bytes) -> Result<Arc<dyn VectorIndex>, OpenError> {
    open_dense(&Reader::new(blob)?)
}

/// Opens an index of 32-bit floats.
pub(crate) fn open_dense(reader: &Reader) -> Result<Arc<dyn VectorIndex>, OpenError> {
    if let BuildParams::Disk(_) = reader.header().params {
        return Ok(Arc::new(DiskIndex::open(reader)?));
    }
    let rows = IndexedRows::open(reader)?;
    match reader.header().params {
        BuildParams::Flat => Ok(Arc::new(Flat::open(rows))),
        BuildParams::GpuBruteForce => Ok(Arc::new(GpuBruteForce::open(rows))),
        BuildParams::GpuIvfFlat { nlist } => Ok(Arc::new(GpuIvfFlat::open(reader, nlist, rows)?)),
        BuildParams::GpuIvfPq(params) => Ok(Arc::new(GpuIvfPq::open(reader, params, rows)?)),
        BuildParams::GpuCagra(params) => Ok(Arc::new(GpuCagra::open(reader, params, rows)?)),
        BuildParams::Hnsw { .. } | BuildParams::HnswCoded(_) => Ok(Arc::new(Hnsw::open(reader, rows)?)),
        BuildParams::IvfFlat { nlist } => Ok(Arc::new(IvfFlat::open(reader, nlist, rows)?)),
        BuildParams::IvfCoded(params) => Ok(Arc::new(IvfCoded::open(reader, params, rows)?)),
        BuildParams::Disk(_) | BuildParams::Sparse(_) | BuildParams::MinHash(_) => {
            Err(OpenError::corrupt("an index that is not one of 32-bit floats"))
        }
    }
}
