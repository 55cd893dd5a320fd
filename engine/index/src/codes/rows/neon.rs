//! Sums of [`super::levels`] with NEON: 16 dimensions per instruction.

use std::arch::aarch64::{
    int32x4_t, uint8x16_t, vaddq_s32, vaddvq_s32, vandq_u8, vdupq_n_s32, vdupq_n_u8, vget_low_s8,
    vget_low_s16, vget_low_u8, vld1q_s8, vld1q_u8, vmlal_high_s16, vmlal_s16, vmovl_high_s8, vmovl_high_u8,
    vmovl_s8, vmovl_u8, vorrq_u8, vreinterpretq_s16_u16, vshlq_n_u8, vshrq_n_u8,
};

use super::levels::{BLOCK, BYTES_4, BYTES_6};
use super::records::{Line, Records, gather_rows};

/// Bytes of a register.
const STEP: usize = 16;

/// [`super::levels::Levels::gather`].
///
/// # Safety
/// The machine has the features; codes and weights are as long as the packing says.
#[target_feature(enable = "neon")]
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

/// Two sums side by side: an addition waits for the one before it.
type Sums = [int32x4_t; 2];

/// Adds the products of 16 bytes and their weights.
///
/// # Safety
/// The machine has the features, and 16 weights are there.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn add(sums: Sums, bytes: uint8x16_t, weights: *const i8) -> Sums {
    // SAFETY: the caller's.
    let weights = unsafe { vld1q_s8(weights) };
    let low = vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(bytes)));
    let high = vreinterpretq_s16_u16(vmovl_high_u8(bytes));
    let (low_weights, high_weights) = (vmovl_s8(vget_low_s8(weights)), vmovl_high_s8(weights));
    let [first, second] = sums;
    let first = vmlal_s16(first, vget_low_s16(low), vget_low_s16(low_weights));
    let second = vmlal_s16(second, vget_low_s16(high), vget_low_s16(high_weights));
    [
        vmlal_high_s16(first, low, low_weights),
        vmlal_high_s16(second, high, high_weights),
    ]
}

#[inline]
#[target_feature(enable = "neon")]
fn total(sums: Sums) -> i32 {
    vaddvq_s32(vaddq_s32(sums[0], sums[1]))
}

/// # Safety
/// The machine has the features; there is a weight for every byte, in whole blocks.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn sum_8(code: &[u8], weights: &[i8]) -> i32 {
    let mut sums = [vdupq_n_s32(0); 2];
    let chunks = code.chunks_exact(STEP);
    let rest = chunks.remainder();
    for (code, weights) in chunks.zip(weights.chunks_exact(STEP)) {
        // SAFETY: both have 16 bytes.
        sums = unsafe { add(sums, vld1q_u8(code.as_ptr()), weights.as_ptr()) };
    }
    if let Some(weights) = weights
        .get(code.len() - rest.len()..)
        .filter(|_| !rest.is_empty())
    {
        let mut last = [0u8; STEP];
        last[..rest.len()].copy_from_slice(rest);
        // SAFETY: the weights are whole blocks, of which these are 16 at least.
        sums = unsafe { add(sums, vld1q_u8(last.as_ptr()), weights.as_ptr()) };
    }
    total(sums)
}

/// # Safety
/// The machine has the features; the code is whole blocks, with weights for each.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn sum_4(code: &[u8], weights: &[i8]) -> i32 {
    let nibble = vdupq_n_u8(15);
    let mut sums = [vdupq_n_s32(0); 2];
    for (block, weights) in code.chunks_exact(BYTES_4).zip(weights.chunks_exact(BLOCK)) {
        for half in [0, STEP] {
            // SAFETY: a block has 32 bytes, its weights 64.
            unsafe {
                let both = vld1q_u8(block.as_ptr().add(half));
                let weights = weights.as_ptr().add(half);
                sums = add(sums, vandq_u8(both, nibble), weights);
                sums = add(sums, vshrq_n_u8::<4>(both), weights.add(BYTES_4));
            }
        }
    }
    total(sums)
}

/// # Safety
/// The machine has the features; the code is whole blocks, with weights for each.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn sum_6(code: &[u8], weights: &[i8]) -> i32 {
    let (nibble, two) = (vdupq_n_u8(15), vdupq_n_u8(0x30));
    let mut sums = [vdupq_n_s32(0); 2];
    for (block, weights) in code.chunks_exact(BYTES_6).zip(weights.chunks_exact(BLOCK)) {
        // SAFETY: a block has 48 bytes, its weights 64.
        unsafe {
            let [first, second, tops] = [0, STEP, BYTES_4].map(|at| vld1q_u8(block.as_ptr().add(at)));
            let numbers = [
                (vandq_u8(first, nibble), vshlq_n_u8::<4>(tops)),
                (vandq_u8(second, nibble), vshlq_n_u8::<2>(tops)),
                (vshrq_n_u8::<4>(first), tops),
                (vshrq_n_u8::<4>(second), vshrq_n_u8::<2>(tops)),
            ];
            for (group, (low, top)) in numbers.into_iter().enumerate() {
                let number = vorrq_u8(low, vandq_u8(top, two));
                sums = add(sums, number, weights.as_ptr().add(group * STEP));
            }
        }
    }
    total(sums)
}
