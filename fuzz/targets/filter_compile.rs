//! Filters against a schema: whatever parses is compiled to a DataFusion expression or refused with a place in the text,
//! without a panic, a hang or an overflow of the stack.

#![no_main]

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use elanus_filter::{TemplateValue, Templates, compile};
use libfuzzer_sys::fuzz_target;

/// A column of every type that a filter may name, with the names that the tests use.
static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
    let list = |item| DataType::List(Arc::new(Field::new("item", item, true)));
    let json = |name: &str| {
        let metadata = HashMap::from([("ARROW:extension:name".to_owned(), "arrow.json".to_owned())]);
        Field::new(name, DataType::Utf8, true).with_metadata(metadata)
    };
    let plain = [
        ("id", DataType::Int64),
        ("small", DataType::Int8),
        ("big", DataType::Int64),
        ("real", DataType::Float32),
        ("double", DataType::Float64),
        ("flag", DataType::Boolean),
        ("text", DataType::Utf8),
        ("Text", DataType::Utf8),
        ("a", DataType::Int32),
        ("b", DataType::Int64),
        (
            "ts",
            DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        ),
        ("ints", list(DataType::Int64)),
        ("floats", list(DataType::Float32)),
        ("tags", list(DataType::Utf8)),
        (
            "vec",
            DataType::FixedSizeList(Arc::new(Field::new("item", DataType::Float32, false)), 2),
        ),
    ];
    let plain = plain.map(|(name, data_type)| Field::new(name, data_type, true));
    Schema::new(
        plain
            .into_iter()
            .chain([json("meta"), json("m"), json("$meta")])
            .collect::<Vec<_>>(),
    )
});

static TEMPLATES: LazyLock<Templates> = LazyLock::new(|| {
    let ints = TemplateValue::Array(vec![TemplateValue::Int(1), TemplateValue::Int(i64::MIN)]);
    let mixed = TemplateValue::Array(vec![
        TemplateValue::String("x".to_owned()),
        TemplateValue::Bool(true),
        ints.clone(),
    ]);
    let values = [
        ("int", TemplateValue::Int(3)),
        ("t", TemplateValue::Int(i64::MIN)),
        ("float", TemplateValue::Float(0.5)),
        ("nan", TemplateValue::Float(f64::NAN)),
        ("bool", TemplateValue::Bool(true)),
        ("text", TemplateValue::String("a%".to_owned())),
        ("list", ints),
        ("mixed", mixed),
    ];
    values.into_iter().collect()
});

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    match compile(text, &SCHEMA, &TEMPLATES) {
        Ok(expr) => {
            std::hint::black_box(expr.to_string());
        }
        Err(error) => {
            assert!(error.to_string().starts_with("cannot parse expression: "));
            assert!(!error.render().is_empty());
        }
    }
});
