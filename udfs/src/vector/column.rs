//! A vector argument of any accepted form, as rows of `f32` or `f64`.

use arrow::array::{Array, ArrayRef, AsArray, GenericListArray, OffsetSizeTrait};
use arrow::buffer::{NullBuffer, ScalarBuffer};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Float32Type, Float64Type};
use datafusion::common::{exec_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::ColumnarValue;
use std::sync::Arc;

use crate::arguments::is_text;

/// What the functions accept, for error texts.
const TAKES: &str = "takes a vector (a list of numbers or text like '[1,2,3]')";

/// Rows of vectors. A single value stands for every row.
pub(crate) struct VectorColumn {
    values: Values,
    nulls: Option<NullBuffer>,
    single: bool,
}

/// Storage of the rows, one after the other.
enum Values {
    /// Equal dimensions: row `i` is `data[i * dim..][..dim]`.
    F32 { data: ScalarBuffer<f32>, dim: usize },
    /// As [`Values::F32`] but with the row ends given, for lists and text beside an engine vector.
    F32Lists { data: Vec<f32>, ends: Vec<usize> },
    /// Lists and text otherwise.
    F64Lists { data: Vec<f64>, ends: Vec<usize> },
    /// All rows NULL.
    Nothing,
}

/// One vector.
#[derive(Clone, Copy)]
pub(crate) enum Row<'a> {
    F32(&'a [f32]),
    F64(&'a [f64]),
}

impl Row<'_> {
    pub(crate) fn dim(self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::F64(values) => values.len(),
        }
    }
}

impl VectorColumn {
    /// Reads lists and text to the precision of the engine's vectors when `narrow` says so: text as the engine reads
    /// it, to the nearest 32-bit number.
    ///
    /// # Errors
    /// A type that holds no vector, text that is none, NULL inside a vector, a number out of the range of 32 bits when
    /// `narrow`.
    pub(crate) fn new(function: &str, value: &ColumnarValue, narrow: bool) -> Result<Self> {
        let (array, single) = match value {
            ColumnarValue::Array(array) => (Arc::clone(array), false),
            ColumnarValue::Scalar(scalar) => (scalar.to_array()?, true),
        };
        let (values, nulls) = read(function, &array, narrow)?;
        let values = match values {
            Values::F64Lists { data, ends } if narrow => narrowed(function, &data, ends)?,
            values @ (Values::F32 { .. }
            | Values::F32Lists { .. }
            | Values::F64Lists { .. }
            | Values::Nothing) => values,
        };
        Ok(Self {
            values,
            nulls,
            single,
        })
    }

    pub(crate) fn is_single(&self) -> bool {
        self.single
    }

    /// The vector of row `row`, none when NULL.
    pub(crate) fn row(&self, row: usize) -> Option<Row<'_>> {
        let row = if self.single { 0 } else { row };
        if self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            return None;
        }
        match &self.values {
            Values::F32 { data, dim } => data.get(row * dim..(row + 1) * dim).map(Row::F32),
            Values::F32Lists { data, ends } => data.get(range(ends, row)?).map(Row::F32),
            Values::F64Lists { data, ends } => data.get(range(ends, row)?).map(Row::F64),
            Values::Nothing => None,
        }
    }
}

fn range(ends: &[usize], row: usize) -> Option<std::ops::Range<usize>> {
    let start = if row == 0 { 0 } else { *ends.get(row - 1)? };
    Some(start..*ends.get(row)?)
}

/// The rows in 32 bits.
fn narrowed(function: &str, data: &[f64], ends: Vec<usize>) -> Result<Values> {
    let narrow: Vec<f32> = data.iter().map(|value| *value as f32).collect();
    match data.iter().zip(&narrow).find(|(_, value)| !value.is_finite()) {
        Some((value, _)) => exec_err!("{function}: {value} in a vector is not finite in 32 bits"),
        None => Ok(Values::F32Lists { data: narrow, ends }),
    }
}

fn read(function: &str, array: &ArrayRef, narrow: bool) -> Result<(Values, Option<NullBuffer>)> {
    let data_type = array.data_type();
    if *data_type == DataType::Null {
        return Ok((Values::Nothing, None));
    }
    if is_text(data_type) {
        return read_text(function, &cast(array, &DataType::Utf8)?, narrow);
    }
    if let Some(lists) = array.as_list_opt::<i32>() {
        return read_lists(function, lists);
    }
    if let Some(lists) = array.as_list_opt::<i64>() {
        return read_lists(function, lists);
    }
    let Some(lists) = array.as_fixed_size_list_opt() else {
        return exec_err!("{function} {TAKES}, got {data_type}");
    };
    let Some(items) = lists.values().as_primitive_opt::<Float32Type>() else {
        let item = Field::new_list_field(lists.value_type(), true);
        return read(function, &cast(array, &DataType::List(Arc::new(item)))?, narrow);
    };
    let dim = usize::try_from(lists.value_length()).unwrap_or(0);
    let hole = |row: usize| lists.is_valid(row) && items.slice(row * dim, dim).null_count() > 0;
    if items.null_count() > 0 && (0..lists.len()).any(hole) {
        return exec_err!("{function}: a vector may not contain NULL");
    }
    let data = items.values().clone();
    Ok((Values::F32 { data, dim }, lists.nulls().cloned()))
}

fn read_lists<O: OffsetSizeTrait>(
    function: &str,
    lists: &GenericListArray<O>,
) -> Result<(Values, Option<NullBuffer>)> {
    let items = cast(lists.values(), &DataType::Float64)?;
    let items = items.as_primitive::<Float64Type>();
    let mut data = Vec::with_capacity(items.len());
    let mut ends = Vec::with_capacity(lists.len());
    for (row, bounds) in lists.value_offsets().windows(2).enumerate() {
        if let [start, end] = bounds
            && lists.is_valid(row)
        {
            let (start, end) = (start.as_usize(), end.as_usize());
            let items = items.slice(start, end - start);
            if items.null_count() > 0 {
                return exec_err!("{function}: a vector may not contain NULL");
            }
            data.extend_from_slice(items.values());
        }
        ends.push(data.len());
    }
    Ok((Values::F64Lists { data, ends }, lists.nulls().cloned()))
}

fn read_text(function: &str, texts: &ArrayRef, narrow: bool) -> Result<(Values, Option<NullBuffer>)> {
    let texts = texts.as_string::<i32>();
    let mut data = Vec::new();
    let mut ends = Vec::with_capacity(texts.len());
    for text in texts {
        if let Some(text) = text
            && parse_text(text, narrow, &mut data).is_none()
        {
            return exec_err!("{function}: {text:?} is no vector; a vector is written like '[1,2,3]'");
        }
        ends.push(data.len());
    }
    Ok((Values::F64Lists { data, ends }, texts.nulls().cloned()))
}

/// Appends the numbers of `[1, 2.5, -3e1]`, each the nearest of its width: by way of 64 bits a number may end up on the
/// other side of the middle between two 32-bit ones.
fn parse_text(text: &str, narrow: bool, data: &mut Vec<f64>) -> Option<()> {
    let inside = text.trim().strip_prefix('[')?.strip_suffix(']')?;
    if inside.trim().is_empty() {
        return Some(());
    }
    for number in inside.split(',') {
        let number = number.trim();
        let value = if narrow {
            f64::from(number.parse::<f32>().ok()?)
        } else {
            number.parse().ok()?
        };
        if !value.is_finite() {
            return None;
        }
        data.push(value);
    }
    Some(())
}

/// What a vector argument is coerced to: our own vectors and text stay, other lists become lists of `Float64`.
pub(crate) fn coerce(function: &str, data_type: &DataType) -> Result<DataType> {
    if is_engine_vector(data_type) || *data_type == DataType::Null {
        return Ok(data_type.clone());
    }
    if is_text(data_type) {
        return Ok(DataType::Utf8);
    }
    if let DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) = data_type
        && (item.data_type().is_numeric() || *item.data_type() == DataType::Null)
    {
        return Ok(DataType::List(Arc::new(Field::new_list_field(
            DataType::Float64,
            true,
        ))));
    }
    plan_err!("{function} {TAKES}, got {data_type}")
}

/// Whether the type is that of the engine's own vector columns.
pub(crate) fn is_engine_vector(data_type: &DataType) -> bool {
    matches!(data_type, DataType::FixedSizeList(item, _) if *item.data_type() == DataType::Float32)
}
