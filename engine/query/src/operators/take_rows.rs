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
//! What is declared must hold to the last bit, or operators above that rely on it go wrong. The
//! distance function computes what the search computes, so it does hold, but for one case: an index
//! that was built on another kind of processor has stored norms which may differ in the last bit.
//! So the declared expression is computed for the winners, and they are sorted if need be.
//!
//! The operator can append each row's score, which is then what the order is declared in, and for requests that are not
//! SQL its query.

use std::fmt;
use std::sync::Arc;

use arrow::array::{Float32Array, Int64Array, RecordBatch, RecordBatchOptions, UInt32Array, make_comparator};
use arrow::compute::{SortOptions, take_record_batch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::Statistics;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result;
use datafusion::execution::TaskContext;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{
    Distribution, EquivalenceProperties, LexOrdering, OrderingRequirements, PhysicalSortExpr,
};
use datafusion::physical_plan::execution_plan::{
    Boundedness, ChildrenPropertiesMode, EmissionType, ReplaceChildrenOptions, apply_expression_roots,
};
use datafusion::physical_plan::metrics::{
    BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet, RecordOutput,
};
use datafusion::physical_plan::statistics::StatisticsArgs;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, InputDistributionRequirements, Partitioning, PhysicalExpr,
    PlanProperties, SendableRecordBatchStream,
};
use elanus_collection::{Collection, Snapshot};
use futures::TryStreamExt;

use super::{QUERY, batch_to_hits, column_names, hit_ordering, one_batch, only_child, write_facts};
use crate::error::external;
use crate::fusion::Scoring;
use crate::request::{ELEMENT_COLUMN, SCORE_COLUMN};
use crate::search::{Hit, order_equals, take_rows};

/// Fetches columns of the rows that hits name.
#[derive(Debug, Clone)]
pub(crate) struct TakeRowsExec {
    input: Arc<dyn ExecutionPlan>,
    collection: Arc<Collection>,
    snapshot: Arc<Snapshot>,
    columns: SchemaRef,
    /// What is appended to the columns.
    appended: Option<Appended>,
    /// Rows given at most.
    fetch: usize,
    /// The distance expression over the output, or the score, and its direction.
    order: Option<PhysicalSortExpr>,
    /// Whether rows come as the hits do, whatever their distances.
    as_they_come: bool,
    metrics: ExecutionPlanMetricsSet,
    properties: Arc<PlanProperties>,
}

/// More columns at the end.
#[derive(Debug, Clone, Copy)]
struct Appended {
    /// The score, in this way.
    scoring: Scoring,
    /// Whether the query comes before it.
    query: bool,
    /// Whether the place of the element, counted from 1, comes before it.
    element: bool,
}

/// What comes behind the columns of rows that were found through SQL: their score, and before it the place of the element when
/// `elements` are found.
pub(crate) fn appended_columns(elements: bool) -> Vec<Field> {
    let element = elements.then(|| Field::new(ELEMENT_COLUMN, DataType::Int64, false));
    let score = Field::new(SCORE_COLUMN, DataType::Float32, false);
    element.into_iter().chain([score]).collect()
}

impl TakeRowsExec {
    /// Fetches `columns` (a part of the snapshot's schema) for the first `fetch` hits of `input`,
    /// which come in the order of `order`.
    pub fn new(
        input: Arc<dyn ExecutionPlan>,
        collection: Arc<Collection>,
        snapshot: Arc<Snapshot>,
        columns: SchemaRef,
        order: PhysicalSortExpr,
        fetch: usize,
    ) -> Self {
        let mut equivalence = EquivalenceProperties::new(Arc::clone(&columns));
        equivalence.add_orderings(LexOrdering::new([order.clone()]));
        let properties = properties(equivalence);
        let metrics = ExecutionPlanMetricsSet::new();
        Self {
            input,
            collection,
            snapshot,
            columns,
            appended: None,
            fetch,
            order: Some(order),
            as_they_come: false,
            metrics,
            properties,
        }
    }

    /// Fetches `columns` for all hits, with two more columns at the end: the query and the score.
    pub fn with_score(
        input: Arc<dyn ExecutionPlan>,
        collection: Arc<Collection>,
        snapshot: Arc<Snapshot>,
        columns: SchemaRef,
        scoring: Scoring,
    ) -> Self {
        let appended = Appended {
            scoring,
            query: true,
            element: false,
        };
        let equivalence = EquivalenceProperties::new(appended.schema(&columns));
        Self {
            input,
            collection,
            snapshot,
            columns,
            appended: Some(appended),
            fetch: usize::MAX,
            order: None,
            as_they_come: false,
            metrics: ExecutionPlanMetricsSet::new(),
            properties: properties(equivalence),
        }
    }

    /// Fetches `columns` for the first `fetch` hits of `input`, which are those of one query, with their score at the end.
    /// The order of the hits is nobody else's business: none is declared.
    pub fn ranked(
        input: Arc<dyn ExecutionPlan>,
        collection: Arc<Collection>,
        snapshot: Arc<Snapshot>,
        columns: SchemaRef,
        (scoring, element): (Scoring, bool),
        fetch: usize,
    ) -> Self {
        let scored = Self::scored(input, collection, snapshot, columns, (scoring, element), fetch);
        Self {
            properties: properties(EquivalenceProperties::new(scored.schema())),
            order: None,
            as_they_come: true,
            ..scored
        }
    }

    /// Fetches `columns` for the first `fetch` hits of `input`, which are those of one query, with their score at the end and,
    /// when it is wanted, the place of the element before it.
    pub fn scored(
        input: Arc<dyn ExecutionPlan>,
        collection: Arc<Collection>,
        snapshot: Arc<Snapshot>,
        columns: SchemaRef,
        (scoring, element): (Scoring, bool),
        fetch: usize,
    ) -> Self {
        let appended = Appended {
            scoring,
            query: false,
            element,
        };
        let place = columns.fields().len() + usize::from(element);
        let order = PhysicalSortExpr::new(
            Arc::new(Column::new(SCORE_COLUMN, place)),
            SortOptions {
                descending: scoring.larger_is_better(),
                nulls_first: false,
            },
        );
        let mut equivalence = EquivalenceProperties::new(appended.schema(&columns));
        equivalence.add_orderings(LexOrdering::new([order.clone()]));
        Self {
            input,
            collection,
            snapshot,
            columns,
            appended: Some(appended),
            fetch,
            order: Some(order),
            as_they_come: false,
            metrics: ExecutionPlanMetricsSet::new(),
            properties: properties(equivalence),
        }
    }

    fn several_queries(&self) -> bool {
        self.input
            .properties()
            .output_ordering()
            .is_some_and(|ordering| ordering.len() > 1)
    }
}

fn properties(equivalence: EquivalenceProperties) -> Arc<PlanProperties> {
    let partitioning = Partitioning::UnknownPartitioning(1);
    Arc::new(PlanProperties::new(
        equivalence,
        partitioning,
        EmissionType::Final,
        Boundedness::Bounded,
    ))
}

impl Appended {
    /// `columns` and what comes after them.
    fn schema(self, columns: &SchemaRef) -> SchemaRef {
        let mut fields: Vec<_> = columns.fields().iter().cloned().collect();
        if self.query {
            fields.push(Arc::new(Field::new(QUERY, DataType::UInt32, false)));
        }
        fields.extend(appended_columns(self.element).into_iter().map(Arc::new));
        Arc::new(Schema::new_with_metadata(fields, columns.metadata().clone()))
    }
}

impl DisplayAs for TakeRowsExec {
    fn fmt_as(&self, format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut facts = vec![
            ("table", self.collection.name()),
            ("columns", format!("[{}]", column_names(&self.columns).join(", "))),
        ];
        facts.extend(self.fetch().map(|fetch| ("fetch", fetch.to_string())));
        write_facts(format, f, self.name(), &facts)
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
        let ordering = hit_ordering(self.several_queries()).filter(|_| !self.as_they_come);
        vec![ordering.map(OrderingRequirements::from)]
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

    fn fetch(&self) -> Option<usize> {
        (self.fetch < usize::MAX).then_some(self.fetch)
    }

    fn with_fetch(&self, limit: Option<usize>) -> Option<Arc<dyn ExecutionPlan>> {
        let metrics = ExecutionPlanMetricsSet::new();
        Some(Arc::new(Self {
            fetch: limit.unwrap_or(usize::MAX),
            metrics,
            ..self.clone()
        }))
    }

    fn statistics_from_inputs(&self, _: &[Arc<Statistics>], _: &StatisticsArgs) -> Result<Arc<Statistics>> {
        let mut statistics = Statistics::new_unknown(&self.schema());
        let live = usize::try_from(self.snapshot.live_rows()).unwrap_or(usize::MAX);
        statistics.num_rows = Precision::Inexact(live.min(self.fetch));
        Ok(Arc::new(statistics))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let hits = self.input.execute(partition, context)?;
        let this = self.clone();
        let rows = async move {
            let hits: Vec<RecordBatch> = hits.try_collect().await?;
            let timer = metrics.elapsed_compute().timer();
            let rows = this.take(&hits).await?;
            timer.done();
            Ok(rows.record_output(&metrics))
        };
        Ok(one_batch(self.schema(), rows))
    }
}

impl TakeRowsExec {
    async fn take(&self, batches: &[RecordBatch]) -> Result<RecordBatch> {
        let mut found: Vec<(u32, Hit)> = Vec::new();
        for batch in batches {
            found.extend(batch_to_hits(batch)?);
        }
        found.truncate(self.fetch);
        let key = &self.collection.schema().primary_key().map_err(external)?.name;
        let mut hits: Vec<Hit> = Vec::with_capacity(found.len());
        for of_query in found.chunk_by(|a, b| a.0 == b.0) {
            let mut of_query: Vec<Hit> = of_query.iter().map(|(_, hit)| *hit).collect();
            if !self.as_they_come {
                order_equals(&self.snapshot.units, key, &mut of_query).await?;
            }
            hits.extend(of_query);
        }
        let names = column_names(&self.columns);
        let rows = take_rows(&self.snapshot.units, &names, Some(&self.columns), &hits).await?;
        let rows = match self.appended {
            Some(Appended {
                scoring,
                query,
                element,
            }) => {
                let mut columns = rows.columns().to_vec();
                if query {
                    let queries = found.iter().map(|(query, _)| *query);
                    columns.push(Arc::new(queries.collect::<UInt32Array>()));
                }
                if element {
                    let place = |hit: &Hit| hit.element.map_or(0, |place| i64::from(place) + 1);
                    columns.push(Arc::new(
                        hits.iter().map(|hit| Some(place(hit))).collect::<Int64Array>(),
                    ));
                }
                let score = |hit: &Hit| scoring.score(hit.distance.unwrap_or(f32::NAN));
                columns.push(Arc::new(
                    hits.iter().map(|hit| Some(score(hit))).collect::<Float32Array>(),
                ));
                let options = RecordBatchOptions::new().with_row_count(Some(hits.len()));
                RecordBatch::try_new_with_options(self.schema(), columns, &options)?
            }
            None => rows,
        };
        // Scores are made of the distances that the hits come by.
        match (&self.order, self.appended) {
            (Some(order), None) => in_order(rows, order),
            (None, _) | (_, Some(_)) => Ok(rows),
        }
    }
}

/// `rows`, sorted by `order` unless they are already; equal rows keep their places.
fn in_order(rows: RecordBatch, order: &PhysicalSortExpr) -> Result<RecordBatch> {
    let key = order.evaluate_to_sort_column(&rows)?;
    let compare = make_comparator(&key.values, &key.values, key.options.unwrap_or_default())?;
    let mut places: Vec<usize> = (0..rows.num_rows()).collect();
    if places.is_sorted_by(|a, b| compare(*a, *b).is_le()) {
        return Ok(rows);
    }
    places.sort_by(|a, b| compare(*a, *b));
    let places = places.into_iter().filter_map(|place| u32::try_from(place).ok());
    Ok(take_record_batch(&rows, &UInt32Array::from_iter_values(places))?)
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, AsArray, Float64Array, Int64Array};
    use arrow::datatypes::Int64Type;
    use datafusion::physical_expr::expressions::col;

    use super::*;

    #[test]
    fn rows_that_are_not_in_the_declared_order_are_put_in_it() {
        let sorted = |distances: Vec<Option<f64>>| {
            let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..distances.len() as i64));
            let distances: ArrayRef = Arc::new(Float64Array::from(distances));
            let rows = RecordBatch::try_from_iter([("id", ids), ("d", distances)]).unwrap();
            let options = SortOptions {
                descending: false,
                nulls_first: false,
            };
            let order = PhysicalSortExpr::new(col("d", &rows.schema()).unwrap(), options);
            let rows = in_order(rows, &order).unwrap();
            rows.column(0).as_primitive::<Int64Type>().values().to_vec()
        };
        assert_eq!(
            sorted(vec![Some(1.0), Some(1.0), Some(f64::NAN), None]),
            [0, 1, 2, 3]
        );
        assert_eq!(
            sorted(vec![None, Some(2.0), Some(1.0), Some(f64::NAN), Some(2.0)]),
            [2, 1, 4, 3, 0]
        );
        assert!(sorted(Vec::new()).is_empty());
    }
}
