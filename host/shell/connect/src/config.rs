//! What a connector is told, with Connect's keys; every problem at once, with its key.

use std::collections::BTreeMap;
use std::time::Duration;

use brooklet_hook::task::{ConnectorClass, Direction};
use serde_json::{Map, Value};

/// More tasks than that are a slip of the pen on one node.
pub(crate) const TASKS_MAX: u32 = 64;
/// A name is a file's name and part of a group's.
const NAME_BYTES_MAX: usize = 200;
/// Kafka's `errors.retry.delay.max.ms`.
const RETRY_DELAY_MAX: Duration = Duration::from_secs(60);
/// How often a sink is flushed while records come.
const FLUSH_INTERVAL: Duration = Duration::from_secs(1);

/// Keys of Connect that mean something there and nothing here yet: better refused than not heard.
const NOT_OFFERED: [&str; 9] = [
    "transforms",
    "predicates",
    "key.converter",
    "value.converter",
    "header.converter",
    "topics.regex",
    "exactly.once.support",
    "transaction.boundary",
    "config.action.reload",
];

/// A connector's configuration, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct ConnectorConfig {
    /// As it was given, for whoever asks.
    pub given: Map<String, Value>,
    /// The plugin.
    pub class: String,
    /// Which way records go.
    pub direction: Direction,
    /// The most tasks there may be.
    pub tasks_max: u32,
    /// Where a source's records go, or what a sink takes.
    pub topics: Vec<String>,
    /// What becomes of what can't be handled.
    pub errors: Errors,
    /// How often a sink is flushed while records come.
    pub flush_interval: Duration,
    /// Whether a sink that was nowhere yet begins with what comes next.
    pub from_latest: bool,
    /// What is the plugin's, a JSON object.
    pub plugin: String,
}

/// What becomes of what can't be handled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Errors {
    /// Whether a record that can't be handled is left behind, and the task goes on.
    pub tolerated: bool,
    /// Where such records go; none forgets them.
    pub dead_letters: Option<String>,
    /// Whether they say there why.
    pub with_context: bool,
    /// Whether each is logged.
    pub logged: bool,
    /// How long a call is tried again; none is for ever.
    pub retry_timeout: Option<Duration>,
    /// The longest wait between two attempts.
    pub retry_delay_max: Duration,
}

/// All that is wrong with a configuration, each with its key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("; "))]
pub struct ConfigProblems(pub Vec<String>);

/// Whether a connector may be called that.
pub fn check_name(name: &str) -> Result<(), ConfigProblems> {
    let bytes = name.as_bytes();
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
    let fits = !bytes.is_empty() && bytes.len() <= NAME_BYTES_MAX && bytes[0] != b'.';
    if fits && bytes.iter().all(plain) {
        return Ok(());
    }
    Err(ConfigProblems(vec![format!(
        "name: {name:?} is none: letters, digits, `.`, `_` and `-`, {NAME_BYTES_MAX} at most"
    )]))
}

impl ConnectorConfig {
    /// The plugin that a configuration is for.
    pub fn class_of(given: &Map<String, Value>) -> Result<&str, ConfigProblems> {
        let class = given.get("connector.class").and_then(Value::as_str);
        let missing = || "connector.class: the name of a plugin is needed".to_owned();
        class.ok_or_else(|| ConfigProblems(vec![missing()]))
    }

    /// Checks a configuration for a plugin of this kind.
    pub fn new(
        given: Map<String, Value>,
        class: &ConnectorClass,
    ) -> Result<ConnectorConfig, ConfigProblems> {
        let name = ConnectorConfig::class_of(&given)?.to_owned();
        let mut reader = Reader { rest: given.clone(), problems: Vec::new() };
        reader.rest.remove("connector.class");
        reader.rest.remove("name");
        let direction = reader.direction(&name, class);
        let tasks_max = reader.number("tasks.max", 1, 1..=TASKS_MAX.into());
        let topics = reader.topics(direction);
        let errors = reader.errors();
        let flush = reader.number("offset.flush.interval.ms", millis(FLUSH_INTERVAL), 1..=600_000);
        let reset =
            reader.word("consumer.override.auto.offset.reset", &["earliest", "latest"], "earliest");
        for key in NOT_OFFERED {
            if reader.rest.remove(key).is_some() {
                reader.problems.push(format!("{key}: this broker does not offer it"));
            }
        }
        let schema = class.schema.as_deref().and_then(|text| serde_json::from_str(text).ok());
        let Reader { rest, problems } = reader;
        if !problems.is_empty() {
            return Err(ConfigProblems(problems));
        }
        Ok(ConnectorConfig {
            given,
            class: name,
            direction,
            tasks_max: u32::try_from(tasks_max).unwrap_or(1),
            topics,
            errors,
            flush_interval: Duration::from_millis(flush),
            from_latest: reset == "latest",
            plugin: Value::Object(typed(rest, schema.as_ref())).to_string(),
        })
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Connect's values are all text: one that the plugin's schema wants as something else is read as that.
fn typed(config: Map<String, Value>, schema: Option<&Value>) -> Map<String, Value> {
    let wanted = |key: &str| schema?.get("properties")?.get(key)?.get("type")?.as_str();
    let read = |(key, value): (String, Value)| {
        let other = wanted(&key).is_some_and(|kind| kind != "string");
        let text = value.as_str().filter(|_| other);
        let read = text.and_then(|text| serde_json::from_str(text).ok());
        (key, read.unwrap_or(value))
    };
    config.into_iter().map(read).collect()
}

struct Reader {
    rest: Map<String, Value>,
    problems: Vec<String>,
}

impl Reader {
    /// The value of a key as Connect has it: text.
    fn text(&mut self, key: &str) -> Option<String> {
        match self.rest.remove(key)? {
            Value::String(text) => Some(text),
            Value::Bool(word) => Some(word.to_string()),
            Value::Number(number) => Some(number.to_string()),
            other @ (Value::Null | Value::Array(_) | Value::Object(_)) => {
                self.problems.push(format!("{key}: {other} is no text"));
                None
            }
        }
    }

    fn word(&mut self, key: &str, possible: &[&str], default: &str) -> String {
        let Some(text) = self.text(key) else { return default.to_owned() };
        if !possible.contains(&text.as_str()) {
            self.problems.push(format!("{key}: {text:?} is none of {}", possible.join(", ")));
        }
        text
    }

    fn flag(&mut self, key: &str) -> bool {
        self.word(key, &["true", "false"], "false") == "true"
    }

    fn number(&mut self, key: &str, default: u64, range: std::ops::RangeInclusive<u64>) -> u64 {
        let Some(text) = self.text(key) else { return default };
        match text.parse() {
            Ok(number) if range.contains(&number) => number,
            Ok(_) | Err(_) => {
                let (from, to) = (range.start(), range.end());
                self.problems.push(format!("{key}: {text:?} is no number from {from} to {to}"));
                default
            }
        }
    }

    fn direction(&mut self, name: &str, class: &ConnectorClass) -> Direction {
        let word = self.word("connector.type", &["source", "sink"], "");
        let (direction, able) = match (word.as_str(), class.is_source, class.is_sink) {
            ("sink", ..) => (Direction::Sink, class.is_sink),
            ("source", ..) => (Direction::Source, class.is_source),
            (_, true, false) => (Direction::Source, true),
            (_, false, true) => (Direction::Sink, true),
            (_, false, false) => (Direction::Source, false),
            (_, true, true) => {
                let problem =
                    format!("connector.type: {name} can be a source and a sink, say which");
                self.problems.push(problem);
                (Direction::Source, true)
            }
        };
        if !able {
            let what = if word.is_empty() { "neither source nor sink" } else { "no such thing" };
            self.problems.push(format!("connector.class: plugin {name:?} is {what}"));
        }
        direction
    }

    /// `topics` as Connect writes it, or as a list; a source may say `topic`.
    fn topics(&mut self, direction: Direction) -> Vec<String> {
        let mut topics = Vec::new();
        let mut given = self.rest.remove("topics");
        if direction == Direction::Source && given.is_none() {
            given = self.rest.remove("topic");
        }
        match given {
            Some(Value::String(text)) => {
                let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
                topics.extend(names.map(str::to_owned));
            }
            Some(Value::Array(list)) => {
                for item in list {
                    match item.as_str() {
                        Some(name) => topics.push(name.to_owned()),
                        None => self.problems.push(format!("topics: {item} is no name")),
                    }
                }
            }
            Some(other) => self.problems.push(format!("topics: {other} is no list of names")),
            None => {}
        }
        if topics.is_empty() {
            self.problems.push("topics: at least one is needed".to_owned());
        }
        let mut seen = BTreeMap::new();
        for topic in &topics {
            if seen.insert(topic.clone(), ()).is_some() {
                self.problems.push(format!("topics: {topic} is there twice"));
            }
        }
        topics
    }

    fn errors(&mut self) -> Errors {
        let tolerated = self.word("errors.tolerance", &["none", "all"], "none") == "all";
        let dead_letters = self.text("errors.deadletterqueue.topic.name");
        let dead_letters = dead_letters.filter(|name| !name.is_empty());
        if dead_letters.is_some() && !tolerated {
            let problem = "errors.deadletterqueue.topic.name: only with errors.tolerance=all";
            self.problems.push(problem.to_owned());
        }
        // With one node there is one copy, whatever is said.
        self.number("errors.deadletterqueue.topic.replication.factor", 1, 1..=32);
        let with_context = self.flag("errors.deadletterqueue.context.headers.enable");
        let logged = self.flag("errors.log.enable");
        // What a record holds is never logged.
        if self.flag("errors.log.include.messages") {
            let problem = "errors.log.include.messages: this broker logs no record's content";
            self.problems.push(problem.to_owned());
        }
        let timeout = self.text("errors.retry.timeout");
        let retry_timeout = match timeout.as_deref().map(str::parse::<i64>) {
            None | Some(Ok(-1)) => None,
            Some(Ok(time)) if time >= 0 => Some(Duration::from_millis(time.unsigned_abs())),
            Some(_) => {
                let problem = "errors.retry.timeout: milliseconds, or -1 for ever".to_owned();
                self.problems.push(problem);
                None
            }
        };
        let longest = millis(RETRY_DELAY_MAX);
        let delay = self.number("errors.retry.delay.max.ms", longest, 1..=3_600_000);
        let retry_delay_max = Duration::from_millis(delay);
        Errors { tolerated, dead_letters, with_context, logged, retry_timeout, retry_delay_max }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn class(is_source: bool, is_sink: bool) -> ConnectorClass {
        let schema = json!({"properties": {"rate": {"type": "number"}, "url": {"type": "string"}}});
        let (version, schema) = ("1.0.0".to_owned(), Some(schema.to_string()));
        ConnectorClass { version, is_source, is_sink, schema }
    }

    fn read(given: Value, class: &ConnectorClass) -> Result<ConnectorConfig, String> {
        let Value::Object(given) = given else { panic!("an object") };
        ConnectorConfig::new(given, class).map_err(|problems| problems.to_string())
    }

    #[test]
    fn connects_keys_are_ours_and_the_rest_is_the_plugins() {
        let config = read(
            json!({
                "name": "out", "connector.class": "http", "connector.type": "sink",
                "tasks.max": "2", "topics": "a, b", "errors.tolerance": "all",
                "errors.deadletterqueue.topic.name": "dead", "rate": "1.5", "url": "12"
            }),
            &class(true, true),
        );
        let config = config.unwrap();
        assert_eq!(config.direction, Direction::Sink);
        assert_eq!((config.tasks_max, config.topics), (2, vec!["a".to_owned(), "b".to_owned()]));
        assert!(config.errors.tolerated && config.errors.retry_timeout.is_none());
        assert_eq!(config.errors.dead_letters.as_deref(), Some("dead"));
        // Text becomes what the schema wants, and only that.
        assert_eq!(config.plugin, r#"{"rate":1.5,"url":"12"}"#);
    }

    #[test]
    fn a_source_may_name_one_topic_as_kafkas_do() {
        let given = json!({"connector.class": "generator", "topic": "t"});
        let config = read(given, &class(true, false)).unwrap();
        assert_eq!((config.direction, config.topics), (Direction::Source, vec!["t".to_owned()]));
    }

    #[test]
    fn all_problems_are_told_at_once_each_with_its_key() {
        let given = json!({
            "connector.class": "x", "tasks.max": 0, "transforms": "a", "topics": [1, "t", "t"],
            "errors.tolerance": "some", "errors.retry.timeout": "soon",
            "errors.deadletterqueue.topic.name": "dead"
        });
        let problems = read(given, &class(true, true)).unwrap_err();
        for key in [
            "tasks.max: ",
            "transforms: ",
            "topics: 1 is no name",
            "topics: t is there twice",
            "errors.tolerance: ",
            "errors.retry.timeout: ",
            "errors.deadletterqueue.topic.name: only with",
            "connector.type: x can be",
        ] {
            assert!(problems.contains(key), "{key} in {problems}");
        }
        let nothing = read(json!({"topics": "t"}), &class(true, false)).unwrap_err();
        assert!(nothing.contains("connector.class"), "{nothing}");
        let neither = json!({"connector.class": "mask", "topics": "t"});
        let neither = read(neither, &class(false, false)).unwrap_err();
        assert!(neither.contains("neither source nor sink"), "{neither}");
    }

    #[test]
    fn a_name_is_one_that_a_file_may_have() {
        for good in ["a", "flights-in", "A.b_c-1"] {
            check_name(good).unwrap();
        }
        for bad in ["", ".hidden", "a/b", "a b", "ä", &"x".repeat(201)] {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
    }
}
