//! Fetch: records on their way to a consumer.
//!
//! **Decides** which partitions a fetch is about (with its session's help) and how what was found is
//! told; runs the read plans off the shard, and off the async threads where they need the disk. The
//! second of the record path's two call sites for plugins is here. **Never** copies a record.
//!
//! There are no transactions yet, so the last stable offset is the high watermark and nothing was
//! ever aborted, whatever isolation is asked for.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use brooklet_hook::{FetchHook, Place, Shown};
use brooklet_io::DataFolder;
use brooklet_log::plan::{ReadError, ReadPlan};
use brooklet_meta::{Cluster, Topic};
use brooklet_shard::input::{Fetch, FetchPartition, Slot};
use brooklet_shard::output::Fetched;
use brooklet_types::{
    ByteSize, ErrorCode, LeaderEpoch, Offset, Operation, PartitionIndex, QuotaKey, limits,
};
use brooklet_wire::batch::split;
use brooklet_wire::message::{FetchRequest, FetchResponse, Uuid, fetch_response, make};
use brooklet_wire::{WireError, fetch as wire_fetch};
use bytes::Bytes;

use super::nearest::Nearest;
use super::session::{Asked, Begun, Found, Key, StrBytesKey, TopicKey, Wanted};
use super::{dead, hints, place};
use crate::access::May;
use crate::context::Call;
use crate::throttle::{Busy, Throttled};

/// From here on a consumer knows that it may read from a follower (KIP-392).
const FOLLOWERS_SINCE: i16 = 11;
/// From here on topics are named by id.
const IDS_SINCE: i16 = 13;

/// What is copied and checked at once before other connections of this thread have their turn: half
/// a millisecond's work.
const AT_ONCE_BYTES_MAX: usize = 1 << 20;

const READ_UNCOMMITTED: i8 = 0;
const READ_COMMITTED: i8 = 1;

type File = <DataFolder as brooklet_log::Disk>::File;

/// One partition's result before it is told.
struct Outcome {
    key: Key,
    data: fetch_response::PartitionData,
    records: Vec<Bytes>,
    topic: Option<Arc<Topic>>,
}

/// The whole answer, as the pieces of a frame.
pub(crate) async fn answer(
    call: &Call,
    correlation: i32,
    request: FetchRequest,
) -> Result<Vec<Bytes>, WireError> {
    let refuse = |code: ErrorCode| {
        let code = call.code(code);
        let response = make(|it: &mut FetchResponse| it.error_code = code);
        wire_fetch::encode(correlation, call.version, &response, Vec::new())
    };
    if !matches!(request.isolation_level, READ_UNCOMMITTED | READ_COMMITTED) {
        return refuse(ErrorCode::InvalidRequest);
    }
    let now = call.context.clock.now();
    let random = i32::from_be_bytes(first_four(brooklet_io::entropy::bytes()));
    let begun = {
        let mut sessions = call.context.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.begin(now, asked(&request, call.version), random)
    };
    let begun = match begun {
        Ok(begun) => begun,
        Err(code) => return refuse(code),
    };
    let (outcomes, busy) = Busy::of(call, pin!(read(call, &request, &begun))).await;
    let Some(outcomes) = outcomes else { return refuse(ErrorCode::NotLeaderOrFollower) };
    let wait = pay(call, &outcomes, busy);
    if !wait.is_zero() {
        // Nothing is given to whoever has to wait for it, and its session does not hear of this: it asks again.
        let session = {
            let mut sessions = call.context.sessions.lock().unwrap_or_else(PoisonError::into_inner);
            sessions.put_off(&begun)
        };
        let mut response = make(|it: &mut FetchResponse| it.session_id = session);
        response.tell(wait);
        return wire_fetch::encode(correlation, call.version, &response, Vec::new());
    }
    let found: Vec<Found> = outcomes.iter().map(Outcome::found).collect();
    let tell = {
        let mut sessions = call.context.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.finish(&begun, &found)
    };
    let told = outcomes.into_iter().zip(tell).filter_map(|(it, tell)| tell.then_some(it));
    let (mut response, records) = respond(call, begun.session, told);
    hints::fetch(call, &mut response);
    wire_fetch::encode(correlation, call.version, &response, records)
}

/// Notes what a Fetch is about to give; how long the client has to wait, who then gets nothing and pays nothing for it.
fn pay(call: &Call, outcomes: &[Outcome], busy: Duration) -> Duration {
    if !call.is_metered {
        return Duration::ZERO;
    }
    let bytes: usize = outcomes.iter().flat_map(|it| &it.records).map(Bytes::len).sum();
    // An amount in floating point: far below what it counts exactly.
    let bytes = bytes as f64;
    let wait = call.take(QuotaKey::ConsumerByteRate, bytes).max(call.take_time(busy));
    if !wait.is_zero() {
        call.give_back(QuotaKey::ConsumerByteRate, bytes);
    }
    wait
}

fn first_four(bytes: [u8; 16]) -> [u8; 4] {
    let [a, b, c, d, ..] = bytes;
    [a, b, c, d]
}

fn asked(request: &FetchRequest, version: i16) -> Asked {
    let by_id = version >= IDS_SINCE;
    let topic_key = |name: &brooklet_wire::message::StrBytes, id: Uuid| {
        if by_id { TopicKey::Id(id.to_bytes()) } else { TopicKey::Name(StrBytesKey(name.clone())) }
    };
    let wanted = request.topics.iter().flat_map(|topic| {
        let key = topic_key(&topic.topic, topic.topic_id);
        topic.partitions.iter().map(move |partition| Wanted {
            key: Key { topic: key.clone(), partition: partition.partition },
            offset: partition.fetch_offset,
            max_bytes: partition.partition_max_bytes,
            current_leader_epoch: partition.current_leader_epoch,
            last_fetched_epoch: partition.last_fetched_epoch,
        })
    });
    let forgotten = request.forgotten_topics_data.iter().flat_map(|topic| {
        let key = topic_key(&topic.topic, topic.topic_id);
        topic.partitions.iter().map(move |&partition| Key { topic: key.clone(), partition })
    });
    // Versions before 7 know no sessions: their fields decode to what means "none".
    let (session, epoch) =
        if version >= 7 { (request.session_id, request.session_epoch) } else { (0, -1) };
    Asked {
        session,
        epoch,
        names_by_id: by_id,
        wanted: each_once(wanted),
        forgotten: forgotten.collect(),
    }
}

/// A partition named twice is fetched once, in its first place and as it was named last.
fn each_once(wanted: impl Iterator<Item = Wanted>) -> Vec<Wanted> {
    let mut places: BTreeMap<Key, usize> = BTreeMap::new();
    let mut once: Vec<Wanted> = Vec::new();
    for wanted in wanted {
        let place = *places.entry(wanted.key.clone()).or_insert(once.len());
        match once.get_mut(place) {
            Some(known) => *known = wanted,
            None => once.push(wanted),
        }
    }
    once
}

/// Reads every partition; none when the broker is stopping.
async fn read(call: &Call, request: &FetchRequest, begun: &Begun) -> Option<Vec<Outcome>> {
    let cluster = call.cluster();
    let mut outcomes = Vec::with_capacity(begun.partitions.len());
    let mut partitions = Vec::with_capacity(begun.partitions.len());
    let mut failed = false;
    // Only brokers fetch with a number, and no other broker keeps a copy of anything.
    let is_follower = request.replica_id >= 0 || request.replica_state.replica_id >= 0;
    let may = call.may(&cluster);
    let follows = is_follower.then(|| may.need_cluster(Operation::ClusterAction).is_ok());
    let nearest = Nearest::of(call, &cluster, request);
    let mut last = None;
    for (index, wanted) in begun.partitions.iter().enumerate() {
        let slot = Slot::try_from(index).expect("sessions and requests are limited");
        // Partitions of a topic mostly stand together: it is looked up once.
        let key = &wanted.key.topic;
        let topic = match last {
            Some((known, topic)) if known == key => topic,
            Some(_) | None => topic(&may, follows, &cluster, key),
        };
        last = Some((key, topic));
        let (mut outcome, mut partition) = prepare(call, topic, slot, wanted, nearest);
        if is_follower && partition.take().is_some() {
            outcome.data.error_code = call.code(ErrorCode::NotLeaderOrFollower);
        }
        failed |= partition.is_none();
        partitions.extend(partition);
        outcomes.push(outcome);
    }
    let max = u32::try_from(request.max_bytes).unwrap_or(0).min(limits::FETCH_BYTES_MAX);
    // More than a quota allows within all that it looks back at could never be paid for. A cast that cuts off.
    let max = call.fetch_bytes_max().map_or(max, |most| max.min(most as u32));
    // What is refused already is told at once. A stop ends every wait.
    let wait = if failed { 0 } else { u64::try_from(request.max_wait_ms).unwrap_or(0) };
    let fetch = Fetch {
        partitions,
        min: ByteSize(u64::try_from(request.min_bytes).unwrap_or(0).min(u64::from(max))),
        max: ByteSize(u64::from(max)),
        wait_max: Duration::from_millis(wait),
        of_followers: call.version >= FOLLOWERS_SINCE,
    };
    if fetch.partitions.is_empty() {
        return Some(outcomes);
    }
    let fetched = tokio::select! {
        // Dropping the fetch takes it back from its shard.
        () = call.context.shutdown.cancelled() => return Some(outcomes),
        fetched = call.context.shards.fetch(fetch) => fetched.ok()?,
    };
    let plans = fetched.into_iter().filter_map(|(slot, fetched)| {
        let committed = request.isolation_level == READ_COMMITTED;
        let plan = note(call, &mut outcomes[slot as usize], fetched, committed);
        plan.map(|plan| (slot, plan))
    });
    let plans = plans.collect();
    // What plugins make of records may be more than the records were.
    let mut left = limits::FETCH_BYTES_MAX as usize;
    for (slot, result) in run(call, plans).await {
        let outcome = &mut outcomes[slot as usize];
        match result {
            Ok(records) => {
                if let Some(plugins) = found(call, outcome, records) {
                    // Boxed: every connection has room for this future, and hardly any needs it.
                    Box::pin(show(call, &cluster, outcome, plugins, left)).await;
                    left = left.saturating_sub(outcome.records.iter().map(Bytes::len).sum());
                }
            }
            Err(error) => {
                tracing::warn!(%error, "read for a fetch");
                outcome.data.error_code = call.code(error.code());
            }
        }
    }
    Some(outcomes)
}

/// The topic that a key names, if the client may read it. Who says that it is a broker has to be one, and may
/// then read all.
fn topic<'a>(
    may: &May<'_>,
    follows: Option<bool>,
    cluster: &'a Cluster,
    key: &TopicKey,
) -> Result<&'a Arc<Topic>, ErrorCode> {
    let (named, by_id) = match key {
        TopicKey::Name(name) => ((name.0.as_str(), Uuid::default()), false),
        TopicKey::Id(id) => (("", Uuid::from_bytes(*id)), true),
    };
    match follows {
        None => place::permitted(may, Operation::Read, cluster, named, by_id),
        Some(true) => place::topic(cluster, named.0, named.1, by_id),
        Some(false) => Err(ErrorCode::TopicAuthorizationFailed),
    }
}

/// Finds the partition, or the reason why there is none.
fn prepare(
    call: &Call,
    topic: Result<&Arc<Topic>, ErrorCode>,
    slot: Slot,
    wanted: &Wanted,
    nearest: Option<Nearest<'_>>,
) -> (Outcome, Option<FetchPartition>) {
    let mut outcome = Outcome {
        key: wanted.key.clone(),
        data: blank(wanted.key.partition),
        records: Vec::new(),
        topic: topic.ok().cloned(),
    };
    match topic.and_then(|topic| locate(topic, slot, wanted, nearest)) {
        Ok(partition) => (outcome, Some(partition)),
        Err(code) => {
            outcome.data.error_code = call.code(code);
            if code != ErrorCode::OffsetOutOfRange {
                // Kafka's word for "nothing" depends on how far the request came: a list where
                // there is no such partition, none where its log had something against it.
                outcome.data.aborted_transactions = Some(Vec::new());
            }
            (outcome, None)
        }
    }
}

fn locate(
    topic: &Topic,
    slot: Slot,
    wanted: &Wanted,
    nearest: Option<Nearest<'_>>,
) -> Result<FetchPartition, ErrorCode> {
    let partition = place::partition(topic, wanted.key.partition)?;
    Ok(FetchPartition {
        slot,
        partition,
        offset: Offset::from_wire(wanted.offset).ok_or(ErrorCode::OffsetOutOfRange)?,
        max: ByteSize(u64::try_from(wanted.max_bytes).unwrap_or(0)),
        current_epoch: LeaderEpoch::from_wire(wanted.current_leader_epoch),
        last_fetched_epoch: LeaderEpoch::from_wire(wanted.last_fetched_epoch),
        nearer: nearest.and_then(|nearest| nearest.to(topic, partition)),
    })
}

/// Writes down what a shard found, and hands back what is to be read.
fn note(
    call: &Call,
    outcome: &mut Outcome,
    fetched: Fetched<DataFolder>,
    committed: bool,
) -> Option<ReadPlan<File>> {
    let wire = |offset: Option<Offset>| offset.map_or(-1, Offset::to_wire);
    if let Some(code) = fetched.error {
        outcome.data.error_code = call.code(code);
        return None;
    }
    if committed {
        // A list, if an empty one, says that transactions were looked at.
        outcome.data.aborted_transactions = Some(Vec::new());
    }
    outcome.data.high_watermark = wire(fetched.high_watermark);
    outcome.data.last_stable_offset = wire(fetched.high_watermark);
    outcome.data.log_start_offset = wire(fetched.log_start);
    if let Some(diverging) = fetched.diverging {
        outcome.data.diverging_epoch.epoch = diverging.epoch.map_or(-1, LeaderEpoch::to_wire);
        outcome.data.diverging_epoch.end_offset = wire(diverging.end);
    }
    if let Some(nearer) = fetched.nearer {
        outcome.data.preferred_read_replica = nearer.0;
    }
    fetched.plan
}

type Read = (Slot, Result<Vec<Bytes>, ReadError>);

/// Runs the plans: in place what is in memory, the rest together on one thread that may block.
pub(super) async fn run(call: &Call, plans: Vec<(Slot, ReadPlan<File>)>) -> Vec<Read> {
    let kept = &call.peer.buffers;
    let mut buffers = std::mem::take(&mut *kept.lock().unwrap_or_else(PoisonError::into_inner));
    let mut reads = Vec::with_capacity(plans.len());
    let mut waiting = Vec::new();
    let mut any_read = false;
    let mut bytes = 0;
    for (slot, plan) in plans {
        any_read |= !plan.is_cached();
        let Some(result) = plan.run_ready(&mut buffers).transpose() else {
            waiting.push((slot, plan));
            continue;
        };
        bytes += result.iter().flatten().map(Bytes::len).sum::<usize>();
        reads.push((slot, result));
        if bytes >= AT_ONCE_BYTES_MAX {
            bytes = 0;
            tokio::task::yield_now().await;
        }
    }
    if !waiting.is_empty() {
        let reading = tokio::task::spawn_blocking(move || {
            let run = |(slot, plan): (Slot, ReadPlan<File>)| (slot, plan.run(&mut buffers));
            let reads: Vec<Read> = waiting.into_iter().map(run).collect();
            (reads, buffers)
        });
        let read = reading.await;
        let (more, given_back) =
            read.expect("reading a log does not panic, and the runtime outlives its requests");
        reads.extend(more);
        buffers = given_back;
    }
    // A reader at the head of its logs needs none, and may be one of ten thousand.
    if any_read {
        *kept.lock().unwrap_or_else(PoisonError::into_inner) = buffers;
    }
    reads
}

/// Takes what was read; hands back the plugins that are to see it, if a view was asked for.
fn found(call: &Call, outcome: &mut Outcome, records: Vec<Bytes>) -> Option<Arc<dyn FetchHook>> {
    outcome.records = records;
    let topic = outcome.topic.as_ref()?;
    call.context.metrics.fetched(&topic.name, outcome.records.iter().map(Bytes::len).sum());
    if outcome.records.is_empty() || topic.view_of.is_none() {
        return None;
    }
    let plugins = call.context.hooks.on_fetch(&topic.name)?;
    outcome.records = whole(std::mem::take(&mut outcome.records));
    Some(plugins)
}

/// What was read lies in pieces as it was found, and a large batch in two. Plugins see whole ones.
fn whole(pieces: Vec<Bytes>) -> Vec<Bytes> {
    let is_whole = |piece: &Bytes| split(piece).all(|batch| batch.is_ok());
    if pieces.iter().all(is_whole) { pieces } else { vec![pieces.concat().into()] }
}

/// Shows records to the plugins of a view, as many as go into `left` bytes.
async fn show(
    call: &Call,
    cluster: &Cluster,
    outcome: &mut Outcome,
    hook: Arc<dyn FetchHook>,
    left: usize,
) {
    if left == 0 {
        // Other partitions have filled the answer; this one is asked for again.
        outcome.records = Vec::new();
        return;
    }
    let Some(topic) = &outcome.topic else { return };
    let partition = PartitionIndex::from_wire(outcome.data.partition_index).unwrap_or_default();
    let partitions = u32::try_from(topic.partitions.len()).expect("partitions are limited");
    let place = Place { topic: &topic.name, partition, partitions, is_placed: false };
    match hook.show(place, &outcome.records, left).await {
        Shown::Pass => return,
        Shown::Replace(batches, letters) => {
            match dead::store(call, cluster, place, letters.clone()).await {
                Ok(()) => {
                    hook.buried(place, &letters);
                    outcome.records = batches;
                    return;
                }
                Err(reason) => {
                    tracing::warn!(view = %topic.name, partition = partition.0, reason, "view not shown")
                }
            }
        }
        // Whoever refuses has said so where it is counted how often: a consumer asks again at once.
        Shown::Refuse(reason) => {
            tracing::debug!(view = %topic.name, partition = partition.0, reason, "view not shown")
        }
    }
    // Retriable for every client: a consumer goes on where it was once the plugin does.
    outcome.records = Vec::new();
    outcome.data.error_code = call.code(ErrorCode::UnknownServerError);
}

impl Outcome {
    fn found(&self) -> Found {
        Found {
            key: self.key.clone(),
            error: self.data.error_code != 0,
            high_watermark: self.data.high_watermark,
            log_start: self.data.log_start_offset,
            has_news: !self.records.is_empty()
                || self.data.diverging_epoch.end_offset >= 0
                || self.data.preferred_read_replica >= 0,
        }
    }
}

/// Groups what is told by topic. Partitions of one topic need not stand together in the order of
/// service, and a response may name a topic twice no more than a request may.
fn respond(
    call: &Call,
    session: i32,
    told: impl Iterator<Item = Outcome>,
) -> (FetchResponse, Vec<Vec<Bytes>>) {
    let mut topics: Vec<(fetch_response::FetchableTopicResponse, Vec<Vec<Bytes>>)> = Vec::new();
    let mut places: BTreeMap<TopicKey, usize> = BTreeMap::new();
    for mut outcome in told {
        let place = *places.entry(outcome.key.topic.clone()).or_insert_with(|| {
            let topic =
                make(|it: &mut fetch_response::FetchableTopicResponse| match &outcome.key.topic {
                    TopicKey::Name(name) => it.topic = name.0.clone(),
                    TopicKey::Id(id) => it.topic_id = Uuid::from_bytes(*id),
                });
            topics.push((topic, Vec::new()));
            topics.len() - 1
        });
        outcome.data.records = Some(Bytes::new());
        topics[place].0.partitions.push(outcome.data);
        topics[place].1.push(outcome.records);
    }
    let mut pieces = Vec::new();
    let mut response = FetchResponse::default();
    // A session needs version 7; those before do not carry the field.
    response.session_id = if call.version >= 7 { session } else { 0 };
    for (topic, records) in topics {
        response.responses.push(topic);
        pieces.extend(records);
    }
    (response, pieces)
}

fn blank(index: i32) -> fetch_response::PartitionData {
    make(|it: &mut fetch_response::PartitionData| {
        it.partition_index = index;
        it.high_watermark = -1;
        it.last_stable_offset = -1;
        it.log_start_offset = -1;
        it.preferred_read_replica = -1;
        it.aborted_transactions = None;
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_sent_elsewhere_hears_of_it_in_a_session_too() {
        let key = Key { topic: TopicKey::Id([7; 16]), partition: 0 };
        let mut outcome = Outcome { key, data: blank(0), records: Vec::new(), topic: None };
        assert!(!outcome.found().has_news);
        outcome.data.preferred_read_replica = 2;
        assert!(outcome.found().has_news);
    }
}
