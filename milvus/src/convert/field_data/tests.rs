//! What a client may send, and what it may not.

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Float32Type, Int64Type};
use milvus::proto::schema::scalar_field::Data;
use milvus::proto::schema::{self as wire, ScalarField, vector_field};

use super::*;

fn schema() -> CollectionSchema {
    let mut city = Field::new("city", DataType::VarChar { max_length: 10 });
    city.default = Some("rome".into());
    let mut schema = CollectionSchema::new(vec![
        Field::new("id", DataType::Int64).primary(),
        Field::new("n", DataType::Int8).nullable(),
        city,
        Field::new("at", DataType::TimestampTz).nullable(),
        Field::new(
            "tags",
            DataType::Array {
                element: Box::new(DataType::Int16),
                max_capacity: 4,
            },
        )
        .nullable(),
        Field::new("doc", DataType::Json).nullable(),
        Field::new("v", DataType::FloatVector { dim: 2 }).nullable(),
    ])
    .with_dynamic_field();
    schema.validate().unwrap();
    schema
}

fn scalar(name: &str, data: Data, valid: &[bool]) -> FieldData {
    FieldData {
        field_name: name.into(),
        field: Some(WireField::Scalars(ScalarField {
            data: Some(data),
            valid_data: Vec::new(),
        })),
        valid_data: valid.to_vec(),
        ..Default::default()
    }
}

fn ids(data: Vec<i64>) -> FieldData {
    scalar("id", Data::LongData(wire::LongArray { data }), &[])
}

fn floats(dim: i64, data: Vec<f32>, valid: &[bool]) -> FieldData {
    let data = vector_field::Data::FloatVector(wire::FloatArray { data });
    FieldData {
        field_name: "v".into(),
        field: Some(WireField::Vectors(VectorField {
            dim,
            data: Some(data),
            ..Default::default()
        })),
        valid_data: valid.to_vec(),
        ..Default::default()
    }
}

fn run(fields: Vec<FieldData>, rows: u32) -> Result<RecordBatch> {
    batch_from_wire(&schema(), fields, rows, chrono_tz::UTC)
}

fn error(fields: Vec<FieldData>, rows: u32) -> String {
    run(fields, rows).unwrap_err().to_string()
}

#[test]
fn floats_are_moved_not_copied() {
    let values = vec![1.0_f32, 2.0, 3.0, 4.0];
    let address = values.as_ptr();
    let batch = run(vec![ids(vec![1, 2]), floats(2, values, &[])], 2).unwrap();
    let list = batch.column_by_name("v").unwrap().as_fixed_size_list();
    assert_eq!(
        list.values().as_primitive::<Float32Type>().values().as_ptr(),
        address
    );
}

#[test]
fn compact_columns_are_spread_over_the_rows() {
    let valid = [false, true, false, true];
    let tags = Data::ArrayData(wire::ArrayArray {
        data: vec![
            ScalarField {
                data: Some(Data::IntData(wire::IntArray { data: vec![1, 2] })),
                ..Default::default()
            },
            ScalarField::default(),
        ],
        ..Default::default()
    });
    let batch = run(
        vec![
            ids(vec![1, 2, 3, 4]),
            scalar("n", Data::IntData(wire::IntArray { data: vec![7, -8] }), &valid),
            scalar(
                "city",
                Data::StringData(wire::StringArray {
                    data: vec!["oslo".into(), "bern".into()],
                }),
                &valid,
            ),
            scalar("tags", tags, &valid),
            scalar(
                "doc",
                Data::JsonData(wire::JsonArray {
                    data: vec![b"1".to_vec(), b"[]".to_vec()],
                }),
                &valid,
            ),
            floats(2, vec![1., 2., 3., 4.], &valid),
        ],
        4,
    )
    .unwrap();
    for name in ["n", "city", "tags", "doc", "v"] {
        let column = batch.column_by_name(name).unwrap();
        let present: Vec<_> = (0..4).map(|row| column.is_valid(row)).collect();
        assert_eq!(present, valid, "{name}");
    }
    assert_eq!(
        batch.column_by_name("city").unwrap().as_string::<i32>().value(3),
        "bern"
    );
    let vectors = batch.column_by_name("v").unwrap().as_fixed_size_list();
    assert_eq!(vectors.value(3).as_primitive::<Float32Type>().values(), &[3., 4.]);
    assert_eq!(
        batch
            .column_by_name("tags")
            .unwrap()
            .as_list::<i32>()
            .value_length(1),
        2
    );
}

#[test]
fn a_column_of_nulls_may_come_empty() {
    let none = [false, false];
    let mut city = scalar("city", Data::StringData(wire::StringArray::default()), &none);
    city.field = None;
    let batch = run(vec![ids(vec![1, 2]), city, floats(0, vec![], &none)], 2).unwrap();
    assert_eq!(batch.column_by_name("city").unwrap().null_count(), 2);
    assert_eq!(batch.column_by_name("v").unwrap().null_count(), 2);
    assert_eq!(
        batch
            .column_by_name("id")
            .unwrap()
            .as_primitive::<Int64Type>()
            .values(),
        &[1, 2]
    );
}

#[test]
fn newer_clients_put_the_flags_beside_the_values() {
    let mut n = scalar("n", Data::IntData(wire::IntArray { data: vec![5] }), &[]);
    let Some(WireField::Scalars(scalars)) = &mut n.field else {
        panic!("not scalars")
    };
    scalars.valid_data = vec![true, false];
    let batch = run(vec![ids(vec![1, 2]), n], 2).unwrap();
    assert_eq!(batch.column_by_name("n").unwrap().null_count(), 1);
}

#[test]
fn wrong_dimensions_read_as_in_milvus() {
    assert!(
        error(vec![floats(3, vec![0.; 3], &[])], 1)
            .starts_with("the length(3) of float data should divide the dim(2)")
    );
    assert_eq!(
        error(vec![floats(4, vec![0.; 4], &[])], 1),
        "the dim (4) of field data(v) is not equal to schema dim (2): invalid parameter[expected=2][actual=4]"
    );
    assert!(
        error(vec![floats(2, vec![0.; 4], &[])], 1)
            .starts_with("the num_rows (2) of field (v) is not equal to passed num_rows (1)")
    );
}

#[test]
fn wrong_rows_types_and_fields_are_named() {
    assert!(error(vec![ids(vec![1])], 0).contains("num_rows should be greater than 0"));
    assert!(error(vec![ids(vec![1])], 2).contains("[expected=2][actual=1]"));
    let text = scalar(
        "id",
        Data::StringData(wire::StringArray {
            data: vec!["x".into()],
        }),
        &[],
    );
    assert!(error(vec![text], 1).contains("the data of field id is of another type than the field (Int64)"));
    let unknown = scalar("nope", Data::BoolData(wire::BoolArray { data: vec![true] }), &[]);
    assert!(error(vec![unknown], 1).contains("field nope not exist"));
    let wide = scalar("n", Data::IntData(wire::IntArray { data: vec![300] }), &[]);
    assert!(error(vec![wide], 1).contains("-128 <= value <= 127"));
    assert!(error(vec![ids(vec![1]), ids(vec![1])], 1).contains("duplicated"));
    let short = scalar(
        "n",
        Data::IntData(wire::IntArray { data: vec![1, 2] }),
        &[true, false],
    );
    assert!(error(vec![short], 2).contains("the length of field(n) is wrong"));
    let flags = scalar("n", Data::IntData(wire::IntArray { data: vec![1] }), &[true]);
    assert!(error(vec![flags], 2).contains("the length of valid_data of field(n) is wrong"));
    let null = scalar(
        "id",
        Data::LongData(wire::LongArray { data: vec![1] }),
        &[true, false],
    );
    assert!(error(vec![null], 2).contains("not nullable"));
}

#[test]
fn dynamic_keys_cannot_hide_fields() {
    let dynamic = |text: &str| {
        let mut data = scalar(
            "",
            Data::JsonData(wire::JsonArray {
                data: vec![text.as_bytes().to_vec()],
            }),
            &[],
        );
        data.is_dynamic = true;
        data
    };
    let batch = run(vec![dynamic(r#"{"color": "red"}"#)], 1).unwrap();
    assert_eq!(
        batch.column_by_name("$meta").unwrap().as_string::<i32>().value(0),
        r#"{"color": "red"}"#
    );
    assert!(error(vec![dynamic(r#"{"city": "oslo"}"#)], 1).contains("static field name: city"));
    assert!(error(vec![dynamic(r#"{"$meta": {}}"#)], 1).contains("cannot set key to $meta"));
    assert!(error(vec![dynamic("[1]")], 1).contains("must be a JSON object"));
}

#[test]
fn instants_come_as_text_or_microseconds() {
    let text = scalar(
        "at",
        Data::StringData(wire::StringArray {
            data: vec!["1970-01-01T00:00:01Z".into()],
        }),
        &[],
    );
    let number = scalar(
        "at",
        Data::TimestamptzData(wire::TimestamptzArray {
            data: vec![1_000_000],
        }),
        &[],
    );
    let column = |data| run(vec![data], 1).unwrap().column(0).to_data();
    assert_eq!(column(text), column(number));
}

#[test]
fn a_few_bytes_cannot_ask_for_all_memory() {
    // Everything but the number of rows may be left out: the key is generated, the rest is NULL or a default.
    let schema = |text: &str| {
        let mut note = Field::new("note", DataType::VarChar { max_length: 65_535 });
        note.default = Some(text.into());
        let mut schema = CollectionSchema::new(vec![
            Field::new("id", DataType::Int64).primary().auto_id(),
            note,
            Field::new("v", DataType::FloatVector { dim: 32_768 }).nullable(),
        ]);
        schema.validate().unwrap();
        schema
    };
    let refused = |text: &str, rows: u32| {
        batch_from_wire(&schema(text), Vec::new(), rows, chrono_tz::UTC)
            .unwrap_err()
            .to_string()
    };
    let reason = refused("", u32::MAX);
    assert!(
        reason.starts_with("num_rows (4294967295) is too large: rows of this collection take 131088 bytes each, send at most 8191 at a time"),
        "{reason}"
    );
    refused(&"x".repeat(65_535), 8_191);
    batch_from_wire(&schema(""), Vec::new(), 8_191, chrono_tz::UTC).unwrap();
}

#[test]
fn the_flags_beside_the_values_come_first() {
    let mut n = scalar(
        "n",
        Data::IntData(wire::IntArray { data: vec![5] }),
        &[true, true],
    );
    let Some(WireField::Scalars(scalars)) = &mut n.field else {
        panic!("not scalars")
    };
    scalars.valid_data = vec![false, true];
    let batch = run(vec![ids(vec![1, 2]), n], 2).unwrap();
    let column = batch.column_by_name("n").unwrap();
    assert!(column.is_null(0) && column.is_valid(1));
}

#[test]
fn null_elements_of_an_array_are_not_dropped_in_silence() {
    let tags = Data::ArrayData(wire::ArrayArray {
        data: vec![ScalarField {
            data: Some(Data::IntData(wire::IntArray { data: vec![1, 3] })),
            valid_data: vec![true, false, true],
        }],
        ..Default::default()
    });
    assert_eq!(
        error(vec![ids(vec![1]), scalar("tags", tags, &[])], 1),
        "not supported: null elements in array field tags"
    );
}

#[test]
fn instants_that_cannot_be_written_as_text_are_refused() {
    let instant = |micros: i64| {
        let data = vec![micros];
        scalar("at", Data::TimestamptzData(wire::TimestamptzArray { data }), &[])
    };
    assert!(error(vec![instant(i64::MAX)], 1).contains("is out of range"));
    run(vec![instant(253_402_300_799_999_999)], 1).unwrap();
}

proptest::proptest! {
    /// Lengths, flags and payloads that do not fit each other are errors, never a panic or a shifted row.
    #[test]
    fn columns_that_do_not_fit_never_panic(
        rows in 1_u32..5,
        valid in proptest::collection::vec(proptest::bool::ANY, 0..5),
        dim in -3_i64..5,
        floats_given in 0_usize..9,
        ints_given in 0_usize..5,
    ) {
        let numbers = scalar("n", Data::IntData(wire::IntArray { data: vec![1; ints_given] }), &valid);
        let vectors = floats(dim, vec![0.5; floats_given], &valid);
        for column in [numbers, vectors] {
            if let Ok(batch) = run(vec![column], rows) {
                proptest::prop_assert_eq!(batch.num_rows(), rows as usize);
                let there = if valid.is_empty() { rows as usize } else { valid.iter().filter(|v| **v).count() };
                proptest::prop_assert_eq!(rows as usize - batch.column(0).null_count(), there);
            }
        }
    }
}
