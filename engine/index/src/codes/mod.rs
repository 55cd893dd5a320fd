//! Codes: vectors in a quarter to a thirty-second of their bytes, laid out for scans.
//!
//! Whatever the code, a row's vector is estimated by some `x̂`, and a scan needs `<q, x̂>` for one query and many rows. All
//! codes here bring it to the same form:
//!
//! ```text
//!   code of a row:  small numbers c_0, c_1, ..      one per dimension (scalar, RaBitQ) or group of dimensions (product)
//!   query:          an operand of bytes per place   weights of 8 bits, or tables of 16 or 256 bytes
//!   <q, x̂>  ~  scale * (integer sum over the places) + bias
//! ```
//!
//! Distances follow from the inner product and numbers kept beside the code ([`estimate`]). Sums are integers, so every
//! instruction set gives the same answer, bit for bit. What a scan finds is an estimate: callers score the best rows
//! again, from the stored vectors.
//!
//! | file | part |
//! |---|---|
//! | `level` | the instruction sets that scans use |
//! | [`packing`] | how codes of many rows lie in memory, and the sums over them |
//! | `avx2`, `avx512`, `neon` | those sums in registers |
//! | [`estimate`] | sums to distances, compared with a bound |
//! | [`scalar`] | 4, 6 or 8 bits per dimension |
//! | [`product`] | one of up to 2^24 codewords per group of dimensions |
//! | [`wide`] | numbers of codewords that take more than a byte |
//! | [`rotation`] | a random rotation that costs little |
//! | [`rabitq`] | 1 to 9 bits per dimension of the rotated vector |
//! | `planes` | the bits after the first of those |
//! | [`rows`] | codes that are read row by row, for graphs |

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
pub(crate) mod estimate;
pub(crate) mod level;
#[cfg(target_arch = "aarch64")]
mod neon;
pub(crate) mod packing;
pub(crate) mod planes;
pub(crate) mod product;
pub(crate) mod rabitq;
pub(crate) mod rotation;
pub(crate) mod rows;
pub(crate) mod scalar;
pub(crate) mod wide;

use level::{Level, on_level};
use packing::Packing;

/// A query as the scan of a code takes it: `<q, x̂> ~ scale * sum + bias`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Operand {
    /// What [`packing::Packing::sums`] reads.
    pub(crate) bytes: Vec<u8>,
    pub(crate) scale: f32,
    pub(crate) bias: f32,
}

/// Floats that registers work on side by side.
const LANES: usize = 16;

/// The smallest and the largest number of `table`.
#[inline(always)]
fn bounds(table: &[f32]) -> (f32, f32) {
    let (mut lows, mut highs) = ([f32::INFINITY; LANES], [f32::NEG_INFINITY; LANES]);
    let (whole, rest) = table.as_chunks::<LANES>();
    for chunk in whole {
        // Of a known length: the sixteen stay in registers.
        for (lane, &value) in chunk.iter().enumerate() {
            lows[lane] = if value < lows[lane] { value } else { lows[lane] };
            highs[lane] = if value > highs[lane] { value } else { highs[lane] };
        }
    }
    for (lane, &value) in rest.iter().enumerate() {
        lows[lane] = if value < lows[lane] { value } else { lows[lane] };
        highs[lane] = if value > highs[lane] { value } else { highs[lane] };
    }
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            let (low, high) = (lows[lane + width], highs[lane + width]);
            lows[lane] = if low < lows[lane] { low } else { lows[lane] };
            highs[lane] = if high > highs[lane] { high } else { highs[lane] };
        }
        width /= 2;
    }
    (lows[0], highs[0])
}

/// Smallest numbers of all tables, and the widest range.
#[inline(always)]
fn ranges_body(tables: &[f32], entries: usize, lows: &mut [f32]) -> f32 {
    let mut widest = 0.0f32;
    for (table, slot) in tables.chunks_exact(entries).zip(lows) {
        let (low, high) = bounds(table);
        *slot = low;
        widest = widest.max(high - low);
    }
    widest
}

#[inline(always)]
fn round_body(tables: &[f32], entries: usize, lows: &[f32], inverse: f32, rounded: &mut [u8]) {
    let pairs = tables
        .chunks_exact(entries)
        .zip(rounded.chunks_exact_mut(entries));
    for ((table, rounded), &low) in pairs.zip(lows) {
        for (&value, slot) in table.iter().zip(rounded) {
            // Truncation of a number that is half too large. What is no number becomes 0.
            let number = (value - low) * inverse + 0.5;
            let number = if number > 0.0 { number } else { 0.0 };
            let number = if number < 255.0 { number } else { 255.0 };
            // SAFETY: a number from 0 to 255. A cast that saturates by itself is not made with whole registers.
            *slot = unsafe { number.to_int_unchecked::<i32>() } as u8;
        }
    }
}

on_level! {
    fn ranges_on(level, tables: &[f32], entries: usize, lows: &mut [f32]) -> f32 = ranges_body
}

/// Smallest numbers of all tables of `entries` each, and the widest range.
fn ranges(level: Level, tables: &[f32], entries: usize, lows: &mut [f32]) -> f32 {
    #[cfg(target_arch = "x86_64")]
    if level == Level::Avx512 && entries.is_multiple_of(LANES) {
        // SAFETY: the level is one of this machine.
        return unsafe { avx512::ranges(tables, entries, lows) };
    }
    ranges_on(level, tables, entries, lows)
}

on_level! {
    fn round(level, tables: &[f32], entries: usize, lows: &[f32], inverse: f32, rounded: &mut [u8]) = round_body
}

/// Tables of `entries` numbers each, rounded to 8 bits at one scale. A table's smallest number becomes 0 and goes to the
/// bias.
pub(crate) fn round_tables(packing: Packing, tables: &[f32], entries: usize) -> Operand {
    let (level, entries) = (Level::best(), entries.max(1));
    let mut lows = vec![0.0f32; tables.len() / entries];
    let scale = ranges(level, tables, entries, &mut lows) / 255.0;
    let inverse = if scale > 0.0 { scale.recip() } else { 0.0 };
    let mut rounded = vec![0u8; tables.len()];
    round(level, tables, entries, &lows, inverse, &mut rounded);
    let bias: f64 = lows.iter().map(|&low| f64::from(low)).sum();
    let in_place = packing == Packing::Bytes { parts: lows.len() } && entries == 256;
    Operand {
        bytes: if in_place {
            rounded
        } else {
            packing.operand_of_tables(&rounded, entries)
        },
        scale,
        bias: bias as f32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn every_level_finds_the_same_ranges() {
        let mut rng = Rng::new(8);
        for (entries, count) in [(16, 0), (16, 1), (16, 9), (4, 5), (256, 3), (17, 4)] {
            let mut tables: Vec<f32> = (0..entries * count).map(|_| rng.normal()).collect();
            for odd in [f32::NAN, f32::INFINITY, -0.0, 0.0, f32::NAN] {
                let of = |level| {
                    let mut lows = vec![0.0; count];
                    let widest = ranges(level, &tables, entries, &mut lows);
                    (
                        widest.to_bits(),
                        lows.into_iter().map(f32::to_bits).collect::<Vec<_>>(),
                    )
                };
                let expected = of(Level::Plain);
                assert!(
                    Level::available().into_iter().all(|level| of(level) == expected),
                    "{entries} x {count}"
                );
                if !tables.is_empty() {
                    let at = rng.below(tables.len());
                    tables[at] = odd;
                }
            }
        }
    }
}
