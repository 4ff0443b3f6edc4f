//! `brooklet serve`: run a broker.

use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use brooklet_broker::config::{Address, Config, SaslConfig, client_auth};
use brooklet_broker::{InnerDoor, Ready, RunError, Serving};
use brooklet_client::transport::{Opening, Reader, Way, Writer};
use brooklet_connect::Connectors;
use brooklet_io::tls::{ClientAuth, TlsFiles};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use super::stop_signals;
use crate::failure::Failure;

const LISTEN_HINT: &str = "name a certificate with --certificate and --key, and with --client-ca who may come in; `brooklet \
                           cert` makes some for development. With --public-unauthenticated everybody may";

/// What to serve. Everything has a default; options win over the file.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Configuration file (RON)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder for all data
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Where clients connect, such as tcp://127.0.0.1:9092, tls:// or quic://; port 0 takes a free one
    #[arg(long, value_name = "tcp://HOST:PORT")]
    listen: Vec<String>,
    /// Certificate of listeners that have none of their own (PEM); read again when it changes
    #[arg(long, value_name = "FILE", requires = "key")]
    certificate: Option<PathBuf>,
    /// The certificate's key (PEM)
    #[arg(long, value_name = "FILE", requires = "certificate")]
    key: Option<PathBuf>,
    /// Whose clients' certificates are taken (PEM)
    #[arg(long, value_name = "FILE", requires = "certificate")]
    client_ca: Option<PathBuf>,
    /// Whether clients need a certificate; `required` unless said, with --client-ca
    #[arg(long, value_name = "WHO", requires = "client_ca", value_parser = ["requested", "required"])]
    client_auth: Option<String>,
    /// Ask clients of --listen who they are, by PLAIN, SCRAM-SHA-256, SCRAM-SHA-512; several with commas
    #[arg(long, requires = "listen", value_delimiter = ',', value_name = "MECHANISM")]
    sasl: Vec<String>,
    /// Let --listen be reached by other machines although it asks nobody who they are
    #[arg(long, requires = "listen")]
    public_unauthenticated: bool,
    /// Where probes and metrics are, or `off`
    #[arg(long, value_name = "HOST:PORT")]
    admin: Option<String>,
    /// What is logged: error, warn, info, debug, trace, or tracing's own filters
    #[arg(long, value_name = "FILTER", env = "BROOKLET_LOG", default_value = "info")]
    log: String,
    /// How it is logged
    #[arg(long, value_enum, default_value = "text")]
    log_format: LogFormat,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum LogFormat {
    /// For people
    Text,
    /// For programs
    Json,
}

/// Runs a broker until SIGTERM or SIGINT.
pub(crate) fn run(arguments: Arguments, as_json: bool) -> Result<(), Failure> {
    start_logging(&arguments.log, arguments.log_format)?;
    let config = configuration(&arguments)?;
    brooklet_io::tcp::raise_open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(format!("start threads: {error}")))?;
    runtime.block_on(async {
        let stop = CancellationToken::new();
        let mut signals = stop_signals()?;
        let on_signal = stop.clone();
        let connectors: Arc<OnceLock<Arc<Connectors>>> = Arc::default();
        let ending = Arc::clone(&connectors);
        tokio::spawn(async move {
            let signal = signals.received().await;
            tracing::info!(signal, "asked to stop");
            // While the broker still takes what they have to say.
            if let Some(connectors) = ending.get() {
                connectors.stop().await;
            }
            on_signal.cancel();
        });
        let announce = |serving: &Ready| {
            announce(serving, as_json);
            if let Some(connectors) = connectors.get() {
                start_connectors(Arc::clone(connectors), serving);
            }
            brooklet_io::memory::give_back_program();
        };
        let extend = |config: &Config| {
            let (extensions, opened) = crate::plugins::open(config)?;
            connectors.get_or_init(|| opened);
            Ok(extensions)
        };
        let ran = brooklet_broker::run_extended(config, extend, stop, announce).await;
        ran.map_err(|error| explained(&error))
    })
}

/// Connectors are clients in the broker's own process: no listener has to let them in, and none asks who they are.
fn start_connectors(connectors: Arc<Connectors>, serving: &Ready) {
    let Serving { address, .. } = serving.listeners.first().expect("the configuration has one");
    let (ip, port) = (address.ip().to_string(), address.port());
    let broker = brooklet_client::Address::new(brooklet_client::Transport::Tcp, ip, port);
    let way = Arc::new(Inner(serving.inner.clone()));
    tokio::spawn(async move { connectors.start(broker, way).await });
}

/// The way from a client of ours to the broker around it.
#[derive(Debug)]
struct Inner(InnerDoor);

impl Way for Inner {
    fn open<'a>(&'a self, _: &'a brooklet_client::Address) -> Opening<'a> {
        Box::pin(async {
            let (reader, writer) = tokio::io::split(self.0.enter()?);
            let reader: Reader = Box::new(reader);
            Ok((reader, Writer::socket(writer)))
        })
    }
}

/// The one line on standard output: what scripts wait for.
fn announce(serving: &Ready, as_json: bool) {
    let Ready { listeners, admin, node, cluster_id, .. } = serving;
    let listeners: Vec<String> = listeners.iter().map(ToString::to_string).collect();
    if let Some(admin) = admin {
        tracing::info!("metrics and probes at http://{admin}");
    }
    let line = if as_json {
        let cluster = cluster_id.to_string();
        json!({ "ready": listeners, "node": node.0, "cluster": cluster }).to_string()
    } else {
        format!("ready {} node={node} cluster={cluster_id}", listeners.join(" "))
    };
    let mut output = std::io::stdout().lock();
    // Nobody reading is no reason not to serve.
    let _ = writeln!(output, "{line}");
    let _ = output.flush();
}

fn configuration(arguments: &Arguments) -> Result<Config, Failure> {
    let mut config = match &arguments.config {
        None => Config::default(),
        Some(path) => {
            let name = path.display().to_string();
            let text = std::fs::read_to_string(path)
                .map_err(|error| Failure::file("read", path, &error))?;
            Config::read(&name, &text).map_err(|error| Failure::new(error.to_string()))?
        }
    };
    if let Some(data) = &arguments.data {
        config.data.clone_from(data);
    }
    if let (Some(certificate), Some(key)) = (&arguments.certificate, &arguments.key) {
        let asked = arguments.client_auth.as_deref().unwrap_or("required");
        let client_auth = match &arguments.client_ca {
            None => Some(ClientAuth::None),
            Some(authorities) => client_auth(asked, authorities.clone()),
        };
        config.tls = Some(TlsFiles {
            certificate: certificate.clone(),
            key: key.clone(),
            client_auth: client_auth.expect("the parser takes no other"),
        });
    }
    if arguments.public_unauthenticated {
        config.access.public_unauthenticated = true;
    }
    if !arguments.listen.is_empty() {
        let parsed = arguments.listen.iter().map(|text| {
            Address::parse(text)
                .map_err(|error| Failure::usage(format!("--listen {text}: {error}")))
        });
        let addresses = parsed.collect::<Result<_, _>>()?;
        let sasl = match &arguments.sasl[..] {
            [] => None,
            names => Some(
                SaslConfig::of(names)
                    .map_err(|wrong| Failure::usage(format!("--sasl: {}", wrong.join("; "))))?,
            ),
        };
        config
            .listen("--listen", addresses, sasl.as_ref())
            .map_err(|error| Failure::usage(error.to_string()).hint(LISTEN_HINT))?;
    }
    match arguments.admin.as_deref() {
        None => {}
        Some("off") => config.admin = None,
        Some(text) => {
            let parsed = text.parse();
            let parsed =
                parsed.map_err(|error| Failure::usage(format!("--admin {text}: {error}")))?;
            config.admin = Some(parsed);
        }
    }
    Ok(config)
}

/// Logs to standard error from now on.
pub(super) fn start_logging(log: &str, format: LogFormat) -> Result<(), Failure> {
    let filter =
        EnvFilter::try_new(log).map_err(|error| Failure::usage(format!("--log {log}: {error}")))?;
    // What it warns of, each request of a plugin that was not answered, is said by the plugin and its connector.
    let quiet = "wasmtime_wasi_http=error".parse().expect("a directive");
    let filter = filter.add_directive(quiet);
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()));
    match format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().init(),
    }
    Ok(())
}

fn explained(error: &RunError) -> Failure {
    let failure = Failure::new(error.to_string());
    match error {
        RunError::Folder(_) | RunError::Start(_) | RunError::Identity | RunError::Disk(_) => {
            failure
        }
        RunError::Belonging(_) | RunError::OtherCluster { .. } | RunError::NotEmpty => failure,
        RunError::OtherBroker { .. } => failure
            .hint("a broker has one number for as long as it has its data: leave node_id away"),
        RunError::Cluster(_) => {
            failure.hint("`brooklet cluster status` shows who is in the cluster")
        }
        RunError::Users(_) | RunError::Keys(_) | RunError::Admin(_) | RunError::Extension(_) => {
            failure
        }
        RunError::Tls { .. } => failure.hint("`brooklet cert` makes certificates for development"),
        RunError::Listen(_) => failure.hint("choose another port with --listen or --admin"),
    }
}
