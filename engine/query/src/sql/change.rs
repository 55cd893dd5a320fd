//! `UPDATE`, `MERGE` and `INSERT .. ON CONFLICT`: what the planner below would overlook, and what it does not know.
//!
//! ```text
//!   UPDATE t SET v = '[1,2]'                     -> UPDATE t SET v = CAST('[1,2]' AS VECTOR(2))
//!   UPDATE t SET n = s.n FROM s WHERE t.id = s.id -> MERGE INTO t USING s ON t.id = s.id WHEN MATCHED THEN ..
//!   INSERT INTO t (id, n) VALUES (1, 2)          -> MERGE INTO t USING (VALUES (1, 2)) AS excluded (id, n)
//!     ON CONFLICT (id) DO UPDATE SET n = t.n + 1      ON t.id = excluded.id
//!                                                     WHEN MATCHED THEN UPDATE SET n = t.n + 1
//!                                                     WHEN NOT MATCHED THEN INSERT (id, n) VALUES (..)
//! ```

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use elanus_collection::{CollectionSchema, Field};
use sqlparser::ast::{
    AccessExpr, Assignment, AssignmentTarget, ConflictTarget, Expr, Ident, Insert, Merge, MergeAction,
    ObjectName, ObjectNamePart, OnConflictAction, OnInsert, Query, SetExpr, Statement as SqlStatement,
    TableFactor, TableWithJoins, Update, UpdateTableFromKind, VisitMut, VisitorMut,
};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

use super::create_table::normalized;
use super::insert::{cast_to_vector, is_placeholder};
use super::precedence;
use super::types::vector_sql;
use crate::error::{QueryError, Result, did_you_mean};
use crate::plan::change_rows::NewKeys;

/// Refuses the clauses of an UPDATE that a collection cannot honour, and makes its assignments ready.
///
/// # Errors
/// [`QueryError::Unsupported`] naming the clause, [`QueryError::Plan`] for a column that is unknown or assigned twice.
pub(super) fn prepare_update(
    mut update: Update,
    schema: impl FnOnce(&ObjectName) -> Result<Option<Arc<CollectionSchema>>>,
) -> Result<SqlStatement> {
    let clauses = [
        (!update.optimizer_hints.is_empty(), "hints"),
        (update.returning.is_some() || update.output.is_some(), "RETURNING"),
        (update.or.is_some(), "OR"),
        (!update.order_by.is_empty(), "ORDER BY"),
        (update.limit.is_some(), "LIMIT"),
        (!update.table.joins.is_empty(), "JOIN; use UPDATE .. FROM"),
    ];
    if let Some((_, clause)) = clauses.iter().find(|(given, _)| *given) {
        return Err(QueryError::Unsupported(format!("UPDATE .. {clause}")));
    }
    if let Some(UpdateTableFromKind::BeforeSet(_)) = &update.from {
        return Err(QueryError::Unsupported("UPDATE .. FROM before SET".into()));
    }
    let name = table_of(&update.table, "UPDATE")?;
    if let Some(schema) = schema(name)? {
        prepare_assignments(&mut update.assignments, &schema)?;
    }
    match update.from.take() {
        None => Ok(SqlStatement::Update(update)),
        Some(from) => merge_from(update, &from),
    }
}

/// `UPDATE .. FROM s WHERE ..` as a MERGE of `s` on the condition.
fn merge_from(update: Update, from: &UpdateTableFromKind) -> Result<SqlStatement> {
    let (UpdateTableFromKind::AfterSet(tables) | UpdateTableFromKind::BeforeSet(tables)) = from;
    let [source] = tables.as_slice() else {
        return Err(QueryError::Unsupported(
            "UPDATE .. FROM several tables; give their join as one subquery".into(),
        ));
    };
    if !source.joins.is_empty() {
        return Err(QueryError::Unsupported(
            "UPDATE .. FROM a join; give it as a subquery".into(),
        ));
    }
    let sets: Vec<String> = update.assignments.iter().map(ToString::to_string).collect();
    let on = update
        .selection
        .map_or("true".into(), |condition| condition.to_string());
    statement(&format!(
        "MERGE INTO {} USING {source} ON {on} WHEN MATCHED THEN UPDATE SET {}",
        update.table,
        sets.join(", ")
    ))
}

fn statement(text: &str) -> Result<SqlStatement> {
    Parser::new(&PostgreSqlDialect {})
        .try_with_sql(text)
        .and_then(|mut parser| parser.parse_statement())
        .map(|mut statement| {
            // What was regrouped is so no more, once it was written out.
            precedence::regroup(&mut statement);
            statement
        })
        .map_err(|e| QueryError::Internal(format!("a change of rows as a MERGE: {e}")))
}

/// Makes the assignments of a MERGE ready.
///
/// # Errors
/// As [`prepare_update`].
pub(super) fn prepare_merge(
    mut merge: Merge,
    schema: impl FnOnce(&ObjectName) -> Result<Option<Arc<CollectionSchema>>>,
) -> Result<Merge> {
    if merge.output.is_some() {
        return Err(QueryError::Unsupported("MERGE .. RETURNING".into()));
    }
    let TableFactor::Table { name, .. } = &merge.table else {
        return Err(QueryError::Unsupported("MERGE INTO anything but a table".into()));
    };
    if let Some(schema) = schema(name)? {
        for clause in &mut merge.clauses {
            if let MergeAction::Update(update) = &mut clause.action {
                prepare_assignments(&mut update.assignments, &schema)?;
            }
        }
    }
    Ok(merge)
}

fn table_of<'a>(table: &'a TableWithJoins, verb: &str) -> Result<&'a ObjectName> {
    match &table.relation {
        TableFactor::Table { name, args: None, .. } => Ok(name),
        _ => Err(QueryError::Unsupported(format!("{verb} of anything but a table"))),
    }
}

/// Column names as they are stored, vectors cast, no column twice.
fn prepare_assignments(assignments: &mut [Assignment], schema: &CollectionSchema) -> Result<()> {
    let mut seen = HashSet::new();
    for assignment in assignments {
        let AssignmentTarget::ColumnName(target) = &mut assignment.target else {
            return Err(QueryError::Unsupported(
                "SET (a, b) = (..); assign each column by itself".into(),
            ));
        };
        let Some(ObjectNamePart::Identifier(ident)) = target.0.last_mut() else {
            return Err(QueryError::Plan(format!("'{target}' is not a column")));
        };
        let name = normalized(ident);
        let Some(field) = schema.field(&name) else {
            let known: Vec<&str> = schema.fields.iter().map(|field| field.name.as_str()).collect();
            let known = did_you_mean(&name, &known, "columns");
            return Err(QueryError::Plan(format!("column '{name}' not found{known}")));
        };
        if !seen.insert(name.clone()) {
            return Err(QueryError::Plan(format!("column '{name}' is assigned twice")));
        }
        *ident = Ident::with_quote('"', name);
        if matches!(&assignment.value, Expr::Identifier(word) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case("default"))
        {
            assignment.value = super::insert::default_of(field);
        }
        cast_vector(&mut assignment.value, field);
    }
    Ok(())
}

fn cast_vector(value: &mut Expr, field: &Field) {
    if let Some(vector) = vector_sql(&field.data_type)
        && !is_placeholder(value)
    {
        let inner = std::mem::replace(value, Expr::value(sqlparser::ast::Value::Null));
        *value = cast_to_vector(inner, vector);
    }
}

/// `INSERT .. ON CONFLICT` as a MERGE. The values of `insert` are ready already.
///
/// # Errors
/// [`QueryError::Unsupported`] naming the clause, [`QueryError::Plan`] when the conflict is not about the primary key.
pub(super) fn merge_of(insert: Insert, schema: &CollectionSchema) -> Result<(SqlStatement, NewKeys)> {
    let Some(OnInsert::OnConflict(conflict)) = insert.on else {
        return Err(QueryError::Unsupported("INSERT .. ON DUPLICATE KEY".into()));
    };
    let key = &schema.primary_key()?.name;
    match &conflict.conflict_target {
        None => {}
        Some(ConflictTarget::Columns(columns)) if is_only(columns, key) => {}
        Some(ConflictTarget::Columns(columns)) => {
            return Err(QueryError::Plan(format!(
                "ON CONFLICT ({}) is not the primary key: only ({key}) can conflict",
                columns.iter().map(normalized).collect::<Vec<_>>().join(", ")
            )));
        }
        Some(ConflictTarget::OnConstraint(name)) => {
            return Err(QueryError::Unsupported(format!(
                "ON CONFLICT ON CONSTRAINT {name}"
            )));
        }
    }
    let (sqlparser::ast::TableObject::TableName(table), Some(source)) = (&insert.table, &insert.source)
    else {
        return Err(QueryError::Unsupported(
            "INSERT .. ON CONFLICT without a query".into(),
        ));
    };
    let mut columns: Vec<String> = insert
        .columns
        .iter()
        .map(|column| column.0.last().and_then(ObjectNamePart::as_ident).map(normalized))
        .map(Option::unwrap_or_default)
        .collect();
    if columns.is_empty() {
        let width = match source.body.as_ref() {
            SetExpr::Values(values) => values.rows.first().map(|row| row.content.len()),
            _ => None,
        };
        let all = schema.fields.iter().map(|field| field.name.clone());
        columns = all.take(width.unwrap_or(usize::MAX)).collect();
    }
    if !columns.contains(key) {
        return Err(QueryError::Plan(format!(
            "INSERT .. ON CONFLICT has to give the primary key '{key}'"
        )));
    }
    let alias = insert.table_alias.as_ref().map(|alias| normalized(&alias.alias));
    let target = match &alias {
        Some(alias) => quoted(alias),
        None => table.to_string(),
    };
    let names: Vec<String> = columns.iter().map(|name| quoted(name)).collect();
    let values: Vec<String> = names.iter().map(|name| format!("excluded.{name}")).collect();
    let mut text = format!(
        "MERGE INTO {table}{} USING ({source}) AS excluded ({}) ON {target}.{key} = excluded.{key}",
        alias
            .map(|alias| format!(" AS {}", quoted(&alias)))
            .unwrap_or_default(),
        names.join(", "),
        key = quoted(key),
    );
    let does = match conflict.action {
        OnConflictAction::DoNothing => NewKeys::First,
        OnConflictAction::DoUpdate(mut update) => {
            prepare_assignments(&mut update.assignments, schema)?;
            let mut of_target = OfTarget {
                schema,
                target: &target,
                depth: 0,
            };
            if let Some(condition) = &mut update.selection {
                let _: ControlFlow<()> = condition.visit(&mut of_target);
                text.push_str(&format!(" WHEN MATCHED AND {condition}"));
            } else {
                text.push_str(" WHEN MATCHED");
            }
            let mut sets = Vec::with_capacity(update.assignments.len());
            for assignment in &mut update.assignments {
                let _: ControlFlow<()> = assignment.value.visit(&mut of_target);
                let name = match &assignment.target {
                    AssignmentTarget::ColumnName(name) => name.0.last().map(ToString::to_string),
                    AssignmentTarget::Tuple(_) => None,
                };
                sets.push(format!("{} = {}", name.unwrap_or_default(), assignment.value));
            }
            text.push_str(&format!(" THEN UPDATE SET {}", sets.join(", ")));
            NewKeys::Distinct
        }
    };
    text.push_str(&format!(
        " WHEN NOT MATCHED THEN INSERT ({}) VALUES ({})",
        names.join(", "),
        values.join(", ")
    ));
    Ok((statement(&text)?, does))
}

fn is_only(columns: &[Ident], name: &str) -> bool {
    matches!(columns, [column] if normalized(column) == name)
}

fn quoted(name: &str) -> String {
    Ident::with_quote('"', name).to_string()
}

/// A column without a table is the target's, outside of subqueries, which have tables of their own.
struct OfTarget<'a> {
    schema: &'a CollectionSchema,
    target: &'a str,
    /// Subqueries around what is visited.
    depth: usize,
}

impl VisitorMut for OfTarget<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, _query: &mut Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &mut Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::Identifier(ident) if self.depth == 0 && self.schema.field(&normalized(ident)).is_some() => {
                let name = quoted(&normalized(ident));
                let parsed = Parser::new(&PostgreSqlDialect {})
                    .try_with_sql(&format!("{}.{name}", self.target))
                    .and_then(|mut parser| parser.parse_expr());
                if let Ok(column) = parsed {
                    *expr = column;
                }
            }
            // The parser takes the names of `excluded.tags[1]` apart.
            Expr::CompoundFieldAccess { root, access_chain } => {
                if let Expr::Identifier(first) = root.as_ref()
                    && self.schema.field(&normalized(first)).is_none()
                    && let Some(AccessExpr::Dot(Expr::Identifier(second))) = access_chain.first()
                {
                    **root = Expr::CompoundIdentifier(vec![first.clone(), second.clone()]);
                    access_chain.remove(0);
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}
