//! The partitioner of a topic: where records belong, and whether they are there.

use std::collections::{BTreeMap, BTreeSet};

use brooklet_hook::{Place, Placed, Rejection};
use brooklet_types::PartitionIndex;
use brooklet_wire::batch::{BatchBuilder, BatchError, BatchHeader, Records, records};
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
        match distribute(&opened, &chosen, place.partitions) {
            Ok(batches) => Placed::Batches(batches),
            Err(error) => reject(error.to_string()),
        }
    }
}

/// Records in their order, each in the batch of its partition.
fn distribute(
    opened: &Records<'_>,
    chosen: &[u32],
    partitions: u32,
) -> Result<Vec<(PartitionIndex, Bytes)>, BatchError> {
    match opened.header().producer_id {
        Some(_) => spanning(opened, chosen, partitions),
        None => compact(opened, chosen),
    }
}

/// Of a batch that nobody numbered: what a partition gets, without gaps, and nothing for the others.
fn compact(
    opened: &Records<'_>,
    chosen: &[u32],
) -> Result<Vec<(PartitionIndex, Bytes)>, BatchError> {
    let codec = opened.header().attributes.codec()?;
    let mut builders: BTreeMap<u32, BatchBuilder> = BTreeMap::new();
    for (record, &partition) in opened.iter().zip(chosen) {
        let record = record?;
        let builder = builders.entry(partition).or_insert_with(|| BatchBuilder::new(codec));
        let headers: Vec<_> = record.headers.clone().collect();
        builder.push(record.timestamp, record.key, record.value, &headers)?;
    }
    let build = |(partition, builder): (u32, BatchBuilder)| {
        Ok((PartitionIndex(partition), builder.build()?))
    };
    builders.into_iter().map(build).collect()
}

/// Of a numbered batch: its sequences for every partition, and of its records what is the partition's. A
/// partition cannot tell otherwise whether what it did not get was another's or was lost.
fn spanning(
    opened: &Records<'_>,
    chosen: &[u32],
    partitions: u32,
) -> Result<Vec<(PartitionIndex, Bytes)>, BatchError> {
    let header = opened.header();
    let with_records: BTreeSet<u32> = chosen.iter().copied().collect();
    let attributes = header.attributes.with_codec(Codec::None);
    let without = BatchHeader { attributes, ..header.clone() };
    let builder = |partition: u32| {
        let has_records = with_records.contains(&partition);
        BatchBuilder::editing(if has_records { header } else { &without })
    };
    let mut builders: Vec<BatchBuilder> = (0..partitions).map(builder).collect::<Result<_, _>>()?;
    for (record, &partition) in opened.stored().zip(chosen) {
        if let Some(builder) = builders.get_mut(partition as usize) {
            builder.keep(&record?)?;
        }
    }
    let build = |(partition, builder): (u32, BatchBuilder)| {
        Ok((PartitionIndex(partition), builder.build()?))
    };
    (0_u32..).zip(builders).map(build).collect()
}

#[cfg(test)]
mod tests {
    use brooklet_types::{ProducerEpoch, ProducerId, Timestamp};
    use brooklet_wire::batch::check_crc;

    use super::*;

    /// The values of each partition, and how many sequences its batch has.
    fn distributed(codec: Codec, is_numbered: bool) -> Vec<(u32, Vec<String>, u32)> {
        let mut builder = BatchBuilder::new(codec);
        if is_numbered {
            builder = builder.producer(ProducerId(7), ProducerEpoch(0), 40);
        }
        for number in 0..6 {
            let value = number.to_string();
            let header = [(&b"h"[..], None)];
            builder.push(Timestamp(number), None, Some(value.as_bytes()), &header).unwrap();
        }
        let batch = builder.build().unwrap();
        let batches = distribute(&records(&batch).unwrap(), &[2, 0, 2, 0, 2, 2], 4).unwrap();
        let shown = batches.iter().map(|(partition, batch)| {
            check_crc(batch).unwrap();
            let opened = records(batch).unwrap();
            let sequence = if is_numbered { 40 } else { -1 };
            assert_eq!(opened.header().base_sequence, sequence);
            let values = opened.iter().map(|record| {
                let record = record.unwrap();
                let value = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
                assert_eq!(record.timestamp.0.to_string(), value);
                assert_eq!(record.header_count(), 1);
                value
            });
            (partition.0, values.collect(), opened.header().last_offset_delta + 1)
        });
        shown.collect()
    }

    #[test]
    fn records_are_distributed_in_their_order() {
        let text = |values: &str| values.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        for codec in Codec::ALL {
            let expected = [(0, text("1 3"), 2), (2, text("0 2 4 5"), 4)];
            assert_eq!(distributed(codec, false), expected);
        }
    }

    #[test]
    fn every_partition_gets_all_sequences_of_a_numbered_batch() {
        let text = |values: &str| values.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        for codec in Codec::ALL {
            let expected = [
                (0, text("1 3"), 6),
                (1, Vec::new(), 6),
                (2, text("0 2 4 5"), 6),
                (3, Vec::new(), 6),
            ];
            assert_eq!(distributed(codec, true), expected);
        }
    }
}
