//! Logs on a disk in memory: records of all kinds in, and what can be read of them out.

use brooklet_log::disk::memory::MemoryDisk;
use brooklet_log::validate::ValidatedBatch;
use brooklet_log::{Buffers, LogSettings, TailBudget};
use brooklet_types::{ByteSize, LeaderEpoch, ProducerEpoch, ProducerId, Timestamp};
use brooklet_wire::batch::{self, Attributes, BatchBuilder};
use brooklet_wire::compress::Codec;

pub(super) type Log = brooklet_log::Log<MemoryDisk>;

const FOLDER: &str = "topics/t-0";

/// How long tombstones stay, milliseconds.
pub(super) const RETENTION_MS: i64 = 400;

/// Batches that one growth adds.
const BATCHES: u64 = 40;

/// Records of one key, and one of none.
const KEYS: u64 = 6;

/// What can be read of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) offset: u64,
    pub(super) time: i64,
    pub(super) key: Option<String>,
    pub(super) value: Option<String>,
    /// Names and values.
    pub(super) headers: Vec<(String, Option<String>)>,
}

/// SplitMix64.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}

pub(super) fn open(disk: &MemoryDisk) -> Log {
    let settings = LogSettings {
        segment_bytes: 1024,
        index_interval_bytes: 100,
        compact: true,
        delete: false,
        delete_retention_ms: RETENTION_MS,
        min_cleanable_dirty_permille: 0,
        disk_reserve: ByteSize(0),
        ..LogSettings::default()
    };
    Log::open(disk.clone(), FOLDER, settings, TailBudget::new(0)).unwrap()
}

/// Appends batches of three producers in every codec: keys over and over, some records without one, tombstones,
/// values that are JSON and some that are none, versions, and a marker now and then. Times are out of order, in
/// the 300 milliseconds from `since` on.
pub(super) fn grow(log: &mut Log, random: &mut Random, since: i64) {
    let mut next: Vec<i32> = (0..3).map(|id| next_sequence(log, id)).collect();
    for _ in 0..BATCHES {
        let id = usize::try_from(random.below(3)).unwrap();
        let is_marker = random.below(15) == 0;
        let codec = Codec::ALL[usize::try_from(random.below(5)).unwrap()];
        let mut builder = BatchBuilder::new(codec)
            .producer(ProducerId(id as u64), ProducerEpoch(0), next[id])
            .attributes(Attributes::default().with_codec(codec).with_control(is_marker));
        let count = if is_marker { 1 } else { 1 + random.below(4) };
        for _ in 0..count {
            let key = format!("key {}", random.below(KEYS));
            let key = (random.below(12) > 0).then_some(key.as_bytes());
            let value = value(random);
            let version = random.below(7).to_string();
            let mut headers = vec![(&b"other"[..], None)];
            // The last of several counts, and some have none.
            if random.below(5) > 0 {
                headers.push((&b"v"[..], Some(&b"0"[..])));
                headers.push((&b"v"[..], Some(version.as_bytes())));
            }
            let time = Timestamp(since + random.below(300).cast_signed());
            builder.push(time, key, value.as_deref().map(str::as_bytes), &headers).unwrap();
        }
        next[id] += i32::try_from(count).unwrap();
        let batch = ValidatedBatch::trusted(builder.build().unwrap());
        log.append(&batch, LeaderEpoch(0), Timestamp(0)).unwrap();
    }
    log.sync().unwrap();
}

fn next_sequence(log: &Log, id: u64) -> i32 {
    let found = last_sequences(log).into_iter().find(|(known, _)| *known == id);
    found.and_then(|(_, last)| last).map_or(0, |last| i32::try_from(last).unwrap() + 1)
}

/// A patch of few members, text that is no JSON, or nothing.
fn value(random: &mut Random) -> Option<String> {
    let name = ["a", "b", "c"][usize::try_from(random.below(3)).unwrap()];
    let number = random.below(50);
    match random.below(10) {
        0 => None,
        1 => Some(format!("text {number}")),
        2 => Some(format!(r#"{{"{name}":null}}"#)),
        3 => Some(format!(r#"{{"{name}":{{"x":{number}}}}}"#)),
        4 => Some(format!(r#"{{"{name}":{{"y":{number},"x":null}}}}"#)),
        _ => Some(format!(r#"{{"{name}":{number}}}"#)),
    }
}

/// Everything that can be read: records, and the bytes of markers.
pub(super) fn records(log: &Log) -> (Vec<Record>, Vec<Vec<u8>>) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let (mut all, mut markers) = (Vec::new(), Vec::new());
    let mut next = log.start_offset();
    while next < log.end_offset() {
        let plan = log.read(next, log.end_offset(), 1 << 20, true).unwrap();
        let chunks = plan.run(&mut Buffers::default()).unwrap();
        assert!(!chunks.is_empty(), "the log goes on behind {next}");
        for split in batch::split(&chunks.concat()) {
            let (header, bytes) = split.unwrap();
            batch::check_crc(bytes).unwrap();
            next = header.last_offset().next();
            if header.attributes.is_control() {
                markers.push(bytes.to_vec());
                continue;
            }
            for record in batch::records(bytes).unwrap().iter().map(Result::unwrap) {
                let headers = record.headers.clone();
                all.push(Record {
                    offset: record.offset.value(),
                    time: record.timestamp.0,
                    key: record.key.map(text),
                    value: record.value.map(text),
                    headers: headers.map(|(name, value)| (text(name), value.map(text))).collect(),
                });
            }
        }
    }
    (all, markers)
}

/// The last sequence of each producer.
pub(super) fn last_sequences(log: &Log) -> Vec<(u64, Option<u32>)> {
    log.producers().iter().map(|(id, producer)| (id.0, producer.last_sequence())).collect()
}
