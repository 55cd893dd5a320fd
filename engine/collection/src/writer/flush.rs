//! Sealing the growing rows and putting the segments that come of it into the collection.

use std::collections::HashMap;
use std::sync::Arc;

use elanus_storage::{DeletesRef, SegmentId, SegmentMeta, UpdatesRef};
use tokio::time::Instant;

use super::{SegmentEntry, Writer};
use crate::background::FlushOutput;
use crate::built_index::BuiltIndexes;
use crate::compaction::{carry, with_room};
use crate::error::{Error, Result};
use crate::segment::SealedSegment;
use crate::unit::{Over, UnitId};

/// A flush that failed: what to tell, and when to try again.
pub(super) struct FailedFlush {
    pub reason: String,
    pub retry_at: Instant,
}

/// New segments as the manifest and as the writer know them, and what is new of old segments.
type Written = (Vec<(SegmentMeta, SegmentEntry)>, HashMap<SegmentId, OverFiles>);

/// The files of what lies over a segment; `None` for what has not changed.
#[derive(Default)]
pub(crate) struct OverFiles {
    pub deletes: Option<DeletesRef>,
    pub updates: Option<UpdatesRef>,
}

impl OverFiles {
    /// Names the files in the manifest's entry of their segment.
    pub fn name_in(&self, meta: &mut SegmentMeta) {
        if let Some(deletes) = &self.deletes {
            meta.deletes = Some(deletes.clone());
        }
        if let Some(updates) = &self.updates {
            meta.updates = Some(updates.clone());
        }
    }
}

impl Writer {
    /// When the growing rows are sealed, or a failed flush is tried again, if nothing else happens.
    pub(super) fn flush_at(&self) -> Option<Instant> {
        if self.failure.is_some() || self.flushing.is_some() {
            return None;
        }
        if let Some(failed) = &self.failed_flush {
            return Some(failed.retry_at);
        }
        if !self.options.background {
            return None;
        }
        let oldest = self.oldest_unflushed? + self.options.seal_age;
        match self.newest_growing {
            Some(newest) if self.growing_rows() >= self.options.seal_rows => {
                Some(oldest.min(newest + self.options.seal_idle))
            }
            _ => Some(oldest),
        }
    }

    /// Seals the growing rows when they are large, old, or someone asked.
    pub(super) fn start_flush_if_due(&mut self) {
        if self.failure.is_some() || self.flushing.is_some() {
            return;
        }
        let now = Instant::now();
        // Looked at here and not only when the timer fires, which it does not while requests keep coming.
        if self.flush_at().is_some_and(|at| at <= now) {
            self.want_flush = true;
        }
        let unflushed = self
            .last_sequence
            .saturating_sub(self.store.manifest().wal_flushed);
        let large = self.options.background
            && (self.growing_bytes() >= self.options.seal_bytes || unflushed >= self.options.seal_writes);
        let waiting = self
            .failed_flush
            .as_ref()
            .is_some_and(|failed| failed.retry_at > now);
        if waiting || !(large || self.want_flush) {
            return;
        }
        self.want_flush = false;
        self.oldest_unflushed = None;
        self.newest_growing = None;
        self.flushing = Some(self.last_sequence);
        let mut work = Vec::new();
        for (id, partition) in &mut self.partitions {
            let growing = std::mem::take(&mut partition.growing);
            partition.sealing.extend(growing.entries);
            if !partition.sealing.is_empty() {
                work.push((
                    *id,
                    partition
                        .sealing
                        .iter()
                        .map(|entry| Arc::clone(&entry.unit))
                        .collect::<Vec<_>>(),
                ));
            }
        }
        self.spawn_flush(&work);
        self.publish();
    }

    /// Installs what a flush wrote: segments, deletes and the log mark in one commit.
    pub async fn finish_flush(&mut self, outputs: Result<Vec<FlushOutput>>) {
        let Some(sequence) = self.flushing.take() else {
            return;
        };
        let installed = match outputs {
            Ok(outputs) => self.install_flush(outputs, sequence).await,
            Err(error) => Err(error),
        };
        match installed {
            Ok(()) => {
                self.failed_flush = None;
                // There is room on the disk again, or other segments to choose from.
                self.compaction_failed = None;
            }
            Err(error) => self.flush_failed(&error),
        }
        self.publish();
    }

    /// Takes the rows back into memory; the log has them too.
    fn flush_failed(&mut self, error: &Error) {
        tracing::error!(collection = %self.name, %error, "flush failed, the rows stay in the log and in memory");
        for partition in self.partitions.values_mut() {
            let mut entries = std::mem::take(&mut partition.sealing);
            partition.growing.bytes += entries.iter().map(|e| e.chunk.bytes).sum::<usize>();
            partition.growing.rows += entries.iter().map(|e| u64::from(e.unit.rows())).sum::<u64>();
            entries.append(&mut partition.growing.entries);
            partition.growing.entries = entries;
        }
        let now = Instant::now();
        self.oldest_unflushed = Some(now);
        self.newest_growing = Some(now);
        let reason = error.to_string();
        for reply in std::mem::take(&mut self.flush_waiters)
            .into_iter()
            .map(|(_, reply)| reply)
            .chain(std::mem::take(&mut self.settle_waiters))
        {
            drop(reply.send(Err(Error::FlushFailed {
                collection: self.name.clone(),
                reason: reason.clone(),
            })));
        }
        self.failed_flush = Some(FailedFlush {
            reason,
            retry_at: now + self.options.retry,
        });
    }

    async fn install_flush(&mut self, outputs: Vec<FlushOutput>, sequence: u64) -> Result<()> {
        let segments = outputs.iter().filter_map(|output| output.segment.as_ref());
        let new_segments: Vec<_> = segments.map(|segment| segment.meta.id).collect();
        let written = match self.lay_over(outputs).await {
            Ok(added) => self.write_all_overs(added).await,
            Err(error) => Err(error),
        };
        let (new_entries, dirty) = match written {
            Ok(written) => written,
            Err(error) => {
                for segment in new_segments {
                    self.files.discard(segment).await;
                }
                return Err(error);
            }
        };
        let last_timestamp = self.last_timestamp;
        self.store
            .commit(|manifest| {
                for segment in &mut manifest.segments {
                    if let Some(files) = dirty.get(&segment.id) {
                        files.name_in(segment);
                    }
                }
                manifest
                    .segments
                    .extend(new_entries.iter().map(|(meta, _)| meta.clone()));
                manifest.wal_flushed = sequence;
                manifest.last_timestamp = last_timestamp;
            })
            .await
            .map_err(|error| self.stopped_by(error))?;
        for entry in self
            .partitions
            .values_mut()
            .flat_map(|partition| &mut partition.segments)
        {
            entry.is_persisted();
        }
        for (_, entry) in new_entries {
            self.pins.add(&entry.segment);
            if let Some(partition) = self.partitions.get_mut(&entry.segment.meta.partition) {
                partition.segments.push(entry);
            }
        }
        for partition in self.partitions.values_mut() {
            partition.sealing.clear();
        }
        self.collect_garbage().await;
        Ok(())
    }

    /// The new segments, each with what came over its rows while it was written.
    async fn lay_over(&self, outputs: Vec<FlushOutput>) -> Result<Vec<(Arc<SealedSegment>, Over)>> {
        let mut added = Vec::with_capacity(outputs.len());
        for output in outputs {
            let Some(segment) = output.segment else { continue };
            let Some(partition) = self.partitions.get(&output.partition) else {
                // The partition was dropped meanwhile.
                self.files.discard(segment.meta.id).await;
                continue;
            };
            let sealing = partition.sealing.iter();
            let over: HashMap<UnitId, &Over> = sealing
                .map(|entry| (entry.unit.id(), entry.unit.over()))
                .collect();
            let current = output
                .units
                .iter()
                .map(|unit| (&**unit, over.get(&unit.id()).copied().unwrap_or(unit.over())));
            let over = with_room(&self.options, &segment.meta, carry(current)?)?;
            added.push((segment, over));
        }
        Ok(added)
    }

    /// Writes deletes and updates of new segments, and those of old ones that have changed since the last commit.
    async fn write_all_overs(&self, added: Vec<(Arc<SealedSegment>, Over)>) -> Result<Written> {
        let mut new_entries = Vec::with_capacity(added.len());
        for (segment, over) in added {
            let mut meta = segment.meta.clone();
            self.write_over(meta.id, &over, !over.deletes.is_empty(), !over.overlay.is_empty())
                .await?
                .name_in(&mut meta);
            new_entries.push((meta, SegmentEntry::new(segment, over, BuiltIndexes::new())));
        }
        let mut dirty: HashMap<SegmentId, OverFiles> = HashMap::new();
        for entry in self.partitions.values().flat_map(|partition| &partition.segments) {
            let (deletes, updates) = (entry.has_new_deletes(), entry.has_new_updates());
            if deletes || updates {
                let id = entry.segment.meta.id;
                match self.write_over(id, &entry.over, deletes, updates).await {
                    Ok(files) => {
                        dirty.insert(id, files);
                    }
                    Err(error) => {
                        for (segment, files) in &dirty {
                            self.abandon_over(*segment, files);
                        }
                        return Err(error);
                    }
                }
            }
        }
        Ok((new_entries, dirty))
    }

    /// Writes the deletes and the updates of a segment, if wanted: both, or neither.
    pub(crate) async fn write_over(
        &self,
        segment: SegmentId,
        over: &Over,
        deletes: bool,
        updates: bool,
    ) -> Result<OverFiles> {
        let version = self.store.manifest().version + 1;
        let mut files = OverFiles::default();
        if deletes {
            files.deletes = Some(self.files.write_deletes(segment, version, &over.deletes).await?);
        }
        if updates {
            let columns = over.overlay.to_batches()?;
            match self.files.write_updates(segment, version, columns).await {
                Ok(updates) => files.updates = Some(updates),
                Err(error) => {
                    self.abandon_over(segment, &files);
                    return Err(error.into());
                }
            }
        }
        Ok(files)
    }

    fn abandon_over(&self, segment: SegmentId, files: &OverFiles) {
        let deletes = files.deletes.iter().map(|deletes| &deletes.file);
        let updates = files.updates.iter().map(|updates| &updates.file);
        for file in deletes.chain(updates) {
            self.files.abandon_file(segment, file);
        }
    }

    /// Removes files that nothing names; failing to is only logged.
    pub async fn collect_garbage(&mut self) {
        // Snapshots that readers still hold keep their segments' files; those with a name keep their manifests' ones.
        let pinned = self.pins.held();
        let kept: Vec<u64> = self.state.snapshots.iter().map(|kept| kept.version).collect();
        let collected = self
            .store
            .collect_garbage(&pinned, &kept, self.options.gc_grace)
            .await;
        if let Err(error) = collected {
            tracing::warn!(collection = %self.name, %error, "garbage collection failed, it will be tried again");
        }
    }
}
