//! What a broker is to the cluster: who it is this time, where it is reached, what it understands.

use std::collections::BTreeMap;
use std::fmt;

/// Which registration of a broker is meant; every start has a higher one. It is the version of the cluster that
/// the registration made, so a broker whose image has this version knows of its own registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BrokerEpoch(pub u64);

/// One run of a broker's process, drawn by chance when it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub [u8; 16]);

/// One data folder, drawn by chance when it was made. A wiped disk comes back with another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DirectoryId(pub [u8; 16]);

/// One address of a broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The listener's name.
    pub name: String,
    /// Where it is.
    pub host: String,
    /// At which port.
    pub port: u16,
    /// Kafka's number of the security protocol.
    pub protocol: i16,
}

/// From which level of a feature to which a broker understands it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeatureRange {
    /// The lowest.
    pub min: u16,
    /// The highest.
    pub max: u16,
}

/// A broker as it has registered, and what has become of it since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// Which registration this is.
    pub epoch: BrokerEpoch,
    /// Which run of the process it is for.
    pub incarnation: Incarnation,
    /// The folder it runs on.
    pub directory: DirectoryId,
    /// Where it is reached.
    pub endpoints: Vec<Endpoint>,
    /// Where it stands, if it said.
    pub rack: Option<String>,
    /// What it understands.
    pub features: BTreeMap<String, FeatureRange>,
    /// Whether it may lead nothing, because it has not caught up or has not been heard of.
    pub fenced: bool,
    /// Whether it has asked to stop, and gets nothing new to lead.
    pub shutting_down: bool,
}

impl Registration {
    /// Whether it may lead, and be counted as in sync.
    pub fn is_active(&self) -> bool {
        !self.fenced && !self.shutting_down
    }

    /// Where its listener of that name is.
    pub fn endpoint(&self, listener: &str) -> Option<&Endpoint> {
        self.endpoints.iter().find(|endpoint| endpoint.name == listener)
    }
}

impl FeatureRange {
    /// Whether that level is understood.
    pub fn contains(self, level: u16) -> bool {
        (self.min..=self.max).contains(&level)
    }
}

impl fmt::Display for BrokerEpoch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// Kafka's spelling: one number where both ends are the same.
impl fmt::Display for FeatureRange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let FeatureRange { min, max } = self;
        if min == max { write!(formatter, "{min}") } else { write!(formatter, "{min}-{max}") }
    }
}
