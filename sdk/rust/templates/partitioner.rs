//! Places records by the first byte of their key.

use brooklet::Record;

/// Called once per record; the answer is from 0 to `partitions - 1`.
#[brooklet::partitioner(columns(keys))]
pub fn partitioner(record: Record<'_>, partitions: u32) -> u32 {
    let first = record.key().and_then(<[u8]>::first).copied();
    u32::from(first.unwrap_or_default()) % partitions
}

brooklet::plugin! {
    description: "Places records by the first byte of their key.",
    roles: { partitioner: partitioner },
}

#[cfg(test)]
mod tests {
    use brooklet_testing::{Partitioning, Rec};

    use super::*;

    #[test]
    fn the_first_byte_counts() {
        let mut plugin = Partitioning::<partitioner>::start("{}").unwrap();
        let records = [Rec::new("a", ""), Rec::new("apple", ""), Rec::new("b", ""), Rec::value("")];
        assert_eq!(plugin.place(&records, 10).unwrap(), [7, 7, 8, 0]);
    }
}
