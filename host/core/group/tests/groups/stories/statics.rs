//! Stories of members with an instance id (KIP-345), who come back without being missed. `UPDATE_EXPECT=1` rewrites them.

use expect_test::expect;

use crate::scene::check;

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
