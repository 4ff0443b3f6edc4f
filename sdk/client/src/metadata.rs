//! The cluster as brokers describe it: who they are, and who leads which partition.
//!
//! Plain values out of a Metadata answer. What is negative or empty on the wire is absent here.

use std::collections::BTreeMap;
use std::sync::Arc;

use brooklet_types::{BrokerId, TopicId};
use brooklet_wire::message::{MetadataResponse, metadata_response as wire};

use crate::config::{Address, Transport};
use crate::error::Code;

/// A broker and the address it advertises.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerAddress {
    /// Its `node.id`.
    pub id: BrokerId,
    /// Where clients should dial it.
    pub address: Address,
    /// The rack it says it stands in.
    pub rack: Option<String>,
}

/// One topic.
#[derive(Clone, Debug)]
pub struct TopicMetadata {
    /// Its name.
    pub name: String,
    /// Which incarnation of the name; none from brokers before topic ids.
    pub id: Option<TopicId>,
    /// Whether it is Kafka's own.
    pub internal: bool,
    /// Why there is no more to say; 0 if all is well.
    pub code: Code,
    /// By partition number, without gaps.
    pub partitions: Vec<PartitionMetadata>,
}

/// One partition.
#[derive(Clone, Debug)]
pub struct PartitionMetadata {
    /// Its number.
    pub index: u32,
    /// Who takes its records, if anybody does now.
    pub leader: Option<BrokerId>,
    /// The leader's term; -1 from brokers that do not say.
    pub leader_epoch: i32,
    /// Who holds a copy.
    pub replicas: Vec<BrokerId>,
    /// Who holds a complete one.
    pub in_sync: Vec<BrokerId>,
    /// Which copies are out of reach.
    pub offline: Vec<BrokerId>,
    /// Why there is no leader; 0 if all is well.
    pub code: Code,
}

/// One answer.
#[derive(Clone, Debug, Default)]
pub struct Metadata {
    /// The cluster's id, from brokers that say.
    pub cluster_id: Option<String>,
    /// Who takes administrative requests.
    pub controller: Option<BrokerId>,
    /// Every broker.
    pub brokers: BTreeMap<BrokerId, BrokerAddress>,
    /// The topics that were asked for.
    pub topics: BTreeMap<String, Arc<TopicMetadata>>,
}

impl Metadata {
    /// Brokers advertise what is reached as they were: `transport` is what the answer came over.
    pub(crate) fn from_wire(response: &MetadataResponse, transport: Transport) -> Metadata {
        let brokers = response.brokers.iter().filter_map(|wire| broker(wire, transport));
        let brokers = brokers.map(|broker| (broker.id, broker));
        let topics = response.topics.iter().filter_map(|wire| {
            let topic = topic(wire)?;
            Some((topic.name.clone(), Arc::new(topic)))
        });
        Metadata {
            cluster_id: response.cluster_id.as_ref().map(ToString::to_string),
            controller: broker_id(response.controller_id),
            brokers: brokers.collect(),
            topics: topics.collect(),
        }
    }
}

fn broker(wire: &wire::MetadataResponseBroker, transport: Transport) -> Option<BrokerAddress> {
    let port = u16::try_from(wire.port).ok()?;
    Some(BrokerAddress {
        id: broker_id(wire.node_id)?,
        address: Address::new(transport, wire.host.to_string(), port),
        rack: wire.rack.as_ref().map(ToString::to_string),
    })
}

fn topic(wire: &wire::MetadataResponseTopic) -> Option<TopicMetadata> {
    let mut partitions: Vec<_> = wire.partitions.iter().filter_map(partition).collect();
    partitions.sort_by_key(|partition| partition.index);
    // Positions in the list are taken for numbers from here on. A gap ends what we can use.
    let dense = partitions.iter().zip(0..).take_while(|(partition, at)| partition.index == *at);
    let dense = dense.count();
    partitions.truncate(dense);
    Some(TopicMetadata {
        name: wire.name.as_ref()?.to_string(),
        id: TopicId::from_wire(*wire.topic_id.as_bytes()),
        internal: wire.is_internal,
        code: Code(wire.error_code),
        partitions,
    })
}

fn partition(wire: &wire::MetadataResponsePartition) -> Option<PartitionMetadata> {
    let brokers = |ids: &[i32]| ids.iter().copied().filter_map(broker_id).collect();
    Some(PartitionMetadata {
        index: u32::try_from(wire.partition_index).ok()?,
        leader: broker_id(wire.leader_id),
        leader_epoch: wire.leader_epoch,
        replicas: brokers(&wire.replica_nodes),
        in_sync: brokers(&wire.isr_nodes),
        offline: brokers(&wire.offline_replicas),
        code: Code(wire.error_code),
    })
}

fn broker_id(raw: i32) -> Option<BrokerId> {
    (raw >= 0).then_some(BrokerId(raw))
}
