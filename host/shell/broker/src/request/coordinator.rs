//! FindCoordinator: whom to ask about a group.
//!
//! **Decides** that it is this broker, once the topic that groups are kept in exists, which it sees
//! to. Transactions have no coordinator: the answer is COORDINATOR_NOT_AVAILABLE, which clients try
//! again until their own timeout and then report by that name; INVALID_REQUEST would be fatal to a
//! Java producer with a text that blames the request.

use brooklet_types::{ErrorCode, Operation, ResourceType};
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
    let may = call.may(&call.cluster());
    let permitted = |key: &StrBytes| match request.key_type {
        GROUP => may.need_group(Operation::Describe, key),
        TRANSACTION => may.need(Operation::Describe, ResourceType::TransactionalId, key),
        _ => Ok(()),
    };
    if call.version < BATCHED_SINCE {
        let found = match permitted(&request.key) {
            Ok(()) => find(call, request.key_type).await,
            Err(code) => Err(code),
        };
        let line = coordinator(call, request.key.clone(), found);
        return make(|it: &mut FindCoordinatorResponse| {
            it.error_code = line.error_code;
            it.error_message = line.error_message.filter(|_| call.version >= 1);
            it.node_id = line.node_id;
            it.host = line.host;
            it.port = line.port;
        });
    }
    let permitted: Vec<_> = request.coordinator_keys.iter().map(permitted).collect();
    // Somebody who may ask for nothing creates nothing.
    let found = match permitted.iter().any(Result::is_ok) {
        true => find(call, request.key_type).await,
        false => Ok(()),
    };
    make(|it: &mut FindCoordinatorResponse| {
        for (key, permitted) in request.coordinator_keys.iter().zip(permitted) {
            it.coordinators.push(coordinator(call, key.clone(), permitted.and(found)));
        }
    })
}

async fn find(call: &Call, key_type: i8) -> Result<(), ErrorCode> {
    match key_type {
        GROUP => ensure_offsets_topic(call).await,
        TRANSACTION => Err(ErrorCode::CoordinatorNotAvailable),
        _ => Err(ErrorCode::InvalidRequest),
    }
}

fn coordinator(
    call: &Call,
    key: StrBytes,
    found: Result<(), ErrorCode>,
) -> find_coordinator_response::Coordinator {
    make(|line: &mut find_coordinator_response::Coordinator| {
        line.key = key;
        line.error_code = call.code(found.err().unwrap_or(ErrorCode::None));
        match found {
            Ok(()) => {
                // Kafka's word for "no error", as long as the answer had room for one error only.
                let is_single = call.version < BATCHED_SINCE;
                let message = if is_single { ErrorCode::None.name() } else { "" };
                line.error_message = Some(message.into());
                line.node_id = call.context.node.0;
                (line.host, line.port) = call.address();
            }
            Err(code) => {
                line.error_message = Some(code.message().into());
                (line.node_id, line.port) = (-1, -1);
            }
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
