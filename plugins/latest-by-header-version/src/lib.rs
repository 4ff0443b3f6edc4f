//! A compaction policy that keeps, of each key, the record with the highest version, which a header says.
//!
//! **What it decides.** Versions are whole numbers, in decimal digits or as eight bytes, most significant
//! first, as Kafka's `LongSerializer` writes them. A record without one is older than any that has one.
//!
//! **Invariants.** Of two records with the same version the one with the larger offset stays. A tombstone
//! with the highest version stays until its horizon, and longer while there are records of its key that
//! this compaction may not touch.

use brooklet::{Columns, CompactionPolicy, Context, Entries, Error, KeyMap, Pass, Verdict};

/// The configuration.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The header that has the version. The host reads this name too, and hands over that header alone.
    header: String,
}

/// The policy.
#[derive(Debug, Default)]
pub struct LatestByHeaderVersion {
    pass: Pass,
    latest: KeyMap<Latest>,
}

#[derive(Clone, Copy, Debug)]
struct Latest {
    version: Option<i64>,
    offset: i64,
    /// Whether there are records of this key beyond the end of this compaction.
    goes_on: bool,
}

impl CompactionPolicy for LatestByHeaderVersion {
    type Config = Config;

    fn new(config: Config, _: &Context) -> Result<LatestByHeaderVersion, Error> {
        if config.header.is_empty() {
            return Err(Error::config("header: a header has a name"));
        }
        Ok(LatestByHeaderVersion::default())
    }

    fn columns(&self) -> Columns {
        Columns::HEADERS
    }

    fn begin(&mut self, pass: &Pass) -> Result<(), Error> {
        *self = LatestByHeaderVersion { pass: pass.clone(), latest: KeyMap::default() };
        Ok(())
    }

    fn observe(&mut self, entries: &Entries<'_>) -> Result<(), Error> {
        for entry in entries.iter() {
            let goes_on = entry.offset >= self.pass.dirty_end;
            let (version, offset) = (version(entry.header), entry.offset);
            let first = Latest { version, offset, goes_on };
            let latest = self.latest.entry(entry.key).or_insert(first);
            // None is less than any version; offsets ascend, so that of two equals the later one is left.
            if version >= latest.version {
                (latest.version, latest.offset) = (version, offset);
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

/// The version that a header says. Digits come first: eight of them are digits, not bytes.
fn version(header: Option<&[u8]>) -> Option<i64> {
    let header = header?;
    let digits = std::str::from_utf8(header).ok().and_then(|text| text.parse().ok());
    digits.or_else(|| header.try_into().ok().map(i64::from_be_bytes))
}

brooklet::plugin! {
    name: "latest-by-header-version",
    description: "Keeps the record of each key that has the highest version in a header.",
    roles: { compaction: LatestByHeaderVersion },
    config: {
        "type": "object",
        "required": ["header"],
        "additionalProperties": false,
        "properties": {
            "header": { "type": "string", "minLength": 1, "description": "The header that has the version" }
        }
    },
}

#[cfg(test)]
mod tests {
    use brooklet_testing::{Compacting, Rec};
    use proptest::prelude::*;

    use super::*;

    fn kept(records: &[Rec], up_to: Option<i64>, now: i64) -> Vec<usize> {
        let plugin = Compacting::<LatestByHeaderVersion>::start(r#"{"header":"v"}"#).unwrap();
        let plugin = match up_to {
            Some(offset) => plugin.up_to(offset),
            None => plugin,
        };
        let survivors = plugin.in_runs_of(3).compact(records, now).unwrap();
        survivors.into_iter().map(|survivor| survivor.offset).collect()
    }

    #[test]
    fn the_highest_version_stays() {
        let records = [
            Rec::new("a", "1").header("v", "9"),
            Rec::new("a", "2").header("v", "10"),
            Rec::new("a", "3").header("v", "10"),
            Rec::new("a", "4").header("v", "-2"),
            Rec::new("b", "1"),
            Rec::new("b", "2").header("other", "7"),
            Rec::new("c", "1").header("v", "1"),
            Rec::new("c", "2").header("v", "one"),
            Rec::new("d", "1").header("v", 3_i64.to_be_bytes()),
            Rec::new("d", "2").header("v", 2_i64.to_be_bytes()),
        ];
        assert_eq!(kept(&records, None, 0), [2, 5, 6, 8]);
    }

    #[test]
    fn a_tombstone_has_its_version_too() {
        let records = [
            Rec::new("a", "1").header("v", "1"),
            Rec::tombstone("a").header("v", "3").at(5),
            Rec::new("a", "2").header("v", "2"),
        ];
        assert_eq!(kept(&records, None, 5), [1]);
        assert_eq!(kept(&records, None, 6), [0; 0]);
        assert_eq!(kept(&records, Some(2), 6), [1, 2], "what goes on would come back");
    }

    proptest! {
        #[test]
        fn the_survivors_have_the_highest_version_of_their_keys(
            versions in proptest::collection::vec((0_u8..4, proptest::option::of(-5_i64..5)), 0..50),
        ) {
            let record = |(key, version): &(u8, Option<i64>)| {
                let record = Rec::new([*key], "x");
                version.iter().fold(record, |record, version| record.header("v", version.to_string()))
            };
            let records: Vec<Rec> = versions.iter().map(record).collect();
            let mut latest = std::collections::BTreeMap::new();
            for (offset, (key, version)) in versions.iter().enumerate() {
                let best = latest.entry(*key).or_insert((*version, offset));
                *best = (*best).max((*version, offset));
            }
            let mut expected: Vec<usize> = latest.values().map(|(_, offset)| *offset).collect();
            expected.sort_unstable();
            prop_assert_eq!(kept(&records, None, 0), expected);
        }
    }
}
