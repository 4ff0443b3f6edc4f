//! A compaction policy that keeps the last `n` records of each key: a short history instead of the latest alone.
//!
//! **Invariants.** A tombstone ends a history: what stood before it goes, and it is one of the `n` until its
//! horizon. Records beyond the end of the compaction count, so that a key has no more than `n` once they
//! are compacted, and never fewer than `n` before.

use brooklet::{Columns, CompactionPolicy, Context, Entries, Error, KeyMap, Pass, Verdict};

/// The configuration.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Records that each key keeps.
    n: u32,
}

/// The policy.
#[derive(Debug)]
pub struct KeepN {
    n: u32,
    pass: Pass,
    histories: KeyMap<History>,
}

/// The records of a key since its last tombstone, that one included.
#[derive(Clone, Copy, Debug)]
struct History {
    start: i64,
    /// Not yet decided about: those behind the one at hand.
    left: u32,
}

impl CompactionPolicy for KeepN {
    type Config = Config;

    fn new(config: Config, _: &Context) -> Result<KeepN, Error> {
        if config.n == 0 {
            return Err(Error::config("n: at least 1"));
        }
        Ok(KeepN { n: config.n, pass: Pass::default(), histories: KeyMap::default() })
    }

    fn columns(&self) -> Columns {
        Columns::empty()
    }

    fn begin(&mut self, pass: &Pass) -> Result<(), Error> {
        self.pass = pass.clone();
        self.histories = KeyMap::default();
        Ok(())
    }

    fn observe(&mut self, entries: &Entries<'_>) -> Result<(), Error> {
        for entry in entries.iter() {
            let first = History { start: entry.offset, left: 0 };
            let history = self.histories.entry(entry.key).or_insert(first);
            if entry.is_tombstone {
                *history = first;
            }
            history.left += 1;
        }
        Ok(())
    }

    fn decide(&mut self, entries: &Entries<'_>, verdict: &mut Verdict) -> Result<(), Error> {
        for entry in entries.iter() {
            let Some(history) = self.histories.get_mut(&entry.key) else {
                verdict.keep(true);
                continue;
            };
            let belongs = entry.offset >= history.start;
            let expired = entry.is_tombstone && entry.timestamp < self.pass.delete_horizon;
            let stays = belongs && history.left <= self.n && !expired;
            history.left -= u32::from(belongs);
            verdict.keep(stays || entry.offset >= self.pass.dirty_end);
        }
        Ok(())
    }

    fn end(&mut self) {
        self.histories = KeyMap::default();
    }
}

brooklet::plugin! {
    name: "keep-n",
    description: "Keeps the last n records of each key.",
    roles: { compaction: KeepN },
    config: {
        "type": "object",
        "required": ["n"],
        "additionalProperties": false,
        "properties": {
            "n": {
                "type": "integer",
                "minimum": 1,
                "maximum": 4294967295,
                "description": "Records that each key keeps"
            }
        }
    },
}

#[cfg(test)]
mod tests {
    use brooklet_testing::{Compacting, Rec};
    use proptest::prelude::*;

    use super::*;

    fn start(n: u32) -> Compacting<KeepN> {
        Compacting::start(&format!(r#"{{"n":{n}}}"#)).unwrap()
    }

    fn kept(mut plugin: Compacting<KeepN>, records: &[Rec], now: i64) -> Vec<usize> {
        let survivors = plugin.compact(records, now).unwrap();
        survivors.into_iter().map(|survivor| survivor.offset).collect()
    }

    fn records(keys: &str) -> Vec<Rec> {
        let record = |(key, time): (char, i64)| {
            let name = key.to_ascii_lowercase().to_string();
            let record =
                if key.is_uppercase() { Rec::tombstone(name) } else { Rec::new(name, "x") };
            record.at(time)
        };
        keys.chars().zip(0..).map(record).collect()
    }

    #[test]
    fn the_last_of_each_key_stay() {
        assert_eq!(kept(start(2), &records("aababca"), 0), [2, 3, 4, 5, 6]);
    }

    #[test]
    fn a_tombstone_ends_a_history() {
        assert_eq!(kept(start(3), &records("aaAa"), 0), [2, 3]);
        assert_eq!(kept(start(1), &records("aaAa"), 0), [3]);
        assert_eq!(kept(start(3), &records("aaAa"), 3), [3], "after its horizon");
        assert_eq!(kept(start(3), &records("aaA"), 3), [0; 0]);
    }

    #[test]
    fn what_lies_beyond_the_end_counts_and_stays() {
        assert_eq!(kept(start(2).up_to(3), &records("aaaa"), 0), [2, 3]);
        assert_eq!(kept(start(1).up_to(2), &records("aaaa"), 0), [2, 3]);
        assert_eq!(kept(start(5).up_to(2), &records("aaA"), 0), [2]);
    }

    #[test]
    fn a_history_of_nothing_is_refused() {
        assert!(Compacting::<KeepN>::start(r#"{"n":0}"#).is_err());
    }

    proptest! {
        #[test]
        fn the_survivors_are_the_last_n(keys in "[abc]{0,60}", n in 1_u32..5, run in 1_usize..20) {
            let offsets_of = |wanted: char| -> Vec<usize> {
                let all = keys.chars().enumerate().filter(|(_, key)| *key == wanted);
                let all: Vec<usize> = all.map(|(offset, _)| offset).collect();
                all[all.len().saturating_sub(n as usize)..].to_vec()
            };
            let mut expected: Vec<usize> = ['a', 'b', 'c'].into_iter().flat_map(offsets_of).collect();
            expected.sort_unstable();
            prop_assert_eq!(kept(start(n).in_runs_of(run), &records(&keys), 0), expected);
        }
    }
}
