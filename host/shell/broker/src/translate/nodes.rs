//! Which brokers a client is told of, and where it reaches them.
//!
//! **Where it sits.** Behind every answer that names a broker: Metadata, DescribeCluster, DescribeTopicPartitions,
//! FindCoordinator, and the hints in the errors of Produce and Fetch.
//!
//! **What it decides.** A broker is reached where it registered a listener of the name that the client came in by, if it
//! is not fenced; one that is about to stop still is. This broker is reached where the client has reached it. A
//! broker that is alone has no registration, and names itself.
//!
//! **Never** names a broker as somebody's leader that it does not also tell the address of.
//!
//! Source: Kafka's `KRaftMetadataCache`.

use std::collections::BTreeMap;

use brooklet_meta::broker::Registration;
use brooklet_meta::{Cluster, Partition};
use brooklet_types::{BrokerId, ErrorCode};
use brooklet_wire::message::StrBytes;

/// Where this broker stands, if it said, in its configuration.
const RACK: &str = "broker.rack";

/// A broker, as a client is told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its number.
    pub id: BrokerId,
    /// Where it is.
    pub host: StrBytes,
    /// At which port.
    pub port: i32,
    /// Where it stands, if it said.
    pub rack: Option<StrBytes>,
}

/// How a client has come in.
#[derive(Clone, Debug)]
pub struct Entrance<'a> {
    /// The broker it has reached.
    pub this: BrokerId,
    /// The host that it knows that broker by.
    pub host: StrBytes,
    /// The port.
    pub port: i32,
    /// The name of the listener.
    pub listener: &'a str,
}

/// The brokers of one image of the cluster, for one client.
#[derive(Debug)]
pub struct Nodes<'a> {
    cluster: &'a Cluster,
    entrance: Entrance<'a>,
    reached: BTreeMap<BrokerId, Node>,
}

impl<'a> Nodes<'a> {
    /// The brokers that a client is told of which came in there.
    pub fn new(cluster: &'a Cluster, entrance: Entrance<'a>) -> Nodes<'a> {
        let mut nodes = Nodes { cluster, entrance, reached: BTreeMap::new() };
        let reached: Vec<Node> = match cluster.level() {
            0 => vec![nodes.alone()],
            _ => nodes.registered(false).collect(),
        };
        nodes.reached = reached.into_iter().map(|node| (node.id, node)).collect();
        nodes
    }

    /// All that are reached, by their numbers.
    pub fn reached(&self) -> impl Iterator<Item = &Node> {
        self.reached.values()
    }

    /// The one of that number, if it is reached.
    pub fn get(&self, id: BrokerId) -> Option<&Node> {
        self.reached.get(&id)
    }

    /// Those that would be reached if they were not fenced.
    pub fn fenced(&self) -> Vec<Node> {
        self.registered(true).collect()
    }

    /// Who leads a partition; or, where nobody does whom the client reaches, what it is told (Kafka's codes).
    pub fn leader(&self, partition: &Partition) -> Result<BrokerId, ErrorCode> {
        let leader = partition.leader.ok_or(ErrorCode::LeaderNotAvailable)?;
        if self.reached.contains_key(&leader) {
            return Ok(leader);
        }
        match self.cluster.registration(leader) {
            Some(_) => Err(ErrorCode::ListenerNotFound),
            None => Err(ErrorCode::LeaderNotAvailable),
        }
    }

    /// Those of a partition's replicas that are not reached.
    pub fn offline(&self, partition: &Partition) -> Vec<BrokerId> {
        let replicas = partition.replicas.iter().copied();
        replicas.filter(|replica| !self.reached.contains_key(replica)).collect()
    }

    fn alone(&self) -> Node {
        let rack = self.cluster.configured().get(RACK);
        self.this(rack.map(String::as_str))
    }

    fn this(&self, rack: Option<&str>) -> Node {
        let Entrance { this, host, port, .. } = &self.entrance;
        Node { id: *this, host: host.clone(), port: *port, rack: rack.map(StrBytes::from) }
    }

    fn registered(&self, fenced: bool) -> impl Iterator<Item = Node> {
        self.cluster.brokers().filter_map(move |broker| {
            let registration = broker.registration.as_ref();
            self.node(broker.id, registration.filter(|known| known.fenced == fenced)?)
        })
    }

    fn node(&self, id: BrokerId, registration: &Registration) -> Option<Node> {
        let rack = registration.rack.as_deref();
        if id == self.entrance.this {
            return Some(self.this(rack));
        }
        let endpoint = registration.endpoint(self.entrance.listener)?;
        let (host, port) = (StrBytes::from(endpoint.host.as_str()), i32::from(endpoint.port));
        Some(Node { id, host, port, rack: rack.map(StrBytes::from) })
    }
}

#[cfg(test)]
pub(crate) mod tests;
