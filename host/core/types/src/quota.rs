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

/// How much: above zero, and so a number that equals itself.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct QuotaLimit(f64);

impl Eq for QuotaLimit {}

impl QuotaLimit {
    /// The limit of that value; none unless it is above zero.
    pub fn new(value: f64) -> Option<QuotaLimit> {
        (value > 0.0).then_some(QuotaLimit(value))
    }

    /// Its value.
    pub fn get(self) -> f64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_above_zero_and_a_key_is_read_by_its_name() {
        for none in [0.0, -1.0, f64::NAN, f64::NEG_INFINITY] {
            assert_eq!(QuotaLimit::new(none), None, "{none}");
        }
        assert_eq!(QuotaLimit::new(0.5).map(QuotaLimit::get), Some(0.5));
        assert!(QuotaKey::ALL.iter().all(|key| QuotaKey::from_name(key.name()) == Some(*key)));
        assert_eq!(QuotaKey::from_name("bytes"), None);
    }
}
