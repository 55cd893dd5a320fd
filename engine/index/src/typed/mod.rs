//! Vectors of any type: 32-bit floats, halves, bfloat16s, 8-bit integers, bits, and sparse ones.
//!
//! A [`VectorsRef`] views the stored rows of a segment, a [`VectorRef`] one of them or a query. Rows and query are of one
//! type: the caller rounds a query to the type of the column first, so that every path sees the same numbers.
//!
//! | type | one element | metrics | indexes |
//! |---|---|---|---|
//! | floats | `f32` | L2, IP, COSINE | all but the inverted one |
//! | halves, bfloat16s | `u16` bits | L2, IP, COSINE | FLAT, HNSW, the IVF families, DISKANN, all of a GPU |
//! | integers | `i8` | L2, IP, COSINE | FLAT, HNSW, all of a GPU |
//! | bits | eight in a `u8` | HAMMING, JACCARD | FLAT, HNSW, IVF_FLAT, GPU_BRUTE_FORCE, GPU_CAGRA |
//! | signatures | the same | MHJACCARD | MINHASH_LSH |
//! | sparse | ascending `u32` index and `f32` value | L2, IP, COSINE; BM25 with a query of term weights | the inverted one |
//! | lists | dense vectors of one of the types above | MAX_SIM of the elements' metrics; these themselves for [`search_elements`] | those of the elements |

mod batch;
mod bm25;
mod cagra;
mod element;
mod element_search;
mod exact;
mod index;
mod list_index;
mod lists;
mod points;
mod scorer;
mod sparse;

use crate::bitset::Bitset;
use crate::error::ShapeError;
use crate::vectors::Vectors;

pub use batch::exact_search_any_batch;
pub use bm25::{Bm25, Bm25Query, DEFAULT_B, DEFAULT_K1, idf};
pub use element::ElementType;
pub use element_search::{ElementNeighbor, search_elements};
pub use exact::exact_search_any;
pub use index::TypedIndex;
pub(crate) use index::element_of;
pub use list_index::ListIndex;
pub use lists::{Elements, VectorLists};
pub(crate) use points::{BitPoints, Int8, Narrow, NumberPoints, inverse_norms};
pub use scorer::Scorer;
pub use sparse::{SparseVector, SparseVectors};

/// `len` rows of `width` elements each, one after the other.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a, T> {
    data: &'a [T],
    width: usize,
}

impl<'a, T> Rows<'a, T> {
    /// Views `data` as rows of `width` elements.
    ///
    /// # Errors
    /// When `width` is zero or does not divide the length of `data`.
    pub fn new(data: &'a [T], width: usize) -> Result<Self, ShapeError> {
        if width == 0 || !data.len().is_multiple_of(width) {
            return Err(ShapeError {
                len: data.len(),
                dim: width,
            });
        }
        Ok(Self { data, width })
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.data.len() / self.width
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// Elements of a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// All elements, row-major.
    pub fn data(&self) -> &'a [T] {
        self.data
    }

    /// The rows from `start` to before `end`, which are there.
    pub(crate) fn slice(&self, start: usize, end: usize) -> Self {
        let range = start.saturating_mul(self.width)..end.saturating_mul(self.width);
        let data = self.data.get(range).unwrap_or(&[]);
        Self {
            data,
            width: self.width,
        }
    }

    /// Row `index`; empty when there is no such row.
    #[inline]
    pub fn row(&self, index: usize) -> &'a [T] {
        let range = index
            .checked_mul(self.width)
            .and_then(|start| Some(start..start.checked_add(self.width)?));
        range.and_then(|range| self.data.get(range)).unwrap_or(&[])
    }
}

/// One vector of any type.
#[derive(Debug, Clone, Copy)]
pub enum VectorRef<'a> {
    /// 32-bit floats.
    Floats(&'a [f32]),
    /// IEEE 754 binary16, as bits.
    Halves(&'a [u16]),
    /// Upper halves of 32-bit floats, as bits.
    BFloat16s(&'a [u16]),
    /// Signed 8-bit integers.
    Int8s(&'a [i8]),
    /// Bits, eight in a byte.
    Bits(&'a [u8]),
    /// The elements that are not zero.
    Sparse(SparseVector<'a>),
    /// A query of BM25, for rows that are sparse.
    Terms(Bm25Query<'a>),
    /// Any number of dense vectors.
    List(Elements<'a>),
}

impl VectorRef<'_> {
    /// The type in words.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Floats(_) => "float",
            Self::Halves(_) => "half",
            Self::BFloat16s(_) => "bfloat16",
            Self::Int8s(_) => "int8",
            Self::Bits(_) => "bit",
            Self::Sparse(_) | Self::Terms(_) => "sparse",
            Self::List(elements) => elements.kind(),
        }
    }

    /// The dimension, of each element of a list; 0 for a sparse vector, which has none.
    pub fn dim(&self) -> usize {
        match self {
            Self::Floats(values) => values.len(),
            Self::Halves(values) | Self::BFloat16s(values) => values.len(),
            Self::Int8s(values) => values.len(),
            Self::Bits(bytes) => bytes.len() * 8,
            Self::Sparse(_) | Self::Terms(_) => 0,
            Self::List(elements) => elements.dim(),
        }
    }

    /// Whether every element is a finite number.
    pub fn is_finite(&self) -> bool {
        match self {
            Self::Floats(values) => values.iter().all(|value| value.is_finite()),
            // An exponent of ones is infinite or no number.
            Self::Halves(bits) => bits.iter().all(|bits| bits & 0x7c00 != 0x7c00),
            Self::BFloat16s(bits) => bits.iter().all(|bits| bits & 0x7f80 != 0x7f80),
            Self::Int8s(_) | Self::Bits(_) => true,
            Self::Sparse(vector) => vector.values().iter().all(|value| value.is_finite()),
            Self::Terms(query) => query.weights.values().iter().all(|weight| weight.is_finite()),
            Self::List(elements) => (0..elements.len()).all(|index| elements.element(index).is_finite()),
        }
    }

    /// Whether every element is zero.
    pub fn is_zero(&self) -> bool {
        match self {
            Self::Floats(values) => values.iter().all(|value| *value == 0.0),
            // All but the sign.
            Self::Halves(bits) | Self::BFloat16s(bits) => bits.iter().all(|bits| bits & 0x7fff == 0),
            Self::Int8s(values) => values.iter().all(|value| *value == 0),
            Self::Bits(bytes) => bytes.iter().all(|byte| *byte == 0),
            Self::Sparse(vector) => vector.values().iter().all(|value| *value == 0.0),
            Self::Terms(query) => query.weights.values().iter().all(|weight| *weight == 0.0),
            Self::List(elements) => (0..elements.len()).all(|index| elements.element(index).is_zero()),
        }
    }
}

impl<'a> From<&'a [f32]> for VectorRef<'a> {
    fn from(values: &'a [f32]) -> Self {
        Self::Floats(values)
    }
}

impl<'a> From<Vectors<'a>> for VectorsRef<'a> {
    fn from(vectors: Vectors<'a>) -> Self {
        Self::Floats(vectors)
    }
}

/// Rows of vectors of one type.
#[derive(Debug, Clone, Copy)]
pub enum VectorsRef<'a> {
    /// 32-bit floats.
    Floats(Vectors<'a>),
    /// IEEE 754 binary16, as bits.
    Halves(Rows<'a, u16>),
    /// Upper halves of 32-bit floats, as bits.
    BFloat16s(Rows<'a, u16>),
    /// Signed 8-bit integers.
    Int8s(Rows<'a, i8>),
    /// Bits, eight in a byte.
    Bits(Rows<'a, u8>),
    /// Rows of the elements that are not zero.
    Sparse(SparseVectors<'a>),
    /// Rows of any number of dense vectors.
    Lists(VectorLists<'a>),
}

impl<'a> VectorsRef<'a> {
    /// Number of rows.
    pub fn len(&self) -> usize {
        match self {
            Self::Floats(rows) => rows.len(),
            Self::Halves(rows) | Self::BFloat16s(rows) => rows.len(),
            Self::Int8s(rows) => rows.len(),
            Self::Bits(rows) => rows.len(),
            Self::Sparse(rows) => rows.len(),
            Self::Lists(rows) => rows.len(),
        }
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Row `index`; an empty vector when there is no such row.
    #[inline]
    pub fn row(&self, index: usize) -> VectorRef<'a> {
        match self {
            Self::Floats(rows) => VectorRef::Floats(rows.row(index)),
            Self::Halves(rows) => VectorRef::Halves(rows.row(index)),
            Self::BFloat16s(rows) => VectorRef::BFloat16s(rows.row(index)),
            Self::Int8s(rows) => VectorRef::Int8s(rows.row(index)),
            Self::Bits(rows) => VectorRef::Bits(rows.row(index)),
            Self::Sparse(rows) => VectorRef::Sparse(rows.row(index)),
            Self::Lists(rows) => VectorRef::List(rows.row(index)),
        }
    }

    /// The first row, of those in `valid`, with an element that is no finite number.
    pub(crate) fn first_not_finite(&self, valid: Option<&Bitset>) -> Option<usize> {
        let is_valid = |row: &usize| valid.is_none_or(|valid| valid.get(*row));
        (0..self.len())
            .filter(is_valid)
            .find(|&row| !self.row(row).is_finite())
    }

    /// About how many numbers a row has.
    pub fn row_cost(&self) -> usize {
        match self {
            Self::Floats(rows) => rows.dim(),
            Self::Halves(rows) | Self::BFloat16s(rows) => rows.width(),
            Self::Int8s(rows) => rows.width(),
            // A word of bits costs about what a float does.
            Self::Bits(rows) => rows.width().div_ceil(8),
            Self::Sparse(rows) => rows.mean_len() + 1,
            Self::Lists(rows) => rows.mean_len() * rows.elements().vectors().row_cost() + 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_outside_are_empty_and_ragged_data_is_refused() {
        let rows = Rows::new(&[1i8, 2, 3, 4], 2).unwrap();
        assert_eq!((rows.len(), rows.row(1)), (2, [3i8, 4].as_slice()));
        assert!(rows.row(2).is_empty() && rows.row(usize::MAX).is_empty());
        assert!(Rows::new(&[1u8, 2, 3], 2).is_err() && Rows::new(&[1u8], 0).is_err());
    }

    #[test]
    fn what_is_no_finite_number_is_found() {
        assert!(VectorRef::Halves(&[0x7bff, 0xfbff]).is_finite());
        assert!(!VectorRef::Halves(&[0, 0x7c00]).is_finite() && !VectorRef::Halves(&[0xfe00]).is_finite());
        assert!(VectorRef::BFloat16s(&[0x7f7f]).is_finite() && !VectorRef::BFloat16s(&[0xff80]).is_finite());
        let rows = VectorsRef::Floats(Vectors::new(&[f32::NAN, 1.0, f32::INFINITY], 1).unwrap());
        assert_eq!(rows.first_not_finite(None), Some(0));
        let valid = Bitset::from_fn(3, |row| row > 0);
        assert_eq!(rows.first_not_finite(Some(&valid)), Some(2));
    }

    #[test]
    fn negative_zeros_are_zeros() {
        assert!(VectorRef::Halves(&[0x8000, 0]).is_zero());
        assert!(VectorRef::Floats(&[-0.0]).is_zero());
        assert!(!VectorRef::BFloat16s(&[1]).is_zero());
    }
}
