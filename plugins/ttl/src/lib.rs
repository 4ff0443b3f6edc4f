//! A compaction policy that keeps the latest record of each key, and that one only for so long.
//!
//! **Invariants.** A key whose latest record is older than its time is gone as a whole: nothing of it that is
//! older comes back in its place. With `history` every record stays until its time.

use std::time::Duration;

use brooklet::{Columns, CompactionPolicy, Context, Entries, Error, KeyMap, Pass, Verdict};

/// The configuration.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// How long a record stays.
    #[serde(deserialize_with = "brooklet::duration::deserialize")]
    ttl: Duration,
    /// Whether the records before the latest one stay until their time.
    #[serde(default)]
    history: bool,
}

/// The policy.
#[derive(Debug)]
pub struct Ttl {
    ttl: Duration,
    history: bool,
    pass: Pass,
    /// Records written before this time are gone.
    oldest: i64,
    /// The offset of the latest record of each key; of no use with `history`.
    latest: KeyMap<i64>,
}

impl CompactionPolicy for Ttl {
    type Config = Config;

    fn new(config: Config, _: &Context) -> Result<Ttl, Error> {
        let (pass, latest) = (Pass::default(), KeyMap::default());
        Ok(Ttl { ttl: config.ttl, history: config.history, pass, oldest: i64::MIN, latest })
    }

    fn columns(&self) -> Columns {
        Columns::empty()
    }

    fn begin(&mut self, pass: &Pass) -> Result<(), Error> {
        let ttl = i64::try_from(self.ttl.as_millis()).unwrap_or(i64::MAX);
        self.oldest = pass.now.saturating_sub(ttl);
        self.pass = pass.clone();
        self.latest = KeyMap::default();
        Ok(())
    }

    fn observe(&mut self, entries: &Entries<'_>) -> Result<(), Error> {
        if !self.history {
            self.latest.extend(entries.iter().map(|entry| (entry.key, entry.offset)));
        }
        Ok(())
    }

    fn decide(&mut self, entries: &Entries<'_>, verdict: &mut Verdict) -> Result<(), Error> {
        for entry in entries.iter() {
            let is_latest =
                self.latest.get(&entry.key).is_none_or(|latest| *latest == entry.offset);
            let expired = entry.is_tombstone && entry.timestamp < self.pass.delete_horizon;
            let stays = is_latest && entry.timestamp >= self.oldest && !expired;
            verdict.keep(stays || entry.offset >= self.pass.dirty_end);
        }
        Ok(())
    }

    fn end(&mut self) {
        self.latest = KeyMap::default();
    }
}

brooklet::plugin! {
    name: "ttl",
    description: "Keeps the latest record of each key for so long, then none.",
    roles: { compaction: Ttl },
    config: {
        "type": "object",
        "required": ["ttl"],
        "additionalProperties": false,
        "properties": {
            "ttl": {
                "type": "string",
                "pattern": "^[0-9]+(ms|s|m|h|d)$",
                "description": "How long a record stays",
                "examples": ["30d"]
            },
            "history": {
                "type": "boolean",
                "default": false,
                "description": "Whether the records before the latest one stay until their time"
            }
        }
    },
}

#[cfg(test)]
mod tests {
    use brooklet_testing::{Compacting, Rec};
    use proptest::prelude::*;

    use super::*;

    fn kept(config: &str, up_to: i64, records: &[Rec], now: i64) -> Vec<usize> {
        let mut plugin = Compacting::<Ttl>::start(config).unwrap().up_to(up_to).in_runs_of(2);
        let survivors = plugin.compact(records, now).unwrap();
        survivors.into_iter().map(|survivor| survivor.offset).collect()
    }

    fn records() -> Vec<Rec> {
        vec![
            Rec::new("a", "1").at(1_000),
            Rec::new("b", "1").at(9_000),
            Rec::new("b", "2").at(2_000),
            Rec::new("a", "2").at(12_000),
            Rec::tombstone("c").at(12_500),
            Rec::new("d", "1").at(100),
        ]
    }

    #[test]
    fn a_key_lives_as_long_as_its_latest_record() {
        let ten = r#"{"ttl":"10s"}"#;
        assert_eq!(kept(ten, 6, &records(), 12_000), [2, 3, 4]);
        assert_eq!(kept(ten, 6, &records(), 12_001), [3, 4], "nothing of b comes back");
        assert_eq!(kept(ten, 6, &records(), 13_000), [3], "the tombstone has its own horizon");
        assert_eq!(kept(ten, 6, &records(), 23_000), [0; 0]);
    }

    #[test]
    fn history_stays_until_its_time() {
        let config = r#"{"ttl":"10s","history":true}"#;
        assert_eq!(kept(config, 6, &records(), 11_000), [0, 1, 2, 3, 4]);
        assert_eq!(kept(config, 6, &records(), 12_500), [1, 3, 4]);
    }

    #[test]
    fn nothing_beyond_the_end_is_dropped() {
        assert_eq!(kept(r#"{"ttl":"1s"}"#, 4, &records(), 60_000), [4, 5]);
    }

    proptest! {
        #[test]
        fn the_survivors_are_the_latest_that_are_young(
            times in proptest::collection::vec((0_u8..5, 0_i64..100), 0..60),
        ) {
            let records: Vec<Rec> =
                times.iter().map(|(key, time)| Rec::new([*key], "x").at(*time * 1000)).collect();
            let is_kept = |offset: &usize| {
                let (key, time) = times[*offset];
                time >= 50 && !times[offset + 1..].iter().any(|(other, _)| *other == key)
            };
            let expected: Vec<usize> = (0..times.len()).filter(is_kept).collect();
            let end = i64::try_from(times.len()).unwrap();
            prop_assert_eq!(kept(r#"{"ttl":"50s"}"#, end, &records, 100_000), expected);
        }
    }
}
