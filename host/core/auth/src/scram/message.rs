//! The four messages of an exchange: attributes of one letter, separated by commas (RFC 5802 §7).
//!
//! As strict as Kafka's `ScramMessages`, and stricter in two places where the RFC is: a mandatory extension
//! that nobody knows (`m=`) is refused when it is seen, and a name is not empty.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// A message that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// `n,[a=authzid],n=user,r=nonce[,extensions]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ClientFirst<'a> {
    /// `n,[a=authzid],`: repeated in the client's final message.
    pub(super) header: &'a str,
    /// Who the client wants to act as; empty for who it is.
    pub(super) authorization_id: String,
    pub(super) user: String,
    pub(super) nonce: &'a str,
    /// Everything behind the header.
    pub(super) bare: &'a str,
    /// Whether the name is that of a delegation token (KIP-48).
    pub(super) by_token: bool,
}

/// `r=nonce,s=salt,i=iterations[,extensions]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ServerFirst<'a> {
    pub(super) nonce: &'a str,
    pub(super) salt: Vec<u8>,
    pub(super) iterations: u32,
}

/// `c=header,r=nonce[,extensions],p=proof`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ClientFinal<'a> {
    pub(super) channel_binding: Vec<u8>,
    pub(super) nonce: &'a str,
    /// Everything in front of `,p=`.
    pub(super) without_proof: &'a str,
    pub(super) proof: Vec<u8>,
}

/// `v=signature` or `e=error`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ServerFinal<'a> {
    Signature(Vec<u8>),
    Error(&'a str),
}

impl<'a> ClientFirst<'a> {
    pub(super) fn read(message: &'a [u8]) -> Result<ClientFirst<'a>, Malformed> {
        let text = ascii(message)?;
        // No channel binding: `y` and `p=` are refused, as by Kafka.
        let rest = text.strip_prefix("n,").ok_or(Malformed)?;
        let (authorization_id, bare) = rest.split_once(',').ok_or(Malformed)?;
        let header = text.strip_suffix(bare).ok_or(Malformed)?;
        let authorization_id = match authorization_id {
            "" => String::new(),
            given => name(given.strip_prefix("a=").ok_or(Malformed)?)?,
        };
        let mut attributes = bare.split(',');
        let mut next = |key: &str| attributes.next()?.strip_prefix(key);
        let user = name(next("n=").ok_or(Malformed)?)?;
        let nonce = printable(next("r=").ok_or(Malformed)?)?;
        let mut by_token = false;
        for extension in attributes {
            let (key, value) = extension_of(extension)?;
            by_token |= key == "tokenauth" && value.eq_ignore_ascii_case("true");
        }
        Ok(ClientFirst { header, authorization_id, user, nonce, bare, by_token })
    }
}

impl<'a> ServerFirst<'a> {
    pub(super) fn read(message: &'a [u8]) -> Result<ServerFirst<'a>, Malformed> {
        let mut attributes = ascii(message)?.split(',');
        let mut next = |key: &str| attributes.next()?.strip_prefix(key);
        let nonce = printable(next("r=").ok_or(Malformed)?)?;
        let salt = bytes(next("s=").ok_or(Malformed)?)?;
        let iterations = next("i=").ok_or(Malformed)?;
        // `parse` takes a sign, too.
        let digits = iterations.bytes().all(|byte| byte.is_ascii_digit());
        let iterations = iterations.parse().ok().filter(|_| digits).ok_or(Malformed)?;
        attributes.try_for_each(|extension| extension_of(extension).map(drop))?;
        Ok(ServerFirst { nonce, salt, iterations })
    }

    pub(super) fn write(nonce: &str, salt: &[u8], iterations: u32) -> String {
        format!("r={nonce},s={},i={iterations}", STANDARD.encode(salt))
    }
}

impl<'a> ClientFinal<'a> {
    pub(super) fn read(message: &'a [u8]) -> Result<ClientFinal<'a>, Malformed> {
        let (without_proof, proof) = ascii(message)?.rsplit_once(",p=").ok_or(Malformed)?;
        let mut attributes = without_proof.split(',');
        let mut next = |key: &str| attributes.next()?.strip_prefix(key);
        let channel_binding = bytes(next("c=").ok_or(Malformed)?)?;
        let nonce = printable(next("r=").ok_or(Malformed)?)?;
        attributes.try_for_each(|extension| extension_of(extension).map(drop))?;
        Ok(ClientFinal { channel_binding, nonce, without_proof, proof: bytes(proof)? })
    }
}

impl<'a> ServerFinal<'a> {
    pub(super) fn read(message: &'a [u8]) -> Result<ServerFinal<'a>, Malformed> {
        let mut attributes = ascii(message)?.split(',');
        let first = attributes.next().ok_or(Malformed)?;
        attributes.try_for_each(|extension| extension_of(extension).map(drop))?;
        match (first.strip_prefix("v="), first.strip_prefix("e=")) {
            (Some(signature), _) => Ok(ServerFinal::Signature(bytes(signature)?)),
            (None, Some(error)) => Ok(ServerFinal::Error(error)),
            (None, None) => Err(Malformed),
        }
    }
}

/// Names and values are ASCII without NUL in Kafka's expressions; other letters would have to be prepared.
fn ascii(message: &[u8]) -> Result<&str, Malformed> {
    let text = std::str::from_utf8(message).map_err(|_| Malformed)?;
    let plain = text.bytes().all(|byte| byte.is_ascii() && byte != 0);
    if plain { Ok(text) } else { Err(Malformed) }
}

fn printable(nonce: &str) -> Result<&str, Malformed> {
    let printable = !nonce.is_empty() && nonce.bytes().all(|byte| byte.is_ascii_graphic());
    if printable { Ok(nonce) } else { Err(Malformed) }
}

fn bytes(text: &str) -> Result<Vec<u8>, Malformed> {
    STANDARD.decode(text).map_err(|_| Malformed)
}

/// A name, in which `=2C` is a comma and `=3D` an equals sign, and `=` nothing else.
pub(crate) fn name(escaped: &str) -> Result<String, Malformed> {
    let mut parts = escaped.split('=');
    let mut name = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (sign, rest) = match (part.strip_prefix("2C"), part.strip_prefix("3D")) {
            (Some(rest), _) => (',', rest),
            (None, Some(rest)) => ('=', rest),
            (None, None) => return Err(Malformed),
        };
        name.push(sign);
        name.push_str(rest);
    }
    if name.is_empty() { Err(Malformed) } else { Ok(name) }
}

/// A name as it is written in a message.
pub(super) fn escaped(name: &str) -> String {
    name.replace('=', "=3D").replace(',', "=2C")
}

/// `letters=value`
fn extension_of(text: &str) -> Result<(&str, &str), Malformed> {
    let (key, value) = text.split_once('=').ok_or(Malformed)?;
    let letters = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphabetic());
    if letters && !value.is_empty() && key != "m" { Ok((key, value)) } else { Err(Malformed) }
}
