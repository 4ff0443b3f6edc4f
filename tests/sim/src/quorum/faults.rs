//! What goes wrong: power, disks, the network.

use std::collections::BTreeSet;

use brooklet_quorum::Payload;

use crate::quorum::bug::Bug;
use crate::quorum::disk::Disk;
use crate::quorum::host::Host;
use crate::quorum::world::{Event, World};

impl World {
    /// Something goes wrong, or is well again.
    pub(crate) fn fault(&mut self) -> Result<(), String> {
        if self.calm.is_some() {
            return Ok(());
        }
        let after = self.prng.below(2 * self.plan.fault_every);
        self.schedule.after(after, Event::Fault);
        let at = self.any_host();
        match self.prng.below(100) {
            0..20 => {
                let most = self.downtime();
                self.crash(at, most);
            }
            20..35 => self.lose_room(),
            35..60 => self.partition(),
            60..80 => {
                self.note("the network is mended");
                self.network.mend();
            }
            80..88 => self.wipe(at),
            88..94 => self.lose_sight(at),
            _ => {
                if let Some(running) = self.running(at) {
                    running.quorum.campaign();
                }
            }
        }
        self.drain(at)
    }

    /// Nothing goes wrong any more, and everybody is there.
    pub(crate) fn heal(&mut self) -> Result<(), String> {
        self.note("calm");
        self.calm = Some((self.now(), self.promises.decided.count()));
        self.network.heal();
        self.plan.write_max = 1000;
        self.plan.wish_every = 100_000;
        (0..self.hosts.len()).try_for_each(|host| self.start(host))
    }

    /// The power goes at most hosts, and comes back: nobody leads, and all want to.
    fn lose_room(&mut self) {
        let most = self.downtime();
        for host in 0..self.hosts.len() {
            if self.prng.chance(80) {
                self.crash(host, most);
            }
        }
    }

    /// How long a crash keeps a host down, at most.
    pub(crate) fn downtime(&mut self) -> u64 {
        *self.prng.pick(&[10_000, 200_000, 10_000_000]).expect("three")
    }

    /// The power goes at a host, and comes back after so many microseconds at most.
    pub(crate) fn crash(&mut self, at: usize, most: u64) {
        let host = &mut self.hosts[at];
        if host.running.take().is_none() {
            return;
        }
        host.disk.crash(&mut self.prng);
        if self.bug == Bug::LoseVote {
            host.disk.lose_vote();
        }
        let who = host.me;
        self.promises.reads.crashed(at);
        self.note(format_args!("{who} crashes"));
        let after = self.prng.below(most);
        self.schedule.after(after, Event::Start { host: at });
    }

    fn partition(&mut self) {
        let mut some = BTreeSet::new();
        for at in 0..self.hosts.len() {
            if self.prng.chance(40) {
                some.insert(at);
            }
        }
        let both = self.prng.chance(60);
        self.note(format_args!("hosts {some:?} are cut off, in both directions: {both}"));
        self.network.cut(&some, self.hosts.len(), both);
    }

    /// A host's disk is wiped; it comes back as somebody who knows nothing. Only one voter may be lost at a
    /// time, a majority of the others has to be there, and they have to have it on their disks who that is.
    fn wipe(&mut self, at: usize) {
        let agreement = &self.promises.agreement;
        let last = agreement.last();
        let members: Vec<_> = agreement.members(last).iter().collect();
        let here = |member| self.hosts.iter().any(|host| host.me == member);
        let nobody_lost = members.iter().all(|(member, _)| here(*member));
        let voters = members.iter().filter(|(_, votes)| *votes).count();
        // A change that waits in somebody's log could still take another voter away.
        let waits = |host: &Host| {
            let change = |payload: &Payload| matches!(payload, Payload::Change(_));
            host.disk.entries().any(|entry| entry.index > last && change(&entry.payload))
        };
        let change = self.hosts.iter().any(waits);
        let (others, changed) = (self.hosts.iter().enumerate(), agreement.last_change());
        let others = others.filter(|(other, host)| *other != at && self.member_here(host));
        let settled = others.map(|(_, host)| host.disk.certain()).all(|known| known >= changed);
        let votes = members.iter().any(|(member, votes)| *votes && *member == self.hosts[at].me);
        if !self.plan.changes || change || !settled || !nobody_lost || (votes && voters < 3) {
            return;
        }
        self.disks += 1;
        let old = &self.hosts[at];
        let (who, run) = (old.me, old.run);
        let new = Host::new(who.broker, self.disks, Disk::default());
        self.hosts[at] = Host { run, ..new };
        self.promises.reads.crashed(at);
        self.note(format_args!("the disk of {who} is wiped"));
        self.schedule.after(1 + self.prng.below(2_000_000), Event::Start { host: at });
    }

    /// A host is told that another cannot be reached.
    fn lose_sight(&mut self, at: usize) {
        let other = self.any_host();
        let broker = self.hosts[other].me.broker;
        if let Some(running) = self.running(at) {
            running.quorum.unreachable(broker);
        }
    }
}
