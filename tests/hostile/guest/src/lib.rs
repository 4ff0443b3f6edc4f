//! A plugin that means harm: partitioner, serde and transform in one. Its configuration, `{"do": "…"}`, says which.
//!
//! **Where it sits.** Below the SDK, directly on the generated bindings: the SDK would keep half of this from
//! happening. tests/hostile/README.md has the list, and what comes of each.
//!
//! **Invariants.** What it does depends on its configuration and on the records, on nothing else: a test can
//! say what is due.

#![cfg(target_family = "wasm")]

mod bindings;
mod bomb;
mod lie;
mod reach;

use std::cell::{Cell, RefCell};

use bindings::brooklet::plugin::types::{Batch, Blobs, Columns, PluginError, Reject};
use bindings::exports::brooklet::plugin::lifecycle::{Context, Guest as Lifecycle, Ready};
use bindings::exports::brooklet::plugin::partitioner::Guest as Partitioner;
use bindings::exports::brooklet::plugin::serde::{Converted, Guest as Serde, Subject};
use bindings::exports::brooklet::plugin::transform::{Guest as Transform, Outcome, Transformed};

/// What the host reads without running anything.
#[unsafe(link_section = "brooklet:manifest")]
#[used]
static MANIFEST: [u8; MANIFEST_TEXT.len()] = *MANIFEST_TEXT;
const MANIFEST_TEXT: &[u8; 102] = br#"{"name":"hostile","version":"6.6.6","description":"Harm.","roles":["partitioner","serde","transform"]}"#;

thread_local! {
    static DEED: RefCell<String> = const { RefCell::new(String::new()) };
    /// Milliseconds, for the deeds that take some.
    static MILLIS: Cell<u64> = const { Cell::new(0) };
}

struct Hostile;

bindings::export!(Hostile with_types_in bindings);

fn deed() -> String {
    DEED.with_borrow(Clone::clone)
}

/// The text behind `"name":"` in a configuration that a test has written.
fn text<'c>(config: &'c str, name: &str) -> Option<&'c str> {
    let (_, behind) = config.split_once(&format!("\"{name}\":"))?;
    Some(behind.trim_start().trim_start_matches('"').split(['"', ',', '}']).next()?)
}

/// What every role does before it answers. Most deeds end here.
fn act(seen: &[u8]) {
    match deed().as_str() {
        "loop" => bomb::run_for_ever(),
        "sleep" => bomb::wait(MILLIS.get()),
        "memory" => bomb::eat(),
        "recursion" => bomb::fall(),
        "trap" => bomb::trap(),
        "exit" => std::process::exit(0),
        "random" if bomb::chance(seen) => bomb::trap(),
        "poison" if seen.windows(6).any(|bytes| bytes == b"poison") => bomb::trap(),
        "logs" => bomb::shout(),
        "metrics" => bomb::count_everything(),
        "handles" => bomb::hold_handles(),
        "pollables" => bomb::hold_pollables(),
        "entropy" => bomb::ask_for_entropy(),
        "realloc-outside" | "realloc-unaligned" | "realloc-loop" | "realloc-grow" => {
            // It has happened on the way in. Without arguments to put somewhere nothing has.
        }
        _ => {}
    }
}

impl Lifecycle for Hostile {
    fn init(context: Context, config: String) -> Result<Ready, PluginError> {
        let chosen = text(&config, "do").unwrap_or("nothing");
        let only = text(&config, "in").unwrap_or(&context.role);
        DEED.with_borrow_mut(|deed| {
            deed.clear();
            deed.push_str(if only == context.role { chosen } else { "nothing" });
        });
        MILLIS.set(text(&config, "ms").and_then(|ms| ms.parse().ok()).unwrap_or(0));
        match chosen {
            "init-loop" => bomb::run_for_ever(),
            "init-memory" => bomb::eat(),
            "init-trap" => bomb::trap(),
            "init-sleep" => bomb::wait(MILLIS.get()),
            "init-refuse" => return Err(PluginError::Fatal("not today".to_owned())),
            deed => lie::turn_realloc(deed),
        }
        Ok(Ready { columns: Columns::KEYS | Columns::VALUES, properties: Vec::new() })
    }

    fn shutdown() {
        match deed().as_str() {
            "goodbye" => bomb::say_goodbye(),
            "goodbye-loop" => bomb::run_for_ever(),
            "goodbye-trap" => bomb::trap(),
            _ => {}
        }
    }
}

fn seen(batch: &Batch) -> &[u8] {
    batch.values.as_ref().map_or(&[], |values| &values.data)
}

impl Partitioner for Hostile {
    fn partition(input: Batch, partitions: u32) -> Result<Vec<u32>, PluginError> {
        act(seen(&input));
        let count = input.count;
        match deed().as_str() {
            "output" => Ok(vec![0; 10 << 20]),
            "count" => Ok(vec![0; count as usize + 1]),
            "order" | "offsets" => Ok(vec![partitions; count as usize]),
            "lengths" => Ok(lie::outside()),
            "text" => Err(PluginError::BadInput(lie::no_text())),
            "reach" => Err(PluginError::Denied(reach::report())),
            _ => Ok((0..count).map(|index| index % partitions).collect()),
        }
    }
}

/// Converts nothing, in the way that was asked for.
fn convert(data: Blobs) -> Result<Converted, PluginError> {
    act(&data.data);
    let rejects = None;
    let data = match deed().as_str() {
        "output" => lie::large(data.ends.len()),
        "count" => lie::one_more(data),
        "order" => lie::backwards(data),
        "offsets" => lie::beyond(data),
        "nulls" => lie::nulls(data),
        "lengths" => Blobs { data: lie::outside(), ends: data.ends, nulls: None },
        "columns" => lie::many_ends(data),
        "rejects" => return Ok(Converted { data, rejects: Some(lie::rejects()) }),
        "text" => return Err(PluginError::BadInput(lie::no_text())),
        "reach" => return Err(PluginError::Denied(reach::report())),
        _ => data,
    };
    Ok(Converted { data, rejects })
}

impl Serde for Hostile {
    fn deserialize(_: Subject, data: Blobs) -> Result<Converted, PluginError> {
        convert(data)
    }

    fn serialize(_: Subject, data: Blobs) -> Result<Converted, PluginError> {
        convert(data)
    }

    fn check(_: Subject, data: Blobs) -> Result<Option<Vec<Reject>>, PluginError> {
        act(&data.data);
        match deed().as_str() {
            "rejects" => Ok(Some(lie::rejects())),
            "order" | "offsets" | "count" => Ok(Some(vec![lie::reject(u32::MAX)])),
            "text" => Err(PluginError::BadInput(lie::no_text())),
            "lengths" => Ok(Some(lie::outside())),
            "reach" => Err(PluginError::Denied(reach::report())),
            _ => Ok(None),
        }
    }
}

impl Transform for Hostile {
    fn transform(input: Batch) -> Result<Transformed, PluginError> {
        act(seen(&input));
        let count = input.count;
        let outcome = match deed().as_str() {
            "output" => lie::emit(count, None, Some(lie::large(count as usize))),
            "count" => lie::emit(count + 1, None, None),
            "select" => Outcome::Select(Vec::new()),
            "order" => lie::emit(count, Some((0..count).rev().collect()), None),
            "offsets" => {
                lie::emit(count * 2, Some((0..count * 2).map(|at| at / 2).collect()), None)
            }
            "sources" => lie::emit(1, Some(vec![count]), None),
            "nulls" => lie::emit(count, None, input.values.map(lie::nulls)),
            "lengths" => lie::emit(count, None, Some(lie::outside_blobs(count))),
            "columns" => lie::emit(count, None, input.values.map(lie::many_ends)),
            "grow" => lie::emit(count, None, Some(lie::sized(count as usize, 1 << 20))),
            "rejects" => {
                return Ok(Transformed { outcome: Outcome::Pass, rejects: Some(lie::rejects()) });
            }
            "text" => return Err(PluginError::BadInput(lie::no_text())),
            "reach" => return Err(PluginError::Denied(reach::report())),
            _ => Outcome::Pass,
        };
        Ok(Transformed { outcome, rejects: None })
    }
}
