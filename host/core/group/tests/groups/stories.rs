//! Stories: what a coordinator says, line by line. `UPDATE_EXPECT=1` rewrites them.

use std::time::Duration;

use brooklet_group::Settings;
use expect_test::expect;

use crate::scene::{check, check_with, short_retention};

#[test]
fn three_members_share_eagerly() {
    check(
        "join a
         join a
         sync a a=p0,p1,p2
         join b
         join b
         beat a
         join a
         sync b
         sync a a=p0,p1 b=p2
         join c
         join c
         beat b
         join b
         join a
         sync c
         sync a a=p0 b=p2 c=p1
         sync b
         describe",
        expect![[r#"
            join a
                → a: join MEMBER_ID_REQUIRED
            join a
                → a: join generation 1 range, a leads a
            sync a a=p0,p1,p2
                write g generation 1 a=p0,p1,p2
                → a: sync "p0,p1,p2"
            join b
                → b: join MEMBER_ID_REQUIRED
            join b
            beat a
                → a: beat REBALANCE_IN_PROGRESS
            join a
                → a: join generation 2 range, a leads a b
                → b: join generation 2 range, a leads
            sync b
            sync a a=p0,p1 b=p2
                write g generation 2 a=p0,p1 b=p2
                → a: sync "p0,p1"
                → b: sync "p2"
            join c
                → c: join MEMBER_ID_REQUIRED
            join c
            beat b
                → b: beat REBALANCE_IN_PROGRESS
            join b
            join a
                → a: join generation 3 range, a leads a b c
                → b: join generation 3 range, a leads
                → c: join generation 3 range, a leads
            sync c
            sync a a=p0 b=p2 c=p1
                write g generation 3 a=p0 b=p2 c=p1
                → a: sync "p0"
                → c: sync "p1"
            sync b
                → b: sync "p2"
            describe
                → Stable range a=p0 b=p2 c=p1
        "#]],
    );
}

#[test]
fn who_leaves_is_missed_at_once() {
    check(
        "join a v=3
         join b v=3
         sync a a=p0
         join a v=3
         sync a a=p0 b=p1
         sync b
         leave b
         beat a
         join a
         sync a a=p0,p1
         leave a
         describe
         leave a",
        expect![[r#"
            join a v=3
                → a: join generation 1 range, a leads a
            join b v=3
            sync a a=p0
                → a: sync REBALANCE_IN_PROGRESS
            join a v=3
                → a: join generation 2 range, a leads a "b-00000000-0000-4000-8000-000000000001"
                → b: join generation 2 range, a leads
            sync a a=p0 b=p1
                write g generation 2 a=p0 b=p1
                → a: sync "p0"
            sync b
                → b: sync "p1"
            leave b
                → b: leave NONE NONE
            beat a
                → a: beat REBALANCE_IN_PROGRESS
            join a
                → a: join generation 3 range, a leads a
            sync a a=p0,p1
                write g generation 3 a=p0,p1
                → a: sync "p0,p1"
            leave a
                write g generation 4
                → a: leave NONE NONE
            describe
                → Empty 
            leave a
                → a: leave NONE UNKNOWN_MEMBER_ID
        "#]],
    );
}

#[test]
fn a_member_that_is_silent_is_out_after_its_session() {
    check(
        "join a v=3
         join b v=3
         sync a a=p0
         join a v=3
         sync a a=p0 b=p1
         sync b
         wait 6000
         beat a
         wait 4000
         beat a
         beat b
         join a
         sync a a=p0,p1",
        expect![[r#"
            join a v=3
                → a: join generation 1 range, a leads a
            join b v=3
            sync a a=p0
                → a: sync REBALANCE_IN_PROGRESS
            join a v=3
                → a: join generation 2 range, a leads a "b-00000000-0000-4000-8000-000000000001"
                → b: join generation 2 range, a leads
            sync a a=p0 b=p1
                write g generation 2 a=p0 b=p1
                → a: sync "p0"
            sync b
                → b: sync "p1"
            wait 6000
            beat a
                → a: beat NONE
            wait 4000
            beat a
                → a: beat REBALANCE_IN_PROGRESS
            beat b
                → b: beat UNKNOWN_MEMBER_ID
            join a
                → a: join generation 3 range, a leads a
            sync a a=p0,p1
                write g generation 3 a=p0,p1
                → a: sync "p0,p1"
        "#]],
    );
}

#[test]
fn cooperative_members_keep_reading_while_they_rebalance_twice() {
    check(
        "join a v=3 sticky=t
         sync a a=p0,p1
         commit a t 0 5
         join b v=3 sticky=t
         beat a
         commit a t 0 6
         join a sticky=t
         sync a a=p0
         sync b
         join b sticky=t,u
         beat a
         join a sticky=t
         sync a a=p0 b=p1
         sync b
         describe",
        expect![[r#"
            join a v=3 sticky=t
                → a: join generation 1 sticky, a leads a
            sync a a=p0,p1
                write g generation 1 a=p0,p1
                → a: sync "p0,p1"
            commit a t 0 5
                write g t-0 at 5
                → a: commit NONE
            join b v=3 sticky=t
            beat a
                → a: beat REBALANCE_IN_PROGRESS
            commit a t 0 6
                write g t-0 at 6
                → a: commit NONE
            join a sticky=t
                → a: join generation 2 sticky, a leads a "b-00000000-0000-4000-8000-000000000003"
                → b: join generation 2 sticky, a leads
            sync a a=p0
                write g generation 2 a=p0 b=
                → a: sync "p0"
            sync b
                → b: sync ""
            join b sticky=t,u
            beat a
                → a: beat REBALANCE_IN_PROGRESS
            join a sticky=t
                → a: join generation 3 sticky, a leads a b
                → b: join generation 3 sticky, a leads
            sync a a=p0 b=p1
                write g generation 3 a=p0 b=p1
                → a: sync "p0"
            sync b
                → b: sync "p1"
            describe
                → Stable sticky a=p0 b=p1
        "#]],
    );
}

#[test]
fn a_static_member_comes_back_without_a_rebalance() {
    check(
        "join a instance=i
         join b v=3
         join a instance=i id=a
         sync a a=p0 b=p1 instance=i
         sync b
         join a instance=i id=-
         sync a instance=i
         beat a instance=i
         beat b
         restart
         beat a instance=i
         describe",
        expect![[r#"
            join a instance=i
                → a: join generation 1 range, a leads a
            join b v=3
            join a instance=i id=a
                → b: join generation 2 range, a leads
                → a: join generation 2 range, a leads b a
            sync a a=p0 b=p1 instance=i
                write g generation 2 b=p1 a=p0
                → a: sync "p0"
            sync b
                → b: sync "p1"
            join a instance=i id=-
                write g generation 2 b=p1 "i-00000000-0000-4000-8000-000000000005"=p0
                → a: join generation 2 range, a leads b a, need not assign
            sync a instance=i
                → a: sync "p0"
            beat a instance=i
                → a: beat NONE
            beat b
                → b: beat NONE
            restart
            beat a instance=i
                → a: beat NONE
            describe
                → Stable range b=p1 a=p0
        "#]],
    );
}

#[test]
fn a_static_leader_of_before_version_9_is_not_told_that_it_leads() {
    check(
        "join a instance=i v=5
         sync a a=p0 instance=i
         join a instance=i id=- v=5",
        expect![[r#"
            join a instance=i v=5
                → a: join generation 1 range, a leads a
            sync a a=p0 instance=i
                write g generation 1 a=p0
                → a: sync "p0"
            join a instance=i id=- v=5
                write g generation 1 "i-00000000-0000-4000-8000-000000000002"=p0
                → a: join generation 1 range, "i-00000000-0000-4000-8000-000000000000" leads
        "#]],
    );
}

#[test]
fn a_static_member_with_other_topics_takes_its_place_but_not_with_another_protocol() {
    check(
        "join a instance=i range=t
         sync a a=p0 instance=i
         join a instance=i id=- range=t,u
         sync a a=p0 instance=i
         join a instance=i id=- sticky=t",
        expect![[r#"
            join a instance=i range=t
                → a: join generation 1 range, a leads a
            sync a a=p0 instance=i
                write g generation 1 a=p0
                → a: sync "p0"
            join a instance=i id=- range=t,u
                write g generation 1 "i-00000000-0000-4000-8000-000000000002"=p0
                → a: join generation 1 range, a leads a, need not assign
            sync a a=p0 instance=i
                → a: sync "p0"
            join a instance=i id=- sticky=t
                → a: join INCONSISTENT_GROUP_PROTOCOL
        "#]],
    );
}

#[test]
fn when_the_log_refuses_a_returning_static_member_the_old_one_stays() {
    check(
        "join a instance=i
         sync a a=p0 instance=i
         hold
         join b instance=i
         refused
         beat a instance=i
         describe",
        expect![[r#"
            join a instance=i
                → a: join generation 1 range, a leads a
            sync a a=p0 instance=i
                write g generation 1 a=p0
                → a: sync "p0"
            hold
            join b instance=i
                write g generation 1 "i-00000000-0000-4000-8000-000000000002"=p0
            refused
                → b: join NOT_COORDINATOR
            beat a instance=i
                → a: beat NONE
            describe
                → Stable range a=p0
        "#]],
    );
}

#[test]
fn of_two_with_one_instance_id_the_older_is_fenced() {
    check(
        "join a instance=i
         sync a a=p0 instance=i
         join b instance=i
         beat a instance=i
         sync a instance=i
         commit a t 0 5 instance=i
         leave a instance=i
         join a instance=i id=a
         beat b instance=i
         leave - instance=i
         beat b instance=i",
        expect![[r#"
            join a instance=i
                → a: join generation 1 range, a leads a
            sync a a=p0 instance=i
                write g generation 1 a=p0
                → a: sync "p0"
            join b instance=i
                write g generation 1 "i-00000000-0000-4000-8000-000000000002"=p0
                → b: join generation 1 range, b leads b, need not assign
            beat a instance=i
                → a: beat FENCED_INSTANCE_ID
            sync a instance=i
                → a: sync FENCED_INSTANCE_ID
            commit a t 0 5 instance=i
                → a: commit FENCED_INSTANCE_ID
            leave a instance=i
                → a: leave NONE FENCED_INSTANCE_ID
            join a instance=i id=a
                → a: join FENCED_INSTANCE_ID
            beat b instance=i
                → b: beat NONE
            leave - instance=i
                write g generation 2
                → -: leave NONE NONE
            beat b instance=i
                → b: beat UNKNOWN_MEMBER_ID
        "#]],
    );
}

#[test]
fn who_never_comes_back_with_its_id_holds_nobody_up_for_long() {
    check(
        "join a
         join b
         sync a
         join a
         describe
         wait 10000
         join b v=3
         wait 60000",
        expect![[r#"
            join a
                → a: join MEMBER_ID_REQUIRED
            join b
                → b: join MEMBER_ID_REQUIRED
            sync a
                → a: sync UNKNOWN_MEMBER_ID
            join a
                → a: join generation 1 range, a leads a
            describe
                → CompletingRebalance  a=
            wait 10000
                at 10000 ms
                write g generation 2
            join b v=3
                → b: join UNKNOWN_MEMBER_ID
            wait 60000
        "#]],
    );
}

#[test]
fn a_rebalance_waits_for_an_id_it_gave_out() {
    check(
        "join a v=3
         sync a a=p0
         join b
         join a id=a
         describe
         wait 10000",
        expect![[r#"
            join a v=3
                → a: join generation 1 range, a leads a
            sync a a=p0
                write g generation 1 a=p0
                → a: sync "p0"
            join b
                → b: join MEMBER_ID_REQUIRED
            join a id=a
            describe
                → PreparingRebalance  a=
            wait 10000
                at 10000 ms
                → a: join generation 2 range, a leads a
        "#]],
    );
}

#[test]
fn a_member_that_does_not_sync_is_removed_when_the_rebalance_times_out() {
    check(
        "join a v=3 rebalance=5000
         sync a a=p0
         join b v=3 rebalance=5000
         join a rebalance=5000
         sync b
         wait 5000
         beat a
         join b rebalance=5000
         sync b b=p0",
        expect![[r#"
            join a v=3 rebalance=5000
                → a: join generation 1 range, a leads a
            sync a a=p0
                write g generation 1 a=p0
                → a: sync "p0"
            join b v=3 rebalance=5000
            join a rebalance=5000
                → a: join generation 2 range, a leads a "b-00000000-0000-4000-8000-000000000002"
                → b: join generation 2 range, a leads
            sync b
            wait 5000
                at 5000 ms
                → b: sync REBALANCE_IN_PROGRESS
            beat a
                → a: beat UNKNOWN_MEMBER_ID
            join b rebalance=5000
                → b: join generation 3 range, b leads b
            sync b b=p0
                write g generation 3 b=p0
                → b: sync "p0"
        "#]],
    );
}

#[test]
fn a_member_that_does_not_rejoin_is_removed_when_the_rebalance_times_out() {
    check(
        "join a v=3
         join b v=3
         sync a a=p0
         join a v=3
         sync a a=p0 b=p1
         sync b
         join c v=3 rebalance=7000
         join b
         wait 5000
         beat a
         wait 55000
         describe",
        expect![[r#"
            join a v=3
                → a: join generation 1 range, a leads a
            join b v=3
            sync a a=p0
                → a: sync REBALANCE_IN_PROGRESS
            join a v=3
                → a: join generation 2 range, a leads a "b-00000000-0000-4000-8000-000000000001"
                → b: join generation 2 range, a leads
            sync a a=p0 b=p1
                write g generation 2 a=p0 b=p1
                → a: sync "p0"
            sync b
                → b: sync "p1"
            join c v=3 rebalance=7000
            join b
            wait 5000
            beat a
                → a: beat REBALANCE_IN_PROGRESS
            wait 55000
                at 15000 ms
                → b: join generation 3 range, b leads b "c-00000000-0000-4000-8000-000000000006"
                → c: join generation 3 range, b leads
                at 25000 ms
                write g generation 4
            describe
                → Empty 
        "#]],
    );
}

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
fn assignments_are_handed_out_when_they_are_durable() {
    check(
        "hold
         join a v=3
         join b v=3
         join a
         sync b
         sync a a=p0 b=p1
         describe
         durable",
        expect![[r#"
            hold
            join a v=3
                → a: join generation 1 range, a leads a
            join b v=3
            join a
                → a: join generation 2 range, a leads a "b-00000000-0000-4000-8000-000000000001"
                → b: join generation 2 range, a leads
            sync b
            sync a a=p0 b=p1
                write g generation 2 a=p0 b=p1
            describe
                → CompletingRebalance  a= b=
            durable
                → a: sync "p0"
                → b: sync "p1"
        "#]],
    );
}

#[test]
fn when_the_log_refuses_assignments_everybody_joins_again() {
    check(
        "join a v=3
         sync a a=p0
         join b v=3
         join a
         hold
         sync b
         sync a a=p0 b=p1
         refused
         describe
         join a
         join b
         sync a a=p0 b=p1
         durable
         sync b",
        expect![[r#"
            join a v=3
                → a: join generation 1 range, a leads a
            sync a a=p0
                write g generation 1 a=p0
                → a: sync "p0"
            join b v=3
            join a
                → a: join generation 2 range, a leads a "b-00000000-0000-4000-8000-000000000002"
                → b: join generation 2 range, a leads
            hold
            sync b
            sync a a=p0 b=p1
                write g generation 2 a=p0 b=p1
            refused
                → a: sync NOT_COORDINATOR
                → b: sync NOT_COORDINATOR
            describe
                → PreparingRebalance  a= b=
            join a
            join b
                → a: join generation 3 range, a leads a b
                → b: join generation 3 range, a leads
            sync a a=p0 b=p1
                write g generation 3 a=p0 b=p1
            durable
                → a: sync "p0"
            sync b
                → b: sync "p1"
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
fn bad_requests_are_told_what_is_wrong() {
    check(
        "join a group=
         join a session=5999
         join a session=1800001
         join x id=?nobody
         join a range=t v=3
         sync a a=p0
         join b sticky=t
         join b type=connect
         join b id=?nobody
         beat b id=?nobody
         sync b id=?nobody generation=1
         leave b id=?nobody
         leave - instance=nobody
         leave - group=nothing
         beat a generation=0
         beat a generation=-1
         sync a generation=0
         sync a type=connect
         sync a protocol=sticky
         sync a type=consumer protocol=range
         beat a",
        expect![[r#"
            join a group=
                → a: join INVALID_GROUP_ID
            join a session=5999
                → a: join INVALID_SESSION_TIMEOUT
            join a session=1800001
                → a: join INVALID_SESSION_TIMEOUT
            join x id=?nobody
                → x: join UNKNOWN_MEMBER_ID
            join a range=t v=3
                → a: join generation 1 range, a leads a
            sync a a=p0
                write g generation 1 a=p0
                → a: sync "p0"
            join b sticky=t
                → b: join INCONSISTENT_GROUP_PROTOCOL
            join b type=connect
                → b: join INCONSISTENT_GROUP_PROTOCOL
            join b id=?nobody
                → b: join UNKNOWN_MEMBER_ID
            beat b id=?nobody
                → b: beat UNKNOWN_MEMBER_ID
            sync b id=?nobody generation=1
                → b: sync UNKNOWN_MEMBER_ID
            leave b id=?nobody
                → b: leave NONE UNKNOWN_MEMBER_ID
            leave - instance=nobody
                → -: leave NONE UNKNOWN_MEMBER_ID
            leave - group=nothing
                → -: leave UNKNOWN_MEMBER_ID
            beat a generation=0
                → a: beat ILLEGAL_GENERATION
            beat a generation=-1
                → a: beat ILLEGAL_GENERATION
            sync a generation=0
                → a: sync ILLEGAL_GENERATION
            sync a type=connect
                → a: sync INCONSISTENT_GROUP_PROTOCOL
            sync a protocol=sticky
                → a: sync INCONSISTENT_GROUP_PROTOCOL
            sync a type=consumer protocol=range
                → a: sync "p0"
            beat a
                → a: beat NONE
        "#]],
    );
}

#[test]
fn a_full_group_takes_nobody_else() {
    let settings = Settings { group_size_max: 2, ..Settings::default() };
    check_with(
        settings,
        "join a v=3
         sync a a=p0
         join b v=3
         join c v=3
         join a
         sync b b=p0 c=p1
         join a v=3 id=-
         join b
         join d v=3
         join c
         describe",
        expect![[r#"
            join a v=3
                → a: join generation 1 range, a leads a
            sync a a=p0
                write g generation 1 a=p0
                → a: sync "p0"
            join b v=3
            join c v=3
            join a
                → b: join generation 2 range, b leads b "c-00000000-0000-4000-8000-000000000003"
                → c: join generation 2 range, b leads
                → a: join GROUP_MAX_SIZE_REACHED
            sync b b=p0 c=p1
                write g generation 2 b=p0 c=p1
                → b: sync "p0"
            join a v=3 id=-
                → a: join GROUP_MAX_SIZE_REACHED
            join b
            join d v=3
            join c
                → b: join generation 3 range, b leads b "d-00000000-0000-4000-8000-000000000008"
                → d: join generation 3 range, b leads
                → c: join GROUP_MAX_SIZE_REACHED
            describe
                → CompletingRebalance  b= d=
        "#]],
    );
}

#[test]
fn the_protocol_that_most_prefer_wins() {
    check(
        "join a v=3 range=t sticky=t
         join b v=3 range=t sticky=t prefers-sticky
         join c v=3 range=t sticky=t prefers-sticky
         sync a
         join a range=t sticky=t",
        expect![[r#"
            join a v=3 range=t sticky=t
                → a: join generation 1 range, a leads a
            join b v=3 range=t sticky=t prefers-sticky
            join c v=3 range=t sticky=t prefers-sticky
            sync a
                → a: sync REBALANCE_IN_PROGRESS
            join a range=t sticky=t
                → a: join generation 2 sticky, a leads a "b-00000000-0000-4000-8000-000000000001" "c-00000000-0000-4000-8000-000000000002"
                → b: join generation 2 sticky, a leads
                → c: join generation 2 sticky, a leads
        "#]],
    );
}

#[test]
fn a_member_that_missed_the_reply_gets_it_again() {
    check(
        "join a v=3
         join a
         sync a a=p0
         join b v=3
         join a
         join b
         sync b
         sync b
         sync a a=p0 b=p1
         sync a
         join b
         sync b
         join a",
        expect![[r#"
            join a v=3
                → a: join generation 1 range, a leads a
            join a
                → a: join generation 1 range, a leads a
            sync a a=p0
                write g generation 1 a=p0
                → a: sync "p0"
            join b v=3
            join a
                → a: join generation 2 range, a leads a "b-00000000-0000-4000-8000-000000000003"
                → b: join generation 2 range, a leads
            join b
                → b: join generation 2 range, a leads
            sync b
            sync b
                → b: sync REBALANCE_IN_PROGRESS
            sync a a=p0 b=p1
                write g generation 2 a=p0 b=p1
                → a: sync "p0"
                → b: sync "p1"
            sync a
                → a: sync "p0"
            join b
                → b: join generation 2 range, a leads
            sync b
                → b: sync "p1"
            join a
        "#]],
    );
}

#[test]
fn an_empty_group_waits_for_company_and_a_little_longer_when_somebody_comes() {
    let settings =
        Settings { initial_rebalance_delay: Duration::from_secs(3), ..Settings::default() };
    check_with(
        settings,
        "join a
         join a
         wait 2000
         join b
         join b
         wait 10000",
        expect![[r#"
            join a
                → a: join MEMBER_ID_REQUIRED
            join a
            wait 2000
            join b
                → b: join MEMBER_ID_REQUIRED
            join b
            wait 10000
                at 6000 ms
                → a: join generation 1 range, a leads a b
                → b: join generation 1 range, a leads
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

#[test]
fn after_a_restart_members_go_on_or_time_out() {
    check(
        "join a v=3
         join b v=3
         sync a a=p0
         join a v=3
         sync a a=p0 b=p1
         sync b
         commit a t 0 5
         restart
         beat a
         fetch t 0
         wait 9000
         beat a
         wait 1000
         beat a",
        expect![[r#"
            join a v=3
                → a: join generation 1 range, a leads a
            join b v=3
            sync a a=p0
                → a: sync REBALANCE_IN_PROGRESS
            join a v=3
                → a: join generation 2 range, a leads a "b-00000000-0000-4000-8000-000000000001"
                → b: join generation 2 range, a leads
            sync a a=p0 b=p1
                write g generation 2 a=p0 b=p1
                → a: sync "p0"
            sync b
                → b: sync "p1"
            commit a t 0 5
                write g t-0 at 5
                → a: commit NONE
            restart
            beat a
                → a: beat NONE
            fetch t 0
                → fetch t-0=5
            wait 9000
            beat a
                → a: beat NONE
            wait 1000
            beat a
                → a: beat REBALANCE_IN_PROGRESS
        "#]],
    );
}

#[test]
fn several_leave_at_once_each_with_its_own_code() {
    check(
        "join a v=3
         join b v=3
         sync a a=p0
         join a v=3
         sync a a=p0 b=p1
         sync b
         leave a ?nobody b
         describe",
        expect![[r#"
            join a v=3
                → a: join generation 1 range, a leads a
            join b v=3
            sync a a=p0
                → a: sync REBALANCE_IN_PROGRESS
            join a v=3
                → a: join generation 2 range, a leads a "b-00000000-0000-4000-8000-000000000001"
                → b: join generation 2 range, a leads
            sync a a=p0 b=p1
                write g generation 2 a=p0 b=p1
                → a: sync "p0"
            sync b
                → b: sync "p1"
            leave a ?nobody b
                write g generation 3
                → a: leave NONE NONE UNKNOWN_MEMBER_ID NONE
            describe
                → Empty 
        "#]],
    );
}

#[test]
fn a_new_members_join_does_not_wait_for_ever() {
    check(
        "join a v=3 rebalance=600000 session=1800000
         sync a a=p0
         join b v=3
         wait 300000
         describe",
        expect![[r#"
            join a v=3 rebalance=600000 session=1800000
                → a: join generation 1 range, a leads a
            sync a a=p0
                write g generation 1 a=p0
                → a: sync "p0"
            join b v=3
            wait 300000
                at 300000 ms
                → b: join UNKNOWN_MEMBER_ID
            describe
                → PreparingRebalance  a=
        "#]],
    );
}

#[test]
fn an_idle_coordinator_sleeps() {
    check(
        "join a
         wait 3000000
         list",
        expect![[r#"
            join a
                → a: join MEMBER_ID_REQUIRED
            wait 3000000
            list
                → 
        "#]],
    );
}
