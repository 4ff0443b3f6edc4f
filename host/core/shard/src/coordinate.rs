//! Coordinators: decide, append, apply, reply.
//!
//! A group coordinator lives where its partition of `__consumer_offsets` lives, and what it decides
//! becomes records of that partition, stored the way every record is. Its replies wait for the
//! same syncs as a producer's.

use std::collections::BTreeMap;

use brooklet_group::{AppendToken, Coordinator, Effects, ListRequest, Request, Settings};
use brooklet_log::Disk;
use brooklet_log::validate::ValidatedBatch;
use brooklet_types::{
    ErrorCode, Instant, PartitionIndex, Timestamp, TopicId, TopicName, TopicPartition,
};

use crate::input::Ticket;
use crate::output::{CommittedOffset, Event, Output, Reply};
use crate::partition::{Partition, Role};
use crate::produce::{Stored, WaitsFor};
use crate::shard::{GROUPS_TOPIC, Shard, Waiting};
use crate::stored::{self, Found, LoadError};

/// The group coordinators of this shard, by their partition of `__consumer_offsets`.
#[derive(Debug)]
pub(crate) struct GroupCoordinators {
    settings: Settings,
    by_partition: BTreeMap<PartitionIndex, Placed>,
}

#[derive(Debug)]
struct Placed {
    /// Which incarnation of `__consumer_offsets` holds its records.
    topic: TopicId,
    coordinator: Coordinator,
}

impl GroupCoordinators {
    pub(crate) fn new(settings: Settings) -> GroupCoordinators {
        GroupCoordinators { settings, by_partition: BTreeMap::new() }
    }

    fn remove(&mut self, id: TopicPartition) -> Option<Coordinator> {
        self.by_partition.get(&id.partition).filter(|placed| placed.topic == id.topic)?;
        self.by_partition.remove(&id.partition).map(|placed| placed.coordinator)
    }

    /// Whether a coordinator writes to this partition.
    pub(crate) fn holds(&self, id: TopicPartition) -> bool {
        self.by_partition.get(&id.partition).is_some_and(|placed| placed.topic == id.topic)
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.by_partition.values().filter_map(|placed| placed.coordinator.next_deadline()).min()
    }

    fn iter(&self) -> impl Iterator<Item = &Coordinator> {
        self.by_partition.values().map(|placed| &placed.coordinator)
    }

    fn get(&mut self, partition: PartitionIndex) -> Option<&mut Coordinator> {
        self.by_partition.get_mut(&partition).map(|placed| &mut placed.coordinator)
    }
}

impl<D: Disk> Shard<D> {
    /// Reads a freshly opened partition of `__consumer_offsets` into a coordinator.
    pub(crate) fn load_groups(
        &mut self,
        now: Instant,
        clock: Timestamp,
        id: TopicPartition,
        outbox: &mut Vec<Output<D>>,
    ) -> Result<(), LoadError> {
        let mut coordinator = Coordinator::new(self.groups.settings.clone());
        let partition = self.partitions.get(&id).expect("the caller has just opened it");
        stored::read_all(&partition.log, |found| {
            let Found { offset, key, value, .. } = found;
            if let Some(record) = stored::read_group_record(offset, key, value)? {
                coordinator.replay(&record);
            }
            Ok(())
        })?;
        coordinator.loaded(now, clock);
        outbox.push(Output::Event(Event::GroupsLoaded { partition: id.partition.0 }));
        let placed = Placed { topic: id.topic, coordinator };
        self.groups.by_partition.insert(id.partition, placed);
        Ok(())
    }

    /// The partition is gone, and with it its coordinator: whoever waits for one is told so.
    pub(crate) fn end_groups(&mut self, id: TopicPartition, outbox: &mut Vec<Output<D>>) {
        self.copies.groups.remove(&id);
        let Some(coordinator) = self.groups.remove(id) else { return };
        for (ticket, reply) in coordinator.end() {
            outbox.push(Output::Reply { ticket, reply: Reply::Group(reply) });
        }
    }

    pub(crate) fn group_request(
        &mut self,
        now: Instant,
        clock: Timestamp,
        ticket: Ticket,
        asked: (PartitionIndex, Request, [u8; 16]),
        outbox: &mut Vec<Output<D>>,
    ) {
        let (partition, request, entropy) = asked;
        let Some(coordinator) = self.groups.get(partition) else {
            let is_here = |id: &&TopicPartition| id.partition == partition;
            let mut here = self.partitions.keys().filter(is_here);
            let code = if here.any(|id| self.awaits_groups(*id)) {
                ErrorCode::CoordinatorLoadInProgress
            } else {
                ErrorCode::NotCoordinator
            };
            outbox.push(Output::Reply { ticket, reply: Reply::Group(request.refused(code)) });
            return;
        };
        let effects = coordinator.request(now, clock, ticket, request, entropy);
        self.carry_out(now, clock, partition, effects, outbox);
    }

    /// Whether a coordinator will be here once what its partition has is known to be safe.
    pub(crate) fn awaits_groups(&self, id: TopicPartition) -> bool {
        let partition = self.partitions.get(&id);
        let is_led = |it: &Partition<D>| it.leads() && it.topic.as_str() == GROUPS_TOPIC;
        partition.is_some_and(is_led) && !self.groups.holds(id)
    }

    /// The groups of this shard (Kafka's ListGroups).
    pub(crate) fn list_groups(&self, request: &ListRequest) -> Reply<D> {
        Reply::Groups(self.groups.iter().flat_map(|one| one.list(request)).collect())
    }

    /// What the groups of this shard have committed.
    pub(crate) fn committed(&self) -> Reply<D> {
        let all = self.groups.iter().flat_map(Coordinator::committed);
        let described = all.map(|(group, topic, partition, offset)| {
            let (group, topic) = (group.to_string(), topic.clone());
            CommittedOffset { group, topic, partition, offset }
        });
        Reply::Committed(described.collect())
    }

    /// A topic is gone, and what groups committed for it with it.
    pub(crate) fn forget_topic(
        &mut self,
        now: Instant,
        clock: Timestamp,
        topic: &TopicName,
        outbox: &mut Vec<Output<D>>,
    ) {
        let partitions: Vec<PartitionIndex> = self.groups.by_partition.keys().copied().collect();
        for partition in partitions {
            let Some(coordinator) = self.groups.get(partition) else { continue };
            let effects = coordinator.topic_deleted(topic.as_str());
            self.carry_out(now, clock, partition, effects, outbox);
        }
    }

    pub(crate) fn tick_groups(
        &mut self,
        now: Instant,
        clock: Timestamp,
        outbox: &mut Vec<Output<D>>,
    ) {
        let is_due = |placed: &Placed| {
            placed.coordinator.next_deadline().is_some_and(|deadline| deadline <= now)
        };
        let coordinators = self.groups.by_partition.iter();
        let due: Vec<PartitionIndex> =
            coordinators.filter(|(_, placed)| is_due(placed)).map(|(index, _)| *index).collect();
        for partition in due {
            let Some(coordinator) = self.groups.get(partition) else { continue };
            let effects = coordinator.tick(now, clock);
            self.carry_out(now, clock, partition, effects, outbox);
        }
    }

    /// The records behind `token` are durable.
    pub(crate) fn group_appended(
        &mut self,
        now: Instant,
        clock: Timestamp,
        (id, token): (TopicPartition, AppendToken),
        outbox: &mut Vec<Output<D>>,
    ) {
        if !self.groups.holds(id) {
            // It has ended since, and its successor knows nothing of this.
            return;
        }
        let partition = id.partition;
        let Some(coordinator) = self.groups.get(partition) else { return };
        let effects = coordinator.appended(now, clock, token, Ok(()));
        self.carry_out(now, clock, partition, effects, outbox);
    }

    /// Sends replies, appends records. An append that is durable at once or refused at once leads
    /// to further effects, hence the loop; it ends because a coordinator answers an append with at
    /// most one more.
    fn carry_out(
        &mut self,
        now: Instant,
        clock: Timestamp,
        partition: PartitionIndex,
        mut effects: Effects,
        outbox: &mut Vec<Output<D>>,
    ) {
        loop {
            for (ticket, reply) in effects.replies {
                outbox.push(Output::Reply { ticket, reply: Reply::Group(reply) });
            }
            let Some(token) = effects.append else { return };
            let placed = self.groups.by_partition.get(&partition).expect("it has just decided");
            let id = TopicPartition { topic: placed.topic, partition };
            let records: Vec<_> = effects.records.iter().map(stored::group_record).collect();
            let batch = stored::batch_of(&records, clock);
            let outcome = match self.store_records(now, clock, id, &batch, outbox) {
                Ok(Stored { waits: WaitsFor::Sync, .. }) => {
                    self.syncs.park(Waiting::Group { id, token });
                    return;
                }
                Ok(Stored { waits: WaitsFor::Copies, appended }) => {
                    let waiting = self.copies.groups.entry(id).or_default();
                    waiting.push_back((appended.last.next(), token));
                    // It may have passed already.
                    self.copies.committed.insert(id);
                    return;
                }
                Ok(Stored { waits: WaitsFor::Nothing, .. }) => Ok(()),
                Err(code) => Err(code),
            };
            let coordinator = self.groups.get(partition).expect("it has just decided");
            effects = coordinator.appended(now, clock, token, outcome);
        }
    }

    /// The high watermark of a coordinator's partition may have passed what it has written. What the in-sync set has
    /// become too small for waits on: it is in the log, and another leader would find it there.
    pub(crate) fn groups_committed(
        &mut self,
        now: Instant,
        clock: Timestamp,
        id: TopicPartition,
        outbox: &mut Vec<Output<D>>,
    ) {
        let Some(partition) = self.partitions.get(&id) else { return };
        let high_watermark = partition.high_watermark;
        let next = |shard: &mut Shard<D>| {
            let waiting = shard.copies.groups.get_mut(&id)?;
            waiting.pop_front_if(|(end, _)| *end <= high_watermark)
        };
        while let Some((_, token)) = next(self) {
            self.group_appended(now, clock, (id, token), outbox);
        }
    }

    /// Appends a coordinator's batch, as a producer does with `acks=all`.
    fn store_records(
        &mut self,
        now: Instant,
        clock: Timestamp,
        id: TopicPartition,
        batch: &ValidatedBatch,
        outbox: &mut Vec<Output<D>>,
    ) -> Result<Stored, ErrorCode> {
        let partition = self.partitions.get(&id).filter(|partition| partition.leads());
        let partition = partition.ok_or(ErrorCode::NotCoordinator)?;
        if let Role::Leader(leader) = &partition.role {
            // Members of groups know no replicas; they come again.
            leader.accept().map_err(|_| ErrorCode::CoordinatorNotAvailable)?;
        }
        self.store(now, clock, id, batch, outbox).map_err(|error| error.code())
    }
}
