//! A broker's own standing in its cluster: registered, heard of, and out of the way before it stops (KIP-631).
//!
//! **Where it sits.** In every broker, beside its shards. Whoever runs it brings its questions to the controller and
//! tells it the answers. The other side is [`crate::decide::broker`] and [`crate::decide::heartbeat`].
//!
//! **What it decides.** What is asked when, and what an answer makes of us. At most one question is under way.
//!
//! **What it never does.** Wait: a question has a deadline of whoever brings it, and ends as [`Answer::Lost`]. End
//! a controlled shutdown that takes too long, for the same reason. Find the controller.
//!
//! **Invariants.** There is an epoch only while the controller counted that registration as ours when last heard of.
//! What is final stays so: [`Standing::Gone`] and [`Standing::Refused`] ask for nothing.

use std::time::Duration;

use brooklet_types::{ErrorCode, Instant};

use crate::broker::{BrokerEpoch, Incarnation};
use crate::cluster::Cluster;
use crate::decide::broker::RegisterBroker;
use crate::decide::heartbeat::{Heartbeat, HeartbeatReply};
use crate::liveness::HEARTBEAT;

/// How often we ask while we wait for something: to be let in, or to be let go. A start and a shutdown take a few
/// of these.
pub const SOON: Duration = Duration::from_millis(100);

/// How long at most until something that was not answered, or was refused, is asked again.
pub const AGAIN_MAX: Duration = HEARTBEAT;

/// Something to ask the controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// Whether we may take part. [`Lifecycle::registered`] takes the answer.
    Register(RegisterBroker),
    /// What we may do. [`Lifecycle::heartbeat_answered`] takes the answer.
    Heartbeat(Heartbeat),
}

/// What came of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer<T> {
    /// This.
    Ok(T),
    /// The controller, or whoever was taken for it, said no.
    Refused(ErrorCode),
    /// There is none: nobody to ask, or the question or its answer was lost.
    Lost,
}

/// What we are to the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// We have no registration, since then; and why the last try was refused.
    Registering { since: Instant, last_refusal: Option<ErrorCode> },
    /// Registered, and we do not know yet what our registration made of the cluster.
    CatchingUp,
    /// We may lead, and be in sync.
    Active,
    /// We know what there is, and may lead nothing.
    Fenced,
    /// We are being moved out of the way.
    Leaving,
    /// Nobody counts on us: we may stop.
    Gone,
    /// We may not take part, and asking again would not help.
    Refused(Refusal),
}

/// Why a broker may not take part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The controller does not want us as we are.
    #[error("the controller refuses this broker: {}", .0.message())]
    Unwanted(ErrorCode),
    /// Two brokers have our number. The other one came later, and the cluster has it.
    #[error(
        "another broker has registered with this broker's number: its epoch is {theirs}, and this one's was {ours}"
    )]
    Replaced { ours: BrokerEpoch, theirs: BrokerEpoch, who: Incarnation },
}

/// One run of a broker, as it stands in its cluster.
#[derive(Clone, Debug)]
pub struct Lifecycle {
    me: RegisterBroker,
    standing: Standing,
    epoch: Option<BrokerEpoch>,
    /// The last registration that was ours, whether it still counts or not.
    last_epoch: Option<BrokerEpoch>,
    under_way: Option<Kind>,
    /// When the next question is due.
    due: Instant,
    /// Whether the next question is due whenever it may be asked.
    at_once: bool,
    /// How many questions in a row came to nothing.
    failures: u32,
    /// When the last question was asked, and which version had been followed then.
    asked: Option<(Instant, u64)>,
    seen: Seen,
    is_stopping: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Register,
    Heartbeat,
}

/// What the newest image says of our number.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    version: u64,
    /// Who has it, by which registration, and whether that is fenced.
    known: Option<(Incarnation, BrokerEpoch, bool)>,
}

impl Lifecycle {
    /// A broker that has just started and registers as `me`.
    pub fn new(me: RegisterBroker, now: Instant) -> Lifecycle {
        Lifecycle {
            me,
            standing: Standing::Registering { since: now, last_refusal: None },
            epoch: None,
            last_epoch: None,
            under_way: None,
            due: now,
            at_once: false,
            failures: 0,
            asked: None,
            seen: Seen::default(),
            is_stopping: false,
        }
    }

    /// What to ask the controller, if anything: to be called whenever something happened, and at the deadline.
    /// `followed` is the newest image that every shard of this broker has followed.
    pub fn next(&mut self, now: Instant, followed: &Cluster) -> Option<Question> {
        if self.under_way.is_some() || self.is_over() {
            return None;
        }
        if self.somebody_waits_for_us(followed) {
            let last = self.asked.map_or(now, |(last, _)| last);
            self.due = self.due.min(last + SOON);
        }
        if !std::mem::take(&mut self.at_once) && now < self.due {
            return None;
        }
        let version = followed.version();
        self.asked = Some((now, version));
        let Some(epoch) = self.epoch else {
            self.under_way = Some(Kind::Register);
            return Some(Question::Register(self.me.clone()));
        };
        self.under_way = Some(Kind::Heartbeat);
        Some(Question::Heartbeat(Heartbeat {
            broker: self.me.broker,
            epoch,
            metadata_version: version,
            wants_fence: false,
            wants_shutdown: self.is_stopping,
        }))
    }

    /// What came of [`Question::Register`].
    pub fn registered(&mut self, now: Instant, answer: Answer<BrokerEpoch>) {
        assert_eq!(self.under_way.take(), Some(Kind::Register), "an answer has its question");
        if self.is_over() {
            return;
        }
        match answer {
            Answer::Ok(epoch) => {
                (self.epoch, self.last_epoch) = (Some(epoch), Some(epoch));
                self.standing = Standing::CatchingUp;
                self.failures = 0;
                self.due = now;
                self.look(now);
            }
            Answer::Refused(
                code @ (ErrorCode::InconsistentClusterId
                | ErrorCode::UnsupportedVersion
                | ErrorCode::InvalidRegistration),
            ) => self.end(Standing::Refused(Refusal::Unwanted(code))),
            Answer::Refused(code) => {
                if let Standing::Registering { last_refusal, .. } = &mut self.standing {
                    *last_refusal = Some(code);
                }
                self.ask_later(now);
            }
            Answer::Lost => self.ask_later(now),
        }
    }

    /// What came of [`Question::Heartbeat`].
    pub fn heartbeat_answered(&mut self, now: Instant, answer: Answer<HeartbeatReply>) {
        assert_eq!(self.under_way.take(), Some(Kind::Heartbeat), "an answer has its question");
        if self.is_over() {
            return;
        }
        match answer {
            // It is not ours any more.
            Answer::Ok(_) if self.epoch.is_none() => {}
            Answer::Ok(reply) => self.told(now, reply),
            Answer::Refused(ErrorCode::StaleBrokerEpoch) if self.is_stopping => {
                // There is no registration of ours to be moved out of the way.
                self.end(Standing::Gone);
            }
            // What has become of a stale registration the image will show, and then we know what to do.
            Answer::Refused(_) | Answer::Lost => self.ask_later(now),
        }
    }

    /// Another broker is the controller, or one has been found: it is asked at once. A question to the one before
    /// should end as [`Answer::Lost`], since nothing else is asked until it ends.
    pub fn controller_changed(&mut self, now: Instant) {
        self.at_once = true;
        self.due = self.due.min(now);
    }

    /// The cluster is another: `image` is the newest, whether the shards have followed it or not.
    pub fn image_changed(&mut self, now: Instant, image: &Cluster) {
        let known = image.registration(self.me.broker);
        let known = known.map(|known| (known.incarnation, known.epoch, known.fenced));
        self.seen = Seen { version: image.version(), known };
        self.look(now);
    }

    /// We want to stop, and ask to be moved out of the way first. Whoever calls this waits for
    /// [`Standing::Gone`], and not for ever.
    pub fn stop(&mut self, now: Instant) {
        if self.is_stopping || self.is_over() {
            return;
        }
        self.is_stopping = true;
        if self.epoch.is_none() {
            // If it becomes registered all the same it is fenced, and stays so.
            return self.end(Standing::Gone);
        }
        self.standing = Standing::Leaving;
        self.at_once = true;
        self.due = now;
    }

    /// Which registration of this broker is meant by what it asks for.
    pub fn epoch(&self) -> Option<BrokerEpoch> {
        self.epoch
    }

    /// What we are to the cluster, as far as we know.
    pub fn standing(&self) -> Standing {
        self.standing
    }

    /// When [`Lifecycle::next`] has something to ask, if nothing happens before.
    pub fn next_deadline(&self) -> Option<Instant> {
        (self.under_way.is_none() && !self.is_over()).then_some(self.due)
    }

    fn told(&mut self, now: Instant, reply: HeartbeatReply) {
        self.failures = 0;
        if self.is_stopping {
            self.standing = if reply.should_stop { Standing::Gone } else { Standing::Leaving };
        } else if !reply.is_fenced {
            self.standing = Standing::Active;
        } else if reply.is_caught_up {
            self.standing = Standing::Fenced;
        } else {
            self.standing = Standing::CatchingUp;
        }
        let waits = self.standing != Standing::Active;
        self.due = now + if waits { SOON } else { HEARTBEAT };
    }

    /// Looks at what the newest image says of our number.
    fn look(&mut self, now: Instant) {
        let Some(ours) = self.last_epoch.filter(|_| !self.is_over()) else { return };
        let Seen { version, known } = self.seen;
        let is_mine = |who: Incarnation| who == self.me.incarnation;
        match known {
            Some((who, theirs, _)) if !is_mine(who) && theirs > ours => {
                self.end(Standing::Refused(Refusal::Replaced { ours, theirs, who }));
            }
            Some((_, epoch, true)) if self.epoch == Some(epoch) => {
                // It may be an image of before we were active; the controller knows.
                let last = self.asked.map_or(now, |(last, _)| last);
                if self.standing == Standing::Active {
                    self.due = self.due.min(last + SOON);
                }
            }
            // A late copy of our question was answered after we had been taken out: asking once more tells.
            Some((who, epoch, _)) if is_mine(who) && epoch > ours => self.register_anew(now),
            // Taken out of the cluster, and still there.
            None if version >= ours.0 => self.register_anew(now),
            Some(_) | None => {}
        }
    }

    fn register_anew(&mut self, now: Instant) {
        if self.is_stopping {
            self.end(Standing::Gone);
        } else if self.epoch.take().is_some() {
            self.standing = Standing::Registering { since: now, last_refusal: None };
            self.at_once = true;
            self.due = now;
        }
    }

    /// Whether somebody who is leaving waits for us to say that we know it, and we have not.
    fn somebody_waits_for_us(&self, followed: &Cluster) -> bool {
        // Only who is active is waited for.
        let is_told = self.asked.is_some_and(|(_, version)| version >= followed.version());
        let is_told = is_told || self.standing != Standing::Active;
        let mut registered = followed.brokers().filter_map(|broker| broker.registration.as_ref());
        !is_told && registered.any(|known| known.shutting_down && !known.fenced)
    }

    fn ask_later(&mut self, now: Instant) {
        let doublings = self.failures.min(AGAIN_DOUBLINGS);
        self.failures = self.failures.saturating_add(1);
        self.due = now + (SOON * (1 << doublings)).min(AGAIN_MAX);
    }

    fn end(&mut self, standing: Standing) {
        self.standing = if self.is_stopping { Standing::Gone } else { standing };
        self.epoch = None;
    }

    fn is_over(&self) -> bool {
        matches!(self.standing, Standing::Gone | Standing::Refused(_))
    }
}

/// More than it takes from [`SOON`] to [`AGAIN_MAX`].
const AGAIN_DOUBLINGS: u32 = 5;

#[cfg(test)]
mod tests;
