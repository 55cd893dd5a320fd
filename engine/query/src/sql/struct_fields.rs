//! `chunks['v']` of an array of structs: the values of one sub-field, an array of them for each row.

use arrow::datatypes::DataType as ArrowType;
use datafusion::common::{DFSchema, ExprSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::GetFieldAccess;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawFieldAccessExpr};
use datafusion::logical_expr::{Expr, ExprSchemable};
use elanus_collection::{DataType, Field, sub_field_name};
use elanus_udfs::elements::sub_field;
use elanus_udfs::vector::VectorKind;
use sqlparser::ast::{AccessExpr, Expr as SqlExpr, Ident, Subscript, Value, ValueWithSpan};

/// Plans the access to sub-fields of arrays of structs.
#[derive(Debug)]
pub(crate) struct StructFields;

impl ExprPlanner for StructFields {
    fn plan_field_access(
        &self,
        access: RawFieldAccessExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawFieldAccessExpr>> {
        let GetFieldAccess::NamedStructField {
            name: ScalarValue::Utf8(Some(name)),
        } = &access.field_access
        else {
            return Ok(PlannerResult::Original(access));
        };
        let ArrowType::List(item) = access.expr.get_type(schema)? else {
            return Ok(PlannerResult::Original(access));
        };
        if !matches!(item.data_type(), ArrowType::Struct(_)) {
            return Ok(PlannerResult::Original(access));
        }
        let vectors = match &access.expr {
            Expr::Column(column) => {
                let field = schema.field_from_column(column)?;
                Field::from_arrow(field)
                    .ok()
                    .and_then(|field| kind_of_vectors(&field, name))
            }
            _ => None,
        };
        Ok(PlannerResult::Planned(sub_field(access.expr, name, vectors)))
    }
}

/// The name that is written here: of a column, or of a sub-field as `chunks['v']`.
pub(crate) fn written_name(given: &SqlExpr, normalized: impl Fn(&Ident) -> String) -> Option<String> {
    match given {
        SqlExpr::Identifier(ident) => Some(normalized(ident)),
        SqlExpr::Nested(inner) => written_name(inner, normalized),
        SqlExpr::CompoundFieldAccess { root, access_chain } => {
            let (SqlExpr::Identifier(root), [AccessExpr::Subscript(Subscript::Index { index })]) =
                (root.as_ref(), access_chain.as_slice())
            else {
                return None;
            };
            let SqlExpr::Value(ValueWithSpan {
                value: Value::SingleQuotedString(sub),
                ..
            }) = index
            else {
                return None;
            };
            Some(sub_field_name(&normalized(root), sub))
        }
        _ => None,
    }
}

/// The kind of the vectors in sub-field `name` of a field.
pub(crate) fn kind_of_vectors(field: &Field, name: &str) -> Option<VectorKind> {
    let sub = field.sub_fields().iter().find(|sub| sub.name == name)?;
    kind_of(&sub.data_type)
}

/// The kind of vectors of this type.
pub(crate) fn kind_of(data_type: &DataType) -> Option<VectorKind> {
    VectorKind::of(&Field::new("vector", data_type.clone()).to_arrow())
}
