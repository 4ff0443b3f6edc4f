//! What a run of this broker registers with its cluster.
//!
//! **What it decides.** What clients of other brokers are told of this one: what the configuration advertises, else the address of
//! the listener, and where that is all addresses of the machine, the host that other brokers use.

use std::collections::BTreeMap;

use brooklet_io::DataFolder;
use brooklet_io::tls::cluster::ClusterIdentity;
use brooklet_meta::broker::{DirectoryId, Endpoint, Incarnation};
use brooklet_meta::decide::broker::RegisterBroker;
use brooklet_meta::record::{FEATURE, LEVELS};

use super::LISTENER;
use crate::config::{Config, Transport};
use crate::server::doors::Door;
use crate::start::Running;

/// Kafka's numbers of the protocols.
const PLAINTEXT: i16 = 0;
const SSL: i16 = 1;
const SASL_PLAINTEXT: i16 = 2;
const SASL_SSL: i16 = 3;

/// What this run registers.
pub(crate) fn registers(
    config: &Config,
    identity: &ClusterIdentity,
    doors: &[Door],
    running: &Running<DataFolder>,
) -> RegisterBroker {
    let mut endpoints: Vec<Endpoint> = Vec::new();
    for door in doors {
        let endpoint = endpoint(door, &identity.addresses.advertised.0);
        // A client finds another broker by the name of the listener that it came in by.
        if endpoints.iter().all(|known| known.name != endpoint.name) {
            endpoints.push(endpoint);
        }
    }
    let (host, port) = identity.addresses.advertised.clone();
    endpoints.push(Endpoint { name: LISTENER.to_owned(), host, port, protocol: SSL });
    RegisterBroker {
        broker: identity.node,
        incarnation: Incarnation(brooklet_io::entropy::bytes()),
        directory: DirectoryId(running.directory.0),
        endpoints,
        rack: config.rack.clone(),
        features: BTreeMap::from([(FEATURE.to_owned(), LEVELS)]),
        clean: running.clean,
    }
}

fn endpoint(door: &Door, host: &str) -> Endpoint {
    let address = door.serving.address;
    let (host, port) = match &door.terms.advertised {
        Some(told) => (told.host.clone(), told.port),
        None if address.ip().is_unspecified() => (host.to_owned(), address.port()),
        None => (address.ip().to_canonical().to_string(), address.port()),
    };
    let protocol = match (door.serving.transport, door.serving.sasl) {
        (Transport::Tcp, false) => PLAINTEXT,
        (Transport::Tcp, true) => SASL_PLAINTEXT,
        (Transport::Tls | Transport::Quic, false) => SSL,
        (Transport::Tls | Transport::Quic, true) => SASL_SSL,
    };
    Endpoint { name: door.terms.listener.to_owned(), host, port, protocol }
}
