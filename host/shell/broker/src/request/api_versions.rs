//! ApiVersions: what this broker speaks.
//!
//! **Decides** which features are advertised: `metadata.version`, by which tools tell the release,
//! and nothing whose absence a client would trip over (transactions, the newer group protocols).
//! **Invariant**: the APIs are those of the one table in `wire::version`, without what only brokers ask.

use std::sync::LazyLock;

use brooklet_types::ErrorCode;
use brooklet_wire::WireError;
use brooklet_wire::message::{
    ApiVersionsRequest, ApiVersionsResponse, api_versions_response, decode_request,
    encode_response, make,
};
use brooklet_wire::version::{Api, Audience};
use bytes::Bytes;

use crate::context::Call;

/// `metadata.version` of Kafka 4.3, by which tools tell the release.
const METADATA_VERSION: i16 = 30;
/// The lowest that Kafka 4 still knows.
const METADATA_VERSION_MIN: i16 = 7;

static RESPONSE: LazyLock<ApiVersionsResponse> = LazyLock::new(|| {
    make(|response: &mut ApiVersionsResponse| {
        response.api_keys = Api::served_to(Audience::Everybody).map(row).collect();
        response.supported_features =
            vec![make(|feature: &mut api_versions_response::SupportedFeatureKey| {
                feature.name = "metadata.version".into();
                feature.min_version = METADATA_VERSION_MIN;
                feature.max_version = METADATA_VERSION;
            })];
        response.finalized_features =
            vec![make(|feature: &mut api_versions_response::FinalizedFeatureKey| {
                feature.name = "metadata.version".into();
                feature.min_version_level = METADATA_VERSION;
                feature.max_version_level = METADATA_VERSION;
            })];
        // Features do not change while this release runs.
        response.finalized_features_epoch = 0;
    })
});

/// The same for the other brokers of the cluster.
static FOR_BROKERS: LazyLock<ApiVersionsResponse> = LazyLock::new(|| {
    let mut response = RESPONSE.clone();
    response.api_keys = Api::served_to(Audience::Brokers).map(row).collect();
    response
});

/// The whole answer, as a frame: an unknown version is answered in version 0, body unread.
pub(crate) fn answer(call: &Call, correlation: i32, body: Bytes) -> Result<Vec<Bytes>, WireError> {
    if !Api::ApiVersions.serves(call.version) {
        call.code(ErrorCode::UnsupportedVersion);
        return Ok(vec![encode_response(correlation, 0, &unsupported())?]);
    }
    if !is_answerable(call.version, body)? {
        let code = call.code(ErrorCode::InvalidRequest);
        let response = make(|response: &mut ApiVersionsResponse| response.error_code = code);
        return Ok(vec![encode_response(correlation, call.version, &response)?]);
    }
    let response = if call.peer.broker.is_some() { &*FOR_BROKERS } else { &*RESPONSE };
    Ok(vec![encode_response(correlation, call.version, response)?])
}

/// Whether a request is answered with the versions, and not with an error.
pub(crate) fn is_answerable(version: i16, body: Bytes) -> Result<bool, WireError> {
    if !Api::ApiVersions.serves(version) {
        return Ok(false);
    }
    let request: ApiVersionsRequest = decode_request(body, version)?;
    let named = [&request.client_software_name, &request.client_software_version];
    Ok(version < 3 || named.iter().all(|name| is_software_name(name)))
}

fn unsupported() -> ApiVersionsResponse {
    make(|response: &mut ApiVersionsResponse| {
        response.error_code = ErrorCode::UnsupportedVersion.to_wire();
        response.api_keys = vec![row(Api::ApiVersions)];
    })
}

fn row(api: Api) -> api_versions_response::ApiVersion {
    make(|row: &mut api_versions_response::ApiVersion| {
        row.api_key = api.key();
        (row.min_version, row.max_version) = api.versions();
    })
}

/// `[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?`, as in Kafka's `ApiVersionsRequest`.
fn is_software_name(name: &str) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric();
    let inner = |byte: &u8| plain(byte) || matches!(byte, b'-' | b'.');
    let bytes = name.as_bytes();
    bytes.first().is_some_and(plain) && bytes.last().is_some_and(plain) && bytes.iter().all(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_software_name_is_what_kafka_takes() {
        for name in ["a", "librdkafka", "apache-kafka-java", "2.12.1", "A-1"] {
            assert!(is_software_name(name), "{name}");
        }
        for name in ["", "-a", "a-", ".", "a b", "a_b", "ä"] {
            assert!(!is_software_name(name), "{name}");
        }
    }
}
