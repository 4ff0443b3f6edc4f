//! How groups and their offsets end: expiry, deletion, and the tombstones both take.
//!
//! A sweep looks at every group, as Kafka's does every ten minutes. Unlike Kafka's it is planned:
//! each computes from what it saw when the next can find something, so that a coordinator whose
//! groups only wait for their retention sleeps until then.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use brooklet_types::{ErrorCode, Instant, PartitionIndex, Timestamp, TopicName};

use crate::coordinator::Coordinator;
use crate::record::GroupRecord;
use crate::reply::{GroupState, Reply};
use crate::request::RequestId;
use crate::settings::EXPIRED_PER_TICK_MAX;
use crate::step::{After, Out};
use crate::timers::Alarm;

impl Coordinator {
    pub(crate) fn delete(&mut self, id: RequestId, group: &Arc<str>) -> Out {
        let answered = |code| Out { replies: vec![(id, Reply::Delete(code))], ..Out::default() };
        let Some(known) = self.groups.get(group) else {
            return answered(ErrorCode::GroupIdNotFound);
        };
        if known.removing {
            return answered(ErrorCode::CoordinatorLoadInProgress);
        }
        if known.state != GroupState::Empty {
            return answered(ErrorCode::NonEmptyGroup);
        }
        let mut out = self.remove(group);
        let stored = Reply::Delete(ErrorCode::None);
        if out.records.is_empty() {
            return answered(ErrorCode::None);
        }
        out.after.push(After::Reply { id, stored });
        out
    }

    pub(crate) fn delete_offsets(
        &mut self,
        id: RequestId,
        group: &Arc<str>,
        wanted: &[(TopicName, PartitionIndex)],
    ) -> Out {
        let answered = |error, partitions| {
            let reply = Reply::DeleteOffsets { error, partitions };
            Out { replies: vec![(id, reply)], ..Out::default() }
        };
        let Some(known) = self.groups.get(group).filter(|known| !known.removing) else {
            return answered(ErrorCode::GroupIdNotFound, Vec::new());
        };
        let (codes, records) = match known.decide_delete_offsets(wanted, &self.in_flight(group)) {
            Ok(decided) => decided,
            Err(code) => return answered(code, Vec::new()),
        };
        if records.is_empty() {
            return answered(ErrorCode::None, codes);
        }
        let stored = Reply::DeleteOffsets { error: ErrorCode::None, partitions: codes };
        Out { records, after: vec![After::Reply { id, stored }], ..Out::default() }
    }

    /// Writes the tombstones of an empty group, or forgets at once what was never written.
    pub(crate) fn remove(&mut self, id: &Arc<str>) -> Out {
        let in_flight = self.in_flight(id);
        let group = self.groups.get_mut(id).expect("the caller found it");
        assert!(group.members.is_empty(), "group {id:?} is removed with members");
        for pending in std::mem::take(&mut group.pending_join) {
            self.timers.cancel(id, Alarm::Member(pending));
        }
        let keys: BTreeSet<_> = group.offsets.keys().chain(&in_flight).collect();
        let mut records: Vec<_> = keys.into_iter().map(|key| group.tombstone(key)).collect();
        if group.stored || group.appends > 0 {
            records.push(GroupRecord::Group { group: Arc::clone(id), value: None });
        }
        if records.is_empty() {
            self.groups.remove(id);
            return Out::default();
        }
        group.removing = true;
        Out { records, after: vec![After::Removed { group: Arc::clone(id) }], ..Out::default() }
    }

    /// Positions whose commit is not durable yet.
    pub(crate) fn in_flight(&self, id: &str) -> BTreeSet<(TopicName, PartitionIndex)> {
        let mut keys = BTreeSet::new();
        if self.groups.get(id).is_none_or(|group| group.appends == 0) {
            return keys;
        }
        for record in self.appends.values().flat_map(|append| &append.records) {
            if let GroupRecord::Offset { group, topic, partition, value: Some(_) } = record
                && &**group == id
            {
                keys.insert((topic.clone(), *partition));
            }
        }
        keys
    }

    /// Expires offsets, removes groups that hold nothing, and says when to look again.
    pub(crate) fn sweep(&mut self, now: Instant, clock: Timestamp, out: &mut Out) {
        self.sweep_at = None;
        let interval = self.settings.offsets_retention_check_interval;
        let mut next: Option<Duration> = None;
        let ids: Vec<Arc<str>> = self.groups.keys().cloned().collect();
        for id in ids {
            if out.records.len() >= EXPIRED_PER_TICK_MAX {
                break;
            }
            let group = &self.groups[&id];
            if group.removing || group.appends > 0 || !group.pending_join.is_empty() {
                next = Some(interval);
                continue;
            }
            let room = EXPIRED_PER_TICK_MAX - out.records.len();
            let expiry = group.expiry(&self.settings, clock, room);
            if !expiry.some_remain && group.state == GroupState::Empty {
                let mut removal = self.remove(&id);
                out.records.append(&mut removal.records);
                out.after.append(&mut removal.after);
                continue;
            }
            out.records.extend(expiry.expired.iter().map(|key| group.tombstone(key)));
            if let Some(at) = expiry.next {
                let millis = u64::try_from(at.millis_since(clock)).unwrap_or(0);
                let wait = Duration::from_millis(millis).max(interval);
                next = Some(next.map_or(wait, |next| next.min(wait)));
            }
        }
        if !out.records.is_empty() {
            // There may be more; its turn comes when these are durable.
            out.after.push(After::Expired);
        } else if let Some(wait) = next {
            self.sweep_within(now, wait);
        }
    }

    /// Sweeps after `wait`, or earlier if that was planned.
    pub(crate) fn sweep_within(&mut self, now: Instant, wait: Duration) {
        let at = now + wait;
        self.sweep_at = Some(self.sweep_at.map_or(at, |before| before.min(at)));
    }
}
