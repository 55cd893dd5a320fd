//! Every database, collection and alias of one root.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Weak};

use elanus_storage::{Catalog, CatalogStore, CollectionEntry};
use object_store::ObjectStore;
use parking_lot::RwLock;
use tokio::sync::Mutex;

use crate::access::Door;
use crate::clock::{Timestamp, TimestampOracle};
use crate::collection::{Collection, Context};
use crate::error::{Error, Result};
use crate::function::is_matched;
use crate::index_def::IndexDef;
use crate::load::LoadScope;
use crate::load_budget::Budget;
use crate::names::{NameKind, validate_name};
use crate::options::Options;
use crate::partition::{DEFAULT_KEY_PARTITIONS, DEFAULT_PARTITION, MAX_PARTITIONS, PartitionInfo};
use crate::schema::CollectionSchema;
use crate::state::CollectionState;

mod access;
mod aliases;
mod alter;
mod databases;
mod file_resources;
mod plugins;
mod relations;
mod word_files;

pub(crate) use access::not_permitted;
pub use access::{Grant, Role, User};
pub use databases::DatabaseInfo;
pub use file_resources::FileResource;
pub use plugins::{NewPlugin, RegisteredPlugin};
pub use relations::{Relation, RelationSpec};

/// Most collections of one root.
const MAX_COLLECTIONS: usize = 65_536;
/// Most shards that may be asked for.
const MAX_SHARDS: i32 = 16;
/// Collections opened at the same time when the engine starts.
const OPEN_AT_ONCE: usize = 8;

/// A request to make a collection.
#[derive(Debug, Clone, Default)]
pub struct CollectionSpec {
    /// Fields and rules; checked and completed on creation.
    pub schema: CollectionSchema,
    /// Shards asked for; 0 means 1.
    pub shards: i32,
    /// Consistency level as Milvus numbers it.
    pub consistency: i32,
    /// Properties by name.
    pub properties: BTreeMap<String, String>,
    /// Partitions of a collection with a partition key; 16 when absent.
    pub num_partitions: Option<u32>,
}

/// The manager of all collections of one root.
pub struct Collections {
    context: Context,
    catalog: CatalogStore,
    open: RwLock<HashMap<i64, std::result::Result<Arc<Collection>, String>>>,
    /// One change of the set of names at a time.
    ddl: Mutex<()>,
    /// Passwords that were right, and the rights of users.
    door: Door,
    /// Itself, for work that goes on when its caller goes away.
    this: Weak<Self>,
}

impl Collections {
    /// Opens every collection of a root.
    ///
    /// A collection whose files are damaged does not keep the others from opening; it answers
    /// [`Error::Broken`] when it is asked for.
    ///
    /// # Errors
    /// A storage error of the catalog; a catalog that is older than the collections.
    pub async fn open(store: Arc<dyn ObjectStore>, options: Options) -> Result<Arc<Self>> {
        let catalog = CatalogStore::open(Arc::clone(&store)).await?;
        let context = Context {
            store: Arc::clone(&store),
            budget: Arc::new(Budget::new(options.memory_limit)),
            options: Arc::new(options),
            oracle: Arc::default(),
            maintenance_permits: Arc::new(tokio::sync::Semaphore::new(1)),
            chunk_ids: Arc::default(),
        };
        let current = catalog.current();
        // What a crash in the middle of a create or drop left behind.
        for id in elanus_storage::list_collections(store.as_ref()).await? {
            if id >= current.next_id {
                return Err(Error::StaleCatalog {
                    id,
                    next_id: current.next_id,
                });
            }
            if !current.collections.contains_key(&id) {
                elanus_storage::remove_collection(store.as_ref(), id).await?;
            }
        }
        elanus_storage::remove_unnamed_resources(store.as_ref(), &current).await?;
        elanus_storage::remove_unnamed_plugins(store.as_ref(), &current).await?;
        let mut opened = HashMap::new();
        let entries: Vec<_> = current.collections.iter().collect();
        for group in entries.chunks(OPEN_AT_ONCE) {
            let opening = group.iter().map(|(id, entry)| {
                Collection::open(&context, **id, &entry.database, &entry.name, entry.created_ts)
            });
            let results = futures::future::join_all(opening).await;
            for ((id, entry), result) in group.iter().zip(results) {
                context.oracle.advance_past(entry.created_ts);
                if let Err(error) = &result {
                    tracing::error!(collection = %entry.name, %error, "collection cannot be opened");
                }
                opened.insert(**id, result.map_err(|error| error.to_string()));
            }
        }
        Ok(Arc::new_cyclic(|this| Self {
            context,
            catalog,
            open: RwLock::new(opened),
            ddl: Mutex::new(()),
            door: Door::default(),
            this: Weak::clone(this),
        }))
    }

    /// Runs a change of several steps to its end even when the caller goes away in between (a client that hangs up
    /// drops its request): the catalog and what is open must not fall apart.
    async fn finish<T, F>(&self, change: impl FnOnce(Arc<Self>) -> F) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let Some(this) = self.this.upgrade() else {
            return Err(Error::Closed("the engine".to_string()));
        };
        match tokio::spawn(change(this)).await {
            Ok(result) => result,
            Err(error) => Err(elanus_storage::Error::Task(error.to_string()).into()),
        }
    }

    /// Stops all writers; what was acknowledged is durable.
    pub async fn close(&self) {
        let collections: Vec<_> = self
            .open
            .write()
            .drain()
            .filter_map(|(_, collection)| collection.ok())
            .collect();
        futures::future::join_all(collections.iter().map(|collection| collection.close())).await;
    }

    /// The options that collections run with.
    pub fn options(&self) -> &Options {
        &self.context.options
    }

    /// The source of timestamps.
    pub fn oracle(&self) -> &TimestampOracle {
        &self.context.oracle
    }

    /// Makes a collection.
    ///
    /// # Errors
    /// A bad name, a name in use, an unknown database, or a schema that breaks a rule.
    pub async fn create_collection(
        &self,
        database: &str,
        name: &str,
        spec: CollectionSpec,
    ) -> Result<Arc<Collection>> {
        let (database, name) = (database.to_string(), name.to_string());
        self.finish(|this| async move { this.create_collection_now(&database, &name, spec).await })
            .await
    }

    async fn create_collection_now(
        &self,
        database: &str,
        name: &str,
        spec: CollectionSpec,
    ) -> Result<Arc<Collection>> {
        validate_name(NameKind::Collection, name)?;
        let mut schema = spec.schema.clone();
        for field in &mut schema.fields {
            // Of the collection that the schema was copied from.
            (field.stored_name, field.fill) = (None, None);
            self.read_words(field).await?;
        }
        schema.validate()?;
        if spec.shards > MAX_SHARDS {
            return Err(Error::LimitExceeded(format!(
                "maximum shards's number should be limited to {MAX_SHARDS}, got {}",
                spec.shards
            )));
        }
        let _one = self.ddl.lock().await;
        let created_ts = self.context.oracle.next();
        let state = initial_state(&schema, &spec, created_ts)?;
        let id = self
            .catalog
            .update(|catalog| {
                free_name(catalog, database, name)?;
                if catalog.collections.len() >= MAX_COLLECTIONS {
                    return Err(Error::LimitExceeded(format!(
                        "exceeded the limit of {MAX_COLLECTIONS} collections"
                    )));
                }
                Ok(take_id(catalog))
            })
            .await?;
        let collection =
            Collection::create(&self.context, id, database, name, created_ts, &schema, &state).await?;
        let entry = CollectionEntry {
            name: name.to_string(),
            database: database.to_string(),
            created_ts,
        };
        let named: Result<()> = self
            .catalog
            .update(|catalog| {
                free_name(catalog, database, name)?;
                catalog.collections.insert(id, entry.clone());
                Ok(())
            })
            .await;
        if let Err(error) = named {
            collection.close().await;
            return Err(error);
        }
        self.open.write().insert(id, Ok(Arc::clone(&collection)));
        Ok(collection)
    }

    /// The collection of this name or alias.
    ///
    /// # Errors
    /// [`Error::DatabaseNotFound`], [`Error::CollectionNotFound`], or [`Error::Broken`].
    pub fn collection(&self, database: &str, name: &str) -> Result<Arc<Collection>> {
        let id = find(&self.catalog.current(), database, name)?;
        match self.current(id) {
            Some(Ok(collection)) => Ok(collection),
            Some(Err(reason)) => Err(Error::Broken {
                collection: name.to_string(),
                reason,
            }),
            None => Err(Error::Closed(name.to_string())),
        }
    }

    /// All collections of a database by name; damaged ones are left out.
    ///
    /// # Errors
    /// [`Error::DatabaseNotFound`].
    pub fn list(&self, database: &str) -> Result<Vec<Arc<Collection>>> {
        let catalog = self.catalog.current();
        if !catalog.databases.contains_key(database) {
            return Err(no_database(database));
        }
        let mut found: Vec<(&str, Arc<Collection>)> = catalog
            .collections
            .iter()
            .filter(|(_, entry)| entry.database == database)
            .filter_map(|(id, entry)| match self.current(*id) {
                Some(Ok(collection)) => Some((entry.name.as_str(), collection)),
                Some(Err(_)) | None => None,
            })
            .collect();
        found.sort_by(|a, b| a.0.cmp(b.0));
        Ok(found.into_iter().map(|(_, collection)| collection).collect())
    }

    /// Drops a collection with everything in it.
    ///
    /// # Errors
    /// [`Error::CollectionNotFound`], [`Error::CollectionHasAliases`].
    pub async fn drop_collection(&self, database: &str, name: &str) -> Result<()> {
        let (database, name) = (database.to_string(), name.to_string());
        self.finish(|this| async move { this.drop_collection_now(&database, &name).await })
            .await
    }

    async fn drop_collection_now(&self, database: &str, name: &str) -> Result<()> {
        let _one = self.ddl.lock().await;
        let id = self
            .catalog
            .update(|catalog| {
                let id = find(catalog, database, name)?;
                let aliases: Vec<String> = aliases_of(catalog, database, id);
                if !aliases.is_empty() {
                    return Err(if aliases.iter().any(|alias| alias == name) {
                        Error::InvalidParameter(format!("cannot drop the collection via alias = {name}"))
                    } else {
                        Error::CollectionHasAliases {
                            collection: name.to_string(),
                            aliases,
                        }
                    });
                }
                catalog.collections.remove(&id);
                Ok(id)
            })
            .await?;
        let collection = self.open.write().remove(&id);
        if let Some(Ok(collection)) = collection {
            collection.close().await;
        }
        self.context.budget.release(id);
        if let Err(error) = elanus_storage::remove_collection(self.context.store.as_ref(), id).await {
            // The catalog has forgotten it: it is dropped.
            tracing::warn!(collection = name, %error, "files of a dropped collection stay until the next start");
        }
        Ok(())
    }

    /// Renames a collection, within its database or into another.
    ///
    /// # Errors
    /// An unknown collection or database, a bad name or a name in use.
    pub async fn rename_collection(
        &self,
        database: &str,
        old: &str,
        new_database: &str,
        new: &str,
    ) -> Result<()> {
        let [database, old, new_database, new] = [database, old, new_database, new].map(str::to_string);
        self.finish(|this| async move {
            this.rename_collection_now(&database, &old, &new_database, &new)
                .await
        })
        .await
    }

    async fn rename_collection_now(
        &self,
        database: &str,
        old: &str,
        new_database: &str,
        new: &str,
    ) -> Result<()> {
        validate_name(NameKind::Collection, new)?;
        let _one = self.ddl.lock().await;
        let id = self
            .catalog
            .update(|catalog| {
                let id = find(catalog, database, old)?;
                let aliases = aliases_of(catalog, database, id);
                if aliases.iter().any(|alias| alias == old) {
                    return Err(Error::InvalidParameter(format!(
                        "unsupported use an alias to rename collection, alias:{old}"
                    )));
                }
                if database != new_database && !aliases.is_empty() {
                    return Err(Error::CollectionHasAliases {
                        collection: old.to_string(),
                        aliases,
                    });
                }
                free_name(catalog, new_database, new)?;
                if let Some(entry) = catalog.collections.get_mut(&id) {
                    entry.name = new.to_string();
                    entry.database = new_database.to_string();
                }
                Ok(id)
            })
            .await?;
        if let Some(Ok(collection)) = self.open.read().get(&id) {
            collection.renamed(new_database, new);
        }
        Ok(())
    }
}

fn no_database(name: &str) -> Error {
    Error::DatabaseNotFound {
        database: name.to_string(),
    }
}

fn take_id(catalog: &mut Catalog) -> i64 {
    let id = catalog.next_id;
    catalog.next_id += 1;
    id
}

/// The collection that itself has this name.
fn named(catalog: &Catalog, database: &str, name: &str) -> Option<i64> {
    let mut entries = catalog.collections.iter();
    entries
        .find(|(_, entry)| entry.database == database && entry.name == name)
        .map(|(id, _)| *id)
}

/// The collection of this name or alias.
fn find(catalog: &Catalog, database: &str, name: &str) -> Result<i64> {
    if !catalog.databases.contains_key(database) {
        return Err(no_database(database));
    }
    named(catalog, database, name)
        .or_else(|| catalog.aliases.get(database)?.get(name).copied())
        .ok_or_else(|| Error::CollectionNotFound {
            database: database.to_string(),
            name: name.to_string(),
        })
}

fn free_name(catalog: &Catalog, database: &str, name: &str) -> Result<()> {
    if !catalog.databases.contains_key(database) {
        return Err(no_database(database));
    }
    relations::not_a_relation(catalog, database, name)?;
    if named(catalog, database, name).is_some() {
        return Err(Error::CollectionExists {
            database: database.to_string(),
            name: name.to_string(),
        });
    }
    if catalog
        .aliases
        .get(database)
        .is_some_and(|aliases| aliases.contains_key(name))
    {
        return Err(Error::AliasCollectionNameConflict {
            database: database.to_string(),
            name: name.to_string(),
        });
    }
    Ok(())
}

fn aliases_of(catalog: &Catalog, database: &str, id: i64) -> Vec<String> {
    let aliases = catalog.aliases.get(database);
    aliases
        .into_iter()
        .flatten()
        .filter(|(_, collection)| **collection == id)
        .map(|(alias, _)| alias.clone())
        .collect()
}

fn initial_state(
    schema: &CollectionSchema,
    spec: &CollectionSpec,
    created_ts: Timestamp,
) -> Result<CollectionState> {
    let partition = |id: i64, name: String| PartitionInfo { id, name, created_ts };
    let partitions: Vec<_> = if schema.partition_key().is_some() {
        let count = spec
            .num_partitions
            .filter(|count| *count > 0)
            .unwrap_or(DEFAULT_KEY_PARTITIONS);
        if count as usize > MAX_PARTITIONS {
            return Err(Error::LimitExceeded(format!(
                "partition number ({count}) exceeds max configuration ({MAX_PARTITIONS})"
            )));
        }
        (0..i64::from(count))
            .map(|i| partition(i + 1, format!("{DEFAULT_PARTITION}_{i}")))
            .collect()
    } else if spec.num_partitions.is_some_and(|count| count > 0) {
        return Err(Error::InvalidParameter(
            "num_partitions should only be specified with partition key field enabled".into(),
        ));
    } else {
        vec![partition(1, DEFAULT_PARTITION.to_string())]
    };
    let mut state = CollectionState {
        shards: spec.shards.max(1),
        consistency: spec.consistency,
        properties: spec.properties.clone(),
        next_id: partitions.len() as i64 + 1,
        partitions,
        snapshots: Vec::new(),
        indexes: Vec::new(),
        load: LoadScope::None,
        next_field_id: 0,
        schema_ts: 0,
    };
    for field in schema.fields.iter().filter(|field| is_matched(field)) {
        let id = state.take_id();
        state.indexes.extend(IndexDef::of_terms(field, id));
    }
    Ok(state)
}
