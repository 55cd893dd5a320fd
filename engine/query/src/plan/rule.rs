//! [`AnnSearchRule`]: finds `ORDER BY distance LIMIT k` over a collection and makes it a [`VectorSearch`].
//!
//! The rule runs after DataFusion's own, when filters are in the scan and the limit is in the sort.
//! It looks for
//!
//! ```text
//!   Sort(one key, fetch = k)
//!     (Projection | SubqueryAlias | Filter)*
//!       TableScan of a collection, without a limit of its own
//! ```
//!
//! where the key, read through the projections, is a distance function of a vector column and an
//! expression without columns, in the direction in which the best rows come first. Everything above
//! the scan stays as it is (the sort too: the nodes below declare their order, and DataFusion drops
//! it when it agrees), so names, types and rows of the result are those of the exact plan.
//!
//! Left alone, as exact SQL: further sort keys, the wrong direction, NULLs first on a nullable
//! column, volatile expressions and subqueries, joins, anything between sort and scan that changes
//! rows, more than 16,384 rows wanted, and every query of a session with `elanus.exact`.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, ExprSchema, Result};
use datafusion::datasource::DefaultTableSource;
use datafusion::logical_expr::{Expr, Extension, LogicalPlan, SortExpr, TableScan};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

use super::distance::{Distance, is_repeatable};
use super::vector_search::VectorSearch;
use crate::search::MAX_NEIGHBOURS;
use crate::settings::ElanusSettings;
use crate::table::CollectionTable;

/// Rewrites `Sort(fetch)` over a distance into a vector search.
#[derive(Debug, Default)]
pub(crate) struct AnnSearchRule;

impl OptimizerRule for AnnSearchRule {
    fn name(&self) -> &str {
        "ann_search"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Sort(sort) = &plan else {
            return Ok(Transformed::no(plan));
        };
        let (Some(k), [key]) = (sort.fetch, sort.expr.as_slice()) else {
            return Ok(Transformed::no(plan));
        };
        if k == 0 || k > MAX_NEIGHBOURS || ElanusSettings::of(&config.options()).exact {
            return Ok(Transformed::no(plan));
        }
        let wanted = Wanted {
            k,
            key,
            distance: key.expr.clone(),
            filters: Vec::new(),
        };
        match wanted.below(&sort.input)? {
            Some(input) => {
                let sort = plan.with_new_exprs(plan.expressions(), vec![input])?;
                Ok(Transformed::yes(sort))
            }
            None => Ok(Transformed::no(plan)),
        }
    }
}

/// What the sort asks for, in terms of the node that has been reached.
struct Wanted<'a> {
    k: usize,
    key: &'a SortExpr,
    distance: Expr,
    filters: Vec<Expr>,
}

impl Wanted<'_> {
    /// `plan` with its scan made a search; `None` when that is not possible.
    fn below(self, plan: &LogicalPlan) -> Result<Option<LogicalPlan>> {
        match plan {
            LogicalPlan::Projection(projection) => {
                let columns = projection.schema.columns();
                let meaning: HashMap<&Column, &Expr> = columns.iter().zip(&projection.expr).collect();
                let below = self.rewritten(|column| {
                    meaning
                        .get(column)
                        .map(|expr| (*expr).clone().unalias_nested().data)
                })?;
                below.replace_in(plan, &projection.input)
            }
            LogicalPlan::SubqueryAlias(alias) => {
                let (outer, inner) = (alias.schema.columns(), alias.input.schema().columns());
                let meaning: HashMap<&Column, &Column> = outer.iter().zip(&inner).collect();
                let below =
                    self.rewritten(|column| meaning.get(column).map(|inner| Expr::Column((*inner).clone())))?;
                below.replace_in(plan, &alias.input)
            }
            LogicalPlan::Filter(filter) => {
                let mut below = self;
                below.filters.push(filter.predicate.clone());
                below.below(&filter.input)
            }
            LogicalPlan::TableScan(scan) => Ok(self.search(plan, scan)),
            _ => Ok(None),
        }
    }

    fn replace_in(self, plan: &LogicalPlan, input: &Arc<LogicalPlan>) -> Result<Option<LogicalPlan>> {
        match self.below(input)? {
            Some(input) => Ok(Some(plan.with_new_exprs(plan.expressions(), vec![input])?)),
            None => Ok(None),
        }
    }

    fn rewritten(self, meaning: impl Fn(&Column) -> Option<Expr>) -> Result<Self> {
        let rewrite = |expr: Expr| {
            expr.transform_up(|expr| {
                Ok(match &expr {
                    Expr::Column(column) => match meaning(column) {
                        Some(other) => Transformed::yes(other),
                        None => Transformed::no(expr),
                    },
                    _ => Transformed::no(expr),
                })
            })
            .map(|transformed| transformed.data)
        };
        let distance = rewrite(self.distance)?;
        let filters = self.filters.into_iter().map(rewrite).collect::<Result<_>>()?;
        Ok(Self {
            distance,
            filters,
            ..self
        })
    }

    fn search(self, plan: &LogicalPlan, scan: &TableScan) -> Option<LogicalPlan> {
        if scan.fetch.is_some() || !is_collection(scan) {
            return None;
        }
        let schema = plan.schema();
        let parts = Distance::of(&self.distance, schema)?;
        let ascending = self.key.asc;
        let nullable = schema.field_from_column(&parts.column).ok()?.is_nullable();
        if ascending == parts.descending || (self.key.nulls_first && nullable) {
            return None;
        }
        if !self.filters.iter().all(is_repeatable) {
            return None;
        }
        let node = VectorSearch {
            input: Arc::new(plan.clone()),
            distance: self.distance,
            filters: self.filters,
            k: self.k,
            nulls_first: self.key.nulls_first,
        };
        Some(LogicalPlan::Extension(Extension { node: Arc::new(node) }))
    }
}

fn is_collection(scan: &TableScan) -> bool {
    scan.source
        .downcast_ref::<DefaultTableSource>()
        .is_some_and(|source| source.table_provider.downcast_ref::<CollectionTable>().is_some())
}
