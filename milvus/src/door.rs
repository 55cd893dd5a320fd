//! The state of the door: the engine behind it, its metrics and what it hands out.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono_tz::Tz;
use elanus_collection::{Collection, Collections, DataType, NameKind, validate_name};
use elanus_query::{Engine, FilterText};
use milvus::proto::schema::TemplateValue;

use crate::compactions::Compactions;
use crate::context::Context;
use crate::convert::{templates, time};
use crate::metrics::DoorMetrics;
use crate::pins::Pins;
use crate::status::{Code, Error, Result};

/// The Milvus release whose behaviour this door follows, and who is really speaking.
pub const SERVER_VERSION: &str = concat!("3.0.2-elanus-", env!("CARGO_PKG_VERSION"));

/// The Milvus gRPC service over an engine; cheap to clone.
#[derive(Clone)]
pub struct Door {
    engine: Arc<Engine>,
    metrics: Arc<DoorMetrics>,
    next_identifier: Arc<AtomicI64>,
    pins: Arc<Pins>,
    compactions: Arc<Compactions>,
}

impl Door {
    /// A door to this engine.
    pub fn new(engine: Arc<Engine>, metrics: Arc<DoorMetrics>) -> Self {
        let first = i64::try_from(engine.collections().oracle().next()).unwrap_or(1);
        Self {
            engine,
            metrics,
            next_identifier: Arc::new(AtomicI64::new(first)),
            pins: Arc::default(),
            compactions: Arc::default(),
        }
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(crate) fn collections(&self) -> &Collections {
        self.engine.collections()
    }

    pub(crate) fn metrics(&self) -> &DoorMetrics {
        &self.metrics
    }

    /// A number above 0 that was never given out: for a client that says hello, for a compaction.
    pub(crate) fn next_identifier(&self) -> i64 {
        self.next_identifier.fetch_add(1, Ordering::Relaxed)
    }

    /// The snapshots of iterators.
    pub(crate) fn pins(&self) -> &Arc<Pins> {
        &self.pins
    }

    /// The compactions that clients have asked for.
    pub(crate) fn compactions(&self) -> &Compactions {
        &self.compactions
    }

    /// A timestamp above every write that was acknowledged so far.
    pub(crate) fn timestamp(&self) -> u64 {
        self.collections().oracle().next()
    }

    /// The collection (or the one behind an alias) that a request names.
    pub(crate) fn collection(&self, context: &Context, db_name: &str, name: &str) -> Result<Arc<Collection>> {
        // A well-formed name is the common case; the rules matter only when nothing is found.
        match self.collections().collection(context.database(db_name), name) {
            Ok(collection) => Ok(collection),
            Err(error) => {
                validate_name(NameKind::Collection, name)?;
                Err(error.into())
            }
        }
    }

    /// The zone that `properties` name, else that of the database, else UTC.
    pub(crate) fn zone(&self, database: &str, properties: &BTreeMap<String, String>) -> Result<Tz> {
        if let Some(name) = properties.get(time::TIMEZONE) {
            return time::zone(name);
        }
        match self
            .collections()
            .database(database)?
            .properties
            .get(time::TIMEZONE)
        {
            Some(name) => time::zone(name),
            None => Ok(Tz::UTC),
        }
    }

    /// How a request shows the instants of a collection, in the zone that it names.
    pub(crate) fn instants(
        &self,
        collection: &Collection,
        zone: Option<Tz>,
        parts: Vec<time::Part>,
    ) -> Result<time::Shown> {
        let zone = match zone {
            Some(zone) => zone,
            None => self.zone_of(collection)?,
        };
        Ok(time::Shown { zone, parts })
    }

    /// A filter over a collection, whose instants without an offset are in the zone that the request names or the collection
    /// has; none when the text is empty.
    pub(crate) fn filter(
        &self,
        collection: &Collection,
        zone: Option<Tz>,
        text: String,
        values: HashMap<String, TemplateValue>,
    ) -> Result<Option<FilterText>> {
        if text.trim().is_empty() {
            return Ok(None);
        }
        Ok(Some(FilterText {
            text,
            templates: templates::from_wire(values)?,
            zone: Some(zone.map_or_else(|| self.zone_of(collection), Ok)?),
        }))
    }

    /// The zone of a collection; of no importance where it has no instants.
    pub(crate) fn zone_of(&self, collection: &Collection) -> Result<Tz> {
        let mut fields = collection.schema().fields.iter();
        if !fields.any(|field| field.data_type == DataType::TimestampTz) {
            return Ok(Tz::UTC);
        }
        self.zone(&collection.database(), &collection.properties())
    }
}

/// Partitions cannot be named where a partition key chooses them.
pub(crate) fn refuse_partition_names(collection: &Collection) -> Result<()> {
    match collection.schema().partition_key() {
        Some(_) => Err(Error::invalid(
            "not support manually specifying the partition names if partition key mode is used",
        )),
        None => Ok(()),
    }
}

/// Checks, before anything else of a read, that the collection is loaded and its partitions exist.
///
/// # Errors
/// `collection not loaded`, `partition not found`, `partition not loaded`, or partitions named beside
/// a partition key.
pub(crate) fn check_readable(collection: &Collection, partitions: &[String]) -> Result<()> {
    if !partitions.is_empty() {
        refuse_partition_names(collection)?;
    }
    let ids = partitions
        .iter()
        .map(|name| partition_id(collection, name))
        .collect::<Result<Vec<_>>>()?;
    Ok(collection.check_loaded(&ids)?)
}

/// The id of a partition by name.
pub(crate) fn partition_id(collection: &Collection, name: &str) -> Result<i64> {
    match collection.partition(name) {
        Ok(partition) => Ok(partition.id),
        Err(elanus_collection::Error::PartitionNotFound { name }) => Err(Error::new(
            Code::PartitionNotFound,
            format!("partition name {name} not found: partition not found[partition={name}]"),
        )),
        Err(other) => Err(other.into()),
    }
}
