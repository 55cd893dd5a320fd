//! Bits counted 16 bytes at a time.

use std::arch::aarch64::{
    uint8x16_t, vaddlvq_u8, vaddq_u8, vandq_u8, vcntq_u8, vdupq_n_u8, veorq_u8, vld1q_u8, vorrq_u8,
};

use super::words::count_words;
use super::{Meeting, table};

/// Steps whose counts, up to 8 each, fit into a byte.
const RUN: usize = 31;

/// Set bits of what `of_registers` makes of the whole registers of both sides; `of_words` counts those of the words behind
/// them.
#[inline]
#[target_feature(enable = "neon")]
fn count<const N: usize>(
    a: &[u8],
    b: &[u8],
    of_registers: impl Fn(uint8x16_t, uint8x16_t) -> [uint8x16_t; N],
    of_words: impl Fn(u64, u64) -> [u32; N],
) -> [u64; N] {
    let shared = a.len().min(b.len());
    let (a, b) = (a[..shared].as_chunks::<16>(), b[..shared].as_chunks::<16>());
    let mut totals = [0; N];
    for (a, b) in a.0.chunks(RUN).zip(b.0.chunks(RUN)) {
        let mut bytes = [vdupq_n_u8(0); N];
        for (a, b) in a.iter().zip(b) {
            // SAFETY: 16 bytes each.
            let (a, b) = unsafe { (vld1q_u8(a.as_ptr()), vld1q_u8(b.as_ptr())) };
            for (bytes, bits) in bytes.iter_mut().zip(of_registers(a, b)) {
                *bytes = vaddq_u8(*bytes, vcntq_u8(bits));
            }
        }
        for (total, bytes) in totals.iter_mut().zip(bytes) {
            *total += u64::from(vaddlvq_u8(bytes));
        }
    }
    count_words(a.1, b.1, |a, b| {
        for (total, bits) in totals.iter_mut().zip(of_words(a, b)) {
            *total += u64::from(bits);
        }
    });
    totals
}

#[inline]
#[target_feature(enable = "neon")]
fn differing(a: &[u8], b: &[u8]) -> u64 {
    let [differing] = count(a, b, |a, b| [veorq_u8(a, b)], |a, b| [(a ^ b).count_ones()]);
    differing
}

#[inline]
#[target_feature(enable = "neon")]
fn meeting(a: &[u8], b: &[u8]) -> Meeting {
    let [both, either] = count(
        a,
        b,
        |a, b| [vandq_u8(a, b), vorrq_u8(a, b)],
        |a, b| [(a & b).count_ones(), (a | b).count_ones()],
    );
    Meeting { both, either }
}

table!(
    #[target_feature(enable = "neon")]
    KERNELS,
    "neon",
    differing,
    meeting
);
