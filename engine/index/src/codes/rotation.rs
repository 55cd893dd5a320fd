//! A random rotation in `O(d log d)`: four rounds of random signs and a Hadamard transform of the largest power of two of the
//! dimensions, at the start and at the end in turn; where that leaves dimensions out, halves are mixed in between (as the
//! RaBitQ library does, after Kac's walk).
//!
//! It keeps lengths and inner products. A vector's coordinates afterwards are of about the same size whatever they were
//! before, which is what a sign per coordinate needs.

use super::level::{Level, on_level};
use crate::blob::Array;
use crate::rng::Rng;

const ROUNDS: usize = 4;

/// Signs of all rounds.
#[derive(Debug)]
pub(crate) struct Rotation {
    dim: usize,
    /// Bit `round * dim + i`: whether coordinate `i` changes its sign.
    signs: Array<u32>,
    /// The same as factors.
    factors: Vec<f32>,
}

#[inline(always)]
fn hadamard_body(values: &mut [f32]) {
    let mut half = 1;
    while half < values.len() {
        for pair in values.chunks_exact_mut(2 * half) {
            let (left, right) = pair.split_at_mut(half);
            for (a, b) in left.iter_mut().zip(right) {
                (*a, *b) = (*a + *b, *a - *b);
            }
        }
        half *= 2;
    }
}

on_level! {
    /// The Hadamard transform of a power of two of numbers, not scaled.
    fn hadamard(level, values: &mut [f32]) = hadamard_body
}

impl Rotation {
    /// A rotation of `dim` coordinates, drawn from `seed`.
    pub(crate) fn new(dim: usize, seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let words = (ROUNDS * dim).div_ceil(32);
        let signs = (0..words).map(|_| rng.bits() as u32).collect();
        Self::stored(dim, Array::Owned(signs))
    }

    /// Words of [`Rotation::signs`] for `dim` coordinates.
    pub(crate) fn words(dim: usize) -> usize {
        (ROUNDS * dim).div_ceil(32)
    }

    /// A rotation of `dim` coordinates that was stored as [`Rotation::signs`].
    pub(crate) fn stored(dim: usize, signs: Array<u32>) -> Self {
        let factors = (0..ROUNDS * dim)
            .map(|at| {
                let word = signs.get(at / 32).copied().unwrap_or(0);
                if word >> (at % 32) & 1 == 1 { -1.0 } else { 1.0 }
            })
            .collect();
        Self { dim, signs, factors }
    }

    pub(crate) fn signs(&self) -> &[u32] {
        &self.signs
    }

    pub(crate) fn dim(&self) -> usize {
        self.dim
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.signs.bytes() + size_of_val(self.factors.as_slice())
    }

    /// Rotates `vector`, which may have fewer coordinates: the others are 0.
    pub(crate) fn apply(&self, vector: &[f32], out: &mut Vec<f32>) {
        let level = Level::best();
        out.clear();
        out.extend_from_slice(vector);
        out.resize(self.dim, 0.0);
        let whole = if self.dim == 0 {
            0
        } else {
            1usize << self.dim.ilog2()
        };
        let scale = (whole.max(1) as f32).sqrt().recip();
        for (round, factors) in self.factors.chunks_exact(self.dim.max(1)).enumerate() {
            for (value, factor) in out.iter_mut().zip(factors) {
                *value *= factor;
            }
            let start = if round % 2 == 0 { 0 } else { self.dim - whole };
            if let Some(part) = out.get_mut(start..start + whole) {
                hadamard(level, part);
                part.iter_mut().for_each(|value| *value *= scale);
            }
            if whole < self.dim {
                mix_halves(out);
            }
        }
    }
}

/// Turns every coordinate of the first half together with its fellow of the second half by 45 degrees.
fn mix_halves(values: &mut [f32]) {
    const TURN: f32 = std::f32::consts::FRAC_1_SQRT_2;
    let half = values.len() / 2;
    let (left, right) = values.split_at_mut(half);
    for (a, b) in left.iter_mut().zip(right) {
        (*a, *b) = ((*a + *b) * TURN, (*a - *b) * TURN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_products_are_kept_and_coordinates_spread() {
        let mut rng = Rng::new(1);
        for dim in [1usize, 2, 3, 16, 48, 64, 100, 128, 784, 1_000] {
            let rotation = Rotation::new(dim, 9);
            let (a, b): (Vec<f32>, Vec<f32>) = (0..dim).map(|_| (rng.normal(), rng.normal())).unzip();
            let (mut c, mut d) = (Vec::new(), Vec::new());
            rotation.apply(&a, &mut c);
            rotation.apply(&b, &mut d);
            let dot = |a: &[f32], b: &[f32]| -> f64 {
                a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
            };
            let size = (dot(&a, &a) * dot(&b, &b)).sqrt();
            assert!((dot(&a, &b) - dot(&c, &d)).abs() <= 1e-5 * size, "{dim}");
            assert!((dot(&a, &a) - dot(&c, &c)).abs() <= 1e-5 * dot(&a, &a), "{dim}");
            if dim >= 64 {
                // One coordinate alone is spread over all of them.
                let mut spike = vec![0.0f32; dim];
                spike[dim / 2] = 1.0;
                rotation.apply(&spike, &mut c);
                let largest = c.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
                assert!(largest < 5.0 / (dim as f32).sqrt(), "{dim}: {largest}");
            }
        }
    }

    #[test]
    fn missing_coordinates_are_zero() {
        let rotation = Rotation::new(64, 2);
        let (mut short, mut long) = (Vec::new(), Vec::new());
        rotation.apply(&[1.0, 2.0], &mut short);
        let mut padded = vec![1.0, 2.0];
        padded.resize(64, 0.0);
        rotation.apply(&padded, &mut long);
        assert_eq!(short, long);
    }
}
