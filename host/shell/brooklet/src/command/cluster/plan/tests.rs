//! Plans, as `--dry-run` prints them.

use super::super::picture::tests::{ids, picture};
use super::*;

fn lines(steps: &[Step]) -> Vec<String> {
    steps.iter().map(Step::line).collect()
}

#[test]
fn a_broker_is_last_everywhere_and_who_is_in_sync_and_leads_least_comes_first() {
    let three = picture(
        "1 2 3 4!",
        &[
            "t-0 3,1,2",
            "t-1 3,1,2",
            "t-2 3,4,2",
            "t-3 3,1,2 in 3,2",
            "t-4 1,3,2",
            "t-5 3",
            "t-6 1,2",
        ],
    );
    let expected = [
        "t-0 [3,1,2] -> [2,1,3]",
        "t-1 [3,1,2] -> [2,1,3]",
        "t-2 [3,4,2] -> [2,4,3]",
        "t-3 [3,1,2] -> [2,1,3]",
        "t-4 [1,3,2] -> [1,2,3]",
    ];
    assert_eq!(lines(&drain(&three, BrokerId(3))), expected);
}

#[test]
fn leaders_of_a_drained_broker_are_shared_by_the_others() {
    let even = picture("1 2 3", &["t-0 3,1,2", "t-1 3,1,2", "t-2 3,1,2", "t-3 3,1,2"]);
    let firsts: Vec<i32> = drain(&even, BrokerId(3)).iter().map(|step| step.after[0].0).collect();
    assert_eq!(firsts, [1, 2, 1, 2]);
}

#[test]
fn where_nobody_else_is_in_sync_a_drained_broker_is_last_all_the_same() {
    let behind = picture("1 2", &["t-0 2,1 in 2"]);
    assert_eq!(lines(&drain(&behind, BrokerId(2))), ["t-0 [2,1] -> [1,2]"]);
}

#[test]
fn a_broker_that_goes_gives_each_copy_to_who_has_least_in_a_rack_of_its_own() {
    let four = picture("1@a 2@b 3@b 4@c", &["t-0 1,3", "t-1 3,1", "t-2 3,2", "u-0 2,1"]);
    let steps = empty(&four, BrokerId(3)).unwrap();
    let expected = ["t-0 [1,3] -> [1,4]", "t-1 [3,1] -> [4,1]", "t-2 [3,2] -> [4,2]"];
    assert_eq!(lines(&steps), expected);
    assert_eq!(steps.iter().map(Step::copies).sum::<usize>(), 3);
    assert!(empty(&four, BrokerId(4)).unwrap().is_empty());
}

#[test]
fn copies_for_which_there_is_nobody_are_counted() {
    let three = picture("1 2 3 4!", &["t-0 1,2,3", "t-1 2,3", "t-2 2,1,3"]);
    let refused = TooFewBrokers { partitions: 2, copies: 3, others: 2 };
    assert_eq!(empty(&three, BrokerId(3)), Err(refused));
    let two = picture("1 2 3 4!", &["t-1 2,3"]);
    assert_eq!(lines(&empty(&two, BrokerId(3)).unwrap()), ["t-1 [2,3] -> [2,1]"]);
}

#[test]
fn what_nobody_leads_gets_another_broker_for_the_one_that_is_given_up() {
    let lost = picture("1 2 3!", &["t-0 3", "t-1 3,1 in 3", "t-2 3,1", "t-3 3,1,2 in 3"]);
    let expected = ["t-0 [3] -> [2]", "t-1 [3,1] -> [2,1]"];
    assert_eq!(lines(&abandon(&lost, BrokerId(3))), expected, "of the last both have a copy");
}

#[test]
fn a_topic_goes_where_somebody_says_and_is_led_in_turn() {
    let four = picture("1 2 3 4", &["t-0 1,2", "t-1 2,3", "t-2 3,1", "u-0 1,2"]);
    let to = ids("2,3");
    let all = by_hand(&four, "t", None, &to).unwrap();
    assert_eq!(lines(&all), ["t-0 [1,2] -> [2,3]", "t-1 [2,3] -> [3,2]", "t-2 [3,1] -> [2,3]"]);
    let one = by_hand(&four, "t", Some(2), &to).unwrap();
    assert_eq!(lines(&one), ["t-2 [3,1] -> [2,3]"], "one alone begins with the first");
    assert_eq!(by_hand(&four, "t", Some(1), &to), Some(Vec::new()), "it is there");
    assert_eq!(by_hand(&four, "t", Some(3), &to), None);
    assert_eq!(by_hand(&four, "v", None, &to), None);
}
