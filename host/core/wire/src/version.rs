//! The APIs and versions this broker speaks.
//!
//! **Decides** what ApiVersions advertises and what is accepted, and from whom, all out of one table, so that
//! nothing can be advertised and absent. **Never** looks at a request's body.
//!
//! What only brokers ask has one version each: both ends are ours. Where Kafka has such a request it is
//! Kafka's, in the highest version that 4.3 has; ours are numbered from [`OWN_KEYS_FROM`] on.

/// Kafka's own keys will not come this far.
pub const OWN_KEYS_FROM: i16 = 10_000;

/// Who may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Whoever has a connection.
    Everybody,
    /// The other brokers of the cluster, on connections that are known to be theirs. To anybody else the request
    /// does not exist.
    Brokers,
}

/// A request the broker answers. The number is Kafka's API key, or one of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i16)]
pub enum Api {
    /// Key 0.
    Produce = 0,
    /// Key 1.
    Fetch = 1,
    /// Key 2.
    ListOffsets = 2,
    /// Key 3.
    Metadata = 3,
    /// Key 8.
    OffsetCommit = 8,
    /// Key 9.
    OffsetFetch = 9,
    /// Key 10.
    FindCoordinator = 10,
    /// Key 11.
    JoinGroup = 11,
    /// Key 12.
    Heartbeat = 12,
    /// Key 13.
    LeaveGroup = 13,
    /// Key 14.
    SyncGroup = 14,
    /// Key 15.
    DescribeGroups = 15,
    /// Key 16.
    ListGroups = 16,
    /// Key 17.
    SaslHandshake = 17,
    /// Key 18.
    ApiVersions = 18,
    /// Key 19.
    CreateTopics = 19,
    /// Key 20.
    DeleteTopics = 20,
    /// Key 21.
    DeleteRecords = 21,
    /// Key 22.
    InitProducerId = 22,
    /// Key 23.
    OffsetForLeaderEpoch = 23,
    /// Key 29.
    DescribeAcls = 29,
    /// Key 30.
    CreateAcls = 30,
    /// Key 31.
    DeleteAcls = 31,
    /// Key 32.
    DescribeConfigs = 32,
    /// Key 33.
    AlterConfigs = 33,
    /// Key 34.
    AlterReplicaLogDirs = 34,
    /// Key 35.
    DescribeLogDirs = 35,
    /// Key 36.
    SaslAuthenticate = 36,
    /// Key 37.
    CreatePartitions = 37,
    /// Key 42.
    DeleteGroups = 42,
    /// Key 43.
    ElectLeaders = 43,
    /// Key 44.
    IncrementalAlterConfigs = 44,
    /// Key 45.
    AlterPartitionReassignments = 45,
    /// Key 46.
    ListPartitionReassignments = 46,
    /// Key 47.
    OffsetDelete = 47,
    /// Key 48.
    DescribeClientQuotas = 48,
    /// Key 49.
    AlterClientQuotas = 49,
    /// Key 50.
    DescribeUserScramCredentials = 50,
    /// Key 51.
    AlterUserScramCredentials = 51,
    /// Key 55.
    DescribeQuorum = 55,
    /// Key 56.
    AlterPartition = 56,
    /// Key 57.
    UpdateFeatures = 57,
    /// Key 58.
    Envelope = 58,
    /// Key 60.
    DescribeCluster = 60,
    /// Key 61.
    DescribeProducers = 61,
    /// Key 62.
    BrokerRegistration = 62,
    /// Key 63.
    BrokerHeartbeat = 63,
    /// Key 64.
    UnregisterBroker = 64,
    /// Key 67.
    AllocateProducerIds = 67,
    /// Key 75.
    DescribeTopicPartitions = 75,
    /// Key 80.
    AddRaftVoter = 80,
    /// Key 81.
    RemoveRaftVoter = 81,
    /// Key 10000, ours: what the members of the metadata's quorum tell each other.
    QuorumMessage = 10_000,
    /// Key 10001, ours: a broker asks to be a member of the quorum.
    JoinQuorum = 10_001,
}

/// One line of the table.
struct Row {
    api: Api,
    name: &'static str,
    versions: (i16, i16),
    served_from: i16,
    flexible_from: Option<i16>,
    audience: Audience,
}

/// Sorted by key, as Kafka lists them.
#[rustfmt::skip] // A table is read by columns.
const TABLE: &[Row] = &[
    row(Api::Produce, "Produce", (0, 13), 3, Some(9)),
    row(Api::Fetch, "Fetch", (4, 18), 4, Some(12)),
    row(Api::ListOffsets, "ListOffsets", (1, 11), 1, Some(6)),
    row(Api::Metadata, "Metadata", (0, 13), 0, Some(9)),
    row(Api::OffsetCommit, "OffsetCommit", (2, 10), 2, Some(8)),
    row(Api::OffsetFetch, "OffsetFetch", (1, 10), 1, Some(6)),
    row(Api::FindCoordinator, "FindCoordinator", (0, 6), 0, Some(3)),
    row(Api::JoinGroup, "JoinGroup", (0, 9), 0, Some(6)),
    row(Api::Heartbeat, "Heartbeat", (0, 4), 0, Some(4)),
    row(Api::LeaveGroup, "LeaveGroup", (0, 5), 0, Some(4)),
    row(Api::SyncGroup, "SyncGroup", (0, 5), 0, Some(4)),
    row(Api::DescribeGroups, "DescribeGroups", (0, 6), 0, Some(5)),
    row(Api::ListGroups, "ListGroups", (0, 5), 0, Some(3)),
    row(Api::SaslHandshake, "SaslHandshake", (0, 1), 0, None),
    row(Api::ApiVersions, "ApiVersions", (0, 4), 0, Some(3)),
    row(Api::CreateTopics, "CreateTopics", (2, 7), 2, Some(5)),
    row(Api::DeleteTopics, "DeleteTopics", (1, 6), 1, Some(4)),
    row(Api::DeleteRecords, "DeleteRecords", (0, 2), 0, Some(2)),
    row(Api::InitProducerId, "InitProducerId", (0, 5), 0, Some(2)),
    row(Api::OffsetForLeaderEpoch, "OffsetForLeaderEpoch", (2, 4), 2, Some(4)),
    row(Api::DescribeAcls, "DescribeAcls", (1, 3), 1, Some(2)),
    row(Api::CreateAcls, "CreateAcls", (1, 3), 1, Some(2)),
    row(Api::DeleteAcls, "DeleteAcls", (1, 3), 1, Some(2)),
    row(Api::DescribeConfigs, "DescribeConfigs", (1, 4), 1, Some(4)),
    row(Api::AlterConfigs, "AlterConfigs", (0, 2), 0, Some(2)),
    row(Api::AlterReplicaLogDirs, "AlterReplicaLogDirs", (1, 2), 1, Some(2)),
    row(Api::DescribeLogDirs, "DescribeLogDirs", (1, 5), 1, Some(2)),
    row(Api::SaslAuthenticate, "SaslAuthenticate", (0, 2), 0, Some(2)),
    row(Api::CreatePartitions, "CreatePartitions", (0, 3), 0, Some(2)),
    row(Api::DeleteGroups, "DeleteGroups", (0, 2), 0, Some(2)),
    row(Api::ElectLeaders, "ElectLeaders", (0, 2), 0, Some(2)),
    row(Api::IncrementalAlterConfigs, "IncrementalAlterConfigs", (0, 1), 0, Some(1)),
    row(Api::AlterPartitionReassignments, "AlterPartitionReassignments", (0, 1), 0, Some(0)),
    row(Api::ListPartitionReassignments, "ListPartitionReassignments", (0, 0), 0, Some(0)),
    row(Api::OffsetDelete, "OffsetDelete", (0, 0), 0, None),
    row(Api::DescribeClientQuotas, "DescribeClientQuotas", (0, 1), 0, Some(1)),
    row(Api::AlterClientQuotas, "AlterClientQuotas", (0, 1), 0, Some(1)),
    row(Api::DescribeUserScramCredentials, "DescribeUserScramCredentials", (0, 0), 0, Some(0)),
    row(Api::AlterUserScramCredentials, "AlterUserScramCredentials", (0, 0), 0, Some(0)),
    row(Api::DescribeQuorum, "DescribeQuorum", (0, 2), 0, Some(0)),
    between(Api::AlterPartition, "AlterPartition", 3),
    row(Api::UpdateFeatures, "UpdateFeatures", (0, 2), 0, Some(0)),
    between(Api::Envelope, "Envelope", 0),
    row(Api::DescribeCluster, "DescribeCluster", (0, 2), 0, Some(0)),
    row(Api::DescribeProducers, "DescribeProducers", (0, 0), 0, Some(0)),
    between(Api::BrokerRegistration, "BrokerRegistration", 4),
    between(Api::BrokerHeartbeat, "BrokerHeartbeat", 2),
    row(Api::UnregisterBroker, "UnregisterBroker", (0, 0), 0, Some(0)),
    between(Api::AllocateProducerIds, "AllocateProducerIds", 0),
    row(Api::DescribeTopicPartitions, "DescribeTopicPartitions", (0, 0), 0, Some(0)),
    row(Api::AddRaftVoter, "AddRaftVoter", (0, 1), 0, Some(0)),
    row(Api::RemoveRaftVoter, "RemoveRaftVoter", (0, 0), 0, Some(0)),
    between(Api::QuorumMessage, "QuorumMessage", 0),
    between(Api::JoinQuorum, "JoinQuorum", 0),
];

const fn row(
    api: Api,
    name: &'static str,
    versions: (i16, i16),
    served_from: i16,
    flexible_from: Option<i16>,
) -> Row {
    let audience = Audience::Everybody;
    Row { api, name, versions, served_from, flexible_from, audience }
}

/// What brokers ask each other. Kafka made all of these after flexible messages.
const fn between(api: Api, name: &'static str, version: i16) -> Row {
    let versions = (version, version);
    let (flexible_from, audience) = (Some(0), Audience::Brokers);
    Row { api, name, versions, served_from: version, flexible_from, audience }
}

impl Api {
    /// Every API, in the order of their keys.
    pub fn all() -> impl Iterator<Item = Api> {
        TABLE.iter().map(|row| row.api)
    }

    /// What there is for those who ask, in the order of keys: a broker may ask whatever anybody may.
    pub fn served_to(who: Audience) -> impl Iterator<Item = Api> {
        Api::all().filter(move |api| api.is_served_to(who))
    }

    /// The API with this key, if the broker has it: for whom is another question.
    pub fn from_wire(key: i16) -> Option<Api> {
        Api::all().find(|api| api.key() == key)
    }

    /// Who may ask.
    pub fn audience(self) -> Audience {
        // The smaller one for an API without a row; a test says there is none.
        self.row().map_or(Audience::Brokers, |row| row.audience)
    }

    /// Whether there is an answer to one who asks. To anybody else it is an API that does not exist.
    pub fn is_served_to(self, who: Audience) -> bool {
        match self.audience() {
            Audience::Everybody => true,
            Audience::Brokers => who == Audience::Brokers,
        }
    }

    /// Kafka's API key.
    pub const fn key(self) -> i16 {
        self as i16
    }

    /// Kafka's name, as in metrics and logs.
    pub fn name(self) -> &'static str {
        self.row().map_or("", |row| row.name)
    }

    /// The lowest and highest version ApiVersions advertises.
    pub fn versions(self) -> (i16, i16) {
        // An API without a row would advertise an empty range; a test says there is none.
        self.row().map_or((0, -1), |row| row.versions)
    }

    /// The lowest version that is served. It differs for Produce alone: librdkafka chooses its
    /// codecs by an advertised Produce 0, which Kafka therefore still advertises (KAFKA-18659).
    pub fn served_from(self) -> i16 {
        self.row().map_or(0, |row| row.served_from)
    }

    /// Whether a request of this version is decoded and answered.
    pub fn serves(self, version: i16) -> bool {
        version >= self.served_from() && version <= self.versions().1
    }

    /// Whether this version has compact lengths and tagged fields, and with them request header
    /// v2. Holds for versions above ours too: the header of a refused request is still read.
    pub fn is_flexible(self, version: i16) -> bool {
        self.row().and_then(|row| row.flexible_from).is_some_and(|from| version >= from)
    }

    fn row(self) -> Option<&'static Row> {
        TABLE.iter().find(|row| row.api == self)
    }
}

#[cfg(test)]
mod tests {
    use kafka_wire::API_DESCRIPTORS;

    use super::*;

    #[test]
    fn every_served_version_is_one_the_codec_knows_and_is_as_flexible() {
        assert_eq!(TABLE.len(), 54);
        for api in Api::all() {
            assert_eq!(Api::from_wire(api.key()), Some(api));
            if api.key() >= OWN_KEYS_FROM {
                continue;
            }
            let known = API_DESCRIPTORS.iter().find(|it| it.api_key.value() == api.key()).unwrap();
            assert_eq!(known.request.name, format!("{}Request", api.name()));
            for version in api.served_from()..=api.versions().1 {
                let at = kafka_wire_core::ApiVersion::new(version);
                assert!(known.supported_versions.contains(at), "{api:?} {version}");
                let flexible = known.request.flexible_versions.is_some_and(|it| it.contains(at));
                assert_eq!(api.is_flexible(version), flexible, "{api:?} {version}");
            }
        }
    }

    #[test]
    fn what_brokers_ask_each_other_is_theirs_alone_and_in_one_version() {
        let keys = |who| Api::served_to(who).map(Api::key).collect::<Vec<_>>();
        let everybody = keys(Audience::Everybody);
        let brokers = keys(Audience::Brokers);
        assert!(everybody.iter().all(|key| brokers.contains(key)));
        let theirs: Vec<i16> = brokers.into_iter().filter(|key| !everybody.contains(key)).collect();
        assert_eq!(theirs, [56, 58, 62, 63, 67, 10_000, 10_001]);
        for api in theirs.into_iter().filter_map(Api::from_wire) {
            let (from, to) = api.versions();
            assert_eq!((from, to), (api.served_from(), api.served_from()), "{api:?}");
            // The highest that the codec has, which is that of Kafka 4.3.
            let known = API_DESCRIPTORS.iter().find(|it| it.api_key.value() == api.key());
            assert!(known.is_none_or(|it| it.supported_versions.max().value() == to), "{api:?}");
        }
    }

    #[test]
    fn the_table_is_sorted_by_key() {
        assert!(TABLE.is_sorted_by_key(|row| row.api.key()));
    }

    #[test]
    fn produce_advertises_versions_it_does_not_serve() {
        assert_eq!(Api::Produce.versions(), (0, 13));
        assert!(!Api::Produce.serves(2));
        assert!(Api::Produce.serves(3));
        assert!(!Api::Produce.serves(14));
        assert_eq!(Api::from_wire(24), None);
    }
}
