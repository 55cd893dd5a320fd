//! [`VectorJoinExec`]: the nearest rows of a table, for every row of the input.
//!
//! ```text
//!   VectorJoinExec: table=docs, column=v, metric=L2, k=10, index=HNSW, units=3      columns of q, columns of docs
//!     CollectionScanExec: table=q                                                   a query vector in each row
//! ```
//!
//! The input is taken in steps of some hundred rows. The rows that may be found are selected once; the queries of a step
//! are searched together on the query threads, so that all cores work however few partitions the input has, and where
//! there is no graph every row of the table is read once for many queries ([`crate::search`]). Then the columns of the
//! hits are read and put beside their input rows. What is held at any time is one step: it is charged to the
//! statement's memory.
//!
//! For each input row the rows are those that `ORDER BY distance LIMIT k` finds for its vector: a row whose vector is NULL
//! finds `k` rows with no distance. With further sort keys every row is fetched that is as near as the `k`-th; the keys
//! then decide. The order of the input is kept.
//!
//! Where rows must have something in common with the input row, [`super::matching`] says among which rows each is searched.
//!
//! Metrics: `output_rows`, `elapsed_compute`, `queries`, `rows_allowed`, `distances_computed`, and a `strategy_*` counter
//! for each way in which a unit was searched for a query.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::{SortColumn, lexsort_to_indices, take, take_record_batch};
use arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalSortExpr};
use datafusion::physical_plan::execution_plan::{
    ChildrenPropertiesMode, ReplaceChildrenOptions, apply_expression_roots,
};
use datafusion::physical_plan::metrics::{
    BaselineMetrics, Count, ExecutionPlanMetricsSet, MetricBuilder, MetricCategory, MetricsSet, RecordOutput,
};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PhysicalExpr, PlanProperties,
    SendableRecordBatchStream,
};
use elanus_collection::{Collection, DataType, Snapshot};
use futures::{StreamExt, TryStreamExt, stream};
use parking_lot::Mutex;
use tokio::sync::OnceCell;

use super::ann_search::{index_use, within_text};
use super::matching::{ByValue, Matching};
use super::{column_names, filter_text, only_child, write_facts};
use crate::compute::Wanted;
use crate::error::external;
use crate::index_filter::IndexUse;
use crate::predicate::Predicate;
use crate::query_vectors::QueryColumn;
use crate::resources::Resources;
use crate::search::{Hit, SearchSpec, Target, cost, order_equals, search_targets, select_targets, take_rows};

/// Rows found in one step, about.
const STEP_HITS: usize = 1 << 15;
/// Most input rows of one step.
const STEP_ROWS: usize = 1_024;

/// What is searched, and what for.
#[derive(Debug)]
pub(crate) struct Searched {
    /// The collection.
    pub collection: Arc<Collection>,
    /// Its state.
    pub snapshot: Arc<Snapshot>,
    /// The columns of a row that is found.
    pub columns: SchemaRef,
    /// The rows that may be found.
    pub predicates: Vec<Arc<Predicate>>,
    /// What the rows found have in common with the input row.
    pub matching: Matching,
    /// What is searched for.
    pub spec: SearchSpec,
    /// Type of the searched field.
    pub data_type: DataType,
    /// What all queries share.
    pub resources: Arc<Resources>,
}

/// The rows that may be found: in their units, and by what they have in common with an input row, if they must.
#[derive(Debug)]
struct Found {
    targets: Vec<Target>,
    by_value: Option<ByValue>,
}

/// Finds the nearest rows for every row of its input.
#[derive(Debug, Clone)]
pub(crate) struct VectorJoinExec {
    input: Arc<dyn ExecutionPlan>,
    searched: Arc<Searched>,
    /// The query vector of an input row.
    query: Arc<dyn PhysicalExpr>,
    /// The order of the rows found for one input row, over all columns, when the distance alone does not decide.
    order: Vec<PhysicalSortExpr>,
    /// Whether an input row that finds nothing stays.
    outer: bool,
    /// The units with rows to find, selected by whoever comes first.
    targets: Arc<OnceCell<Arc<Found>>>,
    metrics: ExecutionPlanMetricsSet,
    properties: Arc<PlanProperties>,
}

impl VectorJoinExec {
    /// Searches for `query` (over the columns of `input`); rows come out under `schema`, the columns of `input` first.
    pub fn new(
        input: Arc<dyn ExecutionPlan>,
        searched: Searched,
        query: Arc<dyn PhysicalExpr>,
        order: Vec<PhysicalSortExpr>,
        outer: bool,
        schema: SchemaRef,
    ) -> Self {
        let properties = properties(&input, schema);
        Self {
            input,
            searched: Arc::new(searched),
            query,
            order,
            outer,
            targets: Arc::default(),
            metrics: ExecutionPlanMetricsSet::new(),
            properties,
        }
    }
}

fn properties(input: &Arc<dyn ExecutionPlan>, schema: SchemaRef) -> Arc<PlanProperties> {
    let mut equivalence = EquivalenceProperties::new(schema);
    // The columns of the input are where they were.
    equivalence.add_orderings(input.output_ordering().cloned());
    Arc::new(PlanProperties::new(
        equivalence,
        input.output_partitioning().clone(),
        input.pipeline_behavior(),
        input.boundedness(),
    ))
}

impl DisplayAs for VectorJoinExec {
    fn fmt_as(&self, format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Searched {
            collection,
            snapshot,
            columns,
            predicates,
            matching,
            spec,
            ..
        } = self.searched.as_ref();
        let (index, indexed) = index_use(snapshot.units.iter(), spec);
        let mut facts = vec![
            ("table", collection.name()),
            ("column", spec.field.clone()),
            ("metric", spec.metric.to_string()),
            ("k", spec.k.to_string()),
            ("index", index),
            ("columns", format!("[{}]", column_names(columns).join(", "))),
        ];
        facts.extend(within_text(spec).map(|within| ("within", within)));
        facts.extend(filter_text(predicates).map(|filter| ("filter", filter)));
        if !matching.is_empty() {
            facts.push(("match", matching.to_string()));
        }
        if !self.order.is_empty() {
            let order: Vec<String> = self.order.iter().map(ToString::to_string).collect();
            facts.push(("order", format!("[{}]", order.join(", "))));
        }
        if self.outer {
            facts.push(("join", "Left".to_string()));
        }
        facts.extend([
            ("units", snapshot.units.len().to_string()),
            ("indexed", indexed.to_string()),
        ]);
        write_facts(format, f, self.name(), &facts)
    }
}

impl ExecutionPlan for VectorJoinExec {
    fn name(&self) -> &'static str {
        "VectorJoinExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
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
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        let predicates = self.searched.predicates.iter().map(|predicate| predicate.expr());
        let order = self.order.iter().map(|key| &key.expr);
        let matching = &self.searched.matching;
        let all = predicates.chain(order).chain([&self.query]);
        apply_expression_roots(all.chain(&matching.ours).chain(&matching.theirs), f)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let input = only_child(children, self.name())?;
        let properties = properties(&input, self.schema());
        Ok(Arc::new(Self {
            input,
            targets: Arc::default(),
            metrics: ExecutionPlanMetricsSet::new(),
            properties,
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
        let reservation =
            MemoryConsumer::new(format!("VectorJoinExec[{partition}]")).register(context.memory_pool());
        let work = Arc::new(Work {
            join: self.clone(),
            partition,
            baseline: BaselineMetrics::new(&self.metrics, partition),
            counters: Mutex::default(),
            reservation,
        });
        let step = (STEP_HITS / self.searched.spec.k.max(1)).clamp(1, STEP_ROWS);
        let batch_rows = context.session_config().batch_size().max(1);
        let input = self.input.execute(partition, context)?;
        let rows = input
            .map_ok(move |batch| stream::iter(sliced(batch, step)).map(Ok))
            .try_flatten()
            .and_then(move |batch| {
                let work = Arc::clone(&work);
                async move { work.join(&batch).await }
            })
            .map_ok(move |batch| stream::iter(sliced(batch, batch_rows)).map(Ok))
            .try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), rows)))
    }
}

/// The batch in parts of at most so many rows.
fn sliced(batch: RecordBatch, rows: usize) -> impl Iterator<Item = RecordBatch> {
    (0..batch.num_rows())
        .step_by(rows)
        .map(move |start| batch.slice(start, rows.min(batch.num_rows() - start)))
}

/// One partition of a join that runs.
struct Work {
    join: VectorJoinExec,
    partition: usize,
    baseline: BaselineMetrics,
    counters: Mutex<BTreeMap<String, Count>>,
    reservation: MemoryReservation,
}

impl Work {
    fn count(&self, name: String, number: u64) {
        let mut counters = self.counters.lock();
        let counter = counters.entry(name).or_insert_with_key(|name| {
            MetricBuilder::new(&self.join.metrics)
                .with_category(MetricCategory::Rows)
                .counter(name.clone(), self.partition)
        });
        counter.add(usize::try_from(number).unwrap_or(usize::MAX));
    }

    async fn targets(&self) -> Result<Arc<Found>> {
        let select = || async {
            let Searched {
                snapshot,
                columns,
                predicates,
                matching,
                resources,
                ..
            } = self.join.searched.as_ref();
            let units = u32::try_from(snapshot.units.len()).unwrap_or(u32::MAX);
            let numbers: Vec<u32> = (0..units).collect();
            let mut used = IndexUse::default();
            let targets = select_targets(snapshot, &numbers, None, predicates, resources, &mut used).await?;
            used.report(&self.join.metrics, self.partition);
            let allowed = targets.iter().map(|target| target.selection.count(&target.unit));
            self.count("rows_allowed".to_string(), allowed.sum());
            let by_value = if matching.is_empty() {
                None
            } else {
                let memory = self.reservation.new_empty();
                Some(ByValue::of(&targets, &matching.theirs, columns, memory).await?)
            };
            Ok::<_, DataFusionError>(Arc::new(Found { targets, by_value }))
        };
        self.join.targets.get_or_try_init(select).await.cloned()
    }

    /// The rows of one step of the input with what they find.
    async fn join(&self, input: &RecordBatch) -> Result<RecordBatch> {
        let found = self.targets().await?;
        let searched = &self.join.searched;
        let Searched { snapshot, spec, .. } = searched.as_ref();
        let rows = input.num_rows();
        self.count("queries".to_string(), rows as u64);
        let most = rows.saturating_mul(spec.k).saturating_mul(size_of::<Hit>());
        self.reservation
            .try_resize(input.get_array_memory_size() + most)?;

        let vectors = self.join.query.evaluate(input)?.into_array(rows)?;
        let queries = QueryColumn::new(&spec.field, &searched.data_type, &vectors).map_err(external)?;
        let groups = match &found.by_value {
            Some(by_value) => by_value.groups(&searched.matching.ours, input)?,
            None => Vec::new(),
        };
        let steps = cost(&found.targets, spec, rows);
        let elapsed = self.baseline.elapsed_compute().clone();
        let search = {
            let searched = Arc::clone(searched);
            move |wanted: Wanted<'_>| {
                let _timer = elapsed.timer();
                let (targets, spec, queries) = (&found.targets, &searched.spec, queries.all()?);
                match &found.by_value {
                    Some(by_value) => by_value.search(targets, spec, &queries, &groups, wanted),
                    None => search_targets(targets, spec, &queries, wanted),
                }
            }
        };
        let compute = &searched.resources.compute;
        let (mut hits, totals) = compute
            .run(steps, search)
            .await
            .map_err(external)?
            .map_err(external)?;
        self.count("distances_computed".to_string(), totals.distances);
        for (strategy, times) in totals.strategies {
            self.count(format!("strategy_{strategy}"), times);
        }
        if self.join.order.is_empty() {
            let schema = searched.collection.schema();
            let key = &schema.primary_key().map_err(external)?.name;
            for of_query in &mut hits {
                order_equals(&snapshot.units, key, of_query).await?;
            }
        }
        let joined = self.beside(input, &hits).await?;
        drop(hits);
        let joined = self.in_order(joined)?;
        self.reservation.free();
        Ok(joined.record_output(&self.baseline))
    }

    /// Each row of the input beside the rows it found, and the place of the input row.
    async fn beside(&self, input: &RecordBatch, hits: &[Vec<Hit>]) -> Result<(RecordBatch, Vec<u32>)> {
        let Searched {
            snapshot, columns, ..
        } = self.join.searched.as_ref();
        let mut places: Vec<u32> = Vec::new();
        // Of each row that comes out, which of all hits it has.
        let mut number_of_hit: Vec<Option<u32>> = Vec::new();
        let mut numbers = 0_u32..;
        for (row, of_row) in hits.iter().enumerate() {
            let lonely = of_row.is_empty() && self.join.outer;
            let copies = of_row.len().max(usize::from(lonely));
            places.extend(std::iter::repeat_n(
                u32::try_from(row).unwrap_or(u32::MAX),
                copies,
            ));
            number_of_hit.extend(numbers.by_ref().take(of_row.len()).map(Some));
            number_of_hit.extend(lonely.then_some(None));
        }
        let hits: Vec<Hit> = hits.concat();
        let found: Vec<ArrayRef> = if hits.is_empty() {
            let fields = columns.fields().iter();
            fields
                .map(|field| arrow::array::new_null_array(field.data_type(), places.len()))
                .collect()
        } else {
            let names = column_names(columns);
            let rows = take_rows(&snapshot.units, &names, Some(columns), &hits).await?;
            if hits.len() == places.len() {
                rows.columns().to_vec()
            } else {
                let numbers = UInt32Array::from(number_of_hit);
                let columns = rows.columns().iter();
                columns
                    .map(|column| take(column, &numbers, None))
                    .collect::<Result<_, _>>()?
            }
        };
        let indices = UInt32Array::from(places);
        let mut arrays = take_record_batch(input, &indices)?.columns().to_vec();
        arrays.extend(found);
        let options = RecordBatchOptions::new().with_row_count(Some(indices.len()));
        let joined = RecordBatch::try_new_with_options(self.join.schema(), arrays, &options)?;
        self.reservation
            .try_resize(self.reservation.size() + joined.get_array_memory_size())?;
        Ok((joined, indices.values().to_vec()))
    }

    /// With sort keys of its own: the first `k` rows of each input row, in their order.
    fn in_order(&self, (joined, places): (RecordBatch, Vec<u32>)) -> Result<RecordBatch> {
        if self.join.order.is_empty() {
            return Ok(joined);
        }
        let places = UInt32Array::from(places);
        let mut keys = vec![SortColumn {
            values: Arc::new(places.clone()),
            options: None,
        }];
        for key in &self.join.order {
            keys.push(key.evaluate_to_sort_column(&joined)?);
        }
        let sorted = lexsort_to_indices(&keys, None)?;
        let k = self.join.searched.spec.k;
        let mut of_row = (u32::MAX, 0usize);
        let mut kept: Vec<u32> = Vec::with_capacity(sorted.len());
        for index in sorted.values() {
            let Some(place) = places.values().get(*index as usize) else {
                continue;
            };
            if of_row.0 != *place {
                of_row = (*place, 0);
            }
            of_row.1 += 1;
            if of_row.1 <= k {
                kept.push(*index);
            }
        }
        Ok(take_record_batch(&joined, &UInt32Array::from(kept))?)
    }
}
