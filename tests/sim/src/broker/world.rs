//! The world: a disk, a broker on it, clients, and time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;

use brooklet_log::Dirty;
use brooklet_log::compaction::Job;
use brooklet_log::disk::memory::MemoryDisk;
use brooklet_shard::SyncId;
use brooklet_shard::input::{Input, Request, Ticket};
use brooklet_shard::output::Reply;
use brooklet_types::{ByteSize, Timestamp, TopicPartition};

use bytes::Bytes;

use crate::broker::bug::Bug;
use crate::broker::client::{Answer, Ask, Client, Context};
use crate::broker::clients::admin::Admin;
use crate::broker::clients::consumer::Consumer;
use crate::broker::clients::member::Member;
use crate::broker::clients::producer::Producer;
use crate::broker::driver::Broker;
use crate::broker::plan::Plan;
use crate::broker::promises::Promises;
use crate::broker::promises::records::place;
use crate::prng::Prng;
use crate::schedule::Schedule;

/// What fits on the disk while it is not full.
pub(crate) const CAPACITY: ByteSize = ByteSize(1 << 40);

/// No reply takes longer than this, in microseconds: no request of a client waits for longer, and no sync
/// takes longer.
const ANSWER_MAX: u64 = 400_000_000;

/// Once nothing goes wrong any more, clients have what they want after so many microseconds: some sessions and
/// some rebalances later.
const SETTLED_MAX: u64 = 60_000_000;

/// What a line of the history says of one message, at most.
const TRACE_MAX: usize = 300;

/// Something that is going to happen. What belongs to a run of the broker ends with it.
#[derive(Debug)]
pub(crate) enum Event {
    /// A client's time has come.
    Wake { client: usize },
    /// A request arrives.
    Arrive { run: u64, shard: u32, ticket: Ticket, request: Request },
    /// A shard's thread takes what is in its queue, or looks at the time.
    Turn { run: u64, shard: u32 },
    /// A disk has synced.
    SyncDone { run: u64, shard: u32 },
    /// A shard hears of it.
    Synced { run: u64, shard: u32, id: SyncId },
    /// Files are written back at leisure.
    WriteBack { run: u64, shard: u32, partition: TopicPartition, dirty: Box<Dirty<MemoryDisk>> },
    /// The cleaner does a job.
    Clean { run: u64, shard: u32, partition: TopicPartition, job: Box<Job<MemoryDisk>> },
    /// A shard hears of something that nobody waits for.
    Tell { run: u64, shard: u32, input: Box<Input> },
    /// What was decided is passed on to all shards.
    Follow { run: u64 },
    /// A reply arrives.
    Answer { ticket: Ticket, reply: Box<Reply<MemoryDisk>> },
    /// Something goes wrong.
    Fault,
}

/// A question that has no answer yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub(crate) client: usize,
    pub(crate) number: u64,
    pub(crate) shard: u32,
    pub(crate) is_fetch: bool,
}

/// A connection to a shard: nothing on it overtakes anything else.
#[derive(Debug, Default)]
struct Lane {
    /// When the last question arrives, and the last answer.
    arrives: u64,
    answers: u64,
    /// Questions without an answer, and answers that others must precede.
    waiting: VecDeque<Ticket>,
    ready: BTreeMap<Ticket, Reply<MemoryDisk>>,
}

/// Everything there is.
pub(crate) struct World {
    pub(crate) prng: Prng,
    pub(crate) bug: Bug,
    pub(crate) plan: Plan,
    pub(crate) schedule: Schedule<Event>,
    pub(crate) disk: MemoryDisk,
    /// None between a crash and the next start.
    pub(crate) broker: Option<Broker>,
    /// Counts the starts.
    pub(crate) run: u64,
    pub(crate) promises: Promises,
    pub(crate) next_ticket: Ticket,
    /// Who waits for which answer, on connections that are open.
    pub(crate) asked: BTreeMap<Ticket, Asked>,
    /// What the shards of this run owe an answer to.
    pub(crate) owed: BTreeSet<Ticket>,
    /// What has become of the disk's refusals: it refuses everything from some moment on.
    pub(crate) refuses: bool,
    /// Bits have flipped.
    pub(crate) flips: bool,
    pub(crate) mood: Mood,
    /// What a member was given last, for a bug that mixes it up.
    pub(crate) last_assignment: Option<Bytes>,
    clients: Vec<Box<dyn Client>>,
    lanes: BTreeMap<(usize, u32), Lane>,
    pub(crate) history: String,
}

/// How it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    /// Things go wrong.
    Storm,
    /// Nothing goes wrong any more.
    Calm,
    /// Nobody asks any more.
    Quiet,
}

impl World {
    pub(crate) fn new(seed: u64, bug: Bug) -> World {
        let mut prng = Prng::new(seed);
        let plan = Plan::new(&mut prng);
        let mut clients: Vec<Box<dyn Client>> = vec![Box::new(Admin::new(&mut prng))];
        for number in 0..1 + prng.below(3) {
            let idempotent = prng.chance(70);
            clients.push(Box::new(Producer::new(format!("producer{number}"), idempotent)));
        }
        for number in 0..prng.below(3) {
            clients.push(Box::new(Consumer::new(format!("consumer{number}"))));
        }
        for group in 0..prng.below(3) {
            for number in 0..=prng.below(3) {
                let name = format!("member{group}.{number}");
                clients.push(Box::new(Member::new(name, group, &mut prng)));
            }
        }
        World {
            prng,
            bug,
            plan,
            schedule: Schedule::new(),
            disk: MemoryDisk::new(CAPACITY),
            broker: None,
            run: 0,
            promises: Promises::default(),
            next_ticket: 0,
            asked: BTreeMap::new(),
            owed: BTreeSet::new(),
            refuses: false,
            flips: false,
            mood: Mood::Storm,
            last_assignment: None,
            clients,
            lanes: BTreeMap::new(),
            history: String::new(),
        }
    }

    pub(crate) fn into_history(self) -> String {
        self.history
    }

    /// One history, from the first start to the last look at everything.
    pub(crate) fn live(&mut self) -> Result<(), String> {
        self.start()?;
        for client in 0..self.clients.len() {
            let after = self.prng.below(5_000);
            self.schedule.after(after, Event::Wake { client });
        }
        self.fault_later();
        for _ in 0..self.plan.events {
            let Some(event) = self.schedule.pop() else { break };
            self.happen(event)?;
        }
        self.heal()?;
        self.quiet_down()?;
        self.audit()?;
        self.lose_power()?;
        self.start()?;
        self.audit()
    }

    /// Nothing goes wrong any more; the clients get what they want.
    fn heal(&mut self) -> Result<(), String> {
        self.mood = Mood::Calm;
        self.note("calm");
        self.disk.set_capacity(CAPACITY);
        if self.refuses {
            self.kill("the disk is replaced")?;
        }
        if self.broker.is_none() {
            self.start()?;
        }
        let until = self.schedule.now().as_micros() + SETTLED_MAX;
        while let Err(unsettled) = self.clients.iter().try_for_each(|client| client.settled()) {
            if self.schedule.now().as_micros() > until {
                return Err(unsettled);
            }
            let event = self.schedule.pop().ok_or("time ends")?;
            self.happen(event)?;
        }
        Ok(())
    }

    /// Nobody asks any more; every question has its answer.
    fn quiet_down(&mut self) -> Result<(), String> {
        self.mood = Mood::Quiet;
        self.note("quiet");
        let until = self.schedule.now().as_micros() + ANSWER_MAX;
        while !self.owed.is_empty() || !self.asked.is_empty() {
            let Some(event) = self.schedule.pop() else { break };
            if self.schedule.now().as_micros() > until {
                break;
            }
            self.happen(event)?;
        }
        match self.asked.iter().next() {
            None => self.rest(),
            Some((ticket, asked)) => {
                let name = self.clients[asked.client].name();
                let number = asked.number;
                Err(format!("question {number} of {name}, ticket {ticket}, has no answer"))
            }
        }
    }

    /// Goes on until everything that was written is on the disk.
    fn rest(&mut self) -> Result<(), String> {
        while self.broker.as_ref().is_some_and(|broker| !broker.is_at_rest()) {
            let event = self.schedule.pop().ok_or("a sync does not end")?;
            self.happen(event)?;
        }
        Ok(())
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "all the rest is the broker's")]
    fn happen(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::Wake { client } => {
                if self.mood == Mood::Quiet {
                    return Ok(());
                }
                if self.broker.as_ref().is_some_and(Broker::is_open) {
                    return self.act(client, |client, ctx| {
                        client.wake(ctx);
                        Ok(())
                    });
                }
                self.schedule.after(10_000, Event::Wake { client });
                Ok(())
            }
            Event::Answer { ticket, reply } => {
                let Some(asked) = self.asked.remove(&ticket) else { return Ok(()) };
                self.note(format_args!("ticket {ticket}: {}", kind_of_reply(&reply)));
                let answer = Answer::Reply(*reply);
                self.act(asked.client, |client, ctx| client.answered(ctx, asked.number, answer))
            }
            Event::Fault => self.fault(),
            other => self.drive(other),
        }
    }

    /// Has a client do something, and sends what it asks.
    fn act(
        &mut self,
        number: usize,
        act: impl FnOnce(&mut dyn Client, &mut Context<'_>) -> Result<(), String>,
    ) -> Result<(), String> {
        let Some(broker) = &self.broker else { return Ok(()) };
        let cluster = broker.applied();
        let mut ctx = Context {
            prng: &mut self.prng,
            now: self.schedule.now(),
            clock: clock(&self.schedule),
            cluster: &cluster,
            shards: broker.shards(),
            promises: &mut self.promises,
            calm: self.mood != Mood::Storm,
            asks: Vec::new(),
            notes: Vec::new(),
            wake_after: None,
        };
        let done = act(self.clients[number].as_mut(), &mut ctx);
        let Context { asks, notes, wake_after, .. } = ctx;
        notes.into_iter().for_each(|note| self.note(note));
        if let Some(after) = wake_after {
            self.schedule.after(after, Event::Wake { client: number });
        }
        done.map_err(|broken| format!("{}: {broken}", self.clients[number].name()))?;
        asks.into_iter().for_each(|ask| self.send(number, ask));
        Ok(())
    }

    fn send(&mut self, client: usize, ask: Ask) {
        let Ask { number, shard, request } = ask;
        self.next_ticket += 1;
        let ticket = self.next_ticket;
        let name = self.clients[client].name();
        self.note(format_args!("{name} asks {shard}, ticket {ticket}: {}", kind_of(&request)));
        let is_fetch = matches!(request, Request::Fetch(_));
        self.asked.insert(ticket, Asked { client, number, shard, is_fetch });
        let after = 20 + self.prng.below(3_000);
        let now = self.schedule.now().as_micros();
        let lane = self.lanes.entry((client, shard)).or_default();
        lane.waiting.push_back(ticket);
        lane.arrives = (now + after).max(lane.arrives);
        let (run, after) = (self.run, lane.arrives - now);
        self.schedule.after(after, Event::Arrive { run, shard, ticket, request });
    }

    /// A shard has answered: the answer goes on its way once all before it have.
    pub(crate) fn answer(&mut self, ticket: Ticket, reply: Reply<MemoryDisk>) {
        let Some(asked) = self.asked.get(&ticket) else { return };
        let now = self.schedule.now().as_micros();
        let lane = self.lanes.entry((asked.client, asked.shard)).or_default();
        lane.ready.insert(ticket, reply);
        while let Some(first) = lane.waiting.front().copied()
            && let Some(reply) = lane.ready.remove(&first)
        {
            lane.waiting.pop_front();
            lane.answers = (now + 20 + self.prng.below(3_000)).max(lane.answers);
            let (after, reply) = (lane.answers - now, Box::new(reply));
            self.schedule.after(after, Event::Answer { ticket: first, reply });
        }
    }

    /// The connections of some clients end: their questions will not be answered, and may yet be heard.
    pub(crate) fn disconnect(&mut self, who: impl Fn(usize) -> bool) -> Result<(), String> {
        self.lanes.retain(|(client, _), _| !who(*client));
        let gone: Vec<Ticket> = self
            .asked
            .iter()
            .filter(|(_, asked)| who(asked.client))
            .map(|(ticket, _)| *ticket)
            .collect();
        for ticket in gone {
            let asked = self.asked.remove(&ticket).expect("listed above");
            self.note(format_args!("ticket {ticket} is lost"));
            if asked.is_fetch {
                let input = Box::new(Input::Abandoned { ticket });
                let (run, shard) = (self.run, asked.shard);
                let after = self.prng.below(5_000);
                self.schedule.after(after, Event::Tell { run, shard, input });
            }
            self.forget(asked)?;
        }
        Ok(())
    }

    fn forget(&mut self, asked: Asked) -> Result<(), String> {
        let mut ctx = Context {
            prng: &mut self.prng,
            now: self.schedule.now(),
            clock: clock(&self.schedule),
            cluster: &brooklet_meta::Cluster::default(),
            shards: 1,
            promises: &mut self.promises,
            calm: self.mood != Mood::Storm,
            asks: Vec::new(),
            notes: Vec::new(),
            wake_after: None,
        };
        self.clients[asked.client].answered(&mut ctx, asked.number, Answer::Gone)
    }

    pub(crate) fn client_count(&self) -> usize {
        self.clients.len()
    }

    pub(crate) fn note(&mut self, what: impl std::fmt::Display) {
        let now = self.schedule.now().as_micros();
        writeln!(self.history, "{now:>10} {what}").expect("a String takes everything");
    }
}

/// The wall clock.
pub(crate) fn clock<E>(schedule: &Schedule<E>) -> Timestamp {
    let millis = schedule.now().as_micros() / 1000;
    Timestamp(1_000_000_000 + i64::try_from(millis).expect("not that late"))
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the rest says enough by itself")]
fn kind_of(request: &Request) -> String {
    let mut text = match request {
        Request::Produce(produce) => {
            let parts = produce.batches.iter().map(|(_, partition, batch)| {
                let header = batch.header();
                let (sequence, count) = (header.base_sequence, header.record_count);
                format!("{} {sequence}+{count}", place(*partition))
            });
            format!("produce {:?} {:?}", produce.acks, parts.collect::<Vec<_>>())
        }
        other => format!("{other:?}"),
    };
    text.truncate(TRACE_MAX);
    text
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the rest says enough by itself")]
fn kind_of_reply(reply: &Reply<MemoryDisk>) -> String {
    let mut text = match reply {
        Reply::Produced(results) => {
            let parts = results.iter().map(|(_, result)| match result {
                Ok(produced) => produced.base.to_string(),
                Err(refusal) => refusal.message.clone(),
            });
            format!("produced {:?}", parts.collect::<Vec<_>>())
        }
        Reply::Fetched(found) => format!("fetched {}", found.len()),
        other => format!("{other:?}"),
    };
    text.truncate(TRACE_MAX);
    text
}
