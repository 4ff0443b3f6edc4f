//! `brooklet bench links`: what a client reaches over TCP, TLS and QUIC, beside what QUIC alone carries between two processes.
//!
//! **Where it sits.** Around `brooklet-measure`, which measures: the processes are started here, and the figures shown.

use std::path::{Path, PathBuf};
use std::time::Duration;

use brooklet_client::transport::Dialer;
use brooklet_client::{Address, Client, ClientConfig, Peer, TlsConfig};
use brooklet_io::Clock;
use brooklet_io::quic::{Congestion, QuicListener, QuicSettings};
use brooklet_io::tls::credentials::{Credentials, Purpose};
use brooklet_io::tls::handshake::Handshakes;
use brooklet_io::tls::{TlsFiles, issue};
use brooklet_measure::bare::{self, Bare};
use brooklet_measure::figures::{Figures, Latency, Throughput, Way};
use brooklet_measure::{MeasureError, Parties, Plan, measure};
use serde_json::json;

use super::process::{Folder, Process};
use crate::Context;
use crate::failure::Failure;

/// What QUIC is to reach of what it carries alone, and how far above TCP its latency may lie.
const SHARE_MIN: f64 = 0.8;
const ABOVE_TCP_MAX_US: f64 = 60.0;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How often each thing is measured; what is shown are medians
    #[arg(long, default_value = "7", value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// How long each measurement takes
    #[arg(long, default_value = "2", value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: u32,
    /// Bytes of a record's value
    #[arg(long, default_value = "1024", value_parser = clap::value_parser!(u32).range(1..=900_000))]
    bytes: u32,
    /// Partitions of the topic; several with commas
    #[arg(short, long, default_values = ["1", "6"], value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=1000))]
    partitions: Vec<u32>,
    /// Records per second whose latency is measured
    #[arg(long, default_value = "1000", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,
    /// Megabytes of the topic that is read again and again
    #[arg(long, default_value = "1000", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    megabytes: u32,
    /// Be the other end of QUIC alone, with a certificate in this folder
    #[arg(long, hide = true)]
    bare: Option<PathBuf>,
}

/// Measures everything, or is the other end of it.
pub(crate) async fn run(context: &mut Context, arguments: &Arguments) -> Result<(), Failure> {
    if let Some(folder) = &arguments.bare {
        return serve_bare(folder).await;
    }
    let folder = Folder::new()?;
    let (broker, bare) = start(&folder)?;
    let parties = parties(&broker, &bare).await?;
    let plan = Plan {
        rounds: arguments.rounds,
        length: Duration::from_secs(arguments.seconds.into()),
        bytes: usize::try_from(arguments.bytes).expect("usize has at least 32 bits"),
        partitions: arguments.partitions.clone(),
        rate: arguments.rate,
        megabytes: arguments.megabytes,
    };
    let told = |partitions, round| tracing::debug!(partitions, round, "measuring");
    let figures = Box::pin(measure(&parties, &plan, told)).await.map_err(failure)?;
    show(context, &figures)
}

fn failure(error: MeasureError) -> Failure {
    match error {
        MeasureError::Topic(error) => error.into(),
        MeasureError::Produce(error) => error.into(),
        MeasureError::Consume(error) => error.into(),
        other
        @ (MeasureError::Silent { .. } | MeasureError::Connect(_) | MeasureError::Bare(_)) => {
            Failure::new(other.to_string())
        }
    }
}

/// A broker, and the other end of QUIC alone, both with one certificate.
fn start(folder: &Folder) -> Result<(Process, Process), Failure> {
    let files = certificate(folder.path())?;
    let data = folder.path().join("data");
    let words = ["serve", "--admin", "off", "--log", "error"].map(AsRef::as_ref);
    let listen = ["tcp", "tls", "quic"].map(|scheme| format!("{scheme}://127.0.0.1:0"));
    let listen = listen.iter().flat_map(|url| ["--listen".as_ref(), url.as_ref()]);
    let options = [
        ("--data", data.as_path()),
        ("--certificate", files.certificate.as_path()),
        ("--key", files.key.as_path()),
    ];
    let options = options.iter().flat_map(|(name, path)| [name.as_ref(), path.as_os_str()]);
    let broker = Process::start(words.into_iter().chain(listen).chain(options))?;
    let words = ["bench", "links", "--bare"].map(AsRef::as_ref);
    let bare = Process::start(words.into_iter().chain([folder.path().as_os_str()]))?;
    Ok((broker, bare))
}

fn certificate(folder: &Path) -> Result<TlsFiles, Failure> {
    let made = issue::self_made(&folder.join("tls"), &Clock::start());
    made.map_err(|error| Failure::new(error.to_string()))
}

async fn parties(broker: &Process, bare: &Process) -> Result<Parties, Failure> {
    let [tcp, tls, quic] = &broker.addresses[..] else {
        return Err(Failure::new("the broker does not listen as it was told to"));
    };
    let [bare] = &bare.addresses[..] else {
        return Err(Failure::new("the other end does not listen"));
    };
    // Nobody has issued the certificate, so it is known by its digest.
    let client = |address: &Address| {
        let address = Address { pin: bare.pin.clone(), ..address.clone() };
        let mut config = ClientConfig::new(vec![address]);
        config.client_id = "brooklet-bench".to_owned();
        Client::new(config)
    };
    let pins = bare.pin.iter().cloned().collect();
    let dialer = Dialer::new(TlsConfig::default(), pins);
    let peer = Peer { address: bare.clone(), id: None };
    let connected = Bare::connect(&dialer, &peer).await;
    Ok(Parties {
        tcp: client(tcp),
        tls: client(tls),
        quic: client(quic),
        bare: connected.map_err(|error| Failure::new(error.to_string()))?,
    })
}

/// The other end, until it is killed.
async fn serve_bare(folder: &Path) -> Result<(), Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::new(error.to_string());
    let files = certificate(folder)?;
    let credentials = Credentials::open(files, Purpose::Quic).map_err(|error| failed(&error))?;
    let pin = credentials.current().fingerprint;
    let settings = QuicSettings {
        congestion: Congestion::Cubic,
        streams_max: 1000,
        idle_max: Duration::from_secs(60),
    };
    let handshakes = Handshakes::default();
    let on = tokio::runtime::Handle::current();
    let listener =
        QuicListener::bind("127.0.0.1", 0, credentials, &settings, handshakes, &on).await;
    let listener = listener.map_err(|error| failed(&error))?;
    let line = format!("ready quic://{}?pin={pin}\n", listener.local());
    std::io::Write::write_all(&mut std::io::stdout().lock(), line.as_bytes())
        .map_err(|error| failed(&error))?;
    bare::serve(listener).await;
    Ok(())
}

fn show(context: &mut Context, figures: &Figures) -> Result<(), Failure> {
    if context.is_json() {
        for one in &figures.throughputs {
            context.output.json(&throughput_json(one))?;
        }
        for one in &figures.latencies {
            context.output.json(&latency_json(one))?;
        }
        return context.output.flush();
    }
    const THROUGHPUTS: [&str; 8] =
        ["WORKLOAD", "PARTITIONS", "TCP", "TLS", "QUIC", "QUINN ALONE", "QUIC/ALONE", "REACHED"];
    let rows = figures.throughputs.iter().map(throughput_row).collect();
    context.output.table(&THROUGHPUTS, rows)?;
    context.output.line("")?;
    const LATENCIES: [&str; 9] = [
        "PARTITIONS",
        "TCP P50",
        "TCP P99",
        "TLS P50",
        "TLS P99",
        "QUIC P50",
        "QUIC P99",
        "ABOVE TCP",
        "REACHED",
    ];
    context.output.table(&LATENCIES, figures.latencies.iter().map(latency_row).collect())?;
    context.output.line("")?;
    context.output.line(&format!(
        "MB/s are 10^6 bytes of values a second, times µs from when a record was due until it was acknowledged; all are \
         medians over rounds, and the ratio is that of ratios within a round. Aims: {SHARE_MIN} of quinn alone, p50 \
         {ABOVE_TCP_MAX_US} µs above TCP's."
    ))
}

fn throughput_row(one: &Throughput) -> Vec<String> {
    let share = one.share(Way::Quic);
    let mut row = vec![one.workload.name().to_owned(), one.partitions.to_string()];
    row.extend(Way::ALL.map(|way| format!("{:.0}", one.of(way))));
    row.extend([format!("{:.0}", one.bare()), format!("{share:.2}"), reached(share >= SHARE_MIN)]);
    row
}

fn latency_row(one: &Latency) -> Vec<String> {
    let above = one.above_tcp(Way::Quic);
    let mut row = vec![one.partitions.to_string()];
    for way in Way::ALL {
        row.extend([one.p50(way), one.p99(way)].map(|time| format!("{time:.0}")));
    }
    row.extend([format!("{above:.0}"), reached(above <= ABOVE_TCP_MAX_US)]);
    row
}

fn reached(is_reached: bool) -> String {
    if is_reached { "yes" } else { "no" }.to_owned()
}

fn throughput_json(one: &Throughput) -> serde_json::Value {
    json!({
        "workload": one.workload.name(),
        "partitions": one.partitions,
        "tcp": one.of(Way::Tcp),
        "tls": one.of(Way::Tls),
        "quic": one.of(Way::Quic),
        "quinn_alone": one.bare(),
        "quic_share": one.share(Way::Quic),
        "at_least": SHARE_MIN,
    })
}

fn latency_json(one: &Latency) -> serde_json::Value {
    let times = Way::ALL.map(|way| {
        let times = json!({ "p50": one.p50(way), "p99": one.p99(way) });
        (way.name().to_owned(), times)
    });
    json!({
        "workload": "latency_us",
        "partitions": one.partitions,
        "times": serde_json::Map::from_iter(times),
        "quic_above_tcp": one.above_tcp(Way::Quic),
        "at_most": ABOVE_TCP_MAX_US,
    })
}
