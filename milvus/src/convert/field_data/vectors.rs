//! Vector columns: 32-bit floats, and the types that come as bytes.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, FixedSizeListArray, Float32Array, ListArray, new_empty_array};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::concat;
use arrow::datatypes::{DataType as ArrowType, Field as ArrowField};
use elanus_collection::{DataType, Field};
use milvus::proto::schema::field_data::Field as WireField;
use milvus::proto::schema::{VectorField, vector_field};

use super::mismatch;
use super::nulls::Nulls;
use crate::convert::typed_vectors;
use crate::status::{Error, Result};

pub(super) fn from_wire(field: &Field, dim: u32, vectors: VectorField, nulls: &Nulls) -> Result<ArrayRef> {
    let given_dim = vectors.dim;
    let values = match vectors.data {
        Some(vector_field::Data::FloatVector(floats)) => floats.data,
        None => Vec::new(),
        Some(other) => return Err(mismatch(field, kind(&other))),
    };
    let width = usize::try_from(dim).unwrap_or(usize::MAX).max(1);
    if values.len() % width != 0 {
        return Err(Error::invalid(format!(
            "the length({}) of float data should divide the dim({dim}): every vector of field {} must have {dim} elements, got {given_dim}",
            values.len(),
            field.name
        )));
    }
    if given_dim != i64::from(dim) && !values.is_empty() {
        return Err(Error::expected(
            format!(
                "the dim ({given_dim}) of field data({}) is not equal to schema dim ({dim})",
                field.name
            ),
            dim,
            given_dim,
        ));
    }
    nulls.check(field, values.len() / width)?;
    let values = match &nulls.valid {
        None => values,
        Some(valid) => {
            let mut spread = vec![0.0; nulls.rows * width];
            let present = spread
                .chunks_exact_mut(width)
                .zip(valid)
                .filter(|(_, valid)| **valid);
            for ((to, _), from) in present.zip(values.chunks_exact(width)) {
                to.copy_from_slice(from);
            }
            spread
        }
    };
    let ArrowType::FixedSizeList(item, size) = field.data_type.to_arrow() else {
        return Err(mismatch(field, "FloatVector"));
    };
    let values = Arc::new(Float32Array::from(values));
    Ok(Arc::new(FixedSizeListArray::try_new(
        item,
        size,
        values,
        nulls.buffer(),
    )?))
}

/// A column of vectors that come as bytes.
pub(super) fn typed_from_wire(field: &Field, vectors: VectorField, nulls: &Nulls) -> Result<ArrayRef> {
    use vector_field::Data;
    let given_dim = vectors.dim;
    let bytes = match (&field.data_type, vectors.data) {
        (DataType::SparseFloatVector, Some(Data::SparseFloatVector(rows))) => {
            return sparse_from_wire(field, &rows.contents, nulls);
        }
        (DataType::SparseFloatVector, None) => return sparse_from_wire(field, &[], nulls),
        (DataType::Float16Vector { .. }, Some(Data::Float16Vector(bytes)))
        | (DataType::BFloat16Vector { .. }, Some(Data::Bfloat16Vector(bytes)))
        | (DataType::Int8Vector { .. }, Some(Data::Int8Vector(bytes)))
        | (DataType::BinaryVector { .. }, Some(Data::BinaryVector(bytes))) => bytes,
        (_, None) => Vec::new(),
        (_, Some(other)) => return Err(mismatch(field, kind(&other))),
    };
    let (Some(width), Some(dim)) = (
        typed_vectors::vector_bytes(&field.data_type),
        field.data_type.dim(),
    ) else {
        return Err(mismatch(field, "vector"));
    };
    if given_dim != i64::from(dim) && !bytes.is_empty() {
        return Err(Error::expected(
            format!(
                "the dim ({given_dim}) of field data({}) is not equal to schema dim ({dim})",
                field.name
            ),
            dim,
            given_dim,
        ));
    }
    if width == 0 || bytes.len() % width != 0 {
        return Err(Error::invalid(format!(
            "the length({}) of {} data should divide the bytes of a vector ({width}): every vector of field {} must have dimension {dim}",
            bytes.len(),
            field.data_type.name(),
            field.name
        )));
    }
    nulls.check(field, bytes.len() / width)?;
    let bytes = match &nulls.valid {
        None => bytes,
        Some(valid) => {
            let mut spread = vec![0; nulls.rows * width];
            let present = spread
                .chunks_exact_mut(width)
                .zip(valid)
                .filter(|(_, valid)| **valid);
            for ((to, _), from) in present.zip(bytes.chunks_exact(width)) {
                to.copy_from_slice(from);
            }
            spread
        }
    };
    typed_vectors::from_bytes(field, bytes, nulls.buffer())
}

/// A list of dense vectors for each row: what a sub-field of an array of structs holds. `element` is a field of the elements'
/// type.
pub(super) fn lists_from_wire(
    element: &Field,
    payload: Option<WireField>,
    nulls: &Nulls,
) -> Result<ListArray> {
    let rows = match payload {
        Some(WireField::Vectors(VectorField {
            data: Some(vector_field::Data::VectorArray(lists)),
            ..
        })) => lists.data,
        None | Some(WireField::Vectors(VectorField { data: None, .. })) => Vec::new(),
        Some(WireField::Vectors(VectorField {
            data: Some(other), ..
        })) => {
            return Err(mismatch(element, kind(&other)));
        }
        Some(WireField::Scalars(_)) => return Err(mismatch(element, "scalar")),
        Some(WireField::StructArrays(_)) => return Err(mismatch(element, "struct")),
    };
    nulls.check(element, rows.len())?;
    let lists = rows.into_iter().map(|row| one_list(element, row));
    let lists = lists.collect::<Result<Vec<ArrayRef>>>()?;
    let lengths: Vec<Option<usize>> = nulls.options(lists.iter().map(|list| list.len())).collect();
    let parts: Vec<&dyn Array> = lists.iter().map(AsRef::as_ref).collect();
    let arrow = element.data_type.to_arrow();
    let values = if parts.is_empty() {
        new_empty_array(&arrow)
    } else {
        concat(&parts)?
    };
    let valid = NullBuffer::from_iter(lengths.iter().map(Option::is_some));
    let item = Arc::new(ArrowField::new_list_field(arrow, true));
    let offsets = OffsetBuffer::from_lengths(lengths.into_iter().map(Option::unwrap_or_default));
    let nulls = (valid.null_count() > 0).then_some(valid);
    Ok(ListArray::try_new(item, offsets, values, nulls)?)
}

/// The vectors of one row.
fn one_list(element: &Field, row: VectorField) -> Result<ArrayRef> {
    let dim = element.data_type.dim().unwrap_or(0);
    let width = dim.max(1) as usize;
    let bytes = typed_vectors::vector_bytes(&element.data_type)
        .unwrap_or(width)
        .max(1);
    let count = match &row.data {
        None => 0,
        Some(vector_field::Data::FloatVector(floats)) => floats.data.len() / width,
        Some(
            vector_field::Data::Float16Vector(data)
            | vector_field::Data::Bfloat16Vector(data)
            | vector_field::Data::Int8Vector(data)
            | vector_field::Data::BinaryVector(data),
        ) => data.len() / bytes,
        Some(other @ (vector_field::Data::SparseFloatVector(_) | vector_field::Data::VectorArray(_))) => {
            return Err(mismatch(element, kind(other)));
        }
    };
    let nulls = Nulls::of(element, Vec::new(), count)?;
    if let DataType::FloatVector { dim } = &element.data_type {
        from_wire(element, *dim, row, &nulls)
    } else {
        typed_from_wire(element, row, &nulls)
    }
}

fn sparse_from_wire(field: &Field, rows: &[Vec<u8>], nulls: &Nulls) -> Result<ArrayRef> {
    nulls.check(field, rows.len())?;
    typed_vectors::from_sparse(field, nulls.options(rows.iter().map(Vec::as_slice)))
}

/// The type of these vectors.
fn kind(data: &vector_field::Data) -> &'static str {
    match data {
        vector_field::Data::FloatVector(_) => "FloatVector",
        vector_field::Data::BinaryVector(_) => "BinaryVector",
        vector_field::Data::Float16Vector(_) => "Float16Vector",
        vector_field::Data::Bfloat16Vector(_) => "BFloat16Vector",
        vector_field::Data::SparseFloatVector(_) => "SparseFloatVector",
        vector_field::Data::Int8Vector(_) => "Int8Vector",
        vector_field::Data::VectorArray(_) => "ArrayOfVector",
    }
}
