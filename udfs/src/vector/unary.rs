//! Functions of one vector: `l2_normalize(v)`, `l2_norm(v)`, `vector_dims(v)`.

use std::sync::Arc;

use arrow::array::{ArrayRef, FixedSizeListArray, Float32Array, Float64Builder, Int64Array, ListBuilder};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::plan_err;
use datafusion::common::utils::take_function_args;
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use elanus_index::VectorRef;

use super::column::{Row, VectorColumn, coerce, is_engine_vector};
use super::kind::VectorKind;
use super::typed::{TypedColumn, numbers};
use crate::arguments::finish;

/// What is computed of a vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VectorProperty {
    /// The vector at length 1; the zero vector stays. Engine vectors keep their type, others become `List<Float64>`.
    Normalize,
    /// Euclidean length, `Float64`.
    Norm,
    /// Number of dimensions, `Int64`.
    Dims,
}

/// The scalar function of a [`VectorProperty`].
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct UnaryVectorFunction {
    property: VectorProperty,
    signature: Signature,
}

impl UnaryVectorFunction {
    /// The function for `property`.
    pub fn new(property: VectorProperty) -> Self {
        Self {
            property,
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }
}

impl UnaryVectorFunction {
    fn check_kind(&self, kind: VectorKind) -> Result<()> {
        let name = self.name();
        match (self.property, kind) {
            (_, VectorKind::Float(_))
            | (
                VectorProperty::Norm,
                VectorKind::Half(_) | VectorKind::BFloat16(_) | VectorKind::Int8(_) | VectorKind::Sparse,
            )
            | (
                VectorProperty::Dims,
                VectorKind::Half(_) | VectorKind::BFloat16(_) | VectorKind::Int8(_) | VectorKind::Bit(_),
            ) => Ok(()),
            (VectorProperty::Normalize, _) => {
                plan_err!("{name} takes a VECTOR, got {kind}; cast it: v::vector(n)")
            }
            (VectorProperty::Norm, VectorKind::Bit(_)) => {
                plan_err!("{name} takes a vector of numbers, got {kind}")
            }
            (VectorProperty::Dims, VectorKind::Sparse) => {
                plan_err!("{name}: a {kind} has no fixed dimension")
            }
        }
    }

    fn invoke_typed(&self, kind: VectorKind, vector: &ColumnarValue, rows: usize) -> Result<ColumnarValue> {
        self.check_kind(kind)?;
        let column = TypedColumn::new(kind, Some(kind), vector)?;
        let rows = if column.is_single() { 1 } else { rows };
        let vectors = (0..rows).map(|row| column.row(row));
        let result: ArrayRef = match self.property {
            VectorProperty::Dims => {
                let dims = vectors.map(|vector| vector.map(|vector| vector.dim() as i64));
                Arc::new(dims.collect::<Int64Array>())
            }
            VectorProperty::Norm | VectorProperty::Normalize => {
                let norms = vectors.map(|vector| {
                    vector.map(|vector| match vector {
                        VectorRef::Sparse(vector) => norm(Row::F32(vector.values())),
                        other @ (VectorRef::Floats(_)
                        | VectorRef::Halves(_)
                        | VectorRef::BFloat16s(_)
                        | VectorRef::Int8s(_)
                        | VectorRef::Bits(_)
                        | VectorRef::Terms(_)
                        | VectorRef::List(_)) => norm(Row::F32(&numbers(other).unwrap_or_default())),
                    })
                });
                Arc::new(norms.collect::<arrow::array::Float64Array>())
            }
        };
        finish(result, column.is_single())
    }
}

impl ScalarUDFImpl for UnaryVectorFunction {
    fn name(&self) -> &str {
        match self.property {
            VectorProperty::Normalize => "l2_normalize",
            VectorProperty::Norm => "l2_norm",
            VectorProperty::Dims => "vector_dims",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        let [vector] = take_function_args(self.name(), arg_types)?;
        Ok(match self.property {
            VectorProperty::Norm => DataType::Float64,
            VectorProperty::Dims => DataType::Int64,
            VectorProperty::Normalize if is_engine_vector(vector) => vector.clone(),
            VectorProperty::Normalize => {
                DataType::List(Arc::new(Field::new_list_field(DataType::Float64, true)))
            }
        })
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let [vector] = take_function_args(self.name(), args.arg_fields)?;
        if let Some(kind) = VectorKind::of(vector) {
            self.check_kind(kind)?;
        }
        let data_type = self.return_type(&[vector.data_type().clone()])?;
        Ok(Arc::new(Field::new(self.name(), data_type, true)))
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let [vector] = take_function_args(self.name(), arg_types)?;
        match VectorKind::of_type(vector) {
            Some(VectorKind::Float(_)) | None => Ok(vec![coerce(self.name(), vector)?]),
            Some(_) => Ok(vec![vector.clone()]),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [vector] = take_function_args(self.name(), &args.args)?;
        let [field] = take_function_args(self.name(), &args.arg_fields)?;
        if let Some(kind) = VectorKind::of(field)
            && !matches!(kind, VectorKind::Float(_))
        {
            return self.invoke_typed(kind, vector, args.number_rows);
        }
        let column = VectorColumn::new(self.name(), vector, false)?;
        let rows = if column.is_single() { 1 } else { args.number_rows };
        let vectors = (0..rows).map(|row| column.row(row));
        let result: ArrayRef = match self.property {
            VectorProperty::Dims => Arc::new(
                vectors
                    .map(|vector| vector.map(|vector| vector.dim() as i64))
                    .collect::<Int64Array>(),
            ),
            VectorProperty::Norm => Arc::new(
                vectors
                    .map(|vector| vector.map(norm))
                    .collect::<arrow::array::Float64Array>(),
            ),
            VectorProperty::Normalize => {
                if let DataType::FixedSizeList(item, dim) = args.return_field.data_type() {
                    normalize_fixed(vectors, item, *dim)?
                } else {
                    normalize_lists(vectors)
                }
            }
        };
        finish(result, column.is_single())
    }
}

fn norm(vector: Row<'_>) -> f64 {
    match vector {
        Row::F32(values) => values
            .iter()
            .map(|value| f64::from(*value) * f64::from(*value))
            .sum::<f64>()
            .sqrt(),
        Row::F64(values) => values.iter().map(|value| value * value).sum::<f64>().sqrt(),
    }
}

/// What to divide `vector` by to bring it to length 1; 1 for the zero vector.
fn divisor(vector: Row<'_>) -> f64 {
    let norm = norm(vector);
    if norm > 0.0 { norm } else { 1.0 }
}

fn normalize_fixed<'a>(
    vectors: impl Iterator<Item = Option<Row<'a>>>,
    item: &Arc<Field>,
    dim: i32,
) -> Result<ArrayRef> {
    let width = usize::try_from(dim).unwrap_or(0);
    let mut data: Vec<f32> = Vec::new();
    let mut valid = Vec::new();
    for vector in vectors {
        valid.push(vector.is_some());
        match vector {
            Some(Row::F32(values)) => {
                let divisor = divisor(Row::F32(values));
                data.extend(values.iter().map(|value| (f64::from(*value) / divisor) as f32));
            }
            Some(Row::F64(values)) => {
                let divisor = divisor(Row::F64(values));
                data.extend(values.iter().map(|value| (value / divisor) as f32));
            }
            None => data.extend(std::iter::repeat_n(0.0, width)),
        }
    }
    let nulls = NullBuffer::from(valid);
    let items = Arc::new(Float32Array::from(data));
    Ok(Arc::new(FixedSizeListArray::try_new(
        Arc::clone(item),
        dim,
        items,
        Some(nulls),
    )?))
}

fn normalize_lists<'a>(vectors: impl Iterator<Item = Option<Row<'a>>>) -> ArrayRef {
    let mut lists = ListBuilder::new(Float64Builder::new());
    for vector in vectors {
        if let Some(vector) = vector {
            let divisor = divisor(vector);
            match vector {
                Row::F32(values) => {
                    values
                        .iter()
                        .for_each(|value| lists.values().append_value(f64::from(*value) / divisor));
                }
                Row::F64(values) => values
                    .iter()
                    .for_each(|value| lists.values().append_value(value / divisor)),
            }
        }
        lists.append(vector.is_some());
    }
    Arc::new(lists.finish())
}
