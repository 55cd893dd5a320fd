//! A graph on the processor, and searches of it, as a device sees them: whatever its rows are made of.

use crate::bitset::Bitset;
use crate::gpu::sides::Sides;
use crate::hnsw::Hnsw;
use crate::params::SearchParams;

/// The base layer of a graph.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HostGraph<'a> {
    /// Rows that are in it, all when `None`, and how many.
    pub(crate) valid: Option<&'a Bitset>,
    pub(crate) count: usize,
    /// Links of all rows, `degree` each.
    pub(crate) base: &'a [u32],
    pub(crate) degree: usize,
    /// One for each row of numbers under COSINE, else none.
    pub(crate) inverse_norms: &'a [f32],
}

impl<'a> HostGraph<'a> {
    /// That of an index of 32-bit floats.
    pub(super) fn of(host: &'a Hnsw) -> Self {
        let (base, degree) = host.base();
        Self {
            valid: host.indexed().valid(),
            count: host.indexed().count(),
            base,
            degree,
            inverse_norms: host.indexed().inverse_norms(),
        }
    }

    /// The rows that are in it, out of `rows`, ascending.
    pub(super) fn numbers(&self, rows: usize) -> Vec<u32> {
        match self.valid {
            None => (0..rows as u32).collect(),
            Some(valid) => valid.iter().map(|row| row as u32).collect(),
        }
    }
}

/// Fills in the exact distances of a query, by number, to some rows.
pub(super) type Exact<'a> = dyn Fn(usize, &[u32], &mut [f32]) + Sync + 'a;

/// A batch of searches of a graph, without a window of distances.
pub(super) struct GraphAsk<'a> {
    /// Rows and queries.
    pub(super) sides: Sides<'a>,
    pub(super) k: usize,
    pub(super) params: &'a SearchParams,
    /// The rows that may be found, and how many; `None` without a filter.
    pub(super) filter: Option<&'a Bitset>,
    pub(super) allowed: Option<usize>,
    /// What the best rows are compared by.
    pub(super) exact: &'a Exact<'a>,
}
