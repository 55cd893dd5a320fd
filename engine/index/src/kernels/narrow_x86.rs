//! The kernels of 16-bit floats with AVX-512 and AVX2.

use std::arch::x86_64::{
    __m256, __m512, _mm_add_ps, _mm_add_ss, _mm_cvtss_f32, _mm_movehl_ps, _mm_shuffle_ps, _mm256_add_ps,
    _mm256_castpd_ps, _mm256_castps256_ps128, _mm256_extractf128_ps, _mm256_mul_ps, _mm256_setzero_ps,
    _mm256_sub_ps, _mm512_add_ps, _mm512_castps_pd, _mm512_castps512_ps256, _mm512_extractf64x4_pd,
    _mm512_mul_ps, _mm512_setzero_ps, _mm512_sub_ps,
};

use super::formats::Format;
use super::narrow_registers::register_kernels;

/// The sum of eight lanes, folded in halves.
#[inline]
#[target_feature(enable = "avx")]
fn folded_eight(eight: __m256) -> f32 {
    let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
    let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
}

/// The sum of 32 lanes, folded in halves.
#[inline]
#[target_feature(enable = "avx512f")]
fn folded_512([low, high]: [__m512; 2]) -> f32 {
    let sixteen = _mm512_add_ps(low, high);
    let upper = _mm256_castpd_ps(_mm512_extractf64x4_pd::<1>(_mm512_castps_pd(sixteen)));
    folded_eight(_mm256_add_ps(_mm512_castps512_ps256(sixteen), upper))
}

/// The sum of 32 lanes, folded in halves.
#[inline]
#[target_feature(enable = "avx")]
fn folded_256([first, second, third, fourth]: [__m256; 4]) -> f32 {
    let (low, high) = (_mm256_add_ps(first, third), _mm256_add_ps(second, fourth));
    folded_eight(_mm256_add_ps(low, high))
}

register_kernels!(
    /// Two registers of sixteen numbers.
    avx512, "avx512f", __m512 x 2, sixteen, folded_512,
    _mm512_setzero_ps, _mm512_add_ps, _mm512_sub_ps, _mm512_mul_ps
);
register_kernels!(
    /// Four registers of eight numbers.
    avx2, "avx2,f16c", __m256 x 4, eight, folded_256,
    _mm256_setzero_ps, _mm256_add_ps, _mm256_sub_ps, _mm256_mul_ps
);
