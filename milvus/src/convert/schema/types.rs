//! Field types and the parameters that belong to them.

use std::collections::BTreeMap;

use elanus_collection::DataType;
use milvus::proto::common::KeyValuePair;
use milvus::proto::schema as wire;

use crate::convert::pair;
use crate::status::{Error, Result};

const DIM: &str = "dim";
/// Parameter of a VARCHAR.
pub(crate) const MAX_LENGTH: &str = "max_length";
/// Parameter of an ARRAY.
pub(crate) const MAX_CAPACITY: &str = "max_capacity";
const MAX_DIM: i64 = 32_768;
const MAX_BITS: i64 = 262_144;
const MAX_VARCHAR_LENGTH: i64 = 65_535;
const MAX_ARRAY_CAPACITY: i64 = 4_096;

/// The type of a field; takes the parameters that belong to the type out of `params`.
pub(super) fn type_from_wire(
    collection: &str,
    field: &str,
    data_type: i32,
    element_type: i32,
    params: &mut BTreeMap<String, String>,
) -> Result<DataType> {
    use wire::DataType as W;
    let name = |code: i32| {
        W::try_from(code).map_or_else(|_| code.to_string(), |known| known.as_str_name().to_string())
    };
    let unsupported = || {
        Err(Error::unsupported(format!(
            "data type {} of field {field}; allowed are Bool, Int8, Int16, Int32, Int64, Float, Double, VarChar, Text, JSON, Array, Timestamptz, Geometry, FloatVector, Float16Vector, BFloat16Vector, Int8Vector, BinaryVector, SparseFloatVector",
            name(data_type)
        )))
    };
    let Ok(known) = W::try_from(data_type) else {
        return unsupported();
    };
    Ok(match known {
        W::Bool => DataType::Bool,
        W::Int8 => DataType::Int8,
        W::Int16 => DataType::Int16,
        W::Int32 => DataType::Int32,
        W::Int64 => DataType::Int64,
        W::Float => DataType::Float,
        W::Double => DataType::Double,
        W::Json => DataType::Json,
        W::Timestamptz => DataType::TimestampTz,
        W::Geometry => DataType::Geometry,
        W::Text => DataType::Text,
        W::VarChar => DataType::VarChar {
            max_length: max_length(collection, field, params)?,
        },
        W::Array => {
            let element = match W::try_from(element_type) {
                Ok(W::String) => {
                    return Err(Error::invalid(
                        "string data type not supported yet, please use VarChar type instead",
                    ));
                }
                Ok(W::None) => {
                    return Err(Error::invalid(format!(
                        "element data type None is not valid (field {field})"
                    )));
                }
                Ok(
                    W::Bool | W::Int8 | W::Int16 | W::Int32 | W::Int64 | W::Float | W::Double | W::VarChar,
                ) => type_from_wire(collection, field, element_type, 0, params)?,
                _ => {
                    return Err(Error::invalid(format!(
                        "element type {} is not supported (field {field}); allowed are Bool, Int8, Int16, Int32, Int64, Float, Double, VarChar",
                        name(element_type)
                    )));
                }
            };
            DataType::Array {
                element: Box::new(element),
                max_capacity: max_capacity(collection, field, params)?,
            }
        }
        W::FloatVector => DataType::FloatVector {
            dim: dimension(field, params, "float")?,
        },
        W::Float16Vector => DataType::Float16Vector {
            dim: dimension(field, params, "float")?,
        },
        W::BFloat16Vector => DataType::BFloat16Vector {
            dim: dimension(field, params, "float")?,
        },
        W::Int8Vector => DataType::Int8Vector {
            dim: dimension(field, params, "int")?,
        },
        W::BinaryVector => DataType::BinaryVector {
            dim: bits(field, params)?,
        },
        W::SparseFloatVector if params.contains_key(DIM) => {
            return Err(Error::invalid(format!(
                "dim should not be specified for sparse vector field {field}({})",
                params.get(DIM).map_or("", String::as_str)
            )));
        }
        W::SparseFloatVector => DataType::SparseFloatVector,
        W::String => {
            return Err(Error::invalid(
                "string data type not supported yet, please use VarChar type instead",
            ));
        }
        W::None => {
            return Err(Error::invalid(format!(
                "data type None is not valid (field {field})"
            )));
        }
        W::ArrayOfVector => {
            let element = type_from_wire(collection, field, element_type, 0, params)?;
            if !element.is_dense_vector() {
                return Err(Error::invalid(format!(
                    "element type {} is not supported (field {field}); allowed are FloatVector, Float16Vector, BFloat16Vector, Int8Vector, BinaryVector",
                    name(element_type)
                )));
            }
            DataType::VectorArray {
                element: Box::new(element),
            }
        }
        W::Mol | W::Date | W::Time | W::Decimal | W::Uuid | W::ArrayOfStruct | W::Struct => {
            return unsupported();
        }
    })
}

fn number(field: &str, key: &str, text: &str) -> Result<i64> {
    text.trim().parse().map_err(|_| {
        Error::invalid(format!(
            "the value for {key} of field {field} must be an integer, got '{text}'"
        ))
    })
}

fn dimension(field: &str, params: &mut BTreeMap<String, String>, kind: &str) -> Result<u32> {
    let dim = given_dimension(field, params)?;
    if dim <= 1 {
        return Err(Error::invalid(format!(
            "invalid dimension: {dim}. should be in range 2 ~ {MAX_DIM}"
        )));
    }
    u32::try_from(dim).ok().filter(|_| dim <= MAX_DIM).ok_or_else(|| {
        Error::invalid(format!(
            "invalid dimension: {dim} of field {field}. {kind} vector dimension should be in range 2 ~ {MAX_DIM}"
        ))
    })
}

/// The dimension of a binary vector.
fn bits(field: &str, params: &mut BTreeMap<String, String>) -> Result<u32> {
    let dim = given_dimension(field, params)?;
    if dim % 8 != 0 {
        return Err(Error::invalid(format!(
            "invalid dimension: {dim} of field {field}. binary vector dimension should be multiple of 8."
        )));
    }
    u32::try_from(dim).ok().filter(|_| (8..=MAX_BITS).contains(&dim)).ok_or_else(|| {
        Error::invalid(format!(
            "invalid dimension: {dim} of field {field}. binary vector dimension should be in range 8 ~ {MAX_BITS}"
        ))
    })
}

fn given_dimension(field: &str, params: &mut BTreeMap<String, String>) -> Result<i64> {
    let Some(text) = params.remove(DIM) else {
        return Err(Error::invalid(format!(
            "dimension is not defined in field type params of field {field}, check type param `dim` for vector field"
        )));
    };
    number(field, DIM, &text)
}

/// Takes the length of a VARCHAR out of `params`.
pub(crate) fn max_length(
    collection: &str,
    field: &str,
    params: &mut BTreeMap<String, String>,
) -> Result<u32> {
    let Some(text) = params.remove(MAX_LENGTH) else {
        return Err(Error::invalid(format!(
            "type param(max_length) should be specified for the field({field}) of collection {collection}"
        )));
    };
    let length = number(field, MAX_LENGTH, &text)?;
    u32::try_from(length).ok().filter(|_| (1..=MAX_VARCHAR_LENGTH).contains(&length)).ok_or_else(|| {
        Error::invalid(format!(
            "the maximum length specified for the field({field}) should be in (0, {MAX_VARCHAR_LENGTH}], but got {length} instead"
        ))
    })
}

/// Takes the capacity of an ARRAY out of `params`.
pub(crate) fn max_capacity(
    collection: &str,
    field: &str,
    params: &mut BTreeMap<String, String>,
) -> Result<u32> {
    let Some(text) = params.remove(MAX_CAPACITY) else {
        return Err(Error::invalid(format!(
            "type param(max_capacity) should be specified for array field {field} of collection {collection}"
        )));
    };
    let capacity = number(field, MAX_CAPACITY, &text)?;
    u32::try_from(capacity).ok().filter(|_| (1..=MAX_ARRAY_CAPACITY).contains(&capacity)).ok_or_else(|| {
        Error::invalid(format!(
            "the maximum capacity specified for a Array should be in (0, {MAX_ARRAY_CAPACITY}], but got {capacity} for field {field}"
        ))
    })
}

/// The wire name of a type.
pub(crate) fn type_to_wire(data_type: &DataType) -> wire::DataType {
    match data_type {
        DataType::Bool => wire::DataType::Bool,
        DataType::Int8 => wire::DataType::Int8,
        DataType::Int16 => wire::DataType::Int16,
        DataType::Int32 => wire::DataType::Int32,
        DataType::Int64 => wire::DataType::Int64,
        DataType::Float => wire::DataType::Float,
        DataType::Double => wire::DataType::Double,
        DataType::VarChar { .. } => wire::DataType::VarChar,
        DataType::Text => wire::DataType::Text,
        DataType::Json => wire::DataType::Json,
        DataType::Array { .. } => wire::DataType::Array,
        DataType::StructArray { .. } => wire::DataType::ArrayOfStruct,
        DataType::TimestampTz => wire::DataType::Timestamptz,
        DataType::Geometry => wire::DataType::Geometry,
        DataType::FloatVector { .. } => wire::DataType::FloatVector,
        DataType::Float16Vector { .. } => wire::DataType::Float16Vector,
        DataType::BFloat16Vector { .. } => wire::DataType::BFloat16Vector,
        DataType::Int8Vector { .. } => wire::DataType::Int8Vector,
        DataType::BinaryVector { .. } => wire::DataType::BinaryVector,
        DataType::SparseFloatVector => wire::DataType::SparseFloatVector,
        DataType::VectorArray { .. } => wire::DataType::ArrayOfVector,
    }
}

/// The element type of an array (else `None`) and the parameters that belong to a type.
pub(super) fn params_to_wire(data_type: &DataType) -> (wire::DataType, Vec<KeyValuePair>) {
    match data_type {
        DataType::FloatVector { dim }
        | DataType::Float16Vector { dim }
        | DataType::BFloat16Vector { dim }
        | DataType::Int8Vector { dim }
        | DataType::BinaryVector { dim } => (wire::DataType::None, vec![pair(DIM, dim.to_string())]),
        DataType::VarChar { max_length } => (
            wire::DataType::None,
            vec![pair(MAX_LENGTH, max_length.to_string())],
        ),
        DataType::Array {
            element,
            max_capacity,
        } => {
            let (_, mut params) = params_to_wire(element);
            params.push(pair(MAX_CAPACITY, max_capacity.to_string()));
            (type_to_wire(element), params)
        }
        DataType::Bool
        | DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::Float
        | DataType::Double
        | DataType::Text
        | DataType::Json
        | DataType::TimestampTz
        | DataType::Geometry
        | DataType::StructArray { .. }
        | DataType::SparseFloatVector => (wire::DataType::None, Vec::new()),
        DataType::VectorArray { element } => (type_to_wire(element), params_to_wire(element).1),
    }
}
