//! Insert, Upsert, Delete.

use std::sync::Arc;
use std::time::Instant;

use elanus_collection::{Collection, WriteResult};
use milvus::proto::milvus as wire;
use milvus::proto::schema::FieldData;
use prost::Message;

use crate::context::Context;
use crate::convert::{field_data, keys};
use crate::door::{Door, check_readable, partition_id, refuse_partition_names};
use crate::metrics::Write;
use crate::rpc::refuse_namespace;
use crate::status::{Code, Error, Result};

pub(crate) async fn insert(
    door: &Door,
    context: &Context,
    request: wire::InsertRequest,
) -> Result<wire::MutationResult> {
    let started = Instant::now();
    door.metrics().received("insert", request.encoded_len());
    refuse_namespace(request.namespace.as_deref())?;
    let collection = door.collection(context, &request.db_name, &request.collection_name)?;
    check_schema(&collection, request.schema_timestamp)?;
    let partition = target(&collection, &request.partition_name)?;
    let rows = batch(door, &collection, request.fields_data, request.num_rows)?;
    let written = collection.insert(rows, partition).await?;
    let count = written.rows;
    record(door, Write::Insert, &collection, count, started);
    Ok(wire::MutationResult {
        insert_cnt: signed(count),
        ..mutation(written)
    })
}

pub(crate) async fn upsert(
    door: &Door,
    context: &Context,
    request: wire::UpsertRequest,
) -> Result<wire::MutationResult> {
    let started = Instant::now();
    door.metrics().received("upsert", request.encoded_len());
    if request.partial_update || !request.field_ops.is_empty() {
        return Err(Error::unsupported(
            "partial update (upsert with partial_update or field_ops); send whole rows",
        ));
    }
    refuse_namespace(request.namespace.as_deref())?;
    let collection = door.collection(context, &request.db_name, &request.collection_name)?;
    check_schema(&collection, request.schema_timestamp)?;
    let partition = target(&collection, &request.partition_name)?;
    let rows = batch(door, &collection, request.fields_data, request.num_rows)?;
    let written = collection.upsert(rows, partition).await?;
    let count = written.rows;
    record(door, Write::Upsert, &collection, count, started);
    Ok(wire::MutationResult {
        upsert_cnt: signed(count),
        insert_cnt: signed(count),
        delete_cnt: signed(written.deleted),
        ..mutation(written)
    })
}

pub(crate) async fn delete(
    door: &Door,
    context: &Context,
    request: wire::DeleteRequest,
) -> Result<wire::MutationResult> {
    let started = Instant::now();
    refuse_namespace(request.namespace.as_deref())?;
    let collection = door.collection(context, &request.db_name, &request.collection_name)?;
    let partition = target(&collection, &request.partition_name)?;
    if request.expr.trim().is_empty() {
        return Err(Error::invalid(
            "failed to create delete plan: empty expression: name the rows to delete, for example id in [1, 2]",
        ));
    }
    let key = collection.schema().primary_key()?;
    let written = match keys::of_expression(&request.expr, key) {
        Some(keys) => {
            let ids = partition
                .map(|name| partition_id(&collection, name))
                .transpose()?;
            collection.delete(keys, ids.map(|id| vec![id])).await?
        }
        None => {
            // Rows are found by a read, which Milvus allows on loaded collections only.
            let partitions: Vec<_> = partition.map(str::to_string).into_iter().collect();
            check_readable(&collection, &partitions)?;
            let filter = door.filter(&collection, None, request.expr, request.expr_template_values)?;
            let filter = filter.ok_or_else(|| Error::invalid("the filter of a delete is empty"))?;
            door.engine()
                .delete_where(Arc::clone(&collection), filter, partitions)
                .await
                .map_err(as_delete_plan)?
        }
    };
    let count = written.deleted;
    record(door, Write::Delete, &collection, count, started);
    // Clients take ids in the reply for the rows of old servers that could not count, so there are none.
    Ok(wire::MutationResult {
        delete_cnt: signed(count),
        timestamp: written.timestamp,
        acknowledged: true,
        ..Default::default()
    })
}

/// Milvus names the plan that failed.
fn as_delete_plan(error: elanus_query::QueryError) -> Error {
    let error = Error::from(error);
    let text = error.to_string();
    match text.strip_prefix("failed to create query plan: ") {
        Some(rest) => Error::new(error.code(), format!("failed to create delete plan: {rest}")),
        None => error,
    }
}

/// Clients keep a copy of the schema and say with a write how old it is (0: they do not say).
///
/// The collection behind a name may be another one by now, altered, dropped and made again or behind an
/// alias that moved; what the client packed by the old schema must not be read by the new one.
fn check_schema(collection: &Collection, schema_timestamp: u64) -> Result<()> {
    if schema_timestamp == 0 || schema_timestamp == collection.schema_ts() {
        return Ok(());
    }
    Err(Error::new(
        Code::SchemaMismatch,
        format!("collection schema mismatch[collection={}]", collection.name()),
    ))
}

/// The partition that rows go to or are deleted from, if one is named.
fn target<'a>(collection: &Collection, partition_name: &'a str) -> Result<Option<&'a str>> {
    if partition_name.is_empty() {
        return Ok(None);
    }
    refuse_partition_names(collection)?;
    match collection.partition(partition_name) {
        Ok(_) => Ok(Some(partition_name)),
        Err(elanus_collection::Error::PartitionNotFound { name }) => Err(Error::new(
            Code::PartitionNotFound,
            format!("partition not found[partition={name}]"),
        )),
        Err(error) => Err(error.into()),
    }
}

fn batch(
    door: &Door,
    collection: &Collection,
    fields: Vec<FieldData>,
    num_rows: u32,
) -> Result<arrow::array::RecordBatch> {
    field_data::batch_from_wire(collection.schema(), fields, num_rows, door.zone_of(collection)?)
}

fn record(door: &Door, kind: Write, collection: &Collection, rows: u64, started: Instant) {
    door.metrics().wrote(
        kind,
        &collection.database(),
        &collection.name(),
        rows,
        started.elapsed(),
    );
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn mutation(written: WriteResult) -> wire::MutationResult {
    let rows = u32::try_from(written.keys.len()).unwrap_or(u32::MAX);
    wire::MutationResult {
        timestamp: written.timestamp,
        i_ds: Some(keys::to_wire(written.keys)),
        succ_index: (0..rows).collect(),
        acknowledged: true,
        ..Default::default()
    }
}
