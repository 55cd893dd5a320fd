//! `FROM q, vector_search(docs, q.v, 10)`: a function in FROM sees the tables to its left.
//!
//! PostgreSQL says so for every function in FROM; the planner looks to the left only behind the word LATERAL.

use std::ops::ControlFlow;

use datafusion::sql::parser::Statement;
use sqlparser::ast::{JoinOperator, Select, TableFactor, TableWithJoins, VisitMut, VisitorMut};

use crate::plan::table_function::is_search;

/// Writes LATERAL where it is meant.
pub(super) fn rewrite(statement: &mut Statement) {
    match statement {
        Statement::Statement(inner) => {
            // The visitor never breaks off.
            let ControlFlow::Continue(()) = inner.visit(&mut Calls);
        }
        Statement::Explain(explain) => rewrite(&mut explain.statement),
        Statement::CreateExternalTable(_) | Statement::CopyTo(_) | Statement::Reset(_) => {}
    }
}

struct Calls;

impl VisitorMut for Calls {
    type Break = std::convert::Infallible;

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Self::Break> {
        for (place, table) in select.from.iter_mut().enumerate() {
            in_table(table, place > 0);
        }
        ControlFlow::Continue(())
    }
}

fn in_table(table: &mut TableWithJoins, has_left: bool) {
    if has_left {
        make_lateral(&mut table.relation);
    }
    for join in &mut table.joins {
        // Nothing to the left is there for every row of these.
        let outer = matches!(
            join.join_operator,
            JoinOperator::Right(_)
                | JoinOperator::RightOuter(_)
                | JoinOperator::RightSemi(_)
                | JoinOperator::RightAnti(_)
                | JoinOperator::FullOuter(_)
        );
        if !outer {
            make_lateral(&mut join.relation);
        }
    }
}

fn make_lateral(relation: &mut TableFactor) {
    if let TableFactor::Table {
        name,
        alias,
        args: Some(args),
        with_ordinality,
        ..
    } = relation
        && is_search(name)
    {
        *relation = TableFactor::Function {
            lateral: true,
            name: name.clone(),
            args: std::mem::take(&mut args.args),
            with_ordinality: *with_ordinality,
            alias: alias.take(),
        };
    }
}
