//! Scripts: what is said to a broker, in which order, over which connections.
//!
//! ```text
//! # a comment, copied into the transcript
//! == a case: the sentence that its steps share
//! ListOffsets v* {replica_id: -1, …}         one step for each version served
//! ListOffsets v4+ {…}   v4   v1-3            some of them
//! each JoinGroup v4+                         the block once for each version: `v` is the version
//! JoinGroup v {group_id: "group-{v}", …}     and `{v}` its number
//! let $member = member_id                    names what the broker made up in its last answer
//! end
//! b: Heartbeat v0 {…}                        over the connection `b`, opened when first named
//! b: send JoinGroup v2 {…}                   sent, and the answer left for later
//! b: await                                   that answer
//! once Heartbeat v0 {…}                       not tried again where a coordinator is missing
//! ApiVersions v99 body 0x00 answer v0        any version, any body, the answer's version
//! bytes 0x00000000                           any bytes at all
//! until groups.0.group_state = "Stable" DescribeGroups v0 {…}   asked until it is so
//! b: login ada secret                        SaslHandshake and SaslAuthenticate by PLAIN
//! settle                                     the real one applies a moment after it answers
//! ```

use crate::schema::{Schemas, Versions};

/// A step of a script, with every version filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The case it belongs to.
    pub case: String,
    /// Comments in front of it.
    pub comments: Vec<String>,
    pub connection: String,
    pub action: Action,
    /// Names to give to parts of the answer: `($member, member_id)`.
    pub names: Vec<(String, String)>,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Sends a request; `wait` says whether its answer is awaited at once.
    /// With `once`, what it answers first counts.
    Request { api: String, version: i16, content: Content, answer: i16, wait: bool, once: bool },
    /// Repeats the request until what `path` leads to is `value`: another connection's request
    /// has arrived. Not part of the transcript.
    Until { path: String, value: String, request: Box<Action> },
    /// Awaits the answer of the oldest request that was only sent.
    Await,
    /// Authenticates by PLAIN; what SaslAuthenticate answers is the answer.
    Login { user: String, password: String },
    /// Sends bytes as they are and shows what comes back.
    Bytes(String),
    /// Lets the real one apply what it has answered.
    Settle,
    /// Closes the connection.
    Close,
}

/// A request's body.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// A value's text, still with its `$names`.
    Value(String),
    /// Digits.
    Raw(String),
}

/// The steps of the script `text`.
///
/// # Panics
/// If a line is not a statement: scripts are part of the source.
pub fn parse(schemas: &Schemas, text: &str) -> Vec<Step> {
    let mut reader = Reader { schemas, case: String::new(), comments: vec![], steps: vec![] };
    let statements = statements(text);
    reader.block(&statements, None);
    reader.steps
}

/// Lines, with those that an open bracket joins as one.
fn statements(text: &str) -> Vec<String> {
    let mut statements: Vec<String> = Vec::new();
    let mut depth = 0i32;
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if depth > 0 {
            let last = statements.last_mut().expect("a bracket was opened on a line");
            last.push(' ');
            last.push_str(line);
        } else {
            statements.push(line.to_owned());
        }
        if !line.starts_with('#') && !line.starts_with("==") {
            let count = |letters: &[char]| line.matches(letters).count() as i32;
            depth += count(&['{', '[']) - count(&['}', ']']);
        }
    }
    statements
}

struct Reader<'a> {
    schemas: &'a Schemas,
    case: String,
    comments: Vec<String>,
    steps: Vec<Step>,
}

impl Reader<'_> {
    /// Reads `statements` with `v` standing for `version`.
    fn block(&mut self, statements: &[String], version: Option<i16>) {
        let mut at = 0;
        while at < statements.len() {
            let statement = &statements[at];
            at += 1;
            if let Some(range) = statement.strip_prefix("each ") {
                let length = statements[at..].iter().position(|statement| statement == "end");
                let end = at + length.expect("every each has its end");
                let (api, range) = range.split_once(' ').expect("each API VERSIONS");
                for version in self.versions(api, range, None) {
                    self.block(&statements[at..end], Some(version));
                }
                at = end + 1;
            } else {
                let text = match version {
                    Some(version) => statement.replace("{v}", &version.to_string()),
                    None => statement.clone(),
                };
                self.statement(&text, version);
            }
        }
    }

    fn statement(&mut self, text: &str, version: Option<i16>) {
        if let Some(comment) = text.strip_prefix("# ") {
            self.comments.push(comment.to_owned());
        } else if let Some(case) = text.strip_prefix("== ") {
            self.case = case.to_owned();
        } else if let Some(naming) = text.strip_prefix("let ") {
            let (name, path) = naming.split_once(" = ").expect("let $name = path");
            let step = self.steps.last_mut().expect("a name belongs to a step");
            step.names.push((name.to_owned(), path.to_owned()));
        } else {
            let (connection, text) = match text.split_once(": ") {
                Some((name, rest)) if name.chars().all(char::is_alphanumeric) => (name, rest),
                _ => ("a", text),
            };
            for action in self.actions(text, version) {
                self.steps.push(Step {
                    case: self.case.clone(),
                    comments: std::mem::take(&mut self.comments),
                    connection: connection.to_owned(),
                    action,
                    names: Vec::new(),
                });
            }
        }
    }

    fn actions(&self, text: &str, version: Option<i16>) -> Vec<Action> {
        match text {
            "settle" => return vec![Action::Settle],
            "await" => return vec![Action::Await],
            "close" => return vec![Action::Close],
            _ => {}
        }
        if let Some((user, password)) =
            text.strip_prefix("login ").and_then(|words| words.split_once(' '))
        {
            let (user, password) = (user.to_owned(), password.to_owned());
            return vec![Action::Login { user, password }];
        }
        if let Some(digits) = text.strip_prefix("bytes 0x") {
            return vec![Action::Bytes(digits.to_owned())];
        }
        if let Some(rest) = text.strip_prefix("until ") {
            let mut words = rest.splitn(4, ' ');
            let mut word = || words.next().expect("until PATH = VALUE REQUEST").to_owned();
            let (path, _, value, request) = (word(), word(), word(), word());
            let mut requests = self.actions(&request, version);
            let request = Box::new(requests.remove(0));
            return vec![Action::Until { path, value, request }];
        }
        let (wait, text) = match text.strip_prefix("send ") {
            Some(rest) => (false, rest),
            None => (true, text),
        };
        let (once, text) = match text.strip_prefix("once ") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let mut words = text.splitn(3, ' ');
        let mut word = || words.next().unwrap_or_else(|| panic!("not a statement: {text}"));
        let (api, range, rest) = (word(), word(), word());
        let request = |version: i16| {
            let (content, answer) = content(rest, version);
            Action::Request { api: api.to_owned(), version, content, answer, wait, once }
        };
        self.versions(api, range, version).into_iter().map(request).collect()
    }

    /// The versions that `v*`, `v3`, `v3-5`, `v3+` or, in a block, `v` stand for.
    fn versions(&self, api: &str, range: &str, version: Option<i16>) -> Vec<i16> {
        let range = range.strip_prefix('v').unwrap_or_else(|| panic!("{api} {range}: a version?"));
        let (min, max) = self.schemas.served(api);
        match (range, version) {
            ("", Some(version)) => vec![version],
            ("*", _) => (min..=max).collect(),
            // A version that does not exist may be asked for, alone.
            (range, _) if range.parse::<i16>().is_ok() => vec![range.parse().unwrap_or(min)],
            (range, _) => {
                let wanted = Versions::parse(range);
                (min..=max).filter(|version| wanted.contain(*version)).collect()
            }
        }
    }
}

/// `{…}` or `body 0x… [answer vN]`.
fn content(text: &str, version: i16) -> (Content, i16) {
    let Some(rest) = text.strip_prefix("body 0x") else {
        return (Content::Value(text.to_owned()), version);
    };
    match rest.split_once(" answer v") {
        Some((digits, answer)) => {
            (Content::Raw(digits.to_owned()), answer.parse().expect("a version is a number"))
        }
        None => (Content::Raw(rest.to_owned()), version),
    }
}
