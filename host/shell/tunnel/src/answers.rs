//! Answers as they pass, each with what was asked.
//!
//! **Decides** which answers pass as they are, which are gathered and rewritten, and which are walked. **Never** waits: bytes go
//! in and bytes come out.
//!
//! **Invariants.**
//! 1. An answer that was not asked for, or not now, ends the connection: what follows could be taken for something else.
//! 2. What is kept is at most an answer with addresses ([`REWRITE_BYTES_MAX`]) or the end of a Fetch answer
//!    ([`TAIL_BYTES_MAX`]), and grows as its bytes arrive.

use brooklet_wire::message::{Bytes, BytesMut};
use brooklet_wire::version::Api;

use crate::fetch::{ADDRESSES_FROM, TAIL_BYTES_MAX, Walk, WalkError, rewrite_tail};
use crate::requests::Expected;
use crate::rewrite::{Local, REWRITE_BYTES_MAX, RewriteError, has_addresses, rewrite};

/// The length and the correlation id: what every answer begins with.
const START_BYTES: usize = 8;
/// The correlation id, which the length counts.
const CORRELATION_BYTES: usize = 4;

/// Why a broker's answers are not followed any further.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AnswersError {
    /// The length field is no length.
    #[error("answer of {claimed} bytes")]
    Length { claimed: i32 },
    /// Nothing was asked.
    #[error("answer {correlation} to nothing")]
    Unasked { correlation: i32 },
    /// Something else was asked.
    #[error("answer {correlation} where {expected} is due")]
    OutOfStep { correlation: i32, expected: i32 },
    /// More than is gathered.
    #[error(
        "{bytes} bytes of an answer to API {api} would have to be rewritten, the limit is {limit}"
    )]
    TooLarge { api: i16, bytes: usize, limit: usize },
    /// A Fetch answer that is none.
    #[error(transparent)]
    Walk(#[from] WalkError),
    /// Addresses that cannot be rewritten.
    #[error("rewrite: {0}")]
    Rewrite(#[from] RewriteError),
}

/// Where in the stream of answers we are.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    /// How an answer begins, as far as it is here.
    start: Vec<u8>,
    /// What becomes of its bytes.
    fate: Fate,
    /// How many of them are still to come.
    left: usize,
}

#[derive(Debug, Default)]
enum Fate {
    /// They pass.
    #[default]
    Pass,
    /// They are gathered, all of them.
    Gather { expected: Expected, frame: BytesMut },
    /// They pass up to the last of them.
    Walk { version: i16, walk: Box<Walk> },
    /// They are the last of a Fetch answer, and gathered.
    Tail { version: i16, tail: BytesMut },
}

impl Answers {
    /// Takes the next bytes from a broker, and adds to `out` what a client is to be sent. `next` says what was asked,
    /// in order; `local` where doors are.
    pub(crate) fn take(
        &mut self,
        mut bytes: &[u8],
        mut next: impl FnMut() -> Option<Expected>,
        local: &mut Local<'_>,
        out: &mut BytesMut,
    ) -> Result<(), AnswersError> {
        while !bytes.is_empty() {
            if self.left == 0 {
                let (start, rest) = bytes.split_at(bytes.len().min(START_BYTES - self.start.len()));
                self.start.extend_from_slice(start);
                bytes = rest;
                if let Some(start) = self.start.first_chunk::<START_BYTES>() {
                    let start = *start;
                    self.start.clear();
                    self.begin(start, &mut next, out)?;
                }
            } else {
                let here = bytes.len().min(self.left);
                let taken = self.take_some(&bytes[..here], out)?;
                bytes = &bytes[taken..];
                self.left -= taken;
            }
            if self.left == 0 && self.start.is_empty() {
                self.end(local, out)?;
            }
        }
        Ok(())
    }

    /// Whether a broker owes the rest of an answer.
    pub(crate) fn is_within(&self) -> bool {
        self.left > 0 || !self.start.is_empty()
    }

    fn begin(
        &mut self,
        start: [u8; START_BYTES],
        next: &mut impl FnMut() -> Option<Expected>,
        out: &mut BytesMut,
    ) -> Result<(), AnswersError> {
        let [a, b, c, d, e, f, g, h] = start;
        let claimed = i32::from_be_bytes([a, b, c, d]);
        let correlation = i32::from_be_bytes([e, f, g, h]);
        let left = usize::try_from(claimed).ok().and_then(|it| it.checked_sub(CORRELATION_BYTES));
        self.left = left.ok_or(AnswersError::Length { claimed })?;
        let asked = next().ok_or(AnswersError::Unasked { correlation })?;
        if asked.correlation != correlation {
            let expected = asked.correlation;
            return Err(AnswersError::OutOfStep { correlation, expected });
        }
        let Expected { api, version, .. } = asked;
        if has_addresses(asked) {
            let (bytes, limit) = (self.left, REWRITE_BYTES_MAX);
            if bytes > limit {
                return Err(AnswersError::TooLarge { api, bytes, limit });
            }
            self.fate = Fate::Gather { expected: asked, frame: BytesMut::from(&[e, f, g, h][..]) };
            return Ok(());
        }
        out.extend_from_slice(&start);
        self.fate = if api == Api::Fetch.key() && version >= ADDRESSES_FROM {
            Fate::Walk { version, walk: Box::new(Walk::new()) }
        } else {
            Fate::Pass
        };
        Ok(())
    }

    /// Takes bytes of one answer, and says how many: fewer only where another fate begins.
    fn take_some(&mut self, bytes: &[u8], out: &mut BytesMut) -> Result<usize, AnswersError> {
        match &mut self.fate {
            Fate::Pass => out.extend_from_slice(bytes),
            Fate::Gather { frame, .. } => frame.extend_from_slice(bytes),
            Fate::Tail { tail, .. } => tail.extend_from_slice(bytes),
            Fate::Walk { version, walk } => {
                let passed = walk.pass(bytes)?;
                out.extend_from_slice(&bytes[..passed]);
                if walk.has_arrived() {
                    let (bytes, limit) = (self.left - passed, TAIL_BYTES_MAX);
                    if bytes > limit {
                        return Err(AnswersError::TooLarge { api: Api::Fetch.key(), bytes, limit });
                    }
                    self.fate = Fate::Tail { version: *version, tail: BytesMut::new() };
                }
                return Ok(passed);
            }
        }
        Ok(bytes.len())
    }

    /// An answer is here as a whole.
    fn end(&mut self, local: &mut Local<'_>, out: &mut BytesMut) -> Result<(), AnswersError> {
        match std::mem::take(&mut self.fate) {
            // An answer that ends on the way is cut short; its client finds what is wrong with it.
            Fate::Pass | Fate::Walk { .. } => {}
            Fate::Gather { expected, frame } => {
                let frame: Bytes = frame.freeze();
                match rewrite(&frame, expected, local)? {
                    Some(rewritten) => out.extend_from_slice(&rewritten),
                    None => {
                        let length = u32::try_from(frame.len()).expect("limited to 16 MiB");
                        out.extend_from_slice(&length.to_be_bytes());
                        out.extend_from_slice(&frame);
                    }
                }
            }
            Fate::Tail { version, tail } => {
                out.extend_from_slice(&rewrite_tail(tail.freeze(), version, local)?);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
