//! `ALTER TABLE`: its actions as changes of a collection, made together or not at all.

use std::collections::BTreeMap;

use elanus_collection::{Alteration, CollectionSchema, DataType, Error};
use sqlparser::ast::{
    AlterColumnOperation, AlterTable, AlterTableOperation, DataType as SqlType, DropBehavior, Expr, Ident,
    ObjectName, RenameTableNameKind, SqlOption, Value,
};

use super::Router;
use super::create_table::{default_value, field, normalized};
use super::types::column_type;
use crate::error::{QueryError, Result, did_you_mean};

/// Properties that a table has, all of them true or false.
const PROPERTIES: [&str; 2] = ["allow_insert_auto_id", "collection.autocompaction.enabled"];

const ACTIONS: &str = "ADD COLUMN, DROP COLUMN, RENAME COLUMN, RENAME TO, ALTER COLUMN, SET (..), RESET (..)";

impl Router<'_> {
    pub(super) async fn alter_table(&self, alter: &AlterTable) -> Result<()> {
        refuse_clauses(alter)?;
        let (database, name) = self.written_table(&alter.name)?;
        let collection = match self.collections.collection(&database, &name) {
            Err(Error::CollectionNotFound { .. }) if alter.if_exists => return Ok(()),
            found => found?,
        };
        if let [AlterTableOperation::RenameTable { table_name }] = alter.operations.as_slice() {
            let new = new_table_name(table_name)?;
            let renamed = self
                .collections
                .rename_collection(&database, &name, &database, &new);
            return renamed.await.map_err(QueryError::from);
        }
        let mut changes = Vec::with_capacity(alter.operations.len());
        for action in &alter.operations {
            read_action(action, collection.schema(), &mut changes)?;
        }
        self.collections
            .alter_collection(&database, &name, changes)
            .await
            .map(|_| ())
            .map_err(QueryError::from)
    }
}

fn unsupported(what: impl std::fmt::Display) -> QueryError {
    QueryError::Unsupported(format!("ALTER TABLE .. {what}"))
}

fn refuse_clauses(alter: &AlterTable) -> Result<()> {
    let clauses = [
        (alter.only, "ONLY"),
        (alter.location.is_some(), "LOCATION"),
        (alter.on_cluster.is_some(), "ON CLUSTER"),
        (alter.table_type.is_some(), "of a table of another kind"),
    ];
    match clauses.iter().find(|(given, _)| *given) {
        Some((_, clause)) => Err(unsupported(clause)),
        None => Ok(()),
    }
}

fn new_table_name(name: &RenameTableNameKind) -> Result<String> {
    let (RenameTableNameKind::To(name) | RenameTableNameKind::As(name)) = name;
    let ObjectName(parts) = name;
    match parts.as_slice() {
        [part] => part.as_ident().map(normalized),
        _ => None,
    }
    .ok_or_else(|| {
        unsupported(format!(
            "RENAME TO {name}: a table stays in its database, give a plain name"
        ))
    })
}

/// Adds the changes of one action to `changes`. Types of the columns are those of `schema`, before all of them.
fn read_action(
    action: &AlterTableOperation,
    schema: &CollectionSchema,
    changes: &mut Vec<Alteration>,
) -> Result<()> {
    match action {
        AlterTableOperation::AddColumn {
            if_not_exists,
            column_def,
            column_position: None,
            ..
        } => changes.push(Alteration::AddField {
            field: Box::new(field(column_def)?),
            if_not_exists: *if_not_exists,
        }),
        AlterTableOperation::DropColumn {
            column_names,
            if_exists,
            drop_behavior: None | Some(DropBehavior::Restrict),
            ..
        } => changes.extend(column_names.iter().map(|name| Alteration::DropField {
            name: normalized(name),
            if_exists: *if_exists,
            with_vector_index: false,
        })),
        AlterTableOperation::RenameColumn {
            old_column_name,
            new_column_name,
        } => changes.push(Alteration::RenameField {
            from: normalized(old_column_name),
            to: normalized(new_column_name),
        }),
        AlterTableOperation::AlterColumn { column_name, op } => {
            changes.push(alter_column(column_name, op, schema)?);
        }
        AlterTableOperation::SetOptionsParens { options } => changes.push(properties(options)?),
        AlterTableOperation::RenameTable { .. } => {
            return Err(unsupported("RENAME TO together with other actions"));
        }
        other => return Err(unsupported(format!("{other}; allowed are {ACTIONS}"))),
    }
    Ok(())
}

fn alter_column(name: &Ident, op: &AlterColumnOperation, schema: &CollectionSchema) -> Result<Alteration> {
    let name = normalized(name);
    let Some(column) = schema.field(&name).filter(|field| !field.dynamic) else {
        let shown = schema.fields.iter().filter(|field| !field.dynamic);
        let known: Vec<&str> = shown.map(|field| field.name.as_str()).collect();
        return Err(QueryError::Plan(format!(
            "column '{name}' not found{}",
            did_you_mean(&name, &known, "columns")
        )));
    };
    match op {
        AlterColumnOperation::SetDefault { value } if is_null(value) => Ok(Alteration::SetDefault {
            field: name,
            value: None,
        }),
        AlterColumnOperation::SetDefault { value } => Ok(Alteration::SetDefault {
            value: Some(default_value(value, column)?),
            field: name,
        }),
        AlterColumnOperation::DropDefault => Ok(Alteration::SetDefault {
            field: name,
            value: None,
        }),
        AlterColumnOperation::DropNotNull => Ok(Alteration::AllowNull { field: name }),
        AlterColumnOperation::SetDataType {
            data_type,
            using: None,
            ..
        } => widened(name, &column.data_type, data_type),
        AlterColumnOperation::SetDataType { .. }
        | AlterColumnOperation::SetNotNull
        | AlterColumnOperation::AddGenerated { .. } => Err(unsupported(format!(
            "ALTER COLUMN {name} {op}; allowed are SET DEFAULT, DROP DEFAULT, DROP NOT NULL, TYPE VARCHAR(n), TYPE TEXT"
        ))),
    }
}

fn is_null(value: &Expr) -> bool {
    matches!(value, Expr::Value(value) if value.value == Value::Null)
}

/// A longer VARCHAR, or TEXT; the rows that are there fit into it as they are.
fn widened(name: String, old: &DataType, new: &SqlType) -> Result<Alteration> {
    let (old, max_length) = match (old, column_type(new)?) {
        (DataType::VarChar { .. } | DataType::Text, DataType::Text) => {
            return Ok(Alteration::MakeText { field: name });
        }
        (DataType::VarChar { max_length: old }, DataType::VarChar { max_length }) => (old, max_length),
        _ => {
            return Err(unsupported(format!(
                "ALTER COLUMN {name} TYPE {new}; only VARCHAR(n) can become longer, or TEXT"
            )));
        }
    };
    if max_length < *old {
        return Err(unsupported(format!(
            "ALTER COLUMN {name} TYPE {new}: it is VARCHAR({old}), and only becomes longer"
        )));
    }
    Ok(Alteration::SetMaxLength {
        field: name,
        max_length,
    })
}

/// Properties to set, and those to reset, which have the value NULL.
fn properties(options: &[SqlOption]) -> Result<Alteration> {
    let (mut set, mut unset) = (BTreeMap::new(), Vec::new());
    for option in options {
        let SqlOption::KeyValue { key, value } = option else {
            return Err(unsupported(format!("SET ({option})")));
        };
        let key = normalized(key);
        if !PROPERTIES.contains(&key.as_str()) {
            let known = did_you_mean(&key, &PROPERTIES, "properties");
            return Err(unsupported(format!("SET property '{key}'{known}")));
        }
        if is_null(value) {
            unset.push(key);
            continue;
        }
        let text = value.to_string();
        let value = match text.trim_matches('\'').to_lowercase().as_str() {
            on @ ("true" | "false") => on.to_string(),
            _ => {
                return Err(QueryError::InvalidParameter(format!(
                    "property '{key}' is true or false, got {text}"
                )));
            }
        };
        set.insert(key, value);
    }
    Ok(Alteration::SetProperties { set, unset })
}
