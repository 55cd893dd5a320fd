//! Names to operands: fields, paths into JSON and arrays, dynamic keys.

use arrow::datatypes::{DataType, Field};
use elanus_udfs::json::push_step;

use super::Lowerer;
use super::elements::{element_of, is_struct_array};
use super::operand::{Array, JsonPath, Operand, Origin, Scalar, column, is_json, kind, type_name};
use crate::ast::{FieldPath, PathStep, Span};
use crate::error::{FilterErrorKind, Issue, Result};

/// The column of the dynamic field.
const DYNAMIC: &str = "$meta";

impl Lowerer<'_> {
    /// What a field or a path stands for. A name that the schema lacks is a key of the dynamic field, if there is one.
    pub(super) fn field(&self, path: &FieldPath, span: Span) -> Result<Operand> {
        self.not_in_elements(&path.name, span)?;
        if let Ok(field) = self.schema.field_with_name(&path.name) {
            return known_field(field, &path.path, span);
        }
        if path.name == "null" || path.name == "NULL" {
            return Err(Issue::types(
                span,
                "NULL literal is not supported in expressions; write field is null",
            ));
        }
        if path.name != DYNAMIC && self.schema.field_with_name(DYNAMIC).is_ok() {
            let mut pointer = String::new();
            push_step(&mut pointer, &path.name);
            push_path(&mut pointer, &path.path, span)?;
            return Ok(Operand::Json(JsonPath {
                column: column(DYNAMIC),
                pointer,
            }));
        }
        Err(self.not_found(&path.name, span))
    }

    pub(super) fn not_found(&self, name: &str, span: Span) -> Box<Issue> {
        let close = self
            .schema
            .fields()
            .iter()
            .filter_map(|field| {
                let known = field.name();
                let allowed = 1 + known.len() / 4;
                // names of too different lengths are never close, and comparing long ones costs time and memory
                if known.len().abs_diff(name.len()) > allowed {
                    return None;
                }
                let distance = strsim::damerau_levenshtein(known, name);
                (distance <= allowed).then_some((distance, known))
            })
            .min();
        let mut message = format!("field {name} not exist");
        if let Some((_, known)) = close {
            message.push_str(&format!("; did you mean {known}?"));
        }
        Box::new(Issue {
            kind: FilterErrorKind::FieldNotFound {
                field: name.to_owned(),
            },
            message,
            span,
        })
    }
}

fn known_field(field: &Field, path: &[PathStep], span: Span) -> Result<Operand> {
    let name = field.name();
    if is_json(field) || name == DYNAMIC {
        let mut pointer = String::new();
        push_path(&mut pointer, path, span)?;
        return Ok(Operand::Json(JsonPath {
            column: column(name),
            pointer,
        }));
    }
    let data_type = field.data_type();
    if let DataType::List(item) = data_type
        && (kind(item.data_type()).is_some() || is_struct_array(data_type))
    {
        return array_field(name, item.data_type(), path, span);
    }
    let Some(kind) = kind(data_type) else {
        let shown = type_name(data_type);
        return Err(Issue::types(
            span,
            format!("field {name} of type {shown} cannot be used in a filter"),
        ));
    };
    if !path.is_empty() {
        let shown = type_name(data_type);
        return Err(Issue::types(
            span,
            format!("{shown} data type not supported accessed with []"),
        ));
    }
    let scalar = Scalar {
        expr: column(name),
        data_type: data_type.clone(),
        kind,
        origin: Origin::Column,
    };
    Ok(Operand::Scalar(scalar))
}

fn array_field(name: &str, element: &DataType, path: &[PathStep], span: Span) -> Result<Operand> {
    let array = Array {
        expr: column(name),
        element: element.clone(),
    };
    match path {
        [] => Ok(Operand::Array(array)),
        _ if matches!(element, DataType::Struct(_)) => Err(Issue::types(
            span,
            format!("an element of a struct array is read by its sub-fields: {name}[0][sub-field]"),
        )),
        [PathStep::Index(index)] => match element_of(array, *index) {
            Some(scalar) => Ok(Operand::Scalar(scalar)),
            None => Err(Issue::types(
                span,
                format!(
                    "elements of type {} cannot be used in a filter",
                    type_name(element)
                ),
            )),
        },
        [PathStep::Key(_), ..] => Err(Issue::types(
            span,
            "can only access array field with integer index",
        )),
        [PathStep::Index(_), ..] => Err(Issue::types(
            span,
            format!("{} data type not supported accessed with []", type_name(element)),
        )),
    }
}

fn push_path(pointer: &mut String, path: &[PathStep], span: Span) -> Result<()> {
    for step in path {
        match step {
            PathStep::Key(key) if key.is_empty() => {
                return Err(Issue::types(span, "a JSON key may not be empty"));
            }
            PathStep::Key(key) => push_step(pointer, key),
            PathStep::Index(index) => push_step(pointer, &index.to_string()),
        }
    }
    Ok(())
}
