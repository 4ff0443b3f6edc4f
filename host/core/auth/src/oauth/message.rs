//! The client's first message: `n,[a=authzid],^Aauth=Bearer token^A[key=value^A…]^A` (RFC 7628 §3.1).

use crate::mechanism::{Rejection, Secret};
use crate::scram::message::name;

/// What stands between the parts of a message.
const SEPARATOR: char = '\u{1}';

/// A client's first message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Initial<'a> {
    /// Who the client wants to act as; empty for who it is. Still escaped, as Kafka compares it.
    pub(crate) authorization_id: &'a str,
    /// The token, unread.
    pub(crate) token: &'a str,
}

/// Reads a client's first message. Extensions are checked for their form, and not used.
pub(crate) fn read(message: &[u8]) -> Result<Initial<'_>, Rejection> {
    let malformed = || Rejection::Kept("the message is not one of OAUTHBEARER");
    let text = std::str::from_utf8(message).map_err(|_| malformed())?;
    let (authorization_id, pairs) = parts(text).ok_or_else(malformed)?;
    let mut auth = None;
    for pair in pairs.split_terminator(SEPARATOR) {
        let (key, value) = pair.split_once('=').ok_or_else(malformed)?;
        if !is_key(key) || !is_value(value) {
            return Err(malformed());
        }
        if key == "auth" {
            auth = Some(value);
        }
    }
    let auth = auth.ok_or(Rejection::Kept("the message has no token"))?;
    let (scheme, token) = auth.split_once(' ').ok_or(Rejection::Kept("the token has no scheme"))?;
    let token = token.trim_start_matches(' ');
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Rejection::Kept("the token's scheme is not Bearer"));
    }
    if !is_token(token) {
        return Err(Rejection::Kept("the token has characters that no token has"));
    }
    Ok(Initial { authorization_id, token })
}

/// The identity that is asked for, and the pairs, each with its separator.
fn parts(text: &str) -> Option<(&str, &str)> {
    let (asked, rest) = text.strip_prefix("n,")?.split_once(',')?;
    let asked = match asked {
        "" => "",
        given => given.strip_prefix("a=").filter(|escaped| name(escaped).is_ok())?,
    };
    let pairs = rest.strip_prefix(SEPARATOR)?.strip_suffix(SEPARATOR)?;
    let ended = pairs.is_empty() || pairs.ends_with(SEPARATOR);
    ended.then_some((asked, pairs))
}

fn is_key(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphabetic())
}

fn is_value(value: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_graphic() || matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
    !value.is_empty() && value.bytes().all(legal)
}

/// `b64token` of RFC 6750 §2.1.
fn is_token(token: &str) -> bool {
    let body = token.trim_end_matches('=');
    let legal = |byte: u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'~' | b'+' | b'/' | b'.')
    };
    !body.is_empty() && body.bytes().all(legal)
}

/// A client's first message.
///
/// # Errors
/// If the token has characters that cannot be sent.
pub fn message(token: &Secret) -> Result<Vec<u8>, TokenTextError> {
    let token = token.reveal();
    if !is_token(token) {
        return Err(TokenTextError);
    }
    Ok(format!("n,,{SEPARATOR}auth=Bearer {token}{SEPARATOR}{SEPARATOR}").into_bytes())
}

/// A token that cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the token has characters that no bearer token has")]
pub struct TokenTextError;
