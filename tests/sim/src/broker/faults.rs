//! What goes wrong: the power, the process, the disk, connections.

use brooklet_log::{Disk, DiskFile};
use brooklet_shard::GROUPS_TOPIC;
use brooklet_shard::start;
use brooklet_types::ByteSize;

use crate::broker::driver::Seat;
use crate::broker::world::{CAPACITY, Event, Mood, World};

impl World {
    pub(crate) fn fault_later(&mut self) {
        let after = self.prng.below(2 * self.plan.fault_every);
        self.schedule.after(after, Event::Fault);
    }

    /// Something goes wrong, or is well again.
    pub(crate) fn fault(&mut self) -> Result<(), String> {
        if self.mood != Mood::Storm {
            return Ok(());
        }
        self.fault_later();
        if self.broker.is_none() {
            return self.start_again();
        }
        match self.prng.below(100) {
            0..40 => {
                let power = self.plan.power;
                if self.prng.chance(power) {
                    self.lose_power()?
                } else {
                    self.kill("killed")?
                }
                // Sometimes both, and sometimes it takes a while.
                if self.prng.chance(80) { self.start_again() } else { Ok(()) }
            }
            40..55 => {
                self.stop()?;
                self.start_again()
            }
            55..75 => {
                let count = u64::try_from(self.client_count()).expect("few");
                let who = usize::try_from(self.prng.below(count)).expect("few");
                self.note(format_args!("client {who} is disconnected"));
                self.disconnect(|client| client == who)
            }
            75..85 => {
                let more = self.prng.below(1 << 17);
                self.promises.disk_refuses = true;
                self.disk.set_capacity(CAPACITY);
                let free = self.disk.free().map_err(|error| error.to_string())?;
                let used = CAPACITY.0 - free.0;
                self.note(format_args!("the disk has {more} bytes left"));
                self.disk.set_capacity(ByteSize(used + more));
                Ok(())
            }
            85..87 if self.plan.flips => self.flip(),
            85..95 => {
                self.note("the disk has room");
                self.disk.set_capacity(CAPACITY);
                Ok(())
            }
            _ => {
                let changes = self.prng.below(60);
                self.note(format_args!("the disk refuses everything after {changes} changes"));
                self.disk.refuse_after(changes);
                (self.refuses, self.promises.disk_refuses) = (true, true);
                Ok(())
            }
        }
    }

    /// A bit flips in a file of records.
    fn flip(&mut self) -> Result<(), String> {
        let failed = |error: std::io::Error| error.to_string();
        let Some(broker) = &self.broker else { return Ok(()) };
        let cluster = broker.applied();
        let topics: Vec<_> =
            cluster.topics().filter(|it| it.name.as_str() != GROUPS_TOPIC).collect();
        let Some(topic) = self.prng.pick(&topics).copied() else { return Ok(()) };
        let folder = format!("topics/{}-0", topic.name);
        let mut names = self.disk.list(&folder).map_err(failed)?;
        names.retain(|name| name.ends_with(".log") || name.ends_with("index"));
        let Some(name) = self.prng.pick(&names) else { return Ok(()) };
        let path = format!("{folder}/{name}");
        let file = self.disk.open(&path).map_err(failed)?;
        let length = file.len().map_err(failed)?.min(4000);
        if length == 0 {
            return Ok(());
        }
        let (at, bit) = (self.prng.below(length), self.prng.below(8));
        let mut byte = [0];
        file.read_at(&mut byte, at).map_err(failed)?;
        byte[0] ^= 1 << bit;
        // A disk that refuses everything does not change either.
        if file.write_at(&[&byte], at).is_ok() {
            (self.flips, self.promises.disk_refuses) = (true, true);
            self.promises.topics.damaged(topic.id);
            self.promises.records.damaged(topic.id);
            self.note(format_args!("bit {bit} of byte {at} of {path} flips"));
        }
        Ok(())
    }

    /// A start, and sometimes a look at everything.
    fn start_again(&mut self) -> Result<(), String> {
        self.start()?;
        if self.broker.is_some() && self.prng.chance(20) {
            return self.audit();
        }
        Ok(())
    }

    /// The process ends at once; the kernel lives on.
    pub(crate) fn kill(&mut self, why: &str) -> Result<(), String> {
        self.note(format_args!("the process ends: {why}"));
        self.broker = None;
        self.run += 1;
        if self.refuses {
            self.disk.refuse_after(u64::MAX);
            self.refuses = false;
        }
        self.owed.clear();
        self.promises.run_ended(self.schedule.now());
        self.disconnect(|_| true)
    }

    /// The power goes: of what was not synced some is there afterwards, some is not.
    pub(crate) fn lose_power(&mut self) -> Result<(), String> {
        self.kill("no power")?;
        let prng = &mut self.prng;
        if prng.chance(50) {
            self.disk.settle_names(|| prng.chance(50));
        }
        let mut up_to =
            |count: usize| usize::try_from(prng.below(count as u64 + 1)).expect("small");
        if up_to(2) == 0 {
            self.disk.crash_by_page(&mut up_to);
        } else {
            let tear = up_to(1) == 0;
            self.disk.crash(|_, count| up_to(count), tear);
        }
        self.promises.power_lost();
        Ok(())
    }

    /// The broker stops in good order.
    pub(crate) fn stop(&mut self) -> Result<(), String> {
        self.note("stop");
        let broker = self.broker.take().expect("it runs");
        let mut clean = true;
        for Seat { shard, .. } in broker.into_seats() {
            for log in shard.into_logs() {
                clean &= log.close().is_ok();
            }
        }
        if clean {
            clean = start::mark_clean(&self.disk).is_ok();
        }
        self.note(format_args!("clean: {clean}"));
        self.kill("stopped")
    }
}
