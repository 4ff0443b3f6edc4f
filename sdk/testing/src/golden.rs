//! Golden files: what goes in, what has to come out, and how to write the latter anew. What stands in them is said
//! in `brooklet-plugin-golden`.

use std::fs;
use std::path::Path;

use brooklet::Transform;
use brooklet_golden::Rec;
pub use brooklet_golden::{compare, difference, line, lines, parse, record};

use crate::transform::Transforming;

/// Compares what a transform makes of `input.jsonl` with `expected.jsonl`.
///
/// `folder` is relative to the crate's own folder, where `cargo test` runs. Panics, saying what
/// differs.
pub fn transform<T: Transform>(folder: &str) {
    let read = |name: &str| {
        let path = Path::new(folder).join(name);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    let mut plugin = match Transforming::<T>::start(&read("config.json")) {
        Ok(plugin) => plugin,
        Err(error) => panic!("{folder}/config.json: {error}"),
    };
    let records: Vec<Rec> = read("input.jsonl").lines().map(record).collect();
    let shown = plugin.show(&records).unwrap_or_else(|error| panic!("{folder}: {error}"));
    compare(&Path::new(folder).join("expected.jsonl"), &lines(&shown));
}
