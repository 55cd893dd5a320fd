//! [`LateralSearchRule`]: finds "the `k` nearest for each row" and makes it a [`VectorJoin`].
//!
//! ```text
//!   FROM q CROSS JOIN LATERAL (SELECT id, v <-> q.v AS d FROM docs WHERE price < 5 ORDER BY d LIMIT 3) near
//!
//!   Join                                          Projection: q.*, docs.id AS near.id, l2_distance(..) AS near.d
//!     TableScan: q                                  VectorJoin: k=3, distance=l2_distance(docs.v, q.v)
//!     SubqueryAlias: near                    =>       TableScan: q
//!       Subquery                                      Filter: price < 5
//!         Limit: 3                                      TableScan: docs
//!           Sort: d
//!             Projection: id, l2_distance(v, outer(q.v)) AS d
//!               Filter: price < 5
//!                 TableScan: docs
//! ```
//!
//! The rule runs before DataFusion's own, which take a correlated subquery apart and give up at its LIMIT. It looks for
//! an inner or left join whose right side is such a subquery: one limit, one sort whose first key is a distance of a
//! vector column to something of the row on the left, over one collection. Nothing else in it may look at the row on the
//! left but its result columns, a range of the same distance ([`super::range`]) and equalities of something of a row that may
//! be found with something of the row on the left, `docs.cat = q.cat`; any other condition that does would be another filter
//! for each row.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, Result, ScalarValue, TableReference};
use datafusion::logical_expr::expr_rewriter::strip_outer_reference;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{
    BinaryExpr, Expr, ExprSchemable, Extension, Filter, Join, JoinType, LogicalPlan, LogicalPlanBuilder,
    Operator, SortExpr, TableScan, when,
};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

use super::columns::Meaning;
use super::distance::{Distance, is_repeatable};
use super::range::take_range;
use super::rule::collection_of;
use super::vector_join::VectorJoin;
use crate::operators::matching::is_comparable;

/// Rewrites lateral joins with a search into vector joins.
#[derive(Debug, Default)]
pub(crate) struct LateralSearchRule;

impl OptimizerRule for LateralSearchRule {
    fn name(&self) -> &str {
        "lateral_search"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Join(join) = &plan else {
            return Ok(Transformed::no(plan));
        };
        let is_subquery = |node: &LogicalPlan| Ok(matches!(node, LogicalPlan::Subquery(_)));
        let outer = match join.join_type {
            JoinType::Inner => false,
            JoinType::Left => true,
            _ => return Ok(Transformed::no(plan)),
        };
        if !join.right.exists(is_subquery)? {
            return Ok(Transformed::no(plan));
        }
        let Some(search) = Search::of(&join.right)? else {
            return Ok(Transformed::no(plan));
        };
        match search.joined(join, outer)? {
            Some(joined) => Ok(Transformed::yes(joined)),
            None => Ok(Transformed::no(plan)),
        }
    }
}

/// The search in a subquery, in terms of the columns of its scan and of the row on the left.
struct Search<'a> {
    scan: &'a TableScan,
    /// The result columns.
    outputs: Vec<Expr>,
    keys: Vec<SortExpr>,
    k: Expr,
    /// Conditions on the rows that may be found.
    filters: Vec<Expr>,
    /// Conditions on the rows that were found.
    after: Vec<Expr>,
}

impl<'a> Search<'a> {
    fn of(plan: &'a LogicalPlan) -> Result<Option<Self>> {
        let mut outputs: Vec<Expr> = plan.schema().columns().into_iter().map(Expr::Column).collect();
        let (mut keys, mut filters, mut after): (Vec<SortExpr>, Vec<Expr>, Vec<Expr>) = Default::default();
        let mut k: Option<Expr> = None;
        let mut node = plan;
        loop {
            let meaning = match node {
                LogicalPlan::Projection(projection) => {
                    let meaning = Meaning::of_projection(projection);
                    node = &projection.input;
                    meaning
                }
                LogicalPlan::SubqueryAlias(alias) => {
                    let meaning = Meaning::of_alias(alias);
                    node = &alias.input;
                    meaning
                }
                LogicalPlan::Subquery(subquery) => {
                    node = &subquery.subquery;
                    continue;
                }
                LogicalPlan::Filter(filter) if k.is_none() => {
                    after.push(filter.predicate.clone());
                    node = &filter.input;
                    continue;
                }
                LogicalPlan::Limit(limit) if k.is_none() => {
                    let is_zero =
                        |number: &Expr| matches!(number, Expr::Literal(ScalarValue::Int64(Some(0)), _));
                    let skips = limit.skip.as_deref().is_some_and(|skip| !is_zero(skip));
                    // A parameter has its value by the time it is looked at.
                    k = limit
                        .fetch
                        .as_deref()
                        .filter(|fetch| {
                            !skips && !is_zero(fetch) && !fetch.any_column_refs() && is_repeatable(fetch)
                        })
                        .cloned();
                    if k.is_none() {
                        return Ok(None);
                    }
                    node = &limit.input;
                    continue;
                }
                LogicalPlan::Sort(sort) if keys.is_empty() && k.is_some() && sort.fetch.is_none() => {
                    keys = sort.expr.clone();
                    node = &sort.input;
                    continue;
                }
                LogicalPlan::Filter(filter) if !keys.is_empty() => {
                    filters.push(filter.predicate.clone());
                    node = &filter.input;
                    continue;
                }
                LogicalPlan::TableScan(scan) if !keys.is_empty() => {
                    return Ok(k.map(|k| Self {
                        scan,
                        outputs,
                        keys,
                        k,
                        filters,
                        after,
                    }));
                }
                _ => return Ok(None),
            };
            let read_all = |exprs: Vec<Expr>| -> Result<Vec<Expr>> {
                exprs.into_iter().map(|expr| meaning.read(expr)).collect()
            };
            outputs = read_all(outputs)?;
            filters = read_all(filters)?;
            after = read_all(after)?;
            keys = keys
                .into_iter()
                .map(|key| {
                    Ok(SortExpr {
                        expr: meaning.read(key.expr)?,
                        ..key
                    })
                })
                .collect::<Result<_>>()?;
        }
    }

    /// The vector join in the place of `join`; `None` when it is none.
    fn joined(self, join: &Join, outer: bool) -> Result<Option<LogicalPlan>> {
        let left = join.left.schema();
        let on_true = |filter: &Expr| matches!(filter, Expr::Literal(ScalarValue::Boolean(Some(true)), _));
        let condition = join.filter.clone().filter(|filter| !on_true(filter));
        let has_conditions = condition.is_some() || !join.on.is_empty() || !self.after.is_empty();
        let Some(table) = collection_of(self.scan) else {
            return Ok(None);
        };
        // A left join would keep rows whose neighbours fail the condition.
        if (outer && has_conditions) || self.scan.fetch.is_some() || !self.scan.filters.is_empty() {
            return Ok(None);
        }
        let Some(searched) = self.searched() else {
            return Ok(None);
        };
        if !self.is_of_left(left)? {
            return Ok(None);
        }
        let schema = &self.scan.projected_schema;
        let (range, filters) = take_range(self.filters, &searched, schema, |expr| distance_of(expr, schema));
        let (filters, varying): (Vec<Expr>, Vec<Expr>) = filters.into_iter().partition(is_plain_filter);
        let matching = varying.into_iter().map(|filter| equal_pair(filter, left, schema));
        let Some(matching) = matching.collect::<Result<Option<Vec<_>>>>()? else {
            return Ok(None);
        };
        let Some(key) = table.collection().schema().primary_key().ok() else {
            return Ok(None);
        };
        let key = key.name.clone();

        // The scan under a name that the left side does not have.
        let name = free_name(&self.scan.table_name, left);
        let old: Vec<Column> = self.scan.projected_schema.columns();
        let new: Vec<Column> = old
            .iter()
            .map(|column| Column::new(Some(name.clone()), &column.name))
            .collect();
        let renamed = Meaning::renamed(old, new);
        let scanned = &self.scan.projected_schema;
        let ours = |expr: Expr| {
            renamed
                .read(query_first(expr, scanned)?)
                .map(strip_outer_reference)
        };
        let scan = LogicalPlanBuilder::scan(
            name.clone(),
            Arc::clone(&self.scan.source),
            self.scan.projection.clone(),
        )?;
        let filters: Vec<Expr> = filters.into_iter().map(ours).collect::<Result<_>>()?;
        let right = match conjunction(filters) {
            Some(filter) => scan.filter(filter)?,
            None => scan,
        };
        let keys = self.keys.into_iter().map(|key| {
            Ok(SortExpr {
                expr: ours(key.expr)?,
                ..key
            })
        });
        let keys = keys.collect::<Result<Vec<_>>>()?;
        let right = Arc::new(right.build()?);
        let range = range.into_iter().map(ours).collect::<Result<_>>()?;
        let matching = matching
            .into_iter()
            .map(|(of_left, of_scan)| Ok((of_left, ours(of_scan)?)))
            .collect::<Result<_>>()?;
        let node = VectorJoin::new(Arc::clone(&join.left), right, keys, self.k, outer)?
            .within(range)
            .matching(matching);
        let found = LogicalPlan::Extension(Extension { node: Arc::new(node) });

        let is_found = || Expr::Column(Column::new(Some(name.clone()), &key)).is_not_null();
        let mut outputs: Vec<Expr> = left.columns().into_iter().map(Expr::Column).collect();
        let fields = join.right.schema().iter();
        for ((qualifier, field), output) in fields.zip(self.outputs) {
            let mut output = ours(output)?;
            if outer && !matches!(&output, Expr::Column(column) if column.relation.as_ref() == Some(&name)) {
                output = when(is_found(), output).end()?;
            }
            outputs.push(output.alias_qualified(qualifier.cloned(), field.name()));
        }
        let mut plan = LogicalPlanBuilder::from(found);
        if let Some(after) = conjunction(self.after.into_iter().map(ours).collect::<Result<Vec<_>>>()?) {
            plan = plan.filter(after)?;
        }
        let mut plan = plan.project(outputs)?.build()?;
        let equal = join.on.iter().map(|(a, b)| a.clone().eq(b.clone()));
        if let Some(condition) = conjunction(equal.chain(condition)) {
            plan = LogicalPlan::Filter(Filter::try_new(condition, Arc::new(plan))?);
        }
        Ok(Some(plan))
    }

    /// Whether whatever it takes from outside is on the left of the join, and nothing hides in a subquery.
    fn is_of_left(&self, left: &DFSchema) -> Result<bool> {
        let keys = self.keys.iter().map(|key| &key.expr);
        let mut of_left = true;
        for expr in keys.chain(&self.outputs).chain(&self.after).chain(&self.filters) {
            expr.apply(|expr| {
                match expr {
                    Expr::OuterReferenceColumn(_, column) => of_left &= left.has_column(column),
                    Expr::ScalarSubquery(subquery) => of_left &= subquery.outer_ref_columns.is_empty(),
                    Expr::InSubquery(_) | Expr::Exists(_) | Expr::SetComparison(_) => of_left = false,
                    _ => {}
                }
                Ok(if of_left {
                    TreeNodeRecursion::Continue
                } else {
                    TreeNodeRecursion::Stop
                })
            })?;
        }
        Ok(of_left)
    }

    /// The first key, when it is a distance to the row on the left, nearest first.
    fn searched(&self) -> Option<Distance> {
        let (key, then) = self.keys.split_first()?;
        let parts = distance_of(&key.expr, &self.scan.projected_schema)?;
        let is_search =
            key.asc != parts.descending && !key.nulls_first && then.iter().all(|key| !key.expr.is_volatile());
        is_search.then_some(parts)
    }
}

/// The distance between a vector of the scan and something that is the same for a row on the left.
fn distance_of(expr: &Expr, scan: &DFSchema) -> Option<Distance> {
    let is_query =
        |query: &Expr| !query.any_column_refs() && is_repeatable(&strip_outer_reference(query.clone()));
    Distance::with_query(expr, scan, is_query)
}

/// Whether the condition is the same for every row on the left, and stays a condition on rows.
fn is_plain_filter(filter: &Expr) -> bool {
    let has_subquery = filter.exists(|expr| {
        Ok(matches!(
            expr,
            Expr::InSubquery(_) | Expr::Exists(_) | Expr::SetComparison(_)
        ))
    });
    is_repeatable(filter) && matches!(has_subquery, Ok(false))
}

/// What is equal in `filter`: something of the row on the left, something of the scan.
fn equal_pair(filter: Expr, left: &DFSchema, scan: &DFSchema) -> Result<Option<(Expr, Expr)>> {
    let Expr::BinaryExpr(BinaryExpr {
        left: one,
        op: Operator::Eq,
        right: other,
    }) = filter
    else {
        return Ok(None);
    };
    let of_left = |expr: &Expr| expr.contains_outer() && !expr.any_column_refs();
    let (ours, theirs) = match (of_left(&one), of_left(&other)) {
        (true, false) => (*one, *other),
        (false, true) => (*other, *one),
        (true, true) | (false, false) => return Ok(None),
    };
    let ours = strip_outer_reference(ours);
    if !is_plain_filter(&ours) || !is_plain_filter(&theirs) || !theirs.any_column_refs() {
        return Ok(None);
    }
    let (of_ours, of_theirs) = (ours.get_type(left)?, theirs.get_type(scan)?);
    let is_pair = of_ours == of_theirs && is_comparable(&of_ours);
    Ok(is_pair.then_some((ours, theirs)))
}

/// Distances of the scan's vectors with the query as their first argument: so they are those of the search to the last bit.
fn query_first(expr: Expr, scan: &DFSchema) -> Result<Expr> {
    let swapped = expr.transform_up(|expr| {
        let is_distance = Distance::with_query(&expr, scan, |query| !query.any_column_refs()).is_some();
        Ok(match expr {
            Expr::ScalarFunction(mut call) if is_distance => {
                // What has more arguments takes the query as what it is, wherever it stands.
                let of_two = call.args.len() == 2;
                let vector_first = of_two && call.args.first().is_some_and(Expr::any_column_refs);
                if vector_first {
                    call.args.reverse();
                }
                Transformed::new(
                    Expr::ScalarFunction(call),
                    vector_first,
                    TreeNodeRecursion::Continue,
                )
            }
            other => Transformed::no(other),
        })
    })?;
    Ok(swapped.data)
}

/// The name of the table, or one made of it when the columns on the left have it.
fn free_name(table: &TableReference, left: &DFSchema) -> TableReference {
    let is_taken = |name: &TableReference| left.iter().any(|(qualifier, _)| qualifier == Some(name));
    if !is_taken(table) {
        return table.clone();
    }
    let mut number = 1usize;
    loop {
        let name = TableReference::bare(format!("{}_found_{number}", table.table()));
        if !is_taken(&name) {
            return name;
        }
        number += 1;
    }
}
