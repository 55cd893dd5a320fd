//! `t AS OF SNAPSHOT before`, `t AS OF VERSION 7` (or `t VERSION AS OF 7`): a table as it was.
//!
//! The parser does not know the clause under this dialect, so it is read as a call in FROM, `as_of(t, snapshot => 'before')`,
//! which [`crate::plan::table_function::as_of`] plans.

use std::borrow::Cow;
use std::fmt::Write;
use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::sql::parser::Statement;
use elanus_collection::{Collection, Collections, Error, SnapshotRef};
use sqlparser::ast::{Expr, FunctionArg, Ident, ObjectName, TableFactor, Visit, Visitor};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::tokenizer::Token;

use super::offsets::tokens_of;
use super::show::quoted;
use super::table_name;
use crate::error::Result;
use crate::plan::table_function::as_of::{arguments_of, is_as_of, target};

/// `text` with its AS OF clauses as calls; any other text as it is.
pub(super) fn as_call(text: &str) -> Cow<'_, str> {
    let lower = text.to_ascii_lowercase();
    if !lower.contains("snapshot") && !lower.contains("version") {
        return Cow::Borrowed(text);
    }
    // What has no tokens is for the parser to complain about.
    let Ok(tokens) = tokens_of(&PostgreSqlDialect {}, text) else {
        return Cow::Borrowed(text);
    };
    let mut out = String::new();
    let mut start = 0;
    for at in 0..tokens.len() {
        let Some(clause) = Clause::at(&tokens, at) else {
            continue;
        };
        let offset = |token: usize| tokens.get(token).map_or(text.len(), |(offset, _)| *offset);
        let (name, as_of) = (offset(clause.name), offset(clause.begin));
        let table = text.get(name..as_of).unwrap_or_default().trim_end();
        out.push_str(text.get(start..name).unwrap_or_default());
        // Writing to a string does not fail.
        let _written = write!(out, "as_of({table}, {}) ", clause.state);
        start = offset(clause.end);
    }
    if start == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(text.get(start..).unwrap_or_default());
    Cow::Owned(out)
}

/// A clause, by its tokens.
struct Clause {
    /// Where the name of the table begins.
    name: usize,
    /// Its first token.
    begin: usize,
    /// The token behind it.
    end: usize,
    /// The argument that says the same.
    state: String,
}

impl Clause {
    /// The clause whose AS is this token.
    fn at(tokens: &[(usize, Token)], at: usize) -> Option<Self> {
        let token = |place: usize| tokens.get(place).map(|(_, token)| token);
        let is = |place: usize, word: &str| token(place).is_some_and(|token| is_word(token, word));
        if !is(at, "as") || !is(at + 1, "of") {
            return None;
        }
        let (begin, end, state) = match (token(at + 2)?, token(at + 3)) {
            (Token::Number(number, _), _) if at > 0 && is(at - 1, "version") => {
                (at - 1, at + 3, format!("version => {number}"))
            }
            (word, Some(Token::Number(number, _))) if is_word(word, "version") => {
                (at, at + 4, format!("version => {number}"))
            }
            (word, Some(name)) if is_word(word, "snapshot") => {
                let name = match name {
                    Token::Word(name) if name.quote_style.is_none() => name.value.to_lowercase(),
                    Token::Word(name) => name.value.clone(),
                    Token::SingleQuotedString(name) => name.clone(),
                    _ => return None,
                };
                (at, at + 4, format!("snapshot => {}", quoted(&name)))
            }
            _ => return None,
        };
        // a.b.c: from its end.
        let mut name = begin.checked_sub(1)?;
        if !matches!(token(name), Some(Token::Word(_))) {
            return None;
        }
        while name >= 2
            && matches!(token(name - 1), Some(Token::Period))
            && matches!(token(name - 2), Some(Token::Word(_)))
        {
            name -= 2;
        }
        Some(Self {
            name,
            begin,
            end,
            state,
        })
    }
}

fn is_word(token: &Token, word: &str) -> bool {
    matches!(token, Token::Word(found) if found.quote_style.is_none() && found.value.eq_ignore_ascii_case(word))
}

/// Opens the earlier states that a statement names. To be held while it is planned: the plan holds them then.
///
/// # Errors
/// When there is no such state, or its files cannot be read. Tables that are not there are for the planner to tell.
pub(crate) async fn open(
    collections: &Collections,
    database: &str,
    statement: &Statement,
) -> Result<Vec<Arc<Collection>>> {
    let mut calls = Calls::default();
    match statement {
        // The visitor never breaks off.
        Statement::Statement(inner) => {
            let ControlFlow::Continue(()) = inner.visit(&mut calls);
        }
        Statement::Explain(explain) => {
            return Box::pin(open(collections, database, &explain.statement)).await;
        }
        Statement::CreateExternalTable(_) | Statement::CopyTo(_) | Statement::Reset(_) => {}
    }
    let mut opened = Vec::with_capacity(calls.0.len());
    for (name, wanted) in calls.0 {
        let (database, table) = table_name(&ObjectName::from(name), database)?;
        match collections.collection(&database, &table) {
            Ok(collection) => opened.push(collection.at(&wanted).await?),
            Err(Error::CollectionNotFound { .. } | Error::DatabaseNotFound { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(opened)
}

/// The states that calls in a statement name.
#[derive(Default)]
struct Calls(Vec<(Vec<Ident>, SnapshotRef)>);

impl Calls {
    fn note(&mut self, name: &ObjectName, arguments: &[FunctionArg]) {
        if is_as_of(name) {
            self.0.extend(target(arguments));
        }
    }
}

impl Visitor for Calls {
    type Break = std::convert::Infallible;

    fn pre_visit_table_factor(&mut self, table: &TableFactor) -> ControlFlow<Self::Break> {
        match table {
            TableFactor::Table {
                name,
                args: Some(args),
                ..
            } => self.note(name, &args.args),
            TableFactor::Function { name, args, .. } => self.note(name, args),
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Self::Break> {
        if let Expr::Function(call) = expr {
            self.note(&call.name, &arguments_of(call));
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::as_call;

    #[test]
    fn clauses_become_calls() {
        for (text, call) in [
            (
                "SELECT * FROM t AS OF SNAPSHOT s WHERE a",
                "SELECT * FROM as_of(t, snapshot => 's') WHERE a",
            ),
            (
                "SELECT * FROM d.\"T x\" as of version 3 AS o, u AS OF SNAPSHOT 'it''s'",
                "SELECT * FROM as_of(d.\"T x\", version => 3) AS o, as_of(u, snapshot => 'it''s') ",
            ),
            (
                "SELECT 1 FROM (SELECT a FROM t VERSION AS OF 7) x",
                "SELECT 1 FROM (SELECT a FROM as_of(t, version => 7) ) x",
            ),
            (
                "SELECT * FROM version AS OF VERSION 2",
                "SELECT * FROM as_of(version, version => 2) ",
            ),
        ] {
            assert_eq!(as_call(text), call);
        }
    }

    #[test]
    fn anything_else_stays() {
        for text in [
            "SELECT 'a AS OF SNAPSHOT b'",
            "SELECT version AS of FROM snapshot",
            "SELECT * FROM t AS OF TIMESTAMP '2024-01-01'",
            "SELECT * FROM t \"as\" OF SNAPSHOT b",
            "AS OF SNAPSHOT b",
        ] {
            assert_eq!(as_call(text), text);
        }
    }
}
