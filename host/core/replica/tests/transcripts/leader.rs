//! Transcripts of a leader: what is safe, who is in sync, who may fetch.

use expect_test::expect;

use crate::leader_bench::check;

#[test]
fn the_slowest_member_decides() {
    check(expect![[r#"
            lead 1 5 1,2,3 2 0
            log 0 4
            produce 100 4
            log 4 9
            produce 101 9
            ok 2 9
            ok 3 4
                → high watermark 4
                → acknowledge 100
            log 9 9
            ok 3 9
                → high watermark 9
                → acknowledge 101
        "#]]);
}

#[test]
fn the_leader_counts_what_is_durable_of_its_own() {
    check(expect![[r#"
            lead 1 5 1,2 1 0
            log 0 4
            ok 2 4
            produce 100 4
            log 2 4
                → high watermark 2
            log 4 4
                → high watermark 4
                → acknowledge 100
        "#]]);
}

#[test]
fn a_member_that_was_not_heard_of_in_this_epoch_holds_everything_up() {
    check(expect![[r#"
            lead 1 5 1,2,3 1 0
            log 4 4
            ok 2 4
            tick 10000
            tick 10001
                → ask 1 in 1 after 5: 1:11 2:12
            applied 1 1 6 1,2
                → high watermark 4
        "#]]);
}

#[test]
fn one_that_is_behind_leaves_and_counts_until_that_is_confirmed() {
    check(expect![[r#"
            lead 1 5 1,2,3 2 0
            log 4 4
            ok 2 4
            ok 3 4
                → high watermark 4
            log 8 8
            produce 100 8
            tick 9000
            ok 2 8
            ?
                → deadline Some(10000001) µs, latest Some(4)
            tick 10001
                → ask 1 in 1 after 5: 1:11 2:12
            tick 10002
            applied 1 1 6 1,2
                → high watermark 8
                → acknowledge 100
            ?
                → deadline None µs, latest Some(8)
        "#]]);
}

#[test]
fn who_was_where_the_log_ended_at_its_last_fetch_is_caught_up() {
    check(expect![[r#"
            lead 1 5 1,2 1 0
            log 4 4
            ok 2 2
                → high watermark 2
            log 8 8
            tick 5000
            ok 2 4
                → high watermark 4
            log 12 12
            tick 9000
            ok 2 8
                → high watermark 8
            tick 15000
            tick 15001
                → ask 1 in 1 after 5: 1:11
            lost 1
            ?
                → deadline Some(15051000) µs, latest Some(8)
        "#]]);
}

#[test]
fn one_that_joins_counts_from_before_it_is_asked_for() {
    check(expect![[r#"
            lead 1 5 1 1 0
            log 4 4
                → high watermark 4
            ok 2 2
            ok 2 4
                → ask 1 in 1 after 5: 1:11 2:12
            log 8 8
            produce 100 8
            refused 1 NOT_CONTROLLER
            tick 50
                → ask 1 in 1 after 5: 1:11 2:12
            applied 1 1 6 1,2
            ok 2 8
                → high watermark 8
                → acknowledge 100
        "#]]);
}

#[test]
fn who_is_about_to_join_is_waited_for() {
    check(expect![[r#"
            lead 1 5 1 1 0
            broker 3 13 fenced
            state 1 5 1 1
            log 4 4
                → high watermark 4
            ok 3 4
            log 8 8
                → high watermark 8
            ok 2 8
                → ask 1 in 1 after 5: 1:11 2:12
            refused 1 OPERATION_NOT_ATTEMPTED
            log 12 12
            tick 50
                → ask 2 in 1 after 5: 1:11 2:12
        "#]]);
}

#[test]
fn nobody_joins_below_the_epochs_start() {
    check(expect![[r#"
            log 8 8
            lead 1 5 1,2,3 1 3
            ok 3 8
            broker 2 12 fenced
            state 1 6 1,3 1
                → high watermark 8
            ?
                → deadline Some(10000001) µs, latest Some(8)
            broker 2 12
            state 1 6 1,3 1
            ok 2 5
            ok 2 8
                → ask 1 in 1 after 6: 1:11 2:12 3:13
        "#]]);
}

#[test]
fn nobody_joins_who_is_fenced_or_of_another_incarnation() {
    check(expect![[r#"
            epochs 1@0
            log 8 8
            lead 1 5 1 1 3
                → high watermark 8
            ?
                → deadline None µs, latest Some(8)
            ok 2 7
            broker 2 12 fenced
            state 1 5 1 1
            ok 2 8
            broker 2 15
            state 1 5 1 1
            ok 2 8
                → NOT_LEADER_OR_FOLLOWER: broker 2 is of epoch 15, not 12
            fetch 2 16 1 8 1
            fetch 2 15 1 8 1
                → NOT_LEADER_OR_FOLLOWER: broker 2 is of epoch 16, not 15
            broker 2 16
            state 1 5 1 1
                → ask 1 in 1 after 5: 1:11 2:16
            ?
                → deadline Some(30000000) µs, latest Some(8)
        "#]]);
}

#[test]
fn too_small_a_set_takes_nothing_and_moves_nothing() {
    check(expect![[r#"
            lead 1 5 1,2 2 0
            log 4 4
            produce 100 4
            state 1 6 1 2
                → NOT_ENOUGH_REPLICAS_AFTER_APPEND for 100: the in-sync set shrank to 1 members, 2 are needed
            produce 101 4
                → NOT_ENOUGH_REPLICAS: the in-sync set has 1 members, 2 are needed
            ok 2 4
                → ask 1 in 1 after 6: 1:11 2:12
            applied 1 1 7 1,2
                → high watermark 4
            produce 102 4
                → acknowledge 102
            log 6 6
            produce 103 6
            withdraw 103
            state 1 7 1,2 4
            produce 104 6
                → NOT_ENOUGH_REPLICAS: the in-sync set has 2 members, 3 are needed
        "#]]);
}

#[test]
fn a_refusal_ends_a_change_unless_news_are_to_come() {
    check(expect![[r#"
            lead 1 5 1 1 0
            log 4 4
                → high watermark 4
            ok 2 4
                → ask 1 in 1 after 5: 1:11 2:12
            refused 1 INELIGIBLE_REPLICA
            ok 3 4
            tick 49
            tick 50
                → ask 2 in 1 after 5: 1:11 2:12 3:13
            refused 2 INVALID_UPDATE_VERSION
            refused 1 INELIGIBLE_REPLICA
            tick 20000
            ok 2 4
            ok 3 4
            ?
                → deadline Some(30050000) µs, latest Some(4)
            applied 2 1 6 1,2,3
            state 1 5 1 1
            state 1 7 1,2 1
                → ask 3 in 1 after 7: 1:11 2:12 3:13
        "#]]);
}

#[test]
fn one_whose_adding_may_yet_happen_counts_for_a_while() {
    check(expect![[r#"
            lead 1 5 1 1 0
            log 4 4
                → high watermark 4
            ok 2 4
                → ask 1 in 1 after 5: 1:11 2:12
            lost 1
            tick 50
                → ask 1 in 1 after 5: 1:11 2:12
            broker 2 12 fenced
            state 1 5 1 1
            refused 1 INELIGIBLE_REPLICA
            log 8 8
            tick 30000
            ?
                → deadline Some(30050000) µs, latest Some(4)
            tick 30050
                → high watermark 8
        "#]]);
}

#[test]
fn a_fetch_is_refused_with_kafkas_code() {
    check(expect![[r#"
            starts 3
            epochs 1@0 2@6
            log 10 10
            lead 2 5 1,2 1 0
            fetch 2 12 1 10 2
                → FENCED_LEADER_EPOCH: leader epoch 1 is over: this is 2
            fetch 2 12 3 10 2
                → UNKNOWN_LEADER_EPOCH: leader epoch 3 is not known here: this is 2
            fetch 4 14 2 10 2
                → UNKNOWN_LEADER_EPOCH: broker 4 is not a replica
            fetch 2 11 2 10 2
                → NOT_LEADER_OR_FOLLOWER: broker 2 is of epoch 12, not 11
            fetch 2 12 2 2 1
                → OFFSET_OUT_OF_RANGE: offset 2 is not in 3..=10
            fetch 2 12 2 11 -
                → OFFSET_OUT_OF_RANGE: offset 11 is not in 3..=10
            fetch 2 12 2 11 2
                → diverging: epoch 2 ends at 10
            fetch 2 12 2 8 1
                → diverging: epoch 1 ends at 6
            fetch 2 12 2 10 2
                → high watermark 10
        "#]]);
}

#[test]
fn a_new_epoch_of_the_same_leader_forgets_how_far_followers_were() {
    check(expect![[r#"
            lead 1 5 1,2 1 0
            log 4 4
            produce 100 4
            log 4 6
            ok 2 6
                → high watermark 4
                → acknowledge 100
            epochs 1@0 3@6
            state 3 7 1,2 1
            ?
                → deadline Some(10000001) µs, latest None
            log 6 6
            produce 101 6
            fetch 2 12 3 5 2
                → diverging: epoch 1 ends at 6
            fetch 2 12 3 6 1
                → high watermark 6
                → acknowledge 101
            ?
                → deadline None µs, latest Some(6)
        "#]]);
}

#[test]
fn a_follower_that_starts_again_begins_anew() {
    check(expect![[r#"
            lead 1 5 1,2 1 0
            log 4 4
            ok 2 4
                → high watermark 4
            log 8 8
            fetch 2 14 1 2 1
            fetch 2 12 1 8 1
                → NOT_LEADER_OR_FOLLOWER: broker 2 is of epoch 14, not 12
            fetch 2 14 1 1 1
            fetch 2 14 1 8 1
                → high watermark 8
        "#]]);
}

#[test]
fn who_waits_is_sent_to_the_next_leader() {
    check(expect![[r#"
            lead 1 5 1,2 1 0
            log 8 8
            produce 100 4
            produce 101 8
            ok 2 4
                → high watermark 4
                → acknowledge 100
            depose
                → keeps high watermark 4
                → NOT_LEADER_OR_FOLLOWER for 101: this broker leads the partition no more
        "#]]);
}
