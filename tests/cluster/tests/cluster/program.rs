//! The program as its operator meets it: starting, refusing to start, stopping.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

use brooklet_cluster::broker::program;
use brooklet_cluster::{Broker, Raw};

/// Runs `brooklet serve` where it is expected to end by itself.
fn serve(data: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new("timeout");
    command.arg("20").arg(program()).arg("serve").arg("--data").arg(data);
    command.args(["--admin", "127.0.0.1:0"]).args(arguments).output().unwrap()
}

#[track_caller]
fn refused(output: &Output, says: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for text in says {
        assert!(said.contains(text), "{text:?} is not in: {said}");
    }
}

#[test]
fn a_second_broker_on_the_same_folder_is_refused() {
    let broker = Broker::start();
    let output = serve(broker.data(), &["--listen", "tcp://127.0.0.1:0"]);
    refused(&output, &["in use by another broker", &broker.id().to_string()]);
    assert!(broker.stop().success());
}

#[test]
fn a_port_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let data = tempfile::tempdir().unwrap();
    let output = serve(data.path(), &["--listen", &format!("tcp://{address}")]);
    refused(&output, &[&address, "in use"]);
}

#[test]
fn every_problem_of_a_configuration_is_reported_with_its_path() {
    let data = tempfile::tempdir().unwrap();
    let file = data.path().join("broker.ron");
    std::fs::write(&file, "(\n    listners: [\"tcp://127.0.0.1:0\"],\n)\n").unwrap();
    let output = serve(data.path(), &["--config", file.to_str().unwrap()]);
    refused(&output, &["broker.ron", "listners", "listeners"]);
}

#[test]
fn the_ready_line_names_the_port_the_node_and_the_cluster() {
    let data = tempfile::tempdir().unwrap();
    let broker = Broker::builder().data(data.path()).start();
    let first = broker.ready_line().to_owned();
    assert!(
        first.starts_with(&format!("ready tcp://{} node=1 cluster=", broker.address())),
        "{first}"
    );
    assert!(broker.stop().success());
    let broker = Broker::builder().data(data.path()).start();
    let cluster = |line: &str| line.rsplit("cluster=").next().unwrap().to_owned();
    assert_eq!(cluster(broker.ready_line()), cluster(&first), "the cluster keeps its id");
    assert!(broker.stop().success());
}

#[test]
fn a_broker_stops_in_time_whatever_is_connected() {
    for signal in ["TERM", "INT"] {
        let mut broker = Broker::start();
        let mut idle = Raw::connect(broker.address()).unwrap();
        let mut half = Raw::connect(broker.address()).unwrap();
        half.send(&[0, 0, 1, 0, 0, 18]).unwrap();
        broker.signal(signal);
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
        assert!(broker.wait_until(deadline).success(), "SIG{signal}");
        assert!(idle.is_closed() && half.is_closed());
    }
}
