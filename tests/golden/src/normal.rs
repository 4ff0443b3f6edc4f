//! What differs from run to run gets a name that does not: ids, times, addresses, texts.
//!
//! The same value has the same name throughout a transcript (`$topic1`, `$member2`, or the name
//! that the script gave it), so that a transcript still shows *which* topic was meant. What a
//! script has written itself is never replaced.

use brooklet_types::ErrorCode;

use crate::value::Value;

/// A stored time this close to the beginning of the transcript is one of its own.
const NEAR_MS: i64 = 3_600_000;

/// The names given so far in one transcript.
pub(crate) struct Names {
    /// What `@0` stands for, in milliseconds since 1970.
    pub(crate) base: i64,
    /// The value, the field of numbers that it is confined to, and its name. The latest counts.
    given: Vec<(Value, Option<String>, String)>,
    /// Values that the script wrote itself, with their field.
    written: Vec<(String, Value)>,
    counts: Vec<(&'static str, u32)>,
    /// Whether what an answer says in words is a part of it: so it is where clients have nothing else to go by.
    pub(crate) keep_texts: bool,
}

impl Names {
    pub(crate) fn new(base: i64) -> Names {
        Names {
            base,
            given: Vec::new(),
            written: Vec::new(),
            counts: Vec::new(),
            keep_texts: false,
        }
    }

    /// Calls `value`, found in the field `field`, by `name` from now on.
    pub(crate) fn give(&mut self, field: &str, value: &Value, name: &str) {
        let confined = matches!(value, Value::Int(_)).then(|| field.to_owned());
        self.given.push((value.clone(), confined, name.to_owned()));
    }

    /// A request's value with what its `$names` stand for.
    ///
    /// # Panics
    /// If nothing has been called so.
    pub(crate) fn resolve(&mut self, field: &str, value: &Value) -> Value {
        match value {
            Value::Name(name) if name.starts_with('$') => {
                let known = self.given.iter().rev().find(|(.., known)| known == name);
                known.unwrap_or_else(|| panic!("nothing is called {name}")).0.clone()
            }
            Value::List(elements) => {
                Value::List(elements.iter().map(|value| self.resolve(field, value)).collect())
            }
            Value::Record(fields) => Value::Record(
                fields
                    .iter()
                    .map(|(name, value)| (name.clone(), self.resolve(name, value)))
                    .collect(),
            ),
            value => {
                self.written.push((field.to_owned(), value.clone()));
                value.clone()
            }
        }
    }

    /// `value` with names for what differs from run to run.
    pub(crate) fn normal(&mut self, field: &str, value: &Value) -> Value {
        match value {
            Value::List(elements) => {
                let mut normal: Vec<Value> =
                    elements.iter().map(|value| self.normal(field, value)).collect();
                // Kafka keeps members in the order of a hash of their random ids.
                normal.sort_by_key(|element| element.field("member_id").map(Value::to_string));
                Value::List(normal)
            }
            Value::Record(fields) => Value::Record(
                fields
                    .iter()
                    .map(|(name, value)| (name.clone(), self.normal(name, value)))
                    .collect(),
            ),
            value => self.leaf(field, value),
        }
    }

    fn leaf(&mut self, field: &str, value: &Value) -> Value {
        let fits = |confined: &Option<String>| confined.as_deref().is_none_or(|name| name == field);
        let known = |(known, confined, _): &&(Value, Option<String>, String)| {
            known == value && fits(confined)
        };
        if let Some((.., name)) = self.given.iter().rev().find(known) {
            return Value::Name(name.clone());
        }
        let named = |name: &str| Value::Name(name.to_owned());
        match (field, value) {
            ("cluster_id", Value::Text(_)) => named("$cluster"),
            ("host", Value::Text(host)) if !host.is_empty() => named("$host"),
            ("port", Value::Int(1..)) => named("$port"),
            ("log_dir", Value::Text(path)) if !path.is_empty() => named("$folder"),
            ("total_bytes" | "usable_bytes", Value::Int(1..)) => named("$bytes"),
            ("finalized_features_epoch", Value::Int(0..)) => named("$epoch"),
            (
                "error_message" | "batch_index_error_message" | "message" | "documentation",
                Value::Text(text),
            ) if !(text.is_empty() || self.keep_texts && is_said(text)) => named("$text"),
            ("error_code" | "topic_config_error_code", Value::Int(code)) => error_name(*code),
            (_, Value::Int(time)) if is_time(field) => self.time(*time),
            _ if self.is_written(field, value) => value.clone(),
            ("producer_id", Value::Int(0..)) => self.number("$producer", field, value),
            ("session_id", Value::Int(1..)) => self.number("$session", field, value),
            (_, Value::Bytes(bytes)) if field.ends_with("_id") && bytes.len() == 16 => {
                let kind = if field.ends_with("topic_id") { "$topic" } else { "$directory" };
                self.number(kind, field, value)
            }
            (_, Value::Text(text)) if contains_uuid(text) => self.number("$member", field, value),
            _ => value.clone(),
        }
    }

    /// The next free name of its kind.
    fn number(&mut self, kind: &'static str, field: &str, value: &Value) -> Value {
        if !self.counts.iter().any(|(known, _)| *known == kind) {
            self.counts.push((kind, 0));
        }
        let (_, count) = self
            .counts
            .iter_mut()
            .find(|(known, _)| *known == kind)
            .expect("the kind was added above");
        *count += 1;
        let name = format!("{kind}{count}");
        self.give(field, value, &name);
        Value::Name(name)
    }

    fn time(&self, time: i64) -> Value {
        let since = time - self.base;
        if self.written.iter().any(|(_, written)| *written == Value::Time(since)) || since == 0 {
            Value::Time(since)
        } else if since.abs() <= NEAR_MS {
            Value::Name("$now".to_owned())
        } else {
            Value::Int(time)
        }
    }

    fn is_written(&self, field: &str, value: &Value) -> bool {
        self.written.iter().any(|(name, written)| {
            written == value && (!matches!(value, Value::Int(_)) || name == field)
        })
    }
}

fn is_time(field: &str) -> bool {
    field == "at" || field.ends_with("timestamp") || field == "log_append_time_ms"
}

fn error_name(code: i64) -> Value {
    let known = i16::try_from(code).ok().and_then(ErrorCode::from_wire);
    known.map_or(Value::Int(code), |code| Value::Name(code.name().to_owned()))
}

/// Whether `text` was written for people. Where a controller refuses what a broker asks on somebody's behalf, Kafka
/// prints the request's objects, addresses in memory and all.
fn is_said(text: &str) -> bool {
    !text.starts_with("Request Request(")
}

/// Whether `text` holds `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx` or Kafka's 22 letters of base64.
fn contains_uuid(text: &str) -> bool {
    const GROUPS: [usize; 5] = [8, 4, 4, 4, 12];
    const BYTES: usize = 36;
    let is_uuid = |window: &[u8]| {
        let groups: Vec<&[u8]> = window.split(|byte| *byte == b'-').collect();
        groups.iter().map(|group| group.len()).eq(GROUPS)
            && groups.concat().iter().all(u8::is_ascii_hexdigit)
    };
    text.as_bytes().windows(BYTES).any(is_uuid)
}
