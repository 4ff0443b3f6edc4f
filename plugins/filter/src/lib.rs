//! A transform that keeps the records for which an expression is true.
//!
//! **What it decides.** Keep or drop; no record is changed, so nothing is copied back.
//!
//! **Invariants.** An expression that cannot be understood is refused when it is configured, with the
//! place where understanding ended. Only the columns that the expression names are copied in.

mod evaluate;
mod parse;
mod token;

use brooklet::json::Paths;
use brooklet::{Batch, Columns, Context, Error, Output, Reject, Transform};
use evaluate::{Fields, holds};
use parse::{Expression, Parsed};

/// The configuration.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What has to be true of a record.
    keep: String,
}

/// The transform.
#[derive(Debug)]
pub struct Filter {
    expression: Expression,
    columns: Columns,
    /// The fields of the value that the expression names.
    paths: Paths,
    fields: usize,
}

impl Transform for Filter {
    type Config = Config;

    fn new(config: Config, _: &Context) -> Result<Filter, Error> {
        let parsed = parse::parse(&config.keep);
        let parsed = parsed.map_err(|error| Error::config(format!("keep: {error}")))?;
        let Parsed { expression, columns, fields } = parsed;
        let paths = Paths::new(&fields).map_err(Error::config)?;
        Ok(Filter { expression, columns, paths, fields: fields.len() })
    }

    fn columns(&self) -> Columns {
        self.columns
    }

    fn transform(&mut self, batch: &Batch<'_>, out: &mut Output<'_>) -> Result<(), Error> {
        let mut fields = Fields::default();
        for record in batch {
            fields.clear(self.fields);
            if self.fields > 0 {
                // A tombstone has no field, and is kept or dropped by what else is asked.
                let value = record.value().unwrap_or(b"{}");
                if let Err(error) = self.paths.find(value, |index, text| fields.put(index, text)) {
                    out.reject(Reject::from(error));
                    continue;
                }
            }
            if holds(&self.expression, &record, &fields) { out.keep() } else { out.discard() }
        }
        Ok(())
    }
}

brooklet::plugin! {
    name: "filter",
    description: "Keeps the records for which an expression over fields, key and headers is true.",
    roles: { transform: Filter },
    config: {
        "type": "object",
        "required": ["keep"],
        "additionalProperties": false,
        "properties": {
            "keep": {
                "type": "string",
                "minLength": 1,
                "examples": ["origin == 'JFK' and not (dep_delay < 15 or carrier in ['UA', 'DL'])"]
            }
        }
    },
}

#[cfg(test)]
mod tests;
