//! How records are delivered: the options of every command that produces.

use std::time::Duration;

use brooklet_client::ProducerConfig;
use brooklet_client::producer::Acks;
use brooklet_wire::compress::Codec;
use clap::ValueEnum;

#[derive(clap::Args)]
pub(crate) struct DeliveryArguments {
    /// How batches are compressed
    #[arg(short = 'z', long, value_enum, default_value = "none")]
    pub(crate) compression: Compression,
    /// Who must have a record: nobody, the leader, all replicas in sync
    #[arg(long, value_enum, default_value = "all")]
    pub(crate) acks: AcksChoice,
    /// Do not number records; a retry may then store them twice
    #[arg(long)]
    no_idempotence: bool,
    /// How large a batch may become, before compression
    #[arg(long, value_name = "BYTES", default_value = "262144")]
    batch_bytes: usize,
    /// Milliseconds a batch waits for more records; 5, and 0 where single records are timed
    #[arg(long, value_name = "MS")]
    linger: Option<u64>,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Compression {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum AcksChoice {
    #[value(name = "0")]
    None,
    #[value(name = "1")]
    Leader,
    #[value(name = "all")]
    All,
}

impl DeliveryArguments {
    /// A producer's settings. `timeout` ends the patience with one record, `linger` holds where
    /// nothing else was asked for.
    pub(crate) fn config(&self, timeout: Duration, linger: Duration) -> ProducerConfig {
        ProducerConfig {
            acks: match self.acks {
                AcksChoice::None => Acks::None,
                AcksChoice::Leader => Acks::Leader,
                AcksChoice::All => Acks::All,
            },
            idempotent: self.acks == AcksChoice::All && !self.no_idempotence,
            compression: match self.compression {
                Compression::None => Codec::None,
                Compression::Gzip => Codec::Gzip,
                Compression::Snappy => Codec::Snappy,
                Compression::Lz4 => Codec::Lz4,
                Compression::Zstd => Codec::Zstd,
            },
            batch_bytes: self.batch_bytes,
            linger: self.linger.map_or(linger, Duration::from_millis),
            delivery_timeout: timeout,
            ..ProducerConfig::default()
        }
    }
}
