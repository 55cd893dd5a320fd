//! The tables of the schema `elanus_catalog`: what there is, as rows.
//!
//! | table | a row is |
//! |---|---|
//! | `collections` | a collection of any database |
//! | `segments` | a block of rows: a sealed segment or rows still in memory |
//! | `indexes` | an index and how far its build is |
//! | `snapshots` | a state of a collection that is kept under a name |
//! | `plugins` | a reranker or a function of a plugin, and what it has done since the start |
//! | `queries` | a SQL statement that runs now |
//! | `users`, `roles`, `grants` | who may do what ([`users`]) |

use std::sync::Arc;
use std::time::SystemTime;

use arrow::array::{
    Array, ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray, UInt64Array,
};
use arrow::datatypes::{DataType, Field, Schema};
use async_trait::async_trait;
use datafusion::catalog::{MemTable, SchemaProvider, TableProvider};
use datafusion::error::{DataFusionError, Result};
use elanus_collection::access::{Need, Privilege};
use elanus_collection::{Collection, Collections, IndexState, SnapshotInfo, TimestampOracle};

use crate::access;
use crate::catalog::Handle;
use crate::plugins::Listed;
use crate::resources::Resources;
use crate::sql::running::Running;

mod users;

const TABLES: [&str; 9] = [
    "collections",
    "segments",
    "indexes",
    "snapshots",
    "plugins",
    "queries",
    "users",
    "roles",
    "grants",
];

/// The schema with tables about collections.
#[derive(Debug)]
pub(crate) struct InfoSchema {
    collections: Handle,
    resources: Arc<Resources>,
}

impl InfoSchema {
    /// Over everything in `collections`, the plugins and the statements that run.
    pub fn new(collections: Arc<Collections>, resources: Arc<Resources>) -> Self {
        Self {
            collections: Handle(collections),
            resources,
        }
    }

    fn all(&self) -> Vec<Arc<Collection>> {
        let databases = self.collections.0.databases();
        databases
            .iter()
            .flat_map(|database| self.collections.0.list(&database.name).unwrap_or_default())
            .collect()
    }
}

#[async_trait]
impl SchemaProvider for InfoSchema {
    fn table_names(&self) -> Vec<String> {
        TABLES.iter().map(ToString::to_string).collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        let batch = match name {
            "collections" => collections(&self.all())?,
            "segments" => segments(&self.all())?,
            "indexes" => indexes(&self.all())?,
            "snapshots" => snapshots(&self.all())?,
            "plugins" => plugins(&self.resources.plugins.list(&self.collections.0))?,
            "queries" => {
                access::needed(Need::Admin("elanus_catalog.queries"));
                queries(&self.resources.running)?
            }
            "users" => {
                access::needed(Need::cluster(Privilege::SelectOwnership));
                users::users(&self.collections.0)?
            }
            "roles" => {
                access::needed(Need::cluster(Privilege::SelectOwnership));
                users::roles(&self.collections.0)?
            }
            "grants" => {
                access::needed(Need::cluster(Privilege::SelectOwnership));
                users::grants(&self.collections.0)?
            }
            _ => return Ok(None),
        };
        let table = MemTable::try_new(batch.schema(), vec![vec![batch]])?;
        Ok(Some(Arc::new(table)))
    }

    fn table_exist(&self, name: &str) -> bool {
        TABLES.contains(&name)
    }
}

fn collections(all: &[Arc<Collection>]) -> Result<RecordBatch> {
    table(vec![
        text("database", all.iter().map(|c| Some(c.database()))),
        text("collection", all.iter().map(|c| Some(c.name()))),
        int("id", all.iter().map(|c| c.id())),
        count("rows", all.iter().map(|c| c.row_count())),
        count("partitions", all.iter().map(|c| c.partitions().len() as u64)),
        count("segments", all.iter().map(|c| c.snapshot().units.len() as u64)),
        flag("loaded", all.iter().map(|c| c.check_loaded(&[]).is_ok())),
    ])
}

fn segments(all: &[Arc<Collection>]) -> Result<RecordBatch> {
    let rows: Vec<_> = all
        .iter()
        .flat_map(|c| {
            c.snapshot()
                .units
                .iter()
                .map(|unit| (Arc::clone(c), Arc::clone(unit)))
                .collect::<Vec<_>>()
        })
        .collect();
    let partition = |c: &Collection, id: i64| c.partitions().into_iter().find(|p| p.id == id).map(|p| p.name);
    table(vec![
        text("database", rows.iter().map(|(c, _)| Some(c.database()))),
        text("collection", rows.iter().map(|(c, _)| Some(c.name()))),
        text(
            "partition",
            rows.iter().map(|(c, unit)| partition(c, unit.partition())),
        ),
        text(
            "segment",
            rows.iter().map(|(_, unit)| Some(unit.id().to_string())),
        ),
        flag("sealed", rows.iter().map(|(_, unit)| unit.sealed())),
        count("rows", rows.iter().map(|(_, unit)| u64::from(unit.rows()))),
        count("live_rows", rows.iter().map(|(_, unit)| unit.live_rows())),
        count("bytes", rows.iter().map(|(_, unit)| unit.bytes())),
    ])
}

fn indexes(all: &[Arc<Collection>]) -> Result<RecordBatch> {
    let rows: Vec<_> = all
        .iter()
        .flat_map(|c| {
            c.indexes()
                .into_iter()
                .map(|index| (Arc::clone(c), index))
                .collect::<Vec<_>>()
        })
        .collect();
    let state = |state: IndexState| match state {
        IndexState::InProgress => "in progress",
        IndexState::Finished => "finished",
        IndexState::Failed => "failed",
    };
    table(vec![
        text("database", rows.iter().map(|(c, _)| Some(c.database()))),
        text("collection", rows.iter().map(|(c, _)| Some(c.name()))),
        text("index", rows.iter().map(|(_, index)| Some(index.name.clone()))),
        text("column", rows.iter().map(|(_, index)| Some(index.field.clone()))),
        text(
            "type",
            rows.iter().map(|(_, index)| Some(index.index_type.clone())),
        ),
        text(
            "metric",
            rows.iter()
                .map(|(_, index)| index.metric.map(|metric| metric.to_string())),
        ),
        count("indexed_rows", rows.iter().map(|(_, index)| index.indexed_rows)),
        count("total_rows", rows.iter().map(|(_, index)| index.total_rows)),
        text(
            "state",
            rows.iter().map(|(_, index)| Some(state(index.state).to_string())),
        ),
    ])
}

fn snapshots(all: &[Arc<Collection>]) -> Result<RecordBatch> {
    let rows: Vec<_> = all
        .iter()
        .flat_map(|c| {
            c.snapshots()
                .into_iter()
                .map(|snapshot| (Arc::clone(c), snapshot))
                .collect::<Vec<_>>()
        })
        .collect();
    let micros = |(_, snapshot): &(Arc<Collection>, SnapshotInfo)| {
        let millis = TimestampOracle::unix_millis(snapshot.created_ts);
        i64::try_from(millis.saturating_mul(1_000)).unwrap_or(i64::MAX)
    };
    let created = TimestampMicrosecondArray::from_iter_values(rows.iter().map(micros)).with_timezone("UTC");
    table(vec![
        text("database", rows.iter().map(|(c, _)| Some(c.database()))),
        text("collection", rows.iter().map(|(c, _)| Some(c.name()))),
        text(
            "snapshot",
            rows.iter().map(|(_, snapshot)| Some(snapshot.name.clone())),
        ),
        count("version", rows.iter().map(|(_, snapshot)| snapshot.version)),
        (
            Field::new("created", created.data_type().clone(), false),
            Arc::new(created),
        ),
        count("rows", rows.iter().map(|(_, snapshot)| snapshot.rows)),
    ])
}

fn plugins(all: &[Listed]) -> Result<RecordBatch> {
    let entries = || all.iter().map(|listed| &listed.entry);
    let texts = |text: fn(&Listed) -> Option<String>| all.iter().map(text).collect::<Vec<_>>().into_iter();
    // What nothing has needed since the start has done nothing.
    let stats: Vec<_> = all
        .iter()
        .map(|listed| listed.stats.clone().unwrap_or_default())
        .collect();
    // Whole nanoseconds: 0.633292, not 0.6332920000000001.
    let times = stats
        .iter()
        .map(|stats| (stats.wasm_time.as_secs_f64() * 1e9).round() / 1e6);
    table(vec![
        text("name", texts(|listed| Some(listed.name.clone()))),
        text("kind", texts(|listed| Some(listed.kind.name().to_owned()))),
        text("plugin", texts(|listed| Some(listed.entry.plugin.clone()))),
        text("version", texts(|listed| Some(listed.entry.version.clone()))),
        text("signature", texts(|listed| listed.entry.signature.clone())),
        text("path", texts(|listed| Some(listed.entry.path.clone()))),
        text("digest", texts(|listed| Some(listed.entry.sha256.clone()))),
        count("bytes", entries().map(|entry| entry.bytes)),
        text(
            "settings",
            texts(|listed| {
                let settings = listed.entry.settings.iter();
                let settings: Vec<String> = settings
                    .map(|(name, value)| format!("{name} = {value}"))
                    .collect();
                (!settings.is_empty()).then(|| settings.join(", "))
            }),
        ),
        flag("loaded", all.iter().map(|listed| listed.stats.is_some())),
        count("calls", stats.iter().map(|stats| stats.calls)),
        count("rows", stats.iter().map(|stats| stats.rows)),
        (
            Field::new("time_ms", DataType::Float64, false),
            Arc::new(Float64Array::from_iter_values(times)),
        ),
        count("peak_memory", stats.iter().map(|stats| stats.peak_memory)),
        count("traps", stats.iter().map(|stats| stats.traps)),
        text("last_error", stats.iter().map(|stats| stats.last_error.clone())),
    ])
}

fn queries(running: &Running) -> Result<RecordBatch> {
    let all = running.all();
    let micros = |since: SystemTime| {
        let since = since.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
    };
    let started = all.iter().map(|statement| micros(statement.since));
    let started = TimestampMicrosecondArray::from_iter_values(started).with_timezone("UTC");
    let elapsed = all
        .iter()
        .map(|statement| statement.elapsed().as_secs_f64() * 1e3);
    table(vec![
        count("id", all.iter().map(|statement| statement.id)),
        text(
            "database",
            all.iter().map(|statement| Some(statement.database.clone())),
        ),
        text(
            "statement",
            all.iter().map(|statement| Some(statement.text.to_string())),
        ),
        (
            Field::new("started", started.data_type().clone(), false),
            Arc::new(started),
        ),
        (
            Field::new("elapsed_ms", DataType::Float64, false),
            Arc::new(Float64Array::from_iter_values(elapsed)),
        ),
        (
            Field::new("rows_done", DataType::UInt64, true),
            Arc::new(
                all.iter()
                    .map(|statement| statement.progress.rows())
                    .collect::<UInt64Array>(),
            ),
        ),
    ])
}

type Column = (Field, ArrayRef);

fn table(columns: Vec<Column>) -> Result<RecordBatch> {
    let (fields, arrays): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?)
}

fn text(name: &str, values: impl Iterator<Item = Option<String>>) -> Column {
    (
        Field::new(name, DataType::Utf8, true),
        Arc::new(values.collect::<StringArray>()),
    )
}

fn int(name: &str, values: impl Iterator<Item = i64>) -> Column {
    (
        Field::new(name, DataType::Int64, false),
        Arc::new(values.collect::<Int64Array>()),
    )
}

fn count(name: &str, values: impl Iterator<Item = u64>) -> Column {
    (
        Field::new(name, DataType::UInt64, false),
        Arc::new(values.collect::<UInt64Array>()),
    )
}

fn flag(name: &str, values: impl Iterator<Item = bool>) -> Column {
    (
        Field::new(name, DataType::Boolean, false),
        Arc::new(values.map(Some).collect::<BooleanArray>()),
    )
}
