//! Each anomaly planted in a history of a few steps, and beside it what only looks like it.

mod script;

/// A name, a script, and what is found in it.
type Row<'a> = (&'a str, &'a str, &'a str);

#[track_caller]
fn check(table: &[Row<'_>]) {
    for (name, script, expected) in table {
        let report = script::report(script).unwrap_or_else(|error| panic!("{name}: {error}"));
        let found: Vec<String> = report
            .findings
            .iter()
            .map(|(check, f)| format!("{} {}", check.name(), f.count))
            .collect();
        assert_eq!(found.join(", "), *expected, "{name}\n{report}");
        for (check, finding) in &report.findings {
            let examples = &finding.examples;
            assert!(!examples.is_empty(), "{name}: {check:?} without an example");
            assert!(examples.iter().all(|e| !e.operations.is_empty()), "{name}: nothing quoted");
        }
    }
}

#[test]
#[rustfmt::skip] // A table is read by columns.
fn lost_writes() {
    check(&[
        ("a later record was polled",
         "1 sent a 1@0 2@1 3@2; 2 polls a 0:1 2:3",                                 "lost-write 1"),
        ("several, in two partitions",
         "1 sent a 1@0 2@1 3@2 b 1@0 2@1; 2 polls a 2:3 b 1:2",                     "lost-write 3"),
        ("acknowledged without an offset, and the end was asked for afterwards",
         "1 sent a 1@0 2; 2 polls a 0:1; 2 asks; 2 ends a@1",                       "lost-write 1"),
        ("the tail is gone: the end lies before the record",
         "1 sent a 1@0 2@1; 2 polls a 0:1; 2 asks; 2 ends a@1",                     "lost-write 1"),
        ("acknowledged while the end was asked for, and lies before it",
         "1 sends a 1; 2 asks; 1 gets a 1@0; 2 ends a@1",                           "lost-write 1"),
        ("of two ends, the later counts for the tail",
         "2 asks; 1 sent a 1@0; 2 ends a@0; 2 asks; 2 ends a@0",                    "lost-write 1"),
        ("cut, and written anew",
         "1 sent a 1@0 2@1; 2 polls a 0:1; 1 sent a 3@1; 2 polls a 1:3",
         "lost-write 1, inconsistent-offsets 1"),
        ("somebody polled it",
         "1 sent a 1@0 2@1 3@2; 2 polls a 0:1 1:2; 3 polls a 2:3",                  ""),
        ("polled before it was acknowledged",
         "1 sends a 1 2; 2 polls a 0:1 1:2; 1 gets a 1@0 2@1",                      ""),
        ("refused, indeterminate or still under way",
         "1 sends a 1 2 3; 1 sent a 4@3; 1 fails a 1; 1 loses a 2; 2 polls a 3:4",  ""),
        ("acknowledged while the end was asked for, behind it",
         "1 sends a 1; 2 asks; 1 gets a 1@0; 2 ends a@0",                           "unseen 1"),
    ]);
}

#[test]
#[rustfmt::skip] // A table is read by columns.
fn unseen_records() {
    check(&[
        ("nobody polls",                  "1 sent a 1@0",                           "unseen 1"),
        ("nobody has come so far",        "1 sent a 1@0 2@1 3@2; 2 polls a 0:1",    "unseen 2"),
        ("another partition's end",       "1 sent a 1@0; 2 asks; 2 ends b@9",       "unseen 1"),
        ("no offset, and no end",         "1 sent a 1 2@1; 2 polls a 1:2",          "unseen 1"),
        ("a poll that fails sees nothing","1 sends a 1; 1 gets a 1@0; 2 polls",     "unseen 1"),
        ("never acknowledged",            "1 sends a 1 2; 1 loses a 1",             ""),
    ]);
}

#[test]
#[rustfmt::skip] // A table is read by columns.
fn duplicates_and_inconsistent_offsets() {
    check(&[
        ("polled twice, at two offsets",  "1 sent a 1@0; 2 polls a 0:1 1:1",        "duplicate 1"),
        ("polled elsewhere than acknowledged",
         "1 sent a 1@0; 2 polls a 1:1",                                             "duplicate 1"),
        ("three copies are one duplicate","1 sent a 1@0; 2 polls a 0:1 1:1 2:1",    "duplicate 1"),
        ("polled twice, at one offset",   "1 sent a 1@0; 2 polls a 0:1; 3 polls a 0:1", ""),
        ("one value in two partitions",   "1 sent a 1@0 b 1@1; 2 polls a 0:1 b 1:1", ""),
        ("two consumers see two values",
         "1 sends a 1 2; 2 polls a 0:1; 3 polls a 0:2",                             "inconsistent-offsets 1"),
        ("two acknowledgements",          "1 sent a 1@0 2@0; 2 polls a 0:1",        "lost-write 1, inconsistent-offsets 1"),
        ("three values at one offset are one",
         "1 sends a 1 2 3; 2 polls a 0:1; 3 polls a 0:2; 4 polls a 0:3",            "inconsistent-offsets 1"),
        ("acknowledged with offset 0 wherever they lie",
         "1 sent a 1@0; 1 sent a 2@0; 2 polls a 0:1 1:2",                           "duplicate 1, inconsistent-offsets 1"),
        ("one offset in two partitions",  "1 sent a 1@0 b 2@0; 2 polls a 0:1 b 0:2", ""),
    ]);
}

#[test]
#[rustfmt::skip] // A table is read by columns.
fn aborted_reads_and_phantoms() {
    check(&[
        ("refused, and there",            "1 sends a 1; 1 fails a 1; 2 polls a 0:1", "aborted-read 1"),
        ("seen before it was refused",    "1 sends a 1; 2 polls a 0:1; 1 fails a 1", "aborted-read 1"),
        ("seen by many",
         "1 sends a 1; 1 fails a 1; 2 polls a 0:1; 3 polls a 0:1",                  "aborted-read 1"),
        ("refused, and not there",        "1 sends a 1 2; 1 fails a 1; 1 gets a 2@0; 2 polls a 0:2", ""),
        ("indeterminate, and there",      "1 sends a 1; 1 loses a 1; 2 polls a 0:1", ""),
        ("never answered, and there",     "1 sends a 1; 2 polls a 0:1",             ""),
        ("never sent",                    "2 polls a 0:1",                          "phantom 1"),
        ("sent to another partition",     "1 sends a 1; 2 polls b 0:1",             "phantom 1"),
        ("sent after it was polled",      "2 polls a 0:1; 1 sends a 1",             ""),
    ]);
}

#[test]
#[rustfmt::skip] // A table is read by columns.
fn polls_that_go_back() {
    let sent = "1 sent a 1@0 2@1 3@2 4@3 b 1@0; 9 polls a 0:1 1:2 2:3 3:4 b 0:1; ";
    let rows: [Row<'_>; 13] = [
        ("to where it was",            "2 polls a 0:1 1:2; 2 polls a 1:2",                    "nonmonotonic-poll 1"),
        ("to the beginning",           "2 polls a 0:1 1:2; 2 polls a 0:1 1:2",                "nonmonotonic-poll 1"),
        ("within a poll",              "2 polls a 0:1 1:2 1:2 2:3",                           "int-nonmonotonic-poll 1"),
        ("two in the wrong order",     "2 polls a 1:2 0:1",                                   "int-nonmonotonic-poll 1"),
        ("before where it moved to",   "2 seeks a@2; 2 polls a 1:2",                          "nonmonotonic-poll 1"),
        ("assigned again, as before",  "2 assigns a; 2 polls a 0:1; 2 assigns a b; 2 polls a 0:1", "nonmonotonic-poll 1"),
        ("a partition's parts in one poll", "2 polls a 1:2 b 0:1 a 0:1",                      "int-nonmonotonic-poll 1"),
        ("after it moved back",        "2 polls a 0:1 1:2; 2 seeks a@0; 2 polls a 0:1",       ""),
        ("after a rebalance",          "2 subscribes g; 2 polls a 0:1 1:2; 2 rejoins a 0:1",  ""),
        ("within a poll that a rebalance interrupts",
                                       "2 subscribes g; 2 rejoins a 0:1 1:2 0:1 1:2",         ""),
        ("another consumer",           "2 polls a 0:1 1:2; 3 polls a 0:1",                    ""),
        ("after it was closed",        "2 polls a 0:1 1:2; 2 closes; 2 polls a 0:1",          ""),
        ("assigned again, after others","2 assigns a; 2 polls a 0:1; 2 assigns b; 2 assigns a; 2 polls a 0:1", ""),
    ];
    for (name, script, expected) in rows {
        check(&[(name, &format!("{sent}{script}"), expected)]);
    }
}

#[test]
#[rustfmt::skip] // A table is read by columns.
fn polls_that_skip() {
    let sent = "1 sent a 1@0 2@1 3@2; 7 sends a 5; 1 sent a 4@5; 9 polls a 0:1 1:2 2:3 3:5 5:4; ";
    let rows: [Row<'_>; 12] = [
        ("from one poll to the next",  "2 polls a 0:1; 2 polls a 2:3",                        "poll-skip 1"),
        ("within a poll",              "2 polls a 0:1 2:3",                                   "int-poll-skip 1"),
        ("of a record of which no producer knows", "2 polls a 2:3 5:4",                       "int-poll-skip 1"),
        ("from where it moved to",     "2 seeks a@0; 2 polls a 2:3",                          "poll-skip 1"),
        ("once, and goes on",          "2 polls a 0:1; 2 polls a 3:5; 1 sent a 6@6; 2 polls a 5:4 6:6", "poll-skip 1"),
        ("over a gap in the offsets",  "2 polls a 3:5; 2 polls a 5:4",                        ""),
        ("over what nobody ever got",  "8 sent a 6@4; 2 polls a 3:5; 2 polls a 5:4",          "lost-write 1"),
        ("where it began",             "2 assigns a; 2 polls a 2:3",                          ""),
        ("after it moved on",          "2 polls a 0:1; 2 seeks a@2; 2 polls a 2:3",           ""),
        ("a member, while another went on",
         "2 subscribes g; 3 subscribes g; 2 polls a 0:1; 3 rejoins a 1:2; 2 rejoins a 2:3",   ""),
        ("within a poll that a rebalance interrupts",
         "2 subscribes g; 3 subscribes g; 3 polls a 1:2; 2 rejoins a 0:1 2:3",                ""),
        ("after it was closed",        "2 polls a 0:1; 2 closes; 2 polls a 2:3",              ""),
    ];
    for (name, script, expected) in rows {
        check(&[(name, &format!("{sent}{script}"), expected)]);
    }
}

#[test]
#[rustfmt::skip] // A table is read by columns.
fn groups_that_skip() {
    let sent = "1 sent a 1@0 2@1 3@2 4@3; 9 polls a 0:1 1:2 2:3 3:4; 2 subscribes g; 3 subscribes g; ";
    let rows: [Row<'_>; 8] = [
        ("across a rebalance",         "2 polls a 0:1; 3 rejoins a 2:3",                      "group-skip 1"),
        ("across a death",             "2 polls a 0:1 1:2; 2 closes; 3 rejoins a 3:4",        "group-skip 1"),
        ("another group got it",       "2 polls a 0:1; 4 subscribes h; 4 polls a 1:2; 3 rejoins a 2:3", "group-skip 1"),
        ("a member got it before",     "2 polls a 0:1 1:2; 3 rejoins a 2:3",                  ""),
        ("a member got it afterwards", "2 polls a 0:1; 3 rejoins a 2:3; 2 rejoins a 1:2",     ""),
        ("where the group began",      "2 rejoins a 2:3; 3 rejoins a 3:4",                    ""),
        ("a member moved by itself",   "2 polls a 0:1; 3 seeks a@2; 3 polls a 2:3",           ""),
        ("no member any more",         "2 polls a 0:1; 3 assigns a; 3 polls a 2:3",           ""),
    ];
    for (name, script, expected) in rows {
        check(&[(name, &format!("{sent}{script}"), expected)]);
    }
}

#[test]
#[rustfmt::skip] // A table is read by columns.
fn sends_out_of_order() {
    check(&[
        ("two operations",
         "1 sent a 1@1; 1 sent a 2@0; 2 polls a 0:2 1:1",                           "nonmonotonic-send 1"),
        ("both under way, acknowledged in the order of the log",
         "1 sends a 1; 1 sends a 2; 1 gets a 2@0; 1 gets a 1@1; 2 polls a 0:2 1:1", "nonmonotonic-send 1"),
        ("only polls tell where the first lies",
         "1 sends a 1; 1 loses a 1; 1 sent a 2@0; 2 polls a 0:2 1:1",               "nonmonotonic-send 1"),
        ("within one operation",
         "1 sent a 1@1 2@0; 2 polls a 0:2 1:1",                                     "int-nonmonotonic-send 1"),
        ("acknowledged out of order, and lies in order",
         "1 sends a 1; 1 sends a 2; 1 gets a 2@1; 1 gets a 1@0; 2 polls a 0:1 1:2", ""),
        ("of two producers",
         "1 sent a 1@1; 2 sent a 2@0; 3 polls a 0:2 1:1",                           ""),
        ("to two partitions",
         "1 sent a 1@1; 1 sent b 2@0; 1 sends a 3; 2 polls a 0:3 1:1 b 0:2",        "nonmonotonic-send 1"),
        ("to two partitions, each in order",
         "1 sent a 1@0; 1 sent b 2@0; 1 sent a 3@1; 2 polls a 0:1 1:3 b 0:2",       ""),
        ("others between those of one operation",
         "1 sent a 1@0 2@2; 2 sent a 3@1; 3 polls a 0:1 1:3 2:2",                   "int-send-skip 1"),
        ("a gap between those of one operation",
         "1 sent a 1@0 2@2; 3 polls a 0:1 2:2",                                     ""),
        ("others between two operations",
         "1 sent a 1@0; 2 sent a 3@1; 1 sent a 2@2; 3 polls a 0:1 1:3 2:2",         ""),
    ]);
}

#[test]
#[rustfmt::skip] // A table is read by columns.
fn histories_that_contradict_themselves_are_refused() {
    let table = [
        ("1 gets a 1@0",                          "line 1: completes a send of 1 to a, which process 1 does not have under way"),
        ("1 sends a 1; 2 gets a 1@0",             "line 2: completes a send of 1 to a, which process 2 does not have under way"),
        ("1 sent a 1@0; 1 gets a 1@0",            "line 3: completes a send of 1 to a, which process 1 does not have under way"),
        ("1 sends a 1; 1 sends a 1",              "lines 1 and 2 both send 1 to a"),
        ("1 sent a 1@0; 2 sent b 1@0; 2 sent a 1@1", "lines 1 and 5 both send 1 to a"),
        ("1 sends a 1; 1 fails a 1@0",            "line 2: a result, though the type is not `ok`"),
        ("1 ends a@1",                            "line 1: process 1 has not asked for an end"),
        ("1 asks; 2 ends a@1",                    "line 2: process 2 has not asked for an end"),
        ("1 polls a 9223372036854775807:1",       "line 1: 9223372036854775807 is no offset"),
    ];
    for (script, expected) in table {
        let error = script::report(script).map(|report| report.to_string()).unwrap_err();
        assert_eq!(error.to_string(), expected, "{script}");
    }
}
