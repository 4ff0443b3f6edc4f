//! Anomalies, one at a time, in a world that has none.

use brooklet_history::{Check, Kind, Op, PolledPartition};

use super::{Prng, READERS, World, name, record};

/// Processes that only plant.
const PLANTER: u32 = 2000;

/// A world of a seed with `check` planted in it, read to its end; `None` if it has no place for it.
pub(crate) fn planted(seed: u64, check: Check) -> Option<World> {
    let mut world = World::live(seed);
    // Beside the world's own chance: what is planted does not change what else happens.
    let mut prng = Prng::new(!seed);
    let partition = prng.below(world.logs.len());
    in_the_log(&mut world, &mut prng, partition, check)?;
    world.read();
    in_the_reading(&mut world, &mut prng, partition, check)?;
    Some(world)
}

/// What readers find there.
fn in_the_log(world: &mut World, prng: &mut Prng, partition: usize, check: Check) -> Option<()> {
    match check {
        Check::LostWrite => lose(world, prng, partition)?,
        Check::Duplicate => {
            let records = &world.logs[partition].records;
            let (_, value) = *records.get(prng.below(records.len().max(1)))?;
            world.logs[partition].append(value);
        }
        Check::AbortedRead => {
            let value = world.value();
            send(world, PLANTER, partition, &[value]);
            let failed = Op::Send(vec![record(partition, value, None)]);
            world.event(PLANTER, Kind::Fail, failed);
            world.logs[partition].append(value);
        }
        Check::Phantom => {
            let value = world.value();
            world.logs[partition].append(value);
        }
        Check::NonmonotonicSend => {
            let (first, second) = (world.value(), world.value());
            send(world, PLANTER, partition, &[first]);
            send(world, PLANTER, partition, &[second]);
            store(world, partition, &[(PLANTER, second), (PLANTER, first)]);
        }
        Check::IntNonmonotonicSend => {
            let (first, second) = (world.value(), world.value());
            send(world, PLANTER, partition, &[first, second]);
            store(world, partition, &[(PLANTER, second), (PLANTER, first)]);
        }
        Check::IntSendSkip => {
            let (first, other, second) = (world.value(), world.value(), world.value());
            send(world, PLANTER, partition, &[first, second]);
            send(world, PLANTER + 1, partition, &[other]);
            let order = [(PLANTER, first), (PLANTER + 1, other), (PLANTER, second)];
            store(world, partition, &order);
        }
        Check::InconsistentOffsets
        | Check::NonmonotonicPoll
        | Check::IntNonmonotonicPoll
        | Check::PollSkip
        | Check::IntPollSkip
        | Check::GroupSkip
        | Check::Unseen => {}
    }
    Some(())
}

/// What a reader gets instead of what is there, and what happens after the readers.
fn in_the_reading(
    world: &mut World,
    prng: &mut Prng,
    partition: usize,
    check: Check,
) -> Option<()> {
    match check {
        Check::InconsistentOffsets => replace(world, prng)?,
        Check::NonmonotonicPoll => repeat_poll(world, prng)?,
        Check::IntNonmonotonicPoll => {
            let (event, part, at) = pick(world, prng, |_, _| true)?;
            let records = records(world, event, part);
            records.insert(at, records[at]);
        }
        Check::PollSkip => {
            let (event, part, at) = pick(world, prng, |at, count| at == 0 && count > 1)?;
            records(world, event, part).remove(at);
        }
        Check::IntPollSkip => {
            let (event, part, at) = pick(world, prng, |at, count| at > 0 && at + 1 < count)?;
            records(world, event, part).remove(at);
        }
        Check::GroupSkip => group_skip(world, prng, partition)?,
        Check::Unseen => {
            let value = world.value();
            send(world, PLANTER, partition, &[value]);
            store(world, partition, &[(PLANTER, value)]);
        }
        Check::LostWrite
        | Check::Duplicate
        | Check::AbortedRead
        | Check::Phantom
        | Check::NonmonotonicSend
        | Check::IntNonmonotonicSend
        | Check::IntSendSkip => {}
    }
    Some(())
}

fn send(world: &mut World, process: u32, partition: usize, values: &[u64]) {
    let sent = values.iter().map(|value| record(partition, *value, None)).collect();
    world.event(process, Kind::Invoke, Op::Send(sent));
}

/// Appends these values of these processes, and acknowledges them.
fn store(world: &mut World, partition: usize, values: &[(u32, u64)]) {
    for (process, value) in values {
        let offset = world.logs[partition].append(*value);
        let op = Op::Send(vec![record(partition, *value, Some(offset))]);
        world.event(*process, Kind::Ok, op);
    }
}

/// Takes an acknowledged record from the log, and from all that was polled.
fn lose(world: &mut World, prng: &mut Prng, partition: usize) -> Option<()> {
    let acknowledged = |value: u64| {
        let mut completed = world.events.iter().filter(|event| event.kind == Kind::Ok);
        completed.any(|event| {
            let Op::Send(sent) = &event.op else { return false };
            sent.iter().any(|sent| sent.value == value)
        })
    };
    let records = world.logs[partition].records.iter().map(|(_, value)| *value);
    let values: Vec<u64> = records.filter(|value| acknowledged(*value)).collect();
    let lost = *values.get(prng.below(values.len().max(1)))?;
    world.logs[partition].records.retain(|(_, value)| *value != lost);
    for event in &mut world.events {
        let Op::Poll(polled) = &mut event.op else { continue };
        for part in &mut polled.partitions {
            part.records.retain(|(_, value)| *value != lost);
        }
    }
    Some(())
}

/// A place in what the first reader polled, as event, part and record; `fits` looks at the record's place in the part and their number.
fn pick(
    world: &World,
    prng: &mut Prng,
    fits: impl Fn(usize, usize) -> bool,
) -> Option<(usize, usize, usize)> {
    let mut places = Vec::new();
    for (number, event) in world.events.iter().enumerate() {
        let Op::Poll(polled) = &event.op else { continue };
        if event.process != READERS[0] {
            continue;
        }
        for (part, polled) in polled.partitions.iter().enumerate() {
            let count = polled.records.len();
            places.extend((0..count).filter(|at| fits(*at, count)).map(|at| (number, part, at)));
        }
    }
    places.get(prng.below(places.len().max(1))).copied()
}

fn records(world: &mut World, event: usize, part: usize) -> &mut Vec<(u64, u64)> {
    let Op::Poll(polled) = &mut world.events[event].op else { panic!("`pick` picks polls") };
    &mut polled.partitions[part].records
}

/// The first reader sees another value than the second, of a send that nobody knows of.
fn replace(world: &mut World, prng: &mut Prng) -> Option<()> {
    let (event, part, at) = pick(world, prng, |_, _| true)?;
    let value = world.value();
    let Op::Poll(polled) = &world.events[event].op else { panic!("`pick` picks polls") };
    let partition = polled.partitions[part].partition.clone();
    records(world, event, part)[at].1 = value;
    let sent = vec![brooklet_history::Sent { partition, value, offset: None }];
    world.event(PLANTER, Kind::Invoke, Op::Send(sent));
    Some(())
}

fn repeat_poll(world: &mut World, prng: &mut Prng) -> Option<()> {
    let (event, ..) = pick(world, prng, |_, _| true)?;
    world.events.insert(event, world.events[event].clone());
    Some(())
}

/// A group of two, of which the second goes on behind a record that the first did not get.
fn group_skip(world: &mut World, prng: &mut Prng, partition: usize) -> Option<()> {
    let records = world.logs[partition].records.clone();
    let skipped = 1 + prng.below(records.len().checked_sub(2).filter(|count| *count > 0)?);
    let halves = [&records[..skipped], &records[skipped + 1..]];
    for (process, half) in (PLANTER..).zip(halves) {
        world.event(process, Kind::Ok, Op::Subscribe { group: "planted".into() });
        let part = PolledPartition { partition: name(partition).into(), records: half.to_vec() };
        world.poll(process, vec![part], vec![partition]);
    }
    Some(())
}
