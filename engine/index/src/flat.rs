//! FLAT: no structure. Under COSINE it keeps the inverse norm of every row, so that a scan is one inner product per row.

use crate::bitset::Bitset;
use crate::index::{IndexKind, SearchStats, VectorIndex};
use crate::indexed_rows::IndexedRows;
use crate::metric::Metric;
use crate::neighbor::Neighbor;
use crate::params::{BuildParams, SearchParams};
use crate::progress::BuildOptions;
use crate::vectors::Vectors;

#[derive(Debug)]
pub(crate) struct Flat {
    rows: IndexedRows,
}

impl Flat {
    pub(crate) fn build(rows: IndexedRows, options: &BuildOptions<'_>) -> Self {
        let count = rows.count() as u64;
        options.progress.advance(count, count);
        Self { rows }
    }

    pub(crate) fn open(rows: IndexedRows) -> Self {
        Self { rows }
    }

    /// The rows.
    pub(crate) fn indexed(&self) -> &IndexedRows {
        &self.rows
    }
}

impl VectorIndex for Flat {
    fn kind(&self) -> IndexKind {
        IndexKind::Flat
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
        BuildParams::Flat
    }

    fn memory_bytes(&self) -> usize {
        self.rows.memory_bytes()
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
            Some(candidates) => candidates.scan(query, k, params.within, stats),
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
            Some(candidates) => candidates.scan_batch(queries, k, params.within, stats),
            None => vec![Vec::new(); queries.len()],
        }
    }

    fn serialize(&self) -> Vec<u8> {
        self.rows.writer(self.params()).finish()
    }
}
