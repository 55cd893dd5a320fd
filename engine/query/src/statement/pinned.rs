//! [`Pinned`]: a query planned over the state of one moment, read in disjoint parts.
//!
//! A query of few rows starts at once: its rows are on their way while the client still asks for them.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::execution::{SessionState, TaskContext};
use datafusion::physical_plan::execution_plan::CardinalityEffect;
use datafusion::physical_plan::execution_plan::{
    ChildrenPropertiesMode, ReplaceChildrenOptions, reset_plan_states,
};
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::placeholder_row::PlaceholderRowExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::{
    ExecutionPlan, ExecutionPlanProperties, SendableRecordBatchStream, execute_stream,
};
use datafusion::prelude::SessionContext;
use parking_lot::Mutex;

use super::{Planned, announced, rows_at_hand};
use crate::error::Result;
use crate::memory::task_context;
use crate::operators::collection_scan::CollectionScanExec;
use crate::settings::ElanusSettings;
use crate::sql::running::Running;
use crate::sql::threads::{SqlThreads, TimeLimit, read_ahead};

/// A planned query and the snapshot that it reads. Its parts together are the result; each can be
/// read at any time and more than once, by whoever holds this.
#[derive(Debug, Clone)]
pub struct Pinned {
    source: Source,
    context: Arc<TaskContext>,
    schema: SchemaRef,
    database: String,
    text: Arc<str>,
    time_limit_millis: u64,
}

/// Where the rows come from.
#[derive(Debug, Clone)]
pub(super) enum Source {
    /// A plan of one part, and its rows when it was started for its first reader.
    Whole(Arc<dyn ExecutionPlan>, Begun),
    /// A plan whose partitions are the parts.
    Split(Arc<dyn ExecutionPlan>),
    /// Rows that are there already.
    Rows(Arc<[RecordBatch]>),
    /// A run for each row of parameters, one after the other.
    Runs {
        planned: Arc<Planned>,
        state: Arc<SessionState>,
        rows: RecordBatch,
    },
}

impl Source {
    /// The rows of a plan, in parts when that is worth it.
    pub fn of(plan: Arc<dyn ExecutionPlan>) -> Self {
        match row_wise(Arc::clone(&plan)) {
            Some(plan) if plan.output_partitioning().partition_count() > 1 && is_large(&plan) => {
                Self::Split(plan)
            }
            Some(_) | None => Self::Whole(plan, Begun::default()),
        }
    }
}

/// Rows that were started before anyone asked; whoever comes first takes them.
#[derive(Clone, Default)]
pub(super) struct Begun(Arc<Mutex<Option<SendableRecordBatchStream>>>);

impl fmt::Debug for Begun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let begun = self.0.lock().is_some();
        write!(f, "Begun({begun})")
    }
}

impl Pinned {
    pub(super) fn new(source: Source, session: &SessionContext, schema: SchemaRef, text: Arc<str>) -> Self {
        let context = task_context(session);
        let options = context.session_config().options();
        let database = options.catalog.default_schema.clone();
        let time_limit_millis = ElanusSettings::of(options).statement_timeout;
        Self {
            source,
            context,
            schema,
            database,
            text,
            time_limit_millis,
        }
    }

    /// Schema of the rows of every part.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// How many parts there are: one for each partition of a plain scan, one in all for other plans.
    pub fn parts(&self) -> usize {
        match &self.source {
            Source::Split(plan) => plan.output_partitioning().partition_count(),
            Source::Whole(..) | Source::Rows(_) | Source::Runs { .. } => 1,
        }
    }

    /// Starts a query that gives few rows, on the threads that this is called on: nothing more than those rows is kept
    /// when no reader comes.
    pub(super) fn begin(&self, threads: &tokio::runtime::Handle, running: &Arc<Running>) -> Result<()> {
        let Source::Whole(plan, begun) = &self.source else {
            return Ok(());
        };
        if most_rows(plan).is_none_or(|rows| rows > FEW) {
            return Ok(());
        }
        let running = running.start(self.database.clone(), Arc::clone(&self.text));
        let rows = execute_stream(Arc::clone(plan), Arc::clone(&self.context))?;
        let rows = announced(Arc::clone(&self.schema), rows);
        let limit = TimeLimit::new(self.time_limit_millis);
        *begun.0.lock() = Some(read_ahead(threads, limit, running, rows));
        Ok(())
    }

    pub(crate) async fn read(
        &self,
        threads: &SqlThreads,
        running: &Arc<Running>,
        part: usize,
    ) -> Result<SendableRecordBatchStream> {
        if let Source::Whole(_, begun) = &self.source
            && let Some(rows) = begun.0.lock().take()
        {
            return Ok(rows);
        }
        let running = running.start(self.database.clone(), Arc::clone(&self.text));
        let limit = TimeLimit::new(self.time_limit_millis);
        let pinned = self.clone();
        let start = async move { pinned.start(part).await };
        let rows = threads.run_query(limit, start).await??;
        threads.stream(limit, running, rows)
    }

    async fn start(self, part: usize) -> Result<SendableRecordBatchStream> {
        let context = Arc::clone(&self.context);
        let rows = match self.source {
            Source::Split(plan) => plan.execute(part, context)?,
            Source::Whole(plan, _) => execute_stream(reset_plan_states(plan)?, context)?,
            Source::Rows(batches) => rows_at_hand(Arc::clone(&self.schema), &batches),
            Source::Runs { planned, state, rows } => planned.run_all(state, context, Some(rows)).await?,
        };
        Ok(announced(Arc::clone(&self.schema), rows))
    }
}

/// Rows up to which a query is started before its reader comes.
const FEW: usize = 1_000;

/// A bound of the rows of a plan, when it has a small one in it.
fn most_rows(plan: &Arc<dyn ExecutionPlan>) -> Option<usize> {
    if plan.is::<PlaceholderRowExec>() {
        return Some(1);
    }
    if plan.fetch().is_some() {
        return plan.fetch();
    }
    match (plan.children()[..].as_ref(), plan.cardinality_effect()) {
        ([input], CardinalityEffect::Equal | CardinalityEffect::LowerEqual) => most_rows(input),
        _ => None,
    }
}

/// Rows from which on a result is worth reading in parallel.
const LARGE: usize = 10_000;

fn is_large(plan: &Arc<dyn ExecutionPlan>) -> bool {
    match plan.downcast_ref::<CollectionScanExec>() {
        Some(scan) => scan.row_bound() >= LARGE,
        None => plan.children().into_iter().all(is_large),
    }
}

/// The plan without repartitioning, when each of its rows depends on one row of a scan only; such a
/// plan keeps nothing between runs.
fn row_wise(plan: Arc<dyn ExecutionPlan>) -> Option<Arc<dyn ExecutionPlan>> {
    if plan.is::<CollectionScanExec>() {
        // A limit over several partitions is finished above the scan.
        return plan.fetch().is_none().then_some(plan);
    }
    let [input] = plan.children()[..] else {
        return None;
    };
    let input = row_wise(Arc::clone(input))?;
    if plan.is::<RepartitionExec>() {
        return Some(input);
    }
    if plan.is::<ProjectionExec>() || (plan.is::<FilterExec>() && plan.fetch().is_none()) {
        let recompute = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
        return plan.replace_children(vec![input], recompute).ok();
    }
    None
}
