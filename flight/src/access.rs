//! Users of this door: who a call is of.
//!
//! [`Authenticated`] stands before the service and looks at the header `authorization`: `Basic` with a name and a password, or
//! `Bearer` with a token that a handshake gave for them. A call without one goes no further. A token is good for an hour
//! after its last use, and only as long as the user has the password that it was given for.

use std::collections::HashMap;
use std::sync::Arc;
use std::task;
use std::time::{Duration, Instant};

use elanus_collection::Error;
use elanus_collection::access::Credentials;
use elanus_query::Engine;
use flight_tonic::Status;
use flight_tonic::body::Body;
use flight_tonic::codegen::http::{HeaderValue, Request, Response, header};
use flight_tonic::codegen::{BoxFuture, Service};
use flight_tonic::server::NamedService;
use parking_lot::Mutex;

/// How long a token is good after its last use.
const IDLE: Duration = Duration::from_secs(3_600);
/// Most tokens; beyond it those go that were not used the longest.
const MOST: usize = 10_000;

/// The user of a call, in its extensions.
#[derive(Debug, Clone)]
pub(crate) struct Caller(pub Arc<str>);

/// The tokens that handshakes gave.
#[derive(Default)]
pub(crate) struct Tokens(Mutex<HashMap<String, Token>>);

struct Token {
    user: Arc<str>,
    /// Tells the password that the token was given for, without knowing it.
    password: String,
    used: Instant,
}

impl Tokens {
    /// A new token of a user who has been authenticated; nobody guesses it.
    pub fn give(&self, engine: &Engine, user: &Arc<str>) -> Result<String, Status> {
        let password = engine.collections().password_stamp(user).ok_or_else(refused)?;
        // 160 random bits between them.
        let name = format!("{}{}", ulid::Ulid::new(), ulid::Ulid::new());
        let token = Token {
            user: Arc::clone(user),
            password,
            used: Instant::now(),
        };
        let mut tokens = self.0.lock();
        if tokens.len() >= MOST {
            let oldest = tokens.iter().min_by_key(|(_, token)| token.used);
            let oldest = oldest.map(|(name, _)| name.clone());
            oldest.and_then(|name| tokens.remove(&name));
        }
        tokens.insert(name.clone(), token);
        Ok(name)
    }

    fn user_of(&self, engine: &Engine, name: &str) -> Result<Arc<str>, Status> {
        let mut tokens = self.0.lock();
        let gone =
            || Status::unauthenticated("the token has expired or is none of this server: authenticate again");
        let token = tokens.get_mut(name).ok_or_else(gone)?;
        let password = engine.collections().password_stamp(&token.user);
        if token.used.elapsed() >= IDLE || password.as_ref() != Some(&token.password) {
            tokens.remove(name);
            return Err(gone());
        }
        token.used = Instant::now();
        Ok(Arc::clone(&token.user))
    }

    /// Forgets the tokens that nobody used for long.
    pub fn sweep(&self) {
        self.0.lock().retain(|_, token| token.used.elapsed() < IDLE);
    }
}

/// A service whose calls are of users.
#[derive(Clone)]
pub(crate) struct Authenticated<S> {
    service: S,
    engine: Arc<Engine>,
    tokens: Arc<Tokens>,
}

impl<S> Authenticated<S> {
    /// Asks for users if the engine does.
    pub fn new(service: S, engine: Arc<Engine>, tokens: Arc<Tokens>) -> Self {
        Self {
            service,
            engine,
            tokens,
        }
    }
}

impl<S: NamedService> NamedService for Authenticated<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for Authenticated<S>
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Send,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = BoxFuture<Response<Body>, S::Error>;

    fn poll_ready(&mut self, context: &mut task::Context<'_>) -> task::Poll<Result<(), S::Error>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if !self.engine.authentication() {
            return Box::pin(self.service.call(request));
        }
        let (mut service, engine, tokens) = (
            self.service.clone(),
            Arc::clone(&self.engine),
            Arc::clone(&self.tokens),
        );
        let mut request = request;
        let given = request.headers().get(header::AUTHORIZATION).cloned();
        Box::pin(async move {
            match caller(&engine, &tokens, given.as_ref()).await {
                Ok(caller) => {
                    request.extensions_mut().insert(caller);
                    service.call(request).await
                }
                Err(status) => Ok(status.into_http()),
            }
        })
    }
}

async fn caller(engine: &Engine, tokens: &Tokens, given: Option<&HeaderValue>) -> Result<Caller, Status> {
    let wanted = || {
        Status::unauthenticated(
            "this server asks for a user: give a user name and a password, which travel in the header authorization",
        )
    };
    let given = given.ok_or_else(wanted)?.to_str().map_err(|_| wanted())?;
    let (scheme, given) = given.split_once(' ').ok_or_else(wanted)?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return tokens.user_of(engine, given.trim()).map(Caller);
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(wanted());
    }
    let given = Credentials::from_base64(given).map_err(|_| wanted())?;
    let checked = engine
        .collections()
        .authenticate(&given.user, &given.password)
        .await;
    match checked {
        Ok(()) => Ok(Caller(given.user.into())),
        Err(Error::NotAuthenticated) => Err(refused()),
        Err(error) => Err(Status::internal(error.to_string())),
    }
}

fn refused() -> Status {
    Status::unauthenticated(Error::NotAuthenticated.to_string())
}
