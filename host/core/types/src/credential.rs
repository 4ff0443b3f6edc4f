//! What is kept of a user's password: never the password.
//!
//! Source: RFC 5802 §3, KIP-84, KIP-554. How it is checked is decided in `auth`.

use std::fmt;

/// The hash that a SCRAM mechanism is built on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(i8)]
pub enum ScramHash {
    /// SCRAM-SHA-256.
    Sha256 = 1,
    /// SCRAM-SHA-512.
    Sha512 = 2,
}

/// Fewer iterations are refused. Kafka's `ScramMechanism.minIterations`, RFC 7677's advice.
pub const SCRAM_ITERATIONS_MIN: u32 = 4096;

/// More are refused: they cost whoever logs in. Kafka's `ScramControlManager.MAX_ITERATIONS`.
pub const SCRAM_ITERATIONS_MAX: u32 = 16_384;

/// What a server keeps to recognise a user. Whoever reads it can pretend to be the server, and
/// can guess passwords at the cost of `iterations` hashes each.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramCredential {
    /// What the password was hashed with.
    pub salt: Vec<u8>,
    /// The hash of the client's key.
    pub stored_key: Vec<u8>,
    /// The key that the server proves itself with.
    pub server_key: Vec<u8>,
    /// How often the password was hashed.
    pub iterations: u32,
}

impl ScramHash {
    /// Both, by number.
    pub const ALL: [ScramHash; 2] = [ScramHash::Sha256, ScramHash::Sha512];

    /// The one of that wire number.
    pub fn from_wire(raw: i8) -> Option<ScramHash> {
        ScramHash::ALL.into_iter().find(|known| known.to_wire() == raw)
    }

    /// Its number on the wire.
    pub fn to_wire(self) -> i8 {
        self as i8
    }

    /// Bytes of a hash.
    pub fn bytes(self) -> usize {
        match self {
            ScramHash::Sha256 => 32,
            ScramHash::Sha512 => 64,
        }
    }
}

/// Keys and salt stay out of logs.
impl fmt::Debug for ScramCredential {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { iterations, .. } = self;
        formatter
            .debug_struct("ScramCredential")
            .field("iterations", iterations)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_is_not_printed() {
        let credential = ScramCredential {
            salt: b"salt".to_vec(),
            stored_key: vec![171; 32],
            server_key: vec![205; 32],
            iterations: 4096,
        };
        assert_eq!(format!("{credential:?}"), "ScramCredential { iterations: 4096, .. }");
    }
}
