//! A datum as JSON.

use std::io::Write as _;

use apache_avro::Schema;
use apache_avro::schema::Namespace;
use apache_avro::types::Value;
use brooklet::Reject;
use num_bigint::{BigInt, Sign};

use crate::schema::{Known, within};

/// Appends a datum as JSON, record fields in the schema's order, maps by their keys.
pub(crate) fn show(known: &Known, value: &Value, out: &mut Vec<u8>) -> Result<(), Reject> {
    put(known, &known.schema, &None, value, out).map_err(|problem| Reject::new("schema", problem))
}

fn put(
    known: &Known,
    schema: &Schema,
    namespace: &Namespace,
    value: &Value,
    out: &mut Vec<u8>,
) -> Result<(), String> {
    let schema = known.resolve(schema, namespace)?;
    match (value, schema) {
        (Value::Union(index, inner), Schema::Union(union)) => {
            let variant = union.variants().get(*index as usize).ok_or("no such branch")?;
            return put(known, variant, namespace, inner, out);
        }
        (Value::Record(fields), Schema::Record(record)) => {
            let inner = within(&record.name, namespace);
            out.push(b'{');
            for (index, ((name, value), field)) in fields.iter().zip(&record.fields).enumerate() {
                comma(index, out);
                text(name, out);
                out.push(b':');
                put(known, &field.schema, &inner, value, out)?;
            }
            out.push(b'}');
        }
        (Value::Array(items), Schema::Array(array)) => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                comma(index, out);
                put(known, &array.items, namespace, item, out)?;
            }
            out.push(b']');
        }
        (Value::Map(members), Schema::Map(map)) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_unstable_by_key(|(name, _)| *name);
            out.push(b'{');
            for (index, (name, member)) in members.into_iter().enumerate() {
                comma(index, out);
                text(name, out);
                out.push(b':');
                put(known, &map.types, namespace, member, out)?;
            }
            out.push(b'}');
        }
        (Value::Decimal(decimal), Schema::Decimal(schema)) => {
            text(&digits(&BigInt::from(decimal.clone()), schema.scale), out);
        }
        (leaf, _) => return put_leaf(leaf, out),
    }
    Ok(())
}

fn put_leaf(value: &Value, out: &mut Vec<u8>) -> Result<(), String> {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Boolean(truth) => write(out, format_args!("{truth}")),
        Value::Int(n) | Value::Date(n) | Value::TimeMillis(n) => write(out, format_args!("{n}")),
        Value::Long(n)
        | Value::TimeMicros(n)
        | Value::TimestampMillis(n)
        | Value::TimestampMicros(n)
        | Value::TimestampNanos(n)
        | Value::LocalTimestampMillis(n)
        | Value::LocalTimestampMicros(n)
        | Value::LocalTimestampNanos(n) => write(out, format_args!("{n}")),
        Value::Float(n) if n.is_finite() => to_json(n, out),
        Value::Double(n) if n.is_finite() => to_json(n, out),
        // As Avro's own JSON has them.
        Value::Float(n) => text(special(f64::from(*n)), out),
        Value::Double(n) => text(special(*n), out),
        Value::String(string) => text(string, out),
        Value::Enum(_, symbol) => text(symbol, out),
        Value::Uuid(uuid) => text(&uuid.to_string(), out),
        Value::BigDecimal(decimal) => text(&decimal.to_string(), out),
        Value::Bytes(bytes) | Value::Fixed(_, bytes) => text(&characters(bytes), out),
        Value::Duration(duration) => text(&characters(&<[u8; 12]>::from(*duration)), out),
        Value::Union(..)
        | Value::Record(_)
        | Value::Array(_)
        | Value::Map(_)
        | Value::Decimal(_) => return Err("the datum is not what its schema says".to_owned()),
    }
    Ok(())
}

fn special(number: f64) -> &'static str {
    if number.is_nan() {
        "NaN"
    } else if number > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    }
}

/// A character from U+0000 to U+00FF for each byte.
fn characters(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

/// A whole number with its decimal point put in.
fn digits(unscaled: &BigInt, scale: usize) -> String {
    let (sign, magnitude) = (unscaled.sign(), unscaled.magnitude().to_string());
    let padded = format!("{magnitude:0>width$}", width = scale + 1);
    let (whole, fraction) = padded.split_at(padded.len() - scale);
    let minus = if sign == Sign::Minus { "-" } else { "" };
    let point = if scale == 0 { "" } else { "." };
    format!("{minus}{whole}{point}{fraction}")
}

fn comma(index: usize, out: &mut Vec<u8>) {
    if index > 0 {
        out.push(b',');
    }
}

fn text(text: &str, out: &mut Vec<u8>) {
    to_json(&text, out);
}

fn to_json<T: serde::Serialize>(value: &T, out: &mut Vec<u8>) {
    serde_json::to_writer(out, value).expect("memory takes everything");
}

fn write(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("memory takes everything");
}
