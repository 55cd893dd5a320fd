//! The limits of each field type: finite numbers, lengths, JSON that is JSON.

use arrow::array::{Array, ArrayRef, AsArray, ListArray};
use arrow::datatypes::{ArrowNativeType, Float32Type, Float64Type};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::types::{DataType, Field, MAX_TEXT_BYTES};

/// Largest JSON value in bytes of text.
const MAX_JSON_BYTES: usize = 65_536;

/// Refuses a value that breaks a limit of its field.
pub(super) fn check_values(field: &Field, column: &ArrayRef) -> Result<()> {
    match &field.data_type {
        // The slot of a null may hold anything.
        DataType::Float => check_finite(
            field,
            column.as_primitive::<Float32Type>().iter().flatten(),
            f32::is_finite,
        ),
        DataType::Double => check_finite(
            field,
            column.as_primitive::<Float64Type>().iter().flatten(),
            f64::is_finite,
        ),
        DataType::FloatVector { .. } => check_vectors(field, column),
        DataType::Float16Vector { .. } | DataType::BFloat16Vector { .. } | DataType::SparseFloatVector => {
            super::vectors::check(field, column)
        }
        DataType::VarChar { max_length } => check_text(field, column, *max_length),
        DataType::Text => check_text(field, column, MAX_TEXT_BYTES),
        DataType::Json => check_json(field, column),
        DataType::Array {
            element,
            max_capacity,
        } => check_array(field, column, element, *max_capacity),
        DataType::StructArray {
            fields,
            max_capacity,
        } => super::structs::check(field, column, fields, *max_capacity),
        DataType::Bool
        | DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::TimestampTz
        // read when it was brought into its form
        | DataType::Geometry
        | DataType::Int8Vector { .. }
        | DataType::BinaryVector { .. }
        // the elements were checked, sub-field by sub-field
        | DataType::VectorArray { .. } => Ok(()),
    }
}

fn check_finite<T: Copy + std::fmt::Display>(
    field: &Field,
    mut values: impl Iterator<Item = T>,
    finite: impl Fn(T) -> bool,
) -> Result<()> {
    match values.find(|value| !finite(*value)) {
        Some(value) => Err(Error::InvalidData(format!(
            "value '{value}' of field '{}' is not a number or infinity: only finite values are allowed",
            field.name
        ))),
        None => Ok(()),
    }
}

fn check_vectors(field: &Field, column: &ArrayRef) -> Result<()> {
    let list = column.as_fixed_size_list();
    // A null vector's slot may hold anything; only live values count.
    let values = list.values().as_primitive::<Float32Type>();
    if list.null_count() == 0 {
        // x * 0 is NaN exactly for NaN and infinities; summing keeps the loop free of branches.
        let poison: f32 = values.values().iter().map(|v| v * 0.0).sum();
        if !poison.is_nan() {
            return Ok(());
        }
    }
    let dim = usize::try_from(list.value_length()).unwrap_or(0);
    for row in (0..list.len()).filter(|row| list.is_valid(*row)) {
        let vector = &values.values()[row * dim..(row + 1) * dim];
        check_finite(field, vector.iter().copied(), f32::is_finite)?;
    }
    Ok(())
}

fn check_text(field: &Field, column: &ArrayRef, max_length: u32) -> Result<()> {
    let texts = column.as_string::<i32>();
    let limit = i64::from(max_length);
    for (row, ends) in texts.value_offsets().windows(2).enumerate() {
        let length = i64::from(ends[1]) - i64::from(ends[0]);
        if length > limit && texts.is_valid(row) {
            return Err(Error::InvalidData(format!(
                "length of {} field {} exceeds max length, row number: {row}, length: {length}, max length: {max_length}",
                field.data_type.name().to_lowercase(),
                field.name
            )));
        }
    }
    Ok(())
}

fn check_json(field: &Field, column: &ArrayRef) -> Result<()> {
    let texts = column.as_string::<i32>();
    for (row, text) in texts.iter().enumerate() {
        let Some(text) = text else { continue };
        if text.len() > MAX_JSON_BYTES {
            return Err(Error::InvalidData(format!(
                "JSON field '{}' of row {row} has {} bytes, at most {MAX_JSON_BYTES} are allowed",
                field.name,
                text.len()
            )));
        }
        let bad = |what: String| {
            Error::InvalidData(format!(
                "JSON field '{}' of row {row} is not valid JSON: {what}",
                field.name
            ))
        };
        if field.dynamic {
            let value: Value = serde_json::from_str(text).map_err(|e| bad(e.to_string()))?;
            if !value.is_object() {
                return Err(bad("the dynamic field must be an object".into()));
            }
        } else {
            serde_json::from_str::<serde::de::IgnoredAny>(text).map_err(|e| bad(e.to_string()))?;
        }
    }
    Ok(())
}

fn check_array(field: &Field, column: &ArrayRef, element: &DataType, max_capacity: u32) -> Result<()> {
    let lists = column.as_list::<i32>();
    check_capacity(field, lists, max_capacity)?;
    for row in (0..lists.len()).filter(|row| lists.is_valid(*row)) {
        if lists.value(row).null_count() > 0 {
            return Err(Error::InvalidData(format!(
                "array field '{}' of row {row} has null elements",
                field.name
            )));
        }
    }
    let item = Field {
        name: field.name.clone(),
        data_type: element.clone(),
        ..Field::new("", element.clone())
    };
    check_values(&item, &elements(lists))
}

/// Refuses a list that is longer than its field allows.
pub(super) fn check_capacity(field: &Field, lists: &ListArray, max_capacity: u32) -> Result<()> {
    for row in (0..lists.len()).filter(|row| lists.is_valid(*row)) {
        let length = lists.value_length(row);
        if i64::from(length) > i64::from(max_capacity) {
            return Err(Error::InvalidData(format!(
                "the length ({length}) of {row}th array exceeds max capacity ({max_capacity}) of field '{}'",
                field.name
            )));
        }
    }
    Ok(())
}

/// The elements of all lists: a list that was cut out of a longer one still carries all of its elements.
pub(super) fn elements(lists: &ListArray) -> ArrayRef {
    let offsets = lists.value_offsets();
    let ends = offsets.first().zip(offsets.last());
    let (first, last) = ends.map_or((0, 0), |(first, last)| (first.as_usize(), last.as_usize()));
    lists.values().slice(first, last - first)
}
