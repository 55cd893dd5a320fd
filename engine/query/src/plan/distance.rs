//! Reading a distance expression: which function, which column, which query.

use datafusion::common::tree_node::TreeNode;
use datafusion::common::{Column, DFSchema, ExprSchema};
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::expr::ScalarFunction;
use elanus_index::{AnyMetric, BitMetric, Metric, MinHash};
use elanus_udfs::vector::VectorKind;

use super::bm25::BM25;

/// Bits of an element of the signatures that `minhash_distance` compares.
pub(crate) const SIGNATURE_BITS: u32 = 32;

/// A distance (or similarity) between a vector column and a query that reads no column.
#[derive(Debug, Clone)]
pub(crate) struct Distance {
    /// Metric that orders rows in the same way.
    pub metric: AnyMetric,
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
        Self::with_query(expr, schema, is_constant)
    }

    /// Reads `expr` over `schema`, where `is_query` says what may be the query vector.
    pub fn with_query(expr: &Expr, schema: &DFSchema, is_query: impl Fn(&Expr) -> bool) -> Option<Self> {
        let Expr::ScalarFunction(ScalarFunction { func, args }) = unaliased(expr) else {
            return None;
        };
        let (metric, descending): (AnyMetric, bool) = match func.name() {
            "l2_distance" => (Metric::L2.into(), false),
            "cosine_distance" => (Metric::Cosine.into(), false),
            "negative_inner_product" => (Metric::Ip.into(), false),
            "inner_product" => (Metric::Ip.into(), true),
            "hamming_distance" => (BitMetric::Hamming.into(), false),
            "jaccard_distance" => (BitMetric::Jaccard.into(), false),
            "minhash_distance" => (MinHash::similarity(SIGNATURE_BITS).into(), false),
            BM25 => (AnyMetric::Bm25, false),
            _ => return None,
        };
        let [left, right] = args.as_slice() else {
            return None;
        };
        let (column, query) = match (
            vector_column(left, schema, metric),
            vector_column(right, schema, metric),
        ) {
            (Some(column), None) => (column, right),
            (None, Some(column)) => (column, left),
            (Some(_), Some(_)) | (None, None) => return None,
        };
        is_query(query).then(|| Self {
            metric,
            descending,
            column,
            query: query.clone(),
        })
    }
}

/// The vector column with this metric that `expr` is. A cast makes other numbers of it (`v::BIGINT[]`).
fn vector_column(expr: &Expr, schema: &DFSchema, metric: AnyMetric) -> Option<Column> {
    match unaliased(expr) {
        Expr::Column(column) => {
            let field = schema.field_from_column(column).ok()?;
            let of_bits = matches!(VectorKind::of(field)?, VectorKind::Bit(_));
            (of_bits == matches!(metric, AnyMetric::Bits(_))).then(|| column.clone())
        }
        _ => None,
    }
}

/// Rules that keep a result's name leave aliases behind.
pub(super) fn unaliased(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => unaliased(&alias.expr),
        other => other,
    }
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
