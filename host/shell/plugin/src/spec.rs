//! What a topic's `brooklet.plugins` says: RON or JSON, checked into types with every problem's path.

use serde::{Deserialize, Serialize};

use crate::limits::LimitsSpec;
use crate::manifest::Role;

/// Plugins bound to one topic.
const BINDINGS_MAX: usize = 16;

/// One plugin bound to a topic or a view.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BindingSpec {
    /// The name it is installed under.
    pub plugin: String,
    /// What it is to do. Needed only of a plugin that can do several things.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// Its configuration.
    #[serde(default = "empty", skip_serializing_if = "is_empty")]
    pub config: serde_json::Value,
    /// What happens to a batch that it fails on. There is no default.
    pub on_failure: OnFailure,
    /// Where records go that it can't handle; with `on_failure: "dead-letter"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_letters: Option<String>,
    /// For a serde: which part of a record; the value unless said otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<Part>,
    /// For a serde `check` or `encode`, for a partitioner `place` or `verify`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// What it may cost.
    #[serde(default, skip_serializing_if = "is_default")]
    pub limits: LimitsSpec,
    /// Schemas that it can ask the host for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub schemas: Vec<SchemaSpec>,
}

/// The answer to "and if it fails?".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailure {
    /// The producer's batch is refused, the consumer gets an error.
    Reject,
    /// The records go on as if the plugin were not there.
    Pass,
    /// The records it can't handle go to another topic, the others go on.
    DeadLetter,
    /// As `reject`, and so is everything that comes after, until somebody binds it again.
    Stop,
}

/// The part of a record that a serde is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// Its key.
    Key,
    /// Its value.
    Value,
}

/// How a role is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Producers send the serde's bytes; those that are none are refused.
    Check,
    /// Producers send JSON; the serde's bytes are stored.
    Encode,
    /// The partitioner places records that have no partition.
    Place,
    /// Besides, it refuses records that were put elsewhere by their producer.
    Verify,
}

/// A schema that comes with a binding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SchemaSpec {
    /// What it is for.
    pub subject: String,
    /// Its number, as it stands in front of encoded values.
    pub id: u32,
    /// Which version of its subject it is.
    #[serde(default = "one")]
    pub version: u32,
    /// What language it is written in.
    pub format: SchemaFormat,
    /// The schema.
    pub definition: String,
}

/// Languages of schemas.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SchemaFormat {
    /// Avro.
    Avro,
    /// JSON Schema.
    JsonSchema,
    /// Protocol Buffers.
    Protobuf,
}

fn empty() -> serde_json::Value {
    serde_json::Value::Object(serde_json::Map::new())
}

fn is_empty(value: &serde_json::Value) -> bool {
    value.as_object().is_some_and(serde_json::Map::is_empty)
}

fn is_default(limits: &LimitsSpec) -> bool {
    *limits == LimitsSpec::default()
}

fn one() -> u32 {
    1
}

/// Reads the value of `brooklet.plugins`: JSON if it is JSON, else RON.
pub fn parse(text: &str) -> Result<Vec<BindingSpec>, String> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let bindings = parse_any::<Vec<BindingSpec>>(text)?;
    if bindings.len() > BINDINGS_MAX {
        return Err(format!("{} plugins, {BINDINGS_MAX} are the most", bindings.len()));
    }
    for (index, binding) in bindings.iter().enumerate() {
        let needs_topic = binding.on_failure == OnFailure::DeadLetter;
        if needs_topic && binding.dead_letters.is_none() {
            return Err(format!("[{index}].dead_letters: on_failure dead-letter needs a topic"));
        }
        if !needs_topic && binding.dead_letters.is_some() {
            return Err(format!("[{index}].dead_letters: only with on_failure dead-letter"));
        }
    }
    Ok(bindings)
}

/// Reads JSON, or RON if it is none. In both, words stand in quotes.
pub fn parse_any<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    let value: serde_json::Value = match serde_json::from_str(text) {
        Ok(value) => value,
        Err(_) => {
            let value = ron::Options::default().from_str::<ron::Value>(text);
            let value = value.map_err(|error| format!("neither JSON nor RON: {error}"))?;
            serde_json::to_value(value).map_err(|error| error.to_string())?
        }
    };
    serde_path_to_error::deserialize(value).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_and_ron_say_the_same() {
        let json = r#"[{"plugin":"mask","on_failure":"reject","config":{"fields":[{"path":"a","with":"null"}]}}]"#;
        let ron = r#"[(plugin: "mask", on_failure: "reject", config: {"fields": [{"path": "a", "with": "null"}]})]"#;
        assert_eq!(parse(json).unwrap(), parse(ron).unwrap());
        assert_eq!(parse(json).unwrap()[0].config["fields"][0]["with"], "null");
        assert_eq!(parse("").unwrap(), []);
    }

    #[test]
    fn a_problem_is_told_with_its_path() {
        let problem = |text: &str| parse(text).unwrap_err();
        assert!(problem(r#"[{"plugin":"a"}]"#).contains("on_failure"));
        assert!(problem(r#"[{"plugin":"a","on_failure":"maybe"}]"#).contains("[0].on_failure"));
        assert!(
            problem(r#"[{"plugin":"a","on_failure":"dead-letter"}]"#).contains("needs a topic")
        );
        assert!(problem(r#"[(plugin: "a", on_failure: "pass", limit: 3)]"#).contains("limit"));
    }
}
