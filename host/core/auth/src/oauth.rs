//! OAUTHBEARER: tokens that somebody whom the broker trusts has signed (RFC 7628, KIP-255, KIP-768).
//!
//! **Decides** whether a token is one of that issuer's, meant for this broker and valid now, and whose it is.
//! **Never** fetches keys: they are handed in as data ([`KeySet`]), and so is the time.
//!
//! The signature is checked before anything in a token is believed, by one key: with a `kid` the one of
//! that name, without it the only one that fits. Of what an unknown peer sends, only the token's header is
//! parsed.

mod keys;
mod message;
#[cfg(test)]
mod tests;
mod token;

pub use keys::{Algorithm, KeySet, KeySetError};
pub(crate) use message::read;
pub use message::{TokenTextError, message};
pub use token::{Token, TokenError, TokenRules};

/// What a client says when it was told that its token is not accepted, and nothing else (RFC 7628 §3.2.3).
pub(crate) const ACKNOWLEDGEMENT: &[u8] = &[1];

/// What a client is told about a token that is not accepted. Kafka's words: the reason is for the log.
pub(crate) const INVALID_TOKEN: &str = "{\"status\":\"invalid_token\"}";

/// A listener's keys and what its tokens must say.
#[derive(Clone, Debug)]
pub struct TokenVerifier {
    /// What a token must say.
    pub rules: TokenRules,
    /// Who may have signed it.
    pub keys: KeySet,
}
