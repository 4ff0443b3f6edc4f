//! A stored batch as the storage sees it: where it lies, what it covers, whether it is whole.
//!
//! **Where it sits.** Between the bytes of a segment and everything that walks over them:
//! recovery, reads, lookups.
//!
//! **What it decides.** Whether bytes are a batch, and what to do at bytes that are not: find the
//! next batch that is, so that one bad batch takes nothing along ([`Step::Bad`]).
//!
//! **What it never does.** Decompress, look at records, or believe a length before it is compared
//! with what is there.
//!
//! **How flips are found.** The CRC covers a batch from its attributes on. Before it stand four
//! fields. A wrong length moves the CRC's end and fails it; a wrong magic is no batch. A wrong leader
//! epoch is compared with the epochs on record. A wrong base offset leaves a gap or an overlap with
//! the batch before: batches adjoin, but where compaction took what was between them, here or at the
//! leader that they are copied from, and there the segment's index names the batch behind the gap ([`Gaps`]).

use std::io;

use brooklet_types::{LeaderEpoch, Offset, Timestamp, limits};
use brooklet_wire::batch::BatchHeader;
use brooklet_wire::checksum;

use crate::disk::DiskFile;
use crate::offset_index::{self, Entry, Named};

/// Bytes of a batch header. Kafka's `RECORD_BATCH_OVERHEAD`.
pub(crate) const HEADER_BYTES: usize = 61;

/// Where a batch says of which format it is, and what it says there.
const MAGIC_AT: usize = 16;
const MAGIC: u8 = 2;

/// Bytes before the ones that the length field counts: base offset and length.
const LENGTH_OVERHEAD: u64 = 12;

/// Offsets in a segment: an index has 31 bits for them.
pub(crate) const SEGMENT_OFFSETS_MAX: u64 = i32::MAX as u64;

/// Bytes read ahead at once while walking.
const WINDOW_BYTES: usize = 256 << 10;

/// A page: what a lost write leaves as zeroes.
const PAGE_BYTES: u64 = 4096;

/// Zeroes at the end of a batch that is not whole that mean that its end was not written. An
/// ordinary batch ends in one: the last record's number of headers.
const UNWRITTEN_BYTES_MIN: u64 = 8;

/// Bytes of false candidates that a search behind a bad batch may checksum, so that a segment
/// full of headers that lead nowhere cannot make recovery quadratic.
const SEARCH_BYTES_MAX: u64 = 256 << 20;

/// What a batch says about itself, as far as storage cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) position: u64,
    pub(crate) base: Offset,
    pub(crate) last: Offset,
    pub(crate) bytes: u64,
    pub(crate) epoch: LeaderEpoch,
    /// The newest record's; none of a batch that compaction has emptied.
    pub(crate) max_timestamp: Timestamp,
}

/// A stretch of a segment that is no batch, and the offsets it would have held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hole {
    /// The segment's file.
    pub file: String,
    /// Where the damage begins in it, and the next whole batch.
    pub position: u64,
    /// Where the next whole batch begins, or the file ends.
    pub end: u64,
    /// The first offset that is lost.
    pub from: Offset,
    /// The first offset behind the damage.
    pub next: Offset,
}

/// What a walk finds next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Batch(Frame),
    /// Not a batch; `next` is the base of the whole one at `end`.
    Bad {
        position: u64,
        end: u64,
        next: Offset,
    },
    /// Nothing valid from here on.
    End {
        position: u64,
    },
}

/// Whether a whole batch has the offset that it was stored with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Right,
    /// Behind a gap whose entry was lost with the power.
    Unnamed,
    Wrong,
}

impl Frame {
    /// Reads a header; none when no batch of ours begins so. Does not look at the CRC.
    pub(crate) fn parse(bytes: &[u8], position: u64) -> Option<Frame> {
        let field = |at: usize| bytes.get(at..at + 8).and_then(|field| field.try_into().ok());
        let short = |at: usize| bytes.get(at..at + 4).and_then(|field| field.try_into().ok());
        if bytes.len() < HEADER_BYTES || bytes[MAGIC_AT] != MAGIC {
            return None;
        }
        let length = u64::try_from(i32::from_be_bytes(short(8)?)).ok()?;
        let total = length + LENGTH_OVERHEAD;
        if total < HEADER_BYTES as u64 || total > limits::FRAME_BYTES_MAX as u64 {
            return None;
        }
        let base = Offset::from_wire(i64::from_be_bytes(field(0)?))?;
        let delta = i32::from_be_bytes(short(23)?);
        let last = base.to_wire().checked_add(i64::from(delta)).filter(|_| delta >= 0)?;
        Some(Frame {
            position,
            base,
            // One beyond must be an offset too: it is where the log ends.
            last: Offset::from_wire(last).filter(|last| *last < Offset::MAX)?,
            bytes: total,
            epoch: LeaderEpoch::from_wire(i32::from_be_bytes(short(12)?))?,
            max_timestamp: match i32::from_be_bytes(short(57)?) {
                0 => Timestamp::NONE,
                _ => Timestamp(i64::from_be_bytes(field(35)?)),
            },
        })
    }

    /// Whether the CRC of a whole batch is right.
    pub(crate) fn is_intact(batch: &[u8]) -> bool {
        let Some(stored) = batch.get(17..21).and_then(|field| field.try_into().ok()) else {
            return false;
        };
        crc(&batch[21..]) == u32::from_be_bytes(stored)
    }

    pub(crate) fn end(&self) -> u64 {
        self.position + self.bytes
    }
}

/// CRC-32C.
pub(crate) fn crc(bytes: &[u8]) -> u32 {
    checksum::of(bytes)
}

/// Where offsets may be missing between two batches without any damage.
#[derive(Clone, Debug)]
pub(crate) enum Gaps<F> {
    /// Nowhere: what is read was never compacted.
    Nowhere,
    /// Before batches that the segment's index names.
    Named(Named<F>),
    /// The same of an index that was read whole and may be torn: position and last offset, sorted.
    Listed(Vec<(u64, Offset)>),
    /// Anywhere: what is read was compacted, and its index is lost.
    Anywhere,
}

impl<F: DiskFile> Gaps<F> {
    /// What the bytes of an index of the segment at `base` name, whatever is between the entries.
    pub(crate) fn listed(index: &[u8], base: Offset) -> Gaps<F> {
        let entries = index.chunks_exact(offset_index::ENTRY_BYTES).filter_map(Entry::parse);
        let named = entries.map(|entry| {
            (u64::from(entry.position), Offset::new(base.value() + u64::from(entry.relative)))
        });
        let mut listed: Vec<_> = named.collect();
        listed.sort_unstable();
        Gaps::Listed(listed)
    }

    /// Whether what was read whole has an entry for a batch at `position`.
    fn name(&self, position: u64) -> bool {
        match self {
            Gaps::Listed(named) => {
                let at = named.partition_point(|named| named.0 < position);
                named.get(at).is_some_and(|named| named.0 == position)
            }
            Gaps::Nowhere | Gaps::Named(_) | Gaps::Anywhere => false,
        }
    }

    /// Whether a batch that lies behind `expected` may do so.
    pub(crate) fn allow(&mut self, frame: &Frame, expected: Offset) -> io::Result<bool> {
        if frame.base <= expected {
            return Ok(frame.base == expected);
        }
        match self {
            Gaps::Nowhere => Ok(false),
            Gaps::Named(named) => named.has(frame.position, frame.last),
            Gaps::Listed(named) => Ok(named.binary_search(&(frame.position, frame.last)).is_ok()),
            Gaps::Anywhere => Ok(true),
        }
    }
}

/// A walk over the batches of one segment file, checking each.
pub(crate) struct Walk<'a, F> {
    file: &'a F,
    position: u64,
    limit: u64,
    /// A batch further from here than a segment reaches is none.
    first: Offset,
    expected: Offset,
    gaps: Gaps<F>,
    /// Behind this offset the walk ends where a write was lost, rather than look for batches behind.
    durable_until: Option<Offset>,
    /// Where the next segment begins.
    until: Option<Offset>,
    /// The walk has ended before a batch whose entry in the index was lost.
    lost_name: bool,
    /// Bytes that were read: the first `window_bytes` of it, from `window_start` on.
    window: Vec<u8>,
    window_start: u64,
    window_bytes: usize,
}

impl<'a, F: DiskFile> Walk<'a, F> {
    /// From `position`, where the first batch may not begin before offset `expected`, to `limit`.
    pub(crate) fn new(
        file: &'a F,
        position: u64,
        limit: u64,
        expected: Offset,
        gaps: Gaps<F>,
    ) -> Walk<'a, F> {
        Walk {
            file,
            position,
            limit,
            first: expected,
            expected,
            gaps,
            durable_until: None,
            until: None,
            lost_name: false,
            window: Vec::new(),
            window_start: position,
            window_bytes: 0,
        }
    }

    /// The walk of a start: reserved space that was not written to ends it, however much there is, and so
    /// does a gap whose entry was lost. Before `durable_until` no write can have been. The next segment,
    /// if there is one, begins at `until`.
    pub(crate) fn after_lost_power(
        mut self,
        durable_until: Offset,
        until: Option<Offset>,
    ) -> Walk<'a, F> {
        (self.durable_until, self.until) = (Some(durable_until), until);
        self
    }

    /// Whether the walk has ended before a batch whose entry in the index was lost with the power.
    pub(crate) fn has_lost_name(&self) -> bool {
        self.lost_name
    }

    /// The next batch, or what is there instead.
    pub(crate) fn step(&mut self) -> io::Result<Step> {
        let position = self.position;
        if position + HEADER_BYTES as u64 > self.limit {
            return Ok(Step::End { position });
        }
        if let Some(frame) = self.whole_at(position)? {
            match self.place_of(&frame)? {
                Place::Right => {
                    self.position = frame.end();
                    self.expected = frame.last.next();
                    return Ok(Step::Batch(frame));
                }
                Place::Unnamed => {
                    self.lost_name = true;
                    return Ok(Step::End { position });
                }
                Place::Wrong => {}
            }
        }
        if self.durable_until.is_some_and(|durable| durable <= self.expected) {
            let page_end = (position + LENGTH_OVERHEAD).next_multiple_of(PAGE_BYTES);
            if self.has_lost_page(position, page_end.min(self.limit), self.expected)? {
                return Ok(Step::End { position });
            }
        }
        let Some(next) = self.search()? else { return Ok(Step::End { position }) };
        self.position = next.position;
        self.expected = next.base;
        Ok(Step::Bad { position, end: next.position, next: next.base })
    }

    /// Whether a whole batch has its own offset. A start also looks at what follows where no entry explains
    /// a gap: what adjoins bears the batch out, what lies before its end or is named itself speaks
    /// against it, since entries are written in order.
    fn place_of(&mut self, frame: &Frame) -> io::Result<Place> {
        if self.gaps.allow(frame, self.expected)? {
            return Ok(Place::Right);
        }
        let Some(durable) = self.durable_until.filter(|_| frame.base > self.expected) else {
            return Ok(Place::Wrong);
        };
        let (end, follows) = (frame.end(), frame.last.next());
        let ends = end == self.limit;
        let next = self.whole_at(end)?;
        let next_base = if ends { self.until } else { next.map(|next| next.base) };
        if next_base == Some(follows) {
            return Ok(Place::Right);
        }
        // There is an entry, and it says something else.
        if durable > self.expected || self.gaps.name(frame.position) {
            return Ok(Place::Wrong);
        }
        let lost = match next {
            Some(next) => next.base > follows && !self.gaps.allow(&next, follows)?,
            None if ends => next_base.is_some_and(|next| next > follows),
            None => {
                let page_end = (end + LENGTH_OVERHEAD).next_multiple_of(PAGE_BYTES);
                self.has_lost_page(end, page_end.min(self.limit), follows)?
                    || self.is_cut_short(end)?
            }
        };
        Ok(if lost { Place::Unnamed } else { Place::Wrong })
    }

    /// Whether what stands from `position` to the end is the beginning of a batch whose rest was never
    /// written. Either it announces more than there is, and its checksum does not fit what there is
    /// (a flipped bit in a length announces as much, but leaves the checksum right), or it ends in
    /// the zeroes of reserved space.
    pub(crate) fn is_cut_short(&mut self, position: u64) -> io::Result<bool> {
        let rest = usize::try_from(self.limit.saturating_sub(position)).unwrap_or(usize::MAX);
        if rest > limits::FRAME_BYTES_MAX {
            return Ok(false);
        }
        let rest = self.bytes_at(position, rest)?;
        let Some((length, crc)) = rest.get(8..12).zip(rest.get(17..21)) else { return Ok(true) };
        let number = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().expect("four bytes"));
        let announced = LENGTH_OVERHEAD + u64::from(number(length));
        let there = rest.len() as u64;
        if announced > there {
            return Ok(checksum::of(&rest[21..]) != number(crc));
        }
        let zeroes = rest.iter().rev().take_while(|byte| **byte == 0).count() as u64;
        Ok(zeroes >= there - announced + UNWRITTEN_BYTES_MIN)
    }

    /// The bytes of a batch that a step found.
    pub(crate) fn bytes(&mut self, frame: &Frame) -> io::Result<&[u8]> {
        self.bytes_at(frame.position, usize::try_from(frame.bytes).expect("at most a frame"))
    }

    /// All of the header of a batch that a step found.
    pub(crate) fn header(&mut self, frame: &Frame) -> io::Result<Option<BatchHeader>> {
        Ok(BatchHeader::parse(self.bytes_at(frame.position, HEADER_BYTES)?).ok())
    }

    /// Whether a page of `[from, to)` is as it was before the batch of offset `expected` was written
    /// at `from`: space that was reserved and whose write was lost with the power, rather than
    /// data that went bad. Behind the batches before it such a page holds nothing but zeroes.
    pub(crate) fn has_lost_page(
        &mut self,
        from: u64,
        to: u64,
        expected: Offset,
    ) -> io::Result<bool> {
        let mut page = from.next_multiple_of(PAGE_BYTES);
        let length = usize::try_from(page.min(to) - from).expect("at most a page");
        let rest = self.bytes_at(from, length)?;
        // A batch may begin with zeroes: what is small of its offset, but not its length, too.
        let offset = expected.to_wire().to_be_bytes();
        let begun = offset.iter().take(length).any(|byte| *byte != 0);
        let telling = begun || length as u64 >= LENGTH_OVERHEAD;
        if telling && rest.iter().all(|byte| *byte == 0) {
            return Ok(true);
        }
        while page + PAGE_BYTES <= to {
            if self.bytes_at(page, PAGE_BYTES as usize)?.iter().all(|byte| *byte == 0) {
                return Ok(true);
            }
            page += PAGE_BYTES;
        }
        // The last page of a file that ends in it. Elsewhere the page holds what lies at `to`.
        let length = usize::try_from(to.saturating_sub(page)).expect("less than a page");
        Ok(to == self.limit
            && length > 0
            && self.bytes_at(page, length)?.iter().all(|byte| *byte == 0))
    }

    /// The batch at `position`, if a whole one with the right CRC is there.
    fn whole_at(&mut self, position: u64) -> io::Result<Option<Frame>> {
        let limit = self.limit;
        let Some(frame) = Frame::parse(self.bytes_at(position, HEADER_BYTES)?, position) else {
            return Ok(None);
        };
        if frame.end() > limit || frame.last.distance_from(self.first) > SEGMENT_OFFSETS_MAX {
            return Ok(None);
        }
        let length = usize::try_from(frame.bytes).expect("at most a frame");
        let batch = self.bytes_at(position, length)?;
        Ok((batch.len() == length && Frame::is_intact(batch)).then_some(frame))
    }

    /// The first whole batch behind the bad bytes at `self.position`.
    fn search(&mut self) -> io::Result<Option<Frame>> {
        let from = self.position;
        // Where the length is unhurt it says where the next batch is.
        let header = Frame::parse(self.bytes_at(from, HEADER_BYTES)?, from);
        if let Some(end) = header.map(|frame| frame.end())
            && let Some(next) = self.candidate(end)?
        {
            return Ok(Some(next));
        }
        let mut budget = SEARCH_BYTES_MAX;
        let mut position = from + 1;
        while let Some(frame) = self.plausible_from(position)? {
            let Some(rest) = budget.checked_sub(frame.bytes) else { return Ok(None) };
            budget = rest;
            if let Some(next) = self.candidate(frame.position)? {
                return Ok(Some(next));
            }
            position = frame.position + 1;
        }
        Ok(None)
    }

    /// The next header at or behind `position` that could follow something bad.
    fn plausible_from(&mut self, mut position: u64) -> io::Result<Option<Frame>> {
        let (expected, limit) = (self.expected, self.limit);
        while position + HEADER_BYTES as u64 <= limit {
            let bytes = self.bytes_at(position, WINDOW_BYTES / 4)?;
            let heads = bytes.windows(HEADER_BYTES).zip(position..);
            // The magic decides about nearly all of them.
            let mut frames = heads
                .filter(|(head, _)| head[MAGIC_AT] == MAGIC)
                .filter_map(|(head, at)| Frame::parse(head, at));
            let plausible = frames.find(|frame| {
                let follows = frame.base > expected && frame.base.since(expected).is_some();
                follows && frame.end() <= limit
            });
            if plausible.is_some() || bytes.len() < HEADER_BYTES {
                return Ok(plausible);
            }
            position += (bytes.len() - HEADER_BYTES) as u64 + 1;
        }
        Ok(None)
    }

    /// A whole batch at `position` that can follow something bad at `self.expected`.
    fn candidate(&mut self, position: u64) -> io::Result<Option<Frame>> {
        let expected = self.expected;
        Ok(self.whole_at(position)?.filter(|next| next.base > expected))
    }

    /// `length` bytes at `position`, or fewer where the limit is.
    fn bytes_at(&mut self, position: u64, length: usize) -> io::Result<&[u8]> {
        let room = usize::try_from(self.limit.saturating_sub(position)).unwrap_or(usize::MAX);
        let length = length.min(room);
        let at = position.checked_sub(self.window_start).and_then(|at| usize::try_from(at).ok());
        let at = at.filter(|at| *at <= self.window_bytes).unwrap_or(self.window_bytes);
        if self.window_start + at as u64 == position && at + length <= self.window_bytes {
            return Ok(&self.window[at..at + length]);
        }
        // What is there already is not read again.
        let kept =
            if self.window_start + at as u64 == position { self.window_bytes - at } else { 0 };
        self.window.copy_within(at..at + kept, 0);
        let wanted = length.max(WINDOW_BYTES.min(room));
        if self.window.len() < wanted {
            self.window.resize(wanted, 0);
        }
        let fresh = &mut self.window[kept..wanted];
        let read = kept + self.file.read_at(fresh, position + kept as u64)?;
        (self.window_start, self.window_bytes) = (position, read);
        Ok(&self.window[..length.min(read)])
    }
}
