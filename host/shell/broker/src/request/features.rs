//! UpdateFeatures: which kinds of records the cluster may write.
//!
//! **Decides** that Kafka's own feature stays at its one level, and that no level makes a cluster of a broker that is alone: who is in a cluster
//! is registered, and nobody who is not would lead anything. The rest is `meta`'s.

use brooklet_meta::decide::feature::{
    FeatureError, FeatureReason, Upgrade, supported, update_features,
};
use brooklet_meta::record::{CLUSTER_LEVEL, FEATURE, LEVELS};
use brooklet_meta::{Cluster, Decision};
use brooklet_types::{BrokerId, ErrorCode, Operation};
use brooklet_wire::message::{UpdateFeaturesRequest, UpdateFeaturesResponse};

use crate::context::Call;
use crate::translate::features::{
    KAFKA_FEATURE, KAFKA_LEVEL, KAFKA_LEVELS, Wanted, refused, updated, wanted,
};

/// Why levels stay as they are.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum UpdateError {
    /// `meta` says so, or would.
    #[error(transparent)]
    Level(#[from] FeatureError),
    /// Neither up nor down.
    #[error(
        "Invalid update version {} for feature {}. The controller does not support the given \
         upgrade type.", .0.level, .0.name
    )]
    UpgradeType(Wanted),
    /// Nobody knows the feature that is to be taken away.
    #[error("Invalid update version {} for feature {}. Feature {} not found.", .0.level, .0.name, .0.name)]
    NotFound(Wanted),
    /// Kafka's own does not go down, whatever is lost.
    #[error("Unsupported {KAFKA_FEATURE} downgrade from {KAFKA_LEVEL} to {level}. {}", why(*.upgrade))]
    Kafkas { level: i16, upgrade: Upgrade },
    /// There is no cluster whose level it could be.
    #[error(
        "Invalid update version {0} for feature {FEATURE}. This broker is alone: its level is \
         raised when a cluster is made of it."
    )]
    Alone(i16),
}

impl UpdateError {
    /// What the client is told.
    fn code(&self) -> ErrorCode {
        match self {
            UpdateError::Level(error) => error.code(),
            UpdateError::UpgradeType(_)
            | UpdateError::NotFound(_)
            | UpdateError::Kafkas { .. }
            | UpdateError::Alone(_) => ErrorCode::InvalidUpdateVersion,
        }
    }
}

/// Kafka's words for a release's levels that are not left.
fn why(upgrade: Upgrade) -> &'static str {
    match upgrade {
        Upgrade::Upgrade | Upgrade::SafeDowngrade => {
            "Refusing to perform the requested downgrade because it might delete metadata \
             information."
        }
        Upgrade::UnsafeDowngrade => "Unsafe metadata downgrade is not supported in this version.",
    }
}

/// Answers UpdateFeatures. The time that a client allows is not looked at, by Kafka neither.
pub(crate) async fn update(call: &Call, request: UpdateFeaturesRequest) -> UpdateFeaturesResponse {
    let (levels, this) = (wanted(&request), call.context.node);
    let validate_only = request.validate_only;
    let decide = move |cluster: &Cluster| match decide(cluster, this, &levels, validate_only) {
        Ok(Decision { records, reply }) => Decision { records, reply: Ok(reply) },
        Err(error) => Decision { records: Vec::new(), reply: Err(error) },
    };
    let decided = match call.may(&call.cluster()).need_cluster(Operation::Alter) {
        Ok(()) => call.change(decide).await,
        Err(code) => Err(code),
    };
    let (code, message) = match decided {
        Ok(Ok(())) => return updated(&request, call.version),
        Ok(Err(error)) => {
            let which =
                "The update failed for all features since the following feature had an error";
            (error.code(), format!("{which}: {error}"))
        }
        Err(code) => (code, code.message().to_owned()),
    };
    call.context.metrics.refused(call.api, code);
    refused(code, message)
}

/// All levels or none. `this` is the controller.
fn decide(
    cluster: &Cluster,
    this: BrokerId,
    levels: &[Wanted],
    validate_only: bool,
) -> Result<Decision<()>, UpdateError> {
    let mut updates = Vec::new();
    for wanted in levels {
        let upgrade = wanted.upgrade.ok_or_else(|| UpdateError::UpgradeType(wanted.clone()))?;
        if wanted.name == KAFKA_FEATURE {
            check_kafkas(this, wanted, upgrade)?;
            continue;
        }
        if wanted.level == 0 && supported(&wanted.name).max == 0 {
            return Err(UpdateError::NotFound(wanted.clone()));
        }
        let known = u16::try_from(wanted.level).ok().filter(|level| LEVELS.contains(*level));
        let begins = wanted.name == FEATURE && known.is_some_and(|level| level >= CLUSTER_LEVEL);
        if begins && cluster.level() < CLUSTER_LEVEL {
            return Err(UpdateError::Alone(wanted.level));
        }
        updates.push(wanted.update(upgrade));
    }
    Ok(update_features(cluster, this, &updates, validate_only)?)
}

/// Whether Kafka's own feature is asked to stay where it is.
fn check_kafkas(this: BrokerId, wanted: &Wanted, upgrade: Upgrade) -> Result<(), UpdateError> {
    let level = wanted.level;
    let refuse = |reason| {
        let name = KAFKA_FEATURE.to_owned();
        Err(UpdateError::Level(FeatureError { name, level, reason }))
    };
    match u16::try_from(level) {
        Err(_) => refuse(FeatureReason::Negative),
        Ok(known) if !KAFKA_LEVELS.contains(known) => {
            refuse(FeatureReason::Local { controller: this, range: KAFKA_LEVELS })
        }
        Ok(KAFKA_LEVEL) => Ok(()),
        Ok(_) if upgrade == Upgrade::Upgrade => refuse(FeatureReason::Downgrade),
        Ok(_) => Err(UpdateError::Kafkas { level, upgrade }),
    }
}

#[cfg(test)]
mod tests {
    use brooklet_meta::MetaRecord;
    use brooklet_meta::decide::feature::begin_cluster;

    use super::*;

    fn one(name: &str, level: i16, upgrade: Upgrade) -> Vec<Wanted> {
        vec![Wanted { name: name.to_owned(), level, upgrade: Some(upgrade) }]
    }

    #[test]
    fn no_level_makes_a_cluster_of_a_broker_that_is_alone() {
        let mut cluster = Cluster::default();
        cluster.apply(&MetaRecord::BrokerStarted { broker: BrokerId(1), clean: true });
        let raised = one(FEATURE, 1, Upgrade::Upgrade);
        for validate_only in [false, true] {
            let refused = decide(&cluster, BrokerId(1), &raised, validate_only);
            assert_eq!(refused, Err(UpdateError::Alone(1)));
        }
        let kept = decide(&cluster, BrokerId(1), &one(FEATURE, 0, Upgrade::Upgrade), false);
        assert_eq!(kept.unwrap().records, []);
        let unknown = decide(&cluster, BrokerId(1), &one(FEATURE, 9, Upgrade::Upgrade), false);
        let message = unknown.unwrap_err().to_string();
        assert!(message.ends_with("Local controller 1 only supports versions 0-1"), "{message}");
        for record in begin_cluster(&cluster).records {
            cluster.apply(&record);
        }
        let kept = decide(&cluster, BrokerId(1), &raised, false);
        assert_eq!(kept.unwrap().records, [], "it has that level");
    }

    #[test]
    fn what_is_wrong_with_one_level_keeps_all_as_they_are() {
        let cluster = Cluster::default();
        let mut levels = one(KAFKA_FEATURE, 30, Upgrade::Upgrade);
        assert!(decide(&cluster, BrokerId(1), &levels, false).is_ok());
        levels.extend(one("foo", 0, Upgrade::SafeDowngrade));
        let error = decide(&cluster, BrokerId(1), &levels, false).unwrap_err();
        assert_eq!(error.code(), ErrorCode::InvalidUpdateVersion);
        assert_eq!(
            error.to_string(),
            "Invalid update version 0 for feature foo. Feature foo not found."
        );
    }
}
