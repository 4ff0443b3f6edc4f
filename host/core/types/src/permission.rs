//! The words of access control: what is protected, what may be done to it, and rules that say who may.
//!
//! Source: KIP-11 and KIP-290; the numbers and names are those of Kafka's `ResourceType`, `PatternType`,
//! `AclOperation` and `AclPermissionType`. What a rule comes to is decided in `auth`.

/// What is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(i8)]
pub enum ResourceType {
    /// A topic, by name.
    Topic = 2,
    /// A group of consumers, by id.
    Group = 3,
    /// The cluster itself; its only name is [`CLUSTER_NAME`].
    Cluster = 4,
    /// A transactional id.
    TransactionalId = 5,
    /// A delegation token.
    DelegationToken = 6,
    /// A user, for those who make tokens for others.
    User = 7,
}

/// The only name of the resource [`ResourceType::Cluster`].
pub const CLUSTER_NAME: &str = "kafka-cluster";

/// Stands for every name, every host, and, as [`ANYBODY`], every principal.
pub const WILDCARD: &str = "*";

/// The principal that stands for all of them.
pub const ANYBODY: &str = "User:*";

/// How a rule names resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(i8)]
pub enum PatternType {
    /// The resource of exactly that name; all of them where the name is [`WILDCARD`].
    Literal = 3,
    /// Every resource whose name begins so.
    Prefixed = 4,
}

/// What may be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(i8)]
pub enum Operation {
    /// In a rule: everything.
    All = 2,
    /// Fetch, join, commit.
    Read = 3,
    /// Produce.
    Write = 4,
    /// Bring into being.
    Create = 5,
    /// Remove, with its records.
    Delete = 6,
    /// Change.
    Alter = 7,
    /// See that it is there.
    Describe = 8,
    /// What brokers do to each other.
    ClusterAction = 9,
    /// Read settings.
    DescribeConfigs = 10,
    /// Change settings.
    AlterConfigs = 11,
    /// Produce idempotently; any right to write implies it.
    IdempotentWrite = 12,
    /// Make delegation tokens for a user.
    CreateTokens = 13,
    /// See a user's delegation tokens.
    DescribeTokens = 14,
    /// Take part in transactions that somebody else coordinates (KIP-939).
    TwoPhaseCommit = 15,
}

/// What a rule says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(i8)]
pub enum Permission {
    /// No, whatever other rules say.
    Deny = 2,
    /// Yes, unless another rule says no.
    Allow = 3,
}

/// One rule: this principal, coming from this host, may or may not do this to these resources.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Acl {
    /// The kind of resource.
    pub resource: ResourceType,
    /// How `name` is meant.
    pub pattern: PatternType,
    /// The resources' name, or what it begins with.
    pub name: String,
    /// `User:name`, or [`ANYBODY`].
    pub principal: String,
    /// An address as text, or [`WILDCARD`].
    pub host: String,
    /// What is done.
    pub operation: Operation,
    /// Whether it may be.
    pub permission: Permission,
}

/// The variants of an enum with their wire numbers and Kafka's names.
macro_rules! numbered {
    ($type:ident, $(($variant:ident, $name:literal)),+ $(,)?) => {
        impl $type {
            /// All of them, by number.
            pub const ALL: &[$type] = &[$($type::$variant),+];

            /// The one of that wire number; none for those that only filters have, and unknown ones.
            pub fn from_wire(raw: i8) -> Option<$type> {
                $type::ALL.iter().copied().find(|known| known.to_wire() == raw)
            }

            /// Its wire number.
            pub fn to_wire(self) -> i8 {
                self as i8
            }

            /// Kafka's name for it.
            pub fn name(self) -> &'static str {
                match self {
                    $($type::$variant => $name),+
                }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str(self.name())
            }
        }
    };
}

numbered!(
    ResourceType,
    (Topic, "TOPIC"),
    (Group, "GROUP"),
    (Cluster, "CLUSTER"),
    (TransactionalId, "TRANSACTIONAL_ID"),
    (DelegationToken, "DELEGATION_TOKEN"),
    (User, "USER"),
);
numbered!(PatternType, (Literal, "LITERAL"), (Prefixed, "PREFIXED"));
numbered!(
    Operation,
    (All, "ALL"),
    (Read, "READ"),
    (Write, "WRITE"),
    (Create, "CREATE"),
    (Delete, "DELETE"),
    (Alter, "ALTER"),
    (Describe, "DESCRIBE"),
    (ClusterAction, "CLUSTER_ACTION"),
    (DescribeConfigs, "DESCRIBE_CONFIGS"),
    (AlterConfigs, "ALTER_CONFIGS"),
    (IdempotentWrite, "IDEMPOTENT_WRITE"),
    (CreateTokens, "CREATE_TOKENS"),
    (DescribeTokens, "DESCRIBE_TOKENS"),
    (TwoPhaseCommit, "TWO_PHASE_COMMIT"),
);
numbered!(Permission, (Deny, "DENY"), (Allow, "ALLOW"));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_read_back_and_those_of_filters_are_not_rules() {
        assert!(
            ResourceType::ALL.iter().all(|it| ResourceType::from_wire(it.to_wire()) == Some(*it))
        );
        assert!(
            PatternType::ALL.iter().all(|it| PatternType::from_wire(it.to_wire()) == Some(*it))
        );
        assert!(Operation::ALL.iter().all(|it| Operation::from_wire(it.to_wire()) == Some(*it)));
        assert!(Permission::ALL.iter().all(|it| Permission::from_wire(it.to_wire()) == Some(*it)));
        for filter in [-1, 0, 1] {
            assert_eq!(ResourceType::from_wire(filter), None);
            assert_eq!(Operation::from_wire(filter), None);
            assert_eq!(PatternType::from_wire(filter), None);
            assert_eq!(Permission::from_wire(filter), None);
        }
        assert_eq!(PatternType::from_wire(2), None, "MATCH is a filter's");
        assert_eq!(Operation::from_wire(16), None);
    }
}
