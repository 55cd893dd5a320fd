//! Vectors as they are written in SQL: `'[1, 2, 3]'`, `ARRAY[1, 2, 3]`, `[1, 2, 3]`, or a bound list.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float32Type};
use arrow::util::display::array_value_to_string;
use datafusion::common::ScalarValue;

use crate::error::{QueryError, Result};

/// Largest dimension of a vector.
pub(crate) const MAX_DIM: u32 = 32_768;

/// Reads `[1, 2, 3]`.
///
/// # Errors
/// [`QueryError::Execution`] saying what a vector looks like.
pub(crate) fn parse_vector(text: &str) -> Result<Vec<f32>> {
    let bad = |what: String| QueryError::Execution(format!("{what}; a vector is written '[1, 2, 3]'"));
    let shown: String = text.chars().take(40).collect();
    let inside = text
        .trim()
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .ok_or_else(|| bad(format!("'{shown}' is not a vector")))?;
    if inside.trim().is_empty() {
        return Ok(Vec::new());
    }
    inside
        .split(',')
        .map(|number| {
            let number = number.trim();
            let value: f32 = number
                .parse()
                .map_err(|_| bad(format!("'{number}' in '{shown}' is not a number")))?;
            if value.is_finite() {
                Ok(value)
            } else {
                Err(bad(format!("'{number}' in '{shown}' is not finite")))
            }
        })
        .collect()
}

/// The elements of one list value as 32-bit floats.
///
/// # Errors
/// [`QueryError::Execution`] when an element is NULL, not a number or out of the range of 32 bits.
pub(crate) fn floats_of(elements: &ArrayRef) -> Result<Vec<f32>> {
    let numeric = elements.data_type().is_numeric() || elements.data_type() == &DataType::Null;
    if !numeric {
        return Err(QueryError::Execution(format!(
            "a vector cannot have elements of type {}",
            elements.data_type()
        )));
    }
    let floats = cast(elements, &DataType::Float32).map_err(QueryError::from)?;
    if floats.null_count() > 0 {
        return Err(QueryError::Execution("a vector cannot have NULL elements".into()));
    }
    let floats = floats.as_primitive::<Float32Type>().values().to_vec();
    match floats.iter().position(|value| !value.is_finite()) {
        None => Ok(floats),
        Some(place) => Err(QueryError::Execution(format!(
            "element {} of a vector is {}: it must be finite in 32 bits",
            place + 1,
            array_value_to_string(elements, place).map_err(QueryError::from)?
        ))),
    }
}

/// A query vector for `column` from the value of its expression; `None` for NULL.
///
/// # Errors
/// [`QueryError::Execution`] when the value is not a vector or of another dimension.
pub(crate) fn vector_of_scalar(value: &ScalarValue, column: &str, dim: usize) -> Result<Option<Vec<f32>>> {
    if value.is_null() {
        return Ok(None);
    }
    let vector = match value {
        ScalarValue::Utf8(Some(text))
        | ScalarValue::LargeUtf8(Some(text))
        | ScalarValue::Utf8View(Some(text)) => parse_vector(text)?,
        ScalarValue::FixedSizeList(list) => floats_of(&list.value(0))?,
        ScalarValue::List(list) => floats_of(&list.value(0))?,
        ScalarValue::LargeList(list) => floats_of(&list.value(0))?,
        other => {
            return Err(QueryError::Execution(format!(
                "a query vector cannot be of type {}",
                other.data_type()
            )));
        }
    };
    check_dim(vector.len(), column, dim)?;
    Ok(Some(vector))
}

fn check_dim(given: usize, column: &str, dim: usize) -> Result<()> {
    if given == dim {
        return Ok(());
    }
    Err(QueryError::Execution(format!(
        "query vector has dimension {given}, column '{column}' has {dim}"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_are_read_with_any_spacing() {
        assert_eq!(parse_vector(" [1, -2.5,3e1 ] ").unwrap(), [1.0, -2.5, 30.0]);
        assert!(parse_vector("[]").unwrap().is_empty());
    }

    #[test]
    fn what_is_not_a_vector_is_named() {
        for (text, what) in [
            ("1,2", "is not a vector"),
            ("[1,x]", "'x'"),
            ("[1,,2]", "''"),
            ("[1, nan]", "not finite"),
        ] {
            let error = parse_vector(text).unwrap_err().to_string();
            assert!(error.contains(what) && error.contains("'[1, 2, 3]'"), "{error}");
        }
    }
}
