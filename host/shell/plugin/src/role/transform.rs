//! Asking a transform.

use std::sync::Arc;

use brooklet_wire::batch::Records;

use crate::bind::transform::TransformPlugin;
use crate::bind::transform::exports::brooklet::plugin::transform::Outcome;
use crate::bind::types::{OutBatch, Reject};
use crate::columns::{CheckedOut, gather, out_bytes, rejects};
use crate::error::Failure;
use crate::room::Room;

/// What becomes of the records of a batch. Checked: indexes and lengths fit the batch.
#[derive(Clone, Debug)]
pub(crate) enum Transformed {
    /// All stay as they are.
    Pass,
    /// Those whose bit is set stay as they are.
    Select(Vec<u8>),
    /// These instead.
    Emit(Box<OutBatch>),
}

/// Shows a batch to a transform.
pub(crate) async fn transform(
    room: &Arc<Room<TransformPlugin>>,
    topic: &str,
    partition: i32,
    records: &Records<'_>,
) -> Result<(Transformed, Vec<Reject>), Failure> {
    let wanted = room.columns().await?;
    let batch = gather(topic, partition, records, wanted);
    let batch = batch.map_err(|error| Failure::BadInput(error.to_string()))?;
    let count = batch.count;
    let transformed = room.call(move |plugin, store| {
        Box::pin(
            async move { plugin.brooklet_plugin_transform().call_transform(store, &batch).await },
        )
    });
    let transformed = transformed.await?;
    let rejected = rejects(transformed.rejects, count);
    let checked = rejected.and_then(|rejects| {
        let outcome = verify(transformed.outcome, count, room.budget().output)?;
        Ok((outcome, rejects))
    });
    let checked = checked.inspect_err(|failure| room.spoil(failure))?;
    room.metrics().shown(count, checked.1.len());
    Ok(checked)
}

fn verify(outcome: Outcome, count: u32, limit: usize) -> Result<Transformed, Failure> {
    match outcome {
        Outcome::Pass => Ok(Transformed::Pass),
        Outcome::Select(bits) => {
            let due = (count as usize).div_ceil(8);
            if bits.len() == due {
                Ok(Transformed::Select(bits))
            } else {
                Err(Failure::wrong(format!("a selection of {} bytes, {due} were due", bits.len())))
            }
        }
        Outcome::Emit(out) => {
            let bytes = out_bytes(&out);
            if bytes > limit {
                return Err(Failure::Output { bytes, limit });
            }
            // At one offset there is one record, so a view shows each at most once.
            let checked = CheckedOut::new(&out, Some(count))?;
            let sources = checked.sources.unwrap_or_default();
            if sources.windows(2).any(|pair| pair[0] == pair[1]) {
                return Err(Failure::wrong("two records out of one, where offsets can't change"));
            }
            Ok(Transformed::Emit(Box::new(out)))
        }
    }
}
