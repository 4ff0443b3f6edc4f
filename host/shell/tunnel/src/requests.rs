//! Requests, followed by their headers as they pass.
//!
//! **Decides** where a request begins, and what its answer will be. **Never** holds back or changes a byte, and keeps none
//! but the head of one Produce request at a time: there stands whether it is answered at all.

use brooklet_types::limits;
use brooklet_wire::version::Api;

/// Kafka's key of SaslHandshake.
const SASL_HANDSHAKE: i16 = 17;
/// Key, version and correlation id: where every request begins.
const START_BYTES: usize = 8;
/// The longest head of a Produce request: a client id and a transactional id of the longest, and tagged fields.
const HEAD_BYTES_MAX: usize = 80 << 10;
/// From this version on a Produce request begins with a transactional id.
const TRANSACTIONAL_FROM: i16 = 3;

/// A request that will be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Expected {
    /// Kafka's key of the API.
    pub(crate) api: i16,
    /// The version, of the request and so of its answer.
    pub(crate) version: i16,
    /// What the answer begins with.
    pub(crate) correlation: i32,
}

/// Why a client is not followed any further.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RequestsError {
    /// The length field is no length, or beyond what a broker takes.
    #[error("request of {claimed} bytes; between 8 and {} are possible", limits::FRAME_BYTES_MAX)]
    Length { claimed: i32 },
    /// Its answer has addresses in it, in a layout that is not known here.
    #[error("{} {version} is not known, {known} is the newest version whose answers can be rewritten", api.name())]
    Version { api: Api, version: i16, known: i16 },
    /// What follows has no headers.
    #[error("SaslHandshake 0 cannot be followed, use 1")]
    OldSasl,
    /// A Produce request whose acks cannot be found.
    #[error("Produce {version} has a malformed head")]
    Head { version: i16 },
}

/// Where in the stream of requests we are.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    /// The length field of the next request, as far as it is here.
    prefix: Vec<u8>,
    /// The head of this request, as far as it is needed.
    head: Vec<u8>,
    /// Bytes of this request that are still to come.
    left: usize,
    /// Whether this request has been understood: the rest of it only passes.
    understood: bool,
    /// Where in the last bytes this request begins; 0 where that was before them.
    begins: usize,
}

impl Requests {
    /// Follows the next bytes, and adds to `found` each request that they make known and that will be answered.
    pub(crate) fn follow(
        &mut self,
        mut bytes: &[u8],
        found: &mut Vec<Expected>,
    ) -> Result<(), RequestsError> {
        let all = bytes.len();
        self.begins = 0;
        while !bytes.is_empty() {
            if self.left == 0 {
                if self.prefix.is_empty() {
                    self.begins = all - bytes.len();
                }
                let take = bytes.len().min(size_of::<i32>() - self.prefix.len());
                let (prefix, rest) = bytes.split_at(take);
                self.prefix.extend_from_slice(prefix);
                bytes = rest;
                if let Some(prefix) = self.prefix.first_chunk() {
                    self.begin(i32::from_be_bytes(*prefix))?;
                }
                continue;
            }
            let (here, rest) = bytes.split_at(bytes.len().min(self.left));
            bytes = rest;
            self.left -= here.len();
            if !self.understood {
                self.read_head(here, found)?;
            }
        }
        Ok(())
    }

    /// How many of the last bytes belong to requests before the one that was refused.
    pub(crate) fn before_refused(&self) -> usize {
        self.begins
    }

    fn begin(&mut self, claimed: i32) -> Result<(), RequestsError> {
        let possible = START_BYTES..=limits::FRAME_BYTES_MAX;
        let length = usize::try_from(claimed).ok().filter(|length| possible.contains(length));
        self.left = length.ok_or(RequestsError::Length { claimed })?;
        self.prefix.clear();
        self.head.clear();
        self.understood = false;
        Ok(())
    }

    fn read_head(&mut self, here: &[u8], found: &mut Vec<Expected>) -> Result<(), RequestsError> {
        let room = HEAD_BYTES_MAX - self.head.len();
        self.head.extend_from_slice(&here[..here.len().min(room)]);
        let Some(&[a, b, c, d, e, f, g, h]) = self.head.first_chunk::<START_BYTES>() else {
            return Ok(());
        };
        let expected = Expected {
            api: i16::from_be_bytes([a, b]),
            version: i16::from_be_bytes([c, d]),
            correlation: i32::from_be_bytes([e, f, g, h]),
        };
        check(expected)?;
        if expected.api == Api::Produce.key() {
            match Head::new(&self.head).acks(expected.version) {
                Some(0) => {}
                Some(_) => found.push(expected),
                None if self.left == 0 || self.head.len() >= HEAD_BYTES_MAX => {
                    return Err(RequestsError::Head { version: expected.version });
                }
                None => return Ok(()),
            }
        } else {
            found.push(expected);
        }
        self.understood = true;
        self.head = Vec::new();
        Ok(())
    }
}

fn check(expected: Expected) -> Result<(), RequestsError> {
    let Expected { api, version, .. } = expected;
    if api == SASL_HANDSHAKE && version == 0 {
        return Err(RequestsError::OldSasl);
    }
    let with_addresses =
        [Api::Metadata, Api::FindCoordinator, Api::DescribeCluster, Api::Produce, Api::Fetch];
    match with_addresses.into_iter().find(|it| it.key() == api) {
        Some(api) if version > api.versions().1 => {
            Err(RequestsError::Version { api, version, known: api.versions().1 })
        }
        Some(_) | None => Ok(()),
    }
}

/// Reads the beginning of a request; none where more bytes are needed. What is malformed runs into the end as well.
struct Head<'a> {
    rest: &'a [u8],
}

impl<'a> Head<'a> {
    fn new(head: &'a [u8]) -> Head<'a> {
        Head { rest: head.get(START_BYTES..).unwrap_or_default() }
    }

    /// The acks of a Produce request.
    fn acks(mut self, version: i16) -> Option<i16> {
        let flexible = Api::Produce.is_flexible(version);
        // The client id has no compact form in any header.
        self.nullable_string(false)?;
        if flexible {
            for _ in 0..self.varint()? {
                self.varint()?;
                let size = self.varint()?;
                self.skip(usize::try_from(size).ok()?)?;
            }
        }
        if version >= TRANSACTIONAL_FROM {
            self.nullable_string(flexible)?;
        }
        self.i16()
    }

    fn nullable_string(&mut self, compact: bool) -> Option<()> {
        let length = if compact {
            self.varint()?.saturating_sub(1)
        } else {
            u32::try_from(self.i16()?).unwrap_or(0)
        };
        self.skip(usize::try_from(length).ok()?)
    }

    fn i16(&mut self) -> Option<i16> {
        let (number, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(i16::from_be_bytes(*number))
    }

    fn varint(&mut self) -> Option<u32> {
        let mut number = 0;
        for at in 0..5 {
            let (byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            number |= u32::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn skip(&mut self, bytes: usize) -> Option<()> {
        self.rest = self.rest.get(bytes..)?;
        Some(())
    }
}

#[cfg(test)]
mod tests;
