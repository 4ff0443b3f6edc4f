//! How a group's leader spreads partitions over members: Kafka's `range` and `roundrobin`.
//!
//! Pure: members and partition counts in, partitions by member out, the same for the same input.

use std::collections::{BTreeMap, BTreeSet};

use crate::offsets::Partition;

/// A way to spread partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Assignor {
    /// Each topic's partitions in consecutive pieces.
    Range,
    /// All partitions in turn.
    RoundRobin,
}

impl Assignor {
    /// Kafka's name.
    pub fn name(self) -> &'static str {
        match self {
            Assignor::Range => "range",
            Assignor::RoundRobin => "roundrobin",
        }
    }

    /// Spreads the partitions of `counts` over members, each with the topics it wants.
    pub(crate) fn assign(
        self,
        members: &BTreeMap<String, BTreeSet<String>>,
        counts: &BTreeMap<String, u32>,
    ) -> BTreeMap<String, BTreeSet<Partition>> {
        let mut assigned: BTreeMap<String, BTreeSet<Partition>> =
            members.keys().map(|member| (member.clone(), BTreeSet::new())).collect();
        let mut turn = 0;
        for (topic, count) in counts {
            let wanting: Vec<&String> = members
                .iter()
                .filter(|(_, topics)| topics.contains(topic))
                .map(|(id, _)| id)
                .collect();
            if wanting.is_empty() {
                continue;
            }
            let size = u32::try_from(wanting.len()).expect("a group's members fit in a u32");
            for partition in 0..*count {
                let member = match self {
                    Assignor::Range => range_owner(partition, *count, size),
                    Assignor::RoundRobin => {
                        turn += 1;
                        (turn - 1) % size
                    }
                };
                let member = wanting[usize::try_from(member).expect("below a usize")];
                let partitions = assigned.entry(member.clone()).or_default();
                partitions.insert((topic.clone(), partition));
            }
        }
        assigned
    }
}

/// The first `count % size` members get one more than the others.
fn range_owner(partition: u32, count: u32, size: u32) -> u32 {
    let (each, extra) = (count / size, count % size);
    let longer = extra * (each + 1);
    if partition < longer { partition / (each + 1) } else { extra + (partition - longer) / each }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(assignor: Assignor, members: usize, partitions: u32) -> Vec<Vec<u32>> {
        let topics = BTreeSet::from(["t".to_owned()]);
        let members = (0..members).map(|index| (index.to_string(), topics.clone())).collect();
        let assigned = assignor.assign(&members, &BTreeMap::from([("t".to_owned(), partitions)]));
        assigned.values().map(|own| own.iter().map(|(_, index)| *index).collect()).collect()
    }

    #[test]
    fn each_assignor_spreads_as_kafkas() {
        assert_eq!(sizes(Assignor::Range, 3, 7), [vec![0, 1, 2], vec![3, 4], vec![5, 6]]);
        assert_eq!(sizes(Assignor::Range, 3, 2), [vec![0], vec![1], vec![]]);
        assert_eq!(sizes(Assignor::RoundRobin, 3, 7), [vec![0, 3, 6], vec![1, 4], vec![2, 5]]);
    }
}
