//! [`TopKPerQueryExec`]: the `k` best hits of each query, in one pass over merged hits.
//!
//! ```text
//!   TopKPerQueryExec: k=10                 (query, unit, row, distance), at most k rows of each query
//!     SortPreservingMergeExec: [_query ASC, _distance ASC]
//!       AnnSearchExec: .., nq=1000         every partition: k rows of each query
//! ```
//!
//! The input is ordered by query and distance, so it is enough to count: the first `k` rows of a
//! query pass, the rest is dropped. Nothing is buffered.

use std::fmt;
use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result;
use datafusion::execution::TaskContext;
use datafusion::physical_expr::{Distribution, OrderingRequirements};
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::metrics::{
    BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet, RecordOutput,
};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, InputDistributionRequirements, PhysicalExpr, PlanProperties,
    SendableRecordBatchStream,
};
use futures::StreamExt;

use super::{batch_to_hits, hit_ordering, only_child, write_facts};

/// Keeps the first `k` rows of each query of an input ordered by query and distance.
#[derive(Debug, Clone)]
pub(crate) struct TopKPerQueryExec {
    input: Arc<dyn ExecutionPlan>,
    k: usize,
    metrics: ExecutionPlanMetricsSet,
}

impl TopKPerQueryExec {
    /// Keeps `k` rows of each query of `input`.
    pub fn new(input: Arc<dyn ExecutionPlan>, k: usize) -> Self {
        Self {
            input,
            k,
            metrics: ExecutionPlanMetricsSet::new(),
        }
    }
}

impl DisplayAs for TopKPerQueryExec {
    fn fmt_as(&self, format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_facts(format, f, self.name(), &[("k", self.k.to_string())])
    }
}

impl ExecutionPlan for TopKPerQueryExec {
    fn name(&self) -> &'static str {
        "TopKPerQueryExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        InputDistributionRequirements::new(vec![Distribution::SinglePartition])
    }

    fn required_input_ordering(&self) -> Vec<Option<OrderingRequirements>> {
        vec![hit_ordering(true).map(OrderingRequirements::from)]
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
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
        Ok(Arc::new(Self::new(input, self.k)))
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

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let k = self.k;
        let mut current = Counted { query: None, rows: 0 };
        let input = self.input.execute(partition, context)?;
        let batches = input.map(move |batch| {
            let kept = current.keep(&batch?, k)?;
            Ok(kept.record_output(&metrics))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), batches)))
    }
}

/// The query that the stream is at, and how many of its rows have passed.
struct Counted {
    query: Option<u32>,
    rows: usize,
}

impl Counted {
    fn keep(&mut self, batch: &RecordBatch, k: usize) -> Result<RecordBatch> {
        let passed: BooleanArray = batch_to_hits(batch)?
            .into_iter()
            .map(|(query, _)| {
                if self.query != Some(query) {
                    *self = Self {
                        query: Some(query),
                        rows: 0,
                    };
                }
                self.rows += 1;
                Some(self.rows <= k)
            })
            .collect();
        Ok(filter_record_batch(batch, &passed)?)
    }
}
