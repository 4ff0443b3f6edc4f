//! Every example does what its folder says it does.

use std::fs;
use std::path::Path;
use std::process::Command;

use brooklet_cluster::broker::program;

/// Seconds for one example, with a debug build on a busy machine.
const SECONDS_MAX: &str = "180";

#[test]
fn every_example_prints_what_it_promises() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    let mut ran = 0;
    for entry in fs::read_dir(root.join("examples")).unwrap() {
        let folder = entry.unwrap().path();
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
