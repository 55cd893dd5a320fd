//! Arrow columns as reply columns.
//!
//! In replies scalars are *padded* (one value per row, nulls included) and vectors *compact* (only
//! the vectors that are there); `valid_data` of nullable fields says which rows those are.

mod structs;

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, ListArray, RecordBatch};
use arrow::datatypes::{
    ArrowPrimitiveType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    TimestampMicrosecondType,
};
use chrono_tz::Tz;
use elanus_collection::{CollectionSchema, DataType, Field, Keys};
use elanus_geometry::Shape;
use elanus_query::GroupKey;
use milvus::proto::schema::field_data::Field as WireField;
use milvus::proto::schema::scalar_field::Data;
use milvus::proto::schema::{self as wire, FieldData, ScalarField, VectorField, vector_field};
use serde_json::value::RawValue;

use crate::convert::output::Output;
use crate::convert::schema::type_to_wire;
use crate::convert::{time, typed_vectors};
use crate::status::{Error, Result};

/// The columns of a reply.
///
/// # Errors
/// When `rows` lacks a column of `output` or has one of another type: a broken promise of the engine.
pub(crate) fn to_wire(
    schema: &CollectionSchema,
    output: &Output,
    rows: &RecordBatch,
    instants: &time::Shown,
) -> Result<Vec<FieldData>> {
    output
        .columns
        .iter()
        .map(|name| {
            let field = schema
                .field(name)
                .ok_or_else(|| broken(name, "is not in the schema"))?;
            let column = rows
                .column_by_name(name)
                .ok_or_else(|| broken(name, "is missing in the result"))?;
            let keys = if field.dynamic {
                output.dynamic_keys.as_deref()
            } else {
                output.sub_fields.get(name).map(Vec::as_slice)
            };
            if field.data_type == DataType::TimestampTz && !instants.parts.is_empty() {
                return parts_to_wire(field, column, instants);
            }
            column_to_wire(field, column, keys, instants.zone)
        })
        .collect()
}

/// A column of instants as lists of their parts.
fn parts_to_wire(field: &Field, column: &ArrayRef, instants: &time::Shown) -> Result<FieldData> {
    let parts = |(row, micros): (usize, i64)| {
        let data = if column.is_valid(row) {
            instants.parts_of(micros)
        } else {
            Vec::new()
        };
        ScalarField {
            data: Some(Data::LongData(wire::LongArray { data })),
            valid_data: Vec::new(),
        }
    };
    let micros = values::<TimestampMicrosecondType>(field, column)?;
    let lists = Data::ArrayData(wire::ArrayArray {
        data: micros.into_iter().enumerate().map(parts).collect(),
        element_type: wire::DataType::Int64 as i32,
    });
    let mut shown = column_to_wire(field, column, None, instants.zone)?;
    shown.r#type = wire::DataType::Array as i32;
    shown.field = Some(WireField::Scalars(ScalarField {
        data: Some(lists),
        valid_data: Vec::new(),
    }));
    Ok(shown)
}

/// The values that tell the groups of a result apart.
///
/// # Errors
/// As [`to_wire`].
pub(crate) fn group_to_wire(
    schema: &CollectionSchema,
    key: &GroupKey,
    rows: &RecordBatch,
    zone: Tz,
) -> Result<FieldData> {
    let name = key.path().column();
    let column = rows
        .column_by_name(name)
        .ok_or_else(|| broken(name, "is missing in the result"))?;
    column_to_wire(&key.field(schema)?, &key.values(column)?, None, zone)
}

/// The primary keys of a result.
pub(crate) fn keys(schema: &CollectionSchema, rows: &RecordBatch) -> Result<Keys> {
    let key = schema.primary_key()?;
    let column = rows
        .column_by_name(&key.name)
        .ok_or_else(|| broken(&key.name, "is missing in the result"))?;
    if let Some(keys) = column.as_primitive_opt::<Int64Type>() {
        return Ok(Keys::Int64(keys.values().to_vec()));
    }
    let keys = column
        .as_string_opt::<i32>()
        .ok_or_else(|| broken(&key.name, "is of an unexpected type"))?;
    Ok(Keys::VarChar(
        (0..keys.len()).map(|row| keys.value(row).to_string()).collect(),
    ))
}

fn broken(column: &str, what: &str) -> Error {
    Error::unexpected(format!("internal error: column {column} {what}"))
}

/// One column of a reply; of a dynamic object only `keys`, of structs only those sub-fields, when given.
pub(crate) fn column_to_wire(
    field: &Field,
    column: &ArrayRef,
    keys: Option<&[String]>,
    zone: Tz,
) -> Result<FieldData> {
    let valid_data = if field.nullable {
        (0..column.len()).map(|row| column.is_valid(row)).collect()
    } else {
        Vec::new()
    };
    let payload = match &field.data_type {
        DataType::FloatVector { dim } => WireField::Vectors(vectors(field, column, *dim)?),
        typed @ (DataType::Float16Vector { .. }
        | DataType::BFloat16Vector { .. }
        | DataType::Int8Vector { .. }
        | DataType::BinaryVector { .. }
        | DataType::SparseFloatVector) => {
            let vectors = typed_vectors::to_wire(typed, column);
            WireField::Vectors(vectors.ok_or_else(|| broken(&field.name, "is of an unexpected type"))?)
        }
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
        | DataType::TimestampTz
        | DataType::Geometry => {
            let data = scalars(field, &field.data_type, column, keys, zone)?;
            WireField::Scalars(ScalarField {
                data: Some(data),
                valid_data: Vec::new(),
            })
        }
        DataType::StructArray { .. } => return structs::to_wire(field, column, keys, zone),
        DataType::VectorArray { element } => WireField::Vectors(lists(field, column, element)?),
    };
    Ok(FieldData {
        r#type: type_to_wire(&field.data_type) as i32,
        field_name: field.name.clone(),
        field_id: field.id,
        is_dynamic: field.dynamic,
        valid_data,
        field: Some(payload),
    })
}

fn vectors(field: &Field, column: &ArrayRef, dim: u32) -> Result<VectorField> {
    let unexpected = || broken(&field.name, "is of an unexpected type");
    let list = column.as_fixed_size_list_opt().ok_or_else(unexpected)?;
    let values = list
        .values()
        .as_primitive_opt::<Float32Type>()
        .ok_or_else(unexpected)?;
    let width = usize::try_from(dim).unwrap_or(usize::MAX).max(1);
    if values.len() != list.len() * width {
        return Err(unexpected());
    }
    let data = if list.null_count() == 0 {
        values.values().to_vec()
    } else {
        let mut data = Vec::with_capacity((list.len() - list.null_count()) * width);
        for (row, vector) in values.values().chunks_exact(width).enumerate() {
            if list.is_valid(row) {
                data.extend_from_slice(vector);
            }
        }
        data
    };
    Ok(VectorField {
        dim: i64::from(dim),
        data: Some(vector_field::Data::FloatVector(wire::FloatArray { data })),
        ..Default::default()
    })
}

/// Lists of vectors, one message for each row that is there.
fn lists(field: &Field, column: &ArrayRef, element: &DataType) -> Result<VectorField> {
    let unexpected = || broken(&field.name, "is of an unexpected type");
    let lists = column.as_list_opt::<i32>().ok_or_else(unexpected)?;
    let of_element = Field::new(&field.name, element.clone());
    let of_row = |row: usize| match (element, lists.value(row)) {
        (DataType::FloatVector { dim }, list) => vectors(&of_element, &list, *dim),
        (typed, list) => typed_vectors::to_wire(typed, &list).ok_or_else(unexpected),
    };
    let there = (0..lists.len()).filter(|row| lists.is_valid(*row));
    let dim = i64::from(element.dim().unwrap_or(0));
    Ok(VectorField {
        dim,
        data: Some(vector_field::Data::VectorArray(wire::VectorArray {
            dim,
            data: there.map(of_row).collect::<Result<_>>()?,
            element_type: type_to_wire(element) as i32,
        })),
        ..Default::default()
    })
}

fn values<T: ArrowPrimitiveType>(field: &Field, column: &dyn Array) -> Result<Vec<T::Native>>
where
    T::Native: Default,
{
    let array = column
        .as_primitive_opt::<T>()
        .ok_or_else(|| broken(&field.name, "is of an unexpected type"))?;
    if array.null_count() == 0 {
        return Ok(array.values().to_vec());
    }
    Ok(array.iter().map(Option::unwrap_or_default).collect())
}

fn integers<T: ArrowPrimitiveType>(field: &Field, column: &dyn Array) -> Result<Data>
where
    T::Native: Default + Into<i32>,
{
    let data = values::<T>(field, column)?.into_iter().map(Into::into).collect();
    Ok(Data::IntData(wire::IntArray { data }))
}

/// The values of a scalar column; nulls become the default of the wire type.
fn scalars(
    field: &Field,
    data_type: &DataType,
    column: &dyn Array,
    keys: Option<&[String]>,
    zone: Tz,
) -> Result<Data> {
    let unexpected = || broken(&field.name, "is of an unexpected type");
    Ok(match data_type {
        DataType::Bool => {
            let array: &BooleanArray = column.as_boolean_opt().ok_or_else(unexpected)?;
            Data::BoolData(wire::BoolArray {
                data: array.iter().map(Option::unwrap_or_default).collect(),
            })
        }
        DataType::Int8 => integers::<Int8Type>(field, column)?,
        DataType::Int16 => integers::<Int16Type>(field, column)?,
        DataType::Int32 => Data::IntData(wire::IntArray {
            data: values::<Int32Type>(field, column)?,
        }),
        DataType::Int64 => Data::LongData(wire::LongArray {
            data: values::<Int64Type>(field, column)?,
        }),
        DataType::Float => Data::FloatData(wire::FloatArray {
            data: values::<Float32Type>(field, column)?,
        }),
        DataType::Double => Data::DoubleData(wire::DoubleArray {
            data: values::<Float64Type>(field, column)?,
        }),
        DataType::VarChar { .. } | DataType::Text => {
            let array = column.as_string_opt::<i32>().ok_or_else(unexpected)?;
            let data = array
                .iter()
                .map(|text| text.unwrap_or_default().to_string())
                .collect();
            Data::StringData(wire::StringArray { data })
        }
        DataType::Json => {
            let array = column.as_string_opt::<i32>().ok_or_else(unexpected)?;
            let data = array
                .iter()
                .map(|text| match (text, keys) {
                    (None, _) => Ok(Vec::new()),
                    (Some(text), None) => Ok(text.as_bytes().to_vec()),
                    (Some(text), Some(keys)) => only_keys(field, text, keys),
                })
                .collect::<Result<_>>()?;
            Data::JsonData(wire::JsonArray { data })
        }
        DataType::TimestampTz => {
            let micros = values::<TimestampMicrosecondType>(field, column)?;
            let text = |row: usize, micros: i64| {
                if column.is_valid(row) {
                    time::format(micros, zone)
                } else {
                    String::new()
                }
            };
            let data = micros
                .into_iter()
                .enumerate()
                .map(|(row, micros)| text(row, micros))
                .collect();
            Data::StringData(wire::StringArray { data })
        }
        DataType::Geometry => {
            let array = column.as_binary_opt::<i32>().ok_or_else(unexpected)?;
            let data = array
                .iter()
                .map(|wkb| match wkb.map(Shape::from_wkb) {
                    None => Ok(String::new()),
                    Some(Ok(shape)) => Ok(shape.to_wkt()),
                    Some(Err(_)) => Err(broken(&field.name, "holds a value that is no shape")),
                })
                .collect::<Result<_>>()?;
            Data::GeometryWktData(wire::GeometryWktArray { data })
        }
        DataType::Array { element, .. } => {
            let lists: &ListArray = column.as_list_opt().ok_or_else(unexpected)?;
            let data = (0..lists.len())
                .map(|row| {
                    let items = if lists.is_valid(row) {
                        lists.value(row)
                    } else {
                        lists.values().slice(0, 0)
                    };
                    let data = scalars(field, element, items.as_ref(), None, zone)?;
                    Ok(ScalarField {
                        data: Some(data),
                        valid_data: Vec::new(),
                    })
                })
                .collect::<Result<_>>()?;
            Data::ArrayData(wire::ArrayArray {
                data,
                element_type: type_to_wire(element) as i32,
            })
        }
        DataType::StructArray { .. }
        | DataType::FloatVector { .. }
        | DataType::Float16Vector { .. }
        | DataType::BFloat16Vector { .. }
        | DataType::Int8Vector { .. }
        | DataType::BinaryVector { .. }
        | DataType::SparseFloatVector
        | DataType::VectorArray { .. } => return Err(unexpected()),
    })
}

/// The JSON object with only these keys.
fn only_keys(field: &Field, text: &str, keys: &[String]) -> Result<Vec<u8>> {
    if text == "{}" {
        return Ok(b"{}".to_vec());
    }
    let object: BTreeMap<String, &RawValue> = serde_json::from_str(text)
        .map_err(|_| broken(&field.name, "holds a value that is not a JSON object"))?;
    let kept: BTreeMap<&String, &RawValue> = keys
        .iter()
        .filter_map(|key| object.get(key).map(|value| (key, *value)))
        .collect();
    serde_json::to_vec(&kept).map_err(|_| broken(&field.name, "cannot be written as JSON"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::Float32Array;
    use arrow::datatypes::Schema;
    use proptest::prelude::*;

    use super::*;

    const AS_TEXT: time::Shown = time::Shown {
        zone: Tz::UTC,
        parts: Vec::new(),
    };
    use crate::convert::field_data::batch_from_wire;
    use crate::convert::output;

    fn schema() -> CollectionSchema {
        let mut schema = CollectionSchema::new(vec![
            Field::new("id", DataType::Int64).primary(),
            Field::new("flag", DataType::Bool).nullable(),
            Field::new("small", DataType::Int8).nullable(),
            Field::new("price", DataType::Double).nullable(),
            Field::new("city", DataType::VarChar { max_length: 100 }).nullable(),
            Field::new("doc", DataType::Json).nullable(),
            Field::new("at", DataType::TimestampTz).nullable(),
            Field::new(
                "tags",
                DataType::Array {
                    element: Box::new(DataType::VarChar { max_length: 10 }),
                    max_capacity: 9,
                },
            )
            .nullable(),
            Field::new("v", DataType::FloatVector { dim: 2 }).nullable(),
        ])
        .with_dynamic_field();
        schema.validate().unwrap();
        schema
    }

    fn everything(schema: &CollectionSchema) -> Output {
        output::resolve(schema, &["*".to_string()]).unwrap()
    }

    /// A reply's columns as a client would send them: scalars compact again.
    fn as_insert(mut fields: Vec<FieldData>) -> Vec<FieldData> {
        fn keep<T>(data: &mut Vec<T>, valid: &[bool]) {
            let mut valid = valid.iter();
            data.retain(|_| *valid.next().unwrap());
        }
        for field in &mut fields {
            let valid = field.valid_data.clone();
            if valid.is_empty() {
                continue;
            }
            if let Some(WireField::Scalars(scalars)) = &mut field.field {
                match scalars.data.as_mut().unwrap() {
                    Data::BoolData(values) => keep(&mut values.data, &valid),
                    Data::IntData(values) => keep(&mut values.data, &valid),
                    Data::DoubleData(values) => keep(&mut values.data, &valid),
                    Data::StringData(values) => keep(&mut values.data, &valid),
                    Data::JsonData(values) => keep(&mut values.data, &valid),
                    Data::ArrayData(values) => keep(&mut values.data, &valid),
                    Data::LongData(_)
                    | Data::FloatData(_)
                    | Data::BytesData(_)
                    | Data::GeometryData(_)
                    | Data::TimestamptzData(_)
                    | Data::GeometryWktData(_)
                    | Data::MolData(_)
                    | Data::MolSmilesData(_)
                    | Data::DateData(_)
                    | Data::TimeData(_) => panic!("no nullable field of this type"),
                }
            }
        }
        fields
    }

    fn row_batch(rows: &[(i64, Option<f32>, Option<String>)]) -> RecordBatch {
        let schema = schema();
        let valid: Vec<bool> = rows.iter().map(|row| row.1.is_some()).collect();
        let scalar = |name: &str, data: Data, valid: Vec<bool>| FieldData {
            field_name: name.into(),
            valid_data: valid,
            field: Some(WireField::Scalars(ScalarField {
                data: Some(data),
                ..Default::default()
            })),
            ..Default::default()
        };
        let texts: Vec<String> = rows.iter().filter_map(|row| row.2.clone()).collect();
        let text_valid: Vec<bool> = rows.iter().map(|row| row.2.is_some()).collect();
        let present: Vec<f32> = rows.iter().filter_map(|row| row.1).collect();
        let tags = texts
            .iter()
            .map(|text| ScalarField {
                data: Some(Data::StringData(wire::StringArray {
                    data: vec![text.clone(), "x".into()],
                })),
                ..Default::default()
            })
            .collect();
        let vectors = VectorField {
            dim: 2,
            data: Some(vector_field::Data::FloatVector(wire::FloatArray {
                data: present.iter().flat_map(|x| [*x, -*x]).collect(),
            })),
            ..Default::default()
        };
        let fields = vec![
            scalar(
                "id",
                Data::LongData(wire::LongArray {
                    data: rows.iter().map(|row| row.0).collect(),
                }),
                vec![],
            ),
            scalar(
                "flag",
                Data::BoolData(wire::BoolArray {
                    data: present.iter().map(|x| *x > 0.0).collect(),
                }),
                valid.clone(),
            ),
            scalar(
                "small",
                Data::IntData(wire::IntArray {
                    data: present.iter().map(|x| *x as i32 % 100).collect(),
                }),
                valid.clone(),
            ),
            scalar(
                "price",
                Data::DoubleData(wire::DoubleArray {
                    data: present.iter().map(|x| f64::from(*x)).collect(),
                }),
                valid.clone(),
            ),
            scalar(
                "city",
                Data::StringData(wire::StringArray { data: texts.clone() }),
                text_valid.clone(),
            ),
            scalar(
                "doc",
                Data::JsonData(wire::JsonArray {
                    data: texts.iter().map(|t| serde_json::to_vec(t).unwrap()).collect(),
                }),
                text_valid.clone(),
            ),
            scalar(
                "at",
                Data::StringData(wire::StringArray {
                    data: present
                        .iter()
                        .map(|x| time::format(*x as i64 * 1_000_000, Tz::UTC))
                        .collect(),
                }),
                valid.clone(),
            ),
            scalar(
                "tags",
                Data::ArrayData(wire::ArrayArray {
                    data: tags,
                    ..Default::default()
                }),
                text_valid,
            ),
            FieldData {
                field_name: "v".into(),
                valid_data: valid,
                field: Some(WireField::Vectors(vectors)),
                ..Default::default()
            },
            FieldData {
                is_dynamic: true,
                ..scalar(
                    "$meta",
                    Data::JsonData(wire::JsonArray {
                        data: rows.iter().map(|_| br#"{"a":1,"b":[2]}"#.to_vec()).collect(),
                    }),
                    vec![],
                )
            },
        ];
        batch_from_wire(&schema, fields, rows.len() as u32, Tz::UTC).unwrap()
    }

    proptest! {
        #[test]
        fn rows_survive_the_way_out_and_in_again(
            rows in proptest::collection::vec(
                (any::<i64>(), proptest::option::of(-1e6_f32..1e6), proptest::option::of("[a-zä]{0,8}")), 1..20)
        ) {
            let schema = schema();
            let batch = row_batch(&rows);
            let sent = to_wire(&schema, &everything(&schema), &batch, &AS_TEXT).unwrap();
            let back = batch_from_wire(&schema, as_insert(sent), rows.len() as u32, Tz::UTC).unwrap();
            for name in everything(&schema).columns {
                prop_assert_eq!(batch.column_by_name(&name), back.column_by_name(&name), "{}", name);
            }
        }
    }

    #[test]
    fn scalars_are_padded_and_vectors_compact() {
        let schema = schema();
        let batch = row_batch(&[(1, None, Some("oslo".into())), (2, Some(3.0), None)]);
        let fields = to_wire(&schema, &everything(&schema), &batch, &AS_TEXT).unwrap();
        let field = |name: &str| fields.iter().find(|field| field.field_name == name).unwrap();
        let Some(WireField::Scalars(city)) = &field("city").field else {
            panic!("not scalars")
        };
        assert!(matches!(&city.data, Some(Data::StringData(values)) if values.data == ["oslo", ""]));
        assert_eq!(field("city").valid_data, [true, false]);
        let Some(WireField::Vectors(v)) = &field("v").field else {
            panic!("not vectors")
        };
        assert!(
            matches!(&v.data, Some(vector_field::Data::FloatVector(values)) if values.data == [3.0, -3.0])
        );
        assert_eq!(field("v").valid_data, [false, true]);
        assert!(field("id").valid_data.is_empty());
        assert!(field("$meta").is_dynamic);
    }

    #[test]
    fn only_the_dynamic_keys_asked_for_are_sent() {
        let schema = schema();
        let output = output::resolve(&schema, &["b".into(), "missing".into()]).unwrap();
        let fields = to_wire(&schema, &output, &row_batch(&[(1, None, None)]), &AS_TEXT).unwrap();
        let Some(WireField::Scalars(meta)) = &fields[0].field else {
            panic!("not scalars")
        };
        assert!(
            matches!(&meta.data, Some(Data::JsonData(values)) if values.data == [br#"{"b":[2]}"#.to_vec()])
        );
    }

    #[test]
    fn a_slice_sends_its_own_rows() {
        let schema = schema();
        let batch =
            row_batch(&[(1, Some(1.0), None), (2, Some(2.0), None), (3, Some(3.0), None)]).slice(1, 1);
        let output = output::resolve(&schema, &["v".into()]).unwrap();
        let fields = to_wire(&schema, &output, &batch, &AS_TEXT).unwrap();
        let Some(WireField::Vectors(v)) = &fields[0].field else {
            panic!("not vectors")
        };
        assert!(
            matches!(&v.data, Some(vector_field::Data::FloatVector(values)) if values.data == [2.0, -2.0])
        );
        assert_eq!(keys(&schema, &batch).unwrap(), Keys::Int64(vec![2]));
    }

    #[test]
    fn a_result_of_another_shape_is_an_error_not_a_panic() {
        let schema = schema();
        let columns: Vec<ArrayRef> = vec![Arc::new(Float32Array::from(vec![1.0]))];
        let fields = Schema::new(vec![arrow::datatypes::Field::new(
            "city",
            columns[0].data_type().clone(),
            true,
        )]);
        let batch = RecordBatch::try_new(Arc::new(fields), columns).unwrap();
        let output = output::resolve(&schema, &["city".into()]).unwrap();
        assert!(
            to_wire(&schema, &output, &batch, &AS_TEXT)
                .unwrap_err()
                .to_string()
                .contains("city")
        );
        assert!(keys(&schema, &batch).is_err());
    }
}
