//! One client connection: a socket, and the session that it starts with.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};

use arrow::array::RecordBatch;
use datafusion::prelude::SessionContext;
use elanus_query::{DEFAULT_DATABASE, Engine, Prepared};
use flight_tonic::Status;
use flight_tonic::transport::server::Connected;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::status;

/// Most prepared statements of one session.
const MAX_PREPARED: usize = 10_000;

/// A socket that carries its client's [`Client`] into every request.
pub(crate) struct Connection {
    socket: TcpStream,
    client: Arc<Client>,
}

impl Connection {
    pub fn new(socket: TcpStream) -> Self {
        // Answers are small and waited for.
        if let Err(error) = socket.set_nodelay(true) {
            tracing::debug!(%error, "a client connection keeps Nagle's delay");
        }
        Self {
            socket,
            client: Arc::default(),
        }
    }
}

impl Connected for Connection {
    type ConnectInfo = Arc<Client>;

    fn connect_info(&self) -> Self::ConnectInfo {
        Arc::clone(&self.client)
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}

/// What is kept of a client between its calls: one session.
#[derive(Default)]
pub(crate) struct Client {
    /// Whose session it is; `None` where users are not asked for.
    user: Option<Arc<str>>,
    /// The sessions of users on the connection whose session this is.
    of_users: Mutex<HashMap<Arc<str>, Arc<Client>>>,
    /// Its name in a cookie, once it has one.
    id: Mutex<Option<String>>,
    session: Mutex<Option<SessionContext>>,
    /// Whether a statement has changed the session.
    changed: AtomicBool,
    prepared: Mutex<HashMap<u64, Arc<Bound>>>,
    next: AtomicU64,
}

/// A prepared statement and the values bound to it last.
pub(crate) struct Bound {
    /// As the client wrote it.
    pub sql: String,
    pub statement: Prepared,
    values: Mutex<Option<RecordBatch>>,
}

impl Bound {
    pub fn values(&self) -> Option<RecordBatch> {
        self.values.lock().clone()
    }

    pub fn bind(&self, values: Option<RecordBatch>) {
        *self.values.lock() = values;
    }
}

impl Client {
    /// The session of a user on this connection: clients in one process may share a connection.
    pub fn of_user(&self, user: &Arc<str>) -> Arc<Self> {
        let mut sessions = self.of_users.lock();
        let session = sessions.entry(Arc::clone(user)).or_insert_with(|| {
            Arc::new(Self {
                user: Some(Arc::clone(user)),
                ..Self::default()
            })
        });
        Arc::clone(session)
    }

    /// Whose session it is.
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// The session, made when it is first needed.
    pub fn session(&self, engine: &Engine) -> Result<SessionContext, Status> {
        let mut session = self.session.lock();
        if let Some(session) = session.as_ref() {
            return Ok(session.clone());
        }
        let made = engine.session_of(DEFAULT_DATABASE, self.user());
        let made = made.map_err(status::of)?;
        *session = Some(made.clone());
        Ok(made)
    }

    /// Forgets settings and prepared statements; tells under which name the session was known.
    pub fn reset(&self) -> Option<String> {
        *self.session.lock() = None;
        self.prepared.lock().clear();
        self.changed.store(false, Ordering::Relaxed);
        self.id.lock().take()
    }

    /// The name of the session, made when it is first needed: nobody guesses it.
    pub fn id(&self) -> String {
        let mut id = self.id.lock();
        id.get_or_insert_with(|| format!("{}{}", ulid::Ulid::new(), ulid::Ulid::new()))
            .clone()
    }

    /// Whether the session is known under this name.
    pub fn has_id(&self, id: &str) -> bool {
        self.id.lock().as_deref() == Some(id)
    }

    /// Notes that the session is not as it was made any more.
    pub fn change(&self) {
        self.changed.store(true, Ordering::Relaxed);
    }

    /// Whether anything would be lost with the session.
    pub fn has_state(&self) -> bool {
        self.changed.load(Ordering::Relaxed) || !self.prepared.lock().is_empty()
    }

    /// Keeps a statement; the handle is for [`Client::prepared`].
    pub fn keep(&self, sql: String, statement: Prepared) -> Result<bytes::Bytes, Status> {
        let mut prepared = self.prepared.lock();
        if prepared.len() >= MAX_PREPARED {
            return Err(Status::resource_exhausted(format!(
                "{MAX_PREPARED} prepared statements are open in this session: close some"
            )));
        }
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let bound = Bound {
            sql,
            statement,
            values: Mutex::new(None),
        };
        prepared.insert(id, Arc::new(bound));
        Ok(bytes::Bytes::copy_from_slice(&id.to_be_bytes()))
    }

    pub fn prepared(&self, handle: &[u8]) -> Result<Arc<Bound>, Status> {
        let id = <[u8; 8]>::try_from(handle).map(u64::from_be_bytes);
        id.ok()
            .and_then(|id| self.prepared.lock().get(&id).cloned())
            .ok_or_else(|| {
                Status::not_found("no such prepared statement in this session: it was closed, or prepared in another one; prepare it again")
            })
    }

    pub fn forget(&self, handle: &[u8]) {
        if let Ok(id) = <[u8; 8]>::try_from(handle) {
            self.prepared.lock().remove(&u64::from_be_bytes(id));
        }
    }
}
