//! Embedding lists: rows that hold any number of vectors each, compared by MAX_SIM.
//!
//! ```text
//!   offsets   0 ──── 2 ─ 3 ─────────── 6        row 0: elements 0, 1; row 1: element 2; row 2: elements 3, 4, 5
//!   elements  v0  v1  v2  v3  v4  v5            vectors of one type and dimension
//! ```
//!
//! The distance of a list of query vectors `Q` to a row `D` is `sum over q in Q of min over d in D of distance(q, d)`: the late
//! interaction of ColBERT (Khattab and Zaharia, SIGIR 2020), which sums the largest similarities.

use super::{Rows, VectorRef, VectorsRef};
use crate::bitset::Bitset;
use crate::error::ShapeError;
use crate::vectors::Vectors;

/// Dense vectors of one type, the elements of lists.
#[derive(Debug, Clone, Copy)]
pub enum Elements<'a> {
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
}

impl<'a> Elements<'a> {
    /// The vectors, if they can be elements: neither sparse nor lists themselves.
    pub fn of(vectors: VectorsRef<'a>) -> Option<Self> {
        match vectors {
            VectorsRef::Floats(rows) => Some(Self::Floats(rows)),
            VectorsRef::Halves(rows) => Some(Self::Halves(rows)),
            VectorsRef::BFloat16s(rows) => Some(Self::BFloat16s(rows)),
            VectorsRef::Int8s(rows) => Some(Self::Int8s(rows)),
            VectorsRef::Bits(rows) => Some(Self::Bits(rows)),
            VectorsRef::Sparse(_) | VectorsRef::Lists(_) => None,
        }
    }

    /// The elements as rows of their own.
    pub fn vectors(self) -> VectorsRef<'a> {
        match self {
            Self::Floats(rows) => VectorsRef::Floats(rows),
            Self::Halves(rows) => VectorsRef::Halves(rows),
            Self::BFloat16s(rows) => VectorsRef::BFloat16s(rows),
            Self::Int8s(rows) => VectorsRef::Int8s(rows),
            Self::Bits(rows) => VectorsRef::Bits(rows),
        }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.vectors().len()
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Dimension of an element.
    pub fn dim(&self) -> usize {
        match self {
            Self::Floats(rows) => rows.dim(),
            Self::Halves(rows) | Self::BFloat16s(rows) => rows.width(),
            Self::Int8s(rows) => rows.width(),
            Self::Bits(rows) => rows.width() * 8,
        }
    }

    /// The type in words.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Floats(_) => "list of float",
            Self::Halves(_) => "list of half",
            Self::BFloat16s(_) => "list of bfloat16",
            Self::Int8s(_) => "list of int8",
            Self::Bits(_) => "list of bit",
        }
    }

    /// Element `index`; an empty vector when there is no such element.
    #[inline]
    pub fn element(&self, index: usize) -> VectorRef<'a> {
        self.vectors().row(index)
    }

    /// The elements from `start` to before `end`; none when there are no such elements.
    pub fn slice(&self, start: usize, end: usize) -> Self {
        let end = end.min(self.len());
        let start = start.min(end);
        match self {
            Self::Floats(rows) => Self::Floats(rows.slice(start, end)),
            Self::Halves(rows) => Self::Halves(rows.slice(start, end)),
            Self::BFloat16s(rows) => Self::BFloat16s(rows.slice(start, end)),
            Self::Int8s(rows) => Self::Int8s(rows.slice(start, end)),
            Self::Bits(rows) => Self::Bits(rows.slice(start, end)),
        }
    }
}

/// Rows that are lists of vectors.
#[derive(Debug, Clone, Copy)]
pub struct VectorLists<'a> {
    /// One more than rows, ascending.
    offsets: &'a [i32],
    elements: Elements<'a>,
}

impl<'a> VectorLists<'a> {
    /// Rows whose lists end where the next one begins: Arrow's form of a list column.
    ///
    /// # Errors
    /// When the first or the last offset lies outside of the elements.
    pub fn new(offsets: &'a [i32], elements: Elements<'a>) -> Result<Self, ShapeError> {
        let end = offsets.last().copied().unwrap_or(0);
        let inside = usize::try_from(end).is_ok_and(|end| end <= elements.len());
        let first = offsets.first().copied().unwrap_or(0);
        if !inside || !(0..=end).contains(&first) {
            return Err(ShapeError {
                len: elements.len(),
                dim: elements.dim(),
            });
        }
        Ok(Self { offsets, elements })
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements of all rows.
    pub fn elements(&self) -> Elements<'a> {
        self.elements
    }

    /// Where the elements of row `index` lie; nowhere when there is no such row.
    #[inline]
    pub fn range(&self, index: usize) -> std::ops::Range<usize> {
        let at = |place: usize| self.offsets.get(place).map_or(0, |&offset| offset as usize);
        if index >= self.len() {
            return 0..0;
        }
        at(index)..at(index + 1).min(self.elements.len())
    }

    /// The row that element `element` belongs to.
    pub(crate) fn row_of(&self, element: usize) -> usize {
        self.offsets
            .partition_point(|&offset| offset as usize <= element)
            .saturating_sub(1)
    }

    /// The row that an element belongs to, and its place in the list; `None` for one that is in no list.
    pub fn locate(&self, element: usize) -> Option<(u32, u32)> {
        let row = self.row_of(element);
        let range = self.range(row);
        range
            .contains(&element)
            .then(|| (row as u32, (element - range.start) as u32))
    }

    /// The elements of these rows, of all rows when `None`, as bits of [`VectorLists::elements`]; `None` when every element
    /// is one of them.
    pub fn elements_of(&self, rows: Option<&Bitset>) -> Option<Bitset> {
        let all = self.elements.len();
        let Some(rows) = rows else {
            let first = self.offsets.first().copied().unwrap_or(0) as usize;
            let last = self.offsets.last().copied().unwrap_or(0) as usize;
            if first == 0 && last == all {
                return None;
            }
            let mut bits = Bitset::new(all);
            bits.set_range(first, last);
            return Some(bits);
        };
        let mut bits = Bitset::new(all);
        // Lists of rows that follow each other do so as well.
        let mut run = 0..0;
        for row in rows.iter_range(0, self.len()) {
            let range = self.range(row);
            if range.start == run.end {
                run.end = range.end;
            } else {
                bits.set_range(run.start, run.end);
                run = range;
            }
        }
        bits.set_range(run.start, run.end);
        Some(bits)
    }

    /// The list of row `index`; an empty one when there is no such row.
    #[inline]
    pub fn row(&self, index: usize) -> Elements<'a> {
        let range = self.range(index);
        self.elements.slice(range.start, range.end)
    }

    /// About how many elements a row has, rounded up.
    pub fn mean_len(&self) -> usize {
        let total = self.offsets.last().copied().unwrap_or(0) - self.offsets.first().copied().unwrap_or(0);
        usize::try_from(total).unwrap_or(0).div_ceil(self.len().max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_slices_of_the_elements() {
        let data: Vec<f32> = (0..12).map(|number| number as f32).collect();
        let elements = Elements::Floats(Vectors::new(&data, 2).unwrap());
        let lists = VectorLists::new(&[0, 2, 2, 6], elements).unwrap();
        assert_eq!((lists.len(), lists.mean_len(), elements.dim()), (3, 2, 2));
        assert_eq!(lists.range(2), 2..6);
        assert!(lists.row(1).is_empty() && lists.row(9).is_empty());
        let Elements::Floats(row) = lists.row(0) else {
            panic!("floats")
        };
        assert_eq!(row.data(), [0.0, 1.0, 2.0, 3.0]);
        assert_eq!([0, 1, 2, 5].map(|element| lists.row_of(element)), [0, 0, 2, 2]);
    }

    #[test]
    fn elements_are_found_by_their_rows_and_rows_by_their_elements() {
        let data = [0.0; 16];
        let elements = Elements::Floats(Vectors::new(&data, 2).unwrap());
        let lists = VectorLists::new(&[1, 3, 3, 6, 7], elements).unwrap();
        let located: Vec<Option<(u32, u32)>> = (0..8).map(|element| lists.locate(element)).collect();
        assert_eq!(
            located,
            [
                None,
                Some((0, 0)),
                Some((0, 1)),
                Some((2, 0)),
                Some((2, 1)),
                Some((2, 2)),
                Some((3, 0)),
                None
            ]
        );
        let of = |rows: Option<&[usize]>| {
            let bits = rows.map(|rows| Bitset::from_fn(4, |row| rows.contains(&row)));
            let elements = lists.elements_of(bits.as_ref()).unwrap();
            elements.iter().collect::<Vec<_>>()
        };
        assert_eq!(of(None), [1, 2, 3, 4, 5, 6]);
        assert_eq!(of(Some(&[0, 1, 2])), [1, 2, 3, 4, 5]);
        assert_eq!(of(Some(&[0, 3])), [1, 2, 6]);
        assert_eq!(of(Some(&[1])), []);
        assert_eq!(of(Some(&[])), []);
        let whole = VectorLists::new(&[0, 3, 8], elements).unwrap();
        assert_eq!(whole.elements_of(None), None);
    }

    #[test]
    fn offsets_outside_are_refused_and_those_that_descend_hold_nothing() {
        let data = [0.0; 6];
        let elements = Elements::Floats(Vectors::new(&data, 2).unwrap());
        for offsets in [&[0, 4][..], &[2, 1], &[-1, 2]] {
            assert!(VectorLists::new(offsets, elements).is_err(), "{offsets:?}");
        }
        let lists = VectorLists::new(&[0, 9, 1, 2], elements).unwrap();
        assert_eq!([0, 1, 2].map(|row| lists.row(row).len()), [3, 0, 1]);
        assert!(VectorLists::new(&[], elements).unwrap().is_empty());
    }
}
