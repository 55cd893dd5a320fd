//! Search: nearest neighbours of one or more query vectors.

use std::sync::Arc;
use std::time::Instant;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Float32Type, UInt32Type};
use elanus_collection::{Collection, DataType, Field, Snapshot, split_sub_field_name};
use elanus_index::AnyMetric;
use elanus_query::{ELEMENT_COLUMN, GroupKey, QueryRequest, Rerank, Scoring, SearchRequest, SearchResponse};
use milvus::proto::milvus as wire;
use milvus::proto::milvus::search_request::SearchInput;
use milvus::proto::schema::{LongArray, SearchIteratorV2Results, SearchResultData};
use prost::Message;

use crate::context::Context;
use crate::convert::facets::Facets;
use crate::convert::highlight::Highlight;
use crate::convert::{chains, keys, output, params, placeholder, plugin_rankers, rankers, results, time};
use crate::door::{Door, check_readable};
use crate::pins::Pin;
use crate::rpc::answer::{Answer, least_row_bytes};
use crate::rpc::{refuse_namespace, search_ids};
use crate::status::{Error, Result};

/// Column of the scores in the engine's answer.
const SCORE: &str = "_score";
/// Bytes of a score and of the shortest key.
pub(super) const SCORED_KEY_BYTES: u64 = 5;

pub(crate) async fn search(
    door: &Door,
    context: &Context,
    mut request: wire::SearchRequest,
) -> Result<wire::SearchResults> {
    let started = Instant::now();
    door.metrics().received("search", request.encoded_len());
    // What only a search of its own has; refused in the searches of a hybrid one.
    let (highlighter, aggregation) = (request.highlighter.take(), request.search_aggregation.take());
    let chains = std::mem::take(&mut request.function_chains);
    let chained = !chains.is_empty();
    refuse_features(&request)?;
    refuse_namespace(request.namespace.as_deref())?;
    let collection = door.collection(context, &request.db_name, &request.collection_name)?;
    let params = params::search(std::mem::take(&mut request.search_params))?;
    let iterator = params.iterator || params.page.is_some();
    let pin = match door
        .pins()
        .of(&collection, request.guarantee_timestamp, iterator)?
    {
        None if iterator => Some(door.pins().pin(&collection, door.timestamp())),
        pin => pin,
    };
    let collection = pin.as_ref().map_or(collection, |pin| Arc::clone(&pin.collection));
    let output = output::resolve(collection.schema(), &request.output_fields)?;
    let score = match request.function_score.take() {
        None => None,
        Some(score) => match plugin_rankers::of_search(&score, door.engine()).await? {
            Some(rerank) => Some(rerank),
            None => Some(rankers::of_search(score, door.engine().services())?),
        },
    };
    let mut rerank = match (score, chains::of_search(door.engine(), chains).await?) {
        (Some(_), Some(_)) => {
            return Err(Error::invalid(
                "function_chains and ranker cannot be used together",
            ));
        }
        (score, chain) => score.or(chain),
    };
    let paged = params.iterator || params.page.is_some();
    if params.collapse.is_some() {
        return Err(Error::invalid(
            "element_scope is for the searches of a hybrid search, which it brings together by rows",
        ));
    }
    if rerank.is_some() && paged {
        return Err(Error::unsupported("a reranker together with iteration"));
    }
    if matches!(rerank, Some(Rerank::Chains(_))) && chained && params.group.is_some() {
        return Err(Error::unsupported("function chains together with grouping"));
    }
    let page = match (&params.page, &pin) {
        (Some(page), Some(pin)) => Some(Page::of(page, pin)?),
        _ => None,
    };
    let (round_decimal, zone) = (params.round_decimal, params.zone);
    let time_parts = params.time_parts.clone();
    let (name, snapshot) = (
        request.collection_name.clone(),
        pin.as_ref().map(|pin| Arc::clone(&pin.snapshot)),
    );
    let mut read = arm(door, &collection, snapshot, params, request).await?;
    let instants = door.instants(&collection, zone, time_parts)?;
    if let Some(Rerank::Boost(boost)) = &mut rerank {
        let filters = boost.boosts.iter_mut().filter_map(|by| by.filter.as_mut());
        filters.for_each(|filter| filter.zone = Some(instants.zone));
    }
    read.rerank = rerank;
    let highlight = match highlighter {
        Some(_) if paged => {
            return Err(Error::unsupported("a highlighter together with iteration"));
        }
        highlighter => highlighter.map(|given| Highlight::of(given, &read)).transpose()?,
    };
    if let Some(page) = &page {
        page.ask(&mut read)?;
    }
    let facets = match aggregation {
        Some(spec) => {
            let others = [
                ("an offset", read.offset > 0),
                ("iteration", paged),
                ("grouping", read.group.is_some()),
                ("a highlighter", highlight.is_some()),
                ("a reranker", read.rerank.is_some()),
                ("order_by_fields", !read.order.is_empty()),
                ("time_fields", !instants.parts.is_empty()),
                ("a search of elements", searches_elements(&collection, &read)),
            ];
            let facets = Facets::of(spec, collection.schema(), read.nq)?;
            if let Some((other, _)) = others.iter().find(|(_, given)| *given) {
                return Err(Error::unsupported(format!(
                    "search_aggregation together with {other}"
                )));
            }
            facets.check_output(&output, collection.schema())?;
            (read.group, read.limit) = (Some(facets.grouping()), facets.groups);
            Some(facets)
        }
        None => None,
    };
    let key = collection.schema().primary_key()?;
    let grouped_by = match &read.group {
        Some(group) => group.keys(collection.schema())?,
        None => Vec::new(),
    };
    // The reply always needs the ids; a client that also asks for the key field gets it twice.
    read.output.clone_from(&output.columns);
    let looked_at = facets.as_ref().map(Facets::columns).unwrap_or_default();
    let keys = grouped_by.iter().map(|key| key.path().column());
    let highlighted = highlight.iter().flat_map(Highlight::columns);
    let others = highlighted.chain(&looked_at).map(String::as_str);
    for column in keys.chain([key.name.as_str()]).chain(others) {
        if !read.output.iter().any(|known| known == column) {
            read.output.push(column.to_string());
        }
    }
    let (nq, topk) = (read.nq, read.limit);
    let answer = Answer {
        kind: "search",
        queries: nq,
        limit: Some(topk.saturating_mul(read.group.as_ref().map_or(1, |group| group.size))),
        offset: read.offset,
        row_bytes: SCORED_KEY_BYTES + least_row_bytes(collection.schema(), &output.columns),
    };
    answer.expect(door, &collection, || matching(&read)).await?;
    let found = door.engine().search(read).await?;
    if let Some(facets) = facets {
        let scores = (exact_scores(&found.rows)?, scores(&found.rows, round_decimal)?);
        let (buckets, counts) =
            facets.buckets(collection.schema(), &found, scores, &output, instants.zone)?;
        let results = SearchResultData {
            num_queries: signed(nq),
            topks: vec![0; nq],
            agg_buckets: buckets,
            agg_topks: counts,
            output_fields: output.names,
            primary_field_name: key.name.clone(),
            ..Default::default()
        };
        let session_ts = collection.snapshot().timestamp;
        let named = (name, session_ts);
        return reply(door, &collection, (started, nq), answer, results, named);
    }
    let mut results = results_of(
        &collection,
        output,
        &grouped_by,
        &found,
        (topk, &instants, round_decimal),
    )?;
    if let Some(highlight) = highlight {
        results.highlight_results = highlight.results(&found.rows, &found.counts);
    }
    if let (Some(page), Some(pin)) = (page, &pin) {
        results.search_iterator_v2_results = Some(page.turn(pin, &exact_scores(&found.rows)?, found.scoring));
    }
    let session_ts = pin.map_or_else(|| collection.snapshot().timestamp, |pin| pin.session);
    reply(
        door,
        &collection,
        (started, nq),
        answer,
        results,
        (name, session_ts),
    )
}

/// What a message asks to be found, without output and reranking.
pub(super) async fn arm(
    door: &Door,
    collection: &Arc<Collection>,
    snapshot: Option<Arc<Snapshot>>,
    params: params::SearchParams,
    request: wire::SearchRequest,
) -> Result<SearchRequest> {
    let field = &vector_field(collection, params.field.as_deref())?;
    check_metric(collection, field, params.metric)?;
    check_readable(collection, &request.partition_names)?;
    let vector = if let DataType::VectorArray { element } = &field.data_type {
        element.as_ref()
    } else {
        &field.data_type
    };
    if params.group.is_some() && matches!(vector, DataType::BinaryVector { .. }) {
        return Err(Error::unsupported(
            "search_group_by operation based on binary vector column",
        ));
    }
    let metric = params.metric.or_else(|| metric_of(collection, &field.name));
    let in_structs = matches!(field.data_type, DataType::VectorArray { .. });
    let of_lists = in_structs && matches!(metric, Some(AnyMetric::MaxSim(_)) | None);
    let of_elements = in_structs && !of_lists;
    if of_elements && params.iterator && params.page.is_none() {
        return Err(Error::unsupported(format!(
            "the first version of search iterators on vectors in structs ({}); the second one, search_iter_v2, goes over elements",
            field.name
        )));
    }
    if of_lists && (params.group.is_some() || params.iterator || params.page.is_some()) {
        let what = if params.group.is_some() {
            "grouping"
        } else {
            "an iterator"
        };
        return Err(Error::unsupported(format!(
            "{what} together with a search by embedding lists ({})",
            field.name
        )));
    }
    let function = collection.schema().function_of(&field.name);
    let queries = match (request.search_input, function) {
        (Some(SearchInput::PlaceholderGroup(bytes)), Some(function)) => {
            placeholder::texts(&bytes, field, function, params.analyzer)?
        }
        _ if params.analyzer.is_some() => {
            return Err(Error::invalid(format!(
                "analyzer_name is for texts, field {} is filled by no function",
                field.name
            )));
        }
        (Some(SearchInput::PlaceholderGroup(bytes)), None) if of_elements => {
            let of_element = Field::new(&field.name, vector.clone());
            placeholder::vectors(&bytes, &of_element)?
        }
        (Some(SearchInput::PlaceholderGroup(bytes)), None) => placeholder::vectors(&bytes, field)?,
        (Some(SearchInput::Ids(_)), Some(_)) => {
            return Err(Error::unsupported(format!(
                "search by primary keys (ids) of field {}, which a function fills: it is searched by texts",
                field.name
            )));
        }
        (Some(SearchInput::Ids(_)), None) if in_structs => {
            return Err(Error::unsupported(format!(
                "search by primary keys (ids) of vectors in structs ({})",
                field.name
            )));
        }
        (Some(SearchInput::Ids(_)), None) if params.iterator || params.page.is_some() => {
            return Err(Error::unsupported("search by primary keys (ids) of an iterator"));
        }
        (Some(SearchInput::Ids(ids)), None) => {
            search_ids::vectors(door, collection, snapshot.clone(), field, ids).await?
        }
        (None, _) => return Err(placeholder::wrong_nq(0)),
    };
    let filter = door.filter(collection, params.zone, request.dsl, request.expr_template_values)?;
    Ok(SearchRequest {
        collection: Arc::clone(collection),
        field: field.name.clone(),
        queries: queries.values,
        nq: queries.nq,
        limit: params.topk,
        offset: params.offset,
        metric: params.metric,
        params: params.index,
        range: params.range,
        filter,
        partitions: request.partition_names,
        output: Vec::new(),
        ignore_growing: params.ignore_growing,
        group: params.group,
        rerank: None,
        collapse: params.collapse,
        order: params.order,
        snapshot,
    })
}

/// The rows that were found, as a reply has them. `shown` is the number asked for, the zone of instants and the decimals
/// of scores.
pub(super) fn results_of(
    collection: &Collection,
    output: output::Output,
    grouped_by: &[GroupKey],
    found: &SearchResponse,
    shown: (usize, &time::Shown, Option<i32>),
) -> Result<SearchResultData> {
    let (topk, instants, round_decimal) = shown;
    let schema = collection.schema();
    let groups = grouped_by
        .iter()
        .map(|key| results::group_to_wire(schema, key, &found.rows, instants.zone))
        .collect::<Result<Vec<_>>>()?;
    Ok(SearchResultData {
        num_queries: signed(found.counts.len()),
        top_k: signed(topk),
        fields_data: results::to_wire(schema, &output, &found.rows, instants)?,
        scores: scores(&found.rows, round_decimal)?,
        ids: Some(keys::to_wire(results::keys(schema, &found.rows)?)),
        topks: found.counts.iter().map(|count| signed(*count)).collect(),
        element_indices: element_indices(&found.rows)?,
        output_fields: output.names,
        primary_field_name: schema.primary_key()?.name.clone(),
        group_by_field_value: if let [only] = groups.as_slice() {
            Some(only.clone())
        } else {
            None
        },
        group_by_field_values: groups,
        ..Default::default()
    })
}

/// The reply, when it is not too large; `work` is when it began and how many queries it answers.
pub(super) fn reply(
    door: &Door,
    collection: &Collection,
    work: (Instant, usize),
    answer: Answer,
    results: SearchResultData,
    (collection_name, session_ts): (String, u64),
) -> Result<wire::SearchResults> {
    let (started, nq) = work;
    let reply = wire::SearchResults {
        results: Some(results),
        collection_name,
        session_ts,
        ..Default::default()
    };
    let bytes = reply.encoded_len();
    answer.check(bytes as u64)?;
    let name = collection.name();
    door.metrics().read(answer.kind, &name, started.elapsed(), bytes);
    door.metrics().searched(&collection.database(), &name, nq);
    Ok(reply)
}

/// A page of a search iterator: the rows from the last score of the page before on, without those that it had.
struct Page {
    token: String,
    size: usize,
    last_bound: Option<f32>,
    /// Rows of score `last_bound` that were returned.
    returned: usize,
}

impl Page {
    fn of(page: &params::IteratorPage, pin: &Pin) -> Result<Self> {
        let token = match &page.token {
            Some(token) => token.clone(),
            None => pin.new_token(),
        };
        let returned = match page.last_bound {
            Some(bound) => pin.returned(&token, bound)?,
            None => 0,
        };
        Ok(Self {
            token,
            size: page.size,
            last_bound: page.last_bound,
            returned,
        })
    }

    /// Makes a search one for this page.
    fn ask(&self, search: &mut SearchRequest) -> Result<()> {
        if search.nq != 1 {
            return Err(Error::invalid(format!(
                "search iterator does not support processing multiple vectors simultaneously, got {}",
                search.nq
            )));
        }
        search.limit = self.size;
        search.offset = self.returned;
        search.range.range_filter = self.last_bound.or(search.range.range_filter);
        Ok(())
    }

    /// Where the next page goes on.
    fn turn(self, pin: &Pin, scores: &[f32], scoring: Scoring) -> SearchIteratorV2Results {
        let (last_bound, returned) = match (scores.last(), self.last_bound) {
            (Some(last), before) => {
                let tied = scores.iter().filter(|score| *score == last).count();
                let carried = if before == Some(*last) { self.returned } else { 0 };
                (*last, carried + tied)
            }
            (None, Some(before)) => (before, self.returned),
            // Nothing at all: the next page begins behind every score.
            (None, None) if scoring.larger_is_better() => (f32::MIN, 0),
            (None, None) => (f32::MAX, 0),
        };
        pin.advance(&self.token, last_bound, returned);
        SearchIteratorV2Results {
            token: self.token,
            last_bound,
        }
    }
}

/// The rows that a search may find, as something to count.
pub(super) fn matching(search: &SearchRequest) -> QueryRequest {
    QueryRequest {
        collection: Arc::clone(&search.collection),
        filter: search.filter.clone(),
        keys: None,
        partitions: search.partitions.clone(),
        output: Vec::new(),
        limit: None,
        offset: 0,
        ignore_growing: search.ignore_growing,
        order: Vec::new(),
        snapshot: search.snapshot.clone(),
    }
}

fn signed(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Features that ride on fields of the message of their own.
pub(super) fn refuse_features(request: &wire::SearchRequest) -> Result<()> {
    for (what, asked) in [
        ("hybrid search (sub_reqs)", !request.sub_reqs.is_empty()),
        ("function chains", !request.function_chains.is_empty()),
        ("highlighter", request.highlighter.is_some()),
        ("search aggregation", request.search_aggregation.is_some()),
    ] {
        if asked {
            return Err(Error::unsupported(what));
        }
    }
    Ok(())
}

/// The field that is searched, or the vectors of a sub-field of structs as a field of their own.
fn vector_field(collection: &Collection, name: Option<&str>) -> Result<Field> {
    let schema = collection.schema();
    let names = || {
        let names: Vec<String> = schema.vector_columns().map(|field| field.name).collect();
        names.join(", ")
    };
    let Some(name) = name else {
        let mut fields = schema.vector_columns();
        return match (fields.next(), fields.next()) {
            (Some(only), None) => Ok(only),
            (Some(_), Some(_)) => Err(Error::invalid(format!(
                "multiple anns_fields exist, please specify a anns_field in search_params; vector fields are {}",
                names()
            ))),
            (None, _) => Err(Error::invalid("anns_field not found in schema")),
        };
    };
    if let Some(field) = schema.vector_column(name) {
        return Ok(field);
    }
    Err(match schema.field(name) {
        Some(other) => Error::invalid(format!(
            "failed to create query plan: field ({name}) to search is not of vector data type but {}; vector fields are {}",
            other.data_type.name(),
            names()
        )),
        None => Error::invalid(format!(
            "failed to create query plan: failed to get field schema by name: fieldName({name}) not found; vector fields are {}",
            names()
        )),
    })
}

/// A metric, when given, must be the one of the field's index.
fn check_metric(collection: &Collection, field: &Field, given: Option<AnyMetric>) -> Result<()> {
    let Some(given) = given else { return Ok(()) };
    match metric_of(collection, &field.name) {
        // By their names: how wide the elements of signatures are says the index alone.
        Some(metric) if metric.to_string() != given.to_string() => {
            Err(Error::expected("metric type not match", metric, given))
        }
        Some(_) | None => Ok(()),
    }
}

/// The metric of the index of a field.
fn metric_of(collection: &Collection, field: &str) -> Option<AnyMetric> {
    let indexes = collection.indexes();
    let index = indexes.iter().find(|index| index.field == field);
    index.and_then(|index| index.metric)
}

/// Whether a search is of the vectors of structs one by one.
fn searches_elements(collection: &Collection, search: &SearchRequest) -> bool {
    let metric = search.metric.or_else(|| metric_of(collection, &search.field));
    let is_of_vectors = matches!(metric, Some(AnyMetric::Numbers(_) | AnyMetric::Bits(_)));
    is_of_vectors && split_sub_field_name(&search.field).is_some()
}

/// The places of the vectors in their lists, where these were searched one by one.
fn element_indices(rows: &RecordBatch) -> Result<Option<LongArray>> {
    let Some(column) = rows.column_by_name(ELEMENT_COLUMN) else {
        return Ok(None);
    };
    let column = column.as_primitive_opt::<UInt32Type>().ok_or_else(|| {
        Error::unexpected("internal error: the elements in the result are of an unexpected type")
    })?;
    let data = column.values().iter().map(|element| i64::from(*element));
    Ok(Some(LongArray { data: data.collect() }))
}

/// The scores as they are.
fn exact_scores(rows: &RecordBatch) -> Result<Vec<f32>> {
    let column = rows
        .column_by_name(SCORE)
        .and_then(|column| column.as_primitive_opt::<Float32Type>())
        .filter(|column| column.null_count() == 0)
        .ok_or_else(|| Error::unexpected("internal error: the scores are missing in the result"))?;
    Ok(column.values().to_vec())
}

/// The scores, rounded when asked.
fn scores(rows: &RecordBatch, decimals: Option<i32>) -> Result<Vec<f32>> {
    let scores = exact_scores(rows)?;
    let Some(decimals) = decimals else {
        return Ok(scores);
    };
    // In double precision: a large distance times a million is no longer a float.
    let scale = 10.0_f64.powi(decimals);
    #[expect(clippy::cast_possible_truncation, reason = "a score is a float")]
    let rounded = |score: f32| ((f64::from(score) * scale).round() / scale) as f32;
    Ok(scores.into_iter().map(rounded).collect())
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Float32Array, UInt32Array};

    use super::*;

    fn batch(scores: Vec<f32>) -> RecordBatch {
        RecordBatch::try_from_iter([(SCORE, Arc::new(Float32Array::from(scores)) as ArrayRef)]).unwrap()
    }

    #[test]
    fn scores_are_rounded_on_request() {
        let rows = batch(vec![0.123_456, 2.0]);
        assert_eq!(scores(&rows, None).unwrap(), [0.123_456, 2.0]);
        assert_eq!(scores(&rows, Some(2)).unwrap(), [0.12, 2.0]);
        assert_eq!(scores(&rows, Some(0)).unwrap(), [0.0, 2.0]);
        let large = batch(vec![1e36, -3e38]);
        assert_eq!(scores(&large, Some(6)).unwrap(), [1e36, -3e38]);
    }

    #[test]
    fn places_of_elements_are_told_where_elements_were_found() {
        assert_eq!(element_indices(&batch(vec![1.0])).unwrap(), None);
        let places = Arc::new(UInt32Array::from(vec![3, 0])) as ArrayRef;
        let rows = RecordBatch::try_from_iter([(ELEMENT_COLUMN, places)]).unwrap();
        assert_eq!(element_indices(&rows).unwrap().unwrap().data, [3, 0]);
    }

    #[test]
    fn features_that_are_not_there_are_refused() {
        let request = wire::SearchRequest {
            highlighter: Some(Default::default()),
            ..Default::default()
        };
        assert_eq!(
            refuse_features(&request).unwrap_err().to_string(),
            "not supported: highlighter"
        );
        refuse_features(&wire::SearchRequest::default()).unwrap();
    }
}
