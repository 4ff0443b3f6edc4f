//! The partitioner of a topic: where records belong, and whether they are there.

use std::collections::BTreeMap;

use brooklet_hook::{Place, Placed, Rejection};
use brooklet_types::PartitionIndex;
use brooklet_wire::batch::{BatchBuilder, Records, records};
use brooklet_wire::compress::Codec;
use bytes::Bytes;

use super::failing::tell;
use super::{Bound, Stepped, partition_number};
use crate::bind::partitioner::PartitionerPlugin;
use crate::error::Failure;
use crate::role::partitioner::partitions_of;
use crate::spec::OnFailure;

impl Bound<PartitionerPlugin> {
    async fn chosen(
        &self,
        place: Place<'_>,
        partition: i32,
        opened: &Records<'_>,
    ) -> Result<Vec<u32>, Failure> {
        self.answer.enter()?;
        partitions_of(&self.room, place.topic.as_str(), partition, opened, place.partitions).await
    }

    /// Whether records lie where the plugin would have put them.
    pub(super) async fn verify(&self, place: Place<'_>, batch: &Bytes) -> Option<Rejection> {
        let opened = match records(batch) {
            Ok(opened) => opened,
            Err(error) => {
                return Some(Rejection::whole(error.to_string()));
            }
        };
        match self.chosen(place, partition_number(place), &opened).await {
            Ok(chosen) => {
                let elsewhere = (0_u32..).zip(chosen).filter(|(_, it)| *it != place.partition.0);
                let records: Vec<(u32, String)> = elsewhere
                    .map(|(index, it)| (index, format!("belongs to partition {it}")))
                    .collect();
                if records.is_empty() || self.answer.on_failure == OnFailure::Pass {
                    return None;
                }
                let message = format!(
                    "plugin {} places {} of these records elsewhere",
                    self.room.plugin(),
                    records.len()
                );
                Some(Rejection { message, records, is_of_the_moment: false })
            }
            Err(failure) => {
                match self.answer.answer(&self.room, &failure, place, &opened, false) {
                    // What can't be placed goes on where its producer put it; there is no topic for it else.
                    Stepped::Same | Stepped::New(..) => None,
                    Stepped::Refused(rejection) => Some(rejection),
                }
            }
        }
    }

    pub(super) async fn place(&self, place: Place<'_>, batch: &Bytes) -> Placed {
        let reject = |message: String| Placed::Reject(Rejection::whole(message));
        let opened = match records(batch) {
            Ok(opened) => opened,
            Err(error) => return reject(error.to_string()),
        };
        let chosen = match self.chosen(place, -1, &opened).await {
            Ok(chosen) => chosen,
            Err(failure) => {
                if !matches!(failure, Failure::Stopped(_)) {
                    tell(&self.room, &failure, place, None);
                }
                self.answer.stop(&failure);
                // Whatever the answer: without a partition there is nowhere to pass a record on to.
                let message = format!("plugin {}: {failure}", self.room.plugin());
                let is_of_the_moment = failure.is_of_the_moment();
                return Placed::Reject(Rejection {
                    message,
                    records: Vec::new(),
                    is_of_the_moment,
                });
            }
        };
        match distribute(&opened, &chosen) {
            Ok(batches) => Placed::Batches(batches),
            Err(failure) => reject(failure.to_string()),
        }
    }
}

/// One batch per partition, records in their order.
fn distribute(
    opened: &Records<'_>,
    chosen: &[u32],
) -> Result<Vec<(PartitionIndex, Bytes)>, Failure> {
    let broken = |error: brooklet_wire::batch::BatchError| Failure::BadInput(error.to_string());
    let codec = opened.header().attributes.codec().unwrap_or(Codec::None);
    let mut builders: BTreeMap<u32, BatchBuilder> = BTreeMap::new();
    for (record, &partition) in opened.iter().zip(chosen) {
        let record = record.map_err(broken)?;
        let builder = builders.entry(partition).or_insert_with(|| BatchBuilder::new(codec));
        let headers: Vec<_> = record.headers.clone().collect();
        builder.push(record.timestamp, record.key, record.value, &headers).map_err(broken)?;
    }
    let build = |(partition, builder): (u32, BatchBuilder)| {
        Ok((PartitionIndex(partition), builder.build().map_err(broken)?))
    };
    builders.into_iter().map(build).collect()
}
