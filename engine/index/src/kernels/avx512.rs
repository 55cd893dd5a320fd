//! Kernels for x86-64 with AVX-512F: 16 floats per register, masked tails.

use std::arch::x86_64::{
    __m512, _CMP_NLT_UQ, _mm512_add_ps, _mm512_cmp_ps_mask, _mm512_fmadd_ps, _mm512_fnmadd_ps,
    _mm512_loadu_ps, _mm512_maskz_loadu_ps, _mm512_reduce_add_ps, _mm512_set1_ps, _mm512_setzero_ps,
    _mm512_sub_ps,
};

use super::panel::panel_kernel;
use super::{Kernels, TILE, Tier, one_to_many};

pub(super) static KERNELS: Kernels = Kernels {
    tier: Tier::Avx512,
    l2,
    dot,
    dot_square,
    l2_block: l2_in_four,
    dot_block: dot_in_four,
    l2_gather,
    dot_gather,
    l2_tile,
    dot_tile,
    panel_lanes: LANES,
    panel_dot,
    panel_l2,
};

const LANES: usize = 16;

#[inline]
#[target_feature(enable = "avx512f")]
fn l2_step(sum: __m512, a: __m512, b: __m512) -> __m512 {
    let difference = _mm512_sub_ps(a, b);
    _mm512_fmadd_ps(difference, difference, sum)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn dot_step(sum: __m512, a: __m512, b: __m512) -> __m512 {
    _mm512_fmadd_ps(a, b, sum)
}

/// A pair kernel: four sums side by side, then one, then a masked tail.
macro_rules! pair {
    ($name:ident, $step:ident) => {
        #[inline]
        #[target_feature(enable = "avx512f")]
        fn $name(a: &[f32], b: &[f32]) -> f32 {
            let len = a.len().min(b.len());
            let (a, b) = (a.as_ptr(), b.as_ptr());
            let mut sums = [_mm512_setzero_ps(); 4];
            let mut at = 0;
            // SAFETY: every load reads inside the shared length; the masked one reads `len - at` floats.
            unsafe {
                while at + 4 * LANES <= len {
                    for (lane, sum) in sums.iter_mut().enumerate() {
                        let at = at + lane * LANES;
                        *sum = $step(*sum, _mm512_loadu_ps(a.add(at)), _mm512_loadu_ps(b.add(at)));
                    }
                    at += 4 * LANES;
                }
                while at + LANES <= len {
                    sums[0] = $step(
                        sums[0],
                        _mm512_loadu_ps(a.add(at)),
                        _mm512_loadu_ps(b.add(at)),
                    );
                    at += LANES;
                }
                if at < len {
                    let mask = (1u16 << (len - at)) - 1;
                    let (a, b) = (
                        _mm512_maskz_loadu_ps(mask, a.add(at)),
                        _mm512_maskz_loadu_ps(mask, b.add(at)),
                    );
                    sums[1] = $step(sums[1], a, b);
                }
            }
            _mm512_reduce_add_ps(_mm512_add_ps(
                _mm512_add_ps(sums[0], sums[1]),
                _mm512_add_ps(sums[2], sums[3]),
            ))
        }
    };
}

pair!(l2, l2_step);
pair!(dot, dot_step);

/// Both sums in the order of [`dot`], so that they equal it bit for bit.
#[target_feature(enable = "avx512f")]
fn dot_square(a: &[f32], b: &[f32]) -> (f32, f32) {
    let len = a.len().min(b.len());
    let (a, b) = (a.as_ptr(), b.as_ptr());
    let mut dots = [_mm512_setzero_ps(); 4];
    let mut squares = [_mm512_setzero_ps(); 4];
    let mut at = 0;
    // SAFETY: every load reads inside the shared length; the masked one reads `len - at` floats.
    unsafe {
        while at + 4 * LANES <= len {
            for (lane, (dot, square)) in dots.iter_mut().zip(&mut squares).enumerate() {
                let at = at + lane * LANES;
                let b = _mm512_loadu_ps(b.add(at));
                *dot = dot_step(*dot, _mm512_loadu_ps(a.add(at)), b);
                *square = dot_step(*square, b, b);
            }
            at += 4 * LANES;
        }
        while at + LANES <= len {
            let b = _mm512_loadu_ps(b.add(at));
            dots[0] = dot_step(dots[0], _mm512_loadu_ps(a.add(at)), b);
            squares[0] = dot_step(squares[0], b, b);
            at += LANES;
        }
        if at < len {
            let mask = (1u16 << (len - at)) - 1;
            let b = _mm512_maskz_loadu_ps(mask, b.add(at));
            dots[1] = dot_step(dots[1], _mm512_maskz_loadu_ps(mask, a.add(at)), b);
            squares[1] = dot_step(squares[1], b, b);
        }
    }
    let sum = |sums: [__m512; 4]| {
        _mm512_reduce_add_ps(_mm512_add_ps(
            _mm512_add_ps(sums[0], sums[1]),
            _mm512_add_ps(sums[2], sums[3]),
        ))
    };
    (sum(dots), sum(squares))
}

one_to_many!(#[target_feature(enable = "avx512f")] l2 => l2_block, l2_gather);
one_to_many!(#[target_feature(enable = "avx512f")] dot => dot_block, dot_gather);

/// Rows of a block of which four are read at once.
const LEAST_BLOCK: usize = 4 * 16;

/// A block kernel that reads a block in four places at once: the processor asks the memory for what follows in each of them,
/// up to the end of a page. Every row's sum is that of the pair kernel, bit for bit.
macro_rules! in_four {
    ($name:ident, $step:ident, $block:ident) => {
        #[target_feature(enable = "avx512f")]
        fn $name(query: &[f32], block: &[f32], out: &mut [f32]) {
            let dim = query.len();
            let rows = (block.len() / dim).min(out.len());
            if rows < LEAST_BLOCK {
                return $block(query, block, out);
            }
            let quarter = rows / 4;
            let query_at = query.as_ptr();
            for row in 0..quarter {
                let mut sums = [[_mm512_setzero_ps(); 4]; 4];
                let mut at = 0;
                // SAFETY: rows are below `rows`, columns below `dim`; a masked load reads `dim - at` floats.
                unsafe {
                    let places = [0, 1, 2, 3].map(|place| block.as_ptr().add((place * quarter + row) * dim));
                    while at + 4 * LANES <= dim {
                        for lane in 0..4 {
                            let at = at + lane * LANES;
                            let query = _mm512_loadu_ps(query_at.add(at));
                            for (sums, place) in sums.iter_mut().zip(places) {
                                sums[lane] = $step(sums[lane], query, _mm512_loadu_ps(place.add(at)));
                            }
                        }
                        at += 4 * LANES;
                    }
                    while at + LANES <= dim {
                        let query = _mm512_loadu_ps(query_at.add(at));
                        for (sums, place) in sums.iter_mut().zip(places) {
                            sums[0] = $step(sums[0], query, _mm512_loadu_ps(place.add(at)));
                        }
                        at += LANES;
                    }
                    if at < dim {
                        let mask = (1u16 << (dim - at)) - 1;
                        let query = _mm512_maskz_loadu_ps(mask, query_at.add(at));
                        for (sums, place) in sums.iter_mut().zip(places) {
                            sums[1] = $step(sums[1], query, _mm512_maskz_loadu_ps(mask, place.add(at)));
                        }
                    }
                }
                for (place, sums) in sums.into_iter().enumerate() {
                    out[place * quarter + row] = _mm512_reduce_add_ps(_mm512_add_ps(
                        _mm512_add_ps(sums[0], sums[1]),
                        _mm512_add_ps(sums[2], sums[3]),
                    ));
                }
            }
            $block(query, &block[4 * quarter * dim..], &mut out[4 * quarter..]);
        }
    };
}

in_four!(l2_in_four, l2_step, l2_block);
in_four!(dot_in_four, dot_step, dot_block);

/// A tile kernel: 4 queries x 4 rows in 16 sums, so each loaded register serves four times.
macro_rules! tile {
    ($name:ident, $step:ident) => {
        #[target_feature(enable = "avx512f")]
        fn $name(queries: &[f32], dim: usize, block: &[f32], out: &mut [f32]) {
            const ROWS: usize = 4;
            let rows = block.len() / dim;
            let mut first = 0;
            while first < rows {
                // The last tile may be short; the missing rows repeat the last one and are not written.
                let row_at = |lane: usize| (first + lane).min(rows - 1) * dim;
                let mut sums = [[_mm512_setzero_ps(); ROWS]; TILE];
                let mut at = 0;
                while at < dim {
                    let mask = if dim - at >= LANES {
                        u16::MAX
                    } else {
                        (1u16 << (dim - at)) - 1
                    };
                    let load = |data: &[f32], row: usize| {
                        // SAFETY: rows are below `rows`, queries below `TILE`, columns below `dim`; `Kernels::l2_tile`
                        // checked that both slices hold that many floats.
                        unsafe { _mm512_maskz_loadu_ps(mask, data.as_ptr().add(row + at)) }
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
                for (query_sums, slots) in sums.iter().zip(out.chunks_exact_mut(rows)) {
                    for (&sum, slot) in query_sums.iter().zip(slots[first..].iter_mut()) {
                        *slot = _mm512_reduce_add_ps(sum);
                    }
                }
                first += ROWS;
            }
        }
    };
}

tile!(l2_tile, l2_step);
tile!(dot_tile, dot_step);

#[inline]
#[target_feature(enable = "avx512f")]
fn negated_l2_step(sum: __m512, a: __m512, b: __m512) -> __m512 {
    let difference = _mm512_sub_ps(a, b);
    _mm512_fnmadd_ps(difference, difference, sum)
}

panel_kernel!(
    #[target_feature(enable = "avx512f")] panel_dot, lanes 16, rows 8,
    load |at| _mm512_loadu_ps(at), splat |at: *const f32| _mm512_set1_ps(*at), zero _mm512_setzero_ps(),
    step |sum, a, b| dot_step(sum, a, b), line |a, b, c| _mm512_fmadd_ps(a, b, c),
    passes |sum, limit| _mm512_cmp_ps_mask::<_CMP_NLT_UQ>(sum, limit)
);
panel_kernel!(
    #[target_feature(enable = "avx512f")] panel_l2, lanes 16, rows 8,
    load |at| _mm512_loadu_ps(at), splat |at: *const f32| _mm512_set1_ps(*at), zero _mm512_setzero_ps(),
    step |sum, a, b| negated_l2_step(sum, a, b), line |a, b, c| _mm512_fmadd_ps(a, b, c),
    passes |sum, limit| _mm512_cmp_ps_mask::<_CMP_NLT_UQ>(sum, limit)
);
