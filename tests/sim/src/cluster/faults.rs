//! What goes wrong: processes die, the power goes, ways are shut in one direction or both, brokers are stopped.

use brooklet_shard::start;
use brooklet_types::BrokerId;

use crate::cluster::network::Answer;
use crate::cluster::node::{Place, Seat};
use crate::cluster::world::{Event, World};

/// How long somebody waits for a broker to stop in good order before it is killed.
const STOP_MAX: u64 = 15_000_000;

impl World {
    /// Something goes wrong.
    pub(crate) fn fault(&mut self) -> Result<(), String> {
        let after = self.prng.below(self.plan.fault_every);
        self.schedule.after(after, Event::Fault);
        if !self.storms {
            return Ok(());
        }
        let faults = self.plan.faults;
        let (broker, power) = (self.any_broker(), faults.power && self.prng.chance(60));
        match self.prng.below(100) {
            0..30 if faults.kills => self.kill(broker, power),
            30..40 if faults.stops => self.stop(broker),
            40..60 if faults.partitions => {
                let other = self.any_broker();
                self.shut(broker, other);
                Ok(())
            }
            60..70 if faults.partitions => {
                let brokers: Vec<BrokerId> = self.nodes.keys().copied().collect();
                brokers.into_iter().for_each(|other| self.shut(broker, other));
                Ok(())
            }
            70..75 if faults.kills && faults.power => {
                // The whole room.
                let brokers: Vec<BrokerId> = self.nodes.keys().copied().collect();
                brokers.into_iter().try_for_each(|broker| self.kill(broker, true))
            }
            _ => Ok(()),
        }
    }

    fn any_broker(&mut self) -> BrokerId {
        let brokers: Vec<BrokerId> = self.nodes.keys().copied().collect();
        *self.prng.pick(&brokers).expect("there are some")
    }

    /// Between two brokers nothing passes for a while, in one direction or both.
    fn shut(&mut self, one: BrokerId, other: BrokerId) {
        if one == other {
            return;
        }
        let ways = match self.prng.below(4) {
            0 => vec![(one, other)],
            1 => vec![(other, one)],
            _ => vec![(one, other), (other, one)],
        };
        let long = if self.prng.chance(30) { 30_000_000 } else { 5_000_000 };
        let after = self.prng.below(long);
        for way in ways {
            self.note(format_args!("from {} to {} nothing passes", way.0, way.1));
            self.network.shut.insert(way);
            self.schedule.after(after, Event::Open { way });
        }
    }

    /// A process ends at once; and the power with it.
    fn kill(&mut self, broker: BrokerId, power: bool) -> Result<(), String> {
        if self.node(broker).running.is_none() {
            return Ok(());
        }
        self.note(format_args!("{broker} {}", if power { "has no power" } else { "is killed" }));
        self.end(broker);
        if power {
            self.lose_power(broker);
        }
        self.start_later(broker);
        Ok(())
    }

    fn start_later(&mut self, broker: BrokerId) {
        let long = if self.storms && self.prng.chance(20) { 30_000_000 } else { 3_000_000 };
        let after = self.prng.below(long);
        self.schedule.after(after, Event::Start { broker });
    }

    /// Of what was not synced some is there afterwards, some is not.
    fn lose_power(&mut self, broker: BrokerId) {
        let disk = self.node(broker).disk.clone();
        let prng = &mut self.prng;
        if prng.chance(50) {
            disk.settle_names(|| prng.chance(50));
        }
        let mut up_to =
            |count: usize| usize::try_from(prng.below(count as u64 + 1)).expect("small");
        match up_to(2) {
            0 => disk.crash_by_page(&mut up_to),
            1 => disk.crash(|_, _| 0, false),
            _ => {
                let is_torn = up_to(1) == 0;
                disk.crash(|_, count| up_to(count), is_torn);
            }
        }
    }

    /// What ran there is gone, with everything it was asked.
    fn end(&mut self, broker: BrokerId) -> Vec<Seat> {
        let node = self.node(broker);
        node.run += 1;
        let seats = node.running.take().map(|running| running.seats).unwrap_or_default();
        let unanswered = self.network.end(broker);
        for id in unanswered {
            // Its connections are closed, or there is nobody to close them.
            if self.prng.chance(50) {
                self.answer(id, Answer::Lost);
            }
        }
        seats
    }

    /// A broker is to stop in good order.
    fn stop(&mut self, broker: BrokerId) -> Result<(), String> {
        let now = self.schedule.now();
        let at = self.node(broker).place();
        let Some(running) = self.running(at) else { return Ok(()) };
        let Some(lifecycle) = &mut running.lifecycle else { return Ok(()) };
        lifecycle.stop(now);
        self.note(format_args!("{broker} is to stop"));
        self.schedule.after(STOP_MAX, Event::Stop { at });
        self.govern(at)
    }

    /// A broker stops: it may, or nobody waits any longer.
    pub(crate) fn stopped(&mut self, at: Place) -> Result<(), String> {
        if self.running(at).is_none() {
            return Ok(());
        }
        let broker = at.broker;
        let seats = self.end(broker);
        let mut clean = true;
        for Seat { shard, .. } in seats {
            for log in shard.into_logs() {
                clean &= log.close().is_ok();
            }
        }
        let node = self.node(broker);
        node.clean = clean && start::mark_clean(&node.disk).is_ok();
        self.note(format_args!("{broker} has stopped"));
        self.start_later(broker);
        Ok(())
    }

    /// From here on nothing goes wrong.
    pub(crate) fn heal(&mut self) {
        self.note("nothing goes wrong any more");
        self.storms = false;
        self.network.shut.clear();
        let brokers: Vec<BrokerId> = self.nodes.keys().copied().collect();
        for broker in brokers {
            self.schedule.after(0, Event::Start { broker });
        }
    }
}
