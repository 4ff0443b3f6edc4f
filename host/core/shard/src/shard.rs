//! The shard itself: its state, its one door, and the end of a turn.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use brooklet_group::AppendToken;
use brooklet_log::journal::{Entry, Journal};
use brooklet_log::{Disk, Log, LogSettings, SyncToken, TailBudget};
use brooklet_meta::setting::effective::Flush;
use brooklet_meta::{Cluster, Topic};
use brooklet_quorum::ReadyNumber;
use brooklet_types::{BrokerId, ByteSize, Instant, LeaderEpoch, Timestamp, TopicPartition};

use crate::compact::{Compaction, CompactionSettings};
use crate::coordinate::GroupCoordinators;
use crate::fetch::WaitingFetches;
use crate::input::{Input, Request, Ticket};
use crate::metadata::{METADATA, Metadata};
use crate::output::{Event, Output, Reply};
use crate::partition::{Partition, Role, claim_folder, folder, sign_folder};
use crate::roles::Copies;
use crate::sync::Syncs;

/// What is added to the name of a partition's folder before it is removed. A topic of such a name there
/// cannot be, so that a start removes what a crash left of it.
pub(crate) const GONE: &str = "~-0";

/// The topic that holds what groups have committed.
pub const GROUPS_TOPIC: &str = "__consumer_offsets";

/// Batches of no more than this are written to the page cache in some microseconds.
const SOON_DONE_BYTES_MAX: usize = 64 << 10;

/// Which shard of which broker this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The broker.
    pub broker: BrokerId,
    /// This shard, from 0. Shard 0 keeps the metadata log.
    pub shard: u32,
    /// How many shards the broker has.
    pub shards: u32,
}

/// What an operator may set about shards.
#[derive(Clone, Debug)]
pub struct ShardSettings {
    /// How often closed segments are looked at for retention. Kafka's
    /// `log.retention.check.interval.ms`.
    pub retention_check_interval: Duration,
    /// Memory for the newest batches, so that readers at the head need no disk.
    pub tail_bytes_max: usize,
    /// What producers must leave free on the disk, so that commits and deletes have room.
    pub disk_reserve: ByteSize,
    /// How groups behave.
    pub groups: brooklet_group::Settings,
    /// When and with how much memory compacted topics are cleaned.
    pub compaction: CompactionSettings,
}

/// A shard's journal, and what the journals of the last run had for the shard's partitions.
#[derive(Debug)]
pub struct Journaled<D: Disk> {
    /// To be written from now on.
    pub journal: Journal<D>,
    /// To be taken into the logs as they are opened.
    pub recovered: BTreeMap<TopicPartition, Vec<Entry>>,
}

/// One thread's worth of partitions and coordinators. See the crate's documentation.
#[derive(Debug)]
pub struct Shard<D: Disk> {
    pub(crate) identity: Identity,
    pub(crate) disk: D,
    pub(crate) partitions: BTreeMap<TopicPartition, Partition<D>>,
    /// The newest image of the cluster this shard was told of.
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) groups: GroupCoordinators,
    pub(crate) metadata: Option<Metadata<D>>,
    pub(crate) waiting: WaitingFetches,
    pub(crate) syncs: Syncs<D, Waiting<D>>,
    /// Memory for the newest batches of all partitions, so that readers at the head need no disk.
    tail: TailBudget,
    /// What journals had for partitions that are not open yet.
    recovered: BTreeMap<TopicPartition, Vec<Entry>>,
    settings: ShardSettings,
    next_maintenance: Instant,
    pub(crate) compaction: Compaction,
    pub(crate) copies: Copies,
}

/// What waits for a sync.
#[derive(Debug)]
pub(crate) enum Waiting<D: Disk> {
    /// A reply that may leave once its batches are durable.
    Reply { ticket: Ticket, reply: Reply<D> },
    /// A request of which another part waits for followers.
    Produce(Ticket),
    /// A group coordinator's records.
    Group { id: TopicPartition, token: AppendToken },
    /// What the quorum wanted written.
    Quorum(ReadyNumber),
}

/// Which of `shards` shards holds a partition. Spread by the topic's id, so that the partitions of
/// one topic lie side by side on different shards.
pub fn shard_of(partition: TopicPartition, shards: u32) -> u32 {
    let id = partition.topic.0;
    let start = u32::from_be_bytes([id[12], id[13], id[14], id[15]]);
    start.wrapping_add(partition.partition.0) % shards
}

impl<D: Disk> Shard<D> {
    /// A shard that holds nothing yet. Its partitions come with the first `Input::Cluster`.
    pub fn new(
        disk: D,
        identity: Identity,
        settings: ShardSettings,
        mut metadata: Option<Metadata<D>>,
        Journaled { journal, recovered }: Journaled<D>,
        now: Instant,
    ) -> Shard<D> {
        assert!(identity.shard < identity.shards, "shards are numbered from 0");
        assert_eq!(metadata.is_some(), identity.shard == 0, "shard 0 keeps the metadata log");
        let next_maintenance = now + settings.retention_check_interval;
        let mut partitions = BTreeMap::new();
        if let Some(metadata) = &mut metadata {
            partitions.insert(METADATA, metadata.take_partition());
        }
        Shard {
            identity,
            disk,
            partitions,
            cluster: Arc::default(),
            groups: GroupCoordinators::new(settings.groups.clone()),
            metadata,
            waiting: WaitingFetches::default(),
            syncs: Syncs::new(journal),
            tail: TailBudget::new(settings.tail_bytes_max),
            recovered,
            compaction: Compaction::new(settings.compaction, now),
            copies: Copies::default(),
            settings,
            next_maintenance,
        }
    }

    /// Advances the machine by one event. `now` is for waits, `clock` is what records are stamped
    /// with; neither ever comes from anywhere else.
    pub fn step(
        &mut self,
        now: Instant,
        clock: Timestamp,
        input: Input,
        outbox: &mut Vec<Output<D>>,
    ) {
        match input {
            Input::Request { ticket, request } => {
                self.request(now, clock, ticket, request, outbox);
            }
            Input::Abandoned { ticket } => self.abandon(ticket),
            Input::Cluster { ticket, cluster } => {
                let has_found = self.hear_of(now, clock, cluster, outbox);
                let reply = Reply::ClusterApplied;
                if has_found {
                    // What a start finds is shown to nobody before it is on the disk.
                    self.syncs.park(Waiting::Reply { ticket, reply });
                } else {
                    outbox.push(Output::Reply { ticket, reply });
                }
            }
            Input::Registered { epoch } => self.registered(now, clock, epoch, outbox),
            Input::FetchedFrom { answers, entropy } => {
                self.fetched_from(now, answers, entropy, outbox);
            }
            Input::Altered(answers) => self.altered(now, answers, outbox),
            Input::Synced { id } => self.synced(now, clock, id, outbox),
            Input::WrittenBack { partition, token } => self.written_back(partition, token, outbox),
            Input::PolicyChanged { topic } => self.policy_changed(&topic),
            Input::Compacted { partition, outcome } => {
                self.compacted(now, partition, outcome, outbox);
            }
            Input::FromBroker { from, message } => {
                self.quorum_message(now, clock, (from, &message), outbox);
            }
            Input::Tick => self.tick(now, clock, outbox),
        }
        self.settle_copies(now, clock, outbox);
    }

    /// When the shard wants an `Input::Tick`, if nothing else happens before.
    pub fn next_deadline(&self) -> Option<Instant> {
        let deadlines = [
            self.waiting.next_deadline(),
            self.groups.next_deadline(),
            (!self.partitions.is_empty()).then_some(self.next_maintenance),
            self.compaction.next_deadline(),
            self.copies.next_deadline(),
            self.metadata.as_ref().and_then(Metadata::next_deadline),
        ];
        deadlines.into_iter().flatten().min()
    }

    /// Whether `request` needs no more of the disk than a small write to the page cache, so that
    /// whoever brings it may carry it out.
    pub fn is_soon_done(&self, request: &Request) -> bool {
        match request {
            Request::Produce(produce) => {
                let bytes = produce.batches.iter().map(|(_, _, batch)| batch.bytes().len());
                bytes.sum::<usize>() <= SOON_DONE_BYTES_MAX
            }
            Request::Fetch(fetch) => self.is_near_the_head(fetch),
            Request::Group { .. } => true,
            Request::Replicate(_)
            | Request::ListOffsets(_)
            | Request::EpochEnds(_)
            | Request::DeleteRecords(_)
            | Request::DescribeProducers(_)
            | Request::DescribeLogs
            | Request::Groups(_)
            | Request::Committed
            | Request::Metadata(_)
            | Request::ChangeMembers(_)
            | Request::HandOver
            | Request::DescribeQuorum => false,
        }
    }

    fn request(
        &mut self,
        now: Instant,
        clock: Timestamp,
        ticket: Ticket,
        request: Request,
        outbox: &mut Vec<Output<D>>,
    ) {
        let reply = match request {
            Request::Produce(produce) => return self.produce(now, clock, ticket, produce, outbox),
            Request::Fetch(fetch) => return self.fetch(now, ticket, fetch, outbox),
            Request::Replicate(fetch) => return self.replicate(now, ticket, fetch, outbox),
            Request::Group { partition, request, entropy } => {
                let asked = (partition, request, entropy);
                return self.group_request(now, clock, ticket, asked, outbox);
            }
            Request::Metadata(request) => {
                return self.metadata_request(now, clock, ticket, request, outbox);
            }
            Request::ChangeMembers(change) => {
                return self.change_members(now, clock, (ticket, change), outbox);
            }
            Request::HandOver => return self.hand_over(now, clock, ticket, outbox),
            Request::DescribeQuorum => self.describe_quorum(),
            Request::ListOffsets(queries) => self.list_offsets(&queries),
            Request::EpochEnds(queries) => self.epoch_ends(&queries),
            Request::DeleteRecords(wanted) => self.delete_records(&wanted, outbox),
            Request::DescribeProducers(wanted) => self.describe_producers(&wanted),
            Request::DescribeLogs => self.describe_logs(),
            Request::Groups(request) => self.list_groups(&request),
            Request::Committed => self.committed(),
        };
        outbox.push(Output::Reply { ticket, reply });
    }

    fn tick(&mut self, now: Instant, clock: Timestamp, outbox: &mut Vec<Output<D>>) {
        self.expire_fetches(now, outbox);
        self.tick_copies(now, outbox);
        self.tick_groups(now, clock, outbox);
        self.follow_quorum(now, clock, outbox);
        if now >= self.next_maintenance {
            self.next_maintenance = now + self.settings.retention_check_interval;
            self.maintain(clock, outbox);
        }
        if self.compaction.next_deadline().is_some_and(|deadline| deadline <= now) {
            self.look_for_dirt(now, clock, outbox);
        }
    }
}

impl<D: Disk> Shard<D> {
    /// Opens a partition; in a cluster (`is_shared`) nothing of it is known to be safe. Says whether records were
    /// found that may be in the page cache only.
    pub(crate) fn open_partition(
        &mut self,
        id: TopicPartition,
        topic: &Topic,
        is_shared: bool,
        outbox: &mut Vec<Output<D>>,
    ) -> bool {
        let folder = folder(&topic.name, id.partition);
        let opened = self.open_log(id, &folder, outbox);
        let log = match opened {
            Ok(log) => log,
            Err(problem) => {
                outbox.push(Output::Event(Event::PartitionFailed { folder, problem }));
                return false;
            }
        };
        // What was found may be in the page cache only. Of an empty log there is nothing to lose:
        // the metadata knows that it is there, and its first batch brings the folder along.
        let has_found = log.start_offset() < log.end_offset();
        if has_found {
            self.syncs.touched(id);
        }
        let mut partition = Partition::new(id, topic.name.clone(), log, LeaderEpoch::default());
        if is_shared {
            partition.high_watermark = partition.log.start_offset();
        }
        self.partitions.insert(id, partition);
        has_found
    }

    /// What an append to this partition must leave free. Groups may use what producers may not.
    pub(crate) fn reserve(&self, id: TopicPartition) -> ByteSize {
        let all = self.settings.disk_reserve;
        if self.groups.holds(id) { ByteSize(all.0 / 2) } else { all }
    }

    fn open_log(
        &mut self,
        id: TopicPartition,
        folder: &str,
        outbox: &mut Vec<Output<D>>,
    ) -> Result<Log<D>, String> {
        let is_new = claim_folder(&self.disk, folder, id.topic);
        let is_new = is_new.map_err(|error| error.to_string())?;
        let (disk, tail) = (self.disk.clone(), self.tail.clone());
        let settings = LogSettings { disk_reserve: self.reserve(id), ..LogSettings::default() };
        let log = Log::open(disk, folder, settings, tail);
        let mut log = log.map_err(|error| error.to_string())?;
        if is_new {
            sign_folder(&self.disk, folder, id.topic).map_err(|error| error.to_string())?;
        }
        if let Some(entries) = self.recovered.remove(&id) {
            let taken = log.take_journal(&entries).map_err(|error| error.to_string())?;
            if taken > 0 {
                let report = format!("{taken} batches came back from the journal");
                let folder = folder.to_owned();
                outbox.push(Output::Event(Event::Recovered { folder, report }));
            }
        }
        for hole in log.holes() {
            let report = format!(
                "{} is damaged from byte {} to {}: offsets {} to {} cannot be read",
                hole.file, hole.position, hole.end, hole.from, hole.next
            );
            let event = Event::PartitionFailed { folder: folder.to_owned(), problem: report };
            outbox.push(Output::Event(event));
        }
        Ok(log)
    }

    /// Removes a partition and its files.
    pub(crate) fn drop_partition(&mut self, id: TopicPartition, outbox: &mut Vec<Output<D>>) {
        let Some(partition) = self.take_out(id, outbox) else { return };
        self.compaction.changed(id);
        let folder = partition.log.folder().to_owned();
        // The cleaner may be writing there: it does not find the folder again, nor follow it.
        let gone = format!("{folder}{GONE}");
        if let Err(error) = self.disk.rename(&folder, &gone).and_then(|()| self.disk.remove(&gone))
        {
            let problem = error.to_string();
            outbox.push(Output::Event(Event::PartitionFailed { folder, problem }));
        }
    }

    /// Takes a partition out of service, whose files are not what its log believes. The next start, or
    /// the next change of the cluster, opens it anew.
    pub(crate) fn give_up(&mut self, id: TopicPartition, outbox: &mut Vec<Output<D>>) {
        let Some(partition) = self.take_out(id, outbox) else { return };
        // The journal does not vouch for it any more.
        let folder = partition.log.folder().to_owned();
        if let Err(error) = partition.log.close() {
            let problem = error.to_string();
            outbox.push(Output::Event(Event::PartitionFailed { folder, problem }));
        }
    }

    /// Has everybody who waits for a partition look elsewhere.
    fn take_out(
        &mut self,
        id: TopicPartition,
        outbox: &mut Vec<Output<D>>,
    ) -> Option<Partition<D>> {
        let mut partition = self.partitions.remove(&id)?;
        self.syncs.forget(id);
        self.end_groups(id, outbox);
        self.release_readers(id, outbox);
        if let Role::Leader(leader) = std::mem::replace(&mut partition.role, Role::Alone) {
            let mut said = Vec::new();
            leader.depose(&mut said);
            self.leader_said(id, said, outbox);
        }
        self.copies.forget(id);
        Some(partition)
    }

    /// Retention and the expiry of producers.
    fn maintain(&mut self, clock: Timestamp, outbox: &mut Vec<Output<D>>) {
        for (id, partition) in &mut self.partitions {
            partition.log.expire_producers(clock);
            if !partition.may_lose_segments() {
                continue;
            }
            if let Err(error) = partition.log.maintain(clock) {
                let folder = partition.log.folder().to_owned();
                let problem = error.to_string();
                outbox.push(Output::Event(Event::PartitionFailed { folder, problem }));
            }
            if partition.log.is_dirty() && partition.flush == Flush::Sync {
                self.syncs.touched(*id);
            }
        }
    }

    fn written_back(&mut self, id: TopicPartition, token: SyncToken, outbox: &mut Vec<Output<D>>) {
        let Some(partition) = self.partitions.get_mut(&id) else { return };
        if let Err(error) = partition.log.synced(token) {
            let folder = partition.log.folder().to_owned();
            let problem = error.to_string();
            outbox.push(Output::Event(Event::PartitionFailed { folder, problem }));
        }
    }

    /// Ends, and hands over its logs. Closed in good order, in whatever order and on whatever threads,
    /// they leave the next start nothing to recover.
    pub fn into_logs(self) -> Vec<Log<D>> {
        self.partitions.into_values().map(|partition| partition.log).collect()
    }
}
