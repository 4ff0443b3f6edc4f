//! Finding records by time.
//!
//! **Where it sits.** On the shard's thread, as in Kafka on the request's: the indexes bound what has
//! to be read.
//!
//! **What it decides.** Which record is the first that is not older than a time, and which is the
//! newest: the record itself, within its batch.

use std::io;

use brooklet_types::{Offset, Timestamp};
use brooklet_wire::batch::{self, BatchHeader};
use bytes::Bytes;

use crate::buffers::Buffers;
use crate::disk::{Disk, DiskFile};
use crate::log::Log;
use crate::plan::ReadError;
use crate::{segment, time_index};

/// Bytes read at a time. An index entry stands every few KiB, so the first read usually has it.
const READ_BYTES: u32 = 256 << 10;

/// An index is read whole; Kafka's default limit is 10 MiB.
const INDEX_BYTES_MAX: u64 = 64 << 20;

impl<D: Disk> Log<D> {
    /// The first record whose timestamp is `timestamp` or later.
    pub fn offset_for_time(
        &self,
        timestamp: Timestamp,
    ) -> Result<Option<(Timestamp, Offset)>, ReadError> {
        let reaches = |newest: Option<(Timestamp, Offset)>| {
            newest.is_some_and(|(newest, last)| newest >= timestamp && last >= self.start)
        };
        let closed = self.closed.values().find(|segment| reaches(segment.newest));
        let from = match closed {
            Some(segment) => self.closed_offset_before(segment.base, timestamp),
            None if reaches(self.active.newest) => self.active.offset_before(timestamp),
            None => return Ok(None),
        };
        self.search(
            from.max(self.start),
            |header| header.max_timestamp >= timestamp,
            |found| found.0 >= timestamp,
        )
    }

    /// The record with the newest timestamp, the first of several.
    pub fn max_timestamp(&self) -> Result<Option<(Timestamp, Offset)>, ReadError> {
        let closed = self.closed.values().map(|segment| segment.newest);
        let all = closed.chain([self.active.newest]).flatten();
        // The first of equals: `max_by_key` would take the last.
        let newest = all.reduce(|best, next| if next.0 > best.0 { next } else { best });
        let Some((timestamp, last)) = newest else { return Ok(None) };
        self.search(last.max(self.start), |_| true, |found| found.0 >= timestamp)
    }

    /// The first record that `wanted` accepts, in the batches from the one that holds `from` on that
    /// `promising` accepts.
    fn search(
        &self,
        from: Offset,
        promising: impl Fn(&BatchHeader) -> bool,
        wanted: impl Fn(&(Timestamp, Offset)) -> bool,
    ) -> Result<Option<(Timestamp, Offset)>, ReadError> {
        let mut next = from;
        let mut buffers = Buffers::default();
        while next < self.end {
            let chunks = self.read(next, self.end, READ_BYTES, true)?.run(&mut buffers)?;
            let before = next;
            for chunk in chunks {
                for (header, bytes) in batch::split(&chunk).map_while(Result::ok) {
                    next = header.last_offset().next();
                    if promising(&header)
                        && let Some(found) = first_record(bytes, &wanted, self.start)
                    {
                        return Ok(Some(found));
                    }
                }
            }
            if next == before {
                break;
            }
        }
        Ok(None)
    }

    /// The offset in a closed segment before which every record is older; its base when the index
    /// does not say.
    fn closed_offset_before(&self, base: Offset, timestamp: Timestamp) -> Offset {
        let path = segment::path(&self.folder, base, "timeindex");
        let entries = self.disk.open(&path).and_then(|file| read_index(&file));
        let entries = entries.ok().and_then(|bytes| time_index::parse_all(&bytes));
        entries.map_or(base, |entries| time_index::offset_before(&entries, base, timestamp))
    }
}

fn first_record(
    bytes: &[u8],
    wanted: impl Fn(&(Timestamp, Offset)) -> bool,
    start: Offset,
) -> Option<(Timestamp, Offset)> {
    let records = batch::records(bytes).ok()?;
    let found = records.iter().map_while(Result::ok).map(|it| (it.timestamp, it.offset));
    found.filter(|(_, offset)| *offset >= start).find(|found| wanted(found))
}

fn read_index<F: DiskFile>(file: &F) -> io::Result<Bytes> {
    let length = file.len()?.min(INDEX_BYTES_MAX);
    let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
    let read = file.read_at(&mut bytes, 0)?;
    bytes.truncate(read);
    Ok(bytes.into())
}

#[cfg(test)]
mod tests {
    use brooklet_types::{ByteSize, LeaderEpoch};
    use brooklet_wire::batch::BatchBuilder;
    use brooklet_wire::compress::Codec;

    use super::*;
    use crate::disk::memory::MemoryDisk;
    use crate::validate::ValidatedBatch;
    use crate::{LogSettings, TailBudget};

    /// A log of three-record batches with these timestamps, in segments of a few batches.
    fn log_of(batches: &[[i64; 3]]) -> Log<MemoryDisk> {
        let settings = LogSettings {
            segment_bytes: 600,
            index_interval_bytes: 100,
            disk_reserve: ByteSize(0),
            ..LogSettings::default()
        };
        let disk = MemoryDisk::default();
        let mut log = Log::open(disk, "topics/t-0", settings, TailBudget::new(0)).unwrap();
        for times in batches {
            let mut builder = BatchBuilder::new(Codec::Lz4);
            for time in times {
                builder.push(Timestamp(*time), None, Some(b"value"), &[]).unwrap();
            }
            let batch = ValidatedBatch::trusted(builder.build().unwrap());
            log.append(&batch, LeaderEpoch(0), Timestamp(0)).unwrap();
        }
        log
    }

    #[test]
    fn a_time_is_found_within_its_batch() {
        let batches: Vec<[i64; 3]> = (0..60).map(|n| [n * 30, n * 30 + 10, n * 30 + 20]).collect();
        let log = log_of(&batches);
        assert!(log.segment_count() > 3);
        for wanted in 0..1800 {
            let offset = (wanted + 9) / 10;
            let expected = (offset < 180)
                .then(|| (Timestamp(offset * 10), Offset::new(offset.try_into().unwrap())));
            assert_eq!(log.offset_for_time(Timestamp(wanted)).unwrap(), expected, "{wanted}");
        }
        assert_eq!(log.offset_for_time(Timestamp(1791)).unwrap(), None);
        assert_eq!(log.max_timestamp().unwrap(), Some((Timestamp(1790), Offset::new(179))));
    }

    #[test]
    fn times_that_jump_are_found_where_they_are_first_reached() {
        let log = log_of(&[[5, 5, 5], [100, 20, 30], [7, 7, 7], [100, 120, 60], [8, 8, 8]]);
        let found = |time| log.offset_for_time(Timestamp(time)).unwrap().map(|found| found.1);
        assert_eq!(found(6), Some(Offset::new(3)));
        assert_eq!(found(101), Some(Offset::new(10)));
        assert_eq!(found(121), None);
        assert_eq!(log.max_timestamp().unwrap(), Some((Timestamp(120), Offset::new(10))));
    }

    #[test]
    fn an_empty_log_has_no_times() {
        let log = log_of(&[]);
        assert_eq!(log.offset_for_time(Timestamp(0)).unwrap(), None);
        assert_eq!(log.max_timestamp().unwrap(), None);
    }
}
