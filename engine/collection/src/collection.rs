//! One collection, as everything above the engine sees it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use arrow::datatypes::SchemaRef;
use elanus_storage::{CollectionStore, WalFiles};
use object_store::ObjectStore;
use parking_lot::RwLock;
use tokio::sync::{mpsc, oneshot};

use crate::clock::{Timestamp, TimestampOracle};
use crate::error::{Error, Result};
use crate::load::LoadScope;
use crate::load_budget::{Budget, Warmup};
use crate::names::{NameKind, validate_name};
use crate::options::Options;
use crate::partition::{DEFAULT_PARTITION, MAX_PARTITIONS, PartitionInfo};
use crate::rows::UNIQUE_KEY;
use crate::schema::CollectionSchema;
use crate::snapshot::Snapshot;
use crate::state::CollectionState;
use crate::stored_names::{physical_schema, stored_schema};
use crate::writer::{Edit, Request, Shared, Writer, WriterParts, request_channel};

mod alter;
mod bulk;
mod indexes;
mod past;
mod rows;

use past::Opened;
pub use rows::{Change, ChangeResult, WriteResult};

/// What all collections of one engine share.
pub(crate) struct Context {
    pub store: Arc<dyn ObjectStore>,
    pub options: Arc<Options>,
    pub oracle: Arc<TimestampOracle>,
    pub budget: Arc<Budget>,
    pub maintenance_permits: Arc<tokio::sync::Semaphore>,
    pub chunk_ids: Arc<AtomicU64>,
}

/// A collection, with one schema. All methods may be called from any task; writes are ordered by its one writer.
///
/// When the collection is altered, what is asked of this handle is answered with [`Error::SchemaChanged`], reads of its last
/// snapshot excepted; [`Collections::collection`](crate::Collections::collection) gives the handle with the new schema.
pub struct Collection {
    id: i64,
    names: Arc<RwLock<(String, String)>>,
    created_ts: Timestamp,
    schema: Arc<CollectionSchema>,
    arrow_schema: SchemaRef,
    /// The same with stored names: the form that rows are written in.
    physical_schema: SchemaRef,
    pub(crate) shared: Arc<Shared>,
    requests: mpsc::Sender<Request>,
    wal_files: WalFiles,
    oracle: Arc<TimestampOracle>,
    pub(crate) budget: Arc<Budget>,
    pub(crate) warmup: Arc<Warmup>,
    /// The earlier states that someone reads now, by version.
    opened: Arc<Opened>,
    /// Its version, when this is an earlier state itself.
    past: Option<u64>,
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
        let arrow_schema = schema.to_arrow();
        let stored_schema = stored_schema(&arrow_schema);
        let primary_key = schema.primary_key()?.stored_name().to_string();
        let wal_files = store.wal_files();
        let parts = WriterParts {
            name: name.to_string(),
            store,
            options: Arc::clone(&context.options),
            oracle: Arc::clone(&context.oracle),
            schema: Arc::clone(&arrow_schema),
            stored_schema,
            primary_key,
            maintenance_permits: Arc::clone(&context.maintenance_permits),
            chunk_ids: Arc::clone(&context.chunk_ids),
        };
        let (writer, events, shared) = Writer::start(parts, wal).await?;
        let (requests, receiver) = request_channel();
        tokio::spawn(writer.run(receiver, events));
        let collection = Arc::new(Self {
            id,
            names: Arc::new(RwLock::new((database.to_string(), name.to_string()))),
            created_ts,
            schema,
            physical_schema: physical_schema(&arrow_schema),
            arrow_schema,
            shared,
            requests,
            wal_files,
            oracle: Arc::clone(&context.oracle),
            budget: Arc::clone(&context.budget),
            warmup: Arc::default(),
            opened: Arc::default(),
            past: None,
        });
        let loaded = collection.shared.state.load().load.clone();
        if loaded != LoadScope::None {
            collection.resume_load(&loaded);
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
            let unique = state.properties.get(UNIQUE_KEY).cloned();
            state.properties.extend(set);
            state.properties.retain(|key, _| !unset.contains(key));
            // Rows with the same key may be there already, and whoever relies on there being none would not know.
            if state.properties.get(UNIQUE_KEY) != unique.as_ref() {
                return Err(Error::InvalidParameter(format!(
                    "the property {UNIQUE_KEY} is given when a collection is made and cannot be changed"
                )));
            }
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
        let name = name.to_string();
        self.edit(Box::new(move |state| {
            let id = state.partition(&name)?.id;
            if state.load.covers(id) {
                return Err(Error::StillLoaded {
                    what: format!("partition '{name}' cannot be dropped: it"),
                });
            }
            state.partitions.retain(|partition| partition.id != id);
            Ok(id)
        }))
        .await
        .map(|_| ())
    }

    fn refuse_with_partition_key(&self, what: &str) -> Result<()> {
        match self.schema.partition_key() {
            Some(_) => Err(Error::InvalidParameter(format!(
                "disable {what} if partition key mode is used"
            ))),
            None => Ok(()),
        }
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
        let (mut requests, mut shared) = (self.requests.clone(), Arc::clone(&self.shared));
        loop {
            let (reply, answer) = oneshot::channel();
            if requests.send(Request::Close { reply }).await.is_ok() {
                drop(answer.await);
            }
            // The writer owns the only receiver: it is gone once the channel is closed.
            requests.closed().await;
            // Unless it serves those who know the new schema of an altered collection.
            let Some((next, its_requests)) = successor_of(&shared) else {
                break;
            };
            (shared, requests) = (next, its_requests);
        }
    }

    pub(crate) async fn edit(&self, edit: Edit) -> Result<i64> {
        let (reply, answer) = oneshot::channel();
        self.send(Request::Edit { edit, reply }).await?;
        self.receive(answer).await
    }

    async fn send(&self, request: Request) -> Result<()> {
        self.requests.send(request).await.map_err(|_| self.gone())
    }

    async fn receive<T>(&self, answer: oneshot::Receiver<Result<T>>) -> Result<T> {
        answer.await.unwrap_or_else(|_| Err(self.gone()))
    }

    /// Why the writer does not listen to this handle.
    fn gone(&self) -> Error {
        if self.is_current() {
            Error::Closed(self.name())
        } else {
            Error::SchemaChanged(self.name())
        }
    }
}

fn successor_of(shared: &Shared) -> Option<(Arc<Shared>, mpsc::Sender<Request>)> {
    let next = shared.successor.get()?;
    Some((Arc::clone(&next.shared), next.requests.clone()))
}
