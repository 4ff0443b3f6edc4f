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

use std::process::ExitCode;
use std::time::Duration;

use brooklet_client::{Address, Client, ClientConfig};
use clap::{Parser, Subcommand, ValueEnum};

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
    /// Broker to start from; several with commas
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
    /// Install plugins, bind them to topics, exchange them
    Plugin(command::plugin::Arguments),
    /// Create and delete views: topics that show another topic's records through plugins
    View(command::view::Arguments),
    /// Create, list, pause, resume, restart and delete connectors
    Connector(command::connector::Arguments),
    /// Measure what a broker can do
    Bench(command::bench::Arguments),
    /// Show what is in a segment or an index file
    Dump(command::dump::Arguments),
    /// Find every problem of a configuration file
    Check(command::check::Arguments),
    /// Print a completion script for a shell
    Completion(command::completion::Arguments),
}

/// What every command is given.
struct Context {
    global: Global,
    output: Output,
}

impl Context {
    /// A client of the cluster that `--broker` names.
    fn client(&self) -> Client {
        let mut config = ClientConfig::new(self.global.broker.clone());
        config.client_id = "brooklet-cli".to_owned();
        config.retry_timeout = self.timeout();
        config.request_timeout = self.timeout();
        config.connect_timeout = self.timeout().min(config.connect_timeout);
        Client::new(config)
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
    let Arguments { global, command } = Arguments::parse();
    let mut context = Context { global, output: Output::new() };
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
    match command {
        Command::Serve(_) => unreachable!("served above, on a runtime of its own"),
        Command::Topic(arguments) => runtime.block_on(command::topic::run(context, arguments)),
        Command::Produce(arguments) => runtime.block_on(command::produce::run(context, arguments)),
        Command::Consume(arguments) => runtime.block_on(command::consume::run(context, arguments)),
        Command::Group(arguments) => runtime.block_on(command::group::run(context, arguments)),
        Command::Plugin(arguments) => runtime.block_on(command::plugin::run(context, arguments)),
        Command::View(arguments) => runtime.block_on(command::view::run(context, arguments)),
        Command::Bench(arguments) => runtime.block_on(command::bench::run(context, arguments)),
        Command::Connector(arguments) => command::connector::run(context, arguments),
        Command::Dump(arguments) => command::dump::run(context, arguments),
        Command::Check(arguments) => command::check::run(context, arguments),
        Command::Completion(arguments) => command::completion::run(context, arguments),
    }
}
