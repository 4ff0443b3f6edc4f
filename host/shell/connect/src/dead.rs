//! Records that could not be handled: counted, logged if that is wanted, and buried where somebody finds them.

use brooklet_hook::task::Rejected;
use bytes::Bytes;

use crate::config::Errors;

/// A record that could not be handled, and where it was.
#[derive(Clone, Debug)]
pub(crate) struct Lost {
    pub(crate) topic: String,
    pub(crate) partition: Option<u32>,
    /// Its offset; none of a record that was never stored.
    pub(crate) offset: Option<i64>,
    pub(crate) timestamp: i64,
    pub(crate) key: Option<Bytes>,
    pub(crate) value: Option<Bytes>,
    pub(crate) headers: Vec<(Bytes, Option<Bytes>)>,
    pub(crate) stage: &'static str,
    pub(crate) code: String,
    pub(crate) message: String,
}

impl Lost {
    pub(crate) fn because(mut self, reject: &Rejected) -> Lost {
        self.code.clone_from(&reject.code);
        self.message.clone_from(&reject.message);
        self
    }

    /// For a log or a status.
    pub(crate) fn told(&self) -> String {
        let place = match (self.partition, self.offset) {
            (Some(partition), Some(offset)) => format!("{}-{partition}@{offset}", self.topic),
            (Some(partition), None) => format!("for {}-{partition}", self.topic),
            (None, _) => format!("for {}", self.topic),
        };
        format!("record {place}: {}: {}", self.code, self.message)
    }

    /// The headers it is buried with: its own, and behind them why, under Connect's names (KIP-298).
    pub(crate) fn headers(
        &self,
        errors: &Errors,
        connector: &str,
        task: u32,
        class: &str,
    ) -> Vec<(Bytes, Option<Bytes>)> {
        let mut headers = self.headers.clone();
        if !errors.with_context {
            return headers;
        }
        let mut add = |name: &str, value: String| {
            headers.push((format!("__connect.errors.{name}").into(), Some(value.into())));
        };
        add("topic", self.topic.clone());
        if let Some(partition) = self.partition {
            add("partition", partition.to_string());
        }
        if let Some(offset) = self.offset {
            add("offset", offset.to_string());
        }
        add("connector.name", connector.to_owned());
        add("task.id", task.to_string());
        add("stage", self.stage.to_owned());
        add("class.name", class.to_owned());
        add("exception.class.name", self.code.clone());
        add("exception.message", self.message.clone());
        headers
    }
}
