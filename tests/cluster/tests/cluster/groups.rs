//! Groups of our own client on a real broker: members come and go while records flow, and each record
//! is read once, in order, whatever the assignor.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use brooklet_client::admin::NewTopic;
use brooklet_client::consumer::Assignor;
use brooklet_client::offsets::Partition;
use brooklet_client::{
    Admin, Client, ClientConfig, Consumer, ConsumerConfig, Event, GroupConfig, Producer,
    ProducerConfig, ProducerRecord,
};
use brooklet_cluster::Broker;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

const TOPIC: &str = "t";
const PARTITIONS: u32 = 6;

/// From the beginning of a story to its end, on a machine that does other things too.
const STORY_MAX: Duration = Duration::from_secs(60);

/// What a member tells the story.
#[derive(Debug)]
enum News {
    /// It has these partitions now.
    Assigned(BTreeSet<u32>),
    /// It has read the number of a record.
    Read { partition: u32, number: u64 },
}

/// Members by name, and everything they said.
struct Story {
    client: Client,
    group: GroupConfig,
    members: BTreeMap<&'static str, (mpsc::Sender<()>, tokio::task::JoinHandle<()>)>,
    sender: mpsc::Sender<(&'static str, News)>,
    news: mpsc::Receiver<(&'static str, News)>,
    /// What each member has.
    assigned: BTreeMap<&'static str, BTreeSet<u32>>,
    /// The next number of each partition.
    next: BTreeMap<u32, u64>,
    /// How many of those after which nothing else was said since.
    read: u64,
    deadline: Instant,
}

impl Story {
    fn of(client: &Client, assignor: Assignor) -> Story {
        let (sender, news) = mpsc::channel(1024);
        let mut group = GroupConfig::new(format!("group-{}", assignor.name()));
        group.assignors = vec![assignor];
        group.heartbeat_interval = Duration::from_millis(50);
        Story {
            client: client.clone(),
            group,
            members: BTreeMap::new(),
            sender,
            news,
            assigned: BTreeMap::new(),
            next: BTreeMap::new(),
            read: 0,
            deadline: Instant::now() + STORY_MAX,
        }
    }

    fn join(&mut self, name: &'static str) {
        let (stop, stopped) = mpsc::channel(1);
        let topics = vec![TOPIC.to_owned()];
        let config = ConsumerConfig::default();
        let consumer = Consumer::subscribe(self.client.clone(), config, self.group.clone(), topics);
        let task = tokio::spawn(take_part(name, consumer, stopped, self.sender.clone()));
        self.members.insert(name, (stop, task));
    }

    /// Stops a member in an orderly way; what it has read is committed.
    async fn leave(&mut self, name: &'static str) {
        let (stop, task) = self.members.remove(name).unwrap();
        stop.send(()).await.unwrap();
        let mut task = std::pin::pin!(task);
        loop {
            // What it says until then counts.
            tokio::select! {
                news = self.news.recv() => self.hear(news.unwrap()),
                ended = &mut task => break ended.unwrap(),
            }
        }
        while let Ok(news) = self.news.try_recv() {
            self.hear(news);
        }
        self.assigned.remove(name);
    }

    /// Listens until `done`.
    async fn until(&mut self, what: &str, done: impl Fn(&Story) -> bool) {
        while !done(self) {
            match timeout_at(self.deadline, self.news.recv()).await {
                Ok(news) => self.hear(news.unwrap()),
                Err(_) => panic!("{what}: {:?} {:?}", self.assigned, self.next),
            }
        }
    }

    fn hear(&mut self, (name, news): (&'static str, News)) {
        match news {
            News::Assigned(partitions) => drop(self.assigned.insert(name, partitions)),
            News::Read { partition, number } => {
                let next = self.next.entry(partition).or_default();
                assert_eq!(number, *next, "{name}, partition {partition}: lost or twice");
                *next += 1;
                self.read += 1;
            }
        }
    }

    /// Whether the members have everything, `each` its share, and nothing twice.
    fn is_spread(&self, each: &[usize]) -> bool {
        let mut sizes: Vec<usize> = self.assigned.values().map(BTreeSet::len).collect();
        sizes.sort_unstable();
        let all: BTreeSet<u32> = self.assigned.values().flatten().copied().collect();
        sizes == each && all.len() == each.iter().sum::<usize>()
    }

    /// Waits until so many more records were read than now.
    async fn read_on(&mut self, records: u64) {
        let goal = self.read + records;
        self.until("reading", |story| story.read >= goal).await;
    }
}

/// Reads until it is told to stop.
async fn take_part(
    name: &'static str,
    mut consumer: Consumer,
    mut stopped: mpsc::Receiver<()>,
    news: mpsc::Sender<(&'static str, News)>,
) {
    let indexes = |partitions: BTreeSet<Partition>| partitions.into_iter().map(|(_, index)| index);
    loop {
        let event = tokio::select! {
            event = consumer.poll(Duration::from_secs(1)) => event.unwrap(),
            _ = stopped.recv() => break consumer.close().await.unwrap(),
        };
        match event {
            Event::Assigned(partitions) => {
                let partitions = indexes(partitions).collect();
                news.send((name, News::Assigned(partitions))).await.unwrap();
            }
            Event::Records(batch) => {
                for record in batch.records {
                    let number =
                        String::from_utf8_lossy(record.value.as_deref().unwrap()).parse().unwrap();
                    let read = News::Read { partition: batch.partition, number };
                    news.send((name, read)).await.unwrap();
                }
            }
            Event::Idle => {}
        }
    }
}

/// Writes numbers to every partition until it is dropped.
fn write_numbers(client: Client) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        let producer = Producer::start(client, ProducerConfig::default()).unwrap();
        let topic = TOPIC.into();
        let mut pace = tokio::time::interval(Duration::from_millis(2));
        for number in 0u64.. {
            pace.tick().await;
            for partition in 0..PARTITIONS {
                let record = ProducerRecord {
                    topic: std::sync::Arc::clone(&topic),
                    partition: Some(partition),
                    value: Some(number.to_string().into()),
                    ..ProducerRecord::default()
                };
                producer.send(record).await.unwrap();
            }
        }
    })
}

async fn client_of(broker: &Broker) -> Client {
    let address = broker.address().to_string().parse().unwrap();
    let client = Client::new(ClientConfig::new(vec![address]));
    let topic = NewTopic {
        name: TOPIC.to_owned(),
        partitions: Some(PARTITIONS),
        replication: None,
        settings: vec![("brooklet.flush".to_owned(), "os".to_owned())],
    };
    Admin::new(client.clone()).create_topic(&topic, false).await.unwrap();
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn every_record_is_read_once_in_order_while_members_come_and_go() {
    let broker = Broker::start();
    let client = client_of(&broker).await;
    let writer = write_numbers(client.clone());
    for assignor in Assignor::ALL {
        let mut story = Story::of(&client, assignor);
        story.join("a");
        story.until("a alone", |story| story.is_spread(&[6])).await;
        story.read_on(100).await;
        story.join("b");
        story.until("a and b", |story| story.is_spread(&[3, 3])).await;
        story.read_on(100).await;
        story.join("c");
        story.until("a, b and c", |story| story.is_spread(&[2, 2, 2])).await;
        story.read_on(100).await;
        story.leave("a").await;
        story.until("b and c", |story| story.is_spread(&[3, 3])).await;
        story.read_on(100).await;
        story.leave("b").await;
        story.leave("c").await;
        story.join("d");
        story.until("d alone", |story| story.is_spread(&[6])).await;
        story.read_on(100).await;
        story.leave("d").await;
    }
    writer.abort();
    let _ = writer.await;
    assert!(broker.stop().success());
}

/// What makes the protocol worth having: a rebalance that cannot end yet stops nobody.
#[tokio::test(flavor = "multi_thread")]
async fn a_cooperative_member_reads_on_while_the_group_waits_for_another() {
    let broker = Broker::start();
    let client = client_of(&broker).await;
    let writer = write_numbers(client.clone());
    let mut story = Story::of(&client, Assignor::CooperativeSticky);
    story.join("a");
    story.until("a alone", |story| story.is_spread(&[6])).await;
    // A member that never joins again: the group waits for it until its rebalance timeout.
    let config = ConsumerConfig::default();
    let mut silent =
        Consumer::subscribe(client.clone(), config, story.group.clone(), vec![TOPIC.to_owned()]);
    // Beside the story: a member whose news nobody hears does not join again either.
    let silent = tokio::spawn(async move {
        while !matches!(silent.poll(STORY_MAX).await.unwrap(), Event::Assigned(_)) {}
        silent
    });
    story.until("half of it moves", |story| story.assigned["a"].len() == 3).await;
    let silent = silent.await.unwrap();
    story.read_on(500).await;
    writer.abort();
    let _ = writer.await;
    drop(silent);
    assert!(broker.stop().success());
}

/// The leader looks whether topics have grown, and says so.
#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_given_partitions_that_were_added() {
    let broker = Broker::start();
    let client = client_of(&broker).await;
    let mut config = client.config().clone();
    config.metadata_age_max = Duration::from_millis(100);
    let mut story = Story::of(&Client::new(config), Assignor::Range);
    story.join("a");
    story.until("a alone", |story| story.is_spread(&[6])).await;
    Admin::new(client).create_partitions(TOPIC, 8).await.unwrap();
    story.until("what was added", |story| story.is_spread(&[8])).await;
    story.leave("a").await;
    assert!(broker.stop().success());
}
