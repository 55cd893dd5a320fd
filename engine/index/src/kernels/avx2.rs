//! Kernels for x86-64 with AVX2 and FMA: 8 floats per register, scalar tails.

use std::arch::x86_64::{
    __m256, _CMP_NLT_UQ, _mm_add_ps, _mm_add_ss, _mm_cvtss_f32, _mm_movehdup_ps, _mm_movehl_ps,
    _mm256_add_ps, _mm256_castps256_ps128, _mm256_cmp_ps, _mm256_extractf128_ps, _mm256_fmadd_ps,
    _mm256_fnmadd_ps, _mm256_loadu_ps, _mm256_movemask_ps, _mm256_set1_ps, _mm256_setzero_ps, _mm256_sub_ps,
};

use super::panel::panel_kernel;
use super::{Kernels, TILE, Tier, one_to_many};

pub(super) static KERNELS: Kernels = Kernels {
    tier: Tier::Avx2,
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

const LANES: usize = 8;

#[inline]
#[target_feature(enable = "avx2,fma")]
fn l2_step(sum: __m256, a: __m256, b: __m256) -> __m256 {
    let difference = _mm256_sub_ps(a, b);
    _mm256_fmadd_ps(difference, difference, sum)
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn dot_step(sum: __m256, a: __m256, b: __m256) -> __m256 {
    _mm256_fmadd_ps(a, b, sum)
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn l2_term(sum: f32, a: f32, b: f32) -> f32 {
    (a - b).mul_add(a - b, sum)
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn dot_term(sum: f32, a: f32, b: f32) -> f32 {
    a.mul_add(b, sum)
}

/// Adds up the eight lanes.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn reduce(sum: __m256) -> f32 {
    let four = _mm_add_ps(_mm256_castps256_ps128(sum), _mm256_extractf128_ps::<1>(sum));
    let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn reduce_four(sums: [__m256; 4]) -> f32 {
    reduce(_mm256_add_ps(
        _mm256_add_ps(sums[0], sums[1]),
        _mm256_add_ps(sums[2], sums[3]),
    ))
}

/// A pair kernel: four sums side by side, then one, then single floats.
macro_rules! pair {
    ($name:ident, $step:ident, $term:ident) => {
        #[inline]
        #[target_feature(enable = "avx2,fma")]
        fn $name(a: &[f32], b: &[f32]) -> f32 {
            let len = a.len().min(b.len());
            let (a, b) = (a.as_ptr(), b.as_ptr());
            let mut sums = [_mm256_setzero_ps(); 4];
            let mut tail = 0.0;
            let mut at = 0;
            // SAFETY: every load reads inside the shared length.
            unsafe {
                while at + 4 * LANES <= len {
                    for (lane, sum) in sums.iter_mut().enumerate() {
                        let at = at + lane * LANES;
                        *sum = $step(*sum, _mm256_loadu_ps(a.add(at)), _mm256_loadu_ps(b.add(at)));
                    }
                    at += 4 * LANES;
                }
                while at + LANES <= len {
                    sums[0] = $step(
                        sums[0],
                        _mm256_loadu_ps(a.add(at)),
                        _mm256_loadu_ps(b.add(at)),
                    );
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

/// Both sums in the order of [`dot`], so that they equal it bit for bit.
#[target_feature(enable = "avx2,fma")]
fn dot_square(a: &[f32], b: &[f32]) -> (f32, f32) {
    let len = a.len().min(b.len());
    let (a, b) = (a.as_ptr(), b.as_ptr());
    let mut dots = [_mm256_setzero_ps(); 4];
    let mut squares = [_mm256_setzero_ps(); 4];
    let (mut dot_tail, mut square_tail) = (0.0, 0.0);
    let mut at = 0;
    // SAFETY: every load reads inside the shared length.
    unsafe {
        while at + 4 * LANES <= len {
            for (lane, (dot, square)) in dots.iter_mut().zip(&mut squares).enumerate() {
                let at = at + lane * LANES;
                let b = _mm256_loadu_ps(b.add(at));
                *dot = dot_step(*dot, _mm256_loadu_ps(a.add(at)), b);
                *square = dot_step(*square, b, b);
            }
            at += 4 * LANES;
        }
        while at + LANES <= len {
            let b = _mm256_loadu_ps(b.add(at));
            dots[0] = dot_step(dots[0], _mm256_loadu_ps(a.add(at)), b);
            squares[0] = dot_step(squares[0], b, b);
            at += LANES;
        }
        while at < len {
            dot_tail = dot_term(dot_tail, *a.add(at), *b.add(at));
            square_tail = dot_term(square_tail, *b.add(at), *b.add(at));
            at += 1;
        }
    }
    (reduce_four(dots) + dot_tail, reduce_four(squares) + square_tail)
}

one_to_many!(#[target_feature(enable = "avx2,fma")] l2 => l2_block, l2_gather);
one_to_many!(#[target_feature(enable = "avx2,fma")] dot => dot_block, dot_gather);

/// A tile kernel: 4 queries x 2 rows in 8 sums, as many as 16 registers carry without spilling.
macro_rules! tile {
    ($name:ident, $step:ident, $term:ident) => {
        #[target_feature(enable = "avx2,fma")]
        fn $name(queries: &[f32], dim: usize, block: &[f32], out: &mut [f32]) {
            const ROWS: usize = 2;
            let rows = block.len() / dim;
            let whole = dim / LANES * LANES;
            let mut first = 0;
            while first < rows {
                // The last tile may be short; the missing row repeats the last one and is not written.
                let row_at = |lane: usize| (first + lane).min(rows - 1) * dim;
                let mut sums = [[_mm256_setzero_ps(); ROWS]; TILE];
                let mut at = 0;
                while at < whole {
                    let load = |data: &[f32], row: usize| {
                        // SAFETY: rows are below `rows`, queries below `TILE`, columns below `dim`; `Kernels::l2_tile`
                        // checked that both slices hold that many floats.
                        unsafe { _mm256_loadu_ps(data.as_ptr().add(row + at)) }
                    };
                    let block_rows = [load(block, row_at(0)), load(block, row_at(1))];
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
                        *slot = reduce(sum) + tail;
                    }
                }
                first += ROWS;
            }
        }
    };
}

tile!(l2_tile, l2_step, l2_term);
tile!(dot_tile, dot_step, dot_term);

#[inline]
#[target_feature(enable = "avx2,fma")]
fn negated_l2_step(sum: __m256, a: __m256, b: __m256) -> __m256 {
    let difference = _mm256_sub_ps(a, b);
    _mm256_fnmadd_ps(difference, difference, sum)
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn not_below(sum: __m256, limit: __m256) -> u8 {
    _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_NLT_UQ>(sum, limit)) as u8
}

panel_kernel!(
    #[target_feature(enable = "avx2,fma")] panel_dot, lanes 8, rows 4,
    load |at| _mm256_loadu_ps(at), splat |at: *const f32| _mm256_set1_ps(*at), zero _mm256_setzero_ps(),
    step |sum, a, b| dot_step(sum, a, b), line |a, b, c| _mm256_fmadd_ps(a, b, c),
    passes |sum, limit| not_below(sum, limit)
);
panel_kernel!(
    #[target_feature(enable = "avx2,fma")] panel_l2, lanes 8, rows 4,
    load |at| _mm256_loadu_ps(at), splat |at: *const f32| _mm256_set1_ps(*at), zero _mm256_setzero_ps(),
    step |sum, a, b| negated_l2_step(sum, a, b), line |a, b, c| _mm256_fmadd_ps(a, b, c),
    passes |sum, limit| not_below(sum, limit)
);
