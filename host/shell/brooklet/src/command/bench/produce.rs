//! Records in, until they are acknowledged.

use brooklet_client::Producer;

use super::Plan;
use super::load::{Load, Sender, Until};
use super::report::{Progress, Run};
use super::tracker::Tally;
use crate::failure::Failure;

pub(super) async fn run(plan: &Plan, progress: &Progress) -> Result<Run, Failure> {
    let producer = Producer::start(plan.client.clone(), plan.producer.clone())?;
    let window = plan.window();
    let tally = Tally::new(window);
    progress.watch(tally.clone());
    let load = Load::of(plan, producer.clone(), Until::Time(window.to));
    let mut sender = load.start(tally.clone(), window);
    let late = sender.finish().await?;
    settle(plan, &producer, &tally, &sender).await?;
    let (records, latencies) = tally.result();
    let run = Run::new("produce", plan, window.seconds(), records);
    Ok(run.latencies(latencies).sender_late(late))
}

/// Waits until everything that was sent is acknowledged; anything else is a failure.
pub(super) async fn settle(
    plan: &Plan,
    producer: &Producer,
    tally: &Tally,
    sender: &Sender,
) -> Result<(), Failure> {
    let flushed = tokio::time::timeout(plan.patience, producer.flush()).await;
    // The last outcomes are known, and their watchers have yet to be told.
    let counted = async {
        while tally.failure().is_none() && tally.acknowledged() < sender.sent() {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    };
    let counted = tokio::time::timeout(plan.patience, counted).await;
    if let Some(error) = tally.failure() {
        return Err(error.into());
    }
    if flushed.is_err() || counted.is_err() {
        let (got, sent) = (tally.acknowledged(), sender.sent());
        let message = format!("{got} of {sent} records acknowledged within {:?}", plan.patience);
        return Err(Failure::new(message).hint("--timeout gives the broker more time"));
    }
    Ok(())
}
