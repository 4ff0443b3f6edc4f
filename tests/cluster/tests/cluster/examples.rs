//! Every example does what its folder says it does.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use brooklet_cluster::broker::program;

use super::stage::{ANSWER_SECONDS_MAX, Stage};

/// Seconds for one example, with a debug build on a busy machine.
const SECONDS_MAX: &str = "180";

/// What the broker says aloud of what READMEs show going wrong.
const EXPECTED: &[&str] = &["which has no partitions"];

#[test]
fn every_example_prints_what_it_promises() {
    let mut ran = 0;
    for folder in folders() {
        let script = folder.join("run.sh");
        if !script.exists() {
            continue;
        }
        let mut command = Command::new("timeout");
        command.arg(SECONDS_MAX).arg(&script).env("BROOKLET", program());
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let complained = String::from_utf8_lossy(&output.stderr);
        let expected = fs::read_to_string(folder.join("expected.txt")).unwrap();
        assert_eq!(said, expected, "{}: {complained}", script.display());
        assert!(output.status.success(), "{}: {complained}", script.display());
        ran += 1;
    }
    assert!(ran > 0, "there are examples");
}

fn folders() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    let entries = fs::read_dir(root.join("examples")).unwrap();
    let mut folders: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    folders.retain(|folder| folder.is_dir());
    folders.sort();
    folders
}

/// The commands in the README of an example without a script, each followed by what it prints. `UPDATE_EXPECT=1`
/// writes down what is printed now.
#[test]
fn every_readme_shows_what_its_commands_print() {
    let mut played = 0;
    for folder in folders().iter().filter(|folder| !folder.join("run.sh").exists()) {
        let readme = folder.join("README.md");
        let text = fs::read_to_string(&readme).unwrap();
        let stage = Stage::new(EXPECTED);
        let (mut shown, mut is_console) = (String::new(), false);
        for line in text.lines() {
            match line.strip_prefix("$ ") {
                Some(command) if is_console => {
                    let _ = write!(shown, "{line}\n{}", play(&stage, folder, command));
                }
                // What is printed is printed anew.
                None if is_console && line != "```" => {}
                Some(_) | None => {
                    let _ = writeln!(shown, "{line}");
                }
            }
            is_console = line == "```console" || (is_console && line != "```");
        }
        expect_test::expect_file![readme].assert_eq(&shown);
        played += 1;
    }
    assert!(played > 0, "there are examples");
}

/// What a shell prints, in the example's folder, with the program at hand and a broker where it is looked for.
fn play(stage: &Stage, folder: &Path, command: &str) -> String {
    let bin = program().parent().unwrap().to_owned();
    let paths = std::env::var_os("PATH").unwrap();
    let paths = std::iter::once(bin).chain(std::env::split_paths(&paths));
    let mut shell = Command::new("timeout");
    let patient =
        format!("brooklet() {{ command brooklet --timeout {ANSWER_SECONDS_MAX} \"$@\"; }}");
    shell.arg(SECONDS_MAX).args(["bash", "-c", &format!("{patient}\n{{ {command}\n}} 2>&1")]);
    shell.env("PATH", std::env::join_paths(paths).unwrap()).env("LC_ALL", "C");
    shell.env("BROOKLET_BROKER", stage.broker.address().to_string());
    shell.env("BROOKLET_ADMIN_TOKEN", stage.broker.data().join("admin-token"));
    let output = shell.env("BROOKLET_ADMIN", &stage.admin).current_dir(folder).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let text = text.replace(&stage.broker.address().to_string(), "127.0.0.1:9092");
    let timeless = |line: &str| match line.split_once(" in ") {
        // How long it took is another time each time.
        Some((before, rest)) if rest.ends_with("/s)") => format!("{before} in …\n"),
        Some(_) | None => format!("{line}\n"),
    };
    text.lines().map(timeless).collect()
}
