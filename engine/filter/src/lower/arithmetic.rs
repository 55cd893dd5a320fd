//! `(field op constant)`: the one arithmetic step that an expression may take.
//!
//! Integer fields compute in 64 bits and wrap; division truncates towards zero and the remainder has the sign of the
//! dividend. FLOAT fields stay in 32 bits, as Milvus computes them, unless the constant would become infinite there or, as
//! a divisor, zero: `0 * infinity` and `0 / 0` are no numbers.

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Operator, binary_expr, cast, lit};

use super::operand::{Kind, Operand, Origin, Scalar, float_scalar, literal, type_name};
use super::value::{self, Value};
use crate::ast::{BinaryOp, Span};
use crate::error::{Issue, Result};

/// `left op right` for `+ - * / % & ^ |`.
pub(crate) fn arithmetic(op: BinaryOp, left: Operand, right: Operand, span: Span) -> Result<Operand> {
    match (left, right) {
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
            Ok(Operand::Constant {
                value: value::arithmetic(op, &left, &right, span)?,
                template: false,
            })
        }
        (left, Operand::Constant { value, .. }) => field_with_constant(op, left, value, span),
        (Operand::Constant { value, .. }, right) => {
            let commutes = matches!(
                op,
                BinaryOp::Add | BinaryOp::Mul | BinaryOp::BitAnd | BinaryOp::BitXor | BinaryOp::BitOr
            );
            if !commutes {
                let symbol = op.symbol();
                let message =
                    format!("not supported: a constant on the left of '{symbol}'; write the field first");
                return Err(Issue::types(span, message));
            }
            field_with_constant(op, right, value, span)
        }
        (Operand::Predicate(_), _) | (_, Operand::Predicate(_)) => {
            let symbol = op.symbol();
            Err(Issue::types(
                span,
                format!(
                    "'{symbol}' cannot be applied to a condition; '{symbol}' and comparisons need parentheses: (a {symbol} 1) == 2"
                ),
            ))
        }
        (_, _) => Err(Issue::types(
            span,
            "not supported to do arithmetic operations between multiple fields",
        )),
    }
}

fn field_with_constant(op: BinaryOp, field: Operand, value: Value, span: Span) -> Result<Operand> {
    let symbol = op.symbol();
    let integers_only = matches!(
        op,
        BinaryOp::Mod | BinaryOp::BitAnd | BinaryOp::BitXor | BinaryOp::BitOr
    );
    if !matches!(value, Value::Int(_) | Value::Float(_)) {
        let (left, right) = (field.type_name(), value.type_name());
        let looser = matches!(op, BinaryOp::BitAnd | BinaryOp::BitXor | BinaryOp::BitOr);
        let hint = if looser {
            "; it binds looser than comparisons, so write (a & 1) == 1"
        } else {
            ""
        };
        return Err(Issue::types(
            span,
            format!("'{symbol}' takes numbers, got {left} and {right}{hint}"),
        ));
    }
    if matches!(op, BinaryOp::Div | BinaryOp::Mod) && matches!(value, Value::Int(0) | Value::Float(0.0)) {
        return Err(Issue::parse(span, "division or modulus by zero"));
    }
    let scalar = match field {
        Operand::Json(path) => {
            if integers_only && matches!(value, Value::Float(_)) {
                return Err(Issue::types(
                    span,
                    format!("'{symbol}' can only apply on integer types, got Double"),
                ));
            }
            return Ok(Operand::JsonArithmetic {
                path,
                op,
                operand: value,
            });
        }
        Operand::Scalar(scalar) if scalar.origin != Origin::Computed => scalar,
        Operand::Scalar(_) | Operand::JsonArithmetic { .. } => {
            return Err(Issue::types(
                span,
                "complicated arithmetic operations are not supported; one step is: (field + 1) == 2",
            ));
        }
        Operand::Array(_) => {
            return Err(Issue::types(
                span,
                "can not comparisons array fields directly; use an element",
            ));
        }
        Operand::Constant { .. } | Operand::Predicate(_) => {
            return Err(Issue::types(
                span,
                format!("'{symbol}' takes a field and a constant"),
            ));
        }
    };
    match (scalar.kind, value) {
        (Kind::Int, Value::Int(value)) => Ok(Operand::Scalar(with_int(op, scalar, value))),
        (Kind::Int, Value::Float(value)) => {
            let target = type_name(&scalar.data_type);
            Err(Issue::types(
                span,
                format!("cannot cast value to {target}, value: {value:?}; use an integer constant"),
            ))
        }
        (Kind::Float, Value::Int(_) | Value::Float(_)) if integers_only => {
            let target = type_name(&scalar.data_type);
            Err(Issue::types(
                span,
                format!("'{symbol}' can only apply on integer types, got {target}"),
            ))
        }
        (Kind::Float, Value::Int(value)) => Ok(Operand::Scalar(with_float(op, scalar, value as f64))),
        (Kind::Float, Value::Float(value)) => Ok(Operand::Scalar(with_float(op, scalar, value))),
        (Kind::Bool | Kind::Int | Kind::Float | Kind::Text | Kind::Time, value) => {
            let (left, right) = (type_name(&scalar.data_type), value.type_name());
            Err(Issue::types(
                span,
                format!("'{symbol}' takes numbers, got {left} and {right}"),
            ))
        }
    }
}

fn with_int(op: BinaryOp, scalar: Scalar, value: i64) -> Scalar {
    let field = if scalar.data_type == DataType::Int64 {
        scalar.expr
    } else {
        cast(scalar.expr, DataType::Int64)
    };
    // the smallest integer divided by -1 overflows, so these two are computed without dividing
    let expr = match (op, value) {
        (BinaryOp::Div, -1) => binary_expr(lit(0i64), Operator::Minus, field),
        (BinaryOp::Mod, -1) => binary_expr(field, Operator::Modulo, lit(1i64)),
        (_, value) => binary_expr(field, operator(op), literal(ScalarValue::from(value))),
    };
    Scalar {
        expr,
        data_type: DataType::Int64,
        kind: Kind::Int,
        origin: Origin::Computed,
    }
}

fn with_float(op: BinaryOp, scalar: Scalar, value: f64) -> Scalar {
    let narrow = value as f32;
    let fits = narrow.is_finite() && (narrow != 0.0 || op != BinaryOp::Div);
    let (field, data_type) = if scalar.data_type == DataType::Float32 && !fits {
        (cast(scalar.expr, DataType::Float64), DataType::Float64)
    } else {
        (scalar.expr, scalar.data_type)
    };
    let expr = binary_expr(field, operator(op), literal(float_scalar(&data_type, value)));
    Scalar {
        expr,
        data_type,
        kind: Kind::Float,
        origin: Origin::Computed,
    }
}

fn operator(op: BinaryOp) -> Operator {
    match op {
        BinaryOp::Sub => Operator::Minus,
        BinaryOp::Mul => Operator::Multiply,
        BinaryOp::Div => Operator::Divide,
        BinaryOp::Mod => Operator::Modulo,
        BinaryOp::BitAnd => Operator::BitwiseAnd,
        BinaryOp::BitXor => Operator::BitwiseXor,
        BinaryOp::BitOr => Operator::BitwiseOr,
        BinaryOp::Add
        | BinaryOp::Like
        | BinaryOp::RegexMatch
        | BinaryOp::RegexNotMatch
        | BinaryOp::Pow
        | BinaryOp::Shl
        | BinaryOp::Shr
        | BinaryOp::Compare(_) => Operator::Plus,
    }
}
