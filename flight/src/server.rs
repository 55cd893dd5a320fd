//! The socket side: message size limits, health, serving and draining.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arrow_flight::flight_service_server::FlightServiceServer;
use elanus_query::Engine;
use flight_tonic::codec::CompressionEncoding;
use flight_tonic::transport::Server;
use futures::StreamExt;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;

use crate::access::Authenticated;
use crate::connection::Connection;
use crate::door::Door;
use crate::reflection;
use crate::service::Service;
use crate::sessions::Sessions;
use crate::whole::Whole;

/// Largest message, in bytes, that is taken or sent unless told otherwise: one record batch of an ingest is
/// one message.
pub const MAX_MESSAGE_BYTES: usize = 512 << 20;

/// HTTP/2 flow control windows, so that a bulk ingest does not wait for round trips.
const STREAM_WINDOW: u32 = 16 << 20;
const CONNECTION_WINDOW: u32 = 64 << 20;
const MAX_FRAME: u32 = 4 << 20;
/// How often a silent client is asked whether it is still there; without an answer its queries end.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// How often results that nobody fetched are let go.
const SWEEP: Duration = Duration::from_secs(30);

/// What a door may take and keep of its clients.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// How long a session with a cookie is kept after its last request.
    pub session_idle: Duration,
    /// Most sessions with a cookie; beyond it those go whose cookie never came back, then those that are
    /// idle the longest.
    pub sessions: usize,
    /// Largest message, in bytes, that is taken or sent.
    pub message_bytes: usize,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            session_idle: Duration::from_secs(3_600),
            sessions: 1_024,
            message_bytes: MAX_MESSAGE_BYTES,
        }
    }
}

/// Why the door stopped by itself.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The listening socket could not be read.
    #[error("cannot read the address of the Flight listener: {0}")]
    Listener(#[from] std::io::Error),
    /// The description of the protocol that comes with the program is damaged.
    #[error("cannot read the description of the Flight protocol: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The gRPC server failed.
    #[error("the Flight door on {address} failed: {source}")]
    Transport {
        /// Where it listened.
        address: SocketAddr,
        /// What failed.
        source: flight_tonic::transport::Error,
    },
}

/// As [`serve_with`] with the default options.
///
/// # Errors
/// [`ServeError`] when the socket fails.
pub async fn serve(
    engine: Arc<Engine>,
    listener: TcpListener,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    serve_with(engine, listener, &ServeOptions::default(), shutdown).await
}

/// Answers Flight SQL clients on a bound listener until `shutdown` resolves; then no new call is
/// taken, calls that are running finish, and the function returns.
///
/// Compressed requests are understood; replies are not compressed, since every gRPC client claims to
/// accept gzip and vectors do not compress.
///
/// # Errors
/// [`ServeError`] when the socket fails.
pub async fn serve_with(
    engine: Arc<Engine>,
    listener: TcpListener,
    options: &ServeOptions,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    let address = listener.local_addr()?;
    let service = Service::new(Arc::clone(&engine));
    let tokens = service.tokens();
    let results = service.results();
    let sessions = Arc::new(Sessions::new(options.session_idle, options.sessions));
    let flight = FlightServiceServer::new(Door::new(service, Arc::clone(&sessions)))
        .max_decoding_message_size(options.message_bytes)
        .max_encoding_message_size(options.message_bytes)
        .accept_compressed(CompressionEncoding::Gzip);
    let (health_reporter, health) = tonic_health::server::health_reporter();
    health_reporter.set_serving::<FlightServiceServer<Door>>().await;
    let connections = TcpListenerStream::new(listener).map(|stream| stream.map(Connection::new));
    let server = Server::builder()
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(MAX_FRAME)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .add_service(health)
        .add_service(reflection::service()?)
        .add_service(reflection::old_service()?)
        .add_service(Authenticated::new(Whole(flight), engine, Arc::clone(&tokens)))
        .serve_with_incoming_shutdown(connections, shutdown);
    let sweep = async {
        let mut ticks = tokio::time::interval(SWEEP);
        loop {
            ticks.tick().await;
            results.sweep();
            sessions.sweep();
            tokens.sweep();
        }
    };
    tokio::select! {
        served = server => served.map_err(|source| ServeError::Transport { address, source }),
        () = sweep => Ok(()),
    }
}
