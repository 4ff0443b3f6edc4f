//! A broker comes up.

use brooklet_types::BrokerId;

use super::Decision;
use crate::cluster::Cluster;
use crate::record::MetaRecord;

/// Why a broker may not start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BrokerStartError {
    /// The data folder is another broker's. Its partitions would have no leader.
    #[error("the data belongs to broker {owner}, and this is configured as broker {claimed}")]
    OtherBroker { owner: BrokerId, claimed: BrokerId },
}

/// Decides on the start of `broker`, whose last stop was `clean` or not. One node only for now: a
/// second number means that the configuration and the data folder do not belong together.
pub fn broker_started(
    cluster: &Cluster,
    broker: BrokerId,
    clean: bool,
) -> Result<Decision<()>, BrokerStartError> {
    if let Some(owner) = cluster.brokers().map(|known| known.id).find(|known| *known != broker) {
        return Err(BrokerStartError::OtherBroker { owner, claimed: broker });
    }
    let records = vec![MetaRecord::BrokerStarted { broker, clean }];
    Ok(Decision { records, reply: () })
}
