//! The operator: makes brokers members of the quorum, creates topics, and changes a setting again and again.

use brooklet_meta::Cluster;
use brooklet_meta::decide::topic::NewTopic;
use brooklet_shard::output::Reply;
use brooklet_shard::{Change, ChangeError, DirectoryId, GROUPS_TOPIC, Member};
use brooklet_types::{BrokerId, TopicId};

use crate::cluster::client::{Client, Context};
use crate::cluster::decisions::taken;
use crate::cluster::network::{Answer, Question};
use crate::cluster::plan::{FIRST, Plan};

/// What is to be done, until it is.
#[derive(Debug)]
pub(crate) struct Operator {
    joining: Vec<BrokerId>,
    topics: Vec<NewTopic>,
    asking: Option<Asking>,
    next_number: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asking {
    Join(u64),
    Create(u64),
    Set(u64),
}

impl Operator {
    pub(crate) fn new(plan: &Plan) -> Operator {
        let names = (0..plan.topics).map(|number| format!("data{number}"));
        let topic = |(id, name): (u8, String)| NewTopic {
            id: TopicId([id; 16]),
            name,
            partitions: plan.partitions,
            replication_factor: plan.replication,
            assignments: Vec::new(),
            settings: vec![("min.insync.replicas".to_owned(), Some(plan.min_in_sync.to_string()))],
            refused: None,
        };
        Operator {
            joining: plan.brokers().filter(|id| *id != FIRST).collect(),
            topics: (10..).zip(names.chain([GROUPS_TOPIC.to_owned()])).map(topic).collect(),
            asking: None,
            next_number: 0,
        }
    }

    fn joined(&mut self, answer: Answer) -> Result<(), String> {
        let Answer::Reply(reply) = answer else { return Ok(()) };
        let Reply::Metadata { reply: Ok(done), .. } = *reply else { return Ok(()) };
        let done = done.downcast::<Result<(), ChangeError>>();
        match *done.map_err(|_| "a change of another kind".to_owned())? {
            Ok(()) | Err(ChangeError::Already { .. }) => {
                self.joining.remove(0);
            }
            Err(_) => {}
        }
        Ok(())
    }
}

impl Client for Operator {
    fn name(&self) -> String {
        "operator".to_owned()
    }

    fn wake(&mut self, ctx: &mut Context<'_>) {
        ctx.wake_within(300);
        if self.asking.is_some() {
            return;
        }
        self.next_number += 1;
        let (number, to) = (self.next_number, ctx.anybody());
        if let Some(broker) = self.joining.first().copied() {
            let directory = DirectoryId([u8::try_from(broker.0).expect("few"); 16]);
            self.asking = Some(Asking::Join(number));
            let change = Change::AddObserver(Member { broker, directory });
            ctx.ask(number, to, Question::Change(change));
            return;
        }
        let active = ctx.view.brokers().filter(|broker| ctx.view.is_active(broker.id)).count();
        let Some(topic) = self.topics.first().cloned() else {
            if !ctx.calm {
                self.asking = Some(Asking::Set(number));
                ctx.ask(number, to, Question::Set(number));
            }
            return;
        };
        if active >= usize::try_from(topic.replication_factor).expect("few") {
            self.asking = Some(Asking::Create(number));
            ctx.ask(number, to, Question::Create(topic));
        }
    }

    fn answered(
        &mut self,
        ctx: &mut Context<'_>,
        number: u64,
        answer: Answer,
    ) -> Result<(), String> {
        let asking = self.asking.take();
        if asking == Some(Asking::Join(number)) {
            return self.joined(answer);
        }
        // Whatever it was, it is there or it is not.
        let is_there = |topic: &NewTopic| ctx.view.topic(&topic.name).is_some();
        taken::<()>(answer)?;
        self.topics.retain(|topic| !is_there(topic));
        Ok(())
    }

    fn settled(&self, view: &Cluster) -> Result<(), String> {
        let missing = self.topics.iter().find(|topic| view.topic(&topic.name).is_none());
        match missing {
            Some(topic) => Err(format!("{} is not there", topic.name)),
            None if self.joining.is_empty() => Ok(()),
            None => Err(format!("{:?} are no members", self.joining)),
        }
    }
}
