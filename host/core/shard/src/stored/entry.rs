//! The entries of the quorum's log as records of `__cluster_metadata`.
//!
//! A record is a value without a key. Format 1 (host/core/wire, `stored::metadata`) was one fact to a record, before there was
//! a quorum. Format 2 is one entry to a record, and one record to a batch:
//!
//! ```text
//! version i8 = 2 · kind i8 · payload
//! kind 0, nothing    no payload
//! kind 1, facts      for each: length u32 · a value of format 1
//! kind 2, members    what `quorum::Change::to_bytes` writes
//! ```

use brooklet_meta::MetaRecord;
use brooklet_quorum::{Change, Entry, Index, Payload, Term};
use brooklet_types::{LeaderEpoch, Offset};
use brooklet_wire::stored::StoredError;
use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::{Found, KeyValue, LoadError, metadata_record, read_metadata_record};

const VERSION: u8 = 2;
const NOTHING: u8 = 0;
const FACTS: u8 = 1;
const MEMBERS: u8 = 2;

/// What a record of the metadata's log is.
pub(crate) enum Stored {
    /// A fact from before there was a quorum.
    Fact(MetaRecord),
    /// An entry of the quorum's.
    Entry(Entry),
}

/// The facts of one decision, to be proposed as one entry.
pub(crate) fn facts(records: &[MetaRecord]) -> Bytes {
    let mut bytes = BytesMut::new();
    for record in records {
        let (_, value) = metadata_record(record);
        let value = value.expect("a fact has a value");
        bytes.put_u32(u32::try_from(value.len()).expect("facts are short"));
        bytes.put_slice(&value);
    }
    bytes.freeze()
}

/// The facts of the entry at `offset`.
pub(crate) fn read_facts(offset: Offset, mut bytes: Bytes) -> Result<Vec<MetaRecord>, LoadError> {
    let mut records = Vec::new();
    while bytes.remaining() >= size_of::<u32>() {
        let length = usize::try_from(bytes.get_u32()).unwrap_or(usize::MAX);
        if length > bytes.len() {
            return Err(LoadError::Entry { offset });
        }
        records.push(read_metadata_record(offset, Some(bytes.split_to(length)))?);
    }
    if bytes.is_empty() { Ok(records) } else { Err(LoadError::Entry { offset }) }
}

/// An entry, ready to be stored.
pub(crate) fn record(payload: &Payload) -> KeyValue {
    let mut value = BytesMut::new();
    value.put_u8(VERSION);
    match payload {
        Payload::Empty => value.put_u8(NOTHING),
        Payload::Data(facts) => {
            value.put_u8(FACTS);
            value.put_slice(facts);
        }
        Payload::Change(change) => {
            value.put_u8(MEMBERS);
            value.put_slice(&change.to_bytes());
        }
    }
    (None, Some(value.freeze()))
}

/// A record of the metadata's log, as it was stored.
pub(crate) fn read(found: Found) -> Result<Stored, LoadError> {
    let Found { offset, epoch, value, .. } = found;
    let mut value = value.unwrap_or_default();
    if value.first() != Some(&VERSION) {
        return read_metadata_record(offset, Some(value)).map(Stored::Fact);
    }
    value.advance(1);
    let kind = value.try_get_u8().map_err(|_| LoadError::Entry { offset })?;
    let payload = match kind {
        NOTHING => Payload::Empty,
        FACTS => Payload::Data(value),
        MEMBERS => {
            let change = Change::from_bytes(&value);
            Payload::Change(change.map_err(|source| LoadError::Members { offset, source })?)
        }
        kind => {
            let (what, kind) = ("metadata entry", kind.into());
            return Err(LoadError::Record {
                offset,
                source: StoredError::UnknownKind { what, kind },
            });
        }
    };
    let LeaderEpoch(term) = epoch;
    let (index, term) = (Index::of(offset), Term(term.into()));
    Ok(Stored::Entry(Entry { index, term, payload }))
}
