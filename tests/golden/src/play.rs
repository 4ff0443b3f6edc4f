//! Plays a script against a broker and hears what it says.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::codec;
use crate::normal::Names;
use crate::schema::{SECURED, Schemas, TOLD};
use crate::script::{Action, Content, Step};
use crate::value::{Value, hex, unhex};
use crate::wire::{Connection, Reply};

/// Who is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Applies metadata a moment after it answers, and creates its internal topics when first
    /// asked for a coordinator: `settle` waits, and what a client has to try again is tried again.
    Kafka,
    /// Says nothing before it is so: nothing is waited for, nothing tried twice.
    Brooklet,
}

/// A step that was played.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Played {
    pub case: String,
    pub comments: Vec<String>,
    /// The line that names the step, `b: send JoinGroup v2`, and what was sent.
    pub request: String,
    pub content: Option<Value>,
    pub answer: Option<Value>,
}

/// How long a broker may take to find its coordinators.
const TRIES_MAX: u32 = 100;
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(200);
/// How long another connection's request may take to arrive, or a session of six seconds to end.
const UNTIL_MAX: Duration = Duration::from_secs(12);
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(5);
const SETTLE: Duration = Duration::from_millis(700);

/// Plays `steps` against the broker at `address`.
pub fn play(schemas: &Schemas, steps: &[Step], address: SocketAddr, target: Target) -> Vec<Played> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970");
    let base = i64::try_from(now.as_millis()).expect("it is earlier than the year 292 million");
    let names = Names::new(base);
    let mut player = Player { schemas, address, target, names, connections: BTreeMap::new() };
    steps.iter().filter_map(|step| player.step(step)).collect()
}

struct Player<'a> {
    schemas: &'a Schemas,
    address: SocketAddr,
    target: Target,
    names: Names,
    connections: BTreeMap<String, Open>,
}

struct Open {
    connection: Connection,
    /// What was sent and not awaited: how its answer is to be read.
    sent: Vec<(i32, String, i16)>,
}

impl Player<'_> {
    fn step(&mut self, step: &Step) -> Option<Played> {
        let prefix = match step.connection.as_str() {
            "a" => String::new(),
            name => format!("{name}: "),
        };
        let mut played = Played {
            case: step.case.clone(),
            comments: step.comments.clone(),
            request: prefix,
            content: None,
            answer: None,
        };
        match &step.action {
            Action::Settle => {
                if self.target == Target::Kafka {
                    // Only the recorder comes here, and Kafka offers nothing to wait for.
                    thread::sleep(SETTLE); // polls once
                }
                return None;
            }
            Action::Until { path, value, request } => {
                self.until(step, path, value, request);
                return None;
            }
            Action::Close => {
                self.connections.remove(&step.connection);
                played.request.push_str("close");
            }
            Action::Login { user, password } => {
                played.request.push_str(&format!("login {user}"));
                played.answer = Some(self.login(&step.connection, user, password));
            }
            Action::Bytes(digits) => {
                played.request.push_str(&format!("bytes 0x{digits}"));
                let bytes = unhex(digits).expect("a script has pairs of digits");
                let reply = self.open(&step.connection).connection.exchange(&bytes);
                played.answer = Some(self.reply(&step.connection, reply, None));
            }
            Action::Await => {
                let open = self.open(&step.connection);
                let (id, api, version) = open.sent.remove(0);
                played.request.push_str(&format!("await {api} v{version}"));
                let reply = open.connection.await_answer(id);
                played.answer = Some(self.reply(&step.connection, reply, Some((&api, version))));
            }
            Action::Request { .. } => self.request(step, &step.action, &mut played),
        }
        self.name(step, &mut played);
        Some(played)
    }

    fn login(&mut self, connection: &str, user: &str, password: &str) -> Value {
        self.names.keep_texts = true;
        let text = |text: &str| Value::Text(text.to_owned());
        let record = |name: &str, value: Value| Value::Record(vec![(name.to_owned(), value)]);
        let token = text(&format!("\0{user}\0{password}"));
        let said = [
            ("SaslHandshake", 1, record("mechanism", text("PLAIN"))),
            ("SaslAuthenticate", 2, record("auth_bytes", token)),
        ];
        let mut answer = Value::Null;
        for (api, version, value) in said {
            let message = self.schemas.message(&format!("{api}Request"));
            let body = codec::encode(message, version, &value, self.names.base);
            let flexible = message.flexible.contain(version);
            let body = [if flexible { vec![0] } else { vec![] }, body].concat();
            let open = self.open(connection);
            let id = open.connection.send(message.key, version, &body);
            let reply = open.connection.await_answer(id);
            answer = self.reply(connection, reply, Some((api, version)));
        }
        answer
    }

    fn until(&mut self, step: &Step, path: &str, value: &str, request: &Action) {
        let wanted = Value::parse(value).unwrap_or_else(|error| panic!("{value}: {error}"));
        let deadline = Instant::now() + UNTIL_MAX;
        while Instant::now() < deadline {
            let mut played = Played::default();
            self.request(step, request, &mut played);
            if played.answer.as_ref().and_then(|answer| answer.at(path)) == Some(&wanted) {
                return;
            }
            // Nothing tells a client of what another one has sent: asking again is all there is.
            thread::sleep(ASK_AGAIN_AFTER); // polls
        }
        // The steps that follow show what was not so.
    }

    fn request(&mut self, step: &Step, action: &Action, played: &mut Played) {
        let Action::Request { api, version, content, answer, wait, once } = action else {
            unreachable!("only requests come here");
        };
        self.names.keep_texts =
            SECURED.iter().any(|(known, ..)| known == api) || TOLD.contains(&api.as_str());
        let send = if *wait { "" } else { "send " };
        played.request.push_str(&format!("{send}{api} v{version}"));
        let message = self.schemas.message(&format!("{api}Request"));
        let body = match content {
            Content::Raw(digits) => {
                played.request.push_str(&format!(" body 0x{digits}"));
                if answer != version {
                    played.request.push_str(&format!(" answer v{answer}"));
                }
                unhex(digits).expect("a script has pairs of digits")
            }
            Content::Value(text) => {
                let value = Value::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
                let value = self.names.resolve("", &value);
                let body = codec::encode(message, *version, &value, self.names.base);
                // What was really sent, without the fields that this version has not.
                let sent = codec::decode(message, *version, &body).unwrap_or(value);
                played.content = Some(self.names.normal("", &sent));
                let flexible = message.flexible.contain(*version);
                [if flexible { vec![0] } else { vec![] }, body].concat()
            }
        };
        let mut tries = 0;
        loop {
            let open = self.open(&step.connection);
            let id = open.connection.send(message.key, *version, &body);
            if !wait {
                open.sent.push((id, api.clone(), *answer));
                return;
            }
            let reply = open.connection.await_answer(id);
            let value = self.reply(&step.connection, reply, Some((api, *answer)));
            tries += 1;
            let may_change = self.target == Target::Kafka && !once && is_transient(&value);
            if may_change && tries < TRIES_MAX {
                thread::sleep(TRY_AGAIN_AFTER); // polls
                continue;
            }
            played.answer = Some(value);
            return;
        }
    }

    /// Gives the script's names to what the answer holds, and the others after them.
    fn name(&mut self, step: &Step, played: &mut Played) {
        let Some(answer) = &mut played.answer else { return };
        for (name, path) in &step.names {
            let field = path.rsplit('.').next().unwrap_or(path);
            // Absent from a broker that answered otherwise: the difference is shown, not a panic.
            let missing = Value::Text(format!("{name} is missing"));
            self.names.give(field, answer.at(path).unwrap_or(&missing), name);
        }
        *answer = self.names.normal("", answer);
    }

    fn open(&mut self, name: &str) -> &mut Open {
        let address = self.address;
        self.connections.entry(name.to_owned()).or_insert_with(|| Open {
            connection: Connection::open(address).expect("the broker accepts connections"),
            sent: Vec::new(),
        })
    }

    fn reply(&mut self, connection: &str, reply: Reply, answer: Option<(&str, i16)>) -> Value {
        let frame = match reply {
            Reply::Frame(frame) => frame,
            // An answer that comes late would be taken for that of another request.
            Reply::Silent => {
                self.connections.remove(connection);
                return Value::Name("no_answer".to_owned());
            }
            Reply::Closed => {
                self.connections.remove(connection);
                return Value::Name("closed".to_owned());
            }
        };
        let Some((api, version)) = answer else { return Value::Bytes(frame) };
        let message = self.schemas.message(&format!("{api}Response"));
        let tagged = message.flexible.contain(version) && api != "ApiVersions";
        let body = &frame[usize::from(tagged).min(frame.len())..];
        codec::decode(message, version, body)
            .unwrap_or_else(|error| Value::Text(format!("{error}: 0x{}", hex(&frame))))
    }
}

/// Whether an answer only says that a coordinator is not there yet.
fn is_transient(value: &Value) -> bool {
    const LOAD_IN_PROGRESS: i64 = 14;
    const NOT_COORDINATOR: i64 = 16;
    match value {
        Value::List(elements) => elements.iter().any(is_transient),
        Value::Record(fields) => fields.iter().any(|(name, value)| match value {
            Value::Int(code) if name == "error_code" => {
                (LOAD_IN_PROGRESS..=NOT_COORDINATOR).contains(code)
            }
            value => is_transient(value),
        }),
        _ => false,
    }
}
