//! Product quantization (Jégou, Douze and Schmid, 2011): the dimensions are cut into `m` groups, and each group of a row is
//! replaced by the nearest of `2^bits` codewords, the centroids of a k-means over a sample.
//!
//! ```text
//!   <q, x̂> = sum over groups of table[group][code of group]        table[group][j] = <q's group, codeword j>
//! ```
//!
//! Codebooks are kept dimension by dimension, all codewords side by side, so that tables and nearest codewords are made
//! with whole registers however few dimensions a group has.

use rayon::prelude::*;

use super::level::{Level, on_level};
use super::packing::Packing;
use super::wide::{BYTE_BITS, number_bytes, number_of, put_number};
use super::{Operand, round_tables};
use crate::blob::Array;
use crate::error::BuildError;
use crate::progress::Progress;
use crate::rng::Rng;

/// Training rows per codeword; more improve codewords very little.
pub(crate) const SAMPLE_PER_WORD: usize = 96;
/// As many of them are enough where there are more codewords than a byte numbers: time grows with the square of these.
const SAMPLE_PER_WIDE_WORD: usize = 4;
const ITERATIONS: usize = 12;
/// Rows of a k-means between two looks at the cancel flag, by codewords.
const CANCEL_WORK: usize = 1 << 24;
/// Floats that registers work on side by side.
const LANES: usize = 16;

/// Codebooks of all groups.
#[derive(Debug)]
pub(crate) struct ProductQuantizer {
    dim: usize,
    parts: usize,
    bits: u32,
    /// Groups x dimensions of a group x codewords.
    books: Array<f32>,
    /// Squared length of every codeword: groups x codewords.
    norms: Vec<f32>,
}

#[inline(always)]
fn table_body(group: &[f32], book: &[f32], table: &mut [f32]) {
    let mut columns = group.iter().zip(book.chunks_exact(table.len().max(1)));
    if let Some((&value, column)) = columns.next() {
        for (slot, &word) in table.iter_mut().zip(column) {
            *slot = value * word;
        }
    }
    for (&value, column) in columns {
        for (slot, &word) in table.iter_mut().zip(column) {
            *slot += value * word;
        }
    }
}

/// Place of the codeword with the smallest `|w|² - 2 <x, w>`; the first of equal ones. `room` has a slot for each.
#[inline(always)]
fn nearest_body(group: &[f32], book: &[f32], norms: &[f32], room: &mut [f32]) -> usize {
    room.copy_from_slice(norms);
    for (&value, column) in group.iter().zip(book.chunks_exact(room.len().max(1))) {
        let twice = value * 2.0;
        for (slot, &word) in room.iter_mut().zip(column) {
            *slot -= twice * word;
        }
    }
    let mut least = [f32::INFINITY; LANES];
    let chunks = room.chunks_exact(LANES);
    for (&value, least) in chunks.remainder().iter().zip(&mut least) {
        *least = if value < *least { value } else { *least };
    }
    for chunk in chunks {
        for (&value, least) in chunk.iter().zip(&mut least) {
            *least = if value < *least { value } else { *least };
        }
    }
    let least = least.iter().copied().fold(f32::INFINITY, f32::min);
    room.iter().position(|&value| value == least).unwrap_or(0)
}

on_level! {
    fn make_table(level, group: &[f32], book: &[f32], table: &mut [f32]) = table_body
}
on_level! {
    fn nearest(level, group: &[f32], book: &[f32], norms: &[f32], room: &mut [f32]) -> usize = nearest_body
}

/// Rows to learn `2^bits` codewords from, where there are as many.
pub(crate) fn sample_rows(bits: u32) -> usize {
    let of_byte = SAMPLE_PER_WORD << bits.min(BYTE_BITS);
    of_byte.max(SAMPLE_PER_WIDE_WORD << bits)
}

impl ProductQuantizer {
    /// Codebooks of `parts` groups of equal size, `2^bits` codewords each, from `sample`: rows of `dim` floats in random
    /// order.
    pub(crate) fn train(
        dim: usize,
        parts: usize,
        bits: u32,
        sample: &[f32],
        seed: u64,
        progress: &dyn Progress,
    ) -> Result<Self, BuildError> {
        let words = 1 << bits;
        let width = dim / parts.max(1);
        let mut books = Vec::with_capacity(dim * words);
        // A slab of groups between two looks at the cancel flag.
        let slab = rayon::current_num_threads().max(1) * 2;
        for first in (0..parts).step_by(slab) {
            if progress.cancelled() {
                return Err(BuildError::Cancelled);
            }
            let groups: Result<Vec<Vec<f32>>, BuildError> = (first..parts.min(first + slab))
                .into_par_iter()
                .map(|part| {
                    let group: Vec<f32> = sample
                        .chunks_exact(dim)
                        .flat_map(|row| row.get(part * width..(part + 1) * width).unwrap_or(&[]))
                        .copied()
                        .collect();
                    train_book(&group, width, words, &mut Rng::new(seed ^ part as u64), progress)
                })
                .collect();
            books.extend(groups?.into_iter().flatten());
        }
        Ok(Self::stored(dim, parts, bits, Array::Owned(books)))
    }

    /// Codebooks that were stored: `dim * 2^bits` floats, see [`ProductQuantizer::books`].
    pub(crate) fn stored(dim: usize, parts: usize, bits: u32, books: Array<f32>) -> Self {
        let words = 1usize << bits;
        let width = dim / parts.max(1);
        let norms = books
            .chunks_exact((width * words).max(1))
            .flat_map(|book| norms(book, words))
            .collect();
        Self {
            dim,
            parts,
            bits,
            books,
            norms,
        }
    }

    /// Groups x dimensions of a group x codewords.
    pub(crate) fn books(&self) -> &[f32] {
        &self.books
    }

    /// Squared length of every codeword: groups x codewords.
    pub(crate) fn norms(&self) -> &[f32] {
        &self.norms
    }

    fn words(&self) -> usize {
        1 << self.bits
    }

    /// Groups of dimensions.
    pub(crate) fn parts(&self) -> usize {
        self.parts
    }

    /// Bits of a codeword's number.
    pub(crate) fn bits(&self) -> u32 {
        self.bits
    }

    pub(crate) fn packing(&self) -> Packing {
        if self.bits > BYTE_BITS {
            Packing::Wide {
                bytes: self.parts * number_bytes(self.bits),
            }
        } else if self.bits <= 4 {
            Packing::Nibbles { parts: self.parts }
        } else {
            Packing::Bytes { parts: self.parts }
        }
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.books.bytes() + size_of_val(self.norms.as_slice())
    }

    /// Groups of `row` with their codebooks.
    fn groups<'a>(&'a self, row: &'a [f32]) -> impl Iterator<Item = (&'a [f32], &'a [f32])> {
        let width = (self.dim / self.parts.max(1)).max(1);
        row.chunks_exact(width)
            .zip(self.books.chunks_exact(width * self.words()))
    }

    /// The nearest codeword of every group of `row`: its number, in as many bytes as [`number_bytes`] says.
    pub(crate) fn encode(&self, row: &[f32], code: &mut Vec<u8>) {
        let (level, bytes) = (Level::best(), number_bytes(self.bits));
        let mut room = vec![0.0; self.words()];
        code.clear();
        for ((group, book), norms) in self.groups(row).zip(self.norms.chunks_exact(self.words())) {
            put_number(nearest(level, group, book, norms, &mut room), bytes, code);
        }
    }

    /// The vector that a code stands for.
    pub(crate) fn decode(&self, code: &[u8], row: &mut Vec<f32>) {
        let width = (self.dim / self.parts.max(1)).max(1);
        let numbers = code.chunks_exact(number_bytes(self.bits)).map(number_of);
        row.clear();
        for (word, book) in numbers.zip(self.books.chunks_exact(width * self.words())) {
            let columns = book.chunks_exact(self.words());
            row.extend(columns.filter_map(|column| column.get(word)));
        }
    }

    /// The product of `query` with the row whose codewords have these numbers.
    pub(crate) fn product(&self, query: &[f32], numbers: impl Iterator<Item = usize>) -> f32 {
        let groups = self.groups(query).zip(numbers);
        let of_group = |((group, book), word): ((&[f32], &[f32]), usize)| -> f32 {
            let words = book
                .chunks_exact(self.words())
                .filter_map(|column| column.get(word));
            group.iter().zip(words).map(|(value, word)| value * word).sum()
        };
        groups.map(of_group).sum()
    }

    /// The product of every group of `query` with every codeword of the group, written to `tables`: `entries` for each
    /// group, of which the first are those of the codewords.
    pub(crate) fn tables(&self, query: &[f32], entries: usize, tables: &mut [f32]) {
        let level = Level::best();
        for ((group, book), table) in self.groups(query).zip(tables.chunks_exact_mut(entries.max(1))) {
            let table = table.get_mut(..self.words()).unwrap_or_default();
            make_table(level, group, book, table);
        }
    }

    /// `query` as a scan of numbers of up to 8 bits takes it.
    pub(crate) fn operand(&self, query: &[f32]) -> Operand {
        let mut tables = vec![0.0; self.parts * self.words()];
        self.tables(query, self.words(), &mut tables);
        round_tables(self.packing(), &tables, self.words())
    }
}

/// Squared length of every codeword of a book.
fn norms(book: &[f32], words: usize) -> Vec<f32> {
    let mut norms = vec![0.0f32; words];
    for column in book.chunks_exact(words.max(1)) {
        for (norm, &word) in norms.iter_mut().zip(column) {
            *norm += word * word;
        }
    }
    norms
}

/// k-means over `rows` of `width` floats, which come in random order: the first are the first codewords.
fn train_book(
    rows: &[f32],
    width: usize,
    words: usize,
    rng: &mut Rng,
    progress: &dyn Progress,
) -> Result<Vec<f32>, BuildError> {
    let level = Level::best();
    let width = width.max(1);
    let count = rows.len() / width;
    let mut book = vec![0.0f32; width * words];
    if count == 0 {
        return Ok(book);
    }
    for word in 0..words {
        let row = if word < count { word } else { rng.below(count) };
        for axis in 0..width {
            book[axis * words + word] = rows[row * width + axis];
        }
    }
    let mut room = vec![0.0; words];
    let (mut sums, mut counts) = (vec![0.0f64; width * words], vec![0usize; words]);
    for _ in 0..ITERATIONS {
        let norms = norms(&book, words);
        sums.fill(0.0);
        counts.fill(0);
        for some in rows.chunks((CANCEL_WORK / words).max(1) * width) {
            if progress.cancelled() {
                return Err(BuildError::Cancelled);
            }
            for row in some.chunks_exact(width) {
                let word = nearest(level, row, &book, &norms, &mut room);
                counts[word] += 1;
                for (axis, &value) in row.iter().enumerate() {
                    sums[axis * words + word] += f64::from(value);
                }
            }
        }
        let mut moved = false;
        for word in 0..words {
            if counts[word] == 0 {
                // A codeword that nothing is near to moves to a row drawn at random.
                let row = rng.below(count);
                for axis in 0..width {
                    book[axis * words + word] = rows[row * width + axis];
                }
                continue;
            }
            for axis in 0..width {
                let mean = (sums[axis * words + word] / counts[word] as f64) as f32;
                moved |= mean != book[axis * words + word];
                book[axis * words + word] = mean;
            }
        }
        if !moved {
            break;
        }
    }
    Ok(book)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn codes_are_nearest_and_estimates_within_the_rounding(
            parts in 1usize..12, width in 1usize..6, bits in 1u32..=8, seed in any::<u64>()
        ) {
            let dim = parts * width;
            let mut rng = Rng::new(seed);
            let mut draw = |count: usize| -> Vec<f32> { (0..count).map(|_| rng.normal()).collect() };
            let (sample, query) = (draw(200 * dim), draw(dim));
            let quantizer = ProductQuantizer::train(dim, parts, bits, &sample, 3, &()).unwrap();
            let packing = quantizer.packing();
            let operand = quantizer.operand(&query);
            let mut unit = vec![0; packing.unit_bytes()];
            let (mut code, mut decoded, mut expected) = (Vec::new(), Vec::new(), Vec::new());
            let l2 = |a: &[f32], b: &[f32]| -> f64 {
                a.iter().zip(b).map(|(a, b)| f64::from(a - b) * f64::from(a - b)).sum()
            };
            for (lane, row) in sample.chunks(dim).take(packing.unit()).enumerate() {
                quantizer.encode(row, &mut code);
                quantizer.decode(&code, &mut decoded);
                let mut other = Vec::new();
                for part in 0..parts {
                    let span = part * width..(part + 1) * width;
                    let own = l2(&row[span.clone()], &decoded[span.clone()]);
                    for word in 0..1u16 << bits {
                        quantizer.decode(&vec![word as u8; parts], &mut other);
                        prop_assert!(own <= l2(&row[span.clone()], &other[span.clone()]) + 1e-4);
                    }
                }
                packing.put(&mut unit, lane, &code);
                let dot: f64 = query.iter().zip(&decoded).map(|(&q, &x)| f64::from(q) * f64::from(x)).sum();
                expected.push(dot);
            }
            let mut sums = vec![0; packing.unit()];
            packing.sums(Level::best(), &unit, &operand.bytes, &mut sums);
            let allowed = f64::from(operand.scale) * parts as f64 * 0.51 + 1e-4;
            for (&sum, &expected) in sums.iter().zip(&expected) {
                let got = f64::from(operand.scale * sum as f32 + operand.bias);
                prop_assert!((got - expected).abs() <= allowed, "{got} {expected} allowed {allowed}");
            }
        }
    }

    #[test]
    fn levels_agree_on_the_nearest_codeword() {
        let mut rng = Rng::new(4);
        for words in [2usize, 8, 16, 64, 256] {
            let book: Vec<f32> = (0..3 * words).map(|_| rng.normal()).collect();
            let norms = norms(&book, words);
            for _ in 0..50 {
                let group = [rng.normal(), rng.normal(), rng.normal()];
                let of = |level| nearest(level, &group, &book, &norms, &mut vec![0.0; words]);
                let expected = of(Level::Plain);
                assert!(Level::available().into_iter().all(|level| of(level) == expected));
            }
        }
    }

    #[test]
    fn fewer_or_equal_rows_still_train() {
        for sample in [Vec::new(), vec![1.0f32, 2.0], [1.0f32, 2.0].repeat(40)] {
            let quantizer = ProductQuantizer::train(2, 1, 8, &sample, 1, &()).unwrap();
            let mut code = Vec::new();
            quantizer.encode(&[1.0, 2.0], &mut code);
            assert_eq!(code.len(), 1);
            let mut decoded = Vec::new();
            quantizer.decode(&code, &mut decoded);
            assert_eq!(decoded.len(), 2);
            assert!(sample.is_empty() || decoded == [1.0, 2.0]);
        }
    }
}
