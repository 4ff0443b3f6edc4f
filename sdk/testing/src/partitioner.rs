//! A partitioner at work.

use brooklet::{Error, Partitioner};

use brooklet_golden::Rec;

use crate::record::batch;

/// A partitioner that was initialised.
#[derive(Debug)]
pub struct Partitioning<P>(P);

impl<P: Partitioner> Partitioning<P> {
    /// Initialises it with a configuration in JSON.
    pub fn start(config: &str) -> Result<Partitioning<P>, Error> {
        crate::start("partitioner", config, P::new).map(Partitioning)
    }

    /// Hands it one batch for a topic of so many partitions.
    pub fn place(&mut self, records: &[Rec], partitions: u32) -> Result<Vec<u32>, Error> {
        let columns = self.0.columns();
        let input = batch("topic", -1, 0, columns, records);
        Ok(brooklet::role::partitioner::run(&mut self.0, columns, &input, partitions)?)
    }
}
