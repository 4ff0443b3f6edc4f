//! The thread that compacts: one for all shards, one log at a time.
//!
//! **Where it sits.** Between the shards, which hand it jobs and never wait for one, and their disk. A
//! cleaning has several jobs; between two of them the shard decides how it goes on.
//!
//! **What it decides.** Whose policy judges a topic's records: what the hook has for it, or else Kafka's own.
//!
//! **What it never does.** Take more than one stream of the disk from those who wait for replies, or hold up
//! a stop: a job that is interrupted has changed nothing.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc as blocking;
use std::thread::JoinHandle;

use brooklet_hook::Hooks;
use brooklet_log::Disk;
use brooklet_log::compaction::{CompactError, Job};
use brooklet_shard::input::Input;
use brooklet_types::{TopicName, TopicPartition};
use tokio::sync::mpsc;

use crate::seat::end_process_on_panic;
use crate::shard_thread::{Envelope, end_process};

/// A job, and where to say what has come of it.
pub(crate) struct Cleaning<D: Disk> {
    pub(crate) partition: TopicPartition,
    pub(crate) topic: TopicName,
    pub(crate) job: Box<Job<D>>,
    pub(crate) inbox: mpsc::Sender<Envelope<D>>,
}

/// The running thread.
#[derive(Debug)]
pub(crate) struct Cleaner {
    stopping: Arc<AtomicBool>,
    /// Dropped once it may begin.
    waits: Option<blocking::Sender<()>>,
    thread: JoinHandle<()>,
}

impl Cleaner {
    /// Starts the thread; it takes jobs from the other end of the channel it gives, once it may.
    pub(crate) fn start<D: Disk>(
        hooks: Arc<dyn Hooks>,
    ) -> io::Result<(Cleaner, blocking::Sender<Cleaning<D>>)> {
        let (sender, jobs) = blocking::channel();
        let stopping = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stopping);
        let (waits, begins) = blocking::channel();
        let thread = std::thread::Builder::new().name("cleaner".into()).spawn(move || {
            end_process_on_panic(move || {
                // An error: nobody holds it up any more.
                let _ = begins.recv();
                run(jobs, &*hooks, &seen);
            });
        })?;
        Ok((Cleaner { stopping, waits: Some(waits), thread }, sender))
    }

    /// Lets the thread begin. To be called when the hooks know which topics there are: before, nobody can say whose policy
    /// judges one.
    pub(crate) fn begin(&mut self) {
        self.waits = None;
    }

    /// Interrupts the job under way. To be called before the shards end.
    pub(crate) fn interrupt(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Waits for the thread. To be called when nobody can hand out jobs any more.
    pub(crate) fn join(mut self) {
        self.begin();
        // A panic on it has ended the process long ago.
        let _ = self.thread.join();
    }
}

fn run<D: Disk>(jobs: blocking::Receiver<Cleaning<D>>, hooks: &dyn Hooks, stopping: &AtomicBool) {
    for Cleaning { partition, topic, mut job, inbox } in jobs {
        if job.is_first()
            && let Some(policy) = hooks.compaction(&topic, partition.partition)
        {
            job.choose(policy);
        }
        let outcome = job.run(&|| !stopping.load(Ordering::Relaxed));
        if let Err(CompactError::Sync { source, .. }) = &outcome {
            end_process(source);
        }
        let outcome = outcome.map(Box::new);
        // The shard is gone only when the process is ending.
        let _ = inbox.blocking_send(Envelope::Tell(Input::Compacted { partition, outcome }));
    }
}
