//! Hybrid search: several searches of one collection, fused into one answer.

use std::sync::Arc;
use std::time::Instant;

use elanus_query::HybridRequest;
use milvus::proto::milvus as wire;
use prost::Message;

use crate::context::Context;
use crate::convert::{output, params, plugin_rankers, rankers};
use crate::door::{Door, check_readable};
use crate::rpc::answer::{Answer, least_row_bytes};
use crate::rpc::refuse_namespace;
use crate::rpc::search::{SCORED_KEY_BYTES, arm, refuse_features, reply, results_of};
use crate::status::{Error, Result};

pub(crate) async fn hybrid_search(
    door: &Door,
    context: &Context,
    request: wire::HybridSearchRequest,
) -> Result<wire::SearchResults> {
    let started = Instant::now();
    door.metrics().received("hybrid_search", request.encoded_len());
    if !request.function_chains.is_empty() {
        return Err(Error::unsupported("function chains"));
    }
    refuse_namespace(request.namespace.as_deref())?;
    let collection = door.collection(context, &request.db_name, &request.collection_name)?;
    let rank_params = rankers::rank_params(request.rank_params);
    let window = params::window(&rank_params, "limit")?;
    let round_decimal = params::decimals(&rank_params)?;
    let mut group = params::grouping(&rank_params)?;
    let (mut zone, mut time_parts) = (params::zone(&rank_params)?, params::time_parts(&rank_params)?);
    let group_score = rankers::mode(rank_params.get("rank_group_scorer"), "rank_group_scorer")?;
    let ranker = match request.function_score {
        Some(score) => match plugin_rankers::of_hybrid(&score, door.engine()).await? {
            Some(ranker) => ranker,
            None => rankers::of_hybrid(score, door.engine().services())?,
        },
        None => rankers::of_rank_params(&rank_params)?,
    };
    let output = output::resolve(collection.schema(), &request.output_fields)?;
    check_readable(&collection, &request.partition_names)?;
    let snapshot = collection.snapshot();
    let mut arms = Vec::with_capacity(request.requests.len());
    for mut message in request.requests {
        refuse_features(&message)?;
        if message.function_score.is_some() {
            return Err(Error::unsupported(
                "function score in a request of a hybrid search",
            ));
        }
        let mut params = params::search(std::mem::take(&mut message.search_params))?;
        // How instants are shown may be said in any of the requests.
        zone = zone.or(params.zone);
        params.zone = zone;
        if time_parts.is_empty() {
            time_parts.clone_from(&params.time_parts);
        }
        if params.iterator || params.page.is_some() {
            return Err(Error::unsupported("iterators in a hybrid search"));
        }
        if !params.order.is_empty() {
            return Err(Error::unsupported("order_by_fields in a hybrid search"));
        }
        if matches!(
            message.search_input,
            Some(wire::search_request::SearchInput::Ids(_))
        ) {
            return Err(Error::unsupported(
                "search by primary keys (ids) in a hybrid search",
            ));
        }
        message.partition_names.clone_from(&request.partition_names);
        let mut search = arm(door, &collection, Some(Arc::clone(&snapshot)), params, message).await?;
        // As in Milvus: the page is of the fused list, the groups are the same in every search.
        search.offset = 0;
        match &group {
            Some(group) => search.group = Some(group.clone()),
            None => group.clone_from(&search.group),
        }
        arms.push(search);
    }
    for search in &mut arms {
        search.group.clone_from(&group);
    }
    let key = collection.schema().primary_key()?;
    let grouped_by = match &group {
        Some(group) => group.keys(collection.schema())?,
        None => Vec::new(),
    };
    let mut columns = output.columns.clone();
    let keys = grouped_by.iter().map(|key| key.path().column());
    for column in keys.chain([key.name.as_str()]) {
        if !columns.iter().any(|known| known == column) {
            columns.push(column.to_string());
        }
    }
    let nq = arms.first().map_or(0, |search| search.nq);
    let (limit, offset) = window;
    let answer = Answer {
        kind: "hybrid_search",
        queries: nq,
        limit: Some(limit.saturating_mul(group.as_ref().map_or(1, |group| group.size))),
        offset,
        row_bytes: SCORED_KEY_BYTES + least_row_bytes(collection.schema(), &output.columns),
    };
    let found = door
        .engine()
        .hybrid_search(HybridRequest {
            collection: Arc::clone(&collection),
            arms,
            fusion: ranker.fusion,
            rerank: ranker.rerank,
            group,
            group_score,
            limit,
            offset,
            output: columns,
            snapshot: Some(snapshot),
        })
        .await?;
    let instants = door.instants(&collection, zone, time_parts)?;
    let results = results_of(
        &collection,
        output,
        &grouped_by,
        &found,
        (limit, &instants, round_decimal),
    )?;
    let session_ts = collection.snapshot().timestamp;
    let named = (request.collection_name, session_ts);
    reply(door, &collection, (started, nq), answer, results, named)
}
