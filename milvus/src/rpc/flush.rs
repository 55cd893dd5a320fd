//! Flush: rows go to segment files. The call returns when they are there, so every later question
//! about its state is answered with yes.

use std::collections::HashMap;
use std::sync::Arc;

use elanus_collection::Collection;
use milvus::proto::milvus as wire;
use milvus::proto::schema::LongArray;

use crate::context::Context;
use crate::door::Door;
use crate::status::{Error, Result};

/// Bits of the counter below the milliseconds of a hybrid timestamp.
const COUNTER_BITS: u32 = 18;

pub(crate) async fn flush(
    door: &Door,
    context: &Context,
    request: wire::FlushRequest,
) -> Result<wire::FlushResponse> {
    if request.collection_names.is_empty() {
        return Err(Error::invalid(
            "collection_names of a flush is empty; name at least one collection",
        ));
    }
    let collections = request
        .collection_names
        .iter()
        .map(|name| door.collection(context, &request.db_name, name))
        .collect::<Result<Vec<_>>>()?;
    let mut reply = wire::FlushResponse {
        db_name: context.database(&request.db_name).to_string(),
        ..Default::default()
    };
    let mut sealed = HashMap::new();
    for (name, collection) in request.collection_names.into_iter().zip(collections) {
        collection.flush().await?;
        let timestamp = door.timestamp();
        reply.coll_seg_i_ds.insert(name.clone(), LongArray::default());
        reply
            .flush_coll_seg_i_ds
            .insert(name.clone(), LongArray::default());
        reply.coll_flush_ts.insert(name.clone(), timestamp);
        sealed.insert(name, i64::try_from(timestamp >> COUNTER_BITS).unwrap_or(i64::MAX));
    }
    reply.coll_seal_times = sealed;
    Ok(reply)
}

#[expect(
    deprecated,
    reason = "pymilvus narrows FlushAll down and asks for its state with the deprecated fields"
)]
pub(crate) async fn flush_all(
    door: &Door,
    context: &Context,
    request: wire::FlushAllRequest,
) -> Result<wire::FlushAllResponse> {
    let mut collections: Vec<Arc<Collection>> = Vec::new();
    if !request.flush_targets.is_empty() {
        for target in &request.flush_targets {
            if target.collection_names.is_empty() {
                let database = context.database(&target.db_name);
                collections.extend(door.collections().list(database)?);
            }
            for name in &target.collection_names {
                collections.push(door.collection(context, &target.db_name, name)?);
            }
        }
    } else if !request.db_name.is_empty() {
        collections.extend(door.collections().list(&request.db_name)?);
    } else {
        for database in door.collections().databases() {
            collections.extend(door.collections().list(&database.name)?);
        }
    }
    for collection in collections {
        collection.flush().await?;
    }
    Ok(wire::FlushAllResponse {
        flush_all_ts: door.timestamp(),
        ..Default::default()
    })
}

pub(crate) fn flush_state(
    door: &Door,
    context: &Context,
    request: &wire::GetFlushStateRequest,
) -> Result<wire::GetFlushStateResponse> {
    if !request.collection_name.is_empty() {
        door.collection(context, &request.db_name, &request.collection_name)?;
    }
    Ok(wire::GetFlushStateResponse {
        flushed: true,
        ..Default::default()
    })
}

pub(crate) fn flush_all_state(
    _door: &Door,
    _context: &Context,
    _request: &wire::GetFlushAllStateRequest,
) -> Result<wire::GetFlushAllStateResponse> {
    Ok(wire::GetFlushAllStateResponse {
        flushed: true,
        ..Default::default()
    })
}
