//! Source: issue of the cluster: when nothing goes wrong any more, everything is well by itself: there is a leader,
//! everybody is in sync, all copies are the same, all of it is safe and readable, and nobody waits.

use crate::replica::host::Host;
use crate::replica::world::World;

/// Whether all is well.
pub(crate) fn check(world: &World) -> Result<(), String> {
    let partition = world.controller.partition();
    let Some(leader) = partition.leader else {
        return Err("healed, and there is no leader".to_owned());
    };
    if partition.in_sync != partition.replicas {
        return Err(format!("healed, and only {:?} are in sync", partition.in_sync));
    }
    let leader = &world.hosts[&leader];
    let end = leader.log.end();
    world.hosts.values().try_for_each(|host| check_host(host, leader))?;
    let told = world.promises.consumer.latest();
    if told != end {
        return Err(format!("healed, and a consumer is told of {told} of {end} records"));
    }
    Ok(())
}

fn check_host(host: &Host, leader: &Host) -> Result<(), String> {
    let (id, end) = (host.id, leader.log.end());
    let Some(run) = &host.run else { return Err(format!("healed, and {id} does not run")) };
    if !run.requests.is_empty() {
        return Err(format!("healed, and at {id} {} requests wait", run.requests.len()));
    }
    let found = (host.log.end(), host.log.durable(), host.high_watermark().value());
    if found != (end, end, end) {
        return Err(format!(
            "healed, and {id} has {found:?} (end, durable, high watermark) of {end}"
        ));
    }
    let start = leader.log.start().max(host.log.start());
    let same = host.log.records().range(start..).eq(leader.log.records().range(start..));
    if same {
        Ok(())
    } else {
        Err(format!("healed, and {id} has other records than {}", leader.id))
    }
}
