//! [`Pinned`]: a query planned over the state of one moment, read in disjoint parts.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::execution_plan::{
    ChildrenPropertiesMode, ReplaceChildrenOptions, reset_plan_states,
};
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::{
    ExecutionPlan, ExecutionPlanProperties, SendableRecordBatchStream, execute_stream,
};

use super::announced;
use crate::error::Result;
use crate::operators::collection_scan::CollectionScanExec;
use crate::sql::threads::SqlThreads;

/// A planned query and the snapshot that it reads. Its parts together are the result; each can be
/// read at any time and more than once, by whoever holds this.
#[derive(Debug, Clone)]
pub struct Pinned {
    plan: Arc<dyn ExecutionPlan>,
    context: Arc<TaskContext>,
    schema: SchemaRef,
    split: bool,
}

impl Pinned {
    pub(super) fn new(plan: Arc<dyn ExecutionPlan>, context: Arc<TaskContext>, schema: SchemaRef) -> Self {
        let whole = Arc::clone(&plan);
        let (plan, split) = match row_wise(plan) {
            Some(plan) if plan.output_partitioning().partition_count() > 1 => (plan, true),
            Some(_) | None => (whole, false),
        };
        Self {
            plan,
            context,
            schema,
            split,
        }
    }

    /// Schema of the rows of every part.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// How many parts there are: one for each partition of a plain scan, one in all for other plans.
    pub fn parts(&self) -> usize {
        if self.split {
            self.plan.output_partitioning().partition_count()
        } else {
            1
        }
    }

    pub(crate) async fn read(&self, threads: &SqlThreads, part: usize) -> Result<SendableRecordBatchStream> {
        let pinned = self.clone();
        let rows = threads.run(async move { pinned.start(part) }).await??;
        threads.stream(rows)
    }

    fn start(&self, part: usize) -> Result<SendableRecordBatchStream> {
        let context = Arc::clone(&self.context);
        let rows = if self.split {
            self.plan.execute(part, context)?
        } else {
            execute_stream(reset_plan_states(Arc::clone(&self.plan))?, context)?
        };
        Ok(announced(Arc::clone(&self.schema), rows))
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
