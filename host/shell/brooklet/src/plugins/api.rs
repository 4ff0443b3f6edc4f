//! What administrators do with plugins, over HTTP beside the probes.
//!
//! Every request that changes something carries the header `x-brooklet: 1`: a page in a browser on the same
//! machine can't send it without being asked first, and is then refused.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use brooklet_plugin::{COMPONENT_BYTES_MAX, Grants, Installed, Plugins, UseError};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// The header of requests that change something.
pub(crate) const HEADER: &str = "x-brooklet";

type Shared = State<Arc<Plugins>>;

/// A plugin, and who uses it.
#[derive(Serialize, Deserialize)]
pub(crate) struct Shown {
    #[serde(flatten)]
    pub(crate) installed: Installed,
    /// Topics and views.
    pub(crate) used_by: Vec<String>,
}

#[derive(Deserialize)]
struct InstallQuery {
    name: Option<String>,
}

#[derive(Deserialize)]
struct SwapQuery {
    to: String,
}

#[derive(Deserialize)]
struct LogQuery {
    #[serde(default)]
    since: u64,
}

pub(super) fn routes(plugins: Arc<Plugins>) -> Router {
    Router::new()
        .route("/plugins", get(list).post(install))
        .route("/plugins/{name}", get(show).delete(remove))
        .route("/plugins/{name}/swap", post(swap))
        .route("/plugins/{name}/rollback", post(rollback))
        .route("/plugins/{name}/grants", put(grant))
        .route("/plugins/{name}/logs", get(logs))
        // A little more than the largest component, so that one that is too large is told so.
        .layer(DefaultBodyLimit::max(COMPONENT_BYTES_MAX + (1 << 20)))
        .with_state(plugins)
}

/// An error as it is answered.
struct Refused(StatusCode, String);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.0, Json(json!({ "error": self.1 }))).into_response()
    }
}

impl From<UseError> for Refused {
    fn from(error: UseError) -> Refused {
        let status = match &error {
            UseError::Unknown(_) => StatusCode::NOT_FOUND,
            UseError::Io { .. } => StatusCode::INTERNAL_SERVER_ERROR,
            UseError::Role { .. }
            | UseError::Config { .. }
            | UseError::Schema { .. }
            | UseError::Component(_)
            | UseError::Start { .. }
            | UseError::Refused(_) => StatusCode::BAD_REQUEST,
        };
        Refused(status, error.to_string())
    }
}

fn ours(headers: &HeaderMap) -> Result<(), Refused> {
    if headers.contains_key(HEADER) {
        return Ok(());
    }
    Err(Refused(StatusCode::FORBIDDEN, format!("changes carry the header {HEADER}: 1")))
}

fn shown(plugins: &Plugins, installed: Installed) -> Json<Shown> {
    let users = plugins.users(&installed.name);
    let used_by = users.iter().map(ToString::to_string).collect();
    Json(Shown { installed, used_by })
}

async fn list(State(plugins): Shared) -> Result<Json<Vec<Shown>>, Refused> {
    let mut all = Vec::new();
    for name in plugins.library().names() {
        // One that has gone in the meantime is not in the list.
        if let Ok(installed) = plugins.library().get(&name) {
            all.push(shown(&plugins, installed).0);
        }
    }
    Ok(Json(all))
}

async fn show(State(plugins): Shared, Path(name): Path<String>) -> Result<Json<Shown>, Refused> {
    Ok(shown(&plugins, plugins.library().get(&name)?))
}

async fn install(
    State(plugins): Shared,
    Query(query): Query<InstallQuery>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Shown>, Refused> {
    ours(&headers)?;
    let installed = plugins.install(body.to_vec(), query.name.as_deref()).await?;
    Ok(shown(&plugins, installed))
}

async fn swap(
    State(plugins): Shared,
    Path(name): Path<String>,
    Query(query): Query<SwapQuery>,
    headers: HeaderMap,
) -> Result<Json<Shown>, Refused> {
    ours(&headers)?;
    let installed = plugins.swap(&name, &query.to).await?;
    Ok(shown(&plugins, installed))
}

async fn rollback(
    State(plugins): Shared,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Shown>, Refused> {
    ours(&headers)?;
    let installed = plugins.rollback(&name).await?;
    Ok(shown(&plugins, installed))
}

async fn grant(
    State(plugins): Shared,
    Path(name): Path<String>,
    headers: HeaderMap,
    Json(grants): Json<Grants>,
) -> Result<Json<Shown>, Refused> {
    ours(&headers)?;
    plugins.library().grant(&name, grants)?;
    Ok(shown(&plugins, plugins.library().get(&name)?))
}

async fn remove(
    State(plugins): Shared,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, Refused> {
    ours(&headers)?;
    plugins.remove(&name).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn logs(
    State(plugins): Shared,
    Path(name): Path<String>,
    Query(query): Query<LogQuery>,
) -> Result<Response, Refused> {
    let lines = plugins.library().journal(&name)?.since(query.since);
    Ok(Json(lines).into_response())
}
