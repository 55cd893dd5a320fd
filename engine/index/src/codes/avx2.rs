//! Sums over packed codes with AVX2: 32 codes or table entries per instruction.
//!
//! Contract of all: `codes` is a whole number of units of `unit_bytes` bytes, `out` has the packing's rows for each, and the
//! operand is as long as the packing says.

use std::arch::x86_64::{
    __m128i, __m256i, _mm256_add_epi16, _mm256_add_epi32, _mm256_and_si256, _mm256_castsi256_si128,
    _mm256_cvtepu8_epi16, _mm256_cvtepu16_epi32, _mm256_extracti128_si256, _mm256_hadd_epi32,
    _mm256_loadu_si256, _mm256_madd_epi16, _mm256_or_si256, _mm256_permute4x64_epi64, _mm256_set1_epi8,
    _mm256_set1_epi64x, _mm256_setzero_si256, _mm256_shuffle_epi8, _mm256_slli_epi16, _mm256_srli_epi16,
    _mm256_storeu_si256, _mm256_sub_epi16, _mm256_unpackhi_epi16, _mm256_unpacklo_epi16,
};

use super::packing::RUN;

/// Reads 32 bytes at `at`.
///
/// # Safety
/// They lie inside the slice.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn load(bytes: &[u8], at: usize) -> __m256i {
    debug_assert!(at + 32 <= bytes.len());
    // SAFETY: the caller's.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().add(at).cast()) }
}

/// Four weights at `at` as 16-bit numbers, in every quarter.
#[inline]
#[target_feature(enable = "avx2")]
fn weights(operand: &[u8], at: usize) -> __m256i {
    let four = match operand.get(at..at + 4) {
        Some(&[a, b, c, d]) => [a, b, c, d].map(|weight| i64::from(weight.cast_signed()) & 0xffff),
        _ => [0; 4],
    };
    _mm256_set1_epi64x(four[0] | four[1] << 16 | four[2] << 32 | four[3] << 48)
}

/// Sums of eight rows: pairs of dimensions of rows 0-3 and of rows 4-7, which are added up at the end.
#[derive(Clone, Copy)]
struct Eight([__m256i; 2]);

impl Eight {
    /// Adds the products of four weights and four bytes of each row.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn add(&mut self, bytes: __m256i, weights: __m256i) {
        let halves: [__m128i; 2] = [
            _mm256_castsi256_si128(bytes),
            _mm256_extracti128_si256::<1>(bytes),
        ];
        for (sum, half) in self.0.iter_mut().zip(halves) {
            *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(_mm256_cvtepu8_epi16(half), weights));
        }
    }
}

/// Sums of [`super::packing::Packing::Levels`].
///
/// # Safety
/// The contract of this file.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn levels(bits: u32, unit_bytes: usize, codes: &[u8], operand: &[u8], out: &mut [i32]) {
    let nibble = _mm256_set1_epi8(15);
    let high = _mm256_set1_epi8(0x30);
    for (unit, out) in codes.chunks_exact(unit_bytes).zip(out.chunks_exact_mut(16)) {
        for (half, slots) in out.chunks_exact_mut(8).enumerate() {
            let mut sums = Eight([_mm256_setzero_si256(); 2]);
            let half = half * 32;
            // SAFETY: a unit has a whole number of steps of 64 bytes, see `Packing::unit_bytes`.
            unsafe {
                match bits {
                    8 => {
                        for step in 0..unit_bytes / 64 {
                            sums.add(load(unit, step * 64 + half), weights(operand, step * 4));
                        }
                    }
                    6 => {
                        for step in 0..unit_bytes / 192 {
                            let at = step * 192 + half;
                            let (first, second) = (load(unit, at), load(unit, at + 64));
                            let top = load(unit, at + 128);
                            let numbers = [
                                (first, _mm256_slli_epi16::<4>(top)),
                                (_mm256_srli_epi16::<4>(first), _mm256_slli_epi16::<2>(top)),
                                (second, top),
                                (_mm256_srli_epi16::<4>(second), _mm256_srli_epi16::<2>(top)),
                            ];
                            for (group, (low, top)) in numbers.into_iter().enumerate() {
                                let number = _mm256_or_si256(
                                    _mm256_and_si256(low, nibble),
                                    _mm256_and_si256(top, high),
                                );
                                sums.add(number, weights(operand, step * 16 + group * 4));
                            }
                        }
                    }
                    _ => {
                        for step in 0..unit_bytes / 64 {
                            let both = load(unit, step * 64 + half);
                            let top = _mm256_and_si256(_mm256_srli_epi16::<4>(both), nibble);
                            sums.add(_mm256_and_si256(both, nibble), weights(operand, step * 8));
                            sums.add(top, weights(operand, step * 8 + 4));
                        }
                    }
                }
                // Rows 0 1 4 5 | 2 3 6 7, brought into order.
                let pairs = _mm256_hadd_epi32(sums.0[0], sums.0[1]);
                let rows = _mm256_permute4x64_epi64::<0b11_01_10_00>(pairs);
                _mm256_storeu_si256(slots.as_mut_ptr().cast(), rows);
            }
        }
    }
}

/// Sums of [`super::packing::Packing::Nibbles`].
///
/// # Safety
/// The contract of this file.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn nibbles(unit_bytes: usize, codes: &[u8], operand: &[u8], out: &mut [i32]) {
    let nibble = _mm256_set1_epi8(15);
    let steps = unit_bytes / 64;
    for (unit, out) in codes.chunks_exact(unit_bytes).zip(out.chunks_exact_mut(32)) {
        let mut totals = [_mm256_setzero_si256(); 4];
        let mut first = 0;
        while first < steps {
            let last = (first + RUN / 4).min(steps);
            // 16-bit sums: of both bytes of a pair (the upper one 256-fold), and of the upper ones.
            let (mut all, mut upper) = (_mm256_setzero_si256(), _mm256_setzero_si256());
            for step in first..last {
                for half in [0, 32] {
                    // SAFETY: a unit has `steps` steps of 64 bytes, the operand 128 bytes of tables for each.
                    let (code, low_table, high_table) = unsafe {
                        (
                            load(unit, step * 64 + half),
                            load(operand, step * 128 + half),
                            load(operand, step * 128 + 64 + half),
                        )
                    };
                    let low = _mm256_shuffle_epi8(low_table, _mm256_and_si256(code, nibble));
                    let top = _mm256_and_si256(_mm256_srli_epi16::<4>(code), nibble);
                    let high = _mm256_shuffle_epi8(high_table, top);
                    all = _mm256_add_epi16(all, _mm256_add_epi16(low, high));
                    let uppers = _mm256_add_epi16(_mm256_srli_epi16::<8>(low), _mm256_srli_epi16::<8>(high));
                    upper = _mm256_add_epi16(upper, uppers);
                }
            }
            let even = _mm256_sub_epi16(all, _mm256_slli_epi16::<8>(upper));
            let (outer, inner) = (
                _mm256_unpacklo_epi16(even, upper),
                _mm256_unpackhi_epi16(even, upper),
            );
            let rows = [
                _mm256_castsi256_si128(outer),
                _mm256_castsi256_si128(inner),
                _mm256_extracti128_si256::<1>(outer),
                _mm256_extracti128_si256::<1>(inner),
            ];
            for (total, rows) in totals.iter_mut().zip(rows) {
                *total = _mm256_add_epi32(*total, _mm256_cvtepu16_epi32(rows));
            }
            first = last;
        }
        for (slots, total) in out.chunks_exact_mut(8).zip(totals) {
            // SAFETY: 8 slots.
            unsafe { _mm256_storeu_si256(slots.as_mut_ptr().cast(), total) };
        }
    }
}
