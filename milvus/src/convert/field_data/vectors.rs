//! Vector columns.

use std::sync::Arc;

use arrow::array::{ArrayRef, FixedSizeListArray, Float32Array};
use arrow::datatypes::DataType as ArrowType;
use elanus_collection::Field;
use milvus::proto::schema::{VectorField, vector_field};

use super::mismatch;
use super::nulls::Nulls;
use crate::status::{Error, Result};

pub(super) fn from_wire(field: &Field, dim: u32, vectors: VectorField, nulls: &Nulls) -> Result<ArrayRef> {
    let given_dim = vectors.dim;
    let values = match vectors.data {
        Some(vector_field::Data::FloatVector(floats)) => floats.data,
        None => Vec::new(),
        Some(vector_field::Data::BinaryVector(_)) => return Err(mismatch(field, "BinaryVector")),
        Some(vector_field::Data::Float16Vector(_)) => return Err(mismatch(field, "Float16Vector")),
        Some(vector_field::Data::Bfloat16Vector(_)) => return Err(mismatch(field, "BFloat16Vector")),
        Some(vector_field::Data::SparseFloatVector(_)) => return Err(mismatch(field, "SparseFloatVector")),
        Some(vector_field::Data::Int8Vector(_)) => return Err(mismatch(field, "Int8Vector")),
        Some(vector_field::Data::VectorArray(_)) => return Err(mismatch(field, "ArrayOfVector")),
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
