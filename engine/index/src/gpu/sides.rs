//! Rows and queries of one type, and what the processor knows about them: exact distances, and how far to trust a device.

use super::backend::Comparison;
use super::slack::Slack;
use super::units::{query_units, shape_of, widened};
use crate::any_metric::AnyMetric;
use crate::bitset::Bitset;
use crate::index::SearchStats;
use crate::kernels::{kernels, narrow};
use crate::metric::{Metric, inverse_norm};
use crate::neighbor::Neighbor;
use crate::panels::{SAMPLE_ROWS, lie_far_out};
use crate::scorer::Space;
use crate::typed::{ElementType, Scorer, VectorRef, VectorsRef, exact_search_any_batch};
use crate::vectors::Vectors;

/// Rows, queries, and how they are compared.
#[derive(Clone, Copy)]
pub(super) struct Sides<'a> {
    pub(super) metric: AnyMetric,
    pub(super) comparison: Comparison,
    pub(super) element: ElementType,
    pub(super) dim: usize,
    pub(super) vectors: VectorsRef<'a>,
    pub(super) queries: VectorsRef<'a>,
}

impl<'a> Sides<'a> {
    /// `None` when rows and queries are not alike, or of a type that has not the metric or no place on a device.
    pub(super) fn new(metric: AnyMetric, vectors: VectorsRef<'a>, queries: VectorsRef<'a>) -> Option<Self> {
        Self::compared(metric, vectors, queries, || far_out(vectors))
    }

    /// The same, with floats of any width compared by differences under L2, however near to the origin they are.
    pub(super) fn by_differences(
        metric: AnyMetric,
        vectors: VectorsRef<'a>,
        queries: VectorsRef<'a>,
    ) -> Option<Self> {
        Self::compared(metric, vectors, queries, || true)
    }

    fn compared(
        metric: AnyMetric,
        vectors: VectorsRef<'a>,
        queries: VectorsRef<'a>,
        far: impl FnOnce() -> bool,
    ) -> Option<Self> {
        let (element, dim) = shape_of(vectors)?;
        let alike = shape_of(queries) == Some((element, dim));
        if !alike || !element.has(metric) || !element.has_room_for(dim) {
            return None;
        }
        let far = metric == Metric::L2 && !element.is_exact() && far();
        Some(Self {
            metric,
            comparison: Comparison::of(metric, far)?,
            element,
            dim,
            vectors,
            queries,
        })
    }

    /// Units of a row and of a query on a device.
    pub(super) fn stride(&self) -> usize {
        self.element.stride(self.dim)
    }

    /// The units and the terms of some queries, by number, as a device takes them.
    pub(super) fn query_words(&self, queries: &[u32]) -> (Vec<u32>, Vec<u32>) {
        let rows = || queries.iter().map(|&query| self.queries.row(query as usize));
        let units = rows().flat_map(|query| query_units(query, self.stride()));
        (
            units.collect(),
            rows().map(|query| self.query_term(query)).collect(),
        )
    }

    fn query_term(&self, query: VectorRef<'_>) -> u32 {
        let cosine = self.metric == Metric::Cosine;
        match query {
            VectorRef::Bits(bytes) => bytes.iter().map(|byte| byte.count_ones()).sum(),
            VectorRef::Int8s(values) => match narrow::int8_dot(values, values) {
                square if cosine => inverse_norm(square as f32).to_bits(),
                square => u32::try_from(square).unwrap_or(u32::MAX),
            },
            VectorRef::Floats(_)
            | VectorRef::Halves(_)
            | VectorRef::BFloat16s(_)
            | VectorRef::Sparse(_)
            | VectorRef::Terms(_)
            | VectorRef::List(_) => match square_of(query) {
                square if cosine => inverse_norm(square).to_bits(),
                square => square.to_bits(),
            },
        }
    }

    /// Exact distances of a query to rows by number; infinite for rows that are not there.
    pub(super) fn distances(&self, query: u32, rows: &[u32], out: &mut [f32]) {
        let query = self.queries.row(query as usize);
        match (self.metric, self.vectors, query) {
            (AnyMetric::Numbers(metric), VectorsRef::Floats(vectors), VectorRef::Floats(query)) => {
                Space::new(metric, vectors, None).scorer(query).gather(rows, out);
            }
            _ => match Scorer::new(self.metric, query) {
                Ok(scorer) => {
                    for (slot, &row) in out.iter_mut().zip(rows) {
                        *slot = scorer.one(self.vectors.row(row as usize));
                    }
                }
                Err(_) => out.fill(f32::INFINITY),
            },
        }
    }

    /// How far distances of a query on a device can be trusted, over rows of squared lengths up to `largest`.
    pub(super) fn slack(&self, query: u32, largest: f32) -> Slack {
        if self.element.is_exact() {
            return Slack::NONE;
        }
        let square = square_of(self.queries.row(query as usize));
        Slack::new(self.comparison, self.dim, square, largest)
    }

    /// Exact search for some queries, by number, on the processor.
    pub(super) fn exact(&self, queries: &[u32], k: usize, allow: Option<&Bitset>) -> Vec<Vec<Neighbor>> {
        let queries: Vec<VectorRef<'_>> = queries
            .iter()
            .map(|&query| self.queries.row(query as usize))
            .collect();
        let stats = &mut SearchStats::default();
        exact_search_any_batch(self.metric, self.vectors, &queries, k, allow, stats).unwrap_or_default()
    }
}

/// The squared length of a vector of floats.
fn square_of(vector: VectorRef<'_>) -> f32 {
    match vector {
        VectorRef::Floats(values) => kernels().dot(values, values),
        VectorRef::Halves(_)
        | VectorRef::BFloat16s(_)
        | VectorRef::Int8s(_)
        | VectorRef::Bits(_)
        | VectorRef::Sparse(_)
        | VectorRef::Terms(_)
        | VectorRef::List(_) => {
            let values = widened(vector);
            kernels().dot(&values, &values)
        }
    }
}

/// Whether rows of floats are much longer than their differences.
fn far_out(vectors: VectorsRef<'_>) -> bool {
    if let VectorsRef::Floats(vectors) = vectors {
        return lie_far_out(vectors);
    }
    let step = (vectors.len() / SAMPLE_ROWS).max(1);
    let rows = (0..vectors.len()).step_by(step).take(SAMPLE_ROWS);
    let sample: Vec<f32> = rows.flat_map(|row| widened(vectors.row(row))).collect();
    let dim = shape_of(vectors).map_or(1, |(_, dim)| dim);
    Vectors::new(&sample, dim).is_ok_and(lie_far_out)
}
