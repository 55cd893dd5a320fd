//! Indexes: create, describe, count, drop.
//!
//! Parameters come flat (`M=16`) or nested (`params={"M": 16}`) and are described back flat, beside
//! the nested text if that is how they came, because some clients compare it with what they gave.

use elanus_collection::{
    Collection, DYNAMIC_FIELD, Error as CollectionError, IndexInfo, IndexSpec, IndexState,
    split_sub_field_name,
};
use milvus::proto::common::{IndexState as WireState, KeyValuePair, Status};
use milvus::proto::milvus as wire;

use crate::context::Context;
use crate::convert::{pair, params, to_map};
use crate::door::Door;
use crate::status::{Code, Error, Result};

const INDEX_TYPE: &str = "index_type";
const METRIC_TYPE: &str = "metric_type";
/// Where in a JSON field the indexed values are.
const JSON_PATH: &str = "json_path";
/// Nested parameters as given; kept beside the flat ones so that describing gives them back.
const PARAMS: &str = "params";
/// Type parameters that some clients repeat with an index.
const NOT_OF_THE_INDEX: [&str; 2] = ["dim", "max_length"];
/// Longest index parameters in bytes.
const MAX_PARAMS_BYTES: usize = 102_400;

pub(crate) async fn create(
    door: &Door,
    context: &Context,
    request: wire::CreateIndexRequest,
) -> Result<Status> {
    let collection = door.collection(context, &request.db_name, &request.collection_name)?;
    let mut request = request;
    let schema = collection.schema();
    let of_struct = split_sub_field_name(&request.field_name).and_then(|(of, _)| schema.field(of));
    let vectors = schema.vector_column(&request.field_name);
    if vectors.is_none() && of_struct.is_some_and(|field| !field.sub_fields().is_empty()) {
        return Err(Error::unsupported(format!(
            "indexes on sub-fields of structs that are no vectors ({})",
            request.field_name
        )));
    }
    if vectors.is_none()
        && schema.field(&request.field_name).is_none()
        && schema.field(DYNAMIC_FIELD).is_some()
    {
        // The key of a dynamic field stands for the field; without a path it is the path.
        let key = std::mem::replace(&mut request.field_name, DYNAMIC_FIELD.to_string());
        if !request
            .extra_params
            .iter()
            .any(|pair| pair.key == PARAMS || pair.key == JSON_PATH)
        {
            request.extra_params.push(pair(JSON_PATH, key));
        }
    }
    let Some(field) = vectors.or_else(|| schema.field(&request.field_name).cloned()) else {
        let known: Vec<_> = collection
            .schema()
            .fields
            .iter()
            .map(|field| field.name.as_str())
            .collect();
        return Err(Error::invalid(format!(
            "cannot create index on non-exist field: {}; fields are {}",
            request.field_name,
            known.join(", ")
        )));
    };
    let mut spec = spec_of(request)?;
    if !field.data_type.is_vector() {
        // A metric means nothing on a scalar; clients send it anyway.
        spec.metric = None;
    }
    match collection.create_index(&spec).await {
        Ok(()) => Ok(Status::default()),
        Err(CollectionError::IndexExists(what)) => {
            let what = if what.starts_with("CreateIndex failed") {
                what
            } else {
                format!("CreateIndex failed: {what}")
            };
            Err(Error::unexpected(what))
        }
        Err(error) => Err(error.into()),
    }
}

fn spec_of(request: wire::CreateIndexRequest) -> Result<IndexSpec> {
    let bytes: usize = request
        .extra_params
        .iter()
        .map(|pair| pair.key.len() + pair.value.len())
        .sum();
    if bytes > MAX_PARAMS_BYTES {
        return Err(Error::new(
            Code::ParameterTooLarge,
            format!(
                "parameter too large[message=index params of {bytes} bytes, at most {MAX_PARAMS_BYTES} are allowed]"
            ),
        ));
    }
    let mut given = to_map(request.extra_params);
    if let Some(text) = given.get(PARAMS).cloned() {
        let nested = params::nested(&text)?;
        if nested.is_empty() {
            given.remove(PARAMS);
        }
        for (key, value) in nested {
            given.entry(key).or_insert(value);
        }
    }
    given.retain(|key, _| !NOT_OF_THE_INDEX.contains(&key.as_str()));
    Ok(IndexSpec {
        name: Some(request.index_name).filter(|name| !name.is_empty()),
        field: request.field_name,
        index_type: given.remove(INDEX_TYPE).unwrap_or_default(),
        metric: given.remove(METRIC_TYPE).filter(|metric| !metric.is_empty()),
        params: given,
    })
}

/// The parameters of an index as its creator gave them.
fn described_params(index: &IndexInfo) -> Vec<KeyValuePair> {
    let mut pairs = vec![pair(INDEX_TYPE, &index.index_type)];
    if let Some(metric) = index.metric {
        pairs.push(pair(METRIC_TYPE, metric.to_string()));
    }
    pairs.extend(index.params.iter().map(|(key, value)| pair(key, value)));
    pairs
}

/// The indexes that a request means: by name, by field, or all.
fn selected(collection: &Collection, index_name: &str, field_name: &str) -> Result<Vec<IndexInfo>> {
    let mut indexes = collection.indexes();
    if !index_name.is_empty() {
        indexes.retain(|index| index.name == index_name);
    } else if !field_name.is_empty() {
        indexes.retain(|index| index.field == field_name);
    }
    if !indexes.is_empty() {
        return Ok(indexes);
    }
    Err(Error::new(
        Code::IndexNotFound,
        if index_name.is_empty() {
            format!("index not found[collection={}]", collection.name())
        } else {
            format!("index not found[indexName={index_name}]")
        },
    ))
}

fn state_to_wire(state: IndexState) -> WireState {
    match state {
        IndexState::InProgress => WireState::InProgress,
        IndexState::Finished => WireState::Finished,
        IndexState::Failed => WireState::Failed,
    }
}

fn rows(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn describe_all(indexes: Vec<IndexInfo>) -> Vec<wire::IndexDescription> {
    indexes
        .into_iter()
        .map(|index| wire::IndexDescription {
            params: described_params(&index),
            index_id: index.id,
            indexed_rows: rows(index.indexed_rows),
            total_rows: rows(index.total_rows),
            pending_index_rows: rows(index.pending_rows),
            state: state_to_wire(index.state) as i32,
            index_name: index.name,
            field_name: index.field,
            index_state_fail_reason: index.fail_reason,
            ..Default::default()
        })
        .collect()
}

pub(crate) fn describe(
    door: &Door,
    context: &Context,
    request: &wire::DescribeIndexRequest,
) -> Result<wire::DescribeIndexResponse> {
    let collection = door.collection(context, &request.db_name, &request.collection_name)?;
    let indexes = selected(&collection, &request.index_name, &request.field_name)?;
    Ok(wire::DescribeIndexResponse {
        index_descriptions: describe_all(indexes),
        ..Default::default()
    })
}

pub(crate) fn statistics(
    door: &Door,
    context: &Context,
    request: &wire::GetIndexStatisticsRequest,
) -> Result<wire::GetIndexStatisticsResponse> {
    let collection = door.collection(context, &request.db_name, &request.collection_name)?;
    let indexes = selected(&collection, &request.index_name, "")?;
    Ok(wire::GetIndexStatisticsResponse {
        index_descriptions: describe_all(indexes),
        ..Default::default()
    })
}

pub(crate) fn state(
    door: &Door,
    context: &Context,
    request: &wire::GetIndexStateRequest,
) -> Result<wire::GetIndexStateResponse> {
    let collection = door.collection(context, &request.db_name, &request.collection_name)?;
    let indexes = selected(&collection, &request.index_name, &request.field_name)?;
    // The least finished one speaks for all.
    let worst = indexes.into_iter().min_by_key(|index| match index.state {
        IndexState::Failed => 0,
        IndexState::InProgress => 1,
        IndexState::Finished => 2,
    });
    let (state, fail_reason) = worst.map_or((WireState::None, String::new()), |index| {
        (state_to_wire(index.state), index.fail_reason)
    });
    Ok(wire::GetIndexStateResponse {
        state: state as i32,
        fail_reason,
        ..Default::default()
    })
}

pub(crate) fn build_progress(
    door: &Door,
    context: &Context,
    request: &wire::GetIndexBuildProgressRequest,
) -> Result<wire::GetIndexBuildProgressResponse> {
    let collection = door.collection(context, &request.db_name, &request.collection_name)?;
    let indexes = selected(&collection, &request.index_name, &request.field_name)?;
    Ok(wire::GetIndexBuildProgressResponse {
        indexed_rows: rows(indexes.iter().map(|index| index.indexed_rows).sum()),
        total_rows: rows(indexes.iter().map(|index| index.total_rows).sum()),
        ..Default::default()
    })
}

pub(crate) async fn drop(door: &Door, context: &Context, request: wire::DropIndexRequest) -> Result<Status> {
    let collection = door.collection(context, &request.db_name, &request.collection_name)?;
    let indexes = match selected(&collection, &request.index_name, &request.field_name) {
        Ok(indexes) => indexes,
        // Dropping what is not there is no mistake in Milvus.
        Err(error) if error.code() == Code::IndexNotFound => return Ok(Status::default()),
        Err(error) => return Err(error),
    };
    for index in indexes {
        match collection.drop_index(&index.name).await {
            Ok(()) | Err(CollectionError::IndexNotFound { .. }) => {}
            Err(CollectionError::StillLoaded { .. }) => {
                return Err(Error::invalid(format!(
                    "vector index cannot be dropped on loaded collection: {}; release collection {} first",
                    collection.id(),
                    collection.name()
                )));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Status::default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(extra: &[(&str, &str)]) -> wire::CreateIndexRequest {
        wire::CreateIndexRequest {
            field_name: "v".into(),
            extra_params: extra.iter().map(|(key, value)| pair(key, *value)).collect(),
            ..Default::default()
        }
    }

    fn described(extra: &[(&str, &str)]) -> Vec<(String, String)> {
        let spec = spec_of(request(extra)).unwrap();
        let index = IndexInfo {
            id: 1,
            name: "v".into(),
            field: "v".into(),
            index_type: spec.index_type,
            metric: spec.metric.map(|metric| metric.parse().unwrap()),
            params: spec.params,
            build: None,
            signatures: None,
            total_rows: 0,
            indexed_rows: 0,
            pending_rows: 0,
            state: IndexState::Finished,
            fail_reason: String::new(),
        };
        described_params(&index)
            .into_iter()
            .map(|pair| (pair.key, pair.value))
            .collect()
    }

    fn text(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs
            .iter()
            .map(|(key, value)| (key.to_string(), value.to_string()))
            .collect()
    }

    #[test]
    fn both_forms_build_the_same_and_come_back() {
        let flat = [
            ("index_type", "HNSW"),
            ("metric_type", "L2"),
            ("M", "16"),
            ("efConstruction", "200"),
        ];
        let nested = [
            ("index_type", "HNSW"),
            ("metric_type", "L2"),
            ("params", r#"{"M": 16, "efConstruction": 200}"#),
        ];
        for form in [&flat[..], &nested[..]] {
            let spec = spec_of(request(form)).unwrap();
            assert_eq!(
                (spec.index_type.as_str(), spec.metric.as_deref()),
                ("HNSW", Some("L2"))
            );
            assert_eq!(
                (spec.params["M"].as_str(), spec.params["efConstruction"].as_str()),
                ("16", "200")
            );
        }
        let mut sorted = described(&flat);
        sorted.sort();
        let mut expected = text(&flat);
        expected.sort();
        assert_eq!(sorted, expected);
        let mut sorted = described(&nested);
        sorted.sort();
        expected.push(text(&nested).remove(2));
        expected.sort();
        assert_eq!(sorted, expected);
        assert_eq!(
            described(&[("index_type", "FLAT"), ("metric_type", "IP"), ("params", "{}")]),
            text(&[("index_type", "FLAT"), ("metric_type", "IP")])
        );
    }

    #[test]
    fn a_missing_type_is_left_to_the_engine() {
        let spec = spec_of(request(&[("dim", "8")])).unwrap();
        assert_eq!(
            (spec.index_type.as_str(), spec.metric, spec.params.len()),
            ("", None, 0)
        );
        assert!(spec_of(request(&[("params", "[]")])).is_err());
        assert_eq!(
            spec_of(request(&[("x", &"y".repeat(200_000))]))
                .unwrap_err()
                .code(),
            Code::ParameterTooLarge
        );
    }
}
