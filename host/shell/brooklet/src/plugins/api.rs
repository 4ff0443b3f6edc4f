//! What administrators do with plugins, over HTTP beside the probes.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use brooklet_connect::Connectors;
use brooklet_plugin::{COMPONENT_BYTES_MAX, Grants, Installed, Plugins, UseError};
use serde::{Deserialize, Serialize};

use crate::web::{Refused, ours};

type Shared = State<(Arc<Plugins>, Arc<Connectors>)>;

/// A plugin, and who uses it.
#[derive(Serialize, Deserialize)]
pub(crate) struct Shown {
    #[serde(flatten)]
    pub(crate) installed: Installed,
    /// Topics, views and connectors.
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

pub(super) fn routes(plugins: Arc<Plugins>, connectors: Arc<Connectors>) -> Router {
    Router::new()
        .route("/plugins", get(list).post(install))
        .route("/plugins/{name}", get(show).delete(remove))
        .route("/plugins/{name}/swap", post(swap))
        .route("/plugins/{name}/rollback", post(rollback))
        .route("/plugins/{name}/grants", put(grant))
        .route("/plugins/{name}/logs", get(logs))
        // A little more than the largest component, so that one that is too large is told so.
        .layer(DefaultBodyLimit::max(COMPONENT_BYTES_MAX + (1 << 20)))
        .with_state((plugins, connectors))
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

fn shown(plugins: &Plugins, connectors: &Connectors, installed: Installed) -> Json<Shown> {
    let used_by = users(plugins, connectors, &installed.name);
    Json(Shown { installed, used_by })
}

fn users(plugins: &Plugins, connectors: &Connectors, name: &str) -> Vec<String> {
    let of_connector = |name: String| format!("connector {name}");
    let connectors = connectors.users(name).into_iter().map(of_connector);
    let topics = plugins.users(name).into_iter().map(|topic| topic.to_string());
    topics.chain(connectors).collect()
}

async fn list(State((plugins, connectors)): Shared) -> Result<Json<Vec<Shown>>, Refused> {
    let mut all = Vec::new();
    for name in plugins.library().names() {
        // One that has gone in the meantime is not in the list.
        if let Ok(installed) = plugins.library().get(&name) {
            all.push(shown(&plugins, &connectors, installed).0);
        }
    }
    Ok(Json(all))
}

async fn show(
    State((plugins, connectors)): Shared,
    Path(name): Path<String>,
) -> Result<Json<Shown>, Refused> {
    Ok(shown(&plugins, &connectors, plugins.library().get(&name)?))
}

async fn install(
    State((plugins, connectors)): Shared,
    Query(query): Query<InstallQuery>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Shown>, Refused> {
    ours(&headers)?;
    let installed = plugins.install(body.to_vec(), query.name.as_deref()).await?;
    Ok(shown(&plugins, &connectors, installed))
}

async fn swap(
    State((plugins, connectors)): Shared,
    Path(name): Path<String>,
    Query(query): Query<SwapQuery>,
    headers: HeaderMap,
) -> Result<Json<Shown>, Refused> {
    ours(&headers)?;
    let installed = plugins.swap(&name, &query.to).await?;
    Ok(shown(&plugins, &connectors, installed))
}

async fn rollback(
    State((plugins, connectors)): Shared,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Shown>, Refused> {
    ours(&headers)?;
    let installed = plugins.rollback(&name).await?;
    Ok(shown(&plugins, &connectors, installed))
}

async fn grant(
    State((plugins, connectors)): Shared,
    Path(name): Path<String>,
    headers: HeaderMap,
    Json(grants): Json<Grants>,
) -> Result<Json<Shown>, Refused> {
    ours(&headers)?;
    plugins.library().grant(&name, grants)?;
    Ok(shown(&plugins, &connectors, plugins.library().get(&name)?))
}

async fn remove(
    State((plugins, connectors)): Shared,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, Refused> {
    ours(&headers)?;
    let used_by = users(&plugins, &connectors, &name);
    if !used_by.is_empty() {
        let problem = format!("plugin {name:?} is used by {}", used_by.join(", "));
        return Err(UseError::Refused(problem).into());
    }
    plugins.remove(&name).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn logs(
    State((plugins, _)): Shared,
    Path(name): Path<String>,
    Query(query): Query<LogQuery>,
) -> Result<Response, Refused> {
    let lines = plugins.library().journal(&name)?.since(query.since);
    Ok(Json(lines).into_response())
}
