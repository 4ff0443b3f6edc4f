//! Which leader epoch began at which offset, in Kafka's `leader-epoch-checkpoint`.
//!
//! **Where it sits.** Inside a log; answers OffsetForLeaderEpoch and lets a reader check the one
//! header field that no CRC covers.
//!
//! **What it decides.** Where an epoch ends, as Kafka's `LeaderEpochFileCache.endOffsetFor`.
//!
//! **What it never does.** Write by itself: the log stores it before it moves its recovery point,
//! and what came later is found again in the batches.
//!
//! **Invariant.** Epochs and their first offsets both grow strictly.

use std::fmt::Write as _;
use std::sync::Arc;

use brooklet_types::{LeaderEpoch, Offset};

/// The file's name, Kafka's.
pub(crate) const NAME: &str = "leader-epoch-checkpoint";

/// A checkpoint that is longer is not one: an entry takes at most 31 bytes, and a partition does
/// not see tens of thousands of elections within its retention.
pub(crate) const FILE_BYTES_MAX: usize = 1 << 20;

/// Epochs with their first offsets, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Epochs {
    entries: Arc<Vec<(LeaderEpoch, Offset)>>,
}

impl Epochs {
    /// Reads Kafka's text form; none when it is not in that form or not growing.
    pub fn parse(text: &[u8]) -> Option<Epochs> {
        let mut lines = std::str::from_utf8(text).ok()?.lines();
        if lines.next()? != "0" {
            return None;
        }
        let count: usize = lines.next()?.parse().ok()?;
        let mut epochs = Epochs::default();
        for line in lines.filter(|line| !line.is_empty()) {
            let (epoch, start) = line.split_once(' ')?;
            let epoch = LeaderEpoch::from_wire(epoch.parse().ok()?)?;
            let start = Offset::from_wire(start.parse().ok()?)?;
            let grows = epochs.entries.last().is_none_or(|last| last.0 < epoch && last.1 < start);
            if !grows {
                return None;
            }
            Arc::make_mut(&mut epochs.entries).push((epoch, start));
        }
        (epochs.entries.len() == count).then_some(epochs)
    }

    /// Kafka's text form.
    pub fn to_text(&self) -> String {
        let mut text = format!("0\n{}\n", self.entries.len());
        for (epoch, start) in self.entries.iter() {
            writeln!(text, "{epoch} {start}").expect("a String takes everything");
        }
        text
    }

    /// Notes that a batch of `epoch` is stored at `base`; says whether that began a new epoch.
    pub fn note(&mut self, epoch: LeaderEpoch, base: Offset) -> bool {
        if self.latest().is_some_and(|latest| latest >= epoch) {
            return false;
        }
        let entries = Arc::make_mut(&mut self.entries);
        // An epoch in which nothing was written leaves no trace.
        while entries.last().is_some_and(|last| last.1 >= base) {
            entries.pop();
        }
        entries.push((epoch, base));
        true
    }

    /// Notes what an appended batch says. Nobody appends in an epoch older than one on record, so
    /// such a record came from a header that was damaged where no CRC covers it.
    pub fn note_appended(&mut self, epoch: LeaderEpoch, base: Offset) {
        if self.latest().is_some_and(|latest| latest > epoch) {
            Arc::make_mut(&mut self.entries).retain(|entry| entry.0 <= epoch);
        }
        self.note(epoch, base);
    }

    /// Forgets what began at or after `end`.
    pub fn truncate_to(&mut self, end: Offset) {
        if self.entries.last().is_some_and(|last| last.1 >= end) {
            Arc::make_mut(&mut self.entries).retain(|entry| entry.1 < end);
        }
    }

    /// Forgets epochs that ended before `start`; the one that covers `start` begins there.
    pub fn delete_before(&mut self, start: Offset) {
        let covering = self.entries.iter().rposition(|entry| entry.1 <= start);
        if let Some(covering) = covering {
            let entries = Arc::make_mut(&mut self.entries);
            entries.drain(..covering);
            entries[0].1 = start;
        }
    }

    /// What is known about `[start, end)`.
    pub fn within(&self, start: Offset, end: Offset) -> Epochs {
        let mut part = self.clone();
        part.delete_before(start);
        part.truncate_to(end);
        part
    }

    /// Tells whether a file says the same about `[start, end)`, Kafka's format having no checksum.
    pub(crate) fn fingerprint(&self, start: Offset, end: Offset) -> u32 {
        crate::frame::crc(self.within(start, end).to_text().as_bytes())
    }

    /// The newest epoch with a batch.
    pub fn latest(&self) -> Option<LeaderEpoch> {
        self.entries.last().map(|entry| entry.0)
    }

    /// The epoch that wrote the batch at `offset`.
    pub fn at(&self, offset: Offset) -> Option<LeaderEpoch> {
        self.entries.iter().rev().find(|entry| entry.1 <= offset).map(|entry| entry.0)
    }

    /// The largest epoch not after `epoch`, and where the one behind it begins. None when the
    /// epoch lies in the future; the asked epoch itself when it is older than everything known.
    pub fn end_of(&self, epoch: LeaderEpoch, end: Offset) -> Option<(LeaderEpoch, Offset)> {
        let latest = self.latest()?;
        if epoch == latest {
            return Some((epoch, end));
        }
        let (_, next_start) = *self.entries.iter().find(|entry| entry.0 > epoch)?;
        let floor = self.entries.iter().rev().find(|entry| entry.0 <= epoch);
        Some((floor.map_or(epoch, |entry| entry.0), next_start))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epochs(entries: &[(u32, u64)]) -> Epochs {
        let mut epochs = Epochs::default();
        for (epoch, start) in entries {
            epochs.note(LeaderEpoch(*epoch), Offset::new(*start));
        }
        epochs
    }

    #[test]
    fn an_epoch_ends_where_kafka_says() {
        let epochs = epochs(&[(2, 10), (4, 20), (7, 30)]);
        let cases = [
            (0, Some((0, 10))),
            (2, Some((2, 20))),
            (3, Some((2, 20))),
            (4, Some((4, 30))),
            (6, Some((4, 30))),
            (7, Some((7, 42))),
            (8, None),
        ];
        for (asked, expected) in cases {
            let answer = epochs.end_of(LeaderEpoch(asked), Offset::new(42));
            let expected = expected.map(|(epoch, end)| (LeaderEpoch(epoch), Offset::new(end)));
            assert_eq!(answer, expected, "epoch {asked}");
        }
        assert_eq!(Epochs::default().end_of(LeaderEpoch(0), Offset::ZERO), None);
    }

    #[test]
    fn the_text_form_is_kafkas() {
        let epochs = epochs(&[(0, 0), (3, 17)]);
        assert_eq!(epochs.to_text(), "0\n2\n0 0\n3 17\n");
        assert_eq!(Epochs::parse(epochs.to_text().as_bytes()), Some(epochs));
        for damaged in ["", "1\n0\n", "0\n3\n0 0\n", "0\n2\n0 5\n1 4\n", "0\n1\n0 -1\n", "0\nx"] {
            assert_eq!(Epochs::parse(damaged.as_bytes()), None, "{damaged:?}");
        }
    }

    #[test]
    fn trimming_at_either_end_keeps_what_covers_the_rest() {
        let mut epochs = epochs(&[(2, 10), (4, 20), (7, 30)]);
        epochs.delete_before(Offset::new(25));
        assert_eq!(epochs.to_text(), "0\n2\n4 25\n7 30\n");
        epochs.truncate_to(Offset::new(30));
        assert_eq!(epochs.to_text(), "0\n1\n4 25\n");
        assert_eq!(epochs.at(Offset::new(29)), Some(LeaderEpoch(4)));
        assert_eq!(epochs.at(Offset::new(24)), None);
    }
}
