//! Casts to a vector: `'[1, 2, 3]'::vector(3)`, `CAST(ARRAY[1, 2] AS VECTOR(2))`, values of an INSERT.
//!
//! The other vector types are cast in the same way, from text, lists and vectors of numbers, and every vector but those
//! of 32-bit floats is cast to text as it is written.
//!
//! Arrow does not cast text to a fixed-size list, and its cast from a list names no dimensions when
//! they differ. [`VectorCastRule`] replaces both casts, and `TRY_CAST`, by the function [`ToVector`]
//! before types are checked.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, FixedSizeListArray, Float32Array};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result, internal_err, plan_err};
use datafusion::config::ConfigOptions;
use datafusion::logical_expr::expr::{Cast, ScalarFunction, TryCast};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, LogicalPlan, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility,
};
use datafusion::optimizer::AnalyzerRule;
use elanus_udfs::vector::{VectorKind, converts, to_text, to_vectors};

use super::vector_text::{floats_of, parse_vector};
use crate::error::{QueryError, external};

/// Text or a list to a vector of one type.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct ToVector {
    kind: VectorKind,
    /// Whether what is no such vector becomes NULL instead of an error (`TRY_CAST`).
    or_null: bool,
    signature: Signature,
}

impl ToVector {
    /// The function for vectors of this kind.
    pub fn new(kind: VectorKind, or_null: bool) -> Self {
        Self {
            kind,
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
            [_] => Ok(self.kind.data_type()),
            _ => plan_err!("{} takes one value", self.name()),
        }
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let [from] = args.arg_fields else {
            return plan_err!("{} takes one value", self.name());
        };
        match self.kind {
            // What is in a list is looked at when it is there.
            VectorKind::Float(_) if VectorKind::of(from).is_none() && is_text_or_list(from.data_type()) => {}
            kind if converts(kind, from) => {}
            VectorKind::Float(dim) => {
                return plan_err!(
                    "cannot make a vector of dimension {dim} from {}",
                    from.data_type()
                );
            }
            kind => {
                let from = VectorKind::of(from)
                    .map_or_else(|| from.data_type().to_string(), |from| from.to_string());
                return plan_err!("cannot make a {kind} from {from}");
            }
        }
        Ok(self.kind.field(self.name()))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some(value) = args.args.first() else {
            return internal_err!("{} takes one value", self.name());
        };
        let scalar = matches!(value, ColumnarValue::Scalar(_));
        let input = value.to_array(if scalar { 1 } else { args.number_rows })?;
        let from = args.arg_fields.first().and_then(|field| VectorKind::of(field));
        let vectors = self.vectors(from, &input)?;
        if scalar {
            return Ok(ColumnarValue::Scalar(
                datafusion::common::ScalarValue::try_from_array(&vectors, 0)?,
            ));
        }
        Ok(ColumnarValue::Array(vectors))
    }
}

fn is_text_or_list(from: &DataType) -> bool {
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
    /// The vectors of a column, which is of vector type `from` if it is of one.
    ///
    /// # Errors
    /// A value that is no vector of this kind.
    pub fn vectors(&self, from: Option<VectorKind>, input: &ArrayRef) -> Result<ArrayRef> {
        match (self.kind, from) {
            (VectorKind::Float(dim), None | Some(VectorKind::Float(_))) => {
                Ok(Arc::new(self.floats(dim, input).map_err(external)?))
            }
            (kind, from) => to_vectors(kind, from, input, self.or_null),
        }
    }

    fn floats(&self, dim: i32, input: &ArrayRef) -> Result<FixedSizeListArray, QueryError> {
        let wanted = usize::try_from(dim).unwrap_or(0);
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
        let DataType::FixedSizeList(item, _) = self.kind.data_type() else {
            return Err(QueryError::Internal("a vector is a fixed-size list".into()));
        };
        let nulls = NullBuffer::from(valid);
        let nulls = (nulls.null_count() > 0).then_some(nulls);
        let values = Arc::new(Float32Array::from(values));
        Ok(FixedSizeListArray::try_new(item, dim, values, nulls)?)
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
                Expr::Cast(cast) => (&cast.expr, &cast.field, false),
                Expr::TryCast(cast) => (&cast.expr, &cast.field, true),
                _ => return Ok(Transformed::no(expr)),
            };
            if is_text(target.data_type()) {
                return text_cast(expr, &schema);
            }
            let Some(kind) = VectorKind::of(target) else {
                return Ok(Transformed::no(expr));
            };
            let (_, from) = inner.to_field(&schema)?;
            let same = VectorKind::of(&from) == Some(kind) && from.data_type() == target.data_type();
            if target.data_type() != &kind.data_type() || from.data_type() == &DataType::Null || same {
                return Ok(Transformed::no(expr));
            }
            let function = Arc::new(ScalarUDF::from(ToVector::new(kind, or_null)));
            Ok(Transformed::yes(Expr::ScalarFunction(ScalarFunction::new_udf(
                function,
                vec![inner.as_ref().clone()],
            ))))
        })?;
        Ok(rewritten.update_data(|expr| name.restore(expr)))
    })
}

fn is_text(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
    )
}

/// A cast to text over the text of a vector, so that the cast is between texts.
fn text_cast(mut expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let (Expr::Cast(Cast { expr: inner, .. }) | Expr::TryCast(TryCast { expr: inner, .. })) = &mut expr
    else {
        return Ok(Transformed::no(expr));
    };
    let (_, from) = inner.to_field(schema)?;
    match VectorKind::of(&from) {
        None | Some(VectorKind::Float(_)) => Ok(Transformed::no(expr)),
        Some(kind) => {
            let function = Arc::new(ScalarUDF::from(VectorText::new(kind)));
            let vector = std::mem::take(inner.as_mut());
            **inner = Expr::ScalarFunction(ScalarFunction::new_udf(function, vec![vector]));
            Ok(Transformed::yes(expr))
        }
    }
}

/// A vector as it is written.
#[derive(Debug, PartialEq, Eq, Hash)]
struct VectorText {
    kind: VectorKind,
    signature: Signature,
}

impl VectorText {
    fn new(kind: VectorKind) -> Self {
        Self {
            kind,
            signature: Signature::any(1, Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for VectorText {
    fn name(&self) -> &'static str {
        "vector_text"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match args.args.first() {
            Some(vector) => to_text(self.kind, vector),
            None => internal_err!("{} takes one value", self.name()),
        }
    }
}
