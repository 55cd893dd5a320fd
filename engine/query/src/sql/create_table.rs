//! `CREATE TABLE`: a collection from column definitions.

use std::collections::BTreeMap;

use elanus_collection::{CollectionSchema, CollectionSpec, DataType, Field, UNIQUE_KEY};
use sqlparser::ast::{
    ColumnDef, ColumnOption, CreateTable, CreateTableOptions, Expr, IndexColumn, SqlOption, TableConstraint,
    UnaryOperator, Value,
};

use super::generated;
use super::types::column_type;
use crate::error::{QueryError, Result};

/// Shards of a collection made with SQL.
const SHARDS: i32 = 1;
/// Milvus' number for the consistency level "Bounded", its default.
const CONSISTENCY: i32 = 2;

/// The collection that the statement describes.
///
/// # Errors
/// [`QueryError::Unsupported`] for clauses that a collection has no place for, [`QueryError::Plan`]
/// without exactly one primary key.
pub(crate) fn collection_spec(statement: &CreateTable) -> Result<CollectionSpec> {
    refuse_clauses(statement)?;
    let options = table_options(&statement.table_options)?;
    let (columns, functions) = generated::take(&statement.columns)?;
    let mut fields = columns.iter().map(field).collect::<Result<Vec<_>>>()?;
    generated::analyze_inputs(&functions, &mut fields)?;
    for constraint in &statement.constraints {
        let TableConstraint::PrimaryKey(key) = constraint else {
            return Err(QueryError::Unsupported(format!(
                "table constraint {constraint}; only PRIMARY KEY (column) is"
            )));
        };
        let [column] = key.columns.as_slice() else {
            return Err(QueryError::Unsupported("a primary key of several columns".into()));
        };
        let name = column_name(column)?;
        match fields.iter_mut().find(|field| field.name == name) {
            Some(field) => field.primary_key = true,
            None => {
                return Err(QueryError::Plan(format!(
                    "primary key column '{name}' is not a column of the table"
                )));
            }
        }
    }
    for field in &mut fields {
        if field.primary_key {
            field.nullable = false;
            field.data_type = field.data_type.clone().bounded();
        }
    }
    if !fields.iter().any(|field| field.primary_key) {
        return Err(QueryError::Plan(format!(
            "table '{}' has no primary key: give one BIGINT or VARCHAR column PRIMARY KEY",
            statement.name
        )));
    }
    let mut schema = CollectionSchema::new(fields);
    schema.functions = functions.into_iter().map(|bm25| bm25.function).collect();
    let schema = if options.dynamic {
        schema.with_dynamic_field()
    } else {
        schema
    };
    Ok(CollectionSpec {
        schema,
        shards: SHARDS,
        consistency: CONSISTENCY,
        properties: options.properties,
        ..CollectionSpec::default()
    })
}

fn refuse_clauses(statement: &CreateTable) -> Result<()> {
    let clauses = [
        (statement.or_replace, "OR REPLACE"),
        (
            statement.temporary || statement.global.is_some() || statement.transient,
            "TEMPORARY",
        ),
        (statement.external, "EXTERNAL"),
        (statement.partition_of.is_some(), "PARTITION OF"),
        (statement.clone.is_some(), "CLONE"),
        (statement.order_by.is_some(), "ORDER BY"),
        (
            statement.cluster_by.is_some()
                || statement.clustered_by.is_some()
                || statement.on_cluster.is_some(),
            "CLUSTER",
        ),
        (statement.without_rowid, "WITHOUT ROWID"),
        (statement.strict, "STRICT"),
        (statement.query.is_some(), "AS SELECT"),
        (statement.like.is_some(), "LIKE"),
        (statement.partition_by.is_some(), "PARTITION BY"),
        (statement.inherits.is_some(), "INHERITS"),
        (statement.on_commit.is_some(), "ON COMMIT"),
    ];
    match clauses.iter().find(|(given, _)| *given) {
        Some((_, clause)) => Err(QueryError::Unsupported(format!("CREATE TABLE .. {clause}"))),
        None => Ok(()),
    }
}

/// What `WITH (..)` says.
#[derive(Default)]
struct TableOptions {
    dynamic: bool,
    properties: BTreeMap<String, String>,
}

const TABLE_OPTIONS: &str = "allowed are dynamic_field = true, unique_key = true";

fn table_options(given: &CreateTableOptions) -> Result<TableOptions> {
    let mut options = TableOptions::default();
    let given = match given {
        CreateTableOptions::None => return Ok(options),
        CreateTableOptions::With(given) => given,
        CreateTableOptions::Options(_)
        | CreateTableOptions::Plain(_)
        | CreateTableOptions::TableProperties(_) => {
            return Err(QueryError::Unsupported(format!(
                "table options {given}; WITH (..): {TABLE_OPTIONS}"
            )));
        }
    };
    for option in given {
        let SqlOption::KeyValue { key, value } = option else {
            return Err(QueryError::Unsupported(format!(
                "table option {option}; {TABLE_OPTIONS}"
            )));
        };
        let name = key.value.to_lowercase();
        if name != "dynamic_field" && name != UNIQUE_KEY {
            return Err(QueryError::Unsupported(format!(
                "table option {option}; {TABLE_OPTIONS}"
            )));
        }
        let on = match value.to_string().trim_matches('\'').to_lowercase().as_str() {
            "true" => true,
            "false" => false,
            other => {
                return Err(QueryError::InvalidParameter(format!(
                    "{name} must be true or false, got {other}"
                )));
            }
        };
        if name == UNIQUE_KEY {
            options.properties.insert(name, on.to_string());
        } else {
            options.dynamic = on;
        }
    }
    Ok(options)
}

/// The field that a column definition describes.
///
/// # Errors
/// [`QueryError::Unsupported`] for types and options that a collection has no place for.
pub(super) fn field(column: &ColumnDef) -> Result<Field> {
    let name = normalized(&column.name);
    let mut field = Field::new(name, column_type(&column.data_type)?);
    field.nullable = true;
    for option in &column.options {
        match &option.option {
            ColumnOption::Null => field.nullable = true,
            ColumnOption::NotNull => field.nullable = false,
            ColumnOption::PrimaryKey(_) => field.primary_key = true,
            ColumnOption::Default(value) => field.default = Some(default_value(value, &field)?),
            ColumnOption::Generated {
                generation_expr: None,
                sequence_options,
                ..
            } if sequence_options.as_ref().is_none_or(Vec::is_empty) => {
                field.auto_id = true;
                field.nullable = false;
            }
            ColumnOption::Comment(text) => field.description = text.clone(),
            other => {
                return Err(QueryError::Unsupported(format!(
                    "column option {other} of '{}'; allowed are NULL, NOT NULL, PRIMARY KEY, DEFAULT, GENERATED AS IDENTITY, and in CREATE TABLE GENERATED ALWAYS AS (bm25(..) or minhash(..)) STORED",
                    field.name
                )));
            }
        }
    }
    Ok(field)
}

/// Unquoted names fold to lower case, as everywhere in SQL.
pub(crate) fn normalized(ident: &sqlparser::ast::Ident) -> String {
    if ident.quote_style.is_some() {
        ident.value.clone()
    } else {
        ident.value.to_lowercase()
    }
}

/// The plain column name of an index or key column.
///
/// # Errors
/// [`QueryError::Unsupported`] for an expression.
pub(crate) fn column_name(column: &IndexColumn) -> Result<String> {
    match &column.column.expr {
        Expr::Identifier(ident) => Ok(normalized(ident)),
        other => Err(QueryError::Unsupported(format!(
            "{other} where a column name belongs"
        ))),
    }
}

/// The value of a DEFAULT.
///
/// # Errors
/// [`QueryError::Unsupported`] for anything but a literal.
pub(super) fn default_value(value: &Expr, field: &Field) -> Result<serde_json::Value> {
    let refuse = || {
        QueryError::Unsupported(format!(
            "DEFAULT {value} of column '{}'; only a literal is",
            field.name
        ))
    };
    match value {
        Expr::Value(literal) => match &literal.value {
            Value::Number(text, _) => number(text, field).ok_or_else(refuse),
            Value::SingleQuotedString(text) => Ok(serde_json::Value::from(text.clone())),
            Value::Boolean(value) => Ok(serde_json::Value::from(*value)),
            _ => Err(refuse()),
        },
        Expr::UnaryOp {
            op: UnaryOperator::Minus,
            expr,
        } => match expr.as_ref() {
            Expr::Value(literal) => match &literal.value {
                Value::Number(text, _) => number(&format!("-{text}"), field).ok_or_else(refuse),
                _ => Err(refuse()),
            },
            _ => Err(refuse()),
        },
        Expr::Nested(inner) => default_value(inner, field),
        _ => Err(refuse()),
    }
}

fn number(text: &str, field: &Field) -> Option<serde_json::Value> {
    let is_float = matches!(field.data_type, DataType::Float | DataType::Double);
    match text.parse::<i64>() {
        Ok(value) if !is_float => Some(serde_json::Value::from(value)),
        Ok(_) | Err(_) => serde_json::Number::from_f64(text.parse().ok()?).map(serde_json::Value::Number),
    }
}
