//! Kernels of numbers narrower than 32 bits: halves, bfloat16s and 8-bit integers.
//!
//! Halves and bfloat16s are widened to `f32` as they are read, without a table and without a branch, so that the
//! compiler makes whole registers of it; integers are multiplied and added as integers, which rounds nothing. There is
//! one body for all instruction sets, compiled once for each: the sums are taken in the same order everywhere, so every
//! tier gives the same bits, and the plain build is the twin that the others are tested against. Integers have kernels
//! with VNNI and with the dot products of ARM besides (`int8_x86`, `int8_neon`).
//!
//! The side of the query is either of the row's type, or widened already: a query meets many rows. Both give the same
//! bits. The gather forms are the pair forms over rows by number, with prefetch.

use super::gather::gather_body;
use super::{Tier, kernels};
#[cfg(target_arch = "aarch64")]
use super::{int8_neon, narrow_neon};
#[cfg(target_arch = "x86_64")]
use super::{int8_x86, narrow_x86};

pub(crate) use super::formats::{BFloat16, Format, Half, Single};
pub use super::formats::{bfloat16_to_f32, f32_to_bfloat16, half_to_f32};

/// Sums that run side by side: two registers of AVX-512, four of AVX2.
const LANES: usize = 32;
/// Which form of the kernels of 16-bit floats is compiled in.
const PORTABLE: u8 = 0;
#[cfg(target_arch = "x86_64")]
const AVX2: u8 = 1;
#[cfg(target_arch = "x86_64")]
const AVX512: u8 = 2;
#[cfg(target_arch = "aarch64")]
const NEON: u8 = 3;
/// Squares of differences of so many 8-bit integers fit into 32 bits.
pub(super) const INT8_RUN: usize = 32_768;

#[inline(always)]
fn sums<Q: Format, F: Format, const N: usize>(
    query: &[Q::Bits],
    row: &[F::Bits],
    terms: impl Fn(f32, f32) -> [f32; N],
) -> [f32; N] {
    let shared = query.len().min(row.len());
    let (query, row) = (&query[..shared], &row[..shared]);
    let mut sums = [[0.0f32; LANES]; N];
    let (queries, rows) = (query.chunks_exact(LANES), row.chunks_exact(LANES));
    let mut totals = [0.0f32; N];
    for (&q, &r) in queries.remainder().iter().zip(rows.remainder()) {
        for (total, term) in totals.iter_mut().zip(terms(Q::widen(q), F::widen(r))) {
            *total += term;
        }
    }
    for (q, r) in queries.zip(rows) {
        for lane in 0..LANES {
            let terms = terms(Q::widen(q[lane]), F::widen(r[lane]));
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
fn l2_body<Q: Format, F: Format, const LEVEL: u8>(query: &[Q::Bits], row: &[F::Bits]) -> f32 {
    #[cfg(target_arch = "x86_64")]
    match LEVEL {
        // SAFETY: a level is asked for where the machine has it only.
        AVX512 => return unsafe { narrow_x86::avx512::l2::<Q, F>(query, row) },
        // SAFETY: as above.
        AVX2 => return unsafe { narrow_x86::avx2::l2::<Q, F>(query, row) },
        _ => {}
    }
    #[cfg(target_arch = "aarch64")]
    if LEVEL == NEON {
        // SAFETY: what 64-bit ARM guarantees includes NEON.
        return unsafe { narrow_neon::neon::l2::<Q, F>(query, row) };
    }
    let [sum] = sums::<Q, F, 1>(query, row, |q, r| [(q - r) * (q - r)]);
    sum
}

#[inline(always)]
fn dot_body<Q: Format, F: Format, const LEVEL: u8>(query: &[Q::Bits], row: &[F::Bits]) -> f32 {
    #[cfg(target_arch = "x86_64")]
    match LEVEL {
        // SAFETY: a level is asked for where the machine has it only.
        AVX512 => return unsafe { narrow_x86::avx512::dot::<Q, F>(query, row) },
        // SAFETY: as above.
        AVX2 => return unsafe { narrow_x86::avx2::dot::<Q, F>(query, row) },
        _ => {}
    }
    #[cfg(target_arch = "aarch64")]
    if LEVEL == NEON {
        // SAFETY: what 64-bit ARM guarantees includes NEON.
        return unsafe { narrow_neon::neon::dot::<Q, F>(query, row) };
    }
    let [sum] = sums::<Q, F, 1>(query, row, |q, r| [q * r]);
    sum
}

#[inline(always)]
fn dot_square_body<Q: Format, F: Format, const LEVEL: u8>(query: &[Q::Bits], row: &[F::Bits]) -> (f32, f32) {
    #[cfg(target_arch = "x86_64")]
    match LEVEL {
        // SAFETY: a level is asked for where the machine has it only.
        AVX512 => return unsafe { narrow_x86::avx512::dot_square::<Q, F>(query, row) },
        // SAFETY: as above.
        AVX2 => return unsafe { narrow_x86::avx2::dot_square::<Q, F>(query, row) },
        _ => {}
    }
    #[cfg(target_arch = "aarch64")]
    if LEVEL == NEON {
        // SAFETY: what 64-bit ARM guarantees includes NEON.
        return unsafe { narrow_neon::neon::dot_square::<Q, F>(query, row) };
    }
    let [dot, square] = sums::<Q, F, 2>(query, row, |q, r| [q * r, r * r]);
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
pub(super) fn int8_dot_body(a: &[i8], b: &[i8]) -> i64 {
    int8_body(a, b, |a, b| a * b)
}

#[inline(always)]
fn l2_gather_body<Q: Format, F: Format, const LEVEL: u8>(
    query: &[Q::Bits],
    data: &[F::Bits],
    rows: &[u32],
    out: &mut [f32],
) {
    gather_body(query.len(), data, rows, out, |row| {
        l2_body::<Q, F, LEVEL>(query, row)
    });
}

#[inline(always)]
fn dot_gather_body<Q: Format, F: Format, const LEVEL: u8>(
    query: &[Q::Bits],
    data: &[F::Bits],
    rows: &[u32],
    out: &mut [f32],
) {
    gather_body(query.len(), data, rows, out, |row| {
        dot_body::<Q, F, LEVEL>(query, row)
    });
}

#[inline(always)]
fn int8_l2_gather_body(query: &[i8], data: &[i8], rows: &[u32], out: &mut [f32]) {
    gather_body(query.len(), data, rows, out, |row| {
        int8_l2_body(query, row) as f32
    });
}

#[inline(always)]
fn int8_dot_gather_body(query: &[i8], data: &[i8], rows: &[u32], out: &mut [f32]) {
    gather_body(query.len(), data, rows, out, |row| {
        int8_dot_body(query, row) as f32
    });
}

/// A kernel with the instruction set that this machine has.
macro_rules! tiered {
    ($(#[$doc:meta])* $name:ident $(<$($format:ident),+>)? ($($arg:ident: $type:ty),+) $(-> $result:ty)?) => {
        $(#[$doc])*
        #[inline]
        pub(crate) fn $name $(<$($format: Format),+>)? ($($arg: $type),+) $(-> $result)? {
            on_tier::$name $(::<$($format),+>)? (kernels().tier(), $($arg),+)
        }
    };
}

/// The kernels with the instruction set given, which must be one of this machine.
mod on_tier {
    use super::*;

    macro_rules! on_tier {
        ($name:ident $(<$($format:ident),+>)? = $body:ident($($arg:ident: $type:ty),+) $(-> $result:ty)?) => {
            #[inline]
            pub(super) fn $name $(<$($format: Format),+>)? (tier: Tier, $($arg: $type),+) $(-> $result)? {
                #[cfg(target_arch = "x86_64")]
                #[target_feature(enable = "avx512f")]
                fn avx512 $(<$($format: Format),+>)? ($($arg: $type),+) $(-> $result)? {
                    $body $(::<$($format,)+ AVX512>)? ($($arg),+)
                }
                #[cfg(target_arch = "x86_64")]
                #[target_feature(enable = "avx2,f16c")]
                fn avx2 $(<$($format: Format),+>)? ($($arg: $type),+) $(-> $result)? {
                    $body $(::<$($format,)+ AVX2>)? ($($arg),+)
                }
                match tier {
                    // SAFETY: a tier is only handed out on a machine that has its instruction set.
                    #[cfg(target_arch = "x86_64")]
                    Tier::Avx512 => unsafe { avx512 $(::<$($format),+>)? ($($arg),+) },
                    // SAFETY: as above.
                    #[cfg(target_arch = "x86_64")]
                    Tier::Avx2 => unsafe { avx2 $(::<$($format),+>)? ($($arg),+) },
                    #[cfg(not(target_arch = "x86_64"))]
                    Tier::Avx512 | Tier::Avx2 => $body $(::<$($format,)+ PORTABLE>)? ($($arg),+),
                    #[cfg(target_arch = "aarch64")]
                    Tier::Neon => $body $(::<$($format,)+ NEON>)? ($($arg),+),
                    #[cfg(not(target_arch = "aarch64"))]
                    Tier::Neon => $body $(::<$($format,)+ PORTABLE>)? ($($arg),+),
                    Tier::Scalar => $body $(::<$($format,)+ PORTABLE>)? ($($arg),+),
                }
            }
        };
    }

    on_tier!(l2<Q, F> = l2_body(query: &[Q::Bits], row: &[F::Bits]) -> f32);
    on_tier!(dot<Q, F> = dot_body(query: &[Q::Bits], row: &[F::Bits]) -> f32);
    on_tier!(dot_square<Q, F> = dot_square_body(query: &[Q::Bits], row: &[F::Bits]) -> (f32, f32));
    on_tier!(l2_gather<Q, F> = l2_gather_body(query: &[Q::Bits], data: &[F::Bits], rows: &[u32], out: &mut [f32]));
    on_tier!(dot_gather<Q, F> = dot_gather_body(query: &[Q::Bits], data: &[F::Bits], rows: &[u32], out: &mut [f32]));
    on_tier!(int8_l2 = int8_l2_body(a: &[i8], b: &[i8]) -> i64);
    on_tier!(int8_dot = int8_dot_body(a: &[i8], b: &[i8]) -> i64);
    on_tier!(int8_l2_gather = int8_l2_gather_body(query: &[i8], data: &[i8], rows: &[u32], out: &mut [f32]));
    on_tier!(int8_dot_gather = int8_dot_gather_body(query: &[i8], data: &[i8], rows: &[u32], out: &mut [f32]));
}

tiered! {
    /// Squared Euclidean distance over the shared length.
    l2<Q, F>(query: &[Q::Bits], row: &[F::Bits]) -> f32
}
tiered! {
    /// Inner product over the shared length.
    dot<Q, F>(query: &[Q::Bits], row: &[F::Bits]) -> f32
}
tiered! {
    /// `(query . row, row . row)` in one pass; both equal what [`dot`] gives, bit for bit.
    dot_square<Q, F>(query: &[Q::Bits], row: &[F::Bits]) -> (f32, f32)
}
tiered! {
    /// [`l2`] to rows of `data` by number, infinite where there is none; rows are as long as the query.
    l2_gather<Q, F>(query: &[Q::Bits], data: &[F::Bits], rows: &[u32], out: &mut [f32])
}
tiered! {
    /// [`dot`] with rows of `data` by number, infinite where there is none; rows are as long as the query.
    dot_gather<Q, F>(query: &[Q::Bits], data: &[F::Bits], rows: &[u32], out: &mut [f32])
}
/// A kernel of 8-bit integers: with the instructions for them where this machine has them, else with its instruction set.
macro_rules! of_integers {
    ($(#[$doc:meta])* $name:ident, $own:ident ($($arg:ident: $type:ty),+) $(-> $result:ty)?) => {
        $(#[$doc])*
        #[inline]
        pub(crate) fn $name($($arg: $type),+) $(-> $result)? {
            #[cfg(target_arch = "x86_64")]
            if int8_x86::is_there() {
                // SAFETY: the machine has the instructions.
                return unsafe { int8_x86::$own($($arg),+) };
            }
            #[cfg(target_arch = "aarch64")]
            if int8_neon::is_there() {
                // SAFETY: the machine has the instructions.
                return unsafe { int8_neon::$own($($arg),+) };
            }
            on_tier::$name(kernels().tier(), $($arg),+)
        }
    };
}

of_integers! {
    /// Squared Euclidean distance over the shared length, exact.
    int8_l2, l2(a: &[i8], b: &[i8]) -> i64
}
of_integers! {
    /// Inner product over the shared length, exact.
    int8_dot, dot(a: &[i8], b: &[i8]) -> i64
}
of_integers! {
    /// [`int8_l2`] to rows of `data` by number, rounded to an `f32`.
    int8_l2_gather, l2_gather(query: &[i8], data: &[i8], rows: &[u32], out: &mut [f32])
}
of_integers! {
    /// [`int8_dot`] with rows of `data` by number, rounded to an `f32`.
    int8_dot_gather, dot_gather(query: &[i8], data: &[i8], rows: &[u32], out: &mut [f32])
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

    fn check<F: Format<Bits = u16>>(narrow_query: &[u16], row: &[u16]) -> Result<(), TestCaseError> {
        let query: Vec<f32> = narrow_query.iter().map(|bits| F::widen(*bits)).collect();
        let pairs = || {
            let wide = row.iter().map(|bits| f64::from(F::widen(*bits)));
            query.iter().map(|q| f64::from(*q)).zip(wide)
        };
        let expected = (
            l2_body::<Single, F, PORTABLE>(&query, row),
            dot_body::<Single, F, PORTABLE>(&query, row),
            dot_square_body::<Single, F, PORTABLE>(&query, row),
        );
        prop_assert!(close(expected.0, pairs().map(|(q, r)| (q - r) * (q - r))));
        prop_assert!(close(expected.1, pairs().map(|(q, r)| q * r)));
        prop_assert_eq!(expected.2.0, expected.1);
        prop_assert!(close(expected.2.1, pairs().map(|(_, r)| r * r)));
        for tier in available().iter().map(|kernels| kernels.tier()) {
            let got = (
                on_tier::l2::<Single, F>(tier, &query, row),
                on_tier::dot::<Single, F>(tier, &query, row),
                on_tier::dot_square::<Single, F>(tier, &query, row),
            );
            prop_assert_eq!(got, expected, "{:?}", tier);
            let narrow = (
                on_tier::l2::<F, F>(tier, narrow_query, row),
                on_tier::dot::<F, F>(tier, narrow_query, row),
                on_tier::dot_square::<F, F>(tier, narrow_query, row),
            );
            prop_assert_eq!(narrow, expected, "{:?} of the row's type", tier);
            if row.is_empty() {
                continue;
            }
            // The row is the second of two; there is no third.
            let data = [narrow_query, row].concat();
            let mut out = [0.0; 3];
            on_tier::l2_gather::<Single, F>(tier, &query, &data, &[1, 2, 1], &mut out);
            prop_assert_eq!(out, [expected.0, f32::INFINITY, expected.0], "{:?}", tier);
            on_tier::dot_gather::<F, F>(tier, narrow_query, &data, &[1, u32::MAX, 1], &mut out);
            prop_assert_eq!(out, [expected.1, f32::INFINITY, expected.1], "{:?}", tier);
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
            prop_assert_eq!((int8_l2(&a, &b), int8_dot(&a, &b)), (l2, dot));
            for tier in available().iter().map(|kernels| kernels.tier()) {
                prop_assert_eq!(on_tier::int8_l2(tier, &a, &b), l2, "{:?}", tier);
                prop_assert_eq!(on_tier::int8_dot(tier, &a, &b), dot, "{:?}", tier);
                if a.is_empty() {
                    continue;
                }
                let (data, mut out) = ([a.as_slice(), &b].concat(), [0.0; 2]);
                on_tier::int8_l2_gather(tier, &a, &data, &[2, 1], &mut out);
                prop_assert_eq!(out, [f32::INFINITY, l2 as f32], "{:?}", tier);
                on_tier::int8_dot_gather(tier, &a, &data, &[2, 1], &mut out);
                prop_assert_eq!(out, [f32::INFINITY, dot as f32], "{:?}", tier);
                int8_l2_gather(&a, &data, &[1, 2], &mut out);
                prop_assert_eq!(out, [l2 as f32, f32::INFINITY]);
                int8_dot_gather(&a, &data, &[1, 2], &mut out);
                prop_assert_eq!(out, [dot as f32, f32::INFINITY]);
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
