//! Asking the controller, which is whoever leads the metadata's quorum: here, or at another broker.
//!
//! **What it decides.** Whom to ask where nobody is known to lead: everybody that was heard of, and the brokers that this one was
//! told of when it joined.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use brooklet_client::request::Call;
use brooklet_meta::broker::BrokerEpoch;
use brooklet_shard::QuorumStanding;
use brooklet_shard::input::Input;
use brooklet_shard::output::Alter;
use brooklet_types::{BrokerId, ErrorCode};
use brooklet_wire::message::{
    AllocateProducerIdsResponse, AlterPartitionResponse, BrokerHeartbeatResponse,
    BrokerRegistrationResponse, DescribeClusterRequest, EnvelopeResponse, JoinQuorumResponse,
};

use super::ways::{ANSWER_MAX, Lane, Target};
use super::{Peers, Whereabouts, registered};
use crate::request::brokers;
use crate::translate::peer::alter;

/// Why the controller has not answered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    /// It is not known who it is, or it is this broker, which was to be asked in another way.
    #[error("nobody is known to lead the cluster's metadata")]
    NoController,
    /// It was not reached: nothing has been asked.
    #[error("{0}")]
    NotAsked(String),
    /// Its answer is lost. Whether it did what it was asked is not known.
    #[error("{0}")]
    NoAnswer(String),
}

/// Who was to be asked: who leads, and whether it does so here.
#[derive(PartialEq, Eq)]
struct Asked(Option<BrokerId>, bool);

impl Asked {
    fn of(standing: &QuorumStanding) -> Asked {
        Asked(standing.leader, standing.decides)
    }
}

/// What the controller answers.
pub(super) trait Answered {
    /// The error of the answer as a whole; 0 for none.
    fn code(&self) -> i16;
}

macro_rules! answered {
    ($($response:ident)*) => {
        $(impl Answered for $response {
            fn code(&self) -> i16 {
                self.error_code
            }
        })*
    };
}

answered! {
    AllocateProducerIdsResponse AlterPartitionResponse BrokerHeartbeatResponse BrokerRegistrationResponse EnvelopeResponse
    JoinQuorumResponse
}

impl Peers {
    /// Has the controller answer: here, if that is this broker, else there.
    pub(super) async fn controller_answers<R: Call<Response: Answered>>(
        &self,
        request: &R,
        here: impl Future<Output = R::Response>,
    ) -> Result<R::Response, AskError> {
        match self.whereabouts() {
            Whereabouts::Here => Ok(here.await),
            Whereabouts::There(_) | Whereabouts::Nowhere => {
                self.ask(Lane::Control, request, ANSWER_MAX).await
            }
        }
    }

    /// Asks the controller where that is another broker; all those who may know, where it is not known who it is. When another
    /// leads than did, there is no answer.
    pub(super) async fn ask<R: Call<Response: Answered>>(
        &self,
        lane: Lane,
        request: &R,
        within: Duration,
    ) -> Result<R::Response, AskError> {
        let mut quorum = self.quorum.clone();
        let asked = Asked::of(&quorum.borrow_and_update());
        let another = quorum.wait_for(|standing| Asked::of(standing) != asked);
        tokio::select! {
            biased;
            answer = self.ask_whom_we_know(lane, request, within) => answer,
            _ = another => Err(AskError::NoAnswer("another broker leads the metadata".to_owned())),
        }
    }

    async fn ask_whom_we_know<R: Call<Response: Answered>>(
        &self,
        lane: Lane,
        request: &R,
        within: Duration,
    ) -> Result<R::Response, AskError> {
        let targets = match self.whereabouts() {
            Whereabouts::Here => return Err(AskError::NoController),
            Whereabouts::There(leader) => Vec::from_iter(self.target(leader)),
            Whereabouts::Nowhere => self.everybody(),
        };
        let mut last = Err(AskError::NoController);
        for target in targets {
            last = self.ask_one(&target, lane, request, within).await;
            let no = ErrorCode::NotController.to_wire();
            if last.as_ref().is_ok_and(|answer| answer.code() != no) {
                break;
            }
            if last.is_ok() && self.whereabouts() == Whereabouts::Nowhere {
                self.learn(&target).await;
            }
        }
        last
    }

    /// Asks a broker where all the others listen: whoever joins knows few of them.
    async fn learn(&self, target: &Target) {
        let request = DescribeClusterRequest::default();
        let told = self.ask_one(target, Lane::Control, &request, ANSWER_MAX).await;
        let Ok(told) = told else { return };
        for broker in told.brokers {
            let id = BrokerId(broker.broker_id);
            if let Ok(port) = u16::try_from(broker.port)
                && id != self.me
            {
                self.heard_of(id, &broker.host, port);
            }
        }
    }

    async fn ask_one<R: Call>(
        &self,
        target: &Target,
        lane: Lane,
        request: &R,
        within: Duration,
    ) -> Result<R::Response, AskError> {
        let connection = self.ways.connection(target, lane).await;
        let connection = connection.map_err(|error| AskError::NotAsked(error.to_string()))?;
        let pending = connection.submit(request, within).await;
        let pending = pending.map_err(|error| AskError::NotAsked(error.to_string()))?;
        pending.answer().await.map_err(|error| AskError::NoAnswer(error.to_string()))
    }

    /// Everybody that may know who leads.
    fn everybody(&self) -> Vec<Target> {
        let cluster = self.shards.cluster();
        let ids = cluster.brokers().map(|broker| broker.id).filter(|id| *id != self.me);
        let mut targets: Vec<Target> = ids.filter_map(|id| registered(&cluster, id)).collect();
        let heard_of = self.heard_of.lock().unwrap_or_else(PoisonError::into_inner);
        targets.extend(heard_of.values().cloned());
        drop(heard_of);
        let seeds = self.identity.seeds.iter();
        targets.extend(seeds.map(|(host, port)| Target {
            broker: None,
            host: host.clone(),
            port: *port,
        }));
        targets
    }
}

/// Asks for other in-sync sets, and tells the shard what has come of it.
pub(super) async fn alter(peers: Arc<Peers>, shard: u32, epoch: BrokerEpoch, wanted: Vec<Alter>) {
    let request = alter::ask(peers.me, epoch, &wanted);
    let here = brokers::alter(&peers.shards, peers.me, &request);
    let answers = match peers.controller_answers(&request, here).await {
        Ok(response) => alter::answered(&wanted, &response).unwrap_or_else(|error| {
            tracing::warn!(%error, "answer of the controller");
            alter::lost(&wanted)
        }),
        Err(error) => {
            tracing::debug!(%error, "in-sync sets not changed");
            alter::lost(&wanted)
        }
    };
    // A shard that has stopped wants nothing.
    let _ = peers.shards.tell(shard, Input::Altered(answers)).await;
}

impl Peers {
    /// How this broker is registered, once it is.
    pub(super) fn registered_as(&self) -> Option<BrokerEpoch> {
        let cluster = self.shards.cluster();
        let known = cluster.registration(self.me)?;
        (known.incarnation == self.registers.incarnation).then_some(known.epoch)
    }

    /// The controller, where it is another broker.
    pub(crate) fn other_controller(&self) -> Option<BrokerId> {
        match self.whereabouts() {
            Whereabouts::There(leader) => Some(leader),
            Whereabouts::Here | Whereabouts::Nowhere => None,
        }
    }
}
