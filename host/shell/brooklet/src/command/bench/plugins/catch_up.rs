//! Through a broker: how fast a consumer catches up through a view, and how fast a producer is beside plugins that are not
//! its own.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use brooklet_client::admin::NewTopic;
use brooklet_client::{
    Admin, Client, Consumer, ConsumerConfig, Event, Producer, ProducerConfig, ProducerRecord,
};
use bytes::Bytes;

use super::boundary::value;
use super::scratch::Broker;
use super::{Aim, Figure, median, seconds_since};
use crate::failure::Failure;

/// About a hundred records.
const BATCH_BYTES: usize = 106_000;
/// How long nothing may come.
const PATIENCE: Duration = Duration::from_secs(30);
/// Values that are sent in turn.
const VALUES: u32 = 256;
/// Rounds of producing are this much shorter: records are written to the disk.
const PRODUCE_SHARE: u32 = 2;

/// Measures consumers and producers.
pub(super) async fn measure(rounds: u32, records: u32) -> Result<Vec<Figure>, Failure> {
    let (plain, hooked) = (Broker::start()?, Broker::start()?);
    prepare(&hooked, &plain).await?;
    let client = hooked.client();
    send(&client, "source", records).await?;
    for topic in ["source", "passing", "keyed"] {
        consume(&client, topic, records).await?;
    }
    let [mut source, mut passing, mut keyed] = [const { Vec::new() }; 3];
    let [mut beside, mut alone] = [const { Vec::new() }; 2];
    for _ in 0..rounds {
        source.push(consume(&client, "source", records).await?);
        passing.push(consume(&client, "passing", records).await?);
        keyed.push(consume(&client, "keyed", records).await?);
    }
    let some = records / PRODUCE_SHARE;
    for _ in 0..rounds {
        beside.push(send(&client, "neighbour", some).await?);
        alone.push(send(&plain.client(), "neighbour", some).await?);
    }
    let [source, passing, keyed] = [source, passing, keyed].map(median);
    let [beside, alone] = [beside, alone].map(median);
    let rate = |count: u32, seconds: f64| format!("{:.0} records/s", f64::from(count) / seconds);
    let through = |name, seconds: f64, aim| Figure {
        name,
        value: source / seconds,
        unit: "×",
        aim: Aim::AtLeast(aim),
        detail: format!("{}, the topic itself {}", rate(records, seconds), rate(records, source)),
    };
    Ok(vec![
        through("catch-up, passing", passing, 0.9),
        through("catch-up, key filter", keyed, 0.8),
        Figure {
            name: "produce beside plugins",
            value: alone / beside,
            unit: "×",
            // Within noise.
            aim: Aim::AtLeast(0.95),
            detail: format!("{}, without {}", rate(some, beside), rate(some, alone)),
        },
    ])
}

async fn prepare(hooked: &Broker, plain: &Broker) -> Result<(), Failure> {
    let admin = Admin::new(hooked.client());
    let filter = |keep: &str| {
        format!(r#"[{{"plugin":"filter","config":{{"keep":"{keep}"}},"on_failure":"reject"}}]"#)
    };
    // The disk is not what is measured.
    let flush = [("brooklet.flush", "os")];
    create(&admin, "source", &flush).await?;
    create(&admin, "neighbour", &flush).await?;
    for (view, keep) in [("passing", "true"), ("keyed", "key != 'k7'")] {
        let plugins = filter(keep);
        let settings = [("brooklet.view.of", "source"), ("brooklet.plugins", plugins.as_str())];
        create(&admin, view, &settings).await?;
    }
    create(&Admin::new(plain.client()), "neighbour", &flush).await
}

pub(super) async fn create(
    admin: &Admin,
    name: &str,
    settings: &[(&str, &str)],
) -> Result<(), Failure> {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let is_view = settings.iter().any(|(name, _)| *name == "brooklet.view.of");
    let topic = NewTopic {
        name: name.to_owned(),
        partitions: (!is_view).then_some(1),
        replication: None,
        settings: settings.iter().map(owned).collect(),
    };
    admin.create_topic(&topic, false).await?;
    Ok(())
}

/// Seconds until so many records are acknowledged.
async fn send(client: &Client, topic: &str, records: u32) -> Result<f64, Failure> {
    let config = ProducerConfig { batch_bytes: BATCH_BYTES, ..ProducerConfig::default() };
    let producer = Producer::start(client.clone(), config)?;
    let values: Vec<Bytes> = (0..VALUES).map(|number| Bytes::from(value(number))).collect();
    let keys: Vec<Bytes> = (0..10).map(|number| Bytes::from(format!("k{number}"))).collect();
    let topic = topic.into();
    let began = Instant::now();
    let mut last = None;
    for number in 0..records as usize {
        let record = ProducerRecord {
            topic: std::sync::Arc::clone(&topic),
            partition: Some(0),
            key: Some(keys[number % keys.len()].clone()),
            value: Some(values[number % values.len()].clone()),
            ..ProducerRecord::default()
        };
        last = Some(producer.send(record).await?);
    }
    producer.flush().await;
    if let Some(mut last) = last {
        last.wait().await?;
    }
    Ok(seconds_since(began))
}

/// Seconds until a consumer has come to the end of a topic.
async fn consume(client: &Client, topic: &str, records: u32) -> Result<f64, Failure> {
    let start = BTreeMap::from([((topic.to_owned(), 0), 0)]);
    let began = Instant::now();
    let mut consumer = Consumer::assign(client.clone(), ConsumerConfig::default(), start);
    let mut next = 0;
    while next < i64::from(records) {
        match consumer.poll(PATIENCE).await? {
            Event::Records(batch) => next = batch.next_offset,
            Event::Assigned(_) => {}
            Event::Idle => {
                return Err(Failure::new(format!("{topic} shows nothing behind offset {next}")));
            }
        }
    }
    Ok(seconds_since(began))
}
