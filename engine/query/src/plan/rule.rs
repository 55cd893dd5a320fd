//! [`AnnSearchRule`]: finds `ORDER BY distance LIMIT k` over a collection and makes it a [`VectorSearch`].
//!
//! The rule runs after DataFusion's own, when filters are in the scan and the limit is in the sort.
//! It looks for
//!
//! ```text
//!   Sort(fetch = k)
//!     (Projection | SubqueryAlias | Filter | Union | Join)*
//!       TableScan of a collection, without a limit of its own
//! ```
//!
//! where the first key, read through the nodes in between, is a distance function of a vector column and an
//! expression without columns, in the direction in which the best rows come first. Everything above
//! the scan stays as it is (the sort too: the nodes below declare their order, and DataFusion drops
//! it when it agrees), so names, types and rows of the result are those of the exact plan.
//!
//! Why that is right, node by node: the sort wants the `k` best of the rows that reach it, and each of them comes from one
//! row of the scan, whose distance it has.
//!
//! - *Conditions on the distance itself* are a range of the search; see [`super::range`].
//! - *Further sort keys* tell apart rows of equal distance, so the search gives every row that is as near as the `k`-th.
//! - *Union*: the `k` best of all are among the `k` best of each input; an input that cannot be searched stays exact.
//! - *Joins* that keep every row (an outer join's own side): each row gives one row or more, so the `k` nearest suffice.
//! - *Joins that keep some rows* (`IN`, `EXISTS`, inner joins): a search among those that are kept; see
//!   [`super::restriction`].
//!
//! Left alone, as exact SQL: the wrong direction, NULLs first on a nullable
//! column, volatile expressions and subqueries, the side of an outer join that may be NULL, anything else between sort
//! and scan that changes rows, more than 16,384 rows wanted, and every query of a session with `elanus.exact`.

use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, ExprSchema, Result};
use datafusion::datasource::DefaultTableSource;
use datafusion::logical_expr::{Expr, Extension, Join, JoinType, LogicalPlan, SortExpr, TableScan};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

use super::columns::Meaning;
use super::distance::{Distance, is_repeatable};
use super::range::take_range;
use super::restriction::{Restriction, Side, allowed_rows, is_cheap};
use super::vector_join::VectorJoin;
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
        if let LogicalPlan::Extension(extension) = &plan
            && let Some(join) = extension.node.as_any().downcast_ref::<VectorJoin>()
        {
            return Ok(match join.with_filters_inside() {
                Some(join) => Transformed::yes(LogicalPlan::Extension(Extension { node: Arc::new(join) })),
                None => Transformed::no(plan),
            });
        }
        let LogicalPlan::Sort(sort) = &plan else {
            return Ok(Transformed::no(plan));
        };
        let (Some(k), Some((key, then))) = (sort.fetch, sort.expr.split_first()) else {
            return Ok(Transformed::no(plan));
        };
        if k == 0 || k > MAX_NEIGHBOURS || ElanusSettings::of(&config.options()).exact {
            return Ok(Transformed::no(plan));
        }
        if then.iter().any(|key| key.expr.is_volatile()) {
            return Ok(Transformed::no(plan));
        }
        let wanted = Wanted {
            k,
            ties: !then.is_empty(),
            key,
            distance: key.expr.clone(),
            filters: Vec::new(),
            restrictions: Vec::new(),
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
#[derive(Clone)]
struct Wanted<'a> {
    k: usize,
    /// Whether rows as near as the `k`-th are wanted, too.
    ties: bool,
    key: &'a SortExpr,
    distance: Expr,
    filters: Vec<Expr>,
    /// Joins passed on the way, of which a row must be.
    restrictions: Vec<Restriction<'a>>,
}

impl<'a> Wanted<'a> {
    /// `plan` with its scan made a search; `None` when that is not possible.
    fn below(self, plan: &'a LogicalPlan) -> Result<Option<LogicalPlan>> {
        match plan {
            LogicalPlan::Projection(projection) => self
                .read(&Meaning::of_projection(projection))?
                .replace_in(plan, &projection.input),
            LogicalPlan::SubqueryAlias(alias) => self
                .read(&Meaning::of_alias(alias))?
                .replace_in(plan, &alias.input),
            LogicalPlan::Filter(filter) => {
                let mut below = self;
                below.filters.push(filter.predicate.clone());
                below.below(&filter.input)
            }
            // A filter above would be gone for the inputs that stay as they are.
            LogicalPlan::Union(union) if self.filters.is_empty() && self.restrictions.is_empty() => {
                let columns = union.schema.columns();
                let mut inputs = Vec::with_capacity(union.inputs.len());
                let mut found = false;
                for input in &union.inputs {
                    let meaning = Meaning::renamed(columns.clone(), input.schema().columns());
                    let below = self.clone().read(&meaning)?.below(input)?;
                    found |= below.is_some();
                    inputs.push(below.unwrap_or_else(|| input.as_ref().clone()));
                }
                match found {
                    true => Ok(Some(plan.with_new_exprs(plan.expressions(), inputs)?)),
                    false => Ok(None),
                }
            }
            LogicalPlan::Join(join) => self.in_join(plan, join),
            LogicalPlan::TableScan(scan) => self.search(plan, scan),
            _ => Ok(None),
        }
    }

    fn replace_in(self, plan: &LogicalPlan, input: &'a Arc<LogicalPlan>) -> Result<Option<LogicalPlan>> {
        match self.below(input)? {
            Some(input) => Ok(Some(plan.with_new_exprs(plan.expressions(), vec![input])?)),
            None => Ok(None),
        }
    }

    fn read(self, meaning: &Meaning) -> Result<Self> {
        let filters = self.filters.into_iter().map(|filter| meaning.read(filter));
        let restrictions = self.restrictions.into_iter().map(|one| one.read(meaning));
        Ok(Self {
            distance: meaning.read(self.distance)?,
            filters: filters.collect::<Result<_>>()?,
            restrictions: restrictions.collect::<Result<_>>()?,
            ..self
        })
    }

    fn in_join(self, plan: &LogicalPlan, join: &'a Join) -> Result<Option<LogicalPlan>> {
        let Some(side) = Side::of(&self.distance, join) else {
            return Ok(None);
        };
        let (ours, other) = side.inputs(join);
        let is_ours = |expr: &Expr| {
            let columns = expr.column_refs();
            columns.into_iter().all(|column| ours.schema().has_column(column))
        };
        if !self.filters.iter().all(is_ours)
            || !self.restrictions.iter().all(|one| one.is_over(ours.schema()))
        {
            return Ok(None);
        }
        let mut below = self;
        match (join.join_type, side) {
            // Every row is kept.
            (JoinType::Left | JoinType::LeftMark, Side::Left)
            | (JoinType::Right | JoinType::RightMark, Side::Right) => {}
            // Rows are kept or not, and that is all: the search does it.
            (JoinType::LeftSemi | JoinType::LeftAnti, Side::Left)
            | (JoinType::RightSemi | JoinType::RightAnti, Side::Right) => {
                below.restrictions.push(Restriction::of(join, side));
                return below.below(ours);
            }
            // The other side is read twice, for the search and for the join of what was found.
            (JoinType::Inner, _) if is_cheap(other) && Restriction::is_repeatable(join) => {
                below.restrictions.push(Restriction::of(join, side));
            }
            _ => return Ok(None),
        }
        let Some(found) = below.below(ours)? else {
            return Ok(None);
        };
        let other = other.as_ref().clone();
        let inputs = match side {
            Side::Left => vec![found, other],
            Side::Right => vec![other, found],
        };
        Ok(Some(plan.with_new_exprs(plan.expressions(), inputs)?))
    }

    fn search(self, plan: &LogicalPlan, scan: &TableScan) -> Result<Option<LogicalPlan>> {
        let Some(table) = collection_of(scan).filter(|_| scan.fetch.is_none()) else {
            return Ok(None);
        };
        let schema = plan.schema();
        let Some(searched) = self.searched(schema) else {
            return Ok(None);
        };
        let distance_of = |expr: &Expr| Distance::of(expr, schema);
        let take = |filters| take_range(filters, &searched, schema, distance_of);
        let (mut range, in_scan) = take(scan.filters.clone());
        let (more, filters) = take(self.filters);
        range.extend(more);
        let scan = TableScan {
            filters: in_scan,
            ..scan.clone()
        };
        let allowed = match self.restrictions.is_empty() {
            true => None,
            false => Some(Arc::new(allowed_rows(&scan, table, self.restrictions)?)),
        };
        let node = VectorSearch {
            input: Arc::new(LogicalPlan::TableScan(scan)),
            allowed,
            distance: self.distance,
            range,
            filters,
            k: self.k,
            ties: self.ties,
            nulls_first: self.key.nulls_first,
        };
        Ok(Some(LogicalPlan::Extension(Extension { node: Arc::new(node) })))
    }

    /// The key, when it is a distance that an index can find the smallest of, and the filters can be part of the search.
    fn searched(&self, schema: &DFSchema) -> Option<Distance> {
        let parts = Distance::of(&self.distance, schema)?;
        let nullable = schema
            .field_from_column(&parts.column)
            .is_ok_and(|field| field.is_nullable());
        let is_search = !parts.elements
            && self.key.asc != parts.descending
            && !(self.key.nulls_first && nullable)
            && self.filters.iter().all(is_repeatable)
            && self.restrictions.iter().all(Restriction::reads_repeatable);
        is_search.then_some(parts)
    }
}

/// The collection that is scanned.
pub(super) fn collection_of(scan: &TableScan) -> Option<&CollectionTable> {
    let source = scan.source.downcast_ref::<DefaultTableSource>()?;
    source.table_provider.downcast_ref::<CollectionTable>()
}
