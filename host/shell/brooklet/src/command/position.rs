//! Positions as people write them: `start`, `end`, an offset, `-N` from the end, `@TIME`.

use std::str::FromStr;

use brooklet_types::Timestamp;

/// Where to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Position {
    Start,
    End,
    Offset(i64),
    /// So many records before the end.
    Last(i64),
    At(Timestamp),
}

impl FromStr for Position {
    type Err = String;

    fn from_str(text: &str) -> Result<Position, String> {
        let wrong = || format!("{text:?} is none of start, end, OFFSET, -N, @TIME");
        match text {
            "start" | "beginning" | "earliest" => return Ok(Position::Start),
            "end" | "latest" => return Ok(Position::End),
            _ => {}
        }
        if let Some(time) = text.strip_prefix('@') {
            return parse_time(time).map(Position::At);
        }
        match text.parse::<i64>().map_err(|_| wrong())? {
            offset if offset >= 0 => Ok(Position::Offset(offset)),
            back => Ok(Position::Last(back.checked_neg().ok_or_else(wrong)?)),
        }
    }
}

/// Milliseconds since 1970, or a time as RFC 3339 writes it.
pub(crate) fn parse_time(text: &str) -> Result<Timestamp, String> {
    if let Ok(millis) = text.parse::<i64>() {
        return Ok(Timestamp(millis));
    }
    let time = text.parse::<jiff::Timestamp>();
    time.map(|time| Timestamp(time.as_millisecond())).map_err(|error| {
        format!("{text:?} is no time such as 2013-01-01T05:15:00Z or 1357017300000: {error}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_read_as_people_write_them() {
        let cases = [
            ("start", Position::Start),
            ("end", Position::End),
            ("42", Position::Offset(42)),
            ("-5", Position::Last(5)),
            ("@1357017300000", Position::At(Timestamp(1_357_017_300_000))),
            ("@2013-01-01T05:15:00Z", Position::At(Timestamp(1_357_017_300_000))),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
        for wrong in ["", "x", "@yesterday", "-9223372036854775808"] {
            assert!(wrong.parse::<Position>().is_err(), "{wrong}");
        }
    }
}
