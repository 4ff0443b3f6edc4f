//! The scripts for a broker that asks who is speaking, played to one in this process.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use brooklet_broker::config::Config;
use brooklet_broker::{Ready, run};
use brooklet_golden::difference;
use brooklet_golden::play::{Target, play};
use brooklet_golden::schema::Schemas;
use brooklet_golden::{path, script, script_path, transcript};
use brooklet_hook::NoHooks;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::{Occurred, compare, outlived, recorded};

/// What is played, and to whom.
const PLAYED: [(&str, &[&str], Cases); 5] = [
    ("secured/sasl", &["admin", "ada", "bob"], Cases::All),
    ("secured/users", &["admin"], Cases::AllBut("who may not")),
    ("secured/users", &["admin", "ada"], Cases::Only("who may not")),
    ("secured/acls", &["admin", "ada", "bob"], Cases::All),
    ("secured/quotas", &["admin", "ada"], Cases::All),
];

/// Kafka has users for PLAIN in a file of their own, here they are users as all others: some cases need one who must not be
/// there in others.
#[derive(Clone, Copy)]
enum Cases {
    All,
    AllBut(&'static str),
    Only(&'static str),
}

impl Cases {
    fn has(self, case: &str) -> bool {
        match self {
            Cases::All => true,
            Cases::AllBut(other) => case != other,
            Cases::Only(one) => case == one,
        }
    }
}

#[test]
fn a_broker_that_asks_who_is_speaking_answers_as_kafka_does() {
    let schemas = Schemas::read();
    let list = fs::read_to_string(path("secured/differences.txt")).unwrap();
    let list = difference::read_list(&schemas, &list).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (mut complaints, mut occurred) = (Vec::new(), Occurred::new());
    for (name, users, cases) in PLAYED {
        let folder = tempfile::tempdir().unwrap();
        let config = configuration(folder.path(), users);
        let stop = CancellationToken::new();
        let (tell, ready) = oneshot::channel();
        let announce = |ready: &Ready| tell.send(ready.listeners[0].address).unwrap();
        let broker = run(config, Arc::new(NoHooks), stop.clone(), announce);
        let broker = runtime.spawn(broker);
        let address: SocketAddr = runtime.block_on(ready).unwrap();
        let text = fs::read_to_string(script_path(name)).unwrap();
        let mut steps = script::parse(&schemas, &text);
        steps.retain(|step| cases.has(&step.case));
        let played = play(&schemas, &steps, address, Target::Brooklet);
        stop.cancel();
        runtime.block_on(broker).unwrap().unwrap();
        let ours = transcript::read(&transcript::print(name, &played)).unwrap();
        let mut theirs = recorded(name);
        theirs.retain(|step| cases.has(&step.case));
        complaints.extend(compare(name, &theirs, &ours, &list, &mut occurred));
    }
    complaints.extend(outlived(&list, &occurred));
    let complaints = complaints.join("\n");
    assert!(complaints.is_empty(), "\n{complaints}\nfix it, or list it in secured/differences.txt");
}

/// As `kafka.properties` has it, in order: each user's password is its name and `-secret`.
fn configuration(folder: &Path, users: &[&str]) -> Config {
    let mut files = Vec::new();
    for user in users {
        let file = folder.join(format!("{user}.password"));
        fs::write(&file, format!("{user}-secret\n")).expect("the folder is ours");
        files.push(format!("{user:?}: {:?}", file.display().to_string()));
    }
    let data = folder.join("data").display().to_string();
    let mechanisms = r#"["PLAIN", "SCRAM-SHA-512", "SCRAM-SHA-256"]"#;
    let text = format!(
        "(data: {data:?}, admin: \"none\", access: (first_users: {{ {} }}, authorizer: \"acls\", super_users: [\"User:admin\"]), listeners: [(
            url: \"tcp://127.0.0.1:0\", sasl: (mechanisms: {mechanisms}, session_ms_max: 600000),
        )])",
        files.join(", ")
    );
    Config::read("secured", &text).expect("it is well-formed")
}
