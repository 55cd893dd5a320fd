//! Schemas in and out, and what is refused.

use milvus::proto::schema::value_field::Data as DefaultValue;

use super::*;
use crate::convert::pair;

fn read(schema: wire::CollectionSchema) -> Result<CollectionSchema> {
    from_wire("c", schema, Tz::UTC)
}

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
    let mut schema = read(schema(sent.clone())).unwrap();
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
    let error = |field: wire::FieldSchema| read(schema(vec![key(), field])).unwrap_err().to_string();
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
        error(field("b", wire::DataType::BinaryVector, &[("dim", "9")]))
            .starts_with("invalid dimension: 9 of field b. binary vector dimension should be multiple of 8")
    );
    assert!(
        error(field("t", wire::DataType::Mol, &[])).starts_with("not supported: data type Mol of field t")
    );
    assert!(error(field("n", wire::DataType::Int8, &[])).starts_with("schema does not contain vector field"));
}

#[test]
fn a_default_instant_without_an_offset_is_in_the_zone() {
    let mut at = field("at", wire::DataType::Timestamptz, &[]);
    at.default_value = Some(wire::ValueField {
        data: Some(DefaultValue::StringData("2025-01-01T08:00:00".into())),
    });
    let schema = schema(vec![key(), at, vector("2")]);
    let schema = from_wire("c", schema, Tz::Asia__Shanghai).unwrap();
    let back = to_wire("c", "default", &schema).fields.remove(1).default_value;
    let Some(DefaultValue::StringData(text)) = back.and_then(|value| value.data) else {
        panic!("no text")
    };
    assert_eq!(text, "2025-01-01T00:00:00Z");
}

#[test]
fn flags_that_do_not_fit_their_field_are_refused() {
    let error = |field: wire::FieldSchema| {
        read(schema(vec![key(), field, vector("2")]))
            .unwrap_err()
            .to_string()
    };
    let mut json = field("doc", wire::DataType::Json, &[]);
    json.is_clustering_key = true;
    assert!(error(json).starts_with("the data type of clustering key field doc should be Int8"));
    let mut meta = field("meta", wire::DataType::Json, &[]);
    meta.is_dynamic = true;
    assert!(error(meta).starts_with("cannot explicitly set a field as a dynamic field: meta"));
}

#[test]
fn a_default_value_of_another_type_is_refused() {
    let mut wrong = field("n", wire::DataType::Int64, &[]);
    wrong.default_value = Some(wire::ValueField {
        data: Some(DefaultValue::StringData("x".into())),
    });
    let error = read(schema(vec![key(), wrong, vector("2")])).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("type (Int64) of field (n) is not equal to the type(VarChar) of default_value")
    );
}

#[test]
fn what_is_not_there_yet_is_said() {
    let mut functions = schema(vec![key(), vector("2")]);
    functions.functions.push(wire::FunctionSchema {
        r#type: wire::FunctionType::TextEmbedding as i32,
        ..Default::default()
    });
    assert!(
        read(functions)
            .unwrap_err()
            .to_string()
            .starts_with("not supported: function type TextEmbedding")
    );
}

#[test]
fn minhash_functions_are_described_as_they_were_given() {
    let text = field("text", wire::DataType::VarChar, &[("max_length", "100")]);
    let signature = field("signature", wire::DataType::BinaryVector, &[("dim", "128")]);
    let mut given = schema(vec![key(), text, signature]);
    given.functions.push(wire::FunctionSchema {
        name: "f".into(),
        r#type: wire::FunctionType::MinHash as i32,
        input_field_names: vec!["text".into()],
        output_field_names: vec!["signature".into()],
        params: vec![pair("Shingle_Size", "2"), pair("token_level", "char")],
        ..Default::default()
    });
    let described = to_wire("c", "default", &read(given).unwrap());
    let [function] = described.functions.as_slice() else {
        panic!("{:?}", described.functions)
    };
    assert_eq!(function.r#type, wire::FunctionType::MinHash as i32);
    let params = function
        .params
        .iter()
        .map(|pair| format!("{}={}", pair.key, pair.value));
    let params: Vec<String> = params.collect();
    assert_eq!(params, ["num_hashes=4", "shingle_size=2", "token_level=char"]);
    let output = described.fields.iter().find(|field| field.name == "signature");
    assert!(output.is_some_and(|field| field.is_function_output));
}
