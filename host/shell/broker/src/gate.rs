//! Where a client says who it is before anything is done for it: SASL on one connection.
//!
//! **Where it sits.** Between a connection and its router, of which it holds back every request that `auth` does not
//! admit. The conversation is `auth`'s ([`Sasl`]); here it meets sockets, time and the metadata.
//!
//! **What it decides.** How long a stranger may stay and how large its frames may be, where passwords are hashed
//! and how many at once, and when a failure is told.
//!
//! **Invariants.** A stranger costs one frame of [`STRANGER_FRAME_BYTES_MAX`] at most and [`STRANGER_MAX`]. Frames are taken one
//! after the other, so the conversation needs no turns: what a token comes to is known before the next is read.

mod answer;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use brooklet_auth::sasl::{Expected, Outcome, Refusal, Said, Sasl, SaslSettings, Session, World};
use brooklet_auth::scram::{self, ITERATIONS, NONCE_BYTES};
use brooklet_meta::cluster::Users;
use brooklet_wire::WireError;
use brooklet_wire::frame::{self, RequestHeader};
use brooklet_wire::message::{SaslAuthenticateRequest, SaslHandshakeRequest, decode_request};
use brooklet_wire::version::Api;
use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::connection::{self, CloseConnection, Dispatched};
use crate::context::{Context, Peer};
use crate::request::api_versions;
use crate::spans;
use crate::tokens::Accepted;

/// The longest frame of somebody who is not known: names, passwords and proofs. Kafka takes 512 KiB here.
pub(crate) const STRANGER_FRAME_BYTES_MAX: usize = 8 << 10;
/// Whoever has not said who it is by then goes: a few round trips of the slowest link, and a crowd's turn at hashing.
const STRANGER_MAX: Duration = Duration::from_secs(30);
/// A failure is told this late, so that guessing is slow. Kafka's `connection.failed.authentication.delay.ms`.
const FAILURE_DELAY: Duration = Duration::from_millis(100);
/// A password that has not had its turn by then is not checked.
const HASHING_WAIT_MAX: Duration = Duration::from_secs(10);

/// What all gates of a broker share.
#[derive(Debug)]
pub(crate) struct Guard {
    /// Makes the challenges of users who are not there.
    secret: [u8; 32],
    /// How often the password is hashed that is hashed most often, and whose it is one of. Protects what was counted; held for
    /// a look-up, and a count when users have changed.
    hashed: Mutex<(Arc<Users>, u32)>,
    /// Passwords being hashed at once: strangers get at most half of the processors.
    hashing: Arc<Semaphore>,
}

/// One connection's conversation.
#[derive(Debug)]
pub(crate) struct Gate {
    accepted: Arc<Accepted>,
    /// Protects the conversation while a password is hashed on another thread; nobody ever waits for it.
    sasl: Arc<Mutex<Sasl>>,
    known: AtomicBool,
    /// When a stranger has to go.
    until: Instant,
}

/// What becomes of a frame.
pub(crate) enum Admitted {
    /// It is a request that is carried out.
    Request(RequestHeader, Bytes),
    /// It was for the gate, and is answered.
    Answered(Dispatched),
}

/// How a frame is answered, if it is.
#[derive(Clone, Copy)]
enum Form {
    /// As a token: without a header.
    Bare,
    /// As a response.
    Response { api: Api, version: i16, correlation: i32 },
}

/// A frame, once it has been read.
enum Heard {
    ApiVersions { answerable: bool },
    Handshake { version: i16, mechanism: String },
    Authenticate(Bytes),
    Token(Bytes),
    Other,
}

impl Guard {
    pub(crate) fn new(secret: [u8; 32], processors: usize) -> Guard {
        let hashing = Arc::new(Semaphore::new((processors / 2).max(1)));
        Guard { secret, hashed: Mutex::new((Arc::default(), ITERATIONS)), hashing }
    }

    /// How often the password is hashed that is hashed most often; a new one if there is none.
    fn iterations_max(&self, users: &Arc<Users>) -> u32 {
        let mut hashed = self.hashed.lock().unwrap_or_else(PoisonError::into_inner);
        // The same users have the same place.
        if !Arc::ptr_eq(&hashed.0, users) {
            let each = users.values().flat_map(BTreeMap::values).map(|it| it.iterations);
            *hashed = (Arc::clone(users), each.max().unwrap_or(ITERATIONS));
        }
        hashed.1
    }
}

impl Gate {
    /// For a connection that was just made.
    pub(crate) fn new(accepted: Arc<Accepted>) -> Gate {
        Gate {
            accepted,
            sasl: Arc::default(),
            known: AtomicBool::new(false),
            until: Instant::now() + STRANGER_MAX,
        }
    }

    /// Whether the client has said who it is.
    pub(crate) fn is_known(&self) -> bool {
        self.known.load(Ordering::Acquire)
    }

    /// Returns when a stranger has to go.
    pub(crate) async fn overdue(&self) {
        if self.is_known() {
            return std::future::pending().await;
        }
        sleep_until(self.until).await;
    }

    /// Takes the next frame.
    pub(crate) async fn admit(
        &self,
        context: &Arc<Context>,
        peer: &Peer,
        frame: Bytes,
    ) -> Result<Admitted, CloseConnection> {
        let close = |error: WireError| CloseConnection { reason: error.to_string() };
        let expected = self.sasl.lock().unwrap_or_else(PoisonError::into_inner).expects();
        if expected == Expected::Token {
            let outcome = self.step(context, Heard::Token(frame)).await?;
            return self.follow(context, peer, Form::Bare, outcome).map(Admitted::Answered);
        }
        let mut body = frame;
        let header = frame::parse_header(&mut body).map_err(close)?;
        let Some(api) = Api::from_wire(header.api) else {
            return Err(CloseConnection { reason: format!("api {} is not served", header.api) });
        };
        let heard = self.hear(api, &header, &body).map_err(close)?;
        let outcome = self.step(context, heard).await?;
        if matches!(outcome, Outcome::Admit) {
            return Ok(Admitted::Request(header, body));
        }
        let form = Form::Response { api, version: header.version, correlation: header.correlation };
        self.follow(context, peer, form, outcome).map(Admitted::Answered)
    }

    fn hear(&self, api: Api, header: &RequestHeader, body: &Bytes) -> Result<Heard, WireError> {
        let version = header.version;
        if api == Api::ApiVersions {
            let answerable = self.is_known() || api_versions::is_answerable(version, body.clone())?;
            return Ok(Heard::ApiVersions { answerable });
        }
        if api == Api::SaslHandshake && api.serves(version) {
            let request: SaslHandshakeRequest = decode_request(body.clone(), version)?;
            return Ok(Heard::Handshake { version, mechanism: request.mechanism.to_string() });
        }
        if api == Api::SaslAuthenticate && api.serves(version) {
            let request: SaslAuthenticateRequest = decode_request(body.clone(), version)?;
            return Ok(Heard::Authenticate(request.auth_bytes));
        }
        Ok(Heard::Other)
    }

    /// Has `auth` decide, where that may take as long as it takes.
    async fn step(&self, context: &Arc<Context>, heard: Heard) -> Result<Outcome, CloseConnection> {
        let settings = self.accepted.current();
        let is_proof = matches!(heard, Heard::Authenticate(_) | Heard::Token(_));
        if !is_proof || !self.sasl.lock().unwrap_or_else(PoisonError::into_inner).is_laborious() {
            return Ok(decide(&self.sasl, &settings, context, &heard));
        }
        let hashing = Arc::clone(&context.guard.hashing);
        let Ok(Ok(turn)) = timeout(HASHING_WAIT_MAX, hashing.acquire_owned()).await else {
            let reason = "too many others wait for their passwords to be checked".to_owned();
            return Err(CloseConnection { reason });
        };
        let sasl = Arc::clone(&self.sasl);
        let context = Arc::clone(context);
        let hashing = tokio::task::spawn_blocking(move || {
            // Also where the connection is gone meanwhile, the turn lasts as long as the work.
            let _turn = turn;
            decide(&sasl, &settings, &context, &heard)
        });
        // An error is a panic, which is in the log.
        hashing
            .await
            .map_err(|_| CloseConnection { reason: "a password was not checked".to_owned() })
    }

    /// Does what was decided.
    fn follow(
        &self,
        context: &Context,
        peer: &Peer,
        form: Form,
        outcome: Outcome,
    ) -> Result<Dispatched, CloseConnection> {
        let links = &context.metrics.links;
        let reply = |answer| match answer::encode(form, answer) {
            Some(frame) => connection::Answer::Reply(vec![frame]),
            None => connection::Answer::Close,
        };
        match outcome {
            Outcome::Admit => {
                Err(CloseConnection { reason: "a token that is a request".to_owned() })
            }
            Outcome::Reply(answer) => Ok(at_once(reply(answer))),
            Outcome::Authenticated(answer, Session { principal, mechanism, .. }) => {
                spans::authenticated(&principal);
                links.authenticated(mechanism.name());
                tracing::debug!(%principal, %mechanism, "authenticated");
                // Who authenticates again is who it was: `auth` sees to it.
                peer.identity.get_or_init(|| principal);
                self.known.store(true, Ordering::Release);
                Ok(at_once(reply(answer)))
            }
            Outcome::Refuse(answer, refusal) => {
                links.not_authenticated(mechanism_of(&refusal));
                tracing::debug!(reason = %refusal, "not authenticated");
                let last = match answer.and_then(|answer| answer::encode(form, answer)) {
                    Some(frame) => connection::Answer::Last(vec![frame]),
                    None => connection::Answer::Close,
                };
                let is_guess =
                    matches!(refusal, Refusal::Proof { .. } | Refusal::OtherPrincipal { .. });
                if !is_guess {
                    return Ok(at_once(last));
                }
                let pending = Box::pin(async move {
                    sleep(FAILURE_DELAY).await;
                    last
                });
                Ok(Dispatched { pending, in_line: false })
            }
        }
    }
}

/// What is known already.
fn at_once(answer: connection::Answer) -> Dispatched {
    Dispatched { pending: Box::pin(std::future::ready(answer)), in_line: true }
}

fn decide(
    sasl: &Mutex<Sasl>,
    settings: &SaslSettings,
    context: &Context,
    heard: &Heard,
) -> Outcome {
    let cluster = context.shards.cluster();
    let find = |user: &str, hash| cluster.credential(user, hash).cloned();
    let said = match heard {
        Heard::ApiVersions { answerable } => Said::ApiVersions { answerable: *answerable },
        Heard::Handshake { version, mechanism } => Said::Handshake { version: *version, mechanism },
        Heard::Authenticate(token) => Said::Authenticate { token },
        Heard::Token(token) => Said::Token(token),
        Heard::Other => Said::Other,
    };
    // Nonces are for proofs; other requests are too many to ask the system for chance that nobody uses.
    let random = match said {
        Said::Authenticate { .. } | Said::Token(_) => brooklet_io::entropy::bytes(),
        Said::ApiVersions { .. } | Said::Handshake { .. } | Said::Other => [0; NONCE_BYTES],
    };
    let iterations_max = context.guard.iterations_max(cluster.users());
    let world = World {
        now: context.clock.now(),
        clock: context.clock.timestamp(),
        random,
        users: scram::Users::new(&find, &context.guard.secret, iterations_max),
    };
    sasl.lock().unwrap_or_else(PoisonError::into_inner).step(settings, world, said)
}

/// For the metrics: which mechanism has failed, if it came to that.
fn mechanism_of(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::Proof { mechanism, .. } => mechanism.name(),
        Refusal::OtherMechanism { asked, .. } => asked.name(),
        Refusal::OutOfPlace
        | Refusal::Mechanism(_)
        | Refusal::OtherPrincipal { .. }
        | Refusal::Expired(_)
        | Refusal::Over => "none",
    }
}

#[cfg(test)]
mod tests {
    use brooklet_types::{ScramCredential, ScramHash};

    use super::*;

    #[test]
    fn who_is_not_there_is_hashed_as_often_as_who_is_hashed_most_often() {
        let guard = Guard::new([7; 32], 2);
        let users = |iterations: &[u32]| {
            let kept = |iterations| ScramCredential {
                salt: Vec::new(),
                stored_key: Vec::new(),
                server_key: Vec::new(),
                iterations,
            };
            let numbered = iterations.iter().enumerate();
            let each = numbered.map(|(number, iterations)| {
                (number.to_string(), BTreeMap::from([(ScramHash::Sha256, kept(*iterations))]))
            });
            Arc::new(each.collect::<Users>())
        };
        for (iterations, expected) in
            [(&[][..], ITERATIONS), (&[5000, 9000, 6000], 9000), (&[5000], 5000)]
        {
            let users = users(iterations);
            // What was counted is remembered, until the users are others.
            for _ in 0..2 {
                assert_eq!(guard.iterations_max(&users), expected, "{iterations:?}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stranger_has_thirty_seconds_and_somebody_who_is_known_for_ever() {
        let settings = SaslSettings { mechanisms: Vec::new(), session_max: None, tokens: None };
        let gate = Gate::new(Arc::new(Accepted::fixed(settings)));
        let began = Instant::now();
        gate.overdue().await;
        assert_eq!(began.elapsed(), STRANGER_MAX);
        gate.known.store(true, Ordering::Release);
        let never = timeout(Duration::from_secs(86_400), gate.overdue()).await;
        assert!(never.is_err());
    }
}
