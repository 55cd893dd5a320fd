//! Stored vectors of other types than 32-bit floats, as a graph sees them.
//!
//! Distances are those of [`super::Scorer`], bit for bit, so that a row found by walking has the distance that a scan
//! gives it.

use rayon::prelude::*;

use super::scorer::l2_distance;
use super::{Rows, VectorsRef};
use crate::any_metric::{AnyMetric, BitMetric};
use crate::codes::rows::RowSource;
use crate::hnsw::{Distances, GatheredCompanions, Points, fingerprint};
use crate::kernels::narrow::{BFloat16, Format, Half};
use crate::kernels::{bits, narrow};
use crate::metric::{Metric, cosine_distance, inverse_norm, ip_distance};

/// Numbers narrower than 32 bits, and their kernels.
pub(crate) trait Narrow: Send + Sync + 'static {
    /// A number as it is stored.
    type Bits: Copy + Send + Sync;

    fn widen(bits: Self::Bits) -> f32;
    fn l2(a: &[Self::Bits], b: &[Self::Bits]) -> f32;
    fn dot(a: &[Self::Bits], b: &[Self::Bits]) -> f32;
    fn l2_gather(query: &[Self::Bits], data: &[Self::Bits], rows: &[u32], out: &mut [f32]);
    fn dot_gather(query: &[Self::Bits], data: &[Self::Bits], rows: &[u32], out: &mut [f32]);
}

macro_rules! sixteen_bits {
    ($($format:ty),*) => {$(
        impl Narrow for $format {
            type Bits = u16;

            #[inline]
            fn widen(bits: u16) -> f32 {
                <$format as Format>::widen(bits)
            }

            #[inline]
            fn l2(a: &[u16], b: &[u16]) -> f32 {
                narrow::l2::<$format, $format>(a, b)
            }

            #[inline]
            fn dot(a: &[u16], b: &[u16]) -> f32 {
                narrow::dot::<$format, $format>(a, b)
            }

            #[inline]
            fn l2_gather(query: &[u16], data: &[u16], rows: &[u32], out: &mut [f32]) {
                narrow::l2_gather::<$format, $format>(query, data, rows, out);
            }

            #[inline]
            fn dot_gather(query: &[u16], data: &[u16], rows: &[u32], out: &mut [f32]) {
                narrow::dot_gather::<$format, $format>(query, data, rows, out);
            }
        }
    )*};
}
sixteen_bits!(Half, BFloat16);

/// Signed 8-bit integers.
pub(crate) struct Int8;

impl Narrow for Int8 {
    type Bits = i8;

    #[inline]
    fn widen(bits: i8) -> f32 {
        f32::from(bits)
    }

    #[inline]
    fn l2(a: &[i8], b: &[i8]) -> f32 {
        narrow::int8_l2(a, b) as f32
    }

    #[inline]
    fn dot(a: &[i8], b: &[i8]) -> f32 {
        narrow::int8_dot(a, b) as f32
    }

    #[inline]
    fn l2_gather(query: &[i8], data: &[i8], rows: &[u32], out: &mut [f32]) {
        narrow::int8_l2_gather(query, data, rows, out);
    }

    #[inline]
    fn dot_gather(query: &[i8], data: &[i8], rows: &[u32], out: &mut [f32]) {
        narrow::int8_dot_gather(query, data, rows, out);
    }
}

/// `1 / |row|` for every row; 0 for zero vectors.
pub(crate) fn inverse_norms<N: Narrow>(rows: Rows<'_, N::Bits>) -> Vec<f32> {
    let norm = |row: &[N::Bits]| inverse_norm(N::dot(row, row));
    rows.data()
        .par_chunks(rows.width())
        .with_min_len(4096)
        .map(norm)
        .collect()
}

/// Inverse norms of rows of any type, where the metric needs them.
pub(super) fn norms_of(metric: AnyMetric, vectors: VectorsRef<'_>) -> Vec<f32> {
    match vectors {
        _ if metric != Metric::Cosine => Vec::new(),
        VectorsRef::Halves(rows) => inverse_norms::<Half>(rows),
        VectorsRef::BFloat16s(rows) => inverse_norms::<BFloat16>(rows),
        VectorsRef::Int8s(rows) => inverse_norms::<Int8>(rows),
        VectorsRef::Floats(_) | VectorsRef::Bits(_) | VectorsRef::Sparse(_) | VectorsRef::Lists(_) => {
            Vec::new()
        }
    }
}

/// Rows of numbers under a metric; one inverse norm for each under COSINE.
#[derive(Debug)]
pub(crate) struct NumberPoints<'a, N: Narrow> {
    pub(crate) metric: Metric,
    pub(crate) rows: Rows<'a, N::Bits>,
    pub(crate) inverse_norms: &'a [f32],
}

/// One vector of numbers against the rows.
#[derive(Debug)]
pub(crate) struct NumberScorer<'a, N: Narrow> {
    points: &'a NumberPoints<'a, N>,
    query: &'a [N::Bits],
    inverse_query: f32,
}

impl<N: Narrow> NumberPoints<'_, N> {
    /// Scores `query`, which has the dimension of the rows.
    pub(crate) fn scorer<'s>(&'s self, query: &'s [N::Bits]) -> NumberScorer<'s, N> {
        let inverse_query = match self.metric {
            Metric::L2 | Metric::Ip => 1.0,
            Metric::Cosine => inverse_norm(N::dot(query, query)),
        };
        NumberScorer {
            points: self,
            query,
            inverse_query,
        }
    }

    fn inverse_of(&self, row: u32) -> f32 {
        self.inverse_norms.get(row as usize).copied().unwrap_or(0.0)
    }
}

impl<N: Narrow> RowSource for NumberPoints<'_, N> {
    fn dim(&self) -> usize {
        self.rows.width()
    }

    fn len(&self) -> usize {
        self.rows.len()
    }

    fn read(&self, row: u32, out: &mut Vec<f32>) {
        out.clear();
        out.extend(self.rows.row(row as usize).iter().map(|&bits| N::widen(bits)));
    }
}

impl<N: Narrow> Points for NumberPoints<'_, N> {
    type Row<'s>
        = NumberScorer<'s, N>
    where
        Self: 's;
    type Companions<'s>
        = GatheredCompanions<'s, Self>
    where
        Self: 's;

    fn len(&self) -> usize {
        self.rows.len()
    }

    fn row(&self, row: u32) -> NumberScorer<'_, N> {
        NumberScorer {
            points: self,
            query: self.rows.row(row as usize),
            inverse_query: self.inverse_of(row),
        }
    }

    fn companions(&self, rows: &[u32]) -> GatheredCompanions<'_, Self> {
        GatheredCompanions::new(self, rows)
    }

    fn fingerprint(&self, row: u32) -> u64 {
        let values = self.rows.row(row as usize).iter();
        fingerprint(values.map(|&bits| (N::widen(bits) + 0.0).to_bits()))
    }
}

impl<N: Narrow> Distances for NumberScorer<'_, N> {
    fn one(&self, row: u32) -> f32 {
        let stored = self.points.rows.row(row as usize);
        if stored.is_empty() {
            return f32::INFINITY;
        }
        match self.points.metric {
            Metric::L2 => l2_distance(N::l2(self.query, stored)),
            Metric::Ip => ip_distance(N::dot(self.query, stored)),
            Metric::Cosine => {
                let inverse = self.points.inverse_of(row);
                cosine_distance(N::dot(self.query, stored), self.inverse_query, inverse)
            }
        }
    }

    fn gather(&self, rows: &[u32], out: &mut [f32]) {
        let data = self.points.rows.data();
        match self.points.metric {
            Metric::L2 => {
                N::l2_gather(self.query, data, rows, out);
                out.iter_mut().for_each(|slot| *slot = l2_distance(*slot));
            }
            Metric::Ip => {
                N::dot_gather(self.query, data, rows, out);
                out.iter_mut().for_each(|slot| *slot = ip_distance(*slot));
            }
            Metric::Cosine => {
                N::dot_gather(self.query, data, rows, out);
                for (slot, &row) in out.iter_mut().zip(rows) {
                    *slot = cosine_distance(*slot, self.inverse_query, self.points.inverse_of(row));
                }
            }
        }
    }
}

/// Rows of bits under a metric.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BitPoints<'a> {
    pub(crate) metric: BitMetric,
    pub(crate) rows: Rows<'a, u8>,
}

/// One vector of bits against the rows.
#[derive(Debug)]
pub(crate) struct BitScorer<'a> {
    points: BitPoints<'a>,
    query: &'a [u8],
}

impl<'a> BitPoints<'a> {
    /// Scores `query`, which has the dimension of the rows.
    pub(crate) fn scorer(self, query: &'a [u8]) -> BitScorer<'a> {
        BitScorer { points: self, query }
    }
}

impl Points for BitPoints<'_> {
    type Row<'s>
        = BitScorer<'s>
    where
        Self: 's;
    type Companions<'s>
        = GatheredCompanions<'s, Self>
    where
        Self: 's;

    fn len(&self) -> usize {
        self.rows.len()
    }

    fn row(&self, row: u32) -> BitScorer<'_> {
        self.scorer(self.rows.row(row as usize))
    }

    fn companions(&self, rows: &[u32]) -> GatheredCompanions<'_, Self> {
        GatheredCompanions::new(self, rows)
    }

    fn fingerprint(&self, row: u32) -> u64 {
        fingerprint(self.rows.row(row as usize).iter().map(|&byte| u32::from(byte)))
    }
}

impl Distances for BitScorer<'_> {
    fn one(&self, row: u32) -> f32 {
        let stored = self.points.rows.row(row as usize);
        if stored.is_empty() {
            return f32::INFINITY;
        }
        self.points.metric.distance(self.query, stored)
    }

    fn gather(&self, rows: &[u32], out: &mut [f32]) {
        let data = self.points.rows.data();
        match self.points.metric {
            BitMetric::Hamming => bits::differing_gather(self.query, data, rows, out),
            BitMetric::Jaccard => bits::jaccard_gather(self.query, data, rows, out),
            BitMetric::MinHash(metric) => metric.gather(self.query, data, rows, out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use crate::typed::{Scorer, VectorRef};

    const ROWS: usize = 40;

    /// Both ways to a distance, and the one that needs no graph.
    fn check(
        points: &impl Points,
        query: &impl Distances,
        metric: AnyMetric,
        vectors: VectorsRef<'_>,
        of: VectorRef<'_>,
    ) {
        let all: Vec<u32> = (0..ROWS as u32).collect();
        let expected = |of: VectorRef<'_>| -> Vec<f32> {
            let scorer = Scorer::new(metric, of).unwrap();
            let distance = |row: &u32| scorer.distance(vectors.row(*row as usize)).unwrap();
            all.iter().map(distance).collect()
        };
        let mut out = vec![0.0; ROWS];
        query.gather(&all, &mut out);
        assert_eq!(out, expected(of), "{metric} gather");
        let one: Vec<f32> = all.iter().map(|row| query.one(*row)).collect();
        assert_eq!(one, expected(of), "{metric} one");
        points.row(7).gather(&all, &mut out);
        assert_eq!(out, expected(vectors.row(7)), "{metric} of a row");
        assert_eq!(query.one(ROWS as u32), f32::INFINITY, "{metric}: no such row");
        assert_eq!(points.len(), ROWS);
    }

    fn check_numbers<'a, N: Narrow>(
        data: &'a [N::Bits],
        dim: usize,
        kind: fn(Rows<'a, N::Bits>) -> VectorsRef<'a>,
    ) {
        let (rows, queries) = data.split_at(ROWS * dim);
        let rows = Rows::new(rows, dim).unwrap();
        let norms = inverse_norms::<N>(rows);
        for metric in [Metric::L2, Metric::Ip, Metric::Cosine] {
            let points = NumberPoints::<N> {
                metric,
                rows,
                inverse_norms: &norms,
            };
            let of = kind(Rows::new(queries, dim).unwrap());
            check(
                &points,
                &points.scorer(queries),
                metric.into(),
                kind(rows),
                of.row(0),
            );
        }
    }

    #[test]
    fn every_type_has_the_distances_of_a_scan() {
        for dim in [1, 31, 32, 77] {
            let mut rng = Rng::new(dim as u64);
            let wide: Vec<f32> = (0..(ROWS + 1) * dim).map(|_| rng.normal()).collect();
            // Some row is zero.
            let wide: Vec<f32> = wide
                .iter()
                .enumerate()
                .map(|(at, value)| if at / dim == 3 { 0.0 } else { *value })
                .collect();
            let bfloats: Vec<u16> = wide.iter().map(|value| narrow::f32_to_bfloat16(*value)).collect();
            check_numbers::<BFloat16>(&bfloats, dim, VectorsRef::BFloat16s);
            let halves: Vec<u16> = wide
                .iter()
                .map(|value| (value.abs() * 3_000.0) as u16 | if *value < 0.0 { 0x8000 } else { 0 })
                .collect();
            check_numbers::<Half>(&halves, dim, VectorsRef::Halves);
            let integers: Vec<i8> = wide.iter().map(|value| (value * 40.0) as i8).collect();
            check_numbers::<Int8>(&integers, dim, VectorsRef::Int8s);
            let bytes: Vec<u8> = wide.iter().map(|value| (value * 100.0) as i32 as u8).collect();
            let (rows, query) = bytes.split_at(ROWS * dim);
            let rows = Rows::new(rows, dim).unwrap();
            for metric in [BitMetric::Hamming, BitMetric::Jaccard] {
                let points = BitPoints { metric, rows };
                let of = VectorRef::Bits(query);
                check(
                    &points,
                    &points.scorer(query),
                    metric.into(),
                    VectorsRef::Bits(rows),
                    of,
                );
            }
        }
    }
}
