//! Distances of a metric over stored rows: the one place where metric, kernels and stored inverse norms meet.

use rayon::prelude::*;

use crate::kernels::{Kernels, TILE, kernels};
use crate::metric::{Metric, cosine_distance, inverse_norm, ip_distance};
use crate::vectors::Vectors;

/// Stored rows under a metric. For COSINE an index hands in `1 / |row|` for every row; without them norms are computed on
/// the way, in the same pass over the row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Space<'a> {
    pub(crate) metric: Metric,
    pub(crate) vectors: Vectors<'a>,
    inverse_norms: Option<&'a [f32]>,
    kernels: &'static Kernels,
}

/// One query against a [`Space`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scorer<'a> {
    space: Space<'a>,
    query: &'a [f32],
    inverse_query: f32,
}

/// `1 / |row|` for every row of `vectors`; 0 for zero vectors.
pub(crate) fn inverse_norms(vectors: Vectors<'_>) -> Vec<f32> {
    let kernels = kernels();
    let norm = |row: &[f32]| inverse_norm(kernels.dot(row, row));
    vectors
        .data()
        .par_chunks(vectors.dim())
        .with_min_len(4096)
        .map(norm)
        .collect()
}

impl<'a> Space<'a> {
    /// `inverse_norms` are used when there is one for every row.
    pub(crate) fn new(metric: Metric, vectors: Vectors<'a>, inverse_norms: Option<&'a [f32]>) -> Self {
        let inverse_norms =
            inverse_norms.filter(|norms| metric == Metric::Cosine && norms.len() == vectors.len());
        Self {
            metric,
            vectors,
            inverse_norms,
            kernels: kernels(),
        }
    }

    /// Scores `query`, which has the dimension of the rows.
    pub(crate) fn scorer<'q>(&self, query: &'q [f32]) -> Scorer<'q>
    where
        'a: 'q,
    {
        debug_assert_eq!(query.len(), self.vectors.dim());
        let inverse_query = match self.metric {
            Metric::L2 | Metric::Ip => 1.0,
            Metric::Cosine => inverse_norm(self.kernels.dot(query, query)),
        };
        Scorer {
            space: *self,
            query,
            inverse_query,
        }
    }

    /// Scores a stored row as the query.
    #[inline]
    pub(crate) fn row_scorer(&self, row: u32) -> Scorer<'a> {
        let query = self.vectors.row(row as usize);
        match self.inverse_of(row) {
            Some(inverse_query) => Scorer {
                space: *self,
                query,
                inverse_query,
            },
            None => self.scorer(query),
        }
    }

    #[inline]
    fn inverse_of(&self, row: u32) -> Option<f32> {
        match self.metric {
            Metric::L2 | Metric::Ip => Some(1.0),
            Metric::Cosine => self
                .inverse_norms
                .and_then(|norms| norms.get(row as usize).copied()),
        }
    }

    /// Distances of [`TILE`] queries, row-major, and `count` rows from `first` on, which may differ from exact ones in
    /// the last bits: `out[q * count + i]`. `inverse_queries` are the queries' inverse
    /// norms, read for COSINE only.
    pub(crate) fn tile(
        &self,
        queries: &[f32],
        inverse_queries: &[f32],
        first: usize,
        count: usize,
        out: &mut [f32],
    ) {
        let (dim, block) = (self.vectors.dim(), self.vectors.rows(first, count));
        if self.metric == Metric::L2 {
            return self.kernels.l2_tile(queries, dim, block, out);
        }
        self.kernels.dot_tile(queries, dim, block, out);
        match self.metric {
            Metric::L2 => {}
            Metric::Ip => out.iter_mut().for_each(|slot| *slot = ip_distance(*slot)),
            Metric::Cosine => {
                let stored = self
                    .inverse_norms
                    .and_then(|norms| norms.get(first..first + count));
                let computed: Vec<f32>;
                let inverse_rows = match stored {
                    Some(norms) => norms,
                    None => {
                        let inverse = |row: &[f32]| inverse_norm(self.kernels.dot(row, row));
                        computed = block.chunks_exact(dim).map(inverse).collect();
                        &computed
                    }
                };
                for (slots, &inverse_query) in out.chunks_exact_mut(count.max(1)).zip(inverse_queries) {
                    for (slot, &inverse_row) in slots.iter_mut().zip(inverse_rows) {
                        *slot = cosine_distance(*slot, inverse_query, inverse_row);
                    }
                }
            }
        }
        debug_assert_eq!(out.len(), TILE * count);
    }
}

impl Scorer<'_> {
    /// Distance to one row; infinite when there is no such row.
    #[inline]
    pub(crate) fn one(&self, row: u32) -> f32 {
        let stored = self.space.vectors.row(row as usize);
        if stored.is_empty() {
            return f32::INFINITY;
        }
        match self.space.metric {
            Metric::L2 => self.space.kernels.l2(self.query, stored),
            Metric::Ip => ip_distance(self.space.kernels.dot(self.query, stored)),
            Metric::Cosine => match self.space.inverse_of(row) {
                Some(inverse) => cosine_distance(
                    self.space.kernels.dot(self.query, stored),
                    self.inverse_query,
                    inverse,
                ),
                None => self.cosine_without_norms(stored),
            },
        }
    }

    fn cosine_without_norms(&self, stored: &[f32]) -> f32 {
        let (dot, square) = self.space.kernels.dot_square(self.query, stored);
        cosine_distance(dot, self.inverse_query, inverse_norm(square))
    }

    /// Distances to `rows` by number; equal to [`Scorer::one`] bit for bit.
    #[inline]
    pub(crate) fn gather(&self, rows: &[u32], out: &mut [f32]) {
        let kernels = self.space.kernels;
        match self.space.metric {
            Metric::L2 => kernels.l2_gather(self.query, self.space.vectors, rows, out),
            Metric::Ip => {
                kernels.dot_gather(self.query, self.space.vectors, rows, out);
                out.iter_mut().for_each(|slot| *slot = ip_distance(*slot));
            }
            Metric::Cosine if self.space.inverse_norms.is_some() => {
                kernels.dot_gather(self.query, self.space.vectors, rows, out);
                for (slot, &row) in out.iter_mut().zip(rows) {
                    let inverse = self.space.inverse_of(row).unwrap_or(0.0);
                    *slot = cosine_distance(*slot, self.inverse_query, inverse);
                }
            }
            Metric::Cosine => {
                for (slot, &row) in out.iter_mut().zip(rows) {
                    *slot = self.one(row);
                }
            }
        }
    }

    /// Distances to `out.len()` rows from `first` on; equal to [`Scorer::one`] bit for bit.
    pub(crate) fn block(&self, first: usize, out: &mut [f32]) {
        let (kernels, block) = (self.space.kernels, self.space.vectors.rows(first, out.len()));
        match self.space.metric {
            Metric::L2 => kernels.l2_block(self.query, block, out),
            Metric::Ip => {
                kernels.dot_block(self.query, block, out);
                out.iter_mut().for_each(|slot| *slot = ip_distance(*slot));
            }
            Metric::Cosine => match self
                .space
                .inverse_norms
                .and_then(|norms| norms.get(first..first + out.len()))
            {
                Some(inverse_rows) => {
                    kernels.dot_block(self.query, block, out);
                    for (slot, &inverse) in out.iter_mut().zip(inverse_rows) {
                        *slot = cosine_distance(*slot, self.inverse_query, inverse);
                    }
                }
                None => {
                    for (slot, stored) in out.iter_mut().zip(block.chunks_exact(self.query.len())) {
                        *slot = self.cosine_without_norms(stored);
                    }
                }
            },
        }
    }

    /// The query's `1 / |q|` under COSINE, 1 otherwise.
    pub(crate) fn inverse_query(&self) -> f32 {
        self.inverse_query
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn every_path_to_a_row_gives_the_same_bits() {
        let (dim, rows) = (37, 21);
        let mut rng = Rng::new(5);
        let data: Vec<f32> = (0..rows * dim).map(|_| rng.normal()).collect();
        let query: Vec<f32> = (0..dim).map(|_| rng.normal()).collect();
        let vectors = Vectors::new(&data, dim).unwrap();
        let norms = inverse_norms(vectors);
        for metric in [Metric::L2, Metric::Ip, Metric::Cosine] {
            let expected: Vec<f32> = (0..rows)
                .map(|row| metric.distance(&query, vectors.row(row)))
                .collect();
            for stored in [None, Some(norms.as_slice())] {
                let space = Space::new(metric, vectors, stored);
                let scorer = space.scorer(&query);
                let all: Vec<u32> = (0..rows as u32).collect();
                let (mut gathered, mut block) = (vec![0.0; rows], vec![0.0; rows]);
                scorer.gather(&all, &mut gathered);
                scorer.block(0, &mut block);
                assert_eq!(gathered, expected, "{metric} gather");
                assert_eq!(block, expected, "{metric} block");
                assert_eq!(
                    all.iter().map(|&row| scorer.one(row)).collect::<Vec<_>>(),
                    expected,
                    "{metric} one"
                );
                let between = space.row_scorer(3).one(4);
                assert_eq!(
                    between,
                    metric.distance(vectors.row(3), vectors.row(4)),
                    "{metric} between rows"
                );
            }
        }
    }
}
