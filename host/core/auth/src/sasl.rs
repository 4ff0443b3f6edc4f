//! The conversation in which a connection becomes somebody's: SaslHandshake, SaslAuthenticate, and again before the
//! session ends (KIP-43, KIP-152, KIP-368).
//!
//! **Where it sits.** Between the frames of a connection and its handlers. The connection asks
//! [`Sasl::expects`] how to read the next frame, hands in what it was as [`Said`], does what the [`Outcome`] says, and
//! reads no further frame before the answer is on its way.
//!
//! **What it decides.** What may be said when, with which error a client is refused, whose the connection
//! is and until when. As Kafka's `SaslServerAuthenticator` does, with its texts: before somebody is known there are
//! ApiVersions, once, SaslHandshake and SaslAuthenticate. After a SaslHandshake of version 0 the tokens come as bare frames.
//!
//! **What it never does.** Wait: who is slow or silent is the connection's to drop, which also delays answers to
//! failures, so that guessing is slow.
//!
//! **Invariants.**
//! 1. Nothing but these requests is admitted before a proof was accepted, or during another.
//! 2. An exchange that failed is over: the connection closes.
//! 3. Who authenticates again is the same principal, by the same mechanism.

#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use brooklet_types::{ErrorCode, Instant, ScramHash, Timestamp};

use crate::mechanism::{Mechanism, Rejection};
use crate::oauth::{self, TokenVerifier};
use crate::plain;
use crate::principal::Principal;
use crate::scram::{self, Challenged, NONCE_BYTES, Users};

/// The largest frame before somebody is known. Tokens of identity providers fit into the 8 to 16 KiB of an
/// HTTP header; Kafka takes 512 KiB.
pub const TOKEN_BYTES_MAX: usize = 64 << 10;

/// Authenticating again sooner than this is refused, as by Kafka: it is work.
const AGAIN_AFTER_MIN: Duration = Duration::from_secs(1);

/// What a listener accepts.
#[derive(Clone, Debug)]
pub struct SaslSettings {
    /// The mechanisms, in the order in which clients are told of them.
    pub mechanisms: Vec<Mechanism>,
    /// How long a session lasts; none for ever. Kafka's `connections.max.reauth.ms`.
    pub session_max: Option<Duration>,
    /// Checks tokens, if OAUTHBEARER is among the mechanisms.
    pub tokens: Option<TokenVerifier>,
}

/// What deciding needs to know of the world.
#[derive(Clone, Copy)]
pub struct World<'a> {
    /// Time that only goes on, for the session's end.
    pub now: Instant,
    /// The time of day, for tokens.
    pub clock: Timestamp,
    /// Fresh random bytes, used for nothing else.
    pub random: [u8; NONCE_BYTES],
    /// Who there is.
    pub users: Users<'a>,
}

/// How the next frame is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// As a request.
    Request,
    /// As a token, all of it: the handshake was of version 0.
    Token,
}

/// What was in a frame.
#[derive(Clone, Copy, Debug)]
pub enum Said<'a> {
    /// ApiVersions, and whether its version and fields are such that it is answered with the versions.
    ApiVersions { answerable: bool },
    /// SaslHandshake.
    Handshake { version: i16, mechanism: &'a str },
    /// SaslAuthenticate.
    Authenticate { token: &'a [u8] },
    /// A bare token, where [`Expected::Token`] was said.
    Token(&'a [u8]),
    /// Any other request.
    Other,
}

/// What a frame comes to.
#[derive(Debug)]
pub enum Outcome {
    /// A request of somebody who is known, or ApiVersions at its time: it is carried out.
    Admit,
    /// It is answered so, and the conversation goes on.
    Reply(Answer),
    /// It is answered so, and the connection is somebody's from now on.
    Authenticated(Answer, Session),
    /// It is answered so, if at all, and the connection closes.
    Refuse(Option<Answer>, Refusal),
}

/// An answer, for whoever writes responses.
#[derive(Clone, PartialEq, Eq)]
pub enum Answer {
    /// To SaslHandshake.
    Handshake { code: ErrorCode, mechanisms: Vec<&'static str> },
    /// To SaslAuthenticate.
    Authenticate {
        code: ErrorCode,
        /// Empty where there is no error: Kafka says no null here.
        message: String,
        token: Vec<u8>,
        /// Until the client has to authenticate again; 0 for never. From version 1 on.
        session_lifetime_ms: i64,
    },
    /// To a bare token: a bare token.
    Token(Vec<u8>),
    /// To any request: its own kind of response, with this code.
    Error(ErrorCode),
}

/// Whose a connection is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Who speaks.
    pub principal: Principal,
    /// How they proved it.
    pub mechanism: Mechanism,
    /// When they have to have done so again.
    pub expires: Option<Instant>,
}

/// Why a connection closes, for the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A request that has no place here: another protocol, or a client that is not configured for SASL.
    #[error("a request that has no place before authentication")]
    OutOfPlace,
    /// A mechanism that the listener does not have.
    #[error("the client asks for the mechanism {0:?}, which is not enabled")]
    Mechanism(String),
    /// Another mechanism than before.
    #[error("the client authenticates again by {asked}, and was authenticated by {before}")]
    OtherMechanism { asked: Mechanism, before: Mechanism },
    /// Another principal than before.
    #[error("the client authenticates again as {asked}, and was {before}")]
    OtherPrincipal { asked: Principal, before: Principal },
    /// A proof that is none.
    #[error("authentication by {mechanism} failed: {reason}")]
    Proof { mechanism: Mechanism, reason: String },
    /// The session is over and the client goes on as if it was not.
    #[error("the session of {0} is over")]
    Expired(Principal),
    /// Something is said after a failure.
    #[error("the connection has failed before")]
    Over,
}

/// One connection's conversation.
#[derive(Debug, Default)]
pub struct Sasl {
    phase: Phase,
    /// Who the connection belongs to, once that is known; also while that is proved again.
    session: Option<Session>,
    /// When somebody who is known last began to prove it again.
    begun: Option<Instant>,
}

#[derive(Debug, Default)]
enum Phase {
    /// Nothing, or an ApiVersions that was answered with an error, was said.
    #[default]
    Start,
    /// The versions were told: the handshake is next.
    VersionsTold,
    /// Tokens are exchanged; `bare` without requests around them.
    Exchange { mechanism: Mechanism, bare: bool, step: Exchange },
    /// Another mechanism was asked for than before: the client hears of it at its next request, as in Kafka.
    OtherMechanism { asked: Mechanism, before: Mechanism, bare: bool },
    /// Somebody is known.
    Known,
    /// It is over.
    Failed,
}

/// How far an exchange has come.
#[derive(Debug)]
enum Exchange {
    /// The client's first message is next.
    First,
    /// A SCRAM challenge was sent.
    Scram(Box<Challenged>),
    /// The client was told that its token is not accepted, and why is remembered for the log.
    TokenRefused(String),
}

/// What a token comes to.
enum Step {
    Challenge(Exchange, Vec<u8>),
    Proved { user: String, token: Vec<u8>, expires: Option<Timestamp> },
}

impl Sasl {
    /// How the next frame is to be read.
    pub fn expects(&self) -> Expected {
        match self.phase {
            Phase::Exchange { bare: true, .. } | Phase::OtherMechanism { bare: true, .. } => {
                Expected::Token
            }
            Phase::Start
            | Phase::VersionsTold
            | Phase::Exchange { .. }
            | Phase::OtherMechanism { .. }
            | Phase::Known
            | Phase::Failed => Expected::Request,
        }
    }

    /// Whether the next token costs an iterated hash, which is no work for a thread that others wait for.
    pub fn is_laborious(&self) -> bool {
        matches!(self.phase, Phase::Exchange { mechanism: Mechanism::Plain, .. })
    }

    /// Whose the connection is, if requests are admitted.
    pub fn session(&self) -> Option<&Session> {
        self.session.as_ref().filter(|_| matches!(self.phase, Phase::Known))
    }

    /// Takes the next frame.
    pub fn step(&mut self, settings: &SaslSettings, world: World<'_>, said: Said<'_>) -> Outcome {
        // Whatever is not put back is over.
        match (std::mem::replace(&mut self.phase, Phase::Failed), said) {
            (Phase::Start, Said::ApiVersions { answerable }) => {
                self.phase = if answerable { Phase::VersionsTold } else { Phase::Start };
                Outcome::Admit
            }
            (Phase::Start | Phase::VersionsTold, Said::Handshake { version, mechanism }) => {
                self.handshake(settings, world.now, version, mechanism)
            }
            (Phase::Start | Phase::VersionsTold, _) => Outcome::Refuse(None, Refusal::OutOfPlace),
            (Phase::Exchange { mechanism, bare: false, step }, Said::Authenticate { token }) => {
                let result = exchange(settings, world, mechanism, step, token);
                self.exchanged(settings, world, mechanism, false, result)
            }
            (Phase::Exchange { mechanism, bare: true, step }, Said::Token(token)) => {
                let result = exchange(settings, world, mechanism, step, token);
                self.exchanged(settings, world, mechanism, true, result)
            }
            (Phase::Exchange { .. }, _) => {
                let answer = Answer::Error(ErrorCode::IllegalSaslState);
                Outcome::Refuse(Some(answer), Refusal::OutOfPlace)
            }
            (Phase::OtherMechanism { asked, before, .. }, _) => {
                Outcome::Refuse(None, Refusal::OtherMechanism { asked, before })
            }
            (Phase::Known, said) => self.known(settings, world.now, said),
            (Phase::Failed, _) => Outcome::Refuse(None, Refusal::Over),
        }
    }

    fn known(&mut self, settings: &SaslSettings, now: Instant, said: Said<'_>) -> Outcome {
        let expires = self.session.as_ref().and_then(|session| session.expires);
        let soon = self.begun.is_some_and(|begun| now.since(begun) < AGAIN_AFTER_MIN);
        if let Said::Handshake { version, mechanism } = said
            && expires.is_some()
            && !soon
        {
            return self.handshake(settings, now, version, mechanism);
        }
        if let (Some(session), Some(expires)) = (&self.session, expires)
            && now > expires
        {
            return Outcome::Refuse(None, Refusal::Expired(session.principal.clone()));
        }
        self.phase = Phase::Known;
        match said {
            Said::Handshake { .. } => Outcome::Reply(Answer::Handshake {
                code: ErrorCode::IllegalSaslState,
                mechanisms: Vec::new(),
            }),
            Said::Authenticate { .. } => {
                let message = "SaslAuthenticate request received after successful authentication";
                Outcome::Reply(failed(ErrorCode::IllegalSaslState, message.to_owned()))
            }
            Said::ApiVersions { .. } | Said::Token(_) | Said::Other => Outcome::Admit,
        }
    }

    fn handshake(
        &mut self,
        settings: &SaslSettings,
        now: Instant,
        version: i16,
        asked: &str,
    ) -> Outcome {
        let mechanisms = settings.mechanisms.iter().map(|mechanism| mechanism.name()).collect();
        let known = Mechanism::from_name(asked).filter(|it| settings.mechanisms.contains(it));
        let Some(mechanism) = known else {
            let code = ErrorCode::UnsupportedSaslMechanism;
            let asked = asked.chars().take(64).collect();
            let answer = Answer::Handshake { code, mechanisms };
            return Outcome::Refuse(Some(answer), Refusal::Mechanism(asked));
        };
        let bare = version == 0;
        self.begun = self.session.as_ref().map(|_| now);
        self.phase = match &self.session {
            Some(session) if session.mechanism != mechanism => {
                Phase::OtherMechanism { asked: mechanism, before: session.mechanism, bare }
            }
            Some(_) | None => Phase::Exchange { mechanism, bare, step: Exchange::First },
        };
        Outcome::Reply(Answer::Handshake { code: ErrorCode::None, mechanisms })
    }

    /// Answers a token.
    fn exchanged(
        &mut self,
        settings: &SaslSettings,
        world: World<'_>,
        mechanism: Mechanism,
        bare: bool,
        result: Result<Step, Failure>,
    ) -> Outcome {
        let answer = |token: Vec<u8>, session_lifetime_ms: i64| match bare {
            true => Answer::Token(token),
            false => Answer::Authenticate {
                code: ErrorCode::None,
                message: String::new(),
                token,
                session_lifetime_ms,
            },
        };
        let refused = |message: String, refusal: Refusal| {
            let answer = failed(ErrorCode::SaslAuthenticationFailed, message);
            Outcome::Refuse(Some(answer).filter(|_| !bare), refusal)
        };
        match result {
            Ok(Step::Challenge(step, token)) => {
                self.phase = Phase::Exchange { mechanism, bare, step };
                Outcome::Reply(answer(token, 0))
            }
            Ok(Step::Proved { user, token, expires }) => {
                let principal = Principal::user(&user);
                let before = self.session.as_ref().map(|session| session.principal.clone());
                if let Some(before) = before.filter(|before| *before != principal) {
                    let (from, to) = (before.name(), principal.name());
                    let message = format!(
                        "Cannot change principals during re-authentication from User.{from}: User.{to}"
                    );
                    return refused(message, Refusal::OtherPrincipal { asked: principal, before });
                }
                let lifetime = lifetime(settings.session_max, expires, world.clock);
                #[expect(clippy::arithmetic_side_effects, reason = "a time saturates")]
                let expires = lifetime.map(|lifetime| world.now + lifetime);
                let session = Session { principal, mechanism, expires };
                self.session = Some(session.clone());
                self.phase = Phase::Known;
                let lifetime = lifetime.map_or(0, |lifetime| lifetime.as_millis());
                let lifetime = i64::try_from(lifetime).unwrap_or(i64::MAX);
                Outcome::Authenticated(answer(token, lifetime), session)
            }
            Err(Failure { told, reason }) => {
                let again =
                    if self.session.is_some() { "re-authentication" } else { "authentication" };
                let told = told.unwrap_or_else(|| {
                    format!(
                        "Authentication failed during {again} due to invalid credentials with SASL \
                         mechanism {mechanism}"
                    )
                });
                refused(told, Refusal::Proof { mechanism, reason })
            }
        }
    }
}

/// A proof that is none: what the client is told if not the usual, and what the log is.
struct Failure {
    told: Option<String>,
    reason: String,
}

impl From<Rejection> for Failure {
    fn from(rejection: Rejection) -> Failure {
        match rejection {
            Rejection::Told(text) => Failure { reason: text.clone(), told: Some(text) },
            Rejection::Kept(reason) => Failure { told: None, reason: reason.to_owned() },
        }
    }
}

/// Takes a client's token.
fn exchange(
    settings: &SaslSettings,
    world: World<'_>,
    mechanism: Mechanism,
    step: Exchange,
    token: &[u8],
) -> Result<Step, Failure> {
    let proved = |user: String, token: Vec<u8>| Step::Proved { user, token, expires: None };
    match (mechanism, step) {
        (Mechanism::Plain, _) => {
            let user = plain::authenticate(&world.users, token)?;
            Ok(proved(user, Vec::new()))
        }
        (Mechanism::Scram(_), Exchange::Scram(challenged)) => {
            let (user, signature) = challenged.verify(token)?;
            Ok(proved(user, signature))
        }
        (Mechanism::Scram(hash), _) => challenge(world, hash, token),
        (Mechanism::OauthBearer, Exchange::TokenRefused(reason)) => {
            let told = (token == oauth::ACKNOWLEDGEMENT).then(|| oauth::INVALID_TOKEN.to_owned());
            Err(Failure { told, reason })
        }
        (Mechanism::OauthBearer, _) => bearer(settings.tokens.as_ref(), world.clock, token),
    }
}

fn challenge(world: World<'_>, hash: ScramHash, token: &[u8]) -> Result<Step, Failure> {
    let nonce = scram::nonce(world.random);
    let (challenged, challenge) = scram::challenge(&world.users, hash, &nonce, token)?;
    Ok(Step::Challenge(Exchange::Scram(Box::new(challenged)), challenge))
}

fn bearer(
    verifier: Option<&TokenVerifier>,
    clock: Timestamp,
    token: &[u8],
) -> Result<Step, Failure> {
    let initial = oauth::read(token)?;
    let verifier = verifier.ok_or(Rejection::Kept("no keys are configured"))?;
    let accepted = match verifier.verify(initial.token, clock) {
        Ok(accepted) => accepted,
        Err(error) => {
            let refused = Exchange::TokenRefused(error.to_string());
            return Ok(Step::Challenge(refused, oauth::INVALID_TOKEN.as_bytes().to_vec()));
        }
    };
    let asked = initial.authorization_id;
    if !asked.is_empty() && asked != accepted.user {
        return Err(Rejection::Told(format!(
            "Authentication failed: Client requested an authorization id ({asked}) that is different \
             from the token's principal name ({})",
            accepted.user
        ))
        .into());
    }
    let expires = Some(accepted.expires);
    Ok(Step::Proved { user: accepted.user, token: Vec::new(), expires })
}

/// How long a session lasts: as long as the listener allows and the credential does.
fn lifetime(
    session_max: Option<Duration>,
    expires: Option<Timestamp>,
    clock: Timestamp,
) -> Option<Duration> {
    let left = expires.map(|expires| {
        Duration::from_millis(u64::try_from(expires.millis_since(clock)).unwrap_or(0))
    });
    match (session_max, left) {
        (Some(most), Some(left)) => Some(most.min(left)),
        (most, left) => most.or(left),
    }
}

fn failed(code: ErrorCode, message: String) -> Answer {
    Answer::Authenticate { code, message, token: Vec::new(), session_lifetime_ms: 0 }
}

/// Tokens stay out of logs.
impl fmt::Debug for Answer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Answer::Handshake { code, mechanisms } => {
                write!(formatter, "handshake {} {mechanisms:?}", code.name())
            }
            Answer::Authenticate { code, message, token, session_lifetime_ms } => write!(
                formatter,
                "authenticate {} {message:?} {} bytes, {session_lifetime_ms} ms",
                code.name(),
                token.len()
            ),
            Answer::Token(token) => write!(formatter, "token of {} bytes", token.len()),
            Answer::Error(code) => write!(formatter, "error {}", code.name()),
        }
    }
}
