//! Where recovery begins, and where the log does: a small file with two slots, written in turn.
//!
//! **Where it sits.** Inside a log, as `brooklet-checkpoint` in the partition's folder.
//!
//! **What it decides.** Nothing: the log says what to store.
//!
//! **Invariants.** A slot that was torn fails its CRC and the other, older one counts. An older
//! recovery point is never wrong, only slower. A log start must not be forgotten: it is synced
//! before anyone is told.
//!
//! ```text
//! slot: "brkckpt2" · serial u64 · log start u64 · recovery offset u64 · segment base u64
//!       · position u64 · newest timestamp i64 · its offset u64 · oldest timestamp i64
//!       · flags u32 (1 clean, 256 gaps) · epochs u32 · cut epoch i32 · crc32c u32, all big-endian;
//!       slots at 0 and 512
//! ```
//!
//! A slot of the first version, "brkckpt1", has no cut epoch.

use std::io;

use brooklet_types::{LeaderEpoch, Offset, Timestamp};

use crate::disk::{Disk, DiskFile, read_small};
use crate::epoch::Epochs;
use crate::frame::crc;
use crate::segment::open_or_create;

const NAME: &str = "brooklet-checkpoint";
const MAGIC: &[u8; 8] = b"brkckpt2";
const SLOT_BYTES: usize = 88;
const MAGIC_FIRST: &[u8; 8] = b"brkckpt1";
const SLOT_BYTES_FIRST: usize = 84;
/// Slots lie in sectors of their own, so that tearing one leaves the other whole.
const SLOT_DISTANCE: u64 = 512;

/// What is remembered between runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    pub(crate) serial: u64,
    pub(crate) log_start: Offset,
    /// Everything before this offset was synced, indexes included.
    pub(crate) recovered: Offset,
    /// The segment that was active then, and how long it was.
    pub(crate) segment: Offset,
    pub(crate) position: u64,
    /// The newest record of that segment and the last offset of its batch.
    pub(crate) newest: Option<(Timestamp, Offset)>,
    pub(crate) oldest: Option<Timestamp>,
    /// The fingerprint of the epochs between `log_start` and `recovered`.
    pub(crate) epochs: u32,
    pub(crate) clean: bool,
    /// Whether batches were ever copied behind gaps, so that an index that is lost may have named some.
    pub(crate) gaps: bool,
    /// No batch of this epoch or an older one was written to the journal since the log was last cut.
    pub(crate) cut_epoch: Option<LeaderEpoch>,
}

impl Checkpoint {
    /// What nobody has stored yet: a log that begins at `first`, without a batch.
    pub(crate) fn fresh(first: Offset) -> Checkpoint {
        Checkpoint {
            serial: 0,
            log_start: first,
            recovered: first,
            segment: first,
            position: 0,
            newest: None,
            oldest: None,
            epochs: Epochs::default().fingerprint(first, first),
            clean: false,
            gaps: false,
            cut_epoch: None,
        }
    }

    /// The next one, that of a segment at `base` in which everything has to be looked at. The start and
    /// the epochs' fingerprint are to be adjusted.
    pub(crate) fn back_to(self, base: Offset) -> Checkpoint {
        let (serial, log_start) = (self.serial + 1, self.log_start);
        let (gaps, cut_epoch) = (self.gaps, self.cut_epoch);
        Checkpoint { serial, log_start, gaps, cut_epoch, ..Checkpoint::fresh(base) }
    }

    fn to_bytes(self) -> [u8; SLOT_BYTES] {
        let (newest, newest_offset) = self.newest.unwrap_or((Timestamp::NONE, Offset::ZERO));
        let numbers = [
            self.serial,
            self.log_start.value(),
            self.recovered.value(),
            self.segment.value(),
            self.position,
            newest.0.cast_unsigned(),
            newest_offset.value(),
            self.oldest.unwrap_or(Timestamp::NONE).0.cast_unsigned(),
        ];
        let mut bytes = [0; SLOT_BYTES];
        bytes[..8].copy_from_slice(MAGIC);
        for (index, number) in numbers.iter().enumerate() {
            bytes[8 + index * 8..16 + index * 8].copy_from_slice(&number.to_be_bytes());
        }
        bytes[74..76].copy_from_slice(&[u8::from(self.gaps), u8::from(self.clean)]);
        bytes[76..80].copy_from_slice(&self.epochs.to_be_bytes());
        let cut_epoch = self.cut_epoch.map_or(-1, LeaderEpoch::to_wire);
        bytes[80..84].copy_from_slice(&cut_epoch.to_be_bytes());
        let sum = crc(&bytes[..84]);
        bytes[84..].copy_from_slice(&sum.to_be_bytes());
        bytes
    }

    fn parse(bytes: &[u8]) -> Option<Checkpoint> {
        let is_first = bytes.get(..8)? == MAGIC_FIRST;
        let (magic, length) =
            if is_first { (MAGIC_FIRST, SLOT_BYTES_FIRST) } else { (MAGIC, SLOT_BYTES) };
        let (bytes, sum) = bytes.get(..length)?.split_last_chunk::<4>()?;
        if &bytes[..8] != magic || crc(bytes) != u32::from_be_bytes(*sum) {
            return None;
        }
        let cut_epoch = bytes.get(80..84).and_then(|field| field.try_into().ok());
        let number = |index: usize| -> Option<i64> {
            let field = bytes.get(8 + index * 8..16 + index * 8)?;
            Some(i64::from_be_bytes(field.try_into().ok()?))
        };
        let offset = |index| Offset::from_wire(number(index)?);
        let time = |index| Some(Timestamp(number(index)?));
        Some(Checkpoint {
            serial: u64::try_from(number(0)?).ok()?,
            log_start: offset(1)?,
            recovered: offset(2)?,
            segment: offset(3)?,
            position: u64::try_from(number(4)?).ok()?,
            newest: Some((time(5)?, offset(6)?)).filter(|newest| newest.0 > Timestamp::NONE),
            oldest: time(7).filter(|oldest| *oldest > Timestamp::NONE),
            clean: bytes[75] == 1,
            gaps: bytes[74] == 1,
            cut_epoch: cut_epoch.and_then(|it| LeaderEpoch::from_wire(i32::from_be_bytes(it))),
            epochs: u32::from_be_bytes(bytes[76..80].try_into().ok()?),
        })
    }

    /// The newest whole slot.
    pub(crate) fn load<D: Disk>(disk: &D, folder: &str) -> io::Result<Option<Checkpoint>> {
        let bytes = read_small(disk, &format!("{folder}/{NAME}"), 4096)?.unwrap_or_default();
        let second = usize::try_from(SLOT_DISTANCE).expect("a sector");
        let slots = [Checkpoint::parse(&bytes), bytes.get(second..).and_then(Checkpoint::parse)];
        Ok(slots.into_iter().flatten().max_by_key(|slot| slot.serial))
    }

    /// The file with both slots.
    pub(crate) fn open<D: Disk>(disk: &D, folder: &str) -> io::Result<D::File> {
        open_or_create(disk, &format!("{folder}/{NAME}"))
    }

    /// Writes the slot that is not the newest; gives back the file, for who wants it synced.
    pub(crate) fn store<D: Disk>(self, disk: &D, folder: &str) -> io::Result<D::File> {
        let file = Checkpoint::open(disk, folder)?;
        file.write_at(&[&self.to_bytes()], (self.serial % 2) * SLOT_DISTANCE)?;
        Ok(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::memory::MemoryDisk;

    #[test]
    fn a_damaged_slot_leaves_the_older_one() {
        let disk = MemoryDisk::default();
        let slot = |serial| Checkpoint {
            serial,
            log_start: Offset::new(3),
            recovered: Offset::new(10 + serial),
            segment: Offset::ZERO,
            position: 77,
            newest: Some((Timestamp(5), Offset::new(9))),
            oldest: None,
            epochs: 99,
            clean: serial == 2,
            gaps: serial == 1,
            cut_epoch: (serial == 2).then_some(LeaderEpoch(7)),
        };
        for serial in 1..=2 {
            slot(serial).store(&disk, "p").unwrap();
        }
        assert_eq!(Checkpoint::load(&disk, "p").unwrap(), Some(slot(2)));
        let path = "p/brooklet-checkpoint";
        let whole = disk.files()[path].clone();
        for index in 0..SLOT_BYTES {
            let mut damaged = whole.clone();
            damaged[index] ^= 1;
            disk.put(path, damaged);
            assert_eq!(Checkpoint::load(&disk, "p").unwrap(), Some(slot(1)), "byte {index}");
        }
    }

    #[test]
    fn a_slot_of_the_first_version_is_read() {
        let disk = MemoryDisk::default();
        let slot = Checkpoint { serial: 4, clean: true, ..Checkpoint::fresh(Offset::new(9)) };
        let mut bytes = slot.to_bytes()[..SLOT_BYTES_FIRST - 4].to_vec();
        bytes[..8].copy_from_slice(MAGIC_FIRST);
        bytes.extend(crc(&bytes).to_be_bytes());
        disk.put("p/brooklet-checkpoint", bytes);
        assert_eq!(Checkpoint::load(&disk, "p").unwrap(), Some(slot));
    }
}
