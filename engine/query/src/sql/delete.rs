//! `DELETE`: what the planner below would overlook.
//!
//! ```text
//!   DELETE FROM t AS x WHERE x.a = 1    -> DELETE FROM t WHERE id IN (SELECT id FROM t AS x WHERE x.a = 1)
//! ```

use sqlparser::ast::{Delete, FromTable, Ident, ObjectName, TableFactor, TableWithJoins};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

use crate::error::{QueryError, Result};

/// Refuses the clauses that a collection cannot honour, and moves the condition of an aliased table
/// into a subquery. `primary_key` gives the key's name, `None` when there is no such table (which the
/// planner will say).
///
/// # Errors
/// [`QueryError::Unsupported`] naming the clause, and what `primary_key` says.
pub(super) fn prepare(
    mut delete: Delete,
    primary_key: impl FnOnce(&ObjectName) -> Result<Option<String>>,
) -> Result<Delete> {
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
    let key = primary_key(name)?;
    if let (Some(alias), Some(key), Some(condition)) = (named, key, &delete.selection) {
        let key = Ident::with_quote('"', key);
        let text = format!(
            "{key} IN (SELECT {key} FROM {name} AS {} WHERE {condition})",
            alias.name
        );
        let condition = Parser::new(&PostgreSqlDialect {})
            .try_with_sql(&text)
            .and_then(|mut parser| parser.parse_expr());
        delete.selection =
            Some(condition.map_err(|e| QueryError::Internal(format!("DELETE with an alias: {e}")))?);
    }
    Ok(delete)
}
