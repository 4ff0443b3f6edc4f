//! A controller as simple as can be, by KRaft's rules, as an oracle: registrations, sessions, elections from the
//! in-sync set, AlterPartition. Its decisions are images of the metadata, one after the other.
//!
//! Source: KIP-631, 841, 903, 966 (unclean restarts leave the set; eligible leader replicas are left out).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use brooklet_replica::{
    AlterPartition, Altered, BrokerEpoch, Brokers, LiveBroker, Partition, PartitionEpoch,
};
use brooklet_types::{BrokerId, ErrorCode, Instant, LeaderEpoch};

use crate::prng::Prng;
use crate::replica::plan::Plan;

/// The metadata at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    pub(crate) partition: Partition,
    pub(crate) brokers: Brokers,
}

#[derive(Clone, Copy, Debug)]
struct Registration {
    epoch: BrokerEpoch,
    incarnation: u64,
    /// The image that has it.
    image: usize,
    fenced: bool,
    heard: Instant,
}

/// The one that decides.
#[derive(Debug)]
pub(crate) struct Controller {
    /// In the order in which they are preferred.
    replicas: Vec<BrokerId>,
    brokers: BTreeMap<BrokerId, Registration>,
    partition: Partition,
    images: Vec<Image>,
    session: Duration,
}

impl Controller {
    /// Nobody is registered, and all will be in sync, as all copies are empty.
    pub(crate) fn new(plan: &Plan) -> Controller {
        let all: BTreeSet<BrokerId> = plan.brokers.iter().copied().collect();
        let partition = Partition {
            leader: None,
            leader_epoch: LeaderEpoch(0),
            partition_epoch: PartitionEpoch(0),
            replicas: all.clone(),
            in_sync: all,
            min_in_sync: plan.min_in_sync,
        };
        let images = vec![Image { partition: partition.clone(), brokers: Brokers::new() }];
        Controller {
            replicas: plan.brokers.clone(),
            brokers: BTreeMap::new(),
            partition,
            images,
            session: plan.session,
        }
    }

    /// A broker starts. None while the one before it may live: it asks again.
    pub(crate) fn register(
        &mut self,
        id: BrokerId,
        incarnation: u64,
        clean: bool,
        now: Instant,
    ) -> Option<BrokerEpoch> {
        if let Some(known) = self.brokers.get(&id) {
            if known.incarnation == incarnation {
                return Some(known.epoch);
            }
            // A request that was overtaken by a later start's.
            if known.incarnation > incarnation || !known.fenced {
                return None;
            }
        }
        let image = self.images.len();
        let epoch = BrokerEpoch(u64::try_from(image).expect("small"));
        self.brokers
            .insert(id, Registration { epoch, incarnation, image, fenced: true, heard: now });
        let mut in_sync = self.partition.in_sync.clone();
        if !clean && in_sync.len() > 1 {
            in_sync.remove(&id);
        }
        self.decide(in_sync);
        Some(epoch)
    }

    /// A broker lives and knows the metadata up to `image`.
    pub(crate) fn heartbeat(
        &mut self,
        id: BrokerId,
        epoch: BrokerEpoch,
        image: usize,
        now: Instant,
    ) {
        let known = self.brokers.get_mut(&id).filter(|known| known.epoch == epoch);
        let Some(known) = known else { return };
        known.heard = now;
        if known.fenced && image >= known.image {
            known.fenced = false;
            self.decide(self.partition.in_sync.clone());
        }
    }

    /// Fences who was not heard of.
    pub(crate) fn tick(&mut self, now: Instant) {
        let gone = self
            .brokers
            .iter()
            .filter(|(_, known)| !known.fenced && now.since(known.heard) >= self.session);
        let gone: Vec<BrokerId> = gone.map(|(id, _)| *id).collect();
        for id in gone {
            self.fence(id);
        }
    }

    /// Takes a broker out of service, for want of heartbeats, because it stops, or for no reason.
    pub(crate) fn fence(&mut self, id: BrokerId) {
        let Some(known) = self.brokers.get_mut(&id).filter(|known| !known.fenced) else { return };
        known.fenced = true;
        let mut in_sync = self.partition.in_sync.clone();
        if in_sync.len() > 1 {
            in_sync.remove(&id);
        }
        self.decide(in_sync);
    }

    /// Gives the partition to another of those who may lead.
    pub(crate) fn move_leader(&mut self, prng: &mut Prng) {
        let in_sync = &self.partition.in_sync;
        let may_lead = |id: &BrokerId| in_sync.contains(id) && self.is_live(*id);
        let may: Vec<BrokerId> = self.replicas.iter().copied().filter(may_lead).collect();
        if may.len() > 1 {
            let to = may[usize::try_from(prng.below(may.len() as u64)).expect("few")];
            self.commit(self.partition.in_sync.clone(), Some(to));
        }
    }

    /// Gives the partition to one of those who may lead.
    pub(crate) fn give(&mut self, to: BrokerId) {
        if self.partition.in_sync.contains(&to) && self.is_live(to) {
            self.commit(self.partition.in_sync.clone(), Some(to));
        }
    }

    /// AlterPartition, as ReplicationControlManager answers it.
    pub(crate) fn alter(
        &mut self,
        from: BrokerId,
        epoch: BrokerEpoch,
        asked: &AlterPartition,
    ) -> Altered {
        match self.refusal(from, epoch, asked) {
            Some(code) => Altered::Refused(code),
            None => {
                self.decide(asked.in_sync.keys().copied().collect());
                let Partition { leader_epoch, partition_epoch, in_sync, .. } =
                    self.partition.clone();
                Altered::Applied { leader_epoch, partition_epoch, in_sync }
            }
        }
    }

    fn refusal(
        &self,
        from: BrokerId,
        epoch: BrokerEpoch,
        asked: &AlterPartition,
    ) -> Option<ErrorCode> {
        let partition = &self.partition;
        if self.brokers.get(&from).is_none_or(|known| known.epoch != epoch) {
            return Some(ErrorCode::StaleBrokerEpoch);
        }
        if asked.leader_epoch < partition.leader_epoch {
            return Some(ErrorCode::FencedLeaderEpoch);
        }
        if asked.partition_epoch < partition.partition_epoch {
            return Some(ErrorCode::InvalidUpdateVersion);
        }
        if partition.leader != Some(from) || !asked.in_sync.contains_key(&from) {
            return Some(ErrorCode::InvalidRequest);
        }
        let is_ineligible = |(id, epoch): (&BrokerId, &Option<BrokerEpoch>)| {
            let known = self.brokers.get(id);
            known
                .is_none_or(|known| known.fenced || epoch.is_some_and(|epoch| epoch != known.epoch))
        };
        asked.in_sync.iter().any(is_ineligible).then_some(ErrorCode::IneligibleReplica)
    }

    fn is_live(&self, id: BrokerId) -> bool {
        self.brokers.get(&id).is_some_and(|known| !known.fenced)
    }

    /// The set is that, and whoever leads may: the one who does, or the first in the order of replicas.
    fn decide(&mut self, in_sync: BTreeSet<BrokerId>) {
        assert!(!in_sync.is_empty(), "somebody has everything");
        let may_lead = |id: &BrokerId| in_sync.contains(id) && self.is_live(*id);
        let leader = self.partition.leader.filter(may_lead);
        let leader = leader.or_else(|| self.replicas.iter().copied().find(may_lead));
        self.commit(in_sync, leader);
    }

    fn commit(&mut self, in_sync: BTreeSet<BrokerId>, leader: Option<BrokerId>) {
        let partition = &mut self.partition;
        let is_other_leader = partition.leader != leader;
        if is_other_leader || partition.in_sync != in_sync {
            partition.partition_epoch.0 += 1;
            partition.leader_epoch.0 += u32::from(is_other_leader);
            (partition.leader, partition.in_sync) = (leader, in_sync);
        }
        let live =
            |known: &Registration| LiveBroker { epoch: known.epoch, can_join: !known.fenced };
        let brokers = self.brokers.iter().map(|(id, known)| (*id, live(known))).collect();
        self.images.push(Image { partition: self.partition.clone(), brokers });
    }

    /// Whether a broker is in sync, or may become so without starting anew.
    pub(crate) fn counts_on(&self, id: BrokerId) -> bool {
        let is_out = self.brokers.get(&id).is_some_and(|known| known.fenced);
        !is_out || self.partition.in_sync.contains(&id)
    }

    pub(crate) fn images(&self) -> &[Image] {
        &self.images
    }

    pub(crate) fn partition(&self) -> &Partition {
        &self.partition
    }
}
