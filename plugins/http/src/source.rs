//! The source: polls a URL.
//!
//! **What it decides.** What is new: what comes with another entity tag, or behind the cursor.
//!
//! **Invariants.** Items of one answer come in their order. A position within an answer counts only
//! for that answer: where the endpoint has another by then, it is read from its beginning.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use brooklet::http::Response;
use brooklet::json::{self, Paths};
use brooklet::{Context, Error, Limits, NewRecord, Outgoing, Poll, Source, Split, task};

use crate::answer::{Outcome, judge};
use crate::request::{Endpoint, SecretHeader, timeout};

/// The configuration.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    url: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    secret: Option<SecretHeader>,
    #[serde(default = "timeout", deserialize_with = "brooklet::duration::deserialize")]
    timeout: Duration,
    #[serde(default = "interval", deserialize_with = "brooklet::duration::deserialize")]
    interval: Duration,
    #[serde(default)]
    format: Format,
    items: Option<String>,
    key: Option<String>,
    cursor: Option<Cursor>,
}

/// What of a body is a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    #[default]
    Body,
    Lines,
    Json,
}

#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Cursor {
    field: String,
    parameter: String,
}

/// Often enough for a person to see something happen, seldom enough for no endpoint to mind.
fn interval() -> Duration {
    Duration::from_secs(30)
}

/// Where to go on.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Position {
    /// Entity tag of the last answer that was read to its end.
    etag: Option<String>,
    /// Its time, for endpoints without entity tags.
    last_modified: Option<String>,
    /// Where its cursor pointed.
    cursor: Option<String>,
    /// The answer that was begun after it.
    begun: Option<Begun>,
}

#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct Begun {
    etag: Option<String>,
    /// Items of it that were taken.
    taken: usize,
}

/// The source.
#[derive(Debug)]
pub struct HttpSource {
    config: Config,
    endpoint: Endpoint,
    position: Position,
    /// What was answered and not yet taken, and the position behind it.
    pending: VecDeque<Item>,
    behind: Position,
    /// When to poll again.
    due: Duration,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Item {
    key: Option<Vec<u8>>,
    value: Vec<u8>,
}

impl Source for HttpSource {
    type Config = Config;
    type Position = Position;

    fn new(config: Config, _: &Context) -> Result<HttpSource, Error> {
        let json_only = [
            ("items", config.items.is_some()),
            ("key", config.key.is_some()),
            ("cursor", config.cursor.is_some()),
        ];
        if let (Some((name, _)), true) =
            (json_only.iter().find(|(_, given)| *given), config.format != Format::Json)
        {
            return Err(Error::Config(format!("{name}: for the format json alone")));
        }
        for path in
            config.items.iter().chain(&config.key).chain(config.cursor.iter().map(|c| &c.field))
        {
            json::split(path).map_err(Error::config)?;
        }
        let Config { url, headers, secret, timeout, .. } = config.clone();
        Ok(HttpSource {
            endpoint: Endpoint { url, headers, secret, timeout },
            config,
            position: Position::default(),
            pending: VecDeque::new(),
            behind: Position::default(),
            due: Duration::ZERO,
        })
    }

    fn start(&mut self, _: Vec<Split>, position: Option<Position>) -> Result<(), Error> {
        self.position = position.unwrap_or_default();
        self.pending.clear();
        self.due = Duration::ZERO;
        Ok(())
    }

    fn poll(&mut self, limits: &Limits, out: &mut Outgoing) -> Result<Poll<Position>, Error> {
        if self.pending.is_empty() {
            let wait = self.due.saturating_sub(task::now());
            task::sleep(wait.min(limits.wait));
            if self.due > task::now() || task::stopping() {
                return Ok(Poll { position: self.position.clone(), more: false });
            }
            self.ask()?;
        }
        let mut taken = 0;
        while let Some(item) = self.pending.front() {
            let bytes = item.value.len() + item.key.as_ref().map_or(0, Vec::len);
            if !out.has_room(limits, bytes) {
                break;
            }
            let (key, value) = (item.key.as_deref(), Some(&item.value[..]));
            out.push(&NewRecord { key, value, ..NewRecord::default() });
            self.pending.pop_front();
            taken += 1;
        }
        if self.pending.is_empty() {
            self.position = self.behind.clone();
        } else {
            let etag = self.behind.etag.clone();
            let begun = self.position.begun.get_or_insert(Begun { etag, taken: 0 });
            begun.taken += taken;
        }
        let more = !self.pending.is_empty() || self.due <= task::now();
        Ok(Poll { position: self.position.clone(), more })
    }
}

impl HttpSource {
    /// Asks the endpoint what is new.
    fn ask(&mut self) -> Result<(), Error> {
        self.due = task::now() + self.config.interval;
        self.behind = self.position.clone();
        let mut request = self.endpoint.request("GET", &self.url())?;
        // With an answer that was begun it is the same one that is wanted, however old.
        if self.position.begun.is_none() {
            if let Some(etag) = &self.position.etag {
                request = request.header("if-none-match", etag);
            } else if let Some(time) = &self.position.last_modified {
                request = request.header("if-modified-since", time);
            }
        }
        match judge(request.send())? {
            Outcome::Done(response) if response.status == 304 => Ok(()),
            Outcome::Done(response) => self.take(&response),
            Outcome::Later(message, after) => {
                self.due = Duration::ZERO;
                let after = after.unwrap_or_default();
                Err(Error::Retriable {
                    message: format!("{}: {message}", self.endpoint.url),
                    after,
                })
            }
            Outcome::Refused(status) => {
                Err(Error::Config(format!("{}: answered {status}", self.endpoint.url)))
            }
        }
    }

    fn url(&self) -> String {
        let (Some(cursor), Some(value)) = (&self.config.cursor, &self.position.cursor) else {
            return self.endpoint.url.clone();
        };
        let url = &self.endpoint.url;
        let separator = if url.contains('?') { '&' } else { '?' };
        format!("{url}{separator}{}={}", encode(&cursor.parameter), encode(value))
    }

    /// Reads the items of an answer, without those that were taken from the same one before.
    fn take(&mut self, response: &Response) -> Result<(), Error> {
        let (items, cursor) = self.items(&response.body)?;
        let own = |name: &str| response.header(name).map(str::to_owned);
        let etag = own("etag");
        let moved = cursor.is_some() && cursor != self.position.cursor;
        let begun = self.position.begun.take();
        let taken = begun.filter(|begun| begun.etag == etag).map_or(0, |begun| begun.taken);
        if taken > 0 {
            self.position.begun = Some(Begun { etag: etag.clone(), taken });
        }
        self.pending = items.into_iter().skip(taken).collect();
        self.behind = Position {
            etag,
            last_modified: own("last-modified"),
            cursor: cursor.or_else(|| self.position.cursor.clone()),
            begun: None,
        };
        if moved {
            // Another page: its entity tag is another's, and there is no need to wait for it.
            (self.behind.etag, self.behind.last_modified) = (None, None);
            self.due = task::now();
        }
        Ok(())
    }

    fn items(&self, body: &[u8]) -> Result<(Vec<Item>, Option<String>), Error> {
        let plain = |value: &[u8]| Item { key: None, value: value.to_vec() };
        match self.config.format {
            Format::Body => Ok((vec![plain(body)], None)),
            Format::Lines => {
                let lines = body.split(|byte| *byte == b'\n');
                let lines = lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line));
                Ok((lines.filter(|line| !line.is_empty()).map(plain).collect(), None))
            }
            Format::Json => self.json_items(body),
        }
    }

    fn json_items(&self, body: &[u8]) -> Result<(Vec<Item>, Option<String>), Error> {
        let malformed = |error: &dyn std::fmt::Display| {
            // Endpoints in trouble answer with a page in HTML and a 200.
            Error::retriable(format!(
                "{}: the answer is not what was expected: {error}",
                self.endpoint.url
            ))
        };
        let text = std::str::from_utf8(body).map_err(|error| malformed(&error))?;
        let array = match &self.config.items {
            Some(path) => find(text, path).map_err(|error| malformed(&error))?,
            None => Some(text),
        };
        let cursor = match &self.config.cursor {
            Some(cursor) => find(text, &cursor.field).map_err(|error| malformed(&error))?,
            None => None,
        };
        let mut items = Vec::new();
        let is_array = json::items(array.unwrap_or("[]"), |item| {
            let key = self.config.key.as_ref().and_then(|path| find(item, path).ok().flatten());
            items.push(Item { key: key.and_then(plain), value: item.as_bytes().to_vec() });
        });
        if !is_array.map_err(|error| malformed(&error))? {
            return Err(malformed(&"no array"));
        }
        let cursor = cursor.and_then(plain).map(|text| String::from_utf8_lossy(&text).into_owned());
        Ok((items, cursor.filter(|text| !text.is_empty())))
    }
}

fn find<'j>(text: &'j str, path: &str) -> Result<Option<&'j str>, Error> {
    let paths = Paths::new([path]).map_err(Error::config)?;
    let mut found = None;
    let read = paths.find(text.as_bytes(), |_, text| found = Some(text));
    read.map_err(Error::bad_input)?;
    Ok(found)
}

/// The text of a string, or JSON as it is written; null is nothing.
fn plain(text: &str) -> Option<Vec<u8>> {
    match serde_json::from_str(text) {
        Ok(serde_json::Value::Null) | Err(_) => None,
        Ok(serde_json::Value::String(string)) => Some(string.into_bytes()),
        Ok(_) => Some(text.as_bytes().to_vec()),
    }
}

/// Percent-encoding of all but RFC 3986's unreserved characters.
fn encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests;
