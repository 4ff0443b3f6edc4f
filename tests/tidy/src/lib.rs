//! The rules of STYLE.md that a machine can check, as tests. Nothing here is used by the broker.

pub mod exemptions;
pub mod layers;

use std::fs;
use std::path::{Path, PathBuf};

/// The workspace's root folder.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).expect("tests/tidy lies two folders below the root").to_owned()
}

/// Every Rust file of ours, with its path relative to the root and its text.
pub fn rust_files() -> Vec<(String, String)> {
    let root = root();
    let mut files = Vec::new();
    for folder in ["host", "sdk", "plugins", "tests", "examples"] {
        collect(&root, &root.join(folder), "rs", &mut files);
    }
    files.sort();
    files
}

/// Every manifest of a member crate, with its path relative to the root and its text.
pub fn manifests() -> Vec<(String, String)> {
    let root = root();
    let mut files = Vec::new();
    for folder in ["host", "sdk", "plugins", "tests"] {
        collect(&root, &root.join(folder), "toml", &mut files);
    }
    // A workspace that is no crate itself has no package.
    files.retain(|(path, text)| path.ends_with("/Cargo.toml") && text.contains("[package]"));
    files.sort();
    files
}

/// A file's text up to its unit tests, which do not count towards its length.
pub fn production(text: &str) -> &str {
    let tests = text.find("\n#[cfg(test)]\nmod ").unwrap_or(text.len());
    text.get(..tests).expect("found in this text")
}

fn collect(root: &Path, folder: &Path, extension: &str, files: &mut Vec<(String, String)>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.filter_map(Result::ok) {
        let path = entry.path();
        let name = entry.file_name();
        if path.is_dir() {
            // Other people's code and built things are not ours to judge.
            if !["target", "node_modules", "vendor", ".git"].iter().any(|skipped| name == *skipped)
            {
                collect(root, &path, extension, files);
            }
        } else if path.extension().is_some_and(|found| found == extension) {
            let relative = path.strip_prefix(root).expect("below the root");
            let text = fs::read_to_string(&path).expect("our sources are text");
            files.push((relative.display().to_string(), text));
        }
    }
}
