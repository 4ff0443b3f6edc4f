//! Who belongs to the quorum, and how that is written down.
//!
//! **What it decides.** Which change of members is possible, and what comes of it. Raft knows members by a
//! number only; the whole member travels in changes and in snapshots.
//!
//! **Invariants.**
//! 1. A broker is a member once: a wiped disk's old identity goes before the new one comes.
//! 2. A voter has been an observer, and there is always a voter.

use std::collections::BTreeMap;
use std::fmt;

use brooklet_types::BrokerId;
use bytes::{Buf, BufMut};
use raft::eraftpb::{ConfChange, ConfChangeType, ConfState};

use crate::error::ChangeError;

/// The most members: every broker is one, and each costs its leader a heartbeat.
pub(crate) const MEMBERS_MAX: usize = 256;
/// The most voters. Each decision waits for a majority of them; Kafka advises three or five.
const VOTERS_MAX: usize = 9;
/// What [`Member::put`] writes.
pub(crate) const MEMBER_BYTES: usize = 20;
/// The format of [`Change::to_bytes`] and [`Members::put`].
const VERSION: u8 = 1;

/// Which folder a broker has: random, made with the folder. KIP-853's directory id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DirectoryId(pub [u8; 16]);

/// Which cluster is meant, so that members of two can not be mixed up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClusterId(pub [u8; 16]);

/// One member: a broker on one folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Member {
    /// The broker's number, not negative.
    pub broker: BrokerId,
    /// Its folder.
    pub directory: DirectoryId,
}

/// A member as raft numbers it: the broker, and the first four bytes of its directory id. Not zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberNumber(pub u64);

/// One change of members. They are made one at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A member that is told everything and asked nothing.
    AddObserver(Member),
    /// An observer becomes a voter.
    AddVoter(Member),
    /// A voter or an observer leaves.
    Remove(Member),
}

/// Everybody who belongs to the quorum.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    by_number: BTreeMap<MemberNumber, (Member, Standing)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Observer,
    Voter,
}

/// Bytes that should be members or a change, and are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// They end too early, or too late.
    #[error("bytes of members are cut short or too many")]
    Length,
    /// They are in a format of a later release.
    #[error("members are written in unknown version {0}")]
    Version(u8),
    /// A kind of change, or of member, that does not exist.
    #[error("unknown kind {0} in bytes of members")]
    Kind(u8),
    /// A broker's number below zero.
    #[error("broker {0} cannot be a member")]
    Broker(i32),
    /// A member twice, more of them than there may be, or no voter.
    #[error("members that cannot be together")]
    Together,
}

impl Member {
    /// The number that raft knows this member by.
    pub fn number(self) -> MemberNumber {
        let [a, b, c, d, ..] = self.directory.0;
        let broker = u64::from(self.broker.0.cast_unsigned()) + 1;
        MemberNumber((broker << 32) | u64::from(u32::from_be_bytes([a, b, c, d])))
    }

    pub(crate) fn put(self, into: &mut Vec<u8>) {
        into.put_i32(self.broker.0);
        into.put_slice(&self.directory.0);
    }

    pub(crate) fn take(from: &mut &[u8]) -> Result<Member, DecodeError> {
        if from.len() < MEMBER_BYTES {
            return Err(DecodeError::Length);
        }
        let broker = from.get_i32();
        let mut directory = [0; 16];
        from.copy_to_slice(&mut directory);
        if broker < 0 {
            return Err(DecodeError::Broker(broker));
        }
        Ok(Member { broker: BrokerId(broker), directory: DirectoryId(directory) })
    }
}

impl Change {
    /// Whom it is about.
    pub fn member(self) -> Member {
        match self {
            Change::AddObserver(member) | Change::AddVoter(member) | Change::Remove(member) => {
                member
            }
        }
    }

    /// The change as an entry of the log holds it.
    pub fn to_bytes(self) -> Vec<u8> {
        let mut bytes = vec![VERSION, self.kind()];
        self.member().put(&mut bytes);
        bytes
    }

    /// Reads what [`Change::to_bytes`] wrote.
    pub fn from_bytes(mut bytes: &[u8]) -> Result<Change, DecodeError> {
        let from = &mut bytes;
        if from.len() != 2 + MEMBER_BYTES {
            return Err(DecodeError::Length);
        }
        known(from.get_u8())?;
        let kind = from.get_u8();
        let member = Member::take(from)?;
        match kind {
            0 => Ok(Change::AddObserver(member)),
            1 => Ok(Change::AddVoter(member)),
            2 => Ok(Change::Remove(member)),
            kind => Err(DecodeError::Kind(kind)),
        }
    }

    pub(crate) fn to_raft(self) -> ConfChange {
        let kind = match self {
            Change::AddObserver(_) => ConfChangeType::AddLearnerNode,
            Change::AddVoter(_) => ConfChangeType::AddNode,
            Change::Remove(_) => ConfChangeType::RemoveNode,
        };
        ConfChange {
            change_type: kind.into(),
            node_id: self.member().number().0,
            context: self.to_bytes(),
            ..ConfChange::default()
        }
    }

    fn kind(self) -> u8 {
        match self {
            Change::AddObserver(_) => 0,
            Change::AddVoter(_) => 1,
            Change::Remove(_) => 2,
        }
    }
}

impl Members {
    /// The voters that a cluster begins with. Panics where there are none, too many, or one broker twice.
    pub fn first(voters: &[Member]) -> Members {
        let entry = |voter: &Member| (voter.number(), (*voter, Standing::Voter));
        let members = Members { by_number: voters.iter().map(entry).collect() };
        assert!(members.are_sound() && members.by_number.len() == voters.len(), "sound voters");
        members
    }

    /// Whether nobody is known: a folder that has heard of no cluster yet.
    pub fn is_empty(&self) -> bool {
        self.by_number.is_empty()
    }

    /// Everybody, with whether it votes, in the order of brokers.
    pub fn iter(&self) -> impl Iterator<Item = (Member, bool)> + '_ {
        self.by_number.values().map(|(member, standing)| (*member, *standing == Standing::Voter))
    }

    /// Whether `member` votes.
    pub fn is_voter(&self, member: Member) -> bool {
        self.by_number.get(&member.number()) == Some(&(member, Standing::Voter))
    }

    /// The member that a broker is.
    pub fn of_broker(&self, broker: BrokerId) -> Option<Member> {
        self.iter().map(|(member, _)| member).find(|member| member.broker == broker)
    }

    /// The member of a number.
    pub fn by_number(&self, number: MemberNumber) -> Option<Member> {
        self.by_number.get(&number).map(|(member, _)| *member)
    }

    /// Whether `change` can be made.
    pub fn check(&self, change: Change) -> Result<(), ChangeError> {
        let member = change.member();
        let found = self.by_number.get(&member.number()).filter(|(known, _)| *known == member);
        match (change, found.map(|(_, standing)| *standing)) {
            (Change::AddObserver(_), None) => match self.of_broker(member.broker) {
                Some(other) => Err(ChangeError::BrokerTaken { other }),
                None if self.by_number.len() >= MEMBERS_MAX => {
                    Err(ChangeError::TooMany { limit: MEMBERS_MAX })
                }
                None => Ok(()),
            },
            (Change::AddObserver(_), Some(_)) => Err(ChangeError::Already { member }),
            (Change::AddVoter(_), Some(Standing::Voter)) => Err(ChangeError::Already { member }),
            (Change::AddVoter(_), Some(Standing::Observer)) if self.voters() >= VOTERS_MAX => {
                Err(ChangeError::TooMany { limit: VOTERS_MAX })
            }
            (Change::AddVoter(_), Some(Standing::Observer)) => Ok(()),
            (Change::Remove(_), Some(Standing::Voter)) if self.voters() == 1 => {
                Err(ChangeError::LastVoter { member })
            }
            (Change::Remove(_), Some(_)) => Ok(()),
            (Change::AddVoter(_) | Change::Remove(_), None) => Err(ChangeError::Unknown { member }),
        }
    }

    /// Makes a change that [`Members::check`] allows.
    pub(crate) fn apply(&mut self, change: Change) {
        let member = change.member();
        match change {
            Change::AddObserver(_) => {
                self.by_number.insert(member.number(), (member, Standing::Observer));
            }
            Change::AddVoter(_) => {
                self.by_number.insert(member.number(), (member, Standing::Voter));
            }
            Change::Remove(_) => {
                self.by_number.remove(&member.number());
            }
        }
        assert!(self.are_sound(), "a change that was checked");
    }

    /// Members as raft lists them.
    pub(crate) fn to_raft(&self) -> ConfState {
        let (voters, observers): (Vec<_>, Vec<_>) = self.iter().partition(|(_, votes)| *votes);
        let numbers = |list: Vec<(Member, bool)>| list.into_iter().map(|(it, _)| it.number().0);
        ConfState::from((numbers(voters), numbers(observers)))
    }

    /// Appends the members to `into`, as a snapshot of the caller's or of raft's holds them.
    pub fn put(&self, into: &mut Vec<u8>) {
        into.put_u8(VERSION);
        into.put_u16(u16::try_from(self.by_number.len()).expect("at most MEMBERS_MAX"));
        for (member, votes) in self.iter() {
            into.put_u8(u8::from(votes));
            member.put(into);
        }
    }

    /// Takes from the front of `from` what [`Members::put`] wrote.
    pub fn take(from: &mut &[u8]) -> Result<Members, DecodeError> {
        if from.len() < 3 {
            return Err(DecodeError::Length);
        }
        known(from.get_u8())?;
        let count = from.get_u16();
        let mut members = Members::default();
        for _ in 0..count {
            if from.is_empty() {
                return Err(DecodeError::Length);
            }
            let standing = match from.get_u8() {
                0 => Standing::Observer,
                1 => Standing::Voter,
                kind => return Err(DecodeError::Kind(kind)),
            };
            let member = Member::take(from)?;
            members.by_number.insert(member.number(), (member, standing));
        }
        let distinct = members.by_number.len() == usize::from(count);
        if distinct && members.are_sound() { Ok(members) } else { Err(DecodeError::Together) }
    }

    fn voters(&self) -> usize {
        self.iter().filter(|(_, votes)| *votes).count()
    }

    /// Somebody votes, nobody is there twice, and there are not too many.
    fn are_sound(&self) -> bool {
        // Numbers are sorted by their brokers.
        let brokers = || self.iter().map(|(member, _)| member.broker);
        let twice = brokers().zip(brokers().skip(1)).any(|(one, next)| one == next);
        !twice && (1..=VOTERS_MAX).contains(&self.voters()) && self.by_number.len() <= MEMBERS_MAX
    }
}

fn known(version: u8) -> Result<(), DecodeError> {
    if version == VERSION { Ok(()) } else { Err(DecodeError::Version(version)) }
}

impl fmt::Debug for DirectoryId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Display for Member {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} on {:?}", self.broker, self.directory)
    }
}

#[cfg(test)]
mod tests;
