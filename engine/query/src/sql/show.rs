//! `SHOW INDEXES`, `SHOW SNAPSHOTS`, `SHOW RERANKERS`, `SHOW CREATE TABLE`, `SHOW COLUMNS`, `SHOW ALL`: queries over what the catalog knows.

use std::fmt::Write;

use datafusion::config::ExtensionOptions;
use datafusion::sql::parser::Statement;
use elanus_collection::{ANALYZER_PARAMS, Collection, CollectionSchema, DataType, Field, RelationKind};
use sqlparser::ast::{Ident, ObjectName, ShowCreateObject, ShowStatementOptions};

use super::create_table::normalized;
use super::types::{DEFAULT_CAPACITY, type_name};
use super::{Router, refuse_show_options, users};
use crate::catalog::INFO_SCHEMA;
use crate::error::{QueryError, Result};
use crate::settings::ElanusSettings;

impl Router<'_> {
    /// The query behind a `SHOW` that the parser takes for the name of a setting; `None` for the name of one.
    pub(super) fn show(&self, words: &[Ident]) -> Result<Option<Statement>> {
        let words: Vec<String> = words.iter().map(normalized).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["all"] => self.show_all().map(Some),
            ["indexes" | "index" | "indices"] => self.show_indexes(&self.database(), None).map(Some),
            ["indexes" | "index" | "indices", "from" | "in" | "on", table] => {
                self.show_indexes(&self.database(), Some(table)).map(Some)
            }
            [
                "indexes" | "index" | "indices",
                "from" | "in" | "on",
                database,
                table,
            ] => self.show_indexes(database, Some(table)).map(Some),
            ["users"] => self.text(users::SHOW_USERS).map(Some),
            ["roles"] => self.text(users::SHOW_ROLES).map(Some),
            ["grants"] => self.text(users::SHOW_GRANTS).map(Some),
            ["grants", "for" | "of" | "to", role] => {
                let role = quoted(role);
                self.text(&format!(
                    "SELECT * FROM ({}) WHERE role = {role}",
                    users::SHOW_GRANTS
                ))
                .map(Some)
            }
            ["rerankers"] => self.show_rerankers().map(Some),
            ["snapshots"] => self.show_snapshots(&self.database(), None).map(Some),
            ["snapshots", "from" | "in" | "on", table] => {
                self.show_snapshots(&self.database(), Some(table)).map(Some)
            }
            ["snapshots", "from" | "in" | "on", database, table] => {
                self.show_snapshots(database, Some(table)).map(Some)
            }
            ["elanus", name] => self.shown_setting(name),
            _ => Ok(None),
        }
    }

    /// DataFusion shows its own settings only.
    fn show_all(&self) -> Result<Statement> {
        let mut ours = String::new();
        for entry in ElanusSettings::of(self.session.state_ref().read().config_options()).entries() {
            let value = entry.value.unwrap_or_default();
            // Writing to a string does not fail.
            let _written = write!(
                ours,
                " UNION ALL SELECT 'elanus.{}', {}",
                entry.key,
                quoted(&value)
            );
        }
        self.text(&format!(
            "SELECT name, value FROM information_schema.df_settings{ours} ORDER BY name"
        ))
    }

    /// The condition of the rows about one table, if it is only one, behind others.
    fn only(&self, database: &str, table: Option<&str>) -> Result<String> {
        let Some(table) = table else {
            return Ok(String::new());
        };
        if self.collections.relation(database, table).is_none()
            && self.collections.collection(database, table).is_err()
        {
            return Err(self.unknown_table(database, table));
        }
        Ok(format!(" AND collection = {}", quoted(table)))
    }

    fn show_snapshots(&self, database: &str, table: Option<&str>) -> Result<Statement> {
        let only = self.only(database, table)?;
        self.text(&format!(
            "SELECT collection AS table, snapshot, version, created, rows \
             FROM {INFO_SCHEMA}.snapshots WHERE database = {}{only} ORDER BY 1, 3",
            quoted(database)
        ))
    }

    fn show_rerankers(&self) -> Result<Statement> {
        self.text(&format!(
            "SELECT name, plugin, version, digest, calls, rows, time_ms, peak_memory, traps, last_error \
             FROM {INFO_SCHEMA}.plugins WHERE kind = 'reranker' ORDER BY 1"
        ))
    }

    fn show_indexes(&self, database: &str, table: Option<&str>) -> Result<Statement> {
        let only = self.only(database, table)?;
        self.text(&format!(
            "SELECT collection AS table, index, column, type, metric, indexed_rows, total_rows, state \
             FROM {INFO_SCHEMA}.indexes WHERE database = {}{only} ORDER BY 1, 2",
            quoted(database)
        ))
    }

    /// `SHOW COLUMNS FROM t`, of the one table that the name means.
    pub(super) fn show_columns(&self, options: &ShowStatementOptions) -> Result<Statement> {
        let mut rest = options.clone();
        let table = rest.show_in.take().and_then(|show| show.parent_name);
        refuse_show_options(&rest)?;
        let table = table.ok_or_else(|| QueryError::Syntax("SHOW COLUMNS FROM which table?".into()))?;
        let (database, name) = self.table_name(&table)?;
        let is_info = database == INFO_SCHEMA || database == "information_schema";
        if !is_info
            && self.collections.relation(&database, &name).is_none()
            && self.collections.collection(&database, &name).is_err()
        {
            return Err(self.unknown_table(&database, &name));
        }
        self.text(&format!(
            "SELECT table_catalog, table_schema, table_name, column_name, data_type, is_nullable \
             FROM information_schema.columns WHERE table_schema = {} AND table_name = {} ORDER BY ordinal_position",
            quoted(&database),
            quoted(&name)
        ))
    }

    /// `SHOW CREATE TABLE t`, `SHOW CREATE VIEW v`: statements that make the same again.
    pub(super) fn show_create(&self, kind: &ShowCreateObject, name: &ObjectName) -> Result<Statement> {
        let (database, table) = self.table_name(name)?;
        let relation = self.collections.relation(&database, &table);
        let definition = match (kind, relation) {
            (ShowCreateObject::Table | ShowCreateObject::View, Some(relation)) => match relation.kind {
                RelationKind::View => {
                    format!(
                        "CREATE VIEW {} AS {}",
                        Ident::with_quote('"', &table),
                        relation.definition
                    )
                }
                RelationKind::External => relation.definition,
            },
            (ShowCreateObject::Table, None) => match self.collections.collection(&database, &table) {
                Ok(collection) => create_text(&collection)?,
                Err(elanus_collection::Error::CollectionNotFound { .. }) => {
                    return Err(self.unknown_table(&database, &table));
                }
                Err(error) => return Err(error.into()),
            },
            (ShowCreateObject::View, None) => {
                return Err(QueryError::Plan(format!(
                    "there is no view '{table}' in database '{database}'"
                )));
            }
            (other, _) => return Err(QueryError::Unsupported(format!("SHOW CREATE {other}"))),
        };
        self.text(&format!(
            "SELECT {} AS table_name, {} AS definition",
            quoted(&table),
            quoted(&definition)
        ))
    }
}

/// Text as a SQL literal.
pub(super) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// `CREATE TABLE`, and `CREATE INDEX` for each index.
fn create_text(collection: &Collection) -> Result<String> {
    let schema = collection.schema();
    let table = Ident::with_quote('"', collection.name());
    let columns = schema
        .fields
        .iter()
        .filter(|field| !field.dynamic)
        .map(|field| column_text(field, schema))
        .collect::<Result<Vec<_>>>()?;
    let mut text = format!("CREATE TABLE {table} (\n  {}\n)", columns.join(",\n  "));
    // Writing to a string does not fail.
    if schema.dynamic_field().is_some() {
        text.push_str(" WITH (dynamic_field = true)");
    }
    for index in collection.indexes() {
        let method = index.index_type.to_lowercase();
        let field = schema.field(&index.field);
        let is_vector = field.is_some_and(|field| field.data_type.is_vector());
        let name = Ident::with_quote('"', &index.name);
        let column = Ident::with_quote('"', &index.field);
        let _written = write!(text, ";\nCREATE INDEX {name} ON {table} USING {method} ({column}");
        if is_vector && let Some(metric) = index.metric {
            let class = match metric.to_string().to_lowercase().as_str() {
                "l2" => "vector_l2_ops".to_string(),
                "cosine" => "vector_cosine_ops".to_string(),
                "ip" => "vector_ip_ops".to_string(),
                other => {
                    return Err(QueryError::Unsupported(format!(
                        "SHOW CREATE TABLE of an index for {other}"
                    )));
                }
            };
            let _written = write!(text, " {class}");
        }
        text.push(')');
        let params: Vec<String> = index
            .params
            .iter()
            .filter(|_| is_vector)
            .map(|(name, value)| format!("{} = {value}", name.to_lowercase()))
            .collect();
        if !params.is_empty() {
            let _written = write!(text, " WITH ({})", params.join(", "));
        }
    }
    Ok(text)
}

fn column_text(field: &Field, schema: &CollectionSchema) -> Result<String> {
    if field.partition_key {
        return Err(QueryError::Unsupported(format!(
            "SHOW CREATE TABLE of a table with a partition key ('{}'): CREATE TABLE has no words for it",
            field.name
        )));
    }
    let mut text = format!(
        "{} {}",
        Ident::with_quote('"', &field.name),
        type_text(&field.data_type)?
    );
    let computed = schema
        .functions
        .iter()
        .find(|function| function.output == field.name);
    if let Some(function) = computed {
        let input = Ident::with_quote('"', &function.input);
        if !function.is_bm25() {
            let params = serde_json::json!(function.described_params(&schema.fields)).to_string();
            let _written = write!(
                text,
                " GENERATED ALWAYS AS (minhash({input}, {})) STORED",
                quoted(&params)
            );
            return Ok(text);
        }
        let analyzer = schema
            .field(&function.input)
            .and_then(|input| input.given_params().remove(ANALYZER_PARAMS));
        let analyzer = analyzer
            .filter(|params| !params.is_empty())
            .map(|params| format!(", {}", quoted(&params)));
        let _written = write!(
            text,
            " GENERATED ALWAYS AS (bm25({input}{})) STORED",
            analyzer.unwrap_or_default()
        );
        return Ok(text);
    }
    if field.auto_id {
        text.push_str(" GENERATED ALWAYS AS IDENTITY");
    }
    if field.primary_key {
        text.push_str(" PRIMARY KEY");
    } else if !field.nullable {
        text.push_str(" NOT NULL");
    }
    match &field.default {
        None => {}
        Some(serde_json::Value::String(value)) => text.push_str(&format!(" DEFAULT {}", quoted(value))),
        Some(value) => text.push_str(&format!(" DEFAULT {value}")),
    }
    if !field.description.is_empty() {
        text.push_str(&format!(" COMMENT {}", quoted(&field.description)));
    }
    Ok(text)
}

fn type_text(data_type: &DataType) -> Result<String> {
    match data_type {
        // REAL[n] is another way to write VECTOR(n).
        DataType::Array {
            element,
            max_capacity,
        } if **element == DataType::Float && *max_capacity != DEFAULT_CAPACITY => {
            Err(QueryError::Unsupported(format!(
                "SHOW CREATE TABLE of an array of at most {max_capacity} floats: CREATE TABLE has no words for it"
            )))
        }
        other => Ok(type_name(other)),
    }
}
