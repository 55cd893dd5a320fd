//! Kernels for 64-bit ARM: 4 floats per register, scalar tails.

use std::arch::aarch64::{
    float32x4_t, vaddq_f32, vaddvq_f32, vaddvq_u32, vbicq_u32, vcltq_f32, vdupq_n_f32, vfmaq_f32, vfmsq_f32,
    vld1q_f32, vld1q_u32, vsubq_f32,
};

use super::panel::panel_kernel;
use super::{Kernels, TILE, Tier, one_to_many};

pub(super) static KERNELS: Kernels = Kernels {
    tier: Tier::Neon,
    l2,
    dot,
    dot_square,
    l2_block,
    dot_block,
    l2_gather,
    dot_gather,
    l2_tile,
    dot_tile,
    panel_lanes: LANES,
    panel_dot,
    panel_l2,
};

const LANES: usize = 4;

#[inline]
#[target_feature(enable = "neon")]
fn l2_step(sum: float32x4_t, a: float32x4_t, b: float32x4_t) -> float32x4_t {
    let difference = vsubq_f32(a, b);
    vfmaq_f32(sum, difference, difference)
}

#[inline]
#[target_feature(enable = "neon")]
fn dot_step(sum: float32x4_t, a: float32x4_t, b: float32x4_t) -> float32x4_t {
    vfmaq_f32(sum, a, b)
}

#[inline]
#[target_feature(enable = "neon")]
fn negated_l2_step(sum: float32x4_t, a: float32x4_t, b: float32x4_t) -> float32x4_t {
    let difference = vsubq_f32(a, b);
    vfmsq_f32(sum, difference, difference)
}

/// Bits of the lanes where `sum` is not below `limit`, those included where one is no number.
#[inline]
#[target_feature(enable = "neon")]
fn not_below(sum: float32x4_t, limit: float32x4_t) -> u32 {
    const BITS: [u32; LANES] = [1, 2, 4, 8];
    // SAFETY: four numbers.
    let bits = unsafe { vld1q_u32(BITS.as_ptr()) };
    vaddvq_u32(vbicq_u32(bits, vcltq_f32(sum, limit)))
}

#[inline]
fn l2_term(sum: f32, a: f32, b: f32) -> f32 {
    (a - b).mul_add(a - b, sum)
}

#[inline]
fn dot_term(sum: f32, a: f32, b: f32) -> f32 {
    a.mul_add(b, sum)
}

#[inline]
#[target_feature(enable = "neon")]
fn reduce_four(sums: [float32x4_t; 4]) -> f32 {
    vaddvq_f32(vaddq_f32(
        vaddq_f32(sums[0], sums[1]),
        vaddq_f32(sums[2], sums[3]),
    ))
}

/// A pair kernel: four sums side by side, then one, then single floats.
macro_rules! pair {
    ($name:ident, $step:ident, $term:ident) => {
        #[inline]
        #[target_feature(enable = "neon")]
        fn $name(a: &[f32], b: &[f32]) -> f32 {
            let len = a.len().min(b.len());
            let (a, b) = (a.as_ptr(), b.as_ptr());
            let mut sums = [vdupq_n_f32(0.0); 4];
            let mut tail = 0.0;
            let mut at = 0;
            // SAFETY: every load reads inside the shared length.
            unsafe {
                while at + 4 * LANES <= len {
                    for (lane, sum) in sums.iter_mut().enumerate() {
                        let at = at + lane * LANES;
                        *sum = $step(*sum, vld1q_f32(a.add(at)), vld1q_f32(b.add(at)));
                    }
                    at += 4 * LANES;
                }
                while at + LANES <= len {
                    sums[0] = $step(sums[0], vld1q_f32(a.add(at)), vld1q_f32(b.add(at)));
                    at += LANES;
                }
                while at < len {
                    tail = $term(tail, *a.add(at), *b.add(at));
                    at += 1;
                }
            }
            reduce_four(sums) + tail
        }
    };
}

pair!(l2, l2_step, l2_term);
pair!(dot, dot_step, dot_term);

/// Two passes of [`dot`], so that both equal it bit for bit.
#[target_feature(enable = "neon")]
fn dot_square(a: &[f32], b: &[f32]) -> (f32, f32) {
    (dot(a, b), dot(b, b))
}

one_to_many!(#[target_feature(enable = "neon")] l2 => l2_block, l2_gather);
one_to_many!(#[target_feature(enable = "neon")] dot => dot_block, dot_gather);

/// A tile kernel: 4 queries x 4 rows in 16 sums, so each loaded register serves four times.
macro_rules! tile {
    ($name:ident, $step:ident, $term:ident) => {
        #[target_feature(enable = "neon")]
        fn $name(queries: &[f32], dim: usize, block: &[f32], out: &mut [f32]) {
            const ROWS: usize = 4;
            let rows = block.len() / dim;
            let whole = dim / LANES * LANES;
            let mut first = 0;
            while first < rows {
                // The last tile may be short; the missing rows repeat the last one and are not written.
                let row_at = |lane: usize| (first + lane).min(rows - 1) * dim;
                let mut sums = [[vdupq_n_f32(0.0); ROWS]; TILE];
                let mut at = 0;
                while at < whole {
                    let load = |data: &[f32], row: usize| {
                        // SAFETY: rows are below `rows`, queries below `TILE`, columns below `dim`; `Kernels::l2_tile`
                        // checked that both slices hold that many floats.
                        unsafe { vld1q_f32(data.as_ptr().add(row + at)) }
                    };
                    let block_rows = [
                        load(block, row_at(0)),
                        load(block, row_at(1)),
                        load(block, row_at(2)),
                        load(block, row_at(3)),
                    ];
                    for (index, query_sums) in sums.iter_mut().enumerate() {
                        let query = load(queries, index * dim);
                        for (sum, &row) in query_sums.iter_mut().zip(&block_rows) {
                            *sum = $step(*sum, query, row);
                        }
                    }
                    at += LANES;
                }
                for (index, (query_sums, slots)) in sums.iter().zip(out.chunks_exact_mut(rows)).enumerate() {
                    let query = &queries[index * dim..];
                    for (lane, (&sum, slot)) in query_sums.iter().zip(slots[first..].iter_mut()).enumerate() {
                        let row = &block[row_at(lane)..];
                        let mut tail = 0.0;
                        for at in whole..dim {
                            tail = $term(tail, query[at], row[at]);
                        }
                        *slot = vaddvq_f32(sum) + tail;
                    }
                }
                first += ROWS;
            }
        }
    };
}

tile!(l2_tile, l2_step, l2_term);
tile!(dot_tile, dot_step, dot_term);

panel_kernel!(
    #[target_feature(enable = "neon")] panel_dot, lanes 4, rows 8,
    load |at| vld1q_f32(at), splat |at: *const f32| vdupq_n_f32(*at), zero vdupq_n_f32(0.0),
    step |sum, a, b| dot_step(sum, a, b), line |a, b, c| vfmaq_f32(c, a, b),
    passes |sum, limit| not_below(sum, limit)
);
panel_kernel!(
    #[target_feature(enable = "neon")] panel_l2, lanes 4, rows 8,
    load |at| vld1q_f32(at), splat |at: *const f32| vdupq_n_f32(*at), zero vdupq_n_f32(0.0),
    step |sum, a, b| negated_l2_step(sum, a, b), line |a, b, c| vfmaq_f32(c, a, b),
    passes |sum, limit| not_below(sum, limit)
);
