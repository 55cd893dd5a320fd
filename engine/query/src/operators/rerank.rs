//! [`RerankExec`]: new scores for hits, out of columns of their rows.
//!
//! ```text
//!   TakeRowsExec: table=docs, columns=[id, title]
//!     RerankExec: rerank=gauss(published)               (query, unit, row, new distance), best first, or as a chain says
//!       SortPreservingMergeExec: [_distance ASC]        (query, unit, row, distance)
//! ```
//!
//! Only the columns that the reranker names are read, and only for the hits; see [`crate::rerank`].

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result;
use datafusion::execution::TaskContext;
use datafusion::physical_expr::{Distribution, EquivalenceProperties, OrderingRequirements};
use datafusion::physical_plan::execution_plan::{
    Boundedness, ChildrenPropertiesMode, EmissionType, ReplaceChildrenOptions,
};
use datafusion::physical_plan::metrics::{
    BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet, RecordOutput,
};
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, InputDistributionRequirements, Partitioning, PhysicalExpr,
    PlanProperties, SendableRecordBatchStream,
};
use elanus_collection::{Collection, Snapshot};
use futures::TryStreamExt;

use super::{hit_ordering, hit_schema, hits_of_queries, hits_to_batch, one_batch, only_child, write_facts};
use crate::error::external;
use crate::fusion::Scoring;
use crate::rerank::Reranker;

/// Reranks the hits of its child.
#[derive(Debug, Clone)]
pub(crate) struct RerankExec {
    input: Arc<dyn ExecutionPlan>,
    reranker: Reranker,
    before: Scoring,
    collection: Arc<Collection>,
    snapshot: Arc<Snapshot>,
    nq: usize,
    metrics: ExecutionPlanMetricsSet,
    properties: Arc<PlanProperties>,
}

impl RerankExec {
    /// Reranks the hits of `input` for `nq` queries; `before` is what their distances mean.
    pub fn new(
        input: Arc<dyn ExecutionPlan>,
        reranker: Reranker,
        before: Scoring,
        collection: Arc<Collection>,
        snapshot: Arc<Snapshot>,
        nq: usize,
    ) -> Self {
        let mut equivalence = EquivalenceProperties::new(hit_schema());
        if reranker.sorts_by_score() {
            equivalence.add_orderings(hit_ordering(nq > 1));
        }
        Self {
            input,
            reranker,
            before,
            collection,
            snapshot,
            nq,
            metrics: ExecutionPlanMetricsSet::new(),
            properties: Arc::new(PlanProperties::new(
                equivalence,
                Partitioning::UnknownPartitioning(1),
                EmissionType::Final,
                Boundedness::Bounded,
            )),
        }
    }

    async fn rerank(&self, batches: &[RecordBatch]) -> Result<RecordBatch> {
        let key = &self.collection.schema().primary_key().map_err(external)?.name;
        let units = &self.snapshot.units;
        let mut queries = hits_of_queries(batches, self.nq)?;
        for (query, hits) in queries.iter_mut().enumerate() {
            *hits = self
                .reranker
                .rerank(units, key, self.before, query, std::mem::take(hits))
                .await?;
        }
        hits_to_batch(&queries)
    }
}

impl DisplayAs for RerankExec {
    fn fmt_as(&self, format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_facts(format, f, self.name(), &[("rerank", self.reranker.name())])
    }
}

impl ExecutionPlan for RerankExec {
    fn name(&self) -> &'static str {
        "RerankExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        InputDistributionRequirements::new(vec![Distribution::SinglePartition])
    }

    fn required_input_ordering(&self) -> Vec<Option<OrderingRequirements>> {
        vec![hit_ordering(self.nq > 1).map(OrderingRequirements::from)]
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
        Ok(Arc::new(Self {
            input: only_child(children, self.name())?,
            metrics: ExecutionPlanMetricsSet::new(),
            ..self.as_ref().clone()
        }))
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
        let input = self.input.execute(partition, context)?;
        let this = self.clone();
        Ok(one_batch(hit_schema(), async move {
            let batches: Vec<RecordBatch> = input.try_collect().await?;
            let timer = metrics.elapsed_compute().timer();
            let batch = this.rerank(&batches).await?;
            timer.done();
            Ok(batch.record_output(&metrics))
        }))
    }
}
