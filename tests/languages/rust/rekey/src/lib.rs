//! Takes a record's key from one of its headers. The same stands in `javascript/rekey`, `python/rekey` and `c/rekey`.

use brooklet::metrics::Counter;
use brooklet::{Batch, Change, Context, Error, Output, Record, Reject, Transform};

/// The configuration.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The header whose last value becomes the key, null if it is null. It leaves the record.
    from: String,
    /// The header that gets the old key.
    keep_as: Option<String>,
    /// Whether a value without bytes becomes null.
    #[serde(default)]
    empty_is_tombstone: bool,
    /// Milliseconds added to each timestamp.
    #[serde(default)]
    delay_ms: i64,
}

/// The transform.
#[derive(Debug)]
pub struct Rekey {
    config: Config,
    rekeyed: Counter,
}

impl Transform for Rekey {
    type Config = Config;

    fn new(config: Config, _: &Context) -> Result<Rekey, Error> {
        if config.keep_as.as_ref() == Some(&config.from) {
            return Err(Error::config(
                "`keep_as` is `from`: the old key would be the next new one",
            ));
        }
        brooklet::info!(from = config.from, "ready to rekey");
        Ok(Rekey { config, rekeyed: Counter::new("records_rekeyed", &[("language", "any")]) })
    }

    fn transform(&mut self, batch: &Batch<'_>, out: &mut Output<'_>) -> Result<(), Error> {
        let mut rekeyed = 0;
        for record in batch {
            let change = self.rekey(record);
            rekeyed += u64::from(change.is_ok());
            out.act(change);
        }
        self.rekeyed.add(rekeyed);
        Ok(())
    }
}

impl Rekey {
    fn rekey(&self, record: Record<'_>) -> Result<Change, Reject> {
        let Config { from, keep_as, empty_is_tombstone, delay_ms } = &self.config;
        let named = record.headers().filter(|header| header.name == from.as_bytes()).last();
        let Some(named) = named else {
            return Err(Reject::new("key", format!("there is no header {from}")));
        };
        let others = record.headers().filter(|header| header.name != from.as_bytes());
        let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
        let mut headers: Vec<_> =
            others.map(|header| (header.name.to_vec(), owned(header.value))).collect();
        if let Some(name) = keep_as {
            headers.push((name.clone().into_bytes(), owned(record.key())));
        }
        let mut change = Change::new().key(owned(named.value)).headers(headers);
        if *empty_is_tombstone && record.value().is_some_and(<[u8]>::is_empty) {
            change = change.value(None);
        }
        if *delay_ms != 0 {
            change = change.timestamp(record.timestamp() + delay_ms);
        }
        Ok(change)
    }
}

brooklet::plugin! {
    name: "rekey",
    description: "Takes a record's key from one of its headers.",
    roles: { transform: Rekey },
    config: {
        "type": "object",
        "required": ["from"],
        "additionalProperties": false,
        "properties": {
            "from": { "type": "string" },
            "keep_as": { "type": "string" },
            "empty_is_tombstone": { "type": "boolean" },
            "delay_ms": { "type": "integer" }
        }
    },
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_does_natively_what_the_components_do() {
        for case in ["plain", "everything"] {
            let folder = format!("../../cases/rekey/{case}");
            brooklet_testing::golden::transform::<super::Rekey>(&folder);
        }
    }
}
