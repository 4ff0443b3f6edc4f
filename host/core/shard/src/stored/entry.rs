//! The entries of the quorum's log as records of `__cluster_metadata`: one record to a batch, without a key.
//!
//! What was decided is stored as [`super::metadata_decision`] has it, in version 1 or 2. A leader's first entry has no value.
//! A change of members is `version u8 = 3 · what quorum::Change::to_bytes writes`.

use brooklet_quorum::{Change, Entry, Index, Payload, Term};
use brooklet_types::LeaderEpoch;
use bytes::{BufMut, BytesMut};

use super::{Found, KeyValue, LoadError};

const MEMBERS: u8 = 3;

/// An entry, ready to be stored.
pub(crate) fn record(payload: &Payload) -> KeyValue {
    let value = match payload {
        Payload::Empty => None,
        Payload::Data(decision) => Some(decision.clone()),
        Payload::Change(change) => {
            let mut value = BytesMut::new();
            value.put_u8(MEMBERS);
            value.put_slice(&change.to_bytes());
            Some(value.freeze())
        }
    };
    (None, value)
}

/// An entry, as it was stored.
pub(crate) fn read(found: Found) -> Result<Entry, LoadError> {
    let Found { offset, epoch: LeaderEpoch(term), value, .. } = found;
    let payload = match value {
        None => Payload::Empty,
        Some(value) => match value.split_first() {
            Some((&MEMBERS, change)) => {
                let change = Change::from_bytes(change);
                Payload::Change(change.map_err(|source| LoadError::Members { offset, source })?)
            }
            Some(_) | None => Payload::Data(value),
        },
    };
    Ok(Entry { index: Index::of(offset), term: Term(term.into()), payload })
}
