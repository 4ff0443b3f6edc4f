//! Giving records to a sink.

use std::sync::Arc;

use brooklet_hook::Answer;
use brooklet_hook::task::{
    Progress, Rejected, SinkTask, Stopper, StoredRecord, TaskError, Written,
};

use crate::bind::sink::SinkPlugin;
use crate::bind::sink::exports::brooklet::plugin::sink as wit;
use crate::bind::types::Columns;
use crate::columns::{gather_stored, rejects};
use crate::error::Failure;
use crate::room::{Lease, Room};
use crate::tasks::Freshness;

/// A sink at work for one task.
#[derive(Debug)]
pub(crate) struct Sink {
    room: Arc<Room<SinkPlugin>>,
    lease: Lease<SinkPlugin>,
    columns: Columns,
    freshness: Freshness,
}

impl Sink {
    pub(crate) async fn take(
        room: Arc<Room<SinkPlugin>>,
        freshness: Freshness,
    ) -> Result<Sink, Failure> {
        let lease = room.lease().await?;
        let columns = room.columns().await?;
        Ok(Sink { room, lease, columns, freshness })
    }

    async fn written(
        &mut self,
        topic: &str,
        partition: u32,
        records: &[StoredRecord],
    ) -> Result<Written, Failure> {
        let batch = gather_stored(topic, partition, records, self.columns);
        let count = batch.count;
        let accepted = self.lease.call(move |plugin, store| {
            Box::pin(async move { plugin.brooklet_plugin_sink().call_write(store, &batch).await })
        });
        let accepted = accepted.await?;
        let rejects = rejects(accepted.rejects, count)?;
        self.room.metrics().shown(count, rejects.len());
        let rejects = rejects.into_iter().map(|reject| Rejected {
            index: reject.index as usize,
            code: reject.code,
            message: reject.message,
        });
        Ok(Written { rejects: rejects.collect(), buffered_bytes: accepted.buffered_bytes })
    }
}

impl SinkTask for Sink {
    fn start(&mut self, assigned: Vec<Progress>) -> Answer<'_, Result<Vec<Progress>, TaskError>> {
        let assigned: Vec<wit::Assignment> = assigned
            .into_iter()
            .map(|it| wit::Assignment {
                topic: it.topic,
                partition: it.partition,
                next_offset: it.next_offset,
            })
            .collect();
        Box::pin(async move {
            let started = self.lease.call(move |plugin, store| {
                Box::pin(
                    async move { plugin.brooklet_plugin_sink().call_start(store, &assigned).await },
                )
            });
            Ok(progress(started.await?))
        })
    }

    fn write<'a>(
        &'a mut self,
        topic: &'a str,
        partition: u32,
        records: &'a [StoredRecord],
    ) -> Answer<'a, Result<Written, TaskError>> {
        Box::pin(async move {
            let written = self.written(topic, partition, records).await;
            Ok(written.inspect_err(|failure| self.lease.spoil(failure))?)
        })
    }

    fn flush(&mut self) -> Answer<'_, Result<Vec<Progress>, TaskError>> {
        Box::pin(async move {
            let flushed = self.lease.call(|plugin, store| {
                Box::pin(async move { plugin.brooklet_plugin_sink().call_flush(store).await })
            });
            Ok(progress(flushed.await?))
        })
    }

    fn stopper(&self) -> Stopper {
        self.room.stopper()
    }

    fn is_outdated(&self) -> bool {
        self.freshness.is_outdated()
    }
}

fn progress(list: Vec<wit::Progress>) -> Vec<Progress> {
    let of = |it: wit::Progress| Progress {
        topic: it.topic,
        partition: it.partition,
        next_offset: it.next_offset,
    };
    list.into_iter().map(of).collect()
}
