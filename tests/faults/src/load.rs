//! Clients at work: producers of flights, a reader of all partitions, and a group. All tell the recorder what they do.
//!
//! **Decides** what is believed of an error: that a record is not there is said only where it never left; of anything else that went
//! wrong nobody knows. Rates are fixed, whatever the cluster does: a producer that waits for an answer would hide how long it waited.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use brooklet_client::partitioner::partition_of_key;
use brooklet_client::{Address, ConsumeError};
use brooklet_client::{
    Client, ClientConfig, Consumer, ConsumerConfig, Delivery, Event, GroupConfig, OffsetSpec,
    PartitionRecords, ProduceError, Producer, ProducerConfig, ProducerRecord, Reset, Transport,
};
use brooklet_history::{Kind, Op, Polled, PolledPartition, Position};
use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::failure::{Failure, context};
use crate::flights::Flights;
use crate::network::{BROKERS, Network};
use crate::recorder::{Recorder, name};

/// What is written to.
pub(crate) const TOPIC: &str = "flights";
/// Who reads together.
const GROUP: &str = "readers";
/// Producers, each with its own records.
pub(crate) const PRODUCERS: usize = 2;
const MEMBERS: usize = 2;
/// How often a producer sends what is due.
const TICK: Duration = Duration::from_millis(5);
/// Records that wait for their acknowledgement, for one producer and partition: more than come in a run's worst minute.
const WAITING_MAX: usize = 100_000;
/// A poll that brings nothing ends, so that readers see that all is over.
const POLL_MAX: Duration = Duration::from_millis(500);
/// After an error that a consumer was told.
const PAUSE: Duration = Duration::from_millis(200);
/// How long a client waits for an answer before it takes a broker for lost. Kafka's thirty seconds outlast most faults.
const REQUEST_MAX: Duration = Duration::from_secs(10);
const CONNECT_MAX: Duration = Duration::from_secs(3);

/// What all clients share.
pub(crate) struct Scene {
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) flights: Flights,
    pub(crate) partitions: u32,
    /// Of all producers together, a second.
    pub(crate) rate: u32,
    /// The next record's number.
    pub(crate) next: AtomicU64,
}

/// A client that begins with the broker at `first`, so that not all hang on the same one.
pub(crate) fn client(network: &Network, first: usize) -> Client {
    let places = (0..BROKERS).map(|place| (first + place) % BROKERS);
    let addresses = places.map(|place| {
        let address = network.client_address(place);
        Address::new(Transport::Tcp, address.ip().to_string(), address.port())
    });
    Client::new(ClientConfig {
        connect_timeout: CONNECT_MAX,
        request_timeout: REQUEST_MAX,
        ..ClientConfig::new(addresses.collect())
    })
}

/// Sends flights until it is over, and waits until it is known what became of each.
pub(crate) async fn produce(scene: Arc<Scene>, client: Client, mut over: watch::Receiver<bool>) {
    let recorder = &scene.recorder;
    let process = recorder.process();
    let config = ProducerConfig::default();
    let producer = Producer::start(client, config).expect("the defaults go together");
    let mut waiting = JoinSet::new();
    let mut queues = Vec::new();
    for partition in 0..scene.partitions {
        let (queue, deliveries) = mpsc::channel(WAITING_MAX);
        queues.push(queue);
        waiting.spawn(follow(Arc::clone(recorder), process, partition, deliveries));
    }
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let began = tokio::time::Instant::now();
    let rate = u128::from(scene.rate) / PRODUCERS as u128;
    let mut sent = 0;
    // Neither arm takes anything.
    while tokio::select! { _ = ticks.tick() => true, _ = over.wait_for(|over| *over) => false } {
        let due = began.elapsed().as_millis() * rate / 1000;
        while sent < due {
            sent += 1;
            send(&scene, &producer, process, &queues).await;
        }
    }
    producer.flush().await;
    drop(queues);
    waiting.join_all().await;
}

async fn send(
    scene: &Scene,
    producer: &Producer,
    process: u32,
    queues: &[mpsc::Sender<(u64, Delivery)>],
) {
    let number = scene.next.fetch_add(1, Ordering::Relaxed);
    let (key, line) = scene.flights.get(number);
    let partition = partition_of_key(key.as_bytes(), scene.partitions);
    let record = ProducerRecord {
        topic: TOPIC.into(),
        partition: Some(partition),
        key: Some(Bytes::copy_from_slice(key.as_bytes())),
        value: Some(format!("{number},{line}").into()),
        ..ProducerRecord::default()
    };
    scene.recorder.sends(process, partition, number);
    match producer.send(record).await {
        Ok(delivery) => {
            let queue = queues.get(partition as usize).expect("one for each partition");
            // Whoever follows ends after us.
            let _ = queue.send((number, delivery)).await;
        }
        Err(error) => failed(&scene.recorder, process, partition, number, &error),
    }
}

/// Hears what becomes of a partition's records, in the order in which they were sent.
async fn follow(
    recorder: Arc<Recorder>,
    process: u32,
    partition: u32,
    mut deliveries: mpsc::Receiver<(u64, Delivery)>,
) {
    while let Some((number, mut delivery)) = deliveries.recv().await {
        match delivery.wait().await {
            Ok(at) => recorder.acknowledges(process, partition, number, at.offset),
            Err(error) => failed(&recorder, process, partition, number, &error),
        }
    }
}

fn failed(recorder: &Recorder, process: u32, partition: u32, value: u64, error: &ProduceError) {
    let kind = match error {
        ProduceError::TooLarge { .. }
        | ProduceError::Unencodable { .. }
        | ProduceError::NoPartition { .. }
        | ProduceError::Topic(_)
        | ProduceError::IdempotenceNeedsAcksAll => Kind::Fail,
        // It may have been stored by an attempt before the one that was refused.
        ProduceError::Refused { .. }
        | ProduceError::Failed { .. }
        | ProduceError::Expired { .. }
        | ProduceError::Closed => Kind::Info,
    };
    recorder.error(format!("produce: {error}"));
    let sent = brooklet_history::Sent { partition: name(partition), value, offset: None };
    recorder.record(process, kind, Op::Send(vec![sent]));
}

/// Reads all partitions from their beginning until it is over.
pub(crate) async fn read(scene: Arc<Scene>, client: Client, over: watch::Receiver<bool>) {
    let process = scene.recorder.process();
    let mut consumer = assign(&scene, process, client);
    while !*over.borrow() {
        match consumer.poll(POLL_MAX).await {
            Ok(Event::Records(records)) => polled(&scene.recorder, process, &records),
            Ok(Event::Assigned(_) | Event::Idle) => {}
            Err(error) => consumer_failed(&scene.recorder, "read", &error).await,
        }
    }
    scene.recorder.record(process, Kind::Ok, Op::Close);
    close(&scene.recorder, consumer).await;
}

/// Reads as a member of a group until it is over.
pub(crate) async fn read_in_group(scene: Arc<Scene>, client: Client, over: watch::Receiver<bool>) {
    let recorder = &scene.recorder;
    let process = recorder.process();
    recorder.record(process, Kind::Ok, Op::Subscribe { group: GROUP.into() });
    let config = ConsumerConfig::default();
    let group = GroupConfig::new(GROUP);
    let mut consumer = Consumer::subscribe(client, config, group, vec![TOPIC.to_owned()]);
    let mut mine: BTreeSet<u32> = BTreeSet::new();
    while !*over.borrow() {
        match consumer.poll(POLL_MAX).await {
            Ok(Event::Records(records)) => polled(recorder, process, &records),
            Ok(Event::Assigned(all)) => {
                let all: BTreeSet<u32> = all.iter().map(|(_, partition)| *partition).collect();
                // One that it had and has again it may have given up in between.
                let rebalanced = mine.union(&all).map(|partition| name(*partition)).collect();
                let op = Op::Poll(Polled { partitions: Vec::new(), rebalanced });
                recorder.record(process, Kind::Ok, op);
                mine = all;
            }
            Ok(Event::Idle) => {}
            Err(error) => consumer_failed(recorder, "read in a group", &error).await,
        }
    }
    recorder.record(process, Kind::Ok, Op::Close);
    close(recorder, consumer).await;
}

/// All members of the group, and the reader.
pub(crate) fn readers(
    scene: &Arc<Scene>,
    network: &Network,
    over: &watch::Receiver<bool>,
    tasks: &mut JoinSet<()>,
) {
    tasks.spawn(read(Arc::clone(scene), client(network, 1), over.clone()));
    for member in 0..MEMBERS {
        let client = client(network, member);
        tasks.spawn(read_in_group(Arc::clone(scene), client, over.clone()));
    }
}

/// Reads every partition from its beginning to where it ends when this is asked.
pub(crate) async fn read_to_the_end(
    scene: &Scene,
    client: Client,
    within: Duration,
) -> Result<u64, Failure> {
    let recorder = &scene.recorder;
    let process = recorder.process();
    let mut consumer = assign(scene, process, client.clone());
    recorder.record(process, Kind::Invoke, Op::End(Vec::new()));
    let wanted = (0..scene.partitions).map(|it| ((TOPIC.to_owned(), it), OffsetSpec::Latest));
    let ends = client.offsets(&wanted.collect::<Vec<_>>()).await;
    let ends = ends.map_err(context("ask where partitions end"))?;
    let ends: BTreeMap<u32, i64> =
        ends.into_iter().map(|((_, it), at)| (it, at.offset.unwrap_or(0))).collect();
    let mut missing: BTreeMap<u32, i64> = ends.clone();
    missing.retain(|_, end| *end > 0);
    let reading = async {
        while !missing.is_empty() {
            match consumer.poll(POLL_MAX).await {
                Ok(Event::Records(records)) => {
                    polled(recorder, process, &records);
                    missing
                        .retain(|it, end| *it != records.partition || records.next_offset < *end);
                }
                Ok(Event::Assigned(_) | Event::Idle) => {}
                Err(error) => consumer_failed(recorder, "read to the end", &error).await,
            }
        }
    };
    if timeout(within, reading).await.is_err() {
        return Err(Failure(format!("not read within {within:?}, up to: {missing:?} of {ends:?}")));
    }
    let total = ends.values().sum::<i64>();
    let position = |(it, end): (u32, i64)| Position { partition: name(it), offset: unsigned(end) };
    recorder.record(process, Kind::Ok, Op::End(ends.into_iter().map(position).collect()));
    recorder.record(process, Kind::Ok, Op::Close);
    close(recorder, consumer).await;
    Ok(unsigned(total))
}

/// A reader of all partitions that is told of an offset that is not there, rather than to begin anew.
fn assign(scene: &Scene, process: u32, client: Client) -> Consumer {
    let partitions: Vec<u32> = (0..scene.partitions).collect();
    let names = partitions.iter().map(|it| name(*it)).collect();
    scene.recorder.record(process, Kind::Ok, Op::Assign(names));
    let begin = |it: &u32| Position { partition: name(*it), offset: 0 };
    scene.recorder.record(process, Kind::Ok, Op::Seek(partitions.iter().map(begin).collect()));
    let config = ConsumerConfig { reset: Reset::Fail, ..ConsumerConfig::default() };
    let positions = partitions.into_iter().map(|it| ((TOPIC.to_owned(), it), 0)).collect();
    Consumer::assign(client, config, positions)
}

fn polled(recorder: &Recorder, process: u32, records: &PartitionRecords) {
    let read = records.records.iter().map(|record| {
        let value = record.value.as_deref().unwrap_or_default();
        let digits = value.split(|byte| *byte == b',').next().unwrap_or_default();
        let number = std::str::from_utf8(digits).ok().and_then(|text| text.parse().ok());
        // What no number stands in was sent by nobody: the checks say so.
        (unsigned(record.offset), number.unwrap_or(u64::MAX))
    });
    let part = PolledPartition { partition: name(records.partition), records: read.collect() };
    if part.records.is_empty() {
        return;
    }
    let polled = Polled { partitions: vec![part], rebalanced: Vec::new() };
    recorder.record(process, Kind::Ok, Op::Poll(polled));
}

async fn consumer_failed(recorder: &Recorder, who: &str, error: &ConsumeError) {
    recorder.error(format!("{who}: {error}"));
    sleep(PAUSE).await;
}

async fn close(recorder: &Recorder, consumer: Consumer) {
    match timeout(REQUEST_MAX, consumer.close()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => recorder.error(format!("close: {error}")),
        Err(_) => recorder.error(format!("close: not done within {REQUEST_MAX:?}")),
    }
}

fn unsigned(offset: i64) -> u64 {
    u64::try_from(offset).expect("offsets are not negative")
}
