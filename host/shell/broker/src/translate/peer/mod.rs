//! What brokers say to each other, in Kafka's messages ⇄ in the core's values.
//!
//! One file for each request, with the same four functions: `ask` makes the request of what is wanted, `asked` reads
//! it at the other broker, `answer` makes the response of what came of it, `answered` reads that where it was asked.
//!
//! **Decides** which numbers mean something: a peer is a broker of the cluster, and may all the same be broken or
//! a later release, so what it says is refused by name and never believed half. **Never** waits, and **never**
//! checks who asks: whose connection it is, and of which cluster, is known to whoever has the connection.

pub mod alter;
pub mod envelope;
pub mod fetch;
pub mod fetched;
pub mod heartbeat;
pub mod join;
pub mod producer_ids;
pub mod registration;

use brooklet_meta::broker::BrokerEpoch;
use brooklet_types::{BrokerId, ErrorCode, LeaderEpoch, Offset, PartitionIndex, TopicId};
use brooklet_wire::message::{NotANumber, Uuid};

/// A message of another broker that means nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A number that the field cannot have.
    #[error("{field} is {value}")]
    Number {
        /// Which.
        field: &'static str,
        /// What is in it.
        value: i64,
    },
    /// A field that has to be there is not, or is empty.
    #[error("{field} is missing")]
    Missing {
        /// Which.
        field: &'static str,
    },
    /// Something that there is one of is named more than once.
    #[error("{field} is there {count} times")]
    Repeated {
        /// What.
        field: &'static str,
        /// How often.
        count: usize,
    },
    /// A text or an address that is longer than any honest one, or of another length.
    #[error("{field} has {bytes} bytes")]
    Length {
        /// Which.
        field: &'static str,
        /// How many bytes it has.
        bytes: usize,
    },
    /// Bytes that should be a text and are none.
    #[error("{field} is no text")]
    Text {
        /// Which field.
        field: &'static str,
    },
    /// A code that Kafka 4.3 does not have.
    #[error("error code {0} is not known")]
    Code(i16),
    /// A field of ours with something else in it.
    #[error(transparent)]
    Tagged(#[from] NotANumber),
}

/// Why there is no answer in a response.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    /// The other broker said no.
    #[error("{}", .0.name())]
    Refused(ErrorCode),
    /// What it said means nothing.
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

impl Malformed {
    /// What the broker that asked is told.
    pub fn code(&self) -> ErrorCode {
        match self {
            Malformed::Number { .. }
            | Malformed::Missing { .. }
            | Malformed::Repeated { .. }
            | Malformed::Length { .. }
            | Malformed::Text { .. }
            | Malformed::Code(_)
            | Malformed::Tagged(_) => ErrorCode::InvalidRequest,
        }
    }
}

impl NoAnswer {
    /// The code of a refusal; what means nothing came from a broker that is broken.
    pub fn code(&self) -> ErrorCode {
        match self {
            NoAnswer::Refused(code) => *code,
            NoAnswer::Malformed(_) => ErrorCode::UnknownServerError,
        }
    }
}

fn number(field: &'static str, value: impl Into<i64>) -> Malformed {
    Malformed::Number { field, value: value.into() }
}

/// The error of a response; none where all went well.
fn error(code: i16) -> Result<Option<ErrorCode>, Malformed> {
    let code = ErrorCode::from_wire(code).ok_or(Malformed::Code(code))?;
    Ok((code != ErrorCode::None).then_some(code))
}

/// Stops where a response has an error.
fn check(code: i16) -> Result<(), NoAnswer> {
    error(code)?.map_or(Ok(()), |code| Err(NoAnswer::Refused(code)))
}

fn broker(field: &'static str, raw: i32) -> Result<BrokerId, Malformed> {
    if raw < 0 { Err(number(field, raw)) } else { Ok(BrokerId(raw)) }
}

fn broker_epoch(field: &'static str, raw: i64) -> Result<BrokerEpoch, Malformed> {
    u64::try_from(raw).map(BrokerEpoch).map_err(|_| number(field, raw))
}

fn leader_epoch(field: &'static str, raw: i32) -> Result<LeaderEpoch, Malformed> {
    LeaderEpoch::from_wire(raw).ok_or_else(|| number(field, raw))
}

fn partition_index(field: &'static str, raw: i32) -> Result<PartitionIndex, Malformed> {
    PartitionIndex::from_wire(raw).ok_or_else(|| number(field, raw))
}

fn offset(field: &'static str, raw: i64) -> Result<Offset, Malformed> {
    Offset::from_wire(raw).ok_or_else(|| number(field, raw))
}

fn topic(field: &'static str, raw: Uuid) -> Result<TopicId, Malformed> {
    TopicId::from_wire(raw.to_bytes()).ok_or(Malformed::Missing { field })
}

/// An id drawn by chance, of which all zeroes are none.
fn id(field: &'static str, raw: Uuid) -> Result<[u8; 16], Malformed> {
    if raw.is_zero() { Err(Malformed::Missing { field }) } else { Ok(raw.to_bytes()) }
}

fn raw_broker_epoch(epoch: BrokerEpoch) -> i64 {
    raw_version(epoch.0)
}

/// A version of the cluster, which broker epochs are too.
fn raw_version(version: u64) -> i64 {
    i64::try_from(version).expect("versions are counted from zero, one at a time")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_from_what_means_nothing() {
        assert_eq!(check(0), Ok(()));
        assert_eq!(check(41), Err(NoAnswer::Refused(ErrorCode::NotController)));
        assert_eq!(check(i16::MAX), Err(NoAnswer::Malformed(Malformed::Code(i16::MAX))));
        assert_eq!(check(-1), Err(NoAnswer::Refused(ErrorCode::UnknownServerError)));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let table = [
            (number("broker_id", -7), "broker_id is -7"),
            (Malformed::Missing { field: "log_dirs" }, "log_dirs is missing"),
            (Malformed::Repeated { field: "log_dirs", count: 2 }, "log_dirs is there 2 times"),
            (Malformed::Length { field: "rack", bytes: 999 }, "rack has 999 bytes"),
            (Malformed::Text { field: "rack" }, "rack is no text"),
            (Malformed::Code(999), "error code 999 is not known"),
            (NotANumber { bytes: 3 }.into(), "tagged field 10000 of 3 bytes is not a number"),
        ];
        for (malformed, text) in table {
            assert_eq!(malformed.to_string(), text);
            assert_eq!(malformed.code(), ErrorCode::InvalidRequest);
        }
    }
}
