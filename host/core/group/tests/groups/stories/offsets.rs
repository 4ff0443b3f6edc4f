//! Stories of committed positions, from their commit to their end. `UPDATE_EXPECT=1` rewrites them.

use expect_test::expect;

use crate::scene::{check, check_with, short_retention};

#[test]
fn a_commit_during_a_rebalance_is_taken_until_the_new_generation() {
    check(
        "commit ?x t 0 1 generation=3
         commit - t 0 1
         join a v=3
         commit a t 0 2
         sync a a=p0
         commit a t 0 3
         commit a t 0 4 generation=0
         commit ?x t 0 5 generation=1
         commit - t 0 6
         commit a t 0 7 metadata=4096
         commit a t 0 8 metadata=4097
         join b v=3
         commit a t 0 9
         join a
         commit a t 0 10
         fetch t 0
         fetch t 1
         fetch",
        expect![[r#"
            commit ?x t 0 1 generation=3
                → ?x: commit GROUP_ID_NOT_FOUND
            commit - t 0 1
                write g t-0 at 1
                → -: commit NONE
            join a v=3
                → a: join generation 1 range, a leads a
            commit a t 0 2
                → a: commit REBALANCE_IN_PROGRESS
            sync a a=p0
                write g generation 1 a=p0
                → a: sync "p0"
            commit a t 0 3
                write g t-0 at 3
                → a: commit NONE
            commit a t 0 4 generation=0
                → a: commit ILLEGAL_GENERATION
            commit ?x t 0 5 generation=1
                → ?x: commit UNKNOWN_MEMBER_ID
            commit - t 0 6
                → -: commit UNKNOWN_MEMBER_ID
            commit a t 0 7 metadata=4096
                write g t-0 at 7
                → a: commit NONE
            commit a t 0 8 metadata=4097
                → a: commit OFFSET_METADATA_TOO_LARGE
            join b v=3
            commit a t 0 9
                write g t-0 at 9
                → a: commit NONE
            join a
                → a: join generation 2 range, a leads a "b-00000000-0000-4000-8000-00000000000b"
                → b: join generation 2 range, a leads
            commit a t 0 10
                → a: commit REBALANCE_IN_PROGRESS
            fetch t 0
                → fetch t-0=9
            fetch t 1
                → fetch t-1=none
            fetch
                → fetch t-0=9
        "#]],
    );
}

#[test]
fn a_negative_offset_is_given_back_as_it_came() {
    check(
        "commit - t 0 5
         commit - t 0 -2
         fetch t 0
         fetch",
        expect![[r#"
            commit - t 0 5
                write g t-0 at 5
                → -: commit NONE
            commit - t 0 -2
                write g t-0 at -2
                → -: commit NONE
            fetch t 0
                → fetch t-0=-2
            fetch
                → fetch t-0=-2
        "#]],
    );
}

#[test]
fn a_commit_is_seen_when_it_is_durable() {
    check(
        "hold
         commit - t 0 1
         fetch t 0
         commit - t 0 2
         durable
         fetch t 0
         refused
         fetch t 0
         restart
         fetch t 0",
        expect![[r#"
            hold
            commit - t 0 1
                write g t-0 at 1
            fetch t 0
                → fetch t-0=none
            commit - t 0 2
                write g t-0 at 2
            durable
                → -: commit NONE
            fetch t 0
                → fetch t-0=1
            refused
                → -: commit NOT_COORDINATOR
            fetch t 0
                → fetch t-0=1
            restart
            fetch t 0
                → fetch t-0=1
        "#]],
    );
}

#[test]
fn a_commit_to_a_group_that_is_not_there_is_told_so_from_version_9() {
    check(
        "commit ?x t 0 1 generation=3 v=9
         commit ?x t 0 1 generation=3 v=8",
        expect![[r#"
            commit ?x t 0 1 generation=3 v=9
                → ?x: commit GROUP_ID_NOT_FOUND
            commit ?x t 0 1 generation=3 v=8
                → ?x: commit ILLEGAL_GENERATION
        "#]],
    );
}

#[test]
fn offsets_expire_after_the_retention_once_the_group_is_empty() {
    let settings = short_retention();
    check_with(
        settings,
        "join a v=3
         sync a a=p0
         commit a t 0 5
         wait 5000
         beat a
         leave a
         wait 3000000
         fetch
         wait 1000000
         list",
        expect![[r#"
            join a v=3
                → a: join generation 1 range, a leads a
            sync a a=p0
                write g generation 1 a=p0
                → a: sync "p0"
            commit a t 0 5
                write g t-0 at 5
                → a: commit NONE
            wait 5000
            beat a
                → a: beat NONE
            leave a
                write g generation 2
                → a: leave NONE NONE
            wait 3000000
            fetch
                → fetch t-0=5
            wait 1000000
                at 3605000 ms
                write g t-0 forgotten
                write g removed
            list
                → 
        "#]],
    );
}

#[test]
fn offsets_that_nobody_reads_expire_while_the_group_lives() {
    let settings = short_retention();
    check_with(
        settings,
        "join a v=3 range=t session=1800000
         sync a a=p0
         commit a t 0 5
         commit a u 0 5
         wait 1700000
         beat a
         wait 1700000
         beat a
         wait 1000000
         fetch",
        expect![[r#"
            join a v=3 range=t session=1800000
                → a: join generation 1 range, a leads a
            sync a a=p0
                write g generation 1 a=p0
                → a: sync "p0"
            commit a t 0 5
                write g t-0 at 5
                → a: commit NONE
            commit a u 0 5
                write g u-0 at 5
                → a: commit NONE
            wait 1700000
            beat a
                → a: beat NONE
            wait 1700000
            beat a
                → a: beat NONE
            wait 1000000
                at 3600000 ms
                write g u-0 forgotten
            fetch
                → fetch t-0=5
        "#]],
    );
}

#[test]
fn a_lone_consumers_offsets_expire_one_by_one_and_a_given_retention_is_kept() {
    let settings = short_retention();
    check_with(
        settings,
        "commit - t 0 1
         commit - t 1 2 retention=700000
         wait 1800000
         commit - u 0 3
         wait 3000000
         fetch
         wait 3000000
         list",
        expect![[r#"
            commit - t 0 1
                write g t-0 at 1
                → -: commit NONE
            commit - t 1 2 retention=700000
                write g t-1 at 2
                → -: commit NONE
            wait 1800000
                at 1200000 ms
                write g t-1 forgotten
            commit - u 0 3
                write g u-0 at 3
                → -: commit NONE
            wait 3000000
                at 3600000 ms
                write g t-0 forgotten
            fetch
                → fetch u-0=3
            wait 3000000
                at 5400000 ms
                write g u-0 forgotten
            list
                → 
        "#]],
    );
}

#[test]
fn only_an_empty_group_can_be_deleted() {
    check(
        "delete
         join a v=3
         sync a a=p0
         commit a t 0 5
         delete
         leave a
         hold
         delete
         delete
         join b v=3
         durable
         join b v=3
         fetch",
        expect![[r#"
            delete
                → delete GROUP_ID_NOT_FOUND
            join a v=3
                → a: join generation 1 range, a leads a
            sync a a=p0
                write g generation 1 a=p0
                → a: sync "p0"
            commit a t 0 5
                write g t-0 at 5
                → a: commit NONE
            delete
                → delete NON_EMPTY_GROUP
            leave a
                write g generation 2
                → a: leave NONE NONE
            hold
            delete
                write g t-0 forgotten
                write g removed
            delete
                → delete COORDINATOR_LOAD_IN_PROGRESS
            join b v=3
                → b: join COORDINATOR_LOAD_IN_PROGRESS
            durable
                → delete NONE
            join b v=3
                → b: join generation 1 range, b leads b
            fetch
                → fetch
        "#]],
    );
}

#[test]
fn a_deletion_covers_commits_under_way_and_can_be_refused() {
    check(
        "commit - t 0 1
         hold
         commit - t 1 2
         delete
         durable
         refused
         fetch
         delete
         durable
         describe",
        expect![[r#"
            commit - t 0 1
                write g t-0 at 1
                → -: commit NONE
            hold
            commit - t 1 2
                write g t-1 at 2
            delete
                write g t-0 forgotten
                write g t-1 forgotten
                write g removed
            durable
                → -: commit NONE
            refused
                → delete NOT_COORDINATOR
            fetch
                → fetch t-0=1 t-1=2
            delete
                write g t-0 forgotten
                write g t-1 forgotten
            durable
                → delete NONE
            describe
                → Dead 
        "#]],
    );
}

#[test]
fn offsets_of_topics_in_use_are_not_forgotten() {
    check(
        "forget t 0
         join a v=3 range=t
         sync a a=p0
         commit a t 0 5
         commit a u 0 5
         forget t 0
         forget u 0
         forget u 1
         leave a
         forget t 0
         fetch",
        expect![[r#"
            forget t 0
                → forget GROUP_ID_NOT_FOUND 
            join a v=3 range=t
                → a: join generation 1 range, a leads a
            sync a a=p0
                write g generation 1 a=p0
                → a: sync "p0"
            commit a t 0 5
                write g t-0 at 5
                → a: commit NONE
            commit a u 0 5
                write g u-0 at 5
                → a: commit NONE
            forget t 0
                → forget NONE GROUP_SUBSCRIBED_TO_TOPIC
            forget u 0
                write g u-0 forgotten
                → forget NONE NONE
            forget u 1
                → forget NONE NONE
            leave a
                write g generation 2
                → a: leave NONE NONE
            forget t 0
                write g t-0 forgotten
                → forget NONE NONE
            fetch
                → fetch
        "#]],
    );
}

#[test]
fn connect_workers_offsets_are_not_forgotten_while_they_live() {
    check(
        "join a v=3 type=connect
         sync a a=p0
         forget t 0",
        expect![[r#"
            join a v=3 type=connect
                → a: join generation 1 range, a leads a
            sync a a=p0
                write g generation 1 a=p0
                → a: sync "p0"
            forget t 0
                → forget NON_EMPTY_GROUP 
        "#]],
    );
}

#[test]
fn a_deleted_topic_takes_its_offsets_along() {
    check(
        "commit - t 0 5
         commit - u 0 6
         commit - t 1 7 group=other
         topic-deleted t
         fetch
         list",
        expect![[r#"
            commit - t 0 5
                write g t-0 at 5
                → -: commit NONE
            commit - u 0 6
                write g u-0 at 6
                → -: commit NONE
            commit - t 1 7 group=other
                write other t-1 at 7
                → -: commit NONE
            topic-deleted t
                write g t-0 forgotten
                write other t-1 forgotten
            fetch
                → fetch u-0=6
            list
                → g "" Empty, other "" Empty
        "#]],
    );
}

#[test]
fn lists_are_filtered_by_state_and_type() {
    check(
        "commit - t 0 1 group=lone
         join a v=3
         list
         list state=empty
         list state=STABLE
         list state=CompletingRebalance type=Classic
         list type=consumer",
        expect![[r#"
            commit - t 0 1 group=lone
                write lone t-0 at 1
                → -: commit NONE
            join a v=3
                → a: join generation 1 range, a leads a
            list
                → g "consumer" CompletingRebalance, lone "" Empty
            list state=empty
                → lone "" Empty
            list state=STABLE
                → 
            list state=CompletingRebalance type=Classic
                → g "consumer" CompletingRebalance
            list type=consumer
                → 
        "#]],
    );
}
