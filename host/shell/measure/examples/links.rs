//! The measurement without the program around it, for profilers: this binary once more is the broker, with a bare connection
//! beside it.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use brooklet_broker::config::Config;
use brooklet_client::transport::Dialer;
use brooklet_client::{Address, Client, ClientConfig, Peer, TlsConfig};
use brooklet_hook::NoHooks;
use brooklet_io::Clock;
use brooklet_io::quic::{Congestion, QuicListener, QuicSettings};
use brooklet_io::tls::credentials::{Credentials, Purpose};
use brooklet_io::tls::handshake::Handshakes;
use brooklet_io::tls::issue;
use brooklet_measure::bare::{Bare, serve};
use brooklet_measure::figures::{Figures, Way};
use brooklet_measure::{Parties, Plan, measure};
use tokio_util::sync::CancellationToken;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Failed = Box<dyn std::error::Error>;

fn main() -> Result<(), Failed> {
    let runtime = tokio::runtime::Runtime::new()?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["broker", folder] => runtime.block_on(broker(folder)),
        [] => runtime.block_on(compare("5", "2", "1,6")),
        [rounds, seconds, partitions] => runtime.block_on(compare(rounds, seconds, partitions)),
        _ => Err("links [ROUNDS SECONDS PARTITIONS,…]".into()),
    }
}

/// A broker, and beside it whoever takes bytes that are no Kafka.
async fn broker(folder: &str) -> Result<(), Failed> {
    let folder = std::path::Path::new(folder);
    let files = issue::self_made(&folder.join("bare"), &Clock::start())?;
    let (pem, key) = (files.certificate.display().to_string(), files.key.display().to_string());
    let credentials = Credentials::open(files, Purpose::Quic)?;
    let pin = credentials.current().fingerprint;
    let settings = QuicSettings {
        congestion: Congestion::Cubic,
        streams_max: 256,
        idle_max: Duration::from_secs(60),
    };
    let listener =
        QuicListener::bind("127.0.0.1", 0, credentials, &settings, Handshakes::default()).await?;
    let bare = listener.local();
    tokio::spawn(serve(listener));
    let urls = ["tcp", "tls", "quic"].map(|scheme| format!("{scheme}://127.0.0.1:0"));
    let data = folder.join("data").display().to_string();
    let text = format!(
        "(data: {data:?}, listeners: {urls:?}, admin: \"none\", tls: (certificate: {pem:?}, key: {key:?}))"
    );
    let config = Config::read("links", &text)?;
    let stop = CancellationToken::new();
    brooklet_broker::run(config, Arc::new(NoHooks), stop, |ready| {
        let all: Vec<String> = ready.listeners.iter().map(ToString::to_string).collect();
        let [tcp, tls, quic] = &all[..] else { unreachable!("there are three listeners") };
        eprintln!("ready {tcp} {tls}?pin={pin} {quic}?pin={pin} quic://{bare}?pin={pin}");
    })
    .await?;
    Ok(())
}

/// Ends with the measurement.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

async fn compare(rounds: &str, seconds: &str, partitions: &str) -> Result<(), Failed> {
    let partitions = partitions.split(',').map(str::parse).collect::<Result<Vec<u32>, _>>()?;
    let plan = Plan {
        rounds: rounds.parse()?,
        length: Duration::from_secs_f64(seconds.parse()?),
        bytes: 1024,
        partitions,
        rate: 1000,
        megabytes: 200,
    };
    let folder = tempfile::tempdir()?;
    let mut child = Command::new(std::env::current_exe()?)
        .arg("broker")
        .arg(folder.path())
        .stderr(Stdio::piped())
        .spawn()?;
    let output = child.stderr.take().ok_or("no pipe")?;
    let _running = Running(child);
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line)?;
    let addresses = line.split_whitespace().skip(1).map(str::parse::<Address>);
    let addresses = addresses.collect::<Result<Vec<_>, _>>()?;
    let [tcp, tls, quic, bare] = &addresses[..] else { return Err(line.into()) };
    let pins = bare.pin.iter().cloned().collect();
    let dialer = Dialer::new(TlsConfig::default(), pins);
    let peer = Peer { address: bare.clone(), id: None };
    let client = |address: &Address| Client::new(ClientConfig::new(vec![address.clone()]));
    let parties = Parties {
        tcp: client(tcp),
        tls: client(tls),
        quic: client(quic),
        bare: Bare::connect(&dialer, &peer).await?,
    };
    let told = |partitions, round| eprintln!("{partitions} partitions, round {round}");
    show(&Box::pin(measure(&parties, &plan, told)).await?);
    Ok(())
}

fn show(figures: &Figures) {
    for one in &figures.throughputs {
        let [tcp, tls, quic] = Way::ALL.map(|way| one.of(way));
        eprintln!(
            "{} {}: tcp {tcp:.0} tls {tls:.0} quic {quic:.0} bare {:.0} MB/s, quic/bare {:.2} tls/bare {:.2}",
            one.workload.name(),
            one.partitions,
            one.bare(),
            one.share(Way::Quic),
            one.share(Way::Tls),
        );
    }
    for one in &figures.latencies {
        let [tcp, tls, quic] = Way::ALL.map(|way| (one.p50(way), one.p99(way)));
        eprintln!(
            "latency {}: p50/p99 µs tcp {tcp:.0?} tls {tls:.0?} quic {quic:.0?}, quic above tcp {:.0}",
            one.partitions,
            one.above_tcp(Way::Quic),
        );
    }
}
