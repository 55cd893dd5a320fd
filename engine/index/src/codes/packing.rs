//! How codes of many rows lie in memory: in units of 16, 32 or 64 rows, one register wide per step, so that a scan reads
//! them in order and adds up all rows of a unit side by side, without adding across a register.
//!
//! ```text
//!   Levels   16 rows; 64 bytes hold 4 dimensions (8 bits), 8 (4 bits), two thirds of 8 (6 bits: low 4, then high 2 bits)
//!            byte 4r + j: row r, dimension j of four          operand: 8-bit weights, four of them meet a row's four bytes
//!   Nibbles  32 rows; 64 bytes hold 4 places                  operand: tables of 16 bytes, looked up in the register
//!            bytes 0..32: rows, place 0 | place 1 << 4; bytes 32..64: rows, place 2 | place 3 << 4
//!   Bytes    64 rows; 64 bytes hold 1 place                   operand: tables of 256 bytes
//!   Wide     16 rows, one after the other                     read row by row, see [`super::wide`]
//! ```
//!
//! Nibbles are the layout of Faiss' fast scan (André, Kermarrec and Le Scouarnec, 2015); Bytes carries the idea to tables
//! of 256 entries, which fill four registers of AVX-512 and sixteen of NEON.

use super::level::Level;

/// Rows of the largest unit.
pub(crate) const MAX_UNIT: usize = 64;
/// Places whose 8-bit table entries fit into a 16-bit sum.
pub(super) const RUN: usize = 256;

/// Operands that [`Packing::sums_of`] takes.
pub(crate) const TOGETHER: usize = 4;

/// A layout of codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packing {
    /// One number of 4, 6 or 8 bits per dimension.
    Levels {
        /// Bits per number.
        bits: u32,
        /// Numbers per row.
        dim: usize,
    },
    /// Numbers up to 15.
    Nibbles {
        /// Numbers per row.
        parts: usize,
    },
    /// Numbers up to 255.
    Bytes {
        /// Numbers per row.
        parts: usize,
    },
    /// Numbers of more than a byte, which are not summed up side by side.
    Wide {
        /// Bytes per row.
        bytes: usize,
    },
}

impl Packing {
    /// Rows of a unit.
    pub(crate) fn unit(self) -> usize {
        match self {
            Self::Levels { .. } | Self::Wide { .. } => 16,
            Self::Nibbles { .. } => 32,
            Self::Bytes { .. } => MAX_UNIT,
        }
    }

    /// Bytes of a unit.
    pub(crate) fn unit_bytes(self) -> usize {
        match self {
            Self::Levels { bits: 8, dim } => dim.div_ceil(4) * 64,
            Self::Levels { bits: 6, dim } => dim.div_ceil(16) * 192,
            Self::Levels { dim, .. } => dim.div_ceil(8) * 64,
            Self::Nibbles { parts } => parts.div_ceil(4) * 64,
            Self::Bytes { parts } => parts * 64,
            Self::Wide { bytes } => bytes * 16,
        }
    }

    /// Bytes of an operand.
    pub(crate) fn operand_bytes(self) -> usize {
        match self {
            Self::Levels { dim, .. } => dim.next_multiple_of(16),
            Self::Nibbles { parts } => parts.div_ceil(4) * 128,
            Self::Bytes { parts } => parts * 256,
            Self::Wide { .. } => 0,
        }
    }

    /// Writes the code of row `lane` of a unit that was all zeros.
    pub(crate) fn put(self, unit: &mut [u8], lane: usize, code: &[u8]) {
        let mut or = |at: usize, bits: u8| {
            if let Some(byte) = unit.get_mut(at) {
                *byte |= bits;
            }
        };
        for (place, &number) in code.iter().enumerate() {
            match self {
                Self::Levels { bits: 8, .. } => or(place / 4 * 64 + lane * 4 + place % 4, number),
                Self::Levels { bits: 6, .. } => {
                    let (start, within) = (place / 16 * 192, place % 16);
                    let column = lane * 4 + within % 4;
                    or(
                        start + within / 8 * 64 + column,
                        (number & 15) << (within % 8 / 4 * 4),
                    );
                    or(start + 128 + column, (number >> 4 & 3) << (within / 4 * 2));
                }
                Self::Levels { .. } => {
                    or(
                        place / 8 * 64 + lane * 4 + place % 4,
                        (number & 15) << (place % 8 / 4 * 4),
                    );
                }
                Self::Nibbles { .. } => {
                    let within = place % 4;
                    or(
                        place / 4 * 64 + within / 2 * 32 + lane,
                        (number & 15) << (within % 2 * 4),
                    );
                }
                Self::Bytes { .. } => or(place * 64 + lane, number),
                Self::Wide { bytes } => or(lane * bytes + place, number),
            }
        }
    }

    /// Number `place` of the code of row `lane` of a unit of [`Packing::Nibbles`] or [`Packing::Bytes`].
    pub(crate) fn number(self, unit: &[u8], lane: usize, place: usize) -> Option<u8> {
        match self {
            Self::Levels { .. } | Self::Wide { .. } => None,
            Self::Nibbles { .. } => {
                let byte = unit.get(place / 4 * 64 + place % 4 / 2 * 32 + lane)?;
                Some(byte >> (place % 2 * 4) & 15)
            }
            Self::Bytes { .. } => unit.get(place * 64 + lane).copied(),
        }
    }

    /// The operand of 8-bit weights, one per dimension, for [`Packing::Levels`].
    pub(crate) fn operand_of_weights(self, weights: &[i8]) -> Vec<u8> {
        let mut operand: Vec<u8> = weights.iter().map(|weight| weight.cast_unsigned()).collect();
        operand.resize(self.operand_bytes(), 0);
        operand
    }

    /// The operand of tables of `entries` bytes, one after the other, for [`Packing::Nibbles`] and [`Packing::Bytes`].
    pub(crate) fn operand_of_tables(self, tables: &[u8], entries: usize) -> Vec<u8> {
        let mut operand = vec![0u8; self.operand_bytes()];
        for (place, table) in tables.chunks_exact(entries.max(1)).enumerate() {
            // Tables of the low halves of the bytes first, then those of the high halves, each twice: once per 16 rows.
            let starts = match self {
                Self::Nibbles { .. } => {
                    let start = place / 4 * 128 + place % 2 * 64 + place % 4 / 2 * 32;
                    [start, start + 16]
                }
                Self::Levels { .. } | Self::Bytes { .. } | Self::Wide { .. } => [place * 256; 2],
            };
            for start in starts {
                if let Some(slots) = operand.get_mut(start..start + entries) {
                    slots.copy_from_slice(table);
                }
            }
        }
        operand
    }

    /// Whether [`Packing::sums_of`] reads codes once for all operands: with AVX-512 those of 8-bit levels and of nibbles.
    pub(crate) fn shares(self, level: Level) -> bool {
        #[cfg(target_arch = "x86_64")]
        if level == Level::Avx512 {
            return matches!(self, Self::Levels { bits: 8, .. } | Self::Nibbles { .. });
        }
        // Elsewhere operands take turns.
        let _ = level;
        false
    }

    /// Whether an operand, and room for sums, are as long as whole units of codes need them.
    fn fits(self, codes: &[u8], operand: &[u8], out: &[i32]) -> bool {
        let bytes = self.unit_bytes();
        operand.len() == self.operand_bytes()
            && bytes > 0
            && codes.len().is_multiple_of(bytes)
            && out.len() == codes.len() / bytes * self.unit()
    }

    /// [`Packing::sums`] of the same codes with several operands.
    pub(crate) fn sums_of(
        self,
        level: Level,
        codes: &[u8],
        operands: [&[u8]; TOGETHER],
        out: [&mut [i32]; TOGETHER],
    ) {
        #[cfg(target_arch = "x86_64")]
        if self.shares(level) {
            let bytes = self.unit_bytes();
            let mut pairs = operands.iter().zip(&out);
            if pairs.all(|(operand, out)| self.fits(codes, operand, out)) {
                // SAFETY: the level is one of this machine; the lengths were checked.
                return unsafe {
                    match self {
                        Self::Nibbles { .. } => super::avx512::nibbles_of(bytes, codes, operands, out),
                        Self::Levels { .. } | Self::Bytes { .. } | Self::Wide { .. } => {
                            super::avx512::levels_of(bytes, codes, operands, out);
                        }
                    }
                };
            }
        }
        for (operand, out) in operands.into_iter().zip(out) {
            self.sums(level, codes, operand, out);
        }
    }

    /// The sums of whole units, one per row: `out` has [`Packing::unit`] slots for each unit of `codes`. Those of
    /// [`Packing::Wide`] are zero.
    #[inline]
    pub(crate) fn sums(self, level: Level, codes: &[u8], operand: &[u8], out: &mut [i32]) {
        let bytes = self.unit_bytes();
        if let Self::Wide { .. } = self {
            out.fill(0);
            return;
        }
        let sound = self.fits(codes, operand, out);
        debug_assert!(sound, "{self:?}: {} {} {}", codes.len(), operand.len(), out.len());
        if !sound {
            out.fill(0);
            return;
        }
        match level {
            Level::Plain => self.plain(codes, operand, out),
            // SAFETY: a level is only handed out on a machine that has its instruction set; the lengths were checked.
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => unsafe {
                match self {
                    Self::Levels { bits, .. } => super::avx2::levels(bits, bytes, codes, operand, out),
                    Self::Nibbles { .. } => super::avx2::nibbles(bytes, codes, operand, out),
                    // There is no lookup in 256 entries: what pays is that sums run side by side, as the plain ones do.
                    Self::Bytes { .. } | Self::Wide { .. } => self.plain(codes, operand, out),
                }
            },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => unsafe {
                match self {
                    Self::Levels { bits, .. } => super::avx512::levels(bits, bytes, codes, operand, out),
                    Self::Nibbles { .. } => super::avx512::nibbles(bytes, codes, operand, out),
                    Self::Bytes { .. } => super::avx512::bytes(bytes, codes, operand, out),
                    Self::Wide { .. } => self.plain(codes, operand, out),
                }
            },
            // SAFETY: as above.
            #[cfg(target_arch = "aarch64")]
            Level::Neon => unsafe {
                match self {
                    Self::Levels { bits, .. } => super::neon::levels(bits, bytes, codes, operand, out),
                    Self::Nibbles { .. } => super::neon::nibbles(bytes, codes, operand, out),
                    Self::Bytes { .. } => super::neon::bytes(bytes, codes, operand, out),
                    Self::Wide { .. } => self.plain(codes, operand, out),
                }
            },
        }
    }

    fn plain(self, codes: &[u8], operand: &[u8], out: &mut [i32]) {
        let units = codes
            .chunks_exact(self.unit_bytes())
            .zip(out.chunks_exact_mut(self.unit()));
        for (unit, out) in units {
            match self {
                Self::Levels { bits, .. } => plain_levels(bits, unit, operand, out),
                Self::Nibbles { .. } => plain_nibbles(unit, operand, out),
                Self::Bytes { .. } => plain_bytes(unit, operand, out),
                Self::Wide { .. } => out.fill(0),
            }
        }
    }
}

/// Adds the products of four weights and the four bytes of every row, after `shift` and `mask`.
#[inline(always)]
fn plain_step(sums: &mut [i32; 16], step: &[u8], weights: &[u8], number: impl Fn(usize) -> i32) {
    debug_assert_eq!(step.len(), 64);
    if let [a, b, c, d] = *weights {
        let weights = [a, b, c, d].map(|weight| i32::from(weight.cast_signed()));
        for (row, sum) in sums.iter_mut().enumerate() {
            for (column, weight) in weights.iter().enumerate() {
                *sum += weight * number(row * 4 + column);
            }
        }
    }
}

fn plain_levels(bits: u32, unit: &[u8], operand: &[u8], out: &mut [i32]) {
    let mut sums = [0i32; 16];
    match bits {
        8 => {
            for (step, weights) in unit.chunks_exact(64).zip(operand.chunks_exact(4)) {
                plain_step(&mut sums, step, weights, |at| i32::from(step[at]));
            }
        }
        6 => {
            for (steps, weights) in unit.chunks_exact(192).zip(operand.chunks_exact(16)) {
                let (low, high) = steps.split_at(128);
                for (group, weights) in weights.chunks_exact(4).enumerate() {
                    let low = &low[group / 2 * 64..group / 2 * 64 + 64];
                    plain_step(&mut sums, low, weights, |at| {
                        i32::from((low[at] >> (group % 2 * 4) & 15) | (high[at] >> (group * 2) & 3) << 4)
                    });
                }
            }
        }
        _ => {
            for (step, weights) in unit.chunks_exact(64).zip(operand.chunks_exact(8)) {
                let (first, second) = weights.split_at(4);
                plain_step(&mut sums, step, first, |at| i32::from(step[at] & 15));
                plain_step(&mut sums, step, second, |at| i32::from(step[at] >> 4));
            }
        }
    }
    out.copy_from_slice(&sums);
}

fn plain_nibbles(unit: &[u8], operand: &[u8], out: &mut [i32]) {
    out.fill(0);
    for (step, tables) in unit.chunks_exact(64).zip(operand.chunks_exact(128)) {
        for (pair, rows) in step.chunks_exact(32).enumerate() {
            let (low, high) = (
                &tables[pair * 32..pair * 32 + 16],
                &tables[64 + pair * 32..64 + pair * 32 + 16],
            );
            for (&code, sum) in rows.iter().zip(out.iter_mut()) {
                *sum += i32::from(low[usize::from(code & 15)]) + i32::from(high[usize::from(code >> 4)]);
            }
        }
    }
}

fn plain_bytes(unit: &[u8], operand: &[u8], out: &mut [i32]) {
    out.fill(0);
    let mut sums = [0u16; MAX_UNIT];
    for (steps, tables) in unit.chunks(64 * RUN).zip(operand.chunks(256 * RUN)) {
        sums.fill(0);
        for (step, table) in steps.chunks_exact(64).zip(tables.chunks_exact(256)) {
            for (&code, sum) in step.iter().zip(&mut sums) {
                *sum += u16::from(table[usize::from(code)]);
            }
        }
        for (&sum, out) in sums.iter().zip(out.iter_mut()) {
            *out += i32::from(sum);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use proptest::prelude::*;

    /// Puts random codes into units and compares all levels with sums by definition.
    fn check(packing: Packing, parts: usize, limit: usize, units: usize, rng: &mut Rng) {
        let (unit, bytes) = (packing.unit(), packing.unit_bytes());
        let mut codes = vec![0u8; units * bytes];
        let rows: Vec<Vec<u8>> = (0..units * unit)
            .map(|_| (0..parts).map(|_| rng.below(limit) as u8).collect())
            .collect();
        for (row, code) in rows.iter().enumerate() {
            packing.put(&mut codes[row / unit * bytes..][..bytes], row % unit, code);
        }
        // An operand and the sums with it.
        let drawn: [(Vec<u8>, Vec<i32>); TOGETHER] = std::array::from_fn(|_| match packing {
            Packing::Levels { .. } => {
                let weights: Vec<i8> = (0..parts).map(|_| rng.below(255) as u8 as i8).collect();
                let sum = |code: &Vec<u8>| {
                    let products = code.iter().zip(&weights);
                    products.map(|(&c, &w)| i32::from(c) * i32::from(w)).sum()
                };
                (
                    packing.operand_of_weights(&weights),
                    rows.iter().map(sum).collect(),
                )
            }
            Packing::Nibbles { .. } | Packing::Bytes { .. } | Packing::Wide { .. } => {
                let tables: Vec<u8> = (0..parts * limit).map(|_| rng.below(256) as u8).collect();
                let sum = |code: &Vec<u8>| {
                    let entries = code.iter().enumerate();
                    entries
                        .map(|(place, &c)| i32::from(tables[place * limit + usize::from(c)]))
                        .sum()
                };
                (
                    packing.operand_of_tables(&tables, limit),
                    rows.iter().map(sum).collect(),
                )
            }
        });
        for level in Level::available() {
            for (operand, expected) in &drawn {
                let mut out = vec![7; units * unit];
                packing.sums(level, &codes, operand, &mut out);
                assert!(out == *expected, "{packing:?} {level:?}");
            }
            let mut out: [Vec<i32>; TOGETHER] = std::array::from_fn(|_| vec![7; units * unit]);
            let operands = drawn.each_ref().map(|(operand, _)| operand.as_slice());
            packing.sums_of(level, &codes, operands, out.each_mut().map(Vec::as_mut_slice));
            for (out, (_, expected)) in out.iter().zip(&drawn) {
                assert!(out == expected, "{packing:?} {level:?} together");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        #[test]
        fn every_level_adds_up_what_was_put(parts in 1usize..150, units in 0usize..5, seed in any::<u64>()) {
            let mut rng = Rng::new(seed);
            for bits in [4u32, 6, 8] {
                check(Packing::Levels { bits, dim: parts }, parts, 1 << bits, units, &mut rng);
            }
            check(Packing::Nibbles { parts }, parts, 16, units, &mut rng);
            check(Packing::Nibbles { parts }, parts, 4, units, &mut rng);
            check(Packing::Bytes { parts }, parts, 256, units, &mut rng);
            check(Packing::Bytes { parts }, parts, 100, units, &mut rng);
        }
    }

    #[test]
    fn the_largest_sums_do_not_overflow() {
        let parts = 32_768;
        for (packing, top) in [
            (Packing::Levels { bits: 8, dim: parts }, 255),
            (Packing::Nibbles { parts }, 15),
            (Packing::Bytes { parts }, 255),
        ] {
            let mut codes = vec![0u8; packing.unit_bytes()];
            for lane in 0..packing.unit() {
                packing.put(&mut codes, lane, &vec![top; parts]);
            }
            let (operand, expected) = match packing {
                Packing::Wide { .. } => continue,
                Packing::Levels { .. } => (packing.operand_of_weights(&vec![-127; parts]), -127 * 255),
                Packing::Nibbles { .. } => (packing.operand_of_tables(&vec![255; 16 * parts], 16), 255),
                Packing::Bytes { .. } => (packing.operand_of_tables(&vec![255; 256 * parts], 256), 255),
            };
            for level in Level::available() {
                let mut out = vec![0; packing.unit()];
                packing.sums(level, &codes, &operand, &mut out);
                assert!(
                    out.iter().all(|&sum| sum == expected * parts as i32),
                    "{packing:?} {level:?}"
                );
                let mut out = [0; TOGETHER].map(|_| vec![0; packing.unit()]);
                let slots = out.each_mut().map(Vec::as_mut_slice);
                packing.sums_of(level, &codes, [&operand; TOGETHER], slots);
                assert!(
                    out.iter().flatten().all(|&sum| sum == expected * parts as i32),
                    "{packing:?} {level:?} together"
                );
            }
        }
    }
}
