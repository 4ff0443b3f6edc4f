//! Answers with addresses in them: each broker's address becomes that of its door.
//!
//! **Decides** which fields of an answer are addresses. **Never** touches another field: an answer in which nothing is to be
//! changed passes in the bytes in which it came.

use std::net::SocketAddr;

use brooklet_wire::WireError;
use brooklet_wire::message::{
    Bytes, DescribeClusterResponse, DescribeQuorumResponse, FindCoordinatorResponse, KafkaResponse,
    MetadataResponse, ProduceResponse, StrBytes, decode_response, encode_response,
};
use brooklet_wire::version::Api;

use crate::requests::Expected;

/// The longest answer that is gathered to be rewritten: metadata of two hundred thousand partitions.
pub(crate) const REWRITE_BYTES_MAX: usize = 16 << 20;
/// The first version of Produce whose answers may have addresses (KIP-951).
const PRODUCE_ADDRESSES_FROM: i16 = 10;
/// The first version of DescribeQuorum whose answers may have addresses (KIP-853).
const QUORUM_ADDRESSES_FROM: i16 = 2;
/// What DescribeCluster calls an answer about controllers (KIP-919).
const CONTROLLERS: i8 = 2;

/// Who has an address. A process may be both, under one number, with an address for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Node {
    /// A broker.
    Broker(i32),
    /// A controller.
    Controller(i32),
}

/// Says where the door to a node at this host and port is.
pub(crate) type Local<'a> = dyn FnMut(Node, &str, u16) -> Result<SocketAddr, DoorError> + Send + 'a;

/// Why a node has no door.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DoorError {
    /// A cluster of more brokers than a tunnel is made for.
    #[error("there are {limit} doors already")]
    TooMany { limit: usize },
    /// The system gives no port.
    #[error("listen for a broker: {0}")]
    Listen(#[from] std::io::Error),
}

/// Why an answer cannot be rewritten.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RewriteError {
    /// It is not what its version says, or cannot be written any more.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// An address in it has nothing to become.
    #[error(transparent)]
    Door(#[from] DoorError),
    /// The tagged fields behind its addresses leave no room to fill up.
    #[error("{api} {version}: no room among the tagged fields")]
    NoRoom { api: &'static str, version: i16 },
}

/// Whether an answer is to be gathered and rewritten. (Fetch, whose answers are large, is walked instead.)
pub(crate) fn has_addresses(expected: Expected) -> bool {
    match Api::from_wire(expected.api) {
        Some(Api::Metadata | Api::FindCoordinator | Api::DescribeCluster) => true,
        Some(Api::Produce) => expected.version >= PRODUCE_ADDRESSES_FROM,
        Some(Api::DescribeQuorum) => expected.version >= QUORUM_ADDRESSES_FROM,
        Some(_) | None => false,
    }
}

/// Rewrites an answer, without its length; what comes back has one. None where nothing is to be changed.
pub(crate) fn rewrite(
    frame: &Bytes,
    expected: Expected,
    local: &mut Local<'_>,
) -> Result<Option<Bytes>, RewriteError> {
    let Expected { api, version, .. } = expected;
    match Api::from_wire(api) {
        Some(Api::Metadata) => message(frame, version, |it: &mut MetadataResponse| {
            let brokers = it.brokers.iter_mut();
            any(brokers.map(|it| place(it.node_id, &mut it.host, &mut it.port, local)))
        }),
        Some(Api::FindCoordinator) => {
            message(frame, version, |it: &mut FindCoordinatorResponse| {
                // Up to version 3 it is one, and from 4 on several.
                let one = place(it.node_id, &mut it.host, &mut it.port, local)?;
                let several = it.coordinators.iter_mut();
                let several =
                    several.map(|it| place(it.node_id, &mut it.host, &mut it.port, local));
                Ok(any(several)? || one)
            })
        }
        Some(Api::DescribeCluster) => {
            message(frame, version, |it: &mut DescribeClusterResponse| {
                let node = match it.endpoint_type {
                    CONTROLLERS => Node::Controller,
                    _ => Node::Broker,
                };
                let nodes = it.brokers.iter_mut();
                any(nodes
                    .map(|it| place_node(node(it.broker_id), &mut it.host, &mut it.port, local)))
            })
        }
        Some(Api::Produce) => message(frame, version, |it: &mut ProduceResponse| {
            let nodes = it.node_endpoints.iter_mut();
            any(nodes.map(|it| place(it.node_id, &mut it.host, &mut it.port, local)))
        }),
        Some(Api::DescribeQuorum) => message(frame, version, |it: &mut DescribeQuorumResponse| {
            let nodes = it.nodes.iter_mut();
            any(nodes.map(|it| {
                // A door leads to one address: of a member that has several the first is told.
                let cut = it.listeners.len() > 1;
                it.listeners.truncate(1);
                let Some(listener) = it.listeners.first_mut() else { return Ok(false) };
                let node = Node::Controller(it.node_id);
                let mut port = i32::from(listener.port);
                let placed = place_node(node, &mut listener.host, &mut port, local)?;
                listener.port = u16::try_from(port).expect("it was one, or is a door's");
                Ok(placed || cut)
            }))
        }),
        Some(_) | None => Ok(None),
    }
}

fn message<R: KafkaResponse>(
    frame: &Bytes,
    version: i16,
    change: impl FnOnce(&mut R) -> Result<bool, DoorError>,
) -> Result<Option<Bytes>, RewriteError> {
    let (correlation, mut answer) = decode_response::<R>(frame.clone(), version)?;
    if !change(&mut answer)? {
        return Ok(None);
    }
    Ok(Some(encode_response(correlation, version, &answer)?))
}

/// Whether one of them is so: all are carried out.
fn any(changes: impl Iterator<Item = Result<bool, DoorError>>) -> Result<bool, DoorError> {
    let mut changed = false;
    for change in changes {
        changed |= change?;
    }
    Ok(changed)
}

/// Gives a broker's address that of its door. What is no address, as where there is no coordinator, stays.
pub(crate) fn place(
    id: i32,
    host: &mut StrBytes,
    port: &mut i32,
    local: &mut Local<'_>,
) -> Result<bool, DoorError> {
    place_node(Node::Broker(id), host, port, local)
}

fn place_node(
    node: Node,
    host: &mut StrBytes,
    port: &mut i32,
    local: &mut Local<'_>,
) -> Result<bool, DoorError> {
    let (Node::Broker(id) | Node::Controller(id)) = node;
    let Some(at) = u16::try_from(*port).ok().filter(|at| *at != 0 && id >= 0 && !host.is_empty())
    else {
        return Ok(false);
    };
    let door = local(node, host, at)?;
    *host = door.ip().to_canonical().to_string().as_str().into();
    *port = door.port().into();
    Ok(true)
}

#[cfg(test)]
pub(crate) mod tests;
