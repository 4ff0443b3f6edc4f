//! `brooklet cluster` as an operator of three brokers uses it: how it is, what moves, who leaves, who joins.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use brooklet_client::admin::NewTopic;
use brooklet_client::{Admin, Producer, ProducerConfig, ProducerRecord};
use brooklet_cluster::broker::program;
use serde_json::Value;

use crate::three::{PARTITIONS, SOON, Three, cluster, free, read};

/// Numbers that are written before anything moves.
const COUNT: u64 = 3000;

/// `brooklet cluster …`, of the brokers that run.
fn command(three: &Three, arguments: &[&str]) -> Command {
    let running = three.running.iter().flatten();
    let addresses: Vec<String> = running.map(|broker| broker.address().to_string()).collect();
    let mut command = Command::new("timeout");
    command.arg(SOON.as_secs().to_string()).arg(program()).arg("cluster").args(arguments);
    command.env("BROOKLET_BROKER", addresses.join(",")).stdin(Stdio::null());
    command
}

/// Runs one that ends with `code`, and gives what it prints on both.
#[track_caller]
fn ends(three: &Three, code: i32, arguments: &[&str]) -> String {
    let output = command(three, arguments).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8(said).unwrap();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
    said
}

/// What `status` says, once it is as it should be.
#[track_caller]
fn status(three: &Three, is_so: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + SOON;
    loop {
        let said = ends(three, 0, &["status", "--format", "json"]);
        let value: Value = serde_json::from_str(&said).unwrap();
        if is_so(&value) {
            return value;
        }
        assert!(Instant::now() < deadline, "{said}");
        std::thread::sleep(Duration::from_millis(100)); // polls the status
    }
}

fn is_healthy(status: &Value) -> bool {
    status["healthy"] == true
}

/// A number that `status` says of a broker.
fn of(status: &Value, broker: u64, what: &str) -> Option<u64> {
    let brokers = status["brokers"].as_array().unwrap();
    brokers.iter().find(|it| it["id"] == broker)?[what].as_u64()
}

async fn create(three: &Three, name: &str, replication: u16) {
    let new = NewTopic {
        name: name.to_owned(),
        partitions: Some(PARTITIONS),
        replication: Some(replication),
        ..NewTopic::default()
    };
    Admin::new(three.client()).create_topic(&new, false).await.unwrap();
}

/// A topic with two copies of each partition, and numbers in it.
async fn fill(three: &Three) {
    create(three, "numbers", 2).await;
    let producer = Producer::start(three.client(), ProducerConfig::default()).unwrap();
    let mut deliveries = Vec::new();
    for number in 0..COUNT {
        let record = ProducerRecord {
            topic: "numbers".into(),
            partition: Some(u32::try_from(number).unwrap() % PARTITIONS),
            value: Some(number.to_string().into()),
            ..ProducerRecord::default()
        };
        deliveries.push(producer.send(record).await.unwrap());
    }
    for delivery in deliveries {
        delivery.await.unwrap();
    }
}

/// Reads all of it.
async fn all_is_there(three: &Three) {
    let all = read(&three.client()).await;
    for (partition, numbers) in (0_u64..).zip(&all) {
        let expected = (0..COUNT).filter(|number| number % u64::from(PARTITIONS) == partition);
        assert_eq!(numbers, &expected.collect::<Vec<_>>(), "partition {partition}");
    }
}

/// Who keeps the first partition of the numbers, in order.
async fn first_replicas(three: &Three) -> Vec<i32> {
    let metadata = three.client().metadata(Some(&["numbers".to_owned()])).await.unwrap();
    metadata.topics["numbers"].partitions[0].replicas.iter().map(|broker| broker.0).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_tells_a_healthy_cluster_from_one_that_has_lost_a_broker() {
    let mut three = Three::start();
    create(&three, "t", 3).await;
    let whole = status(&three, is_healthy);
    for broker in 1..=3 {
        let has = ["keeps", "not_in_sync"].map(|what| of(&whole, broker, what));
        assert_eq!(has, [Some(3), Some(0)], "{whole}");
    }
    assert!(ends(&three, 0, &["status"]).ends_with("\nhealthy\n"));
    three.kill(2);
    let ill = status(&three, |it| it["problems"].as_array().is_some_and(|all| all.len() == 3));
    let expected = [
        "broker 3 takes no part",
        "3 partitions not in sync everywhere",
        "no voter of the metadata to spare: 2 of 3 there, 2 needed",
    ];
    assert_eq!(ill["problems"], Value::from(expected.to_vec()));
    assert_eq!(of(&ill, 3, "leads"), Some(0));
    assert_eq!(of(&ill, 3, "not_in_sync"), Some(3));
    let said = ends(&three, 0, &["status"]);
    let last = said.lines().last().unwrap();
    assert_eq!(last, format!("not healthy: {}", expected.join("; ")));
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_move_by_hand_and_a_drained_broker_leads_nothing() {
    let three = Three::start();
    fill(&three).await;
    let before = first_replicas(&three).await;
    let other = (1..=3).find(|broker| !before.contains(broker)).unwrap();
    // To the one broker that has no copy, which is to lead, and to one that has.
    let to = format!("{other},{}", before[0]);
    let arrow = format!("numbers-0 [{},{}] -> [{to}]\n", before[0], before[1]);
    let planned = ends(&three, 0, &["move", "numbers:0", "--to", &to, "--dry-run"]);
    assert_eq!(planned, arrow);
    assert_eq!(first_replicas(&three).await, before, "nothing has moved");
    let said = ends(&three, 0, &["move", "numbers:0", "--to", &to, "--follow"]);
    assert!(said.starts_with(&arrow) && said.ends_with("1 partition moved\n"), "{said}");
    assert_eq!(first_replicas(&three).await, [other, before[0]]);
    let node = other.to_string();
    let leads = |it: &Value| of(it, u64::try_from(other).unwrap(), "leads");
    assert!(leads(&status(&three, is_healthy)) > Some(0), "the first replica leads");
    assert!(ends(&three, 0, &["drain", &node, "--dry-run"]).contains("numbers-0"));
    let said = ends(&three, 0, &["drain", &node, "--follow"]);
    assert!(said.ends_with(&format!("broker {node} leads nothing\n")), "{said}");
    assert_eq!(leads(&status(&three, is_healthy)), Some(0));
    assert_eq!(first_replicas(&three).await, [before[0], other], "it comes last");
    all_is_there(&three).await;
    for (arguments, says) in [
        (["move", "nothing", "--to", "1"], "no topic nothing is stored"),
        (["move", "numbers:9", "--to", "1"], "no partition 9 of topic numbers is stored"),
        (["move", "numbers", "--to", "1,9"], "no broker 9 belongs to the cluster"),
    ] {
        let said = ends(&three, 3, &arguments);
        assert!(said.contains(says), "{said}");
    }
    ends(&three, 2, &["move", "numbers", "--to", "1,1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decommissioned_broker_gives_all_away_and_leaves_when_it_is_stopped() {
    let mut three = Three::start();
    fill(&three).await;
    create(&three, "wide", 3).await;
    status(&three, is_healthy);
    let said = ends(&three, 1, &["decommission", "3"]);
    assert!(said.contains("3 partitions with up to 3 copies, and 2 other brokers"), "{said}");
    Admin::new(three.client()).delete_topic("wide").await.unwrap();
    let keeps = status(&three, |it| of(it, 3, "keeps") <= Some(2));
    let planned = ends(&three, 0, &["decommission", "3", "--dry-run"]);
    assert_eq!(planned.lines().count(), 2, "{planned}");
    assert_eq!(of(&keeps, 3, "keeps"), Some(2), "two copies of six are on each");
    let mut leaving =
        command(&three, &["decommission", "3"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(leaving.stdout.take().unwrap()).lines().map(Result::unwrap);
    let empty = lines.by_ref().find(|line| line.contains("keeps nothing"));
    assert!(empty.is_some(), "it ended before the broker was empty");
    let waiting = status(&three, |it| of(it, 3, "keeps") == Some(0));
    assert!(is_healthy(&waiting), "{waiting}");
    three.stop(2);
    assert_eq!(lines.last().as_deref(), Some("broker 3 left the cluster"));
    assert!(leaving.wait().unwrap().success());
    let left = status(&three, |it| it["brokers"].as_array().is_some_and(|all| all.len() == 2));
    let spare = "no voter of the metadata to spare: 2 of 2 there, 2 needed";
    assert_eq!(left["problems"], Value::from(vec![spare]));
    all_is_there(&three).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_broker_is_removed_and_what_it_had_alone_only_by_force() {
    let mut three = Three::start();
    fill(&three).await;
    create(&three, "single", 1).await;
    status(&three, is_healthy);
    let said = ends(&three, 1, &["remove", "3", "--force"]);
    assert!(said.contains("broker 3 takes part"), "{said}");
    three.kill(2);
    status(&three, |it| it["problems"][0] == "broker 3 takes no part");
    let said = ends(&three, 1, &["remove", "3"]);
    assert!(said.contains("without broker 3 nobody can lead 1 partition"), "{said}");
    let said = ends(&three, 0, &["remove", "3", "--force"]);
    assert!(said.contains("broker 3 left the cluster"), "{said}");
    ends(&three, 3, &["remove", "3"]);
    let said = ends(&three, 0, &["balance", "--follow"]);
    assert!(said.ends_with(" moved\n"), "{said}");
    let after = status(&three, |it| it["moving"] == 0);
    assert_eq!(after["brokers"].as_array().unwrap().len(), 2, "nobody counts on it: {after}");
    let spare = "no voter of the metadata to spare: 2 of 2 there, 2 needed";
    assert_eq!(after["problems"], Value::from(vec![spare]));
    all_is_there(&three).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_joins_gets_its_share_and_is_forgotten_when_it_is_removed() {
    let mut three = Three::start();
    fill(&three).await;
    create(&three, "wide", 2).await;
    let folder = tempfile::tempdir().unwrap();
    let token = cluster(&["token", "4", "--data", three.folders[0].path().to_str().unwrap()]);
    let path = folder.path().to_str().unwrap();
    cluster(&["join", &token, "--data", path, "--listen", &free()]);
    three.folders.push(folder);
    three.running.push(None);
    three.begin(3);
    // Three vote, and a fourth vote would need a larger majority.
    status(&three, |it| is_healthy(it) && it["brokers"][3]["metadata"] == "observer");
    let planned = ends(&three, 0, &["balance", "--dry-run"]);
    let said = ends(&three, 0, &["balance", "--follow"]);
    assert!(said.starts_with(&planned) && said.ends_with(" moved\n"), "{said}");
    let even = status(&three, is_healthy);
    for broker in 1..=4 {
        assert_eq!(of(&even, broker, "keeps"), Some(3), "twelve copies on four: {even}");
        assert!((1..=2).contains(&of(&even, broker, "leads").unwrap()), "{even}");
    }
    assert_eq!(ends(&three, 0, &["balance"]), "nothing to move\n");
    all_is_there(&three).await;
    three.kill(3);
    status(&three, |it| it["problems"][0] == "broker 4 takes no part");
    ends(&three, 0, &["remove", "4"]);
    ends(&three, 0, &["balance", "--follow"]);
    let after = status(&three, is_healthy);
    assert_eq!(after["brokers"].as_array().unwrap().len(), 3, "the quorum forgot it: {after}");
    all_is_there(&three).await;
}
