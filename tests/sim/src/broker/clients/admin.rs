//! An administrator: creates topics, one after the other.

use brooklet_meta::Cluster;
use brooklet_meta::decide::topic::{NewTopic, create_topics};
use brooklet_shard::MetadataRequest;
use brooklet_shard::input::Request;
use brooklet_types::TopicId;

use crate::broker::client::{Answer, Client, Context};
use crate::prng::Prng;

/// Topics there are at least.
const TOPICS: u64 = 3;

/// An administrator.
#[derive(Debug, Default)]
pub(crate) struct Admin {
    number: u64,
    asking: bool,
    topics: u64,
}

impl Admin {
    fn create(
        &mut self,
        ctx: &mut Context<'_>,
        name: String,
        partitions: u64,
        settings: Vec<(String, String)>,
    ) {
        let mut id = [0; 16];
        for byte in &mut id {
            *byte = u8::try_from(ctx.prng.below(256)).expect("a byte");
        }
        let id = TopicId::from_random(id);
        ctx.promises.topics.asked_for(id, &settings);
        let settings = settings.into_iter().map(|(name, value)| (name, Some(value))).collect();
        let topic = NewTopic {
            id,
            name,
            partitions: i32::try_from(partitions).expect("few"),
            replication_factor: -1,
            assignments: Vec::new(),
            settings,
        };
        let decide = move |cluster: &Cluster| create_topics(cluster, &[topic], false);
        self.ask(ctx, MetadataRequest::new(decide));
    }

    fn ask(&mut self, ctx: &mut Context<'_>, request: MetadataRequest) {
        self.number += 1;
        self.asking = true;
        ctx.ask(self.number, 0, Request::Metadata(request));
    }
}

/// Settings that make for small segments, and some that change what is promised.
fn settings_of(prng: &mut Prng) -> Vec<(String, String)> {
    let index = 4 * (1 + prng.below(12));
    let interval = prng.below(400);
    let settings = vec![
        ("segment.index.bytes".to_owned(), index.to_string()),
        ("index.interval.bytes".to_owned(), interval.to_string()),
    ];
    settings
}

impl Client for Admin {
    fn name(&self) -> String {
        "admin".to_owned()
    }

    fn wake(&mut self, ctx: &mut Context<'_>) {
        if !self.asking && self.topics < TOPICS {
            let name = format!("data{}", self.topics);
            let settings = settings_of(ctx.prng);
            let partitions = 1 + ctx.prng.below(8);
            self.create(ctx, name, partitions, settings);
        }
        ctx.wake_within(50);
    }

    fn answered(
        &mut self,
        ctx: &mut Context<'_>,
        _number: u64,
        _answer: Answer,
    ) -> Result<(), String> {
        self.asking = false;
        let topics = ctx.cluster.topics().filter(|topic| topic.name.as_str().starts_with("data"));
        self.topics = u64::try_from(topics.count()).expect("few");
        Ok(())
    }
}
