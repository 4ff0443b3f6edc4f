//! The server's half: a challenge for whoever claims to be somebody, and a look at the proof.

use aws_lc_rs::constant_time;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use brooklet_types::{ScramCredential, ScramHash};

use super::message::{ClientFinal, ClientFirst, ServerFirst};
use super::{Users, mac, stored_key, xor};
use crate::mechanism::Rejection;

/// What the server remembers between its challenge and the proof. Used once: every exchange has a nonce of its
/// own, so what was said in another one proves nothing.
#[derive(Clone, Debug)]
pub(crate) struct Challenged {
    hash: ScramHash,
    user: String,
    /// Whether there is such a user: a proof for one that is not there is wrong, whatever it is.
    exists: bool,
    credential: ScramCredential,
    header: String,
    nonce: String,
    /// The client's first message without its header, a comma, and the server's.
    said: String,
}

/// Answers a client's first message with a challenge. `nonce` has never been used before.
pub(crate) fn challenge(
    users: &Users<'_>,
    hash: ScramHash,
    nonce: &str,
    message: &[u8],
) -> Result<(Challenged, Vec<u8>), Rejection> {
    let malformed = |_| Rejection::Kept("the client's first message is not one of SCRAM");
    let first = ClientFirst::read(message).map_err(malformed)?;
    let (credential, exists) = users.find(&first.user, hash);
    if !first.authorization_id.is_empty() && first.authorization_id != first.user {
        return Err(Rejection::Told(
            "Authentication failed: Client requested an authorization id that is different from username"
                .to_owned(),
        ));
    }
    let nonce = format!("{}{nonce}", first.nonce);
    let answer = ServerFirst::write(&nonce, &credential.salt, credential.iterations);
    let challenged = Challenged {
        hash,
        // There are no delegation tokens, so a token's name is nobody's.
        exists: exists && !first.by_token,
        credential,
        header: first.header.to_owned(),
        nonce,
        said: format!("{},{answer}", first.bare),
        user: first.user,
    };
    Ok((challenged, answer.into_bytes()))
}

impl Challenged {
    /// Checks the proof in a client's final message; the user's name and the server's own proof.
    pub(crate) fn verify(self, message: &[u8]) -> Result<(String, Vec<u8>), Rejection> {
        let malformed = |_| Rejection::Kept("the client's final message is not one of SCRAM");
        let last = ClientFinal::read(message).map_err(malformed)?;
        if last.nonce != self.nonce {
            return Err(Rejection::Kept("the nonce is not that of this exchange"));
        }
        if last.channel_binding != self.header.as_bytes() {
            return Err(Rejection::Kept("the channel binding does not repeat the first message's"));
        }
        if last.proof.len() != self.hash.bytes() {
            return Err(Rejection::Kept("the proof is not as long as the hash"));
        }
        let said = format!("{},{}", self.said, last.without_proof);
        let signature = mac(self.hash, &self.credential.stored_key, said.as_bytes());
        let client_key = xor(signature.as_ref(), &last.proof);
        let stored = stored_key(self.hash, &client_key);
        let same = constant_time::verify_slices_are_equal(&stored, &self.credential.stored_key);
        if same.is_err() || !self.exists {
            return Err(Rejection::Kept("there is no such user, or the password is another"));
        }
        let proof = mac(self.hash, &self.credential.server_key, said.as_bytes());
        Ok((self.user, format!("v={}", STANDARD.encode(proof)).into_bytes()))
    }
}

#[cfg(test)]
impl Challenged {
    /// As if the made up credential had this key.
    pub(super) fn forge(&mut self, stored_key: Vec<u8>) {
        self.credential.stored_key = stored_key;
    }
}
