//! Consumers that keep to what Kafka promises: one that assigns itself partitions, and the members of a group.

use std::collections::BTreeMap;

use brooklet_history::{Kind, Op};

use super::{World, name, position};

/// A consumer that takes partitions by itself.
pub(crate) struct Alone {
    process: u32,
    /// Where it stands in each partition it has: a place in the log.
    places: BTreeMap<usize, usize>,
}

impl Alone {
    pub(crate) fn new(process: u32) -> Alone {
        Alone { process, places: BTreeMap::new() }
    }

    pub(crate) fn step(&mut self, world: &mut World) {
        match world.prng.below(12) {
            0..2 => self.assign(world),
            2 => self.seek(world),
            3 => {
                self.places.clear();
                world.event(self.process, Kind::Ok, Op::Close);
            }
            4 => world.event(self.process, Kind::Info, Op::Poll(Default::default())),
            _ => {
                let mut parts = Vec::new();
                for (partition, place) in &mut self.places {
                    parts.extend(world.take(*partition, place));
                }
                world.poll(self.process, parts, Vec::new());
            }
        }
    }

    fn assign(&mut self, world: &mut World) {
        let mut places = BTreeMap::new();
        for partition in 0..world.logs.len() {
            if world.prng.chance(60) {
                let anywhere = world.prng.below(world.logs[partition].records.len() + 1);
                let place = self.places.get(&partition).copied().unwrap_or(anywhere);
                places.insert(partition, place);
            }
        }
        self.places = places;
        let names = self.places.keys().map(|partition| name(*partition).into()).collect();
        world.event(self.process, Kind::Ok, Op::Assign(names));
    }

    fn seek(&mut self, world: &mut World) {
        let mut positions = Vec::new();
        for (partition, place) in &mut self.places {
            let log = &world.logs[*partition];
            *place = world.prng.below(log.records.len() + 1);
            let offset = log.records.get(*place).map_or(log.end, |(offset, _)| *offset);
            positions.push(position(*partition, offset));
        }
        world.event(self.process, Kind::Ok, Op::Seek(positions));
    }
}

/// A group of consumers, with its coordinator.
pub(crate) struct Group {
    name: &'static str,
    members: Vec<Member>,
    /// By partition: where the group goes on.
    committed: Vec<usize>,
    /// By partition: which member has it.
    owners: Vec<usize>,
    next_process: u32,
}

struct Member {
    process: u32,
    subscribed: bool,
    places: BTreeMap<usize, usize>,
    /// What it has to be told of.
    rebalanced: Vec<usize>,
}

impl Member {
    fn new(process: u32) -> Member {
        Member { process, subscribed: false, places: BTreeMap::new(), rebalanced: Vec::new() }
    }
}

impl Group {
    pub(crate) fn new(name: &'static str, process: u32, partitions: usize) -> Group {
        let mut group = Group {
            name,
            members: vec![Member::new(process), Member::new(process + 1)],
            committed: vec![0; partitions],
            owners: vec![0; partitions],
            next_process: process + 2,
        };
        for partition in 0..partitions {
            group.give(partition, partition % 2);
        }
        group
    }

    pub(crate) fn step(&mut self, world: &mut World) {
        let member = world.prng.below(self.members.len());
        match world.prng.below(10) {
            0 => {
                let partition = world.prng.below(self.owners.len());
                if world.prng.chance(50) {
                    self.commit(self.owners[partition]);
                }
                self.give(partition, member);
            }
            1 => self.die(world, member),
            2..4 => self.commit(member),
            _ => self.poll(world, member),
        }
    }

    fn poll(&mut self, world: &mut World, member: usize) {
        let group = self.name;
        let member = &mut self.members[member];
        if !member.subscribed {
            member.subscribed = true;
            world.event(member.process, Kind::Ok, Op::Subscribe { group: group.into() });
        }
        let mut parts = Vec::new();
        for (partition, place) in &mut member.places {
            parts.extend(world.take(*partition, place));
        }
        let rebalanced = std::mem::take(&mut member.rebalanced);
        world.poll(member.process, parts, rebalanced);
    }

    fn commit(&mut self, member: usize) {
        for (partition, place) in &self.members[member].places {
            self.committed[*partition] = *place;
        }
    }

    /// A member is killed; another process takes its place, and its partitions go on from what is committed.
    fn die(&mut self, world: &mut World, member: usize) {
        let dead = std::mem::replace(&mut self.members[member], Member::new(self.next_process));
        self.next_process += 1;
        if world.prng.chance(50) {
            world.event(dead.process, Kind::Ok, Op::Close);
        }
        for partition in dead.places.into_keys() {
            let heir = world.prng.below(self.members.len());
            self.give(partition, heir);
        }
    }

    fn give(&mut self, partition: usize, member: usize) {
        let former = &mut self.members[self.owners[partition]];
        former.places.remove(&partition);
        former.rebalanced.push(partition);
        self.owners[partition] = member;
        let heir = &mut self.members[member];
        heir.places.insert(partition, self.committed[partition]);
        heir.rebalanced.push(partition);
    }
}
