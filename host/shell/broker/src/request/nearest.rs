//! Whom a consumer reads from that says where it stands (KIP-392): a broker that stands there too, if the leader does not.
//!
//! **Decides** who that is: in sync, active, reached through the listener that the consumer came in by; where there are several,
//! partitions take turns with them. Whether it has what is asked for the shard knows.
//!
//! Kafka does this where `replica.selector.class` is its `RackAwareReplicaSelector`, and nowhere by default. Here a broker does it that has
//! a rack: an operator who says where brokers stand has places between which traffic costs something, and a consumer that says where
//! it stands asks for this and nothing else. Without racks there is nothing to choose by.
//!
//! **Never** costs anything a consumer that does not say where it stands.

use brooklet_meta::{Cluster, Topic};
use brooklet_types::{BrokerId, TopicPartition};
use brooklet_wire::message::FetchRequest;

use crate::context::Call;

/// A consumer that may be sent to a nearer broker.
#[derive(Clone, Copy, Debug)]
pub(super) struct Nearest<'a> {
    cluster: &'a Cluster,
    this: BrokerId,
    /// Where the consumer stands.
    rack: &'a str,
    /// How it has come in.
    listener: &'a str,
}

impl<'a> Nearest<'a> {
    /// None for a consumer that is best served here.
    pub(super) fn of(
        call: &'a Call,
        cluster: &'a Cluster,
        request: &'a FetchRequest,
    ) -> Option<Nearest<'a>> {
        let (this, listener) = (call.context.node, call.peer.listener);
        Nearest::new(cluster, this, (&*request.rack_id, listener))
    }

    fn new(
        cluster: &'a Cluster,
        this: BrokerId,
        (rack, listener): (&'a str, &'a str),
    ) -> Option<Nearest<'a>> {
        if rack.is_empty() {
            return None;
        }
        let own = cluster.registration(this)?.rack.as_deref()?;
        (own != rack).then_some(Nearest { cluster, this, rack, listener })
    }

    /// Who is nearer than this broker, which may lead the partition of that topic.
    pub(super) fn to(&self, topic: &Topic, id: TopicPartition) -> Option<BrokerId> {
        let partition = topic.partition(id.partition)?;
        if partition.leader != Some(self.this) {
            return None;
        }
        let near = || partition.in_sync.iter().copied().filter(|broker| self.is_near(*broker));
        let turn = usize::try_from(id.partition.0).ok()?.checked_rem(near().count())?;
        near().nth(turn)
    }

    fn is_near(&self, broker: BrokerId) -> bool {
        self.cluster.registration(broker).is_some_and(|known| {
            let is_there = known.rack.as_deref() == Some(self.rack) && known.is_active();
            is_there && known.endpoint(self.listener).is_some()
        })
    }
}

#[cfg(test)]
mod tests {
    use brooklet_types::PartitionIndex;

    use super::*;
    use crate::translate::nodes::tests as scene;

    /// Where consumers of the three partitions are sent, which brokers 1, 2 and 3 lead in racks a, b and b.
    fn sent(cluster: &Cluster, from: i32, rack: &str, listener: &str) -> Vec<Option<i32>> {
        let nearest = Nearest::new(cluster, BrokerId(from), (rack, listener));
        let topic = cluster.topic_by_id(scene::FLIGHTS).unwrap();
        let to = |index| {
            let id = TopicPartition { topic: scene::FLIGHTS, partition: PartitionIndex(index) };
            nearest.and_then(|nearest| nearest.to(topic, id)).map(|broker| broker.0)
        };
        (0..3).map(to).collect()
    }

    #[test]
    fn a_leader_elsewhere_sends_a_consumer_to_its_own_rack() {
        let mut cluster = scene::cluster();
        let nobody = [None, None, None];
        assert_eq!(sent(&cluster, 1, "b", "PLAINTEXT"), [Some(2), None, None]);
        assert_eq!(sent(&cluster, 2, "a", "PLAINTEXT"), [None, Some(1), None]);
        assert_eq!(sent(&cluster, 3, "a", "PLAINTEXT"), [None, None, Some(1)]);
        assert_eq!(sent(&cluster, 2, "b", "PLAINTEXT"), nobody, "it stands here");
        assert_eq!(sent(&cluster, 1, "c", "PLAINTEXT"), nobody, "nobody stands there");
        assert_eq!(sent(&cluster, 1, "", "PLAINTEXT"), nobody, "it does not say");
        assert_eq!(sent(&cluster, 1, "b", "QUIC"), nobody, "it could not get there");
        scene::fence(&mut cluster, 2);
        assert_eq!(sent(&cluster, 1, "b", "PLAINTEXT"), [Some(3), None, None]);
        assert_eq!(sent(&cluster, 1, "b", "SSL"), nobody);
        scene::stop(&mut cluster, 3);
        assert_eq!(sent(&cluster, 1, "b", "PLAINTEXT"), nobody, "about to stop");
    }

    #[test]
    fn partitions_take_turns_with_those_who_are_equally_near() {
        let mut cluster = scene::cluster();
        scene::lead(&mut cluster, 1);
        // In the order of their in-sync sets: 1, 2, 3; 2, 3, 1; and 3, 1, 2.
        assert_eq!(sent(&cluster, 1, "b", "PLAINTEXT"), [Some(2), Some(3), Some(3)]);
    }

    #[test]
    fn without_racks_nobody_is_sent_anywhere() {
        assert!(Nearest::new(&Cluster::default(), BrokerId(1), ("b", "PLAINTEXT")).is_none());
    }
}
