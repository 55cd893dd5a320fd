//! Views of sparse vectors: ascending indexes and their values.

use crate::error::ShapeError;

/// One sparse vector: strictly ascending indexes, as many values.
#[derive(Debug, Clone, Copy)]
pub struct SparseVector<'a> {
    indices: &'a [u32],
    values: &'a [f32],
}

impl<'a> SparseVector<'a> {
    /// Views two lists of one length; none when their lengths differ. That the indexes ascend is the caller's to see to:
    /// otherwise the distances are wrong.
    pub fn new(indices: &'a [u32], values: &'a [f32]) -> Option<Self> {
        (indices.len() == values.len()).then_some(Self { indices, values })
    }

    /// The vector without elements.
    pub fn empty() -> Self {
        Self {
            indices: &[],
            values: &[],
        }
    }

    /// The indexes, ascending.
    pub fn indices(&self) -> &'a [u32] {
        self.indices
    }

    /// The values in the order of the indexes.
    pub fn values(&self) -> &'a [f32] {
        self.values
    }

    /// Element `place` in the order of the indexes.
    #[inline]
    pub fn get(&self, place: usize) -> Option<(u32, f32)> {
        Some((*self.indices.get(place)?, *self.values.get(place)?))
    }
}

/// Rows of sparse vectors: row `i` is elements `offsets[i]..offsets[i + 1]`.
#[derive(Debug, Clone, Copy)]
pub struct SparseVectors<'a> {
    offsets: &'a [i32],
    indices: &'a [u32],
    values: &'a [f32],
}

impl<'a> SparseVectors<'a> {
    /// Views lists as they lie in an Arrow array: one offset more than rows. A row whose offsets are out of order or
    /// leave the lists is empty.
    ///
    /// # Errors
    /// When the lists are of different lengths, there is no offset, or the last one leaves the lists.
    pub fn new(offsets: &'a [i32], indices: &'a [u32], values: &'a [f32]) -> Result<Self, ShapeError> {
        let end = offsets.last().and_then(|end| usize::try_from(*end).ok());
        let fits = indices.len() == values.len() && end.is_some_and(|end| end <= indices.len());
        if !fits {
            return Err(ShapeError {
                len: indices.len(),
                dim: 0,
            });
        }
        Ok(Self {
            offsets,
            indices,
            values,
        })
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Elements of a row on average.
    pub fn mean_len(&self) -> usize {
        self.indices.len() / self.len().max(1)
    }

    /// Row `index`; empty when there is no such row.
    #[inline]
    pub fn row(&self, index: usize) -> SparseVector<'a> {
        let bound = |index: usize| usize::try_from(*self.offsets.get(index)?).ok();
        let range = bound(index).zip(index.checked_add(1).and_then(bound));
        let lists = range
            .and_then(|(start, end)| Some((self.indices.get(start..end)?, self.values.get(start..end)?)));
        let (indices, values) = lists.unwrap_or_default();
        SparseVector { indices, values }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_cut_at_the_offsets() {
        let rows = SparseVectors::new(&[1, 1, 3], &[9, 4, 7], &[9.0, 0.5, 1.0]).unwrap();
        assert_eq!(rows.len(), 2);
        assert_eq!(rows.row(0).indices(), [0u32; 0]);
        assert_eq!(rows.row(1).get(1), Some((7, 1.0)));
        assert!(rows.row(2).indices().is_empty() && rows.row(usize::MAX).values().is_empty());
    }

    #[test]
    fn offsets_that_leave_the_lists_are_refused() {
        assert!(SparseVectors::new(&[0, 4], &[1, 2], &[1.0, 2.0]).is_err());
        let odd = SparseVectors::new(&[-1, 9, 1], &[1, 2], &[1.0, 2.0]).unwrap();
        assert!(odd.row(0).indices().is_empty() && odd.row(1).indices().is_empty());
        assert!(SparseVectors::new(&[], &[], &[]).is_err());
        assert!(SparseVector::new(&[1], &[]).is_none());
    }
}
