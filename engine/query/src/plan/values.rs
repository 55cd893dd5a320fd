//! Rows of VALUES that hold scalar subqueries, as in `INSERT INTO t VALUES (2, (SELECT max(n) FROM t))`.
//!
//! DataFusion computes VALUES while it plans, before any subquery has run. So such rows become queries without FROM, one each,
//! behind one another.

use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::config::ConfigOptions;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Values};
use datafusion::optimizer::AnalyzerRule;

/// Replaces VALUES with subqueries by a union of queries.
#[derive(Debug, Default)]
pub(crate) struct ValuesRule;

impl AnalyzerRule for ValuesRule {
    fn name(&self) -> &str {
        "values_with_subqueries"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let replaced = plan.transform_up_with_subqueries(|node| match node {
            LogicalPlan::Values(values) if has_subquery(&values)? => as_union(&values).map(Transformed::yes),
            other => Ok(Transformed::no(other)),
        })?;
        Ok(replaced.data)
    }
}

fn has_subquery(values: &Values) -> Result<bool> {
    for expr in values.values.iter().flatten() {
        if expr.exists(|part| Ok(matches!(part, Expr::ScalarSubquery(_))))? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn as_union(values: &Values) -> Result<LogicalPlan> {
    let names = || values.schema.fields().iter().map(|field| field.name().as_str());
    let row = |row: &Vec<Expr>| {
        let columns = row.iter().zip(names());
        let columns = columns.map(|(expr, name)| expr.clone().alias(name));
        LogicalPlanBuilder::empty(true).project(columns)?.build()
    };
    let mut rows = values.values.iter().map(row);
    let first = match rows.next() {
        Some(first) => first?,
        None => return LogicalPlanBuilder::empty(false).build(),
    };
    let union = rows.try_fold(LogicalPlanBuilder::from(first), |union, row| union.union(row?))?;
    union.build()
}
