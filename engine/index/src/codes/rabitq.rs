//! RaBitQ (Gao and Long, 2024; with more bits Gao et al., 2025): after a random rotation a residual's direction is replaced by
//! the nearest vector of a grid with `2^bits` points per dimension, and its length and the angle to that vector are kept.
//!
//! ```text
//!   r   residual, rotated            x̄_i = c_i - (2^bits - 1) / 2,  c_i in 0 .. 2^bits      1 bit: the signs, halved
//!   f = |r|² / <x̄, r>                <q, r>  ~  f <q, x̄>            without bias, see the paper's section 3.2
//! ```
//!
//! The first bit of every number is scanned as four bits to a table of 16 entries; where there are more, a row whose lower
//! bound by the first bit gets below the bound is estimated again with all of them. The bound holds for all but a few of a
//! thousand rows.

use super::level::{Level, on_level};
use super::packing::Packing;
use super::rotation::Rotation;
use super::{Operand, planes, round_tables};
use crate::blob::Array;

/// Standard deviations that a bound allows for (the paper's epsilon zero).
const SURE: f32 = 1.9;
/// Scales that are tried for a grid of more than one bit.
const SCALES: usize = 18;
const LANES: usize = 16;

/// A rotation and a number of bits.
#[derive(Debug)]
pub(crate) struct Rabitq {
    bits: u32,
    rotation: Rotation,
}

/// What is kept of a row besides its bits.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Factors {
    /// `<x̄, base>` times `f`, by the first bit.
    pub(crate) base: f32,
    /// `f` by the first bit.
    pub(crate) f: f32,
    /// What the estimate of `<q, r>` by the first bit may be off by, for `|q| = 1`.
    pub(crate) err: f32,
    /// `<x̄, base>` times `f`, and `f`, by all bits.
    pub(crate) full: [f32; 2],
    /// `|r|²`.
    pub(crate) square: f32,
}

/// A query, rotated.
#[derive(Debug, Clone, Default)]
pub(crate) struct RabitqQuery {
    pub(crate) operand: Operand,
    rotated: Vec<f32>,
    sum: f32,
}

/// `(<x̄, r>, |x̄|²)` of the grid point of `row` at this scale: its numbers have steps of 1, up to `top` and a half.
#[inline(always)]
fn fit_body(row: &[f32], scale: f32, top: f32) -> (f32, f32) {
    let (mut dots, mut squares) = ([0.0f32; LANES], [0.0f32; LANES]);
    for chunk in row.chunks_exact(LANES) {
        for ((&value, dot), square) in chunk.iter().zip(&mut dots).zip(&mut squares) {
            let size = value.abs();
            let step = (size * scale).floor();
            let step = if step < top { step } else { top } + 0.5;
            *dot += size * step;
            *square += step * step;
        }
    }
    (dots.iter().sum(), squares.iter().sum())
}

on_level! {
    fn fit(level, row: &[f32], scale: f32, top: f32) -> (f32, f32) = fit_body
}

impl Rabitq {
    /// A quantizer of `bits` (1 to 9) bits per dimension, drawn from `seed`.
    pub(crate) fn new(dim: usize, bits: u32, seed: u64) -> Self {
        Self {
            bits,
            rotation: Rotation::new(Self::padded(dim), seed),
        }
    }

    /// A quantizer whose rotation was stored.
    pub(crate) fn stored(dim: usize, bits: u32, signs: Array<u32>) -> Self {
        Self {
            bits,
            rotation: Rotation::stored(Self::padded(dim), signs),
        }
    }

    /// Dimensions after the rotation: whole words.
    pub(crate) fn padded(dim: usize) -> usize {
        dim.next_multiple_of(LANES)
    }

    pub(crate) fn rotation(&self) -> &Rotation {
        &self.rotation
    }

    pub(crate) fn packing(&self) -> Packing {
        Packing::Nibbles {
            parts: self.rotation.dim() / 4,
        }
    }

    /// Bytes of a row's bits after the first.
    pub(crate) fn plane_bytes(&self) -> usize {
        (self.bits - 1) as usize * self.rotation.dim() / 8
    }

    /// Encodes `row`, a residual that is rotated already, for lists whose rotated base is `base`. The first bits go to `code`,
    /// four to a number, the others to the end of `planes`.
    pub(crate) fn encode(
        &self,
        row: &[f32],
        base: &[f32],
        code: &mut Vec<u8>,
        planes: &mut Vec<u8>,
    ) -> Factors {
        code.clear();
        code.extend(row.chunks_exact(4).map(|four| {
            let bits = four.iter().enumerate();
            bits.fold(0u8, |nibble, (lane, &value)| {
                nibble | u8::from(value >= 0.0) << lane
            })
        }));
        let square: f64 = row.iter().map(|&value| f64::from(value) * f64::from(value)).sum();
        let with_base = |point: &dyn Fn(usize, f32) -> f64| -> f64 {
            let pairs = row.iter().zip(base).enumerate();
            pairs
                .map(|(at, (&value, &base))| point(at, value) * f64::from(base))
                .sum()
        };
        let sign = |_: usize, value: f32| if value >= 0.0 { 0.5 } else { -0.5 };
        let dot: f64 = row.iter().map(|&value| f64::from(value.abs()) / 2.0).sum();
        let f = factor(square, dot);
        // The cosine of the residual and its signs; |x̄|² is a quarter of the dimensions.
        let dim = row.len() as f64;
        let cosine = if square > 0.0 {
            (dot / (square * dim / 4.0).sqrt()).clamp(1e-6, 1.0)
        } else {
            1.0
        };
        let sine = (1.0 - cosine * cosine).max(0.0).sqrt();
        let err = f64::from(SURE) * square.sqrt() * sine / cosine / (dim - 1.0).max(1.0).sqrt();
        let mut factors = Factors {
            base: (f * with_base(&sign)) as f32,
            f: f as f32,
            err: err as f32,
            full: [0.0; 2],
            square: square as f32,
        };
        if self.bits > 1 {
            let numbers = self.grid(row);
            let middle = (f64::from(1u32 << self.bits) - 1.0) / 2.0;
            let point = |at: usize| numbers.get(at).map_or(0.0, |&number| f64::from(number) - middle);
            let dot: f64 = row
                .iter()
                .enumerate()
                .map(|(at, &value)| point(at) * f64::from(value))
                .sum();
            let f = factor(square, dot);
            factors.full = [(f * with_base(&|at, _| point(at))) as f32, f as f32];
            planes::append(&numbers, self.bits - 1, planes);
        }
        factors
    }

    /// The number of every dimension, `0 .. 2^bits`, of the grid point whose direction is nearest to that of `row`.
    fn grid(&self, row: &[f32]) -> Vec<u16> {
        let level = Level::best();
        let half = 1u16 << (self.bits - 1);
        let top = f32::from(half - 1);
        let largest = row.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
        // From a grid that reaches the largest value on, to one that reaches half of it.
        let start = f32::from(half) / largest;
        let mut best = (f32::NEG_INFINITY, start);
        for step in 0..SCALES {
            let scale = start * (1.0 + step as f32 / SCALES as f32);
            let (dot, square) = fit(level, row, scale, top);
            let cosine = dot / square.sqrt();
            if cosine > best.0 {
                best = (cosine, scale);
            }
        }
        let scale = best.1;
        row.iter()
            .map(|&value| {
                let step = (value.abs() * scale).floor().min(top) as u16;
                if value >= 0.0 {
                    half + step
                } else {
                    half - 1 - step
                }
            })
            .collect()
    }

    /// `query` as a scan takes it, rounded to `bits` bits per dimension first; 0: not rounded. The operand's sum is the
    /// inner product with the first bits less one half.
    pub(crate) fn query(&self, query: &[f32], bits: u32) -> RabitqQuery {
        let mut rotated = Vec::new();
        self.rotation.apply(query, &mut rotated);
        if bits > 0 {
            round_query(&mut rotated, bits);
        }
        let sum: f64 = rotated.iter().map(|&value| f64::from(value)).sum();
        let mut tables = vec![0.0f32; rotated.len() / 4 * 16];
        for (four, table) in rotated.chunks_exact(4).zip(tables.chunks_exact_mut(16)) {
            for (lane, &value) in four.iter().enumerate() {
                let bit = 1 << lane;
                for entry in bit..2 * bit {
                    table[entry] = table[entry - bit] + value;
                }
            }
        }
        let mut operand = round_tables(self.packing(), &tables, 16);
        operand.bias -= (sum / 2.0) as f32;
        RabitqQuery {
            operand,
            rotated,
            sum: sum as f32,
        }
    }

    /// `<q, x̄>` by all bits, from that by the first bit and the row's planes.
    #[inline]
    pub(crate) fn full_product(&self, level: Level, query: &RabitqQuery, first: f32, planes: &[u8]) -> f32 {
        let ones = first + query.sum / 2.0;
        let half = (1u32 << (self.bits - 1)) as f32;
        half * ones + planes::dot(level, planes, &query.rotated) - (half - 0.5) * query.sum
    }
}

/// `|r|² / <x̄, r>`, 0 for a residual of length 0.
fn factor(square: f64, dot: f64) -> f64 {
    if dot > 0.0 { square / dot } else { 0.0 }
}

/// Rounds to `2^bits` numbers from the smallest to the largest.
fn round_query(query: &mut [f32], bits: u32) {
    let low = query.iter().copied().fold(f32::INFINITY, f32::min);
    let high = query.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let step = (high - low) / ((1u32 << bits) - 1) as f32;
    if step > 0.0 {
        for value in query {
            *value = low + ((*value - low) / step).round() * step;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    /// Estimates of inner products with unit residuals of `dim` dimensions: root of the mean square error, and the part of
    /// them that the bound holds for.
    fn errors(dim: usize, bits: u32, query_bits: u32) -> (f64, f64) {
        let quantizer = Rabitq::new(dim, bits, 5);
        let packing = quantizer.packing();
        let mut rng = Rng::new(7);
        let mut unit_vector = || -> Vec<f32> {
            let row: Vec<f32> = (0..dim).map(|_| rng.normal()).collect();
            let norm = row.iter().map(|value| value * value).sum::<f32>().sqrt();
            row.iter().map(|value| value / norm).collect()
        };
        let (mut sum, mut held, mut count) = (0.0, 0.0, 0.0);
        let (mut code, mut rotated) = (Vec::new(), Vec::new());
        for _ in 0..40 {
            let query = unit_vector();
            let prepared = quantizer.query(&query, query_bits);
            let mut unit = vec![0; packing.unit_bytes()];
            let mut planes = Vec::new();
            let rows: Vec<(f64, Factors)> = (0..packing.unit())
                .map(|lane| {
                    let row = unit_vector();
                    quantizer.rotation().apply(&row, &mut rotated);
                    let base = vec![0.0; rotated.len()];
                    let factors = quantizer.encode(&rotated, &base, &mut code, &mut planes);
                    packing.put(&mut unit, lane, &code);
                    let dot = row.iter().zip(&query).map(|(&a, &b)| f64::from(a) * f64::from(b));
                    (dot.sum(), factors)
                })
                .collect();
            let mut sums = vec![0; packing.unit()];
            let operand = &prepared.operand;
            packing.sums(Level::best(), &unit, &operand.bytes, &mut sums);
            for (lane, (&sum_of_row, (expected, factors))) in sums.iter().zip(&rows).enumerate() {
                let first = operand.scale * sum_of_row as f32 + operand.bias;
                let estimate = f64::from(factors.f * first);
                held += f64::from(u8::from((estimate - expected).abs() <= f64::from(factors.err)));
                let bytes = quantizer.plane_bytes();
                let estimate = if bits == 1 {
                    estimate
                } else {
                    let planes = &planes[lane * bytes..(lane + 1) * bytes];
                    let full = quantizer.full_product(Level::best(), &prepared, first, planes);
                    f64::from(factors.full[1] * full)
                };
                sum += (estimate - expected) * (estimate - expected);
                count += 1.0;
            }
        }
        ((sum / count).sqrt(), held / count)
    }

    #[test]
    fn errors_halve_with_every_bit_and_stay_within_the_bound() {
        // 1 bit: the paper's 0.75 / sqrt(dim) or so.
        let (one, held) = errors(128, 1, 0);
        assert!(one < 0.85 / 128f64.sqrt(), "{one}");
        assert!(held > 0.93, "{held}");
        let mut last = one;
        for bits in 2..=5 {
            let (error, _) = errors(128, bits, 0);
            assert!(error < 0.65 * last, "{bits} bits: {error} after {last}");
            last = error;
        }
        let (eight, _) = errors(100, 8, 0);
        assert!(eight < 0.006, "{eight}");
        let (nine, _) = errors(100, 9, 0);
        assert!(nine < 0.006, "{nine}");
    }

    #[test]
    fn rounding_the_query_costs_more_the_fewer_bits_it_has() {
        let error = |bits| errors(128, 5, bits).0;
        let (none, eight, four, one) = (error(0), error(8), error(4), error(1));
        assert!(
            eight < 1.2 * none && four < one && one > 2.0 * none,
            "{none} {eight} {four} {one}"
        );
    }

    #[test]
    fn a_residual_of_length_zero_and_huge_ones_have_finite_or_zero_factors() {
        for bits in [1, 4] {
            let quantizer = Rabitq::new(16, bits, 1);
            let (mut code, mut planes) = (Vec::new(), Vec::new());
            let factors = quantizer.encode(&[0.0; 16], &[1.0; 16], &mut code, &mut planes);
            assert_eq!((factors.f, factors.base, factors.square), (0.0, 0.0, 0.0));
            quantizer.encode(&[f32::MAX; 16], &[1.0; 16], &mut code, &mut planes);
            quantizer.encode(&[f32::INFINITY; 16], &[1.0; 16], &mut code, &mut planes);
            assert_eq!(planes.len(), 3 * quantizer.plane_bytes());
        }
    }
}
