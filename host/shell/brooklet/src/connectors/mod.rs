//! What administrators do with connectors, over HTTP beside the probes, in the shape of Connect's REST.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use brooklet_connect::{ConnectError, ConnectorStatus, Connectors, Info};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::web::{Refused, ours};

type Shared = State<Arc<Connectors>>;

/// A connector to be made.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewConnector {
    pub(crate) name: String,
    pub(crate) config: Map<String, Value>,
    #[serde(default)]
    pub(crate) initial_state: InitialState,
}

/// How it begins.
#[derive(Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum InitialState {
    #[default]
    Running,
    Paused,
}

#[derive(Deserialize)]
struct DeleteQuery {
    #[serde(default)]
    forget: bool,
}

pub(crate) fn routes(connectors: Arc<Connectors>) -> Router {
    Router::new()
        .route("/connectors", get(list).post(create))
        .route("/connectors/{name}", get(show).delete(delete))
        .route("/connectors/{name}/status", get(status))
        .route("/connectors/{name}/pause", put(pause))
        .route("/connectors/{name}/resume", put(resume))
        .route("/connectors/{name}/restart", post(restart))
        .with_state(connectors)
}

impl From<ConnectError> for Refused {
    fn from(error: ConnectError) -> Refused {
        let status = match &error {
            ConnectError::Unknown(_) => StatusCode::NOT_FOUND,
            ConnectError::Exists(_) | ConnectError::Refused(_) => StatusCode::CONFLICT,
            ConnectError::Config(_) | ConnectError::Plugin { .. } => StatusCode::BAD_REQUEST,
            ConnectError::Disk { .. } | ConnectError::Outbox(_) => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
        };
        Refused(status, error.to_string())
    }
}

async fn list(State(connectors): Shared) -> Json<Vec<ConnectorStatus>> {
    let mut all = Vec::new();
    for name in connectors.names().await {
        // One that has gone in the meantime is not in the list.
        if let Ok(status) = connectors.status(&name).await {
            all.push(status);
        }
    }
    Json(all)
}

async fn create(
    State(connectors): Shared,
    headers: HeaderMap,
    Json(new): Json<NewConnector>,
) -> Result<(StatusCode, Json<Info>), Refused> {
    ours(&headers)?;
    let paused = new.initial_state == InitialState::Paused;
    let info = connectors.create(&new.name, new.config, paused).await?;
    Ok((StatusCode::CREATED, Json(info)))
}

async fn show(State(connectors): Shared, Path(name): Path<String>) -> Result<Json<Info>, Refused> {
    Ok(Json(connectors.get(&name).await?))
}

async fn status(
    State(connectors): Shared,
    Path(name): Path<String>,
) -> Result<Json<ConnectorStatus>, Refused> {
    Ok(Json(connectors.status(&name).await?))
}

async fn pause(
    State(connectors): Shared,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, Refused> {
    ours(&headers)?;
    connectors.pause(&name).await?;
    Ok(StatusCode::ACCEPTED)
}

async fn resume(
    State(connectors): Shared,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, Refused> {
    ours(&headers)?;
    connectors.resume(&name).await?;
    Ok(StatusCode::ACCEPTED)
}

async fn restart(
    State(connectors): Shared,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, Refused> {
    ours(&headers)?;
    connectors.restart(&name).await?;
    Ok(StatusCode::ACCEPTED)
}

async fn delete(
    State(connectors): Shared,
    Path(name): Path<String>,
    Query(query): Query<DeleteQuery>,
    headers: HeaderMap,
) -> Result<StatusCode, Refused> {
    ours(&headers)?;
    connectors.delete(&name, query.forget).await?;
    Ok(StatusCode::NO_CONTENT)
}
