//! A fetch session (KIP-227): what a broker remembers of our fetches, so that a request names only what changed.
//!
//! **Decides** which partitions a request names and which it takes back, and what an answer or a failure means for the next
//! one: as Kafka's Java client. A request that names everything asks for a session, and goes on asking where a broker has no room
//! for one. Whatever leaves it unknown what the broker remembers is followed by such a request, which ends the old session.
//! **Never** sends anything, and knows no record.
//!
//! **Invariants.** One request is under way at most, so a session's epochs are in order. [`Session::position`] is what the broker
//! was told last: an answer is about that, whatever has been sought meanwhile.
//!
//! Within a session it is the broker that serves partitions in turn; a request for everything begins with another partition each
//! time. A broker leaves out partitions of which there is nothing to tell: that says nothing of them.
//!
//! Source: Kafka's `FetchSessionHandler`.

use std::collections::BTreeSet;

use brooklet_types::ErrorCode;

use super::fetcher::Positions;
use crate::error::Code;
use crate::offsets::Partition;

/// The number of no session.
const NO_SESSION: i32 = 0;
/// Asks for a session, and ends the one that is named.
const INITIAL_EPOCH: i32 = 0;
/// Ends the session that is named.
pub(crate) const FINAL_EPOCH: i32 = -1;

/// One session with one broker, or the wish for one.
#[derive(Debug, Default)]
pub(crate) struct Session {
    id: i32,
    /// The epoch of the next request.
    epoch: i32,
    /// What the broker was told: of each partition the offset, and the epoch of its leader.
    told: Positions,
    /// How many requests have named everything.
    turns: usize,
    under_way: bool,
}

/// What the next request says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ask {
    pub(crate) id: i32,
    pub(crate) epoch: i32,
    /// What is named, in this order, each with its offset and the epoch of its leader.
    pub(crate) named: Vec<(Partition, (i64, i32))>,
    /// What is not wanted any more.
    pub(crate) forgotten: Vec<Partition>,
}

impl Session {
    /// The next request, for `wanted`. One that is still under way counts as lost.
    pub(crate) fn ask(&mut self, wanted: &Positions) -> Ask {
        if self.under_way {
            self.lost();
        }
        self.under_way = true;
        let (id, epoch) = (self.id, self.epoch);
        if epoch == INITIAL_EPOCH {
            let first = self.turns % wanted.len().max(1);
            self.turns = self.turns.wrapping_add(1);
            self.told = wanted.clone();
            let in_turn = wanted.iter().cycle().skip(first).take(wanted.len());
            let named = in_turn.map(|(partition, at)| (partition.clone(), *at)).collect();
            return Ask { id, epoch, named, forgotten: Vec::new() };
        }
        let changed =
            wanted.iter().filter(|(partition, at)| self.told.get(*partition) != Some(*at));
        let named = changed.map(|(partition, at)| (partition.clone(), *at)).collect();
        let gone = self.told.keys().filter(|partition| !wanted.contains_key(*partition));
        let forgotten = gone.cloned().collect();
        self.told = wanted.clone();
        Ask { id, epoch, named, forgotten }
    }

    /// From where on the broker was asked for a partition, if it was.
    pub(crate) fn position(&self, partition: &Partition) -> Option<i64> {
        self.told.get(partition).map(|(offset, _)| *offset)
    }

    /// The request was answered, by `id`, about these partitions.
    pub(crate) fn answered(&mut self, id: i32, about: &BTreeSet<Partition>) {
        assert!(self.under_way, "an answer to nothing");
        self.under_way = false;
        let was_full = self.epoch == INITIAL_EPOCH;
        let knows_others = about.iter().any(|partition| !self.told.contains_key(partition));
        // Who delays us answers a request for everything with nothing.
        let leaves_out = was_full && about.len() < self.told.len();
        if id == NO_SESSION || knows_others || leaves_out {
            self.id = id;
            self.epoch = INITIAL_EPOCH;
        } else if !was_full && id != self.id {
            // Of either session we do not know what it is about; ours ends with the next request.
            self.epoch = INITIAL_EPOCH;
        } else {
            self.id = id;
            self.epoch = self.epoch.checked_add(1).unwrap_or(1);
        }
    }

    /// The request was refused as a whole. Whether that is mended by naming everything, in the next one.
    pub(crate) fn refused(&mut self, code: Code) -> bool {
        let was_full = self.epoch == INITIAL_EPOCH;
        let is_gone = code == ErrorCode::FetchSessionIdNotFound;
        self.lost();
        if is_gone {
            self.id = NO_SESSION;
        }
        let of_sessions = is_gone
            || code == ErrorCode::InvalidFetchSessionEpoch
            || code == ErrorCode::FetchSessionTopicIdError;
        of_sessions && !was_full
    }

    /// Nobody knows whether the broker has heard the request, or will not hear its answer.
    pub(crate) fn lost(&mut self) {
        self.under_way = false;
        self.epoch = INITIAL_EPOCH;
    }

    /// The session that is left behind when nothing is asked any more, if there is one.
    pub(crate) fn left(&self) -> Option<i32> {
        (self.id != NO_SESSION).then_some(self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(index: u32) -> Partition {
        ("t".to_owned(), index)
    }

    /// Positions by their partitions' numbers.
    fn at(positions: &[(u32, i64)]) -> Positions {
        positions.iter().map(|(index, offset)| (partition(*index), (*offset, 3))).collect()
    }

    fn about(indexes: &[u32]) -> BTreeSet<Partition> {
        indexes.iter().copied().map(partition).collect()
    }

    /// A request: its session and epoch, whom it names from where on, and whom it forgets.
    type Said = (i32, i32, Vec<(u32, i64)>, Vec<u32>);

    fn said(ask: Ask) -> Said {
        let named = ask.named.into_iter().map(|((_, index), (offset, _))| (index, offset));
        let forgotten = ask.forgotten.into_iter().map(|(_, index)| index);
        (ask.id, ask.epoch, named.collect(), forgotten.collect())
    }

    /// Session 7 on partitions 0, 1 and 2, each from 0 on.
    fn opened() -> Session {
        let mut session = Session::default();
        let all = at(&[(0, 0), (1, 0), (2, 0)]);
        assert_eq!(said(session.ask(&all)), (0, 0, vec![(0, 0), (1, 0), (2, 0)], vec![]));
        session.answered(7, &about(&[0, 1, 2]));
        session
    }

    #[test]
    fn in_a_session_only_what_changed_is_said() {
        let mut session = opened();
        /// What is wanted, what the answer is about, and what the request said.
        type Step = (&'static [(u32, i64)], &'static [u32], Said);
        let steps: [Step; 5] = [
            (&[(0, 0), (1, 5), (2, 0)], &[1], (7, 1, vec![(1, 5)], vec![])),
            (&[(0, 0), (1, 5), (2, 0)], &[], (7, 2, vec![], vec![])),
            (&[(0, 9), (2, 0)], &[0], (7, 3, vec![(0, 9)], vec![1])),
            (&[(1, 5), (2, 0), (4, 1)], &[4], (7, 4, vec![(1, 5), (4, 1)], vec![0])),
            (&[], &[], (7, 5, vec![], vec![1, 2, 4])),
        ];
        for (wanted, told, expected) in steps {
            assert_eq!(said(session.ask(&at(wanted))), expected);
            session.answered(7, &about(told));
        }
    }

    #[test]
    fn an_answer_is_about_what_was_asked_and_not_what_is_wanted_now() {
        let mut session = opened();
        session.ask(&at(&[(0, 10), (1, 0)]));
        let positions = [0, 1, 2].map(|index| session.position(&partition(index)));
        assert_eq!(positions, [Some(10), Some(0), None]);
    }

    #[test]
    fn another_epoch_of_the_leader_is_said_too() {
        let mut session = opened();
        let mut wanted = at(&[(0, 0), (1, 0), (2, 0)]);
        wanted.insert(partition(2), (0, 4));
        assert_eq!(session.ask(&wanted).named, [(partition(2), (0, 4))]);
    }

    /// What comes of a request, in a table.
    enum Come {
        Answer(i32, &'static [u32]),
        Refusal(ErrorCode),
        Loss,
    }

    /// What follows the second request of session 7.
    #[test]
    fn whatever_is_not_as_it_should_be_is_followed_by_a_request_for_everything() {
        use Come::{Answer, Loss, Refusal};
        let table = [
            ("as it should be", Answer(7, &[0]), (7, 2)),
            ("nothing new", Answer(7, &[]), (7, 2)),
            ("the broker ends it", Answer(0, &[0]), (0, 0)),
            ("another session", Answer(8, &[0]), (7, 0)),
            ("a partition nobody asked for", Answer(7, &[0, 5]), (7, 0)),
            ("the broker has forgotten it", Refusal(ErrorCode::FetchSessionIdNotFound), (0, 0)),
            ("another epoch is due", Refusal(ErrorCode::InvalidFetchSessionEpoch), (7, 0)),
            ("by name or by id", Refusal(ErrorCode::FetchSessionTopicIdError), (7, 0)),
            ("another error", Refusal(ErrorCode::KafkaStorageError), (7, 0)),
            ("no answer", Loss, (7, 0)),
        ];
        for (name, come, expected) in table {
            let mut session = opened();
            let wanted = at(&[(0, 1), (1, 0), (2, 0)]);
            session.ask(&wanted);
            match come {
                Answer(id, partitions) => session.answered(id, &about(partitions)),
                Refusal(code) => {
                    let mended = session.refused(Code::from(code));
                    assert_eq!(mended, code != ErrorCode::KafkaStorageError, "{name}");
                }
                Loss => session.lost(),
            }
            let ask = session.ask(&wanted);
            assert_eq!((ask.id, ask.epoch), expected, "{name}");
            let named = if ask.epoch == INITIAL_EPOCH { 3 } else { 0 };
            assert_eq!(ask.named.len(), named, "{name}");
            assert!(ask.forgotten.is_empty(), "{name}");
        }
    }

    #[test]
    fn a_request_nobody_waited_for_counts_as_lost() {
        let mut session = opened();
        session.ask(&at(&[(0, 1)]));
        assert_eq!(said(session.ask(&at(&[(0, 1)]))), (7, 0, vec![(0, 1)], vec![]));
    }

    /// A broker without room for sessions says 0 each time; one that delays us says nothing at all.
    #[test]
    fn without_a_session_everybody_gets_to_be_first() {
        for answered in [&[0, 1, 2][..], &[]] {
            let mut session = Session::default();
            let all = at(&[(0, 0), (1, 0), (2, 0)]);
            for first in [0, 1, 2, 0] {
                let (id, epoch, named, _) = said(session.ask(&all));
                assert_eq!((id, epoch, named.len(), named[0].0), (0, 0, 3, first));
                session.answered(0, &about(answered));
            }
        }
    }

    #[test]
    fn a_session_that_was_made_while_the_client_is_delayed_is_given_back() {
        let mut session = Session::default();
        session.ask(&at(&[(0, 0)]));
        session.answered(7, &about(&[]));
        assert_eq!(said(session.ask(&at(&[(0, 0)]))), (7, 0, vec![(0, 0)], vec![]));
    }

    #[test]
    fn asking_for_everything_helps_once_and_not_again() {
        for code in [ErrorCode::FetchSessionIdNotFound, ErrorCode::InvalidFetchSessionEpoch] {
            let mut session = opened();
            let all = at(&[(0, 0)]);
            session.ask(&all);
            assert!(session.refused(Code::from(code)));
            session.ask(&all);
            assert!(!session.refused(Code::from(code)), "{code:?}");
        }
    }

    #[test]
    fn epochs_begin_again_behind_the_last() {
        let mut session = opened();
        session.epoch = i32::MAX;
        session.ask(&at(&[(0, 0)]));
        session.answered(7, &about(&[]));
        assert_eq!(session.ask(&at(&[(0, 0)])).epoch, 1);
    }

    #[test]
    fn only_a_session_that_there_is_is_left_behind() {
        assert_eq!(Session::default().left(), None);
        let mut session = opened();
        assert_eq!(session.left(), Some(7));
        session.ask(&at(&[]));
        session.refused(Code::from(ErrorCode::FetchSessionIdNotFound));
        assert_eq!(session.left(), None);
    }
}
