//! `ClientTelemetryService`: newer clients report how they fare, once in a while.
//!
//! Heartbeats are answered so that clients stay quiet; nothing is stored, and asking for what other
//! clients reported is not supported.

use std::time::{SystemTime, UNIX_EPOCH};

use milvus::proto::milvus as wire;
use milvus::proto::milvus::client_telemetry_service_server::ClientTelemetryService;
use tonic::{Request, Response, Status};

use crate::reply::Reply;
use crate::status::Error;

/// Answers heartbeats.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Telemetry;

#[tonic::async_trait]
impl ClientTelemetryService for Telemetry {
    async fn client_heartbeat(
        &self,
        _request: Request<wire::ClientHeartbeatRequest>,
    ) -> Result<Response<wire::ClientHeartbeatResponse>, Status> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let reply = wire::ClientHeartbeatResponse {
            server_timestamp: i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
            ..Default::default()
        };
        Ok(Response::new(reply.succeeded()))
    }

    async fn get_client_telemetry(
        &self,
        _request: Request<wire::GetClientTelemetryRequest>,
    ) -> Result<Response<wire::GetClientTelemetryResponse>, Status> {
        Ok(Response::new(Reply::failed(&Error::unimplemented(
            "GetClientTelemetry",
        ))))
    }

    async fn push_client_command(
        &self,
        _request: Request<wire::PushClientCommandRequest>,
    ) -> Result<Response<wire::PushClientCommandResponse>, Status> {
        Ok(Response::new(Reply::failed(&Error::unimplemented(
            "PushClientCommand",
        ))))
    }

    async fn delete_client_command(
        &self,
        _request: Request<wire::DeleteClientCommandRequest>,
    ) -> Result<Response<wire::DeleteClientCommandResponse>, Status> {
        Ok(Response::new(Reply::failed(&Error::unimplemented(
            "DeleteClientCommand",
        ))))
    }
}
