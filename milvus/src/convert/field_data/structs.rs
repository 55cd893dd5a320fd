//! Arrays of structs: on the wire one array column per sub-field, in Arrow one list of structs.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, StructArray};
use arrow::datatypes::{DataType as ArrowType, Field as ArrowField, Fields};
use chrono_tz::Tz;
use elanus_collection::{CollectionSchema, DataType, Field, split_sub_field_name};
use milvus::proto::schema::FieldData;
use milvus::proto::schema::field_data::Field as WireField;

use super::nulls::Nulls;
use super::{mismatch, scalars, vectors};
use crate::status::{Error, Result};

/// The rows of an array of structs.
///
/// # Errors
/// When a sub-field is missing, unknown or given twice, does not fit, or has not as many elements in each row as the others.
pub(super) fn from_wire(
    schema: &CollectionSchema,
    field: &Field,
    data: FieldData,
    rows: usize,
    zone: Tz,
) -> Result<ArrayRef> {
    let given = match data.field {
        Some(WireField::StructArrays(structs)) => structs.fields,
        Some(WireField::Scalars(_)) => return Err(mismatch(field, "scalar")),
        Some(WireField::Vectors(_)) => return Err(mismatch(field, "vector")),
        None => Vec::new(),
    };
    let DataType::StructArray { max_capacity, .. } = &field.data_type else {
        return Err(mismatch(field, "struct"));
    };
    let mut lists: Vec<Option<ListArray>> = vec![None; field.sub_fields().len()];
    for sub in given {
        let name = match split_sub_field_name(&sub.field_name) {
            Some((of, name)) if of == field.name => name,
            _ => sub.field_name.as_str(),
        };
        let mut places = field.sub_fields().iter().zip(&mut lists);
        let Some((definition, place)) = places.find(|(known, _)| known.name == name) else {
            let known: Vec<_> = field.sub_fields().iter().map(|sub| sub.name.as_str()).collect();
            return Err(Error::invalid(format!(
                "sub-field {name} not exist in struct array field {}; sub-fields are {}",
                field.name,
                known.join(", ")
            )));
        };
        if place.is_some() {
            return Err(Error::invalid(format!(
                "duplicated field data of sub-field {name} of {}: each is sent once",
                field.name
            )));
        }
        let as_array = Field {
            nullable: field.nullable,
            ..Field::new(
                &sub.field_name,
                DataType::Array {
                    element: Box::new(definition.data_type.clone()),
                    max_capacity: *max_capacity,
                },
            )
        };
        if definition.data_type.is_vector() {
            let valid = Some(sub.valid_data).filter(|valid| !valid.is_empty());
            let valid = valid.unwrap_or_else(|| data.valid_data.clone());
            let nulls = Nulls::of(&as_array, valid, rows)?;
            let of_element = Field::new(&sub.field_name, definition.data_type.clone());
            *place = Some(vectors::lists_from_wire(&of_element, sub.field, &nulls)?);
            continue;
        }
        let mut payload = match sub.field {
            Some(WireField::Scalars(scalars)) => scalars,
            None => Default::default(),
            Some(WireField::Vectors(_)) => return Err(mismatch(&as_array, "vector")),
            Some(WireField::StructArrays(_)) => return Err(mismatch(&as_array, "struct")),
        };
        let valid = [sub.valid_data, std::mem::take(&mut payload.valid_data)];
        let valid = valid.into_iter().find(|valid| !valid.is_empty());
        let valid = valid.unwrap_or_else(|| data.valid_data.clone());
        let nulls = Nulls::of(&as_array, valid, rows)?;
        let list = scalars::from_wire(schema, &as_array, payload.data, &nulls, zone)?;
        *place = list.as_list_opt::<i32>().cloned();
    }
    joined(field, lists)
}

/// One list of structs of the lists of the sub-fields.
fn joined(field: &Field, lists: Vec<Option<ListArray>>) -> Result<ArrayRef> {
    let mut whole: Option<(&str, ListArray)> = None;
    let mut children = Vec::with_capacity(lists.len());
    for (sub, list) in field.sub_fields().iter().zip(lists) {
        let Some(list) = list else {
            return Err(Error::invalid(format!(
                "field data of sub-field {} of struct array field {} is missing",
                sub.name, field.name
            )));
        };
        let child = Arc::new(ArrowField::new(&sub.name, list.value_type(), true));
        children.push((child, Arc::clone(list.values())));
        let Some((first, other)) = &whole else {
            whole = Some((&sub.name, list));
            continue;
        };
        let differs = (0..list.len()).find(|row| {
            (list.is_null(*row), list.value_length(*row)) != (other.is_null(*row), other.value_length(*row))
        });
        if let Some(row) = differs {
            return Err(Error::invalid(format!(
                "inconsistent array length in struct array field {}: row {row} of sub-field {} has {} elements, of sub-field {first} {}",
                field.name,
                sub.name,
                list.value_length(row),
                other.value_length(row)
            )));
        }
    }
    let Some((_, whole)) = whole else {
        return Err(mismatch(field, "empty struct"));
    };
    let (fields, values): (Vec<_>, Vec<_>) = children.into_iter().unzip();
    let structs = StructArray::try_new(Fields::from(fields), values, None)?;
    let item = ArrowField::new_list_field(ArrowType::Struct(structs.fields().clone()), true);
    let (offsets, nulls) = (whole.offsets().clone(), whole.nulls().cloned());
    Ok(Arc::new(ListArray::try_new(
        Arc::new(item),
        offsets,
        Arc::new(structs),
        nulls,
    )?))
}

#[cfg(test)]
mod tests {
    use elanus_collection::SubField;
    use milvus::proto::schema::scalar_field::Data;
    use milvus::proto::schema::{self as wire, ScalarField, StructArrayField};

    use super::*;

    fn field() -> Field {
        let fields = ["a", "b"].map(|name| SubField::new(name, DataType::Int64));
        Field::new(
            "s",
            DataType::StructArray {
                fields: fields.to_vec(),
                max_capacity: 4,
            },
        )
        .nullable()
    }

    fn sub(name: &str, rows: &[&[i64]], valid: &[bool]) -> FieldData {
        let of_row = |row: &&[i64]| ScalarField {
            data: Some(Data::LongData(wire::LongArray { data: row.to_vec() })),
            ..Default::default()
        };
        FieldData {
            field_name: name.into(),
            field: Some(WireField::Scalars(ScalarField {
                data: Some(Data::ArrayData(wire::ArrayArray {
                    data: rows.iter().map(of_row).collect(),
                    ..Default::default()
                })),
                ..Default::default()
            })),
            valid_data: valid.to_vec(),
            ..Default::default()
        }
    }

    fn run(fields: Vec<FieldData>) -> Result<ArrayRef> {
        let schema = CollectionSchema::new(vec![field()]);
        let data = FieldData {
            field_name: "s".into(),
            field: Some(WireField::StructArrays(StructArrayField { fields })),
            ..Default::default()
        };
        from_wire(&schema, &field(), data, 2, Tz::UTC)
    }

    #[test]
    fn columns_of_sub_fields_become_lists_of_structs() {
        let valid = [false, true];
        let column = run(vec![
            sub("s[b]", &[&[3, 4]], &valid),
            sub("a", &[&[1, 2]], &valid),
        ])
        .unwrap();
        let lists = column.as_list::<i32>();
        assert!(lists.is_null(0) && lists.value_length(1) == 2);
        let structs = lists.values().as_struct();
        assert_eq!(structs.column_names(), ["a", "b"]);
        let b = structs.column(1).as_primitive::<arrow::datatypes::Int64Type>();
        assert_eq!(b.values().as_ref(), [3, 4]);
    }

    #[test]
    fn columns_that_make_no_structs_are_refused() {
        let a = || sub("a", &[&[1], &[2]], &[]);
        for (fields, reason) in [
            (vec![a()], "sub-field b of struct array field s is missing"),
            (
                vec![a(), sub("b", &[&[1], &[2, 3]], &[])],
                "inconsistent array length in struct array field s: row 1 of sub-field b has 2 elements, of sub-field a 1",
            ),
            (
                vec![a(), sub("b", &[&[1]], &[true, false])],
                "inconsistent array length",
            ),
            (
                vec![a(), sub("c", &[&[1], &[2]], &[])],
                "sub-field c not exist in struct array field s; sub-fields are a, b",
            ),
            (vec![a(), a()], "duplicated field data of sub-field a"),
            (vec![a(), sub("b", &[&[1]], &[])], "the num_rows (1)"),
            (Vec::new(), "sub-field a of struct array field s is missing"),
        ] {
            let error = run(fields).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
