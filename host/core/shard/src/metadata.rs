//! The metadata log: what the cluster is, decided one change after the other.
//!
//! **Where it sits.** On shard 0, beside its partitions; its log is a partition like any other, in a
//! topic that nobody can name.
//!
//! **What it decides.** Nothing of its own: `meta` decides, this writes down and publishes. A change is
//! applied to the deciding state at once, so that the next decision knows of it, and published
//! when it is durable, so that nobody acts on what might be forgotten.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use brooklet_log::{AppendError, Disk, Log, LogSettings, OpenError, TailBudget};
use brooklet_meta::Cluster;
use brooklet_meta::decide::Decision;
use brooklet_meta::decide::broker::{BrokerStartError, broker_started};
use brooklet_types::{
    BrokerId, ErrorCode, LeaderEpoch, PartitionIndex, Timestamp, TopicId, TopicName, TopicPartition,
};

use crate::input::Ticket;
use crate::output::{Output, Reply};
use crate::partition::Partition;
use crate::shard::{Shard, Waiting};
use crate::stored::{self, LoadError};

/// The metadata log's place among the partitions. Kafka gives its own the same id.
pub(crate) const METADATA: TopicPartition = TopicPartition {
    topic: TopicId([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
    partition: PartitionIndex(0),
};

/// The folder it lies in is named as a topic's would be.
pub(crate) const NAME: &str = TopicName::CLUSTER_METADATA;
const FOLDER: &str = "topics/__cluster_metadata-0";

/// The metadata log and what it has come to.
#[derive(Debug)]
pub struct Metadata<D: Disk> {
    /// Until the shard takes it over.
    partition: Option<Partition<D>>,
    /// With every decision applied, durable or not.
    decided: Cluster,
}

/// Why the metadata log cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MetadataError {
    /// Its files cannot be opened.
    #[error("cluster metadata: {0}")]
    Open(#[from] OpenError),
    /// Its records cannot be read.
    #[error("cluster metadata: {0}")]
    Load(#[from] LoadError),
    /// The folder is another broker's.
    #[error(transparent)]
    Broker(#[from] BrokerStartError),
    /// The start cannot be written down.
    #[error("cluster metadata: {0}")]
    Append(#[from] AppendError),
    /// The start cannot be made durable.
    #[error("cluster metadata: {0}")]
    Sync(#[from] std::io::Error),
}

impl<D: Disk> Metadata<D> {
    /// Reads the metadata log and writes down that `broker` has started; `clean` says whether it
    /// had stopped in good order. `cluster` holds what the broker was configured with.
    pub fn start(
        disk: &D,
        mut cluster: Cluster,
        broker: BrokerId,
        clean: bool,
        clock: Timestamp,
    ) -> Result<Metadata<D>, MetadataError> {
        let settings = LogSettings { retention_ms: None, ..LogSettings::default() };
        let mut log = Log::open(disk.clone(), FOLDER, settings, TailBudget::new(0))?;
        stored::read_all(&log, |offset, _key, value| {
            for record in stored::read_metadata_decision(offset, value)? {
                cluster.apply(&record);
            }
            Ok(())
        })?;
        let decision = broker_started(&cluster, broker, clean)?;
        let records: Vec<_> = decision.records.iter().map(stored::metadata_record).collect();
        log.append(&stored::batch_of(&records, clock), LeaderEpoch(0), clock)?;
        log.sync()?;
        for record in &decision.records {
            cluster.apply(record);
        }
        let topic = TopicName::new(NAME).expect("a legal name");
        let partition = Partition::new(METADATA, topic, log, LeaderEpoch(0));
        Ok(Metadata { partition: Some(partition), decided: cluster })
    }

    /// The cluster as it is now.
    pub fn cluster(&self) -> Arc<Cluster> {
        Arc::new(self.decided.clone())
    }

    /// The log, for the shard to keep among its partitions.
    pub(crate) fn take_partition(&mut self) -> Partition<D> {
        self.partition.take().expect("a shard takes it once, when it is made")
    }
}

/// A change of the cluster: decides on the state as it is, and says so in `reply`.
///
/// The decisions are `meta`'s and their replies are of many kinds, so what arrives here is the
/// decision itself, with its arguments inside. It is called once, and sees nothing but the cluster.
pub struct MetadataRequest(Decide);

type Decide = Box<dyn FnOnce(&Cluster) -> Decision<MetadataReply> + Send>;

/// Whatever the decision said, for whoever asked to take out again; or why it could not be stored.
pub type MetadataReply = Result<Box<dyn Any + Send>, ErrorCode>;

impl MetadataRequest {
    /// A request that `decide` answers.
    pub fn new<Reply: Send + 'static>(
        decide: impl FnOnce(&Cluster) -> Decision<Reply> + Send + 'static,
    ) -> MetadataRequest {
        MetadataRequest(Box::new(move |cluster| {
            let Decision { records, reply } = decide(cluster);
            Decision { records, reply: Ok(Box::new(reply)) }
        }))
    }
}

impl fmt::Debug for MetadataRequest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("MetadataRequest")
    }
}

/// A change of the metadata that waits to be durable.
#[derive(Debug)]
pub(crate) struct Change {
    ticket: Ticket,
    reply: MetadataReply,
    cluster: Arc<Cluster>,
}

impl<D: Disk> Shard<D> {
    pub(crate) fn metadata_request(
        &mut self,
        clock: Timestamp,
        ticket: Ticket,
        request: MetadataRequest,
        outbox: &mut Vec<Output<D>>,
    ) {
        let metadata = self.metadata.as_mut().expect("the shell asks the shard that has it");
        let decision = (request.0)(&metadata.decided);
        let version = metadata.decided.version();
        let reply = decision.reply;
        if decision.records.is_empty() {
            outbox.push(Output::Reply { ticket, reply: Reply::Metadata { reply, version } });
            return;
        }
        let stored: Vec<_> = decision.records.iter().map(stored::metadata_record).collect();
        let batch = stored::batch_of(&stored, clock);
        match self.store_records(clock, METADATA, &batch, outbox) {
            Ok(_needs_sync) => {
                let metadata = self.metadata.as_mut().expect("looked up above");
                for record in &decision.records {
                    metadata.decided.apply(record);
                }
                let cluster = Arc::new(metadata.decided.clone());
                self.syncs.park(Waiting::Metadata(Change { ticket, reply, cluster }));
            }
            Err(code) => {
                let reply = Err(code);
                outbox.push(Output::Reply { ticket, reply: Reply::Metadata { reply, version } });
            }
        }
    }

    /// A change is durable: publish it, then answer who asked for it.
    pub(crate) fn metadata_appended(&mut self, change: Change, outbox: &mut Vec<Output<D>>) {
        let Change { ticket, reply, cluster } = change;
        let version = cluster.version();
        outbox.push(Output::ClusterChanged(cluster));
        outbox.push(Output::Reply { ticket, reply: Reply::Metadata { reply, version } });
    }
}
