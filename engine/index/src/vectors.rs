//! A view of row-major vectors: the stored rows of a segment, or a batch of queries.

use crate::error::ShapeError;

/// `len` rows of `dim` floats each, one after the other.
#[derive(Debug, Clone, Copy)]
pub struct Vectors<'a> {
    data: &'a [f32],
    dim: usize,
    len: usize,
}

impl<'a> Vectors<'a> {
    /// Views `data` as rows of `dim` floats.
    ///
    /// # Errors
    /// When `dim` is zero or does not divide the length of `data`.
    pub fn new(data: &'a [f32], dim: usize) -> Result<Self, ShapeError> {
        if dim == 0 || !data.len().is_multiple_of(dim) {
            return Err(ShapeError { len: data.len(), dim });
        }
        Ok(Self {
            data,
            dim,
            len: data.len() / dim,
        })
    }

    /// Number of rows.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no row.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Floats per row, at least 1.
    #[inline]
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Row `index`; empty when there is no such row.
    #[inline]
    pub fn row(&self, index: usize) -> &'a [f32] {
        self.rows(index, 1)
    }

    /// `count` rows from row `first` on, contiguous; empty when the range leaves the data.
    #[inline]
    pub fn rows(&self, first: usize, count: usize) -> &'a [f32] {
        let (Some(start), Some(len)) = (first.checked_mul(self.dim), count.checked_mul(self.dim)) else {
            return &[];
        };
        self.data
            .get(start..)
            .and_then(|tail| tail.get(..len))
            .unwrap_or(&[])
    }

    /// The rows from `start` to before `end`, which are there.
    pub(crate) fn slice(&self, start: usize, end: usize) -> Self {
        let data = self.rows(start, end.saturating_sub(start));
        Self {
            data,
            dim: self.dim,
            len: data.len() / self.dim,
        }
    }

    /// All floats, row-major.
    #[inline]
    pub fn data(&self) -> &'a [f32] {
        self.data
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_views_and_ranges_outside_are_empty() {
        let data = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let vectors = Vectors::new(&data, 2).unwrap();
        assert_eq!((vectors.len(), vectors.dim()), (3, 2));
        assert_eq!(vectors.row(1), [3.0, 4.0]);
        assert_eq!(vectors.rows(1, 2), [3.0, 4.0, 5.0, 6.0]);
        assert!(vectors.row(3).is_empty());
        assert!(vectors.rows(2, 2).is_empty());
        assert!(vectors.row(usize::MAX).is_empty());
    }

    #[test]
    fn a_ragged_or_zero_dimension_is_refused() {
        assert_eq!(
            Vectors::new(&[0.0; 5], 2).unwrap_err(),
            ShapeError { len: 5, dim: 2 }
        );
        assert!(Vectors::new(&[0.0; 5], 0).is_err());
        assert!(Vectors::new(&[], 3).unwrap().is_empty());
    }
}
