//! Fetch answers of version 16 and later, which may end with addresses (KIP-951).
//!
//! **The problem.** An answer's length is its first field, records by the megabyte follow, and the addresses come last. They
//! cannot be changed at will when the length has left already, and holding back the answer until its end is here takes
//! as much memory as a client asks for.
//!
//! **What is done.** The answer is walked as it passes, without keeping anything, up to the tagged fields at its end. Those alone are
//! gathered, rewritten, and brought to exactly the bytes that they had: what they are shorter is filled by a tagged field that
//! nobody knows, which every client has to pass over (KIP-482). Where they would be longer, the addresses are left out:
//! they save a client that was sent away from asking for metadata, which it does without them.
//!
//! **Never** believes a count: numbers say what to pass over, and nothing is allocated for them.

use brooklet_wire::WireError;
use brooklet_wire::message::{Bytes, BytesMut, FetchResponse, decode_response, encode_response};
use brooklet_wire::version::Api;

use crate::rewrite::{self, Local, RewriteError};

/// The first version that has addresses.
pub(crate) const ADDRESSES_FROM: i16 = 16;
/// The most bytes of tagged fields at the end of an answer: the addresses of a thousand brokers, with names of
/// the longest.
pub(crate) const TAIL_BYTES_MAX: usize = 512 << 10;
/// Correlation id, throttle time, error and session behind one empty section of tagged fields.
const HEAD_BYTES: usize = 4 + 1 + 4 + 2 + 4;
/// Numbers of the tagged field that fills: one of each length, far beyond what Kafka gives out.
const FILLERS: [u32; 2] = [120, 16_000];

/// Why an answer cannot be walked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed Fetch answer: a number of more than 32 bits")]
pub(crate) struct WalkError;

/// What comes next in an answer, behind its correlation id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    HeaderTags,
    Head,
    Topics,
    TopicId,
    Partitions,
    Partition,
    Aborted,
    AbortedEntry,
    AbortedTags,
    Replica,
    Records,
    PartitionTags,
    TopicTags,
    Tail,
}

/// Where in a section of tagged fields we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tags {
    Number { left: u32 },
    Size { left: u32 },
}

/// A walk through one answer.
#[derive(Debug)]
pub(crate) struct Walk {
    place: Place,
    tags: Option<Tags>,
    /// Bytes that only pass.
    skip: u64,
    /// A number that is not whole yet, and its bits.
    number: u64,
    bits: u32,
    topics: u32,
    partitions: u32,
    aborted: u32,
}

impl Walk {
    /// A walk that begins behind the correlation id.
    pub(crate) fn new() -> Walk {
        Walk {
            place: Place::HeaderTags,
            tags: None,
            skip: 0,
            number: 0,
            bits: 0,
            topics: 0,
            partitions: 0,
            aborted: 0,
        }
    }

    /// Walks over bytes, and says how many of them stand before the tagged fields at the end: fewer than there are once it
    /// has arrived, and then none.
    pub(crate) fn pass(&mut self, bytes: &[u8]) -> Result<usize, WalkError> {
        let mut rest = bytes;
        while !rest.is_empty() {
            if self.skip > 0 {
                let here = u64::try_from(rest.len()).unwrap_or(u64::MAX).min(self.skip);
                self.skip -= here;
                rest = usize::try_from(here).ok().and_then(|here| rest.get(here..)).unwrap_or(&[]);
                continue;
            }
            if self.tags.is_none() && !self.enter() {
                if self.place == Place::Tail {
                    break;
                }
                continue;
            }
            let Some((byte, behind)) = rest.split_first() else { break };
            rest = behind;
            self.number |= u64::from(byte & 0x7f) << self.bits;
            self.bits += 7;
            if byte & 0x80 == 0 {
                let number = u32::try_from(self.number).map_err(|_| WalkError)?;
                (self.number, self.bits) = (0, 0);
                self.read(number);
            } else if self.bits >= 35 {
                return Err(WalkError);
            }
        }
        Ok(bytes.len() - rest.len())
    }

    /// Whether all that is left is tagged fields.
    pub(crate) fn has_arrived(&mut self) -> bool {
        while self.skip == 0 && self.tags.is_none() && self.place != Place::Tail {
            if self.enter() {
                return false;
            }
        }
        self.skip == 0 && self.tags.is_none()
    }

    /// Sets out from a place: false where it is none with a number to read, and was left for the next.
    fn enter(&mut self) -> bool {
        let (skip, next) = match self.place {
            Place::Head => (4 + 2 + 4, Place::Topics),
            Place::TopicId if self.topics == 0 => (0, Place::Tail),
            Place::TopicId => {
                self.topics -= 1;
                (16, Place::Partitions)
            }
            Place::Partition if self.partitions == 0 => (0, Place::TopicTags),
            // Index and error; high watermark, last stable offset and the log's start.
            Place::Partition => {
                self.partitions -= 1;
                (4 + 2 + 3 * 8, Place::Aborted)
            }
            Place::AbortedEntry if self.aborted == 0 => (0, Place::Replica),
            Place::AbortedEntry => {
                self.aborted -= 1;
                (8 + 8, Place::AbortedTags)
            }
            Place::Replica => (4, Place::Records),
            Place::Tail => return false,
            Place::HeaderTags
            | Place::Topics
            | Place::Partitions
            | Place::Aborted
            | Place::AbortedTags
            | Place::Records
            | Place::PartitionTags
            | Place::TopicTags => return true,
        };
        (self.skip, self.place) = (skip, next);
        false
    }

    /// Goes on with the number that stands here.
    fn read(&mut self, number: u32) {
        // Lengths and counts are one more than what they say; zero is null.
        let count = number.saturating_sub(1);
        match self.tags {
            Some(Tags::Number { left }) => self.tags = Some(Tags::Size { left }),
            Some(Tags::Size { left }) => {
                self.skip = number.into();
                self.tags = left.checked_sub(1).map(|left| Tags::Number { left });
            }
            None => self.place = self.counted(number, count),
        }
    }

    fn counted(&mut self, number: u32, count: u32) -> Place {
        let mut tagged = |next| {
            self.tags = number.checked_sub(1).map(|left| Tags::Number { left });
            next
        };
        match self.place {
            Place::HeaderTags => tagged(Place::Head),
            Place::AbortedTags => tagged(Place::AbortedEntry),
            Place::PartitionTags => tagged(Place::Partition),
            Place::TopicTags => tagged(Place::TopicId),
            Place::Topics => {
                self.topics = count;
                Place::TopicId
            }
            Place::Partitions => {
                self.partitions = count;
                Place::Partition
            }
            Place::Aborted => {
                self.aborted = count;
                Place::AbortedEntry
            }
            Place::Records => {
                self.skip = count.into();
                Place::PartitionTags
            }
            place @ (Place::Head
            | Place::TopicId
            | Place::Partition
            | Place::AbortedEntry
            | Place::Replica
            | Place::Tail) => unreachable!("no number is read at {place:?}"),
        }
    }
}

/// Rewrites the tagged fields at the end of an answer within the bytes that they have.
pub(crate) fn rewrite_tail(
    tail: Bytes,
    version: i16,
    local: &mut Local<'_>,
) -> Result<Bytes, RewriteError> {
    // An answer without topics around them, for the library to read.
    let mut frame = BytesMut::zeroed(HEAD_BYTES);
    frame.extend_from_slice(&[1]);
    frame.extend_from_slice(&tail);
    let (_, mut answer) = decode_response::<FetchResponse>(frame.freeze(), version)?;
    if answer.node_endpoints.is_empty() {
        return Ok(tail);
    }
    for node in &mut answer.node_endpoints {
        rewrite::place(node.node_id, &mut node.host, &mut node.port, local)?;
    }
    let last = answer.unknown_tagged_fields.iter().last().map_or(0, |field| field.tag());
    if let Some(filled) = fill(&encode_tail(&answer, version)?, tail.len(), last) {
        return Ok(filled);
    }
    answer.node_endpoints.clear();
    let filled = fill(&encode_tail(&answer, version)?, tail.len(), last);
    filled.ok_or(RewriteError::NoRoom { api: Api::Fetch.name(), version })
}

fn encode_tail(answer: &FetchResponse, version: i16) -> Result<Bytes, WireError> {
    let frame = encode_response(0, version, answer)?;
    Ok(frame.slice(size_of::<i32>() + HEAD_BYTES + 1..))
}

/// Adds a tagged field behind `last` to a section, so that it is as long as it should be; none where that cannot be.
fn fill(section: &[u8], bytes: usize, last: u32) -> Option<Bytes> {
    if section.len() == bytes {
        return Some(Bytes::copy_from_slice(section));
    }
    let missing = bytes.checked_sub(section.len())?;
    let (&count, fields) = section.split_first()?;
    // Beyond it the count would be a byte longer; so many fields Kafka does not have.
    let count = count.checked_add(1).filter(|count| *count < 0x80)?;
    let head = FILLERS.iter().filter(|tag| **tag > last).find_map(|tag| {
        (1..=3).find_map(|size_bytes| {
            let mut head = Vec::new();
            put_varint(&mut head, *tag);
            let zeros = missing.checked_sub(head.len() + size_bytes)?;
            put_varint(&mut head, u32::try_from(zeros).ok()?);
            (head.len() + zeros == missing).then_some(head)
        })
    })?;
    let mut filled = BytesMut::with_capacity(bytes);
    filled.extend_from_slice(&[count]);
    filled.extend_from_slice(fields);
    filled.extend_from_slice(&head);
    filled.resize(bytes, 0);
    Some(filled.freeze())
}

fn put_varint(out: &mut Vec<u8>, mut number: u32) {
    loop {
        let [.., low] = (number & 0x7f).to_be_bytes();
        number >>= 7;
        if number == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

#[cfg(test)]
mod tests;
