//! Transcripts of a follower of broker 1.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use brooklet_replica::{
    Answer, Answered, EpochEnd, FetchId, Follower, FollowerOutput, LogState, Partition,
    PartitionEpoch, Served, Span,
};
use brooklet_types::{BrokerId, ErrorCode, Instant, LeaderEpoch, Offset};
use expect_test::{Expect, expect};

/// A follower and what a script says of the world.
struct Bench {
    follower: Follower,
    now: Instant,
    start: u64,
    durable: u64,
    end: u64,
    /// Epochs of the log with their first offsets.
    epochs: Vec<(u32, u64)>,
    transcript: String,
}

fn partition(leader: &str, epoch: u32) -> Partition {
    let replicas = BTreeSet::from([BrokerId(1), BrokerId(2)]);
    Partition {
        leader: leader.parse().ok().map(BrokerId),
        leader_epoch: LeaderEpoch(epoch),
        partition_epoch: PartitionEpoch(epoch),
        in_sync: replicas.clone(),
        replicas,
        min_in_sync: 1,
    }
}

impl Bench {
    fn new() -> Bench {
        let now = Instant::from_millis(0);
        let follower = Follower::new(&partition("1", 1), Offset::ZERO, FetchId(1), now);
        let (start, durable, end, epochs) = (0, 0, 0, Vec::new());
        Bench { follower, now, start, durable, end, epochs, transcript: String::new() }
    }

    fn state(&self) -> LogState {
        LogState {
            start: Offset::new(self.start),
            durable: Offset::new(self.durable),
            end: Offset::new(self.end),
            last_epoch: self.epochs.last().map(|(epoch, _)| LeaderEpoch(*epoch)),
        }
    }

    /// Carries out a line:
    ///
    /// `follow LEADER EPOCH HIGH-WATERMARK` begins anew, `state LEADER EPOCH` is news; `log START DURABLE END
    /// EPOCH@OFFSET …` is the log, of which the follower is told; `next` asks what to fetch; `tick MS`;
    /// `served ID HIGH-WATERMARK LOG-START [BASE END EPOCH]`, `diverging ID EPOCH END`, `range ID START END`,
    /// `refused ID CODE`, `lost ID`; `?` shows deadline and high watermark.
    fn step(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |at: usize| words[at].parse::<u64>().unwrap();
        let epoch = |at: usize| LeaderEpoch(words[at].parse().unwrap());
        let now = self.now;
        match words[0] {
            "follow" => {
                let (partition, next) =
                    (partition(words[1], epoch(2).0), self.follower.next_fetch());
                self.follower = Follower::new(&partition, Offset::new(number(3)), next, now);
            }
            "state" => self.follower.metadata(&partition(words[1], epoch(2).0), now),
            "tick" => self.now = Instant::from_millis(number(1)),
            "log" => self.log(&words),
            "next" => {
                let fetch = self.follower.next(&self.state(), now);
                let text = fetch.map(|fetch| {
                    let last = fetch.last_epoch.map_or(-1, LeaderEpoch::to_wire);
                    let (id, leader, in_epoch) = (fetch.id.0, fetch.leader, fetch.leader_epoch);
                    format!(
                        "fetch {id} from {leader} in {in_epoch}: at {}, last of {last}",
                        fetch.offset
                    )
                });
                writeln!(self.transcript, "    → {}", text.unwrap_or("nothing".to_owned()))
                    .unwrap();
            }
            "?" => {
                let deadline = self.follower.next_deadline(&self.state()).map(Instant::as_micros);
                let high_watermark = self.follower.high_watermark();
                writeln!(
                    self.transcript,
                    "    → deadline {deadline:?} µs, high watermark {high_watermark}"
                )
                .unwrap();
            }
            "served" => {
                let records = (words.len() > 4).then(|| Span {
                    base: Offset::new(number(4)),
                    end: Offset::new(number(5)),
                    epoch: epoch(6),
                });
                let [high_watermark, log_start] = [2, 3].map(|at| Offset::new(number(at)));
                let served = Served { high_watermark, log_start, records };
                self.answer(number(1), Answer::Served(served));
            }
            "diverging" => {
                let found = EpochEnd { epoch: epoch(2), end: Offset::new(number(3)) };
                self.answer(number(1), Answer::Diverging(found));
            }
            "range" => {
                let [log_start, log_end] = [2, 3].map(|at| Offset::new(number(at)));
                self.answer(number(1), Answer::OutOfRange { log_start, log_end });
            }
            "refused" => {
                let codes = (0..134).filter_map(ErrorCode::from_wire);
                let code = codes.into_iter().find(|code| code.name() == words[2]).unwrap();
                self.answer(number(1), Answer::Refused(code));
            }
            "lost" => self.answer(number(1), Answer::Lost),
            other => panic!("{other} is no command"),
        }
    }

    fn log(&mut self, words: &[&str]) {
        let [start, durable, end] = [1, 2, 3].map(|at| words[at].parse().unwrap());
        (self.start, self.durable, self.end) = (start, durable, end);
        let pair = |word: &&str| {
            let (epoch, start) = word.split_once('@').unwrap();
            (epoch.parse().unwrap(), start.parse().unwrap())
        };
        self.epochs = words[4..].iter().map(pair).collect();
        let mut outbox = Vec::new();
        self.follower.log_changed(&self.state(), &mut outbox);
        self.print(outbox);
    }

    fn answer(&mut self, id: u64, answer: Answer) {
        let (state, epochs, end) = (self.state(), self.epochs.clone(), self.end);
        let history = |asked: LeaderEpoch| {
            let at = epochs.iter().rposition(|(epoch, _)| *epoch <= asked.0)?;
            let end = epochs.get(at + 1).map_or(end, |next| next.1);
            Some(EpochEnd { epoch: LeaderEpoch(epochs[at].0), end: Offset::new(end) })
        };
        let mut outbox = Vec::new();
        let answered = Answered { id: FetchId(id), answer };
        self.follower.answered(answered, &state, history, 0, self.now, &mut outbox);
        self.print(outbox);
    }

    fn print(&mut self, outbox: Vec<FollowerOutput>) {
        for output in outbox {
            let text = match output {
                FollowerOutput::Violated(violation) => format!("VIOLATION: {violation}"),
                FollowerOutput::Append => "append".to_owned(),
                FollowerOutput::Truncate { to } => format!("cut at {to}"),
                FollowerOutput::StartAt { at } => format!("begin anew at {at}"),
                FollowerOutput::DeleteBefore { offset } => {
                    format!("delete what is before {offset}")
                }
                FollowerOutput::HighWatermark(to) => format!("high watermark {to}"),
            };
            writeln!(self.transcript, "    → {text}").unwrap();
        }
    }
}

/// Lives through the commands of a transcript, and compares what is said with what is to be.
#[track_caller]
fn check(expected: Expect) {
    let mut bench = Bench::new();
    let lines = expected.data().lines().map(str::trim);
    for line in lines.filter(|line| !line.is_empty() && !line.starts_with('→')) {
        writeln!(bench.transcript, "{line}").unwrap();
        bench.step(line);
    }
    expected.assert_eq(&bench.transcript);
}

#[test]
fn it_asks_on_only_when_what_it_has_is_durable() {
    check(expect![[r#"
            next
                → fetch 1 from 1 in 1: at 0, last of -1
            next
                → nothing
            served 1 0 0 0 4 1
                → append
            log 0 0 4 1@0
            next
                → nothing
            ?
                → deadline None µs, high watermark 0
            log 0 4 4 1@0
            next
                → fetch 2 from 1 in 1: at 4, last of 1
            served 2 4 0
                → high watermark 4
            next
                → fetch 3 from 1 in 1: at 4, last of 1
        "#]]);
}

#[test]
fn the_high_watermark_is_the_leaders_as_far_as_it_is_durable_here() {
    check(expect![[r#"
            next
                → fetch 1 from 1 in 1: at 0, last of -1
            served 1 9 0 0 4 1
                → append
            log 0 2 4 1@0
                → high watermark 2
            log 0 4 4 1@0
                → high watermark 4
            next
                → fetch 2 from 1 in 1: at 4, last of 1
            served 2 9 0 4 12 1
                → append
            log 0 12 12 1@0
                → high watermark 9
            ?
                → deadline Some(0) µs, high watermark 9
        "#]]);
}

#[test]
fn it_cuts_until_the_logs_agree() {
    check(expect![[r#"
            follow 1 8 10
            log 0 42 42 2@0 4@20 7@30
            next
                → fetch 1 from 1 in 8: at 42, last of 7
            diverging 1 6 25
                → cut at 30
            log 0 30 30 2@0 4@20
            next
                → fetch 2 from 1 in 8: at 30, last of 4
            diverging 2 4 25
                → cut at 25
            log 0 25 25 2@0 4@20
            next
                → fetch 3 from 1 in 8: at 25, last of 4
            served 3 25 0
                → high watermark 25
            ?
                → deadline Some(0) µs, high watermark 25
        "#]]);
}

#[test]
fn what_is_safe_is_cut_loudly() {
    check(expect![[r#"
            follow 1 8 40
            log 0 42 42 2@0 7@30
            next
                → fetch 1 from 1 in 8: at 42, last of 7
            diverging 1 7 35
                → VIOLATION: the log is cut to 35, below the high watermark 40
                → cut at 35
            log 0 35 35 2@0 7@30
            ?
                → deadline Some(0) µs, high watermark 35
            next
                → fetch 2 from 1 in 8: at 35, last of 7
            served 2 38 0
            ?
                → deadline Some(0) µs, high watermark 35
        "#]]);
}

#[test]
fn a_divergence_that_is_none_is_not_believed() {
    check(expect![[r#"
            log 0 10 10 1@0
            next
                → fetch 1 from 1 in 1: at 10, last of 1
            diverging 1 1 10
                → VIOLATION: asked for 10 in epoch 1, which is said to diverge from EpochEnd { epoch: LeaderEpoch(1), end: 10 }
            ?
                → deadline Some(25000) µs, high watermark 0
        "#]]);
}

#[test]
fn records_that_cannot_follow_are_not_taken() {
    check(expect![[r#"
            log 0 10 10 1@0
            next
                → fetch 1 from 1 in 1: at 10, last of 1
            served 1 0 0 9 12 1
                → VIOLATION: asked for 10 in epoch 1, got Span { base: 9, end: 12, epoch: LeaderEpoch(1) }
            tick 1000
            next
                → fetch 2 from 1 in 1: at 10, last of 1
            served 2 0 0 10 12 2
                → VIOLATION: asked for 10 in epoch 1, got Span { base: 10, end: 12, epoch: LeaderEpoch(2) }
            tick 2000
            next
                → fetch 3 from 1 in 1: at 10, last of 1
            served 3 0 0 12 12 1
                → VIOLATION: asked for 10 in epoch 1, got Span { base: 12, end: 12, epoch: LeaderEpoch(1) }
            ?
                → deadline Some(2100000) µs, high watermark 0
            tick 3000
            next
                → fetch 4 from 1 in 1: at 10, last of 1
            served 4 11 0 11 12 1
                → append
        "#]]);
}

#[test]
fn out_of_range_it_goes_where_the_leader_is() {
    check(expect![[r#"
            log 0 10 10 1@0
            next
                → fetch 1 from 1 in 1: at 10, last of 1
            range 1 30 50
                → begin anew at 30
                → high watermark 30
            log 30 30 30
            next
                → fetch 2 from 1 in 1: at 30, last of -1
            range 2 30 50
            tick 1000
            next
                → fetch 3 from 1 in 1: at 30, last of -1
            range 3 10 20
                → VIOLATION: the log is cut to 20, below the high watermark 30
                → begin anew at 20
            log 20 20 20
            next
                → fetch 4 from 1 in 1: at 20, last of -1
            range 4 20 20
            ?
                → deadline Some(1025000) µs, high watermark 20
        "#]]);
}

#[test]
fn the_leaders_start_is_followed_as_far_as_it_is_safe() {
    check(expect![[r#"
            log 0 10 10 1@0
            next
                → fetch 1 from 1 in 1: at 10, last of 1
            served 1 4 7
                → delete what is before 4
                → high watermark 4
            log 4 10 10 1@4
            next
                → fetch 2 from 1 in 1: at 10, last of 1
            served 2 9 7
                → delete what is before 7
                → high watermark 9
            log 7 10 10 1@7
        "#]]);
}

#[test]
fn it_waits_longer_with_each_failure() {
    check(expect![[r#"
            next
                → fetch 1 from 1 in 1: at 0, last of -1
            refused 1 NOT_LEADER_OR_FOLLOWER
            next
                → nothing
            ?
                → deadline Some(25000) µs, high watermark 0
            tick 25
            next
                → fetch 2 from 1 in 1: at 0, last of -1
            refused 2 UNKNOWN_LEADER_EPOCH
            ?
                → deadline Some(75000) µs, high watermark 0
            tick 75
            next
                → fetch 3 from 1 in 1: at 0, last of -1
            lost 3
            ?
                → deadline Some(175000) µs, high watermark 0
            tick 175
            next
                → fetch 4 from 1 in 1: at 0, last of -1
            served 4 0 0
            next
                → fetch 5 from 1 in 1: at 0, last of -1
            ?
                → deadline Some(30175000) µs, high watermark 0
            tick 30174
            next
                → nothing
            tick 30175
            next
                → fetch 6 from 1 in 1: at 0, last of -1
            served 5 0 0
        "#]]);
}

#[test]
fn a_new_epoch_begins_anew_and_hears_no_old_answer() {
    check(expect![[r#"
            log 0 10 10 1@0
            next
                → fetch 1 from 1 in 1: at 10, last of 1
            served 1 5 0
                → high watermark 5
            next
                → fetch 2 from 1 in 1: at 10, last of 1
            state 1 1
            next
                → nothing
            state 3 2
            served 2 9 0 10 12 1
            ?
                → deadline Some(0) µs, high watermark 5
            next
                → fetch 3 from 3 in 2: at 10, last of 1
            state - 3
            next
                → nothing
            ?
                → deadline None µs, high watermark 5
            state 1 4
            next
                → fetch 4 from 1 in 4: at 10, last of 1
        "#]]);
}
