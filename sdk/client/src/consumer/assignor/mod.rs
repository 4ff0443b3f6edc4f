//! How a group's leader spreads partitions over members: Kafka's four assignors, by Kafka's names.
//!
//! Pure: members and partition counts in, partitions by member out, the same for the same input.
//!
//! Every member of a group must offer one assignor that all the others offer too. `range` and
//! `roundrobin` are librdkafka's defaults, `range` and `cooperative-sticky` Java's.

mod sticky;

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use crate::offsets::Partition;

/// A way to spread partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Assignor {
    /// Each topic's partitions in consecutive pieces.
    Range,
    /// All partitions in turn.
    RoundRobin,
    /// Evenly, and as little as possible different from before.
    Sticky,
    /// The same; members keep what they have during the rebalance, and what has to move does so in
    /// a second one (KIP-429).
    CooperativeSticky,
}

/// A member of a group, as its leader sees it.
#[derive(Clone, Debug, Default)]
pub struct Member {
    /// What the broker calls it.
    pub id: String,
    /// The name that survives its restarts, if it has one.
    pub instance_id: Option<String>,
    /// What it wants.
    pub topics: BTreeSet<String>,
    /// What it says that it has.
    pub owned: BTreeSet<Partition>,
    /// The generation in which it was given that; of two who claim a partition the newer is right.
    pub generation: i32,
}

/// Partitions by member id.
pub type Assignment = BTreeMap<String, BTreeSet<Partition>>;

impl Assignor {
    /// All of them.
    pub const ALL: [Assignor; 4] =
        [Assignor::Range, Assignor::RoundRobin, Assignor::Sticky, Assignor::CooperativeSticky];

    /// Kafka's name.
    pub fn name(self) -> &'static str {
        match self {
            Assignor::Range => "range",
            Assignor::RoundRobin => "roundrobin",
            Assignor::Sticky => "sticky",
            Assignor::CooperativeSticky => "cooperative-sticky",
        }
    }

    /// The assignor of a name.
    pub fn from_name(name: &str) -> Option<Assignor> {
        Assignor::ALL.into_iter().find(|assignor| assignor.name() == name)
    }

    /// Whether members keep what they have while the group changes.
    pub fn is_cooperative(self) -> bool {
        self == Assignor::CooperativeSticky
    }

    /// Spreads the partitions of `counts` over members, each with the topics it wants.
    pub fn assign(self, mut members: Vec<Member>, counts: &BTreeMap<String, u32>) -> Assignment {
        members.sort_by(order);
        match self {
            Assignor::Range => range(&members, counts),
            Assignor::RoundRobin => round_robin(&members, counts),
            Assignor::Sticky => sticky::assign(&members, counts),
            Assignor::CooperativeSticky => {
                withhold_what_moves(&members, sticky::assign(&members, counts))
            }
        }
    }
}

/// Kafka's order of members: the names that survive a restart first, so that a static member gets
/// the same again.
fn order(left: &Member, right: &Member) -> Ordering {
    match (&left.instance_id, &right.instance_id) {
        (Some(left), Some(right)) => left.cmp(right),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => left.id.cmp(&right.id),
    }
}

fn nothing(members: &[Member]) -> Assignment {
    members.iter().map(|member| (member.id.clone(), BTreeSet::new())).collect()
}

fn range(members: &[Member], counts: &BTreeMap<String, u32>) -> Assignment {
    let mut assignment = nothing(members);
    for (topic, count) in counts {
        let wanting: Vec<&Member> =
            members.iter().filter(|member| member.topics.contains(topic)).collect();
        let Ok(size) = u32::try_from(wanting.len()) else { continue };
        let mut next = 0;
        for (member, place) in wanting.into_iter().zip(0..) {
            // The first ones get one more where it does not come out even.
            let share = count / size + u32::from(place < count % size);
            let own = assignment.entry(member.id.clone()).or_default();
            own.extend((next..next + share).map(|index| (topic.clone(), index)));
            next += share;
        }
    }
    assignment
}

fn round_robin(members: &[Member], counts: &BTreeMap<String, u32>) -> Assignment {
    let mut assignment = nothing(members);
    let mut turn = 0;
    for (topic, count) in counts {
        if !members.iter().any(|member| member.topics.contains(topic)) {
            continue;
        }
        for partition in 0..*count {
            // Somebody wants it, so the round comes to an end.
            let in_turn = members.iter().cycle().skip(turn % members.len());
            let skipped = in_turn.take_while(|member| !member.topics.contains(topic)).count();
            let member = &members[(turn + skipped) % members.len()];
            turn = (turn + skipped + 1) % members.len();
            let own = assignment.entry(member.id.clone()).or_default();
            own.insert((topic.clone(), partition));
        }
    }
    assignment
}

/// Takes out what another member still has: it gives that up when it sees its own assignment, joins
/// again, and the next round hands it over.
fn withhold_what_moves(members: &[Member], mut assignment: Assignment) -> Assignment {
    let mut revoked = BTreeSet::new();
    for member in members {
        let kept = &assignment[&member.id];
        revoked.extend(member.owned.difference(kept).cloned());
    }
    for member in members {
        let given = assignment.get_mut(&member.id).expect("an assignor names every member");
        given.retain(|partition| member.owned.contains(partition) || !revoked.contains(partition));
    }
    assignment
}

#[cfg(test)]
mod tests;
