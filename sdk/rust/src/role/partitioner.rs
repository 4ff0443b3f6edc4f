//! The role that chooses partitions.

use serde::de::DeserializeOwned;

use crate::batch::Batch;
use crate::bindings::types::{self, Columns, PluginError};
use crate::error::Error;
use crate::lifecycle::Context;

/// Chooses the partition of records that have none yet, and says for those of other clients where
/// they belong. `#[brooklet::partitioner]` makes one of a function.
pub trait Partitioner: Sized {
    /// What the operator configures.
    type Config: DeserializeOwned;

    /// Makes an instance. Whatever can be checked is checked here.
    fn new(config: Self::Config, context: &Context) -> Result<Self, Error>;

    /// The columns it looks at; what it does not ask for is not copied.
    fn columns(&self) -> Columns {
        Columns::all()
    }

    /// Pushes one partition, 0 to `partitions - 1`, per record, in their order.
    fn partition(
        &mut self,
        batch: &Batch<'_>,
        partitions: u32,
        chosen: &mut Vec<u32>,
    ) -> Result<(), Error>;
}

/// What a partitioner's function may return.
pub trait IntoPartition {
    /// The partition, or why there is none.
    fn into_partition(self) -> Result<u32, Error>;
}

impl IntoPartition for u32 {
    fn into_partition(self) -> Result<u32, Error> {
        Ok(self)
    }
}

impl IntoPartition for Result<u32, Error> {
    fn into_partition(self) -> Result<u32, Error> {
        self
    }
}

/// One call of the host.
pub fn run<P: Partitioner>(
    plugin: &mut P,
    columns: Columns,
    input: &types::Batch,
    partitions: u32,
) -> Result<Vec<u32>, PluginError> {
    let batch = Batch::new(input, columns);
    let mut chosen = Vec::with_capacity(batch.len());
    plugin.partition(&batch, partitions, &mut chosen)?;
    assert_eq!(chosen.len(), batch.len(), "one partition per record");
    if let Some(index) = chosen.iter().position(|partition| *partition >= partitions) {
        let partition = chosen[index];
        let problem = format!("record {index} would go to partition {partition} of {partitions}");
        return Err(PluginError::BadInput(problem));
    }
    Ok(chosen)
}
