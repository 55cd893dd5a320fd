//! Kernels of bit vectors: how many bits differ, how many are in both, how many in either.
//!
//! One table of functions for each way to count, the fastest of this machine chosen once. Counts are exact, so all tables
//! give the same distances, and a row has the same one whichever form finds it.
//!
//! | table | counts at once | with |
//! |---|---|---|
//! | `avx512` | 64 bytes | VPOPCNTDQ; rows by number are taken eight side by side |
//! | `avx2` | 32 bytes, of short rows 8 | a lookup of half bytes; `popcnt` |
//! | `popcnt` | 8 bytes | the instruction of x86-64 |
//! | `neon` | 16 bytes | `cnt` |
//! | `portable` | 8 bytes | plain Rust, the twin of the others |

use std::sync::OnceLock;

use super::narrow::gather_body;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod words;

/// Bits in the shared length of two vectors, by how they meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Meeting {
    /// Set in both.
    pub both: u64,
    /// Set in at least one.
    pub either: u64,
}

impl Meeting {
    /// `1 - both / either`; 1 when no bit is set in either.
    #[inline]
    #[expect(
        clippy::cast_precision_loss,
        reason = "a count of bits is at most 2^18 in a vector of the largest dimension, and rounded above 2^24"
    )]
    pub(crate) fn jaccard(self) -> f32 {
        if self.either == 0 {
            1.0
        } else {
            (self.either - self.both) as f32 / self.either as f32
        }
    }
}

type Differing = unsafe fn(&[u8], &[u8]) -> u64;
type Meet = unsafe fn(&[u8], &[u8]) -> Meeting;
type Gather = unsafe fn(&[u8], &[u8], &[u32], &mut [f32]);

/// The kernels of one way to count. All check every length; they are unsafe to call on machines without their instructions
/// only.
#[derive(Debug)]
pub(crate) struct BitKernels {
    /// The table's name above.
    pub(crate) name: &'static str,
    differing: Differing,
    meeting: Meet,
    differing_gather: Gather,
    jaccard_gather: Gather,
}

/// The fastest table of this machine, chosen at the first call.
#[inline]
fn kernels() -> &'static BitKernels {
    static CHOSEN: OnceLock<&'static BitKernels> = OnceLock::new();
    CHOSEN.get_or_init(|| available().first().copied().unwrap_or(&words::PORTABLE))
}

/// Every table that runs on this machine, fastest first; the portable one is always last.
pub(crate) fn available() -> Vec<&'static BitKernels> {
    let mut tables: Vec<&'static BitKernels> = Vec::new();
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("popcnt") {
        if std::arch::is_x86_feature_detected!("avx512vpopcntdq")
            && std::arch::is_x86_feature_detected!("avx512bw")
            && std::arch::is_x86_feature_detected!("avx512dq")
            && std::arch::is_x86_feature_detected!("avx512vl")
        {
            tables.push(&avx512::KERNELS);
        }
        if std::arch::is_x86_feature_detected!("avx2") {
            tables.push(&avx2::KERNELS);
        }
        tables.push(&words::POPCNT);
    }
    #[cfg(target_arch = "aarch64")]
    if std::arch::is_aarch64_feature_detected!("neon") {
        tables.push(&neon::KERNELS);
    }
    tables.push(&words::PORTABLE);
    tables
}

impl BitKernels {
    /// Bits that differ over the shared length.
    #[inline]
    pub(crate) fn differing(&self, a: &[u8], b: &[u8]) -> u64 {
        // SAFETY: a table is only handed out on a machine that has its instructions.
        unsafe { (self.differing)(a, b) }
    }

    /// How the bits meet over the shared length.
    #[inline]
    pub(crate) fn meeting(&self, a: &[u8], b: &[u8]) -> Meeting {
        // SAFETY: as in `differing`.
        unsafe { (self.meeting)(a, b) }
    }

    /// [`BitKernels::differing`] for rows of `data` by number, infinite where there is none; rows are as long as the query.
    #[inline]
    pub(crate) fn differing_gather(&self, query: &[u8], data: &[u8], rows: &[u32], out: &mut [f32]) {
        // SAFETY: as in `differing`.
        unsafe { (self.differing_gather)(query, data, rows, out) }
    }

    /// [`Meeting::jaccard`] with rows of `data` by number, infinite where there is none.
    #[inline]
    pub(crate) fn jaccard_gather(&self, query: &[u8], data: &[u8], rows: &[u32], out: &mut [f32]) {
        // SAFETY: as in `differing`.
        unsafe { (self.jaccard_gather)(query, data, rows, out) }
    }
}

/// [`BitKernels::differing`] of this machine's table.
#[inline]
pub(crate) fn differing(a: &[u8], b: &[u8]) -> u64 {
    kernels().differing(a, b)
}

/// [`BitKernels::meeting`] of this machine's table.
#[inline]
pub(crate) fn meeting(a: &[u8], b: &[u8]) -> Meeting {
    kernels().meeting(a, b)
}

/// [`BitKernels::differing_gather`] of this machine's table.
#[inline]
pub(crate) fn differing_gather(query: &[u8], data: &[u8], rows: &[u32], out: &mut [f32]) {
    kernels().differing_gather(query, data, rows, out);
}

/// [`BitKernels::jaccard_gather`] of this machine's table.
#[inline]
pub(crate) fn jaccard_gather(query: &[u8], data: &[u8], rows: &[u32], out: &mut [f32]) {
    kernels().jaccard_gather(query, data, rows, out);
}

/// The rows as one slice where their numbers follow each other, as those of a scan do: they need neither be looked up nor
/// asked for.
#[inline(always)]
fn run<'a>(width: usize, data: &'a [u8], rows: &[u32]) -> Option<&'a [u8]> {
    let (first, last) = (*rows.first()?, *rows.last()?);
    if width == 0 || last.checked_sub(first)? as usize != rows.len() - 1 {
        return None;
    }
    // No early exit: it vectorizes, and practically always all of them follow.
    let expected = (0u32..).zip(rows);
    let follow = expected.fold(true, |follow, (index, row)| {
        follow & (row.wrapping_sub(first) == index)
    });
    let start = (first as usize).checked_mul(width)?;
    let rows = data.get(start..start.checked_add(rows.len().checked_mul(width)?)?)?;
    follow.then_some(rows)
}

/// `out[i]` = what `pair` gives for row `rows[i]` of `data`, which has rows of `width` bytes; infinite for a row that is not
/// there.
#[inline(always)]
fn row_by_row(width: usize, data: &[u8], rows: &[u32], out: &mut [f32], pair: impl Fn(&[u8]) -> f32) {
    match run(width, data, rows) {
        Some(rows) => {
            for (row, slot) in rows.chunks_exact(width).zip(out) {
                *slot = pair(row);
            }
        }
        None => gather_body(width, data, rows, out, pair),
    }
}

/// Writes the gather forms and the table around the pair kernels, so that all of them inline these under one instruction
/// set.
macro_rules! table {
    ($(#[$feature:meta])* $name:ident, $text:literal, $differing:ident, $meeting:ident) => {
        pub(in $crate::kernels::bits) static $name: $crate::kernels::bits::BitKernels = {
            $(#[$feature])*
            fn differing_gather(query: &[u8], data: &[u8], rows: &[u32], out: &mut [f32]) {
                $crate::kernels::bits::row_by_row(query.len(), data, rows, out, |row| $differing(query, row) as f32);
            }
            $(#[$feature])*
            fn jaccard_gather(query: &[u8], data: &[u8], rows: &[u32], out: &mut [f32]) {
                $crate::kernels::bits::row_by_row(query.len(), data, rows, out, |row| $meeting(query, row).jaccard());
            }
            $crate::kernels::bits::BitKernels {
                name: $text,
                differing: $differing,
                meeting: $meeting,
                differing_gather,
                jaccard_gather,
            }
        };
    };
}
use table;

#[cfg(test)]
mod tests;
