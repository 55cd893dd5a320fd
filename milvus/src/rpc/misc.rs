//! Hello, versions, health and timestamps.

use milvus::proto::common::{ServerInfo, StateCode};
use milvus::proto::milvus as wire;

use crate::context::Context;
use crate::door::{Door, SERVER_VERSION};
use crate::status::Result;

pub(crate) fn connect(
    door: &Door,
    context: &Context,
    _request: &wire::ConnectRequest,
) -> Result<wire::ConnectResponse> {
    door.collections().database(context.database(""))?;
    let server_info = ServerInfo {
        build_tags: SERVER_VERSION.to_string(),
        deploy_mode: "STANDALONE".to_string(),
        ..Default::default()
    };
    Ok(wire::ConnectResponse {
        server_info: Some(server_info),
        identifier: door.next_identifier(),
        ..Default::default()
    })
}

pub(crate) fn version(
    _door: &Door,
    _context: &Context,
    _request: &wire::GetVersionRequest,
) -> Result<wire::GetVersionResponse> {
    Ok(wire::GetVersionResponse {
        version: SERVER_VERSION.to_string(),
        ..Default::default()
    })
}

pub(crate) fn health(
    _door: &Door,
    _context: &Context,
    _request: &wire::CheckHealthRequest,
) -> Result<wire::CheckHealthResponse> {
    Ok(wire::CheckHealthResponse {
        is_healthy: true,
        ..Default::default()
    })
}

pub(crate) fn alloc_timestamp(
    door: &Door,
    _context: &Context,
    _request: &wire::AllocTimestampRequest,
) -> Result<wire::AllocTimestampResponse> {
    Ok(wire::AllocTimestampResponse {
        timestamp: door.timestamp(),
        ..Default::default()
    })
}

pub(crate) fn component_states(
    _door: &Door,
    _context: &Context,
    _request: &wire::GetComponentStatesRequest,
) -> Result<wire::ComponentStates> {
    let state = wire::ComponentInfo {
        node_id: 1,
        role: "standalone".to_string(),
        state_code: StateCode::Healthy as i32,
        ..Default::default()
    };
    Ok(wire::ComponentStates {
        state: Some(state),
        ..Default::default()
    })
}
