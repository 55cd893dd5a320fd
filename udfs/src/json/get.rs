//! Values of JSON text by path: `json_get_int(json, 'a', 0)` in SQL, `elanus_json_get_int(json, '/a/0')` in filters.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, StringArray};
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use datafusion::common::{exec_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

use super::literal::Literal;
use super::path::parse_pointer;
use super::scan::{Leaf, Number, elements, find, leaf};
use crate::arguments::{TextArgument, finish, is_text, text_literal};

/// What is read. A value of another type gives NULL, except that floats accept integers and integers whole floats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JsonType {
    /// The JSON text of the value, of any type.
    Json,
    /// A boolean.
    Bool,
    /// A 64-bit integer.
    Int,
    /// Any number.
    Float,
    /// A string, unescaped.
    Str,
}

impl JsonType {
    /// All types.
    pub const ALL: [Self; 5] = [Self::Json, Self::Bool, Self::Int, Self::Float, Self::Str];

    fn data_type(self) -> DataType {
        match self {
            Self::Json | Self::Str => DataType::Utf8,
            Self::Bool => DataType::Boolean,
            Self::Int => DataType::Int64,
            Self::Float => DataType::Float64,
        }
    }
}

/// The scalar function that reads a [`JsonType`].
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct JsonGet {
    kind: JsonType,
    /// One JSON pointer instead of a list of keys.
    pointer: bool,
    signature: Signature,
}

impl JsonGet {
    /// `json_get*(json, key, ..)`: keys are text or whole numbers, literals or columns.
    pub fn for_sql(kind: JsonType) -> Self {
        Self {
            kind,
            pointer: false,
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }

    /// `elanus_json_get*(json, pointer)`: the pointer is a literal.
    pub fn for_filter(kind: JsonType) -> Self {
        Self {
            kind,
            pointer: true,
            signature: Signature::any(2, Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for JsonGet {
    fn name(&self) -> &str {
        match (self.kind, self.pointer) {
            (JsonType::Json, false) => "json_get",
            (JsonType::Bool, false) => "json_get_bool",
            (JsonType::Int, false) => "json_get_int",
            (JsonType::Float, false) => "json_get_float",
            (JsonType::Str, false) => "json_get_str",
            (JsonType::Json, true) => "elanus_json_get",
            (JsonType::Bool, true) => "elanus_json_get_bool",
            (JsonType::Int, true) => "elanus_json_get_int",
            (JsonType::Float, true) => "elanus_json_get_float",
            (JsonType::Str, true) => "elanus_json_get_str",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(self.kind.data_type())
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        coerce_keys(self.name(), arg_types, 1)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some((json, keys)) = args.args.split_first() else {
            return exec_err!("{} takes a JSON text", self.name());
        };
        let json = TextArgument::new(self.name(), json)?;
        let paths = if self.pointer {
            Paths::pointer(self.name(), &args.args)?
        } else {
            Paths::keys(self.name(), keys)?
        };
        let single = json.is_single() && paths.is_single();
        let rows = if single { 1 } else { args.number_rows };
        let value = |row: usize| find(json.get(row)?, &paths.get(row)?);
        let result: ArrayRef = match self.kind {
            JsonType::Json => Arc::new((0..rows).map(value).collect::<StringArray>()),
            JsonType::Bool => Arc::new(
                (0..rows)
                    .map(|row| as_bool(value(row)?))
                    .collect::<BooleanArray>(),
            ),
            JsonType::Int => Arc::new((0..rows).map(|row| as_int(value(row)?)).collect::<Int64Array>()),
            JsonType::Float => Arc::new(
                (0..rows)
                    .map(|row| as_float(value(row)?))
                    .collect::<Float64Array>(),
            ),
            JsonType::Str => Arc::new((0..rows).map(|row| as_text(value(row)?)).collect::<StringArray>()),
        };
        finish(result, single)
    }
}

fn as_bool(value: &str) -> Option<bool> {
    if let Leaf::Bool(value) = leaf(value)? {
        Some(value)
    } else {
        None
    }
}

fn as_int(value: &str) -> Option<i64> {
    match leaf(value)? {
        Leaf::Number(Number::Int(value)) => Some(value),
        Leaf::Number(Number::Float(value)) if value.fract() == 0.0 && value.abs() < 9.2e18 => {
            Some(value as i64)
        }
        Leaf::Null | Leaf::Bool(_) | Leaf::Number(_) | Leaf::Text(_) | Leaf::Array(_) | Leaf::Object => None,
    }
}

fn as_float(value: &str) -> Option<f64> {
    match leaf(value)? {
        Leaf::Number(Number::Int(value)) => Some(value as f64),
        Leaf::Number(Number::Float(value)) => Some(value),
        Leaf::Null | Leaf::Bool(_) | Leaf::Text(_) | Leaf::Array(_) | Leaf::Object => None,
    }
}

fn as_text(value: &str) -> Option<Cow<'_, str>> {
    if let Leaf::Text(text) = leaf(value)? {
        Some(text)
    } else {
        None
    }
}

/// The path of each row: fixed, or made of key columns.
enum Paths {
    Fixed(Vec<String>),
    Keys(Vec<TextArgument>),
}

impl Paths {
    fn pointer(function: &str, args: &[ColumnarValue]) -> Result<Self> {
        let pointer = text_literal(function, args, 1)?;
        match parse_pointer(pointer) {
            Some(path) => Ok(Self::Fixed(path)),
            None => exec_err!("{function}: {pointer:?} is no JSON pointer; one is written like /key/0"),
        }
    }

    fn keys(function: &str, keys: &[ColumnarValue]) -> Result<Self> {
        let keys: Vec<_> = keys
            .iter()
            .map(|key| TextArgument::new(function, key))
            .collect::<Result<_>>()?;
        let fixed = keys
            .iter()
            .map(|key| key.get(0).filter(|_| key.is_single()).map(str::to_owned))
            .collect();
        Ok(match fixed {
            Some(path) => Self::Fixed(path),
            None => Self::Keys(keys),
        })
    }

    fn is_single(&self) -> bool {
        match self {
            Self::Fixed(_) => true,
            Self::Keys(keys) => keys.iter().all(TextArgument::is_single),
        }
    }

    /// None when a key is NULL.
    fn get(&self, row: usize) -> Option<Cow<'_, [String]>> {
        match self {
            Self::Fixed(path) => Some(Cow::Borrowed(path.as_slice())),
            Self::Keys(keys) => keys
                .iter()
                .map(|key| key.get(row).map(str::to_owned))
                .collect::<Option<_>>()
                .map(Cow::Owned),
        }
    }
}

/// The first `values` arguments keep their kind, the rest are keys: text or whole numbers, which become text.
fn coerce_keys(function: &str, arg_types: &[DataType], values: usize) -> Result<Vec<DataType>> {
    let Some((json, rest)) = arg_types.split_first() else {
        return plan_err!("{function} takes a JSON text and a path");
    };
    if !is_text(json) && *json != DataType::Null {
        return plan_err!("{function} takes a JSON text, got {json}");
    }
    let mut coerced = vec![DataType::Utf8];
    for (index, data_type) in rest.iter().enumerate() {
        if index + 1 < values {
            coerced.push(data_type.clone());
        } else if is_text(data_type) || data_type.is_integer() || *data_type == DataType::Null {
            coerced.push(DataType::Utf8);
        } else {
            return plan_err!("{function}: a key is text or a whole number, got {data_type}");
        }
    }
    Ok(coerced)
}

/// `json_contains(json, value, key, ..)`: whether the array at the path has an element equal to `value` (a number, a
/// string or a boolean). NULL when there is no array.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct JsonContains {
    signature: Signature,
}

impl Default for JsonContains {
    fn default() -> Self {
        Self {
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for JsonContains {
    fn name(&self) -> &str {
        "json_contains"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let mut coerced = coerce_keys(self.name(), arg_types, 2)?;
        let Some(value) = coerced.get_mut(1) else {
            return plan_err!("json_contains takes a JSON text, a value and a path");
        };
        if value.is_integer() {
            *value = DataType::Int64;
        } else if value.is_numeric() {
            *value = DataType::Float64;
        } else if *value == DataType::Null || is_text(value) {
            *value = DataType::Utf8;
        } else if *value != DataType::Boolean {
            return plan_err!("json_contains looks for a number, a string or a boolean, got {value}");
        }
        Ok(coerced)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [json, needle, keys @ ..] = args.args.as_slice() else {
            return exec_err!("json_contains takes a JSON text, a value and a path");
        };
        let json = TextArgument::new(self.name(), json)?;
        let (needles, needle_single) = needles(needle)?;
        let paths = Paths::keys(self.name(), keys)?;
        let single = json.is_single() && paths.is_single() && needle_single;
        let rows = if single { 1 } else { args.number_rows };
        let test = |row: usize| -> Option<bool> {
            let needle = needles.get(if needle_single { 0 } else { row })?.as_ref()?;
            let Leaf::Array(array) = leaf(find(json.get(row)?, &paths.get(row)?)?)? else {
                return None;
            };
            let same = |element: Leaf<'_>| needle.compare(&element) == Some(Ordering::Equal);
            Some(elements(array).filter_map(leaf).any(same))
        };
        let result: BooleanArray = (0..rows).map(test).collect();
        finish(Arc::new(result), single)
    }
}

/// The looked-for value of each row, none when NULL; whether one stands for all.
fn needles(argument: &ColumnarValue) -> Result<(Vec<Option<Literal>>, bool)> {
    let (array, single) = match argument {
        ColumnarValue::Array(array) => (Arc::clone(array), false),
        ColumnarValue::Scalar(scalar) => (scalar.to_array()?, true),
    };
    let values = if let Some(array) = array.as_boolean_opt() {
        array.iter().map(|value| value.map(Literal::Bool)).collect()
    } else if let Some(array) = array.as_primitive_opt::<Int64Type>() {
        array
            .iter()
            .map(|value| Some(Literal::Number(Number::Int(value?))))
            .collect()
    } else if let Some(array) = array.as_primitive_opt::<Float64Type>() {
        array
            .iter()
            .map(|value| Some(Literal::Number(Number::Float(value?))))
            .collect()
    } else {
        let text = TextArgument::new("json_contains", argument)?;
        (0..array.len())
            .map(|row| Some(Literal::Text(text.get(row)?.to_owned())))
            .collect()
    };
    Ok((values, single))
}
