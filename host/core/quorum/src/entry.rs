//! What the log holds: entries, their positions, and what a disk has of them.

use brooklet_types::{LeaderEpoch, Offset};
use bytes::Bytes;
use prost::Message as _;
use raft::eraftpb::{ConfChange, Entry as RaftEntry, EntryType};

use crate::error::MessageError;
use crate::member::{Change, MemberNumber, Members};

/// The position of an entry, from 1. Zero is before the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Index(pub u64);

/// A term of one leader: the leader epoch of the batches that it wrote. Zero is before the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Term(pub u64);

/// One entry of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it stands.
    pub index: Index,
    /// Whose it is.
    pub term: Term,
    /// What it says.
    pub payload: Payload,
}

/// What an entry says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// Nothing: a leader's first entry.
    Empty,
    /// What was proposed; not empty.
    Data(Bytes),
    /// A change of members.
    Change(Change),
}

/// What is on the disk before anything is said that rests on it. Small, and replaced as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct HardState {
    /// The latest term that we know.
    pub term: Term,
    /// Whom we voted for in that term.
    pub vote: Option<MemberNumber>,
    /// What is committed at least. Written along, and on its own after a change of members: whoever starts
    /// with the members of before may wait for somebody who has left.
    pub commit: Index,
}

/// Where a snapshot stands in the log, and who belonged to the quorum there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The last entry that the snapshot covers.
    pub index: Index,
    /// That entry's term.
    pub term: Term,
    /// The members after that entry.
    pub members: Members,
}

/// What a disk has at a start.
#[derive(Clone, Debug, Default)]
pub struct Stored {
    /// The last that was written.
    pub hard_state: HardState,
    /// The latest snapshot's mark; none on a folder that has heard of no cluster yet.
    pub mark: Option<Mark>,
    /// The log, from wherever it begins. What the snapshot covers may be among it.
    pub entries: Vec<Entry>,
}

impl Index {
    /// The entry whose record has this offset.
    pub fn of(offset: Offset) -> Index {
        Index(offset.value() + 1)
    }

    /// The offset of the entry's record; none before the first.
    pub fn offset(self) -> Option<Offset> {
        self.0.checked_sub(1).map(Offset::new)
    }

    /// The next position.
    pub fn next(self) -> Index {
        Index(self.0 + 1)
    }
}

impl Term {
    /// The term as a batch's leader epoch.
    pub fn epoch(self) -> LeaderEpoch {
        LeaderEpoch(u32::try_from(self.0).expect("terms of peers are limited far below"))
    }
}

impl Stored {
    /// What each of a cluster's first voters begins with: a snapshot of nothing at index 1, so that everybody
    /// who comes later gets a snapshot, and with it the members. The log begins at index 2.
    pub fn first(members: Members) -> Stored {
        let mark = Mark { index: Index(1), term: Term(1), members };
        Stored { mark: Some(mark), ..Stored::default() }
    }
}

impl Entry {
    pub(crate) fn to_raft(&self) -> RaftEntry {
        let (entry_type, data) = match &self.payload {
            Payload::Empty => (EntryType::EntryNormal, Vec::new()),
            Payload::Data(data) => (EntryType::EntryNormal, data.to_vec()),
            Payload::Change(change) => {
                (EntryType::EntryConfChange, change.to_raft().encode_to_vec())
            }
        };
        RaftEntry {
            entry_type: entry_type.into(),
            term: self.term.0,
            index: self.index.0,
            data,
            ..RaftEntry::default()
        }
    }

    /// Reads an entry of raft's. Fails on what only a peer can have made.
    pub(crate) fn from_raft(entry: &RaftEntry) -> Result<Entry, MessageError> {
        let index = Index(entry.index);
        let payload = match EntryType::from_i32(entry.entry_type) {
            Some(EntryType::EntryNormal) if entry.data.is_empty() => Payload::Empty,
            Some(EntryType::EntryNormal) => Payload::Data(Bytes::copy_from_slice(&entry.data)),
            Some(EntryType::EntryConfChange) => {
                let raw = ConfChange::decode(entry.data.as_slice())?;
                let change = Change::from_bytes(&raw.context);
                let change = change.map_err(|error| MessageError::Change { index, error })?;
                if raw != change.to_raft() {
                    return Err(MessageError::EntryKind { index, kind: entry.entry_type });
                }
                Payload::Change(change)
            }
            // Changes of several members at once are never made here.
            Some(EntryType::EntryConfChangeV2) | None => {
                return Err(MessageError::EntryKind { index, kind: entry.entry_type });
            }
        };
        Ok(Entry { index, term: Term(entry.term), payload })
    }
}
