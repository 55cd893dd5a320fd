//! [`VectorJoin`]: the logical node for "the `k` nearest rows of a table, for each row of another one".
//!
//! ```text
//!   VectorJoin: k=10, distance=l2_distance(docs.v, q.v)     columns of q, then columns of docs
//!     TableScan: q
//!     TableScan: docs, filter=price < 5
//! ```
//!
//! The scan on the right keeps its filters: they are part of the search. Rows of the left come in their order, each of
//! them with its nearest rows, best first. What else there is to a join, other conditions and the columns of the result,
//! is above the node.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::{DFSchema, DFSchemaRef, Result, ScalarValue, internal_err, plan_err};
use datafusion::logical_expr::builder::build_join_schema;
use datafusion::logical_expr::{Expr, JoinType, LogicalPlan, SortExpr, UserDefinedLogicalNodeCore};

use super::distance::Distance;
use crate::search::MAX_NEIGHBOURS;

/// The `k` nearest rows of a scan for each row of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct VectorJoin {
    /// Gives the query vectors.
    pub left: Arc<LogicalPlan>,
    /// A `TableScan` of a collection.
    pub right: Arc<LogicalPlan>,
    /// The order of a row's neighbours. The first key is the distance between a vector column of `right` and an
    /// expression over `left`; the others tell apart rows of equal distance.
    pub keys: Vec<SortExpr>,
    /// Conditions on the distance: a range, see [`super::range`].
    pub range: Vec<Expr>,
    /// Filters over `right` that could not move into the scan (they hold a scalar subquery).
    pub filters: Vec<Expr>,
    /// What is equal in a row of `left` and the rows it finds: an expression over `left`, one over `right`.
    pub matching: Vec<(Expr, Expr)>,
    /// Rows wanted for each row of `left`: a number, once parameters have their values.
    pub k: Expr,
    /// Whether a row of `left` that finds nothing stays, with NULLs.
    pub outer: bool,
    schema: DFSchemaRef,
}

// A schema has no order; it follows from the inputs.
impl PartialOrd for VectorJoin {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        (
            &self.left,
            &self.right,
            &self.keys,
            &self.range,
            &self.filters,
            &self.matching,
            &self.k,
            self.outer,
        )
            .partial_cmp(&(
                &other.left,
                &other.right,
                &other.keys,
                &other.range,
                &other.filters,
                &other.matching,
                &other.k,
                other.outer,
            ))
    }
}

impl VectorJoin {
    /// Finds `k` rows of `right` for each row of `left`.
    ///
    /// # Errors
    /// Columns of both that have the same name.
    pub fn new(
        left: Arc<LogicalPlan>,
        right: Arc<LogicalPlan>,
        keys: Vec<SortExpr>,
        k: Expr,
        outer: bool,
    ) -> Result<Self> {
        let schema = Arc::new(joined(left.schema(), right.schema(), outer)?);
        Ok(Self {
            left,
            right,
            keys,
            range: Vec::new(),
            filters: Vec::new(),
            matching: Vec::new(),
            k,
            outer,
            schema,
        })
    }

    /// The same for rows in a range of distances.
    pub fn within(self, range: Vec<Expr>) -> Self {
        Self { range, ..self }
    }

    /// The same for rows that are equal in these pairs.
    pub fn matching(self, matching: Vec<(Expr, Expr)>) -> Self {
        Self { matching, ..self }
    }

    /// The same with the filters on its right inside; `None` when there are none, and a scan is there already.
    pub fn with_filters_inside(&self) -> Option<Self> {
        let mut join = self.clone();
        while let LogicalPlan::Filter(filter) = join.right.as_ref() {
            join.filters.push(filter.predicate.clone());
            join.right = Arc::clone(&filter.input);
        }
        (join.filters.len() > self.filters.len()).then_some(join)
    }

    /// The number of rows wanted.
    ///
    /// # Errors
    /// When it is no number, or out of range.
    pub fn rows_wanted(&self) -> Result<usize> {
        match number_of_rows(&self.k)? {
            Some(k) => Ok(k),
            None => plan_err!(
                "a search for each row of another table finds 1 to {MAX_NEIGHBOURS} rows for each, not {}",
                self.k
            ),
        }
    }

    /// The distance taken apart; its query is over `left`.
    pub fn parts(&self) -> Result<Distance> {
        let key = self.keys.first();
        match key.and_then(|key| Distance::with_query(&key.expr, self.right.schema(), |_| true)) {
            Some(parts) => Ok(parts),
            None => internal_err!("VectorJoin without a distance of a vector column"),
        }
    }
}

/// The number of rows that a search is to find, once parameters have their values; `None` when it is none that an index can
/// give.
pub(super) fn number_of_rows(k: &Expr) -> Result<Option<usize>> {
    // A parameter's value has the parameter's name.
    let k = match k.clone().unalias() {
        Expr::Literal(value, _) => match value.cast_to(&DataType::Int64)? {
            ScalarValue::Int64(Some(k)) => usize::try_from(k).ok(),
            _ => None,
        },
        _ => None,
    };
    Ok(k.filter(|k| (1..=MAX_NEIGHBOURS).contains(k)))
}

fn joined(left: &DFSchema, right: &DFSchema, outer: bool) -> Result<DFSchema> {
    let join_type = if outer { JoinType::Left } else { JoinType::Inner };
    build_join_schema(left, right, &join_type)
}

impl UserDefinedLogicalNodeCore for VectorJoin {
    fn name(&self) -> &str {
        "VectorJoin"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.left, &self.right]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        let keys = self.keys.iter().map(|key| &key.expr);
        let k = std::iter::once(&self.k);
        k.chain(keys)
            .chain(&self.range)
            .chain(&self.filters)
            .chain(self.matching.iter().flat_map(|(ours, theirs)| [ours, theirs]))
            .cloned()
            .collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.k {
            Expr::Literal(k, _) => write!(f, "VectorJoin: k={k}")?,
            k => write!(f, "VectorJoin: k={k}")?,
        }
        let mut keys = self.keys.iter();
        if let Some(key) = keys.next() {
            write!(f, ", distance={}", key.expr)?;
        }
        let then: Vec<String> = keys.map(ToString::to_string).collect();
        if !then.is_empty() {
            write!(f, ", then=[{}]", then.join(", "))?;
        }
        if !self.range.is_empty() {
            let range: Vec<String> = self.range.iter().map(ToString::to_string).collect();
            write!(f, ", range={}", range.join(" AND "))?;
        }
        if !self.filters.is_empty() {
            let filters: Vec<String> = self.filters.iter().map(ToString::to_string).collect();
            write!(f, ", filter={}", filters.join(" AND "))?;
        }
        if !self.matching.is_empty() {
            let pairs = self.matching.iter();
            let pairs: Vec<String> = pairs.map(|(ours, theirs)| format!("{theirs} = {ours}")).collect();
            write!(f, ", match={}", pairs.join(" AND "))?;
        }
        if self.outer {
            write!(f, ", join=Left")?;
        }
        Ok(())
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        let mut exprs = exprs.into_iter();
        let mut inputs = inputs.into_iter();
        let (Some(left), Some(right), None) = (inputs.next(), inputs.next(), inputs.next()) else {
            return internal_err!("VectorJoin has two inputs");
        };
        let Some(k) = exprs.next() else {
            return internal_err!("VectorJoin has other expressions");
        };
        let keys: Vec<SortExpr> = self
            .keys
            .iter()
            .zip(exprs.by_ref())
            .map(|(key, expr)| SortExpr { expr, ..key.clone() })
            .collect();
        let range: Vec<Expr> = exprs.by_ref().take(self.range.len()).collect();
        let filters: Vec<Expr> = exprs.by_ref().take(self.filters.len()).collect();
        let mut matching = Vec::with_capacity(self.matching.len());
        while let Some(ours) = exprs.next() {
            let Some(theirs) = exprs.next() else {
                return internal_err!("VectorJoin has other expressions");
            };
            matching.push((ours, theirs));
        }
        if keys.len() != self.keys.len()
            || range.len() != self.range.len()
            || filters.len() != self.filters.len()
            || matching.len() != self.matching.len()
        {
            return internal_err!("VectorJoin has other expressions");
        }
        let (left, right) = (Arc::new(left), Arc::new(right));
        Ok(Self {
            range,
            filters,
            matching,
            ..Self::new(left, right, keys, k, self.outer)?
        })
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let width = self.left.schema().fields().len();
        let (left, right): (Vec<usize>, Vec<usize>) =
            output_columns.iter().partition(|column| **column < width);
        Some(vec![
            left,
            right.into_iter().map(|column| column - width).collect(),
        ])
    }
}
