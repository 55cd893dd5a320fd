//! Comparisons, ranges and `in`.
//!
//! Literals take the type of the column, never the other way round, so that predicates prune and no cast runs per row.
//! A literal beside an integer column keeps its exact value: where it does not fit the type, the comparison is restated.
//! One beside a FLOAT or DOUBLE column is rounded to it, as the values of the rows were when they were written.

use arrow::datatypes::DataType;
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::{Expr, Operator, binary_expr, cast, lit};
use elanus_udfs::array::{ArrayTest, function as array_function};
use elanus_udfs::json::JsonTest;

use super::operand::{
    Array, Kind, Operand, Origin, Scalar, call, float_scalar, int_scalar, literal, text_scalar, type_name,
};
use super::value::{self, Value};
use super::{array_literal, empty_list_test};
use crate::ast::{CompareOp, Span};
use crate::error::{Issue, Result};

pub(crate) fn operator(op: CompareOp) -> Operator {
    match op {
        CompareOp::Eq => Operator::Eq,
        CompareOp::Ne => Operator::NotEq,
        CompareOp::Lt => Operator::Lt,
        CompareOp::Le => Operator::LtEq,
        CompareOp::Gt => Operator::Gt,
        CompareOp::Ge => Operator::GtEq,
    }
}

fn is_equality(op: CompareOp) -> bool {
    matches!(op, CompareOp::Eq | CompareOp::Ne)
}

/// `left op right`
pub(crate) fn compare(op: CompareOp, left: Operand, right: Operand, span: Span) -> Result<Operand> {
    let expr = match (left, right) {
        (
            Operand::Constant {
                value: left,
                template: a,
            },
            Operand::Constant {
                value: right,
                template: b,
            },
        ) => {
            if a || b {
                let symbol = op.symbol();
                let message =
                    format!("placeholder was not supported between two constants with operator: {symbol}");
                return Err(Issue::types(span, message));
            }
            let Some(result) = value::compare(op, &left, &right) else {
                return Err(incompatible(span, left.type_name(), right.type_name()));
            };
            return Ok(Operand::Constant {
                value: Value::Bool(result),
                template: false,
            });
        }
        (left @ Operand::Constant { .. }, right) => return compare(op.reversed(), right, left, span),
        (Operand::Scalar(left), Operand::Constant { value, .. }) => {
            scalar_with_constant(op, &left, &value, span)?
        }
        (Operand::Scalar(left), Operand::Scalar(right)) => columns(op, left, right, span)?,
        (Operand::Array(array), Operand::Constant { value, .. }) => {
            array_with_constant(op, &array, &value, span)?
        }
        (Operand::Json(path), Operand::Constant { value, .. }) => {
            if matches!(value, Value::Bool(_) | Value::List(_)) && !is_equality(op) {
                let (symbol, kind) = (op.symbol(), value.type_name());
                return Err(Issue::types(
                    span,
                    format!("'{symbol}' cannot be applied to {kind}; use == or !="),
                ));
            }
            path.test(
                JsonTest::Compare,
                [op.symbol().to_owned(), value.to_json().to_string()],
            )
        }
        (
            Operand::JsonArithmetic {
                path,
                op: arithmetic,
                operand,
            },
            Operand::Constant { value, .. },
        ) => {
            if !matches!(value, Value::Int(_) | Value::Float(_)) {
                return Err(incompatible(span, "JSON", value.type_name()));
            }
            let operand = operand.to_json().to_string();
            let literal = value.to_json().to_string();
            path.test(
                JsonTest::Arithmetic,
                [
                    arithmetic.symbol().to_owned(),
                    operand,
                    op.symbol().to_owned(),
                    literal,
                ],
            )
        }
        (Operand::Array(_), _) | (_, Operand::Array(_)) => {
            return Err(Issue::types(
                span,
                "can not comparisons array fields directly; compare with a list or an element",
            ));
        }
        (Operand::Json(_) | Operand::JsonArithmetic { .. }, _)
        | (_, Operand::Json(_) | Operand::JsonArithmetic { .. }) => {
            return Err(Issue::types(
                span,
                "two column comparison with JSON type is not supported",
            ));
        }
        (Operand::Predicate(_), _) | (_, Operand::Predicate(_)) => {
            return Err(Issue::types(
                span,
                "a condition cannot be compared; combine conditions with and, or, not (a & b == c means a & (b == c))",
            ));
        }
    };
    Ok(Operand::Predicate(expr))
}

fn incompatible(span: Span, left: &str, right: &str) -> Box<Issue> {
    Issue::types(
        span,
        format!("comparison operations cannot be applied to two incompatible operands: {left} and {right}"),
    )
}

fn scalar_with_constant(op: CompareOp, scalar: &Scalar, value: &Value, span: Span) -> Result<Expr> {
    Ok(match (scalar.kind, value) {
        (Kind::Bool, Value::Bool(value)) if is_equality(op) => {
            binary_expr(scalar.expr.clone(), operator(op), lit(*value))
        }
        (Kind::Bool, Value::Bool(_)) => {
            let symbol = op.symbol();
            return Err(Issue::types(
                span,
                format!("'{symbol}' cannot be applied to Bool; use == or !="),
            ));
        }
        (Kind::Int, Value::Int(value)) => int_with_int(op, scalar, *value),
        (Kind::Int, Value::Float(value)) => int_with_float(op, scalar, *value),
        (Kind::Float, Value::Int(value)) => float_with_float(op, scalar, *value as f64),
        (Kind::Float, Value::Float(value)) => float_with_float(op, scalar, *value),
        (Kind::Text, Value::Str(text)) => binary_expr(
            scalar.expr.clone(),
            operator(op),
            literal(text_scalar(&scalar.data_type, text)),
        ),
        (Kind::Time, _) => {
            let got = value.type_name();
            let message = format!("a Timestamptz field compares with ISO '2025-01-01T00:00:00Z', got {got}");
            return Err(Issue::types(span, message));
        }
        (Kind::Bool | Kind::Int | Kind::Float | Kind::Text, _) => {
            return Err(incompatible(
                span,
                &type_name(&scalar.data_type),
                value.type_name(),
            ));
        }
    })
}

fn int_with_int(op: CompareOp, scalar: &Scalar, value: i64) -> Expr {
    match int_scalar(&scalar.data_type, value) {
        Some(value) => binary_expr(scalar.expr.clone(), operator(op), literal(value)),
        None => binary_expr(
            cast(scalar.expr.clone(), DataType::Int64),
            operator(op),
            lit(value),
        ),
    }
}

/// Restates `int op float` over integers: exact for all 64 bits, and prunable.
fn int_with_float(op: CompareOp, scalar: &Scalar, value: f64) -> Expr {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    let below_all = value < -LIMIT;
    let above_all = value >= LIMIT;
    if below_all || above_all {
        let holds = match op {
            CompareOp::Eq => false,
            CompareOp::Ne => true,
            CompareOp::Lt | CompareOp::Le => above_all,
            CompareOp::Gt | CompareOp::Ge => below_all,
        };
        return always(&scalar.expr, holds);
    }
    let floor = value.floor();
    if floor == value {
        return int_with_int(op, scalar, floor as i64);
    }
    match op {
        CompareOp::Eq => always(&scalar.expr, false),
        CompareOp::Ne => always(&scalar.expr, true),
        CompareOp::Lt | CompareOp::Le => int_with_int(CompareOp::Le, scalar, floor as i64),
        CompareOp::Gt | CompareOp::Ge => int_with_int(CompareOp::Gt, scalar, floor as i64),
    }
}

fn float_with_float(op: CompareOp, scalar: &Scalar, value: f64) -> Expr {
    binary_expr(
        scalar.expr.clone(),
        operator(op),
        literal(float_scalar(&scalar.data_type, value)),
    )
}

/// `holds` where `expr` has a value, unknown where it is NULL.
fn always(expr: &Expr, holds: bool) -> Expr {
    binary_expr(
        expr.clone(),
        if holds { Operator::Eq } else { Operator::NotEq },
        expr.clone(),
    )
}

fn columns(op: CompareOp, left: Scalar, right: Scalar, span: Span) -> Result<Expr> {
    if left.origin != Origin::Column || right.origin != Origin::Column {
        let message = "only comparison between two fields is supported; compare array elements, array_length and arithmetic with a constant";
        return Err(Issue::types(span, message));
    }
    let (from, to) = (type_name(&left.data_type), type_name(&right.data_type));
    let numeric = |kind: Kind| matches!(kind, Kind::Int | Kind::Float);
    let common = match (left.kind, right.kind) {
        (Kind::Int, Kind::Int) => DataType::Int64,
        (a, b) if numeric(a) && numeric(b) => DataType::Float64,
        (Kind::Text, Kind::Text) => left.data_type.clone(),
        (Kind::Bool, Kind::Bool) if is_equality(op) => DataType::Boolean,
        (Kind::Time, Kind::Time) => {
            let message =
                "two Timestamptz fields cannot be compared; compare each with ISO '2025-01-01T00:00:00Z'";
            return Err(Issue::types(span, message));
        }
        (Kind::Bool | Kind::Int | Kind::Float | Kind::Text | Kind::Time, _) => {
            return Err(incompatible(span, &from, &to));
        }
    };
    if left.data_type == right.data_type {
        return Ok(binary_expr(left.expr, operator(op), right.expr));
    }
    let convert = |scalar: Scalar| {
        if scalar.data_type == common {
            scalar.expr
        } else {
            cast(scalar.expr, common.clone())
        }
    };
    Ok(binary_expr(convert(left), operator(op), convert(right)))
}

fn array_with_constant(op: CompareOp, array: &Array, value: &Value, span: Span) -> Result<Expr> {
    let Value::List(values) = value else {
        return Err(incompatible(
            span,
            &format!("Array[{}]", type_name(&array.element)),
            value.type_name(),
        ));
    };
    if !is_equality(op) {
        let symbol = op.symbol();
        return Err(Issue::types(
            span,
            format!("'{symbol}' cannot be applied to Array; use == or !="),
        ));
    }
    let equal = match array_literal(&array.element, values, span)? {
        Some(list) => call(array_function(ArrayTest::Equals), vec![array.expr.clone(), list]),
        // a value that no element can have
        None => empty_list_test(array),
    };
    Ok(if op == CompareOp::Eq {
        equal
    } else {
        Expr::Not(Box::new(equal))
    })
}

/// One bound of a chained range.
pub(crate) struct Bound {
    pub(crate) value: Value,
    pub(crate) template: bool,
    pub(crate) inclusive: bool,
}

/// `lower < middle < upper`
pub(crate) fn range(middle: &Operand, lower: &Bound, upper: &Bound, span: Span) -> Result<Expr> {
    let empty_when = if lower.inclusive && upper.inclusive {
        CompareOp::Gt
    } else {
        CompareOp::Ge
    };
    let booleans = matches!(lower.value, Value::Bool(_)) || matches!(upper.value, Value::Bool(_));
    if booleans || matches!(middle, Operand::Scalar(Scalar { kind: Kind::Bool, .. })) {
        return Err(Issue::types(
            span,
            "invalid range operations on boolean expr; use == or !=",
        ));
    }
    let Some(empty) = value::compare(empty_when, &lower.value, &upper.value) else {
        return Err(incompatible(
            span,
            lower.value.type_name(),
            upper.value.type_name(),
        ));
    };
    if empty && !lower.template && !upper.template {
        return Err(Issue::types(
            span,
            "invalid range: lowerbound is greater than upperbound",
        ));
    }
    let one = |op, bound: &Bound| {
        let copy = match middle {
            Operand::Scalar(scalar) if scalar.origin != Origin::Computed => Operand::Scalar(scalar.clone()),
            Operand::Json(path) => Operand::Json(path.clone()),
            Operand::Array(_) => {
                return Err(Issue::types(
                    span,
                    "can not comparisons array fields directly; use an element",
                ));
            }
            Operand::Scalar(_)
            | Operand::Constant { .. }
            | Operand::JsonArithmetic { .. }
            | Operand::Predicate(_) => {
                return Err(Issue::types(
                    span,
                    "range operations are only supported on single fields now",
                ));
            }
        };
        match compare(
            op,
            copy,
            Operand::Constant {
                value: bound.value.clone(),
                template: bound.template,
            },
            span,
        )? {
            Operand::Predicate(expr) => Ok(expr),
            Operand::Constant { .. }
            | Operand::Scalar(_)
            | Operand::Array(_)
            | Operand::Json(_)
            | Operand::JsonArithmetic { .. } => Err(Issue::types(
                span,
                "range operations are only supported on single fields now",
            )),
        }
    };
    let above = one(
        if lower.inclusive {
            CompareOp::Ge
        } else {
            CompareOp::Gt
        },
        lower,
    )?;
    let below = one(
        if upper.inclusive {
            CompareOp::Le
        } else {
            CompareOp::Lt
        },
        upper,
    )?;
    Ok(above.and(below))
}

/// `operand in values`
pub(crate) fn is_in(operand: &Operand, values: &[Value], negated: bool, span: Span) -> Result<Expr> {
    match operand {
        Operand::Scalar(scalar) if scalar.origin != Origin::Computed => {
            scalar_in(scalar, values, negated, span)
        }
        Operand::Json(_) if values.is_empty() => Ok(lit(negated)),
        Operand::Json(path) => {
            let list: serde_json::Value = values.iter().map(Value::to_json).collect();
            let test = path.test(JsonTest::In, [list.to_string()]);
            Ok(if negated { Expr::Not(Box::new(test)) } else { test })
        }
        Operand::Scalar(_)
        | Operand::Array(_)
        | Operand::Constant { .. }
        | Operand::JsonArithmetic { .. }
        | Operand::Predicate(_) => {
            let got = operand.type_name();
            let message = format!(
                "'in' can only be used on a scalar field, an array element or a JSON path, got {got}"
            );
            Err(Issue::types(span, message))
        }
    }
}

fn scalar_in(scalar: &Scalar, values: &[Value], negated: bool, span: Span) -> Result<Expr> {
    let mut list = Vec::with_capacity(values.len());
    for value in values {
        match (scalar.kind, value) {
            (Kind::Bool, Value::Bool(value)) => list.push(lit(*value)),
            // a value beyond the column's type is in no row
            (Kind::Int, Value::Int(value)) => list.extend(int_scalar(&scalar.data_type, *value).map(literal)),
            (Kind::Float, Value::Int(value)) => push_float(&mut list, scalar, *value as f64),
            (Kind::Float, Value::Float(value)) => push_float(&mut list, scalar, *value),
            (Kind::Text, Value::Str(text)) => list.push(literal(text_scalar(&scalar.data_type, text))),
            (Kind::Bool | Kind::Int | Kind::Float | Kind::Text | Kind::Time, _) => {
                let (target, shown) = (type_name(&scalar.data_type), value.shown());
                return Err(Issue::types(
                    span,
                    format!("value '{shown}' in list cannot be casted to {target}"),
                ));
            }
        }
    }
    match list.as_slice() {
        [] => Ok(always(&scalar.expr, negated)),
        [single] => {
            let op = if negated { Operator::NotEq } else { Operator::Eq };
            Ok(binary_expr(scalar.expr.clone(), op, single.clone()))
        }
        [..] => Ok(Expr::InList(InList::new(
            Box::new(scalar.expr.clone()),
            list,
            negated,
        ))),
    }
}

/// Lists are searched by the bits of their values, so that both zeros must be there; a comparison knows them as one.
fn push_float(list: &mut Vec<Expr>, scalar: &Scalar, value: f64) {
    let zero = value == 0.0 || (scalar.data_type == DataType::Float32 && value as f32 == 0.0);
    let values = if zero { &[0.0, -0.0][..] } else { &[value] };
    list.extend(
        values
            .iter()
            .map(|value| literal(float_scalar(&scalar.data_type, *value))),
    );
}
