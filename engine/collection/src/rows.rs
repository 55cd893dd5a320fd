//! From what a client sent to what is stored: every column checked, missing ones filled.
//!
//! Runs on the caller's thread, before the writer sees the rows, so that the writer only appends.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, FixedSizeListArray, Float32Array, Float64Array,
    Int8Array, Int16Array, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
    new_null_array,
};
use arrow::compute::{CastOptions, cast_with_options, kernels::zip::zip};
use arrow::datatypes::{DataType as ArrowType, Float64Type, Int64Type, Schema, SchemaRef};
use elanus_geometry::Shape;
use elanus_storage::Keys;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::schema::CollectionSchema;
use crate::types::{DataType, Field};

mod check;
mod geometry;
mod structs;
mod vectors;

use check::check_values;

/// Property that lets clients give the values of an auto-id key.
pub(crate) const ALLOW_INSERT_AUTO_ID: &str = "allow_insert_auto_id";

/// Property of a collection in which no two rows may have the same primary key. Given when it is made, and never changed.
pub const UNIQUE_KEY: &str = "unique_key";

/// Whether a property is on, in the spellings that Milvus takes for a boolean.
pub(crate) fn is_true(value: &str) -> bool {
    matches!(value, "1" | "t" | "T" | "true" | "True" | "TRUE")
}

/// How rows arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WriteMode {
    /// New rows beside whatever is there.
    Insert,
    /// New rows in place of those with the same key.
    Upsert,
}

/// Rows ready for the writer.
#[derive(Debug)]
pub(crate) struct PreparedRows {
    /// All columns of the schema in schema order, without the hidden timestamp.
    pub batch: RecordBatch,
    /// Keys of the new rows.
    pub keys: Keys,
    /// Keys whose rows go away (upsert only).
    pub replaced: Option<Keys>,
}

/// Checks and completes rows. `reserve_ids(n)` gives the first of `n` unique ids.
///
/// # Errors
/// [`Error::InvalidData`] naming the field, the row and the rule; [`Error::FieldNotFound`] for a
/// column that the schema does not have.
pub(crate) fn prepare(
    schema: &CollectionSchema,
    arrow: &SchemaRef,
    input: &RecordBatch,
    mode: WriteMode,
    accept_auto_id: bool,
    reserve_ids: impl FnOnce(u64) -> u64,
) -> Result<PreparedRows> {
    let rows = input.num_rows();
    if rows == 0 {
        return Err(Error::InvalidData(
            "no rows given: at least one row is needed".into(),
        ));
    }
    for column in input.schema().fields() {
        if schema.field(column.name()).is_none() {
            return Err(Error::FieldNotFound {
                field: column.name().clone(),
                near: near(schema, column.name()),
            });
        }
    }
    let key_field = schema.primary_key()?;
    let mut replaced = None;
    let mut reserve_ids = Some(reserve_ids);
    let mut columns = Vec::with_capacity(schema.fields.len());
    for field in &schema.fields {
        let given = input.column_by_name(&field.name);
        if let Some(function) = schema.function_of(&field.name) {
            function.refuse_given(given)?;
            let column =
                |field: &Field| complete_column(field, input.column_by_name(&field.name), input.num_rows());
            columns.push(function.apply(&schema.fields, column)?);
            continue;
        }
        let generate = field.auto_id && !(accept_auto_id && given.is_some());
        if !generate {
            columns.push(complete_column(field, given, rows)?);
            continue;
        }
        match (given, mode) {
            (Some(keys), WriteMode::Upsert) => {
                replaced = Some(keys_of(&complete_column(field, Some(keys), rows)?)?);
            }
            (Some(_), WriteMode::Insert) => {
                return Err(Error::InvalidData(format!(
                    "more fieldData has pass in: field '{}' is auto id, leave it out (or set the collection property {ALLOW_INSERT_AUTO_ID})",
                    field.name
                )));
            }
            (None, WriteMode::Upsert) => {
                return Err(Error::InvalidData(format!(
                    "upsert needs the value of the primary field '{}' even when it is auto id",
                    field.name
                )));
            }
            (None, WriteMode::Insert) => {}
        }
        let first = reserve_ids.take().map_or(0, |reserve| reserve(rows as u64));
        columns.push(generated_ids(field, first, rows));
    }
    let batch = RecordBatch::try_new(Arc::clone(arrow), columns)?;
    let keys = keys_of(
        batch
            .column_by_name(&key_field.name)
            .ok_or_else(|| missing(key_field))?,
    )?;
    if mode == WriteMode::Upsert {
        let old = replaced.get_or_insert_with(|| keys.clone());
        reject_duplicates(old)?;
    }
    Ok(PreparedRows {
        batch,
        keys,
        replaced,
    })
}

/// Checks new values of rows that are there: a part of the schema's columns (all of them for a whole row), NULL taken as
/// it is.
///
/// # Errors
/// As [`prepare`]; [`Error::InvalidData`] for a column that decides where its row is kept, or is a vector, unless the
/// whole row is given.
pub(crate) fn prepare_update(
    schema: &CollectionSchema,
    arrow: &SchemaRef,
    input: &RecordBatch,
) -> Result<RecordBatch> {
    let whole = input.num_columns() == schema.fields.len();
    let mut fields = Vec::with_capacity(input.num_columns());
    let mut columns = Vec::with_capacity(input.num_columns());
    for (given, column) in input.schema_ref().fields().iter().zip(input.columns()) {
        let field = schema.field(given.name()).ok_or_else(|| Error::FieldNotFound {
            field: given.name().clone(),
            near: near(schema, given.name()),
        })?;
        if schema.is_fixed(field) && !whole {
            return Err(Error::InvalidData(format!(
                "field '{}' cannot be updated in place",
                field.name
            )));
        }
        let column = match schema.function_of(&field.name) {
            Some(function) => function.apply(&schema.fields, |field| {
                complete_column(field, input.column_by_name(&field.name), input.num_rows())
            })?,
            None => conform(field, column, &field.data_type.to_arrow())?,
        };
        if let Some(row) = (0..column.len()).find(|row| !field.nullable && column.is_null(*row)) {
            return Err(Error::InvalidData(format!(
                "field '{}' is not nullable, but the value of row {row} is null",
                field.name
            )));
        }
        check_values(field, &column)?;
        fields.push(arrow.field_with_name(&field.name)?.clone());
        columns.push(column);
    }
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

/// The primary key values of a column.
pub(crate) fn keys_of(column: &ArrayRef) -> Result<Keys> {
    if let Some(array) = column.as_primitive_opt::<Int64Type>() {
        return Ok(Keys::Int64(array.values().to_vec()));
    }
    if let Some(array) = column.as_string_opt::<i32>() {
        return Ok(Keys::VarChar(
            array
                .iter()
                .map(|key| key.unwrap_or_default().to_string())
                .collect(),
        ));
    }
    Err(Error::InvalidSchema(format!(
        "a primary key cannot be of type {}",
        column.data_type()
    )))
}

fn reject_duplicates(keys: &Keys) -> Result<()> {
    let duplicate = match keys {
        Keys::Int64(keys) => {
            let mut seen = std::collections::HashSet::with_capacity(keys.len());
            keys.iter()
                .find(|key| !seen.insert(**key))
                .map(ToString::to_string)
        }
        Keys::VarChar(keys) => {
            let mut seen = std::collections::HashSet::with_capacity(keys.len());
            keys.iter().find(|key| !seen.insert(key.as_str())).cloned()
        }
    };
    match duplicate {
        Some(key) => Err(Error::InvalidData(format!(
            "duplicate primary keys are not allowed in the same batch: '{key}' occurs more than once"
        ))),
        None => Ok(()),
    }
}

/// Fields whose names are like `name`, for error messages.
pub(crate) fn near(schema: &CollectionSchema, name: &str) -> Vec<String> {
    let mut scored: Vec<_> = schema
        .fields
        .iter()
        .map(|field| (strsim::jaro_winkler(&field.name, name), field.name.clone()))
        .filter(|(score, _)| *score > 0.8)
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    scored.into_iter().take(2).map(|(_, name)| name).collect()
}

fn missing(field: &Field) -> Error {
    Error::InvalidData(format!(
        "field '{}' is missing: it is not nullable and has no default value, so every row must give it",
        field.name
    ))
}

fn generated_ids(field: &Field, first: u64, rows: usize) -> ArrayRef {
    let ids = (0..rows as u64).map(|i| i64::try_from(first + i).unwrap_or(i64::MAX));
    if field.data_type == DataType::Int64 {
        Arc::new(Int64Array::from_iter_values(ids))
    } else {
        Arc::new(StringArray::from_iter_values(ids.map(|id| id.to_string())))
    }
}

/// One column as stored: of the field's exact type, filled and checked.
fn complete_column(field: &Field, given: Option<&ArrayRef>, rows: usize) -> Result<ArrayRef> {
    let target = field.data_type.to_arrow();
    let Some(given) = given else {
        return if let Some(default) = &field.default {
            default_array(field, default, rows)
        } else if field.nullable {
            Ok(new_null_array(&target, rows))
        } else if field.dynamic {
            Ok(Arc::new(StringArray::from_iter_values((0..rows).map(|_| "{}"))))
        } else {
            Err(missing(field))
        };
    };
    let mut column = conform(field, given, &target)?;
    if column.null_count() > 0 {
        if let Some(default) = &field.default {
            let fill = default_array(field, default, 1)?;
            let valid = arrow::compute::is_not_null(&column)?;
            column = zip(&valid, &column, &arrow::array::Scalar::new(fill))?;
        } else if field.dynamic {
            let empty = arrow::array::Scalar::new(Arc::new(StringArray::from(vec!["{}"])) as ArrayRef);
            column = zip(&arrow::compute::is_not_null(&column)?, &column, &empty)?;
        } else if !field.nullable {
            let row = (0..rows).find(|row| column.is_null(*row)).unwrap_or(0);
            return Err(Error::InvalidData(format!(
                "field '{}' is not nullable, but the value of row {row} is null",
                field.name
            )));
        }
    }
    check_values(field, &column)?;
    Ok(column)
}

/// The column in the field's exact Arrow type; lossless conversions only.
fn conform(field: &Field, column: &ArrayRef, target: &ArrowType) -> Result<ArrayRef> {
    if field.data_type == DataType::Geometry && column.data_type() != &ArrowType::Null {
        return geometry::conform(field, column);
    }
    if let DataType::StructArray { fields, .. } = &field.data_type
        && column.data_type() != &ArrowType::Null
    {
        return structs::conform(field, fields, column);
    }
    if column.data_type() == target {
        return Ok(Arc::clone(column));
    }
    if column.data_type() == &ArrowType::Null {
        return Ok(new_null_array(target, column.len()));
    }
    if let (DataType::FloatVector { dim }, ArrowType::FixedSizeList(item, given)) =
        (&field.data_type, column.data_type())
    {
        if u32::try_from(*given) != Ok(*dim) {
            return Err(dimension_mismatch(field, *dim, &given.to_string()));
        }
        if item.data_type() == &ArrowType::Float32 {
            let list = column.as_fixed_size_list();
            let ArrowType::FixedSizeList(item, size) = target else {
                return Err(type_mismatch(field, column.data_type()));
            };
            let values = Arc::clone(list.values());
            // Refuses null elements, but not those under a null vector.
            let array = FixedSizeListArray::try_new(Arc::clone(item), *size, values, list.nulls().cloned());
            return array
                .map(|array| Arc::new(array) as ArrayRef)
                .map_err(|_| Error::InvalidData(format!("vector field '{}' has null elements", field.name)));
        }
    }
    if field.data_type.is_vector() && !matches!(field.data_type, DataType::FloatVector { .. }) {
        return vectors::conform(field, column);
    }
    if let (DataType::FloatVector { dim }, ArrowType::List(_)) = (&field.data_type, column.data_type()) {
        let lists = column.as_list::<i32>();
        for row in (0..lists.len()).filter(|row| lists.is_valid(*row)) {
            let length = lists.value_length(row);
            if u32::try_from(length) != Ok(*dim) {
                return Err(dimension_mismatch(field, *dim, &length.to_string()));
            }
        }
    }
    let options = CastOptions {
        safe: false,
        ..Default::default()
    };
    let converted =
        cast_with_options(column, target, &options).map_err(|_| type_mismatch(field, column.data_type()))?;
    if column.data_type().is_numeric() && !column.data_type().is_integer() && target.is_integer() {
        // The cast cuts off what is behind the point.
        let numbers = cast_with_options(column, &ArrowType::Float64, &options)?;
        let numbers = numbers.as_primitive::<Float64Type>();
        if let Some(row) = numbers
            .iter()
            .position(|number| number.is_some_and(|number| number.fract() != 0.0))
        {
            return Err(Error::InvalidData(format!(
                "field '{}' is of type {}, the value of row {row} is no whole number",
                field.name,
                field.data_type.name()
            )));
        }
    }
    Ok(converted)
}

fn dimension_mismatch(field: &Field, dim: u32, given: &str) -> Error {
    Error::InvalidData(format!(
        "the dim ({given}) of field data({}) is not equal to schema dim ({dim})",
        field.name
    ))
}

fn type_mismatch(field: &Field, given: &ArrowType) -> Error {
    Error::InvalidData(format!(
        "field '{}' is of type {}, values of type {given} do not fit it",
        field.name,
        field.data_type.name()
    ))
}

/// `rows` copies of a default value in the field's type.
///
/// # Errors
/// [`Error::InvalidSchema`] when the value does not fit the type.
pub(crate) fn default_array(field: &Field, value: &Value, rows: usize) -> Result<ArrayRef> {
    let bad = || {
        Error::InvalidSchema(format!(
            "default value {value} of field '{}' does not fit its type {}",
            field.name,
            field.data_type.name()
        ))
    };
    let integer = || value.as_i64().ok_or_else(bad);
    let array: ArrayRef = match &field.data_type {
        DataType::Bool => Arc::new(BooleanArray::from(vec![value.as_bool().ok_or_else(bad)?; rows])),
        DataType::Int8 => Arc::new(Int8Array::from(vec![
            i8::try_from(integer()?).map_err(|_| bad())?;
            rows
        ])),
        DataType::Int16 => Arc::new(Int16Array::from(vec![
            i16::try_from(integer()?)
                .map_err(|_| bad())?;
            rows
        ])),
        DataType::Int32 => Arc::new(Int32Array::from(vec![
            i32::try_from(integer()?)
                .map_err(|_| bad())?;
            rows
        ])),
        DataType::Int64 => Arc::new(Int64Array::from(vec![integer()?; rows])),
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a FLOAT field keeps single precision"
        )]
        DataType::Float => Arc::new(Float32Array::from(vec![
            value.as_f64().ok_or_else(bad)? as f32;
            rows
        ])),
        DataType::Double => Arc::new(Float64Array::from(vec![value.as_f64().ok_or_else(bad)?; rows])),
        DataType::VarChar { .. } | DataType::Text => {
            Arc::new(StringArray::from(vec![value.as_str().ok_or_else(bad)?; rows]))
        }
        DataType::Geometry => {
            let shape = value.as_str().and_then(|text| Shape::from_wkt(text).ok());
            let wkb = shape.ok_or_else(bad)?.to_wkb();
            Arc::new(BinaryArray::from_iter_values(vec![wkb; rows]))
        }
        DataType::TimestampTz => {
            let micros = match value {
                Value::String(text) => parse_timestamp(text).ok_or_else(bad)?,
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                    integer()?
                }
            };
            Arc::new(TimestampMicrosecondArray::from(vec![micros; rows]).with_timezone("UTC"))
        }
        DataType::Json
        | DataType::Array { .. }
        | DataType::StructArray { .. }
        | DataType::FloatVector { .. }
        | DataType::Float16Vector { .. }
        | DataType::BFloat16Vector { .. }
        | DataType::Int8Vector { .. }
        | DataType::BinaryVector { .. }
        | DataType::SparseFloatVector
        | DataType::VectorArray { .. } => return Err(bad()),
    };
    check_values(field, &array).map_err(|e| Error::InvalidSchema(e.to_string()))?;
    Ok(array)
}

fn parse_timestamp(text: &str) -> Option<i64> {
    chrono::DateTime::parse_from_rfc3339(text)
        .ok()
        .map(|instant| instant.timestamp_micros())
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{Field as ArrowField, Schema};

    use super::*;

    fn schema() -> (CollectionSchema, SchemaRef) {
        let mut city = Field::new("city", DataType::VarChar { max_length: 5 });
        city.default = Some(serde_json::json!("rome"));
        let mut schema = CollectionSchema::new(vec![
            Field::new("id", DataType::Int64).primary(),
            city,
            Field::new("price", DataType::Double).nullable(),
            Field::new("v", DataType::FloatVector { dim: 2 }),
        ])
        .with_dynamic_field();
        schema.validate().unwrap();
        let arrow = schema.to_arrow();
        (schema, arrow)
    }

    fn vectors(values: Vec<f32>, dim: i32) -> ArrayRef {
        let item = Arc::new(ArrowField::new_list_field(ArrowType::Float32, true));
        Arc::new(FixedSizeListArray::try_new(item, dim, Arc::new(Float32Array::from(values)), None).unwrap())
    }

    fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
        let fields: Vec<_> = columns
            .iter()
            .map(|(name, array)| ArrowField::new(*name, array.data_type().clone(), true))
            .collect();
        RecordBatch::try_new(
            Arc::new(Schema::new(fields)),
            columns.into_iter().map(|(_, a)| a).collect(),
        )
        .unwrap()
    }

    fn run(input: &RecordBatch, mode: WriteMode) -> Result<PreparedRows> {
        let (schema, arrow) = schema();
        prepare(&schema, &arrow, input, mode, false, |_| 0)
    }

    fn ids(ids: Vec<i64>) -> ArrayRef {
        Arc::new(Int64Array::from(ids))
    }

    #[test]
    fn missing_columns_take_default_null_or_empty_object() {
        let input = batch(vec![
            ("v", vectors(vec![1., 2., 3., 4.], 2)),
            ("id", ids(vec![7, 8])),
        ]);
        let rows = run(&input, WriteMode::Insert).unwrap();
        assert_eq!(rows.keys, Keys::Int64(vec![7, 8]));
        assert_eq!(
            rows.batch
                .column_by_name("city")
                .unwrap()
                .as_string::<i32>()
                .value(1),
            "rome"
        );
        assert_eq!(rows.batch.column_by_name("price").unwrap().null_count(), 2);
        assert_eq!(
            rows.batch
                .column_by_name("$meta")
                .unwrap()
                .as_string::<i32>()
                .value(0),
            "{}"
        );
    }

    #[test]
    fn nulls_become_the_default() {
        let cities: ArrayRef = Arc::new(StringArray::from(vec![None, Some("oslo")]));
        let input = batch(vec![
            ("id", ids(vec![1, 2])),
            ("city", cities),
            ("v", vectors(vec![0.; 4], 2)),
        ]);
        let rows = run(&input, WriteMode::Insert).unwrap();
        let cities = rows.batch.column_by_name("city").unwrap();
        assert_eq!(
            cities.as_string::<i32>().iter().flatten().collect::<Vec<_>>(),
            ["rome", "oslo"]
        );
    }

    #[test]
    fn mistakes_name_field_and_rule() {
        let error = |input: RecordBatch, mode| run(&input, mode).unwrap_err().to_string();
        let v = || vectors(vec![0.; 4], 2);
        let insert = WriteMode::Insert;
        assert!(error(batch(vec![("id", ids(vec![1, 2]))]), insert).contains("field 'v' is missing"));
        let wrong_dim = batch(vec![("id", ids(vec![1])), ("v", vectors(vec![0.; 3], 3))]);
        assert!(
            error(wrong_dim, insert).contains("the dim (3) of field data(v) is not equal to schema dim (2)")
        );
        let nan = batch(vec![
            ("id", ids(vec![1, 2])),
            ("v", vectors(vec![0., 1., f32::NAN, 0.], 2)),
        ]);
        assert!(error(nan, insert).contains("NaN"));
        let unknown = batch(vec![
            ("id", ids(vec![1, 2])),
            ("v", v()),
            ("cities", ids(vec![1, 2])),
        ]);
        assert!(error(unknown, insert).contains("city"));
        let long: ArrayRef = Arc::new(StringArray::from(vec!["london", "x"]));
        assert!(
            error(
                batch(vec![("id", ids(vec![1, 2])), ("v", v()), ("city", long)]),
                insert
            )
            .contains("max length: 5")
        );
        let json: ArrayRef = Arc::new(StringArray::from(vec!["[1]", "{}"]));
        assert!(
            error(
                batch(vec![("id", ids(vec![1, 2])), ("v", v()), ("$meta", json)]),
                insert
            )
            .contains("object")
        );
        let twice = batch(vec![("id", ids(vec![1, 1])), ("v", v())]);
        assert!(error(twice, WriteMode::Upsert).contains("more than once"));
    }

    #[test]
    fn slots_under_a_null_do_not_count() {
        let mut schema = CollectionSchema::new(vec![
            Field::new("id", DataType::Int64).primary(),
            Field::new("price", DataType::Double).nullable(),
            Field::new("v", DataType::FloatVector { dim: 2 }).nullable(),
        ]);
        schema.validate().unwrap();
        let arrow = schema.to_arrow();
        let nulls = || Some(vec![true, false].into());
        let prices: ArrayRef = Arc::new(Float64Array::new(vec![1.5, f64::NAN].into(), nulls()));
        let item = Arc::new(ArrowField::new_list_field(ArrowType::Float32, true));
        let floats = Float32Array::from(vec![Some(1.0), Some(2.0), None, None]);
        let list = |floats, nulls| -> ArrayRef {
            Arc::new(FixedSizeListArray::try_new(Arc::clone(&item), 2, Arc::new(floats), nulls).unwrap())
        };
        let vectors = list(floats.clone(), nulls());
        let input = batch(vec![
            ("id", ids(vec![1, 2])),
            ("price", Arc::clone(&prices)),
            ("v", vectors),
        ]);
        let rows = prepare(&schema, &arrow, &input, WriteMode::Insert, false, |_| 0).unwrap();
        let null_counts: Vec<_> = rows
            .batch
            .columns()
            .iter()
            .map(|column| column.null_count())
            .collect();
        assert_eq!(null_counts, [0, 1, 1]);
        let input = batch(vec![
            ("id", ids(vec![1, 2])),
            ("price", prices),
            ("v", list(floats, None)),
        ]);
        let error = prepare(&schema, &arrow, &input, WriteMode::Insert, false, |_| 0).unwrap_err();
        assert!(error.to_string().contains("null elements"), "{error}");
    }

    #[test]
    fn numbers_are_converted_when_nothing_is_lost() {
        let keys = |keys: Vec<f64>| -> ArrayRef { Arc::new(Float64Array::from(keys)) };
        let v = || vectors(vec![0.; 4], 2);
        let rows = run(
            &batch(vec![("id", keys(vec![1.0, 2.0])), ("v", v())]),
            WriteMode::Insert,
        )
        .unwrap();
        assert_eq!(rows.keys, Keys::Int64(vec![1, 2]));
        let error = run(
            &batch(vec![("id", keys(vec![1.0, 2.5])), ("v", v())]),
            WriteMode::Insert,
        )
        .unwrap_err();
        assert!(
            error
                .to_string()
                .contains("the value of row 1 is no whole number"),
            "{error}"
        );
    }

    #[test]
    fn auto_ids_are_assigned_and_an_upsert_replaces_the_old_ones() {
        let mut schema = CollectionSchema::new(vec![
            Field::new("id", DataType::VarChar { max_length: 30 })
                .primary()
                .auto_id(),
            Field::new("v", DataType::FloatVector { dim: 2 }),
        ]);
        schema.validate().unwrap();
        let arrow = schema.to_arrow();
        let input = batch(vec![("v", vectors(vec![0.; 4], 2))]);
        let rows = prepare(&schema, &arrow, &input, WriteMode::Insert, false, |_| 40).unwrap();
        assert_eq!(rows.keys, Keys::VarChar(vec!["40".into(), "41".into()]));
        let old: ArrayRef = Arc::new(StringArray::from(vec!["40"]));
        let input = batch(vec![("id", old), ("v", vectors(vec![1.; 2], 2))]);
        let rows = prepare(&schema, &arrow, &input, WriteMode::Upsert, false, |_| 50).unwrap();
        assert_eq!(rows.replaced, Some(Keys::VarChar(vec!["40".into()])));
        assert_eq!(rows.keys, Keys::VarChar(vec!["50".into()]));
        assert!(prepare(&schema, &arrow, &input, WriteMode::Insert, false, |_| 0).is_err());
    }
}
