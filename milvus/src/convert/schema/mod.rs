//! Collection schemas: from the message of CreateCollection, and back for DescribeCollection.
//!
//! The rules that Milvus words in its own way (dimension, length, capacity, missing parameters) are
//! checked here with that wording; everything else is left to the collection layer's validation.

mod defaults;
mod functions;
mod structs;
#[cfg(test)]
mod tests;
mod types;

use chrono_tz::Tz;
use elanus_collection::{CollectionSchema, DataType, Field};
use milvus::proto::schema as wire;

use crate::convert::{to_map, to_pairs};
use crate::status::{Error, Result};

use defaults::{default_from_wire, default_to_wire};
use types::{params_to_wire, type_from_wire};

pub(crate) use structs::from_wire as struct_from_wire;
pub(crate) use types::{MAX_CAPACITY, MAX_LENGTH, max_capacity, max_length, type_to_wire};

/// The schema of a CreateCollection request; `zone` is where default instants without an offset are.
///
/// # Errors
/// When a field is of a type that is not there, lacks a parameter or breaks a limit.
pub(crate) fn from_wire(
    collection: &str,
    schema: wire::CollectionSchema,
    zone: Tz,
) -> Result<CollectionSchema> {
    for (what, given) in [
        (
            "external collections",
            !schema.external_source.is_empty() || !schema.external_spec.is_empty(),
        ),
        ("namespaces", schema.enable_namespace),
    ] {
        if given {
            return Err(Error::unsupported(format!("{what} (collection {collection})")));
        }
    }
    if let Some(field) = schema.fields.iter().find(|field| field.is_dynamic) {
        return Err(Error::invalid(format!(
            "cannot explicitly set a field as a dynamic field: {}; switch enable_dynamic_field on instead",
            field.name
        )));
    }
    let functions = schema.functions.into_iter().map(functions::from_wire);
    let functions = functions.collect::<Result<Vec<_>>>()?;
    let mut fields = schema.fields;
    for field in &mut fields {
        // Some clients mark the outputs, some leave it to the server.
        let is_output = functions.iter().any(|function| function.output == field.name);
        field.is_function_output &= !is_output;
    }
    let mut fields = fields
        .into_iter()
        .map(|field| field_from_wire(collection, field, zone))
        .collect::<Result<Vec<_>>>()?;
    for field in schema.struct_array_fields {
        fields.push(structs::from_wire(collection, field)?);
    }
    let has_vectors = |field: &Field| {
        let in_structs = field.sub_fields().iter().any(|sub| sub.data_type.is_vector());
        field.data_type.is_vector() || in_structs
    };
    if !fields.iter().any(has_vectors) {
        return Err(Error::invalid(
            "schema does not contain vector field; add at least one FLOAT_VECTOR field",
        ));
    }
    Ok(CollectionSchema {
        description: schema.description,
        fields,
        enable_dynamic_field: schema.enable_dynamic_field,
        functions,
    })
}

/// One field of a schema; `zone` is where default instants without an offset are.
///
/// # Errors
/// As [`from_wire`].
pub(crate) fn field_from_wire(collection: &str, field: wire::FieldSchema, zone: Tz) -> Result<Field> {
    let mut params = to_map(field.type_params);
    let data_type = type_from_wire(
        collection,
        &field.name,
        field.data_type,
        field.element_type,
        &mut params,
    )?;
    if field.is_function_output {
        return Err(Error::unsupported(format!(
            "function output field {} of no function",
            field.name
        )));
    }
    if field.element_nullable {
        return Err(Error::unsupported(format!(
            "null elements in array field {}",
            field.name
        )));
    }
    let default = field.default_value.and_then(|value| value.data);
    let default = default
        .map(|value| default_from_wire(&field.name, &data_type, value, zone))
        .transpose()?;
    if field.is_clustering_key && !can_cluster(&data_type) {
        return Err(Error::invalid(format!(
            "the data type of clustering key field {} should be Int8, Int16, Int32, Int64, Float, Double or VarChar, got {}",
            field.name,
            data_type.name()
        )));
    }
    Ok(Field {
        id: 0,
        name: field.name,
        description: field.description,
        data_type,
        primary_key: field.is_primary_key,
        auto_id: field.auto_id,
        nullable: field.nullable,
        default,
        fill: None,
        stored_name: None,
        partition_key: field.is_partition_key,
        clustering_key: field.is_clustering_key,
        dynamic: false,
        params,
    })
}

fn can_cluster(data_type: &DataType) -> bool {
    match data_type {
        DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::Float
        | DataType::Double
        | DataType::VarChar { .. } => true,
        DataType::Bool
        | DataType::Text
        | DataType::Json
        | DataType::Array { .. }
        | DataType::StructArray { .. }
        | DataType::TimestampTz
        | DataType::Geometry
        | DataType::FloatVector { .. }
        | DataType::Float16Vector { .. }
        | DataType::BFloat16Vector { .. }
        | DataType::Int8Vector { .. }
        | DataType::BinaryVector { .. }
        | DataType::SparseFloatVector
        | DataType::VectorArray { .. } => false,
    }
}

/// The schema as DescribeCollection shows it: without the hidden dynamic field, as Milvus does.
pub(crate) fn to_wire(name: &str, database: &str, schema: &CollectionSchema) -> wire::CollectionSchema {
    wire::CollectionSchema {
        name: name.to_string(),
        db_name: database.to_string(),
        description: schema.description.clone(),
        fields: schema
            .fields
            .iter()
            .filter(|field| !field.dynamic && field.sub_fields().is_empty())
            .map(|field| wire::FieldSchema {
                is_function_output: schema.function_of(&field.name).is_some(),
                ..field_to_wire(field)
            })
            .collect(),
        functions: functions::to_wire(schema),
        enable_dynamic_field: schema.enable_dynamic_field,
        struct_array_fields: schema.fields.iter().filter_map(structs::to_wire).collect(),
        ..Default::default()
    }
}

fn field_to_wire(field: &Field) -> wire::FieldSchema {
    let (element_type, mut type_params) = params_to_wire(&field.data_type);
    type_params.extend(to_pairs(&field.given_params()));
    wire::FieldSchema {
        field_id: field.id,
        name: field.name.clone(),
        is_primary_key: field.primary_key,
        description: field.description.clone(),
        data_type: type_to_wire(&field.data_type) as i32,
        type_params,
        auto_id: field.auto_id,
        element_type: element_type as i32,
        default_value: field
            .default
            .as_ref()
            .and_then(|value| default_to_wire(&field.data_type, value)),
        is_dynamic: field.dynamic,
        is_partition_key: field.partition_key,
        is_clustering_key: field.clustering_key,
        nullable: field.nullable,
        ..Default::default()
    }
}
