//! Handshakes of clients that nobody knows yet: how long one may take, and how many there are at once.
//!
//! **Decides** when to give up on a client. While places are short it has less time: whoever opens connections
//! and says nothing keeps a place for [`SHORT_MAX`] and not for [`TIME_MAX`].
//!
//! **Invariant.** No more than [`AT_ONCE_MAX`] handshakes hold memory, whatever peers wish. One holds what
//! rustls keeps of it: up to 64 KiB of messages, and buffers of 20 KiB.

use std::io;
use std::sync::Arc;
use std::time::Duration;

pub use rustls::ServerConfig;
use rustls::ServerConnection;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::identity::PeerIdentity;

/// Handshakes at once, over all listeners: 256 are 20 MiB, and several thousand a second.
pub const AT_ONCE_MAX: usize = 256;
/// A handshake takes two or three round trips: this is for links of the worst kind.
pub const TIME_MAX: Duration = Duration::from_secs(10);
/// The same while places are short: three round trips of 250 ms, twice over.
pub const SHORT_MAX: Duration = Duration::from_secs(2);
/// Places are short when fewer than this are free.
const SHORT_BELOW: usize = AT_ONCE_MAX / 2;

/// The places for handshakes. Clones share them.
#[derive(Clone, Debug)]
pub struct Handshakes {
    places: Arc<Semaphore>,
}

/// A place for one handshake; dropping it frees it.
#[derive(Debug)]
pub struct Place {
    _permit: OwnedSemaphorePermit,
    places: Arc<Semaphore>,
}

/// Why a client did not come in.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// It did not say what has to be said in time.
    #[error("handshake not done within {after:?}")]
    Timeout { after: Duration },
    /// It said something else, or its certificate is not good.
    #[error("handshake: {0}")]
    Failed(#[from] io::Error),
    /// The same over QUIC.
    #[error("handshake: {0}")]
    Quic(#[from] quinn::ConnectionError),
}

impl Default for Handshakes {
    fn default() -> Handshakes {
        Handshakes { places: Arc::new(Semaphore::new(AT_ONCE_MAX)) }
    }
}

impl Handshakes {
    /// A place, as soon as there is one. Whoever waits here accepts nobody meanwhile.
    pub async fn enter(&self) -> Place {
        let permit = Arc::clone(&self.places).acquire_owned().await.expect("never closed");
        Place { _permit: permit, places: Arc::clone(&self.places) }
    }

    /// A place, if there is one.
    pub fn try_enter(&self) -> Option<Place> {
        let permit = Arc::clone(&self.places).try_acquire_owned().ok()?;
        Some(Place { _permit: permit, places: Arc::clone(&self.places) })
    }

    /// How many there are now.
    pub fn count(&self) -> usize {
        AT_ONCE_MAX - self.places.available_permits()
    }
}

impl Place {
    /// Waits for `handshake`, and not longer than it may take.
    pub async fn limit<T>(&self, handshake: impl Future<Output = T>) -> Result<T, HandshakeError> {
        let mut handshake = std::pin::pin!(handshake);
        let mut after = Duration::ZERO;
        while after < TIME_MAX {
            if let Ok(done) = timeout(SHORT_MAX, &mut handshake).await {
                return Ok(done);
            }
            after += SHORT_MAX;
            if self.places.available_permits() < SHORT_BELOW {
                break;
            }
        }
        Err(HandshakeError::Timeout { after })
    }
}

/// Takes a client that speaks TLS over `stream`.
pub async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    config: Arc<ServerConfig>,
    place: Place,
) -> Result<TlsStream<S>, HandshakeError> {
    // Refused with an alert that names the reason, where there is one.
    let accepted = place.limit(TlsAcceptor::from(config).accept(stream)).await?;
    Ok(accepted?)
}

/// Whose certificate the client has shown, if any.
pub fn identity(session: &ServerConnection) -> Option<PeerIdentity> {
    session.peer_certificates().and_then(PeerIdentity::of)
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_client_that_says_nothing_has_less_time_when_places_are_short() {
        let handshakes = Handshakes::default();
        let mut others = Vec::new();
        for (taken, expected) in [(0, TIME_MAX), (AT_ONCE_MAX - SHORT_BELOW, SHORT_MAX)] {
            others.extend((0..taken).map(|_| handshakes.try_enter().unwrap()));
            let place = handshakes.try_enter().unwrap();
            let began = Instant::now();
            let error = place.limit(std::future::pending::<()>()).await.unwrap_err();
            assert_eq!(began.elapsed(), expected);
            assert_eq!(error.to_string(), format!("handshake not done within {expected:?}"));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn there_are_no_more_handshakes_than_may_be_and_the_next_waits_for_one_to_end() {
        let handshakes = Handshakes::default();
        let mut places: Vec<Place> =
            (0..AT_ONCE_MAX).map(|_| handshakes.try_enter().unwrap()).collect();
        assert!(handshakes.try_enter().is_none());
        assert_eq!(handshakes.count(), AT_ONCE_MAX);
        let waited = timeout(Duration::from_secs(1), handshakes.enter()).await;
        assert!(waited.is_err(), "more than may be");
        places.pop();
        timeout(Duration::from_secs(1), handshakes.enter()).await.unwrap();
    }
}
