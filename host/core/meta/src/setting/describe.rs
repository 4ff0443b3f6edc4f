//! Where a value comes from: the chain that DescribeConfigs shows and that everybody obeys.
//!
//! A topic's own value, then the broker's as set while running, then that of all brokers, then the
//! configuration file, then the default. The first one there is in effect.

use std::borrow::Cow;

use brooklet_types::BrokerId;

use super::{Change, Setting, broker, topic};
use crate::cluster::{Cluster, Settings, Topic};

/// Who set a value. The numbers are those of DescribeConfigs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The topic itself.
    Topic = 1,
    /// One broker, while running.
    Broker = 2,
    /// All brokers, while running.
    AllBrokers = 3,
    /// The configuration file.
    File = 4,
    /// Nobody.
    Default = 5,
}

/// One place where the value is, or could have been, taken from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Synonym {
    /// The setting's name in that place.
    pub name: &'static str,
    /// Its value there.
    pub value: String,
    /// The place.
    pub source: Source,
}

/// One setting as it is.
#[derive(Clone, Debug)]
pub struct Described {
    /// What is known about it.
    pub setting: &'static Setting,
    /// The value in effect, if it has one.
    pub value: Option<String>,
    /// Where that comes from.
    pub source: Source,
    /// All places that have a value, the one in effect first.
    pub synonyms: Vec<Synonym>,
}

impl Source {
    /// The number on the wire.
    pub fn to_wire(self) -> i8 {
        self as i8
    }
}

impl Described {
    fn new(setting: &'static Setting, synonyms: Vec<Synonym>) -> Described {
        let first = synonyms.first();
        let source = first.map_or(Source::Default, |synonym| synonym.source);
        let default = || setting.default.map(str::to_owned);
        let value = first.map(|synonym| synonym.value.clone()).or_else(default);
        Described { setting, value, source, synonyms }
    }

    /// Whether no administrator can change it while the broker runs.
    pub fn is_read_only(&self) -> bool {
        self.setting.change != Change::Online
    }

    /// What an administrator is told about it.
    pub fn documentation(&self) -> Cow<'static, str> {
        if self.setting.effective {
            return Cow::Borrowed(self.setting.text);
        }
        Cow::Owned(self.setting.documentation())
    }
}

/// Every setting of a topic, as broker `this` sees it.
pub fn describe_topic(cluster: &Cluster, this: BrokerId, topic: &Topic) -> Vec<Described> {
    let describe = |setting: &'static Setting| {
        Described::new(setting, topic_chain(cluster, Some(this), &topic.settings, setting))
    };
    topic::SETTINGS.iter().map(describe).collect()
}

/// Every setting of broker `this`.
pub fn describe_broker(cluster: &Cluster, this: BrokerId) -> Vec<Described> {
    let describe = |setting: &'static Setting| {
        Described::new(setting, broker_chain(cluster, Some(this), setting))
    };
    broker::SETTINGS.iter().map(describe).collect()
}

/// The settings that were made for all brokers, and only those, as Kafka shows them.
pub fn describe_broker_defaults(cluster: &Cluster) -> Vec<Described> {
    let describe = |(name, value): (&String, &String)| {
        let setting = broker::find(name)?;
        let source = Source::AllBrokers;
        let own = Synonym { name: setting.name, value: value.clone(), source };
        Some(Described::new(setting, vec![own]))
    };
    cluster.broker_defaults().iter().filter_map(describe).collect()
}

/// The value of a topic's setting that is in effect; without a broker, whatever brokers have of their own.
pub(crate) fn topic_value(
    cluster: &Cluster,
    this: Option<BrokerId>,
    own: &Settings,
    setting: &'static Setting,
) -> String {
    let chain = topic_chain(cluster, this, own, setting);
    let default = || setting.default.expect("every topic setting has a default").to_owned();
    chain.into_iter().next().map_or_else(default, |synonym| synonym.value)
}

fn topic_chain(
    cluster: &Cluster,
    this: Option<BrokerId>,
    own: &Settings,
    setting: &'static Setting,
) -> Vec<Synonym> {
    let mut chain = Vec::new();
    if let Some(value) = own.get(setting.name) {
        let source = Source::Topic;
        chain.push(Synonym { name: setting.name, value: value.clone(), source });
    }
    if let Some(broker) = setting.synonym.and_then(broker::find) {
        chain.extend(broker_chain(cluster, this, broker));
    }
    chain
}

fn broker_chain(
    cluster: &Cluster,
    this: Option<BrokerId>,
    setting: &'static Setting,
) -> Vec<Synonym> {
    let name = setting.name;
    let broker = this.and_then(|this| cluster.broker(this));
    let dynamic = broker.and_then(|broker| broker.settings.get(name));
    let everywhere = cluster.broker_defaults().get(name);
    let configured = cluster.configured().get(name);
    let places =
        [(dynamic, Source::Broker), (everywhere, Source::AllBrokers), (configured, Source::File)];
    let set = places.into_iter().filter_map(|(value, source)| {
        value.map(|value| Synonym { name, value: value.clone(), source })
    });
    let mut chain: Vec<Synonym> = set.collect();
    let behind = match setting.default {
        Some(default) => Some((name, default)),
        None => stand_in(name).filter(|_| !chain.is_empty()),
    };
    let default = |(name, value): (&'static str, &str)| Synonym {
        name,
        value: value.to_owned(),
        source: Source::Default,
    };
    chain.extend(behind.map(default));
    chain
}

/// Kafka's coarser setting, with its default, that counts where a setting without a default is not
/// set. Kafka names it behind a value that was set, and nowhere else.
fn stand_in(name: &str) -> Option<(&'static str, &'static str)> {
    match name {
        "log.flush.interval.ms" => Some(("log.flush.scheduler.interval.ms", "9223372036854775807")),
        "log.retention.ms" => Some(("log.retention.hours", "168")),
        "log.roll.jitter.ms" => Some(("log.roll.jitter.hours", "0")),
        "log.roll.ms" => Some(("log.roll.hours", "168")),
        _ => None,
    }
}
