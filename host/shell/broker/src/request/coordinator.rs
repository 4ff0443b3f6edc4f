//! FindCoordinator: whom to ask about a group.
//!
//! **Decides** that it is this broker, once the topic that groups are kept in exists, which it sees
//! to. Transactions have no coordinator: the answer is COORDINATOR_NOT_AVAILABLE, which clients try
//! again until their own timeout and then report by that name; INVALID_REQUEST would be fatal to a
//! Java producer with a text that blames the request.

use brooklet_types::ErrorCode;
use brooklet_wire::message::{
    FindCoordinatorRequest, FindCoordinatorResponse, StrBytes, find_coordinator_response, make,
};

use super::group::OFFSETS_TOPIC;
use super::metadata;
use crate::context::Call;

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;

/// From here on a request names many keys.
const BATCHED_SINCE: i16 = 4;

/// Kafka's settings of `__consumer_offsets`: compacted, and in segments small enough to load.
const OFFSETS_SETTINGS: [(&str, &str); 3] = [
    ("cleanup.policy", "compact"),
    ("compression.type", "producer"),
    ("segment.bytes", "104857600"),
];

/// Answers FindCoordinator.
pub(crate) async fn handle(
    call: &Call,
    request: FindCoordinatorRequest,
) -> FindCoordinatorResponse {
    let error = match request.key_type {
        GROUP => ensure_offsets_topic(call).await,
        TRANSACTION => Err(ErrorCode::CoordinatorNotAvailable),
        _ => Err(ErrorCode::InvalidRequest),
    };
    let code = call.code(error.err().unwrap_or(ErrorCode::None));
    let message = match error {
        Err(code) => StrBytes::from(code.message()),
        // Kafka's word for "no error", as long as the answer had room for one error only.
        Ok(()) if call.version < BATCHED_SINCE => StrBytes::from(ErrorCode::None.name()),
        Ok(()) => StrBytes::default(),
    };
    let (host, port) = call.address();
    let (node, host, port) = match error {
        Ok(()) => (call.context.node.0, host, port),
        Err(_) => (-1, StrBytes::default(), -1),
    };
    if call.version < BATCHED_SINCE {
        return make(|it: &mut FindCoordinatorResponse| {
            it.error_code = code;
            it.error_message = (call.version >= 1).then_some(message);
            it.node_id = node;
            it.host = host;
            it.port = port;
        });
    }
    make(|it: &mut FindCoordinatorResponse| {
        for key in &request.coordinator_keys {
            it.coordinators.push(make(|line: &mut find_coordinator_response::Coordinator| {
                line.key = key.clone();
                line.error_code = code;
                line.error_message = Some(message.clone());
                line.node_id = node;
                line.host = host.clone();
                line.port = port;
            }));
        }
    })
}

async fn ensure_offsets_topic(call: &Call) -> Result<(), ErrorCode> {
    if call.cluster().topic(OFFSETS_TOPIC).is_none() {
        let settings =
            OFFSETS_SETTINGS.map(|(name, value)| (name.to_owned(), Some(value.to_owned()))).into();
        let partitions = i32::try_from(call.context.offsets_partitions).unwrap_or(i32::MAX);
        let topic = metadata::new_topic(OFFSETS_TOPIC.to_owned(), partitions, settings);
        metadata::create(call, vec![topic]).await;
    }
    // Two clients may have created it at once: what counts is that it is there.
    let there = call.cluster().topic(OFFSETS_TOPIC).is_some();
    if there { Ok(()) } else { Err(ErrorCode::CoordinatorNotAvailable) }
}
