//! The machine: what it says to do.
//!
//! **What it decides.** What is written and sent in which order, what is committed, who is told what.
//!
//! **Invariants.**
//! 1. Messages that rest on something written are in `messages_after`. Raft says which those are, but for a
//!    quorum of one: it leads before its vote for itself is on the disk, and if that is lost there may be two
//!    leaders of one term for its observers.
//! 2. A change of members takes effect when it is handed out, and ours are raft's afterwards.

use bytes::Bytes;
use raft::StateRole;
use raft::eraftpb::{ConfState, Entry as RaftEntry, Message, Snapshot as RaftSnapshot};

use crate::check::checked;
use crate::entry::{Entry, HardState, Index, Mark, Payload, Term};
use crate::member::{Change, Member, MemberNumber, Members};
use crate::message;
use crate::node::Quorum;
use crate::reads::Read;

/// The number of a ready. They count up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct ReadyNumber(pub u64);

/// What is to be done, in the order of the fields. What is to be written may be written together with that of
/// later ones. A crash may leave the hard state of one ready beside the log of another; of the log it leaves
/// what was written up to some point.
#[derive(Debug, Default)]
pub struct Ready {
    /// What [`Quorum::persisted`] is told when all of this is on the disk.
    pub number: ReadyNumber,
    /// Who leads now, where that has changed.
    pub leadership: Option<Leadership>,
    /// To be sent at once.
    pub messages: Vec<Outgoing>,
    /// To be written in the place of everything before it: the image, and a log that is empty and begins
    /// behind it. The image is on the disk before the log is emptied.
    pub snapshot: Option<Snapshot>,
    /// To be written, replacing the one before.
    pub hard_state: Option<HardState>,
    /// To be written to the log.
    pub append: Option<Append>,
    /// To be applied, after the snapshot.
    pub committed: Vec<Committed>,
    /// Answers to [`Quorum::read_index`], good once everything up to their index has been applied: that may be
    /// with a later ready.
    pub reads: Vec<Read>,
    /// Somebody needs a snapshot: [`Quorum::snapshot`] is to be called with an image of what is applied.
    pub wants_snapshot: bool,
    /// To be sent when everything above is on the disk.
    pub messages_after: Vec<Outgoing>,
}

/// Who leads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leadership {
    /// In which term.
    pub term: Term,
    /// Who, as far as is known.
    pub leader: Option<Member>,
    /// Whether that is us.
    pub is_us: bool,
}

/// A message for another member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// For whom.
    pub to: Member,
    /// What [`Quorum::message`] takes there.
    pub bytes: Bytes,
}

/// A snapshot to be installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Where it stands.
    pub mark: Mark,
    /// The image.
    pub image: Bytes,
}

/// Entries for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    /// Whatever the log has from here on goes first.
    pub from: Index,
    /// The entries, from there on.
    pub entries: Vec<Entry>,
}

/// A committed entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Where it stands.
    pub index: Index,
    /// Whose it is.
    pub term: Term,
    /// What it says.
    pub event: Event,
}

/// What a committed entry says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Nothing.
    Empty,
    /// What was proposed.
    Data(Bytes),
    /// Members have changed, to these.
    Members(Change, Members),
}

impl Quorum {
    /// What is to be done; nothing when nothing has changed.
    pub fn ready(&mut self) -> Option<Ready> {
        self.begin_reads();
        let told = self.leadership() == self.announced;
        let asked = !told || !self.answered.is_empty() || self.raw.store().is_wanted();
        if !asked && !self.raw.has_ready() {
            return None;
        }
        let mut from_raft = self.raw.ready();
        let number = ReadyNumber(from_raft.number());
        assert!(number > self.handed_out, "readies count up");
        self.handed_out = number;
        let mut ready = Ready { number, ..Ready::default() };
        ready.snapshot = self.install(number, from_raft.snapshot());
        ready.hard_state = self.changed_hard_state(number);
        ready.append = self.append(&from_raft.take_entries());
        let at_once = from_raft.take_messages();
        let after = from_raft.take_persisted_messages();
        let held = self.unwritten.is_some();
        let (at_once, held) = if held { (Vec::new(), at_once) } else { (at_once, Vec::new()) };
        ready.messages = self.outgoing(at_once);
        ready.messages_after = self.outgoing(held.into_iter().chain(after));
        for read in from_raft.take_read_states() {
            let round = u64::from_be_bytes(read.request_ctx.try_into().expect("a round of ours"));
            self.answered.extend(self.reads.proved(round, Index(read.index)));
        }
        let committed = from_raft.take_committed_entries();
        self.raw.advance_append_async(from_raft);
        ready.committed = self.apply(&committed);
        if ready.committed.iter().any(|it| matches!(it.event, Event::Members(..))) {
            self.hard_state.commit = self.applied;
            ready.hard_state = Some(self.hard_state);
        }
        self.settle();
        let leadership = self.leadership();
        ready.leadership = (leadership != self.announced).then_some(leadership);
        self.announced = leadership;
        ready.reads = std::mem::take(&mut self.answered);
        ready.wants_snapshot = self.raw.store().take_wanted();
        Some(ready)
    }

    /// Everything that ready `number` and those before it said to write is on the disk.
    pub fn persisted(&mut self, number: ReadyNumber) {
        assert!(number <= self.handed_out, "what is written was handed out");
        if number <= self.persisted {
            return;
        }
        self.persisted = number;
        self.unwritten.take_if(|waiting| *waiting <= number);
        self.raw.on_persist_ready(number.0);
        if let Some((_, index)) = self.installing.take_if(|(waiting, _)| *waiting <= number) {
            self.raw.advance_apply_to(index.0);
        }
        self.settle();
    }

    /// Begins to prove that we lead, once there is something to prove it with.
    fn begin_reads(&mut self) {
        if self.is_leader()
            && self.raft().commit_to_current_term()
            && let Some(round) = self.reads.begin()
        {
            self.raw.read_index(round.to_be_bytes().to_vec());
        }
    }

    fn leadership(&self) -> Leadership {
        Leadership { term: self.term(), leader: self.leader(), is_us: self.is_leader() }
    }

    fn install(&mut self, number: ReadyNumber, snapshot: &RaftSnapshot) -> Option<Snapshot> {
        if snapshot.is_empty() {
            return None;
        }
        let metadata = snapshot.get_metadata();
        let mut image = snapshot.data.as_slice();
        let members =
            Members::take(&mut image).expect("snapshots are checked before raft sees them");
        let (index, term) = (Index(metadata.index), Term(metadata.term));
        let mark = Mark { index, term, members };
        assert!(index > self.applied, "a snapshot brings something new");
        self.raw.mut_store().install(&mark);
        self.applied = index;
        self.installing = Some((number, index));
        Some(Snapshot { mark, image: Bytes::copy_from_slice(image) })
    }

    /// Term and vote, where they have changed.
    fn changed_hard_state(&mut self, number: ReadyNumber) -> Option<HardState> {
        let raft = self.raft();
        let vote = (raft.vote != raft::INVALID_ID).then_some(MemberNumber(raft.vote));
        let (term, before) = (Term(raft.term), self.hard_state);
        if (term, vote) == (before.term, before.vote) {
            return None;
        }
        assert!(term >= before.term, "terms only grow");
        // What was handed out as committed is on the disk, but for a snapshot that is on its way there.
        let commit = if self.installing.is_some() { before.commit } else { self.applied };
        self.hard_state = HardState { term, vote, commit };
        self.unwritten = Some(number);
        Some(self.hard_state)
    }

    fn append(&mut self, entries: &[RaftEntry]) -> Option<Append> {
        let from = Index(entries.first()?.index);
        self.raw.mut_store().append(entries);
        Some(Append { from, entries: entries.iter().map(checked).collect() })
    }

    fn outgoing(&self, messages: impl IntoIterator<Item = Message>) -> Vec<Outgoing> {
        let outgoing = |message: Message| {
            // A stranger that was forgotten asks again.
            let to = self.by_number(message.to)?;
            Some(Outgoing { to, bytes: message::seal(&self.settings, &message) })
        };
        messages.into_iter().filter_map(outgoing).collect()
    }

    fn apply(&mut self, entries: &[RaftEntry]) -> Vec<Committed> {
        let mut committed = Vec::with_capacity(entries.len());
        for entry in entries {
            let Entry { index, term, payload } = checked(entry);
            assert_eq!(index, self.applied.next(), "committed entries adjoin");
            self.applied = index;
            let event = match payload {
                Payload::Empty => Event::Empty,
                Payload::Data(data) => Event::Data(data),
                Payload::Change(change) => self.apply_change(index, change),
            };
            committed.push(Committed { index, term, event });
        }
        if let Some(last) = entries.last() {
            self.raw.advance_apply_to(last.index);
        }
        committed
    }

    /// Makes a change. One that can not be made was proposed by nobody of ours; everybody passes over it.
    fn apply_change(&mut self, index: Index, change: Change) -> Event {
        let mut members = self.members().clone();
        if members.check(change).is_err() {
            return Event::Empty;
        }
        members.apply(change);
        self.raw.mut_store().changed(index, members.clone());
        let applied = self.raw.apply_conf_change(&change.to_raft());
        let applied = sorted(applied.expect("a change that members allow"));
        assert_eq!(applied, members.to_raft(), "raft has the members that we have");
        if self.raft().state == StateRole::Leader && !members.is_voter(self.settings.me) {
            // Raft would go on leading, and panic on its next step.
            let term = self.raft().term;
            self.raw.raft.become_follower(term, raft::INVALID_ID);
        }
        Event::Members(change, members)
    }
}

/// Raft lists its members in no order.
fn sorted(mut state: ConfState) -> ConfState {
    state.voters.sort_unstable();
    state.learners.sort_unstable();
    state
}
