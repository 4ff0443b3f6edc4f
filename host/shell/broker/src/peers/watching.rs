//! Noticing at once that another broker's process has ended.
//!
//! **Where it sits.** Beside the controller, while this broker is that: one connection to each broker, over which nothing is said.
//!
//! **What it decides.** That a broker has ended if its connection does and nobody listens there any more. Its session need not be
//! waited for then: who writes to its partitions, and the broker itself when it is started again, waits a moment. A machine that is
//! gone, or cut off, says nothing; for those there is the session.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use brooklet_client::ConnectError;
use brooklet_meta::Cluster;
use brooklet_meta::broker::BrokerEpoch;
use brooklet_types::BrokerId;
use tokio::task::AbortHandle;

use super::Peers;
use super::ways::{Lane, WayError};

/// Between two tries to reach a broker of which nothing is known but that it is not reached.
const AGAIN: Duration = Duration::from_millis(500);
/// A broker's listener is closed a moment after its connections.
const CERTAIN_AFTER: Duration = Duration::from_millis(20);

/// Watches brokers until it is dropped.
pub(super) struct Watching {
    peers: Arc<Peers>,
    tasks: BTreeMap<(BrokerId, BrokerEpoch), AbortHandle>,
}

impl Watching {
    pub(super) fn new(peers: &Arc<Peers>) -> Watching {
        Watching { peers: Arc::clone(peers), tasks: BTreeMap::new() }
    }

    /// Watches who takes part in this image of the cluster, and nobody else.
    pub(super) fn follow(&mut self, cluster: &Cluster) {
        let others = cluster.brokers().filter(|broker| broker.id != self.peers.me);
        let unfenced = others.filter_map(|broker| {
            let known = broker.registration.as_ref().filter(|known| !known.fenced)?;
            Some((broker.id, known.epoch))
        });
        let wanted: Vec<(BrokerId, BrokerEpoch)> = unfenced.collect();
        self.tasks.retain(|key, task| {
            let stays = wanted.contains(key);
            if !stays {
                task.abort();
            }
            stays
        });
        for key in wanted {
            self.tasks.entry(key).or_insert_with(|| {
                tokio::spawn(watch(Arc::clone(&self.peers), key)).abort_handle()
            });
        }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.tasks.values().for_each(AbortHandle::abort);
    }
}

/// Says once that a broker has ended.
async fn watch(peers: Arc<Peers>, (broker, epoch): (BrokerId, BrokerEpoch)) {
    loop {
        let Some(target) = peers.target(broker) else { return };
        match peers.ways.connection(&target, Lane::Watch).await {
            Ok(connection) => {
                connection.gone().await;
                tokio::time::sleep(CERTAIN_AFTER).await;
            }
            // Any other refusal is one of the network, which may have cut it off.
            Err(WayError::Connect(ConnectError::Unreachable { source, .. }))
                if source.kind() == io::ErrorKind::ConnectionRefused =>
            {
                tracing::info!(%broker, "broker has ended: nobody listens where it was");
                peers.with_controller(|controller| controller.lost(broker, epoch));
                peers.was_heard();
                return;
            }
            Err(WayError::Connect(_) | WayError::TooSoon) => tokio::time::sleep(AGAIN).await,
        }
    }
}
