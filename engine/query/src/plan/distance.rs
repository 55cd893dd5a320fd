//! Reading a distance expression: which function, which column, which query.

use datafusion::common::tree_node::TreeNode;
use datafusion::common::{Column, DFSchema, ExprSchema};
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::expr::ScalarFunction;
use elanus_collection::sub_field_name;
use elanus_index::{AnyMetric, BitMetric, Metric, MinHash};
use elanus_udfs::elements::sub_field_parts;
use elanus_udfs::vector::{MAX_SIM_DISTANCE, VectorKind, list_of_vector, metric_of_name};

use super::bm25::BM25;
use crate::sql::struct_fields::kind_of_vectors;

/// Bits of an element of the signatures that `minhash_distance` compares.
pub(crate) const SIGNATURE_BITS: u32 = 32;

/// A distance (or similarity) between a vector column and a query that reads no column.
#[derive(Debug, Clone)]
pub(crate) struct Distance {
    /// Metric that orders rows in the same way.
    pub metric: AnyMetric,
    /// Whether the best rows have the largest value.
    pub descending: bool,
    /// The vector column, or that of the structs whose vectors are compared.
    pub column: Column,
    /// The vectors in the structs of the column.
    pub sub_field: Option<String>,
    /// Whether these are compared one by one: the expression is the distance of one of them, which stands for each.
    pub elements: bool,
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
            MAX_SIM_DISTANCE => return Self::of_lists(args, schema, is_query),
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
        let (compared, query) = match (
            Compared::of(left, schema, metric),
            Compared::of(right, schema, metric),
        ) {
            (Some(compared), None) => (compared, right),
            (None, Some(compared)) => (compared, left),
            (Some(_), Some(_)) | (None, None) => return None,
        };
        is_query(query).then(|| Self {
            metric,
            descending,
            elements: compared.sub_field.is_some(),
            column: compared.column,
            sub_field: compared.sub_field,
            query: query.clone(),
        })
    }

    /// The distance of lists of vectors in structs.
    fn of_lists(args: &[Expr], schema: &DFSchema, is_query: impl Fn(&Expr) -> bool) -> Option<Self> {
        let [list, query, Expr::Literal(metric, _)] = args else {
            return None;
        };
        let metric = metric_of_name(metric.try_as_str().flatten()?)?;
        let lists = Compared::lists(list, schema)?;
        is_query(query).then(|| Self {
            metric: AnyMetric::MaxSim(metric),
            descending: false,
            column: lists.column,
            sub_field: lists.sub_field,
            elements: false,
            query: query.clone(),
        })
    }

    /// The name of the vector field that is searched.
    pub fn field(&self) -> String {
        match &self.sub_field {
            Some(sub) => sub_field_name(&self.column.name, sub),
            None => self.column.name.clone(),
        }
    }
}

/// What a query is compared with.
struct Compared {
    column: Column,
    sub_field: Option<String>,
}

impl Compared {
    /// The vector column with this metric that `expr` is, or one of the vectors of a list in structs. A cast makes other
    /// numbers of it (`v::BIGINT[]`).
    fn of(expr: &Expr, schema: &DFSchema, metric: AnyMetric) -> Option<Self> {
        let expr = unaliased(expr);
        if let Some(list) = list_of_vector(expr) {
            return Self::lists(list, schema);
        }
        let Expr::Column(column) = expr else {
            return None;
        };
        let field = schema.field_from_column(column).ok()?;
        let of_bits = matches!(VectorKind::of(field)?, VectorKind::Bit(_));
        (of_bits == matches!(metric, AnyMetric::Bits(_))).then(|| Self {
            column: column.clone(),
            sub_field: None,
        })
    }

    /// The lists of vectors in structs that `expr` is.
    fn lists(expr: &Expr, schema: &DFSchema) -> Option<Self> {
        let (list, sub) = sub_field_parts(unaliased(expr))?;
        let Expr::Column(column) = unaliased(list) else {
            return None;
        };
        // Of a collection, which knows its sub-fields.
        let field = elanus_collection::Field::from_arrow(schema.field_from_column(column).ok()?).ok()?;
        kind_of_vectors(&field, sub)?;
        Some(Self {
            column: column.clone(),
            sub_field: Some(sub.to_string()),
        })
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
