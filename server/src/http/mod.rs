//! The HTTP door: health for load balancers, metrics for Prometheus. Paths and replies are Milvus' own on port 9091.

mod health;

pub use self::health::{Health, State};

use std::sync::Arc;

use axum::Router;
use axum::extract;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus::{Encoder, Registry, TextEncoder};

/// What the handlers look at.
#[derive(Clone)]
struct Door {
    health: Arc<Health>,
    registry: Registry,
}

/// All routes of the door.
pub fn router(health: Arc<Health>, registry: Registry) -> Router {
    Router::new()
        .route("/", get(index))
        .route("/healthz", get(healthz))
        .route("/livez", get(livez))
        .route("/metrics", get(metrics))
        .route("/metrics_default", get(metrics))
        .fallback(not_found)
        .with_state(Door { health, registry })
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

async fn metrics(extract::State(door): extract::State<Door>) -> Response {
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

async fn not_found(uri: Uri) -> (StatusCode, String) {
    let text = format!(
        "no such path on the HTTP door: {}\n\nwhat is here:\n{PATHS}",
        uri.path()
    );
    (StatusCode::NOT_FOUND, text)
}
