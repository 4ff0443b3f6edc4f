//! Files that grow, are rotated, cut, added and left alone.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use brooklet_testing::Sourcing;
use serde_json::json;

use super::*;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn append(&self, name: &str, text: &str) {
        let path = self.path().join(name);
        let mut file = fs::OpenOptions::new().append(true).create(true).open(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path().join(from), self.path().join(to)).unwrap();
    }

    fn source(
        &self,
        name: &str,
        rest: serde_json::Value,
        position: Option<&[u8]>,
    ) -> Sourcing<FileSource> {
        let mut config = json!({ "path": self.path().join(name) });
        for (name, value) in rest.as_object().unwrap() {
            config[name] = value.clone();
        }
        Sourcing::start(&config.to_string(), position).unwrap()
    }
}

/// Polls until nothing comes; the values, and the last position.
fn drain(source: &mut Sourcing<FileSource>) -> (Vec<String>, Vec<u8>) {
    let mut texts = Vec::new();
    loop {
        let polled = source.poll().unwrap();
        texts.extend(polled.records.iter().map(|record| record.text().to_owned()));
        if polled.records.is_empty() {
            return (texts, polled.position);
        }
    }
}

#[test]
fn a_file_is_followed_as_it_grows() {
    let folder = Folder::new();
    let mut source = folder.source("log", json!({}), None);
    assert_eq!(drain(&mut source).0, [""; 0], "it is not there yet");
    folder.append("log", "one\ntwo\nthr");
    assert_eq!(drain(&mut source).0, ["one", "two"]);
    folder.append("log", "ee\n");
    assert_eq!(drain(&mut source).0, ["three"]);
    assert_eq!(drain(&mut source).0, [""; 0]);
}

#[test]
fn it_goes_on_where_a_position_was_kept() {
    let folder = Folder::new();
    folder.append("log", "one\ntwo\nthree\n");
    let mut source = folder.source("log", json!({}), None).records_max(2);
    let polled = source.poll().unwrap();
    assert_eq!((polled.records.len(), polled.more), (2, true));
    let mut again = folder.source("log", json!({}), Some(&polled.position));
    assert_eq!(drain(&mut again).0, ["three"]);
}

#[test]
fn a_last_line_without_an_end_counts_when_all_is_quiet() {
    let folder = Folder::new();
    folder.append("log", "one\ntwo");
    let mut source = folder.source("log", json!({"quiet": "10s"}), None);
    assert_eq!(drain(&mut source).0, ["one"]);
    brooklet::stand_in::advance(Duration::from_secs(9));
    folder.append("log", "!");
    assert_eq!(drain(&mut source).0, [""; 0], "it has grown");
    brooklet::stand_in::advance(Duration::from_secs(10));
    assert_eq!(drain(&mut source).0, ["two!"]);
    folder.append("log", "three\n");
    assert_eq!(drain(&mut source).0, ["three"]);
}

#[test]
fn a_rotated_file_is_read_to_its_end_before_the_new_one() {
    let folder = Folder::new();
    folder.append("log", "1\n2\n");
    let mut source = folder.source("log", json!({}), None);
    let (texts, position) = drain(&mut source);
    assert_eq!(texts, ["1", "2"]);
    folder.append("log", "3\n");
    folder.rename("log", "log.1");
    folder.append("log", "5\n");
    folder.append("log.1", "4");
    assert_eq!(drain(&mut source).0, ["3", "4", "5"]);
    // The same for one that was not running meanwhile.
    let mut restarted = folder.source("log", json!({}), Some(&position));
    assert_eq!(drain(&mut restarted).0, ["3", "4", "5"]);
    // When the old one is gone, so is what was known of it.
    fs::remove_file(folder.path().join("log.1")).unwrap();
    folder.append("log", "6\n");
    let (texts, position) = drain(&mut source);
    assert_eq!(texts, ["6"]);
    let position: Position = serde_json::from_slice(&position).unwrap();
    assert_eq!(position.files.len(), 1);
}

#[test]
fn a_file_that_was_cut_is_read_from_its_beginning() {
    let folder = Folder::new();
    folder.append("log", "one\ntwo\n");
    let mut source = folder.source("log", json!({}), None);
    drain(&mut source);
    fs::write(folder.path().join("log"), "new\n").unwrap();
    assert_eq!(drain(&mut source).0, ["new"]);
    let log = brooklet::stand_in::take_log();
    assert!(log.iter().any(|line| line.message == "cut from 8 to 4 bytes"), "{log:?}");
}

#[test]
fn a_directory_is_read_by_name_and_only_what_fits() {
    let folder = Folder::new();
    for (name, text) in
        [("b.csv", "n\n2\n"), ("a.csv", "n\n1\n"), ("c.txt", "n\n9\n"), (".d.csv", "n\n9\n")]
    {
        folder.append(name, text);
    }
    let rest = json!({"format": "csv", "pattern": "*.csv"});
    let mut source = folder.source(".", rest.clone(), None);
    let (texts, position) = drain(&mut source);
    assert_eq!(texts, [r#"{"n":1}"#, r#"{"n":2}"#]);
    folder.append("a.csv", "3\n");
    folder.append("aa.csv", "m\n4\n");
    let expected = [r#"{"n":3}"#, r#"{"m":4}"#];
    assert_eq!(drain(&mut source).0, expected);
    let mut restarted = folder.source(".", rest, Some(&position));
    assert_eq!(drain(&mut restarted).0, expected, "the names of the columns are known again");
}

#[test]
fn what_is_no_record_stops_or_is_left_out() {
    let folder = Folder::new();
    folder.append("log", "{\"k\":1}\nnope\n{\"k\":2}\n");
    let mut strict = folder.source("log", json!({"format": "json-lines"}), None);
    let error = strict.poll().unwrap_err();
    assert!(
        matches!(&error, Error::BadInput(problem) if problem.contains("log, byte 8: ")),
        "{error}"
    );
    let lenient = json!({"format": "json-lines", "on_invalid": "skip", "key": "k"});
    let mut lenient = folder.source("log", lenient, None);
    let polled = lenient.poll().unwrap();
    let keys: Vec<_> = polled.records.iter().map(|record| record.key.clone().unwrap()).collect();
    assert_eq!(keys, [b"1", b"2"]);
    assert_eq!(brooklet::stand_in::metric("file_records_skipped"), Some(1.0));
}

#[test]
fn a_record_without_end_does_not_eat_the_memory() {
    let folder = Folder::new();
    folder.append("log", &"x".repeat(500_000));
    let mut source = folder.source("log", json!({"record_bytes_max": 100_000}), None);
    let error = source.poll().unwrap_err().to_string();
    assert!(error.ends_with("a record longer than 100000 bytes"), "{error}");
}

#[test]
fn large_files_come_in_pieces_that_fit_the_limits() {
    let folder = Folder::new();
    let lines: Vec<String> =
        (0..20_000).map(|number| format!("line {number} {}", "x".repeat(number % 100))).collect();
    folder.append("log", &(lines.join("\n") + "\n"));
    let mut source = folder.source("log", json!({}), None).records_max(777);
    let (mut texts, mut polls) = (Vec::new(), 0);
    loop {
        let polled = source.poll().unwrap();
        assert!(polled.records.len() <= 777);
        texts.extend(polled.records.iter().map(|record| record.text().to_owned()));
        polls += 1;
        if !polled.more {
            break;
        }
    }
    assert_eq!((texts, polls), (lines, 26));
}

#[test]
fn configurations_are_checked() {
    let table = [
        (r#"{"path":"/x","format":"records"}"#, "a source reads"),
        (r#"{"path":"/x","key":"k"}"#, "lines have no fields"),
        (r#"{"path":"/x","format":"json-lines","key":"a..b"}"#, "key: the path"),
        (r#"{"path":"/x","delimiter":"€","format":"csv"}"#, "delimiter: one byte"),
    ];
    for (config, problem) in table {
        let error = Sourcing::<FileSource>::start(config, None).unwrap_err().to_string();
        assert!(error.contains(problem), "{config}: {error}");
    }
}
