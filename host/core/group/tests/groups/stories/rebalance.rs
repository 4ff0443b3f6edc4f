//! Stories of members sharing, leaving, falling silent. `UPDATE_EXPECT=1` rewrites them.

use expect_test::expect;

use crate::scene::check;

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
