//! Partitions.

use elanus_collection::{Collection, Error as CollectionError, LoadState, PartitionInfo, TimestampOracle};
use milvus::proto::{common::Status, milvus as wire};

use crate::context::Context;
use crate::convert::pair;
use crate::door::{Door, partition_id};
use crate::status::{Error, Result};

pub(crate) async fn create(
    door: &Door,
    context: &Context,
    request: wire::CreatePartitionRequest,
) -> Result<Status> {
    let collection = door.collection(context, &request.db_name, &request.collection_name)?;
    match collection.create_partition(&request.partition_name).await {
        // Asking again for a partition that is there is no mistake in Milvus.
        Ok(()) | Err(CollectionError::PartitionExists { .. }) => Ok(Status::default()),
        Err(error) => Err(error.into()),
    }
}

pub(crate) async fn drop(
    door: &Door,
    context: &Context,
    request: wire::DropPartitionRequest,
) -> Result<Status> {
    let collection = door.collection(context, &request.db_name, &request.collection_name)?;
    match collection.drop_partition(&request.partition_name).await {
        Ok(()) | Err(CollectionError::PartitionNotFound { .. }) => Ok(Status::default()),
        Err(CollectionError::StillLoaded { .. }) => Err(Error::unexpected(
            "partition cannot be dropped, partition is loaded, please release it first",
        )),
        Err(error) => Err(error.into()),
    }
}

pub(crate) fn has(
    door: &Door,
    context: &Context,
    request: &wire::HasPartitionRequest,
) -> Result<wire::BoolResponse> {
    let collection = door.collection(context, &request.db_name, &request.collection_name)?;
    let value = match collection.partition(&request.partition_name) {
        Ok(_) => true,
        Err(CollectionError::PartitionNotFound { .. }) => false,
        Err(error) => return Err(error.into()),
    };
    Ok(wire::BoolResponse {
        value,
        ..Default::default()
    })
}

#[expect(
    deprecated,
    reason = "clients ask what is in memory with the deprecated fields"
)]
pub(crate) fn show(
    door: &Door,
    context: &Context,
    request: &wire::ShowPartitionsRequest,
) -> Result<wire::ShowPartitionsResponse> {
    let collection = if request.collection_name.is_empty() && request.collection_id != 0 {
        super::collection::by_id(door, context, &request.db_name, request.collection_id)?
    } else {
        door.collection(context, &request.db_name, &request.collection_name)?
    };
    let mut partitions = collection.partitions();
    if !request.partition_names.is_empty() {
        for name in &request.partition_names {
            partition_id(&collection, name)?;
        }
        partitions.retain(|partition| request.partition_names.contains(&partition.name));
    }
    let in_memory = request.r#type == wire::ShowType::InMemory as i32;
    let mut percentages = Vec::new();
    if in_memory {
        let mut kept = Vec::new();
        for partition in partitions {
            let name = std::slice::from_ref(&partition.name);
            if collection.load_state(name)? != LoadState::NotLoad {
                percentages.push(i64::from(collection.load_progress(name)?));
                kept.push(partition);
            }
        }
        partitions = kept;
    }
    let created: Vec<u64> = partitions
        .iter()
        .map(|partition: &PartitionInfo| partition.created_ts)
        .collect();
    Ok(wire::ShowPartitionsResponse {
        partition_i_ds: partitions.iter().map(|partition| partition.id).collect(),
        partition_names: partitions.into_iter().map(|partition| partition.name).collect(),
        created_utc_timestamps: created
            .iter()
            .map(|ts| TimestampOracle::unix_millis(*ts))
            .collect(),
        created_timestamps: created,
        in_memory_percentages: percentages,
        ..Default::default()
    })
}

pub(crate) fn statistics(
    door: &Door,
    context: &Context,
    request: &wire::GetPartitionStatisticsRequest,
) -> Result<wire::GetPartitionStatisticsResponse> {
    let collection = door.collection(context, &request.db_name, &request.collection_name)?;
    let rows = row_count(&collection, partition_id(&collection, &request.partition_name)?);
    Ok(wire::GetPartitionStatisticsResponse {
        stats: vec![pair("row_count", rows.to_string())],
        ..Default::default()
    })
}

/// Rows of a partition that are not deleted.
fn row_count(collection: &Collection, partition: i64) -> u64 {
    collection
        .snapshot()
        .units_of(&[partition])
        .map(|unit| unit.live_rows())
        .sum()
}
