//! Partitions on streams of their own: order and once, streams that die, streams that are not to be had, and packets that
//! are lost.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use brooklet_broker::config::Config as BrokerConfig;
use brooklet_client::admin::NewTopic;
use brooklet_client::{
    Address, Admin, Client, ClientConfig, Consumer, ConsumerConfig, Delivery, Event, Producer,
    ProducerConfig, ProducerRecord,
};
use brooklet_hook::NoHooks;
use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use self::bridge::{Bridge, Faults};
use self::lossy::Lossy;

mod bridge;
mod lossy;

/// A deadline for whatever must not take long.
pub(crate) const SOON: Duration = Duration::from_secs(30);

pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(SOON, what).await.expect("it takes too long")
}

/// A broker with a listener of TCP and one of QUIC.
pub(crate) struct Broker {
    pub(crate) tcp: Address,
    quic: Address,
    stop: CancellationToken,
    done: JoinHandle<()>,
    _data: tempfile::TempDir,
}

impl Broker {
    pub(crate) async fn start() -> Broker {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().display().to_string();
        let listeners = r#"["tcp://127.0.0.1:0", "quic://127.0.0.1:0"]"#;
        let text = format!("(data: {data:?}, listeners: {listeners}, admin: \"none\")");
        let config = BrokerConfig::read("test.ron", &text).unwrap();
        let (tell, ready) = oneshot::channel();
        let stop = CancellationToken::new();
        let stopping = stop.clone();
        let done = tokio::spawn(async move {
            let told = |ready: &brooklet_broker::Ready| tell.send(ready.clone()).unwrap();
            brooklet_broker::run(config, Arc::new(NoHooks), stopping, told).await.unwrap();
        });
        let ready = soon(ready).await.unwrap();
        let [tcp, quic] = [0, 1].map(|at| ready.listeners[at].to_string().parse().unwrap());
        Broker { tcp, quic, stop, done, _data: folder }
    }

    pub(crate) async fn stop(self) {
        self.stop.cancel();
        soon(self.done).await.unwrap();
    }
}

pub(crate) async fn create(client: &Client, partitions: u32) {
    let topic = NewTopic {
        name: "t".to_owned(),
        partitions: Some(partitions),
        replication: None,
        settings: Vec::new(),
    };
    Admin::new(client.clone()).create_topic(&topic, false).await.unwrap();
}

/// A client that goes to `address`, whatever a broker advertises.
pub(crate) fn client(mut config: ClientConfig, address: Address, lanes: u32) -> Client {
    config.brokers = vec![address];
    config.follow_advertised = false;
    config.partition_lanes = lanes;
    Client::new(config)
}

fn record(partition: u32, value: impl Into<Bytes>) -> ProducerRecord {
    ProducerRecord {
        topic: "t".into(),
        partition: Some(partition),
        value: Some(value.into()),
        ..ProducerRecord::default()
    }
}

/// Batches of a record or a few, so that there is much to bring out of order.
fn producer(client: &Client) -> Producer {
    let config = ProducerConfig { batch_bytes: 200, linger: Duration::ZERO, ..Default::default() };
    Producer::start(client.clone(), config).unwrap()
}

/// Sends `count` numbers to each partition.
pub(crate) async fn send_numbers(client: &Client, partitions: u32, count: u32) {
    let producer = producer(client);
    let mut deliveries: Vec<Delivery> = Vec::new();
    for number in 0..count {
        for partition in 0..partitions {
            let sent = producer.send(record(partition, number.to_string())).await;
            deliveries.push(sent.unwrap());
        }
    }
    for delivery in deliveries {
        delivery.await.unwrap();
    }
}

pub(crate) fn from_the_start(partitions: u32) -> BTreeMap<(String, u32), i64> {
    (0..partitions).map(|partition| (("t".to_owned(), partition), 0)).collect()
}

/// Sees each of the numbers in its place, once.
async fn read_numbers(client: &Client, partitions: u32, count: u32) {
    let config = ConsumerConfig::default();
    let mut consumer = Consumer::assign(client.clone(), config, from_the_start(partitions));
    let mut next: BTreeMap<u32, u32> = (0..partitions).map(|partition| (partition, 0)).collect();
    while next.values().any(|next| *next < count) {
        let Event::Records(batch) = consumer.poll(SOON).await.unwrap() else {
            panic!("nothing comes after {next:?}");
        };
        let next = next.get_mut(&batch.partition).unwrap();
        for record in batch.records {
            let expected = next.to_string();
            assert_eq!(record.value.unwrap(), expected, "in partition {}", batch.partition);
            *next += 1;
        }
    }
    assert!(next.values().all(|next| *next == count), "{next:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_are_spread_over_streams_and_each_keeps_to_its_own() {
    let broker = Broker::start().await;
    let bridge = Bridge::start(broker.tcp.clone(), None, Faults::None);
    let client = client(bridge.client(), bridge.address.clone(), 4);
    create(&client, 6).await;
    soon(Box::pin(send_numbers(&client, 6, 100))).await;
    soon(Box::pin(read_numbers(&client, 6, 100))).await;
    for streams in [bridge.produced(), bridge.fetched()] {
        let mut all: Vec<i32> = streams.values().flatten().copied().collect();
        all.sort_unstable();
        assert_eq!(all, [0, 1, 2, 3, 4, 5], "a partition on two streams: {streams:?}");
        let mut sizes: Vec<usize> = streams.values().map(BTreeSet::len).collect();
        sizes.sort_unstable();
        assert_eq!(sizes, [1, 1, 2, 2], "{streams:?}");
    }
    assert_eq!(bridge.connections(), 1);
    soon(client.close()).await;
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_lane_has_carried_ends_with_whoever_took_it() {
    let broker = Broker::start().await;
    let bridge = Bridge::start(broker.tcp.clone(), None, Faults::None);
    let client = client(bridge.client(), bridge.address.clone(), 64);
    create(&client, 4).await;
    for _ in 0..3 {
        soon(Box::pin(send_numbers(&client, 4, 1))).await;
    }
    // The streams of producers that have gone end; those of the client itself stay.
    soon(bridge.streams_fall_to(2)).await;
    soon(client.metadata(Some(&[]))).await.unwrap();
    soon(client.close()).await;
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_stored_once_and_in_order_although_streams_die() {
    let broker = Broker::start().await;
    for lanes in [3, 64] {
        // Every fifth request is lost with its stream, before the broker has it or after.
        let bridge = Bridge::start(broker.tcp.clone(), None, Faults::LoseEach(5));
        let client = client(bridge.client(), bridge.address.clone(), lanes);
        create(&client, 8).await;
        soon(Box::pin(send_numbers(&client, 8, 50))).await;
        assert!(bridge.killed() > 3, "{} streams have died", bridge.killed());
        soon(Box::pin(read_numbers(&client, 8, 50))).await;
        Admin::new(client.clone()).delete_topic("t").await.unwrap();
        soon(client.close()).await;
    }
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_a_broker_gives_few_streams_partitions_share_them() {
    let broker = Broker::start().await;
    for streams in [1, 3, 5] {
        let bridge = Bridge::start(broker.tcp.clone(), Some(streams), Faults::None);
        let client = client(bridge.client(), bridge.address.clone(), 64);
        create(&client, 16).await;
        soon(Box::pin(send_numbers(&client, 16, 20))).await;
        assert!(bridge.produced().len() <= usize::try_from(streams).unwrap());
        soon(Box::pin(read_numbers(&client, 16, 20))).await;
        // With one stream each: for what any broker answers and what this one does, for the producer, and for the consumer.
        assert!(bridge.connections() <= 4, "{} connections", bridge.connections());
        Admin::new(client.clone()).delete_topic("t").await.unwrap();
        soon(client.close()).await;
    }
    broker.stop().await;
}

/// Whether, while the packets with a large record of partition 0 are lost, a small one of partition 1 is
/// acknowledged.
async fn is_acknowledged_meanwhile(broker: &Broker, lanes: u32) -> bool {
    let lossy = Lossy::start(&broker.quic).await;
    let client = client(ClientConfig::new(Vec::new()), lossy.address.clone(), lanes);
    let producer = producer(&client);
    for partition in [0, 1] {
        soon(producer.send(record(partition, "first"))).await.unwrap().await.unwrap();
    }
    lossy.to_broker.lose_large();
    let large = producer.send(record(0, vec![0; 2000])).await.unwrap();
    soon(lossy.to_broker.has_lost()).await;
    let small = producer.send(record(1, "small")).await.unwrap();
    let wait = if lanes == 1 { Duration::from_millis(300) } else { SOON };
    let meanwhile = timeout(wait, small.clone().into_future()).await.is_ok();
    assert!(large.outcome().is_none(), "nothing was lost");
    lossy.to_broker.lose_nothing();
    soon(large.into_future()).await.unwrap();
    soon(small.into_future()).await.unwrap();
    soon(client.close()).await;
    meanwhile
}

/// The same of what is read.
async fn is_read_meanwhile(broker: &Broker, lanes: u32) -> bool {
    let lossy = Lossy::start(&broker.quic).await;
    let near = Client::new(ClientConfig::new(vec![broker.tcp.clone()]));
    create(&near, 2).await;
    let client = client(ClientConfig::new(Vec::new()), lossy.address.clone(), lanes);
    let producer = producer(&near);
    let config = ConsumerConfig::default();
    let mut consumer = Consumer::assign(client.clone(), config, from_the_start(2));
    for partition in [0, 1] {
        soon(producer.send(record(partition, "first"))).await.unwrap().await.unwrap();
        let event = consumer.poll(SOON).await.unwrap();
        assert!(matches!(&event, Event::Records(batch) if batch.partition == partition));
    }
    lossy.to_client.lose_large();
    soon(producer.send(record(0, vec![0; 2000]))).await.unwrap().await.unwrap();
    soon(lossy.to_client.has_lost()).await;
    soon(producer.send(record(1, "small"))).await.unwrap().await.unwrap();
    let wait = if lanes == 1 { Duration::from_millis(300) } else { SOON };
    let event = consumer.poll(wait).await.unwrap();
    let meanwhile = matches!(&event, Event::Records(batch) if batch.partition == 1);
    assert_eq!(meanwhile, !matches!(event, Event::Idle), "what was lost has come");
    lossy.to_client.lose_nothing();
    let mut left: BTreeSet<u32> = if meanwhile { [0].into() } else { [0, 1].into() };
    while !left.is_empty() {
        let Event::Records(batch) = consumer.poll(SOON).await.unwrap() else {
            panic!("{left:?} never come");
        };
        assert!(left.remove(&batch.partition));
    }
    Admin::new(near).delete_topic("t").await.unwrap();
    soon(client.close()).await;
    meanwhile
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_packet_delays_one_partition_only() {
    let broker = Broker::start().await;
    let near = Client::new(ClientConfig::new(vec![broker.tcp.clone()]));
    create(&near, 2).await;
    // Once in a while what is small is packed together with what is lost: it is the rule that is shown.
    let mut meanwhile = 0;
    for _ in 0..3 {
        meanwhile += u32::from(Box::pin(is_acknowledged_meanwhile(&broker, 64)).await);
    }
    assert!(meanwhile >= 2, "{meanwhile} of 3");
    assert!(!Box::pin(is_acknowledged_meanwhile(&broker, 1)).await, "one lane is one order");
    Admin::new(near).delete_topic("t").await.unwrap();
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_packet_that_is_lost_on_the_way_out_delays_one_partition_only() {
    let broker = Broker::start().await;
    let mut meanwhile = 0;
    for _ in 0..3 {
        meanwhile += u32::from(Box::pin(is_read_meanwhile(&broker, 64)).await);
    }
    assert!(meanwhile >= 2, "{meanwhile} of 3");
    assert!(!Box::pin(is_read_meanwhile(&broker, 1)).await, "one lane is one order");
    broker.stop().await;
}
