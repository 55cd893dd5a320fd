//! The kernels of 8-bit integers with AVX-512 VNNI, which multiplies and adds several pairs for each 32-bit lane. Sums are exact,
//! as those of the portable form are.

use std::arch::x86_64::{
    __m512i, _mm256_loadu_si256, _mm256_maskz_loadu_epi8, _mm512_cvtepi8_epi16, _mm512_dpbusd_epi32,
    _mm512_dpwssd_epi32, _mm512_loadu_si512, _mm512_maskz_loadu_epi8, _mm512_reduce_add_epi32,
    _mm512_set1_epi8, _mm512_setzero_si512, _mm512_sub_epi16, _mm512_xor_si512,
};

use super::gather::gather_body;
use super::narrow::INT8_RUN;

/// Whether this machine has them.
#[inline]
pub(super) fn is_there() -> bool {
    std::arch::is_x86_feature_detected!("avx512vnni")
        && std::arch::is_x86_feature_detected!("avx512bw")
        && std::arch::is_x86_feature_detected!("avx512vl")
}

/// The inner product over the shared length.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) fn dot(a: &[i8], b: &[i8]) -> i64 {
    /// `a + 128`, for the first operand has no sign, times `b`; and `b`, of which 128 times the sum is too much then.
    #[inline]
    #[target_feature(enable = "avx512f,avx512vnni")]
    fn add([products, ones]: [__m512i; 2], a: __m512i, b: __m512i) -> [__m512i; 2] {
        let shifted = _mm512_xor_si512(a, _mm512_set1_epi8(i8::MIN));
        [
            _mm512_dpbusd_epi32(products, shifted, b),
            _mm512_dpbusd_epi32(ones, _mm512_set1_epi8(1), b),
        ]
    }
    let mut total = 0;
    for (a, b) in a.chunks(INT8_RUN).zip(b.chunks(INT8_RUN)) {
        let shared = a.len().min(b.len());
        let (a, b) = (a[..shared].as_chunks::<64>(), b[..shared].as_chunks::<64>());
        let mut sums = [_mm512_setzero_si512(); 2];
        for (a, b) in a.0.iter().zip(b.0) {
            // SAFETY: 64 numbers each.
            let (a, b) = unsafe {
                (
                    _mm512_loadu_si512(a.as_ptr().cast()),
                    _mm512_loadu_si512(b.as_ptr().cast()),
                )
            };
            sums = add(sums, a, b);
        }
        let there = (1u64 << a.1.len()) - 1;
        // SAFETY: as many numbers as the mask has bits; the others are not read.
        let (a, b) = unsafe {
            let a = _mm512_maskz_loadu_epi8(there, a.1.as_ptr());
            (a, _mm512_maskz_loadu_epi8(there, b.1.as_ptr()))
        };
        let [products, ones] = add(sums, a, b).map(|sum| i64::from(_mm512_reduce_add_epi32(sum)));
        total += products - 128 * ones;
    }
    total
}

/// The squared Euclidean distance over the shared length.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) fn l2(a: &[i8], b: &[i8]) -> i64 {
    let mut total = 0;
    for (a, b) in a.chunks(INT8_RUN).zip(b.chunks(INT8_RUN)) {
        let shared = a.len().min(b.len());
        let (a, b) = (a[..shared].as_chunks::<32>(), b[..shared].as_chunks::<32>());
        let mut sum = _mm512_setzero_si512();
        for (a, b) in a.0.iter().zip(b.0) {
            // SAFETY: 32 numbers each.
            let (a, b) = unsafe {
                (
                    _mm256_loadu_si256(a.as_ptr().cast()),
                    _mm256_loadu_si256(b.as_ptr().cast()),
                )
            };
            let difference = _mm512_sub_epi16(_mm512_cvtepi8_epi16(a), _mm512_cvtepi8_epi16(b));
            sum = _mm512_dpwssd_epi32(sum, difference, difference);
        }
        let there = (1u32 << a.1.len()) - 1;
        // SAFETY: as many numbers as the mask has bits; the others are not read.
        let (a, b) = unsafe {
            let a = _mm256_maskz_loadu_epi8(there, a.1.as_ptr());
            (a, _mm256_maskz_loadu_epi8(there, b.1.as_ptr()))
        };
        let difference = _mm512_sub_epi16(_mm512_cvtepi8_epi16(a), _mm512_cvtepi8_epi16(b));
        sum = _mm512_dpwssd_epi32(sum, difference, difference);
        total += i64::from(_mm512_reduce_add_epi32(sum));
    }
    total
}

/// [`dot`] with rows of `data` by number, infinite where there is none.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) fn dot_gather(query: &[i8], data: &[i8], rows: &[u32], out: &mut [f32]) {
    gather_body(query.len(), data, rows, out, |row| dot(query, row) as f32);
}

/// [`l2`] to rows of `data` by number, infinite where there is none.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) fn l2_gather(query: &[i8], data: &[i8], rows: &[u32], out: &mut [f32]) {
    gather_body(query.len(), data, rows, out, |row| l2(query, row) as f32);
}
