//! The one writer of a collection: a task that owns its manifest, its log and its growing rows.
//!
//! ```text
//!  insert, update, delete ──► group ──► WAL append (one fsync) ──► growing rows ──► publish ──► ack
//!  flush ───────────────────► seal growing rows ──► background merge ──► commit (segments, deletes, WAL mark)
//!  create index, load, ... ─► edit of the collection state ──► commit
//! ```
//!
//! Readers never wait for it: after each step it publishes a new immutable [`Snapshot`]. Slow work
//! (writing segments, building indexes, compaction) runs beside it and reports back as an event;
//! only this task changes what the collection is.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use arrow::datatypes::SchemaRef;
use elanus_storage::{CollectionStore, EncodedOps, SegmentFiles, SegmentId, WalEntry, WalOp};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::alteration::Alteration;
use crate::background::{BuildControl, Event, Maintenance};
use crate::clock::{Timestamp, TimestampOracle};
use crate::error::{Error, Result};
use crate::options::Options;
use crate::snapshot::{Snapshot, SnapshotInfo};
use crate::state::CollectionState;

mod alter;
mod apply;
mod edit;
mod entry;
mod flush;
mod group;
mod past;
mod recover;

use alter::Pending;
pub(crate) use alter::{Successor, request_channel};
pub(crate) use entry::{PartitionData, Pins, SegmentEntry};
use flush::FailedFlush;
use group::Group;
pub(crate) use past::Past;
use recover::Failure;

/// Most bytes of one group commit.
const GROUP_BYTES: usize = 32 << 20;

/// A change of the collection state; returns an id the caller asked for (or 0).
pub(crate) type Edit = Box<dyn FnOnce(&mut CollectionState) -> Result<i64> + Send>;
type Reply<T> = oneshot::Sender<Result<T>>;

/// What the writer is asked to do.
pub(crate) enum Request {
    Write(Write),
    Edit {
        edit: Edit,
        reply: Reply<i64>,
    },
    Alter {
        changes: Vec<Alteration>,
        reply: Reply<()>,
    },
    /// Keeps the state of now under a name.
    Keep {
        name: String,
        reply: Reply<SnapshotInfo>,
    },
    /// Opens the state of an earlier manifest.
    OpenPast {
        version: u64,
        reply: Reply<Past>,
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

/// One atomic write. Rows that it removes or updates must be there as they are named, or it is refused as a whole.
pub(crate) struct Write {
    pub ops: Vec<WalOp>,
    /// The operations as the log keeps them.
    pub encoded: EncodedOps,
    /// Whether it is a conflict when there is a row with the key of a new one.
    pub new_keys: bool,
    pub reply: Reply<Written>,
}

/// Outcome of a write.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Written {
    pub timestamp: Timestamp,
    /// Rows deleted, removed or updated.
    pub changed: u64,
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
    /// Counts the schemas of the collection in this process.
    pub schema_version: u64,
    /// What takes the place of all this once the schema has changed.
    pub successor: OnceLock<Successor>,
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
    /// While a compaction that someone asked for is not done: the segments there were then, and true with the ones that
    /// were made of those for it.
    pub to_compact: Option<HashMap<SegmentId, bool>>,
    /// Why the newest compaction failed; none is started by itself until a flush succeeds or someone asks.
    pub compaction_failed: Option<String>,
    /// Keeps the files of segments that a snapshot still holds.
    pub pins: Pins,
    chunk_ids: Arc<AtomicU64>,
    last_sequence: u64,
    /// The last sequence in the flush that runs.
    flushing: Option<u64>,
    want_flush: bool,
    failed_flush: Option<FailedFlush>,
    flush_waiters: Vec<(u64, Reply<()>)>,
    compact_waiters: Vec<Reply<()>>,
    settle_waiters: Vec<Reply<()>>,
    /// When the oldest row or delete that only the log has was written.
    oldest_unflushed: Option<Instant>,
    newest_growing: Option<Instant>,
    /// What waits until all rows are in segments; requests wait with it.
    pending: Option<Pending>,
    /// Why nothing can be written.
    failure: Option<Failure>,
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
    pub maintenance_permits: Arc<tokio::sync::Semaphore>,
    /// Source of the numbers of growing chunks, one for all collections: no two chunks of a process share one.
    pub chunk_ids: Arc<AtomicU64>,
}

impl Writer {
    /// A writer of what manifest and log have; publishes the first snapshot.
    pub async fn start(
        parts: WriterParts,
        wal: Vec<WalEntry>,
    ) -> Result<(Self, mpsc::UnboundedReceiver<Event>, Arc<Shared>)> {
        let (events, event_receiver) = mpsc::unbounded_channel();
        let manifest = parts.store.manifest();
        let state = CollectionState::decode(&manifest.state)?;
        let snapshot = Snapshot {
            schema: Arc::clone(&parts.schema),
            units: Vec::new(),
            timestamp: 0,
        };
        let shared = Arc::new(Shared {
            snapshot: ArcSwap::from_pointee(snapshot),
            state: ArcSwap::from_pointee(state.clone()),
            indexes: ArcSwap::default(),
            building: ArcSwap::from_pointee(None),
            schema_version: 0,
            successor: OnceLock::new(),
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
            state,
            partitions: BTreeMap::new(),
            last_timestamp: 0,
            events,
            maintenance_permits: parts.maintenance_permits,
            maintenance: None,
            to_compact: None,
            compaction_failed: None,
            pins: Pins::default(),
            chunk_ids: parts.chunk_ids,
            last_sequence: 0,
            flushing: None,
            want_flush: false,
            failed_flush: None,
            flush_waiters: Vec::new(),
            compact_waiters: Vec::new(),
            settle_waiters: Vec::new(),
            oldest_unflushed: None,
            newest_growing: None,
            pending: None,
            failure: None,
        };
        writer.recover(&manifest, wal).await?;
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
            if let Some(of_new_schema) = self.reopen_if_due().await {
                requests = of_new_schema;
            }
            self.start_flush_if_due();
            if let Some(of_new_schema) = self.pending_if_ready().await {
                // What still waits in the old channel was made for the old schema: dropping it answers it.
                requests = of_new_schema;
            }
            self.schedule_maintenance();
            self.answer_waiters();
            let wake = self.reopen_at().or_else(|| self.flush_at());
            tokio::select! {
                biased;
                Some(event) = events.recv() => self.handle_event(event).await,
                request = requests.recv(), if !self.throttled() && self.pending.is_none() => match request {
                    None => break,
                    Some(Request::Close { reply }) => {
                        self.cancel_maintenance();
                        reply.send(()).ok();
                        break;
                    }
                    Some(Request::Write(write)) => self.handle_writes(write, &mut requests).await,
                    Some(request) => self.handle_request(request).await,
                },
                () = tokio::time::sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {}
            }
        }
    }

    /// Whether requests wait until the rows being sealed are on disk.
    fn throttled(&self) -> bool {
        self.flushing.is_some() && self.full()
    }

    /// Whether so many rows wait in memory that no more should come.
    fn full(&self) -> bool {
        self.growing_bytes() > self.options.seal_bytes.saturating_mul(2)
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

    async fn handle_request(&mut self, request: Request) {
        match request {
            Request::Edit { edit, reply } => {
                let result = self.edit_state(edit).await;
                drop(reply.send(result));
            }
            Request::Alter { changes, reply } => self.begin_alter(&changes, reply).await,
            Request::Keep { name, reply } => self.begin_keep(name, reply),
            Request::OpenPast { version, reply } => {
                let opened = self.open_past(version).await;
                drop(reply.send(opened));
            }
            Request::Flush { reply } => {
                self.flush_now();
                self.flush_waiters.push((self.last_sequence, reply));
            }
            Request::Compact { reply } => {
                let segments = self.partitions.values().flat_map(|partition| &partition.segments);
                let ids = segments.map(|entry| (entry.segment.meta.id, false));
                self.to_compact.get_or_insert_default().extend(ids);
                if let Some(job) = &mut self.maintenance {
                    // What it took up may have changed since.
                    job.as_asked = false;
                }
                self.compaction_failed = None;
                self.compact_waiters.push(reply);
            }
            Request::Settle { reply } => self.settle_waiters.push(reply),
            Request::Write(write) => drop(write.reply.send(Err(Error::Closed(self.name.clone())))),
            Request::Close { reply } => drop(reply.send(())),
        }
    }

    fn flush_now(&mut self) {
        self.want_flush = true;
        if let Some(failed) = &mut self.failed_flush {
            failed.retry_at = Instant::now();
        }
    }

    /// Whether someone asked for index builds to be driven even without background work.
    pub fn driven(&self) -> bool {
        self.options.background || !self.settle_waiters.is_empty() || !self.compact_waiters.is_empty()
    }

    fn answer_waiters(&mut self) {
        if self.failure.is_some() {
            let waiters = std::mem::take(&mut self.flush_waiters)
                .into_iter()
                .map(|(_, reply)| reply);
            let waiters = waiters
                .chain(std::mem::take(&mut self.compact_waiters))
                .chain(std::mem::take(&mut self.settle_waiters));
            for reply in waiters {
                drop(reply.send(self.failed().map_or(Ok(()), Err)));
            }
            return;
        }
        let flushed = self.store.manifest().wal_flushed;
        let (done, waiting) = std::mem::take(&mut self.flush_waiters)
            .into_iter()
            .partition(|(sequence, _)| *sequence <= flushed);
        self.flush_waiters = waiting;
        for (_, reply) in done {
            drop(reply.send(Ok(())));
        }
        if self.maintenance.is_some() {
            return;
        }
        if self.to_compact.is_none() {
            for reply in std::mem::take(&mut self.compact_waiters) {
                let failed = self
                    .compaction_failed
                    .clone()
                    .map(|reason| Error::CompactionFailed {
                        collection: self.name.clone(),
                        reason,
                    });
                drop(reply.send(failed.map_or(Ok(()), Err)));
            }
        }
        if self.flushing.is_none() && !self.want_flush && self.failed_flush.is_none() {
            for reply in std::mem::take(&mut self.settle_waiters) {
                drop(reply.send(Ok(())));
            }
        }
    }

    /// The answer to whoever wants something written after the writer has failed.
    pub fn failed(&self) -> Option<Error> {
        self.failure.as_ref().map(|failure| Error::WriterFailed {
            collection: self.name.clone(),
            reason: failure.reason.clone(),
        })
    }

    /// Appends this write and those queued behind it as one durable group.
    async fn handle_writes(&mut self, first: Write, requests: &mut mpsc::Receiver<Request>) {
        let mut bytes = first.encoded.len();
        let mut group = vec![first];
        let mut after = None;
        while bytes < GROUP_BYTES {
            match requests.try_recv() {
                Ok(Request::Write(write)) => {
                    bytes += write.encoded.len();
                    group.push(write);
                }
                Ok(other) => {
                    after = Some(other);
                    break;
                }
                Err(_) => break,
            }
        }
        self.append_all(group).await;
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

    /// Appends writes as durable groups: one, as long as none depends on another one before it.
    async fn append_all(&mut self, mut writes: Vec<Write>) {
        while !writes.is_empty() {
            writes = self.append_group(writes).await;
        }
    }

    /// Appends writes as one durable group; gives back those that have to come after it.
    async fn append_group(&mut self, writes: Vec<Write>) -> Vec<Write> {
        let mut group = Group::default();
        let mut accepted = Vec::with_capacity(writes.len());
        let mut later = Vec::new();
        for write in writes {
            if group.meets(&write, self.unique_key()) {
                later.push(write);
                continue;
            }
            match self.admit(&write).await {
                Ok(()) => {
                    group.add(&write.ops, self.unique_key());
                    let versions: u64 = write.ops.iter().map(WalOp::new_versions).sum();
                    accepted.push((self.oracle.reserve(versions), write));
                }
                Err(error) => drop(write.reply.send(Err(error))),
            }
        }
        if accepted.is_empty() {
            return later;
        }
        let frames = accepted
            .iter()
            .map(|(timestamp, write)| (*timestamp, write.encoded.clone()))
            .collect();
        match self.store.append(frames).await {
            Ok(sequences) => self.last_sequence = sequences.last().copied().unwrap_or(self.last_sequence),
            Err(error) => {
                drop(self.stopped_by(error.clone()));
                for (_, write) in accepted {
                    drop(write.reply.send(Err(error.clone().into())));
                }
                return later;
            }
        }
        let mut replies = Vec::with_capacity(accepted.len());
        for (first, write) in accepted {
            let mut changed = 0;
            let mut next = first;
            let mut result = Ok(());
            for op in write.ops {
                let versions = op.new_versions();
                match self.apply(op, next).await {
                    Ok(count) => changed += count,
                    Err(error) => {
                        // Durable but not visible: memory and log differ, so nothing more may be written.
                        self.fail(error.to_string());
                        result = Err(error);
                        break;
                    }
                }
                next += versions;
            }
            let timestamp = first.max(next.saturating_sub(1));
            self.last_timestamp = timestamp;
            replies.push((write.reply, result.map(|()| Written { timestamp, changed })));
        }
        self.publish();
        for (reply, result) in replies {
            drop(reply.send(result));
        }
        later
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
    }

    fn index_progress(&self, id: i64) -> IndexProgress {
        let mut progress = IndexProgress::default();
        for partition in self.partitions.values() {
            for entry in &partition.segments {
                let rows = u64::from(entry.segment.meta.rows);
                progress.total_rows += rows;
                if entry.indexes.contains_key(&id) {
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

    /// Notes that a failed write or commit has stopped the writer. One that was refused beforehand has not.
    pub fn stopped_by(&mut self, error: elanus_storage::Error) -> Error {
        if self.store.stopped().is_some() {
            self.fail(error.to_string());
        }
        error.into()
    }
}
