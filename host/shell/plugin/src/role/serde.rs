//! Asking a serde.

use std::sync::Arc;

use crate::bind::serde::SerdePlugin;
use crate::bind::serde::exports::brooklet::plugin::serde::{Converted, Part as WitPart, Subject};
use crate::bind::types::{Blobs, Reject};
use crate::columns::{Checked, blob_bytes, rejects};
use crate::error::Failure;
use crate::room::Room;
use crate::spec::Part;

/// Which way bytes are converted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// JSON to wire bytes.
    Serialize,
    /// Wire bytes to JSON.
    Deserialize,
}

fn subject(topic: &str, part: Part) -> Subject {
    let part = match part {
        Part::Key => WitPart::Key,
        Part::Value => WitPart::Value,
    };
    Subject { topic: topic.to_owned(), part }
}

fn entries(data: &Blobs) -> u32 {
    u32::try_from(data.ends.len()).unwrap_or(u32::MAX)
}

/// The entries that may not be stored.
pub(crate) async fn check(
    room: &Arc<Room<SerdePlugin>>,
    topic: &str,
    part: Part,
    data: Blobs,
) -> Result<Vec<Reject>, Failure> {
    let (subject, count) = (subject(topic, part), entries(&data));
    let checked = room.call(move |plugin, store| {
        Box::pin(
            async move { plugin.brooklet_plugin_serde().call_check(store, &subject, &data).await },
        )
    });
    let checked = rejects(checked.await?, count).inspect_err(|failure| room.spoil(failure))?;
    room.metrics().shown(count, checked.len());
    Ok(checked)
}

/// Entries in another form: as many, in the same order, null where one was rejected.
pub(crate) async fn convert(
    room: &Arc<Room<SerdePlugin>>,
    topic: &str,
    part: Part,
    data: Blobs,
    direction: Direction,
) -> Result<(Blobs, Vec<Reject>), Failure> {
    let (subject, count) = (subject(topic, part), entries(&data));
    let limit = room.budget().output;
    let converted = room.call(move |plugin, store| {
        Box::pin(async move {
            let serde = plugin.brooklet_plugin_serde();
            match direction {
                Direction::Serialize => serde.call_serialize(store, &subject, &data).await,
                Direction::Deserialize => serde.call_deserialize(store, &subject, &data).await,
            }
        })
    });
    let converted = converted.await?;
    let checked = verify(converted, count, limit).inspect_err(|failure| room.spoil(failure))?;
    room.metrics().shown(count, checked.1.len());
    Ok(checked)
}

fn verify(converted: Converted, count: u32, limit: usize) -> Result<(Blobs, Vec<Reject>), Failure> {
    let bytes = blob_bytes(&converted.data);
    if bytes > limit {
        return Err(Failure::Output { bytes, limit });
    }
    Checked::new(&converted.data, count as usize, "entries")?;
    let rejects = rejects(converted.rejects, count)?;
    Ok((converted.data, rejects))
}
