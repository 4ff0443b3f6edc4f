//! What an operator may write, and what the broker may rely on.
//!
//! A RON file is read into fields, every field is checked, and all problems are reported together,
//! each with its path. Nothing has to be written: every default works, and stands below with its
//! reason. After this a [`Config`] needs no second look.
//!
//! **Never** opens a file or a socket. A field written twice counts as written last.

mod access;
mod fields;
mod listener;
mod tls;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use brooklet_io::quic::QuicSettings;
use brooklet_io::tls::TlsFiles;
use brooklet_meta::cluster::Settings;
use brooklet_meta::setting::topic;
use brooklet_types::{BrokerId, ByteSize, limits};

pub use self::access::{AccessConfig, KeySource, OauthConfig, SaslConfig};
use self::fields::Fields;
pub use self::listener::{Address, ListenerConfig, Transport};
pub use self::tls::client_auth;

/// The number of a broker that is not told its own.
pub const NODE_ID: BrokerId = BrokerId(1);

/// A checked configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// This broker's number. Where the data folder belongs to a cluster that says it, the default is as good as none.
    pub node_id: BrokerId,
    /// Where it stands, if that is to count: Kafka's `broker.rack`.
    pub rack: Option<String>,
    /// Where everything that is kept is kept.
    pub data: PathBuf,
    /// Where clients come in.
    pub listeners: Vec<ListenerConfig>,
    /// The certificate of listeners that have none of their own.
    pub tls: Option<TlsFiles>,
    /// Who is let in.
    pub access: AccessConfig,
    /// How QUIC is spoken.
    pub quic: QuicSettings,
    /// Where probes and metrics are served; none for not at all.
    pub admin: Option<SocketAddr>,
    /// Threads that own partitions.
    pub shards: u32,
    /// Whether asking for a topic that does not exist creates it.
    pub auto_create_topics: bool,
    /// Partitions of a topic whose creator leaves it open.
    pub default_partitions: u32,
    /// Topic settings for topics that have none of their own, by the topic setting's name.
    pub topic_defaults: Settings,
    /// Groups and their offsets.
    pub groups: GroupConfig,
    /// The cleaning of compacted topics.
    pub cleaner: CleanerConfig,
    /// What a peer may take.
    pub limits: LimitConfig,
    /// What plugins may take, and whose are taken.
    pub plugins: PluginConfig,
}

/// What plugins may take, and whose are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginConfig {
    /// The longest that a binding may let one call take.
    pub call_time_max: Duration,
    /// The most memory that a binding may give one instance.
    pub memory_max: ByteSize,
    /// The most that a binding may let one call give back.
    pub output_max: ByteSize,
    /// Instances of all plugins that are alive at once.
    pub instances_max: u32,
    /// Public keys, 64 hexadecimal digits each, whose owners' plugins are trusted.
    pub trusted_keys: Vec<String>,
    /// Whether a plugin that none of them has signed is refused.
    pub require_signature: bool,
}

/// Groups and their offsets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupConfig {
    /// How long a new group waits for more members before its first rebalance.
    pub initial_rebalance_delay: Duration,
    /// The shortest session timeout a member may ask for.
    pub session_timeout_min: Duration,
    /// The longest session timeout a member may ask for.
    pub session_timeout_max: Duration,
    /// The most members of one group.
    pub members_max: u32,
    /// How long an empty group's offsets are kept.
    pub offsets_retention: Duration,
    /// Partitions of `__consumer_offsets`, from the day it is created.
    pub offsets_partitions: u32,
}

/// The cleaning of compacted topics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CleanerConfig {
    /// Where nothing was to be cleaned, the next look is no sooner than this.
    pub backoff: Duration,
    /// Memory for keys. With more of them than fit, a log is cleaned in several passes.
    pub dedupe_buffer: ByteSize,
}

/// What a peer may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitConfig {
    /// The largest request.
    pub frame_bytes_max: ByteSize,
    /// The most connections at once.
    pub connections_max: u32,
    /// A connection that says nothing for this long is closed.
    pub connection_idle_max: Duration,
    /// Appends are refused when less than this would be left on the disk.
    pub disk_reserve: ByteSize,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The field, with those around it; or a place in the file.
    pub path: String,
    /// What is wrong with it.
    pub message: String,
}

/// Everything that is wrong with one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// What the file is called.
    pub name: String,
    /// All of it, in the order of the fields.
    pub problems: Vec<Problem>,
}

impl std::error::Error for ConfigError {}

impl fmt::Display for ConfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} is not usable:", self.name)?;
        for Problem { path, message } in &self.problems {
            write!(formatter, "\n  {path}: {message}")?;
        }
        Ok(())
    }
}

/// Every broker keeps every other's, and every answer about brokers has them all.
const RACK_BYTES_MAX: usize = 255;
/// Kafka's name for what is done for consumers that say where they stand, where a broker says it too.
const BY_RACK: &str = "org.apache.kafka.common.replica.RackAwareReplicaSelector";
/// Beside the program, so that a first try needs no rights and leaves nothing elsewhere.
const DATA: &str = "./brooklet-data";
/// Kafka's port, and nobody's but this machine's: nobody is asked who they are.
const LISTENERS: [&str; 2] = ["tcp://127.0.0.1:9092", "quic://127.0.0.1:9092"];
/// For this machine's own eyes.
const ADMIN: &str = "127.0.0.1:9644";
/// One shard saturates a disk; more pay when many topics do not sync.
const SHARDS: u32 = 1;
/// A thread and a journal each; more than any machine we know has cores.
const SHARDS_MAX: u32 = 256;
/// `group.initial.rebalance.delay.ms`. Kafka waits three seconds, for fleets that start together;
/// a site's few consumers should not.
const REBALANCE_DELAY_MS: u64 = 0;
/// Kafka's `group.min.session.timeout.ms`.
const SESSION_MIN_MS: u64 = 6_000;
/// Kafka's `group.max.session.timeout.ms`.
const SESSION_MAX_MS: u64 = 1_800_000;
/// A group's leader assigns for all its members in one request, which has to fit in a frame.
const MEMBERS_MAX: u32 = 10_000;
/// Kafka's `offsets.retention.minutes`: seven days.
const OFFSETS_RETENTION_MINUTES: u64 = 10_080;
/// Kafka's `offsets.topic.num.partitions` is 50, for many brokers; one broker needs few.
const OFFSETS_PARTITIONS: u32 = 4;
/// Kafka's `log.cleaner.backoff.ms`.
const CLEANER_BACKOFF_MS: u64 = 15_000;
/// Kafka's `log.cleaner.dedupe.buffer.size` is 128 MiB, for servers; on a gateway that is half of
/// what there is. This holds the keys of a few hundred thousand devices.
const DEDUPE_BUFFER_BYTES: u64 = 32 << 20;
/// Twice the ten thousand that must be served.
const CONNECTIONS_MAX: u32 = 20_000;
/// Kafka's `connections.max.idle.ms`.
const IDLE_MAX_MS: u64 = 600_000;
/// Room for commits and deletes when the disk is full of records.
const DISK_RESERVE_BYTES: u64 = 64 << 20;
/// A connector waits for others; a plugin on the record path has a second unless its binding says more.
const PLUGIN_CALL_MS_MAX: u64 = 120_000;
/// Interpreted languages take most of it.
const PLUGIN_MEMORY_MAX: u64 = 256 << 20;
/// More than any batch.
const PLUGIN_OUTPUT_MAX: u64 = 128 << 20;
/// Each reserves 4 GiB of addresses, and no memory.
const PLUGIN_INSTANCES_MAX: u32 = 256;
/// The smallest request limit with which a client's default batches still fit.
const FRAME_BYTES_MIN: u64 = 2 << 20;

impl Default for Config {
    fn default() -> Config {
        Config::read("the default configuration", "()").expect("the defaults are valid")
    }
}

impl Config {
    /// Parses and checks `text`. `name` is how the file is called in messages.
    pub fn read(name: &str, text: &str) -> Result<Config, ConfigError> {
        let mut problems = Vec::new();
        let config = match Fields::parse(text) {
            Ok(fields) => Config::check(fields, &mut problems),
            Err(problem) => {
                return Err(ConfigError { name: name.to_owned(), problems: vec![problem] });
            }
        };
        if problems.is_empty() {
            return Ok(config);
        }
        Err(ConfigError { name: name.to_owned(), problems })
    }

    fn check(mut fields: Fields, problems: &mut Vec<Problem>) -> Config {
        let node_id = fields.within("node_id", NODE_ID.0, 0..=i32::MAX, problems);
        let rack = rack(&mut fields, problems);
        let data = PathBuf::from(fields.take("data", DATA.to_owned(), problems));
        if data.as_os_str().is_empty() {
            problems.push(Problem::at("data", "is empty; name a folder"));
        }
        let mut listeners = listener::listeners(&mut fields, &LISTENERS, problems);
        listener::advertised(&mut fields, &mut listeners, problems);
        let tls = tls::files(fields.section("tls", problems), problems);
        problems.extend(tls::missing(&listeners, tls.as_ref()));
        let access = AccessConfig::check(fields.section("access", problems), problems);
        problems.extend(access::exposed(&listeners, tls.as_ref(), &access));
        let quic = tls::quic(fields.section("quic", problems), problems);
        let admin = listener::admin(&mut fields, ADMIN, problems);
        let shards = fields.within("shards", SHARDS, 1..=SHARDS_MAX, problems);
        let auto_create_topics = fields.take("auto_create_topics", true, problems);
        let default_partitions =
            fields.within("default_partitions", 1, 1..=limits::PARTITIONS_PER_TOPIC_MAX, problems);
        let topic_defaults = topic_defaults(&mut fields, problems);
        let groups = GroupConfig::check(fields.section("groups", problems), problems);
        let cleaner = CleanerConfig::check(fields.section("cleaner", problems), problems);
        let limits = LimitConfig::check(fields.section("limits", problems), problems);
        let plugins = PluginConfig::check(fields.section("plugins", problems), problems);
        fields.finish(problems);
        let node_id = BrokerId(node_id);
        Config {
            node_id,
            rack,
            data,
            listeners,
            tls,
            access,
            quic,
            admin,
            shards,
            auto_create_topics,
            default_partitions,
            topic_defaults,
            groups,
            cleaner,
            limits,
            plugins,
        }
    }

    /// Listens on other addresses than the file says, or with another certificate, or asks otherwise who clients are.
    pub fn listen(
        &mut self,
        name: &str,
        addresses: Vec<Address>,
        sasl: Option<&SaslConfig>,
    ) -> Result<(), ConfigError> {
        let listener =
            |address| ListenerConfig { sasl: sasl.cloned(), ..ListenerConfig::new(address) };
        self.listeners = addresses.into_iter().map(listener).collect();
        let mut problems = tls::missing(&self.listeners, self.tls.as_ref());
        problems.extend(access::exposed(&self.listeners, self.tls.as_ref(), &self.access));
        if problems.is_empty() {
            return Ok(());
        }
        Err(ConfigError { name: name.to_owned(), problems })
    }

    /// The configuration under the names of Kafka's broker settings, for
    /// [`brooklet_meta::Cluster::new`]. What is as it is by default is left out.
    pub fn broker_settings(&self) -> Settings {
        let listeners: Vec<_> = self.listeners.iter().map(|it| it.in_kafka(&it.address)).collect();
        let advertised = self.listeners.iter();
        let advertised = advertised.filter_map(|it| Some(it.in_kafka(it.advertised.as_ref()?)));
        let advertised: Vec<_> = advertised.collect();
        let millis = |duration: Duration| duration.as_millis().to_string();
        let retention_minutes = self.groups.offsets_retention.as_secs() / 60;
        let mut settings: Settings = [
            ("auto.create.topics.enable", self.auto_create_topics.to_string()),
            ("broker.id", self.node_id.to_string()),
            ("connections.max.idle.ms", millis(self.limits.connection_idle_max)),
            ("group.initial.rebalance.delay.ms", millis(self.groups.initial_rebalance_delay)),
            ("group.max.session.timeout.ms", millis(self.groups.session_timeout_max)),
            ("group.max.size", self.groups.members_max.to_string()),
            ("group.min.session.timeout.ms", millis(self.groups.session_timeout_min)),
            ("listeners", listeners.join(",")),
            ("log.cleaner.backoff.ms", millis(self.cleaner.backoff)),
            ("log.cleaner.dedupe.buffer.size", self.cleaner.dedupe_buffer.0.to_string()),
            ("log.dirs", self.data.display().to_string()),
            ("node.id", self.node_id.to_string()),
            ("num.partitions", self.default_partitions.to_string()),
            ("offsets.retention.minutes", retention_minutes.to_string()),
            ("offsets.topic.num.partitions", self.groups.offsets_partitions.to_string()),
            ("offsets.topic.replication.factor", "1".to_owned()),
            ("process.roles", "broker,controller".to_owned()),
            ("socket.request.max.bytes", self.limits.frame_bytes_max.0.to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        let access = self.access.broker_settings().into_iter();
        settings.extend(access.map(|(name, value)| (name.to_owned(), value)));
        if let Some(rack) = &self.rack {
            settings.insert("broker.rack".to_owned(), rack.clone());
            settings.insert("replica.selector.class".to_owned(), BY_RACK.to_owned());
        }
        if !advertised.is_empty() {
            settings.insert("advertised.listeners".to_owned(), advertised.join(","));
        }
        for (name, value) in &self.topic_defaults {
            if let Some(synonym) = topic::find(name).and_then(|setting| setting.synonym) {
                settings.insert(synonym.to_owned(), value.clone());
            }
        }
        let is_default = |name: &str, value: &str| {
            let setting = brooklet_meta::setting::broker::find(name);
            setting.is_some_and(|setting| setting.default == Some(value))
        };
        settings.retain(|name, value| !is_default(name, value));
        settings
    }
}

impl GroupConfig {
    fn check(mut fields: Fields, problems: &mut Vec<Problem>) -> GroupConfig {
        let longest = i32::MAX as u64;
        let delay =
            fields.within("initial_rebalance_delay_ms", REBALANCE_DELAY_MS, 0..=longest, problems);
        let min = fields.within("session_timeout_ms_min", SESSION_MIN_MS, 1..=longest, problems);
        let max = fields.within("session_timeout_ms_max", SESSION_MAX_MS, 1..=longest, problems);
        if min > max {
            let message = format!("{min} is more than session_timeout_ms_max, {max}");
            problems.push(fields.problem("session_timeout_ms_min", message));
        }
        let members_max = fields.within("members_max", MEMBERS_MAX, 1..=i32::MAX as u32, problems);
        let minutes = fields.within(
            "offsets_retention_minutes",
            OFFSETS_RETENTION_MINUTES,
            1..=longest,
            problems,
        );
        let partitions_max = limits::PARTITIONS_PER_TOPIC_MAX;
        let offsets_partitions =
            fields.within("offsets_partitions", OFFSETS_PARTITIONS, 1..=partitions_max, problems);
        fields.finish(problems);
        GroupConfig {
            initial_rebalance_delay: Duration::from_millis(delay),
            session_timeout_min: Duration::from_millis(min),
            session_timeout_max: Duration::from_millis(max),
            members_max,
            offsets_retention: Duration::from_secs(minutes * 60),
            offsets_partitions,
        }
    }
}

impl CleanerConfig {
    fn check(mut fields: Fields, problems: &mut Vec<Problem>) -> CleanerConfig {
        let longest = i32::MAX as u64;
        let backoff = fields.within("backoff_ms", CLEANER_BACKOFF_MS, 1..=longest, problems);
        let buffer =
            fields.within("dedupe_buffer_bytes", DEDUPE_BUFFER_BYTES, 1 << 20..=1 << 30, problems);
        fields.finish(problems);
        CleanerConfig { backoff: Duration::from_millis(backoff), dedupe_buffer: ByteSize(buffer) }
    }
}

impl PluginConfig {
    fn check(mut fields: Fields, problems: &mut Vec<Problem>) -> PluginConfig {
        let time = fields.within("call_time_ms_max", PLUGIN_CALL_MS_MAX, 1..=3_600_000, problems);
        let range = 1 << 20..=4 << 30;
        let memory = fields.within("memory_bytes_max", PLUGIN_MEMORY_MAX, range.clone(), problems);
        let output = fields.within("output_bytes_max", PLUGIN_OUTPUT_MAX, range, problems);
        let instances_max =
            fields.within("instances_max", PLUGIN_INSTANCES_MAX, 1..=10_000, problems);
        let trusted_keys: Vec<String> = fields.take("trusted_keys", Vec::new(), problems);
        for key in &trusted_keys {
            if key.len() != 64 || !key.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                let message = format!("{key:?} is not a public key of 64 hexadecimal digits");
                problems.push(fields.problem("trusted_keys", message));
            }
        }
        let require_signature = fields.take("require_signature", false, problems);
        if require_signature && trusted_keys.is_empty() {
            let message = "is set, and trusted_keys is empty: nothing could be installed";
            problems.push(fields.problem("require_signature", message));
        }
        fields.finish(problems);
        PluginConfig {
            call_time_max: Duration::from_millis(time),
            memory_max: ByteSize(memory),
            output_max: ByteSize(output),
            instances_max,
            trusted_keys,
            require_signature,
        }
    }
}

impl LimitConfig {
    fn check(mut fields: Fields, problems: &mut Vec<Problem>) -> LimitConfig {
        let frame_max = limits::FRAME_BYTES_MAX as u64;
        let frame =
            fields.within("frame_bytes_max", frame_max, FRAME_BYTES_MIN..=frame_max, problems);
        let connections_max =
            fields.within("connections_max", CONNECTIONS_MAX, 1..=1_000_000, problems);
        let longest = i32::MAX as u64;
        let idle = fields.within("connection_idle_ms_max", IDLE_MAX_MS, 1_000..=longest, problems);
        let reserve =
            fields.within("disk_reserve_bytes", DISK_RESERVE_BYTES, 0..=1 << 50, problems);
        fields.finish(problems);
        LimitConfig {
            frame_bytes_max: ByteSize(frame),
            connections_max,
            connection_idle_max: Duration::from_millis(idle),
            disk_reserve: ByteSize(reserve),
        }
    }
}

/// Where this broker stands; nowhere in particular where nothing is written.
fn rack(fields: &mut Fields, problems: &mut Vec<Problem>) -> Option<String> {
    let rack = fields.take("rack", String::new(), problems);
    if rack.len() > RACK_BYTES_MAX {
        let message = format!("has {} bytes; {RACK_BYTES_MAX} are the most", rack.len());
        problems.push(Problem::at("rack", message));
    }
    if rack.chars().any(char::is_control) {
        problems.push(Problem::at("rack", "has characters that cannot be seen"));
    }
    (!rack.is_empty()).then_some(rack)
}

fn topic_defaults(fields: &mut Fields, problems: &mut Vec<Problem>) -> Settings {
    let defaults = fields.take("topic_defaults", Settings::new(), problems);
    let names: Vec<&str> = topic::SETTINGS.iter().map(|setting| setting.name).collect();
    for (name, value) in &defaults {
        let path = format!("topic_defaults.{name}");
        match topic::find(name) {
            None => problems.push(Problem::at(path, fields::unknown(name, &names))),
            Some(setting) if setting.synonym.is_none() => {
                let message = "is set for each topic by itself; a broker has no default for it";
                problems.push(Problem::at(path, message));
            }
            Some(setting) => {
                if let Err(error) = setting.check(value) {
                    problems.push(Problem::at(path, error.to_string()));
                }
            }
        }
    }
    defaults
}

impl Problem {
    fn at(path: impl Into<String>, message: impl Into<String>) -> Problem {
        Problem { path: path.into(), message: message.into() }
    }
}

#[cfg(test)]
mod tests;
