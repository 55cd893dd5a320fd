//! [`Restriction`]: a join that keeps some rows of a collection, made a part of the search.
//!
//! ```text
//!   SELECT .. FROM docs WHERE id IN (SELECT doc FROM picks) ORDER BY v <-> q LIMIT 10
//!
//!   Sort: v <-> q, fetch=10                 Sort: v <-> q, fetch=10
//!     LeftSemi Join: id = doc                 VectorSearch: k=10
//!       TableScan: docs                 =>      TableScan: docs
//!       TableScan: picks                        Projection: __elanus_row
//!                                                 LeftSemi Join: id = doc
//!                                                   TableScan: docs, with row addresses
//!                                                   TableScan: picks
//! ```
//!
//! The second input of the search gives the addresses of the rows that may be found. It is a plan like any other: the join
//! is DataFusion's, with its memory limits and its rules for NULL, so the rows are those of the exact plan. The search
//! collects the addresses into one bitset for each unit before it begins.
//!
//! A semi-join is gone afterwards, it has done its work. An inner join stays above the search, since it also adds columns
//! and may give a row several times; for the search it is the semi-join of the same conditions. Then its other side is
//! read twice, so that must be cheap and give the same rows both times.

use std::sync::Arc;

use datafusion::common::{Column, DFSchema, Result, TableReference};
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::{
    Expr, Join, JoinType, LogicalPlan, LogicalPlanBuilder, TableScan, TableScanBuilder,
};

use super::columns::Meaning;
use super::distance::is_repeatable;
use super::rule::collection_of;
use crate::table::{ADDRESS_COLUMN, CollectionTable};

/// Name of the scan that gives the addresses: none that a statement can use by accident.
const ROWS: &str = "__elanus_rows";

/// A side of a join.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Left,
    Right,
}

impl Side {
    /// The side that all columns of `expr` are of.
    pub fn of(expr: &Expr, join: &Join) -> Option<Self> {
        let columns = expr.column_refs();
        let all_in = |schema: &DFSchema| columns.iter().all(|column| schema.has_column(column));
        match (all_in(join.left.schema()), all_in(join.right.schema())) {
            (true, false) => Some(Self::Left),
            (false, true) => Some(Self::Right),
            (true, true) | (false, false) => None,
        }
    }

    /// This side and the other one.
    pub fn inputs(self, join: &Join) -> (&Arc<LogicalPlan>, &Arc<LogicalPlan>) {
        match self {
            Self::Left => (&join.left, &join.right),
            Self::Right => (&join.right, &join.left),
        }
    }
}

/// A join that says which rows of one of its sides are kept.
#[derive(Clone)]
pub(super) struct Restriction<'a> {
    join: &'a Join,
    side: Side,
    /// The columns of that side that its conditions read, and what they are at the node that has been reached.
    columns: Vec<(Column, Expr)>,
}

impl<'a> Restriction<'a> {
    /// By a join for one of its sides.
    pub fn of(join: &'a Join, side: Side) -> Self {
        let ours = side.inputs(join).0.schema();
        let equal = join.on.iter().flat_map(|(left, right)| [left, right]);
        let mut columns: Vec<(Column, Expr)> = Vec::new();
        for column in equal.chain(&join.filter).flat_map(Expr::column_refs) {
            if ours.has_column(column) && columns.iter().all(|(known, _)| known != column) {
                columns.push((column.clone(), Expr::Column(column.clone())));
            }
        }
        Self { join, side, columns }
    }

    /// Whether the conditions of a join hold for the same rows whenever they are looked at.
    pub fn is_repeatable(join: &Join) -> bool {
        let equal = join.on.iter().flat_map(|(left, right)| [left, right]);
        equal.chain(&join.filter).all(is_repeatable)
    }

    /// The same in terms of the node below.
    pub fn read(self, meaning: &Meaning) -> Result<Self> {
        let columns = self
            .columns
            .into_iter()
            .map(|(column, expr)| Ok((column, meaning.read(expr)?)));
        Ok(Self {
            columns: columns.collect::<Result<_>>()?,
            ..self
        })
    }

    /// Whether all that it reads is in this schema.
    pub fn is_over(&self, schema: &DFSchema) -> bool {
        let mut columns = self.columns.iter().flat_map(|(_, expr)| expr.column_refs());
        columns.all(|column| schema.has_column(column))
    }

    /// Whether what it reads is the same wherever in a plan it is computed.
    pub fn reads_repeatable(&self) -> bool {
        self.columns.iter().all(|(_, expr)| is_repeatable(expr))
    }

    /// `rows` without those that the join does not keep.
    fn applied_to(self, rows: LogicalPlan, names: &Meaning) -> Result<LogicalPlan> {
        let Self { join, side, columns } = self.read(names)?;
        let ours = Meaning::of(columns);
        let other = side.inputs(join).1;
        let on = join.on.iter().map(|(left, right)| {
            let (of_ours, of_other) = match side {
                Side::Left => (left, right),
                Side::Right => (right, left),
            };
            Ok((ours.read(of_ours.clone())?, of_other.clone()))
        });
        let filter = join.filter.clone().map(|filter| ours.read(filter));
        let join_type = match join.join_type {
            JoinType::LeftAnti | JoinType::RightAnti => JoinType::LeftAnti,
            _ => JoinType::LeftSemi,
        };
        Ok(LogicalPlan::Join(Join::try_new(
            Arc::new(rows),
            Arc::clone(other),
            on.collect::<Result<_>>()?,
            filter.transpose()?,
            join_type,
            join.join_constraint,
            join.null_equality,
            join.null_aware,
        )?))
    }
}

/// Whether a plan is read quickly and gives the same rows each time: one collection, filtered. Files may change between two
/// looks at them.
pub(super) fn is_cheap(plan: &LogicalPlan) -> bool {
    let repeatable = plan.expressions().iter().all(is_repeatable);
    repeatable
        && match plan {
            LogicalPlan::TableScan(scan) => scan.fetch.is_none() && collection_of(scan).is_some(),
            LogicalPlan::Projection(projection) => is_cheap(&projection.input),
            LogicalPlan::SubqueryAlias(alias) => is_cheap(&alias.input),
            LogicalPlan::Filter(filter) => is_cheap(&filter.input),
            LogicalPlan::Values(_) | LogicalPlan::EmptyRelation(_) => true,
            _ => false,
        }
}

/// The addresses of the rows of `scan` that all of `restrictions` keep.
pub(super) fn allowed_rows(
    scan: &TableScan,
    table: &CollectionTable,
    restrictions: Vec<Restriction<'_>>,
) -> Result<LogicalPlan> {
    let addressed = table.with_addresses();
    let source = provider_as_source(Arc::new(addressed));
    let schema = source.schema();
    let rows = TableReference::bare(ROWS);
    let here = |name: &str| Column::new(Some(rows.clone()), name);
    let old = scan.projected_schema.columns();
    let new = old.iter().map(|column| here(&column.name)).collect();
    let names = Meaning::renamed(old, new);

    let read = restrictions
        .iter()
        .flat_map(|one| &one.columns)
        .flat_map(|(_, expr)| expr.column_refs());
    let mut projection: Vec<usize> = read
        .map(|column| schema.index_of(&column.name))
        .collect::<Result<_, _>>()?;
    projection.push(schema.index_of(ADDRESS_COLUMN)?);
    projection.sort_unstable();
    projection.dedup();
    // A filter of the scan may be on columns that are not read any further.
    let all = scan.source.schema();
    let old = all
        .fields()
        .iter()
        .map(|field| Column::new(Some(scan.table_name.clone()), field.name()));
    let new = all.fields().iter().map(|field| here(field.name()));
    let in_filters = Meaning::renamed(old.collect(), new.collect());
    let filters = scan.filters.iter().map(|filter| in_filters.read(filter.clone()));
    let mut plan = LogicalPlan::TableScan(
        TableScanBuilder::new(rows.clone(), source)
            .with_projection(Some(projection))
            .with_filters(filters.collect::<Result<_>>()?)
            .build()?,
    );
    for one in restrictions {
        plan = one.applied_to(plan, &names)?;
    }
    LogicalPlanBuilder::from(plan)
        .project([Expr::Column(here(ADDRESS_COLUMN))])?
        .build()
}
