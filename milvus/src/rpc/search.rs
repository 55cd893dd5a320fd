//! Search: nearest neighbours of one or more query vectors.

use std::sync::Arc;
use std::time::Instant;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::Float32Type;
use elanus_collection::{Collection, DataType, Field};
use elanus_index::AnyMetric;
use elanus_query::{FilterText, QueryRequest, SearchRequest};
use milvus::proto::milvus as wire;
use milvus::proto::milvus::search_request::SearchInput;
use milvus::proto::schema::SearchResultData;
use prost::Message;

use crate::context::Context;
use crate::convert::{keys, output, params, placeholder, results, templates};
use crate::door::{Door, check_readable};
use crate::rpc::answer::{Answer, least_row_bytes};
use crate::rpc::refuse_namespace;
use crate::status::{Error, Result};

/// Column of the scores in the engine's answer.
const SCORE: &str = "_score";
/// Bytes of a score and of the shortest key.
const SCORED_KEY_BYTES: u64 = 5;

pub(crate) async fn search(
    door: &Door,
    context: &Context,
    request: wire::SearchRequest,
) -> Result<wire::SearchResults> {
    let started = Instant::now();
    door.metrics().received("search", request.encoded_len());
    refuse_features(&request)?;
    refuse_namespace(request.namespace.as_deref())?;
    let collection = door.collection(context, &request.db_name, &request.collection_name)?;
    let params = params::search(request.search_params)?;
    let field = vector_field(&collection, params.field.as_deref())?;
    check_metric(&collection, field, params.metric)?;
    let key = collection.schema().primary_key()?;
    let output = output::resolve(collection.schema(), &request.output_fields)?;
    check_readable(&collection, &request.partition_names)?;
    let queries = match request.search_input {
        Some(SearchInput::PlaceholderGroup(bytes)) => placeholder::vectors(&bytes, field)?,
        Some(SearchInput::Ids(_)) => return Err(Error::unsupported("search by primary keys (ids)")),
        None => return Err(placeholder::wrong_nq(0)),
    };
    let nq = queries.nq;
    let filter = if request.dsl.trim().is_empty() {
        None
    } else {
        Some(FilterText {
            text: request.dsl,
            templates: templates::from_wire(request.expr_template_values)?,
        })
    };
    let zone = match params.zone {
        Some(zone) => zone,
        None => door.zone_of(&collection)?,
    };
    // The reply always needs the ids; a client that also asks for the key field gets it twice.
    let mut columns = output.columns.clone();
    if !columns.contains(&key.name) {
        columns.push(key.name.clone());
    }
    let read = SearchRequest {
        collection: Arc::clone(&collection),
        field: field.name.clone(),
        queries: queries.values,
        nq,
        limit: params.topk,
        offset: params.offset,
        metric: params.metric,
        params: params.index,
        range: params.range,
        filter,
        partitions: request.partition_names,
        output: columns,
        ignore_growing: params.ignore_growing,
    };
    let answer = Answer {
        kind: "search",
        queries: nq,
        limit: Some(params.topk),
        offset: params.offset,
        row_bytes: SCORED_KEY_BYTES + least_row_bytes(collection.schema(), &output.columns),
    };
    answer.expect(door, &collection, || matching(&read)).await?;
    let found = door.engine().search(read).await?;
    let results = SearchResultData {
        num_queries: signed(nq),
        top_k: signed(params.topk),
        fields_data: results::to_wire(collection.schema(), &output, &found.rows, zone)?,
        scores: scores(&found.rows, params.round_decimal)?,
        ids: Some(keys::to_wire(results::keys(collection.schema(), &found.rows)?)),
        topks: found.counts.iter().map(|count| signed(*count)).collect(),
        output_fields: output.names,
        primary_field_name: key.name.clone(),
        ..Default::default()
    };
    let name = collection.name();
    let reply = wire::SearchResults {
        results: Some(results),
        collection_name: request.collection_name,
        session_ts: collection.snapshot().timestamp,
        ..Default::default()
    };
    let bytes = reply.encoded_len();
    answer.check(bytes as u64)?;
    door.metrics().read("search", &name, started.elapsed(), bytes);
    door.metrics().searched(&collection.database(), &name, nq);
    Ok(reply)
}

/// The rows that a search may find, as something to count.
fn matching(search: &SearchRequest) -> QueryRequest {
    QueryRequest {
        collection: Arc::clone(&search.collection),
        filter: search.filter.clone(),
        keys: None,
        partitions: search.partitions.clone(),
        output: Vec::new(),
        limit: None,
        offset: 0,
        ignore_growing: search.ignore_growing,
    }
}

fn signed(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Features that ride on fields of the message of their own.
fn refuse_features(request: &wire::SearchRequest) -> Result<()> {
    for (what, asked) in [
        ("hybrid search (sub_reqs)", !request.sub_reqs.is_empty()),
        ("function score (rerankers)", request.function_score.is_some()),
        ("function chains", !request.function_chains.is_empty()),
        ("highlighter", request.highlighter.is_some()),
        ("search aggregation", request.search_aggregation.is_some()),
    ] {
        if asked {
            return Err(Error::unsupported(what));
        }
    }
    Ok(())
}

/// The field that is searched.
fn vector_field<'a>(collection: &'a Collection, name: Option<&str>) -> Result<&'a Field> {
    let schema = collection.schema();
    let names = || {
        schema
            .vector_fields()
            .map(|field| field.name.as_str())
            .collect::<Vec<_>>()
            .join(", ")
    };
    let field = match name {
        Some(name) => schema.field(name).ok_or_else(|| {
            Error::invalid(format!(
                "failed to create query plan: failed to get field schema by name: fieldName({name}) not found; vector fields are {}",
                names()
            ))
        })?,
        None => {
            let mut fields = schema.vector_fields();
            match (fields.next(), fields.next()) {
                (Some(only), None) => only,
                (Some(_), Some(_)) => {
                    return Err(Error::invalid(format!(
                        "multiple anns_fields exist, please specify a anns_field in search_params; vector fields are {}",
                        names()
                    )));
                }
                (None, _) => return Err(Error::invalid("anns_field not found in schema")),
            }
        }
    };
    match &field.data_type {
        DataType::FloatVector { .. }
        | DataType::Float16Vector { .. }
        | DataType::BFloat16Vector { .. }
        | DataType::Int8Vector { .. }
        | DataType::BinaryVector { .. }
        | DataType::SparseFloatVector => Ok(field),
        other @ (DataType::Bool
        | DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::Float
        | DataType::Double
        | DataType::VarChar { .. }
        | DataType::Json
        | DataType::Array { .. }
        | DataType::TimestampTz) => Err(Error::invalid(format!(
            "failed to create query plan: field ({}) to search is not of vector data type but {}; vector fields are {}",
            field.name,
            other.name(),
            names()
        ))),
    }
}

/// A metric, when given, must be the one of the field's index.
fn check_metric(collection: &Collection, field: &Field, given: Option<AnyMetric>) -> Result<()> {
    let Some(given) = given else { return Ok(()) };
    let indexed = collection
        .indexes()
        .into_iter()
        .find(|index| index.field == field.name)
        .and_then(|index| index.metric);
    match indexed {
        Some(metric) if metric != given => Err(Error::expected("metric type not match", metric, given)),
        Some(_) | None => Ok(()),
    }
}

/// The scores, rounded when asked.
fn scores(rows: &RecordBatch, decimals: Option<i32>) -> Result<Vec<f32>> {
    let column = rows
        .column_by_name(SCORE)
        .and_then(|column| column.as_primitive_opt::<Float32Type>())
        .filter(|column| column.null_count() == 0)
        .ok_or_else(|| Error::unexpected("internal error: the scores are missing in the result"))?;
    let scores = column.values().to_vec();
    let Some(decimals) = decimals else {
        return Ok(scores);
    };
    // In double precision: a large distance times a million is no longer a float.
    let scale = 10.0_f64.powi(decimals);
    #[expect(clippy::cast_possible_truncation, reason = "a score is a float")]
    let rounded = |score: f32| ((f64::from(score) * scale).round() / scale) as f32;
    Ok(scores.into_iter().map(rounded).collect())
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Float32Array};

    use super::*;

    fn batch(scores: Vec<f32>) -> RecordBatch {
        RecordBatch::try_from_iter([(SCORE, Arc::new(Float32Array::from(scores)) as ArrayRef)]).unwrap()
    }

    #[test]
    fn scores_are_rounded_on_request() {
        let rows = batch(vec![0.123_456, 2.0]);
        assert_eq!(scores(&rows, None).unwrap(), [0.123_456, 2.0]);
        assert_eq!(scores(&rows, Some(2)).unwrap(), [0.12, 2.0]);
        assert_eq!(scores(&rows, Some(0)).unwrap(), [0.0, 2.0]);
        let large = batch(vec![1e36, -3e38]);
        assert_eq!(scores(&large, Some(6)).unwrap(), [1e36, -3e38]);
    }

    #[test]
    fn features_that_are_not_there_are_refused() {
        let request = wire::SearchRequest {
            function_score: Some(Default::default()),
            ..Default::default()
        };
        assert_eq!(
            refuse_features(&request).unwrap_err().to_string(),
            "not supported: function score (rerankers)"
        );
        refuse_features(&wire::SearchRequest::default()).unwrap();
    }
}
