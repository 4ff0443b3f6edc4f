//! What is balanced, in tables, and what is always true of it.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::super::picture::tests::picture;
use super::super::picture::{Broker, Placed};
use super::*;

fn lines(picture: &Picture) -> Vec<String> {
    balance(picture).iter().map(Step::line).collect()
}

/// The replicas as they are after a plan.
fn after(picture: &Picture) -> BTreeMap<Partition, Vec<BrokerId>> {
    let mut all: BTreeMap<_, _> =
        picture.partitions.iter().map(|(at, it)| (at.clone(), it.wanted.clone())).collect();
    all.extend(balance(picture).into_iter().map(|step| (step.partition, step.after)));
    all
}

/// How many copies, and how many first places, each broker that takes part has.
fn counts(picture: &Picture, all: &BTreeMap<Partition, Vec<BrokerId>>) -> (Vec<usize>, Vec<usize>) {
    let copies = |id| all.values().filter(|replicas| replicas.contains(&id)).count();
    let firsts = |id| all.values().filter(|replicas| replicas.first() == Some(&id)).count();
    (picture.active().map(copies).collect(), picture.active().map(firsts).collect())
}

#[test]
fn what_is_even_stays() {
    let even = picture("1 2 3", &["t-0 1,2", "t-1 2,3", "t-2 3,1"]);
    assert!(lines(&even).is_empty());
    assert!(lines(&picture("1", &["t-0 1", "t-1 1"])).is_empty());
    assert!(lines(&picture("1 2", &[])).is_empty());
}

#[test]
fn a_broker_that_joins_gets_its_share_and_no_copy_moves_between_others() {
    let partitions: Vec<String> = (0..8)
        .map(|index| format!("t-{index} {}", ["1,2,3", "2,3,1", "3,1,2"][index % 3]))
        .collect();
    let partitions: Vec<&str> = partitions.iter().map(String::as_str).collect();
    let four = picture("1 2 3 4", &partitions);
    let (copies, firsts) = counts(&four, &after(&four));
    assert_eq!((copies, firsts), (vec![6; 4], vec![2; 4]));
    let moved: usize = balance(&four).iter().map(Step::copies).sum();
    assert_eq!(moved, 6);
}

#[test]
fn copies_on_brokers_that_are_gone_are_made_anew_and_on_fenced_ones_wait() {
    let gone = picture("1 2 4", &["t-0 1,3", "t-1 3,2"]);
    assert_eq!(lines(&gone), ["t-0 [1,3] -> [4,1]", "t-1 [3,2] -> [1,2]"]);
    let fenced = picture("1 2 3! 4", &["t-0 1,3", "t-1 3,2"]);
    assert!(lines(&fenced).is_empty());
    let nobody = picture("1 2", &["t-0 1,2,3"]);
    assert!(lines(&nobody).is_empty(), "there is nobody to take it");
    let lost = picture("1 2 4", &["t-0 3", "t-1 1,3 in 3"]);
    assert!(lines(&lost).is_empty(), "there is nobody to copy from");
}

#[test]
fn leaders_are_evened_over_a_third_where_two_share_nothing() {
    let chain = picture("1 2 3", &["t-0 1,2", "t-1 1,2", "t-2 2,3"]);
    let mut wanted: Vec<_> =
        chain.partitions.iter().map(|(at, placed)| (at, placed.wanted.clone())).collect();
    even_leaders(&Spread::of(&chain, None), &mut wanted);
    let firsts: Vec<i32> = wanted.iter().map(|(_, replicas)| replicas[0].0).collect();
    assert_eq!(firsts, [2, 1, 3]);
}

#[test]
fn a_partition_gets_into_as_many_racks_as_there_are() {
    let racks = picture("1@a 2@a 3@b 4@b", &["t-0 1,2", "t-1 3,4"]);
    for replicas in after(&racks).values() {
        assert_ne!(replicas[0].0 <= 2, replicas[1].0 <= 2, "{replicas:?}");
    }
    // Rack b has one broker, which therefore has more than its share, and keeps it.
    let small = picture("1@a 2@a 3@b", &["t-0 1,3", "t-1 2,3", "t-2 1,3", "t-3 2,3"]);
    assert!(balance(&small).iter().all(|step| step.copies() == 0));
}

/// Some brokers, of which some are fenced and some stand in racks, and partitions on them and on one that is gone.
fn clusters() -> impl Strategy<Value = Picture> {
    let broker = (0_u8..4, prop::bool::weighted(0.15));
    let brokers = prop::collection::vec(broker, 1..7);
    let partition = (prop::collection::vec(0_usize..8, 1..5), 0_u8..3);
    (brokers, prop::collection::vec(partition, 0..40)).prop_map(|(brokers, partitions)| {
        let mut picture = Picture::default();
        for (id, (rack, fenced)) in (1..).zip(&brokers) {
            let address = format!("127.0.0.1:{}", 9000 + id).parse().unwrap();
            let rack = (*rack > 0).then(|| rack.to_string());
            picture.brokers.insert(BrokerId(id), Broker { address, rack, fenced: *fenced });
        }
        for (index, (chosen, topic)) in (0..).zip(partitions) {
            let mut replicas: Vec<BrokerId> = Vec::new();
            for one in chosen {
                // One number above those that there are is a broker that is gone.
                let id = i32::try_from(one % (brokers.len() + 1) + 1).unwrap();
                if !replicas.contains(&BrokerId(id)) {
                    replicas.push(BrokerId(id));
                }
            }
            let leader = replicas.first().copied();
            let placed = Placed { leader, wanted: replicas.clone(), replicas, ..Placed::default() };
            picture.partitions.insert((format!("t{topic}"), index), placed);
        }
        picture
    })
}

fn racks(picture: &Picture, replicas: &[BrokerId]) -> usize {
    let known = replicas.iter().filter_map(|id| picture.brokers.get(id));
    known.map(|broker| broker.rack.clone()).collect::<BTreeSet<_>>().len()
}

proptest! {
    #[test]
    fn nobody_has_two_copies_of_a_partition_and_racks_are_kept(picture in clusters()) {
        for step in balance(&picture) {
            prop_assert_eq!(step.after.len(), step.before.len());
            prop_assert_eq!(step.after.iter().collect::<BTreeSet<_>>().len(), step.after.len());
            prop_assert!(racks(&picture, &step.after) >= racks(&picture, &step.before));
            for id in step.after.iter().filter(|id| !step.before.contains(id)) {
                prop_assert!(picture.is_active(*id), "{} gets a copy", id);
            }
            for id in step.before.iter().filter(|id| !step.after.contains(id)) {
                prop_assert!(picture.brokers.get(id).is_none_or(|it| !it.fenced), "{} loses one", id);
            }
        }
    }

    #[test]
    fn once_balanced_nothing_is_left_to_do(picture in clusters()) {
        let mut picture = picture;
        for step in balance(&picture) {
            let placed = picture.partitions.get_mut(&step.partition).unwrap();
            (placed.wanted, placed.replicas) = (step.after.clone(), step.after);
        }
        prop_assert!(lines(&picture).is_empty(), "{:?}", lines(&picture));
    }

    #[test]
    fn without_racks_copies_are_even_with_as_few_moves_as_can_be(picture in clusters()) {
        let mut picture = picture;
        let all: BTreeSet<BrokerId> = picture.brokers.keys().copied().collect();
        picture.brokers.values_mut().for_each(|broker| (broker.rack, broker.fenced) = (None, false));
        // Only copies on brokers that are there: what is made anew is not moved.
        picture.partitions.retain(|_, it| it.wanted.iter().all(|id| all.contains(id)));
        let before: BTreeMap<_, _> =
            picture.partitions.iter().map(|(at, it)| (at.clone(), it.wanted.clone())).collect();
        let (copies, _) = counts(&picture, &before);
        let total: usize = copies.iter().sum();
        let (low, high) = (total / copies.len(), total.div_ceil(copies.len()));
        let above: usize = copies.iter().map(|count| count.saturating_sub(high)).sum();
        let below: usize = copies.iter().map(|count| low.saturating_sub(*count)).sum();
        let (evened, _) = counts(&picture, &after(&picture));
        prop_assert!(evened.iter().all(|count| (low..=high).contains(count)), "{:?}", evened);
        let moved: usize = balance(&picture).iter().map(Step::copies).sum();
        prop_assert_eq!(moved, above.max(below));
    }
}
