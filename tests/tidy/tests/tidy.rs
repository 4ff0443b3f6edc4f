//! The rules of STYLE.md that a machine can check.

use std::collections::BTreeMap;
use std::process::Command;

use brooklet_tidy::exemptions::{FILE_LINES_MAX, LONG_FILES};
use brooklet_tidy::layers::{LAYERS, WORLD};
use brooklet_tidy::{manifests, production, root, rust_files};

/// Fails with every problem at once.
#[track_caller]
fn none(problems: &[String]) {
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

/// The names in one table of a manifest, such as `dependencies`.
fn names_in<'a>(manifest: &'a str, table: &str) -> Vec<&'a str> {
    let header = format!("[{table}]");
    let lines = manifest.lines().skip_while(|line| *line != header).skip(1);
    let lines = lines.take_while(|line| !line.starts_with('['));
    lines.filter_map(|line| line.split(['.', ' ', '=']).next()).filter(|n| !n.is_empty()).collect()
}

fn package_name(manifest: &str) -> &str {
    let line = manifest.lines().find(|line| line.starts_with("name = "));
    line.and_then(|line| line.split('"').nth(1)).expect("a manifest names its package")
}

#[test]
fn crates_depend_only_on_the_layers_below() {
    let layers: BTreeMap<_, _> = LAYERS.iter().copied().collect();
    let mut problems = Vec::new();
    for (path, text) in manifests() {
        // Tests may use anything. Stock plugins are a workspace of their own, of users of the SDK.
        if path.starts_with("tests/") || path.starts_with("plugins/") {
            continue;
        }
        let name = package_name(&text);
        let Some(allowed) = layers.get(name) else {
            problems.push(format!("{path}: {name} is not in tests/tidy/src/layers.rs"));
            continue;
        };
        for dependency in names_in(&text, "dependencies") {
            if dependency.starts_with("brooklet") && !allowed.contains(&dependency) {
                problems.push(format!("{path}: {name} may not use {dependency}"));
            }
            if path.starts_with("host/core/") && WORLD.contains(&dependency) {
                problems.push(format!("{path}: a core may not use {dependency}"));
            }
        }
    }
    none(&problems);
}

#[test]
fn every_dependency_has_its_reason() {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let table = manifest.split("[workspace.dependencies]").nth(1).unwrap();
    let table = table.split("\n[").next().unwrap();
    let mut problems = Vec::new();
    let mut explained = false;
    for line in table.lines() {
        if line.starts_with('#') {
            explained = true;
        } else if line.is_empty() {
            explained = false;
        } else if !explained && !line.starts_with("brooklet-") {
            problems.push(format!("Cargo.toml: no reason above: {line}"));
        }
    }
    none(&problems);
}

#[test]
fn members_take_dependencies_from_the_workspace() {
    let mut problems = Vec::new();
    for (path, text) in manifests() {
        for table in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let header = format!("[{table}]");
            let lines = text.lines().skip_while(|line| *line != header).skip(1);
            for line in lines.take_while(|line| !line.starts_with('[')) {
                if !line.is_empty() && !line.starts_with('#') && !line.contains("workspace = true")
                {
                    problems.push(format!("{path}: not from the workspace: {line}"));
                }
            }
        }
        if !text.contains("[lints]\nworkspace = true") {
            problems.push(format!("{path}: does not take the workspace's lints"));
        }
    }
    none(&problems);
}

#[test]
fn every_file_says_what_it_is() {
    let silent = rust_files().into_iter().filter(|(_, text)| !text.starts_with("//! "));
    none(&silent.map(|(path, _)| format!("{path}: does not open with `//!`")).collect::<Vec<_>>());
}

#[test]
fn nothing_is_left_half_done() {
    // Spelt in halves, so that this file does not find itself.
    let banned = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("dbg", "!("),
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
        concat!("#[ign", "ore"),
        concat!("#[should_", "panic"),
    ];
    let mut problems = Vec::new();
    for (path, text) in rust_files() {
        for (number, line) in text.lines().enumerate() {
            for word in banned {
                if line.contains(word) {
                    problems.push(format!("{path}:{}: {word}", number + 1));
                }
            }
        }
    }
    none(&problems);
}

#[test]
fn a_file_fits_in_a_sitting() {
    let mut problems = Vec::new();
    for (path, text) in rust_files() {
        let lines = production(&text).lines().count();
        let exempt = LONG_FILES.iter().find(|(file, ..)| *file == path);
        match exempt {
            None if lines > FILE_LINES_MAX => {
                problems.push(format!("{path}: {lines} lines, the limit is {FILE_LINES_MAX}"));
            }
            Some((_, limit, _)) if lines > *limit => {
                problems.push(format!("{path}: {lines} lines, its exemption ends at {limit}"));
            }
            Some(_) if lines <= FILE_LINES_MAX => {
                problems.push(format!("{path}: no longer needs its exemption"));
            }
            None | Some(_) => {}
        }
    }
    none(&problems);
}

#[test]
fn tests_do_not_sleep() {
    let sleep = concat!("sle", "ep(");
    let mut problems = Vec::new();
    for (path, text) in rust_files() {
        let tests_from = if path.starts_with("tests/") || path.contains("/tests") {
            0
        } else {
            production(&text).len()
        };
        for line in text[tests_from..].lines() {
            let waits = line.contains("thread::") || line.contains("time::");
            if waits && line.contains(sleep) && !line.contains("// polls") {
                problems.push(format!("{path}: {}", line.trim()));
            }
        }
    }
    none(&problems);
}

#[test]
fn both_clippy_files_agree_on_thresholds() {
    let plain = |path: &str| -> Vec<String> {
        let text = std::fs::read_to_string(root().join(path)).unwrap();
        let simple = |line: &&str| line.ends_with(" = true") || line.starts_with("too-many");
        text.lines().filter(simple).map(str::to_owned).collect()
    };
    assert_eq!(plain("clippy.toml"), plain("host/core/clippy.toml"));
}

#[test]
fn the_layout_of_the_code_is_rustfmts() {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo).args(["fmt", "--all", "--check"]).current_dir(root()).output();
    let output = output.unwrap();
    assert!(output.status.success(), "run cargo fmt:\n{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn released_plugin_interfaces_stay_as_they_are() {
    // Components that were built against them are out there. What is new goes into a new version.
    let released =
        [("plugin/0.1.0", "981c7c1470b6fffdee9b0053994dedd0b5c8095d86db149150291750e63e2a1c")];
    for (version, expected) in released {
        let mut files: Vec<_> = std::fs::read_dir(root().join("wit").join(version))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        let mut hasher = blake3::Hasher::new();
        for file in files {
            hasher.update(file.file_name().unwrap().as_encoded_bytes());
            hasher.update(&std::fs::read(&file).unwrap());
        }
        assert_eq!(hasher.finalize().to_hex().as_str(), expected, "wit/{version} has changed");
    }
}
