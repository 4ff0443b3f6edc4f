//! What a listener with SASL accepts, now: its mechanisms, and whose tokens it takes (OAUTHBEARER).
//!
//! **Decides** when keys are exchanged: an issuer's key set is looked at every few seconds ([`follow`]), and taken if it can be used. If it
//! cannot, the old one stays, and that is said once.
//!
//! Keys are in a file, which something else keeps as new as the issuer's: a broker at the edge need not reach the issuer, and a
//! request to it is none that a stranger could cause.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use brooklet_auth::oauth::{KeySet, KeySetError, TokenVerifier};
use brooklet_auth::sasl::SaslSettings;
use brooklet_io::follow::{self, follow};
use tokio_util::sync::CancellationToken;

use crate::config::{KeySource, SaslConfig};

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The file cannot be read.
    #[error("token keys: {path}: {source}")]
    Read { path: PathBuf, source: io::Error },
    /// What is in it cannot be used.
    #[error("token keys: {path}: {source}")]
    Keys { path: PathBuf, source: KeySetError },
}

/// What is accepted. Connections ask for it with each step of a conversation, so that who authenticates again is judged by the
/// keys of that time.
#[derive(Debug)]
pub(crate) struct Accepted {
    /// Protects what is accepted while it is exchanged.
    current: RwLock<Arc<SaslSettings>>,
    file: Option<KeyFile>,
}

#[derive(Debug)]
struct KeyFile {
    path: PathBuf,
    /// Protects what was in the file when it was last taken; only who looks at it takes it.
    taken: Mutex<Vec<u8>>,
}

impl Accepted {
    /// What the configuration says.
    pub(crate) fn open(config: &SaslConfig) -> Result<Accepted, KeysError> {
        let mut file = None;
        let tokens = match &config.oauth {
            None => None,
            Some(oauth) => {
                let keys = match &oauth.keys {
                    KeySource::Inline(text) => {
                        KeySet::parse(text.as_bytes()).expect("the configuration was checked")
                    }
                    KeySource::File(path) => {
                        let content = read(path)?;
                        let keys = parse(path, &content)?;
                        file = Some(KeyFile { path: path.clone(), taken: Mutex::new(content) });
                        keys
                    }
                };
                Some(TokenVerifier { rules: oauth.rules.clone(), keys })
            }
        };
        let settings = SaslSettings {
            mechanisms: config.mechanisms.clone(),
            session_max: config.session_max,
            tokens,
        };
        Ok(Accepted { current: RwLock::new(Arc::new(settings)), file })
    }

    /// Only these settings, for ever.
    #[cfg(test)]
    pub(crate) fn fixed(settings: SaslSettings) -> Accepted {
        Accepted { current: RwLock::new(Arc::new(settings)), file: None }
    }

    pub(crate) fn current(&self) -> Arc<SaslSettings> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether there is a file to be followed.
    pub(crate) fn has_file(&self) -> bool {
        self.file.is_some()
    }

    /// Looks at the file until `stop` fires. `seen` is told of every exchange, and of a failure when it is another than at the
    /// look before.
    pub(crate) async fn follow(
        self: Arc<Accepted>,
        stop: CancellationToken,
        seen: impl FnMut(Result<(), &str>),
    ) {
        follow(stop, move || self.look(), seen).await;
    }

    /// Takes the keys if they are others, and then says so.
    fn look(&self) -> Result<Option<()>, KeysError> {
        let Some(file) = &self.file else { return Ok(None) };
        let content = read(&file.path)?;
        let mut taken = file.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if *taken == content {
            return Ok(None);
        }
        let keys = parse(&file.path, &content)?;
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let mut settings = SaslSettings::clone(&current);
        if let Some(tokens) = &mut settings.tokens {
            tokens.keys = keys;
        }
        *current = Arc::new(settings);
        *taken = content;
        Ok(Some(()))
    }
}

fn read(path: &Path) -> Result<Vec<u8>, KeysError> {
    follow::read(path).map_err(|source| KeysError::Read { path: path.to_owned(), source })
}

fn parse(path: &Path, content: &[u8]) -> Result<KeySet, KeysError> {
    KeySet::parse(content).map_err(|source| KeysError::Keys { path: path.to_owned(), source })
}
