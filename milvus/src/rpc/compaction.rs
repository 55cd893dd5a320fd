//! Compaction on request, and what segments there are.

use milvus::proto::common::{
    CompactionState, CompactionTaskState, CompactionType, SegmentLevel, SegmentState,
};
use milvus::proto::milvus as wire;

use crate::compactions::{Compaction, Segments, State, segment_number};
use crate::context::Context;
use crate::door::Door;
use crate::status::{Error, Result};

/// Bytes of the unit of `target_size`.
const MEBIBYTE: u64 = 1 << 20;
/// The one node there is.
const NODE: i64 = 1;

pub(crate) fn start(
    door: &Door,
    context: &Context,
    request: &wire::ManualCompactionRequest,
) -> Result<wire::ManualCompactionResponse> {
    let refused = [
        ("clustering", request.major_compaction),
        ("of one partition", request.partition_id != 0),
        ("of one channel", !request.channel.is_empty()),
        ("of some segments", !request.segment_ids.is_empty()),
    ];
    if let Some((what, _)) = refused.iter().find(|(_, given)| *given) {
        return Err(Error::unsupported(format!("compaction: {what}")));
    }
    let collection = if request.collection_name.is_empty() {
        let database = context.database(&request.db_name);
        let all = door.collections().list(database)?;
        let found = all.into_iter().find(|one| one.id() == request.collection_id);
        found.ok_or_else(|| {
            Error::invalid(format!(
                "a compaction names no collection: collection_name is empty, and collection_id {} is none's of database {database}",
                request.collection_id
            ))
        })?
    } else {
        door.collection(context, &request.db_name, &request.collection_name)?
    };
    let bytes: u64 = collection.snapshot().units.iter().map(|unit| unit.bytes()).sum();
    // The segments of a partition become one; what would leave several is not there.
    match u64::try_from(request.target_size) {
        Ok(0) => {}
        Ok(mebibytes) if mebibytes.saturating_mul(MEBIBYTE) >= bytes => {}
        _ => {
            return Err(Error::unsupported(format!(
                "compaction: target_size {} MB below the {bytes} bytes of the collection",
                request.target_size
            )));
        }
    }
    let compaction = door.compactions().start(door.next_identifier(), collection);
    Ok(wire::ManualCompactionResponse {
        compaction_id: compaction.id,
        compaction_plan_count: i32::try_from(compaction.sources.len()).unwrap_or(i32::MAX),
        ..Default::default()
    })
}

pub(crate) fn state(
    door: &Door,
    _context: &Context,
    request: &wire::GetCompactionStateRequest,
) -> Result<wire::GetCompactionStateResponse> {
    let compaction = known(door, request.compaction_id)?;
    let plans = i64::try_from(compaction.sources.len()).unwrap_or(i64::MAX);
    let mut reply = wire::GetCompactionStateResponse::default();
    match compaction.state() {
        State::Running => reply.executing_plan_no = plans,
        State::Done(_) => reply.completed_plan_no = plans,
        State::Failed(_) => reply.failed_plan_no = plans,
    }
    reply.state = wire_state(&compaction.state()) as i32;
    Ok(reply)
}

pub(crate) fn plans(
    door: &Door,
    context: &Context,
    request: &wire::GetCompactionPlansRequest,
) -> Result<wire::GetCompactionPlansResponse> {
    let compactions = if request.compaction_id != 0 {
        vec![known(door, request.compaction_id)?]
    } else {
        let collection = door.collection(context, &request.db_name, &request.collection_name)?;
        door.compactions().of(collection.id())
    };
    let running = compactions.iter().any(|one| one.state() == State::Running);
    let state = if running {
        CompactionState::Executing
    } else {
        CompactionState::Completed
    };
    Ok(wire::GetCompactionPlansResponse {
        state: state as i32,
        merge_infos: compactions.iter().flat_map(|one| merges(one)).collect(),
        ..Default::default()
    })
}

fn known(door: &Door, id: i64) -> Result<std::sync::Arc<Compaction>> {
    let found = door.compactions().get(id);
    found.ok_or_else(|| Error::invalid(format!("compaction {id} not found")))
}

/// Milvus has no state of its own for what failed: it is no more executed.
fn wire_state(state: &State) -> CompactionState {
    match state {
        State::Running => CompactionState::Executing,
        State::Done(_) | State::Failed(_) => CompactionState::Completed,
    }
}

/// A plan for each partition. A partition whose one segment had nothing to drop keeps it: source and target are the same.
fn merges(compaction: &Compaction) -> Vec<wire::CompactionMergeInfo> {
    let (state, after, reason): (_, Vec<Segments>, _) = match compaction.state() {
        State::Running => (CompactionTaskState::Executing, Vec::new(), String::new()),
        State::Done(after) => (CompactionTaskState::Completed, after, String::new()),
        State::Failed(reason) => (CompactionTaskState::Failed, Vec::new(), reason),
    };
    let plan = |(number, before): (i64, &Segments)| {
        let of = after.iter().find(|after| after.partition == before.partition);
        let targets = of.map(|after| after.ids.clone()).unwrap_or_default();
        wire::CompactionMergeInfo {
            sources: before.ids.clone(),
            target: targets.first().copied().unwrap_or_default(),
            plan_id: compaction.id.saturating_add(number),
            trigger_id: compaction.id,
            collection_id: compaction.collection,
            partition_id: before.partition,
            r#type: CompactionType::Mix as i32,
            state: state as i32,
            failure_reason: reason.clone(),
            targets,
            ..Default::default()
        }
    };
    (0..).zip(&compaction.sources).map(plan).collect()
}

pub(crate) fn persistent_segments(
    door: &Door,
    context: &Context,
    request: &wire::GetPersistentSegmentInfoRequest,
) -> Result<wire::GetPersistentSegmentInfoResponse> {
    let collection = door.collection(context, &request.db_name, &request.collection_name)?;
    let wanted = &request.states;
    if !wanted.is_empty() && !wanted.contains(&(SegmentState::Flushed as i32)) {
        return Ok(wire::GetPersistentSegmentInfoResponse::default());
    }
    let snapshot = collection.snapshot();
    let infos = snapshot.units.iter().filter_map(|unit| {
        Some(wire::PersistentSegmentInfo {
            segment_id: segment_number(unit)?,
            collection_id: collection.id(),
            partition_id: unit.partition(),
            num_rows: unit.rows().into(),
            state: SegmentState::Flushed as i32,
            level: SegmentLevel::L1 as i32,
            is_sorted: true,
            ..Default::default()
        })
    });
    Ok(wire::GetPersistentSegmentInfoResponse {
        infos: infos.collect(),
        ..Default::default()
    })
}

#[expect(
    deprecated,
    reason = "older clients read the one node from the deprecated field"
)]
pub(crate) fn loaded_segments(
    door: &Door,
    context: &Context,
    request: &wire::GetQuerySegmentInfoRequest,
) -> Result<wire::GetQuerySegmentInfoResponse> {
    let collection = door.collection(context, &request.db_name, &request.collection_name)?;
    collection.check_loaded(&[])?;
    let snapshot = collection.snapshot();
    let infos = snapshot.units.iter().filter_map(|unit| {
        Some(wire::QuerySegmentInfo {
            segment_id: segment_number(unit)?,
            collection_id: collection.id(),
            partition_id: unit.partition(),
            mem_size: i64::try_from(unit.resident_bytes()).unwrap_or(i64::MAX),
            num_rows: unit.rows().into(),
            node_id: NODE,
            node_ids: vec![NODE],
            state: SegmentState::Sealed as i32,
            level: SegmentLevel::L1 as i32,
            is_sorted: true,
            ..Default::default()
        })
    });
    Ok(wire::GetQuerySegmentInfoResponse {
        infos: infos.collect(),
        ..Default::default()
    })
}
