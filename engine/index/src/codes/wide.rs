//! Numbers of codewords that take more than a byte: 9 to 24 bits, in two or three bytes, lowest first.
//!
//! Up to [`TABLE_BITS`] a query has a table of its products with all codewords of a group, and a row is as many lookups as
//! there are groups. Beyond, tables would cost more than the rows they serve: products are then made from the codewords that
//! a row names. Either way they are 32-bit floats, in the order of the groups.

use super::product::ProductQuantizer;

/// Most bits of a number that tables are made for: 16 KiB for each group.
const TABLE_BITS: u32 = 12;
/// Most bits of a number in one byte.
pub(crate) const BYTE_BITS: u32 = 8;

/// Bytes of a number of so many bits.
pub(crate) fn number_bytes(bits: u32) -> usize {
    (bits.div_ceil(BYTE_BITS) as usize).max(1)
}

/// Appends a number in `bytes` bytes.
pub(crate) fn put_number(number: usize, bytes: usize, out: &mut Vec<u8>) {
    out.extend(number.to_le_bytes().into_iter().take(bytes));
}

/// The number in some bytes.
#[inline]
pub(crate) fn number_of(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .rev()
        .fold(0, |number, &byte| number << 8 | usize::from(byte))
}

/// The bits that are used of the bits asked for, when there are so many rows to learn codewords from: more than a byte only
/// with a row for each codeword, as Milvus has it. Up to a byte codewords may repeat.
pub(crate) fn used_bits(asked: u32, rows: usize) -> u32 {
    let enough = 1usize.checked_shl(asked).is_some_and(|words| rows >= words);
    if enough { asked } else { asked.min(BYTE_BITS) }
}

/// A query, and what its products with wide codes are made from.
#[derive(Debug, Clone)]
pub(crate) struct WideQuery {
    bytes: usize,
    values: Values,
}

#[derive(Debug, Clone)]
enum Values {
    /// Groups x codewords.
    Products { tables: Vec<f32>, words: usize },
    /// The query itself.
    Query(Vec<f32>),
}

impl WideQuery {
    /// Prepares `query`, which has the quantizer's dimension; `None` where numbers fit into a byte.
    pub(crate) fn new(quantizer: &ProductQuantizer, query: &[f32]) -> Option<Self> {
        let bits = quantizer.bits();
        if bits <= BYTE_BITS {
            return None;
        }
        let values = if bits <= TABLE_BITS {
            let words = 1usize << bits;
            let mut tables = vec![0.0; quantizer.parts() * words];
            quantizer.tables(query, words, &mut tables);
            Values::Products { tables, words }
        } else {
            Values::Query(query.to_vec())
        };
        Some(Self {
            bytes: number_bytes(bits),
            values,
        })
    }

    /// The product of the query with the row of a code of `quantizer`.
    #[inline]
    pub(crate) fn product(&self, quantizer: &ProductQuantizer, code: &[u8]) -> f32 {
        let numbers = code.chunks_exact(self.bytes).map(number_of);
        match &self.values {
            Values::Products { tables, words } => {
                let entries = tables.chunks_exact(*words).zip(numbers);
                entries.filter_map(|(table, number)| table.get(number)).sum()
            }
            Values::Query(query) => quantizer.product(query, numbers),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blob::Array;
    use crate::rng::Rng;

    #[test]
    fn numbers_read_back() {
        for (bits, bytes) in [(1, 1), (8, 1), (9, 2), (16, 2), (17, 3), (24, 3)] {
            assert_eq!(number_bytes(bits), bytes);
            for number in [0, 1, (1usize << bits) - 1, (1 << bits) / 3] {
                let mut out = vec![9];
                put_number(number, bytes, &mut out);
                assert_eq!(out.len(), 1 + bytes);
                assert_eq!(number_of(&out[1..]), number);
            }
        }
    }

    #[test]
    fn more_than_a_byte_needs_a_row_for_each_codeword() {
        for (asked, rows, used) in [
            (9, 512, 9),
            (9, 511, 8),
            (24, 1 << 24, 24),
            (24, (1 << 24) - 1, 8),
            (12, 0, 8),
            (8, 3, 8),
            (4, 3, 4),
        ] {
            assert_eq!(used_bits(asked, rows), used, "{asked} bits, {rows} rows");
        }
    }

    /// Codebooks drawn at random.
    fn drawn(dim: usize, parts: usize, bits: u32, rng: &mut Rng) -> ProductQuantizer {
        let books = (0..dim << bits).map(|_| rng.normal()).collect();
        ProductQuantizer::stored(dim, parts, bits, Array::Owned(books))
    }

    #[test]
    fn products_are_those_of_the_rows_that_codes_stand_for() {
        let (dim, parts) = (6, 2);
        let mut rng = Rng::new(11);
        let query: Vec<f32> = (0..dim).map(|_| rng.normal()).collect();
        // With tables, and from codewords; in two bytes and in three.
        for bits in [9, TABLE_BITS, TABLE_BITS + 1, 17] {
            let quantizer = drawn(dim, parts, bits, &mut rng);
            let wide = WideQuery::new(&quantizer, &query).unwrap();
            let (mut code, mut decoded) = (Vec::new(), Vec::new());
            for _ in 0..20 {
                code.clear();
                for _ in 0..parts {
                    put_number(rng.below(1 << bits), number_bytes(bits), &mut code);
                }
                quantizer.decode(&code, &mut decoded);
                assert_eq!(decoded.len(), dim);
                let expected: f64 = query
                    .iter()
                    .zip(&decoded)
                    .map(|(&q, &x)| f64::from(q) * f64::from(x))
                    .sum();
                let product = f64::from(wide.product(&quantizer, &code));
                assert!(
                    (product - expected).abs() < 1e-4,
                    "{bits} bits: {product} {expected}"
                );
            }
        }
        assert!(WideQuery::new(&drawn(dim, parts, 8, &mut rng), &query).is_none());
    }

    #[test]
    fn codes_are_those_of_the_rows_they_were_made_of() {
        let (dim, parts) = (4, 2);
        let mut rng = Rng::new(5);
        for bits in [9, 13, 17] {
            let quantizer = drawn(dim, parts, bits, &mut rng);
            let (mut code, mut row, mut again) = (Vec::new(), Vec::new(), Vec::new());
            for number in [0, 300, (1 << bits) - 1] {
                code.clear();
                (0..parts)
                    .for_each(|part| put_number(number - part.min(number), number_bytes(bits), &mut code));
                quantizer.decode(&code, &mut row);
                quantizer.encode(&row, &mut again);
                assert_eq!(again, code, "{bits} bits, number {number}");
            }
        }
    }

    #[test]
    fn every_row_has_a_codeword_where_there_are_as_many() {
        let (dim, rows) = (2, 400);
        let mut rng = Rng::new(3);
        let sample: Vec<f32> = (0..rows * dim).map(|_| rng.normal()).collect();
        let quantizer = ProductQuantizer::train(dim, 1, 9, &sample, 1, &()).unwrap();
        let (mut code, mut decoded) = (Vec::new(), Vec::new());
        for row in sample.chunks_exact(dim) {
            quantizer.encode(row, &mut code);
            quantizer.decode(&code, &mut decoded);
            let off = row.iter().zip(&decoded).map(|(a, b)| (a - b).abs());
            assert!(off.fold(0.0, f32::max) < 1e-5);
        }
    }
}
