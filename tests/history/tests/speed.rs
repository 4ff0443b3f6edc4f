//! A million operations are checked in the time of a test.

use std::time::Duration;

use brooklet_history::{
    Check, Event, Kind, Op, Polled, PolledPartition, Position, Recording, Sent, check,
};

const PARTITIONS: u64 = 8;
const PRODUCERS: u64 = 10;

/// In a debug build, of one processor.
const LIMIT: Duration = Duration::from_secs(10);

/// What this thread has had of a processor, whatever else the machine does meanwhile.
fn processor_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("this is Linux");
    let nanoseconds = text.split(' ').next().expect("the time is the first of three numbers");
    Duration::from_nanos(nanoseconds.parse().expect("a number"))
}

/// Sends each value, with its completion, and polls each alone, in the partitions' order.
fn record(recording: &mut Recording, sends: u64, lost: u64) {
    let names: Vec<String> = (0..PARTITIONS).map(|number| format!("flights-{number}")).collect();
    let mut push = |time: u64, process: u64, kind, op: Op<'_>| {
        let process = u32::try_from(process).expect("a few");
        recording.push(&Event { time, process, kind, op }).expect("it does not contradict itself");
    };
    for value in 0..sends {
        let name = names[(value % PARTITIONS) as usize].as_str();
        let offset = value / PARTITIONS;
        let sent = |offset| Op::Send(vec![Sent { partition: name.into(), value, offset }]);
        push(value, value % PRODUCERS, Kind::Invoke, sent(None));
        push(value, value % PRODUCERS, Kind::Ok, sent(Some(offset)));
        if value != lost {
            let records = vec![(offset, value)];
            let partitions = vec![PolledPartition { partition: name.into(), records }];
            let polled = Polled { partitions, rebalanced: Vec::new() };
            push(value, PRODUCERS, Kind::Ok, Op::Poll(polled));
        }
    }
    push(sends, PRODUCERS, Kind::Invoke, Op::End(Vec::new()));
    let offset = sends / PARTITIONS;
    let ends = names.iter().map(|name| Position { partition: name.into(), offset });
    push(sends, PRODUCERS, Kind::Ok, Op::End(ends.collect()));
}

#[test]
fn a_million_operations() {
    let began = processor_time();
    let mut recording = Recording::default();
    record(&mut recording, 500_000, 123_456);
    let report = check(&recording.finish().expect("each value is sent once"));
    let took = processor_time() - began;
    assert_eq!((report.size.acknowledged, report.size.polled), (500_000, 499_999));
    let found: Vec<Check> = report.findings.keys().copied().collect();
    assert_eq!((found, report.findings[&Check::LostWrite].count), (vec![Check::LostWrite], 1));
    assert!(took < LIMIT, "it took {took:?}");
    println!("1 million operations: {took:?}");
}
