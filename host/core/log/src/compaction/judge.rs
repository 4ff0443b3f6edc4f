//! A policy at work on one partition, and the keys that it is told of.
//!
//! **Where it sits.** In a job, between the batches that it reads and the policy.
//!
//! **What it decides.** What a policy is shown: live records and none of a control batch, numbered by their
//! keys, as far as there is memory for these. And whether a verdict is one.

use brooklet_types::Offset;
use brooklet_wire::batch::Record;

use super::keys::Keys;
use super::policy::{Entry, Latest, Pass, Policy, PolicyError, Scope, Verdict};

/// A policy, the keys that it was shown, and what is being cleaned.
#[derive(Debug)]
pub(crate) struct Judge {
    policy: Box<dyn Policy>,
    keys: Keys,
    /// Set when the policy has begun.
    pass: Option<Pass>,
    ended: bool,
}

/// A verdict on the records of a batch, as the host wants it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Judged {
    pub(crate) verdict: Verdict,
    /// For each record whether it is the latest of its key, as far as is known.
    pub(crate) latest: Vec<bool>,
}

impl Judge {
    /// Kafka's own policy.
    pub(crate) fn new(keys: Keys) -> Judge {
        Judge { policy: Box::new(Latest), keys, pass: None, ended: false }
    }

    /// Another one. Before it begins.
    pub(crate) fn choose(&mut self, policy: Box<dyn Policy>) {
        assert!(self.pass.is_none(), "a cleaning has one policy from its beginning to its end");
        self.policy = policy;
    }

    pub(crate) fn merges(&self) -> bool {
        self.policy.merges()
    }

    pub(crate) fn begin(&mut self, pass: Pass) -> Result<(), PolicyError> {
        self.pass = Some(pass);
        self.policy.begin(&pass)
    }

    /// Where a policy's records begin.
    pub(crate) fn observes_from(&self) -> Offset {
        let pass = self.pass();
        match self.policy.scope() {
            Scope::Dirty => pass.dirty_from.max(pass.start),
            Scope::All => pass.start,
        }
    }

    /// Shows the policy the records of a batch; gives back the first for whose key there is no room.
    pub(crate) fn observe(
        &mut self,
        records: &[Record<'_>],
    ) -> Result<Option<Offset>, PolicyError> {
        let from = self.observes_from();
        let mut entries = Vec::with_capacity(records.len());
        let mut full = None;
        for record in records.iter().filter(|record| record.offset >= from) {
            let key = record.key.map(|key| self.keys.learn(key, record.offset));
            if key == Some(None) {
                full = Some(record.offset);
                break;
            }
            entries.push(Entry { record, key: key.flatten(), is_latest: true });
        }
        if full.is_some() && self.policy.scope() == Scope::All {
            return Err(PolicyError::NoRoom { keys: self.keys.capacity() });
        }
        if !entries.is_empty() {
            self.policy.observe(&entries)?;
        }
        Ok(full)
    }

    /// Has the policy judge the records of a batch. What cannot be read any more it is not asked about:
    /// that stays, unless it has a successor.
    pub(crate) fn decide(&mut self, records: &[Record<'_>]) -> Result<Judged, PolicyError> {
        let start = self.pass().start;
        let mut latest = Vec::with_capacity(records.len());
        let (mut entries, mut places) = (Vec::with_capacity(records.len()), Vec::new());
        for (place, record) in records.iter().enumerate() {
            let found = record.key.and_then(|key| self.keys.find(key));
            let is_latest = found.is_none_or(|(_, latest)| latest <= record.offset);
            // Without a key it is nobody's, and a tombstone of nothing.
            latest.push(is_latest && record.key.is_some());
            if record.offset >= start {
                entries.push(Entry { record, key: found.map(|(number, _)| number), is_latest });
                places.push(place);
            }
        }
        let mut verdict = Verdict { keep: latest.clone(), replace: Vec::new() };
        if !entries.is_empty() {
            let judged = self.policy.decide(&entries)?;
            self.check(&judged, entries.len())?;
            for (place, keep) in places.iter().zip(judged.keep) {
                verdict.keep[*place] = keep;
            }
            let replace = judged.replace.into_iter().map(|(index, value)| (places[index], value));
            verdict.replace = replace.collect();
        }
        Ok(Judged { verdict, latest })
    }

    fn check(&self, verdict: &Verdict, count: usize) -> Result<(), PolicyError> {
        let bad = |problem| Err(PolicyError::Verdict { problem });
        if verdict.keep.len() != count {
            return bad("on another number of records");
        }
        if !verdict.replace.is_empty() && !self.policy.merges() {
            return bad("with new values, of a policy that does not merge");
        }
        if !verdict.replace.is_sorted_by(|one, next| one.0 < next.0) {
            return bad("whose new values are in no order");
        }
        let kept = |(index, _): &(usize, _)| verdict.keep.get(*index) == Some(&true);
        if !verdict.replace.iter().all(kept) {
            return bad("with a new value for a record that does not stay");
        }
        Ok(())
    }

    /// Tells the policy that there is nothing more, once.
    pub(crate) fn end(&mut self) {
        if self.pass.is_some() && !std::mem::replace(&mut self.ended, true) {
            self.policy.end();
        }
    }

    fn pass(&self) -> &Pass {
        self.pass.as_ref().expect("a policy begins before it is shown anything")
    }
}
