//! What is shown of a hidden field.

use std::borrow::Cow;

use serde_json::Value;

/// What becomes of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Method {
    /// Nothing is shown.
    Null,
    /// A digest: equal values stay equal, and that is all that can be seen.
    Hash,
    /// So many characters from the beginning.
    Truncate(usize),
    /// So many characters at the end, the others as stars.
    KeepLast(usize),
}

/// Characters of a digest that are shown: 128 bits, so that two values never look alike.
const DIGEST_CHARACTERS: usize = 32;

/// Hides fields.
#[derive(Debug)]
pub(crate) struct Hider {
    key: [u8; 32],
}

impl Hider {
    pub(crate) fn new(salt: &str) -> Hider {
        Hider { key: blake3::derive_key("brooklet mask 2026 hash of a field", salt.as_bytes()) }
    }

    /// Appends what is shown of a field, given its JSON text. Null stays null: it hides nothing.
    pub(crate) fn hide(&self, method: Method, field: &str, out: &mut Vec<u8>) {
        if field == "null" {
            out.extend_from_slice(b"null");
            return;
        }
        match method {
            Method::Null => out.extend_from_slice(b"null"),
            Method::Hash => self.hash(field, out),
            Method::Truncate(length) => match plain(field) {
                Some(text) => put_string(out, text.chars().take(length)),
                None => out.extend_from_slice(b"null"),
            },
            Method::KeepLast(length) => match plain(field) {
                Some(text) => {
                    let characters = text.chars().count();
                    // A text no longer than what would be shown would be shown whole.
                    let shown = if characters > length { length } else { 0 };
                    let hidden = characters - shown;
                    let stars = std::iter::repeat_n('*', hidden);
                    put_string(out, stars.chain(text.chars().skip(hidden)));
                }
                None => out.extend_from_slice(b"null"),
            },
        }
    }

    /// Strings are hashed as they are meant, so that two ways to write one are one; the rest as it is written.
    fn hash(&self, field: &str, out: &mut Vec<u8>) {
        let text = plain(field).unwrap_or(Cow::Borrowed(field));
        let digest = blake3::keyed_hash(&self.key, text.as_bytes()).to_hex();
        out.push(b'"');
        out.extend_from_slice(&digest.as_bytes()[..DIGEST_CHARACTERS]);
        out.push(b'"');
    }
}

/// The characters of a string or a number; objects and arrays have none, nor have truth values a beginning
/// that would hide anything.
fn plain(field: &str) -> Option<Cow<'_, str>> {
    match field.as_bytes().first() {
        Some(b'"') if !field.contains('\\') => Some(Cow::Borrowed(&field[1..field.len() - 1])),
        Some(b'"') => match serde_json::from_str(field) {
            Ok(Value::String(text)) => Some(Cow::Owned(text)),
            _ => None,
        },
        Some(b'-' | b'0'..=b'9') => Some(Cow::Borrowed(field)),
        _ => None,
    }
}

fn put_string(out: &mut Vec<u8>, characters: impl Iterator<Item = char>) {
    let text: String = characters.collect();
    serde_json::to_writer(out, &text).expect("a string is always written to memory");
}
