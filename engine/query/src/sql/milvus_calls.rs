//! `milvus('price < {most}', most => 5)`: the values that an expression has places for.
//!
//! The planner takes arguments by name only for functions whose names are all known before, so they become pairs:
//!
//! ```text
//!   milvus('price < {most}', 'docs', most => $1)   ->   milvus('price < {most}', 'docs', 'most', $1)
//!   milvus('price < {most}', most => 5)            ->   milvus('price < {most}', NULL, 'most', 5)
//! ```

use std::ops::ControlFlow;

use datafusion::sql::parser::Statement;
use sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, Value, VisitMut, VisitorMut,
};

use crate::plan::milvus_predicate::NAME;

/// Rewrites every such call of a statement.
pub(super) fn rewrite(statement: &mut Statement) {
    match statement {
        Statement::Statement(inner) => {
            let _: ControlFlow<()> = inner.visit(&mut Calls);
        }
        Statement::Explain(explain) => rewrite(&mut explain.statement),
        Statement::CreateExternalTable(_) | Statement::CopyTo(_) | Statement::Reset(_) => {}
    }
}

struct Calls;

impl VisitorMut for Calls {
    type Break = ();

    fn post_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        if let Expr::Function(call) = expression
            && call.name.to_string().eq_ignore_ascii_case(NAME)
        {
            in_pairs(call);
        }
        ControlFlow::Continue(())
    }
}

/// Puts pairs in the place of named arguments, when they stand behind all others.
fn in_pairs(call: &mut Function) {
    let FunctionArguments::List(list) = &mut call.args else {
        return;
    };
    let named = list.args.iter().position(|argument| pair(argument).is_some());
    let Some(named) = named.filter(|named| (1..=2).contains(named)) else {
        return;
    };
    let (before, behind) = list.args.split_at(named);
    let pairs: Option<Vec<(Ident, Expr)>> = behind.iter().map(pair).collect();
    let Some(pairs) = pairs else { return };
    let argument = |value: Expr| FunctionArg::Unnamed(FunctionArgExpr::Expr(value));
    let literal = |value: Value| argument(Expr::Value(value.into()));
    let mut arguments = before.to_vec();
    if named == 1 {
        arguments.push(literal(Value::Null));
    }
    for (name, value) in pairs {
        arguments.extend([literal(Value::SingleQuotedString(name.value)), argument(value)]);
    }
    list.args = arguments;
}

/// A named argument.
fn pair(argument: &FunctionArg) -> Option<(Ident, Expr)> {
    match argument {
        FunctionArg::Named {
            name,
            arg: FunctionArgExpr::Expr(value),
            ..
        }
        | FunctionArg::ExprNamed {
            name: Expr::Identifier(name),
            arg: FunctionArgExpr::Expr(value),
            ..
        } => Some((name.clone(), value.clone())),
        _ => None,
    }
}
