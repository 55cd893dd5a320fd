//! The kernels of 16-bit floats with AVX-512, where the compiler makes too little of their portable form: sixteen numbers
//! are widened by one instruction.
//!
//! They take their sums in the order of the portable form (two registers are its 32 lanes) and without fused
//! multiplication, and so give the same bits.

use std::arch::x86_64::{
    __m512, _mm_add_ps, _mm_add_ss, _mm_cvtss_f32, _mm_movehl_ps, _mm_shuffle_ps, _mm256_add_ps,
    _mm256_castpd_ps, _mm256_castps256_ps128, _mm256_extractf128_ps, _mm512_add_ps, _mm512_castps_pd,
    _mm512_castps512_ps256, _mm512_extractf64x4_pd, _mm512_mul_ps, _mm512_setzero_ps, _mm512_sub_ps,
};

use super::formats::Format;

/// Numbers of one step.
const STEP: usize = 32;

/// The sum of 32 lanes, folded in halves.
#[inline]
#[target_feature(enable = "avx512f")]
fn folded(low: __m512, high: __m512) -> f32 {
    let sixteen = _mm512_add_ps(low, high);
    let upper = _mm256_castpd_ps(_mm512_extractf64x4_pd::<1>(_mm512_castps_pd(sixteen)));
    let eight = _mm256_add_ps(_mm512_castps512_ps256(sixteen), upper);
    let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
    let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
}

/// Calls `step` with the next sixteen numbers of both sides, of the lower and the upper half of a step in turn, and
/// returns where the whole steps end.
macro_rules! steps {
    ($q:ident, $f:ident, $query:ident, $row:ident, |$low:ident, $high:ident| $step:block) => {{
        let whole = $query.len().min($row.len()) / STEP * STEP;
        let mut at = 0;
        while at < whole {
            // SAFETY: `at + 32` numbers are in both slices.
            let ($low, $high) = unsafe {
                let (query, row) = ($query.as_ptr().add(at), $row.as_ptr().add(at));
                (
                    ($q::sixteen(query), $f::sixteen(row)),
                    ($q::sixteen(query.add(STEP / 2)), $f::sixteen(row.add(STEP / 2))),
                )
            };
            $step
            at += STEP;
        }
        whole
    }};
}

/// The numbers behind the whole steps, in pairs.
#[inline]
fn rest<'a, Q: Format, F: Format>(
    query: &'a [Q::Bits],
    row: &'a [F::Bits],
    from: usize,
) -> impl Iterator<Item = (f32, f32)> + use<'a, Q, F> {
    let (query, row) = (query.iter().skip(from), row.iter().skip(from));
    query.zip(row).map(|(q, r)| (Q::widen(*q), F::widen(*r)))
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn l2<Q: Format, F: Format>(query: &[Q::Bits], row: &[F::Bits]) -> f32 {
    let (mut low_sum, mut high_sum) = (_mm512_setzero_ps(), _mm512_setzero_ps());
    let whole = steps!(Q, F, query, row, |low, high| {
        let (low, high) = (_mm512_sub_ps(low.0, low.1), _mm512_sub_ps(high.0, high.1));
        low_sum = _mm512_add_ps(low_sum, _mm512_mul_ps(low, low));
        high_sum = _mm512_add_ps(high_sum, _mm512_mul_ps(high, high));
    });
    let rest = rest::<Q, F>(query, row, whole).fold(0.0, |sum, (q, r)| sum + (q - r) * (q - r));
    rest + folded(low_sum, high_sum)
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn dot<Q: Format, F: Format>(query: &[Q::Bits], row: &[F::Bits]) -> f32 {
    let (mut low_sum, mut high_sum) = (_mm512_setzero_ps(), _mm512_setzero_ps());
    let whole = steps!(Q, F, query, row, |low, high| {
        low_sum = _mm512_add_ps(low_sum, _mm512_mul_ps(low.0, low.1));
        high_sum = _mm512_add_ps(high_sum, _mm512_mul_ps(high.0, high.1));
    });
    let rest = rest::<Q, F>(query, row, whole).fold(0.0, |sum, (q, r)| sum + q * r);
    rest + folded(low_sum, high_sum)
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn dot_square<Q: Format, F: Format>(query: &[Q::Bits], row: &[F::Bits]) -> (f32, f32) {
    let (mut low_dot, mut high_dot) = (_mm512_setzero_ps(), _mm512_setzero_ps());
    let (mut low_square, mut high_square) = (_mm512_setzero_ps(), _mm512_setzero_ps());
    let whole = steps!(Q, F, query, row, |low, high| {
        low_dot = _mm512_add_ps(low_dot, _mm512_mul_ps(low.0, low.1));
        high_dot = _mm512_add_ps(high_dot, _mm512_mul_ps(high.0, high.1));
        low_square = _mm512_add_ps(low_square, _mm512_mul_ps(low.1, low.1));
        high_square = _mm512_add_ps(high_square, _mm512_mul_ps(high.1, high.1));
    });
    let rest = rest::<Q, F>(query, row, whole);
    let (dot, square) = rest.fold((0.0, 0.0), |(dot, square), (q, r)| (dot + q * r, square + r * r));
    (
        dot + folded(low_dot, high_dot),
        square + folded(low_square, high_square),
    )
}
