//! ARRAY columns: on the wire one scalar field per row.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float32Array, Float64Array, Int8Array, Int16Array, Int32Array, Int64Array,
    ListArray, StringArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::DataType as ArrowType;
use elanus_collection::{DataType, Field};
use milvus::proto::schema::ScalarField;
use milvus::proto::schema::scalar_field::Data;

use super::mismatch;
use super::nulls::Nulls;
use super::scalars::{INT8, INT16, kind, narrow};
use crate::status::{Error, Result};

pub(super) fn from_wire(
    field: &Field,
    element: &DataType,
    rows: Vec<ScalarField>,
    nulls: &Nulls,
) -> Result<ArrayRef> {
    if rows.iter().any(|row| row.valid_data.contains(&false)) {
        return Err(Error::unsupported(format!(
            "null elements in array field {}",
            field.name
        )));
    }
    let rows = nulls.spread(rows);
    let mut lengths = Vec::with_capacity(rows.len());
    // The elements of all rows, one after the other; a row without data is an empty array.
    macro_rules! elements {
        ($variant:ident) => {{
            let mut all = Vec::new();
            for row in rows {
                match row.data {
                    Some(Data::$variant(values)) => {
                        lengths.push(values.data.len());
                        all.extend(values.data);
                    }
                    None => lengths.push(0),
                    Some(other) => return Err(mismatch(field, kind(&other))),
                }
            }
            all
        }};
    }
    let values: ArrayRef = match element {
        DataType::Bool => Arc::new(BooleanArray::from(elements!(BoolData))),
        DataType::Int8 => Arc::new(Int8Array::from(narrow::<i8>(field, elements!(IntData), &INT8)?)),
        DataType::Int16 => Arc::new(Int16Array::from(narrow::<i16>(
            field,
            elements!(IntData),
            &INT16,
        )?)),
        DataType::Int32 => Arc::new(Int32Array::from(elements!(IntData))),
        DataType::Int64 => Arc::new(Int64Array::from(elements!(LongData))),
        DataType::Float => Arc::new(Float32Array::from(elements!(FloatData))),
        DataType::Double => Arc::new(Float64Array::from(elements!(DoubleData))),
        DataType::VarChar { .. } => Arc::new(StringArray::from(elements!(StringData))),
        DataType::Text
        | DataType::Json
        | DataType::Array { .. }
        | DataType::StructArray { .. }
        | DataType::TimestampTz
        | DataType::Geometry
        | DataType::FloatVector { .. }
        | DataType::Float16Vector { .. }
        | DataType::BFloat16Vector { .. }
        | DataType::Int8Vector { .. }
        | DataType::BinaryVector { .. }
        | DataType::SparseFloatVector
        | DataType::VectorArray { .. } => {
            return Err(mismatch(field, element.name()));
        }
    };
    let ArrowType::List(item) = field.data_type.to_arrow() else {
        return Err(mismatch(field, "array"));
    };
    Ok(Arc::new(ListArray::try_new(
        item,
        OffsetBuffer::from_lengths(lengths),
        values,
        nulls.buffer(),
    )?))
}
