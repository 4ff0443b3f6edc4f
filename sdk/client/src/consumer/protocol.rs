//! What members of a group write for each other into JoinGroup and SyncGroup: bytes to the broker,
//! a format of Kafka's clients to us.
//!
//! A subscription is written in version 3, which names what a member has and since when; readers of
//! older versions ignore what they do not know. The sticky assignors of older clients say the same in
//! the subscription's user data, which is read and written as theirs:
//!
//! | assignor | user data |
//! |---|---|
//! | `sticky` (Java), both sticky ones (librdkafka) | previous assignment, generation |
//! | `cooperative-sticky` (Java) | generation |

use std::collections::{BTreeMap, BTreeSet};

use brooklet_wire::message::{
    ApiVersion, BytesMut, ConsumerProtocolAssignment, ConsumerProtocolSubscription, DecodeError,
    DecodeLimits, consumer_protocol_assignment, consumer_protocol_subscription,
    decode_consumer_protocol_assignment, decode_consumer_protocol_subscription,
    encode_consumer_protocol_assignment, encode_consumer_protocol_subscription, make,
};
use bytes::Bytes;

use super::assignor::{Assignor, Member};
use crate::offsets::Partition;

/// The generation of whoever is in none.
pub const NO_GENERATION: i32 = -1;

/// What stands before an assignment: its version.
const ASSIGNMENT_VERSION: [u8; 2] = [0, 0];

/// No user data.
const NO_BYTES: [u8; 4] = [0xff; 4];

/// What a member offers for one assignor.
pub fn encode_subscription(
    assignor: Assignor,
    topics: &[String],
    owned: &BTreeSet<Partition>,
    generation: i32,
) -> Bytes {
    let known = generation != NO_GENERATION;
    let user_data = match assignor {
        Assignor::Range | Assignor::RoundRobin => None,
        Assignor::Sticky => known.then(|| encode_sticky(owned, generation)),
        Assignor::CooperativeSticky => Some(generation.to_be_bytes().to_vec().into()),
    };
    // An eager member has given up everything by now. What it had is said in the user data alone.
    let nothing = BTreeSet::new();
    let owned = by_topic(if assignor.is_cooperative() { owned } else { &nothing });
    let subscription = make::<ConsumerProtocolSubscription>(|subscription| {
        subscription.topics = topics.iter().map(|topic| topic.as_str().into()).collect();
        subscription.user_data = user_data;
        let wire = |(topic, partitions): (&str, Vec<i32>)| {
            make(|wire: &mut consumer_protocol_subscription::TopicPartition| {
                wire.topic = topic.into();
                wire.partitions = partitions;
            })
        };
        subscription.owned_partitions = owned.into_iter().map(wire).collect();
        subscription.generation_id = generation;
    });
    let mut bytes = BytesMut::new();
    encode_consumer_protocol_subscription(&mut bytes, &subscription, ApiVersion::new(3))
        .expect("version 3 can carry any lists of topics and partitions");
    bytes.freeze()
}

/// A member as its subscription describes it. One that cannot be read wants nothing.
pub fn decode_subscription(
    assignor: Assignor,
    id: String,
    instance_id: Option<String>,
    metadata: Bytes,
) -> Member {
    let decoded = decode_consumer_protocol_subscription(metadata, DecodeLimits::default());
    let subscription = decoded.map(|(_, subscription)| subscription).unwrap_or_default();
    let topics = subscription.topics.iter().map(ToString::to_string).collect();
    let owned = subscription.owned_partitions.iter();
    let mut owned = partitions(owned.map(|one| (&*one.topic, &one.partitions[..])));
    let mut generation = subscription.generation_id;
    let user_data = subscription.user_data.unwrap_or_default();
    match assignor {
        Assignor::Range | Assignor::RoundRobin => {}
        Assignor::Sticky => (owned, generation) = decode_sticky(&user_data),
        Assignor::CooperativeSticky if generation == NO_GENERATION => {
            let bytes = <[u8; 4]>::try_from(&user_data[..]);
            generation = bytes.map_or(NO_GENERATION, i32::from_be_bytes);
        }
        Assignor::CooperativeSticky => {}
    }
    Member { id, instance_id, topics, owned, generation }
}

/// What the leader gives a member.
pub fn encode_assignment(partitions: &BTreeSet<Partition>) -> Bytes {
    let assignment = make::<ConsumerProtocolAssignment>(|assignment| {
        let wire = |(topic, partitions): (&str, Vec<i32>)| {
            make(|wire: &mut consumer_protocol_assignment::TopicPartition| {
                wire.topic = topic.into();
                wire.partitions = partitions;
            })
        };
        assignment.assigned_partitions = by_topic(partitions).into_iter().map(wire).collect();
    });
    let mut bytes = BytesMut::new();
    encode_consumer_protocol_assignment(&mut bytes, &assignment, ApiVersion::new(0))
        .expect("version 0 can carry any list of partitions");
    bytes.freeze()
}

/// What a member was given. No bytes at all are nothing given.
///
/// # Errors
/// If the bytes are none of the format.
pub fn decode_assignment(bytes: Bytes) -> Result<BTreeSet<Partition>, DecodeError> {
    if bytes.is_empty() {
        return Ok(BTreeSet::new());
    }
    let (_, assignment) = decode_consumer_protocol_assignment(bytes, DecodeLimits::default())?;
    let assigned = assignment.assigned_partitions.iter();
    Ok(partitions(assigned.map(|one| (&*one.topic, &one.partitions[..]))))
}

/// The list of an assignment with a generation behind it, where that has its user data.
fn encode_sticky(owned: &BTreeSet<Partition>, generation: i32) -> Bytes {
    let assignment = encode_assignment(owned);
    let list = ASSIGNMENT_VERSION.len()..assignment.len() - NO_BYTES.len();
    [&assignment[list], &generation.to_be_bytes()].concat().into()
}

/// The reverse; the first version of the format had no generation. What cannot be read is nothing.
fn decode_sticky(user_data: &[u8]) -> (BTreeSet<Partition>, i32) {
    let read = |list: &[u8]| {
        decode_assignment([&ASSIGNMENT_VERSION, list, &NO_BYTES].concat().into()).ok()
    };
    let newer = user_data.split_last_chunk().and_then(|(list, generation)| {
        read(list).map(|owned| (owned, i32::from_be_bytes(*generation)))
    });
    let older = || read(user_data).map(|owned| (owned, NO_GENERATION));
    newer.or_else(older).unwrap_or((BTreeSet::new(), NO_GENERATION))
}

fn by_topic(partitions: &BTreeSet<Partition>) -> BTreeMap<&str, Vec<i32>> {
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for (topic, index) in partitions {
        topics.entry(topic).or_default().push(i32::try_from(*index).unwrap_or(i32::MAX));
    }
    topics
}

fn partitions<'a>(topics: impl Iterator<Item = (&'a str, &'a [i32])>) -> BTreeSet<Partition> {
    let pairs = topics.flat_map(|(topic, indexes)| {
        let indexes = indexes.iter().filter_map(|index| u32::try_from(*index).ok());
        indexes.map(move |index| (topic.to_owned(), index))
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned() -> BTreeSet<Partition> {
        [("t".to_owned(), 1), ("t".to_owned(), 3)].into()
    }

    fn decode(assignor: Assignor, metadata: &[u8]) -> Member {
        let metadata = Bytes::copy_from_slice(metadata);
        decode_subscription(assignor, "me".to_owned(), None, metadata)
    }

    #[test]
    fn a_subscription_says_what_its_assignor_needs_to_know() {
        for assignor in Assignor::ALL {
            let metadata = encode_subscription(assignor, &["t".to_owned()], &owned(), 7);
            let member = decode(assignor, &metadata);
            assert_eq!(member.topics, BTreeSet::from(["t".to_owned()]), "{assignor:?}");
            let sticky = matches!(assignor, Assignor::Sticky | Assignor::CooperativeSticky);
            let expected = if sticky { owned() } else { BTreeSet::new() };
            assert_eq!(member.owned, expected, "{assignor:?}");
            assert_eq!(member.generation, 7, "{assignor:?}");
        }
    }

    /// Byte for byte what Java's `StickyAssignor` serializes: a list of topics with their
    /// partitions, and the generation.
    const STICKY: &[u8] = b"\0\0\0\x01\0\x01t\0\0\0\x02\0\0\0\x01\0\0\0\x03\0\0\0\x07";

    #[test]
    fn the_user_data_of_sticky_is_javas() {
        assert_eq!(encode_sticky(&owned(), 7), STICKY);
        assert_eq!(decode_sticky(STICKY), (owned(), 7));
        let (without_generation, _) = STICKY.split_at(STICKY.len() - 4);
        assert_eq!(decode_sticky(without_generation), (owned(), NO_GENERATION));
        for garbage in [&b""[..], b"\xff", b"\x7f\xff\xff\xff\0\0\0\x01", &[0; 33]] {
            assert_eq!(decode_sticky(garbage), (BTreeSet::new(), NO_GENERATION), "{garbage:?}");
        }
    }

    #[test]
    fn older_clients_are_read() {
        // Version 0: topics and user data only.
        let old = decode(Assignor::Range, b"\0\0\0\0\0\x01\0\x01t\xff\xff\xff\xff");
        assert_eq!(old.topics, BTreeSet::from(["t".to_owned()]));
        // Version 1 of a cooperative member: its generation is in the user data.
        let cooperative = b"\0\x01\0\0\0\x01\0\x01t\0\0\0\x04\0\0\0\x09\
                            \0\0\0\x01\0\x01t\0\0\0\x01\0\0\0\x02";
        let member = decode(Assignor::CooperativeSticky, cooperative);
        assert_eq!(member.owned, BTreeSet::from([("t".to_owned(), 2)]));
        assert_eq!(member.generation, 9);
        assert_eq!(decode(Assignor::Range, b"nonsense").topics, BTreeSet::new());
    }
}
