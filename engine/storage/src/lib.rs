//! Everything that Elanus keeps on disk, over one [`ObjectStore`](object_store::ObjectStore).
//!
//! ```text
//! catalog/{version:020}.json                          which collections exist           catalog
//! resources/{ulid}                                    files that users have registered   file_resources
//! plugins/{sha256}.wasm                               plugins that users have registered plugins
//! c/{id}/manifest/{version:020}.pb                    what a collection consists of     manifest
//! c/{id}/wal/{sequence:020}.wal                       writes not yet in a segment       wal
//! c/{id}/wal/{ulid}.ops                               one of them that is large
//! c/{id}/segments/{ulid}/data.parquet                 scalar columns                    segment
//! c/{id}/segments/{ulid}/{field}.vec.arrow            one vector column, mapped
//! c/{id}/segments/{ulid}/{field}.{index}.{ulid}.idx   one index, mapped
//! c/{id}/segments/{ulid}/deletes.{version}.{ulid}.roar   deleted rows
//! c/{id}/segments/{ulid}/updates.{version}.{ulid}.arrows   newer values of some rows
//! ```
//!
//! Objects are immutable. What is true is decided in two places only, both by *create if absent*: the newest catalog
//! version and, for each collection, the newest manifest version together with the WAL objects after its
//! `wal_flushed`. `docs/storage-format.md` gives the format byte by byte.
//!
//! - [`open_root`] locks a data directory and hands out the store; [`CatalogStore`] and [`CollectionStore`] do the rest.
//! - [`CollectionStore`] is the single writer of a collection: append, commit, collect garbage.
//! - [`SegmentFiles`] reads and writes segment files; it is a cheap clone for readers and background tasks.
//! - [`FaultStore`] breaks any of this on purpose, for tests here and in the crates above.
//!
//! This crate knows Arrow but no query engine, no index and no schema rule.

mod access;
mod catalog;
mod codec;
mod collection;
mod error;
mod fault;
mod file_resources;
mod gc;
mod local;
mod manifest;
mod plugins;
mod root;
mod segment;
mod versioned;
mod wal;

pub use access::{AccessEntries, GrantEntry, RoleEntry, UserEntry};
pub use catalog::{
    Catalog, CatalogStore, CollectionEntry, DEFAULT_DATABASE, DatabaseEntry, FileResourceEntry, PluginEntry,
    PluginKind, RelationEntry, RelationKind,
};
pub use collection::{CollectionStore, Recovered, TornTail, list_collections, remove_collection};
pub use error::{Error, Result};
pub use fault::{Fault, FaultStore, Operation, OperationKind};
pub use file_resources::{
    get_resource, put_resource, read_foreign, remove_resource, remove_unnamed_resources,
};
pub use gc::GcReport;
pub use local::DurableLocalStore;
pub use manifest::{DeletesRef, FileRef, IndexFile, KeyRange, Manifest, SegmentId, SegmentMeta, UpdatesRef};
pub use plugins::{
    CACHE as PLUGIN_CACHE, get_plugin, get_plugin_file, put_plugin, remove_plugin, remove_unnamed_plugins,
    trim_uploads,
};
pub use root::{DirLock, Root, open_root};
pub use segment::{
    BloomValue, ColumnBlooms, ColumnStatistics, MAX_COLUMN_BYTES, SegmentFiles, SegmentStatistics,
    TIMESTAMP_COLUMN, variable_bytes,
};
pub use versioned::{Outcome, Versioned, VersionedLog};
pub use wal::{EncodedOps, Keys, RowRefs, WalEntry, WalFileWriter, WalFiles, WalOp, encode_ops};
