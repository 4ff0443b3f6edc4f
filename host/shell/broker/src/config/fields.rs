//! The fields of a RON file, taken one by one, so that one bad field does not hide the next.

use std::fmt::Display;
use std::ops::RangeInclusive;

use ron::Value;
use serde::de::DeserializeOwned;

use super::Problem;

/// The fields of one section that nobody has taken yet.
pub(super) struct Fields {
    /// The path of the section, with the dot behind it; empty for the file.
    prefix: String,
    left: ron::value::Map,
    taken: Vec<&'static str>,
}

impl Fields {
    /// Reads a file. It must be a list of fields in parentheses, or empty.
    pub(super) fn parse(text: &str) -> Result<Fields, Problem> {
        let value = ron::Options::default().from_str::<Value>(text).map_err(|error| {
            Problem::at(format!("line {}", error.span.start), error.code.to_string())
        })?;
        Fields::of(String::new(), value).ok_or_else(|| {
            Problem::at("file", "is not a list of fields in parentheses, such as (node_id: 1)")
        })
    }

    /// The fields of one section, whose path is `prefix`; none if it is no section.
    pub(super) fn of(prefix: String, value: Value) -> Option<Fields> {
        let left = match value {
            Value::Map(map) => map,
            Value::Unit => ron::value::Map::new(),
            Value::Bool(_)
            | Value::Char(_)
            | Value::Number(_)
            | Value::Option(_)
            | Value::String(_)
            | Value::Bytes(_)
            | Value::Seq(_) => return None,
        };
        Some(Fields { prefix, left, taken: Vec::new() })
    }

    /// The field of that name, or `default`.
    pub(super) fn take<T: DeserializeOwned>(
        &mut self,
        name: &'static str,
        default: T,
        problems: &mut Vec<Problem>,
    ) -> T {
        self.taken.push(name);
        let Some(value) = self.left.remove(&Value::String(name.to_owned())) else {
            return default;
        };
        value.into_rust().unwrap_or_else(|error| {
            problems.push(self.problem(name, error.to_string()));
            default
        })
    }

    /// The number of that name, or `default`, which must lie within `range`.
    pub(super) fn within<T: DeserializeOwned + PartialOrd + Display + Copy>(
        &mut self,
        name: &'static str,
        default: T,
        range: RangeInclusive<T>,
        problems: &mut Vec<Problem>,
    ) -> T {
        let number = self.take(name, default, problems);
        if !range.contains(&number) {
            let message = format!("{number} is outside {}..={}", range.start(), range.end());
            problems.push(self.problem(name, message));
        }
        number
    }

    /// The section of that name, or an empty one.
    pub(super) fn section(&mut self, name: &'static str, problems: &mut Vec<Problem>) -> Fields {
        self.taken.push(name);
        let value = self.left.remove(&Value::String(name.to_owned())).unwrap_or(Value::Unit);
        let prefix = format!("{}{name}.", self.prefix);
        let empty = Fields { prefix, left: ron::value::Map::new(), taken: Vec::new() };
        Fields::of(empty.prefix.clone(), value).unwrap_or_else(|| {
            problems.push(self.problem(name, "is not a list of fields in parentheses"));
            empty
        })
    }

    /// Whether nothing was written.
    pub(super) fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    /// Reports what nobody has taken.
    pub(super) fn finish(self, problems: &mut Vec<Problem>) {
        for name in self.left.keys() {
            let text = name.clone().into_rust::<String>();
            let name = text.unwrap_or_else(|_| format!("{name:?}"));
            problems.push(self.problem(&name, unknown(&name, &self.taken)));
        }
    }

    /// Something wrong with the field of that name.
    pub(super) fn problem(&self, name: &str, message: impl Into<String>) -> Problem {
        Problem::at(format!("{}{name}", self.prefix), message)
    }
}

/// Says that `name` is not known, and what may have been meant.
pub(super) fn unknown(name: &str, known: &[&str]) -> String {
    let nearest = known.iter().min_by_key(|other| distance(name, other));
    match nearest {
        // A third of the letters wrong is a slip; more is another word.
        Some(other) if distance(name, other) <= name.chars().count().div_ceil(3) => {
            format!("is not known; did you mean {other}?")
        }
        Some(_) | None => format!("is not known; there are {}", known.join(", ")),
    }
}

/// How many letters have to be changed, added or taken away to make one word the other.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (above, letter) in one.chars().enumerate() {
        let mut next = vec![above + 1];
        for (column, candidate) in other.iter().enumerate() {
            let replaced = row[column] + usize::from(*candidate != letter);
            next.push(replaced.min(row[column + 1] + 1).min(next[column] + 1));
        }
        row = next;
    }
    row[other.len()]
}
