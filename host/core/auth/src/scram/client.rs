//! The client's half: a proof for the server, and a look at the server's.

use std::num::NonZeroU32;

use aws_lc_rs::constant_time;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use brooklet_types::ScramHash;
use brooklet_types::credential::SCRAM_ITERATIONS_MIN;

use super::message::{ServerFinal, ServerFirst, escaped};
use super::{NONCE_BYTES, client_key, mac, salted_password, server_key, stored_key, xor};
use crate::mechanism::Secret;

/// More iterations are refused: the server names a number and the client pays for it. A second's work.
const ITERATIONS_MAX: u32 = 1_000_000;

/// The header that says: no channel binding, and no other identity than one's own.
const HEADER: &str = "n,,";

/// One exchange with a server, from the client's side.
#[derive(Debug)]
pub struct ScramClient {
    hash: ScramHash,
    password: Secret,
    nonce: String,
    bare: String,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The first message is said; the server's challenge is next.
    Challenge,
    /// The proof is given; the server's own is next, and is to be this.
    Signature(Vec<u8>),
    Done,
}

/// Why a server is not to be believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScramClientError {
    /// Not one of SCRAM's messages.
    #[error("the server's message is not one of SCRAM")]
    Malformed,
    /// The server's nonce does not go on from ours: it answers somebody else's message.
    #[error("the server's nonce does not begin with the client's")]
    Nonce,
    /// Too few to protect the password, or too many to be meant well.
    #[error("the server asks for {asked} iterations; from {min} to {max} are accepted", min = SCRAM_ITERATIONS_MIN, max = ITERATIONS_MAX)]
    Iterations { asked: u32 },
    /// The server says no.
    #[error("the server refuses: {0}")]
    Refused(String),
    /// The server does not know the password either.
    #[error("the server cannot prove that it knows the user")]
    Impostor,
    /// The exchange is over.
    #[error("the server goes on when everything is said")]
    Over,
}

impl ScramClient {
    /// Begins an exchange; `random` makes a nonce that is used this once. Also the first message.
    pub fn new(
        hash: ScramHash,
        user: &str,
        password: Secret,
        random: [u8; NONCE_BYTES],
    ) -> (ScramClient, Vec<u8>) {
        ScramClient::with_nonce(hash, user, password, super::nonce(random))
    }

    pub(super) fn with_nonce(
        hash: ScramHash,
        user: &str,
        password: Secret,
        nonce: String,
    ) -> (ScramClient, Vec<u8>) {
        let bare = format!("n={},r={nonce}", escaped(user));
        let first = format!("{HEADER}{bare}").into_bytes();
        (ScramClient { hash, password, nonce, bare, state: State::Challenge }, first)
    }

    /// Answers the server's message; nothing is left to be said once the server has proved itself.
    ///
    /// # Errors
    /// If the server is not to be believed. The connection must not be used.
    pub fn step(&mut self, message: &[u8]) -> Result<Option<Vec<u8>>, ScramClientError> {
        match std::mem::replace(&mut self.state, State::Done) {
            State::Challenge => self.prove(message).map(Some),
            State::Signature(expected) => {
                let malformed = |_| ScramClientError::Malformed;
                match ServerFinal::read(message).map_err(malformed)? {
                    ServerFinal::Error(error) => Err(ScramClientError::Refused(error.to_owned())),
                    ServerFinal::Signature(signature) => {
                        let same = constant_time::verify_slices_are_equal(&signature, &expected);
                        same.map(|()| None).map_err(|_| ScramClientError::Impostor)
                    }
                }
            }
            State::Done => Err(ScramClientError::Over),
        }
    }

    fn prove(&mut self, message: &[u8]) -> Result<Vec<u8>, ScramClientError> {
        let challenge = ServerFirst::read(message).map_err(|_| ScramClientError::Malformed)?;
        // A server that adds nothing lets the client prove the same thing twice.
        if !challenge.nonce.starts_with(&self.nonce) || challenge.nonce == self.nonce {
            return Err(ScramClientError::Nonce);
        }
        let asked = challenge.iterations;
        let iterations = NonZeroU32::new(asked)
            .filter(|it| (SCRAM_ITERATIONS_MIN..=ITERATIONS_MAX).contains(&it.get()))
            .ok_or(ScramClientError::Iterations { asked })?;
        let without_proof = format!("c={},r={}", STANDARD.encode(HEADER), challenge.nonce);
        let challenge_text = String::from_utf8_lossy(message);
        let said = format!("{},{challenge_text},{without_proof}", self.bare);
        let hash = self.hash;
        let salted = salted_password(hash, self.password.reveal(), &challenge.salt, iterations);
        let key = client_key(hash, &salted);
        let signature = mac(hash, &stored_key(hash, key.as_ref()), said.as_bytes());
        let proof = xor(key.as_ref(), signature.as_ref());
        let expected = mac(hash, &server_key(hash, &salted), said.as_bytes());
        self.state = State::Signature(expected.as_ref().to_vec());
        Ok(format!("{without_proof},p={}", STANDARD.encode(proof)).into_bytes())
    }
}
