//! FLAT: no structure. Under COSINE it keeps the inverse norm of every row, so that a scan is one inner product per row.

use crate::bitset::Bitset;
use crate::blob::{Array, Header, Reader, Writer};
use crate::error::{BuildError, OpenError};
use crate::exact::{exact_batch_in, exact_in};
use crate::index::{IndexKind, SearchStats, Validity, VectorIndex, shape_fits};
use crate::metric::Metric;
use crate::neighbor::Neighbor;
use crate::params::{BuildParams, SearchParams};
use crate::progress::BuildOptions;
use crate::scorer::{Space, inverse_norms};
use crate::vectors::Vectors;

#[derive(Debug)]
pub(crate) struct Flat {
    metric: Metric,
    dim: usize,
    rows: usize,
    valid: Validity,
    /// One per row under COSINE, else empty.
    inverse_norms: Array<f32>,
}

impl Flat {
    pub(crate) fn build(
        metric: Metric,
        vectors: Vectors<'_>,
        valid: Validity,
        options: &BuildOptions<'_>,
    ) -> Result<Self, BuildError> {
        let norms = if metric == Metric::Cosine {
            inverse_norms(vectors)
        } else {
            Vec::new()
        };
        options
            .progress
            .advance(vectors.len() as u64, vectors.len() as u64);
        Ok(Self {
            metric,
            dim: vectors.dim(),
            rows: vectors.len(),
            valid,
            inverse_norms: Array::Owned(norms),
        })
    }

    pub(crate) fn open(reader: &Reader) -> Result<Self, OpenError> {
        let Header {
            metric, dim, rows, ..
        } = *reader.header();
        Ok(Self {
            metric,
            dim,
            rows,
            valid: reader.validity(0)?,
            inverse_norms: reader.inverse_norms(1)?,
        })
    }

    fn space<'a>(&'a self, vectors: Vectors<'a>) -> Space<'a> {
        Space::new(self.metric, vectors, Some(&self.inverse_norms))
    }
}

impl VectorIndex for Flat {
    fn kind(&self) -> IndexKind {
        IndexKind::Flat
    }

    fn metric(&self) -> Metric {
        self.metric
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn rows(&self) -> usize {
        self.rows
    }

    fn params(&self) -> BuildParams {
        BuildParams::Flat
    }

    fn memory_bytes(&self) -> usize {
        self.valid.memory_bytes() + self.inverse_norms.bytes()
    }

    fn search(
        &self,
        vectors: Vectors<'_>,
        query: &[f32],
        k: usize,
        _params: &SearchParams,
        allow: Option<&Bitset>,
        stats: &mut SearchStats,
    ) -> Vec<Neighbor> {
        if !shape_fits(self, vectors, query.len()) {
            return Vec::new();
        }
        let mut scratch = Bitset::default();
        exact_in(
            &self.space(vectors),
            query,
            k,
            self.valid.restrict(allow, &mut scratch),
            stats,
        )
    }

    fn search_batch(
        &self,
        vectors: Vectors<'_>,
        queries: Vectors<'_>,
        k: usize,
        _params: &SearchParams,
        allow: Option<&Bitset>,
        stats: &mut SearchStats,
    ) -> Vec<Vec<Neighbor>> {
        if !shape_fits(self, vectors, queries.dim()) {
            return vec![Vec::new(); queries.len()];
        }
        let mut scratch = Bitset::default();
        exact_batch_in(
            &self.space(vectors),
            queries,
            k,
            self.valid.restrict(allow, &mut scratch),
            stats,
        )
    }

    fn serialize(&self) -> Vec<u8> {
        let header = Header {
            params: BuildParams::Flat,
            metric: self.metric,
            dim: self.dim,
            rows: self.rows,
        };
        let mut writer = Writer::new(header);
        writer.validity(&self.valid);
        writer.put(&self.inverse_norms);
        writer.finish()
    }
}
