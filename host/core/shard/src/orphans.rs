//! Folders of partitions that are not here any more, which a broker of a cluster finds at its start.
//!
//! **Where it sits.** In the first shard, with the first image that it acts on: not before is it known what was decided
//! while the broker was down.
//!
//! **What it decides.** Which folders go: of partitions that were deleted, or that others keep.
//!
//! **Invariant.** A folder that was not there at the start stays, and so does one that does not say whose it is: another
//! shard may have made it for an image that is not here yet.

use brooklet_log::Disk;
use brooklet_meta::{Cluster, Topic};
use brooklet_types::{PartitionIndex, TopicName, TopicPartition};

use crate::output::{Event, Output};
use crate::partition::{TOPICS, owner};
use crate::shard::{GONE, Shard};

impl<D: Disk> Shard<D> {
    /// Removes what the start found and `cluster` does not place here.
    pub(crate) fn remove_orphans(&mut self, cluster: &Cluster, outbox: &mut Vec<Output<D>>) {
        for name in std::mem::take(&mut self.copies.found) {
            if !self.is_orphan(cluster, &name) {
                continue;
            }
            let folder = format!("{TOPICS}/{name}");
            outbox.push(Output::Event(match self.disk.remove(&folder) {
                Ok(()) => {
                    let report = "removed: its partition is not here any more".to_owned();
                    Event::Recovered { folder, report }
                }
                Err(error) => Event::PartitionFailed { folder, problem: error.to_string() },
            }));
        }
    }

    fn is_orphan(&self, cluster: &Cluster, name: &str) -> bool {
        let Some((topic, partition)) = name.rsplit_once('-') else { return false };
        let Some(partition) = partition.parse().ok().map(PartitionIndex) else { return false };
        if topic == TopicName::CLUSTER_METADATA {
            return false;
        }
        if name.ends_with(GONE) {
            // A crash came between the end of a partition and the end of its files.
            return true;
        }
        let is_kept =
            |topic: &Topic| self.is_kept(cluster, TopicPartition { topic: topic.id, partition });
        if cluster.topic(topic).is_some_and(|known| is_kept(known)) {
            // If it is of an earlier topic of that name, whoever opens it sees that.
            return false;
        }
        let owner = owner(&self.disk, &format!("{TOPICS}/{name}"));
        let Ok(Some(owner)) = owner else { return false };
        let known = cluster.topics().find(|topic| topic.id.to_string() == owner);
        !known.is_some_and(|known| is_kept(known))
    }
}
