//! A compaction policy that is a plugin: the cleaner's questions, asked across the boundary.
//!
//! **Where it sits.** Between the cleaner's thread, which may wait, and an instance that it has for itself from
//! the beginning of a cleaning to its end.
//!
//! **Invariants.** An instance that failed is not asked again: what it had learned is gone, and a verdict
//! without it could drop what it should keep. The cleaning then ends without a change.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use brooklet_log::compaction::{Entry, Pass, Policy, PolicyError, Scope, Verdict};
use bytes::Bytes;
use tokio::runtime::Handle;

use crate::bind::compaction::CompactionPlugin;
use crate::bind::compaction::exports::brooklet::plugin::compaction_policy::{
    Entries, PassInfo, Verdict as WitVerdict,
};
use crate::bind::types::Columns;
use crate::columns::{Checked, Column};
use crate::error::Failure;
use crate::room::{Lease, Room};

/// How long a topic is left alone whose policy failed.
const RETRY_AFTER: Duration = Duration::from_secs(15);

/// A policy's plugin for one cleaning.
#[derive(Debug)]
pub(crate) struct PluginPolicy {
    runtime: Handle,
    room: Result<Arc<Room<CompactionPlugin>>, String>,
    merges: bool,
    /// The header whose values the policy is shown.
    header: Option<String>,
    topic: String,
    partition: u32,
    lease: Option<(Lease<CompactionPlugin>, Columns)>,
}

/// A policy's room, whether it merges, and the header whose values it is shown.
pub(crate) type Chosen = (Arc<Room<CompactionPlugin>>, bool, Option<String>);

fn failed(message: impl std::fmt::Display) -> PolicyError {
    PolicyError::Failed { message: message.to_string(), retry_after: RETRY_AFTER }
}

impl PluginPolicy {
    pub(crate) fn new(
        runtime: Handle,
        room: Result<Chosen, String>,
        topic: String,
        partition: u32,
    ) -> PluginPolicy {
        let merges = room.as_ref().is_ok_and(|(_, merges, _)| *merges);
        let header = room.as_ref().ok().and_then(|(.., header)| header.clone());
        let room = room.map(|(room, ..)| room);
        PluginPolicy { runtime, room, merges, header, topic, partition, lease: None }
    }

    fn lease(&mut self) -> Result<(&mut Lease<CompactionPlugin>, Columns), PolicyError> {
        let lease = self.lease.as_mut().map(|(lease, columns)| (lease, *columns));
        lease.ok_or_else(|| failed("the policy is gone after a failure"))
    }

    fn entries(&self, entries: &[Entry<'_>], columns: Columns) -> Entries {
        let mut values = columns.contains(Columns::VALUES).then(Column::default);
        let mut header = columns.contains(Columns::HEADERS).then(Column::default);
        let header_name = self.header.as_deref().unwrap_or_default().as_bytes();
        let mut out = Entries {
            keys: Vec::with_capacity(entries.len()),
            offsets: Vec::with_capacity(entries.len()),
            timestamps: Vec::with_capacity(entries.len()),
            sizes: Vec::with_capacity(entries.len()),
            tombstones: None,
            values: None,
            header: None,
        };
        let mut tombstones = Vec::new();
        for (index, entry) in (0_u32..).zip(entries) {
            let record = entry.record;
            // Records without a key have nothing in common: each gets a number that no key has.
            let unkeyed = u64::MAX - record.offset.value();
            out.keys.push(entry.key.unwrap_or(unkeyed));
            out.offsets.push(record.offset.to_wire());
            out.timestamps.push(record.timestamp.0);
            let size = record.value.map_or(0, <[u8]>::len);
            out.sizes.push(u32::try_from(size).unwrap_or(u32::MAX));
            if record.value.is_none() {
                tombstones.push(index);
            }
            if let Some(values) = &mut values {
                values.push(record.value);
            }
            if let Some(header) = &mut header {
                let found = record.headers.clone().filter(|(name, _)| *name == header_name).last();
                header.push(found.and_then(|(_, value)| value));
            }
        }
        out.tombstones = (!tombstones.is_empty()).then_some(tombstones);
        out.values = values.map(Column::finish);
        out.header = header.map(Column::finish);
        out
    }

    /// Drops an instance that can't be trusted any more, and says in the plugin's journal what it did. The
    /// broker's log has it from the error.
    fn fail(&mut self, failure: &Failure) -> PolicyError {
        self.lease = None;
        let Ok(room) = &self.room else { return failed(failure) };
        let fields = BTreeMap::from([
            ("version".to_owned(), room.version().to_owned()),
            ("topic".to_owned(), self.topic.clone()),
            ("partition".to_owned(), self.partition.to_string()),
            ("kind".to_owned(), failure.kind().to_owned()),
        ]);
        let shared = room.shared();
        shared.journal.tell(&shared.task, failure.to_string(), fields);
        failed(format_args!("plugin {} {}: {failure}", room.plugin(), room.version()))
    }
}

impl Policy for PluginPolicy {
    fn scope(&self) -> Scope {
        Scope::All
    }

    fn merges(&self) -> bool {
        self.merges
    }

    fn begin(&mut self, pass: &Pass) -> Result<(), PolicyError> {
        let room = Arc::clone(self.room.as_ref().map_err(failed)?);
        let info = PassInfo {
            topic: self.topic.clone(),
            partition: self.partition,
            now: pass.now.0,
            dirty_end: pass.dirty_end.to_wire(),
            delete_horizon: pass.delete_horizon.0,
        };
        let begun = self.runtime.block_on(async {
            let mut lease = room.lease().await?;
            let columns = room.columns().await?;
            lease
                .call(move |plugin, store| {
                    Box::pin(async move {
                        plugin.brooklet_plugin_compaction_policy().call_begin(store, &info).await
                    })
                })
                .await?;
            Ok::<_, Failure>((lease, columns))
        });
        self.lease = Some(begun.map_err(|failure| self.fail(&failure))?);
        Ok(())
    }

    fn observe(&mut self, entries: &[Entry<'_>]) -> Result<(), PolicyError> {
        let (_, columns) = self.lease()?;
        let chunk = self.entries(entries, columns);
        let runtime = self.runtime.clone();
        let (lease, _) = self.lease()?;
        let observed = runtime.block_on(lease.call(move |plugin, store| {
            Box::pin(async move {
                plugin.brooklet_plugin_compaction_policy().call_observe(store, &chunk).await
            })
        }));
        observed.map_err(|failure| self.fail(&failure))
    }

    fn decide(&mut self, entries: &[Entry<'_>]) -> Result<Verdict, PolicyError> {
        let (_, columns) = self.lease()?;
        let chunk = self.entries(entries, columns);
        let runtime = self.runtime.clone();
        let (lease, _) = self.lease()?;
        let decided = runtime.block_on(lease.call(move |plugin, store| {
            Box::pin(async move {
                plugin.brooklet_plugin_compaction_policy().call_decide(store, &chunk).await
            })
        }));
        let verdict = decided.and_then(|verdict| verify(&verdict, entries.len()));
        verdict.map_err(|failure| self.fail(&failure))
    }

    fn end(&mut self) {
        let Some((mut lease, _)) = self.lease.take() else { return };
        let runtime = self.runtime.clone();
        // What it says at the end changes nothing.
        let _ended = runtime.block_on(lease.call(|plugin, store| {
            Box::pin(async move {
                plugin.brooklet_plugin_compaction_policy().call_end(store).await?;
                Ok(Ok(()))
            })
        }));
    }
}

fn verify(verdict: &WitVerdict, entries: usize) -> Result<Verdict, Failure> {
    let due = entries.div_ceil(8);
    if verdict.keep.len() != due {
        let problem = format!("a verdict of {} bytes, {due} were due", verdict.keep.len());
        return Err(Failure::wrong(problem));
    }
    let keep = (0..entries).map(|index| verdict.keep[index / 8] >> (index % 8) & 1 == 1).collect();
    let mut replace = Vec::new();
    if let Some(new) = &verdict.replace {
        let values = Checked::new(&new.values, new.indexes.len(), "values")?;
        if !new.indexes.windows(2).all(|pair| pair[0] < pair[1]) {
            return Err(Failure::wrong("values whose indexes are out of order"));
        }
        for (at, &index) in new.indexes.iter().enumerate() {
            let value = values.get(at).map(Bytes::copy_from_slice);
            replace.push((index as usize, value));
        }
    }
    Ok(Verdict { keep, replace })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bind::compaction::exports::brooklet::plugin::compaction_policy::Replacements;
    use crate::bind::types::Blobs;

    fn verdict(keep: &[u8], replace: Option<(&[u32], &[u32])>) -> WitVerdict {
        let replace = replace.map(|(indexes, ends)| Replacements {
            indexes: indexes.to_vec(),
            values: Blobs { data: b"abcdef".to_vec(), ends: ends.to_vec(), nulls: None },
        });
        WitVerdict { keep: keep.to_vec(), replace }
    }

    #[test]
    fn a_verdict_has_a_bit_for_each_and_its_new_values_in_order() {
        let told = verify(&verdict(&[0b0000_0101, 0b10], Some((&[0, 9], &[2, 6]))), 10).unwrap();
        let kept: Vec<usize> = (0..10).filter(|index| told.keep[*index]).collect();
        assert_eq!(kept, [0, 2, 9]);
        let value = |text: &'static str| Some(Bytes::from_static(text.as_bytes()));
        assert_eq!(told.replace, [(0, value("ab")), (9, value("cdef"))]);
    }

    #[test]
    fn a_verdict_that_lies_is_none() {
        for lie in [
            verdict(&[1], None),
            verdict(&[1, 1, 1], None),
            verdict(&[], None),
            verdict(&[255, 255], Some((&[3, 2], &[2, 6]))),
            verdict(&[255, 255], Some((&[3, 3], &[2, 6]))),
            verdict(&[255, 255], Some((&[3], &[2, 6]))),
            verdict(&[255, 255], Some((&[2, 3], &[2, 7]))),
            verdict(&[255, 255], Some((&[2, 3], &[6, 2]))),
        ] {
            assert!(matches!(verify(&lie, 10), Err(Failure::Wrong(_))), "{lie:?}");
        }
    }
}
