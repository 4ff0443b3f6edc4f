//! What a broker answers to our client, and what other members of a group write to it: whoever is dialled may mean harm.

use std::collections::{BTreeMap, BTreeSet};

use brooklet_client::ConsumerConfig;
use brooklet_client::consumer::{Assignor, Member, protocol, records};
use brooklet_client::request::Call;
use brooklet_wire::WireError;
use brooklet_wire::message::fetch_response::{AbortedTransaction, PartitionData};
use brooklet_wire::message::{self, Bytes, KafkaResponse, decode_response, encode_response, make};

use crate::batch::repaired;

/// An API's number and a version, two bytes each, and a frame that answers such a request. What is read can be written, and
/// is then read as the same.
pub fn response(bytes: &[u8]) {
    let Some((api, rest)) = bytes.split_first_chunk() else { return };
    let Some((version, frame)) = rest.split_first_chunk() else { return };
    let (api, version) = (i16::from_be_bytes(*api), i16::from_be_bytes(*version));
    // What it says is the broker's to know.
    let _ = decode(api, version, Bytes::copy_from_slice(frame));
}

macro_rules! decoders {
    ($($request:ident)*) => {
        /// Reads the answer to a request; none for one that our client does not make.
        pub fn decode(api: i16, version: i16, frame: Bytes) -> Option<Result<(), WireError>> {
            $(
                let (from, to) = <message::$request as Call>::VERSIONS;
                if api == <message::$request as Call>::KEY && (from..=to).contains(&version) {
                    return Some(check::<Answer<message::$request>>(frame, version));
                }
            )*
            None
        }
    };
}

type Answer<R> = <R as message::RequestResponsePair>::Response;

decoders! {
    ProduceRequest FetchRequest ListOffsetsRequest MetadataRequest OffsetCommitRequest OffsetFetchRequest
    FindCoordinatorRequest JoinGroupRequest HeartbeatRequest LeaveGroupRequest SyncGroupRequest
    DescribeGroupsRequest ListGroupsRequest SaslHandshakeRequest ApiVersionsRequest CreateTopicsRequest
    DeleteTopicsRequest DeleteRecordsRequest InitProducerIdRequest DescribeAclsRequest CreateAclsRequest
    DeleteAclsRequest DescribeConfigsRequest SaslAuthenticateRequest CreatePartitionsRequest
    DeleteGroupsRequest IncrementalAlterConfigsRequest OffsetDeleteRequest DescribeClientQuotasRequest
    AlterClientQuotasRequest DescribeUserScramCredentialsRequest AlterUserScramCredentialsRequest
    DescribeClusterRequest DescribeLogDirsRequest ElectLeadersRequest AlterPartitionReassignmentsRequest
    ListPartitionReassignmentsRequest DescribeQuorumRequest UnregisterBrokerRequest AddRaftVoterRequest
    RemoveRaftVoterRequest
    FollowerFetchRequest AlterPartitionRequest EnvelopeRequest BrokerRegistrationRequest BrokerHeartbeatRequest
    AllocateProducerIdsRequest QuorumMessageRequest JoinQuorumRequest
}

/// As for requests: bytes are compared and not values.
fn check<R: KafkaResponse>(frame: Bytes, version: i16) -> Result<(), WireError> {
    let (correlation, response): (i32, R) = decode_response(frame, version)?;
    // Not everything that is taken could have been sent: a null where no null is written.
    let Ok(written) = encode_response(correlation, version, &response) else { return Ok(()) };
    let (again, response): (i32, R) = decode_response(written.slice(size_of::<i32>()..), version)?;
    assert_eq!(again, correlation);
    let once_more = encode_response(correlation, version, &response).expect("what was just read");
    assert_eq!(written, once_more, "version {version}");
    Ok(())
}

/// How a consumer reads, the position, and records for it: once as they are and once with the first batch's length and checksum
/// put right.
pub fn fetched(bytes: &[u8]) {
    let Some(([how, position], records)) = bytes.split_first_chunk() else { return };
    for records in [records.to_vec(), repaired(records)] {
        read(*how, i64::from(*position), records.into());
    }
}

fn read(how: u8, position: i64, records: Bytes) {
    let config = ConsumerConfig {
        read_committed: how & 1 == 1,
        check_crcs: how & 2 == 2,
        ..ConsumerConfig::default()
    };
    let aborted = |producer| {
        make(|it: &mut AbortedTransaction| (it.producer_id, it.first_offset) = (producer, producer))
    };
    let data = make(|it: &mut PartitionData| {
        it.records = Some(records);
        it.aborted_transactions = Some([0, 1, 41, i64::MAX].map(aborted).into());
    });
    match records::read(&config, position, &data) {
        Ok(read) => {
            assert!(read.next_offset >= position);
            let range = position..read.next_offset;
            for record in &read.records {
                assert!(range.contains(&record.offset), "{} outside {range:?}", record.offset);
            }
        }
        Err(bad) => assert_eq!(bad.offset, position),
    }
}

/// What a group's leader has given our consumer. What is read can be written, and is then read as the same.
pub fn assignment(bytes: &[u8]) {
    let Ok(partitions) = protocol::decode_assignment(Bytes::copy_from_slice(bytes)) else { return };
    let written = protocol::encode_assignment(&partitions);
    assert_eq!(protocol::decode_assignment(written).ok(), Some(partitions));
}

/// The number of an assignor, and what another member has written for it: as a leader, our consumer spreads partitions over both,
/// each to one who wants it.
pub fn subscription(bytes: &[u8]) {
    let Some((assignor, metadata)) = bytes.split_first() else { return };
    let Some(&assignor) = Assignor::ALL.get(usize::from(*assignor)) else { return };
    let metadata = Bytes::copy_from_slice(metadata);
    let stranger = protocol::decode_subscription(assignor, "stranger".to_owned(), None, metadata);
    let topics = BTreeSet::from(["t".to_owned(), "u".to_owned()]);
    let ours = Member {
        id: "ours".to_owned(),
        owned: BTreeSet::from([("t".to_owned(), 1), ("u".to_owned(), 0)]),
        generation: 7,
        topics,
        ..Member::default()
    };
    let wanted =
        BTreeMap::from([("ours", ours.topics.clone()), ("stranger", stranger.topics.clone())]);
    let counts = BTreeMap::from([("t".to_owned(), 3), ("u".to_owned(), 2)]);
    let assigned = assignor.assign(vec![ours, stranger], &counts);
    let mut given = BTreeSet::new();
    for (member, partitions) in assigned {
        for (topic, index) in partitions {
            assert!(index < counts[&topic], "{topic} {index} is not there");
            assert!(wanted[member.as_str()].contains(&topic), "{member} does not want {topic}");
            assert!(given.insert((topic, index)), "{member} is not the first to get it");
        }
    }
    assert!(assignor.is_cooperative() || given.len() == 5, "{given:?}");
}
