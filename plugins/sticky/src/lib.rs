//! A partitioner that stays with one partition until enough has gone there, then takes the next: large
//! batches for records whose key says nothing about where they belong.
//!
//! **Invariants.** Over a full round every partition gets the same number of records. Records with a
//! key go where Kafka's Java client would put them, unless `ignore_keys` is set.

use brooklet::{Columns, Context, Error, Partitioner, murmur2};

/// The configuration.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Records that go to one partition before the next one is taken.
    #[serde(default = "records")]
    records: u32,
    /// Whether records with a key are treated like those without.
    #[serde(default)]
    ignore_keys: bool,
}

/// A batch of common size: most batches then go to one partition as a whole.
fn records() -> u32 {
    500
}

/// The partitioner.
#[derive(Debug)]
pub struct Sticky {
    config: Config,
    /// The partition that is stayed with.
    current: u32,
    /// Records it got so far.
    given: u32,
}

impl Partitioner for Sticky {
    type Config = Config;

    fn new(config: Config, _: &Context) -> Result<Sticky, Error> {
        if config.records == 0 {
            return Err(Error::config("records: at least 1"));
        }
        Ok(Sticky { config, current: 0, given: 0 })
    }

    fn columns(&self) -> Columns {
        if self.config.ignore_keys { Columns::empty() } else { Columns::KEYS }
    }

    fn partition(
        &mut self,
        batch: &brooklet::Batch<'_>,
        partitions: u32,
        chosen: &mut Vec<u32>,
    ) -> Result<(), Error> {
        for record in batch {
            let key = if self.config.ignore_keys { None } else { record.key() };
            chosen.push(match key {
                Some(key) => murmur2::partition(key, partitions),
                None => self.stay(partitions),
            });
        }
        Ok(())
    }
}

impl Sticky {
    fn stay(&mut self, partitions: u32) -> u32 {
        if self.given >= self.config.records {
            self.current = (self.current + 1) % partitions;
            self.given = 0;
        }
        self.given += 1;
        self.current % partitions
    }
}

brooklet::plugin! {
    name: "sticky",
    description: "Stays with one partition until enough records went there, then takes the next.",
    roles: { partitioner: Sticky },
    config: {
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "records": {
                "type": "integer",
                "minimum": 1,
                "maximum": 4294967295,
                "default": 500,
                "description": "Records that go to one partition before the next one is taken"
            },
            "ignore_keys": {
                "type": "boolean",
                "default": false,
                "description": "Treat records with a key like those without"
            }
        }
    },
}

#[cfg(test)]
mod tests {
    use brooklet_testing::{Partitioning, Rec};

    use super::*;

    fn place(config: &str, records: &[Rec], partitions: u32) -> Vec<u32> {
        Partitioning::<Sticky>::start(config).unwrap().place(records, partitions).unwrap()
    }

    #[test]
    fn it_moves_on_when_enough_went_there() {
        let records = vec![Rec::value("x"); 8];
        assert_eq!(place(r#"{"records":3}"#, &records, 2), [0, 0, 0, 1, 1, 1, 0, 0]);
        assert_eq!(place("{}", &records, 2), [0; 8]);
    }

    #[test]
    fn keys_stay_together_unless_they_are_ignored() {
        let records = [Rec::new("foobar", "1"), Rec::value("2"), Rec::new("foobar", "3")];
        let kept = murmur2::partition(b"foobar", 7);
        assert_eq!(place(r#"{"records":1}"#, &records, 7), [kept, 0, kept]);
        assert_eq!(place(r#"{"records":1,"ignore_keys":true}"#, &records, 7), [0, 1, 2]);
    }

    #[test]
    fn a_round_is_fair_also_across_batches_and_fewer_partitions() {
        let mut plugin = Partitioning::<Sticky>::start(r#"{"records":2}"#).unwrap();
        let mut counts = [0; 3];
        for size in [1, 2, 3, 6] {
            for partition in plugin.place(&vec![Rec::value("x"); size], 3).unwrap() {
                counts[partition as usize] += 1;
            }
        }
        assert_eq!(counts, [4, 4, 4]);
        assert!(plugin.place(&[Rec::value("x")], 1).unwrap() == [0]);
    }

    #[test]
    fn no_records_at_a_time_are_refused() {
        assert!(Partitioning::<Sticky>::start(r#"{"records":0}"#).is_err());
    }
}
