//! `brooklet tunnel`: TCP in, QUIC out, for clients that know only TCP.

use std::io::Write;
use std::time::Duration;

use brooklet_client::Address;
use brooklet_tunnel::{Config, Ready, TunnelError};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::serve::{LogFormat, start_logging};
use super::stop_signals;
use crate::Context;
use crate::failure::Failure;

/// The longest that one way to a broker may take to be made: clients wait for it without a word from us.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// Where clients come in, and where they are taken.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Where clients connect first; brokers have the ports behind it, or free ones. Port 0 takes a free one
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9092")]
    listen: String,
    /// Broker to start from, such as quic://HOST:PORT?pin=SHA256; several with commas
    #[arg(long, required = true, value_delimiter = ',', value_name = "quic://HOST:PORT")]
    to: Vec<Address>,
    /// What is logged: error, warn, info, debug, trace, or tracing's own filters
    #[arg(long, value_name = "FILTER", env = "BROOKLET_LOG", default_value = "info")]
    log: String,
    /// How it is logged
    #[arg(long, value_enum, default_value = "text")]
    log_format: LogFormat,
}

/// Carries clients until SIGTERM or SIGINT.
pub(crate) async fn run(context: &mut Context, arguments: Arguments) -> Result<(), Failure> {
    start_logging(&arguments.log, arguments.log_format)?;
    brooklet_io::tcp::raise_open_files();
    let listen = arguments.listen.strip_prefix("tcp://").unwrap_or(&arguments.listen).to_owned();
    if listen.contains("://") {
        let message = format!("--listen {listen}: clients of a tunnel come in over TCP");
        return Err(Failure::usage(message));
    }
    let connect_timeout = context.timeout().min(CONNECT_MAX);
    let config = Config { listen, to: arguments.to, tls: context.tls(), connect_timeout };
    let mut signals = stop_signals()?;
    let stop = CancellationToken::new();
    let on_signal = stop.clone();
    tokio::spawn(async move {
        let signal = signals.received().await;
        tracing::info!(signal, "asked to stop");
        on_signal.cancel();
    });
    let as_json = context.is_json();
    let ran = brooklet_tunnel::run(config, stop, |ready| announce(ready, as_json)).await;
    ran.map_err(|error| explained(&error))
}

/// The one line on standard output: what scripts wait for.
fn announce(ready: &Ready, as_json: bool) {
    let doors: Vec<String> = ready.doors.iter().map(|door| format!("tcp://{door}")).collect();
    let line = if as_json {
        json!({ "ready": doors }).to_string()
    } else {
        format!("ready {}", doors.join(" "))
    };
    let mut output = std::io::stdout().lock();
    // Nobody reading is no reason not to carry.
    let _ = writeln!(output, "{line}");
    let _ = output.flush();
}

fn explained(error: &TunnelError) -> Failure {
    let failure = Failure::new(error.to_string());
    match error {
        TunnelError::Resolve { .. } => failure.hint("--listen takes HOST:PORT"),
        TunnelError::Listen { .. } => failure.hint("choose another port with --listen"),
    }
}
