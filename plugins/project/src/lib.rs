//! A transform that leaves fields of JSON values out and renames them. The names of its settings are those
//! of Kafka Connect's `ReplaceField`.
//!
//! **Invariants.** What is kept keeps its order and its text. With `include`, nothing is shown that was not
//! named: a value that has no fields is rejected.

mod rules;

use std::collections::BTreeMap;

use brooklet::{Batch, Columns, Context, Error, Output, Reject, Transform, json};
use rules::Rules;

/// The configuration.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Dotted paths of what is shown; without it, everything.
    include: Option<Vec<String>>,
    /// Dotted paths of what is not, whatever `include` says.
    #[serde(default)]
    exclude: Vec<String>,
    /// Dotted paths, each with the name that the field gets in its place.
    #[serde(default)]
    renames: BTreeMap<String, String>,
}

/// The transform.
#[derive(Debug)]
pub struct Project {
    rules: Rules,
    projected: Vec<u8>,
}

impl Transform for Project {
    type Config = Config;

    fn new(config: Config, _: &Context) -> Result<Project, Error> {
        Ok(Project { rules: Rules::new(&config)?, projected: Vec::new() })
    }

    fn columns(&self) -> Columns {
        Columns::VALUES
    }

    fn transform(&mut self, batch: &Batch<'_>, out: &mut Output<'_>) -> Result<(), Error> {
        for value in batch.values().iter() {
            let Some(value) = value else {
                out.keep();
                continue;
            };
            match self.project(value) {
                Ok(()) => out.value(Some(&self.projected)),
                Err(reject) => out.reject(reject),
            }
        }
        Ok(())
    }
}

impl Project {
    fn project(&mut self, value: &[u8]) -> Result<(), Reject> {
        let text = std::str::from_utf8(value).map_err(|error| Reject::new("syntax", error))?;
        self.projected.clear();
        if put(text, &self.rules, self.rules.shows_all(), &mut self.projected)? {
            return Ok(());
        }
        Err(Reject::new("no-fields", "neither an object nor an array, and `include` names fields"))
    }
}

/// Appends what is shown of a value; false, and nothing, if nothing is. `shown` says whether what no rule
/// names is shown here.
fn put(text: &str, rules: &Rules, shown: bool, out: &mut Vec<u8>) -> Result<bool, Reject> {
    if rules.are_over() {
        if shown {
            // Compared with JSON's grammar only where nobody has parsed it yet: at the top.
            serde_json::from_str::<serde::de::IgnoredAny>(text)?;
            out.extend_from_slice(text.as_bytes());
        }
        return Ok(shown);
    }
    let mut failed = Ok(());
    let start = out.len();
    out.push(b'{');
    let is_object = json::members(text, |name, member| {
        if failed.is_ok() {
            failed = put_member(name, member, rules, shown, out);
        }
    })?;
    if is_object {
        out.push(b'}');
        return failed.map(|()| true);
    }
    out[start] = b'[';
    let is_array = json::items(text, |item| {
        if failed.is_ok() {
            let comma = put_comma(out);
            match put(item, rules, shown, out) {
                Ok(true) => {}
                Ok(false) => out.truncate(comma),
                Err(reject) => failed = Err(reject),
            }
        }
    })?;
    if is_array {
        out.push(b']');
        return failed.map(|()| true);
    }
    out.truncate(start);
    if shown {
        serde_json::from_str::<serde::de::IgnoredAny>(text)?;
        out.extend_from_slice(text.as_bytes());
    }
    Ok(shown)
}

fn put_member(
    name: &str,
    member: &str,
    rules: &Rules,
    shown: bool,
    out: &mut Vec<u8>,
) -> Result<(), Reject> {
    let (below, renamed) = (rules.below(name), rules.renamed(name));
    if below.is_some_and(Rules::is_excluded) {
        return Ok(());
    }
    let shown = shown || below.is_some_and(Rules::is_included);
    if !shown && below.is_none() {
        return Ok(());
    }
    let start = put_comma(out);
    serde_json::to_writer(&mut *out, renamed.unwrap_or(name))?;
    out.push(b':');
    let was_shown = match below {
        Some(below) => put(member, below, shown, out)?,
        None => {
            out.extend_from_slice(member.as_bytes());
            true
        }
    };
    if !was_shown {
        out.truncate(start);
    }
    Ok(())
}

/// Appends a comma unless a bracket has just been opened; says where that was.
fn put_comma(out: &mut Vec<u8>) -> usize {
    let start = out.len();
    if !matches!(out.last(), Some(b'{' | b'[')) {
        out.push(b',');
    }
    start
}

brooklet::plugin! {
    name: "project",
    description: "Leaves fields of JSON values out, and renames them.",
    roles: { transform: Project },
    config: {
        "type": "object",
        "minProperties": 1,
        "additionalProperties": false,
        "properties": {
            "include": {
                "type": "array",
                "minItems": 1,
                "items": { "type": "string" },
                "description": "Dotted paths of what is shown; without it, everything"
            },
            "exclude": {
                "type": "array",
                "items": { "type": "string" },
                "description": "Dotted paths of what is not shown, whatever `include` says"
            },
            "renames": {
                "type": "object",
                "additionalProperties": { "type": "string" },
                "description": "Dotted paths, each with the name that the field gets in its place"
            }
        }
    },
}

#[cfg(test)]
mod tests;
