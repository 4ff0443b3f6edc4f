//! What the transcripts of a leader are made with: broker 1, with replicas 1, 2 and 3 whose broker epochs are 11, 12
//! and 13.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use brooklet_replica::{
    AlterPartition, Altered, BrokerEpoch, Brokers, ChangeId, EpochEnd, FetchOutcome, FollowerFetch,
    Leader, LeaderOutput, LeaderSettings, LiveBroker, LogEnds, Partition, PartitionEpoch,
    RequestId,
};
use brooklet_types::{BrokerId, ErrorCode, Instant, LeaderEpoch, Offset};
use expect_test::Expect;

const LOCAL: BrokerId = BrokerId(1);

fn set(text: &str) -> BTreeSet<BrokerId> {
    text.split(',').map(|id| BrokerId(id.parse().unwrap())).collect()
}

/// A leader and what a script says of the world.
struct Bench {
    leader: Option<Leader>,
    brokers: Brokers,
    now: Instant,
    log: LogEnds,
    log_start: Offset,
    /// Epochs of the log with their first offsets.
    epochs: Vec<(u32, u64)>,
    transcript: String,
}

impl Bench {
    fn new() -> Bench {
        let live = |id: i32, epoch| {
            (BrokerId(id), LiveBroker { epoch: BrokerEpoch(epoch), can_join: true })
        };
        Bench {
            leader: None,
            brokers: Brokers::from([live(1, 11), live(2, 12), live(3, 13)]),
            now: Instant::from_millis(0),
            log: LogEnds { durable: Offset::ZERO, end: Offset::ZERO },
            log_start: Offset::ZERO,
            epochs: vec![(1, 0)],
            transcript: String::new(),
        }
    }

    /// Carries out a line:
    ///
    /// `lead EPOCH PARTITION-EPOCH SET MIN HIGH-WATERMARK` begins, `state EPOCH PARTITION-EPOCH SET MIN` is news;
    /// `broker ID EPOCH [fenced]`; `log DURABLE END`; `starts OFFSET`; `epochs EPOCH@OFFSET …`;
    /// `produce REQUEST END`; `withdraw REQUEST`;
    /// `fetch BROKER BROKER-EPOCH LEADER-EPOCH OFFSET LAST-EPOCH`, `ok BROKER OFFSET` for one of epoch 1;
    /// `applied CHANGE EPOCH PARTITION-EPOCH SET`, `refused CHANGE CODE`, `lost CHANGE`; `tick MS`; `depose`.
    fn step(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |at: usize| words[at].parse::<u64>().unwrap();
        let small = |at: usize| words[at].parse::<u32>().unwrap();
        match words[0] {
            "broker" => {
                let live = LiveBroker { epoch: BrokerEpoch(number(2)), can_join: words.len() == 3 };
                self.brokers.insert(BrokerId(words[1].parse().unwrap()), live);
            }
            "starts" => self.log_start = Offset::new(number(1)),
            "epochs" => {
                let pair = |word: &&str| {
                    let (epoch, start) = word.split_once('@').unwrap();
                    (epoch.parse().unwrap(), start.parse().unwrap())
                };
                self.epochs = words[1..].iter().map(pair).collect();
            }
            "tick" => self.now = Instant::from_millis(number(1)),
            "log" => {
                let [durable, end] = [number(1), number(2)].map(Offset::new);
                self.log = LogEnds { durable, end };
            }
            _ => {}
        }
        let mut outbox = Vec::new();
        match words[0] {
            "lead" | "state" => {
                let partition = Partition {
                    leader: Some(LOCAL),
                    leader_epoch: LeaderEpoch(small(1)),
                    partition_epoch: PartitionEpoch(small(2)),
                    replicas: set("1,2,3"),
                    in_sync: set(words[3]),
                    min_in_sync: small(4),
                };
                if words[0] == "lead" {
                    let settings = LeaderSettings { lag_max: Duration::from_secs(10) };
                    let high_watermark = Offset::new(number(5));
                    let leader = Leader::new(
                        LOCAL,
                        settings,
                        &partition,
                        self.log,
                        high_watermark,
                        self.now,
                    );
                    self.leader = Some(leader);
                }
                let (brokers, now) = (self.brokers.clone(), self.now);
                self.leader().metadata(&partition, &brokers, now, &mut outbox);
            }
            "depose" => {
                let leader = self.leader.take().unwrap();
                let high_watermark = leader.depose(&mut outbox);
                writeln!(self.transcript, "    → keeps high watermark {high_watermark}").unwrap();
            }
            "fetch" => self.fetch(line, &mut outbox),
            "ok" => {
                let (follower, offset) = (number(1), number(2));
                let line = format!("fetch {follower} {} 1 {offset} 1", follower + 10);
                self.fetch(&line, &mut outbox);
            }
            _ => self.step_leader(&words, &mut outbox),
        }
        for output in outbox {
            self.print(output);
        }
    }

    fn step_leader(&mut self, words: &[&str], outbox: &mut Vec<LeaderOutput>) {
        let number = |at: usize| words[at].parse::<u64>().unwrap();
        let (now, log) = (self.now, self.log);
        let Some(leader) = &mut self.leader else { return };
        let outcome = match words[0] {
            "log" => return leader.local(log, now, outbox),
            "tick" => return leader.tick(now, outbox),
            "withdraw" => return leader.withdraw(RequestId(number(1))),
            "produce" => {
                match leader.accept() {
                    Ok(()) => {
                        leader.wait(RequestId(number(1)), Offset::new(number(2)), now, outbox)
                    }
                    Err(error) => {
                        let code = error.code().name();
                        writeln!(self.transcript, "    → {code}: {error}").unwrap();
                    }
                }
                return;
            }
            "applied" => Altered::Applied {
                leader_epoch: LeaderEpoch(words[2].parse().unwrap()),
                partition_epoch: PartitionEpoch(words[3].parse().unwrap()),
                in_sync: set(words[4]),
            },
            "refused" => Altered::Refused(code(words[2])),
            "lost" => Altered::Lost,
            _ => return,
        };
        leader.altered(ChangeId(number(1)), outcome, now, outbox);
    }

    fn fetch(&mut self, line: &str, outbox: &mut Vec<LeaderOutput>) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let fetch = FollowerFetch {
            follower: BrokerId(words[1].parse().unwrap()),
            broker_epoch: BrokerEpoch(words[2].parse().unwrap()),
            leader_epoch: LeaderEpoch(words[3].parse().unwrap()),
            offset: Offset::new(words[4].parse().unwrap()),
            last_epoch: words[5].parse().ok().map(LeaderEpoch),
        };
        let (now, log_start, end, epochs) =
            (self.now, self.log_start, self.log.end, self.epochs.clone());
        let history = |asked: LeaderEpoch| {
            let at = epochs.iter().rposition(|(epoch, _)| *epoch <= asked.0)?;
            let end = epochs.get(at + 1).map_or(end, |next| Offset::new(next.1));
            Some(EpochEnd { epoch: LeaderEpoch(epochs[at].0), end })
        };
        let outcome = self.leader().fetched(&fetch, log_start, history, now, outbox);
        match outcome {
            Ok(FetchOutcome::Records) => {}
            Ok(FetchOutcome::Diverging(EpochEnd { epoch, end })) => {
                writeln!(self.transcript, "    → diverging: epoch {epoch} ends at {end}").unwrap();
            }
            Err(error) => {
                writeln!(self.transcript, "    → {}: {error}", error.code().name()).unwrap();
            }
        }
    }

    fn leader(&mut self) -> &mut Leader {
        self.leader.as_mut().unwrap()
    }

    fn print(&mut self, output: LeaderOutput) {
        let transcript = &mut self.transcript;
        match output {
            LeaderOutput::HighWatermark(to) => writeln!(transcript, "    → high watermark {to}"),
            LeaderOutput::Answer { request, outcome: Ok(()) } => {
                writeln!(transcript, "    → acknowledge {}", request.0)
            }
            LeaderOutput::Answer { request, outcome: Err(error) } => {
                writeln!(transcript, "    → {} for {}: {error}", error.code().name(), request.0)
            }
            LeaderOutput::Alter(AlterPartition {
                change,
                leader_epoch,
                partition_epoch,
                in_sync,
            }) => {
                let member = |(id, epoch): (&BrokerId, &Option<BrokerEpoch>)| {
                    epoch.map_or_else(|| format!("{id}"), |epoch| format!("{id}:{}", epoch.0))
                };
                let members: Vec<String> = in_sync.iter().map(member).collect();
                let (change, members, of) = (change.0, members.join(" "), partition_epoch.0);
                writeln!(transcript, "    → ask {change} in {leader_epoch} after {of}: {members}")
            }
        }
        .unwrap();
    }
}

fn code(name: &str) -> ErrorCode {
    (0..134).filter_map(ErrorCode::from_wire).find(|code| code.name() == name).unwrap()
}

/// Lives through the commands of a transcript, and compares what is said with what is to be.
#[track_caller]
pub(crate) fn check(expected: Expect) {
    let mut bench = Bench::new();
    let lines = expected.data().lines().map(str::trim);
    for line in lines.filter(|line| !line.is_empty() && !line.starts_with('→')) {
        writeln!(bench.transcript, "{line}").unwrap();
        bench.step(line);
        if let Some(leader) = bench.leader.as_ref().filter(|_| line.ends_with('?')) {
            let (deadline, latest) = (leader.next_deadline(), leader.latest_offset());
            let deadline = deadline.map(|at| at.as_micros());
            writeln!(bench.transcript, "    → deadline {deadline:?} µs, latest {latest:?}")
                .unwrap();
        }
    }
    expected.assert_eq(&bench.transcript);
}
