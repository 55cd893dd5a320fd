//! [`RerankExec`]: new scores for hits, out of columns of their rows.
//!
//! ```text
//!   TakeRowsExec: table=docs, columns=[id, title]
//!     RerankExec: rerank=gauss(published)               (query, unit, row, new distance), best first, or as a chain says
//!       SortPreservingMergeExec: [_distance ASC]        (query, unit, row, distance)
//! ```
//!
//! Only the columns that the reranker names are read, and only for the hits; see [`crate::rerank`]. One that is a plugin
//! says in its metrics what it has cost: calls, rows, time (with the copying to and fro) and memory.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result;
use datafusion::execution::TaskContext;
use datafusion::physical_expr::{Distribution, EquivalenceProperties, OrderingRequirements};
use datafusion::physical_plan::execution_plan::{
    Boundedness, ChildrenPropertiesMode, EmissionType, ReplaceChildrenOptions, apply_expression_roots,
};
use datafusion::physical_plan::metrics::{
    BaselineMetrics, ExecutionPlanMetricsSet, MetricBuilder, MetricCategory, MetricsSet, RecordOutput,
};
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, InputDistributionRequirements, Partitioning, PhysicalExpr,
    PlanProperties, SendableRecordBatchStream,
};
use elanus_collection::{Collection, Snapshot};
use elanus_plugins::CallStats;
use futures::TryStreamExt;

use super::{hit_ordering, hit_schema, hits_of_queries, hits_to_batch, one_batch, only_child, write_facts};
use crate::error::external;
use crate::fusion::Scoring;
use crate::rerank::Reranker;
use crate::search::order_equals;

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
            let mut found = std::mem::take(hits);
            *hits = match &self.reranker {
                Reranker::Plugin(plugin) => {
                    order_equals(units, key, &mut found).await?;
                    let (ranked, stats) = plugin.rerank(units, key, query, found).await?;
                    self.count(stats);
                    ranked
                }
                reranker @ (Reranker::Decay(_) | Reranker::Boost { .. } | Reranker::Chains(_)) => {
                    reranker.rerank(units, key, self.before, query, found).await?
                }
            };
        }
        hits_to_batch(&queries)
    }

    /// Adds what one call of a plugin has cost.
    fn count(&self, stats: CallStats) {
        let CallStats {
            rows,
            wasm_time,
            peak_memory,
        } = stats;
        let metric = || MetricBuilder::new(&self.metrics);
        let counted = || metric().with_category(MetricCategory::Rows);
        counted().counter("plugin_calls", 0).add(usize::from(rows > 0));
        counted().counter("plugin_rows", 0).add(rows);
        metric().subset_time("plugin_time", 0).add_duration(wasm_time);
        metric()
            .with_category(MetricCategory::Bytes)
            .gauge("plugin_peak_memory", 0)
            .set_max(peak_memory);
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
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        match &self.reranker {
            Reranker::Plugin(plugin) => apply_expression_roots(plugin.exprs(), f),
            Reranker::Decay(_) | Reranker::Boost { .. } | Reranker::Chains(_) => {
                Ok(TreeNodeRecursion::Continue)
            }
        }
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
