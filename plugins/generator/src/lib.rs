//! A source of made-up records: for trying things out, for demonstrations, for load.
//!
//! **Invariants.** Record number `i` depends on the seed and on `i`, and on nothing else (but for fields
//! that are the time of day): started again from a position, it goes on as if it had never stopped.

mod field;

use std::time::Duration;

use brooklet::{Context, Error, Limits, NewRecord, Outgoing, Poll, Source, Split, task};
use field::Fields;
use serde_json::value::RawValue;

/// The configuration.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The members of each value, in their order, with what they are made of.
    fields: Box<RawValue>,
    /// The field that is the key.
    key: Option<String>,
    /// Records a second, all tasks together; without it, as fast as they are taken.
    rate: Option<f64>,
    /// Records altogether; without it, there is no end.
    count: Option<u64>,
    /// Another seed makes other records.
    #[serde(default)]
    seed: u64,
}

/// Where to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Position {
    /// Records that this task has made.
    made: u64,
}

/// The source.
#[derive(Debug)]
pub struct Generator {
    fields: Fields,
    rate: Option<f64>,
    count: u64,
    seed: u64,
    parts: Parts,
    made: u64,
    pace: Pace,
}

/// Which numbers a task makes: of every `of`, those at `own`.
#[derive(Clone, Debug)]
struct Parts {
    own: Vec<u64>,
    of: u64,
}

/// When records are due.
#[derive(Clone, Copy, Debug, Default)]
struct Pace {
    since: Duration,
    /// Records made since then.
    made: u64,
}

/// What was not taken for so long is not made up for: a pause is not followed by a flood.
const BEHIND_MAX: Duration = Duration::from_secs(1);

impl Source for Generator {
    type Config = Config;
    type Position = Position;

    fn new(config: Config, _: &Context) -> Result<Generator, Error> {
        let fields = Fields::new(config.fields.get(), config.key.as_deref())?;
        if config.rate.is_some_and(|rate| !(rate.is_finite() && rate > 0.0)) {
            return Err(Error::config("rate: more than 0 records a second"));
        }
        Ok(Generator {
            fields,
            rate: config.rate,
            count: config.count.unwrap_or(u64::MAX),
            seed: config.seed,
            parts: Parts { own: vec![0], of: 1 },
            made: 0,
            pace: Pace::default(),
        })
    }

    fn plan(&mut self, tasks_max: u32) -> Result<Vec<Split>, Error> {
        let split = |own: u32| Split { id: format!("{own}/{tasks_max}"), properties: Vec::new() };
        Ok((0..tasks_max).map(split).collect())
    }

    fn start(&mut self, splits: Vec<Split>, position: Option<Position>) -> Result<(), Error> {
        self.parts = Parts::new(&splits)?;
        self.made = position.map_or(0, |position| position.made);
        self.pace = Pace { since: task::now(), made: 0 };
        Ok(())
    }

    fn poll(&mut self, limits: &Limits, out: &mut Outgoing) -> Result<Poll<Position>, Error> {
        let left = self.left();
        let due = if left == 0 { 0 } else { self.due() };
        if due == 0 {
            task::sleep(limits.wait.min(self.until_next().unwrap_or(limits.wait)));
        }
        let due = if left == 0 { 0 } else { self.due() };
        let mut room = true;
        while room && (out.len() as u64) < due.min(left) {
            let number = self.parts.number(self.made + out.len() as u64);
            let (key, value) = self.fields.make(self.seed, number);
            room = out.has_room(limits, value.len() + key.as_ref().map_or(0, String::len));
            if room {
                let key = key.as_ref().map(String::as_bytes);
                let value = Some(value.as_bytes());
                out.push(&NewRecord { key, value, ..NewRecord::default() });
            }
        }
        self.made += out.len() as u64;
        self.pace.made += out.len() as u64;
        let more = self.left() > 0 && (self.rate.is_none() || !room);
        Ok(Poll { position: Position { made: self.made }, more })
    }
}

impl Generator {
    /// Records this task has still to make.
    fn left(&self) -> u64 {
        self.parts.share(self.count).saturating_sub(self.made)
    }

    /// Records that are due and not made.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate times a time is neither negative nor beyond 2^64"
    )]
    fn due(&mut self) -> u64 {
        let Some(rate) = self.own_rate() else { return u64::MAX };
        let now = task::now();
        // A little more than the product, which may fall short of a whole number by its last bit.
        let due = (now.saturating_sub(self.pace.since).as_secs_f64() * rate + 1e-6) as u64;
        let behind = due.saturating_sub(self.pace.made);
        let behind_max = (BEHIND_MAX.as_secs_f64() * rate).ceil() as u64;
        if behind > behind_max {
            // Begin anew, one such stretch ago.
            self.pace = Pace { since: now.saturating_sub(BEHIND_MAX), made: 0 };
            return behind_max;
        }
        behind
    }

    /// Time until the next record is due.
    #[expect(clippy::cast_precision_loss, reason = "a moment early or late")]
    fn until_next(&self) -> Option<Duration> {
        let rate = self.own_rate()?;
        let due = Duration::try_from_secs_f64((self.pace.made + 1) as f64 / rate).ok()?;
        let left = self.pace.since.saturating_add(due).saturating_sub(task::now());
        // Whatever is rounded, time goes on.
        (self.left() > 0).then_some(left.max(Duration::from_millis(1)))
    }

    /// The part of the rate that is this task's.
    #[expect(clippy::cast_precision_loss, reason = "there are few tasks")]
    fn own_rate(&self) -> Option<f64> {
        let (own, of) = (self.parts.own.len() as f64, self.parts.of as f64);
        self.rate.map(|rate| rate * own / of)
    }
}

impl Parts {
    fn new(splits: &[Split]) -> Result<Parts, Error> {
        let read = |split: &Split| {
            let (own, of) = split.id.split_once('/')?;
            Some((own.parse::<u64>().ok()?, of.parse::<u64>().ok().filter(|of| *of > 0)?))
        };
        let mut own = Vec::new();
        let mut of = 1;
        for split in splits {
            let part = read(split).filter(|(own, of)| own < of);
            let (part, parts) = part.ok_or_else(|| {
                Error::BadInput(format!("{:?} is no part of this source's work", split.id))
            })?;
            own.push(part);
            of = parts;
        }
        if own.is_empty() {
            return Err(Error::bad_input("no part of the work was assigned"));
        }
        Ok(Parts { own, of })
    }

    /// The number of the record that a task makes as its `index`th.
    fn number(&self, index: u64) -> u64 {
        let parts = self.own.len() as u64;
        let part = usize::try_from(index % parts).expect("one of a few");
        (index / parts) * self.of + self.own[part]
    }

    /// How many of `count` records are this task's.
    fn share(&self, count: u64) -> u64 {
        let of_part = |own: &u64| (count.saturating_sub(*own)).div_ceil(self.of);
        self.own.iter().map(of_part).fold(0, u64::saturating_add)
    }
}

brooklet::plugin! {
    name: "generator",
    description: "Makes up records, at a rate, by a seed.",
    roles: { source: Generator },
    config: {
        "type": "object",
        "required": ["fields"],
        "additionalProperties": false,
        "properties": {
            "fields": {
                "type": "object",
                "minProperties": 1,
                "description": "The members of each value, with what they are made of"
            },
            "key": { "type": "string", "description": "The field that is the key" },
            "rate": { "type": "number", "exclusiveMinimum": 0, "description": "Records a second, all tasks together" },
            "count": { "type": "integer", "minimum": 0, "description": "Records altogether" },
            "seed": { "type": "integer", "minimum": 0, "default": 0, "description": "Another seed makes other records" }
        }
    },
}

#[cfg(test)]
mod tests;
