//! A message between members as bytes: our envelope around raft's message.
//!
//! ```text
//! version 1 (1) | cluster (16) | sender: broker (4), directory (16) | raft's message (protobuf)
//! ```
//!
//! **What it decides.** Whether bytes are a message of this cluster, by whom, and within the limits. What the
//! message says is judged in `check`.
//!
//! **What it never does.** Allocate on the word of a length: fields are counted before they are decoded.

use bytes::{BufMut, Bytes};
use prost::Message as _;
use raft::eraftpb::Message;

use crate::error::MessageError;
use crate::fields::Fields;
use crate::member::{ClusterId, MEMBER_BYTES, MEMBERS_MAX, Member};
use crate::settings::Settings;

const VERSION: u8 = 1;
/// Everything around entries and snapshots, with room to spare: raft's fields, the members of a snapshot.
const HEADROOM_BYTES: usize = 64 << 10;
/// A snapshot's metadata: at most ten bytes for each member, and three numbers.
const METADATA_BYTES_MAX: usize = 16 * MEMBERS_MAX;
/// The smallest entry that raft counts: a term and an index.
const ENTRY_BYTES_MIN: usize = 4;
// Numbers of fields in eraftpb.proto.
const ENTRIES: u64 = 7;
const SNAPSHOT: u64 = 9;
const METADATA: u64 = 2;

/// The bytes of a message.
pub(crate) fn seal(settings: &Settings, message: &Message) -> Bytes {
    let mut bytes = Vec::with_capacity(1 + 16 + MEMBER_BYTES + message.encoded_len());
    bytes.put_u8(VERSION);
    bytes.put_slice(&settings.cluster.0);
    settings.me.put(&mut bytes);
    bytes.put_slice(&message.encode_to_vec());
    Bytes::from(bytes)
}

/// The message in `bytes`, and who wrote it.
pub(crate) fn open(settings: &Settings, bytes: &[u8]) -> Result<(Member, Message), MessageError> {
    let limit = bytes_max(settings);
    if bytes.len() > limit {
        return Err(MessageError::TooLarge { bytes: bytes.len(), limit });
    }
    let (&version, rest) = bytes.split_first().ok_or(MessageError::Malformed)?;
    if version != VERSION {
        return Err(MessageError::Version(version));
    }
    let (cluster, mut rest) = rest.split_first_chunk().ok_or(MessageError::Malformed)?;
    if ClusterId(*cluster) != settings.cluster {
        return Err(MessageError::WrongCluster);
    }
    let sender = Member::take(&mut rest).map_err(|_| MessageError::Malformed)?;
    outline(settings, rest)?;
    Ok((sender, Message::decode(rest)?))
}

/// The largest message that a member sends. Small entries are framed by half of what they are.
fn bytes_max(settings: &Settings) -> usize {
    let entries = 2 * settings.append_bytes_max + settings.proposal_bytes_max;
    HEADROOM_BYTES + entries.max(settings.snapshot_bytes_max)
}

/// Refuses what would become far more memory than it has bytes.
fn outline(settings: &Settings, bytes: &[u8]) -> Result<(), MessageError> {
    let entries_max = settings.append_bytes_max / ENTRY_BYTES_MIN + 1;
    let (mut entries, mut snapshots) = (0, 0);
    for field in Fields::of(bytes) {
        let (number, value) = field?;
        match number {
            ENTRIES => entries += 1,
            SNAPSHOT => {
                snapshots += 1;
                metadata(value)?;
            }
            _ => {}
        }
    }
    at_most("entries", entries, entries_max)?;
    at_most("snapshots", snapshots, 1)
}

fn metadata(snapshot: &[u8]) -> Result<(), MessageError> {
    let mut parts = 0;
    for field in Fields::of(snapshot) {
        let (number, value) = field?;
        if number == METADATA {
            parts += 1;
            at_most("bytes of a snapshot's metadata", value.len(), METADATA_BYTES_MAX)?;
        }
    }
    at_most("snapshot's metadata", parts, 1)
}

fn at_most(what: &'static str, count: usize, limit: usize) -> Result<(), MessageError> {
    if count <= limit { Ok(()) } else { Err(MessageError::TooMany { what, limit }) }
}

#[cfg(test)]
mod tests;
