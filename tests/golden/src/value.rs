//! Field values as scripts and transcripts write them: `{name: "x", partitions: [0, 1], id: $topic1}`.
//!
//! One parser and one printer, each the other's inverse: a transcript is read back to be compared.

use std::fmt::{self, Write};

/// Where lines end.
const COLUMNS: usize = 100;

/// A value of a field.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Null,
    Bool(bool),
    Int(i64),
    /// `1000.0`.
    Float(f64),
    /// Milliseconds since the transcript began: `@5`. Stored times must be close to now.
    Time(i64),
    Text(String),
    /// `0x00ff`.
    Bytes(Vec<u8>),
    /// A bare word: an error's name, or `$x`, which stands for what the broker made up.
    Name(String),
    List(Vec<Value>),
    Record(Vec<(String, Value)>),
}

impl Value {
    /// Reads one value that fills the whole of `text`.
    pub fn parse(text: &str) -> Result<Value, String> {
        let mut parser = Parser { text: text.as_bytes(), at: 0 };
        let value = parser.value()?;
        parser.blank();
        if parser.at < parser.text.len() {
            return Err(format!("text behind the value: {}", &text[parser.at..]));
        }
        Ok(value)
    }

    /// The field `name` of a record.
    pub fn field(&self, name: &str) -> Option<&Value> {
        let Value::Record(fields) = self else { return None };
        fields.iter().find(|(field, _)| field == name).map(|(_, value)| value)
    }

    /// What `path` leads to: `topics.0.name`.
    pub fn at(&self, path: &str) -> Option<&Value> {
        path.split('.').try_fold(self, |value, part| match (value, part.parse::<usize>()) {
            (Value::List(elements), Ok(index)) => elements.get(index),
            _ => value.field(part),
        })
    }

    /// On one line if it fits behind the `used` columns of the first one, else on several: short
    /// fields fill a line together, two columns deeper than `indent`.
    pub fn pretty(&self, used: usize, indent: usize) -> String {
        let line = self.to_string();
        if used + line.len() <= COLUMNS {
            return line;
        }
        let inner = indent + 2;
        match self {
            // The brackets of a single element stand with its own.
            Value::List(elements) if elements.len() == 1 => {
                format!("[{}]", elements[0].pretty(used + 2, indent))
            }
            Value::List(elements) => {
                let parts = elements.iter().map(|element| element.pretty(inner, inner)).collect();
                format!("[\n{}{:indent$}]", filled(parts, inner), "")
            }
            Value::Record(fields) => {
                let part = |(name, value): &(String, Value)| {
                    format!("{name}: {}", value.pretty(inner + name.len() + 2, inner))
                };
                let parts = fields.iter().map(part).collect();
                format!("{{\n{}{:indent$}}}", filled(parts, inner), "")
            }
            _ => line,
        }
    }
}

/// The parts of a list or record, as many on a line as fit.
fn filled(parts: Vec<String>, indent: usize) -> String {
    let mut lines: Vec<String> = Vec::new();
    // A part of several lines shares none of them.
    let mut open = false;
    for part in parts {
        let whole = !part.contains('\n');
        match lines.last_mut() {
            Some(line) if open && whole && indent + line.len() + part.len() + 3 <= COLUMNS => {
                line.push_str(", ");
                line.push_str(&part);
            }
            _ => lines.push(part),
        }
        open = whole;
    }
    lines.iter().fold(String::new(), |mut text, line| {
        writeln!(text, "{:indent$}{line},", "").expect("a string takes any text");
        text
    })
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Null => f.write_str("null"),
            Value::Bool(value) => write!(f, "{value}"),
            Value::Int(value) => write!(f, "{value}"),
            Value::Float(value) => write!(f, "{value:?}"),
            Value::Time(value) => write!(f, "@{value}"),
            Value::Text(text) => write!(f, "{text:?}"),
            Value::Bytes(bytes) => write!(f, "0x{}", hex(bytes)),
            Value::Name(name) => f.write_str(name),
            Value::List(elements) => {
                f.write_char('[')?;
                for (at, element) in elements.iter().enumerate() {
                    write!(f, "{}{element}", if at == 0 { "" } else { ", " })?;
                }
                f.write_char(']')
            }
            Value::Record(fields) => {
                f.write_char('{')?;
                for (at, (name, value)) in fields.iter().enumerate() {
                    write!(f, "{}{name}: {value}", if at == 0 { "" } else { ", " })?;
                }
                f.write_char('}')
            }
        }
    }
}

/// Lower-case digits, two a byte.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes any text");
        text
    })
}

/// The bytes of an even number of digits.
pub fn unhex(digits: &str) -> Result<Vec<u8>, String> {
    let pairs = digits.as_bytes().chunks(2);
    let byte = |pair: &[u8]| {
        let pair = std::str::from_utf8(pair).map_err(|error| error.to_string())?;
        u8::from_str_radix(pair, 16).map_err(|error| format!("{pair:?}: {error}"))
    };
    pairs.map(byte).collect()
}

struct Parser<'a> {
    text: &'a [u8],
    at: usize,
}

impl Parser<'_> {
    fn value(&mut self) -> Result<Value, String> {
        self.blank();
        match self.peek() {
            Some(b'{') => self.record(),
            Some(b'[') => self.list(),
            Some(b'"') => self.text(),
            Some(b'@') => {
                self.at += 1;
                self.integer().map(Value::Time)
            }
            Some(b'0') if self.text.get(self.at + 1) == Some(&b'x') => {
                self.at += 2;
                unhex(&self.word()).map(Value::Bytes)
            }
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(_) => match self.word().as_str() {
                "" => Err(self.wrong("a value")),
                "null" => Ok(Value::Null),
                "true" => Ok(Value::Bool(true)),
                "false" => Ok(Value::Bool(false)),
                word => Ok(Value::Name(word.to_owned())),
            },
            None => Err(self.wrong("a value")),
        }
    }

    fn record(&mut self) -> Result<Value, String> {
        let mut fields = Vec::new();
        self.at += 1;
        while !self.close(b'}') {
            let name = self.word();
            self.expect(b':')?;
            fields.push((name, self.value()?));
            self.comma(b'}')?;
        }
        Ok(Value::Record(fields))
    }

    fn list(&mut self) -> Result<Value, String> {
        let mut elements = Vec::new();
        self.at += 1;
        while !self.close(b']') {
            elements.push(self.value()?);
            self.comma(b']')?;
        }
        Ok(Value::List(elements))
    }

    /// A quoted text with Rust's escapes, as `{:?}` prints it.
    fn text(&mut self) -> Result<Value, String> {
        self.at += 1;
        let rest = std::str::from_utf8(&self.text[self.at..]).map_err(|error| error.to_string())?;
        let mut text = String::new();
        let mut letters = rest.char_indices();
        while let Some((at, letter)) = letters.next() {
            match letter {
                '"' => {
                    self.at += at + 1;
                    return Ok(Value::Text(text));
                }
                '\\' => match letters.next() {
                    Some((_, 'n')) => text.push('\n'),
                    Some((_, 't')) => text.push('\t'),
                    Some((_, 'r')) => text.push('\r'),
                    Some((_, '0')) => text.push('\0'),
                    Some((_, 'u')) => {
                        let code: String = letters
                            .by_ref()
                            .map(|(_, letter)| letter)
                            .take_while(|letter| *letter != '}')
                            .filter(|letter| *letter != '{')
                            .collect();
                        let code = u32::from_str_radix(&code, 16).ok().and_then(char::from_u32);
                        text.push(code.ok_or("not a character")?);
                    }
                    Some((_, letter)) => text.push(letter),
                    None => break,
                },
                letter => text.push(letter),
            }
        }
        Err(self.wrong("a closing quote"))
    }

    fn number(&mut self) -> Result<Value, String> {
        let start = self.at;
        let word = self.word();
        if self.peek() != Some(b'.') {
            return word.parse().map(Value::Int).map_err(|error| format!("{word:?}: {error}"));
        }
        self.at += 1;
        self.word();
        let text = String::from_utf8_lossy(&self.text[start..self.at]);
        text.parse().map(Value::Float).map_err(|error| format!("{text:?}: {error}"))
    }

    fn integer(&mut self) -> Result<i64, String> {
        let word = self.word();
        word.parse().map_err(|error| format!("{word:?}: {error}"))
    }

    fn word(&mut self) -> String {
        self.blank();
        let start = self.at;
        let letter = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-$".contains(byte);
        while self.text.get(self.at).is_some_and(letter) {
            self.at += 1;
        }
        String::from_utf8_lossy(&self.text[start..self.at]).into_owned()
    }

    fn comma(&mut self, close: u8) -> Result<(), String> {
        self.blank();
        if self.peek() == Some(close) { Ok(()) } else { self.expect(b',') }
    }

    fn close(&mut self, close: u8) -> bool {
        self.blank();
        let closes = self.peek() == Some(close);
        self.at += usize::from(closes);
        closes
    }

    fn expect(&mut self, byte: u8) -> Result<(), String> {
        self.blank();
        if self.peek() != Some(byte) {
            return Err(self.wrong(&format!("{:?}", char::from(byte))));
        }
        self.at += 1;
        Ok(())
    }

    fn blank(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn wrong(&self, wanted: &str) -> String {
        let rest = String::from_utf8_lossy(&self.text[self.at..]);
        format!("{wanted} expected at {:?}", rest.chars().take(40).collect::<String>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_read_back() {
        for text in [
            "null",
            "-1",
            "-1.5",
            "1000.0",
            "@-5",
            "0x00ff",
            "NOT_COORDINATOR",
            "$member1",
            r#""a \"quoted\"\nline\u{7f}""#,
            "[]",
            "{}",
            r#"{a: [1, {b: true}], c: ""}"#,
        ] {
            let value = Value::parse(text).unwrap();
            assert_eq!(value.to_string(), text);
            assert_eq!(Value::parse(&value.pretty(99, 4)).unwrap(), value);
        }
    }
}
