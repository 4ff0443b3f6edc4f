//! The metadata log: what the cluster is, decided one change after the other.
//!
//! **Where it sits.** On shard 0, beside its partitions; its log is a partition like any other, in a
//! topic that nobody can name, and at the same time the log of the quorum (host/decisions/0010).
//!
//! **What it decides.** Nothing of its own: `meta` decides, `quorum` says what is agreed, this writes down and publishes. A
//! change is applied to the deciding state at once, so that the next decision knows of it; when it is committed it is applied for
//! everybody and answered, so that nobody acts on what might be forgotten.
//!
//! **Invariants.**
//! 1. Only the leader decides, and only once an entry of its own term is committed: by then it has applied everything that
//!    an earlier leader may have answered.
//! 2. What rests on undecided changes is answered after them, also where it changes nothing.
//! 3. A ready is carried out whole before the next is asked for; where the disk refuses it is tried again.

mod files;

use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use brooklet_log::{Disk, Log, LogSettings, OpenError, TailBudget, WriteError};
use brooklet_meta::Cluster;
use brooklet_meta::decide::Decision;
use brooklet_meta::decide::broker::{BrokerStartError, broker_started};
use brooklet_quorum::{
    ClusterId, Committed, DirectoryId, Entry, Event as Agreed, HardState, Index, Mark, Member,
    NotLeader, Payload, ProposeError, Proposed, Quorum, Ready, ReadyNumber, Settings, Stored, Term,
};
use brooklet_types::{
    BrokerId, ErrorCode, Instant, LeaderEpoch, PartitionIndex, Timestamp, TopicId, TopicName,
    TopicPartition,
};

use self::files::{Kept, QuorumFileError};
use crate::input::Ticket;
use crate::output::{Event, Output, Reply};
use crate::partition::Partition;
use crate::shard::{Shard, Waiting};
use crate::stored::{self, LoadError, entry};

/// The metadata log's place among the partitions. Kafka gives its own the same id.
pub(crate) const METADATA: TopicPartition = TopicPartition {
    topic: TopicId([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
    partition: PartitionIndex(0),
};

/// The folder it lies in is named as a topic's would be.
pub(crate) const NAME: &str = TopicName::CLUSTER_METADATA;
const FOLDER: &str = "topics/__cluster_metadata-0";

/// A quorum of one needs none of its entries in memory once they are applied; more than this is let go.
const KEPT_BYTES_MAX: usize = 1 << 20;

/// How long until what the disk has refused is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What the quorum has to be told that a core cannot know.
#[derive(Clone, Copy, Debug)]
pub struct QuorumSeed {
    /// The cluster's id.
    pub cluster: ClusterId,
    /// Random: the folder's id, if it has none yet.
    pub directory: DirectoryId,
    /// Random: spreads elections.
    pub entropy: u64,
}

/// The metadata log and what it has come to.
pub struct Metadata<D: Disk> {
    /// Until the shard takes it over.
    partition: Option<Partition<D>>,
    disk: D,
    directory: DirectoryId,
    quorum: Quorum,
    /// With everything that is committed.
    applied: Cluster,
    /// With every decision, committed or not. As `applied` where we do not decide.
    decided: Cluster,
    /// Whether what we decide follows from everything that was decided before.
    decides: bool,
    /// The last proposal, while `decided` is ahead of `applied`.
    proposed: Option<Proposed>,
    /// Answers that wait for an entry, in the order of entries.
    waiting: VecDeque<(Proposed, Ticket, MetadataReply)>,
    /// The last ready that wrote something that is not on the disk.
    unwritten: Option<ReadyNumber>,
    /// What the disk has refused, and when it is asked again.
    refused: Option<(Ready, Instant)>,
}

/// Why the metadata log cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MetadataError {
    /// Its files cannot be opened.
    #[error("cluster metadata: {0}")]
    Open(#[from] OpenError),
    /// Its records cannot be read.
    #[error("cluster metadata: {0}")]
    Load(#[from] LoadError),
    /// What the quorum keeps beside it cannot be used.
    #[error("cluster metadata: {0}")]
    File(#[from] QuorumFileError),
    /// What the folder has is not what a quorum leaves behind.
    #[error("cluster metadata: {0}")]
    Quorum(#[from] brooklet_quorum::OpenError),
    /// The folder is another broker's.
    #[error(transparent)]
    Broker(#[from] BrokerStartError),
    /// The start cannot be written down.
    #[error("cluster metadata: {0}")]
    Write(#[from] WriteError),
    /// The start cannot be made durable.
    #[error("cluster metadata: {0}")]
    Sync(#[from] std::io::Error),
    /// The start cannot be agreed on.
    #[error("cluster metadata: {0}")]
    Propose(#[from] ProposeError),
}

/// What has come of carrying out what the quorum said.
#[derive(Default)]
struct Carried {
    /// Something is in the log and not on the disk: the quorum is to be told when it is.
    wrote: Option<ReadyNumber>,
    /// The cluster is another.
    changed: bool,
    answers: Vec<(Ticket, MetadataReply)>,
}

impl<D: Disk> Metadata<D> {
    /// Reads the metadata log and writes down that `broker` has started; `clean` says whether it
    /// had stopped in good order. `cluster` holds what the broker was configured with.
    pub fn start(
        disk: &D,
        cluster: Cluster,
        broker: BrokerId,
        clean: bool,
        (clock, seed): (Timestamp, QuorumSeed),
    ) -> Result<Metadata<D>, MetadataError> {
        let settings = LogSettings { retention_ms: None, ..LogSettings::default() };
        let mut log = Log::open(disk.clone(), FOLDER, settings, TailBudget::new(0))?;
        let mut metadata = Metadata::open(disk, &mut log, cluster, broker, (clock, seed))?;
        metadata.quorum.campaign();
        metadata.settle(&mut log, clock)?;
        let decision = broker_started(&metadata.decided, broker, clean)?;
        let stored = stored::metadata_decision(&decision.records).expect("a start is a fact");
        metadata.quorum.propose(&stored)?;
        metadata.settle(&mut log, clock)?;
        metadata.decided = metadata.applied.clone();
        let topic = TopicName::new(NAME).expect("a legal name");
        metadata.partition = Some(Partition::new(METADATA, topic, log, LeaderEpoch(0)));
        Ok(metadata)
    }

    /// Reads what is in `log`, and makes a quorum of one where there is none yet.
    fn open(
        disk: &D,
        log: &mut Log<D>,
        mut cluster: Cluster,
        broker: BrokerId,
        (clock, seed): (Timestamp, QuorumSeed),
    ) -> Result<Metadata<D>, MetadataError> {
        let kept = match files::read(disk, broker)? {
            Some(kept) => kept,
            None => begin(disk, log, broker, (clock, seed))?,
        };
        let Kept { directory, hard_state, start } = kept;
        let first = start.index.offset().expect("a quorum's log begins with an entry");
        let mut entries = Vec::new();
        stored::read_all(log, |found| {
            if found.offset >= first {
                entries.push(entry::read(found)?);
                return Ok(());
            }
            // The start's state, and what a crash left of the start itself.
            for fact in stored::read_metadata_decision(found.offset, found.value)? {
                cluster.apply(&fact);
            }
            Ok(())
        })?;
        let me = Member { broker, directory };
        let settings = Settings::new(me, seed.cluster, seed.entropy);
        let stored = Stored { hard_state, mark: Some(start), entries };
        let quorum = Quorum::open(settings, stored)?.quorum;
        Ok(Metadata {
            partition: None,
            disk: disk.clone(),
            directory,
            quorum,
            decided: cluster.clone(),
            applied: cluster,
            decides: false,
            proposed: None,
            waiting: VecDeque::new(),
            unwritten: None,
            refused: None,
        })
    }

    /// Carries out everything there is, each write synced before the next.
    fn settle(&mut self, log: &mut Log<D>, clock: Timestamp) -> Result<(), MetadataError> {
        while let Some(ready) = self.quorum.ready() {
            let mut carried = Carried::default();
            self.carry_out(log, clock, &ready, &mut carried)?;
            if let Some(number) = carried.wrote {
                log.sync()?;
                self.written(number);
            }
        }
        Ok(())
    }

    /// Does what `ready` says. Where the disk refuses it can be done again from the beginning.
    fn carry_out(
        &mut self,
        log: &mut Log<D>,
        clock: Timestamp,
        ready: &Ready,
        carried: &mut Carried,
    ) -> Result<(), MetadataError> {
        assert!(
            ready.messages.is_empty() && ready.messages_after.is_empty(),
            "there is nobody else"
        );
        assert!(ready.snapshot.is_none() && !ready.wants_snapshot, "there is nobody else");
        if let Some(state) = ready.hard_state {
            files::write_state(&self.disk, self.directory, state)?;
        }
        if let Some(append) = &ready.append {
            let from = append.from.offset().expect("the log has begun");
            log.truncate_to(from)?;
            for entry in &append.entries {
                write(log, entry, clock)?;
            }
        }
        for committed in &ready.committed {
            self.apply(committed, carried)?;
        }
        if ready.leadership.is_some_and(|leadership| !leadership.is_us) {
            self.step_down(carried);
        }
        if ready.append.is_some() || self.unwritten.is_some() {
            (self.unwritten, carried.wrote) = (Some(ready.number), Some(ready.number));
        } else {
            self.quorum.persisted(ready.number);
        }
        Ok(())
    }

    fn apply(&mut self, committed: &Committed, carried: &mut Carried) -> Result<(), LoadError> {
        let Committed { index, term, event } = committed;
        match event {
            Agreed::Data(decision) => {
                let offset = index.offset().expect("entries are numbered from 1");
                for fact in stored::read_metadata_decision(offset, Some(decision.clone()))? {
                    self.applied.apply(&fact);
                }
                carried.changed = true;
            }
            Agreed::Empty if *term == self.quorum.term() && self.quorum.is_leader() => {
                self.decides = true;
                self.decided = self.applied.clone();
            }
            Agreed::Empty | Agreed::Members(..) => {}
        }
        self.proposed.take_if(|last| last.index <= *index);
        while let Some((proposed, ticket, reply)) =
            self.waiting.pop_front_if(|(proposed, _, _)| proposed.index <= *index)
        {
            // Another's entry in its place: what was decided here has come to nothing.
            let is_ours = proposed.term == *term;
            let reply = if is_ours { reply } else { Err(ErrorCode::NotController) };
            carried.answers.push((ticket, reply));
        }
        Ok(())
    }

    /// We do not lead any more: what becomes of our proposals another decides.
    fn step_down(&mut self, carried: &mut Carried) {
        self.decides = false;
        self.decided = self.applied.clone();
        self.proposed = None;
        let told = self.waiting.drain(..);
        carried.answers.extend(told.map(|(_, ticket, _)| (ticket, Err(ErrorCode::NotController))));
    }

    /// Everything up to this ready is on the disk.
    fn written(&mut self, number: ReadyNumber) {
        self.unwritten.take_if(|last| *last <= number);
        self.quorum.persisted(number);
    }

    /// The cluster as it is now.
    pub fn cluster(&self) -> Arc<Cluster> {
        Arc::new(self.applied.clone())
    }

    /// The log, for the shard to keep among its partitions.
    pub(crate) fn take_partition(&mut self) -> Partition<D> {
        self.partition.take().expect("a shard takes it once, when it is made")
    }

    /// When something is to be tried again.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.refused.as_ref().map(|(_, again)| *again)
    }
}

impl<D: Disk> fmt::Debug for Metadata<D> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("Metadata");
        shown.field("term", &self.quorum.term()).field("decides", &self.decides);
        shown.finish_non_exhaustive()
    }
}

/// Makes a quorum of this broker alone. Its log goes on from what is in `log`: facts of before there was a quorum, or nothing.
fn begin<D: Disk>(
    disk: &D,
    log: &mut Log<D>,
    broker: BrokerId,
    (clock, seed): (Timestamp, QuorumSeed),
) -> Result<Kept, MetadataError> {
    let (directory, hard_state) = (seed.directory, HardState::default());
    let (index, term) = (Index::of(log.end_offset()), Term(1));
    write(log, &Entry { index, term, payload: Payload::Empty }, clock)?;
    log.sync()?;
    let start = Mark { index, term, members: files::only(broker, directory) };
    files::write_start(disk, &start)?;
    files::write_state(disk, directory, hard_state)?;
    Ok(Kept { directory, hard_state, start })
}

fn write<D: Disk>(log: &mut Log<D>, entry: &Entry, clock: Timestamp) -> Result<(), WriteError> {
    let batch = stored::batch_of(&[entry::record(&entry.payload)], clock);
    let stored = log.write(batch.bytes(), entry.term.epoch())?;
    assert_eq!(Index::of(stored.base), entry.index, "an entry is where the quorum has it");
    Ok(())
}

/// A change of the cluster: decides on the state as it is, and says so in `reply`.
///
/// The decisions are `meta`'s and their replies are of many kinds, so what arrives here is the
/// decision itself, with its arguments inside. It is called once, and sees nothing but the cluster.
pub struct MetadataRequest(Decide);

type Decide = Box<dyn FnOnce(&Cluster) -> Decision<MetadataReply> + Send>;

/// Whatever the decision said, for whoever asked to take out again; or why it could not be stored.
pub type MetadataReply = Result<Box<dyn Any + Send>, ErrorCode>;

impl MetadataRequest {
    /// A request that `decide` answers.
    pub fn new<Reply: Send + 'static>(
        decide: impl FnOnce(&Cluster) -> Decision<Reply> + Send + 'static,
    ) -> MetadataRequest {
        MetadataRequest(Box::new(move |cluster| {
            let Decision { records, reply } = decide(cluster);
            Decision { records, reply: Ok(Box::new(reply)) }
        }))
    }
}

impl fmt::Debug for MetadataRequest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("MetadataRequest")
    }
}

impl<D: Disk> Shard<D> {
    pub(crate) fn metadata_request(
        &mut self,
        now: Instant,
        clock: Timestamp,
        ticket: Ticket,
        request: MetadataRequest,
        outbox: &mut Vec<Output<D>>,
    ) {
        let metadata = self.metadata.as_mut().expect("the shell asks the shard that has it");
        let version = metadata.applied.version();
        let mut answer = |reply| {
            outbox.push(Output::Reply { ticket, reply: Reply::Metadata { reply, version } });
        };
        if !metadata.decides {
            return answer(Err(ErrorCode::NotController));
        }
        let Decision { records, reply } = (request.0)(&metadata.decided);
        let Some(stored) = stored::metadata_decision(&records) else {
            // What it was decided on may be undone.
            return match metadata.proposed {
                Some(last) => metadata.waiting.push_back((last, ticket, reply)),
                None => answer(reply),
            };
        };
        let partition = self.partitions.get_mut(&METADATA).expect("it is here for ever");
        // Once proposed it is to be written; what has no room is refused before.
        let proposed = match partition.log.make_room(stored.len()) {
            Ok(()) => metadata.quorum.propose(&stored).map_err(|error| code(&error)),
            Err(error) => Err(error.code()),
        };
        match proposed {
            Ok(proposed) => {
                for record in &records {
                    metadata.decided.apply(record);
                }
                metadata.proposed = Some(proposed);
                metadata.waiting.push_back((proposed, ticket, reply));
            }
            Err(code) => return answer(Err(code)),
        }
        self.follow_quorum(now, clock, outbox);
    }

    /// Everything that the quorum wanted written, up to this ready, is on the disk.
    pub(crate) fn metadata_written(
        &mut self,
        now: Instant,
        clock: Timestamp,
        number: ReadyNumber,
        outbox: &mut Vec<Output<D>>,
    ) {
        self.metadata.as_mut().expect("it has written something").written(number);
        self.follow_quorum(now, clock, outbox);
    }

    /// Does what the quorum says: writes, applies, publishes, answers.
    pub(crate) fn follow_quorum(
        &mut self,
        now: Instant,
        clock: Timestamp,
        outbox: &mut Vec<Output<D>>,
    ) {
        let Some(metadata) = &mut self.metadata else { return };
        let Some(partition) = self.partitions.get_mut(&METADATA) else { return };
        let mut carried = Carried::default();
        let again = |metadata: &mut Metadata<D>| match metadata.refused.take() {
            Some((ready, when)) if now < when => {
                metadata.refused = Some((ready, when));
                None
            }
            Some((ready, _)) => Some(ready),
            None => metadata.quorum.ready(),
        };
        while let Some(ready) = again(metadata) {
            let done = metadata.carry_out(&mut partition.log, clock, &ready, &mut carried);
            if let Err(error) = done {
                metadata.refused = Some((ready, now + RETRY_AFTER));
                let (folder, problem) = (FOLDER.to_owned(), error.to_string());
                outbox.push(Output::Event(Event::PartitionFailed { folder, problem }));
            }
        }
        if let Some(number) = carried.wrote {
            // A start reads the metadata before it knows any journal: it is never in one.
            self.syncs.touched(METADATA);
            self.syncs.park(Waiting::Quorum(number));
        }
        if metadata.quorum.kept().bytes > KEPT_BYTES_MAX && metadata.unwritten.is_none() {
            metadata.quorum.compact(metadata.quorum.applied());
        }
        if carried.changed {
            outbox.push(Output::ClusterChanged(metadata.cluster()));
        }
        let version = metadata.applied.version();
        for (ticket, reply) in carried.answers {
            outbox.push(Output::Reply { ticket, reply: Reply::Metadata { reply, version } });
        }
    }
}

/// What whoever asked is told.
fn code(error: &ProposeError) -> ErrorCode {
    match error {
        ProposeError::NotLeader(NotLeader { .. }) | ProposeError::Transferring => {
            ErrorCode::NotController
        }
        ProposeError::TooLarge { .. } => ErrorCode::InvalidRequest,
        // It passes when what waits is committed; clients try that again.
        ProposeError::Full { .. } => ErrorCode::RequestTimedOut,
    }
}

#[cfg(test)]
mod tests;
