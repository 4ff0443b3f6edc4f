//! Files that somebody else keeps up to date: read within a limit, and looked at again and again.
//!
//! **Decides** when to look, and what of it is worth telling. **Never** knows what is in a file.

use std::fmt::Display;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// How often a file is looked at. Whoever renews certificates or announces keys does it hours ahead.
pub const LOOK_INTERVAL: Duration = Duration::from_secs(10);
/// The longest file that is read: three times every authority of the world's browsers, or more keys than a set may have.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Looks, off this thread, until `stop` fires. A look says what it has taken, if anything has changed. `seen` is told of that,
/// and of a failure when it is another than at the look before.
pub async fn follow<T: Send + 'static, E: Display + Send + 'static>(
    stop: CancellationToken,
    look: impl Fn() -> Result<Option<T>, E> + Send + Sync + 'static,
    mut seen: impl FnMut(Result<T, &str>),
) {
    let look = Arc::new(look);
    let mut ticks = interval(LOOK_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut known = None;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            // Cancel-safe: a tick that is not taken comes again.
            _ = ticks.tick() => {}
        }
        let looking = Arc::clone(&look);
        // The runtime is ending.
        let Ok(looked) = tokio::task::spawn_blocking(move || looking()).await else { return };
        match looked {
            Ok(taken) => {
                known = None;
                if let Some(taken) = taken {
                    seen(Ok(taken));
                }
            }
            Err(error) => {
                let reason = Some(error.to_string());
                if known != reason {
                    known = reason;
                    seen(Err(known.as_deref().unwrap_or_default()));
                }
            }
        }
    }
}

/// What is in a file, within the limit.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    // One byte more than is taken tells that there is more.
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut content)?;
    if content.len() as u64 > FILE_BYTES_MAX {
        let message = format!("longer than {FILE_BYTES_MAX} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_changes_is_told_each_time_and_a_failure_once() {
        // What each look finds, last first.
        let looks = vec![
            Err("b"),
            Ok(None),
            Err("b"),
            Err("a"),
            Err("a"),
            Ok(Some(2)),
            Ok(None),
            Ok(Some(1)),
        ];
        let (looks, count) = (Mutex::new(looks), 8);
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        let stop = CancellationToken::new();
        let stopping = stop.clone();
        let look = move || {
            let mut looks = looks.lock().unwrap();
            let found = looks.pop();
            if looks.is_empty() {
                stopping.cancel();
            }
            found.unwrap_or(Ok(None))
        };
        let began = tokio::time::Instant::now();
        let seen = |seen: Result<i32, &str>| tell.send(seen.map_err(str::to_owned)).unwrap();
        follow(stop, look, seen).await;
        drop(tell);
        let mut all = Vec::new();
        while let Some(seen) = told.recv().await {
            all.push(seen);
        }
        let failed = |text: &str| Err(text.to_owned());
        assert_eq!(all, [Ok(1), Ok(2), failed("a"), failed("b"), failed("b")]);
        assert!(began.elapsed() >= LOOK_INTERVAL * (count - 1));
    }

    #[test]
    fn a_file_is_read_as_far_as_its_limit_and_not_beyond() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        for (bytes, expected) in [(0, true), (1 << 20, true), ((1 << 20) + 1, false)] {
            std::fs::write(&path, vec![b'x'; bytes]).unwrap();
            match read(&path) {
                Ok(content) => assert_eq!((content.len(), expected), (bytes, true)),
                Err(error) => {
                    assert!(!expected, "{error}");
                    assert_eq!(error.to_string(), "longer than 1048576 bytes");
                }
            }
        }
    }
}
