//! Fetching from leaders what is kept here as a follower.
//!
//! **What it decides.** That a shard has at most [`UNDER_WAY_MAX`] fetches at one leader: what is wanted meanwhile goes with
//! the next, all in one. A fetch that waits for records holds a connection, so each has one of its own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use brooklet_meta::broker::BrokerEpoch;
use brooklet_shard::input::{CopyAnswer, Input};
use brooklet_shard::output::CopyFetch;
use brooklet_types::{BrokerId, ByteSize, TopicPartition, limits};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::Peers;
use super::ways::{ANSWER_MAX, Lane};
use crate::translate::peer::fetch::{self, FetchSize};
use crate::translate::peer::fetched;

/// Fetches of one shard at one leader: one that waits for records, and one for what was wanted since.
const UNDER_WAY_MAX: usize = 2;

/// What waits for one leader, in requests of its shard: one for each turn of it.
const QUEUE_MAX: usize = 256;

/// Kafka's `replica.fetch.wait.max.ms`, `replica.fetch.max.bytes` and `replica.fetch.response.max.bytes`.
const SIZE: FetchSize = FetchSize {
    min: ByteSize(1),
    max: ByteSize::mib(10),
    partition_max: ByteSize::mib(1),
    wait_max: Duration::from_millis(500),
};
const _: () = assert!(SIZE.max.0 <= limits::FETCH_BYTES_MAX as u64);

/// Whose fetches these are: a shard of ours, and the leader.
type Pair = (u32, BrokerId);

/// What is wanted at once, by one registration of this broker.
type Wanted = (BrokerEpoch, Vec<CopyFetch>);

/// The tasks that fetch, by shard and leader.
#[derive(Default)]
pub(super) struct Fetchers {
    queues: BTreeMap<Pair, mpsc::Sender<Wanted>>,
}

impl Fetchers {
    /// Fetches, or says that nothing came of it.
    pub(super) fn fetch(
        &mut self,
        peers: &Arc<Peers>,
        pair: Pair,
        epoch: BrokerEpoch,
        partitions: Vec<CopyFetch>,
    ) {
        let queue = self.queues.entry(pair).or_insert_with(|| {
            let (queue, wanted) = mpsc::channel(QUEUE_MAX);
            peers.spawn(run(Arc::clone(peers), pair, wanted));
            queue
        });
        // What is not answered is asked for again.
        let _ = queue.try_send((epoch, partitions));
    }
}

/// Fetches of one shard from one leader.
async fn run(peers: Arc<Peers>, pair: Pair, mut queue: mpsc::Receiver<Wanted>) {
    let mut waiting: BTreeMap<TopicPartition, CopyFetch> = BTreeMap::new();
    let mut newest = BrokerEpoch(0);
    let mut free: Vec<usize> = (0..UNDER_WAY_MAX).collect();
    let mut under_way = JoinSet::new();
    loop {
        if !waiting.is_empty()
            && let Some(number) = free.pop()
        {
            let wanted: Vec<CopyFetch> = std::mem::take(&mut waiting).into_values().collect();
            let (peers, epoch) = (Arc::clone(&peers), newest);
            under_way.spawn(async move {
                fetch_once(&peers, pair, number, (epoch, wanted)).await;
                number
            });
        }
        tokio::select! {
            wanted = queue.recv() => {
                let Some((epoch, partitions)) = wanted else { return };
                newest = epoch;
                waiting.extend(partitions.into_iter().map(|it| (it.partition, it)));
            }
            Some(done) = under_way.join_next() => match done {
                Ok(number) => free.push(number),
                Err(error) => {
                    tracing::error!(%error, "fetch from a leader");
                    return;
                }
            },
        }
    }
}

/// One fetch, whose answer the shard is told.
async fn fetch_once(peers: &Peers, (shard, leader): Pair, number: usize, (epoch, wanted): Wanted) {
    let lane = Lane::Copies { shard, number };
    let answers = match ask(peers, leader, lane, epoch, &wanted).await {
        Ok(answers) => answers,
        Err(reason) => {
            tracing::debug!(%leader, reason, "nothing fetched");
            fetched::lost(&wanted)
        }
    };
    let entropy = u64::from_be_bytes(brooklet_io::entropy::bytes());
    // A shard that has stopped wants nothing.
    let _ = peers.shards.tell(shard, Input::FetchedFrom { answers, entropy }).await;
}

async fn ask(
    peers: &Peers,
    leader: BrokerId,
    lane: Lane,
    epoch: BrokerEpoch,
    wanted: &[CopyFetch],
) -> Result<Vec<CopyAnswer>, String> {
    let target = peers.target(leader).ok_or("its address is not known")?;
    let connection = peers.ways.connection(&target, lane).await;
    let connection = connection.map_err(|error| error.to_string())?;
    let request = fetch::ask(peers.me, epoch, SIZE, wanted);
    let within = SIZE.wait_max + ANSWER_MAX;
    let pending = connection.submit(&request, within).await.map_err(|error| error.to_string())?;
    let response = pending.answer().await.map_err(|error| error.to_string())?;
    fetched::answered(wanted, response).map_err(|error| error.to_string())
}
