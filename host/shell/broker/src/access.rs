//! What a client may do, asked by every handler before it does it.
//!
//! **Where it sits.** Between the handlers and `auth`, which decides. Here its rules follow those of the cluster, and
//! what is refused is counted and logged.
//!
//! **What it decides.** Which refusals are news: those of a client that asked for a thing by name, and not those of
//! what is left out of a list. How many are logged.
//!
//! **Invariants.** One answer is of one version of the rules: a handler asks with the cluster it answers from, so
//! a change holds for whatever is read after its answer, on open connections too. Without an authorizer nothing is
//! looked up; with one, a question takes no allocation.

mod needs;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use brooklet_auth::acl::{Asker, AuthorizerSettings, operations_of};
use brooklet_auth::{Authorizer, Principal};
use brooklet_meta::Cluster;
use brooklet_types::permission::CLUSTER_NAME;
use brooklet_types::{Acl, ErrorCode, Instant, Operation, ResourceType};

pub use self::needs::{Need, Otherwise, needs};
use crate::context::Call;

/// Refusals that are logged each second; the others are counted. A client that is refused tries again at once.
const LOGGED_PER_SECOND: u32 = 10;
const SECOND: Duration = Duration::from_secs(1);

/// The broker's own connections: a principal that nobody can log in as, since all who do are users.
pub(crate) const OWN: &str = "Broker:own";

/// The authorizer of a broker.
#[derive(Debug, Default)]
pub(crate) struct Access {
    /// None where everybody may do everything.
    settings: Option<AuthorizerSettings>,
    /// Protects the rules as they were last made ready; held while others are, so that they are made once.
    current: RwLock<Current>,
    /// Protects the count of what was logged; taken where something is refused.
    logged: Mutex<Logged>,
}

/// Rules, and what was made of them.
#[derive(Debug, Default)]
struct Current {
    rules: Arc<BTreeSet<Acl>>,
    authorizer: Arc<Authorizer>,
}

#[derive(Debug, Default)]
struct Logged {
    since: Instant,
    lines: u32,
    /// What was not logged.
    more: u32,
}

/// What one client may do, as of one version of the cluster.
pub(crate) struct May<'a> {
    call: &'a Call,
    authorizer: Option<Arc<Authorizer>>,
}

/// Who the broker's own connections belong to.
pub(crate) fn own() -> Principal {
    Principal::parse(OWN).expect("it has a colon")
}

impl Access {
    pub(crate) fn new(settings: Option<AuthorizerSettings>) -> Access {
        let mut settings = settings;
        if let Some(settings) = &mut settings {
            settings.super_users.insert(own());
        }
        let rules: Arc<BTreeSet<Acl>> = Arc::default();
        let authorizer = settings.clone().map(|settings| Authorizer::new(settings, []));
        let current = Current { rules, authorizer: Arc::new(authorizer.unwrap_or_default()) };
        Access { settings, current: RwLock::new(current), logged: Mutex::default() }
    }

    /// Whether there is an authorizer.
    pub(crate) fn is_on(&self) -> bool {
        self.settings.is_some()
    }

    /// The authorizer with the rules of `cluster`; none where everybody may do everything.
    fn of(&self, cluster: &Cluster) -> Option<Arc<Authorizer>> {
        let settings = self.settings.as_ref()?;
        // The same rules have the same place.
        let is_theirs = |current: &Current| Arc::ptr_eq(&current.rules, cluster.acls());
        {
            let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
            if is_theirs(&current) {
                return Some(Arc::clone(&current.authorizer));
            }
        }
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if !is_theirs(&current) {
            let rules = Arc::clone(cluster.acls());
            let authorizer = Arc::new(Authorizer::new(settings.clone(), rules.iter()));
            *current = Current { rules, authorizer };
        }
        Some(Arc::clone(&current.authorizer))
    }

    /// Whether a refusal is logged for everybody to see, and how many before it were not.
    fn is_logged(&self, now: Instant) -> Option<u32> {
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        if now.since(logged.since) >= SECOND {
            (logged.since, logged.lines) = (now, 0);
        }
        if logged.lines == LOGGED_PER_SECOND {
            logged.more = logged.more.saturating_add(1);
            return None;
        }
        logged.lines += 1;
        Some(std::mem::take(&mut logged.more))
    }
}

impl Call {
    /// What the client may do, by the rules of `cluster`.
    pub(crate) fn may<'a>(&'a self, cluster: &Cluster) -> May<'a> {
        May { call: self, authorizer: self.context.access.of(cluster) }
    }
}

impl May<'_> {
    /// Whether the client may do this to the resource of that kind and name. If not, that is counted and logged.
    pub(crate) fn check(&self, operation: Operation, resource: ResourceType, name: &str) -> bool {
        let allowed = self.sees(operation, resource, name);
        if !allowed {
            self.refuse(operation, resource, name);
        }
        allowed
    }

    /// The same as an error, which is that of the resource's kind.
    pub(crate) fn need(
        &self,
        operation: Operation,
        resource: ResourceType,
        name: &str,
    ) -> Result<(), ErrorCode> {
        if self.check(operation, resource, name) { Ok(()) } else { Err(refusal(resource)) }
    }

    /// The same of the cluster itself.
    pub(crate) fn need_cluster(&self, operation: Operation) -> Result<(), ErrorCode> {
        self.need(operation, ResourceType::Cluster, CLUSTER_NAME)
    }

    /// The same of a topic.
    pub(crate) fn need_topic(&self, operation: Operation, name: &str) -> Result<(), ErrorCode> {
        self.need(operation, ResourceType::Topic, name)
    }

    /// The same of a group.
    pub(crate) fn need_group(&self, operation: Operation, name: &str) -> Result<(), ErrorCode> {
        self.need(operation, ResourceType::Group, name)
    }

    /// Whether the client may do this, without a word if not: for what is left out of a list, or allowed otherwise.
    pub(crate) fn sees(&self, operation: Operation, resource: ResourceType, name: &str) -> bool {
        debug_assert!(
            needs::lists(self.call.api, operation, resource),
            "{} does not list {operation} of {resource}",
            self.call.api.name(),
        );
        let Some(authorizer) = &self.authorizer else { return true };
        authorizer.allows(self.asker(), operation, resource, name)
    }

    /// [`Self::sees`] of the cluster itself.
    pub(crate) fn sees_cluster(&self, operation: Operation) -> bool {
        self.sees(operation, ResourceType::Cluster, CLUSTER_NAME)
    }

    /// Whether there is any resource of that kind to which the client may do this.
    pub(crate) fn any(&self, operation: Operation, resource: ResourceType) -> bool {
        debug_assert!(needs::lists(self.call.api, operation, resource));
        let Some(authorizer) = &self.authorizer else { return true };
        authorizer.allows_any(self.asker(), operation, resource)
    }

    /// Everything that the client may do to a resource, as Kafka's bits.
    pub(crate) fn operations(&self, resource: ResourceType, name: &str) -> i32 {
        match &self.authorizer {
            Some(authorizer) => authorizer.allowed_operations(self.asker(), resource, name),
            None => {
                let bits = operations_of(resource).iter().map(|it| 1 << it.to_wire());
                bits.fold(0, |all, bit: i32| all | bit)
            }
        }
    }

    /// Counts and logs what was refused.
    pub(crate) fn refuse(&self, operation: Operation, resource: ResourceType, name: &str) {
        let Call { context, peer, api, .. } = self.call;
        context.metrics.access.refused(*api, operation, resource);
        let (principal, host, api) = (peer.principal(), peer.host.as_str(), api.name());
        match context.access.is_logged(context.clock.now()) {
            Some(not_logged) => {
                tracing::info!(%principal, host, api, %operation, %resource, name, not_logged, "not allowed");
            }
            None => {
                tracing::debug!(%principal, host, api, %operation, %resource, name, "not allowed")
            }
        }
    }

    fn asker(&self) -> Asker<'_> {
        Asker { principal: self.call.peer.principal(), host: &self.call.peer.host }
    }
}

/// What a client is told that may not do something to a resource of that kind.
fn refusal(resource: ResourceType) -> ErrorCode {
    match resource {
        ResourceType::Topic => ErrorCode::TopicAuthorizationFailed,
        ResourceType::Group => ErrorCode::GroupAuthorizationFailed,
        ResourceType::Cluster | ResourceType::User => ErrorCode::ClusterAuthorizationFailed,
        ResourceType::TransactionalId => ErrorCode::TransactionalIdAuthorizationFailed,
        ResourceType::DelegationToken => ErrorCode::DelegationTokenAuthorizationFailed,
    }
}

#[cfg(test)]
mod tests {
    use brooklet_meta::MetaRecord;
    use brooklet_types::{PatternType, Permission};
    use brooklet_wire::version::{Api, Audience};

    use super::*;

    /// Those who have not said who they are may ask these; a new request has rows of its own.
    const OPEN: [Api; 3] = [Api::ApiVersions, Api::SaslHandshake, Api::SaslAuthenticate];

    #[test]
    fn every_request_but_those_of_strangers_needs_something() {
        for api in Api::all() {
            let rows = needs(api);
            let is_open = OPEN.contains(&api) || api.audience() == Audience::Brokers;
            assert_eq!(rows.is_empty(), is_open, "{api:?}");
            for need in rows {
                assert!(operations_of(need.resource).contains(&need.operation), "{api:?} {need:?}");
                let twice = rows.iter().filter(|it| **it == *need).count();
                assert_eq!(twice, 1, "{api:?} {need:?}");
            }
        }
    }

    #[test]
    fn the_rules_are_those_of_the_cluster_that_is_answered_from() {
        let access = Access::new(Some(AuthorizerSettings::default()));
        let ada = Principal::user("ada");
        let asker = Asker { principal: &ada, host: "::1" };
        let may = |cluster: &Cluster| {
            let authorizer = access.of(cluster).unwrap();
            authorizer.allows(asker, Operation::Read, ResourceType::Topic, "t")
        };
        let before = Cluster::default();
        let mut after = before.clone();
        after.apply(&MetaRecord::AclAdded {
            acl: Acl {
                resource: ResourceType::Topic,
                pattern: PatternType::Literal,
                name: "t".to_owned(),
                principal: "User:ada".to_owned(),
                host: "*".to_owned(),
                operation: Operation::Read,
                permission: Permission::Allow,
            },
        });
        assert_eq!([may(&before), may(&after), may(&before)], [false, true, false]);
        let made = access.of(&after).unwrap();
        assert!(Arc::ptr_eq(&made, &access.of(&after).unwrap()), "made ready once");
        assert!(Access::new(None).of(&after).is_none());
        let own_asker = Asker { principal: &own(), host: "::1" };
        assert!(made.allows(own_asker, Operation::Alter, ResourceType::Cluster, CLUSTER_NAME));
    }

    #[test]
    fn a_crowd_of_refusals_is_ten_lines_a_second() {
        let access = Access::new(Some(AuthorizerSettings::default()));
        let at = |millis| access.is_logged(Instant::from_millis(millis));
        assert_eq!((0..100).filter(|millis| at(5000 + millis).is_some()).count(), 10);
        assert_eq!(at(6000), Some(90), "and says how many there were besides");
        assert_eq!(at(6001), Some(0));
    }
}
