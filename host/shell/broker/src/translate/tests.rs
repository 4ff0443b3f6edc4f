//! Requests in, responses out, with a cluster of one broker, and of three where it is about them.

use brooklet_meta::decide::election::{ElectionError, ElectionType};
use brooklet_meta::decide::feature::Upgrade;
use brooklet_meta::decide::reassignment::{ReassignError, Reassignment};
use brooklet_meta::decide::topic::create_topics;
use brooklet_meta::{Cluster, MetaRecord};
use brooklet_types::{BrokerId, ErrorCode, PartitionIndex, TopicId};
use brooklet_wire::message::{
    AlterPartitionReassignmentsRequest, CreateTopicsRequest, DescribeClusterRequest,
    DescribeConfigsRequest, DescribeTopicPartitionsRequest, StrBytes, UpdateFeaturesRequest,
    create_topics_request, describe_configs_request::DescribeConfigsResource,
    describe_topic_partitions_request, make, update_features_request,
};

use super::nodes::tests as scene;
use super::{cluster as clusters, configs, elections, features, reassignments, topics};

const THIS: BrokerId = BrokerId(1);

fn request(names: &[&str]) -> CreateTopicsRequest {
    let topics = names.iter().map(|name| {
        make(|topic: &mut create_topics_request::CreatableTopic| {
            topic.name = StrBytes::from(*name);
            topic.num_partitions = 2;
            topic.replication_factor = 1;
        })
    });
    let topics = topics.collect();
    make(|request: &mut CreateTopicsRequest| request.topics = topics)
}

fn cluster(names: &[&str]) -> Cluster {
    let mut cluster = Cluster::default();
    cluster.apply(&MetaRecord::BrokerStarted { broker: THIS, clean: true });
    let mut id = 0;
    let wanted = topics::new_topics(&request(names), || {
        id += 1;
        TopicId([id; 16])
    });
    for record in create_topics(&cluster, &wanted, false).records {
        cluster.apply(&record);
    }
    cluster
}

#[test]
fn each_topic_gets_its_own_answer() {
    let cluster = cluster(&["old"]);
    let request = request(&["new", "old"]);
    let wanted = topics::new_topics(&request, || TopicId([9; 16]));
    let decision = create_topics(&cluster, &wanted, false);
    let response = topics::created(&request, &cluster, THIS, &decision.reply);
    let codes: Vec<i16> = response.topics.iter().map(|topic| topic.error_code).collect();
    assert_eq!(codes, [0, ErrorCode::TopicAlreadyExists.to_wire()]);
    assert_eq!(response.topics[0].num_partitions, 2);
    assert_eq!(response.topics[0].configs.as_ref().unwrap().len(), 36);
    let message = response.topics[1].error_message.as_ref().unwrap();
    assert_eq!(&**message, "Topic 'old' already exists.");
}

#[test]
fn settings_are_shown_as_asked_for() {
    let ask = |kind: i8, name: &str, keys: Option<&[&str]>| {
        let resource = make(|resource: &mut DescribeConfigsResource| {
            resource.resource_type = kind;
            resource.resource_name = StrBytes::from(name);
            resource.configuration_keys =
                keys.map(|keys| keys.iter().map(|key| StrBytes::from(*key)).collect());
        });
        let request = make(|request: &mut DescribeConfigsRequest| {
            request.resources = vec![resource];
            request.include_synonyms = true;
        });
        configs::describe(&request, &cluster(&["old"]), THIS, |_, _| Ok(())).results.remove(0)
    };
    assert_eq!(ask(2, "old", None).configs.len(), 36);
    let one = ask(2, "old", Some(&["segment.bytes", "nonsense"]));
    assert_eq!(one.configs.len(), 1);
    assert_eq!(&*one.configs[0].synonyms[0].name, "log.segment.bytes");
    for (kind, name, code) in [
        (2, "nope", ErrorCode::UnknownTopicOrPartition),
        (2, "a b", ErrorCode::InvalidTopicException),
        (4, "7", ErrorCode::InvalidRequest),
        (4, "x", ErrorCode::InvalidRequest),
        (99, "x", ErrorCode::InvalidRequest),
    ] {
        assert_eq!(ask(kind, name, None).error_code, code.to_wire(), "{kind} {name}");
    }
    assert!(ask(4, "1", None).configs.len() > 50);
    assert_eq!(ask(4, "", None).configs.len(), 0);
}

#[test]
fn a_cut_listing_goes_on_at_its_cursor() {
    let cluster = cluster(&["a", "b", "c"]);
    for limit in 1..8 {
        let (mut seen, mut cursor) = (Vec::new(), None);
        loop {
            let request = make(|request: &mut DescribeTopicPartitionsRequest| {
                request.response_partition_limit = limit;
                request.cursor = cursor.take();
            });
            let nodes = scene::nodes(&cluster, "PLAINTEXT");
            let known = (&cluster, &nodes);
            let response = clusters::topic_partitions(&request, known, |_| true, |_| 0);
            for topic in response.topics {
                let name = topic.name.unwrap().to_string();
                let partitions = topic.partitions.iter();
                seen.extend(partitions.map(|one| (name.clone(), one.partition_index)));
            }
            let Some(next) = response.next_cursor else { break };
            cursor = Some(make(|cursor: &mut describe_topic_partitions_request::Cursor| {
                cursor.topic_name = next.topic_name;
                cursor.partition_index = next.partition_index;
            }));
        }
        let all = ["a", "b", "c"].into_iter().flat_map(|name| [(name.into(), 0), (name.into(), 1)]);
        assert_eq!(seen, all.collect::<Vec<(String, i32)>>(), "limit {limit}");
    }
}

#[test]
fn fenced_brokers_are_named_to_who_asks_for_them() {
    let mut cluster = scene::cluster();
    scene::fence(&mut cluster, 2);
    let nodes = scene::nodes(&cluster, "PLAINTEXT");
    for (asked, expected) in [(false, vec![1, 3]), (true, vec![1, 3, 2])] {
        let request = make(|it: &mut DescribeClusterRequest| {
            (it.endpoint_type, it.include_fenced_brokers) = (1, asked);
        });
        let response = clusters::describe(&request, "id", THIS, &nodes, 0);
        let named: Vec<i32> = response.brokers.iter().map(|broker| broker.broker_id).collect();
        assert_eq!(named, expected);
        assert!(response.brokers.iter().all(|it| it.is_fenced == (it.broker_id == 2)));
        assert!(response.brokers.iter().all(|it| it.rack.is_some()));
        assert_eq!(response.controller_id, 1, "who was asked");
    }
}

#[test]
fn a_partition_says_who_could_lead_it_and_who_is_not_there() {
    let mut cluster = scene::cluster();
    scene::require_in_sync(&mut cluster, 3);
    scene::fence(&mut cluster, 2);
    let lines = |listener: &str| {
        let request = make(|request: &mut DescribeTopicPartitionsRequest| {
            request.topics.push(make(
                |it: &mut describe_topic_partitions_request::TopicRequest| {
                    it.name = "flights".into();
                },
            ));
            request.response_partition_limit = 3;
        });
        let nodes = scene::nodes(&cluster, listener);
        let known = (&cluster, &nodes);
        let mut response = clusters::topic_partitions(&request, known, |_| true, |_| 0);
        response.topics.remove(0).partitions
    };
    let line = &lines("PLAINTEXT")[2];
    assert_eq!((line.error_code, line.leader_id), (0, 3));
    assert_eq!(line.replica_nodes, [3, 1, 2]);
    assert_eq!(line.isr_nodes, [3, 1]);
    assert_eq!(line.eligible_leader_replicas, Some(vec![2]));
    assert_eq!(line.offline_replicas, [2]);
    let line = &lines("SSL")[2];
    assert_eq!((line.error_code, line.leader_id), (ErrorCode::ListenerNotFound.to_wire(), -1));
    assert_eq!(line.offline_replicas, [3, 2]);
}

#[test]
fn elections_are_told_partition_by_partition() {
    assert_eq!(elections::election_type(0), Some(ElectionType::Preferred));
    assert_eq!(elections::election_type(1), Some(ElectionType::Unclean));
    assert_eq!([2, -1].map(elections::election_type), [None, None]);
    let partitions = vec![(0, Ok(())), (4, Err(ElectionError::NoPreferred))];
    let response = elections::elected(&[("t".to_owned(), partitions)]);
    assert_eq!(response.error_code, 0);
    let lines = &response.replica_election_results[0].partition_result;
    let told: Vec<_> = lines.iter().map(|line| (line.partition_id, line.error_code)).collect();
    assert_eq!(told, [(0, 0), (4, ErrorCode::PreferredLeaderNotAvailable.to_wire())]);
    assert_eq!(lines[0].error_message, None);
    let message = lines[1].error_message.as_deref();
    assert_eq!(message, Some("The preferred leader was not available."));
}

#[test]
fn a_move_is_told_with_who_comes_and_who_goes() {
    let brokers = |numbers: &[i32]| numbers.iter().copied().map(BrokerId).collect();
    let moving = Reassignment {
        partition: PartitionIndex(3),
        replicas: brokers(&[2, 3, 1]),
        adding: brokers(&[2, 3]),
        removing: brokers(&[1]),
    };
    let response = reassignments::listed(vec![(TopicId([1; 16]), "t".to_owned(), vec![moving])]);
    assert_eq!((response.error_code, &response.error_message), (0, &None));
    let line = &response.topics[0].partitions[0];
    assert_eq!((line.partition_index, &*line.replicas), (3, &[2, 3, 1][..]));
    assert_eq!((&*line.adding_replicas, &*line.removing_replicas), (&[2, 3][..], &[1][..]));

    let factor = ReassignError::ReplicationFactor { from: 1, to: 2 };
    let results = vec![(0, Ok(())), (1, Err(ReassignError::NotMoving)), (2, Err(factor))];
    let request = make(|it: &mut AlterPartitionReassignmentsRequest| {
        it.allow_replication_factor_change = false;
    });
    let response = reassignments::moved(&request, &[("t".to_owned(), results)]);
    assert!(!response.allow_replication_factor_change);
    let lines = response.responses[0].partitions.iter();
    let told: Vec<_> = lines.map(|line| (line.error_code, line.error_message.as_deref())).collect();
    let factor = "The replication factor is changed from 1 to 2";
    let expected = [
        (0, None),
        (ErrorCode::NoReassignmentInProgress.to_wire(), None),
        (ErrorCode::InvalidReplicationFactor.to_wire(), Some(factor)),
    ];
    assert_eq!(told, expected);
}

#[test]
fn of_levels_for_one_feature_the_last_is_wanted_with_its_way() {
    let updates = [("b", 1, 1), ("a", 2, 2), ("b", 3, 3), ("c", 4, 4)];
    let request = make(|it: &mut UpdateFeaturesRequest| {
        let update = |(name, level, way)| {
            make(|it: &mut update_features_request::FeatureUpdateKey| {
                (it.feature, it.max_version_level, it.upgrade_type) = (name, level, way);
            })
        };
        it.feature_updates = updates
            .into_iter()
            .map(|(name, level, way)| update((name.into(), level, way)))
            .collect();
    });
    let wanted = features::wanted(&request);
    let wanted: Vec<_> = wanted.iter().map(|it| (it.name.as_str(), it.level, it.upgrade)).collect();
    let (safe, lossy) = (Upgrade::SafeDowngrade, Upgrade::UnsafeDowngrade);
    assert_eq!(wanted, [("a", 2, Some(safe)), ("b", 3, Some(lossy)), ("c", 4, None)]);
    assert_eq!(features::updated(&request, 1).results.len(), 4, "each is answered");
    assert_eq!(features::updated(&request, 2).results.len(), 0);
}
