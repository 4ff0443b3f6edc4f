//! Where a client's password, or its token, comes from each time it says who it is.
//!
//! **Decides** nothing: what cannot be read is an error, and is read again with the next connection.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use brooklet_auth::Secret;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// A password or a token: no longer than what a broker takes from somebody it does not know yet.
const BYTES_MAX: u64 = 7 << 10;

/// Says the password of this moment, or why it cannot. It may take a while: it is called on a thread that may block.
pub type AskPassword = Arc<dyn Fn() -> Result<Secret, String> + Send + Sync>;

/// A password, or a token in its place.
#[derive(Clone)]
pub enum Password {
    /// It stays the same.
    Known(Secret),
    /// It is the one line of a file, which is read each time: something else may keep it fresh.
    File(PathBuf),
    /// Somebody is asked each time.
    Asked(AskPassword),
}

impl From<Secret> for Password {
    fn from(secret: Secret) -> Password {
        Password::Known(secret)
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Password::Known(secret) => fmt::Debug::fmt(secret, formatter),
            Password::File(path) => formatter.debug_tuple("File").field(path).finish(),
            Password::Asked(_) => formatter.write_str("Asked(..)"),
        }
    }
}

impl Password {
    /// What it is now; the error is the reason why nobody can tell.
    pub(crate) async fn now(&self, within: Duration) -> Result<Secret, String> {
        let asked = match self.clone() {
            Password::Known(secret) => return Ok(secret),
            Password::File(path) => spawn_blocking(move || read(&path)),
            Password::Asked(ask) => spawn_blocking(move || ask()),
        };
        match timeout(within, asked).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err("whoever was asked for the password broke down".to_owned()),
            Err(_) => Err(format!("the password did not come within {within:?}")),
        }
    }
}

fn read(path: &Path) -> Result<Secret, String> {
    let mut text = String::new();
    // One more than fits, and the end of the line, tell that it is too much.
    let most = BYTES_MAX + 3;
    let read = File::open(path).and_then(|file| file.take(most).read_to_string(&mut text));
    read.map_err(|error| format!("{}: {error}", path.display()))?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.is_empty() || line.contains(['\n', '\0']) || line.len() as u64 > BYTES_MAX {
        let path = path.display();
        return Err(format!("{path} is not one line of text with up to {BYTES_MAX} bytes"));
    }
    Ok(Secret::new(line))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const SOON: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn a_file_is_read_each_time_and_holds_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let password = Password::File(path.clone());
        assert!(password.now(SOON).await.unwrap_err().contains("token: No such file"));
        let long = "x".repeat(7 << 10);
        let table = [
            ("pencil\n", Some("pencil")),
            ("pen cil\r\n", Some("pen cil")),
            (long.as_str(), Some(long.as_str())),
            (&format!("{long}x"), None),
            ("", None),
            ("\n", None),
            ("a\nb\n", None),
        ];
        for (content, expected) in table {
            std::fs::write(&path, content).unwrap();
            let found = password.now(SOON).await.ok();
            assert_eq!(found, expected.map(Secret::new), "{content:?}");
        }
    }

    #[tokio::test]
    async fn somebody_is_asked_each_time_and_has_so_long() {
        let count = AtomicUsize::new(0);
        let asked = Password::Asked(Arc::new(move || {
            let number = count.fetch_add(1, Ordering::Relaxed);
            if number == 2 {
                Err("no more".to_owned())
            } else {
                Ok(Secret::new(number.to_string()))
            }
        }));
        assert_eq!(asked.now(SOON).await, Ok(Secret::new("0")));
        assert_eq!(asked.now(SOON).await, Ok(Secret::new("1")));
        assert_eq!(asked.now(SOON).await, Err("no more".to_owned()));
        let (release, wait) = std::sync::mpsc::channel::<()>();
        let wait = std::sync::Mutex::new(wait);
        let never = Password::Asked(Arc::new(move || {
            let _ = wait.lock().unwrap().recv();
            Ok(Secret::new("late"))
        }));
        let late = never.now(Duration::from_millis(10)).await.unwrap_err();
        assert!(late.contains("within 10ms"), "{late}");
        drop(release);
    }

    #[test]
    fn a_password_is_not_printed() {
        let table = [
            (Password::from(Secret::new("pencil")), "Secret(..)"),
            (Password::File("a".into()), "File(\"a\")"),
            (Password::Asked(Arc::new(|| Ok(Secret::new("pencil")))), "Asked(..)"),
        ];
        for (password, expected) in table {
            assert_eq!(format!("{password:?}"), expected);
        }
    }
}
