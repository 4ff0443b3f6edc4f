//! What a client takes, and how long it is left alone when that was too much.
//!
//! **Where it sits.** Behind the handlers: an answer is there, and is told how long the client has to wait (KIP-219).
//! `auth` says how long; the connection reads nothing more until then.
//!
//! **What it decides.** What counts as taken: the bytes of a Produce, the records of a Fetch, partitions that come and go
//! (`request/changes.rs`), and the time that answering keeps this thread busy, without waiting for disks and shards. Who asks for versions or logs in is not made to wait.
//!
//! **Invariant.** Where the cluster has no quotas, none of it is there: no clock is read and no lock taken.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use brooklet_auth::quota::{QuotaTable, Quotas, Taker};
use brooklet_io::Clock;
use brooklet_meta::Cluster;
use brooklet_meta::cluster::EntityQuotas;
use brooklet_types::{Instant, QuotaKey};
use brooklet_wire::message::*;

use crate::context::{Call, Peer};

/// Who waits longer than this asks again in between: the wire counts milliseconds in 31 bits, and nobody should be gone
/// for a day because of one large request.
const MUTED_MAX: Duration = Duration::from_secs(3600);
/// A whole processor, in the unit of [`QuotaKey::RequestPercentage`].
const PERCENT: f64 = 100.0;

/// The quotas of a broker, and what was taken of them.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    /// Protects what was taken; held for a look-up, never over an await.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// What `quotas` was made of.
    from: Arc<EntityQuotas>,
    quotas: Quotas,
}

impl Throttle {
    /// The quotas of `cluster`; none if it has none.
    fn with<T>(&self, cluster: &Cluster, take: impl FnOnce(&mut Quotas) -> T) -> Option<T> {
        if cluster.quotas().is_empty() {
            return None;
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // The same quotas have the same place.
        if !Arc::ptr_eq(&state.from, cluster.quotas()) {
            state.from = Arc::clone(cluster.quotas());
            let limits = state.from.iter().flat_map(|(entity, limits)| {
                limits.iter().map(move |(key, limit)| (entity, *key, limit.get()))
            });
            let table: QuotaTable = limits.collect();
            state.quotas.set(table);
        }
        Some(take(&mut state.quotas))
    }

    /// Asks for a connection from `host` to be taken; the error is how long to leave it alone before it is closed.
    pub(crate) fn connect(
        &self,
        cluster: &Cluster,
        host: &str,
        now: Instant,
    ) -> Result<(), Duration> {
        self.with(cluster, |quotas| quotas.connect(host, now)).unwrap_or(Ok(()))
    }
}

impl Call {
    /// Asks the quotas, where there are some and the client is somebody whom they could be for.
    fn quotas<T>(&self, take: impl FnOnce(&mut Quotas) -> T) -> Option<T> {
        if !self.is_metered {
            return None;
        }
        self.context.throttle.with(&self.cluster(), take)
    }

    fn taker(&self) -> Taker<'_> {
        Taker {
            user: self.peer.principal().name(),
            client_id: self.client_id.as_deref().unwrap_or_default(),
        }
    }

    /// The most bytes of records that one Fetch may give: more could never be paid for.
    pub(crate) fn fetch_bytes_max(&self) -> Option<f64> {
        let most = |quotas: &mut Quotas| quotas.most(QuotaKey::ConsumerByteRate, self.taker());
        self.quotas(most)?
    }

    /// Notes what was taken. Hands back how long the client has to wait, which from now on it does.
    pub(crate) fn take(&self, key: QuotaKey, amount: f64) -> Duration {
        let now = self.context.clock.now();
        let take = |quotas: &mut Quotas| quotas.take(key, self.taker(), amount, now);
        let wait = self.quotas(take).unwrap_or_default();
        self.wait_for(key, wait)
    }

    /// Has the client wait for so long, from now on. Hands back how long that is.
    pub(crate) fn wait_for(&self, key: QuotaKey, wait: Duration) -> Duration {
        if wait.is_zero() {
            return wait;
        }
        let wait = wait.min(MUTED_MAX);
        self.context.metrics.access.throttled(key, wait);
        self.peer.muted.until(self.context.clock.now(), wait);
        wait
    }

    /// Whether a quota limits what the client changes of partitions.
    pub(crate) fn pays_for_changes(&self) -> bool {
        let most =
            |quotas: &mut Quotas| quotas.most(QuotaKey::ControllerMutationRate, self.taker());
        self.quotas(most).flatten().is_some()
    }

    /// Asks for partitions to be created or deleted, and notes it. They are unless it is `strict` and some are still owed for;
    /// either way, how long the client has to wait.
    pub(crate) fn change_partitions(
        &self,
        partitions: u32,
        strict: bool,
    ) -> Result<Duration, Duration> {
        let now = self.context.clock.now();
        let take = |quotas: &mut Quotas| match strict {
            true => {
                quotas.change_partitions(self.taker(), partitions, now).map(|()| Duration::ZERO)
            }
            false => Ok(quotas.owe_partitions(self.taker(), partitions, now)),
        };
        self.quotas(take).unwrap_or(Ok(Duration::ZERO))
    }

    /// Takes back what was noted and then not given.
    pub(crate) fn give_back(&self, key: QuotaKey, amount: f64) {
        let now = self.context.clock.now();
        self.quotas(|quotas| quotas.take(key, self.taker(), -amount, now));
    }

    /// Notes that answering has kept this thread busy for so long.
    pub(crate) fn take_time(&self, busy: Duration) -> Duration {
        self.take(QuotaKey::RequestPercentage, busy.as_secs_f64() * PERCENT)
    }
}

/// Until when nothing is read from a connection.
#[derive(Debug, Default)]
pub(crate) struct Muted {
    /// In microseconds of the broker's clock; zero for not at all.
    until: AtomicU64,
}

impl Muted {
    fn until(&self, now: Instant, wait: Duration) {
        let wait = u64::try_from(wait.as_micros()).unwrap_or(u64::MAX);
        self.until.fetch_max(now.as_micros().saturating_add(wait), Ordering::AcqRel);
    }

    fn left(&self, clock: &Clock) -> Option<Duration> {
        let until = self.until.load(Ordering::Acquire);
        // A connection that never had to wait reads no clock.
        let left = until.checked_sub(if until == 0 { 0 } else { clock.now().as_micros() })?;
        (left > 0).then(|| Duration::from_micros(left))
    }
}

impl Peer {
    /// Returns when the client may be read from again.
    pub(crate) async fn unmuted(&self, clock: &Clock) {
        while let Some(left) = self.muted.left(clock) {
            tokio::time::sleep(left).await;
        }
    }
}

/// A response that tells its client how long to wait.
pub(crate) trait Throttled {
    /// Where it says so.
    fn throttle_time_ms(&mut self) -> Option<&mut i32>;

    /// Says so.
    fn tell(&mut self, wait: Duration) {
        if let Some(field) = self.throttle_time_ms() {
            let wait = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
            *field = (*field).max(wait);
        }
    }
}

macro_rules! throttled {
    ($($response:ident),+ $(,)?) => {
        $(impl Throttled for $response {
            fn throttle_time_ms(&mut self) -> Option<&mut i32> {
                Some(&mut self.throttle_time_ms)
            }
        })+
    };
}

throttled!(
    AddRaftVoterResponse,
    AlterClientQuotasResponse,
    AlterConfigsResponse,
    AlterPartitionReassignmentsResponse,
    AlterReplicaLogDirsResponse,
    AlterUserScramCredentialsResponse,
    CreateAclsResponse,
    CreatePartitionsResponse,
    CreateTopicsResponse,
    DeleteAclsResponse,
    DeleteGroupsResponse,
    DeleteRecordsResponse,
    DeleteTopicsResponse,
    DescribeAclsResponse,
    DescribeClientQuotasResponse,
    DescribeClusterResponse,
    DescribeConfigsResponse,
    DescribeGroupsResponse,
    DescribeLogDirsResponse,
    DescribeProducersResponse,
    DescribeTopicPartitionsResponse,
    DescribeUserScramCredentialsResponse,
    ElectLeadersResponse,
    FetchResponse,
    FindCoordinatorResponse,
    HeartbeatResponse,
    IncrementalAlterConfigsResponse,
    InitProducerIdResponse,
    JoinGroupResponse,
    LeaveGroupResponse,
    ListGroupsResponse,
    ListOffsetsResponse,
    ListPartitionReassignmentsResponse,
    MetadataResponse,
    OffsetCommitResponse,
    OffsetDeleteResponse,
    OffsetFetchResponse,
    OffsetForLeaderEpochResponse,
    ProduceResponse,
    RemoveRaftVoterResponse,
    SyncGroupResponse,
    UnregisterBrokerResponse,
    UpdateFeaturesResponse,
);

/// They have no place to say it.
macro_rules! not_throttled {
    ($($response:ident),+ $(,)?) => {
        $(impl Throttled for $response {
            fn throttle_time_ms(&mut self) -> Option<&mut i32> {
                None
            }
        })+
    };
}

not_throttled!(DescribeQuorumResponse, SaslAuthenticateResponse, SaslHandshakeResponse);

/// A future, with how long polling it has kept its thread busy.
pub(crate) struct Busy<'a, F> {
    /// None where nobody wants to know.
    clock: Option<&'a Clock>,
    spent: Duration,
    future: F,
}

impl<'a, F> Busy<'a, F> {
    /// Measures `future` if somebody's time is limited.
    pub(crate) fn of(call: &'a Call, future: F) -> Busy<'a, F> {
        let clock = call.is_metered.then_some(&call.context.clock);
        Busy { clock, spent: Duration::ZERO, future }
    }
}

impl<F: Future + Unpin> Future for Busy<'_, F> {
    type Output = (F::Output, Duration);

    fn poll(self: Pin<&mut Self>, context: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let future = Pin::new(&mut this.future);
        let Some(clock) = this.clock else {
            return future.poll(context).map(|output| (output, Duration::ZERO));
        };
        let began = clock.now();
        let polled = future.poll(context);
        this.spent += clock.now().since(began);
        polled.map(|output| (output, this.spent))
    }
}
