//! Asking a source for records.

use std::sync::Arc;

use brooklet_hook::Answer;
use brooklet_hook::task::{NewRecord, PollLimits, Polled, SourceTask, Split, Stopper, TaskError};
use bytes::Bytes;

use crate::bind::source::SourcePlugin;
use crate::bind::source::exports::brooklet::plugin::source as wit;
use crate::bind::types::{Blobs, OutBatch};
use crate::columns::{CheckedOut, out_bytes};
use crate::error::Failure;
use crate::room::{Lease, Room};
use crate::tasks::Freshness;

/// A source at work for one task.
#[derive(Debug)]
pub(crate) struct Source {
    room: Arc<Room<SourcePlugin>>,
    lease: Lease<SourcePlugin>,
    freshness: Freshness,
}

impl Source {
    pub(crate) async fn take(
        room: Arc<Room<SourcePlugin>>,
        freshness: Freshness,
    ) -> Result<Source, Failure> {
        let lease = room.lease().await?;
        Ok(Source { room, lease, freshness })
    }

    pub(crate) async fn plan(&mut self, tasks_max: u32) -> Result<Vec<Split>, Failure> {
        let planned = self.lease.call(move |plugin, store| {
            Box::pin(
                async move { plugin.brooklet_plugin_source().call_plan(store, tasks_max).await },
            )
        });
        let splits: Vec<Split> = planned
            .await?
            .into_iter()
            .map(|split| Split { id: split.id, properties: split.properties })
            .collect();
        if splits.len() > tasks_max as usize {
            let problem = format!("{} parts, {tasks_max} are the most", splits.len());
            return Err(Failure::wrong(problem));
        }
        Ok(splits)
    }

    async fn polled(&mut self, limits: PollLimits) -> Result<Polled, Failure> {
        let asked = wit::Limits {
            max_records: limits.records,
            max_bytes: limits.bytes,
            max_wait_ms: u32::try_from(limits.wait.as_millis()).unwrap_or(u32::MAX),
        };
        let polled = self.lease.call(move |plugin, store| {
            Box::pin(async move { plugin.brooklet_plugin_source().call_poll(store, asked).await })
        });
        let polled = polled.await?;
        let (bytes, limit) = (out_bytes(&polled.records), self.room.budget().output);
        if bytes > limit {
            return Err(Failure::Output { bytes, limit });
        }
        let records = records(polled.records)?;
        self.room.metrics().shown(u32::try_from(records.len()).unwrap_or(u32::MAX), 0);
        Ok(Polled { records, position: polled.position, more: polled.more })
    }
}

impl SourceTask for Source {
    fn start(
        &mut self,
        splits: Vec<Split>,
        position: Option<Vec<u8>>,
    ) -> Answer<'_, Result<(), TaskError>> {
        let splits: Vec<wit::Split> = splits
            .into_iter()
            .map(|split| wit::Split { id: split.id, properties: split.properties })
            .collect();
        Box::pin(async move {
            let started = self.lease.call(move |plugin, store| {
                Box::pin(async move {
                    let source = plugin.brooklet_plugin_source();
                    source.call_start(store, &splits, position.as_deref()).await
                })
            });
            Ok(started.await?)
        })
    }

    fn poll(&mut self, limits: PollLimits) -> Answer<'_, Result<Polled, TaskError>> {
        Box::pin(async move {
            let polled = self.polled(limits).await;
            Ok(polled.inspect_err(|failure| self.lease.spoil(failure))?)
        })
    }

    fn committed(&mut self, position: Vec<u8>) -> Answer<'_, Result<(), TaskError>> {
        Box::pin(async move {
            let told = self.lease.call(move |plugin, store| {
                Box::pin(async move {
                    plugin.brooklet_plugin_source().call_committed(store, &position).await
                })
            });
            Ok(told.await?)
        })
    }

    fn stopper(&self) -> Stopper {
        self.room.stopper()
    }

    fn is_outdated(&self) -> bool {
        self.freshness.is_outdated()
    }
}

/// A column whose entries share its memory.
struct Shared {
    data: Bytes,
    ends: Vec<u32>,
    nulls: Vec<u32>,
}

impl Shared {
    fn new(blobs: Blobs) -> Shared {
        let nulls = blobs.nulls.unwrap_or_default();
        Shared { data: blobs.data.into(), ends: blobs.ends, nulls }
    }

    fn get(&self, index: usize) -> Option<Bytes> {
        if self.nulls.binary_search(&u32::try_from(index).unwrap_or(u32::MAX)).is_ok() {
            return None;
        }
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before] as usize);
        Some(self.data.slice(start..self.ends[index] as usize))
    }
}

/// The records of a poll, checked and without another copy.
fn records(out: OutBatch) -> Result<Vec<NewRecord>, Failure> {
    // Everything below relies on it.
    let count = CheckedOut::new(&out, None)?.count;
    let column = |blobs: Option<Blobs>| blobs.map(Shared::new);
    let (keys, values) = (column(out.keys), column(out.values));
    let headers = out.headers.map(|it| (it.counts, Shared::new(it.names), Shared::new(it.values)));
    let mut header = 0_usize;
    let mut records = Vec::with_capacity(count);
    for index in 0..count {
        let of = headers.as_ref().map(|(counts, names, values)| {
            let range = header..header + counts[index] as usize;
            header = range.end;
            range.map(|at| (names.get(at).unwrap_or_default(), values.get(at))).collect()
        });
        records.push(NewRecord {
            target: out.targets.as_ref().map_or(0, |targets| targets[index]),
            partition: out.partitions.as_ref().map(|partitions| partitions[index]),
            timestamp: out.timestamps.as_ref().map(|times| times[index]),
            key: keys.as_ref().and_then(|keys| keys.get(index)),
            value: values.as_ref().and_then(|values| values.get(index)),
            headers: of.unwrap_or_default(),
        });
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bind::types::HeaderColumns;

    fn blobs(data: &[u8], ends: &[u32], nulls: Option<&[u32]>) -> Blobs {
        Blobs { data: data.into(), ends: ends.into(), nulls: nulls.map(Into::into) }
    }

    #[test]
    fn columns_become_records_again() {
        let out = OutBatch {
            count: 2,
            sources: None,
            targets: Some(vec![0, 1]),
            partitions: None,
            keys: Some(blobs(b"k", &[1, 1], Some(&[1]))),
            values: Some(blobs(b"onetwo", &[3, 6], None)),
            headers: Some(HeaderColumns {
                counts: vec![0, 2],
                names: blobs(b"ab", &[1, 2], None),
                values: blobs(b"x", &[1, 1], Some(&[1])),
            }),
            timestamps: None,
        };
        let records = records(out).unwrap();
        assert_eq!(records[0].key.as_deref(), Some(&b"k"[..]));
        assert_eq!(records[0].headers, []);
        assert_eq!((records[1].target, records[1].key.clone()), (1, None));
        assert_eq!(records[1].value.as_deref(), Some(&b"two"[..]));
        let headers = [(Bytes::from("a"), Some(Bytes::from("x"))), (Bytes::from("b"), None)];
        assert_eq!(records[1].headers, headers);
    }
}
