//! Scalar columns: numbers, text, instants; JSON and arrays have files of their own.

use std::ops::RangeInclusive;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, PrimitiveArray, StringBuilder, TimestampMicrosecondArray,
};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::{
    ArrowPrimitiveType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    TimestampMicrosecondType,
};
use chrono_tz::Tz;
use elanus_collection::{CollectionSchema, DataType, Field};
use milvus::proto::schema::scalar_field::Data;

use super::nulls::Nulls;
use super::{arrays, json, mismatch};
use crate::convert::time;
use crate::status::{Error, Result};

/// Values of an INT8, which the wire carries as 32-bit integers.
pub(super) const INT8: RangeInclusive<i32> = i8::MIN as i32..=i8::MAX as i32;
/// Values of an INT16, which the wire carries as 32-bit integers.
pub(super) const INT16: RangeInclusive<i32> = i16::MIN as i32..=i16::MAX as i32;

pub(super) fn from_wire(
    schema: &CollectionSchema,
    field: &Field,
    data: Option<Data>,
    nulls: &Nulls,
    zone: Tz,
) -> Result<ArrayRef> {
    let Some(data) = data else {
        // Nothing at all: only right when every row is null.
        nulls.check(field, 0)?;
        return Ok(arrow::array::new_null_array(
            &field.data_type.to_arrow(),
            nulls.rows,
        ));
    };
    Ok(match (&field.data_type, data) {
        (DataType::Bool, Data::BoolData(values)) => {
            nulls.check(field, values.data.len())?;
            Arc::new(BooleanArray::new(
                nulls.spread(values.data).into(),
                nulls.buffer(),
            ))
        }
        (DataType::Int8, Data::IntData(values)) => Arc::new(primitive::<Int8Type>(
            field,
            narrow(field, values.data, &INT8)?,
            nulls,
        )?),
        (DataType::Int16, Data::IntData(values)) => Arc::new(primitive::<Int16Type>(
            field,
            narrow(field, values.data, &INT16)?,
            nulls,
        )?),
        (DataType::Int32, Data::IntData(values)) => {
            Arc::new(primitive::<Int32Type>(field, values.data, nulls)?)
        }
        (DataType::Int64, Data::LongData(values)) => {
            Arc::new(primitive::<Int64Type>(field, values.data, nulls)?)
        }
        (DataType::Float, Data::FloatData(values)) => {
            Arc::new(primitive::<Float32Type>(field, values.data, nulls)?)
        }
        (DataType::Double, Data::DoubleData(values)) => {
            Arc::new(primitive::<Float64Type>(field, values.data, nulls)?)
        }
        (DataType::VarChar { .. } | DataType::Text, Data::StringData(values)) => {
            nulls.check(field, values.data.len())?;
            texts(&values.data, nulls)
        }
        (DataType::Json, Data::JsonData(values)) => {
            nulls.check(field, values.data.len())?;
            json::from_wire(schema, field, &values.data, nulls)?
        }
        (DataType::TimestampTz, Data::TimestamptzData(values)) => {
            values.data.iter().try_for_each(|micros| time::check(*micros))?;
            Arc::new(instants(field, values.data, nulls)?)
        }
        (DataType::TimestampTz, Data::StringData(values)) => {
            let micros = values
                .data
                .iter()
                .map(|text| time::parse(text, zone))
                .collect::<Result<Vec<_>>>()?;
            Arc::new(instants(field, micros, nulls)?)
        }
        // The writer reads the shapes.
        (DataType::Geometry, Data::GeometryWktData(values)) => {
            nulls.check(field, values.data.len())?;
            texts(&values.data, nulls)
        }
        (DataType::Geometry, Data::GeometryData(values)) => {
            nulls.check(field, values.data.len())?;
            Arc::new(nulls.options(&values.data).collect::<BinaryArray>())
        }
        (DataType::Array { element, .. }, Data::ArrayData(values)) => {
            nulls.check(field, values.data.len())?;
            arrays::from_wire(field, element, values.data, nulls)?
        }
        (_, other) => return Err(mismatch(field, kind(&other))),
    })
}

fn primitive<T: ArrowPrimitiveType>(
    field: &Field,
    values: Vec<T::Native>,
    nulls: &Nulls,
) -> Result<PrimitiveArray<T>>
where
    T::Native: Default,
{
    nulls.check(field, values.len())?;
    Ok(PrimitiveArray::try_new(
        ScalarBuffer::from(nulls.spread(values)),
        nulls.buffer(),
    )?)
}

/// Narrows the 32-bit integers of the wire to a type of this range.
pub(super) fn narrow<N: TryFrom<i32>>(
    field: &Field,
    values: Vec<i32>,
    range: &RangeInclusive<i32>,
) -> Result<Vec<N>> {
    values
        .into_iter()
        .map(|value| {
            N::try_from(value).map_err(|_| {
                Error::invalid(format!(
                    "the value {value} of field {} is out of range: {} <= value <= {}",
                    field.name,
                    range.start(),
                    range.end()
                ))
            })
        })
        .collect()
}

fn instants(field: &Field, micros: Vec<i64>, nulls: &Nulls) -> Result<TimestampMicrosecondArray> {
    Ok(primitive::<TimestampMicrosecondType>(field, micros, nulls)?.with_timezone("UTC"))
}

fn texts(values: &[String], nulls: &Nulls) -> ArrayRef {
    let bytes = values.iter().map(String::len).sum();
    let mut builder = StringBuilder::with_capacity(nulls.rows, bytes);
    for value in nulls.options(values) {
        builder.append_option(value);
    }
    Arc::new(builder.finish())
}

/// The wire name of a column's values.
pub(super) fn kind(data: &Data) -> &'static str {
    match data {
        Data::BoolData(_) => "bool",
        Data::IntData(_) => "int32",
        Data::LongData(_) => "int64",
        Data::FloatData(_) => "float",
        Data::DoubleData(_) => "double",
        Data::StringData(_) => "string",
        Data::BytesData(_) => "bytes",
        Data::ArrayData(_) => "array",
        Data::JsonData(_) => "json",
        Data::GeometryData(_) | Data::GeometryWktData(_) => "geometry",
        Data::TimestamptzData(_) => "timestamptz",
        Data::MolData(_) | Data::MolSmilesData(_) => "mol",
        Data::DateData(_) => "date",
        Data::TimeData(_) => "time",
    }
}
