//! What the values of a key come to.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::Removed;

/// The values of a key, merged.
#[derive(Debug, Default)]
pub(crate) struct Merged {
    state: State,
    /// All names that have been there at any time, to tell which were removed: also by a tombstone or by what
    /// is not JSON, which a reader who saw them may never see.
    names: Names,
}

/// What the values of a key come to.
#[derive(Debug, Default)]
enum State {
    /// There was none yet, or a tombstone last.
    #[default]
    Nothing,
    /// One value, as it was written: most keys have no other, and it is parsed only if they do.
    One(Box<[u8]>),
    /// Several.
    Document(Value),
    /// The last one is not JSON: it stands for itself.
    Opaque,
}

/// Names of members, and those within them.
#[derive(Debug, Default)]
pub(crate) struct Names(BTreeMap<String, Names>);

impl Merged {
    /// One more value.
    pub(crate) fn apply(&mut self, value: &[u8]) {
        if matches!(self.state, State::Nothing) && self.names.0.is_empty() {
            self.state = State::One(value.into());
            return;
        }
        let before = self.open();
        let Ok(patch) = serde_json::from_slice::<Value>(value) else {
            self.state = State::Opaque;
            return;
        };
        self.names.add(&patch);
        let mut document = before;
        merge(&mut document, patch);
        self.state = State::Document(document);
    }

    /// A tombstone: there is nothing any more.
    pub(crate) fn clear(&mut self) {
        self.open();
        self.state = State::Nothing;
    }

    /// Takes out what is there so far, as a document, and learns its names. What is not JSON is not an object,
    /// and the next patch replaces it.
    fn open(&mut self) -> Value {
        match std::mem::take(&mut self.state) {
            State::Nothing | State::Opaque => Value::Null,
            State::Document(document) => document,
            State::One(value) => {
                let mut document = Value::Null;
                if let Ok(first) = serde_json::from_slice::<Value>(&value) {
                    self.names.add(&first);
                    merge(&mut document, first);
                }
                document
            }
        }
    }

    /// The value that stands for all; none if the last one stands for itself.
    pub(crate) fn write(&self, removed: Removed) -> Option<Vec<u8>> {
        let mut written = match (&self.state, removed) {
            (State::Nothing | State::Opaque, _) | (State::One(_), Removed::Null) => return None,
            (State::One(value), Removed::Absent) => {
                // Alone it may still have nulls in it, which a document has not.
                let mut document = Value::Null;
                merge(&mut document, serde_json::from_slice(value).ok()?);
                document
            }
            (State::Document(document), _) => document.clone(),
        };
        if removed == Removed::Null {
            self.names.mark(&mut written);
        }
        Some(written.to_string().into_bytes())
    }
}

/// `MergePatch` of RFC 7396, section 2.
fn merge(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(target) = target else { return };
    for (name, member) in patch {
        if member.is_null() {
            target.remove(&name);
        } else {
            merge(target.entry(name).or_insert(Value::Null), member);
        }
    }
}

impl Names {
    fn add(&mut self, value: &Value) {
        for (name, member) in value.as_object().into_iter().flatten() {
            // Most names are there already, and then nothing is copied.
            if !self.0.contains_key(name) {
                self.0.insert(name.clone(), Names::default());
            }
            if let Some(names) = self.0.get_mut(name) {
                names.add(member);
            }
        }
    }

    /// Writes null where a name was and is no more.
    fn mark(&self, document: &mut Value) {
        let Value::Object(members) = document else { return };
        for (name, names) in &self.0 {
            match members.get_mut(name) {
                Some(member) => names.mark(member),
                None => drop(members.insert(name.clone(), Value::Null)),
            }
        }
    }
}
