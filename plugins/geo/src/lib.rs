//! A partitioner by country or region: each has partitions of its own.
//!
//! **What it decides.** The region is read from a field of the JSON value or from a header, and looked up
//! in a table. Within a region's partitions records with the same key stay together.
//!
//! **Invariants.** A record of a region never goes to a partition of another one. Where a region is not
//! in the table, what `otherwise` says counts; without it the batch is refused.

mod table;

use brooklet::json::Paths;
use brooklet::{Batch, Columns, Context, Error, Partitioner, Record, murmur2};
use table::{Config, From, Table};

/// The partitioner.
#[derive(Debug)]
pub struct Geo {
    from: Region,
    table: Table,
}

/// Where the region is read from.
#[derive(Debug)]
enum Region {
    Field(Paths),
    Header(String),
}

impl Partitioner for Geo {
    type Config = Config;

    fn new(config: Config, _: &Context) -> Result<Geo, Error> {
        let from = match config.from()? {
            From::Field(path) => Region::Field(Paths::new([path]).map_err(Error::config)?),
            From::Header(name) => Region::Header(name.to_owned()),
        };
        Ok(Geo { from, table: Table::new(config)? })
    }

    fn columns(&self) -> Columns {
        match self.from {
            Region::Field(_) => Columns::KEYS | Columns::VALUES,
            Region::Header(_) => Columns::KEYS | Columns::HEADERS,
        }
    }

    fn partition(
        &mut self,
        batch: &Batch<'_>,
        partitions: u32,
        chosen: &mut Vec<u32>,
    ) -> Result<(), Error> {
        self.table.check(partitions)?;
        for record in batch {
            let mut region = String::new();
            let has_region = self.from.read(&record, &mut region)?;
            let known = if has_region { self.table.find(&region) } else { None };
            let Some(places) = known.or_else(|| self.table.otherwise()) else {
                let found = if has_region { format!("{region:?}") } else { "no region".to_owned() };
                let index = record.index();
                let problem = format!("record {index} has {found}, which has no partitions");
                return Err(Error::BadInput(problem));
            };
            chosen.push(within(places, record.key(), record.index()));
        }
        Ok(())
    }
}

/// One of a region's partitions: by the key, or in turns without one.
fn within(places: &[u32], key: Option<&[u8]>, turn: usize) -> u32 {
    let digest = key.map_or(turn, |key| (murmur2::hash(key) & i32::MAX).cast_unsigned() as usize);
    places[digest % places.len()]
}

impl Region {
    /// Puts the region of a record in `region`; false if it has none.
    fn read(&self, record: &Record<'_>, region: &mut String) -> Result<bool, Error> {
        match self {
            Region::Header(name) => {
                let value = record.header(name).and_then(|value| std::str::from_utf8(value).ok());
                region.push_str(value.unwrap_or_default());
                Ok(value.is_some())
            }
            Region::Field(paths) => {
                let mut found = None;
                let value = record.value().unwrap_or(b"null");
                let read = paths.find(value, |_, text| found = Some(text));
                read.map_err(|error| {
                    Error::BadInput(format!("record {}: {error}", record.index()))
                })?;
                let text = found.and_then(|text| serde_json::from_str::<String>(text).ok());
                region.push_str(text.as_deref().unwrap_or_default());
                Ok(text.is_some())
            }
        }
    }
}

brooklet::plugin! {
    name: "geo",
    description: "Places records by country or region: each has partitions of its own.",
    roles: { partitioner: Geo },
    config: {
        "type": "object",
        "required": ["regions"],
        "oneOf": [{ "required": ["field"] }, { "required": ["header"] }],
        "additionalProperties": false,
        "properties": {
            "field": { "type": "string", "description": "Dotted path to the region in the JSON value" },
            "header": { "type": "string", "description": "Name of the header with the region" },
            "regions": {
                "type": "object",
                "minProperties": 1,
                "description": "Regions, each with its partitions",
                "additionalProperties": {
                    "type": "array",
                    "minItems": 1,
                    "items": { "type": "integer", "minimum": 0 }
                }
            },
            "otherwise": {
                "type": "array",
                "minItems": 1,
                "items": { "type": "integer", "minimum": 0 },
                "description": "Partitions of all other regions; without it they are refused"
            }
        }
    },
}

#[cfg(test)]
mod tests {
    use brooklet_testing::{Partitioning, Rec};

    use super::*;

    const BY_ORIGIN: &str =
        r#"{"field":"from.origin","regions":{"EWR":[0],"JFK":[1,2]},"otherwise":[3]}"#;

    fn place(config: &str, records: &[Rec], partitions: u32) -> Result<Vec<u32>, String> {
        let plugin = Partitioning::<Geo>::start(config);
        let placed = plugin.and_then(|mut plugin| plugin.place(records, partitions));
        placed.map_err(|error| error.to_string())
    }

    #[test]
    fn regions_keep_to_their_partitions() {
        let from = |origin: &str| Rec::value(format!(r#"{{"from":{{"origin":"{origin}"}}}}"#));
        let records = [from("EWR"), from("JFK"), from("JFK"), from("LGA"), Rec::value("{}")];
        assert_eq!(place(BY_ORIGIN, &records, 4), Ok(vec![0, 2, 1, 3, 3]));
        let keyed = |key: &str| Rec { key: Some(key.into()), ..from("JFK") };
        let placed = place(BY_ORIGIN, &[keyed("a"), keyed("b"), keyed("a")], 4).unwrap();
        assert_eq!(placed[0], placed[2], "within a region a key stays together");
    }

    #[test]
    fn a_header_will_do() {
        let config = r#"{"header":"region","regions":{"eu":[5]}}"#;
        let record = Rec::value("no json").header("region", "eu");
        assert_eq!(place(config, std::slice::from_ref(&record), 6), Ok(vec![5]));
        let unknown = place(config, &[record, Rec::value("x").header("region", "mars")], 6);
        assert_eq!(unknown.unwrap_err(), "record 1 has \"mars\", which has no partitions");
        let none = place(config, &[Rec::value("x")], 6);
        assert_eq!(none.unwrap_err(), "record 0 has no region, which has no partitions");
    }

    #[test]
    fn a_table_that_does_not_fit_is_refused() {
        let table = [
            (r#"{"regions":{"a":[0]}}"#, "either `field` or `header`"),
            (r#"{"field":"a","header":"b","regions":{"a":[0]}}"#, "either `field` or `header`"),
            (r#"{"field":"a","regions":{"a":[]}}"#, "regions.a: no partition"),
            (r#"{"field":"a","regions":{"a":[0],"b":[1,0]}}"#, "partition 0 belongs to a and to b"),
            (r#"{"field":"a","regions":{"a":[7]}}"#, "partition 7, and the topic has 4"),
            (r#"{"field":"a","regions":{}}"#, "no region"),
        ];
        for (config, problem) in table {
            let error = place(config, &[Rec::value(r#"{"a":"a"}"#)], 4).unwrap_err();
            assert!(error.contains(problem), "{config}: {error}");
        }
    }
}
