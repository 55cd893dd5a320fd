//! What a collection's manifest keeps besides schema and segments, as JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::index_def::IndexDef;
use crate::load::LoadScope;
use crate::partition::PartitionInfo;
use crate::snapshot::SnapshotInfo;

/// The collection's own part of the manifest. Fields are only ever added, with defaults.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct CollectionState {
    pub shards: i32,
    pub consistency: i32,
    #[serde(default)]
    pub properties: BTreeMap<String, String>,
    pub partitions: Vec<PartitionInfo>,
    #[serde(default)]
    pub indexes: Vec<IndexDef>,
    #[serde(default)]
    pub load: LoadScope,
    /// The states that are kept under a name, oldest first.
    #[serde(default)]
    pub snapshots: Vec<SnapshotInfo>,
    /// Next id of a partition or index.
    pub next_id: i64,
    /// Next id of a field, once fields were added or dropped; before that, the one after the largest.
    #[serde(default)]
    pub next_field_id: i64,
    /// When the schema was changed last; 0: never.
    #[serde(default)]
    pub schema_ts: Timestamp,
}

impl CollectionState {
    /// The bytes for the manifest.
    pub fn encode(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self)
            .map_err(|e| Error::InvalidSchema(format!("collection state cannot be written: {e}")))
    }

    /// Reads the bytes of a manifest.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        serde_json::from_slice(bytes).map_err(|e| {
            Error::InvalidSchema(format!("collection state in the manifest is not readable: {e}"))
        })
    }

    /// An id never used in this collection before.
    pub fn take_id(&mut self) -> i64 {
        let id = self.next_id;
        self.next_id += 1;
        id
    }

    /// The partition of this name.
    pub fn partition(&self, name: &str) -> Result<&PartitionInfo> {
        self.partitions
            .iter()
            .find(|partition| partition.name == name)
            .ok_or_else(|| Error::PartitionNotFound {
                name: name.to_string(),
            })
    }

    /// The ids of these partitions.
    pub fn partition_ids(&self, names: &[String]) -> Result<Vec<i64>> {
        names
            .iter()
            .map(|name| self.partition(name).map(|partition| partition.id))
            .collect()
    }
}
