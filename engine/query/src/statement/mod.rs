//! Statements in two steps: planned once ([`Prepared`]), run many times with other parameters.
//!
//! ```text
//!   text -> parsed -> command (DDL, SET, USE)  -> run by the router each time
//!                  -> plan -> optimized once, when the types of all parameters are known
//!                                |
//!   parameters ----------------> bound -> physical plan (a snapshot of now) -> rows, a batch at a time
//! ```
//!
//! A value that is not exactly of a parameter's inferred type (a double for a REAL column) is bound
//! before optimization instead, so that types are reconciled as they are for a literal. A statement
//! whose tables were dropped, made anew or altered meanwhile, or whose session's settings have changed, is planned
//! again, and one with `now()` in it is optimized each time.

mod parameters;
mod pinned;
mod together;

use std::sync::Arc;

use arc_swap::ArcSwap;
use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Schema, SchemaRef, UInt64Type};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, TableReference};
use datafusion::config::ConfigOptions;
use datafusion::datasource::DefaultTableSource;
use datafusion::error::DataFusionError;
use datafusion::execution::{SessionState, TaskContext};
use datafusion::logical_expr::{LogicalPlan, TableSource, WriteOp};
use datafusion::physical_plan::stream::{RecordBatchReceiverStreamBuilder, RecordBatchStreamAdapter};
use datafusion::physical_plan::{ExecutionPlan, SendableRecordBatchStream, execute_stream};
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::Statement;
use elanus_collection::access::Need;
use elanus_collection::{CollectionSchema, Collections, Error as CollectionError};
use futures::{StreamExt, TryStreamExt};
use sqlparser::ast::Statement as SqlStatement;

use crate::access;
use crate::catalog::CATALOG;
use crate::error::{QueryError, Result};
use crate::memory::task_context;
use crate::request::SqlOutput;
use crate::resources::Resources;
use crate::settings::ElanusSettings;
use crate::sql;
use crate::sql::running::{RunningGuard, shown};
use crate::sql::threads::{SqlThreads, TimeLimit};
use crate::table::{CollectionTable, StatementSnapshots};

use parameters::Parameters;
pub use pinned::Pinned;
use pinned::Source;

/// How often a write is planned again because its table was altered on the way.
const RETRIES: u32 = 32;

/// A statement that has been parsed and planned. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Prepared {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    statement: Statement,
    /// The beginning of the statement, to be shown.
    text: Arc<str>,
    form: ArcSwap<Form>,
}

/// What running one statement gives.
pub enum Answer {
    /// Rows, computed as they are read; dropping the stream ends the work.
    Rows(SendableRecordBatchStream),
    /// So many rows were written.
    Affected(u64),
    /// The statement has taken effect and has nothing to show.
    Done,
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Rows(rows) => write!(f, "Rows({})", rows.schema()),
            Self::Affected(rows) => write!(f, "Affected({rows})"),
            Self::Done => f.write_str("Done"),
        }
    }
}

impl Answer {
    /// Everything at once.
    ///
    /// # Errors
    /// What made the query fail.
    pub async fn collect(self) -> Result<SqlOutput> {
        match self {
            Self::Rows(rows) => {
                let schema = rows.schema();
                let batches: Vec<RecordBatch> = rows.try_collect().await?;
                Ok(SqlOutput {
                    schema,
                    batches,
                    affected: None,
                })
            }
            Self::Affected(rows) => Ok(SqlOutput::affected(rows)),
            Self::Done => Ok(SqlOutput::done()),
        }
    }
}

impl From<SqlOutput> for Answer {
    fn from(output: SqlOutput) -> Self {
        if let Some(rows) = output.affected {
            return Self::Affected(rows);
        }
        if output.schema.fields().is_empty() {
            return Self::Done;
        }
        Self::Rows(rows_at_hand(output.schema, &output.batches))
    }
}

#[derive(Debug)]
enum Form {
    /// Run by the router; with the schema of its rows when it gives any.
    Command(Option<SchemaRef>),
    /// Run by DataFusion.
    Plan(Arc<Planned>),
}

#[derive(Debug)]
struct Planned {
    /// As the SQL planner made it, parameters typed where that is known.
    plan: LogicalPlan,
    /// Analyzed and optimized; `None` when that needs the values of parameters.
    optimized: Option<LogicalPlan>,
    /// Schema of the rows.
    schema: SchemaRef,
    writes: bool,
    parameters: Parameters,
    tables: Vec<Table>,
    /// Whether all that it reads are collections; other tables are filled when the plan is made.
    lasting: bool,
    /// The settings that it was made under; every SET makes a new one.
    options: Arc<ConfigOptions>,
    /// The plugins that there were, which are in the plan.
    plugins: u64,
    /// What its runs need of the user.
    needs: Vec<Need>,
    /// The views that there were: those that it reads are not in the plan any more, only what they read.
    relations: u64,
}

/// A collection that a plan was made for.
#[derive(Debug)]
struct Table {
    database: String,
    name: String,
    /// Each schema that a collection has is another value: this one tells collection and schema.
    schema: Arc<CollectionSchema>,
    /// The indexes that it has, whose metrics and casts are in the plan.
    indexes: Vec<i64>,
}

/// What statements run with.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub collections: &'a Arc<Collections>,
    /// Plans are made and run there. Commands are not: what they start has to outlive the engine, and
    /// must not wait behind a join.
    pub threads: &'a SqlThreads,
    pub resources: &'a Arc<Resources>,
    pub session: &'a SessionContext,
}

impl Place<'_> {
    fn starts(&self, text: &Arc<str>) -> RunningGuard {
        let state = self.session.state_ref();
        let database = state.read().config_options().catalog.default_schema.clone();
        self.resources.running.start(database, Arc::clone(text))
    }

    fn time_limit(&self) -> TimeLimit {
        let state = self.session.state_ref();
        let settings = ElanusSettings::of(state.read().config_options());
        TimeLimit::new(settings.statement_timeout)
    }
}

impl Prepared {
    /// Plans `statement`.
    ///
    /// # Errors
    /// [`QueryError::Plan`], [`QueryError::Unsupported`] and others.
    pub(crate) async fn new(place: Place<'_>, statement: Statement) -> Result<Self> {
        let form = Form::of(place, &statement).await?;
        Ok(Self {
            inner: Arc::new(Inner {
                text: shown(&sql::users::without_password(&statement)),
                statement,
                form: ArcSwap::from_pointee(form),
            }),
        })
    }

    /// Schema of the rows that it gives; `None` for a statement that gives none.
    pub fn schema(&self) -> Option<SchemaRef> {
        match self.inner.form.load().as_ref() {
            Form::Command(schema) => schema.clone(),
            Form::Plan(planned) => (!planned.writes).then(|| Arc::clone(&planned.schema)),
        }
    }

    /// Whether it can be run again for the same answer: not when reading the answer changes something.
    pub fn is_repeatable(&self) -> bool {
        match self.inner.form.load().as_ref() {
            Form::Command(_) => false,
            Form::Plan(planned) => {
                let writes = |node: &LogicalPlan| Ok(matches!(node, LogicalPlan::Dml(_)));
                matches!(planned.plan.exists(writes), Ok(false))
            }
        }
    }

    /// Whether it is about the session alone: SET, RESET, USE, PREPARE, DEALLOCATE.
    pub fn changes_session(&self) -> bool {
        match &self.inner.statement {
            Statement::Reset(_) => true,
            Statement::Statement(inner) => matches!(
                inner.as_ref(),
                SqlStatement::Set(_)
                    | SqlStatement::Use(_)
                    | SqlStatement::Prepare { .. }
                    | SqlStatement::Deallocate { .. }
            ),
            Statement::CreateExternalTable(_) | Statement::CopyTo(_) | Statement::Explain(_) => false,
        }
    }

    /// One field for each parameter, in the order of `$1, $2, ..`; of type Null when any type will do.
    pub fn parameters(&self) -> Schema {
        match self.inner.form.load().as_ref() {
            Form::Command(_) => Schema::empty(),
            Form::Plan(planned) => planned.parameters.schema(),
        }
    }

    /// Runs the statement for every row of `parameters` (for one row without any parameters); the rows
    /// of the answers follow each other.
    ///
    /// # Errors
    /// [`QueryError`]. An INSERT of all rows is one write, and so is an UPDATE or DELETE whose runs do not touch each
    /// other's rows; of several other writes, those before the failing one have taken effect.
    pub(crate) async fn run(&self, place: Place<'_>, parameters: Option<RecordBatch>) -> Result<Answer> {
        self.run_on(place, parameters, RETRIES).await
    }

    async fn run_on(
        &self,
        place: Place<'_>,
        parameters: Option<RecordBatch>,
        retries: u32,
    ) -> Result<Answer> {
        let (running, limit) = (place.starts(&self.inner.text), place.time_limit());
        let form = self.form(place).await?;
        let Form::Plan(planned) = form.as_ref() else {
            parameters::refuse(parameters.as_ref())?;
            return self.command(place, &running).await.map(Answer::from);
        };
        let rows = planned.parameters.check(parameters.clone())?;
        let (planned, session) = (Arc::clone(planned), place.session.clone());
        if planned.writes {
            let is_one_run = rows.as_ref().is_none_or(|rows| rows.num_rows() <= 1);
            let write = async move { planned.write(&session, rows.as_ref()).await };
            return match place.threads.run(write).await? {
                // The table was altered on the way. Nothing of this run was written, and the next plan is of the new schema.
                Err(QueryError::Collection(CollectionError::SchemaChanged(_)))
                    if is_one_run && retries > 0 =>
                {
                    drop(running);
                    Box::pin(self.run_on(place, parameters, retries - 1)).await
                }
                written => written.map(Answer::Affected),
            };
        }
        let read = planned.read(session, rows);
        let rows = place.threads.run_query(limit, read).await??;
        place.threads.stream(limit, running, rows).map(Answer::Rows)
    }

    /// Runs a statement that has no plan.
    async fn command(&self, place: Place<'_>, running: &RunningGuard) -> Result<SqlOutput> {
        // Large, and rare: every other statement's future would be as large.
        Box::pin(sql::command(
            place,
            self.inner.statement.clone(),
            running.progress(),
        ))
        .await
    }

    /// Plans a query over the state of now. A command that gives rows runs here, once.
    ///
    /// # Errors
    /// As [`Prepared::run`]; [`QueryError::Internal`] for a statement that is not a query.
    pub(crate) async fn pin(&self, place: Place<'_>, parameters: Option<RecordBatch>) -> Result<Pinned> {
        let limit = place.time_limit();
        let form = self.form(place).await?;
        let planned = match form.as_ref() {
            Form::Plan(planned) if !planned.writes => Arc::clone(planned),
            Form::Command(Some(schema)) => {
                parameters::refuse(parameters.as_ref())?;
                let output = self.command(place, &place.starts(&self.inner.text)).await?;
                let source = Source::Rows(output.batches.into());
                return Ok(Pinned::new(
                    source,
                    place.session,
                    Arc::clone(schema),
                    Arc::clone(&self.inner.text),
                ));
            }
            Form::Plan(_) | Form::Command(None) => {
                return Err(QueryError::Internal("only a query can be pinned".into()));
            }
        };
        let rows = planned.parameters.check(parameters)?;
        let (session, text) = (place.session.clone(), Arc::clone(&self.inner.text));
        let resources = Arc::clone(place.resources);
        let pin = async move {
            let state = Arc::new(with_one_snapshot(session.state()));
            let (physical, schema) = planned.physical(&state, rows.as_ref(), 0).await?;
            let source = match rows {
                Some(rows) if rows.num_rows() != 1 => Source::Runs { planned, state, rows },
                Some(_) | None => Source::of(physical),
            };
            let pinned = Pinned::new(source, &session, schema, text);
            pinned.begin(&tokio::runtime::Handle::current(), &resources.running)?;
            Ok(pinned)
        };
        place.threads.run_query(limit, pin).await?
    }

    /// The plan, made again if its tables are not those any more.
    async fn form(&self, place: Place<'_>) -> Result<Arc<Form>> {
        let form = self.inner.form.load_full();
        if !form.is_stale(place) {
            // A new plan is checked as it is made.
            form.permit(place)?;
            return Ok(form);
        }
        let form = Arc::new(Form::of(place, &self.inner.statement).await?);
        self.inner.form.store(Arc::clone(&form));
        Ok(form)
    }
}

impl Form {
    async fn of(place: Place<'_>, statement: &Statement) -> Result<Self> {
        let (collections, session) = (Arc::clone(place.collections), place.session.clone());
        let (statement, resources) = (statement.clone(), Arc::clone(place.resources));
        let make = async move {
            // Taken first: a view that changes meanwhile makes the plan stale.
            let (relations, plugins) = (collections.relations_stamp(), collections.plugins_stamp());
            let schema = sql::command_schema(&statement);
            Ok(
                match sql::plan(&collections, &resources, &session, statement).await? {
                    Some((plan, needs)) => {
                        let planned = Planned::new(&session, plan, needs, (relations, plugins))?;
                        Self::Plan(Arc::new(planned))
                    }
                    None => Self::Command(schema),
                },
            )
        };
        place.threads.run(make).await?
    }

    /// Checks that the user may run it now. A command is checked as it runs.
    fn permit(&self, place: Place<'_>) -> Result<()> {
        match self {
            Self::Command(_) => Ok(()),
            Self::Plan(planned) => {
                access::check(place.collections, place.resources, place.session, &planned.needs)
            }
        }
    }

    fn is_stale(&self, place: Place<'_>) -> bool {
        let Self::Plan(planned) = self else {
            return false;
        };
        let moved = |table: &Table| {
            place
                .collections
                .collection(&table.database, &table.name)
                .map_or(true, |collection| {
                    !Arc::ptr_eq(collection.schema(), &table.schema)
                        || collection.index_ids() != table.indexes
                })
        };
        !planned.lasting
            || planned.plugins != place.collections.plugins_stamp()
            || planned.relations != place.collections.relations_stamp()
            || !Arc::ptr_eq(&planned.options, &options(place.session))
            || planned.tables.iter().any(moved)
    }
}

impl Planned {
    fn new(
        session: &SessionContext,
        plan: LogicalPlan,
        needs: Vec<Need>,
        (relations, plugins): (u64, u64),
    ) -> Result<Self> {
        let (plan, parameters) = Parameters::infer(plan)?;
        let writes = matches!(plan, LogicalPlan::Dml(_));
        let inserts = matches!(&plan, LogicalPlan::Dml(dml) if matches!(dml.op, WriteOp::Insert(_)));
        let optimized = if !inserts && parameters.fixed_by_types(&plan)? {
            Some(session.state().optimize(&plan)?)
        } else {
            None
        };
        let options = options(session);
        let (tables, lasting) = tables_of(&plan, &options.catalog.default_schema)?;
        Ok(Self {
            schema: Arc::clone(plan.schema().inner()),
            tables,
            lasting,
            plan,
            optimized,
            writes,
            options,
            relations,
            plugins,
            needs,
            parameters,
        })
    }

    async fn read(
        self: Arc<Self>,
        session: SessionContext,
        rows: Option<RecordBatch>,
    ) -> Result<SendableRecordBatchStream> {
        let state = Arc::new(with_one_snapshot(session.state()));
        self.run_all(state, task_context(&session), rows).await
    }

    /// The rows of a run for each row of parameters. All runs see one state of each collection, and have
    /// rows of one type.
    async fn run_all(
        self: Arc<Self>,
        state: Arc<SessionState>,
        context: Arc<TaskContext>,
        rows: Option<RecordBatch>,
    ) -> Result<SendableRecordBatchStream> {
        let count = rows.as_ref().map_or(1, RecordBatch::num_rows);
        let (first, schema) = self.physical(&state, rows.as_ref(), 0).await?;
        if count <= 1 {
            return Ok(announced(schema, execute_stream(first, context)?));
        }
        let together = state.config().target_partitions();
        let (planned, rows, of_each) = (self, Arc::new(rows), Arc::clone(&schema));
        // Neighbours run at the same time, each a few batches ahead of the reader.
        let runs = futures::stream::iter(0..count)
            .map(move |row| {
                let (planned, rows, state) = (Arc::clone(&planned), Arc::clone(&rows), Arc::clone(&state));
                let (context, schema) = (Arc::clone(&context), Arc::clone(&of_each));
                async move {
                    let (plan, _) = planned.physical(&state, rows.as_ref().as_ref(), row).await?;
                    tokio::task::yield_now().await;
                    Ok::<_, DataFusionError>(ahead(announced(schema, execute_stream(plan, context)?)))
                }
            })
            .buffered(together)
            .try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, runs)))
    }

    /// The plan of one run, and the schema of its rows, whose types may be those of the values.
    async fn physical(
        &self,
        state: &SessionState,
        rows: Option<&RecordBatch>,
        row: usize,
    ) -> Result<(Arc<dyn ExecutionPlan>, SchemaRef)> {
        let as_planned = Arc::clone(&self.schema);
        let Some(rows) = rows else {
            let physical = match &self.optimized {
                Some(plan) => state.query_planner().create_physical_plan(plan, state).await?,
                None => state.create_physical_plan(&self.plan).await?,
            };
            return Ok((physical, as_planned));
        };
        let values = self.parameters.row(rows, row)?;
        if let (Some(plan), Some(values)) = (&self.optimized, values.exact()) {
            let bound = plan.clone().replace_params_with_values(&values)?;
            let physical = state.query_planner().create_physical_plan(&bound, state).await?;
            return Ok((physical, as_planned));
        }
        let bound = self.plan.clone().with_param_values(values.as_given())?;
        let physical = state.create_physical_plan(&bound).await?;
        Ok((physical, Arc::clone(bound.schema().inner())))
    }

    async fn write(&self, session: &SessionContext, rows: Option<&RecordBatch>) -> Result<u64> {
        if let Some(rows) = rows
            && let Some(bulk) = self.parameters.as_table(&self.plan, rows)?
        {
            let physical = session.state().create_physical_plan(&bulk).await?;
            return affected(physical, session).await;
        }
        if let Some(rows) = rows.filter(|rows| rows.num_rows() > 1)
            && let Some(joined) = self.parameters.as_join(&self.plan, rows)?
        {
            return self.write_one(session, Run::Together(&joined)).await;
        }
        let mut written = 0;
        for row in 0..rows.map_or(1, RecordBatch::num_rows) {
            written += self.write_one(session, Run::Row(rows, row)).await?;
        }
        Ok(written)
    }

    /// One write. When another one has changed what it had read, it reads again.
    async fn write_one(&self, session: &SessionContext, run: Run<'_>) -> Result<u64> {
        let mut attempts = 1;
        loop {
            let state = with_one_snapshot(session.state());
            let physical = match run {
                Run::Row(rows, row) => self.physical(&state, rows, row).await?.0,
                Run::Together(plan) => state.create_physical_plan(plan).await?,
            };
            match affected(physical, session).await {
                Err(QueryError::Collection(CollectionError::Conflict { .. })) if attempts < MAX_ATTEMPTS => {
                    attempts += 1;
                    tokio::task::yield_now().await;
                }
                other => return other,
            }
        }
    }
}

/// What one write is made of.
#[derive(Clone, Copy)]
enum Run<'a> {
    /// One row of parameters, or none.
    Row(Option<&'a RecordBatch>, usize),
    /// A plan with all of them.
    Together(&'a LogicalPlan),
}

/// How often a write is tried that meets another one each time. Whoever it met has gone on, so this many in a row mean
/// that as many others change the same rows at the same time.
const MAX_ATTEMPTS: usize = 1_000;

/// Runs a plan that writes; it answers with numbers of rows.
async fn affected(physical: Arc<dyn ExecutionPlan>, session: &SessionContext) -> Result<u64> {
    let batches = datafusion::physical_plan::collect(physical, task_context(session)).await?;
    let counts = batches
        .iter()
        .filter_map(|batch| batch.columns().first()?.as_primitive_opt::<UInt64Type>());
    Ok(counts.flat_map(|counts| counts.values().iter()).sum())
}

/// The rows under the schema that was announced: operators may know better that a column is never NULL.
fn announced(schema: SchemaRef, rows: SendableRecordBatchStream) -> SendableRecordBatchStream {
    if rows.schema() == schema {
        return rows;
    }
    let target = Arc::clone(&schema);
    let rows = rows.map(move |batch| {
        let batch = batch?;
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(Arc::clone(&target), batch.columns().to_vec(), &options)
            .map_err(Into::into)
    });
    Box::pin(RecordBatchStreamAdapter::new(schema, rows))
}

/// Rows that are there already.
fn rows_at_hand(schema: SchemaRef, batches: &[RecordBatch]) -> SendableRecordBatchStream {
    let batches: Vec<_> = batches.iter().cloned().map(Ok).collect();
    Box::pin(RecordBatchStreamAdapter::new(
        schema,
        futures::stream::iter(batches),
    ))
}

fn options(session: &SessionContext) -> Arc<ConfigOptions> {
    Arc::clone(session.state_ref().read().config().options())
}

/// A state in which every plan that is made reads the same snapshots.
fn with_one_snapshot(mut state: SessionState) -> SessionState {
    state
        .config_mut()
        .set_extension(Arc::new(StatementSnapshots::default()));
    state
}

/// Reads `rows` in a task of its own, at most two batches ahead.
fn ahead(mut rows: SendableRecordBatchStream) -> SendableRecordBatchStream {
    let mut builder = RecordBatchReceiverStreamBuilder::new(rows.schema(), 2);
    let sender = builder.tx();
    builder.spawn(async move {
        while let Some(batch) = rows.next().await {
            // Nobody listens any more: the work ends here.
            if sender.send(batch).await.is_err() {
                break;
            }
        }
        Ok(())
    });
    builder.build()
}

/// The collections that a plan names, and whether it reads nothing else.
fn tables_of(plan: &LogicalPlan, default_database: &str) -> Result<(Vec<Table>, bool)> {
    let mut tables = Vec::new();
    let mut lasting = true;
    let mut note = |name: &TableReference, source: &Arc<dyn TableSource>| {
        let provider = source.downcast_ref::<DefaultTableSource>();
        let table = provider.and_then(|source| source.table_provider.downcast_ref::<CollectionTable>());
        if let Some(table) = table {
            let name = name.clone().resolve(CATALOG, default_database);
            let collection = table.collection();
            tables.push(Table {
                database: name.schema.to_string(),
                name: name.table.to_string(),
                schema: Arc::clone(collection.schema()),
                indexes: collection.index_ids(),
            });
        } else {
            lasting = false;
        }
    };
    plan.apply_with_subqueries(|node| {
        match node {
            LogicalPlan::TableScan(scan) => note(&scan.table_name, &scan.source),
            LogicalPlan::Dml(dml) => note(&dml.table_name, &dml.target),
            _ => {}
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok((tables, lasting))
}

/// The schema of one node's inputs, for looking up the types of its expressions.
fn input_schema(plan: &LogicalPlan) -> Result<DFSchema> {
    Ok(match plan {
        LogicalPlan::TableScan(scan) => {
            DFSchema::try_from_qualified_schema(scan.table_name.clone(), &scan.source.schema())?
        }
        plan => datafusion::logical_expr::utils::merge_schema(&plan.inputs()),
    })
}
