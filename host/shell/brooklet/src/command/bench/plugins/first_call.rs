//! How long the first record of a topic waits for its plugin: the machine code is in the cache, and nothing else is there,
//! as after a start.

use std::time::Instant;

use brooklet_hook::{Hooks as _, Place, Shown};
use brooklet_types::PartitionIndex;

use super::super::process::Folder;
use super::boundary::{batch, topic, topic_name};
use super::scratch::plugins;
use super::{Aim, Figure, median, seconds_since};
use crate::failure::Failure;

/// Measures first calls.
pub(super) async fn measure(rounds: u32) -> Result<Vec<Figure>, Failure> {
    let folder = Folder::new()?;
    let compiled = first(&folder).await?;
    let mut cached = Vec::new();
    for _ in 0..rounds {
        cached.push(first(&folder).await?);
    }
    Ok(vec![Figure {
        name: "first call",
        value: median(cached),
        unit: "ms",
        aim: Aim::AtMost(50.0),
        detail: format!(
            "engine, code from the cache, instance, call; compiled first {compiled:.0} ms"
        ),
    }])
}

/// Milliseconds until the first batch is through, in a room that was just opened.
async fn first(folder: &Folder) -> Result<f64, Failure> {
    let room = plugins(folder.path())?;
    room.follow(vec![topic("view", "mask", r#"{"fields":{"device":"null"}}"#, true, "")?]).await;
    let (name, batches) = (topic_name("view")?, [batch()?]);
    let hook = room.on_fetch(&name).ok_or_else(|| Failure::new("a plugin was not bound"))?;
    let place =
        Place { topic: &name, partition: PartitionIndex(0), partitions: 1, is_placed: false };
    let began = Instant::now();
    match hook.show(place, &batches, usize::MAX).await {
        Shown::Refuse(reason) => Err(Failure::new(reason)),
        Shown::Pass | Shown::Replace(..) => Ok(seconds_since(began) * 1000.0),
    }
}
