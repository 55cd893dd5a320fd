//! SQL statements: parsed with the PostgreSQL dialect, then either run here (DDL, catalog) or planned
//! by DataFusion (queries and writes).
//!
//! ```text
//!   text -> statements -> CREATE/DROP TABLE, INDEX, SCHEMA, USE, SET -> a command, run here
//!                      -> SELECT, INSERT, DELETE, EXPLAIN, SHOW      -> a plan of DataFusion, with our rules
//!                      -> anything else                               -> "not supported: X"
//! ```

mod bit_literals;
mod clauses;
mod create_index;
mod create_table;
mod delete;
pub(crate) mod dialect;
mod drop;
mod insert;
mod offsets;
mod question_marks;
pub(crate) mod running;
pub(crate) mod split;
pub(crate) mod threads;
pub(crate) mod types;
pub(crate) mod vector_cast;
pub(crate) mod vector_text;

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::sync::Arc;

use datafusion::config::{ConfigOptions, ExtensionOptions};
use datafusion::logical_expr::{LogicalPlan, Statement as PlanStatement};
use datafusion::optimizer::AnalyzerRule;
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::{DFParser, DFParserBuilder, ResetStatement, Statement};
use elanus_collection::{Collections, DataType, Error};
use sqlparser::ast::{
    CreateIndex, CreateTable, Delete, Ident, Insert, ObjectName, SchemaName, Set, ShowStatementOptions,
    Statement as SqlStatement, TableObject, Truncate, Use,
};
use sqlparser::dialect::PostgreSqlDialect;

use crate::catalog::{CATALOG, INFO_SCHEMA};
use crate::error::{QueryError, Result, did_you_mean};
use crate::settings::ElanusSettings;
use create_table::normalized;
use vector_cast::VectorCastRule;

/// Longest SQL text.
const MAX_TEXT: usize = 64 << 20;

/// The statements of a text.
///
/// # Errors
/// [`QueryError::Syntax`].
pub(crate) fn parse(session: &SessionContext, text: &str) -> Result<VecDeque<Statement>> {
    let depth = session
        .state_ref()
        .read()
        .config_options()
        .sql_parser
        .recursion_limit;
    parse_to_depth(depth.into(), text)
}

/// Whether every statement of a text can be parsed; without an engine, for clients of one.
///
/// # Errors
/// [`QueryError::Syntax`].
pub fn check_syntax(text: &str) -> Result<()> {
    let depth = ConfigOptions::default().sql_parser.recursion_limit;
    parse_to_depth(depth.into(), text).map(|_| ())
}

fn parse_to_depth(depth: usize, text: &str) -> Result<VecDeque<Statement>> {
    if text.len() > MAX_TEXT {
        return Err(QueryError::Syntax(format!(
            "a statement of {} bytes is too long: at most {MAX_TEXT}",
            text.len()
        )));
    }
    let text = bit_literals::as_text(question_marks::numbered(text)?)?;
    let mut parser: DFParser<'_> = DFParserBuilder::new(text.as_ref())
        .with_dialect(&PostgreSqlDialect {})
        .with_recursion_limit(depth)
        .build()?;
    let statements = parser.parse_statements()?;
    if statements.is_empty() {
        return Err(QueryError::Syntax("no statement given".into()));
    }
    Ok(statements)
}

/// The plan of a statement that DataFusion runs; `None` for one that [`command`] runs.
///
/// # Errors
/// [`QueryError`].
pub(crate) async fn plan(
    collections: &Collections,
    session: &SessionContext,
    statement: Statement,
) -> Result<Option<LogicalPlan>> {
    clauses::refuse(&statement)?;
    let router = Router { collections, session };
    match router.planned_form(statement)? {
        Some(statement) => router.plan(statement).await.map(Some),
        None => Ok(None),
    }
}

/// Runs a statement that has no plan: definitions and what changes the session.
///
/// # Errors
/// [`QueryError`].
pub(crate) async fn command(
    collections: &Collections,
    session: &SessionContext,
    statement: Statement,
) -> Result<()> {
    let router = Router { collections, session };
    match statement {
        Statement::Statement(inner) => router.command(*inner).await,
        Statement::Reset(ResetStatement::Variable(name)) => router.reset(name).await,
        Statement::CreateExternalTable(_) => Err(QueryError::Unsupported("CREATE EXTERNAL TABLE".into())),
        Statement::CopyTo(_) => Err(QueryError::Unsupported("COPY".into())),
        Statement::Explain(_) => Err(QueryError::Internal("EXPLAIN has a plan".into())),
    }
}

struct Router<'a> {
    collections: &'a Collections,
    session: &'a SessionContext,
}

impl Router<'_> {
    /// The statement as DataFusion should plan it; `None` for a command.
    fn planned_form(&self, statement: Statement) -> Result<Option<Statement>> {
        let inner = match statement {
            Statement::Statement(inner) => *inner,
            Statement::Explain(mut explain) => {
                if let Statement::Statement(inner) = explain.statement.as_mut() {
                    self.make_ready("EXPLAIN", inner)?;
                }
                return Ok(Some(Statement::Explain(explain)));
            }
            Statement::Reset(_) | Statement::CreateExternalTable(_) | Statement::CopyTo(_) => {
                return Ok(None);
            }
        };
        let planned = match inner {
            SqlStatement::Insert(insert) => SqlStatement::Insert(self.insert(insert)?),
            SqlStatement::Delete(delete) => SqlStatement::Delete(self.delete(delete)?),
            SqlStatement::Truncate(truncate) => return self.truncate(&truncate).map(Some),
            SqlStatement::ShowTables { show_options, .. } => {
                refuse_show_options(&show_options)?;
                let database = self.database().replace('\'', "''");
                return self
                    .text(&format!(
                        "SELECT table_name FROM information_schema.tables WHERE table_schema = '{database}' ORDER BY 1"
                    ))
                    .map(Some);
            }
            SqlStatement::ShowDatabases { show_options, .. }
            | SqlStatement::ShowSchemas { show_options, .. } => {
                refuse_show_options(&show_options)?;
                return self
                    .text("SELECT schema_name AS database FROM information_schema.schemata ORDER BY 1")
                    .map(Some);
            }
            SqlStatement::ShowVariable { variable } if self.shown_setting(&variable).is_some() => {
                let (name, value) = self.shown_setting(&variable).unwrap_or_default();
                return self
                    .text(&format!("SELECT 'elanus.{name}' AS name, '{value}' AS value"))
                    .map(Some);
            }
            query @ (SqlStatement::Query(_)
            | SqlStatement::ShowVariable { .. }
            | SqlStatement::ShowColumns { .. }
            | SqlStatement::ShowFunctions { .. }
            | SqlStatement::ExplainTable { .. }
            | SqlStatement::Explain { .. }
            | SqlStatement::Execute { .. }) => query,
            _ => return Ok(None),
        };
        Ok(Some(Statement::Statement(Box::new(planned))))
    }

    async fn command(&self, statement: SqlStatement) -> Result<()> {
        match statement {
            SqlStatement::CreateTable(create) => self.create_table(&create).await,
            SqlStatement::CreateIndex(create) => self.create_index(&create).await,
            SqlStatement::CreateSchema {
                schema_name,
                if_not_exists,
                ..
            } => {
                let SchemaName::Simple(name) = schema_name else {
                    return Err(QueryError::Unsupported("CREATE SCHEMA .. AUTHORIZATION".into()));
                };
                self.create_database(&name, if_not_exists).await
            }
            SqlStatement::CreateDatabase {
                db_name,
                if_not_exists,
                ..
            } => self.create_database(&db_name, if_not_exists).await,
            SqlStatement::Drop {
                object_type,
                if_exists,
                names,
                table,
                ..
            } => self.drop(&object_type, &names, if_exists, table.as_ref()).await,
            SqlStatement::Use(target) => self.use_database(&target),
            SqlStatement::Prepare {
                name,
                data_types,
                mut statement,
            } => {
                self.make_ready("PREPARE", &mut statement)?;
                self.in_session(SqlStatement::Prepare {
                    name,
                    data_types,
                    statement,
                })
                .await
            }
            SqlStatement::Set(Set::SingleAssignment { variable, values, .. })
                if our_setting(&variable).is_some() =>
            {
                let values: Vec<String> = values
                    .iter()
                    .map(|value| value.to_string().trim_matches('\'').to_string())
                    .collect();
                self.set(&our_setting(&variable).unwrap_or_default(), &values.join(","))
            }
            of_session @ (SqlStatement::Set(_) | SqlStatement::Deallocate { .. }) => {
                self.in_session(of_session).await
            }
            other => Err(QueryError::Unsupported(statement_name(&other))),
        }
    }

    /// Prepares the statement inside another one.
    fn make_ready(&self, verb: &str, statement: &mut SqlStatement) -> Result<()> {
        match statement {
            SqlStatement::Insert(insert) => *insert = self.insert(insert.clone())?,
            SqlStatement::Delete(delete) => *delete = self.delete(delete.clone())?,
            SqlStatement::Query(_) => {}
            other => {
                let what = statement_name(other);
                return Err(QueryError::Unsupported(format!("{verb} {what}")));
            }
        }
        Ok(())
    }

    /// DataFusion resets its own settings only.
    async fn reset(&self, name: ObjectName) -> Result<()> {
        let Some(key) = our_setting(&name) else {
            let reset = Statement::Reset(ResetStatement::Variable(name));
            let plan = self.session.state().statement_to_plan(reset).await?;
            self.session.execute_logical_plan(plan).await?;
            return Ok(());
        };
        let defaults = ElanusSettings::default().entries();
        let default = defaults
            .into_iter()
            .find(|entry| entry.key == key)
            .and_then(|entry| entry.value);
        self.set(&key, &default.unwrap_or_default())
    }

    /// Key and value of one of our settings in a SHOW; DataFusion shows its own only.
    fn shown_setting(&self, variable: &[Ident]) -> Option<(String, String)> {
        let parts: Vec<String> = variable.iter().map(normalized).collect();
        let [prefix, key] = parts.as_slice() else {
            return None;
        };
        let entries = ElanusSettings::of(self.session.state_ref().read().config_options()).entries();
        let entry = entries
            .into_iter()
            .find(|entry| prefix == "elanus" && &entry.key == key)?;
        Some((entry.key, entry.value.unwrap_or_default()))
    }

    /// Sets `elanus.{key}`.
    fn set(&self, key: &str, value: &str) -> Result<()> {
        let entries = ElanusSettings::default().entries();
        let known: Vec<&str> = entries.iter().map(|entry| entry.key.as_str()).collect();
        let Some(entry) = entries.iter().find(|entry| entry.key == key) else {
            let known = did_you_mean(key, &known, "settings of elanus");
            return Err(QueryError::InvalidParameter(format!(
                "unknown setting elanus.{key}{known}"
            )));
        };
        let name = format!("elanus.{key}");
        self.session
            .state_ref()
            .write()
            .config_mut()
            .options_mut()
            .set(&name, value)
            .map_err(|_| {
                let default = entry.value.as_deref().unwrap_or_default();
                QueryError::InvalidParameter(format!(
                    "'{value}' is not a value of {name} (default {default}): {}",
                    entry.description
                ))
            })?;
        Ok(())
    }

    async fn plan(&self, statement: Statement) -> Result<LogicalPlan> {
        match self.plan_as_is(statement).await? {
            // What was prepared under the name of an EXECUTE, with its values.
            plan @ LogicalPlan::Statement(_) => {
                let frame = self.session.execute_logical_plan(plan).await?;
                Ok(frame.into_unoptimized_plan())
            }
            plan => Ok(plan),
        }
    }

    /// Runs a statement that changes what DataFusion keeps of the session.
    async fn in_session(&self, statement: SqlStatement) -> Result<()> {
        let statement = Statement::Statement(Box::new(statement));
        let mut plan = self.plan_as_is(statement).await?;
        // What is prepared is optimized at once, before any analyzer rule has seen it.
        if let LogicalPlan::Statement(PlanStatement::Prepare(prepare)) = &mut plan {
            let input = prepare.input.as_ref().clone();
            let state = self.session.state();
            prepare.input = Arc::new(VectorCastRule.analyze(input, state.config_options())?);
        }
        self.session.execute_logical_plan(plan).await?;
        Ok(())
    }

    async fn plan_as_is(&self, statement: Statement) -> Result<LogicalPlan> {
        let plan = self.session.state().statement_to_plan(statement).await;
        plan.map_err(|error| self.with_near_tables(error.into()))
    }

    /// Adds the names that an unknown table's name may have meant.
    fn with_near_tables(&self, error: QueryError) -> QueryError {
        let QueryError::Plan(text) = &error else {
            return error;
        };
        let name = text
            .strip_prefix("table '")
            .and_then(|rest| rest.strip_suffix("' not found"));
        let parts: Vec<&str> = name.map(|name| name.split('.').collect()).unwrap_or_default();
        let [_, database, table] = parts.as_slice() else {
            return error;
        };
        let Ok(collections) = self.collections.list(database) else {
            let databases = self.collections.databases();
            let known: Vec<&str> = databases.iter().map(|database| database.name.as_str()).collect();
            let known = did_you_mean(database, &known, "databases");
            return QueryError::Plan(format!("database '{database}' not found{known}"));
        };
        let names: Vec<String> = collections.iter().map(|collection| collection.name()).collect();
        let known: Vec<&str> = names.iter().map(String::as_str).collect();
        QueryError::Plan(format!(
            "table '{table}' not found in database '{database}'{}",
            did_you_mean(table, &known, "tables")
        ))
    }

    fn text(&self, query: &str) -> Result<Statement> {
        parse(self.session, query)?
            .pop_front()
            .ok_or_else(|| QueryError::Internal("a statement of our own is empty".into()))
    }

    // ---- definitions ----

    async fn create_table(&self, create: &CreateTable) -> Result<()> {
        let (database, name) = self.table_name(&create.name)?;
        let spec = create_table::collection_spec(create)?;
        match self.collections.create_collection(&database, &name, spec).await {
            Err(Error::CollectionExists { .. }) if create.if_not_exists => Ok(()),
            created => created.map(|_| ()).map_err(QueryError::from),
        }
    }

    async fn create_index(&self, create: &CreateIndex) -> Result<()> {
        let (database, name) = self.table_name(&create.table_name)?;
        let collection = self.collections.collection(&database, &name)?;
        let schema = collection.schema();
        let vector_type = |name: &str| {
            let data_type = schema.field(name).map(|field| field.data_type.clone());
            data_type.filter(DataType::is_vector)
        };
        let spec = create_index::index_spec(create, vector_type)?;
        let wanted = spec.name.as_deref().unwrap_or(&spec.field);
        if let Some(existing) = collection.indexes().iter().find(|index| index.name == wanted) {
            if create.if_not_exists {
                return Ok(());
            }
            return Err(Error::IndexExists(format!("index '{}' already exists", existing.name)).into());
        }
        collection.create_index(&spec).await?;
        // As in PostgreSQL, the rows of this moment are indexed when the statement returns.
        collection.flush().await?;
        collection.settle().await?;
        Ok(())
    }

    async fn create_database(&self, name: &ObjectName, if_not_exists: bool) -> Result<()> {
        let name = database_name(name)?;
        if name == INFO_SCHEMA || name == "information_schema" {
            return Err(QueryError::InvalidParameter(format!(
                "the name '{name}' is reserved"
            )));
        }
        match self.collections.create_database(&name, BTreeMap::new()).await {
            Err(Error::DatabaseExists { .. }) if if_not_exists => Ok(()),
            created => created.map_err(QueryError::from),
        }
    }

    // ---- names ----

    fn database(&self) -> String {
        self.session
            .state_ref()
            .read()
            .config_options()
            .catalog
            .default_schema
            .clone()
    }

    /// Database and collection of a table name of one to three parts.
    fn table_name(&self, name: &ObjectName) -> Result<(String, String)> {
        let parts: Vec<String> = name
            .0
            .iter()
            .filter_map(|part| part.as_ident().map(normalized))
            .collect();
        match parts.as_slice() {
            [table] => Ok((self.database(), table.clone())),
            [database, table] => Ok((database.clone(), table.clone())),
            [catalog, database, table] if catalog == CATALOG => Ok((database.clone(), table.clone())),
            _ => Err(QueryError::Plan(format!(
                "'{name}' is not a table name: allowed are table, database.table"
            ))),
        }
    }

    /// As [`Router::table_name`], of a table that is written.
    fn written_table(&self, name: &ObjectName) -> Result<(String, String)> {
        let (database, table) = self.table_name(name)?;
        if database == INFO_SCHEMA {
            return Err(QueryError::Unsupported(format!("writing to {INFO_SCHEMA}")));
        }
        Ok((database, table))
    }

    fn use_database(&self, target: &Use) -> Result<()> {
        let name = match target {
            Use::Object(name) | Use::Database(name) | Use::Schema(name) => database_name(name)?,
            Use::Default => crate::catalog::DEFAULT_DATABASE.to_string(),
            other => return Err(QueryError::Unsupported(other.to_string())),
        };
        self.collections.database(&name)?;
        self.session
            .state_ref()
            .write()
            .config_mut()
            .options_mut()
            .catalog
            .default_schema = name;
        Ok(())
    }

    /// `TRUNCATE` deletes every row, and counts them.
    fn truncate(&self, truncate: &Truncate) -> Result<Statement> {
        let [target] = truncate.table_names.as_slice() else {
            return Err(QueryError::Unsupported("TRUNCATE of several tables".into()));
        };
        let clauses = truncate.if_exists
            || truncate.partitions.is_some()
            || truncate.identity.is_some()
            || truncate.cascade.is_some()
            || truncate.on_cluster.is_some();
        if clauses {
            return Err(QueryError::Unsupported("options of TRUNCATE".into()));
        }
        self.written_table(&target.name)?;
        self.text(&format!("DELETE FROM {}", target.name))
    }

    fn delete(&self, delete: Delete) -> Result<Delete> {
        delete::prepare(delete, |name| {
            let (database, table) = self.written_table(name)?;
            match self.collections.collection(&database, &table) {
                Ok(collection) => Ok(Some(collection.schema().primary_key()?.name.clone())),
                Err(_) => Ok(None),
            }
        })
    }

    fn insert(&self, mut insert: Insert) -> Result<Insert> {
        insert::refuse_clauses(&insert)?;
        let TableObject::TableName(name) = &insert.table else {
            return Err(QueryError::Unsupported("INSERT INTO a table function".into()));
        };
        let (database, name) = self.written_table(name)?;
        if let Ok(collection) = self.collections.collection(&database, &name) {
            insert::prepare_values(&mut insert, collection.schema())?;
        }
        Ok(insert)
    }
}

/// The key behind `elanus.`, when the setting is one of ours.
fn our_setting(name: &ObjectName) -> Option<String> {
    name.to_string()
        .to_lowercase()
        .strip_prefix("elanus.")
        .map(str::to_string)
}

fn database_name(name: &ObjectName) -> Result<String> {
    let parts: Vec<String> = name
        .0
        .iter()
        .filter_map(|part| part.as_ident().map(normalized))
        .collect();
    match parts.as_slice() {
        [database] => Ok(database.clone()),
        [catalog, database] if catalog == CATALOG => Ok(database.clone()),
        _ => Err(QueryError::Plan(format!("'{name}' is not a database name"))),
    }
}

fn refuse_show_options(options: &ShowStatementOptions) -> Result<()> {
    let given = options.show_in.is_some()
        || options.starts_with.is_some()
        || options.limit.is_some()
        || options.limit_from.is_some()
        || options.filter_position.is_some();
    if given {
        return Err(QueryError::Unsupported(
            "options of SHOW; information_schema has everything as tables".into(),
        ));
    }
    Ok(())
}

/// The first words of a statement, as a person would call it: `ALTER TABLE`, `UPDATE`.
fn statement_name(statement: &SqlStatement) -> String {
    let text = statement.to_string();
    let mut words = text.split_whitespace().map(str::to_uppercase);
    let first = words.next().unwrap_or_default();
    let takes_object = matches!(
        first.as_str(),
        "ALTER" | "CREATE" | "DROP" | "SHOW" | "START" | "LOCK" | "MERGE"
    );
    match words.next() {
        Some(second) if takes_object => format!("{first} {second}"),
        Some(_) | None => first,
    }
}
