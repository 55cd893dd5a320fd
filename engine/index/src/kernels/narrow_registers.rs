//! The kernels of 16-bit floats with the registers of an instruction set, where the compiler makes too little of their portable
//! form: a whole register is widened by one instruction or two.
//!
//! They take their sums in the order of the portable form (its 32 lanes are two registers of AVX-512, four of AVX2, eight of
//! NEON) and without fused multiplication, and so give the same bits.

use super::formats::Format;

/// Numbers of one step.
pub(super) const LANES: usize = 32;

/// The numbers behind the whole steps, in pairs.
#[inline]
pub(super) fn rest<'a, Q: Format, F: Format>(
    query: &'a [Q::Bits],
    row: &'a [F::Bits],
    from: usize,
) -> impl Iterator<Item = (f32, f32)> + use<'a, Q, F> {
    let (query, row) = (query.iter().skip(from), row.iter().skip(from));
    query.zip(row).map(|(q, r)| (Q::widen(*q), F::widen(*r)))
}

/// The kernels of one instruction set.
macro_rules! register_kernels {
    (
        $(#[$doc:meta])* $name:ident, $features:literal, $register:ident x $count:literal, $load:ident, $folded:ident,
        $zero:ident, $add:ident, $sub:ident, $mul:ident
    ) => {
        $(#[$doc])*
        pub(super) mod $name {
            use super::*;
            use $crate::kernels::narrow_registers::{LANES, rest};

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
pub(super) use register_kernels;
