//! Query: rows by filter, in primary key order; and `count(*)`.

use std::sync::Arc;
use std::time::Instant;

use elanus_query::{FilterText, QueryRequest};
use milvus::proto::milvus as wire;
use milvus::proto::schema::field_data::Field as WireField;
use milvus::proto::schema::scalar_field::Data;
use milvus::proto::schema::{DataType, FieldData, LongArray, ScalarField};
use prost::Message;

use crate::context::Context;
use crate::convert::{keys, output, params, results, templates};
use crate::door::{Door, check_readable};
use crate::rpc::answer::{Answer, least_row_bytes};
use crate::rpc::refuse_namespace;
use crate::status::{Error, Result};

const COUNT: &str = "count(*)";
const AGGREGATES: [&str; 5] = ["count(", "sum(", "avg(", "min(", "max("];

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
    let counting = is_count(&request.output_fields)?;
    let key = collection.schema().primary_key()?;
    let empty_filter = request.expr.trim().is_empty();
    if counting && params.limit.is_some() {
        return Err(Error::invalid(
            "count entities with pagination is not allowed; leave limit and offset out",
        ));
    }
    if empty_filter && params.limit.is_none() && !counting {
        return Err(Error::invalid("empty expression should be used with limit"));
    }
    let output = if counting {
        output::Output::default()
    } else {
        output::resolve_with_key(collection.schema(), &request.output_fields, key)?
    };
    check_readable(&collection, &request.partition_names)?;
    // A list of ids needs no filter plan: keys are looked up directly.
    let wanted = keys::of_expression(&request.expr, key);
    let filter = if wanted.is_some() || empty_filter {
        None
    } else {
        Some(FilterText {
            text: request.expr,
            templates: templates::from_wire(request.expr_template_values)?,
        })
    };
    let zone = match params.zone {
        Some(zone) => zone,
        None => door.zone_of(&collection)?,
    };
    let read = QueryRequest {
        collection: Arc::clone(&collection),
        filter,
        keys: wanted,
        partitions: request.partition_names,
        output: output.columns.clone(),
        limit: params.limit,
        offset: params.offset,
        ignore_growing: params.ignore_growing,
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
    } else {
        answer.expect(door, &collection, || read.clone()).await?;
        let rows = door.engine().query(read).await?;
        (
            results::to_wire(collection.schema(), &output, &rows, zone)?,
            output.names,
        )
    };
    let name = collection.name();
    let reply = wire::QueryResults {
        fields_data,
        output_fields,
        primary_field_name: key.name.clone(),
        session_ts: collection.snapshot().timestamp,
        collection_name: request.collection_name,
        ..Default::default()
    };
    let bytes = reply.encoded_len();
    answer.check(bytes as u64)?;
    door.metrics().read("query", &name, started.elapsed(), bytes);
    Ok(reply)
}

/// Whether the output is `count(*)`; other aggregates are refused.
fn is_count(fields: &[String]) -> Result<bool> {
    let compact = |field: &String| field.to_lowercase().replace(' ', "");
    if let [field] = fields
        && compact(field) == COUNT
    {
        return Ok(true);
    }
    match fields
        .iter()
        .find(|field| AGGREGATES.iter().any(|name| compact(field).starts_with(name)))
    {
        Some(field) => Err(Error::unsupported(format!(
            "aggregate {field} in output fields; count(*) alone is"
        ))),
        None => Ok(false),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counting_is_told_from_other_aggregates() {
        let check = |names: &[&str]| is_count(&names.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert!(check(&["count(*)"]).unwrap());
        assert!(check(&["COUNT( * )"]).unwrap());
        assert!(!check(&["id", "city"]).unwrap());
        assert!(!check(&[]).unwrap());
        assert!(
            check(&["count(*)", "city"])
                .unwrap_err()
                .to_string()
                .starts_with("not supported: aggregate")
        );
        assert!(check(&["sum(price)"]).is_err());
    }
}
