//! The sink: posts records to a URL.
//!
//! **Invariants.** Records of a partition are sent one after the other: the next one not before the one
//! before it was accepted or refused for good. Each request has a key by which the endpoint can tell that
//! it has it already: `topic-partition-offset`, for a batch `topic-partition-first-last`. What was accepted is
//! not sent again by the same instance.

use std::collections::BTreeMap;
use std::time::Duration;

use brooklet::metrics::Counter;
use brooklet::{Assignment, Batch, Columns, Context, Error, Record, Reject, Rejects, Sink, task};

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
    #[serde(default)]
    method: Method,
    #[serde(default)]
    batch: bool,
    #[serde(default = "json")]
    content_type: String,
    #[serde(default = "retries")]
    retries: u32,
    #[serde(default = "backoff", deserialize_with = "brooklet::duration::deserialize")]
    backoff: Duration,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum Method {
    #[default]
    Post,
    Put,
    Patch,
}

fn json() -> String {
    "application/json".to_owned()
}

/// Some seconds of trouble are sat out here; longer ones are the host's to pace.
fn retries() -> u32 {
    5
}

fn backoff() -> Duration {
    Duration::from_millis(200)
}

/// No pause between two tries is longer.
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// What the host waits when there was no trouble: next to nothing, but more than "as you like".
const AT_ONCE: Duration = Duration::from_millis(1);

/// The sink.
#[derive(Debug)]
pub struct HttpSink {
    config: Config,
    endpoint: Endpoint,
    /// The next offset of each partition that the endpoint has not yet answered for.
    delivered: BTreeMap<(String, u32), i64>,
    /// What the endpoint refused in a call that then failed, by offset: said when the host comes again.
    refused: BTreeMap<(String, u32), BTreeMap<i64, Reject>>,
    retried: Counter,
}

impl Sink for HttpSink {
    type Config = Config;

    fn new(config: Config, _: &Context) -> Result<HttpSink, Error> {
        let Config { url, headers, secret, timeout, .. } = config.clone();
        let endpoint = Endpoint { url, headers, secret, timeout };
        let retried = Counter::new("http_retries", &[]);
        Ok(HttpSink {
            config,
            endpoint,
            delivered: BTreeMap::new(),
            refused: BTreeMap::new(),
            retried,
        })
    }

    fn columns(&self) -> Columns {
        Columns::VALUES
    }

    fn start(&mut self, _: Vec<Assignment>) -> Result<Vec<Assignment>, Error> {
        // Whoever begins anew may want records again.
        self.delivered.clear();
        self.refused.clear();
        Ok(Vec::new())
    }

    fn write(&mut self, batch: &Batch<'_>, rejects: &mut Rejects) -> Result<(), Error> {
        let place = (batch.topic().to_owned(), batch.partition().unwrap_or_default());
        let next = self.delivered.get(&place).copied().unwrap_or(i64::MIN);
        let mut records = Vec::new();
        for record in batch.records() {
            if record.offset() >= next {
                records.push(record);
            } else if let Some(refused) = self.refused.get(&place)
                && let Some(reject) = refused.get(&record.offset())
            {
                rejects.push(record.index(), reject.clone());
            }
        }
        if self.config.batch {
            self.send_all(&place, &records, rejects)?;
        } else {
            self.send_each(&place, records, rejects)?;
        }
        self.refused.remove(&place);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Error> {
        // Whatever was written was answered for.
        Ok(())
    }
}

type Place = (String, u32);

impl HttpSink {
    /// A request for each. One that is begun has the time it may need: the host ends a call that takes too long,
    /// and with it the memory of what was sent.
    fn send_each(
        &mut self,
        place: &Place,
        records: Vec<Record<'_>>,
        rejects: &mut Rejects,
    ) -> Result<(), Error> {
        for (sent, record) in records.into_iter().enumerate() {
            if sent > 0 && (task::remaining() < self.config.timeout || task::stopping()) {
                let message = format!("{sent} records took the time of this call");
                return Err(Error::Retriable { message, after: AT_ONCE });
            }
            self.send_one(place, record, rejects)?;
        }
        Ok(())
    }

    fn send_one(
        &mut self,
        place: &Place,
        record: Record<'_>,
        rejects: &mut Rejects,
    ) -> Result<(), Error> {
        let (topic, partition) = place;
        let key = format!("{topic}-{partition}-{}", record.offset());
        let reject = match record.value() {
            Some(value) => self.send(&key, value.to_vec())?,
            None => Some(Reject::new("null", "a tombstone has no body")),
        };
        if let Some(reject) = reject {
            let refused = self.refused.entry(place.clone()).or_default();
            refused.insert(record.offset(), reject.clone());
            rejects.push(record.index(), reject);
        }
        self.delivered.insert(place.clone(), record.offset() + 1);
        Ok(())
    }

    fn send_all(
        &mut self,
        place: &Place,
        records: &[Record<'_>],
        rejects: &mut Rejects,
    ) -> Result<(), Error> {
        let (Some(first), Some(last)) = (records.first(), records.last()) else { return Ok(()) };
        let (topic, partition) = place;
        let key = format!("{topic}-{partition}-{}-{}", first.offset(), last.offset());
        let mut body = vec![b'['];
        let mut sent = Vec::new();
        for record in records {
            let value = record.value().unwrap_or(b"null");
            if let Err(error) = serde_json::from_slice::<serde::de::IgnoredAny>(value) {
                rejects.push(record.index(), Reject::from(error));
                continue;
            }
            if !sent.is_empty() {
                body.push(b',');
            }
            body.extend_from_slice(value);
            sent.push(record.index());
        }
        body.push(b']');
        if !sent.is_empty()
            && let Some(reject) = self.send(&key, body)?
        {
            sent.into_iter().for_each(|index| rejects.push(index, reject.clone()));
        }
        self.delivered.insert(place.clone(), last.offset() + 1);
        Ok(())
    }

    /// Sends until it is accepted (none) or refused; the error is for the host to wait.
    fn send(&self, key: &str, body: Vec<u8>) -> Result<Option<Reject>, Error> {
        let method = match self.config.method {
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Patch => "PATCH",
        };
        let request = self.endpoint.request(method, &self.endpoint.url)?;
        let request = request
            .header("content-type", &self.config.content_type)
            .header("idempotency-key", key)
            .body(body);
        let mut tries = 0;
        loop {
            let (message, after) = match judge(request.send())? {
                Outcome::Done(_) => return Ok(None),
                Outcome::Refused(status) => {
                    let message = format!("{} answered {status}", self.endpoint.url);
                    return Ok(Some(Reject::new("status", message)));
                }
                Outcome::Later(message, after) => (message, after),
            };
            let pause = after.unwrap_or_else(|| pause(self.config.backoff, tries, key));
            let enough_time = pause + self.config.timeout < task::remaining();
            if tries >= self.config.retries || !enough_time || task::stopping() {
                let message = format!("{}: {message}", self.endpoint.url);
                return Err(Error::Retriable { message, after: after.unwrap_or_default() });
            }
            self.retried.add(1);
            tries += 1;
            task::sleep(pause);
        }
    }
}

/// Between half and all of a time that doubles with each try, so that those who failed together do not
/// come back together. What is random about it is the record's own.
fn pause(backoff: Duration, tries: u32, key: &str) -> Duration {
    let longest = backoff.saturating_mul(1 << tries.min(16)).min(BACKOFF_MAX);
    let mixed =
        key.bytes().chain([tries.to_le_bytes()[0]]).fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
    let share = u32::try_from(mixed >> 48).expect("16 bits");
    longest / 2 + longest / 2 * share / 65_536
}

#[cfg(test)]
mod tests;
