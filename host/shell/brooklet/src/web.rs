//! What all administration over HTTP has in common.
//!
//! Every request that changes something carries the header `x-brooklet: 1`: a page in a browser on the same
//! machine can't send it without being asked first, and is then refused.

use axum::Json;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// The header of requests that change something.
pub(crate) const HEADER: &str = "x-brooklet";

/// An error as it is answered.
pub(crate) struct Refused(pub(crate) StatusCode, pub(crate) String);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.0, Json(json!({ "error": self.1 }))).into_response()
    }
}

/// Refuses what a page in a browser may have sent.
pub(crate) fn ours(headers: &HeaderMap) -> Result<(), Refused> {
    if headers.contains_key(HEADER) {
        return Ok(());
    }
    Err(Refused(StatusCode::FORBIDDEN, format!("changes carry the header {HEADER}: 1")))
}
