//! What a peer's message may say. Raft panics on some that cannot be; they are refused here by name.
//!
//! **Where it sits.** Between the bytes of a message and raft. Every message passes [`check`], and nothing
//! else reaches raft from outside.
//!
//! **What is checked, and what raft would do.**
//! - kind, kinds of entries, what a change says: raft panics on unknown numbers, and when it applies a change.
//! - terms from 1 to [`TERM_MAX`], indexes to [`INDEX_MAX`]: arithmetic that overflows; a term of 0 is taken
//!   for a call of our own.
//! - entries that follow each other: appended with a gap, which panics; and a previous entry of term 0, which
//!   matches anything that is not there.
//! - a snapshot's members: restored without question, which panics when they are not sound.
//! - a heartbeat's commit index at or before our end: panics. It is what a disk that lost entries looks like.
//! - an acknowledgement at or before our end: the follower would be sent what cannot be.
//! - entries that differ from what is committed here, or a second leader of a term: panics, or overwrites.
//!
//! Requests of members that we do not know are let through, as raft demands (thesis, 4.1): whoever slept
//! through changes of members hears of them from a leader that it does not know.

use raft::StateRole;
use raft::eraftpb::{Entry as RaftEntry, Message, MessageType};

use crate::entry::{Entry, Index, Term};
use crate::error::MessageError;
use crate::member::{Member, MemberNumber, Members};
use crate::node::Quorum;

/// Terms of peers end here, so that our own elections, one in a second, come to the end of leader epochs in
/// thirty years.
const TERM_MAX: u64 = 1 << 30;
/// No log gets here, and adding to it does not overflow.
const INDEX_MAX: u64 = 1 << 62;

/// Whether raft may see `message`, which `sender` wrote.
pub(crate) fn check(
    quorum: &Quorum,
    sender: Member,
    message: &Message,
) -> Result<(), MessageError> {
    addresses(quorum, sender, message)?;
    numbers(message)?;
    let kind = MessageType::from_i32(message.msg_type);
    let kind = kind.ok_or(MessageError::Kind { kind: message.msg_type })?;
    let known = quorum.members().by_number(sender.number()).is_some();
    let late = message.term < quorum.raft().term;
    if late && (asks(kind) || (answers(kind) && known)) {
        // Late, so it may differ from what has come of it since. Raft does not look into it.
        return Ok(());
    }
    match kind {
        MessageType::MsgAppend => {
            one_leader(quorum, sender, message)?;
            entries(message)?;
            agrees(quorum, message)?;
            room(quorum, message)
        }
        MessageType::MsgSnapshot => {
            one_leader(quorum, sender, message)?;
            snapshot(quorum, message)
        }
        MessageType::MsgHeartbeat => {
            one_leader(quorum, sender, message)?;
            let (commit, last) = (Index(message.commit), quorum.last());
            if commit > last {
                return Err(MessageError::CommitBeyondEnd { commit, last });
            }
            Ok(())
        }
        MessageType::MsgTimeoutNow => one_leader(quorum, sender, message),
        MessageType::MsgRequestVote | MessageType::MsgRequestPreVote => Ok(()),
        MessageType::MsgAppendResponse
        | MessageType::MsgHeartbeatResponse
        | MessageType::MsgRequestVoteResponse
        | MessageType::MsgRequestPreVoteResponse => answer(quorum, sender, message),
        // Calls of our own; and nothing is forwarded: who does not lead says who does.
        MessageType::MsgHup
        | MessageType::MsgBeat
        | MessageType::MsgPropose
        | MessageType::MsgUnreachable
        | MessageType::MsgSnapStatus
        | MessageType::MsgCheckQuorum
        | MessageType::MsgTransferLeader
        | MessageType::MsgReadIndex
        | MessageType::MsgReadIndexResp => Err(MessageError::Kind { kind: message.msg_type }),
    }
}

/// Whether it is a question to another member.
fn asks(kind: MessageType) -> bool {
    matches!(
        kind,
        MessageType::MsgAppend
            | MessageType::MsgSnapshot
            | MessageType::MsgHeartbeat
            | MessageType::MsgTimeoutNow
            | MessageType::MsgRequestVote
            | MessageType::MsgRequestPreVote
    )
}

/// Whether it is an answer of another member.
fn answers(kind: MessageType) -> bool {
    matches!(
        kind,
        MessageType::MsgAppendResponse
            | MessageType::MsgHeartbeatResponse
            | MessageType::MsgRequestVoteResponse
            | MessageType::MsgRequestPreVoteResponse
    )
}

fn addresses(quorum: &Quorum, sender: Member, message: &Message) -> Result<(), MessageError> {
    let me = quorum.me();
    if MemberNumber(message.to) != me.number() {
        return Err(MessageError::WrongAddressee { to: MemberNumber(message.to) });
    }
    if MemberNumber(message.from) != sender.number() || sender.broker == me.broker {
        return Err(MessageError::WrongSender { sender, by: sender.broker });
    }
    match quorum.members().by_number(sender.number()) {
        Some(known) if known != sender => Err(MessageError::NumberTaken { sender, known }),
        Some(_) | None => Ok(()),
    }
}

fn numbers(message: &Message) -> Result<(), MessageError> {
    if !(1..=TERM_MAX).contains(&message.term) {
        return Err(MessageError::Term { term: Term(message.term) });
    }
    let metadata = message.get_snapshot().get_metadata();
    let indexes = [message.index, message.commit, message.reject_hint, metadata.index];
    match indexes.into_iter().find(|index| *index > INDEX_MAX) {
        Some(index) => Err(MessageError::Index(index)),
        None => Ok(()),
    }
}

/// Refuses a second leader of our term.
fn one_leader(quorum: &Quorum, sender: Member, message: &Message) -> Result<(), MessageError> {
    let raft = quorum.raft();
    let other = raft.leader_id != raft::INVALID_ID && raft.leader_id != message.from;
    if message.term == raft.term && (other || raft.state == StateRole::Leader) {
        return Err(MessageError::TwoLeaders { sender, term: Term(raft.term) });
    }
    Ok(())
}

/// Entries follow each other, and the entry before them.
fn entries(message: &Message) -> Result<(), MessageError> {
    let (mut index, mut term) = (message.index, message.log_term);
    if (index == 0) != (term == 0) || term > message.term {
        return Err(MessageError::Order { index: Index(index) });
    }
    for entry in &message.entries {
        // Both were at most their limits; entries are as many as bytes of the message at most.
        let in_order = entry.index == index + 1;
        if !in_order || entry.term < term.max(1) || entry.term > message.term {
            return Err(MessageError::Order { index: Index(index + 1) });
        }
        Entry::from_raft(entry)?;
        (index, term) = (entry.index, entry.term);
    }
    Ok(())
}

/// What is committed here is the same there.
fn agrees(quorum: &Quorum, message: &Message) -> Result<(), MessageError> {
    let previous = [(message.index, message.log_term)];
    let sent = message.entries.iter().map(|entry| (entry.index, entry.term));
    previous.into_iter().chain(sent).try_for_each(|(index, term)| committed_is(quorum, index, term))
}

fn committed_is(quorum: &Quorum, index: u64, term: u64) -> Result<(), MessageError> {
    let log = &quorum.raft().raft_log;
    let here = (log.first_index() - 1..=log.committed).contains(&index);
    if here && !log.match_term(index, term) {
        return Err(MessageError::Conflict { index: Index(index) });
    }
    Ok(())
}

fn room(quorum: &Quorum, message: &Message) -> Result<(), MessageError> {
    let bytes = quorum.kept().bytes;
    if message.entries.is_empty() || bytes <= quorum.settings().kept_bytes_max {
        return Ok(());
    }
    Err(MessageError::Full { bytes })
}

fn snapshot(quorum: &Quorum, message: &Message) -> Result<(), MessageError> {
    let snapshot = message.get_snapshot();
    let metadata = snapshot.get_metadata();
    let index = Index(metadata.index);
    let refused = MessageError::Snapshot { index };
    if metadata.index == 0 || !(1..=message.term).contains(&metadata.term) {
        return Err(refused);
    }
    let members = Members::take(&mut snapshot.data.as_slice())?;
    if members.is_empty() || *metadata.get_conf_state() != members.to_raft() {
        return Err(refused);
    }
    committed_is(quorum, metadata.index, metadata.term)
}

fn answer(quorum: &Quorum, sender: Member, message: &Message) -> Result<(), MessageError> {
    if quorum.members().by_number(sender.number()).is_none() {
        return Err(MessageError::UnknownMember { sender });
    }
    let raft = quorum.raft();
    if message.request_snapshot != 0 {
        // Nobody here asks for one in this way.
        return Err(MessageError::Index(message.request_snapshot));
    }
    let (index, last) = (Index(message.index), quorum.last());
    let appended = message.msg_type == i32::from(MessageType::MsgAppendResponse);
    let ours = raft.state == StateRole::Leader && message.term == raft.term;
    if appended && ours && index > last {
        return Err(MessageError::AcknowledgedBeyondEnd { index, last });
    }
    Ok(())
}

/// What raft hands out was checked when it came in, or is our own.
pub(crate) fn checked(entry: &RaftEntry) -> Entry {
    Entry::from_raft(entry).expect("entries are checked before raft sees them")
}

#[cfg(test)]
mod tests;
