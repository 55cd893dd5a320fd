//! From integer sums to distances, and which of them are below a bound.
//!
//! With `t = scale * sum + bias` for `<q, x̂>` up to the factor of the metric, a row's distance is
//!
//! ```text
//!   d = list + add[row] + mul[row] * t            mul is 1 where a code has none, add is 0
//!   d - err[row] * spread                          a lower bound, where a code knows its error
//! ```

use super::level::{Level, on_level};

/// What does not differ from row to row of a list.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Line {
    /// Distance of the list's base.
    pub(crate) list: f32,
    pub(crate) scale: f32,
    pub(crate) bias: f32,
    /// What errors of rows are multiplied by.
    pub(crate) spread: f32,
}

/// What is stored per row; each is empty, or has a number for every row.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Terms<'a> {
    pub(crate) adds: &'a [f32],
    pub(crate) muls: &'a [f32],
    pub(crate) errs: &'a [f32],
}

impl<'a> Terms<'a> {
    /// Those of `count` rows from `first` on.
    pub(crate) fn of(self, first: usize, count: usize) -> Self {
        let part = |numbers: &'a [f32]| numbers.get(first..first + count).unwrap_or(&[]);
        Self {
            adds: part(self.adds),
            muls: part(self.muls),
            errs: part(self.errs),
        }
    }
}

#[inline(always)]
fn distances_body(sums: &[i32], line: Line, terms: Terms<'_>, out: &mut [f32]) {
    for (slot, &sum) in out.iter_mut().zip(sums) {
        *slot = line.scale * sum as f32 + line.bias;
    }
    terms_body(line, terms, out);
}

#[inline(always)]
fn products_body(line: Line, terms: Terms<'_>, out: &mut [f32]) {
    for slot in out.iter_mut() {
        *slot = line.scale * *slot + line.bias;
    }
    terms_body(line, terms, out);
}

#[inline(always)]
fn terms_body(line: Line, terms: Terms<'_>, out: &mut [f32]) {
    for (slot, mul) in out.iter_mut().zip(terms.muls) {
        *slot *= mul;
    }
    for (slot, add) in out.iter_mut().zip(terms.adds) {
        *slot += add;
    }
    for (slot, err) in out.iter_mut().zip(terms.errs) {
        *slot -= err * line.spread;
    }
    for slot in out.iter_mut() {
        *slot += line.list;
    }
}

#[inline(always)]
fn below_body(distances: &[f32], bound: f32) -> u64 {
    let mut mask = 0u64;
    // Few rows are below: a whole register is looked at before its parts.
    for (index, eight) in distances.chunks(8).enumerate() {
        let any = eight
            .iter()
            .fold(false, |any, &distance| any | (distance < bound));
        if any {
            for (lane, &distance) in eight.iter().enumerate() {
                mask |= u64::from(distance < bound) << (index * 8 + lane);
            }
        }
    }
    mask
}

on_level! {
    /// Distances, or lower bounds, of the rows that `sums` and `terms` belong to.
    fn distances_on(level, sums: &[i32], line: Line, terms: Terms<'_>, out: &mut [f32]) = distances_body
}

on_level! {
    /// [`distances_on`] of products in the place of the distances.
    fn products_on(level, line: Line, terms: Terms<'_>, out: &mut [f32]) = products_body
}

on_level! {
    /// Of at most 64 distances those below `bound`, as bits.
    fn below_on(level, distances: &[f32], bound: f32) -> u64 = below_body
}

/// Distances, or lower bounds where there are errors, of the rows that `sums` and `terms` belong to.
pub(crate) fn distances(level: Level, sums: &[i32], line: Line, terms: Terms<'_>, out: &mut [f32]) {
    distances_on(level, sums, line, terms, out);
}

/// [`distances`] of rows whose products with the query are in `out` already, in the place of sums.
pub(crate) fn distances_of_products(level: Level, line: Line, terms: Terms<'_>, out: &mut [f32]) {
    products_on(level, line, terms, out);
}

/// Of at most 64 distances those below `bound`, as bits. NaN is below nothing.
#[inline]
pub(crate) fn below(level: Level, distances: &[f32], bound: f32) -> u64 {
    #[cfg(target_arch = "x86_64")]
    if level == Level::Avx512 && distances.len().is_multiple_of(16) {
        // SAFETY: the level is one of this machine.
        return unsafe { below_avx512(distances, bound) };
    }
    below_on(level, distances, bound)
}

/// [`below`] for whole registers.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn below_avx512(distances: &[f32], bound: f32) -> u64 {
    use std::arch::x86_64::{_CMP_LT_OQ, _mm512_cmp_ps_mask, _mm512_loadu_ps, _mm512_set1_ps};
    let bound = _mm512_set1_ps(bound);
    let mut mask = 0u64;
    for (index, sixteen) in distances.chunks_exact(16).enumerate() {
        // SAFETY: 16 floats.
        let sixteen = unsafe { _mm512_loadu_ps(sixteen.as_ptr()) };
        mask |= u64::from(_mm512_cmp_ps_mask::<_CMP_LT_OQ>(sixteen, bound)) << (index * 16);
    }
    mask
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_level_equals_the_formula(count in 0usize..65, seed in any::<u64>(), has in any::<[bool; 3]>()) {
            let mut rng = Rng::new(seed);
            let sums: Vec<i32> = (0..count).map(|_| rng.below(100_000) as i32 - 50_000).collect();
            let mut numbers = |has: bool| -> Vec<f32> {
                if has { (0..count).map(|_| rng.normal()).collect() } else { Vec::new() }
            };
            let (adds, muls, errs) = (numbers(has[0]), numbers(has[1]), numbers(has[2]));
            let terms = Terms { adds: &adds, muls: &muls, errs: &errs };
            let line = Line { list: 0.5, scale: 1e-4, bias: 0.25, spread: 0.3 };
            let mut reference = Vec::new();
            for level in Level::available() {
                let mut out = vec![0.0; count];
                distances(level, &sums, line, terms, &mut out);
                for row in 0..count {
                    let at = |numbers: &[f32], none: f64| numbers.get(row).map_or(none, |&n| f64::from(n));
                    let product = f64::from(line.scale) * f64::from(sums[row]) + f64::from(line.bias);
                    let expected = 0.5 + at(&adds, 0.0) + at(&muls, 1.0) * product - at(&errs, 0.0) * f64::from(line.spread);
                    prop_assert!((f64::from(out[row]) - expected).abs() < 1e-4, "{level:?}: {} {expected}", out[row]);
                }
                let mask = below(level, &out, 0.4);
                prop_assert!((0..64).all(|row| (mask >> row & 1 == 1) == (row < count && out[row] < 0.4)));
                if level == Level::Plain {
                    reference.clone_from(&out);
                }
            }
            for level in Level::available() {
                let mut out = vec![0.0; count];
                distances(level, &sums, line, terms, &mut out);
                prop_assert_eq!(&out, &reference, "{:?}", level);
            }
        }
    }

    #[test]
    fn nan_is_below_nothing() {
        for level in Level::available() {
            assert_eq!(below(level, &[f32::NAN; 16], f32::INFINITY), 0);
            assert_eq!(below(level, &[-1.0, f32::NAN, 1.0], 0.0), 1);
        }
    }
}
