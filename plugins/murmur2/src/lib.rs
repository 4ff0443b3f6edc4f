//! The partitioner of Kafka's Java client: murmur2 of the key, its sign bit cleared, modulo the number
//! of partitions.
//!
//! Records without a key, which the Java client spreads as it
//! sends them, go round in this one: there is no batch being filled whose end could be waited for.

use brooklet::{Batch, Columns, Context, Error, NoConfig, Partitioner, murmur2};

/// The partitioner.
#[derive(Debug, Default)]
pub struct Murmur2 {
    /// Where the next record without a key goes.
    next: u32,
}

impl Partitioner for Murmur2 {
    type Config = NoConfig;

    fn new(_: NoConfig, _: &Context) -> Result<Murmur2, Error> {
        Ok(Murmur2::default())
    }

    fn columns(&self) -> Columns {
        Columns::KEYS
    }

    fn partition(
        &mut self,
        batch: &Batch<'_>,
        partitions: u32,
        chosen: &mut Vec<u32>,
    ) -> Result<(), Error> {
        for key in batch.keys().iter() {
            chosen.push(match key {
                Some(key) => murmur2::partition(key, partitions),
                None => {
                    let here = self.next % partitions;
                    self.next = (here + 1) % partitions;
                    here
                }
            });
        }
        Ok(())
    }
}

brooklet::plugin! {
    name: "murmur2",
    description: "Places records as Kafka's Java client does: by murmur2 of the key.",
    roles: { partitioner: Murmur2 },
}

#[cfg(test)]
mod tests {
    use brooklet_testing::{Partitioning, Rec};

    use super::*;

    #[test]
    fn keys_stay_together_and_the_rest_goes_round() {
        let mut plugin = Partitioning::<Murmur2>::start("{}").unwrap();
        let records: Vec<Rec> = (0..4).map(|_| Rec::value("x")).collect();
        assert_eq!(plugin.place(&records, 3).unwrap(), [0, 1, 2, 0]);
        assert_eq!(plugin.place(&records[..1], 3).unwrap(), [1], "from one batch to the next");
        let keyed = [Rec::new("foobar", "1"), Rec::value("2"), Rec::new("foobar", "3")];
        let expected = u32::try_from((-790_332_482_i32) & i32::MAX).unwrap() % 12;
        assert_eq!(plugin.place(&keyed, 12).unwrap(), [expected, 2, expected]);
    }
}
