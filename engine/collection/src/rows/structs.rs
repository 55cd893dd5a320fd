//! Arrays of structs: brought into their form sub-field by sub-field, by name, and checked the same way.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, StructArray};
use arrow::buffer::OffsetBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType as ArrowType, Field as ArrowField};

use super::check::{check_capacity, check_values, elements};
use super::type_mismatch;
use crate::error::{Error, Result};
use crate::structs::{SubField, arrow_fields, sub_field_name};
use crate::types::Field;

/// The column with the sub-fields of the schema, in its order and of its types.
///
/// # Errors
/// [`Error::InvalidData`] for a column that is no list of structs, a sub-field that is missing or that the schema does not
/// have, a null where a struct or a value must be, and values that do not fit their sub-field.
pub(super) fn conform(field: &Field, fields: &[SubField], column: &ArrayRef) -> Result<ArrayRef> {
    let mismatch = || type_mismatch(field, column.data_type());
    let (ArrowType::List(item) | ArrowType::LargeList(item) | ArrowType::FixedSizeList(item, _)) =
        column.data_type()
    else {
        return Err(mismatch());
    };
    let column = cast(column, &ArrowType::List(Arc::clone(item))).map_err(|_| mismatch())?;
    let lists = without_hidden(column.as_list::<i32>())?;
    // `[]` in SQL is a list of nulls, and of none of them.
    if lists.values().is_empty() {
        let none = arrow::array::new_empty_array(&ArrowType::Struct(arrow_fields(fields)));
        return list_of(&lists, none);
    }
    let structs = lists.values().as_struct_opt().ok_or_else(mismatch)?;
    for name in structs.column_names() {
        if !fields.iter().any(|sub| sub.name == name) {
            let known: Vec<_> = fields.iter().map(|sub| sub.name.as_str()).collect();
            return Err(Error::InvalidData(format!(
                "struct array field '{}' has no sub-field '{name}'; its sub-fields are {}",
                field.name,
                known.join(", ")
            )));
        }
    }
    let row_of = |element: usize| {
        lists
            .value_offsets()
            .partition_point(|end| (*end as usize) <= element)
            - 1
    };
    if let Some(element) = (0..structs.len()).find(|element| structs.is_null(*element)) {
        return Err(Error::InvalidData(format!(
            "struct array field '{}' of row {} has null elements",
            field.name,
            row_of(element)
        )));
    }
    let mut children = Vec::with_capacity(fields.len());
    for sub in fields {
        let as_field = field_of(field, sub);
        let child = structs.column_by_name(&sub.name).ok_or_else(|| {
            Error::InvalidData(format!(
                "sub-field '{}' of struct array field '{}' is missing: every element must give it",
                sub.name, field.name
            ))
        })?;
        let child = super::conform(&as_field, child, &sub.data_type.to_arrow())?;
        if let Some(element) = (0..child.len()).find(|element| child.is_null(*element)) {
            return Err(Error::InvalidData(format!(
                "'{}' of row {} is null: only the whole of a struct array can be",
                as_field.name,
                row_of(element)
            )));
        }
        children.push(child);
    }
    let structs = StructArray::try_new_with_length(arrow_fields(fields), children, None, structs.len())?;
    list_of(&lists, Arc::new(structs))
}

/// Refuses values that break a limit of their field or sub-field.
pub(super) fn check(field: &Field, column: &ArrayRef, fields: &[SubField], max_capacity: u32) -> Result<()> {
    let lists = column.as_list::<i32>();
    check_capacity(field, lists, max_capacity)?;
    let structs = elements(lists);
    for (sub, child) in fields.iter().zip(structs.as_struct().columns()) {
        check_values(&field_of(field, sub), child)?;
    }
    Ok(())
}

/// The sub-field as if it were a field, under its outer name.
fn field_of(field: &Field, sub: &SubField) -> Field {
    Field::new(sub_field_name(&field.name, &sub.name), sub.data_type.clone())
}

/// The lists with their own elements only: nothing before, after or under a null.
fn without_hidden(lists: &ListArray) -> Result<ListArray> {
    let values = elements(lists);
    let lengths = || (0..lists.len()).map(|row| lists.value_length(row) as usize);
    let hidden = (0..lists.len()).any(|row| lists.is_null(row) && lists.value_length(row) > 0);
    let (offsets, values) = if hidden {
        let shown = |row: usize| lists.is_valid(row);
        let mask = (0..lists.len())
            .zip(lengths())
            .flat_map(|(row, length)| std::iter::repeat_n(Some(shown(row)), length));
        let values = arrow::compute::filter(&values, &mask.collect())?;
        let lengths = lengths().enumerate();
        let lengths = lengths.map(|(row, length)| if shown(row) { length } else { 0 });
        (OffsetBuffer::from_lengths(lengths), values)
    } else {
        (OffsetBuffer::from_lengths(lengths()), values)
    };
    let item = Arc::new(ArrowField::new_list_field(values.data_type().clone(), true));
    Ok(ListArray::try_new(item, offsets, values, lists.nulls().cloned())?)
}

fn list_of(lists: &ListArray, elements: ArrayRef) -> Result<ArrayRef> {
    let item = Arc::new(ArrowField::new_list_field(elements.data_type().clone(), true));
    let offsets = lists.offsets().clone();
    Ok(Arc::new(ListArray::try_new(
        item,
        offsets,
        elements,
        lists.nulls().cloned(),
    )?))
}
