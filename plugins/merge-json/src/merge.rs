//! What the values of a key come to.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::Removed;

/// The values of a key, merged.
#[derive(Debug)]
pub(crate) enum Merged {
    /// One value, as it was written: most keys have no other, and it is parsed only if they do.
    One(Box<[u8]>),
    /// Several.
    Several {
        document: Value,
        /// All names that have been there at any time, to tell which were removed.
        names: Names,
    },
    /// The last one is not JSON: it stands for itself.
    Opaque,
}

/// Names of members, and those within them.
#[derive(Debug, Default)]
pub(crate) struct Names(BTreeMap<String, Names>);

impl Merged {
    /// The first value of a key.
    pub(crate) fn first(value: &[u8]) -> Merged {
        Merged::One(value.into())
    }

    /// One more.
    pub(crate) fn apply(&mut self, value: &[u8]) {
        let Ok(patch) = serde_json::from_slice::<Value>(value) else {
            *self = Merged::Opaque;
            return;
        };
        if let Merged::One(_) | Merged::Opaque = self {
            *self = self.opened();
        }
        if let Merged::Several { document, names } = self {
            names.add(&patch);
            merge(document, patch);
        }
    }

    /// With what is there so far as a document. What is not JSON is not an object, and the next patch
    /// replaces it.
    fn opened(&self) -> Merged {
        let (mut document, mut names) = (Value::Null, Names::default());
        if let Merged::One(value) = self
            && let Ok(first) = serde_json::from_slice::<Value>(value)
        {
            names.add(&first);
            merge(&mut document, first);
        }
        Merged::Several { document, names }
    }

    /// The value that stands for all; none if the last one stands for itself.
    pub(crate) fn write(&self, removed: Removed) -> Option<Vec<u8>> {
        let several;
        let (document, names) = match (self, removed) {
            (Merged::Opaque, _) | (Merged::One(_), Removed::Null) => return None,
            (Merged::One(value), Removed::Absent) => {
                // Alone it may still have nulls in it, which a document has not.
                serde_json::from_slice::<serde::de::IgnoredAny>(value).ok()?;
                several = self.opened();
                let Merged::Several { document, names } = &several else { return None };
                (document, names)
            }
            (Merged::Several { document, names }, _) => (document, names),
        };
        let mut written = document.clone();
        if removed == Removed::Null {
            names.mark(&mut written);
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
