//! Which bytes of which segment answer a fetch, and the reading of them.
//!
//! **Where it sits.** Made by the log on its shard's thread, without touching a batch; run by
//! whoever holds it, on any thread, while the log goes on.
//!
//! **What it decides.** Which batches are returned: whole ones, from the one that holds the asked
//! offset, as long as they end before `up_to` and fit into the limit. With `at_least_one` the
//! first is returned whatever its size, so that a small limit cannot stop a consumer.
//!
//! **What it never does.** Return bytes that were not checked: what comes from a file is checked
//! against its CRC, its neighbours and the epochs on record. A bad batch is [`ReadError::Corrupt`]
//! when it is the first; behind good ones it ends the answer, and the next fetch says so. What
//! lies behind it is read by asking for an offset there.

use std::io;

use brooklet_types::{ErrorCode, Offset};
use bytes::Bytes;

use crate::buffers::Buffers;
use crate::disk::DiskFile;
use crate::epoch::Epochs;
use crate::frame::{Frame, Gaps, HEADER_BYTES, Step, Walk};

/// Bytes read beyond the limit, to get from an index entry to the asked batch in the same read.
const SLACK_BYTES: u64 = 8 << 10;

/// Why a read gives nothing.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The offset is not in the log.
    #[error("offset {offset} is outside of {start}..{end}")]
    OutOfRange { offset: Offset, start: Offset, end: Offset },
    /// The bytes that should hold the offset are damaged.
    #[error("{file} at byte {position}: no valid batch for offset {offset}; {next} can be read")]
    Corrupt { file: String, position: u64, offset: Offset, next: Offset },
    /// The disk refused.
    #[error("read {file}: {source}")]
    Disk { file: String, source: io::Error },
}

impl ReadError {
    /// What a client is told.
    pub fn code(&self) -> ErrorCode {
        match self {
            ReadError::OutOfRange { .. } => ErrorCode::OffsetOutOfRange,
            ReadError::Corrupt { .. } => ErrorCode::CorruptMessage,
            ReadError::Disk { .. } => ErrorCode::KafkaStorageError,
        }
    }
}

/// A part of the answer.
#[derive(Clone, Debug)]
pub enum Piece<F> {
    /// Batches that are in memory, chosen and whole.
    Cached(Bytes),
    /// A stretch of a segment.
    File(FilePiece<F>),
}

/// A stretch of a segment in which the answer lies.
#[derive(Clone, Debug)]
pub struct FilePiece<F> {
    /// The file's path, for errors.
    pub path: String,
    /// The open file.
    pub file: F,
    /// Where the segment's data ends.
    pub end: u64,
    /// The segment's base offset.
    pub base: Offset,
    /// The first offset that is not in the segment.
    pub until: Offset,
    /// An index entry: the position of a batch, and that batch's last offset.
    pub hint: Option<(u64, Offset)>,
    /// Where offsets may be missing.
    pub(crate) gaps: Gaps<F>,
}

/// What answers a fetch, in order.
#[derive(Clone, Debug)]
pub struct ReadPlan<F> {
    pub(crate) pieces: Vec<Piece<F>>,
    pub(crate) from: Offset,
    pub(crate) up_to: Offset,
    pub(crate) max_bytes: u32,
    pub(crate) at_least_one: bool,
    pub(crate) epochs: Epochs,
}

/// One answer in the making.
struct Answer {
    chunks: Vec<Bytes>,
    bytes: u64,
    full: bool,
}

/// Whether a read may wait for the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Patience {
    Waits,
    None,
}

/// Where in a piece the reading is.
#[derive(Clone, Copy)]
struct Cursor {
    position: u64,
    /// The offset that comes next; none right at an index entry, where only `last` is known.
    expected: Option<Offset>,
    last: Option<Offset>,
}

impl<F: DiskFile> ReadPlan<F> {
    /// The pieces, in order.
    pub fn pieces(&self) -> &[Piece<F>] {
        &self.pieces
    }

    /// Whether there is nothing to read.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Whether everything is in memory, so that running the plan needs no disk.
    pub fn is_cached(&self) -> bool {
        self.pieces.iter().all(|piece| matches!(piece, Piece::Cached(_)))
    }

    /// How many bytes the answer has, at most; for waiting until there are enough.
    pub fn bytes(&self) -> u64 {
        let pieces = self.pieces.iter().map(|piece| match piece {
            Piece::Cached(bytes) => bytes.len() as u64,
            Piece::File(piece) => piece.end - piece.hint.map_or(0, |hint| hint.0),
        });
        let sum: u64 = pieces.sum();
        if self.is_cached() { sum } else { sum.min(u64::from(self.max_bytes)) }
    }

    /// Reads and checks, waiting for the disk where need be.
    pub fn run(&self, buffers: &mut Buffers) -> Result<Vec<Bytes>, ReadError> {
        let answer = self.answer(Patience::Waits, buffers)?;
        Ok(answer.expect("given up only where there is no patience"))
    }

    /// The same on a thread that may not wait: none when something has to come from the disk.
    pub fn run_ready(&self, buffers: &mut Buffers) -> Result<Option<Vec<Bytes>>, ReadError> {
        self.answer(Patience::None, buffers)
    }

    fn answer(
        &self,
        patience: Patience,
        buffers: &mut Buffers,
    ) -> Result<Option<Vec<Bytes>>, ReadError> {
        let mut answer = Answer { chunks: Vec::new(), bytes: 0, full: false };
        for piece in &self.pieces {
            match piece {
                Piece::Cached(bytes) => answer.chunks.push(bytes.clone()),
                Piece::File(piece) => {
                    if !self.read_piece(piece, patience, buffers, &mut answer)? {
                        return Ok(None);
                    }
                }
            }
            if answer.full {
                break;
            }
        }
        Ok(Some(answer.chunks))
    }

    /// False when it had to wait and had no patience.
    fn read_piece(
        &self,
        piece: &FilePiece<F>,
        patience: Patience,
        buffers: &mut Buffers,
        answer: &mut Answer,
    ) -> Result<bool, ReadError> {
        let from_start = Cursor { position: 0, expected: Some(piece.base), last: None };
        let mut cursor = match piece.hint {
            Some((position, last)) => Cursor { position, expected: None, last: Some(last) },
            None => from_start,
        };
        let mut gaps = piece.gaps.clone();
        let mut wanted = 0;
        while !answer.full && cursor.position < piece.end {
            let left = u64::from(self.max_bytes).saturating_sub(answer.bytes);
            let length = (left + SLACK_BYTES).max(wanted).min(piece.end - cursor.position);
            let chunk = read_exactly(piece, cursor.position, length, patience, buffers)?;
            let Some(chunk) = chunk else { return Ok(false) };
            let before = cursor;
            match self.take(piece, &mut gaps, &chunk, &mut cursor, answer)? {
                Taken::All => wanted = 0,
                Taken::Needs(bytes) => wanted = bytes,
                Taken::Bad if cursor.expected.is_none() => cursor = from_start,
                Taken::Bad if !answer.chunks.is_empty() => answer.full = true,
                // Looking for the next good batch may take long.
                Taken::Bad if patience == Patience::None => return Ok(false),
                Taken::Bad => cursor = self.pass_bad(piece, cursor)?,
            }
            // Every turn moves on, asks for more, or falls back to the start once.
            assert!(
                cursor.position != before.position
                    || wanted > length
                    || cursor.expected != before.expected
                    || answer.full,
                "a read that does not move"
            );
        }
        Ok(true)
    }

    /// Takes whole batches from `chunk`, which begins at the cursor.
    fn take(
        &self,
        piece: &FilePiece<F>,
        gaps: &mut Gaps<F>,
        chunk: &Bytes,
        cursor: &mut Cursor,
        answer: &mut Answer,
    ) -> Result<Taken, ReadError> {
        let origin = cursor.position;
        let mut run: Option<(usize, usize)> = None;
        let taken = loop {
            let at = index(cursor.position - origin);
            let rest = &chunk[at..];
            if cursor.position >= piece.end {
                break Taken::All;
            }
            if rest.len() < HEADER_BYTES {
                break self.starved(piece, cursor, HEADER_BYTES as u64);
            }
            let Some(frame) = Frame::parse(rest, cursor.position) else { break Taken::Bad };
            if frame.end() > piece.end {
                break Taken::Bad;
            }
            if self.ends_before(&frame, answer) {
                answer.full = true;
                break Taken::All;
            }
            if (rest.len() as u64) < frame.bytes {
                break self.starved(piece, cursor, frame.bytes);
            }
            let batch = &rest[..index(frame.bytes)];
            if !self.is_right(piece, gaps, &frame, batch, cursor)? {
                break Taken::Bad;
            }
            *cursor =
                Cursor { position: frame.end(), expected: Some(frame.last.next()), last: None };
            if frame.last < self.from {
                continue;
            }
            if frame.last >= self.up_to {
                answer.full = true;
                break Taken::All;
            }
            answer.bytes += frame.bytes;
            let start = run.map_or(at, |run| run.0);
            run = Some((start, index(frame.end() - origin)));
        };
        if let Some((start, end)) = run {
            answer.chunks.push(chunk.slice(start..end));
        }
        Ok(taken)
    }

    /// Whether the answer ends before this batch, going by its header alone.
    ///
    /// A header may be damaged, and an answer that is empty for no reason holds a consumer up for
    /// ever. So the first batch is looked at in whole, unless it is too long for a partition that
    /// may return nothing: that one has its turn at being first in another fetch.
    fn ends_before(&self, frame: &Frame, answer: &Answer) -> bool {
        let fits = answer.bytes + frame.bytes <= u64::from(self.max_bytes);
        if answer.bytes > 0 {
            return !fits || frame.last >= self.up_to;
        }
        !fits && !self.at_least_one && frame.last >= self.from
    }

    fn starved(&self, piece: &FilePiece<F>, cursor: &Cursor, needed: u64) -> Taken {
        if cursor.position + needed > piece.end { Taken::Bad } else { Taken::Needs(needed) }
    }

    /// Whether a batch is what was stored here.
    fn is_right(
        &self,
        piece: &FilePiece<F>,
        gaps: &mut Gaps<F>,
        frame: &Frame,
        batch: &[u8],
        cursor: &Cursor,
    ) -> Result<bool, ReadError> {
        let disk = |source| ReadError::Disk { file: piece.path.clone(), source };
        let placed = match cursor.expected {
            Some(expected) => gaps.allow(frame, expected).map_err(disk)?,
            None => cursor.last == Some(frame.last),
        };
        let epoch = self.epochs.at(frame.base);
        Ok(placed
            && frame.last < piece.until
            && epoch.is_none_or(|epoch| epoch == frame.epoch)
            && Frame::is_intact(batch))
    }

    /// Gets past damage, or says that it is what was asked for.
    fn pass_bad(&self, piece: &FilePiece<F>, cursor: Cursor) -> Result<Cursor, ReadError> {
        let expected = cursor.expected.expect("a bad batch at an index entry starts over");
        let disk = |source| ReadError::Disk { file: piece.path.clone(), source };
        let gaps = piece.gaps.clone();
        let mut walk = Walk::new(&piece.file, cursor.position, piece.end, expected, gaps);
        let (end, next) = match walk.step().map_err(disk)? {
            // Right by itself, but of an epoch or an offset that was never here.
            Step::Batch(frame) => (frame.end(), frame.last.next()),
            Step::Bad { end, next, .. } => (end, next),
            Step::End { .. } => (piece.end, piece.until),
        };
        let next = next.min(piece.until);
        if self.from < next {
            let (file, position) = (piece.path.clone(), cursor.position);
            let offset = self.from.max(expected);
            return Err(ReadError::Corrupt { file, position, offset, next });
        }
        Ok(Cursor { position: end, expected: Some(next), last: None })
    }
}

/// How far [`ReadPlan::take`] got.
enum Taken {
    /// Through the chunk.
    All,
    /// To a batch of which this many bytes are needed.
    Needs(u64),
    /// To something that is not what was stored.
    Bad,
}

fn index(bytes: u64) -> usize {
    usize::try_from(bytes).expect("within a chunk in memory")
}

/// None when it would have to wait.
fn read_exactly<F: DiskFile>(
    piece: &FilePiece<F>,
    position: u64,
    length: u64,
    patience: Patience,
    buffers: &mut Buffers,
) -> Result<Option<Bytes>, ReadError> {
    let disk = |source| ReadError::Disk { file: piece.path.clone(), source };
    let mut buffer = buffers.take(index(length));
    let wanted = &mut buffer[..index(length)];
    let read = match patience {
        Patience::Waits => piece.file.read_at(wanted, position),
        Patience::None => piece.file.read_ready_at(wanted, position),
    };
    let read = read.map_err(disk)?;
    if read as u64 == length {
        return Ok(Some(buffers.lend(buffer, read)));
    }
    if patience == Patience::None {
        return Ok(None);
    }
    let source = io::Error::new(io::ErrorKind::UnexpectedEof, format!("ends at {read}"));
    Err(disk(source))
}

#[cfg(test)]
mod tests;
