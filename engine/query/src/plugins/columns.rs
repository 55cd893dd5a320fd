//! Arrow columns as the flat slices that plugins take, and back.
//!
//! | a plugin reads | columns of a collection | arguments of a function |
//! |---|---|---|
//! | `f32s`, `f64s` | integers, floats; instants as microseconds since 1970 | numbers |
//! | `s64s` | integers; instants as microseconds since 1970 | integers, instants |
//! | `bools` | booleans | booleans |
//! | `text` | texts, JSON as text | texts |
//! | `vectors` | vectors of floats, half floats, bfloat16, 8-bit integers | vectors of floats and half floats, lists of numbers |
//! | `ipc(type)` | columns of this Arrow type | values of this type, numbers for a type of numbers |
//!
//! Numbers that are not of the wanted type already are converted; everything else is handed over as it lies in memory,
//! but for texts and validity, whose form differs.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, FixedSizeListArray, Float32Array, Float64Array, Int64Array,
    PrimitiveArray, StringArray,
};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::compute::{CastOptions, cast_with_options, nullif};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType as ArrowType, Field, Float32Type, Float64Type, Int64Type,
};
use datafusion::common::{Result, exec_datafusion_err, exec_err};
use elanus_collection::DataType;
use elanus_plugins::{Column, ColumnData, ColumnKind, OwnedColumn, OwnedData, TextData, VectorData};
use elanus_udfs::vector::{VectorKind, to_vectors};

use super::ipc;

/// A column in the form that a plugin reads. What is borrowed from it goes to the plugin.
#[derive(Debug)]
pub(super) struct FlatColumn {
    data: FlatData,
    /// One byte per row; none when every row has a value.
    validity: Option<Vec<u8>>,
}

#[derive(Debug)]
enum FlatData {
    F32s(ScalarBuffer<f32>),
    F64s(ScalarBuffer<f64>),
    S64s(ScalarBuffer<i64>),
    Bools(Vec<u8>),
    Text { offsets: Vec<u32>, bytes: Buffer },
    Vectors { dim: u32, values: ScalarBuffer<f32> },
    Ipc(Vec<u8>),
}

impl FlatColumn {
    /// `array`, which is of vector type `vector` if it is of one, as a column of `kind`.
    ///
    /// # Errors
    /// An array of another kind; more than 4 GiB of text.
    pub fn new(kind: &ColumnKind, array: &ArrayRef, vector: Option<VectorKind>) -> Result<Self> {
        let validity = array.logical_nulls().filter(|nulls| nulls.null_count() > 0);
        let data = match kind {
            ColumnKind::F32s => FlatData::F32s(numbers::<Float32Type>(array)?),
            ColumnKind::F64s => FlatData::F64s(numbers::<Float64Type>(array)?),
            ColumnKind::S64s => FlatData::S64s(numbers::<Int64Type>(array)?),
            ColumnKind::Bools => {
                let Some(bools) = array.as_boolean_opt() else {
                    return other(array, kind);
                };
                FlatData::Bools(bools.values().iter().map(u8::from).collect())
            }
            ColumnKind::Text => {
                let texts = cast(array, &ArrowType::Utf8)?;
                let Some(texts) = texts.as_string_opt::<i32>() else {
                    return other(array, kind);
                };
                flat_text(texts)
            }
            ColumnKind::Vectors(_) => flat_vectors(array, vector)?,
            ColumnKind::Ipc(name) => match ipc::named(name) {
                Some(data_type) => FlatData::Ipc(ipc::write(array, &data_type)?),
                None => return other(array, kind),
            },
        };
        Ok(Self {
            data,
            validity: validity.map(|nulls| nulls.iter().map(u8::from).collect()),
        })
    }

    /// The same, borrowed.
    pub fn view(&self) -> Column<'_> {
        let data = match &self.data {
            FlatData::F32s(values) => ColumnData::F32s(values),
            FlatData::F64s(values) => ColumnData::F64s(values),
            FlatData::S64s(values) => ColumnData::S64s(values),
            FlatData::Bools(values) => ColumnData::Bools(values),
            FlatData::Text { offsets, bytes } => ColumnData::Text(TextData { offsets, bytes }),
            FlatData::Vectors { dim, values } => ColumnData::Vectors(VectorData { dim: *dim, values }),
            FlatData::Ipc(bytes) => ColumnData::Ipc(bytes),
        };
        Column {
            data,
            validity: self.validity.as_deref(),
        }
    }

    /// As vectors, if it is a column of them.
    pub fn vectors(&self) -> Option<VectorData<'_>> {
        match &self.data {
            FlatData::Vectors { dim, values } => Some(VectorData { dim: *dim, values }),
            FlatData::F32s(_)
            | FlatData::F64s(_)
            | FlatData::S64s(_)
            | FlatData::Bools(_)
            | FlatData::Text { .. }
            | FlatData::Ipc(_) => None,
        }
    }
}

fn other<T>(array: &ArrayRef, kind: &ColumnKind) -> Result<T> {
    exec_err!("a plugin takes {kind}, not {}", array.data_type())
}

fn cast(array: &ArrayRef, to: &ArrowType) -> Result<ArrayRef> {
    if array.data_type() == to {
        return Ok(Arc::clone(array));
    }
    let options = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    Ok(cast_with_options(array, to, &options)?)
}

/// Numbers of this type; of a null row any.
fn numbers<T: ArrowPrimitiveType>(array: &ArrayRef) -> Result<ScalarBuffer<T::Native>> {
    let plain = match array.data_type() {
        ArrowType::Timestamp(..) => cast(array, &ArrowType::Int64)?,
        _ => Arc::clone(array),
    };
    let values = cast(&plain, &T::DATA_TYPE)?;
    match values.as_primitive_opt::<T>() {
        Some(values) => Ok(values.values().clone()),
        None => exec_err!("a plugin takes numbers, not {}", array.data_type()),
    }
}

/// Texts from offset 0 on.
fn flat_text(texts: &StringArray) -> FlatData {
    let offsets = texts.value_offsets();
    let first = offsets.first().copied().unwrap_or_default();
    let last = offsets.last().copied().unwrap_or_default();
    let length = usize::try_from(last - first).unwrap_or_default();
    FlatData::Text {
        offsets: offsets
            .iter()
            .map(|offset| (offset - first).cast_unsigned())
            .collect(),
        bytes: texts
            .values()
            .slice_with_length(usize::try_from(first).unwrap_or_default(), length),
    }
}

fn flat_vectors(array: &ArrayRef, vector: Option<VectorKind>) -> Result<FlatData> {
    let from = vector.or_else(|| VectorKind::of_type(array.data_type()));
    let array = match from {
        Some(VectorKind::Float(_)) => Arc::clone(array),
        Some(VectorKind::Half(dim) | VectorKind::BFloat16(dim) | VectorKind::Int8(dim)) => {
            to_vectors(VectorKind::Float(dim), from, array, false)?
        }
        Some(VectorKind::Bit(_) | VectorKind::Sparse) | None => {
            return exec_err!("a plugin takes vectors of numbers, not {}", array.data_type());
        }
    };
    let vectors = array.as_fixed_size_list_opt();
    let values =
        vectors.and_then(|vectors| Some((vectors, vectors.values().as_primitive_opt::<Float32Type>()?)));
    let Some((vectors, values)) = values else {
        return exec_err!("a plugin takes vectors of numbers, not {}", array.data_type());
    };
    let dim = vectors.value_length().cast_unsigned();
    let start = vectors.value_offset(0).max(0).cast_unsigned() as usize;
    Ok(FlatData::Vectors {
        dim,
        values: values.values().slice(start, vectors.len() * dim as usize),
    })
}

/// What a function of a plugin returned for so many rows, as an Arrow column of type `returns`, which is the [`arrow_type`] of
/// its form.
///
/// # Errors
/// Bytes that are no Arrow stream of this type.
pub(super) fn to_arrow(column: OwnedColumn, returns: &ArrowType, rows: usize) -> Result<ArrayRef> {
    let OwnedColumn { data, validity } = column;
    let nulls = validity.map(|validity| validity.iter().map(|valid| *valid != 0).collect::<NullBuffer>());
    let array: ArrayRef = match data {
        OwnedData::F32s(values) => Arc::new(Float32Array::try_new(values.into(), nulls)?),
        OwnedData::F64s(values) => Arc::new(Float64Array::try_new(values.into(), nulls)?),
        OwnedData::S64s(values) => Arc::new(Int64Array::try_new(values.into(), nulls)?),
        OwnedData::Bools(values) => {
            let values = values.iter().map(|value| *value != 0).collect();
            Arc::new(BooleanArray::new(values, nulls))
        }
        OwnedData::Text { offsets, bytes } => {
            let offsets: Option<Vec<i32>> =
                offsets.iter().map(|offset| i32::try_from(*offset).ok()).collect();
            let offsets =
                offsets.ok_or_else(|| exec_datafusion_err!("a plugin returned more than 2 GiB of text"))?;
            let offsets = OffsetBuffer::new(offsets.into());
            Arc::new(StringArray::try_new(offsets, bytes.into(), nulls)?)
        }
        OwnedData::Vectors { dim, values } => {
            let values: PrimitiveArray<Float32Type> = PrimitiveArray::try_new(values.into(), None)?;
            let length =
                i32::try_from(dim).map_err(|_| exec_datafusion_err!("vectors of {dim} dimensions"))?;
            let item = Arc::new(Field::new_list_field(ArrowType::Float32, false));
            Arc::new(FixedSizeListArray::try_new(
                item,
                length,
                Arc::new(values),
                nulls,
            )?)
        }
        OwnedData::Ipc(bytes) => {
            let array = ipc::read(&bytes, returns, rows)?;
            match nulls {
                // Beside the nulls of the stream itself.
                Some(nulls) => nullif(&array, &BooleanArray::new(!nulls.inner(), None))?,
                None => array,
            }
        }
    };
    Ok(array)
}

/// The Arrow type of a column of this form; none for a form that SQL does not have.
pub(super) fn arrow_type(kind: &ColumnKind) -> Option<ArrowType> {
    Some(match kind {
        ColumnKind::F32s => ArrowType::Float32,
        ColumnKind::F64s => ArrowType::Float64,
        ColumnKind::S64s => ArrowType::Int64,
        ColumnKind::Bools => ArrowType::Boolean,
        ColumnKind::Text => ArrowType::Utf8,
        ColumnKind::Vectors(0) => return None,
        ColumnKind::Ipc(name) => return ipc::named(name),
        ColumnKind::Vectors(dim) => VectorKind::Float(i32::try_from(*dim).ok()?).data_type(),
    })
}

/// Whether a plugin that reads `kind` can read a column of this type.
pub(super) fn reads(kind: &ColumnKind, data_type: &DataType) -> bool {
    let is_integer = matches!(
        data_type,
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 | DataType::TimestampTz
    );
    match kind {
        ColumnKind::F32s | ColumnKind::F64s => {
            is_integer || matches!(data_type, DataType::Float | DataType::Double)
        }
        ColumnKind::S64s => is_integer,
        ColumnKind::Bools => matches!(data_type, DataType::Bool),
        ColumnKind::Text => matches!(
            data_type,
            DataType::VarChar { .. } | DataType::Text | DataType::Json
        ),
        ColumnKind::Vectors(dim) => has_numbers(data_type) && (*dim == 0 || data_type.dim() == Some(*dim)),
        ColumnKind::Ipc(name) => {
            ipc::named(name).is_some_and(|wanted| ipc::alike(&data_type.to_arrow(), &wanted))
        }
    }
}

/// Whether it is a vector type whose elements are numbers, one after the other.
pub(super) fn has_numbers(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::FloatVector { .. }
            | DataType::Float16Vector { .. }
            | DataType::BFloat16Vector { .. }
            | DataType::Int8Vector { .. }
    )
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int32Array, TimestampMicrosecondArray};

    use super::*;

    fn flat(kind: &ColumnKind, array: impl Array + 'static) -> FlatColumn {
        FlatColumn::new(kind, &(Arc::new(array) as ArrayRef), None).unwrap()
    }

    #[test]
    fn slices_of_columns_begin_where_they_begin() {
        let texts = StringArray::from(vec![Some("one"), Some("two"), None, Some("vier")]).slice(1, 3);
        let column = flat(&ColumnKind::Text, texts);
        let text = TextData {
            offsets: &[0, 3, 3, 7],
            bytes: b"twovier",
        };
        assert_eq!(
            column.view(),
            Column {
                data: ColumnData::Text(text),
                validity: Some(&[1, 0, 1])
            }
        );
        let bools = BooleanArray::from(vec![true, false, true]).slice(1, 2);
        assert_eq!(
            flat(&ColumnKind::Bools, bools).view().data,
            ColumnData::Bools(&[0, 1])
        );
        let item = Arc::new(Field::new_list_field(ArrowType::Float32, false));
        let values: ArrayRef = Arc::new(Float32Array::from(vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]));
        let vectors = FixedSizeListArray::new(item, 2, values, None).slice(1, 2);
        let column = flat(&ColumnKind::Vectors(0), vectors);
        let expected = VectorData {
            dim: 2,
            values: &[3.0, 4.0, 5.0, 6.0],
        };
        assert_eq!(column.vectors(), Some(expected));
    }

    #[test]
    fn numbers_are_converted_and_instants_are_microseconds() {
        let column = flat(&ColumnKind::F64s, Int32Array::from(vec![Some(7), None]));
        let view = column.view();
        assert_eq!(
            (view.data.kind(), view.validity),
            (ColumnKind::F64s, Some(&[1, 0][..]))
        );
        let instants = TimestampMicrosecondArray::from(vec![5, 6]).with_timezone("UTC");
        assert_eq!(
            flat(&ColumnKind::S64s, instants).view().data,
            ColumnData::S64s(&[5, 6])
        );
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["x"]));
        assert!(FlatColumn::new(&ColumnKind::Bools, &texts, None).is_err());
    }

    #[test]
    fn what_a_plugin_returns_is_of_the_type_that_was_announced() {
        let columns = [
            (ColumnKind::F32s, OwnedData::F32s(vec![1.0, 2.0])),
            (ColumnKind::F64s, OwnedData::F64s(vec![1.0, 2.0])),
            (ColumnKind::S64s, OwnedData::S64s(vec![1, 2])),
            (ColumnKind::Bools, OwnedData::Bools(vec![1, 0])),
            (
                ColumnKind::Text,
                OwnedData::Text {
                    offsets: vec![0, 1, 3],
                    bytes: b"abc".to_vec(),
                },
            ),
            (
                ColumnKind::Vectors(2),
                OwnedData::Vectors {
                    dim: 2,
                    values: vec![1.0, 2.0, 3.0, 4.0],
                },
            ),
        ];
        for (kind, data) in columns {
            let validity = Some(vec![1, 0]);
            let returns = arrow_type(&kind).unwrap();
            let array = to_arrow(OwnedColumn { data, validity }, &returns, 2).unwrap();
            assert_eq!(*array.data_type(), returns);
            assert_eq!((array.len(), array.null_count()), (2, 1));
        }
        assert_eq!(arrow_type(&ColumnKind::Vectors(0)), None);
        assert_eq!(arrow_type(&ColumnKind::Ipc("no type".to_owned())), None);
    }
}
