//! Kernels in plain Rust: the twin all others are tested against, and the only ones on other architectures.
//!
//! Sixteen running sums instead of one let the compiler use whatever vector unit the target guarantees.

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
