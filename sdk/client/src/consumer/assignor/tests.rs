//! Tables for what Kafka fixes, properties for what it only promises.

use super::*;
use proptest::collection::{btree_set, vec};
use proptest::prelude::*;

/// Topics and their partition counts.
type Topics<'a> = &'a [(&'a str, u32)];

/// Members written as `a: t u` (wants t and u), `a/x: t` (static member x), `a: t = t0 t1` (has
/// these), `a@7: t = t0` (since generation 7).
fn member(text: &str) -> Member {
    let (name, rest) = text.split_once(':').unwrap();
    let (wants, has) = rest.split_once('=').unwrap_or((rest, ""));
    let (name, generation) = name.split_once('@').unwrap_or((name, "1"));
    let (id, instance_id) = match name.split_once('/') {
        Some((id, instance)) => (id, Some(instance.to_owned())),
        None => (name, None),
    };
    let partition = |text: &str| (text[..1].to_owned(), text[1..].parse().unwrap());
    Member {
        id: id.to_owned(),
        instance_id,
        topics: wants.split_whitespace().map(str::to_owned).collect(),
        owned: has.split_whitespace().map(partition).collect(),
        generation: generation.parse().unwrap(),
    }
}

/// `a=t0,t1 b=t2`, in the order of the ids.
fn spread(assignor: Assignor, members: &[&str], topics: Topics<'_>) -> String {
    let counts = topics.iter().map(|(topic, count)| ((*topic).to_owned(), *count)).collect();
    let assignment = assignor.assign(members.iter().map(|text| member(text)).collect(), &counts);
    let texts = assignment.iter().map(|(id, own)| {
        let own: Vec<String> = own.iter().map(|(topic, index)| format!("{topic}{index}")).collect();
        format!("{id}={}", own.join(","))
    });
    texts.collect::<Vec<_>>().join(" ")
}

#[test]
fn range_and_round_robin_spread_as_kafkas() {
    let cases: &[(Assignor, &[&str], Topics<'_>, &str)] = &[
        (Assignor::Range, &["a: t", "b: t", "c: t"], &[("t", 7)], "a=t0,t1,t2 b=t3,t4 c=t5,t6"),
        (Assignor::Range, &["a: t", "b: t", "c: t"], &[("t", 2)], "a=t0 b=t1 c="),
        (Assignor::Range, &["a: t u", "b: u"], &[("t", 2), ("u", 3)], "a=t0,t1,u0,u1 b=u2"),
        // Static members come first, by their own names.
        (Assignor::Range, &["a: t", "b/y: t", "c/x: t"], &[("t", 4)], "a=t3 b=t2 c=t0,t1"),
        (Assignor::RoundRobin, &["a: t", "b: t"], &[("t", 5)], "a=t0,t2,t4 b=t1,t3"),
        // The turn goes on over topics, past whoever does not want one.
        (
            Assignor::RoundRobin,
            &["a: t", "b: t u", "c: t u v"],
            &[("t", 1), ("u", 2), ("v", 3)],
            "a=t0 b=u0 c=u1,v0,v1,v2",
        ),
        (Assignor::RoundRobin, &["a: t"], &[("t", 1), ("x", 2)], "a=t0"),
    ];
    for (assignor, members, topics, expected) in cases {
        assert_eq!(spread(*assignor, members, topics), *expected, "{assignor:?} {members:?}");
    }
}

#[test]
fn sticky_moves_no_more_than_it_must() {
    let cases: &[(&[&str], Topics<'_>, &str)] = &[
        // A newcomer is given its share, out of the largest.
        (&["a: t = t0 t1 t2", "b: t = t3 t4", "c: t"], &[("t", 5)], "a=t0,t1 b=t3,t4 c=t2"),
        // Whose member has gone is free.
        (&["a: t = t0 t3", "b: t = t1"], &[("t", 4)], "a=t0,t3 b=t1,t2"),
        // What is not wanted any more, or not there, is not kept.
        (&["a: u = t0 u9", "b: t"], &[("t", 1), ("u", 1)], "a=u0 b=t0"),
        // Of two claims the newer counts.
        (&["a@3: t = t0 t1", "b@4: t = t0"], &[("t", 2)], "a=t1 b=t0"),
        // Of two that are as new neither does.
        (&["a: t = t0 t1", "b: t = t1", "c: t = t2"], &[("t", 3)], "a=t0 b=t1 c=t2"),
        // Through b, which gives up what c can take and takes over from a.
        (
            &["a: t = t0 t1 t2", "b: t u = u0 u1", "c: u = u2"],
            &[("t", 3), ("u", 3)],
            "a=t0,t1 b=t2,u0 c=u1,u2",
        ),
    ];
    for (members, topics, expected) in cases {
        assert_eq!(spread(Assignor::Sticky, members, topics), *expected, "{members:?}");
    }
}

#[test]
fn cooperative_hands_over_only_what_nobody_has() {
    let topics = [("t", 4)];
    let first = ["a: t = t0 t1 t2 t3", "b: t"];
    assert_eq!(spread(Assignor::CooperativeSticky, &first, &topics), "a=t0,t1 b=");
    let second = ["a@2: t = t0 t1", "b@2: t"];
    assert_eq!(spread(Assignor::CooperativeSticky, &second, &topics), "a=t0,t1 b=t2,t3");
}

prop_compose! {
    /// Up to six members, four topics, whatever they claim.
    fn group()(
        members in vec((btree_set(0..4usize, 0..4), btree_set((0..4usize, 0..8u32), 0..8), 0..3i32), 1..6),
        counts in vec(0..9u32, 4),
    ) -> (Vec<Member>, BTreeMap<String, u32>) {
        let topic = |index: usize| format!("topic-{index}");
        let members = members.into_iter().enumerate().map(|(id, (topics, owned, generation))| Member {
            id: format!("member-{id}"),
            instance_id: None,
            topics: topics.into_iter().map(topic).collect(),
            owned: owned.into_iter().map(|(at, index)| (topic(at), index)).collect(),
            generation,
        });
        let counts = counts.into_iter().enumerate().map(|(at, count)| (topic(at), count));
        (members.collect(), counts.collect())
    }
}

/// Every partition somebody wants has exactly one owner, who wants it.
fn assert_complete(members: &[Member], counts: &BTreeMap<String, u32>, assignment: &Assignment) {
    let mut given = BTreeSet::new();
    for member in members {
        for partition in &assignment[&member.id] {
            assert!(member.topics.contains(&partition.0), "{} got {partition:?}", member.id);
            assert!(given.insert(partition.clone()), "{partition:?} has two owners");
        }
    }
    for (topic, count) in counts {
        let wanted = members.iter().any(|member| member.topics.contains(topic));
        let expected = if wanted { *count } else { 0 };
        let found = given.iter().filter(|(name, _)| name == topic).count();
        assert_eq!(u32::try_from(found), Ok(expected), "{topic}");
    }
}

/// Members after they were given `assignment` in `generation`.
fn after(members: &[Member], assignment: &Assignment, generation: i32) -> Vec<Member> {
    let settled = members.iter().cloned().map(|member| Member {
        owned: assignment[&member.id].clone(),
        generation,
        ..member
    });
    settled.collect()
}

proptest! {
    #[test]
    fn every_assignor_gives_everything_wanted_to_one_who_wants_it((members, counts) in group()) {
        for assignor in [Assignor::Range, Assignor::RoundRobin, Assignor::Sticky] {
            assert_complete(&members, &counts, &assignor.assign(members.clone(), &counts));
        }
    }

    #[test]
    fn sticky_is_even_and_then_stands_still((members, counts) in group()) {
        let assignment = Assignor::Sticky.assign(members.clone(), &counts);
        // Nobody could take something over from somebody who has two more.
        for from in &members {
            for to in &members {
                let wanted = |(topic, _): &&Partition| to.topics.contains(topic);
                if assignment[&from.id].iter().any(|partition| wanted(&partition)) {
                    let (more, less) = (assignment[&from.id].len(), assignment[&to.id].len());
                    prop_assert!(more <= less + 1, "{} has {more}, {} {less}", from.id, to.id);
                }
            }
        }
        let settled = after(&members, &assignment, 5);
        prop_assert_eq!(Assignor::Sticky.assign(settled, &counts), assignment);
    }

    #[test]
    fn a_cooperative_group_settles_without_two_owners_at_once((members, counts) in group()) {
        // Who claims what another one has too, lies; a group never gets there by itself.
        let mut members = members;
        let mut claimed = BTreeSet::new();
        for member in &mut members {
            let Member { topics, owned, .. } = member;
            owned.retain(|partition| topics.contains(&partition.0) && claimed.insert(partition.clone()));
        }
        let first = Assignor::CooperativeSticky.assign(members.clone(), &counts);
        // Everybody keeps what it keeps and gives up the rest only after this round.
        for member in &members {
            for other in members.iter().filter(|other| other.id != member.id) {
                prop_assert!(first[&member.id].is_disjoint(&other.owned), "two owners");
            }
        }
        let second = Assignor::CooperativeSticky.assign(after(&members, &first, 5), &counts);
        assert_complete(&members, &counts, &second);
        prop_assert_eq!(&Assignor::CooperativeSticky.assign(after(&members, &second, 6), &counts), &second);
    }
}
