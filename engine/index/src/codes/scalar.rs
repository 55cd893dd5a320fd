//! Scalar quantization: every dimension is divided into 16, 64 or 256 levels between the smallest and the largest value of
//! a sample; what lies outside takes the level at the end.
//!
//! ```text
//!   x_i  ~  x̂_i = low_i + step_i * c_i
//!   <q, x̂> = sum of q_i low_i  +  sum of (q_i step_i) c_i       the second with q_i step_i rounded to 8 bits
//! ```
//!
//! The rounding of the query is of the size of the rounding of the codes, and makes integers of the sum. Its mean error, the
//! part that meets the middle level, is known and taken back.

use super::level::{Level, on_level};
use super::packing::Packing;
use super::{LANES, Operand};
use crate::blob::Array;

/// The largest weight of a dimension.
const WEIGHT: f32 = 127.0;

/// Levels per dimension.
#[derive(Debug)]
pub(crate) struct ScalarQuantizer {
    bits: u32,
    lows: Array<f32>,
    steps: Array<f32>,
}

impl ScalarQuantizer {
    /// Levels of `bits` (4, 6 or 8) bits that cover `sample`, rows of `dim` floats.
    pub(crate) fn train(bits: u32, dim: usize, sample: &[f32]) -> Self {
        let mut lows = vec![f32::INFINITY; dim];
        let mut highs = vec![f32::NEG_INFINITY; dim];
        for row in sample.chunks_exact(dim.max(1)) {
            for ((low, high), &value) in lows.iter_mut().zip(&mut highs).zip(row) {
                *low = low.min(value);
                *high = high.max(value);
            }
        }
        let top = top(bits);
        for (low, high) in lows.iter_mut().zip(&mut highs) {
            if !(low.is_finite() && high.is_finite()) {
                // No rows, or values beyond what a difference can hold.
                (*low, *high) = (0.0, 0.0);
            }
            let step = (*high - *low) / top;
            *high = if step.is_finite() { step } else { 0.0 };
        }
        Self {
            bits,
            lows: Array::Owned(lows),
            steps: Array::Owned(highs),
        }
    }

    /// The same levels for every dimension: from the smallest value of all to the largest.
    pub(crate) fn uniform(self) -> Self {
        let top = top(self.bits);
        let ends = self.lows.iter().zip(self.steps.iter());
        let (low, high) = ends.fold(
            (f32::INFINITY, f32::NEG_INFINITY),
            |(low, high), (&own, &step)| (low.min(own), high.max(own + step * top)),
        );
        let step = (high - low) / top;
        let (low, step) = if step.is_finite() {
            (low, step.max(0.0))
        } else {
            (0.0, 0.0)
        };
        Self {
            bits: self.bits,
            lows: Array::Owned(vec![low; self.lows.len()]),
            steps: Array::Owned(vec![step; self.steps.len()]),
        }
    }

    /// Levels that were stored as [`ScalarQuantizer::arrays`]; they have equal lengths.
    pub(crate) fn stored(bits: u32, lows: Array<f32>, steps: Array<f32>) -> Self {
        Self { bits, lows, steps }
    }

    /// Smallest value and distance of levels of each dimension.
    pub(crate) fn arrays(&self) -> [&[f32]; 2] {
        [&self.lows, &self.steps]
    }

    pub(crate) fn packing(&self) -> Packing {
        Packing::Levels {
            bits: self.bits,
            dim: self.lows.len(),
        }
    }

    /// The level of every dimension of `row`.
    pub(crate) fn encode(&self, row: &[f32], code: &mut Vec<u8>) {
        let top = top(self.bits);
        code.clear();
        let levels = self.lows.iter().zip(self.steps.iter());
        code.extend(row.iter().zip(levels).map(|(&value, (&low, &step))| {
            let level = if step > 0.0 { (value - low) / step } else { 0.0 };
            (level + 0.5).clamp(0.0, top) as u8
        }));
    }

    /// The vector that a code stands for.
    pub(crate) fn decode(&self, code: &[u8], row: &mut Vec<f32>) {
        row.clear();
        let levels = self.lows.iter().zip(self.steps.iter());
        row.extend(
            code.iter()
                .zip(levels)
                .map(|(&level, (&low, &step))| low + step * f32::from(level)),
        );
    }

    /// `query` as a scan takes it.
    pub(crate) fn operand(&self, query: &[f32]) -> Operand {
        let (weights, scale, bias) = self.weights(query);
        Operand {
            bytes: self.packing().operand_of_weights(&weights),
            scale,
            bias,
        }
    }

    /// Weights of the dimensions, scale and bias: `<q, x̂> ~ scale * sum of weights times levels + bias`.
    pub(crate) fn weights(&self, query: &[f32]) -> (Vec<i8>, f32, f32) {
        let level = Level::best();
        let scale = largest_product(level, query, &self.steps) / WEIGHT;
        let inverse = if scale > 0.0 { scale.recip() } else { 0.0 };
        let mut weights = vec![0i8; query.len()];
        weigh(level, query, &self.steps, inverse, &mut weights);
        let middle = top(self.bits) / 2.0;
        let bias = constant(level, query, [&self.lows, &self.steps], &weights, [scale, middle]);
        (weights, scale, bias)
    }

    /// Bits of a level's number.
    pub(crate) fn bits(&self) -> u32 {
        self.bits
    }
}

#[inline(always)]
fn largest_body(query: &[f32], steps: &[f32]) -> f32 {
    let mut largest = [0.0f32; LANES];
    let ((queries, query), (all_steps, steps)) = (query.as_chunks::<LANES>(), steps.as_chunks::<LANES>());
    for (query, steps) in queries.iter().zip(all_steps) {
        // Of a known length: the sixteen stay in registers.
        for (lane, largest) in largest.iter_mut().enumerate() {
            let product = (query[lane] * steps[lane]).abs();
            *largest = if product > *largest { product } else { *largest };
        }
    }
    for ((&q, &step), largest) in query.iter().zip(steps).zip(&mut largest) {
        let product = (q * step).abs();
        *largest = if product > *largest { product } else { *largest };
    }
    largest.iter().copied().fold(0.0, f32::max)
}

#[inline(always)]
fn weigh_body(query: &[f32], steps: &[f32], inverse: f32, weights: &mut [i8]) {
    for ((&q, &step), weight) in query.iter().zip(steps).zip(weights) {
        // Truncation of a positive number that is half too large rounds; what is no number gives some weight.
        let number = q * step * inverse + 128.5;
        let number = if number > 0.0 { number } else { 0.0 };
        let number = if number < 255.0 { number } else { 255.0 };
        // SAFETY: a number from 0 to 255. A cast that saturates by itself is not made with whole registers.
        *weight = (unsafe { number.to_int_unchecked::<i32>() } - 128) as i8;
    }
}

/// `sum of q low + (q step - scale weight) middle`.
#[inline(always)]
fn constant_body(
    query: &[f32],
    [lows, steps]: [&[f32]; 2],
    weights: &[i8],
    [scale, middle]: [f32; 2],
) -> f32 {
    let mut sums = [0.0f64; LANES];
    let numbers = query.chunks(LANES).zip(lows.chunks(LANES));
    for ((query, lows), (steps, weights)) in numbers.zip(steps.chunks(LANES).zip(weights.chunks(LANES))) {
        let numbers = query.iter().zip(lows).zip(steps.iter().zip(weights));
        for (((&q, &low), (&step, &weight)), sum) in numbers.zip(&mut sums) {
            let rounding = q * step - scale * f32::from(weight);
            *sum += f64::from(q) * f64::from(low) + f64::from(rounding * middle);
        }
    }
    sums.iter().sum::<f64>() as f32
}

on_level! {
    fn largest_product(level, query: &[f32], steps: &[f32]) -> f32 = largest_body
}
on_level! {
    fn weigh(level, query: &[f32], steps: &[f32], inverse: f32, weights: &mut [i8]) = weigh_body
}
on_level! {
    fn constant(level, query: &[f32], levels: [&[f32]; 2], weights: &[i8], scales: [f32; 2]) -> f32 = constant_body
}

/// The highest level.
fn top(bits: u32) -> f32 {
    ((1u32 << bits) - 1) as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        #[test]
        fn estimates_are_within_the_rounding(dim in 1usize..200, bits in prop::sample::select(vec![4u32, 6, 8]), seed in any::<u64>()) {
            let mut rng = Rng::new(seed);
            let mut draw = |count: usize| -> Vec<f32> { (0..count).map(|_| rng.normal()).collect() };
            let (sample, query) = (draw(16 * dim), draw(dim));
            let quantizer = ScalarQuantizer::train(bits, dim, &sample);
            let operand = quantizer.operand(&query);
            let packing = quantizer.packing();
            let mut unit = vec![0; packing.unit_bytes()];
            let (mut code, mut decoded, mut expected) = (Vec::new(), Vec::new(), Vec::new());
            for (lane, row) in sample.chunks(dim).enumerate() {
                quantizer.encode(row, &mut code);
                quantizer.decode(&code, &mut decoded);
                for ((value, decoded), step) in row.iter().zip(&decoded).zip(quantizer.arrays()[1]) {
                    prop_assert!((value - decoded).abs() <= step * 0.501 + 1e-5);
                }
                packing.put(&mut unit, lane, &code);
                let dot: f64 = query.iter().zip(&decoded).map(|(&q, &x)| f64::from(q) * f64::from(x)).sum();
                expected.push(dot);
            }
            // A weight is off by half a step of the query at most, and meets half of the levels.
            let largest = query.iter().zip(quantizer.arrays()[1]).map(|(q, step)| (q * step).abs()).fold(0.0, f32::max);
            let allowed = f64::from(largest) / 254.0 * f64::from(top(bits)) / 2.0 * dim as f64 + 1e-3;
            for level in Level::available() {
                let mut sums = vec![0; 16];
                packing.sums(level, &unit, &operand.bytes, &mut sums);
                for (&sum, &expected) in sums.iter().zip(&expected) {
                    let got = f64::from(operand.scale * sum as f32 + operand.bias);
                    prop_assert!((got - expected).abs() <= allowed, "{got} {expected} allowed {allowed}");
                }
            }
        }
    }

    #[test]
    fn constant_zero_and_huge_values_encode_without_a_fault() {
        for sample in [
            vec![3.0f32; 8],
            vec![0.0; 8],
            vec![f32::MAX, f32::MIN, 1.0, 2.0],
            Vec::new(),
        ] {
            let quantizer = ScalarQuantizer::train(8, 2, &sample);
            let (mut code, mut decoded) = (Vec::new(), Vec::new());
            for row in [[3.0f32, 3.0], [f32::MAX, f32::MIN], [f32::INFINITY, f32::NAN]] {
                quantizer.encode(&row, &mut code);
                quantizer.decode(&code, &mut decoded);
                assert_eq!((code.len(), decoded.len()), (2, 2));
            }
            assert!(
                quantizer
                    .arrays()
                    .iter()
                    .all(|numbers| numbers.iter().all(|number| number.is_finite()))
            );
        }
        let quantizer = ScalarQuantizer::train(4, 1, &[2.5; 4]);
        let (mut code, mut decoded) = (Vec::new(), Vec::new());
        quantizer.encode(&[2.5], &mut code);
        quantizer.decode(&code, &mut decoded);
        assert_eq!(decoded, [2.5]);
    }
}
