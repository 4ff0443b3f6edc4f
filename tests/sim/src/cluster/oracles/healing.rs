//! Source: issue of the cluster: when nothing goes wrong any more everything is well by itself, within a time: every
//! partition is led, everybody is in sync and has the same, and whoever waited was answered.

use std::sync::Arc;

use brooklet_meta::Cluster;
use brooklet_meta::lifecycle::{Lifecycle, Standing};

use crate::cluster::node::Node;
use crate::cluster::world::World;

/// Whether all is well.
pub(crate) fn check(world: &World) -> Result<(), String> {
    let newest = newest(world)?;
    world.nodes.values().try_for_each(|node| check_node(node, &newest))?;
    world.clients.iter().try_for_each(|client| client.settled(&newest))?;
    for topic in newest.topics() {
        for (index, partition) in topic.indexed() {
            let here = format!("{}-{index}", topic.name);
            if partition.leader.is_none() {
                return Err(format!("healed, and nobody leads {here}"));
            }
            if partition.in_sync.len() < partition.replicas.len() {
                let in_sync = &partition.in_sync;
                return Err(format!("healed, and of {here} only {in_sync:?} are in sync"));
            }
        }
    }
    Ok(())
}

/// Whether everything that was to be there before anything goes wrong is there.
pub(crate) fn topics_are_there(world: &World) -> Result<(), String> {
    let newest = newest(world)?;
    world.nodes.values().try_for_each(|node| check_node(node, &newest))?;
    world.clients.first().map_or(Ok(()), |operator| operator.settled(&newest))
}

fn newest(world: &World) -> Result<Arc<Cluster>, String> {
    world.oracles.images.newest().cloned().ok_or_else(|| "nothing was ever decided".to_owned())
}

fn check_node(node: &Node, newest: &Cluster) -> Result<(), String> {
    let id = node.id;
    let Some(running) = &node.running else { return Err(format!("healed, and {id} is down")) };
    let standing = running.lifecycle.as_ref().map(Lifecycle::standing);
    if standing != Some(Standing::Active) {
        return Err(format!("healed, and {id} is {standing:?}"));
    }
    let (applied, newest) = (running.applied.version(), newest.version());
    if applied != newest {
        return Err(format!("healed, and {id} has followed {applied} of {newest}"));
    }
    Ok(())
}
