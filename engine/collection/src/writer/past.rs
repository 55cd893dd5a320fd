//! States that are kept under a name, and opening one again.
//!
//! A state is kept by its manifest: garbage collection leaves the version and every file that it names. A manifest says
//! exactly what readers saw only when nothing waits in memory and in the log: a delete that came while a flush was running
//! is in the bitmaps of its commit, the insert that came with it is not. So all rows go into segments first and writes
//! wait meanwhile, as for a change of the schema.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;

use super::alter::Pending;
use super::{IndexProgress, PartitionData, Reply, Shared, Writer};
use crate::error::{Error, Result};
use crate::schema::CollectionSchema;
use crate::snapshot::{Snapshot, SnapshotInfo};
use crate::state::CollectionState;
use crate::stored_names::stored_schema;

/// Most states of a collection that are kept; each garbage collection looks at their manifests.
const MAX_SNAPSHOTS: usize = 256;

/// Numbers the schemas of earlier states apart from those that a collection has in this process.
const PAST_SCHEMA: u64 = 1 << 63;

/// An earlier state, to be read.
pub(crate) struct Past {
    pub schema: Arc<CollectionSchema>,
    pub shared: Arc<Shared>,
}

impl Writer {
    /// Keeps the state of now under a name, once all of it is in segments.
    pub(super) fn begin_keep(&mut self, name: String, reply: Reply<SnapshotInfo>) {
        match self.failed().map_or_else(|| self.may_keep(&name), Err) {
            Ok(()) => self.wait_for_segments(Pending::Keep { name, reply }),
            Err(error) => drop(reply.send(Err(error))),
        }
    }

    fn may_keep(&self, name: &str) -> Result<()> {
        let kept = &self.state.snapshots;
        if kept.iter().any(|info| info.name == name) {
            return Err(Error::InvalidParameter(format!(
                "collection '{}' has a snapshot '{name}' already",
                self.name
            )));
        }
        if kept.len() >= MAX_SNAPSHOTS {
            return Err(Error::LimitExceeded(format!(
                "collection '{}' has {MAX_SNAPSHOTS} snapshots, which is the limit: drop one first",
                self.name
            )));
        }
        Ok(())
    }

    /// The manifest of now has everything: names it.
    pub(super) async fn keep(&mut self, name: String) -> Result<SnapshotInfo> {
        let units = self.partitions.values().flat_map(|partition| &partition.segments);
        let info = SnapshotInfo {
            name,
            version: self.store.manifest().version,
            created_ts: self.oracle.next(),
            rows: units.map(|entry| entry.unit.live_rows()).sum(),
        };
        let mut state = self.state.clone();
        state.snapshots.push(info.clone());
        self.commit_state(state, None).await?;
        self.publish();
        Ok(info)
    }

    /// Opens the state of a version that is kept. Segments that are open already are not opened again.
    pub(super) async fn open_past(&mut self, version: u64) -> Result<Past> {
        let manifest = self.store.manifest_at(version).await?;
        let state = CollectionState::decode(&manifest.state)?;
        let schema = CollectionSchema::from_arrow(&manifest.schema)?;
        let arrow = schema.to_arrow();
        let key = schema.primary_key()?.stored_name().to_string();
        let partitions = self
            .open_segments(&manifest, &state, &stored_schema(&arrow), &key)
            .await?;
        let entries = || {
            partitions
                .values()
                .flat_map(|partition: &PartitionData| &partition.segments)
        };
        for entry in entries() {
            self.pins.add(&entry.segment);
        }
        let rows = |entry: &super::SegmentEntry| u64::from(entry.segment.meta.rows);
        let progress = state.indexes.iter().map(|def| {
            let indexed = entries().filter(|entry| entry.indexes.contains_key(&def.id));
            let progress = IndexProgress {
                total_rows: entries().map(rows).sum(),
                indexed_rows: indexed.map(rows).sum(),
                failure: None,
            };
            (def.id, progress)
        });
        let indexes: HashMap<i64, IndexProgress> = progress.collect();
        let schema_version = if arrow == self.schema {
            self.shared.schema_version
        } else {
            PAST_SCHEMA | version
        };
        let snapshot = Snapshot {
            schema: arrow,
            units: entries().map(|entry| Arc::clone(&entry.unit)).collect(),
            timestamp: manifest.last_timestamp,
        };
        Ok(Past {
            schema: Arc::new(schema),
            shared: Arc::new(Shared {
                snapshot: ArcSwap::from_pointee(snapshot),
                state: ArcSwap::from_pointee(state),
                indexes: ArcSwap::from_pointee(indexes),
                building: ArcSwap::from_pointee(None),
                schema_version,
                successor: OnceLock::new(),
            }),
        })
    }
}
