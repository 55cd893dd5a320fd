//! Load and release.
//!
//! Everything is loaded into the one node there is: asking for more replicas, or for a part of the
//! fields only, is refused instead of being ignored.

use elanus_collection::{Collection, Error as CollectionError, LoadState};
use milvus::proto::common::{LoadState as WireState, Status};
use milvus::proto::milvus as wire;

use crate::context::Context;
use crate::door::{Door, partition_id};
use crate::status::{Code, Error, Result};

/// The resource group that Milvus puts everything into when none is named.
const DEFAULT_RESOURCE_GROUP: &str = "__default_resource_group";

pub(crate) async fn load_collection(
    door: &Door,
    context: &Context,
    request: wire::LoadCollectionRequest,
) -> Result<Status> {
    let collection = door.collection(context, &request.db_name, &request.collection_name)?;
    check_options(request.replica_number, &request.resource_groups)?;
    let fields = fields_to_load(&collection, &request.load_fields, request.skip_load_dynamic_field)?;
    check_indexes(&collection, fields.as_deref())?;
    collection.load_fields(None, fields.as_deref()).await?;
    Ok(Status::default())
}

pub(crate) async fn load_partitions(
    door: &Door,
    context: &Context,
    request: wire::LoadPartitionsRequest,
) -> Result<Status> {
    let collection = door.collection(context, &request.db_name, &request.collection_name)?;
    if request.partition_names.is_empty() {
        return Err(Error::invalid(
            "due to no partition specified: name the partitions to load",
        ));
    }
    refuse_partition_key(&collection, "load partitions")?;
    check_options(request.replica_number, &request.resource_groups)?;
    let fields = fields_to_load(&collection, &request.load_fields, request.skip_load_dynamic_field)?;
    for name in &request.partition_names {
        partition_id(&collection, name)?;
    }
    check_indexes(&collection, fields.as_deref())?;
    collection
        .load_fields(Some(&request.partition_names), fields.as_deref())
        .await?;
    Ok(Status::default())
}

pub(crate) async fn release_collection(
    door: &Door,
    context: &Context,
    request: wire::ReleaseCollectionRequest,
) -> Result<Status> {
    let collection = door.collection(context, &request.db_name, &request.collection_name)?;
    collection.release(None).await?;
    Ok(Status::default())
}

pub(crate) async fn release_partitions(
    door: &Door,
    context: &Context,
    request: wire::ReleasePartitionsRequest,
) -> Result<Status> {
    let collection = door.collection(context, &request.db_name, &request.collection_name)?;
    if request.partition_names.is_empty() {
        return Err(Error::invalid(
            "due to no partition specified: name the partitions to release",
        ));
    }
    refuse_partition_key(&collection, "release partitions")?;
    for name in &request.partition_names {
        partition_id(&collection, name)?;
    }
    collection.release(Some(&request.partition_names)).await?;
    Ok(Status::default())
}

pub(crate) fn progress(
    door: &Door,
    context: &Context,
    request: &wire::GetLoadingProgressRequest,
) -> Result<wire::GetLoadingProgressResponse> {
    let collection = door.collection(context, &request.db_name, &request.collection_name)?;
    for name in &request.partition_names {
        partition_id(&collection, name)?;
    }
    if collection.load_state(&request.partition_names)? == LoadState::NotLoad {
        return Err(match request.partition_names.as_slice() {
            [] => CollectionError::CollectionNotLoaded {
                name: request.collection_name.clone(),
            }
            .into(),
            names => CollectionError::PartitionNotLoaded {
                name: names.join(","),
            }
            .into(),
        });
    }
    let progress = i64::from(collection.load_progress(&request.partition_names)?);
    Ok(wire::GetLoadingProgressResponse {
        progress,
        refresh_progress: progress,
        ..Default::default()
    })
}

pub(crate) fn state(
    door: &Door,
    context: &Context,
    request: &wire::GetLoadStateRequest,
) -> Result<wire::GetLoadStateResponse> {
    let state = match door.collection(context, &request.db_name, &request.collection_name) {
        Ok(collection) => {
            for name in &request.partition_names {
                partition_id(&collection, name)?;
            }
            match collection.load_state(&request.partition_names)? {
                LoadState::NotLoad => WireState::NotLoad,
                LoadState::Loading => WireState::Loading,
                LoadState::Loaded => WireState::Loaded,
            }
        }
        Err(error) if error.code() == Code::CollectionNotFound => WireState::NotExist,
        Err(error) => return Err(error),
    };
    Ok(wire::GetLoadStateResponse {
        state: state as i32,
        ..Default::default()
    })
}

/// Milvus words the two cases apart: no index at all, and some vector field without one.
fn check_indexes(collection: &Collection, fields: Option<&[String]>) -> Result<()> {
    let indexes = collection.indexes();
    if indexes.is_empty() {
        return Err(Error::new(
            Code::IndexNotFound,
            format!(
                "index not found[collection={}]: create an index on every vector field before loading",
                collection.name()
            ),
        ));
    }
    let unindexed: Vec<_> = collection
        .schema()
        .vector_fields()
        .filter(|field| fields.is_none_or(|fields| fields.contains(&field.name)))
        .filter(|field| !indexes.iter().any(|index| index.field == field.name))
        .map(|field| field.name.clone())
        .collect();
    if unindexed.is_empty() {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "there is no vector index on field: [{}], please create index firstly",
        unindexed.join(" ")
    )))
}

fn check_options(replicas: i32, resource_groups: &[String]) -> Result<()> {
    if replicas > 1 {
        return Err(Error::new(
            Code::ResourceInsufficient,
            format!(
                "when load {replicas} replica count: service resource insufficient: there is one node, replica_number can only be 1"
            ),
        ));
    }
    match resource_groups
        .iter()
        .find(|group| *group != DEFAULT_RESOURCE_GROUP)
    {
        Some(group) => Err(Error::unsupported(format!(
            "resource group {group}; the only one is {DEFAULT_RESOURCE_GROUP}"
        ))),
        None => Ok(()),
    }
}

/// The fields that a partial load names, checked by Milvus' rules; `None` for a whole load.
fn fields_to_load(
    collection: &Collection,
    load_fields: &[String],
    skip_dynamic: bool,
) -> Result<Option<Vec<String>>> {
    let schema = collection.schema();
    if let Some(unknown) = load_fields.iter().find(|name| schema.field(name).is_none()) {
        return Err(Error::new(
            Code::FieldNotFound,
            format!("field not found[field={unknown}]"),
        ));
    }
    if load_fields.is_empty() && !skip_dynamic {
        return Ok(None);
    }
    let mut chosen = Vec::new();
    for field in &schema.fields {
        let named = load_fields.is_empty() || load_fields.contains(&field.name);
        let wanted = if field.dynamic { !skip_dynamic } else { named };
        if wanted {
            chosen.push(field.name.clone());
        } else if field.primary_key || field.partition_key {
            let what = if field.primary_key {
                "primary key"
            } else {
                "partition key"
            };
            return Err(Error::invalid(format!(
                "load field list {load_fields:?} does not contain {what} field {}",
                field.name
            )));
        }
    }
    if !schema.vector_fields().any(|field| chosen.contains(&field.name)) {
        return Err(Error::invalid(format!(
            "load field list {load_fields:?} does not contain any vector field"
        )));
    }
    Ok(Some(chosen))
}

fn refuse_partition_key(collection: &Collection, what: &str) -> Result<()> {
    match collection.schema().partition_key() {
        Some(_) => Err(Error::invalid(format!(
            "disable {what} if partition key mode is used"
        ))),
        None => Ok(()),
    }
}
