//! Rows of a vector column of any type, as the index crate's kernels take them.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::buffer::{NullBuffer, ScalarBuffer};
use arrow::datatypes::{Float16Type, Float32Type, Int8Type, UInt32Type};
use datafusion::common::exec_err;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::ColumnarValue;
use elanus_index::kernels::narrow::{bfloat16_to_f32, half_to_f32};
use elanus_index::typed::{Elements, Rows};
use elanus_index::{ShapeError, SparseVector, SparseVectors, VectorRef, Vectors};

use super::convert::to_vectors;
use super::kind::VectorKind;

/// Vectors of one type. A single value stands for every row.
pub(crate) struct TypedColumn {
    values: Values,
    nulls: Option<NullBuffer>,
    rows: usize,
    single: bool,
}

enum Values {
    Floats(ScalarBuffer<f32>, usize),
    Halves(Vec<u16>, usize),
    BFloat16s(Vec<u16>, usize),
    Int8s(ScalarBuffer<i8>, usize),
    Bits(arrow::buffer::Buffer, usize),
    Sparse {
        offsets: ScalarBuffer<i32>,
        indices: ScalarBuffer<u32>,
        values: ScalarBuffer<f32>,
    },
}

impl TypedColumn {
    /// Reads `value` as vectors of `kind`; text and lists are converted, see [`to_vectors`].
    ///
    /// # Errors
    /// What cannot be a vector of this kind.
    pub(crate) fn new(kind: VectorKind, from: Option<VectorKind>, value: &ColumnarValue) -> Result<Self> {
        let (array, single) = match value {
            ColumnarValue::Array(array) => (Arc::clone(array), false),
            ColumnarValue::Scalar(scalar) => (scalar.to_array()?, true),
        };
        let array = if from == Some(kind) {
            array
        } else {
            to_vectors(kind, from, &array, false)?
        };
        let Some(values) = values_of(kind, &array) else {
            return exec_err!("a value of type {} is no {kind}", array.data_type());
        };
        Ok(Self {
            values,
            nulls: array.nulls().cloned(),
            rows: array.len(),
            single,
        })
    }

    pub(crate) fn is_single(&self) -> bool {
        self.single
    }

    /// The vector of row `row`, none when NULL.
    pub(crate) fn row(&self, row: usize) -> Option<VectorRef<'_>> {
        let row = if self.single { 0 } else { row };
        if row >= self.rows || self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            return None;
        }
        Some(match &self.values {
            Values::Floats(values, dim) => VectorRef::Floats(cut(values, row, *dim)?),
            Values::Halves(values, dim) => VectorRef::Halves(cut(values, row, *dim)?),
            Values::BFloat16s(values, dim) => VectorRef::BFloat16s(cut(values, row, *dim)?),
            Values::Int8s(values, dim) => VectorRef::Int8s(cut(values, row, *dim)?),
            Values::Bits(values, width) => VectorRef::Bits(cut(values, row, *width)?),
            Values::Sparse {
                offsets,
                indices,
                values,
            } => {
                let rows = SparseVectors::new(offsets, indices, values).ok();
                VectorRef::Sparse(rows.map_or(SparseVector::empty(), |rows| rows.row(row)))
            }
        })
    }
}

impl TypedColumn {
    /// All vectors, as elements of lists.
    ///
    /// # Errors
    /// Sparse vectors, which are none.
    pub(crate) fn elements(&self) -> Result<Elements<'_>> {
        let bad = |e: ShapeError| DataFusionError::Execution(e.to_string());
        Ok(match &self.values {
            Values::Floats(values, dim) => Elements::Floats(Vectors::new(values, *dim).map_err(bad)?),
            Values::Halves(values, dim) => Elements::Halves(Rows::new(values, *dim).map_err(bad)?),
            Values::BFloat16s(values, dim) => Elements::BFloat16s(Rows::new(values, *dim).map_err(bad)?),
            Values::Int8s(values, dim) => Elements::Int8s(Rows::new(values, *dim).map_err(bad)?),
            Values::Bits(values, width) => Elements::Bits(Rows::new(values, *width).map_err(bad)?),
            Values::Sparse { .. } => return exec_err!("sparse vectors are no elements of lists"),
        })
    }
}

fn cut<T>(values: &[T], row: usize, dim: usize) -> Option<&[T]> {
    values.get(row * dim..(row + 1) * dim)
}

fn values_of(kind: VectorKind, array: &ArrayRef) -> Option<Values> {
    let items = || Some(Arc::clone(array.as_fixed_size_list_opt()?.values()));
    let bytes = || array.as_fixed_size_binary_opt();
    let dim = kind.dim().unwrap_or(0);
    Some(match kind {
        VectorKind::Float(_) => {
            Values::Floats(items()?.as_primitive_opt::<Float32Type>()?.values().clone(), dim)
        }
        VectorKind::Half(_) => {
            let items = items()?;
            let halves = items.as_primitive_opt::<Float16Type>()?;
            Values::Halves(halves.values().iter().map(|half| half.to_bits()).collect(), dim)
        }
        VectorKind::Int8(_) => Values::Int8s(items()?.as_primitive_opt::<Int8Type>()?.values().clone(), dim),
        VectorKind::BFloat16(_) => {
            let (pairs, _) = bytes()?.value_data().as_chunks::<2>();
            Values::BFloat16s(pairs.iter().map(|pair| u16::from_le_bytes(*pair)).collect(), dim)
        }
        VectorKind::Bit(_) => Values::Bits(bytes()?.values().clone(), dim / 8),
        VectorKind::Sparse => {
            let lists = array.as_list_opt::<i32>()?;
            let elements = lists.values().as_struct_opt()?;
            Values::Sparse {
                offsets: lists.offsets().inner().clone(),
                indices: elements
                    .column_by_name("index")?
                    .as_primitive_opt::<UInt32Type>()?
                    .values()
                    .clone(),
                values: elements
                    .column_by_name("value")?
                    .as_primitive_opt::<Float32Type>()?
                    .values()
                    .clone(),
            }
        }
    })
}

/// The numbers of a vector; none for bits and sparse vectors.
pub(crate) fn numbers(vector: VectorRef<'_>) -> Option<Vec<f32>> {
    match vector {
        VectorRef::Floats(values) => Some(values.to_vec()),
        VectorRef::Halves(bits) => Some(bits.iter().map(|bits| half_to_f32(*bits)).collect()),
        VectorRef::BFloat16s(bits) => Some(bits.iter().map(|bits| bfloat16_to_f32(*bits)).collect()),
        VectorRef::Int8s(values) => Some(values.iter().map(|value| f32::from(*value)).collect()),
        VectorRef::Bits(_) | VectorRef::Sparse(_) | VectorRef::Terms(_) | VectorRef::List(_) => None,
    }
}
