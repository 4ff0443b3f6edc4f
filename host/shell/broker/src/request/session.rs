//! Fetch sessions (KIP-227): what a client asks for again and again is remembered, so that its
//! requests and our responses name only what changed.
//!
//! **Decides** which partitions a fetch is about, and which of their results are worth telling.
//! **Never** reads a log, a clock or the wire: it is a table with rules.
//!
//! **Invariants.** A session is used by one fetch at a time: its epoch names the next one. The cache
//! has at most [`SESSIONS_MAX`] sessions of at most [`SESSION_PARTITIONS_MAX`] partitions; whoever
//! finds no room is served without a session, which the protocol allows at any time.
//!
//! Source: Kafka's `FetchManager`, `FetchSession`, `FetchContext`.

use std::collections::BTreeMap;
use std::time::Duration;

use brooklet_types::{ErrorCode, Instant};
use brooklet_wire::message::StrBytes;

/// Kafka's `max.incremental.fetch.session.cache.slots`.
const SESSIONS_MAX: usize = 1000;
/// A session that was not used for so long may be taken by another. Kafka's value.
const EVICTABLE_AFTER: Duration = Duration::from_secs(120);
/// Enough for any consumer; with more, a client is served without a session.
const SESSION_PARTITIONS_MAX: usize = 10_000;

/// The epoch that asks for no session, or ends one.
const FINAL_EPOCH: i32 = -1;
/// The epoch that asks for a new session.
const INITIAL_EPOCH: i32 = 0;

/// How a request names a topic: by id from version 13 on, by name before.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TopicKey {
    Name(StrBytesKey),
    Id([u8; 16]),
}

/// A name that can be ordered.
#[derive(Clone, Debug)]
pub(crate) struct StrBytesKey(pub(crate) StrBytes);

impl PartialEq for StrBytesKey {
    fn eq(&self, other: &StrBytesKey) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for StrBytesKey {}

impl PartialOrd for StrBytesKey {
    fn partial_cmp(&self, other: &StrBytesKey) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for StrBytesKey {
    fn cmp(&self, other: &StrBytesKey) -> std::cmp::Ordering {
        self.0.as_str().cmp(other.0.as_str())
    }
}

/// One partition as the client names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) topic: TopicKey,
    pub(crate) partition: i32,
}

/// What a client wants of one partition, in the wire's numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) key: Key,
    pub(crate) offset: i64,
    pub(crate) max_bytes: i32,
    pub(crate) current_leader_epoch: i32,
    pub(crate) last_fetched_epoch: i32,
}

/// The part of a Fetch request that concerns its session.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) session: i32,
    pub(crate) epoch: i32,
    pub(crate) names_by_id: bool,
    pub(crate) wanted: Vec<Wanted>,
    pub(crate) forgotten: Vec<Key>,
}

/// What a fetch is about.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Begun {
    /// What the response says; 0 for none.
    pub(crate) session: i32,
    /// Whether only news are told. Otherwise every partition is in the response.
    pub(crate) incremental: bool,
    /// What to read, in the order of service.
    pub(crate) partitions: Vec<Wanted>,
}

/// What was found of one partition, as far as it decides whether to tell.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) key: Key,
    pub(crate) error: bool,
    pub(crate) high_watermark: i64,
    pub(crate) log_start: i64,
    /// Records, a diverging epoch, or somebody else to ask.
    pub(crate) has_news: bool,
}

/// All sessions of this broker.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    by_id: BTreeMap<i32, Session>,
}

#[derive(Debug)]
struct Session {
    names_by_id: bool,
    /// The epoch that the next fetch must carry.
    next_epoch: i32,
    used: Instant,
    /// By turn: a partition that had records goes to the end, so that all are served in turn.
    partitions: BTreeMap<u64, Cached>,
    turns: BTreeMap<Key, u64>,
    next_turn: u64,
}

#[derive(Debug)]
struct Cached {
    wanted: Wanted,
    /// What the client knows; -1 before it knows anything.
    high_watermark: i64,
    log_start: i64,
}

impl Sessions {
    /// Finds out what a fetch is about. `new_id` is random and names the session, if one is made.
    pub(crate) fn begin(
        &mut self,
        now: Instant,
        asked: Asked,
        new_id: i32,
    ) -> Result<Begun, ErrorCode> {
        match asked.epoch {
            FINAL_EPOCH | INITIAL_EPOCH => {
                if asked.session != 0 {
                    self.by_id.remove(&asked.session);
                }
                let session =
                    if asked.epoch == FINAL_EPOCH { 0 } else { self.create(now, &asked, new_id) };
                Ok(Begun { session, incremental: false, partitions: asked.wanted })
            }
            _ => self.resume(now, asked),
        }
    }

    /// Notes what a fetch found and says of each result whether to tell the client, in order.
    pub(crate) fn finish(&mut self, begun: &Begun, found: &[Found]) -> Vec<bool> {
        let Some(session) = self.by_id.get_mut(&begun.session) else {
            // Served without one, or the session was taken in the meantime: tell everything.
            return vec![true; found.len()];
        };
        let news = found.iter().map(|found| session.note(found));
        let tell: Vec<bool> = news.collect();
        if begun.incremental { tell } else { vec![true; found.len()] }
    }

    /// Notes that a fetch is answered with nothing, and says with which session: whoever has asked for everything does so
    /// again, and for another session, so that one just made would be left over.
    pub(crate) fn put_off(&mut self, begun: &Begun) -> i32 {
        if begun.incremental {
            return begun.session;
        }
        self.by_id.remove(&begun.session);
        0
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.by_id.len()
    }

    /// Makes a session; 0 where there is no room. One without partitions may get some later.
    fn create(&mut self, now: Instant, asked: &Asked, new_id: i32) -> i32 {
        let too_many = asked.wanted.len() > SESSION_PARTITIONS_MAX;
        if too_many || !self.make_room(now) {
            return 0;
        }
        // Zero and below name no session.
        let mut id = (new_id & i32::MAX).max(1);
        while self.by_id.contains_key(&id) {
            id = if id == i32::MAX { 1 } else { id + 1 };
        }
        let mut session = Session {
            names_by_id: asked.names_by_id,
            next_epoch: 1,
            used: now,
            partitions: BTreeMap::new(),
            turns: BTreeMap::new(),
            next_turn: 0,
        };
        for wanted in &asked.wanted {
            session.want(wanted.clone());
        }
        self.by_id.insert(id, session);
        id
    }

    fn make_room(&mut self, now: Instant) -> bool {
        if self.by_id.len() < SESSIONS_MAX {
            return true;
        }
        let oldest = self.by_id.iter().min_by_key(|(_, session)| session.used);
        let (&id, session) = oldest.expect("the cache is full");
        let evictable = now.since(session.used) > EVICTABLE_AFTER;
        if evictable {
            self.by_id.remove(&id);
        }
        evictable
    }

    fn resume(&mut self, now: Instant, asked: Asked) -> Result<Begun, ErrorCode> {
        let id = asked.session;
        let session = self.by_id.get_mut(&id).ok_or(ErrorCode::FetchSessionIdNotFound)?;
        if session.next_epoch != asked.epoch {
            return Err(ErrorCode::InvalidFetchSessionEpoch);
        }
        if session.names_by_id != asked.names_by_id {
            return Err(ErrorCode::FetchSessionTopicIdError);
        }
        session.used = now;
        session.next_epoch = if asked.epoch == i32::MAX { 1 } else { asked.epoch + 1 };
        for key in &asked.forgotten {
            session.forget(key);
        }
        for wanted in asked.wanted {
            session.want(wanted);
        }
        if session.partitions.is_empty() {
            self.by_id.remove(&id);
            return Ok(Begun { session: 0, incremental: false, partitions: Vec::new() });
        }
        if session.partitions.len() > SESSION_PARTITIONS_MAX {
            self.by_id.remove(&id);
            // The client starts over with a full fetch, which is served without a session.
            return Err(ErrorCode::FetchSessionIdNotFound);
        }
        let partitions = session.partitions.values().map(|cached| cached.wanted.clone()).collect();
        Ok(Begun { session: id, incremental: true, partitions })
    }
}

impl Session {
    fn want(&mut self, wanted: Wanted) {
        if let Some(turn) = self.turns.get(&wanted.key)
            && let Some(cached) = self.partitions.get_mut(turn)
        {
            cached.wanted = wanted;
            return;
        }
        self.turns.insert(wanted.key.clone(), self.next_turn);
        let cached = Cached { wanted, high_watermark: -1, log_start: -1 };
        self.partitions.insert(self.next_turn, cached);
        self.next_turn += 1;
    }

    fn forget(&mut self, key: &Key) {
        if let Some(turn) = self.turns.remove(key) {
            self.partitions.remove(&turn);
        }
    }

    /// Notes one result; true when it is news.
    fn note(&mut self, found: &Found) -> bool {
        let Some(&turn) = self.turns.get(&found.key) else { return true };
        let Some(cached) = self.partitions.get_mut(&turn) else { return true };
        let moved =
            cached.high_watermark != found.high_watermark || cached.log_start != found.log_start;
        cached.high_watermark = found.high_watermark;
        cached.log_start = found.log_start;
        if found.error {
            // So that the client hears of the recovery, whatever the watermark is then.
            cached.high_watermark = -1;
        }
        if found.has_news
            && let Some(cached) = self.partitions.remove(&turn)
        {
            self.turns.insert(found.key.clone(), self.next_turn);
            self.partitions.insert(self.next_turn, cached);
            self.next_turn += 1;
        }
        moved || found.error || found.has_news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(partition: i32) -> Key {
        Key { topic: TopicKey::Id([7; 16]), partition }
    }

    fn wanted(partition: i32, offset: i64) -> Wanted {
        Wanted {
            key: key(partition),
            offset,
            max_bytes: 100,
            current_leader_epoch: -1,
            last_fetched_epoch: -1,
        }
    }

    fn asked(session: i32, epoch: i32, partitions: &[i32], forgotten: &[i32]) -> Asked {
        Asked {
            session,
            epoch,
            names_by_id: true,
            wanted: partitions.iter().map(|&partition| wanted(partition, 0)).collect(),
            forgotten: forgotten.iter().map(|&partition| key(partition)).collect(),
        }
    }

    fn found(partition: i32, high_watermark: i64, has_news: bool, error: bool) -> Found {
        Found { key: key(partition), error, high_watermark, log_start: 0, has_news }
    }

    fn at(seconds: u64) -> Instant {
        Instant::from_millis(seconds * 1000)
    }

    /// One session, number 5, on partitions 0, 1 and 2.
    fn opened() -> Sessions {
        let mut sessions = Sessions::default();
        let begun = sessions.begin(at(0), asked(0, 0, &[0, 1, 2], &[]), 5).unwrap();
        assert_eq!((begun.session, begun.incremental, begun.partitions.len()), (5, false, 3));
        sessions
    }

    #[test]
    fn a_session_goes_by_its_number_and_its_epoch() {
        let mut sessions = opened();
        let mut check = |session, epoch, partitions: &[i32], forgotten: &[i32]| {
            let begun = sessions.begin(at(1), asked(session, epoch, partitions, forgotten), 9)?;
            let order = begun.partitions.iter().map(|wanted| wanted.key.partition).collect();
            Ok::<(i32, bool, Vec<i32>), ErrorCode>((begun.session, begun.incremental, order))
        };
        assert_eq!(check(0, -1, &[4], &[]), Ok((0, false, vec![4])), "without a session");
        assert_eq!(check(6, 1, &[], &[]), Err(ErrorCode::FetchSessionIdNotFound));
        assert_eq!(check(5, 2, &[], &[]), Err(ErrorCode::InvalidFetchSessionEpoch));
        assert_eq!(check(5, 1, &[3], &[1]), Ok((5, true, vec![0, 2, 3])));
        assert_eq!(check(5, 1, &[], &[]), Err(ErrorCode::InvalidFetchSessionEpoch));
        assert_eq!(check(5, 2, &[], &[0, 2, 3]), Ok((0, false, vec![])), "nothing left");
        assert_eq!(check(5, 3, &[], &[]), Err(ErrorCode::FetchSessionIdNotFound));
        assert_eq!(check(0, 0, &[], &[]), Ok((9, false, vec![])), "nothing to remember yet");
        assert_eq!(check(9, 1, &[1], &[]), Ok((9, true, vec![1])));
        assert_eq!(check(9, 0, &[1], &[]), Ok((9, false, vec![1])), "closed and opened again");
        assert_eq!(check(9, -1, &[1], &[]), Ok((0, false, vec![1])), "closed");
        assert_eq!(check(9, 1, &[1], &[]), Err(ErrorCode::FetchSessionIdNotFound));
    }

    #[test]
    fn a_session_does_not_change_between_names_and_ids() {
        let mut sessions = opened();
        let by_name = Asked { names_by_id: false, ..asked(5, 1, &[], &[]) };
        let refused = sessions.begin(at(1), by_name, 9);
        assert_eq!(refused, Err(ErrorCode::FetchSessionTopicIdError));
    }

    #[test]
    fn who_is_put_off_keeps_a_session_and_gets_no_new_one() {
        let mut sessions = opened();
        let begun = sessions.begin(at(1), asked(5, 1, &[], &[]), 9).unwrap();
        assert_eq!((sessions.put_off(&begun), sessions.count()), (5, 1));
        let begun = sessions.begin(at(1), asked(0, 0, &[0], &[]), 9).unwrap();
        assert_eq!((sessions.put_off(&begun), sessions.count()), (0, 1));
        let begun = sessions.begin(at(1), asked(0, -1, &[0], &[]), 9).unwrap();
        assert_eq!((sessions.put_off(&begun), sessions.count()), (0, 1));
    }

    #[test]
    fn only_news_are_told_and_who_had_records_goes_last() {
        let mut sessions = opened();
        let full = Begun { session: 5, incremental: false, partitions: vec![] };
        let first =
            [found(0, 10, true, false), found(1, 0, false, false), found(2, 0, false, true)];
        assert_eq!(sessions.finish(&full, &first), [true, true, true]);
        let begun = sessions.begin(at(1), asked(5, 1, &[], &[]), 9).unwrap();
        let order: Vec<i32> = begun.partitions.iter().map(|it| it.key.partition).collect();
        assert_eq!(order, [1, 2, 0]);
        let table = [
            (found(0, 10, false, false), false, "nothing new"),
            (found(0, 11, false, false), true, "the watermark moved"),
            (found(1, 0, true, false), true, "records"),
            (found(2, 0, false, false), true, "recovered from an error"),
            (found(2, 0, false, false), false, "said already"),
            (found(2, 0, false, true), true, "an error"),
        ];
        for (found, tell, name) in table {
            assert_eq!(sessions.finish(&begun, &[found]), [tell], "{name}");
        }
    }

    #[test]
    fn a_full_cache_gives_away_only_what_lies_idle() {
        let mut sessions = Sessions::default();
        for id in 1..=1000 {
            let begun = sessions.begin(at(0), asked(0, 0, &[1], &[]), id).unwrap();
            assert_eq!(begun.session, id);
        }
        let mut open =
            |seconds| sessions.begin(at(seconds), asked(0, 0, &[1], &[]), 5000).unwrap().session;
        assert_eq!(open(120), 0);
        assert_eq!(open(121), 5000);
        assert_eq!(sessions.count(), 1000);
    }
}
