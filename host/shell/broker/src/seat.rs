//! A shard and those who wait for its replies, run by whoever has something for it.
//!
//! **Where it sits.** Between request handlers, which ask, and the shard's threads, which do what
//! takes long. All of them meet here.
//!
//! **What it decides.** On whose thread a turn is run. A request that is soon done and finds the
//! shard at rest is carried out by the task that brings it: handing it over and the reply back
//! would cost two changes of thread, more than the work itself (host/decisions/0003 has the
//! measurement). Anything else waits in the queue for the shard's thread.
//!
//! **What it never does.** Wait for a disk's sync: that is the sync thread's work, and the shard is
//! free meanwhile.
//!
//! **Invariants.** One turn at a time. Requests of one asker are carried out in the order in which they
//! were asked: none overtakes what is in the queue. A reply's sender is taken out exactly once. A panic
//! in a turn ends the process: nothing that went on with that state could be believed.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use brooklet_log::{Disk, Log};
use brooklet_meta::Cluster;
use brooklet_shard::Shard;
use brooklet_shard::input::{Input, Request, Ticket};
use brooklet_shard::output::{Output, Reply};
use brooklet_types::Instant;
use tokio::sync::{mpsc, oneshot};

use crate::cleaner::Cleaning;
use crate::events;
use crate::peers::outward::Want;
use crate::shard_thread::{Envelope, Outside, WriteBack};
use crate::shards::Stopping;

/// A shard and the way to it.
pub(crate) struct Seat<D: Disk> {
    /// Protects the shard, for one turn; never held over an await or a sync. Empty once it stopped.
    machine: Mutex<Option<Machine<D>>>,
    /// Questions in the queue, or taken from it and not carried out yet.
    queued: AtomicUsize,
    inbox: mpsc::Sender<Envelope<D>>,
}

/// A shard, and what it needs to be heard.
struct Machine<D: Disk> {
    shard: Shard<D>,
    outside: Outside<D>,
    inbox: mpsc::Sender<Envelope<D>>,
    waiting: HashMap<Ticket, oneshot::Sender<Reply<D>>>,
    outbox: Vec<Output<D>>,
    /// When the shard's thread will look at the time next, if nothing else wakes it.
    thread_wakes: Option<Instant>,
}

/// What becomes of a question.
#[derive(Debug)]
pub(crate) enum Answer<D: Disk> {
    /// It is answered.
    Now(Reply<D>),
    /// It will be.
    Later(oneshot::Receiver<Reply<D>>),
}

impl<D: Disk> Answer<D> {
    pub(crate) async fn wait(self) -> Result<Reply<D>, Stopping> {
        match self {
            Answer::Now(reply) => Ok(reply),
            Answer::Later(answer) => answer.await.map_err(|_| Stopping),
        }
    }
}

impl<D: Disk> std::fmt::Debug for Seat<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seat").field("queued", &self.queued).finish_non_exhaustive()
    }
}

impl<D: Disk> Seat<D> {
    pub(crate) fn new(
        shard: Shard<D>,
        inbox: mpsc::Sender<Envelope<D>>,
        outside: Outside<D>,
    ) -> Arc<Seat<D>> {
        let machine = Machine {
            shard,
            outside,
            inbox: inbox.clone(),
            waiting: HashMap::new(),
            outbox: Vec::new(),
            thread_wakes: None,
        };
        let (machine, queued) = (Mutex::new(Some(machine)), AtomicUsize::new(0));
        Arc::new(Seat { machine, queued, inbox })
    }

    /// Asks. Returns once the request has been carried out or has its place in line.
    pub(crate) async fn ask(
        &self,
        ticket: Ticket,
        request: Request,
    ) -> Result<Answer<D>, Stopping> {
        let request = match self.ask_here(ticket, request) {
            Ok(answer) => return Ok(answer),
            Err(request) => request,
        };
        let (reply, answer) = oneshot::channel();
        self.enqueue(Envelope::Ask { request, reply, ticket }).await?;
        Ok(Answer::Later(answer))
    }

    /// Gives the shard another image of the cluster, in turn.
    pub(crate) async fn follow(
        &self,
        ticket: Ticket,
        cluster: Arc<Cluster>,
    ) -> Result<oneshot::Receiver<Reply<D>>, Stopping> {
        let (reply, answer) = oneshot::channel();
        self.enqueue(Envelope::Cluster { cluster, reply, ticket }).await?;
        Ok(answer)
    }

    /// Tells the shard something that nobody waits for an answer to, in turn.
    pub(crate) async fn tell_in_turn(&self, input: Input) -> Result<(), Stopping> {
        self.inbox.send(Envelope::Tell(input)).await.map_err(|_| Stopping)
    }

    /// Has the shard end, in turn, and hand over its logs, which are to be closed.
    pub(crate) async fn stop(&self) -> Result<oneshot::Receiver<Vec<Log<D>>>, Stopping> {
        let (done, answer) = oneshot::channel();
        self.enqueue(Envelope::Stop { done }).await?;
        Ok(answer)
    }

    /// Says that nobody waits for the reply to `ticket` any more.
    pub(crate) fn abandon(&self, ticket: Ticket) {
        // When the queue is full the request ends by its own deadline instead.
        let _ = self.inbox.try_send(Envelope::Tell(Input::Abandoned { ticket }));
    }

    async fn enqueue(&self, envelope: Envelope<D>) -> Result<(), Stopping> {
        // Counted only with a place in hand: an asker that gives up while it waits leaves no trace.
        let place = self.inbox.reserve().await.map_err(|_| Stopping)?;
        self.queued.fetch_add(1, Ordering::AcqRel);
        place.send(envelope);
        Ok(())
    }

    /// Carries the request out on this thread, if it is soon done and the shard is at rest.
    #[expect(
        clippy::result_large_err,
        reason = "the request is given back to be queued; a box would be an allocation for each"
    )]
    fn ask_here(&self, ticket: Ticket, request: Request) -> Result<Answer<D>, Request> {
        let mut machine = match self.machine.try_lock() {
            Ok(machine) => machine,
            Err(TryLockError::WouldBlock) => return Err(request),
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        };
        match &mut *machine {
            Some(machine)
                if self.queued.load(Ordering::Acquire) == 0
                    && machine.shard.is_soon_done(&request) =>
            {
                Ok(end_process_on_panic(|| machine.answer(ticket, request)))
            }
            _ => Err(request),
        }
    }

    /// Something happened that nobody waits for. For threads that may block.
    pub(crate) fn tell(&self, input: Input) {
        if let Some(machine) = &mut *self.lock() {
            end_process_on_panic(|| machine.turn(std::iter::once(Envelope::Tell(input))));
        }
    }

    /// A turn on the shard's own thread: everything that was taken from the queue, and what is due. Says
    /// when the next is due, or that there will be none.
    pub(crate) fn turn(&self, taken: &mut Vec<Envelope<D>>) -> Turned {
        let mut lock = self.lock();
        let Some(machine) = &mut *lock else { return Turned::Stopped };
        let asked = taken.iter().filter(|envelope| envelope.is_counted()).count();
        let stop = taken.iter().position(|envelope| matches!(envelope, Envelope::Stop { .. }));
        let last = stop.map(|at| taken.split_off(at)).and_then(|rest| rest.into_iter().next());
        end_process_on_panic(|| machine.turn(taken.drain(..)));
        machine.thread_wakes = machine.shard.next_deadline();
        let wakes = machine.thread_wakes;
        self.queued.fetch_sub(asked, Ordering::AcqRel);
        match last {
            Some(Envelope::Stop { done }) => {
                let machine = lock.take().expect("looked at above");
                // Requests that still wait for a sync are covered when the logs are closed, but are not
                // answered: their connections are gone by now.
                let _ = done.send(machine.shard.into_logs());
                Turned::Stopped
            }
            _ => Turned::Due(wakes),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Machine<D>>> {
        // A panic while it is held ends the process.
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How a turn of the shard's thread ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turned {
    /// Something is due then, if anything is.
    Due(Option<Instant>),
    /// The shard is gone.
    Stopped,
}

impl<D: Disk> Machine<D> {
    /// Carries out one request, and gives its reply to the caller if it is there already.
    fn answer(&mut self, ticket: Ticket, request: Request) -> Answer<D> {
        let (now, clock) = (self.outside.clock.now(), self.outside.clock.timestamp());
        self.shard.step(now, clock, Input::Request { ticket, request }, &mut self.outbox);
        self.shard.end_turn(&mut self.outbox);
        let mut answer = None;
        for output in std::mem::take(&mut self.outbox) {
            match output {
                Output::Reply { ticket: of, reply } if of == ticket => answer = Some(reply),
                other @ (Output::Reply { .. }
                | Output::Sync(_)
                | Output::WriteBack { .. }
                | Output::Compact { .. }
                | Output::FetchFrom { .. }
                | Output::AlterPartitions { .. }
                | Output::QuorumMoved(_)
                | Output::ClusterChanged(_)
                | Output::SendToBroker { .. }
                | Output::Event(_)) => self.perform(other),
            }
        }
        self.wake_thread();
        match answer {
            Some(reply) => Answer::Now(reply),
            None => {
                let (reply, answer) = oneshot::channel();
                self.waiting.insert(ticket, reply);
                Answer::Later(answer)
            }
        }
    }

    fn turn(&mut self, envelopes: impl Iterator<Item = Envelope<D>>) {
        let (now, clock) = (self.outside.clock.now(), self.outside.clock.timestamp());
        if self.shard.next_deadline().is_some_and(|deadline| deadline <= now) {
            self.shard.step(now, clock, Input::Tick, &mut self.outbox);
        }
        for envelope in envelopes {
            let Some(input) = self.unpack(envelope) else { continue };
            self.shard.step(now, clock, input, &mut self.outbox);
        }
        self.shard.end_turn(&mut self.outbox);
        for output in std::mem::take(&mut self.outbox) {
            self.perform(output);
        }
    }

    /// Has the shard's thread look at the time sooner, where a turn of somebody else made that needed.
    fn wake_thread(&mut self) {
        let Some(deadline) = self.shard.next_deadline() else { return };
        if self.thread_wakes.is_none_or(|wakes| deadline < wakes) {
            self.thread_wakes = Some(deadline);
            // A full queue wakes it as well.
            let _ = self.inbox.try_send(Envelope::Tell(Input::Tick));
        }
    }

    fn unpack(&mut self, envelope: Envelope<D>) -> Option<Input> {
        match envelope {
            Envelope::Ask { request, reply, ticket } => {
                self.waiting.insert(ticket, reply);
                Some(Input::Request { ticket, request })
            }
            Envelope::Cluster { cluster, reply, ticket } => {
                self.waiting.insert(ticket, reply);
                Some(Input::Cluster { ticket, cluster })
            }
            Envelope::Tell(input) => {
                if let Input::Abandoned { ticket } = &input {
                    self.waiting.remove(ticket);
                }
                Some(input)
            }
            // The seat takes these out of the turn.
            Envelope::Stop { .. } => None,
        }
    }

    fn perform(&mut self, output: Output<D>) {
        match output {
            Output::Reply { ticket, reply } => {
                if let Some(waiter) = self.waiting.remove(&ticket) {
                    // Whoever asked may have gone in the meantime.
                    let _ = waiter.send(reply);
                }
            }
            Output::Sync(job) => {
                self.outside.syncs.send(job).expect("the sync thread outlives the shard");
            }
            Output::WriteBack { partition, dirty } => {
                let job = WriteBack { partition, dirty, inbox: self.inbox.clone() };
                self.outside.leisure.send(job).expect("its thread outlives the shards");
            }
            Output::Compact { partition, topic, job } => {
                let job = Cleaning { partition, topic, job, inbox: self.inbox.clone() };
                self.outside.cleaner.send(job).expect("its thread outlives the shards");
            }
            Output::ClusterChanged(cluster) => {
                self.outside.decided.send_replace(cluster);
            }
            Output::QuorumMoved(standing) => self.outside.outward.moved(standing),
            Output::SendToBroker { broker, message } => {
                self.outside.outward.want(Want::Message { to: broker, message });
            }
            Output::FetchFrom { leader, epoch, partitions } => {
                let shard = self.outside.shard;
                self.outside.outward.want(Want::Copies { shard, leader, epoch, partitions });
            }
            Output::AlterPartitions { epoch, wanted } => {
                let shard = self.outside.shard;
                self.outside.outward.want(Want::Alter { shard, epoch, wanted });
            }
            Output::Event(event) => {
                self.outside.metrics.happened(&event, self.outside.clock.timestamp());
                events::log(&event);
            }
        }
    }
}

/// A panic here means that one of our own invariants broke while we held the only copy of the
/// state. The default hook has printed it by the time this ends the process.
pub(crate) fn end_process_on_panic<T>(work: impl FnOnce() -> T) -> T {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work))
        .unwrap_or_else(|_| std::process::abort())
}

#[cfg(test)]
mod tests;
