//! Constants: literals and template values, and what operators make of them before any row is seen.

use std::cmp::Ordering;

use serde_json::Value as Json;

use crate::ast::{BinaryOp, CompareOp, Literal, Span};
use crate::error::{Issue, Result, cut};
use crate::template::TemplateValue;

/// A constant operand.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Bool(bool),
    Int(i64),
    /// Always finite.
    Float(f64),
    Str(String),
    List(Vec<Value>),
}

impl Value {
    pub(crate) fn from_literal(literal: &Literal) -> Self {
        match literal {
            Literal::Bool(value) => Self::Bool(*value),
            Literal::Int(value) => Self::Int(*value),
            Literal::Float(value) => Self::Float(*value),
            Literal::Str(text) => Self::Str(text.clone()),
        }
    }

    /// None when a number is not finite, and of bytes.
    pub(crate) fn from_template(template: &TemplateValue) -> Option<Self> {
        Some(match template {
            TemplateValue::Bool(value) => Self::Bool(*value),
            TemplateValue::Int(value) => Self::Int(*value),
            TemplateValue::Float(value) => return value.is_finite().then_some(Self::Float(*value)),
            TemplateValue::String(text) => Self::Str(text.clone()),
            TemplateValue::Bytes(_) => return None,
            TemplateValue::Array(values) => Self::List(
                values
                    .iter()
                    .map(Self::from_template)
                    .collect::<Option<Vec<_>>>()?,
            ),
        })
    }

    /// The Milvus type that such a constant has.
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Self::Bool(_) => "Bool",
            Self::Int(_) => "Int64",
            Self::Float(_) => "Double",
            Self::Str(_) => "VarChar",
            Self::List(_) => "Array",
        }
    }

    /// The constant as error texts show it.
    pub(crate) fn shown(&self) -> String {
        cut(&self.to_json().to_string(), 80).into_owned()
    }

    pub(crate) fn to_json(&self) -> Json {
        match self {
            Self::Bool(value) => Json::from(*value),
            Self::Int(value) => Json::from(*value),
            Self::Float(value) => Json::from(*value),
            Self::Str(text) => Json::from(text.as_str()),
            Self::List(values) => values.iter().map(Self::to_json).collect(),
        }
    }
}

/// Compares two constants; none when they are of different kinds or the operator does not apply.
pub(crate) fn compare(op: CompareOp, left: &Value, right: &Value) -> Option<bool> {
    let equality_only = matches!(op, CompareOp::Eq | CompareOp::Ne);
    let order = match (left, right) {
        (Value::Int(a), Value::Int(b)) => a.cmp(b),
        (Value::Str(a), Value::Str(b)) => a.cmp(b),
        (Value::Bool(a), Value::Bool(b)) if equality_only => a.cmp(b),
        (Value::Float(a), Value::Float(b)) => a.partial_cmp(b)?,
        (Value::Int(a), Value::Float(b)) => int_with_float(*a, *b)?,
        (Value::Float(a), Value::Int(b)) => int_with_float(*b, *a)?.reverse(),
        (Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Str(_) | Value::List(_), _) => {
            return None;
        }
    };
    Some(match op {
        CompareOp::Eq => order == Ordering::Equal,
        CompareOp::Ne => order != Ordering::Equal,
        CompareOp::Lt => order == Ordering::Less,
        CompareOp::Le => order != Ordering::Greater,
        CompareOp::Gt => order == Ordering::Greater,
        CompareOp::Ge => order != Ordering::Less,
    })
}

/// Exact order: where rounding the integer makes both equal, the float is whole and fits, and the integers decide.
fn int_with_float(int: i64, float: f64) -> Option<Ordering> {
    let rounded = (int as f64).partial_cmp(&float)?;
    Some(rounded.then_with(|| i128::from(int).cmp(&(float as i128))))
}

fn as_f64(value: &Value) -> Option<f64> {
    match value {
        Value::Int(value) => Some(*value as f64),
        Value::Float(value) => Some(*value),
        Value::Bool(_) | Value::Str(_) | Value::List(_) => None,
    }
}

/// Computes `left op right`.
pub(crate) fn arithmetic(op: BinaryOp, left: &Value, right: &Value, span: Span) -> Result<Value> {
    let symbol = op.symbol();
    if let (Value::Int(a), Value::Int(b)) = (left, right)
        && op != BinaryOp::Pow
    {
        let divides = matches!(op, BinaryOp::Div | BinaryOp::Mod);
        if divides && *b == 0 {
            return Err(Issue::parse(span, "division or modulus by zero"));
        }
        return integer_arithmetic(op, *a, *b).map(Value::Int).ok_or_else(|| {
            Issue::parse(
                span,
                format!("the result of '{symbol}' is out of the range of int64"),
            )
        });
    }
    let (Some(a), Some(b)) = (as_f64(left), as_f64(right)) else {
        let (left, right) = (left.type_name(), right.type_name());
        return Err(Issue::types(
            span,
            format!("'{symbol}' takes numbers, got {left} and {right}"),
        ));
    };
    let result = match op {
        BinaryOp::Add => a + b,
        BinaryOp::Sub => a - b,
        BinaryOp::Mul => a * b,
        BinaryOp::Div if b == 0.0 => return Err(Issue::parse(span, "division or modulus by zero")),
        BinaryOp::Div => a / b,
        BinaryOp::Pow => a.powf(b),
        BinaryOp::Mod
        | BinaryOp::BitAnd
        | BinaryOp::BitXor
        | BinaryOp::BitOr
        | BinaryOp::Shl
        | BinaryOp::Shr
        | BinaryOp::Like
        | BinaryOp::RegexMatch
        | BinaryOp::RegexNotMatch
        | BinaryOp::Compare(_) => return Err(Issue::types(span, format!("'{symbol}' takes integers only"))),
    };
    if !result.is_finite() {
        return Err(Issue::parse(
            span,
            format!("the result of '{symbol}' is no finite number"),
        ));
    }
    Ok(Value::Float(result))
}

fn integer_arithmetic(op: BinaryOp, a: i64, b: i64) -> Option<i64> {
    match op {
        BinaryOp::Add => a.checked_add(b),
        BinaryOp::Sub => a.checked_sub(b),
        BinaryOp::Mul => a.checked_mul(b),
        BinaryOp::Div => a.checked_div(b),
        BinaryOp::Mod => Some(a.wrapping_rem(b)),
        BinaryOp::BitAnd => Some(a & b),
        BinaryOp::BitXor => Some(a ^ b),
        BinaryOp::BitOr => Some(a | b),
        BinaryOp::Pow
        | BinaryOp::Shl
        | BinaryOp::Shr
        | BinaryOp::Like
        | BinaryOp::RegexMatch
        | BinaryOp::RegexNotMatch
        | BinaryOp::Compare(_) => None,
    }
}
