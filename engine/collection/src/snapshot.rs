//! A pinned state of a collection: every reader works on one and never sees it change.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use crate::clock::Timestamp;
use crate::unit::Unit;

/// An immutable state of a collection. Holding it is free; it keeps the files it needs alive.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Schema without hidden columns.
    pub schema: SchemaRef,
    /// Every block of rows, sealed segments first.
    pub units: Vec<Arc<Unit>>,
    /// Timestamp of the newest write it contains.
    pub timestamp: Timestamp,
}

impl Snapshot {
    /// Rows that are not deleted.
    pub fn live_rows(&self) -> u64 {
        self.units.iter().map(|unit| unit.live_rows()).sum()
    }

    /// The units of these partitions; all units when `partitions` is empty.
    pub fn units_of<'a>(&'a self, partitions: &'a [i64]) -> impl Iterator<Item = &'a Arc<Unit>> {
        self.units
            .iter()
            .filter(move |unit| partitions.is_empty() || partitions.contains(&unit.partition()))
    }
}
