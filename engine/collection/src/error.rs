//! What can go wrong with a collection, named so that each door can answer with its own code.

use crate::access::Need;
use crate::manager::not_permitted;
use crate::names::NameKind;

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong; every message names the thing, what was given and what is allowed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No database of this name.
    #[error("database not found[database={database}]")]
    DatabaseNotFound {
        /// The name that was asked for.
        database: String,
    },
    /// The database is there already.
    #[error("database already exist: {database}")]
    DatabaseExists {
        /// The name that was asked for.
        database: String,
    },
    /// A database that still holds collections cannot be dropped.
    #[error("database:{database} not empty, must drop all collections before drop database")]
    DatabaseNotEmpty {
        /// The database.
        database: String,
    },
    /// No collection or alias of this name.
    #[error("collection not found[database={database}][collection={name}]")]
    CollectionNotFound {
        /// The database looked in.
        database: String,
        /// The name that was asked for.
        name: String,
    },
    /// The collection is there already.
    #[error("collection already exists[database={database}][collection={name}]")]
    CollectionExists {
        /// The database.
        database: String,
        /// The name that was asked for.
        name: String,
    },
    /// The file that should be registered is not there.
    #[error("file resource path not exist: '{path}'")]
    FileNotFound {
        /// The path that was asked for.
        path: String,
    },
    /// The collection must be loaded for this.
    #[error("collection not loaded[collection={name}]")]
    CollectionNotLoaded {
        /// The collection.
        name: String,
    },
    /// No alias of this name.
    #[error("alias not found[database={database}][alias={alias}]")]
    AliasNotFound {
        /// The database looked in.
        database: String,
        /// The alias that was asked for.
        alias: String,
    },
    /// The alias names another collection already.
    #[error(
        "{alias} is alias to another collection: {collection}: alias already exist[database={database}][alias={alias}]"
    )]
    AliasExists {
        /// The database.
        database: String,
        /// The alias.
        alias: String,
        /// The collection it names now.
        collection: String,
    },
    /// A collection and an alias cannot share a name.
    #[error("alias and collection name conflict[database={database}][alias={name}]")]
    AliasCollectionNameConflict {
        /// The database.
        database: String,
        /// The name both want.
        name: String,
    },
    /// A collection with aliases cannot be dropped.
    #[error("unable to drop the collection [{collection}] because it has associated aliases [{}], please remove all aliases before dropping the collection", aliases.join(" "))]
    CollectionHasAliases {
        /// The collection.
        collection: String,
        /// Its aliases.
        aliases: Vec<String>,
    },
    /// No partition of this name.
    #[error("partition not found[partition={name}]")]
    PartitionNotFound {
        /// The name that was asked for.
        name: String,
    },
    /// The partition is there already.
    #[error("partition already exists[partition={name}]")]
    PartitionExists {
        /// The name that was asked for.
        name: String,
    },
    /// The partition must be loaded for this.
    #[error("partition not loaded[partition={name}]")]
    PartitionNotLoaded {
        /// The partition.
        name: String,
    },
    /// A loaded partition or collection must be released first.
    #[error("{what} is loaded, please release it first")]
    StillLoaded {
        /// What is loaded.
        what: String,
    },
    /// No index of this name.
    #[error("index not found[collection={collection}][index={index}]")]
    IndexNotFound {
        /// The collection.
        collection: String,
        /// The index name or the fields that lack one.
        index: String,
    },
    /// Another index of this name or on this field is there already.
    #[error("{0}")]
    IndexExists(String),
    /// No field of this name.
    #[error("field not found[field={field}]{}", near_text(.near))]
    FieldNotFound {
        /// The name that was asked for.
        field: String,
        /// Fields of a similar name.
        near: Vec<String>,
    },
    /// A name breaks the rules.
    #[error("Invalid {kind} name: {name}. {reason}")]
    InvalidName {
        /// What the name is for.
        kind: NameKind,
        /// The name that was given.
        name: String,
        /// Which rule it breaks.
        reason: String,
    },
    /// No such user, or another password.
    #[error("auth check failure, please check username and password are correct")]
    NotAuthenticated,
    /// The user may not do this.
    #[error("{}", not_permitted(.user, .need))]
    NotPermitted {
        /// The user.
        user: String,
        /// What would have been needed.
        need: Need,
    },
    /// A parameter is out of its range or not known.
    #[error("{0}")]
    InvalidParameter(String),
    /// The schema breaks a rule.
    #[error("{0}")]
    InvalidSchema(String),
    /// A row does not fit the schema.
    #[error("{0}")]
    InvalidData(String),
    /// A row that a statement has read was changed before the statement's own change arrived; it can be run again.
    #[error("rows of collection '{collection}' were changed by another write at the same time, try again")]
    Conflict {
        /// The collection.
        collection: String,
    },
    /// A key is there already, in a collection with unique keys.
    #[error(
        "duplicate key: collection '{collection}' has a row with primary key {key} already, and its keys are unique"
    )]
    DuplicateKey {
        /// The collection.
        collection: String,
        /// The key.
        key: String,
    },
    /// A limit of the engine is reached.
    #[error("{0}")]
    LimitExceeded(String),
    /// Loading would take more memory than this node may use.
    #[error(
        "out of memory budget: loading '{name}' needs about {needed} bytes, {used} of {limit} are in use; release a collection or raise the memory limit"
    )]
    MemoryBudget {
        /// The collection.
        name: String,
        /// Bytes the load needs.
        needed: u64,
        /// Bytes in use.
        used: u64,
        /// Bytes allowed.
        limit: u64,
    },
    /// Not there yet.
    #[error("not supported: {0}")]
    Unsupported(String),
    /// The collection was dropped or the engine is shutting down.
    #[error("collection '{0}' is closed")]
    Closed(String),
    /// The collection was altered after the request was made ready for it; nothing of the request was done.
    #[error(
        "collection '{0}' was altered meanwhile: nothing was done, send the request again (a prepared one: prepare it again)"
    )]
    SchemaChanged(String),
    /// A write of unknown outcome stopped the writer; reads go on. The collection is opened again after a while, unless
    /// another writer has taken it over.
    #[error("collection '{collection}' takes no writes since an earlier failure: {reason}")]
    WriterFailed {
        /// The collection.
        collection: String,
        /// What failed.
        reason: String,
    },
    /// Rows could not be put into segments; they are safe in the log and in memory.
    #[error("collection '{collection}' could not be flushed, which is tried again by itself: {reason}")]
    FlushFailed {
        /// The collection.
        collection: String,
        /// What failed.
        reason: String,
    },
    /// Segments could not be merged; they stay as they are.
    #[error("collection '{collection}' could not be compacted, its segments stay as they are: {reason}")]
    CompactionFailed {
        /// The collection.
        collection: String,
        /// What failed.
        reason: String,
    },
    /// The catalog never gave out the id of a collection that is there: it is missing or of an older copy.
    #[error(
        "collection files c/{id} are newer than the catalog, which gave out ids below {next_id} only: catalog/ is missing or from an older copy; restore it, or move c/{id} away"
    )]
    StaleCatalog {
        /// Id of the collection.
        id: i64,
        /// The id that the catalog would give out next.
        next_id: i64,
    },
    /// The collection's files cannot be opened.
    #[error("collection '{collection}' cannot be opened: {reason}")]
    Broken {
        /// The collection.
        collection: String,
        /// Why.
        reason: String,
    },
    /// The files below failed.
    #[error(transparent)]
    Storage(#[from] elanus_storage::Error),
    /// Arrow refused an operation on our own data.
    #[error("arrow: {0}")]
    Arrow(#[from] arrow::error::ArrowError),
    /// An index could not be built.
    #[error("index build: {0}")]
    IndexBuild(String),
}

fn near_text(names: &[String]) -> String {
    if names.is_empty() {
        String::new()
    } else {
        format!("; did you mean {}?", names.join(" or "))
    }
}
