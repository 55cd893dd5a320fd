#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]
//! Vector indexes and the distance kernels under them, and indexes on scalar columns.
//!
//! This crate knows slices and bitsets, nothing of Arrow or async: a segment hands over its stored rows as
//! [`Vectors`], gets back row numbers with distances, and keeps the serialized index as bytes wherever it likes.
//!
//! ```text
//!   build(params, metric, vectors, valid) ──> Arc<dyn VectorIndex> ── serialize ──> blob
//!   open(blob) ─────────────────────────────> Arc<dyn VectorIndex>      (arrays stay in the blob, nothing is copied)
//!   index.search(vectors, query, k, params, allow) ──> rows, best first
//! ```
//!
//! One convention holds everywhere: a distance is one `f32` and *smaller is better*; [`Metric::score`] turns it into the
//! number a client sees. Vectors are stored once, in the segment: an index keeps only structure (lists, links, inverse
//! norms) and reads the rows it needs. The exception is the graph on disk, which has them beside its links, and is opened
//! from its file.
//!
//! | module | what it holds |
//! |---|---|
//! | [`kernels`] | distances: scalar, AVX2, AVX-512, NEON; the tier is chosen once |
//! | [`index`] | the family trait, `build` and `open` |
//! | `flat`, `ivf`, `hnsw`, `disk` | one family each |
//! | `codes` | vectors in few bits, laid out for scans |
//! | `minhash` | signatures of sets, found by bands that they share |
//! | `sparse` | the inverted index of sparse vectors |
//! | [`scalar`] | the index of a column of numbers, texts or arrays of them, which answers filters |
//! | `any_index` | an index of any kind of vector |
//! | `merge` | an index built out of those of parts of its rows |
//! | [`gpu`] | indexes on devices, and the types of Milvus that ask for them |
//! | `panels` | batches of queries as a matrix product |
//! | `indexed_rows` | what the families share: shape, rows with a vector, the start of a search |
//! | [`strategy`] | graph or exact scan? a pure function |
//! | [`typed`] | vectors of other types than 32-bit floats, their exact search and their indexes |
//! | [`Window`] | the distances that a search may return |
//! | [`params`] | index and search parameters as text, with ranges |
//! | `blob` | the container of a serialized index |

mod any_index;
mod any_metric;
#[doc(hidden)]
pub mod bench;
mod bitset;
mod blob;
mod codes;
mod disk;
mod error;
pub mod exact;
mod flat;
pub mod gpu;
mod hnsw;
mod huge_pages;
pub mod index;
mod indexed_rows;
mod ivf;
pub mod kernels;
mod memory;
mod merge;
mod metric;
mod minhash;
mod neighbor;
mod panels;
pub mod params;
mod progress;
mod rng;
pub mod scalar;
mod scorer;
mod sparse;
pub mod strategy;
pub mod typed;
mod vectors;
mod window;

pub use any_index::AnyIndex;
pub use any_metric::{AnyMetric, BitMetric, ElementMetric};
pub use bitset::Bitset;
pub use disk::DiskIndex;
pub use disk::params::{DiskParams, DiskSearch, Ratio};
pub use error::{BuildError, OpenError, PairError, ParamError, ShapeError};
pub use exact::{exact_search, exact_search_batch};
pub use hnsw::IndexGraph;
pub use hnsw::params::{GraphCode, HnswCodedParams, ScalarFormat};
pub use index::{IndexKind, SearchStats, VectorIndex, build, open};
pub use ivf::params::{Code, CodedParams, Precision};
pub use ivf::{BitLists, TypedLists};
pub use memory::build_bytes;
pub use merge::{GONE, IndexPart, Merged};
pub use metric::Metric;
pub use minhash::{MinHash, MinHashIndex, MinHashParams};
pub use neighbor::{Neighbor, TopK};
pub use params::{BuildParams, SearchParams};
pub use progress::{BuildOptions, Progress};
pub use sparse::SparseIndex;
pub use sparse::params::{Bm25Params, SparseAlgorithm, SparseParams, SparseSearch};
pub use strategy::Strategy;
pub use typed::{
    Bm25, Bm25Query, ElementNeighbor, Elements, ListIndex, Rows, SparseVector, SparseVectors, TypedIndex,
    VectorLists, VectorRef, VectorsRef, exact_search_any, exact_search_any_batch, search_elements,
};
pub use vectors::Vectors;
pub use window::Window;
