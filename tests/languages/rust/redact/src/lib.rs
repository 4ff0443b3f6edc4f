//! Takes fields out of JSON values, or puts a text in their place. The same stands in `javascript/redact`,
//! `python/redact` and `c/redact`.
//!
//! **Invariants.** What is left keeps its order, its spaces and its text: numbers above all. A member that goes takes
//! the comma behind it along, the last of its object the one before it.

use std::ops::Range;

use brooklet::{Batch, Columns, Context, Error, Output, Reject, Transform, json};

/// The configuration.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Dotted paths of fields that go.
    #[serde(default)]
    drop: Vec<String>,
    /// Dotted paths of fields that get another value.
    #[serde(default)]
    replace: Vec<String>,
    /// That value, a string.
    #[serde(default = "stars")]
    with: String,
}

fn stars() -> String {
    "***".to_owned()
}

/// The transform.
#[derive(Debug)]
pub struct Redact {
    fields: Node,
    /// As JSON.
    with: String,
    /// The value that is being made, kept from record to record for its memory.
    redacted: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Dropped,
    Replaced,
}

#[derive(Debug, Default)]
struct Node {
    fate: Option<Fate>,
    children: Vec<(String, Node)>,
}

impl Transform for Redact {
    type Config = Config;

    fn new(config: Config, _: &Context) -> Result<Redact, Error> {
        let mut fields = Node::default();
        for path in &config.drop {
            fields.add(path, Fate::Dropped)?;
        }
        for path in &config.replace {
            fields.add(path, Fate::Replaced)?;
        }
        let with = serde_json::to_string(&config.with).map_err(Error::config)?;
        Ok(Redact { fields, with, redacted: Vec::new() })
    }

    fn columns(&self) -> Columns {
        Columns::VALUES
    }

    fn transform(&mut self, batch: &Batch<'_>, out: &mut Output<'_>) -> Result<(), Error> {
        for value in batch.values().iter() {
            match value.map(|value| self.redact(value)) {
                None | Some(Ok(false)) => out.keep(),
                Some(Ok(true)) => out.value(Some(&self.redacted)),
                Some(Err(_)) => out.reject(Reject::new("syntax", "the value is not JSON")),
            }
        }
        Ok(())
    }
}

impl Redact {
    /// Puts the value without its fields in `redacted`; false if it has none of them.
    fn redact(&mut self, value: &[u8]) -> Result<bool, serde_json::Error> {
        let Redact { fields, with, redacted } = self;
        let text = std::str::from_utf8(value).map_err(serde::de::Error::custom)?;
        redacted.clear();
        let mut done = 0;
        let mut found = |fate, field: &str| match fate {
            Fate::Replaced => {
                let Range { start, end } = json::position(value, field);
                redacted.extend_from_slice(&value[done..start]);
                redacted.extend_from_slice(with.as_bytes());
                done = end;
            }
            Fate::Dropped => {
                let Range { start, end } = json::member(value, field);
                redacted.extend_from_slice(&value[done..start]);
                done = end;
                if value[end] == b',' {
                    done += 1;
                } else if redacted.last() == Some(&b',') {
                    redacted.pop();
                }
            }
        };
        if !fields.walk(text, &mut found)? {
            // Nobody has looked yet whether it is JSON at all.
            serde_json::from_slice::<serde::de::IgnoredAny>(value)?;
        }
        if done == 0 {
            return Ok(false);
        }
        redacted.extend_from_slice(&value[done..]);
        Ok(true)
    }
}

impl Node {
    fn add(&mut self, path: &str, fate: Fate) -> Result<(), Error> {
        let mut node = self;
        for name in json::split(path).map_err(Error::config)? {
            let known = node.children.iter().position(|(child, _)| *child == name);
            let at = known.unwrap_or_else(|| {
                node.children.push((name, Node::default()));
                node.children.len() - 1
            });
            node = &mut node.children[at].1;
            if node.fate.is_some() {
                return Err(overlap(path));
            }
        }
        if !node.children.is_empty() {
            return Err(overlap(path));
        }
        node.fate = Some(fate);
        Ok(())
    }

    /// Whether the text is an object; if so, `found` has been called for its fields in their order.
    fn walk<'j>(
        &self,
        text: &'j str,
        found: &mut dyn FnMut(Fate, &'j str),
    ) -> Result<bool, serde_json::Error> {
        let mut outcome = Ok(());
        let is_object = json::members(text, |name, value| {
            let child = self.children.iter().find(|(child, _)| child == name);
            match child.map(|(_, node)| (node, node.fate)) {
                Some((_, Some(fate))) if outcome.is_ok() => found(fate, value),
                Some((node, None)) if outcome.is_ok() => {
                    outcome = node.walk(value, found).map(drop);
                }
                Some(_) | None => {}
            }
        })?;
        outcome.map(|()| is_object)
    }
}

fn overlap(path: &str) -> Error {
    Error::config(format!("the path {path} is given twice, or lies within another"))
}

brooklet::plugin! {
    name: "redact",
    description: "Takes fields out of JSON values, or puts a text in their place.",
    roles: { transform: Redact },
    config: {
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "drop": { "type": "array", "items": { "type": "string" } },
            "replace": { "type": "array", "items": { "type": "string" } },
            "with": { "type": "string" }
        }
    },
}

#[cfg(test)]
mod tests {
    use brooklet_testing::Transforming;

    #[test]
    fn it_does_natively_what_the_components_do() {
        for case in ["flights", "hostile"] {
            let folder = format!("../../cases/redact/{case}");
            brooklet_testing::golden::transform::<super::Redact>(&folder);
        }
    }

    #[test]
    fn fields_that_overlap_are_refused() {
        for config in [r#"{"drop":["a"],"replace":["a"]}"#, r#"{"drop":["a.b","a"]}"#] {
            assert!(Transforming::<super::Redact>::start(config).is_err(), "{config}");
        }
    }
}
