//! Distance kernels: one table of functions per instruction set, the best one chosen once at start.
//!
//! Every table offers the same forms:
//!
//! | form | shape | used by |
//! |---|---|---|
//! | `l2`, `dot`, `dot_square` | one to one | graph building, SQL functions |
//! | `l2_block`, `dot_block` | one query to contiguous rows, with AVX-512 in four places at once | exact search, centroids |
//! | `l2_gather`, `dot_gather` | one query to rows by number, with prefetch | graph hops, lists, filtered scans |
//! | `l2_tile`, `dot_tile` | four queries to contiguous rows | k-means, graph building |
//! | [`panel`] | many queries to rows by number; which pairs pass a limit | batches |
//!
//! The first three forms add up in the same order, so a row has bit for bit the same distance whichever path finds it,
//! and ties break the same way everywhere. The tile and panel forms keep one accumulator per pair and may
//! differ in the last bits; results that leave the crate are recomputed with the first form.
//!
//! `scalar` is the twin that every other table is tested against. Other types than 32-bit floats have kernels of the
//! first and the gather form, or of the first form only, and instruction sets of their own; what has none is plain Rust,
//! which the compiler gives the registers that every processor of the architecture has:
//!
//! | type | forms | AVX-512 | AVX2 | NEON |
//! |---|---|---|---|---|
//! | 32-bit floats | all | F | FMA | yes |
//! | halves, bfloat16s ([`narrow`]) | pair, gather | F | F16C | yes |
//! | 8-bit integers ([`narrow`]) | pair, gather | VNNI; F, by the compiler | by the compiler | its dot products; by the compiler |
//! | bits (`bits`) | pair, gather | VPOPCNTDQ | a lookup; else `popcnt` | yes |
//! | signatures (`minhash`) | pair, gather | no | no | no |
//! | sparse vectors (`sparse`) | pair | no | no | no |

use std::sync::OnceLock;

use crate::vectors::Vectors;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
pub(crate) mod bits;
mod formats;
mod gather;
#[cfg(target_arch = "aarch64")]
mod int8_neon;
#[cfg(target_arch = "x86_64")]
mod int8_x86;
pub(crate) mod minhash;
pub mod narrow;
#[cfg(target_arch = "aarch64")]
mod narrow_neon;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod narrow_registers;
#[cfg(target_arch = "x86_64")]
mod narrow_x86;
#[cfg(target_arch = "aarch64")]
mod neon;
pub mod panel;
mod scalar;
pub(crate) mod sparse;

/// Queries that a tile kernel works on at once.
pub const TILE: usize = 4;

/// An instruction set with its own kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    /// Plain Rust.
    Scalar,
    /// x86-64 with AVX2, FMA and F16C, as all with AVX2 have them: 8 floats at once.
    Avx2,
    /// x86-64 with AVX-512F: 16 floats at once.
    Avx512,
    /// 64-bit ARM: 4 floats at once.
    Neon,
}

type Pair = unsafe fn(&[f32], &[f32]) -> f32;
type PairTwo = unsafe fn(&[f32], &[f32]) -> (f32, f32);
type Block = unsafe fn(&[f32], &[f32], &mut [f32]);
type Gather = unsafe fn(&[f32], &[f32], &[u32], &mut [f32]);
type Tile = unsafe fn(&[f32], usize, &[f32], &mut [f32]);

/// The kernels of one instruction set. The methods are safe: they cut or check every length the raw functions rely on.
#[derive(Debug)]
pub struct Kernels {
    tier: Tier,
    l2: Pair,
    dot: Pair,
    dot_square: PairTwo,
    l2_block: Block,
    dot_block: Block,
    l2_gather: Gather,
    dot_gather: Gather,
    l2_tile: Tile,
    dot_tile: Tile,
    /// Floats of a register.
    panel_lanes: usize,
    panel_dot: panel::PanelKernel,
    panel_l2: panel::PanelKernel,
}

/// The fastest table this machine runs, chosen at the first call.
pub fn kernels() -> &'static Kernels {
    static CHOSEN: OnceLock<&'static Kernels> = OnceLock::new();
    CHOSEN.get_or_init(|| available().first().copied().unwrap_or(&scalar::KERNELS))
}

/// Every table that runs on this machine, fastest first; the scalar one is always last.
pub fn available() -> Vec<&'static Kernels> {
    let mut tables: Vec<&'static Kernels> = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        if std::arch::is_x86_feature_detected!("avx512f") {
            tables.push(&avx512::KERNELS);
        }
        if std::arch::is_x86_feature_detected!("avx2")
            && std::arch::is_x86_feature_detected!("fma")
            && std::arch::is_x86_feature_detected!("f16c")
        {
            tables.push(&avx2::KERNELS);
        }
    }
    #[cfg(target_arch = "aarch64")]
    if std::arch::is_aarch64_feature_detected!("neon") {
        tables.push(&neon::KERNELS);
    }
    tables.push(&scalar::KERNELS);
    tables
}

impl Kernels {
    /// The instruction set of this table.
    pub fn tier(&self) -> Tier {
        self.tier
    }

    /// Squared Euclidean distance over the shared length of `a` and `b`.
    #[inline]
    pub fn l2(&self, a: &[f32], b: &[f32]) -> f32 {
        // SAFETY: the table is only handed out when the machine has its instruction set; pair kernels read the shared
        // length only.
        unsafe { (self.l2)(a, b) }
    }

    /// Inner product over the shared length of `a` and `b`.
    #[inline]
    pub fn dot(&self, a: &[f32], b: &[f32]) -> f32 {
        // SAFETY: as in `l2`.
        unsafe { (self.dot)(a, b) }
    }

    /// `(a . b, b . b)` in one pass over `b`; both equal what [`Kernels::dot`] gives, bit for bit.
    #[inline]
    pub fn dot_square(&self, a: &[f32], b: &[f32]) -> (f32, f32) {
        // SAFETY: as in `l2`.
        unsafe { (self.dot_square)(a, b) }
    }

    /// `out[i]` = squared distance of `query` and row `i` of `block`; rows beyond `out` or the block are left out.
    #[inline]
    pub fn l2_block(&self, query: &[f32], block: &[f32], out: &mut [f32]) {
        if !query.is_empty() {
            // SAFETY: instruction set as in `l2`; block kernels walk whole rows of `block` and slots of `out` together.
            unsafe { (self.l2_block)(query, block, out) }
        }
    }

    /// As [`Kernels::l2_block`] with the inner product.
    #[inline]
    pub fn dot_block(&self, query: &[f32], block: &[f32], out: &mut [f32]) {
        if !query.is_empty() {
            // SAFETY: as in `l2_block`.
            unsafe { (self.dot_block)(query, block, out) }
        }
    }

    /// `out[i]` = squared distance of `query` and row `rows[i]` of `vectors`, in any order of rows. A row number that
    /// does not exist, or a query of another dimension, gives infinity for all.
    #[inline]
    pub fn l2_gather(&self, query: &[f32], vectors: Vectors<'_>, rows: &[u32], out: &mut [f32]) {
        if gather_is_sound(query, vectors, rows) {
            // SAFETY: instruction set as in `l2`; every row lies inside the data and is as long as the query.
            unsafe { (self.l2_gather)(query, vectors.data(), rows, out) }
        } else {
            out.fill(f32::INFINITY);
        }
    }

    /// As [`Kernels::l2_gather`] with the inner product; minus infinity where that gives infinity.
    #[inline]
    pub fn dot_gather(&self, query: &[f32], vectors: Vectors<'_>, rows: &[u32], out: &mut [f32]) {
        if gather_is_sound(query, vectors, rows) {
            // SAFETY: as in `l2_gather`.
            unsafe { (self.dot_gather)(query, vectors.data(), rows, out) }
        } else {
            out.fill(f32::NEG_INFINITY);
        }
    }

    /// Squared distances of [`TILE`] queries (row-major) and the rows of `block`: `out[q * rows + i]` for query `q`, row
    /// `i`. Nothing is written when the shapes do not fit.
    #[inline]
    pub fn l2_tile(&self, queries: &[f32], dim: usize, block: &[f32], out: &mut [f32]) {
        if tile_is_sound(queries, dim, block, out) {
            // SAFETY: instruction set as in `l2`; shapes were checked.
            unsafe { (self.l2_tile)(queries, dim, block, out) }
        }
    }

    /// As [`Kernels::l2_tile`] with the inner product.
    #[inline]
    pub fn dot_tile(&self, queries: &[f32], dim: usize, block: &[f32], out: &mut [f32]) {
        if tile_is_sound(queries, dim, block, out) {
            // SAFETY: as in `l2_tile`.
            unsafe { (self.dot_tile)(queries, dim, block, out) }
        }
    }
}

#[inline]
fn gather_is_sound(query: &[f32], vectors: Vectors<'_>, rows: &[u32]) -> bool {
    // A maximum over all, not an early exit: it vectorizes, and row numbers are practically always right.
    let highest = rows.iter().fold(0, |highest, &row| highest.max(row));
    let sound = query.len() == vectors.dim() && (rows.is_empty() || (highest as usize) < vectors.len());
    debug_assert!(
        sound,
        "row {highest} of {} rows, dimension {} of {}",
        vectors.len(),
        query.len(),
        vectors.dim()
    );
    sound
}

#[inline]
fn tile_is_sound(queries: &[f32], dim: usize, block: &[f32], out: &[f32]) -> bool {
    let sound = dim > 0
        && queries.len() == TILE * dim
        && block.len().is_multiple_of(dim)
        && out.len() == TILE * (block.len() / dim);
    debug_assert!(
        sound,
        "tile shapes: {} {dim} {} {}",
        queries.len(),
        block.len(),
        out.len()
    );
    sound
}

/// Asks the memory system for the first part of `row`, which is read at once.
#[inline(always)]
pub(crate) fn prefetch<T>(row: &[T]) {
    each_line(row, |line| {
        // SAFETY: a prefetch reads nothing and cannot fault.
        unsafe {
            #[cfg(target_arch = "x86_64")]
            std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(line);
            #[cfg(target_arch = "aarch64")]
            std::arch::asm!("prfm pldl1keep, [{line}]", line = in(reg) line, options(nostack, preserves_flags, readonly));
            #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
            let _ = line;
        }
    });
}

/// Asks for the first part of `row` to come as near as the second-level cache: more of what is on its way fits there.
#[inline(always)]
pub(crate) fn prefetch_early<T>(row: &[T]) {
    each_line(row, |line| {
        // SAFETY: a prefetch reads nothing and cannot fault.
        unsafe {
            #[cfg(target_arch = "x86_64")]
            std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T1 }>(line);
            #[cfg(target_arch = "aarch64")]
            std::arch::asm!("prfm pldl2keep, [{line}]", line = in(reg) line, options(nostack, preserves_flags, readonly));
            #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
            let _ = line;
        }
    });
}

/// The cache lines of the first part of `row`.
#[inline(always)]
fn each_line<T>(row: &[T], mut work: impl FnMut(*const i8)) {
    const LINE: usize = 64;
    /// Beyond this the hardware follows the stream by itself.
    const MAX_LINES: usize = 16;
    let start = row.as_ptr().cast::<i8>();
    for offset in (0..size_of_val(row).min(MAX_LINES * LINE)).step_by(LINE) {
        work(start.wrapping_add(offset));
    }
}

/// Writes the block and gather forms around a pair kernel, so that all of them inline it under one instruction set.
///
/// Contract of the block form: `query` is not empty. Of the gather form: every `rows[i]` times the query length, plus
/// the query length, lies inside `data`.
macro_rules! one_to_many {
    ($(#[$feature:meta])* $pair:ident => $block:ident, $gather:ident) => {
        $(#[$feature])*
        fn $block(query: &[f32], block: &[f32], out: &mut [f32]) {
            for (row, slot) in block.chunks_exact(query.len()).zip(out) {
                *slot = $pair(query, row);
            }
        }

        $(#[$feature])*
        unsafe fn $gather(query: &[f32], data: &[f32], rows: &[u32], out: &mut [f32]) {
            /// Rows between asking for a row and using it.
            const AHEAD: usize = 16;
            let dim = query.len();
            let row_at = |row: u32| {
                // SAFETY: the caller checked that every row lies inside the data.
                unsafe { std::slice::from_raw_parts(data.as_ptr().add(row as usize * dim), dim) }
            };
            for &row in rows.iter().take(AHEAD) {
                $crate::kernels::prefetch_early(row_at(row));
            }
            for (index, (&row, slot)) in rows.iter().zip(out).enumerate() {
                if let Some(&later) = rows.get(index + AHEAD) {
                    $crate::kernels::prefetch_early(row_at(later));
                }
                *slot = $pair(query, row_at(row));
            }
        }
    };
}
pub(crate) use one_to_many;

#[cfg(test)]
mod tests;
