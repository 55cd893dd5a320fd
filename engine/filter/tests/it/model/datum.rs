//! Values of the model: of columns, of JSON and of constants alike.

use std::cmp::Ordering;

#[derive(Debug, Clone)]
pub enum Datum {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Array(Vec<Datum>),
    Object,
}

impl Datum {
    /// As JSON text, which is also how a filter writes it.
    pub fn text(&self) -> String {
        match self {
            Self::Null => "null".to_owned(),
            Self::Bool(value) => value.to_string(),
            Self::Int(value) => value.to_string(),
            Self::Float(value) => format!("{value:?}"),
            Self::Text(text) => quoted(text),
            Self::Array(values) => {
                let values: Vec<_> = values.iter().map(Datum::text).collect();
                format!("[{}]", values.join(", "))
            }
            Self::Object => "{}".to_owned(),
        }
    }

    /// Order of two values, none when they are of different kinds. Arrays are equal or `Less`.
    pub fn order(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Bool(a), Self::Bool(b)) => Some(a.cmp(b)),
            (Self::Int(a), Self::Int(b)) => Some(a.cmp(b)),
            (Self::Float(a), Self::Float(b)) => a.partial_cmp(b),
            (Self::Int(a), Self::Float(b)) => int_with_float(*a, *b),
            (Self::Float(a), Self::Int(b)) => int_with_float(*b, *a).map(Ordering::reverse),
            (Self::Text(a), Self::Text(b)) => Some(a.as_bytes().cmp(b.as_bytes())),
            (Self::Array(a), Self::Array(b)) => {
                let same = a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.equals(b));
                Some(if same { Ordering::Equal } else { Ordering::Less })
            }
            (_, _) => None,
        }
    }

    pub fn equals(&self, other: &Self) -> bool {
        self.order(other) == Some(Ordering::Equal)
    }

    pub fn same_kind(&self, other: &Self) -> bool {
        self.order(other).is_some()
    }

    pub fn as_f64(&self) -> f64 {
        match self {
            Self::Int(value) => *value as f64,
            Self::Float(value) => *value,
            other => panic!("{other:?} is no number"),
        }
    }
}

/// In double quotes; the texts of the model need no other escapes.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Up to 2^53 integers are doubles; beyond, doubles are integers.
fn int_with_float(int: i64, float: f64) -> Option<Ordering> {
    let limit = 1i64 << 53;
    if int.unsigned_abs() <= limit.unsigned_abs() {
        (int as f64).partial_cmp(&float)
    } else if float.abs() < limit as f64 {
        Some(int.cmp(&0))
    } else {
        Some(i128::from(int).cmp(&(float as i128)))
    }
}
