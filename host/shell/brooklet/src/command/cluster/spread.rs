//! Copies and leaders, spread evenly over the brokers that take part.
//!
//! **What it decides.** Who gets a copy instead of whom, with few copies moved: each goes from a broker that has too many to
//! one that has too few, or from one that is no more. **What it never does.** Put two copies of a partition on one broker, or
//! leave a partition in fewer racks than it could have stayed in; ask anybody anything.
//!
//! How even it becomes: where racks do not stand in the way no broker has two copies more than another. Leaders
//! are as even as the copies allow. Copies on a broker that belongs to the cluster and is fenced stay, as it may come back. What
//! nobody leads stays where it is, as nobody can copy it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};

use brooklet_types::BrokerId;

use super::picture::{Partition, Picture};
use super::plan::Step;

/// How many copies everybody has who may get one, and where brokers stand.
pub(super) struct Spread<'a> {
    copies: BTreeMap<BrokerId, usize>,
    /// Of every broker that belongs to the cluster. Brokers that say nothing stand in one rack together.
    racks: BTreeMap<BrokerId, &'a str>,
}

/// Copies that a topic has on a broker.
type OfTopics<'a> = BTreeMap<(&'a str, BrokerId), i64>;

impl<'a> Spread<'a> {
    /// As it is; nobody gives `leaves` anything.
    pub(super) fn of(picture: &'a Picture, leaves: Option<BrokerId>) -> Spread<'a> {
        let takers = picture.active().filter(|broker| Some(*broker) != leaves);
        let mut copies: BTreeMap<BrokerId, usize> = takers.map(|broker| (broker, 0)).collect();
        for broker in picture.partitions.values().flat_map(|placed| &placed.wanted) {
            copies.entry(*broker).and_modify(|count| *count += 1);
        }
        let rack = |(id, known): (&BrokerId, &'a super::picture::Broker)| {
            (*id, known.rack.as_deref().unwrap_or_default())
        };
        Spread { copies, racks: picture.brokers.iter().map(rack).collect() }
    }

    /// The replicas with another broker in the place of `from`; none where nobody is left. As many racks as can be; then
    /// whoever has the fewest copies.
    pub(super) fn replace(
        &mut self,
        replicas: &[BrokerId],
        from: BrokerId,
    ) -> Option<Vec<BrokerId>> {
        let free = self.copies.iter().filter(|(broker, _)| !replicas.contains(broker));
        let order = |(broker, count): &(&BrokerId, &usize)| {
            (Reverse(self.racks_of(&exchanged(replicas, from, **broker))), **count, **broker)
        };
        let to = *free.min_by_key(order)?.0;
        self.count(from, to);
        Some(exchanged(replicas, from, to))
    }

    fn count(&mut self, from: BrokerId, to: BrokerId) {
        self.copies.entry(from).and_modify(|count| *count -= 1);
        self.copies.entry(to).and_modify(|count| *count += 1);
    }

    /// In how many racks these brokers stand. Who does not belong to the cluster stands in none.
    fn racks_of(&self, replicas: &[BrokerId]) -> usize {
        let rack = |broker: &BrokerId| self.racks.get(broker);
        let is_first = |(at, broker): &(usize, &BrokerId)| {
            let mut before = replicas.iter().take(*at);
            rack(broker).is_some_and(|own| !before.any(|other| rack(other) == Some(own)))
        };
        // A handful of replicas: a set would take longer.
        replicas.iter().enumerate().filter(is_first).count()
    }

    /// In how many racks copies may be at all.
    fn racks_there(&self) -> usize {
        let active: Vec<BrokerId> = self.copies.keys().copied().collect();
        self.racks_of(&active)
    }
}

fn exchanged(replicas: &[BrokerId], from: BrokerId, to: BrokerId) -> Vec<BrokerId> {
    replicas.iter().map(|broker| if *broker == from { to } else { *broker }).collect()
}

/// What is to move for copies and leaders to be even.
pub(super) fn balance(picture: &Picture) -> Vec<Step> {
    let mut spread = Spread::of(picture, None);
    let led = || picture.partitions.iter().filter(|(_, placed)| placed.leader.is_some());
    let mut wanted: Vec<(&Partition, Vec<BrokerId>)> =
        led().map(|(at, placed)| (at, placed.wanted.clone())).collect();
    for (_, replicas) in &mut wanted {
        take_from_the_gone(&mut spread, replicas);
        use_racks(&mut spread, replicas);
    }
    even_copies(&mut spread, &mut wanted);
    even_leaders(&spread, &mut wanted);
    let steps = led().zip(wanted).map(|((at, placed), (_, after))| Step {
        partition: at.clone(),
        before: placed.wanted.clone(),
        after,
    });
    steps.filter(|step| step.before != step.after).collect()
}

/// Copies that brokers had which do not belong to the cluster any more.
fn take_from_the_gone(spread: &mut Spread<'_>, replicas: &mut Vec<BrokerId>) {
    for broker in replicas.clone() {
        if !spread.racks.contains_key(&broker)
            && let Some(after) = spread.replace(replicas, broker)
        {
            *replicas = after;
        }
    }
}

/// A partition that is in fewer racks than it could be gets into more.
fn use_racks(spread: &mut Spread<'_>, replicas: &mut Vec<BrokerId>) {
    let most = spread.racks_there().min(replicas.len());
    while spread.racks_of(replicas) < most {
        let before = spread.racks_of(replicas);
        let rest = |broker: BrokerId| {
            let others = replicas.iter().copied().filter(|it| *it != broker);
            spread.racks_of(&others.collect::<Vec<_>>())
        };
        let doubled = replicas.iter().filter(|it| spread.copies.contains_key(it));
        let doubled = doubled.filter(|it| rest(**it) == before);
        let Some(from) = doubled.max_by_key(|it| spread.copies.get(it)).copied() else { return };
        let Some(after) = spread.replace(replicas, from) else { return };
        if spread.racks_of(&after) <= before {
            // Nobody there is in a rack of its own: as it was.
            let to =
                after.iter().find(|it| !replicas.contains(it)).copied().expect("it is another");
            return spread.count(to, from);
        }
        *replicas = after;
    }
}

/// Moves copies, one by one, from who has most to who has fewest.
fn even_copies(spread: &mut Spread<'_>, wanted: &mut [(&Partition, Vec<BrokerId>)]) {
    let mut of_topics = OfTopics::new();
    for ((topic, _), replicas) in &*wanted {
        for broker in replicas {
            *of_topics.entry((topic, *broker)).or_default() += 1;
        }
    }
    while let Some((place, from, to)) = next_copy(spread, &of_topics, wanted) {
        let ((topic, _), replicas) = &mut wanted[place];
        *replicas = exchanged(replicas, from, to);
        spread.count(from, to);
        *of_topics.entry((topic, from)).or_default() -= 1;
        *of_topics.entry((topic, to)).or_default() += 1;
    }
}

/// A copy that makes two brokers more alike: which, from whom, to whom.
fn next_copy(
    spread: &Spread<'_>,
    of_topics: &OfTopics<'_>,
    wanted: &[(&Partition, Vec<BrokerId>)],
) -> Option<(usize, BrokerId, BrokerId)> {
    let mut order: Vec<(usize, BrokerId)> =
        spread.copies.iter().map(|(broker, count)| (*count, *broker)).collect();
    order.sort_unstable();
    for (most, from) in order.iter().rev() {
        for (_, to) in order.iter().take_while(|(fewest, _)| fewest + 2 <= *most) {
            if let Some(place) = best_of(spread, of_topics, wanted, (*from, *to)) {
                return Some((place, *from, *to));
            }
        }
    }
    None
}

/// The partition whose copy goes best from one broker to another: it gets into more racks, or its topic is
/// rather with the first than with the second.
fn best_of(
    spread: &Spread<'_>,
    of_topics: &OfTopics<'_>,
    wanted: &[(&Partition, Vec<BrokerId>)],
    (from, to): (BrokerId, BrokerId),
) -> Option<usize> {
    let mut best: Option<((usize, i64), usize)> = None;
    for (place, ((topic, _), replicas)) in wanted.iter().enumerate() {
        if !replicas.contains(&from) || replicas.contains(&to) {
            continue;
        }
        let before = spread.racks_of(replicas);
        let after = spread.racks_of(&exchanged(replicas, from, to));
        if after < before {
            continue;
        }
        let count = |broker| of_topics.get(&(topic.as_str(), broker)).copied().unwrap_or(0);
        let worth = (after - before, count(from) - count(to));
        if best.is_none_or(|(known, _)| worth > known) {
            best = Some((worth, place));
        }
    }
    best.map(|(_, place)| place)
}

/// Gives first places from who has most to who has fewest, over others where nobody has a partition of both.
fn even_leaders(spread: &Spread<'_>, wanted: &mut [(&Partition, Vec<BrokerId>)]) {
    while let Some(way) = way_of_a_lead(spread, wanted) {
        for (place, to) in way {
            let (_, replicas) = &mut wanted[place];
            let at = replicas.iter().position(|it| *it == to).expect("it has a copy");
            replicas.swap(0, at);
        }
    }
}

/// Which partitions get which first replica, so that one broker leads one fewer and another one more. None when that
/// makes nothing more even.
fn way_of_a_lead(
    spread: &Spread<'_>,
    wanted: &[(&Partition, Vec<BrokerId>)],
) -> Option<Vec<(usize, BrokerId)>> {
    let mut led: BTreeMap<BrokerId, Vec<usize>> =
        spread.copies.keys().map(|broker| (*broker, Vec::new())).collect();
    for (place, (_, replicas)) in wanted.iter().enumerate() {
        let first = replicas.first().and_then(|first| led.get_mut(first));
        first.into_iter().for_each(|places| places.push(place));
    }
    let mut order: Vec<BrokerId> = led.keys().copied().collect();
    order.sort_by_key(|broker| Reverse(led[broker].len()));
    for start in order {
        let mut from: BTreeMap<BrokerId, (BrokerId, usize)> = BTreeMap::new();
        let mut next = VecDeque::from([start]);
        while let Some(broker) = next.pop_front() {
            if led[&broker].len() + 2 <= led[&start].len() {
                return Some(back(&from, start, broker));
            }
            for place in &led[&broker] {
                for other in wanted[*place].1.iter().filter(|it| led.contains_key(it)) {
                    if *other != start && !from.contains_key(other) {
                        from.insert(*other, (broker, *place));
                        next.push_back(*other);
                    }
                }
            }
        }
    }
    None
}

/// The way that was found, from its end.
fn back(
    from: &BTreeMap<BrokerId, (BrokerId, usize)>,
    start: BrokerId,
    end: BrokerId,
) -> Vec<(usize, BrokerId)> {
    let (mut way, mut to) = (Vec::new(), end);
    while to != start {
        let (before, place) = from[&to];
        way.push((place, to));
        to = before;
    }
    way
}

#[cfg(test)]
mod tests;
