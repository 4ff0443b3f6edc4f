//! A topic that is cleaned by a hook's policy, as its readers and its operator see it.

use std::collections::BTreeSet;

use brooklet_hook::{Answer, FetchHook, Hooks, NoHooks, ProduceHook, TopicPlugins};
use brooklet_log::compaction::{Entry, Pass, Policy, PolicyError, Scope, Verdict};
use brooklet_types::{PartitionIndex, TopicName};

use super::*;

/// Looks often, so that nobody waits for long.
const CLEANER: &str = "cleaner: (backoff_ms: 20)";
const CLEANED_MAX: Duration = Duration::from_secs(60);
const SEGMENT_BYTES: usize = 1 << 20;

/// Of each key the oldest record, which is what Kafka's policy would drop. Once it has been in a bad mood.
#[derive(Debug)]
struct Oldest {
    fails: bool,
    seen: BTreeSet<u64>,
}

impl Policy for Oldest {
    fn scope(&self) -> Scope {
        Scope::All
    }

    fn merges(&self) -> bool {
        false
    }

    fn begin(&mut self, _pass: &Pass) -> Result<(), PolicyError> {
        let (message, retry_after) = ("bad mood".to_owned(), Duration::ZERO);
        if self.fails { Err(PolicyError::Failed { message, retry_after }) } else { Ok(()) }
    }

    fn observe(&mut self, _entries: &[Entry<'_>]) -> Result<(), PolicyError> {
        Ok(())
    }

    fn decide(&mut self, entries: &[Entry<'_>]) -> Result<Verdict, PolicyError> {
        let keep = entries.iter().map(|entry| self.seen.insert(entry.key.unwrap())).collect();
        Ok(Verdict { keep, replace: Vec::new() })
    }

    fn end(&mut self) {}
}

/// Has a policy for one topic, and one that fails for another.
#[derive(Debug)]
struct Policies;

impl Hooks for Policies {
    fn compaction(&self, topic: &TopicName, partition: PartitionIndex) -> Option<Box<dyn Policy>> {
        assert_eq!(partition, PartitionIndex(0));
        let policy = |fails| Box::new(Oldest { fails, seen: BTreeSet::new() });
        match topic.as_str() {
            "oldest" => Some(policy(false)),
            "moody" => Some(policy(true)),
            _ => None,
        }
    }

    fn on_produce(&self, topic: &TopicName) -> Option<Arc<dyn ProduceHook>> {
        NoHooks.on_produce(topic)
    }

    fn on_fetch(&self, topic: &TopicName) -> Option<Arc<dyn FetchHook>> {
        NoHooks.on_fetch(topic)
    }

    fn check<'a>(&'a self, topic: &'a TopicPlugins) -> Answer<'a, Result<(), String>> {
        Box::pin(async move { NoHooks.check(topic).await })
    }

    fn follow(&self, _topics: Vec<TopicPlugins>) -> Answer<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

impl Client {
    /// Creates a topic that is cleaned as soon as a segment is full.
    async fn create_compacted(&mut self, topic: &str) {
        let settings = [
            ("cleanup.policy", "compact".to_owned()),
            ("segment.bytes", SEGMENT_BYTES.to_string()),
            ("min.cleanable.dirty.ratio", "0.01".to_owned()),
        ];
        let request = make(|it: &mut CreateTopicsRequest| {
            it.timeout_ms = 10_000;
            it.topics = vec![make(|it: &mut create_topics_request::CreatableTopic| {
                it.name = topic.into();
                it.num_partitions = 1;
                it.replication_factor = 1;
                it.configs = settings
                    .map(|(name, value)| {
                        make(|it: &mut create_topics_request::CreatableTopicConfig| {
                            it.name = name.into();
                            it.value = Some(value.as_str().into());
                        })
                    })
                    .to_vec();
            })];
        });
        let answer: CreateTopicsResponse = self.ask(5, &request).await;
        assert_eq!(answer.topics[0].error_code, 0);
    }

    /// Twice as much as a segment takes, in three records of the same key.
    async fn fill(&mut self, topic: &str) {
        for turn in 0..3_u8 {
            let mut builder = BatchBuilder::new(Codec::None);
            let value = vec![b'0' + turn; SEGMENT_BYTES * 6 / 10];
            let now = brooklet_io::Clock::start().timestamp();
            builder.push(now, Some(b"key"), Some(&value), &[]).unwrap();
            let mut request = produce(topic, "", -1);
            request.topic_data[0].partition_data[0].records = Some(builder.build().unwrap());
            let answer: ProduceResponse = self.ask(9, &request).await;
            assert_eq!(answer.responses[0].partition_responses[0].error_code, 0);
        }
    }

    /// The first bytes of the values that are there.
    async fn turns(&mut self, topic: &str) -> Vec<u8> {
        let mut turns = Vec::new();
        for offset in 0..3 {
            let first = self.fetch(topic, offset).await;
            let first = first.into_iter().next().map(|value| value[0]);
            turns.extend(first.filter(|turn| !turns.contains(turn)));
        }
        turns
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_is_cleaned_by_the_policy_of_its_hook_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let running = start_with(folder.path(), CLEANER, Arc::new(Policies)).await;
    let mut client = Client::connect(running.ready.listeners[0].address).await;
    for topic in ["oldest", "moody", "plain"] {
        client.create_compacted(topic).await;
        client.fill(topic).await;
    }
    let admin = running.ready.admin.unwrap();
    let count = |metrics: &str, name: &str, topic: &str| -> Option<f64> {
        let start = format!("brooklet_compaction_{name}{{topic=\"{topic}\"}} ");
        metrics.lines().find_map(|line| line.strip_prefix(&start)?.trim().parse().ok())
    };
    let cleaned = async {
        loop {
            let metrics = get(admin, "metrics").await;
            let ran = |topic| count(&metrics, "removed_records_total", topic) == Some(1.0);
            let failed = count(&metrics, "failures_total", "moody").is_some();
            if ran("oldest") && ran("plain") && failed {
                return metrics;
            }
        }
    };
    let metrics = tokio::time::timeout(CLEANED_MAX, cleaned).await.unwrap();
    // The third record is in the active segment, which is nobody's to judge.
    assert_eq!(client.turns("oldest").await, *b"02");
    assert_eq!(client.turns("plain").await, *b"12");
    assert_eq!(client.turns("moody").await, *b"012");
    for topic in ["oldest", "plain"] {
        let bytes = |name| count(&metrics, name, topic).unwrap();
        let gone = bytes("in_bytes_total") - bytes("out_bytes_total");
        assert!(gone > SEGMENT_BYTES as f64 / 2.0 && gone < SEGMENT_BYTES as f64, "{metrics}");
        assert!(bytes("runs_total") >= 1.0, "{metrics}");
        let now = brooklet_io::Clock::start().timestamp().0 / 1000;
        let last = count(&metrics, "last_run_timestamp_seconds", topic).unwrap();
        assert!((now as f64 - last).abs() < 100.0, "{metrics}");
    }
    assert_eq!(count(&metrics, "runs_total", "moody"), None);
    running.stop().await;
}
