//! Reading the arguments of a call: text columns, fixed literals.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, StringArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::common::cast::as_string_array;
use datafusion::common::{ScalarValue, exec_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::ColumnarValue;

/// A text argument: one array of `rows` values, or a single value for all rows.
pub(crate) struct TextArgument {
    values: StringArray,
    single: bool,
}

impl TextArgument {
    /// Takes any string type (and NULL); other types are an error naming `function`.
    pub(crate) fn new(function: &str, value: &ColumnarValue) -> Result<Self> {
        let (array, single) = match value {
            ColumnarValue::Array(array) => (Arc::clone(array), false),
            ColumnarValue::Scalar(scalar) => (scalar.to_array()?, true),
        };
        let data_type = array.data_type();
        if !is_text(data_type) && *data_type != DataType::Null {
            return exec_err!("{function} takes text, got {data_type}");
        }
        // no copy when it is Utf8 already
        let array = cast(&array, &DataType::Utf8)?;
        Ok(Self {
            values: as_string_array(&array)?.clone(),
            single,
        })
    }

    /// Whether one value stands for all rows.
    pub(crate) fn is_single(&self) -> bool {
        self.single
    }

    /// The text of row `row`, none when NULL.
    pub(crate) fn get(&self, row: usize) -> Option<&str> {
        let row = if self.single { 0 } else { row };
        (row < self.values.len() && self.values.is_valid(row)).then(|| self.values.value(row))
    }
}

/// Any of the string types.
pub(crate) fn is_text(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
    )
}

/// Argument `index` as a text literal.
pub(crate) fn text_literal<'a>(function: &str, args: &'a [ColumnarValue], index: usize) -> Result<&'a str> {
    let literal = match args.get(index) {
        Some(ColumnarValue::Scalar(scalar)) => scalar.try_as_str().flatten(),
        Some(ColumnarValue::Array(_)) | None => None,
    };
    match literal {
        Some(text) => Ok(text),
        None => exec_err!("{function}: argument {} must be a text literal", index + 1),
    }
}

/// Fails unless `types` has `count` entries.
pub(crate) fn expect_count(function: &str, types: &[DataType], count: usize) -> Result<()> {
    if types.len() != count {
        return plan_err!("{function} takes {count} arguments, got {}", types.len());
    }
    Ok(())
}

/// The result of a call over single values only is a single value.
pub(crate) fn finish(result: ArrayRef, single: bool) -> Result<ColumnarValue> {
    if single {
        return ScalarValue::try_from_array(&result, 0).map(ColumnarValue::Scalar);
    }
    Ok(ColumnarValue::Array(result))
}
