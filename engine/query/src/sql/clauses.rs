//! Clauses that the parser knows and the planner overlooks: silence would be a wrong answer.

use std::ops::ControlFlow;

use datafusion::sql::parser::Statement;
use sqlparser::ast::{Query, TableFactor, Visit, Visitor};

use crate::error::{QueryError, Result};

/// Refuses a statement with such a clause anywhere in it.
///
/// # Errors
/// [`QueryError::Unsupported`] naming the clause.
pub(super) fn refuse(statement: &Statement) -> Result<()> {
    let found = match statement {
        Statement::Statement(statement) => statement.visit(&mut Overlooked),
        Statement::Explain(explain) => return refuse(&explain.statement),
        Statement::CreateExternalTable(_) | Statement::CopyTo(_) | Statement::Reset(_) => {
            ControlFlow::Continue(())
        }
    };
    match found {
        ControlFlow::Break(clause) => Err(QueryError::Unsupported(clause.into())),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Overlooked;

impl Visitor for Overlooked {
    type Break = &'static str;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Self::Break> {
        if query.locks.is_empty() {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break("SELECT .. FOR UPDATE or SHARE")
        }
    }

    fn pre_visit_table_factor(&mut self, table: &TableFactor) -> ControlFlow<Self::Break> {
        match table {
            TableFactor::Table { sample: Some(_), .. } | TableFactor::Derived { sample: Some(_), .. } => {
                ControlFlow::Break("TABLESAMPLE")
            }
            TableFactor::Table {
                with_ordinality: true,
                ..
            } => ControlFlow::Break("WITH ORDINALITY"),
            _ => ControlFlow::Continue(()),
        }
    }
}
