//! Sessions that outlive their connection: cookies.
//!
//! A session belongs to its connection until it has something to lose: a setting, a database, a prepared
//! statement, a handshake. Then the answer carries the cookie `arrow_flight_session_id`, the name that
//! Flight's protocol suggests. A client that sends it back has its session on every connection that it
//! opens, also after a reconnect; a client that does not know cookies keeps the session of its connection.
//!
//! ```text
//!   request with the cookie of a session    -> that session
//!   request with the cookie of none         -> an error, once: the answer takes the cookie back
//!   request without a cookie                -> the session of the connection
//! ```

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flight_tonic::metadata::{MetadataMap, MetadataValue};
use flight_tonic::{Request, Response, Status};
use parking_lot::Mutex;

use crate::access::Caller;
use crate::connection::Client;

/// Name of the cookie.
pub(crate) const COOKIE: &str = "arrow_flight_session_id";

/// The sessions of one server that have a cookie.
pub(crate) struct Sessions {
    idle: Duration,
    most: usize,
    kept: Mutex<HashMap<String, Kept>>,
}

struct Kept {
    client: Arc<Client>,
    used: Instant,
    /// Whether a client has sent the cookie back; one that never does needs no session.
    returned: bool,
}

/// One request, from its cookie to the cookie of its answer.
pub(crate) struct Visit {
    client: Arc<Client>,
    /// The request named its session.
    named: bool,
}

impl Visit {
    /// The session.
    pub fn client(&self) -> &Arc<Client> {
        &self.client
    }
}

impl Sessions {
    /// At most `most` sessions, each forgotten when it was not used for `idle`.
    pub fn new(idle: Duration, most: usize) -> Self {
        Self {
            idle,
            most: most.max(1),
            kept: Mutex::default(),
        }
    }

    /// Finds the session of a request, and leaves it in the request's extensions.
    pub fn enter<T>(&self, request: &mut Request<T>) -> Result<Visit, Status> {
        let connected = request
            .extensions()
            .get::<Arc<Client>>()
            .map(Arc::clone)
            .ok_or_else(|| Status::internal("a request came over no connection"))?;
        let connected = match request.extensions().get::<Caller>() {
            Some(Caller(user)) if connected.user() != Some(user.as_ref()) => connected.of_user(user),
            Some(_) | None => connected,
        };
        request.extensions_mut().insert(Arc::clone(&connected));
        let Some(id) = cookie(request.metadata()) else {
            return Ok(Visit {
                client: connected,
                named: false,
            });
        };
        let client = self.of(&id, &connected).ok_or_else(expired)?;
        request.extensions_mut().insert(Arc::clone(&client));
        Ok(Visit { client, named: true })
    }

    /// Finishes a request: an answer that leaves something in a session without a cookie brings one along.
    pub fn leave<R>(&self, visit: &Visit, mut response: Response<R>) -> Response<R> {
        if !visit.named && visit.client.has_state() {
            self.hand_out(&visit.client, response.metadata_mut());
        }
        response
    }

    /// Gives the session a cookie, as a handshake does.
    pub fn hand_out(&self, client: &Arc<Client>, answer: &mut MetadataMap) {
        let id = client.id();
        self.keep(&id, client, false);
        set_cookie(answer, &format!("{COOKIE}={id}"));
    }

    /// Ends the session of a request; its cookie is good for nothing any more.
    pub fn close<R>(&self, visit: &Visit, mut response: Response<R>) -> Response<R> {
        if let Some(id) = visit.client.reset() {
            self.kept.lock().remove(&id);
        }
        set_cookie(response.metadata_mut(), &format!("{COOKIE}=; Max-Age=0"));
        response
    }

    /// Forgets the sessions that nobody used for long.
    pub fn sweep(&self) {
        let idle = self.idle;
        self.kept
            .lock()
            .retain(|_, session| session.used.elapsed() < idle);
    }

    fn of(&self, id: &str, connected: &Arc<Client>) -> Option<Arc<Client>> {
        let mut kept = self.kept.lock();
        if let Some(session) = kept.get_mut(id) {
            // The cookie of another user's session is that of none.
            if session.client.user() != connected.user() {
                return None;
            }
            if session.used.elapsed() < self.idle {
                session.used = Instant::now();
                session.returned = true;
                return Some(Arc::clone(&session.client));
            }
            kept.remove(id);
        }
        drop(kept);
        // Pushed out or idle, but its connection is still here and has it.
        if connected.has_id(id) {
            self.keep(id, connected, true);
            return Some(Arc::clone(connected));
        }
        None
    }

    fn keep(&self, id: &str, client: &Arc<Client>, returned: bool) {
        let mut kept = self.kept.lock();
        if !kept.contains_key(id) && kept.len() >= self.most {
            // First those whose cookie nobody ever sent back, the oldest of them.
            let oldest = kept
                .iter()
                .min_by_key(|(_, session)| (session.returned, session.used))
                .map(|(id, _)| id.clone());
            if let Some(oldest) = oldest {
                kept.remove(&oldest);
            }
        }
        let was_returned = kept.get(id).is_some_and(|session| session.returned);
        let session = Kept {
            client: Arc::clone(client),
            used: Instant::now(),
            returned: returned || was_returned,
        };
        kept.insert(id.to_string(), session);
    }
}

/// An error that takes the cookie back, so that the client's next request starts anew.
fn expired() -> Status {
    let mut status = Status::not_found(
        "the session has expired: its settings and prepared statements are gone; the next request starts a new one",
    );
    set_cookie(status.metadata_mut(), &format!("{COOKIE}=; Max-Age=0"));
    status
}

fn set_cookie(answer: &mut MetadataMap, text: &str) {
    if let Ok(value) = MetadataValue::try_from(text) {
        answer.insert("set-cookie", value);
    }
}

/// The session that a request names; `None` also for an empty cookie, which was taken back.
fn cookie(metadata: &MetadataMap) -> Option<String> {
    let headers = metadata.get_all("cookie").into_iter();
    let texts = headers.filter_map(|header| header.to_str().ok());
    texts
        .flat_map(|text| text.split(';'))
        .filter_map(|pair| pair.split_once('='))
        .find(|(name, _)| name.trim() == COOKIE)
        .map(|(_, value)| value.trim().trim_matches('"').to_string())
        .filter(|value| !value.is_empty())
}
