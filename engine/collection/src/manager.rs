//! Every database, collection and alias of one root.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use elanus_storage::{Catalog, CatalogStore, CollectionEntry, DEFAULT_DATABASE, DatabaseEntry};
use object_store::ObjectStore;
use parking_lot::RwLock;
use tokio::sync::Mutex;

use crate::clock::{Timestamp, TimestampOracle};
use crate::collection::{Collection, Context};
use crate::error::{Error, Result};
use crate::load::LoadScope;
use crate::load_budget::Budget;
use crate::names::{NameKind, validate_name};
use crate::options::Options;
use crate::partition::{DEFAULT_KEY_PARTITIONS, DEFAULT_PARTITION, MAX_PARTITIONS, PartitionInfo};
use crate::schema::CollectionSchema;
use crate::state::CollectionState;

/// Most databases of one root.
const MAX_DATABASES: usize = 64;
/// Most collections of one root.
const MAX_COLLECTIONS: usize = 65_536;
/// Most shards that may be asked for.
const MAX_SHARDS: i32 = 16;
/// Collections opened at the same time when the engine starts.
const OPEN_AT_ONCE: usize = 8;

/// A database.
#[derive(Debug, Clone)]
pub struct DatabaseInfo {
    /// Name.
    pub name: String,
    /// Id, never reused.
    pub id: i64,
    /// When it was made; 0 for the default database.
    pub created_ts: Timestamp,
    /// Properties by name.
    pub properties: BTreeMap<String, String>,
}

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
}

impl Collections {
    /// Opens every collection of a root.
    ///
    /// A collection whose files are damaged does not keep the others from opening; it answers
    /// [`Error::Broken`] when it is asked for.
    ///
    /// # Errors
    /// A storage error of the catalog.
    pub async fn open(store: Arc<dyn ObjectStore>, options: Options) -> Result<Arc<Self>> {
        let catalog = CatalogStore::open(Arc::clone(&store)).await?;
        let context = Context {
            store: Arc::clone(&store),
            budget: Arc::new(Budget::new(options.memory_limit)),
            options: Arc::new(options),
            oracle: Arc::default(),
            maintenance_permits: Arc::new(tokio::sync::Semaphore::new(1)),
        };
        let current = catalog.current();
        // What a crash in the middle of a create or drop left behind.
        for id in elanus_storage::list_collections(store.as_ref()).await? {
            if !current.collections.contains_key(&id) {
                elanus_storage::remove_collection(store.as_ref(), id).await?;
            }
        }
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
        Ok(Arc::new(Self {
            context,
            catalog,
            open: RwLock::new(opened),
            ddl: Mutex::new(()),
        }))
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

    // ---- databases ----

    /// All databases by name.
    pub fn databases(&self) -> Vec<DatabaseInfo> {
        self.catalog
            .current()
            .databases
            .iter()
            .map(|(name, entry)| info(name, entry))
            .collect()
    }

    /// The database of this name.
    ///
    /// # Errors
    /// [`Error::DatabaseNotFound`].
    pub fn database(&self, name: &str) -> Result<DatabaseInfo> {
        let catalog = self.catalog.current();
        let entry = catalog.databases.get(name).ok_or_else(|| no_database(name))?;
        Ok(info(name, entry))
    }

    /// Makes a database.
    ///
    /// # Errors
    /// A bad name, a name in use, or too many databases.
    pub async fn create_database(&self, name: &str, properties: BTreeMap<String, String>) -> Result<()> {
        validate_name(NameKind::Database, name)?;
        let _one = self.ddl.lock().await;
        let created_ts = self.context.oracle.next();
        self.catalog
            .update(|catalog| {
                if catalog.databases.contains_key(name) {
                    return Err(Error::DatabaseExists {
                        database: name.to_string(),
                    });
                }
                if catalog.databases.len() >= MAX_DATABASES {
                    return Err(Error::LimitExceeded(format!(
                        "exceeds max database number: {MAX_DATABASES}, drop one first"
                    )));
                }
                let id = take_id(catalog);
                let entry = DatabaseEntry {
                    id,
                    created_ts,
                    properties: properties.clone(),
                };
                catalog.databases.insert(name.to_string(), entry);
                Ok(())
            })
            .await
    }

    /// Drops an empty database.
    ///
    /// # Errors
    /// The default database, an unknown name, or one that still has collections.
    pub async fn drop_database(&self, name: &str) -> Result<()> {
        if name == DEFAULT_DATABASE {
            return Err(Error::InvalidParameter("can not drop default database".into()));
        }
        let _one = self.ddl.lock().await;
        self.catalog
            .update(|catalog| {
                if !catalog.databases.contains_key(name) {
                    return Err(no_database(name));
                }
                if catalog.collections.values().any(|entry| entry.database == name) {
                    return Err(Error::DatabaseNotEmpty {
                        database: name.to_string(),
                    });
                }
                catalog.databases.remove(name);
                catalog.aliases.remove(name);
                Ok(())
            })
            .await
    }

    /// Sets and removes properties of a database.
    ///
    /// # Errors
    /// [`Error::DatabaseNotFound`].
    pub async fn alter_database(
        &self,
        name: &str,
        set: BTreeMap<String, String>,
        unset: &[String],
    ) -> Result<()> {
        let _one = self.ddl.lock().await;
        self.catalog
            .update(|catalog| {
                let entry = catalog.databases.get_mut(name).ok_or_else(|| no_database(name))?;
                entry.properties.extend(set.clone());
                entry.properties.retain(|key, _| !unset.contains(key));
                Ok(())
            })
            .await
    }

    // ---- collections ----

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
        validate_name(NameKind::Collection, name)?;
        let mut schema = spec.schema.clone();
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
        match self.open.read().get(&id) {
            Some(Ok(collection)) => Ok(Arc::clone(collection)),
            Some(Err(reason)) => Err(Error::Broken {
                collection: name.to_string(),
                reason: reason.clone(),
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
        let open = self.open.read();
        let mut found: Vec<(&str, Arc<Collection>)> = catalog
            .collections
            .iter()
            .filter(|(_, entry)| entry.database == database)
            .filter_map(|(id, entry)| match open.get(id) {
                Some(Ok(collection)) => Some((entry.name.as_str(), Arc::clone(collection))),
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
        elanus_storage::remove_collection(self.context.store.as_ref(), id).await?;
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

    // ---- aliases ----

    /// Gives a collection a second name.
    ///
    /// # Errors
    /// A bad name, a name in use, or an unknown collection.
    pub async fn create_alias(&self, database: &str, alias: &str, collection: &str) -> Result<()> {
        validate_name(NameKind::Alias, alias)?;
        let _one = self.ddl.lock().await;
        self.catalog
            .update(|catalog| {
                let id = find(catalog, database, collection)?;
                if named(catalog, database, alias).is_some() {
                    return Err(Error::AliasCollectionNameConflict {
                        database: database.to_string(),
                        name: alias.to_string(),
                    });
                }
                let aliases = catalog.aliases.entry(database.to_string()).or_default();
                match aliases.get(alias) {
                    Some(other) if *other != id => {
                        let collection = catalog.collections.get(other).map(|entry| entry.name.clone());
                        Err(Error::AliasExists {
                            database: database.to_string(),
                            alias: alias.to_string(),
                            collection: collection.unwrap_or_default(),
                        })
                    }
                    Some(_) => Ok(()),
                    None => {
                        aliases.insert(alias.to_string(), id);
                        Ok(())
                    }
                }
            })
            .await
    }

    /// Takes a second name away; one that is not there is no error.
    ///
    /// # Errors
    /// [`Error::DatabaseNotFound`].
    pub async fn drop_alias(&self, database: &str, alias: &str) -> Result<()> {
        let _one = self.ddl.lock().await;
        self.catalog
            .update(|catalog| {
                if !catalog.databases.contains_key(database) {
                    return Err(no_database(database));
                }
                if let Some(aliases) = catalog.aliases.get_mut(database) {
                    aliases.remove(alias);
                }
                Ok(())
            })
            .await
    }

    /// Moves an alias to another collection in one step.
    ///
    /// # Errors
    /// [`Error::AliasNotFound`], [`Error::CollectionNotFound`].
    pub async fn alter_alias(&self, database: &str, alias: &str, collection: &str) -> Result<()> {
        let _one = self.ddl.lock().await;
        self.catalog
            .update(|catalog| {
                let id = find(catalog, database, collection)?;
                let slot = catalog
                    .aliases
                    .get_mut(database)
                    .and_then(|aliases| aliases.get_mut(alias));
                *slot.ok_or_else(|| no_alias(database, alias))? = id;
                Ok(())
            })
            .await
    }

    /// The name of the collection that an alias stands for.
    ///
    /// # Errors
    /// [`Error::AliasNotFound`].
    pub fn alias(&self, database: &str, alias: &str) -> Result<String> {
        let catalog = self.catalog.current();
        let id = catalog
            .aliases
            .get(database)
            .and_then(|aliases| aliases.get(alias));
        id.and_then(|id| catalog.collections.get(id))
            .map(|entry| entry.name.clone())
            .ok_or_else(|| no_alias(database, alias))
    }

    /// The aliases of a collection, or of the whole database, sorted.
    ///
    /// # Errors
    /// [`Error::DatabaseNotFound`], [`Error::CollectionNotFound`].
    pub fn aliases(&self, database: &str, collection: Option<&str>) -> Result<Vec<String>> {
        let catalog = self.catalog.current();
        match collection {
            Some(name) => Ok(aliases_of(&catalog, database, find(&catalog, database, name)?)),
            None if !catalog.databases.contains_key(database) => Err(no_database(database)),
            None => Ok(catalog
                .aliases
                .get(database)
                .map(|aliases| aliases.keys().cloned().collect())
                .unwrap_or_default()),
        }
    }
}

fn info(name: &str, entry: &DatabaseEntry) -> DatabaseInfo {
    DatabaseInfo {
        name: name.to_string(),
        id: entry.id,
        created_ts: entry.created_ts,
        properties: entry.properties.clone(),
    }
}

fn no_database(name: &str) -> Error {
    Error::DatabaseNotFound {
        database: name.to_string(),
    }
}

fn no_alias(database: &str, alias: &str) -> Error {
    Error::AliasNotFound {
        database: database.to_string(),
        alias: alias.to_string(),
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
    Ok(CollectionState {
        shards: spec.shards.max(1),
        consistency: spec.consistency,
        properties: spec.properties.clone(),
        next_id: partitions.len() as i64 + 1,
        partitions,
        indexes: Vec::new(),
        load: LoadScope::None,
    })
}
