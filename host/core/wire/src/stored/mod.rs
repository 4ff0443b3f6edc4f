//! The record formats of internal topics: Kafka's own for groups, ours for the cluster's metadata.
//!
//! **Where it sits.** Between the coordinators, which know what a record means, and the log, which
//! knows only bytes. `shard` translates.
//!
//! **What it decides.** Bytes. **Never** what a record does.
//!
//! A record of a kind or version that this release does not know is an error that names it: a log
//! written by a later release is refused, not half understood.

pub mod groups;
pub mod metadata;

use bytes::{Bytes, BytesMut};
use kafka_wire_core::{BufferTarget, DecodeError, Decoder, EncodeError, Encoder, StrBytes};

use crate::WireError;
use crate::message::decoder;

/// A stored record that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoredError {
    /// Not what its first bytes say.
    #[error("malformed {what}: {source}")]
    Malformed { what: &'static str, source: WireError },
    /// Written by a later release.
    #[error("{what} of version {version}, this broker knows up to {newest}")]
    UnknownVersion { what: &'static str, version: i16, newest: i16 },
    /// A record of a kind that this release does not have.
    #[error("{what} of unknown kind {kind}")]
    UnknownKind { what: &'static str, kind: i16 },
    /// More than the format can say.
    #[error("cannot write {what}: {source}")]
    Unwritable { what: &'static str, source: EncodeError },
}

/// Reads a record with `read`, which need not use up all of it: a later version may add fields.
fn read<T>(
    what: &'static str,
    bytes: Bytes,
    read: impl FnOnce(&mut Decoder) -> Result<T, DecodeError>,
) -> Result<T, StoredError> {
    let malformed = |source| StoredError::Malformed { what, source };
    let mut decoder = decoder(bytes).map_err(malformed)?;
    read(&mut decoder).map_err(|source| malformed(WireError::Frame { source }))
}

/// Writes a record with `write`.
fn written(
    what: &'static str,
    write: impl FnOnce(&mut Encoder<BufferTarget<'_>>) -> Result<(), EncodeError>,
) -> Result<Bytes, StoredError> {
    let mut bytes = BytesMut::new();
    write(&mut Encoder::new(&mut bytes))
        .map_err(|source| StoredError::Unwritable { what, source })?;
    Ok(bytes.freeze())
}

/// The version in front of a key or value.
fn version_of(what: &'static str, bytes: &Bytes) -> Result<i16, StoredError> {
    read(what, bytes.clone(), Decoder::read_i16)
}

fn text(string: &str) -> StrBytes {
    StrBytes::from(string)
}
