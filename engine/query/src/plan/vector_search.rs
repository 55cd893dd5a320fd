//! [`VectorSearch`]: the logical node for "the `k` nearest rows of this scan".
//!
//! ```text
//!   Sort: d ASC, fetch=10                          Sort: d ASC, fetch=10
//!     Projection: id, l2_distance(v, q) AS d   =>    Projection: id, l2_distance(v, q) AS d
//!       TableScan: docs, filter=price < 5              VectorSearch: k=10, distance=l2_distance(v, q)
//!                                                        TableScan: docs, filter=price < 5
//! ```
//!
//! The node passes at most `k` rows of its scan through, the nearest ones, in order. Its schema is
//! the scan's, so nothing above it changes. The scan keeps its filters: they are part of the search,
//! not applied to its result. What decides on rows otherwise, such as a semi-join, is a second input that gives the addresses
//! of the rows that may be found ([`super::restriction`]). The distance stays an expression, so that a scalar subquery or a
//! parameter in it is handled by DataFusion as everywhere else.

use std::fmt;
use std::sync::Arc;

use datafusion::common::{DFSchemaRef, Result, internal_err};
use datafusion::logical_expr::{Expr, LogicalPlan, UserDefinedLogicalNodeCore};

use super::distance::Distance;

/// The `k` nearest rows of a scan.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd)]
pub(crate) struct VectorSearch {
    /// A `TableScan` of a collection.
    pub input: Arc<LogicalPlan>,
    /// Gives the addresses of the rows that may be found; all of the scan when it is not there.
    pub allowed: Option<Arc<LogicalPlan>>,
    /// The distance between a vector column of `input` and a constant.
    pub distance: Expr,
    /// Conditions on the distance: a range, see [`super::range`].
    pub range: Vec<Expr>,
    /// Filters over `input` that are not in the scan.
    pub filters: Vec<Expr>,
    /// Rows wanted.
    pub k: usize,
    /// Whether rows as near as the `k`-th pass as well, for further sort keys to choose from.
    pub ties: bool,
    /// Whether rows without a distance sort before all others.
    pub nulls_first: bool,
}

impl VectorSearch {
    /// The distance taken apart.
    pub fn parts(&self) -> Result<Distance> {
        match Distance::of(&self.distance, self.input.schema()) {
            Some(parts) => Ok(parts),
            None => internal_err!(
                "VectorSearch over {}, which is not a distance of a vector column",
                self.distance
            ),
        }
    }
}

impl UserDefinedLogicalNodeCore for VectorSearch {
    fn name(&self) -> &str {
        "VectorSearch"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        std::iter::once(&self.input)
            .chain(&self.allowed)
            .map(Arc::as_ref)
            .collect()
    }

    fn schema(&self) -> &DFSchemaRef {
        self.input.schema()
    }

    fn expressions(&self) -> Vec<Expr> {
        std::iter::once(&self.distance)
            .chain(&self.range)
            .chain(&self.filters)
            .cloned()
            .collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VectorSearch: k={}", self.k)?;
        if self.ties {
            write!(f, ", ties=true")?;
        }
        write!(f, ", distance={}", self.distance)?;
        if !self.range.is_empty() {
            let range: Vec<String> = self.range.iter().map(ToString::to_string).collect();
            write!(f, ", range={}", range.join(" AND "))?;
        }
        if !self.filters.is_empty() {
            let filters: Vec<String> = self.filters.iter().map(ToString::to_string).collect();
            write!(f, ", filter={}", filters.join(" AND "))?;
        }
        Ok(())
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        let mut exprs = exprs.into_iter();
        let mut inputs = inputs.into_iter();
        let (Some(distance), Some(input)) = (exprs.next(), inputs.next()) else {
            return internal_err!("VectorSearch has an input and at least one expression");
        };
        let allowed = inputs.next().map(Arc::new);
        if allowed.is_some() != self.allowed.is_some() || inputs.next().is_some() {
            return internal_err!("VectorSearch has other inputs");
        }
        Ok(Self {
            input: Arc::new(input),
            allowed,
            distance,
            range: exprs.by_ref().take(self.range.len()).collect(),
            filters: exprs.collect(),
            ..self.clone()
        })
    }
}
