//! Every script is played to a Brooklet of its own and compared with what Kafka answered.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a value has ten shapes, and most functions care about one"
)]

mod coverage;
mod secured;

use std::collections::BTreeSet;
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use brooklet_cluster::Broker;
use brooklet_golden::difference::{self, Listed};
use brooklet_golden::play::{Target, play};
use brooklet_golden::schema::Schemas;
use brooklet_golden::transcript::{self, Recorded};
use brooklet_golden::{path, script, script_names, transcript_path};

/// As the Kafka that was asked: groups begin without waiting for more members.
const CONFIG: &str = r#"(admin: "none", groups: (initial_rebalance_delay_ms: 0))"#;
/// Scripts played at the same time, each to its own broker. They mostly wait.
const PLAYERS: usize = 4;

#[test]
fn we_answer_as_kafka_does_except_where_a_reason_is_listed() {
    let schemas = Schemas::read();
    let list = fs::read_to_string(path("kafka/differences.txt")).unwrap();
    let list = difference::read_list(&schemas, &list).unwrap();
    let names = script_names();
    let next = AtomicUsize::new(0);
    let (mut complaints, mut occurred) = (Vec::new(), Occurred::new());
    thread::scope(|scope| {
        let player = || {
            let (mut complaints, mut occurred) = (Vec::new(), Occurred::new());
            while let Some(name) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
                complaints.extend(replay(&schemas, name, &list, &mut occurred));
            }
            (complaints, occurred)
        };
        let players: Vec<_> = (0..PLAYERS).map(|_| scope.spawn(player)).collect();
        for player in players {
            let (more, seen) = player.join().unwrap();
            complaints.extend(more);
            occurred.extend(seen);
        }
    });
    complaints.extend(outlived(&list, &occurred));
    assert!(
        complaints.is_empty(),
        "\n{}\nfix the broker, or list the difference with its reason in kafka/differences.txt",
        complaints.join("\n")
    );
}

/// What is listed and has not been seen.
fn outlived(list: &[Listed], occurred: &Occurred) -> Vec<String> {
    let mut complaints = Vec::new();
    for entry in list {
        for line in &entry.differences {
            if !occurred.contains(&(entry.heading.clone(), line.clone())) {
                let heading = &entry.heading;
                complaints.push(format!("{heading}: no longer so, strike it out: {line}"));
            }
        }
    }
    complaints
}

fn recorded(name: &str) -> Vec<Recorded> {
    let text = fs::read_to_string(transcript_path(name));
    let text = text.unwrap_or_else(|error| panic!("{name}: {error}; record it"));
    transcript::read(&text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Plays one script and complains about every difference that is not listed.
fn replay(schemas: &Schemas, name: &str, list: &[Listed], occurred: &mut Occurred) -> Vec<String> {
    let text = fs::read_to_string(path("scripts").join(format!("{name}.txt")));
    let text = text.expect("the script was listed");
    let steps = script::parse(schemas, &text);
    let broker = Broker::builder().config(CONFIG).start();
    let played = play(schemas, &steps, broker.address(), Target::Brooklet);
    broker.stop();
    let ours = transcript::read(&transcript::print(name, &played));
    let ours = ours.expect("what is printed is read back");
    compare(name, &recorded(name), &ours, list, occurred)
}

/// What is listed and has been seen, by heading and line.
type Occurred = BTreeSet<(String, String)>;

fn compare(
    name: &str,
    theirs: &[Recorded],
    ours: &[Recorded],
    list: &[Listed],
    occurred: &mut Occurred,
) -> Vec<String> {
    let mut complaints = Vec::new();
    if theirs.len() != ours.len() {
        complaints.push(format!("{name}: the script has changed, record it again"));
    }
    for (kafka, own) in theirs.iter().zip(ours) {
        let heading = heading(&kafka.request);
        if heading != self::heading(&own.request) {
            complaints.push(format!("{name} | {heading}: the script has changed, record it again"));
            break;
        }
        let (Some(answer), Some(own)) = (&kafka.answer, &own.answer) else { continue };
        // Clients take it for the end of the world. Kafka says it where it has no better word.
        if own.to_string().contains("UNKNOWN_SERVER_ERROR") {
            complaints.push(format!("{name} | {} | {heading}: no precise error", kafka.case));
        }
        let mut found: Vec<String> =
            difference::compare(answer, own).iter().map(ToString::to_string).collect();
        for entry in list.iter().filter(|entry| entry.names(name, &kafka.case, heading)) {
            for line in &entry.differences {
                let before = found.len();
                found.retain(|found| !difference::is_listed(line, found));
                if found.len() < before {
                    occurred.insert((entry.heading.clone(), line.clone()));
                }
            }
        }
        if !found.is_empty() {
            let found = found.join("\n  ");
            complaints.push(format!("{name} | {} | {heading}\n  {found}", kafka.case));
        }
    }
    complaints
}

/// The line that names a step, without what was sent.
fn heading(request: &str) -> &str {
    request.split(" {").next().unwrap_or(request)
}
