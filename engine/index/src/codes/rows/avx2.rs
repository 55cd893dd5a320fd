//! Sums of [`super::levels`] with AVX2: 16 or 32 dimensions per instruction.

use std::arch::x86_64::{
    __m256i, _mm_add_epi32, _mm_cvtsi128_si32, _mm_loadu_si128, _mm_shuffle_epi32, _mm256_add_epi32,
    _mm256_and_si256, _mm256_broadcastsi128_si256, _mm256_castsi256_si128, _mm256_cvtepi8_epi16,
    _mm256_cvtepu8_epi16, _mm256_extracti128_si256, _mm256_loadu_si256, _mm256_madd_epi16,
    _mm256_maddubs_epi16, _mm256_or_si256, _mm256_set_epi64x, _mm256_set1_epi8, _mm256_set1_epi16,
    _mm256_setzero_si256, _mm256_slli_epi16, _mm256_srli_epi16, _mm256_srlv_epi64,
};

use super::levels::{BLOCK, BYTES_4, BYTES_6};
use super::records::{Line, Records, gather_rows};

/// Bytes that are widened together.
const STEP: usize = 16;

/// [`super::levels::Levels::gather`].
///
/// # Safety
/// The machine has the features; codes and weights are as long as the packing says.
#[target_feature(enable = "avx2")]
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
#[target_feature(enable = "avx2")]
fn total(sum: __m256i) -> i32 {
    let halves = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256::<1>(sum));
    let pairs = _mm_add_epi32(halves, _mm_shuffle_epi32::<0b01_00_11_10>(halves));
    _mm_cvtsi128_si32(_mm_add_epi32(pairs, _mm_shuffle_epi32::<0b10_11_00_01>(pairs)))
}

/// Products of 16 bytes and their weights, added up in pairs: a byte has all of its 8 bits, so pairs need 32.
///
/// # Safety
/// The machine has the features, and 16 bytes are there of both.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn wide(code: *const u8, weights: *const i8) -> __m256i {
    // SAFETY: the caller's.
    let (code, weights) = unsafe { (_mm_loadu_si128(code.cast()), _mm_loadu_si128(weights.cast())) };
    _mm256_madd_epi16(_mm256_cvtepu8_epi16(code), _mm256_cvtepi8_epi16(weights))
}

/// # Safety
/// The machine has the features; there is a weight for every byte, in whole blocks.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn sum_8(code: &[u8], weights: &[i8]) -> i32 {
    let mut sums = [_mm256_setzero_si256(); 2];
    let chunks = code.chunks_exact(STEP);
    let rest = chunks.remainder();
    for (at, (code, weights)) in chunks.zip(weights.chunks_exact(STEP)).enumerate() {
        // SAFETY: both have 16 bytes.
        sums[at % 2] = _mm256_add_epi32(sums[at % 2], unsafe { wide(code.as_ptr(), weights.as_ptr()) });
    }
    if let Some(weights) = weights
        .get(code.len() - rest.len()..)
        .filter(|_| !rest.is_empty())
    {
        let mut last = [0u8; STEP];
        last[..rest.len()].copy_from_slice(rest);
        // SAFETY: the weights are whole blocks, of which these are 16 at least.
        sums[0] = _mm256_add_epi32(sums[0], unsafe { wide(last.as_ptr(), weights.as_ptr()) });
    }
    total(_mm256_add_epi32(sums[0], sums[1]))
}

/// The first and the second half of a block's low 4 bits.
///
/// # Safety
/// The machine has the features, and 32 bytes are there.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn nibbles(bytes: *const u8) -> [__m256i; 2] {
    let nibble = _mm256_set1_epi8(15);
    // SAFETY: the caller's.
    let both = unsafe { _mm256_loadu_si256(bytes.cast()) };
    [
        _mm256_and_si256(both, nibble),
        _mm256_and_si256(_mm256_srli_epi16::<4>(both), nibble),
    ]
}

/// Products of a block's numbers, at most 63 each, and their weights, added up in fours.
///
/// # Safety
/// The machine has the features, and 64 weights are there.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn narrow(halves: [__m256i; 2], weights: *const i8) -> __m256i {
    let ones = _mm256_set1_epi16(1);
    // SAFETY: the caller's.
    let weights = unsafe {
        [
            _mm256_loadu_si256(weights.cast()),
            _mm256_loadu_si256(weights.add(32).cast()),
        ]
    };
    let [first, second] =
        [0, 1].map(|half| _mm256_madd_epi16(_mm256_maddubs_epi16(halves[half], weights[half]), ones));
    _mm256_add_epi32(first, second)
}

/// # Safety
/// The machine has the features; the code is whole blocks, with weights for each.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn sum_4(code: &[u8], weights: &[i8]) -> i32 {
    let mut sum = _mm256_setzero_si256();
    for (block, weights) in code.chunks_exact(BYTES_4).zip(weights.chunks_exact(BLOCK)) {
        // SAFETY: a block has 32 bytes, its weights 64.
        sum = _mm256_add_epi32(sum, unsafe { narrow(nibbles(block.as_ptr()), weights.as_ptr()) });
    }
    total(sum)
}

/// # Safety
/// The machine has the features; the code is whole blocks, with weights for each.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn sum_6(code: &[u8], weights: &[i8]) -> i32 {
    let mut sum = _mm256_setzero_si256();
    let two = _mm256_set1_epi8(3);
    for (block, weights) in code.chunks_exact(BYTES_6).zip(weights.chunks_exact(BLOCK)) {
        // SAFETY: a block has 48 bytes, its weights 64.
        unsafe {
            let low = nibbles(block.as_ptr());
            let tops = _mm256_broadcastsi128_si256(_mm_loadu_si128(block.as_ptr().add(BYTES_4).cast()));
            let shifts = [_mm256_set_epi64x(2, 2, 0, 0), _mm256_set_epi64x(6, 6, 4, 4)];
            let halves = [0, 1].map(|half| {
                let top = _mm256_and_si256(_mm256_srlv_epi64(tops, shifts[half]), two);
                _mm256_or_si256(low[half], _mm256_slli_epi16::<4>(top))
            });
            sum = _mm256_add_epi32(sum, narrow(halves, weights.as_ptr()));
        }
    }
    total(sum)
}
