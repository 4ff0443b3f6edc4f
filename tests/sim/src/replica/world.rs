//! The world: brokers, a controller, a network, clients, and time.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use brooklet_replica::{ChangeId, Fetch, LeaderSettings};
use brooklet_types::{BrokerId, Instant};

use crate::prng::Prng;
use crate::replica::bug::Bug;
use crate::replica::controller::Controller;
use crate::replica::host::Host;
use crate::replica::network::{Envelope, Shut};
use crate::replica::plan::Plan;
use crate::replica::promises::{Promises, healing};
use crate::schedule::Schedule;

/// After the storm producers go on for so long, and once they stop all is well after as much again as the longest
/// waits of the core take. Microseconds.
const CALM: u64 = 5_000_000;
const SETTLED: u64 = 150_000_000;

/// More timers than this at one moment: somebody asks for a time that does not help.
const TIMERS_MAX: u32 = 200;

/// Something that is going to happen. What belongs to one start of a broker ends with it.
#[derive(Debug)]
pub(crate) enum Event {
    /// A message arrives.
    Deliver(Box<Envelope>),
    /// A machine asked to be looked at now.
    Timer { broker: BrokerId, incarnation: u64 },
    /// A disk has synced.
    Synced { broker: BrokerId, incarnation: u64 },
    /// A broker registers, or says that it lives.
    Beat { broker: BrokerId, incarnation: u64 },
    /// A fetch that found nothing new is answered after all.
    Poll { at: BrokerId, incarnation: u64, from: BrokerId, of: u64, fetch: Fetch },
    /// A connection ends: the answer to a fetch will not come.
    FetchLost { broker: BrokerId, incarnation: u64, fetch: Fetch },
    /// The same, of a change of the in-sync set.
    AlterLost { broker: BrokerId, incarnation: u64, change: ChangeId, attempt: u64 },
    /// The controller looks at its sessions.
    Sessions,
    /// A producer sends a record.
    Produce,
    /// A consumer reads and asks for the end.
    Consume,
    /// A leader deletes what is old.
    Retain,
    /// Something goes wrong.
    Fault,
    /// A broker starts.
    Start { broker: BrokerId },
    /// The controller prefers a broker.
    Prefer { broker: BrokerId },
    /// A way is open again.
    Open { way: (BrokerId, BrokerId) },
    /// From here on nothing goes wrong.
    Heal,
    /// Nobody produces any more.
    Stop,
    /// All has to be well.
    End,
}

/// Everything.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) prng: Prng,
    pub(crate) bug: Bug,
    pub(crate) plan: Plan,
    pub(crate) schedule: Schedule<Event>,
    pub(crate) controller: Controller,
    /// How many images brokers were told of.
    pub(crate) told: usize,
    pub(crate) hosts: BTreeMap<BrokerId, Host>,
    pub(crate) shut: Shut,
    /// Whether things go wrong.
    pub(crate) storms: bool,
    /// Disks are slower by that.
    pub(crate) slow: u64,
    pub(crate) produces: bool,
    pub(crate) next_value: u64,
    pub(crate) promises: Promises,
    /// Timers at the present moment.
    timers: (Instant, u32),
    history: String,
}

impl World {
    pub(crate) fn new(seed: u64, bug: Bug) -> World {
        let mut prng = Prng::new(seed);
        let plan = Plan::new(&mut prng);
        let hosts = plan.brokers.iter().map(|id| (*id, Host::new(*id, plan.flush_os)));
        let mut world = World {
            hosts: hosts.collect(),
            controller: Controller::new(&plan),
            prng,
            bug,
            schedule: Schedule::new(),
            told: 0,
            shut: Shut::new(),
            storms: true,
            slow: 1,
            produces: true,
            next_value: 1,
            promises: Promises::default(),
            timers: (Instant::default(), 0),
            history: String::new(),
            plan,
        };
        let plan = world.plan.clone();
        world.note(format_args!("{plan:?}"));
        for broker in plan.brokers {
            world.schedule.after(0, Event::Start { broker });
        }
        for event in [Event::Sessions, Event::Produce, Event::Consume, Event::Retain, Event::Fault]
        {
            world.schedule.after(0, event);
        }
        world.schedule.after(plan.storm, Event::Heal);
        world.schedule.after(plan.storm + CALM, Event::Stop);
        world.schedule.after(plan.storm + CALM + SETTLED, Event::End);
        world
    }

    pub(crate) fn into_history(self) -> String {
        self.history
    }

    /// Lives until all has to be well.
    pub(crate) fn live(&mut self) -> Result<(), String> {
        while let Some(event) = self.schedule.pop() {
            if matches!(event, Event::End) {
                let acknowledged = self.promises.acknowledged.count;
                self.note(format_args!("the end: {acknowledged} acknowledged"));
                return healing::check(self);
            }
            self.happen(event)?;
            self.spread_news()?;
        }
        Err("nothing happens any more".to_owned())
    }

    pub(crate) fn note(&mut self, what: std::fmt::Arguments<'_>) {
        let now = self.schedule.now().as_micros();
        let (seconds, micros) = (now / 1_000_000, now % 1_000_000);
        writeln!(self.history, "{seconds}.{micros:06} {what}").expect("a String takes everything");
    }

    pub(crate) fn settings(&self) -> LeaderSettings {
        LeaderSettings { lag_max: self.plan.lag_max }
    }

    /// The broker, if it is still the start that something was meant for.
    pub(crate) fn running(&mut self, broker: BrokerId, incarnation: u64) -> Option<&mut Host> {
        let host = self.hosts.get_mut(&broker).filter(|host| host.incarnation == incarnation)?;
        host.run.is_some().then_some(host)
    }

    fn happen(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::Deliver(envelope) => self.deliver(*envelope),
            Event::Timer { broker, incarnation } => self.timer(broker, incarnation),
            Event::Synced { broker, incarnation } => self.synced(broker, incarnation),
            Event::Beat { broker, incarnation } => {
                self.beat(broker, incarnation);
                Ok(())
            }
            Event::Poll { at, incarnation, from, of, fetch } => {
                self.poll(at, incarnation, from, of, fetch);
                Ok(())
            }
            Event::FetchLost { broker, incarnation, fetch } => {
                self.fetch_lost(broker, incarnation, fetch)
            }
            Event::AlterLost { broker, incarnation, change, attempt } => {
                self.alter_lost(broker, incarnation, change, attempt)
            }
            Event::Sessions => {
                self.schedule.after(self.plan.heartbeat / 4, Event::Sessions);
                self.controller.tick(self.schedule.now());
                Ok(())
            }
            Event::Produce => self.produce(),
            Event::Consume => self.consume(),
            Event::Retain => self.retain(),
            Event::Fault => self.fault(),
            Event::Start { broker } => self.start(broker),
            Event::Prefer { broker } => {
                self.controller.give(broker);
                Ok(())
            }
            Event::Open { way } => {
                self.shut.remove(&way);
                Ok(())
            }
            Event::Heal => {
                self.heal();
                Ok(())
            }
            Event::Stop => {
                self.produces = false;
                Ok(())
            }
            Event::End => Ok(()),
        }
    }

    fn timer(&mut self, broker: BrokerId, incarnation: u64) -> Result<(), String> {
        let now = self.schedule.now();
        let Some(host) = self.running(broker, incarnation) else { return Ok(()) };
        let run = host.run.as_mut().expect("it runs");
        if run.armed.is_none_or(|armed| armed > now) {
            return Ok(());
        }
        run.armed = None;
        if self.timers.0 != now {
            self.timers = (now, 0);
        }
        self.timers.1 += 1;
        if self.timers.1 > TIMERS_MAX {
            return Err(format!("{broker} asks for the time again and again"));
        }
        self.act(broker, |host, now, outbox| {
            if let Some(leader) = host.leader() {
                leader.tick(now, outbox);
            }
        })
    }
}
