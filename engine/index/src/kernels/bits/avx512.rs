//! Bits counted 64 bytes at a time, with VPOPCNTDQ.
//!
//! One row leaves eight counts that have to be added up across the register, which costs more than counting a short row. So
//! rows by number are taken eight at once, and their counts are added up together: three steps of a transposition instead of
//! eight times three. Rows of 16 and 32 bytes share a register besides.

use std::arch::x86_64::{
    __m128i, __m256, __m256i, __m512i, _mm_loadu_si128, _mm256_castsi128_si256, _mm256_div_ps,
    _mm256_inserti128_si256, _mm256_loadu_si256, _mm256_mask_blend_ps, _mm256_mask_storeu_ps, _mm256_set1_ps,
    _mm512_add_epi64, _mm512_and_si512, _mm512_broadcast_i32x4, _mm512_broadcast_i64x4,
    _mm512_castsi256_si512, _mm512_cvtepi64_ps, _mm512_inserti64x4, _mm512_loadu_si512,
    _mm512_maskz_loadu_epi8, _mm512_or_si512, _mm512_popcnt_epi64, _mm512_reduce_add_epi64,
    _mm512_set1_epi64, _mm512_setzero_si512, _mm512_shuffle_i64x2, _mm512_slli_epi64, _mm512_srli_epi64,
    _mm512_sub_epi64, _mm512_testn_epi64_mask, _mm512_unpackhi_epi64, _mm512_unpacklo_epi64,
    _mm512_xor_si512,
};

use super::{BitKernels, Meeting};
use crate::kernels::gather::{gather_body, run};
use crate::kernels::prefetch;

pub(super) static KERNELS: BitKernels = BitKernels {
    name: "avx512",
    differing,
    meeting,
    differing_gather: gather::<HAMMING>,
    jaccard_gather: gather::<JACCARD>,
};

const HAMMING: bool = false;
const JACCARD: bool = true;
/// Rows that are counted side by side.
const ROWS: usize = 8;
/// Rows between asking for a row and using it.
const AHEAD: usize = 2 * ROWS;
/// Bytes of a row whose two counts fit into the halves of 64 bits.
const MAX_WIDTH: usize = 1 << 28;

/// Adds the counts of a register of both sides: of the bits that differ, or of those in both and in either.
#[inline]
#[target_feature(enable = "avx512f,avx512vpopcntdq")]
fn add<const METRIC: bool>(sums: [__m512i; 2], a: __m512i, b: __m512i) -> [__m512i; 2] {
    if METRIC == HAMMING {
        let differing = _mm512_popcnt_epi64(_mm512_xor_si512(a, b));
        [_mm512_add_epi64(sums[0], differing), sums[1]]
    } else {
        let both = _mm512_popcnt_epi64(_mm512_and_si512(a, b));
        let either = _mm512_popcnt_epi64(_mm512_or_si512(a, b));
        [_mm512_add_epi64(sums[0], both), _mm512_add_epi64(sums[1], either)]
    }
}

/// The counts of the shared length.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vpopcntdq")]
fn sums<const METRIC: bool>(a: &[u8], b: &[u8]) -> [__m512i; 2] {
    let shared = a.len().min(b.len());
    let (a, b) = (a[..shared].as_chunks::<64>(), b[..shared].as_chunks::<64>());
    let mut sums = [_mm512_setzero_si512(); 2];
    for (a, b) in a.0.iter().zip(b.0) {
        // SAFETY: 64 bytes each.
        let (a, b) = unsafe {
            (
                _mm512_loadu_si512(a.as_ptr().cast()),
                _mm512_loadu_si512(b.as_ptr().cast()),
            )
        };
        sums = add::<METRIC>(sums, a, b);
    }
    if !a.1.is_empty() {
        let there = (1u64 << a.1.len()) - 1;
        // SAFETY: as many bytes as the mask has bits; the others are not read.
        let (a, b) = unsafe {
            let a = _mm512_maskz_loadu_epi8(there, a.1.as_ptr().cast());
            (a, _mm512_maskz_loadu_epi8(there, b.1.as_ptr().cast()))
        };
        sums = add::<METRIC>(sums, a, b);
    }
    sums
}

#[target_feature(enable = "avx512f,avx512bw,avx512vpopcntdq")]
fn differing(a: &[u8], b: &[u8]) -> u64 {
    let [differing, _] = sums::<HAMMING>(a, b);
    _mm512_reduce_add_epi64(differing).cast_unsigned()
}

#[target_feature(enable = "avx512f,avx512bw,avx512vpopcntdq")]
fn meeting(a: &[u8], b: &[u8]) -> Meeting {
    let [both, either] = sums::<JACCARD>(a, b);
    Meeting {
        both: _mm512_reduce_add_epi64(both).cast_unsigned(),
        either: _mm512_reduce_add_epi64(either).cast_unsigned(),
    }
}

/// Both counts in one number: those in either above those in both.
#[inline]
#[target_feature(enable = "avx512f")]
fn packed<const METRIC: bool>([first, second]: [__m512i; 2]) -> __m512i {
    if METRIC == HAMMING {
        first
    } else {
        _mm512_add_epi64(first, _mm512_slli_epi64::<32>(second))
    }
}

/// Sums of neighbours: those of `a` at even places, those of `b` at odd ones.
#[inline]
#[target_feature(enable = "avx512f")]
fn fold_pairs(a: __m512i, b: __m512i) -> __m512i {
    _mm512_add_epi64(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b))
}

/// Sums of neighbouring pairs, by place: those of `a`, then those of `b`.
#[inline]
#[target_feature(enable = "avx512f")]
fn fold_quarters(a: __m512i, b: __m512i) -> __m512i {
    _mm512_add_epi64(
        _mm512_shuffle_i64x2::<0b10_00_10_00>(a, b),
        _mm512_shuffle_i64x2::<0b11_01_11_01>(a, b),
    )
}

/// The packed counts of eight rows as long as the query, one in each place.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vpopcntdq")]
fn eight<const METRIC: bool>(query: &[u8], rows: [&[u8]; ROWS]) -> __m512i {
    let zero = [_mm512_setzero_si512(); 2];
    let [a, b, c, d, e, f, g, h] = rows;
    match query.len() {
        16 => {
            // SAFETY: query and rows are of 16 bytes.
            unsafe {
                let query = _mm512_broadcast_i32x4(_mm_loadu_si128(query.as_ptr().cast()));
                let even = packed::<METRIC>(add::<METRIC>(zero, query, four_short([a, c, e, g])));
                let odd = packed::<METRIC>(add::<METRIC>(zero, query, four_short([b, d, f, h])));
                fold_pairs(even, odd)
            }
        }
        32 => {
            // SAFETY: query and rows are of 32 bytes.
            unsafe {
                let query = _mm512_broadcast_i64x4(_mm256_loadu_si256(query.as_ptr().cast()));
                let count = |rows| packed::<METRIC>(add::<METRIC>(zero, query, two_short(rows)));
                let low = fold_pairs(count([a, c]), count([b, d]));
                fold_quarters(low, fold_pairs(count([e, g]), count([f, h])))
            }
        }
        _ => {
            let count = |row| packed::<METRIC>(sums::<METRIC>(query, row));
            let low = fold_quarters(fold_pairs(count(a), count(b)), fold_pairs(count(c), count(d)));
            let high = fold_quarters(fold_pairs(count(e), count(f)), fold_pairs(count(g), count(h)));
            fold_quarters(low, high)
        }
    }
}

/// Four rows in a register.
///
/// # Safety
/// They are of 16 bytes.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn four_short(rows: [&[u8]; 4]) -> __m512i {
    // SAFETY: as the caller says.
    let load = |row: &[u8]| -> __m128i { unsafe { _mm_loadu_si128(row.as_ptr().cast()) } };
    let two = |a: &[u8], b: &[u8]| -> __m256i {
        _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(load(a)), load(b))
    };
    let [a, b, c, d] = rows;
    _mm512_inserti64x4::<1>(_mm512_castsi256_si512(two(a, b)), two(c, d))
}

/// Two rows in a register.
///
/// # Safety
/// They are of 32 bytes.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn two_short([a, b]: [&[u8]; 2]) -> __m512i {
    // SAFETY: as the caller says.
    unsafe {
        let low = _mm512_castsi256_si512(_mm256_loadu_si256(a.as_ptr().cast()));
        _mm512_inserti64x4::<1>(low, _mm256_loadu_si256(b.as_ptr().cast()))
    }
}

/// The distances of packed counts.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512vl")]
fn distances<const METRIC: bool>(counts: __m512i) -> __m256 {
    if METRIC == HAMMING {
        return _mm512_cvtepi64_ps(counts);
    }
    let both = _mm512_and_si512(counts, _mm512_set1_epi64(0xffff_ffff));
    let either = _mm512_srli_epi64::<32>(counts);
    let apart = _mm512_cvtepi64_ps(_mm512_sub_epi64(either, both));
    let quotient = _mm256_div_ps(apart, _mm512_cvtepi64_ps(either));
    let empty = _mm512_testn_epi64_mask(either, either);
    _mm256_mask_blend_ps(empty, quotient, _mm256_set1_ps(1.0))
}

/// The distances of the rows that `row_at` gives, all as long as the query, to `out`, after asking for those ahead.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vpopcntdq")]
fn by_eights<'a, const METRIC: bool>(
    query: &[u8],
    out: &mut [f32],
    row_at: impl Fn(usize) -> &'a [u8],
    ask_for: impl Fn(usize),
) {
    let last = out.len().saturating_sub(1);
    for (first, slots) in (0..).step_by(ROWS).zip(out.chunks_mut(ROWS)) {
        for ahead in 0..ROWS {
            ask_for(first + AHEAD + ahead);
        }
        // A short group repeats the last row.
        let row = |lane: usize| row_at((first + lane).min(last));
        let rows = [row(0), row(1), row(2), row(3), row(4), row(5), row(6), row(7)];
        let distances = distances::<METRIC>(eight::<METRIC>(query, rows));
        let there = (1u16 << slots.len()) - 1;
        // SAFETY: as many slots as the mask has bits.
        unsafe { _mm256_mask_storeu_ps(slots.as_mut_ptr(), there as u8, distances) };
    }
}

/// Distances to rows of `data` by number, infinite where there is none; rows are as long as the query.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vpopcntdq")]
fn gather<const METRIC: bool>(query: &[u8], data: &[u8], rows: &[u32], out: &mut [f32]) {
    let width = query.len();
    let count = rows.len().min(out.len());
    let (rows, out) = (&rows[..count], &mut out[..count]);
    if let Some(block) = run(width, data, rows).filter(|_| width < MAX_WIDTH) {
        let row_at = |index: usize| {
            // SAFETY: the block holds as many rows as `out` has slots.
            unsafe { block.get_unchecked(index * width..(index + 1) * width) }
        };
        return by_eights::<METRIC>(query, out, row_at, |_| {});
    }
    let highest = rows.iter().fold(0, |highest, &row| highest.max(row)) as usize;
    let end = highest.checked_add(1).and_then(|rows| rows.checked_mul(width));
    if width < MAX_WIDTH && end.is_some_and(|end| end <= data.len()) {
        let at = |row: u32| {
            let start = row as usize * width;
            // SAFETY: the highest row ends within the data.
            unsafe { data.get_unchecked(start..start + width) }
        };
        rows.iter().take(AHEAD).for_each(|row| prefetch(at(*row)));
        let ask_for = |index: usize| {
            if let Some(row) = rows.get(index) {
                prefetch(at(*row));
            }
        };
        // SAFETY: there are as many rows as `out` has slots, which is where the indexes come from.
        let row_at = |index: usize| unsafe { at(*rows.get_unchecked(index)) };
        return by_eights::<METRIC>(query, out, row_at, ask_for);
    }
    gather_body(width, data, rows, out, |row| match METRIC {
        HAMMING => differing(query, row) as f32,
        JACCARD => meeting(query, row).jaccard(),
    });
}
