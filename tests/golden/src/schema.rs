//! Kafka's own message definitions: the JSON files of its `kafka-clients` jar, read as they are.
//!
//! They lie in `schema/` as Apache Kafka 4.3.1 ships them. The transcripts are encoded and decoded
//! by them and not by `brooklet-wire`, so that the broker's codec has a second opinion here.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value as Json;

/// The APIs that have transcripts, and the versions a broker of Kafka 4.3 serves of each.
pub const SERVED: &[(&str, i16, i16)] = &[
    ("Produce", 3, 13),
    ("Fetch", 4, 18),
    ("ListOffsets", 1, 11),
    ("Metadata", 0, 13),
    ("OffsetCommit", 2, 10),
    ("OffsetFetch", 1, 10),
    ("FindCoordinator", 0, 6),
    ("JoinGroup", 0, 9),
    ("Heartbeat", 0, 4),
    ("LeaveGroup", 0, 5),
    ("SyncGroup", 0, 5),
    ("DescribeGroups", 0, 6),
    ("ListGroups", 0, 5),
    ("ApiVersions", 0, 4),
    ("CreateTopics", 2, 7),
    ("DeleteTopics", 1, 6),
    ("DeleteRecords", 0, 2),
    ("InitProducerId", 0, 5),
    ("OffsetForLeaderEpoch", 2, 4),
    ("DescribeConfigs", 1, 4),
    ("AlterConfigs", 0, 2),
    ("AlterReplicaLogDirs", 1, 2),
    ("DescribeLogDirs", 1, 5),
    ("CreatePartitions", 0, 3),
    ("DeleteGroups", 0, 2),
    ("ElectLeaders", 0, 2),
    ("IncrementalAlterConfigs", 0, 1),
    ("AlterPartitionReassignments", 0, 1),
    ("ListPartitionReassignments", 0, 0),
    ("OffsetDelete", 0, 0),
    ("DescribeQuorum", 0, 2),
    ("UpdateFeatures", 0, 2),
    ("DescribeCluster", 0, 2),
    ("DescribeProducers", 0, 0),
    ("UnregisterBroker", 0, 0),
    ("DescribeTopicPartitions", 0, 0),
    ("AddRaftVoter", 0, 1),
    ("RemoveRaftVoter", 0, 0),
];

/// The APIs that only brokers with users, rules and quotas answer, with the versions that Kafka 4.3 serves. Their
/// transcripts are under `secured/`.
pub const SECURED: &[(&str, i16, i16)] = &[
    ("SaslHandshake", 0, 1),
    ("SaslAuthenticate", 0, 2),
    ("DescribeAcls", 1, 3),
    ("CreateAcls", 1, 3),
    ("DeleteAcls", 1, 3),
    ("DescribeClientQuotas", 0, 1),
    ("AlterClientQuotas", 0, 1),
    ("DescribeUserScramCredentials", 0, 0),
    ("AlterUserScramCredentials", 0, 0),
];

/// Of the others, those whose texts are compared as well: administrators read them.
pub const TOLD: &[&str] = &[
    "ElectLeaders",
    "AlterPartitionReassignments",
    "ListPartitionReassignments",
    "UpdateFeatures",
    "UnregisterBroker",
];

/// Every message of the served APIs, by name (`FetchRequest`).
pub struct Schemas {
    messages: BTreeMap<String, Message>,
}

/// One request or response.
#[derive(Debug)]
pub struct Message {
    /// The API's number.
    pub key: i16,
    /// From which version on it is encoded compactly, with tagged fields.
    pub flexible: Versions,
    /// The body's fields, in the order of the wire.
    pub fields: Vec<Field>,
}

/// One field of a message or of a structure within.
#[derive(Debug)]
pub struct Field {
    /// Kafka's name in snake case: `partition_index`.
    pub name: String,
    pub kind: Kind,
    /// The versions that have the field.
    pub versions: Versions,
    /// The versions in which it may be null.
    pub nullable: Versions,
    /// In these versions it is a tagged field with this tag.
    pub tagged: Versions,
    pub tag: u32,
    /// Kafka's default, as written in the definition.
    pub default: Option<String>,
}

/// What a field holds.
#[derive(Debug)]
pub enum Kind {
    Bool,
    /// A signed integer of this many bytes.
    Int(usize),
    /// A number of eight bytes with a fraction.
    Float,
    /// An unsigned integer of two bytes (ports).
    Uint16,
    Text,
    Bytes,
    Records,
    Uuid,
    List(Box<Kind>),
    Struct(Vec<Field>),
}

/// A range of versions, both ends included; empty when `min > max`.
#[derive(Clone, Copy, Debug)]
pub struct Versions {
    min: i16,
    max: i16,
}

impl Versions {
    /// Reads `3`, `3-5`, `3+` and `none`.
    ///
    /// # Panics
    /// If the text is none of these.
    pub fn parse(text: &str) -> Versions {
        let number = |text: &str| text.parse().expect("a version is a number");
        if text == "none" {
            Versions { min: 1, max: 0 }
        } else if let Some(min) = text.strip_suffix('+') {
            Versions { min: number(min), max: i16::MAX }
        } else if let Some((min, max)) = text.split_once('-') {
            Versions { min: number(min), max: number(max) }
        } else {
            Versions { min: number(text), max: number(text) }
        }
    }

    /// Whether `version` is in the range.
    pub fn contain(self, version: i16) -> bool {
        (self.min..=self.max).contains(&version)
    }
}

impl Schemas {
    /// Reads every definition in `schema/`.
    ///
    /// # Panics
    /// If a file is missing or not a definition: the folder is part of the source.
    pub fn read() -> Schemas {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema");
        let mut messages = BTreeMap::new();
        for (api, ..) in SERVED.iter().chain(SECURED) {
            for direction in ["Request", "Response"] {
                let name = format!("{api}{direction}");
                let path = folder.join(format!("{name}.json"));
                let text = fs::read_to_string(&path)
                    .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                messages.insert(name, message(&text));
            }
        }
        Schemas { messages }
    }

    /// The message called `name`.
    ///
    /// # Panics
    /// If there is none: names come from scripts, which are part of the source.
    pub fn message(&self, name: &str) -> &Message {
        self.messages.get(name).unwrap_or_else(|| panic!("no message is called {name}"))
    }

    /// The versions served of `api`.
    ///
    /// # Panics
    /// If the API is not served.
    pub fn served(&self, api: &str) -> (i16, i16) {
        let row = SERVED.iter().chain(SECURED).find(|(name, ..)| *name == api);
        let (_, min, max) = row.unwrap_or_else(|| panic!("no API is called {api}"));
        (*min, *max)
    }
}

fn message(text: &str) -> Message {
    let json: Json = serde_json::from_str(&without_comments(text)).expect("a definition is JSON");
    Message {
        key: json["apiKey"].as_i64().and_then(|key| i16::try_from(key).ok()).expect("an API key"),
        flexible: Versions::parse(json["flexibleVersions"].as_str().expect("flexible versions")),
        fields: fields(&json["fields"], &json["commonStructs"]),
    }
}

/// Fields of a structure; `common` are the message's structures that stand apart, for more than one field.
fn fields(json: &Json, common: &Json) -> Vec<Field> {
    let list = json.as_array().expect("a list of fields");
    list.iter().map(|json| field(json, common)).collect()
}

fn field(json: &Json, common: &Json) -> Field {
    let text = |key: &str| json[key].as_str();
    let versions = |key: &str| Versions::parse(text(key).unwrap_or("none"));
    let default = match &json["default"] {
        Json::Null => None,
        Json::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    };
    Field {
        name: snake_case(text("name").expect("a field has a name")),
        kind: kind(text("type").expect("a field has a type"), &json["fields"], common),
        versions: versions("versions"),
        nullable: versions("nullableVersions"),
        tagged: versions("taggedVersions"),
        tag: json["tag"].as_u64().and_then(|tag| u32::try_from(tag).ok()).unwrap_or(0),
        default,
    }
}

fn kind(name: &str, inner: &Json, common: &Json) -> Kind {
    if let Some(element) = name.strip_prefix("[]") {
        return Kind::List(Box::new(kind(element, inner, common)));
    }
    match name {
        "bool" => Kind::Bool,
        "int8" => Kind::Int(1),
        "int16" => Kind::Int(2),
        "int32" => Kind::Int(4),
        "int64" => Kind::Int(8),
        "float64" => Kind::Float,
        "uint16" => Kind::Uint16,
        "string" => Kind::Text,
        "bytes" => Kind::Bytes,
        "records" => Kind::Records,
        "uuid" => Kind::Uuid,
        _ if inner.is_null() => {
            let structures = common.as_array().expect("a structure stands somewhere");
            let named = structures.iter().find(|it| it["name"].as_str() == Some(name));
            let named = named.unwrap_or_else(|| panic!("no structure is called {name}"));
            Kind::Struct(fields(&named["fields"], common))
        }
        _ => Kind::Struct(fields(inner, common)),
    }
}

/// `ForgottenTopicsData` as `forgotten_topics_data`.
fn snake_case(name: &str) -> String {
    let mut snake = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.extend(letter.to_lowercase());
    }
    snake
}

/// Kafka's definitions have `//` comments, which JSON has not.
fn without_comments(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for line in text.lines() {
        let mut quoted = false;
        let mut previous = ' ';
        let mut end = line.len();
        for (at, letter) in line.char_indices() {
            match letter {
                '"' => quoted = !quoted,
                '/' if previous == '/' && !quoted => {
                    end = at - 1;
                    break;
                }
                _ => {}
            }
            previous = letter;
        }
        clean.push_str(&line[..end]);
        clean.push('\n');
    }
    clean
}
