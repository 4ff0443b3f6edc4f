//! Values to bytes and back, led by Kafka's definitions.
//!
//! The encoder writes what it is told, wrong values included: it is there to send broken requests
//! too. A field that the value leaves out takes Kafka's default.

use crate::batch;
use crate::schema::{Field, Kind, Message};
use crate::value::Value;

/// The body of `message` in `version`. `base` is the time that `@0` stands for.
pub fn encode(message: &Message, version: i16, value: &Value, base: i64) -> Vec<u8> {
    let writer = Writer { version, flexible: message.flexible.contain(version), base };
    let mut out = Vec::new();
    writer.fields(&message.fields, value, &mut out);
    out
}

/// The value of a whole body; every byte must be used.
pub fn decode(message: &Message, version: i16, body: &[u8]) -> Result<Value, String> {
    let flexible = message.flexible.contain(version);
    let mut reader = Reader { version, flexible, rest: body };
    let value = reader.fields(&message.fields)?;
    if reader.rest.is_empty() {
        Ok(value)
    } else {
        Err(format!("{} bytes behind the body", reader.rest.len()))
    }
}

struct Writer {
    version: i16,
    flexible: bool,
    base: i64,
}

impl Writer {
    fn fields(&self, fields: &[Field], value: &Value, out: &mut Vec<u8>) {
        let Value::Record(given) = value else { panic!("{value} is not a record") };
        for (name, _) in given {
            assert!(fields.iter().any(|field| field.name == *name), "no field is called {name}");
        }
        let mut tagged = Vec::new();
        for field in fields.iter().filter(|field| field.versions.contain(self.version)) {
            if !field.tagged.contain(self.version) {
                let value = value.field(&field.name).cloned().unwrap_or_else(|| default(field));
                self.value(&field.kind, field.nullable.contain(self.version), &value, out);
            } else if let Some(value) = value.field(&field.name) {
                let mut bytes = Vec::new();
                self.value(&field.kind, field.nullable.contain(self.version), value, &mut bytes);
                tagged.push((field.tag, bytes));
            }
        }
        if self.flexible {
            tagged.sort();
            varint(tagged.len() as u64, out);
            for (tag, bytes) in tagged {
                varint(u64::from(tag), out);
                varint(bytes.len() as u64, out);
                out.extend(bytes);
            }
        }
    }

    fn value(&self, kind: &Kind, nullable: bool, value: &Value, out: &mut Vec<u8>) {
        match (kind, value) {
            (Kind::Bool, Value::Bool(value)) => out.push(u8::from(*value)),
            (Kind::Float, Value::Float(value)) => out.extend(value.to_be_bytes()),
            (Kind::Int(size), Value::Int(value)) => {
                out.extend(&value.to_be_bytes()[8 - size..]);
            }
            (Kind::Int(8), Value::Time(value)) => out.extend((self.base + value).to_be_bytes()),
            (Kind::Uint16, Value::Int(value)) => out.extend(&value.to_be_bytes()[6..]),
            (Kind::Uuid, Value::Name(name)) if name == "none" => out.extend([0; 16]),
            (Kind::Uuid, Value::Bytes(bytes)) => out.extend(bytes),
            (Kind::Text, Value::Null) => self.length(None, 2, out),
            (Kind::Text, Value::Text(text)) => {
                self.length(Some(text.len()), 2, out);
                out.extend(text.as_bytes());
            }
            (Kind::Bytes | Kind::Records | Kind::List(_), Value::Null) => self.length(None, 4, out),
            (Kind::Bytes | Kind::Records, Value::Bytes(bytes)) => {
                self.length(Some(bytes.len()), 4, out);
                out.extend(bytes);
            }
            (Kind::Bytes, Value::Text(text)) => {
                self.length(Some(text.len()), 4, out);
                out.extend(text.as_bytes());
            }
            (Kind::Records, Value::List(batches)) => {
                let bytes: Vec<u8> =
                    batches.iter().flat_map(|value| batch::encode(value, self.base)).collect();
                self.length(Some(bytes.len()), 4, out);
                out.extend(bytes);
            }
            (Kind::List(element), Value::List(elements)) => {
                self.length(Some(elements.len()), 4, out);
                for value in elements {
                    self.value(element, false, value, out);
                }
            }
            (Kind::Struct(_), Value::Null) => out.push(0xff),
            (Kind::Struct(fields), value) => {
                if nullable {
                    out.push(1);
                }
                self.fields(fields, value, out);
            }
            (kind, value) => panic!("{value} is not a {kind:?}"),
        }
    }

    /// A length or a null, compact where the version is.
    fn length(&self, length: Option<usize>, size: usize, out: &mut Vec<u8>) {
        if self.flexible {
            varint(length.map_or(0, |length| length as u64 + 1), out);
        } else {
            let length = length.map_or(-1, |length| length as i64);
            out.extend(&length.to_be_bytes()[8 - size..]);
        }
    }
}

/// Kafka's default for a field that a value leaves out.
fn default(field: &Field) -> Value {
    let written = field.default.as_deref();
    match &field.kind {
        _ if written == Some("null") => Value::Null,
        Kind::Bool => Value::Bool(written == Some("true")),
        Kind::Float => Value::Float(0.0),
        Kind::Int(_) | Kind::Uint16 => Value::Int(match written {
            None => 0,
            Some(text) => match text.strip_prefix("0x") {
                Some(digits) => i64::from_str_radix(digits, 16).expect("a default is a number"),
                None => text.parse().expect("a default is a number"),
            },
        }),
        Kind::Text => Value::Text(written.unwrap_or_default().to_owned()),
        Kind::Bytes => Value::Bytes(Vec::new()),
        Kind::Records => Value::Null,
        Kind::Uuid => Value::Name("none".to_owned()),
        Kind::List(_) => Value::List(Vec::new()),
        Kind::Struct(_) => Value::Record(Vec::new()),
    }
}

/// Whether `value` is what a reader would assume if it were not there.
fn is_default(field: &Field, value: &Value) -> bool {
    let inner = |name: &str, fields: &[Field], value: &Value| {
        fields.iter().any(|field| field.name == name && is_default(field, value))
    };
    match (&field.kind, value) {
        (Kind::Struct(fields), Value::Record(values)) => {
            values.iter().all(|(name, value)| inner(name, fields, value))
        }
        _ => default(field) == *value,
    }
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

struct Reader<'a> {
    version: i16,
    flexible: bool,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn fields(&mut self, fields: &[Field]) -> Result<Value, String> {
        let mut values = Vec::new();
        for field in fields {
            let version = self.version;
            if field.versions.contain(version) && !field.tagged.contain(version) {
                let value = self.value(&field.kind, field.nullable.contain(version));
                let value = value.map_err(|error| format!("{}: {error}", field.name))?;
                values.push((field.name.clone(), value));
            }
        }
        if self.flexible {
            for _ in 0..self.varint()? {
                let tag = self.varint()?;
                let length = self.varint()?;
                let bytes = self.take(length as usize)?;
                // A default that is sent says the same as one that is not.
                values.extend(self.tagged(fields, tag, bytes)?);
            }
        }
        Ok(Value::Record(values))
    }

    fn tagged(
        &self,
        fields: &[Field],
        tag: u64,
        rest: &[u8],
    ) -> Result<Option<(String, Value)>, String> {
        let known =
            |field: &&Field| field.tagged.contain(self.version) && u64::from(field.tag) == tag;
        let Some(field) = fields.iter().find(known) else {
            return Ok(Some((format!("tag_{tag}"), Value::Bytes(rest.to_vec()))));
        };
        let mut reader = Reader { version: self.version, flexible: true, rest };
        let value = reader.value(&field.kind, field.nullable.contain(self.version))?;
        Ok((!is_default(field, &value)).then(|| (field.name.clone(), value)))
    }

    fn value(&mut self, kind: &Kind, nullable: bool) -> Result<Value, String> {
        Ok(match kind {
            Kind::Bool => Value::Bool(self.int(1)? != 0),
            Kind::Int(size) => Value::Int(self.int(*size)?),
            Kind::Float => Value::Float(f64::from_bits(self.int(8)?.cast_unsigned())),
            Kind::Uint16 => Value::Int(self.int(2)? & 0xffff),
            Kind::Uuid => match self.take(16)? {
                zero if zero.iter().all(|byte| *byte == 0) => Value::Name("none".to_owned()),
                bytes => Value::Bytes(bytes.to_vec()),
            },
            Kind::Text => match self.length(2)? {
                None => Value::Null,
                Some(length) => {
                    let bytes = self.take(length)?.to_vec();
                    Value::Text(String::from_utf8(bytes).map_err(|error| error.to_string())?)
                }
            },
            Kind::Bytes => match self.length(4)? {
                None => Value::Null,
                Some(length) => readable(self.take(length)?),
            },
            Kind::Records => match self.length(4)? {
                None => Value::Null,
                Some(length) => batch::decode(self.take(length)?)?,
            },
            Kind::List(element) => match self.length(4)? {
                None => Value::Null,
                Some(length) => {
                    let values = (0..length).map(|_| self.value(element, false));
                    Value::List(values.collect::<Result<_, _>>()?)
                }
            },
            Kind::Struct(fields) => {
                if nullable && self.int(1)? < 0 {
                    return Ok(Value::Null);
                }
                self.fields(fields)?
            }
        })
    }

    fn length(&mut self, size: usize) -> Result<Option<usize>, String> {
        let length = if self.flexible {
            i64::try_from(self.varint()?).map_err(|error| error.to_string())? - 1
        } else {
            self.int(size)?
        };
        Ok(usize::try_from(length).ok())
    }

    fn int(&mut self, size: usize) -> Result<i64, String> {
        let bytes = self.take(size)?;
        let negative = bytes[0] & 0x80 != 0;
        let start = if negative { -1 } else { 0 };
        Ok(bytes.iter().fold(start, |value: i64, byte| value << 8 | i64::from(*byte)))
    }

    fn varint(&mut self) -> Result<u64, String> {
        let mut value = 0;
        for shift in (0..63).step_by(7) {
            let byte = self.take(1)?[0];
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("a varint without an end".to_owned())
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or("the body ends too early")?;
        self.rest = rest;
        Ok(taken)
    }
}

/// Bytes that are plain text are shown as text.
pub fn readable(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.chars().all(|letter| !letter.is_control()) => Value::Text(text.to_owned()),
        _ => Value::Bytes(bytes.to_vec()),
    }
}
