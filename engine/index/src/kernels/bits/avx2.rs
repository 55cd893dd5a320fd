//! Bits counted 32 bytes at a time: both halves of every byte are looked up in a register of 16 counts (Muła, Kurz and Lemire,
//! "Faster population counts using AVX2 instructions", 2018).

use std::arch::x86_64::{
    __m256i, _mm_add_epi64, _mm_cvtsi128_si64, _mm_unpackhi_epi64, _mm256_add_epi8, _mm256_add_epi64,
    _mm256_and_si256, _mm256_castsi256_si128, _mm256_extracti128_si256, _mm256_loadu_si256, _mm256_or_si256,
    _mm256_sad_epu8, _mm256_set1_epi8, _mm256_setr_epi8, _mm256_setzero_si256, _mm256_shuffle_epi8,
    _mm256_srli_epi16, _mm256_xor_si256,
};

use super::words::{POPCNT, count_words};
use super::{BitKernels, Meeting, table};

/// Steps whose counts, up to 8 each, fit into a byte.
const RUN: usize = 31;
/// Shortest row that is counted so; of shorter ones words are counted sooner.
const LEAST: usize = 192;

/// Set bits of every byte.
#[inline]
#[target_feature(enable = "avx2")]
fn bits_of_bytes(bytes: __m256i) -> __m256i {
    let counts = _mm256_setr_epi8(
        0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4, 0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4,
    );
    let half = _mm256_set1_epi8(15);
    let low = _mm256_shuffle_epi8(counts, _mm256_and_si256(bytes, half));
    let high = _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), half);
    _mm256_add_epi8(low, _mm256_shuffle_epi8(counts, high))
}

/// The sum of the four numbers.
#[inline]
#[target_feature(enable = "avx2")]
fn total(four: __m256i) -> u64 {
    let two = _mm_add_epi64(_mm256_castsi256_si128(four), _mm256_extracti128_si256::<1>(four));
    _mm_cvtsi128_si64(_mm_add_epi64(two, _mm_unpackhi_epi64(two, two))).cast_unsigned()
}

/// Set bits of what `of_registers` makes of the whole registers of both sides; `of_words` counts those of the words behind
/// them.
#[inline]
#[target_feature(enable = "avx2,popcnt")]
fn count<const N: usize>(
    a: &[u8],
    b: &[u8],
    of_registers: impl Fn(__m256i, __m256i) -> [__m256i; N],
    of_words: impl Fn(u64, u64) -> [u32; N],
) -> [u64; N] {
    let shared = a.len().min(b.len());
    let (a, b) = (a[..shared].as_chunks::<32>(), b[..shared].as_chunks::<32>());
    let mut sums = [_mm256_setzero_si256(); N];
    for (a, b) in a.0.chunks(RUN).zip(b.0.chunks(RUN)) {
        let mut bytes = [_mm256_setzero_si256(); N];
        for (a, b) in a.iter().zip(b) {
            // SAFETY: 32 bytes each.
            let (a, b) = unsafe {
                (
                    _mm256_loadu_si256(a.as_ptr().cast()),
                    _mm256_loadu_si256(b.as_ptr().cast()),
                )
            };
            for (bytes, bits) in bytes.iter_mut().zip(of_registers(a, b)) {
                *bytes = _mm256_add_epi8(*bytes, bits_of_bytes(bits));
            }
        }
        for (sum, bytes) in sums.iter_mut().zip(bytes) {
            *sum = _mm256_add_epi64(*sum, _mm256_sad_epu8(bytes, _mm256_setzero_si256()));
        }
    }
    let mut totals = [0; N];
    count_words(a.1, b.1, |a, b| {
        for (total, bits) in totals.iter_mut().zip(of_words(a, b)) {
            *total += u64::from(bits);
        }
    });
    for (slot, sum) in totals.iter_mut().zip(sums) {
        *slot += total(sum);
    }
    totals
}

#[inline]
#[target_feature(enable = "avx2,popcnt")]
fn differing(a: &[u8], b: &[u8]) -> u64 {
    let [differing] = count(
        a,
        b,
        |a, b| [_mm256_xor_si256(a, b)],
        |a, b| [(a ^ b).count_ones()],
    );
    differing
}

#[inline]
#[target_feature(enable = "avx2,popcnt")]
fn meeting(a: &[u8], b: &[u8]) -> Meeting {
    let [both, either] = count(
        a,
        b,
        |a, b| [_mm256_and_si256(a, b), _mm256_or_si256(a, b)],
        |a, b| [(a & b).count_ones(), (a | b).count_ones()],
    );
    Meeting { both, either }
}

table!(
    #[target_feature(enable = "avx2,popcnt")]
    LONG,
    "avx2",
    differing,
    meeting
);

/// The kernels of [`LONG`], of [`POPCNT`] for short rows.
pub(super) static KERNELS: BitKernels = {
    #[target_feature(enable = "avx2,popcnt")]
    fn differing(a: &[u8], b: &[u8]) -> u64 {
        // SAFETY: both tables need the instructions of this function.
        unsafe { (of(a.len()).differing)(a, b) }
    }
    #[target_feature(enable = "avx2,popcnt")]
    fn meeting(a: &[u8], b: &[u8]) -> Meeting {
        // SAFETY: as above.
        unsafe { (of(a.len()).meeting)(a, b) }
    }
    #[target_feature(enable = "avx2,popcnt")]
    fn differing_gather(query: &[u8], data: &[u8], rows: &[u32], out: &mut [f32]) {
        // SAFETY: as above.
        unsafe { (of(query.len()).differing_gather)(query, data, rows, out) }
    }
    #[target_feature(enable = "avx2,popcnt")]
    fn jaccard_gather(query: &[u8], data: &[u8], rows: &[u32], out: &mut [f32]) {
        // SAFETY: as above.
        unsafe { (of(query.len()).jaccard_gather)(query, data, rows, out) }
    }
    BitKernels {
        name: "avx2",
        differing,
        meeting,
        differing_gather,
        jaccard_gather,
    }
};

/// The table for rows of `width` bytes.
#[inline(always)]
fn of(width: usize) -> &'static BitKernels {
    if width < LEAST { &POPCNT } else { &LONG }
}
