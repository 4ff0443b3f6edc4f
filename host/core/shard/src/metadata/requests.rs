//! What the metadata's shard is asked, told and made to do by the quorum.

use std::any::Any;
use std::fmt;

use brooklet_log::Disk;
use brooklet_meta::Cluster;
use brooklet_meta::decide::Decision;
use brooklet_quorum::{
    Change, ChangeError, Index, Members, NotLeader, Outgoing, ProposeError, ReadyNumber, Replica,
    Term,
};
use brooklet_types::{BrokerId, ErrorCode, Instant, Timestamp};

use super::{Carried, FOLDER, METADATA, MetadataError, RETRY_AFTER};
use crate::input::Ticket;
use crate::output::{Event, Output, Reply};
use crate::shard::{Shard, Waiting};
use crate::stored;

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

    /// A change of the quorum's members, answered when it is committed, or with why it cannot be made: a
    /// `Result<(), ChangeError>`.
    pub(crate) fn change_members(
        &mut self,
        now: Instant,
        clock: Timestamp,
        (ticket, change): (Ticket, Change),
        outbox: &mut Vec<Output<D>>,
    ) {
        let metadata = self.metadata.as_mut().expect("the shell asks the shard that has it");
        match metadata.quorum.change_members(change) {
            Ok(proposed) => {
                let done: Result<(), ChangeError> = Ok(());
                metadata.waiting.push_back((proposed, ticket, Ok(Box::new(done))));
                self.follow_quorum(now, clock, outbox);
            }
            Err(error) => {
                let (version, reply) =
                    (metadata.applied.version(), Ok(Box::new(Err::<(), _>(error)) as _));
                outbox.push(Output::Reply { ticket, reply: Reply::Metadata { reply, version } });
            }
        }
    }

    /// Has another voter lead, if there is one that hears us: the one that has most. Says whom; it may not come to that.
    pub(crate) fn hand_over(
        &mut self,
        now: Instant,
        clock: Timestamp,
        ticket: Ticket,
        outbox: &mut Vec<Output<D>>,
    ) {
        let metadata = self.metadata.as_mut().expect("the shell asks the shard that has it");
        let (me, quorum) = (metadata.quorum.me(), &mut metadata.quorum);
        let replicas = quorum.replicas().into_iter();
        let others = replicas.filter(|it| it.member != me && it.voter && it.active);
        let best = others.max_by_key(|it| it.acknowledged).map(|it| it.member.broker);
        let to = best.filter(|to| quorum.transfer_leadership(*to).is_ok());
        outbox.push(Output::Reply { ticket, reply: Reply::HandingOver(to) });
        self.follow_quorum(now, clock, outbox);
    }

    /// The quorum as it looks from here (Kafka's DescribeQuorum).
    pub(crate) fn describe_quorum(&self) -> Reply<D> {
        let metadata = self.metadata.as_ref().expect("the shell asks the shard that has it");
        let quorum = &metadata.quorum;
        Reply::Quorum(QuorumDescription {
            leader: quorum.leader().map(|leader| leader.broker),
            term: quorum.term(),
            committed: quorum.committed(),
            replicas: quorum.replicas(),
        })
    }

    /// Broker `from` has sent this, which is known to be that broker.
    pub(crate) fn quorum_message(
        &mut self,
        now: Instant,
        clock: Timestamp,
        (from, message): (BrokerId, &[u8]),
        outbox: &mut Vec<Output<D>>,
    ) {
        let Some(metadata) = &mut self.metadata else { return };
        if let Err(error) = metadata.quorum.message(from, message) {
            let problem = error.to_string();
            outbox.push(Output::Event(Event::QuorumMessageRefused { from, problem }));
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
        let send = self.metadata.as_mut().expect("it has written something").written(number);
        outbox.extend(send.into_iter().map(Output::from));
        self.follow_quorum(now, clock, outbox);
    }

    /// Does what the quorum says: writes, sends, applies, publishes, answers.
    pub(crate) fn follow_quorum(
        &mut self,
        now: Instant,
        clock: Timestamp,
        outbox: &mut Vec<Output<D>>,
    ) {
        let Some(metadata) = &mut self.metadata else { return };
        let Some(partition) = self.partitions.get_mut(&METADATA) else { return };
        metadata.tick(now);
        let mut carried = Carried::default();
        while let Some(ready) = metadata.next_ready(now) {
            let done = metadata.carry_out(&mut partition.log, clock, &ready, &mut carried);
            if let Err(error) = done {
                metadata.refused = Some((ready, now + RETRY_AFTER));
                outbox.push(failed(&error));
            }
        }
        if let Err(error) = metadata.compact(&mut partition.log) {
            outbox.push(failed(&error));
        }
        if let Some(number) = carried.wrote {
            // A start reads the metadata before it knows any journal: it is never in one.
            self.syncs.touched(METADATA);
            self.syncs.park(Waiting::Quorum(number));
        }
        outbox.extend(carried.send.into_iter().map(Output::from));
        if carried.changed {
            outbox.push(Output::ClusterChanged(metadata.cluster()));
        }
        let version = metadata.applied.version();
        for (ticket, reply) in carried.answers {
            outbox.push(Output::Reply { ticket, reply: Reply::Metadata { reply, version } });
        }
        let standing = metadata.standing();
        if metadata.told.as_ref() != Some(&standing) {
            metadata.told = Some(standing.clone());
            outbox.push(Output::QuorumMoved(standing));
        }
    }
}

fn failed<D: Disk>(error: &MetadataError) -> Output<D> {
    let (folder, problem) = (FOLDER.to_owned(), error.to_string());
    Output::Event(Event::PartitionFailed { folder, problem })
}

impl<D: Disk> From<Outgoing> for Output<D> {
    fn from(outgoing: Outgoing) -> Output<D> {
        Output::SendToBroker { broker: outgoing.to.broker, message: outgoing.bytes }
    }
}

/// Who leads the quorum, and who is in it, as one member knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QuorumStanding {
    /// Who leads, as far as is known.
    pub leader: Option<BrokerId>,
    /// Whether that is this broker, and it has caught up with everything that was decided before: it decides.
    pub decides: bool,
    /// Everybody in it; nobody for who waits to be let in.
    pub members: Members,
}

/// The quorum as one member sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuorumDescription {
    /// Who leads, as far as is known.
    pub leader: Option<BrokerId>,
    /// In which term.
    pub term: Term,
    /// The last entry that is known to be committed.
    pub committed: Index,
    /// Every member as the leader sees it; where we do not lead, ourselves.
    pub replicas: Vec<Replica>,
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
