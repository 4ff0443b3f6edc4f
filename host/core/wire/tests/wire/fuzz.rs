//! Random and mutated bytes into every decoder, and what decoding may cost in memory. Seeded: a
//! failure repeats.

use brooklet_wire::WireError;
use brooklet_wire::batch;
use brooklet_wire::compress::{Codec, decompress};
use brooklet_wire::frame::parse_header;
use brooklet_wire::message::{self, Bytes, EXPANSION_MAX, decode_request, encode_request};
use brooklet_wire::version::Api;

use crate::meter::peak_bytes;
use crate::{read_all, sample};

/// Calls `$then` with the request type of `$api`.
macro_rules! with_request {
    ($api:expr, $then:ident ( $($argument:expr),* )) => {
        match $api {
            Api::Produce => $then::<message::ProduceRequest>($($argument),*),
            Api::Fetch => $then::<message::FetchRequest>($($argument),*),
            Api::ListOffsets => $then::<message::ListOffsetsRequest>($($argument),*),
            Api::Metadata => $then::<message::MetadataRequest>($($argument),*),
            Api::OffsetCommit => $then::<message::OffsetCommitRequest>($($argument),*),
            Api::OffsetFetch => $then::<message::OffsetFetchRequest>($($argument),*),
            Api::FindCoordinator => $then::<message::FindCoordinatorRequest>($($argument),*),
            Api::JoinGroup => $then::<message::JoinGroupRequest>($($argument),*),
            Api::Heartbeat => $then::<message::HeartbeatRequest>($($argument),*),
            Api::LeaveGroup => $then::<message::LeaveGroupRequest>($($argument),*),
            Api::SyncGroup => $then::<message::SyncGroupRequest>($($argument),*),
            Api::DescribeGroups => $then::<message::DescribeGroupsRequest>($($argument),*),
            Api::ListGroups => $then::<message::ListGroupsRequest>($($argument),*),
            Api::ApiVersions => $then::<message::ApiVersionsRequest>($($argument),*),
            Api::CreateTopics => $then::<message::CreateTopicsRequest>($($argument),*),
            Api::DeleteTopics => $then::<message::DeleteTopicsRequest>($($argument),*),
            Api::DeleteRecords => $then::<message::DeleteRecordsRequest>($($argument),*),
            Api::InitProducerId => $then::<message::InitProducerIdRequest>($($argument),*),
            Api::OffsetForLeaderEpoch => {
                $then::<message::OffsetForLeaderEpochRequest>($($argument),*)
            }
            Api::DescribeAcls => $then::<message::DescribeAclsRequest>($($argument),*),
            Api::CreateAcls => $then::<message::CreateAclsRequest>($($argument),*),
            Api::DeleteAcls => $then::<message::DeleteAclsRequest>($($argument),*),
            Api::DescribeConfigs => $then::<message::DescribeConfigsRequest>($($argument),*),
            Api::AlterConfigs => $then::<message::AlterConfigsRequest>($($argument),*),
            Api::DescribeLogDirs => $then::<message::DescribeLogDirsRequest>($($argument),*),
            Api::CreatePartitions => $then::<message::CreatePartitionsRequest>($($argument),*),
            Api::DeleteGroups => $then::<message::DeleteGroupsRequest>($($argument),*),
            Api::IncrementalAlterConfigs => {
                $then::<message::IncrementalAlterConfigsRequest>($($argument),*)
            }
            Api::OffsetDelete => $then::<message::OffsetDeleteRequest>($($argument),*),
            Api::SaslHandshake => $then::<message::SaslHandshakeRequest>($($argument),*),
            Api::SaslAuthenticate => $then::<message::SaslAuthenticateRequest>($($argument),*),
            Api::DescribeClientQuotas => {
                $then::<message::DescribeClientQuotasRequest>($($argument),*)
            }
            Api::AlterClientQuotas => $then::<message::AlterClientQuotasRequest>($($argument),*),
            Api::DescribeUserScramCredentials => {
                $then::<message::DescribeUserScramCredentialsRequest>($($argument),*)
            }
            Api::AlterUserScramCredentials => {
                $then::<message::AlterUserScramCredentialsRequest>($($argument),*)
            }
            Api::AlterPartition => $then::<message::AlterPartitionRequest>($($argument),*),
            Api::Envelope => $then::<message::EnvelopeRequest>($($argument),*),
            Api::BrokerRegistration => $then::<message::BrokerRegistrationRequest>($($argument),*),
            Api::BrokerHeartbeat => $then::<message::BrokerHeartbeatRequest>($($argument),*),
            Api::AllocateProducerIds => {
                $then::<message::AllocateProducerIdsRequest>($($argument),*)
            }
            Api::QuorumMessage => $then::<message::QuorumMessageRequest>($($argument),*),
            Api::JoinQuorum => $then::<message::JoinQuorumRequest>($($argument),*),
            Api::AlterReplicaLogDirs => $then::<message::AlterReplicaLogDirsRequest>($($argument),*),
            Api::ElectLeaders => $then::<message::ElectLeadersRequest>($($argument),*),
            Api::AlterPartitionReassignments => $then::<message::AlterPartitionReassignmentsRequest>($($argument),*),
            Api::ListPartitionReassignments => $then::<message::ListPartitionReassignmentsRequest>($($argument),*),
            Api::UpdateFeatures => $then::<message::UpdateFeaturesRequest>($($argument),*),
            Api::UnregisterBroker => $then::<message::UnregisterBrokerRequest>($($argument),*),
            Api::AddRaftVoter => $then::<message::AddRaftVoterRequest>($($argument),*),
            Api::RemoveRaftVoter => $then::<message::RemoveRaftVoterRequest>($($argument),*),
            Api::DescribeQuorum => $then::<message::DescribeQuorumRequest>($($argument),*),
            Api::DescribeCluster => $then::<message::DescribeClusterRequest>($($argument),*),
            Api::DescribeProducers => $then::<message::DescribeProducersRequest>($($argument),*),
            Api::DescribeTopicPartitions => {
                $then::<message::DescribeTopicPartitionsRequest>($($argument),*)
            }
        }
    };
}

/// Every API in every version that is served.
fn every_version() -> Vec<(Api, i16)> {
    let versions = |api: Api| (api.served_from()..=api.versions().1).map(move |it| (api, it));
    Api::all().flat_map(versions).collect()
}

fn decode<R: message::KafkaRequest>(body: Bytes, version: i16) -> Result<(), WireError> {
    decode_request::<R>(body, version).map(drop)
}

fn default_body<R: message::KafkaRequest + Default>(version: i16) -> Bytes {
    let mut frame = encode_request(1, version, None, &R::default()).unwrap().slice(4..);
    parse_header(&mut frame).unwrap();
    frame
}

/// SplitMix64: the only randomness here.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end.max(1)).unwrap()).unwrap()
    }

    fn byte(&mut self) -> u8 {
        // Half of the bytes are ones that decoders branch on.
        const EDGES: [u8; 8] = [0, 1, 2, 3, 0x7f, 0x80, 0xfe, 0xff];
        let any = self.next().to_le_bytes();
        if any[0] & 1 == 0 { any[1] } else { EDGES[usize::from(any[1] & 7)] }
    }

    fn bytes(&mut self, max: usize) -> Vec<u8> {
        (0..self.below(max)).map(|_| self.byte()).collect()
    }

    /// A few bytes changed, cut out, doubled or put in.
    fn mutate(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        for _ in 0..=self.below(4) {
            let place = self.below(bytes.len());
            match self.below(5) {
                0 if !bytes.is_empty() => bytes[place] = self.byte(),
                1 if !bytes.is_empty() => bytes[place] ^= 1 << self.below(8),
                2 => bytes.truncate(place),
                3 => bytes.insert(place, self.byte()),
                _ => bytes.extend_from_within(place..),
            }
        }
        bytes
    }
}

const SEED: u64 = 20_261_124;
/// About a second each.
const ROUNDS: u64 = 30_000;

#[test]
fn random_and_mutated_requests_never_panic_and_never_cost_more_than_they_may() {
    let versions = every_version();
    let bodies: Vec<Bytes> =
        versions.iter().map(|&(api, at)| with_request!(api, default_body(at))).collect();
    let mut random = Random(SEED);
    for round in 0..ROUNDS {
        let index = random.below(versions.len());
        let (api, version) = versions[index];
        let body = match random.below(3) {
            0 => random.bytes(200),
            _ => random.mutate(&bodies[index]),
        };
        let body = Bytes::from(body);
        let mut frame = Bytes::from(random.mutate(&[0, 3, 0, 13, 0, 0, 0, 7, 0, 1, b'c', 0]));
        let (bytes, _) = peak_bytes(|| {
            let _ = with_request!(api, decode(body.clone(), version));
            let _ = parse_header(&mut frame);
        });
        let allowed = 4096 + EXPANSION_MAX * body.len();
        assert!(bytes <= allowed, "{api:?} v{version} round {round}: {bytes} of {body:?}");
    }
}

#[test]
fn random_and_mutated_batches_never_panic() {
    let samples = Codec::ALL.map(sample);
    let mut random = Random(SEED);
    for _ in 0..ROUNDS {
        let index = random.below(samples.len());
        let mutant = match random.below(8) {
            0 => random.bytes(200),
            _ => random.mutate(&samples[index]),
        };
        let _ = read_all(&mutant);
        let body = samples[index].get(batch::HEADER_BYTES..).unwrap_or_default();
        let _ = decompress(Codec::ALL[index], &random.mutate(body), 1 << 20);
    }
}

#[test]
fn a_metadata_request_of_four_billion_topics_costs_nothing() {
    let body = Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 0x0f]);
    for version in 9..=13 {
        let (bytes, result) =
            peak_bytes(|| decode::<message::MetadataRequest>(body.clone(), version));
        assert!(result.is_err());
        assert!(bytes < 1024, "{bytes} bytes");
    }
}

/// An API, a version, what stands before an array's count, and the smallest element of the array.
type Swarm = (Api, i16, &'static [u8], &'static [u8]);

#[rustfmt::skip] // A table is read by columns.
const SWARMS: &[Swarm] = &[
    (Api::Produce, 3, &[255, 255, 0, 1, 0, 0, 0, 0], &[0; 6]),
    (Api::Produce, 9, &[0; 7], &[1, 1, 0]),
    (Api::Produce, 9, &[0, 0, 0, 0, 0, 0, 0, 2, 1], &[0; 6]),
    (Api::Fetch, 12, &[0; 25], &[1, 1, 0]),
    (Api::ListOffsets, 6, &[0; 5], &[1, 1, 0]),
    (Api::Metadata, 0, &[], &[0; 2]),
    (Api::Metadata, 9, &[], &[1, 0]),
    (Api::OffsetCommit, 8, &[1, 0, 0, 0, 0, 1, 0], &[1, 1, 0]),
    (Api::OffsetFetch, 8, &[], &[1, 0, 0]),
    (Api::FindCoordinator, 4, &[0], &[1]),
    (Api::JoinGroup, 6, &[1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1], &[1, 1, 0]),
    (Api::LeaveGroup, 4, &[1], &[1, 0, 0]),
    (Api::SyncGroup, 5, &[1, 0, 0, 0, 0, 1, 0, 0, 0], &[1, 1, 0]),
    (Api::DescribeGroups, 5, &[], &[1]),
    (Api::DeleteGroups, 2, &[], &[1]),
    (Api::DeleteTopics, 4, &[], &[1]),
    (Api::DescribeConfigs, 4, &[2, 2, 1], &[1]),
    (Api::CreateTopics, 5, &[], &[1, 0, 0, 0, 0, 0, 0, 1, 1, 0]),
    (Api::CreatePartitions, 2, &[], &[1, 0, 0, 0, 0, 0, 0]),
    (Api::AlterConfigs, 2, &[], &[0, 1, 1, 0]),
    (Api::AlterConfigs, 2, &[2, 0, 1], &[1, 0, 0]),
    (Api::IncrementalAlterConfigs, 1, &[], &[0, 1, 1, 0]),
    (Api::IncrementalAlterConfigs, 1, &[2, 0, 1], &[1, 0, 0, 0]),
    (Api::DeleteRecords, 2, &[], &[1, 1, 0]),
    (Api::DescribeLogDirs, 2, &[], &[1, 1, 0]),
    (Api::DescribeProducers, 0, &[], &[1, 1, 0]),
    (Api::OffsetForLeaderEpoch, 4, &[0; 4], &[1, 1, 0]),
    (Api::CreateAcls, 3, &[], &[0, 1, 0, 1, 1, 0, 0, 0]),
    (Api::DeleteAcls, 3, &[], &[0; 8]),
    (Api::DescribeClientQuotas, 1, &[], &[1, 0, 0, 0]),
    (Api::AlterClientQuotas, 1, &[], &[1, 1, 0]),
    (Api::AlterPartition, 3, &[0; 12], &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]),
    (Api::BrokerRegistration, 4, &[0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], &[1, 1, 0, 0, 0, 0, 0]),
];

#[test]
fn swarms_of_the_smallest_elements_stay_within_the_factor() {
    // An array that has just doubled its room is the worst: 2^17 + 1 elements.
    const COUNT: usize = (1 << 17) + 1;
    for &(api, version, before, element) in SWARMS {
        let count: &[u8] =
            if api.is_flexible(version) { &[0x82, 0x80, 0x08] } else { &[0, 2, 0, 1] };
        // Zeroes end every one of them but those which have arrays and strings to come.
        let after = match api.name() {
            "Fetch" => &[1, 1, 0][..],
            "BrokerRegistration" => &[1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            _ => &[0; 16],
        };
        let body = [before, count, &element.repeat(COUNT), after].concat();
        let body = Bytes::from(body);
        let (bytes, result) = peak_bytes(|| with_request!(api, decode(body.clone(), version)));
        let factor = bytes / body.len();
        println!("{api:?} v{version} {before:?}: {factor} times");
        assert_eq!(result, Ok(()), "{api:?} v{version}");
        assert!(factor <= EXPANSION_MAX, "{api:?} v{version}: {factor} times its body");
    }
}

#[test]
fn a_produce_request_may_not_hide_its_entries_in_many_arrays() {
    // Topics of 1000 empty partitions each: no single array is large.
    let topic = [&[1, 0xe9, 0x07][..], &[0; 6].repeat(1000), &[0]].concat();
    let with = |topics: u8| {
        let head = [0, 0, 0, 0, 0, 0, 0, 0x80 | ((topics + 1) & 0x7f), (topics + 1) >> 7];
        Bytes::from([&head[..], &topic.repeat(usize::from(topics)), &[0]].concat())
    };
    assert_eq!(decode::<message::ProduceRequest>(with(199), 9), Ok(()));
    let (bytes, result) = peak_bytes(|| decode::<message::ProduceRequest>(with(200), 9));
    assert!(matches!(result, Err(WireError::Decode { .. })), "{result:?}");
    assert!(bytes <= with(200).len() + 4096 + 6 * 200_000, "{bytes}");
}
