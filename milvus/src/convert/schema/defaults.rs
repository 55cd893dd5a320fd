//! Default values: JSON inside, instants in microseconds.

use chrono_tz::Tz;
use elanus_collection::DataType;
use elanus_geometry::Shape;
use milvus::proto::schema as wire;
use milvus::proto::schema::value_field::Data as DefaultValue;
use serde_json::{Number, Value};

use crate::convert::time;
use crate::status::{Error, Result};

/// A default value as JSON; instants become microseconds.
pub(super) fn default_from_wire(
    field: &str,
    data_type: &DataType,
    value: DefaultValue,
    zone: Tz,
) -> Result<Value> {
    let wrong = |given: &str| {
        Err(Error::expected(
            format!(
                "type ({}) of field ({field}) is not equal to the type({given}) of default_value",
                data_type.name()
            ),
            data_type.name(),
            given,
        ))
    };
    let float = |value: f64| {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| {
            Error::invalid(format!(
                "the default value of field {field} must be a finite number, got {value}"
            ))
        })
    };
    match (data_type, value) {
        (DataType::Bool, DefaultValue::BoolData(value)) => Ok(value.into()),
        (DataType::Int8 | DataType::Int16 | DataType::Int32, DefaultValue::IntData(value)) => {
            Ok(value.into())
        }
        (DataType::Int64, DefaultValue::LongData(value)) => Ok(value.into()),
        // What a Python int becomes, whatever the field's width; the schema checks the range.
        (DataType::Int8 | DataType::Int16 | DataType::Int32, DefaultValue::LongData(value)) => {
            Ok(value.into())
        }
        (DataType::Float, DefaultValue::FloatData(value)) => float(f64::from(value)),
        (DataType::Double, DefaultValue::DoubleData(value)) => float(value),
        (DataType::VarChar { max_length }, DefaultValue::StringData(value)) => {
            if value.len() as u64 > u64::from(*max_length) {
                return Err(Error::invalid(format!(
                    "the length ({}) of string exceeds max length ({max_length}) in the default value of field {field}",
                    value.len()
                )));
            }
            Ok(value.into())
        }
        (DataType::TimestampTz, DefaultValue::StringData(value)) => Ok(time::parse(&value, zone)?.into()),
        (DataType::TimestampTz, DefaultValue::TimestamptzData(value)) => {
            time::check(value)?;
            Ok(value.into())
        }
        (DataType::Geometry, DefaultValue::StringData(value)) => match Shape::from_wkt(&value) {
            Ok(shape) => Ok(shape.to_wkt().into()),
            Err(reason) => Err(Error::invalid(format!(
                "the default value of geometry field {field} is no shape: {reason}"
            ))),
        },
        (_, DefaultValue::BoolData(_)) => wrong("Bool"),
        (_, DefaultValue::IntData(_)) => wrong("Int32"),
        (_, DefaultValue::LongData(_)) => wrong("Int64"),
        (_, DefaultValue::FloatData(_)) => wrong("Float"),
        (_, DefaultValue::DoubleData(_)) => wrong("Double"),
        (_, DefaultValue::StringData(_)) => wrong("VarChar"),
        (_, DefaultValue::BytesData(_)) => wrong("bytes"),
        (_, DefaultValue::TimestamptzData(_)) => wrong("Timestamptz"),
        (_, DefaultValue::DateData(_)) => wrong("Date"),
        (_, DefaultValue::TimeData(_)) => wrong("Time"),
    }
}

/// The default value as DescribeCollection shows it.
pub(super) fn default_to_wire(data_type: &DataType, value: &Value) -> Option<wire::ValueField> {
    let data = match data_type {
        DataType::Bool => DefaultValue::BoolData(value.as_bool()?),
        DataType::Int8 | DataType::Int16 | DataType::Int32 => {
            DefaultValue::IntData(i32::try_from(value.as_i64()?).ok()?)
        }
        DataType::Int64 => DefaultValue::LongData(value.as_i64()?),
        #[expect(clippy::cast_possible_truncation, reason = "a FLOAT default came as f32")]
        DataType::Float => DefaultValue::FloatData(value.as_f64()? as f32),
        DataType::Double => DefaultValue::DoubleData(value.as_f64()?),
        DataType::VarChar { .. } | DataType::Text | DataType::Geometry => {
            DefaultValue::StringData(value.as_str()?.to_string())
        }
        DataType::TimestampTz => match value.as_i64() {
            Some(micros) => DefaultValue::StringData(time::format(micros, chrono_tz::UTC)),
            None => DefaultValue::StringData(value.as_str()?.to_string()),
        },
        DataType::Json
        | DataType::Array { .. }
        | DataType::StructArray { .. }
        | DataType::FloatVector { .. }
        | DataType::Float16Vector { .. }
        | DataType::BFloat16Vector { .. }
        | DataType::Int8Vector { .. }
        | DataType::BinaryVector { .. }
        | DataType::SparseFloatVector
        | DataType::VectorArray { .. } => return None,
    };
    Some(wire::ValueField { data: Some(data) })
}
