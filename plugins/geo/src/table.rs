//! Which partitions belong to which region.

use std::collections::BTreeMap;

use brooklet::Error;

/// The configuration.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    field: Option<String>,
    header: Option<String>,
    regions: BTreeMap<String, Vec<u32>>,
    otherwise: Option<Vec<u32>>,
}

/// Where the region stands.
pub(crate) enum From<'c> {
    Field(&'c str),
    Header(&'c str),
}

impl Config {
    pub(crate) fn from(&self) -> Result<From<'_>, Error> {
        match (&self.field, &self.header) {
            (Some(field), None) => Ok(From::Field(field)),
            (None, Some(header)) => Ok(From::Header(header)),
            (Some(_), Some(_)) | (None, None) => {
                Err(Error::config("the region stands in either `field` or `header`"))
            }
        }
    }
}

/// The regions with their partitions. No partition belongs to two regions.
#[derive(Debug)]
pub(crate) struct Table {
    regions: BTreeMap<String, Vec<u32>>,
    otherwise: Option<Vec<u32>>,
    highest: u32,
}

impl Table {
    pub(crate) fn new(config: Config) -> Result<Table, Error> {
        let mut owners: BTreeMap<u32, &str> = BTreeMap::new();
        for (region, partitions) in &config.regions {
            if partitions.is_empty() {
                return Err(Error::config(format!("regions.{region}: no partition")));
            }
            for partition in partitions {
                if let Some(other) = owners.insert(*partition, region) {
                    let problem =
                        format!("partition {partition} belongs to {other} and to {region}");
                    return Err(Error::config(problem));
                }
            }
        }
        if config.otherwise.as_ref().is_some_and(Vec::is_empty) {
            return Err(Error::config("otherwise: no partition"));
        }
        let others = config.otherwise.iter().flatten().max();
        let Some((highest, _)) = owners.last_key_value() else {
            return Err(Error::config("regions: no region"));
        };
        let highest = others.map_or(*highest, |other| *highest.max(other));
        Ok(Table { regions: config.regions, otherwise: config.otherwise, highest })
    }

    /// The table has to fit the topic. A topic with more partitions than the table names is fine.
    pub(crate) fn check(&self, partitions: u32) -> Result<(), Error> {
        if self.highest < partitions {
            return Ok(());
        }
        let highest = self.highest;
        Err(Error::config(format!(
            "the table has partition {highest}, and the topic has {partitions}"
        )))
    }

    pub(crate) fn find(&self, region: &str) -> Option<&[u32]> {
        self.regions.get(region).map(Vec::as_slice)
    }

    pub(crate) fn otherwise(&self) -> Option<&[u32]> {
        self.otherwise.as_deref()
    }
}
