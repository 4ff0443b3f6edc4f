//! Secrets that a broker makes for itself: random, in the data folder, for their owner's eyes.

use std::fs;
use std::io;
use std::path::Path;

use brooklet_io::follow;
use brooklet_io::tls::TlsError;
use brooklet_io::tls::issue::{Eyes, write_new};

/// Why there is no secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// Its file cannot be read, or not be put in its place.
    #[error("data folder: {name}: {source}")]
    Io { name: &'static str, source: io::Error },
    /// Its file cannot be written.
    #[error("data folder: {0}")]
    Write(TlsError),
    /// Somebody has changed its file.
    #[error(
        "data folder: {name} is not as the broker made it; remove it, and the broker makes another"
    )]
    Damaged { name: &'static str },
}

/// What is in the file `name`; on the first start that is what `make` makes.
pub(crate) fn read_or_make(
    folder: &Path,
    name: &'static str,
    make: impl FnOnce() -> Vec<u8>,
) -> Result<Vec<u8>, SecretError> {
    let failed = |source| SecretError::Io { name, source };
    let path = folder.join(name);
    match follow::read(&path) {
        Ok(bytes) => return Ok(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let fresh = folder.join(format!("{name}.tmp"));
    match fs::remove_file(&fresh) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let secret = make();
    // Written whole under another name: a crash must not leave half of it.
    write_new(&fresh, &secret, Eyes::Owner).map_err(SecretError::Write)?;
    fs::rename(&fresh, &path).map_err(failed)?;
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_secret_is_made_once_for_its_owners_eyes() {
        let folder = tempfile::tempdir().unwrap();
        // What a crash has left.
        fs::write(folder.path().join("secret.tmp"), "half").unwrap();
        let made = read_or_make(folder.path(), "secret", || b"whole".to_vec()).unwrap();
        assert_eq!(made, b"whole");
        let again = read_or_make(folder.path(), "secret", || b"another".to_vec()).unwrap();
        assert_eq!(again, b"whole");
        let found = fs::metadata(folder.path().join("secret")).unwrap();
        assert_eq!(found.permissions().mode() & 0o777, 0o600);
        let missing = folder.path().join("missing");
        let error = read_or_make(&missing, "secret", Vec::new).unwrap_err();
        assert!(matches!(error, SecretError::Write(_)), "{error}");
    }
}
