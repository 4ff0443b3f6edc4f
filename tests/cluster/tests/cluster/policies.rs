//! The stock compaction policies in a real broker: bound to a topic, at work on its cleaner, and seen by a client.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use brooklet_client::admin::NewTopic;
use brooklet_client::{
    Admin, Client, ClientConfig, Consumer, ConsumerConfig, Event, Producer, ProducerConfig,
    ProducerRecord,
};
use brooklet_types::Timestamp;
use brooklet_wire::compress::Codec;
use bytes::Bytes;

use super::plugins::component;
use super::stage::Stage;

/// From the last record to the end of a cleaning, on a loaded machine.
const CLEANED_MAX: Duration = Duration::from_secs(60);

/// A record behind every history, so late that what is before it is in closed segments.
const CLOSER: &str = "closer";

/// What a client reads of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    offset: i64,
    key: String,
    value: Option<String>,
    time: i64,
    headers: Vec<(Bytes, Option<Bytes>)>,
}

fn client(stage: &Stage) -> Client {
    Client::new(ClientConfig::new(vec![stage.broker.address().to_string().parse().unwrap()]))
}

/// A compacted topic with one partition, cleaned as soon as a second has gone by in its records' times.
async fn create(client: &Client, name: &str) {
    let settings = [
        ("cleanup.policy", "compact"),
        ("segment.ms", "1000"),
        ("min.cleanable.dirty.ratio", "0.01"),
    ];
    let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let topic =
        NewTopic { name: name.to_owned(), partitions: Some(1), replication: None, settings };
    Admin::new(client.clone()).create_topic(&topic, false).await.unwrap();
}

/// Everything in the topic, but for what only closes segments.
async fn read(client: &Client, topic: &str) -> Vec<Line> {
    let positions = BTreeMap::from([((topic.into(), 0), 0)]);
    let config = ConsumerConfig { fetch_wait: Duration::ZERO, ..ConsumerConfig::default() };
    let mut consumer = Consumer::assign(client.clone(), config, positions);
    let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    let mut lines = Vec::new();
    loop {
        match consumer.poll(Duration::from_secs(1)).await.unwrap() {
            Event::Records(batch) => {
                lines.extend(batch.records.into_iter().map(|record| Line {
                    offset: record.offset,
                    key: text(record.key.unwrap()),
                    value: record.value.map(text),
                    time: record.timestamp.0,
                    headers: record.headers,
                }));
                if batch.next_offset >= batch.high_watermark {
                    break;
                }
            }
            Event::Assigned(_) => {}
            Event::Idle => break,
        }
    }
    lines.retain(|line| line.key != CLOSER);
    lines
}

/// Reads until nothing is left but what is expected.
async fn cleaned(client: &Client, topic: &str, expected: &[Line]) {
    let deadline = Instant::now() + CLEANED_MAX;
    loop {
        let lines = read(client, topic).await;
        if lines == expected {
            return;
        }
        assert!(Instant::now() < deadline, "{topic}: {lines:#?}, not {expected:#?}");
    }
}

async fn until(mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + CLEANED_MAX;
    while !is_so() {
        assert!(Instant::now() < deadline, "it does not happen");
        tokio::time::sleep(Duration::from_millis(20)).await; // polls a metric
    }
}

fn metrics(stage: &Stage) -> String {
    let mut stream = TcpStream::connect(&stage.admin).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

/// The value of a counter that a topic has.
fn counted(stage: &Stage, name: &str, topic: &str) -> u64 {
    let (text, label) = (metrics(stage), format!("topic=\"{topic}\""));
    let line = text.lines().find(|line| line.contains(name) && line.contains(&label));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0)
}

/// Key, value, time in seconds, version. A value of nothing is a tombstone.
const HISTORY: [(&str, &str, i64, &str); 10] = [
    ("a", r#"{"n":1}"#, 10, "5"),
    ("b", r#"{"n":1}"#, 10, "1"),
    ("a", r#"{"m":2}"#, 30, "1"),
    ("c", r#"{"n":1}"#, 10, "1"),
    ("c", "", 20, "2"),
    ("a", r#"{"n":3}"#, 20, "2"),
    ("b", r#"{"n":null,"k":1}"#, 5, "9"),
    ("a", r#"{"z":1}"#, 25, "3"),
    ("d", r#"{"n":1}"#, -4000, "1"),
    ("e", "not JSON", 25, "1"),
];

/// A policy, its configuration, and what it leaves of the history: offsets, with a value if it is another.
type Case = (&'static str, &'static str, &'static [(i64, Option<&'static str>)]);

const CASES: [Case; 5] = [
    (
        "keep-n",
        r#"{"n":2}"#,
        &[(1, None), (4, None), (5, None), (6, None), (7, None), (8, None), (9, None)],
    ),
    (
        "latest-by-timestamp",
        "{}",
        // The last tombstone of a key stays for a day whatever a policy says; here both say so.
        &[(1, None), (2, None), (4, None), (8, None), (9, None)],
    ),
    (
        "latest-by-header-version",
        r#"{"header":"version"}"#,
        &[(0, None), (4, None), (6, None), (8, None), (9, None)],
    ),
    (
        "merge-json",
        "{}",
        &[
            (4, None),
            (6, Some(r#"{"k":1,"n":null}"#)),
            (7, Some(r#"{"m":2,"n":3,"z":1}"#)),
            (8, None),
            (9, None),
        ],
    ),
    ("ttl", r#"{"ttl":"1h"}"#, &[(4, None), (6, None), (7, None), (9, None)]),
];

/// Writes the history, half of it compressed, and closes what it is in.
async fn write(client: &Client, topic: &str, start: i64) -> Vec<Line> {
    let mut lines = Vec::new();
    for (half, codec) in HISTORY.chunks(5).zip([Codec::None, Codec::Lz4]) {
        let config = ProducerConfig { compression: codec, ..ProducerConfig::default() };
        let producer = Producer::start(client.clone(), config).unwrap();
        for (key, value, seconds, version) in half {
            let line = Line {
                offset: i64::try_from(lines.len()).unwrap(),
                key: (*key).to_owned(),
                value: (!value.is_empty()).then(|| (*value).to_owned()),
                time: start + seconds * 1000,
                headers: vec![("version".into(), Some((*version).into()))],
            };
            send(&producer, topic, &line).await;
            lines.push(line);
        }
        producer.flush().await;
    }
    close(client, topic).await;
    lines
}

async fn send(producer: &Producer, topic: &str, line: &Line) {
    let record = ProducerRecord {
        topic: topic.into(),
        partition: Some(0),
        key: Some(line.key.clone().into()),
        value: line.value.clone().map(Bytes::from),
        headers: line.headers.clone(),
        timestamp: Some(Timestamp(line.time)),
    };
    producer.send(record).await.unwrap();
}

/// Begins a new segment, with a record of the time in which all others are long over.
async fn close(client: &Client, topic: &str) {
    let producer = Producer::start(client.clone(), ProducerConfig::default()).unwrap();
    for later in [0, 60_000] {
        let line = Line {
            offset: 0,
            key: CLOSER.to_owned(),
            value: Some("x".to_owned()),
            time: now() + later,
            headers: Vec::new(),
        };
        send(&producer, topic, &line).await;
        producer.flush().await;
    }
}

fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

#[tokio::test]
async fn each_stock_policy_leaves_what_it_says_and_nothing_moves() {
    let stage = Stage::new(&[]);
    let client = client(&stage);
    let start = now() - 100_000;
    let mut expected = Vec::new();
    for (plugin, config, left) in CASES {
        let topic = format!("by-{plugin}");
        create(&client, &topic).await;
        let bind = ["plugin", "bind", plugin, "--topic", &topic, "--config", config];
        stage.run(&[&bind[..], &["--on-failure", "reject"]].concat());
        let lines = write(&client, &topic, start).await;
        let left = left.iter().map(|(offset, value)| {
            let line = lines[usize::try_from(*offset).unwrap()].clone();
            let value = value.map(str::to_owned).or(line.value);
            Line { value, ..line }
        });
        expected.push((topic, left.collect::<Vec<_>>()));
    }
    for (topic, left) in &expected {
        cleaned(&client, topic, left).await;
        // What was removed is counted when the cleaning is over.
        until(|| counted(&stage, "compaction_removed_records", topic) > 0).await;
        assert_eq!(counted(&stage, "compaction_failures", topic), 0, "{topic}");
    }
}

/// Keys and values of the failing policy's topic: more than it has memory for, less than anybody else.
const DOCUMENTS: usize = 40;
const DOCUMENT_BYTES: usize = 200_000;

fn merging(memory: usize) -> String {
    format!(
        r#"brooklet.plugins=[{{"plugin":"merging","on_failure":"reject","limits":{{"memory":{memory}}}}}]"#
    )
}

#[tokio::test]
async fn a_policy_that_dies_in_the_middle_takes_nothing_and_is_tried_again_when_it_is_mended() {
    let stage = Stage::new(&["not compacted", "wanted more memory"]);
    let client = client(&stage);
    create(&client, "documents").await;
    let file = component("merge-json").display().to_string();
    stage.run(&["plugin", "install", &file, "--name", "merging"]);
    stage.run(&["topic", "alter", "documents", "-c", &merging(4 << 20)]);
    let producer = Producer::start(client.clone(), ProducerConfig::default()).unwrap();
    let (start, mut lines) = (now() - 100_000, Vec::new());
    for round in 0..2 {
        for number in 0..DOCUMENTS {
            let long = "x".repeat(DOCUMENT_BYTES);
            let line = Line {
                offset: i64::try_from(lines.len()).unwrap(),
                key: format!("key {number}"),
                value: Some(format!(r#"{{"round {round}":"{long}"}}"#)),
                time: start + i64::try_from(lines.len()).unwrap(),
                headers: Vec::new(),
            };
            send(&producer, "documents", &line).await;
            lines.push(line);
        }
    }
    producer.flush().await;
    close(&client, "documents").await;
    until(|| counted(&stage, "compaction_failures", "documents") > 0).await;
    let log = stage.broker.log();
    let told = log.lines().find(|line| line.contains("not compacted")).unwrap();
    assert!(
        told.contains("documents-0") && told.contains("plugin merging 0.1.0: wanted more memory"),
        "{told}"
    );
    assert_eq!(read(&client, "documents").await, lines, "nothing is gone");
    assert_eq!(counted(&stage, "compaction_removed_records", "documents"), 0);

    // With room enough it is at work at once, and all that was said is in the last of each key.
    stage.run(&["topic", "alter", "documents", "-c", &merging(128 << 20)]);
    let merged = lines[DOCUMENTS..].iter().zip(&lines).map(|(last, first)| {
        let members = |line: &Line| line.value.clone().unwrap().trim_matches(['{', '}']).to_owned();
        let value = Some(format!("{{{},{}}}", members(first), members(last)));
        Line { value, ..last.clone() }
    });
    cleaned(&client, "documents", &merged.collect::<Vec<_>>()).await;
}
