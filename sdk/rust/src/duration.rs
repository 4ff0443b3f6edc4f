//! Times in configurations: `250ms`, `5s`, `10m`, `2h`, `30d`.

use std::time::Duration;

use serde::{Deserialize as _, Deserializer};

const UNITS: [(&str, u64); 5] =
    [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// A whole number with its unit behind it.
pub fn parse(text: &str) -> Result<Duration, String> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let length = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, length)| *length);
    let millis = number.parse::<u64>().ok().zip(length).and_then(|(n, unit)| n.checked_mul(unit));
    // Whoever counts in signed milliseconds, as Kafka does, can take it as it is.
    let millis = millis.filter(|millis| i64::try_from(*millis).is_ok());
    millis.map(Duration::from_millis).ok_or_else(|| {
        format!("{text:?} is not a time: a whole number with ms, s, m, h or d behind it")
    })
}

/// The same, for `#[serde(deserialize_with = "brooklet::duration::deserialize")]`.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse(&text).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_numbers_with_a_unit() {
        let table =
            [("0s", 0), ("250ms", 250), ("1s", 1000), ("90m", 5_400_000), ("1d", 86_400_000)];
        for (text, millis) in table {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in [
            "",
            "7",
            "d",
            "7 d",
            "7w",
            "-1d",
            "1.5s",
            "9223372036854775808ms",
            "99999999999999999999d",
        ] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }
}
