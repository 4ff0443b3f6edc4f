//! The mechanisms' names, and what they all have in common.

use std::fmt;

use aws_lc_rs::constant_time;
use brooklet_types::ScramHash;

/// A way to prove who one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mechanism {
    /// Name and password as they are (RFC 4616): for encrypted connections only.
    Plain,
    /// A proof that one knows the password, without telling it (RFC 5802, RFC 7677).
    Scram(ScramHash),
    /// A signed token of somebody whom the broker trusts (RFC 7628).
    OauthBearer,
}

impl Mechanism {
    /// All there are.
    pub const ALL: [Mechanism; 4] = [
        Mechanism::Plain,
        Mechanism::Scram(ScramHash::Sha256),
        Mechanism::Scram(ScramHash::Sha512),
        Mechanism::OauthBearer,
    ];

    /// Its registered name.
    pub fn name(self) -> &'static str {
        match self {
            Mechanism::Plain => "PLAIN",
            Mechanism::Scram(ScramHash::Sha256) => "SCRAM-SHA-256",
            Mechanism::Scram(ScramHash::Sha512) => "SCRAM-SHA-512",
            Mechanism::OauthBearer => "OAUTHBEARER",
        }
    }

    /// The mechanism of that name, which is case-sensitive as in Kafka.
    pub fn from_name(name: &str) -> Option<Mechanism> {
        Mechanism::ALL.into_iter().find(|known| known.name() == name)
    }
}

impl fmt::Display for Mechanism {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// Why a proof was not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// Said to the client word for word, as Kafka says it.
    Told(String),
    /// For the broker's log only: the client is told no more than that its credentials are invalid, so
    /// that it cannot learn which users there are.
    Kept(&'static str),
}

/// A text that is not to be printed by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text` secret.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The text.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether somebody says the same. How long it takes says at most how long the secret is.
    pub fn is(&self, said: &[u8]) -> bool {
        constant_time::verify_slices_are_equal(self.0.as_bytes(), said).is_ok()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_secrets_are_not_printed() {
        for mechanism in Mechanism::ALL {
            assert_eq!(Mechanism::from_name(mechanism.name()), Some(mechanism));
        }
        assert_eq!(Mechanism::from_name("plain"), None);
        assert_eq!(Mechanism::from_name("GSSAPI"), None);
        assert_eq!(format!("{:?}", Secret::new("pencil")), "Secret(..)");
    }
}
