//! Search by primary keys: the vectors of rows as the query vectors.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::Float32Type;
use elanus_collection::{Collection, DataType, Field, Keys, Snapshot};
use elanus_query::{Queries, QueryRequest};
use milvus::proto::schema::{IDs, i_ds::IdField};

use crate::convert::placeholder::{QueryVectors, wrong_nq};
use crate::convert::results;
use crate::door::Door;
use crate::status::{Error, Result};

/// The vectors that the rows with these keys have in `field`, in the order of the keys.
///
/// # Errors
/// A key that no row has, or whose row has no vector.
pub(super) async fn vectors(
    door: &Door,
    collection: &Arc<Collection>,
    snapshot: Option<Arc<Snapshot>>,
    field: &Field,
    ids: IDs,
) -> Result<QueryVectors> {
    let key = collection.schema().primary_key()?;
    let asked = match (ids.id_field, &key.data_type) {
        (Some(IdField::IntId(ids)), DataType::Int64) => Keys::Int64(ids.data),
        (Some(IdField::StrId(ids)), DataType::VarChar { .. }) => Keys::VarChar(ids.data),
        (Some(_), other) => {
            return Err(Error::invalid(format!(
                "ids are of another type than the primary key {}, which is {}",
                key.name,
                other.name()
            )));
        }
        (None, _) => return Err(wrong_nq(0)),
    };
    let texts = texts(&asked);
    if texts.is_empty() {
        return Err(wrong_nq(0));
    }
    let rows = door
        .engine()
        .query(QueryRequest {
            collection: Arc::clone(collection),
            filter: None,
            keys: Some(asked),
            partitions: Vec::new(),
            output: vec![key.name.clone(), field.name.clone()],
            limit: None,
            offset: 0,
            ignore_growing: false,
            order: Vec::new(),
            snapshot,
        })
        .await?;
    let found = self::texts(&results::keys(collection.schema(), &rows)?);
    // Of rows with one key the last stands.
    let found: HashMap<&String, usize> = found.iter().zip(0..).collect();
    let vectors = rows
        .column_by_name(&field.name)
        .ok_or_else(|| Error::unexpected(format!("internal error: column {} is missing", field.name)))?;
    let mut places = Vec::with_capacity(texts.len());
    for text in &texts {
        let Some(&place) = found.get(text) else {
            return Err(Error::invalid(format!(
                "some of the provided primary key IDs do not exist: {text} in collection {}",
                collection.name()
            )));
        };
        if vectors.is_null(place) {
            return Err(Error::invalid(format!(
                "the row with primary key {text} has no vector in field {}",
                field.name
            )));
        }
        places.push(u32::try_from(place).unwrap_or(u32::MAX));
    }
    let taken = take(vectors, &UInt32Array::from(places), None)
        .map_err(|e| Error::unexpected(format!("internal error: {e}")))?;
    let values = match taken.as_fixed_size_list_opt() {
        Some(list) if matches!(field.data_type, DataType::FloatVector { .. }) => {
            let floats = list.values().as_primitive_opt::<Float32Type>();
            let floats = floats.ok_or_else(|| Error::unexpected("internal error: vectors are no floats"))?;
            Queries::Floats(floats.values().to_vec())
        }
        Some(_) | None => Queries::Column(taken),
    };
    Ok(QueryVectors {
        nq: texts.len(),
        values,
    })
}

/// Keys as texts, to find and to name them.
fn texts(keys: &Keys) -> Vec<String> {
    match keys {
        Keys::Int64(keys) => keys.iter().map(ToString::to_string).collect(),
        Keys::VarChar(keys) => keys.clone(),
    }
}
