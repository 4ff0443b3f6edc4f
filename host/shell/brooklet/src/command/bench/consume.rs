//! Records out, as fast as they come: a topic is filled, and read from start to end again and again.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use brooklet_client::{Consumer, ConsumerConfig, Event, Producer};

use super::load::{Load, Until};
use super::report::{Progress, Run};
use super::tracker::Tally;
use super::{Plan, produce};
use crate::failure::Failure;

/// How long one look at the consumer takes at most.
const POLL: Duration = Duration::from_millis(200);

pub(super) async fn run(plan: &Plan, progress: &Progress) -> Result<Run, Failure> {
    fill(plan, progress).await?;
    let partitions = (0..plan.partitions).map(|index| ((plan.topic.clone(), index), 0));
    let starts: BTreeMap<_, i64> = partitions.collect();
    let window = plan.window();
    let (mut records, mut heard) = (0, Instant::now());
    while Instant::now() < window.to {
        let mut left = plan.stored_records;
        let config = ConsumerConfig::default();
        let mut consumer = Consumer::assign(plan.client.clone(), config, starts.clone());
        while left > 0 && Instant::now() < window.to {
            match consumer.poll(POLL).await? {
                Event::Records(batch) => {
                    let count = u64::try_from(batch.records.len()).unwrap_or(u64::MAX);
                    heard = Instant::now();
                    left = left.checked_sub(count).ok_or_else(|| {
                        Failure::new("more records came out of the topic than went in")
                    })?;
                    if window.contains(heard) {
                        records += count;
                    }
                    progress.add(count);
                }
                Event::Assigned(_) | Event::Idle if heard.elapsed() > plan.patience => {
                    let message = format!("no record for {:?}, {left} missing", plan.patience);
                    return Err(Failure::new(message));
                }
                Event::Assigned(_) | Event::Idle => {}
            }
        }
    }
    Ok(Run::new("consume", plan, window.seconds(), records))
}

async fn fill(plan: &Plan, progress: &Progress) -> Result<(), Failure> {
    let producer = Producer::start(plan.client.clone(), plan.producer.clone())?;
    let window = plan.window();
    let tally = Tally::new(window);
    let load = Load::of(plan, producer.clone(), Until::Records(plan.stored_records));
    progress.fills();
    let mut sender = load.start(tally.clone(), window);
    sender.finish().await?;
    produce::settle(plan, &producer, &tally, &sender).await?;
    progress.restart();
    Ok(())
}
