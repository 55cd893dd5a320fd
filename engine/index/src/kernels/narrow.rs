//! Kernels of numbers narrower than 32 bits: halves, bfloat16s and 8-bit integers.
//!
//! Halves and bfloat16s are widened to `f32` as they are read, without a table and without a branch, so that the
//! compiler makes whole registers of it; integers are multiplied and added as integers, which rounds nothing. There is
//! one body for all instruction sets, compiled once for each: the sums are taken in the same order everywhere, so every
//! tier gives the same bits, and the plain build is the twin that the others are tested against.

use super::{Tier, kernels};

/// Sums that run side by side: two registers of AVX-512, four of AVX2.
const LANES: usize = 32;
/// Squares of differences of so many 8-bit integers fit into 32 bits.
const INT8_RUN: usize = 32_768;

/// A 16-bit format of floats, read from its bits.
pub(crate) trait Format {
    /// The number that `bits` stand for; infinities and NaN are not stored and may read as anything.
    fn widen(bits: u16) -> f32;
}

/// IEEE 754 binary16.
pub(crate) struct Half;

impl Format for Half {
    #[inline(always)]
    fn widen(bits: u16) -> f32 {
        /// 2^112, the distance of the two exponents' biases: exact for normal and subnormal halves alike.
        const REBIAS: f32 = f32::from_bits((127 + 112) << 23);
        let magnitude = f32::from_bits(u32::from(bits & 0x7fff) << 13) * REBIAS;
        f32::from_bits(magnitude.to_bits() | u32::from(bits & 0x8000) << 16)
    }
}

/// The upper half of an `f32`.
pub(crate) struct BFloat16;

impl Format for BFloat16 {
    #[inline(always)]
    fn widen(bits: u16) -> f32 {
        f32::from_bits(u32::from(bits) << 16)
    }
}

/// The half-precision number of these bits.
pub fn half_to_f32(bits: u16) -> f32 {
    Half::widen(bits)
}

/// The bfloat16 of these bits.
pub fn bfloat16_to_f32(bits: u16) -> f32 {
    BFloat16::widen(bits)
}

/// The bfloat16 nearest to `value`, ties to even, as bits. A finite number above the largest bfloat16 becomes infinite.
pub fn f32_to_bfloat16(value: f32) -> u16 {
    let bits = value.to_bits();
    if value.is_nan() {
        return (bits >> 16) as u16 | 0x0040;
    }
    let even = (bits >> 16) & 1;
    (bits.wrapping_add(0x7fff + even) >> 16) as u16
}

#[inline(always)]
fn sums<F: Format, const N: usize>(
    query: &[f32],
    row: &[u16],
    terms: impl Fn(f32, f32) -> [f32; N],
) -> [f32; N] {
    let shared = query.len().min(row.len());
    let (query, row) = (&query[..shared], &row[..shared]);
    let mut sums = [[0.0f32; LANES]; N];
    let (queries, rows) = (query.chunks_exact(LANES), row.chunks_exact(LANES));
    let mut totals = [0.0f32; N];
    for (&q, &r) in queries.remainder().iter().zip(rows.remainder()) {
        for (total, term) in totals.iter_mut().zip(terms(q, F::widen(r))) {
            *total += term;
        }
    }
    for (q, r) in queries.zip(rows) {
        for lane in 0..LANES {
            let terms = terms(q[lane], F::widen(r[lane]));
            for (sum, term) in sums.iter_mut().zip(terms) {
                sum[lane] += term;
            }
        }
    }
    for (sum, total) in sums.iter_mut().zip(&mut totals) {
        let mut width = LANES / 2;
        while width > 0 {
            for lane in 0..width {
                sum[lane] += sum[lane + width];
            }
            width /= 2;
        }
        *total += sum[0];
    }
    totals
}

#[inline(always)]
fn l2_body<F: Format>(query: &[f32], row: &[u16]) -> f32 {
    let [sum] = sums::<F, 1>(query, row, |q, r| [(q - r) * (q - r)]);
    sum
}

#[inline(always)]
fn dot_body<F: Format>(query: &[f32], row: &[u16]) -> f32 {
    let [sum] = sums::<F, 1>(query, row, |q, r| [q * r]);
    sum
}

#[inline(always)]
fn dot_square_body<F: Format>(query: &[f32], row: &[u16]) -> (f32, f32) {
    let [dot, square] = sums::<F, 2>(query, row, |q, r| [q * r, r * r]);
    (dot, square)
}

#[inline(always)]
fn int8_body(a: &[i8], b: &[i8], term: impl Fn(i32, i32) -> i32) -> i64 {
    let runs = a.chunks(INT8_RUN).zip(b.chunks(INT8_RUN));
    runs.map(|(a, b)| {
        let sum: i32 = a
            .iter()
            .zip(b)
            .map(|(&a, &b)| term(i32::from(a), i32::from(b)))
            .sum();
        i64::from(sum)
    })
    .sum()
}

#[inline(always)]
fn int8_l2_body(a: &[i8], b: &[i8]) -> i64 {
    int8_body(a, b, |a, b| (a - b) * (a - b))
}

#[inline(always)]
fn int8_dot_body(a: &[i8], b: &[i8]) -> i64 {
    int8_body(a, b, |a, b| a * b)
}

/// A kernel with the instruction set that this machine has.
macro_rules! tiered {
    ($(#[$doc:meta])* $name:ident $(<$format:ident>)? ($a:ident: $a_type:ty, $b:ident: $b_type:ty) -> $result:ty) => {
        $(#[$doc])*
        #[inline]
        pub(crate) fn $name $(<$format: Format>)? ($a: $a_type, $b: $b_type) -> $result {
            on_tier::$name $(::<$format>)? (kernels().tier(), $a, $b)
        }
    };
}

/// The kernels with the instruction set given, which must be one of this machine.
mod on_tier {
    use super::*;

    macro_rules! on_tier {
        ($name:ident $(<$format:ident>)? = $body:ident($a_type:ty, $b_type:ty) -> $result:ty) => {
            #[inline]
            pub(super) fn $name $(<$format: Format>)? (tier: Tier, a: $a_type, b: $b_type) -> $result {
                #[cfg(target_arch = "x86_64")]
                #[target_feature(enable = "avx512f")]
                fn avx512 $(<$format: Format>)? (a: $a_type, b: $b_type) -> $result {
                    $body $(::<$format>)? (a, b)
                }
                #[cfg(target_arch = "x86_64")]
                #[target_feature(enable = "avx2")]
                fn avx2 $(<$format: Format>)? (a: $a_type, b: $b_type) -> $result {
                    $body $(::<$format>)? (a, b)
                }
                match tier {
                    // SAFETY: a tier is only handed out on a machine that has its instruction set.
                    #[cfg(target_arch = "x86_64")]
                    Tier::Avx512 => unsafe { avx512 $(::<$format>)? (a, b) },
                    // SAFETY: as above.
                    #[cfg(target_arch = "x86_64")]
                    Tier::Avx2 => unsafe { avx2 $(::<$format>)? (a, b) },
                    #[cfg(not(target_arch = "x86_64"))]
                    Tier::Avx512 | Tier::Avx2 => $body $(::<$format>)? (a, b),
                    // What 64-bit ARM guarantees includes NEON.
                    Tier::Scalar | Tier::Neon => $body $(::<$format>)? (a, b),
                }
            }
        };
    }

    on_tier!(l2<F> = l2_body(&[f32], &[u16]) -> f32);
    on_tier!(dot<F> = dot_body(&[f32], &[u16]) -> f32);
    on_tier!(dot_square<F> = dot_square_body(&[f32], &[u16]) -> (f32, f32));
    on_tier!(int8_l2 = int8_l2_body(&[i8], &[i8]) -> i64);
    on_tier!(int8_dot = int8_dot_body(&[i8], &[i8]) -> i64);
}

tiered! {
    /// Squared Euclidean distance over the shared length.
    l2<F>(query: &[f32], row: &[u16]) -> f32
}
tiered! {
    /// Inner product over the shared length.
    dot<F>(query: &[f32], row: &[u16]) -> f32
}
tiered! {
    /// `(query . row, row . row)` in one pass.
    dot_square<F>(query: &[f32], row: &[u16]) -> (f32, f32)
}
tiered! {
    /// Squared Euclidean distance over the shared length, exact.
    int8_l2(a: &[i8], b: &[i8]) -> i64
}
tiered! {
    /// Inner product over the shared length, exact.
    int8_dot(a: &[i8], b: &[i8]) -> i64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::kernels::available;

    /// Finite halves, subnormals and both zeros included.
    fn halves() -> impl Strategy<Value = u16> {
        any::<u16>().prop_map(|bits| {
            if bits & 0x7c00 == 0x7c00 {
                bits & 0x83ff
            } else {
                bits
            }
        })
    }

    /// Bfloat16s whose squares and sums stay finite.
    fn bfloats() -> impl Strategy<Value = u16> {
        (-1e15f32..1e15).prop_map(f32_to_bfloat16)
    }

    /// What binary16 says by its definition.
    fn half_by_definition(bits: u16) -> f64 {
        let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
        let exponent = i32::from(bits >> 10 & 31);
        let fraction = f64::from(bits & 0x3ff) / 1024.0;
        sign * if exponent == 0 {
            fraction * 2f64.powi(-14)
        } else {
            (1.0 + fraction) * 2f64.powi(exponent - 15)
        }
    }

    fn close(got: f32, terms: impl Iterator<Item = f64>) -> bool {
        let (sum, size) = terms.fold((0.0, 0.0), |(sum, size), term| (sum + term, size + term.abs()));
        (f64::from(got) - sum).abs() <= 4e-6 * size + 1e-30
    }

    fn check<F: Format>(query: &[u16], row: &[u16]) -> Result<(), TestCaseError> {
        let query: Vec<f32> = query.iter().map(|bits| F::widen(*bits)).collect();
        let pairs = || {
            let wide = row.iter().map(|bits| f64::from(F::widen(*bits)));
            query.iter().map(|q| f64::from(*q)).zip(wide)
        };
        let expected = (
            l2_body::<F>(&query, row),
            dot_body::<F>(&query, row),
            dot_square_body::<F>(&query, row),
        );
        prop_assert!(close(expected.0, pairs().map(|(q, r)| (q - r) * (q - r))));
        prop_assert!(close(expected.1, pairs().map(|(q, r)| q * r)));
        prop_assert_eq!(expected.2.0, expected.1);
        prop_assert!(close(expected.2.1, pairs().map(|(_, r)| r * r)));
        for tier in available().iter().map(|kernels| kernels.tier()) {
            let got = (
                on_tier::l2::<F>(tier, &query, row),
                on_tier::dot::<F>(tier, &query, row),
                on_tier::dot_square::<F>(tier, &query, row),
            );
            prop_assert_eq!(got, expected, "{:?}", tier);
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn halves_equal_the_reference_on_every_tier(pairs in prop::collection::vec((halves(), halves()), 0..200)) {
            let (query, row): (Vec<u16>, Vec<u16>) = pairs.into_iter().unzip();
            check::<Half>(&query, &row)?;
        }

        #[test]
        fn bfloat16s_equal_the_reference_on_every_tier(pairs in prop::collection::vec((bfloats(), bfloats()), 0..200)) {
            let (query, row): (Vec<u16>, Vec<u16>) = pairs.into_iter().unzip();
            check::<BFloat16>(&query, &row)?;
        }

        #[test]
        fn integers_are_exact_on_every_tier(pairs in prop::collection::vec((any::<i8>(), any::<i8>()), 0..300)) {
            let (a, b): (Vec<i8>, Vec<i8>) = pairs.iter().copied().unzip();
            let wide = || pairs.iter().map(|(a, b)| (i64::from(*a), i64::from(*b)));
            let l2: i64 = wide().map(|(a, b)| (a - b) * (a - b)).sum();
            let dot: i64 = wide().map(|(a, b)| a * b).sum();
            for tier in available().iter().map(|kernels| kernels.tier()) {
                prop_assert_eq!(on_tier::int8_l2(tier, &a, &b), l2, "{:?}", tier);
                prop_assert_eq!(on_tier::int8_dot(tier, &a, &b), dot, "{:?}", tier);
            }
        }

        #[test]
        fn rounding_to_bfloat16_takes_the_nearest(value in -1e30f32..1e30) {
            let bits = f32_to_bfloat16(value);
            let error = |bits: u16| (f64::from(bfloat16_to_f32(bits)) - f64::from(value)).abs();
            for other in [bits.wrapping_sub(1), bits.wrapping_add(1)] {
                prop_assert!(error(bits) <= error(other), "{value}: {bits:#x} {other:#x}");
            }
        }
    }

    #[test]
    fn every_finite_half_is_widened_as_its_definition_says() {
        for bits in (0..=u16::MAX).filter(|bits| bits & 0x7c00 != 0x7c00) {
            assert_eq!(
                f64::from(half_to_f32(bits)),
                half_by_definition(bits),
                "{bits:#x}"
            );
        }
        assert!(half_to_f32(0x8000).is_sign_negative());
    }

    #[test]
    fn the_longest_row_of_the_largest_difference_does_not_overflow() {
        let (a, b) = (vec![i8::MIN; 3 * INT8_RUN], vec![i8::MAX; 3 * INT8_RUN]);
        assert_eq!(int8_l2(&a, &b), 3 * 32_768 * 255 * 255);
    }

    #[test]
    fn bfloat16_rounds_ties_to_even_and_overflows_to_infinity() {
        assert_eq!(f32_to_bfloat16(f32::from_bits(0x3f80_8000)), 0x3f80);
        assert_eq!(f32_to_bfloat16(f32::from_bits(0x3f81_8000)), 0x3f82);
        assert_eq!(bfloat16_to_f32(f32_to_bfloat16(f32::MAX)), f32::INFINITY);
        assert!(bfloat16_to_f32(f32_to_bfloat16(f32::NAN)).is_nan());
    }
}
