//! A broker as far as its quorum is concerned: a disk, and while it runs the machine and what it has applied.

use std::collections::{BTreeMap, VecDeque};

use brooklet_quorum::{
    DirectoryId, Index, LogFate, Member, Outgoing, Proposed, Quorum, ReadyNumber, Settings,
};
use brooklet_types::BrokerId;

use crate::quorum::disk::Disk;

/// A broker.
#[derive(Debug)]
pub(crate) struct Host {
    /// Who it is, on the disk that it has.
    pub(crate) me: Member,
    pub(crate) disk: Disk,
    /// Counts its starts.
    pub(crate) run: u64,
    pub(crate) running: Option<Running>,
}

/// What a crash ends.
pub(crate) struct Running {
    pub(crate) quorum: Quorum,
    pub(crate) applied: Index,
    /// Every value that was committed, in order.
    pub(crate) image: Vec<u64>,
    /// What was proposed here and is not decided.
    pub(crate) proposals: BTreeMap<Proposed, u64>,
    /// What may be sent when a ready is written.
    pub(crate) waiting: VecDeque<(ReadyNumber, Vec<Outgoing>)>,
    /// The last ready that was taken.
    pub(crate) number: ReadyNumber,
    /// When everything is written that was begun, in microseconds.
    pub(crate) written_at: u64,
    /// The snapshot of our own that is on its way to the disk: with which ready, and up to where the log may
    /// be compacted then.
    pub(crate) compacting: Option<(ReadyNumber, Index)>,
}

impl Host {
    /// A broker on a new disk: the `serial`th of all.
    pub(crate) fn new(broker: BrokerId, serial: u32, disk: Disk) -> Host {
        Host { me: identity(broker, serial), disk, run: 0, running: None }
    }

    /// Whether it runs and leads.
    pub(crate) fn leads(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.quorum.is_leader())
    }

    /// Starts on what is on the disk.
    pub(crate) fn start(&mut self, settings: Settings) -> Result<(), String> {
        let (stored, image) = self.disk.stored();
        let applied = stored.mark.as_ref().map_or(Index(0), |mark| mark.index);
        let opened = Quorum::open(settings, stored);
        let opened = opened.map_err(|error| format!("{} does not open: {error}", self.me))?;
        if opened.log == LogFate::Reset {
            self.disk.reset();
        }
        self.run += 1;
        self.running = Some(Running {
            quorum: opened.quorum,
            applied,
            image,
            proposals: BTreeMap::new(),
            waiting: VecDeque::new(),
            number: ReadyNumber(0),
            written_at: 0,
            compacting: None,
        });
        Ok(())
    }
}

/// The identity of a broker on the `serial`th disk.
pub(crate) fn identity(broker: BrokerId, serial: u32) -> Member {
    let mut directory = [0xd1; 16];
    directory[..4].copy_from_slice(&serial.to_be_bytes());
    Member { broker, directory: DirectoryId(directory) }
}

/// The image as a snapshot carries it.
pub(crate) fn to_bytes(image: &[u64]) -> Vec<u8> {
    image.iter().flat_map(|value| value.to_be_bytes()).collect()
}

/// What [`to_bytes`] wrote.
pub(crate) fn from_bytes(bytes: &[u8]) -> Vec<u64> {
    let (values, rest) = bytes.as_chunks();
    assert!(rest.is_empty(), "an image is made of values");
    values.iter().map(|value| u64::from_be_bytes(*value)).collect()
}

impl std::fmt::Debug for Running {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "applied {:?}", self.applied)
    }
}
