//! Three brokers of one cluster, of which any may end at any moment.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use brooklet_client::admin::NewTopic;
use brooklet_client::{
    Admin, Client, ClientConfig, Consumer, ConsumerConfig, Event, Producer, ProducerConfig,
    ProducerRecord,
};
use brooklet_cluster::Broker;
use brooklet_cluster::broker::program;
use brooklet_types::BrokerId;

pub(crate) const PARTITIONS: u32 = 3;
/// For anything to come about, in debug builds on a loaded machine.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// The data folders of three brokers, and those that run.
pub(crate) struct Three {
    pub(crate) folders: Vec<tempfile::TempDir>,
    pub(crate) running: Vec<Option<Broker>>,
}

/// Runs `brooklet cluster …`, and gives what it prints.
pub(crate) fn cluster(arguments: &[&str]) -> String {
    let output = Command::new(program()).arg("cluster").args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {said}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A port that is free now.
pub(crate) fn free() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

impl Three {
    /// A cluster with its three brokers running.
    pub(crate) fn start() -> Three {
        let folders: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
        let path = |place: usize| folders[place].path().to_str().unwrap().to_owned();
        let first = path(0);
        cluster(&["init", "--data", &first, "--listen", &free()]);
        for node in 1..3 {
            let token = cluster(&["token", &(node + 1).to_string(), "--data", &first]);
            cluster(&["join", &token, "--data", &path(node), "--listen", &free()]);
        }
        let mut three = Three { folders, running: vec![None, None, None] };
        for place in 0..3 {
            three.begin(place);
        }
        three
    }

    /// Starts a broker, and waits until it takes part.
    pub(crate) fn begin(&mut self, place: usize) {
        // Others end and are cut off, which is told as warnings.
        let broker = Broker::builder().data(self.folders[place].path()).expect_log(" WARN ");
        self.running[place] = Some(broker.start());
    }

    pub(crate) fn kill(&mut self, place: usize) {
        self.running[place].take().unwrap().kill();
    }

    pub(crate) fn stop(&mut self, place: usize) {
        assert!(self.running[place].take().unwrap().stop().success());
    }

    /// A client that knows all who run.
    pub(crate) fn client(&self) -> Client {
        let running = self.running.iter().flatten();
        let addresses = running.map(|broker| broker.address().to_string().parse().unwrap());
        let config = ClientConfig {
            metadata_age_max: Duration::from_secs(1),
            ..ClientConfig::new(addresses.collect())
        };
        Client::new(config)
    }

    /// Waits until every partition has all of its copies in sync, and says who leads what.
    pub(crate) async fn whole(&self, topic: &str) -> Vec<BrokerId> {
        let client = self.client();
        let deadline = Instant::now() + SOON;
        loop {
            let metadata = client.metadata(Some(&[topic.to_owned()])).await.unwrap();
            let partitions = metadata.topics.values().flat_map(|topic| &topic.partitions);
            let partitions: Vec<_> = partitions.collect();
            let is_whole = partitions.iter().all(|it| it.in_sync.len() == it.replicas.len());
            if is_whole && partitions.len() == PARTITIONS as usize {
                let leaders = partitions.iter().filter_map(|it| it.leader);
                let leaders: Vec<BrokerId> = leaders.collect();
                if leaders.len() == partitions.len() {
                    return leaders;
                }
            }
            let logs: Vec<_> = self.running.iter().flatten().map(Broker::log).collect();
            assert!(Instant::now() < deadline, "{partitions:?}\n{}", logs.join("\n---\n"));
            tokio::time::sleep(Duration::from_millis(50)).await; // polls the metadata
        }
    }
}

async fn create(client: &Client, topic: &str) {
    let settings = vec![("min.insync.replicas".to_owned(), "2".to_owned())];
    let name = topic.to_owned();
    let new = NewTopic { name, partitions: Some(PARTITIONS), replication: Some(3), settings };
    Admin::new(client.clone()).create_topic(&new, false).await.unwrap();
}

/// Sends numbers, each to its partition, until it is over. Says how many were sent; each was stored.
async fn produce(client: Client, sent: Arc<AtomicU64>, is_over: Arc<AtomicBool>) -> u64 {
    let producer = Producer::start(client, ProducerConfig::default()).unwrap();
    let mut number = 0_u64;
    while !is_over.load(Ordering::Relaxed) {
        let mut delivery = None;
        for _ in 0..20 {
            let record = ProducerRecord {
                topic: "numbers".into(),
                partition: Some(u32::try_from(number).unwrap() % PARTITIONS),
                value: Some(number.to_string().into()),
                ..ProducerRecord::default()
            };
            delivery = Some(producer.send(record).await.unwrap());
            number += 1;
        }
        delivery.unwrap().await.expect("it is stored");
        sent.store(number, Ordering::Relaxed);
    }
    producer.flush().await;
    number
}

/// The numbers of a partition, in the order of its log.
pub(crate) async fn read(client: &Client) -> Vec<Vec<u64>> {
    let places: BTreeMap<_, _> = (0..PARTITIONS).map(|it| (("numbers".into(), it), 0)).collect();
    let mut consumer = Consumer::assign(client.clone(), ConsumerConfig::default(), places);
    let mut all = vec![Vec::new(); PARTITIONS as usize];
    let mut ended = [false; PARTITIONS as usize];
    while !ended.iter().all(|ended| *ended) {
        let Event::Records(batch) = consumer.poll(SOON).await.unwrap() else { continue };
        let partition = batch.partition as usize;
        for record in batch.records {
            let value = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
            all[partition].push(value.parse().unwrap());
        }
        ended[partition] |= batch.next_offset >= batch.high_watermark;
    }
    all
}

/// Waits until more is stored than before.
async fn goes_on(sent: &AtomicU64, three: &Three) {
    let before = sent.load(Ordering::Relaxed);
    let deadline = Instant::now() + SOON;
    while sent.load(Ordering::Relaxed) < before + 100 {
        let logs = || three.running.iter().flatten().map(Broker::log).collect::<Vec<_>>();
        assert!(Instant::now() < deadline, "nothing is stored\n{}", logs().join("\n---\n"));
        tokio::time::sleep(Duration::from_millis(5)).await; // polls a counter
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn any_of_three_may_be_killed_and_all_that_was_stored_is_there_once_and_in_order() {
    let mut three = Three::start();
    let client = three.client();
    create(&client, "numbers").await;
    three.whole("numbers").await;
    let (sent, is_over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let producing = tokio::spawn(produce(client, Arc::clone(&sent), Arc::clone(&is_over)));
    for place in 0..3 {
        goes_on(&sent, &three).await;
        three.kill(place);
        goes_on(&sent, &three).await;
        three.begin(place);
        three.whole("numbers").await;
    }
    is_over.store(true, Ordering::Relaxed);
    let count = producing.await.unwrap();
    let all = read(&three.client()).await;
    for (partition, numbers) in (0_u64..).zip(&all) {
        let expected: Vec<u64> =
            (0..count).filter(|number| number % u64::from(PARTITIONS) == partition).collect();
        assert_eq!(numbers, &expected, "partition {partition}");
    }
}
