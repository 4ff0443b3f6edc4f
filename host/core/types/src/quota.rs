//! The words of quotas: whose, of what, and how much.
//!
//! Source: KIP-13, KIP-124, KIP-546, KIP-599, KIP-612. What a quota does is decided in `auth`.

/// One part of whom a quota is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum QuotaName {
    /// Everybody of that kind who has no quota of their own. Kafka's null name.
    Default,
    /// That one.
    Exactly(String),
}

/// Whom a quota is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum QuotaEntity {
    /// A user, whatever the client calls itself.
    User(QuotaName),
    /// A client id, whoever uses it.
    ClientId(QuotaName),
    /// A user with a client id.
    UserClientId(QuotaName, QuotaName),
    /// An address.
    Ip(QuotaName),
}

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(i8)]
pub enum QuotaKey {
    /// Bytes per second that are produced.
    ProducerByteRate = 0,
    /// Bytes per second that are fetched.
    ConsumerByteRate = 1,
    /// Time that requests take, in percent of one processor.
    RequestPercentage = 2,
    /// Partitions created and deleted per second.
    ControllerMutationRate = 3,
    /// Connections accepted per second, from one address.
    ConnectionCreationRate = 4,
}

impl QuotaKey {
    /// All of them, by number.
    pub const ALL: [QuotaKey; 5] = [
        QuotaKey::ProducerByteRate,
        QuotaKey::ConsumerByteRate,
        QuotaKey::RequestPercentage,
        QuotaKey::ControllerMutationRate,
        QuotaKey::ConnectionCreationRate,
    ];

    /// Kafka's name for it.
    pub fn name(self) -> &'static str {
        match self {
            QuotaKey::ProducerByteRate => "producer_byte_rate",
            QuotaKey::ConsumerByteRate => "consumer_byte_rate",
            QuotaKey::RequestPercentage => "request_percentage",
            QuotaKey::ControllerMutationRate => "controller_mutation_rate",
            QuotaKey::ConnectionCreationRate => "connection_creation_rate",
        }
    }

    /// The one of that name.
    pub fn from_name(name: &str) -> Option<QuotaKey> {
        QuotaKey::ALL.into_iter().find(|key| key.name() == name)
    }
}
