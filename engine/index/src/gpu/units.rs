//! How vectors of each type lie on a device: in units of 32 bits, which is what a product takes at a time.
//!
//! | type | a row, in words | a query, in units |
//! |---|---|---|
//! | floats | a number | a number |
//! | halves, bfloat16s | two numbers, the first in the lower half | a number, widened |
//! | integers | four numbers, the first in the lowest byte | the same |
//! | bits | 32 of them, as they are stored | the same |
//!
//! Rows and queries have as many units, a multiple of 4, the last of them zeros.

use super::threads::for_chunks;
use crate::kernels::narrow::{bfloat16_to_f32, half_to_f32};
use crate::typed::{ElementType, VectorRef, VectorsRef};

/// Most dimensions of integers whose sums a kernel can hold.
const MOST_INT8: usize = 32_768;

impl ElementType {
    /// Units of a vector of `dim` elements, a multiple of 4.
    pub fn stride(self, dim: usize) -> usize {
        let per_unit = match self {
            Self::Float | Self::Half | Self::BFloat16 => 1,
            Self::Int8 => 4,
            Self::Bit => 32,
        };
        dim.div_ceil(per_unit).next_multiple_of(4)
    }

    /// Words of a row of `stride` units.
    pub fn row_words(self, stride: usize) -> usize {
        match self {
            Self::Float | Self::Int8 | Self::Bit => stride,
            Self::Half | Self::BFloat16 => stride / 2,
        }
    }

    /// Words of a row of `stride` units in inverted lists, where rows lie in chunks of four words.
    pub fn list_words(self, stride: usize) -> usize {
        self.row_words(stride).next_multiple_of(4)
    }

    /// Whether sums are whole numbers, and distances on a device those on a processor.
    pub(super) fn is_exact(self) -> bool {
        match self {
            Self::Float | Self::Half | Self::BFloat16 => false,
            Self::Int8 | Self::Bit => true,
        }
    }

    /// Whether kernels can hold the sums of vectors of `dim` elements.
    pub(super) fn has_room_for(self, dim: usize) -> bool {
        self != Self::Int8 || dim <= MOST_INT8
    }
}

/// Type and dimension of rows; `None` for those that no device takes.
pub(super) fn shape_of(vectors: VectorsRef<'_>) -> Option<(ElementType, usize)> {
    match vectors {
        VectorsRef::Floats(rows) => Some((ElementType::Float, rows.dim())),
        VectorsRef::Halves(rows) => Some((ElementType::Half, rows.width())),
        VectorsRef::BFloat16s(rows) => Some((ElementType::BFloat16, rows.width())),
        VectorsRef::Int8s(rows) => Some((ElementType::Int8, rows.width())),
        VectorsRef::Bits(rows) => Some((ElementType::Bit, rows.width() * 8)),
        VectorsRef::Sparse(_) | VectorsRef::Lists(_) => None,
    }
}

/// The rows from `first` to before `end`, which are there.
pub(super) fn slice(vectors: VectorsRef<'_>, first: usize, end: usize) -> VectorsRef<'_> {
    match vectors {
        VectorsRef::Floats(rows) => VectorsRef::Floats(rows.slice(first, end)),
        VectorsRef::Halves(rows) => VectorsRef::Halves(rows.slice(first, end)),
        VectorsRef::BFloat16s(rows) => VectorsRef::BFloat16s(rows.slice(first, end)),
        VectorsRef::Int8s(rows) => VectorsRef::Int8s(rows.slice(first, end)),
        VectorsRef::Bits(rows) => VectorsRef::Bits(rows.slice(first, end)),
        VectorsRef::Sparse(_) | VectorsRef::Lists(_) => vectors,
    }
}

/// The numbers of a vector of floats of any width.
pub(super) fn widened(vector: VectorRef<'_>) -> Vec<f32> {
    match vector {
        VectorRef::Floats(values) => values.to_vec(),
        VectorRef::Halves(bits) => bits.iter().map(|&bits| half_to_f32(bits)).collect(),
        VectorRef::BFloat16s(bits) => bits.iter().map(|&bits| bfloat16_to_f32(bits)).collect(),
        VectorRef::Int8s(values) => values.iter().map(|&value| f32::from(value)).collect(),
        VectorRef::Bits(_) | VectorRef::Sparse(_) | VectorRef::Terms(_) | VectorRef::List(_) => Vec::new(),
    }
}

/// A query in units, `stride` of them.
pub(super) fn query_units(query: VectorRef<'_>, stride: usize) -> Vec<u32> {
    let mut units = match query {
        VectorRef::Int8s(values) => words_of(values, |value| u32::from(value as u8), 8),
        VectorRef::Bits(bytes) => words_of(bytes, u32::from, 8),
        VectorRef::Floats(_)
        | VectorRef::Halves(_)
        | VectorRef::BFloat16s(_)
        | VectorRef::Sparse(_)
        | VectorRef::Terms(_)
        | VectorRef::List(_) => widened(query).into_iter().map(f32::to_bits).collect(),
    };
    units.resize(stride, 0);
    units
}

/// A row as it lies on a device, the words after it left as they are.
pub(super) fn pack(row: VectorRef<'_>, out: &mut [u32]) {
    match row {
        VectorRef::Floats(values) => {
            for (word, value) in out.iter_mut().zip(values) {
                *word = value.to_bits();
            }
        }
        VectorRef::Halves(bits) | VectorRef::BFloat16s(bits) => pack_small(bits, u32::from, 16, out),
        VectorRef::Int8s(values) => pack_small(values, |value| u32::from(value as u8), 8, out),
        VectorRef::Bits(bytes) => pack_small(bytes, u32::from, 8, out),
        VectorRef::Sparse(_) | VectorRef::Terms(_) | VectorRef::List(_) => {}
    }
}

/// The `count` rows from `first` on as they lie on a device, `row_words` for each.
pub(super) fn packed(vectors: VectorsRef<'_>, first: usize, count: usize, row_words: usize) -> Vec<u32> {
    let mut words = vec![0; count * row_words];
    for_chunks(&mut words, row_words, |row, out| {
        pack(vectors.row(first + row), out)
    });
    words
}

fn pack_small<T: Copy>(values: &[T], to_word: impl Fn(T) -> u32, bits: usize, out: &mut [u32]) {
    for (word, some) in out.iter_mut().zip(values.chunks(32 / bits)) {
        *word = joined(some, &to_word, bits);
    }
}

fn words_of<T: Copy>(values: &[T], to_word: impl Fn(T) -> u32, bits: usize) -> Vec<u32> {
    let chunks = values.chunks(32 / bits);
    chunks.map(|some| joined(some, &to_word, bits)).collect()
}

/// Numbers of `bits` bits in a word, the first the lowest.
fn joined<T: Copy>(values: &[T], to_word: impl Fn(T) -> u32, bits: usize) -> u32 {
    let places = values.iter().enumerate();
    places.fold(0, |word, (at, &value)| word | to_word(value) << (at * bits))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::typed::Rows;
    use crate::vectors::Vectors;

    #[test]
    fn rows_of_every_type_are_padded_to_whole_units() {
        let floats = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let floats = VectorsRef::Floats(Vectors::new(&floats, 3).unwrap());
        let bits = |values: &[f32]| -> Vec<u32> { values.iter().map(|value| value.to_bits()).collect() };
        assert_eq!(packed(floats, 1, 1, 4), bits(&[4.0, 5.0, 6.0, 0.0]));
        let halves = VectorsRef::Halves(Rows::new(&[1u16, 2, 3, 0xffff, 5, 6], 3).unwrap());
        assert_eq!(packed(halves, 0, 2, 2), [0x2_0001, 3, 0x5_ffff, 6]);
        let integers = VectorsRef::Int8s(Rows::new(&[1i8, -1, 2, -2, 3, 4], 6).unwrap());
        assert_eq!(packed(integers, 0, 1, 4), [0xfe02_ff01, 0x0403, 0, 0]);
        assert_eq!(query_units(integers.row(0), 4), [0xfe02_ff01, 0x0403, 0, 0]);
        let bytes = VectorsRef::Bits(Rows::new(&[0xffu8, 0, 1, 0x80, 7], 5).unwrap());
        assert_eq!(packed(bytes, 0, 1, 4), [0x8001_00ff, 7, 0, 0]);
        assert_eq!(
            query_units(VectorRef::Halves(&[0x3c00]), 4),
            bits(&[1.0, 0.0, 0.0, 0.0])
        );
    }

    #[test]
    fn units_and_words_of_the_types() {
        for (element, dim, stride, words) in [
            (ElementType::Float, 5, 8, 8),
            (ElementType::Half, 5, 8, 4),
            (ElementType::BFloat16, 8, 8, 4),
            (ElementType::Int8, 17, 8, 8),
            (ElementType::Int8, 16, 4, 4),
            (ElementType::Bit, 128, 4, 4),
            (ElementType::Bit, 136, 8, 8),
        ] {
            assert_eq!(element.stride(dim), stride, "{element:?} {dim}");
            assert_eq!(element.row_words(stride), words, "{element:?} {dim}");
            assert_eq!(element.list_words(stride), words.next_multiple_of(4));
        }
        assert!(!ElementType::Int8.has_room_for(32_769) && ElementType::Bit.has_room_for(1 << 18));
    }
}
