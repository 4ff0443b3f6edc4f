//! The shards of a broker, run as the shell runs them: queues, turns, syncs, and images that all of them follow.

use std::sync::Arc;

use brooklet_log::disk::memory::MemoryDisk;
use brooklet_meta::Cluster;
use brooklet_shard::input::{Input, Request, Ticket};
use brooklet_shard::output::{Event as Told, Output, Reply};
use brooklet_shard::start::{self, Started};
use brooklet_types::{BrokerId, Instant, Timestamp};

use crate::cluster::bug::Bug;
use crate::cluster::network::{Answer, Asker, CallId, Question};
use crate::cluster::node::{Node, Place, Running};
use crate::cluster::world::{Event, World};

impl World {
    /// Starts a broker on what is on its disk.
    pub(crate) fn start(&mut self, broker: BrokerId) -> Result<(), String> {
        if self.node(broker).running.is_some() {
            return Ok(());
        }
        let directory = self.node(broker).directory;
        let plan = self.plan.shard_plan(&mut self.prng, broker, directory);
        let (now, clock, shards) = (self.schedule.now(), self.clock(), plan.shards);
        let node = self.node(broker);
        node.run += 1;
        let (place, disk) = (node.place(), node.disk.clone());
        self.note(format_args!("{broker} starts, run {}, with {shards} shards", place.run));
        let started = start::start(&disk, plan, now, clock);
        let Started { shards, cluster, orphans, .. } =
            started.map_err(|error| format!("{broker} does not start: {error}"))?;
        if !orphans.is_empty() {
            self.note(format_args!("{broker} removes {orphans:?}"));
        }
        self.node(broker).running = Some(Running::new(shards, cluster));
        self.begin_lifecycle(place);
        self.schedule.after(0, Event::Follow { at: place });
        Ok(())
    }

    pub(crate) fn node(&mut self, broker: BrokerId) -> &mut Node {
        self.nodes.get_mut(&broker).expect("all brokers are there")
    }

    /// What runs there, if it is still that run.
    pub(crate) fn running(&mut self, at: Place) -> Option<&mut Running> {
        let node = self.nodes.get_mut(&at.broker).filter(|node| node.run == at.run)?;
        node.running.as_mut()
    }

    pub(crate) fn clock(&self) -> Timestamp {
        let millis = self.schedule.now().as_micros() / 1000;
        Timestamp(1_000_000_000 + i64::try_from(millis).expect("not that late"))
    }

    /// Something for a shard's queue.
    pub(crate) fn tell(&mut self, at: Place, shard: u32, input: Input) {
        let Some(running) = self.running(at) else { return };
        running.seat(shard).inbox.push_back(input);
        self.wake_soon(at, shard);
    }

    fn wake_soon(&mut self, at: Place, shard: u32) {
        let after = self.prng.below(300);
        self.schedule.after(after, Event::Turn { at, shard });
    }

    /// A turn of the shard's own thread.
    pub(crate) fn turn(&mut self, at: Place, shard: u32) -> Result<(), String> {
        let some = 1 + self.prng.below(8);
        let now = self.schedule.now();
        let Some(running) = self.running(at) else { return Ok(()) };
        let seat = running.seat(shard);
        let count = usize::try_from(some).expect("few").min(seat.inbox.len());
        let inputs: Vec<Input> = seat.inbox.drain(..count).collect();
        let is_due = seat.shard.next_deadline().is_some_and(|deadline| deadline <= now);
        let is_left = !seat.inbox.is_empty();
        seat.wakes = None;
        if inputs.is_empty() && !is_due {
            self.wake_in_time(at, shard);
            return Ok(());
        }
        self.run_turn(at, shard, inputs)?;
        if is_left {
            self.wake_soon(at, shard);
        }
        Ok(())
    }

    fn run_turn(&mut self, at: Place, shard: u32, inputs: Vec<Input>) -> Result<(), String> {
        let (now, clock) = (self.schedule.now(), self.clock());
        let mut outbox = Vec::new();
        let Some(running) = self.running(at) else { return Ok(()) };
        let seat = running.seat(shard);
        if seat.shard.next_deadline().is_some_and(|deadline| deadline <= now) {
            seat.shard.step(now, clock, Input::Tick, &mut outbox);
        }
        for input in inputs {
            seat.shard.step(now, clock, input, &mut outbox);
        }
        seat.shard.end_turn(&mut outbox);
        for output in outbox {
            self.perform(at, shard, output)?;
        }
        self.wake_in_time(at, shard);
        if shard == 0 {
            self.look_at_quorum(at)?;
        }
        Ok(())
    }

    /// Has a shard answer something that it answers at once, and that changes nothing.
    pub(crate) fn look_now(
        &mut self,
        at: Place,
        shard: u32,
        request: Request,
    ) -> Option<Reply<MemoryDisk>> {
        let (now, clock, ticket) = (self.schedule.now(), self.clock(), self.ticket());
        let mut outbox = Vec::new();
        let seat = self.running(at)?.seat(shard);
        seat.shard.step(now, clock, Input::Request { ticket, request }, &mut outbox);
        assert!(outbox.len() == 1, "a look changes nothing: {outbox:?}");
        match outbox.pop() {
            Some(Output::Reply { reply, .. }) => Some(reply),
            other => panic!("a look is answered at once: {other:?}"),
        }
    }

    /// Has the shard's thread look up when something is due, or somewhat later.
    fn wake_in_time(&mut self, at: Place, shard: u32) {
        let late = self.prng.below(2_000);
        let Some(running) = self.running(at) else { return };
        let seat = running.seat(shard);
        let Some(deadline) = seat.shard.next_deadline() else { return };
        if seat.wakes.is_none_or(|wakes| deadline < wakes) {
            seat.wakes = Some(deadline);
            let moment = Instant::from_micros(deadline.as_micros().saturating_add(late));
            self.schedule.at(moment, Event::Turn { at, shard });
        }
    }

    fn perform(&mut self, at: Place, shard: u32, output: Output<MemoryDisk>) -> Result<(), String> {
        match output {
            Output::Reply { ticket, reply } => return self.reply(at, ticket, reply),
            Output::Sync(job) => {
                let after = 50 + self.prng.below(self.plan.sync);
                let Some(running) = self.running(at) else { return Ok(()) };
                let seat = running.seat(shard);
                if std::mem::replace(&mut seat.syncing, true) || seat.sync.replace(job).is_some() {
                    return Err("two syncs at a time".to_owned());
                }
                self.schedule.after(after, Event::SyncDone { at, shard });
            }
            Output::WriteBack { partition, dirty } => {
                dirty.sync().map_err(|error| format!("{partition:?}: {error}"))?;
                let token = dirty.token;
                self.tell(at, shard, Input::WrittenBack { partition, token });
            }
            Output::Compact { partition, job, topic: _ } => {
                let outcome = job.run(&|| true).map(Box::new);
                self.tell(at, shard, Input::Compacted { partition, outcome });
            }
            // Who leads is asked for.
            Output::QuorumMoved(_) => {}
            Output::SendToBroker { broker, message } => self.send(at.broker, broker, &message),
            Output::ClusterChanged(cluster) => self.changed(at, cluster)?,
            Output::FetchFrom { leader, epoch, mut partitions } => {
                if self.bug == Bug::SkipTruncation {
                    partitions.iter_mut().for_each(|one| one.last_epoch = None);
                }
                let asker = Asker::Copy(at, partitions.clone());
                self.ask(asker, leader, Question::Copy(at.broker, epoch, partitions));
            }
            Output::AlterPartitions { epoch, wanted } => {
                let controller = self.controller_of(at);
                let asked = wanted.iter().map(|one| one.wanted.clone()).collect();
                let question = Question::Alter(at.broker, epoch, asked);
                self.ask(Asker::Alter(at, wanted), controller, question);
            }
            Output::Event(event) => return self.told(at, &event),
        }
        Ok(())
    }

    /// What a shard tells an operator.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the rest is no bad news")]
    fn told(&mut self, at: Place, event: &Told) -> Result<(), String> {
        self.note(format_args!("{} tells {event:?}", at.broker));
        match event {
            Told::PartitionFailed { .. }
            | Told::NotCompacted { .. }
            | Told::CopiesDiffer { .. } => Err(format!("{} tells {event:?}", at.broker)),
            _ => Ok(()),
        }
    }

    pub(crate) fn sync_done(&mut self, at: Place, shard: u32) -> Result<(), String> {
        let lies = self.bug == Bug::AcknowledgeBeforeSync && self.prng.chance(30);
        let Some(running) = self.running(at) else { return Ok(()) };
        let job = running.seat(shard).sync.take().expect("handed out before");
        if !lies {
            job.run().map_err(|error| format!("a sync failed: {error}"))?;
        }
        let (id, after) = (job.id, self.prng.below(2_000));
        self.schedule.after(after, Event::Synced { at, shard, id });
        Ok(())
    }

    pub(crate) fn synced(
        &mut self,
        at: Place,
        shard: u32,
        id: brooklet_shard::SyncId,
    ) -> Result<(), String> {
        let Some(running) = self.running(at) else { return Ok(()) };
        running.seat(shard).syncing = false;
        self.run_turn(at, shard, vec![Input::Synced { id }])
    }

    fn reply(&mut self, at: Place, ticket: Ticket, reply: Reply<MemoryDisk>) -> Result<(), String> {
        let Some(running) = self.running(at) else { return Ok(()) };
        if let Some((cluster, missing)) = &mut running.following
            && missing.remove(&ticket)
        {
            if missing.is_empty() {
                running.applied = Arc::clone(cluster);
                (running.following, running.has_followed) = (None, true);
                self.release(at)?;
                self.follow(at);
                self.look_at_quorum(at)?;
            }
            return Ok(());
        }
        if let Reply::Metadata { version, .. } = &reply {
            let version = *version;
            running.held.push((version, ticket, reply));
            self.release(at)
        } else {
            self.send_reply(at, ticket, reply)
        }
    }

    fn send_reply(
        &mut self,
        at: Place,
        ticket: Ticket,
        reply: Reply<MemoryDisk>,
    ) -> Result<(), String> {
        let Some(running) = self.running(at) else { return Ok(()) };
        // What nobody waits for is a duty of ours.
        let Some(id) = running.owed.remove(&ticket) else { return Ok(()) };
        self.replied(at, id, reply)
    }

    /// Answers about the metadata that all shards have followed.
    fn release(&mut self, at: Place) -> Result<(), String> {
        let Some(running) = self.running(at) else { return Ok(()) };
        let version = running.applied.version();
        let (ready, held): (Vec<_>, Vec<_>) = std::mem::take(&mut running.held)
            .into_iter()
            .partition(|(needs, ..)| *needs <= version);
        running.held = held;
        for (_, ticket, reply) in ready {
            self.send_reply(at, ticket, reply)?;
        }
        Ok(())
    }

    /// There is a newer image.
    fn changed(&mut self, at: Place, cluster: Arc<Cluster>) -> Result<(), String> {
        self.oracles.images.decided(&cluster)?;
        let Some(running) = self.running(at) else { return Ok(()) };
        running.decided = Arc::clone(&cluster);
        let is_held = self.bug == Bug::StaleLeaderAnswers && self.prng.chance(20);
        let after = self.prng.below(if is_held { 10_000_000 } else { 3_000 });
        self.schedule.after(after, Event::Follow { at });
        self.image_changed(at, &cluster);
        Ok(())
    }

    /// Passes the newest image on, unless shards are still following another.
    pub(crate) fn follow(&mut self, at: Place) {
        let Some(running) = self.running(at) else { return };
        let is_new = !running.has_followed || running.decided.version() > running.applied.version();
        if running.following.is_some() || !is_new {
            return;
        }
        let (cluster, shards) = (Arc::clone(&running.decided), running.shards());
        let mut tickets = Vec::new();
        for shard in 0..shards {
            tickets.push((shard, self.ticket()));
        }
        let missing = tickets.iter().map(|(_, ticket)| *ticket).collect();
        let running = self.running(at).expect("it ran just before");
        running.following = Some((Arc::clone(&cluster), missing));
        for (shard, ticket) in tickets {
            let cluster = Arc::clone(&cluster);
            self.tell(at, shard, Input::Cluster { ticket, cluster });
        }
    }

    pub(crate) fn ticket(&mut self) -> Ticket {
        self.next_ticket += 1;
        self.next_ticket
    }

    /// A question for one of the shards.
    pub(crate) fn ask_shard(
        &mut self,
        at: Place,
        shard: u32,
        id: Option<CallId>,
        request: Request,
    ) {
        let ticket = self.ticket();
        let Some(running) = self.running(at) else { return };
        if let Some(id) = id {
            running.owed.insert(ticket, id);
        }
        self.tell(at, shard, Input::Request { ticket, request });
    }

    /// The answer to a question that was lost, or whose one it was asked of is gone.
    pub(crate) fn expired(&mut self, id: CallId) -> Result<(), String> {
        self.answered(id, Answer::Lost)
    }
}
