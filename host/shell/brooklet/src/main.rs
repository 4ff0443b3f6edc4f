//! The program: one binary, all commands.
//!
//! **Where it sits.** On top of everything. `serve` is the broker; every other command talks to a
//! broker as any client would, through `brooklet-client`, or reads files.
//!
//! **Exit codes.** 0 done, 1 failed, 2 wrong usage, 3 what was named does not exist.

mod command;
mod connectors;
mod failure;
mod output;
mod plugins;
mod stock;
mod web;

use std::cell::OnceCell;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use brooklet_client::{
    Address, Client, ClientConfig, IdentityFiles, SaslConfig, SaslMechanism, TlsConfig,
};
use clap::{Parser, Subcommand, ValueEnum};
use tokio::runtime::Runtime;

use failure::Failure;
use output::Output;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// An event-streaming broker that speaks the Kafka protocol, and the tools around it.
#[derive(Parser)]
#[command(name = "brooklet", version, propagate_version = true)]
struct Arguments {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Options every command has.
#[derive(clap::Args)]
#[command(next_help_heading = "Options of every command")]
struct Global {
    /// Broker to start from, also tls:// and quic://, with ?pin=SHA256 of its certificate; several with commas
    #[arg(
        short,
        long,
        global = true,
        env = "BROOKLET_BROKER",
        default_value = "127.0.0.1:9092",
        value_delimiter = ',',
        value_name = "HOST:PORT"
    )]
    broker: Vec<Address>,
    /// Authorities whose brokers are believed over TLS and QUIC (PEM), instead of those this machine trusts
    #[arg(long, global = true, env = "BROOKLET_TLS_CA", value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// Certificate to show to a broker (PEM), with --tls-key
    #[arg(long, global = true, env = "BROOKLET_TLS_CERT", value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// Its key (PEM)
    #[arg(long, global = true, env = "BROOKLET_TLS_KEY", value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// User to log in as, with --sasl-password-file
    #[arg(long, global = true, env = "BROOKLET_SASL_USER", value_name = "NAME")]
    sasl_user: Option<String>,
    /// File with the user's password
    #[arg(long, global = true, env = "BROOKLET_SASL_PASSWORD_FILE", value_name = "FILE")]
    sasl_password_file: Option<PathBuf>,
    /// How to log in: SCRAM-SHA-512, SCRAM-SHA-256, PLAIN, which tells the broker the password, or OAUTHBEARER with a token in
    /// its place
    #[arg(
        long,
        global = true,
        env = "BROOKLET_SASL_MECHANISM",
        default_value = "SCRAM-SHA-512",
        value_name = "MECHANISM"
    )]
    sasl_mechanism: SaslMechanism,
    /// How results are written
    #[arg(long, global = true, value_enum, default_value = "text")]
    format: Format,
    /// Seconds an operation may take, retries included
    #[arg(long, global = true, default_value = "30", value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    timeout: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// For programs
    Json,
}

#[derive(Subcommand)]
enum Command {
    /// Run a broker
    Serve(command::serve::Arguments),
    /// Create, list, describe, alter and delete topics
    Topic(command::topic::Arguments),
    /// Send records from a file or standard input
    Produce(command::produce::Arguments),
    /// Read records
    Consume(command::consume::Arguments),
    /// List, describe, reset and delete consumer groups
    Group(command::group::Arguments),
    /// Create, list and delete users who log in by a password
    User(command::user::Arguments),
    /// Limit what users, clients and addresses may take
    Quota(command::quota::Arguments),
    /// Say who may do what: create, list, delete rules
    Acl(command::acl::Arguments),
    /// Install plugins, bind them to topics, exchange them
    Plugin(command::plugin::Arguments),
    /// Create and delete views: topics that show another topic's records through plugins
    View(command::view::Arguments),
    /// Create, list, pause, resume, restart and delete connectors
    Connector(command::connector::Arguments),
    /// Begin a cluster, let brokers join and leave it, see how it is, move what it keeps
    Cluster(command::cluster::Arguments),
    /// Carry clients that know only TCP to brokers over QUIC
    Tunnel(command::tunnel::Arguments),
    /// Measure what a broker can do
    Bench(command::bench::Arguments),
    /// Show what is in a segment or an index file
    Dump(command::dump::Arguments),
    /// Make certificates for development
    Cert(command::cert::Arguments),
    /// Find every problem of a configuration file
    Check(command::check::Arguments),
    /// Print a completion script for a shell
    Completion(command::completion::Arguments),
}

impl Global {
    /// Whom to log in as, if anybody.
    fn sasl(&self) -> Result<Option<SaslConfig>, Failure> {
        match (&self.sasl_user, &self.sasl_password_file) {
            (None, None) => Ok(None),
            (Some(user), Some(file)) => {
                let (user, mechanism) = (user.clone(), self.sasl_mechanism);
                let password = command::password::source(file)?;
                Ok(Some(SaslConfig { mechanism, user, password }))
            }
            // A token says itself whose it is.
            (None, Some(file)) if self.sasl_mechanism == SaslMechanism::OauthBearer => {
                let (user, mechanism) = (String::new(), self.sasl_mechanism);
                let password = command::password::source(file)?;
                Ok(Some(SaslConfig { mechanism, user, password }))
            }
            (Some(_), None) | (None, Some(_)) => {
                Err(Failure::usage("--sasl-user and --sasl-password-file belong together"))
            }
        }
    }
}

/// What every command is given.
struct Context {
    global: Global,
    /// Whom to log in as.
    sasl: Option<SaslConfig>,
    output: Output,
    /// The client that was made, to take leave with.
    client: OnceCell<Client>,
}

impl Context {
    /// A client of the cluster that `--broker` names.
    fn client(&self) -> Client {
        self.client.get_or_init(|| self.new_client()).clone()
    }

    fn new_client(&self) -> Client {
        let mut config = ClientConfig::new(self.global.broker.clone());
        config.tls = self.tls();
        config.sasl.clone_from(&self.sasl);
        config.client_id = "brooklet-cli".to_owned();
        config.retry_timeout = self.timeout();
        config.request_timeout = self.timeout();
        config.connect_timeout = self.timeout().min(config.connect_timeout);
        Client::new(config)
    }

    /// Whom we believe over TLS and QUIC, and who we say we are.
    fn tls(&self) -> TlsConfig {
        let identity = self.global.tls_cert.clone().zip(self.global.tls_key.clone());
        let identity = identity.map(|(certificate, key)| IdentityFiles { certificate, key });
        TlsConfig { authorities: self.global.tls_ca.clone(), identity, ..TlsConfig::default() }
    }

    fn timeout(&self) -> Duration {
        Duration::from_secs(self.global.timeout)
    }

    /// Says what has happened to what.
    fn say(&mut self, name: &str, what: &str) -> Result<(), Failure> {
        if self.is_json() {
            self.output.json(&serde_json::json!({ "name": name, "result": what }))
        } else {
            self.output.line(&format!("{name} {what}"))
        }
    }

    fn is_json(&self) -> bool {
        self.global.format == Format::Json
    }
}

fn main() -> ExitCode {
    brooklet_io::memory::take_small_pages();
    let Arguments { global, command } = Arguments::parse();
    if global.tls_cert.is_some() != global.tls_key.is_some() {
        let failure = Failure::usage("--tls-cert and --tls-key belong together");
        return failure.report(global.format == Format::Json);
    }
    let sasl = match global.sasl() {
        Ok(sasl) => sasl,
        Err(failure) => return failure.report(global.format == Format::Json),
    };
    let mut context = Context { global, sasl, output: Output::new(), client: OnceCell::new() };
    let outcome = run(&mut context, command).and_then(|()| context.output.flush());
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(context.is_json()),
    }
}

fn run(context: &mut Context, command: Command) -> Result<(), Failure> {
    if let Command::Serve(arguments) = command {
        return command::serve::run(arguments, context.is_json());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(format!("start threads: {error}")))?;
    let outcome = carry_out(context, &runtime, command);
    if let Some(client) = context.client.get() {
        runtime.block_on(client.close());
    }
    outcome
}

fn carry_out(context: &mut Context, runtime: &Runtime, command: Command) -> Result<(), Failure> {
    match command {
        Command::Serve(_) => unreachable!("served above, on a runtime of its own"),
        Command::Topic(arguments) => runtime.block_on(command::topic::run(context, arguments)),
        Command::Produce(arguments) => runtime.block_on(command::produce::run(context, arguments)),
        Command::Consume(arguments) => runtime.block_on(command::consume::run(context, arguments)),
        Command::Group(arguments) => runtime.block_on(command::group::run(context, arguments)),
        Command::Quota(arguments) => runtime.block_on(command::quota::run(context, arguments)),
        Command::Acl(arguments) => runtime.block_on(command::acl::run(context, arguments)),
        Command::User(arguments) => runtime.block_on(command::user::run(context, arguments)),
        Command::Plugin(arguments) => runtime.block_on(command::plugin::run(context, arguments)),
        Command::Cluster(arguments) => runtime.block_on(command::cluster::run(context, arguments)),
        Command::View(arguments) => runtime.block_on(command::view::run(context, arguments)),
        Command::Tunnel(arguments) => runtime.block_on(command::tunnel::run(context, arguments)),
        Command::Bench(arguments) => runtime.block_on(command::bench::run(context, arguments)),
        Command::Connector(arguments) => command::connector::run(context, arguments),
        Command::Dump(arguments) => command::dump::run(context, arguments),
        Command::Cert(arguments) => command::cert::run(context, arguments),
        Command::Check(arguments) => command::check::run(context, arguments),
        Command::Completion(arguments) => command::completion::run(context, arguments),
    }
}
