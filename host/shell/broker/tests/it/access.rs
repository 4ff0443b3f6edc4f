//! What clients may do, and what they are told of what they may not.

use std::path::Path;

use brooklet_broker::access::{Otherwise, needs};
use brooklet_client::admin::{AclFilter, NamePattern, NewTopic};
use brooklet_client::{Address, Admin, ClientConfig, SaslConfig, SaslMechanism, Secret};
use brooklet_types::{Acl, ErrorCode, Operation, PatternType, Permission, ResourceType};
use brooklet_wire::version::Api;
use rustls::version::TLS13;

use super::*;

/// Users whose passwords are their names; only admin is above the rules.
async fn start_with_rules(folder: &Path, more: &str) -> Running {
    let mut users = Vec::new();
    for user in ["admin", "ada", "eve"] {
        let file = folder.join(user);
        std::fs::write(&file, user).unwrap();
        users.push(format!("{user:?}: {:?}", file.display().to_string()));
    }
    let users = users.join(", ");
    let access = format!(
        "access: (first_users: {{ {users} }}, authorizer: \"acls\", super_users: [\"User:admin\"] {more})"
    );
    let listeners = r#"[(url: "tcp://127.0.0.1:0", sasl: (mechanisms: ["PLAIN"]))]"#;
    start_on(&folder.join("data"), listeners, &access, Arc::new(NoHooks)).await
}

fn admin(running: &Running, user: &str) -> Admin {
    let address: Address = running.ready.listeners[0].address.to_string().parse().unwrap();
    let mut config = ClientConfig::new(vec![address]);
    let (mechanism, password) = (SaslMechanism::Plain, Secret::new(user));
    config.sasl = Some(SaslConfig { mechanism, user: user.to_owned(), password: password.into() });
    Admin::new(brooklet_client::Client::new(config))
}

async fn login(running: &Running, user: &str) -> Client {
    let mut client = Client::connect(running.ready.listeners[0].address).await;
    assert_eq!(client.plain(user, user).await.error_code, 0);
    client
}

/// `User:eve` may do this, everywhere.
fn allow(resource: ResourceType, name: &str, operation: Operation) -> Acl {
    Acl {
        resource,
        pattern: PatternType::Literal,
        name: name.to_owned(),
        principal: "User:eve".to_owned(),
        host: "*".to_owned(),
        operation,
        permission: Permission::Allow,
    }
}

impl Client {
    /// Sends a request, and does not care what is answered as long as something is.
    async fn touch<Q: KafkaRequest>(&mut self, version: i16, request: Q) {
        self.correlation += 1;
        let frame = encode_request(self.correlation, version, Some("it"), &request).unwrap();
        self.send(&frame).await;
        self.receive().await;
    }

    async fn code_of_produce(&mut self, topic: &str) -> i16 {
        let answer: ProduceResponse = self.ask(9, &produce(topic, "one", -1)).await;
        answer.responses[0].partition_responses[0].error_code
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_holds_from_its_answer_on_for_connections_that_are_open() {
    let folder = tempfile::tempdir().unwrap();
    let running = start_with_rules(folder.path(), "").await;
    let admin = admin(&running, "admin");
    let topic = NewTopic { name: "flights".to_owned(), ..NewTopic::default() };
    admin.create_topic(&topic, false).await.unwrap();
    let mut eve = login(&running, "eve").await;
    let refused = ErrorCode::TopicAuthorizationFailed.to_wire();
    let rule = allow(ResourceType::Topic, "flights", Operation::Write);
    let filter = AclFilter { pattern: NamePattern::Matching, ..AclFilter::default() };
    for _ in 0..2 {
        assert_eq!(eve.code_of_produce("flights").await, refused);
        assert_eq!(eve.code_of_produce("nowhere").await, refused, "whether it exists is not told");
        assert!(eve.topics().await.is_empty());
        admin.create_acl(&rule).await.unwrap();
        assert_eq!(eve.code_of_produce("flights").await, 0);
        assert_eq!(eve.topics().await, ["flights"], "who may write may see");
        assert_eq!(admin.acls(&filter).await.unwrap(), std::slice::from_ref(&rule));
        assert_eq!(admin.delete_acls(&filter).await.unwrap(), std::slice::from_ref(&rule));
    }
    admin.create_acl(&rule).await.unwrap();
    running.stop().await;
    let running = start_with_rules(folder.path(), "").await;
    let mut eve = login(&running, "eve").await;
    assert_eq!(eve.code_of_produce("flights").await, 0, "rules are kept");
    let answer: MetadataResponse = eve.metadata("new").await;
    assert_eq!(answer.topics[0].error_code, refused);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_rule_is_about_is_open_where_the_operator_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let running = start_with_rules(folder.path(), ", allow_everyone_if_no_acl: true").await;
    let mut eve = login(&running, "eve").await;
    eve.metadata("open").await;
    assert_eq!(eve.code_of_produce("open").await, 0);
    let mut rule = allow(ResourceType::Topic, "open", Operation::All);
    rule.principal = "User:ada".to_owned();
    admin(&running, "eve").create_acl(&rule).await.unwrap();
    let refused = ErrorCode::TopicAuthorizationFailed.to_wire();
    assert_eq!(eve.code_of_produce("open").await, refused, "now one is");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_authorizer_there_are_no_rules_to_be_made() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path()).await;
    let address: Address = running.ready.listeners[0].address.to_string().parse().unwrap();
    let client = brooklet_client::Client::new(ClientConfig::new(vec![address]));
    let admin = Admin::new(client);
    let rule = allow(ResourceType::Topic, "t", Operation::Read);
    let error = admin.create_acl(&rule).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::SecurityDisabled), "{error}");
    let error = admin.acls(&AclFilter::default()).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::SecurityDisabled), "{error}");
    let error = admin.delete_acls(&AclFilter::default()).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::SecurityDisabled), "{error}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_rule_keeps_out_what_runs_in_the_brokers_own_process() {
    let folder = tempfile::tempdir().unwrap();
    let running = start_with_rules(folder.path(), "").await;
    let mut client = Client::over(running.ready.inner.enter().unwrap());
    assert_eq!(client.metadata("letters").await.topics[0].error_code, 0);
    assert_eq!(client.produce("letters", "one").await, 0);
    assert_eq!(client.fetch("letters", 0).await, [b"one"]);
    let mut everything = allow(ResourceType::Topic, "*", Operation::All);
    (everything.principal, everything.permission) = ("User:*".to_owned(), Permission::Deny);
    admin(&running, "admin").create_acl(&everything).await.unwrap();
    assert_eq!(client.produce("letters", "two").await, 1);
    running.stop().await;
}

/// A certificate's subject is who a client is, where it is not asked otherwise.
#[tokio::test(flavor = "multi_thread")]
async fn rules_know_a_client_by_its_certificate_and_one_without_as_anonymous() {
    let papers = scene::Papers::new();
    let issued = papers.issue("ada", brooklet_io::tls::issue::Purpose::Client);
    let section = papers.section("requested");
    let listeners = format!(
        r#"[(url: "tls://127.0.0.1:0", tls: {section}, principals: "RULE:.*CN=([a-z]+).*/$1/, DEFAULT")]"#
    );
    let access = r#"access: (authorizer: "acls", super_users: ["User:ada"])"#;
    let folder = tempfile::tempdir().unwrap();
    let running = start_on(folder.path(), &listeners, access, Arc::new(NoHooks)).await;
    let address = running.ready.listeners[0].address;
    let shows = papers.client(&[&TLS13], Some(&issued));
    let mut ada = Client::over(scene::over_tls(address, shows).await.unwrap());
    assert_eq!(ada.metadata("flights").await.topics[0].error_code, 0);
    let silent = papers.client(&[&TLS13], None);
    let mut nobody = Client::over(scene::over_tls(address, silent).await.unwrap());
    let refused = ErrorCode::TopicAuthorizationFailed.to_wire();
    assert_eq!(nobody.metadata("flights").await.topics[0].error_code, refused);
    let metrics = get(running.ready.admin.unwrap(), "metrics").await;
    assert!(metrics.contains("authorization_failures_total{api=\"Metadata\""), "{metrics}");
    running.stop().await;
}

fn named<T: Default>(fill: impl FnOnce(&mut T)) -> Vec<T> {
    let mut it = T::default();
    fill(&mut it);
    vec![it]
}

/// The topics that eve may see, and what she may not; and a group of either kind.
const SEEN: &str = "seen";
const HIDDEN: &str = "hidden";
const OWN_GROUP: &str = "hers";
const GROUP: &str = "theirs";

async fn ask_about_records(eve: &mut Client) {
    eve.touch(9, produce(HIDDEN, "one", -1)).await;
    eve.touch(12, fetch(HIDDEN, 0)).await;
    let mut follower = fetch(HIDDEN, 0);
    follower.replica_id = 7;
    eve.touch(12, follower).await;
    let request = make(|it: &mut ListOffsetsRequest| {
        it.topics = named(|it: &mut list_offsets_request::ListOffsetsTopic| {
            it.name = HIDDEN.into();
            it.partitions = named(|_: &mut list_offsets_request::ListOffsetsPartition| {});
        });
    });
    eve.touch(7, request).await;
    let request = make(|it: &mut DeleteRecordsRequest| {
        it.topics = named(|it: &mut delete_records_request::DeleteRecordsTopic| {
            it.name = HIDDEN.into();
            it.partitions = named(|_: &mut delete_records_request::DeleteRecordsPartition| {});
        });
    });
    eve.touch(2, request).await;
    let request = make(|it: &mut OffsetForLeaderEpochRequest| {
        it.replica_id = -2;
        it.topics = named(|it: &mut offset_for_leader_epoch_request::OffsetForLeaderTopic| {
            it.topic = HIDDEN.into();
            it.partitions =
                named(|_: &mut offset_for_leader_epoch_request::OffsetForLeaderPartition| {});
        });
    });
    eve.touch(4, request).await;
    for id in [None, Some("t")] {
        let request = make(|it: &mut InitProducerIdRequest| {
            it.transactional_id = id.map(Into::into);
            (it.producer_id, it.producer_epoch) = (-1, -1);
        });
        eve.touch(4, request).await;
    }
    let request = make(|it: &mut DescribeProducersRequest| {
        it.topics = named(|it: &mut describe_producers_request::TopicRequest| {
            it.name = HIDDEN.into();
            it.partition_indexes = vec![0];
        });
    });
    eve.touch(0, request).await;
}

async fn ask_about_topics(eve: &mut Client) {
    eve.metadata(HIDDEN).await;
    // She may know of it, and there is none.
    eve.metadata(SEEN).await;
    let request = make(|it: &mut CreateTopicsRequest| {
        it.topics = named(|it: &mut create_topics_request::CreatableTopic| it.name = HIDDEN.into());
    });
    eve.touch(5, request).await;
    eve.touch(3, make(|it: &mut DeleteTopicsRequest| it.topic_names = vec![HIDDEN.into()])).await;
    let request = make(|it: &mut CreatePartitionsRequest| {
        it.topics = named(|it: &mut create_partitions_request::CreatePartitionsTopic| {
            it.name = HIDDEN.into();
        });
    });
    eve.touch(2, request).await;
    let request = make(|it: &mut DescribeTopicPartitionsRequest| {
        it.topics = named(|it: &mut describe_topic_partitions_request::TopicRequest| {
            it.name = HIDDEN.into();
        });
    });
    eve.touch(0, request).await;
    // A topic's settings, and a broker's.
    for (kind, name) in [(2, HIDDEN), (4, "1")] {
        let request = make(|it: &mut DescribeConfigsRequest| {
            it.resources = named(|it: &mut describe_configs_request::DescribeConfigsResource| {
                (it.resource_type, it.resource_name) = (kind, name.into());
            });
        });
        eve.touch(4, request).await;
        let request = make(|it: &mut AlterConfigsRequest| {
            it.resources = named(|it: &mut alter_configs_request::AlterConfigsResource| {
                (it.resource_type, it.resource_name) = (kind, name.into());
            });
        });
        eve.touch(2, request).await;
        let request = make(|it: &mut IncrementalAlterConfigsRequest| {
            it.resources =
                named(|it: &mut incremental_alter_configs_request::AlterConfigsResource| {
                    (it.resource_type, it.resource_name) = (kind, name.into());
                });
        });
        eve.touch(1, request).await;
    }
}

async fn ask_about_groups(eve: &mut Client) {
    for group in [GROUP, OWN_GROUP] {
        let request = make(|it: &mut OffsetCommitRequest| {
            it.group_id = group.into();
            it.topics = named(|it: &mut offset_commit_request::OffsetCommitRequestTopic| {
                it.name = HIDDEN.into();
                it.partitions =
                    named(|_: &mut offset_commit_request::OffsetCommitRequestPartition| {});
            });
        });
        eve.touch(8, request).await;
        let request = make(|it: &mut OffsetFetchRequest| {
            it.groups = named(|it: &mut offset_fetch_request::OffsetFetchRequestGroup| {
                it.group_id = group.into();
                let topic = |it: &mut offset_fetch_request::OffsetFetchRequestTopics| {
                    (it.name, it.partition_indexes) = (HIDDEN.into(), vec![0]);
                };
                it.topics = Some(named(topic));
            });
        });
        eve.touch(8, request).await;
        let request = make(|it: &mut OffsetDeleteRequest| {
            it.group_id = group.into();
            it.topics = named(|it: &mut offset_delete_request::OffsetDeleteRequestTopic| {
                it.name = HIDDEN.into();
                it.partitions =
                    named(|_: &mut offset_delete_request::OffsetDeleteRequestPartition| {});
            });
        });
        eve.touch(0, request).await;
    }
    for kind in [0, 1] {
        let request = make(|it: &mut FindCoordinatorRequest| {
            (it.key_type, it.key) = (kind, GROUP.into());
        });
        eve.touch(3, request).await;
    }
    eve.touch(5, make(|it: &mut JoinGroupRequest| it.group_id = GROUP.into())).await;
    eve.touch(3, make(|it: &mut SyncGroupRequest| it.group_id = GROUP.into())).await;
    eve.touch(3, make(|it: &mut HeartbeatRequest| it.group_id = GROUP.into())).await;
    eve.touch(3, make(|it: &mut LeaveGroupRequest| it.group_id = GROUP.into())).await;
    eve.touch(5, make(|it: &mut DescribeGroupsRequest| it.groups = vec![GROUP.into()])).await;
    eve.touch(2, make(|it: &mut DeleteGroupsRequest| it.groups_names = vec![GROUP.into()])).await;
}

async fn ask_about_the_cluster(eve: &mut Client) {
    eve.touch(4, DescribeLogDirsRequest::default()).await;
    eve.touch(2, DescribeQuorumRequest::default()).await;
    eve.touch(0, DescribeUserScramCredentialsRequest::default()).await;
    eve.touch(0, AlterUserScramCredentialsRequest::default()).await;
    let request = make(|it: &mut DescribeAclsRequest| {
        (it.resource_type_filter, it.pattern_type_filter) = (1, 1);
        (it.operation, it.permission_type) = (1, 1);
    });
    eve.touch(3, request).await;
    eve.touch(3, CreateAclsRequest::default()).await;
    eve.touch(3, DeleteAclsRequest::default()).await;
    eve.touch(1, DescribeClientQuotasRequest::default()).await;
    eve.touch(1, AlterClientQuotasRequest::default()).await;
    eve.touch(2, AlterReplicaLogDirsRequest::default()).await;
    eve.touch(2, ElectLeadersRequest::default()).await;
    eve.touch(1, AlterPartitionReassignmentsRequest::default()).await;
    eve.touch(0, ListPartitionReassignmentsRequest::default()).await;
    eve.touch(2, UpdateFeaturesRequest::default()).await;
    eve.touch(0, UnregisterBrokerRequest::default()).await;
    eve.touch(1, AddRaftVoterRequest::default()).await;
    eve.touch(0, RemoveRaftVoterRequest::default()).await;
}

/// The table says what a request needs, and this that its handler asks for it.
#[tokio::test(flavor = "multi_thread")]
async fn every_row_of_the_table_is_asked_for_by_its_request() {
    let folder = tempfile::tempdir().unwrap();
    let running = start_with_rules(folder.path(), "").await;
    let admin = admin(&running, "admin");
    for (resource, name, operation) in [
        (ResourceType::Topic, SEEN, Operation::Describe),
        (ResourceType::Group, OWN_GROUP, Operation::Read),
        (ResourceType::Group, OWN_GROUP, Operation::Delete),
    ] {
        admin.create_acl(&allow(resource, name, operation)).await.unwrap();
    }
    let mut eve = login(&running, "eve").await;
    ask_about_records(&mut eve).await;
    ask_about_topics(&mut eve).await;
    ask_about_groups(&mut eve).await;
    ask_about_the_cluster(&mut eve).await;
    let metrics = get(running.ready.admin.unwrap(), "metrics").await;
    let mut missing = Vec::new();
    for api in Api::all() {
        for need in needs(api).iter().filter(|need| need.otherwise == Otherwise::Refused) {
            let (api, operation) = (api.name(), need.operation);
            let resource = need.resource;
            let line = format!(
                "brooklet_authorization_failures_total{{api=\"{api}\",operation=\"{operation}\",resource=\"{resource}\"}}"
            );
            if !metrics.contains(&line) {
                missing.push(line);
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
    running.stop().await;
}
