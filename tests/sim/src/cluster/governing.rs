//! What brokers ask the controller, what it answers, and what it does by itself.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use brooklet_log::disk::memory::MemoryDisk;
use brooklet_meta::broker::{BrokerEpoch, DirectoryId, Endpoint, Incarnation};
use brooklet_meta::controller::{Controller, ControllerSettings, Duty};
use brooklet_meta::decide::alter_partition::AlterPartition;
use brooklet_meta::decide::broker::{RegisterBroker, register_broker};
use brooklet_meta::decide::heartbeat::{Heartbeat, HeartbeatReply, heartbeat};
use brooklet_meta::decide::producer_id::allot_producer_ids;
use brooklet_meta::lifecycle::{self, Lifecycle, Standing};
use brooklet_meta::record::{FEATURE, LEVELS};
use brooklet_meta::{Cluster, Decision, Partition};
use brooklet_shard::input::{
    AlterAnswer, CopyAnswer, CopyFound, Input, ReplicaFetch, ReplicaFetchPartition, Request,
};
use brooklet_shard::output::{Alter, CopyFetch, Fetched, Reply};
use brooklet_shard::{Altered, shard_of};
use brooklet_types::{BrokerId, ByteSize, ErrorCode, TopicPartition};

use crate::cluster::bug::Bug;
use crate::cluster::decisions::{
    Decided, altered, carried, carried_out, created, decided, members, not_controller, outcome,
    refused, set, taken,
};
use crate::cluster::network::{Answer, Asker, CallId, Question};
use crate::cluster::node::{Place, Running};
use crate::cluster::world::{Event, World};

/// How long a follower's fetch waits for records: Kafka's `replica.fetch.wait.max.ms`.
const COPY_WAIT: Duration = Duration::from_millis(500);

impl World {
    /// A broker of a cluster that has begun takes its place in it.
    pub(crate) fn begin_lifecycle(&mut self, at: Place) {
        if !self.has_begun {
            return;
        }
        let now = self.schedule.now();
        let node = self.node(at.broker);
        let mut incarnation = [u8::try_from(at.broker.0).expect("few"); 16];
        incarnation[8..].copy_from_slice(&at.run.to_be_bytes());
        let endpoint = Endpoint {
            name: "PLAINTEXT".to_owned(),
            host: format!("host{}", at.broker),
            port: 9092,
            protocol: 0,
        };
        let me = RegisterBroker {
            broker: at.broker,
            incarnation: Incarnation(incarnation),
            directory: DirectoryId(node.directory),
            endpoints: vec![endpoint],
            rack: None,
            features: BTreeMap::from([(FEATURE.to_owned(), LEVELS)]),
            clean: node.clean,
        };
        node.clean = false;
        if let Some(running) = self.running(at) {
            running.lifecycle = Some(Lifecycle::new(me, now));
        }
    }

    /// Whom a broker takes for the controller; anybody, where it knows of none.
    pub(crate) fn controller_of(&mut self, at: Place) -> BrokerId {
        let anybody = BrokerId(
            1 + i32::try_from(self.prng.below(u64::try_from(self.plan.nodes).expect("few")))
                .expect("few"),
        );
        let known = self.running(at).and_then(|running| running.quorum.as_ref()?.leader);
        known.unwrap_or(anybody)
    }

    /// Looks at how the quorum is, from here, and does what follows.
    pub(crate) fn look_at_quorum(&mut self, at: Place) -> Result<(), String> {
        let now = self.schedule.now();
        let Some(Reply::Quorum(quorum)) = self.look_now(at, 0, Request::DescribeQuorum) else {
            return Ok(());
        };
        let is_ours = quorum.leader == Some(at.broker);
        if is_ours {
            self.oracles.terms.leads(quorum.term, at)?;
        }
        let Some(running) = self.running(at) else { return Ok(()) };
        let before = running.quorum.as_ref().and_then(|quorum| quorum.leader);
        if before != quorum.leader
            && let Some(lifecycle) = &mut running.lifecycle
        {
            lifecycle.controller_changed(now);
        }
        let term = running.controller.as_ref().map(|(term, _)| *term);
        if !is_ours {
            running.controller = None;
        } else if term != Some(quorum.term) {
            let controller = Controller::new(&running.decided, now, SETTINGS);
            running.controller = Some((quorum.term, controller));
        }
        let (leader, term) = (quorum.leader, quorum.term);
        let is_new = before != leader;
        running.quorum = Some(quorum);
        if is_new {
            self.note(format_args!("{} sees {leader:?} lead in {term:?}", at.broker));
        }
        self.govern(at)
    }

    /// What a broker asks the controller, and what it does as one.
    pub(crate) fn govern(&mut self, at: Place) -> Result<(), String> {
        let now = self.schedule.now();
        let controller = self.controller_of(at);
        let Some(running) = self.running(at) else { return Ok(()) };
        let mut asks = None;
        if let Some(lifecycle) = &mut running.lifecycle {
            asks = lifecycle.next(now, &running.applied);
        }
        match asks {
            Some(lifecycle::Question::Register(wanted)) => {
                self.ask(Asker::Register(at), controller, Question::Register(wanted));
            }
            Some(lifecycle::Question::Heartbeat(heartbeat)) => {
                self.ask(Asker::Heartbeat(at), controller, Question::Heartbeat(heartbeat));
            }
            None => {}
        }
        while let Some(duty) = self.duty(at) {
            self.note(format_args!("{} is to {duty:?}", at.broker));
            self.ask_shard(at, 0, None, carried_out(duty));
        }
        self.look_in_time(at);
        self.gone(at)
    }

    fn duty(&mut self, at: Place) -> Option<Duty> {
        let now = self.schedule.now();
        let running = self.running(at)?;
        let members = running.quorum.as_ref().map(members).unwrap_or_default();
        let (_, controller) = running.controller.as_mut()?;
        controller.due(now, &running.decided, &members)
    }

    fn look_in_time(&mut self, at: Place) {
        let now = self.schedule.now();
        let Some(running) = self.running(at) else { return };
        let lifecycle = running.lifecycle.as_ref().and_then(Lifecycle::next_deadline);
        let controller = running.controller.as_ref();
        let controller = controller.and_then(|(_, it)| it.next_deadline(&running.decided));
        let Some(due) = lifecycle.into_iter().chain(controller).min() else { return };
        let is_armed = running.looks.is_some_and(|looks| looks > now && looks <= due);
        if !is_armed {
            running.looks = Some(due);
            self.schedule.at(due.max(now + Duration::from_micros(1)), Event::Look { at });
        }
    }

    /// Ends a broker that may stop, or that is not wanted.
    fn gone(&mut self, at: Place) -> Result<(), String> {
        let Some(running) = self.running(at) else { return Ok(()) };
        let Some(lifecycle) = &running.lifecycle else { return Ok(()) };
        match lifecycle.standing() {
            Standing::Gone => self.stopped(at),
            Standing::Refused(why) => Err(format!("{} is refused: {why}", at.broker)),
            Standing::Registering { .. }
            | Standing::CatchingUp
            | Standing::Active
            | Standing::Fenced
            | Standing::Leaving => Ok(()),
        }
    }

    pub(crate) fn image_changed(&mut self, at: Place, cluster: &Arc<Cluster>) {
        let now = self.schedule.now();
        if let Some(Running { lifecycle: Some(lifecycle), .. }) = self.running(at) {
            lifecycle.image_changed(now, cluster);
        }
    }

    /// A broker is asked something.
    pub(crate) fn asked(&mut self, id: CallId, to: BrokerId, question: Question) {
        let Some(node) = self.nodes.get(&to).filter(|node| node.running.is_some()) else {
            return self.answer(id, Answer::Lost);
        };
        let at = node.place();
        match question {
            Question::Copy(from, epoch, wanted) => self.copy(at, id, (from, epoch), wanted),
            Question::Ask(partition, request) => {
                let shards = self.running(at).expect("it runs").shards();
                let request = self.spoiled(request);
                if let Some(call) = self.network.get(id) {
                    call.about = Some(partition);
                }
                self.ask_shard(at, shard_of(partition, shards), Some(id), request);
            }
            Question::Register(wanted) => self.register(at, id, wanted),
            Question::Heartbeat(heard) => self.heartbeat(at, id, heard),
            Question::Alter(from, epoch, wanted) => {
                let decide = move |cluster: &Cluster| altered(cluster, from, epoch, &wanted);
                self.ask_shard(at, 0, Some(id), decided(decide));
            }
            Question::Change(change) => {
                self.ask_shard(at, 0, Some(id), Request::ChangeMembers(change));
            }
            Question::Create(topic) => {
                let decide = move |cluster: &Cluster| created(cluster, topic);
                self.ask_shard(at, 0, Some(id), decided(decide));
            }
            Question::Set(value) => {
                let decide = move |cluster: &Cluster| set(cluster, value);
                self.ask_shard(at, 0, Some(id), decided(decide));
            }
            Question::ProducerIds => {
                let decide = |cluster: &Cluster| {
                    let Decision { records, reply } = allot_producer_ids(cluster).expect("few");
                    Decision { records, reply: Ok::<_, ErrorCode>(reply) }
                };
                self.ask_shard(at, 0, Some(id), decided(decide));
            }
        }
    }

    fn register(&mut self, at: Place, id: CallId, wanted: RegisterBroker) {
        let now = self.schedule.now();
        let running = self.running(at).expect("it runs");
        let Some((_, controller)) = &running.controller else {
            return self.answer(id, not_controller());
        };
        let is_live = controller.is_live(now, wanted.broker);
        let decide = move |cluster: &Cluster| match register_broker(cluster, is_live, &wanted) {
            Ok(Decision { records, reply }) => Decision { records, reply: Ok(reply) },
            Err(error) => refused::<BrokerEpoch>(error.code()),
        };
        self.ask_shard(at, 0, Some(id), decided(decide));
    }

    fn heartbeat(&mut self, at: Place, id: CallId, heard: Heartbeat) {
        let now = self.schedule.now();
        let running = self.running(at).expect("it runs");
        let Some((_, controller)) = &mut running.controller else {
            return self.answer(id, not_controller());
        };
        controller.heard(now, &heard);
        let others_know = controller.others_know(&running.decided, heard.broker);
        let decide = move |cluster: &Cluster| match heartbeat(cluster, others_know, &heard) {
            Ok(Decision { records, reply }) => Decision { records, reply: Ok(reply) },
            Err(error) => refused::<HeartbeatReply>(error.code()),
        };
        self.ask_shard(at, 0, Some(id), decided(decide));
    }

    /// A follower fetches: from each of the leader's shards what is there.
    fn copy(
        &mut self,
        at: Place,
        id: CallId,
        (from, epoch): (BrokerId, BrokerEpoch),
        wanted: Vec<CopyFetch>,
    ) {
        if self.bug == Bug::GrowTooEarly {
            self.grow_too_early(at, from, &wanted);
        }
        let shards = self.running(at).expect("it runs").shards();
        let Some(call) = self.network.take(id) else { return };
        let Asker::Copy(asks, _) = call.asker else { return };
        let mut by_shard: BTreeMap<u32, Vec<CopyFetch>> = BTreeMap::new();
        for one in wanted {
            by_shard.entry(shard_of(one.partition, shards)).or_default().push(one);
        }
        for (shard, wanted) in by_shard {
            let partitions = (0..).zip(&wanted).map(|(slot, one)| ReplicaFetchPartition {
                slot,
                partition: one.partition,
                offset: one.offset,
                max: ByteSize::kib(64),
                leader_epoch: one.leader_epoch,
                last_epoch: one.last_epoch,
                high_watermark: Some(one.high_watermark),
            });
            let fetch = ReplicaFetch {
                broker: from,
                epoch,
                partitions: partitions.collect(),
                min: ByteSize(1),
                max: ByteSize::kib(256),
                wait_max: COPY_WAIT,
            };
            let id = self.split(Asker::Copy(asks, wanted), at.broker);
            self.ask_shard(at, shard, Some(id), Request::Replicate(fetch));
        }
    }

    /// A shard has answered.
    pub(crate) fn replied(
        &mut self,
        at: Place,
        id: CallId,
        reply: Reply<MemoryDisk>,
    ) -> Result<(), String> {
        let Some(call) = self.network.get(id) else { return Ok(()) };
        let about = call.about;
        let answer = match (&call.asker, reply) {
            (Asker::Copy(_, wanted), Reply::Fetched(found)) => {
                let carried = |(slot, fetched): (u32, Fetched<MemoryDisk>)| {
                    let one = &wanted[usize::try_from(slot).expect("few")];
                    let (partition, fetch) = (one.partition, one.fetch);
                    CopyAnswer { partition, fetch, found: carried(fetched) }
                };
                Answer::Found(found.into_iter().map(carried).collect())
            }
            (_, reply) => {
                if let (Some(partition), Reply::Produced(_)) = (about, &reply) {
                    self.see_leader(at, partition)?;
                }
                Answer::Reply(Box::new(reply))
            }
        };
        self.answer(id, answer);
        Ok(())
    }

    /// An answer has arrived, or will not.
    pub(crate) fn answered(&mut self, id: CallId, answer: Answer) -> Result<(), String> {
        let Some(call) = self.network.take(id) else { return Ok(()) };
        let now = self.schedule.now();
        match call.asker {
            Asker::Client { client, number } => self.client_answered(client, number, answer),
            Asker::Register(at) => {
                let answer = taken::<BrokerEpoch>(answer)?;
                if let lifecycle::Answer::Ok(epoch) = answer {
                    self.note(format_args!("{} is registered: {epoch}", at.broker));
                    self.registered(at, epoch);
                }
                if let Some(Running { lifecycle: Some(lifecycle), .. }) = self.running(at) {
                    lifecycle.registered(now, answer);
                }
                self.govern(at)
            }
            Asker::Heartbeat(at) => {
                let answer = taken::<HeartbeatReply>(answer)?;
                let Some(Running { lifecycle: Some(lifecycle), .. }) = self.running(at) else {
                    return Ok(());
                };
                let before = lifecycle.standing();
                lifecycle.heartbeat_answered(now, answer);
                let standing = lifecycle.standing();
                if before != standing {
                    self.note(format_args!("{} is {standing:?}", at.broker));
                }
                self.govern(at)
            }
            Asker::Alter(at, wanted) => self.tell_altered(at, wanted, answer),
            Asker::Copy(at, wanted) => {
                self.tell_copied(at, &wanted, answer);
                Ok(())
            }
        }
    }

    fn registered(&mut self, at: Place, epoch: BrokerEpoch) {
        let shards = self.running(at).map_or(0, |running| running.shards());
        for shard in 0..shards {
            self.tell(at, shard, Input::Registered { epoch });
        }
    }

    fn tell_altered(
        &mut self,
        at: Place,
        wanted: Vec<Alter>,
        answer: Answer,
    ) -> Result<(), String> {
        let Some(shards) = self.running(at).map(|running| running.shards()) else {
            return Ok(());
        };
        let outcomes: Vec<Altered> = match taken::<Vec<Decided<Partition>>>(answer)? {
            lifecycle::Answer::Lost => wanted.iter().map(|_| Altered::Lost).collect(),
            lifecycle::Answer::Refused(code) => {
                wanted.iter().map(|_| Altered::Refused(code)).collect()
            }
            lifecycle::Answer::Ok(outcomes) => outcomes.into_iter().map(outcome).collect(),
        };
        let mut by_shard: BTreeMap<u32, Vec<AlterAnswer>> = BTreeMap::new();
        for (Alter { change, wanted }, outcome) in wanted.into_iter().zip(outcomes) {
            let (topic, partition) = (wanted.topic, wanted.partition);
            let partition = TopicPartition { topic, partition };
            let leader_epoch = wanted.leader_epoch;
            by_shard.entry(shard_of(partition, shards)).or_default().push(AlterAnswer {
                partition,
                leader_epoch,
                change,
                outcome,
            });
        }
        for (shard, answers) in by_shard {
            self.tell(at, shard, Input::Altered(answers));
        }
        Ok(())
    }

    fn tell_copied(&mut self, at: Place, wanted: &[CopyFetch], answer: Answer) {
        let entropy = self.prng.below(u64::MAX);
        let Some(shards) = self.running(at).map(|running| running.shards()) else { return };
        let answers: Vec<CopyAnswer> = match answer {
            Answer::Found(found) => found,
            Answer::Reply(_) | Answer::Lost => wanted
                .iter()
                .map(|one| CopyAnswer {
                    partition: one.partition,
                    fetch: one.fetch,
                    found: CopyFound::Lost,
                })
                .collect(),
        };
        // All of one question are of one shard's partitions.
        let Some(first) = wanted.first() else { return };
        let shard = shard_of(first.partition, shards);
        self.tell(at, shard, Input::FetchedFrom { answers, entropy });
    }

    /// Puts a follower into the in-sync set that has only asked for something.
    fn grow_too_early(&mut self, at: Place, follower: BrokerId, wanted: &[CopyFetch]) {
        let Some(running) = self.running(at) else { return };
        let image = Arc::clone(&running.applied);
        let Some(epoch) = image.registration(at.broker).map(|known| known.epoch) else { return };
        let mut asked = Vec::new();
        for one in wanted {
            let Some(known) = image.partition(one.partition) else { continue };
            if known.leader != Some(at.broker) || known.in_sync.contains(&follower) {
                continue;
            }
            let members = known.in_sync.iter().copied().chain([follower]);
            asked.push(AlterPartition {
                topic: one.partition.topic,
                partition: one.partition.partition,
                leader_epoch: known.leader_epoch,
                epoch: known.epoch,
                in_sync: members.map(|id| (id, None)).collect(),
                recovery: known.recovery,
            });
        }
        if !asked.is_empty() {
            let controller = self.controller_of(at);
            let question = Question::Alter(at.broker, epoch, asked);
            self.ask(Asker::Alter(at, Vec::new()), controller, question);
        }
    }
}

const SETTINGS: ControllerSettings = ControllerSettings {
    session: brooklet_meta::liveness::SESSION,
    balance: Some(Duration::from_secs(20)),
};
