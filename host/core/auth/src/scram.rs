//! SCRAM-SHA-256 and SCRAM-SHA-512: proofs that one knows a password (RFC 5802, RFC 7677, KIP-84).
//!
//! **Decides** whether a client's proof is right, and, for clients, whether the server's is. **Never** sees a
//! password on the server's side.
//!
//! A user that is not there gets a challenge like any other, made from a secret of the broker's, the same each
//! time; the proof for it is always wrong. Kafka refuses such users at once and so tells who exists. It is hashed as often as
//! the password that is hashed most often. A credential that is hashed less often, or whose salt is not as [`SALT_BYTES`] has it,
//! can still be told from a made up one: `kafka-configs` makes salts of letters.

mod client;
pub(crate) mod message;
mod server;
#[cfg(test)]
pub(crate) mod tests;

use std::num::NonZeroU32;

use aws_lc_rs::{constant_time, digest, hmac, pbkdf2};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use brooklet_types::credential::{SCRAM_ITERATIONS_MAX, SCRAM_ITERATIONS_MIN};
use brooklet_types::{ScramCredential, ScramHash};

pub use client::{ScramClient, ScramClientError};
pub(crate) use server::{Challenged, challenge};

/// How often a new password is hashed unless somebody wants more.
pub const ITERATIONS: u32 = SCRAM_ITERATIONS_MIN;

/// Random bytes that a new password is hashed with.
pub const SALT_BYTES: usize = 24;

/// Random bytes in a nonce: 144 bits, where Kafka takes 130.
pub const NONCE_BYTES: usize = 18;

/// A nonce's bytes as text.
pub(crate) fn nonce(random: [u8; NONCE_BYTES]) -> String {
    STANDARD.encode(random)
}

/// Who there is.
#[derive(Clone, Copy)]
pub struct Users<'a> {
    find: &'a dyn Fn(&str, ScramHash) -> Option<ScramCredential>,
    secret: &'a [u8; 32],
    iterations_max: u32,
}

impl<'a> Users<'a> {
    /// Users that `find` knows. `secret` makes the challenges of those it does not know: random, the
    /// same for all brokers of a cluster and over restarts, and nobody else's. `iterations_max` is how often the password
    /// is hashed that is hashed most often.
    pub fn new(
        find: &'a dyn Fn(&str, ScramHash) -> Option<ScramCredential>,
        secret: &'a [u8; 32],
        iterations_max: u32,
    ) -> Users<'a> {
        let iterations_max = iterations_max.clamp(1, SCRAM_ITERATIONS_MAX);
        Users { find, secret, iterations_max }
    }

    /// The user's credential and `true`, or one that nobody has the password of and `false`. The made up
    /// one is made in either case, so that both take as long.
    pub(crate) fn find(&self, user: &str, hash: ScramHash) -> (ScramCredential, bool) {
        let made_up = self.made_up(user, hash);
        match (self.find)(user, hash) {
            Some(credential) => (credential, true),
            None => (made_up, false),
        }
    }

    /// Whether `password` is the user's, by what is kept for `hash`. It costs as many iterations as for any other user and any
    /// other password, also for users that are not there.
    pub(crate) fn is_password(&self, user: &str, hash: ScramHash, password: &str) -> bool {
        let (credential, exists) = self.find(user, hash);
        let same = is_password(hash, &credential, password);
        let missing = self.iterations_max.saturating_sub(credential.iterations);
        if let Some(missing) = NonZeroU32::new(missing) {
            std::hint::black_box(salted_password(hash, password, &credential.salt, missing));
        }
        same & exists
    }

    fn made_up(&self, user: &str, hash: ScramHash) -> ScramCredential {
        let part = |name: &[u8]| {
            let key = hmac::Key::new(hmac::HMAC_SHA512, self.secret);
            let mut context = hmac::Context::with_key(&key);
            context.update(&[hash.to_wire().unsigned_abs()]);
            context.update(name);
            context.update(user.as_bytes());
            context.sign().as_ref().to_vec()
        };
        let mut salt = part(b"salt");
        salt.truncate(SALT_BYTES);
        let (mut stored_key, mut server_key) = (part(b"stored"), part(b"server"));
        stored_key.truncate(hash.bytes());
        server_key.truncate(hash.bytes());
        ScramCredential { salt, stored_key, server_key, iterations: self.iterations_max }
    }
}

/// What is kept of `password`, hashed `iterations` times with `salt`.
pub fn credential(
    hash: ScramHash,
    password: &str,
    salt: Vec<u8>,
    iterations: NonZeroU32,
) -> ScramCredential {
    let salted = salted_password(hash, password, &salt, iterations);
    credential_of(hash, &salted, salt, iterations.get())
}

/// What is kept of a password that somebody else has hashed, as AlterUserScramCredentials sends it.
pub fn credential_of(
    hash: ScramHash,
    salted_password: &[u8],
    salt: Vec<u8>,
    iterations: u32,
) -> ScramCredential {
    ScramCredential {
        salt,
        stored_key: stored_key(hash, client_key(hash, salted_password).as_ref()),
        server_key: server_key(hash, salted_password),
        iterations,
    }
}

/// Whether `password` is the one that `credential` was made of.
fn is_password(hash: ScramHash, credential: &ScramCredential, password: &str) -> bool {
    let Some(iterations) = NonZeroU32::new(credential.iterations) else { return false };
    let salted = salted_password(hash, password, &credential.salt, iterations);
    let stored = stored_key(hash, client_key(hash, &salted).as_ref());
    constant_time::verify_slices_are_equal(&stored, &credential.stored_key).is_ok()
}

/// `Hi(str, salt, i)` of RFC 5802, which AlterUserScramCredentials sends in place of the password. The password is
/// taken as its UTF-8 bytes, as Kafka does: no SASLprep.
pub fn salted_password(
    hash: ScramHash,
    password: &str,
    salt: &[u8],
    iterations: NonZeroU32,
) -> Vec<u8> {
    let algorithm = match hash {
        ScramHash::Sha256 => pbkdf2::PBKDF2_HMAC_SHA256,
        ScramHash::Sha512 => pbkdf2::PBKDF2_HMAC_SHA512,
    };
    #[cfg(test)]
    tests::note(iterations);
    let mut salted = vec![0; hash.bytes()];
    pbkdf2::derive(algorithm, iterations, salt, password.as_bytes(), &mut salted);
    salted
}

fn client_key(hash: ScramHash, salted_password: &[u8]) -> hmac::Tag {
    mac(hash, salted_password, b"Client Key")
}

fn server_key(hash: ScramHash, salted_password: &[u8]) -> Vec<u8> {
    mac(hash, salted_password, b"Server Key").as_ref().to_vec()
}

fn stored_key(hash: ScramHash, client_key: &[u8]) -> Vec<u8> {
    let algorithm = match hash {
        ScramHash::Sha256 => &digest::SHA256,
        ScramHash::Sha512 => &digest::SHA512,
    };
    digest::digest(algorithm, client_key).as_ref().to_vec()
}

fn mac(hash: ScramHash, key: &[u8], message: &[u8]) -> hmac::Tag {
    #[cfg(test)]
    tests::note(NonZeroU32::MIN);
    let algorithm = match hash {
        ScramHash::Sha256 => hmac::HMAC_SHA256,
        ScramHash::Sha512 => hmac::HMAC_SHA512,
    };
    hmac::sign(&hmac::Key::new(algorithm, key), message)
}

/// Of two that are equally long, each byte of one with that of the other.
fn xor(one: &[u8], other: &[u8]) -> Vec<u8> {
    one.iter().zip(other).map(|(one, other)| one ^ other).collect()
}
