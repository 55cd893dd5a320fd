//! Arrays of structs: on the wire a field of fields, each of which is an array of its own.

use elanus_collection::{DataType, Field, SubField};
use milvus::proto::schema as wire;

use super::types::{MAX_CAPACITY, max_capacity, params_to_wire, type_from_wire, type_to_wire};
use crate::convert::{pair, to_map, to_pairs};
use crate::status::{Error, Result};

/// Parameters of a sub-field that only tune Milvus' own machinery.
const WITHOUT_EFFECT: [&str; 3] = ["mmap.enabled", "mmap_enabled", "warmup"];

/// One array of structs of a schema.
///
/// # Errors
/// When it has no sub-fields, one is of a type that is not there, lacks a parameter or breaks a limit, or their capacities
/// differ.
pub(crate) fn from_wire(collection: &str, field: wire::StructArrayFieldSchema) -> Result<Field> {
    let name = field.name;
    let mut subs = Vec::with_capacity(field.fields.len());
    let mut capacity = None;
    for sub in field.fields {
        if sub.nullable && !field.nullable {
            return Err(Error::invalid(format!(
                "sub-field in non-nullable struct cannot be nullable individually, set nullable on the struct instead: structName={name}, subFieldName={}",
                sub.name
            )));
        }
        let (sub, max_capacity) = sub_field(collection, &name, sub)?;
        if let Some(expected) = capacity.filter(|expected| *expected != max_capacity) {
            return Err(Error::invalid(format!(
                "all sub-fields in struct array field must have the same max_capacity: structName={name}, subFieldName={}, max_capacity={max_capacity}, expected={expected}",
                sub.name
            )));
        }
        capacity = Some(max_capacity);
        subs.push(sub);
    }
    let Some(max_capacity) = capacity else {
        return Err(Error::invalid(format!(
            "struct array field {name} has no sub-fields"
        )));
    };
    let data_type = DataType::StructArray {
        fields: subs,
        max_capacity,
    };
    Ok(Field {
        description: field.description,
        nullable: field.nullable,
        params: to_map(field.type_params),
        ..Field::new(name, data_type)
    })
}

/// A sub-field and its capacity.
fn sub_field(collection: &str, of: &str, sub: wire::FieldSchema) -> Result<(SubField, u32)> {
    let name = sub.name;
    let known = wire::DataType::try_from(sub.data_type);
    match known {
        Ok(wire::DataType::Array | wire::DataType::ArrayOfVector) => {}
        _ => {
            let shown = known.map_or_else(
                |_| sub.data_type.to_string(),
                |known| known.as_str_name().to_string(),
            );
            return Err(Error::invalid(format!(
                "fields in StructArrayField can only be array or array of struct, but field {name} is {shown}"
            )));
        }
    }
    for (what, is) in [
        ("primary key", sub.is_primary_key),
        ("auto id", sub.auto_id),
        ("partition key", sub.is_partition_key),
        ("clustering key", sub.is_clustering_key),
        ("dynamic field", sub.is_dynamic),
        ("function output", sub.is_function_output),
        ("default value", sub.default_value.is_some()),
        ("null elements", sub.element_nullable),
    ] {
        if is {
            return Err(Error::invalid(format!(
                "{what} is not supported for struct field, field name = {name}"
            )));
        }
    }
    let mut params = to_map(sub.type_params);
    let data_type = type_from_wire(collection, &name, sub.data_type, sub.element_type, &mut params)?;
    let (element, capacity) = if let DataType::VectorArray { element } = data_type {
        (*element, max_capacity(collection, &name, &mut params)?)
    } else if let DataType::Array {
        element,
        max_capacity,
    } = data_type
    {
        (*element, max_capacity)
    } else {
        return Err(Error::unexpected(format!(
            "internal error: sub-field {name} is no array"
        )));
    };
    if let Some((key, value)) = params
        .iter()
        .find(|(key, _)| !WITHOUT_EFFECT.contains(&key.as_str()))
    {
        return Err(Error::unsupported(format!(
            "{key}={value} of sub-field {name} of {of}"
        )));
    }
    let sub = SubField {
        description: sub.description,
        ..SubField::new(name, element)
    };
    Ok((sub, capacity))
}

/// The field as DescribeCollection shows it; none for one that is no array of structs.
pub(super) fn to_wire(field: &Field) -> Option<wire::StructArrayFieldSchema> {
    let DataType::StructArray { fields, max_capacity } = &field.data_type else {
        return None;
    };
    let sub_field = |sub: &SubField| {
        let (_, mut type_params) = params_to_wire(&sub.data_type);
        type_params.push(pair(MAX_CAPACITY, max_capacity.to_string()));
        let list = if sub.data_type.is_vector() {
            wire::DataType::ArrayOfVector
        } else {
            wire::DataType::Array
        };
        wire::FieldSchema {
            field_id: sub.id,
            name: sub.name.clone(),
            description: sub.description.clone(),
            data_type: list as i32,
            element_type: type_to_wire(&sub.data_type) as i32,
            type_params,
            nullable: field.nullable,
            ..Default::default()
        }
    };
    Some(wire::StructArrayFieldSchema {
        field_id: field.id,
        name: field.name.clone(),
        description: field.description.clone(),
        fields: fields.iter().map(sub_field).collect(),
        type_params: to_pairs(&field.params),
        nullable: field.nullable,
    })
}
