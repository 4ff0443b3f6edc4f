//! A transform that hides fields of JSON values.
//!
//! **What it decides.** What is shown of a field: nothing, a keyed digest, its beginning or its end.
//!
//! **Invariants.** A value in which a field could not be looked for is not shown at all: what is not
//! JSON is rejected. Everything but the hidden fields stays byte for byte what it was.

mod method;

use std::collections::BTreeMap;

use brooklet::json::{self, Paths};
use brooklet::{Batch, Columns, Context, Error, Output, Reject, Transform};
use method::{Hider, Method};

/// The configuration.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Dotted paths, each with what becomes of the field.
    fields: BTreeMap<String, Method>,
    /// What the digests of `hash` are keyed with.
    salt: Option<String>,
}

/// The transform.
#[derive(Debug)]
pub struct Mask {
    paths: Paths,
    /// In the order of the paths.
    methods: Vec<Method>,
    hider: Hider,
    /// The value that is being made, kept from record to record for its memory.
    masked: Vec<u8>,
}

impl Transform for Mask {
    type Config = Config;

    fn new(config: Config, _: &Context) -> Result<Mask, Error> {
        let paths = Paths::new(config.fields.keys()).map_err(Error::config)?.through_arrays();
        let methods: Vec<Method> = config.fields.into_values().collect();
        if methods.contains(&Method::Hash) && config.salt.as_deref().unwrap_or("").is_empty() {
            let problem = "`hash` needs a `salt`: without one, anybody can hash all tail numbers";
            return Err(Error::config(problem));
        }
        let hider = Hider::new(config.salt.as_deref().unwrap_or(""));
        Ok(Mask { paths, methods, hider, masked: Vec::new() })
    }

    fn columns(&self) -> Columns {
        Columns::VALUES
    }

    fn transform(&mut self, batch: &Batch<'_>, out: &mut Output<'_>) -> Result<(), Error> {
        for value in batch.values().iter() {
            let Some(value) = value else {
                out.keep();
                continue;
            };
            match self.mask(value) {
                Ok(true) => out.value(Some(&self.masked)),
                Ok(false) => out.keep(),
                Err(reject) => out.reject(reject),
            }
        }
        Ok(())
    }
}

impl Mask {
    /// Puts the value with its fields hidden in `masked`; false if there is nothing to hide.
    fn mask(&mut self, value: &[u8]) -> Result<bool, Reject> {
        let Mask { paths, methods, hider, masked } = self;
        masked.clear();
        let mut done = 0;
        paths.find(value, |index, field| {
            let place = json::position(value, field);
            // Within a field that is hidden as a whole already.
            if place.start < done {
                return;
            }
            masked.extend_from_slice(&value[done..place.start]);
            hider.hide(methods[index], field, masked);
            done = place.end;
        })?;
        if done == 0 {
            return Ok(false);
        }
        masked.extend_from_slice(&value[done..]);
        Ok(true)
    }
}

brooklet::plugin! {
    name: "mask",
    description: "Hides fields of JSON values: null, a keyed digest, the beginning or the end.",
    roles: { transform: Mask },
    config: {
        "type": "object",
        "required": ["fields"],
        "additionalProperties": false,
        "properties": {
            "fields": {
                "type": "object",
                "minProperties": 1,
                "description": "Dotted paths, each with what becomes of the field",
                "additionalProperties": {
                    "oneOf": [
                        { "enum": ["null", "hash"] },
                        {
                            "type": "object",
                            "required": ["truncate"],
                            "additionalProperties": false,
                            "properties": { "truncate": { "type": "integer", "minimum": 0 } }
                        },
                        {
                            "type": "object",
                            "required": ["keep_last"],
                            "additionalProperties": false,
                            "properties": { "keep_last": { "type": "integer", "minimum": 1 } }
                        }
                    ]
                }
            },
            "salt": { "type": "string", "description": "Keys the digests of `hash`" }
        }
    },
}

#[cfg(test)]
mod tests;
