//! Settings change, of topics and of brokers.

use brooklet_types::{BrokerId, ErrorCode, NameError, TopicId, TopicName};

use super::broker::change_partitions;
use super::topic::name_message;
use super::{Decision, Draft};
use crate::cluster::{Cluster, Settings};
use crate::record::{CLUSTER_LEVEL, MetaRecord, SettingChange};
use crate::setting::{Change, Setting, SettingError, broker, describe, kind, topic};

/// Whose settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resource {
    /// A topic's, by its unchecked name.
    Topic(String),
    /// A broker's, by its number in unchecked text; empty for all brokers.
    Broker(String),
}

/// What to do with one setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Give it this value.
    Set,
    /// Let it be what it is by itself.
    Delete,
    /// Add these items to a list.
    Append,
    /// Take these items from a list.
    Subtract,
}

/// One change of one setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alteration {
    /// The setting.
    pub name: String,
    /// What to do.
    pub operation: Operation,
    /// With what.
    pub value: Option<String>,
}

/// Why settings were not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AlterError {
    /// No topic of that name.
    #[error("The topic '{0}' does not exist.")]
    UnknownTopic(TopicName),
    /// Not a topic's name.
    #[error("{}", name_message(.name, .error))]
    TopicName { name: String, error: NameError },
    /// There are no settings of all topics, other than the broker's.
    #[error("Default topic resources are not allowed.")]
    AllTopics,
    /// Not a broker's number.
    #[error("Broker id must be an integer, but it is: {0}")]
    BrokerName(String),
    /// No broker of that number.
    #[error("No broker with id {0} found.")]
    UnknownBroker(BrokerId),
    /// The request names the resource twice.
    #[error("Each resource must appear at most once.")]
    DuplicateResource,
    /// The request names a setting twice.
    #[error("Error due to duplicate config keys")]
    DuplicateSetting,
    /// There is no such topic setting.
    #[error("Unknown topic config name: {0}")]
    UnknownTopicSetting(String),
    /// There is no such broker setting. Kafka stores what it does not know; a misspelt name that
    /// looks as if it worked helps nobody.
    #[error("Unknown broker config name: {0}")]
    UnknownBrokerSetting(String),
    /// The setting is fixed while the broker runs.
    #[error("Cannot update these configs dynamically: [{0}]")]
    ReadOnly(String),
    /// A change without a value.
    #[error("Null value not supported for : {0}")]
    NoValue(String),
    /// A topic's setting without a value, where all are given.
    #[error("Null value not supported for topic configs: {0}")]
    NoTopicValue(String),
    /// Only lists can be appended to and subtracted from.
    #[error("Can't {operation} to key {name} because its type is not LIST.")]
    NotAList { operation: &'static str, name: String },
    /// The value is not one.
    #[error(transparent)]
    Value(#[from] SettingError),
    /// A broker's value is not one, for which Kafka has another code.
    #[error(transparent)]
    BrokerValue(SettingError),
    /// There is no tiered storage here.
    #[error(
        "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with \
         remote log storage."
    )]
    NoTieredStorage,
    /// What a view shows is settled when it is created.
    #[error("{name} is given when a view is created, and not changed afterwards.", name = topic::VIEW_OF)]
    ViewOf,
    /// Records could never be compacted in time.
    #[error(
        "conflict topic config setting min.compaction.lag.ms ({min}) > max.compaction.lag.ms \
         ({max})"
    )]
    CompactionLags { min: i64, max: i64 },
    /// Leaders and the controller have to count the same, or who is eligible might lack records.
    #[error("Broker-level {MIN_IN_SYNC} cannot be altered while ELR is enabled.")]
    BrokerMinInSync,
    /// And without it each would go by its own configuration file.
    #[error("Cluster-level {MIN_IN_SYNC} cannot be removed while ELR is enabled.")]
    NoMinInSync,
}

/// How many have to be in sync. In a cluster it is a topic's or the cluster's, and no broker's.
pub(super) const MIN_IN_SYNC: &str = "min.insync.replicas";

impl AlterError {
    /// What the client is told.
    pub fn code(&self) -> ErrorCode {
        match self {
            AlterError::UnknownTopic(_) => ErrorCode::UnknownTopicOrPartition,
            AlterError::TopicName { .. } => ErrorCode::InvalidTopicException,
            AlterError::AllTopics
            | AlterError::BrokerName(_)
            | AlterError::UnknownBroker(_)
            | AlterError::DuplicateResource
            | AlterError::DuplicateSetting
            | AlterError::ReadOnly(_)
            | AlterError::NoValue(_)
            | AlterError::BrokerValue(_) => ErrorCode::InvalidRequest,
            AlterError::UnknownTopicSetting(_)
            | AlterError::UnknownBrokerSetting(_)
            | AlterError::NoTopicValue(_)
            | AlterError::NotAList { .. }
            | AlterError::Value(_)
            | AlterError::NoTieredStorage
            | AlterError::ViewOf
            | AlterError::CompactionLags { .. }
            | AlterError::BrokerMinInSync
            | AlterError::NoMinInSync => ErrorCode::InvalidConfig,
        }
    }
}

/// IncrementalAlterConfigs: changes some settings of each resource, all or none of them.
pub fn alter_settings(
    cluster: &Cluster,
    resources: &[(Resource, Vec<Alteration>)],
    validate_only: bool,
) -> Decision<Vec<Result<(), AlterError>>> {
    let names = || resources.iter().map(|(resource, _)| resource);
    each(cluster, names, validate_only, |draft, place| {
        let (resource, alterations) = &resources[place];
        let target = Target::find(&draft.cluster, resource)?;
        let names = alterations.iter().map(|alteration| alteration.name.as_str());
        refuse_duplicates(names)?;
        let changes = alterations.iter().map(|alteration| target.change(draft, alteration));
        let changes = changes.collect::<Result<Vec<_>, _>>()?;
        target.finish(draft, changes.into_iter().flatten().collect())
    })
}

/// AlterConfigs: makes the given settings the only ones of each resource.
pub fn replace_settings(
    cluster: &Cluster,
    resources: &[(Resource, Vec<SettingChange>)],
    validate_only: bool,
) -> Decision<Vec<Result<(), AlterError>>> {
    let names = || resources.iter().map(|(resource, _)| resource);
    each(cluster, names, validate_only, |draft, place| {
        let (resource, settings) = &resources[place];
        let target = Target::find(&draft.cluster, resource)?;
        refuse_duplicates(settings.iter().map(|(name, _)| name.as_str()))?;
        let current = target.settings(&draft.cluster);
        let is_gone = |name: &&String| {
            *name != topic::VIEW_OF && settings.iter().all(|(kept, _)| kept != *name)
        };
        let gone = current.keys().filter(is_gone);
        let mut changes: Vec<SettingChange> = gone.map(|name| (name.clone(), None)).collect();
        for (name, value) in settings {
            let Some(value) = value else { return Err(AlterError::NoValue(name.clone())) };
            target.check(name, value)?;
            changes.push((name.clone(), Some(value.clone())));
        }
        target.finish(draft, changes)
    })
}

/// Checks the settings of a topic that is about to be created.
pub(super) fn check_topic_settings(
    settings: &[SettingChange],
) -> Result<Vec<(String, String)>, AlterError> {
    refuse_duplicates(settings.iter().map(|(name, _)| name.as_str()))?;
    let mut checked = Settings::new();
    for (name, value) in settings {
        let Some(value) = value else { return Err(AlterError::NoTopicValue(name.clone())) };
        check_topic_setting(name, value)?;
        checked.insert(name.clone(), value.clone());
    }
    check_together(&checked)?;
    Ok(checked.into_iter().collect())
}

fn each<'a, Names: Iterator<Item = &'a Resource>>(
    cluster: &Cluster,
    names: impl Fn() -> Names,
    validate_only: bool,
    decide: impl Fn(&mut Draft, usize) -> Result<(), AlterError>,
) -> Decision<Vec<Result<(), AlterError>>> {
    let mut draft = Draft::of(cluster);
    let mut reply = Vec::new();
    for (place, resource) in names().enumerate() {
        if names().filter(|other| *other == resource).count() > 1 {
            reply.push(Err(AlterError::DuplicateResource));
        } else {
            reply.push(decide(&mut draft, place));
        }
    }
    draft.decide(validate_only, reply)
}

/// A resource that exists.
#[derive(Clone, Copy)]
enum Target {
    Topic(TopicId),
    Broker(Option<BrokerId>),
}

impl Target {
    fn find(cluster: &Cluster, resource: &Resource) -> Result<Target, AlterError> {
        match resource {
            Resource::Topic(name) if name.is_empty() => Err(AlterError::AllTopics),
            Resource::Topic(name) => {
                let name = TopicName::new(name)
                    .map_err(|error| AlterError::TopicName { name: name.clone(), error })?;
                let found = cluster.topic(name.as_str()).map(|topic| Target::Topic(topic.id));
                found.ok_or(AlterError::UnknownTopic(name))
            }
            Resource::Broker(name) if name.is_empty() => Ok(Target::Broker(None)),
            Resource::Broker(name) => {
                let id = name.parse().map_err(|_| AlterError::BrokerName(name.clone()))?;
                let found = cluster.broker(BrokerId(id)).map(|broker| broker.id);
                let id = found.ok_or(AlterError::UnknownBroker(BrokerId(id)))?;
                Ok(Target::Broker(Some(id)))
            }
        }
    }

    fn settings(self, cluster: &Cluster) -> Settings {
        match self {
            Target::Topic(id) => cluster.topic_by_id(id).map(|topic| topic.settings.clone()),
            Target::Broker(None) => Some(cluster.broker_defaults().clone()),
            Target::Broker(Some(id)) => cluster.broker(id).map(|broker| broker.settings.clone()),
        }
        .expect("a target exists")
    }

    fn setting(self, name: &str) -> Result<&'static Setting, AlterError> {
        match self {
            Target::Topic(_) => {
                topic::find(name).ok_or_else(|| AlterError::UnknownTopicSetting(name.to_owned()))
            }
            Target::Broker(_) => {
                let setting = broker::find(name)
                    .ok_or_else(|| AlterError::UnknownBrokerSetting(name.to_owned()))?;
                if setting.change != Change::Online {
                    return Err(AlterError::ReadOnly(name.to_owned()));
                }
                Ok(setting)
            }
        }
    }

    fn check(self, name: &str, value: &str) -> Result<(), AlterError> {
        match self {
            Target::Topic(_) => check_topic_setting(name, value),
            Target::Broker(_) => self.setting(name)?.check(value).map_err(AlterError::BrokerValue),
        }
    }

    /// What one alteration comes to; nothing if it changes nothing.
    fn change(
        self,
        draft: &Draft,
        alteration: &Alteration,
    ) -> Result<Option<SettingChange>, AlterError> {
        let Alteration { name, operation, value } = alteration;
        if *operation == Operation::Delete {
            // Kafka lets anybody delete what is not there, known or not.
            let there = self.settings(&draft.cluster).contains_key(name);
            return Ok(there.then(|| (name.clone(), None)));
        }
        let Some(value) = value else { return Err(AlterError::NoValue(name.clone())) };
        let setting = self.setting(name)?;
        let value = match operation {
            Operation::Append => self.combined(draft, setting, value, "APPEND", append)?,
            Operation::Subtract => self.combined(draft, setting, value, "SUBTRACT", subtract)?,
            Operation::Set | Operation::Delete => value.clone(),
        };
        self.check(name, &value)?;
        Ok(Some((name.clone(), Some(value))))
    }

    fn combined(
        self,
        draft: &Draft,
        setting: &'static Setting,
        value: &str,
        operation: &'static str,
        combine: fn(&[&str], &[&str]) -> String,
    ) -> Result<String, AlterError> {
        if !setting.kind.is_list() {
            return Err(AlterError::NotAList { operation, name: setting.name.to_owned() });
        }
        let current = self.current(&draft.cluster, setting);
        Ok(combine(&kind::items(&current), &kind::items(value)))
    }

    /// The list that is appended to: the resource's own, or what is in effect without it.
    fn current(self, cluster: &Cluster, setting: &'static Setting) -> String {
        let own = self.settings(cluster);
        let value = match self {
            Target::Topic(_) => {
                let this = cluster.brokers().next().map(|broker| broker.id);
                return describe::topic_value(cluster, this, &own, setting);
            }
            Target::Broker(_) => own.get(setting.name).cloned(),
        };
        value.or_else(|| setting.default.map(str::to_owned)).unwrap_or_default()
    }

    fn finish(self, draft: &mut Draft, changes: Vec<SettingChange>) -> Result<(), AlterError> {
        let mut after = self.settings(&draft.cluster);
        for (name, value) in &changes {
            match value {
                Some(value) => after.insert(name.clone(), value.clone()),
                None => after.remove(name),
            };
        }
        if changes.is_empty() {
            return Ok(());
        }
        let min_in_sync = changes.iter().find(|(name, _)| name == MIN_IN_SYNC);
        let min_in_sync = min_in_sync.filter(|_| draft.cluster.level() >= CLUSTER_LEVEL).cloned();
        if let Some((_, value)) = &min_in_sync {
            self.check_min_in_sync(value.as_deref())?;
        }
        match self {
            Target::Topic(id) => {
                let before = self.settings(&draft.cluster);
                if before.get(topic::VIEW_OF) != after.get(topic::VIEW_OF) {
                    return Err(AlterError::ViewOf);
                }
                check_together(&after)?;
                draft.push(MetaRecord::TopicSettingsChanged { id, changes });
            }
            Target::Broker(broker) => {
                draft.push(MetaRecord::BrokerSettingsChanged { broker, changes });
            }
        }
        if min_in_sync.is_some() {
            // Where there are enough in sync now, more is acknowledged that others lack.
            change_partitions(draft, |_change, _settings, before| !before.eligible.is_empty());
        }
        Ok(())
    }

    fn check_min_in_sync(self, value: Option<&str>) -> Result<(), AlterError> {
        match self {
            Target::Broker(Some(_)) => Err(AlterError::BrokerMinInSync),
            Target::Broker(None) if value.is_none() => Err(AlterError::NoMinInSync),
            Target::Topic(_) | Target::Broker(None) => Ok(()),
        }
    }
}

fn append(current: &[&str], added: &[&str]) -> String {
    let new = added.iter().filter(|item| !current.contains(item));
    current.iter().chain(new).copied().collect::<Vec<_>>().join(",")
}

fn subtract(current: &[&str], taken: &[&str]) -> String {
    let left = current.iter().filter(|item| !taken.contains(item));
    left.copied().collect::<Vec<_>>().join(",")
}

fn check_topic_setting(name: &str, value: &str) -> Result<(), AlterError> {
    let setting =
        topic::find(name).ok_or_else(|| AlterError::UnknownTopicSetting(name.to_owned()))?;
    setting.check(value)?;
    if name == "remote.storage.enable" && value.trim().eq_ignore_ascii_case("true") {
        return Err(AlterError::NoTieredStorage);
    }
    Ok(())
}

/// What no single setting can show to be wrong.
fn check_together(settings: &Settings) -> Result<(), AlterError> {
    let lag = |name: &str, default: i64| {
        settings.get(name).and_then(|value| value.trim().parse().ok()).unwrap_or(default)
    };
    let (min, max) = (lag("min.compaction.lag.ms", 0), lag("max.compaction.lag.ms", i64::MAX));
    if min > max { Err(AlterError::CompactionLags { min, max }) } else { Ok(()) }
}

fn refuse_duplicates<'a>(names: impl Iterator<Item = &'a str>) -> Result<(), AlterError> {
    let mut seen = std::collections::BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(AlterError::DuplicateSetting);
        }
    }
    Ok(())
}
