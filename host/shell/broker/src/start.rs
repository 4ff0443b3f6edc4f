//! From a data folder to running shards, and back.
//!
//! **Where it sits.** Called once by whoever runs the broker.
//!
//! **What it decides.** The order: the shards are made from what is on the disk, then each gets its
//! thread, then every partition is opened, and only then do connections come. Stopping is the reverse.

use std::io;
use std::sync::Arc;
use std::sync::mpsc as blocking;
use std::thread::JoinHandle;

use brooklet_hook::Hooks;
use brooklet_io::Clock;
use brooklet_log::Disk;
use brooklet_meta::Cluster;
use brooklet_shard::DirectoryId;
pub use brooklet_shard::start::ShardPlan;
use brooklet_shard::start::{self, Started};
use tokio::sync::watch;

use crate::cleaner::Cleaner;
use crate::closing;
use crate::metrics::Metrics;
use crate::peers::outward::Outward;
use crate::seat::Seat;
use crate::shard_thread::{self, Outside};
use crate::shards::Shards;

/// Why the shards do not run.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// They cannot be made from what is on the disk.
    #[error(transparent)]
    Shards(#[from] start::StartError),
    /// The system gives us no thread.
    #[error("start a thread: {0}")]
    Thread(#[from] io::Error),
    /// A shard ended while it was starting.
    #[error("a shard ended while it was starting")]
    Shard,
}

/// Shards that are running.
#[derive(Debug)]
pub struct Running<D: Disk> {
    /// The way to them.
    pub shards: Shards<D>,
    /// The data folder's id.
    pub directory: DirectoryId,
    /// Whether the last run had stopped in good order.
    pub clean: bool,
    disk: D,
    threads: Vec<JoinHandle<()>>,
    cleaner: Cleaner,
}

/// Starts the shards on `disk` and waits until every partition is open.
pub async fn start<D: Disk>(
    disk: D,
    plan: ShardPlan,
    clock: Clock,
    metrics: Arc<Metrics>,
    hooks: Arc<dyn Hooks>,
    outward: Outward,
) -> Result<Running<D>, StartError> {
    let Started { shards: machines, cluster, orphans, directory, clean } =
        start::start(&disk, plan, clock.now(), clock.timestamp())?;
    for folder in orphans {
        tracing::info!(folder, "removed what was left of a deleted topic");
    }
    let (decided, changes) = watch::channel(Arc::clone(&cluster));
    let (follow, applied) = watch::channel(Arc::default());
    let (leisure, jobs) = blocking::channel();
    std::thread::Builder::new().name("write-back".into()).spawn(move || {
        shard_thread::write_back(jobs);
    })?;
    let (cleaner, cleanings) = Cleaner::start(Arc::clone(&hooks))?;
    let mut seats = Vec::new();
    let mut threads = Vec::new();
    for (shard, machine) in (0..).zip(machines) {
        let (sender, receiver) = shard_thread::inbox();
        let (syncs, sync_jobs) = blocking::channel();
        let outside = Outside {
            clock: clock.clone(),
            syncs,
            leisure: leisure.clone(),
            cleaner: cleanings.clone(),
            decided: decided.clone(),
            metrics: Arc::clone(&metrics),
            shard,
            outward: outward.clone(),
        };
        let seat = Seat::new(machine, sender, outside);
        let (name, counting) = (format!("shard-{shard}"), Arc::clone(&metrics));
        let sitting = Arc::clone(&seat);
        shard_thread::spawn_syncs(
            format!("{name}-sync"),
            sitting,
            sync_jobs,
            clock.clone(),
            counting,
        )?;
        let sitting = Arc::clone(&seat);
        threads.push(shard_thread::spawn(name, sitting, receiver, clock.clone())?);
        seats.push(seat);
    }
    let shards = Shards::new(seats, applied);
    shards.follow(&cluster).await.map_err(|_stopping| StartError::Shard)?;
    follow.send_replace(cluster);
    tokio::spawn(follow_changes(shards.clone(), changes, follow));
    tokio::spawn(follow_policies(shards.clone(), hooks));
    Ok(Running { shards, directory, clean, disk, threads, cleaner })
}

impl<D: Disk> Running<D> {
    /// Has logs compacted from now on: the hooks know of all topics.
    pub(crate) fn begin_cleaning(&mut self) {
        self.cleaner.begin();
    }

    /// Writes everything down and ends the threads. The next start has nothing to recover.
    pub async fn stop(self) -> io::Result<()> {
        self.cleaner.interrupt();
        let logs = self.shards.stop().await;
        for thread in self.threads {
            // A panic on a shard has ended the process long ago.
            let _ = thread.join();
        }
        self.cleaner.join();
        // Without its shard nobody knows what a log is.
        let Ok(logs) = logs else { return Ok(()) };
        if tokio::task::spawn_blocking(|| closing::close(logs)).await.unwrap_or(false) {
            start::mark_clean(&self.disk)?;
        }
        Ok(())
    }
}

/// Passes every decided change on to all shards, and when all have followed, to everyone else.
async fn follow_changes<D: Disk>(
    shards: Shards<D>,
    mut changes: watch::Receiver<Arc<Cluster>>,
    applied: watch::Sender<Arc<Cluster>>,
) {
    while changes.changed().await.is_ok() {
        let cluster = Arc::clone(&changes.borrow_and_update());
        if shards.follow(&cluster).await.is_err() {
            return;
        }
        applied.send_replace(cluster);
    }
}

/// Tells all shards whenever a topic has another policy.
async fn follow_policies<D: Disk>(shards: Shards<D>, hooks: Arc<dyn Hooks>) {
    while shards.change_policies(hooks.policies_changed().await).await.is_ok() {}
}
