//! Collections: create, drop, describe, list, rename, alter, count.

use std::sync::Arc;

use elanus_collection::{
    Collection, CollectionSpec, Error as CollectionError, LoadState, NameKind, TimestampOracle, validate_name,
};
use milvus::proto::common::{ConsistencyLevel, Status};
use milvus::proto::milvus as wire;
use milvus::proto::schema::CollectionSchema;
use prost::Message;

use crate::context::Context;
use crate::convert::{pair, properties, schema, to_map, to_pairs};
use crate::door::Door;
use crate::status::{Code, Error, Result};

/// Longest description in bytes.
const MAX_DESCRIPTION: usize = 1_024;
/// Most partitions of a partition-key collection.
const MAX_PARTITIONS: i64 = 1_024;

pub(crate) async fn create(
    door: &Door,
    context: &Context,
    request: wire::CreateCollectionRequest,
) -> Result<Status> {
    let database = context.database(&request.db_name);
    let name = request.collection_name;
    let wire_schema = CollectionSchema::decode(request.schema.as_slice())
        .map_err(|e| Error::invalid(format!("the schema of collection {name} cannot be decoded: {e}")))?;
    validate_name(NameKind::Collection, &name)?;
    let mut properties = to_map(request.properties);
    properties.extend(to_map(wire_schema.properties.clone()));
    properties::check_collection(&properties)?;
    let zone = door.zone(database, &properties)?;
    let schema = schema::from_wire(&name, wire_schema, zone)?;
    if schema.description.len() > MAX_DESCRIPTION {
        return Err(Error::invalid(format!(
            "the description of collection {name} has {} bytes, at most {MAX_DESCRIPTION} are allowed",
            schema.description.len()
        )));
    }
    if ConsistencyLevel::try_from(request.consistency_level).is_err() {
        return Err(Error::invalid(format!(
            "consistency level {} does not exist; allowed are 0 (Strong), 1 (Session), 2 (Bounded), 3 (Eventually), 4 (Customized)",
            request.consistency_level
        )));
    }
    let num_partitions = num_partitions(request.num_partitions, schema.partition_key().is_some())?;
    let spec = CollectionSpec {
        schema,
        shards: request.shards_num.max(1),
        consistency: request.consistency_level,
        properties,
        num_partitions,
    };
    match door
        .collections()
        .create_collection(database, &name, spec.clone())
        .await
    {
        Ok(_) => Ok(Status::default()),
        Err(CollectionError::CollectionExists { .. }) => same_or_error(door, database, &name, spec),
        Err(error) => Err(error.into()),
    }
}

/// Creating a collection again with the same parameters is no mistake in Milvus.
fn same_or_error(door: &Door, database: &str, name: &str, mut spec: CollectionSpec) -> Result<Status> {
    let existing = door.collections().collection(database, name)?;
    spec.schema.validate()?;
    let same = existing.name() == name
        && **existing.schema() == spec.schema
        && existing.shards() == spec.shards
        && existing.consistency() == spec.consistency
        && existing.properties() == spec.properties
        && spec
            .num_partitions
            .is_none_or(|asked| existing.partitions().len() == asked as usize);
    if same {
        return Ok(Status::default());
    }
    Err(Error::unexpected(format!(
        "create duplicate collection with different parameters, collection: {name}"
    )))
}

fn num_partitions(asked: i64, partition_key: bool) -> Result<Option<u32>> {
    if asked == 0 {
        return Ok(None);
    }
    if !partition_key {
        return Err(Error::invalid(
            "num_partitions should only be specified with partition key field enabled",
        ));
    }
    u32::try_from(asked)
        .ok()
        .filter(|_| (1..=MAX_PARTITIONS).contains(&asked))
        .map(Some)
        .ok_or_else(|| {
            Error::invalid(format!(
                "partition number ({asked}) should be in range [1, max configuration ({MAX_PARTITIONS})]"
            ))
        })
}

pub(crate) async fn drop(
    door: &Door,
    context: &Context,
    request: wire::DropCollectionRequest,
) -> Result<Status> {
    let database = context.database(&request.db_name);
    validate_name(NameKind::Collection, &request.collection_name)?;
    // By name alone: a collection whose files are damaged can be dropped too.
    match door
        .collections()
        .drop_collection(database, &request.collection_name)
        .await
    {
        // Dropping what is not there is no mistake in Milvus.
        Ok(()) | Err(CollectionError::CollectionNotFound { .. }) => Ok(Status::default()),
        // The name is an alias.
        Err(CollectionError::InvalidParameter(what)) => Err(Error::unexpected(what)),
        Err(error) => Err(error.into()),
    }
}

pub(crate) fn has(
    door: &Door,
    context: &Context,
    request: &wire::HasCollectionRequest,
) -> Result<wire::BoolResponse> {
    let value = match door.collection(context, &request.db_name, &request.collection_name) {
        Ok(_) => true,
        Err(error) if error.code() == Code::CollectionNotFound => false,
        Err(error) => return Err(error),
    };
    Ok(wire::BoolResponse {
        value,
        ..Default::default()
    })
}

pub(crate) fn describe(
    door: &Door,
    context: &Context,
    request: &wire::DescribeCollectionRequest,
) -> Result<wire::DescribeCollectionResponse> {
    let collection = if request.collection_name.is_empty() && request.collection_id != 0 {
        by_id(door, context, &request.db_name, request.collection_id)?
    } else {
        let found = door.collection(context, &request.db_name, &request.collection_name);
        found.map_err(|error| error.reworded("collection not found[", "can't find collection["))?
    };
    description(door, &collection)
}

pub(crate) fn describe_batch(
    door: &Door,
    context: &Context,
    request: &wire::BatchDescribeCollectionRequest,
) -> Result<wire::BatchDescribeCollectionResponse> {
    use crate::reply::Reply;
    let by_name = request
        .collection_name
        .iter()
        .map(|name| door.collection(context, &request.db_name, name));
    let by_number = request
        .collection_id
        .iter()
        .map(|id| by_id(door, context, &request.db_name, *id));
    let responses = by_name
        .chain(by_number)
        .map(
            |found| match found.and_then(|collection| description(door, &collection)) {
                Ok(reply) => reply.succeeded(),
                Err(error) => Reply::failed(&error),
            },
        )
        .collect();
    Ok(wire::BatchDescribeCollectionResponse {
        responses,
        ..Default::default()
    })
}

/// The collection of this id in a database.
pub(crate) fn by_id(door: &Door, context: &Context, db_name: &str, id: i64) -> Result<Arc<Collection>> {
    let database = context.database(db_name);
    door.collections()
        .list(database)?
        .into_iter()
        .find(|collection| collection.id() == id)
        .ok_or_else(|| {
            Error::new(
                Code::CollectionNotFound,
                format!("collection not found[database={database}][collection={id}]"),
            )
        })
}

#[expect(deprecated, reason = "older clients read auto_id from the collection")]
fn description(door: &Door, collection: &Collection) -> Result<wire::DescribeCollectionResponse> {
    let name = collection.name();
    let database = collection.database();
    let mut wire_schema = schema::to_wire(&name, &database, collection.schema());
    wire_schema.auto_id = collection.schema().primary_key()?.auto_id;
    let (created, changed) = (collection.created_ts(), collection.schema_ts());
    let channels: Vec<String> = (0..collection.shards().max(1))
        .map(|shard| format!("elanus-dml_{shard}_{}v{shard}", collection.id()))
        .collect();
    Ok(wire::DescribeCollectionResponse {
        aliases: door.collections().aliases(&database, Some(&name))?,
        schema: Some(wire_schema),
        collection_id: collection.id(),
        physical_channel_names: channels.clone(),
        virtual_channel_names: channels,
        created_timestamp: created,
        created_utc_timestamp: TimestampOracle::unix_millis(created),
        update_timestamp: changed,
        update_timestamp_str: changed.to_string(),
        shards_num: collection.shards(),
        consistency_level: collection.consistency(),
        properties: to_pairs(&collection.properties()),
        num_partitions: i64::try_from(collection.partitions().len()).unwrap_or(i64::MAX),
        db_id: door.collections().database(&database)?.id,
        request_time: door.timestamp(),
        collection_name: name,
        db_name: database,
        ..Default::default()
    })
}

#[expect(
    deprecated,
    reason = "clients narrow the list and ask what is in memory with the deprecated fields"
)]
pub(crate) fn show(
    door: &Door,
    context: &Context,
    request: &wire::ShowCollectionsRequest,
) -> Result<wire::ShowCollectionsResponse> {
    let in_memory = request.r#type == wire::ShowType::InMemory as i32;
    let mut reply = wire::ShowCollectionsResponse::default();
    for name in request.collection_names.iter().filter(|_| in_memory) {
        door.collection(context, &request.db_name, name)?;
    }
    for collection in door.collections().list(context.database(&request.db_name))? {
        let name = collection.name();
        if !request.collection_names.is_empty() && !request.collection_names.contains(&name) {
            continue;
        }
        if in_memory {
            if collection.load_state(&[])? == LoadState::NotLoad {
                continue;
            }
            let percent = collection.load_progress(&[])?;
            reply.in_memory_percentages.push(i64::from(percent));
            reply.query_service_available.push(percent == 100);
        }
        reply.collection_names.push(name);
        reply.collection_ids.push(collection.id());
        reply.created_timestamps.push(collection.created_ts());
        reply
            .created_utc_timestamps
            .push(TimestampOracle::unix_millis(collection.created_ts()));
        reply.shards_num.push(collection.shards());
    }
    Ok(reply)
}

pub(crate) async fn alter(
    door: &Door,
    context: &Context,
    request: wire::AlterCollectionRequest,
) -> Result<Status> {
    let collection = door.collection(context, &request.db_name, &request.collection_name)?;
    let set = to_map(request.properties);
    if !set.is_empty() && !request.delete_keys.is_empty() {
        return Err(Error::invalid(
            "cannot provide both DeleteKeys and Properties: set or drop properties, one at a time",
        ));
    }
    if set.is_empty() && request.delete_keys.is_empty() {
        return Err(Error::invalid("no properties or delete keys provided"));
    }
    if set.contains_key("collection.description") {
        return Err(Error::unsupported(
            "altering the description of a collection (collection.description)",
        ));
    }
    properties::check_collection(&set)?;
    if set.contains_key(properties::DYNAMIC_FIELD_ENABLED) && collection.schema().enable_dynamic_field {
        return Err(Error::invalid(format!(
            "dynamic schema cannot supported to be disabled ({} of collection {})",
            properties::DYNAMIC_FIELD_ENABLED,
            collection.name()
        )));
    }
    collection.alter_properties(set, &request.delete_keys).await?;
    Ok(Status::default())
}

pub(crate) async fn rename(
    door: &Door,
    context: &Context,
    request: wire::RenameCollectionRequest,
) -> Result<Status> {
    let database = context.database(&request.db_name);
    let new_database = if request.new_db_name.is_empty() {
        database
    } else {
        request.new_db_name.as_str()
    };
    validate_name(NameKind::Collection, &request.new_name)?;
    door.collection(context, &request.db_name, &request.old_name)?;
    match door
        .collections()
        .rename_collection(database, &request.old_name, new_database, &request.new_name)
        .await
    {
        Ok(()) => Ok(Status::default()),
        Err(
            CollectionError::CollectionExists { name, .. }
            | CollectionError::AliasCollectionNameConflict { name, .. },
        ) => Err(Error::unexpected(format!(
            "duplicated new collection name {new_database}:{name} with other collection name or alias"
        ))),
        Err(CollectionError::CollectionHasAliases { aliases, .. }) => Err(Error::invalid(format!(
            "fail to rename db name, must drop all aliases of this collection before rename: [{}]",
            aliases.join(" ")
        ))),
        Err(error) => Err(error.into()),
    }
}

pub(crate) fn statistics(
    door: &Door,
    context: &Context,
    request: &wire::GetCollectionStatisticsRequest,
) -> Result<wire::GetCollectionStatisticsResponse> {
    let collection = door.collection(context, &request.db_name, &request.collection_name)?;
    let stats = vec![pair("row_count", collection.row_count().to_string())];
    Ok(wire::GetCollectionStatisticsResponse {
        stats,
        ..Default::default()
    })
}
