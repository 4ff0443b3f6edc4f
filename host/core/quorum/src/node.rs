//! The machine: what it is told.
//!
//! **Where it sits.** In front of raft's `RawNode`. Every call that may have moved raft ends in `settle`.
//!
//! **What it decides.** When a tick counts, whether something may be proposed, whom a number stands for, and
//! how long until the next election.
//!
//! **Invariants.**
//! 1. Raft draws election timeouts by itself; none of its draws outlives a call. It draws whenever its term or
//!    its role changes, and `settle` puts one of ours in its place whenever they have.
//! 2. Raft is never told to stand for election while something is not on the disk: it would panic when a
//!    quorum of one wins at once, or when it looks for changes of members before a snapshot.

use std::collections::{BTreeMap, VecDeque};

use brooklet_types::BrokerId;
use bytes::Bytes;
use raft::eraftpb::{HardState as RaftHardState, MessageType};
use raft::{Config, ProgressState, Raft, RawNode, SnapshotStatus, StateRole};

use crate::check;
use crate::entry::{Entry, HardState, Index, Mark, Term};
use crate::error::{
    ChangeError, MessageError, NotLeader, ProposeError, SnapshotError, TransferError,
};
use crate::member::{Change, Member, MemberNumber, Members};
use crate::message;
use crate::open::Beginning;
use crate::reads::{Read, Reads, Ticket};
use crate::ready::{Leadership, ReadyNumber};
use crate::settings::Settings;
use crate::storage::{ENTRY_OVERHEAD_BYTES, Memory};

/// Strangers whose addresses are remembered for an answer: members that we have not heard of yet.
const STRANGERS_MAX: usize = 32;
/// How far behind an observer may be to become a voter: as much as one round trip brings.
const BEHIND_MAX: u64 = 1000;

/// One member of the quorum.
pub struct Quorum {
    pub(crate) raw: RawNode<Memory>,
    pub(crate) settings: Settings,
    pub(crate) reads: Reads,
    /// Answers that the next ready brings.
    pub(crate) answered: Vec<Read>,
    /// Term and vote as they were last handed out to be written.
    pub(crate) hard_state: HardState,
    /// The ready whose term or vote is not on the disk.
    pub(crate) unwritten: Option<ReadyNumber>,
    /// The ready whose snapshot is not on the disk, and where it stands.
    pub(crate) installing: Option<(ReadyNumber, Index)>,
    /// The last ready that was handed out, and the last that is on the disk.
    pub(crate) handed_out: ReadyNumber,
    pub(crate) persisted: ReadyNumber,
    /// Who leads, as the caller was told.
    pub(crate) announced: Leadership,
    /// Up to where committed entries were handed out.
    pub(crate) applied: Index,
    /// Ticks since a snapshot went to whom.
    sending: BTreeMap<u64, u32>,
    strangers: VecDeque<Member>,
    /// Term and role after the last call, and the election timeout that goes with them.
    settled: (u64, StateRole, usize),
    entropy: u64,
}

/// Where a proposal stands. It is committed if an entry of this term is, at this index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Proposed {
    /// Its term.
    pub term: Term,
    /// Its index.
    pub index: Index,
}

/// What is kept in memory until [`Quorum::compact`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// How many entries.
    pub entries: usize,
    /// What they cost.
    pub bytes: usize,
}

/// What a leader knows of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replica {
    /// Who.
    pub member: Member,
    /// Whether it votes.
    pub voter: bool,
    /// Up to where it has acknowledged.
    pub acknowledged: Index,
    /// Whether it was heard of since the leader last counted.
    pub active: bool,
}

impl Quorum {
    pub(crate) fn new(settings: Settings, beginning: Beginning) -> Quorum {
        let Beginning { hard_state, mark: Mark { index, term, members }, entries } = beginning;
        let entries: Vec<_> = entries.iter().map(Entry::to_raft).collect();
        let initial = RaftHardState {
            term: hard_state.term.0,
            vote: hard_state.vote.map_or(raft::INVALID_ID, |vote| vote.0),
            commit: hard_state.commit.0,
        };
        let memory = Memory::new(initial, Mark { index, term, members }, &entries);
        let config = Config {
            id: settings.me.number().0,
            election_tick: count(settings.election_ticks),
            heartbeat_tick: count(settings.heartbeat_ticks),
            applied: index.0,
            max_size_per_msg: bytes(settings.append_bytes_max),
            max_inflight_msgs: settings.inflight_max,
            check_quorum: true,
            pre_vote: true,
            // Raft counts without what an entry costs beside its data; see `may_propose`.
            max_uncommitted_size: raft::NO_LIMIT,
            max_committed_size_per_ready: bytes(settings.append_bytes_max),
            ..Config::default()
        };
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let raw = RawNode::new(&config, memory, &logger);
        let mut quorum = Quorum {
            raw: raw.expect("settings and what the disk has are checked"),
            settings,
            reads: Reads::default(),
            answered: Vec::new(),
            hard_state,
            unwritten: None,
            installing: None,
            handed_out: ReadyNumber::default(),
            persisted: ReadyNumber::default(),
            announced: Leadership::default(),
            applied: index,
            sending: BTreeMap::new(),
            strangers: VecDeque::new(),
            settled: (0, StateRole::Follower, 0),
            entropy: settings.entropy,
        };
        quorum.draw();
        quorum.settle();
        quorum
    }

    /// Time has passed.
    pub fn tick(&mut self) {
        if self.raft().state != StateRole::Leader && !self.all_is_written() {
            return;
        }
        self.raw.tick();
        self.resend_snapshots();
        self.settle();
    }

    /// Stands for election now, if we vote and do not lead. A quorum of one wins at once.
    pub fn campaign(&mut self) {
        if self.raft().promotable() && self.all_is_written() {
            self.raw.campaign().expect("raft is told to stand, not asked");
            self.settle();
        }
    }

    /// Takes a message that broker `from` has sent, which is known to be that broker. An error says what is
    /// wrong with it; nothing has changed then.
    pub fn message(&mut self, from: BrokerId, bytes: &[u8]) -> Result<(), MessageError> {
        let (sender, message) = message::open(&self.settings, bytes)?;
        if sender.broker != from {
            return Err(MessageError::WrongSender { sender, by: from });
        }
        check::check(self, sender, &message)?;
        let stand = message.msg_type == i32::from(MessageType::MsgTimeoutNow);
        if stand && !self.all_is_written() {
            // The leader goes on leading when nobody stands.
            return Ok(());
        }
        self.meet(sender);
        self.raw.step(message).map_err(|_| MessageError::UnknownMember { sender })?;
        self.settle();
        Ok(())
    }

    /// Proposes `data`, which is not empty, as an entry. It is decided when it is handed out as committed.
    pub fn propose(&mut self, data: &Bytes) -> Result<Proposed, ProposeError> {
        assert!(!data.is_empty(), "an empty entry is a leader's first");
        self.may_propose()?;
        let limit = self.settings.proposal_bytes_max;
        if data.len() > limit {
            return Err(ProposeError::TooLarge { bytes: data.len(), limit });
        }
        let proposed = self.raw.propose(Vec::new(), data.to_vec());
        proposed.expect("a leader that is not handing over takes what there is room for");
        Ok(self.last_proposed())
    }

    /// Proposes a change of members. It is settled when the voters have written the hard state that comes with
    /// it: before that, whoever starts asks the members of before for their votes. No disk may be given up
    /// until then.
    pub fn change_members(&mut self, change: Change) -> Result<Proposed, ChangeError> {
        self.may_propose()?;
        self.members().check(change)?;
        let member = change.member();
        if self.raft().has_pending_conf() {
            return Err(ChangeError::UnderWay);
        }
        match change {
            Change::Remove(_) if member == self.settings.me => {
                return Err(ChangeError::Leads { member });
            }
            Change::AddVoter(_) => {
                let progress = self.raft().prs().get(member.number().0);
                let behind = self.last().0 - progress.map_or(0, |progress| progress.matched);
                if behind > BEHIND_MAX {
                    return Err(ChangeError::Behind { member, behind });
                }
            }
            Change::AddObserver(_) | Change::Remove(_) => {}
        }
        let proposed = self.raw.propose_conf_change(Vec::new(), change.to_raft());
        proposed.expect("a leader that is not handing over takes what there is room for");
        Ok(self.last_proposed())
    }

    /// Asks for an index that is not older than this question, once we have proved that we lead. The answer
    /// comes with a ready.
    pub fn read_index(&mut self, ticket: Ticket) -> Result<(), ProposeError> {
        self.must_lead()?;
        if !self.reads.ask(ticket) {
            return Err(ProposeError::Full { bytes: self.kept().bytes });
        }
        Ok(())
    }

    /// Begins to hand leadership over to a voter. It may not come to that; a change of leader says that it
    /// has. Until then nothing is proposed, for one election timeout at most.
    pub fn transfer_leadership(&mut self, to: BrokerId) -> Result<(), TransferError> {
        self.must_lead()?;
        let member = self.members().of_broker(to).filter(|it| self.members().is_voter(*it));
        let member = member.ok_or(TransferError::NotVoter { broker: to })?;
        self.raw.transfer_leader(member.number().0);
        self.settle();
        Ok(())
    }

    /// A broker cannot be reached: what is under way to it is lost.
    pub fn unreachable(&mut self, broker: BrokerId) {
        if let Some(member) = self.members().of_broker(broker) {
            let number = member.number().0;
            self.raw.report_unreachable(number);
            self.sending.remove(&number);
            self.raw.report_snapshot(number, SnapshotStatus::Failure);
            self.settle();
        }
    }

    /// Hands over the image at `index`, which is applied, for those who are too far behind: the answer to
    /// `wants_snapshot`.
    pub fn snapshot(&mut self, index: Index, image: &[u8]) -> Result<(), SnapshotError> {
        assert!(index <= self.applied, "an image is of what is applied");
        let limit = self.settings.snapshot_bytes_max;
        if image.len() > limit {
            return Err(SnapshotError::TooLarge { bytes: image.len(), limit });
        }
        if index < self.raw.store().mark() {
            return Err(SnapshotError::TooOld { index });
        }
        let mut data = Vec::new();
        self.raw.store().members_at(index).put(&mut data);
        data.extend_from_slice(image);
        self.raw.mut_store().hold(index, data);
        Ok(())
    }

    /// Forgets entries up to `to`: the caller has a snapshot on the disk that covers them. Who needs them is
    /// sent a snapshot, so a caller leaves some for those who are a little behind.
    pub fn compact(&mut self, to: Index) {
        assert!(to <= self.applied, "what is forgotten was applied");
        if to > self.raw.store().mark() && self.installing.is_none() {
            self.raw.mut_store().compact(to);
        }
    }

    /// Who we are.
    pub fn me(&self) -> Member {
        self.settings.me
    }

    /// The members as far as they are applied here.
    pub fn members(&self) -> &Members {
        self.raw.store().members()
    }

    /// Where a snapshot of the caller's at `index` stands, which is applied and not compacted.
    pub fn mark_at(&self, index: Index) -> Mark {
        let store = self.raw.store();
        let term = raft::Storage::term(store, index.0).expect("not compacted");
        Mark { index, term: Term(term), members: store.members_at(index).clone() }
    }

    /// The latest term that we know.
    pub fn term(&self) -> Term {
        Term(self.raft().term)
    }

    /// Whether we lead, as far as we know. A quorum of one does when its vote is on the disk: before that it
    /// could lead the same term once more after a crash.
    pub fn is_leader(&self) -> bool {
        let raft = self.raft();
        let vote = (Term(raft.term), MemberNumber(raft.vote));
        let written = self.unwritten.is_none()
            && self.hard_state.vote.map(|vote| (self.hard_state.term, vote)) == Some(vote);
        raft.state == StateRole::Leader && written
    }

    /// Who leads, as far as we know.
    pub fn leader(&self) -> Option<Member> {
        let leader = self.by_number(self.raft().leader_id);
        leader.filter(|leader| *leader != self.settings.me || self.is_leader())
    }

    /// The last entry that is known to be committed, whether or not it was handed out.
    pub fn committed(&self) -> Index {
        Index(self.raft().raft_log.committed)
    }

    /// Up to where committed entries were handed out.
    pub fn applied(&self) -> Index {
        self.applied
    }

    /// The last entry of the log.
    pub fn last(&self) -> Index {
        Index(self.raft().raft_log.last_index())
    }

    /// What waits in memory for a compaction.
    pub fn kept(&self) -> Kept {
        let store = self.raw.store();
        let unstable = self.raft().raft_log.unstable_entries().len();
        Kept { entries: store.len() + unstable, bytes: self.bytes_behind(store.mark()) }
    }

    /// What we know of every member; of ourselves only unless we lead.
    pub fn replicas(&self) -> Vec<Replica> {
        let leads = self.is_leader();
        let known = |(member, voter): (Member, bool)| {
            let progress = self.raft().prs().get(member.number().0)?;
            let me = member == self.settings.me;
            let persisted = Index(self.raft().raft_log.persisted);
            (leads || me).then_some(Replica {
                member,
                voter,
                acknowledged: if me { persisted } else { Index(progress.matched) },
                active: me || progress.recent_active,
            })
        };
        self.members().iter().filter_map(known).collect()
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(crate) fn raft(&self) -> &Raft<Memory> {
        &self.raw.raft
    }

    /// The member or stranger of raft's number.
    pub(crate) fn by_number(&self, number: u64) -> Option<Member> {
        let stranger = || self.strangers.iter().find(|it| it.number().0 == number).copied();
        self.members().by_number(MemberNumber(number)).or_else(stranger)
    }

    pub(crate) fn not_leader(&self) -> NotLeader {
        let other = self.leader().filter(|leader| *leader != self.settings.me);
        NotLeader { leader: other.map(|leader| leader.broker) }
    }

    /// Puts what we know of terms, roles and election timeouts right after raft has moved.
    pub(crate) fn settle(&mut self) {
        let (term, role) = (self.raft().term, self.raft().state);
        let (term_before, role_before, _) = self.settled;
        if (term, role) != (term_before, role_before) {
            self.draw();
            if role_before == StateRole::Leader {
                let failed = self.reads.fail(self.not_leader());
                self.answered.extend(failed);
                self.raw.mut_store().release();
                self.sending.clear();
            }
        }
        self.raw.raft.set_randomized_election_timeout(self.settled.2);
    }

    /// Another election timeout, by SplitMix64 from what the caller gave.
    fn draw(&mut self) {
        self.entropy = self.entropy.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.entropy ^ (self.entropy >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let ticks = self.settings.election_ticks;
        let spread = (mixed ^ (mixed >> 31)) % u64::from(ticks);
        let timeout = count(ticks) + usize::try_from(spread).expect("fewer than ticks");
        self.settled = (self.raft().term, self.raft().state, timeout);
    }

    /// Whether nothing that raft has taken waits for the disk.
    fn all_is_written(&self) -> bool {
        let log = &self.raft().raft_log;
        let installed = self.installing.is_none() && log.unstable_snapshot().is_none();
        installed && log.persisted == log.last_index()
    }

    fn must_lead(&self) -> Result<(), NotLeader> {
        if self.is_leader() { Ok(()) } else { Err(self.not_leader()) }
    }

    fn may_propose(&self) -> Result<(), ProposeError> {
        self.must_lead()?;
        if self.raft().lead_transferee.is_some() {
            return Err(ProposeError::Transferring);
        }
        // Followers have to keep what is not committed, whatever they compact. With less than they may keep,
        // nothing ever stands in the way of the entries that bring the commit.
        let bytes = self.bytes_behind(self.committed());
        if bytes > self.settings.uncommitted_bytes_max {
            return Err(ProposeError::Full { bytes });
        }
        let bytes = self.kept().bytes;
        if bytes > self.settings.kept_bytes_max {
            return Err(ProposeError::Full { bytes });
        }
        Ok(())
    }

    /// What the entries behind `index` cost, of which none is before the mark.
    fn bytes_behind(&self, index: Index) -> usize {
        let unstable = self.raft().raft_log.unstable();
        let overhead = unstable.entries.len() * ENTRY_OVERHEAD_BYTES;
        self.raw.store().bytes_behind(index) + unstable.entries_size + overhead
    }

    fn last_proposed(&self) -> Proposed {
        Proposed { term: self.term(), index: self.last() }
    }

    /// Remembers who a stranger is, to be able to answer it.
    fn meet(&mut self, sender: Member) {
        if self.by_number(sender.number().0).is_none() {
            if self.strangers.len() == STRANGERS_MAX {
                self.strangers.pop_front();
            }
            self.strangers.push_back(sender);
        }
    }

    /// Raft waits for ever for the acknowledgement of a snapshot; we do not.
    fn resend_snapshots(&mut self) {
        let progress = self.raw.raft.prs().iter();
        let waiting = progress.filter(|(_, it)| it.state == ProgressState::Snapshot);
        let waiting: Vec<u64> = waiting.map(|(number, _)| *number).collect();
        self.sending.retain(|number, _| waiting.contains(number));
        for number in waiting {
            let ticks = self.sending.entry(number).or_default();
            *ticks += 1;
            if *ticks >= self.settings.snapshot_ticks {
                self.sending.remove(&number);
                self.raw.report_snapshot(number, SnapshotStatus::Failure);
            }
        }
    }
}

fn count(ticks: u32) -> usize {
    usize::try_from(ticks).expect("a usize has 32 bits at least")
}

fn bytes(count: usize) -> u64 {
    u64::try_from(count).expect("a u64 holds any count of bytes")
}

#[cfg(test)]
mod tests;
