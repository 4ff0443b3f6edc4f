//! Stories of who is let in, who is told what is wrong, and who waits how long. `UPDATE_EXPECT=1` rewrites them.

use std::time::Duration;

use brooklet_group::Settings;
use expect_test::expect;

use crate::scene::{check, check_with};

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
                → PreparingRebalance  a=p0
            wait 10000
                at 10000 ms
                → a: join generation 2 range, a leads a
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
                → -: leave NONE UNKNOWN_MEMBER_ID
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
                → CompletingRebalance  b=p0 d=
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
                → PreparingRebalance  a=p0
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
