//! What the transcripts have to hold: every version's ordinary case, every error that a client can
//! cause, and the rules of `RULES.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use brooklet_golden::schema::{SECURED, SERVED, Schemas};
use brooklet_golden::value::Value;
use brooklet_golden::{path, script_names, secured_names};

use super::recorded;

/// What was asked for when the transcripts were begun; there are many more.
const STEPS_MIN: usize = 300;

/// The errors that a client can cause on a broker of its own, without transactions, security or
/// quotas. Not here, because no script can make a Kafka say them: FENCED_LEADER_EPOCH (it has to be
/// restarted first), RECORD_LIST_TOO_LARGE (takes a batch of a MiB), GROUP_MAX_SIZE_REACHED (takes as
/// many members), and what only a broker in trouble says.
#[rustfmt::skip] // A table is read by columns.
const ERRORS: &[(&str, &[&str])] = &[
    ("AddRaftVoter", &["DUPLICATE_VOTER", "INCONSISTENT_CLUSTER_ID", "INVALID_REQUEST", "REQUEST_TIMED_OUT"]),
    ("AlterConfigs", &["INVALID_CONFIG", "INVALID_REQUEST", "UNKNOWN_TOPIC_OR_PARTITION"]),
    ("AlterPartitionReassignments", &["INVALID_REPLICA_ASSIGNMENT", "NO_REASSIGNMENT_IN_PROGRESS", "REQUEST_TIMED_OUT", "UNKNOWN_TOPIC_OR_PARTITION"]),
    ("AlterReplicaLogDirs", &["LOG_DIR_NOT_FOUND", "UNKNOWN_TOPIC_OR_PARTITION"]),
    ("ApiVersions", &["INVALID_REQUEST", "UNSUPPORTED_VERSION"]),
    ("CreatePartitions", &["INVALID_PARTITIONS", "INVALID_REPLICA_ASSIGNMENT", "INVALID_REQUEST", "UNKNOWN_TOPIC_OR_PARTITION"]),
    ("CreateTopics", &["INVALID_CONFIG", "INVALID_PARTITIONS", "INVALID_REPLICATION_FACTOR", "INVALID_REPLICA_ASSIGNMENT", "INVALID_REQUEST", "INVALID_TOPIC_EXCEPTION", "POLICY_VIOLATION", "TOPIC_ALREADY_EXISTS"]),
    ("DeleteGroups", &["GROUP_ID_NOT_FOUND", "NON_EMPTY_GROUP"]),
    ("DeleteRecords", &["INVALID_TOPIC_EXCEPTION", "OFFSET_OUT_OF_RANGE", "POLICY_VIOLATION", "UNKNOWN_TOPIC_OR_PARTITION"]),
    ("DeleteTopics", &["INVALID_REQUEST", "UNKNOWN_TOPIC_ID", "UNKNOWN_TOPIC_OR_PARTITION"]),
    ("DescribeCluster", &["MISMATCHED_ENDPOINT_TYPE", "UNSUPPORTED_ENDPOINT_TYPE"]),
    ("DescribeConfigs", &["INVALID_REQUEST", "INVALID_TOPIC_EXCEPTION", "UNKNOWN_TOPIC_OR_PARTITION"]),
    ("DescribeGroups", &["GROUP_ID_NOT_FOUND"]),
    ("DescribeLogDirs", &[]),
    ("DescribeProducers", &["INVALID_TOPIC_EXCEPTION", "UNKNOWN_TOPIC_OR_PARTITION"]),
    ("DescribeQuorum", &["UNKNOWN_TOPIC_OR_PARTITION"]),
    ("DescribeTopicPartitions", &["INVALID_REQUEST", "INVALID_TOPIC_EXCEPTION", "UNKNOWN_TOPIC_OR_PARTITION"]),
    ("ElectLeaders", &["ELECTION_NOT_NEEDED", "INVALID_REQUEST", "REQUEST_TIMED_OUT", "UNKNOWN_TOPIC_OR_PARTITION"]),
    ("Fetch", &["FETCH_SESSION_ID_NOT_FOUND", "FETCH_SESSION_TOPIC_ID_ERROR", "INVALID_FETCH_SESSION_EPOCH", "NOT_LEADER_OR_FOLLOWER", "OFFSET_OUT_OF_RANGE", "UNKNOWN_LEADER_EPOCH", "UNKNOWN_TOPIC_ID", "UNKNOWN_TOPIC_OR_PARTITION"]),
    ("FindCoordinator", &["INVALID_REQUEST"]),
    ("Heartbeat", &["FENCED_INSTANCE_ID", "ILLEGAL_GENERATION", "INVALID_GROUP_ID", "REBALANCE_IN_PROGRESS", "UNKNOWN_MEMBER_ID"]),
    ("IncrementalAlterConfigs", &["INVALID_CONFIG", "INVALID_REQUEST", "UNKNOWN_TOPIC_OR_PARTITION"]),
    ("InitProducerId", &["INVALID_REQUEST", "INVALID_TRANSACTION_TIMEOUT"]),
    ("JoinGroup", &["FENCED_INSTANCE_ID", "INCONSISTENT_GROUP_PROTOCOL", "INVALID_GROUP_ID", "INVALID_SESSION_TIMEOUT", "MEMBER_ID_REQUIRED", "UNKNOWN_MEMBER_ID"]),
    ("LeaveGroup", &["FENCED_INSTANCE_ID", "INVALID_GROUP_ID", "UNKNOWN_MEMBER_ID"]),
    ("ListGroups", &[]),
    ("ListOffsets", &["INVALID_REQUEST", "UNKNOWN_LEADER_EPOCH", "UNKNOWN_TOPIC_OR_PARTITION", "UNSUPPORTED_VERSION"]),
    ("ListPartitionReassignments", &[]),
    ("Metadata", &["INVALID_REQUEST", "INVALID_TOPIC_EXCEPTION", "UNKNOWN_TOPIC_ID", "UNKNOWN_TOPIC_OR_PARTITION"]),
    ("OffsetCommit", &["GROUP_ID_NOT_FOUND", "ILLEGAL_GENERATION", "OFFSET_METADATA_TOO_LARGE", "REBALANCE_IN_PROGRESS", "UNKNOWN_MEMBER_ID", "UNKNOWN_TOPIC_ID", "UNKNOWN_TOPIC_OR_PARTITION"]),
    ("OffsetDelete", &["GROUP_ID_NOT_FOUND", "GROUP_SUBSCRIBED_TO_TOPIC", "INVALID_GROUP_ID", "NON_EMPTY_GROUP", "UNKNOWN_TOPIC_OR_PARTITION"]),
    ("OffsetFetch", &["UNKNOWN_TOPIC_ID"]),
    ("OffsetForLeaderEpoch", &["UNKNOWN_LEADER_EPOCH", "UNKNOWN_TOPIC_OR_PARTITION"]),
    ("Produce", &["CORRUPT_MESSAGE", "INVALID_PRODUCER_EPOCH", "INVALID_RECORD", "INVALID_REQUIRED_ACKS", "INVALID_TIMESTAMP", "INVALID_TOPIC_EXCEPTION", "MESSAGE_TOO_LARGE", "OUT_OF_ORDER_SEQUENCE_NUMBER", "TRANSACTIONAL_ID_AUTHORIZATION_FAILED", "UNKNOWN_TOPIC_ID", "UNKNOWN_TOPIC_OR_PARTITION", "UNSUPPORTED_COMPRESSION_TYPE"]),
    ("RemoveRaftVoter", &["INCONSISTENT_CLUSTER_ID", "INVALID_REQUEST", "VOTER_NOT_FOUND"]),
    ("SyncGroup", &["FENCED_INSTANCE_ID", "ILLEGAL_GENERATION", "INCONSISTENT_GROUP_PROTOCOL", "INVALID_GROUP_ID", "REBALANCE_IN_PROGRESS", "UNKNOWN_MEMBER_ID"]),
    ("UnregisterBroker", &["BROKER_ID_NOT_REGISTERED"]),
    ("UpdateFeatures", &["INVALID_UPDATE_VERSION"]),
];

/// What has no ordinary case on a Kafka of one broker: nobody else is there to vote, and without itself there would be nothing.
const NEVER_ALONE: &[&str] = &["AddRaftVoter", "RemoveRaftVoter", "UnregisterBroker"];

#[test]
fn every_version_has_its_ordinary_case_and_every_api_its_errors() {
    let schemas = Schemas::read();
    let mut answers = 0;
    let mut ordinary = BTreeSet::new();
    let mut errors: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for name in script_names() {
        for step in recorded(&name) {
            let Some(answer) = step.answer else { continue };
            answers += 1;
            let mut words =
                step.request.split(' ').filter(|word| !word.ends_with(':') && *word != "await");
            let (Some(api), Some(version)) = (words.next(), words.next()) else { continue };
            let mut codes = BTreeSet::new();
            collect(&answer, &mut codes);
            if codes.is_empty() && matches!(answer, Value::Record(_)) {
                ordinary.insert(format!("{api} {version}"));
            }
            errors.entry(api.to_owned()).or_default().extend(codes);
        }
    }
    assert!(answers >= STEPS_MIN, "{answers} answers");
    let mut missing = Vec::new();
    for (api, ..) in SERVED {
        let (min, max) = schemas.served(api);
        let steps = (min..=max).map(|version| format!("{api} v{version}"));
        if !NEVER_ALONE.contains(api) {
            missing.extend(steps.filter(|step| !ordinary.contains(step)));
        }
        let (_, wanted) = ERRORS.iter().find(|(name, _)| name == api).expect(api);
        let known = errors.get(*api).expect("every API has steps");
        let unseen = wanted.iter().filter(|code| !known.contains(**code));
        missing.extend(unseen.map(|code| format!("{api} {code}")));
    }
    assert!(missing.is_empty(), "not in any transcript: {}", missing.join(", "));
}

/// What a broker with users, rules and quotas is asked, and what a client can do wrong there.
#[rustfmt::skip] // A table is read by columns.
const SECURED_ERRORS: &[(&str, &[&str])] = &[
    ("AlterClientQuotas", &["CLUSTER_AUTHORIZATION_FAILED", "INVALID_REQUEST"]),
    ("AlterUserScramCredentials", &["CLUSTER_AUTHORIZATION_FAILED", "DUPLICATE_RESOURCE", "RESOURCE_NOT_FOUND", "UNACCEPTABLE_CREDENTIAL", "UNSUPPORTED_SASL_MECHANISM"]),
    ("CreateAcls", &["CLUSTER_AUTHORIZATION_FAILED", "INVALID_REQUEST"]),
    ("DeleteAcls", &["CLUSTER_AUTHORIZATION_FAILED", "INVALID_REQUEST"]),
    ("DescribeAcls", &["CLUSTER_AUTHORIZATION_FAILED"]),
    ("DescribeClientQuotas", &["CLUSTER_AUTHORIZATION_FAILED", "INVALID_REQUEST", "UNSUPPORTED_VERSION"]),
    ("DescribeUserScramCredentials", &["CLUSTER_AUTHORIZATION_FAILED", "DUPLICATE_RESOURCE", "RESOURCE_NOT_FOUND"]),
    ("SaslAuthenticate", &["ILLEGAL_SASL_STATE", "SASL_AUTHENTICATION_FAILED"]),
    ("SaslHandshake", &["ILLEGAL_SASL_STATE", "UNSUPPORTED_SASL_MECHANISM"]),
    // What rules refuse to everybody else.
    ("AddRaftVoter", &["CLUSTER_AUTHORIZATION_FAILED"]),
    ("AlterPartitionReassignments", &["CLUSTER_AUTHORIZATION_FAILED"]),
    ("AlterReplicaLogDirs", &["CLUSTER_AUTHORIZATION_FAILED"]),
    ("CreateTopics", &["TOPIC_AUTHORIZATION_FAILED"]),
    ("DescribeConfigs", &["CLUSTER_AUTHORIZATION_FAILED", "TOPIC_AUTHORIZATION_FAILED"]),
    ("DescribeQuorum", &["CLUSTER_AUTHORIZATION_FAILED"]),
    ("ElectLeaders", &["CLUSTER_AUTHORIZATION_FAILED"]),
    ("Fetch", &["TOPIC_AUTHORIZATION_FAILED"]),
    ("InitProducerId", &["CLUSTER_AUTHORIZATION_FAILED", "TRANSACTIONAL_ID_AUTHORIZATION_FAILED"]),
    ("JoinGroup", &["GROUP_AUTHORIZATION_FAILED"]),
    ("ListPartitionReassignments", &["CLUSTER_AUTHORIZATION_FAILED"]),
    ("Metadata", &["TOPIC_AUTHORIZATION_FAILED"]),
    ("OffsetCommit", &["GROUP_AUTHORIZATION_FAILED"]),
    ("RemoveRaftVoter", &["CLUSTER_AUTHORIZATION_FAILED"]),
    ("UnregisterBroker", &["CLUSTER_AUTHORIZATION_FAILED"]),
    ("UpdateFeatures", &["CLUSTER_AUTHORIZATION_FAILED"]),
];

#[test]
fn a_secured_kafka_was_asked_in_every_version_and_refused_what_it_refuses() {
    let schemas = Schemas::read();
    let mut ordinary = BTreeSet::new();
    let mut errors: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for name in secured_names() {
        for step in recorded(&name) {
            let Some(answer) = step.answer else { continue };
            let mut words = step.request.split(' ').filter(|word| !word.ends_with(':'));
            let (Some(api), Some(version)) = (words.next(), words.next()) else { continue };
            let mut codes = BTreeSet::new();
            collect(&answer, &mut codes);
            if codes.is_empty() && matches!(answer, Value::Record(_)) {
                ordinary.insert(format!("{api} {version}"));
            }
            errors.entry(api.to_owned()).or_default().extend(codes);
        }
    }
    let mut missing = Vec::new();
    for (api, ..) in SECURED {
        let (min, max) = schemas.served(api);
        let steps = (min..=max).map(|version| format!("{api} v{version}"));
        missing.extend(steps.filter(|step| !ordinary.contains(step)));
    }
    for (api, wanted) in SECURED_ERRORS {
        let known = errors.get(*api).expect("every API has steps");
        let unseen = wanted.iter().filter(|code| !known.contains(**code));
        missing.extend(unseen.map(|code| format!("{api} {code}")));
    }
    assert!(missing.is_empty(), "not in any transcript: {}", missing.join(", "));
}

/// The names of all errors in an answer, wherever they are.
fn collect(value: &Value, codes: &mut BTreeSet<String>) {
    const NO_ERROR: &str = "NONE";
    match value {
        Value::List(elements) => elements.iter().for_each(|element| collect(element, codes)),
        Value::Record(fields) => {
            for (name, value) in fields {
                match value {
                    Value::Name(code) if name.ends_with("error_code") && code != NO_ERROR => {
                        codes.insert(code.clone());
                    }
                    value => collect(value, codes),
                }
            }
        }
        _ => {}
    }
}

/// A rule that nothing shows is a wish. What stands in backticks is a file and a function,
/// `tests/x.rs::name`, or a script and a case, `produce | acks 0 is not answered`.
#[test]
fn every_rule_names_what_shows_it() {
    let rules = fs::read_to_string(path("RULES.md")).unwrap();
    let mut problems = Vec::new();
    let mut numbers = Vec::new();
    for line in rules.lines() {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let Some(Ok(number)) = cells.first().map(|cell| cell.parse::<u32>()) else { continue };
        numbers.push(number);
        let shown: Vec<&str> = line.split('`').skip(1).step_by(2).collect();
        if shown.is_empty() && !line.contains("Not served") {
            problems.push(format!("rule {number}: nothing shows it, and nothing says why"));
        }
        let unknown = shown.iter().filter(|name| !exists(name));
        problems.extend(unknown.map(|name| format!("rule {number}: there is no {name}")));
    }
    let expected: Vec<u32> = (1..=RULES_COUNT).collect();
    assert_eq!(numbers, expected);
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

/// How many rules the reference has.
const RULES_COUNT: u32 = 66;

fn exists(name: &str) -> bool {
    if let Some((file, function)) = name.split_once("::") {
        let text = fs::read_to_string(path("../..").join(file)).unwrap_or_default();
        return ["fn ", "def "].iter().any(|word| text.contains(&format!("{word}{function}(")));
    }
    match name.split_once(" | ") {
        Some((script, case)) => recorded(script).iter().any(|step| step.case == case),
        None => path("../..").join(name).exists(),
    }
}
