//! One collection, as everything above the engine sees it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{DataType as ArrowType, Field as ArrowField, Int64Type, Schema, SchemaRef};
use elanus_storage::{CollectionStore, Keys, WalOp, encode_ops};
use object_store::ObjectStore;
use parking_lot::RwLock;
use roaring::RoaringBitmap;
use tokio::sync::{mpsc, oneshot};

use crate::background::open_index;
use crate::clock::{Timestamp, TimestampOracle};
use crate::error::{Error, Result};
use crate::index_def::{IndexDef, IndexInfo, IndexSpec, IndexState};
use crate::load::LoadScope;
use crate::load_budget::{Budget, Warmup};
use crate::names::{NameKind, validate_name};
use crate::options::Options;
use crate::partition::{
    DEFAULT_PARTITION, MAX_PARTITIONS, PartitionInfo, partition_of_int, partition_of_text,
};
use crate::rows::{ALLOW_INSERT_AUTO_ID, WriteMode, prepare};
use crate::schema::{CollectionSchema, TIMESTAMP_COLUMN};
use crate::segment::SealedSegment;
use crate::snapshot::Snapshot;
use crate::state::CollectionState;
use crate::writer::{Edit, PartitionData, Request, SegmentEntry, Shared, Writer, WriterParts};

/// Requests that may wait for the writer before senders wait too.
const QUEUE: usize = 1_024;
/// Batches above this size are checked and encoded off the calling thread.
const INLINE_BYTES: usize = 256 << 10;

/// What a write did.
#[derive(Debug, Clone)]
pub struct WriteResult {
    /// Keys of the rows written (insert, upsert) or asked to be deleted.
    pub keys: Keys,
    /// Rows inserted by an insert or upsert; rows removed by a delete.
    pub rows: u64,
    /// Rows removed (delete, upsert).
    pub deleted: u64,
    /// Timestamp of the write; later reads see it.
    pub timestamp: Timestamp,
}

/// What all collections of one engine share.
pub(crate) struct Context {
    pub store: Arc<dyn ObjectStore>,
    pub options: Arc<Options>,
    pub oracle: Arc<TimestampOracle>,
    pub budget: Arc<Budget>,
    pub maintenance_permits: Arc<tokio::sync::Semaphore>,
}

/// A collection. All methods may be called from any task; writes are ordered by its one writer.
pub struct Collection {
    id: i64,
    names: RwLock<(String, String)>,
    created_ts: Timestamp,
    schema: Arc<CollectionSchema>,
    arrow_schema: SchemaRef,
    pub(crate) shared: Arc<Shared>,
    requests: mpsc::Sender<Request>,
    oracle: Arc<TimestampOracle>,
    pub(crate) budget: Arc<Budget>,
    pub(crate) warmup: Arc<Warmup>,
}

impl std::fmt::Debug for Collection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Collection")
            .field("id", &self.id)
            .field("name", &self.name())
            .finish_non_exhaustive()
    }
}

impl Collection {
    /// Writes the files of a new collection.
    pub(crate) async fn create(
        context: &Context,
        id: i64,
        database: &str,
        name: &str,
        created_ts: Timestamp,
        schema: &CollectionSchema,
        state: &CollectionState,
    ) -> Result<Arc<Self>> {
        let store =
            CollectionStore::create(Arc::clone(&context.store), id, schema.to_arrow(), state.encode()?)
                .await?;
        Self::start(context, store, Vec::new(), database, name, created_ts).await
    }

    /// Opens a collection from its files and replays its log.
    pub(crate) async fn open(
        context: &Context,
        id: i64,
        database: &str,
        name: &str,
        created_ts: Timestamp,
    ) -> Result<Arc<Self>> {
        let (store, recovered) = CollectionStore::open(Arc::clone(&context.store), id).await?;
        Self::start(context, store, recovered.entries, database, name, created_ts).await
    }

    async fn start(
        context: &Context,
        store: CollectionStore,
        wal: Vec<elanus_storage::WalEntry>,
        database: &str,
        name: &str,
        created_ts: Timestamp,
    ) -> Result<Arc<Self>> {
        let manifest = store.manifest();
        let id = manifest.collection;
        let schema = Arc::new(CollectionSchema::from_arrow(&manifest.schema)?);
        let state = CollectionState::decode(&manifest.state)?;
        let arrow_schema = schema.to_arrow();
        let stored_schema = stored_schema(&arrow_schema);
        let primary_key = schema.primary_key()?.name.clone();
        let files = store.files();
        let mut partitions: BTreeMap<i64, PartitionData> = BTreeMap::new();
        for meta in &manifest.segments {
            let deletes = match &meta.deletes {
                Some(deletes) => files.read_deletes(meta.id, deletes).await?,
                None => RoaringBitmap::new(),
            };
            let segment = SealedSegment::open(
                files.clone(),
                meta.clone(),
                Arc::clone(&stored_schema),
                &primary_key,
            )
            .await?;
            let mut indexes = HashMap::new();
            for file in &meta.indexes {
                match open_index(&files, meta.id, file).await {
                    Ok(index) => {
                        indexes.insert(file.field.clone(), (file.index_id, index));
                    }
                    // Without its index the segment is searched exactly until it is built again.
                    Err(error) => {
                        tracing::warn!(collection = name, %error, "index file is not usable, it will be rebuilt")
                    }
                }
            }
            let persisted = deletes.len();
            let entry = SegmentEntry::new(Arc::new(segment), deletes, persisted, indexes);
            partitions.entry(meta.partition).or_default().segments.push(entry);
        }
        let loaded = state.load.clone();
        let parts = WriterParts {
            name: name.to_string(),
            store,
            options: Arc::clone(&context.options),
            oracle: Arc::clone(&context.oracle),
            schema: Arc::clone(&arrow_schema),
            stored_schema,
            primary_key,
            state,
            partitions,
            maintenance_permits: Arc::clone(&context.maintenance_permits),
        };
        let (writer, events, shared) = Writer::start(parts, wal).await?;
        let (requests, receiver) = mpsc::channel(QUEUE);
        tokio::spawn(writer.run(receiver, events));
        let collection = Arc::new(Self {
            id,
            names: RwLock::new((database.to_string(), name.to_string())),
            created_ts,
            schema,
            arrow_schema,
            shared,
            requests,
            oracle: Arc::clone(&context.oracle),
            budget: Arc::clone(&context.budget),
            warmup: Arc::default(),
        });
        if loaded != LoadScope::None {
            collection.warm_up(&loaded, None);
        }
        Ok(collection)
    }

    /// Id, never reused.
    pub fn id(&self) -> i64 {
        self.id
    }

    /// Name now; a collection can be renamed.
    pub fn name(&self) -> String {
        self.names.read().1.clone()
    }

    /// Database now.
    pub fn database(&self) -> String {
        self.names.read().0.clone()
    }

    pub(crate) fn renamed(&self, database: &str, name: &str) {
        *self.names.write() = (database.to_string(), name.to_string());
    }

    /// Fields and rules.
    pub fn schema(&self) -> &Arc<CollectionSchema> {
        &self.schema
    }

    /// The schema as Arrow, without hidden columns.
    pub fn arrow_schema(&self) -> &SchemaRef {
        &self.arrow_schema
    }

    /// When it was made.
    pub fn created_ts(&self) -> Timestamp {
        self.created_ts
    }

    /// The number of shards asked for at creation (recorded; rows are not sharded on one machine).
    pub fn shards(&self) -> i32 {
        self.shared.state.load().shards
    }

    /// The consistency level asked for at creation, as Milvus numbers it; reads are always strong.
    pub fn consistency(&self) -> i32 {
        self.shared.state.load().consistency
    }

    /// Properties by name.
    pub fn properties(&self) -> BTreeMap<String, String> {
        self.shared.state.load().properties.clone()
    }

    /// Sets and removes properties.
    ///
    /// # Errors
    /// A storage error.
    pub async fn alter_properties(&self, set: BTreeMap<String, String>, unset: &[String]) -> Result<()> {
        let unset = unset.to_vec();
        self.edit(Box::new(move |state| {
            state.properties.extend(set);
            state.properties.retain(|key, _| !unset.contains(key));
            Ok(0)
        }))
        .await
        .map(|_| ())
    }

    /// The current state for readers.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.shared.snapshot.load_full()
    }

    /// Rows that are not deleted, exactly.
    pub fn row_count(&self) -> u64 {
        self.snapshot().live_rows()
    }

    // ---- partitions ----

    /// All partitions, oldest first.
    pub fn partitions(&self) -> Vec<PartitionInfo> {
        self.shared.state.load().partitions.clone()
    }

    /// The partition of this name.
    ///
    /// # Errors
    /// [`Error::PartitionNotFound`].
    pub fn partition(&self, name: &str) -> Result<PartitionInfo> {
        self.shared.state.load().partition(name).cloned()
    }

    /// Ids of these partitions.
    ///
    /// # Errors
    /// [`Error::PartitionNotFound`].
    pub fn partition_ids(&self, names: &[String]) -> Result<Vec<i64>> {
        self.shared.state.load().partition_ids(names)
    }

    /// Makes a partition.
    ///
    /// # Errors
    /// A bad name, a name in use, too many partitions, or a collection with a partition key.
    pub async fn create_partition(&self, name: &str) -> Result<()> {
        self.refuse_with_partition_key("create partition")?;
        validate_name(NameKind::Partition, name)?;
        let created_ts = self.oracle.next();
        let name = name.to_string();
        self.edit(Box::new(move |state| {
            if state.partition(&name).is_ok() {
                return Err(Error::PartitionExists { name });
            }
            if state.partitions.len() >= MAX_PARTITIONS {
                return Err(Error::LimitExceeded(format!(
                    "partition number exceeds max configuration ({MAX_PARTITIONS})"
                )));
            }
            let id = state.take_id();
            state.partitions.push(PartitionInfo { id, name, created_ts });
            Ok(id)
        }))
        .await
        .map(|_| ())
    }

    /// Drops a partition with its rows.
    ///
    /// # Errors
    /// The default partition, a loaded partition, an unknown name, or a collection with a partition key.
    pub async fn drop_partition(&self, name: &str) -> Result<()> {
        self.refuse_with_partition_key("drop partition")?;
        if name == DEFAULT_PARTITION {
            return Err(Error::InvalidParameter(
                "default partition cannot be deleted".into(),
            ));
        }
        let partition = self.partition(name)?;
        if self.shared.state.load().load.covers(partition.id) {
            return Err(Error::StillLoaded {
                what: format!("partition '{name}' cannot be dropped: it"),
            });
        }
        let (reply, answer) = oneshot::channel();
        self.send(Request::DropPartition {
            name: name.to_string(),
            reply,
        })
        .await?;
        self.receive(answer).await
    }

    fn refuse_with_partition_key(&self, what: &str) -> Result<()> {
        match self.schema.partition_key() {
            Some(_) => Err(Error::InvalidParameter(format!(
                "disable {what} if partition key mode is used"
            ))),
            None => Ok(()),
        }
    }

    // ---- indexes ----

    /// Defines an index; builds run in the background.
    ///
    /// Asking again for the same index changes nothing.
    ///
    /// # Errors
    /// An unknown field, a type or parameter the field does not allow, or another index on it.
    pub async fn create_index(&self, spec: &IndexSpec) -> Result<()> {
        let field = self.field(&spec.field)?;
        let mut def = IndexDef::check(spec, field)?;
        validate_name(NameKind::Index, &def.name)?;
        def.created_ts = self.oracle.next();
        let named = spec.name.as_deref().is_some_and(|name| !name.is_empty());
        self.edit(Box::new(move |state| {
            for other in &state.indexes {
                if other.same_as(&def) {
                    return Ok(other.id);
                }
                if other.name == def.name && other.field != def.field {
                    return Err(Error::IndexExists(format!(
                        "CreateIndex failed: index '{}' already exists on field '{}'",
                        other.name, other.field
                    )));
                }
                if other.field == def.field {
                    return Err(Error::IndexExists(if named && other.name != def.name {
                        "CreateIndex failed: creating multiple indexes on same field is not supported".to_string()
                    } else {
                        format!(
                            "at most one distinct index is allowed per field: field '{}' has index '{}' of type {}, drop it first",
                            other.field, other.name, other.index_type
                        )
                    }));
                }
            }
            def.id = state.take_id();
            let id = def.id;
            state.indexes.push(def);
            Ok(id)
        }))
        .await
        .map(|_| ())
    }

    /// Drops an index by its name or its field's name.
    ///
    /// # Errors
    /// [`Error::IndexNotFound`], or [`Error::StillLoaded`] for a vector index of a loaded collection.
    pub async fn drop_index(&self, name: &str) -> Result<()> {
        let collection = self.name();
        let name = name.to_string();
        self.edit(Box::new(move |state| {
            let Some(at) = state
                .indexes
                .iter()
                .position(|def| def.name == name || def.field == name)
            else {
                return Err(Error::IndexNotFound {
                    collection,
                    index: name,
                });
            };
            if state.indexes[at].metric.is_some() && state.load != LoadScope::None {
                return Err(Error::StillLoaded {
                    what: format!("vector index '{name}' cannot be dropped: collection '{collection}'"),
                });
            }
            Ok(state.indexes.remove(at).id)
        }))
        .await
        .map(|_| ())
    }

    /// All indexes and how far they are.
    pub fn indexes(&self) -> Vec<IndexInfo> {
        let state = self.shared.state.load();
        let progress = self.shared.indexes.load();
        let building = self.shared.building.load();
        let live = self.row_count();
        state
            .indexes
            .iter()
            .map(|def| {
                let built = def.build();
                let progress = progress.get(&def.id).cloned().unwrap_or_default();
                let (mut indexed, total) = match built {
                    Some(_) => (progress.indexed_rows, progress.total_rows),
                    None => (live, live),
                };
                if let Some(control) = building.as_ref()
                    && built.is_some()
                    && i64::try_from(control.index_id.load(std::sync::atomic::Ordering::Relaxed))
                        == Ok(def.id)
                {
                    // A build that has seen its last row is still to be written: not all are indexed yet.
                    let rows_done = control.rows_done.load(std::sync::atomic::Ordering::Relaxed);
                    indexed = (indexed + rows_done).min(total.saturating_sub(1)).max(indexed);
                }
                let finished = built.is_none() || progress.indexed_rows == total;
                let index_state = match (&progress.failure, finished) {
                    (Some(_), false) => IndexState::Failed,
                    (_, true) => IndexState::Finished,
                    (None, false) => IndexState::InProgress,
                };
                IndexInfo {
                    id: def.id,
                    name: def.name.clone(),
                    field: def.field.clone(),
                    index_type: def.index_type.clone(),
                    metric: built.as_ref().map(|(metric, _)| *metric),
                    params: def.params.clone(),
                    build: built.map(|(_, params)| params),
                    total_rows: total,
                    indexed_rows: indexed,
                    pending_rows: total - indexed,
                    state: index_state,
                    fail_reason: progress.failure.unwrap_or_default(),
                }
            })
            .collect()
    }

    fn field(&self, name: &str) -> Result<&crate::types::Field> {
        self.schema.field(name).ok_or_else(|| {
            let mut near: Vec<_> = self
                .schema
                .fields
                .iter()
                .filter(|field| strsim::jaro_winkler(&field.name, name) > 0.8)
                .map(|field| field.name.clone())
                .collect();
            near.truncate(2);
            Error::FieldNotFound {
                field: name.to_string(),
                near,
            }
        })
    }

    // ---- rows ----

    /// Adds rows. Columns are matched by name; see the crate's row rules for what may be left out.
    ///
    /// # Errors
    /// [`Error::InvalidData`] and others; nothing is written then. A returned result is durable.
    pub async fn insert(&self, rows: RecordBatch, partition: Option<&str>) -> Result<WriteResult> {
        self.write(rows, partition, WriteMode::Insert).await
    }

    /// Puts rows in the place of those with the same key, in one atomic step.
    ///
    /// # Errors
    /// As [`Collection::insert`]; also a key given twice.
    pub async fn upsert(&self, rows: RecordBatch, partition: Option<&str>) -> Result<WriteResult> {
        self.write(rows, partition, WriteMode::Upsert).await
    }

    async fn write(
        &self,
        rows: RecordBatch,
        partition: Option<&str>,
        mode: WriteMode,
    ) -> Result<WriteResult> {
        let targets = self.targets(partition)?;
        let accept_auto_id = self
            .shared
            .state
            .load()
            .properties
            .get(ALLOW_INSERT_AUTO_ID)
            .is_some_and(|value| value == "true");
        let schema = Arc::clone(&self.schema);
        let arrow = Arc::clone(&self.arrow_schema);
        let oracle = Arc::clone(&self.oracle);
        let large = rows.get_array_memory_size() > INLINE_BYTES;
        let work = move || -> Result<_> {
            let prepared = prepare(&schema, &arrow, &rows, mode, accept_auto_id, |count| {
                oracle.reserve(count)
            })?;
            let mut ops = Vec::new();
            if let Some(keys) = prepared.replaced {
                ops.push(WalOp::Delete {
                    partition: targets.only(),
                    keys,
                });
            }
            ops.extend(targets.split(&schema, prepared.batch)?);
            let encoded = encode_ops(&ops)?;
            Ok((prepared.keys, rows.num_rows() as u64, ops, encoded))
        };
        let (keys, rows, ops, encoded) = if large { blocking(work).await? } else { work()? };
        let (reply, answer) = oneshot::channel();
        self.send(Request::Write { ops, encoded, reply }).await?;
        let written = self.receive(answer).await?;
        Ok(WriteResult {
            keys,
            rows,
            deleted: written.deleted,
            timestamp: written.timestamp,
        })
    }

    /// Removes the rows of these keys, in these partitions or (`None`) in all.
    ///
    /// # Errors
    /// [`Error::InvalidData`] when the keys are of another type than the primary key.
    pub async fn delete(&self, keys: Keys, partitions: Option<Vec<i64>>) -> Result<WriteResult> {
        let key = self.schema.primary_key()?;
        let fits = match &keys {
            Keys::Int64(_) => key.data_type == crate::types::DataType::Int64,
            Keys::VarChar(_) => key.data_type != crate::types::DataType::Int64,
        };
        if !fits {
            return Err(Error::InvalidData(format!(
                "keys do not fit the primary field '{}' of type {}",
                key.name,
                key.data_type.name()
            )));
        }
        let ops: Vec<_> = match partitions {
            None => vec![WalOp::Delete {
                partition: None,
                keys: keys.clone(),
            }],
            Some(ids) => ids
                .iter()
                .map(|id| WalOp::Delete {
                    partition: Some(*id),
                    keys: keys.clone(),
                })
                .collect(),
        };
        if keys.is_empty() || ops.is_empty() {
            let timestamp = self.snapshot().timestamp;
            return Ok(WriteResult {
                keys,
                rows: 0,
                deleted: 0,
                timestamp,
            });
        }
        let encoded = encode_ops(&ops)?;
        let (reply, answer) = oneshot::channel();
        self.send(Request::Write { ops, encoded, reply }).await?;
        let written = self.receive(answer).await?;
        Ok(WriteResult {
            keys,
            rows: written.deleted,
            deleted: written.deleted,
            timestamp: written.timestamp,
        })
    }

    fn targets(&self, partition: Option<&str>) -> Result<Targets> {
        let state = self.shared.state.load();
        let named = partition.filter(|name| !name.is_empty());
        if let Some(field) = self.schema.partition_key() {
            if named.is_some() {
                return Err(Error::InvalidParameter(
                    "not support manually specifying the partition names if partition key mode is used"
                        .into(),
                ));
            }
            let ids = state.partitions.iter().map(|partition| partition.id).collect();
            return Ok(Targets::ByKey {
                field: field.name.clone(),
                ids,
            });
        }
        let id = state.partition(named.unwrap_or(DEFAULT_PARTITION))?.id;
        Ok(Targets::One(id))
    }

    // ---- writer ----

    /// Puts every acknowledged row into segments.
    ///
    /// # Errors
    /// A storage error.
    pub async fn flush(&self) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        self.send(Request::Flush { reply }).await?;
        self.receive(answer).await
    }

    /// Merges the segments of each partition and drops deleted rows for good.
    ///
    /// # Errors
    /// A storage error.
    pub async fn compact(&self) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        self.send(Request::Compact { reply }).await?;
        self.receive(answer).await
    }

    /// Waits until no flush, index build or compaction is running or due.
    ///
    /// # Errors
    /// A storage error.
    pub async fn settle(&self) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        self.send(Request::Settle { reply }).await?;
        self.receive(answer).await
    }

    /// Stops the writer; what was acknowledged is durable.
    pub(crate) async fn close(&self) {
        let (reply, answer) = oneshot::channel();
        if self.requests.send(Request::Close { reply }).await.is_ok() {
            drop(answer.await);
        }
        // The writer owns the only receiver: it is gone once the channel is closed.
        self.requests.closed().await;
    }

    pub(crate) async fn edit(&self, edit: Edit) -> Result<i64> {
        let (reply, answer) = oneshot::channel();
        self.send(Request::Edit { edit, reply }).await?;
        self.receive(answer).await
    }

    async fn send(&self, request: Request) -> Result<()> {
        self.requests
            .send(request)
            .await
            .map_err(|_| Error::Closed(self.name()))
    }

    async fn receive<T>(&self, answer: oneshot::Receiver<Result<T>>) -> Result<T> {
        answer.await.unwrap_or_else(|_| Err(Error::Closed(self.name())))
    }
}

/// Which partitions a write goes to.
enum Targets {
    One(i64),
    ByKey { field: String, ids: Vec<i64> },
}

impl Targets {
    /// The partition that replaced rows are looked for in; `None`: all.
    fn only(&self) -> Option<i64> {
        match self {
            Self::One(id) => Some(*id),
            Self::ByKey { .. } => None,
        }
    }

    fn split(&self, schema: &CollectionSchema, batch: RecordBatch) -> Result<Vec<WalOp>> {
        let (field, ids) = match self {
            Self::One(partition) => {
                return Ok(vec![WalOp::Insert {
                    partition: *partition,
                    batch,
                }]);
            }
            Self::ByKey { field, ids } => (field, ids),
        };
        let column = schema
            .field(field)
            .and_then(|field| batch.column_by_name(&field.name))
            .ok_or_else(|| Error::FieldNotFound {
                field: field.clone(),
                near: Vec::new(),
            })?;
        let mut rows_of: Vec<Vec<u32>> = vec![Vec::new(); ids.len()];
        for (row, bucket) in buckets(column, ids.len()).enumerate() {
            if let Some(rows) = rows_of.get_mut(bucket) {
                rows.push(u32::try_from(row).unwrap_or(u32::MAX));
            }
        }
        let mut ops = Vec::new();
        for (partition, rows) in ids.iter().zip(rows_of) {
            if !rows.is_empty() {
                let batch = take_record_batch(&batch, &UInt32Array::from(rows))?;
                ops.push(WalOp::Insert {
                    partition: *partition,
                    batch,
                });
            }
        }
        Ok(ops)
    }
}

fn buckets(column: &ArrayRef, count: usize) -> Box<dyn Iterator<Item = usize> + '_> {
    if let Some(keys) = column.as_primitive_opt::<Int64Type>() {
        return Box::new(keys.values().iter().map(move |key| partition_of_int(*key, count)));
    }
    match column.as_string_opt::<i32>() {
        Some(keys) => Box::new(
            keys.iter()
                .map(move |key| partition_of_text(key.unwrap_or_default(), count)),
        ),
        None => Box::new(std::iter::repeat_n(0, column.len())),
    }
}

/// The schema of stored rows: the collection's fields and the hidden timestamp.
pub(crate) fn stored_schema(schema: &SchemaRef) -> SchemaRef {
    let mut fields: Vec<_> = schema.fields().iter().cloned().collect();
    fields.push(Arc::new(ArrowField::new(
        TIMESTAMP_COLUMN,
        ArrowType::UInt64,
        false,
    )));
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| Error::InvalidData(format!("the write stopped before it began: {e}")))?
}
