//! An index of a scalar column, of whichever family.

use bytes::Bytes;

use super::ScalarIndex;
use super::extents::{self, ExtentIndex};
use crate::blob;
use crate::error::OpenError;

/// The index of a column that is no vector.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "there is one for an index file, and it does not move"
)]
pub enum ColumnIndex {
    /// Of values that have an order.
    Values(ScalarIndex),
    /// Of shapes.
    Extents(ExtentIndex),
}

impl ColumnIndex {
    /// Opens what [`ColumnIndex::serialize`] wrote.
    ///
    /// # Errors
    /// Bytes that are no index on scalars, are damaged, or were written by a newer version.
    pub fn open(blob: Bytes) -> Result<Self, OpenError> {
        if blob::kind_of(&blob) == Some(extents::CODE) {
            ExtentIndex::open(blob).map(Self::Extents)
        } else {
            ScalarIndex::open(blob).map(Self::Values)
        }
    }

    /// The index as bytes.
    pub fn serialize(&self) -> Vec<u8> {
        match self {
            Self::Values(index) => index.serialize(),
            Self::Extents(index) => index.serialize(),
        }
    }

    /// Bytes the index keeps in memory or mapped.
    pub fn memory_bytes(&self) -> usize {
        match self {
            Self::Values(index) => index.memory_bytes(),
            Self::Extents(index) => index.memory_bytes(),
        }
    }
}

impl From<ScalarIndex> for ColumnIndex {
    fn from(index: ScalarIndex) -> Self {
        Self::Values(index)
    }
}

impl From<ExtentIndex> for ColumnIndex {
    fn from(index: ExtentIndex) -> Self {
        Self::Extents(index)
    }
}
