//! What other brokers want of the shards, and what this broker asks as one of several.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use brooklet_log::Disk;
use brooklet_meta::Cluster;
use brooklet_shard::input::{Input, ReplicaFetch, Request};
use brooklet_shard::output::{Fetched, Reply};
use brooklet_shard::{Change, ChangeError};
use brooklet_types::{BrokerId, ByteSize, ErrorCode};
use tokio::sync::watch;

use super::{Shards, Slots, Stopping, unexpected};

impl<D: Disk> Shards<D> {
    /// The cluster as every shard knows it, as it changes.
    pub(crate) fn watch(&self) -> watch::Receiver<Arc<Cluster>> {
        self.inner.cluster.clone()
    }

    /// Waits until every shard has followed that version of the cluster, or for so long.
    pub(crate) async fn followed(&self, version: u64, within: Duration) {
        let mut cluster = self.watch();
        let followed = cluster.wait_for(|cluster| cluster.version() >= version);
        if tokio::time::timeout(within, followed).await.is_err() {
            tracing::debug!(version, "the cluster has not been heard of so far in time");
        }
    }

    /// Tells one shard something that nobody waits for an answer to, in turn.
    pub(crate) async fn tell(&self, shard: u32, input: Input) -> Result<(), Stopping> {
        let seat = self.inner.seats.get(shard as usize).ok_or(Stopping)?;
        seat.tell_in_turn(input).await
    }

    /// Reads for a follower, waiting as the fetch says. With several shards each waits by itself; the first that has something
    /// ends the wait of all.
    pub(crate) async fn replicate(
        &self,
        fetch: ReplicaFetch,
    ) -> Result<Slots<Fetched<D>>, Stopping> {
        let mut by_shard: BTreeMap<u32, ReplicaFetch> = BTreeMap::new();
        let ReplicaFetch { broker, epoch, partitions, min, max, wait_max } = fetch;
        for wanted in partitions {
            let shard = self.shard_of(wanted.partition);
            let part = by_shard.entry(shard).or_insert_with(|| ReplicaFetch {
                broker,
                epoch,
                partitions: Vec::new(),
                min,
                max,
                wait_max,
            });
            part.partitions.push(wanted);
        }
        if by_shard.len() > 1 && !wait_max.is_zero() {
            let mut waits = tokio::task::JoinSet::new();
            for (shard, part) in &by_shard {
                let (shards, shard, part) = (self.clone(), *shard, part.clone());
                waits.spawn(async move { shards.replicate_part(shard, part).await.map(|_| ()) });
            }
            if let Some(first) = waits.join_next().await {
                first.map_err(|_| Stopping)??;
            }
            for part in by_shard.values_mut() {
                part.wait_max = Duration::ZERO;
            }
        }
        let mut found: Slots<Fetched<D>> = Vec::new();
        let mut left = max;
        for (shard, mut part) in by_shard {
            part.max = left;
            let part = self.replicate_part(shard, part).await?;
            let plans = part.iter().filter_map(|(_, one)| one.plan.as_ref());
            let bytes: u64 = plans.map(|plan| plan.bytes()).sum();
            left = ByteSize(left.0.saturating_sub(bytes));
            found.extend(part);
        }
        Ok(found)
    }

    async fn replicate_part(
        &self,
        shard: u32,
        part: ReplicaFetch,
    ) -> Result<Slots<Fetched<D>>, Stopping> {
        let answer = self.ask(shard, Request::Replicate(part)).await?.wait().await?;
        let Reply::Fetched(found) = answer else { unexpected() };
        Ok(found)
    }

    /// Changes who is in the metadata's quorum. The first error is ours, the second that this broker does not lead the quorum.
    pub(crate) async fn change_members(
        &self,
        change: Change,
    ) -> Result<Result<Result<(), ChangeError>, ErrorCode>, Stopping> {
        let answer = self.ask(0, Request::ChangeMembers(change)).await?.wait().await?;
        let Reply::Metadata { reply, .. } = answer else { unexpected() };
        let taken = |reply: Box<dyn std::any::Any + Send>| {
            *reply.downcast().expect("a change of members answers with its own kind of reply")
        };
        Ok(reply.map(taken))
    }

    /// Has another broker lead the metadata's quorum. Says which; it may not come to that.
    pub(crate) async fn hand_over(&self) -> Result<Option<BrokerId>, Stopping> {
        let answer = self.ask(0, Request::HandOver).await?.wait().await?;
        let Reply::HandingOver(to) = answer else { unexpected() };
        Ok(to)
    }
}
