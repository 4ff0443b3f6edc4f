//! What the stock policies leave of a log, judged by their components through the host's adapter, against a
//! model of each that is written down once more ([`model`]).
//!
//! **What is shown.** Survivors are those that the policy says and those that the host must keep: offsets, times,
//! keys and headers never change, nor does a value but a merged one; tombstones stay their time; markers
//! stay byte for byte, and so does what producers have sent last. In every codec, with and without keys, over two
//! cleanings with a start in between. And the same after a crash at any step of a cleaning.

mod history;
mod model;

use std::collections::BTreeMap;
use std::sync::Arc;

use brooklet_hook::{Hooks, TopicPlugins};
use brooklet_log::compaction::Keys;
use brooklet_log::disk::memory::MemoryDisk;
use brooklet_plugin::{Ceiling, Plugins, PluginsConfig, Trust};
use brooklet_types::{PartitionIndex, Timestamp, TopicName};
use tokio::runtime::Runtime;

use self::history::{Log, RETENTION_MS, Random, Record, grow, last_sequences, open, records};
use self::model::{Left, Rule};
use super::plugins::component;

/// When the first cleaning is, and the second; milliseconds. Records have the times before.
const FIRST_MS: i64 = 500;
const SECOND_MS: i64 = 1000;

/// A policy, how it is configured, and the model of it.
const CASES: [(&str, &str, Rule); 5] = [
    ("keep-n", r#"{"n":2}"#, Rule::KeepN(2)),
    ("latest-by-timestamp", "{}", Rule::Time),
    ("latest-by-header-version", r#"{"header":"v"}"#, Rule::Version),
    ("merge-json", "{}", Rule::Merge),
    ("ttl", r#"{"ttl":"450ms"}"#, Rule::Ttl(450)),
];

/// The stock policies, each bound to a topic of its name, and what runs them.
struct House {
    _runtime: Runtime,
    _folder: tempfile::TempDir,
    plugins: Arc<Plugins>,
}

impl House {
    fn open() -> House {
        let runtime = Runtime::new().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let config = PluginsConfig {
            folder: folder.path().to_owned(),
            ceiling: Ceiling::default(),
            trust: Trust::default(),
            stock: Vec::new(),
        };
        let plugins = runtime.block_on(async {
            let plugins = Plugins::open(&config).unwrap();
            let mut topics = Vec::new();
            for (name, config, _) in CASES {
                let bytes = std::fs::read(component(name)).unwrap();
                plugins.install(bytes, Some(name)).await.unwrap();
                let said =
                    format!(r#"[{{"plugin":"{name}","on_failure":"reject","config":{config}}}]"#);
                let name = TopicName::new(name).unwrap();
                topics.push(TopicPlugins { name, is_view: false, plugins: said });
            }
            plugins.follow(topics).await;
            plugins
        });
        House { _runtime: runtime, _folder: folder, plugins }
    }

    /// One whole cleaning, judged by the policy of that name; the error is why it came to nothing.
    fn clean(&self, log: &mut Log, policy: &str, now: i64) -> Result<(), String> {
        let keys = Keys::within(1 << 20, [7; 32]);
        let mut job = log.begin_compaction(Timestamp(now), keys);
        if let Some(first) = &mut job {
            let topic = TopicName::new(policy).unwrap();
            first.choose(self.plugins.compaction(&topic, PartitionIndex(0)).unwrap());
        }
        while let Some(next) = job {
            let cleaning = next.run(&|| true).map_err(|error| error.to_string())?;
            job = log.advance_compaction(cleaning).map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}

/// What no cleaning may change of a log.
struct Untouched {
    before: BTreeMap<u64, Record>,
    markers: Vec<Vec<u8>>,
    sequences: Vec<(u64, Option<u32>)>,
    end: u64,
}

impl Untouched {
    fn of(log: &Log) -> Untouched {
        let (all, markers) = records(log);
        let before = all.into_iter().map(|record| (record.offset, record)).collect();
        let (sequences, end) = (last_sequences(log), log.end_offset().value());
        Untouched { before, markers, sequences, end }
    }

    fn check(&self, context: &str, log: &Log) {
        assert!(log.holes().is_empty(), "{context}: {:?}", log.holes());
        let (left, markers) = records(log);
        assert_eq!(markers, self.markers, "{context}: markers");
        assert_eq!(last_sequences(log), self.sequences, "{context}: producers");
        assert_eq!(log.end_offset().value(), self.end, "{context}");
        for record in left {
            let was = self.before.get(&record.offset).unwrap_or_else(|| panic!("{context}"));
            let value = record.value.clone();
            assert_eq!(record, Record { value, ..was.clone() }, "{context}");
        }
    }
}

/// Before which offset everything is closed, and so cleaned.
fn closed_until(log: &Log, all: &[Record]) -> u64 {
    let active =
        |record: &&Record| log.is_in_active_segment(brooklet_types::Offset::new(record.offset));
    all.iter().find(active).map_or(log.end_offset().value(), |record| record.offset)
}

/// Cleans, and compares what is left with the model; gives back up to where it was cleaned.
fn clean_and_compare(
    house: &House,
    context: &str,
    log: &mut Log,
    (policy, rule): (&str, Rule),
    (now, seen_until): (i64, u64),
) -> u64 {
    let untouched = Untouched::of(log);
    let before = records(log).0;
    let end = closed_until(log, &before);
    let (closed, active): (Vec<Record>, Vec<Record>) =
        before.iter().cloned().partition(|record| record.offset < end);
    house.clean(log, policy, now).unwrap_or_else(|error| panic!("{context}: {error}"));
    untouched.check(context, log);
    let left = records(log).0;
    let horizon = now - RETENTION_MS;
    let mut expected = model::left(rule, &closed, now, horizon, seen_until);
    expected.extend(Vec::into_iter(active).map(Left::as_it_was));
    assert_eq!(left.len(), expected.len(), "{context}: {left:#?}, not {expected:#?}");
    for (record, expected) in left.iter().zip(&expected) {
        expected.check(context, record);
    }
    // Who reads on for longer than tombstones stay may have missed one.
    if rule == Rule::Merge && seen_until == 0 {
        model::check_readers(context, &before, &left);
    }
    end
}

#[test]
fn what_a_stock_policy_leaves_is_what_its_model_says() {
    let house = House::open();
    for (policy, _, rule) in CASES {
        for seed in 0..25 {
            let context = format!("{policy}, history {seed}");
            let disk = MemoryDisk::default();
            let mut log = open(&disk);
            let mut random = Random(seed);
            grow(&mut log, &mut random, 0);
            let first = (FIRST_MS, 0);
            let end = clean_and_compare(&house, &context, &mut log, (policy, rule), first);
            // What is left of it is found again, and judged together with what comes later: now tombstones that
            // the first cleaning has seen are over.
            log.close().unwrap();
            let mut log = open(&disk);
            grow(&mut log, &mut random, 400);
            let context = format!("{context}, once more");
            let second = (SECOND_MS, end);
            clean_and_compare(&house, &context, &mut log, (policy, rule), second);
        }
    }
}

#[test]
fn a_crash_at_any_step_leaves_what_a_later_cleaning_brings_to_the_same() {
    let house = House::open();
    for ((policy, _, rule), seed) in CASES.into_iter().zip(100..) {
        let begin = || {
            let disk = MemoryDisk::default();
            let mut log = open(&disk);
            grow(&mut log, &mut Random(seed), 0);
            (disk, log)
        };
        let (_, mut whole) = begin();
        let before = records(&whole).0;
        house.clean(&mut whole, policy, FIRST_MS).unwrap();
        let expected = records(&whole).0;
        assert_ne!(before, expected, "{policy} has something to do");
        let mut steps = 0;
        loop {
            let (disk, mut log) = begin();
            let untouched = Untouched::of(&log);
            disk.refuse_after(steps);
            let ended = house.clean(&mut log, policy, FIRST_MS).is_ok();
            drop(log);
            for pattern in 0..3 {
                let context = format!("{policy}: crash after {steps} changes, pattern {pattern}");
                let crashed = disk.copy();
                let mut random = Random(steps * 8 + pattern);
                crashed.settle_names(|| random.below(2) == 1);
                crashed.crash(|_, count| if random.below(2) == 1 { count } else { 0 }, false);
                let mut log = open(&crashed);
                untouched.check(&context, &log);
                let found = records(&log).0;
                assert!(
                    found.iter().all(|it| before.contains(it) || expected.contains(it)),
                    "{context}"
                );
                if rule == Rule::Merge {
                    // All of it or nothing: a value may not be there twice, nor be gone with the one it is in.
                    assert!(found == before || found == expected, "{context}: {found:#?}");
                }
                log.sync().unwrap();
                house.clean(&mut log, policy, FIRST_MS).unwrap();
                let context = format!("{context}, cleaned again");
                untouched.check(&context, &log);
                assert_eq!(records(&log).0, expected, "{context}");
            }
            if ended {
                break;
            }
            steps += 1;
            assert!(steps < 2000, "{policy}: a cleaning without an end");
        }
        assert!(steps > 10, "{policy}: a cleaning has many steps");
    }
}
