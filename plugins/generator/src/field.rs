//! What a value is made of.

use std::fmt::Write as _;

use brooklet::{Error, json, task};
use serde_json::Value;

/// The fields of a value, in their order.
#[derive(Debug)]
pub(crate) struct Fields {
    fields: Vec<(String, Kind)>,
    /// The index of the one that is the key.
    key: Option<usize>,
}

/// What a field is made of.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Kind {
    /// Always the same.
    Constant(Value),
    /// One of these.
    Choice(Vec<Value>),
    /// The number of the record, times `step`, from `start` on.
    Sequence {
        #[serde(default)]
        start: i64,
        #[serde(default = "one")]
        step: i64,
    },
    /// A whole number from `min` to `max`, both included.
    Integer { min: i64, max: i64 },
    /// A number from `min` to `max`.
    Number { min: f64, max: f64 },
    /// So many small letters.
    Text { length: usize },
    /// True with this probability.
    Boolean { probability: f64 },
    /// A random UUID.
    Uuid,
    /// The time of day, milliseconds since the epoch.
    Timestamp,
}

fn one() -> i64 {
    1
}

/// Longer texts are no test data.
const TEXT_MAX: usize = 1 << 20;

impl Fields {
    pub(crate) fn new(text: &str, key: Option<&str>) -> Result<Fields, Error> {
        let mut fields = Vec::new();
        let mut problem = None;
        let read = json::members(text, |name, kind| match Kind::read(kind) {
            Ok(kind) => fields.push((name.to_owned(), kind)),
            Err(found) => problem = Some(format!("fields.{name}: {found}")),
        });
        let is_object = read.map_err(|error| Error::Config(format!("fields: {error}")))?;
        if let Some(problem) = problem {
            return Err(Error::Config(problem));
        }
        if !is_object || fields.is_empty() {
            return Err(Error::config("fields: an object with at least one member"));
        }
        let find = |name: &str| fields.iter().position(|(field, _)| field == name);
        let index = key.map(|name| {
            find(name).ok_or_else(|| Error::Config(format!("key: there is no field {name:?}")))
        });
        Ok(Fields { key: index.transpose()?, fields })
    }

    /// Key and value of a record.
    pub(crate) fn make(&self, seed: u64, number: u64) -> (Option<String>, String) {
        let mut value = String::from("{");
        let mut key = None;
        for (index, (name, kind)) in self.fields.iter().enumerate() {
            if index > 0 {
                value.push(',');
            }
            value.push_str(&Value::from(name.as_str()).to_string());
            value.push(':');
            let start = value.len();
            kind.put(Chance::new(seed, number, index as u64), number, &mut value);
            if self.key == Some(index) {
                let made = &value[start..];
                let text = serde_json::from_str::<String>(made);
                key = Some(text.unwrap_or_else(|_| made.to_owned()));
            }
        }
        value.push('}');
        (key, value)
    }
}

impl Kind {
    fn read(text: &str) -> Result<Kind, String> {
        let kind = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let problem = match &kind {
            Kind::Choice(choices) if choices.is_empty() => "nothing to choose from",
            Kind::Integer { min, max } if min > max => "min is more than max",
            Kind::Number { min, max } if min > max => "min is more than max",
            Kind::Text { length } if *length > TEXT_MAX => "longer than 1 MiB",
            Kind::Boolean { probability } if !(0.0..=1.0).contains(probability) => {
                "a probability is between 0 and 1"
            }
            _ => return Ok(kind),
        };
        Err(problem.to_owned())
    }

    fn put(&self, mut chance: Chance, number: u64, out: &mut String) {
        let written = match self {
            Kind::Constant(value) => write!(out, "{value}"),
            Kind::Choice(choices) => {
                write!(out, "{}", choices[chance.below(choices.len() as u64)])
            }
            Kind::Sequence { start, step } => {
                // Whoever counts beyond 2^63 begins again at the other end.
                let steps = number.cast_signed().wrapping_mul(*step);
                write!(out, "{}", start.wrapping_add(steps))
            }
            Kind::Integer { min, max } => {
                let span = max.wrapping_sub(*min).cast_unsigned();
                let above =
                    if span == u64::MAX { chance.next() } else { chance.next() % (span + 1) };
                write!(out, "{}", min.wrapping_add(above.cast_signed()))
            }
            Kind::Number { min, max } => {
                write!(out, "{}", Value::from(min + (max - min) * chance.fraction()))
            }
            Kind::Text { length } => {
                let letter = |chance: &mut Chance| char::from(b'a' + chance.below(26) as u8);
                out.push('"');
                out.extend((0..*length).map(|_| letter(&mut chance)));
                write!(out, "\"")
            }
            Kind::Boolean { probability } => write!(out, "{}", chance.fraction() < *probability),
            Kind::Uuid => {
                let (a, b) = (chance.next(), chance.next());
                // Version 4, variant 1 (RFC 9562, section 5.4).
                let a = (a & !0xf000) | 0x4000;
                let b = (b & !(0b11 << 62)) | (0b10 << 62);
                let (low, high) = ((a >> 16) & 0xffff, a >> 32);
                write!(
                    out,
                    "\"{high:08x}-{low:04x}-{:04x}-{:04x}-{:012x}\"",
                    a & 0xffff,
                    b >> 48,
                    b & 0xffff_ffff_ffff
                )
            }
            Kind::Timestamp => write!(out, "{}", task::timestamp()),
        };
        written.expect("a string takes everything");
    }
}

/// Random numbers that depend on the seed, the record and the field alone: `splitmix64`.
struct Chance(u64);

impl Chance {
    fn new(seed: u64, number: u64, field: u64) -> Chance {
        let mut chance = Chance(seed);
        chance.0 = chance.next() ^ number;
        chance.0 = chance.next() ^ field;
        chance
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> usize {
        usize::try_from(self.next() % bound).expect("less than a length")
    }

    /// From 0 to just below 1.
    #[expect(clippy::cast_precision_loss, reason = "53 bits are what a number has")]
    fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}
