//! Numbers of codewords, one for each place of a row, and sums of table entries that they choose.
//!
//! A place is a group of dimensions (product quantization), or one of several codewords that a group is the sum of (product
//! residual quantization). Numbers of up to 4 bits share a byte: the even place has the low half. Those of more than 8 take
//! two or three, and are not looked up here but by [`crate::codes::wide`].

use super::records::{Line, Records, gather_rows};
use crate::codes::wide::{BYTE_BITS, number_bytes};

/// Sums that run side by side: an addition waits for the one before it.
const SUMS: usize = 4;

/// How the numbers of a row are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Words {
    pub(crate) places: usize,
    /// 1 to 24.
    pub(crate) bits: u32,
}

impl Words {
    /// Whether two numbers share a byte.
    fn halves(self) -> bool {
        self.bits <= 4
    }

    /// Bytes of a row.
    pub(crate) fn bytes(self) -> usize {
        if self.halves() {
            self.places.div_ceil(2)
        } else {
            self.places * number_bytes(self.bits)
        }
    }

    /// Whether a number takes more than a byte.
    pub(crate) fn is_wide(self) -> bool {
        self.bits > BYTE_BITS
    }

    /// Entries of a table of numbers up to a byte, those that no number chooses included.
    pub(crate) fn entries(self) -> usize {
        if self.halves() { 16 } else { 256 }
    }

    /// Appends a row, packed.
    pub(crate) fn append(self, code: &[u8], out: &mut Vec<u8>) {
        if self.halves() {
            let pairs = code.chunks(2);
            out.extend(pairs.map(|pair| {
                pair.first().map_or(0, |low| low & 15) | pair.get(1).map_or(0, |high| high << 4)
            }));
        } else {
            out.extend_from_slice(code);
        }
    }

    /// The entries that a row chooses, added up.
    #[inline(always)]
    fn sum(self, code: &[u8], tables: &[f32]) -> f32 {
        let mut sums = [0.0f32; SUMS];
        if self.halves() {
            let (tables, _) = tables.as_chunks::<16>();
            for (&byte, tables) in code.iter().zip(tables.chunks(2)) {
                for (lane, table) in tables.iter().enumerate() {
                    sums[lane] += table[usize::from(byte >> (4 * lane) & 15)];
                }
            }
        } else {
            let (tables, _) = tables.as_chunks::<256>();
            let (codes, groups) = (code.chunks_exact(SUMS), tables.chunks_exact(SUMS));
            let rest = codes.remainder().iter().zip(groups.remainder());
            for ((&number, table), sum) in rest.zip(&mut sums) {
                *sum += table[usize::from(number)];
            }
            for (codes, tables) in codes.zip(groups) {
                for lane in 0..SUMS {
                    sums[lane] += tables[lane][usize::from(codes[lane])];
                }
            }
        }
        (sums[0] + sums[1]) + (sums[2] + sums[3])
    }

    /// `line.add + term + line.mul * sum` of the rows given by number; infinite where there is no such row. `tables` has
    /// [`Words::entries`] for every place.
    pub(crate) fn gather(
        self,
        records: Records<'_>,
        tables: &[f32],
        line: Line,
        rows: &[u32],
        out: &mut [f32],
    ) {
        gather_rows(records, line, rows, out, |code| self.sum(code, tables));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn sums_are_those_of_the_chosen_entries(places in 1usize..40, bits in 1u32..=8, seed in any::<u64>()) {
            let mut rng = Rng::new(seed);
            let words = Words { places, bits };
            let entries = words.entries();
            let tables: Vec<f32> = (0..places * entries).map(|_| rng.normal()).collect();
            let code: Vec<u8> = (0..places).map(|_| rng.below(1 << bits) as u8).collect();
            let mut bytes = Vec::new();
            words.append(&code, &mut bytes);
            prop_assert_eq!(bytes.len(), words.bytes());
            let expected: f64 = (0..places).map(|place| f64::from(tables[place * entries + usize::from(code[place])])).sum();
            let records = Records { bytes: &bytes, stride: bytes.len(), head: 0 };
            let mut out = [0.0; 2];
            words.gather(records, &tables, Line { add: 1.0, mul: -2.0 }, &[0, 1], &mut out);
            prop_assert!((f64::from(out[0]) - (1.0 - 2.0 * expected)).abs() < 1e-3);
            prop_assert_eq!(out[1], f32::INFINITY);
        }
    }
}
