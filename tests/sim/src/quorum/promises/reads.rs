//! Source: Ongaro's thesis, 6.4 (linearizable reads): an answer is no older than its question.

use std::collections::BTreeMap;

use brooklet_quorum::Index;

/// Questions that wait.
#[derive(Debug, Default)]
pub(crate) struct Reads {
    asked: u64,
    /// By ticket: who was asked, and what anybody had handed out before.
    waiting: BTreeMap<u64, (usize, Index)>,
    answered: usize,
}

impl Reads {
    /// A host is asked; the ticket.
    pub(crate) fn ask(&mut self, host: usize, committed: Index) -> u64 {
        self.asked += 1;
        self.waiting.insert(self.asked, (host, committed));
        self.asked
    }

    /// The question was refused.
    pub(crate) fn refused(&mut self, ticket: u64) {
        self.waiting.remove(&ticket);
    }

    /// The answer; none when the host does not lead any more.
    pub(crate) fn answer(&mut self, ticket: u64, index: Option<Index>) -> Result<(), String> {
        let Some((host, committed)) = self.waiting.remove(&ticket) else {
            return Err(format!("read {ticket} is answered twice"));
        };
        match index {
            Some(index) if index < committed => Err(format!(
                "host {host} answers read {ticket} with {index:?}, and {committed:?} was there"
            )),
            Some(_) => {
                self.answered += 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// The host has crashed: nobody waits for it any more.
    pub(crate) fn crashed(&mut self, host: usize) {
        self.waiting.retain(|_, (asked, _)| *asked != host);
    }

    /// How many wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// How many were answered with an index.
    pub(crate) fn answered(&self) -> usize {
        self.answered
    }
}
