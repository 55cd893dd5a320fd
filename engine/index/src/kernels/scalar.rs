//! Kernels in plain Rust: the twin all others are tested against, and the only ones on other architectures.
//!
//! Sixteen running sums instead of one let the compiler use whatever vector unit the target guarantees.

use super::panel::panel_kernel;
use super::{Kernels, TILE, Tier, one_to_many};

pub(super) static KERNELS: Kernels = Kernels {
    tier: Tier::Scalar,
    l2,
    dot,
    dot_square,
    l2_block,
    dot_block,
    l2_gather,
    dot_gather,
    l2_tile,
    dot_tile,
    panel_lanes: PANEL_LANES,
    panel_dot,
    panel_l2,
};

const LANES: usize = 16;

#[inline]
fn sum_over(a: &[f32], b: &[f32], term: impl Fn(f32, f32) -> f32) -> f32 {
    let shared = a.len().min(b.len());
    let (a, b) = (&a[..shared], &b[..shared]);
    let mut sums = [0.0f32; LANES];
    let (a_lanes, b_lanes) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let tail: f32 = a_lanes
        .remainder()
        .iter()
        .zip(b_lanes.remainder())
        .map(|(&x, &y)| term(x, y))
        .sum();
    for (x, y) in a_lanes.zip(b_lanes) {
        for ((sum, &x), &y) in sums.iter_mut().zip(x).zip(y) {
            *sum += term(x, y);
        }
    }
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            sums[lane] += sums[lane + width];
        }
        width /= 2;
    }
    sums[0] + tail
}

#[inline]
fn l2(a: &[f32], b: &[f32]) -> f32 {
    sum_over(a, b, |x, y| (x - y) * (x - y))
}

#[inline]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    sum_over(a, b, |x, y| x * y)
}

fn dot_square(a: &[f32], b: &[f32]) -> (f32, f32) {
    (dot(a, b), dot(b, b))
}

one_to_many!(l2 => l2_block, l2_gather);
one_to_many!(dot => dot_block, dot_gather);

fn tile(queries: &[f32], dim: usize, block: &[f32], out: &mut [f32], pair: impl Fn(&[f32], &[f32]) -> f32) {
    let rows = block.len() / dim;
    for (index, row) in block.chunks_exact(dim).enumerate() {
        for (query, slots) in queries
            .chunks_exact(dim)
            .take(TILE)
            .zip(out.chunks_exact_mut(rows))
        {
            slots[index] = pair(query, row);
        }
    }
}

fn l2_tile(queries: &[f32], dim: usize, block: &[f32], out: &mut [f32]) {
    tile(queries, dim, block, out, l2);
}

fn dot_tile(queries: &[f32], dim: usize, block: &[f32], out: &mut [f32]) {
    tile(queries, dim, block, out, dot);
}

/// Queries of a panel that are summed side by side, for the compiler to put into registers.
pub(super) const PANEL_LANES: usize = 8;
type Lanes = [f32; PANEL_LANES];

#[inline]
fn lanes_of(term: impl Fn(usize) -> f32) -> Lanes {
    std::array::from_fn(term)
}

#[inline]
unsafe fn load(at: *const f32) -> Lanes {
    // SAFETY: the caller has so many floats there.
    unsafe { at.cast::<Lanes>().read_unaligned() }
}

#[inline]
fn not_below(sum: Lanes, limit: Lanes) -> u8 {
    let bit = |mask, (lane, (sum, limit)): (usize, (&f32, &f32))| {
        let is_below = sum < limit;
        mask | u8::from(!is_below) << lane
    };
    sum.iter().zip(&limit).enumerate().fold(0, bit)
}

panel_kernel!(
    panel_dot, lanes 8, rows 4,
    load load, splat |at: *const f32| [*at; PANEL_LANES], zero [0.0f32; PANEL_LANES],
    step |sum: Lanes, a: Lanes, b: Lanes| lanes_of(|lane| sum[lane] + a[lane] * b[lane]),
    line |a: Lanes, b: Lanes, c: Lanes| lanes_of(|lane| a[lane] * b[lane] + c[lane]),
    passes not_below
);
panel_kernel!(
    panel_l2, lanes 8, rows 4,
    load load, splat |at: *const f32| [*at; PANEL_LANES], zero [0.0f32; PANEL_LANES],
    step |sum: Lanes, a: Lanes, b: Lanes| lanes_of(|lane| sum[lane] - (a[lane] - b[lane]) * (a[lane] - b[lane])),
    line |a: Lanes, b: Lanes, c: Lanes| lanes_of(|lane| a[lane] * b[lane] + c[lane]),
    passes not_below
);
