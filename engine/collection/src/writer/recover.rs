//! Making memory what manifest and log say: when a collection is opened, and when its writer had to stop.
//!
//! A write of unknown outcome (a full disk, a store that does not answer) stops the writer, since memory and log may
//! differ from then on. Readers go on with the last snapshot. After a while the writer opens its collection again, as a
//! restart would: the outcome is known then. A writer that was taken over by another one never does.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use elanus_storage::{Error as StorageError, Manifest, SegmentId, WalEntry};
use roaring::RoaringBitmap;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{PartitionData, Request, SegmentEntry, Writer};
use crate::built_index::{BuiltIndexes, open_index};
use crate::error::Result;
use crate::overlay::Overlay;
use crate::schema::CollectionSchema;
use crate::segment::SealedSegment;
use crate::state::CollectionState;
use crate::stored_names::stored_schema;
use crate::unit::Over;

/// Why the writer stopped, and when it opens its collection again (`None`: never).
pub(super) struct Failure {
    pub reason: String,
    pub retry_at: Option<Instant>,
}

impl Writer {
    /// Records that the writer cannot go on.
    pub fn fail(&mut self, reason: String) {
        if self.failure.is_some() {
            return;
        }
        let retry_at = (!self.taken_over()).then(|| Instant::now() + self.options.retry);
        tracing::error!(collection = %self.name, reason, "the writer has stopped");
        self.failure = Some(Failure { reason, retry_at });
    }

    fn taken_over(&self) -> bool {
        matches!(self.store.stopped(), Some(StorageError::Fenced { .. }))
    }

    /// When a stopped writer tries to go on. What still runs beside it comes to its end first.
    pub(super) fn reopen_at(&self) -> Option<Instant> {
        let failure = self.failure.as_ref()?;
        failure
            .retry_at
            .filter(|_| self.flushing.is_none() && self.maintenance.is_none())
    }

    /// Gives a new channel when the schema has turned out to be another one.
    pub(super) async fn reopen_if_due(&mut self) -> Option<mpsc::Receiver<Request>> {
        if self.reopen_at().is_none_or(|at| at > Instant::now()) {
            return None;
        }
        let old_schema = Arc::clone(&self.schema);
        let reopened = match self.store.reopen().await {
            Ok(recovered) => self.recover(&recovered.manifest, recovered.entries).await,
            Err(error) => Err(error.into()),
        };
        match reopened {
            Ok(()) => {
                tracing::info!(collection = %self.name, "the writer goes on");
                self.failure = None;
                self.failed_flush = None;
                if self.schema != old_schema {
                    // A change of unknown outcome has made it.
                    match CollectionSchema::from_arrow(&self.schema) {
                        Ok(schema) => return Some(self.hand_over(Arc::new(schema))),
                        Err(error) => self.fail(error.to_string()),
                    }
                }
                self.publish();
                None
            }
            Err(error) => {
                tracing::warn!(collection = %self.name, %error, "the collection could not be opened again");
                let retry_at = (!self.taken_over()).then(|| Instant::now() + self.options.retry);
                if let Some(failure) = &mut self.failure {
                    failure.retry_at = retry_at;
                }
                None
            }
        }
    }

    /// Takes segments, state and log in place of what is in memory; on an error that stays as it is.
    pub(super) async fn recover(&mut self, manifest: &Manifest, wal: Vec<WalEntry>) -> Result<()> {
        let state = CollectionState::decode(&manifest.state)?;
        let schema = CollectionSchema::from_arrow(&manifest.schema)?;
        let arrow = schema.to_arrow();
        let key = schema.primary_key()?.stored_name().to_string();
        let stored = stored_schema(&arrow);
        let mut partitions = self.open_segments(manifest, &state, &stored, &key).await?;
        for partition in &state.partitions {
            partitions.entry(partition.id).or_default();
        }
        let old_partitions = std::mem::replace(&mut self.partitions, partitions);
        let old_state = std::mem::replace(&mut self.state, state);
        let old_schema = std::mem::replace(&mut self.schema, arrow);
        let old_stored = std::mem::replace(&mut self.stored_schema, stored);
        let old_key = std::mem::replace(&mut self.primary_key, key);
        if let Err(error) = self.replay(manifest, wal).await {
            self.partitions = old_partitions;
            self.state = old_state;
            (self.schema, self.stored_schema, self.primary_key) = (old_schema, old_stored, old_key);
            return Err(error);
        }
        for entry in self.partitions.values().flat_map(|partition| &partition.segments) {
            self.pins.add(&entry.segment);
        }
        Ok(())
    }

    async fn replay(&mut self, manifest: &Manifest, wal: Vec<WalEntry>) -> Result<()> {
        self.last_sequence = manifest.wal_flushed;
        self.last_timestamp = self.last_timestamp.max(manifest.last_timestamp);
        for entry in wal {
            self.last_sequence = entry.sequence;
            let mut versions = entry.timestamp;
            for op in entry.ops {
                let next = versions + op.new_versions();
                self.apply(op, versions).await?;
                versions = next;
            }
            self.last_timestamp = self
                .last_timestamp
                .max(entry.timestamp.max(versions.saturating_sub(1)));
        }
        self.oracle.advance_past(self.last_timestamp);
        Ok(())
    }

    /// The segments of a manifest with their deletes and indexes; those that are open already are not opened again.
    pub(super) async fn open_segments(
        &self,
        manifest: &Manifest,
        state: &CollectionState,
        schema: &SchemaRef,
        primary_key: &str,
    ) -> Result<BTreeMap<i64, PartitionData>> {
        let entries = self.partitions.values().flat_map(|partition| &partition.segments);
        let open: HashMap<SegmentId, &Arc<SealedSegment>> = entries
            .map(|entry| (entry.segment.meta.id, &entry.segment))
            .collect();
        let mut partitions: BTreeMap<i64, PartitionData> = BTreeMap::new();
        for meta in &manifest.segments {
            let deletes = match &meta.deletes {
                Some(deletes) => self.files.read_deletes(meta.id, deletes).await?,
                None => RoaringBitmap::new(),
            };
            let segment = match open.get(&meta.id) {
                Some(segment) if segment.schema() == schema => Arc::clone(segment),
                Some(segment) if segment.holds_vectors_of(schema) => Arc::new(segment.with_schema(schema)?),
                _ => {
                    let (files, schema) = (self.files.clone(), Arc::clone(schema));
                    Arc::new(SealedSegment::open(files, meta.clone(), schema, primary_key).await?)
                }
            };
            let mut indexes = BuiltIndexes::new();
            for file in &meta.indexes {
                let Some(def) = state.indexes.iter().find(|def| def.id == file.index_id) else {
                    continue;
                };
                match open_index(&self.files, meta.id, file, def).await {
                    Ok(index) => {
                        indexes.insert(def.id, index);
                    }
                    // Without its index the segment is searched exactly until it is built again.
                    Err(error) => {
                        tracing::warn!(collection = %self.name, %error, "index file is not usable, it will be rebuilt");
                    }
                }
            }
            let overlay = match &meta.updates {
                Some(updates) => Overlay::from_batches(&self.files.read_updates(meta, updates).await?)?,
                None => Overlay::default(),
            };
            let over = Over {
                deletes: Arc::new(deletes),
                overlay: Arc::new(overlay),
            };
            let entry = SegmentEntry::new(segment, over, indexes);
            partitions.entry(meta.partition).or_default().segments.push(entry);
        }
        Ok(partitions)
    }
}
