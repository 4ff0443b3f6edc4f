//! A shard's thread: takes everything that waits, steps the machine, carries out what it says.
//!
//! The thread belongs to the shard, so blocking on its disk is allowed here and nowhere else. While
//! a sync runs on the shard's sync thread the inbox fills, and the next turn takes all of it: the
//! busier the broker, the better it amortises.
//!
//! **Invariants.** A request's reply sender is taken out exactly once. A failed sync, or a panic on
//! this thread, ends the process: recovery is exercised on every start, and nothing that went on
//! after either could be believed.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::mpsc as blocking;
use std::time::Duration;

use brooklet_io::Clock;
use brooklet_log::{Dirty, Disk};
use brooklet_meta::Cluster;
use brooklet_shard::input::{Input, Request, Ticket};
use brooklet_shard::output::{Output, Reply};
use brooklet_shard::{Shard, SyncId, SyncJob};
use brooklet_types::{TopicPartition, limits};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};

use crate::cleaner::Cleaning;
use crate::events;

/// Inputs taken into one turn. Enough to amortise a sync, few enough to keep a turn short.
const INPUTS_PER_TURN_MAX: usize = 256;

/// A sync of so few files is done on the shard's own thread when nothing else waits: two changes
/// of thread cost more than it does.
const SYNC_INLINE_COUNT_MAX: usize = 1;

/// What arrives at a shard's thread.
#[derive(Debug)]
pub(crate) enum Envelope<D: Disk> {
    /// Somebody asks and waits.
    Ask { request: Request, reply: oneshot::Sender<Reply<D>>, ticket: Ticket },
    /// The cluster changed.
    Cluster { cluster: Arc<Cluster>, reply: oneshot::Sender<Reply<D>>, ticket: Ticket },
    /// Something happened that nobody waits for.
    Tell(Input),
    /// Write everything down and end the thread; says whether all of it could be.
    Stop { done: oneshot::Sender<bool> },
}

/// Told how long each sync took.
pub(crate) type ObserveSync = Arc<dyn Fn(Duration) + Send + Sync>;

/// What a shard's thread needs of the world.
pub(crate) struct Outside<D: Disk> {
    pub(crate) clock: Clock,
    pub(crate) runtime: Handle,
    /// Told how long each sync took.
    pub(crate) observe_sync: ObserveSync,
    /// Where this thread's helpers put what they have done.
    pub(crate) inbox: mpsc::Sender<Envelope<D>>,
    /// What all shards want written back at leisure.
    pub(crate) leisure: blocking::Sender<WriteBack<D>>,
    /// What all shards want compacted.
    pub(crate) cleaner: blocking::Sender<Cleaning<D>>,
    /// Where the metadata's shard says what has been decided.
    pub(crate) decided: watch::Sender<Arc<Cluster>>,
}

/// One partition's closed files, and where to say that they are on the disk.
pub(crate) struct WriteBack<D: Disk> {
    partition: TopicPartition,
    dirty: Dirty<D>,
    inbox: mpsc::Sender<Envelope<D>>,
}

/// Starts the thread of `shard`. It ends with [`Envelope::Stop`].
pub(crate) fn spawn<D: Disk>(
    name: String,
    shard: Shard<D>,
    inbox: mpsc::Receiver<Envelope<D>>,
    outside: Outside<D>,
) -> io::Result<std::thread::JoinHandle<()>> {
    let (syncs, jobs) = blocking::channel();
    let done = outside.inbox.clone();
    let (clock, observe_sync) = (outside.clock.clone(), Arc::clone(&outside.observe_sync));
    std::thread::Builder::new().name(format!("{name}-sync")).spawn(move || {
        end_process_on_panic(move || {
            for job in jobs {
                let id = sync(&job, &clock, &observe_sync);
                // The shard is gone only when the process is ending.
                let _ = done.blocking_send(Envelope::Tell(Input::Synced { id }));
            }
        });
    })?;
    std::thread::Builder::new().name(name).spawn(move || {
        end_process_on_panic(move || {
            Thread { shard, outside, syncs, waiting: HashMap::new() }.run(inbox);
        });
    })
}

/// Writes back what topics that leave it to the operating system have closed, one after the other,
/// so that it never takes more than one disk stream from those who wait for replies.
pub(crate) fn write_back<D: Disk>(jobs: blocking::Receiver<WriteBack<D>>) {
    for WriteBack { partition, dirty, inbox } in jobs {
        if let Err(error) = dirty.sync() {
            end_process(&error);
        }
        let token = dirty.token;
        let _ = inbox.blocking_send(Envelope::Tell(Input::WrittenBack { partition, token }));
    }
}

enum Unpacked {
    Input(Input),
    Stop(oneshot::Sender<bool>),
}

struct Thread<D: Disk> {
    shard: Shard<D>,
    outside: Outside<D>,
    syncs: blocking::Sender<SyncJob<D>>,
    waiting: HashMap<Ticket, oneshot::Sender<Reply<D>>>,
}

impl<D: Disk> Thread<D> {
    fn run(mut self, mut inbox: mpsc::Receiver<Envelope<D>>) {
        let mut turn = Vec::with_capacity(INPUTS_PER_TURN_MAX);
        let mut outbox = Vec::new();
        while self.wait(&mut inbox, &mut turn) {
            let (now, clock) = (self.outside.clock.now(), self.outside.clock.timestamp());
            if self.shard.next_deadline().is_some_and(|deadline| deadline <= now) {
                self.shard.step(now, clock, Input::Tick, &mut outbox);
            }
            for envelope in turn.drain(..) {
                match self.unpack(envelope) {
                    Unpacked::Input(input) => self.shard.step(now, clock, input, &mut outbox),
                    Unpacked::Stop(done) => return self.stop(done),
                }
            }
            self.shard.end_turn(&mut outbox);
            let nobody_waits = inbox.is_empty();
            while !outbox.is_empty() {
                for output in std::mem::take(&mut outbox) {
                    self.perform(output, nobody_waits, &mut outbox);
                }
            }
        }
    }

    /// Waits for something to happen or for the shard's next deadline. False when nothing will
    /// ever happen again.
    fn wait(&self, inbox: &mut mpsc::Receiver<Envelope<D>>, turn: &mut Vec<Envelope<D>>) -> bool {
        let receive = inbox.recv_many(turn, INPUTS_PER_TURN_MAX);
        let Some(deadline) = self.shard.next_deadline() else {
            return self.outside.runtime.block_on(receive) > 0;
        };
        let left = deadline.since(self.outside.clock.now());
        self.outside.runtime.block_on(async {
            match tokio::time::timeout(left, receive).await {
                Ok(received) => received > 0,
                Err(_elapsed) => true,
            }
        })
    }

    /// Ends in good order. Requests that are still waiting for a sync are covered by this one, but
    /// are not answered: their connections are closed by now.
    fn stop(self, done: oneshot::Sender<bool>) {
        let closed = self.shard.close();
        if let Err(error) = &closed {
            tracing::error!(%error, "close: the next start will recover");
        }
        let _ = done.send(closed.is_ok());
    }

    fn unpack(&mut self, envelope: Envelope<D>) -> Unpacked {
        let input = match envelope {
            Envelope::Ask { request, reply, ticket } => {
                self.waiting.insert(ticket, reply);
                Input::Request { ticket, request }
            }
            Envelope::Cluster { cluster, reply, ticket } => {
                self.waiting.insert(ticket, reply);
                Input::Cluster { ticket, cluster }
            }
            Envelope::Tell(input) => {
                if let Input::Abandoned { ticket } = &input {
                    self.waiting.remove(ticket);
                }
                input
            }
            Envelope::Stop { done } => return Unpacked::Stop(done),
        };
        Unpacked::Input(input)
    }

    fn perform(&mut self, output: Output<D>, nobody_waits: bool, outbox: &mut Vec<Output<D>>) {
        match output {
            Output::Reply { ticket, reply } => {
                if let Some(waiter) = self.waiting.remove(&ticket) {
                    // Whoever asked may have gone in the meantime.
                    let _ = waiter.send(reply);
                }
            }
            Output::Sync(job) if nobody_waits && job.sync_count() <= SYNC_INLINE_COUNT_MAX => {
                let id = sync(&job, &self.outside.clock, &self.outside.observe_sync);
                let (now, clock) = (self.outside.clock.now(), self.outside.clock.timestamp());
                self.shard.step(now, clock, Input::Synced { id }, outbox);
                self.shard.end_turn(outbox);
            }
            Output::Sync(job) => {
                self.syncs.send(job).expect("the sync thread lives as long as this one");
            }
            Output::WriteBack { partition, dirty } => {
                let inbox = self.outside.inbox.clone();
                let job = WriteBack { partition, dirty, inbox };
                self.outside.leisure.send(job).expect("its thread outlives the shards");
            }
            Output::Compact { partition, job } => {
                let inbox = self.outside.inbox.clone();
                let job = Cleaning { partition, job, inbox };
                self.outside.cleaner.send(job).expect("its thread outlives the shards");
            }
            Output::ClusterChanged(cluster) => {
                self.outside.decided.send_replace(cluster);
            }
            Output::Event(event) => events::log(&event),
        }
    }
}

/// Makes `job`'s files durable, or ends the process.
fn sync<D: Disk>(job: &SyncJob<D>, clock: &Clock, observe: &ObserveSync) -> SyncId {
    let began = clock.now();
    if let Err(error) = job.run() {
        end_process(&error);
    }
    observe(clock.now().since(began));
    job.id
}

pub(crate) fn end_process(error: &io::Error) -> ! {
    tracing::error!(%error, "sync: what is on the disk is unknown, so the process ends");
    std::process::exit(EXIT_SYNC_FAILED);
}

/// `EX_IOERR` of sysexits: the supervisor restarts us and recovery reads what there is.
const EXIT_SYNC_FAILED: i32 = 74;

/// A panic here means that one of our own invariants broke while we held the only copy of the
/// state. The default hook has printed it by the time this ends the process.
pub(crate) fn end_process_on_panic(work: impl FnOnce()) {
    if std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).is_err() {
        std::process::abort();
    }
}

/// The bounded way into a shard's thread (queue 1 of the record path).
pub(crate) fn inbox<D: Disk>() -> (mpsc::Sender<Envelope<D>>, mpsc::Receiver<Envelope<D>>) {
    mpsc::channel(limits::SHARD_QUEUE_MAX)
}
