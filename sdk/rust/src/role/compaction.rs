//! The role that decides which records of a partition survive a compaction.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use serde::de::DeserializeOwned;

use super::serde::some;
use crate::bindings::compaction::exports::brooklet::plugin::compaction_policy as wire;
use crate::bindings::types::{Columns, PluginError};
use crate::column::{Column, ColumnBuilder};
use crate::error::{Error, short};
use crate::lifecycle::Context;

/// Decides which records survive, in two passes over the same records: the first learns, the second
/// answers. The host has the last word: offsets, control batches, the last batch of each producer and
/// tombstones until their horizon are kept whatever is said here.
pub trait CompactionPolicy: Sized {
    /// What the operator configures.
    type Config: DeserializeOwned;

    /// Makes an instance. Whatever can be checked is checked here.
    fn new(config: Self::Config, context: &Context) -> Result<Self, Error>;

    /// Whether it looks at values (`VALUES`) or at the header that the configuration names as
    /// `header` (`HEADERS`). Keys, offsets, times and sizes are always there.
    fn columns(&self) -> Columns;

    /// A compaction begins: what was learned in the one before is of no more use.
    fn begin(&mut self, pass: &Pass) -> Result<(), Error>;

    /// First pass, in the order of offsets.
    fn observe(&mut self, entries: &Entries<'_>) -> Result<(), Error>;

    /// Second pass, over the same records: says of each whether it stays.
    fn decide(&mut self, entries: &Entries<'_>, verdict: &mut Verdict) -> Result<(), Error>;

    /// The compaction is over: let go of what was learned.
    fn end(&mut self);
}

/// What a compaction is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pass {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: u32,
    /// When it began, milliseconds since the epoch.
    pub now: i64,
    /// Records from this offset on are observed as far as the host goes, and none of them is dropped.
    pub dirty_end: i64,
    /// Tombstones written before this time may go.
    pub delete_horizon: i64,
}

/// A run of records, in the order of offsets.
#[derive(Clone, Debug)]
pub struct Entries<'a> {
    input: &'a wire::Entries,
    values: Option<Column<'a>>,
    header: Option<Column<'a>>,
}

/// One record of a compaction.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// Equal for equal keys within one compaction, and for no others.
    pub key: u64,
    /// Its offset.
    pub offset: i64,
    /// Its time, milliseconds since the epoch.
    pub timestamp: i64,
    /// Length of its value, bytes.
    pub size: u32,
    /// Whether it has no value.
    pub is_tombstone: bool,
    /// Its value: if `VALUES` were asked for, and it is no tombstone.
    pub value: Option<&'a [u8]>,
    /// Its header of the configured name: if `HEADERS` were asked for, and it has one.
    pub header: Option<&'a [u8]>,
}

impl<'a> Entries<'a> {
    #[doc(hidden)]
    pub fn new(input: &'a wire::Entries) -> Entries<'a> {
        let values = input.values.as_ref().map(Column::new);
        Entries { input, values, header: input.header.as_ref().map(Column::new) }
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.input.keys.len()
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.input.keys.is_empty()
    }

    /// The records in their order.
    pub fn iter(&self) -> impl Iterator<Item = Entry<'a>> {
        let input = self.input;
        let (values, header) = (self.values, self.header);
        let mut tombstones = input.tombstones.as_deref().unwrap_or(&[]).iter().peekable();
        (0..input.keys.len()).map(move |index| {
            let is_tombstone = tombstones.next_if(|next| **next as usize == index).is_some();
            Entry {
                key: input.keys[index],
                offset: input.offsets[index],
                timestamp: input.timestamps[index],
                size: input.sizes[index],
                is_tombstone,
                value: values.and_then(|values| values.get(index)),
                header: header.and_then(|header| header.get(index)),
            }
        })
    }
}

/// What was learned of each key.
pub type KeyMap<V> = HashMap<u64, V, BuildHasherDefault<KeyHasher>>;

/// Scatters the numbers of keys. They come from the host, who keys its digests: nobody can aim at a bucket.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u64(&mut self, number: u64) {
        // Fibonacci hashing; the map takes its buckets from the upper and the lower bits.
        let scattered = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = scattered ^ (scattered >> 32);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Takes down what becomes of each record of a run.
#[derive(Debug, Default)]
pub struct Verdict {
    keep: Vec<u8>,
    judged: usize,
    replaced: Vec<u32>,
    values: ColumnBuilder,
}

impl Verdict {
    /// The next record stays, or goes.
    #[inline]
    pub fn keep(&mut self, stays: bool) {
        if self.judged.is_multiple_of(8) {
            self.keep.push(0);
        }
        if stays {
            self.keep[self.judged / 8] |= 1 << (self.judged % 8);
        }
        self.judged += 1;
    }

    /// The next record stays, with this value in place of its own. Only for policies whose manifest
    /// says `merges: true`.
    pub fn replace(&mut self, value: &[u8]) {
        self.replaced.push(short(self.judged));
        self.values.push(Some(value));
        self.keep(true);
    }

    fn finish(self) -> wire::Verdict {
        let replace = some(self.replaced)
            .map(|indexes| wire::Replacements { indexes, values: self.values.finish() });
        wire::Verdict { keep: self.keep, replace }
    }
}

/// One call of the host: a compaction begins.
pub fn begin<P: CompactionPolicy>(plugin: &mut P, pass: wire::PassInfo) -> Result<(), PluginError> {
    let wire::PassInfo { topic, partition, now, dirty_end, delete_horizon } = pass;
    Ok(plugin.begin(&Pass { topic, partition, now, dirty_end, delete_horizon })?)
}

/// One call of the host: first pass.
pub fn observe<P: CompactionPolicy>(
    plugin: &mut P,
    chunk: &wire::Entries,
) -> Result<(), PluginError> {
    Ok(plugin.observe(&Entries::new(chunk))?)
}

/// One call of the host: second pass.
pub fn decide<P: CompactionPolicy>(
    plugin: &mut P,
    chunk: &wire::Entries,
) -> Result<wire::Verdict, PluginError> {
    let entries = Entries::new(chunk);
    let mut verdict = Verdict::default();
    plugin.decide(&entries, &mut verdict)?;
    assert_eq!(verdict.judged, entries.len(), "something has to be said about every record");
    Ok(verdict.finish())
}
