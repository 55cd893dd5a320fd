//! [`PauseExec`]: gives the thread back now and then, so that a query which nobody waits for any more ends.
//!
//! ```text
//!   AggregateExec                          AggregateExec
//!     NestedLoopJoinExec            =>       PauseExec
//!       left                                   NestedLoopJoinExec
//!       right                                    left
//!                                                PauseExec: slices=true
//!                                                  right
//! ```
//!
//! A task is cancelled when it returns to its runtime, and DataFusion sees to it that scans do so now and then. An
//! operator that makes many rows of few (a join) can keep the operators above it busy for minutes without reading its
//! input once, so it is asked to pause here: after ten milliseconds without a pause the stream says "not yet" once.
//!
//! A nested loop join whose condition is never true does not even give rows away. It compares a batch of its right input
//! with all rows of the left before it reads on, so its right input comes in slices: more rows as long as one is dealt with
//! quickly, fewer when it takes long.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::Statistics;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::execution::{RecordBatchStream, TaskContext};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::joins::{CrossJoinExec, HashJoinExec, NestedLoopJoinExec, SortMergeJoinExec};
use datafusion::physical_plan::statistics::{ChildStats, StatisticsArgs};
use datafusion::physical_plan::unnest::UnnestExec;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PhysicalExpr, PlanProperties, SendableRecordBatchStream,
};
use futures::{Stream, StreamExt};

use super::{only_child, write_facts};

/// Longest time without a pause.
const WITHOUT_PAUSE: Duration = Duration::from_millis(10);
/// A slice that takes longer is followed by one of half its rows, one that takes a quarter of it by one of twice as many.
const PER_SLICE: Duration = Duration::from_millis(20);
/// Rows of the first slice.
const FIRST_SLICE: usize = 64;

/// Passes batches on, and pauses.
#[derive(Debug, Clone)]
pub(crate) struct PauseExec {
    input: Arc<dyn ExecutionPlan>,
    slices: bool,
}

impl PauseExec {
    /// Passes the batches of `input` on, in slices if wanted.
    pub fn new(input: Arc<dyn ExecutionPlan>, slices: bool) -> Self {
        Self { input, slices }
    }
}

impl DisplayAs for PauseExec {
    fn fmt_as(&self, format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slices = [("slices", "true".to_string())];
        write_facts(format, f, self.name(), if self.slices { &slices } else { &[] })
    }
}

impl ExecutionPlan for PauseExec {
    fn name(&self) -> &'static str {
        "PauseExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let input = only_child(children, self.name())?;
        Ok(Arc::new(Self::new(input, self.slices)))
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(
            children,
            ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute),
        )
    }

    fn child_stats_requests(&self, partition: Option<usize>) -> Vec<ChildStats> {
        vec![ChildStats::At(partition)]
    }

    fn statistics_from_inputs(
        &self,
        inputs: &[Arc<Statistics>],
        _: &StatisticsArgs,
    ) -> Result<Arc<Statistics>> {
        match inputs {
            [input] => Ok(Arc::clone(input)),
            _ => datafusion::common::internal_err!("PauseExec has one child"),
        }
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let input = self.input.execute(partition, context)?;
        Ok(Box::pin(Pauses {
            input,
            slice: self.slices.then_some(FIRST_SLICE),
            rest: None,
            given: None,
            last_pause: Instant::now(),
            paused: false,
        }))
    }
}

struct Pauses {
    input: SendableRecordBatchStream,
    /// Most rows of a slice; `None` without slices.
    slice: Option<usize>,
    /// What a batch has left of rows.
    rest: Option<RecordBatch>,
    /// When the last slice was given away, and that it was a whole one.
    given: Option<Instant>,
    last_pause: Instant,
    /// Whether the last answer was a pause: however long it took, work goes on now.
    paused: bool,
}

impl Pauses {
    /// The next slice of `rows`; the rest stays.
    fn slice(&mut self, rows: RecordBatch) -> RecordBatch {
        let Some(slice) = self.slice else { return rows };
        if rows.num_rows() <= slice {
            return rows;
        }
        self.rest = Some(rows.slice(slice, rows.num_rows() - slice));
        self.given = Some(Instant::now());
        rows.slice(0, slice)
    }

    /// Learns from how long the last slice took.
    fn adapt(&mut self) {
        let (Some(slice), Some(given)) = (&mut self.slice, self.given.take()) else {
            return;
        };
        let took = given.elapsed();
        if took > PER_SLICE {
            *slice = (*slice / 2).max(1);
        } else if took < PER_SLICE / 4 {
            *slice = slice.saturating_mul(2);
        }
    }
}

impl Stream for Pauses {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if !self.paused {
            self.adapt();
            if self.last_pause.elapsed() > WITHOUT_PAUSE {
                self.paused = true;
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
        } else {
            self.paused = false;
            self.last_pause = Instant::now();
        }
        if let Some(rest) = self.rest.take() {
            return Poll::Ready(Some(Ok(self.slice(rest))));
        }
        match self.input.poll_next_unpin(context) {
            Poll::Pending => {
                self.last_pause = Instant::now();
                Poll::Pending
            }
            Poll::Ready(Some(Ok(batch))) => Poll::Ready(Some(Ok(self.slice(batch)))),
            ended @ Poll::Ready(Some(Err(_)) | None) => ended,
        }
    }
}

impl RecordBatchStream for Pauses {
    fn schema(&self) -> SchemaRef {
        self.input.schema()
    }
}

/// Puts a [`PauseExec`] over every operator that makes many rows of few, and under the right side of nested loop joins.
#[derive(Debug, Default)]
pub(crate) struct PauseRule;

impl PhysicalOptimizerRule for PauseRule {
    fn name(&self) -> &str {
        "pause"
    }

    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|plan| {
            if plan.is::<NestedLoopJoinExec>() {
                let mut children: Vec<_> = plan.children().into_iter().cloned().collect();
                if let Some(right) = children.get_mut(1) {
                    *right = Arc::new(PauseExec::new(Arc::clone(right), true));
                }
                let recompute = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
                let join = plan.replace_children(children, recompute)?;
                return Ok(Transformed::yes(Arc::new(PauseExec::new(join, false)) as _));
            }
            let multiplies = plan.is::<CrossJoinExec>()
                || plan.is::<HashJoinExec>()
                || plan.is::<SortMergeJoinExec>()
                || plan.is::<UnnestExec>();
            if multiplies {
                return Ok(Transformed::yes(Arc::new(PauseExec::new(plan, false)) as _));
            }
            Ok(Transformed::no(plan))
        })
        .map(|transformed| transformed.data)
    }

    fn schema_check(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array};
    use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
    use futures::stream;

    use super::*;

    fn numbers(rows: i64) -> RecordBatch {
        let column: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows));
        RecordBatch::try_from_iter([("n", column)]).unwrap()
    }

    #[tokio::test]
    async fn slices_hold_every_row_once_and_in_order() {
        let batches = [numbers(1_000), numbers(0), numbers(300)];
        let schema = batches[0].schema();
        let input = RecordBatchStreamAdapter::new(schema, stream::iter(batches.clone().map(Ok)));
        let mut pauses = Pauses {
            input: Box::pin(input),
            slice: Some(FIRST_SLICE),
            rest: None,
            given: None,
            last_pause: Instant::now(),
            paused: false,
        };
        let mut slices = Vec::new();
        while let Some(slice) = pauses.next().await {
            slices.push(slice.unwrap());
        }
        assert_eq!(slices[0].num_rows(), FIRST_SLICE);
        let together =
            |batches: &[RecordBatch]| arrow::compute::concat_batches(&batches[0].schema(), batches).unwrap();
        assert_eq!(together(&slices), together(&batches));
    }
}
