//! A token: a JSON Web Token (RFC 7519) that is signed (RFC 7515) and says what it must.
//!
//! As strict as Kafka's `BrokerJwtValidator`: when it was issued and when it ends must be in it, and where no
//! audience is expected a token that names one is meant for somebody else.

use std::collections::BTreeSet;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use brooklet_types::Timestamp;
use serde_json::Value;

use super::TokenVerifier;
use super::keys::Algorithm;

/// What a token must say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRules {
    /// How it may be signed.
    pub algorithms: BTreeSet<Algorithm>,
    /// Who must have issued it; anybody with a key of the set where this is not said.
    pub issuer: Option<String>,
    /// Whom it may be meant for, one of which it must name; where none is said it must not name any.
    pub audiences: BTreeSet<String>,
    /// The claim that names the user. Kafka's `sasl.oauthbearer.sub.claim.name`.
    pub user_claim: String,
    /// The claim that lists the scopes. Kafka's `sasl.oauthbearer.scope.claim.name`.
    pub scope_claim: String,
    /// Scopes it must have, all of them.
    pub scopes: BTreeSet<String>,
    /// How far the issuer's clock may be from ours.
    pub leeway: Duration,
}

impl Default for TokenRules {
    /// Kafka's defaults: the claims `sub` and `scope`, and half a minute.
    fn default() -> TokenRules {
        TokenRules {
            algorithms: Algorithm::ALL.into(),
            issuer: None,
            audiences: BTreeSet::new(),
            user_claim: "sub".to_owned(),
            scope_claim: "scope".to_owned(),
            scopes: BTreeSet::new(),
            leeway: Duration::from_secs(30),
        }
    }
}

/// What a token that is accepted says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Whose it is.
    pub user: String,
    /// When it ends, without the leeway.
    pub expires: Timestamp,
}

/// Why a token is not accepted. For the log: clients are told that it is invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not three parts of base64url with JSON objects in the first two.
    #[error("the token is not a signed JSON web token")]
    Malformed,
    /// Signed in a way that is not allowed here, or not signed.
    #[error("the token is signed with {0:?}, which is not allowed")]
    Algorithm(String),
    /// It depends on something that is not known here (RFC 7515 §4.1.11).
    #[error("the token has critical headers")]
    Critical,
    /// No key could have made the signature.
    #[error("no single key fits the token's key id {0:?} and algorithm")]
    UnknownKey(Option<String>),
    /// The signature is not the key's.
    #[error("the token's signature is wrong")]
    Signature,
    /// A claim is missing or of the wrong kind.
    #[error("the token's claim {0:?} is missing or not of its kind")]
    Claim(String),
    /// It has ended.
    #[error("the token expired at {0}")]
    Expired(Timestamp),
    /// It has not begun.
    #[error("the token is not valid before {0}")]
    NotYet(Timestamp),
    /// Somebody else issued it.
    #[error("the token's issuer is not the expected one")]
    Issuer,
    /// It is meant for somebody else.
    #[error("the token's audience is not this broker")]
    Audience,
    /// It lacks a scope.
    #[error("the token lacks the scope {0:?}")]
    Scope(String),
}

impl TokenVerifier {
    /// Checks `token` at the time `now`.
    ///
    /// # Errors
    /// With the first thing that is wrong about it.
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<Token, TokenError> {
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(TokenError::Malformed)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| TokenError::Malformed)?;
        self.check_signature(&object(header)?, signed.as_bytes(), &signature)?;
        self.check_claims(&object(claims)?, now)
    }

    fn check_signature(
        &self,
        header: &Value,
        signed: &[u8],
        signature: &[u8],
    ) -> Result<(), TokenError> {
        let name = header.get("alg").and_then(Value::as_str).ok_or(TokenError::Malformed)?;
        let algorithm = Algorithm::from_name(name)
            .filter(|algorithm| self.rules.algorithms.contains(algorithm))
            .ok_or_else(|| TokenError::Algorithm(name.chars().take(16).collect()))?;
        if header.get("crit").is_some() {
            return Err(TokenError::Critical);
        }
        let id = match header.get("kid") {
            None => None,
            Some(id) => Some(id.as_str().ok_or(TokenError::Malformed)?),
        };
        let unknown = || TokenError::UnknownKey(id.map(|id| id.chars().take(64).collect()));
        let key = self.keys.find(id, algorithm).ok_or_else(unknown)?;
        if key.signed(algorithm, signed, signature) { Ok(()) } else { Err(TokenError::Signature) }
    }

    fn check_claims(&self, claims: &Value, now: Timestamp) -> Result<Token, TokenError> {
        let rules = &self.rules;
        let leeway = i64::try_from(rules.leeway.as_millis()).unwrap_or(i64::MAX);
        let expires = required(date(claims, "exp")?, "exp")?;
        if now.plus_millis(leeway.saturating_neg()) >= expires {
            return Err(TokenError::Expired(expires));
        }
        required(date(claims, "iat")?, "iat")?;
        match date(claims, "nbf")? {
            Some(begins) if now.plus_millis(leeway) < begins => {
                return Err(TokenError::NotYet(begins));
            }
            Some(_) | None => {}
        }
        let issuer = claims.get("iss").and_then(Value::as_str);
        if rules.issuer.is_some() && rules.issuer.as_deref() != issuer {
            return Err(TokenError::Issuer);
        }
        let audiences = words(claims, "aud", false)?;
        let meant = match rules.audiences.is_empty() {
            true => audiences.is_empty(),
            false => audiences.iter().any(|audience| rules.audiences.contains(*audience)),
        };
        if !meant {
            return Err(TokenError::Audience);
        }
        let scopes = words(claims, &rules.scope_claim, true)?;
        let lacks = |scope: &&String| !scopes.contains(&scope.as_str());
        if let Some(missing) = rules.scopes.iter().find(lacks) {
            return Err(TokenError::Scope(missing.clone()));
        }
        let user = claims.get(&rules.user_claim).and_then(Value::as_str).map(str::trim);
        let user = required(user.filter(|user| !user.is_empty()), &rules.user_claim)?;
        Ok(Token { user: user.to_owned(), expires })
    }
}

fn object(part: &str) -> Result<Value, TokenError> {
    let json = URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Malformed)?;
    let value: Value = serde_json::from_slice(&json).map_err(|_| TokenError::Malformed)?;
    if value.is_object() { Ok(value) } else { Err(TokenError::Malformed) }
}

fn required<T>(value: Option<T>, claim: &str) -> Result<T, TokenError> {
    value.ok_or_else(|| TokenError::Claim(claim.to_owned()))
}

/// A claim that is a time: seconds since 1970, perhaps with a fraction. A time written as text is none: who
/// takes it for one and skips what it cannot read accepts tokens that have ended.
fn date(claims: &Value, claim: &str) -> Result<Option<Timestamp>, TokenError> {
    /// The year 5138. What lies behind it is a mistake, most likely milliseconds.
    const SECONDS_MAX: f64 = 1e11;
    let Some(value) = claims.get(claim) else { return Ok(None) };
    let seconds = value.as_f64().filter(|seconds| seconds.abs() <= SECONDS_MAX);
    let seconds = required(seconds, claim)?;
    let millis = (seconds * 1000.0).floor();
    #[expect(clippy::cast_possible_truncation, reason = "it is within ±1e14 and whole")]
    Ok(Some(Timestamp(millis as i64)))
}

/// A claim that is a text, or a list of them; `split` at spaces where a text holds several.
fn words<'a>(claims: &'a Value, claim: &str, split: bool) -> Result<Vec<&'a str>, TokenError> {
    let wrong = || TokenError::Claim(claim.to_owned());
    match claims.get(claim) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::String(text)) if split => Ok(text.split_whitespace().collect()),
        Some(Value::String(text)) => Ok(vec![text]),
        Some(Value::Array(list)) => {
            list.iter().map(|item| item.as_str().ok_or_else(wrong)).collect()
        }
        Some(Value::Bool(_) | Value::Number(_) | Value::Object(_)) => Err(wrong()),
    }
}
