//! A pinned state of a collection: every reader works on one and never sees it change. Those with a name outlive readers
//! and restarts.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::unit::Unit;

/// A state that is kept under a name: a manifest version whose files stay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotInfo {
    /// Its name.
    pub name: String,
    /// Version of the manifest that has all of its rows.
    pub version: u64,
    /// When it was made.
    pub created_ts: Timestamp,
    /// Rows in it.
    pub rows: u64,
}

/// How one of the states that are kept is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SnapshotRef {
    /// By its name.
    Name(String),
    /// By its version.
    Version(u64),
}

impl SnapshotRef {
    /// Whether it is this one.
    pub fn is(&self, info: &SnapshotInfo) -> bool {
        match self {
            Self::Name(name) => info.name == *name,
            Self::Version(version) => info.version == *version,
        }
    }
}

impl std::fmt::Display for SnapshotRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Name(name) => write!(f, "snapshot '{name}'"),
            Self::Version(version) => write!(f, "snapshot of version {version}"),
        }
    }
}

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
