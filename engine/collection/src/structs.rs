//! Arrays of structs: the definition of their sub-fields, and its form in a field's metadata.
//!
//! In Arrow such a field is a list of structs whose children have names and types and nothing else. What Arrow cannot say
//! (ids, limits) is one JSON list in the metadata of the field itself: metadata within a type would make two types of it
//! in every comparison.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray};
use arrow::datatypes::{DataType as ArrowType, Field as ArrowField, Fields};
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::names::{NameKind, validate_name};
use crate::schema::validate_dim;
use crate::types::metadata_keys::BFLOAT16_EXTENSION;
use crate::types::{DataType, Field, MAX_VARCHAR_LENGTH, scalar_from_arrow, vector_from_arrow};

/// One field of the structs of an array.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SubField {
    /// Numeric id, from the same numbers as those of fields. 0 means "not assigned yet".
    pub id: i64,
    /// Name, unique in the struct.
    pub name: String,
    /// Free text.
    pub description: String,
    /// A scalar type other than TEXT, JSON, TIMESTAMPTZ and GEOMETRY, or a dense vector.
    pub data_type: DataType,
}

impl SubField {
    /// A sub-field without a description.
    pub fn new(name: impl Into<String>, data_type: DataType) -> Self {
        Self {
            id: 0,
            name: name.into(),
            description: String::new(),
            data_type,
        }
    }
}

/// The name of a sub-field as seen from outside of its struct: `chunks[text]`.
pub fn sub_field_name(field: &str, sub: &str) -> String {
    format!("{field}[{sub}]")
}

/// The field and the sub-field of such a name.
pub fn split_sub_field_name(name: &str) -> Option<(&str, &str)> {
    let (field, sub) = name.strip_suffix(']')?.split_once('[')?;
    (!field.is_empty() && !sub.is_empty()).then_some((field, sub))
}

/// The sub-fields of a field that are vectors, each as the column of lists that a search sees.
pub(crate) fn vector_columns(field: &Field) -> impl Iterator<Item = Field> + '_ {
    let vectors = field.sub_fields().iter().filter(|sub| sub.data_type.is_vector());
    vectors.map(|sub| {
        let data_type = DataType::VectorArray {
            element: Box::new(sub.data_type.clone()),
        };
        Field {
            id: sub.id,
            description: sub.description.clone(),
            nullable: field.nullable,
            stored_name: field
                .stored_name
                .as_ref()
                .map(|stored| sub_field_name(stored, &sub.name)),
            ..Field::new(sub_field_name(&field.name, &sub.name), data_type)
        }
    })
}

/// The values of one sub-field: a list for each row.
///
/// # Errors
/// [`Error::InvalidSchema`] for a column that is no list of structs with this sub-field.
pub(crate) fn values_of(column: &ArrayRef, sub: &str) -> Result<ArrayRef> {
    let lists = column.as_list_opt::<i32>();
    let structs = lists.and_then(|lists| lists.values().as_struct_opt());
    let values = structs.and_then(|structs| structs.column_by_name(sub));
    let (Some(lists), Some(values)) = (lists, values) else {
        return Err(Error::InvalidSchema(format!(
            "a column of type {} has no sub-field '{sub}'",
            column.data_type()
        )));
    };
    let item = Arc::new(ArrowField::new_list_field(values.data_type().clone(), true));
    let (offsets, nulls) = (lists.offsets().clone(), lists.nulls().cloned());
    Ok(Arc::new(ListArray::try_new(
        item,
        offsets,
        Arc::clone(values),
        nulls,
    )?))
}

/// The children of the Arrow struct.
pub(crate) fn arrow_fields(fields: &[SubField]) -> Fields {
    let children = fields.iter();
    children
        .map(|sub| ArrowField::new(&sub.name, sub.data_type.to_arrow(), true))
        .collect()
}

/// Checks the sub-fields of field `name`.
///
/// # Errors
/// [`Error::InvalidSchema`] or [`Error::InvalidName`] naming the sub-field and what is allowed.
pub(crate) fn validate(name: &str, fields: &[SubField]) -> Result<()> {
    if fields.is_empty() {
        return Err(Error::InvalidSchema(format!(
            "struct array field {name} has no sub-fields"
        )));
    }
    let mut seen = HashSet::new();
    for sub in fields {
        validate_name(NameKind::Field, &sub.name)?;
        if !seen.insert(sub.name.as_str()) {
            return Err(Error::InvalidSchema(format!(
                "duplicated sub-field name '{}' in struct array field {name}",
                sub.name
            )));
        }
        validate_type(&sub_field_name(name, &sub.name), &sub.data_type)?;
    }
    Ok(())
}

fn validate_type(name: &str, data_type: &DataType) -> Result<()> {
    match data_type {
        DataType::VarChar { max_length } if !(1..=MAX_VARCHAR_LENGTH).contains(max_length) => {
            Err(Error::InvalidSchema(format!(
                "field '{name}': the maximum length {max_length} must be in range [1, {MAX_VARCHAR_LENGTH}]"
            )))
        }
        DataType::VarChar { .. }
        | DataType::Bool
        | DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::Float
        | DataType::Double => Ok(()),
        DataType::FloatVector { .. }
        | DataType::Float16Vector { .. }
        | DataType::BFloat16Vector { .. }
        | DataType::Int8Vector { .. }
        | DataType::BinaryVector { .. } => validate_dim(name, data_type),
        DataType::Text
        | DataType::Json
        | DataType::Array { .. }
        | DataType::StructArray { .. }
        | DataType::TimestampTz
        | DataType::Geometry
        | DataType::SparseFloatVector
        | DataType::VectorArray { .. } => Err(Error::InvalidSchema(format!(
            "field '{name}': sub-fields of type {} are not supported: allowed are Bool, Int8, Int16, Int32, Int64, Float, Double, \
             VarChar, FloatVector, Float16Vector, BFloat16Vector, Int8Vector, BinaryVector",
            data_type.name()
        ))),
    }
}

/// The sub-fields as metadata.
pub(crate) fn to_metadata(fields: &[SubField]) -> String {
    let list = fields.iter().map(|sub| {
        let mut entry = json!({"id": sub.id, "name": sub.name, "description": sub.description});
        if let DataType::VarChar { max_length } = sub.data_type {
            entry["max_length"] = json!(max_length);
        }
        if let DataType::BFloat16Vector { .. } = sub.data_type {
            entry["type"] = json!(sub.data_type.name());
        }
        entry
    });
    Value::from_iter(list).to_string()
}

/// The sub-fields of an Arrow list of structs; `metadata` adds to them what Arrow does not say. None for any other type.
pub(crate) fn from_arrow(arrow: &ArrowType, metadata: Option<&str>) -> Option<Vec<SubField>> {
    let ArrowType::List(item) = arrow else { return None };
    let ArrowType::Struct(children) = item.data_type() else {
        return None;
    };
    let list: Vec<Value> = match metadata {
        Some(text) => serde_json::from_str(text).ok()?,
        None => Vec::new(),
    };
    let of = |name: &str| list.iter().find(|entry| entry["name"].as_str() == Some(name));
    let sub_field = |child: &ArrowField| {
        let entry = of(child.name());
        let number = |key: &str| entry.and_then(|entry| entry[key].as_i64());
        let max_length = number("max_length").and_then(|length| u32::try_from(length).ok());
        let description = entry.and_then(|entry| entry["description"].as_str());
        Some(SubField {
            id: number("id").unwrap_or(0),
            name: child.name().clone(),
            description: description.unwrap_or_default().to_string(),
            data_type: match scalar_from_arrow(child.data_type(), max_length) {
                Some(scalar) => Some(scalar).filter(|scalar| *scalar != DataType::TimestampTz)?,
                None => {
                    let bfloat16 = entry.is_some_and(|entry| entry["type"] == "BFloat16Vector");
                    let extension = bfloat16.then_some(BFLOAT16_EXTENSION);
                    vector_from_arrow(child.data_type(), extension).filter(DataType::is_dense_vector)?
                }
            },
        })
    };
    children.iter().map(|child| sub_field(child)).collect()
}
