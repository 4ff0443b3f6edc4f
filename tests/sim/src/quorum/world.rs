//! The world: hosts, the network, and time.

use std::fmt::Write as _;

use brooklet_quorum::{Committed, Member, MessageError, Outgoing, Proposed, Ready, ReadyNumber};
use brooklet_quorum::{Members, Stored};
use brooklet_types::BrokerId;
use bytes::Bytes;

use crate::prng::Prng;
use crate::quorum::bug::Bug;
use crate::quorum::disk::Disk;
use crate::quorum::host::{self, Host, Running};
use crate::quorum::network::Network;
use crate::quorum::plan::Plan;
use crate::quorum::promises::Promises;
use crate::quorum::promises::agreement::value;
use crate::schedule::Schedule;

/// Microseconds between two ticks.
const TICK: u64 = 100_000;
/// Once nothing goes wrong any more, it takes at most so long until everybody has everything: some elections,
/// and some snapshots that were sent in vain.
const SETTLED_MAX: u64 = 120_000_000;
/// How long calm has to last before anything is asked of it: longer than what is late may be.
const CALM: u64 = 1_000_000;

/// Something that is going to happen. What belongs to a run of a host ends with it.
#[derive(Debug)]
pub(crate) enum Event {
    /// Time passes for a host.
    Tick { host: usize, run: u64 },
    /// A message arrives.
    Arrive { from: usize, to: Member, bytes: Bytes },
    /// What was to be written is written.
    Written { host: usize, run: u64, number: ReadyNumber },
    /// A host gives its quorum a snapshot for those who are behind.
    GiveSnapshot { host: usize, run: u64 },
    /// A host that is down starts.
    Start { host: usize },
    /// Somebody wants something.
    Wish,
    /// Something goes wrong, or is well again.
    Fault,
}

/// Everything.
pub(crate) struct World {
    pub(crate) prng: Prng,
    pub(crate) plan: Plan,
    pub(crate) bug: Bug,
    pub(crate) schedule: Schedule<Event>,
    pub(crate) hosts: Vec<Host>,
    pub(crate) network: Network,
    pub(crate) promises: Promises,
    /// Disks that there were.
    pub(crate) disks: u32,
    /// Values that were proposed.
    pub(crate) values: u64,
    /// When nothing went wrong any more, in microseconds, and how much was decided then.
    pub(crate) calm: Option<(u64, usize)>,
    history: String,
}

impl World {
    pub(crate) fn new(seed: u64, bug: Bug) -> World {
        let mut prng = Prng::new(seed);
        let plan = Plan::new(&mut prng);
        let brokers: Vec<_> = (1..).map(BrokerId).take(plan.hosts).collect();
        let serials = 1..;
        let voters = brokers.iter().zip(serials.clone()).take(plan.voters);
        let voters: Vec<_> = voters.map(|(id, serial)| host::identity(*id, serial)).collect();
        let members = Members::first(&voters);
        let mut promises = Promises::default();
        promises.agreement.begin(members.clone());
        let mut hosts = Vec::new();
        for (at, (broker, serial)) in brokers.into_iter().zip(serials).enumerate() {
            let first = || Disk::first(Stored::first(members.clone()));
            let disk = if at < plan.voters { first() } else { Disk::default() };
            hosts.push(Host::new(broker, serial, disk));
        }
        let disks = u32::try_from(hosts.len()).expect("few");
        World {
            prng,
            plan,
            bug,
            schedule: Schedule::new(),
            hosts,
            network: Network::default(),
            promises,
            disks,
            values: 0,
            calm: None,
            history: String::new(),
        }
    }

    pub(crate) fn into_history(self) -> String {
        self.history
    }

    /// Lives until everything is decided.
    pub(crate) fn live(&mut self) -> Result<(), String> {
        self.note(format!("{:?}", self.plan));
        for host in 0..self.hosts.len() {
            self.start(host)?;
        }
        self.schedule.after(1, Event::Wish);
        self.schedule.after(1, Event::Fault);
        for _ in 0..self.plan.events {
            self.next()?;
        }
        self.heal()?;
        while !self.is_settled() {
            self.next()?;
            let since = self.calm.map_or(0, |(calm, _)| self.now() - calm);
            if since > SETTLED_MAX {
                return Err(format!("no progress in {since} microseconds: {}", self.state()));
            }
        }
        for host in &self.hosts {
            let Some(running) = &host.running else { continue };
            if self.member_here(host) {
                self.promises.decided.check(&self.promises.agreement, &running.image)?;
            }
        }
        let (decided, answered) = (self.promises.decided.count(), self.promises.reads.answered());
        self.note(format_args!("{decided} decided, {answered} read"));
        Ok(())
    }

    pub(crate) fn now(&self) -> u64 {
        self.schedule.now().as_micros()
    }

    pub(crate) fn note(&mut self, what: impl std::fmt::Display) {
        let now = self.now();
        writeln!(self.history, "{now:>10} {what}").expect("a String takes everything");
    }

    /// Starts a host that is down.
    pub(crate) fn start(&mut self, at: usize) -> Result<(), String> {
        let host = &mut self.hosts[at];
        if host.running.is_some() {
            return Ok(());
        }
        let settings = self.plan.settings(host.me, self.prng.below(u64::MAX));
        host.start(settings)?;
        let run = host.run;
        // A quorum of one need not wait for anybody; for the others it is an ordinary election.
        if self.prng.chance(self.plan.eager) {
            host.running.as_mut().expect("started").quorum.campaign();
        }
        let who = host.me;
        self.note(format_args!("{who} starts, run {run}"));
        self.schedule.after(self.prng.below(TICK), Event::Tick { host: at, run });
        self.drain(at)
    }

    /// Does what a host's quorum says until it says nothing.
    pub(crate) fn drain(&mut self, at: usize) -> Result<(), String> {
        while let Some(ready) = self.running(at).and_then(|running| running.quorum.ready()) {
            self.carry_out(at, ready)?;
        }
        self.compact(at);
        Ok(())
    }

    pub(crate) fn running(&mut self, at: usize) -> Option<&mut Running> {
        self.hosts[at].running.as_mut()
    }

    /// Whether a host is a member on the disk that it has.
    pub(crate) fn member_here(&self, host: &Host) -> bool {
        let agreement = &self.promises.agreement;
        let members = agreement.members(agreement.last());
        members.iter().any(|(member, _)| member == host.me)
    }

    fn next(&mut self) -> Result<(), String> {
        match self.schedule.pop().expect("wishes go on") {
            Event::Tick { host, run } => self.tick(host, run),
            Event::Arrive { from, to, bytes } => self.arrive(from, to, &bytes),
            Event::Written { host, run, number } => self.written(host, run, number),
            Event::GiveSnapshot { host, run } => self.give_snapshot(host, run),
            Event::Start { host } => self.start(host),
            Event::Wish => self.wish(),
            Event::Fault => self.fault(),
        }
    }

    fn tick(&mut self, host: usize, run: u64) -> Result<(), String> {
        if self.is_over(host, run) {
            return Ok(());
        }
        self.running(host).expect("this run").quorum.tick();
        // Clocks do not go alike.
        let next = TICK * 9 / 10 + self.prng.below(TICK / 5);
        self.schedule.after(next, Event::Tick { host, run });
        self.drain(host)
    }

    fn arrive(&mut self, from: usize, to: Member, bytes: &[u8]) -> Result<(), String> {
        let broker = self.hosts[from].me.broker;
        let at = self.at(to.broker);
        let Some(running) = self.running(at) else { return Ok(()) };
        match running.quorum.message(broker, bytes) {
            Ok(()) => self.drain(at),
            // Members come and go, and memory is short.
            Err(
                error @ (MessageError::WrongAddressee { .. }
                | MessageError::UnknownMember { .. }
                | MessageError::Full { .. }),
            ) => {
                self.note(format_args!("{to} refuses: {error}"));
                Ok(())
            }
            Err(error) => Err(format!("{to} refuses what broker {broker} sends: {error}")),
        }
    }

    fn written(&mut self, host: usize, run: u64, number: ReadyNumber) -> Result<(), String> {
        if self.is_over(host, run) {
            return Ok(());
        }
        let voted = self.hosts[host].disk.sync(number);
        let running = self.running(host).expect("this run");
        running.quorum.persisted(number);
        if let Some((_, to)) = running.compacting.take_if(|(with, _)| *with <= number) {
            running.quorum.compact(to);
        }
        let mut messages = Vec::new();
        while let Some((_, held)) = running.waiting.pop_front_if(|(of, _)| *of <= number) {
            messages.extend(held);
        }
        self.send(host, messages);
        if voted && self.calm.is_none() && self.prng.chance(self.plan.fragile) {
            let most = self.downtime();
            self.crash(host, most);
        }
        self.drain(host)
    }

    fn give_snapshot(&mut self, host: usize, run: u64) -> Result<(), String> {
        if self.is_over(host, run) {
            return Ok(());
        }
        let short = self.bug == Bug::ShortSnapshot;
        let running = self.running(host).expect("this run");
        let count = running.image.len() - usize::from(short && !running.image.is_empty());
        let image = host::to_bytes(&running.image[..count]);
        let given = running.quorum.snapshot(running.applied, &image);
        given.map_err(|error| format!("a snapshot of what is applied is refused: {error}"))?;
        self.drain(host)
    }

    fn carry_out(&mut self, at: usize, ready: Ready) -> Result<(), String> {
        let (me, run) = (self.hosts[at].me, self.hosts[at].run);
        if let Some(leadership) = ready.leadership {
            self.note(format_args!("{me}: {leadership:?}"));
            if leadership.is_us {
                self.promises.one_leader.leads(leadership.term, me, run)?;
            }
        }
        self.send(at, ready.messages.clone());
        if let Some(snapshot) = &ready.snapshot {
            self.note(format_args!("{me} installs a snapshot at {:?}", snapshot.mark.index));
            let image = host::from_bytes(&snapshot.image);
            self.promises.agreement.installed(&snapshot.mark, &image)?;
            let running = self.running(at).expect("it runs");
            running.applied = snapshot.mark.index;
            running.proposals.retain(|proposed, _| proposed.index > snapshot.mark.index);
            running.image = image;
        }
        let host = &mut self.hosts[at];
        let running = host.running.as_mut().expect("it runs");
        host.disk.write(&ready, &running.image);
        running.number = ready.number;
        for committed in &ready.committed {
            self.apply(at, committed)?;
        }
        for read in &ready.reads {
            self.promises.reads.answer(read.ticket.0, read.index.ok())?;
        }
        if ready.wants_snapshot {
            let after = self.prng.below(TICK);
            self.schedule.after(after, Event::GiveSnapshot { host: at, run });
        }
        if self.bug == Bug::SendBeforeWriting {
            self.send(at, ready.messages_after);
        } else {
            let running = self.running(at).expect("it runs");
            running.waiting.push_back((ready.number, ready.messages_after));
        }
        self.write_later(at, ready.number);
        Ok(())
    }

    fn apply(&mut self, at: usize, committed: &Committed) -> Result<(), String> {
        let running = self.hosts[at].running.as_mut().expect("it runs");
        self.promises.agreement.committed(running.applied, committed)?;
        running.applied = committed.index;
        running.image.extend(value(committed));
        let proposed = Proposed { term: committed.term, index: committed.index };
        if let Some(value) = running.proposals.remove(&proposed) {
            self.promises.decided.reported(committed.index, value);
        }
        running.proposals.retain(|proposed, _| proposed.index > committed.index);
        let me = self.hosts[at].me;
        self.note(format_args!("{me} applies {committed:?}"));
        Ok(())
    }

    fn send(&mut self, from: usize, messages: Vec<Outgoing>) {
        for Outgoing { to, bytes } in messages {
            let at = self.at(to.broker);
            for after in self.network.copies(&mut self.prng, &self.plan, from, at) {
                self.schedule.after(after, Event::Arrive { from, to, bytes: bytes.clone() });
            }
        }
    }

    /// Writes are done one after the other.
    fn write_later(&mut self, at: usize, number: ReadyNumber) {
        let (now, run) = (self.now(), self.hosts[at].run);
        let takes = self.prng.below(self.plan.write_max);
        let running = self.running(at).expect("it runs");
        running.written_at = running.written_at.max(now + takes);
        let after = running.written_at - now;
        self.schedule.after(after, Event::Written { host: at, run, number });
    }

    /// Begins a snapshot of a host's own where its log is long.
    fn compact(&mut self, at: usize) {
        let tail = self.prng.below(self.plan.tail_max + 1);
        let host = &mut self.hosts[at];
        let Some(running) = host.running.as_mut() else { return };
        let kept = running.quorum.kept();
        let long = kept.entries > self.plan.kept_max || kept.bytes > self.plan.kept_bytes_max() / 2;
        let enough = running.applied.0 > tail + 1;
        if !long || !enough || running.compacting.is_some() {
            return;
        }
        let mark = running.quorum.mark_at(running.applied);
        let to = brooklet_quorum::Index(running.applied.0 - tail);
        host.disk.compact(running.number, mark, &running.image, to);
        running.compacting = Some((running.number, to));
        let number = running.number;
        self.write_later(at, number);
    }

    fn is_settled(&self) -> bool {
        let Some((since, decided)) = self.calm else { return false };
        let last = self.promises.agreement.last();
        let has_all = |host: &Host| host.running.as_ref().is_some_and(|it| it.applied == last);
        let mut members = self.hosts.iter().filter(|host| self.member_here(host));
        self.now() > since + CALM
            && self.promises.decided.count() > decided
            && self.promises.reads.waiting() == 0
            && members.all(has_all)
    }

    fn state(&self) -> String {
        let line = |host: &Host| match &host.running {
            Some(it) => format!(
                "{} applied {:?} of {:?}, last {:?}, {:?}, leads: {}, members {:?}; ",
                host.me,
                it.applied,
                it.quorum.committed(),
                it.quorum.last(),
                it.quorum.term(),
                it.quorum.is_leader(),
                it.quorum.members(),
            ),
            None => format!("{} is down; ", host.me),
        };
        self.hosts.iter().map(line).collect()
    }

    fn is_over(&self, host: usize, run: u64) -> bool {
        self.hosts[host].run != run || self.hosts[host].running.is_none()
    }

    fn at(&self, broker: BrokerId) -> usize {
        usize::try_from(broker.0 - 1).expect("brokers are numbered from 1")
    }
}
