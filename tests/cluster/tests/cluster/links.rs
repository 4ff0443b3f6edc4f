//! The flights over TLS, mutual TLS and QUIC, with certificates that `brooklet cert` has made, and a certificate that
//! is exchanged while a client goes on.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use brooklet_client::{Client, ClientConfig, TlsConfig};
use brooklet_cluster::Broker;

use super::command::{Cli, Said};

/// The flights, and what each becomes as a record.
const FLIGHTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/flights/flights.csv");
/// Files are looked at every ten seconds.
const EXCHANGED_MAX: Duration = Duration::from_secs(30);

/// Certificates in a folder, made by the program.
struct Papers {
    folder: tempfile::TempDir,
    cli: Cli,
}

impl Papers {
    fn new() -> Papers {
        let papers = Papers { folder: tempfile::tempdir().unwrap(), cli: Cli::without_broker() };
        papers.make(&["ca"]);
        papers.make(&["server"]);
        papers
    }

    /// `brooklet cert` with these arguments; gives the fingerprint.
    fn make(&self, arguments: &[&str]) -> String {
        let folder = self.folder.path().display().to_string();
        let all = [&["cert"], arguments, &["--folder", &folder]].concat();
        let Said { stdout, .. } = self.cli.run(&all);
        stdout.trim().rsplit("sha256=").next().unwrap().to_owned()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// A broker that also listens on TLS and QUIC, with the certificate of the folder.
    fn broker(&self, more: &[&str]) -> Broker {
        let mut builder = Broker::builder();
        for listener in ["tls://127.0.0.1:0", "quic://127.0.0.1:0"] {
            builder = builder.argument("--listen").argument(listener);
        }
        let (pem, key) = (self.text("server.pem"), self.text("server.key"));
        for argument in ["--certificate", &pem, "--key", &key].iter().chain(more) {
            builder = builder.argument(*argument);
        }
        // Half of an exchange is a warning, until the other half is there.
        builder.expect_log("certificate not exchanged").start()
    }
}

/// The listener of that transport in the line that a broker is ready with.
fn address(broker: &Broker, transport: &str) -> String {
    let start = format!("{transport}://");
    let found = broker.ready_line().split(' ').find(|word| word.starts_with(&start));
    found.unwrap_or_else(|| panic!("no {transport} in {}", broker.ready_line())).to_owned()
}

/// Creates a topic, sends the flights to it and reads all of them again.
#[track_caller]
fn fly(cli: &Cli, address: &str, topic: &str, trust: &[&str]) {
    cli.run(&[&["-b", address, "topic", "create", topic], trust].concat());
    let mut produce = vec!["-b", address, "produce", topic, "--input", "csv", FLIGHTS];
    produce.extend(["--value", "raw", "--key-column", "tailnum"]);
    cli.run(&[&produce, trust].concat());
    let consume = ["-b", address, "consume", topic, "--from", "start", "--template", "%v\n"];
    let said = cli.run(&[&consume, trust].concat());
    let rows = std::fs::read_to_string(FLIGHTS).unwrap();
    let mut sent: Vec<&str> = rows.lines().skip(1).collect();
    let mut read: Vec<&str> = said.stdout.lines().collect();
    sent.sort_unstable();
    read.sort_unstable();
    assert!(!sent.is_empty());
    assert_eq!(read, sent, "over {address}");
}

#[test]
fn flights_pass_over_tls_and_quic() {
    let papers = Papers::new();
    let broker = papers.broker(&[]);
    let trust = ["--tls-ca", &papers.text("ca.pem")];
    for transport in ["tls", "quic"] {
        let address = address(&broker, transport);
        fly(&papers.cli, &address, transport, &trust);
        // Nobody on this machine knows the authority.
        let said = papers.cli.ends(1, &["-b", &address, "topic", "list"]);
        assert!(said.stderr.contains("handshake"), "{}", said.stderr);
    }
    // The key is nobody else's, and what is there stays.
    let mode = |name: &str| std::fs::metadata(papers.path(name)).unwrap().permissions().mode();
    assert_eq!((mode("ca.key") & 0o777, mode("server.key") & 0o777), (0o600, 0o600));
    let folder = papers.folder.path().display().to_string();
    let said = papers.cli.ends(1, &["cert", "server", "--folder", &folder]);
    assert!(said.stderr.contains("server.pem is there already"), "{}", said.stderr);
    assert!(broker.stop().success());
}

#[test]
fn flights_pass_over_mutual_tls_for_whoever_has_a_certificate() {
    let papers = Papers::new();
    papers.make(&["client", "tower"]);
    let (ca, pem, key) =
        (papers.text("ca.pem"), papers.text("tower.pem"), papers.text("tower.key"));
    let broker = papers.broker(&["--client-ca", &ca]);
    for transport in ["tls", "quic"] {
        let address = address(&broker, transport);
        let own = ["--tls-ca", &ca, "--tls-cert", &pem, "--tls-key", &key];
        fly(&papers.cli, &address, transport, &own);
        let said = papers.cli.ends(1, &["-b", &address, "--tls-ca", &ca, "topic", "list"]);
        let named =
            said.stderr.contains("CertificateRequired") || said.stderr.contains("error 116");
        assert!(named, "{}", said.stderr);
    }
    assert!(broker.stop().success());
}

#[test]
fn quic_without_a_certificate_is_believed_by_the_pin_that_the_broker_prints() {
    let broker = Broker::builder().argument("--listen").argument("quic://127.0.0.1:0").start();
    let cli = Cli::without_broker();
    let address = address(&broker, "quic");
    let (plain, pin) = address.split_once("?pin=").unwrap();
    fly(&cli, &address, "flights", &[]);
    let wrong = format!("{plain}?pin={}", "0".repeat(64));
    let said = cli.ends(1, &["-b", &wrong, "topic", "list"]);
    let expected =
        format!("the broker's certificate has the fingerprint {pin}, which is not pinned");
    assert!(said.stderr.contains(&expected), "{}", said.stderr);
    let key = broker.data().join("tls/self-made.key");
    let mode = std::fs::metadata(key).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(broker.log().contains(pin), "{}", broker.log());
    assert!(broker.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_exchanged_under_clients_that_go_on() {
    let papers = Papers::new();
    let broker = papers.broker(&[]);
    let tls = TlsConfig { authorities: Some(papers.path("ca.pem")), ..TlsConfig::default() };
    let mut open = Vec::new();
    for transport in ["tls", "quic"] {
        let mut config = ClientConfig::new(vec![address(&broker, transport).parse().unwrap()]);
        config.tls = tls.clone();
        let client = Client::new(config);
        open.push((client.any().await.unwrap(), client));
    }
    let next = tempfile::tempdir().unwrap();
    let (ca, ca_key) = (papers.text("ca.pem"), papers.text("ca.key"));
    let folder = next.path().display().to_string();
    let said =
        papers.cli.run(&["cert", "server", "--folder", &folder, "--ca", &ca, "--ca-key", &ca_key]);
    let pin = said.stdout.trim().rsplit("sha256=").next().unwrap().to_owned();
    // The key first: for a moment they do not belong together.
    exchange(next.path(), &papers, "server.key");
    exchange(next.path(), &papers, "server.pem");
    let deadline = Instant::now() + EXCHANGED_MAX;
    let exchanged = |log: &str| log.matches("certificate exchanged").count() == 2;
    while !exchanged(&broker.log()) {
        assert!(Instant::now() < deadline, "{}", broker.log());
        tokio::time::sleep(Duration::from_millis(50)).await; // polls the log
    }
    for (connection, _client) in &open {
        let request = brooklet_wire::message::MetadataRequest::default();
        connection.call(&request).await.expect("a connection from before goes on");
    }
    for transport in ["tls", "quic"] {
        let address = address(&broker, transport);
        papers.cli.run(&["-b", &format!("{address}?pin={pin}"), "topic", "list"]);
        let old = format!("{address}?pin={}", "1".repeat(64));
        let said = papers.cli.ends(1, &["-b", &old, "topic", "list"]);
        assert!(said.stderr.contains(&pin), "{}", said.stderr);
    }
    assert!(broker.stop().success());
}

/// Puts a file in another's place at once.
fn exchange(from: &Path, papers: &Papers, name: &str) {
    std::fs::rename(from.join(name), papers.path(name)).unwrap();
}
