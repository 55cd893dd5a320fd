//! SQL types: to Arrow for casts ([`VectorTypes`]), to collection types for columns of a table.

use std::sync::Arc;

use arrow::datatypes::{DataType as ArrowType, Field as ArrowField, FieldRef};
use datafusion::common::Result as DataFusionResult;
use datafusion::logical_expr::planner::TypePlanner;
use elanus_collection::{DataType, metadata_keys};
use elanus_udfs::vector::VectorKind;
use sqlparser::ast::{
    ArrayElemTypeDef, CharacterLength, DataType as SqlType, ExactNumberInfo, Ident, ObjectName, TimezoneInfo,
};

use super::struct_types::{struct_array, struct_name};
use super::vector_text::MAX_DIM;
use crate::error::{QueryError, Result, external};

/// Bytes of a VARCHAR without a length.
const DEFAULT_LENGTH: u32 = 65_535;
/// Elements of an ARRAY without a size.
pub(super) const DEFAULT_CAPACITY: u32 = 4_096;

const ALLOWED: &str = "BOOLEAN, TINYINT, SMALLINT, INTEGER, BIGINT, REAL, DOUBLE PRECISION, VARCHAR(n), TEXT, JSON, \
                       TIMESTAMPTZ, GEOMETRY, VECTOR(n), HALFVEC(n), BFLOAT16_VECTOR(n), INT8_VECTOR(n), BIT(n), SPARSEVEC, \
                       arrays T[] of the scalars and STRUCT(name T, ..)[]";

/// Plans the vector types, `JSON`, `GEOMETRY` and arrays of structs.
#[derive(Debug, Default)]
pub(crate) struct VectorTypes;

impl TypePlanner for VectorTypes {
    fn plan_type_field(&self, sql: &SqlType) -> DataFusionResult<Option<FieldRef>> {
        if let Some(kind) = vector_kind(sql).map_err(external)? {
            return Ok(Some(kind.field("")));
        }
        let named = |arrow, extension: &str| {
            let metadata = [(metadata_keys::EXTENSION_NAME.to_string(), extension.to_string())];
            let field = ArrowField::new("", arrow, true).with_metadata(metadata.into());
            Ok(Some(Arc::new(field)))
        };
        if matches!(sql, SqlType::JSON | SqlType::JSONB) {
            return named(ArrowType::Utf8, metadata_keys::JSON_EXTENSION);
        }
        if let Some(structs) = struct_array(sql).map_err(external)? {
            return Ok(Some(Arc::new(ArrowField::new("", structs.to_arrow(), true))));
        }
        if is_geometry(sql) {
            return named(ArrowType::Binary, metadata_keys::GEOMETRY_EXTENSION);
        }
        Ok(None)
    }
}

fn is_geometry(sql: &SqlType) -> bool {
    matches!(sql, SqlType::Custom(name, modifiers)
        if modifiers.is_empty() && name.to_string().eq_ignore_ascii_case("geometry"))
}

/// Largest `n` of `BIT(n)`.
const MAX_BITS: u32 = 262_144;

/// The vector type that `sql` is: `VECTOR(n)`, `FLOAT[n]`, `HALFVEC(n)`, .., `BIT(n)`, `SPARSEVEC`.
fn vector_kind(sql: &SqlType) -> Result<Option<VectorKind>> {
    let (name, modifiers) = match sql {
        SqlType::Custom(name, modifiers) => (name.to_string().to_lowercase(), modifiers.clone()),
        SqlType::Bit(bits) => ("bit".to_string(), bits.iter().map(ToString::to_string).collect()),
        SqlType::Array(ArrayElemTypeDef::SquareBracket(item, Some(dim))) if is_float(item) => {
            ("vector".to_string(), vec![dim.to_string()])
        }
        _ => return Ok(None),
    };
    let of_dim: fn(i32) -> VectorKind = match name.as_str() {
        "vector" => VectorKind::Float,
        "halfvec" => VectorKind::Half,
        "bfloat16_vector" => VectorKind::BFloat16,
        "int8_vector" => VectorKind::Int8,
        "bit" => VectorKind::Bit,
        "sparsevec" if modifiers.is_empty() => return Ok(Some(VectorKind::Sparse)),
        "sparsevec" => {
            return Err(QueryError::Unsupported(format!(
                "SPARSEVEC({}): a sparse vector has no fixed dimension, write SPARSEVEC",
                modifiers.join(", ")
            )));
        }
        _ => return Ok(None),
    };
    let name = name.to_uppercase();
    let max = if name == "BIT" { MAX_BITS } else { MAX_DIM };
    let [text] = modifiers.as_slice() else {
        return Err(QueryError::Plan(format!(
            "{name} needs its dimension: {name}(n), n from 1 to {max}"
        )));
    };
    let dim = text
        .parse::<i32>()
        .ok()
        .filter(|dim| (1..=max).contains(&dim.cast_unsigned()));
    match dim {
        Some(dim) if name == "BIT" && dim % 8 != 0 => Err(QueryError::Plan(format!(
            "dimension {dim} of BIT is not allowed: it must be a multiple of 8"
        ))),
        Some(dim) => Ok(Some(of_dim(dim))),
        None => Err(QueryError::Plan(format!(
            "dimension {text} of a vector is out of range: allowed are 1 to {max}"
        ))),
    }
}

/// The collection type of a vector type.
pub(crate) fn collection_type(kind: VectorKind) -> DataType {
    let dim = |dim: i32| u32::try_from(dim).unwrap_or(0);
    match kind {
        VectorKind::Float(n) => DataType::FloatVector { dim: dim(n) },
        VectorKind::Half(n) => DataType::Float16Vector { dim: dim(n) },
        VectorKind::BFloat16(n) => DataType::BFloat16Vector { dim: dim(n) },
        VectorKind::Int8(n) => DataType::Int8Vector { dim: dim(n) },
        VectorKind::Bit(n) => DataType::BinaryVector { dim: dim(n) },
        VectorKind::Sparse => DataType::SparseFloatVector,
    }
}

/// How SQL spells a vector type; none for any other.
pub(crate) fn vector_sql(data_type: &DataType) -> Option<SqlType> {
    let custom = |name: &str, modifiers| SqlType::Custom(ObjectName::from(vec![Ident::new(name)]), modifiers);
    let of_dim = |name: &str, dim: &u32| Some(custom(name, vec![dim.to_string()]));
    match data_type {
        DataType::FloatVector { dim } => of_dim("VECTOR", dim),
        DataType::Float16Vector { dim } => of_dim("HALFVEC", dim),
        DataType::BFloat16Vector { dim } => of_dim("BFLOAT16_VECTOR", dim),
        DataType::Int8Vector { dim } => of_dim("INT8_VECTOR", dim),
        DataType::BinaryVector { dim } => Some(SqlType::Bit(Some(u64::from(*dim)))),
        DataType::SparseFloatVector => Some(custom("SPARSEVEC", Vec::new())),
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
        | DataType::Geometry => None,
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
        DataType::Text => "TEXT".into(),
        DataType::Json => "JSON".into(),
        DataType::TimestampTz => "TIMESTAMPTZ".into(),
        DataType::Geometry => "GEOMETRY".into(),
        DataType::Array {
            element,
            max_capacity: DEFAULT_CAPACITY,
        } => format!("{}[]", type_name(element)),
        DataType::Array {
            element,
            max_capacity,
        } => format!("{}[{max_capacity}]", type_name(element)),
        DataType::StructArray {
            fields,
            max_capacity: DEFAULT_CAPACITY,
        } => format!("{}[]", struct_name(fields)),
        DataType::StructArray { fields, max_capacity } => format!("{}[{max_capacity}]", struct_name(fields)),
        DataType::VectorArray { element } => format!("{}[]", type_name(element)),
        DataType::FloatVector { .. }
        | DataType::Float16Vector { .. }
        | DataType::BFloat16Vector { .. }
        | DataType::Int8Vector { .. }
        | DataType::BinaryVector { .. }
        | DataType::SparseFloatVector => {
            vector_sql(data_type).map_or_else(|| data_type.name().to_string(), |sql| sql.to_string())
        }
    }
}

/// The collection type that a column of this SQL type has.
///
/// # Errors
/// [`QueryError::Unsupported`] naming the type and the allowed ones.
pub(crate) fn column_type(sql: &SqlType) -> Result<DataType> {
    if let Some(kind) = vector_kind(sql)? {
        return Ok(collection_type(kind));
    }
    if let Some(structs) = struct_array(sql)? {
        return Ok(structs);
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
        SqlType::Text | SqlType::String(None) => DataType::Text,
        SqlType::JSON | SqlType::JSONB => DataType::Json,
        SqlType::Timestamp(_, TimezoneInfo::Tz | TimezoneInfo::WithTimeZone) => DataType::TimestampTz,
        geometry if is_geometry(geometry) => DataType::Geometry,
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
    Ok(DataType::Array {
        element: Box::new(column_type(item)?.bounded()),
        max_capacity: capacity_of(capacity)?,
    })
}

/// Elements that `T[size]` may have.
pub(super) fn capacity_of(size: Option<u64>) -> Result<u32> {
    let Some(size) = size else {
        return Ok(DEFAULT_CAPACITY);
    };
    u32::try_from(size).map_err(|_| {
        QueryError::Plan(format!(
            "array size {size} is out of range: allowed are 1 to {DEFAULT_CAPACITY}"
        ))
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

#[cfg(test)]
mod tests {
    use elanus_collection::Field;

    use super::*;

    #[test]
    fn both_crates_mean_the_same_arrow_types() {
        for kind in [
            VectorKind::Float(8),
            VectorKind::Half(8),
            VectorKind::BFloat16(8),
            VectorKind::Int8(8),
            VectorKind::Bit(8),
            VectorKind::Sparse,
        ] {
            let data_type = collection_type(kind);
            assert_eq!(data_type.to_arrow(), kind.data_type());
            let field = Field::new("v", data_type.clone()).to_arrow();
            assert_eq!(VectorKind::of(&field), Some(kind));
            let sql = vector_sql(&data_type).unwrap();
            assert_eq!(sql.to_string(), kind.to_string());
            assert_eq!(vector_kind(&sql).unwrap(), Some(kind));
        }
    }
}
