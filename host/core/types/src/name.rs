//! Checked names. What is held in one of these types needs no second look.

use std::fmt;
use std::sync::Arc;

use crate::limits;

/// A legal topic name, cheap to clone: 1 to 249 of `[a-zA-Z0-9._-]`, neither `.` nor `..`.
///
/// Source: Kafka's `org.apache.kafka.common.internals.Topic`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName(Arc<str>);

/// Why a name is not a topic's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing was given.
    #[error("topic name is empty")]
    Empty,
    /// `.` and `..` would escape the data folder.
    #[error("topic name {name:?} is a folder's name for itself or its parent")]
    Dots { name: String },
    /// Longer than a file name can be with a partition's suffix.
    #[error("topic name is {length} characters long, the limit is {limit}")]
    TooLong { length: usize, limit: usize },
    /// Something other than letters, digits, `.`, `_` and `-`.
    #[error("topic name {name:?} contains {character:?}; allowed are a-z A-Z 0-9 . _ -")]
    IllegalCharacter { name: String, character: char },
}

impl TopicName {
    /// Checks `name`.
    pub fn new(name: &str) -> Result<TopicName, NameError> {
        let illegal = |character: &char| !matches!(character, 'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '_' | '-');
        if name.is_empty() {
            return Err(NameError::Empty);
        }
        if name == "." || name == ".." {
            return Err(NameError::Dots { name: name.to_owned() });
        }
        if name.len() > limits::TOPIC_NAME_BYTES_MAX {
            let limit = limits::TOPIC_NAME_BYTES_MAX;
            return Err(NameError::TooLong { length: name.len(), limit });
        }
        if let Some(character) = name.chars().find(illegal) {
            return Err(NameError::IllegalCharacter { name: name.to_owned(), character });
        }
        Ok(TopicName(Arc::from(name)))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The log of the cluster's metadata. It lies among the topics' folders, as Kafka's does, and is
    /// nobody's topic: a topic of that name would share its folder.
    pub const CLUSTER_METADATA: &str = "__cluster_metadata";

    /// Whether Kafka treats the topic as its own: `__consumer_offsets` and its kind.
    pub fn is_internal(&self) -> bool {
        matches!(
            self.as_str(),
            "__consumer_offsets" | "__transaction_state" | "__share_group_state"
        )
    }
}

impl std::borrow::Borrow<str> for TopicName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for TopicName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_kafkas_topic_names_are_topic_names() {
        for legal in ["flights", "a.b_c-9", "...", &"x".repeat(249)] {
            assert!(TopicName::new(legal).is_ok(), "{legal}");
        }
        for illegal in ["", ".", "..", "a/b", "flüge", "a b", "a\0", &"x".repeat(250)] {
            assert!(TopicName::new(illegal).is_err(), "{illegal}");
        }
    }
}
