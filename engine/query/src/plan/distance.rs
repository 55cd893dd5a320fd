//! Reading a distance expression: which function, which column, which query.

use arrow::datatypes::DataType;
use datafusion::common::tree_node::TreeNode;
use datafusion::common::{Column, DFSchema, ExprSchema};
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::expr::ScalarFunction;
use elanus_index::Metric;

/// A distance (or similarity) between a vector column and a query that reads no column.
#[derive(Debug, Clone)]
pub(crate) struct Distance {
    /// Metric that orders rows in the same way.
    pub metric: Metric,
    /// Whether the best rows have the largest value.
    pub descending: bool,
    /// The vector column.
    pub column: Column,
    /// The query vector: a literal, a parameter or a scalar subquery.
    pub query: Expr,
}

impl Distance {
    /// Reads `expr` over `schema`; `None` when it is anything else.
    pub fn of(expr: &Expr, schema: &DFSchema) -> Option<Self> {
        let Expr::ScalarFunction(ScalarFunction { func, args }) = unaliased(expr) else {
            return None;
        };
        let (metric, descending) = match func.name() {
            "l2_distance" => (Metric::L2, false),
            "cosine_distance" => (Metric::Cosine, false),
            "negative_inner_product" => (Metric::Ip, false),
            "inner_product" => (Metric::Ip, true),
            _ => return None,
        };
        let [left, right] = args.as_slice() else {
            return None;
        };
        let (column, query) = match (vector_column(left, schema), vector_column(right, schema)) {
            (Some(column), None) => (column, right),
            (None, Some(column)) => (column, left),
            (Some(_), Some(_)) | (None, None) => return None,
        };
        (is_constant(query)).then(|| Self {
            metric,
            descending,
            column,
            query: query.clone(),
        })
    }
}

/// The vector column that `expr` is. A cast makes other numbers of it (`v::BIGINT[]`).
fn vector_column(expr: &Expr, schema: &DFSchema) -> Option<Column> {
    match unaliased(expr) {
        Expr::Column(column) => {
            let field = schema.field_from_column(column).ok()?;
            is_vector(field.data_type()).then(|| column.clone())
        }
        _ => None,
    }
}

/// Rules that keep a result's name leave aliases behind.
fn unaliased(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => unaliased(&alias.expr),
        other => other,
    }
}

/// Whether this is the type of a vector column.
pub(crate) fn is_vector(data_type: &DataType) -> bool {
    matches!(data_type, DataType::FixedSizeList(item, _) if item.data_type() == &DataType::Float32)
}

/// Whether the expression has one value for the whole query.
fn is_constant(expr: &Expr) -> bool {
    !expr.any_column_refs() && is_repeatable(expr)
}

/// Whether the expression has the same value on the same row wherever in a plan it is evaluated.
pub(crate) fn is_repeatable(expr: &Expr) -> bool {
    !expr.is_volatile()
        && !expr.contains_outer()
        && all(expr, |expr| match expr {
            Expr::ScalarSubquery(subquery) => {
                subquery.outer_ref_columns.is_empty()
                    && all(subquery.subquery.as_ref(), |node| {
                        node.expressions().iter().all(is_repeatable)
                    })
            }
            _ => true,
        })
}

fn all<T: TreeNode>(tree: &T, test: impl Fn(&T) -> bool) -> bool {
    matches!(tree.exists(|node| Ok(!test(node))), Ok(false))
}
