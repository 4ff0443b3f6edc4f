//! Random worlds that keep every promise: logs, producers with sends under way, consumers of their own and in a group.
//!
//! All chance comes from one generator, so a seed is a history. A world lives for a while; then two readers read all of it, so that whatever is
//! in a log has been seen.

mod consumers;
pub(crate) mod plant;

use brooklet_history::{
    Event, Kind, Op, Polled, PolledPartition, Position, Recording, Report, Sent, check,
};
use consumers::{Alone, Group};

/// SplitMix64.
pub(crate) struct Prng(u64);

impl Prng {
    pub(crate) fn new(seed: u64) -> Prng {
        Prng(seed)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % limit as u64).expect("below a usize")
    }

    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

/// One partition.
#[derive(Default)]
pub(crate) struct Log {
    /// Offset and value.
    pub(crate) records: Vec<(u64, u64)>,
    pub(crate) end: u64,
}

impl Log {
    pub(crate) fn append(&mut self, value: u64) -> u64 {
        let offset = self.end;
        self.records.push((offset, value));
        self.end += 1;
        offset
    }
}

/// How a send will end.
#[derive(Clone, Copy, PartialEq)]
enum Fate {
    Acknowledged,
    Failed,
    /// `info`; whether it is stored.
    Lost(bool),
    /// No completion; whether it is stored.
    Silent(bool),
}

struct Pending {
    partition: usize,
    value: u64,
    fate: Fate,
}

/// A completion that is still to come.
struct Answer {
    kind: Kind,
    partition: usize,
    value: u64,
    offset: Option<u64>,
}

#[derive(Default)]
struct Producer {
    /// Not yet at the broker, in the order they were sent in.
    pending: Vec<Pending>,
    answers: Vec<Answer>,
}

/// The two readers at the end.
pub(crate) const READERS: [u32; 2] = [1000, 1001];

pub(crate) struct World {
    pub(crate) prng: Prng,
    pub(crate) logs: Vec<Log>,
    pub(crate) events: Vec<Event<'static>>,
    producers: Vec<Producer>,
    next_value: u64,
    time: u64,
}

pub(crate) fn name(partition: usize) -> String {
    format!("flights-{partition}")
}

impl World {
    /// A world that has lived for a while, and that nobody has read to its end.
    pub(crate) fn live(seed: u64) -> World {
        let mut prng = Prng::new(seed);
        let partitions = 1 + prng.below(4);
        let producers = 1 + prng.below(3);
        let mut world = World {
            logs: (0..partitions).map(|_| Log::default()).collect(),
            producers: (0..producers).map(|_| Producer::default()).collect(),
            events: Vec::new(),
            next_value: 0,
            time: 0,
            prng,
        };
        let mut alone: Vec<Alone> = (0..2).map(|n| Alone::new(100 + n)).collect();
        let mut group = Group::new("group", 200, partitions);
        for _ in 0..world.prng.below(300) {
            match world.prng.below(10) {
                0..3 => world.send(),
                3..5 => world.store(),
                5..7 => world.answer(),
                7..9 => alone[world.prng.below(2)].step(&mut world),
                _ => group.step(&mut world),
            }
        }
        for producer in 0..world.producers.len() {
            while !world.producers[producer].pending.is_empty() {
                world.store_of(producer);
            }
            while !world.producers[producer].answers.is_empty() {
                world.answer_of(producer);
            }
        }
        world
    }

    /// Has the readers read all of it.
    pub(crate) fn read(&mut self) {
        for reader in READERS {
            let names = (0..self.logs.len()).map(|partition| name(partition).into()).collect();
            self.event(reader, Kind::Ok, Op::Assign(names));
            let starts = (0..self.logs.len()).map(|partition| position(partition, 0)).collect();
            self.event(reader, Kind::Ok, Op::Seek(starts));
            self.event(reader, Kind::Invoke, Op::End(Vec::new()));
            let mut at = vec![0; self.logs.len()];
            while (0..at.len()).any(|partition| at[partition] < self.logs[partition].records.len())
            {
                let mut parts = Vec::new();
                for (partition, at) in at.iter_mut().enumerate() {
                    parts.extend(self.take(partition, at));
                }
                self.poll(reader, parts, Vec::new());
            }
            let ends = self.logs.iter().enumerate();
            let ends = ends.map(|(partition, log)| position(partition, log.end)).collect();
            self.event(reader, Kind::Ok, Op::End(ends));
        }
    }

    /// What is found in it.
    pub(crate) fn report(&self) -> Report {
        let mut recording = Recording::default();
        for event in &self.events {
            recording.push(event).expect("a world does not contradict itself");
        }
        check(&recording.finish().expect("a world sends each value once"))
    }

    pub(crate) fn event(&mut self, process: u32, kind: Kind, op: Op<'static>) {
        self.time += self.prng.below(1000) as u64;
        self.events.push(Event { time: self.time, process, kind, op });
    }

    pub(crate) fn poll(
        &mut self,
        process: u32,
        partitions: Vec<PolledPartition<'static>>,
        rebalanced: Vec<usize>,
    ) {
        let rebalanced = rebalanced.into_iter().map(|partition| name(partition).into()).collect();
        self.event(process, Kind::Ok, Op::Poll(Polled { partitions, rebalanced }));
    }

    /// Some of the records from place `at` on; none if chance or the log has none.
    pub(crate) fn take(
        &mut self,
        partition: usize,
        at: &mut usize,
    ) -> Option<PolledPartition<'static>> {
        let left = self.logs[partition].records.len() - *at;
        let count = self.prng.below(6).min(left);
        let records = self.logs[partition].records[*at..][..count].to_vec();
        *at += count;
        (count > 0).then(|| PolledPartition { partition: name(partition).into(), records })
    }

    pub(crate) fn value(&mut self) -> u64 {
        self.next_value += 1;
        self.next_value
    }

    /// Begins an operation of a few records.
    fn send(&mut self) {
        let producer = self.prng.below(self.producers.len());
        let mut sent = Vec::new();
        for _ in 0..1 + self.prng.below(3) {
            let partition = self.prng.below(self.logs.len());
            let fate = match self.prng.below(12) {
                0 => Fate::Failed,
                1 => Fate::Lost(self.prng.chance(50)),
                2 => Fate::Silent(self.prng.chance(50)),
                _ => Fate::Acknowledged,
            };
            let value = self.value();
            self.producers[producer].pending.push(Pending { partition, value, fate });
            sent.push(record(partition, value, None));
        }
        self.event(producer_process(producer), Kind::Invoke, Op::Send(sent));
    }

    fn store(&mut self) {
        let producer = self.prng.below(self.producers.len());
        if !self.producers[producer].pending.is_empty() {
            self.store_of(producer);
        }
    }

    fn store_of(&mut self, producer: usize) {
        let Pending { partition, value, fate } = self.producers[producer].pending.remove(0);
        let stored = !matches!(fate, Fate::Failed | Fate::Lost(false) | Fate::Silent(false));
        let gap = self.prng.chance(10);
        let log = &mut self.logs[partition];
        log.end += u64::from(gap);
        let offset = stored.then(|| log.append(value));
        let kind = match fate {
            Fate::Acknowledged => Kind::Ok,
            Fate::Failed => Kind::Fail,
            Fate::Lost(_) => Kind::Info,
            Fate::Silent(_) => return,
        };
        // Some clients are not told where their records lie.
        let offset = offset.filter(|_| kind == Kind::Ok && self.prng.chance(95));
        self.producers[producer].answers.push(Answer { kind, partition, value, offset });
    }

    fn answer(&mut self) {
        let producer = self.prng.below(self.producers.len());
        if !self.producers[producer].answers.is_empty() {
            self.answer_of(producer);
        }
    }

    fn answer_of(&mut self, producer: usize) {
        let pick = self.prng.below(self.producers[producer].answers.len());
        let Answer { kind, partition, value, offset } =
            self.producers[producer].answers.swap_remove(pick);
        let op = Op::Send(vec![record(partition, value, offset)]);
        self.event(producer_process(producer), kind, op);
    }
}

fn producer_process(producer: usize) -> u32 {
    u32::try_from(producer).expect("a few")
}

pub(crate) fn record(partition: usize, value: u64, offset: Option<u64>) -> Sent<'static> {
    Sent { partition: name(partition).into(), value, offset }
}

pub(crate) fn position(partition: usize, offset: u64) -> Position<'static> {
    Position { partition: name(partition).into(), offset }
}
