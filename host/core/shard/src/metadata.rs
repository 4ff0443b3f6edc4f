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
mod image;
mod requests;

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use brooklet_log::{Disk, Log, LogSettings, OpenError, TailBudget, WriteError};
use brooklet_meta::Cluster;
use brooklet_meta::decide::broker::{BrokerStartError, broker_started};
use brooklet_quorum::{
    ClusterId, Committed, DirectoryId, Entry, Event as Agreed, HardState, Index, LogFate, Mark,
    Member, Members, Opened, Outgoing, Payload, ProposeError, Proposed, Quorum, Ready, ReadyNumber,
    Settings, Snapshot, Stored, Term,
};
use brooklet_types::{
    BrokerId, ErrorCode, Instant, LeaderEpoch, Offset, PartitionIndex, Timestamp, TopicId,
    TopicName, TopicPartition,
};
use bytes::Bytes;

pub use self::files::QuorumFileError;
use self::files::{Kept, Start};
pub use self::requests::{MetadataReply, MetadataRequest, QuorumDescription, QuorumStanding};
use crate::input::Ticket;
use crate::partition::Partition;
use crate::stored::{self, LoadError, entry};

/// The metadata log's place among the partitions. Kafka gives its own the same id.
pub(crate) const METADATA: TopicPartition = TopicPartition {
    topic: TopicId([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
    partition: PartitionIndex(0),
};

/// The folder it lies in is named as a topic's would be.
pub(crate) const NAME: &str = TopicName::CLUSTER_METADATA;
const FOLDER: &str = "topics/__cluster_metadata-0";

/// Entries in memory, and in the log since its start: with more than this there is a new start.
const KEPT_BYTES_MAX: usize = 4 << 20;

/// How often raft's clock ticks: what its settings count in.
const TICK: Duration = Duration::from_millis(100);

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
    /// Whether a folder that is in no quorum yet waits to be taken into one, instead of making its own.
    pub joins: bool,
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
    /// What is to be sent once what was said before it is on the disk.
    held: VecDeque<(ReadyNumber, Vec<Outgoing>)>,
    /// Whether nobody else is in the quorum, nor may be by what is in the log.
    alone: bool,
    /// Everything up to here is in `applied`.
    reached: Index,
    /// What the disk has refused, and when it is asked again.
    refused: Option<(Ready, Instant)>,
    /// When the next tick is due, where there are others.
    ticks: Option<Instant>,
    /// What was told last of who leads.
    told: Option<QuorumStanding>,
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
    send: Vec<Outgoing>,
    answers: Vec<(Ticket, MetadataReply)>,
}

impl<D: Disk> Metadata<D> {
    /// Reads the metadata log and, for a broker alone, writes down that `broker` has started; `clean` says whether it
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
        if metadata.alone {
            metadata.quorum.campaign();
            metadata.settle(&mut log, clock)?;
            metadata.decided = metadata.applied.clone();
        }
        if metadata.alone && metadata.decided.level() == 0 {
            // A broker of a cluster says the same, and more, when it registers.
            let decision = broker_started(&metadata.decided, broker, clean)?;
            let stored = stored::metadata_decision(&decision.records).expect("a start is a fact");
            metadata.quorum.propose(&stored)?;
            metadata.settle(&mut log, clock)?;
            metadata.decided = metadata.applied.clone();
        }
        let topic = TopicName::new(NAME).expect("a legal name");
        metadata.partition = Some(Partition::new(METADATA, topic, log, LeaderEpoch(0)));
        Ok(metadata)
    }

    /// Reads what is in `log`, and makes a quorum of one where there is none yet.
    fn open(
        disk: &D,
        log: &mut Log<D>,
        cluster: Cluster,
        broker: BrokerId,
        (clock, seed): (Timestamp, QuorumSeed),
    ) -> Result<Metadata<D>, MetadataError> {
        let kept = match files::read(disk, broker)? {
            Some(kept) => kept,
            None if seed.joins => {
                let (directory, hard_state) = (seed.directory, HardState::default());
                files::write_state(disk, directory, hard_state)?;
                Kept { directory, hard_state, start: None }
            }
            None => begin(disk, log, broker, (clock, seed))?,
        };
        let Kept { directory, hard_state, start } = kept;
        let (cluster, entries) = load(log, cluster, start.as_ref())?;
        let mark = start.map(|start| start.mark);
        let reached = mark.as_ref().map_or(Index(0), |mark| mark.index);
        let me = Member { broker, directory };
        let changes = entries.iter().any(|entry| matches!(entry.payload, Payload::Change(_)));
        let alone = !changes && mark.as_ref().is_some_and(|mark| is_alone(&mark.members, me));
        let settings = Settings::new(me, seed.cluster, seed.entropy);
        let Opened { quorum, log: fate } =
            Quorum::open(settings, Stored { hard_state, mark, entries })?;
        if fate == LogFate::Reset {
            log.restart_at(Offset::new(reached.0))?;
        }
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
            held: VecDeque::new(),
            alone,
            reached,
            refused: None,
            ticks: None,
            told: None,
        })
    }

    /// Carries out everything there is, each write synced before the next.
    fn settle(&mut self, log: &mut Log<D>, clock: Timestamp) -> Result<(), MetadataError> {
        while let Some(ready) = self.quorum.ready() {
            let mut carried = Carried::default();
            self.carry_out(log, clock, &ready, &mut carried)?;
            if let Some(number) = carried.wrote {
                log.sync()?;
                assert!(self.written(number).is_empty(), "there is nobody else");
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
        if let Some(snapshot) = &ready.snapshot {
            self.install(log, snapshot)?;
            carried.changed = true;
        }
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
        let reached = self.reached;
        for committed in ready.committed.iter().filter(|it| it.index > reached) {
            self.apply(committed, carried)?;
        }
        if ready.leadership.is_some_and(|leadership| !leadership.is_us) {
            self.step_down(carried);
        }
        if ready.wants_snapshot {
            // One that is refused is asked for again.
            let _ = self.quorum.snapshot(self.reached, &image::write(&self.applied));
        }
        carried.send.extend(ready.messages.iter().cloned());
        if ready.append.is_some() || self.unwritten.is_some() {
            (self.unwritten, carried.wrote) = (Some(ready.number), Some(ready.number));
            self.held.push_back((ready.number, ready.messages_after.clone()));
        } else {
            self.quorum.persisted(ready.number);
            carried.send.extend(ready.messages_after.iter().cloned());
        }
        Ok(())
    }

    /// Puts another's state in the place of ours, and begins the log behind it.
    fn install(&mut self, log: &mut Log<D>, snapshot: &Snapshot) -> Result<(), MetadataError> {
        let Snapshot { mark, image } = snapshot;
        let behind = Offset::new(mark.index.0);
        let cluster = image::read(&self.applied, behind, image.clone())?;
        files::write_start(&self.disk, mark, image)?;
        log.restart_at(behind)?;
        (self.applied, self.reached) = (cluster, mark.index);
        self.decided = self.applied.clone();
        Ok(())
    }

    /// Makes the state of now the log's start, once there is much before it.
    fn compact(&mut self, log: &mut Log<D>) -> Result<(), MetadataError> {
        if self.quorum.kept().bytes <= KEPT_BYTES_MAX || self.unwritten.is_some() {
            return Ok(());
        }
        let (at, mark) = (self.reached, self.quorum.mark_at(self.reached));
        let image = image::write(&self.applied);
        if image.len() > files::IMAGE_BYTES_MAX {
            // No start would read it; the log goes on from where it began.
            return Ok(());
        }
        files::write_start(&self.disk, &mark, &image)?;
        log.delete_before(at.offset().expect("something was applied"))?;
        self.quorum.compact(at);
        Ok(())
    }

    fn apply(&mut self, committed: &Committed, carried: &mut Carried) -> Result<(), LoadError> {
        let Committed { index, term, event } = committed;
        match event {
            Agreed::Data(decision) => {
                // Read whole before anything is applied.
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
            Agreed::Members(_, members) => self.alone = is_alone(members, self.quorum.me()),
            Agreed::Empty => {}
        }
        self.reached = *index;
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

    /// Everything up to this ready is on the disk. Says what may be sent now.
    fn written(&mut self, number: ReadyNumber) -> Vec<Outgoing> {
        self.unwritten.take_if(|last| *last <= number);
        self.quorum.persisted(number);
        let mut send = Vec::new();
        while let Some((_, held)) = self.held.pop_front_if(|(last, _)| *last <= number) {
            send.extend(held);
        }
        send
    }

    /// Lets raft's clock tick, where there are others to wait for.
    fn tick(&mut self, now: Instant) {
        if self.alone {
            self.ticks = None;
        } else if self.ticks.is_none_or(|due| due <= now) {
            // Ticks that were missed are lost: who was not there heard nobody.
            self.quorum.tick();
            self.ticks = Some(now + TICK);
        }
    }

    /// The cluster as it is now.
    pub fn cluster(&self) -> Arc<Cluster> {
        Arc::new(self.applied.clone())
    }

    /// Whether nobody else is in the quorum: then what is known here is everything that was decided.
    pub(crate) fn is_alone(&self) -> bool {
        self.alone
    }

    /// The log, for the shard to keep among its partitions.
    pub(crate) fn take_partition(&mut self) -> Partition<D> {
        self.partition.take().expect("a shard takes it once, when it is made")
    }

    /// What is to be carried out next: what the disk has refused goes before.
    fn next_ready(&mut self, now: Instant) -> Option<Ready> {
        match self.refused.take_if(|(_, again)| *again <= now) {
            Some((ready, _)) => Some(ready),
            None if self.refused.is_some() => None,
            None => self.quorum.ready(),
        }
    }

    /// Who leads, and who is there.
    fn standing(&self) -> QuorumStanding {
        let leader = self.quorum.leader().map(|leader| leader.broker);
        let members = self.quorum.members().clone();
        QuorumStanding { leader, decides: self.decides, members }
    }

    /// The data folder's id.
    pub(crate) fn directory(&self) -> DirectoryId {
        self.directory
    }

    /// When something is due.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let again = self.refused.as_ref().map(|(_, again)| *again);
        [again, self.ticks].into_iter().flatten().min()
    }
}

impl<D: Disk> fmt::Debug for Metadata<D> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("Metadata");
        shown.field("term", &self.quorum.term()).field("decides", &self.decides);
        shown.finish_non_exhaustive()
    }
}

/// Whether there is nobody but `me`.
fn is_alone(members: &Members, me: Member) -> bool {
    let mut all = members.iter().map(|(member, _)| member);
    all.next() == Some(me) && all.next().is_none()
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
    let mark = Mark { index, term, members: files::only(broker, directory) };
    // The vote for ourselves, which comes next, says the rest; and until then a member that is alone is known by its start.
    files::write_start(disk, &mark, &[])?;
    Ok(Kept { directory, hard_state, start: Some(Start { mark, image: Bytes::new() }) })
}

/// The state at the start of the log, and the entries from there on.
fn load<D: Disk>(
    log: &Log<D>,
    mut cluster: Cluster,
    start: Option<&Start>,
) -> Result<(Cluster, Vec<Entry>), MetadataError> {
    let Some(Start { mark, image }) = start else {
        let is_empty = log.start_offset() == log.end_offset();
        return if is_empty {
            Ok((cluster, Vec::new()))
        } else {
            Err(QuorumFileError::NoStart.into())
        };
    };
    let first = mark.index.offset().expect("a quorum's log begins with an entry");
    if !image.is_empty() {
        cluster = image::read(&cluster, first, image.clone())?;
    }
    let mut entries = Vec::new();
    stored::read_all(log, |found| {
        if found.offset >= first {
            entries.push(entry::read(found)?);
        } else if image.is_empty() {
            // From before there was a quorum; and what a crash left of the start itself.
            for fact in stored::read_metadata_decision(found.offset, found.value)? {
                cluster.apply(&fact);
            }
        }
        Ok(())
    })?;
    Ok((cluster, entries))
}

fn write<D: Disk>(log: &mut Log<D>, entry: &Entry, clock: Timestamp) -> Result<(), WriteError> {
    let batch = stored::batch_of(&[entry::record(&entry.payload)], clock);
    let stored = log.write(batch.bytes(), entry.term.epoch())?;
    assert_eq!(Index::of(stored.base), entry.index, "an entry is where the quorum has it");
    Ok(())
}

#[cfg(test)]
mod tests;
