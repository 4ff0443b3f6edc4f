//! The broker as the world sees it: shards, run as the shell runs them.
//!
//! **What it decides.** On whose thread a turn is run, how many inputs it takes and when: at random, within
//! what `seat`, `shard_thread` and `cleaner` may do.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use brooklet_log::disk::memory::MemoryDisk;
use brooklet_meta::Cluster;
use brooklet_shard::input::{Input, Request, Ticket};
use brooklet_shard::output::{Event as Told, Output, Reply};
use brooklet_shard::start::{self, Started};
use brooklet_shard::{Shard, SyncJob};
use brooklet_types::Instant;

use crate::broker::bug::Bug;
use crate::broker::world::{CAPACITY, Event, World, clock};

/// A running broker.
pub(crate) struct Broker {
    seats: Vec<Seat>,
    /// The newest image that was decided, and the one that all shards have followed.
    decided: Arc<Cluster>,
    applied: Arc<Cluster>,
    /// The image that shards are following, and who has not said so yet.
    following: Option<(Arc<Cluster>, BTreeSet<Ticket>)>,
    /// Answers about the metadata wait until every shard has followed.
    held: Vec<(u64, Ticket, Reply<MemoryDisk>)>,
    /// When all is written back that was to be.
    leisure: u64,
    /// Connections are accepted.
    open: bool,
}

/// A shard and its queue.
pub(crate) struct Seat {
    pub(crate) shard: Shard<MemoryDisk>,
    inbox: VecDeque<Input>,
    /// When its thread looks up next.
    wakes: Option<Instant>,
    sync: Option<SyncJob<MemoryDisk>>,
    /// A sync is under way, or has ended and the shard does not know.
    syncing: bool,
}

impl Broker {
    pub(crate) fn is_open(&self) -> bool {
        self.open
    }

    /// Whether everything that was written is on the disk, and every shard knows.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.seats.iter().all(|seat| !seat.syncing && seat.inbox.is_empty())
    }

    pub(crate) fn applied(&self) -> Arc<Cluster> {
        Arc::clone(&self.applied)
    }

    pub(crate) fn shards(&self) -> u32 {
        u32::try_from(self.seats.len()).expect("few")
    }

    pub(crate) fn into_seats(self) -> Vec<Seat> {
        self.seats
    }

    fn seat(&mut self, shard: u32) -> &mut Seat {
        &mut self.seats[usize::try_from(shard).expect("few")]
    }
}

impl World {
    /// Starts the broker on what is on the disk. Connections come when every partition is open.
    pub(crate) fn start(&mut self) -> Result<(), String> {
        self.run += 1;
        self.disk.set_capacity(CAPACITY);
        self.spoil_disk().map_err(|error| error.to_string())?;
        let plan = self.plan.shard_plan(&mut self.prng);
        let (run, shards) = (self.run, plan.shards);
        self.note(format_args!("start {run} with {shards} shards"));
        let (now, clock) = (self.schedule.now(), clock(&self.schedule));
        let started = start::start(&self.disk, plan, now, clock);
        let Started { shards, cluster, .. } = started.map_err(|error| format!("start: {error}"))?;
        let seats = shards.into_iter().map(|shard| Seat {
            shard,
            inbox: VecDeque::new(),
            wakes: None,
            sync: None,
            syncing: false,
        });
        self.broker = Some(Broker {
            seats: seats.collect(),
            decided: cluster,
            applied: Arc::default(),
            following: None,
            held: Vec::new(),
            leisure: 0,
            open: false,
        });
        self.schedule.after(0, Event::Follow { run });
        while let Some(broker) = &self.broker
            && !broker.open
        {
            let event = self.schedule.pop().ok_or("a start does not end")?;
            if let Event::Wake { .. } | Event::Fault = event {
                // Nobody is let in yet; and a start that is cut short is one more start.
                self.schedule.after(1_000, event);
                continue;
            }
            self.drive(event)?;
        }
        Ok(())
    }

    /// What happens inside the broker.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the rest belongs to a run that has ended")]
    pub(crate) fn drive(&mut self, event: Event) -> Result<(), String> {
        let this = self.run;
        if self.broker.is_none() {
            return Ok(());
        }
        match event {
            Event::Arrive { run, shard, ticket, request } if run == this => {
                self.arrive(shard, ticket, request)
            }
            Event::Turn { run, shard } if run == this => self.turn(shard),
            Event::SyncDone { run, shard } if run == this => self.sync_done(shard),
            Event::Synced { run, shard, id } if run == this => {
                self.broker().seat(shard).syncing = false;
                self.tell(shard, Input::Synced { id }, true)
            }
            Event::WriteBack { run, shard, partition, dirty } if run == this => {
                if dirty.sync().is_err() {
                    return self.kill("a write-back failed");
                }
                let token = dirty.token;
                self.tell(shard, Input::WrittenBack { partition, token }, false)
            }
            Event::Clean { run, shard, partition, job } if run == this => {
                let outcome = job.run(&|| true);
                if let Err(brooklet_log::compaction::CompactError::Sync { .. }) = outcome {
                    return self.kill("a sync of the cleaner's failed");
                }
                let outcome = outcome.map(Box::new);
                self.note(format_args!("cleaned {partition:?}: {}", outcome.is_ok()));
                let input = Box::new(Input::Compacted { partition, outcome });
                let after = self.prng.below(20_000);
                self.schedule.after(after, Event::Tell { run, shard, input });
                Ok(())
            }
            Event::Tell { run, shard, input } if run == this => self.tell(shard, *input, false),
            Event::Follow { run } if run == this => self.follow(),
            _ => Ok(()),
        }
    }

    fn broker(&mut self) -> &mut Broker {
        self.broker.as_mut().expect("looked at by whoever calls")
    }

    fn arrive(&mut self, shard: u32, ticket: Ticket, request: Request) -> Result<(), String> {
        self.owed.insert(ticket);
        let request = match self.spoil(request) {
            Ok(request) => request,
            Err(reply) => return self.reply(ticket, reply),
        };
        let here = self.prng.chance(50);
        let seat = self.broker().seat(shard);
        let soon = seat.inbox.is_empty() && seat.shard.is_soon_done(&request);
        let input = Input::Request { ticket, request };
        if here && soon {
            return self.run_turn(shard, vec![input], false);
        }
        seat.inbox.push_back(input);
        self.wake_soon(shard);
        Ok(())
    }

    /// Something for a shard's queue, or for the shard right away.
    fn tell(&mut self, shard: u32, input: Input, now: bool) -> Result<(), String> {
        if now {
            return self.run_turn(shard, vec![input], true);
        }
        self.broker().seat(shard).inbox.push_back(input);
        self.wake_soon(shard);
        Ok(())
    }

    fn wake_soon(&mut self, shard: u32) {
        let after = self.prng.below(300);
        let run = self.run;
        self.schedule.after(after, Event::Turn { run, shard });
    }

    /// A turn of the shard's own thread.
    fn turn(&mut self, shard: u32) -> Result<(), String> {
        let some = 1 + self.prng.below(8);
        let now = self.schedule.now();
        let seat = self.broker().seat(shard);
        let count = usize::try_from(some).expect("few").min(seat.inbox.len());
        let inputs: Vec<Input> = seat.inbox.drain(..count).collect();
        let due = seat.shard.next_deadline().is_some_and(|deadline| deadline <= now);
        let left = !seat.inbox.is_empty();
        seat.wakes = None;
        if inputs.is_empty() && !due {
            self.wake_in_time(shard);
            return Ok(());
        }
        self.run_turn(shard, inputs, true)?;
        if left && self.broker.is_some() {
            self.wake_soon(shard);
        }
        Ok(())
    }

    fn run_turn(&mut self, shard: u32, inputs: Vec<Input>, ticks: bool) -> Result<(), String> {
        let (now, clock) = (self.schedule.now(), clock(&self.schedule));
        let mut outbox = Vec::new();
        let seat = self.broker().seat(shard);
        if ticks && seat.shard.next_deadline().is_some_and(|deadline| deadline <= now) {
            seat.shard.step(now, clock, Input::Tick, &mut outbox);
        }
        for input in inputs {
            seat.shard.step(now, clock, input, &mut outbox);
        }
        seat.shard.end_turn(&mut outbox);
        for output in outbox {
            self.perform(shard, output)?;
        }
        if self.broker.is_some() {
            self.wake_in_time(shard);
        }
        Ok(())
    }

    /// Has a shard answer something that it answers at once.
    #[expect(clippy::wildcard_enum_match_arm, reason = "all but one is to be performed")]
    pub(crate) fn ask_now(
        &mut self,
        shard: u32,
        request: Request,
    ) -> Result<Reply<MemoryDisk>, String> {
        self.next_ticket += 1;
        let ticket = self.next_ticket;
        let (now, clock) = (self.schedule.now(), clock(&self.schedule));
        let mut outbox = Vec::new();
        let seat = self.broker().seat(shard);
        seat.shard.step(now, clock, Input::Request { ticket, request }, &mut outbox);
        seat.shard.end_turn(&mut outbox);
        let mut answer = None;
        for output in outbox {
            match output {
                Output::Reply { ticket: of, reply } if of == ticket => answer = Some(reply),
                other => self.perform(shard, other)?,
            }
        }
        answer.ok_or_else(|| format!("ticket {ticket} is not answered at once"))
    }

    /// Has the shard's thread look up when something is due, or somewhat later.
    fn wake_in_time(&mut self, shard: u32) {
        let late = self.prng.below(2_000);
        let run = self.run;
        let seat = self.broker().seat(shard);
        let Some(deadline) = seat.shard.next_deadline() else { return };
        if seat.wakes.is_none_or(|wakes| deadline < wakes) {
            seat.wakes = Some(deadline);
            let moment = Instant::from_micros(deadline.as_micros().saturating_add(late));
            self.schedule.at(moment, Event::Turn { run, shard });
        }
    }

    fn perform(&mut self, shard: u32, output: Output<MemoryDisk>) -> Result<(), String> {
        let run = self.run;
        match output {
            Output::Reply { ticket, reply } => return self.reply(ticket, reply),
            Output::Sync(job) => {
                let max = self.plan.sync_max;
                let after = 50 + self.prng.below(max);
                let seat = self.broker().seat(shard);
                if std::mem::replace(&mut seat.syncing, true) || seat.sync.replace(job).is_some() {
                    return Err("two syncs at a time".to_owned());
                }
                self.schedule.after(after, Event::SyncDone { run, shard });
            }
            Output::WriteBack { partition, dirty } => {
                // One thread does it, in order.
                let now = self.schedule.now().as_micros();
                let after = 50 + self.prng.below(100_000);
                let broker = self.broker();
                broker.leisure = broker.leisure.max(now) + after;
                let (after, dirty) = (broker.leisure - now, Box::new(dirty));
                self.schedule.after(after, Event::WriteBack { run, shard, partition, dirty });
            }
            Output::Compact { partition, job, topic: _ } => {
                let after = self.prng.below(100_000);
                self.schedule.after(after, Event::Clean { run, shard, partition, job });
            }
            Output::QuorumMoved(_) => {}
            Output::SendToBroker { .. } => unreachable!("there is one broker"),
            Output::ClusterChanged(cluster) => {
                self.broker().decided = cluster;
                let after = self.prng.below(5_000);
                self.schedule.after(after, Event::Follow { run });
            }
            Output::FetchFrom { .. } | Output::AlterPartitions { .. } => {
                return Err("a broker alone asks others".to_owned());
            }
            Output::Event(event) => return self.told(&event),
        }
        Ok(())
    }

    /// What a shard tells an operator.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the rest is no bad news")]
    fn told(&mut self, event: &Told) -> Result<(), String> {
        self.note(format_args!("told {event:?}"));
        match event {
            Told::PartitionFailed { .. } | Told::NotCompacted { .. }
                if !self.promises.disk_refuses && !self.flips =>
            {
                Err(format!("{event:?}"))
            }
            _ => Ok(()),
        }
    }

    fn sync_done(&mut self, shard: u32) -> Result<(), String> {
        let run = self.run;
        let job = self.broker().seat(shard).sync.take().expect("handed out before");
        let lies = self.bug == Bug::AcknowledgeBeforeSync && self.prng.chance(20);
        if !lies && job.run().is_err() {
            return self.kill("a sync failed");
        }
        let (id, after) = (job.id, self.prng.below(2_000));
        self.schedule.after(after, Event::Synced { run, shard, id });
        Ok(())
    }

    fn reply(&mut self, ticket: Ticket, reply: Reply<MemoryDisk>) -> Result<(), String> {
        let broker = self.broker();
        if let Some((cluster, missing)) = &mut broker.following
            && missing.remove(&ticket)
        {
            if missing.is_empty() {
                broker.applied = Arc::clone(cluster);
                (broker.following, broker.open) = (None, true);
                self.release();
                self.follow()?;
            }
            return Ok(());
        }
        if !self.owed.remove(&ticket) {
            let abandoned = !self.asked.contains_key(&ticket);
            return if abandoned {
                Ok(())
            } else {
                Err(format!("ticket {ticket} is answered twice"))
            };
        }
        let Some(reply) = self.spoil_reply(reply) else { return Ok(()) };
        if let Reply::Metadata { version, .. } = &reply {
            let version = *version;
            self.broker().held.push((version, ticket, reply));
            self.release();
        } else {
            self.answer(ticket, reply);
        }
        Ok(())
    }

    /// Answers about the metadata that all shards have followed.
    fn release(&mut self) {
        let broker = self.broker();
        let version = broker.applied.version();
        let (ready, held): (Vec<_>, Vec<_>) =
            std::mem::take(&mut broker.held).into_iter().partition(|(needs, ..)| *needs <= version);
        broker.held = held;
        for (_, ticket, reply) in ready {
            self.answer(ticket, reply);
        }
    }

    /// Passes the newest image on, unless shards are still following another.
    fn follow(&mut self) -> Result<(), String> {
        let broker = self.broker();
        let is_new = !broker.open || broker.decided.version() > broker.applied.version();
        if broker.following.is_some() || !is_new {
            return Ok(());
        }
        let cluster = Arc::clone(&broker.decided);
        let mut tickets = Vec::new();
        for shard in 0..broker.shards() {
            self.next_ticket += 1;
            tickets.push((shard, self.next_ticket));
        }
        let missing = tickets.iter().map(|(_, ticket)| *ticket).collect();
        self.broker().following = Some((Arc::clone(&cluster), missing));
        for (shard, ticket) in tickets {
            let (run, cluster) = (self.run, Arc::clone(&cluster));
            let input = Box::new(Input::Cluster { ticket, cluster });
            let after = self.prng.below(1_000);
            self.schedule.after(after, Event::Tell { run, shard, input });
        }
        Ok(())
    }
}
