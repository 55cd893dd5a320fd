//! `0.3 > v <=> q`, `v <=> q BETWEEN 0.1 AND 0.3`: the cosine operator binds as the other distances do.
//!
//! In PostgreSQL an operator of one's own binds more tightly than comparisons. The parser takes `<=>` for MySQL's equality,
//! which is a comparison, so such texts are read as `(0.3 > v) <=> q` and `v <=> (q BETWEEN 0.1 AND 0.3)`. What was put
//! into parentheses stays in them.

use std::ops::ControlFlow;

use datafusion::sql::parser::Statement;
use sqlparser::ast::{self, BinaryOperator, Expr, Ident, VisitMut, VisitorMut};

/// Regroups what was read in the wrong order.
pub(super) fn rewrite(statement: &mut Statement) {
    match statement {
        Statement::Statement(inner) => regroup(inner),
        Statement::Explain(explain) => rewrite(&mut explain.statement),
        Statement::CreateExternalTable(_) | Statement::CopyTo(_) | Statement::Reset(_) => {}
    }
}

/// [`rewrite`] of what the parser below gives.
pub(super) fn regroup(statement: &mut ast::Statement) {
    // The visitor never breaks off.
    let ControlFlow::Continue(()) = statement.visit(&mut Cosines);
}

struct Cosines;

impl VisitorMut for Cosines {
    type Break = std::convert::Infallible;

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Self::Break> {
        if let Expr::BinaryOp {
            left,
            op: BinaryOperator::Spaceship,
            right,
        } = expr
        {
            if matches!(left.as_ref(), Expr::BinaryOp { op, .. } if is_comparison(op)) {
                *expr = with_last(take(left), |vector| cosine(vector, take(right)));
            } else if matches!(right.as_ref(), Expr::Between { .. }) {
                *expr = with_first(take(right), |query| cosine(take(left), query));
            }
        }
        ControlFlow::Continue(())
    }
}

fn is_comparison(op: &BinaryOperator) -> bool {
    matches!(
        op,
        BinaryOperator::Lt
            | BinaryOperator::LtEq
            | BinaryOperator::Gt
            | BinaryOperator::GtEq
            | BinaryOperator::Eq
            | BinaryOperator::NotEq
    )
}

/// The expression, with nothing left in its place.
fn take(expr: &mut Expr) -> Expr {
    std::mem::replace(expr, Expr::Identifier(Ident::new("")))
}

fn cosine(left: Expr, right: Expr) -> Expr {
    Expr::BinaryOp {
        left: Box::new(left),
        op: BinaryOperator::Spaceship,
        right: Box::new(right),
    }
}

/// `a < b` with `change(b)` in the place of `b`.
fn with_last(mut comparison: Expr, change: impl FnOnce(Expr) -> Expr) -> Expr {
    if let Expr::BinaryOp { right, .. } = &mut comparison {
        **right = change(take(right));
    }
    comparison
}

/// `a BETWEEN b AND c` with `change(a)` in the place of `a`.
fn with_first(mut between: Expr, change: impl FnOnce(Expr) -> Expr) -> Expr {
    if let Expr::Between { expr, .. } = &mut between {
        **expr = change(take(expr));
    }
    between
}
