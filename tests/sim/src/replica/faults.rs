//! What goes wrong: brokers die or stop, disks are slow or empty, ways are shut in one direction, the controller takes
//! somebody for dead or gives the partition to another.

use brooklet_types::{BrokerId, Offset};

use crate::replica::bug::Bug;
use crate::replica::host::Role;
use crate::replica::log::ModelLog;
use crate::replica::plan::CONTROLLER;
use crate::replica::world::{Event, World};

impl World {
    /// Something goes wrong.
    pub(crate) fn fault(&mut self) -> Result<(), String> {
        if !self.storms {
            return Ok(());
        }
        let after = self.prng.below(self.plan.fault_every);
        self.schedule.after(after, Event::Fault);
        let broker = self.any_broker();
        match self.prng.below(100) {
            0..30 => self.kill(broker, false),
            30..40 => self.kill(broker, true),
            40..65 => {
                let other = if self.prng.chance(40) { CONTROLLER } else { self.any_broker() };
                let way = if self.prng.chance(50) { (broker, other) } else { (other, broker) };
                let long = if self.prng.chance(30) { 40_000_000 } else { 4_000_000 };
                let after = self.prng.below(long);
                self.note(format_args!("from {} to {} nothing passes", way.0, way.1));
                self.shut.insert(way);
                self.schedule.after(after, Event::Open { way });
                Ok(())
            }
            65..75 => {
                self.note(format_args!("{broker} is fenced"));
                self.controller.fence(broker);
                Ok(())
            }
            75..90 => {
                self.move_leader();
                Ok(())
            }
            _ => {
                self.slow = if self.prng.chance(50) { 1 } else { 1 + self.prng.below(40) };
                let slow = self.slow;
                self.note(format_args!("disks are slower by {slow}"));
                Ok(())
            }
        }
    }

    /// Another leads; now and then so that the old one does not hear of it before it leads again.
    fn move_leader(&mut self) {
        let before = self.controller.partition().leader;
        self.controller.move_leader(&mut self.prng);
        let leader = self.controller.partition().leader;
        self.note(format_args!("{leader:?} is to lead"));
        let Some(broker) = before.filter(|_| self.prng.chance(50)) else { return };
        let (way, after) = ((CONTROLLER, broker), self.prng.below(1_000_000));
        self.shut.insert(way);
        self.schedule.after(after, Event::Open { way });
        self.schedule.after(after, Event::Prefer { broker });
    }

    /// A broker stops, orderly or not, and starts again some time later.
    fn kill(&mut self, broker: BrokerId, orderly: bool) -> Result<(), String> {
        let host = self.hosts.get_mut(&broker).expect("all brokers are there");
        let high_watermark = host.high_watermark();
        let Some(run) = host.run.take() else { return Ok(()) };
        let leads = matches!(run.role, Role::Leader(_));
        host.last_image = leads.then(|| self.controller.images()[run.image].clone());
        host.clean = orderly;
        if orderly {
            host.log.close();
            host.stored = high_watermark;
        } else {
            host.log.crash(&mut self.prng);
            host.stored = if self.prng.chance(50) { host.stored } else { high_watermark };
        }
        let (start, end) = (host.log.start(), host.log.end());
        let how = if orderly { "stops" } else { "dies" };
        self.note(format_args!("{broker} {how} with {start}..{end}"));
        if orderly && self.prng.chance(50) {
            // A controlled shutdown: the leader moves before.
            self.controller.fence(broker);
        }
        let long = if self.prng.chance(20) { 60_000_000 } else { 5_000_000 };
        let after = self.prng.below(long);
        self.schedule.after(after, Event::Start { broker });
        self.check_in_sync()
    }

    /// A broker starts, now and then with another disk.
    pub(crate) fn start(&mut self, broker: BrokerId) -> Result<(), String> {
        let is_needed = self.controller.counts_on(broker);
        let host = self.hosts.get_mut(&broker).expect("all brokers are there");
        if host.run.is_some() {
            return Ok(());
        }
        // Only of one that the controller does not count on: the loss of the last copy is a loss.
        if self.storms && !is_needed && self.prng.chance(15) {
            host.log = ModelLog::new(self.plan.flush_os);
            (host.stored, host.clean, host.last_image) = (Offset::ZERO, false, None);
        }
        host.start();
        self.promises.agreement.started(broker);
        let (incarnation, end) = (host.incarnation, host.log.end());
        let last_image = host.last_image.take().filter(|_| self.bug == Bug::LeadAfterRestart);
        self.note(format_args!("{broker} starts with {end}"));
        self.schedule.after(0, Event::Beat { broker, incarnation });
        let settings = self.settings();
        self.act(broker, |host, now, outbox| {
            if let Some(image) = last_image {
                host.follow(&image, settings, now, outbox);
            }
        })
    }

    /// From here on nothing goes wrong.
    pub(crate) fn heal(&mut self) {
        self.note(format_args!("nothing goes wrong any more"));
        (self.storms, self.slow) = (false, 1);
        // Answers as large as they are: how long it takes to catch up is not what is asked here.
        self.plan.fetch_count = 1000;
        self.shut.clear();
        for broker in self.plan.brokers.clone() {
            self.schedule.after(0, Event::Start { broker });
        }
    }
}
