//! One vector column of a block: its values as slices, and which rows have a vector at all.

use std::sync::{Arc, OnceLock};

use arrow::array::{Array, ArrayRef, AsArray, FixedSizeListArray, ListArray};
use arrow::buffer::{Buffer, ScalarBuffer};
use arrow::datatypes::{ArrowPrimitiveType, Float16Type, Float32Type, Int8Type, UInt32Type};
use elanus_index::{Bitset, Elements, Rows, SparseVectors, VectorLists, Vectors, VectorsRef};

use crate::error::{Error, Result};
use crate::text_statistics::ColumnTerms;
use crate::types::DataType;

/// A column of vectors of any type; null rows hold unspecified values.
#[derive(Debug, Clone)]
pub struct VectorColumn {
    array: ArrayRef,
    values: Values,
    valid: Option<Arc<Bitset>>,
    dim: usize,
    rows: usize,
    /// Of sparse vectors that count terms, once they were asked for.
    terms: Arc<OnceLock<ColumnTerms>>,
}

/// The elements of all rows, one row after the other. They share the memory of the array.
#[derive(Debug, Clone)]
enum Values {
    Floats(ScalarBuffer<f32>),
    Halves(ScalarBuffer<u16>),
    BFloat16s(ScalarBuffer<u16>),
    Int8s(ScalarBuffer<i8>),
    Bits(Buffer),
    Sparse {
        offsets: ScalarBuffer<i32>,
        indices: ScalarBuffer<u32>,
        values: ScalarBuffer<f32>,
    },
    Lists {
        offsets: ScalarBuffer<i32>,
        elements: Box<VectorColumn>,
    },
}

impl VectorColumn {
    /// Wraps a column of a field of type `data_type`.
    ///
    /// # Errors
    /// [`Error::InvalidSchema`] when the type is not a vector type, or the column not of its Arrow form.
    pub fn new(data_type: &DataType, column: &ArrayRef) -> Result<Self> {
        let values = values_of(data_type, column).ok_or_else(|| {
            Error::InvalidSchema(format!(
                "a column of type {} cannot hold {} values",
                column.data_type(),
                data_type.name()
            ))
        })?;
        let valid = match &values {
            // A list of none is as good as no list.
            Values::Lists { offsets, .. } => {
                let filled = |row: usize| column.is_valid(row) && offsets.get(row) != offsets.get(row + 1);
                let filled = Bitset::from_fn(column.len(), filled);
                (filled.count() < column.len()).then(|| Arc::new(filled))
            }
            Values::Floats(_)
            | Values::Halves(_)
            | Values::BFloat16s(_)
            | Values::Int8s(_)
            | Values::Bits(_)
            | Values::Sparse { .. } => {
                let nulls = column.nulls().filter(|nulls| nulls.null_count() > 0);
                nulls.map(|nulls| Arc::new(Bitset::from_fn(column.len(), |row| nulls.is_valid(row))))
            }
        };
        Ok(Self {
            array: Arc::clone(column),
            values,
            valid,
            dim: data_type.dim().map_or(0, |dim| dim as usize),
            rows: column.len(),
            terms: Arc::default(),
        })
    }

    /// The vectors, row-major; a null row's slot holds unspecified values.
    ///
    /// # Errors
    /// [`Error::InvalidSchema`] when the slice is not rows x dim elements.
    pub fn vectors(&self) -> Result<VectorsRef<'_>> {
        let bad = |e: elanus_index::ShapeError| Error::InvalidSchema(e.to_string());
        Ok(match &self.values {
            Values::Floats(_) => VectorsRef::Floats(self.as_vectors()?),
            Values::Halves(bits) => VectorsRef::Halves(Rows::new(self.used(bits)?, self.dim).map_err(bad)?),
            Values::BFloat16s(bits) => {
                VectorsRef::BFloat16s(Rows::new(self.used(bits)?, self.dim).map_err(bad)?)
            }
            Values::Int8s(values) => VectorsRef::Int8s(Rows::new(self.used(values)?, self.dim).map_err(bad)?),
            Values::Bits(bytes) => {
                let width = self.dim / 8;
                let used = bytes.get(..self.rows * width).unwrap_or(bytes);
                VectorsRef::Bits(Rows::new(used, width).map_err(bad)?)
            }
            Values::Sparse {
                offsets,
                indices,
                values,
            } => VectorsRef::Sparse(SparseVectors::new(offsets, indices, values).map_err(bad)?),
            Values::Lists { offsets, elements } => {
                let elements = Elements::of(elements.vectors()?)
                    .ok_or_else(|| Error::InvalidSchema("lists hold dense vectors only".into()))?;
                VectorsRef::Lists(VectorLists::new(offsets, elements).map_err(bad)?)
            }
        })
    }

    /// The vectors of a column of 32-bit floats.
    ///
    /// # Errors
    /// [`Error::InvalidSchema`] for another type, or when the slice is not rows x dim floats.
    pub fn as_vectors(&self) -> Result<Vectors<'_>> {
        let Values::Floats(floats) = &self.values else {
            return Err(Error::InvalidSchema(format!(
                "a column of type {} has no 32-bit floats",
                self.array.data_type()
            )));
        };
        Vectors::new(self.used(floats)?, self.dim).map_err(|e| Error::InvalidSchema(e.to_string()))
    }

    /// Without what a longer array's buffer has behind the last row.
    fn used<'a, T>(&self, values: &'a [T]) -> Result<&'a [T]> {
        let used = self.rows * self.dim;
        values.get(..used).ok_or_else(|| {
            Error::InvalidSchema(format!(
                "vector column has {} elements, {used} expected",
                values.len()
            ))
        })
    }

    /// Rows that have a vector; `None` when all have.
    pub fn valid(&self) -> Option<&Bitset> {
        self.valid.as_deref()
    }

    /// How many rows have each term; `vectors` are the column's own. Counted once.
    pub(crate) fn terms(&self, vectors: SparseVectors<'_>) -> &ColumnTerms {
        let has_vector = |row: usize| self.valid().is_none_or(|valid| valid.get(row));
        self.terms.get_or_init(|| ColumnTerms::count(vectors, has_vector))
    }

    /// The column as Arrow data.
    pub fn array(&self) -> &ArrayRef {
        &self.array
    }

    /// Elements per vector, of a list each of its vectors; 0 for sparse vectors, which have no fixed number.
    pub fn dim(&self) -> usize {
        self.dim
    }
}

fn values_of(data_type: &DataType, column: &ArrayRef) -> Option<Values> {
    let list = || column.as_fixed_size_list_opt();
    let bytes = || column.as_fixed_size_binary_opt();
    let wide = |width: i32| {
        data_type
            .dim()
            .is_some_and(|dim| i64::from(width) == i64::from(dim))
    };
    match data_type {
        DataType::FloatVector { .. } => Some(Values::Floats(items::<Float32Type>(list()?)?)),
        DataType::Float16Vector { .. } => {
            let halves = items::<Float16Type>(list()?)?;
            Some(Values::Halves(aligned(halves.inner())))
        }
        DataType::Int8Vector { .. } => Some(Values::Int8s(items::<Int8Type>(list()?)?)),
        DataType::BFloat16Vector { .. } => {
            let bytes = bytes()?;
            wide(bytes.value_length() / 2).then(|| Values::BFloat16s(aligned(bytes.values())))
        }
        DataType::BinaryVector { .. } => {
            let bytes = bytes()?;
            wide(bytes.value_length() * 8).then(|| Values::Bits(bytes.values().clone()))
        }
        DataType::SparseFloatVector => sparse(column.as_list_opt::<i32>()?),
        DataType::VectorArray { element } => {
            let lists = column.as_list_opt::<i32>()?;
            Some(Values::Lists {
                offsets: lists.offsets().inner().clone(),
                elements: Box::new(VectorColumn::new(element, lists.values()).ok()?),
            })
        }
        DataType::Bool
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
        | DataType::Geometry => None,
    }
}

fn items<T: ArrowPrimitiveType>(list: &FixedSizeListArray) -> Option<ScalarBuffer<T::Native>> {
    Some(list.values().as_primitive_opt::<T>()?.values().clone())
}

fn sparse(lists: &ListArray) -> Option<Values> {
    let elements = lists.values().as_struct_opt()?;
    Some(Values::Sparse {
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
    })
}

/// Bytes as 16-bit numbers. Arrow aligns bytes of a fixed width to nothing: what came over a wire may have to be copied.
fn aligned(bytes: &Buffer) -> ScalarBuffer<u16> {
    let even = bytes.len() / 2 * 2;
    if bytes.as_ptr().align_offset(align_of::<u16>()) == 0 {
        return ScalarBuffer::new(bytes.clone(), 0, even / 2);
    }
    let (pairs, _) = bytes.as_chunks::<2>();
    pairs.iter().map(|pair| u16::from_le_bytes(*pair)).collect()
}

#[cfg(test)]
mod tests {
    use arrow::array::FixedSizeBinaryArray;
    use elanus_index::VectorRef;

    use super::*;

    #[test]
    fn bytes_at_an_odd_address_are_read_as_well() {
        let dim = DataType::BFloat16Vector { dim: 2 };
        let buffer = Buffer::from_vec(vec![9u8, 0x80, 0x3f, 0, 0x40, 0x40, 0x40, 1, 1]);
        for start in [0, 1] {
            let array: ArrayRef = Arc::new(FixedSizeBinaryArray::new(
                4,
                buffer.slice_with_length(start, 8),
                None,
            ));
            let column = VectorColumn::new(&dim, &array).unwrap();
            let VectorRef::BFloat16s(row) = column.vectors().unwrap().row(0) else {
                panic!("not bfloat16")
            };
            let bytes = array.as_fixed_size_binary().value(0);
            assert_eq!(
                row,
                [
                    u16::from_le_bytes([bytes[0], bytes[1]]),
                    u16::from_le_bytes([bytes[2], bytes[3]])
                ]
            );
        }
    }

    #[test]
    fn slices_start_at_their_own_row() {
        let array: ArrayRef = Arc::new(FixedSizeBinaryArray::new(
            1,
            Buffer::from_vec(vec![1u8, 2, 3]),
            None,
        ));
        let column = VectorColumn::new(&DataType::BinaryVector { dim: 8 }, &array.slice(1, 1)).unwrap();
        let vectors = column.vectors().unwrap();
        assert_eq!(vectors.len(), 1);
        assert!(matches!(vectors.row(0), VectorRef::Bits([2])));
        assert!(VectorColumn::new(&DataType::BinaryVector { dim: 16 }, &array).is_err());
        assert!(VectorColumn::new(&DataType::Int64, &array).is_err());
    }
}
