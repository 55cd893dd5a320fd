//! Columns of Insert and Upsert as an Arrow batch.
//!
//! Wire columns of nullable fields (and of fields with a default value) are *compact*: `valid_data`
//! has one flag per row, the data array only the values that are there. They are spread out here.
//! Vectors without nulls are moved, not copied: the decoded floats become the Arrow buffer.

mod arrays;
mod json;
mod nulls;
mod scalars;
mod structs;
#[cfg(test)]
mod tests;
mod vectors;

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Field as ArrowField, Schema};
use chrono_tz::Tz;
use elanus_collection::{CollectionSchema, DYNAMIC_FIELD, DataType, Field};
use milvus::proto::schema::field_data::Field as WireField;
use milvus::proto::schema::{FieldData, VectorField};

use crate::convert::typed_vectors;
use crate::status::{Error, Result};

use nulls::Nulls;

/// Most bytes that the rows of one request may take in memory.
///
/// Nulls, defaults and fields that are left out are not on the wire, so that a message of a few
/// bytes could ask for any amount of memory. Sixteen times the largest message is more than values
/// that are sent can grow to.
const MAX_BATCH_BYTES: u64 = 1 << 30;

/// The rows of a request.
///
/// Columns are matched by name, in any order; what may be left out is for the collection layer to
/// say. `zone` is where TIMESTAMPTZ text without an offset is.
///
/// # Errors
/// When a column does not fit its field: wrong kind of values, dimension, number of rows.
pub(crate) fn batch_from_wire(
    schema: &CollectionSchema,
    fields: Vec<FieldData>,
    num_rows: u32,
    zone: Tz,
) -> Result<RecordBatch> {
    if num_rows == 0 {
        return Err(Error::expected(
            "num_rows should be greater than 0",
            "invalid num_rows",
            0,
        ));
    }
    check_size(schema, num_rows)?;
    let rows = usize::try_from(num_rows).unwrap_or(usize::MAX);
    let mut names = HashSet::with_capacity(fields.len());
    let mut arrow_fields = Vec::with_capacity(fields.len());
    let mut columns = Vec::with_capacity(fields.len());
    for data in fields {
        let name = if data.is_dynamic {
            DYNAMIC_FIELD
        } else {
            data.field_name.as_str()
        };
        let Some(field) = schema.field(name) else {
            return Err(unknown_field(schema, &data));
        };
        if !names.insert(field.id) {
            return Err(Error::invalid(format!(
                "duplicated field data of field {name}: each field is sent once"
            )));
        }
        let column = column_from_wire(schema, field, data, rows, zone)?;
        arrow_fields.push(ArrowField::new(&field.name, column.data_type().clone(), true));
        columns.push(column);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(
        Arc::new(Schema::new(arrow_fields)),
        columns,
        &options,
    )?)
}

/// Checks that filled-up rows fit into memory, before the first of them is made.
fn check_size(schema: &CollectionSchema, num_rows: u32) -> Result<()> {
    let row: u64 = schema.fields.iter().map(filled_bytes).sum();
    let most = MAX_BATCH_BYTES / row.max(1);
    if u64::from(num_rows) <= most {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "num_rows ({num_rows}) is too large: rows of this collection take {row} bytes each, send at most {most} at a time"
    )))
}

/// Bytes of one value that the client did not send.
fn filled_bytes(field: &Field) -> u64 {
    match &field.data_type {
        DataType::FloatVector { dim } => u64::from(*dim) * 4,
        typed @ (DataType::Float16Vector { .. }
        | DataType::BFloat16Vector { .. }
        | DataType::Int8Vector { .. }
        | DataType::BinaryVector { .. }
        | DataType::SparseFloatVector) => typed_vectors::vector_bytes(typed).map_or(8, |bytes| bytes as u64),
        DataType::Bool
        | DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::Float
        | DataType::Double
        | DataType::VarChar { .. }
        | DataType::Text
        | DataType::Json
        | DataType::Array { .. }
        | DataType::StructArray { .. }
        | DataType::VectorArray { .. }
        | DataType::TimestampTz
        | DataType::Geometry => {
            let default = field.default.as_ref().and_then(serde_json::Value::as_str);
            8 + default.map_or(0, |text| text.len() as u64)
        }
    }
}

fn unknown_field(schema: &CollectionSchema, data: &FieldData) -> Error {
    if data.is_dynamic || data.field_name == DYNAMIC_FIELD {
        return Error::invalid("without dynamic schema enabled, the field name cannot be set to $meta");
    }
    let known: Vec<_> = schema
        .fields
        .iter()
        .filter(|field| !field.dynamic)
        .map(|field| field.name.as_str())
        .collect();
    Error::invalid(format!(
        "field {} not exist in the schema; fields are {}",
        data.field_name,
        known.join(", ")
    ))
}

fn column_from_wire(
    schema: &CollectionSchema,
    field: &Field,
    data: FieldData,
    rows: usize,
    zone: Tz,
) -> Result<ArrayRef> {
    if let DataType::StructArray { .. } = &field.data_type {
        return structs::from_wire(schema, field, data, rows, zone);
    }
    // Newer clients put the flags beside the values, older ones beside the field.
    let mut payload = data.field;
    let mut valid = match &mut payload {
        Some(WireField::Scalars(scalars)) => std::mem::take(&mut scalars.valid_data),
        Some(WireField::Vectors(vectors)) => std::mem::take(&mut vectors.valid_data),
        Some(WireField::StructArrays(_)) | None => Vec::new(),
    };
    if valid.is_empty() {
        valid = data.valid_data;
    }
    let nulls = Nulls::of(field, valid, rows)?;
    match (&field.data_type, payload) {
        (_, Some(WireField::StructArrays(_))) => Err(mismatch(field, "struct")),
        (DataType::FloatVector { dim }, Some(WireField::Vectors(vectors))) => {
            vectors::from_wire(field, *dim, vectors, &nulls)
        }
        (typed, Some(WireField::Vectors(data))) if typed.is_vector() => {
            vectors::typed_from_wire(field, data, &nulls)
        }
        (typed, None) if typed.is_vector() && !matches!(typed, DataType::FloatVector { .. }) => {
            vectors::typed_from_wire(field, VectorField::default(), &nulls)
        }
        // A field of nulls only may come without any payload.
        (DataType::FloatVector { dim }, None) => {
            vectors::from_wire(field, *dim, VectorField::default(), &nulls)
        }
        (_, Some(WireField::Scalars(scalars))) => {
            scalars::from_wire(schema, field, scalars.data, &nulls, zone)
        }
        (_, None) => scalars::from_wire(schema, field, None, &nulls, zone),
        (_, Some(WireField::Vectors(_))) => Err(mismatch(field, "vector")),
    }
}

fn mismatch(field: &Field, given: &str) -> Error {
    let wanted = field.data_type.name();
    Error::expected(
        format!(
            "the data of field {} is of another type than the field ({wanted})",
            field.name
        ),
        format!("{wanted} array"),
        format!("{given} array"),
    )
}
