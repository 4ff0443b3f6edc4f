//! A compaction policy that keeps, of each key, the record with the latest timestamp instead of the one with the
//! latest offset: for records that arrive out of order.
//!
//! **Invariants.** Of two records with the same time the one with the larger offset stays. A tombstone that
//! is the latest stays until its horizon, and longer while there are records of its key that this
//! compaction may not touch: they could be older, and would come back.

use brooklet::{
    Columns, CompactionPolicy, Context, Entries, Error, KeyMap, NoConfig, Pass, Verdict,
};

/// The policy.
#[derive(Debug, Default)]
pub struct LatestByTimestamp {
    pass: Pass,
    latest: KeyMap<Latest>,
}

#[derive(Clone, Copy, Debug)]
struct Latest {
    timestamp: i64,
    offset: i64,
    /// Whether there are records of this key beyond the end of this compaction.
    goes_on: bool,
}

impl CompactionPolicy for LatestByTimestamp {
    type Config = NoConfig;

    fn new(_: NoConfig, _: &Context) -> Result<LatestByTimestamp, Error> {
        Ok(LatestByTimestamp::default())
    }

    fn columns(&self) -> Columns {
        Columns::empty()
    }

    fn begin(&mut self, pass: &Pass) -> Result<(), Error> {
        *self = LatestByTimestamp { pass: pass.clone(), latest: KeyMap::default() };
        Ok(())
    }

    fn observe(&mut self, entries: &Entries<'_>) -> Result<(), Error> {
        for entry in entries.iter() {
            let goes_on = entry.offset >= self.pass.dirty_end;
            let (timestamp, offset) = (entry.timestamp, entry.offset);
            let first = Latest { timestamp, offset, goes_on };
            let latest = self.latest.entry(entry.key).or_insert(first);
            // Offsets ascend, so that of two with the same time the later one is left.
            if timestamp >= latest.timestamp {
                (latest.timestamp, latest.offset) = (timestamp, offset);
            }
            latest.goes_on |= goes_on;
        }
        Ok(())
    }

    fn decide(&mut self, entries: &Entries<'_>, verdict: &mut Verdict) -> Result<(), Error> {
        for entry in entries.iter() {
            let stays = entry.offset >= self.pass.dirty_end
                || self.latest.get(&entry.key).is_none_or(|latest| {
                    let expired = entry.is_tombstone && entry.timestamp < self.pass.delete_horizon;
                    latest.offset == entry.offset && (!expired || latest.goes_on)
                });
            verdict.keep(stays);
        }
        Ok(())
    }

    fn end(&mut self) {
        self.latest = KeyMap::default();
    }
}

brooklet::plugin! {
    name: "latest-by-timestamp",
    description: "Keeps the record with the latest timestamp of each key.",
    roles: { compaction: LatestByTimestamp },
}

#[cfg(test)]
mod tests {
    use brooklet_testing::{Compacting, Rec};
    use proptest::prelude::*;

    use super::*;

    fn start() -> Compacting<LatestByTimestamp> {
        Compacting::start("{}").unwrap()
    }

    fn kept(mut plugin: Compacting<LatestByTimestamp>, records: &[Rec], now: i64) -> Vec<usize> {
        let survivors = plugin.compact(records, now).unwrap();
        assert!(survivors.iter().all(|survivor| survivor.replaced.is_none()));
        survivors.into_iter().map(|survivor| survivor.offset).collect()
    }

    fn records() -> Vec<Rec> {
        vec![
            Rec::new("a", "1").at(10),
            Rec::new("b", "1").at(30),
            Rec::new("a", "2").at(20),
            Rec::new("b", "2").at(20),
            Rec::new("a", "3").at(20),
            Rec::tombstone("c").at(5),
            Rec::new("c", "late").at(4),
        ]
    }

    #[test]
    fn what_is_latest_in_time_stays() {
        assert_eq!(kept(start(), &records(), 5), [1, 4, 5]);
        assert_eq!(kept(start().in_runs_of(2), &records(), 5), [1, 4, 5]);
    }

    #[test]
    fn a_tombstone_goes_after_its_horizon_unless_its_key_goes_on() {
        assert_eq!(kept(start(), &records(), 6), [1, 4]);
        assert_eq!(kept(start().up_to(6), &records(), 6), [1, 4, 5, 6]);
    }

    #[test]
    fn nothing_beyond_the_end_is_dropped() {
        assert_eq!(kept(start().up_to(3), &records(), 5), [1, 3, 4, 5, 6]);
        assert_eq!(kept(start().up_to(0), &records(), 5), [0, 1, 2, 3, 4, 5, 6]);
    }

    proptest! {
        #[test]
        fn the_survivors_are_the_latest_of_their_keys(
            times in proptest::collection::vec((0_u8..5, 0_i64..10), 0..60),
            run in 1_usize..20,
        ) {
            let records: Vec<Rec> =
                times.iter().map(|(key, time)| Rec::new([*key], "x").at(*time)).collect();
            let mut latest = std::collections::BTreeMap::new();
            for (offset, (key, time)) in times.iter().enumerate() {
                let best = latest.entry(*key).or_insert((*time, offset));
                *best = (*best).max((*time, offset));
            }
            let mut expected: Vec<usize> = latest.values().map(|(_, offset)| *offset).collect();
            expected.sort_unstable();
            prop_assert_eq!(kept(start().in_runs_of(run), &records, 0), expected);
        }
    }
}
