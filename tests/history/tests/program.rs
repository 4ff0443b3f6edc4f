//! Histories as files: what is read, what is refused, and what the program says of them.

mod script;

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Output};

use brooklet_history::{Check, HistoryError, LINE_BYTES_MAX, Recording, check};
use expect_test::{Expect, expect};

fn lines(script: &str) -> String {
    let lines = script::events(script).into_iter();
    lines.map(|event| serde_json::to_string(&event).expect("an event is JSON") + "\n").collect()
}

fn run(folder: &Path, history: &str, options: &[&str]) -> Output {
    let path = folder.join("history.jsonl");
    std::fs::write(&path, history).expect("the folder is there");
    let mut program = Command::new(env!("CARGO_BIN_EXE_history"));
    program.arg(path).args(options).output().expect("the program is there")
}

const LOST: &str = "1 sends a 1 2; 1 gets a 1@0; 1 gets a 2@1; 1 sent a 3@2 4@3; 2 polls a 0:1 2:3";

#[test]
fn a_report_quotes_the_operations() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(folder.path(), &lines(LOST), &[]);
    assert_eq!(output.status.code(), Some(1));
    expect![[r#"
        6 lines, 1 partitions
        sends: 4 acknowledged, 0 failed, 0 indeterminate
        polled: 2 records

        lost-write: 1
          a: 2 was acknowledged, later records were polled, it never was
            line 1, 0.000000001 s: process 1 sends 2 to a
            line 3, 0.000000003 s: process 1 is told: 2 is acknowledged at 1
            line 6, 0.000000005 s: process 2 polls 3 at 2 of a

        unseen (no anomaly): 1
          a: 4 was acknowledged, and nobody has polled so far
            line 4, 0.000000004 s: process 1 sends 4 to a
            line 5, 0.000000004 s: process 1 is told: 4 is acknowledged at 3
    "#]]
    .assert_eq(&String::from_utf8(output.stdout).unwrap());
}

#[test]
fn a_report_is_json_if_wanted() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(folder.path(), &lines(LOST), &["--json"]);
    assert_eq!(output.status.code(), Some(1));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["size"]["acknowledged"], 4);
    let lost = &report["findings"]["lost-write"];
    assert_eq!(lost["count"], 1);
    assert_eq!(lost["examples"][0]["partition"], "a");
    assert_eq!(lost["examples"][0]["operations"][2]["text"], "polls 3 at 2 of a");
    for check in Check::ALL {
        assert_eq!(serde_json::to_value(check).unwrap(), check.name());
    }
}

#[test]
#[rustfmt::skip] // A table is read by columns.
fn exit_codes() {
    let folder = tempfile::tempdir().unwrap();
    let table: [(&str, &[&str], i32); 6] = [
        ("1 sent a 1@0; 2 polls a 0:1",  &[],                                                0),
        ("1 sent a 1@0",                 &[],                                                0),
        (LOST,                           &["--allow", "duplicate"],                          1),
        (LOST,                           &["--allow", "duplicate", "--allow", "lost-write"], 0),
        ("1 gets a 1@0",                 &[],                                                2),
        (LOST,                           &["--allow", "everything"],                         2),
    ];
    for (script, options, expected) in table {
        let output = run(folder.path(), &lines(script), options);
        assert_eq!(output.status.code(), Some(expected), "{script} {options:?}: {output:?}");
    }
    let missing = Command::new(env!("CARGO_BIN_EXE_history")).arg("nowhere").output().unwrap();
    assert_eq!(missing.status.code(), Some(2));
}

#[test]
fn only_the_first_examples_are_kept() {
    let values: String = (0..1000).map(|value| format!(" {value}@{value}")).collect();
    let report =
        script::report(&format!("1 sent a{values} 1000@1000; 2 polls a 1000:1000")).unwrap();
    let lost = &report.findings[&Check::LostWrite];
    assert_eq!(lost.count, 1000);
    assert_eq!(lost.examples.len(), brooklet_history::EXAMPLES_MAX);
    assert_eq!(lost.examples[0].operations[0].text, "sends 0 to a");
}

#[test]
fn the_example_in_the_documentation_is_a_history() {
    let documentation = include_str!("../src/lib.rs").lines();
    let example: Vec<&str> = documentation
        .filter_map(|line| line.strip_prefix("//! "))
        .filter(|l| l.starts_with("{\""))
        .collect();
    let report = check(&Recording::read(example.join("\n").as_bytes()).unwrap());
    assert_eq!(report.size.lines, 11);
    assert_eq!((report.size.acknowledged, report.size.indeterminate), (1, 1));
    assert!(report.findings.is_empty(), "{report}");
}

#[test]
fn lines_that_are_no_events_are_refused() {
    let poll = r#"{"time":5,"process":1,"type":"ok","op":{"poll":{}}}"#;
    let table: [(&str, Expect); 7] = [
        ("", expect!["line 2: EOF while parsing a value at line 2 column 0"]),
        (r#"{"time":6"#, expect!["line 2: EOF while parsing an object at line 2 column 0"]),
        (
            r#"{"time":6,"process":1,"type":"ok","op":{"poll":{}},"topic":"a"}"#,
            expect![
                "line 2: unknown field `topic`, expected one of `time`, `process`, `type`, `op` at line 1 column 58"
            ],
        ),
        (
            r#"{"time":6,"process":1,"type":"ok","op":{"pull":{}}}"#,
            expect![
                "line 2: unknown variant `pull`, expected one of `send`, `poll`, `assign`, `subscribe`, `seek`, `end`, `close` at line 1 column 46"
            ],
        ),
        (
            r#"{"time":4,"process":1,"type":"ok","op":{"poll":{}}}"#,
            expect!["line 2: its time, 4, is before the last line's, 5"],
        ),
        (
            r#"{"time":5,"process":1,"type":"info","op":{"poll":{"partitions":[{"partition":"a","records":[[0,1]]}]}}}"#,
            expect!["line 2: a result, though the type is not `ok`"],
        ),
        (
            r#"{"time":5,"process":1,"type":"invoke","op":{"send":[{"partition":"a","value":1,"offset":0}]}}"#,
            expect!["line 2: a result, though the type is not `ok`"],
        ),
    ];
    for (line, expected) in table {
        let text = format!("{poll}\n{line}\n{poll}\n");
        let error = Recording::read(text.as_bytes()).map(|history| check(&history)).unwrap_err();
        expected.assert_eq(&error.to_string());
    }
}

#[test]
fn a_line_without_an_end_is_refused_before_it_fills_the_memory() {
    let endless = BufReader::new(std::io::repeat(b' '));
    let error = Recording::read(endless).map(|history| check(&history)).unwrap_err();
    assert!(
        matches!(error, HistoryError::LineTooLong { line: 1, limit: LINE_BYTES_MAX }),
        "{error}"
    );
}

#[test]
fn a_failing_file_is_no_end() {
    struct Failing;
    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("unplugged"))
        }
    }
    let whole = lines("1 sent a 1@0");
    let reader: Box<dyn BufRead> = Box::new(BufReader::new(whole.as_bytes().chain(Failing)));
    let error = Recording::read(reader).map(|history| check(&history)).unwrap_err();
    assert_eq!(error.to_string(), "read line 3: unplugged");
}
