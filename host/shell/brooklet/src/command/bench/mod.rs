//! `brooklet bench`: what a broker can do, as its clients see it, against any broker that speaks
//! Kafka's protocol.
//!
//! Each measurement has a topic of its own, which is deleted afterwards, and a time to warm up that
//! does not count. Latencies run from the moment a record was *due*, not from the moment the
//! benchmark got round to sending it: with `--rate` the times are fixed beforehand, so a broker that
//! stalls is charged for every record that had to wait for it (no coordinated omission).

mod consume;
mod end_to_end;
mod links;
mod load;
mod plugins;
mod process;
mod produce;
mod report;
mod tracker;

use std::time::{Duration, Instant};

use brooklet_client::admin::NewTopic;
use brooklet_client::{Admin, Client, ProducerConfig};
use clap::ValueEnum;

use super::delivery::{AcksChoice, DeliveryArguments};
use super::{name_value, stop_signals};
use crate::Context;
use crate::failure::Failure;
use report::{Progress, Run};

/// Records per second where single records are timed and no rate is given.
const RATE_DEFAULT: u64 = 1000;

#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    other: Option<Other>,
    /// What to measure; everything if not given
    #[arg(value_enum)]
    workloads: Vec<Workload>,
    /// Bytes of a record's value; several with commas
    #[arg(long, default_value = "1024", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=16 << 20))]
    bytes: Vec<u32>,
    /// Partitions of the topic; several with commas
    #[arg(short, long, default_value = "1", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=100_000))]
    partitions: Vec<u32>,
    /// Records per second, each at its time; produce sends as fast as it can without, end-to-end
    /// 1000
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    rate: Option<u64>,
    /// How long each measurement takes
    #[arg(long, default_value = "10", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// Seconds before it that do not count
    #[arg(long, default_value = "3", value_parser = clap::value_parser!(u64).range(0..=3600))]
    warm_up: u64,
    /// Megabytes that consume writes before it reads them, again and again
    #[arg(long, default_value = "1000", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    megabytes: u64,
    /// Copies of each partition; the broker decides if not given
    #[arg(short, long)]
    replication: Option<u16>,
    /// A setting of the topic, NAME=VALUE; may be repeated
    #[arg(short = 'c', long = "config", value_parser = name_value)]
    settings: Vec<(String, String)>,
    /// Leave the topics behind
    #[arg(long)]
    keep: bool,
    #[command(flatten)]
    delivery: DeliveryArguments,
}

#[derive(clap::Subcommand)]
enum Other {
    /// What plugins cost; starts the brokers it needs
    Plugins(plugins::Arguments),
    /// What TCP, TLS and QUIC carry, beside QUIC alone; starts the processes it needs
    Links(links::Arguments),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Workload {
    /// Records in, until they are acknowledged
    Produce,
    /// Records out, as fast as they come
    Consume,
    /// From the moment a record is due until a consumer has it
    EndToEnd,
}

/// One measurement.
struct Plan {
    client: Client,
    topic: String,
    producer: ProducerConfig,
    /// Bytes of each value.
    bytes: usize,
    partitions: u32,
    rate: Option<u64>,
    warm_up: Duration,
    length: Duration,
    /// How long what is under way may take to come to its end.
    patience: Duration,
    /// For `consume`.
    stored_records: u64,
}

/// The time that counts.
#[derive(Clone, Copy)]
struct Window {
    /// When the first record is due; until `from` the broker warms up.
    began: Instant,
    from: Instant,
    to: Instant,
}

impl Window {
    fn contains(&self, time: Instant) -> bool {
        self.from <= time && time < self.to
    }

    fn seconds(&self) -> f64 {
        self.to.duration_since(self.from).as_secs_f64()
    }
}

impl Plan {
    /// Begins now.
    fn window(&self) -> Window {
        let began = Instant::now();
        let from = began + self.warm_up;
        Window { began, from, to: from + self.length }
    }
}

impl Workload {
    const ALL: [Workload; 3] = [Workload::Produce, Workload::Consume, Workload::EndToEnd];

    fn name(self) -> &'static str {
        match self {
            Workload::Produce => "produce",
            Workload::Consume => "consume",
            Workload::EndToEnd => "end-to-end",
        }
    }

    async fn run(self, plan: &Plan, progress: &Progress) -> Result<Run, Failure> {
        match self {
            Workload::Produce => produce::run(plan, progress).await,
            Workload::Consume => consume::run(plan, progress).await,
            Workload::EndToEnd => end_to_end::run(plan, progress).await,
        }
    }
}

/// Runs every workload with every size and number of partitions, one after the other.
pub(crate) async fn run(context: &mut Context, arguments: Arguments) -> Result<(), Failure> {
    match &arguments.other {
        Some(Other::Plugins(plugins)) => return plugins::run(context, plugins).await,
        Some(Other::Links(links)) => return links::run(context, links).await,
        None => {}
    }
    let workloads = if arguments.workloads.is_empty() {
        Workload::ALL.to_vec()
    } else {
        arguments.workloads.clone()
    };
    check(&arguments, &workloads)?;
    let mut runs = Vec::new();
    for workload in workloads {
        for bytes in &arguments.bytes {
            for partitions in &arguments.partitions {
                let plan = plan(context, &arguments, workload, *bytes, *partitions);
                let run = measure(&plan, workload, &arguments).await?;
                if context.is_json() {
                    context.output.json(&run.as_json())?;
                    context.output.flush()?;
                }
                runs.push(run);
            }
        }
    }
    if context.is_json() { Ok(()) } else { report::table(context, &runs) }
}

fn check(arguments: &Arguments, workloads: &[Workload]) -> Result<(), Failure> {
    if !workloads.contains(&Workload::EndToEnd) {
        return Ok(());
    }
    if arguments.bytes.iter().any(|bytes| *bytes < end_to_end::BYTES_MIN) {
        let message = format!("end-to-end needs --bytes {} or more", end_to_end::BYTES_MIN);
        return Err(Failure::usage(message).hint("its records carry a time and a number"));
    }
    if arguments.delivery.acks == AcksChoice::None {
        let message = "end-to-end needs --acks 1 or all";
        return Err(Failure::usage(message).hint("with --acks 0 nobody knows what has to arrive"));
    }
    Ok(())
}

fn plan(
    context: &Context,
    arguments: &Arguments,
    workload: Workload,
    bytes: u32,
    partitions: u32,
) -> Plan {
    let (linger, rate) = match workload {
        Workload::Produce => (ProducerConfig::default().linger, arguments.rate),
        Workload::Consume => (ProducerConfig::default().linger, None),
        Workload::EndToEnd => (Duration::ZERO, arguments.rate.or(Some(RATE_DEFAULT))),
    };
    let stamp = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let stamp = stamp.unwrap_or_default().as_millis();
    Plan {
        client: context.client(),
        topic: format!("brooklet-bench-{}-{stamp}", std::process::id()),
        producer: arguments.delivery.config(context.timeout(), linger),
        bytes: usize::try_from(bytes).expect("usize has at least 32 bits"),
        partitions,
        rate,
        warm_up: Duration::from_secs(arguments.warm_up),
        length: Duration::from_secs(arguments.seconds),
        patience: context.timeout(),
        stored_records: (arguments.megabytes * 1_000_000 / u64::from(bytes)).max(1),
    }
}

/// Runs one measurement on a topic of its own. The topic goes also when the measurement fails or is
/// interrupted.
async fn measure(plan: &Plan, workload: Workload, arguments: &Arguments) -> Result<Run, Failure> {
    let admin = Admin::new(plan.client.clone());
    let topic = NewTopic {
        name: plan.topic.clone(),
        partitions: Some(plan.partitions),
        replication: arguments.replication,
        settings: arguments.settings.clone(),
    };
    admin.create_topic(&topic, false).await?;
    let mut signals = stop_signals()?;
    let progress = Progress::start(workload.name(), plan);
    let outcome = tokio::select! {
        outcome = workload.run(plan, &progress) => outcome,
        _ = signals.received() => Err(Failure::new("interrupted")),
    };
    progress.finish();
    if !arguments.keep {
        let deleted = admin.delete_topic(&plan.topic).await;
        // What went wrong first is what has to be said.
        let run = outcome?;
        deleted.map_err(|error| {
            Failure::from(error).hint(format!("topic {} is left behind", plan.topic))
        })?;
        return Ok(run);
    }
    outcome
}
