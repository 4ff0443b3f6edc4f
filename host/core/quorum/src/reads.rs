//! Reads that only a leader may answer, and who has to prove that it is one.
//!
//! **What it decides.** Which tickets share one round of heartbeats. A round proves leadership for what was
//! asked before it began, so tickets that come while one is under way wait for the next.
//!
//! **Invariant.** Each ticket is answered once: with an index, or that we do not lead any more.

use crate::entry::Index;
use crate::error::NotLeader;

/// The most tickets that wait; more are refused.
const TICKETS_MAX: usize = 4096;

/// Whatever the caller knows its question by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// The answer to a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Read {
    /// Whose.
    pub ticket: Ticket,
    /// When everything up to here is applied, what is read is no older than the question.
    pub index: Result<Index, NotLeader>,
}

/// The tickets that are not answered.
#[derive(Debug, Default)]
pub(crate) struct Reads {
    waiting: Vec<Ticket>,
    /// The round under way and whom it answers.
    round: Option<(u64, Vec<Ticket>)>,
    rounds: u64,
}

impl Reads {
    /// Takes a ticket; false when too many wait.
    #[must_use]
    pub(crate) fn ask(&mut self, ticket: Ticket) -> bool {
        let under_way = self.round.as_ref().map_or(0, |(_, tickets)| tickets.len());
        let room = self.waiting.len() + under_way < TICKETS_MAX;
        if room {
            self.waiting.push(ticket);
        }
        room
    }

    /// Begins a round if somebody waits and none is under way.
    pub(crate) fn begin(&mut self) -> Option<u64> {
        if self.round.is_some() || self.waiting.is_empty() {
            return None;
        }
        self.rounds += 1;
        self.round = Some((self.rounds, std::mem::take(&mut self.waiting)));
        Some(self.rounds)
    }

    /// Round `round` has proved that `index` was committed and we led.
    pub(crate) fn proved(&mut self, round: u64, index: Index) -> Vec<Read> {
        let Some((_, tickets)) = self.round.take_if(|(under_way, _)| *under_way == round) else {
            return Vec::new();
        };
        tickets.into_iter().map(|ticket| Read { ticket, index: Ok(index) }).collect()
    }

    /// We do not lead any more.
    pub(crate) fn fail(&mut self, error: NotLeader) -> Vec<Read> {
        let under_way = self.round.take().map(|(_, tickets)| tickets).unwrap_or_default();
        let tickets = under_way.into_iter().chain(self.waiting.drain(..));
        tickets.map(|ticket| Read { ticket, index: Err(error) }).collect()
    }
}
