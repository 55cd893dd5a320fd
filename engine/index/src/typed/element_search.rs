//! Element-level search: the vectors of lists one by one, each hit a row and a place in its list.
//!
//! ```text
//!   lists     row 0: v0 v1   row 1: v2   row 2: v3 v4 v5       allowed rows and elements -> allowed elements
//!   elements  v0 v1 v2 v3 v4 v5  ── an index of ordinary vectors, or exact ──> v4, v1 ──> (row 2, place 1), (row 0, place 1)
//! ```
//!
//! The index is that of the elements' type, built over all elements as if they were rows ([`AnyIndex::build`] with lists and a
//! metric of vectors). So every family that a type has can be searched for elements, on disk and on a device too.

use super::{VectorLists, VectorRef, exact_search_any};
use crate::any_index::AnyIndex;
use crate::any_metric::AnyMetric;
use crate::bitset::Bitset;
use crate::error::PairError;
use crate::index::SearchStats;
use crate::params::SearchParams;

/// A vector found in a list; ordered by distance, then row, then place.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ElementNeighbor {
    /// Smaller is better.
    pub distance: f32,
    /// Row number in the segment.
    pub row: u32,
    /// Place in the list of the row, from 0.
    pub element: u32,
}

/// The `k` elements of `lists` nearest to `query` within the window of `params`, best first, out of the elements in `allow`
/// (bits of [`VectorLists::elements`]; all that are in a list when `None`, see [`VectorLists::elements_of`]).
///
/// `index` is over the elements of the same lists; without one, or where it has another metric, every element is compared.
///
/// # Errors
/// [`PairError`] when the query is of another type or dimension than the elements, or their type has no such metric.
#[expect(
    clippy::too_many_arguments,
    reason = "a search of rows, with what is searched and the index both from outside"
)]
pub fn search_elements(
    index: Option<&AnyIndex>,
    metric: AnyMetric,
    lists: VectorLists<'_>,
    query: VectorRef<'_>,
    k: usize,
    params: &SearchParams,
    allow: Option<&Bitset>,
    stats: &mut SearchStats,
) -> Result<Vec<ElementNeighbor>, PairError> {
    let vectors = lists.elements().vectors();
    let outside = match allow {
        Some(_) => None,
        None => lists.elements_of(None),
    };
    let allow = allow.or(outside.as_ref());
    let fits = |index: &&AnyIndex| index.metric() == metric && index.rows() == vectors.len();
    let found = match index.filter(fits) {
        Some(index) => index.search(vectors, query, k, params, allow, stats)?,
        None => exact_search_any(metric, vectors, query, k, params.within, allow, stats)?,
    };
    let located = found.into_iter().filter_map(|near| {
        let (row, element) = lists.locate(near.row as usize)?;
        Some(ElementNeighbor {
            distance: near.distance,
            row,
            element,
        })
    });
    Ok(located.collect())
}
