//! Stored metadata comes back as it was written, and its bytes never change.

use super::cluster::{
    ClusterRecord, StoredAssignment, StoredEndpoint, StoredPartition, StoredRegistration,
};
use super::*;

fn every_kind() -> Vec<MetadataRecord> {
    let id = [3; 16];
    let changes = vec![("a".to_owned(), Some("1".to_owned())), ("b".to_owned(), None)];
    vec![
        MetadataRecord::BrokerStarted { broker: 1, clean: false },
        MetadataRecord::TopicCreated {
            id,
            name: "flights".into(),
            partitions: 12,
            settings: vec![("cleanup.policy".into(), "compact".into())],
        },
        MetadataRecord::PartitionsAdded { id, total: 24 },
        MetadataRecord::TopicDeleted { id },
        MetadataRecord::TopicSettingsChanged { id, changes: changes.clone() },
        MetadataRecord::BrokerSettingsChanged { broker: None, changes: changes.clone() },
        MetadataRecord::BrokerSettingsChanged { broker: Some(2), changes },
        MetadataRecord::ProducerIdsAllotted { next: 2000 },
        MetadataRecord::AclAdded { acl: acl() },
        MetadataRecord::AclRemoved { acl: acl() },
        MetadataRecord::UserSet {
            user: "ada".into(),
            hash: 1,
            salt: Bytes::from_static(b"salt"),
            stored_key: Bytes::from_static(&[7; 32]),
            server_key: Bytes::from_static(&[9; 32]),
            iterations: 4096,
        },
        MetadataRecord::UserRemoved { user: "ada".into(), hash: 2 },
        MetadataRecord::QuotaSet {
            entity: vec![("user".into(), Some("ada".into())), ("client-id".into(), None)],
            key: "request_percentage".into(),
            limit: Some(0.5),
        },
        MetadataRecord::QuotaSet {
            entity: vec![("ip".into(), None)],
            key: "connection_creation_rate".into(),
            limit: None,
        },
    ]
}

fn every_cluster_kind() -> Vec<MetadataRecord> {
    let id = [3; 16];
    let assignment = |replicas: &[i32], in_sync: &[i32]| StoredAssignment {
        replicas: replicas.to_vec(),
        in_sync: in_sync.to_vec(),
    };
    let partitions = vec![assignment(&[1, 2, 3], &[1, 3]), assignment(&[2], &[2])];
    let all = vec![
        ClusterRecord::BrokerRegistered { broker: 1, registration: registration() },
        ClusterRecord::BrokerChanged { broker: 1, epoch: 300, fenced: false, shutting_down: true },
        ClusterRecord::BrokerUnregistered { broker: 1, epoch: 300 },
        ClusterRecord::TopicPlaced {
            id,
            name: "flights".into(),
            settings: vec![("cleanup.policy".into(), "compact".into())],
            partitions: partitions.clone(),
        },
        ClusterRecord::PartitionsPlaced { id, partitions },
        ClusterRecord::PartitionChanged { id, partition: 300, now: partition(Some(1)) },
        ClusterRecord::PartitionChanged { id, partition: 0, now: partition(None) },
        ClusterRecord::FeatureLevelSet { name: "brooklet.metadata.version".into(), level: 1 },
    ];
    all.into_iter().map(MetadataRecord::Cluster).collect()
}

fn registration() -> StoredRegistration {
    StoredRegistration {
        epoch: 300,
        incarnation: [4; 16],
        directory: [5; 16],
        endpoints: vec![StoredEndpoint {
            name: "PLAINTEXT".into(),
            host: "localhost".into(),
            port: 9092,
            protocol: 0,
        }],
        rack: Some("a".into()),
        features: vec![("brooklet.metadata.version".into(), 0, 1)],
        fenced: true,
        shutting_down: false,
    }
}

fn partition(leader: Option<i32>) -> StoredPartition {
    StoredPartition {
        leader,
        leader_epoch: 8,
        epoch: 300,
        recovery: 1,
        replicas: vec![1, 2, 3, 4, 5],
        in_sync: vec![1],
        eligible: vec![2],
        last_known: vec![6],
        adding: vec![4],
        removing: vec![5],
    }
}

fn acl() -> StoredAcl {
    StoredAcl {
        resource: 2,
        pattern: 4,
        name: "fl".into(),
        principal: "User:ada".into(),
        host: "*".into(),
        operation: 3,
        permission: 3,
    }
}

#[test]
fn every_kind_comes_back_as_it_was_written_and_never_from_less() {
    for record in every_kind().into_iter().chain(every_cluster_kind()) {
        let bytes = record.encode().unwrap();
        assert_eq!(MetadataRecord::decode(bytes.clone()).unwrap(), record);
        for cut in 0..bytes.len() {
            let shorter = MetadataRecord::decode(bytes.slice(..cut));
            assert!(shorter.is_err(), "{record:?} cut to {cut} bytes");
        }
    }
}

#[test]
fn the_bytes_of_version_1_never_change() {
    let mut kinds = every_kind();
    let added = kinds.split_off(8);
    let clusters = every_cluster_kind();
    let all = [(kinds, GOLDEN), (added, GOLDEN_ADDED), (clusters, GOLDEN_CLUSTER)];
    for (kinds, golden) in all {
        let bytes: Vec<u8> =
            kinds.iter().flat_map(|record| record.encode().unwrap().to_vec()).collect();
        assert_eq!(crate::checksum::of(&bytes), golden, "{bytes:02x?}");
    }
}

/// The checksum of the first kinds, back to back. A change here is a change of the format.
const GOLDEN: u32 = 2_895_074_207;

/// The same of those that came with access control.
const GOLDEN_ADDED: u32 = 825_078_527;

/// The same of those that came with clusters.
const GOLDEN_CLUSTER: u32 = 957_555_047;

/// The same of a decision of several facts.
const GOLDEN_DECISION: u32 = 362_439_791;

#[test]
fn a_decision_is_stored_as_one_value() {
    let all = every_cluster_kind();
    for count in 0..all.len() {
        let value = MetadataRecord::encode_decision(&all[..count]).unwrap();
        assert_eq!(value.is_none(), count == 0);
        assert_eq!(MetadataRecord::decode_decision(value.clone()).unwrap(), all[..count]);
        let Some(value) = value else { continue };
        for cut in 0..value.len() {
            assert!(MetadataRecord::decode_decision(Some(value.slice(..cut))).is_err(), "{cut}");
        }
    }
    let value = MetadataRecord::encode_decision(&all).unwrap().unwrap();
    assert_eq!(crate::checksum::of(&value), GOLDEN_DECISION, "{value:02x?}");
    let alone = MetadataRecord::encode_decision(&all[..1]).unwrap().unwrap();
    assert_eq!(alone, all[0].encode().unwrap(), "as every release has written it");
}

#[test]
fn keys_are_not_printed() {
    assert!(every_kind().iter().all(|record| !format!("{record:?}").contains('7')));
}

#[test]
fn what_a_later_release_wrote_is_named() {
    let kind = MetadataRecord::decode(Bytes::from_static(&[1, 99])).unwrap_err();
    assert!(kind.to_string().contains("unknown kind 99"), "{kind}");
    let version = MetadataRecord::decode(Bytes::from_static(&[3, 0])).unwrap_err();
    assert!(version.to_string().contains("version 3"), "{version}");
}
