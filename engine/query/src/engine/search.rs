//! The search request: the operators' stages called one after the other, without a plan.
//!
//! ```text
//!   filter -> bits (cached) -> units searched (query threads, or here when short) -> k best
//!          -> equal distances by key -> output columns of the winners -> scores
//! ```

use std::sync::Arc;

use arrow::array::{ArrayRef, Float32Array, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType as ArrowType, Field as ArrowField, Schema, SchemaRef};
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::{ExecutionPlan, displayable};
use elanus_collection::{Collection, DataType, Snapshot};
use elanus_index::{AnyMetric, BuildParams, IndexKind, SearchParams};

use super::Engine;
use crate::compute::Wanted;
use crate::error::{QueryError, Result, did_you_mean};
use crate::operators::ann_search::{AnnSearchExec, QuerySource};
use crate::operators::take_rows::TakeRowsExec;
use crate::operators::top_k_per_query::TopKPerQueryExec;
use crate::operators::{column_names, group_units, hit_ordering};
use crate::predicate::Predicate;
use crate::query_vectors::QueryVectors;
use crate::request::{SCORE_COLUMN, SearchRequest, SearchResponse};
use crate::search::{
    Hit, MAX_NEIGHBOURS, SearchSpec, Undefined, cost, order_equals, search_targets, select_targets, take_rows,
};

/// Most queries in one request.
const MAX_QUERIES: usize = 16_384;
/// Most rows that all queries of one request find, skipped ones included.
const MAX_HITS: usize = 1 << 24;

/// A search request that has been checked.
struct Checked {
    snapshot: Arc<Snapshot>,
    /// Positions in the snapshot of the units to search.
    units: Vec<u32>,
    predicates: Vec<Arc<Predicate>>,
    spec: SearchSpec,
    data_type: DataType,
    queries: QueryVectors,
    output: SchemaRef,
}

impl Engine {
    /// Finds the nearest rows of each query.
    ///
    /// # Errors
    /// [`QueryError::InvalidParameter`] for values out of range, [`QueryError::Filter`] for the
    /// filter, and what the collection says about names and load state.
    pub async fn search(&self, request: SearchRequest) -> Result<SearchResponse> {
        let checked = self.check_search(&request)?;
        let resources = &self.inner.resources;
        let Checked {
            snapshot,
            units,
            predicates,
            spec,
            queries,
            output,
            ..
        } = checked;
        let targets = select_targets(&snapshot, &units, None, &predicates, resources).await?;
        let allowed: u64 = targets
            .iter()
            .map(|target| target.selection.count(&target.unit))
            .sum();
        let found = usize::try_from(allowed).unwrap_or(usize::MAX).min(spec.k);
        if request.nq.saturating_mul(found) > MAX_HITS {
            return Err(QueryError::InvalidParameter(format!(
                "{} queries with limit {} and offset {} find {} rows: at most {MAX_HITS} in one request",
                request.nq,
                request.limit,
                request.offset,
                request.nq * found
            )));
        }
        let metric = spec.metric;
        let steps = cost(&targets, &spec, request.nq);
        let search = move |wanted: Wanted<'_>| search_targets(&targets, &spec, &queries.all()?, wanted);
        let (mut found, _) = resources.compute.run(steps, search).await??;

        let primary_key = &request.collection.schema().primary_key()?.name;
        let mut counts = Vec::with_capacity(found.len());
        let mut hits: Vec<Hit> = Vec::new();
        for of_query in &mut found {
            order_equals(&snapshot.units, primary_key, of_query).await?;
            let wanted = of_query.get(request.offset..).unwrap_or_default();
            counts.push(wanted.len());
            hits.extend_from_slice(wanted);
        }
        let rows = take_rows(&snapshot.units, &column_names(&output), Some(&output), &hits).await?;
        Ok(SearchResponse {
            counts,
            rows: with_scores(&rows, &hits, metric)?,
            metric,
        })
    }

    /// The plan that [`Engine::search`] stands for, as `EXPLAIN` would show it.
    ///
    /// # Errors
    /// As [`Engine::search`].
    pub fn explain_search(&self, request: &SearchRequest) -> Result<String> {
        let plan = self.search_plan(request)?;
        Ok(displayable(plan.as_ref()).indent(false).to_string())
    }

    /// The operators of a search, output and scores included; offsets are not part of it.
    pub(crate) fn search_plan(&self, request: &SearchRequest) -> Result<Arc<dyn ExecutionPlan>> {
        let Checked {
            snapshot,
            units,
            predicates,
            spec,
            data_type,
            queries,
            output,
        } = self.check_search(request)?;
        let (k, metric) = (spec.k, spec.metric);
        let several = request.nq > 1;
        let mut groups = group_units(&snapshot.units, self.inner.resources.compute.threads());
        for group in &mut groups {
            group.retain(|number| units.contains(number));
        }
        let queries = QuerySource::Vectors {
            vectors: queries,
            nq: request.nq,
        };
        let collection = Arc::clone(&request.collection);
        let mut plan: Arc<dyn ExecutionPlan> = Arc::new(AnnSearchExec::new(
            Arc::clone(&collection),
            Arc::clone(&snapshot),
            groups,
            spec,
            data_type,
            queries,
            predicates,
            Arc::clone(&self.inner.resources),
        ));
        if let Some(ordering) = hit_ordering(several) {
            plan = Arc::new(SortPreservingMergeExec::new(ordering, plan).with_fetch((!several).then_some(k)));
        }
        if several {
            plan = Arc::new(TopKPerQueryExec::new(plan, k));
        }
        Ok(Arc::new(TakeRowsExec::with_score(
            plan, collection, snapshot, output, metric,
        )))
    }

    fn check_search(&self, request: &SearchRequest) -> Result<Checked> {
        let SearchRequest {
            collection,
            nq,
            limit,
            offset,
            ..
        } = request;
        if *limit == 0 || limit.saturating_add(*offset) > MAX_NEIGHBOURS {
            return Err(QueryError::InvalidParameter(format!(
                "limit {limit} with offset {offset} is out of range: limit is at least 1, both together at most {MAX_NEIGHBOURS}"
            )));
        }
        if *nq == 0 || *nq > MAX_QUERIES {
            return Err(QueryError::InvalidParameter(format!(
                "number of queries {nq} is out of range: allowed are 1 to {MAX_QUERIES}"
            )));
        }
        let k = limit + offset;
        let data_type = vector_type(collection, &request.field)?;
        let queries = QueryVectors::of_request(&request.field, &data_type, &request.queries, *nq)?;
        let (index_metric, kind) = index_of(collection, &request.field);
        let Some(metric) = request.metric.or(index_metric) else {
            return Err(QueryError::InvalidParameter(format!(
                "no metric given and field '{}' has no index to take it from; allowed are {}",
                request.field,
                if matches!(data_type, DataType::BinaryVector { .. }) {
                    "HAMMING, JACCARD"
                } else {
                    "L2, IP, COSINE"
                }
            )));
        };
        let params = SearchParams::parse(kind, &request.params, k)
            .map_err(|e| QueryError::InvalidParameter(e.to_string()))?;
        let params = SearchParams {
            within: request.range.window(metric)?,
            ..params
        };
        let predicates = self.compiled(collection, request.filter.as_ref())?;
        let output = output_schema(collection, &request.output)?;
        let partitions = Self::loaded_partitions(collection, &request.partitions)?;
        let snapshot = collection.snapshot();
        let units = readable_units(&snapshot, collection, &partitions, request.ignore_growing);
        let spec = SearchSpec {
            field: request.field.clone(),
            metric,
            k,
            params,
            exact: false,
            undefined: Undefined::Skip,
            ties: false,
        };
        Ok(Checked {
            snapshot,
            units,
            predicates,
            spec,
            data_type,
            queries,
            output,
        })
    }
}

fn vector_type(collection: &Collection, name: &str) -> Result<DataType> {
    let schema = collection.schema();
    match schema.field(name).map(|field| &field.data_type) {
        Some(vector) if vector.is_vector() => Ok(vector.clone()),
        Some(other) => Err(QueryError::InvalidParameter(format!(
            "field '{name}' is {}, not a vector field",
            other.name()
        ))),
        None => {
            let known: Vec<&str> = schema.vector_fields().map(|field| field.name.as_str()).collect();
            let known = did_you_mean(name, &known, "vector fields");
            Err(QueryError::InvalidParameter(format!(
                "field '{name}' not found{known}"
            )))
        }
    }
}

fn index_of(collection: &Collection, field: &str) -> (Option<AnyMetric>, IndexKind) {
    let index = collection
        .indexes()
        .into_iter()
        .find(|index| index.field == field);
    let kind = index
        .as_ref()
        .and_then(|index| index.build.as_ref())
        .map_or(IndexKind::Flat, BuildParams::kind);
    (index.and_then(|index| index.metric), kind)
}

/// Positions of the units of these partitions that a request may read.
pub(super) fn readable_units(
    snapshot: &Snapshot,
    collection: &Collection,
    partitions: &[i64],
    ignore_growing: bool,
) -> Vec<u32> {
    let loaded = if partitions.is_empty() {
        collection.loaded_partitions()
    } else {
        None
    };
    snapshot
        .units
        .iter()
        .enumerate()
        .filter(|(_, unit)| partitions.is_empty() || partitions.contains(&unit.partition()))
        .filter(|(_, unit)| {
            loaded
                .as_ref()
                .is_none_or(|loaded| loaded.contains(&unit.partition()))
        })
        .filter(|(_, unit)| unit.live_rows() > 0 && (unit.sealed() || !ignore_growing))
        .map(|(number, _)| u32::try_from(number).unwrap_or(u32::MAX))
        .collect()
}

/// The named columns as a schema.
pub(super) fn output_schema(collection: &Collection, names: &[String]) -> Result<SchemaRef> {
    let schema = collection.arrow_schema();
    let fields = names
        .iter()
        .map(|name| {
            schema
                .fields()
                .find(name)
                .map(|(_, field)| Arc::clone(field))
                .ok_or_else(|| {
                    let known = did_you_mean(name, &column_names(schema), "fields");
                    QueryError::InvalidParameter(format!("output field '{name}' not found{known}"))
                })
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(Schema::new(fields)))
}

fn with_scores(rows: &RecordBatch, hits: &[Hit], metric: AnyMetric) -> Result<RecordBatch> {
    let mut fields: Vec<_> = rows.schema_ref().fields().iter().cloned().collect();
    fields.push(Arc::new(ArrowField::new(SCORE_COLUMN, ArrowType::Float32, false)));
    let scores = hits
        .iter()
        .map(|hit| metric.score(hit.distance.unwrap_or(f32::NAN)));
    let mut columns = rows.columns().to_vec();
    columns.push(Arc::new(Float32Array::from_iter_values(scores)) as ArrayRef);
    let options = RecordBatchOptions::new().with_row_count(Some(hits.len()));
    Ok(RecordBatch::try_new_with_options(
        Arc::new(Schema::new(fields)),
        columns,
        &options,
    )?)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use arrow::array::AsArray;
    use arrow::compute::concat_batches;
    use arrow::datatypes::UInt32Type;
    use datafusion::physical_plan::collect;
    use elanus_collection::{Collections, Options};
    use object_store::memory::InMemory;

    use super::*;
    use crate::{DEFAULT_DATABASE, EngineOptions, FilterText};

    /// Rows of `(id, v)` in three segments and one growing chunk, searched by two queries.
    async fn engine_and_request() -> (Engine, SearchRequest) {
        let options = Options {
            background: false,
            ..Options::default()
        };
        let collections = Collections::open(Arc::new(InMemory::new()), options)
            .await
            .unwrap();
        let engine = Engine::new(
            collections,
            &EngineOptions {
                query_threads: 3,
                ..EngineOptions::default()
            },
        )
        .unwrap();
        let sql = async |text: &str| engine.sql(DEFAULT_DATABASE, text).await.unwrap();
        sql("CREATE TABLE t (id BIGINT PRIMARY KEY, v VECTOR(2) NOT NULL)").await;
        sql("CREATE INDEX i ON t USING flat (v)").await;
        let collection = engine.collections().collection(DEFAULT_DATABASE, "t").unwrap();
        for part in 0..4 {
            let rows: Vec<String> = (0..20)
                .map(|i| format!("({}, '[{}, {i}]')", i * 4 + part, i % 5))
                .collect();
            sql(&format!("INSERT INTO t VALUES {}", rows.join(", "))).await;
            if part < 3 {
                collection.flush().await.unwrap();
            }
        }
        collection.load(None).await.unwrap();
        let request = SearchRequest {
            collection,
            field: "v".into(),
            queries: vec![1.0, 2.0, 4.0, 17.0].into(),
            nq: 2,
            limit: 9,
            offset: 0,
            metric: None,
            params: BTreeMap::new(),
            range: crate::ScoreRange::default(),
            filter: Some(FilterText {
                text: "id % 3 != 1".into(),
                ..FilterText::default()
            }),
            partitions: Vec::new(),
            output: vec!["id".into()],
            ignore_growing: false,
        };
        (engine, request)
    }

    #[tokio::test]
    async fn the_operators_give_what_the_direct_request_gives() {
        let (engine, request) = engine_and_request().await;
        for request in [
            request.clone(),
            SearchRequest {
                nq: 1,
                queries: vec![1.0, 2.0].into(),
                ..request
            },
        ] {
            let direct = engine.search(request.clone()).await.unwrap();
            let plan = engine.search_plan(&request).unwrap();
            let batches = collect(Arc::clone(&plan), engine.inner.base.task_ctx())
                .await
                .unwrap();
            let rows = concat_batches(&plan.schema(), &batches).unwrap();
            assert_eq!(
                rows.column_by_name(SCORE_COLUMN),
                direct.rows.column_by_name(SCORE_COLUMN)
            );
            let queries = rows
                .column_by_name("_query")
                .unwrap()
                .as_primitive::<UInt32Type>()
                .values();
            let counts: Vec<usize> = (0..request.nq)
                .map(|query| queries.iter().filter(|q| **q as usize == query).count())
                .collect();
            assert_eq!(counts, direct.counts);
        }
    }
}
