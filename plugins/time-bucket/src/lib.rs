//! A partitioner by time: records of one stretch of time go to one partition.
//!
//! **What it decides.** Time is cut in buckets of equal width, which go round over the partitions. A
//! consumer that wants one hour reads one partition.

use std::time::Duration;

use brooklet::{Columns, Context, Error, Partitioner};

/// The configuration.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// How long a bucket is.
    #[serde(deserialize_with = "brooklet::duration::deserialize")]
    width: Duration,
    /// How far the first bucket begins after midnight UTC on 1 January 1970.
    #[serde(default, deserialize_with = "brooklet::duration::deserialize")]
    offset: Duration,
}

/// The partitioner.
#[derive(Debug)]
pub struct TimeBucket {
    width_ms: i64,
    offset_ms: i64,
}

impl Partitioner for TimeBucket {
    type Config = Config;

    fn new(config: Config, _: &Context) -> Result<TimeBucket, Error> {
        let millis = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        let width_ms = millis(config.width);
        if width_ms == 0 {
            return Err(Error::config("width: a bucket that holds no time"));
        }
        Ok(TimeBucket { width_ms, offset_ms: millis(config.offset) })
    }

    fn columns(&self) -> Columns {
        Columns::TIMESTAMPS
    }

    fn partition(
        &mut self,
        batch: &brooklet::Batch<'_>,
        partitions: u32,
        chosen: &mut Vec<u32>,
    ) -> Result<(), Error> {
        for record in batch {
            // Times before 1970 have buckets too, hence Euclid's remainder.
            let since = record.timestamp().saturating_sub(self.offset_ms);
            let bucket = since.div_euclid(self.width_ms);
            let partition = bucket.rem_euclid(i64::from(partitions));
            chosen.push(u32::try_from(partition).expect("less than the number of partitions"));
        }
        Ok(())
    }
}

brooklet::plugin! {
    name: "time-bucket",
    description: "Places records by time: those of one stretch of time go to one partition.",
    roles: { partitioner: TimeBucket },
    config: {
        "type": "object",
        "required": ["width"],
        "additionalProperties": false,
        "properties": {
            "width": {
                "type": "string",
                "pattern": "^[0-9]+(ms|s|m|h|d)$",
                "description": "How long a bucket is",
                "examples": ["1h"]
            },
            "offset": {
                "type": "string",
                "pattern": "^[0-9]+(ms|s|m|h|d)$",
                "default": "0s",
                "description": "How far the first bucket begins after midnight UTC on 1 January 1970"
            }
        }
    },
}

#[cfg(test)]
mod tests {
    use brooklet_testing::{Partitioning, Rec};
    use proptest::prelude::*;

    use super::*;

    fn place(config: &str, times: &[i64], partitions: u32) -> Vec<u32> {
        let records: Vec<Rec> = times.iter().map(|time| Rec::value("x").at(*time)).collect();
        Partitioning::<TimeBucket>::start(config).unwrap().place(&records, partitions).unwrap()
    }

    #[test]
    fn hours_go_round() {
        let hour = 3_600_000;
        let times = [0, hour - 1, hour, 2 * hour, 24 * hour, -1, -hour - 1];
        assert_eq!(place(r#"{"width":"1h"}"#, &times, 24), [0, 0, 1, 2, 0, 23, 22]);
        assert_eq!(place(r#"{"width":"1h","offset":"30m"}"#, &times[1..3], 24), [0, 0]);
        assert_eq!(place(r#"{"width":"250ms"}"#, &[0, 249, 250, 1000], 3), [0, 0, 1, 1]);
    }

    #[test]
    fn widths_are_checked() {
        for width in ["1", "0s"] {
            let config = format!(r#"{{"width":"{width}"}}"#);
            assert!(Partitioning::<TimeBucket>::start(&config).is_err(), "{width:?}");
        }
    }

    proptest! {
        #[test]
        fn a_bucket_stays_together_and_every_time_has_one(
            time in any::<i64>(),
            partitions in 1_u32..100,
        ) {
            let start = time.div_euclid(60_000).checked_mul(60_000);
            prop_assume!(start.is_some_and(|start| start <= i64::MAX - 60_000));
            let start = start.unwrap();
            let placed = place(r#"{"width":"1m"}"#, &[start, time, start + 59_999], partitions);
            prop_assert!(placed[0] == placed[1] && placed[1] == placed[2]);
        }
    }
}
