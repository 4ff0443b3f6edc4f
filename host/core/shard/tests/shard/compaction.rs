//! What a shard has compacted, when, and what becomes of a log that cannot be.

use brooklet_log::compaction::{Entry, Pass, Policy, PolicyError, Scope, Verdict};

use super::*;

/// A bench with one compacted partition in small segments, all with records of one key.
fn compacted(count: u32) -> Bench {
    // A segment is full with its second index entry.
    let small = [("segment.index.bytes", "4"), ("index.interval.bytes", "0")];
    let settings = [&[("cleanup.policy", "compact")], &small[..]].concat();
    let mut bench = Bench::with_topic(1, &settings);
    for number in 0..count {
        bench.produce(0, &format!("value {number}"), Acks::All);
        bench.finish_syncs();
    }
    bench
}

#[test]
fn a_compacted_topic_is_cleaned_and_then_left_alone() {
    let mut bench = compacted(40);
    bench.look_for_dirt();
    assert_eq!(bench.jobs.len(), 1);
    // The shard goes on meanwhile.
    bench.produce(0, "last", Acks::All);
    bench.finish_syncs();
    // What was written meanwhile may be enough for another cleaning, and one more.
    for _ in 0..3 {
        bench.clean();
        bench.look_for_dirt();
    }
    assert!(bench.jobs.is_empty());
    let removed = bench.events.iter().map(|event| {
        if let Event::Compacted { cleaned, .. } = event { cleaned.records_removed } else { 0 }
    });
    let removed = usize::try_from(removed.sum::<u64>()).unwrap();
    let fetched = bench.fetch(0, 0);
    let values = bench.fetched(fetched).unwrap().unwrap();
    assert!(removed > 20 && values.len() + removed == 41, "{removed} {values:?}");
    assert_eq!(values.last().unwrap(), "last");
    // Nothing is wanted but the retention check, minutes away.
    let deadline = bench.shard.next_deadline().unwrap();
    assert!(deadline.since(bench.now) > Duration::from_secs(60));
    let disk = bench.disk.clone();
    drop(bench);
    disk.crash(|_, _| 0, false);
    let mut bench = Bench::start(disk);
    let fetched = bench.fetch(0, 0);
    assert_eq!(bench.fetched(fetched).unwrap().unwrap(), values);
}

#[test]
fn damage_is_told_once_and_looked_at_again_when_something_changes() {
    let mut bench = compacted(40);
    let path = "topics/flights-0/00000000000000000000.log";
    let whole = bench.disk.files()[path].clone();
    let mut damaged = whole.clone();
    damaged[100] ^= 1;
    bench.disk.put(path, damaged);
    for _ in 0..3 {
        bench.look_for_dirt();
        bench.clean();
        for _ in 0..4 {
            bench.produce(0, "more", Acks::All);
            bench.finish_syncs();
        }
    }
    let told = bench.events.iter().filter(|event| matches!(event, Event::NotCompacted { .. }));
    assert_eq!(told.count(), 1);
    bench.disk.put(path, whole);
    let changes = vec![("delete.retention.ms".to_owned(), Some("1".to_owned()))];
    let record = MetaRecord::TopicSettingsChanged { id: TOPIC, changes };
    let request = brooklet_shard::MetadataRequest::new(|_: &Cluster| brooklet_meta::Decision {
        records: vec![record],
        reply: (),
    });
    bench.ask(Request::Metadata(request));
    bench.finish_syncs();
    bench.look_for_dirt();
    assert_eq!(bench.jobs.len(), 1);
    bench.clean();
    assert!(bench.events.iter().any(|event| matches!(event, Event::Compacted { .. })));
}

/// Keeps everything, if it does anything at all.
#[derive(Debug)]
struct Moody {
    fails: Option<Duration>,
}

impl Policy for Moody {
    fn scope(&self) -> Scope {
        Scope::All
    }

    fn merges(&self) -> bool {
        false
    }

    fn begin(&mut self, _pass: &Pass) -> Result<(), PolicyError> {
        let failed = |retry_after| PolicyError::Failed { message: "mood".into(), retry_after };
        self.fails.map(failed).map_or(Ok(()), Err)
    }

    fn observe(&mut self, _entries: &[Entry<'_>]) -> Result<(), PolicyError> {
        Ok(())
    }

    fn decide(&mut self, entries: &[Entry<'_>]) -> Result<Verdict, PolicyError> {
        Ok(Verdict { keep: vec![true; entries.len()], replace: Vec::new() })
    }

    fn end(&mut self) {}
}

impl Bench {
    /// Waits for the shard to begin a cleaning, and has it judged so; says after how many seconds it began.
    fn clean_moodily(&mut self, fails: Option<Duration>) -> u64 {
        let before = self.now;
        while self.jobs.is_empty() {
            self.now = self.shard.next_deadline().expect("it is tried again");
            self.step(Input::Tick);
            self.finish_syncs();
        }
        let (partition, mut job) = self.jobs.pop().unwrap();
        assert!(job.is_first());
        job.choose(Box::new(Moody { fails }));
        let outcome = job.run(&|| true).map(Box::new);
        let waited = self.now.since(before).as_secs();
        self.step(Input::Compacted { partition, outcome });
        self.clean();
        waited
    }
}

#[test]
fn a_policy_that_fails_is_asked_less_and_less_often_and_nothing_is_changed() {
    let mut bench = compacted(40);
    let logs = |bench: &Bench| {
        let files = bench.disk.files().into_iter();
        files.filter(|(path, _)| path.ends_with(".log")).collect::<Vec<_>>()
    };
    let before = logs(&bench);
    bench.clean_moodily(Some(Duration::ZERO));
    // It may ask to be left alone for longer.
    let asked = [0, 100, 0, 0, 0, 0, 0, 0, 0, 0, 0].map(|s| Some(Duration::from_secs(s)));
    let waits = asked.map(|asked| bench.clean_moodily(asked));
    assert_eq!(waits, [15, 30, 100, 120, 240, 480, 960, 1920, 3600, 3600, 3600]);
    assert_eq!(logs(&bench), before);
    let told = bench.events.iter().filter(|event| matches!(event, Event::NotCompacted { .. }));
    assert_eq!(told.count(), 12);
    // Once it is in order again, the next failure is the first.
    assert_eq!(bench.clean_moodily(None), 3600);
    assert!(matches!(bench.events.last(), Some(Event::Compacted { .. })));
    for _ in 0..50 {
        bench.produce(0, "more", Acks::All);
        bench.finish_syncs();
    }
    bench.clean_moodily(Some(Duration::ZERO));
    assert_eq!(bench.clean_moodily(None), 15);
}

#[test]
fn a_policy_that_is_another_has_its_turn_soon() {
    let mut bench = compacted(40);
    let backoff = CompactionSettings::default().backoff.as_secs();
    for _ in 0..4 {
        bench.clean_moodily(Some(Duration::ZERO));
    }
    bench.step(Input::PolicyChanged { topic: TopicName::new("others").unwrap() });
    assert!(bench.clean_moodily(Some(Duration::ZERO)) > 100, "that was another topic's");
    bench.step(Input::PolicyChanged { topic: TopicName::new("flights").unwrap() });
    assert!(bench.clean_moodily(Some(Duration::ZERO)) <= backoff);
    // And the one that fails now has failed once.
    assert_eq!(bench.clean_moodily(None), 15);
    assert!(matches!(bench.events.last(), Some(Event::Compacted { .. })));
}

#[test]
fn a_topic_may_go_while_it_is_cleaned() {
    let mut bench = compacted(40);
    bench.look_for_dirt();
    let (partition, job) = bench.jobs.pop().unwrap();
    let request = brooklet_shard::MetadataRequest::new(|_: &Cluster| brooklet_meta::Decision {
        records: vec![MetaRecord::TopicDeleted { id: TOPIC }],
        reply: (),
    });
    bench.ask(Request::Metadata(request));
    bench.finish_syncs();
    let outcome = job.run(&|| true).map(Box::new);
    assert!(outcome.is_err(), "its files are gone");
    bench.step(Input::Compacted { partition, outcome });
    assert!(bench.events.iter().all(|event| !matches!(event, Event::NotCompacted { .. })));
    bench.look_for_dirt();
    assert!(bench.jobs.is_empty());
}
