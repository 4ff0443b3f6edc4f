//! A serde for Avro's binary encoding, bare or framed as Confluent's registry has it: a zero, four bytes
//! of schema id, the datum.
//!
//! **What it decides.** Which schema bytes were written with, and how they are shown: as plain JSON, unions
//! without their tags, bytes as a string of the characters U+0000 to U+00FF, decimals as their digits.
//!
//! **Invariants.** An entry is exactly one datum. What was written with an older schema is read by it
//! and shown as the configured one has it.

mod framing;
mod read;
mod schema;
mod write;

use std::collections::BTreeMap;

use apache_avro::from_avro_datum;
use brooklet::{Context, Error, Reject, Serde, Subject, schemas};
use framing::Framing;
use schema::Known;
use serde_json::Value as Json;

/// One array, map or string may not ask for more memory than this: an instance has 64 MiB.
const ALLOCATION_BYTES_MAX: usize = 8 << 20;
/// Schemas of writers that are kept parsed.
const WRITERS_MAX: usize = 64;

/// The configuration.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The schema; without it, the latest one the binding has for the subject.
    schema: Option<Json>,
    /// The id it is written with, if it is framed and not the binding's.
    schema_id: Option<u32>,
    /// Whether bytes are framed.
    #[serde(default)]
    framing: Framing,
}

/// The serde.
#[derive(Debug)]
pub struct Avro {
    framing: Framing,
    fixed: Option<(u32, Known)>,
    /// The schema of the subject that was seen last: an instance works for one.
    latest: Option<(Subject, u32, Known)>,
    writers: BTreeMap<u32, Known>,
}

impl Serde for Avro {
    type Config = Config;

    fn new(config: Config, _: &Context) -> Result<Avro, Error> {
        apache_avro::util::max_allocation_bytes(ALLOCATION_BYTES_MAX);
        let parsed = config.schema.as_ref().map(|schema| Known::parse(&schema.to_string()));
        let fixed =
            parsed.transpose().map_err(|problem| Error::Config(format!("schema: {problem}")))?;
        if fixed.is_some() && config.framing == Framing::Confluent && config.schema_id.is_none() {
            let problem = "schema_id: with `framing` and `schema`, the id to write is needed";
            return Err(Error::config(problem));
        }
        let fixed = fixed.map(|known| (config.schema_id.unwrap_or_default(), known));
        Ok(Avro { framing: config.framing, fixed, latest: None, writers: BTreeMap::new() })
    }

    fn deserialize(
        &mut self,
        subject: &Subject,
        data: &[u8],
        json: &mut Vec<u8>,
    ) -> Result<(), Reject> {
        let (id, mut rest) = self.framing.open(data)?;
        self.fetch(subject, id)?;
        let (own_id, reader) = self.own(subject);
        let writer = match id {
            Some(id) if id != own_id => &self.writers[&id],
            Some(_) | None => reader,
        };
        let resolved = if std::ptr::eq(writer, reader) { None } else { Some(&reader.schema) };
        let value = from_avro_datum(&writer.schema, &mut rest, resolved);
        let value = value.map_err(|error| Reject::new("syntax", error))?;
        if !rest.is_empty() {
            let problem = format!("{} bytes behind the datum", rest.len());
            return Err(Reject::new("syntax", problem));
        }
        read::show(reader, &value, json)
    }

    fn serialize(
        &mut self,
        subject: &Subject,
        json: &[u8],
        data: &mut Vec<u8>,
    ) -> Result<(), Reject> {
        self.fetch(subject, None)?;
        let (id, known) = self.own(subject);
        let json: Json = serde_json::from_slice(json)?;
        let value = write::value(known, &json).map_err(|problem| Reject::new("schema", problem))?;
        let datum = apache_avro::to_avro_datum(&known.schema, value);
        let datum = datum.map_err(|error| Reject::new("encoding", error))?;
        self.framing.close(id, &datum, data);
        Ok(())
    }
}

impl Avro {
    /// Has the schemas at hand: that of the subject, and that of the writer if it is another.
    fn fetch(&mut self, subject: &Subject, writer: Option<u32>) -> Result<(), Reject> {
        let unknown = |what: &str, problem: &dyn std::fmt::Display| {
            Reject::new("schema-unknown", format!("{what}: {problem}"))
        };
        let is_known = self.latest.as_ref().is_some_and(|(known, ..)| known == subject);
        if self.fixed.is_none() && !is_known {
            let name = subject.name();
            let schema = schemas::latest(&name).map_err(|error| unknown(&name, &error))?;
            let known = Known::fetched(&schema).map_err(|problem| unknown(&name, &problem))?;
            self.latest = Some((subject.clone(), schema.id, known));
        }
        let (own_id, _) = self.own(subject);
        let Some(id) = writer.filter(|id| *id != own_id && !self.writers.contains_key(id)) else {
            return Ok(());
        };
        let what = format!("schema {id}");
        let schema = schemas::by_id(id).map_err(|error| unknown(&what, &error))?;
        let known = Known::fetched(&schema).map_err(|problem| unknown(&what, &problem))?;
        if self.writers.len() >= WRITERS_MAX {
            self.writers.clear();
        }
        self.writers.insert(id, known);
        Ok(())
    }

    /// The schema that JSON is shown in and written with, and its id.
    fn own(&self, subject: &Subject) -> (u32, &Known) {
        if let Some((id, known)) = &self.fixed {
            return (*id, known);
        }
        let latest = self.latest.as_ref().filter(|(known, ..)| known == subject);
        let (_, id, known) = latest.expect("it was fetched before");
        (*id, known)
    }
}

brooklet::plugin! {
    name: "avro",
    description: "Reads Avro as JSON and writes JSON as Avro, bare or with a schema id in front.",
    roles: { serde: Avro },
    config: {
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "schema": {
                "type": ["object", "array", "string"],
                "description": "The schema; without it, the latest one the binding has for the subject"
            },
            "schema_id": {
                "type": "integer",
                "minimum": 0,
                "maximum": 4294967295,
                "description": "The id that `schema` is written with when it is framed"
            },
            "framing": {
                "enum": ["none", "confluent"],
                "default": "none",
                "description": "`confluent`: a zero and four bytes of schema id before each datum"
            }
        }
    },
}

#[cfg(test)]
mod tests;
