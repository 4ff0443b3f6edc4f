//! Quotas are set and taken away (KIP-546).
//!
//! What a quota does is decided in `auth`. Source: Kafka's `ClientQuotaControlManager` and `ClientQuotasImage`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use brooklet_types::{ErrorCode, QuotaEntity, QuotaKey, QuotaLimit, QuotaName};

use super::{Decision, Draft, RECORDS_MAX};
use crate::cluster::Cluster;
use crate::record::MetaRecord;

/// More entities with quotas than this are refused.
pub const QUOTA_ENTITIES_MAX: usize = 100_000;

/// Whom a quota is for, as a request says it: kinds and names; no name is the default.
pub type EntityParts = Vec<(String, Option<String>)>;

/// Changes of one entity's quotas.
#[derive(Clone, Debug, PartialEq)]
pub struct QuotaAlteration {
    pub entity: EntityParts,
    /// Names of quotas and their limits; none takes one away.
    pub changes: Vec<(String, Option<f64>)>,
}

/// Why an entity's quotas were not changed, or none are described.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuotaError {
    /// For nobody.
    #[error("Invalid empty client quota entity")]
    NoEntity,
    /// For one kind twice.
    #[error("Invalid client quota entity, duplicate entity entry {0}")]
    KindTwice(String),
    /// For what nobody knows.
    #[error("Unhandled client quota entity type: {0}")]
    Kind(String),
    /// For somebody without a name.
    #[error("Empty {0} not supported")]
    NoName(String),
    /// For an address and somebody.
    #[error(
        "Invalid quota entity combination, IP entity shouldnot be combined with User or ClientId"
    )]
    Combination,
    /// Not an address. Kafka takes a host's name, too, and asks for its address.
    #[error("{0} is not a valid IP or resolvable host.")]
    Address(String),
    /// The request names the entity, or one of its quotas, twice.
    #[error("Ignoring duplicate entity {0}")]
    EntityTwice(String),
    /// No such quota, or not for such an entity.
    #[error("Invalid configuration key {0}")]
    Key(String),
    /// Zero or less.
    #[error("Quota {0} must be greater than 0")]
    NotPositive(&'static str),
    /// More than its kind of number holds.
    #[error("Proposed value for {0} is too large for {1}.")]
    TooLarge(&'static str, &'static str),
    /// A part of a byte, or of a connection.
    #[error("{0} cannot be a fractional value.")]
    Fraction(&'static str),
    /// There are too many, or too many at once.
    #[error("Unable to perform excessively large batch operation.")]
    TooMany,
    /// A filter without a kind.
    #[error("Invalid empty entity type.")]
    NoFilterKind,
    /// A filter with a kind twice.
    #[error("Entity type {0} cannot appear more than once in the filter.")]
    FilterKindTwice(String),
    /// A filter with a kind that nobody knows.
    #[error("Unsupported entity type {0}")]
    FilterKind(String),
    /// A filter for a name, without it.
    #[error("Request specified MATCH_TYPE_EXACT, but set match string to null.")]
    ExactWithoutName,
    /// A filter for no name, with one.
    #[error("Request specified {0}, but also specified a match string.")]
    NameNotAsked(&'static str),
    /// A filter that nobody knows.
    #[error("Unknown match type {0}")]
    MatchType(i8),
    /// A filter for addresses and somebody.
    #[error(
        "Invalid entity filter component combination. IP filter component should not be used with \
         user or clientId filter component."
    )]
    FilterCombination,
}

impl QuotaError {
    /// What the client is told.
    pub fn code(&self) -> ErrorCode {
        match self {
            QuotaError::NoEntity
            | QuotaError::KindTwice(_)
            | QuotaError::Kind(_)
            | QuotaError::NoName(_)
            | QuotaError::Combination
            | QuotaError::Address(_)
            | QuotaError::EntityTwice(_)
            | QuotaError::Key(_)
            | QuotaError::NotPositive(_)
            | QuotaError::TooLarge(..)
            | QuotaError::Fraction(_)
            | QuotaError::NoFilterKind
            | QuotaError::FilterKindTwice(_)
            | QuotaError::ExactWithoutName
            | QuotaError::NameNotAsked(_)
            | QuotaError::MatchType(_)
            | QuotaError::FilterCombination => ErrorCode::InvalidRequest,
            QuotaError::FilterKind(_) => ErrorCode::UnsupportedVersion,
            QuotaError::TooMany => ErrorCode::PolicyViolation,
        }
    }
}

/// Entities with what became of the request for each.
pub type Altered = Vec<(EntityParts, Result<(), QuotaError>)>;

/// AlterClientQuotas: changes each entity by itself, all of its quotas or none. One answer for each entity.
pub fn alter_quotas(
    cluster: &Cluster,
    alterations: &[QuotaAlteration],
    validate_only: bool,
) -> Decision<Altered> {
    let mut draft = Draft::of(cluster);
    let mut results: BTreeMap<EntityParts, Result<(), QuotaError>> = BTreeMap::new();
    let mut order = Vec::new();
    for alteration in alterations {
        let mut parts = alteration.entity.clone();
        parts.sort();
        // As in Kafka, what an earlier mention did is done; only its answer is lost.
        let result = match results.contains_key(&parts) {
            true => Err(QuotaError::EntityTwice(shown(&alteration.entity))),
            false => {
                order.push(parts.clone());
                alter(&mut draft, alteration)
            }
        };
        results.insert(parts, result);
    }
    let answer = |parts: EntityParts| {
        let result = results.remove(&parts).unwrap_or(Ok(()));
        (parts, result)
    };
    let reply = order.into_iter().map(answer).collect();
    draft.decide(validate_only, reply)
}

fn alter(draft: &mut Draft, alteration: &QuotaAlteration) -> Result<(), QuotaError> {
    let mut names = BTreeSet::new();
    for (name, _) in &alteration.changes {
        if !names.insert(name) {
            return Err(QuotaError::EntityTwice(shown(&alteration.entity)));
        }
    }
    let entity = entity(&alteration.entity)?;
    let current = draft.cluster.quotas.get(&entity);
    let mut records = Vec::new();
    for (name, value) in &alteration.changes {
        let known = QuotaKey::from_name(name).filter(|key| is_for(*key, &entity));
        let (key, limit) = match (known, value) {
            (Some(key), Some(value)) => (key, Some(limit(key, *value)?)),
            (Some(key), None) => (key, None),
            (None, Some(_)) => return Err(QuotaError::Key(name.clone())),
            // What cannot be set is not there to be taken away.
            (None, None) => continue,
        };
        if current.and_then(|limits| limits.get(&key)).copied() != limit {
            records.push(MetaRecord::QuotaSet { entity: entity.clone(), key, limit });
        }
    }
    let full = current.is_none() && draft.cluster.quotas.len() >= QUOTA_ENTITIES_MAX;
    if draft.records.len() + records.len() > RECORDS_MAX || (full && !records.is_empty()) {
        return Err(QuotaError::TooMany);
    }
    records.into_iter().for_each(|record| draft.push(record));
    Ok(())
}

const USER: &str = "user";
const CLIENT_ID: &str = "client-id";
const IP: &str = "ip";

/// Reads whom a quota is for.
fn entity(parts: &EntityParts) -> Result<QuotaEntity, QuotaError> {
    let (mut user, mut client, mut ip) = (None, None, None);
    for (kind, name) in parts {
        let place = match kind.as_str() {
            USER => &mut user,
            CLIENT_ID => &mut client,
            IP => &mut ip,
            _ => return Err(QuotaError::Kind(kind.clone())),
        };
        if place.is_some() {
            return Err(QuotaError::KindTwice(kind.clone()));
        }
        *place = Some(match name.as_deref() {
            None => QuotaName::Default,
            Some("") => return Err(QuotaError::NoName(kind.clone())),
            Some(name) => QuotaName::Exactly(name.to_owned()),
        });
    }
    match (user, client, ip) {
        (None, None, None) => Err(QuotaError::NoEntity),
        (None, None, Some(QuotaName::Exactly(address))) => {
            // One way to write an address: it is looked up as text.
            let parsed: Result<IpAddr, _> = address.parse();
            let parsed = parsed.map_err(|_| QuotaError::Address(address))?;
            Ok(QuotaEntity::Ip(QuotaName::Exactly(parsed.to_string())))
        }
        (None, None, Some(QuotaName::Default)) => Ok(QuotaEntity::Ip(QuotaName::Default)),
        (_, _, Some(_)) => Err(QuotaError::Combination),
        (Some(user), Some(client), None) => Ok(QuotaEntity::UserClientId(user, client)),
        (Some(user), None, None) => Ok(QuotaEntity::User(user)),
        (None, Some(client), None) => Ok(QuotaEntity::ClientId(client)),
    }
}

/// A quota that nobody would keep is refused as one that nobody knows.
fn is_for(key: QuotaKey, entity: &QuotaEntity) -> bool {
    let is_address = matches!(entity, QuotaEntity::Ip(_));
    match key {
        QuotaKey::ConnectionCreationRate => is_address,
        QuotaKey::ProducerByteRate
        | QuotaKey::ConsumerByteRate
        | QuotaKey::RequestPercentage
        | QuotaKey::ControllerMutationRate => !is_address,
    }
}

fn limit(key: QuotaKey, value: f64) -> Result<QuotaLimit, QuotaError> {
    /// 2^63 and 2^31: the first numbers that Java's types do not hold.
    const LONG_END: f64 = 9_223_372_036_854_775_808.0;
    const INT_END: f64 = 2_147_483_648.0;
    let name = key.name();
    let limit = QuotaLimit::new(value).ok_or(QuotaError::NotPositive(name))?;
    let (end, kind) = match key {
        QuotaKey::ProducerByteRate | QuotaKey::ConsumerByteRate => (LONG_END, "a LONG"),
        QuotaKey::ConnectionCreationRate => (INT_END, "an INT"),
        QuotaKey::RequestPercentage | QuotaKey::ControllerMutationRate => return Ok(limit),
    };
    if value >= end {
        return Err(QuotaError::TooLarge(name, kind));
    }
    if value.fract() > 1e-6 {
        return Err(QuotaError::Fraction(name));
    }
    Ok(limit)
}

/// As Kafka prints an entity.
fn shown(parts: &EntityParts) -> String {
    let parts =
        parts.iter().map(|(kind, name)| format!("{kind}={}", name.as_deref().unwrap_or("null")));
    format!("ClientQuotaEntity(entries={{{}}})", parts.collect::<Vec<_>>().join(", "))
}

/// One condition of a filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaCondition {
    /// `user`, `client-id` or `ip`, unchecked.
    pub kind: String,
    /// The wire's number: 0 for this name, 1 for the default, 2 for any of the kind. Unchecked.
    pub match_type: i8,
    /// The name, if one is meant.
    pub name: Option<String>,
}

/// What a condition asks of one kind's name.
enum Wanted {
    Exactly(QuotaName),
    Any,
}

/// An entity and its limits.
pub type Described<'a> = (&'a QuotaEntity, &'a BTreeMap<QuotaKey, QuotaLimit>);

/// DescribeClientQuotas: the entities that meet all conditions; with `strict`, only those without further kinds.
///
/// # Errors
/// If the filter makes no sense.
pub fn describe_quotas<'a>(
    cluster: &'a Cluster,
    conditions: &[QuotaCondition],
    strict: bool,
) -> Result<Vec<Described<'a>>, QuotaError> {
    let mut wanted: BTreeMap<&str, Wanted> = BTreeMap::new();
    for condition in conditions {
        let kind = condition.kind.as_str();
        if kind.is_empty() {
            return Err(QuotaError::NoFilterKind);
        }
        if wanted.contains_key(kind) {
            return Err(QuotaError::FilterKindTwice(kind.to_owned()));
        }
        if ![USER, CLIENT_ID, IP].contains(&kind) {
            return Err(QuotaError::FilterKind(kind.to_owned()));
        }
        wanted.insert(kind, condition.wanted()?);
    }
    if wanted.contains_key(IP) && wanted.len() > 1 {
        return Err(QuotaError::FilterCombination);
    }
    let meets = |entity: &QuotaEntity| {
        let names = names(entity);
        let met = wanted.iter().all(|(kind, wanted)| {
            names.iter().any(|(own, name)| {
                own == kind
                    && match wanted {
                        Wanted::Any => true,
                        Wanted::Exactly(wanted) => wanted == *name,
                    }
            })
        });
        met && (!strict || names.len() == wanted.len())
    };
    Ok(cluster.quotas.iter().filter(|(entity, _)| meets(entity)).collect())
}

impl QuotaCondition {
    fn wanted(&self) -> Result<Wanted, QuotaError> {
        match (self.match_type, &self.name) {
            (0, Some(name)) => Ok(Wanted::Exactly(QuotaName::Exactly(name.clone()))),
            (0, None) => Err(QuotaError::ExactWithoutName),
            (1, None) => Ok(Wanted::Exactly(QuotaName::Default)),
            (1, Some(_)) => Err(QuotaError::NameNotAsked("MATCH_TYPE_DEFAULT")),
            (2, None) => Ok(Wanted::Any),
            (2, Some(_)) => Err(QuotaError::NameNotAsked("MATCH_TYPE_SPECIFIED")),
            (other, _) => Err(QuotaError::MatchType(other)),
        }
    }
}

/// An entity's kinds and names, as the wire has them.
pub fn names(entity: &QuotaEntity) -> Vec<(&'static str, &QuotaName)> {
    match entity {
        QuotaEntity::User(user) => vec![(USER, user)],
        QuotaEntity::ClientId(client) => vec![(CLIENT_ID, client)],
        QuotaEntity::UserClientId(user, client) => vec![(USER, user), (CLIENT_ID, client)],
        QuotaEntity::Ip(ip) => vec![(IP, ip)],
    }
}
