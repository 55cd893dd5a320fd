//! GEOMETRY columns: text or binary as it was given becomes well-known binary in one form.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BinaryBuilder};
use arrow::compute::cast;
use arrow::datatypes::DataType as ArrowType;
use elanus_geometry::Shape;

use super::type_mismatch;
use crate::error::{Error, Result};
use crate::types::Field;

/// The column as stored. Every value is read, so that what is stored is a shape.
pub(super) fn conform(field: &Field, column: &ArrayRef) -> Result<ArrayRef> {
    let given = column.data_type();
    let is_text = matches!(
        given,
        ArrowType::Utf8 | ArrowType::LargeUtf8 | ArrowType::Utf8View
    );
    let is_bytes = matches!(
        given,
        ArrowType::Binary | ArrowType::LargeBinary | ArrowType::BinaryView
    );
    if !is_text && !is_bytes {
        return Err(type_mismatch(field, given));
    }
    // Text in its one plain form first: views do not become bytes.
    let column = if is_text {
        cast(column, &ArrowType::Utf8)?
    } else {
        Arc::clone(column)
    };
    let bytes = cast(&column, &ArrowType::Binary)?;
    let mut shapes = BinaryBuilder::with_capacity(bytes.len(), 32 * bytes.len());
    for (row, value) in bytes.as_binary::<i32>().iter().enumerate() {
        let Some(value) = value else {
            shapes.append_null();
            continue;
        };
        let shape = Shape::from_bytes(value).map_err(|reason| {
            Error::InvalidData(format!(
                "the value of row {row} of geometry field '{}' is no shape: {reason}",
                field.name
            ))
        })?;
        shapes.append_value(shape.to_wkb());
    }
    Ok(Arc::new(shapes.finish()))
}
