//! Sums over packed codes with NEON: 16 codes or table entries per instruction.
//!
//! Contract of all: `codes` is a whole number of units of `unit_bytes` bytes, `out` has the packing's rows for each, and the
//! operand is as long as the packing says.

use std::arch::aarch64::{
    int16x8_t, int32x4_t, uint8x16_t, uint16x8_t, uint32x4_t, vaddl_high_u8, vaddl_u8, vaddq_s32, vaddq_u16,
    vaddw_high_u8, vaddw_high_u16, vaddw_u8, vaddw_u16, vandq_u8, vcombine_s16, vdup_n_s64, vdupq_n_s32,
    vdupq_n_u8, vdupq_n_u16, vdupq_n_u32, vget_low_s16, vget_low_u8, vget_low_u16, vld1q_u8, vld1q_u8_x4,
    vmovl_high_u8, vmovl_u8, vmull_high_s16, vmull_s16, vorrq_u8, vpaddq_s32, vqtbl1q_u8, vqtbl4q_u8,
    vqtbx4q_u8, vreinterpret_s16_s64, vreinterpretq_s16_u16, vreinterpretq_s32_u32, vshlq_n_u8, vshrq_n_u8,
    vst1q_s32, vsubq_u8,
};

use super::packing::RUN;

/// Reads 16 bytes at `at`.
///
/// # Safety
/// They lie inside the slice.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn load(bytes: &[u8], at: usize) -> uint8x16_t {
    debug_assert!(at + 16 <= bytes.len());
    // SAFETY: the caller's.
    unsafe { vld1q_u8(bytes.as_ptr().add(at)) }
}

/// Four weights at `at` as 16-bit numbers, in both halves.
#[inline]
#[target_feature(enable = "neon")]
fn weights(operand: &[u8], at: usize) -> int16x8_t {
    let four = match operand.get(at..at + 4) {
        Some(&[a, b, c, d]) => [a, b, c, d].map(|weight| i64::from(weight.cast_signed()) & 0xffff),
        _ => [0; 4],
    };
    let four = vdup_n_s64(four[0] | four[1] << 16 | four[2] << 32 | four[3] << 48);
    let four = vreinterpret_s16_s64(four);
    vcombine_s16(four, four)
}

/// Sums of four rows: pairs of dimensions of the first two and of the others, which are added up at the end.
#[derive(Clone, Copy)]
struct Four([int32x4_t; 2]);

impl Four {
    /// Adds the products of four weights and four bytes of each row.
    #[inline]
    #[target_feature(enable = "neon")]
    fn add(&mut self, bytes: uint8x16_t, weights: int16x8_t) {
        let halves = [
            vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(bytes))),
            vreinterpretq_s16_u16(vmovl_high_u8(bytes)),
        ];
        for (sum, half) in self.0.iter_mut().zip(halves) {
            let products = [
                vmull_s16(vget_low_s16(half), vget_low_s16(weights)),
                vmull_high_s16(half, weights),
            ];
            *sum = vaddq_s32(*sum, vpaddq_s32(products[0], products[1]));
        }
    }
}

/// Sums of [`super::packing::Packing::Levels`].
///
/// # Safety
/// The contract of this file.
#[target_feature(enable = "neon")]
pub(super) unsafe fn levels(bits: u32, unit_bytes: usize, codes: &[u8], operand: &[u8], out: &mut [i32]) {
    let (nibble, high) = (vdupq_n_u8(15), vdupq_n_u8(0x30));
    for (unit, out) in codes.chunks_exact(unit_bytes).zip(out.chunks_exact_mut(16)) {
        for (quarter, slots) in out.chunks_exact_mut(4).enumerate() {
            let mut sums = Four([vdupq_n_s32(0); 2]);
            let quarter = quarter * 16;
            // SAFETY: a unit has a whole number of steps of 64 bytes, see `Packing::unit_bytes`.
            unsafe {
                match bits {
                    8 => {
                        for step in 0..unit_bytes / 64 {
                            sums.add(load(unit, step * 64 + quarter), weights(operand, step * 4));
                        }
                    }
                    6 => {
                        for step in 0..unit_bytes / 192 {
                            let at = step * 192 + quarter;
                            let (first, second) = (load(unit, at), load(unit, at + 64));
                            let top = load(unit, at + 128);
                            let numbers = [
                                (vandq_u8(first, nibble), vshlq_n_u8::<4>(top)),
                                (vshrq_n_u8::<4>(first), vshlq_n_u8::<2>(top)),
                                (vandq_u8(second, nibble), top),
                                (vshrq_n_u8::<4>(second), vshrq_n_u8::<2>(top)),
                            ];
                            for (group, (low, top)) in numbers.into_iter().enumerate() {
                                let number = vorrq_u8(low, vandq_u8(top, high));
                                sums.add(number, weights(operand, step * 16 + group * 4));
                            }
                        }
                    }
                    _ => {
                        for step in 0..unit_bytes / 64 {
                            let both = load(unit, step * 64 + quarter);
                            sums.add(vandq_u8(both, nibble), weights(operand, step * 8));
                            sums.add(vshrq_n_u8::<4>(both), weights(operand, step * 8 + 4));
                        }
                    }
                }
                vst1q_s32(slots.as_mut_ptr(), vpaddq_s32(sums.0[0], sums.0[1]));
            }
        }
    }
}

/// Adds 16-bit sums of eight rows to their 32-bit sums.
#[inline]
#[target_feature(enable = "neon")]
fn widen(totals: &mut [uint32x4_t], sums: uint16x8_t) {
    if let [low, high] = totals {
        *low = vaddw_u16(*low, vget_low_u16(sums));
        *high = vaddw_high_u16(*high, sums);
    }
}

/// Writes the sums of a unit.
#[inline]
#[target_feature(enable = "neon")]
fn store(totals: &[uint32x4_t], out: &mut [i32]) {
    for (slots, &total) in out.chunks_exact_mut(4).zip(totals) {
        // SAFETY: 4 slots.
        unsafe { vst1q_s32(slots.as_mut_ptr(), vreinterpretq_s32_u32(total)) };
    }
}

/// Sums of [`super::packing::Packing::Nibbles`].
///
/// # Safety
/// The contract of this file.
#[target_feature(enable = "neon")]
pub(super) unsafe fn nibbles(unit_bytes: usize, codes: &[u8], operand: &[u8], out: &mut [i32]) {
    let nibble = vdupq_n_u8(15);
    let steps = unit_bytes / 64;
    for (unit, out) in codes.chunks_exact(unit_bytes).zip(out.chunks_exact_mut(32)) {
        let mut totals = [vdupq_n_u32(0); 8];
        let mut first = 0;
        while first < steps {
            let last = (first + RUN / 4).min(steps);
            let mut sums = [vdupq_n_u16(0); 4];
            for step in first..last {
                for half in [0, 32] {
                    // SAFETY: a unit has `steps` steps of 64 bytes, the operand 128 bytes of tables for each.
                    let (codes, low_table, high_table) = unsafe {
                        let at = step * 64 + half;
                        (
                            [load(unit, at), load(unit, at + 16)],
                            load(operand, step * 128 + half),
                            load(operand, step * 128 + 64 + half),
                        )
                    };
                    for (code, sums) in codes.into_iter().zip(sums.chunks_exact_mut(2)) {
                        let low = vqtbl1q_u8(low_table, vandq_u8(code, nibble));
                        let high = vqtbl1q_u8(high_table, vshrq_n_u8::<4>(code));
                        sums[0] = vaddq_u16(sums[0], vaddl_u8(vget_low_u8(low), vget_low_u8(high)));
                        sums[1] = vaddq_u16(sums[1], vaddl_high_u8(low, high));
                    }
                }
            }
            for (totals, &sums) in totals.chunks_exact_mut(2).zip(&sums) {
                widen(totals, sums);
            }
            first = last;
        }
        store(&totals, out);
    }
}

/// Sums of [`super::packing::Packing::Bytes`].
///
/// # Safety
/// The contract of this file.
#[target_feature(enable = "neon")]
pub(super) unsafe fn bytes(unit_bytes: usize, codes: &[u8], operand: &[u8], out: &mut [i32]) {
    let quarter = vdupq_n_u8(64);
    let steps = unit_bytes / 64;
    for (unit, out) in codes.chunks_exact(unit_bytes).zip(out.chunks_exact_mut(64)) {
        let mut totals = [vdupq_n_u32(0); 16];
        let mut first = 0;
        while first < steps {
            let last = (first + RUN).min(steps);
            let mut sums = [vdupq_n_u16(0); 8];
            for step in first..last {
                // SAFETY: a unit has `steps` steps of 64 bytes, the operand a table of 256 bytes for each.
                let tables = unsafe {
                    let at = |part: usize| operand.as_ptr().add(step * 256 + part * 64);
                    debug_assert!(step * 256 + 256 <= operand.len());
                    [0, 1, 2, 3].map(|part| vld1q_u8_x4(at(part)))
                };
                for (group, sums) in sums.chunks_exact_mut(2).enumerate() {
                    // SAFETY: as above.
                    let code = unsafe { load(unit, step * 64 + group * 16) };
                    // A lookup leaves what is out of its 64 entries as it was, and so do numbers that wrapped around.
                    let mut at = code;
                    let mut found = vqtbl4q_u8(tables[0], at);
                    for &table in tables.iter().skip(1) {
                        at = vsubq_u8(at, quarter);
                        found = vqtbx4q_u8(found, table, at);
                    }
                    sums[0] = vaddw_u8(sums[0], vget_low_u8(found));
                    sums[1] = vaddw_high_u8(sums[1], found);
                }
            }
            for (totals, &sums) in totals.chunks_exact_mut(2).zip(&sums) {
                widen(totals, sums);
            }
            first = last;
        }
        store(&totals, out);
    }
}
