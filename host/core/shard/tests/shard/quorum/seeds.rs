//! Three brokers whose messages are lost, late and there twice, whose syncs take their time and who lose their power: what was
//! answered stays. A seed is a history.

use super::*;

/// Chance, from a seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: usize) -> usize {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % u64::try_from(limit).unwrap()).unwrap()
    }
}

/// What a history has come to.
struct History {
    net: Net,
    chance: Chance,
    /// Disks of brokers that are down.
    down: BTreeMap<i32, MemoryDisk>,
    /// Topics that were asked for, by whom and how, and not answered yet.
    open: BTreeMap<(i32, Ticket), String>,
    acknowledged: BTreeSet<String>,
    asked: usize,
    versions: BTreeMap<i32, u64>,
}

impl History {
    fn new(seed: u64) -> History {
        let mut net = Net::of_three();
        net.slow = true;
        History {
            net,
            chance: Chance(seed),
            down: BTreeMap::new(),
            open: BTreeMap::new(),
            acknowledged: BTreeSet::new(),
            asked: 0,
            versions: BTreeMap::new(),
        }
    }

    fn anybody(&mut self) -> Option<i32> {
        let up: Vec<i32> = self.net.nodes.keys().copied().collect();
        (!up.is_empty()).then(|| up[self.chance.below(up.len())])
    }

    /// Something happens.
    fn step(&mut self) {
        match self.chance.below(100) {
            0..46 => self.deliver(),
            46..72 => self.sync(),
            72..84 => {
                let Some(broker) = self.anybody() else { return };
                self.net.now = self.net.now + TICK;
                self.net.step(broker, Input::Tick);
            }
            84..94 => self.ask(),
            94..95 => {
                let Some(broker) = self.anybody() else { return };
                let chance = &mut self.chance;
                let disk = self.net.crash_keeping(broker, |count| chance.below(count + 1));
                self.open.retain(|(asked, _), _| *asked != broker);
                self.versions.remove(&broker);
                self.down.insert(broker, disk);
            }
            _ => {
                let Some((broker, disk)) = self.down.pop_first() else { return };
                self.net.start(broker, disk);
            }
        }
        self.look();
    }

    /// One of the messages under way arrives, perhaps not for the last time, or is lost.
    fn deliver(&mut self) {
        if self.net.wire.is_empty() {
            return;
        }
        let at = self.chance.below(self.net.wire.len().min(4));
        let (from, to, message) = self.net.wire[at].clone();
        let fate = self.chance.below(20);
        if fate != 0 {
            self.net.wire.remove(at);
        }
        if fate != 1 && self.net.nodes.contains_key(&to) {
            self.net.step(to, Input::FromBroker { from: BrokerId(from), message });
        }
    }

    fn sync(&mut self) {
        let Some(broker) = self.anybody() else { return };
        let Some(job) = self.net.nodes.get_mut(&broker).unwrap().sync.take() else { return };
        job.run().unwrap();
        self.net.step(broker, Input::Synced { id: job.id });
    }

    fn ask(&mut self) {
        let Some(broker) = self.anybody() else { return };
        self.asked += 1;
        let name = format!("topic-{}", self.asked);
        let ticket = self.net.next_ticket;
        self.net.next_ticket += 1;
        let mut id = [7; 16];
        id[..8].copy_from_slice(&u64::try_from(self.asked).unwrap().to_be_bytes());
        let record = MetaRecord::TopicCreated {
            id: TopicId(id),
            name: TopicName::new(&name).unwrap(),
            partitions: 1,
            settings: Vec::new(),
        };
        let decide = move |_: &Cluster| Decision { records: vec![record], reply: () };
        let request = Request::Metadata(MetadataRequest::new(decide));
        self.open.insert((broker, ticket), name);
        self.net.step(broker, Input::Request { ticket, request });
    }

    /// Whether what is promised is kept.
    fn look(&mut self) {
        for (broker, node) in &mut self.net.nodes {
            for (ticket, reply) in std::mem::take(&mut node.replies) {
                let Some(name) = self.open.remove(&(*broker, ticket)) else { continue };
                if reply.is_ok() {
                    assert!(
                        node.cluster.topic(&name).is_some(),
                        "{name} is answered and not there"
                    );
                    self.acknowledged.insert(name);
                }
            }
            let version = node.cluster.version();
            let before = self.versions.insert(*broker, version).unwrap_or_default();
            assert!(version >= before, "broker {broker} goes back from {before} to {version}");
        }
    }

    /// Everything is well again.
    fn heal(&mut self) {
        for (broker, disk) in std::mem::take(&mut self.down) {
            self.net.start(broker, disk);
        }
        for broker in [1, 2, 3] {
            if let Some(job) = self.net.nodes.get_mut(&broker).unwrap().sync.take() {
                job.run().unwrap();
                self.net.slow = false;
                self.net.step(broker, Input::Synced { id: job.id });
            }
        }
        self.net.slow = false;
        self.net.carry();
        self.net.wait_for_leader();
        self.net.pass(10);
        self.look();
        for broker in [1, 2, 3] {
            let cluster = &self.net.nodes[&broker].cluster;
            assert_eq!(cluster, &self.net.nodes[&1].cluster, "broker {broker}");
            for name in &self.acknowledged {
                assert!(cluster.topic(name).is_some(), "{name} was acknowledged and is lost");
            }
        }
    }
}

#[test]
fn what_was_answered_stays_whatever_happens_to_three() {
    let mut acknowledged = 0;
    for seed in 0..40 {
        let lived = std::panic::catch_unwind(|| {
            let mut history = History::new(seed);
            for _ in 0..800 {
                history.step();
            }
            history.heal();
            history.acknowledged.len()
        });
        acknowledged += lived.unwrap_or_else(|_| panic!("in seed {seed}"));
    }
    assert!(acknowledged > 200, "only {acknowledged} in all: nothing was tried");
}
