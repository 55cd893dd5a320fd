//! Vectors of other types than 32-bit floats: from what was sent to the stored form, and the limits of their values.
//!
//! Halves and bfloat16s may come as lists of wider floats and are rounded to the nearest; integers must be whole and in
//! range; bits come as bytes; sparse vectors as lists of `(index, value)` in ascending order.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeBinaryArray, FixedSizeListArray, Float16Array, Int8Array, ListArray,
};
use arrow::buffer::Buffer;
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType as ArrowType, Float16Type, Float32Type, Float64Type, Int8Type, UInt32Type};
use elanus_index::kernels::narrow::f32_to_bfloat16;

use super::{dimension_mismatch, type_mismatch};
use crate::error::{Error, Result};
use crate::types::{DataType, Field};

/// Largest index of a sparse vector.
const MAX_INDEX: u32 = u32::MAX - 1;

/// The column in the field's Arrow type.
///
/// # Errors
/// [`Error::InvalidData`] for another dimension, values that are no such vectors, or NULL elements.
pub(super) fn conform(field: &Field, column: &ArrayRef) -> Result<ArrayRef> {
    match &field.data_type {
        DataType::Float16Vector { dim } => {
            let floats = elements(field, column, *dim, &ArrowType::Float16)?;
            let values: Float16Array = floats.as_primitive::<Float16Type>().clone();
            fixed_list(field, column, Arc::new(values))
        }
        DataType::Int8Vector { dim } => {
            whole(field, &elements(field, column, *dim, &ArrowType::Float64)?)?;
            let values: Int8Array = elements(field, column, *dim, &ArrowType::Int8)?
                .as_primitive::<Int8Type>()
                .clone();
            fixed_list(field, column, Arc::new(values))
        }
        DataType::BFloat16Vector { dim } if is_list(column.data_type()) => {
            let floats = elements(field, column, *dim, &ArrowType::Float32)?;
            let floats = floats.as_primitive::<Float32Type>();
            let bytes: Vec<u8> = floats
                .values()
                .iter()
                .flat_map(|value| f32_to_bfloat16(*value).to_le_bytes())
                .collect();
            let width = width(*dim).saturating_mul(2);
            let nulls = column.nulls().cloned();
            Ok(Arc::new(FixedSizeBinaryArray::try_new(
                width,
                Buffer::from_vec(bytes),
                nulls,
            )?))
        }
        DataType::BFloat16Vector { dim } => bytes(field, column, width(*dim).saturating_mul(2), *dim),
        DataType::BinaryVector { dim } => bytes(field, column, width(*dim / 8), *dim),
        DataType::SparseFloatVector => sparse(field, column),
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
        | DataType::VectorArray { .. } => Err(type_mismatch(field, column.data_type())),
    }
}

fn width(dim: u32) -> i32 {
    i32::try_from(dim).unwrap_or(i32::MAX)
}

fn is_list(data_type: &ArrowType) -> bool {
    matches!(
        data_type,
        ArrowType::FixedSizeList(..) | ArrowType::List(_) | ArrowType::LargeList(_)
    )
}

const STRICT: CastOptions<'static> = CastOptions {
    safe: false,
    format_options: arrow::util::display::FormatOptions::new(),
};

/// `rows x dim` numbers of this type; those of a null row are unspecified.
fn elements(field: &Field, column: &ArrayRef, dim: u32, item: &ArrowType) -> Result<ArrayRef> {
    let mismatch = || type_mismatch(field, column.data_type());
    let lengths: Box<dyn Iterator<Item = (usize, i64)>> = if let Some(list) = column.as_fixed_size_list_opt()
    {
        Box::new(std::iter::once((0, i64::from(list.value_length()))))
    } else if let Some(lists) = column.as_list_opt::<i32>() {
        Box::new((0..lists.len()).map(|row| (row, i64::from(lists.value_length(row)))))
    } else if let Some(lists) = column.as_list_opt::<i64>() {
        Box::new((0..lists.len()).map(|row| (row, lists.value_length(row))))
    } else {
        return Err(mismatch());
    };
    let is_fixed = matches!(column.data_type(), ArrowType::FixedSizeList(..));
    for (row, length) in lengths {
        if length != i64::from(dim) && (is_fixed || column.is_valid(row)) {
            return Err(dimension_mismatch(field, dim, &length.to_string()));
        }
    }
    let nullable = Arc::new(arrow::datatypes::Field::new_list_field(item.clone(), true));
    let target = ArrowType::FixedSizeList(nullable, width(dim));
    let lists = cast_with_options(column, &target, &STRICT).map_err(|_| mismatch())?;
    let lists = lists.as_fixed_size_list();
    let values = lists.values();
    let dim = dim as usize;
    if let Some(nulls) = values.nulls()
        && (0..lists.len())
            .filter(|row| lists.is_valid(*row))
            .any(|row| nulls.slice(row * dim, dim).null_count() > 0)
    {
        return Err(Error::InvalidData(format!(
            "vector field '{}' has null elements",
            field.name
        )));
    }
    Ok(Arc::clone(values))
}

/// Refuses numbers with a fraction: the cast to integers would cut it off.
fn whole(field: &Field, numbers: &ArrayRef) -> Result<()> {
    let numbers = numbers.as_primitive::<Float64Type>();
    match numbers.iter().flatten().find(|number| number.fract() != 0.0) {
        Some(number) => Err(Error::InvalidData(format!(
            "field '{}' is of type {}, {number} is no whole number",
            field.name,
            field.data_type.name()
        ))),
        None => Ok(()),
    }
}

fn fixed_list(field: &Field, column: &ArrayRef, values: ArrayRef) -> Result<ArrayRef> {
    let ArrowType::FixedSizeList(item, size) = field.data_type.to_arrow() else {
        return Err(type_mismatch(field, column.data_type()));
    };
    let nulls = column.nulls().cloned();
    let lists = FixedSizeListArray::try_new(item, size, values, nulls);
    lists
        .map(|lists| Arc::new(lists) as ArrayRef)
        .map_err(|_| Error::InvalidData(format!("vector field '{}' has null elements", field.name)))
}

/// Bytes of the field's width, given as binary of any kind.
fn bytes(field: &Field, column: &ArrayRef, width: i32, dim: u32) -> Result<ArrayRef> {
    let bits_of_element = i64::from(width) * 8 / i64::from(dim.max(1));
    let mismatch = |length: usize| {
        let given = i64::try_from(length).unwrap_or(i64::MAX).saturating_mul(8) / bits_of_element.max(1);
        dimension_mismatch(field, dim, &given.to_string())
    };
    if let ArrowType::FixedSizeBinary(given) = column.data_type() {
        return Err(mismatch(usize::try_from(*given).unwrap_or(0)));
    }
    let binary = cast_with_options(column, &ArrowType::LargeBinary, &STRICT)
        .ok()
        .filter(|_| column.data_type().is_binary());
    let Some(binary) = binary else {
        return Err(type_mismatch(field, column.data_type()));
    };
    let binary = binary.as_binary::<i64>();
    let wanted = usize::try_from(width).unwrap_or(0);
    if let Some(value) = binary.iter().flatten().find(|value| value.len() != wanted) {
        return Err(mismatch(value.len()));
    }
    let values = binary.iter();
    Ok(Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(
        values, width,
    )?))
}

fn sparse(field: &Field, column: &ArrayRef) -> Result<ArrayRef> {
    let target = field.data_type.to_arrow();
    let mismatch = || type_mismatch(field, column.data_type());
    let is_pair = |item: &arrow::datatypes::Field| {
        matches!(item.data_type(), ArrowType::Struct(fields)
            if fields.len() == 2 && fields.find("index").is_some() && fields.find("value").is_some())
    };
    let structs =
        matches!(column.data_type(), ArrowType::List(item) | ArrowType::LargeList(item) if is_pair(item));
    if !structs {
        return Err(mismatch());
    }
    let cast = cast_with_options(column, &target, &STRICT).map_err(|_| mismatch())?;
    let lists = cast.as_list::<i32>();
    let elements = lists.values().as_struct();
    if elements.null_count() > 0 || elements.columns().iter().any(|column| column.null_count() > 0) {
        return Err(Error::InvalidData(format!(
            "vector field '{}' has null elements",
            field.name
        )));
    }
    let ArrowType::List(item) = target else {
        return Err(mismatch());
    };
    Ok(Arc::new(ListArray::try_new(
        item,
        lists.offsets().clone(),
        Arc::clone(lists.values()),
        lists.nulls().cloned(),
    )?))
}

/// Refuses values that are not finite, and sparse vectors whose indexes do not ascend.
///
/// # Errors
/// [`Error::InvalidData`] naming the field and the value.
pub(super) fn check(field: &Field, column: &ArrayRef) -> Result<()> {
    match &field.data_type {
        DataType::Float16Vector { dim } => {
            let lists = column.as_fixed_size_list();
            let values = lists.values().as_primitive::<Float16Type>();
            let dim = *dim as usize;
            let infinite = |row: &usize| {
                let vector = values.values().get(row * dim..(row + 1) * dim).unwrap_or(&[]);
                vector.iter().any(|value| !value.is_finite())
            };
            refuse(
                field,
                (0..lists.len()).filter(|row| lists.is_valid(*row)).find(infinite),
            )
        }
        DataType::BFloat16Vector { .. } => {
            let vectors = column.as_fixed_size_binary();
            let infinite = |row: &usize| {
                let (bits, _) = vectors.value(*row).as_chunks::<2>();
                bits.iter()
                    .any(|bits| u16::from_le_bytes(*bits) & 0x7f80 == 0x7f80)
            };
            refuse(
                field,
                (0..vectors.len())
                    .filter(|row| vectors.is_valid(*row))
                    .find(infinite),
            )
        }
        DataType::SparseFloatVector => {
            let lists = column.as_list::<i32>();
            for row in (0..lists.len()).filter(|row| lists.is_valid(*row)) {
                check_sparse(field, row, lists)?;
            }
            Ok(())
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
        | DataType::Int8Vector { .. }
        | DataType::BinaryVector { .. }
        | DataType::VectorArray { .. } => Ok(()),
    }
}

fn refuse(field: &Field, row: Option<usize>) -> Result<()> {
    match row {
        None => Ok(()),
        Some(row) => Err(Error::InvalidData(format!(
            "the vector of row {row} of field '{}' has an element that is not a number or infinity in the precision of \
             {}: only finite values are allowed",
            field.name,
            field.data_type.name()
        ))),
    }
}

fn check_sparse(field: &Field, row: usize, lists: &ListArray) -> Result<()> {
    let bad = |what: String| {
        Err(Error::InvalidData(format!(
            "the sparse vector of row {row} of field '{}' {what}",
            field.name
        )))
    };
    let elements = lists.value(row);
    let elements = elements.as_struct();
    let indices = elements.column(0).as_primitive::<UInt32Type>().values().clone();
    let values = elements.column(1).as_primitive::<Float32Type>().values().clone();
    if let Some(pair) = indices.windows(2).find(|pair| pair.first() >= pair.last()) {
        return bad(format!(
            "has unsorted or same indices: {pair:?}, they must ascend"
        ));
    }
    if indices.last().is_some_and(|index| *index > MAX_INDEX) {
        return bad(format!(
            "has the index {}, at most {MAX_INDEX} is allowed",
            u32::MAX
        ));
    }
    match values.iter().find(|value| !value.is_finite()) {
        Some(value) => bad(format!("has the value {value}: only finite values are allowed")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Float32Array, Float64Array, Int64Array, StructArray, UInt32Array};
    use arrow::buffer::OffsetBuffer;
    use arrow::datatypes::Field as ArrowField;
    use elanus_index::kernels::narrow::bfloat16_to_f32;

    use super::*;
    use crate::types::sparse_fields;

    fn lists(values: ArrayRef, dim: i32) -> ArrayRef {
        let item = Arc::new(ArrowField::new_list_field(values.data_type().clone(), true));
        Arc::new(FixedSizeListArray::try_new(item, dim, values, None).unwrap())
    }

    fn run(data_type: DataType, column: &ArrayRef) -> Result<ArrayRef> {
        let field = Field::new("v", data_type);
        let column = conform(&field, column)?;
        assert_eq!(column.data_type(), &field.data_type.to_arrow());
        check(&field, &column)?;
        Ok(column)
    }

    fn error(data_type: DataType, column: &ArrayRef) -> String {
        run(data_type, column).unwrap_err().to_string()
    }

    fn sparse_lists(offsets: Vec<i32>, indices: Vec<u32>, values: Vec<f32>) -> ArrayRef {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(UInt32Array::from(indices)),
            Arc::new(Float32Array::from(values)),
        ];
        let elements = StructArray::new(sparse_fields(), columns, None);
        let item = Arc::new(ArrowField::new_list_field(elements.data_type().clone(), true));
        Arc::new(ListArray::new(
            item,
            OffsetBuffer::new(offsets.into()),
            Arc::new(elements),
            None,
        ))
    }

    #[test]
    fn floats_are_rounded_to_the_type() {
        let floats = lists(Arc::new(Float64Array::from(vec![1.0, 0.1])), 2);
        let halves = run(DataType::Float16Vector { dim: 2 }, &floats).unwrap();
        let halves = halves.as_fixed_size_list().value(0);
        assert_eq!(
            halves.as_primitive::<Float16Type>().value(1).to_f32(),
            0.099_975_586
        );
        let narrow = run(DataType::BFloat16Vector { dim: 2 }, &floats).unwrap();
        let bytes = narrow.as_fixed_size_binary().value(0);
        assert_eq!(
            bfloat16_to_f32(u16::from_le_bytes([bytes[2], bytes[3]])),
            0.100_097_656
        );
    }

    #[test]
    fn integers_must_be_whole_and_in_range() {
        let int8 = || DataType::Int8Vector { dim: 2 };
        run(int8(), &lists(Arc::new(Int64Array::from(vec![-128, 127])), 2)).unwrap();
        run(int8(), &lists(Arc::new(Float32Array::from(vec![1.0, 2.0])), 2)).unwrap();
        assert!(
            error(int8(), &lists(Arc::new(Float32Array::from(vec![1.0, 2.5])), 2))
                .contains("2.5 is no whole number")
        );
        assert!(error(int8(), &lists(Arc::new(Int64Array::from(vec![1, 128])), 2)).contains("do not fit"));
    }

    #[test]
    fn dimensions_nulls_and_infinities_are_refused() {
        let half = || DataType::Float16Vector { dim: 2 };
        let three = lists(Arc::new(Float32Array::from(vec![1.0; 3])), 3);
        assert!(
            error(half(), &three).contains("the dim (3) of field data(v) is not equal to schema dim (2)")
        );
        let hole = lists(Arc::new(Float32Array::from(vec![Some(1.0), None])), 2);
        assert!(error(half(), &hole).contains("null elements"));
        let large = lists(Arc::new(Float32Array::from(vec![1.0, 70_000.0])), 2);
        assert!(error(half(), &large).contains("only finite values"));
        let bits: ArrayRef = Arc::new(arrow::array::BinaryArray::from(vec![&[1u8, 2, 3][..]]));
        assert!(error(DataType::BinaryVector { dim: 16 }, &bits).contains("the dim (24)"));
        assert!(run(DataType::BinaryVector { dim: 24 }, &bits).is_ok());
        assert!(error(DataType::BFloat16Vector { dim: 2 }, &bits).contains("the dim (1)"));
    }

    #[test]
    fn sparse_indexes_ascend_and_values_are_finite() {
        let sparse = DataType::SparseFloatVector;
        run(
            sparse.clone(),
            &sparse_lists(vec![0, 2, 2], vec![1, 7], vec![0.5, -1.0]),
        )
        .unwrap();
        for (indices, values, what) in [
            (vec![7, 1], vec![1.0, 1.0], "unsorted or same indices"),
            (vec![1, 1], vec![1.0, 1.0], "unsorted or same indices"),
            (vec![1, u32::MAX], vec![1.0, 1.0], "at most 4294967294"),
            (vec![1, 2], vec![1.0, f32::NAN], "NaN"),
        ] {
            let message = error(sparse.clone(), &sparse_lists(vec![0, 2], indices, values));
            assert!(message.contains(what), "{message}");
        }
    }
}
