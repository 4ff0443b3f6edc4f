//! What is there of users when the broker starts: the first of them, and the secret that hides who is one.
//!
//! **Decides** that users of the configuration are created where the cluster has none, and never changed: from then on
//! they are the cluster's, as the others. Kafka asks for the first ones when a data folder is formatted
//! (`kafka-storage format --add-scram`); here nothing is formatted by hand, and a broker in a container has its
//! passwords in files anyhow.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use brooklet_auth::scram::{self, ITERATIONS, SALT_BYTES};
use brooklet_meta::decide::user::{Upsertion, alter_users};
use brooklet_meta::{Cluster, Decision};
use brooklet_types::{ErrorCode, ScramHash};

use crate::context::Shards;
use crate::secrets::{self, SecretError};

/// Where the secret is kept.
const SECRET: &str = "sasl-secret";
const SECRET_BYTES: usize = 32;
/// A password that somebody types or a program makes; one line.
const PASSWORD_BYTES_MAX: u64 = 1024;

/// Why there are no users.
#[derive(Debug, thiserror::Error)]
pub enum UsersError {
    /// The file with a password cannot be read.
    #[error("password of {user}: {path}: {source}")]
    Read { user: String, path: PathBuf, source: io::Error },
    /// There is no password in it.
    #[error(
        "password of {user}: {path} is not one line of text with up to {PASSWORD_BYTES_MAX} bytes"
    )]
    Password { user: String, path: PathBuf },
    /// A name or so that no user can have.
    #[error("user {user}: {reason}")]
    Refused { user: String, reason: String },
    /// They cannot be stored.
    #[error("first users: {}", .0.name())]
    Store(ErrorCode),
    /// The broker stops already.
    #[error("first users: the broker stops")]
    Stopping,
    /// There is nothing to hide users with.
    #[error(transparent)]
    Secret(#[from] SecretError),
}

/// Creates the users in `files`, each with the password in its file, if the cluster has no users.
pub(crate) async fn create_first(
    shards: &Shards,
    files: &BTreeMap<String, PathBuf>,
) -> Result<(), UsersError> {
    if files.is_empty() || !shards.cluster().users().is_empty() {
        return Ok(());
    }
    let mut wanted = ScramHash::ALL.map(|_| Vec::new());
    for (user, path) in files {
        let password = password(user, path)?;
        for (wanted, hash) in wanted.iter_mut().zip(ScramHash::ALL) {
            wanted.push(upsertion(user, &password, hash));
        }
    }
    // One request changes a user once, so each hash is a request; together they are one change, or none.
    let decide = move |cluster: &Cluster| {
        let mut all = Decision { records: Vec::new(), reply: Vec::new() };
        for wanted in &wanted {
            let Decision { records, reply } = alter_users(cluster, &[], wanted);
            all.records.extend(records);
            all.reply.extend(reply);
        }
        all
    };
    let results = shards.change(decide).await.map_err(|_stopping| UsersError::Stopping)?;
    for (user, result) in results.map_err(UsersError::Store)? {
        result.map_err(|error| UsersError::Refused { user, reason: error.to_string() })?;
    }
    tracing::info!(users = files.len(), "created the first users");
    Ok(())
}

fn upsertion(user: &str, password: &str, hash: ScramHash) -> Upsertion {
    let salt = brooklet_io::entropy::bytes::<SALT_BYTES>().to_vec();
    let iterations = NonZeroU32::new(ITERATIONS).expect("thousands");
    let credential = scram::credential(hash, password, salt, iterations);
    Upsertion {
        user: user.to_owned(),
        mechanism: hash.to_wire(),
        iterations: i32::try_from(credential.iterations).expect("thousands"),
        salt: credential.salt,
        stored_key: credential.stored_key,
        server_key: credential.server_key,
    }
}

/// The one line of a file.
fn password(user: &str, path: &Path) -> Result<String, UsersError> {
    let failed = |source| UsersError::Read { user: user.to_owned(), path: path.to_owned(), source };
    let file = fs::File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    // One more than fits, and the end of the line, tell that it is too much.
    file.take(PASSWORD_BYTES_MAX + 3).read_to_end(&mut bytes).map_err(failed)?;
    let text = String::from_utf8(bytes).unwrap_or_default();
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    let fits = line.len() as u64 <= PASSWORD_BYTES_MAX;
    if line.is_empty() || line.contains(['\n', '\0']) || !fits {
        return Err(UsersError::Password { user: user.to_owned(), path: path.to_owned() });
    }
    Ok(line.to_owned())
}

/// The secret that makes challenges of users who are not there: read, or made on the first start. Were it
/// another after each start, a change of challenge would tell who does not exist.
pub(crate) fn secret(folder: &Path) -> Result<[u8; SECRET_BYTES], UsersError> {
    let make = || brooklet_io::entropy::bytes::<SECRET_BYTES>().to_vec();
    let secret = secrets::read_or_make(folder, SECRET, make)?;
    secret.try_into().map_err(|_| SecretError::Damaged { name: SECRET }.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_the_one_line_of_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        let long = "x".repeat(1024);
        for (content, expected) in [
            ("pencil", Some("pencil")),
            ("pencil\n", Some("pencil")),
            ("pen cil\r\n", Some("pen cil")),
            (long.as_str(), Some(long.as_str())),
            (&format!("{long}\r\n"), Some(long.as_str())),
            (&format!("{long}x"), None),
            (&format!("{long}xxxxxxx"), None),
            ("", None),
            ("\n", None),
            ("pencil\nrubber\n", None),
            ("pen\0cil", None),
        ] {
            fs::write(&path, content).unwrap();
            assert_eq!(password("ada", &path).ok().as_deref(), expected, "{content:?}");
        }
        fs::write(&path, b"pen\xffcil").unwrap();
        assert!(matches!(password("ada", &path), Err(UsersError::Password { .. })));
        let missing = password("ada", &folder.path().join("missing"));
        assert!(matches!(missing, Err(UsersError::Read { .. })));
    }

    #[test]
    fn the_secret_stays_the_same_and_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let made = secret(folder.path()).unwrap();
        assert_eq!(secret(folder.path()).unwrap(), made);
        fs::write(folder.path().join(SECRET), "short").unwrap();
        let error = secret(folder.path()).unwrap_err();
        assert!(error.to_string().contains("sasl-secret is not as the broker made it"), "{error}");
    }
}
