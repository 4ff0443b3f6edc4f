//! A sink at work: fetch, write, flush, commit as far as the flush says, and again.

use std::collections::BTreeMap;
use std::time::Duration;

use brooklet_client::{
    Admin, ConsumeError, Consumer, ConsumerConfig, ConsumerRecord, Event, OffsetSpec,
    PartitionRecords, Producer, ProducerConfig, ProducerRecord, Reset,
};
use brooklet_hook::task::{Progress, Rejected, SinkTask, StoredRecord, TaskErrorKind, Written};
use brooklet_types::Timestamp;
use tokio::time::Instant;

use super::deliver::make_topics;
use super::{End, Task, Trouble};
use crate::backoff::Backoff;
use crate::dead::Lost;
use crate::outbox::Partition;

/// How long to wait for records before other things are looked after.
const WAIT: Duration = Duration::from_millis(500);
/// How often a task looks whether its topics have got more partitions.
const LOOK: Duration = Duration::from_secs(30);
/// A sink that holds more is flushed.
const BUFFERED_MAX: u64 = 8 << 20;
/// A call with more records would take long to be given up.
const RECORDS_MAX: usize = 512;
/// Calls that take longer get fewer records the next time; those that take less than a quarter get more.
const CALL: Duration = Duration::from_secs(4);

/// How many records a sink takes at once: found out, and remembered from one run to the next.
#[derive(Debug)]
pub(super) struct Pace(usize);

impl Default for Pace {
    fn default() -> Pace {
        Pace(32)
    }
}

impl Pace {
    fn took(&mut self, time: Duration) {
        if time > CALL {
            self.0 = (self.0 / 2).max(1);
        } else if time < CALL / 4 {
            self.0 = (self.0 * 2).min(RECORDS_MAX);
        }
    }
}

/// How far a partition is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Place {
    /// Behind the last record that was written.
    written: i64,
    /// Where fetching goes on: behind what is no record as well.
    fetched: i64,
    /// What was last committed.
    committed: i64,
}

pub(super) async fn run(task: &Task, pace: &mut Pace) -> Result<End, Trouble> {
    if let Some(topic) = &task.config.errors.dead_letters {
        make_topics(task, std::slice::from_ref(topic)).await?;
    }
    let own = assigned(task).await?;
    let positions = positions(task, &own).await?;
    let mut sink = task.world.tasks.sink(&task.spec()).await?;
    let _stopping = task.passing_on(sink.stopper());
    let mut places: BTreeMap<Partition, Place> = positions
        .into_iter()
        .map(|(partition, at)| (partition, Place { written: at, fetched: at, committed: at }))
        .collect();
    let start = places.iter().map(|((topic, partition), place)| Progress {
        topic: topic.clone(),
        partition: *partition,
        next_offset: place.written,
    });
    for known in sink.start(start.collect()).await? {
        let partition = (known.topic, known.partition);
        let Some(place) = places.get_mut(&partition) else { continue };
        place.written = known.next_offset;
        place.fetched = known.next_offset;
    }
    let reset = if task.config.from_latest { Reset::Latest } else { Reset::Earliest };
    let config = ConsumerConfig { fetch_wait: WAIT, reset, ..ConsumerConfig::default() };
    let from = places.iter().map(|(partition, place)| (partition.clone(), place.fetched));
    let consumer = Consumer::assign(task.world.client.clone(), config, from.collect());
    let mut run = Run {
        task,
        sink,
        pace,
        places,
        consumer,
        dead_letters: None,
        unflushed: None,
        buffered: 0,
    };
    run.work(own.len()).await
}

/// The group whose offsets are the sink's.
pub(crate) fn group(connector: &str) -> String {
    format!("connect-{connector}")
}

/// The partitions of this task: the same ones whoever else there is, and when others are added.
async fn assigned(task: &Task) -> Result<Vec<Partition>, Trouble> {
    let metadata = task.world.client.metadata(Some(&task.config.topics)).await?;
    let mut own = Vec::new();
    for topic in &task.config.topics {
        let known = metadata.topics.get(topic);
        let known = known.filter(|known| known.code.check().is_ok());
        let Some(known) = known else {
            return Err(Trouble::later(format!("topic {topic} is not there")));
        };
        let count = u32::try_from(known.partitions.len()).unwrap_or(u32::MAX);
        let mine = (0..count).filter(|index| index % task.config.tasks_max == task.id);
        own.extend(mine.map(|index| (topic.clone(), index)));
    }
    Ok(own)
}

/// Where each partition goes on.
async fn positions(task: &Task, own: &[Partition]) -> Result<BTreeMap<Partition, i64>, Trouble> {
    let client = &task.world.client;
    let committed = Admin::new(client.clone()).group_offsets(&group(&task.connector)).await?;
    let spec = if task.config.from_latest { OffsetSpec::Latest } else { OffsetSpec::Earliest };
    let new = own.iter().filter(|partition| !committed.contains_key(*partition));
    let new: Vec<(Partition, OffsetSpec)> = new.map(|it| (it.clone(), spec)).collect();
    let found = client.offsets(&new).await?;
    let of = |partition: &Partition| match committed.get(partition) {
        Some(at) => at.offset,
        None => found.get(partition).and_then(|at| at.offset).unwrap_or(0),
    };
    Ok(own.iter().map(|partition| (partition.clone(), of(partition))).collect())
}

struct Run<'a> {
    task: &'a Task,
    sink: Box<dyn SinkTask>,
    pace: &'a mut Pace,
    places: BTreeMap<Partition, Place>,
    consumer: Consumer,
    /// Made with the first record that is buried.
    dead_letters: Option<Producer>,
    /// Since when something waits for a flush.
    unflushed: Option<Instant>,
    buffered: u64,
}

impl Run<'_> {
    async fn work(&mut self, partitions: usize) -> Result<End, Trouble> {
        let mut looked = Instant::now();
        let stop = self.task.stop.clone();
        loop {
            let event = tokio::select! {
                () = stop.cancelled() => {
                    self.flush().await?;
                    return Ok(End::Stopped);
                }
                event = self.consumer.poll(WAIT) => event,
            };
            match event {
                Ok(Event::Records(records)) => {
                    if self.take(records).await? == End::Stopped {
                        self.flush().await?;
                        return Ok(End::Stopped);
                    }
                }
                Ok(Event::Idle | Event::Assigned(_)) => {}
                Err(error) => self.unreadable(error)?,
            }
            let flush = self.task.config.flush_interval;
            let due = self.unflushed.is_some_and(|since| since.elapsed() >= flush);
            if due || self.buffered > BUFFERED_MAX {
                self.flush().await?;
            }
            if self.sink.is_outdated() {
                self.flush().await?;
                return Ok(End::Again);
            }
            if looked.elapsed() > LOOK {
                looked = Instant::now();
                if assigned(self.task).await?.len() != partitions {
                    self.flush().await?;
                    return Ok(End::Again);
                }
            }
        }
    }

    /// A batch that can't be read is left behind if errors are tolerated.
    fn unreadable(&mut self, error: ConsumeError) -> Result<(), Trouble> {
        let ConsumeError::BadBatch { topic, partition, offset, .. } = &error else {
            return Err(error.into());
        };
        if !self.task.config.errors.tolerated {
            return Err(Trouble::for_a_person(error.to_string()));
        }
        let (connector, task) = (&self.task.connector, self.task.id);
        tracing::error!(connector, task, %error, "a batch was left behind");
        self.consumer.seek((topic.to_string(), *partition), offset + 1);
        Ok(())
    }

    /// Writes records, chunk by chunk.
    async fn take(&mut self, fetched: PartitionRecords) -> Result<End, Trouble> {
        let partition = (fetched.topic.to_string(), fetched.partition);
        let records: Vec<StoredRecord> = fetched.records.into_iter().map(stored).collect();
        let mut rest = &records[..];
        while !rest.is_empty() {
            if self.task.stop.is_cancelled() {
                return Ok(End::Stopped);
            }
            let (chunk, later) = rest.split_at(self.pace.0.min(rest.len()));
            self.write(&partition, chunk).await?;
            rest = later;
            self.wrote(&partition, chunk);
            if self.buffered > BUFFERED_MAX {
                self.flush().await?;
            }
        }
        if let Some(place) = self.places.get_mut(&partition) {
            place.fetched = fetched.next_offset;
            if place.fetched != place.committed {
                self.unflushed.get_or_insert_with(Instant::now);
            }
        }
        Ok(End::Again)
    }

    fn wrote(&mut self, partition: &Partition, chunk: &[StoredRecord]) {
        let Some(last) = chunk.last() else { return };
        if let Some(place) = self.places.get_mut(partition) {
            place.written = last.offset + 1;
            place.fetched = place.written;
        }
        self.unflushed.get_or_insert_with(Instant::now);
        self.task.count(chunk.len());
    }

    /// Writes a chunk, however often that takes; what is rejected is buried.
    async fn write(
        &mut self,
        partition: &Partition,
        chunk: &[StoredRecord],
    ) -> Result<(), Trouble> {
        let errors = &self.task.config.errors;
        let mut backoff = Backoff::up_to(errors.retry_delay_max);
        let began = Instant::now();
        loop {
            let asked = Instant::now();
            let written = self.sink.write(&partition.0, partition.1, chunk).await;
            self.pace.took(asked.elapsed());
            let error = match written {
                Ok(Written { rejects, buffered_bytes }) => {
                    self.buffered = buffered_bytes;
                    return self.bury(partition, chunk, &rejects).await;
                }
                Err(error) => error,
            };
            self.task.metrics.failures.inc();
            match error.kind {
                TaskErrorKind::Retry(after) => {
                    let timeout = errors.retry_timeout;
                    if timeout.is_some_and(|longest| began.elapsed() >= longest) {
                        let problem = format!("{error} (errors.retry.timeout is over)");
                        return Err(Trouble::for_a_person(problem));
                    }
                    let wait = after.unwrap_or_else(|| backoff.next());
                    self.task.board.task(self.task.id, |status| {
                        status.trace = Some(format!("tries again: {error}"));
                    });
                    if self.task.pause(wait).await {
                        return Err(Trouble::later("asked to stop"));
                    }
                }
                TaskErrorKind::BadInput if chunk.len() > 1 => {
                    // One of them is to blame.
                    for one in chunk {
                        Box::pin(self.write(partition, std::slice::from_ref(one))).await?;
                    }
                    return Ok(());
                }
                TaskErrorKind::BadInput => {
                    let reject =
                        Rejected { index: 0, code: "bad-input".to_owned(), message: error.message };
                    return self.bury(partition, chunk, &[reject]).await;
                }
                TaskErrorKind::Restart | TaskErrorKind::Person => return Err(error.into()),
            }
        }
    }

    async fn bury(
        &mut self,
        partition: &Partition,
        chunk: &[StoredRecord],
        rejects: &[Rejected],
    ) -> Result<(), Trouble> {
        self.task.board.task(self.task.id, |status| status.trace = None);
        let lost: Vec<Lost> =
            rejects.iter().map(|reject| lost(partition, &chunk[reject.index], reject)).collect();
        self.task.tolerate(&lost)?;
        let config = &self.task.config;
        let Some(topic) = config.errors.dead_letters.as_ref().filter(|_| !lost.is_empty()) else {
            return Ok(());
        };
        if self.dead_letters.is_none() {
            let client = self.task.world.client.clone();
            self.dead_letters = Some(Producer::start(client, ProducerConfig::default())?);
        }
        let Some(producer) = &mut self.dead_letters else { return Ok(()) };
        let mut sent = Vec::new();
        for one in &lost {
            let (connector, task) = (&self.task.connector, self.task.id);
            let headers = one.headers(&config.errors, connector, task, &config.class);
            let record = ProducerRecord {
                topic: topic.as_str().into(),
                partition: None,
                key: one.key.clone(),
                value: one.value.clone(),
                headers,
                timestamp: Some(Timestamp(one.timestamp)),
            };
            sent.push(producer.send(record).await?);
        }
        // Before anything behind them is committed.
        for delivery in sent {
            delivery.await?;
        }
        Ok(())
    }

    /// Flushes, and commits as far as that reaches.
    async fn flush(&mut self) -> Result<(), Trouble> {
        if self.unflushed.is_none() {
            return Ok(());
        }
        let reached = self.sink.flush().await?;
        let mut commit = BTreeMap::new();
        for progress in reached {
            let partition = (progress.topic, progress.partition);
            let next = progress.next_offset;
            let Some(place) = self.places.get_mut(&partition) else {
                let problem = format!("progress in {}-{}", partition.0, partition.1);
                return Err(Trouble::later(format!("gave a wrong answer: {problem}, not its own")));
            };
            if next > place.written {
                let problem = format!("progress to {next}, written to {}", place.written);
                return Err(Trouble::later(format!("gave a wrong answer: {problem}")));
            }
            // Behind its last record there may be some that no client sees.
            let next = if next == place.written { place.fetched } else { next };
            if next > place.committed {
                commit.insert(partition, next);
            }
        }
        for (partition, place) in &self.places {
            // Nothing of it was ever given to the sink, and what was passed over is not its business.
            let is_untouched = place.written <= place.committed;
            if is_untouched && place.fetched > place.committed {
                commit.insert(partition.clone(), place.fetched);
            }
        }
        self.unflushed = None;
        self.buffered = 0;
        if commit.is_empty() {
            return Ok(());
        }
        let admin = Admin::new(self.task.world.client.clone());
        admin.set_group_offsets(&group(&self.task.connector), &commit).await?;
        for (partition, offset) in commit {
            if let Some(place) = self.places.get_mut(&partition) {
                place.committed = offset;
            }
        }
        Ok(())
    }
}

fn stored(record: ConsumerRecord) -> StoredRecord {
    StoredRecord {
        offset: record.offset,
        timestamp: record.timestamp.0,
        key: record.key,
        value: record.value,
        headers: record.headers,
    }
}

fn lost(partition: &Partition, record: &StoredRecord, reject: &Rejected) -> Lost {
    let lost = Lost {
        topic: partition.0.clone(),
        partition: Some(partition.1),
        offset: Some(record.offset),
        timestamp: record.timestamp,
        key: record.key.clone(),
        value: record.value.clone(),
        headers: record.headers.clone(),
        stage: "TASK_PUT",
        code: String::new(),
        message: String::new(),
    };
    lost.because(reject)
}
