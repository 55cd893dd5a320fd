//! An `UPDATE` or `DELETE` with many rows of parameters as one change: of the rows that a join with them finds.
//!
//! ```text
//!   Dml: op=[Update] table=[docs]              Dml: op=[Update] table=[docs]
//!     Projection: id, $1 AS n            =>      Projection: docs.id, parameters.$1 AS n
//!       Filter: id = $2                            Join: Inner, docs.id = parameters.$2
//!         TableScan: docs                            TableScan: docs
//!                                                    TableScan: parameters
//! ```
//!
//! That is the same as one run after the other when no run sees what another one has changed: the condition reads no
//! column that is assigned, and has a `column = $n` whose values are all different, so that a row meets one run at most.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use arrow::row::{RowConverter, SortField};
use datafusion::common::tree_node::TreeNode;
use datafusion::logical_expr::expr::Placeholder;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{
    BinaryExpr, DmlStatement, Expr, ExprSchemable, Filter, JoinType, LogicalPlan, LogicalPlanBuilder,
    Operator, Projection, WriteOp,
};

use super::parameters::Parameters;
use crate::error::Result;

impl Parameters {
    /// The runs of a change for all `rows` together; `None` when they have to follow each other.
    pub fn as_join(&self, plan: &LogicalPlan, rows: &RecordBatch) -> Result<Option<LogicalPlan>> {
        let LogicalPlan::Dml(dml) = plan else {
            return Ok(None);
        };
        let (projection, below) = match (&dml.op, dml.input.as_ref()) {
            (WriteOp::Update, LogicalPlan::Projection(projection)) => {
                (Some(projection), projection.input.as_ref())
            }
            (WriteOp::Delete, below) => (None, below),
            _ => return Ok(None),
        };
        let LogicalPlan::Filter(filter) = below else {
            return Ok(None);
        };
        if !is_table(&filter.input) || !self.are_apart(filter, projection, rows)? {
            return Ok(None);
        }
        let table = self.table(rows)?;
        let columns = Arc::clone(table.schema());
        let on = self.with_columns(filter.predicate.clone(), &columns)?;
        let joined = LogicalPlanBuilder::new_from_arc(Arc::clone(&filter.input))
            .join_on(table, JoinType::Inner, [on])?
            .build()?;
        let input = match projection {
            None => joined,
            Some(projection) => {
                let values = projection.expr.iter().cloned();
                let values = values.map(|value| self.with_columns(value, &columns));
                let values = values.collect::<datafusion::error::Result<Vec<_>>>()?;
                LogicalPlanBuilder::from(joined).project(values)?.build()?
            }
        };
        let (name, target, op) = (dml.table_name.clone(), Arc::clone(&dml.target), dml.op.clone());
        Ok(Some(LogicalPlan::Dml(DmlStatement::new(
            name,
            target,
            op,
            Arc::new(input),
        ))))
    }

    /// Whether no run sees what another one changes.
    fn are_apart(
        &self,
        filter: &Filter,
        projection: Option<&Projection>,
        rows: &RecordBatch,
    ) -> Result<bool> {
        let values = projection.map_or(&[][..], |projection| &projection.expr[..]);
        for expr in values.iter().chain([&filter.predicate]) {
            if expr.is_volatile() || expr.exists(|expr| Ok(has_subquery(expr)))? {
                return Ok(false);
            }
        }
        let read: HashSet<&str> = filter
            .predicate
            .column_refs()
            .into_iter()
            .map(|column| column.name.as_str())
            .collect();
        if values
            .iter()
            .any(|value| assigned(value).is_some_and(|name| read.contains(name)))
        {
            return Ok(false);
        }
        for condition in split_conjunction(&filter.predicate) {
            if let Some(index) = self.equal_to(condition, filter, rows)?
                && are_different(rows.column(index).as_ref())?
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The column of `rows` that a column of the table is compared with, without any conversion.
    fn equal_to(&self, condition: &Expr, filter: &Filter, rows: &RecordBatch) -> Result<Option<usize>> {
        let Expr::BinaryExpr(BinaryExpr {
            left,
            op: Operator::Eq,
            right,
        }) = condition
        else {
            return Ok(None);
        };
        let (column, id) = match (left.as_ref(), right.as_ref()) {
            (column @ Expr::Column(_), Expr::Placeholder(Placeholder { id, .. }))
            | (Expr::Placeholder(Placeholder { id, .. }), column @ Expr::Column(_)) => (column, id),
            _ => return Ok(None),
        };
        let wanted = column.get_type(filter.input.schema())?;
        let index = self.position(id).map(|index| self.column(rows, index));
        // Of floats there are values that are equal and not the same.
        let exact = |index: &usize| *rows.column(*index).data_type() == wanted && !wanted.is_floating();
        Ok(index.filter(exact))
    }
}

fn is_table(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::TableScan(_) => true,
        LogicalPlan::SubqueryAlias(alias) => is_table(&alias.input),
        _ => false,
    }
}

fn has_subquery(expr: &Expr) -> bool {
    matches!(
        expr,
        Expr::ScalarSubquery(_) | Expr::InSubquery(_) | Expr::Exists(_) | Expr::SetComparison(_)
    )
}

/// The column that an output of an UPDATE's projection gives a new value.
fn assigned(output: &Expr) -> Option<&str> {
    match output {
        Expr::Column(_) => None,
        Expr::Alias(alias) => match alias.expr.as_ref() {
            Expr::Column(column) if column.name == alias.name => None,
            _ => Some(&alias.name),
        },
        _ => Some(""),
    }
}

/// Whether no value comes twice; NULL is equal to nothing.
fn are_different(values: &dyn Array) -> Result<bool> {
    let converter = RowConverter::new(vec![SortField::new(values.data_type().clone())])?;
    let keys = converter.convert_columns(&[arrow::array::make_array(values.to_data())])?;
    let mut seen = HashSet::with_capacity(values.len());
    Ok(keys
        .iter()
        .enumerate()
        .all(|(row, key)| values.is_null(row) || seen.insert(key)))
}
