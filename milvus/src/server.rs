//! The socket side: HTTP/2 settings, message size limits, serving and draining.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use elanus_query::Engine;
use milvus::proto::milvus::client_telemetry_service_server::ClientTelemetryServiceServer;
use milvus::proto::milvus::milvus_service_server::MilvusServiceServer;
use tokio::net::TcpListener;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use crate::access::Authenticated;
use crate::door::Door;
use crate::metrics::DoorMetrics;
use crate::refusal::FinalRefusals;
use crate::telemetry::Telemetry;
use crate::writes::Writes;

/// Largest request that is accepted, Milvus' default.
pub const MAX_REQUEST_BYTES: usize = 64 << 20;
/// Largest reply that is sent, Milvus' default.
pub const MAX_RESPONSE_BYTES: usize = 256 << 20;

/// HTTP/2 flow control windows: large enough for a 10,000 x 128 insert without waiting for a round trip.
const STREAM_WINDOW: u32 = 8 << 20;
const CONNECTION_WINDOW: u32 = 32 << 20;
const MAX_FRAME: u32 = 1 << 20;

/// Why the door stopped by itself.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The listening socket could not be read.
    #[error("cannot read the address of the Milvus listener: {0}")]
    Listener(#[from] std::io::Error),
    /// The gRPC server failed.
    #[error("the Milvus door on {address} failed: {source}")]
    Transport {
        /// Where it listened.
        address: SocketAddr,
        /// What failed.
        source: tonic::transport::Error,
    },
}

/// The calls of Milvus, for users that are known already.
pub(crate) fn service(door: Door) -> FinalRefusals<Writes<MilvusServiceServer<Door>>> {
    let door = Arc::new(door);
    let others = MilvusServiceServer::from_arc(Arc::clone(&door))
        .max_decoding_message_size(MAX_REQUEST_BYTES)
        .max_encoding_message_size(MAX_RESPONSE_BYTES);
    FinalRefusals(Writes { door, others })
}

/// Answers Milvus clients on a bound listener until `shutdown` resolves; then no new call is taken,
/// calls that are running finish, and the function returns.
///
/// Keep-alive pings are answered as often as they come (clients send one every ten seconds on idle
/// connections). Nothing is compressed, and compressed requests are refused: clients are mostly near,
/// vectors do not compress, none of the official clients asks for it, and a few kilobytes of gzip can
/// unfold to more than there is memory, since tonic limits the size of a message before it unfolds.
///
/// # Errors
/// [`ServeError`] when the socket fails.
pub async fn serve(
    engine: Arc<Engine>,
    listener: TcpListener,
    metrics: Arc<DoorMetrics>,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    let address = listener.local_addr()?;
    let service = service(Door::new(Arc::clone(&engine), metrics));
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    Server::builder()
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(MAX_FRAME)
        .add_service(Authenticated::new(service, engine))
        .add_service(FinalRefusals(ClientTelemetryServiceServer::new(Telemetry)))
        .serve_with_incoming_shutdown(incoming, shutdown)
        .await
        .map_err(|source| ServeError::Transport { address, source })
}
