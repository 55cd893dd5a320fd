//! The search request: the operators' stages called one after the other, without a plan.
//!
//! ```text
//!   filter -> bits (cached) -> units searched (query threads, or here when short) -> k best
//!          -> page -> equal distances by key -> output columns of the winners -> scores
//!   grouped: units searched again and wider until there are enough groups
//!   reranked: new scores between the k best and their order by key
//! ```

use std::sync::Arc;

use arrow::array::{ArrayRef, Float32Array, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::datatypes::{DataType as ArrowType, Field as ArrowField, Schema, SchemaRef};
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::{ExecutionPlan, displayable};
use elanus_collection::{Collection, DataType, Snapshot};
use elanus_index::{AnyMetric, BuildParams, IndexKind, MinHash, MinHashParams, ParamError, SearchParams};

use super::Engine;
use crate::compute::Wanted;
use crate::error::{QueryError, Result, did_you_mean};
use crate::fusion::{ScoreMode, Scoring};
use crate::grouping::{GroupSpec, GroupedSearch, Groups, best_first, best_groups};
use crate::index_filter::IndexUse;
use crate::operators::ann_search::{AnnSearchExec, QuerySource};
use crate::operators::rerank::RerankExec;
use crate::operators::take_rows::TakeRowsExec;
use crate::operators::top_k_per_query::TopKPerQueryExec;
use crate::operators::{column_names, group_units, hit_ordering};
use crate::ordering::{SortKey, order_equal_groups, order_groups, order_hits};
use crate::plan::distance::SIGNATURE_BITS;
use crate::plugins::Searched;
use crate::predicate::Predicate;
use crate::query_vectors::QueryVectors;
use crate::request::{ELEMENT_COLUMN, FilterText, Queries, SCORE_COLUMN, SearchRequest, SearchResponse};
use crate::rerank::{Rerank, Reranker};
use crate::search::{
    Hit, MAX_NEIGHBOURS, SearchSpec, Target, Undefined, cost, findable, order_equals, restrict_elements,
    search_targets, select_targets, take_rows,
};
use crate::text_queries::{TextQueries, signatures};

/// Most queries in one request.
const MAX_QUERIES: usize = 16_384;
/// Most rows that all queries of one request find, skipped ones included.
const MAX_HITS: usize = 1 << 24;

/// A search request that has been checked.
pub(super) struct Checked {
    snapshot: Arc<Snapshot>,
    /// Positions in the snapshot of the units to search.
    units: Vec<u32>,
    predicates: Vec<Arc<Predicate>>,
    /// What is searched.
    pub spec: SearchSpec,
    data_type: DataType,
    queries: QueryVectors,
    output: SchemaRef,
    reranker: Option<Reranker>,
}

impl Engine {
    /// Finds the nearest rows of each query.
    ///
    /// # Errors
    /// [`QueryError::InvalidParameter`] for values out of range, [`QueryError::Filter`] for the
    /// filter, and what the collection says about names and load state.
    pub async fn search(&self, request: SearchRequest) -> Result<SearchResponse> {
        let checked = self.check_search(&request, None)?;
        let (snapshot, output) = (Arc::clone(&checked.snapshot), Arc::clone(&checked.output));
        let (limit, offset) = (request.limit, request.offset);
        let order = request.order.iter().map(|by| by.key(request.collection.schema()));
        let order: Vec<SortKey> = order.collect::<Result<_>>()?;
        let mut scoring = Scoring::Metric(checked.spec.metric);
        let reranker = checked.reranker.clone();
        let primary_key = &request.collection.schema().primary_key()?.name;
        if let Some(spec) = checked.spec.group.clone() {
            let mut pages = Vec::with_capacity(request.nq);
            let found = self.find_groups(&request, checked).await?;
            for (query, mut groups) in found.into_iter().enumerate() {
                if let Some(reranker) = &reranker {
                    let hits = groups.into_iter().flatten().collect();
                    let hits = reranker
                        .rerank(&snapshot.units, primary_key, scoring, query, hits)
                        .await?;
                    groups = best_groups(spec.of_hits(&snapshot.units, &hits).await?, ScoreMode::Max);
                }
                let mut page: Groups = groups.into_iter().skip(offset).collect();
                if reranker.is_none() {
                    page = order_equal_groups(&snapshot.units, primary_key, page).await?;
                }
                let page = order_groups(&snapshot.units, &order, page, &self.inner.resources.compute).await?;
                pages.push(page.into_iter().flatten().collect());
            }
            if let Some(reranker) = &reranker {
                scoring = reranker.scoring(scoring);
            }
            return self.answer(&snapshot, &output, pages, scoring, &[]).await;
        }
        let found = self.find(&request, checked).await?;
        let mut pages = Vec::with_capacity(found.len());
        for (query, hits) in found.into_iter().enumerate() {
            pages.push(match &reranker {
                Some(reranker) => {
                    let hits = reranker
                        .rerank(&snapshot.units, primary_key, scoring, query, hits)
                        .await?;
                    page(hits, offset, limit)
                }
                // Keys decide within a page only: they are not known of the equals that were not found, so a key could bring
                // a row of the page before into this one.
                None => {
                    let mut page = page(hits, offset, limit);
                    order_equals(&snapshot.units, primary_key, &mut page).await?;
                    page
                }
            });
        }
        if let Some(reranker) = &reranker {
            scoring = reranker.scoring(scoring);
        }
        self.answer(&snapshot, &output, pages, scoring, &order).await
    }

    /// The hits of each query, skipped ones included, best first; equal distances in the order of [`Hit::total`].
    pub(super) async fn find(&self, request: &SearchRequest, checked: Checked) -> Result<Vec<Vec<Hit>>> {
        if checked.spec.group.is_some() {
            return Ok(best_first(self.find_groups(request, checked).await?));
        }
        let targets = self.targets(request, &checked).await?;
        let Checked { spec, queries, .. } = checked;
        let steps = cost(&targets, &spec, request.nq);
        let search = move |wanted: Wanted<'_>| search_targets(&targets, &spec, &queries.all()?, wanted);
        let (found, _) = self.inner.resources.compute.run(steps, search).await??;
        Ok(found)
    }

    /// The groups of each query, skipped ones included.
    async fn find_groups(&self, request: &SearchRequest, checked: Checked) -> Result<Vec<Groups>> {
        let targets = self.targets(request, &checked).await?;
        let Some(group) = &checked.spec.group else {
            return Err(QueryError::Internal(
                "a search without groups was taken for one with".into(),
            ));
        };
        let search = GroupedSearch {
            snapshot: &checked.snapshot,
            targets,
            spec: &checked.spec,
            group,
            queries: &checked.queries,
            nq: request.nq,
        };
        let (groups, _) = search.run(&self.inner.resources).await?;
        Ok(groups)
    }

    /// The units to search with the rows that may be found, when the answer is not too large.
    async fn targets(&self, request: &SearchRequest, checked: &Checked) -> Result<Vec<Target>> {
        let Checked {
            snapshot,
            units,
            predicates,
            spec,
            ..
        } = checked;
        let mut used = IndexUse::default();
        let mut targets = select_targets(
            snapshot,
            units,
            None,
            predicates,
            &self.inner.resources,
            &mut used,
        )
        .await?;
        restrict_elements(&mut targets, spec, predicates, &self.inner.resources).await?;
        let found = findable(&targets, spec).min(spec.k);
        if request.nq.saturating_mul(found) > MAX_HITS {
            return Err(QueryError::InvalidParameter(format!(
                "{} queries with limit {} and offset {} find {} rows: at most {MAX_HITS} in one request",
                request.nq,
                request.limit,
                request.offset,
                request.nq * found
            )));
        }
        Ok(targets)
    }

    /// The plan that [`Engine::search`] stands for, as `EXPLAIN` would show it.
    ///
    /// # Errors
    /// As [`Engine::search`].
    pub fn explain_search(&self, request: &SearchRequest) -> Result<String> {
        let plan = self.search_plan(request)?;
        Ok(displayable(plan.as_ref()).indent(false).to_string())
    }

    /// The operators of a search, output and scores included; offsets and the order of columns are not part of it.
    pub(crate) fn search_plan(&self, request: &SearchRequest) -> Result<Arc<dyn ExecutionPlan>> {
        let mut checked = self.check_search(request, None)?;
        let (snapshot, output) = (Arc::clone(&checked.snapshot), Arc::clone(&checked.output));
        let mut scoring = Scoring::Metric(checked.spec.metric);
        let reranker = checked.reranker.take();
        let collection = Arc::clone(&request.collection);
        let mut plan = self.hits_plan(request, checked)?;
        if let Some(reranker) = reranker {
            let (before, table, nq) = (scoring, Arc::clone(&collection), request.nq);
            scoring = reranker.scoring(before);
            plan = Arc::new(RerankExec::new(
                plan,
                reranker,
                before,
                table,
                Arc::clone(&snapshot),
                nq,
            ));
        }
        Ok(Arc::new(TakeRowsExec::with_score(
            plan, collection, snapshot, output, scoring,
        )))
    }

    /// The operators that give the hits of a search in one partition, best first.
    pub(super) fn hits_plan(
        &self,
        request: &SearchRequest,
        checked: Checked,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let Checked {
            snapshot,
            units,
            predicates,
            spec,
            data_type,
            queries,
            ..
        } = checked;
        let (k, several) = (spec.k, request.nq > 1);
        // Groups are known only when all units were searched.
        let partitions = match spec.group {
            Some(_) => 1,
            None => self.inner.resources.compute.threads(),
        };
        let mut parts = group_units(&snapshot.units, partitions);
        for part in &mut parts {
            part.retain(|number| units.contains(number));
        }
        let queries = QuerySource::Vectors {
            vectors: queries,
            nq: request.nq,
        };
        let mut plan: Arc<dyn ExecutionPlan> = Arc::new(AnnSearchExec::new(
            Arc::clone(&request.collection),
            snapshot,
            parts,
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
        Ok(plan)
    }

    /// The rows of the hits of each query, with their scores, in the order of columns where one is asked for.
    pub(super) async fn answer(
        &self,
        snapshot: &Snapshot,
        output: &SchemaRef,
        mut pages: Vec<Vec<Hit>>,
        scoring: Scoring,
        order: &[SortKey],
    ) -> Result<SearchResponse> {
        let compute = &self.inner.resources.compute;
        for hits in &mut pages {
            let unordered = std::mem::take(hits);
            *hits = order_hits(&snapshot.units, order, unordered, None, compute).await?;
        }
        let counts = pages.iter().map(Vec::len).collect();
        let hits: Vec<Hit> = pages.into_iter().flatten().collect();
        let rows = take_rows(&snapshot.units, &column_names(output), Some(output), &hits).await?;
        Ok(SearchResponse {
            counts,
            rows: with_scores(&rows, &hits, scoring)?,
            scoring,
        })
    }

    /// What a request that has been checked is of, as a plugin may see it.
    pub(super) fn searched_by(request: &SearchRequest, checked: &Checked) -> (String, DataType, QuerySource) {
        arm_of(request, &checked.data_type, &checked.queries)
    }

    /// Checks a request and makes it ready, over `snapshot` when there is one.
    pub(super) fn check_search(
        &self,
        request: &SearchRequest,
        snapshot: Option<&Arc<Snapshot>>,
    ) -> Result<Checked> {
        let SearchRequest {
            collection,
            nq,
            limit,
            offset,
            ..
        } = request;
        // Deep pages are for those who come page by page, over the same rows.
        let depth = if request.snapshot.is_some() {
            *limit
        } else {
            limit.saturating_add(*offset)
        };
        if *limit == 0 || depth > MAX_NEIGHBOURS {
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
        let k = match &request.rerank {
            Some(rerank) => rerank.candidates(k)?,
            None => k,
        };
        let data_type = vector_type(collection, &request.field)?;
        let (index_metric, kind, read_as) = index_of(collection, &request.field);
        let metric = request.metric.or(index_metric);
        // The metric says whether lists are searched as a whole or their vectors one by one.
        let (elements, data_type) = match (data_type, metric) {
            (DataType::VectorArray { element }, Some(AnyMetric::Numbers(_) | AnyMetric::Bits(_))) => {
                (true, *element)
            }
            (data_type, _) => (false, data_type),
        };
        let snapshot = snapshot.or(request.snapshot.as_ref());
        let snapshot = snapshot.map_or_else(|| collection.snapshot(), Arc::clone);
        let queries = match &request.queries {
            Queries::Texts { texts, analyzer } => {
                let field = (request.field.as_str(), analyzer.as_deref());
                match signatures(collection, field, texts)? {
                    Some(column) => {
                        QueryVectors::of_request(&request.field, &data_type, &Queries::Column(column), *nq)?
                    }
                    None => QueryVectors::Texts(TextQueries::new(collection, &snapshot, field, texts)?),
                }
            }
            vectors @ (Queries::Floats(_) | Queries::Column(_)) => {
                QueryVectors::of_request(&request.field, &data_type, vectors, *nq)?
            }
        };
        let of_texts = match collection.schema().function_of(&request.field) {
            Some(function) if !function.is_bm25() => Some(MinHash::similarity(SIGNATURE_BITS).into()),
            Some(_) | None => matches!(queries, QueryVectors::Texts(_)).then_some(AnyMetric::Bm25),
        };
        let Some(metric) = metric.or(of_texts) else {
            return Err(QueryError::InvalidParameter(format!(
                "no metric given and field '{}' has no index to take it from; allowed are {}",
                request.field,
                match &data_type {
                    DataType::BinaryVector { .. } => "HAMMING, JACCARD, MHJACCARD",
                    DataType::VectorArray { .. } =>
                        "the metrics of its vectors, MAX_SIM_COSINE, MAX_SIM_IP, MAX_SIM_L2, MAX_SIM_HAMMING, MAX_SIM_JACCARD",
                    _ => "L2, IP, COSINE",
                }
            )));
        };
        let refused = |e: ParamError| QueryError::InvalidParameter(e.to_string());
        let metric = match metric.minhash() {
            None => metric,
            // How signatures are read says their index; without one, as in Milvus, the search.
            Some(_) => read_as
                .map_or_else(|| MinHashParams::parse(&request.params), Ok)
                .and_then(|read_as| read_as.searched_by(&request.params))
                .map_err(refused)?
                .into(),
        };
        let params = SearchParams::parse(kind, &request.params, k).map_err(refused)?;
        let params = SearchParams {
            within: request.range.window(metric)?,
            ..params
        };
        let predicates = self.compiled(collection, request.filter.as_ref())?;
        // Before the output, which has the fields of groups too.
        if elements {
            check_elements(request, &predicates)?;
        }
        let group = self.check_kind(request)?;
        let output = output_schema(collection, &request.output)?;
        let partitions = Self::loaded_partitions(collection, &request.partitions)?;
        let units = readable_units(&snapshot, collection, &partitions, request.ignore_growing);
        let rows_of_group = group.as_ref().map_or(1, |group| group.size);
        let spec = SearchSpec {
            field: request.field.clone(),
            metric,
            k: k.saturating_mul(rows_of_group),
            params,
            exact: false,
            undefined: Undefined::Skip,
            ties: false,
            elements,
            group,
        };
        let compile = |filter: &FilterText| self.compiled(collection, Some(filter));
        let reranker = request
            .rerank
            .as_ref()
            .map(|rerank| {
                let searched = || Searched {
                    arms: vec![arm_of(request, &data_type, &queries)],
                    text: None,
                    limit: limit + offset,
                };
                Reranker::new(rerank, collection.schema(), request.nq, searched, compile)
            })
            .transpose()?;
        Ok(Checked {
            snapshot,
            units,
            predicates,
            spec,
            data_type,
            queries,
            output,
            reranker,
        })
    }

    /// Checks groups, ranker and order, alone and together; gives the groups.
    fn check_kind(&self, request: &SearchRequest) -> Result<Option<GroupSpec>> {
        let SearchRequest {
            collection,
            group,
            rerank,
            order,
            ..
        } = request;
        let schema = collection.schema();
        for (together, what) in [
            (
                group.is_some() && matches!(rerank, Some(Rerank::Boost(_))),
                "a boost ranker together with grouping",
            ),
            (
                group.as_ref().is_some_and(|group| group.by.len() > 1) && !order.is_empty(),
                "order_by_fields together with several fields to group by",
            ),
            (
                rerank.is_some() && !order.is_empty(),
                "order_by_fields together with a reranker",
            ),
        ] {
            if together {
                return Err(QueryError::Unsupported(what.into()));
            }
        }
        for by in order {
            by.key(schema)?;
        }
        let Some(group) = group else { return Ok(None) };
        Ok(Some(GroupSpec {
            keys: group.keys(schema)?,
            groups: request.limit + request.offset,
            size: group.size,
            fill: group.fill,
        }))
    }
}

/// Refuses what a search of elements does not go together with.
fn check_elements(request: &SearchRequest, predicates: &[Arc<Predicate>]) -> Result<()> {
    let field = &request.field;
    for filter in predicates.iter().filter_map(|predicate| predicate.elements()) {
        filter.check(field)?;
    }
    let key = &request.collection.schema().primary_key()?.name;
    match &request.group {
        Some(group) if group.by != [key.as_str()] => Err(QueryError::InvalidParameter(format!(
            "a search of elements (of '{field}') is grouped by the primary key '{key}' only, got {}",
            group.by.join(", ")
        ))),
        Some(_) | None => Ok(()),
    }
}

/// What a search is of, as a plugin may see it.
fn arm_of(
    request: &SearchRequest,
    data_type: &DataType,
    queries: &QueryVectors,
) -> (String, DataType, QuerySource) {
    let source = QuerySource::Vectors {
        vectors: queries.clone(),
        nq: request.nq,
    };
    (request.field.clone(), data_type.clone(), source)
}

/// What is left of the hits when an offset was skipped.
pub(super) fn page(mut hits: Vec<Hit>, offset: usize, limit: usize) -> Vec<Hit> {
    hits.drain(..offset.min(hits.len()));
    hits.truncate(limit);
    hits
}

fn vector_type(collection: &Collection, name: &str) -> Result<DataType> {
    let schema = collection.schema();
    if let Some(column) = schema.vector_column(name) {
        return Ok(column.data_type);
    }
    Err(QueryError::InvalidParameter(match schema.field(name) {
        Some(other) => format!("field '{name}' is {}, not a vector field", other.data_type.name()),
        None => {
            let known: Vec<String> = schema.vector_columns().map(|field| field.name).collect();
            let known: Vec<&str> = known.iter().map(String::as_str).collect();
            format!(
                "field '{name}' not found{}",
                did_you_mean(name, &known, "vector fields")
            )
        }
    }))
}

/// Metric and kind of the index on a field, and how it reads signatures.
fn index_of(collection: &Collection, field: &str) -> (Option<AnyMetric>, IndexKind, Option<MinHashParams>) {
    let index = collection
        .indexes()
        .into_iter()
        .find(|index| index.field == field);
    let kind = index
        .as_ref()
        .and_then(|index| index.build.as_ref())
        .map_or(IndexKind::Flat, BuildParams::kind);
    let read_as = index.as_ref().and_then(|index| index.signatures);
    (index.and_then(|index| index.metric), kind, read_as)
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

fn with_scores(rows: &RecordBatch, hits: &[Hit], scoring: Scoring) -> Result<RecordBatch> {
    let mut fields: Vec<_> = rows.schema_ref().fields().iter().cloned().collect();
    let mut columns = rows.columns().to_vec();
    let elements: Option<Vec<u32>> = hits.iter().map(|hit| hit.element).collect();
    if let Some(elements) = elements.filter(|elements| !elements.is_empty()) {
        fields.push(Arc::new(ArrowField::new(
            ELEMENT_COLUMN,
            ArrowType::UInt32,
            false,
        )));
        columns.push(Arc::new(UInt32Array::from(elements)));
    }
    fields.push(Arc::new(ArrowField::new(SCORE_COLUMN, ArrowType::Float32, false)));
    let scores = hits
        .iter()
        .map(|hit| scoring.score(hit.distance.unwrap_or(f32::NAN)));
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
    use arrow::datatypes::{Float32Type, Int64Type, UInt32Type};
    use datafusion::physical_plan::collect;
    use elanus_collection::{Collections, Options};
    use object_store::memory::InMemory;

    use super::*;
    use crate::{
        DEFAULT_DATABASE, Decay, DecayCurve, EngineOptions, FilterText, Fusion, Grouping, HybridRequest,
    };

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
            group: None,
            rerank: None,
            collapse: None,
            order: Vec::new(),
            snapshot: None,
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

    /// The ids and scores of the rows that a plan gives.
    async fn rows_of(engine: &Engine, plan: Arc<dyn ExecutionPlan>) -> Vec<(i64, f32)> {
        let batches = collect(Arc::clone(&plan), engine.inner.base.task_ctx())
            .await
            .unwrap();
        pairs(&concat_batches(&plan.schema(), &batches).unwrap())
    }

    fn pairs(rows: &RecordBatch) -> Vec<(i64, f32)> {
        let ids = rows.column(0).as_primitive::<Int64Type>().values();
        let scores = rows
            .column_by_name(SCORE_COLUMN)
            .unwrap()
            .as_primitive::<Float32Type>();
        ids.iter().copied().zip(scores.values().iter().copied()).collect()
    }

    #[tokio::test]
    async fn groups_rerankers_and_fusion_are_operators_too() {
        let (engine, request) = engine_and_request().await;
        let (one, two) = (vec![1.0, 2.0], vec![4.0, 17.0]);
        let request = |query: &[f32]| SearchRequest {
            nq: 1,
            queries: query.to_vec().into(),
            ..request.clone()
        };
        let grouped = SearchRequest {
            group: Some(Grouping {
                by: vec!["id".into()],
                json: crate::JsonCast::default(),
                size: 2,
                fill: true,
            }),
            ..request(&one)
        };
        let decayed = SearchRequest {
            rerank: Some(Rerank::Decay(Decay {
                curve: DecayCurve::Exp,
                field: "id".into(),
                origin: 30.0,
                scale: 20.0,
                offset: 0.0,
                decay: 0.5,
                normalize: false,
            })),
            ..request(&one)
        };
        for request in [grouped, decayed] {
            let direct = engine.search(request.clone()).await.unwrap();
            let plan = engine.search_plan(&request).unwrap();
            assert_eq!(rows_of(&engine, plan).await, pairs(&direct.rows));
        }
        let hybrid = HybridRequest {
            collection: Arc::clone(&request(&one).collection),
            arms: vec![request(&one), request(&two)],
            fusion: Fusion::Weighted {
                weights: vec![0.5, 0.7],
                normalize: true,
            },
            rerank: None,
            group: None,
            group_score: ScoreMode::Max,
            limit: 12,
            offset: 0,
            output: vec!["id".into()],
            snapshot: None,
        };
        let direct = engine.hybrid_search(hybrid.clone()).await.unwrap();
        let plan = engine.hybrid_plan(&hybrid).unwrap();
        let rows = rows_of(&engine, plan).await;
        assert_eq!(rows, pairs(&direct.rows));
        assert!(rows.len() == 12 && rows.is_sorted_by(|a, b| a.1 >= b.1));
    }
}
