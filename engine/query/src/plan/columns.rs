//! Reading an expression through the nodes of a plan: what its columns are one node further down.

use std::collections::HashMap;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, Result};
use datafusion::logical_expr::logical_plan::SubqueryAlias;
use datafusion::logical_expr::{Expr, Projection};

/// What each column above a node is below it.
pub(super) struct Meaning(HashMap<Column, Expr>);

impl Meaning {
    /// Of the columns of a projection.
    pub fn of_projection(projection: &Projection) -> Self {
        let below = projection
            .expr
            .iter()
            .map(|expr| expr.clone().unalias_nested().data);
        Self(projection.schema.columns().into_iter().zip(below).collect())
    }

    /// Of the columns of an alias.
    pub fn of_alias(alias: &SubqueryAlias) -> Self {
        Self::renamed(alias.schema.columns(), alias.input.schema().columns())
    }

    /// As listed.
    pub fn of(columns: Vec<(Column, Expr)>) -> Self {
        Self(columns.into_iter().collect())
    }

    /// Of columns that have other names below, in the same order.
    pub fn renamed(above: Vec<Column>, below: Vec<Column>) -> Self {
        Self(
            above
                .into_iter()
                .zip(below.into_iter().map(Expr::Column))
                .collect(),
        )
    }

    /// `expr` in terms of the node below.
    pub fn read(&self, expr: Expr) -> Result<Expr> {
        let read = expr.transform_up(|expr| {
            Ok(match &expr {
                Expr::Column(column) => match self.0.get(column) {
                    Some(below) => Transformed::yes(below.clone()),
                    None => Transformed::no(expr),
                },
                _ => Transformed::no(expr),
            })
        })?;
        Ok(read.data)
    }
}
