//! Conditions on the elements of struct arrays: `match_*`, `element_filter`, `$[sub]`, and sub-fields from outside.
//!
//! The condition inside is lowered by a [`Lowerer`] of its own, whose schema is the element: `$[sub]` is a column there.

use arrow::datatypes::{DataType, Field, Schema};
use datafusion::functions_nested::extract::array_element_udf;
use datafusion::logical_expr::{Expr, lit};
use elanus_udfs::elements::{self, ELEMENT, ElementTest, element_fields};

use super::Lowerer;
use super::operand::{Array, Operand, Origin, Scalar, call, column, kind, type_name};
use crate::ast::{self, MatchMode, Span};
use crate::error::{Issue, Result};

/// What `$` is, inside of a condition on elements.
#[derive(Clone, Copy)]
pub(super) struct Scope<'a> {
    /// The field whose elements they are.
    field: &'a str,
    /// Whether they are structs.
    structs: bool,
}

/// Whether this is the type of a dense vector, which an array of structs may hold and no condition can read.
fn is_vector(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::FixedSizeList(..) | DataType::FixedSizeBinary(_)
    )
}

/// Whether this is the type of an array of structs; sparse vectors are lists of structs that filters cannot use.
pub(super) fn is_struct_array(data_type: &DataType) -> bool {
    let DataType::List(item) = data_type else {
        return false;
    };
    matches!(item.data_type(), DataType::Struct(fields)
        if !fields.is_empty()
            && fields.iter().all(|field| kind(field.data_type()).is_some() || is_vector(field.data_type())))
}

/// What `match_*` tests, with Milvus' limits of the threshold.
pub(super) fn test_of(mode: MatchMode, threshold: Option<i64>, span: Span) -> Result<ElementTest> {
    let shown = mode.name().to_uppercase();
    let given = threshold.unwrap_or(0);
    let count = u64::try_from(given);
    match (mode, count) {
        (MatchMode::All, _) => Ok(ElementTest::All),
        (MatchMode::Any, _) => Ok(ElementTest::Any),
        (MatchMode::Least, Ok(count @ 1..)) => Ok(ElementTest::Least(count)),
        (MatchMode::Most, Ok(count)) => Ok(ElementTest::Most(count)),
        (MatchMode::Exact, Ok(count)) => Ok(ElementTest::Exact(count)),
        (MatchMode::Least, _) => Err(Issue::parse(
            span,
            format!("count in {shown} must be positive, got: {given}"),
        )),
        (MatchMode::Most | MatchMode::Exact, Err(_)) => Err(Issue::parse(
            span,
            format!("count in {shown} cannot be negative, got: {given}"),
        )),
    }
}

impl Lowerer<'_> {
    /// `name(field, predicate)`: true for the rows with so many elements that the predicate is true for.
    pub(super) fn elements(
        &self,
        name: &str,
        field: &str,
        predicate: &ast::Expr,
        test: ElementTest,
        span: Span,
    ) -> Result<Expr> {
        if let Some(scope) = self.scope {
            return Err(Issue::parse(
                span,
                format!(
                    "nested {name} is not supported, already inside match expression for field: {}",
                    scope.field
                ),
            ));
        }
        let Ok(known) = self.schema.field_with_name(field) else {
            return Err(self.not_found(field, span));
        };
        let structs = is_struct_array(known.data_type());
        let of_scalars =
            matches!(known.data_type(), DataType::List(item) if kind(item.data_type()).is_some());
        let fields = element_fields(known.data_type()).filter(|_| structs || of_scalars);
        let Some(fields) = fields else {
            let got = type_name(known.data_type());
            return Err(Issue::types(
                span,
                format!("{name} takes a struct array field, {field} is of type {got}"),
            ));
        };
        let schema = Schema::new(fields.clone());
        let inner = Lowerer {
            schema: &schema,
            templates: self.templates,
            zone: self.zone,
            scope: Some(Scope { field, structs }),
        };
        let predicate = inner.condition(predicate, |got| {
            format!("the condition of {name} is not a boolean expression: {predicate}, data type: {got}")
        })?;
        elements::matches(column(field), fields, test, predicate)
            .map_err(|error| Issue::types(span, format!("{name}: {error}")))
    }

    /// `$[sub]`
    pub(super) fn element_sub_field(&self, sub: &str, span: Span) -> Result<Operand> {
        let Some(scope) = self.scope else {
            let message = format!("$[{sub}] syntax can only be used inside element_filter or match_*");
            return Err(Issue::parse(span, message));
        };
        if !scope.structs {
            return Err(Issue::types(
                span,
                format!("{} has no sub-fields; its elements are written $", scope.field),
            ));
        }
        if let Ok(field) = self.schema.field_with_name(sub)
            && is_vector(field.data_type())
        {
            return Err(vector_in_filter(scope.field, sub, span));
        }
        self.element_column(sub).ok_or_else(|| {
            no_sub_field(
                scope.field,
                sub,
                self.schema.fields().iter().map(AsRef::as_ref),
                span,
            )
        })
    }

    /// `$`
    pub(super) fn element_itself(&self, span: Span) -> Result<Operand> {
        match self.scope {
            None => Err(Issue::parse(
                span,
                "$ can only be used inside element_filter or match_*",
            )),
            Some(Scope { structs: true, field }) => Err(Issue::types(
                span,
                format!("the elements of {field} are structs; write $[sub-field]"),
            )),
            Some(scope) => self
                .element_column(ELEMENT)
                .ok_or_else(|| no_sub_field(scope.field, ELEMENT, std::iter::empty(), span)),
        }
    }

    fn element_column(&self, name: &str) -> Option<Operand> {
        let data_type = self.schema.field_with_name(name).ok()?.data_type();
        Some(Operand::Scalar(Scalar {
            expr: column(name),
            data_type: data_type.clone(),
            kind: kind(data_type)?,
            origin: Origin::Column,
        }))
    }

    /// Refuses fields of the row inside of a condition on elements.
    pub(super) fn not_in_elements(&self, name: &str, span: Span) -> Result<()> {
        match self.scope {
            None => Ok(()),
            Some(scope) => {
                let (field, element) = (scope.field, if scope.structs { "$[sub-field]" } else { "$" });
                let message = format!(
                    "field {name} cannot be used in a condition on the elements of {field}; these are written {element}, and conditions on the row are joined with 'and' outside"
                );
                Err(Issue::types(span, message))
            }
        }
    }

    /// `field[sub]`: the values of one sub-field as an array.
    pub(super) fn struct_field(&self, field: &str, sub: &str, span: Span) -> Result<Array> {
        self.not_in_elements(field, span)?;
        let Ok(known) = self.schema.field_with_name(field) else {
            return Err(self.not_found(field, span));
        };
        let fields = element_fields(known.data_type()).filter(|_| is_struct_array(known.data_type()));
        let Some(fields) = fields else {
            let got = type_name(known.data_type());
            return Err(Issue::types(
                span,
                format!("{field}[{sub}] needs a struct array field, {field} is of type {got}"),
            ));
        };
        let Some((_, child)) = fields.find(sub) else {
            return Err(no_sub_field(field, sub, fields.iter().map(AsRef::as_ref), span));
        };
        if is_vector(child.data_type()) {
            return Err(vector_in_filter(field, sub, span));
        }
        Ok(Array {
            expr: elements::sub_field(column(field), sub, None),
            element: child.data_type().clone(),
        })
    }

    /// `field[index][sub]`
    pub(super) fn struct_element(&self, field: &str, index: u64, sub: &str, span: Span) -> Result<Operand> {
        let array = self.struct_field(field, sub, span)?;
        element_of(array, index)
            .map(Operand::Scalar)
            .ok_or_else(|| Issue::types(span, format!("{field}[{sub}] cannot be used in a filter")))
    }
}

/// One element of an array; NULL where the array has none.
pub(super) fn element_of(array: Array, index: u64) -> Option<Scalar> {
    // DataFusion counts from 1, and fails on positions beyond 32 bits, where no element is
    let position = i32::try_from(index.saturating_add(1)).unwrap_or(i32::MAX);
    Some(Scalar {
        expr: call(array_element_udf(), vec![array.expr, lit(i64::from(position))]),
        kind: kind(&array.element)?,
        data_type: array.element,
        origin: Origin::Element,
    })
}

fn vector_in_filter(field: &str, sub: &str, span: Span) -> Box<Issue> {
    Issue::types(
        span,
        format!("{field}[{sub}] holds vectors, which cannot be used in a filter"),
    )
}

fn no_sub_field<'f>(
    field: &str,
    sub: &str,
    known: impl Iterator<Item = &'f Field>,
    span: Span,
) -> Box<Issue> {
    let known: Vec<_> = known.map(|known| known.name().as_str()).collect();
    Issue::types(
        span,
        format!(
            "array field not found: {field}[{sub}]; sub-fields of {field} are {}",
            known.join(", ")
        ),
    )
}
