//! Numbers of few bits kept bit by bit: plane `j` holds bit `j` of every number, 8 to a byte, the lowest plane first.

use super::level::{Level, on_level};

/// Numbers that a word of a plane holds, and floats of a register of AVX-512.
const LANES: usize = 16;
/// Sums side by side.
const SUMS: usize = 4;

/// Appends the lowest `bits` planes of `numbers`, whose count is a multiple of 16.
pub(crate) fn append(numbers: &[u16], bits: u32, out: &mut Vec<u8>) {
    for plane in 0..bits {
        for eight in numbers.chunks_exact(8) {
            let byte = eight.iter().enumerate().fold(0u8, |byte, (lane, number)| {
                byte | ((number >> plane & 1) as u8) << lane
            });
            out.push(byte);
        }
    }
}

/// Adds up as the registers of [`dot`] do.
#[inline(always)]
fn total(sums: &[[f32; LANES]; SUMS]) -> f32 {
    let mut lanes = [0.0f32; LANES];
    for (lane, slot) in lanes.iter_mut().enumerate() {
        *slot = (sums[0][lane] + sums[1][lane]) + (sums[2][lane] + sums[3][lane]);
    }
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] += lanes[lane + width];
        }
        width /= 2;
    }
    lanes[0]
}

#[inline(always)]
fn dot_body(planes: &[u8], query: &[f32]) -> f32 {
    let mut sums = [[0.0f32; LANES]; SUMS];
    for plane in planes.chunks_exact((query.len() / 8).max(1)).rev() {
        sums.iter_mut()
            .for_each(|lanes| lanes.iter_mut().for_each(|sum| *sum += *sum));
        for (index, (word, values)) in plane.chunks_exact(2).zip(query.chunks_exact(LANES)).enumerate() {
            let word = u32::from(word[0]) | u32::from(word[1]) << 8;
            for (lane, (sum, &value)) in sums[index % SUMS].iter_mut().zip(values).enumerate() {
                *sum += if word >> lane & 1 == 1 { value } else { 0.0 };
            }
        }
    }
    total(&sums)
}

on_level! {
    fn dot_on(level, planes: &[u8], query: &[f32]) -> f32 = dot_body
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn dot_avx512(planes: &[u8], query: &[f32]) -> f32 {
    use std::arch::x86_64::{
        _mm512_add_ps, _mm512_loadu_ps, _mm512_mask_add_ps, _mm512_setzero_ps, _mm512_storeu_ps,
    };
    let mut sums = [_mm512_setzero_ps(); SUMS];
    for plane in planes.chunks_exact((query.len() / 8).max(1)).rev() {
        for sum in &mut sums {
            *sum = _mm512_add_ps(*sum, *sum);
        }
        let words = plane.chunks_exact(2).zip(query.chunks_exact(LANES));
        for (index, (word, values)) in words.enumerate() {
            let mask = u16::from(word[0]) | u16::from(word[1]) << 8;
            let sum = &mut sums[index % SUMS];
            // SAFETY: 16 floats.
            *sum = unsafe { _mm512_mask_add_ps(*sum, mask, *sum, _mm512_loadu_ps(values.as_ptr())) };
        }
    }
    let mut lanes = [[0.0f32; LANES]; SUMS];
    for (lanes, sum) in lanes.iter_mut().zip(sums) {
        // SAFETY: 16 slots.
        unsafe { _mm512_storeu_ps(lanes.as_mut_ptr(), sum) };
    }
    total(&lanes)
}

/// The inner product of `query`, whose length is a multiple of 16, and the numbers of `planes`.
#[inline]
pub(crate) fn dot(level: Level, planes: &[u8], query: &[f32]) -> f32 {
    #[cfg(target_arch = "x86_64")]
    if level == Level::Avx512 {
        // SAFETY: the level is one of this machine.
        return unsafe { dot_avx512(planes, query) };
    }
    dot_on(level, planes, query)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_level_equals_the_reference(words in 1usize..20, bits in 1u32..=8, seed in any::<u64>()) {
            let mut rng = Rng::new(seed);
            let numbers: Vec<u16> = (0..words * 16).map(|_| rng.below(1 << bits) as u16).collect();
            let query: Vec<f32> = (0..words * 16).map(|_| rng.normal()).collect();
            let mut planes = Vec::new();
            append(&numbers, bits, &mut planes);
            prop_assert_eq!(planes.len(), words * 2 * bits as usize);
            let terms = || numbers.iter().zip(&query).map(|(&n, &q)| f64::from(n) * f64::from(q));
            let (expected, size) = (terms().sum::<f64>(), terms().map(f64::abs).sum::<f64>());
            let plain = dot(Level::Plain, &planes, &query);
            prop_assert!((f64::from(plain) - expected).abs() <= 1e-5 * size + 1e-6);
            for level in Level::available() {
                prop_assert_eq!(dot(level, &planes, &query), plain, "{:?}", level);
            }
        }
    }
}
