//! Whose certificate a client has shown.
//!
//! **Decides** how its owner is written: as Java's `X500Principal.getName()` writes it (RFC 2253), since that is
//! what Kafka's principals and the rules that map them are made of.

use std::fmt::Write;

use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

use super::Fingerprint;

/// A client that has shown a certificate, and proved that it has its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerIdentity {
    /// The certificate's subject, such as `CN=sensor-7,O=Plant`; empty if it has none.
    pub subject: String,
    /// The certificate's fingerprint.
    pub fingerprint: Fingerprint,
}

/// The names that RFC 2253 has a short word for; all others are written as numbers.
const SHORT: [(&str, &str); 9] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.6", "C"),
    ("2.5.4.9", "STREET"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("0.9.2342.19200300.100.1.1", "UID"),
];

impl PeerIdentity {
    /// Of a chain that has been verified; none of one that is empty.
    pub fn of(chain: &[CertificateDer<'_>]) -> Option<PeerIdentity> {
        let own = chain.first()?;
        // What was verified has been read before, by a stricter reader.
        let (_, parsed) = X509Certificate::from_der(own).ok()?;
        let subject = rfc2253(parsed.subject());
        Some(PeerIdentity { subject, fingerprint: Fingerprint::of(own) })
    }
}

/// The last part first, with commas between parts and pluses within one.
fn rfc2253(name: &X509Name<'_>) -> String {
    let mut parts: Vec<String> = name
        .iter_rdn()
        .map(|part| part.iter().map(attribute).collect::<Vec<_>>().join("+"))
        .collect();
    parts.reverse();
    parts.join(",")
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> String {
    let number = attribute.attr_type().to_id_string();
    let short = SHORT.iter().find(|(id, _)| *id == number);
    match (short, attribute.as_str()) {
        (Some((_, short)), Ok(text)) => format!("{short}={}", escaped(text)),
        (Some((_, short)), Err(_)) => format!("{short}=#{}", hex(attribute)),
        (None, _) => format!("{number}=#{}", hex(attribute)),
    }
}

/// The value with its tag and length.
fn hex(attribute: &AttributeTypeAndValue<'_>) -> String {
    let value = attribute.attr_value();
    let (tag, length) = (value.header.tag().0, value.data.len());
    let mut text = match length {
        0..128 => format!("{tag:02x}{length:02x}"),
        128..256 => format!("{tag:02x}81{length:02x}"),
        // A handshake is shorter than 64 KiB.
        _ => format!("{tag:02x}82{length:04x}"),
    };
    for byte in value.data {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    let last = text.chars().count().saturating_sub(1);
    for (place, letter) in text.chars().enumerate() {
        let special = matches!(letter, ',' | '=' | '+' | '<' | '>' | '#' | ';' | '"' | '\\')
            || (letter == ' ' && (place == 0 || place == last));
        if special {
            escaped.push('\\');
        }
        escaped.push(letter);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

    use super::*;

    #[test]
    fn a_subject_is_written_as_java_writes_it() {
        let mut name = DistinguishedName::new();
        name.push(DnType::CountryName, "DE");
        name.push(DnType::OrganizationName, "Plant");
        name.push(DnType::CustomDnType(vec![2, 5, 4, 5]), "7");
        name.push(DnType::CommonName, " a#b=c,d+e\"f;<g>");
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name = name;
        let made = parameters.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let identity = PeerIdentity::of(&[made.der().clone()]).unwrap();
        // What `new X500Principal(…).getName()` gave, but for UTF-8 where Java's encoder chose another kind of text.
        let expected = r#"CN=\ a\#b\=c\,d\+e\"f\;\<g\>,2.5.4.5=#0c0137,O=Plant,C=DE"#;
        assert_eq!(identity.subject, expected);
        assert_eq!(identity.fingerprint, Fingerprint::of(made.der()));
        assert_eq!(PeerIdentity::of(&[]), None);
    }
}
