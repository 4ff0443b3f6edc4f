//! Which partitions are here, and what this broker is to each: what an image of the cluster changes.
//!
//! **Where it sits.** Between the metadata and the partitions. What leading means is in `lead`, what following means
//! in `follow`; the machines themselves are `brooklet-replica`'s.
//!
//! **What it decides.** Which logs are opened and which are removed, when a role changes and what becomes of whoever
//! waits, when a partition's machine wants to hear of the time.
//!
//! **Invariants.** A partition with one copy has no machine, and nothing of what is here is looked at for a write to
//! it. A shard acts on an image only if it has this run's registration.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use brooklet_group::AppendToken;
use brooklet_log::Disk;
use brooklet_meta::broker::BrokerEpoch;
use brooklet_meta::setting::effective::{EffectiveTopicSettings, Flush};
use brooklet_meta::{self as meta, Cluster, Topic};
use brooklet_replica::{self as replica, FetchId, Follower, Leader, LeaderSettings};
use brooklet_types::{BrokerId, Instant, Offset, Timestamp, TopicName, TopicPartition};

use crate::lead::Producing;
use crate::metadata::METADATA;
use crate::output::{Alter, CopyFetch, Event, Output};
use crate::partition::{Following, Role};
use crate::shard::{GROUPS_TOPIC, Shard, shard_of};

/// Ids of fetches that one role may use. A role would have to last for years to use them up.
const FETCHES_PER_ROLE: u64 = 1 << 32;

/// What the shard keeps about partitions with more copies than one.
#[derive(Debug, Default)]
pub(crate) struct Copies {
    /// How this run of the broker is registered.
    pub(crate) registered: Option<BrokerEpoch>,
    /// An image that has not this run's registration.
    unheard: Option<Arc<Cluster>>,
    /// Whether there were others in the quorum at the start: an image of a broker alone is one of before.
    is_member: bool,
    /// Folders that were there at the start, of which some may belong to nobody any more.
    pub(crate) found: Vec<String>,
    /// Roles of followers that there were, so that a late answer finds nothing.
    roles: u64,
    /// Whose machine was told something in this step.
    pub(crate) touched: BTreeSet<TopicPartition>,
    /// Who has new records that followers have not been woken for.
    pub(crate) appended: BTreeSet<TopicPartition>,
    /// Whose high watermark moved while a group coordinator waited.
    pub(crate) committed: BTreeSet<TopicPartition>,
    /// What group coordinators have appended, by partition: where it ends.
    pub(crate) groups: BTreeMap<TopicPartition, VecDeque<(Offset, AppendToken)>>,
    pub(crate) producing: Producing,
    fetching: BTreeMap<BrokerId, Vec<CopyFetch>>,
    pub(crate) altering: Vec<Alter>,
    deadlines: BTreeSet<(Instant, TopicPartition)>,
    armed: BTreeMap<TopicPartition, Instant>,
}

impl Copies {
    /// When time alone changes something.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let machines = self.deadlines.first().map(|(at, _)| *at);
        machines.into_iter().chain(self.producing.next_deadline()).min()
    }

    fn arm(&mut self, id: TopicPartition, at: Option<Instant>) {
        if let Some(before) = self.armed.remove(&id) {
            self.deadlines.remove(&(before, id));
        }
        if let Some(at) = at {
            self.armed.insert(id, at);
            self.deadlines.insert((at, id));
        }
    }

    fn due(&self, now: Instant) -> Vec<TopicPartition> {
        self.deadlines.iter().take_while(|(at, _)| *at <= now).map(|(_, id)| *id).collect()
    }

    /// The partition is not here any more.
    pub(crate) fn forget(&mut self, id: TopicPartition) {
        self.arm(id, None);
        self.groups.remove(&id);
        self.appended.remove(&id);
    }
}

impl<D: Disk> Shard<D> {
    /// Does what an image says, unless it is not for this run of the broker. Says whether records were found that may
    /// be in the page cache only.
    pub(crate) fn hear_of(
        &mut self,
        now: Instant,
        clock: Timestamp,
        cluster: Arc<Cluster>,
        outbox: &mut Vec<Output<D>>,
    ) -> bool {
        let known = cluster.registration(self.identity.broker).map(|known| known.epoch);
        let is_shared = cluster.level() > 0 || self.copies.is_member;
        if is_shared && (known.is_none() || known != self.copies.registered) {
            self.copies.unheard = Some(cluster);
            return false;
        }
        self.copies.unheard = None;
        self.follow_cluster(now, clock, cluster, outbox)
    }

    /// Has the shard act on no image of before there was a cluster.
    pub(crate) fn await_cluster(&mut self) {
        self.copies.is_member = true;
    }

    /// This run of the broker is registered.
    pub(crate) fn registered(
        &mut self,
        now: Instant,
        clock: Timestamp,
        epoch: BrokerEpoch,
        outbox: &mut Vec<Output<D>>,
    ) {
        self.copies.registered = self.copies.registered.max(Some(epoch));
        if let Some(cluster) = self.copies.unheard.take() {
            self.hear_of(now, clock, cluster, outbox);
        }
    }

    /// Opens the partitions that are new in `cluster`, drops those that are not here any more, and gives the
    /// others their roles and new settings.
    fn follow_cluster(
        &mut self,
        now: Instant,
        clock: Timestamp,
        cluster: Arc<Cluster>,
        outbox: &mut Vec<Output<D>>,
    ) -> bool {
        let mut has_found = false;
        if cluster.version() < self.cluster.version() {
            return has_found;
        }
        self.remove_orphans(&cluster, outbox);
        let is_gone = |id: &&TopicPartition| **id != METADATA && !self.is_kept(&cluster, **id);
        let gone: Vec<TopicPartition> = self.partitions.keys().filter(is_gone).copied().collect();
        for id in gone {
            self.drop_partition(id, outbox);
        }
        let stored = |topic: &&Arc<Topic>| topic.view_of.is_none();
        let before = self.cluster.topics().filter(stored);
        let deleted = before.filter(|topic| cluster.topic_by_id(topic.id).is_none());
        for name in deleted.map(|topic| topic.name.clone()).collect::<Vec<TopicName>>() {
            self.forget_topic(now, clock, &name, outbox);
        }
        for topic in cluster.topics().filter(stored) {
            let settings = cluster.effective(self.identity.broker, topic);
            for (index, placed) in topic.indexed() {
                let id = TopicPartition { topic: topic.id, partition: index };
                if shard_of(id, self.identity.shards) != self.identity.shard
                    || !self.is_kept(&cluster, id)
                {
                    continue;
                }
                if !self.partitions.contains_key(&id) {
                    has_found |= self.open_partition(id, topic, cluster.level() > 0, outbox);
                }
                self.configure(id, &settings, placed);
                self.take_role(now, id, (placed, settings.min_in_sync_replicas), &cluster, outbox);
                self.take_groups(now, clock, id, outbox);
            }
        }
        self.cluster = cluster;
        has_found
    }

    /// Whether this broker has a copy.
    pub(crate) fn is_kept(&self, cluster: &Cluster, id: TopicPartition) -> bool {
        let placed = cluster.partition(id);
        let is_here = |placed: &meta::Partition| placed.replicas.contains(&self.identity.broker);
        placed.is_some_and(|placed| cluster.level() == 0 || is_here(placed))
    }

    fn configure(
        &mut self,
        id: TopicPartition,
        settings: &EffectiveTopicSettings,
        placed: &meta::Partition,
    ) {
        let reserve = self.reserve(id);
        let Some(partition) = self.partitions.get_mut(&id) else { return };
        let before = partition.flush;
        if partition.configure(settings, placed.leader_epoch, reserve) {
            self.compaction.changed(id);
        }
        if before == Flush::Os && partition.flush == Flush::Sync {
            // From now on a sync stands for everything before it, too.
            partition.log.take_back();
            self.syncs.touched(id);
        }
    }

    /// Becomes to a partition what the metadata says.
    fn take_role(
        &mut self,
        now: Instant,
        id: TopicPartition,
        (placed, min_in_sync): (&meta::Partition, u32),
        cluster: &Cluster,
        outbox: &mut Vec<Output<D>>,
    ) {
        let me = self.identity.broker;
        let leads = placed.leader == Some(me);
        let is_alone = cluster.level() == 0 || leads && placed.replicas.len() == 1;
        let Some(partition) = self.partitions.get_mut(&id) else { return };
        if is_alone && matches!(partition.role, Role::Alone) {
            return;
        }
        let wanted = described(placed, min_in_sync);
        let brokers = live(cluster, placed);
        let ends = partition.ends();
        let (mut said, mut is_another) = (Vec::new(), false);
        partition.role = match std::mem::replace(&mut partition.role, Role::Alone) {
            Role::Leader(mut leader) if leads => {
                is_another = leader.leader_epoch() < placed.leader_epoch;
                leader.local(ends, now, &mut said);
                leader.metadata(&wanted, &brokers, now, &mut said);
                Role::Leader(leader)
            }
            Role::Follower(mut following) if !leads => {
                following.machine.metadata(&wanted, now);
                Role::Follower(following)
            }
            role @ (Role::Alone | Role::Leader(_) | Role::Follower(_)) => {
                is_another = true;
                let high_watermark = match role {
                    Role::Alone => partition.high_watermark,
                    Role::Leader(leader) => leader.depose(&mut said),
                    Role::Follower(following) => following.machine.high_watermark(),
                };
                if is_alone {
                    Role::Alone
                } else if leads {
                    let settings = LeaderSettings::default();
                    let mut leader = Leader::new(me, settings, &wanted, ends, high_watermark, now);
                    leader.metadata(&wanted, &brokers, now, &mut said);
                    Role::Leader(Box::new(leader))
                } else {
                    self.copies.roles += 1;
                    let first = FetchId(self.copies.roles * FETCHES_PER_ROLE);
                    let machine = Follower::new(&wanted, high_watermark, first, now);
                    Role::Follower(Box::new(Following { machine, not_before: now }))
                }
            }
        };
        self.leader_said(id, said, outbox);
        if is_another {
            // Whoever reads may have to read elsewhere.
            self.release_readers(id, outbox);
        }
        if is_alone {
            self.log_moved(now, id, ends.durable, outbox);
        }
    }

    /// A coordinator is where its partition is led, and nowhere else; and only once everything that was there when this
    /// broker began to lead is safe. What is not may yet be cut, and nobody may have been told of it.
    pub(crate) fn take_groups(
        &mut self,
        now: Instant,
        clock: Timestamp,
        id: TopicPartition,
        outbox: &mut Vec<Output<D>>,
    ) {
        let Some(partition) = self.partitions.get(&id) else { return };
        if partition.topic.as_str() != GROUPS_TOPIC || partition.leads() == self.groups.holds(id) {
            return;
        }
        if !partition.leads() {
            self.copies.groups.remove(&id);
            return self.end_groups(id, outbox);
        }
        if let Role::Leader(leader) = &partition.role
            && leader.latest_offset().is_none()
        {
            return;
        }
        let folder = partition.log.folder().to_owned();
        if let Err(error) = self.load_groups(now, clock, id, outbox) {
            // Without its groups the partition must not pretend that there are none.
            self.give_up(id, outbox);
            let problem = error.to_string();
            outbox.push(Output::Event(Event::PartitionFailed { folder, problem }));
            return;
        }
        // Groups may use what producers may not.
        let disk_reserve = self.reserve(id);
        if let Some(partition) = self.partitions.get_mut(&id) {
            let settings = partition.log.settings().clone();
            partition.log.set_settings(brooklet_log::LogSettings { disk_reserve, ..settings });
        }
    }

    /// A log got another end, or more of it is durable: before `durable`, on the way that says so.
    pub(crate) fn log_moved(
        &mut self,
        now: Instant,
        id: TopicPartition,
        durable: Offset,
        outbox: &mut Vec<Output<D>>,
    ) {
        let Some(partition) = self.partitions.get(&id) else { return };
        match partition.role {
            Role::Alone => self.reveal(id, durable, outbox),
            Role::Leader(_) => self.tell_leader(now, id, outbox),
            Role::Follower(_) => self.tell_follower(now, id, outbox),
        }
    }

    /// Looks at the partitions whose time has come.
    pub(crate) fn tick_copies(&mut self, now: Instant, outbox: &mut Vec<Output<D>>) {
        for id in self.copies.due(now) {
            self.with_leader(id, outbox, |leader, _, said| leader.tick(now, said));
            self.copies.touched.insert(id);
        }
        self.expire_produces(now, outbox);
    }

    /// What follows from a step for groups and machines.
    pub(crate) fn settle_copies(
        &mut self,
        now: Instant,
        clock: Timestamp,
        outbox: &mut Vec<Output<D>>,
    ) {
        while let Some(id) = self.copies.committed.pop_first() {
            self.take_groups(now, clock, id, outbox);
            self.groups_committed(now, clock, id, outbox);
        }
        while let Some(id) = self.copies.touched.pop_first() {
            self.settle_machine(now, id);
        }
    }

    /// Asks a partition's machine what it wants, and when.
    fn settle_machine(&mut self, now: Instant, id: TopicPartition) {
        let Some(partition) = self.partitions.get_mut(&id) else {
            return self.copies.forget(id);
        };
        let state = partition.log_state();
        let at = match &mut partition.role {
            Role::Alone => None,
            Role::Leader(leader) => leader.next_deadline(),
            Role::Follower(following) => {
                let machine = &mut following.machine;
                let may = following.not_before <= now;
                if let Some(fetch) = may.then(|| machine.next(&state, now)).flatten() {
                    let wanted = copy_fetch(id, &fetch, machine.high_watermark());
                    self.copies.fetching.entry(fetch.leader).or_default().push(wanted);
                }
                machine.next_deadline(&state).map(|at| at.max(following.not_before))
            }
        };
        self.copies.arm(id, at);
    }

    /// Says what this turn's followers fetch and leaders ask for, and answers who waits for its records.
    pub(crate) fn end_turn_of_copies(&mut self, outbox: &mut Vec<Output<D>>) {
        while let Some(id) = self.copies.appended.pop_first() {
            self.wake_followers(id, outbox);
        }
        let Some(epoch) = self.copies.registered else { return };
        while let Some((leader, partitions)) = self.copies.fetching.pop_first() {
            outbox.push(Output::FetchFrom { leader, epoch, partitions });
        }
        if !self.copies.altering.is_empty() {
            let wanted = std::mem::take(&mut self.copies.altering);
            outbox.push(Output::AlterPartitions { epoch, wanted });
        }
    }
}

fn copy_fetch(
    partition: TopicPartition,
    fetch: &replica::Fetch,
    high_watermark: Offset,
) -> CopyFetch {
    let replica::Fetch { id, leader_epoch, offset, last_epoch, log_start, leader: _ } = *fetch;
    CopyFetch { partition, fetch: id, leader_epoch, offset, last_epoch, log_start, high_watermark }
}

/// A partition as the machines want to hear of it.
fn described(placed: &meta::Partition, min_in_sync: u32) -> replica::Partition {
    replica::Partition {
        leader: placed.leader,
        leader_epoch: placed.leader_epoch,
        partition_epoch: replica::PartitionEpoch(placed.epoch.0),
        replicas: placed.replicas.iter().copied().collect(),
        in_sync: placed.in_sync.iter().copied().collect(),
        min_in_sync,
    }
}

/// The registered ones of those who keep a partition.
fn live(cluster: &Cluster, placed: &meta::Partition) -> replica::Brokers {
    let one = |id: &BrokerId| {
        let known = cluster.registration(*id)?;
        let epoch = replica::BrokerEpoch(known.epoch.0);
        Some((*id, replica::LiveBroker { epoch, can_join: known.is_active() }))
    };
    placed.replicas.iter().filter_map(one).collect()
}
