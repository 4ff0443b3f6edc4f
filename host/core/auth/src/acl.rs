//! Whether somebody may do something, and which rule says so.
//!
//! **Decides** as Kafka's `StandardAuthorizer` does: who is a super user may do everything; a rule that
//! denies outweighs all that allow; without any rule about a resource the default holds, with some of
//! which none applies the answer is no. READ, WRITE, DELETE and ALTER that are allowed allow DESCRIBE too, and
//! ALTER_CONFIGS allows DESCRIBE_CONFIGS; what is denied implies nothing.
//!
//! **Never** learns of requests: which resources and operations a request needs is its handler's knowledge.
//!
//! A question is answered without looking at rules that have nothing to do with it: names are looked up, and
//! prefixes by the lengths that occur among them, so a thousand rules cost what ten do.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use brooklet_types::permission::{ANYBODY, WILDCARD};
use brooklet_types::{Acl, Operation, PatternType, Permission, ResourceType};

use crate::principal::Principal;

/// What holds besides the rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuthorizerSettings {
    /// Who may do everything. Kafka's `super.users`.
    pub super_users: BTreeSet<Principal>,
    /// Whether a resource that no rule is about is open to everybody. Kafka's
    /// `allow.everyone.if.no.acl.found`.
    pub allow_without_rules: bool,
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    /// Their identity.
    pub principal: &'a Principal,
    /// The address they come from, as text: `10.0.0.7`, `::1`.
    pub host: &'a str,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it may be done.
    pub allowed: bool,
    /// What says so.
    pub reason: Reason,
}

/// What an answer rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Super users may do everything.
    SuperUser,
    /// This rule.
    Rule(Box<Acl>),
    /// There are rules about the resource, and none lets this be done.
    NoRuleApplies,
    /// There is no rule about the resource: what the settings say holds.
    NoRules,
}

/// Rules, ready to be asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Authorizer {
    settings: AuthorizerSettings,
    kinds: BTreeMap<ResourceType, Patterns>,
}

/// The rules about one kind of resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Patterns {
    literal: BTreeMap<String, Entries>,
    prefixed: BTreeMap<String, Entries>,
    /// The lengths in bytes that the prefixes have.
    prefix_bytes: BTreeSet<usize>,
}

/// What the rules of one pattern say, by principal.
type Entries = BTreeMap<String, Vec<Entry>>;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    host: String,
    operation: Operation,
    permission: Permission,
}

/// A pattern and its rules.
#[derive(Clone, Copy)]
struct Found<'a> {
    pattern: PatternType,
    name: &'a str,
    entries: &'a Entries,
}

/// What an answer rests on, before it is written out for somebody to read.
enum Ruling<'a> {
    SuperUser,
    Rule(Found<'a>, (&'a str, &'a Entry)),
    NoRuleApplies,
    NoRules,
}

impl Authorizer {
    /// An authorizer with these rules.
    pub fn new<'a>(
        settings: AuthorizerSettings,
        rules: impl IntoIterator<Item = &'a Acl>,
    ) -> Authorizer {
        let mut kinds: BTreeMap<ResourceType, Patterns> = BTreeMap::new();
        for rule in rules {
            let patterns = kinds.entry(rule.resource).or_default();
            let names = match rule.pattern {
                PatternType::Literal => &mut patterns.literal,
                PatternType::Prefixed => {
                    patterns.prefix_bytes.insert(rule.name.len());
                    &mut patterns.prefixed
                }
            };
            let entries = names.entry(rule.name.clone()).or_default();
            entries.entry(rule.principal.clone()).or_default().push(Entry {
                host: rule.host.clone(),
                operation: rule.operation,
                permission: rule.permission,
            });
        }
        Authorizer { settings, kinds }
    }

    /// Whether `asker` may do `operation` to the resource of that kind and name.
    pub fn authorize(
        &self,
        asker: Asker<'_>,
        operation: Operation,
        resource: ResourceType,
        name: &str,
    ) -> Verdict {
        let ruling = self.ruling(asker, operation, resource, name);
        let allowed = self.is_allowing(&ruling);
        let reason = match ruling {
            Ruling::SuperUser => Reason::SuperUser,
            Ruling::Rule(found, (principal, entry)) => {
                Reason::Rule(Box::new(found.rule(resource, principal, entry)))
            }
            Ruling::NoRuleApplies => Reason::NoRuleApplies,
            Ruling::NoRules => Reason::NoRules,
        };
        Verdict { allowed, reason }
    }

    /// Whether [`Self::authorize`] allows it. This is asked for each topic of each request, and allocates nothing.
    pub fn allows(
        &self,
        asker: Asker<'_>,
        operation: Operation,
        resource: ResourceType,
        name: &str,
    ) -> bool {
        self.is_allowing(&self.ruling(asker, operation, resource, name))
    }

    fn is_allowing(&self, ruling: &Ruling<'_>) -> bool {
        match ruling {
            Ruling::SuperUser => true,
            Ruling::Rule(_, (_, entry)) => entry.permission == Permission::Allow,
            Ruling::NoRuleApplies => false,
            Ruling::NoRules => self.settings.allow_without_rules,
        }
    }

    fn ruling<'a>(
        &'a self,
        asker: Asker<'_>,
        operation: Operation,
        resource: ResourceType,
        name: &str,
    ) -> Ruling<'a> {
        if self.settings.super_users.contains(asker.principal) {
            return Ruling::SuperUser;
        }
        let mut allowing = None;
        let mut any_rules = false;
        let patterns = self.kinds.get(&resource);
        let denying = patterns.map(|patterns| {
            patterns.about(name, |found| {
                any_rules = true;
                match found.verdict(asker, operation) {
                    Some((Permission::Deny, rule)) => ControlFlow::Break((found, rule)),
                    Some((Permission::Allow, rule)) => {
                        allowing.get_or_insert((found, rule));
                        ControlFlow::Continue(())
                    }
                    None => ControlFlow::Continue(()),
                }
            })
        });
        let denying = denying.and_then(ControlFlow::break_value);
        match denying.or(allowing) {
            Some((found, rule)) => Ruling::Rule(found, rule),
            None if any_rules => Ruling::NoRuleApplies,
            None => Ruling::NoRules,
        }
    }

    /// Whether there is any resource of that kind, existing or not, to which `asker` may do `operation`.
    /// Kafka's `Authorizer.authorizeByResourceType`, with its reading of rules: nothing is implied here.
    pub fn allows_any(
        &self,
        asker: Asker<'_>,
        operation: Operation,
        resource: ResourceType,
    ) -> bool {
        // As Kafka does: super users, and everybody where what has no rules is open.
        if self.allows(asker, operation, resource, "hardcode") {
            return true;
        }
        let Some(patterns) = self.kinds.get(&resource) else { return false };
        let says = |entries: &Entries, permission: Permission| {
            let mut entries = about_principal(entries, asker.principal);
            entries.any(|(_, entry)| {
                entry.permission == permission
                    && entry.host_is(asker.host)
                    && (entry.operation == operation || entry.operation == Operation::All)
            })
        };
        let denied = |names: &BTreeMap<String, Entries>, name: &str| match names.get(name) {
            Some(entries) => says(entries, Permission::Deny),
            None => false,
        };
        if denied(&patterns.literal, WILDCARD) {
            return false;
        }
        if patterns.literal.get(WILDCARD).is_some_and(|it| says(it, Permission::Allow)) {
            return true;
        }
        // What a denied prefix covers is out of reach, be it a name or a longer prefix.
        let covered =
            |name: &str| patterns.prefixes_of(name).any(|it| says(it.entries, Permission::Deny));
        let mut names = patterns.literal.iter().filter(|(name, entries)| {
            says(entries, Permission::Allow) && !denied(&patterns.literal, name)
        });
        let mut prefixes =
            patterns.prefixed.iter().filter(|(_, entries)| says(entries, Permission::Allow));
        names.any(|(name, _)| !covered(name)) || prefixes.any(|(name, _)| !covered(name))
    }

    /// Every operation that `asker` may do to a resource, as the bits of Kafka's
    /// `authorized_operations`: bit *n* stands for the operation of wire number *n*.
    pub fn allowed_operations(&self, asker: Asker<'_>, resource: ResourceType, name: &str) -> i32 {
        let operations = operations_of(resource).iter();
        let allowed = operations.filter(|it| self.allows(asker, **it, resource, name));
        allowed.fold(0, |bits, operation| bits | 1i32.unbounded_shl(bit(*operation)))
    }
}

fn bit(operation: Operation) -> u32 {
    u32::from(operation.to_wire().unsigned_abs())
}

/// What can be done to resources of a kind. Kafka's `AclEntry.supportedOperations`.
pub fn operations_of(resource: ResourceType) -> &'static [Operation] {
    match resource {
        ResourceType::Topic => &[
            Operation::Read,
            Operation::Write,
            Operation::Create,
            Operation::Describe,
            Operation::Delete,
            Operation::Alter,
            Operation::DescribeConfigs,
            Operation::AlterConfigs,
        ],
        ResourceType::Group => &[
            Operation::Read,
            Operation::Describe,
            Operation::Delete,
            Operation::DescribeConfigs,
            Operation::AlterConfigs,
        ],
        ResourceType::Cluster => &[
            Operation::Create,
            Operation::ClusterAction,
            Operation::DescribeConfigs,
            Operation::AlterConfigs,
            Operation::IdempotentWrite,
            Operation::Alter,
            Operation::Describe,
        ],
        ResourceType::TransactionalId => {
            &[Operation::Describe, Operation::Write, Operation::TwoPhaseCommit]
        }
        ResourceType::DelegationToken => &[Operation::Describe],
        ResourceType::User => &[Operation::CreateTokens, Operation::DescribeTokens],
    }
}

impl Patterns {
    /// Visits every pattern that `name` falls under: the name itself, then the wildcard, then prefixes,
    /// short ones first.
    fn about<'a, B>(
        &'a self,
        name: &str,
        mut visit: impl FnMut(Found<'a>) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let literal = |name: &str| {
            let found = self.literal.get_key_value(name);
            found.map(|(name, entries)| Found { pattern: PatternType::Literal, name, entries })
        };
        let wildcard = if name == WILDCARD { None } else { literal(WILDCARD) };
        literal(name).into_iter().chain(wildcard).try_for_each(&mut visit)?;
        self.prefixes_of(name).try_for_each(visit)
    }

    fn prefixes_of<'a>(&'a self, name: &str) -> impl Iterator<Item = Found<'a>> {
        let lengths = self.prefix_bytes.range(..=name.len());
        // A length that falls into a character has no prefix of `name`.
        lengths.filter_map(|length| {
            let (name, entries) = self.prefixed.get_key_value(name.get(..*length)?)?;
            Some(Found { pattern: PatternType::Prefixed, name, entries })
        })
    }
}

impl<'a> Found<'a> {
    /// What the rules of this pattern say: the first that denies, else the first that allows.
    fn verdict(
        &self,
        asker: Asker<'_>,
        operation: Operation,
    ) -> Option<(Permission, (&'a str, &'a Entry))> {
        let mut allowing = None;
        for (principal, entry) in about_principal(self.entries, asker.principal) {
            if !entry.host_is(asker.host) || !entry.covers(operation) {
                continue;
            }
            match entry.permission {
                Permission::Deny => return Some((Permission::Deny, (principal, entry))),
                Permission::Allow => {
                    allowing.get_or_insert((principal, entry));
                }
            }
        }
        allowing.map(|rule| (Permission::Allow, rule))
    }

    fn rule(&self, resource: ResourceType, principal: &str, entry: &Entry) -> Acl {
        Acl {
            resource,
            pattern: self.pattern,
            name: self.name.to_owned(),
            principal: principal.to_owned(),
            host: entry.host.clone(),
            operation: entry.operation,
            permission: entry.permission,
        }
    }
}

/// The entries that are about `principal`: its own, and those about everybody.
fn about_principal<'a>(
    entries: &'a Entries,
    principal: &Principal,
) -> impl Iterator<Item = (&'a str, &'a Entry)> {
    let everybodys =
        if principal.as_str() == ANYBODY { None } else { entries.get_key_value(ANYBODY) };
    let found = entries.get_key_value(principal.as_str()).into_iter().chain(everybodys);
    found.flat_map(|(principal, entries)| entries.iter().map(move |it| (principal.as_str(), it)))
}

impl Entry {
    fn host_is(&self, host: &str) -> bool {
        self.host == WILDCARD || self.host == host
    }

    fn covers(&self, operation: Operation) -> bool {
        if self.operation == Operation::All || self.operation == operation {
            return true;
        }
        self.permission == Permission::Allow && implies(self.operation, operation)
    }
}

/// Whether who may do `held` may do `wanted`, too.
fn implies(held: Operation, wanted: Operation) -> bool {
    use Operation::{Alter, AlterConfigs, Delete, Describe, DescribeConfigs, Read, Write};
    matches!(
        (wanted, held),
        (Describe, Read | Write | Delete | Alter) | (DescribeConfigs, AlterConfigs)
    )
}
