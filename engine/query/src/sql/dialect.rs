//! pgvector's operators: `<->` (L2), `<=>` (cosine), `<#>` (negative inner product), `<~>` (Hamming), `<%>` (Jaccard).
//!
//! They only mean a distance when a side is a vector. `<=>` keeps DataFusion's meaning (is not
//! distinct from) between anything else.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::{DFSchema, Result, ScalarValue, plan_err};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{Expr, ExprSchemable, ScalarUDF};
use elanus_udfs::vector::VectorKind;
use sqlparser::ast::BinaryOperator;

/// Plans the distance operators.
#[derive(Debug)]
pub(crate) struct DistanceOperators {
    functions: Vec<Arc<ScalarUDF>>,
}

impl DistanceOperators {
    /// With the functions that the operators call.
    pub fn new(functions: Vec<Arc<ScalarUDF>>) -> Self {
        Self { functions }
    }
}

impl ExprPlanner for DistanceOperators {
    fn plan_binary_op(&self, expr: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        let (name, only_distance) = match &expr.op {
            BinaryOperator::LtDashGt => ("l2_distance", true),
            BinaryOperator::Spaceship => ("cosine_distance", false),
            BinaryOperator::Custom(text) if text == "<#>" => ("negative_inner_product", true),
            BinaryOperator::Custom(text) if text == "<~>" => ("hamming_distance", true),
            BinaryOperator::Custom(text) if text == "<%>" => ("jaccard_distance", true),
            _ => return Ok(PlannerResult::Original(expr)),
        };
        let function = self.functions.iter().find(|function| function.name() == name);
        let (Some(function), true) = (function, is_distance(&expr.left, &expr.right, schema)?) else {
            if only_distance {
                let (left, right) = (expr.left.get_type(schema)?, expr.right.get_type(schema)?);
                return plan_err!(
                    "operator {} takes two vectors, one of them a column or a list, got {left} and {right}",
                    expr.op
                );
            }
            return Ok(PlannerResult::Original(expr));
        };
        let call = ScalarFunction::new_udf(Arc::clone(function), vec![expr.left, expr.right]);
        Ok(PlannerResult::Planned(Expr::ScalarFunction(call)))
    }
}

/// Whether one side is a vector and the other can be one.
fn is_distance(left: &Expr, right: &Expr, schema: &DFSchema) -> Result<bool> {
    let (left, right) = (Side::of(left, schema)?, Side::of(right, schema)?);
    Ok(match (left, right) {
        (Side::Vector, Side::Vector | Side::Text | Side::Open) | (Side::Text | Side::Open, Side::Vector) => {
            true
        }
        (Side::Other, _) | (_, Side::Other) | (Side::Text | Side::Open, Side::Text | Side::Open) => false,
    })
}

/// What an operand may be.
enum Side {
    /// A list of numbers, bits, or a sparse vector.
    Vector,
    /// Text that may be a vector.
    Text,
    /// A parameter or NULL.
    Open,
    /// Nothing that a distance takes.
    Other,
}

impl Side {
    fn of(expr: &Expr, schema: &DFSchema) -> Result<Self> {
        if matches!(expr, Expr::Placeholder(_) | Expr::Literal(ScalarValue::Null, _)) {
            return Ok(Self::Open);
        }
        Ok(match expr.get_type(schema)? {
            vector if VectorKind::of_type(&vector).is_some() => Self::Vector,
            DataType::FixedSizeList(item, _) | DataType::List(item) | DataType::LargeList(item)
                if item.data_type().is_numeric() =>
            {
                Self::Vector
            }
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Self::Text,
            DataType::Null => Self::Open,
            _ => Self::Other,
        })
    }
}
