//! Numbers of 4, 6 or 8 bits, one for each dimension of a row, and their sums with the weights of a query.
//!
//! ```text
//!   8 bits   a byte per dimension
//!   4 bits   blocks of 64 dimensions in 32 bytes: byte i has dimension i in its low half, 32 + i in its high half
//!   6 bits   blocks of 64 dimensions in 48 bytes: the low 4 bits as above, then 16 bytes of the high 2 bits:
//!            byte i has those of the dimensions i, 16 + i, 32 + i and 48 + i, from the lowest bits up
//! ```
//!
//! So a block becomes 64 bytes in a register with shifts and masks alone. Sums are integers: every instruction set gives the
//! same distances, bit for bit.

use super::records::{Line, Records, gather_rows};
use crate::codes::level::Level;

/// Dimensions that are unpacked together.
pub(super) const BLOCK: usize = 64;
/// Bytes of a block of 4 bits, and of 6.
pub(super) const BYTES_4: usize = 32;
pub(super) const BYTES_6: usize = 48;

/// How the numbers of a row are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Levels {
    /// 4, 6 or 8.
    pub(crate) bits: u32,
    pub(crate) dim: usize,
}

impl Levels {
    /// Bytes of a row.
    pub(crate) fn bytes(self) -> usize {
        match self.bits {
            8 => self.dim,
            6 => self.dim.div_ceil(BLOCK) * BYTES_6,
            _ => self.dim.div_ceil(BLOCK) * BYTES_4,
        }
    }

    /// Appends a row, packed.
    pub(crate) fn append(self, code: &[u8], out: &mut Vec<u8>) {
        if self.bits == 8 {
            out.extend_from_slice(code);
            return;
        }
        let mut block = [0u8; BLOCK];
        for part in code.chunks(BLOCK) {
            block.fill(0);
            block[..part.len()].copy_from_slice(part);
            let (low, high) = block.split_at(BYTES_4);
            out.extend(low.iter().zip(high).map(|(low, high)| low & 15 | high << 4));
            if self.bits == 6 {
                out.extend((0..16).map(|i| {
                    let top = |at: usize| block[i + at] >> 4 & 3;
                    top(0) | top(16) << 2 | top(32) << 4 | top(48) << 6
                }));
            }
        }
    }

    /// Weights as [`Levels::gather`] takes them: whole blocks.
    pub(crate) fn pad(self, weights: &mut Vec<i8>) {
        weights.resize(self.dim.next_multiple_of(BLOCK), 0);
    }

    /// The sum of weights times numbers of one row.
    fn sum(self, code: &[u8], weights: &[i8]) -> i32 {
        let product = |number: u8, weight: i8| i32::from(number) * i32::from(weight);
        if self.bits == 8 {
            return code.iter().zip(weights).map(|(&n, &w)| product(n, w)).sum();
        }
        let bytes = if self.bits == 6 { BYTES_6 } else { BYTES_4 };
        let mut sum = 0;
        for (block, weights) in code.chunks_exact(bytes).zip(weights.chunks_exact(BLOCK)) {
            let (low, top) = block.split_at(BYTES_4);
            for (i, &weight) in weights.iter().enumerate() {
                let low = low[i % 32] >> (i / 32 * 4) & 15;
                let top = top.get(i % 16).map_or(0, |top| top >> (i / 16 * 2) & 3);
                sum += product(low | top << 4, weight);
            }
        }
        sum
    }

    /// `line.add + term + line.mul * sum` of the rows given by number; infinite where there is no such row.
    #[inline]
    pub(crate) fn gather(
        self,
        level: Level,
        records: Records<'_>,
        weights: &[i8],
        line: Line,
        rows: &[u32],
        out: &mut [f32],
    ) {
        let sound = records.code_bytes() == self.bytes() && weights.len() == self.dim.next_multiple_of(BLOCK);
        debug_assert!(sound, "{self:?}: {} {}", records.code_bytes(), weights.len());
        if !sound {
            out.fill(f32::INFINITY);
            return;
        }
        match level {
            Level::Plain => gather_rows(records, line, rows, out, |code| self.sum(code, weights) as f32),
            // SAFETY: a level is only handed out on a machine that has its instruction set; the lengths were checked.
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => unsafe { super::avx2::gather(self.bits, records, weights, line, rows, out) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => unsafe { super::avx512::gather(self.bits, records, weights, line, rows, out) },
            // SAFETY: as above.
            #[cfg(target_arch = "aarch64")]
            Level::Neon => unsafe { super::neon::gather(self.bits, records, weights, line, rows, out) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(80))]

        #[test]
        fn every_level_gives_the_sum_of_the_numbers(
            dim in 1usize..300, bits in prop::sample::select(vec![4u32, 6, 8]), head in prop::sample::select(vec![0usize, 4]),
            seed in any::<u64>()
        ) {
            let mut rng = Rng::new(seed);
            let levels = Levels { bits, dim };
            let mut weights: Vec<i8> = (0..dim).map(|_| (rng.below(255) as i32 - 127) as i8).collect();
            let (mut bytes, mut expected) = (Vec::new(), Vec::new());
            let line = Line { add: 0.5, mul: -0.25 };
            for row in 0..9u8 {
                let code: Vec<u8> = (0..dim).map(|_| rng.below(1 << bits) as u8).collect();
                let term = if head == 4 { f32::from(row) } else { 0.0 };
                bytes.extend_from_slice(&term.to_le_bytes()[..head]);
                levels.append(&code, &mut bytes);
                let sum: i64 = code.iter().zip(&weights).map(|(&n, &w)| i64::from(n) * i64::from(w)).sum();
                expected.push(0.5 + term + -0.25 * sum as f32);
            }
            levels.pad(&mut weights);
            let records = Records { bytes: &bytes, stride: head + levels.bytes(), head };
            let rows: Vec<u32> = (0..10).rev().collect();
            expected.push(f32::INFINITY);
            expected.reverse();
            for level in Level::available() {
                let mut out = vec![0.0; rows.len()];
                levels.gather(level, records, &weights, line, &rows, &mut out);
                prop_assert_eq!(&out, &expected, "{:?}", level);
            }
        }
    }
}
