//! A source at work: poll, write down, deliver, and again.

use std::time::{Duration, SystemTime};

use brooklet_hook::task::{PollLimits, Polled};
use tokio::time::Instant;

use super::deliver::{burial, deliver, make_topics};
use super::{End, Task, Trouble, place};
use crate::outbox::{self, Entry, Outbox};

/// What one poll may bring. Well below what a topic allows for a batch, and enough that its costs do not show.
const LIMITS: PollLimits =
    PollLimits { records: 10_000, bytes: 512 << 10, wait: Duration::from_secs(1) };
/// A source that has nothing and does not wait for it is asked no more often than that.
const PAUSE: Duration = Duration::from_millis(100);

pub(super) async fn run(task: &Task) -> Result<End, Trouble> {
    let mut topics = task.config.topics.clone();
    topics.extend(task.config.errors.dead_letters.clone());
    make_topics(task, &topics).await?;
    let outbox = task.world.outbox().await?;
    let key = outbox::key(&task.connector, &task.split.id);
    let mut entry = outbox.entry(&key).await?;
    // What the last run may not have finished. What the broker has of it is not stored again.
    deliver(task, outbox, &key, &mut entry).await?;
    outbox.note(&key, &entry);
    let mut source = task.world.tasks.source(&task.spec()).await?;
    let _stopping = task.passing_on(source.stopper());
    source.start(vec![task.split.clone()], entry.position.clone()).await?;
    let mut run = Run { task, outbox, key, entry, is_written: false, turn: 0 };
    let ended = loop {
        if task.stop.is_cancelled() {
            break Ok(End::Stopped);
        }
        if source.is_outdated() {
            break Ok(End::Again);
        }
        let asked = Instant::now();
        let Polled { records, position, more } = source.poll(LIMITS).await?;
        let is_empty = records.is_empty();
        let before = run.entry.position.clone();
        if !is_empty || before.as_ref() != Some(&position) {
            if let Err(trouble) = run.keep(records, position.clone()).await {
                break Err(trouble);
            }
            source.committed(position).await?;
        }
        if is_empty && !more {
            run.settle().await?;
            let waited = asked.elapsed();
            if waited < PAUSE && task.pause(PAUSE - waited).await {
                break Ok(End::Stopped);
            }
        }
    };
    if ended.is_ok() {
        run.settle().await?;
    }
    ended
}

struct Run<'a> {
    task: &'a Task,
    outbox: &'a Outbox,
    key: String,
    entry: Entry,
    /// Whether the outbox's newest record says just what the entry does.
    is_written: bool,
    turn: u32,
}

impl Run<'_> {
    /// Writes down the records of a poll with the position after them, and delivers them.
    async fn keep(
        &mut self,
        records: Vec<brooklet_hook::task::NewRecord>,
        position: Vec<u8>,
    ) -> Result<(), Trouble> {
        self.turn = self.turn.wrapping_add(1);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = now.map_or(0, |now| i64::try_from(now.as_millis()).unwrap_or(i64::MAX));
        let sorted = place::sort(self.task, records, now, self.turn).await?;
        let mut next = self.entry.clone();
        next.batches = sorted.batches;
        next.batches.extend(burial(self.task, &sorted.lost).await?);
        next.position = Some(position);
        self.outbox.put(&self.key, &next).await?;
        self.is_written = next.batches.is_empty();
        self.entry = next;
        let delivered = deliver(self.task, self.outbox, &self.key, &mut self.entry).await;
        // What is left of it is for the next run.
        self.outbox.note(&self.key, &self.entry);
        delivered
    }

    /// While there is nothing to do: says in the outbox that all was delivered, so that it need not be tried again
    /// when the broker has long forgotten this producer.
    async fn settle(&mut self) -> Result<(), Trouble> {
        if self.is_written || self.entry.position.is_none() {
            return Ok(());
        }
        self.outbox.put(&self.key, &self.entry).await?;
        self.is_written = true;
        Ok(())
    }
}
