//! One member of one group, by the classic protocol: join, sync, heartbeats, commits, leave.
//!
//! Rebalances are eager: before joining again a member has committed and given up everything. A
//! heartbeat task runs between rebalances and only ever says one thing: join again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use brooklet_types::ErrorCode;
use brooklet_wire::message::{
    ApiVersion, BytesMut, ConsumerProtocolAssignment, ConsumerProtocolSubscription, DecodeLimits,
    HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, OffsetCommitRequest,
    SyncGroupRequest, consumer_protocol_assignment::TopicPartition,
    decode_consumer_protocol_assignment, decode_consumer_protocol_subscription,
    encode_consumer_protocol_assignment, encode_consumer_protocol_subscription,
    join_group_request::JoinGroupRequestProtocol, leave_group_request::MemberIdentity, make,
    sync_group_request::SyncGroupRequestAssignment,
};
use bytes::Bytes;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};

use super::ConsumeError;
use super::assignor::Assignor;
use crate::admin::CommittedOffset;
use crate::client::{Backoff, Client, Lane};
use crate::error::{ApiError, Code, Peer};
use crate::offsets::Partition;
use crate::request::Call;

/// What a member says it is.
const PROTOCOL_TYPE: &str = "consumer";

/// Settings of a group's member.
#[derive(Clone, Debug)]
pub struct GroupConfig {
    /// The group.
    pub id: String,
    /// A name that survives restarts: the member then may return without a rebalance.
    pub instance_id: Option<String>,
    /// The group gives up on a member it has not heard of for so long.
    pub session_timeout: Duration,
    /// How long a rebalance waits for a member to join again.
    pub rebalance_timeout: Duration,
    /// How often a member says that it lives.
    pub heartbeat_interval: Duration,
    /// How often positions are committed; never by themselves if absent.
    pub commit_interval: Option<Duration>,
    /// In the order of preference.
    pub assignors: Vec<Assignor>,
}

impl GroupConfig {
    /// Kafka's defaults.
    pub fn new(id: impl Into<String>) -> GroupConfig {
        GroupConfig {
            id: id.into(),
            instance_id: None,
            session_timeout: Duration::from_secs(45),
            rebalance_timeout: Duration::from_secs(300),
            heartbeat_interval: Duration::from_secs(3),
            commit_interval: Some(Duration::from_secs(5)),
            assignors: vec![Assignor::Range, Assignor::RoundRobin],
        }
    }
}

/// What a member should do now.
pub(crate) enum Signal {
    Nothing,
    Commit,
    Join,
}

pub(crate) struct Membership {
    client: Client,
    lane: Lane,
    config: GroupConfig,
    topics: Vec<String>,
    member_id: String,
    generation: i32,
    /// Set by the heartbeat task when the group changes.
    rejoin: Arc<AtomicBool>,
    heartbeats: Option<AbortHandle>,
    committed_at: Instant,
    last_committed: BTreeMap<Partition, i64>,
    backoff: Backoff,
    not_before: Option<Instant>,
}

impl Membership {
    pub(crate) fn new(client: Client, config: GroupConfig, topics: Vec<String>) -> Membership {
        Membership {
            lane: client.new_lane(),
            client,
            config,
            topics,
            member_id: String::new(),
            generation: -1,
            rejoin: Arc::new(AtomicBool::new(true)),
            heartbeats: None,
            committed_at: Instant::now(),
            last_committed: BTreeMap::new(),
            backoff: Backoff::new(),
            not_before: None,
        }
    }

    pub(crate) fn signal(&self, now: Instant) -> Signal {
        if self.rejoin.load(Ordering::SeqCst) {
            let early = self.not_before.is_some_and(|time| now < time);
            return if early { Signal::Nothing } else { Signal::Join };
        }
        match self.config.commit_interval {
            Some(interval) if now >= self.committed_at + interval => Signal::Commit,
            Some(_) | None => Signal::Nothing,
        }
    }

    /// Joins once. Returns nothing if it has to be tried again, which [`signal`](Self::signal) says
    /// when it is time.
    pub(crate) async fn join(
        &mut self,
        _deadline: Instant,
    ) -> Result<Option<BTreeSet<Partition>>, ConsumeError> {
        self.stop_heartbeats();
        match self.join_once().await {
            Ok(assigned) => {
                self.rejoin = Arc::new(AtomicBool::new(false));
                self.backoff = Backoff::new();
                self.not_before = None;
                self.committed_at = Instant::now();
                self.last_committed.clear();
                self.start_heartbeats();
                Ok(Some(assigned))
            }
            Err(ConsumeError::Api(error)) => {
                self.recover(&error)?;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Forgets what the error says is wrong, so that the next attempt starts better.
    fn recover(&mut self, error: &ApiError) -> Result<(), ConsumeError> {
        match error.code() {
            Some(ErrorCode::UnknownMemberId) => self.member_id.clear(),
            Some(ErrorCode::IllegalGeneration | ErrorCode::RebalanceInProgress) => {}
            Some(ErrorCode::FencedInstanceId) => {
                return Err(ConsumeError::Fenced { group: self.config.id.clone() });
            }
            Some(_) | None if self.client.may_retry(error) => {
                self.client.forget_coordinator(&self.config.id);
            }
            Some(_) | None => return Err(error.clone().into()),
        }
        self.generation = -1;
        self.not_before = Some(Instant::now() + self.backoff.next());
        Ok(())
    }

    async fn join_once(&mut self) -> Result<BTreeSet<Partition>, ConsumeError> {
        let (peer, joined) = self.send_join().await?;
        self.member_id = joined.member_id.to_string();
        self.generation = joined.generation_id;
        let protocol = joined.protocol_name.as_ref().map(ToString::to_string).unwrap_or_default();
        let leads = *joined.leader == *self.member_id && !joined.skip_assignment;
        let assignments = if leads { self.assign(&protocol, &joined).await? } else { Vec::new() };
        let request = make::<SyncGroupRequest>(|request| {
            request.group_id = self.config.id.as_str().into();
            request.generation_id = self.generation;
            request.member_id = self.member_id.as_str().into();
            request.group_instance_id = self.config.instance_id.as_deref().map(Into::into);
            request.protocol_type = Some(PROTOCOL_TYPE.into());
            request.protocol_name = Some(protocol.as_str().into());
            request.assignments = assignments;
        });
        let connection = self.client.coordinator(&self.config.id, self.lane).await?;
        // The leader may take its time to decide.
        let within = self.config.rebalance_timeout + self.client.config().request_timeout;
        let pending = connection.submit(&request, within).await.map_err(ApiError::from)?;
        let response = pending.answer().await.map_err(ApiError::from)?;
        self.check::<SyncGroupRequest>(&peer, response.error_code)?;
        self.read_assignment(response.assignment)
    }

    async fn send_join(&mut self) -> Result<(Peer, JoinGroupResponse), ApiError> {
        // A new member is first told its id, and joins with it.
        for _ in 0..2 {
            let connection = self.client.coordinator(&self.config.id, self.lane).await?;
            let request = self.join_request();
            let within = self.config.rebalance_timeout + self.client.config().request_timeout;
            let response = connection.submit(&request, within).await?.answer().await?;
            if Code(response.error_code) == ErrorCode::MemberIdRequired {
                self.member_id = response.member_id.to_string();
                continue;
            }
            self.check::<JoinGroupRequest>(connection.peer(), response.error_code)?;
            return Ok((connection.peer().clone(), response));
        }
        let peer = self.client.coordinator(&self.config.id, self.lane).await?.peer().clone();
        let subject = format!("group {}", self.config.id);
        let (api, code) = (JoinGroupRequest::API, Code::from(ErrorCode::MemberIdRequired));
        Err(ApiError::Refused { peer, api, subject, code, message: None })
    }

    fn join_request(&self) -> JoinGroupRequest {
        let subscription = make::<ConsumerProtocolSubscription>(|subscription| {
            subscription.topics = self.topics.iter().map(|topic| topic.as_str().into()).collect();
        });
        let mut metadata = BytesMut::new();
        encode_consumer_protocol_subscription(&mut metadata, &subscription, ApiVersion::new(0))
            .expect("version 0 can carry any list of topics");
        let metadata = metadata.freeze();
        let protocol = |assignor: &Assignor| {
            make(|wire: &mut JoinGroupRequestProtocol| {
                wire.name = assignor.name().into();
                wire.metadata = metadata.clone();
            })
        };
        make(|request: &mut JoinGroupRequest| {
            request.group_id = self.config.id.as_str().into();
            request.session_timeout_ms = millis(self.config.session_timeout);
            request.rebalance_timeout_ms = millis(self.config.rebalance_timeout);
            request.member_id = self.member_id.as_str().into();
            request.group_instance_id = self.config.instance_id.as_deref().map(Into::into);
            request.protocol_type = PROTOCOL_TYPE.into();
            request.protocols = self.config.assignors.iter().map(protocol).collect();
        })
    }

    /// Spreads partitions over the members, as their leader.
    async fn assign(
        &self,
        protocol: &str,
        joined: &JoinGroupResponse,
    ) -> Result<Vec<SyncGroupRequestAssignment>, ConsumeError> {
        let known = self.config.assignors.iter().find(|assignor| assignor.name() == protocol);
        let assignor = known.copied().ok_or_else(|| ConsumeError::BadAssignment {
            group: self.config.id.clone(),
            reason: format!("the group chose {protocol:?}, which we did not offer"),
        })?;
        let mut members = BTreeMap::new();
        for member in &joined.members {
            let limits = DecodeLimits::default();
            let read = decode_consumer_protocol_subscription(member.metadata.clone(), limits);
            // A member that cannot say what it wants gets nothing.
            let topics = read.map(|(_, subscription)| subscription.topics).unwrap_or_default();
            let topics = topics.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
            members.insert(member.member_id.to_string(), topics);
        }
        let wanted: BTreeSet<&String> = members.values().flatten().collect();
        let wanted: Vec<String> = wanted.into_iter().cloned().collect();
        let metadata = self.client.metadata(Some(&wanted)).await?;
        let counts = metadata.topics.iter().map(|(name, topic)| {
            (name.clone(), u32::try_from(topic.partitions.len()).unwrap_or(u32::MAX))
        });
        let assigned = assignor.assign(&members, &counts.collect());
        let wire = |(member, partitions): (String, BTreeSet<Partition>)| {
            make(|wire: &mut SyncGroupRequestAssignment| {
                wire.member_id = member.into();
                wire.assignment = encode_assignment(&partitions);
            })
        };
        Ok(assigned.into_iter().map(wire).collect())
    }

    fn read_assignment(&self, bytes: Bytes) -> Result<BTreeSet<Partition>, ConsumeError> {
        if bytes.is_empty() {
            return Ok(BTreeSet::new());
        }
        let read = decode_consumer_protocol_assignment(bytes, DecodeLimits::default());
        let (_, assignment) = read.map_err(|error| ConsumeError::BadAssignment {
            group: self.config.id.clone(),
            reason: error.to_string(),
        })?;
        let mut partitions = BTreeSet::new();
        for topic in &assignment.assigned_partitions {
            let indexes = topic.partitions.iter().filter_map(|index| u32::try_from(*index).ok());
            partitions.extend(indexes.map(|index| (topic.topic.to_string(), index)));
        }
        Ok(partitions)
    }

    /// Where the group is in these partitions.
    pub(crate) async fn committed(
        &self,
        partitions: &BTreeSet<Partition>,
    ) -> Result<BTreeMap<Partition, CommittedOffset>, ConsumeError> {
        let wanted: Vec<Partition> = partitions.iter().cloned().collect();
        let ask =
            || crate::admin::committed(&self.client, self.lane, &self.config.id, Some(&wanted));
        Ok(self.client.retry_known(ask).await?)
    }

    /// Commits what has moved since the last time. A commit that comes too late for its generation
    /// is not an error: whoever has the partitions now goes on from the one before.
    pub(crate) async fn commit(
        &mut self,
        positions: &BTreeMap<Partition, i64>,
    ) -> Result<(), ConsumeError> {
        self.committed_at = Instant::now();
        let moved = |(partition, offset): &(&Partition, &i64)| {
            self.last_committed.get(*partition) != Some(*offset)
        };
        let moved: BTreeMap<Partition, i64> = positions
            .iter()
            .filter(moved)
            .map(|(partition, offset)| (partition.clone(), *offset))
            .collect();
        if self.config.commit_interval.is_none() || moved.is_empty() || self.generation < 0 {
            return Ok(());
        }
        let request = make::<OffsetCommitRequest>(|request| {
            request.group_id = self.config.id.as_str().into();
            request.generation_id_or_member_epoch = self.generation;
            request.member_id = self.member_id.as_str().into();
            request.group_instance_id = self.config.instance_id.as_deref().map(Into::into);
            let offsets = moved.iter().map(|(partition, offset)| (partition, *offset, -1));
            request.topics = crate::admin::commit_topics(offsets);
        });
        let once = || async {
            let connection = self.client.coordinator(&self.config.id, self.lane).await?;
            let response = connection.call(&request).await?;
            for topic in &response.topics {
                for result in &topic.partitions {
                    self.check::<OffsetCommitRequest>(connection.peer(), result.error_code)?;
                }
            }
            Ok(())
        };
        match self.client.retry_known(once).await {
            Ok(()) => {
                self.last_committed.extend(moved);
                Ok(())
            }
            Err(error) => match error.code() {
                Some(
                    ErrorCode::IllegalGeneration
                    | ErrorCode::UnknownMemberId
                    | ErrorCode::RebalanceInProgress,
                ) => {
                    self.rejoin.store(true, Ordering::SeqCst);
                    Ok(())
                }
                Some(_) | None => Err(error.into()),
            },
        }
    }

    /// Tells the group not to wait for us. A static member is expected back and says nothing.
    pub(crate) async fn leave(&mut self) {
        self.stop_heartbeats();
        if self.member_id.is_empty() || self.config.instance_id.is_some() {
            return;
        }
        let request = make::<LeaveGroupRequest>(|request| {
            request.group_id = self.config.id.as_str().into();
            request.members = vec![make(|member: &mut MemberIdentity| {
                member.member_id = self.member_id.as_str().into();
            })];
        });
        if let Ok(connection) = self.client.coordinator(&self.config.id, self.lane).await {
            // The group notices without us, only later.
            let _ = connection.call(&request).await;
        }
    }

    fn start_heartbeats(&mut self) {
        let (client, group, lane) = (self.client.clone(), self.config.id.clone(), self.lane);
        let (interval, rejoin) = (self.config.heartbeat_interval, self.rejoin.clone());
        let request = make::<HeartbeatRequest>(|request| {
            request.group_id = group.as_str().into();
            request.generation_id = self.generation;
            request.member_id = self.member_id.as_str().into();
            request.group_instance_id = self.config.instance_id.as_deref().map(Into::into);
        });
        let task = tokio::spawn(async move {
            loop {
                sleep(interval).await;
                let code = async {
                    let connection = client.coordinator(&group, lane).await?;
                    Ok::<_, ApiError>(Code(connection.call(&request).await?.error_code))
                };
                match code.await {
                    Ok(code) if code == Code::NONE => {}
                    // It has moved, or restarts; the session outlives that.
                    Ok(code) if code.is_retriable() => client.forget_coordinator(&group),
                    Err(_) => client.forget_coordinator(&group),
                    Ok(_) => return rejoin.store(true, Ordering::SeqCst),
                }
            }
        });
        self.heartbeats = Some(task.abort_handle());
    }

    fn stop_heartbeats(&mut self) {
        if let Some(task) = self.heartbeats.take() {
            task.abort();
        }
    }

    fn check<R: Call>(&self, peer: &Peer, code: i16) -> Result<(), ApiError> {
        Code(code).check().map_err(|code| ApiError::Refused {
            peer: peer.clone(),
            api: R::API,
            subject: format!("group {}", self.config.id),
            code,
            message: None,
        })
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.stop_heartbeats();
    }
}

fn encode_assignment(partitions: &BTreeSet<Partition>) -> Bytes {
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for (topic, index) in partitions {
        topics.entry(topic).or_default().push(i32::try_from(*index).unwrap_or(i32::MAX));
    }
    let assignment = make::<ConsumerProtocolAssignment>(|assignment| {
        let wire = |(name, partitions): (&str, Vec<i32>)| {
            make(|wire: &mut TopicPartition| {
                wire.topic = name.into();
                wire.partitions = partitions;
            })
        };
        assignment.assigned_partitions = topics.into_iter().map(wire).collect();
    });
    let mut bytes = BytesMut::new();
    encode_consumer_protocol_assignment(&mut bytes, &assignment, ApiVersion::new(0))
        .expect("version 0 can carry any list of partitions");
    bytes.freeze()
}

fn millis(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}
