//! Collection schemas: from the message of CreateCollection, and back for DescribeCollection.
//!
//! The rules that Milvus words in its own way (dimension, length, capacity, missing parameters) are
//! checked here with that wording; everything else is left to the collection layer's validation.

use std::collections::BTreeMap;

use elanus_collection::{CollectionSchema, DataType, Field};
use milvus::proto::common::KeyValuePair;
use milvus::proto::schema as wire;
use milvus::proto::schema::value_field::Data as DefaultValue;
use serde_json::{Number, Value};

use crate::convert::{pair, time, to_map, to_pairs};
use crate::status::{Error, Result};

const DIM: &str = "dim";
const MAX_LENGTH: &str = "max_length";
const MAX_CAPACITY: &str = "max_capacity";
const MAX_DIM: i64 = 32_768;
const MAX_VARCHAR_LENGTH: i64 = 65_535;
const MAX_ARRAY_CAPACITY: i64 = 4_096;

/// Type parameters that ask for something that is not there, unless the value switches it off.
const UNSUPPORTED_PARAMS: [&str; 4] = [
    "enable_analyzer",
    "enable_match",
    "analyzer_params",
    "multi_analyzer_params",
];

/// The schema of a CreateCollection request.
///
/// # Errors
/// When a field is of a type that is not there, lacks a parameter or breaks a limit.
pub(crate) fn from_wire(collection: &str, schema: wire::CollectionSchema) -> Result<CollectionSchema> {
    for (what, given) in [
        ("functions in the schema", !schema.functions.is_empty()),
        ("struct array fields", !schema.struct_array_fields.is_empty()),
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
    let fields = schema
        .fields
        .into_iter()
        .filter(|field| !field.is_dynamic)
        .map(|field| field_from_wire(collection, field))
        .collect::<Result<Vec<_>>>()?;
    if !fields.iter().any(|field| field.data_type.is_vector()) {
        return Err(Error::invalid(
            "schema does not contain vector field; add at least one FLOAT_VECTOR field",
        ));
    }
    Ok(CollectionSchema {
        description: schema.description,
        fields,
        enable_dynamic_field: schema.enable_dynamic_field,
    })
}

fn field_from_wire(collection: &str, field: wire::FieldSchema) -> Result<Field> {
    let mut params = to_map(field.type_params);
    let data_type = type_from_wire(
        collection,
        &field.name,
        field.data_type,
        field.element_type,
        &mut params,
    )?;
    for key in UNSUPPORTED_PARAMS {
        match params.get(key).map(String::as_str) {
            None | Some("" | "false" | "False" | "{}") => {}
            Some(value) => {
                return Err(Error::unsupported(format!(
                    "text analysis ({key}={value} of field {})",
                    field.name
                )));
            }
        }
    }
    if field.is_function_output {
        return Err(Error::unsupported(format!(
            "function output field {}",
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
        .map(|value| default_from_wire(&field.name, &data_type, value))
        .transpose()?;
    Ok(Field {
        id: 0,
        name: field.name,
        description: field.description,
        data_type,
        primary_key: field.is_primary_key,
        auto_id: field.auto_id,
        nullable: field.nullable,
        default,
        partition_key: field.is_partition_key,
        clustering_key: field.is_clustering_key,
        dynamic: false,
        params,
    })
}

/// The type of a field; takes the parameters that belong to the type out of `params`.
fn type_from_wire(
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
            "data type {} of field {field}; allowed are Bool, Int8, Int16, Int32, Int64, Float, Double, VarChar, JSON, Array, Timestamptz, FloatVector",
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
            dim: dimension(field, params)?,
        },
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
        W::Geometry
        | W::Text
        | W::Mol
        | W::Date
        | W::Time
        | W::Decimal
        | W::Uuid
        | W::BinaryVector
        | W::Float16Vector
        | W::BFloat16Vector
        | W::SparseFloatVector
        | W::Int8Vector
        | W::ArrayOfVector
        | W::ArrayOfStruct
        | W::Struct => return unsupported(),
    })
}

fn number(field: &str, key: &str, text: &str) -> Result<i64> {
    text.trim().parse().map_err(|_| {
        Error::invalid(format!(
            "the value for {key} of field {field} must be an integer, got '{text}'"
        ))
    })
}

fn dimension(field: &str, params: &mut BTreeMap<String, String>) -> Result<u32> {
    let Some(text) = params.remove(DIM) else {
        return Err(Error::invalid(format!(
            "dimension is not defined in field type params of field {field}, check type param `dim` for vector field"
        )));
    };
    let dim = number(field, DIM, &text)?;
    if dim <= 1 {
        return Err(Error::invalid(format!(
            "invalid dimension: {dim}. should be in range 2 ~ {MAX_DIM}"
        )));
    }
    u32::try_from(dim).ok().filter(|_| dim <= MAX_DIM).ok_or_else(|| {
        Error::invalid(format!(
            "invalid dimension: {dim} of field {field}. float vector dimension should be in range 2 ~ {MAX_DIM}"
        ))
    })
}

fn max_length(collection: &str, field: &str, params: &mut BTreeMap<String, String>) -> Result<u32> {
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

fn max_capacity(collection: &str, field: &str, params: &mut BTreeMap<String, String>) -> Result<u32> {
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

/// A default value as JSON; instants become microseconds.
fn default_from_wire(field: &str, data_type: &DataType, value: DefaultValue) -> Result<Value> {
    let wrong = |given: &str| {
        Err(Error::expected(
            format!(
                "type ({}) of field ({field}) is not equal to the type({given}) of default_value",
                data_type.name()
            ),
            data_type.name(),
            given,
        ))
    };
    let float = |value: f64| {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| {
            Error::invalid(format!(
                "the default value of field {field} must be a finite number, got {value}"
            ))
        })
    };
    match (data_type, value) {
        (DataType::Bool, DefaultValue::BoolData(value)) => Ok(value.into()),
        (DataType::Int8 | DataType::Int16 | DataType::Int32, DefaultValue::IntData(value)) => {
            Ok(value.into())
        }
        (DataType::Int64, DefaultValue::LongData(value)) => Ok(value.into()),
        // What a Python int becomes, whatever the field's width; the schema checks the range.
        (DataType::Int8 | DataType::Int16 | DataType::Int32, DefaultValue::LongData(value)) => {
            Ok(value.into())
        }
        (DataType::Float, DefaultValue::FloatData(value)) => float(f64::from(value)),
        (DataType::Double, DefaultValue::DoubleData(value)) => float(value),
        (DataType::VarChar { max_length }, DefaultValue::StringData(value)) => {
            if value.len() as u64 > u64::from(*max_length) {
                return Err(Error::invalid(format!(
                    "the length ({}) of string exceeds max length ({max_length}) in the default value of field {field}",
                    value.len()
                )));
            }
            Ok(value.into())
        }
        (DataType::TimestampTz, DefaultValue::StringData(value)) => {
            Ok(time::parse(&value, chrono_tz::UTC)?.into())
        }
        (DataType::TimestampTz, DefaultValue::TimestamptzData(value)) => Ok(value.into()),
        (_, DefaultValue::BoolData(_)) => wrong("Bool"),
        (_, DefaultValue::IntData(_)) => wrong("Int32"),
        (_, DefaultValue::LongData(_)) => wrong("Int64"),
        (_, DefaultValue::FloatData(_)) => wrong("Float"),
        (_, DefaultValue::DoubleData(_)) => wrong("Double"),
        (_, DefaultValue::StringData(_)) => wrong("VarChar"),
        (_, DefaultValue::BytesData(_)) => wrong("bytes"),
        (_, DefaultValue::TimestamptzData(_)) => wrong("Timestamptz"),
        (_, DefaultValue::DateData(_)) => wrong("Date"),
        (_, DefaultValue::TimeData(_)) => wrong("Time"),
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
            .filter(|field| !field.dynamic)
            .map(field_to_wire)
            .collect(),
        enable_dynamic_field: schema.enable_dynamic_field,
        ..Default::default()
    }
}

fn field_to_wire(field: &Field) -> wire::FieldSchema {
    let mut type_params: Vec<KeyValuePair> = Vec::new();
    let mut element_type = wire::DataType::None;
    match &field.data_type {
        DataType::FloatVector { dim } => type_params.push(pair(DIM, dim.to_string())),
        DataType::VarChar { max_length } => type_params.push(pair(MAX_LENGTH, max_length.to_string())),
        DataType::Array {
            element,
            max_capacity,
        } => {
            element_type = type_to_wire(element);
            if let DataType::VarChar { max_length } = element.as_ref() {
                type_params.push(pair(MAX_LENGTH, max_length.to_string()));
            }
            type_params.push(pair(MAX_CAPACITY, max_capacity.to_string()));
        }
        DataType::Bool
        | DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::Float
        | DataType::Double
        | DataType::Json
        | DataType::TimestampTz => {}
    }
    type_params.extend(to_pairs(&field.params));
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
        DataType::Json => wire::DataType::Json,
        DataType::Array { .. } => wire::DataType::Array,
        DataType::TimestampTz => wire::DataType::Timestamptz,
        DataType::FloatVector { .. } => wire::DataType::FloatVector,
    }
}

fn default_to_wire(data_type: &DataType, value: &Value) -> Option<wire::ValueField> {
    let data = match data_type {
        DataType::Bool => DefaultValue::BoolData(value.as_bool()?),
        DataType::Int8 | DataType::Int16 | DataType::Int32 => {
            DefaultValue::IntData(i32::try_from(value.as_i64()?).ok()?)
        }
        DataType::Int64 => DefaultValue::LongData(value.as_i64()?),
        #[expect(clippy::cast_possible_truncation, reason = "a FLOAT default came as f32")]
        DataType::Float => DefaultValue::FloatData(value.as_f64()? as f32),
        DataType::Double => DefaultValue::DoubleData(value.as_f64()?),
        DataType::VarChar { .. } => DefaultValue::StringData(value.as_str()?.to_string()),
        DataType::TimestampTz => match value.as_i64() {
            Some(micros) => DefaultValue::StringData(time::format(micros, chrono_tz::UTC)),
            None => DefaultValue::StringData(value.as_str()?.to_string()),
        },
        DataType::Json | DataType::Array { .. } | DataType::FloatVector { .. } => return None,
    };
    Some(wire::ValueField { data: Some(data) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(name: &str, data_type: wire::DataType, params: &[(&str, &str)]) -> wire::FieldSchema {
        wire::FieldSchema {
            name: name.into(),
            data_type: data_type as i32,
            type_params: params.iter().map(|(key, value)| pair(key, *value)).collect(),
            ..Default::default()
        }
    }

    fn schema(fields: Vec<wire::FieldSchema>) -> wire::CollectionSchema {
        wire::CollectionSchema {
            fields,
            enable_dynamic_field: true,
            description: "d".into(),
            ..Default::default()
        }
    }

    fn key() -> wire::FieldSchema {
        wire::FieldSchema {
            is_primary_key: true,
            auto_id: true,
            ..field("id", wire::DataType::Int64, &[])
        }
    }

    fn vector(dim: &str) -> wire::FieldSchema {
        field(
            "v",
            wire::DataType::FloatVector,
            &[("dim", dim), ("mmap.enabled", "true")],
        )
    }

    fn all_fields() -> Vec<wire::FieldSchema> {
        let mut tags = field(
            "tags",
            wire::DataType::Array,
            &[("max_length", "20"), ("max_capacity", "8")],
        );
        tags.element_type = wire::DataType::VarChar as i32;
        tags.nullable = true;
        let mut city = field("city", wire::DataType::VarChar, &[("max_length", "32")]);
        city.is_partition_key = true;
        city.default_value = Some(wire::ValueField {
            data: Some(DefaultValue::StringData("rome".into())),
        });
        let mut price = field("price", wire::DataType::Float, &[]);
        price.default_value = Some(wire::ValueField {
            data: Some(DefaultValue::FloatData(1.5)),
        });
        let mut at = field("at", wire::DataType::Timestamptz, &[]);
        at.default_value = Some(wire::ValueField {
            data: Some(DefaultValue::StringData("2025-01-01T00:00:00Z".into())),
        });
        vec![
            key(),
            tags,
            city,
            price,
            at,
            field("doc", wire::DataType::Json, &[]),
            vector("8"),
        ]
    }

    #[test]
    fn a_schema_comes_back_as_it_was_sent() {
        let sent = all_fields();
        let mut schema = from_wire("c", schema(sent.clone())).unwrap();
        schema.validate().unwrap();
        let back = to_wire("c", "default", &schema);
        assert!(back.enable_dynamic_field);
        assert_eq!(back.description, "d");
        assert_eq!(
            back.fields.len(),
            sent.len(),
            "the hidden dynamic field is not shown"
        );
        for (at, (mut sent, mut back)) in sent.into_iter().zip(back.fields).enumerate() {
            assert_eq!(back.field_id, 100 + at as i64);
            back.field_id = 0;
            sent.type_params.sort_by(|a, b| a.key.cmp(&b.key));
            back.type_params.sort_by(|a, b| a.key.cmp(&b.key));
            assert_eq!(back, sent);
        }
    }

    #[test]
    fn limits_and_missing_parameters_read_as_in_milvus() {
        let error = |field: wire::FieldSchema| {
            from_wire("c", schema(vec![key(), field]))
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            error(vector("1")),
            "invalid dimension: 1. should be in range 2 ~ 32768: invalid parameter"
        );
        assert!(error(vector("32769")).starts_with(
            "invalid dimension: 32769 of field v. float vector dimension should be in range 2 ~ 32768"
        ));
        assert!(error(field("v", wire::DataType::FloatVector, &[])).starts_with("dimension is not defined"));
        assert!(
            error(field("s", wire::DataType::VarChar, &[]))
                .contains("type param(max_length) should be specified")
        );
        assert!(
            error(field("s", wire::DataType::VarChar, &[("max_length", "65536")]))
                .contains("(0, 65535], but got 65536")
        );
        assert!(
            error(field("s", wire::DataType::VarChar, &[("max_length", "x")])).contains("must be an integer")
        );
        let mut array = field("a", wire::DataType::Array, &[("max_capacity", "4097")]);
        array.element_type = wire::DataType::Int64 as i32;
        assert!(error(array).contains("(0, 4096]"));
        assert!(
            error(field("b", wire::DataType::BinaryVector, &[("dim", "8")]))
                .starts_with("not supported: data type BinaryVector")
        );
        assert!(
            error(field("n", wire::DataType::Int8, &[])).starts_with("schema does not contain vector field")
        );
    }

    #[test]
    fn a_default_value_of_another_type_is_refused() {
        let mut wrong = field("n", wire::DataType::Int64, &[]);
        wrong.default_value = Some(wire::ValueField {
            data: Some(DefaultValue::StringData("x".into())),
        });
        let error = from_wire("c", schema(vec![key(), wrong, vector("2")])).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("type (Int64) of field (n) is not equal to the type(VarChar) of default_value")
        );
    }

    #[test]
    fn what_is_not_there_yet_is_said() {
        let mut functions = schema(vec![key(), vector("2")]);
        functions.functions.push(wire::FunctionSchema::default());
        assert!(
            from_wire("c", functions)
                .unwrap_err()
                .to_string()
                .starts_with("not supported: functions")
        );
        let text = field(
            "s",
            wire::DataType::VarChar,
            &[("max_length", "10"), ("enable_match", "true")],
        );
        assert!(
            from_wire("c", schema(vec![key(), text, vector("2")]))
                .unwrap_err()
                .to_string()
                .starts_with("not supported")
        );
    }
}
