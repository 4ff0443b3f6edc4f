//! What a link costs: the same work over TCP, TLS and QUIC in turn, beside what QUIC alone carries between two
//! processes.
//!
//! **Where it sits.** Behind `brooklet bench links`, which starts the processes and shows the figures; apart from the program
//! so that it can be built and tested without the plugin room.
//!
//! **What it decides.** The order of measurements: one round has all ways one after the other, so that what else the machine does
//! falls on all of them, and what counts is the median over rounds of ratios within a round.

pub mod bare;
pub mod figures;
mod work;

use std::time::Duration;

use brooklet_client::{ApiError, Client, ConnectError, ConsumeError, ProduceError};

use self::bare::Bare;
use self::figures::{Figures, Latency, Throughput, Way, Workload};

/// What is to be measured.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How often.
    pub rounds: u32,
    /// How long each time.
    pub length: Duration,
    /// Bytes of a record's value.
    pub bytes: usize,
    /// Partitions of a topic, one set of figures for each.
    pub partitions: Vec<u32>,
    /// Records a second whose latency is measured.
    pub rate: u32,
    /// Megabytes of a topic that is read again and again.
    pub megabytes: u32,
}

/// Who does the work: a client for each transport to one broker, and a bare connection.
pub struct Parties {
    /// Over TCP.
    pub tcp: Client,
    /// Over TLS.
    pub tls: Client,
    /// Over QUIC.
    pub quic: Client,
    /// QUIC with nothing on it.
    pub bare: Bare,
}

/// Why there are no figures.
#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    /// A topic cannot be had.
    #[error(transparent)]
    Topic(#[from] ApiError),
    /// A record was not taken.
    #[error(transparent)]
    Produce(#[from] ProduceError),
    /// A topic cannot be read.
    #[error(transparent)]
    Consume(#[from] ConsumeError),
    /// Nothing more arrives.
    #[error("no record for {after:?}")]
    Silent { after: Duration },
    /// The bare connection cannot be had.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The bare connection is lost.
    #[error("quinn alone: {0}")]
    Bare(String),
}

impl Parties {
    fn client(&self, way: Way) -> &Client {
        match way {
            Way::Tcp => &self.tcp,
            Way::Tls => &self.tls,
            Way::Quic => &self.quic,
        }
    }
}

/// Measures everything. `told` hears of each round as it begins.
pub async fn measure(
    parties: &Parties,
    plan: &Plan,
    mut told: impl FnMut(u32, u32),
) -> Result<Figures, MeasureError> {
    let mut figures = Figures::default();
    for &partitions in &plan.partitions {
        let stored = work::Topic::create(&parties.tcp, partitions).await?;
        let megabytes = u64::from(plan.megabytes) * 1_000_000;
        work::fill(&parties.tcp, &stored, plan, megabytes).await?;
        let mut produce = Throughput::new(Workload::Produce, partitions);
        let mut consume = Throughput::new(Workload::Consume, partitions);
        let mut latency = Latency::new(partitions);
        for round in 0..plan.rounds {
            told(partitions, round);
            for way in Way::ALL {
                let topic = work::Topic::create(&parties.tcp, partitions).await?;
                let reached = work::produce(parties.client(way), &topic, plan).await;
                topic.delete(&parties.tcp).await?;
                produce.add(way, reached?);
                consume.add(way, work::consume(parties.client(way), &stored, plan).await?);
            }
            produce.add_bare(parties.bare.push(partitions, plan.length).await?);
            consume.add_bare(parties.bare.pull(partitions, plan.length).await?);
            for way in Way::ALL {
                let topic = work::Topic::create(&parties.tcp, partitions).await?;
                let times = work::latencies(parties.client(way), &topic, plan).await;
                topic.delete(&parties.tcp).await?;
                latency.add(way, times?);
            }
        }
        stored.delete(&parties.tcp).await?;
        figures.throughputs.extend([produce, consume]);
        figures.latencies.push(latency);
    }
    Ok(figures)
}
