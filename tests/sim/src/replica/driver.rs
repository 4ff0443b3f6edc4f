//! What a shard and its shell do for a replica: they carry messages to the machines, and what those want to logs,
//! disks and the network.

use brooklet_replica::{
    AlterPartition, Altered, Answer, Answered, BrokerEpoch, ChangeId, Fetch, FetchOutcome,
    FetchRefusal, FollowerFetch, FollowerOutput, LeaderOutput, Served, Span,
};
use brooklet_types::{BrokerId, ErrorCode, Instant, Offset};

use crate::replica::bug::Bug;
use crate::replica::host::{Host, Role};
use crate::replica::log::Records;
use crate::replica::network::{Envelope, Message};
use crate::replica::plan::CONTROLLER;
use crate::replica::world::{Event, World};

impl World {
    /// Has something happen at a broker, and carries out what follows.
    pub(crate) fn act(
        &mut self,
        broker: BrokerId,
        happens: impl FnOnce(&mut Host, Instant, &mut Vec<LeaderOutput>),
    ) -> Result<(), String> {
        let now = self.schedule.now();
        let host = self.hosts.get_mut(&broker).expect("all brokers are there");
        let mut outbox = Vec::new();
        happens(host, now, &mut outbox);
        for output in outbox {
            self.carry_out(broker, output)?;
        }
        self.settle(broker)
    }

    fn carry_out(&mut self, broker: BrokerId, output: LeaderOutput) -> Result<(), String> {
        match output {
            LeaderOutput::HighWatermark(to) => {
                self.note(format_args!("{broker} leads with high watermark {to}"));
                Ok(())
            }
            LeaderOutput::Answer { request, outcome } => {
                let host = self.hosts.get_mut(&broker).expect("all brokers are there");
                let run = host.run.as_mut().expect("it answers");
                let waited = run.requests.remove(&request);
                let (offset, record) = waited.ok_or("a request is answered that does not wait")?;
                self.note(format_args!(
                    "{broker} answers {} at {offset}: {outcome:?}",
                    record.value
                ));
                match outcome {
                    Ok(()) => {
                        self.promises.acknowledged.add(offset, record)?;
                        self.check_acknowledged(offset)
                    }
                    Err(_) => Ok(()),
                }
            }
            LeaderOutput::Alter(asked) => {
                self.ask_controller(broker, asked);
                Ok(())
            }
        }
    }

    fn ask_controller(&mut self, broker: BrokerId, asked: AlterPartition) {
        let host = self.hosts.get_mut(&broker).expect("all brokers are there");
        let incarnation = host.incarnation;
        let run = host.run.as_mut().expect("it asks");
        // A bug leads before it is registered; nobody answers it.
        let Some(epoch) = run.epoch else { return };
        let change = asked.change;
        let before = run.asked.filter(|before| before.0 == change);
        let attempt = before.map_or(1, |before| before.1 + 1);
        run.asked = Some((change, attempt));
        self.note(format_args!("{broker} asks for {:?}", asked.in_sync));
        self.send(broker, CONTROLLER, Message::Alter { incarnation, epoch, attempt, asked });
        if self.prng.chance(80) {
            let after = 500_000 + self.prng.below(2_000_000);
            let event = Event::AlterLost { broker, incarnation, change, attempt };
            self.schedule.after(after, event);
        }
    }

    /// What follows from a log or a role that changed: a sync, a fetch, the next look at the clock.
    fn settle(&mut self, broker: BrokerId) -> Result<(), String> {
        let (bug, now) = (self.bug, self.schedule.now());
        let host = self.hosts.get_mut(&broker).expect("all brokers are there");
        let incarnation = host.incarnation;
        if host.run.is_none() {
            return Ok(());
        }
        let high_watermark = host.high_watermark().value();
        self.promises.agreement.check(broker, &host.log, high_watermark)?;
        let syncs = host.log.begin_sync();
        let fetch = host.next_fetch(bug, now);
        let deadline = host.next_deadline(bug);
        let run = host.run.as_mut().expect("it runs");
        let epoch = run.epoch;
        let arms = deadline.filter(|at| run.armed.is_none_or(|armed| *at < armed));
        run.armed = arms.or(run.armed);
        if let Some(at) = arms {
            self.schedule.at(at, Event::Timer { broker, incarnation });
        }
        if syncs {
            let after = self.prng.below(self.plan.sync * self.slow);
            self.schedule.after(after, Event::Synced { broker, incarnation });
        }
        if let (Some(fetch), Some(epoch)) = (fetch, epoch) {
            self.send(broker, fetch.leader, Message::Fetch { incarnation, epoch, fetch });
            if self.prng.chance(80) {
                let after = 1_000_000 + self.prng.below(3_000_000);
                self.schedule.after(after, Event::FetchLost { broker, incarnation, fetch });
            }
        }
        Ok(())
    }

    pub(crate) fn deliver(&mut self, envelope: Envelope) -> Result<(), String> {
        let Envelope { from, to, message } = envelope;
        let now = self.schedule.now();
        match message {
            Message::Register { incarnation, clean } => {
                let epoch = self.controller.register(from, incarnation, clean, now);
                if let Some(epoch) = epoch {
                    self.send(to, from, Message::Registered { incarnation, epoch });
                }
                Ok(())
            }
            Message::Registered { incarnation, epoch } => {
                if let Some(host) = self.running(to, incarnation) {
                    host.run.as_mut().expect("it runs").epoch = Some(epoch);
                }
                Ok(())
            }
            Message::Heartbeat { epoch, image } => {
                self.controller.heartbeat(from, epoch, image, now);
                let image = self.controller.images().len() - 1;
                self.send(to, from, Message::News { image });
                Ok(())
            }
            Message::News { image } => self.hear_news(to, image),
            Message::Fetch { incarnation, epoch, fetch } => {
                self.serve(to, from, incarnation, &asks(from, epoch, &fetch), fetch)
            }
            Message::Fetched { incarnation, answered, records } => {
                self.fetched(to, incarnation, answered, &records)
            }
            Message::Alter { incarnation, epoch, attempt, asked } => {
                // A queue that is full, or a broker that is not the controller any more.
                let outcome = match self.prng.below(100) {
                    0..8 if self.storms => Altered::Refused(ErrorCode::NotController),
                    8..20 if self.storms => Altered::Refused(ErrorCode::OperationNotAttempted),
                    _ => self.controller.alter(from, epoch, &asked),
                };
                let change = asked.change;
                self.note(format_args!("{from} is answered {outcome:?}"));
                self.send(to, from, Message::Altered { incarnation, attempt, change, outcome });
                Ok(())
            }
            Message::Altered { incarnation, attempt, change, outcome } => {
                self.altered(to, incarnation, change, attempt, outcome)
            }
        }
    }

    /// Brokers hear of images as they come, now and then of some together.
    pub(crate) fn spread_news(&mut self) -> Result<(), String> {
        let count = self.controller.images().len();
        if self.told == count {
            return Ok(());
        }
        self.told = count;
        let partition = self.controller.partition().clone();
        self.note(format_args!(
            "leader {:?} in {}, in sync {:?} ({})",
            partition.leader,
            partition.leader_epoch,
            partition.in_sync,
            partition.partition_epoch.0
        ));
        for broker in self.plan.brokers.clone() {
            self.send(CONTROLLER, broker, Message::News { image: count - 1 });
        }
        self.check_in_sync()
    }

    fn hear_news(&mut self, broker: BrokerId, image: usize) -> Result<(), String> {
        let settings = self.settings();
        let news = self.controller.images()[image].clone();
        let host = self.hosts.get_mut(&broker).expect("all brokers are there");
        let Some(run) = &mut host.run else { return Ok(()) };
        let registered = news.brokers.get(&broker).map(|live| live.epoch);
        // What was said before it was registered was said to somebody else.
        if image <= run.image || run.epoch.is_none() || registered != run.epoch {
            return Ok(());
        }
        run.image = image;
        self.act(broker, |host, now, outbox| host.follow(&news, settings, now, outbox))
    }

    pub(crate) fn beat(&mut self, broker: BrokerId, incarnation: u64) {
        let Some(host) = self.running(broker, incarnation) else { return };
        let clean = host.clean;
        let run = host.run.as_ref().expect("it runs");
        let message = match run.epoch {
            Some(epoch) => Message::Heartbeat { epoch, image: run.image },
            None => Message::Register { incarnation, clean },
        };
        self.send(broker, CONTROLLER, message);
        self.schedule.after(self.plan.heartbeat, Event::Beat { broker, incarnation });
    }

    pub(crate) fn synced(&mut self, broker: BrokerId, incarnation: u64) -> Result<(), String> {
        if self.running(broker, incarnation).is_none() {
            return Ok(());
        }
        self.log_changes(broker, |host| host.log.end_sync())
    }

    /// Changes a broker's log and tells whoever cares.
    fn log_changes(
        &mut self,
        broker: BrokerId,
        change: impl FnOnce(&mut Host),
    ) -> Result<(), String> {
        let (bug, now) = (self.bug, self.schedule.now());
        let host = self.hosts.get_mut(&broker).expect("all brokers are there");
        change(host);
        let (state, ends) = (host.state(bug), host.log.ends());
        let (mut outbox, mut wants) = (Vec::new(), Vec::new());
        if let Some(leader) = host.leader() {
            leader.local(ends, now, &mut outbox);
        }
        if let Some(follower) = host.follower() {
            follower.log_changed(&state, &mut wants);
        }
        for output in outbox {
            self.carry_out(broker, output)?;
        }
        self.follow_up(broker, wants, &Records::new())?;
        self.settle(broker)
    }

    /// A leader is asked for records.
    fn serve(
        &mut self,
        at: BrokerId,
        from: BrokerId,
        of: u64,
        asked: &FollowerFetch,
        fetch: Fetch,
    ) -> Result<(), String> {
        let mut outcome = None;
        let mut incarnation = 0;
        self.act(at, |host, now, outbox| {
            incarnation = host.incarnation;
            let Host { run, log, .. } = host;
            let Some(Role::Leader(leader)) = run.as_mut().map(|run| &mut run.role) else { return };
            let start = Offset::new(log.start());
            outcome = Some(leader.fetched(asked, start, |epoch| log.floor(epoch), now, outbox));
        })?;
        if self.hosts[&at].run.is_none() {
            return Ok(());
        }
        if self.bug == Bug::GrowTooEarly {
            self.grow_too_early(at, from);
        }
        let answer = match outcome {
            None => Answer::Refused(ErrorCode::NotLeaderOrFollower),
            Some(Ok(FetchOutcome::Records)) => {
                if self.hosts[&at].log.end() > fetch.offset.value() {
                    self.poll(at, incarnation, from, of, fetch);
                } else {
                    let after = self.prng.below(500_000);
                    let event = Event::Poll { at, incarnation, from, of, fetch };
                    self.schedule.after(after, event);
                }
                return Ok(());
            }
            Some(Ok(FetchOutcome::Diverging(found))) => Answer::Diverging(found),
            Some(Err(FetchRefusal::OutOfRange { log_start, log_end, .. })) => {
                Answer::OutOfRange { log_start, log_end }
            }
            Some(Err(refusal)) => Answer::Refused(refusal.code()),
        };
        let answered = Answered { id: fetch.id, answer };
        self.send(
            at,
            from,
            Message::Fetched { incarnation: of, answered, records: Records::new() },
        );
        Ok(())
    }

    /// Answers a fetch that was not refused, with what there is by now.
    pub(crate) fn poll(
        &mut self,
        at: BrokerId,
        incarnation: u64,
        from: BrokerId,
        of: u64,
        fetch: Fetch,
    ) {
        let count = usize::try_from(self.plan.fetch_count).expect("few");
        let Some(host) = self.running(at, incarnation) else { return };
        let Some(leader) = host.leader() else { return };
        let high_watermark = leader.high_watermark();
        let is_same = leader.leader_epoch() == fetch.leader_epoch;
        let start = host.log.start();
        if !is_same || fetch.offset.value() < start {
            return;
        }
        let records = host.log.read(fetch.offset.value(), count);
        let span = records.first().zip(records.last()).map(|(first, last)| Span {
            base: Offset::new(first.0),
            end: Offset::new(last.0 + 1),
            epoch: last.1.epoch,
        });
        let log_start = Offset::new(start);
        let answer = Answer::Served(Served { high_watermark, log_start, records: span });
        let answered = Answered { id: fetch.id, answer };
        self.send(at, from, Message::Fetched { incarnation: of, answered, records });
    }

    pub(crate) fn fetch_lost(
        &mut self,
        broker: BrokerId,
        incarnation: u64,
        fetch: Fetch,
    ) -> Result<(), String> {
        let answered = Answered { id: fetch.id, answer: Answer::Lost };
        self.fetched(broker, incarnation, answered, &Records::new())
    }

    /// A follower is answered.
    fn fetched(
        &mut self,
        broker: BrokerId,
        incarnation: u64,
        answered: Answered,
        records: &Records,
    ) -> Result<(), String> {
        if self.running(broker, incarnation).is_none() {
            return Ok(());
        }
        let (bug, entropy) = (self.bug, self.prng.below(u64::MAX));
        let mut wants = Vec::new();
        let host = self.hosts.get_mut(&broker).expect("all brokers are there");
        let state = host.state(bug);
        let now = self.schedule.now();
        let Host { run, log, .. } = host;
        if let Some(Role::Follower(follower)) = run.as_mut().map(|run| &mut run.role) {
            follower.answered(answered, &state, |epoch| log.floor(epoch), entropy, now, &mut wants);
        }
        self.follow_up(broker, wants, records)?;
        self.settle(broker)
    }

    /// Does what a follower wants.
    fn follow_up(
        &mut self,
        broker: BrokerId,
        wants: Vec<FollowerOutput>,
        records: &Records,
    ) -> Result<(), String> {
        for want in wants {
            match want {
                FollowerOutput::Violated(violation) => {
                    return Err(format!("{broker}: {violation}"));
                }
                FollowerOutput::HighWatermark(_) => {}
                FollowerOutput::Append => {
                    self.log_changes(broker, |host| host.log.copy(records))?;
                }
                FollowerOutput::Truncate { to } => {
                    self.note(format_args!("{broker} cuts at {to}"));
                    self.log_changes(broker, |host| host.log.truncate(to.value()))?;
                    self.check_in_sync()?;
                }
                FollowerOutput::StartAt { at } => {
                    self.note(format_args!("{broker} begins anew at {at}"));
                    self.log_changes(broker, |host| host.log.start_at(at.value()))?;
                    self.check_in_sync()?;
                }
                FollowerOutput::DeleteBefore { offset } => {
                    self.log_changes(broker, |host| host.log.delete_before(offset.value()))?;
                }
            }
        }
        Ok(())
    }

    pub(crate) fn alter_lost(
        &mut self,
        broker: BrokerId,
        incarnation: u64,
        change: ChangeId,
        attempt: u64,
    ) -> Result<(), String> {
        let Some(host) = self.running(broker, incarnation) else { return Ok(()) };
        if host.run.as_ref().and_then(|run| run.asked) != Some((change, attempt)) {
            return Ok(());
        }
        self.altered(broker, incarnation, change, attempt, Altered::Lost)
    }

    fn altered(
        &mut self,
        broker: BrokerId,
        incarnation: u64,
        change: ChangeId,
        attempt: u64,
        outcome: Altered,
    ) -> Result<(), String> {
        let Some(host) = self.running(broker, incarnation) else { return Ok(()) };
        let run = host.run.as_mut().expect("it runs");
        // The connection of an attempt that was given up is closed: what comes over it is not heard, but news.
        let is_news = matches!(outcome, Altered::Applied { .. });
        if run.asked != Some((change, attempt)) && !is_news {
            return Ok(());
        }
        self.act(broker, |host, now, outbox| {
            if let Some(leader) = host.leader() {
                leader.altered(change, outcome, now, outbox);
            }
        })
    }

    fn grow_too_early(&mut self, at: BrokerId, follower: BrokerId) {
        let host = self.hosts.get_mut(&at).expect("all brokers are there");
        let (incarnation, image) = (host.incarnation, host.run.as_ref().map_or(0, |run| run.image));
        let Some(leader) = host.leader() else { return };
        if leader.in_sync().contains(&follower) {
            return;
        }
        let leader_epoch = leader.leader_epoch();
        let members = leader.in_sync().iter().copied().chain([follower]);
        let in_sync = members.map(|id| (id, None)).collect();
        let partition_epoch = self.controller.images()[image].partition.partition_epoch;
        let change = ChangeId(u64::MAX);
        let asked = AlterPartition { change, leader_epoch, partition_epoch, in_sync };
        let epoch = self.hosts[&at].run.as_ref().and_then(|run| run.epoch);
        if let Some(epoch) = epoch {
            self.send(at, CONTROLLER, Message::Alter { incarnation, epoch, attempt: 0, asked });
        }
    }

    fn check_acknowledged(&self, offset: u64) -> Result<(), String> {
        let mut members = self.controller.partition().in_sync.iter();
        members.try_for_each(|id| {
            self.promises.acknowledged.check_one(offset, *id, &self.hosts[id].log)
        })
    }

    /// Whoever the controller counts on has everything that was acknowledged.
    pub(crate) fn check_in_sync(&self) -> Result<(), String> {
        let mut members = self.controller.partition().in_sync.iter();
        members.try_for_each(|id| self.promises.acknowledged.check(*id, &self.hosts[id].log))
    }
}

fn asks(from: BrokerId, broker_epoch: BrokerEpoch, fetch: &Fetch) -> FollowerFetch {
    let Fetch { leader_epoch, offset, last_epoch, .. } = *fetch;
    FollowerFetch { follower: from, broker_epoch, leader_epoch, offset, last_epoch }
}
