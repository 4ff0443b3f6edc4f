//! The one writer to standard output. A reader that goes away ends the program quietly.

use std::io::{self, BufWriter, IsTerminal, Stdout, Write};

use comfy_table::{ContentArrangement, Table, presets};
use serde_json::Value;

use crate::failure::Failure;

/// Bytes gathered before they are written: what a pipe takes at once.
const BUFFER_BYTES: usize = 64 << 10;

/// Standard output.
pub(crate) struct Output {
    writer: BufWriter<Stdout>,
}

impl Output {
    pub(crate) fn new() -> Output {
        Output { writer: BufWriter::with_capacity(BUFFER_BYTES, io::stdout()) }
    }

    /// Writes bytes as they are.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.writer.write_all(bytes).map_err(|error| lost(&error))
    }

    /// Writes a line.
    pub(crate) fn line(&mut self, text: &str) -> Result<(), Failure> {
        writeln!(self.writer, "{text}").map_err(|error| lost(&error))
    }

    /// Writes one JSON value on a line.
    pub(crate) fn json(&mut self, value: &Value) -> Result<(), Failure> {
        self.line(&value.to_string())
    }

    /// Writes a table; without a line where nothing is in it but its head.
    pub(crate) fn table(&mut self, head: &[&str], rows: Vec<Vec<String>>) -> Result<(), Failure> {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_header(head.to_vec()).add_rows(rows);
        // A program that cuts columns wants whole lines; a person wants them to fit.
        let arrangement = if io::stdout().is_terminal() {
            ContentArrangement::Dynamic
        } else {
            ContentArrangement::Disabled
        };
        table.set_content_arrangement(arrangement);
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        let text = table.to_string();
        text.lines().try_for_each(|line| self.line(line.trim_end()))
    }

    /// Lets go of what is gathered.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        self.writer.flush().map_err(|error| lost(&error))
    }
}

/// Puts bytes into a JSON object: as text under `name`, or, where they are no text, in hexadecimal
/// under `name_hex`, so that nothing is lost.
pub(crate) fn put_bytes(object: &mut Value, name: &str, bytes: Option<&[u8]>) {
    match bytes.map(std::str::from_utf8) {
        None => object[name] = Value::Null,
        Some(Ok(text)) => object[name] = Value::from(text),
        Some(Err(_)) => {
            let bytes = bytes.unwrap_or_default().iter();
            let digits: String = bytes.map(|byte| format!("{byte:02x}")).collect();
            object[format!("{name}_hex")] = Value::from(digits);
        }
    }
}

fn lost(error: &io::Error) -> Failure {
    if error.kind() == io::ErrorKind::BrokenPipe {
        Failure::nobody_listens()
    } else {
        Failure::new(format!("write to standard output: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_text_keep_their_value() {
        let mut object = serde_json::json!({});
        put_bytes(&mut object, "key", Some(b"caf\xc3\xa9"));
        put_bytes(&mut object, "value", Some(b"\xff\x00\x0a"));
        put_bytes(&mut object, "other", None);
        let expected = serde_json::json!({ "key": "café", "value_hex": "ff000a", "other": null });
        assert_eq!(object, expected);
    }
}
