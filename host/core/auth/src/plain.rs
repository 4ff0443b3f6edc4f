//! PLAIN: `[authzid] NUL authcid NUL password` (RFC 4616), as Kafka's `PlainSaslServer` reads it.
//!
//! Passwords are checked against what is kept for SCRAM, so that there is one kind of user and no password
//! in the clear anywhere. That costs an iterated hash for each login: the caller should compute on a thread that
//! may be busy, and not for many peers at once.

use std::borrow::Cow;

use brooklet_types::ScramHash;

use crate::mechanism::{Rejection, Secret};
use crate::scram::Users;

/// Checks a client's only message and tells the user's name.
///
/// # Errors
/// With what the client is told. An unknown user and a wrong password are one answer, after the same work.
pub fn authenticate(users: &Users<'_>, message: &[u8]) -> Result<String, Rejection> {
    let told = |text: &str| Rejection::Told(text.to_owned());
    // As Java decodes it: what is not UTF-8 matches no name and no password.
    let text = String::from_utf8_lossy(message);
    // A fourth part is enough to know that there are not three.
    let tokens: Vec<&str> = text.splitn(5, '\0').take(4).collect();
    let &[authorization_id, user, password] = tokens.as_slice() else {
        let count = tokens.len();
        let text = format!("Invalid SASL/PLAIN response: expected 3 tokens, got {count}");
        return Err(Rejection::Told(text));
    };
    if user.is_empty() {
        return Err(told("Authentication failed: username not specified"));
    }
    if password.is_empty() {
        return Err(told("Authentication failed: password not specified"));
    }
    if !is_password_of(users, user, password) || matches!(text, Cow::Owned(_)) {
        return Err(told("Authentication failed: Invalid username or password"));
    }
    if !authorization_id.is_empty() && authorization_id != user {
        return Err(told(
            "Authentication failed: Client requested an authorization id that is different from username",
        ));
    }
    Ok(user.to_owned())
}

/// Does the work for both hashes, whichever the user has, and for users that are not there: the time it
/// takes says nothing of the user.
fn is_password_of(users: &Users<'_>, user: &str, password: &str) -> bool {
    let check = |matched, hash| matched | users.is_password(user, hash, password);
    ScramHash::ALL.into_iter().fold(false, check)
}

/// A client's only message.
///
/// # Errors
/// If the name or the password has a NUL in it, which PLAIN cannot say.
pub fn message(user: &str, password: &Secret) -> Result<Vec<u8>, NulError> {
    if user.contains('\0') || password.reveal().contains('\0') {
        return Err(NulError);
    }
    Ok(format!("\0{user}\0{}", password.reveal()).into_bytes())
}

/// A name or password that cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("PLAIN cannot carry a name or password with a NUL character")]
pub struct NulError;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::num::NonZeroU32;

    use super::*;
    use crate::scram;
    use crate::scram::tests::{SECRET, credential, work};

    fn check(message: &[u8]) -> Result<String, String> {
        let find = |user: &str, hash| match (user, hash) {
            ("ada", ScramHash::Sha256) | ("bob", ScramHash::Sha512) => {
                Some(credential(hash, "pencil"))
            }
            _ => None,
        };
        let users = Users::new(&find, &SECRET, 1);
        authenticate(&users, message).map_err(|rejection| match rejection {
            Rejection::Told(text) => text,
            Rejection::Kept(reason) => panic!("{reason} is to be told"),
        })
    }

    #[test]
    fn a_message_is_three_parts_and_answered_in_kafkas_words() {
        const INVALID: &str = "Authentication failed: Invalid username or password";
        const OTHER: &str = "Authentication failed: Client requested an authorization id that is \
                             different from username";
        let table: &[(&[u8], Result<&str, &str>)] = &[
            (b"\0ada\0pencil", Ok("ada")),
            (b"ada\0ada\0pencil", Ok("ada")),
            (b"\0bob\0pencil", Ok("bob")),
            (b"\0ada\0Pencil", Err(INVALID)),
            (b"\0eve\0pencil", Err(INVALID)),
            (b"\0ada\xff\0pencil", Err(INVALID)),
            (b"bob\0ada\0pencil", Err(OTHER)),
            (b"bob\0ada\0wrong", Err(INVALID)),
            (b"\0\0pencil", Err("Authentication failed: username not specified")),
            (b"\0ada\0", Err("Authentication failed: password not specified")),
            (b"", Err("Invalid SASL/PLAIN response: expected 3 tokens, got 1")),
            (b"ada\0pencil", Err("Invalid SASL/PLAIN response: expected 3 tokens, got 2")),
            (b"\0ada\0pencil\0", Err("Invalid SASL/PLAIN response: expected 3 tokens, got 4")),
            (b"\0\0\0\0\0\0", Err("Invalid SASL/PLAIN response: expected 3 tokens, got 4")),
        ];
        for (message, expected) in table {
            let expected = expected.map(str::to_owned).map_err(str::to_owned);
            assert_eq!(check(message), expected, "{:?}", String::from_utf8_lossy(message));
        }
    }

    /// What takes the time is hashing: what is counted is how often.
    #[test]
    fn the_same_work_is_done_for_everybody() {
        let hashed = |hash, iterations| {
            let iterations = NonZeroU32::new(iterations).unwrap();
            scram::credential(hash, "pencil", b"salt".to_vec(), iterations)
        };
        let [sha256, sha512] = ScramHash::ALL;
        let kept = BTreeMap::from([
            (("both", sha256), hashed(sha256, 4096)),
            (("both", sha512), hashed(sha512, 4096)),
            (("one", sha512), hashed(sha512, 5000)),
            (("often", sha256), hashed(sha256, 9000)),
        ]);
        let find = |user: &str, hash| kept.get(&(user, hash)).cloned();
        let users = Users::new(&find, &SECRET, 9000);
        let spent = |user: &str, password: &str| {
            let before = work();
            let outcome = authenticate(&users, format!("\0{user}\0{password}").as_bytes());
            let known = kept.keys().any(|(known, _)| *known == user);
            assert_eq!(outcome.is_ok(), known && password == "pencil", "{user} {password}");
            work() - before
        };
        let expected = spent("both", "pencil");
        assert!(expected >= 2 * 9000, "{expected}");
        for user in ["both", "one", "often", "nobody", "somebody else"] {
            for password in ["pencil", "rubber"] {
                assert_eq!(spent(user, password), expected, "{user} {password}");
            }
        }
    }

    #[test]
    fn what_a_client_says_is_understood() {
        let said = message("ada", &Secret::new("pencil")).unwrap();
        assert_eq!(check(&said), Ok("ada".to_owned()));
        assert_eq!(message("a\0b", &Secret::new("pencil")), Err(NulError));
        assert_eq!(message("ada", &Secret::new("\0")), Err(NulError));
    }
}
