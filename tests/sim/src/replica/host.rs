//! One broker: a copy of the partition, the machine of its role, and what a shard would do for them.
//!
//! It keeps the rules that the core asks of whoever embeds it: it acts only on metadata that has its own
//! registration, and writes as a leader only in its own epoch.

use std::collections::BTreeMap;

use brooklet_replica::{
    BrokerEpoch, ChangeId, Fetch, FetchId, Follower, Leader, LeaderOutput, LeaderSettings,
    LogState, RequestId,
};
use brooklet_types::{BrokerId, Instant, Offset};

use crate::replica::bug::Bug;
use crate::replica::controller::Image;
use crate::replica::log::{ModelLog, Record};

/// What a broker is to the partition.
#[derive(Debug)]
pub(crate) enum Role {
    /// Nothing yet: the metadata has not told. What is known to be safe is kept.
    None {
        high_watermark: Offset,
    },
    Leader(Box<Leader>),
    Follower(Follower),
}

/// A broker that runs.
#[derive(Debug)]
pub(crate) struct Run {
    /// What the controller registered it as.
    pub(crate) epoch: Option<BrokerEpoch>,
    /// The image that it acts on.
    pub(crate) image: usize,
    pub(crate) role: Role,
    /// Fetches of an earlier role may be answered yet: ids go on.
    next_fetch: FetchId,
    /// Where the records of requests that wait are.
    pub(crate) requests: BTreeMap<RequestId, (u64, Record)>,
    /// The change that is asked for, and which attempt it is: an answer that does not come is lost.
    pub(crate) asked: Option<(ChangeId, u64)>,
    /// When its timer goes off next.
    pub(crate) armed: Option<Instant>,
}

/// A broker, running or not.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) id: BrokerId,
    /// Counts its starts.
    pub(crate) incarnation: u64,
    pub(crate) run: Option<Run>,
    pub(crate) log: ModelLog,
    /// Whether its last end was an orderly one.
    pub(crate) clean: bool,
    /// What a file says of the high watermark.
    pub(crate) stored: Offset,
    /// What it knew when it ended, if it led then: a bug goes on from there.
    pub(crate) last_image: Option<Image>,
}

impl Host {
    pub(crate) fn new(id: BrokerId, flush_os: bool) -> Host {
        Host {
            id,
            incarnation: 0,
            run: None,
            log: ModelLog::new(flush_os),
            clean: true,
            stored: Offset::ZERO,
            last_image: None,
        }
    }

    /// Starts: a new incarnation that knows nothing of the metadata.
    pub(crate) fn start(&mut self) {
        assert!(self.run.is_none(), "it runs already");
        self.incarnation += 1;
        let durable = self.log.ends().durable;
        let high_watermark = self.stored.min(durable).max(Offset::new(self.log.start()));
        self.run = Some(Run {
            epoch: None,
            image: 0,
            role: Role::None { high_watermark },
            next_fetch: FetchId(1),
            requests: BTreeMap::new(),
            asked: None,
            armed: None,
        });
    }

    /// What the follower is told of the log here.
    pub(crate) fn state(&self, bug: Bug) -> LogState {
        let state = self.log.state();
        let durable = if bug == Bug::FetchBeforeSync { state.end } else { state.durable };
        LogState { durable, ..state }
    }

    /// What is known here to be safe.
    pub(crate) fn high_watermark(&self) -> Offset {
        match self.run.as_ref().map(|run| &run.role) {
            Some(Role::None { high_watermark }) => *high_watermark,
            Some(Role::Leader(leader)) => leader.high_watermark(),
            Some(Role::Follower(follower)) => follower.high_watermark(),
            None => self.stored,
        }
    }

    /// The leader here, if this is one.
    pub(crate) fn leader(&mut self) -> Option<&mut Leader> {
        match &mut self.run.as_mut()?.role {
            Role::Leader(leader) => Some(leader),
            Role::None { .. } | Role::Follower(_) => None,
        }
    }

    /// The follower here, if this is one.
    pub(crate) fn follower(&mut self) -> Option<&mut Follower> {
        match &mut self.run.as_mut()?.role {
            Role::Follower(follower) => Some(follower),
            Role::None { .. } | Role::Leader(_) => None,
        }
    }

    /// Takes the role that an image gives.
    pub(crate) fn follow(
        &mut self,
        image: &Image,
        settings: LeaderSettings,
        now: Instant,
        outbox: &mut Vec<LeaderOutput>,
    ) {
        let (id, ends) = (self.id, self.log.ends());
        let Some(run) = &mut self.run else { return };
        let partition = &image.partition;
        let role = std::mem::replace(&mut run.role, Role::None { high_watermark: Offset::ZERO });
        let high_watermark = match role {
            Role::Leader(mut leader) if partition.leader == Some(id) => {
                leader.metadata(partition, &image.brokers, now, outbox);
                run.role = Role::Leader(leader);
                return;
            }
            Role::Follower(mut follower) if partition.leader != Some(id) => {
                follower.metadata(partition, now);
                run.role = Role::Follower(follower);
                return;
            }
            Role::Leader(leader) => leader.depose(outbox),
            Role::Follower(follower) => {
                run.next_fetch = follower.next_fetch();
                follower.high_watermark()
            }
            Role::None { high_watermark } => high_watermark,
        };
        run.role = if partition.leader == Some(id) {
            let mut leader = Leader::new(id, settings, partition, ends, high_watermark, now);
            leader.metadata(partition, &image.brokers, now, outbox);
            Role::Leader(Box::new(leader))
        } else {
            Role::Follower(Follower::new(partition, high_watermark, run.next_fetch, now))
        };
    }

    /// When time alone is worth looking at this broker again.
    pub(crate) fn next_deadline(&self, bug: Bug) -> Option<Instant> {
        match &self.run.as_ref()?.role {
            Role::Leader(leader) => leader.next_deadline(),
            Role::Follower(follower) => follower.next_deadline(&self.state(bug)),
            Role::None { .. } => None,
        }
    }

    /// What to fetch now, if anything.
    pub(crate) fn next_fetch(&mut self, bug: Bug, now: Instant) -> Option<Fetch> {
        let state = self.state(bug);
        let fetch = self.follower()?.next(&state, now)?;
        let last_epoch = if bug == Bug::SkipTruncation { None } else { fetch.last_epoch };
        Some(Fetch { last_epoch, ..fetch })
    }
}
