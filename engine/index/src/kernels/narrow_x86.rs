//! The kernels of 16-bit floats with AVX-512 and AVX2, where the compiler makes too little of their portable form: a whole
//! register is widened by one instruction or two.
//!
//! They take their sums in the order of the portable form (its 32 lanes are two registers of AVX-512, four of AVX2) and
//! without fused multiplication, and so give the same bits.

use std::arch::x86_64::{
    __m256, __m512, _mm_add_ps, _mm_add_ss, _mm_cvtss_f32, _mm_movehl_ps, _mm_shuffle_ps, _mm256_add_ps,
    _mm256_castpd_ps, _mm256_castps256_ps128, _mm256_extractf128_ps, _mm256_mul_ps, _mm256_setzero_ps,
    _mm256_sub_ps, _mm512_add_ps, _mm512_castps_pd, _mm512_castps512_ps256, _mm512_extractf64x4_pd,
    _mm512_mul_ps, _mm512_setzero_ps, _mm512_sub_ps,
};

use super::formats::Format;

/// Numbers of one step.
const LANES: usize = 32;

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

/// The kernels of one instruction set.
macro_rules! kernels {
    (
        $(#[$doc:meta])* $name:ident, $features:literal, $register:ident x $count:literal, $load:ident, $folded:ident,
        $zero:ident, $add:ident, $sub:ident, $mul:ident
    ) => {
        $(#[$doc])*
        pub(super) mod $name {
            use super::*;

            /// Adds to the sums what `terms` makes of every register of both sides; returns where the whole steps end.
            #[inline]
            #[target_feature(enable = $features)]
            fn add_steps<Q: Format, F: Format, const N: usize>(
                query: &[Q::Bits],
                row: &[F::Bits],
                sums: &mut [[$register; $count]; N],
                terms: impl Fn($register, $register) -> [$register; N],
            ) -> usize {
                let whole = query.len().min(row.len()) / LANES * LANES;
                let mut at = 0;
                while at < whole {
                    for sum in 0..$count {
                        // SAFETY: a register from `at` on ends within the step, and so within both slices.
                        let (q, r) = unsafe { (Q::$load(query.as_ptr().add(at)), F::$load(row.as_ptr().add(at))) };
                        for (sums, term) in sums.iter_mut().zip(terms(q, r)) {
                            sums[sum] = $add(sums[sum], term);
                        }
                        at += LANES / $count;
                    }
                }
                whole
            }

            #[inline]
            #[target_feature(enable = $features)]
            pub(in super::super) fn l2<Q: Format, F: Format>(query: &[Q::Bits], row: &[F::Bits]) -> f32 {
                let mut sums = [[$zero(); $count]];
                let whole = add_steps::<Q, F, 1>(query, row, &mut sums, |q, r| {
                    let difference = $sub(q, r);
                    [$mul(difference, difference)]
                });
                let rest = rest::<Q, F>(query, row, whole);
                rest.fold(0.0, |sum, (q, r)| sum + (q - r) * (q - r)) + $folded(sums[0])
            }

            #[inline]
            #[target_feature(enable = $features)]
            pub(in super::super) fn dot<Q: Format, F: Format>(query: &[Q::Bits], row: &[F::Bits]) -> f32 {
                let mut sums = [[$zero(); $count]];
                let whole = add_steps::<Q, F, 1>(query, row, &mut sums, |q, r| [$mul(q, r)]);
                let rest = rest::<Q, F>(query, row, whole);
                rest.fold(0.0, |sum, (q, r)| sum + q * r) + $folded(sums[0])
            }

            #[inline]
            #[target_feature(enable = $features)]
            pub(in super::super) fn dot_square<Q: Format, F: Format>(query: &[Q::Bits], row: &[F::Bits]) -> (f32, f32) {
                let mut sums = [[$zero(); $count]; 2];
                let whole = add_steps::<Q, F, 2>(query, row, &mut sums, |q, r| [$mul(q, r), $mul(r, r)]);
                let rest = rest::<Q, F>(query, row, whole);
                let (dot, square) = rest.fold((0.0, 0.0), |(dot, square), (q, r)| (dot + q * r, square + r * r));
                (dot + $folded(sums[0]), square + $folded(sums[1]))
            }
        }
    };
}

kernels!(
    /// Two registers of sixteen numbers.
    avx512, "avx512f", __m512 x 2, sixteen, folded_512,
    _mm512_setzero_ps, _mm512_add_ps, _mm512_sub_ps, _mm512_mul_ps
);
kernels!(
    /// Four registers of eight numbers.
    avx2, "avx2,f16c", __m256 x 4, eight, folded_256,
    _mm256_setzero_ps, _mm256_add_ps, _mm256_sub_ps, _mm256_mul_ps
);
