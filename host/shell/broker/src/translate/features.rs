//! UpdateFeatures, and the features that ApiVersions tells of.

use std::collections::BTreeMap;

use brooklet_meta::broker::FeatureRange;
use brooklet_meta::decide::feature::{FeatureUpdate, Upgrade};
use brooklet_types::ErrorCode;
use brooklet_wire::message::update_features_request::FeatureUpdateKey;
use brooklet_wire::message::update_features_response::UpdatableFeatureResult;
use brooklet_wire::message::{StrBytes, UpdateFeaturesRequest, UpdateFeaturesResponse, make};

/// Kafka's `metadata.version`, by which tools tell the release. It stands for nothing here and has one level.
pub const KAFKA_FEATURE: &str = "metadata.version";
/// Its level in Kafka 4.3.
pub const KAFKA_LEVEL: u16 = 30;
/// The levels that Kafka 4.3 knows.
pub const KAFKA_LEVELS: FeatureRange = FeatureRange { min: 7, max: KAFKA_LEVEL };

/// The last version that tells of each feature.
const RESULTS_UNTIL: i16 = 1;

/// One level that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The feature's name.
    pub name: String,
    /// Its level, unchecked.
    pub level: i16,
    /// Which way; none for a way that nobody knows.
    pub upgrade: Option<Upgrade>,
}

impl Wanted {
    /// As a question to the metadata, with a way that is known.
    pub fn update(&self, upgrade: Upgrade) -> FeatureUpdate {
        FeatureUpdate { name: self.name.clone(), level: self.level, upgrade }
    }
}

/// The levels that are asked for; of several for one feature, the last. Version 0 only goes up: Kafka pays no attention to the field by
/// which it would allow more.
pub fn wanted(request: &UpdateFeaturesRequest) -> Vec<Wanted> {
    let by_name = request.feature_updates.iter().map(|update| {
        let FeatureUpdateKey { max_version_level: level, upgrade_type, .. } = *update;
        let name = update.feature.to_string();
        (name.clone(), Wanted { name, level, upgrade: upgrade(upgrade_type) })
    });
    by_name.collect::<BTreeMap<String, Wanted>>().into_values().collect()
}

fn upgrade(number: i8) -> Option<Upgrade> {
    match number {
        1 => Some(Upgrade::Upgrade),
        2 => Some(Upgrade::SafeDowngrade),
        3 => Some(Upgrade::UnsafeDowngrade),
        _ => None,
    }
}

/// What is told of levels that were set, or could be.
pub fn updated(request: &UpdateFeaturesRequest, version: i16) -> UpdateFeaturesResponse {
    make(|response: &mut UpdateFeaturesResponse| {
        response.error_message = None;
        if version > RESULTS_UNTIL {
            return;
        }
        for update in &request.feature_updates {
            response.results.push(make(|it: &mut UpdatableFeatureResult| {
                it.feature = update.feature.clone();
                // Kafka gives even this code a text.
                it.error_message = Some(StrBytes::from(ErrorCode::None.name()));
            }));
        }
    })
}

/// What is told of levels that stay as they are, all of them.
pub fn refused(code: ErrorCode, message: String) -> UpdateFeaturesResponse {
    make(|response: &mut UpdateFeaturesResponse| {
        response.error_code = code.to_wire();
        response.error_message = Some(StrBytes::from(message));
    })
}
