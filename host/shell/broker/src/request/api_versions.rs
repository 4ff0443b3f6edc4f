//! ApiVersions: what this broker speaks.
//!
//! **Decides** which features are advertised: `metadata.version`, by which tools tell the release, that of our own metadata,
//! and nothing whose absence a client would trip over (transactions, the newer group protocols).
//! **Invariant**: the APIs are those of the one table in `wire::version`, without what only brokers ask.

use std::sync::LazyLock;

use brooklet_meta::Cluster;
use brooklet_meta::broker::FeatureRange;
use brooklet_meta::record::{FEATURE, LEVELS};
use brooklet_types::ErrorCode;
use brooklet_wire::WireError;
use brooklet_wire::message::api_versions_response::{FinalizedFeatureKey, SupportedFeatureKey};
use brooklet_wire::message::{
    ApiVersionsRequest, ApiVersionsResponse, api_versions_response, decode_request,
    encode_response, make,
};
use brooklet_wire::version::{Api, Audience};
use bytes::Bytes;

use crate::context::Call;
use crate::translate::features::{KAFKA_FEATURE, KAFKA_LEVEL, KAFKA_LEVELS};

/// Up to here older clients stumble over a feature that may be at level 0 (KAFKA-17011): they are not told what such a one supports.
const NO_ZERO_UNTIL: i16 = 3;

/// What is told everybody: the APIs, and Kafka's own feature, by which tools tell the release.
static RESPONSE: LazyLock<ApiVersionsResponse> = LazyLock::new(|| {
    make(|response: &mut ApiVersionsResponse| {
        response.api_keys = Api::served_to(Audience::Everybody).map(row).collect();
        response.supported_features = vec![supported(KAFKA_FEATURE, KAFKA_LEVELS)];
        response.finalized_features = vec![finalized(KAFKA_FEATURE, KAFKA_LEVEL)];
    })
});

/// The same, with the cluster's features as of this version of it.
fn response(cluster: &Cluster, version: i16) -> ApiVersionsResponse {
    let mut response = RESPONSE.clone();
    response.finalized_features_epoch = i64::try_from(cluster.version()).unwrap_or(i64::MAX);
    if version > NO_ZERO_UNTIL {
        response.supported_features.push(supported(FEATURE, LEVELS));
    }
    let levels = cluster.features().iter();
    response.finalized_features.extend(levels.map(|(name, level)| finalized(name, *level)));
    response
}

fn supported(name: &str, levels: FeatureRange) -> SupportedFeatureKey {
    make(|feature: &mut SupportedFeatureKey| {
        feature.name = name.into();
        (feature.min_version, feature.max_version) = (level(levels.min), level(levels.max));
    })
}

/// Kafka, too, has ranges here of which both ends are the same.
fn finalized(name: &str, at: u16) -> FinalizedFeatureKey {
    make(|feature: &mut FinalizedFeatureKey| {
        feature.name = name.into();
        (feature.min_version_level, feature.max_version_level) = (level(at), level(at));
    })
}

fn level(level: u16) -> i16 {
    i16::try_from(level).unwrap_or(i16::MAX)
}

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
    let mut response = response(&call.cluster(), call.version);
    if call.peer.broker.is_some() {
        response.api_keys = Api::served_to(Audience::Brokers).map(row).collect();
    }
    Ok(vec![encode_response(correlation, call.version, &response)?])
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
    use brooklet_meta::record::ClusterRecord;

    use super::*;

    #[test]
    fn our_feature_is_told_to_who_can_read_it_and_its_level_once_it_has_one() {
        let mut cluster = Cluster::default();
        let told = |cluster: &Cluster, version| {
            let response = response(cluster, version);
            let supported = response.supported_features.iter().map(|it| it.name.to_string());
            let finalized = response.finalized_features.iter().map(|it| it.max_version_level);
            let finalized: Vec<i16> = finalized.collect();
            (supported.collect::<Vec<_>>(), finalized, response.finalized_features_epoch)
        };
        let kafkas = || KAFKA_FEATURE.to_owned();
        let (both, epoch) = (vec![kafkas(), FEATURE.to_owned()], 0);
        assert_eq!(told(&cluster, 3), (vec![kafkas()], vec![30], epoch));
        assert_eq!(told(&cluster, 4), (both.clone(), vec![30], epoch));
        let name = FEATURE.to_owned();
        cluster.apply(&ClusterRecord::FeatureLevelSet { name, level: 1 }.into());
        assert_eq!(told(&cluster, 4), (both, vec![30, 1], 1));
    }

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
