//! A broker's standing as scripts: what happens when, what it asks then, and what it is.

use std::collections::BTreeMap;
use std::sync::Arc;

use brooklet_types::BrokerId;
use proptest::prelude::*;

use super::*;
use crate::broker::{DirectoryId, Registration};
use crate::cluster::{Broker, Settings};

const ME: BrokerId = BrokerId(1);
const OTHER: BrokerId = BrokerId(2);

fn me() -> RegisterBroker {
    RegisterBroker {
        broker: ME,
        incarnation: Incarnation([1; 16]),
        directory: DirectoryId([1; 16]),
        endpoints: Vec::new(),
        rack: None,
        features: BTreeMap::new(),
        clean: true,
    }
}

/// An image of that version. `mine` is how our number is registered: `ours:5`, `fenced:5` or `theirs:5`; broker 2
/// is there, and leaving if `leaves`.
fn image(version: u64, mine: &str, leaves: bool) -> Cluster {
    let mut brokers = BTreeMap::new();
    if let Some((who, epoch)) = mine.split_once(':') {
        let run = if who == "theirs" { 9 } else { 1 };
        let epoch = BrokerEpoch(epoch.parse().unwrap());
        let registration = Some(registration(epoch, run, who == "fenced", false));
        brokers.insert(ME, Broker { id: ME, settings: Settings::new(), registration });
    }
    let registration = Some(registration(BrokerEpoch(2), 2, false, leaves));
    brokers.insert(OTHER, Broker { id: OTHER, settings: Settings::new(), registration });
    Cluster { version, brokers: Arc::new(brokers), ..Cluster::default() }
}

fn registration(epoch: BrokerEpoch, run: u8, fenced: bool, shutting_down: bool) -> Registration {
    let me = me();
    Registration {
        epoch,
        incarnation: Incarnation([run; 16]),
        directory: me.directory,
        endpoints: me.endpoints,
        rack: None,
        features: me.features,
        fenced,
        shutting_down,
    }
}

fn reply(words: &[&str]) -> HeartbeatReply {
    let has = |word: &str| words.contains(&word);
    HeartbeatReply {
        is_caught_up: !has("behind"),
        is_fenced: has("fenced") || has("behind") || has("stop"),
        is_shutting_down: has("leaving"),
        should_stop: has("stop"),
    }
}

fn code(word: &str) -> ErrorCode {
    match word {
        "not-controller" => ErrorCode::NotController,
        "duplicate" => ErrorCode::DuplicateBrokerRegistration,
        "stale" => ErrorCode::StaleBrokerEpoch,
        "other-cluster" => ErrorCode::InconsistentClusterId,
        "unsupported" => ErrorCode::UnsupportedVersion,
        "invalid" => ErrorCode::InvalidRegistration,
        other => panic!("no such refusal: {other}"),
    }
}

/// A broker and the image that its shards have followed.
struct World {
    lifecycle: Lifecycle,
    followed: Cluster,
    is_beating: bool,
}

impl World {
    fn new() -> World {
        let followed = image(0, "", false);
        let lifecycle = Lifecycle::new(me(), Instant::from_millis(0));
        World { lifecycle, followed, is_beating: false }
    }

    fn happen(&mut self, now: Instant, words: &[&str]) {
        let lifecycle = &mut self.lifecycle;
        match words {
            ["-"] => {}
            ["ok", epoch] => {
                lifecycle.registered(now, Answer::Ok(BrokerEpoch(epoch.parse().unwrap())));
            }
            ["told", words @ ..] => lifecycle.heartbeat_answered(now, Answer::Ok(reply(words))),
            ["refused", word] if self.is_beating => {
                lifecycle.heartbeat_answered(now, Answer::Refused(code(word)));
            }
            ["refused", word] => lifecycle.registered(now, Answer::Refused(code(word))),
            ["lost"] if self.is_beating => lifecycle.heartbeat_answered(now, Answer::Lost),
            ["lost"] => lifecycle.registered(now, Answer::Lost),
            ["controller"] => lifecycle.controller_changed(now),
            ["stop"] => lifecycle.stop(now),
            ["image", version, mine @ ..] => {
                let mine = mine.first().unwrap_or(&"");
                lifecycle.image_changed(now, &image(version.parse().unwrap(), mine, false));
            }
            ["follow", version, leaves @ ..] => {
                self.followed = image(version.parse().unwrap(), "", !leaves.is_empty());
            }
            other => panic!("nothing like that happens: {other:?}"),
        }
    }

    fn ask(&mut self, now: Instant) -> String {
        match self.lifecycle.next(now, &self.followed) {
            None => "-".to_owned(),
            Some(Question::Register(asked)) => {
                assert_eq!(asked, me());
                self.is_beating = false;
                "register".to_owned()
            }
            Some(Question::Heartbeat(beat)) => {
                self.is_beating = true;
                assert!(beat.broker == ME && !beat.wants_fence);
                let leaves = if beat.wants_shutdown { " and leaves" } else { "" };
                format!("beat {} at {}{leaves}", beat.epoch, beat.metadata_version)
            }
        }
    }

    fn standing(&self) -> String {
        match self.lifecycle.standing() {
            Standing::Registering { since, last_refusal } => {
                let refused = last_refusal.map_or(String::new(), |code| format!(" {code:?}"));
                format!("registering since {}{refused}", since.as_micros() / 1000)
            }
            Standing::CatchingUp => "catching up".to_owned(),
            Standing::Active => "active".to_owned(),
            Standing::Fenced => "fenced".to_owned(),
            Standing::Leaving => "leaving".to_owned(),
            Standing::Gone => "gone".to_owned(),
            Standing::Refused(Refusal::Unwanted(code)) => format!("refused {code:?}"),
            Standing::Refused(Refusal::Replaced { ours, theirs, who }) => {
                assert_eq!(who, Incarnation([9; 16]));
                format!("replaced {ours} by {theirs}")
            }
        }
    }
}

/// At which millisecond what happens, what is asked then, how we stand, and when the next question is due.
type Line<'a> = (u64, &'a str, &'a str, &'a str, Option<u64>);

fn check(script: &[Line<'_>]) {
    let mut world = World::new();
    for (at, event, asked, standing, due) in script {
        let now = Instant::from_millis(*at);
        world.happen(now, &event.split_whitespace().collect::<Vec<&str>>());
        let question = world.ask(now);
        let deadline = world.lifecycle.next_deadline().map(|at| at.as_micros() / 1000);
        let found = (question.as_str(), world.standing(), deadline);
        assert_eq!(found, (*asked, (*standing).to_owned(), *due), "at {at}: {event}");
    }
}

/// Registered with epoch 5 and active since 40, asked for the last time at 30.
const ACTIVE: [Line<'_>; 4] = [
    (0, "-", "register", "registering since 0", None),
    (10, "ok 5", "beat 5 at 0", "catching up", None),
    (20, "follow 7", "-", "catching up", None),
    (40, "told active", "-", "active", Some(2040)),
];

fn check_active(script: &[Line<'_>]) {
    let whole: Vec<Line<'_>> = ACTIVE.iter().chain(script).copied().collect();
    check(&whole);
}

#[test]
fn a_broker_registers_catches_up_and_is_active() {
    check(&[
        (0, "-", "register", "registering since 0", None),
        (5, "-", "-", "registering since 0", None),
        (10, "ok 5", "beat 5 at 0", "catching up", None),
        (20, "told behind", "-", "catching up", Some(120)),
        (119, "follow 4", "-", "catching up", Some(120)),
        (120, "-", "beat 5 at 4", "catching up", None),
        (130, "told behind", "-", "catching up", Some(230)),
        (230, "follow 6", "beat 5 at 6", "catching up", None),
        (240, "told fenced", "-", "fenced", Some(340)),
        (340, "-", "beat 5 at 6", "fenced", None),
        (350, "told active", "-", "active", Some(2350)),
        (2349, "-", "-", "active", Some(2350)),
        (2350, "-", "beat 5 at 6", "active", None),
    ]);
}

#[test]
fn a_registration_is_tried_again_less_and_less_often() {
    check(&[
        (0, "-", "register", "registering since 0", None),
        (10, "lost", "-", "registering since 0", Some(110)),
        (110, "-", "register", "registering since 0", None),
        (120, "refused not-controller", "-", "registering since 0 NotController", Some(320)),
        (320, "-", "register", "registering since 0 NotController", None),
        (330, "lost", "-", "registering since 0 NotController", Some(730)),
        (730, "-", "register", "registering since 0 NotController", None),
        (800, "lost", "-", "registering since 0 NotController", Some(1600)),
        (1600, "-", "register", "registering since 0 NotController", None),
        (1600, "lost", "-", "registering since 0 NotController", Some(3200)),
        (3200, "-", "register", "registering since 0 NotController", None),
        (3200, "lost", "-", "registering since 0 NotController", Some(5200)),
        (5200, "-", "register", "registering since 0 NotController", None),
        (
            5200,
            "refused duplicate",
            "-",
            "registering since 0 DuplicateBrokerRegistration",
            Some(7200),
        ),
        (5300, "controller", "register", "registering since 0 DuplicateBrokerRegistration", None),
        (5310, "ok 5", "beat 5 at 0", "catching up", None),
        (5320, "lost", "-", "catching up", Some(5420)),
    ]);
}

#[test]
fn what_asking_again_would_not_change_is_final() {
    for (word, code) in [
        ("other-cluster", "refused InconsistentClusterId"),
        ("unsupported", "refused UnsupportedVersion"),
        ("invalid", "refused InvalidRegistration"),
    ] {
        check(&[
            (0, "-", "register", "registering since 0", None),
            (10, &format!("refused {word}"), "-", code, None),
            (20, "controller", "-", code, None),
            (30, "image 9 theirs:8", "-", code, None),
            (9000, "stop", "-", code, None),
        ]);
    }
}

#[test]
fn a_question_to_the_controller_before_ends_and_the_next_goes_at_once() {
    check_active(&[
        (2040, "-", "beat 5 at 7", "active", None),
        (2050, "controller", "-", "active", None),
        (2060, "lost", "beat 5 at 7", "active", None),
        (2070, "refused not-controller", "-", "active", Some(2270)),
        (2100, "controller", "beat 5 at 7", "active", None),
        (2110, "told active", "-", "active", Some(4110)),
    ]);
}

#[test]
fn a_registration_that_was_taken_out_is_made_anew() {
    check_active(&[
        (50, "image 9", "register", "registering since 50", None),
        (60, "ok 10", "beat 10 at 7", "catching up", None),
        // The image of before is of no other broker.
        (70, "told behind", "-", "catching up", Some(170)),
        (80, "image 10 fenced:10", "-", "catching up", Some(170)),
    ]);
    // The controller says it before the image does: what became of the registration is not known yet.
    check_active(&[
        (2040, "-", "beat 5 at 7", "active", None),
        (2050, "refused stale", "-", "active", Some(2150)),
        (2100, "image 8 ours:5", "-", "active", Some(2150)),
        (2110, "image 9", "register", "registering since 2110", None),
    ]);
    // It was taken out before the answer was here.
    check(&[
        (0, "-", "register", "registering since 0", None),
        (5, "image 6", "-", "registering since 0", None),
        (10, "ok 5", "register", "registering since 10", None),
        (20, "ok 7", "beat 7 at 0", "catching up", None),
    ]);
    // A late copy of the question was answered to nobody.
    check_active(&[
        (50, "image 9", "register", "registering since 50", None),
        (60, "ok 10", "beat 10 at 7", "catching up", None),
        (70, "image 12 ours:12", "-", "registering since 70", None),
        (80, "refused stale", "register", "registering since 70", None),
        (90, "ok 12", "beat 12 at 7", "catching up", None),
    ]);
}

#[test]
fn another_broker_in_our_place_is_final() {
    check_active(&[
        (2040, "-", "beat 5 at 7", "active", None),
        (2050, "refused stale", "-", "active", Some(2150)),
        (2060, "image 9 theirs:8", "-", "replaced 5 by 8", None),
        (2070, "image 12 ours:12", "-", "replaced 5 by 8", None),
    ]);
    // Who had the number before is not meant.
    check(&[
        (0, "image 4 theirs:3", "register", "registering since 0", None),
        (10, "ok 5", "beat 5 at 0", "catching up", None),
        (20, "image 4 theirs:3", "-", "catching up", None),
        (30, "told active", "-", "active", Some(2030)),
    ]);
    // While we are taken for gone somebody else comes.
    check_active(&[
        (50, "image 9", "register", "registering since 50", None),
        (60, "image 10 theirs:10", "-", "replaced 5 by 10", None),
        (70, "ok 11", "-", "replaced 5 by 10", None),
    ]);
}

#[test]
fn who_is_fenced_asks_soon() {
    check_active(&[
        (1000, "image 8 ours:5", "-", "active", Some(2040)),
        (1010, "image 9 fenced:5", "beat 5 at 7", "active", None),
        (1020, "image 10 fenced:5", "-", "active", None),
        (1030, "told fenced", "-", "fenced", Some(1130)),
        (1130, "-", "beat 5 at 7", "fenced", None),
        (1140, "told active", "-", "active", Some(3140)),
        // An image of before: one question more.
        (1150, "image 11 fenced:5", "-", "active", Some(1230)),
        (1230, "-", "beat 5 at 7", "active", None),
    ]);
}

#[test]
fn who_leaves_is_told_soon_that_we_know() {
    check_active(&[
        (1000, "follow 8 leaves", "beat 5 at 8", "active", None),
        (1010, "told active", "-", "active", Some(3010)),
        (1020, "follow 8 leaves", "-", "active", Some(3010)),
        (1030, "follow 9 leaves", "-", "active", Some(1100)),
        (1100, "-", "beat 5 at 9", "active", None),
        (1110, "told active", "-", "active", Some(3110)),
        (1120, "follow 10", "-", "active", Some(3110)),
    ]);
}

#[test]
fn a_broker_leaves_when_it_may() {
    check_active(&[
        (1000, "stop", "beat 5 at 7 and leaves", "leaving", None),
        (1010, "told leaving", "-", "leaving", Some(1110)),
        (1110, "-", "beat 5 at 7 and leaves", "leaving", None),
        (1120, "lost", "-", "leaving", Some(1220)),
        (1220, "-", "beat 5 at 7 and leaves", "leaving", None),
        (1230, "told stop", "-", "gone", None),
        (1240, "controller", "-", "gone", None),
    ]);
    // It stops while a question is under way.
    check_active(&[
        (2040, "-", "beat 5 at 7", "active", None),
        (2050, "stop", "-", "leaving", None),
        (2060, "told active", "beat 5 at 7 and leaves", "leaving", None),
    ]);
    // Nobody counts on who is not registered, or is no more.
    check(&[
        (0, "-", "register", "registering since 0", None),
        (10, "stop", "-", "gone", None),
        (20, "ok 5", "-", "gone", None),
    ]);
    for event in ["image 9", "image 9 theirs:8"] {
        check_active(&[
            (1000, "stop", "beat 5 at 7 and leaves", "leaving", None),
            (1010, event, "-", "gone", None),
            (1020, "told leaving", "-", "gone", None),
        ]);
    }
    check_active(&[
        (1000, "stop", "beat 5 at 7 and leaves", "leaving", None),
        (1010, "refused stale", "-", "gone", None),
    ]);
}

proptest! {
    /// Whatever is answered, the next question comes within the longest wait, and never while one is under way.
    #[test]
    fn something_is_always_asked_again(answers in prop::collection::vec(0..6_u8, 1..60)) {
        let mut world = World::new();
        let mut now = Instant::from_millis(0);
        for answer in answers {
            let due = world.lifecycle.next_deadline().expect("nothing here is final");
            prop_assert!(due.since(now) <= AGAIN_MAX);
            now = now.max(due);
            prop_assert_ne!(world.ask(now), "-");
            prop_assert_eq!(world.lifecycle.next_deadline(), None);
            prop_assert_eq!(world.ask(now), "-");
            let answer: &[&str] = match (answer, world.is_beating) {
                (0, _) => &["lost"],
                (1, _) => &["refused", "not-controller"],
                (2, _) => &["refused", "stale"],
                (_, false) => &["ok", "5"],
                (3, _) => &["told", "behind"],
                (4, _) => &["told", "fenced"],
                (_, _) => &["told", "active"],
            };
            world.happen(now, answer);
        }
    }
}
