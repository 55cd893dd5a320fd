//! Query: rows by filter, in the order of their keys or of other columns; `count(*)` and other aggregates.

use std::sync::Arc;
use std::time::Instant;

use elanus_query::{AggregateRequest, QueryRequest};
use milvus::proto::milvus as wire;
use milvus::proto::schema::field_data::Field as WireField;
use milvus::proto::schema::scalar_field::Data;
use milvus::proto::schema::{DataType, FieldData, LongArray, ScalarField};
use prost::Message;

use crate::context::Context;
use crate::convert::aggregates::{self, Aggregates};
use crate::convert::{keys, output, params, results};
use crate::door::{Door, check_readable};
use crate::rpc::answer::{Answer, least_row_bytes};
use crate::rpc::refuse_namespace;
use crate::status::{Error, Result};

const COUNT: &str = "count(*)";

pub(crate) async fn query(
    door: &Door,
    context: &Context,
    request: wire::QueryRequest,
) -> Result<wire::QueryResults> {
    let started = Instant::now();
    door.metrics().received("query", request.encoded_len());
    refuse_namespace(request.namespace.as_deref())?;
    let collection = door.collection(context, &request.db_name, &request.collection_name)?;
    let params = params::query(request.query_params)?;
    let pin = match door
        .pins()
        .of(&collection, request.guarantee_timestamp, params.iterator)?
    {
        None if params.iterator => Some(door.pins().pin(&collection, door.timestamp())),
        pin => pin,
    };
    let collection = pin.as_ref().map_or(collection, |pin| Arc::clone(&pin.collection));
    let aggregates = aggregates::of_output(&request.output_fields, &params.group_by)?;
    let counting = params.group_by.is_empty() && aggregates.as_ref().is_some_and(Aggregates::is_count);
    let key = collection.schema().primary_key()?;
    let empty_filter = request.expr.trim().is_empty();
    if counting && params.limit.is_some() {
        return Err(Error::invalid(
            "count entities with pagination is not allowed; leave limit and offset out",
        ));
    }
    if empty_filter && params.limit.is_none() && aggregates.is_none() {
        return Err(Error::invalid("empty expression should be used with limit"));
    }
    if aggregates.is_some() && !params.order.is_empty() {
        return Err(Error::unsupported(
            "order_by_fields together with aggregates; groups come in the order of their values",
        ));
    }
    let output = if aggregates.is_some() {
        output::Output::default()
    } else {
        output::resolve_with_key(collection.schema(), &request.output_fields, key)?
    };
    check_readable(&collection, &request.partition_names)?;
    // A list of ids needs no filter plan: keys are looked up directly.
    let wanted = keys::of_expression(&request.expr, key);
    let filter = if wanted.is_some() {
        None
    } else {
        door.filter(
            &collection,
            params.zone,
            request.expr,
            request.expr_template_values,
        )?
    };
    let instants = door.instants(&collection, params.zone, params.time_parts)?;
    let read = QueryRequest {
        collection: Arc::clone(&collection),
        filter,
        keys: wanted,
        partitions: request.partition_names,
        output: output.columns.clone(),
        limit: params.limit,
        offset: params.offset,
        ignore_growing: params.ignore_growing,
        order: params.order,
        snapshot: pin.as_ref().map(|pin| Arc::clone(&pin.snapshot)),
    };
    let answer = Answer {
        kind: "query",
        queries: 1,
        limit: params.limit,
        offset: params.offset,
        row_bytes: least_row_bytes(collection.schema(), &output.columns),
    };
    let (fields_data, output_fields) = if counting {
        (
            vec![count_field(door.engine().count(read).await?)],
            vec![COUNT.to_string()],
        )
    } else if let Some(aggregates) = aggregates {
        if !instants.parts.is_empty() {
            return Err(Error::unsupported("time_fields together with aggregates"));
        }
        let request = AggregateRequest {
            rows: read,
            group_by: params.group_by,
            aggregates: aggregates.aggregates.clone(),
        };
        let rows = door.engine().aggregate(request).await?;
        (
            aggregates.to_wire(collection.schema(), &rows, instants.zone)?,
            aggregates.names,
        )
    } else {
        answer.expect(door, &collection, || read.clone()).await?;
        let rows = door.engine().query(read).await?;
        (
            results::to_wire(collection.schema(), &output, &rows, &instants)?,
            output.names,
        )
    };
    let name = collection.name();
    let reply = wire::QueryResults {
        fields_data,
        output_fields,
        primary_field_name: key.name.clone(),
        session_ts: pin.map_or_else(|| collection.snapshot().timestamp, |pin| pin.session),
        collection_name: request.collection_name,
        ..Default::default()
    };
    let bytes = reply.encoded_len();
    answer.check(bytes as u64)?;
    door.metrics().read("query", &name, started.elapsed(), bytes);
    Ok(reply)
}

fn count_field(count: u64) -> FieldData {
    let data = Data::LongData(LongArray {
        data: vec![i64::try_from(count).unwrap_or(i64::MAX)],
    });
    FieldData {
        r#type: DataType::Int64 as i32,
        field_name: COUNT.to_string(),
        field: Some(WireField::Scalars(ScalarField {
            data: Some(data),
            ..Default::default()
        })),
        ..Default::default()
    }
}
