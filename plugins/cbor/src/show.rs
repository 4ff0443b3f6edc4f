//! A data item as JSON.

use std::io::Write as _;

use brooklet::Reject;
use ciborium::Value;

/// Appends a data item as JSON.
pub(crate) fn show(value: &Value, out: &mut Vec<u8>) -> Result<(), Reject> {
    match value {
        Value::Integer(whole) => write(out, format_args!("{}", i128::from(*whole))),
        Value::Bytes(bytes) => {
            out.push(b'"');
            base64url(bytes, out);
            out.push(b'"');
        }
        Value::Float(number) => serde_json::to_writer(out, number)?,
        Value::Text(text) => serde_json::to_writer(out, text)?,
        Value::Bool(truth) => write(out, format_args!("{truth}")),
        Value::Null => out.extend_from_slice(b"null"),
        Value::Tag(_, tagged) => show(tagged, out)?,
        Value::Array(items) => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                show(item, out)?;
            }
            out.push(b']');
        }
        Value::Map(members) => {
            out.push(b'{');
            for (index, (name, member)) in members.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                show_name(name, out)?;
                out.push(b':');
                show(member, out)?;
            }
            out.push(b'}');
        }
        other => return Err(Reject::new("unsupported", format!("{other:?} has no JSON"))),
    }
    Ok(())
}

/// Whether a data item can be shown, without showing it.
pub(crate) fn check(value: &Value) -> Result<(), Reject> {
    match value {
        Value::Tag(_, tagged) => check(tagged),
        Value::Array(items) => items.iter().try_for_each(check),
        Value::Map(members) => members.iter().try_for_each(|(name, member)| {
            show_name(name, &mut Vec::new())?;
            check(member)
        }),
        _ => Ok(()),
    }
}

fn show_name(name: &Value, out: &mut Vec<u8>) -> Result<(), Reject> {
    match name {
        Value::Text(text) => serde_json::to_writer(out, text)?,
        Value::Integer(whole) => write(out, format_args!("\"{}\"", i128::from(*whole))),
        Value::Tag(_, tagged) => show_name(tagged, out)?,
        _ => {
            let problem = "a map has a name that is neither text nor a whole number";
            return Err(Reject::new("unsupported", problem));
        }
    }
    Ok(())
}

fn write(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("memory takes everything");
}

/// RFC 4648, section 5, without padding.
fn base64url(bytes: &[u8], out: &mut Vec<u8>) {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0_u32, |bits, byte| (bits << 8) | u32::from(*byte));
        let bits = bits << (8 * (3 - chunk.len()));
        for index in 0..=chunk.len() {
            out.push(ALPHABET[(bits >> (18 - 6 * index)) as usize & 63]);
        }
    }
}
