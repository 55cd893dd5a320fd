//! A collection's life: schema rules, the writer, index builds, load and release, snapshots and
//! the search of one unit of rows.
//!
//! This is where storage (files, write-ahead log, manifests) meets index (vectors in, neighbours
//! out). It knows rows and columns as Arrow data but nothing of queries: DataFusion lives a layer
//! above. The way in is [`Collections`], the manager of every database and collection of one root;
//! each [`Collection`] has one writer task, and readers work on an immutable [`Snapshot`] made of
//! [`Unit`]s (a sealed segment or a growing chunk, with its deletes frozen).
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod access;
mod alteration;
mod analyzers;
mod background;
mod built_index;
mod clock;
mod collection;
mod compaction;
mod error;
mod function;
mod index_def;
mod json_values;
mod key_index;
mod load;
mod load_budget;
mod manager;
mod memtable;
mod minhash;
mod names;
mod options;
mod overlay;
mod partition;
mod rows;
mod scalar_def;
mod scalar_index;
mod schema;
mod segment;
mod snapshot;
mod state;
mod stored_names;
mod structs;
mod text_statistics;
mod types;
mod unit;
mod vector_column;
mod writer;

pub use alteration::Alteration;
pub use analyzers::{Analyzers, analyzer_of};
pub use clock::{Timestamp, TimestampOracle};
pub use collection::{Change, ChangeResult, Collection, WriteResult};
pub use error::{Error, Result};
pub use function::{ANALYZER_PARAMS, ENABLE_ANALYZER, ENABLE_MATCH, FunctionKind, TextFunction, is_analyzed};
pub use index_def::{IndexInfo, IndexSpec, IndexState};
pub use load::LoadState;
pub use manager::{
    CollectionSpec, Collections, DatabaseInfo, FileResource, Grant, NewPlugin, RegisteredPlugin, Relation,
    RelationSpec, Role, User,
};
pub use names::{NameKind, validate_name};
pub use options::Options;
pub use partition::{DEFAULT_PARTITION, PartitionInfo};
pub use rows::UNIQUE_KEY;
pub use scalar_index::{IndexTarget, JsonPlace};
pub use schema::{CollectionSchema, DYNAMIC_FIELD, TIMESTAMP_COLUMN, metadata_keys};
pub use snapshot::{Snapshot, SnapshotInfo, SnapshotRef};
pub use structs::{SubField, split_sub_field_name, sub_field_name};
pub use text_statistics::TextStatistics;
pub use types::{DataType, Field};
pub use unit::{Allowed, Unit, UnitId, VectorColumn};

pub use elanus_storage::{
    BloomValue, ColumnBlooms, Keys, PluginEntry, PluginKind, RelationKind, RowRefs, SegmentStatistics,
};
