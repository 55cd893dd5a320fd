//! Load and release.
//!
//! Everything is loaded into the one node there is: asking for more replicas, or for resource groups,
//! is refused instead of being ignored.

use elanus_collection::{Collection, Error as CollectionError, Field, LoadState, split_sub_field_name};
use milvus::proto::common::{LoadState as WireState, Status};
use milvus::proto::milvus as wire;

use crate::context::Context;
use crate::door::{Door, partition_id};
use crate::status::{Code, Error, Result};

/// The resource group that Milvus puts everything into when none is named.
const DEFAULT_RESOURCE_GROUP: &str = "__default_resource_group";

/// What a load asks for beside what is loaded.
struct Wish<'a> {
    replicas: i32,
    resource_groups: &'a [String],
    /// Whether only to pick up what a bulk import added.
    refresh: bool,
    fields: &'a [String],
    skip_dynamic: bool,
}

pub(crate) async fn load_collection(
    door: &Door,
    context: &Context,
    request: wire::LoadCollectionRequest,
) -> Result<Status> {
    let collection = door.collection(context, &request.db_name, &request.collection_name)?;
    let wish = Wish {
        replicas: request.replica_number,
        resource_groups: &request.resource_groups,
        refresh: request.refresh,
        fields: &request.load_fields,
        skip_dynamic: request.skip_load_dynamic_field,
    };
    load(&collection, None, &wish).await
}

pub(crate) async fn load_partitions(
    door: &Door,
    context: &Context,
    request: wire::LoadPartitionsRequest,
) -> Result<Status> {
    let collection = door.collection(context, &request.db_name, &request.collection_name)?;
    check_partitions(&collection, &request.partition_names, "load")?;
    let wish = Wish {
        replicas: request.replica_number,
        resource_groups: &request.resource_groups,
        refresh: request.refresh,
        fields: &request.load_fields,
        skip_dynamic: request.skip_load_dynamic_field,
    };
    load(&collection, Some(&request.partition_names), &wish).await
}

async fn load(collection: &Collection, partitions: Option<&[String]>, wish: &Wish<'_>) -> Result<Status> {
    check_node(wish)?;
    let fields = fields_to_load(collection, wish)?;
    if wish.refresh {
        // Rows are found as soon as they are written, so there is nothing to pick up.
        let ids = collection.partition_ids(partitions.unwrap_or_default())?;
        collection.check_loaded(&ids)?;
        return Ok(Status::default());
    }
    check_indexes(collection, fields.as_deref())?;
    collection.load_fields(partitions, fields.as_deref()).await?;
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
    check_partitions(&collection, &request.partition_names, "release")?;
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

/// Partitions that are loaded or released by name: at least one, each there, no partition key.
fn check_partitions(collection: &Collection, names: &[String], verb: &str) -> Result<()> {
    if names.is_empty() {
        return Err(Error::invalid(format!(
            "due to no partition specified: name the partitions to {verb}"
        )));
    }
    if collection.schema().partition_key().is_some() {
        return Err(Error::invalid(format!(
            "disable {verb} partitions if partition key mode is used"
        )));
    }
    names
        .iter()
        .try_for_each(|name| partition_id(collection, name).map(|_| ()))
}

/// There is one node in one resource group.
fn check_node(wish: &Wish<'_>) -> Result<()> {
    if wish.replicas > 1 {
        return Err(Error::new(
            Code::ResourceInsufficient,
            format!(
                "when load {} replica count: service resource insufficient: there is one node, replica_number can only be 1",
                wish.replicas
            ),
        ));
    }
    match wish
        .resource_groups
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
fn fields_to_load(collection: &Collection, wish: &Wish<'_>) -> Result<Option<Vec<String>>> {
    let schema = collection.schema();
    let given = wish.fields;
    if let Some(unknown) = given.iter().find(|name| schema.field(name).is_none()) {
        return Err(Error::new(
            Code::FieldNotFound,
            format!("field not found[field={unknown}]"),
        ));
    }
    if given.is_empty() && !wish.skip_dynamic {
        return Ok(None);
    }
    let mut chosen = Vec::new();
    for field in &schema.fields {
        let named = given.is_empty() || given.contains(&field.name);
        let wanted = if field.dynamic { !wish.skip_dynamic } else { named };
        if wanted {
            chosen.push(field.name.clone());
        } else if field.primary_key || field.partition_key {
            let what = if field.primary_key {
                "primary key"
            } else {
                "partition key"
            };
            return Err(Error::invalid(format!(
                "load field list {given:?} does not contain {what} field {}",
                field.name
            )));
        }
    }
    let is_chosen = |field: Field| {
        let of = split_sub_field_name(&field.name).map_or(field.name.as_str(), |(of, _)| of);
        chosen.iter().any(|name| name == of)
    };
    if !schema.vector_columns().any(is_chosen) {
        return Err(Error::invalid(format!(
            "load field list {given:?} does not contain any vector field"
        )));
    }
    Ok(Some(chosen))
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
        .vector_columns()
        .filter(|field| {
            let of = split_sub_field_name(&field.name).map_or(field.name.as_str(), |(of, _)| of);
            fields.is_none_or(|fields| fields.iter().any(|name| *name == field.name || name == of))
        })
        .filter(|field| !indexes.iter().any(|index| index.field == field.name))
        .map(|field| field.name)
        .collect();
    if unindexed.is_empty() {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "there is no vector index on field: [{}], please create index firstly",
        unindexed.join(" ")
    )))
}
