//! Sums of [`super::levels`] with AVX-512: 64 dimensions per instruction.

use std::arch::x86_64::{
    __m512i, _mm_loadu_si128, _mm256_loadu_si256, _mm512_add_epi32, _mm512_and_si512, _mm512_broadcast_i32x4,
    _mm512_broadcast_i64x4, _mm512_dpbusd_epi32, _mm512_loadu_si512, _mm512_maskz_loadu_epi8,
    _mm512_or_si512, _mm512_reduce_add_epi32, _mm512_set_epi64, _mm512_set1_epi8, _mm512_setzero_si512,
    _mm512_slli_epi16, _mm512_srlv_epi64,
};

use super::levels::{BLOCK, BYTES_4, BYTES_6};
use super::records::{Line, Records, gather_rows};

/// Sums that run side by side: an addition waits for the one before it.
const SUMS: usize = 4;

/// [`super::levels::Levels::gather`].
///
/// # Safety
/// The machine has the features; codes and weights are as long as the packing says.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub(super) unsafe fn gather(
    bits: u32,
    records: Records<'_>,
    weights: &[i8],
    line: Line,
    rows: &[u32],
    out: &mut [f32],
) {
    // SAFETY: the caller's.
    unsafe {
        match bits {
            8 => gather_rows(records, line, rows, out, |code| sum_8(code, weights) as f32),
            6 => gather_rows(records, line, rows, out, |code| sum_6(code, weights) as f32),
            _ => gather_rows(records, line, rows, out, |code| sum_4(code, weights) as f32),
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn total(sums: [__m512i; SUMS]) -> i32 {
    let [a, b, c, d] = sums;
    _mm512_reduce_add_epi32(_mm512_add_epi32(_mm512_add_epi32(a, b), _mm512_add_epi32(c, d)))
}

/// # Safety
/// The machine has the features; there is a weight for every byte, in whole blocks.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn sum_8(code: &[u8], weights: &[i8]) -> i32 {
    debug_assert!(weights.len() >= code.len().next_multiple_of(BLOCK));
    let mut sums = [_mm512_setzero_si512(); SUMS];
    let (whole, rest) = (code.len() / BLOCK, code.len() % BLOCK);
    // SAFETY: whole blocks lie inside the code, the masked load reads the rest of it only, weights are whole blocks.
    unsafe {
        let block = |at: usize| _mm512_loadu_si512(code.as_ptr().add(at * BLOCK).cast());
        let weight = |at: usize| _mm512_loadu_si512(weights.as_ptr().add(at * BLOCK).cast());
        let mut at = 0;
        while at + SUMS <= whole {
            for (lane, sum) in sums.iter_mut().enumerate() {
                *sum = _mm512_dpbusd_epi32(*sum, block(at + lane), weight(at + lane));
            }
            at += SUMS;
        }
        while at < whole {
            let sum = &mut sums[at % SUMS];
            *sum = _mm512_dpbusd_epi32(*sum, block(at), weight(at));
            at += 1;
        }
        if rest > 0 {
            let mask = u64::MAX >> (BLOCK - rest);
            let last = _mm512_maskz_loadu_epi8(mask, code.as_ptr().add(whole * BLOCK).cast());
            let sum = &mut sums[whole % SUMS];
            *sum = _mm512_dpbusd_epi32(*sum, last, weight(whole));
        }
    }
    total(sums)
}

/// Low halves of 32 bytes in the first half of the register, high halves in the second.
///
/// # Safety
/// The machine has the features, and 32 bytes are there.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn nibbles(bytes: *const u8) -> __m512i {
    // SAFETY: the caller's.
    let both = _mm512_broadcast_i64x4(unsafe { _mm256_loadu_si256(bytes.cast()) });
    let shifted = _mm512_srlv_epi64(both, _mm512_set_epi64(4, 4, 4, 4, 0, 0, 0, 0));
    _mm512_and_si512(shifted, _mm512_set1_epi8(15))
}

/// # Safety
/// The machine has the features; the code is whole blocks, with weights for each.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn sum_4(code: &[u8], weights: &[i8]) -> i32 {
    let mut sums = [_mm512_setzero_si512(); SUMS];
    let blocks = code.chunks_exact(BYTES_4).zip(weights.chunks_exact(BLOCK));
    for (at, (block, weights)) in blocks.enumerate() {
        // SAFETY: a block has 32 bytes, its weights 64.
        unsafe {
            let weight = _mm512_loadu_si512(weights.as_ptr().cast());
            sums[at % SUMS] = _mm512_dpbusd_epi32(sums[at % SUMS], nibbles(block.as_ptr()), weight);
        }
    }
    total(sums)
}

/// # Safety
/// The machine has the features; the code is whole blocks, with weights for each.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn sum_6(code: &[u8], weights: &[i8]) -> i32 {
    let mut sums = [_mm512_setzero_si512(); SUMS];
    let blocks = code.chunks_exact(BYTES_6).zip(weights.chunks_exact(BLOCK));
    for (at, (block, weights)) in blocks.enumerate() {
        // SAFETY: a block has 48 bytes, its weights 64.
        unsafe {
            let low = nibbles(block.as_ptr());
            let tops = _mm512_broadcast_i32x4(_mm_loadu_si128(block.as_ptr().add(BYTES_4).cast()));
            let shifted = _mm512_srlv_epi64(tops, _mm512_set_epi64(6, 6, 4, 4, 2, 2, 0, 0));
            let top = _mm512_slli_epi16::<4>(_mm512_and_si512(shifted, _mm512_set1_epi8(3)));
            let weight = _mm512_loadu_si512(weights.as_ptr().cast());
            sums[at % SUMS] = _mm512_dpbusd_epi32(sums[at % SUMS], _mm512_or_si512(low, top), weight);
        }
    }
    total(sums)
}
