//! `+`, `-` and `*` of integers in SQL: an error where the result does not fit.
//!
//! DataFusion's operators wrap around. Milvus' expressions keep them, as Milvus wraps around too.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{Expr, ExprSchemable, Operator};
use elanus_udfs::arithmetic;
use sqlparser::ast::BinaryOperator;

/// Plans arithmetic of integers.
#[derive(Debug)]
pub(crate) struct CheckedArithmetic;

impl ExprPlanner for CheckedArithmetic {
    fn plan_binary_op(&self, expr: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        let op = match &expr.op {
            BinaryOperator::Plus => Operator::Plus,
            BinaryOperator::Minus => Operator::Minus,
            BinaryOperator::Multiply => Operator::Multiply,
            _ => return Ok(PlannerResult::Original(expr)),
        };
        let (left, right) = (type_of(&expr.left, schema), type_of(&expr.right, schema));
        // A parameter has the type of what it is added to.
        let (left, right) = match (left, right) {
            (Some(left), Some(right)) => (left, right),
            (Some(known), None) | (None, Some(known)) => (known.clone(), known),
            (None, None) => return Ok(PlannerResult::Original(expr)),
        };
        let Some(function) = arithmetic::function(op, &left, &right) else {
            return Ok(PlannerResult::Original(expr));
        };
        let args = vec![typed(expr.left, &left), typed(expr.right, &right)];
        let call = ScalarFunction::new_udf(function, args);
        Ok(PlannerResult::Planned(Expr::ScalarFunction(call)))
    }
}

/// The type of an operand; none of a parameter that has none yet.
fn type_of(expr: &Expr, schema: &DFSchema) -> Option<DataType> {
    match expr {
        Expr::Placeholder(parameter) => parameter.field.as_ref().map(|field| field.data_type().clone()),
        // Where it has no type there is an error to come, which DataFusion words.
        other => Some(other.get_type(schema).unwrap_or(DataType::Null)),
    }
}

fn typed(expr: Expr, data_type: &DataType) -> Expr {
    match expr {
        Expr::Placeholder(mut parameter) if parameter.field.is_none() => {
            parameter.field = Some(Arc::new(Field::new("", data_type.clone(), true)));
            Expr::Placeholder(parameter)
        }
        other => other,
    }
}
