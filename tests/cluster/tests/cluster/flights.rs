//! The flights through plugins, end to end: a partitioner that places by origin, a serde that refuses what its
//! schema does not allow, and a view that masks tail numbers, all of them exchanged while records pass.
//!
//! `BROOKLET_FLIGHTS` says how many records pass, and what is said then is how fast. Without it there are few.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use brooklet_client::{
    Client, ClientConfig, Consumer, ConsumerConfig, Event, Producer, ProducerConfig, ProducerRecord,
};
use brooklet_types::ErrorCode;
use brooklet_wire::compress::Codec;
use bytes::Bytes;
use serde_json::{Value, json};

use super::plugins::component;
use super::stage::Stage;

/// Records without `BROOKLET_FLIGHTS`.
const COUNT_DEFAULT: u64 = 30_000;
const PARTITIONS: u32 = 3;
/// For everything to have passed, in a debug build on a loaded machine.
const PASSED_MAX: Duration = Duration::from_secs(300);

/// Where each origin belongs, and where for a while; no origin has the same place in both.
const REGIONS: [(&str, u32, u32); 3] = [("EWR", 0, 1), ("JFK", 1, 2), ("LGA", 2, 0)];

/// The flight's columns, of which each record is made.
const FLIGHTS: &str = include_str!("../../../../examples/flights/flights.csv");

/// A record as it is read again.
#[derive(Clone, Debug)]
struct Flight {
    offset: i64,
    number: u64,
    origin: String,
    tail: Value,
}

/// The topic's plugins: where records belong, and what they must have.
fn plugins(place: fn(&(&str, u32, u32)) -> u32, required: &[&str]) -> String {
    let regions: BTreeMap<&str, [u32; 1]> =
        REGIONS.iter().map(|region| (region.0, [place(region)])).collect();
    let schema = json!({
        "type": "object",
        "required": required,
        "properties": { "origin": { "type": "string", "pattern": "^[A-Z]{3}$" } },
    });
    let bindings = json!([
        { "plugin": "geo", "on_failure": "reject", "config": { "field": "origin", "regions": regions } },
        { "plugin": "guard", "on_failure": "reject", "config": { "schema": schema } },
    ]);
    format!("brooklet.plugins={bindings}")
}

/// The values of the flights, without the record's number.
fn values() -> Vec<(Bytes, String)> {
    let rows = FLIGHTS.lines().skip(1).map(|row| row.split(',').collect::<Vec<_>>());
    let value = |row: Vec<&str>| {
        let (tail, origin) = (row[11], row[12]);
        let rest = json!({
            "carrier": row[9], "flight": row[10], "tail": tail, "origin": origin, "dest": row[13],
        });
        (Bytes::from(tail.to_owned()), rest.to_string())
    };
    rows.map(value).collect()
}

/// Sends records until there are enough and nobody has anything else to do meanwhile; says how many.
async fn produce(
    client: Client,
    least: u64,
    sent: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
) -> (u64, Duration) {
    let config = ProducerConfig { compression: Codec::Lz4, ..ProducerConfig::default() };
    let producer = Producer::start(client, config).unwrap();
    let values = values();
    let began = Instant::now();
    let mut deliveries = Vec::new();
    let mut number = 0;
    while number < least || !is_over.load(Ordering::Relaxed) {
        let (key, rest) = &values[usize::try_from(number).unwrap() % values.len()];
        let value = format!("{{\"n\":{number},{}", &rest[1..]);
        let record = ProducerRecord {
            topic: "flights".into(),
            key: Some(key.clone()),
            value: Some(value.into()),
            ..ProducerRecord::default()
        };
        let delivery = producer.send(record).await.unwrap();
        // One of each batch says what became of all.
        if deliveries.last().is_none_or(|last| !delivery.is_of_same_batch(last)) {
            deliveries.push(delivery);
        }
        number += 1;
        sent.store(number, Ordering::Relaxed);
    }
    producer.flush().await;
    let took = began.elapsed();
    for delivery in deliveries {
        let delivered = delivery.await.expect("every batch is stored");
        assert_eq!((delivered.partition, delivered.offset), (None, None), "the broker chose");
    }
    (number, took)
}

/// Everything in a topic, by partition.
async fn read(client: &Client, topic: &str) -> Vec<Vec<Flight>> {
    let places: BTreeMap<_, _> = (0..PARTITIONS).map(|it| ((topic.into(), it), 0)).collect();
    let config = ConsumerConfig { fetch_wait: Duration::ZERO, ..ConsumerConfig::default() };
    let mut consumer = Consumer::assign(client.clone(), config, places);
    let mut all = vec![Vec::new(); PARTITIONS as usize];
    let mut ended = [false; PARTITIONS as usize];
    while !ended.iter().all(|ended| *ended) {
        let event = consumer.poll(Duration::from_secs(60)).await.unwrap();
        let batch = match event {
            Event::Records(batch) => batch,
            Event::Assigned(_) => continue,
            Event::Idle => panic!("{topic} does not end"),
        };
        let partition = batch.partition as usize;
        for record in batch.records {
            let value: Value = serde_json::from_slice(&record.value.unwrap()).unwrap();
            all[partition].push(Flight {
                offset: record.offset,
                number: value["n"].as_u64().unwrap_or(u64::MAX),
                origin: value["origin"].as_str().unwrap().to_owned(),
                tail: value["tail"].clone(),
            });
        }
        ended[partition] |= batch.next_offset >= batch.high_watermark;
    }
    all
}

/// Compares what was read with what was sent: each once and in order, and the old place and the new on either side
/// of one record. Gives the numbers at which the place changed.
fn check_places(all: &[Vec<Flight>], count: u64) -> Vec<u64> {
    let mut seen = vec![false; usize::try_from(count).unwrap()];
    // For each stretch of numbers under one table: whether it was the first, and its first and last number.
    let mut stretches: Vec<Vec<(bool, u64, u64)>> = Vec::new();
    for (partition, flights) in (0_u32..).zip(all) {
        let mut own: Vec<(bool, u64, u64)> = Vec::new();
        let mut last = None;
        for flight in flights.iter().filter(|flight| flight.number != u64::MAX) {
            assert!(last < Some(flight.number), "{flight:?} comes behind {last:?}");
            last = Some(flight.number);
            let place = &mut seen[usize::try_from(flight.number).unwrap()];
            assert!(!std::mem::replace(place, true), "{flight:?} is there twice");
            let region = REGIONS.iter().find(|region| region.0 == flight.origin).unwrap();
            assert!(partition == region.1 || partition == region.2, "{flight:?}");
            let is_first = partition == region.1;
            match own.last_mut() {
                Some(stretch) if stretch.0 == is_first => stretch.2 = flight.number,
                Some(_) | None => own.push((is_first, flight.number, flight.number)),
            }
        }
        let tables: Vec<bool> = own.iter().map(|stretch| stretch.0).collect();
        assert_eq!(tables, [true, false, true], "partition {partition}: {own:?}");
        stretches.push(own);
    }
    assert!(seen.iter().all(|seen| *seen), "none is lost");
    let changes = (1..3).map(|change| {
        let before = stretches.iter().map(|own| own[change - 1].2).max().unwrap();
        let behind = stretches.iter().map(|own| own[change].1).min().unwrap();
        assert!(before < behind, "{before} under the old table, {behind} under the new");
        behind
    });
    changes.collect()
}

async fn reaches(sent: &AtomicU64, number: u64) {
    let deadline = Instant::now() + PASSED_MAX;
    while sent.load(Ordering::Relaxed) < number {
        assert!(Instant::now() < deadline, "records do not pass");
        tokio::time::sleep(Duration::from_millis(1)).await; // polls a counter
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn flights_pass_once_and_in_order_while_their_plugins_are_exchanged() {
    let told = std::env::var("BROOKLET_FLIGHTS").ok();
    let count = told.as_ref().map_or(COUNT_DEFAULT, |told| told.parse().unwrap());
    let stage = Stage::new(&[]);
    let mut raw = stage.raw();
    raw.create_topic("flights", i32::try_from(PARTITIONS).unwrap());
    let guard = component("json-schema").display().to_string();
    stage.run(&["plugin", "install", &guard, "--name", "guard"]);
    let (first, second) = (|it: &(&str, u32, u32)| it.1, |it: &(&str, u32, u32)| it.2);
    stage.run(&["topic", "alter", "flights", "-c", &plugins(first, &["origin", "tail"])]);
    let view = ["view", "create", "public", "--of", "flights", "--with", "mask"];
    let mask = ["--on-failure", "reject", "--config", r#"{"fields":{"tail":{"keep_last":2}}}"#];
    stage.run(&[&view[..], &mask].concat());

    let client = || {
        Client::new(ClientConfig::new(vec![stage.broker.address().to_string().parse().unwrap()]))
    };
    let (sent, is_over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let producing = tokio::spawn(produce(client(), count, Arc::clone(&sent), Arc::clone(&is_over)));
    reaches(&sent, count / 5).await;
    let lacking = br#"{"origin":"EWR","tail":"N1"}"#;
    assert!(raw.produce("flights", -1, lacking).is_ok(), "it has what is asked for");
    // A stricter schema and another table, for a while.
    stage.run(&["topic", "alter", "flights", "-c", &plugins(second, &["origin", "tail", "n"])]);
    assert_eq!(raw.produce("flights", -1, lacking), Err(ErrorCode::InvalidRecord));
    let now = sent.load(Ordering::Relaxed);
    reaches(&sent, now + count / 5).await;
    // Another version, and back to the one before.
    let signed = stage.broker.data().join("signed.wasm");
    let bytes = std::fs::read(component("json-schema")).unwrap();
    std::fs::write(&signed, brooklet_plugin::sign(&bytes, &[7; 32]).unwrap()).unwrap();
    stage.run(&["plugin", "install", &signed.display().to_string(), "--name", "guard"]);
    stage.run(&["plugin", "rollback", "guard"]);
    stage.run(&["topic", "alter", "flights", "-c", &plugins(first, &["origin", "tail"])]);
    assert!(raw.produce("flights", -1, lacking).is_ok());
    let now = sent.load(Ordering::Relaxed);
    reaches(&sent, now + count / 5).await;
    is_over.store(true, Ordering::Relaxed);
    let (count, took) = producing.await.unwrap();

    let all = read(&client(), "flights").await;
    let changes = check_places(&all, count);
    let odd = all.iter().flatten().filter(|flight| flight.number == u64::MAX).count();
    assert_eq!(odd, 2, "what was refused is nowhere");
    let shown = read(&client(), "public").await;
    for (stored, shown) in all.iter().flatten().zip(shown.iter().flatten()) {
        assert_eq!((stored.offset, stored.number), (shown.offset, shown.number));
        let (whole, masked) = (stored.tail.as_str().unwrap(), shown.tail.as_str().unwrap());
        let is_hidden =
            masked.ends_with(&whole[whole.len().saturating_sub(2)..]) || whole.len() <= 2;
        assert!(is_hidden && (masked != whole || whole.is_empty()), "{stored:?} {shown:?}");
    }
    let lengths = |all: &[Vec<Flight>]| all.iter().map(Vec::len).collect::<Vec<_>>();
    assert_eq!(lengths(&shown), lengths(&all));
    if told.is_some() {
        let rate = u128::from(count) * 1000 / took.as_millis().max(1);
        println!("{count} records in {took:?}, {rate}/s; exchanged at {changes:?}");
    }
}
