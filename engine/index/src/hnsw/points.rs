//! What a graph asks of the vectors that it links. It knows nothing else of them: neither their type nor their metric.
//!
//! Everything that walks or builds is compiled once for each implementation, so that 32-bit floats pay nothing for the
//! others.

use super::companions::FloatCompanions;
use crate::codes::rows::RowSource;
use crate::scorer::{Scorer, Space};

/// Distances of one vector to stored rows.
pub(crate) trait Distances {
    /// To one row; infinite when there is no such row.
    fn one(&self, row: u32) -> f32;

    /// To `rows` by number, as many as `out` has room for; equal to [`Distances::one`] bit for bit.
    fn gather(&self, rows: &[u32], out: &mut [f32]);

    /// Asks the memory system for what is read of a row, where a walk should do so a hop ahead: rows short enough that those
    /// of two hops fit into the nearest cache.
    #[inline]
    fn ask_for(&self, _row: u32) {}
}

/// Stored rows under a metric.
pub(crate) trait Points: Sync {
    /// Distances of one of the rows.
    type Row<'s>: Distances
    where
        Self: 's;
    /// Some of the rows.
    type Companions<'s>: Companions
    where
        Self: 's;

    /// Number of rows.
    fn len(&self) -> usize;

    /// The distances of row `row`.
    fn row(&self, row: u32) -> Self::Row<'_>;

    /// `rows` by number, for their distances to each other.
    fn companions(&self, rows: &[u32]) -> Self::Companions<'_>;

    /// The same number for equal rows, and for others hardly ever: by [`fingerprint`].
    fn fingerprint(&self, row: u32) -> u64;
}

/// A number for these words, the same on all machines. Those of different words differ as a rule, unless somebody looks for others.
pub(crate) fn fingerprint(words: impl Iterator<Item = u32>) -> u64 {
    words.fold(0, |sum: u64, word| {
        (sum.rotate_left(5) ^ u64::from(word)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    })
}

/// Rows that enter the graph together, and how far they are from each other.
pub(crate) trait Companions: Sync {
    /// Distances of at most [`crate::kernels::TILE`] of them from `first` on to all of them, one after the other. They may
    /// be off in the last bits.
    fn distances(&self, first: usize) -> Vec<f32>;
}

impl Distances for Scorer<'_> {
    #[inline]
    fn one(&self, row: u32) -> f32 {
        Scorer::one(self, row)
    }

    #[inline]
    fn gather(&self, rows: &[u32], out: &mut [f32]) {
        Scorer::gather(self, rows, out);
    }
}

impl RowSource for Space<'_> {
    fn dim(&self) -> usize {
        self.vectors.dim()
    }

    fn len(&self) -> usize {
        self.vectors.len()
    }

    fn read(&self, row: u32, out: &mut Vec<f32>) {
        out.clear();
        out.extend_from_slice(self.vectors.row(row as usize));
    }
}

impl Points for Space<'_> {
    type Row<'s>
        = Scorer<'s>
    where
        Self: 's;
    type Companions<'s>
        = FloatCompanions<'s>
    where
        Self: 's;

    fn len(&self) -> usize {
        self.vectors.len()
    }

    #[inline]
    fn row(&self, row: u32) -> Scorer<'_> {
        self.row_scorer(row)
    }

    fn companions(&self, rows: &[u32]) -> FloatCompanions<'_> {
        FloatCompanions::new(self, rows)
    }

    fn fingerprint(&self, row: u32) -> u64 {
        let values = self.vectors.row(row as usize).iter();
        // Both zeros are one.
        fingerprint(values.map(|value| (value + 0.0).to_bits()))
    }
}
