//! [`AnnSearchExec`]: the nearest rows of a vector column, filter included.
//!
//! ```text
//!   before (exact SQL)                              after
//!
//!   SortExec: TopK(fetch=10), [d ASC]               TakeRowsExec: table=docs, columns=[id, v]
//!     ProjectionExec: id, l2_distance(v, q) as d      SortPreservingMergeExec: [_distance ASC], fetch=10
//!       CollectionScanExec: filter=price < 5            AnnSearchExec: table=docs, column=v, metric=L2,
//!                                                         k=10, index=HNSW, filter=price < 5, units=3
//! ```
//!
//! A partition searches a group of units. In a unit the filter becomes a bitset of allowed rows
//! first ([`crate::selection`]) and the index searches inside it, so `k` rows come back whenever `k`
//! rows match. Each partition emits one batch of `(query, unit, row, distance, element)`, best first; the
//! order is declared, so a merge is all that follows. No column but the filter's is read here.
//!
//! With an input, only rows whose addresses come out of it are found ([`super::allowed_rows`]): it is read to its end
//! before anything is searched.
//!
//! The query vector is a physical expression, evaluated when the operator runs: a literal, a bound
//! parameter, or a scalar subquery that has run by then.
//!
//! A grouped search ([`crate::grouping`]) goes on until it has met enough groups, which takes all units together: it has
//! one partition, and its hits too come best first, whatever their group.
//!
//! Metrics: `output_rows`, `elapsed_compute` (of the search alone, the filter is not in it),
//! `rows_allowed` (rows that pass the filter), `distances_computed`, and a `strategy_*` counter for
//! each way in which a unit was searched. Where scalar indexes answered the filter, `index` says which one answered what,
//! and `rows_checked` how many rows were evaluated all the same.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::common::exec_err;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result;
use datafusion::execution::TaskContext;
use datafusion::physical_expr::{Distribution, EquivalenceProperties};
use datafusion::physical_plan::execution_plan::{
    Boundedness, ChildrenPropertiesMode, EmissionType, ReplaceChildrenOptions, SchedulingType,
    apply_expression_roots,
};
use datafusion::physical_plan::metrics::{
    BaselineMetrics, ExecutionPlanMetricsSet, MetricBuilder, MetricCategory, MetricsSet, RecordOutput,
};
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, InputDistributionRequirements, Partitioning, PhysicalExpr,
    PlanProperties, SendableRecordBatchStream,
};
use elanus_collection::{Collection, DataType, Snapshot, Unit};
use elanus_index::AnyMetric;

use super::allowed_rows::{AllowedInput, AllowedRows};
use super::{
    constant, filter_text, hit_ordering, hit_schema, hits_to_batch, one_batch, only_child, write_facts,
};
use crate::compute::Wanted;
use crate::error::external;
use crate::grouping::{GroupedSearch, best_first};
use crate::index_filter::IndexUse;
use crate::predicate::Predicate;
use crate::query_vectors::QueryVectors;
use crate::resources::Resources;
use crate::search::{SearchSpec, Totals, cost, restrict_elements, search_targets, select_targets};
use crate::text_queries::TextQueries;

/// Where the query vectors come from.
#[derive(Debug, Clone)]
pub(crate) enum QuerySource {
    /// One vector, known when the plan runs.
    Expr(Arc<dyn PhysicalExpr>),
    /// Vectors that are known already.
    Vectors {
        /// The vectors.
        vectors: QueryVectors,
        /// Number of vectors.
        nq: usize,
    },
}

impl QuerySource {
    fn count(&self) -> usize {
        match self {
            Self::Expr(_) => 1,
            Self::Vectors { nq, .. } => *nq,
        }
    }

    /// The query vectors for a column of this type.
    pub(crate) fn vectors(&self, column: &str, data_type: &DataType) -> Result<QueryVectors> {
        match self {
            Self::Vectors { vectors, .. } => Ok(vectors.clone()),
            Self::Expr(expr) => {
                QueryVectors::of_scalar(column, data_type, &constant(expr)?).map_err(external)
            }
        }
    }
}

/// Searches groups of units for the nearest rows.
#[derive(Debug, Clone)]
pub(crate) struct AnnSearchExec {
    collection: Arc<Collection>,
    snapshot: Arc<Snapshot>,
    groups: Vec<Vec<u32>>,
    spec: Arc<SearchSpec>,
    data_type: DataType,
    queries: QuerySource,
    predicates: Vec<Arc<Predicate>>,
    /// Gives the rows that may be found, when not all may.
    allowed: Option<AllowedInput>,
    resources: Arc<Resources>,
    metrics: ExecutionPlanMetricsSet,
    properties: Arc<PlanProperties>,
}

impl AnnSearchExec {
    /// Searches `groups` of units of the snapshot, one group in each partition. `data_type` is
    /// the type of the searched field.
    #[expect(
        clippy::too_many_arguments,
        reason = "an operator is given everything it needs at construction"
    )]
    pub fn new(
        collection: Arc<Collection>,
        snapshot: Arc<Snapshot>,
        groups: Vec<Vec<u32>>,
        spec: SearchSpec,
        data_type: DataType,
        queries: QuerySource,
        predicates: Vec<Arc<Predicate>>,
        resources: Arc<Resources>,
    ) -> Self {
        let mut equivalence = EquivalenceProperties::new(hit_schema());
        equivalence.add_orderings(hit_ordering(queries.count() > 1));
        let properties = PlanProperties::new(
            equivalence,
            Partitioning::UnknownPartitioning(groups.len()),
            EmissionType::Final,
            Boundedness::Bounded,
        );
        // One batch comes after one await: there is no loop that could keep others waiting.
        let properties = Arc::new(properties.with_scheduling_type(SchedulingType::Cooperative));
        let metrics = ExecutionPlanMetricsSet::new();
        Self {
            collection,
            snapshot,
            groups,
            spec: Arc::new(spec),
            data_type,
            queries,
            predicates,
            allowed: None,
            resources,
            metrics,
            properties,
        }
    }

    /// The same among the rows whose addresses `input` gives.
    pub fn among(self, input: Arc<dyn ExecutionPlan>) -> Self {
        Self {
            allowed: Some(AllowedInput::new(input)),
            ..self
        }
    }
}

/// The kinds of the indexes that will be searched in these units, and how many units have one.
pub(super) fn index_use<'a>(
    units: impl Iterator<Item = &'a Arc<Unit>>,
    spec: &SearchSpec,
) -> (String, usize) {
    let mut kinds: Vec<String> = Vec::new();
    let mut indexed = 0;
    for unit in units {
        let index = unit
            .index(&spec.field)
            .filter(|index| !spec.exact && index.serves(spec.metric));
        if let Some(index) = index {
            indexed += 1;
            let kind = index.kind().to_string();
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
    }
    if kinds.is_empty() {
        kinds.push("none".to_string());
    }
    (kinds.join("+"), indexed)
}

/// The distances that are searched for, when not all are.
pub(super) fn within_text(spec: &SearchSpec) -> Option<String> {
    let within = spec.params.within;
    (!within.is_open()).then(|| format!("{}..={}", within.first(), within.last()))
}

impl DisplayAs for AnnSearchExec {
    fn fmt_as(&self, format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers = self.groups.iter().flatten();
        let units = numbers.filter_map(|number| self.snapshot.units.get(*number as usize));
        let (index, indexed) = index_use(units, &self.spec);
        let SearchSpec { field, metric, k, .. } = self.spec.as_ref();
        let mut facts = vec![
            ("table", self.collection.name()),
            ("column", field.clone()),
            ("metric", metric.to_string()),
            ("k", k.to_string()),
            ("index", index),
        ];
        if self.spec.elements {
            facts.push(("elements", "true".to_string()));
        }
        if self.spec.ties {
            facts.push(("ties", "true".to_string()));
        }
        if self.queries.count() > 1 {
            facts.push(("nq", self.queries.count().to_string()));
        }
        facts.extend(within_text(&self.spec).map(|within| ("within", within)));
        if let Some(group) = &self.spec.group {
            let keys: Vec<&str> = group.keys.iter().map(|key| key.path().text()).collect();
            facts.push(("group_by", format!("[{}]", keys.join(", "))));
            facts.push(("groups", format!("{} x {}", group.groups, group.size)));
        }
        facts.extend(filter_text(&self.predicates).map(|filter| ("filter", filter)));
        let units: usize = self.groups.iter().map(Vec::len).sum();
        facts.extend([("units", units.to_string()), ("indexed", indexed.to_string())]);
        write_facts(format, f, self.name(), &facts)
    }
}

impl ExecutionPlan for AnnSearchExec {
    fn name(&self) -> &'static str {
        "AnnSearchExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        self.allowed.iter().map(AllowedInput::plan).collect()
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        let single = self.allowed.iter().map(|_| Distribution::SinglePartition);
        InputDistributionRequirements::new(single.collect())
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        self.allowed.iter().map(|_| false).collect()
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        let query = match &self.queries {
            QuerySource::Expr(expr) => Some(expr),
            QuerySource::Vectors { .. } => None,
        };
        apply_expression_roots(
            self.predicates
                .iter()
                .map(|predicate| predicate.expr())
                .chain(query),
            f,
        )
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if self.allowed.is_none() {
            return Ok(self);
        }
        let allowed = AllowedInput::new(only_child(children, self.name())?);
        Ok(Arc::new(Self {
            allowed: Some(allowed),
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
        let Some(group) = self.groups.get(partition) else {
            return datafusion::common::internal_err!("AnnSearchExec has no partition {partition}");
        };
        let this = self.clone();
        let group = group.clone();
        Ok(one_batch(hit_schema(), async move {
            this.search(partition, &group, &context).await
        }))
    }
}

impl AnnSearchExec {
    fn add(&self, partition: usize, counter: String, value: u64) {
        MetricBuilder::new(&self.metrics)
            .with_category(MetricCategory::Rows)
            .counter(counter, partition)
            .add(usize::try_from(value).unwrap_or(usize::MAX));
    }

    fn query_vectors(&self) -> Result<QueryVectors> {
        let field = &self.spec.field;
        let (QuerySource::Expr(expr), AnyMetric::Bm25) = (&self.queries, self.spec.metric) else {
            return self.queries.vectors(field, &self.data_type);
        };
        let query = constant(expr)?;
        if query.is_null() {
            return Ok(QueryVectors::Null);
        }
        let Some(text) = query.try_as_str().flatten() else {
            return exec_err!(
                "the query of a full-text search is a text, got {}",
                query.data_type()
            );
        };
        let texts = [text.to_owned()];
        let queries =
            TextQueries::new(&self.collection, &self.snapshot, (field, None), &texts).map_err(external)?;
        Ok(QueryVectors::Texts(queries))
    }

    fn count(&self, partition: usize, totals: Totals) {
        self.add(partition, "distances_computed".to_string(), totals.distances);
        for (strategy, times) in totals.strategies {
            self.add(partition, format!("strategy_{strategy}"), times);
        }
    }

    async fn search(
        &self,
        partition: usize,
        group: &[u32],
        context: &Arc<TaskContext>,
    ) -> Result<RecordBatch> {
        let baseline = BaselineMetrics::new(&self.metrics, partition);
        let queries = self.query_vectors()?;
        let allowed = match &self.allowed {
            Some(input) => Some(input.rows(&self.snapshot, context).await?),
            None => None,
        };
        let among = allowed.as_deref().map(AllowedRows::of_units);
        let mut used = IndexUse::default();
        let (snapshot, predicates, resources) = (&self.snapshot, &self.predicates, &self.resources);
        let mut targets = select_targets(snapshot, group, among, predicates, resources, &mut used).await?;
        restrict_elements(&mut targets, &self.spec, predicates, resources).await?;
        used.report(&self.metrics, partition);
        let allowed: u64 = targets
            .iter()
            .map(|target| target.selection.count(&target.unit))
            .sum();
        self.add(partition, "rows_allowed".to_string(), allowed);
        if let Some(group) = &self.spec.group {
            let grouped = GroupedSearch {
                snapshot: &self.snapshot,
                targets,
                spec: &self.spec,
                group,
                queries: &queries,
                nq: self.queries.count(),
            };
            let (groups, totals) = grouped.run(&self.resources).await?;
            self.count(partition, totals);
            return Ok(hits_to_batch(&best_first(groups))?.record_output(&baseline));
        }
        let steps = cost(&targets, &self.spec, self.queries.count());
        let spec = Arc::clone(&self.spec);
        let elapsed = baseline.elapsed_compute().clone();
        let search = move |wanted: Wanted<'_>| {
            let _timer = elapsed.timer();
            search_targets(&targets, &spec, &queries.all()?, wanted)
        };
        let (hits, totals) = self
            .resources
            .compute
            .run(steps, search)
            .await
            .map_err(external)?
            .map_err(external)?;
        self.count(partition, totals);
        let batch = hits_to_batch(&hits)?;
        Ok(batch.record_output(&baseline))
    }
}
