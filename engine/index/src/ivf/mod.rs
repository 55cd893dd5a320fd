//! The IVF families: rows sorted into lists around k-means centroids; a search scans the lists nearest to the query.
//!
//! ```text
//!   centroids   c0   c1   c2   c3          query: score all centroids, scan the `nprobe` best lists,
//!               |    |    |    |                  then further ones until k allowed rows were found
//!   lists       2,5  0,7  1    3,4,6       lists hold row numbers; the vectors stay in the segment
//!   codes       ##   ##   #    ###         scanned instead of the vectors; then the best rows are scored again, or, of
//!                                          IVF_FLAT, all that may be results
//! ```
//!
//! L2 groups rows by Euclidean distance. IP and COSINE group them by direction: centroids have unit length and a row
//! belongs to the one with the largest inner product.
//!
//! | file | part |
//! |---|---|
//! | `assign` | nearest centroid of many rows |
//! | `kmeans` | seeded training on a sample |
//! | `members` | which rows are in which list, and the walk over lists |
//! | `lists` | lists around centroids |
//! | `coarse` | the nearest of many centroids by codes |
//! | `reservoir` | the best by estimates |
//! | `search` | the search of lists |
//! | `typed` | the same families on halves and bfloat16s |
//! | `bits` | BIN_IVF_FLAT |
//! | `bounds` | what a code says for sure of a distance |
//! | this one | IVF_FLAT |
//! | `coded` | IVF_SQ8, IVF_PQ, IVF_RABITQ, SCANN: lists with codes |
//! | [`params`] | the parameters of those |

mod assign;
mod bits;
mod bounds;
mod coarse;
mod coded;
mod kmeans;
mod lists;
mod members;
pub(crate) mod params;
mod reservoir;
mod search;
mod typed;

use crate::bitset::Bitset;
use crate::blob::{Array, Reader};
use crate::error::{BuildError, OpenError};
use crate::index::{IndexKind, SearchStats, VectorIndex};
use crate::indexed_rows::IndexedRows;
use crate::metric::Metric;
use crate::neighbor::Neighbor;
use crate::params::{BuildParams, SearchParams};
use crate::progress::BuildOptions;
use crate::scorer::Space;
use crate::typed::ElementType;
use crate::vectors::Vectors;
pub use bits::BitLists;
use bounds::BOUNDS;
pub(crate) use coded::IvfCoded;
use coded::{Half, ListCodes};
use lists::Lists;
use params::Code;
use search::{ListSearch, MIN_DIM, Request};
pub use typed::TypedLists;

/// What rules out rows of IVF_FLAT.
const CODE: Code = Code::Scalar { bits: 8 };

#[derive(Debug)]
pub(crate) struct IvfFlat {
    rows: IndexedRows,
    lists: Lists,
    /// Codes, and bounds of their errors; none where vectors are short or too long, and in blobs of old.
    bounded: Option<(ListCodes, Array<f32>)>,
}

/// Codes of the rows in `lists` that rule rows out.
fn bounded_codes(
    space: &Space<'_>,
    lists: &Lists,
    options: &BuildOptions<'_>,
) -> Result<Option<(ListCodes, Array<f32>)>, BuildError> {
    if space.vectors.dim() < MIN_DIM {
        return Ok(None);
    }
    let codes = ListCodes::build(CODE, space, lists, options.seed, &Half::second(options.progress))?;
    let bounds = codes.bounds(space, lists);
    Ok(bounds.map(|bounds| (codes, Array::Owned(bounds))))
}

impl IvfFlat {
    pub(crate) fn build(
        nlist: u32,
        rows: IndexedRows,
        vectors: Vectors<'_>,
        options: &BuildOptions<'_>,
    ) -> Result<Self, BuildError> {
        let lists = Lists::build(nlist, &rows, vectors, options, &Half::first(options.progress))?;
        let bounded = bounded_codes(&rows.space(vectors), &lists, options)?;
        let count = rows.count() as u64;
        options.progress.advance(count, count);
        Ok(Self { rows, lists, bounded })
    }

    pub(crate) fn open(reader: &Reader, nlist: u32, rows: IndexedRows) -> Result<Self, OpenError> {
        const FIRST: usize = IndexedRows::ARRAYS + Lists::ARRAYS;
        let lists = Lists::open(reader, nlist, &rows)?;
        let bounded = if reader.arrays() > FIRST {
            let codes = ListCodes::open(reader, FIRST, CODE, rows.metric, rows.dim, &lists)?;
            let numbers = lists.count() * BOUNDS;
            let bounds = reader.array_of(FIRST + ListCodes::ARRAYS, numbers, "bounds of errors")?;
            Some((codes, bounds))
        } else {
            None
        };
        Ok(Self { rows, lists, bounded })
    }

    /// The index as the blob of one of vectors of another type.
    fn serialize_of(&self, element: ElementType) -> Vec<u8> {
        let mut writer = self.rows.writer_of(self.params(), element);
        self.lists.write(&mut writer);
        if let Some((codes, bounds)) = &self.bounded {
            codes.write(&mut writer);
            writer.put(&**bounds);
        }
        writer.finish()
    }

    /// Its lists, for a search.
    fn lists(&self) -> ListSearch<'_> {
        ListSearch {
            lists: &self.lists,
            coded: None,
            bounded: self.bounded.as_ref().map(|(codes, bounds)| (codes, &**bounds)),
        }
    }
}

/// The metric that puts rows into lists.
fn grouping(metric: Metric) -> Metric {
    match metric {
        Metric::L2 => Metric::L2,
        Metric::Ip | Metric::Cosine => Metric::Ip,
    }
}

impl VectorIndex for IvfFlat {
    fn kind(&self) -> IndexKind {
        IndexKind::IvfFlat
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
        BuildParams::IvfFlat {
            nlist: self.lists.nlist,
        }
    }

    fn memory_bytes(&self) -> usize {
        let bounded = self.bounded.as_ref();
        let codes = bounded.map_or(0, |(codes, bounds)| codes.memory_bytes() + bounds.bytes());
        self.rows.memory_bytes() + self.lists.memory_bytes() + codes
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
        let request = Request {
            query,
            k,
            params,
            allow: candidates.filter(),
            allowed: candidates.allowed,
        };
        let found = self
            .lists()
            .search(request, &candidates.space.scorer(query), stats);
        found.unwrap_or_else(|| candidates.scan(query, k, params.within, stats))
    }

    fn serialize(&self) -> Vec<u8> {
        self.serialize_of(ElementType::Float)
    }
}
