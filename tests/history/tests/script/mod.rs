//! Histories as short scripts: one step after the other, with `;` between them.
//!
//! `1 sends a 7 8` begins a send of 7 and 8 to partition a by process 1; `1 gets a 7@0 8`, `1 fails a 7` and `1 loses a 7` end it with `ok`, `fail`
//! and `info`. `1 sent a 7@0` is both at once. `2 polls a 0:7 1:8 b 0:3` has offsets and values; `2 rejoins a 0:7` is a poll before which
//! all partitions that it names were rebalanced. `2 assigns a b`, `2 subscribes g`, `2 seeks a@5`, `2 asks`, `2 ends a@5` and `2 closes` are
//! what they say.

use brooklet_history::{
    Event, HistoryError, Kind, Op, Polled, PolledPartition, Position, Recording, Report, Sent,
    check,
};

/// The events of a script; a step's time is its number.
pub(crate) fn events(script: &str) -> Vec<Event<'_>> {
    let steps = script.split(';').map(str::trim).filter(|step| !step.is_empty());
    let steps = steps.zip(1..).flat_map(|(step, time)| {
        let words: Vec<&str> = step.split_whitespace().collect();
        let [process, verb, rest @ ..] = words.as_slice() else { panic!("no step: {step}") };
        let process = process.parse().expect("a step begins with a process");
        let ops = ops(verb, rest).into_iter();
        ops.map(move |(kind, op)| Event { time, process, kind, op }).collect::<Vec<_>>()
    });
    steps.collect()
}

/// What is found in a script, with counts.
pub(crate) fn report(script: &str) -> Result<Report, HistoryError> {
    let mut recording = Recording::default();
    for event in events(script) {
        recording.push(&event)?;
    }
    Ok(check(&recording.finish()?))
}

fn ops<'a>(verb: &str, rest: &[&'a str]) -> Vec<(Kind, Op<'a>)> {
    let names = || rest.iter().map(|name| (*name).into()).collect();
    let ok = |op| vec![(Kind::Ok, op)];
    match verb {
        "sends" => vec![(Kind::Invoke, Op::Send(sent(rest, false)))],
        "gets" => ok(Op::Send(sent(rest, true))),
        "fails" => vec![(Kind::Fail, Op::Send(sent(rest, true)))],
        "loses" => vec![(Kind::Info, Op::Send(sent(rest, true)))],
        "sent" => {
            let invoked = (Kind::Invoke, Op::Send(sent(rest, false)));
            vec![invoked, (Kind::Ok, Op::Send(sent(rest, true)))]
        }
        "polls" => ok(Op::Poll(Polled { partitions: polled(rest), rebalanced: Vec::new() })),
        "rejoins" => {
            let partitions = polled(rest);
            let rebalanced = partitions.iter().map(|part| part.partition.clone()).collect();
            ok(Op::Poll(Polled { partitions, rebalanced }))
        }
        "assigns" => ok(Op::Assign(names())),
        "subscribes" => ok(Op::Subscribe { group: rest[0].into() }),
        "seeks" => ok(Op::Seek(positions(rest))),
        "asks" => vec![(Kind::Invoke, Op::End(Vec::new()))],
        "ends" => ok(Op::End(positions(rest))),
        "closes" => ok(Op::Close),
        other => panic!("no verb: {other}"),
    }
}

fn sent<'a>(words: &[&'a str], with_offsets: bool) -> Vec<Sent<'a>> {
    let mut partition = "";
    let mut sent = Vec::new();
    for word in words {
        if word.starts_with(char::is_alphabetic) {
            partition = word;
            continue;
        }
        let (value, offset) = word.split_once('@').map_or((*word, None), |(v, o)| (v, Some(o)));
        let offset =
            offset.filter(|_| with_offsets).map(|offset| offset.parse().expect("a number"));
        sent.push(Sent {
            partition: partition.into(),
            value: value.parse().expect("a number"),
            offset,
        });
    }
    sent
}

fn polled<'a>(words: &[&'a str]) -> Vec<PolledPartition<'a>> {
    let mut parts: Vec<PolledPartition<'a>> = Vec::new();
    for word in words {
        match word.split_once(':') {
            None => {
                parts.push(PolledPartition { partition: (*word).into(), records: Vec::new() });
            }
            Some((offset, value)) => {
                let records = &mut parts.last_mut().expect("a partition comes first").records;
                records.push((offset.parse().expect("a number"), value.parse().expect("a number")));
            }
        }
    }
    parts
}

fn positions<'a>(words: &[&'a str]) -> Vec<Position<'a>> {
    let split = words.iter().map(|word| word.split_once('@').expect("partition@offset"));
    let position = |(partition, offset): (&'a str, &str)| Position {
        partition: partition.into(),
        offset: offset.parse().expect("a number"),
    };
    split.map(position).collect()
}
