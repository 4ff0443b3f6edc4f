//! Evenly, and as little as possible different from before.
//!
//! Members keep what they have. What nobody has goes to whoever has least. Then, as long as somebody
//! has two more than somebody else, one partition moves on each step of the shortest way between the
//! two: directly where both want the same topic, else through members between them. No such way is
//! left at the end, so the result is as even as the subscriptions allow.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{Assignment, Member, nothing};

/// The state of the search; members are named by their place in the list.
struct Plan<'a> {
    members: &'a [Member],
    subscribers: BTreeMap<&'a str, Vec<usize>>,
    /// What each member has, by topic.
    held: Vec<BTreeMap<&'a str, BTreeSet<u32>>>,
    /// How many partitions that is.
    loads: Vec<usize>,
}

/// One step of a way: `from` gives a partition of `topic` to `to`.
#[derive(Clone, Copy)]
struct Step<'a> {
    from: usize,
    topic: &'a str,
    to: usize,
}

pub(super) fn assign(members: &[Member], counts: &BTreeMap<String, u32>) -> Assignment {
    let mut plan = Plan::new(members, counts);
    let claimed = claims(members, counts);
    for ((topic, partition), owner) in &claimed {
        if let Some(owner) = owner.member {
            plan.give(owner, topic, *partition);
        }
    }
    // Topics that few want first: those who want more can still be given something else.
    let mut topics: Vec<(&str, u32)> =
        counts.iter().map(|(topic, count)| (topic.as_str(), *count)).collect();
    topics.sort_by_key(|(topic, _)| plan.subscribers[topic].len());
    for (topic, count) in topics {
        for partition in 0..count {
            let owner = claimed.get(&(topic, partition)).and_then(|claim| claim.member);
            if owner.is_none() {
                plan.give_to_least(topic, partition);
            }
        }
    }
    while let Some(way) = plan.way_to_balance() {
        way.into_iter().for_each(|step| plan.take(step));
    }
    plan.into_assignment()
}

/// Who has a partition.
struct Claim {
    generation: i32,
    /// None where two claim it with the same right: neither is believed, as in Kafka.
    member: Option<usize>,
}

/// What members have and may keep: partitions that exist, of topics they still want.
fn claims<'a>(
    members: &'a [Member],
    counts: &BTreeMap<String, u32>,
) -> BTreeMap<(&'a str, u32), Claim> {
    let mut claims = BTreeMap::new();
    for (place, member) in members.iter().enumerate() {
        let generation = member.generation;
        for (topic, partition) in &member.owned {
            let exists = counts.get(topic).is_some_and(|count| partition < count);
            if !exists || !member.topics.contains(topic) {
                continue;
            }
            let new = Claim { generation, member: Some(place) };
            let claim = claims.entry((topic.as_str(), *partition)).or_insert(new);
            match generation.cmp(&claim.generation) {
                std::cmp::Ordering::Greater => {
                    *claim = Claim { generation, member: Some(place) };
                }
                std::cmp::Ordering::Equal if claim.member != Some(place) => claim.member = None,
                std::cmp::Ordering::Equal | std::cmp::Ordering::Less => {}
            }
        }
    }
    claims
}

impl<'a> Plan<'a> {
    fn new(members: &'a [Member], counts: &'a BTreeMap<String, u32>) -> Plan<'a> {
        let wanting = |topic: &String| {
            let wanting = members.iter().enumerate();
            wanting.filter(|(_, member)| member.topics.contains(topic)).map(|(at, _)| at).collect()
        };
        Plan {
            members,
            subscribers: counts.keys().map(|topic| (topic.as_str(), wanting(topic))).collect(),
            held: vec![BTreeMap::new(); members.len()],
            loads: vec![0; members.len()],
        }
    }

    fn give(&mut self, member: usize, topic: &'a str, partition: u32) {
        self.held[member].entry(topic).or_default().insert(partition);
        self.loads[member] += 1;
    }

    fn give_to_least(&mut self, topic: &'a str, partition: u32) {
        let least = self.subscribers[topic].iter().copied().min_by_key(|at| self.loads[*at]);
        // A topic nobody wants is not in the counts, or else nobody's.
        if let Some(least) = least {
            self.give(least, topic, partition);
        }
    }

    /// Moves one partition; rather one that is new to its holder anyway.
    fn take(&mut self, step: Step<'a>) {
        let Step { from, topic, to } = step;
        let had = &self.members[from].owned;
        let held = self.held[from].get_mut(topic).expect("the way leads through what is held");
        let is_old = |partition: &&u32| had.contains(&(topic.to_owned(), **partition));
        let partition = held.iter().rev().min_by_key(is_old).copied();
        let partition = partition.expect("a topic without partitions is not held");
        held.remove(&partition);
        if held.is_empty() {
            self.held[from].remove(topic);
        }
        self.loads[from] -= 1;
        self.give(to, topic, partition);
    }

    /// The shortest way from somebody with much to somebody who has at least two less.
    fn way_to_balance(&self) -> Option<Vec<Step<'a>>> {
        let mut most: Vec<usize> = (0..self.members.len()).collect();
        most.sort_by_key(|at| std::cmp::Reverse(self.loads[*at]));
        most.into_iter().find_map(|from| self.way_from(from))
    }

    fn way_from(&self, from: usize) -> Option<Vec<Step<'a>>> {
        let mut reached: BTreeMap<usize, Option<Step<'a>>> = BTreeMap::from([(from, None)]);
        let mut seen = BTreeSet::new();
        let mut queue = VecDeque::from([from]);
        while let Some(at) = queue.pop_front() {
            // Whoever has least among those one step further.
            let mut best: Option<usize> = None;
            for topic in self.held[at].keys().copied().filter(|topic| seen.insert(*topic)) {
                for to in &self.subscribers[topic] {
                    if reached.contains_key(to) {
                        continue;
                    }
                    reached.insert(*to, Some(Step { from: at, topic, to: *to }));
                    queue.push_back(*to);
                    if best.is_none_or(|best| self.loads[*to] < self.loads[best]) {
                        best = Some(*to);
                    }
                }
            }
            if let Some(best) = best
                && self.loads[best] + 2 <= self.loads[from]
            {
                let before = |step: &Step<'a>| reached[&step.from];
                return Some(std::iter::successors(reached[&best], before).collect());
            }
        }
        None
    }

    fn into_assignment(self) -> Assignment {
        let mut assignment = nothing(self.members);
        for (member, held) in self.members.iter().zip(self.held) {
            let own = assignment.entry(member.id.clone()).or_default();
            for (topic, partitions) in held {
                own.extend(partitions.into_iter().map(|partition| (topic.to_owned(), partition)));
            }
        }
        assignment
    }
}
