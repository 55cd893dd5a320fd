//! `x = ANY (SELECT ..)`, `x > ALL (SELECT ..)` and their like.
//!
//! `= ANY` is `IN` and `<> ALL` is `NOT IN`; as such they are planned as semi-joins. The planner turns the
//! other comparisons into joins in which a column of the subquery is mistaken for one of the same name
//! outside, so the subquery gets a name of its own:
//!
//! ```text
//!   id > ALL (SELECT id FROM t)   ->   id > ALL (SELECT * FROM (SELECT id FROM t) AS __compared_1)
//! ```

use std::ops::ControlFlow;

use datafusion::sql::parser::Statement;
use sqlparser::ast::{
    BinaryOperator, Expr, Query, SetExpr, Statement as SqlStatement, TableFactor, VisitMut, VisitorMut,
};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

use crate::error::{QueryError, Result};

/// Rewrites every such comparison of a statement.
///
/// # Errors
/// [`QueryError::Internal`] only.
pub(super) fn rewrite(statement: &mut Statement) -> Result<()> {
    let inner = match statement {
        Statement::Statement(inner) => inner,
        Statement::Explain(explain) => return rewrite(&mut explain.statement),
        Statement::CreateExternalTable(_) | Statement::CopyTo(_) | Statement::Reset(_) => return Ok(()),
    };
    match inner.visit(&mut Comparisons { named: 0 }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

struct Comparisons {
    named: usize,
}

impl VisitorMut for Comparisons {
    type Break = QueryError;

    fn post_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<QueryError> {
        let (left, operator, right, all) = match expression {
            Expr::AnyOp {
                left,
                compare_op,
                right,
                ..
            } => (left, compare_op, right, false),
            Expr::AllOp {
                left,
                compare_op,
                right,
            } => (left, compare_op, right, true),
            _ => return ControlFlow::Continue(()),
        };
        let Expr::Subquery(subquery) = right.as_mut() else {
            return ControlFlow::Continue(());
        };
        let is_in = match (&operator, all) {
            (BinaryOperator::Eq, false) => Some(false),
            (BinaryOperator::NotEq, true) => Some(true),
            _ => None,
        };
        if let Some(negated) = is_in {
            *expression = Expr::InSubquery {
                expr: left.clone(),
                subquery: subquery.clone(),
                negated,
            };
            return ControlFlow::Continue(());
        }
        self.named += 1;
        match named(self.named, subquery) {
            Ok(query) => {
                **subquery = query;
                ControlFlow::Continue(())
            }
            Err(error) => ControlFlow::Break(error),
        }
    }
}

/// The query as a table with a name.
fn named(number: usize, query: &Query) -> Result<Query> {
    let broken = || QueryError::Internal("a query of our own cannot be read".into());
    let text = format!("SELECT * FROM (SELECT 1) AS __compared_{number}");
    let mut statements = Parser::parse_sql(&PostgreSqlDialect {}, &text).map_err(|_| broken())?;
    let Some(SqlStatement::Query(mut outer)) = statements.pop() else {
        return Err(broken());
    };
    let SetExpr::Select(select) = outer.body.as_mut() else {
        return Err(broken());
    };
    let Some(TableFactor::Derived { subquery, .. }) = select.from.first_mut().map(|from| &mut from.relation)
    else {
        return Err(broken());
    };
    **subquery = query.clone();
    Ok(*outer)
}
