//! The kernels of 16-bit floats with NEON.

use std::arch::aarch64::{
    float32x4_t, vadd_f32, vaddq_f32, vdupq_n_f32, vget_high_f32, vget_lane_f32, vget_low_f32, vmulq_f32,
    vsubq_f32,
};

use super::formats::Format;
use super::narrow_registers::register_kernels;

#[inline]
#[target_feature(enable = "neon")]
fn zero() -> float32x4_t {
    vdupq_n_f32(0.0)
}

/// The sum of 32 lanes, folded in halves.
#[inline]
#[target_feature(enable = "neon")]
fn folded([a, b, c, d, e, f, g, h]: [float32x4_t; 8]) -> f32 {
    let sixteen = [vaddq_f32(a, e), vaddq_f32(b, f), vaddq_f32(c, g), vaddq_f32(d, h)];
    let eight = [
        vaddq_f32(sixteen[0], sixteen[2]),
        vaddq_f32(sixteen[1], sixteen[3]),
    ];
    let four = vaddq_f32(eight[0], eight[1]);
    let two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
    vget_lane_f32::<0>(two) + vget_lane_f32::<1>(two)
}

register_kernels!(
    /// Eight registers of four numbers.
    neon, "neon", float32x4_t x 8, four, folded,
    zero, vaddq_f32, vsubq_f32, vmulq_f32
);
