//! From the moment a record is due until a consumer has it.
//!
//! Each record carries the time it was due and its number in its partition. Everything acknowledged
//! has to arrive, once and in order; anything else is a failure, not a figure.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use brooklet_client::{Consumer, ConsumerConfig, ConsumerRecord, Event, Producer};
use bytes::{BufMut, Bytes, BytesMut};

use super::load::{Load, Until, Values};
use super::report::{Latencies, Progress, Run};
use super::tracker::Tally;
use super::{Plan, Window, produce};
use crate::failure::Failure;

/// A time and a number.
pub(super) const BYTES_MIN: u32 = 16;

/// How long one look at the consumer takes at most.
const POLL: Duration = Duration::from_millis(100);

pub(super) async fn run(plan: &Plan, progress: &Progress) -> Result<Run, Failure> {
    let partitions = (0..plan.partitions).map(|index| ((plan.topic.clone(), index), 0));
    let consumer =
        Consumer::assign(plan.client.clone(), ConsumerConfig::default(), partitions.collect());
    let producer = Producer::start(plan.client.clone(), plan.producer.clone())?;
    let window = plan.window();
    let tally = Tally::new(window);
    progress.watch(tally.clone());
    let (origin, bytes, partitions) = (window.began, plan.bytes, u64::from(plan.partitions));
    let mut load = Load::of(plan, producer.clone(), Until::Time(window.to));
    load.values = Values::Stamped(Box::new(move |number, due| {
        stamp(bytes, due.saturating_duration_since(origin), number / partitions)
    }));
    let mut sender = load.start(tally.clone(), window);
    let mut arrivals = Arrivals {
        window,
        next: BTreeMap::new(),
        total: 0,
        counted: 0,
        latencies: Latencies::default(),
    };
    let sending = async {
        let late = sender.finish().await?;
        produce::settle(plan, &producer, &tally, &sender).await?;
        Ok::<_, Failure>((late, sender.sent()))
    };
    let late = arrivals.receive(consumer, sending, plan.patience).await?;
    let run = Run::new("end-to-end", plan, window.seconds(), arrivals.counted);
    Ok(run.latencies(arrivals.latencies).sender_late(late))
}

/// What has come.
struct Arrivals {
    window: Window,
    /// The number that comes next, by partition.
    next: BTreeMap<u32, u64>,
    total: u64,
    /// Of those, the ones that came within the window.
    counted: u64,
    latencies: Latencies,
}

impl Arrivals {
    /// Takes records until all that were sent are here.
    async fn receive(
        &mut self,
        mut consumer: Consumer,
        sending: impl Future<Output = Result<(Latencies, u64), Failure>>,
        patience: Duration,
    ) -> Result<Latencies, Failure> {
        let mut sending = std::pin::pin!(sending);
        let mut sent: Option<(Latencies, u64)> = None;
        let mut heard = Instant::now();
        loop {
            if let Some((late, count)) = &sent {
                if self.total >= *count {
                    return Ok(late.clone());
                }
                if heard.elapsed() > patience {
                    let message = format!("{} of {count} records arrived", self.total);
                    return Err(Failure::new(message));
                }
            }
            // Giving up `poll` loses nothing, and sending goes on where it was.
            tokio::select! {
                event = consumer.poll(POLL) => {
                    if let Event::Records(batch) = event? {
                        heard = Instant::now();
                        for record in &batch.records {
                            self.take(batch.partition, record, heard)?;
                        }
                    }
                }
                outcome = &mut sending, if sent.is_none() => {
                    sent = Some(outcome?);
                    heard = Instant::now();
                }
            }
        }
    }

    fn take(
        &mut self,
        partition: u32,
        record: &ConsumerRecord,
        now: Instant,
    ) -> Result<(), Failure> {
        let stamp = record.value.as_deref().and_then(read_stamp);
        let (due, number) = stamp.ok_or_else(|| {
            let message = format!("partition {partition}: offset {} is not ours", record.offset);
            Failure::new(message)
        })?;
        let next = self.next.entry(partition).or_default();
        if number != *next {
            let message = format!("partition {partition}: record {number} came instead of {next}");
            let hint = "lost, repeated or out of order: with --no-idempotence a retry may do that";
            return Err(Failure::new(message).hint(hint));
        }
        *next += 1;
        self.total += 1;
        let due = self.window.began + due;
        self.counted += u64::from(self.window.contains(now));
        if self.window.contains(due) {
            self.latencies.record(now.saturating_duration_since(due));
        }
        Ok(())
    }
}

fn stamp(bytes: usize, due: Duration, number: u64) -> Bytes {
    let mut value = BytesMut::zeroed(bytes);
    let mut head = &mut value[..];
    head.put_u64(u64::try_from(due.as_nanos()).unwrap_or(u64::MAX));
    head.put_u64(number);
    value.freeze()
}

fn read_stamp(value: &[u8]) -> Option<(Duration, u64)> {
    let (due, rest) = value.split_first_chunk()?;
    let (number, _) = rest.split_first_chunk()?;
    Some((Duration::from_nanos(u64::from_be_bytes(*due)), u64::from_be_bytes(*number)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrivals() -> Arrivals {
        let origin = Instant::now();
        let to = origin + Duration::from_secs(1);
        let window = Window { began: origin, from: origin, to };
        let latencies = Latencies::default();
        Arrivals { window, next: BTreeMap::new(), total: 0, counted: 0, latencies }
    }

    fn record(number: u64, due_ms: u64) -> ConsumerRecord {
        ConsumerRecord {
            offset: 0,
            timestamp: brooklet_types::Timestamp(0),
            key: None,
            value: Some(stamp(100, Duration::from_millis(due_ms), number)),
            headers: Vec::new(),
        }
    }

    #[test]
    fn what_is_missing_repeated_or_foreign_is_a_failure() {
        for numbers in [&[1][..], &[0, 0], &[0, 2], &[0, 1, 0]] {
            let mut arrivals = arrivals();
            let now = arrivals.window.began;
            let mut taken = numbers.iter().map(|number| arrivals.take(0, &record(*number, 0), now));
            assert!(taken.any(|taken| taken.is_err()), "{numbers:?}");
        }
        let mut arrivals = arrivals();
        let now = arrivals.window.began;
        let foreign = ConsumerRecord { value: Some(Bytes::from_static(b"?")), ..record(0, 0) };
        assert!(arrivals.take(0, &foreign, now).is_err());
    }

    #[test]
    fn latencies_run_from_the_time_a_record_was_due() {
        let mut arrivals = arrivals();
        let now = arrivals.window.began + Duration::from_millis(500);
        assert!(arrivals.take(0, &record(0, 100), now).is_ok());
        // Another partition counts for itself.
        assert!(arrivals.take(1, &record(0, 400), now).is_ok());
        // Due after the window: it arrived, but does not count.
        assert!(arrivals.take(1, &record(1, 1500), now).is_ok());
        assert_eq!(arrivals.latencies.count(), 2);
        let close = |ms: f64, expected: f64| (ms - expected).abs() < expected / 100.0;
        assert!(close(arrivals.latencies.percentile_ms(100.0), 400.0));
        assert!(close(arrivals.latencies.percentile_ms(50.0), 100.0));
    }
}
