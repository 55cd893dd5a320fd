//! Vectors of other types than 32-bit floats: bytes of the wire as Arrow columns, and back.
//!
//! | type | a vector on the wire |
//! |---|---|
//! | Float16Vector, BFloat16Vector | two bytes for each element, little-endian |
//! | Int8Vector | a byte for each element |
//! | BinaryVector | a byte for eight bits, the first bit the highest |
//! | SparseFloatVector | a `u32` index and an `f32` value for each element, little-endian, indexes ascending |

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeBinaryArray, FixedSizeListArray, Float32Array, ListArray,
    PrimitiveArray, StructArray, UInt32Array,
};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType as ArrowType, Float16Type, Float32Type, Int8Type, UInt32Type,
};
use elanus_collection::{DataType, Field};
use milvus::proto::schema::{SparseFloatArray, VectorField, vector_field};

use crate::status::{Error, Result};

/// Bytes of a sparse vector's element.
const ELEMENT_BYTES: usize = 8;

/// Bytes of one vector; none for a sparse one, and for types that do not come as bytes.
pub(crate) fn vector_bytes(data_type: &DataType) -> Option<usize> {
    let dim = usize::try_from(data_type.dim()?).ok()?;
    match data_type {
        DataType::Float16Vector { .. } | DataType::BFloat16Vector { .. } => dim.checked_mul(2),
        DataType::Int8Vector { .. } => Some(dim),
        DataType::BinaryVector { .. } => Some(dim / 8),
        DataType::FloatVector { .. }
        | DataType::SparseFloatVector
        | DataType::Bool
        | DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::Float
        | DataType::Double
        | DataType::VarChar { .. }
        | DataType::Text
        | DataType::Json
        | DataType::Array { .. }
        | DataType::StructArray { .. }
        | DataType::TimestampTz
        | DataType::Geometry
        | DataType::VectorArray { .. } => None,
    }
}

/// Vectors of one length from their bytes, one after the other; a null row has bytes as well.
///
/// # Errors
/// When the bytes are not one vector for each row.
pub(crate) fn from_bytes(field: &Field, bytes: Vec<u8>, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
    let arrow = field.data_type.to_arrow();
    if let ArrowType::FixedSizeBinary(width) = arrow {
        let values = Buffer::from_vec(bytes);
        return Ok(Arc::new(FixedSizeBinaryArray::try_new(width, values, nulls)?));
    }
    let ArrowType::FixedSizeList(item, dim) = arrow else {
        return Err(Error::unexpected(format!(
            "internal error: field {} of type {} does not come as bytes",
            field.name,
            field.data_type.name()
        )));
    };
    let values = if item.data_type() == &ArrowType::Float16 {
        let (pairs, _) = bytes.as_chunks::<2>();
        let bits: Vec<u16> = pairs.iter().map(|pair| u16::from_le_bytes(*pair)).collect();
        numbers::<Float16Type>(bits.len(), Buffer::from_vec(bits))
    } else {
        numbers::<Int8Type>(bytes.len(), Buffer::from_vec(bytes))
    };
    Ok(Arc::new(FixedSizeListArray::try_new(item, dim, values, nulls)?))
}

fn numbers<T: ArrowPrimitiveType>(count: usize, buffer: Buffer) -> ArrayRef {
    let values = ScalarBuffer::<T::Native>::new(buffer, 0, count);
    Arc::new(PrimitiveArray::<T>::new(values, None))
}

/// Sparse vectors from the bytes of each; `None` is a null row.
///
/// # Errors
/// As Milvus: bytes that are no elements, indexes that do not ascend or are too large, values that are negative or not
/// finite.
pub(crate) fn from_sparse<'a>(
    field: &Field,
    rows: impl Iterator<Item = Option<&'a [u8]>>,
) -> Result<ArrayRef> {
    let (mut indices, mut values): (Vec<u32>, Vec<f32>) = (Vec::new(), Vec::new());
    let (mut lengths, mut valid) = (Vec::new(), Vec::new());
    for row in rows {
        valid.push(row.is_some());
        let before = indices.len();
        for (index, value) in sparse_elements(row.unwrap_or_default())? {
            indices.push(index);
            values.push(value);
        }
        lengths.push(indices.len() - before);
    }
    if i32::try_from(indices.len()).is_err() {
        return Err(Error::invalid(format!(
            "sparse vectors of field {} have {} elements together, at most {} are allowed",
            field.name,
            indices.len(),
            i32::MAX
        )));
    }
    let ArrowType::List(item) = field.data_type.to_arrow() else {
        return Err(Error::unexpected(format!(
            "internal error: field {} is not sparse",
            field.name
        )));
    };
    let ArrowType::Struct(fields) = item.data_type() else {
        return Err(Error::unexpected(
            "internal error: a sparse vector has no elements",
        ));
    };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(UInt32Array::from(indices)),
        Arc::new(Float32Array::from(values)),
    ];
    let elements = StructArray::try_new(fields.clone(), columns, None)?;
    let nulls = NullBuffer::from(valid);
    let nulls = (nulls.null_count() > 0).then_some(nulls);
    Ok(Arc::new(ListArray::try_new(
        item,
        OffsetBuffer::from_lengths(lengths),
        Arc::new(elements),
        nulls,
    )?))
}

fn sparse_elements(bytes: &[u8]) -> Result<Vec<(u32, f32)>> {
    let (elements, rest) = bytes.as_chunks::<ELEMENT_BYTES>();
    if !rest.is_empty() {
        return Err(Error::invalid(format!(
            "invalid data length in sparse float vector: {}, it must be a multiple of {ELEMENT_BYTES}",
            bytes.len()
        )));
    }
    let mut read: Vec<(u32, f32)> = Vec::with_capacity(elements.len());
    for element in elements {
        let [a, b, c, d, e, f, g, h] = *element;
        let (index, value) = (u32::from_le_bytes([a, b, c, d]), f32::from_le_bytes([e, f, g, h]));
        if index == u32::MAX {
            return Err(Error::invalid(format!(
                "invalid index in sparse float vector: {index}, must be less than 2^32-1"
            )));
        }
        if let Some((last, _)) = read.last()
            && *last >= index
        {
            return Err(Error::invalid(format!(
                "unsorted or same indices in sparse float vector: {last} before {index}"
            )));
        }
        if !value.is_finite() {
            return Err(Error::invalid(format!(
                "value '{value}' in sparse float vector is not a number or infinity: only finite values are allowed"
            )));
        }
        if value < 0.0 {
            return Err(Error::invalid(format!(
                "negative value in sparse float vector: {value}"
            )));
        }
        read.push((index, value));
    }
    Ok(read)
}

/// A column as the wire has it: the vectors that are there, compact. None for a type that does not come as bytes.
pub(crate) fn to_wire(data_type: &DataType, column: &ArrayRef) -> Option<VectorField> {
    let there = (0..column.len()).filter(|row| column.is_valid(*row));
    let data = match data_type {
        DataType::Float16Vector { .. } => {
            let list = column.as_fixed_size_list_opt()?;
            list.values().as_primitive_opt::<Float16Type>()?;
            let vector = |row| {
                let values = list.value(row);
                let halves = values.as_primitive::<Float16Type>().values();
                halves
                    .iter()
                    .flat_map(|half| half.to_le_bytes())
                    .collect::<Vec<u8>>()
            };
            vector_field::Data::Float16Vector(there.flat_map(vector).collect())
        }
        DataType::Int8Vector { .. } => {
            let list = column.as_fixed_size_list_opt()?;
            list.values().as_primitive_opt::<Int8Type>()?;
            let vector = |row| {
                let values = list.value(row);
                let values = values.as_primitive::<Int8Type>().values();
                values
                    .iter()
                    .map(|value| value.cast_unsigned())
                    .collect::<Vec<u8>>()
            };
            vector_field::Data::Int8Vector(there.flat_map(vector).collect())
        }
        DataType::BFloat16Vector { .. } | DataType::BinaryVector { .. } => {
            let vectors = column.as_fixed_size_binary_opt()?;
            let bytes = there.flat_map(|row| vectors.value(row)).copied().collect();
            if matches!(data_type, DataType::BinaryVector { .. }) {
                vector_field::Data::BinaryVector(bytes)
            } else {
                vector_field::Data::Bfloat16Vector(bytes)
            }
        }
        DataType::SparseFloatVector => {
            let lists = column.as_list_opt::<i32>()?;
            let elements = lists.values().as_struct_opt()?;
            let indices = elements
                .column_by_name("index")?
                .as_primitive_opt::<UInt32Type>()?;
            let values = elements
                .column_by_name("value")?
                .as_primitive_opt::<Float32Type>()?;
            let mut dim = 0;
            let mut contents = Vec::with_capacity(lists.len());
            for row in there {
                let mut bytes = Vec::new();
                let offsets = lists.value_offsets();
                let bound = |row: usize| offsets.get(row).and_then(|offset| usize::try_from(*offset).ok());
                for place in bound(row)?..bound(row + 1)? {
                    let (index, value) = (*indices.values().get(place)?, *values.values().get(place)?);
                    bytes.extend(index.to_le_bytes());
                    bytes.extend(value.to_le_bytes());
                    dim = dim.max(i64::from(index) + 1);
                }
                contents.push(bytes);
            }
            return Some(VectorField {
                dim,
                data: Some(vector_field::Data::SparseFloatVector(SparseFloatArray {
                    contents,
                    dim,
                })),
                ..Default::default()
            });
        }
        DataType::FloatVector { .. }
        | DataType::Bool
        | DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::Float
        | DataType::Double
        | DataType::VarChar { .. }
        | DataType::Text
        | DataType::Json
        | DataType::Array { .. }
        | DataType::StructArray { .. }
        | DataType::TimestampTz
        | DataType::Geometry
        | DataType::VectorArray { .. } => return None,
    };
    Some(VectorField {
        dim: i64::from(data_type.dim()?),
        data: Some(data),
        ..Default::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(data_type: DataType) -> Field {
        Field::new("v", data_type)
    }

    #[test]
    fn bytes_come_back_as_sent_and_nulls_are_left_out() {
        for data_type in [
            DataType::Float16Vector { dim: 4 },
            DataType::BFloat16Vector { dim: 4 },
            DataType::Int8Vector { dim: 8 },
            DataType::BinaryVector { dim: 64 },
        ] {
            let field = field(data_type);
            assert_eq!(vector_bytes(&field.data_type), Some(8));
            let bytes: Vec<u8> = (0..24).collect();
            let nulls = NullBuffer::from(vec![true, false, true]);
            let column = from_bytes(&field, bytes.clone(), Some(nulls)).unwrap();
            assert_eq!(column.data_type(), &field.data_type.to_arrow());
            let wire = to_wire(&field.data_type, &column).unwrap();
            let expected: Vec<u8> = (0..8).chain(16..24).collect();
            let (vector_field::Data::Float16Vector(got)
            | vector_field::Data::Bfloat16Vector(got)
            | vector_field::Data::Int8Vector(got)
            | vector_field::Data::BinaryVector(got)) = wire.data.unwrap()
            else {
                panic!("not bytes")
            };
            assert_eq!(got, expected);
            assert_eq!(wire.dim, i64::from(field.data_type.dim().unwrap()));
            assert!(from_bytes(&field, bytes[..9].to_vec(), None).is_err() || column.len() != 1);
        }
    }

    fn sparse(elements: &[(u32, f32)]) -> Vec<u8> {
        let bytes = |(index, value): &(u32, f32)| [index.to_le_bytes(), value.to_le_bytes()].concat();
        elements.iter().flat_map(bytes).collect()
    }

    #[test]
    fn sparse_rows_come_back_as_sent() {
        let field = field(DataType::SparseFloatVector);
        let rows = [Some(sparse(&[(1, 0.5), (7, 2.0)])), None, Some(Vec::new())];
        let column = from_sparse(&field, rows.iter().map(|row| row.as_deref())).unwrap();
        assert_eq!(column.data_type(), &field.data_type.to_arrow());
        let wire = to_wire(&field.data_type, &column).unwrap();
        let Some(vector_field::Data::SparseFloatVector(array)) = wire.data else {
            panic!("not sparse")
        };
        assert_eq!(array.contents, [sparse(&[(1, 0.5), (7, 2.0)]), Vec::new()]);
        assert_eq!(array.dim, 8);
    }

    #[test]
    fn sparse_mistakes_read_as_in_milvus() {
        let error = |bytes: Vec<u8>| {
            let field = field(DataType::SparseFloatVector);
            from_sparse(&field, [Some(bytes.as_slice())].into_iter())
                .unwrap_err()
                .to_string()
        };
        assert!(error(vec![1; 9]).contains("invalid data length in sparse float vector: 9"));
        assert!(
            error(sparse(&[(3, 1.0), (3, 1.0)])).contains("unsorted or same indices in sparse float vector")
        );
        assert!(error(sparse(&[(u32::MAX, 1.0)])).contains("must be less than 2^32-1"));
        assert!(error(sparse(&[(1, -1.0)])).contains("negative value in sparse float vector"));
        assert!(error(sparse(&[(1, f32::NAN)])).contains("not a number or infinity"));
    }
}
