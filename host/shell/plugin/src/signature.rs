//! Who made a component: ed25519 over the blake3 digest of everything before the signature.
//!
//! The signature is the component's last section, a custom one named `brooklet:signature`: 32 bytes of public
//! key, 64 of signature. Being last, it is added without touching what it vouches for.

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use wasmparser::{Parser, Payload};

use crate::error::UseError;

const SECTION: &str = "brooklet:signature";
const KEY_BYTES: usize = 32;
const SIGNATURE_BYTES: usize = 64;
/// A custom section's number, in modules and components alike.
const CUSTOM: u8 = 0;

/// What the signature of a component is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signed {
    /// There is none.
    No,
    /// The owner of this key vouches for it.
    By([u8; KEY_BYTES]),
}

/// Which signatures are asked for.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// Keys whose owners are trusted.
    pub keys: Vec<[u8; KEY_BYTES]>,
    /// Refuse what none of them has signed.
    pub required: bool,
}

impl Trust {
    /// Whether a component may be installed.
    pub fn check(&self, signed: Signed) -> Result<(), UseError> {
        match signed {
            Signed::By(key) if self.keys.contains(&key) => Ok(()),
            Signed::By(_) | Signed::No if !self.required => Ok(()),
            Signed::By(key) => Err(UseError::Refused(format!(
                "signed with the key {}, which is not among plugins.trusted_keys",
                hex(&key)
            ))),
            Signed::No => Err(UseError::Refused(
                "not signed, and plugins.require_signature asks for it".to_owned(),
            )),
        }
    }
}

/// Reads and checks the signature of a component. A false one is an error, whoever is trusted.
pub(crate) fn read(bytes: &[u8]) -> Result<Signed, UseError> {
    let Some((before, data)) = find(bytes)? else { return Ok(Signed::No) };
    let false_one = || UseError::Refused("the signature is not true for these bytes".to_owned());
    let (key, signature) = data
        .split_first_chunk::<KEY_BYTES>()
        .and_then(|(key, rest)| Some((key, rest.first_chunk::<SIGNATURE_BYTES>()?)))
        .filter(|_| data.len() == KEY_BYTES + SIGNATURE_BYTES)
        .ok_or_else(false_one)?;
    let verifying = VerifyingKey::from_bytes(key).map_err(|_| false_one())?;
    let digest = blake3::hash(before);
    let verified = verifying.verify_strict(digest.as_bytes(), &Signature::from_bytes(signature));
    verified.map_err(|_| false_one())?;
    Ok(Signed::By(*key))
}

/// A component with a signature behind it.
pub fn sign(bytes: &[u8], seed: &[u8; KEY_BYTES]) -> Result<Vec<u8>, UseError> {
    if find(bytes)?.is_some() {
        return Err(UseError::Refused("the component is signed already".to_owned()));
    }
    let key = SigningKey::from_bytes(seed);
    let signature = key.sign(blake3::hash(bytes).as_bytes());
    let mut body = Vec::new();
    put_name(&mut body, SECTION);
    body.extend_from_slice(key.verifying_key().as_bytes());
    body.extend_from_slice(&signature.to_bytes());
    let mut signed = bytes.to_vec();
    signed.push(CUSTOM);
    put_length(&mut signed, body.len());
    signed.extend_from_slice(&body);
    Ok(signed)
}

/// What stands before a signature, and the signature.
type Parts<'a> = (&'a [u8], &'a [u8]);

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "of a component's many parts only these say something to the host"
)]
fn find(bytes: &[u8]) -> Result<Option<Parts<'_>>, UseError> {
    let mut found = None;
    let malformed = |error: wasmparser::BinaryReaderError| {
        UseError::Component(format!("not a well-formed component: {error}"))
    };
    let mut end_of_previous = 0;
    let mut depth = 0_u32;
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload.map_err(malformed)?;
        match &payload {
            Payload::Version { range, .. } => {
                depth += 1;
                end_of_previous = range.end;
            }
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::CustomSection(section) if depth == 1 && section.name() == SECTION => {
                if found.is_some() {
                    return Err(UseError::Refused("the component is signed twice".to_owned()));
                }
                let last = section.range().end == bytes.len();
                if !last {
                    let problem = "the signature is not the component's last section";
                    return Err(UseError::Refused(problem.to_owned()));
                }
                found = bytes.get(..end_of_previous).map(|before| (before, section.data()));
            }
            _ => {}
        }
        if let Some((_, range)) = payload.as_section() {
            end_of_previous = end_of_previous.max(range.end);
        }
    }
    Ok(found)
}

fn put_name(out: &mut Vec<u8>, name: &str) {
    put_length(out, name.len());
    out.extend_from_slice(name.as_bytes());
}

/// LEB128.
fn put_length(out: &mut Vec<u8>, length: usize) {
    let mut rest = length;
    while rest >= 0x80 {
        out.push(u8::try_from(rest & 0x7f).unwrap_or(0) | 0x80);
        rest >>= 7;
    }
    out.push(u8::try_from(rest).unwrap_or(0));
}

/// Lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing into a string cannot fail.
        let _written = write!(text, "{byte:02x}");
        text
    })
}

/// A key as the configuration has it: 64 hexadecimal digits.
pub fn parse_key(text: &str) -> Option<[u8; KEY_BYTES]> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|it| u8::try_from(it).ok());
    let bytes = text.as_bytes();
    if bytes.len() != KEY_BYTES * 2 {
        return None;
    }
    let mut key = [0; KEY_BYTES];
    for (byte, pair) in key.iter_mut().zip(bytes.chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The smallest component there is.
    const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";

    #[test]
    fn a_signature_vouches_for_every_byte_before_it() {
        let signed = sign(EMPTY, &[7; 32]).unwrap();
        let key = SigningKey::from_bytes(&[7; 32]).verifying_key().to_bytes();
        assert_eq!(read(&signed).unwrap(), Signed::By(key));
        assert_eq!(read(EMPTY).unwrap(), Signed::No);
        for at in EMPTY.len()..signed.len() {
            let mut bad = signed.clone();
            bad[at] ^= 1;
            assert!(!matches!(read(&bad), Ok(Signed::By(it)) if it == key), "byte {at}");
        }
        assert!(sign(&signed, &[7; 32]).is_err());
    }

    #[test]
    fn what_is_not_signed_is_refused_only_where_it_must_be() {
        let mut trust = Trust::default();
        assert!(trust.check(Signed::No).is_ok());
        trust.required = true;
        assert!(trust.check(Signed::No).is_err());
        assert!(trust.check(Signed::By([1; 32])).is_err());
        trust.keys.push([1; 32]);
        assert!(trust.check(Signed::By([1; 32])).is_ok());
    }

    #[test]
    fn a_key_is_sixty_four_digits() {
        assert_eq!(parse_key(&hex(&[0xab; 32])), Some([0xab; 32]));
        assert_eq!(parse_key("abc"), None);
        assert_eq!(parse_key(&"g".repeat(64)), None);
    }
}
