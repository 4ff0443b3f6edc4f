//! What is to change about where partitions are: which copies go from whom to whom, and who is to lead.
//!
//! **Where it sits.** Between a look at the cluster and the requests that change it. A plan is what `--dry-run` prints.
//!
//! **What it decides.** How a broker gives up its leaders or its copies, and where a topic goes that somebody moves by hand.
//! **What it never does.** Ask anybody anything.

use std::collections::BTreeMap;

use brooklet_types::BrokerId;

use super::picture::{Partition, Picture, Placed};
use super::spread::Spread;

/// A partition whose replicas are to be others, or in another order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) partition: Partition,
    pub(super) before: Vec<BrokerId>,
    /// Who is to have a copy; the first is to lead.
    pub(super) after: Vec<BrokerId>,
}

/// Copies for which there is no other broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooFewBrokers {
    /// How many partitions cannot go.
    pub(super) partitions: usize,
    /// The most copies that one of them has.
    pub(super) copies: usize,
    /// How many other brokers take part.
    pub(super) others: usize,
}

impl Step {
    /// As a line: `topic-0 [1,2,3] -> [2,3,4]`.
    pub(super) fn line(&self) -> String {
        let ((topic, index), before, after) = (&self.partition, &self.before, &self.after);
        format!("{topic}-{index} {} -> {}", list(before), list(after))
    }

    /// How many brokers get a copy.
    pub(super) fn copies(&self) -> usize {
        self.after.iter().filter(|broker| !self.before.contains(broker)).count()
    }
}

fn list(brokers: &[BrokerId]) -> String {
    let numbers: Vec<String> = brokers.iter().map(ToString::to_string).collect();
    format!("[{}]", numbers.join(","))
}

/// Puts `node` last wherever there is another copy. Who comes first instead is in sync and takes part, if anybody is, and of
/// those leads the fewest.
pub(super) fn drain(picture: &Picture, node: BrokerId) -> Vec<Step> {
    let mut leads: BTreeMap<BrokerId, usize> = BTreeMap::new();
    for first in picture.partitions.values().filter_map(|it| it.wanted.first()) {
        *leads.entry(*first).or_default() += 1;
    }
    let mut steps = Vec::new();
    for (partition, placed) in &picture.partitions {
        let before = &placed.wanted;
        let Some(first) = before.first().filter(|_| before.contains(&node)) else { continue };
        let next = if *first == node { successor(picture, placed, node, &leads) } else { *first };
        let mut after = vec![next];
        after.extend(before.iter().filter(|it| ![next, node].contains(it)));
        // A copy that is alone has nobody to come before it.
        after.extend((next != node).then_some(node));
        if after != *before {
            *leads.entry(next).or_default() += 1;
            let (partition, before) = (partition.clone(), before.clone());
            steps.push(Step { partition, before, after });
        }
    }
    steps
}

/// Who leads a partition instead of `node`; itself where there is nobody else.
fn successor(
    picture: &Picture,
    placed: &Placed,
    node: BrokerId,
    leads: &BTreeMap<BrokerId, usize>,
) -> BrokerId {
    let order = |it: &&BrokerId| {
        let may_lead = placed.in_sync.contains(it) && picture.is_active(**it);
        (!may_lead, leads.get(it).copied().unwrap_or(0))
    };
    let others = placed.wanted.iter().filter(|it| **it != node);
    others.min_by_key(order).copied().unwrap_or(node)
}

/// Gives every copy that `node` has to another broker that takes part.
pub(super) fn empty(picture: &Picture, node: BrokerId) -> Result<Vec<Step>, TooFewBrokers> {
    let mut spread = Spread::of(picture, Some(node));
    let (mut steps, mut stuck) = (Vec::new(), Vec::new());
    for (partition, placed) in &picture.partitions {
        let before = &placed.wanted;
        if !before.contains(&node) {
            continue;
        }
        match spread.replace(before, node) {
            Some(after) => {
                let (partition, before) = (partition.clone(), before.clone());
                steps.push(Step { partition, before, after });
            }
            None => stuck.push(before.len()),
        }
    }
    match stuck.iter().max() {
        None => Ok(steps),
        Some(copies) => Err(TooFewBrokers {
            partitions: stuck.len(),
            copies: *copies,
            others: picture.active().filter(|it| *it != node).count(),
        }),
    }
}

/// Puts another broker in the place of `node` wherever nobody leads, as far as there are others.
pub(super) fn abandon(picture: &Picture, node: BrokerId) -> Vec<Step> {
    let mut spread = Spread::of(picture, Some(node));
    let led_by_nobody = picture.partitions.iter().filter(|(_, placed)| placed.leader.is_none());
    let steps = led_by_nobody.filter(|(_, placed)| placed.wanted.contains(&node)).filter_map(
        |(partition, placed)| {
            let after = spread.replace(&placed.wanted, node)?;
            Some(Step { partition: partition.clone(), before: placed.wanted.clone(), after })
        },
    );
    steps.collect()
}

/// Has these brokers keep a topic, or one partition of it. Of a whole topic each of them comes first in its turn, so that each
/// leads its share. None if there is nothing of that name.
pub(super) fn by_hand(
    picture: &Picture,
    topic: &str,
    partition: Option<u32>,
    to: &[BrokerId],
) -> Option<Vec<Step>> {
    let of_topic = picture.partitions.iter().filter(|((name, _), _)| name == topic);
    let named = of_topic.filter(|((_, index), _)| partition.is_none_or(|one| one == *index));
    let named: Vec<_> = named.collect();
    let first = named.first().map(|((_, index), _)| *index)?;
    let steps = named.into_iter().map(|(at, placed)| {
        let turn = usize::try_from(at.1 - first).expect("a usize has 32 bits") % to.len().max(1);
        let after = [to.get(turn..).unwrap_or(to), to.get(..turn).unwrap_or(&[])].concat();
        Step { partition: at.clone(), before: placed.wanted.clone(), after }
    });
    Some(steps.filter(|step| step.before != step.after).collect())
}

#[cfg(test)]
mod tests;
