//! A broker at the far end of a link: TLS and QUIC over the link, TCP for whoever is beside it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use crate::failure::{Failure, context};
use crate::link::BROKER;
use crate::plan::{Carrier, Congestion};
use crate::space::{Ended, FOLDER, Space, output_of};

/// For clients beside it.
pub(crate) const BESIDE: &str = "127.0.0.1:9092";
const TLS_PORT: u16 = 9093;
const QUIC_PORT: u16 = 9094;
/// A broker starts in a fraction of a second, and a busy machine is slow.
const START_MAX: Duration = Duration::from_secs(30);

/// A running broker.
pub(crate) struct Broker {
    _process: Ended,
    pin: String,
}

impl Broker {
    /// Starts `program` with nothing in it; what it sends over QUIC is controlled by `congestion`.
    pub(crate) fn start(
        space: &Space,
        program: &Path,
        congestion: Congestion,
    ) -> Result<Broker, Failure> {
        let pin = certificate(space, program)?;
        let file = format!(
            "(listeners: [\"tcp://{BESIDE}\", \"tls://{BROKER}:{TLS_PORT}\", \"quic://{BROKER}:{QUIC_PORT}\"],\n\
             advertised: [\"auto\", \"auto\", \"auto\"], data: \"{FOLDER}/data\", admin: \"none\",\n\
             tls: (certificate: \"{FOLDER}/server.pem\", key: \"{FOLDER}/server.key\"),\n\
             access: (public_unauthenticated: true), quic: (congestion: \"{}\"))\n",
            congestion.name()
        );
        fs::write(space.folder().join("broker.ron"), file).map_err(context("write broker.ron"))?;
        let log = fs::File::create(space.folder().join("log")).map_err(context("make a log"))?;
        let mut command = space.command(program);
        command.args(["serve", "--config", &format!("{FOLDER}/broker.ron")]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        let mut process = Ended(command.spawn().map_err(context("start the broker"))?);
        if !is_ready(&mut process.0) {
            let log = fs::read_to_string(space.folder().join("log")).unwrap_or_default();
            return Err(Failure(format!("the broker does not say that it is ready:\n{log}")));
        }
        Ok(Broker { _process: process, pin })
    }

    /// Where a client at the other end finds it.
    pub(crate) fn address(&self, carrier: Carrier) -> String {
        let (scheme, port) = match carrier {
            Carrier::Tls(_) => ("tls", TLS_PORT),
            Carrier::Quic(_) => ("quic", QUIC_PORT),
        };
        format!("{scheme}://{BROKER}:{port}?pin={}", self.pin)
    }
}

/// Has the program make a certificate, and returns its fingerprint.
fn certificate(space: &Space, program: &Path) -> Result<String, Failure> {
    let made = |what: &[&str]| {
        let mut command = space.command(program);
        output_of(command.args(["cert"]).args(what).args(["--folder", FOLDER]), START_MAX)
    };
    made(&["ca"])?;
    let said = made(&["server", BROKER])?;
    let pin = said.trim().rsplit_once("sha256=").map(|(_, pin)| pin.to_owned());
    pin.ok_or_else(|| Failure(format!("`brooklet cert server` says {said:?}, no fingerprint")))
}

/// Waits for the line that says so.
fn is_ready(process: &mut Child) -> bool {
    let output = process.stdout.take().expect("it was asked for");
    let (sender, receiver) = mpsc::channel();
    // Reads on until the broker ends, so that the broker never waits for us.
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            // Nobody listens after the first line.
            let _ = sender.send(line);
        }
    });
    receiver.recv_timeout(START_MAX).is_ok_and(|line| line.starts_with("ready "))
}
