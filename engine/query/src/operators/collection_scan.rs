//! [`CollectionScanExec`]: the rows of a collection's snapshot, with everything pushed down.
//!
//! ```text
//!   FilterExec: price < 5                        CollectionScanExec: table=docs, columns=[id],
//!     CollectionScanExec: table=docs     =>        filter=price < Int32(5), units=3
//! ```
//!
//! A partition reads a group of units. In a unit the filter is evaluated first, on the columns that
//! it names and with the deletes applied ([`crate::selection`]); then only the wanted columns are
//! read, only the selected rows are copied, and reading stops at the limit. Vectors are read when
//! they are projected and never otherwise. Row counts are exact when there is no filter, so that
//! `count(*)` reads nothing at all.
//!
//! Metrics: `output_rows`, and `elapsed_compute`, which has the filter and the reading in it; where scalar indexes answered
//! the filter, `index` says which one answered what, and `rows_checked` how many rows were evaluated all the same.

use std::fmt;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions, UInt32Array, UInt64Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::SchemaRef;
use datafusion::common::Statistics;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_plan::coop::cooperative;
use datafusion::physical_plan::execution_plan::{
    Boundedness, ChildrenPropertiesMode, EmissionType, ReplaceChildrenOptions, SchedulingType,
};
use datafusion::physical_plan::metrics::{
    BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet, RecordOutput, Time,
};
use datafusion::physical_plan::statistics::StatisticsArgs;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PhysicalExpr, PlanProperties,
    SendableRecordBatchStream,
};
use elanus_collection::{Collection, Keys, Snapshot, Unit};
use futures::{StreamExt, TryStreamExt, stream};

use super::{column_names, filter_text, group_units, write_facts};
use crate::error::external;
use crate::index_filter::IndexUse;
use crate::predicate::Predicate;
use crate::resources::Resources;
use crate::selection::{FEW_ROWS, Selection, read_columns, select};
use crate::table::ADDRESS_COLUMN;

/// Leaf operator: reads columns of the selected rows of a collection.
#[derive(Debug, Clone)]
pub(crate) struct CollectionScanExec {
    collection: Arc<Collection>,
    snapshot: Arc<Snapshot>,
    groups: Vec<Vec<u32>>,
    projected: SchemaRef,
    predicates: Vec<Arc<Predicate>>,
    limit: Option<usize>,
    resources: Arc<Resources>,
    metrics: ExecutionPlanMetricsSet,
    properties: Arc<PlanProperties>,
}

impl CollectionScanExec {
    /// Reads the columns of `projected` (a part of the snapshot's schema) in at most `partitions` partitions.
    pub fn new(
        collection: Arc<Collection>,
        snapshot: Arc<Snapshot>,
        projected: SchemaRef,
        predicates: Vec<Arc<Predicate>>,
        limit: Option<usize>,
        partitions: usize,
        resources: Arc<Resources>,
    ) -> Self {
        let groups = group_units(&snapshot.units, partitions);
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&projected)),
            Partitioning::UnknownPartitioning(groups.len()),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        let properties = Arc::new(properties.with_scheduling_type(SchedulingType::Cooperative));
        let metrics = ExecutionPlanMetricsSet::new();
        Self {
            collection,
            snapshot,
            groups,
            projected,
            predicates,
            limit,
            resources,
            metrics,
            properties,
        }
    }

    /// The collection read.
    pub fn collection(&self) -> &Arc<Collection> {
        &self.collection
    }

    /// The pinned state that is read.
    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// The filters that are evaluated here.
    pub fn predicates(&self) -> &[Arc<Predicate>] {
        &self.predicates
    }

    /// What all queries share.
    pub fn resources(&self) -> &Arc<Resources> {
        &self.resources
    }

    /// About how many rows come out at most: a key mostly names one row.
    pub fn row_bound(&self) -> usize {
        let by_key = self.predicates.iter().filter_map(|predicate| predicate.keys());
        let keys = by_key.map(Keys::len).min().unwrap_or(usize::MAX);
        self.live_rows(None)
            .min(keys)
            .min(self.limit.unwrap_or(usize::MAX))
    }

    fn live_rows(&self, partition: Option<usize>) -> usize {
        let rows = |numbers: &[u32]| -> u64 {
            numbers
                .iter()
                .filter_map(|number| self.snapshot.units.get(*number as usize))
                .map(|unit| unit.live_rows())
                .sum()
        };
        let rows = match partition {
            Some(partition) => self.groups.get(partition).map_or(0, |group| rows(group)),
            None => self.groups.iter().map(|group| rows(group)).sum(),
        };
        usize::try_from(rows).unwrap_or(usize::MAX)
    }
}

impl DisplayAs for CollectionScanExec {
    fn fmt_as(&self, format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut facts = vec![
            ("table", self.collection.name()),
            (
                "columns",
                format!("[{}]", column_names(&self.projected).join(", ")),
            ),
        ];
        facts.extend(filter_text(&self.predicates).map(|filter| ("filter", filter)));
        facts.extend(self.limit.map(|limit| ("limit", limit.to_string())));
        let units: usize = self.groups.iter().map(Vec::len).sum();
        facts.push(("units", units.to_string()));
        write_facts(format, f, self.name(), &facts)
    }
}

impl ExecutionPlan for CollectionScanExec {
    fn name(&self) -> &'static str {
        "CollectionScanExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        datafusion::physical_plan::execution_plan::apply_expression_roots(
            self.predicates.iter().map(|predicate| predicate.expr()),
            f,
        )
    }

    fn replace_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
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

    fn statistics_from_inputs(
        &self,
        _: &[Arc<Statistics>],
        args: &StatisticsArgs,
    ) -> Result<Arc<Statistics>> {
        let mut statistics = Statistics::new_unknown(&self.projected);
        let rows = self.live_rows(args.partition());
        statistics.num_rows = match (self.predicates.is_empty(), self.limit, args.partition()) {
            (true, None, _) => Precision::Exact(rows),
            (true, Some(limit), Some(_)) => Precision::Exact(rows.min(limit)),
            (_, Some(limit), None) => Precision::Inexact(rows.min(limit)),
            (false, limit, _) => Precision::Inexact(rows.min(limit.unwrap_or(usize::MAX))),
        };
        if !self.collection.is_past()
            && let Some(analyzed) = self.resources.analyzed.of(self.collection.id())
        {
            for (field, column) in self
                .projected
                .fields()
                .iter()
                .zip(&mut statistics.column_statistics)
            {
                if let Some(found) = analyzed.get(field.name()) {
                    *column = found.clone();
                }
            }
        }
        Ok(Arc::new(statistics))
    }

    fn supports_limit_pushdown(&self) -> bool {
        false
    }

    fn fetch(&self) -> Option<usize> {
        // A limit here holds for each partition.
        self.limit.filter(|_| self.groups.len() == 1)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let Some(group) = self.groups.get(partition) else {
            return datafusion::common::internal_err!("CollectionScanExec has no partition {partition}");
        };
        let unit = |number: &u32| Some((*number, Arc::clone(self.snapshot.units.get(*number as usize)?)));
        let units: Vec<(u32, Arc<Unit>)> = group.iter().filter_map(unit).collect();
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let reader = Arc::new(Reader {
            schema: Arc::clone(&self.projected),
            predicates: self.predicates.clone(),
            resources: Arc::clone(&self.resources),
            batch_rows: context.session_config().batch_size(),
            elapsed: metrics.elapsed_compute().clone(),
            metrics: self.metrics.clone(),
            partition,
        });
        let limit = self.limit.unwrap_or(usize::MAX);
        let batches = stream::iter(units)
            .then(move |(number, unit)| {
                let reader = Arc::clone(&reader);
                async move { reader.open(number, unit).await }
            })
            .map_ok(stream::iter)
            .try_flatten();
        let limited = stream::unfold((Box::pin(batches), limit), |(mut batches, left)| async move {
            if left == 0 {
                return None;
            }
            let batch = batches.next().await?;
            let (batch, left) = match batch {
                Ok(batch) => {
                    let rows = batch.num_rows().min(left);
                    (Ok(batch.slice(0, rows)), left - rows)
                }
                Err(error) => (Err(error), 0),
            };
            Some((batch, (batches, left)))
        });
        let counted = limited.map_ok(move |batch| batch.record_output(&metrics));
        let rows = RecordBatchStreamAdapter::new(Arc::clone(&self.projected), Box::pin(counted));
        Ok(Box::pin(cooperative(rows)))
    }
}

struct Reader {
    schema: SchemaRef,
    predicates: Vec<Arc<Predicate>>,
    resources: Arc<Resources>,
    batch_rows: usize,
    elapsed: Time,
    metrics: ExecutionPlanMetricsSet,
    partition: usize,
}

impl Reader {
    async fn open(&self, number: u32, unit: Arc<Unit>) -> Result<Rows> {
        let timer = self.elapsed.timer();
        let mut used = IndexUse::default();
        let selection = select(
            &unit,
            Selection::Live,
            &self.predicates,
            &self.resources,
            &mut used,
        )
        .await?;
        used.report(&self.metrics, self.partition);
        let all = match &selection {
            Selection::Live if unit.live_rows_set().is_none() => None,
            Selection::Live | Selection::Rows(_) => Some(selection.rows(&unit)),
        };
        let mut names = column_names(&self.schema);
        names.retain(|name| *name != ADDRESS_COLUMN);
        if let Some(rows) = all
            .as_ref()
            .filter(|rows| rows.len() <= FEW_ROWS && !names.is_empty())
        {
            let taken = unit.take(&names, rows).await.map_err(external)?;
            let batch = self.with_addresses(&taken, number, rows.iter().copied())?;
            timer.done();
            return Ok(Rows {
                batch,
                rows: None,
                next: 0,
                step: self.batch_rows.max(1),
                elapsed: self.elapsed.clone(),
            });
        }
        let batch = if all.as_ref().is_some_and(Vec::is_empty) {
            RecordBatch::new_empty(Arc::clone(&self.schema))
        } else {
            let batch = read_columns(&unit, &names).await?;
            self.with_addresses(&batch, number, 0..unit.rows())?
        };
        timer.done();
        Ok(Rows {
            batch,
            rows: all,
            next: 0,
            step: self.batch_rows.max(1),
            elapsed: self.elapsed.clone(),
        })
    }

    /// The columns of these rows of a unit under the schema of the scan, their addresses among them when they are wanted.
    fn with_addresses(
        &self,
        batch: &RecordBatch,
        number: u32,
        rows: impl Iterator<Item = u32>,
    ) -> Result<RecordBatch> {
        let mut columns = batch.columns().to_vec();
        if let Ok(place) = self.schema.index_of(ADDRESS_COLUMN) {
            let addresses = rows.map(|row| (u64::from(number) << 32) | u64::from(row));
            columns.insert(place, Arc::new(UInt64Array::from_iter_values(addresses)));
        }
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        Ok(RecordBatch::try_new_with_options(
            Arc::clone(&self.schema),
            columns,
            &options,
        )?)
    }
}

/// The selected rows of one unit, a batch at a time.
struct Rows {
    batch: RecordBatch,
    /// The selected rows of `batch`; `None` means all.
    rows: Option<Vec<u32>>,
    next: usize,
    step: usize,
    elapsed: Time,
}

impl Iterator for Rows {
    type Item = Result<RecordBatch, DataFusionError>;

    fn next(&mut self) -> Option<Self::Item> {
        let _timer = self.elapsed.timer();
        let batch = &self.batch;
        let total = self.rows.as_ref().map_or(batch.num_rows(), Vec::len);
        let count = self.step.min(total.saturating_sub(self.next));
        if count == 0 {
            return None;
        }
        let (start, end) = (self.next, self.next + count);
        self.next = end;
        Some(match &self.rows {
            None => Ok(batch.slice(start, count)),
            Some(_) if batch.num_columns() == 0 => crate::selection::rows_without_columns(count),
            Some(rows) => {
                let rows = UInt32Array::from(rows.get(start..end).unwrap_or_default().to_vec());
                take_record_batch(batch, &rows).map_err(DataFusionError::from)
            }
        })
    }
}
