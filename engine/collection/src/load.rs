//! Load and release: what the Milvus door may search, and what is warmed into memory.
//!
//! Rows are always readable here (SQL needs no load step); loading is Milvus' promise that searches
//! will be fast, so it reads the scalar columns and maps vectors and indexes ahead of the first
//! query. The wish is part of the manifest and survives a restart; how far warming got is not.

use serde::{Deserialize, Serialize};

/// What clients asked to be loaded.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) enum LoadScope {
    /// Nothing.
    #[default]
    None,
    /// The whole collection, partitions made later included.
    All,
    /// These partitions.
    Partitions(Vec<i64>),
}

impl LoadScope {
    /// Whether this partition is in scope.
    pub fn covers(&self, partition: i64) -> bool {
        match self {
            Self::None => false,
            Self::All => true,
            Self::Partitions(ids) => ids.contains(&partition),
        }
    }

    /// The scope with these partitions added.
    #[must_use]
    pub fn with(&self, partitions: &[i64]) -> Self {
        match self {
            Self::All => Self::All,
            Self::None => Self::Partitions(partitions.to_vec()),
            Self::Partitions(ids) => {
                let mut ids = ids.clone();
                ids.extend(partitions.iter().copied().filter(|id| !self.covers(*id)));
                Self::Partitions(ids)
            }
        }
    }

    /// The scope without these partitions; `all` are the partitions there are.
    #[must_use]
    pub fn without(&self, partitions: &[i64], all: &[i64]) -> Self {
        let kept: Vec<_> = all
            .iter()
            .copied()
            .filter(|id| self.covers(*id) && !partitions.contains(id))
            .collect();
        if kept.is_empty() {
            Self::None
        } else {
            Self::Partitions(kept)
        }
    }
}

/// Milvus' load states of an existing collection or partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoadState {
    /// Not asked for.
    NotLoad,
    /// Asked for, columns are being read.
    Loading,
    /// Ready.
    Loaded,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releasing_a_partition_of_a_loaded_collection_keeps_the_others() {
        let scope = LoadScope::All.without(&[2], &[1, 2, 3]);
        assert_eq!(scope, LoadScope::Partitions(vec![1, 3]));
        assert_eq!(scope.with(&[2, 3]), LoadScope::Partitions(vec![1, 3, 2]));
        assert_eq!(scope.without(&[1, 3], &[1, 2, 3]), LoadScope::None);
        assert!(LoadScope::All.with(&[1]).covers(9));
    }
}
