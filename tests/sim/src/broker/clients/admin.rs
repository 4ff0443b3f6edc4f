//! An administrator: creates and deletes topics, changes their settings, deletes records. One thing at a
//! time, so that it is known what holds when.

use brooklet_meta::Cluster;
use brooklet_meta::decide::setting::{AlterError, Alteration, Operation, Resource, alter_settings};
use brooklet_meta::decide::topic::{NewTopic, TopicRef, create_topics, delete_topics};
use brooklet_shard::input::Request;
use brooklet_shard::output::Reply;
use brooklet_shard::{GROUPS_TOPIC, MetadataRequest};
use brooklet_types::{ErrorCode, Offset, TopicId, TopicPartition};

use crate::broker::client::{Answer, Client, Context};
use crate::broker::promises::records::place;
use crate::prng::Prng;

/// How many topics for records there are to be.
const TOPICS: u64 = 3;

/// An administrator.
#[derive(Debug, Default)]
pub(crate) struct Admin {
    number: u64,
    asked: Option<Asked>,
    /// How often it changes something, in a hundred; else it only creates topics.
    meddles: u64,
}

/// What it has asked for.
#[derive(Clone, Debug)]
enum Asked {
    Topics,
    Setting(TopicId, String, String),
    Deletion(TopicPartition, Option<Offset>),
}

impl Admin {
    pub(crate) fn new(prng: &mut Prng) -> Admin {
        let meddles = prng.below(2) * prng.below(40);
        Admin { meddles, ..Admin::default() }
    }

    /// Creates the topic that is missing, if one is.
    fn create(&mut self, ctx: &mut Context<'_>) -> bool {
        let is_missing = |name: &String| ctx.cluster.topic(name).is_none();
        let mut names = (0..TOPICS).map(|number| format!("data{number}"));
        let Some(name) =
            names.find(is_missing).or_else(|| Some(GROUPS_TOPIC.to_owned()).filter(is_missing))
        else {
            return false;
        };
        let mut settings = small_segments(ctx.prng);
        let mut partitions = 1 + ctx.prng.below(8);
        if name == GROUPS_TOPIC {
            partitions = 1 + ctx.prng.below(3);
            settings.push(("cleanup.policy".to_owned(), "compact".to_owned()));
        } else if ctx.prng.chance(40) {
            settings.push(other_setting(ctx.prng));
        }
        let mut id = [0; 16];
        for byte in &mut id {
            *byte = u8::try_from(ctx.prng.below(256)).expect("a byte");
        }
        let id = TopicId::from_random(id);
        ctx.promises.topics.asked_for(id, &settings);
        ctx.notes.push(format!("topic {:02x}, {name}, of {partitions}: {settings:?}", id.0[0]));
        let settings = settings.into_iter().map(|(name, value)| (name, Some(value))).collect();
        let topic = NewTopic {
            id,
            name,
            partitions: i32::try_from(partitions).expect("few"),
            replication_factor: -1,
            assignments: Vec::new(),
            settings,
            refused: None,
        };
        let decide = move |cluster: &Cluster| create_topics(cluster, &[topic], false);
        self.change(ctx, Asked::Topics, MetadataRequest::new(decide));
        true
    }

    fn meddle(&mut self, ctx: &mut Context<'_>) {
        if ctx.prng.chance(5) {
            return self.delete_groups(ctx);
        }
        let all = ctx.partitions(|name| name.starts_with("data"));
        let Some(partition) = ctx.prng.pick(&all).copied() else { return };
        let here = place(partition);
        let topic = ctx.cluster.topic_by_id(partition.topic).expect("just listed").name.clone();
        match ctx.prng.below(10) {
            0..2 => {
                ctx.promises.topics.may_be_deleted(partition.topic);
                ctx.notes.push(format!("the topic of {here} is deleted"));
                let decide = move |cluster: &Cluster| {
                    delete_topics(cluster, &[TopicRef::Id(partition.topic)])
                };
                self.change(ctx, Asked::Topics, MetadataRequest::new(decide));
            }
            2..6 => {
                let offset = Some(ctx.promises.records.some_offset(ctx.prng, partition));
                let offset = offset.filter(|_| ctx.prng.chance(80));
                ctx.promises.records.delete_asked(partition, offset);
                ctx.notes.push(format!("{here} is deleted up to {offset:?}"));
                let shard = ctx.shard_of(partition);
                let request = Request::DeleteRecords(vec![(0, partition, offset)]);
                self.ask(ctx, Asked::Deletion(partition, offset), shard, request);
            }
            _ => {
                let (name, value) = other_setting(ctx.prng);
                ctx.promises.topics.may_change(partition.topic, &name, &value);
                ctx.notes.push(format!("the topic of {here} gets {name}={value}"));
                let asked = Asked::Setting(partition.topic, name.clone(), value.clone());
                let alteration = Alteration { name, operation: Operation::Set, value: Some(value) };
                let alterations = vec![(Resource::Topic(topic.to_string()), vec![alteration])];
                let decide = move |cluster: &Cluster| alter_settings(cluster, &alterations, false);
                self.change(ctx, asked, MetadataRequest::new(decide));
            }
        }
    }

    /// With their topic groups and what they have committed are gone.
    fn delete_groups(&mut self, ctx: &mut Context<'_>) {
        let Some(topic) = ctx.cluster.topic(GROUPS_TOPIC).map(|topic| topic.id) else { return };
        ctx.promises.topics.may_be_deleted(topic);
        ctx.promises.commits.may_be_forgotten();
        ctx.promises.generations.may_be_forgotten();
        ctx.notes.push("groups are deleted".to_owned());
        let decide = move |cluster: &Cluster| delete_topics(cluster, &[TopicRef::Id(topic)]);
        self.change(ctx, Asked::Topics, MetadataRequest::new(decide));
    }

    fn change(&mut self, ctx: &mut Context<'_>, asked: Asked, request: MetadataRequest) {
        self.ask(ctx, asked, 0, Request::Metadata(request));
    }

    fn ask(&mut self, ctx: &mut Context<'_>, asked: Asked, shard: u32, request: Request) {
        self.number += 1;
        self.asked = Some(asked);
        ctx.ask(self.number, shard, request);
    }
}

/// Settings that make for small segments.
fn small_segments(prng: &mut Prng) -> Vec<(String, String)> {
    let index = 4 * (1 + prng.below(12));
    let interval = prng.below(400);
    vec![
        ("segment.index.bytes".to_owned(), index.to_string()),
        ("index.interval.bytes".to_owned(), interval.to_string()),
    ]
}

/// A setting that changes what is promised, or how it is kept.
fn other_setting(prng: &mut Prng) -> (String, String) {
    let table = [
        ("brooklet.flush", "os"),
        ("brooklet.flush", "sync"),
        ("brooklet.flush", "sync"),
        ("cleanup.policy", "compact"),
        ("cleanup.policy", "delete"),
        ("cleanup.policy", "compact,delete"),
        ("retention.bytes", "3000"),
        ("retention.ms", "400"),
        ("min.cleanable.dirty.ratio", "0.0"),
        ("delete.retention.ms", "10"),
        ("segment.index.bytes", "8"),
        ("max.message.bytes", "100000"),
    ];
    let (name, value) = *prng.pick(&table).expect("a table with lines");
    (name.to_owned(), value.to_owned())
}

impl Client for Admin {
    fn name(&self) -> String {
        "admin".to_owned()
    }

    fn wake(&mut self, ctx: &mut Context<'_>) {
        ctx.wake_within(60);
        if self.asked.is_some() || self.create(ctx) {
            return;
        }
        if !ctx.calm && ctx.prng.chance(self.meddles) {
            self.meddle(ctx);
        }
    }

    fn answered(
        &mut self,
        ctx: &mut Context<'_>,
        _number: u64,
        answer: Answer,
    ) -> Result<(), String> {
        let asked = self.asked.take().ok_or("an answer to no question")?;
        match (asked, answer) {
            (Asked::Setting(id, name, value), Answer::Gone) => {
                if name == "brooklet.flush" && value == "os" {
                    ctx.promises.topics.may_be_os_any_time(id);
                }
                Ok(())
            }
            (_, Answer::Gone) => Ok(()),
            (Asked::Topics, Answer::Reply(Reply::Metadata { .. })) => Ok(()),
            (Asked::Setting(id, name, value), Answer::Reply(Reply::Metadata { reply, .. })) => {
                let Ok(reply) = reply else { return Ok(()) };
                let results = reply.downcast::<Vec<Result<(), AlterError>>>();
                let results = results.map_err(|_| "not an alteration's reply")?;
                if results.iter().all(Result::is_ok) && name == "brooklet.flush" && value == "sync"
                {
                    ctx.promises.topics.is_synced(id, ctx.now);
                }
                Ok(())
            }
            (Asked::Deletion(partition, offset), Answer::Reply(Reply::RecordsDeleted(results))) => {
                let refuses = ctx.promises.disk_refuses;
                let facts = ctx.promises.topics.get(partition.topic);
                match results.first().ok_or("no result")?.1 {
                    Ok(start) if offset.is_some_and(|offset| start < offset) => {
                        Err(format!("{} starts at {start} after a deletion", place(partition)))
                    }
                    Ok(start) => ctx.promises.records.starts_at(partition, start, facts),
                    Err(ErrorCode::OffsetOutOfRange | ErrorCode::KafkaStorageError) => Ok(()),
                    Err(ErrorCode::NotLeaderOrFollower) if facts.deleted || refuses => Ok(()),
                    Err(code) => Err(format!("a deletion in {}: {code:?}", place(partition))),
                }
            }
            (asked, Answer::Reply(reply)) => Err(format!("{asked:?} is answered {reply:?}")),
        }
    }
}
