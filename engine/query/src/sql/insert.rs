//! `INSERT`: vectors may be written as text, so the source's vector columns are cast before planning.
//!
//! ```text
//!   INSERT INTO t (id, v) VALUES (1, '[1,2]')        -> VALUES (1, CAST('[1,2]' AS VECTOR(2)))
//!   INSERT INTO t (id, v) SELECT id, text FROM s     -> SELECT c0, CAST(c1 AS VECTOR(2))
//!                                                       FROM (SELECT id, text FROM s) AS source (c0, c1)
//! ```
//!
//! `DEFAULT` as a value becomes NULL, which the collection replaces by the column's default.

use arrow::datatypes::{DataType, Schema};
use sqlparser::ast::{
    CastKind, DataType as SqlType, Expr, Ident, Insert, ObjectName, ObjectNamePart, Query, SetExpr, Value, ValueWithSpan,
};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

use super::create_table::normalized;
use crate::error::{QueryError, Result};
use crate::plan::distance::is_vector;

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
        (insert.on.is_some(), "ON CONFLICT"),
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

/// Casts the source's vector columns to the types of `schema`, the table's.
///
/// # Errors
/// [`QueryError::Internal`] when the cast cannot be written.
pub(crate) fn cast_vectors(insert: &mut Insert, schema: &Schema) -> Result<()> {
    let targets: Vec<Option<i32>> = if insert.columns.is_empty() {
        schema.fields().iter().map(|field| vector_dim(field.data_type())).collect()
    } else {
        insert.columns.iter().map(|name| column_dim(name, schema)).collect()
    };
    let Some(source) = insert.source.as_mut() else { return Ok(()) };
    if let SetExpr::Values(values) = source.body.as_mut() {
        for row in &mut values.rows {
            for (cell, dim) in row.content.iter_mut().zip(&targets) {
                replace_default(cell);
                if let Some(dim) = dim
                    && !is_placeholder(cell)
                {
                    let inner = std::mem::replace(cell, Expr::Value(Value::Null.into()));
                    *cell = cast_to_vector(inner, *dim);
                }
            }
        }
        return Ok(());
    }
    if targets.iter().any(Option::is_some) {
        **source = cast_query(source, &targets)?;
    }
    Ok(())
}

fn column_dim(name: &ObjectName, schema: &Schema) -> Option<i32> {
    let [ObjectNamePart::Identifier(ident)] = name.0.as_slice() else { return None };
    let field = schema.field_with_name(&normalized(ident)).ok()?;
    vector_dim(field.data_type())
}

fn vector_dim(data_type: &DataType) -> Option<i32> {
    match data_type {
        DataType::FixedSizeList(_, dim) if is_vector(data_type) => Some(*dim),
        _ => None,
    }
}

fn is_placeholder(expr: &Expr) -> bool {
    matches!(expr, Expr::Value(ValueWithSpan { value: Value::Placeholder(_), .. }))
}

fn replace_default(cell: &mut Expr) {
    if matches!(cell, Expr::Identifier(ident) if ident.quote_style.is_none() && ident.value.eq_ignore_ascii_case("default")) {
        *cell = Expr::Value(Value::Null.into());
    }
}

fn cast_to_vector(expr: Expr, dim: i32) -> Expr {
    Expr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(expr),
        data_type: SqlType::Custom(ObjectName::from(vec![Ident::new("vector")]), vec![dim.to_string()]),
        array: false,
        format: None,
    }
}

/// `SELECT c0, CAST(c1 AS VECTOR(n)) FROM (<query>) AS source (c0, c1)`.
fn cast_query(query: &Query, targets: &[Option<i32>]) -> Result<Query> {
    let names: Vec<String> = (0..targets.len()).map(|column| format!("c{column}")).collect();
    let columns: Vec<String> = names
        .iter()
        .zip(targets)
        .map(|(name, dim)| match dim {
            Some(dim) => format!("CAST({name} AS VECTOR({dim}))"),
            None => name.clone(),
        })
        .collect();
    let text = format!("SELECT {} FROM ({query}) AS source ({})", columns.join(", "), names.join(", "));
    Parser::new(&PostgreSqlDialect {})
        .try_with_sql(&text)
        .and_then(|mut parser| parser.parse_query())
        .map(|query| *query)
        .map_err(|e| QueryError::Internal(format!("the source of an INSERT cannot be cast: {e}")))
}
