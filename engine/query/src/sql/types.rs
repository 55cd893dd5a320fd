//! SQL types: to Arrow for casts ([`VectorTypes`]), to collection types for columns of a table.

use std::sync::Arc;

use arrow::datatypes::{DataType as ArrowType, Field as ArrowField, FieldRef};
use datafusion::common::Result as DataFusionResult;
use datafusion::logical_expr::planner::TypePlanner;
use elanus_collection::{DataType, metadata_keys};
use sqlparser::ast::{ArrayElemTypeDef, CharacterLength, DataType as SqlType, ExactNumberInfo, TimezoneInfo};

use super::vector_cast::vector_type;
use super::vector_text::MAX_DIM;
use crate::error::{QueryError, Result, external};

/// Bytes of a VARCHAR without a length.
const DEFAULT_LENGTH: u32 = 65_535;
/// Elements of an ARRAY without a size.
pub(super) const DEFAULT_CAPACITY: u32 = 4_096;

const ALLOWED: &str = "BOOLEAN, TINYINT, SMALLINT, INTEGER, BIGINT, REAL, DOUBLE PRECISION, VARCHAR(n), TEXT, JSON, \
                       TIMESTAMPTZ, VECTOR(n) and arrays T[] of the scalars";

/// Plans `VECTOR(n)`, `FLOAT[n]` and `JSON`.
#[derive(Debug, Default)]
pub(crate) struct VectorTypes;

impl TypePlanner for VectorTypes {
    fn plan_type_field(&self, sql: &SqlType) -> DataFusionResult<Option<FieldRef>> {
        if let Some(dim) = vector_dim(sql).map_err(external)? {
            let dim = i32::try_from(dim).unwrap_or(i32::MAX);
            return Ok(Some(Arc::new(ArrowField::new("", vector_type(dim), true))));
        }
        if matches!(sql, SqlType::JSON | SqlType::JSONB) {
            let metadata = [(metadata_keys::EXTENSION_NAME, metadata_keys::JSON_EXTENSION)]
                .map(|(key, value)| (key.to_string(), value.to_string()));
            return Ok(Some(Arc::new(
                ArrowField::new("", ArrowType::Utf8, true).with_metadata(metadata.into()),
            )));
        }
        Ok(None)
    }
}

/// The dimension when `sql` is a vector type: `VECTOR(n)` or `FLOAT[n]`.
fn vector_dim(sql: &SqlType) -> Result<Option<u32>> {
    let text = match sql {
        SqlType::Custom(name, modifiers) if name.to_string().eq_ignore_ascii_case("vector") => {
            match modifiers.as_slice() {
                [dim] => dim.clone(),
                _ => {
                    return Err(QueryError::Plan(format!(
                        "VECTOR needs its dimension: VECTOR(n), n from 1 to {MAX_DIM}"
                    )));
                }
            }
        }
        SqlType::Array(ArrayElemTypeDef::SquareBracket(item, Some(dim))) if is_float(item) => dim.to_string(),
        _ => return Ok(None),
    };
    match text.parse::<u32>() {
        Ok(dim) if (1..=MAX_DIM).contains(&dim) => Ok(Some(dim)),
        Ok(_) | Err(_) => Err(QueryError::Plan(format!(
            "dimension {text} of a vector is out of range: allowed are 1 to {MAX_DIM}"
        ))),
    }
}

fn is_float(sql: &SqlType) -> bool {
    matches!(
        sql,
        SqlType::Float(_) | SqlType::Real | SqlType::Float4 | SqlType::Float32
    )
}

/// A type as SQL spells it; [`column_type`] of it is the type again.
pub(crate) fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Bool => "BOOLEAN".into(),
        DataType::Int8 => "TINYINT".into(),
        DataType::Int16 => "SMALLINT".into(),
        DataType::Int32 => "INTEGER".into(),
        DataType::Int64 => "BIGINT".into(),
        DataType::Float => "REAL".into(),
        DataType::Double => "DOUBLE PRECISION".into(),
        DataType::VarChar { max_length } => format!("VARCHAR({max_length})"),
        DataType::Json => "JSON".into(),
        DataType::TimestampTz => "TIMESTAMPTZ".into(),
        DataType::Array {
            element,
            max_capacity,
        } => format!("{}[{max_capacity}]", type_name(element)),
        DataType::FloatVector { dim } => format!("VECTOR({dim})"),
    }
}

/// The collection type that a column of this SQL type has.
///
/// # Errors
/// [`QueryError::Unsupported`] naming the type and the allowed ones.
pub(crate) fn column_type(sql: &SqlType) -> Result<DataType> {
    if let Some(dim) = vector_dim(sql)? {
        return Ok(DataType::FloatVector { dim });
    }
    Ok(match sql {
        SqlType::Bool | SqlType::Boolean => DataType::Bool,
        SqlType::TinyInt(_) => DataType::Int8,
        SqlType::SmallInt(_) | SqlType::Int2(_) | SqlType::Int16 => DataType::Int16,
        SqlType::Int(_) | SqlType::Integer(_) | SqlType::Int4(_) | SqlType::Int32 => DataType::Int32,
        // PostgreSQL's INT8 has eight bytes.
        SqlType::BigInt(_) | SqlType::Int8(_) | SqlType::Int64 => DataType::Int64,
        SqlType::Real | SqlType::Float4 | SqlType::Float32 => DataType::Float,
        SqlType::Float(ExactNumberInfo::None) => DataType::Float,
        SqlType::Float(ExactNumberInfo::Precision(bits)) if *bits <= 24 => DataType::Float,
        SqlType::Float(_)
        | SqlType::Double(_)
        | SqlType::DoublePrecision
        | SqlType::Float8
        | SqlType::Float64 => DataType::Double,
        SqlType::Varchar(length)
        | SqlType::CharacterVarying(length)
        | SqlType::CharVarying(length)
        | SqlType::Nvarchar(length) => DataType::VarChar {
            max_length: length_of(length.as_ref())?,
        },
        SqlType::Text | SqlType::String(None) => DataType::VarChar {
            max_length: DEFAULT_LENGTH,
        },
        SqlType::JSON | SqlType::JSONB => DataType::Json,
        SqlType::Timestamp(_, TimezoneInfo::Tz | TimezoneInfo::WithTimeZone) => DataType::TimestampTz,
        SqlType::Array(ArrayElemTypeDef::SquareBracket(item, capacity @ (None | Some(_)))) => {
            array_of(item, *capacity)?
        }
        SqlType::Array(ArrayElemTypeDef::AngleBracket(item) | ArrayElemTypeDef::Parenthesis(item)) => {
            array_of(item, None)?
        }
        other => {
            return Err(QueryError::Unsupported(format!(
                "columns of type {other}; allowed are {ALLOWED}"
            )));
        }
    })
}

fn array_of(item: &SqlType, capacity: Option<u64>) -> Result<DataType> {
    let max_capacity = match capacity {
        None => DEFAULT_CAPACITY,
        Some(size) => u32::try_from(size).map_err(|_| {
            QueryError::Plan(format!(
                "array size {size} is out of range: allowed are 1 to {DEFAULT_CAPACITY}"
            ))
        })?,
    };
    Ok(DataType::Array {
        element: Box::new(column_type(item)?),
        max_capacity,
    })
}

fn length_of(length: Option<&CharacterLength>) -> Result<u32> {
    match length {
        None | Some(CharacterLength::Max) => Ok(DEFAULT_LENGTH),
        Some(CharacterLength::IntegerLength { length, .. }) => u32::try_from(*length).map_err(|_| {
            QueryError::Plan(format!(
                "VARCHAR({length}) is out of range: allowed are 1 to {DEFAULT_LENGTH}"
            ))
        }),
    }
}
