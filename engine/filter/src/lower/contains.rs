//! `json_contains*` / `array_contains*` and `array_length`.

use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Expr, lit};
use elanus_udfs::array::{ArrayTest, function as array_function};
use elanus_udfs::json::{self, JsonTest};

use super::operand::{
    Array, Kind, Operand, Origin, Scalar, call, float_scalar, int_scalar, kind, literal, text_scalar,
    type_name,
};
use super::value::Value;
use crate::ast::{ContainsMode, Span};
use crate::error::{Issue, Result};
use arrow::datatypes::DataType;

/// Whether `container` holds `value`, or all or any of its entries.
pub(crate) fn contains(mode: ContainsMode, container: &Operand, value: &Operand, span: Span) -> Result<Expr> {
    let name = match mode {
        ContainsMode::One => "contains",
        ContainsMode::All => "contains_all",
        ContainsMode::Any => "contains_any",
    };
    let Operand::Constant { value, .. } = value else {
        let got = value.type_name();
        return Err(Issue::types(
            span,
            format!("{name} operation are only supported explicitly specified element, got: {got}"),
        ));
    };
    let one;
    let values: &[Value] = match (mode, value) {
        (ContainsMode::One, value) => {
            one = [value.clone()];
            &one
        }
        (ContainsMode::All | ContainsMode::Any, Value::List(values)) => values,
        (
            ContainsMode::All | ContainsMode::Any,
            Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Str(_),
        ) => {
            let got = value.type_name();
            return Err(Issue::types(
                span,
                format!("{name} operation element must be an array, got {got}"),
            ));
        }
    };
    match container {
        Operand::Json(path) => {
            let list: serde_json::Value = values.iter().map(Value::to_json).collect();
            Ok(path.test(JsonTest::Has, [mode_text(mode).to_owned(), list.to_string()]))
        }
        Operand::Array(array) if mode == ContainsMode::All => {
            Ok(match array_literal(&array.element, values, span)? {
                Some(list) => array_test(array, list, mode),
                None => empty_list_test(array),
            })
        }
        Operand::Array(array) => {
            let mut fitting = Vec::with_capacity(values.len());
            for value in values {
                fitting.extend(element_literal(&array.element, value, span)?);
            }
            Ok(array_test(array, list_literal(&array.element, &fitting), mode))
        }
        Operand::Constant { .. }
        | Operand::Scalar(_)
        | Operand::JsonArithmetic { .. }
        | Operand::Predicate(_) => {
            let got = container.type_name();
            Err(Issue::types(
                span,
                format!("{name} operation are only supported on json or array fields now, got: {got}"),
            ))
        }
    }
}

fn mode_text(mode: ContainsMode) -> &'static str {
    match mode {
        ContainsMode::One => "one",
        ContainsMode::All => "all",
        ContainsMode::Any => "any",
    }
}

fn array_test(array: &Array, list: Expr, mode: ContainsMode) -> Expr {
    call(
        array_function(ArrayTest::Contains),
        vec![array.expr.clone(), list, lit(mode_text(mode))],
    )
}

/// False for every array, unknown for NULL.
pub(crate) fn empty_list_test(array: &Array) -> Expr {
    array_test(array, list_literal(&array.element, &[]), ContainsMode::Any)
}

/// `values` as a literal list of the column's element type; none when a value is beyond that type's range.
pub(crate) fn array_literal(element: &DataType, values: &[Value], span: Span) -> Result<Option<Expr>> {
    let mut list = Vec::with_capacity(values.len());
    for value in values {
        let Some(literal) = element_literal(element, value, span)? else {
            return Ok(None);
        };
        list.push(literal);
    }
    Ok(Some(list_literal(element, &list)))
}

fn list_literal(element: &DataType, values: &[ScalarValue]) -> Expr {
    literal(ScalarValue::List(ScalarValue::new_list_nullable(values, element)))
}

fn element_literal(element: &DataType, value: &Value, span: Span) -> Result<Option<ScalarValue>> {
    Ok(match (kind(element), value) {
        (Some(Kind::Bool), Value::Bool(value)) => Some(ScalarValue::from(*value)),
        (Some(Kind::Int), Value::Int(value)) => int_scalar(element, *value),
        (Some(Kind::Float), Value::Int(value)) => Some(float_scalar(element, *value as f64)),
        (Some(Kind::Float), Value::Float(value)) => Some(float_scalar(element, *value)),
        (Some(Kind::Text), Value::Str(text)) => Some(text_scalar(element, text)),
        (_, Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Str(_) | Value::List(_)) => {
            let (target, shown) = (type_name(element), value.shown());
            return Err(Issue::types(
                span,
                format!("cannot cast value to {target}, value: {shown}"),
            ));
        }
    })
}

/// `array_length(x)`
pub(crate) fn array_length(operand: &Operand, span: Span) -> Result<Operand> {
    let expr = match operand {
        Operand::Array(array) => call(array_function(ArrayTest::Length), vec![array.expr.clone()]),
        Operand::Json(path) => call(
            json::test(JsonTest::Length),
            vec![path.column.clone(), lit(path.pointer.as_str())],
        ),
        Operand::Constant { .. }
        | Operand::Scalar(_)
        | Operand::JsonArithmetic { .. }
        | Operand::Predicate(_) => {
            let got = operand.type_name();
            let message =
                format!("array_length operation are only supported on json or array fields now, got: {got}");
            return Err(Issue::types(span, message));
        }
    };
    Ok(Operand::Scalar(Scalar {
        expr,
        data_type: DataType::Int64,
        kind: Kind::Int,
        origin: Origin::Computed,
    }))
}
