//! What is asked, and what becomes of it: single answers as tables, histories as properties.

use crate::decide::topic::DeleteTopicError;
use brooklet_types::{BrokerId, ErrorCode, LeaderEpoch, TopicId};
use proptest::prelude::*;

use super::broker::broker_started;
use super::partition::{MorePartitions, create_partitions};
use super::producer_id::allot_producer_ids;
use super::setting::{Alteration, Operation, Resource, alter_settings, replace_settings};
use super::topic::{NewTopic, TopicRef, create_topics, delete_topics};
use crate::cluster::Cluster;
use crate::record::MetaRecord;
use crate::setting::{Source, describe_topic};

fn wanted(name: &str, id: u8) -> NewTopic {
    NewTopic {
        id: TopicId([id; 16]),
        name: name.to_owned(),
        partitions: 1,
        replication_factor: 1,
        assignments: Vec::new(),
        settings: Vec::new(),
        refused: None,
    }
}

fn assigned(assignments: &[(i32, &[i32])]) -> NewTopic {
    let assignments = assignments.iter().map(|(index, replicas)| (*index, replicas.to_vec()));
    let assignments = assignments.collect();
    NewTopic { partitions: -1, replication_factor: -1, assignments, ..wanted("assigned", 9) }
}

fn alteration(name: &str, operation: Operation, value: &str) -> Alteration {
    Alteration { name: name.to_owned(), operation, value: Some(value.to_owned()) }
}

/// Broker 1 with one topic, `a.b`.
fn cluster() -> Cluster {
    let mut cluster = Cluster::default();
    let started = broker_started(&cluster, BrokerId(1), true).unwrap();
    live(&mut cluster, &started.records);
    let created = create_topics(&cluster, &[wanted("a.b", 1)], false);
    live(&mut cluster, &created.records);
    cluster
}

fn live(cluster: &mut Cluster, records: &[MetaRecord]) {
    for record in records {
        cluster.apply(record);
    }
}

#[test]
fn a_topic_is_refused_in_kafkas_words() {
    let one = |change: &dyn Fn(&mut NewTopic)| {
        let mut topic = wanted("new", 2);
        change(&mut topic);
        topic
    };
    let setting = |name: &str, value: Option<&str>| {
        one(&|topic| topic.settings = vec![(name.to_owned(), value.map(str::to_owned))])
    };
    let cases = [
        (wanted("a.b", 2), ErrorCode::TopicAlreadyExists, "Topic 'a.b' already exists."),
        (
            wanted("a_b", 2),
            ErrorCode::InvalidTopicException,
            "Topic 'a_b' collides with existing topic: a.b",
        ),
        (
            wanted("..", 2),
            ErrorCode::InvalidTopicException,
            "Topic name is invalid: '..' is not allowed",
        ),
        (
            wanted("__cluster_metadata", 2),
            ErrorCode::InvalidRequest,
            "Creation of internal topic __cluster_metadata is prohibited.",
        ),
        (
            one(&|topic| topic.partitions = 0),
            ErrorCode::InvalidPartitions,
            "Number of partitions was set to an invalid non-positive value.",
        ),
        (
            one(&|topic| topic.partitions = 20_000),
            ErrorCode::PolicyViolation,
            "Excessively large number of partitions per request.",
        ),
        (
            one(&|topic| topic.replication_factor = 0),
            ErrorCode::InvalidReplicationFactor,
            "Replication factor must be larger than 0, or -1 to use the default value.",
        ),
        (
            assigned(&[(0, &[7])]),
            ErrorCode::InvalidReplicaAssignment,
            "The manual partition assignment includes broker 7, but no such broker is registered.",
        ),
        (
            assigned(&[(0, &[1]), (2, &[1])]),
            ErrorCode::InvalidReplicaAssignment,
            "partitions should be a consecutive 0-based integer sequence",
        ),
        (setting("bogus", Some("1")), ErrorCode::InvalidConfig, "Unknown topic config name: bogus"),
        (
            setting("retention.ms", None),
            ErrorCode::InvalidConfig,
            "Null value not supported for topic configs: retention.ms",
        ),
        (
            setting("remote.storage.enable", Some("true")),
            ErrorCode::InvalidConfig,
            "Tiered Storage functionality is disabled in the broker. Topic cannot be configured \
             with remote log storage.",
        ),
    ];
    let cluster = cluster();
    for (topic, code, message) in cases {
        let decision = create_topics(&cluster, std::slice::from_ref(&topic), false);
        assert!(decision.records.is_empty(), "{}", topic.name);
        let error = decision.reply[0].as_ref().unwrap_err();
        assert_eq!((error.code(), error.to_string().as_str()), (code, message));
    }
}

#[test]
fn topics_of_one_request_see_each_other() {
    let cluster = cluster();
    let twice = create_topics(&cluster, &[wanted("x", 2), wanted("x", 3)], false);
    assert!(
        twice.reply.iter().all(|one| {
            one.as_ref().is_err_and(|error| error.code() == ErrorCode::InvalidRequest)
        })
    );
    let colliding = create_topics(&cluster, &[wanted("x.y", 2), wanted("x_y", 3)], false);
    assert!(colliding.reply[0].is_ok() && colliding.reply[1].is_err());
    let both = [TopicRef::Name("a.b".to_owned()), TopicRef::Id(TopicId([1; 16]))];
    let deleted = delete_topics(&cluster, &both);
    assert_eq!(deleted.reply, [Err(DeleteTopicError::Duplicate), Err(DeleteTopicError::Duplicate)]);
    assert!(deleted.records.is_empty());
}

#[test]
fn validating_changes_nothing_but_answers_the_same() {
    let cluster = cluster();
    let topics = [wanted("x", 2), wanted("a_b", 3)];
    let real = create_topics(&cluster, &topics, false);
    let tried = create_topics(&cluster, &topics, true);
    assert_eq!(real.reply, tried.reply);
    assert_eq!((real.records.len(), tried.records.len()), (1, 0));
}

#[test]
fn defaults_are_filled_in() {
    let topic = NewTopic { partitions: -1, replication_factor: -1, ..wanted("x", 2) };
    let created = create_topics(&cluster(), std::slice::from_ref(&topic), false);
    let created = created.reply[0].as_ref().unwrap();
    assert_eq!((created.topic.partitions.len(), created.replication_factor()), (1, 1));
    let by_hand = create_topics(&cluster(), &[assigned(&[(1, &[1]), (0, &[1])])], false);
    assert_eq!(by_hand.reply[0].as_ref().unwrap().topic.partitions.len(), 2);
}

#[test]
fn a_topic_only_grows() {
    let cluster = cluster();
    let grow = |name: &str, total, assignments: Option<Vec<Vec<i32>>>| {
        let topic = MorePartitions { name: name.to_owned(), total, assignments };
        let reply = create_partitions(&cluster, &[topic], false).reply.remove(0);
        reply.map_err(|error| error.to_string())
    };
    assert_eq!(grow("a.b", 3, None), Ok(()));
    assert_eq!(grow("a.b", 2, Some(vec![vec![1]])), Ok(()));
    let refused = [
        ("a.b", 1, None, "Topic already has 1 partition(s)."),
        (
            "a.b",
            -1,
            None,
            "The topic a.b currently has 1 partition(s); -1 would not be an increase.",
        ),
        ("nope", 3, None, "This server does not host this topic-partition."),
        (
            "a.b",
            3,
            Some(vec![vec![1]]),
            "Attempted to add 2 additional partition(s), but only 1 assignment(s) were specified.",
        ),
    ];
    for (name, total, assignments, message) in refused {
        assert_eq!(grow(name, total, assignments).unwrap_err(), message);
    }
}

#[test]
fn lists_are_added_to_and_taken_from() {
    let mut cluster = cluster();
    let topic = Resource::Topic("a.b".to_owned());
    let steps = [
        (Operation::Append, "compact", "delete,compact"),
        (Operation::Append, "compact", "delete,compact"),
        (Operation::Subtract, "delete", "compact"),
        (Operation::Subtract, "compact", ""),
    ];
    for (operation, value, expected) in steps {
        let change = alteration("cleanup.policy", operation, value);
        let decision = alter_settings(&cluster, &[(topic.clone(), vec![change])], false);
        assert_eq!(decision.reply, vec![Ok(())]);
        live(&mut cluster, &decision.records);
        assert_eq!(cluster.topic("a.b").unwrap().settings["cleanup.policy"], expected);
    }
}

#[test]
fn settings_are_refused_in_kafkas_words() {
    let cluster = cluster();
    let topic = || Resource::Topic("a.b".to_owned());
    let broker = |name: &str| Resource::Broker(name.to_owned());
    let cases = [
        (topic(), "bogus", Operation::Set, "1", "Unknown topic config name: bogus"),
        (
            topic(),
            "retention.ms",
            Operation::Append,
            "1",
            "Can't APPEND to key retention.ms because its type is not LIST.",
        ),
        (
            Resource::Topic("nope".to_owned()),
            "retention.ms",
            Operation::Set,
            "1",
            "The topic 'nope' does not exist.",
        ),
        (
            Resource::Topic(String::new()),
            "retention.ms",
            Operation::Set,
            "1",
            "Default topic resources are not allowed.",
        ),
        (
            broker("1"),
            "num.partitions",
            Operation::Set,
            "3",
            "Cannot update these configs dynamically: [num.partitions]",
        ),
        (
            broker(""),
            "log.retention.ms",
            Operation::Set,
            "x",
            "Invalid value x for configuration log.retention.ms: Not a number of type LONG",
        ),
        (broker("7"), "log.retention.ms", Operation::Set, "1", "No broker with id 7 found."),
    ];
    for (resource, name, operation, value, message) in cases {
        let changes = vec![alteration(name, operation, value)];
        let decision = alter_settings(&cluster, &[(resource, changes)], false);
        assert_eq!(decision.reply[0].as_ref().unwrap_err().to_string(), message);
    }
    let twice = vec![alteration("retention.ms", Operation::Set, "1"); 2];
    let decision = alter_settings(&cluster, &[(topic(), twice)], false);
    assert_eq!(decision.reply[0].as_ref().unwrap_err().code(), ErrorCode::InvalidRequest);
}

#[test]
fn a_value_shows_every_place_it_could_come_from() {
    let mut cluster = cluster();
    let broker = |name: &str, value: &str| {
        let change = alteration("log.retention.ms", Operation::Set, value);
        (Resource::Broker(name.to_owned()), vec![change])
    };
    let topic = Resource::Topic("a.b".to_owned());
    let own = (topic.clone(), vec![alteration("retention.ms", Operation::Set, "77")]);
    let decision = alter_settings(&cluster, &[broker("1", "10"), broker("", "20"), own], false);
    live(&mut cluster, &decision.records);
    let retention = |cluster: &Cluster| {
        let all = describe_topic(cluster, BrokerId(1), cluster.topic("a.b").unwrap());
        all.into_iter().find(|one| one.setting.name == "retention.ms").unwrap()
    };
    let sources = |cluster: &Cluster| {
        let found = retention(cluster).synonyms;
        found.iter().map(|one| (one.name, one.value.clone(), one.source)).collect::<Vec<_>>()
    };
    let broker = ("log.retention.ms", "10".to_owned(), Source::Broker);
    let all = ("log.retention.ms", "20".to_owned(), Source::AllBrokers);
    let own = ("retention.ms", "77".to_owned(), Source::Topic);
    let behind = ("log.retention.hours", "168".to_owned(), Source::Default);
    assert_eq!(sources(&cluster), vec![own, broker.clone(), all.clone(), behind.clone()]);

    let decision = replace_settings(&cluster, &[(topic, Vec::new())], false);
    live(&mut cluster, &decision.records);
    assert_eq!(sources(&cluster), vec![broker, all, behind]);
    assert_eq!(retention(&cluster).value.as_deref(), Some("10"));
}

#[test]
fn an_unclean_start_begins_a_new_leader_epoch() {
    let mut cluster = cluster();
    for (clean, epoch) in [(true, 0), (false, 1), (true, 1), (false, 2)] {
        let decision = broker_started(&cluster, BrokerId(1), clean).unwrap();
        live(&mut cluster, &decision.records);
        let partition = &cluster.topic("a.b").unwrap().partitions[0];
        assert_eq!(partition.leader_epoch, LeaderEpoch(epoch));
    }
    assert!(broker_started(&cluster, BrokerId(2), true).is_err());
}

#[derive(Clone, Debug)]
enum Step {
    Start(bool),
    Create { name: u8, partitions: i32, setting: usize, value: i64 },
    Delete(u8),
    Grow { name: u8, total: i32 },
    Alter { name: u8, operation: u8, setting: usize, value: i64 },
    Broker { all: bool, setting: usize, value: i64 },
    Replace { name: u8, setting: usize, value: i64 },
    Allot,
}

const NAMES: &[&str] = &["a", "a.b", "a_b", "", "..", "c"];
const SETTINGS: &[&str] =
    &["retention.ms", "cleanup.policy", "segment.bytes", "log.retention.ms", "bogus"];

fn step() -> impl Strategy<Value = Step> {
    let name = 0..6u8;
    let setting = 0..SETTINGS.len();
    let value = -3..3_000_000i64;
    prop_oneof![
        any::<bool>().prop_map(Step::Start),
        (name.clone(), -2..20i32, setting.clone(), value.clone()).prop_map(
            |(name, partitions, setting, value)| Step::Create { name, partitions, setting, value }
        ),
        name.clone().prop_map(Step::Delete),
        (name.clone(), any::<i32>()).prop_map(|(name, total)| Step::Grow { name, total }),
        (name.clone(), 0..30i32).prop_map(|(name, total)| Step::Grow { name, total }),
        (name.clone(), 0..4u8, setting.clone(), value.clone()).prop_map(
            |(name, operation, setting, value)| Step::Alter { name, operation, setting, value }
        ),
        (any::<bool>(), setting.clone(), value.clone())
            .prop_map(|(all, setting, value)| Step::Broker { all, setting, value }),
        (name, setting, value).prop_map(|(name, setting, value)| Step::Replace {
            name,
            setting,
            value
        }),
        Just(Step::Allot),
    ]
}

fn decide(cluster: &Cluster, number: u8, step: &Step) -> Vec<MetaRecord> {
    let name = |place: &u8| NAMES[usize::from(*place)].to_owned();
    let setting = |place: &usize| SETTINGS[*place].to_owned();
    match step {
        Step::Start(clean) => broker_started(cluster, BrokerId(1), *clean).unwrap().records,
        Step::Create { name: place, partitions, setting: which, value } => {
            let settings = vec![(setting(which), Some(value.to_string()))];
            let topic = wanted(&name(place), number);
            let topic = NewTopic { partitions: *partitions, settings, ..topic };
            create_topics(cluster, &[topic, wanted("c", number.wrapping_add(128))], false).records
        }
        Step::Delete(place) => delete_topics(cluster, &[TopicRef::Name(name(place))]).records,
        Step::Grow { name: place, total } => {
            let more = MorePartitions { name: name(place), total: *total, assignments: None };
            create_partitions(cluster, &[more], false).records
        }
        Step::Alter { name: place, operation, setting: which, value } => {
            let operations =
                [Operation::Set, Operation::Delete, Operation::Append, Operation::Subtract];
            let operation = operations[usize::from(*operation)];
            let change = alteration(&setting(which), operation, &value.to_string());
            let resource = Resource::Topic(name(place));
            alter_settings(cluster, &[(resource, vec![change])], false).records
        }
        Step::Broker { all, setting: which, value } => {
            let resource = Resource::Broker(if *all { "" } else { "1" }.to_owned());
            let change = alteration(&setting(which), Operation::Set, &value.to_string());
            alter_settings(cluster, &[(resource, vec![change])], false).records
        }
        Step::Replace { name: place, setting: which, value } => {
            let resource = Resource::Topic(name(place));
            let settings = vec![(setting(which), Some(value.to_string()))];
            replace_settings(cluster, &[(resource, settings)], false).records
        }
        Step::Allot => allot_producer_ids(cluster).unwrap().records,
    }
}

proptest! {
    #[test]
    fn replaying_the_records_rebuilds_the_live_state(
        steps in proptest::collection::vec(step(), 0..60)
    ) {
        let mut lived = Cluster::default();
        let mut log = Vec::new();
        for (number, step) in steps.iter().enumerate() {
            let records = decide(&lived, u8::try_from(number).unwrap(), step);
            live(&mut lived, &records);
            log.extend(records);
            for topic in lived.topics() {
                prop_assert!(!topic.partitions.is_empty());
                prop_assert_eq!(lived.topic_by_id(topic.id), Some(topic));
                let _ = lived.effective(BrokerId(1), topic);
            }
        }
        let mut replayed = Cluster::default();
        live(&mut replayed, &log);
        prop_assert_eq!(&replayed, &lived);
        let facts = lived.facts();
        prop_assert_eq!(Cluster::restored(Default::default(), lived.version(), &facts), lived);
    }
}

#[test]
fn a_view_has_the_partitions_of_what_it_shows_and_goes_before_it() {
    let mut cluster = Cluster::default();
    let started = MetaRecord::BrokerStarted { broker: BrokerId(1), clean: true };
    cluster.apply(&started);
    let base = NewTopic { partitions: 3, ..wanted("base", 1) };
    let view_of = |base: &str| vec![("brooklet.view.of".to_owned(), Some(base.to_owned()))];
    let view =
        |base: &str| NewTopic { partitions: -1, settings: view_of(base), ..wanted("view", 2) };
    let refused = |cluster: &Cluster, topic: NewTopic| {
        create_topics(cluster, &[topic], false).reply.remove(0).is_err()
    };
    assert!(refused(&cluster, view("base")), "there is nothing to show yet");
    let apply = |cluster: &mut Cluster, records: &[MetaRecord]| {
        records.iter().for_each(|record| cluster.apply(record));
    };
    let decided = create_topics(&cluster, &[base], false);
    apply(&mut cluster, &decided.records);
    assert!(refused(&cluster, NewTopic { partitions: 2, ..view("base") }));
    let decided = create_topics(&cluster, &[view("base")], false);
    apply(&mut cluster, &decided.records);
    let shown = |cluster: &Cluster| cluster.topic("view").unwrap().partitions.clone();
    assert_eq!(shown(&cluster), cluster.topic("base").unwrap().partitions);
    assert_eq!(cluster.partition_count(), 3, "a view stores nothing");
    assert!(refused(&cluster, NewTopic { settings: view_of("view"), ..wanted("again", 3) }));

    // A crash ends terms: those of the view with those of what it shows.
    cluster.apply(&MetaRecord::BrokerStarted { broker: BrokerId(1), clean: false });
    cluster.apply(&MetaRecord::PartitionsAdded { id: TopicId([1; 16]), total: 5 });
    assert_eq!(shown(&cluster), cluster.topic("base").unwrap().partitions);
    assert_eq!(shown(&cluster).len(), 5);

    let name = |name: &str| TopicRef::Name(name.to_owned());
    assert!(delete_topics(&cluster, &[name("base")]).reply.remove(0).is_err());
    let both = delete_topics(&cluster, &[name("view"), name("base")]);
    assert!(both.reply.iter().all(Result::is_ok));
    let resource = Resource::Topic("view".to_owned());
    let moved = [(resource, vec![alteration("brooklet.view.of", Operation::Set, "other")])];
    assert!(alter_settings(&cluster, &moved, false).reply.remove(0).is_err());
}
