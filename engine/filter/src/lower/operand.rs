//! Operands: what a subtree stands for once the schema is known.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, TimeUnit};
use datafusion::common::{Column, ScalarValue};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{Expr, ScalarUDF, lit};
use elanus_udfs::json;

use super::value::Value;
use crate::ast::BinaryOp;

/// A typed piece of an expression.
pub(crate) enum Operand {
    Constant {
        value: Value,
        template: bool,
    },
    Scalar(Scalar),
    Array(Array),
    Json(JsonPath),
    /// `json op number`: the type is known only at run time, so it stays symbolic.
    JsonArithmetic {
        path: JsonPath,
        op: BinaryOp,
        operand: Value,
    },
    /// A finished boolean expression.
    Predicate(Expr),
}

impl Operand {
    /// The value, when it is the same in every row.
    pub(crate) fn constant(&self) -> Option<&Value> {
        match self {
            Self::Constant { value, .. } => Some(value),
            Self::Scalar(_)
            | Self::Array(_)
            | Self::Json(_)
            | Self::JsonArithmetic { .. }
            | Self::Predicate(_) => None,
        }
    }

    /// The Milvus type name, for error texts.
    pub(crate) fn type_name(&self) -> String {
        match self {
            Self::Constant { value, .. } => value.type_name().to_owned(),
            Self::Scalar(scalar) => type_name(&scalar.data_type),
            Self::Array(array) => format!("Array[{}]", type_name(&array.element)),
            Self::Json(_) | Self::JsonArithmetic { .. } => "JSON".to_owned(),
            Self::Predicate(_) => "Bool".to_owned(),
        }
    }
}

/// A scalar expression over the row.
#[derive(Clone)]
pub(crate) struct Scalar {
    pub(crate) expr: Expr,
    pub(crate) data_type: DataType,
    pub(crate) kind: Kind,
    pub(crate) origin: Origin,
}

/// Families of scalar types that compare with each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Bool,
    Int,
    Float,
    Text,
    Time,
}

/// Where a scalar comes from: that decides what may be done with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    Column,
    Element,
    /// `array_length(..)` or `field op constant`: only comparable with a constant.
    Computed,
}

/// A whole ARRAY column.
pub(crate) struct Array {
    pub(crate) expr: Expr,
    pub(crate) element: DataType,
}

/// A place in a JSON column.
#[derive(Clone)]
pub(crate) struct JsonPath {
    pub(crate) column: Expr,
    /// JSON pointer; empty is the whole value.
    pub(crate) pointer: String,
}

impl JsonPath {
    /// The call `test(column, pointer, rest..)`.
    pub(crate) fn test(&self, test: json::JsonTest, rest: impl IntoIterator<Item = String>) -> Expr {
        let mut args = vec![self.column.clone(), lit(self.pointer.as_str())];
        args.extend(rest.into_iter().map(lit));
        call(json::test(test), args)
    }

    /// The string at the path, NULL when there is none.
    pub(crate) fn text(&self) -> Expr {
        call(
            json::getter(json::JsonType::Str),
            vec![self.column.clone(), lit(self.pointer.as_str())],
        )
    }
}

/// A call of `function`.
pub(crate) fn call(function: Arc<ScalarUDF>, args: Vec<Expr>) -> Expr {
    Expr::ScalarFunction(ScalarFunction::new_udf(function, args))
}

/// A column by its exact name.
pub(crate) fn column(name: &str) -> Expr {
    Expr::Column(Column::from_name(name))
}

/// A typed literal.
pub(crate) fn literal(value: ScalarValue) -> Expr {
    Expr::Literal(value, None)
}

/// The family of an Arrow type, none when filters cannot use it.
pub(crate) fn kind(data_type: &DataType) -> Option<Kind> {
    use DataType::{
        Boolean, Float32, Float64, Int8, Int16, Int32, Int64, LargeUtf8, Timestamp, Utf8, Utf8View,
    };
    use TimeUnit::Microsecond;
    if matches!(data_type, Boolean) {
        Some(Kind::Bool)
    } else if matches!(data_type, Int8 | Int16 | Int32 | Int64) {
        Some(Kind::Int)
    } else if matches!(data_type, Float32 | Float64) {
        Some(Kind::Float)
    } else if matches!(data_type, Utf8 | LargeUtf8 | Utf8View) {
        Some(Kind::Text)
    } else if matches!(data_type, Timestamp(Microsecond, _)) {
        Some(Kind::Time)
    } else {
        None
    }
}

/// Whether the column holds JSON text.
pub(crate) fn is_json(field: &Field) -> bool {
    let says = |key: &str, value: &str| field.metadata().get(key).is_some_and(|found| found == value);
    says("ARROW:extension:name", "arrow.json") || says("elanus.type", "JSON")
}

/// Milvus' name of an Arrow type.
pub(crate) fn type_name(data_type: &DataType) -> String {
    use DataType::{
        Binary, Boolean, FixedSizeList, Float32, Float64, LargeUtf8, List, Struct, Timestamp, Utf8, Utf8View,
    };
    if let FixedSizeList(..) = data_type {
        return "FloatVector".to_owned();
    }
    if let List(item) = data_type {
        return format!("Array[{}]", type_name(item.data_type()));
    }
    let name = if matches!(data_type, Boolean) {
        "Bool"
    } else if matches!(data_type, Float32) {
        "Float"
    } else if matches!(data_type, Float64) {
        "Double"
    } else if matches!(data_type, Utf8 | LargeUtf8 | Utf8View) {
        "VarChar"
    } else if matches!(data_type, Timestamp(..)) {
        "Timestamptz"
    } else if matches!(data_type, Struct(_)) {
        "Struct"
    } else if matches!(data_type, Binary) {
        "Geometry"
    } else {
        return data_type.to_string();
    };
    name.to_owned()
}

/// `text` as a literal of one of the string types.
pub(crate) fn text_scalar(data_type: &DataType, text: &str) -> ScalarValue {
    let text = Some(text.to_owned());
    if *data_type == DataType::LargeUtf8 {
        ScalarValue::LargeUtf8(text)
    } else if *data_type == DataType::Utf8View {
        ScalarValue::Utf8View(text)
    } else {
        ScalarValue::Utf8(text)
    }
}

/// `value` as a literal of an integer type, none when out of its range.
pub(crate) fn int_scalar(data_type: &DataType, value: i64) -> Option<ScalarValue> {
    if *data_type == DataType::Int8 {
        i8::try_from(value).ok().map(ScalarValue::from)
    } else if *data_type == DataType::Int16 {
        i16::try_from(value).ok().map(ScalarValue::from)
    } else if *data_type == DataType::Int32 {
        i32::try_from(value).ok().map(ScalarValue::from)
    } else {
        Some(ScalarValue::from(value))
    }
}

/// `value` as a literal of a floating-point type, rounded to it.
pub(crate) fn float_scalar(data_type: &DataType, value: f64) -> ScalarValue {
    if *data_type == DataType::Float32 {
        ScalarValue::from(value as f32)
    } else {
        ScalarValue::from(value)
    }
}
