//! Values of rows as buckets compare and send them.

use std::cmp::Ordering;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType,
};
use chrono_tz::Tz;
use milvus::proto::schema::{agg_hit_field, bucket_key_entry, metric_value};

use crate::convert::time;

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cell {
    Null,
    Bool(bool),
    Int(i64),
    Float(f32),
    Double(f64),
    Text(String),
    /// Microseconds since 1970 UTC.
    Instant(i64),
}

impl Cell {
    /// The value of a row; `None` for a column whose type has no such value.
    pub fn of(column: &ArrayRef, row: usize) -> Option<Self> {
        if row >= column.len() || column.is_null(row) {
            return Some(Self::Null);
        }
        if let Some(values) = column.as_boolean_opt() {
            return Some(Self::Bool(values.value(row)));
        }
        if let Some(values) = column.as_string_opt::<i32>() {
            return Some(Self::Text(values.value(row).to_owned()));
        }
        let int8 = column
            .as_primitive_opt::<Int8Type>()
            .map(|v| i64::from(v.value(row)));
        let int16 = || {
            column
                .as_primitive_opt::<Int16Type>()
                .map(|v| i64::from(v.value(row)))
        };
        let int32 = || {
            column
                .as_primitive_opt::<Int32Type>()
                .map(|v| i64::from(v.value(row)))
        };
        let int64 = || column.as_primitive_opt::<Int64Type>().map(|v| v.value(row));
        if let Some(value) = int8.or_else(int16).or_else(int32).or_else(int64) {
            return Some(Self::Int(value));
        }
        if let Some(values) = column.as_primitive_opt::<Float32Type>() {
            return Some(Self::Float(values.value(row)));
        }
        if let Some(values) = column.as_primitive_opt::<Float64Type>() {
            return Some(Self::Double(values.value(row)));
        }
        let instants = column.as_primitive_opt::<TimestampMicrosecondType>()?;
        Some(Self::Instant(instants.value(row)))
    }

    pub fn is_null(&self) -> bool {
        *self == Self::Null
    }

    /// The value as a number.
    #[expect(
        clippy::cast_precision_loss,
        reason = "means and sums of mixed numbers are floats"
    )]
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Int(value) => Some(*value as f64),
            Self::Float(value) => Some(f64::from(*value)),
            Self::Double(value) => Some(*value),
            Self::Null | Self::Bool(_) | Self::Text(_) | Self::Instant(_) => None,
        }
    }

    /// The order of two values of one column; NULL is not among them.
    pub fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Bool(one), Self::Bool(other)) => one.cmp(other),
            (Self::Int(one), Self::Int(other)) | (Self::Instant(one), Self::Instant(other)) => one.cmp(other),
            (Self::Text(one), Self::Text(other)) => one.cmp(other),
            (one, other) => match (one.number(), other.number()) {
                (Some(one), Some(other)) => one.total_cmp(&other),
                (_, _) => Ordering::Equal,
            },
        }
    }

    /// The order that a request asks for.
    pub fn ordered(&self, other: &Self, descending: bool, nulls_first: bool) -> Ordering {
        match (self.is_null(), other.is_null()) {
            (true, true) => Ordering::Equal,
            (true, false) if nulls_first => Ordering::Less,
            (false, true) if !nulls_first => Ordering::Less,
            (true, false) | (false, true) => Ordering::Greater,
            (false, false) if descending => other.compare(self),
            (false, false) => self.compare(other),
        }
    }

    /// As a part of the key of a bucket.
    pub fn key(&self, zone: Tz) -> Option<bucket_key_entry::Value> {
        use bucket_key_entry::Value;
        match self {
            Self::Bool(value) => Some(Value::BoolVal(*value)),
            Self::Int(value) => Some(Value::IntVal(*value)),
            Self::Text(value) => Some(Value::StringVal(value.clone())),
            Self::Instant(micros) => Some(Value::StringVal(time::format(*micros, zone))),
            Self::Null | Self::Float(_) | Self::Double(_) => None,
        }
    }

    /// As a metric of a bucket.
    pub fn metric(&self, zone: Tz) -> Option<metric_value::Value> {
        use metric_value::Value;
        match self {
            Self::Null => None,
            Self::Bool(value) => Some(Value::BoolVal(*value)),
            Self::Int(value) => Some(Value::IntVal(*value)),
            Self::Float(value) => Some(Value::DoubleVal(f64::from(*value))),
            Self::Double(value) => Some(Value::DoubleVal(*value)),
            Self::Text(value) => Some(Value::StringVal(value.clone())),
            Self::Instant(micros) => Some(Value::StringVal(time::format(*micros, zone))),
        }
    }

    /// As a field of a hit; JSON is bytes.
    pub fn field(self, json: bool, zone: Tz) -> Option<agg_hit_field::Value> {
        use agg_hit_field::Value;
        match self {
            Self::Null => None,
            Self::Bool(value) => Some(Value::BoolVal(value)),
            Self::Int(value) => Some(Value::IntVal(value)),
            Self::Float(value) => Some(Value::FloatVal(value)),
            Self::Double(value) => Some(Value::DoubleVal(value)),
            Self::Text(text) if json => Some(Value::BytesVal(text.into_bytes())),
            Self::Text(text) => Some(Value::StringVal(text)),
            Self::Instant(micros) => Some(Value::StringVal(time::format(micros, zone))),
        }
    }
}
