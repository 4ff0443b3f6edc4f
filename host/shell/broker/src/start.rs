//! From a data folder to running shards, and back.
//!
//! **Where it sits.** Called once by whoever runs the broker.
//!
//! **What it decides.** The order: the metadata first, then the journals of the last run, then one
//! thread for each shard, then every partition, and only then connections. Stopping is the reverse.
//!
//! **Invariant.** The mark of a clean stop is removed before anything is written, and put back only when
//! every log has been closed in good order.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::mpsc as blocking;
use std::thread::JoinHandle;

use brooklet_io::Clock;
use brooklet_log::Disk;
use brooklet_log::disk::{read_small, replace};
use brooklet_log::journal::{Entry, Journal, JournalError};
use brooklet_meta::Cluster;
use brooklet_shard::{
    Identity, Journaled, Metadata, MetadataError, Shard, ShardSettings, shard_of,
};
use brooklet_types::{BrokerId, ByteSize, TopicPartition};
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::cleaner::Cleaner;
use crate::shard_thread::{self, ObserveSync, Outside};
use crate::shards::Shards;

/// Each shard's journal. At the rate at which a journal pays off, this is worth about a second of
/// writes between two checkpoints.
const JOURNAL_BYTES: ByteSize = ByteSize::mib(64);

const JOURNALS: &str = "journal";
const FORMAT: &str = "format";
const CLEAN: &str = "clean";

/// The format of the data folder that this release writes.
const FORMAT_VERSION: u32 = 1;

/// Why the shards cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A later release has written here.
    #[error(
        "data folder has format {found}, this broker reads {FORMAT_VERSION}; use a newer broker"
    )]
    NewerFormat { found: String },
    /// The metadata cannot be read.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// A journal cannot be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The disk says no.
    #[error("data folder: {0}")]
    Disk(#[from] io::Error),
    /// A shard ended while it was starting.
    #[error("a shard ended while it was starting")]
    Shard,
}

/// What the shards are started with.
#[derive(Clone, Debug)]
pub struct ShardPlan {
    /// This broker.
    pub broker: BrokerId,
    /// How many shards.
    pub shards: u32,
    /// What an operator may set about each.
    pub settings: ShardSettings,
    /// The cluster as far as the configuration knows it.
    pub cluster: Cluster,
}

/// Shards that are running.
#[derive(Debug)]
pub struct Running<D: Disk> {
    /// The way to them.
    pub shards: Shards<D>,
    disk: D,
    threads: Vec<JoinHandle<()>>,
    cleaner: Cleaner,
}

/// Starts the shards on `disk` and waits until every partition is open.
pub async fn start<D: Disk>(
    disk: D,
    plan: ShardPlan,
    clock: Clock,
    observe_sync: ObserveSync,
) -> Result<Running<D>, StartError> {
    check_format(&disk)?;
    let clean = take_clean_mark(&disk)?;
    disk.create_folder("topics")?;
    disk.create_folder(JOURNALS)?;
    disk.sync_folder("")?;
    let metadata = Metadata::start(&disk, plan.cluster, plan.broker, clean, clock.timestamp())?;
    let cluster = metadata.cluster();
    remove_orphans(&disk, &cluster)?;
    let journals = open_journals(&disk, plan.shards)?;

    let (decided, changes) = watch::channel(Arc::clone(&cluster));
    let (follow, applied) = watch::channel(Arc::default());
    let (leisure, jobs) = blocking::channel();
    std::thread::Builder::new().name("write-back".into()).spawn(move || {
        shard_thread::write_back(jobs);
    })?;
    let (cleaner, cleanings) = Cleaner::start()?;
    let mut inboxes = Vec::new();
    let mut threads = Vec::new();
    let mut metadata = Some(metadata);
    for (shard, journaled) in (0..plan.shards).zip(journals) {
        let identity = Identity { broker: plan.broker, shard, shards: plan.shards };
        let (sender, receiver) = shard_thread::inbox();
        let machine = Shard::new(
            disk.clone(),
            identity,
            plan.settings.clone(),
            metadata.take(),
            journaled,
            clock.now(),
        );
        let outside = Outside {
            clock: clock.clone(),
            runtime: Handle::current(),
            observe_sync: Arc::clone(&observe_sync),
            inbox: sender.clone(),
            leisure: leisure.clone(),
            cleaner: cleanings.clone(),
            decided: decided.clone(),
        };
        threads.push(shard_thread::spawn(format!("shard-{shard}"), machine, receiver, outside)?);
        inboxes.push(sender);
    }
    let shards = Shards::new(inboxes, applied);
    shards.follow(&cluster).await.map_err(|_stopping| StartError::Shard)?;
    follow.send_replace(cluster);
    tokio::spawn(follow_changes(shards.clone(), changes, follow));
    Ok(Running { shards, disk, threads, cleaner })
}

impl<D: Disk> Running<D> {
    /// Writes everything down and ends the threads. The next start has nothing to recover.
    pub async fn stop(self) -> io::Result<()> {
        self.cleaner.interrupt();
        let clean = self.shards.stop().await;
        for thread in self.threads {
            // A panic on a shard has ended the process long ago.
            let _ = thread.join();
        }
        self.cleaner.join();
        if clean {
            replace(&self.disk, JOURNALS, CLEAN, b"")?;
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

fn check_format<D: Disk>(disk: &D) -> Result<(), StartError> {
    const TEXT_BYTES_MAX: usize = 64;
    let known = format!("brooklet {FORMAT_VERSION}\n");
    match read_small(disk, FORMAT, TEXT_BYTES_MAX)? {
        Some(found) if found == known.as_bytes() => Ok(()),
        Some(found) => {
            let found = String::from_utf8_lossy(&found).trim().to_owned();
            Err(StartError::NewerFormat { found })
        }
        None => {
            let file = disk.create(FORMAT)?;
            brooklet_log::DiskFile::write_at(&file, &[known.as_bytes()], 0)?;
            brooklet_log::DiskFile::sync(&file)?;
            Ok(())
        }
    }
}

/// Whether the last run ended in good order. From now on it has not.
fn take_clean_mark<D: Disk>(disk: &D) -> io::Result<bool> {
    let names = disk.list(JOURNALS)?;
    // The very first start has nothing that could have been lost.
    let clean = names.is_empty() || names.iter().any(|name| name == CLEAN);
    disk.remove(&format!("{JOURNALS}/{CLEAN}"))?;
    if !names.is_empty() {
        disk.sync_folder(JOURNALS)?;
    }
    Ok(clean)
}

/// Removes the folders of partitions that the metadata does not know: a crash came between the
/// end of a topic and the end of its files.
fn remove_orphans<D: Disk>(disk: &D, cluster: &Cluster) -> io::Result<()> {
    for name in disk.list("topics")? {
        let Some((topic, partition)) = name.rsplit_once('-') else { continue };
        let known = match (cluster.topic(topic), partition.parse::<usize>()) {
            (Some(topic), Ok(partition)) => partition < topic.partitions.len(),
            (None, Ok(_)) => topic == "__cluster_metadata",
            // Not a partition's folder, so not ours to remove.
            (_, Err(_)) => true,
        };
        if !known {
            tracing::info!(folder = name, "removing what is left of a deleted topic");
            disk.remove(&format!("topics/{name}"))?;
        }
    }
    Ok(())
}

/// Opens a journal for each shard, and deals out what all journals of the last run had. That run may
/// have had more shards.
fn open_journals<D: Disk>(disk: &D, shards: u32) -> Result<Vec<Journaled<D>>, StartError> {
    let last = disk.list(JOURNALS)?.iter().filter_map(|name| name.parse::<u32>().ok()).max();
    let count = shards.max(last.map_or(0, |last| last + 1));
    let mut recovered: BTreeMap<TopicPartition, Vec<Entry>> = BTreeMap::new();
    let mut journals = Vec::new();
    for shard in 0..count {
        let path = format!("{JOURNALS}/{shard}");
        let (journal, entries) = Journal::open(disk, &path, JOURNAL_BYTES)?;
        for entry in entries {
            recovered.entry(entry.partition).or_default().push(entry);
        }
        if shard < shards {
            journals.push(journal);
        }
    }
    let mut journaled: Vec<Journaled<D>> = journals
        .into_iter()
        .map(|journal| Journaled { journal, recovered: BTreeMap::new() })
        .collect();
    for (partition, entries) in recovered {
        let shard = usize::try_from(shard_of(partition, shards)).expect("a handful");
        journaled[shard].recovered.insert(partition, entries);
    }
    Ok(journaled)
}
