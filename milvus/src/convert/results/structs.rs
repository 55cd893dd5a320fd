//! Arrays of structs in replies: one array column per sub-field, each with the flags of the whole.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray};
use arrow::datatypes::Field as ArrowField;
use chrono_tz::Tz;
use elanus_collection::{DataType, Field};
use milvus::proto::schema::field_data::Field as WireField;
use milvus::proto::schema::{FieldData, StructArrayField};

use super::{broken, column_to_wire};
use crate::convert::schema::type_to_wire;
use crate::status::Result;

/// The column, of all sub-fields or of the named ones.
pub(super) fn to_wire(
    field: &Field,
    column: &ArrayRef,
    only: Option<&[String]>,
    zone: Tz,
) -> Result<FieldData> {
    let unexpected = || broken(&field.name, "is of an unexpected type");
    let lists = column.as_list_opt::<i32>().ok_or_else(unexpected)?;
    let structs = lists.values().as_struct_opt().ok_or_else(unexpected)?;
    let mut fields = Vec::with_capacity(field.sub_fields().len());
    for sub in field.sub_fields() {
        if only.is_some_and(|names| !names.contains(&sub.name)) {
            continue;
        }
        let child = structs.column_by_name(&sub.name).ok_or_else(unexpected)?;
        let item = Arc::new(ArrowField::new_list_field(child.data_type().clone(), true));
        let (offsets, nulls) = (lists.offsets().clone(), lists.nulls().cloned());
        let list: ArrayRef = Arc::new(ListArray::try_new(item, offsets, Arc::clone(child), nulls)?);
        let element = Box::new(sub.data_type.clone());
        let list_type = if sub.data_type.is_vector() {
            DataType::VectorArray { element }
        } else {
            DataType::Array {
                element,
                max_capacity: 0,
            }
        };
        let of_lists = Field {
            id: sub.id,
            nullable: field.nullable,
            ..Field::new(&sub.name, list_type)
        };
        fields.push(column_to_wire(&of_lists, &list, None, zone)?);
    }
    Ok(FieldData {
        r#type: type_to_wire(&field.data_type) as i32,
        field_name: field.name.clone(),
        field_id: field.id,
        field: Some(WireField::StructArrays(StructArrayField { fields })),
        ..Default::default()
    })
}
