//! What a row is walked by on its way into a graph: exact distances, or estimates by codes.
//!
//! Estimates find the neighbourhood, in a quarter of the bytes; which of it a row links to is decided by exact distances. Codes
//! that tell near rows apart as well as a search needs lead to the same neighbourhood.

use super::points::{Distances, Points};
use crate::codes::rows::{CodeScorer, RowCodes, RowSource};

/// Distances of a row that enters.
pub(crate) trait Walkers: Sync {
    /// Those of one row.
    type Walker<'s>: Distances
    where
        Self: 's;

    /// Whether they are the distances that decide on links.
    const EXACT: bool;

    /// Those of row `row`.
    fn walker(&self, row: u32) -> Self::Walker<'_>;
}

/// Exact distances.
pub(crate) struct ByDistance<'a, P>(pub(crate) &'a P);

impl<P: Points> Walkers for ByDistance<'_, P> {
    type Walker<'s>
        = P::Row<'s>
    where
        Self: 's;
    const EXACT: bool = true;

    fn walker(&self, row: u32) -> P::Row<'_> {
        self.0.row(row)
    }
}

/// Estimates.
pub(crate) struct ByCode<'a, S> {
    pub(crate) rows: &'a S,
    pub(crate) codes: &'a RowCodes,
}

impl<S: RowSource> Walkers for ByCode<'_, S> {
    type Walker<'s>
        = CodeScorer<'s>
    where
        Self: 's;
    const EXACT: bool = false;

    fn walker(&self, row: u32) -> CodeScorer<'_> {
        let mut query = Vec::new();
        self.rows.read(row, &mut query);
        self.codes.scorer(query)
    }
}
