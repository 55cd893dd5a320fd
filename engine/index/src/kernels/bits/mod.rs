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

/// Writes the gather forms and the table around the pair kernels, so that all of them inline these under one instruction
/// set.
macro_rules! table {
    ($(#[$feature:meta])* $name:ident, $text:literal, $differing:ident, $meeting:ident) => {
        pub(in $crate::kernels::bits) static $name: $crate::kernels::bits::BitKernels = {
            $(#[$feature])*
            fn differing_gather(query: &[u8], data: &[u8], rows: &[u32], out: &mut [f32]) {
                $crate::kernels::gather::gather_body(query.len(), data, rows, out, |row| $differing(query, row) as f32);
            }
            $(#[$feature])*
            fn jaccard_gather(query: &[u8], data: &[u8], rows: &[u32], out: &mut [f32]) {
                $crate::kernels::gather::gather_body(query.len(), data, rows, out, |row| $meeting(query, row).jaccard());
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
