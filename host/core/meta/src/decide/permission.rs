//! Rules about who may do what come and go.
//!
//! What a rule comes to is decided in `auth`; here is which rules there are. Source: Kafka's
//! `AclControlManager`, and what its `AclApis` checks before.

use brooklet_types::permission::{CLUSTER_NAME, WILDCARD};
use brooklet_types::{Acl, ErrorCode, Operation, PatternType, Permission, ResourceType};

use super::{Decision, Draft, RECORDS_MAX};
use crate::cluster::Cluster;
use crate::record::MetaRecord;

/// More rules than this are refused: each is in every broker's memory, and part of every image of the cluster.
pub const ACLS_MAX: usize = 100_000;

/// A rule somebody wants, with the wire's numbers, unchecked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewAcl {
    pub resource: i8,
    pub name: String,
    pub pattern: i8,
    pub principal: String,
    pub host: String,
    pub operation: i8,
    pub permission: i8,
}

/// Which rules are meant, with the wire's numbers, unchecked. What is none matches all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AclFilter {
    pub resource: i8,
    pub name: Option<String>,
    pub pattern: i8,
    pub principal: Option<String>,
    pub host: Option<String>,
    pub operation: i8,
    pub permission: i8,
}

/// Numbers that only filters have.
const UNKNOWN: i8 = 0;
const ANY: i8 = 1;
const MATCH: i8 = 2;

/// Why a rule was not created, or none deleted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AclError {
    /// There is one cluster.
    #[error("The only valid name for the CLUSTER resource is {CLUSTER_NAME}")]
    ClusterName,
    /// A rule about nothing.
    #[error("Invalid empty resource name")]
    NoName,
    /// A number that no rule has.
    #[error("Invalid {what} {name}")]
    Number { what: &'static str, name: &'static str },
    /// A principal is a kind and a name.
    #[error(
        "Could not parse principal from `{0}` (no colon is present separating the principal type \
         from the principal name)"
    )]
    Principal(String),
    /// Kinds or patterns that nobody knows.
    #[error("Unknown patternFilter.")]
    UnknownPattern,
    /// Operations or permissions that nobody knows.
    #[error("Unknown entryFilter.")]
    UnknownEntry,
    /// One request removes more than it may.
    #[error("Cannot remove more than {RECORDS_MAX} acls in a single delete operation.")]
    TooManyRemoved,
    /// One request adds more than it may.
    #[error("Unable to perform excessively large batch operation.")]
    TooManyAdded,
    /// There are too many.
    #[error("There are {ACLS_MAX} ACLs already, which is the most there may be.")]
    TooMany,
}

impl AclError {
    /// What the client is told.
    pub fn code(&self) -> ErrorCode {
        match self {
            AclError::ClusterName
            | AclError::NoName
            | AclError::Number { .. }
            | AclError::Principal(_)
            | AclError::UnknownPattern
            | AclError::UnknownEntry
            | AclError::TooManyRemoved => ErrorCode::InvalidRequest,
            AclError::TooManyAdded | AclError::TooMany => ErrorCode::PolicyViolation,
        }
    }
}

/// Creates rules, each by itself. One that is there already is as good as created.
///
/// # Errors
/// If there are too many: then none is created.
pub fn create_acls(
    cluster: &Cluster,
    wanted: &[NewAcl],
) -> Result<Decision<Vec<Result<(), AclError>>>, AclError> {
    let mut draft = Draft::of(cluster);
    let mut reply = Vec::with_capacity(wanted.len());
    for wanted in wanted {
        let created = wanted.check().and_then(|acl| {
            if draft.cluster.acls.contains(&acl) {
                return Ok(());
            }
            if draft.cluster.acls.len() >= ACLS_MAX {
                return Err(AclError::TooMany);
            }
            draft.push(MetaRecord::AclAdded { acl });
            Ok(())
        });
        reply.push(created);
    }
    if draft.records.len() > RECORDS_MAX {
        return Err(AclError::TooManyAdded);
    }
    Ok(draft.decide(false, reply))
}

/// What one filter removes.
pub type Removed = Result<Vec<Acl>, AclError>;

/// Deletes the rules that filters match; what several match is in the answer to each.
///
/// # Errors
/// If there are too many: then none is deleted.
pub fn delete_acls(
    cluster: &Cluster,
    filters: &[AclFilter],
) -> Result<Decision<Vec<Removed>>, AclError> {
    let mut draft = Draft::of(cluster);
    let mut reply = Vec::with_capacity(filters.len());
    for filter in filters {
        if let Err(error) = filter.check() {
            reply.push(Err(error));
            continue;
        }
        let matched: Vec<Acl> = matching(cluster, filter).cloned().collect();
        for acl in &matched {
            if !draft.cluster.acls.contains(acl) {
                continue;
            }
            if draft.records.len() == RECORDS_MAX {
                return Err(AclError::TooManyRemoved);
            }
            draft.push(MetaRecord::AclRemoved { acl: acl.clone() });
        }
        reply.push(Ok(matched));
    }
    Ok(draft.decide(false, reply))
}

/// The rules that `filter` matches, in order.
pub fn matching<'a>(cluster: &'a Cluster, filter: &'a AclFilter) -> impl Iterator<Item = &'a Acl> {
    cluster.acls.iter().filter(|acl| filter.matches(acl))
}

impl NewAcl {
    /// Whether a number is the one for what nobody knows: Kafka cannot read such a request.
    pub fn is_malformed(&self) -> bool {
        [self.resource, self.pattern, self.operation, self.permission].contains(&UNKNOWN)
    }

    fn check(&self) -> Result<Acl, AclError> {
        let resource = ResourceType::from_wire(self.resource);
        if resource == Some(ResourceType::Cluster) && self.name != CLUSTER_NAME {
            return Err(AclError::ClusterName);
        }
        if self.name.is_empty() {
            return Err(AclError::NoName);
        }
        let number = |what, raw| {
            let name = match (what, raw) {
                (_, ANY) => "ANY",
                ("patternType", MATCH) => "MATCH",
                _ => "UNKNOWN",
            };
            AclError::Number { what, name }
        };
        let resource = resource.ok_or_else(|| number("resourceType", self.resource))?;
        let pattern = PatternType::from_wire(self.pattern)
            .ok_or_else(|| number("patternType", self.pattern))?;
        let operation = Operation::from_wire(self.operation)
            .ok_or_else(|| number("operation", self.operation))?;
        let permission = Permission::from_wire(self.permission)
            .ok_or_else(|| number("permissionType", self.permission))?;
        if !self.principal.contains(':') {
            return Err(AclError::Principal(self.principal.clone()));
        }
        Ok(Acl {
            resource,
            pattern,
            name: self.name.clone(),
            principal: self.principal.clone(),
            host: self.host.clone(),
            operation,
            permission,
        })
    }
}

impl AclFilter {
    /// Whether a number is the one for what nobody knows: Kafka cannot read such a request.
    pub fn is_malformed(&self) -> bool {
        [self.resource, self.pattern, self.operation, self.permission].contains(&UNKNOWN)
    }

    fn check(&self) -> Result<(), AclError> {
        let resource = self.resource == ANY || ResourceType::from_wire(self.resource).is_some();
        let pattern =
            matches!(self.pattern, ANY | MATCH) || PatternType::from_wire(self.pattern).is_some();
        if !resource || !pattern {
            return Err(AclError::UnknownPattern);
        }
        let operation = self.operation == ANY || Operation::from_wire(self.operation).is_some();
        let permission = self.permission == ANY || Permission::from_wire(self.permission).is_some();
        if operation && permission { Ok(()) } else { Err(AclError::UnknownEntry) }
    }

    /// Whether this filter means `acl`. What nobody knows is no rule's.
    fn matches(&self, acl: &Acl) -> bool {
        let number = |wanted: i8, own: i8| wanted == ANY || wanted == own;
        let text = |wanted: &Option<String>, own: &str| wanted.as_ref().is_none_or(|it| it == own);
        number(self.resource, acl.resource.to_wire())
            && (self.pattern == MATCH || number(self.pattern, acl.pattern.to_wire()))
            && self.name.as_ref().is_none_or(|name| self.names(name, acl))
            && text(&self.principal, &acl.principal)
            && text(&self.host, &acl.host)
            && number(self.operation, acl.operation.to_wire())
            && number(self.permission, acl.permission.to_wire())
    }

    /// MATCH means every rule that is about the resource of that name, the others the rule of that name.
    fn names(&self, name: &str, acl: &Acl) -> bool {
        match (self.pattern, acl.pattern) {
            (MATCH, PatternType::Literal) => acl.name == name || acl.name == WILDCARD,
            (MATCH, PatternType::Prefixed) => name.starts_with(&acl.name),
            _ => acl.name == name,
        }
    }
}
