//! What is promised about a topic depends on its settings, and on what has happened to its files.

use std::collections::BTreeMap;

use brooklet_types::{Instant, TopicId};

/// Every topic there ever was.
#[derive(Debug, Default)]
pub(crate) struct Topics(BTreeMap<TopicId, Facts>);

/// What is known of one topic's settings; of settings that may have taken effect, the weaker promise.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Facts {
    /// Since when `brooklet.flush` is known to be `sync`.
    pub(crate) sync_since: Option<Instant>,
    /// It may have been `os` at some time.
    pub(crate) was_os: bool,
    /// It may have been compacted.
    pub(crate) was_compacted: bool,
    /// A change to `os` is under way that nobody will hear of.
    os_any_time: bool,
    /// Retention may have taken records.
    pub(crate) expires: bool,
    /// A bit was flipped: records may be missing, and none may be wrong.
    pub(crate) damaged: bool,
    /// Somebody may have deleted it.
    pub(crate) deleted: bool,
}

impl Topics {
    /// Somebody asks for a topic.
    pub(crate) fn asked_for(&mut self, id: TopicId, settings: &[(String, String)]) {
        let facts = Facts { sync_since: Some(Instant::default()), ..Facts::default() };
        self.0.insert(id, facts);
        for (name, value) in settings {
            self.may_change(id, name, value);
        }
    }

    /// Somebody asks for another value of a setting.
    pub(crate) fn may_change(&mut self, id: TopicId, name: &str, value: &str) {
        let Some(facts) = self.0.get_mut(&id) else { return };
        match name {
            "brooklet.flush" if value == "os" => {
                (facts.was_os, facts.sync_since) = (true, None);
            }
            "cleanup.policy" => facts.was_compacted |= value.contains("compact"),
            "retention.ms" | "retention.bytes" => facts.expires = true,
            _ => {}
        }
    }

    /// Somebody was told that `brooklet.flush` is `sync`.
    pub(crate) fn is_synced(&mut self, id: TopicId, now: Instant) {
        if let Some(facts) = self.0.get_mut(&id).filter(|facts| !facts.os_any_time) {
            facts.sync_since = facts.sync_since.or(Some(now));
        }
    }

    /// Nobody heard of what has come of a change to `os`.
    pub(crate) fn may_be_os_any_time(&mut self, id: TopicId) {
        if let Some(facts) = self.0.get_mut(&id) {
            facts.os_any_time = true;
        }
    }

    pub(crate) fn damaged(&mut self, id: TopicId) {
        if let Some(facts) = self.0.get_mut(&id) {
            facts.damaged = true;
        }
    }

    pub(crate) fn may_be_deleted(&mut self, id: TopicId) {
        if let Some(facts) = self.0.get_mut(&id) {
            facts.deleted = true;
        }
    }

    pub(crate) fn get(&self, id: TopicId) -> Facts {
        *self.0.get(&id).expect("a topic is asked for before it is there")
    }
}
