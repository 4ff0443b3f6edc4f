//! Levels of features (UpdateFeatures): what every broker of the cluster has to understand.
//!
//! There is one of ours, [`FEATURE`]: which kinds of records may be written. It never goes down: records of its
//! level are in the log.

use brooklet_types::{BrokerId, ErrorCode};

use super::setting::MIN_IN_SYNC;
use super::{Decision, Draft};
use crate::broker::FeatureRange;
use crate::cluster::Cluster;
use crate::record::{CLUSTER_LEVEL, ClusterRecord, FEATURE, LEVELS, MetaRecord};

/// Which way a level may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upgrade {
    /// Up only.
    Upgrade,
    /// Down, if nothing is lost.
    SafeDowngrade,
    /// Down, whatever is lost.
    UnsafeDowngrade,
}

/// One feature and its new level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeatureUpdate {
    /// The feature's name.
    pub name: String,
    /// Its level, unchecked.
    pub level: i16,
    /// Which way.
    pub upgrade: Upgrade,
}

/// Why the level of a feature was not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Invalid update version {level} for feature {name}. {reason}")]
pub struct FeatureError {
    /// The feature.
    pub name: String,
    /// The level it was to have.
    pub level: i16,
    /// What is wrong with that.
    pub reason: FeatureReason,
}

/// What is wrong with a new level.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FeatureReason {
    /// There are none below 0.
    #[error("A feature version cannot be less than 0.")]
    Negative,
    /// This release does not know the feature, or not that level.
    #[error("{}", unsupported(&format!("Local controller {controller}"), *.range))]
    Local { controller: BrokerId, range: FeatureRange },
    /// A broker of the cluster does not.
    #[error("{}", unsupported(&format!("Broker {broker}"), *.range))]
    Broker { broker: BrokerId, range: FeatureRange },
    /// Down, and it was to go up.
    #[error(
        "Can't downgrade the version of this feature without setting the upgrade type to either \
         safe or unsafe downgrade."
    )]
    Downgrade,
    /// Up, and it was to go down.
    #[error("Can't downgrade to a newer version.")]
    DowngradeToNewer,
    /// Down, and the log has records of the level it has.
    #[error("Unsafe metadata downgrade is not supported in this version.")]
    RecordsOfLevel,
}

impl FeatureError {
    /// What the client is told.
    pub fn code(&self) -> ErrorCode {
        ErrorCode::InvalidUpdateVersion
    }
}

fn unsupported(who: &str, range: FeatureRange) -> String {
    if range.max == 0 {
        return format!("{who} does not support this feature.");
    }
    format!("{who} only supports versions {range}")
}

/// What this release understands of a feature.
pub fn supported(name: &str) -> FeatureRange {
    if name == FEATURE { LEVELS } else { FeatureRange { min: 0, max: 0 } }
}

/// Changes levels of features, all or none. `this` is the controller.
pub fn update_features(
    cluster: &Cluster,
    this: BrokerId,
    updates: &[FeatureUpdate],
    validate_only: bool,
) -> Result<Decision<()>, FeatureError> {
    let mut draft = Draft::of(cluster);
    for update in updates {
        let level = check(&draft.cluster, this, update).map_err(|reason| FeatureError {
            name: update.name.clone(),
            level: update.level,
            reason,
        })?;
        set_level(&mut draft, &update.name, level);
    }
    Ok(draft.decide(validate_only, ()))
}

/// The first decision of a cluster's life: which kinds of records its log has. Nothing if that was decided. The
/// log of a broker that was alone becomes a cluster's by it, and is then read by no release without clusters.
pub fn begin_cluster(cluster: &Cluster) -> Decision<()> {
    let mut draft = Draft::of(cluster);
    if cluster.level() == 0 {
        set_level(&mut draft, FEATURE, LEVELS.max);
    }
    draft.decide(false, ())
}

fn check(cluster: &Cluster, this: BrokerId, update: &FeatureUpdate) -> Result<u16, FeatureReason> {
    let level = u16::try_from(update.level).map_err(|_| FeatureReason::Negative)?;
    let range = supported(&update.name);
    if !range.contains(level) {
        return Err(FeatureReason::Local { controller: this, range });
    }
    for broker in cluster.brokers() {
        let Some(registration) = &broker.registration else { continue };
        let range = registration.features.get(&update.name).copied();
        let range = range.unwrap_or(FeatureRange { min: 0, max: 0 });
        if !range.contains(level) {
            return Err(FeatureReason::Broker { broker: broker.id, range });
        }
    }
    let current = cluster.feature(&update.name);
    match update.upgrade {
        Upgrade::Upgrade if level < current => Err(FeatureReason::Downgrade),
        Upgrade::SafeDowngrade | Upgrade::UnsafeDowngrade if level > current => {
            Err(FeatureReason::DowngradeToNewer)
        }
        Upgrade::SafeDowngrade | Upgrade::UnsafeDowngrade if level < current => {
            Err(FeatureReason::RecordsOfLevel)
        }
        Upgrade::Upgrade | Upgrade::SafeDowngrade | Upgrade::UnsafeDowngrade => Ok(level),
    }
}

fn set_level(draft: &mut Draft, name: &str, level: u16) {
    let before = draft.cluster.feature(name);
    if level == before {
        return;
    }
    let name = name.to_owned();
    draft.push(ClusterRecord::FeatureLevelSet { name, level });
    if before < CLUSTER_LEVEL && draft.cluster.level() >= CLUSTER_LEVEL {
        agree_on_min_in_sync(draft);
    }
}

/// Leaders and the controller have to count alike how many are in sync: what this configuration file says holds
/// for all, and what brokers had of their own is gone.
fn agree_on_min_in_sync(draft: &mut Draft) {
    let own = draft.cluster.brokers().filter(|broker| broker.settings.contains_key(MIN_IN_SYNC));
    let own: Vec<BrokerId> = own.map(|broker| broker.id).collect();
    for broker in own {
        let changes = vec![(MIN_IN_SYNC.to_owned(), None)];
        draft.push(MetaRecord::BrokerSettingsChanged { broker: Some(broker), changes });
    }
    if !draft.cluster.broker_defaults().contains_key(MIN_IN_SYNC) {
        let configured = draft.cluster.configured().get(MIN_IN_SYNC).cloned();
        let value = configured.unwrap_or_else(|| "1".to_owned());
        let changes = vec![(MIN_IN_SYNC.to_owned(), Some(value))];
        draft.push(MetaRecord::BrokerSettingsChanged { broker: None, changes });
    }
}
