//! From a data folder to shards, and the mark of a clean stop.
//!
//! **Where it sits.** Called once by whoever runs the shards: the broker, and the simulation.
//!
//! **What it decides.** The order: the folder's format, the metadata, then the journals of the last
//! run. The shards that come back hold nothing yet; each is to be told of the cluster.
//!
//! **Invariant.** The mark of a clean stop is removed before anything is written, and put back only
//! when every log has been closed in good order.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use brooklet_log::disk::{read_small, replace};
use brooklet_log::journal::{Entry, Journal, JournalError};
use brooklet_log::{Disk, DiskFile};
use brooklet_meta::{Cluster, Partition};
use brooklet_quorum::DirectoryId;
use brooklet_types::{BrokerId, ByteSize, Instant, Timestamp, TopicPartition};

use crate::metadata::{Metadata, MetadataError, NAME, QuorumSeed};
use crate::partition::TOPICS;
use crate::shard::{Identity, Journaled, Shard, ShardSettings, shard_of};

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
    /// Room in each shard's journal.
    pub journal_bytes: ByteSize,
    /// The cluster as far as the configuration knows it.
    pub cluster: Cluster,
    /// What the quorum has to be told.
    pub quorum: QuorumSeed,
}

/// Shards that are ready to be told of the cluster.
#[derive(Debug)]
pub struct Started<D: Disk> {
    /// By their number.
    pub shards: Vec<Shard<D>>,
    /// What each is to be told first. In a quorum of several it may be of some time ago, and no shard acts on it.
    pub cluster: Arc<Cluster>,
    /// Folders that a deleted topic had left behind, removed now. In a quorum of several they are removed when it is
    /// known which these are.
    pub orphans: Vec<String>,
    /// The data folder's id.
    pub directory: DirectoryId,
    /// Whether the last run had stopped in good order.
    pub clean: bool,
}

/// Makes the shards on `disk`, with what the last run left there.
pub fn start<D: Disk>(
    disk: &D,
    plan: ShardPlan,
    now: Instant,
    clock: Timestamp,
) -> Result<Started<D>, StartError> {
    check_format(disk)?;
    let clean = take_clean_mark(disk)?;
    disk.create_folder(TOPICS)?;
    disk.create_folder(JOURNALS)?;
    disk.sync_folder("")?;
    let seed = (clock, plan.quorum);
    let metadata = Metadata::start(disk, plan.cluster, plan.broker, clean, seed)?;
    let (cluster, directory) = (metadata.cluster(), metadata.directory());
    // A member of a quorum of several knows at first what was decided some time ago; the rest it is told later.
    let is_current = metadata.is_alone();
    let orphans =
        if is_current { remove_orphans(disk, &cluster, plan.broker)? } else { Vec::new() };
    let found = if is_current { Vec::new() } else { disk.list(TOPICS)? };
    let journals = open_journals(disk, plan.shards, plan.journal_bytes)?;
    let mut metadata = Some(metadata);
    let mut shards = Vec::with_capacity(journals.len());
    for (shard, journaled) in (0..plan.shards).zip(journals) {
        let identity = Identity { broker: plan.broker, shard, shards: plan.shards };
        let (settings, metadata) = (plan.settings.clone(), metadata.take());
        shards.push(Shard::new(disk.clone(), identity, settings, metadata, journaled, now));
    }
    if !is_current {
        shards.iter_mut().for_each(Shard::await_cluster);
    }
    if let Some(first) = shards.first_mut() {
        first.copies.found = found;
    }
    Ok(Started { shards, cluster, orphans, directory, clean })
}

/// Says that every shard was closed in good order: the next start has nothing to recover.
pub fn mark_clean<D: Disk>(disk: &D) -> io::Result<()> {
    replace(disk, JOURNALS, CLEAN, b"")
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
            file.write_at(&[known.as_bytes()], 0)?;
            file.sync()?;
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

/// Removes the folders of partitions that the metadata does not know, or has elsewhere: a crash came between the
/// end of a topic and the end of its files, or a broker was away when it ended.
fn remove_orphans<D: Disk>(
    disk: &D,
    cluster: &Cluster,
    broker: BrokerId,
) -> io::Result<Vec<String>> {
    let mut removed = Vec::new();
    for name in disk.list(TOPICS)? {
        let Some((topic, partition)) = name.rsplit_once('-') else { continue };
        let known = match (cluster.topic(topic), partition.parse::<usize>()) {
            (Some(topic), Ok(partition)) => {
                let placed = topic.partitions.get(partition);
                let is_here = |it: &Partition| it.replicas.contains(&broker);
                placed.is_some_and(|it| cluster.level() == 0 || is_here(it))
            }
            (None, Ok(_)) => topic == NAME,
            // Not a partition's folder, so not ours to remove.
            (_, Err(_)) => true,
        };
        if !known {
            disk.remove(&format!("{TOPICS}/{name}"))?;
            removed.push(name);
        }
    }
    Ok(removed)
}

/// Opens a journal for each shard, and deals out what all journals of the last run had. That run may
/// have had more shards.
fn open_journals<D: Disk>(
    disk: &D,
    shards: u32,
    capacity: ByteSize,
) -> Result<Vec<Journaled<D>>, StartError> {
    let last = disk.list(JOURNALS)?.iter().filter_map(|name| name.parse::<u32>().ok()).max();
    let count = shards.max(last.map_or(0, |last| last + 1));
    let mut recovered: BTreeMap<TopicPartition, Vec<Entry>> = BTreeMap::new();
    let mut journals = Vec::new();
    for shard in 0..count {
        let path = format!("{JOURNALS}/{shard}");
        let (journal, entries) = Journal::open(disk, &path, capacity)?;
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
