//! [`TakeRowsExec`]: the output columns of the winners, and of nothing else.
//!
//! ```text
//!   TakeRowsExec: table=docs, columns=[id, title]        id, title in the order of the hits
//!     SortPreservingMergeExec: [_distance ASC], fetch=10 (query, unit, row, distance)
//!       AnnSearchExec: ..
//! ```
//!
//! All hits are read first (there are at most `nq x k`), hits of equal distance are put in primary
//! key order, then each unit is asked once for its rows. The order of the hits is kept and declared,
//! in terms of the distance expression over the output columns, so a sort above is not needed.
//!
//! For requests that are not SQL the operator can append each row's query and score.

use std::fmt;
use std::sync::Arc;

use arrow::array::{Float32Array, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result;
use datafusion::execution::TaskContext;
use datafusion::physical_expr::{
    Distribution, EquivalenceProperties, LexOrdering, OrderingRequirements, PhysicalSortExpr,
};
use datafusion::physical_plan::execution_plan::{
    Boundedness, ChildrenPropertiesMode, EmissionType, ReplaceChildrenOptions, apply_expression_roots,
};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, InputDistributionRequirements, Partitioning, PhysicalExpr,
    PlanProperties, SendableRecordBatchStream,
};
use elanus_collection::{Collection, Snapshot};
use elanus_index::Metric;
use futures::{TryStreamExt, stream};

use super::{QUERY, batch_to_hits, hit_ordering};
use crate::error::external;
use crate::request::SCORE_COLUMN;
use crate::search::{Hit, order_equals, take_rows};

/// Fetches columns of the rows that hits name.
#[derive(Debug, Clone)]
pub(crate) struct TakeRowsExec {
    input: Arc<dyn ExecutionPlan>,
    collection: Arc<Collection>,
    snapshot: Arc<Snapshot>,
    columns: SchemaRef,
    score: Option<Metric>,
    /// The distance expression over `columns` and its direction.
    order: Option<PhysicalSortExpr>,
    metrics: ExecutionPlanMetricsSet,
    properties: Arc<PlanProperties>,
}

impl TakeRowsExec {
    /// Fetches `columns` (a part of the snapshot's schema) for the hits of `input`, which come in
    /// the order of `order`.
    pub fn new(
        input: Arc<dyn ExecutionPlan>,
        collection: Arc<Collection>,
        snapshot: Arc<Snapshot>,
        columns: SchemaRef,
        order: Option<PhysicalSortExpr>,
    ) -> Self {
        let mut equivalence = EquivalenceProperties::new(Arc::clone(&columns));
        equivalence.add_orderings(order.clone().and_then(|order| LexOrdering::new([order])));
        Self::with_equivalence(input, collection, snapshot, columns, None, order, equivalence)
    }

    /// As [`TakeRowsExec::new`] with two more columns at the end: the query and the score.
    pub fn with_score(
        input: Arc<dyn ExecutionPlan>,
        collection: Arc<Collection>,
        snapshot: Arc<Snapshot>,
        columns: SchemaRef,
        metric: Metric,
    ) -> Self {
        let equivalence = EquivalenceProperties::new(scored_schema(&columns));
        Self::with_equivalence(input, collection, snapshot, columns, Some(metric), None, equivalence)
    }

    fn with_equivalence(
        input: Arc<dyn ExecutionPlan>,
        collection: Arc<Collection>,
        snapshot: Arc<Snapshot>,
        columns: SchemaRef,
        score: Option<Metric>,
        order: Option<PhysicalSortExpr>,
        equivalence: EquivalenceProperties,
    ) -> Self {
        let properties = Arc::new(PlanProperties::new(
            equivalence,
            Partitioning::UnknownPartitioning(1),
            EmissionType::Final,
            Boundedness::Bounded,
        ));
        let metrics = ExecutionPlanMetricsSet::new();
        Self { input, collection, snapshot, columns, score, order, metrics, properties }
    }

    fn several_queries(&self) -> bool {
        self.input.properties().output_ordering().is_some_and(|ordering| ordering.len() > 1)
    }
}

/// `columns` with the query and the score appended.
fn scored_schema(columns: &SchemaRef) -> SchemaRef {
    let mut fields: Vec<_> = columns.fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new(QUERY, DataType::UInt32, false)));
    fields.push(Arc::new(Field::new(SCORE_COLUMN, DataType::Float32, false)));
    Arc::new(Schema::new(fields))
}

impl DisplayAs for TakeRowsExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns: Vec<&str> = self.columns.fields().iter().map(|field| field.name().as_str()).collect();
        write!(f, "TakeRowsExec: table={}, columns=[{}]", self.collection.name(), columns.join(", "))
    }
}

impl ExecutionPlan for TakeRowsExec {
    fn name(&self) -> &'static str {
        "TakeRowsExec"
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
        vec![hit_ordering(self.several_queries()).map(OrderingRequirements::from)]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        apply_expression_roots(self.order.iter().map(|order| &order.expr), f)
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match (children.pop(), children.is_empty()) {
            (Some(input), true) => {
                let metrics = ExecutionPlanMetricsSet::new();
                Ok(Arc::new(Self { input, metrics, ..self.as_ref().clone() }))
            }
            _ => datafusion::common::internal_err!("TakeRowsExec has one child"),
        }
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let hits = self.input.execute(partition, context)?;
        let this = self.clone();
        let rows = async move {
            let rows = this.take(hits).await?;
            metrics.record_output(rows.num_rows());
            Ok(rows)
        };
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), stream::once(rows))))
    }
}

impl TakeRowsExec {
    async fn take(&self, hits: SendableRecordBatchStream) -> Result<RecordBatch> {
        let batches: Vec<RecordBatch> = hits.try_collect().await?;
        let mut found: Vec<(u32, Hit)> = Vec::new();
        for batch in &batches {
            found.extend(batch_to_hits(batch)?);
        }
        let schema = self.collection.schema();
        let key = &schema.primary_key().map_err(external)?.name;
        let mut hits: Vec<Hit> = Vec::with_capacity(found.len());
        for of_query in found.chunk_by(|a, b| a.0 == b.0) {
            let mut of_query: Vec<Hit> = of_query.iter().map(|(_, hit)| *hit).collect();
            order_equals(&self.snapshot.units, key, &mut of_query).await?;
            hits.extend(of_query);
        }
        let names: Vec<&str> = self.columns.fields().iter().map(|field| field.name().as_str()).collect();
        let rows = take_rows(&self.snapshot.units, &names, Some(&self.columns), &hits).await?;
        let Some(metric) = self.score else { return Ok(rows) };
        let mut columns = rows.columns().to_vec();
        columns.push(Arc::new(found.iter().map(|(query, _)| *query).collect::<UInt32Array>()));
        let score = |hit: &Hit| metric.score(hit.distance.unwrap_or(f32::NAN));
        columns.push(Arc::new(hits.iter().map(|hit| Some(score(hit))).collect::<Float32Array>()));
        let options = RecordBatchOptions::new().with_row_count(Some(hits.len()));
        Ok(RecordBatch::try_new_with_options(self.schema(), columns, &options)?)
    }
}
