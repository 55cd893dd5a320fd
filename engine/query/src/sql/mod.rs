//! SQL statements: parsed with the PostgreSQL dialect, then either run here (DDL, catalog) or planned
//! by DataFusion (queries and writes).
//!
//! ```text
//!   text -> statements -> CREATE/ALTER/DROP, COPY, VACUUM, ANALYZE, USE, SET -> a command, run here
//!                      -> SELECT, INSERT, DELETE, EXPLAIN, SHOW      -> a plan of DataFusion, with our rules
//!                      -> anything else                               -> "not supported: X"
//! ```

mod alter_table;
pub(crate) mod analyze;
pub(crate) mod arithmetic;
pub(crate) mod as_of;
mod bit_literals;
mod change;
mod clauses;
pub(crate) mod copy;
mod create_index;
mod create_table;
mod delete;
pub(crate) mod dialect;
mod drop;
mod generated;
mod insert;
mod lateral_calls;
mod milvus_calls;
mod offsets;
mod plugins;
mod precedence;
mod quantified;
mod question_marks;
mod reset_options;
mod rights;
pub(crate) mod running;
mod show;
mod snapshots;
pub(crate) mod split;
pub(crate) mod struct_fields;
mod struct_types;
pub(crate) mod threads;
pub(crate) mod types;
pub(crate) mod users;
mod vacuum;
pub(crate) mod vector_cast;
pub(crate) mod vector_text;
mod views;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, OnceLock};

use arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::config::{ConfigOptions, ExtensionOptions};
use datafusion::datasource::{DefaultTableSource, provider_as_source};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{LogicalPlan, Statement as PlanStatement};
use datafusion::optimizer::AnalyzerRule;
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::{DFParser, DFParserBuilder, ResetStatement, Statement};
use elanus_collection::access::Need;
use elanus_collection::{Collections, Error, RelationKind};
use parking_lot::Mutex;
use sqlparser::ast::{
    CreateIndex, CreateTable, Delete, Insert, ObjectName, SchemaName, Set, ShowStatementOptions,
    Statement as SqlStatement, TableObject, Truncate, Use,
};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::ParserError;
use sqlparser::tokenizer::Token;

use crate::access::{self, SessionUser};
use crate::catalog::{CATALOG, INFO_ALIAS, INFO_SCHEMA};
use crate::error::{QueryError, Result, did_you_mean};
use crate::memory::bytes_of;
use crate::plan::change_rows::NewKeys;
use crate::plan::milvus_predicate::MilvusPredicateRule;
use crate::relation::planning;
use crate::request::SqlOutput;
use crate::resources::Resources;
use crate::settings::ElanusSettings;
use crate::statement::Place;
use crate::table::CollectionTable;
use create_table::normalized;
use running::Progress;
use vector_cast::VectorCastRule;

/// Longest SQL text.
const MAX_TEXT: usize = 64 << 20;
/// How deeply the expressions of a definition in the catalog may be nested: somewhat deeper than those of a statement,
/// since the names of a view's columns go around its query.
const DEFINITION_DEPTH: usize = 60;

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
    let text = struct_types::as_text(bit_literals::as_text(question_marks::numbered(text)?)?);
    let text = reset_options::as_set(&text);
    let text = as_of::as_call(&text);
    let mut parser: DFParser<'_> = DFParserBuilder::new(text.as_ref())
        .with_dialect(&PostgreSqlDialect {})
        .with_recursion_limit(depth)
        .build()?;
    let mut statements = statements_of(&mut parser).map_err(|error| explained(error, text.as_ref()))?;
    if statements.is_empty() {
        return Err(QueryError::Syntax("no statement given".into()));
    }
    for statement in &mut statements {
        quantified::rewrite(statement)?;
        lateral_calls::rewrite(statement);
        milvus_calls::rewrite(statement);
        precedence::rewrite(statement);
    }
    Ok(statements)
}

/// Says where the text ends, when it does so too early, and what is not a mistake but not there.
fn explained(error: QueryError, text: &str) -> QueryError {
    let words: Vec<&str> = text.split_whitespace().collect();
    let is_as_of = |pair: &[&str]| matches!(pair, [a, b] if a.eq_ignore_ascii_case("as") && b.eq_ignore_ascii_case("of"));
    match error {
        QueryError::Syntax(_) if words.windows(2).any(is_as_of) => QueryError::Unsupported(
            "AS OF a moment: earlier rows are kept by name only; CREATE SNAPSHOT name ON table keeps those of now, and \
             table AS OF SNAPSHOT name, or AS OF VERSION number, reads them"
                .into(),
        ),
        QueryError::Syntax(message) if message.ends_with("found: EOF") => {
            let text = text.trim_end();
            let line = text.lines().count().max(1);
            let column = text.lines().last().unwrap_or_default().chars().count() + 1;
            QueryError::Syntax(format!("{message} at Line: {line}, Column: {column}"))
        }
        other => other,
    }
}

/// As DataFusion's own loop, with the statements that are parsed here.
fn statements_of(parser: &mut DFParser<'_>) -> Result<VecDeque<Statement>> {
    let mut statements = VecDeque::new();
    let mut begins = true;
    loop {
        while parser.parser.consume_token(&Token::SemiColon) {
            begins = true;
        }
        if parser.parser.peek_token_ref().token == Token::EOF {
            return Ok(statements);
        }
        if !begins {
            let found = parser.parser.peek_token_ref();
            let unexpected: Result<(), ParserError> = parser.parser.expected_ref("end of statement", found);
            unexpected.map_err(DataFusionError::from)?;
        }
        statements.push_back(if copy::parse::is_next(parser) {
            copy::parse::parse(parser).map_err(DataFusionError::from)?
        } else if snapshots::is_next(parser) {
            snapshots::parse(parser).map_err(DataFusionError::from)?
        } else if users::is_next(parser) {
            users::parse(parser).map_err(DataFusionError::from)?
        } else if plugins::is_next(parser) {
            plugins::parse(parser).map_err(DataFusionError::from)?
        } else {
            parser.parse_statement()?
        });
        begins = false;
    }
}

/// The one statement of a text of our own.
pub(crate) fn parse_one(text: &str) -> Result<Statement> {
    let mut statements = parse_to_depth(DEFINITION_DEPTH, text)?;
    match (statements.pop_front(), statements.pop_front()) {
        (Some(statement), None) => Ok(statement),
        _ => Err(QueryError::Internal(format!("'{text}' is not one statement"))),
    }
}

/// The plan of a statement that DataFusion runs; `None` for one that [`command`] runs.
///
/// # Errors
/// [`QueryError`].
pub(crate) async fn plan(
    collections: &Collections,
    resources: &Arc<Resources>,
    session: &SessionContext,
    statement: Statement,
) -> Result<Option<(LogicalPlan, Vec<Need>)>> {
    clauses::refuse(&statement)?;
    let router = Router::new(collections, resources, session);
    match router.planned_form(statement)? {
        Some(statement) => {
            let plan = router.plan(statement).await?;
            Ok(Some((plan, router.needs.into_inner())))
        }
        None => Ok(None),
    }
}

/// Runs a statement that has no plan: definitions and what changes the session.
///
/// # Errors
/// [`QueryError`].
pub(crate) async fn command(
    place: Place<'_>,
    statement: Statement,
    progress: &Progress,
) -> Result<SqlOutput> {
    let router = Router::new(place.collections, place.resources, place.session);
    router.permit(&statement)?;
    let inner = match statement {
        Statement::Statement(inner) => *inner,
        Statement::Reset(ResetStatement::Variable(name)) => {
            router.reset(name).await?;
            return Ok(SqlOutput::done());
        }
        Statement::CreateExternalTable(create) => {
            router.create_external_table(&create).await?;
            return Ok(SqlOutput::done());
        }
        Statement::CopyTo(_) => return Err(QueryError::Internal("COPY is parsed here".into())),
        Statement::Explain(_) => return Err(QueryError::Internal("EXPLAIN has a plan".into())),
    };
    match inner {
        copy @ SqlStatement::Copy { .. } => {
            let rows = router.copy(copy, place.threads, progress).await?;
            Ok(SqlOutput::affected(rows))
        }
        SqlStatement::Vacuum(vacuum) => router.vacuum(&vacuum).await,
        SqlStatement::Analyze(analyze) => router.analyze(&analyze, place.threads).await,
        other => router.command(other).await.map(|()| SqlOutput::done()),
    }
}

/// The schema of the rows that a command gives; `None` for one that gives none.
pub(crate) fn command_schema(statement: &Statement) -> Option<SchemaRef> {
    let Statement::Statement(inner) = statement else {
        return None;
    };
    match inner.as_ref() {
        SqlStatement::Vacuum(_) => Some(vacuum::schema()),
        SqlStatement::Analyze(_) => Some(analyze::schema()),
        _ => None,
    }
}

struct Router<'a> {
    collections: &'a Collections,
    resources: &'a Arc<Resources>,
    session: &'a SessionContext,
    /// How the rows of an INSERT with ON CONFLICT are added.
    new_keys: OnceLock<NewKeys>,
    /// What the plan needs that was made last.
    needs: Mutex<Vec<Need>>,
}

impl<'a> Router<'a> {
    fn new(collections: &'a Collections, resources: &'a Arc<Resources>, session: &'a SessionContext) -> Self {
        Self {
            collections,
            resources,
            session,
            new_keys: OnceLock::new(),
            needs: Mutex::default(),
        }
    }

    /// Checks that the user of the session may run a command.
    fn permit(&self, statement: &Statement) -> Result<()> {
        if !self.resources.authentication {
            return Ok(());
        }
        let needs = match statement {
            Statement::Statement(inner) => self.needs_of(inner)?,
            Statement::CreateExternalTable(create) => {
                self.external_table_needs(&create.name, create.or_replace)?
            }
            Statement::Reset(_) => Vec::new(),
            Statement::CopyTo(_) | Statement::Explain(_) => vec![Need::Admin("this statement")],
        };
        access::check(self.collections, self.resources, self.session, &needs)
    }

    /// The statement as DataFusion should plan it; `None` for a command.
    fn planned_form(&self, statement: Statement) -> Result<Option<Statement>> {
        let inner = match statement {
            Statement::Statement(inner) => *inner,
            Statement::Explain(mut explain) => {
                match explain.statement.as_mut() {
                    Statement::Statement(inner) => self.make_ready("EXPLAIN", inner)?,
                    // With ANALYZE it would run, past the question whether the file may be touched.
                    Statement::CopyTo(_) => return Err(QueryError::Unsupported("EXPLAIN COPY".into())),
                    Statement::CreateExternalTable(_) => {
                        return Err(QueryError::Unsupported("EXPLAIN CREATE EXTERNAL TABLE".into()));
                    }
                    // Refused by the planner.
                    Statement::Explain(_) | Statement::Reset(_) => {}
                }
                return Ok(Some(Statement::Explain(explain)));
            }
            Statement::Reset(_) | Statement::CreateExternalTable(_) | Statement::CopyTo(_) => {
                return Ok(None);
            }
        };
        let planned = match inner {
            change @ (SqlStatement::Insert(_)
            | SqlStatement::Update(_)
            | SqlStatement::Merge(_)
            | SqlStatement::Delete(_)) => self.change(change)?,
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
            SqlStatement::ShowVariable { variable } => {
                return self.show(&variable).map(|shown| {
                    let as_is = || Statement::Statement(Box::new(SqlStatement::ShowVariable { variable }));
                    Some(shown.unwrap_or_else(as_is))
                });
            }
            SqlStatement::ShowCreate { obj_type, obj_name } => {
                return self.show_create(&obj_type, &obj_name).map(Some);
            }
            SqlStatement::ShowColumns { show_options, .. } => {
                return self.show_columns(&show_options).map(Some);
            }
            query @ (SqlStatement::Query(_)
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
            SqlStatement::AlterTable(alter) => self.alter_table(&alter).await,
            SqlStatement::CreateIndex(create) => self.create_index(&create).await,
            SqlStatement::CreateView(view) => self.create_view(&view).await,
            SqlStatement::Call(call) if plugins::is_ours(&call) => self.plugin(&call).await,
            SqlStatement::Call(call) if users::is_ours(&call) => Box::pin(self.change_users(&call)).await,
            SqlStatement::Call(call) => self.snapshot(&call).await,
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
            SqlStatement::Insert(insert) if insert.on.is_some() && verb == "PREPARE" => {
                return Err(QueryError::Unsupported("PREPARE INSERT .. ON CONFLICT".into()));
            }
            SqlStatement::Insert(_)
            | SqlStatement::Update(_)
            | SqlStatement::Merge(_)
            | SqlStatement::Delete(_) => *statement = self.change(statement.clone())?,
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

    /// One of our settings as a row; DataFusion shows its own only.
    fn shown_setting(&self, key: &str) -> Result<Option<Statement>> {
        let entries = ElanusSettings::of(self.session.state_ref().read().config_options()).entries();
        let Some(entry) = entries.into_iter().find(|entry| entry.key == key) else {
            return Ok(None);
        };
        let value = entry.value.unwrap_or_default();
        self.text(&format!("SELECT 'elanus.{key}' AS name, '{value}' AS value"))
            .map(Some)
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
        let bytes = (key == "query_memory").then(|| bytes_of(value)).flatten();
        let value = &bytes.map_or_else(|| value.to_string(), |bytes| bytes.to_string());
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
            plan => match self.new_keys.get() {
                Some(new_keys) => with_new_keys(plan, *new_keys),
                None => Ok(plan),
            },
        }
    }

    /// Runs a statement that changes what DataFusion keeps of the session.
    async fn in_session(&self, statement: SqlStatement) -> Result<()> {
        let statement = Statement::Statement(Box::new(statement));
        let mut plan = self.plan_as_is(statement).await?;
        // What is prepared is optimized at once, before any analyzer rule has seen it.
        let mut prepared = None;
        if let LogicalPlan::Statement(PlanStatement::Prepare(prepare)) = &mut plan {
            prepared = Some(prepare.name.clone());
            let input = prepare.input.as_ref().clone();
            let state = self.session.state();
            let input = MilvusPredicateRule.analyze(input, state.config_options())?;
            prepare.input = Arc::new(VectorCastRule.analyze(input, state.config_options())?);
        }
        self.session.execute_logical_plan(plan).await?;
        if let (Some(name), Some(user)) = (prepared, SessionUser::of(self.session)) {
            user.keep(&name, &self.needs.lock());
        }
        Ok(())
    }

    async fn plan_as_is(&self, statement: Statement) -> Result<LogicalPlan> {
        let _held = as_of::open(self.collections, &self.database(), &statement).await?;
        let plugins = &self.resources.plugins;
        plugins
            .make_ready(self.collections, || self.texts_of(&statement))
            .await;
        let state = plugins.with_functions(self.collections, self.session.state())?;
        let executed = match &statement {
            Statement::Statement(inner) => rights::executed(inner),
            _ => None,
        };
        let (plan, notes) = Box::pin(access::recording(planning(state.statement_to_plan(statement)))).await;
        let plan = plan.map_err(|error| self.with_near_tables(error.into()))?;
        if self.resources.authentication {
            let mut needs = notes.needs(&plan)?;
            if let (Some(name), Some(user)) = (executed, SessionUser::of(self.session)) {
                needs.extend_from_slice(&user.needs_of(&name));
            }
            access::check(self.collections, self.resources, self.session, &needs)?;
            *self.needs.lock() = needs;
        }
        Ok(plan)
    }

    /// Texts that name all plugins that a statement may need: its own, and the definitions of views.
    fn texts_of(&self, statement: &Statement) -> Vec<String> {
        let databases = self.collections.databases();
        let relations = databases
            .iter()
            .filter_map(|database| self.collections.relations(&database.name).ok())
            .flatten();
        let definitions = relations.map(|relation| relation.definition);
        definitions.chain([statement.to_string()]).collect()
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
        let [catalog, database, table] = parts.as_slice() else {
            return error;
        };
        if *catalog != CATALOG {
            return QueryError::Plan(format!(
                "catalog '{catalog}' not found; the only one is '{CATALOG}'"
            ));
        }
        self.unknown_table(database, table)
    }

    /// The error for a table that is not there, with the names that it may have meant.
    fn unknown_table(&self, database: &str, table: &str) -> QueryError {
        let (Ok(collections), Ok(relations)) = (
            self.collections.list(database),
            self.collections.relations(database),
        ) else {
            let databases = self.collections.databases();
            let known: Vec<&str> = databases.iter().map(|database| database.name.as_str()).collect();
            let known = did_you_mean(database, &known, "databases");
            return QueryError::Plan(format!("database '{database}' not found{known}"));
        };
        let collections = collections.iter().map(|collection| collection.name());
        let names: Vec<String> = collections
            .chain(relations.into_iter().map(|relation| relation.name))
            .collect();
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
            let column = schema.vector_column(name);
            column.map(|column| column.data_type)
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
        if [INFO_SCHEMA, INFO_ALIAS, "information_schema"].contains(&name.as_str()) {
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
        table_name(name, &self.database())
    }

    /// As [`Router::table_name`], of a table that is written. Rows of a view are its tables' own, and those of an
    /// external table are written by COPY.
    fn written_table(&self, name: &ObjectName) -> Result<(String, String)> {
        let (database, table) = self.new_name(name)?;
        match self
            .collections
            .relation(&database, &table)
            .map(|relation| relation.kind)
        {
            None => Ok((database, table)),
            Some(RelationKind::View) => Err(QueryError::Unsupported(format!(
                "writing to the view '{table}'; write to the tables that it reads"
            ))),
            Some(RelationKind::External) => Err(QueryError::Unsupported(format!(
                "writing to the external table '{table}'; COPY .. TO writes files"
            ))),
        }
    }

    /// As [`Router::table_name`], where something may be made.
    fn new_name(&self, name: &ObjectName) -> Result<(String, String)> {
        let (database, table) = self.table_name(name)?;
        if database == INFO_SCHEMA || database == INFO_ALIAS {
            return Err(QueryError::Unsupported(format!("writing to {database}")));
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

    /// A statement that changes rows, as the planner should see it.
    fn change(&self, statement: SqlStatement) -> Result<SqlStatement> {
        let schema = |name: &ObjectName| {
            let (database, table) = self.written_table(name)?;
            let collection = self.collections.collection(&database, &table).ok();
            Ok(collection.map(|collection| Arc::clone(collection.schema())))
        };
        Ok(match statement {
            SqlStatement::Insert(insert) if insert.on.is_some() => self.insert_on_conflict(insert)?,
            SqlStatement::Insert(insert) => SqlStatement::Insert(self.insert(insert)?),
            SqlStatement::Delete(delete) => SqlStatement::Delete(self.delete(delete)?),
            SqlStatement::Update(update) => change::prepare_update(update, schema)?,
            SqlStatement::Merge(merge) => SqlStatement::Merge(change::prepare_merge(merge, schema)?),
            other => other,
        })
    }

    fn insert_on_conflict(&self, insert: Insert) -> Result<SqlStatement> {
        let mut insert = self.insert(insert)?;
        let TableObject::TableName(name) = &insert.table else {
            return Err(QueryError::Unsupported("INSERT INTO a table function".into()));
        };
        let (database, table) = self.written_table(name)?;
        let collection = self.collections.collection(&database, &table)?;
        insert::type_parameters(&mut insert, collection.schema())?;
        let (merge, new_keys) = change::merge_of(insert, collection.schema())?;
        self.new_keys.get_or_init(|| new_keys);
        Ok(merge)
    }

    fn delete(&self, delete: Delete) -> Result<Delete> {
        delete::prepare(delete, |name| self.written_table(name).map(drop))
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

/// The plan of an `INSERT .. ON CONFLICT`: its table says how rows are added.
fn with_new_keys(plan: LogicalPlan, new_keys: NewKeys) -> Result<LogicalPlan> {
    let told = plan.transform_down(|node| {
        let LogicalPlan::Dml(mut dml) = node else {
            return Ok(Transformed::no(node));
        };
        let source = dml.target.downcast_ref::<DefaultTableSource>();
        let table = source.and_then(|source| source.table_provider.downcast_ref::<CollectionTable>());
        if let Some(table) = table {
            dml.target = provider_as_source(Arc::new(table.with_new_keys(new_keys)));
        }
        Ok(Transformed::yes(LogicalPlan::Dml(dml)))
    })?;
    Ok(told.data)
}

/// Database and collection of a table name of one to three parts, of which the first ones may be left out.
fn table_name(name: &ObjectName, database: &str) -> Result<(String, String)> {
    let parts: Vec<String> = name
        .0
        .iter()
        .filter_map(|part| part.as_ident().map(normalized))
        .collect();
    match parts.as_slice() {
        [table] => Ok((database.to_string(), table.clone())),
        [database, table] => Ok((database.clone(), table.clone())),
        [catalog, database, table] if catalog == CATALOG => Ok((database.clone(), table.clone())),
        _ => Err(QueryError::Plan(format!(
            "'{name}' is not a table name: allowed are table, database.table"
        ))),
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
