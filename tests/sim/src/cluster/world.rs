//! The world: brokers, a network, clients, and time.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use brooklet_meta::Cluster;
use brooklet_meta::decide::feature::begin_cluster;
use brooklet_shard::input::{Request, Ticket};
use brooklet_shard::{MetadataRequest, SyncId};
use brooklet_types::{BrokerId, TopicPartition};
use bytes::Bytes;

use crate::cluster::bug::Bug;
use crate::cluster::client::{Client, Context};
use crate::cluster::clients::committer::Committer;
use crate::cluster::clients::consumer::Consumer;
use crate::cluster::clients::operator::Operator;
use crate::cluster::clients::producer::Producer;
use crate::cluster::look::Looked;
use crate::cluster::network::{Answer, Asker, CallId, Network, Question};
use crate::cluster::node::{Node, Place};
use crate::cluster::oracles::{Oracles, healing};
use crate::cluster::plan::{FIRST, Plan};
use crate::prng::Prng;
use crate::schedule::Schedule;

/// Once nothing goes wrong any more, all is well after so many microseconds: a session ends, a leader that knows of
/// its followers again takes them back, and whatever was late has come.
const HEALED_MAX: u64 = 90_000_000;

/// Where nothing goes wrong a cluster has everybody and its topics after so many microseconds.
const BEGUN_MAX: u64 = 60_000_000;

/// How often the logs of all brokers are compared, in microseconds.
const LOOKS: u64 = 1_500_000;

/// Something that is going to happen. What belongs to one run of a broker ends with it.
#[derive(Debug)]
pub(crate) enum Event {
    /// A shard's thread takes what is in its queue, or looks at the time.
    Turn { at: Place, shard: u32 },
    /// A disk has synced.
    SyncDone { at: Place, shard: u32 },
    /// A shard hears of it.
    Synced { at: Place, shard: u32, id: SyncId },
    /// What was decided is passed on to all shards.
    Follow { at: Place },
    /// A broker's lifecycle or its controller wanted to be looked at.
    Look { at: Place },
    /// A message of the quorum arrives.
    Message { from: BrokerId, to: BrokerId, message: Bytes },
    /// A question arrives.
    Asked { id: CallId, to: BrokerId, question: Box<Question> },
    /// An answer arrives.
    Answered { id: CallId, answer: Box<Answer> },
    /// Whoever asked does not wait any more.
    Expired { id: CallId },
    /// A client's time has come.
    Wake { client: usize },
    /// The logs of all brokers are compared.
    Compare,
    /// Something goes wrong.
    Fault,
    /// A broker starts.
    Start { broker: BrokerId },
    /// A way is open again.
    Open { way: (BrokerId, BrokerId) },
    /// A broker that was to stop in good order has had time enough.
    Stop { at: Place },
}

/// Everything.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) prng: Prng,
    pub(crate) bug: Bug,
    pub(crate) plan: Plan,
    pub(crate) schedule: Schedule<Event>,
    pub(crate) nodes: BTreeMap<BrokerId, Node>,
    pub(crate) network: Network,
    /// Whether things go wrong.
    pub(crate) storms: bool,
    /// Whether there is a cluster, and not one broker alone.
    pub(crate) has_begun: bool,
    pub(crate) next_ticket: Ticket,
    pub(crate) oracles: Oracles,
    /// How far the logs of brokers were looked at.
    pub(crate) looked: BTreeMap<(Place, TopicPartition), Looked>,
    pub(crate) clients: Vec<Box<dyn Client>>,
    /// What each client knows of the cluster.
    views: Vec<Arc<Cluster>>,
    history: String,
}

impl World {
    pub(crate) fn new(seed: u64, bug: Bug) -> World {
        let mut prng = Prng::new(seed);
        let plan = Plan::new(&mut prng);
        let mut clients: Vec<Box<dyn Client>> = vec![Box::new(Operator::new(&plan))];
        for number in 0..1 + prng.below(3) {
            clients.push(Box::new(Producer::new(number, plan.produce_ms)));
        }
        for number in 0..1 + prng.below(2) {
            clients.push(Box::new(Consumer::new(number)));
        }
        for number in 0..1 + prng.below(2) {
            clients.push(Box::new(Committer::new(number)));
        }
        let views = clients.iter().map(|_| Arc::default()).collect();
        World {
            nodes: plan.brokers().map(|id| (id, Node::new(id))).collect(),
            prng,
            bug,
            plan,
            schedule: Schedule::new(),
            network: Network::default(),
            storms: false,
            has_begun: false,
            next_ticket: 0,
            oracles: Oracles::default(),
            looked: BTreeMap::new(),
            clients,
            views,
            history: String::new(),
        }
    }

    pub(crate) fn into_history(self) -> String {
        self.history
    }

    /// One history, from the first start until all is well.
    pub(crate) fn live(&mut self) -> Result<(), String> {
        let plan = self.plan.clone();
        self.note(format_args!("{plan:?}"));
        self.begin()?;
        for broker in self.plan.brokers() {
            let after = self.prng.below(3_000_000);
            self.schedule.after(after, Event::Start { broker });
        }
        for client in 0..self.clients.len() {
            let after = self.prng.below(5_000_000);
            self.schedule.after(after, Event::Wake { client });
        }
        self.schedule.after(LOOKS, Event::Compare);
        self.schedule.after(1, Event::Fault);
        if self.plan.calm_start {
            let until = self.schedule.now().as_micros() + BEGUN_MAX;
            while let Err(unsettled) = healing::topics_are_there(self) {
                if self.schedule.now().as_micros() > until {
                    return Err(unsettled);
                }
                self.live_until(500_000)?;
            }
        }
        self.storms = true;
        self.note("things go wrong");
        self.live_until(self.plan.storm)?;
        self.heal();
        let until = self.schedule.now().as_micros() + HEALED_MAX;
        loop {
            // Not every event changes anything; looking costs more than living.
            self.live_until(500_000)?;
            let well = healing::check(self).and_then(|()| self.whole());
            let Err(unwell) = well else { break };
            if self.schedule.now().as_micros() > until {
                return Err(unwell);
            }
        }
        let counts = self.oracles.counts();
        self.note(format_args!("all is well: {counts}"));
        Ok(())
    }

    /// The first broker begins the cluster, alone.
    fn begin(&mut self) -> Result<(), String> {
        self.start(FIRST)?;
        let at = self.node(FIRST).place();
        let begin = MetadataRequest::new(begin_cluster);
        self.ask_shard(at, 0, None, Request::Metadata(begin));
        while self.running(at).is_none_or(|running| running.decided.level() == 0) {
            let event = self.schedule.pop().ok_or("a cluster does not begin")?;
            self.happen(event)?;
        }
        self.has_begun = true;
        self.begin_lifecycle(at);
        self.govern(at)
    }

    fn live_until(&mut self, micros: u64) -> Result<(), String> {
        let until = self.schedule.now().as_micros() + micros;
        while self.schedule.now().as_micros() < until {
            let event = self.schedule.pop().ok_or("nothing happens any more")?;
            self.happen(event)?;
        }
        Ok(())
    }

    pub(crate) fn note(&mut self, what: impl std::fmt::Display) {
        let now = self.schedule.now().as_micros();
        let (seconds, micros) = (now / 1_000_000, now % 1_000_000);
        writeln!(self.history, "{seconds}.{micros:06} {what}").expect("a String takes everything");
    }

    fn happen(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::Turn { at, shard } => self.turn(at, shard),
            Event::SyncDone { at, shard } => self.sync_done(at, shard),
            Event::Synced { at, shard, id } => self.synced(at, shard, id),
            Event::Follow { at } => {
                self.follow(at);
                Ok(())
            }
            Event::Look { at } => self.govern(at),
            Event::Message { from, to, message } => {
                self.hear(from, to, message);
                Ok(())
            }
            Event::Asked { id, to, question } => {
                self.asked(id, to, *question);
                Ok(())
            }
            Event::Answered { id, answer } => self.answered(id, *answer),
            Event::Expired { id } => self.expired(id),
            Event::Wake { client } => self.act(client, |client, ctx| {
                client.wake(ctx);
                Ok(())
            }),
            Event::Compare => {
                self.schedule.after(LOOKS, Event::Compare);
                self.compare()
            }
            Event::Fault => self.fault(),
            Event::Start { broker } => self.start(broker),
            Event::Open { way } => {
                self.network.shut.remove(&way);
                Ok(())
            }
            Event::Stop { at } => self.stopped(at),
        }
    }

    fn hear(&mut self, from: BrokerId, to: BrokerId, message: Bytes) {
        let at = self.node(to).place();
        self.tell(at, 0, brooklet_shard::input::Input::FromBroker { from, message });
    }

    pub(crate) fn client_answered(
        &mut self,
        client: usize,
        number: u64,
        answer: Answer,
    ) -> Result<(), String> {
        self.act(client, |client, ctx| client.answered(ctx, number, answer))
    }

    /// Has a client do something, and sends what it asks.
    fn act(
        &mut self,
        number: usize,
        act: impl FnOnce(&mut dyn Client, &mut Context<'_>) -> Result<(), String>,
    ) -> Result<(), String> {
        self.look_around(number);
        let mut ctx = Context {
            prng: &mut self.prng,
            now: self.schedule.now(),
            clock: brooklet_types::Timestamp(0),
            view: &self.views[number],
            nodes: self.plan.nodes,
            oracles: &mut self.oracles,
            calm: !self.storms,
            asks: Vec::new(),
            notes: Vec::new(),
            wake_after: None,
        };
        let millis = ctx.now.as_micros() / 1000;
        ctx.clock.0 = 1_000_000_000 + i64::try_from(millis).expect("not that late");
        let done = act(self.clients[number].as_mut(), &mut ctx);
        let Context { asks, notes, wake_after, .. } = ctx;
        notes.into_iter().for_each(|note| self.note(note));
        if let Some(after) = wake_after {
            self.schedule.after(after, Event::Wake { client: number });
        }
        done.map_err(|broken| format!("{}: {broken}", self.clients[number].name()))?;
        for (of, to, question) in asks {
            self.ask(Asker::Client { client: number, number: of }, to, question);
        }
        Ok(())
    }

    /// A client asks somebody for metadata now and then. What is older than what it knows it does not believe.
    fn look_around(&mut self, client: usize) {
        if self.prng.chance(50) {
            return;
        }
        let brokers: Vec<BrokerId> = self.nodes.keys().copied().collect();
        let Some(broker) = self.prng.pick(&brokers).copied() else { return };
        if let Some(running) = &self.node(broker).running {
            let image = Arc::clone(&running.applied);
            if image.version() > self.views[client].version() {
                self.views[client] = image;
            }
        }
    }
}
