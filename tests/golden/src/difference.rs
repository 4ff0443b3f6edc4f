//! Where we answer otherwise than Kafka: found field by field, and listed with a reason.
//!
//! ```text
//! produce | records are null | Produce v3-13
//!   because Kafka says nothing at all; a client should hear what was wrong
//!   .: no_answer -> {responses: […]}
//! api_versions | the ordinary case | ApiVersions v*
//!   because transactions are not there yet
//!   api_keys[24]: {api_key: 24, min_version: 0, max_version: 5} -> absent
//! ```
//!
//! `*` stands for any script, any case, in `topics[*]` for any element, and behind the arrow for whatever we say there. The third part of the heading is how a request begins, with a version, some, or all of them.
//! Every line of the list must occur somewhere in the steps that it names: what no longer differs
//! has to go.

use std::fmt;

use crate::schema::{Schemas, Versions};
use crate::value::Value;

/// One field with two values. `None` is a field or element that is not there.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    pub path: String,
    pub kafka: Option<Value>,
    pub ours: Option<Value>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = |value: &Option<Value>| {
            value.as_ref().map_or_else(|| "absent".to_owned(), ToString::to_string)
        };
        write!(f, "{}: {} -> {}", self.path, side(&self.kafka), side(&self.ours))
    }
}

/// What tells the elements of a list apart, the first of these that every element has.
///
/// Elements that have a name are compared by it, whatever their order: Kafka's order is often that
/// of a Java hash map.
const IDENTITIES: &[&[&str]] = &[
    &["api_key"],
    &["resource_type", "resource_name"],
    &["resource_name"],
    &["member_id"],
    &["group_id"],
    &["topic_id"],
    &["topic"],
    &["name"],
    &["topic_name"],
    &["partition_index"],
    &["partition"],
    &["index"],
    &["node_id"],
    &["broker_id"],
    &["key"],
    &["producer_id"],
    &["user"],
    &["entity"],
];

/// Every field in which the two answers differ.
pub fn compare(kafka: &Value, ours: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    descend("", kafka, ours, &mut found);
    found
}

fn descend(path: &str, kafka: &Value, ours: &Value, found: &mut Vec<Difference>) {
    if kafka == ours {
        return;
    }
    match (kafka, ours) {
        (Value::Record(theirs), Value::Record(own)) => {
            let names = theirs.iter().chain(own).map(|(name, _)| name.clone());
            pairs(path, '.', names, |name| kafka.field(name), |name| ours.field(name), found);
        }
        (Value::List(theirs), Value::List(own)) => {
            let (theirs, own) = identified(theirs, own);
            let find = |list: &[(String, Value)], name: &str| {
                list.iter().position(|(known, _)| known == name)
            };
            let names = theirs.iter().chain(&own).map(|(name, _)| name.clone());
            let kafka = |name: &str| find(&theirs, name).map(|at| &theirs[at].1);
            let ours = |name: &str| find(&own, name).map(|at| &own[at].1);
            pairs(path, '[', names, kafka, ours, found);
        }
        _ => found.push(Difference {
            path: if path.is_empty() { ".".to_owned() } else { path.to_owned() },
            kafka: Some(kafka.clone()),
            ours: Some(ours.clone()),
        }),
    }
}

fn pairs<'a>(
    path: &str,
    separator: char,
    names: impl Iterator<Item = String>,
    kafka: impl Fn(&str) -> Option<&'a Value>,
    ours: impl Fn(&str) -> Option<&'a Value>,
    found: &mut Vec<Difference>,
) {
    let mut seen: Vec<String> = Vec::new();
    for name in names {
        if seen.contains(&name) {
            continue;
        }
        let path = match separator {
            '[' => format!("{path}[{name}]"),
            _ if path.is_empty() => name.clone(),
            _ => format!("{path}.{name}"),
        };
        match (kafka(&name), ours(&name)) {
            (Some(kafka), Some(ours)) => descend(&path, kafka, ours, found),
            (kafka, ours) => {
                found.push(Difference { path, kafka: kafka.cloned(), ours: ours.cloned() });
            }
        }
        seen.push(name);
    }
}

type Identified = Vec<(String, Value)>;

/// The elements of both lists with what tells them apart: their name, or their place.
fn identified(theirs: &[Value], own: &[Value]) -> (Identified, Identified) {
    let named = |list: &[Value], fields: &[&str]| -> Option<Identified> {
        let mut named: Identified = Vec::new();
        for element in list {
            let parts: Option<Vec<String>> =
                fields.iter().map(|field| element.field(field).map(ToString::to_string)).collect();
            let name = parts?.join("/");
            if named.iter().any(|(known, _)| *known == name) {
                return None;
            }
            named.push((name, element.clone()));
        }
        Some(named)
    };
    let both = |fields: &&[&str]| Some((named(theirs, fields)?, named(own, fields)?));
    let placed = |list: &[Value]| {
        list.iter().enumerate().map(|(at, value)| (at.to_string(), value.clone())).collect()
    };
    IDENTITIES.iter().find_map(both).unwrap_or_else(|| (placed(theirs), placed(own)))
}

/// An entry of the list.
#[derive(Clone, Debug)]
pub struct Listed {
    pub file: String,
    pub case: String,
    /// How the request begins, without its version: `b: JoinGroup`.
    pub request: String,
    pub versions: Versions,
    pub reason: String,
    /// As they are printed.
    pub differences: Vec<String>,
    /// As in the file, for messages.
    pub heading: String,
}

impl Listed {
    /// Whether the entry speaks of the step that begins with `request`.
    pub fn names(&self, file: &str, case: &str, request: &str) -> bool {
        let Some((begin, rest)) = request.split_once(" v") else { return false };
        let digits = rest.split(' ').next().unwrap_or(rest);
        [(&self.file, file), (&self.case, case)]
            .iter()
            .all(|(own, given)| *own == "*" || own == given)
            && self.request == begin
            && digits.parse().is_ok_and(|version| self.versions.contain(version))
    }
}

/// Whether a line of the list, with `[*]` for any element and `-> *` for whatever we say, is what was found.
pub fn is_listed(line: &str, found: &str) -> bool {
    const ANY: &str = "[*]";
    let Some((begin, rest)) = line.split_once(ANY) else {
        let begin = line.strip_suffix('*').filter(|begin| begin.ends_with("-> "));
        return line == found || begin.is_some_and(|begin| found.starts_with(begin));
    };
    let Some(found) = found.strip_prefix(begin).and_then(|found| found.strip_prefix('[')) else {
        return false;
    };
    // An element's name may hold brackets itself: any of them may be the closing one.
    found.match_indices(']').any(|(at, _)| is_listed(rest, &found[at + 1..]))
}

/// Reads the list.
///
/// # Errors
/// If an entry has no heading of three parts, no reason or no difference.
pub fn read_list(schemas: &Schemas, text: &str) -> Result<Vec<Listed>, String> {
    let mut list: Vec<Listed> = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
        if !line.starts_with(' ') {
            list.push(heading(schemas, line).ok_or_else(|| format!("not a heading: {line}"))?);
            continue;
        }
        let line = line.trim();
        let entry = list.last_mut().ok_or("the list begins with a heading")?;
        match line.strip_prefix("because ") {
            Some(reason) => reason.clone_into(&mut entry.reason),
            None => entry.differences.push(line.to_owned()),
        }
    }
    for entry in &list {
        if entry.reason.is_empty() || entry.differences.is_empty() {
            return Err(format!("{}: a reason and a difference are needed", entry.heading));
        }
    }
    Ok(list)
}

fn heading(schemas: &Schemas, line: &str) -> Option<Listed> {
    let parts: Vec<&str> = line.split(" | ").collect();
    let [file, case, request] = parts.as_slice() else { return None };
    let (request, versions) = request.split_once(" v")?;
    let versions = if versions == "*" {
        let (min, max) = schemas.served(request.rsplit(' ').next()?);
        Versions::parse(&format!("{min}-{max}"))
    } else {
        Versions::parse(versions)
    };
    Some(Listed {
        file: (*file).to_owned(),
        case: (*case).to_owned(),
        request: request.to_owned(),
        versions,
        reason: String::new(),
        differences: Vec::new(),
        heading: line.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_compared_by_their_name_and_else_by_their_place() {
        let kafka =
            Value::parse(r#"{topics: [{name: "a", id: 1}, {name: "b", id: 2}], n: [1, 2]}"#);
        let ours = Value::parse(r#"{topics: [{name: "b", id: 3}, {name: "a", id: 1}], n: [1]}"#);
        let found: Vec<String> =
            compare(&kafka.unwrap(), &ours.unwrap()).iter().map(ToString::to_string).collect();
        assert_eq!(found, [r#"topics["b"].id: 2 -> 3"#, "n[1]: 2 -> absent"]);
        assert!(is_listed("topics[*].id: 2 -> 3", &found[0]));
        assert!(!is_listed("topics[*].id: 2 -> 4", &found[0]));
        assert!(is_listed("topics[*].id: 2 -> *", &found[0]));
        assert!(is_listed("n[1]: 2 -> *", &found[1]));
        assert!(!is_listed("n[1]: 3 -> *", &found[1]));
    }
}
