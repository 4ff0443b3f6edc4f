//! What a real Apache Kafka answers, recorded once and replayed against Brooklet.
//!
//! `scripts/` says what is asked, `kafka/` holds what Kafka 4.3.1 answered, and
//! `kafka/differences.txt` every place where we answer otherwise, with the reason. `cargo test`
//! replays without Java; `cargo run -p brooklet-golden --bin record` records again.
//!
//! Messages are encoded and decoded here by Kafka's own definitions (`schema/`), so that the
//! broker's codec is tested by something other than itself.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a value has ten shapes, and most functions care about one"
)]

pub mod batch;
pub mod codec;
pub mod difference;
mod normal;
pub mod play;
pub mod schema;
pub mod script;
pub mod transcript;
pub mod value;
mod wire;

use std::fs;
use std::path::{Path, PathBuf};

/// Scripts for a broker with users, rules and quotas, and what Kafka answered. `secured/kafka.properties` is how it
/// was configured.
pub const SECURED: &str = "secured/";

/// The file with a script: `scripts/NAME.txt`, or `secured/scripts/NAME.txt` for `secured/NAME`.
pub fn script_path(name: &str) -> PathBuf {
    file_of("scripts", name)
}

/// The file with what Kafka answered to a script.
pub fn transcript_path(name: &str) -> PathBuf {
    file_of("kafka", name)
}

fn file_of(folder: &str, name: &str) -> PathBuf {
    match name.strip_prefix(SECURED) {
        Some(name) => path(SECURED).join(folder).join(format!("{name}.txt")),
        None => path(folder).join(format!("{name}.txt")),
    }
}

/// A file or folder of this package.
pub fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// The scripts' names in order.
///
/// # Panics
/// If the folder cannot be read: it is part of the source.
pub fn script_names() -> Vec<String> {
    names_in("scripts")
}

/// The names of the scripts for a secured broker, each behind [`SECURED`].
///
/// # Panics
/// If the folder cannot be read: it is part of the source.
pub fn secured_names() -> Vec<String> {
    names_in("secured/scripts").iter().map(|name| format!("{SECURED}{name}")).collect()
}

fn names_in(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(path(folder)).expect("the scripts' folder can be read");
    let mut names: Vec<String> = entries
        .map(|entry| entry.expect("the scripts' folder can be read").path())
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    names
}
