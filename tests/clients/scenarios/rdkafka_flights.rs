//! The flights through the `rdkafka` crate: an idempotent producer, then a group that loses and gains
//! a member. What `flights.py` does, in Rust.
//!
//! usage: rdkafka_flights BROKER FLIGHTS.csv[.zip] TOPIC

use std::collections::{BTreeMap, HashMap, HashSet};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};

const PARTITIONS: i32 = 12;
const DEADLINE: Duration = Duration::from_secs(240);
/// Records of a member between two commits.
const COMMIT_RECORDS: usize = 5000;

/// Columns of a row.
const TAILNUM: usize = 11;
const ORIGIN: usize = 12;

/// What became of the records.
#[derive(Clone, Default)]
struct Deliveries(Arc<Counts>);

#[derive(Default)]
struct Counts {
    stored: AtomicU64,
    refused: AtomicU64,
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let count = if result.is_ok() { &self.0.stored } else { &self.0.refused };
        count.fetch_add(1, Ordering::Relaxed);
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, broker, flights, topic] = &arguments[..] else { panic!("usage: BROKER FLIGHTS TOPIC") };
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker).set("broker.address.family", "v4");
    connect(&mut config);
    let admin: AdminClient<_> = config.create().expect("an admin client");
    let created = [NewTopic::new(topic, PARTITIONS, TopicReplication::Fixed(1))];
    let created = admin.create_topics(&created, &AdminOptions::new());
    let created = futures::executor::block_on(created).expect("an answer");
    assert!(created.iter().all(Result::is_ok), "{created:?}");

    let text = read(flights);
    let rows: Vec<&str> = text.lines().skip(1).collect();
    let began = Instant::now();
    produce(&config, topic, &rows);
    let (produced, began) = (began.elapsed(), Instant::now());
    let counts = consume(&config, topic, rows.len());
    let mut expected: BTreeMap<String, usize> = BTreeMap::new();
    rows.iter().for_each(|row| *expected.entry(column(row, ORIGIN).to_owned()).or_default() += 1);
    assert_eq!(counts, expected);
    let (produced, consumed) = (produced.as_secs_f64(), began.elapsed().as_secs_f64());
    println!("{counts:?} in {produced:.1} s, out {consumed:.1} s");
}

/// What the environment says of the way to the broker; `src/way.rs` says more.
fn connect(config: &mut ClientConfig) {
    let Some(path) = std::env::var_os("BROOKLET_LIBRDKAFKA") else { return };
    let properties = std::fs::read_to_string(path).expect("the properties are readable");
    for (name, value) in properties.lines().filter_map(|line| line.split_once('=')) {
        config.set(name, value);
    }
}

fn read(path: &str) -> String {
    if !path.ends_with(".zip") {
        return std::fs::read_to_string(path).expect("the flights are readable");
    }
    let output = Command::new("unzip").args(["-p", path]).output().expect("there is an unzip");
    String::from_utf8(output.stdout).expect("the flights are text")
}

fn column(row: &str, index: usize) -> &str {
    row.split(',').nth(index).expect("a row has its columns")
}

/// Every row keyed by its tail number, its own number before it.
fn produce(config: &ClientConfig, topic: &str, rows: &[&str]) {
    let mut config = config.clone();
    config.set("enable.idempotence", "true").set("compression.type", "lz4").set("linger.ms", "20");
    let deliveries = Deliveries::default();
    let producer = BaseProducer::from_config_and_context(&config, deliveries.clone());
    let producer: BaseProducer<Deliveries> = producer.expect("a producer");
    for (number, row) in rows.iter().enumerate() {
        let value = format!("{number},{row}");
        let mut record = BaseRecord::to(topic).key(column(row, TAILNUM)).payload(&value);
        while let Err((error, unsent)) = producer.send(record) {
            let full = KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull);
            assert_eq!(error, full, "record {number}");
            producer.poll(Duration::from_millis(100));
            record = unsent;
        }
    }
    producer.flush(DEADLINE).expect("everything leaves in time");
    let Counts { stored, refused } = &*deliveries.0;
    let stored = stored.load(Ordering::Relaxed);
    assert_eq!((stored, refused.load(Ordering::Relaxed)), (rows.len() as u64, 0));
}

fn member(config: &ClientConfig, group: &str, topic: &str) -> BaseConsumer {
    let consumer: BaseConsumer = config
        .clone()
        .set("group.id", group)
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .set("session.timeout.ms", "10000")
        .set("partition.assignment.strategy", "cooperative-sticky")
        .create()
        .expect("a consumer");
    consumer.subscribe(&[topic]).expect("a subscription");
    consumer
}

/// Reads everything with a group of three that loses and gains a member half way. A row that a
/// rebalance delivers twice is counted once, as its offset says.
fn consume(config: &ClientConfig, topic: &str, total: usize) -> BTreeMap<String, usize> {
    let stamp = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    let group = format!("flights-{}", stamp.as_nanos());
    let mut members: Vec<_> = (0..3).map(|_| member(config, &group, topic)).collect();
    let mut seen = HashSet::new();
    let mut last: HashMap<Vec<u8>, usize> = HashMap::new();
    let mut counts = BTreeMap::new();
    let (mut changed, began) = (false, Instant::now());
    while seen.len() < total {
        assert!(began.elapsed() < DEADLINE, "{} of {total} in time", seen.len());
        for consumer in &members {
            let mut fresh = 0;
            while fresh < COMMIT_RECORDS {
                let Some(message) = consumer.poll(Duration::from_millis(20)) else { break };
                let message = message.expect("no error");
                if !seen.insert((message.partition(), message.offset())) {
                    continue;
                }
                let value = std::str::from_utf8(message.payload().expect("a value")).expect("text");
                let (number, row) = value.split_once(',').expect("a number and a row");
                let number = number.parse().expect("a number");
                let before = last.insert(message.key().expect("a key").to_vec(), number);
                assert!(before.is_none_or(|before| before < number), "{number} after {before:?}");
                *counts.entry(column(row, ORIGIN).to_owned()).or_default() += 1;
                fresh += 1;
            }
            if fresh > 0 {
                commit(consumer);
            }
        }
        if !changed && seen.len() > total / 2 {
            changed = true;
            drop(members.remove(0));
            members.push(member(config, &group, topic));
        }
    }
    counts
}

/// Commits what was read. Between the end of a rebalance and the client's hearing of it the broker
/// refuses, as Kafka does; what is not committed is read again by whoever has it then.
fn commit(consumer: &BaseConsumer) {
    use RDKafkaErrorCode::{IllegalGeneration, RebalanceInProgress};
    match consumer.commit_consumer_state(CommitMode::Sync) {
        Ok(()) | Err(KafkaError::ConsumerCommit(IllegalGeneration | RebalanceInProgress)) => {}
        Err(error) => panic!("a commit: {error}"),
    }
}
