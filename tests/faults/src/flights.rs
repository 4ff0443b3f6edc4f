//! The flights that are sent: lines of a file, over and over.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::failure::{Failure, context};

/// Lines without their header, each with its aircraft, which is the key.
pub(crate) struct Flights {
    lines: Vec<(String, String)>,
}

/// The column that is the key.
const KEY: &str = "tailnum";

impl Flights {
    /// Reads a file; one that is zipped, with `unzip`.
    pub(crate) fn load(path: &Path) -> Result<Flights, Failure> {
        let failed = context(&format!("read {}", path.display()));
        let text = if path.extension().is_some_and(|it| it == "zip") {
            // More than fits into a pipe, so it is read while it is said.
            let mut command = Command::new("unzip");
            let output = command.arg("-p").arg(path).stderr(Stdio::null()).output();
            String::from_utf8_lossy(&output.map_err(failed)?.stdout).into_owned()
        } else {
            fs::read_to_string(path).map_err(failed)?
        };
        Flights::parse(&text)
            .ok_or_else(|| Failure(format!("{}: no flights with a {KEY}", path.display())))
    }

    fn parse(text: &str) -> Option<Flights> {
        let mut lines = text.lines();
        let column = lines.next()?.split(',').position(|name| name.trim_matches('"') == KEY)?;
        let keyed = |line: &str| Some((line.split(',').nth(column)?.to_owned(), line.to_owned()));
        let lines: Vec<_> = lines.filter_map(keyed).collect();
        (!lines.is_empty()).then_some(Flights { lines })
    }

    /// Key and line of a record.
    pub(crate) fn get(&self, number: u64) -> (&str, &str) {
        let count = u64::try_from(self.lines.len()).expect("a usize fits");
        let at = usize::try_from(number % count).expect("below a usize");
        let (key, line) = &self.lines[at];
        (key, line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_with_their_key_and_begin_again_at_the_end() {
        let flights = Flights::parse("year,tailnum,dest\n2013,N1,IAH\n2013,N2,MIA\n").unwrap();
        assert_eq!(flights.get(0), ("N1", "2013,N1,IAH"));
        assert_eq!(flights.get(3), ("N2", "2013,N2,MIA"));
        assert!(Flights::parse("year,tailnum\n").is_none(), "no line");
        assert!(Flights::parse("year,dest\n2013,IAH\n").is_none(), "no key");
    }
}
