//! A shard's two threads: one takes what is in the queue, one waits for the disk.
//!
//! They belong to the shard, so blocking on its disk is allowed here and nowhere else. While a sync
//! runs the shard goes on, and the next sync covers all of it: the busier the broker, the better
//! it amortises.
//!
//! **Invariant.** A failed sync, or a panic on one of these threads, ends the process: recovery is
//! exercised on every start, and nothing that went on after either could be believed.

use std::io;
use std::sync::Arc;
use std::sync::mpsc as blocking;

use brooklet_io::Clock;
use brooklet_log::{Dirty, Disk, Log};
use brooklet_meta::Cluster;
use brooklet_shard::SyncJob;
use brooklet_shard::input::{Input, Request, Ticket};
use brooklet_shard::output::Reply;
use brooklet_types::{Instant, TopicPartition, limits};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, oneshot, watch};

use crate::cleaner::Cleaning;
use crate::metrics::Metrics;
use crate::peers::outward::Outward;
use crate::seat::{Seat, Turned, end_process_on_panic};

/// Inputs taken into one turn. Enough to amortise a sync, few enough to keep a turn short.
const INPUTS_PER_TURN_MAX: usize = 256;

/// What arrives at a shard's thread.
#[derive(Debug)]
pub(crate) enum Envelope<D: Disk> {
    /// Somebody asks and waits.
    Ask { request: Request, reply: oneshot::Sender<Reply<D>>, ticket: Ticket },
    /// The cluster changed.
    Cluster { cluster: Arc<Cluster>, reply: oneshot::Sender<Reply<D>>, ticket: Ticket },
    /// Something happened that nobody waits for.
    Tell(Input),
    /// End the thread and hand over the logs, to be closed.
    Stop { done: oneshot::Sender<Vec<Log<D>>> },
}

impl<D: Disk> Envelope<D> {
    /// Whether no later request may overtake it.
    pub(crate) fn is_counted(&self) -> bool {
        !matches!(self, Envelope::Tell(_))
    }
}

/// What a shard needs of the world.
pub(crate) struct Outside<D: Disk> {
    pub(crate) clock: Clock,
    /// What this shard wants on the disk before anybody is told of it.
    pub(crate) syncs: blocking::Sender<SyncJob<D>>,
    /// What all shards want written back at leisure.
    pub(crate) leisure: blocking::Sender<WriteBack<D>>,
    /// What all shards want compacted.
    pub(crate) cleaner: blocking::Sender<Cleaning<D>>,
    /// Where the metadata's shard says what has been decided.
    pub(crate) decided: watch::Sender<Arc<Cluster>>,
    pub(crate) metrics: Arc<Metrics>,
    /// Which shard it is.
    pub(crate) shard: u32,
    /// The way to other brokers.
    pub(crate) outward: Outward,
}

/// One partition's closed files, and where to say that they are on the disk.
pub(crate) struct WriteBack<D: Disk> {
    pub(crate) partition: TopicPartition,
    pub(crate) dirty: Dirty<D>,
    pub(crate) inbox: mpsc::Sender<Envelope<D>>,
}

/// Starts the thread that makes durable what the shard at `seat` wants so. It ends with the shard.
pub(crate) fn spawn_syncs<D: Disk>(
    name: String,
    seat: Arc<Seat<D>>,
    jobs: blocking::Receiver<SyncJob<D>>,
    clock: Clock,
    metrics: Arc<Metrics>,
) -> io::Result<()> {
    let run = move || {
        for job in jobs {
            let began = clock.now();
            if let Err(error) = job.run() {
                end_process(&error);
            }
            metrics.synced(clock.now().since(began));
            seat.tell(Input::Synced { id: job.id });
        }
    };
    std::thread::Builder::new().name(name).spawn(move || end_process_on_panic(run)).map(|_| ())
}

/// Starts the thread of the shard at `seat`. It ends with [`Envelope::Stop`].
pub(crate) fn spawn<D: Disk>(
    name: String,
    seat: Arc<Seat<D>>,
    mut inbox: mpsc::Receiver<Envelope<D>>,
    clock: Clock,
) -> io::Result<std::thread::JoinHandle<()>> {
    // Its own, for its timer: a thread that waits on somebody else's panics when that ends first.
    let runtime = Builder::new_current_thread().enable_time().build()?;
    let run = move || {
        let mut taken = Vec::with_capacity(INPUTS_PER_TURN_MAX);
        let mut due = None;
        while wait(&mut inbox, &mut taken, due, &clock, &runtime) {
            match seat.turn(&mut taken) {
                Turned::Due(next) => due = next,
                Turned::Stopped => return,
            }
        }
    };
    std::thread::Builder::new().name(name).spawn(move || end_process_on_panic(run))
}

/// Waits for something to happen, or until something is due. False when nothing will ever happen
/// again.
fn wait<D: Disk>(
    inbox: &mut mpsc::Receiver<Envelope<D>>,
    taken: &mut Vec<Envelope<D>>,
    due: Option<Instant>,
    clock: &Clock,
    runtime: &Runtime,
) -> bool {
    let receive = inbox.recv_many(taken, INPUTS_PER_TURN_MAX);
    let Some(due) = due else { return runtime.block_on(receive) > 0 };
    let left = due.since(clock.now());
    runtime.block_on(async {
        match tokio::time::timeout(left, receive).await {
            Ok(received) => received > 0,
            Err(_elapsed) => true,
        }
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

pub(crate) fn end_process(error: &io::Error) -> ! {
    tracing::error!(%error, "sync: what is on the disk is unknown, so the process ends");
    std::process::exit(EXIT_SYNC_FAILED);
}

/// `EX_IOERR` of sysexits: the supervisor restarts us and recovery reads what there is.
const EXIT_SYNC_FAILED: i32 = 74;

/// The bounded way into a shard's thread (queue 1 of the record path).
pub(crate) fn inbox<D: Disk>() -> (mpsc::Sender<Envelope<D>>, mpsc::Receiver<Envelope<D>>) {
    mpsc::channel(limits::SHARD_QUEUE_MAX)
}
