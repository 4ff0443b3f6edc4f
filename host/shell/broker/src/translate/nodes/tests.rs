//! Three brokers and a topic, and who of them is named to whom.

use brooklet_meta::MetaRecord;
use brooklet_meta::broker::{DirectoryId, Endpoint, Incarnation};
use brooklet_meta::cluster::Settings;
use brooklet_meta::decide::broker::{RegisterBroker, register_broker};
use brooklet_meta::decide::feature::begin_cluster;
use brooklet_meta::decide::heartbeat::{Heartbeat, fence_broker, heartbeat};
use brooklet_meta::decide::setting::{Alteration, Operation, Resource, alter_settings};
use brooklet_meta::decide::topic::{NewTopic, create_topics};
use brooklet_meta::record::{ClusterRecord, FEATURE, LEVELS};
use brooklet_types::TopicId;

use super::*;

pub(crate) const FLIGHTS: TopicId = TopicId([7; 16]);

/// Brokers 1, 2 and 3 in racks a, b and b. All listen for PLAINTEXT, and the first two for SSL. They keep three partitions of a
/// topic, each led by one of them, and one of another that groups are kept in, led by the third.
pub(crate) fn cluster() -> Cluster {
    let mut cluster = Cluster::new(Settings::new());
    let begun = begin_cluster(&cluster);
    apply(&mut cluster, &begun.records);
    for (id, rack) in [(1, "a"), (2, "b"), (3, "b")] {
        let registered = register_broker(&cluster, false, &run(id, rack)).unwrap();
        apply(&mut cluster, &registered.records);
        beat(&mut cluster, id, false);
    }
    let replicas = [vec![1, 2, 3], vec![2, 3, 1], vec![3, 1, 2]];
    create(&mut cluster, FLIGHTS, "flights", &replicas);
    create(&mut cluster, TopicId([8; 16]), "__consumer_offsets", &replicas[2..]);
    cluster
}

fn run(id: i32, rack: &str) -> RegisterBroker {
    let endpoint = |name: &str, port| Endpoint {
        name: name.to_owned(),
        host: format!("host{id}"),
        port,
        protocol: 0,
    };
    let mut endpoints = vec![endpoint("PLAINTEXT", 9092)];
    if id < 3 {
        endpoints.push(endpoint("SSL", 9093));
    }
    RegisterBroker {
        broker: BrokerId(id),
        incarnation: Incarnation([1; 16]),
        directory: DirectoryId([1; 16]),
        endpoints,
        rack: Some(rack.to_owned()),
        features: BTreeMap::from([(FEATURE.to_owned(), LEVELS)]),
        clean: true,
    }
}

fn create(cluster: &mut Cluster, id: TopicId, name: &str, replicas: &[Vec<i32>]) {
    let wanted = NewTopic {
        id,
        name: name.to_owned(),
        partitions: -1,
        replication_factor: -1,
        assignments: (0..).zip(replicas.iter().cloned()).collect(),
        settings: Vec::new(),
        refused: None,
    };
    let created = create_topics(cluster, &[wanted], false);
    assert!(created.reply[0].is_ok(), "{:?}", created.reply);
    apply(cluster, &created.records);
}

fn apply(cluster: &mut Cluster, records: &[MetaRecord]) {
    records.iter().for_each(|record| cluster.apply(record));
}

fn beat(cluster: &mut Cluster, id: i32, wants_shutdown: bool) {
    let broker = BrokerId(id);
    let epoch = cluster.registration(broker).unwrap().epoch;
    let (metadata_version, wants_fence) = (cluster.version(), false);
    let heard = Heartbeat { broker, epoch, metadata_version, wants_fence, wants_shutdown };
    let decision = heartbeat(cluster, false, &heard).unwrap();
    apply(cluster, &decision.records);
}

/// Nobody has heard of a broker for too long.
pub(crate) fn fence(cluster: &mut Cluster, id: i32) {
    let epoch = cluster.registration(BrokerId(id)).unwrap().epoch;
    let fenced = fence_broker(cluster, BrokerId(id), epoch);
    apply(cluster, &fenced.records);
}

/// A broker would like to stop.
pub(crate) fn stop(cluster: &mut Cluster, id: i32) {
    beat(cluster, id, true);
}

/// Nothing is acknowledged with fewer in sync: who leaves the set then stays eligible.
pub(crate) fn require_in_sync(cluster: &mut Cluster, count: u32) {
    let (name, value) = ("min.insync.replicas".to_owned(), Some(count.to_string()));
    let change = Alteration { name, operation: Operation::Set, value };
    let resource = Resource::Topic("flights".to_owned());
    let decision = alter_settings(cluster, &[(resource, vec![change])], false);
    assert_eq!(decision.reply, [Ok(())]);
    apply(cluster, &decision.records);
}

/// One broker leads all partitions of the topic.
pub(crate) fn lead(cluster: &mut Cluster, id: i32) {
    let topic = cluster.topic_by_id(FLIGHTS).unwrap();
    let led = topic.indexed().map(|(partition, now)| {
        let now = Partition { leader: Some(BrokerId(id)), ..now.clone() };
        MetaRecord::Cluster(ClusterRecord::PartitionChanged { topic: FLIGHTS, partition, now })
    });
    let led: Vec<MetaRecord> = led.collect();
    apply(cluster, &led);
}

/// For a client that has come in at broker 1 by an address that only it knows.
pub(crate) fn nodes<'a>(cluster: &'a Cluster, listener: &'a str) -> Nodes<'a> {
    let (this, host, port) = (BrokerId(1), "here".into(), 1111);
    Nodes::new(cluster, Entrance { this, host, port, listener })
}

pub(crate) fn partition(cluster: &Cluster, index: usize) -> &Partition {
    &cluster.topic_by_id(FLIGHTS).unwrap().partitions[index]
}

/// `number@host:port/rack` of each.
fn shown<'a>(nodes: impl IntoIterator<Item = &'a Node>) -> Vec<String> {
    let one = |node: &Node| {
        let rack = node.rack.as_deref().unwrap_or("-");
        format!("{}@{}:{}/{rack}", node.id, &*node.host, node.port)
    };
    nodes.into_iter().map(one).collect()
}

#[test]
fn a_broker_alone_names_itself_where_the_client_has_come_in() {
    for rack in [None, Some("a")] {
        let configured = rack.map(|rack: &str| ("broker.rack".to_owned(), rack.to_owned()));
        let mut cluster = Cluster::new(configured.into_iter().collect());
        apply(&mut cluster, &[MetaRecord::BrokerStarted { broker: BrokerId(1), clean: true }]);
        let nodes = nodes(&cluster, "QUIC");
        let expected = format!("1@here:1111/{}", rack.unwrap_or("-"));
        assert_eq!(shown(nodes.reached()), [expected]);
        assert!(nodes.fenced().is_empty());
        let replicas = vec![BrokerId(1)];
        let led = Partition { leader: Some(BrokerId(1)), replicas, ..Partition::default() };
        assert_eq!((nodes.leader(&led), nodes.offline(&led)), (Ok(BrokerId(1)), Vec::new()));
    }
}

#[test]
fn others_are_named_where_they_have_the_clients_listener() {
    let cluster = cluster();
    let table: [(&str, &[&str]); 3] = [
        ("PLAINTEXT", &["1@here:1111/a", "2@host2:9092/b", "3@host3:9092/b"]),
        ("SSL", &["1@here:1111/a", "2@host2:9093/b"]),
        ("QUIC", &["1@here:1111/a"]),
    ];
    for (listener, expected) in table {
        assert_eq!(shown(nodes(&cluster, listener).reached()), expected, "{listener}");
    }
}

#[test]
fn who_is_fenced_is_not_named_and_who_is_about_to_stop_is() {
    let mut cluster = cluster();
    stop(&mut cluster, 3);
    fence(&mut cluster, 2);
    let known = nodes(&cluster, "PLAINTEXT");
    assert_eq!(shown(known.reached()), ["1@here:1111/a", "3@host3:9092/b"]);
    assert_eq!(shown(&known.fenced()), ["2@host2:9092/b"]);
    assert!(shown(&nodes(&cluster, "QUIC").fenced()).is_empty());
    // Not even by itself.
    fence(&mut cluster, 1);
    let nodes = nodes(&cluster, "PLAINTEXT");
    assert_eq!(shown(nodes.reached()), ["3@host3:9092/b"]);
    assert_eq!(shown(&nodes.fenced()), ["1@here:1111/a", "2@host2:9092/b"]);
}

#[test]
fn a_leader_is_told_to_who_reaches_it() {
    let mut cluster = cluster();
    let leader = |cluster: &Cluster, listener: &str, index| {
        nodes(cluster, listener).leader(partition(cluster, index))
    };
    assert_eq!(leader(&cluster, "PLAINTEXT", 2), Ok(BrokerId(3)));
    assert_eq!(leader(&cluster, "SSL", 2), Err(ErrorCode::ListenerNotFound));
    assert_eq!(nodes(&cluster, "SSL").offline(partition(&cluster, 0)), [BrokerId(3)]);
    fence(&mut cluster, 3);
    assert_eq!(leader(&cluster, "PLAINTEXT", 2), Ok(BrokerId(1)), "another was elected");
    assert_eq!(nodes(&cluster, "PLAINTEXT").offline(partition(&cluster, 2)), [BrokerId(3)]);
    fence(&mut cluster, 2);
    fence(&mut cluster, 1);
    assert_eq!(leader(&cluster, "PLAINTEXT", 2), Err(ErrorCode::LeaderNotAvailable));
    // As an image may have it that somebody else wrote.
    let gone = Partition { leader: Some(BrokerId(9)), ..Partition::default() };
    let told = nodes(&cluster, "PLAINTEXT").leader(&gone);
    assert_eq!(told, Err(ErrorCode::LeaderNotAvailable));
}
