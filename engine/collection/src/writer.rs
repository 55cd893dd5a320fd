//! The one writer of a collection: a task that owns its manifest, its log and its growing rows.
//!
//! ```text
//!  insert, upsert, delete ──► group ──► WAL append (one fsync) ──► growing rows ──► publish ──► ack
//!  flush ───────────────────► seal growing rows ──► background merge ──► commit (segments, deletes, WAL mark)
//!  create index, load, ... ─► edit of the collection state ──► commit
//! ```
//!
//! Readers never wait for it: after each step it publishes a new immutable [`Snapshot`]. Slow work
//! (writing segments, building indexes, compaction) runs beside it and reports back as an event;
//! only this task changes what the collection is.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use arrow::array::{ArrayRef, RecordBatch, UInt64Array};
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use elanus_index::VectorIndex;
use elanus_storage::{CollectionStore, SegmentFiles, WalEntry, WalOp};
use roaring::RoaringBitmap;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::background::{BuildControl, Event, FlushOutput, Maintenance};
use crate::clock::{Timestamp, TimestampOracle};
use crate::compaction::carry_deletes;
use crate::error::{Error, Result};
use crate::memtable::{GrowingEntry, Memtable};
use crate::options::Options;
use crate::segment::SealedSegment;
use crate::snapshot::Snapshot;
use crate::state::CollectionState;
use crate::unit::{Block, Unit};

/// Most bytes of one group commit.
const GROUP_BYTES: usize = 32 << 20;
/// How long to wait before a failed flush is tried again.
const FLUSH_RETRY: Duration = Duration::from_secs(5);

/// A change of the collection state; returns an id the caller asked for (or 0).
pub(crate) type Edit = Box<dyn FnOnce(&mut CollectionState) -> Result<i64> + Send>;
type Reply<T> = oneshot::Sender<Result<T>>;

/// What the writer is asked to do.
pub(crate) enum Request {
    Write {
        ops: Vec<WalOp>,
        encoded: Bytes,
        reply: Reply<Written>,
    },
    Edit {
        edit: Edit,
        reply: Reply<i64>,
    },
    DropPartition {
        name: String,
        reply: Reply<()>,
    },
    Flush {
        reply: Reply<()>,
    },
    Compact {
        reply: Reply<()>,
    },
    Settle {
        reply: Reply<()>,
    },
    Close {
        reply: oneshot::Sender<()>,
    },
}

/// Outcome of a write.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Written {
    pub timestamp: Timestamp,
    pub deleted: u64,
}

/// How far the index of one definition is.
#[derive(Debug, Clone, Default)]
pub(crate) struct IndexProgress {
    pub total_rows: u64,
    pub indexed_rows: u64,
    pub failure: Option<String>,
}

/// What readers see.
pub(crate) struct Shared {
    pub snapshot: ArcSwap<Snapshot>,
    pub state: ArcSwap<CollectionState>,
    pub indexes: ArcSwap<HashMap<i64, IndexProgress>>,
    pub building: ArcSwap<Option<Arc<BuildControl>>>,
    /// Counts publishes, for those who wait for a change.
    pub version: watch::Sender<u64>,
}

/// A sealed segment as the writer tracks it.
pub(crate) struct SegmentEntry {
    pub segment: Arc<SealedSegment>,
    pub deletes: Arc<RoaringBitmap>,
    /// Deletes that the manifest names already.
    pub persisted: u64,
    /// Built indexes by field, with the id of their definition.
    pub indexes: HashMap<String, (i64, Arc<dyn VectorIndex>)>,
    /// Definitions whose build failed here, and why.
    pub failed: HashMap<i64, String>,
    pub unit: Arc<Unit>,
}

impl SegmentEntry {
    pub fn new(
        segment: Arc<SealedSegment>,
        deletes: RoaringBitmap,
        persisted: u64,
        indexes: HashMap<String, (i64, Arc<dyn VectorIndex>)>,
    ) -> Self {
        let deletes = Arc::new(deletes);
        let unit = Self::make_unit(&segment, &deletes, &indexes);
        Self {
            segment,
            deletes,
            persisted,
            indexes,
            failed: HashMap::new(),
            unit,
        }
    }

    fn make_unit(
        segment: &Arc<SealedSegment>,
        deletes: &Arc<RoaringBitmap>,
        indexes: &HashMap<String, (i64, Arc<dyn VectorIndex>)>,
    ) -> Arc<Unit> {
        let indexes = indexes
            .iter()
            .map(|(field, (_, index))| (field.clone(), Arc::clone(index)))
            .collect();
        let block = Block::Sealed(Arc::clone(segment));
        Arc::new(Unit::new(
            block,
            segment.meta.partition,
            Arc::clone(deletes),
            indexes,
        ))
    }

    pub fn refresh(&mut self) {
        self.unit = Self::make_unit(&self.segment, &self.deletes, &self.indexes);
    }

    fn delete(&mut self, rows: Vec<u32>) -> u64 {
        let before = self.deletes.len();
        if rows.iter().any(|row| !self.deletes.contains(*row)) {
            Arc::make_mut(&mut self.deletes).extend(rows);
            self.refresh();
        }
        self.deletes.len() - before
    }
}

/// The rows of one partition.
#[derive(Default)]
pub(crate) struct PartitionData {
    pub segments: Vec<SegmentEntry>,
    pub sealing: Vec<GrowingEntry>,
    pub growing: Memtable,
}

/// The writer task's state.
pub(crate) struct Writer {
    pub name: String,
    pub store: CollectionStore,
    pub files: SegmentFiles,
    pub options: Arc<Options>,
    pub oracle: Arc<TimestampOracle>,
    pub shared: Arc<Shared>,
    pub schema: SchemaRef,
    pub stored_schema: SchemaRef,
    pub primary_key: String,
    pub state: CollectionState,
    pub partitions: BTreeMap<i64, PartitionData>,
    pub last_timestamp: Timestamp,
    pub events: mpsc::UnboundedSender<Event>,
    pub maintenance_permits: Arc<tokio::sync::Semaphore>,
    pub maintenance: Option<Maintenance>,
    pub want_compact: bool,
    last_sequence: u64,
    next_chunk: u64,
    flushing: Option<u64>,
    want_flush: bool,
    retry_flush_at: Option<Instant>,
    flush_waiters: Vec<(u64, Reply<()>)>,
    compact_waiters: Vec<Reply<()>>,
    settle_waiters: Vec<Reply<()>>,
    oldest_growing: Option<Instant>,
    newest_growing: Option<Instant>,
    failure: Option<String>,
    known_segments: Vec<Weak<SealedSegment>>,
}

/// What a writer starts from.
pub(crate) struct WriterParts {
    pub name: String,
    pub store: CollectionStore,
    pub options: Arc<Options>,
    pub oracle: Arc<TimestampOracle>,
    pub schema: SchemaRef,
    pub stored_schema: SchemaRef,
    pub primary_key: String,
    pub state: CollectionState,
    pub partitions: BTreeMap<i64, PartitionData>,
    pub maintenance_permits: Arc<tokio::sync::Semaphore>,
}

impl Writer {
    /// A writer over recovered segments; replays the log and publishes the first snapshot.
    pub async fn start(
        parts: WriterParts,
        wal: Vec<WalEntry>,
    ) -> Result<(Self, mpsc::UnboundedReceiver<Event>, Arc<Shared>)> {
        let (events, event_receiver) = mpsc::unbounded_channel();
        let manifest = parts.store.manifest();
        let snapshot = Snapshot {
            schema: Arc::clone(&parts.schema),
            units: Vec::new(),
            timestamp: 0,
        };
        let shared = Arc::new(Shared {
            snapshot: ArcSwap::from_pointee(snapshot),
            state: ArcSwap::from_pointee(parts.state.clone()),
            indexes: ArcSwap::default(),
            building: ArcSwap::from_pointee(None),
            version: watch::Sender::new(0),
        });
        let mut writer = Self {
            name: parts.name,
            files: parts.store.files(),
            store: parts.store,
            options: parts.options,
            oracle: parts.oracle,
            shared: Arc::clone(&shared),
            schema: parts.schema,
            stored_schema: parts.stored_schema,
            primary_key: parts.primary_key,
            state: parts.state,
            partitions: parts.partitions,
            last_timestamp: manifest.last_timestamp,
            events,
            maintenance_permits: parts.maintenance_permits,
            maintenance: None,
            want_compact: false,
            last_sequence: manifest.wal_flushed,
            next_chunk: 0,
            flushing: None,
            want_flush: false,
            retry_flush_at: None,
            flush_waiters: Vec::new(),
            compact_waiters: Vec::new(),
            settle_waiters: Vec::new(),
            oldest_growing: None,
            newest_growing: None,
            failure: None,
            known_segments: Vec::new(),
        };
        for partition in &writer.state.partitions {
            writer.partitions.entry(partition.id).or_default();
        }
        for entry in wal {
            writer.last_sequence = entry.sequence;
            writer.last_timestamp = writer.last_timestamp.max(entry.timestamp);
            for op in entry.ops {
                writer.apply(op, entry.timestamp).await?;
            }
        }
        writer.oracle.advance_past(writer.last_timestamp);
        writer.publish();
        Ok((writer, event_receiver, shared))
    }

    /// Serves requests until closed or every handle is gone.
    pub async fn run(
        mut self,
        mut requests: mpsc::Receiver<Request>,
        mut events: mpsc::UnboundedReceiver<Event>,
    ) {
        loop {
            self.start_flush_if_due();
            self.schedule_maintenance();
            self.answer_waiters();
            let wake = self.wake_at();
            tokio::select! {
                biased;
                Some(event) = events.recv() => self.handle_event(event).await,
                request = requests.recv(), if !self.throttled() => match request {
                    None => break,
                    Some(Request::Close { reply }) => {
                        self.cancel_maintenance();
                        reply.send(()).ok();
                        break;
                    }
                    Some(Request::Write { ops, encoded, reply }) => {
                        self.handle_writes((ops, encoded, reply), &mut requests).await;
                    }
                    Some(request) => self.handle_request(request).await,
                },
                () = tokio::time::sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {
                    if self.retry_flush_at.is_none_or(|at| at <= Instant::now()) {
                        self.want_flush = true;
                        self.retry_flush_at = None;
                    }
                }
            }
        }
    }

    /// Whether new writes wait until the rows being sealed are on disk.
    fn throttled(&self) -> bool {
        self.flushing.is_some() && self.growing_bytes() > 2 * self.options.seal_bytes
    }

    fn growing_bytes(&self) -> usize {
        self.partitions
            .values()
            .map(|partition| partition.growing.bytes)
            .sum()
    }

    fn growing_rows(&self) -> u64 {
        self.partitions
            .values()
            .map(|partition| partition.growing.rows)
            .sum()
    }

    /// When the growing rows should be sealed if nothing else happens.
    fn wake_at(&self) -> Option<Instant> {
        if self.retry_flush_at.is_some() {
            return self.retry_flush_at;
        }
        if !self.options.background || self.flushing.is_some() {
            return None;
        }
        let oldest = self.oldest_growing? + self.options.seal_age;
        if self.growing_rows() >= self.options.seal_rows {
            return Some(oldest.min(self.newest_growing? + self.options.seal_idle));
        }
        Some(oldest)
    }

    async fn handle_request(&mut self, request: Request) {
        match request {
            Request::Edit { edit, reply } => {
                let result = self.edit_state(edit).await;
                drop(reply.send(result));
            }
            Request::DropPartition { name, reply } => {
                let result = self.drop_partition(&name).await;
                drop(reply.send(result));
            }
            Request::Flush { reply } => {
                self.want_flush = true;
                self.flush_waiters.push((self.last_sequence, reply));
            }
            Request::Compact { reply } => {
                self.want_compact = true;
                self.compact_waiters.push(reply);
            }
            Request::Settle { reply } => self.settle_waiters.push(reply),
            Request::Write { reply, .. } => drop(reply.send(Err(Error::Closed(self.name.clone())))),
            Request::Close { reply } => drop(reply.send(())),
        }
    }

    /// Whether someone asked for index builds to be driven even without background work.
    pub fn driven(&self) -> bool {
        self.options.background || !self.settle_waiters.is_empty() || !self.compact_waiters.is_empty()
    }

    fn answer_waiters(&mut self) {
        let flushed = self.store.manifest().wal_flushed;
        let failure = self.failure.clone();
        let (done, waiting) = std::mem::take(&mut self.flush_waiters)
            .into_iter()
            .partition(|(sequence, _)| *sequence <= flushed || failure.is_some());
        self.flush_waiters = waiting;
        for (_, reply) in done {
            drop(reply.send(self.failed().map_or(Ok(()), Err)));
        }
        if self.maintenance.is_none() {
            if !self.want_compact {
                for reply in std::mem::take(&mut self.compact_waiters) {
                    drop(reply.send(self.failed().map_or(Ok(()), Err)));
                }
            }
            if self.flushing.is_none() && !self.want_flush {
                for reply in std::mem::take(&mut self.settle_waiters) {
                    drop(reply.send(self.failed().map_or(Ok(()), Err)));
                }
            }
        }
    }

    fn failed(&self) -> Option<Error> {
        self.failure.clone().map(|reason| Error::WriterFailed {
            collection: self.name.clone(),
            reason,
        })
    }

    /// Appends this write and those queued behind it as one durable group.
    async fn handle_writes(
        &mut self,
        first: (Vec<WalOp>, Bytes, Reply<Written>),
        requests: &mut mpsc::Receiver<Request>,
    ) {
        let mut bytes = first.1.len();
        let mut group = vec![first];
        let mut after = None;
        while bytes < GROUP_BYTES {
            match requests.try_recv() {
                Ok(Request::Write { ops, encoded, reply }) => {
                    bytes += encoded.len();
                    group.push((ops, encoded, reply));
                }
                Ok(other) => {
                    after = Some(other);
                    break;
                }
                Err(_) => break,
            }
        }
        self.append_group(group).await;
        if let Some(request) = after {
            if let Request::Close { reply } = request {
                // Nothing may follow a close; the loop ends when the channel closes with it.
                self.cancel_maintenance();
                requests.close();
                reply.send(()).ok();
            } else {
                self.handle_request(request).await;
            }
        }
    }

    async fn append_group(&mut self, group: Vec<(Vec<WalOp>, Bytes, Reply<Written>)>) {
        let mut accepted = Vec::with_capacity(group.len());
        for (ops, encoded, reply) in group {
            match self.admit(&ops).await {
                Ok(()) => accepted.push((ops, encoded, self.oracle.next(), reply)),
                Err(error) => drop(reply.send(Err(error))),
            }
        }
        if accepted.is_empty() {
            return;
        }
        let frames = accepted
            .iter()
            .map(|(_, encoded, timestamp, _)| (*timestamp, encoded.clone()))
            .collect();
        match self.store.append(frames).await {
            Ok(sequences) => self.last_sequence = sequences.last().copied().unwrap_or(self.last_sequence),
            Err(error) => {
                self.failure.get_or_insert_with(|| error.to_string());
                let mut error = Some(Error::from(error));
                for (.., reply) in accepted {
                    let answer = error.take().or_else(|| self.failed());
                    drop(reply.send(answer.map_or(
                        Ok(Written {
                            timestamp: 0,
                            deleted: 0,
                        }),
                        Err,
                    )));
                }
                return;
            }
        }
        let mut replies = Vec::with_capacity(accepted.len());
        for (ops, _, timestamp, reply) in accepted {
            let mut deleted = 0;
            let mut result = Ok(());
            for op in ops {
                match self.apply(op, timestamp).await {
                    Ok(count) => deleted += count,
                    Err(error) => {
                        // Durable but not visible: memory and log differ, so nothing more may be written.
                        self.failure.get_or_insert_with(|| error.to_string());
                        result = Err(error);
                        break;
                    }
                }
            }
            self.last_timestamp = timestamp;
            replies.push((reply, result.map(|()| Written { timestamp, deleted })));
        }
        self.publish();
        for (reply, result) in replies {
            drop(reply.send(result));
        }
    }

    /// Whether a write can be applied once it is durable.
    async fn admit(&self, ops: &[WalOp]) -> Result<()> {
        if let Some(error) = self.failed() {
            return Err(error);
        }
        for op in ops {
            match op {
                WalOp::Insert { partition, .. }
                | WalOp::Delete {
                    partition: Some(partition),
                    ..
                } if !self.partitions.contains_key(partition) => {
                    return Err(Error::PartitionNotFound {
                        name: format!("id {partition}"),
                    });
                }
                WalOp::Delete { .. } => {
                    // Reading key columns can fail; it must not fail after the log has the delete.
                    for partition in self.partitions.values() {
                        for entry in &partition.segments {
                            entry.segment.key_index().await?;
                        }
                    }
                }
                WalOp::Insert { .. } => {}
            }
        }
        Ok(())
    }

    /// Applies one operation to memory; returns the number of rows deleted.
    async fn apply(&mut self, op: WalOp, timestamp: Timestamp) -> Result<u64> {
        match op {
            WalOp::Insert { partition, batch } => {
                // An unknown partition can only come from the log: it was dropped afterwards.
                let Some(data) = self.partitions.get_mut(&partition) else {
                    return Ok(0);
                };
                let batch = with_timestamp(&self.stored_schema, &batch, timestamp)?;
                let next_chunk = &mut self.next_chunk;
                data.growing.append(batch, partition, &self.primary_key, || {
                    *next_chunk += 1;
                    *next_chunk
                })?;
                let now = Instant::now();
                self.oldest_growing.get_or_insert(now);
                self.newest_growing = Some(now);
                Ok(0)
            }
            WalOp::Delete { partition, keys } => {
                let mut deleted = 0;
                for (id, data) in &mut self.partitions {
                    if partition.is_some_and(|only| only != *id) {
                        continue;
                    }
                    for entry in &mut data.segments {
                        let rows = entry.segment.key_index().await?.find(&keys);
                        deleted += entry.delete(rows);
                    }
                    for entry in data.sealing.iter_mut().chain(&mut data.growing.entries) {
                        deleted += entry.delete(&keys)?;
                    }
                }
                Ok(deleted)
            }
        }
    }

    /// Makes the current state visible to readers.
    pub fn publish(&mut self) {
        let sealed = self
            .partitions
            .values()
            .flat_map(|p| p.segments.iter().map(|entry| &entry.unit));
        let growing = self
            .partitions
            .values()
            .flat_map(|p| p.sealing.iter().chain(&p.growing.entries));
        let units: Vec<_> = sealed
            .chain(growing.map(|entry| &entry.unit))
            .map(Arc::clone)
            .collect();
        let snapshot = Snapshot {
            schema: Arc::clone(&self.schema),
            units,
            timestamp: self.last_timestamp,
        };
        self.shared.snapshot.store(Arc::new(snapshot));
        let progress = self
            .state
            .indexes
            .iter()
            .map(|def| (def.id, self.index_progress(def.id)))
            .collect();
        self.shared.indexes.store(Arc::new(progress));
        self.shared.state.store(Arc::new(self.state.clone()));
        self.shared.version.send_modify(|version| *version += 1);
    }

    fn index_progress(&self, id: i64) -> IndexProgress {
        let mut progress = IndexProgress::default();
        for partition in self.partitions.values() {
            for entry in &partition.segments {
                let rows = u64::from(entry.segment.meta.rows);
                progress.total_rows += rows;
                if entry.indexes.values().any(|(built, _)| *built == id) {
                    progress.indexed_rows += rows;
                }
                if let Some(reason) = entry.failed.get(&id) {
                    progress.failure.get_or_insert_with(|| reason.clone());
                }
            }
            progress.total_rows += partition
                .sealing
                .iter()
                .map(|entry| u64::from(entry.unit.rows()))
                .sum::<u64>();
        }
        if self.want_flush && self.flushing.is_none() {
            progress.total_rows += self.growing_rows();
        }
        progress
    }

    /// Changes the collection state and commits it.
    async fn edit_state(&mut self, edit: Edit) -> Result<i64> {
        if let Some(error) = self.failed() {
            return Err(error);
        }
        let mut state = self.state.clone();
        let value = edit(&mut state)?;
        if state != self.state {
            let new_index = state.indexes.len() > self.state.indexes.len();
            self.commit_state(state).await?;
            // A new index should cover what is there, so the growing rows are sealed for it.
            if new_index && self.options.background && self.growing_rows() > 0 {
                self.want_flush = true;
            }
            self.publish();
        }
        Ok(value)
    }

    async fn commit_state(&mut self, state: CollectionState) -> Result<()> {
        let bytes = state.encode()?;
        let kept: Vec<i64> = state.indexes.iter().map(|def| def.id).collect();
        let partitions: Vec<i64> = state.partitions.iter().map(|partition| partition.id).collect();
        self.store
            .commit(|manifest| {
                manifest.state.clone_from(&bytes);
                manifest
                    .segments
                    .retain(|segment| partitions.contains(&segment.partition));
                for segment in &mut manifest.segments {
                    segment.indexes.retain(|file| kept.contains(&file.index_id));
                }
            })
            .await
            .inspect_err(|error| {
                self.failure.get_or_insert_with(|| error.to_string());
            })?;
        for id in &partitions {
            self.partitions.entry(*id).or_default();
        }
        self.partitions.retain(|id, _| partitions.contains(id));
        for entry in self
            .partitions
            .values_mut()
            .flat_map(|partition| &mut partition.segments)
        {
            let before = entry.indexes.len();
            entry.indexes.retain(|_, (id, _)| kept.contains(id));
            entry.failed.retain(|id, _| kept.contains(id));
            if entry.indexes.len() != before {
                entry.refresh();
            }
        }
        self.state = state;
        Ok(())
    }

    async fn drop_partition(&mut self, name: &str) -> Result<()> {
        let name = name.to_string();
        let edit: Edit = Box::new(move |state| {
            let id = state.partition(&name)?.id;
            state.partitions.retain(|partition| partition.id != id);
            Ok(id)
        });
        self.edit_state(edit).await.map(|_| ())
    }

    /// Seals the growing rows when they are large, old, or someone asked.
    fn start_flush_if_due(&mut self) {
        let large = self.options.background && self.growing_bytes() >= self.options.seal_bytes;
        if self.flushing.is_some()
            || self.failure.is_some()
            || self.retry_flush_at.is_some()
            || !(large || self.want_flush)
        {
            return;
        }
        self.want_flush = false;
        self.oldest_growing = None;
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
        self.spawn_flush(work);
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
        if let Err(error) = installed {
            tracing::error!(collection = %self.name, %error, "flush failed, the rows stay in the log and in memory");
            let mut back = 0;
            for partition in self.partitions.values_mut() {
                let mut entries = std::mem::take(&mut partition.sealing);
                back += entries.len();
                partition.growing.bytes += entries
                    .iter()
                    .map(|e| e.chunk.batch.get_array_memory_size())
                    .sum::<usize>();
                partition.growing.rows += entries.iter().map(|e| u64::from(e.unit.rows())).sum::<u64>();
                entries.append(&mut partition.growing.entries);
                partition.growing.entries = entries;
            }
            if back > 0 {
                self.oldest_growing = Some(Instant::now());
                self.newest_growing = self.oldest_growing;
            }
            self.retry_flush_at = Some(Instant::now() + FLUSH_RETRY);
            let reason = error.to_string();
            for (_, reply) in std::mem::take(&mut self.flush_waiters) {
                drop(reply.send(Err(Error::WriterFailed {
                    collection: self.name.clone(),
                    reason: reason.clone(),
                })));
            }
        }
        self.publish();
    }

    async fn install_flush(&mut self, outputs: Vec<FlushOutput>, sequence: u64) -> Result<()> {
        let mut added = Vec::new();
        for output in outputs {
            let Some(segment) = output.segment else { continue };
            let Some(partition) = self.partitions.get(&output.partition) else {
                self.files.abandon(segment.meta.id);
                continue;
            };
            let current = output
                .units
                .iter()
                .zip(&partition.sealing)
                .map(|(unit, entry)| (&**unit, &*entry.deletes));
            let carried = carry_deletes(current);
            added.push((segment, carried));
        }
        let version = self.store.manifest().version + 1;
        let mut new_entries = Vec::with_capacity(added.len());
        let mut metas = Vec::with_capacity(added.len());
        for (segment, deletes) in added {
            let mut meta = segment.meta.clone();
            if !deletes.is_empty() {
                meta.deletes = Some(self.files.write_deletes(meta.id, version, &deletes).await?);
            }
            let persisted = deletes.len();
            metas.push(meta);
            new_entries.push(SegmentEntry::new(segment, deletes, persisted, HashMap::new()));
        }
        let mut dirty = HashMap::new();
        for entry in self.partitions.values().flat_map(|partition| &partition.segments) {
            if entry.deletes.len() != entry.persisted {
                let id = entry.segment.meta.id;
                dirty.insert(id, self.files.write_deletes(id, version, &entry.deletes).await?);
            }
        }
        let last_timestamp = self.last_timestamp;
        self.store
            .commit(|manifest| {
                for segment in &mut manifest.segments {
                    if let Some(deletes) = dirty.get(&segment.id) {
                        segment.deletes = Some(deletes.clone());
                    }
                }
                manifest.segments.extend(metas.iter().cloned());
                manifest.wal_flushed = sequence;
                manifest.last_timestamp = last_timestamp;
            })
            .await
            .inspect_err(|error| {
                self.failure.get_or_insert_with(|| error.to_string());
            })?;
        for entry in self
            .partitions
            .values_mut()
            .flat_map(|partition| &mut partition.segments)
        {
            entry.persisted = entry.deletes.len();
        }
        for entry in new_entries {
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

    /// Removes files that nothing names; failing to is only logged.
    pub async fn collect_garbage(&mut self) {
        self.known_segments.retain(|segment| segment.strong_count() > 0);
        for entry in self.partitions.values().flat_map(|partition| &partition.segments) {
            self.known_segments.push(Arc::downgrade(&entry.segment));
        }
        // Snapshots that readers still hold keep their segments' files.
        let pinned = self
            .known_segments
            .iter()
            .filter_map(Weak::upgrade)
            .map(|segment| segment.meta.id)
            .collect();
        if let Err(error) = self.store.collect_garbage(&pinned, self.options.gc_grace).await {
            tracing::warn!(collection = %self.name, %error, "garbage collection failed, it will be tried again");
        }
    }

    /// Records that the writer cannot go on.
    pub fn fail(&mut self, reason: String) {
        self.failure.get_or_insert(reason);
    }
}

/// The stored form of a batch: with the hidden timestamp column.
fn with_timestamp(stored: &SchemaRef, batch: &RecordBatch, timestamp: Timestamp) -> Result<RecordBatch> {
    let mut columns: Vec<ArrayRef> = batch.columns().to_vec();
    columns.push(Arc::new(UInt64Array::from_value(timestamp, batch.num_rows())));
    Ok(RecordBatch::try_new(Arc::clone(stored), columns)?)
}
