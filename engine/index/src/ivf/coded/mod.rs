//! IVF_SQ8, IVF_PQ, IVF_RABITQ, IVF_RABITQ_FASTSCAN and SCANN: lists x codes x exact scores of the best.
//!
//! ```text
//!   row = base of its list + residual        base: the centroid under L2, the mean of the list's rows otherwise
//!   residual ~ code                          list after list, in units of rows that are scanned side by side
//!
//!   query ──> nearest lists ──> scan of codes ──> the best R by estimate ──> exact distances ──> the best k
//! ```
//!
//! Codes are written of residuals, but a query is prepared once and not once per list: what depends on both a row and its
//! list's base is a number stored with the row. Under COSINE rows are encoded with unit length.
//!
//! A search within a window of distances scores the rows of the lists exactly, as IVF_FLAT does: the ends of a window are
//! exact distances, which an estimate can be on the wrong side of.
//!
//! | file | part |
//! |---|---|
//! | `quantizer` | the codes behind one face |
//! | `list_codes` | the codes of all lists |
//! | `build` | training, encoding |
//! | `product` | lists with product codes, as a device takes them |
//! | `scan` | one list |
//! | [`super::search`] | the search |
//! | this one | the index, and its blob |

mod build;
mod list_codes;
mod product;
mod quantizer;
mod scan;

use crate::bitset::Bitset;
use crate::blob::Reader;
use crate::error::{BuildError, OpenError};
use crate::index::{IndexKind, SearchStats, VectorIndex};
use crate::indexed_rows::IndexedRows;
use crate::ivf::batch::{search_batch, search_one};
use crate::ivf::kmeans::{Clusterer, OnProcessor};
use crate::ivf::lists::Lists;
use crate::ivf::params::CodedParams;
use crate::ivf::search::ListSearch;
use crate::metric::Metric;
use crate::neighbor::Neighbor;
use crate::params::{BuildParams, SearchParams};
use crate::progress::{BuildOptions, Progress};
use crate::typed::ElementType;
use crate::vectors::Vectors;
pub(crate) use build::Coder;
pub(super) use build::Half;
pub(super) use list_codes::ListCodes;
pub(super) use quantizer::Prepared;
pub(super) use scan::{CodedScan, Keep, Room, scan_together};

#[derive(Debug)]
pub(crate) struct IvfCoded {
    rows: IndexedRows,
    params: CodedParams,
    lists: Lists,
    codes: ListCodes,
}

impl IvfCoded {
    pub(crate) fn build(
        params: CodedParams,
        rows: IndexedRows,
        vectors: Vectors<'_>,
        options: &BuildOptions<'_>,
    ) -> Result<Self, BuildError> {
        Self::build_by(&mut OnProcessor, None, params, rows, vectors, options)
    }

    /// Lists, and codes where there is a `coder`, that something else than the processor makes.
    pub(crate) fn build_by(
        clusterer: &mut impl Clusterer,
        coder: Option<&mut dyn Coder>,
        params: CodedParams,
        rows: IndexedRows,
        vectors: Vectors<'_>,
        options: &BuildOptions<'_>,
    ) -> Result<Self, BuildError> {
        let first: &dyn Progress = &Half::first(options.progress);
        let lists = Lists::build_by(clusterer, params.nlist, &rows, vectors, options, first)?;
        let space = rows.space(vectors);
        let second: &dyn Progress = &Half::second(options.progress);
        let codes = ListCodes::build_by(coder, params.code, &space, &lists, options.seed, second)?;
        Ok(Self {
            rows,
            params,
            lists,
            codes,
        })
    }

    pub(crate) fn open(reader: &Reader, params: CodedParams, rows: IndexedRows) -> Result<Self, OpenError> {
        const FIRST: usize = IndexedRows::ARRAYS + Lists::ARRAYS;
        params
            .check_dim(rows.dim)
            .map_err(|error| OpenError::corrupt(error.to_string()))?;
        let lists = Lists::open(reader, params.nlist, &rows)?;
        let codes = ListCodes::open(reader, FIRST, params.code, rows.metric, rows.dim, &lists)?;
        Ok(Self {
            rows,
            params,
            lists,
            codes,
        })
    }

    /// The index as the blob of one of vectors of another type.
    pub(super) fn serialize_of(&self, element: ElementType) -> Vec<u8> {
        self.serialize_as(self.params(), element)
    }

    /// The index as the blob of one with other parameters.
    pub(crate) fn serialize_as(&self, params: BuildParams, element: ElementType) -> Vec<u8> {
        let mut writer = self.rows.writer_of(params, element);
        self.lists.write(&mut writer);
        self.codes.write(&mut writer);
        writer.finish()
    }

    /// Its rows.
    pub(crate) fn indexed(&self) -> &IndexedRows {
        &self.rows
    }

    /// Its lists, for a search.
    pub(super) fn lists(&self) -> ListSearch<'_> {
        ListSearch {
            lists: &self.lists,
            coded: Some((&self.params, &self.codes)),
            bounded: None,
        }
    }
}

impl VectorIndex for IvfCoded {
    fn kind(&self) -> IndexKind {
        self.params.kind()
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
        BuildParams::IvfCoded(self.params)
    }

    fn memory_bytes(&self) -> usize {
        self.rows.memory_bytes() + self.lists.memory_bytes() + self.codes.memory_bytes()
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
