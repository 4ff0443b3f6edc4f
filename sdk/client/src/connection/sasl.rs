//! Saying who the client is: SASL on a fresh connection, and again before the broker forgets (KIP-368).
//!
//! **Decides** when a session is renewed. The password is asked for each time: a token that is to be renewed may be another by then. A broker takes nothing else while somebody proves who it is, so requests wait for
//! that with their callers; those that are under way have been sent before.

use std::sync::Arc;
use std::time::Duration;

use brooklet_auth::scram::{NONCE_BYTES, ScramClient};
use brooklet_auth::{Secret, oauth, plain};
use brooklet_types::ScramHash;
use brooklet_wire::message::{SaslAuthenticateRequest, SaslHandshakeRequest, make};
use bytes::Bytes;
use tokio::sync::RwLockReadGuard;
use tokio::time::Instant;

use super::Connection;
use crate::config::{SaslConfig, SaslMechanism};
use crate::error::{Code, ConnectError, RequestError};
use crate::request::Call;

/// Brokers refuse to be told again sooner, even of a session that is shorter.
const RENEWED_AFTER_MIN: Duration = Duration::from_millis(1100);

/// A guard while which the session is not renewed; none where there is no session.
pub(super) type InSession<'a> = Option<RwLockReadGuard<'a, Option<Instant>>>;

impl Connection {
    /// Says who the client is, if it is somebody.
    pub(super) async fn introduce(&self) -> Result<(), ConnectError> {
        let Some(sasl) = &self.shared.sasl else { return Ok(()) };
        let mut session = self.shared.session.write().await;
        *session = self.authenticate(sasl).await?;
        Ok(())
    }

    /// Renews the session if that is due, and keeps it from becoming so while a request is sent.
    pub(super) async fn in_session(&self) -> Result<InSession<'_>, RequestError> {
        let Some(sasl) = &self.shared.sasl else { return Ok(None) };
        let is_due = |due: Option<Instant>| due.is_some_and(|due| due <= Instant::now());
        let session = self.shared.session.read().await;
        if !is_due(*session) {
            return Ok(Some(session));
        }
        drop(session);
        let mut session = self.shared.session.write().await;
        // Of many that have waited, the first has done it for all.
        if is_due(*session) {
            match self.authenticate(sasl).await {
                Ok(due) => *session = due,
                Err(error) => {
                    self.close();
                    return Err(error.into());
                }
            }
        }
        Ok(Some(session.downgrade()))
    }

    /// Proves who the client is, and tells when that has to be done again.
    async fn authenticate(&self, sasl: &SaslConfig) -> Result<Option<Instant>, ConnectError> {
        let password = sasl.password.now(self.shared.request_timeout).await;
        let password = password.map_err(|reason| {
            let (peer, reason) = (self.shared.peer.clone(), format!("password: {reason}"));
            ConnectError::Unusable { peer, reason: Arc::from(reason) }
        })?;
        let name = sasl.mechanism.name();
        let request = make(|it: &mut SaslHandshakeRequest| it.mechanism = name.into());
        let answer = self.ask(&request).await?;
        if let Err(code) = Code(answer.error_code).check() {
            let offered: Vec<&str> = answer.mechanisms.iter().map(|it| &**it).collect();
            let offered = offered.join(", ");
            return Err(self.refused(format!("{name}: {code}; the broker offers [{offered}]")));
        }
        let lifetime_ms = match sasl.mechanism {
            SaslMechanism::Plain => {
                let token = plain::message(&sasl.user, &password);
                let token = token.map_err(|error| self.refused(error.to_string()))?;
                self.say(token).await?.1
            }
            SaslMechanism::OauthBearer => self.bearer(&password).await?,
            SaslMechanism::ScramSha256 => {
                self.scram(&sasl.user, password, ScramHash::Sha256).await?
            }
            SaslMechanism::ScramSha512 => {
                self.scram(&sasl.user, password, ScramHash::Sha512).await?
            }
        };
        let lifetime = Duration::from_millis(u64::try_from(lifetime_ms).unwrap_or(0));
        // As Kafka's clients: while there is some of it left.
        let due = (lifetime * 17 / 20).max(RENEWED_AFTER_MIN);
        Ok((!lifetime.is_zero()).then(|| Instant::now() + due))
    }

    async fn bearer(&self, token: &Secret) -> Result<i64, ConnectError> {
        /// What is said to a broker that does not take a token: it then says that it refuses.
        const ACKNOWLEDGEMENT: u8 = 1;
        let token = oauth::message(token);
        let token = token.map_err(|error| self.refused(error.to_string()))?;
        let (problem, lifetime_ms) = self.say(token).await?;
        if problem.is_empty() {
            return Ok(lifetime_ms);
        }
        self.say(vec![ACKNOWLEDGEMENT]).await?;
        Err(self.refused("the broker does not take the token".to_owned()))
    }

    async fn scram(
        &self,
        user: &str,
        password: Secret,
        hash: ScramHash,
    ) -> Result<i64, ConnectError> {
        let mut random = [0; NONCE_BYTES];
        let drawn = aws_lc_rs::rand::fill(&mut random);
        drawn.map_err(|_| self.refused("the system has no random numbers".to_owned()))?;
        let (mut prover, first) = ScramClient::new(hash, user, password, random);
        let (challenge, _) = self.say(first).await?;
        // The broker says how often the password is hashed: it may take a while.
        let proving = tokio::task::spawn_blocking(move || {
            let proof = prover.step(&challenge);
            (prover, proof)
        });
        let broken = |_| self.refused("the password could not be hashed".to_owned());
        let (mut prover, proof) = proving.await.map_err(broken)?;
        let refused = |error| self.refused(format!("{error}"));
        let proof = proof.map_err(refused)?.unwrap_or_default();
        let (last, lifetime_ms) = self.say(proof).await?;
        prover.step(&last).map_err(refused)?;
        Ok(lifetime_ms)
    }

    /// Sends a token; the answer's token, and for how long the client is known.
    async fn say(&self, token: Vec<u8>) -> Result<(Bytes, i64), ConnectError> {
        let token = Bytes::from(token);
        let request = make(|it: &mut SaslAuthenticateRequest| it.auth_bytes = token);
        let answer = self.ask(&request).await?;
        match Code(answer.error_code).check() {
            Ok(()) => Ok((answer.auth_bytes, answer.session_lifetime_ms)),
            Err(code) => {
                let message = answer.error_message.filter(|text| !text.is_empty());
                let message = message.map_or_else(|| code.to_string(), |text| text.to_string());
                Err(self.refused(message))
            }
        }
    }

    async fn ask<R: Call>(&self, request: &R) -> Result<R::Response, ConnectError> {
        let asked = async {
            let version = self.version::<R>()?;
            self.enqueue(request, version, self.shared.request_timeout).await?.answer().await
        };
        asked.await.map_err(|source| {
            let peer = self.shared.peer.clone();
            ConnectError::Introduction { peer, source: Box::new(source) }
        })
    }

    fn refused(&self, reason: String) -> ConnectError {
        let reason = Arc::from(reason);
        ConnectError::NotAuthenticated { peer: self.shared.peer.clone(), reason }
    }
}

impl SaslMechanism {
    /// What it is built on; none for those without a password that is hashed.
    pub(crate) fn hash(self) -> Option<ScramHash> {
        match self {
            SaslMechanism::Plain | SaslMechanism::OauthBearer => None,
            SaslMechanism::ScramSha256 => Some(ScramHash::Sha256),
            SaslMechanism::ScramSha512 => Some(ScramHash::Sha512),
        }
    }
}
