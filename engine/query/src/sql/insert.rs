//! `INSERT`: vectors may be written as text, so the source's vector columns are cast before planning.
//!
//! ```text
//!   INSERT INTO t (id, v) VALUES (1, '[1,2]')        -> VALUES (1, CAST('[1,2]' AS VECTOR(2)))
//!   INSERT INTO t (id, v) SELECT id, text FROM s     -> SELECT c0, CAST(c1 AS VECTOR(2))
//!                                                       FROM (SELECT id, text FROM s) AS source (c0, c1)
//! ```
//!
//! `DEFAULT` as a value becomes the column's default, or NULL when it has none.

use elanus_collection::{CollectionSchema, DataType, Field};
use sqlparser::ast::{
    CastKind, DataType as SqlType, Expr, Insert, ObjectName, ObjectNamePart, Query, SetExpr, Value,
    ValueWithSpan,
};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

use super::create_table::normalized;
use super::types::{type_name, vector_sql};
use crate::error::{QueryError, Result};

/// Refuses the clauses of an INSERT that a collection cannot honour.
///
/// # Errors
/// [`QueryError::Unsupported`] naming the clause.
pub(crate) fn refuse_clauses(insert: &Insert) -> Result<()> {
    let clauses = [
        (insert.or.is_some(), "OR"),
        (insert.ignore, "IGNORE"),
        (insert.overwrite, "OVERWRITE"),
        (insert.replace_into, "REPLACE INTO"),
        (insert.returning.is_some() || insert.output.is_some(), "RETURNING"),
        (insert.partitioned.is_some(), "PARTITION"),
        (!insert.assignments.is_empty(), "SET"),
        (insert.source.is_none(), "DEFAULT VALUES"),
    ];
    match clauses.iter().find(|(given, _)| *given) {
        Some((_, clause)) => Err(QueryError::Unsupported(format!("INSERT .. {clause}"))),
        None => Ok(()),
    }
}

/// Casts the source's vector columns to the types of `schema`, the table's, and puts defaults in.
///
/// # Errors
/// [`QueryError::Plan`] for a literal NULL in a column that cannot be NULL, [`QueryError::Internal`]
/// when the cast cannot be written.
pub(crate) fn prepare_values(insert: &mut Insert, schema: &CollectionSchema) -> Result<()> {
    let targets = targets_of(insert, schema);
    let Some(source) = insert.source.as_mut() else {
        return Ok(());
    };
    if let SetExpr::Values(values) = source.body.as_mut() {
        for (row, cells) in values.rows.iter_mut().enumerate() {
            for (cell, field) in cells.content.iter_mut().zip(&targets) {
                let Some(field) = field else { continue };
                prepare_cell(cell, field, row)?;
            }
        }
        return Ok(());
    }
    if targets.iter().any(|field| field.and_then(vector_type).is_some()) {
        **source = cast_query(source, &targets)?;
    }
    Ok(())
}

/// The fields that the columns of the source go to.
fn targets_of<'a>(insert: &Insert, schema: &'a CollectionSchema) -> Vec<Option<&'a Field>> {
    if insert.columns.is_empty() {
        return schema.fields.iter().map(Some).collect();
    }
    let names = insert.columns.iter();
    names.map(|name| named_field(name, schema)).collect()
}

fn named_field<'a>(name: &ObjectName, schema: &'a CollectionSchema) -> Option<&'a Field> {
    let [ObjectNamePart::Identifier(ident)] = name.0.as_slice() else {
        return None;
    };
    schema.field(&normalized(ident))
}

fn vector_type(field: &Field) -> Option<SqlType> {
    vector_sql(&field.data_type)
}

fn prepare_cell(cell: &mut Expr, field: &Field, row: usize) -> Result<()> {
    let null = || Expr::Value(Value::Null.into());
    if matches!(cell, Expr::Identifier(ident) if ident.quote_style.is_none() && ident.value.eq_ignore_ascii_case("default"))
    {
        *cell = default_of(field);
    }
    if matches!(
        cell,
        Expr::Value(ValueWithSpan {
            value: Value::Null,
            ..
        })
    ) && !field.nullable
    {
        return Err(QueryError::Plan(format!(
            "column '{}' cannot be NULL, row {} of VALUES is",
            field.name,
            row + 1
        )));
    }
    if let Some(vector) = vector_type(field)
        && !is_placeholder(cell)
    {
        let inner = std::mem::replace(cell, null());
        *cell = cast_to_vector(inner, vector);
    }
    Ok(())
}

/// What `DEFAULT` stands for in a column.
pub(super) fn default_of(field: &Field) -> Expr {
    let default = field.default.as_ref().and_then(literal);
    default.unwrap_or_else(|| Expr::Value(Value::Null.into()))
}

/// Gives the parameters among the values of an INSERT the types of their columns.
pub(super) fn type_parameters(insert: &mut Insert, schema: &CollectionSchema) -> Result<()> {
    let targets = targets_of(insert, schema);
    let Some(source) = insert.source.as_mut() else {
        return Ok(());
    };
    let SetExpr::Values(values) = source.body.as_mut() else {
        return Ok(());
    };
    for row in &mut values.rows {
        for (cell, field) in row.content.iter_mut().zip(&targets) {
            // The type of a struct is known from the table alone.
            let typed = field.filter(|field| field.sub_fields().is_empty());
            if let (Some(field), true) = (typed, is_placeholder(cell)) {
                let name = match &field.data_type {
                    // REAL[n] is another way to write VECTOR(n).
                    DataType::Array { element, .. } => format!("{}[]", type_name(element)),
                    other => type_name(other),
                };
                let text = format!("CAST({cell} AS {name})");
                *cell = Parser::new(&PostgreSqlDialect {})
                    .try_with_sql(&text)
                    .and_then(|mut parser| parser.parse_expr())
                    .map_err(|e| QueryError::Internal(format!("a typed parameter: {e}")))?;
            }
        }
    }
    Ok(())
}

/// A column's default as SQL.
fn literal(value: &serde_json::Value) -> Option<Expr> {
    let text = match value {
        serde_json::Value::String(text) => {
            return Some(Expr::Value(Value::SingleQuotedString(text.clone()).into()));
        }
        serde_json::Value::Bool(value) => return Some(Expr::Value(Value::Boolean(*value).into())),
        serde_json::Value::Number(number) => number.to_string(),
        serde_json::Value::Null | serde_json::Value::Array(_) | serde_json::Value::Object(_) => return None,
    };
    Parser::new(&PostgreSqlDialect {})
        .try_with_sql(&text)
        .and_then(|mut parser| parser.parse_expr())
        .ok()
}

pub(super) fn is_placeholder(expr: &Expr) -> bool {
    matches!(
        expr,
        Expr::Value(ValueWithSpan {
            value: Value::Placeholder(_),
            ..
        })
    )
}

pub(super) fn cast_to_vector(expr: Expr, data_type: SqlType) -> Expr {
    Expr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(expr),
        data_type,
        array: false,
        format: None,
    }
}

/// `SELECT c0, CAST(c1 AS VECTOR(n)) FROM (<query>) AS source (c0, c1)`.
fn cast_query(query: &Query, targets: &[Option<&Field>]) -> Result<Query> {
    let names: Vec<String> = (0..targets.len()).map(|column| format!("c{column}")).collect();
    let columns: Vec<String> = names
        .iter()
        .zip(targets)
        .map(|(name, field)| match field.and_then(vector_type) {
            Some(vector) => format!("CAST({name} AS {vector})"),
            None => name.clone(),
        })
        .collect();
    let text = format!(
        "SELECT {} FROM ({query}) AS source ({})",
        columns.join(", "),
        names.join(", ")
    );
    Parser::new(&PostgreSqlDialect {})
        .try_with_sql(&text)
        .and_then(|mut parser| parser.parse_query())
        .map(|query| *query)
        .map_err(|e| QueryError::Internal(format!("the source of an INSERT cannot be cast: {e}")))
}
