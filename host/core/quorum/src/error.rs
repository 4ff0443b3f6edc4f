//! Every way in which something is refused: who was wrong, and the values that show it.

use brooklet_types::BrokerId;

use crate::entry::{Index, Term};
use crate::member::{DecodeError, Member, MemberNumber};

/// Only the leader can do it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the leader of the metadata: that is {leader:?}")]
pub struct NotLeader {
    /// Who leads, as far as is known.
    pub leader: Option<BrokerId>,
}

/// Why nothing was proposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Somebody else leads, or nobody.
    #[error(transparent)]
    NotLeader(#[from] NotLeader),
    /// Leadership is on its way to another member.
    #[error("leadership is being transferred")]
    Transferring,
    /// More than a proposal may have.
    #[error("a proposal of {bytes} bytes, the limit is {limit}")]
    TooLarge {
        /// What it has.
        bytes: usize,
        /// What it may have.
        limit: usize,
    },
    /// Too much waits for its commit, or is in memory until it is compacted.
    #[error("{bytes} bytes of entries wait for commit or compaction")]
    Full {
        /// What is in memory.
        bytes: usize,
    },
}

/// Why members were not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// It could not be proposed.
    #[error(transparent)]
    Propose(#[from] ProposeError),
    /// The change before is not applied yet, or the leader is new and has not committed anything.
    #[error("another change of members is under way")]
    UnderWay,
    /// The broker is a member on another folder. That one has to be removed first.
    #[error("the broker is a member as {other}")]
    BrokerTaken {
        /// What it is now.
        other: Member,
    },
    /// It is what it should become.
    #[error("{member} is that already")]
    Already {
        /// Who.
        member: Member,
    },
    /// It is no member; and a voter is an observer first.
    #[error("{member} is not a member")]
    Unknown {
        /// Who.
        member: Member,
    },
    /// There are as many as there may be.
    #[error("there are {limit} already")]
    TooMany {
        /// How many there may be.
        limit: usize,
    },
    /// Nobody would be left to decide.
    #[error("{member} is the last voter")]
    LastVoter {
        /// Who.
        member: Member,
    },
    /// A leader does not remove itself: leadership is transferred first.
    #[error("{member} leads: transfer leadership first")]
    Leads {
        /// Who.
        member: Member,
    },
    /// As a voter it would hold up decisions until it has what is missing.
    #[error("{member} is {behind} entries behind")]
    Behind {
        /// Who.
        member: Member,
        /// Entries that it does not have.
        behind: u64,
    },
}

/// Why leadership stays where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransferError {
    /// It is not ours.
    #[error(transparent)]
    NotLeader(#[from] NotLeader),
    /// The broker does not vote.
    #[error("broker {broker} is not a voter")]
    NotVoter {
        /// Who.
        broker: BrokerId,
    },
}

/// Why a snapshot was not taken from the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// More than a message may carry.
    #[error("a snapshot of {bytes} bytes, the limit is {limit}")]
    TooLarge {
        /// What it has.
        bytes: usize,
        /// What it may have.
        limit: usize,
    },
    /// The log has been compacted past it, so that nobody could go on from it.
    #[error("the log begins behind {index:?}")]
    TooOld {
        /// Where the snapshot stands.
        index: Index,
    },
}

/// Why a peer's message was refused. Nothing has changed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum MessageError {
    /// More bytes than any message has.
    #[error("a message of {bytes} bytes, the limit is {limit}")]
    TooLarge {
        /// What it has.
        bytes: usize,
        /// What it may have.
        limit: usize,
    },
    /// The bytes are in a format that we do not know.
    #[error("unknown version {0} of a message")]
    Version(u8),
    /// The bytes are no message.
    #[error("malformed message")]
    Malformed,
    /// The bytes are no message of raft's.
    #[error("malformed message: {0}")]
    Decode(#[from] prost::DecodeError),
    /// More of something than any message has.
    #[error("more than {limit} {what} in a message")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there may be.
        limit: usize,
    },
    /// It is another cluster's.
    #[error("a message of another cluster")]
    WrongCluster,
    /// It is for another member, perhaps for who we were before our disk was wiped.
    #[error("a message for member {to:?}")]
    WrongAddressee {
        /// Whom it is for.
        to: MemberNumber,
    },
    /// The sender is not who the connection says, or not who the message says.
    #[error("a message of {sender} by broker {by}")]
    WrongSender {
        /// Who it says that it is.
        sender: Member,
        /// Who it is.
        by: BrokerId,
    },
    /// An answer by somebody who was not asked.
    #[error("an answer of {sender}, who is not a member")]
    UnknownMember {
        /// Who.
        sender: Member,
    },
    /// The sender has another member's number.
    #[error("{sender} has the number of {known}")]
    NumberTaken {
        /// Who sent it.
        sender: Member,
        /// Whose number it is.
        known: Member,
    },
    /// A kind of message that members do not send each other.
    #[error("a message of kind {kind}")]
    Kind {
        /// Raft's number of the kind.
        kind: i32,
    },
    /// A term that does not exist, or comes near the end of leader epochs.
    #[error("a message of term {term:?}")]
    Term {
        /// Which.
        term: Term,
    },
    /// An index that no log reaches.
    #[error("a message with index {0}")]
    Index(u64),
    /// Entries that do not follow each other, or come from a later term than the message.
    #[error("entries are not in order at {index:?}")]
    Order {
        /// Where.
        index: Index,
    },
    /// An entry of a kind that is never written.
    #[error("an entry of kind {kind} at {index:?}")]
    EntryKind {
        /// Where.
        index: Index,
        /// Raft's number of the kind.
        kind: i32,
    },
    /// A change of members that can not be read.
    #[error("a change of members at {index:?}")]
    Change {
        /// Where.
        index: Index,
        /// What is wrong with it.
        #[source]
        error: DecodeError,
    },
    /// A snapshot that says nothing, or not what its members say.
    #[error("a snapshot at {index:?} that can not be")]
    Snapshot {
        /// Where.
        index: Index,
    },
    /// A snapshot's members can not be read.
    #[error("members of a snapshot")]
    Members(#[from] DecodeError),
    /// Another leader of the same term: somebody voted twice, or lost its vote.
    #[error("{sender} leads in {term:?}, which has another leader")]
    TwoLeaders {
        /// Who sent it.
        sender: Member,
        /// In which term.
        term: Term,
    },
    /// What we know as committed is something else for the sender.
    #[error("{index:?} is committed here, and another entry there")]
    Conflict {
        /// Where.
        index: Index,
    },
    /// The sender knows that we had more than we have: our disk lost something.
    #[error("{commit:?} is committed and our log ends at {last:?}")]
    CommitBeyondEnd {
        /// What the sender says is committed here.
        commit: Index,
        /// Where our log ends.
        last: Index,
    },
    /// The sender has more than we have sent.
    #[error("{index:?} is acknowledged and our log ends at {last:?}")]
    AcknowledgedBeyondEnd {
        /// What it says that it has.
        index: Index,
        /// Where our log ends.
        last: Index,
    },
    /// There is no room for its entries until the caller compacts.
    #[error("{bytes} bytes of entries are in memory")]
    Full {
        /// What is in memory.
        bytes: usize,
    },
}

/// Why a disk's state is none that we left.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// An entry is missing, or there are entries and no snapshot.
    #[error("the log has {found:?} where {expected:?} belongs")]
    Gap {
        /// What belongs there.
        expected: Index,
        /// What is there.
        found: Index,
    },
    /// An entry's term is below the one before, or none, or beyond what a term can be.
    #[error("{index:?} is of {term:?}")]
    Term {
        /// Where.
        index: Index,
        /// Which.
        term: Term,
    },
    /// Committed entries are gone.
    #[error("{commit:?} was committed and the log ends at {last:?}")]
    CommitBeyondEnd {
        /// What was.
        commit: Index,
        /// What is.
        last: Index,
    },
    /// A snapshot at index or term zero, or without a voter.
    #[error("a snapshot at {index:?} of {term:?} that can not be")]
    Mark {
        /// Where.
        index: Index,
        /// Of which term.
        term: Term,
    },
}
