//! The HTTP door: health for load balancers, metrics for Prometheus. Paths and replies are Milvus' own on port 9091.

mod health;

pub use self::health::{Health, State};

use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use elanus_collection::Collections;
use elanus_collection::access::Credentials;
use prometheus::{Encoder, Registry, TextEncoder};

/// What the handlers look at.
#[derive(Clone)]
struct Door {
    health: Arc<Health>,
    registry: Registry,
    users: Option<Users>,
}

/// Where users are asked for: they are known once the data is open.
pub type Users = Arc<OnceLock<Arc<Collections>>>;

/// All routes of the door. Health is for everybody; the metrics have names of collections, and are for users if there are any.
pub fn router(health: Arc<Health>, registry: Registry, users: Option<Users>) -> Router {
    Router::new()
        .route("/", get(index))
        .route("/healthz", get(healthz))
        .route("/livez", get(livez))
        .route("/metrics", get(metrics))
        .route("/metrics_default", get(metrics))
        .fallback(not_found)
        .with_state(Door {
            health,
            registry,
            users,
        })
}

const PATHS: &str = "/healthz    OK when every part of the server is ready\n\
                     /livez      OK while the process answers\n\
                     /metrics    Prometheus text\n";

async fn index() -> String {
    format!("elanus {}\n\n{PATHS}", env!("CARGO_PKG_VERSION"))
}

async fn livez() -> &'static str {
    "OK"
}

async fn healthz(extract::State(door): extract::State<Door>, headers: HeaderMap) -> Response {
    let report = door.health.report();
    let status = if report.healthy {
        StatusCode::OK
    } else {
        StatusCode::INTERNAL_SERVER_ERROR
    };
    // Milvus answers in JSON when the *request* says that its content is JSON; `Accept` is what others would send.
    let wants_json = [header::CONTENT_TYPE, header::ACCEPT].iter().any(|name| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .is_some_and(|value| value.contains("application/json"))
    });
    if wants_json {
        (status, axum::Json(report.json)).into_response()
    } else {
        (status, report.text).into_response()
    }
}

async fn metrics(extract::State(door): extract::State<Door>, headers: HeaderMap) -> Response {
    if let Some(users) = &door.users
        && let Err(status) = authenticate(users, &headers).await
    {
        let ask = [(header::WWW_AUTHENTICATE, "Basic realm=\"elanus\"")];
        return (
            status,
            ask,
            "the metrics are for users: give a name and a password\n",
        )
            .into_response();
    }
    let mut body = Vec::new();
    let encoder = TextEncoder::new();
    match encoder.encode(&door.registry.gather(), &mut body) {
        Ok(()) => ([(header::CONTENT_TYPE, encoder.format_type().to_owned())], body).into_response(),
        Err(error) => {
            tracing::warn!(%error, "cannot encode the metrics");
            (
                StatusCode::INTERNAL_SERVER_ERROR,
                format!("cannot encode the metrics: {error}\n"),
            )
                .into_response()
        }
    }
}

/// Checks the name and password of a request, of the scheme Basic.
async fn authenticate(users: &Users, headers: &HeaderMap) -> Result<(), StatusCode> {
    let collections = users.get().ok_or(StatusCode::SERVICE_UNAVAILABLE)?;
    let given = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let given = given.and_then(|text| text.strip_prefix("Basic "));
    let given = given.and_then(|text| Credentials::from_base64(text).ok());
    let given = given.ok_or(StatusCode::UNAUTHORIZED)?;
    let checked = collections.authenticate(&given.user, &given.password).await;
    checked.map_err(|_| StatusCode::UNAUTHORIZED)
}

async fn not_found(uri: Uri) -> (StatusCode, String) {
    let text = format!(
        "no such path on the HTTP door: {}\n\nwhat is here:\n{PATHS}",
        uri.path()
    );
    (StatusCode::NOT_FOUND, text)
}
