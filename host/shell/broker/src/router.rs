//! From a frame to the handler of its request, and from its response to a frame.
//!
//! **Decides** which requests are answered at all: an API or version that is not served closes the
//! connection, as in Kafka, and so does a body that cannot be read. **Never** looks into a request.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use brooklet_types::QuotaKey;
use brooklet_wire::WireError;
use brooklet_wire::frame::{self, RequestHeader};
use brooklet_wire::message::{FetchRequest, KafkaResponse, decode_request, encode_response};
use brooklet_wire::version::{Api, Audience};
use bytes::Bytes;
use tracing::Instrument;

use crate::connection::{Answer, CloseConnection, Dispatch, Dispatched, Started};
use crate::context::{Call, Context, Peer};
use crate::gate::{Admitted, Gate, STRANGER_FRAME_BYTES_MAX};
use crate::peers::forward;
use crate::request::*;
use crate::spans;
use crate::throttle::{Busy, Throttled};
use crate::translate::peer::fetch::is_followers;

/// Answers the requests of one connection.
#[derive(Debug)]
pub(crate) struct Router {
    pub(crate) context: Arc<Context>,
    pub(crate) peer: Arc<Peer>,
    /// Where the client says who it is; none where it is not asked, or has shown a certificate.
    pub(crate) gate: Option<Gate>,
}

impl Router {
    /// Whether the client is one for whom things are done.
    pub(crate) fn is_known(&self) -> bool {
        self.gate.as_ref().is_none_or(Gate::is_known)
    }
}

impl Dispatch for Router {
    async fn dispatch(
        &self,
        mut frame: Bytes,
        started: Started,
    ) -> Result<Dispatched, CloseConnection> {
        let bytes = frame.len();
        let close = |error: WireError| CloseConnection { reason: error.to_string() };
        let whole = frame.clone();
        let header = match &self.gate {
            None => frame::parse_header(&mut frame).map_err(close)?,
            Some(gate) => match gate.admit(&self.context, &self.peer, frame).await? {
                Admitted::Request(header, body) => {
                    frame = body;
                    header
                }
                Admitted::Answered(dispatched) => {
                    self.context.metrics.received(bytes);
                    return Ok(dispatched);
                }
            },
        };
        // What only brokers may ask does not exist for clients.
        let who = match self.peer.broker {
            Some(_) => Audience::Brokers,
            None => Audience::Everybody,
        };
        let served = |api: &Api| api.is_served_to(who);
        let Some(api) = Api::from_wire(header.api).filter(served) else {
            return Err(CloseConnection { reason: format!("api {} is not served", header.api) });
        };
        if !api.serves(header.version) && api != Api::ApiVersions {
            let reason = format!("{} v{} is not served", api.name(), header.version);
            return Err(CloseConnection { reason });
        }
        self.context.metrics.received(bytes);
        let call = Call {
            context: Arc::clone(&self.context),
            peer: Arc::clone(&self.peer),
            api,
            version: header.version,
            client_id: header.client_id.clone(),
            is_metered: self.context.shards.has_quotas() && !self.peer.is_own(),
        };
        let span = spans::request(api.name(), header.version, header.correlation);
        if api == Api::Produce && started == Started::Now {
            let began = self.context.clock.now();
            let request = decode_request(frame, header.version).map_err(close)?;
            let begin = produce::begin(&call, request).instrument(span.clone());
            let (begun, busy) = Busy::of(&call, pin!(begin)).await;
            let taken = Taken { bytes, busy };
            let pending = async move {
                let answer = finish_produce(&call, header.correlation, begun, taken).await;
                call.context.metrics.answered(api, call.context.clock.now().since(began));
                answer
            };
            return Ok(Dispatched { pending: Box::pin(pending.instrument(span)), in_line: true });
        }
        let pending = async move {
            let began = call.context.clock.now();
            let answer = match forward::to_controller(&call, whole).await {
                Some(answer) => answer,
                None => answer(&call, &header, bytes, frame).await.unwrap_or_else(|error| {
                    tracing::debug!(%error, "request refused");
                    Answer::Close
                }),
            };
            call.context.metrics.answered(api, call.context.clock.now().since(began));
            answer
        };
        Ok(Dispatched { pending: Box::pin(pending.instrument(span)), in_line: false })
    }

    fn frame_bytes_max(&self) -> usize {
        if self.is_known() { usize::MAX } else { STRANGER_FRAME_BYTES_MAX }
    }

    async fn overdue(&self) {
        match &self.gate {
            None => std::future::pending().await,
            Some(gate) => gate.overdue().await,
        }
    }

    async fn unmuted(&self) {
        self.peer.unmuted(&self.context.clock).await;
    }
}

/// The ordinary case: one request, one response.
macro_rules! plain_answer {
    ($call:ident, $correlation:ident, $body:ident, $handle:path) => {{
        let request = decode_request($body, $call.version)?;
        let (mut response, busy) = Busy::of($call, pin!($handle($call, request))).await;
        response.tell($call.take_time(busy));
        reply($correlation, $call.version, &response)
    }};
}

/// The same for what may be a request that Kafka cannot read: it closes the connection.
macro_rules! readable_answer {
    ($call:ident, $correlation:ident, $body:ident, $handle:path) => {{
        let request = decode_request($body, $call.version)?;
        let (response, busy) = Busy::of($call, pin!($handle($call, request))).await;
        let Some(mut response) = response else { return Ok(Answer::Close) };
        response.tell($call.take_time(busy));
        reply($correlation, $call.version, &response)
    }};
}

/// Decodes, handles, encodes. One line per API, in the order of their keys.
pub(crate) async fn answer(
    call: &Call,
    header: &RequestHeader,
    bytes: usize,
    body: Bytes,
) -> Result<Answer, WireError> {
    let correlation = header.correlation;
    macro_rules! plain {
        ($handle:path) => {
            plain_answer!(call, correlation, body, $handle)
        };
    }
    macro_rules! readable {
        ($handle:path) => {
            readable_answer!(call, correlation, body, $handle)
        };
    }
    match call.api {
        Api::Produce => produce_in_turn(call, correlation, bytes, body).await,
        Api::Fetch => fetch_records(call, correlation, body).await,
        Api::ListOffsets => plain!(list_offsets::handle),
        Api::Metadata => plain!(metadata::handle),
        Api::OffsetCommit => plain!(offsets::commit),
        Api::OffsetFetch => plain!(offsets::fetch),
        Api::FindCoordinator => plain!(coordinator::handle),
        Api::JoinGroup => plain!(group::join),
        Api::Heartbeat => plain!(group::heartbeat),
        Api::LeaveGroup => plain!(group::leave),
        Api::SyncGroup => plain!(group::sync),
        Api::DescribeGroups => plain!(group::describe),
        Api::ListGroups => plain!(group::list),
        Api::SaslHandshake => plain!(users::no_handshake),
        Api::ApiVersions => api_versions::answer(call, correlation, body).map(Answer::Reply),
        Api::CreateTopics => plain!(topics::create),
        Api::DeleteTopics => plain!(topics::delete),
        Api::DeleteRecords => plain!(records::delete),
        Api::InitProducerId => plain!(producers::init),
        Api::OffsetForLeaderEpoch => plain!(epochs::handle),
        Api::DescribeAcls => readable!(acls::describe),
        Api::CreateAcls => readable!(acls::create),
        Api::DeleteAcls => readable!(acls::delete),
        Api::DescribeConfigs => plain!(configs::describe),
        Api::AlterConfigs => plain!(configs::replace),
        Api::AlterReplicaLogDirs => plain!(log_dirs::alter),
        Api::DescribeLogDirs => plain!(log_dirs::describe),
        Api::SaslAuthenticate => plain!(users::no_authentication),
        Api::CreatePartitions => plain!(topics::create_partitions),
        Api::DeleteGroups => plain!(group::delete),
        Api::ElectLeaders => plain!(elections::elect),
        Api::IncrementalAlterConfigs => plain!(configs::alter),
        Api::AlterPartitionReassignments => plain!(reassignments::alter),
        Api::ListPartitionReassignments => plain!(reassignments::list),
        Api::OffsetDelete => plain!(offsets::delete),
        Api::DescribeClientQuotas => plain!(quotas::describe),
        Api::AlterClientQuotas => plain!(quotas::alter),
        Api::DescribeUserScramCredentials => plain!(users::describe),
        Api::AlterUserScramCredentials => plain!(users::alter),
        Api::DescribeQuorum => plain!(quorum::describe),
        Api::UpdateFeatures => plain!(features::update),
        Api::DescribeCluster => plain!(cluster::describe),
        Api::DescribeProducers => plain!(producers::describe),
        Api::UnregisterBroker => plain!(members::unregister_broker),
        Api::AlterPartition
        | Api::Envelope
        | Api::BrokerRegistration
        | Api::BrokerHeartbeat
        | Api::AllocateProducerIds
        | Api::QuorumMessage
        | Api::JoinQuorum => between_brokers(call, correlation, body).await,
        Api::DescribeTopicPartitions => plain!(topics::describe_partitions),
        Api::AddRaftVoter => plain!(members::add_voter),
        Api::RemoveRaftVoter => plain!(members::remove_voter),
    }
}

/// A Produce that was not begun when it came.
async fn produce_in_turn(
    call: &Call,
    correlation: i32,
    bytes: usize,
    body: Bytes,
) -> Result<Answer, WireError> {
    let beginning = pin!(produce::begin(call, decode_request(body, call.version)?));
    let (begun, busy) = Busy::of(call, beginning).await;
    Ok(finish_produce(call, correlation, begun, Taken { bytes, busy }).await)
}

async fn fetch_records(call: &Call, correlation: i32, body: Bytes) -> Result<Answer, WireError> {
    let request: FetchRequest = decode_request(body, call.version)?;
    let answered = match call.peer.broker {
        Some(from) if is_followers(&request) => {
            replicate::answer(call, from, correlation, &request).await
        }
        Some(_) | None => fetch::answer(call, correlation, request).await,
    };
    answered.map(Answer::Reply)
}

/// What brokers ask each other, on connections that are theirs.
#[expect(clippy::wildcard_enum_match_arm, reason = "the caller sends only these here")]
async fn between_brokers(call: &Call, correlation: i32, body: Bytes) -> Result<Answer, WireError> {
    let Some(from) = call.peer.broker else { return Ok(Answer::Close) };
    let version = call.version;
    macro_rules! answered {
        ($request:ident => $answer:expr) => {{
            let $request = decode_request(body, version)?;
            reply(correlation, version, &$answer.await)
        }};
    }
    let context = &call.context;
    match call.api {
        Api::AlterPartition => {
            answered!(request => brokers::alter(&context.shards, from, &request))
        }
        Api::Envelope => answered!(request => envelope::handle(call, request)),
        Api::BrokerRegistration => {
            answered!(request => brokers::register(context, from, &request))
        }
        Api::BrokerHeartbeat => answered!(request => brokers::heartbeat(context, from, &request)),
        Api::AllocateProducerIds => answered!(request => brokers::allocate(context, from, request)),
        Api::QuorumMessage => answered!(request => brokers::message(context, from, request)),
        Api::JoinQuorum => answered!(request => brokers::join(context, from, &request)),
        _ => Ok(Answer::Close),
    }
}

/// What a Produce has taken before it waits for its logs.
struct Taken {
    bytes: usize,
    busy: Duration,
}

async fn finish_produce(
    call: &Call,
    correlation: i32,
    begun: produce::Begun,
    taken: Taken,
) -> Answer {
    let (finished, busy) = Busy::of(call, pin!(begun.finish(call))).await;
    let wait = match call.is_metered {
        // An amount in floating point: far below what it counts exactly.
        true => {
            let bytes = call.take(QuotaKey::ProducerByteRate, taken.bytes as f64);
            bytes.max(call.take_time(taken.busy + busy))
        }
        false => Duration::ZERO,
    };
    match finished {
        produce::Finished::Reply(mut response) => {
            response.tell(wait);
            reply(correlation, call.version, &response).unwrap_or(Answer::Close)
        }
        produce::Finished::Silence => Answer::Silence,
        produce::Finished::Close => Answer::Close,
    }
}

fn reply<R: KafkaResponse>(
    correlation: i32,
    version: i16,
    response: &R,
) -> Result<Answer, WireError> {
    let frame = encode_response(correlation, version, response);
    // A response that this version cannot carry is our own mistake: say so where we are read.
    let frame = frame.inspect_err(|error| tracing::error!(%error, "response"))?;
    Ok(Answer::Reply(vec![frame]))
}
