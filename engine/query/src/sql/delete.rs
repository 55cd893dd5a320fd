//! `DELETE`: what the planner below would overlook.
//!
//! ```text
//!   DELETE FROM t AS x WHERE x.a = 1    -> DELETE FROM t WHERE t.a = 1
//! ```

use std::ops::ControlFlow;

use sqlparser::ast::{
    AccessExpr, Delete, Expr, FromTable, Ident, ObjectName, Query, TableFactor, TableWithJoins, VisitMut,
    VisitorMut,
};

use super::create_table::normalized;
use crate::error::{QueryError, Result};

/// Refuses the clauses that a collection cannot honour, and gives the columns of an aliased table its own name. `check` says
/// whether the table may be written.
///
/// # Errors
/// [`QueryError::Unsupported`] naming the clause, and what `check` says.
pub(super) fn prepare(mut delete: Delete, check: impl FnOnce(&ObjectName) -> Result<()>) -> Result<Delete> {
    let (FromTable::WithFromKeyword(tables) | FromTable::WithoutKeyword(tables)) = &mut delete.from;
    let [
        TableWithJoins {
            relation: TableFactor::Table {
                name, alias, args, ..
            },
            joins,
        },
    ] = tables.as_mut_slice()
    else {
        return Err(QueryError::Unsupported(
            "DELETE from anything but one table".into(),
        ));
    };
    if args.is_some() {
        return Err(QueryError::Unsupported("DELETE from a table function".into()));
    }
    if !joins.is_empty() || delete.using.is_some() || delete.returning.is_some() {
        return Err(QueryError::Unsupported(
            "DELETE with JOIN, USING or RETURNING; use a subquery in WHERE".into(),
        ));
    }
    let named = alias.take();
    if named.as_ref().is_some_and(|alias| !alias.columns.is_empty()) {
        return Err(QueryError::Unsupported(
            "names of columns in the alias of a DELETE".into(),
        ));
    }
    check(name)?;
    let table = name.0.last().and_then(|part| part.as_ident());
    if let (Some(alias), Some(table), Some(condition)) = (named, table, &mut delete.selection) {
        let mut of_table = OfTable {
            alias: normalized(&alias.name),
            table,
            depth: 0,
            is_used_within: false,
            is_hidden_within: false,
        };
        let _: ControlFlow<()> = condition.visit(&mut of_table);
        if of_table.is_used_within && of_table.is_hidden_within {
            return Err(QueryError::Unsupported(format!(
                "DELETE FROM {name} AS {alias} with a subquery in which {alias} could be {name} and something else: \
                 give what the subquery reads an alias of its own",
                alias = alias.name,
            )));
        }
    }
    Ok(delete)
}

/// Columns of an alias become those of the table.
struct OfTable<'a> {
    alias: String,
    table: &'a Ident,
    /// Subqueries around what is visited.
    depth: usize,
    /// A column of the alias in a subquery.
    is_used_within: bool,
    /// A table in a subquery whose columns are, or may be, called as those of the table or of its alias.
    is_hidden_within: bool,
}

impl VisitorMut for OfTable<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, _query: &mut Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &mut Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        // What a function gives is called as a table that it is given, or as it likes.
        let called = match factor {
            TableFactor::Table {
                alias: Some(alias), ..
            }
            | TableFactor::Derived {
                alias: Some(alias), ..
            } => Some(&alias.name),
            TableFactor::Table { name, args: None, .. } => name.0.last().and_then(|part| part.as_ident()),
            _ => None,
        };
        self.is_hidden_within |= called
            .map(normalized)
            .is_none_or(|called| called == self.alias || called == normalized(self.table));
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        let first = match expr {
            Expr::CompoundIdentifier(parts) if parts.len() > 1 => parts.first_mut(),
            Expr::CompoundFieldAccess { root, access_chain } => match (root.as_mut(), access_chain.first()) {
                (Expr::Identifier(first), Some(AccessExpr::Dot(_))) => Some(first),
                _ => None,
            },
            _ => None,
        };
        if let Some(first) = first.filter(|first| normalized(first) == self.alias) {
            first.clone_from(self.table);
            self.is_used_within |= self.depth > 0;
        }
        ControlFlow::Continue(())
    }
}
