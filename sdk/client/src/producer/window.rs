//! One partition's batches between the first attempt and the last word: a machine without network.
//!
//! **What it decides.** Which batch goes next and with which sequence number, what an answer means
//! for it and for those sent after it, and when numbering must start anew.
//!
//! Batches are numbered when they first leave and keep their numbers, so that the broker recognises
//! repetitions. After any failure nothing new leaves until every answer is in ("draining"); then the
//! failed ones go again in their order, one at a time until one succeeds. When a numbered batch is
//! given up, the numbers after it could never fit, so the rest starts at 0 in a new epoch. The first batch of an identity
//! goes alone until it is stored.
//!
//! **Invariants.** Batches leave in the order they came. Those in flight are fewer than the limit,
//! numbered without gaps, and on one route. No number is used for two different batches of one epoch.

use std::collections::VecDeque;

use brooklet_types::{BrokerId, ErrorCode, ProducerEpoch, ProducerId};
use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::Instant;

use super::Outcome;
use crate::error::Code;

/// Who the producer is: a number from the broker, and an incarnation of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) id: ProducerId,
    pub(crate) epoch: ProducerEpoch,
}

/// A broker, and the part of our lane on which it is told of a partition: one connection at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Route {
    pub(crate) broker: BrokerId,
    pub(crate) part: u32,
}

/// A batch that has been closed.
pub(crate) struct Batch {
    /// Its place among all batches of this producer.
    pub(crate) number: u64,
    pub(crate) bytes: Bytes,
    pub(crate) records: u32,
    pub(crate) since: Instant,
    pub(crate) outcome: watch::Sender<Outcome>,
    pub(crate) reserved: usize,
    /// Identity and first sequence it left with.
    pub(crate) numbered: Option<(Identity, i32)>,
    /// What went wrong last.
    pub(crate) last_error: Option<String>,
}

/// What became of one attempt.
pub(crate) enum Verdict {
    /// It is stored, or was already.
    Stored,
    /// It is not, and sending it again may help; `stale` if the leader may be another one.
    Again,
    /// It is not and will not be.
    Refused,
    /// The broker does not accept its number.
    OutOfSequence,
}

#[derive(Default)]
pub(crate) struct Window {
    /// Sent, not answered; in order.
    in_flight: VecDeque<Batch>,
    /// To be sent again, in order; they come before anything new.
    again: VecDeque<Batch>,
    /// The way that the last one took.
    route: Option<Route>,
    identity: Option<Identity>,
    next_sequence: i32,
    /// Something failed; nothing leaves until every answer is in.
    draining: bool,
    /// Something failed and nothing has succeeded since: one at a time.
    careful: bool,
    /// The broker has stored something with our identity, so it knows which number comes next. Of a producer that it has never
    /// heard of it takes any number for the first: a second batch would be stored although the first was lost.
    known: bool,
    /// A number was lost: start anew in this or a later epoch once all answers are in.
    renumber: bool,
    /// Not before this.
    pub(crate) not_before: Option<Instant>,
}

impl Verdict {
    pub(crate) fn of(code: Code) -> Verdict {
        match code.known() {
            Some(ErrorCode::None | ErrorCode::DuplicateSequenceNumber) => Verdict::Stored,
            Some(
                ErrorCode::OutOfOrderSequenceNumber
                | ErrorCode::UnknownProducerId
                | ErrorCode::InvalidProducerEpoch,
            ) => Verdict::OutOfSequence,
            Some(code) if code.is_retriable() => Verdict::Again,
            Some(_) | None => Verdict::Refused,
        }
    }
}

impl Window {
    /// Whether another batch may leave now.
    pub(crate) fn may_send(&self, limit: usize, now: Instant) -> bool {
        let numbered = self.in_flight.front().is_some_and(|batch| batch.numbered.is_some());
        let limit = if self.careful || (numbered && !self.known) { 1 } else { limit };
        let early = self.not_before.is_some_and(|time| now < time);
        !self.draining && !early && self.in_flight.len() < limit
    }

    /// Whether it may take this route now. Where it is another one than that of batches in flight, their answers come
    /// first: nothing on the new route is to overtake them.
    pub(crate) fn may_take(&self, route: Route) -> bool {
        self.in_flight.is_empty() || self.route == Some(route)
    }

    /// The batch to be repeated next, if any.
    pub(crate) fn next_again(&mut self) -> Option<Batch> {
        self.again.pop_front()
    }

    /// When there is something to repeat, and when it may leave.
    pub(crate) fn repeats_at(&self) -> Option<Instant> {
        let oldest = self.again.front()?;
        Some(self.not_before.unwrap_or(oldest.since))
    }

    /// Puts back a batch that could not leave after all.
    pub(crate) fn put_back(&mut self, batch: Batch) {
        self.again.push_front(batch);
    }

    /// Gives `batch` its number, unless it has one, and counts it as sent. `current` is none for a
    /// producer without idempotence.
    pub(crate) fn send(
        &mut self,
        mut batch: Batch,
        current: Option<Identity>,
        route: Route,
    ) -> &Batch {
        assert!(self.may_take(route), "a batch would overtake those in flight");
        self.route = Some(route);
        if let (None, Some(current)) = (batch.numbered, current) {
            let identity = *self.identity.get_or_insert(current);
            batch.numbered = Some((identity, self.next_sequence));
            self.next_sequence = advance(self.next_sequence, batch.records);
        }
        self.in_flight.push_back(batch);
        self.in_flight.back().expect("just pushed")
    }

    /// Takes the answer for batch `number`. Returns the batch if that was the last word on it.
    pub(crate) fn answered(&mut self, number: u64, verdict: &Verdict) -> Option<Batch> {
        let at = self.in_flight.iter().position(|batch| batch.number == number)?;
        let batch = self.in_flight.remove(at).expect("found there");
        let has_predecessor = at > 0 || self.again.iter().any(|other| other.number < number);
        let settled = match verdict {
            Verdict::Stored => {
                self.careful = false;
                self.known |= batch.numbered.is_some();
                Some(batch)
            }
            Verdict::Refused => {
                // What was sent after it cannot fit any more.
                self.renumber |= batch.numbered.is_some();
                self.draining |= batch.numbered.is_some();
                Some(batch)
            }
            Verdict::OutOfSequence if batch.numbered.is_none() => Some(batch),
            Verdict::OutOfSequence | Verdict::Again => {
                // Behind a failed batch this is what must happen. At the front it means that the
                // broker has forgotten us.
                let forgotten = matches!(verdict, Verdict::OutOfSequence) && !has_predecessor;
                self.renumber |= forgotten;
                self.draining = true;
                self.careful = true;
                let place = self.again.partition_point(|other| other.number < number);
                self.again.insert(place, batch);
                None
            }
        };
        self.settle();
        settled
    }

    /// Whether a new epoch is needed before anything leaves, and which one is spent.
    pub(crate) fn spent_identity(&self) -> Option<Identity> {
        if self.renumber && self.in_flight.is_empty() { self.identity } else { None }
    }

    /// Starts numbering anew with the next identity.
    pub(crate) fn start_anew(&mut self) {
        assert!(self.in_flight.is_empty(), "numbers in flight cannot change");
        self.renumber = false;
        self.identity = None;
        self.known = false;
        self.next_sequence = 0;
        self.again.iter_mut().for_each(|batch| batch.numbered = None);
    }

    /// Takes out what waits to be repeated and is older than `limit` allows.
    pub(crate) fn expired(&mut self, before: Instant) -> Vec<Batch> {
        let mut expired = Vec::new();
        while self.again.front().is_some_and(|batch| batch.since < before) {
            let batch = self.again.pop_front().expect("looked at");
            self.renumber |= batch.numbered.is_some();
            expired.push(batch);
        }
        expired
    }

    /// Records why something of this partition failed last.
    pub(crate) fn note_error(&mut self, number: u64, error: &str) {
        if let Some(batch) = self.in_flight.iter_mut().find(|batch| batch.number == number) {
            batch.last_error = Some(error.to_owned());
        }
    }

    fn settle(&mut self) {
        if self.in_flight.is_empty() {
            self.draining = false;
        }
    }
}

/// Sequence numbers wrap from 2^31 - 1 to 0.
fn advance(sequence: i32, records: u32) -> i32 {
    let next = (u64::from(sequence.cast_unsigned()) + u64::from(records)) % (1 << 31);
    i32::try_from(next).expect("below 2^31")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: Identity = Identity { id: ProducerId(7), epoch: ProducerEpoch(0) };
    const NEXT: Identity = Identity { id: ProducerId(7), epoch: ProducerEpoch(1) };

    const ROUTE: Route = Route { broker: BrokerId(1), part: 3 };

    fn batch(number: u64, records: u32) -> Batch {
        Batch {
            number,
            bytes: Bytes::new(),
            records,
            since: Instant::now(),
            outcome: watch::Sender::new(None),
            reserved: 0,
            numbered: None,
            last_error: None,
        }
    }

    fn sequence(window: &mut Window, batch: Batch, identity: Identity) -> i32 {
        window.send(batch, Some(identity), ROUTE).numbered.unwrap().1
    }

    #[test]
    fn sequences_follow_each_other_and_wrap() {
        assert_eq!(advance(0, 10), 10);
        assert_eq!(advance(i32::MAX, 1), 0);
        assert_eq!(advance(i32::MAX - 1, 3), 1);
    }

    #[test]
    fn nothing_follows_the_first_number_until_it_is_stored() {
        let mut window = Window::default();
        sequence(&mut window, batch(0, 5), ME);
        assert!(!window.may_send(5, Instant::now()), "the broker would take 5 for the first");
        assert!(window.answered(0, &Verdict::Again).is_none());
        let again = window.next_again().unwrap();
        assert_eq!(sequence(&mut window, again, ME), 0);
        assert!(window.answered(0, &Verdict::Stored).is_some());
        sequence(&mut window, batch(1, 1), ME);
        assert!(window.may_send(5, Instant::now()), "it is known");
        assert!(window.answered(1, &Verdict::Refused).is_some());
        window.start_anew();
        sequence(&mut window, batch(2, 1), NEXT);
        assert!(!window.may_send(5, Instant::now()), "the new identity is not");
    }

    #[test]
    fn without_numbers_as_many_leave_as_may() {
        let mut window = Window::default();
        window.send(batch(0, 1), None, ROUTE);
        assert!(window.may_send(5, Instant::now()));
    }

    #[test]
    fn after_a_lost_answer_everything_goes_again_in_order_with_its_numbers() {
        let mut window = Window::default();
        for number in 0..3 {
            sequence(&mut window, batch(number, 10), ME);
        }
        assert!(window.answered(0, &Verdict::Again).is_none());
        assert!(!window.may_send(5, Instant::now()), "answers are missing");
        // The broker cannot accept 10 and 20 before 0.
        assert!(window.answered(1, &Verdict::OutOfSequence).is_none());
        assert!(window.answered(2, &Verdict::OutOfSequence).is_none());
        assert_eq!(window.spent_identity(), None, "nothing was lost");
        let first = window.next_again().unwrap();
        assert_eq!(sequence(&mut window, first, ME), 0);
        assert!(!window.may_send(5, Instant::now()), "one at a time until one succeeds");
        assert!(window.answered(0, &Verdict::Stored).is_some());
        for (number, expected) in [(1, 10), (2, 20)] {
            let next = window.next_again().unwrap();
            assert_eq!(next.number, number);
            assert_eq!(sequence(&mut window, next, ME), expected);
        }
        assert_eq!(sequence(&mut window, batch(3, 1), ME), 30);
    }

    #[test]
    fn another_route_is_taken_when_all_that_went_the_old_one_has_been_answered() {
        let others =
            [Route { broker: BrokerId(2), ..ROUTE }, Route { part: ROUTE.part + 1, ..ROUTE }];
        for other in others {
            let mut window = Window::default();
            sequence(&mut window, batch(0, 1), ME);
            sequence(&mut window, batch(1, 1), ME);
            assert!(window.may_take(ROUTE) && !window.may_take(other));
            assert!(window.answered(0, &Verdict::Again).is_none());
            assert!(!window.may_take(other), "an answer is missing");
            assert!(window.answered(1, &Verdict::OutOfSequence).is_none());
            assert!(window.may_take(other));
            let again = window.next_again().unwrap();
            assert_eq!(window.send(again, Some(ME), other).numbered, Some((ME, 0)));
            assert!(window.may_take(other) && !window.may_take(ROUTE));
        }
    }

    #[test]
    fn a_refused_batch_starts_a_new_epoch_once_all_answers_are_in() {
        let mut window = Window::default();
        sequence(&mut window, batch(0, 1), ME);
        sequence(&mut window, batch(1, 1), ME);
        assert!(window.answered(0, &Verdict::Refused).is_some());
        assert_eq!(window.spent_identity(), None, "an answer is missing");
        assert!(window.answered(1, &Verdict::OutOfSequence).is_none());
        assert_eq!(window.spent_identity(), Some(ME));
        window.start_anew();
        let again = window.next_again().unwrap();
        assert_eq!(window.send(again, Some(NEXT), ROUTE).numbered, Some((NEXT, 0)));
    }

    #[test]
    fn a_broker_that_forgot_the_producer_gets_a_new_epoch() {
        let mut window = Window::default();
        sequence(&mut window, batch(0, 1), ME);
        assert!(window.answered(0, &Verdict::Stored).is_some());
        sequence(&mut window, batch(1, 1), ME);
        assert!(window.answered(1, &Verdict::OutOfSequence).is_none());
        assert_eq!(window.spent_identity(), Some(ME));
    }
}
