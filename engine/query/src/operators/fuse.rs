//! [`FuseExec`]: one list out of the hits of several searches.
//!
//! ```text
//!   TakeRowsExec: table=docs, columns=[id, title]
//!     FuseExec: fusion=rrf(k=60), arms=2, fetch=10     (query, unit, row, fused distance), best first
//!       AnnSearchExec: table=docs, column=dense, k=50  (query, unit, row, distance), best first
//!       AnnSearchExec: table=docs, column=sparse, k=50
//! ```
//!
//! All arms search one snapshot of one collection, so a row is its address and no key is compared. An arm is read to its
//! end before anything comes out: the last hit of one may lift the first of another.

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
use elanus_index::AnyMetric;
use futures::TryStreamExt;

use super::{hit_ordering, hit_schema, hits_of_queries, hits_to_batch, one_batch, write_facts};
use crate::collapse::Collapse;
use crate::error::external;
use crate::fusion::Fusion;
use crate::search::{Hit, order_equals};

/// Fuses the hits of its children.
#[derive(Debug, Clone)]
pub(crate) struct FuseExec {
    arms: Vec<Arc<dyn ExecutionPlan>>,
    metrics_of_arms: Vec<AnyMetric>,
    /// How the elements of an arm become rows; of no arm when there are none.
    collapses: Vec<Option<Collapse>>,
    fusion: Fusion,
    collection: Arc<Collection>,
    snapshot: Arc<Snapshot>,
    nq: usize,
    fetch: usize,
    metrics: ExecutionPlanMetricsSet,
    properties: Arc<PlanProperties>,
}

impl FuseExec {
    /// Fuses `arms`, each with the metric of its distances, into the best `fetch` hits of each of `nq` queries.
    pub fn new(
        arms: Vec<(Arc<dyn ExecutionPlan>, AnyMetric)>,
        fusion: Fusion,
        collection: Arc<Collection>,
        snapshot: Arc<Snapshot>,
        nq: usize,
        fetch: usize,
    ) -> Self {
        let mut equivalence = EquivalenceProperties::new(hit_schema());
        equivalence.add_orderings(hit_ordering(nq > 1));
        let (arms, metrics_of_arms) = arms.into_iter().unzip();
        Self {
            arms,
            metrics_of_arms,
            collapses: Vec::new(),
            fusion,
            collection,
            snapshot,
            nq,
            fetch,
            metrics: ExecutionPlanMetricsSet::new(),
            properties: Arc::new(PlanProperties::new(
                equivalence,
                Partitioning::UnknownPartitioning(1),
                EmissionType::Final,
                Boundedness::Bounded,
            )),
        }
    }

    /// The same where the elements of arms become rows before.
    pub fn collapsing(self, collapses: Vec<Option<Collapse>>) -> Self {
        Self { collapses, ..self }
    }

    async fn fuse(&self, arms: Vec<Vec<RecordBatch>>) -> Result<RecordBatch> {
        let key = &self.collection.schema().primary_key().map_err(external)?.name;
        let arms: Vec<Vec<Vec<Hit>>> = arms
            .iter()
            .map(|batches| hits_of_queries(batches, self.nq))
            .collect::<Result<_>>()?;
        let mut fused = fuse_queries(
            &self.fusion,
            &self.metrics_of_arms,
            (arms, &self.collapses),
            &self.snapshot,
            key,
            self.nq,
        )
        .await?;
        for hits in &mut fused {
            hits.truncate(self.fetch);
        }
        hits_to_batch(&fused)
    }
}

/// The fused hits of each query, best first, equal scores by primary key; `arms` has the hits of each arm for each query,
/// `collapses` how the elements of some of them become rows.
pub(crate) async fn fuse_queries(
    fusion: &Fusion,
    metrics: &[AnyMetric],
    (mut arms, collapses): (Vec<Vec<Vec<Hit>>>, &[Option<Collapse>]),
    snapshot: &Snapshot,
    primary_key: &str,
    nq: usize,
) -> Result<Vec<Vec<Hit>>> {
    for (arm, collapse) in arms.iter_mut().zip(collapses) {
        for hits in arm.iter_mut() {
            if let Some(collapse) = collapse {
                *hits = collapse.rows(hits);
            }
        }
    }
    // A rank among equals must not depend on where rows are stored.
    for hits in arms.iter_mut().flatten() {
        order_equals(&snapshot.units, primary_key, hits).await?;
    }
    let mut fused = Vec::with_capacity(nq);
    for query in 0..nq {
        let of_query: Vec<&[Hit]> = arms
            .iter()
            .map(|arm| arm.get(query).map_or(&[][..], Vec::as_slice))
            .collect();
        let mut hits = fusion.fuse(metrics, &of_query);
        order_equals(&snapshot.units, primary_key, &mut hits).await?;
        fused.push(hits);
    }
    Ok(fused)
}

impl DisplayAs for FuseExec {
    fn fmt_as(&self, format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut facts = vec![
            ("fusion", self.fusion.to_string()),
            ("arms", self.arms.len().to_string()),
            ("fetch", self.fetch.to_string()),
        ];
        let collapsed = self.collapses.iter().flatten().count();
        if collapsed > 0 {
            facts.push(("collapsed", collapsed.to_string()));
        }
        write_facts(format, f, self.name(), &facts)
    }
}

impl ExecutionPlan for FuseExec {
    fn name(&self) -> &'static str {
        "FuseExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        self.arms.iter().collect()
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        InputDistributionRequirements::new(vec![Distribution::SinglePartition; self.arms.len()])
    }

    fn required_input_ordering(&self) -> Vec<Option<OrderingRequirements>> {
        let ordering = hit_ordering(self.nq > 1).map(OrderingRequirements::from);
        vec![ordering; self.arms.len()]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false; self.arms.len()]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        arms: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if arms.len() != self.arms.len() {
            return datafusion::common::internal_err!("FuseExec has {} children", self.arms.len());
        }
        Ok(Arc::new(Self {
            arms,
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

    fn fetch(&self) -> Option<usize> {
        (self.nq == 1).then_some(self.fetch)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let arms = self
            .arms
            .iter()
            .map(|arm| arm.execute(partition, Arc::clone(&context)))
            .collect::<Result<Vec<_>>>()?;
        let this = self.clone();
        Ok(one_batch(hit_schema(), async move {
            let read = arms
                .into_iter()
                .map(TryStreamExt::try_collect::<Vec<RecordBatch>>);
            let arms = futures::future::try_join_all(read).await?;
            let timer = metrics.elapsed_compute().timer();
            let batch = this.fuse(arms).await?;
            timer.done();
            Ok(batch.record_output(&metrics))
        }))
    }
}
