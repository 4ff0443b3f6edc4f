//! AllocateProducerIds: a broker is given the next block of producer ids.

use std::ops::Range;

use brooklet_meta::broker::BrokerEpoch;
use brooklet_types::{BrokerId, ErrorCode};
use brooklet_wire::message::{AllocateProducerIdsRequest, AllocateProducerIdsResponse, make};

use super::{Malformed, NoAnswer, broker, broker_epoch, check, number, raw_broker_epoch};

/// The request.
pub fn ask(broker: BrokerId, epoch: BrokerEpoch) -> AllocateProducerIdsRequest {
    make(|request: &mut AllocateProducerIdsRequest| {
        request.broker_id = broker.0;
        request.broker_epoch = raw_broker_epoch(epoch);
    })
}

/// Reads the request.
///
/// # Errors
/// If a number is none.
pub fn asked(request: &AllocateProducerIdsRequest) -> Result<(BrokerId, BrokerEpoch), Malformed> {
    let epoch = broker_epoch("broker_epoch", request.broker_epoch)?;
    Ok((broker("broker_id", request.broker_id)?, epoch))
}

/// The response.
pub fn answer(outcome: Result<Range<u64>, ErrorCode>) -> AllocateProducerIdsResponse {
    make(|response: &mut AllocateProducerIdsResponse| match outcome {
        Ok(block) => {
            let count = block.end.saturating_sub(block.start);
            response.producer_id_start =
                i64::try_from(block.start).expect("ids are allotted from zero, a block at a time");
            response.producer_id_len = i32::try_from(count).expect("blocks are small");
        }
        Err(code) => response.error_code = code.to_wire(),
    })
}

/// Reads the response: at least one id, all within the wire's range.
///
/// # Errors
/// If the broker was not given any.
pub fn answered(response: &AllocateProducerIdsResponse) -> Result<Range<u64>, NoAnswer> {
    check(response.error_code)?;
    let (start, count) = (response.producer_id_start, response.producer_id_len);
    let first = u64::try_from(start).map_err(|_| number("producer_id_start", start))?;
    let many = u64::try_from(count).ok().filter(|many| *many > 0);
    let many = many.ok_or_else(|| number("producer_id_len", count))?;
    let end = start.checked_add(i64::from(count));
    end.ok_or_else(|| number("producer_id_start", start))?;
    Ok(first..first + many)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_is_who_is_heard() {
        let (broker, epoch) = (BrokerId(3), BrokerEpoch(41));
        assert_eq!(asked(&ask(broker, epoch)), Ok((broker, epoch)));
        assert_eq!(asked(&ask(BrokerId(-3), epoch)), Err(number("broker_id", -3)));
        let mut request = ask(broker, epoch);
        request.broker_epoch = -1;
        assert_eq!(asked(&request), Err(number("broker_epoch", -1)));
    }

    #[test]
    fn a_block_comes_as_it_was_given() {
        assert_eq!(answered(&answer(Ok(7000..8000))), Ok(7000..8000));
        let refused = ErrorCode::StaleBrokerEpoch;
        assert_eq!(answered(&answer(Err(refused))), Err(NoAnswer::Refused(refused)));
    }

    #[test]
    fn a_block_that_is_none_is_refused_by_name() {
        let table = [
            ((-1, 1000), number("producer_id_start", -1)),
            ((0, 0), number("producer_id_len", 0)),
            ((0, -1000), number("producer_id_len", -1000)),
            ((i64::MAX, 1), number("producer_id_start", i64::MAX)),
        ];
        for ((start, count), malformed) in table {
            let response = make(|it: &mut AllocateProducerIdsResponse| {
                (it.producer_id_start, it.producer_id_len) = (start, count);
            });
            assert_eq!(answered(&response), Err(malformed.into()));
        }
    }
}
