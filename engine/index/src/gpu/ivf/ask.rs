//! What lists on a device are asked, over vectors of any type of numbers, and the exact distances of what they answer.

use std::borrow::Cow;

use crate::bitset::Bitset;
use crate::gpu::backend::ElementType;
use crate::gpu::index::Ask;
use crate::gpu::rescore::best_by;
use crate::gpu::units::{shape_of, widened};
use crate::hnsw::Distances;
use crate::indexed_rows::IndexedRows;
use crate::kernels::narrow::{BFloat16, Half};
use crate::metric::Metric;
use crate::neighbor::Neighbor;
use crate::params::SearchParams;
use crate::scorer::Space;
use crate::typed::{Int8, Narrow, NumberPoints, Rows, VectorRef, VectorsRef};

/// A batch of searches.
#[derive(Clone, Copy)]
pub(crate) struct ListAsk<'a> {
    pub(crate) metric: Metric,
    pub(crate) element: ElementType,
    pub(crate) dim: usize,
    pub(crate) vectors: VectorsRef<'a>,
    pub(crate) queries: VectorsRef<'a>,
    /// One for each row under COSINE.
    pub(crate) inverse_norms: &'a [f32],
    pub(crate) k: usize,
    pub(crate) params: &'a SearchParams,
    /// Rows that may be found; all that have a vector when `None`.
    pub(crate) filter: Option<&'a Bitset>,
    /// How many they are; `None` without a filter.
    pub(crate) allowed: Option<usize>,
}

impl<'a> ListAsk<'a> {
    /// `None` when rows and queries are not alike, or none of numbers. `filter` holds no rows without a vector.
    pub(crate) fn new(
        indexed: &'a IndexedRows,
        (vectors, queries): (VectorsRef<'a>, VectorsRef<'a>),
        k: usize,
        params: &'a SearchParams,
        filter: Option<&'a Bitset>,
    ) -> Option<Self> {
        let (element, dim) = shape_of(vectors)?;
        let alike = shape_of(queries) == Some((element, dim)) && element.has(indexed.metric.into());
        let fits = dim == indexed.dim && vectors.len() == indexed.len;
        (alike && fits).then(|| Self {
            metric: indexed.metric,
            element,
            dim,
            vectors,
            queries,
            inverse_norms: indexed.inverse_norms(),
            k,
            params,
            filter,
            allowed: filter.map(|filter| filter.count_range(0, indexed.len)),
        })
    }

    /// That of 32-bit floats.
    pub(crate) fn of(indexed: &'a IndexedRows, ask: &'a Ask<'a>) -> Self {
        Self {
            metric: indexed.metric,
            element: ElementType::Float,
            dim: ask.vectors.dim(),
            vectors: ask.vectors.into(),
            queries: ask.queries.into(),
            inverse_norms: indexed.inverse_norms(),
            k: ask.k,
            params: ask.params,
            filter: ask.candidates.filter(),
            allowed: ask.candidates.allowed,
        }
    }

    /// A query as 32-bit floats.
    pub(crate) fn wide_query(&self, query: usize) -> Cow<'a, [f32]> {
        let query = self.queries.row(query);
        if let VectorRef::Floats(values) = query {
            return Cow::Borrowed(values);
        }
        Cow::Owned(widened(query))
    }

    /// The best `k` of a query's candidates by their exact distances, see [`best_by`].
    pub(crate) fn best_of(&self, query: usize, rows: &[u32], wanted: usize) -> Option<Vec<Neighbor>> {
        best_by(|rows, out| self.distances(query, rows, out), rows, self.k, wanted)
    }

    /// Exact distances; no numbers where rows and queries are not alike.
    fn distances(&self, query: usize, rows: &[u32], out: &mut [f32]) {
        match (self.vectors, self.queries.row(query)) {
            (VectorsRef::Floats(vectors), VectorRef::Floats(query)) => {
                let space = Space::new(self.metric, vectors, Some(self.inverse_norms));
                space.scorer(query).gather(rows, out);
            }
            (VectorsRef::Halves(vectors), VectorRef::Halves(query)) => {
                self.points::<Half>(vectors).scorer(query).gather(rows, out);
            }
            (VectorsRef::BFloat16s(vectors), VectorRef::BFloat16s(query)) => {
                self.points::<BFloat16>(vectors).scorer(query).gather(rows, out);
            }
            (VectorsRef::Int8s(vectors), VectorRef::Int8s(query)) => {
                self.points::<Int8>(vectors).scorer(query).gather(rows, out);
            }
            _ => out.fill(f32::NAN),
        }
    }

    fn points<N: Narrow>(&self, rows: Rows<'a, N::Bits>) -> NumberPoints<'a, N> {
        NumberPoints {
            metric: self.metric,
            rows,
            inverse_norms: self.inverse_norms,
        }
    }
}
