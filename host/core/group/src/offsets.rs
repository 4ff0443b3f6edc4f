//! Committed positions: who may commit, what is refused, when positions expire.
//!
//! Deciding borrows the group immutably; the position changes when its record is durable.

use std::collections::BTreeSet;
use std::sync::Arc;

use brooklet_types::{ErrorCode, PartitionIndex, Timestamp, TopicName};

use crate::group::Group;
use crate::record::{GroupRecord, OffsetValue};
use crate::reply::{FetchReply, GroupState};
use crate::request::{CommitOffset, CommitRequest, FetchRequest};
use crate::settings::{OFFSETS_PER_GROUP_MAX, Settings};

/// Which of a group's positions expired, and when the next one will.
#[derive(Debug, Default)]
pub(crate) struct Expiry {
    pub(crate) expired: Vec<(TopicName, PartitionIndex)>,
    /// Some do not expire yet, or never.
    pub(crate) some_remain: bool,
    pub(crate) next: Option<Timestamp>,
}

impl Group {
    /// Whether the group takes a commit from this member. Kafka's `validateOffsetCommit`.
    pub(crate) fn check_commit(&self, request: &CommitRequest) -> Result<(), ErrorCode> {
        let CommitRequest { member_id, instance_id, generation, .. } = request;
        let is_anonymous = member_id.is_empty() && instance_id.is_none();
        if generation.is_none() && self.state == GroupState::Empty {
            // An operator, or a consumer that assigns its partitions itself.
            return Ok(());
        }
        if generation.is_none() && is_anonymous {
            return Err(ErrorCode::UnknownMemberId);
        }
        self.check_member(member_id, instance_id.as_ref())?;
        if *generation != Some(self.generation) {
            return Err(ErrorCode::IllegalGeneration);
        }
        if self.state == GroupState::CompletingRebalance {
            // It knows the new generation and may not own what it commits any more.
            return Err(ErrorCode::RebalanceInProgress);
        }
        Ok(())
    }

    /// One code per position, and the records of those that are taken.
    pub(crate) fn decide_commit(
        &self,
        request: &CommitRequest,
        settings: &Settings,
        clock: Timestamp,
    ) -> (Vec<ErrorCode>, Vec<GroupRecord>) {
        let retention = request.retention_ms.filter(|retention| *retention >= 0);
        let mut records = Vec::new();
        let mut decide = |wanted: &CommitOffset| {
            if is_longer(&wanted.metadata, settings.offset_metadata_max) {
                return ErrorCode::OffsetMetadataTooLarge;
            }
            let key = (wanted.topic.clone(), wanted.partition);
            let count = self.offsets.len() + records.len();
            if count >= OFFSETS_PER_GROUP_MAX && !self.offsets.contains_key(&key) {
                return ErrorCode::PolicyViolation;
            }
            let value = Some(OffsetValue {
                offset: wanted.offset,
                leader_epoch: wanted.leader_epoch,
                metadata: Arc::clone(&wanted.metadata),
                commit_timestamp: clock,
                expire_timestamp: retention.map(|retention| clock.plus_millis(retention)),
                topic_id: wanted.topic_id,
            });
            let (topic, partition) = key;
            let group = Arc::clone(&self.id);
            records.push(GroupRecord::Offset { group, topic, partition, value });
            ErrorCode::None
        };
        let codes = request.offsets.iter().map(&mut decide).collect();
        (codes, records)
    }

    pub(crate) fn fetch(&self, request: &FetchRequest) -> FetchReply {
        let offsets = match &request.partitions {
            Some(wanted) => {
                let found = |(topic, partition): &(TopicName, PartitionIndex)| {
                    let value = self.offsets.get(&(topic.clone(), *partition)).cloned();
                    (topic.clone(), *partition, value)
                };
                wanted.iter().map(found).collect()
            }
            None => {
                let all = self.offsets.iter();
                all.map(|((topic, partition), value)| {
                    (topic.clone(), *partition, Some(value.clone()))
                })
                .collect()
            }
        };
        FetchReply { error: ErrorCode::None, offsets }
    }

    /// One code per partition, and the tombstones. Kafka's `validateOffsetDelete`.
    pub(crate) fn decide_delete_offsets(
        &self,
        wanted: &[(TopicName, PartitionIndex)],
        in_flight: &BTreeSet<(TopicName, PartitionIndex)>,
    ) -> Result<(Vec<ErrorCode>, Vec<GroupRecord>), ErrorCode> {
        if self.state != GroupState::Empty && !self.is_consumers() {
            return Err(ErrorCode::NonEmptyGroup);
        }
        let mut records = Vec::new();
        let mut decide = |key: &(TopicName, PartitionIndex)| {
            if self.is_subscribed(&key.0) {
                return ErrorCode::GroupSubscribedToTopic;
            }
            if self.offsets.contains_key(key) || in_flight.contains(key) {
                records.push(self.tombstone(key));
            }
            ErrorCode::None
        };
        let codes = wanted.iter().map(&mut decide).collect();
        Ok((codes, records))
    }

    pub(crate) fn tombstone(
        &self,
        (topic, partition): &(TopicName, PartitionIndex),
    ) -> GroupRecord {
        GroupRecord::Offset {
            group: Arc::clone(&self.id),
            topic: topic.clone(),
            partition: *partition,
            value: None,
        }
    }

    /// At most `limit` expired positions. Kafka's `offsetExpirationCondition` (KIP-211).
    pub(crate) fn expiry(&self, settings: &Settings, clock: Timestamp, limit: usize) -> Expiry {
        let mut expiry = Expiry::default();
        let retention = i64::try_from(settings.offsets_retention.as_millis()).unwrap_or(i64::MAX);
        let is_empty = self.state == GroupState::Empty;
        // Counted from when the group became empty; from each commit when nobody ever joined, or
        // when the members are known not to read the topic.
        let from_state =
            if self.protocol_type.is_some() && is_empty { self.state_since } else { None };
        let expires = self.protocol_type.is_none()
            || is_empty
            || (self.state == GroupState::Stable && self.subscribed.is_some());
        for (key, value) in &self.offsets {
            if !expires || self.is_subscribed(&key.0) {
                expiry.some_remain = true;
                continue;
            }
            let from = from_state.unwrap_or(value.commit_timestamp);
            let at = value.expire_timestamp.unwrap_or(from.plus_millis(retention));
            if clock >= at && expiry.expired.len() < limit {
                expiry.expired.push(key.clone());
            } else {
                expiry.some_remain = true;
                expiry.next = Some(expiry.next.map_or(at, |next| next.min(at)));
            }
        }
        expiry
    }
}

/// Whether `text` has more than `limit` UTF-16 units, which is how Java counts.
fn is_longer(text: &str, limit: usize) -> bool {
    // A unit takes one to three bytes of UTF-8, so most texts need no counting.
    text.len() > limit && text.encode_utf16().count() > limit
}
