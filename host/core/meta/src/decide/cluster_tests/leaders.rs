//! Who leads a partition, who is in sync and who is eligible, as brokers come and go.

use super::check;

#[test]
fn who_is_fenced_leads_nothing_and_the_last_one_in_sync_stays_eligible() {
    check(
        &[1, 2, 3],
        &[],
        &[
            ("fence 1", "2@1.1 of 1,2,3 in 2,3"),
            ("fence 2", "3@2.2 of 1,2,3 in 3"),
            ("fence 3", "-@3.3 of 1,2,3 in - eligible 3 last 3"),
            // It lacks what 3 acknowledged alone.
            ("back 2", "-@3.3 of 1,2,3 in - eligible 3 last 3"),
            ("back 3", "3@4.4 of 1,2,3 in 3"),
            ("in-sync 3,2", "3@4.5 of 1,2,3 in 3,2"),
        ],
    );
}

#[test]
fn who_leaves_too_few_in_sync_is_eligible_until_there_are_enough() {
    check(
        &[1, 2, 3],
        &["min.insync.replicas=2"],
        &[
            ("fence 3", "1@0.1 of 1,2,3 in 1,2"),
            ("fence 2", "1@0.2 of 1,2,3 in 1 eligible 2"),
            ("fence 1", "-@1.3 of 1,2,3 in - eligible 1,2 last 1"),
            ("back 2", "2@2.4 of 1,2,3 in 2 eligible 1"),
            ("back 1", "2@2.4 of 1,2,3 in 2 eligible 1"),
            ("back 3", "2@2.4 of 1,2,3 in 2 eligible 1"),
            ("in-sync 2,3", "2@2.5 of 1,2,3 in 2,3"),
        ],
    );
}

#[test]
fn no_more_are_asked_for_than_there_are_replicas() {
    check(
        &[1, 2],
        &["min.insync.replicas=3"],
        &[
            ("fence 2", "1@0.1 of 1,2 in 1 eligible 2"),
            ("back 2", "1@0.1 of 1,2 in 1 eligible 2"),
            ("in-sync 1,2", "1@0.2 of 1,2 in 1,2"),
        ],
    );
}

#[test]
fn where_fewer_suffice_from_now_on_nobody_else_is_eligible() {
    check(
        &[1, 2, 3],
        &["min.insync.replicas=2"],
        &[
            ("fence 3", "1@0.1 of 1,2,3 in 1,2"),
            ("fence 2", "1@0.2 of 1,2,3 in 1 eligible 2"),
            ("set min.insync.replicas=3", "1@0.2 of 1,2,3 in 1 eligible 2"),
            ("set min.insync.replicas=1", "1@0.3 of 1,2,3 in 1"),
        ],
    );
    check(
        &[1, 2, 3],
        &[],
        &[
            ("set-for-all min.insync.replicas=2", "1@0.0 of 1,2,3 in 1,2,3"),
            ("fence 2", "1@0.1 of 1,2,3 in 1,3"),
            ("fence 3", "1@0.2 of 1,2,3 in 1 eligible 3"),
            ("set-for-all min.insync.replicas=1", "1@0.3 of 1,2,3 in 1"),
        ],
    );
    // Nobody leads, so nothing is acknowledged whatever suffices.
    check(
        &[1, 2],
        &["min.insync.replicas=2"],
        &[
            ("fence 2", "1@0.1 of 1,2 in 1 eligible 2"),
            ("fence 1", "-@1.2 of 1,2 in - eligible 1,2 last 1"),
            ("set min.insync.replicas=1", "-@1.2 of 1,2 in - eligible 1,2 last 1"),
            // From here on it acknowledges alone.
            ("back 2", "2@2.3 of 1,2 in 2"),
            ("back 1", "2@2.3 of 1,2 in 2"),
        ],
    );
}

#[test]
fn an_unclean_leader_is_elected_only_where_the_topic_or_somebody_says_so() {
    let gone = "-@1.2 of 1,2 in - eligible 1 last 1";
    let elected = "2@2.3 of 1,2 in 2 recovering";
    check(
        &[1, 2],
        &["unclean.leader.election.enable=true"],
        &[
            ("fence 2", "1@0.1 of 1,2 in 1"),
            ("fence 1", gone),
            ("back 2", elected),
            ("in-sync 2", "2@2.4 of 1,2 in 2"),
        ],
    );
    check(
        &[1, 2],
        &[],
        &[
            ("fence 2", "1@0.1 of 1,2 in 1"),
            ("fence 1", gone),
            ("back 2", gone),
            ("elect preferred", gone),
            ("elect where-permitted", gone),
            ("set unclean.leader.election.enable=true", gone),
            ("elect where-permitted", elected),
        ],
    );
    check(
        &[1, 2],
        &[],
        &[
            ("fence 2", "1@0.1 of 1,2 in 1"),
            ("fence 1", gone),
            ("back 2", gone),
            ("elect unclean", elected),
            // The other has what this one lacks, and no claim to it any more.
            ("back 1", elected),
        ],
    );
}

#[test]
fn who_is_eligible_comes_before_an_unclean_leader() {
    check(
        &[1, 2, 3],
        &["min.insync.replicas=2", "unclean.leader.election.enable=true"],
        &[
            ("fence 1", "2@1.1 of 1,2,3 in 2,3"),
            ("fence 3", "2@1.2 of 1,2,3 in 2 eligible 3"),
            ("back 3", "2@1.2 of 1,2,3 in 2 eligible 3"),
            ("back 1", "2@1.2 of 1,2,3 in 2 eligible 3"),
            ("fence 2", "3@2.3 of 1,2,3 in 3 eligible 2"),
        ],
    );
}

#[test]
fn an_unclean_stop_costs_a_place_where_records_may_have_been_in_the_page_cache_only() {
    check(
        &[1, 2, 3],
        &["min.insync.replicas=2", "brooklet.flush=os"],
        &[
            ("restart 2 uncleanly", "1@0.1 of 1,2,3 in 1,3"),
            ("restart 3 uncleanly", "1@0.2 of 1,2,3 in 1"),
            // Nobody else is complete: it keeps its place and leads with a new epoch.
            ("restart 1 uncleanly", "-@1.3 of 1,2,3 in - eligible 1 last 1"),
            ("back 1", "1@2.4 of 1,2,3 in 1"),
        ],
    );
    let restart = |how| {
        check(
            &[1, 2, 3],
            &[
                "min.insync.replicas=2",
                if how == "cleanly" { "brooklet.flush=os" } else { "brooklet.flush=sync" },
            ],
            &[
                (&format!("restart 2 {how}"), "1@0.1 of 1,2,3 in 1,3"),
                (&format!("restart 3 {how}"), "1@0.2 of 1,2,3 in 1 eligible 3"),
                (&format!("restart 1 {how}"), "-@1.3 of 1,2,3 in - eligible 1,3 last 1"),
                ("back 3", "3@2.4 of 1,2,3 in 3 eligible 1"),
            ],
        );
    };
    restart("cleanly");
    restart("uncleanly");
}

#[test]
fn a_wiped_disk_has_no_place_even_if_nobody_else_has_one() {
    check(
        &[1, 2, 3],
        &["min.insync.replicas=2"],
        &[
            ("fence 3", "1@0.1 of 1,2,3 in 1,2"),
            ("fence 2", "1@0.2 of 1,2,3 in 1 eligible 2"),
            ("restart 2 wiped", "1@0.3 of 1,2,3 in 1"),
            ("restart 1 wiped", "-@1.4 of 1,2,3 in - last 1"),
            ("back 1", "-@1.4 of 1,2,3 in - last 1"),
            ("back 2", "-@1.4 of 1,2,3 in - last 1"),
            ("elect unclean", "1@2.5 of 1,2,3 in 1 recovering"),
        ],
    );
}

#[test]
fn who_stops_is_out_of_the_way_first() {
    check(
        &[1, 2, 3],
        &[],
        &[
            ("stop 1", "2@1.1 of 1,2,3 in 2,3"),
            ("stop 1", "2@1.1 of 1,2,3 in 2,3"),
            ("restart 1 cleanly", "2@1.1 of 1,2,3 in 2,3"),
            ("back 1", "2@1.1 of 1,2,3 in 2,3"),
        ],
    );
    check(
        &[1],
        &[],
        &[
            ("stop 1", "-@1.1 of 1 in - eligible 1 last 1"),
            ("stop 1", "-@1.1 of 1 in - eligible 1 last 1"),
            ("restart 1 cleanly", "-@1.1 of 1 in - eligible 1 last 1"),
            ("back 1", "1@2.2 of 1 in 1"),
        ],
    );
}

#[test]
fn the_first_replica_leads_again_once_it_is_in_sync() {
    for balance in ["balance", "elect preferred"] {
        check(
            &[1, 2, 3],
            &[],
            &[
                ("fence 1", "2@1.1 of 1,2,3 in 2,3"),
                ("back 1", "2@1.1 of 1,2,3 in 2,3"),
                (balance, "2@1.1 of 1,2,3 in 2,3"),
                ("in-sync 2,3,1", "2@1.2 of 1,2,3 in 2,3,1"),
                (balance, "1@2.3 of 1,2,3 in 2,3,1"),
                (balance, "1@2.3 of 1,2,3 in 2,3,1"),
            ],
        );
    }
}

#[test]
fn who_is_taken_out_of_the_cluster_is_neither_in_sync_nor_eligible() {
    check(
        &[1, 2, 3],
        &["min.insync.replicas=2"],
        &[
            ("fence 3", "1@0.1 of 1,2,3 in 1,2"),
            ("fence 2", "1@0.2 of 1,2,3 in 1 eligible 2"),
            ("unregister 2", "1@0.3 of 1,2,3 in 1"),
            ("unregister 1", "-@1.4 of 1,2,3 in - last 1"),
        ],
    );
}
