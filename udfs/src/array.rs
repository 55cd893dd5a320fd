//! Tests of ARRAY columns against fixed values, for filters.
//!
//! - `elanus_array_length(list)` -> `Int64`: number of elements (0 for the empty list, where DataFusion's
//!   `array_length` says NULL);
//! - `elanus_array_contains(list, literal list, 'one' | 'any' | 'all')` -> `Boolean`;
//! - `elanus_array_equals(list, literal list)` -> `Boolean`: same elements in the same order.
//!
//! A NULL list gives NULL. Literals have the element type of the column. Each needle is one vectorized comparison over
//! all elements of the batch, then a scan per row over the mask.

use std::sync::{Arc, LazyLock};

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, BooleanBufferBuilder, Int64Array, ListArray, Scalar,
};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{cast, kernels::cmp::eq};
use arrow::datatypes::DataType;
use datafusion::common::utils::normalize_float_zero;
use datafusion::common::{exec_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use crate::arguments::{finish, text_literal};

/// Which test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ArrayTest {
    /// `elanus_array_length`
    Length,
    /// `elanus_array_contains`
    Contains,
    /// `elanus_array_equals`
    Equals,
}

static LENGTH: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| ArrayFunction::udf(ArrayTest::Length));
static CONTAINS: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| ArrayFunction::udf(ArrayTest::Contains));
static EQUALS: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| ArrayFunction::udf(ArrayTest::Equals));

/// The function of a test.
pub fn function(test: ArrayTest) -> Arc<ScalarUDF> {
    Arc::clone(match test {
        ArrayTest::Length => &LENGTH,
        ArrayTest::Contains => &CONTAINS,
        ArrayTest::Equals => &EQUALS,
    })
}

/// The array functions.
pub fn all() -> Vec<Arc<ScalarUDF>> {
    vec![
        function(ArrayTest::Length),
        function(ArrayTest::Contains),
        function(ArrayTest::Equals),
    ]
}

/// The scalar function of an [`ArrayTest`].
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct ArrayFunction {
    test: ArrayTest,
    signature: Signature,
}

impl ArrayFunction {
    fn udf(test: ArrayTest) -> Arc<ScalarUDF> {
        let arguments = match test {
            ArrayTest::Length => 1,
            ArrayTest::Equals => 2,
            ArrayTest::Contains => 3,
        };
        Arc::new(ScalarUDF::from(Self {
            test,
            signature: Signature::any(arguments, Volatility::Immutable),
        }))
    }

    fn needles(&self, args: &[ColumnarValue], element: &DataType) -> Result<ArrayRef> {
        match args.get(1) {
            Some(ColumnarValue::Scalar(scalar)) => {
                let list = scalar.to_array()?;
                let Some(list) = list.as_list_opt::<i32>().filter(|list| list.is_valid(0)) else {
                    return exec_err!("{}: argument 2 must be a list, got {scalar}", self.name());
                };
                let values = list.value(0);
                if values.data_type() == element {
                    Ok(values)
                } else {
                    Ok(cast(&values, element)?)
                }
            }
            Some(ColumnarValue::Array(_)) | None => {
                exec_err!("{}: argument 2 must be a literal list", self.name())
            }
        }
    }
}

impl ScalarUDFImpl for ArrayFunction {
    fn name(&self) -> &str {
        match self.test {
            ArrayTest::Length => "elanus_array_length",
            ArrayTest::Contains => "elanus_array_contains",
            ArrayTest::Equals => "elanus_array_equals",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        if !matches!(arg_types.first(), Some(DataType::List(_))) {
            return plan_err!("{} takes a list as its first argument", self.name());
        }
        Ok(match self.test {
            ArrayTest::Length => DataType::Int64,
            ArrayTest::Contains | ArrayTest::Equals => DataType::Boolean,
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let (array, single) = match args.args.first() {
            Some(ColumnarValue::Array(array)) => (Arc::clone(array), false),
            Some(ColumnarValue::Scalar(scalar)) => (scalar.to_array()?, true),
            None => return exec_err!("{} takes a list as its first argument", self.name()),
        };
        let Some(lists) = array.as_list_opt::<i32>() else {
            return exec_err!("{} takes a list, got {}", self.name(), array.data_type());
        };
        let result: ArrayRef = match self.test {
            ArrayTest::Length => {
                let lengths = lists.value_offsets().windows(2).map(|bounds| match bounds {
                    [start, end] => i64::from(end - start),
                    _ => 0,
                });
                Arc::new(Int64Array::new(lengths.collect(), lists.nulls().cloned()))
            }
            ArrayTest::Contains => {
                let needles = self.needles(&args.args, lists.values().data_type())?;
                let rows = match text_literal(self.name(), &args.args, 2)? {
                    "one" | "any" => contains_any(lists, &needles)?,
                    "all" => contains_all(lists, &needles)?,
                    other => return exec_err!("{}: mode must be one, any or all, got {other}", self.name()),
                };
                Arc::new(BooleanArray::new(rows, lists.nulls().cloned()))
            }
            ArrayTest::Equals => {
                let needles = self.needles(&args.args, lists.values().data_type())?;
                Arc::new(BooleanArray::new(
                    equals(lists, &needles)?,
                    lists.nulls().cloned(),
                ))
            }
        };
        finish(result, single)
    }
}

/// Elements equal to needle `index`, over all rows; NULL elements equal nothing.
fn mask(lists: &ListArray, needles: &ArrayRef, index: usize) -> Result<BooleanBuffer> {
    // Arrow compares bits; the two zeros are one number.
    let needle = normalize_float_zero(&needles.slice(index, 1));
    let mask = eq(&normalize_float_zero(lists.values()), &Scalar::new(needle))?;
    Ok(match mask.nulls() {
        Some(nulls) => mask.values() & nulls.inner(),
        None => mask.values().clone(),
    })
}

/// For each row, whether its part of `mask` has a bit set.
fn any_in_row(lists: &ListArray, mask: &BooleanBuffer) -> BooleanBuffer {
    let mut rows = BooleanBufferBuilder::new(lists.len());
    for bounds in lists.value_offsets().windows(2) {
        let hit = match bounds {
            [start, end] => (*start as usize..*end as usize).any(|element| mask.value(element)),
            _ => false,
        };
        rows.append(hit);
    }
    rows.finish()
}

fn contains_any(lists: &ListArray, needles: &ArrayRef) -> Result<BooleanBuffer> {
    let mut found = BooleanBuffer::new_unset(lists.values().len());
    for index in 0..needles.len() {
        found = &found | &mask(lists, needles, index)?;
    }
    Ok(any_in_row(lists, &found))
}

fn contains_all(lists: &ListArray, needles: &ArrayRef) -> Result<BooleanBuffer> {
    let mut rows = BooleanBuffer::new_set(lists.len());
    for index in 0..needles.len() {
        rows = &rows & &any_in_row(lists, &mask(lists, needles, index)?);
    }
    Ok(rows)
}

fn equals(lists: &ListArray, needles: &ArrayRef) -> Result<BooleanBuffer> {
    let offsets = lists.value_offsets();
    let same_length = |row: usize| match offsets.get(row..row + 2) {
        Some([start, end]) => (*end - *start) as usize == needles.len(),
        _ => false,
    };
    let mut rows = BooleanBuffer::collect_bool(lists.len(), same_length);
    for index in 0..needles.len() {
        let mask = mask(lists, needles, index)?;
        let element = |row: usize| offsets.get(row).map_or(0, |start| *start as usize + index);
        rows = BooleanBuffer::collect_bool(lists.len(), |row| rows.value(row) && mask.value(element(row)));
    }
    Ok(rows)
}
