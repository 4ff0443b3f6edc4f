//! A compacted topic and the groups' own topic, cleaned by a real broker that is then killed.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use brooklet_client::admin::{Change, NewTopic, Resource};
use brooklet_client::{
    Admin, Client, ClientConfig, Consumer, ConsumerConfig, Event, Producer, ProducerConfig,
    ProducerRecord,
};
use brooklet_cluster::Broker;
use bytes::Bytes;

/// Looks often, so that a test need not wait for long.
const CONFIG: &str = r#"(admin: "none", cleaner: (backoff_ms: 50))"#;

/// From the last record to the end of a cleaning, on a loaded machine.
const CLEANED_MAX: Duration = Duration::from_secs(60);

/// What is cleaned at once and in small segments: the smallest that Kafka allows.
const EAGER: [(&str, &str); 2] =
    [("segment.bytes", "1048576"), ("min.cleanable.dirty.ratio", "0.01")];

const OFFSETS: &str = "__consumer_offsets";

/// Offset, key, and value: none is a tombstone.
type Line = (i64, Bytes, Option<Bytes>);

fn client(address: SocketAddr) -> Client {
    Client::new(ClientConfig::new(vec![address.to_string().parse().unwrap()]))
}

fn settings(values: &[(&str, &str)]) -> Vec<(String, String)> {
    values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Everything in one partition.
async fn read(client: &Client, topic: &str, partition: u32) -> Vec<Line> {
    let positions = BTreeMap::from([((topic.into(), partition), 0)]);
    let config = ConsumerConfig { fetch_wait: Duration::ZERO, ..ConsumerConfig::default() };
    let mut consumer = Consumer::assign(client.clone(), config, positions);
    let mut lines = Vec::new();
    loop {
        match consumer.poll(Duration::from_secs(1)).await.unwrap() {
            Event::Records(batch) => {
                let records = batch.records.into_iter();
                lines.extend(records.map(|it| (it.offset, it.key.unwrap_or_default(), it.value)));
                if batch.next_offset >= batch.high_watermark {
                    return lines;
                }
            }
            Event::Assigned(_) => {}
            Event::Idle => return lines,
        }
    }
}

/// Reads the partition until it holds no more than `most` records.
async fn cleaned(client: &Client, topic: &str, partition: u32, most: usize) -> Vec<Line> {
    let deadline = Instant::now() + CLEANED_MAX;
    loop {
        let lines = read(client, topic, partition).await;
        if lines.len() <= most {
            return lines;
        }
        assert!(Instant::now() < deadline, "{} records of {topic} stay", lines.len());
    }
}

fn latest(lines: &[Line]) -> BTreeMap<Bytes, (i64, Option<Bytes>)> {
    lines.iter().map(|(offset, key, value)| (key.clone(), (*offset, value.clone()))).collect()
}

#[tokio::test]
async fn a_compacted_topic_keeps_the_latest_through_a_kill() {
    let data = tempfile::tempdir().unwrap();
    let broker = Broker::builder().data(data.path()).config(CONFIG).start();
    let connected = client(broker.address());
    let topic = NewTopic {
        name: "latest".to_owned(),
        partitions: Some(1),
        replication: None,
        settings: settings(&[&EAGER[..], &[("cleanup.policy", "compact")]].concat()),
    };
    Admin::new(connected.clone()).create_topic(&topic, false).await.unwrap();
    let producer = Producer::start(connected.clone(), ProducerConfig::default()).unwrap();
    let mut written = Vec::new();
    for number in 0..6000_i64 {
        let key = Bytes::from(format!("device {}", number % 50));
        // A device that was taken away; readers are told so for a day.
        let value = (number != 5990).then(|| Bytes::from(format!("{number} {}", "x".repeat(1000))));
        written.push((number, key.clone(), value.clone()));
        let (topic, key) = ("latest".into(), Some(key));
        let record = ProducerRecord { topic, key, value, ..ProducerRecord::default() };
        producer.send(record).await.unwrap();
    }
    producer.flush().await;
    // Two segments of a mebibyte are not closed, or not dirty enough.
    let lines = cleaned(&connected, "latest", 0, 2200).await;
    let whole = |lines: &[Line]| {
        lines.iter().all(|line| written[usize::try_from(line.0).unwrap()] == *line)
    };
    assert!(whole(&lines), "what is left is where it was");
    assert_eq!(latest(&lines), latest(&written));
    broker.kill();

    let broker = Broker::builder().data(data.path()).config(CONFIG).start();
    let lines = read(&client(broker.address()), "latest", 0).await;
    assert!(whole(&lines) && lines.len() <= 2200);
    assert_eq!(latest(&lines), latest(&written));
    assert!(broker.stop().success());
}

#[tokio::test]
async fn groups_survive_the_cleaning_of_their_topic_and_a_kill() {
    const PARTITIONS: u32 = 100;
    const ROUNDS: i64 = 300;
    let data = tempfile::tempdir().unwrap();
    let config = CONFIG.replace("(admin", "(groups: (offsets_partitions: 1), admin");
    let broker = Broker::builder().data(data.path()).config(&config).start();
    let connected = client(broker.address());
    let admin = Admin::new(connected.clone());
    let topic = NewTopic {
        name: "read".to_owned(),
        partitions: Some(PARTITIONS),
        replication: None,
        settings: Vec::new(),
    };
    admin.create_topic(&topic, false).await.unwrap();
    let at = |offset: i64| (0..PARTITIONS).map(|index| (("read".into(), index), offset)).collect();
    for group in ["lasting", "passing"] {
        admin.set_group_offsets(group, &at(0)).await.unwrap();
    }
    let changes: Vec<Change> =
        settings(&EAGER).into_iter().map(|(name, value)| Change::Set(name, value)).collect();
    let resource = Resource::Topic(OFFSETS.to_owned());
    admin.alter_settings(&resource, &changes, false).await.unwrap();
    admin.delete_group("passing").await.unwrap();
    for round in 1..=ROUNDS {
        admin.set_group_offsets("lasting", &at(round)).await.unwrap();
    }
    let written = usize::try_from(ROUNDS).unwrap() * PARTITIONS as usize;
    cleaned(&connected, OFFSETS, 0, written / 2).await;
    broker.kill();

    let broker = Broker::builder().data(data.path()).config(&config).start();
    let admin = Admin::new(client(broker.address()));
    let offsets = admin.group_offsets("lasting").await.unwrap();
    assert_eq!(offsets.len(), PARTITIONS as usize);
    assert!(offsets.values().all(|committed| committed.offset == ROUNDS), "{offsets:?}");
    let groups = admin.list_groups().await.unwrap();
    let names: Vec<&str> = groups.iter().map(|group| group.id.as_str()).collect();
    assert_eq!(names, ["lasting"]);
    assert!(broker.stop().success());
}
