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
//! | `batch` | many searches, list by list |
//! | `typed` | the same families on halves, bfloat16s and 8-bit integers |
//! | `bits` | BIN_IVF_FLAT |
//! | `bounds` | what a code says for sure of a distance |
//! | this one | IVF_FLAT |
//! | `coded` | IVF_SQ8, IVF_PQ, IVF_RABITQ, SCANN: lists with codes |
//! | [`params`] | the parameters of those |

mod assign;
mod batch;
mod bits;
mod bounds;
mod coarse;
mod coded;
pub(crate) mod kmeans;
pub(crate) mod lists;
mod members;
pub(crate) mod params;
mod reservoir;
mod search;
mod typed;

pub(crate) use assign::group;

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
use crate::strategy::ListsPlan;
use crate::typed::ElementType;
use crate::vectors::Vectors;
use batch::{search_batch, search_one};
pub use bits::BitLists;
use bounds::BOUNDS;
pub(crate) use coded::{Coder, IvfCoded};
use coded::{Half, ListCodes};
use kmeans::Clusterer;
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

    /// Lists that something else than the processor makes, without codes.
    pub(crate) fn build_by(
        clusterer: &mut impl Clusterer,
        nlist: u32,
        rows: IndexedRows,
        vectors: Vectors<'_>,
        options: &BuildOptions<'_>,
    ) -> Result<Self, BuildError> {
        let lists = Lists::build_by(clusterer, nlist, &rows, vectors, options, options.progress)?;
        Ok(Self {
            rows,
            lists,
            bounded: None,
        })
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

    /// The rows.
    pub(crate) fn indexed(&self) -> &IndexedRows {
        &self.rows
    }

    /// Its lists.
    pub(crate) fn inverted(&self) -> &Lists {
        &self.lists
    }

    /// Lists that a search for `k` of some rows or of all looks at; all, when that is as quick.
    pub(crate) fn probes(&self, k: usize, params: &SearchParams, allowed: Option<usize>) -> usize {
        let request = Request {
            query: &[],
            k,
            params,
            allow: None,
            allowed,
        };
        match self.lists().plan(&request) {
            ListsPlan::Probe { nprobe } => nprobe,
            ListsPlan::Scan => self.lists.count(),
        }
    }

    /// The index as the blob of one of vectors of another type.
    fn serialize_of(&self, element: ElementType) -> Vec<u8> {
        self.serialize_as(self.params(), element)
    }

    /// The index as the blob of one with other parameters.
    pub(crate) fn serialize_as(&self, params: BuildParams, element: ElementType) -> Vec<u8> {
        let mut writer = self.rows.writer_of(params, element);
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
        match self.rows.candidates(vectors, query.len(), allow) {
            Some(candidates) => search_one(self.lists(), &candidates, query, k, params, stats),
            None => Vec::new(),
        }
    }

    fn search_batch(
        &self,
        vectors: Vectors<'_>,
        queries: Vectors<'_>,
        k: usize,
        params: &SearchParams,
        allow: Option<&Bitset>,
        stats: &mut SearchStats,
    ) -> Vec<Vec<Neighbor>> {
        match self.rows.candidates(vectors, queries.dim(), allow) {
            Some(candidates) => search_batch(self.lists(), &candidates, queries, k, params, stats),
            None => vec![Vec::new(); queries.len()],
        }
    }

    fn serialize(&self) -> Vec<u8> {
        self.serialize_of(ElementType::Float)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::in_pool;
    use crate::rng::Rng;

    /// Rows in groups, some of them twice, some zero.
    fn rows_of(rng: &mut Rng, rows: usize, dim: usize, scale: f32, offset: f32) -> Vec<f32> {
        let centers: Vec<f32> = (0..20 * dim).map(|_| rng.normal()).collect();
        let mut data = Vec::with_capacity(rows * dim);
        for row in 0..rows {
            let center = row % 20 * dim;
            for column in 0..dim {
                let value = centers[center + column] + 0.5 * rng.normal();
                data.push(scale * (value + offset));
            }
        }
        for row in (7..rows).step_by(9) {
            data.copy_within((row - 7) * dim..(row - 6) * dim, row * dim);
        }
        data[..dim].fill(0.0);
        data
    }

    #[test]
    fn codes_rule_out_no_row_that_a_scan_of_the_vectors_finds() {
        let rows = 3_000;
        let mut rng = Rng::new(2);
        for (dim, scale, offset) in [
            (8, 1.0, 0.0),
            (50, 1.0, 0.0),
            (50, 1.0, 300.0),
            (50, 1e-20, 0.0),
            (50, 1e17, 0.0),
            (130, 100.0, 1.0),
        ] {
            let data = rows_of(&mut rng, rows, dim, scale, offset);
            let queries = rows_of(&mut rng, 40, dim, scale, offset);
            let vectors = Vectors::new(&data, dim).unwrap();
            let allow = Bitset::from_fn(rows, |row| row % 10 != 3);
            for metric in [Metric::L2, Metric::Ip, Metric::Cosine] {
                let options = BuildOptions::default();
                let indexed = IndexedRows::new(metric, vectors, None);
                let index = in_pool(&options, || IvfFlat::build(40, indexed, vectors, &options)).unwrap();
                // Under COSINE rows are encoded with unit length.
                let encoded = scale < 1e10 || metric == Metric::Cosine;
                assert_eq!(index.bounded.is_some(), encoded, "{metric} {scale}");
                let (mut by_codes, mut by_vectors) = (SearchStats::default(), SearchStats::default());
                for query in queries.chunks_exact(dim).chain(data.chunks_exact(dim).take(10)) {
                    for (k, allow) in [(1, None), (10, None), (10, Some(&allow)), (200, None)] {
                        let candidates = index.rows.candidates(vectors, dim, allow).unwrap();
                        let params = SearchParams {
                            nprobe: Some(5),
                            ..SearchParams::default()
                        };
                        let request = Request {
                            query,
                            k,
                            params: &params,
                            allow: candidates.filter(),
                            allowed: candidates.allowed,
                        };
                        let scorer = candidates.space.scorer(query);
                        let plain = ListSearch {
                            bounded: None,
                            ..index.lists()
                        };
                        let found = index.lists().search(request, &scorer, &mut by_codes);
                        let expected = plain.search(request, &scorer, &mut by_vectors);
                        // The plans may differ: codes make lists cheaper.
                        if let Some(expected) = expected {
                            assert_eq!(found, Some(expected), "{metric} {dim} {scale} {offset} {k}");
                        }
                    }
                }
                assert!(by_vectors.lists > 0, "{metric} {dim}: nothing was compared");
            }
        }
    }

    #[test]
    fn blobs_without_codes_are_read() {
        let mut rng = Rng::new(4);
        let data = rows_of(&mut rng, 2_500, 12, 1.0, 0.0);
        let vectors = Vectors::new(&data, 12).unwrap();
        let options = BuildOptions::default();
        for metric in [Metric::L2, Metric::Ip, Metric::Cosine] {
            let indexed = IndexedRows::new(metric, vectors, None);
            let mut index = in_pool(&options, || IvfFlat::build(30, indexed, vectors, &options)).unwrap();
            let params = SearchParams::default();
            let search = |index: &IvfFlat| {
                index.search(
                    vectors,
                    &data[24..36],
                    10,
                    &params,
                    None,
                    &mut SearchStats::default(),
                )
            };
            let expected = search(&index);
            index.bounded = None;
            let reader = Reader::new(index.serialize().into()).unwrap();
            let opened = IvfFlat::open(&reader, 30, IndexedRows::open(&reader).unwrap()).unwrap();
            assert!(opened.bounded.is_none());
            assert_eq!(search(&opened), expected, "{metric}");
        }
    }
}
