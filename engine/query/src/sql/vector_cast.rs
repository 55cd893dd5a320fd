//! Casts to a vector: `'[1, 2, 3]'::vector(3)`, `CAST(ARRAY[1, 2] AS VECTOR(2))`, values of an INSERT.
//!
//! Arrow does not cast text to a fixed-size list, and its cast from a list names no dimensions when
//! they differ. [`VectorCastRule`] replaces both casts, and `TRY_CAST`, by the function [`ToVector`]
//! before types are checked.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, FixedSizeListArray, Float32Array};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result, internal_err, plan_err};
use datafusion::config::ConfigOptions;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, LogicalPlan, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};
use datafusion::optimizer::AnalyzerRule;

use super::vector_text::{floats_of, parse_vector};
use crate::error::{QueryError, external};

/// `FixedSizeList<Float32 not null, dim>`, the type of a vector.
pub(crate) fn vector_type(dim: i32) -> DataType {
    DataType::FixedSizeList(Arc::new(Field::new_list_field(DataType::Float32, false)), dim)
}

/// Text or a list to a vector of a fixed dimension.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct ToVector {
    dim: i32,
    /// Whether what is no such vector becomes NULL instead of an error (`TRY_CAST`).
    or_null: bool,
    signature: Signature,
}

impl ToVector {
    /// The function for dimension `dim`.
    pub fn new(dim: i32, or_null: bool) -> Self {
        Self {
            dim,
            or_null,
            signature: Signature::any(1, Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for ToVector {
    fn name(&self) -> &str {
        if self.or_null {
            "try_to_vector"
        } else {
            "to_vector"
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, args: &[DataType]) -> Result<DataType> {
        match args {
            [from] if converts(from) => Ok(vector_type(self.dim)),
            [from] => plan_err!("cannot make a vector of dimension {} from {from}", self.dim),
            _ => plan_err!("{} takes one value", self.name()),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some(value) = args.args.first() else {
            return internal_err!("{} takes one value", self.name());
        };
        let scalar = matches!(value, ColumnarValue::Scalar(_));
        let input = value.to_array(if scalar { 1 } else { args.number_rows })?;
        let vectors: ArrayRef = Arc::new(self.vectors(&input).map_err(external)?);
        if scalar {
            return Ok(ColumnarValue::Scalar(
                datafusion::common::ScalarValue::try_from_array(&vectors, 0)?,
            ));
        }
        Ok(ColumnarValue::Array(vectors))
    }
}

fn converts(from: &DataType) -> bool {
    matches!(
        from,
        DataType::Utf8
            | DataType::LargeUtf8
            | DataType::Utf8View
            | DataType::List(_)
            | DataType::LargeList(_)
            | DataType::FixedSizeList(..)
            | DataType::Null
    )
}

impl ToVector {
    /// The vectors of a column.
    ///
    /// # Errors
    /// A value that is no vector of the dimension.
    pub fn vectors(&self, input: &ArrayRef) -> Result<FixedSizeListArray, QueryError> {
        let wanted = usize::try_from(self.dim).unwrap_or(0);
        let mut values: Vec<f32> = Vec::with_capacity(input.len() * wanted);
        let mut valid: Vec<bool> = Vec::with_capacity(input.len());
        for row in 0..input.len() {
            let vector = match vector_of(input, row, wanted) {
                Err(_) if self.or_null => None,
                vector => vector?,
            };
            valid.push(vector.is_some());
            match vector {
                Some(vector) => values.extend(vector),
                None => values.extend(std::iter::repeat_n(0.0, wanted)),
            }
        }
        let DataType::FixedSizeList(item, _) = vector_type(self.dim) else {
            return Err(QueryError::Internal("a vector is a fixed-size list".into()));
        };
        let nulls = NullBuffer::from(valid);
        let nulls = (nulls.null_count() > 0).then_some(nulls);
        let values = Arc::new(Float32Array::from(values));
        Ok(FixedSizeListArray::try_new(item, self.dim, values, nulls)?)
    }
}

/// The vector of `wanted` dimensions in a row; `None` for NULL.
fn vector_of(input: &ArrayRef, row: usize, wanted: usize) -> Result<Option<Vec<f32>>, QueryError> {
    match row_of(input, row)? {
        Some(vector) if vector.len() != wanted => Err(QueryError::Execution(format!(
            "expected a vector of dimension {wanted}, got one of {}",
            vector.len()
        ))),
        vector => Ok(vector),
    }
}

fn row_of(input: &ArrayRef, row: usize) -> Result<Option<Vec<f32>>, QueryError> {
    if input.is_null(row) || input.data_type() == &DataType::Null {
        return Ok(None);
    }
    if let Some(texts) = input.as_string_opt::<i32>() {
        return parse_vector(texts.value(row)).map(Some);
    }
    if let Some(texts) = input.as_string_opt::<i64>() {
        return parse_vector(texts.value(row)).map(Some);
    }
    if let Some(texts) = input.as_string_view_opt() {
        return parse_vector(texts.value(row)).map(Some);
    }
    let elements = if let Some(lists) = input.as_list_opt::<i32>() {
        lists.value(row)
    } else if let Some(lists) = input.as_list_opt::<i64>() {
        lists.value(row)
    } else if let Some(lists) = input.as_fixed_size_list_opt() {
        lists.value(row)
    } else {
        return Err(QueryError::Execution(format!(
            "cannot make a vector from {}",
            input.data_type()
        )));
    };
    floats_of(&elements).map(Some)
}

/// Replaces casts to a vector type by [`ToVector`].
#[derive(Debug, Default)]
pub(crate) struct VectorCastRule;

impl AnalyzerRule for VectorCastRule {
    fn name(&self) -> &str {
        "vector_cast"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up_with_subqueries(rewrite_node)
            .map(|transformed| transformed.data)
    }
}

fn rewrite_node(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let schema = match &plan {
        LogicalPlan::TableScan(scan) => {
            DFSchema::try_from_qualified_schema(scan.table_name.clone(), &scan.source.schema())?
        }
        plan => merge_schema(&plan.inputs()),
    };
    let names = NamePreserver::new(&plan);
    plan.map_expressions(|expr| {
        let name = names.save(&expr);
        let rewritten = expr.transform_up(|expr| {
            let (inner, target, or_null) = match &expr {
                Expr::Cast(cast) => (&cast.expr, cast.field.data_type(), false),
                Expr::TryCast(cast) => (&cast.expr, cast.field.data_type(), true),
                _ => return Ok(Transformed::no(expr)),
            };
            let DataType::FixedSizeList(_, dim) = target else {
                return Ok(Transformed::no(expr));
            };
            let from = inner.get_type(&schema)?;
            if target != &vector_type(*dim) || from == DataType::Null || &from == target {
                return Ok(Transformed::no(expr));
            }
            let function = Arc::new(ScalarUDF::from(ToVector::new(*dim, or_null)));
            Ok(Transformed::yes(Expr::ScalarFunction(ScalarFunction::new_udf(
                function,
                vec![inner.as_ref().clone()],
            ))))
        })?;
        Ok(rewritten.update_data(|expr| name.restore(expr)))
    })
}
