//! BrokerHeartbeat: a broker says that it is there, and is told what it may do.
//!
//! Kafka's offset of the metadata is our version of the image. That a broker is being moved out of the way is no
//! field of Kafka's: it is a tagged one of ours, 1 where it is so and absent where it is not.

use brooklet_meta::decide::heartbeat::{Heartbeat, HeartbeatReply};
use brooklet_types::ErrorCode;
use brooklet_wire::message::{
    BrokerHeartbeatRequest, BrokerHeartbeatResponse, make, tagged_number, with_tagged_number,
};

use super::{
    Malformed, NoAnswer, broker, broker_epoch, check, number, raw_broker_epoch, raw_version,
};

/// The request.
pub fn ask(heard: &Heartbeat) -> BrokerHeartbeatRequest {
    let Heartbeat { broker, epoch, metadata_version, wants_fence, wants_shutdown } = *heard;
    make(|request: &mut BrokerHeartbeatRequest| {
        request.broker_id = broker.0;
        request.broker_epoch = raw_broker_epoch(epoch);
        request.current_metadata_offset = raw_version(metadata_version);
        request.want_fence = wants_fence;
        request.want_shut_down = wants_shutdown;
    })
}

/// Reads the request.
///
/// # Errors
/// If a number is none.
pub fn asked(request: &BrokerHeartbeatRequest) -> Result<Heartbeat, Malformed> {
    let version = request.current_metadata_offset;
    Ok(Heartbeat {
        broker: broker("broker_id", request.broker_id)?,
        epoch: broker_epoch("broker_epoch", request.broker_epoch)?,
        metadata_version: u64::try_from(version)
            .map_err(|_| number("current_metadata_offset", version))?,
        wants_fence: request.want_fence,
        wants_shutdown: request.want_shut_down,
    })
}

/// The response.
pub fn answer(outcome: Result<HeartbeatReply, ErrorCode>) -> BrokerHeartbeatResponse {
    make(|response: &mut BrokerHeartbeatResponse| match outcome {
        Ok(HeartbeatReply { is_caught_up, is_fenced, is_shutting_down, should_stop }) => {
            response.is_caught_up = is_caught_up;
            response.is_fenced = is_fenced;
            response.should_shut_down = should_stop;
            if is_shutting_down {
                response.unknown_tagged_fields = with_tagged_number(1);
            }
        }
        Err(code) => response.error_code = code.to_wire(),
    })
}

/// Reads the response.
///
/// # Errors
/// If the broker that was asked does not say.
pub fn answered(response: &BrokerHeartbeatResponse) -> Result<HeartbeatReply, NoAnswer> {
    check(response.error_code)?;
    let is_shutting_down = match tagged_number(&response.unknown_tagged_fields) {
        Ok(None) => false,
        Ok(Some(1)) => true,
        Ok(Some(other)) => {
            let other = i64::try_from(other).unwrap_or(i64::MAX);
            return Err(number("is_shutting_down", other).into());
        }
        Err(error) => return Err(Malformed::Tagged(error).into()),
    };
    Ok(HeartbeatReply {
        is_caught_up: response.is_caught_up,
        is_fenced: response.is_fenced,
        is_shutting_down,
        should_stop: response.should_shut_down,
    })
}

#[cfg(test)]
mod tests {
    use brooklet_meta::broker::BrokerEpoch;
    use brooklet_types::BrokerId;

    use super::*;

    fn heard(wants_fence: bool, wants_shutdown: bool) -> Heartbeat {
        let (broker, epoch) = (BrokerId(3), BrokerEpoch(41));
        Heartbeat { broker, epoch, metadata_version: 57, wants_fence, wants_shutdown }
    }

    #[test]
    fn what_is_said_is_what_is_heard() {
        for (fence, shutdown) in [(true, false), (false, true), (false, false)] {
            let heard = heard(fence, shutdown);
            assert_eq!(asked(&ask(&heard)), Ok(heard));
        }
        for set in 0..16 {
            let bit = |number: u8| set & (1_u8 << number) != 0;
            let reply = HeartbeatReply {
                is_caught_up: bit(0),
                is_fenced: bit(1),
                is_shutting_down: bit(2),
                should_stop: bit(3),
            };
            assert_eq!(answered(&answer(Ok(reply))), Ok(reply));
        }
        let stale = ErrorCode::StaleBrokerEpoch;
        assert_eq!(answered(&answer(Err(stale))), Err(NoAnswer::Refused(stale)));
    }

    type Spoil = fn(&mut BrokerHeartbeatRequest);

    #[test]
    fn what_means_nothing_is_refused_by_name() {
        let table: &[(Spoil, Malformed)] = &[
            (|it| it.broker_id = -1, number("broker_id", -1)),
            (|it| it.broker_epoch = -1, number("broker_epoch", -1)),
            (
                |it| it.current_metadata_offset = i64::MIN,
                number("current_metadata_offset", i64::MIN),
            ),
        ];
        for (spoil, malformed) in table {
            let mut request = ask(&heard(false, false));
            spoil(&mut request);
            assert_eq!(asked(&request), Err(malformed.clone()));
        }
        for (number_told, seen) in [(0, 0), (2, 2), (u64::MAX, i64::MAX)] {
            let mut response = BrokerHeartbeatResponse::default();
            response.unknown_tagged_fields = with_tagged_number(number_told);
            assert_eq!(answered(&response), Err(number("is_shutting_down", seen).into()));
        }
    }
}
