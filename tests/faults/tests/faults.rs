//! The program as a process: a short run is as promised and leaves nothing behind, and what is asked wrongly is refused.

#![expect(clippy::unwrap_used, reason = "the helpers of tests are tests too")]

use std::path::Path;
use std::process::{Command, Output};

use brooklet_cluster::broker::program;

fn faults(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_faults"));
    command.arg("--program").arg(program()).arg("--folder").arg(folder);
    command.args(arguments).output().unwrap()
}

#[test]
fn a_short_run_is_as_promised_and_leaves_no_link_no_disk_and_no_process() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("run");
    let arguments = ["--faults", "3", "--seed", "4", "--only", "kill,deaf,pause"];
    let output = faults(&folder, &arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", output.status);
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary["faults"].as_array().unwrap().len(), 3);
    assert!(summary["history"]["size"]["acknowledged"].as_u64().unwrap() > 100, "{summary}");
    assert!(summary["batches_compared"].as_u64().unwrap() > 10, "{summary}");
    let devices = std::fs::read_to_string("/proc/net/dev").unwrap();
    assert!(!devices.contains("bfaults"), "{devices}");
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap();
    assert!(!mounts.contains(folder.to_str().unwrap()), "{mounts}");
    for entry in std::fs::read_dir("/proc").unwrap() {
        let words = std::fs::read(entry.unwrap().path().join("cmdline")).unwrap_or_default();
        let words = String::from_utf8_lossy(&words).into_owned();
        assert!(!words.contains(folder.to_str().unwrap()), "{words}");
    }
}

#[test]
fn a_folder_that_is_not_of_a_run_is_not_touched() {
    let scratch = tempfile::tempdir().unwrap();
    std::fs::write(scratch.path().join("letter"), "dear").unwrap();
    let output = faults(scratch.path(), &["--faults", "1"]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("not from a run of this program"), "{said}");
    assert_eq!(std::fs::read_to_string(scratch.path().join("letter")).unwrap(), "dear");
}
